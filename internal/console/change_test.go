package console

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"spoor/internal/iam"
)

// TestChanges makes every change, and expects it as an event that is durable before the change, or at least before the answer.
func TestChanges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method, path, body string
		event              string
		params             string // of the event
		call               string // that the part gets
		response           string // member of responseElements
	}{
		{"POST", "/users", `{"name":"new","roles":["analyst"]}`, "CreateUser", `{"roles":["analyst"],"userName":"new"}`, "", "userId"},
		{"PUT", "/users/target", `{"roles":["auditor"]}`, "UpdateUser", `{"roles":["auditor"],"userName":"target"}`, "", ""},
		{"DELETE", "/users/target", "", "DeleteUser", `{"userName":"target"}`, "", ""},
		{"POST", "/users/target/tokens", `{"note":"laptop","expires":"30d"}`, "CreateToken", `{"expires":"30d","note":"laptop","userName":"target"}`, "", "tokenId"},
		{"DELETE", "/tokens/TOKEN", "", "RevokeToken", `{"tokenId":"TOKEN"}`, "", ""},
		{"POST", "/users/target/access-keys", `{"note":"laptop"}`, "CreateAccessKey", `{"note":"laptop","userName":"target"}`, "", "accessKeyId"},
		{"PUT", "/access-keys/KEY", `{"active":false}`, "UpdateAccessKey", `{"accessKeyId":"KEY","status":"Inactive","userName":"target"}`, "", ""},
		{"DELETE", "/access-keys/KEY", "", "DeleteAccessKey", `{"accessKeyId":"KEY","userName":"target"}`, "", ""},
		{"POST", "/roles", `{"name":"new","roles":["analyst"],"maxSessionSeconds":7200,"description":"for tests","trust":` + trustAll + `}`, "CreateRole",
			`{"account":"111122223333","assumeRolePolicyDocument":` + strconv.Quote(trustAll) + `,"description":"for tests","maxSessionDuration":7200,"roleName":"new","roles":["analyst"]}`, "", "roleId"},
		{"PUT", "/roles/reader", `{"roles":["analyst"],"trust": ` + trustAll + `}`, "UpdateRole",
			`{"account":"111122223333","assumeRolePolicyDocument":` + strconv.Quote(trustAll) + `,"roleName":"reader","roles":["analyst"]}`, "", ""},
		{"DELETE", "/roles/reader?account=111122223333", "", "DeleteRole", `{"account":"111122223333","roleName":"reader"}`, "", ""},
		{"POST", "/roles/reader/revoke-sessions", "", "RevokeRoleSessions", `{"account":"111122223333","roleName":"reader"}`, "", ""},
		{"POST", "/sources/push/pause", "", "PauseSource", `{"source":"push"}`, "pause push", ""},
		{"POST", "/sources/push/resume", "", "ResumeSource", `{"source":"push"}`, "resume push", ""},
		{"POST", "/sources/push/dead-letters/l-1/replay", "", "ReplayDeadLetters", `{"id":"l-1","source":"push"}`, "replay l-1", ""},
		{"DELETE", "/sources/push/dead-letters/l-1", "", "DeleteDeadLetters", `{"id":"l-1","source":"push"}`, "discard l-1", ""},
		{"PUT", "/holds/case-7", `{"reason":"case 7","since":"2026-01-01T00:00:00Z"}`, "PutHold", `{"name":"case-7","reason":"case 7","since":"2026-01-01T00:00:00Z"}`, "hold case-7", ""},
		{"DELETE", "/holds/case-0", "", "DeleteHold", `{"name":"case-0"}`, "release case-0", ""},
		{"POST", "/store/compact", "", "CompactStore", "null", "compact", ""},
		{"POST", "/store/expire", "", "ExpireStore", "null", "expire", ""},
		{"POST", "/configuration/reload", "", "ReloadConfiguration", "null", "reload", ""},
	} {
		t.Run(c.event, func(t *testing.T) {
			t.Parallel()
			s := serve(t, nil)
			s.parts.holds = holdsOf("case-0")
			token := s.access.Tokens("target")[0].ID
			fill := strings.NewReplacer("TOKEN", token, "KEY", s.access.AccessKeys("target")[0].ID).Replace
			var early []string
			s.journal.before = func() { early = s.parts.calls() }
			w := s.do(c.method, fill(apiPath+c.path), "admin", c.body)
			if w.Code >= 300 {
				t.Fatalf("%d: %s", w.Code, w.Body)
			}
			if c.call != "" && (slices.Contains(early, c.call) || !slices.Contains(s.parts.calls(), c.call)) {
				t.Errorf("at the recording %q, at the end %q: want %q between", early, s.parts.calls(), c.call)
			}
			events := s.journal.events(t)
			if len(events) != 1 {
				t.Fatalf("recorded %+v", events)
			}
			e := events[0]
			params, _ := json.Marshal(e.RequestParameters)
			if e.EventName != c.event || e.ReadOnly || !e.ManagementEvent || e.EventCategory != "Management" || e.ErrorCode != "" || e.EventID == "" || string(params) != fill(c.params) ||
				e.RequestID != w.Header().Get("X-Request-Id") || e.SourceIPAddress != "192.0.2.7" || e.UserAgent != "test/1" || e.RecipientAccountID != "111122223333" {
				t.Errorf("recorded %+v with parameters %s", e, params)
			}
			if id := e.UserIdentity; id.Type != "IAMUser" || id.UserName != "admin" || id.ARN != "arn:aws:iam::111122223333:user/admin" || id.CredentialID != s.access.Tokens("admin")[0].ID {
				t.Errorf("recorded by %+v", id)
			}
			if c.response != "" && e.ResponseElements[c.response] == nil {
				t.Errorf("response elements %v without %s", e.ResponseElements, c.response)
			}
		})
		t.Run(c.event+" not recorded", func(t *testing.T) {
			t.Parallel()
			s := serve(t, nil)
			s.parts.holds = holdsOf("case-0")
			token := s.access.Tokens("target")[0].ID
			s.journal.setFull(true)
			users, keys, roles := s.access.Users(), s.access.AccessKeys(""), s.access.Assumables()
			key := s.access.AccessKeys("target")[0].ID
			w := s.do(c.method, strings.NewReplacer("TOKEN", token, "KEY", key).Replace(apiPath+c.path), "admin", c.body)
			p := problemIn(t, w)
			if p.Code != codeNotRecorded || w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "7" {
				t.Errorf("%d, Retry-After %q: %+v", w.Code, w.Header().Get("Retry-After"), p)
			}
			if c.call != "" && slices.Contains(s.parts.calls(), c.call) {
				t.Error("it was made")
			}
			now := s.access.Users()
			if !slices.EqualFunc(users, now, func(a, b iam.Principal) bool { return a.Name == b.Name && slices.Equal(a.Roles, b.Roles) }) {
				t.Errorf("users are %+v", now)
			}
			for _, tk := range s.access.Tokens("target") {
				if (tk.Status == iam.StatusActive) != (tk.ID == token && c.event != "RevokeToken") {
					t.Errorf("token %s is %s", tk.ID, tk.Status)
				}
			}
			// What takes something away that may be misused is done all the same.
			switch c.event {
			case "UpdateAccessKey":
				if k, err := s.access.AccessKey(key); err != nil || k.Active {
					t.Errorf("%+v, %v", k, err)
				}
			case "RevokeRoleSessions":
				if a, err := s.access.Assumable("", "reader"); err != nil || a.RevokedBefore.IsZero() {
					t.Errorf("%+v, %v", a, err)
				}
			default:
				if got := s.access.AccessKeys(""); !reflect.DeepEqual(got, keys) {
					t.Errorf("access keys are %+v", got)
				}
				if got := s.access.Assumables(); !reflect.DeepEqual(got, roles) {
					t.Errorf("roles are %+v", got)
				}
			}
			if strings.Contains(w.Body.String(), "secret") {
				t.Errorf("answered %s", w.Body)
			}
		})
		if c.call == "" {
			continue
		}
		t.Run(c.event+" fails", func(t *testing.T) {
			t.Parallel()
			s := serve(t, nil)
			s.parts.holds = holdsOf("case-0")
			// The part fails when the change is made, not when it is looked whether it can be.
			s.journal.before = func() { s.parts.fail(errTest) }
			w := s.do(c.method, apiPath+c.path, "admin", c.body)
			if w.Code < 400 {
				t.Fatalf("%d: %s", w.Code, w.Body)
			}
			problemIn(t, w)
			events := s.journal.events(t)
			if len(events) != 2 || events[0].ErrorCode != "" || events[1].ErrorCode == "" || events[1].AdditionalEventData["amends"] != events[0].EventID || events[0].RequestID != events[1].RequestID {
				t.Errorf("recorded %+v", events)
			}
		})
	}
}

