package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spoor/internal/iam"
)

// TestSetSection puts sections into the files of AWS's clients, and leaves everything else as it is.
func TestSetSection(t *testing.T) {
	t.Parallel()
	const section = "[x]\nkey = new\n"
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", section},
		{"at the end", "[a]\nk = 1\n", "[a]\nk = 1\n\n" + section},
		{"no line feed at the end", "[a]\nk = 1", "[a]\nk = 1\n\n" + section},
		{"in place", "[a]\nk = 1\n\n[x]\nkey = old\naws_session_token = t\n\n# of b\n[b]\nk = 2\n", "[a]\nk = 1\n\n" + section + "\n# of b\n[b]\nk = 2\n"},
		{"last", "[a]\n[x]\nkey = old", "[a]\n" + section},
		{"nested settings", "[x]\ns3 =\n  max = 1\n[b]\n", section + "[b]\n"},
		{"twice", "[x]\nkey = 1\n[a]\nk = 1\n[ x ]\nkey = 2\n[b]\n", section + "[a]\nk = 1\n[b]\n"},
		{"line feeds of Windows", "[a]\r\nk = 1\r\n[x]\r\nkey = old\r\n", "[a]\r\nk = 1\r\n" + section},
		{"remarks", "[x] # mine\n; old\nkey = 1\n", section},
		{"another name", "[xx]\nk = 1\n[profile x]\nk = 2\n", "[xx]\nk = 1\n[profile x]\nk = 2\n\n" + section},
		{"no section", "[x\nkey = 1\n", "[x\nkey = 1\n\n" + section},
	} {
		if got := setSection(c.text, "x", section); got != c.want {
			t.Errorf("%s: got\n%q, want\n%q", c.name, got, c.want)
		}
		if had := hasSection(c.text, "x"); had != (c.name != "empty" && !strings.HasPrefix(c.want, c.text)) {
			t.Errorf("%s: has it: %v", c.name, had)
		}
	}
	for line, want := range map[string]string{"[profile  x ]": "profile x", `[profile "x"]`: "profile x", "  [default] # y": "default", "[": "", "k = [1]": "", "# [x]": ""} {
		if got, _ := sectionName(line); got != want {
			t.Errorf("%q: %q", line, got)
		}
	}
}

// FuzzSetSection: what is put in is there, once, and doing so again changes nothing.
func FuzzSetSection(f *testing.F) {
	f.Add("[a]\nk = 1\n[x]\nkey = old\n# r\n[b]\n")
	f.Fuzz(func(t *testing.T, text string) {
		const section = "[x]\nkey = new\n"
		once := setSection(text, "x", section)
		n := 0
		for line := range strings.Lines(once) {
			if name, ok := sectionName(line); ok && name == "x" {
				n++
			}
		}
		if n != 1 || !strings.Contains(once, section) {
			t.Fatalf("%q became %q", text, once)
		}
		if twice := setSection(once, "x", section); twice != once {
			t.Fatalf("%q became %q, and then %q", text, once, twice)
		}
	})
}

// TestCheckKey refuses what a server could slip into a shell or a file.
func TestCheckKey(t *testing.T) {
	t.Parallel()
	const id, secret = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	for _, c := range []struct {
		id, secret string
		ok         bool
	}{
		{id, secret, true}, {id, "", false}, {"", secret, false}, {id + "\n", secret, false}, {id, secret + "\ncredential_process = x", false}, {id, "$(touch x)$(touch x)", false}, {id, secret + " ", false},
	} {
		if err := checkKey(iam.AccessKey{ID: c.id}, c.secret); (err == nil) != c.ok {
			t.Errorf("%q, %q: %v", c.id, c.secret, err)
		}
	}
	k := keyAccess{iam.AccessKey{ID: id}, secret, awsEndpoint{"http://127.0.0.1:4599", "us-east-1"}}
	if got, want := k.exports(), "export AWS_ACCESS_KEY_ID="+id+"\nexport AWS_SECRET_ACCESS_KEY="+secret+"\nexport AWS_DEFAULT_REGION=us-east-1\nexport AWS_ENDPOINT_URL=http://127.0.0.1:4599\n"; got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	for listen, want := range map[string]string{"127.0.0.1:4599": "http://127.0.0.1:4599", ":4599": "http://h:4599", "0.0.0.0:1": "http://h:1", "[::]:1": "http://h:1", "[::1]:1": "http://[::1]:1", "x": ""} {
		if got := listenURL(listen, "h", false); got != want {
			t.Errorf("%s: %s, want %s", listen, got, want)
		}
	}
	if got := endpointOf(map[string]string{"aws.listen": "off", "region": "r"}, "h"); got != (awsEndpoint{Region: "r"}) {
		t.Errorf("off: %+v", got)
	}
}

