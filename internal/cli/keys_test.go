package cli

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spoor/internal/iam"
	"spoor/internal/keyring"
	"spoor/internal/seal"
)

// keyRing runs commands on a ring, with the keys that are made in it.
type keyRing struct {
	*testing.T
	dir string
	ref keyring.Ref
}

func (r keyRing) open(master []byte) (*keyring.Ring, error) {
	return keyring.Open(r.Context(), r.dir, keyring.Options{Account: r.ref.Account, Region: r.ref.Region, Master: master})
}

// wraps makes a key, and wraps a data key with it.
func (r keyRing) wraps(master []byte, alias string) (wrapped []byte) {
	r.Helper()
	ring, err := r.open(master)
	if err != nil {
		r.Fatal(err)
	}
	k, _, err := ring.Create(r.ref, keyring.Spec{Description: "for " + alias})
	if err != nil {
		r.Fatal(err)
	}
	if _, err := ring.CreateAlias(r.ref, "alias/"+alias, k.ARN); err != nil {
		r.Fatal(err)
	}
	d, err := ring.GenerateDataKey(r.Context(), k.ARN, nil)
	if err != nil {
		r.Fatal(err)
	}
	if err := ring.Close(); err != nil {
		r.Fatal(err)
	}
	return d.Wrapped
}

// opens checks that the ring opens with a master key, nil for the file beside it, and with it what was wrapped.
func (r keyRing) opens(what string, master, wrapped []byte) {
	r.Helper()
	ring, err := r.open(master)
	if err != nil {
		r.Errorf("%s: %v", what, err)
		return
	}
	if _, err := ring.Unwrap(r.Context(), wrapped, nil); err != nil {
		r.Errorf("%s: %v", what, err)
	}
	if err := ring.Close(); err != nil {
		r.Error(err)
	}
}

// run runs a command with the flags for the ring, and wants an exit code and texts in all that it writes.
func (r keyRing) run(want int, args []string, wants ...string) string {
	r.Helper()
	code, stdout, stderr := spoor(r.T, "", append(args, "--dir", r.dir)...)
	if code != want {
		r.Fatalf("%q: %d, want %d\n%s%s", args, code, want, stdout, stderr)
	}
	for _, w := range wants {
		if !strings.Contains(stdout+stderr, w) {
			r.Errorf("%q: %q is not in:\n%s%s", args, w, stdout, stderr)
		}
	}
	return stdout
}

func newKeyRing(t *testing.T) keyRing {
	t.Helper()
	return keyRing{t, filepath.Join(t.TempDir(), "keys"), keyring.Ref{Account: "000000000000", Region: "us-east-1"}}
}

func masterIn(t *testing.T, path string) []byte {
	t.Helper()
	master, err := seal.ReadMaster(path)
	if err != nil || master == nil {
		t.Fatalf("%s: %v", path, err)
	}
	return master
}

