package console

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"spoor/internal/iam"
	"spoor/internal/recorder"
)

// Who may call a route, beside root.
var (
	everybody = []string{"admin", "analyst", "auditor", "recorder", "nobody", "target"}
	readers   = []string{"admin", "analyst", "auditor"}
	auditors  = []string{"admin", "auditor"}
	recorders = []string{"admin", "recorder"}
	admins    = []string{"admin"}
)

// entry is what the matrix knows of a route.
type entry struct {
	who  []string
	path string // a path of the route, where it has parameters
	body string
	raw  string // query
}

// matrix has an entry for each route; TestMatrix fails without one.
var matrix = map[string]entry{
	"GET /healthz":                            {},
	"GET /readyz":                             {},
	"GET /openapi.json":                       {who: everybody},
	"GET /metrics":                            {who: readers},
	"/iceberg/":                               {who: readers, path: "/iceberg/v1/config"},
	"POST /api/v1/events":                     {who: recorders, body: rawEvent},
	"GET /api/v1/events":                      {who: readers},
	"GET /api/v1/events/{id}":                 {who: readers, path: "/api/v1/events/e-1"},
	"GET /api/v1/histogram":                   {who: readers},
	"GET /api/v1/top":                         {who: readers, raw: "field=eventName"},
	"GET /api/v1/fields":                      {who: readers},
	"GET /api/v1/tail":                        {who: readers},
	"POST /api/v1/query":                      {who: readers, body: `{"sql":"SELECT 1"}`},
	"GET /api/v1/queries":                     {who: readers},
	"GET /api/v1/ledger":                      {who: readers},
	"GET /api/v1/sources":                     {who: readers},
	"GET /api/v1/sources/{name}":              {who: readers, path: "/api/v1/sources/push"},
	"POST /api/v1/sources/{name}/pause":       {who: admins, path: "/api/v1/sources/push/pause"},
	"POST /api/v1/sources/{name}/resume":      {who: admins, path: "/api/v1/sources/push/resume"},
	"GET /api/v1/sources/{name}/dead-letters": {who: readers, path: "/api/v1/sources/push/dead-letters"},
	"POST /api/v1/sources/{name}/dead-letters/{id}/replay": {who: admins, path: "/api/v1/sources/push/dead-letters/l-1/replay"},
	"DELETE /api/v1/sources/{name}/dead-letters/{id}":      {who: admins, path: "/api/v1/sources/push/dead-letters/l-1"},
	"GET /api/v1/store":                         {who: readers},
	"POST /api/v1/store/compact":                {who: admins},
	"POST /api/v1/store/expire":                 {who: admins},
	"GET /api/v1/holds":                         {who: readers},
	"PUT /api/v1/holds/{name}":                  {who: admins, path: "/api/v1/holds/case-7", body: `{"reason":"case 7"}`},
	"DELETE /api/v1/holds/{name}":               {who: admins, path: "/api/v1/holds/case-7"},
	"GET /api/v1/journal":                       {who: readers},
	"GET /api/v1/status":                        {who: readers},
	"GET /api/v1/configuration":                 {who: auditors},
	"POST /api/v1/configuration/reload":         {who: admins},
	"GET /api/v1/identity":                      {who: everybody},
	"GET /api/v1/users":                         {who: auditors},
	"POST /api/v1/users":                        {who: admins, body: `{"name":"new","roles":["analyst"]}`},
	"GET /api/v1/users/{name}":                  {who: auditors, path: "/api/v1/users/target"},
	"PUT /api/v1/users/{name}":                  {who: admins, path: "/api/v1/users/target", body: `{"roles":[]}`},
	"DELETE /api/v1/users/{name}":               {who: admins, path: "/api/v1/users/target"},
	"GET /api/v1/users/{name}/tokens":           {who: []string{"admin", "auditor", "target"}, path: "/api/v1/users/target/tokens"},
	"POST /api/v1/users/{name}/tokens":          {who: admins, path: "/api/v1/users/target/tokens", body: `{"note":"laptop"}`},
	"GET /api/v1/tokens":                        {who: auditors},
	"DELETE /api/v1/tokens/{id}":                {who: []string{"admin", "target"}, path: "/api/v1/tokens/TOKEN"},
	"GET /api/v1/users/{name}/access-keys":      {who: []string{"admin", "auditor", "target"}, path: "/api/v1/users/target/access-keys"},
	"POST /api/v1/users/{name}/access-keys":     {who: admins, path: "/api/v1/users/target/access-keys", body: `{"note":"laptop"}`},
	"GET /api/v1/access-keys":                   {who: auditors},
	"PUT /api/v1/access-keys/{id}":              {who: []string{"admin", "target"}, path: "/api/v1/access-keys/KEY", body: `{"active":false}`},
	"DELETE /api/v1/access-keys/{id}":           {who: []string{"admin", "target"}, path: "/api/v1/access-keys/KEY"},
	"GET /api/v1/roles":                         {who: auditors},
	"POST /api/v1/roles":                        {who: admins, body: `{"name":"new","roles":["analyst"],"trust":` + trustAll + `}`},
	"GET /api/v1/roles/{name}":                  {who: auditors, path: "/api/v1/roles/reader"},
	"PUT /api/v1/roles/{name}":                  {who: admins, path: "/api/v1/roles/reader", body: `{"roles":[]}`},
	"DELETE /api/v1/roles/{name}":               {who: admins, path: "/api/v1/roles/reader"},
	"POST /api/v1/roles/{name}/revoke-sessions": {who: admins, path: "/api/v1/roles/reader/revoke-sessions"},
	"GET /api/v1/policies":                      {who: auditors},
}