// TestWriteProfile is not parallel: where the files are is said by variables.
func TestWriteProfile(t *testing.T) {
	dir := t.TempDir()
	credentials, settings := filepath.Join(dir, "below", "credentials"), filepath.Join(dir, "config")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", credentials)
	t.Setenv("AWS_CONFIG_FILE", settings)
	data := filepath.Join(dir, "data")
	run := func(args ...string) ran {
		t.Helper()
		return spoorAt(t, []string{"--data", data, "--set", "region=eu-central-1", "--set", "aws.listen=127.0.0.1:4599"}, args...)
	}
	read := func(path string) string {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	const mine = "[profile mine]\nregion = us-west-2\n\n# mine too\n[default]\noutput = json\n"
	if err := os.WriteFile(settings, []byte(mine), 0o644); err != nil {
		t.Fatal(err)
	}
	run("iam", "user", "create", "ann").wants(t, ExitClean)
	got := run("iam", "key", "create", "ann", "--write-profile", "sp")
	got.wants(t, ExitClean, "Made access key AKIA", "of ann, and wrote it as profile sp into "+credentials+" and "+settings, "aws --profile sp sts get-caller-identity")
	text := read(credentials)
	fields := strings.Fields(text)
	if len(fields) != 7 || fields[0] != "[sp]" || fields[1] != "aws_access_key_id" || fields[4] != "aws_secret_access_key" || strings.Contains(got.out+got.err, fields[6]) {
		t.Errorf("%s\n%+v", text, got)
	}
	if want := mine + "\n[profile sp]\nregion = eu-central-1\nendpoint_url = http://127.0.0.1:4599\n"; read(settings) != want {
		t.Errorf("got\n%s, want\n%s", read(settings), want)
	}
	for path, want := range map[string]os.FileMode{credentials: 0o600, settings: 0o644, filepath.Dir(credentials): 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	run("iam", "key", "create", "ann", "--write-profile", "sp").wants(t, ExitUsage, "has a profile sp already; --force replaces it")
	run("iam", "key", "create", "ann", "--write-profile", "mine").wants(t, ExitUsage, settings+" has a profile mine already")
	run("iam", "key", "rotate", "ann", "--write-profile", "sp").wants(t, ExitUsage, "--force replaces it")
	run("iam", "key", "list", "--user", "ann").wants(t, ExitClean, fields[3])
	if read(credentials) != text {
		t.Error("what was refused changed the file")
	}
	rotated := run("iam", "key", "rotate", "ann", "--write-profile", "sp", "--force", "--json")
	rotated.wants(t, ExitClean, `"profile": "sp"`)
	if now := read(credentials); now == text || strings.Count(now, "[sp]") != 1 || strings.Contains(rotated.out, "secret") || strings.Contains(now, fields[3]) {
		t.Errorf("%s\n%+v", now, rotated)
	}
	if !strings.HasPrefix(read(settings), mine) || strings.Count(read(settings), "[profile sp]") != 1 {
		t.Error(read(settings))
	}
	// A key whose profile cannot be written is not left behind.
	run("iam", "user", "create", "bob").wants(t, ExitClean)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(settings, "below"))
	if r := run("iam", "key", "create", "bob", "--write-profile", "other"); r.code == ExitClean {
		t.Errorf("%+v", r)
	}
	run("iam", "key", "list", "--user", "bob").wants(t, ExitClean, "There are no access keys.")
	// Without an endpoint the profile would be one of AWS itself.
	got = spoorAt(t, []string{"--data", data, "--set", "aws.listen=off"}, "iam", "key", "create", "bob", "--format", "profile")
	got.wants(t, ExitUsage, "the configuration has no AWS endpoint (aws.listen)")
	run("iam", "key", "create", "bob", "--format", "profile", "--endpoint-url", "https://spoor.example.com", "--region", "eu-west-1").wants(t, ExitClean,
		"# for ~/.aws/credentials\n[spoor]\naws_access_key_id = AKIA", "\n# for ~/.aws/config\n[profile spoor]\nregion = eu-west-1\nendpoint_url = https://spoor.example.com\n")
}
