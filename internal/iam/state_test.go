package iam

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const goodState = `{"format":"spoor-iam","version":1,"written":"2026-03-09T08:00:00Z","rootMade":"2026-03-09T08:00:00Z",
 "users":[{"id":"AIDAABCDEFGHIJKLMNOP","name":"ann","roles":["admin","analyst"],"created":"2026-03-09T08:00:00Z","by":"root"}],
 "credentials":[{"id":"abcdefghijklmnop","type":"token","user":"ann","verifier":"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
 "note":"ci","created":"2026-03-09T08:00:00Z","by":"root","expires":"2026-06-07T08:00:00Z"}]}`

func TestDecodeState(t *testing.T) {
	t.Parallel()
	f, err := decodeState([]byte(goodState))
	if err != nil || len(f.Users) != 1 || f.Credentials[0].Expires.IsZero() {
		t.Fatalf("%+v, %v", f, err)
	}
	for _, c := range []struct {
		old, new string
		want     error
		says     string
	}{
		{"spoor-iam", "other", ErrDamaged, `format is "other"`},
		{`"version":1`, `"version":3`, ErrNewer, "version 3"},
		{`"version":1`, `"version":0`, ErrDamaged, "version 0"},
		{`"version":1`, `"version":"1"`, ErrDamaged, "cannot unmarshal"},
		{`"note"`, `"other":"x","note"`, ErrDamaged, `unknown field "other"`},
		{`"note"`, `"sealed":"eHg=","note"`, ErrDamaged, `a token has nothing of an access key`},
		{`"token"`, `"accessKey"`, ErrDamaged, `type "accessKey"`},
		{`"by":"root","expires"`, `"by":"root"}],"more":[{"expires"`, ErrDamaged, `unknown field "more"`},
		{`sha256:0`, `sha256:`, ErrDamaged, "verifier"},
		{`sha256:0`, `sha256:A`, ErrDamaged, "verifier"},
		{`sha256:0`, `sha256:x`, ErrDamaged, "verifier"},
		{`sha256:`, `md5:`, ErrDamaged, "verifier"},
		{`"abcdefghijklmnop"`, `"abcdefghijklmno"`, ErrDamaged, "id"},
		{`"abcdefghijklmnop"`, `"ABCDEFGHIJKLMNOP"`, ErrDamaged, "id"},
		{`"user":"ann"`, `"user":"bob"`, ErrDamaged, `belongs to "bob", who is not there`},
		{`"user":"ann"`, `"user":"ANN"`, ErrDamaged, `belongs to "ANN"`},
		{`"user":"ann"`, `"user":"root"`, nil, ""},
		{`"name":"ann"`, `"name":"root"`, ErrDamaged, "root"},
		{`"name":"ann"`, `"name":"a/n"`, ErrDamaged, "user name"},
		{`["admin","analyst"]`, `["analyst","admin"]`, ErrDamaged, "not in order"},
		{`["admin","analyst"]`, `["owner"]`, ErrDamaged, `role "owner"`},
		{`AIDAABCDEFGHIJKLMNOP`, `AIDAABCDEFGHIJKLMNO`, ErrDamaged, "id"},
		{`"users":[`, `"users":[{"id":"AIDAABCDEFGHIJKLMNOQ","name":"ANN","roles":[]},`, ErrDamaged, "two users ann"},
		{`"users":[`, `"users":[{"id":"AIDAABCDEFGHIJKLMNOP","name":"bob","roles":[]},`, ErrDamaged, "user ann: id"},
		{`"note":"ci"`, `"note":"` + strings.Repeat("x", 201) + `"`, ErrDamaged, "note has 201 bytes"},
		{`Z"}]}`, `Z"}]}{}`, ErrDamaged, "after top-level value"},
		{`Z"}]}`, `Z"}]`, ErrDamaged, "unexpected end"},
		{"2026-06-07T", "2026-06-37T", ErrDamaged, "parsing time"},
	} {
		text := strings.Replace(goodState, c.old, c.new, 1)
		if text == goodState {
			t.Fatalf("%q is not there", c.old)
		}
		_, err := decodeState([]byte(text))
		if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s for %s: %v; want %v, %s", c.new, c.old, err, c.want, c.says)
		}
	}
	// What cannot be read keeps everybody out, and stays as it is.
	dir := t.TempDir()
	path := filepath.Join(dir, stateName)
	if err := os.WriteFile(path, []byte(goodState[:100]), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, Options{}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != goodState[:100] {
		t.Errorf("%q, %v", got, err)
	}
	if err := os.WriteFile(path, []byte(goodState), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, dir, Options{}) // the lock was given back
}

// FuzzDecodeState: no text makes the decoder panic, and what it accepts is written as it was read.
func FuzzDecodeState(f *testing.F) {
	f.Add([]byte(goodState))
	f.Add([]byte(`{"format":"spoor-iam","version":1,"users":null,"credentials":[]}`))
	f.Add([]byte(`{"format":"spoor-iam","version":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := decodeState(text)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Fatal(err)
			}
			return
		}
		first, err := a.encode()
		if err != nil {
			t.Fatal(err)
		}
		b, err := decodeState(first)
		if err != nil {
			t.Fatal(err)
		}
		again, err := b.encode()
		if err != nil || !bytes.Equal(first, again) {
			t.Fatalf("%s\n%s\n%v", first, again, err)
		}
	})
}

// FuzzToken: what is accepted as a token is put together again as it came.
func FuzzToken(f *testing.F) {
	f.Add(tokenText(newToken()))
	f.Add("spoor_")
	f.Fuzz(func(t *testing.T, text string) {
		if id, secret, ok := splitToken(text); ok && tokenText(id, secret) != text {
			t.Fatalf("%q becomes %q", text, tokenText(id, secret))
		}
	})
}

// FuzzPolicies: no text makes the reader of policies panic.
func FuzzPolicies(f *testing.F) {
	f.Add(rolesText)
	f.Add(`permit (principal, action == Spoor::Action::"GetEvent", resource) when { context.address.isInRange(ip("192.0.2.0/24")) };`)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			return
		}
		if p, err := ParsePolicies(PolicyFile{"fuzz.cedar", text}); (p == nil) == (err == nil) {
			t.Fatal(p, err)
		}
	})
}

// TestKill: a process that is killed while it makes tokens loses none that it told of.
func TestKill(t *testing.T) {
	const variable = "SPOOR_IAM_TEST_DIR"
	if dir := os.Getenv(variable); dir != "" {
		s, err := Open(t.Context(), dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for {
			_, secret, err := s.CreateToken(TokenSpec{User: RootName})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stdout.WriteString("token " + secret + "\n"); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Skipf("the test program cannot be started again: %v", err)
	}
	dir := t.TempDir()
	var told []string
	for round := range 5 {
		cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestKill$", "-test.timeout=1m")
		cmd.Env = append(os.Environ(), variable+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if secret, ok := strings.CutPrefix(lines.Text(), "token "); ok && len(secret) == tokenLen {
				told = append(told, secret)
			}
			if n == 5+round {
				if _, err := Open(t.Context(), dir, Options{}); !errors.Is(err, ErrLocked) {
					t.Errorf("beside a living process: %v", err)
				}
				if err := cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("it ended by itself")
		}
		s, err := Open(t.Context(), dir, Options{Wait: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range told {
			if _, err := s.Authenticate(t.Context(), secret, home); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(told) < 30 {
		t.Errorf("only %d tokens made", len(told))
	}
}