// refusals notes what was refused beside recording it.
type refusals struct {
	*recorder.Recorder
	mu   sync.Mutex
	list []recorder.Call
}

func (r *refusals) Refused(ctx context.Context, kind string, c recorder.Call) error {
	r.mu.Lock()
	r.list = append(r.list, c)
	r.mu.Unlock()
	return r.Recorder.Refused(ctx, kind, c)
}

func (r *refusals) last() (recorder.Call, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) == 0 {
		return recorder.Call{}, 0
	}
	return r.list[len(r.list)-1], len(r.list)
}

// TestMatrix calls every route of the mux as everybody, and expects what the matrix says: nothing is reached that is not
// granted, and every refusal is recorded.
func TestMatrix(t *testing.T) {
	t.Parallel()
	routes := serve(t, nil).Routes()
	for _, p := range slices.Sorted(maps.Keys(matrix)) {
		if _, ok := routes[p]; !ok {
			t.Errorf("the matrix has %s, which is no route", p)
		}
	}
	for _, pattern := range slices.Sorted(maps.Keys(routes)) {
		e, ok := matrix[pattern]
		if !ok {
			t.Errorf("the matrix has no entry for %s", pattern)
			continue
		}
		t.Run(strings.NewReplacer("/", ":", " ", "").Replace(pattern), func(t *testing.T) {
			t.Parallel()
			checkRoute(t, pattern, routes[pattern], e)
		})
	}
}

