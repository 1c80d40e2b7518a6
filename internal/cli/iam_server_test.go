package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"spoor/internal/client"
	"spoor/internal/config"
	"spoor/internal/console"
	"spoor/internal/iam"
	"spoor/internal/journal"
	"spoor/internal/recorder"
)

// account is that of the installations of these tests.
const account = "111122223333"

// memoryJournal keeps what is recorded.
type memoryJournal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (m *memoryJournal) Append(_ context.Context, records []journal.Record) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range records {
		m.text.Write(r.Raw)
		m.text.WriteByte('\n')
	}
	return 1, nil
}

func (m *memoryJournal) all() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.text.String()
}

// logBuffer is a log that several goroutines write.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// settings is the configuration of a server of these tests.
type settings []config.Effective

func (s settings) Effective() []config.Effective { return s }
func (s settings) Reload(context.Context) (console.Reloaded, error) {
	return console.Reloaded{}, nil
}

// installation is a server with real access and a real recorder.
type installation struct {
	access  *iam.Service
	journal *memoryJournal
	log     *logBuffer
	flags   []string // of commands that ask it as root
	data    string   // its data folder, which it has locked
	tokens  map[string]string
	t       *testing.T
}

// install runs a server whose users are admin, auditor, and ann, who has no role.
func install(t *testing.T) *installation {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	in := &installation{journal: &memoryJournal{}, log: &logBuffer{}, data: data, tokens: map[string]string{}, t: t}
	log := slog.New(slog.NewTextHandler(in.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if in.access, err = iam.Open(t.Context(), filepath.Join(data, "iam"), iam.Options{Account: account, Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := in.access.Close(); err != nil {
			t.Error(err)
		}
	})
	if in.tokens["root"], _, err = in.access.FirstRoot(); err != nil {
		t.Fatal(err)
	}
	for name, roles := range map[string][]iam.Role{"admin": {iam.RoleAdmin}, "auditor": {iam.RoleAuditor}, "ann": nil} {
		if _, err := in.access.CreateUser(name, roles, ""); err != nil {
			t.Fatal(err)
		}
		if _, in.tokens[name], err = in.access.CreateToken(iam.TokenSpec{User: name}); err != nil {
			t.Fatal(err)
		}
	}
	rec, err := recorder.New(recorder.Options{Journal: in.journal, Account: account, Region: "eu-central-1", Log: log})
	if err != nil {
		t.Fatal(err)
	}
	c, err := console.New(console.Options{Access: in.access, Recorder: rec, Log: log,
		Configuration: settings{{Key: "aws.listen", Value: "0.0.0.0:4599"}, {Key: "region", Value: "eu-central-1"}, {Key: "http.tls_cert", Value: ""}}})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(c)
	t.Cleanup(s.Close)
	in.flags = []string{"--server", s.URL}
	return in
}

// as runs a command with the token of somebody.
func (in *installation) as(who string, args ...string) ran {
	in.t.Helper()
	token := filepath.Join(in.t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(in.tokens[who]), 0o600); err != nil {
		in.t.Fatal(err)
	}
	return spoorAt(in.t, append([]string{"--token-file", token}, in.flags...), args...)
}

// TestIAMOfServer changes users and tokens of a running service.
func TestIAMOfServer(t *testing.T) {
	t.Parallel()
	in := install(t)
	in.as("admin", "iam", "user", "list").wants(t, ExitClean, "NAME", "root", "(everything)", "admin", "auditor")
	in.as("admin", "iam", "user", "create", "bob", "--role", "analyst").wants(t, ExitClean, "Made user bob with the role analyst.")
	in.as("admin", "iam", "user", "create", "Bob").wants(t, ExitUsage, `user "Bob": exists already (exists, request `)
	in.as("admin", "iam", "user", "update", "bob", "--role", "auditor").wants(t, ExitClean, "User bob has the role auditor.")
	in.as("admin", "iam", "user", "update", "bob", "--role", "", "--json").wants(t, ExitClean, `"roles": []`)
	made := in.as("admin", "iam", "token", "create", "bob", "--note", "lap", "--expires", "12h")
	made.wants(t, ExitClean, "spoor_", "of bob, which expires 20")
	secret := strings.TrimSpace(made.out)
	in.tokens["bob"] = secret
	in.as("bob", "iam", "token", "list", "--user", "bob").wants(t, ExitClean, iam.TokenID(secret), "active", "lap")
	in.as("bob", "iam", "token", "list").wants(t, ExitFailure, "may not ListTokens")
	in.as("bob", "iam", "user", "create", "eve").wants(t, ExitFailure, "may not CreateUser")
	in.as("auditor", "iam", "token", "list").wants(t, ExitClean, "lap")
	in.as("auditor", "iam", "policy", "auditor").wants(t, ExitClean, `@id("auditor")`)
	in.as("admin", "iam", "token", "create", "bob", "--expires", "never").wants(t, ExitUsage, "body.expires")
	in.as("admin", "iam", "token", "list", "--user", "none").wants(t, ExitUsage, "not found")
	in.as("bob", "iam", "token", "revoke", secret).wants(t, ExitClean, "Revoked token "+iam.TokenID(secret)+" of bob.")
	in.as("bob", "iam", "token", "list", "--user", "bob").wants(t, ExitFailure, "does not take the token")
	in.as("admin", "iam", "user", "delete", "bob").wants(t, ExitClean, "Deleted user bob, 0 access keys and 1 token.")
	in.as("admin", "iam", "user", "delete", "bob").wants(t, ExitUsage, "not found")
	in.as("admin", "iam", "user", "list", "--data", in.data).wants(t, ExitUsage, "either --server, or a data folder")
	spoorAt(t, nil, "iam", "user", "create", "eve", "--data", in.data).wants(t, ExitUsage, "is in use", "the service runs: ask it with --server, by this configuration http://127.0.0.1:8484, or stop it")
	spoorAt(t, nil, "iam", "user", "list", "--data", in.data).wants(t, ExitClean, "auditor")
	if text := in.journal.all() + in.log.String(); strings.Contains(text, secret) || strings.Contains(text, in.tokens["admin"]) || !strings.Contains(in.journal.all(), `"CreateToken"`) {
		t.Errorf("recorded and logged\n%s", text)
	}
}

// eitherAccess runs a test with the commands of a data folder, and with those of a server, whose users and account are the same.
func eitherAccess(t *testing.T, test func(t *testing.T, run func(args ...string) ran, access func(func(*iam.Service)))) {
	t.Run("folder", func(t *testing.T) {
		t.Parallel()
		data := filepath.Join(t.TempDir(), "data")
		access := func(fn func(*iam.Service)) {
			t.Helper()
			s, err := iam.Open(t.Context(), filepath.Join(data, "iam"), iam.Options{Account: account})
			if err != nil {
				t.Fatal(err)
			}
			fn(s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		access(func(s *iam.Service) {
			for _, name := range []string{"ann", "bob"} {
				if _, err := s.CreateUser(name, nil, ""); err != nil {
					t.Fatal(err)
				}
			}
		})
		flags := []string{"--data", data, "--set", "account=" + account, "--set", "region=eu-central-1", "--set", "aws.listen=127.0.0.1:4599"}
		test(t, func(args ...string) ran { t.Helper(); return spoorAt(t, flags, args...) }, access)
	})
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		in := install(t)
		if _, err := in.access.CreateUser("bob", nil, ""); err != nil {
			t.Fatal(err)
		}
		test(t, func(args ...string) ran { t.Helper(); return in.as("admin", args...) }, func(fn func(*iam.Service)) { fn(in.access) })
	})
}

// newKey is what spoor iam key create gives with --json.
type newKey struct {
	iam.AccessKey
	Secret string `json:"secret"`
}

func decodeTo[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// TestKeys makes, lists, switches and deletes access keys.
func TestKeys(t *testing.T) {
	t.Parallel()
	eitherAccess(t, func(t *testing.T, run func(...string) ran, access func(func(*iam.Service))) {
		run("iam", "key", "list").wants(t, ExitClean, "There are no access keys.")
		run("iam", "key", "list", "--json").wants(t, ExitClean, "[]")
		got := run("iam", "key", "create", "ann", "--note", "lap")
		got.wants(t, ExitClean, "Access key ID      AKIA", "Secret access key  ", "Its secret is shown this one time")
		lines := strings.Fields(got.out)
		id, secret := lines[3], lines[len(lines)-1]
		second := decodeTo[newKey](t, run("iam", "key", "create", "ann", "--json").out)
		if second.User != "ann" || !second.Active || len(second.Secret) != 40 || second.ID == id {
			t.Errorf("%+v", second)
		}
		access(func(s *iam.Service) {
			for key, want := range map[string]string{id: secret, second.ID: second.Secret} {
				if c, err := s.Credential(t.Context(), key, ""); err != nil || c.Secret != want || c.Principal.Name != "ann" {
					t.Errorf("%s: %v, secret as given: %v", key, err, c.Secret == want)
				}
			}
		})
		run("iam", "key", "create", "ann").wants(t, ExitUsage, "too many")
		run("iam", "key", "create", "none").wants(t, ExitUsage, "not found")
		run("iam", "key", "create", "bob", "--format", "xml").wants(t, ExitUsage, `--format "xml": want one of text, env, json, profile`)
		run("iam", "key", "create", "bob", "--format", "env", "--json").wants(t, ExitUsage, "either --json or --format env")
		run("iam", "key", "create", "bob", "--format", "env", "--write-profile", "x").wants(t, ExitUsage, "either --format")
		run("iam", "key", "create", "bob", "--format", "env", "--endpoint-url", "ftp://x").wants(t, ExitUsage, "is no address of an endpoint")
		run("iam", "key", "create", "bob", "--format", "env", "--endpoint-url", "http://x/$(id)").wants(t, ExitUsage, "is no address of an endpoint")
		run("iam", "key", "create", "bob", "--format", "env", "--region", "a b").wants(t, ExitUsage, "is no Region")
		run("iam", "key", "create", "bob", "--write-profile", "a]b").wants(t, ExitUsage, "--write-profile")
		run("iam", "key", "list", "--user", "bob").wants(t, ExitClean, "There are no access keys.") // none of these made one
		list := run("iam", "key", "list", "--user", "ann")
		list.wants(t, ExitClean, "ID", "LAST USED", id, "active", "lap", second.ID, "active")
		run("iam", "key", "list", "--user", "none").wants(t, ExitUsage, "not found")
		off := run("iam", "key", "update", id, "--status", "inactive")
		off.wants(t, ExitClean, "Access key "+id+" of ann is inactive.")
		access(func(s *iam.Service) {
			if _, err := s.Credential(t.Context(), id, ""); !errors.Is(err, iam.ErrNotFound) {
				t.Errorf("a key that is off: %v", err)
			}
		})
		run("iam", "key", "update", id).wants(t, ExitUsage, "wants --status active or inactive")
		run("iam", "key", "update", id, "--status", "Active", "--json").wants(t, ExitClean, `"active": true`)
		run("iam", "key", "update", "AKIANONE", "--status", "active").wants(t, ExitUsage, "not found")
		users := run("iam", "user", "list")
		users.wants(t, ExitClean, "NAME", "KEYS", "ann")
		deleted := run("iam", "key", "delete", id)
		deleted.wants(t, ExitClean, "Deleted access key "+id+".")
		run("iam", "key", "delete", id).wants(t, ExitUsage, "not found")
		gone := run("iam", "user", "delete", "ann")
		gone.wants(t, ExitClean, "Deleted user ann, 1 access key and ")
		for _, r := range []ran{list, off, users, deleted, gone} {
			if strings.Contains(r.out+r.err, secret) || strings.Contains(r.out+r.err, second.Secret) {
				t.Errorf("a secret in %+v", r)
			}
		}
	})
}

// TestKeyRotation replaces an access key.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	eitherAccess(t, func(t *testing.T, run func(...string) ran, access func(func(*iam.Service))) {
		run("iam", "key", "rotate", "ann").wants(t, ExitUsage, "ann has no access key to replace")
		run("iam", "key", "rotate", "ann", "--finish").wants(t, ExitUsage, "there is no rotation to finish")
		older := decodeTo[newKey](t, run("iam", "key", "create", "ann", "--json").out)
		run("iam", "key", "rotate", "ann", "--finish").wants(t, ExitUsage, "ann has 1 access key: there is no rotation to finish")
		access(func(s *iam.Service) { s.UsedKey(older.ID, "sts", "us-east-1") })
		got := run("iam", "key", "rotate", "ann", "--json")
		got.wants(t, ExitClean, "ann has two access keys now", older.ID+", which was last used 20", "spoor iam key rotate ann --finish")
		newer := decodeTo[newKey](t, got.out)
		run("iam", "key", "rotate", "ann").wants(t, ExitUsage, "ann has 2 access keys; spoor iam key rotate ann --finish")
		run("iam", "key", "rotate", "ann", "--finish", "--note", "x").wants(t, ExitUsage, "--note is for the new key")
		run("iam", "key", "rotate", "ann", "--finish").wants(t, ExitFindings, "nothing was deleted: the newer key "+newer.ID+" was not used yet")
		run("iam", "key", "rotate", "ann", "--finish", "--json").wants(t, ExitFindings, `"finished": false`, "was not used yet")
		access(func(s *iam.Service) {
			s.UsedKey(newer.ID, "sts", "us-east-1")
			if _, err := s.AccessKey(older.ID); err != nil {
				t.Error(err)
			}
		})
		run("iam", "key", "update", newer.ID, "--status", "inactive").wants(t, ExitClean)
		run("iam", "key", "rotate", "ann", "--finish").wants(t, ExitFindings, "the newer key "+newer.ID+" is switched off")
		run("iam", "key", "update", newer.ID, "--status", "active").wants(t, ExitClean)
		run("iam", "key", "rotate", "ann", "--finish").wants(t, ExitClean, "Deleted access key "+older.ID+" of ann", newer.ID+" stays.")
		third := decodeTo[newKey](t, run("iam", "key", "rotate", "ann", "--json").out)
		run("iam", "key", "rotate", "ann", "--finish", "--force", "--json").wants(t, ExitClean, `"finished": true`, `"older": "`+newer.ID)
		run("iam", "key", "list").wants(t, ExitClean, third.ID)
	})
}

