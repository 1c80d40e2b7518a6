package lake

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

	"spoor/internal/statefile"
)

const goodState = `{"format":"spoor-lake","version":1,"written":"2026-03-09T08:00:00Z","made":"2026-03-09T08:00:00Z","key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
 "stores":[{"id":"11111111-2222-4333-8444-555555555555","account":"111122223333","region":"eu-west-1","name":"audit","selectors":[{"FieldSelectors":[{"Field":"eventCategory","Equals":["ActivityAuditLog"]}]}],
 "multiRegion":true,"organization":false,"retention":366,"billing":"EXTENDABLE_RETENTION_PRICING","protected":true,"status":"ENABLED","created":"2026-03-09T08:00:00Z","updated":"2026-03-09T08:00:00Z",
 "spans":[{"from":"2026-03-09T08:00:00Z","until":"2026-03-09T09:00:00Z"},{"from":"2026-03-09T10:00:00Z"}],"tags":[{"key":"a","value":"1"}]}],
 "channels":[{"id":"66666666-2222-4333-8444-555555555555","account":"111122223333","region":"eu-west-1","name":"wiki","source":"Custom","destinations":["11111111-2222-4333-8444-555555555555"],
 "created":"2026-03-09T08:00:00Z","updated":"2026-03-09T08:00:00Z","ingestion":{"success":"2026-03-09T08:00:00.5Z","successId":"x","attempt":"2026-03-09T08:00:00.5Z","attemptId":"y","errorCode":"InvalidData"}}]}`

