package cli

import (
	"bytes"
	"context"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

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
	in.as("admin", "iam", "user", "delete", "bob").wants(t, ExitClean, "Deleted user bob and 1 token.")
	in.as("admin", "iam", "user", "delete", "bob").wants(t, ExitUsage, "not found")
	in.as("admin", "iam", "user", "list", "--data", in.data).wants(t, ExitUsage, "either --server, or a data folder")
	spoorAt(t, nil, "iam", "user", "create", "eve", "--data", in.data).wants(t, ExitUsage, "is in use", "the service runs: ask it with --server http://127.0.0.1:8484, or stop it")
	spoorAt(t, nil, "iam", "user", "list", "--data", in.data).wants(t, ExitClean, "auditor")
	if text := in.journal.all() + in.log.String(); strings.Contains(text, secret) || strings.Contains(text, in.tokens["admin"]) || !strings.Contains(in.journal.all(), `"CreateToken"`) {
		t.Errorf("recorded and logged\n%s", text)
	}
}