// TestInUse says when the older of two keys may be deleted.
func TestInUse(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 9, 8, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name         string
		older, newer iam.AccessKey
		want         string
	}{
		{"new one unused", iam.AccessKey{Active: true, LastUsed: at}, iam.AccessKey{Active: true}, "was not used yet"},
		{"both unused", iam.AccessKey{Active: true}, iam.AccessKey{Active: true}, "was not used yet"},
		{"new one off", iam.AccessKey{Active: true}, iam.AccessKey{LastUsed: at}, "is switched off"},
		{"old one used last", iam.AccessKey{Active: true, LastUsed: at.Add(time.Second)}, iam.AccessKey{Active: true, LastUsed: at}, "after the newer key"},
		{"old one used last and off", iam.AccessKey{LastUsed: at.Add(time.Second)}, iam.AccessKey{Active: true, LastUsed: at}, ""},
		{"old one never used", iam.AccessKey{Active: true}, iam.AccessKey{Active: true, LastUsed: at}, ""},
		{"new one used last", iam.AccessKey{Active: true, LastUsed: at}, iam.AccessKey{Active: true, LastUsed: at.Add(time.Second)}, ""},
	} {
		if got := inUse(c.older, c.newer); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}

// TestRoles makes, shows, changes and deletes roles.
func TestRoles(t *testing.T) {
	t.Parallel()
	eitherAccess(t, func(t *testing.T, run func(...string) ran, access func(func(*iam.Service))) {
		arn := "arn:aws:iam::" + account + ":role/reader"
		run("iam", "role", "list").wants(t, ExitClean, "There are no roles to assume.")
		run("iam", "role", "list", "--json").wants(t, ExitClean, "[]")
		run("iam", "role", "create", "reader", "--role", "analyst").wants(t, ExitUsage, "wants --trust or --trust-file")
		run("iam", "role", "create", "reader", "--role", "analyst", "--trust", "root").wants(t, ExitUsage, "--trust root")
		run("iam", "role", "create", "reader", "--role", "boss", "--trust", "ann").wants(t, ExitUsage, "want admin, analyst, auditor, recorder or storage")
		run("iam", "role", "create", "reader", "--trust", "ann", "--max-session", "soon").wants(t, ExitUsage, `--max-session "soon"`)
		run("iam", "role", "create", "reader", "--trust", "nobody").wants(t, ExitUsage, "nobody")
		run("iam", "role", "create", "reader", "--trust", "ann", "--account", "444455556666").wants(t, ExitUsage, "444455556666")
		run("iam", "role", "create", "reader", "--role", "analyst", "--trust", "ann", "--trust", "bob", "--max-session", "8h", "--description", "for tests").
			wants(t, ExitClean, "Made role reader with the rights of analyst. To assume it: aws sts assume-role --role-arn "+arn)
		run("iam", "role", "create", "READER", "--trust", "*").wants(t, ExitUsage, "exists already")
		run("iam", "role", "list").wants(t, ExitClean, "NAME", "reader", account, "analyst")
		run("iam", "role", "show", "reader").wants(t, ExitClean, arn, "AROA", "for tests", "analyst", "8h0m0s", "Trust\n", ":user/ann", ":user/bob")
		run("iam", "role", "show", "none").wants(t, ExitUsage, "not found")
		shown := decodeTo[client.Role](t, run("iam", "role", "show", "reader", "--account", account, "--json").out)
		if shown.ARN != arn || shown.MaxSessionSeconds != 8*3600 || !strings.Contains(string(shown.Trust), "user/bob") {
			t.Errorf("%+v", shown)
		}
		run("iam", "role", "update", "reader").wants(t, ExitUsage, "wants what to change")
		run("iam", "role", "update", "reader", "--trust", "ann", "--trust-file", "x").wants(t, ExitUsage, "either --trust or --trust-file")
		run("iam", "role", "update", "none", "--role", "auditor").wants(t, ExitUsage, "not found")
		run("iam", "role", "update", "reader", "--role", "auditor,analyst").wants(t, ExitClean, "Role reader has the rights of analyst, auditor.")
		file := filepath.Join(t.TempDir(), "trust.json")
		if err := os.WriteFile(file, []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+account+`:user/bob"},"Action":"sts:AssumeRole"}]}`), 0o600); err != nil {
			t.Fatal(err)
		}
		changed := decodeTo[client.Role](t, run("iam", "role", "update", "reader", "--trust-file", file, "--description", "", "--max-session", "1h", "--json").out)
		if strings.Contains(string(changed.Trust), "ann") || changed.Description != "" || changed.MaxSessionSeconds != 3600 || len(changed.Roles) != 2 {
			t.Errorf("%+v", changed)
		}
		if err := os.WriteFile(file, []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject"}]}`), 0o600); err != nil {
			t.Fatal(err)
		}
		run("iam", "role", "update", "reader", "--trust-file", file).wants(t, ExitUsage, "s3:GetObject")
		if err := os.WriteFile(file, []byte(`{`), 0o600); err != nil {
			t.Fatal(err)
		}
		run("iam", "role", "update", "reader", "--trust-file", file).wants(t, ExitUsage, "want a JSON document")
		run("iam", "role", "update", "reader", "--role", "").wants(t, ExitClean, "Role reader has no rights.")
		run("iam", "role", "revoke-sessions", "reader").wants(t, ExitClean, "Sessions of role reader that were issued until 20")
		run("iam", "role", "revoke-sessions", "none").wants(t, ExitUsage, "not found")
		access(func(s *iam.Service) {
			if a, err := s.Assumable("", "reader"); err != nil || a.RevokedBefore.IsZero() {
				t.Errorf("%+v, %v", a, err)
			}
		})
		run("iam", "role", "show", "reader").wants(t, ExitClean, "those issued until 20")
		run("iam", "role", "delete", "reader").wants(t, ExitClean, "Deleted role reader.")
		run("iam", "role", "delete", "reader").wants(t, ExitUsage, "not found")
	})
}