// TestFailedChanges makes changes that cannot be made: they are recorded as failed, and once.
func TestFailedChanges(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.parts.holds = holdsOf("case-0")
	for _, c := range []struct {
		method, path, body string
		status             int
		code, recorded     string
	}{
		{"POST", "/users", `{"name":"ADMIN","roles":[]}`, 409, codeExists, "EntityAlreadyExists"},
		{"POST", "/users", `{"name":"a b","roles":[]}`, 422, codeInvalid, "ValidationException"},
		{"POST", "/users", `{"name":"x","roles":["emperor"]}`, 422, codeInvalid, "ValidationException"},
		{"PUT", "/users/none", `{"roles":[]}`, 404, codeNotFound, "ResourceNotFoundException"},
		{"DELETE", "/users/none", "", 404, codeNotFound, "ResourceNotFoundException"},
		{"POST", "/users/none/tokens", `{}`, 404, codeNotFound, "ResourceNotFoundException"},
		{"DELETE", "/tokens/none", "", 404, codeNotFound, "ResourceNotFoundException"},
		{"POST", "/users/none/access-keys", `{}`, 404, codeNotFound, "ResourceNotFoundException"},
		{"POST", "/users/target/access-keys", `{}`, 201, "", ""},
		{"POST", "/users/target/access-keys", `{}`, 409, codeLimit, "LimitExceeded"},
		{"PUT", "/access-keys/AKIAAAAAAAAAAAAAAAAA", `{"active":true}`, 404, codeNotFound, "ResourceNotFoundException"},
		{"DELETE", "/access-keys/none", "", 404, codeNotFound, "ResourceNotFoundException"},
		{"POST", "/roles", `{"name":"READER","roles":[],"trust":` + trustAll + `}`, 409, codeExists, "EntityAlreadyExists"},
		{"POST", "/roles", `{"name":"a b","roles":[],"trust":` + trustAll + `}`, 422, codeInvalid, "ValidationException"},
		{"POST", "/roles", `{"name":"x","roles":["emperor"],"trust":` + trustAll + `}`, 422, codeInvalid, "ValidationException"},
		{"POST", "/roles", `{"name":"x","roles":[],"trust":{"Version":"2012-10-17"}}`, 422, codeInvalid, "ValidationException"},
		{"POST", "/roles", `{"name":"x","account":"999999999999","roles":[],"trust":` + trustAll + `}`, 422, codeInvalid, "ValidationException"},
		{"PUT", "/roles/reader", `{"trust":null}`, 422, codeInvalid, "ValidationException"},
		{"PUT", "/roles/none", `{"roles":[]}`, 404, codeNotFound, "ResourceNotFoundException"},
		{"DELETE", "/roles/none", "", 404, codeNotFound, "ResourceNotFoundException"},
		{"DELETE", "/roles/reader?account=999999999999", "", 404, codeNotFound, "ResourceNotFoundException"},
		{"POST", "/roles/none/revoke-sessions", "", 404, codeNotFound, "ResourceNotFoundException"},
		{"POST", "/sources/none/pause", "", 404, codeNotFound, "ResourceNotFoundException"},
		{"POST", "/sources/push/dead-letters/none/replay", "", 404, codeNotFound, "ResourceNotFoundException"},
		{"DELETE", "/sources/push/dead-letters/none", "", 404, codeNotFound, "ResourceNotFoundException"},
		{"PUT", "/holds/case-0", `{}`, 409, codeExists, "EntityAlreadyExists"},
		{"PUT", "/holds/case-1", `{"since":"2026-02-01T00:00:00Z","until":"2026-01-01T00:00:00Z"}`, 422, codeInvalid, "ValidationException"},
		{"DELETE", "/holds/none", "", 404, codeNotFound, "ResourceNotFoundException"},
	} {
		before := len(s.journal.events(t))
		w := s.do(c.method, apiPath+c.path, "root", c.body)
		if c.code == "" {
			if w.Code != c.status {
				t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
			}
			continue
		}
		if p := problemIn(t, w); w.Code != c.status || p.Code != c.code {
			t.Errorf("%s %s: %d %+v", c.method, c.path, w.Code, p)
		}
		events := s.journal.events(t)[before:]
		if len(events) != 1 || events[0].ErrorCode != c.recorded || events[0].ErrorMessage == "" || events[0].UserIdentity.Type != "Root" || events[0].ResponseElements != nil {
			t.Errorf("%s %s: recorded %+v", c.method, c.path, events)
		}
	}
}

