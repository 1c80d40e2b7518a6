package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spoor/internal/iam"
)

// spoor runs a command line and returns what it wrote.
func spoor(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

func TestIAM(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	run := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		code, stdout, stderr := spoor(t, "", append(args, "--data", data)...)
		if code != want {
			t.Fatalf("%q: %d, want %d\n%s%s", args, code, want, stdout, stderr)
		}
		return stdout, stderr
	}
	has := func(text string, wants ...string) {
		t.Helper()
		for _, w := range wants {
			if !strings.Contains(text, w) {
				t.Errorf("%q is not in:\n%s", w, text)
			}
		}
	}
	out, _ := run(ExitClean, "iam", "user", "list")
	has(out, "NAME", "root", "(everything)")
	if _, err := os.Stat(data); err == nil {
		t.Error("a list made the data folder")
	}
	out, _ = run(ExitClean, "iam", "user", "create", "ann", "--role", "analyst,auditor")
	has(out, "Made user ann with the roles analyst, auditor.")
	_, errs := run(ExitUsage, "iam", "user", "create", "Ann")
	has(errs, `user "Ann": exists already`)
	_, errs = run(ExitUsage, "iam", "user", "create", "bob", "--role", "boss")
	has(errs, "want admin, analyst, auditor, recorder or storage")
	_, errs = run(ExitUsage, "iam", "user", "delete", "bob")
	has(errs, "not found")
	_, errs = run(ExitUsage, "iam", "user", "update", "ann")
	has(errs, "wants --role")

	secret, errs := run(ExitClean, "iam", "token", "create", "ann", "--note", "lap", "--expires", "12h")
	has(errs, "of ann, which expires 20", "shown this one time")
	secret = strings.TrimSuffix(secret, "\n")
	if strings.ContainsAny(secret, " \n") || !strings.HasPrefix(secret, "spoor_") {
		t.Errorf("%q", secret)
	}
	_, errs = run(ExitUsage, "iam", "token", "create", "ann", "--expires", "never")
	has(errs, `--expires "never"`)
	out, _ = run(ExitClean, "iam", "token", "create", "root", "--expires", "forever", "--json")
	var made struct {
		iam.Token
		Secret string `json:"secret"`
	}
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.User != "root" || !made.Expires.IsZero() || iam.TokenID(made.Secret) != made.ID {
		t.Errorf("%s: %v", out, err)
	}
	out, _ = run(ExitClean, "iam", "token", "list", "--user", "ann")
	has(out, iam.TokenID(secret), "active", "lap")
	if strings.Contains(out, made.ID) || strings.Contains(out, secret) {
		t.Error(out)
	}
	out, _ = run(ExitClean, "iam", "token", "revoke", secret)
	has(out, "Revoked token "+iam.TokenID(secret)+" of ann.")
	out, _ = run(ExitClean, "iam", "token", "list")
	has(out, "revoked")

	out, _ = run(ExitClean, "iam", "can", "ann", "RunQuery")
	has(out, "yes user ann (analyst, auditor) may RunQuery on the server: permitted by analyst, auditor\n")
	out, _ = run(ExitFindings, "iam", "can", "ann", "RevokeToken", "--on", "token:"+made.ID)
	has(out, "no  user ann (analyst, auditor) may not RevokeToken on token "+made.ID+": forbidden by root-tokens-are-its-own\n")
	_, errs = run(ExitUsage, "iam", "can", "ann", "Fly")
	has(errs, `no action "Fly"`)
	_, errs = run(ExitUsage, "iam", "can", "ann", "RunQuery", "--on", "bob")
	has(errs, "want TYPE:ID")
	out, _ = run(ExitClean, "iam", "can", "ann", "--json")
	var decisions []iam.Decision
	if err := json.Unmarshal([]byte(out), &decisions); err != nil || len(decisions) < 30 {
		t.Errorf("%v, %s", err, out)
	}

	policy := filepath.Join(t.TempDir(), "mine.cedar")
	if err := os.WriteFile(policy, []byte(`@id("mine") forbid (principal, action == Spoor::Action::"RunQuery", resource);`), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ = run(ExitFindings, "iam", "can", "root", "RunQuery", "--set", "iam.policies="+policy)
	has(out, "forbidden by mine")
	out, _ = run(ExitClean, "iam", "policy", "mine", "--set", "iam.policies="+policy)
	has(out, `@id("mine")`)
	out, _ = run(ExitClean, "iam", "policy", "--schema")
	has(out, "namespace Spoor", "action RunQuery in [ReadEvents]")
	if err := os.WriteFile(policy, []byte(`permit (principal, action == Spoor::Action::"Fly", resource);`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs = run(ExitUsage, "iam", "policy", "--set", "iam.policies="+policy)
	has(errs, policy+":1: ")
	out, _ = run(ExitFindings, "config", "check", "--set", "iam.policies="+policy)
	has(out, "iam.policies: "+policy+":1: ")

	// While the service runs, its folder can be looked at, and not changed.
	s, err := iam.Open(t.Context(), filepath.Join(data, "iam"), iam.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	_, errs = run(ExitUsage, "iam", "user", "delete", "ann")
	has(errs, "is in use", "the service runs: ask it with --server, by this configuration http://127.0.0.1:8484, or stop it")
	out, _ = run(ExitClean, "iam", "user", "list", "--json")
	has(out, `"name": "ann"`)
}

func TestConfigCommands(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "spoor.yaml")
	if err := os.WriteFile(file, []byte("log: {level: warn}\nsources:\n  - {name: a, type: s3, bucket: some-bucket, aws: {access_key_id: x, secret_access_key: hush}}\n  - {name: b, type: folder, path: none}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, stdin string
		args        []string
		code        int
		stdout      string
		stderr      string
	}{
		{"folder is missing", "", []string{"config", "check", file}, ExitFindings, file + ":4:35: sources.b.path: stat ", ""},
		{"alone", "", []string{"config", "check", file, "--alone"}, ExitClean, "The configuration is fine: ", ""},
		{"all problems", "dta: 1\nlog: {level: x}\n", []string{"config", "check", "-"}, ExitFindings, "-:1:1: dta: unknown key; did you mean data?\n-:2:14: log.level: want debug, info, warn or error\n", ""},
		{"JSON", "dta: 1\n", []string{"config", "check", "-", "--json"}, ExitFindings, `"where": "-:1:1",`, ""},
		{"no file", "", []string{"config", "check", file + "x"}, ExitUsage, "", "read configuration: open "},
		{"two files", "", []string{"config", "check", file, "--config", file}, ExitUsage, "", "takes one file"},
		{"escape codes", "\"\\e[31m\": 1\n", []string{"config", "check", "-"}, ExitFindings, `\x1b[31m: unknown key`, ""},
		{"show", "", []string{"config", "show", "--config", file, "--set", "sources.b.path=.", "--log-level", "debug"}, ExitClean, "  level: debug                                  # flag --log-level\n", ""},
		{"show a secret", "", []string{"config", "show", "--config", file, "--json"}, ExitClean, `"value": "********"`, ""},
		{"show what is wrong", "", []string{"config", "show", "--set", "data"}, ExitUsage, "", "want KEY=VALUE"},
		{"flag that is wrong", "", []string{"config", "show", "--listen", "x"}, ExitUsage, "", "--listen: http.listen: "},
		{"example", "", []string{"config", "example"}, ExitClean, "#listen: 127.0.0.1:8484\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := spoor(t, c.stdin, c.args...)
			if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
				t.Errorf("%d, want %d\n%s%s", code, c.code, stdout, stderr)
			}
			if strings.Contains(stdout+stderr, "hush") {
				t.Error("a secret is shown")
			}
		})
	}
}