// TestKeysOfServer: who may do what with keys, and what is recorded and logged of them.
func TestKeysOfServer(t *testing.T) {
	t.Parallel()
	in := install(t)
	made := decodeTo[newKey](t, in.as("admin", "iam", "key", "create", "ann", "--json").out)
	in.as("ann", "iam", "key", "create", "ann").wants(t, ExitFailure, "may not CreateAccessKey")
	in.as("ann", "iam", "key", "list", "--user", "ann").wants(t, ExitClean, made.ID)
	in.as("ann", "iam", "key", "list").wants(t, ExitFailure, "may not ListAccessKeys")
	in.as("auditor", "iam", "key", "update", made.ID, "--status", "inactive").wants(t, ExitFailure, "may not UpdateAccessKey")
	in.as("ann", "iam", "key", "update", made.ID, "--status", "inactive").wants(t, ExitClean, "is inactive")
	env := in.as("admin", "iam", "key", "create", "ann", "--format", "env")
	// The address that is listened on is every one; that of the server is known.
	env.wants(t, ExitClean, "export AWS_ACCESS_KEY_ID=AKIA", "\nexport AWS_SECRET_ACCESS_KEY=", "\nexport AWS_DEFAULT_REGION=eu-central-1\nexport AWS_ENDPOINT_URL=http://127.0.0.1:4599\n")
	in.as("ann", "iam", "key", "delete", made.ID).wants(t, ExitClean, "Deleted access key")
	in.as("auditor", "iam", "role", "create", "reader", "--trust", "ann").wants(t, ExitFailure, "may not CreateRole")
	in.as("ann", "iam", "role", "list").wants(t, ExitFailure, "may not ListRoles")
	recorded, secret := in.journal.all(), strings.TrimPrefix(strings.Split(env.out, "\n")[1], "export AWS_SECRET_ACCESS_KEY=")
	for _, want := range []string{`"CreateAccessKey"`, `"UpdateAccessKey"`, `"DeleteAccessKey"`, `"status":"Inactive"`, `"accessKeyId":"` + made.ID + `"`, `"CreateRole"`, `"AccessDenied"`} {
		if !strings.Contains(recorded, want) {
			t.Errorf("%s is not in\n%s", want, recorded)
		}
	}
	for _, s := range []string{made.Secret, strings.Trim(secret, "'")} {
		if len(s) != 40 || strings.Contains(recorded+in.log.String(), s) {
			t.Errorf("a secret of %d characters is recorded or logged", len(s))
		}
	}
}