func checkRoute(t *testing.T, pattern string, action iam.Action, e entry) {
	noted := &refusals{}
	s := serve(t, func(o *Options) {
		noted.Recorder, _ = o.Recorder.(*recorder.Recorder)
		o.Recorder = noted
	})
	close(s.parts.tail) // tails end at once
	tokenOf := func(user string) string { return s.access.Tokens(user)[0].ID }
	s.secrets["bad"] = "spoor_aaaaaaaaaaaaaaaa_" + strings.Repeat("b", 52)
	s.secrets["wrong"] = s.secrets["admin"][:len(s.secrets["admin"])-4] + "aaaa"
	var err error
	if _, s.secrets["revoked"], err = s.access.CreateToken(iam.TokenSpec{User: "admin"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.access.RevokeToken(s.access.Tokens("admin")[1].ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.access.CreateUser("deleted", []iam.Role{iam.RoleAdmin}, ""); err != nil {
		t.Fatal(err)
	}
	if _, s.secrets["deleted"], err = s.access.CreateToken(iam.TokenSpec{User: "deleted"}); err != nil {
		t.Fatal(err)
	}
	if err := s.access.DeleteUser("deleted"); err != nil {
		t.Fatal(err)
	}
	method, path, found := strings.Cut(pattern, " ")
	methods := []string{method}
	if !found {
		path, methods = pattern, []string{"GET", "HEAD", "POST", "DELETE"}
	} else if method == http.MethodGet {
		methods = append(methods, http.MethodHead)
	}
	if e.path != "" {
		path = e.path
	}
	path = strings.NewReplacer("TOKEN", tokenOf("target"), "KEY", s.access.AccessKeys("target")[0].ID).Replace(path)
	if e.raw != "" {
		path += "?" + e.raw
	}
	public := action == ""
	outside := []string{"", "bad", "wrong", "revoked", "deleted"}
	inside := []string{"nobody", "target", "recorder", "auditor", "analyst", "admin", "root"}
	before, users, tokens := s.parts.calls(), s.access.Users(), s.access.Tokens("")
	keys, roles := s.access.AccessKeys(""), s.access.Assumables()
	for _, who := range slices.Concat(outside, inside) {
		for _, m := range methods {
			granted := public || slices.Contains(inside, who) && (who == "root" || slices.Contains(e.who, who))
			if granted && !public {
				continue // when nothing more is to be refused
			}
			_, n := noted.last()
			w := s.do(m, path, who, e.body)
			if public {
				if w.Code != http.StatusOK {
					t.Errorf("%s as %q: %d", m, who, w.Code)
				}
				continue
			}
			want, code := http.StatusUnauthorized, ""
			switch who {
			case "":
				code = "MissingAuthenticationToken"
			case "revoked":
				code = "ExpiredToken"
			case "bad", "wrong", "deleted":
				code = "InvalidClientTokenId"
			default:
				want, code = http.StatusForbidden, "AccessDenied"
			}
			if w.Code != want {
				t.Errorf("%s as %q: %d, want %d: %s", m, who, w.Code, want, w.Body)
			}
			if m == http.MethodHead && w.Body.Len() > 0 {
				t.Errorf("HEAD as %q has a body: %s", who, w.Body)
			}
			if want == http.StatusUnauthorized && !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Bearer ") {
				t.Errorf("%s as %q: no challenge", m, who)
			}
			c, now := noted.last()
			if now != n+1 || c.ErrorCode != code || c.Name != string(action) || c.RequestID != w.Header().Get("X-Request-Id") || c.Address.String() != "192.0.2.7" {
				t.Errorf("%s as %q: %d refusals, recorded %+v", m, who, now-n, c)
			}
			if want == http.StatusForbidden && c.Identity.UserName != who {
				t.Errorf("%s as %q: recorded as %+v", m, who, c.Identity)
			}
		}
	}
	if got := s.parts.calls(); !slices.Equal(got, before) {
		t.Errorf("what was refused reached %q", got)
	}
	if got := s.access.Users(); len(got) != len(users) || len(s.access.Tokens("")) != len(tokens) {
		t.Errorf("what was refused changed who has access: %+v", got)
	}
	if got := s.access.AccessKeys(""); !reflect.DeepEqual(got, keys) {
		t.Errorf("what was refused changed access keys: %+v", got)
	}
	if got := s.access.Assumables(); !reflect.DeepEqual(got, roles) {
		t.Errorf("what was refused changed roles: %+v", got)
	}
	for _, ev := range s.journal.events(t) {
		if ev.ErrorCode == "" {
			t.Errorf("what was refused was recorded as %+v", ev)
		}
	}
	for _, text := range s.journal.all() {
		if text == rawEvent {
			t.Error("what was refused was put in")
		}
	}
	if public {
		return
	}
	for _, who := range append(slices.Clone(e.who), "root") {
		if pattern == "DELETE /api/v1/users/{name}" || pattern == "DELETE /api/v1/tokens/{id}" || pattern == "DELETE /api/v1/access-keys/{id}" {
			if who == "target" || who == "root" && pattern == "DELETE /api/v1/users/{name}" {
				continue // is gone
			}
		}
		for _, m := range methods {
			if w := s.do(m, path, who, e.body); w.Code == http.StatusUnauthorized || w.Code == http.StatusForbidden || w.Code >= 500 {
				t.Errorf("%s as %q: %d: %s", m, who, w.Code, w.Body)
			}
		}
	}
}

// TestDescription holds the description against the mux: every route but the catalogue is in it, with its action, and it has
// nothing else; every action of iam that a front can have has a route.
func TestDescription(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	text, err := s.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID string                `json:"operationId"`
			Action      string                `json:"x-action"`
			Security    []map[string][]string `json:"security"`
			Summary     string
			Responses   map[string]json.RawMessage
			Parameters  []struct{ Name, In string }
		}
		Components struct{ Schemas map[string]json.RawMessage }
		Security   []map[string][]string
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || len(doc.Security) != 1 {
		t.Errorf("version %q, security %v", doc.OpenAPI, doc.Security)
	}
	described, ids := map[string]iam.Action{catalogPath: iam.ReadCatalog}, map[string]bool{}
	for path, ops := range doc.Paths {
		for method, op := range ops {
			pattern := strings.ToUpper(method) + " " + path
			described[pattern] = iam.Action(op.Action)
			if public := op.Security != nil && len(op.Security) == 0; public != (op.Action == "") {
				t.Errorf("%s: security %v with action %q", pattern, op.Security, op.Action)
			}
			if op.OperationID == "" || ids[op.OperationID] || op.Summary == "" || op.Responses["default"] == nil {
				t.Errorf("%s: operation %+v", pattern, op)
			}
			ids[op.OperationID] = true
			var want, got []string
			for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
				want = append(want, m[1])
			}
			for _, p := range op.Parameters {
				if p.In == "path" {
					got = append(got, p.Name)
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(want, got) {
				t.Errorf("%s: path parameters %q, described %q", pattern, want, got)
			}
		}
	}
	if routes := s.Routes(); !maps.Equal(described, routes) {
		t.Errorf("described\n%v\nroutes\n%v", described, routes)
	}
	for _, ref := range regexp.MustCompile(`#/components/schemas/(\w+)`).FindAllStringSubmatch(string(text), -1) {
		if doc.Components.Schemas[ref[1]] == nil {
			t.Errorf("there is no schema %s", ref[1])
		}
	}
	have := slices.Collect(maps.Values(described))
	for _, a := range iam.Actions() {
		if !a.Action.AWS() && !slices.Contains(have, a.Action) {
			t.Errorf("no route does %s", a.Action)
		}
	}
}

// TestMethods calls every path with every method that is none of its own, and paths that are not there, as nobody and as root.
func TestMethods(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	close(s.parts.tail)
	paths := []string{"/", "/api", "/api/v1", "/api/v1/", "/api/v1/users/", "//api/v1/users", "/api/v1/../v1/users", "/api/v1/%2e%2e/v1/users", "/api/v1/users%2f..", "/API/V1/USERS", "/iceberg", "/metrics/", "/debug/pprof/", "/docs", "/schemas/Problem.json", "/openapi.yaml", "/openapi-3.0.json", "/healthz/", "/healthz/../metrics", "*"}
	takes := map[string][]string{}
	for pattern := range s.Routes() {
		method, path, found := strings.Cut(pattern, " ")
		if !found {
			continue
		}
		path = regexp.MustCompile(`\{\w+\}`).ReplaceAllString(path, "push")
		takes[path] = append(takes[path], method)
		if !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	call := func(method, path, secret string) *httptest.ResponseRecorder {
		r := s.request(method, "/", secret, "")
		r.RequestURI = path
		raw, err := url.PathUnescape(path)
		if err != nil {
			t.Fatal(err)
		}
		r.URL = &url.URL{Path: raw}
		if raw != path {
			r.URL.RawPath = path
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		for name := range w.Header() {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s %s: %s", method, path, name)
			}
		}
		return w
	}
	before := s.parts.calls()
	for _, path := range paths {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "BREW"} {
			open := (path == "/healthz" || path == "/readyz") && (method == "GET" || method == "HEAD")
			if w := call(method, path, ""); open != (w.Code == http.StatusOK) || !open && w.Code != http.StatusUnauthorized {
				t.Errorf("%s %s as nobody: %d", method, path, w.Code)
			}
			own := slices.Contains(takes[path], method) || method == "HEAD" && slices.Contains(takes[path], "GET")
			if own {
				continue
			}
			want := http.StatusNotFound
			if takes[path] != nil && method != "CONNECT" {
				want = http.StatusMethodNotAllowed
			}
			w := call(method, path, s.secrets["root"])
			if method == "CONNECT" && w.Code == http.StatusMethodNotAllowed {
				continue
			}
			if w.Code != want {
				t.Errorf("%s %s as root: %d, want %d", method, path, w.Code, want)
			}
			if allow := w.Header().Get("Allow"); want == http.StatusMethodNotAllowed && allow == "" {
				t.Errorf("%s %s: no Allow", method, path)
			}
		}
	}
	if got := s.parts.calls(); !slices.Equal(got, before) {
		t.Errorf("reached %q", got)
	}
}