// TestRoles gives roles to users by policies that look at the roles that are given: the body that decides is the body that
// counts.
func TestRoles(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	p, err := iam.ParsePolicies(iam.PolicyFile{Name: "p.cedar", Text: `
@id("no-new-admins") forbid (principal, action in [Spoor::Action::"CreateUser", Spoor::Action::"UpdateUser", Spoor::Action::"CreateRole", Spoor::Action::"UpdateRole"], resource) when { context has roles && context.roles.contains("admin") };`})
	if err != nil {
		t.Fatal(err)
	}
	s.access.SetPolicies(p)
	for body, want := range map[string]int{
		`{"name":"u1","roles":["auditor"]}`:                         201,
		`{"name":"u2","roles":["admin"]}`:                           403,
		`{"name":"u3","Roles":["admin"],"roles":[]}`:                201,
		`{"name":"u4","roles":[],"roles":["admin"]}`:                403,
		`{"name":"u5","roles":["auditor","admin"]}`:                 403,
		`{"name":"u6","roles":["admin"]} {"name":"u6"}`:             400,
		`{"name":"u7","roles":["\u0061dmin"]}`:                      403,
		`{"name":"u8","roles":["admin"],"roles":["analyst"]}`:       201,
		"\xef\xbb\xbf" + `{"name":"u9","roles":["admin"]}`:          400,
		`{"name":"u10","roles":["analyst"],"\u0072oles":["admin"]}`: 403,
	} {
		if w := s.do("POST", apiPath+"/users", "admin", body); w.Code != want {
			t.Errorf("%s: %d, want %d: %s", body, w.Code, want, w.Body)
		}
	}
	for _, u := range s.access.Users() {
		if u.Name != "admin" && slices.Contains(u.Roles, iam.RoleAdmin) {
			t.Errorf("%s became an admin", u.Name)
		}
	}
	if u, err := s.access.User("u8"); err != nil || !slices.Equal(u.Roles, []iam.Role{iam.RoleAnalyst}) {
		t.Errorf("u8: %+v, %v", u, err)
	}
	if w := s.do("PUT", apiPath+"/users/target", "admin", `{"roles":["admin"]}`); w.Code != 403 {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"POST", "/roles", `{"name":"r1","roles":["auditor"],"trust":` + trustAll + `}`, 201},
		{"POST", "/roles", `{"name":"r2","roles":["admin"],"trust":` + trustAll + `}`, 403},
		{"POST", "/roles", `{"name":"r3","roles":["auditor"],"\u0072oles":["admin"],"trust":` + trustAll + `}`, 403},
		{"PUT", "/roles/r1", `{"roles":["admin"]}`, 403},
		{"PUT", "/roles/r1", `{"description":"no roles are named"}`, 200},
		{"PUT", "/roles/r1", `{"roles":null}`, 200},
		{"PUT", "/roles/r1", `{"roles":["emperor"]}`, 422},
		{"PUT", "/roles/r1?account=1", `{"roles":[]}`, 422},
		{"PUT", "/roles/r1?account=111122223333&account=1", `{"roles":[]}`, 422},
	} {
		if w := s.do(c.method, apiPath+c.path, "admin", c.body); w.Code != c.want {
			t.Errorf("%s %s %s: %d, want %d: %s", c.method, c.path, c.body, w.Code, c.want, w.Body)
		}
	}
	if a, err := s.access.Assumable("", "r1"); err != nil || !slices.Equal(a.Roles, []iam.Role{iam.RoleAuditor}) || a.Description != "no roles are named" {
		t.Errorf("%+v, %v", a, err)
	}
}