// TestRoleOfMember makes a role in another account of the organisation.
func TestRoleOfMember(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "spoor.yaml")
	if err := os.WriteFile(file, []byte("data: "+filepath.Join(dir, "data")+"\naccount: "+account+"\norganization:\n  id: o-exampleorgid\n  root: r-ab12\n  management: "+account+"\n  accounts:\n    - {id: "+account+
		", name: one, email: one@example.com}\n    - {id: 444455556666, name: two, email: two@example.com}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) ran { t.Helper(); return spoorAt(t, []string{"--config", file}, args...) }
	run("iam", "role", "create", "reader", "--role", "auditor", "--trust", "*").wants(t, ExitClean)
	run("iam", "role", "create", "reader", "--role", "auditor", "--trust", "*", "--account", "444455556666").wants(t, ExitClean, "arn:aws:iam::444455556666:role/reader")
	run("iam", "role", "create", "reader", "--role", "auditor", "--trust", "*", "--account", "999999999999").wants(t, ExitUsage, "999999999999")
	run("iam", "role", "list").wants(t, ExitClean, "reader  "+account, "reader  444455556666")
	run("iam", "role", "delete", "reader", "--account", "444455556666").wants(t, ExitClean)
	run("iam", "role", "show", "reader", "--account", "444455556666").wants(t, ExitUsage, "not found")
	run("iam", "role", "show", "reader").wants(t, ExitClean, "arn:aws:iam::"+account+":role/reader")
}
