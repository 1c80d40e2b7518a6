package iam

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
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

const goodState2 = `{"format":"spoor-iam","version":2,"written":"2026-03-09T08:00:00Z","rootMade":"2026-03-09T08:00:00Z","masterKey":"0123456789abcdef",
 "users":[{"id":"AIDAABCDEFGHIJKLMNOP","name":"ann","roles":["admin","analyst"],"created":"2026-03-09T08:00:00Z","by":"root"}],
 "credentials":[{"id":"AKIAABCDEFGHIJKLMNOP","type":"accessKey","user":"ann","sealed":"AQID","inactive":true,"note":"ci","created":"2026-03-09T08:00:00Z","by":"root",
 "lastUsed":"2026-03-09T08:00:00Z","lastService":"cloudtrail","lastRegion":"eu-central-1"}],
 "assumables":[{"id":"AROAABCDEFGHIJKLMNOP","name":"look","account":"111122223333","path":"/","roles":["auditor"],"maxSession":3600,"created":"2026-03-09T08:00:00Z","by":"root","revocations":3,
 "trust":"{\"Statement\":{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"arn:aws:iam::111122223333:user/ann\"},\"Action\":\"*\"}}","trusted":{"arn:aws:iam::111122223333:user/ann":"AIDAABCDEFGHIJKLMNOP"}},
 {"id":"AROAABCDEFGHIJKLMNOQ","name":"other","account":"111122223333","path":"/a/b/","roles":[],"maxSession":43200,"created":"2026-03-09T08:00:00Z","by":"root",
 "trust":"{\"Statement\":{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"*\"}}"}]}`

// TestDecodeState2: the same for what version 2 added.
func TestDecodeState2(t *testing.T) {
	t.Parallel()
	f, err := decodeState([]byte(goodState2))
	if err != nil || len(f.Assumables) != 2 || !f.Credentials[0].Inactive {
		t.Fatalf("%+v, %v", f, err)
	}
	for _, c := range []struct{ old, new, says string }{
		{`"version":2`, `"version":1`, "version 1 had no masterKey"},
		{`,"masterKey":"0123456789abcdef"`, ``, "secret is not sealed"},
		{`"0123456789abcdef"`, `"0123456789ABCDEF"`, "masterKey"},
		{`"AKIAABCDEFGHIJKLMNOP"`, `"AKIAABCDEFGHIJKLMNO1"`, "id"},
		{`"AKIAABCDEFGHIJKLMNOP"`, `"ASIAABCDEFGHIJKLMNOP"`, "id"},
		{`"type":"accessKey"`, `"type":"token"`, "id"},
		{`"type":"accessKey"`, `"type":"key"`, `type "key"`},
		{`"sealed":"AQID"`, `"sealed":""`, "secret is not sealed"},
		{`"sealed":"AQID"`, `"sealed":"A"`, "illegal base64"},
		{`"inactive":true`, `"verifier":"x"`, "nothing of a token"},
		{`"inactive":true`, `"expires":"2026-03-09T08:00:00Z"`, "nothing of a token"},
		{`"inactive":true`, `"revoked":"2026-03-09T08:00:00Z"`, "nothing of a token"},
		{`"cloudtrail"`, `"Cloud Trail"`, "last used"},
		{`"user":"ann"`, `"user":"bob"`, `belongs to "bob"`},
		{`AROAABCDEFGHIJKLMNOQ`, `AROAABCDEFGHIJKLMNOP`, "is there twice"},
		{`AROAABCDEFGHIJKLMNOQ`, `AIDAABCDEFGHIJKLMNOQ`, "id"},
		{`"name":"other"`, `"name":"LOOK"`, "twice or not in order"},
		{`"name":"other"`, `"name":"a"`, "twice or not in order"},
		{`"name":"other"`, `"name":"o/ther"`, "role name"},
		{`"account":"111122223333"`, `"account":"1"`, "account"},
		{`"/a/b/"`, `"/a/b"`, "path"},
		{`["auditor"]`, `["auditor","auditor"]`, "not in order"},
		{`["auditor"]`, `["boss"]`, `role "boss"`},
		{`43200`, `43201`, "longest session"},
		{`43200`, `0`, "longest session"},
		{`43200`, `18446744073709551615`, "cannot unmarshal"},
		{`43200`, `9223372036854775807`, "longest session"},
		{`43200`, `36028797018967568`, "longest session"}, // as nanoseconds it would overflow to one hour
		{`"revocations":3`, `"revocations":-1`, "revocations"},
		{`"trusted":{"arn`, `"trusted":{"x":"AIDAABCDEFGHIJKLMNOP","arn`, "1 principals are named and 2 trusted"},
		{`,"trusted":{"arn:aws:iam::111122223333:user/ann":"AIDAABCDEFGHIJKLMNOP"}`, ``, "1 principals are named and 0 trusted"},
		{`:user/ann":"AIDA`, `:user/bob":"AIDA`, "trusted arn:aws:iam::111122223333:user/ann"},
		{`:user/ann":"AIDA`, `:user/ann":"ASIA`, "trusted"},
		{`\"Effect\":\"Allow\",\"Principal\":\"*\"`, `\"Effect\":\"Allow\",\"Condition\":1,\"Principal\":\"*\"`, "Condition"},
		{`"path":"/"`, `"path":"/","session":"x"`, "unknown field"},
	} {
		text := strings.Replace(goodState2, c.old, c.new, 1)
		if text == goodState2 {
			t.Fatalf("%q is not there", c.old)
		}
		if _, err := decodeState([]byte(text)); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s for %s: %v; want %s", c.new, c.old, err, c.says)
		}
	}
}