func writeFile(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func fileBytes(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestKeyRingList(t *testing.T) {
	t.Parallel()
	r := newKeyRing(t)
	list, replace := []string{"keys", "list"}, []string{"keys", "replace-master"}
	r.run(ExitUsage, list, "there is no key ring in "+r.dir)
	r.run(ExitUsage, replace, "there is no key ring in "+r.dir)
	r.run(ExitUsage, append(list, "--data", "x"), "either --dir or --data")
	if isThere(r.dir) {
		t.Error("a command made a ring")
	}
	r.wraps(nil, "logs")
	ring, err := r.open(nil)
	if err != nil {
		t.Fatal(err)
	}
	member := keyring.Ref{Account: "111122223333", Region: "eu-west-1"}
	k, _, err := ring.Create(member, keyring.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := ring.SetRotation(k.ARN, 100); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ring.Rotate(k.ARN); err != nil {
		t.Fatal(err)
	}
	doomed, _, err := ring.Create(member, keyring.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := ring.ScheduleDeletion(doomed.ARN, 7); err != nil {
		t.Fatal(err)
	}

	// The ring is in use: it can be looked at, and its master key stays.
	before := fileBytes(t, filepath.Join(r.dir, keyring.StateFile))
	r.run(ExitClean, list, "ACCOUNT", "000000000000  us-east-1", "alias/logs", "every 100d, next 20", "PendingDeletion", k.ID)
	r.run(ExitUsage, replace, "the key ring is in use", "stop it, do this, and start it again", "aws kms --endpoint-url http://127.0.0.1:4599")
	out := r.run(ExitClean, append(list, "--json"))
	var got []ringKey
	if err := json.Unmarshal([]byte(out), &got); err != nil || len(got) != 3 {
		t.Fatalf("%v\n%s", err, out)
	}
	if l := got[0]; l.Account != "000000000000" || l.State != "Enabled" || l.Description != "for logs" || len(l.Aliases) != 1 || l.Aliases[0] != "alias/logs" || l.Materials != 1 {
		t.Errorf("%+v", l)
	}
	for _, l := range got[1:] {
		switch l.ID {
		case k.ID:
			if l.ARN != k.ARN || l.Rotation != 100 || l.Next.IsZero() || l.Materials != 2 || l.State != "Enabled" {
				t.Errorf("%+v", l)
			}
		case doomed.ID:
			if l.Deletion.IsZero() || l.State != "PendingDeletion" {
				t.Errorf("%+v", l)
			}
		default:
			t.Errorf("%+v", l)
		}
	}
	if strings.Contains(out, "sealed") || strings.Contains(out, hex.EncodeToString(masterIn(t, filepath.Join(r.dir, keyring.MasterFile)))) {
		t.Error("a secret is shown")
	}
	if err := ring.Close(); err != nil {
		t.Fatal(err)
	}
	// It needs no master key.
	if err := os.Remove(filepath.Join(r.dir, keyring.MasterFile)); err != nil {
		t.Fatal(err)
	}
	r.run(ExitClean, list, k.ID)
	r.run(ExitUsage, replace, "the master key is not the one", "--ask-master-key or the variable SPOOR_KEYS_MASTER_KEY")
	if !bytes.Equal(before, fileBytes(t, filepath.Join(r.dir, keyring.StateFile))) || isThere(filepath.Join(r.dir, keyring.MasterFile)) {
		t.Error("the ring changed")
	}
}

// TestKeyRingMaster: the master key goes from the file beside the ring to other files and back, and what was wrapped opens.
func TestKeyRingMaster(t *testing.T) {
	t.Parallel()
	r := newKeyRing(t)
	wrapped := r.wraps(nil, "logs")
	beside, dir := filepath.Join(r.dir, keyring.MasterFile), t.TempDir()
	replace := func(args ...string) []string { return append([]string{"keys", "replace-master"}, args...) }
	first := masterIn(t, beside)
	r.run(ExitClean, replace(), "with 1 key. It is in "+beside, "The configuration stays as it is.")
	second := masterIn(t, beside)
	if bytes.Equal(first, second) {
		t.Fatal("the master key is the same")
	}
	r.opens("beside", nil, wrapped)

	one := filepath.Join(dir, "one")
	r.run(ExitClean, replace("--new-generate", one), "It is in "+one, "Before the service starts: set keys.master_key_file to "+one+".\n")
	if isThere(beside) {
		t.Error("the old master key is left beside the ring")
	}
	r.opens("in a file", masterIn(t, one), wrapped)
	if info, err := os.Stat(one); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	r.run(ExitUsage, replace(), "the master key is not the one of the key ring", "tried was the file beside it")
	r.run(ExitUsage, replace("--master-key-file", one), "say where the new one is kept")
	r.run(ExitUsage, replace("--master-key-file", one, "--new-generate", one), "is there already")
	r.run(ExitUsage, replace("--master-key-file", filepath.Join(dir, "none")), "read the master key: open ")
	r.run(ExitUsage, replace("--master-key-file", one, "--ask-master-key"), "either --master-key-file or --ask-master-key")
	r.run(ExitUsage, replace("--new-master-key-file", one, "--new-generate", one), "either --new-master-key-file or --new-generate")
	short := filepath.Join(dir, "short")
	writeFile(t, short, []byte("0123456789"))
	for _, flag := range []string{"--master-key-file", "--new-master-key-file"} {
		if out := r.run(ExitUsage, replace(flag, short), "does not hold 64 hex digits"); strings.Contains(out, "0123456789") {
			t.Error("what a file holds is shown")
		}
	}
	r.opens("after what was refused", masterIn(t, one), wrapped)

	// A file as people write it: digits alone.
	two, master := filepath.Join(dir, "two"), seal.Random()
	writeFile(t, two, []byte(strings.ToUpper(hex.EncodeToString(master))+"\n"))
	config := filepath.Join(dir, "spoor.yaml")
	writeFile(t, config, []byte("keys: {master_key_file: "+one+"}\n"))
	r.run(ExitClean, replace("--config", config, "--new-master-key-file", two),
		"Before the service starts: set keys.master_key_file to "+two+", in place of keys.master_key_file ("+config+":1:25).\n")
	r.opens("of digits", master, wrapped)
	out := r.run(ExitClean, replace("--config", config, "--new-master-key-file", two, "--json"))
	var got replaced
	if err := json.Unmarshal([]byte(out), &got); err != nil || !got.Already || got.Keys != 1 || got.MasterFile != two || got.Change == "" {
		t.Errorf("%v: %s", err, out)
	}
	writeFile(t, config, []byte("keys: {master_key_file: "+two+"}\n"))
	r.run(ExitClean, replace("--config", config, "--new-master-key-file", two), "already; nothing is left to do", "stays as it is")

	// Back beside the ring.
	r.run(ExitClean, replace("--config", config, "--new-generate", beside), "Before the service starts: take away keys.master_key_file ("+config+":1:25).\n")
	r.opens("beside again", nil, wrapped)
	r.run(ExitClean, replace())
	r.opens("beside, replaced", nil, wrapped)
	if n := len(r.run(ExitClean, []string{"keys", "list"})); n == 0 {
		t.Error("no list")
	}
}

// TestKeyRingCutShort: whenever replace-master is killed, the ring opens with a master key that is there, and the command can be
// given again.
func TestKeyRingCutShort(t *testing.T) {
	t.Parallel()
	ring := newKeyRing(t)
	wrapped := ring.wraps(nil, "logs")
	beside, state := filepath.Join(ring.dir, keyring.MasterFile), filepath.Join(ring.dir, keyring.StateFile)
	file := filepath.Join(t.TempDir(), "master")
	oldMaster, oldState := fileBytes(t, beside), fileBytes(t, state)
	ring.run(ExitClean, []string{"keys", "replace-master", "--new-generate", file})
	newMaster, newState := fileBytes(t, file), fileBytes(t, state)
	for _, c := range []struct {
		name                string
		beside, next, state []byte // nil for no file
		file                bool   // is the new master key in
		old                 bool   // the ring opens with the old one, else the new one
		moved               []string
	}{
		{"before anything", oldMaster, nil, oldState, false, true, []string{"--new-generate", file}},
		{"with the new file", oldMaster, nil, oldState, true, true, []string{"--new-master-key-file", file}},
		{"with the new state", oldMaster, nil, newState, true, false, []string{"--new-master-key-file", file}},
		{"at the end", nil, nil, newState, true, false, []string{"--new-master-key-file", file}},
		{"beside, with the next one", oldMaster, newMaster, oldState, false, true, nil},
		{"beside, with the new state", oldMaster, newMaster, newState, false, true, nil},
		{"beside, at the end", newMaster, nil, newState, false, true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := keyRing{t, ring.dir, ring.ref}
			for path, b := range map[string][]byte{beside: c.beside, seal.NextMaster(beside): c.next, state: c.state, file: newMaster} {
				if b == nil || path == file && !c.file {
					if err := os.RemoveAll(path); err != nil {
						t.Fatal(err)
					}
					continue
				}
				writeFile(t, path, b)
			}
			writeFile(t, filepath.Join(ring.dir, ".part-1"), newState[:100]) // of a write that was cut short
			var master []byte
			if !c.old {
				master = masterIn(t, file)
			}
			r.opens("cut short", master, wrapped)
			r.run(ExitClean, append([]string{"keys", "replace-master"}, c.moved...))
			if c.moved != nil {
				if isThere(beside) {
					t.Error("a master key is left beside the ring")
				}
				master = masterIn(t, file)
			} else if bytes.Equal(fileBytes(t, beside), newMaster) || bytes.Equal(fileBytes(t, beside), oldMaster) {
				t.Error("the master key was not replaced")
			}
			if isThere(seal.NextMaster(beside)) || isThere(filepath.Join(ring.dir, ".part-1")) {
				t.Error("something is left")
			}
			r.opens("done again", master, wrapped)
		})
	}
}

// TestKeyRingVariable is not parallel: it sets a variable.
func TestKeyRingVariable(t *testing.T) {
	r := newKeyRing(t)
	master := seal.Random()
	wrapped := r.wraps(master, "logs")
	file := filepath.Join(t.TempDir(), "master")
	t.Setenv("SPOOR_KEYS_MASTER_KEY", hex.EncodeToString(seal.Random()))
	r.run(ExitUsage, []string{"keys", "replace-master", "--new-generate", file}, "tried was that of keys.master_key (SPOOR_KEYS_MASTER_KEY)")
	if isThere(file) {
		t.Error("a new master key was made")
	}
	t.Setenv("SPOOR_KEYS_MASTER_KEY", hex.EncodeToString(master))
	r.run(ExitUsage, []string{"keys", "replace-master"}, "the ring is given its master key, that of keys.master_key (SPOOR_KEYS_MASTER_KEY): say where")
	r.run(ExitClean, []string{"keys", "replace-master", "--new-generate", file}, "in place of keys.master_key (SPOOR_KEYS_MASTER_KEY).")
	r.opens("replaced", masterIn(t, file), wrapped)
}

func TestIAMReplaceMaster(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	run := func(want int, wants string, args ...string) {
		t.Helper()
		code, stdout, stderr := spoor(t, "", append(args, "--data", data)...)
		if code != want || !strings.Contains(stdout+stderr, wants) {
			t.Errorf("%q: %d, want %d and %q\n%s%s", args, code, want, wants, stdout, stderr)
		}
	}
	run(ExitClean, "Made user ann", "iam", "user", "create", "ann")
	run(ExitClean, "", "iam", "key", "create", "ann")
	path := filepath.Join(data, "iam", "master.key")
	before := masterIn(t, path)
	run(ExitClean, "has a new master key, with 1 access key. Temporary", "iam", "replace-master")
	if bytes.Equal(before, masterIn(t, path)) {
		t.Error("the master key is the same")
	}
	run(ExitClean, "{\n  \"keys\": 1\n}", "iam", "replace-master", "--json")
	s, err := iam.Open(t.Context(), filepath.Join(data, "iam"), iam.Options{})
	if err != nil {
		t.Fatal(err)
	}
	run(ExitUsage, "the service runs. Stop it", "iam", "replace-master")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