// TestToken makes a token and uses it.
func TestToken(t *testing.T) {
	t.Parallel()
	s := serve(t, func(o *Options) {})
	w := s.do("POST", apiPath+"/users/analyst/tokens", "admin", `{"note":"laptop","expires":"1d"}`)
	var made MadeToken
	if err := json.Unmarshal(w.Body.Bytes(), &made); err != nil || w.Code != 201 || made.User != "analyst" || made.By != "admin" || made.Expires.Sub(made.Created).Hours() < 23.9 || made.Expires.Sub(made.Created).Hours() > 24.1 {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	s.secrets["laptop"] = made.Secret
	w = s.do("GET", apiPath+"/identity", "laptop", "")
	var who Whoami
	if err := json.Unmarshal(w.Body.Bytes(), &who); err != nil || who.Principal.Name != "analyst" || who.Token.ID != made.ID || who.Address != "192.0.2.7" || who.TLS || !slices.Contains(who.Actions, iam.SearchEvents) || slices.Contains(who.Actions, iam.PutHold) {
		t.Errorf("%s: %v", w.Body, err)
	}
	for _, body := range []string{`{"expires":"1s"}`, `{"expires":"soon"}`, `{"expires":"2020-01-01T00:00:00Z"}`, `{"expires":"-5d"}`} {
		if w := s.do("POST", apiPath+"/users/analyst/tokens", "admin", body); w.Code != 422 {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
	}
	w = s.do("POST", apiPath+"/users/analyst/tokens", "admin", `{"expires":"forever"}`)
	if err := json.Unmarshal(w.Body.Bytes(), &made); err != nil || w.Code != 201 || strings.Contains(w.Body.String(), `"expires"`) {
		t.Errorf("%d %s: %v", w.Code, w.Body, err)
	}
}

// TestAccessKey makes an access key, whose secret is in one answer and nowhere else.
func TestAccessKey(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	w := s.do("POST", apiPath+"/users/analyst/access-keys", "admin", `{"note":"laptop"}`)
	var made MadeAccessKey
	if err := json.Unmarshal(w.Body.Bytes(), &made); err != nil || w.Code != 201 || made.User != "analyst" || made.By != "admin" || made.Note != "laptop" || !made.Active || len(made.Secret) != 40 {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	if c, err := s.access.Credential(t.Context(), made.ID, ""); err != nil || c.Secret != made.Secret || c.Principal.Name != "analyst" {
		t.Errorf("%+v, %v", c.Principal, err)
	}
	var answers strings.Builder
	for _, path := range []string{"/access-keys", "/users/analyst/access-keys", "/users/analyst"} {
		answers.WriteString(s.do("GET", apiPath+path, "admin", "").Body.String())
	}
	answers.WriteString(s.do("PUT", apiPath+"/access-keys/"+made.ID, "analyst", `{"active":false}`).Body.String())
	if _, err := s.access.Credential(t.Context(), made.ID, ""); !errors.Is(err, iam.ErrNotFound) {
		t.Errorf("a key that is off: %v", err)
	}
	answers.WriteString(s.do("PUT", apiPath+"/access-keys/"+made.ID, "auditor", `{"active":true}`).Body.String())
	answers.WriteString(s.do("PUT", apiPath+"/access-keys/"+made.ID, "analyst", `{}`).Body.String())
	answers.WriteString(s.do("DELETE", apiPath+"/access-keys/"+made.ID, "admin", "").Body.String())
	if text := answers.String() + s.logged() + strings.Join(s.journal.all(), "\n"); strings.Contains(text, made.Secret) || strings.Count(answers.String(), made.ID) < 4 {
		t.Errorf("answered, logged and recorded\n%s", text)
	}
}