func TestDecodeState(t *testing.T) {
	t.Parallel()
	f, err := decodeState([]byte(goodState))
	if err != nil || len(f.Stores) != 1 || len(f.Channels) != 1 || f.Channels[0].Ingestion.ErrorCode != "InvalidData" {
		t.Fatalf("%+v, %v", f, err)
	}
	for _, c := range []struct {
		old, new string
		want     error
		says     string
	}{
		{"spoor-lake", "other", ErrDamaged, `format is "other"`},
		{`"version":1`, `"version":2`, ErrNewer, "version 2"},
		{`"version":1`, `"version":0`, ErrDamaged, "version 0"},
		{`"key":"AAAA`, `"key":"`, ErrDamaged, "key of 29 bytes"},
		{`"protected"`, `"sealed":1,"protected"`, ErrDamaged, `unknown field "sealed"`},
		{"11111111-2222-4333-8444-555555555555\",\"account", "x\",\"account", ErrDamaged, "id, account or Region"},
		{`"id":"66666666-2222-4333-8444-555555555555"`, `"id":"11111111-2222-4333-8444-555555555555"`, ErrDamaged, "id, account or Region"},
		{`"name":"audit"`, `"name":"spoor"`, ErrDamaged, "name"},
		{`"name":"wiki"`, `"name":"a b"`, ErrDamaged, "name"},
		{`"ActivityAuditLog"`, `"Management"`, ErrDamaged, "destination"},
		{`"ActivityAuditLog"`, `"Nothing"`, ErrDamaged, "not a category"},
		{`"Equals"`, `"equal"`, ErrDamaged, "unknown field"},
		{`366`, `3`, ErrDamaged, "retention of 3 days"},
		{`EXTENDABLE_RETENTION_PRICING`, `FREE`, ErrDamaged, "billing mode"},
		{`"ENABLED"`, `"CREATED"`, ErrDamaged, "ingestion is on"},
		{`"ENABLED"`, `"PENDING_DELETION"`, ErrDamaged, "ingestion is on"},
		{`{"from":"2026-03-09T10:00:00Z"}`, `{"from":"2026-03-09T10:00:00Z","until":"2026-03-09T11:00:00Z"}`, ErrDamaged, "ingestion is on: false"},
		{`{"from":"2026-03-09T10:00:00Z"}`, `{"from":"2026-03-09T08:30:00Z"}`, ErrDamaged, "not in order"},
		{`"until":"2026-03-09T09:00:00Z"`, `"until":"2026-03-09T07:00:00Z"`, ErrDamaged, "not in order"},
		{`"status":"ENABLED"`, `"deleted":"2026-03-09T09:00:00Z","status":"ENABLED"`, ErrDamaged, "deleted"},
		{`{"key":"a","value":"1"}`, `{"key":"b"},{"key":"a"}`, ErrDamaged, "not in order"},
		{`"destinations":["11111111-2222-4333-8444-555555555555"]`, `"destinations":[]`, ErrDamaged, "destinations"},
		{`"destinations":["1`, `"destinations":["2`, ErrDamaged, "destination"},
		{`"source":"Custom"`, `"source":"<"`, ErrDamaged, "source"},
		{`"account":"111122223333","region":"eu-west-1","name":"wiki"`, `"account":"444455556666","region":"eu-west-1","name":"wiki"`, ErrDamaged, "destination"},
		{`"InvalidData"}}]}`, `"InvalidData"}}]}{}`, ErrDamaged, "after top-level value"},
		{`"InvalidData"}}]}`, `"InvalidData"}}]`, ErrDamaged, "unexpected end"},
	} {
		text := strings.Replace(goodState, c.old, c.new, 1)
		if text == goodState {
			t.Fatalf("%q is not there", c.old)
		}
		if _, err := decodeState([]byte(text)); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s for %s: %v; want %v, %s", c.new, c.old, err, c.want, c.says)
		}
	}
	// What cannot be read is left as it is, and the folder is given back.
	dir := t.TempDir()
	path := filepath.Join(dir, statefile.Name)
	if err := os.WriteFile(path, []byte(goodState[:100]), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, Options{Account: account}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != goodState[:100] {
		t.Errorf("%q, %v", got, err)
	}
	if err := os.WriteFile(path, []byte(goodState), 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, dir, newClock())
	if c, err := l.Channel(home, "66666666-2222-4333-8444-555555555555"); err != nil || c.Ingestion != f.Channels[0].Ingestion {
		t.Errorf("%+v %v", c, err)
	}
	if _, err := Open(t.Context(), dir, Options{Account: account}); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	if _, err := Open(t.Context(), dir, Options{}); err == nil {
		t.Error("opened without an account")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}

// FuzzDecodeState: no text makes the decoder panic, and what it accepts is written as it was read.
func FuzzDecodeState(f *testing.F) {
	f.Add([]byte(goodState))
	f.Add([]byte(`{"format":"spoor-lake","version":1,"key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","stores":null,"channels":[]}`))
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
		if again, err := b.encode(); err != nil || !bytes.Equal(first, again) {
			t.Fatalf("%s\n%s\n%v", first, again, err)
		}
	})
}

// TestKill: a process that is killed while it makes stores loses none that it told of, and what it left can be opened.
func TestKill(t *testing.T) {
	const variable = "SPOOR_LAKE_TEST_DIR"
	if dir := os.Getenv(variable); dir != "" {
		l, err := Open(t.Context(), dir, Options{Account: account})
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; ; i++ {
			s, _, err := l.CreateStore(Where{account, fmt.Sprintf("r-%d-%d", os.Getpid(), i/MaxStores)}, StoreSpec{Name: fmt.Sprintf("store-%d", i)})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Printf("store %s %s\n", s.Region, s.ID); err != nil {
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
	told := map[string]string{}
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
			var region, id string
			if _, err := fmt.Sscanf(lines.Text(), "store %s %s", &region, &id); err == nil && uuidForm.MatchString(id) {
				told[id] = region
			}
			if n == 5+round {
				if err := cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("it ended by itself")
		}
		l, err := Open(t.Context(), dir, Options{Account: account, Wait: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		for id, region := range told {
			if _, err := l.Store(Where{account, region}, id); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if parts, err := filepath.Glob(filepath.Join(dir, ".part-*")); err != nil || len(parts) > 0 {
			t.Errorf("left behind: %v %v", parts, err)
		}
	}
	if len(told) < 30 {
		t.Errorf("only %d stores made", len(told))
	}
}