// TestUpgrade: a state of version 1 is read, works, and is written as version 2 with the next change.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, stateName)
	id, secret := newToken()
	old := strings.NewReplacer("abcdefghijklmnop", id, "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", verify(id, secret).text(), "2026-06-07", "9999-06-07").Replace(goodState)
	if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir, Options{})
	if text, err := os.ReadFile(path); err != nil || string(text) != old {
		t.Errorf("changed by looking: %v", err)
	}
	ann, err := s.Authenticate(t.Context(), tokenText(id, secret), home)
	if err != nil || ann.Principal.ID != "AIDAABCDEFGHIJKLMNOP" {
		t.Fatalf("%+v, %v", ann, err)
	}
	_, k := s.mustKey(t, "ann")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := readState(path)
	if err != nil || f.Version != 2 || len(f.Credentials) != 2 || f.MasterKey == "" {
		t.Errorf("%+v, %v", f, err)
	}
	s = open(t, dir, Options{})
	if _, err := s.Authenticate(t.Context(), tokenText(id, secret), home); err != nil {
		t.Error(err)
	}
	if _, err := s.Credential(t.Context(), k.ID, ""); err != nil {
		t.Error(err)
	}
}

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
	f.Add([]byte(`{"format":"spoor-iam","version":3}`))
	f.Add([]byte(goodState2))
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

// TestKill: a process that is killed while it makes and deletes credentials loses nothing that it told of.
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
			user, err := s.CreateUser("user-"+strings.ToLower(randomText(10)), nil, "")
			if err != nil {
				t.Fatal(err)
			}
			key, keySecret, err := s.CreateAccessKey(KeySpec{User: user.Name})
			if err != nil {
				t.Fatal(err)
			}
			cred, err := s.Credential(t.Context(), key.ID, "")
			if err != nil {
				t.Fatal(err)
			}
			session, err := s.SessionToken(t.Context(), s.CallerOf(cred, home, true), 0)
			if err != nil {
				t.Fatal(err)
			}
			gone, _, err := s.CreateAccessKey(KeySpec{User: user.Name})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.DeleteAccessKey(user.Name, gone.ID); err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Println("made", secret, key.ID, keySecret, session.ID, session.Token, session.Secret, gone.ID); err != nil {
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
	var told [][]string
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
			if made := strings.Fields(lines.Text()); len(made) == 8 && len(made[7]) == 20 {
				told = append(told, made)
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
		for _, made := range told {
			if _, err := s.Authenticate(t.Context(), made[1], home); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
			if c, err := s.Credential(t.Context(), made[2], ""); err != nil || c.Secret != made[3] {
				t.Errorf("round %d: %v", round, err)
			}
			if c, err := s.Credential(t.Context(), made[4], made[5]); err != nil || c.Secret != made[6] {
				t.Errorf("round %d: %v", round, err)
			}
			if _, err := s.Credential(t.Context(), made[7], ""); !errors.Is(err, ErrNotFound) {
				t.Errorf("round %d: a key that was deleted: %v", round, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(told) < 30 {
		t.Errorf("only %d made", len(told))
	}
}
