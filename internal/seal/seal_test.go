package seal_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spoor/internal/seal"
)

func key(t *testing.T, secret byte, label string) *seal.Key {
	t.Helper()
	k, err := seal.New(bytes.Repeat([]byte{secret}, seal.MasterLen), label)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSeal(t *testing.T) {
	t.Parallel()
	k := key(t, 1, "a ")
	sealed, err := k.Seal("purpose", "beside", []byte("secret"))
	if err != nil || len(sealed) != len("secret")+seal.Overhead || bytes.Contains(sealed, []byte("secret")) {
		t.Fatalf("%x, %v", sealed, err)
	}
	if text, err := k.Open("purpose", "beside", sealed); err != nil || string(text) != "secret" {
		t.Errorf("%q, %v", text, err)
	}
	if again, err := k.Seal("purpose", "beside", []byte("secret")); err != nil || bytes.Equal(again, sealed) {
		t.Errorf("sealed twice alike: %v", err)
	}
	refused := func(what string, k *seal.Key, purpose, beside string, sealed []byte) {
		if text, err := k.Open(purpose, beside, sealed); !errors.Is(err, seal.ErrSealed) || text != nil {
			t.Errorf("%s: %q, %v", what, text, err)
		}
	}
	refused("another purpose", k, "other", "beside", sealed)
	refused("beside something else", k, "purpose", "other", sealed)
	refused("another secret", key(t, 2, "a "), "purpose", "beside", sealed)
	refused("another label", key(t, 1, "b "), "purpose", "beside", sealed)
	for i := range sealed {
		refused("cut off", k, "purpose", "beside", sealed[:i])
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		refused("changed", k, "purpose", "beside", changed)
	}
	// What was sealed by the first version opens for ever.
	old, err := hex.DecodeString("01e8bd29f20cb0d195afa083185e94b6431cf0a22b7d12dc352a22129ded61ccd55041c63c54b0")
	if err != nil {
		t.Fatal(err)
	}
	if text, err := k.Open("purpose", "beside", old); err != nil || string(text) != "secret" || k.ID() != "635a9f4dff24990f" {
		t.Errorf("%q of %s, %v", text, k.ID(), err)
	}
	if _, err := seal.New(make([]byte, 16), "a"); err == nil {
		t.Error("a short secret is taken")
	}
}

func TestMaster(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.key")
	if master, err := seal.ReadMaster(path); master != nil || err != nil {
		t.Fatalf("no file: %x, %v", master, err)
	}
	master := seal.Random()
	if err := seal.WriteMaster(path, master); err != nil {
		t.Fatal(err)
	}
	if got, err := seal.ReadMaster(path); err != nil || !bytes.Equal(got, master) {
		t.Fatalf("%x, %v", got, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", string(good[:40]), "x" + string(good), string(good) + "\n", strings.Replace(string(good), "v1", "v2", 1), string(good[:len(good)-2]) + "g\n"} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := seal.ReadMaster(path); !errors.Is(err, seal.ErrMaster) || strings.Contains(err.Error(), hex.EncodeToString(master[:4])) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestReplaceMaster: while a master key is replaced, that is found which fits.
func TestReplaceMaster(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "master.key")
	next := seal.NextMaster(path)
	find := func(id string) (string, string) {
		t.Helper()
		k, from, err := seal.FindMaster(path, "a", id)
		if err != nil {
			t.Fatal(err)
		}
		if k == nil {
			return "", from
		}
		return k.ID(), from
	}
	if id, _ := find(""); id != "" {
		t.Errorf("%s without a file", id)
	}
	old, master := seal.Random(), seal.Random()
	k1, err := seal.New(old, "a")
	if err != nil {
		t.Fatal(err)
	}
	k2, err := seal.New(master, "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(seal.WriteMaster(path, old), seal.WriteMaster(next, master)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ id, want, from string }{
		{"", k1.ID(), path}, {k1.ID(), k1.ID(), path}, {k2.ID(), k2.ID(), next}, {"0123456789abcdef", "", ""},
	} {
		if id, from := find(c.id); id != c.want || from != c.from {
			t.Errorf("%q: %s in %s", c.id, id, from)
		}
	}
	for _, settle := range []struct {
		from string
		want []byte
	}{{path, old}, {next, master}} {
		if err := errors.Join(seal.WriteMaster(path, old), seal.WriteMaster(next, master), seal.SettleMaster(path, settle.from)); err != nil {
			t.Fatal(err)
		}
		got, err := seal.ReadMaster(path)
		none, err2 := seal.ReadMaster(next)
		if err != nil || err2 != nil || !bytes.Equal(got, settle.want) || none != nil {
			t.Errorf("%s: %x, %x, %v, %v", settle.from, got, none, err, err2)
		}
	}
	if err := seal.SettleMaster(path, path); err != nil {
		t.Errorf("nothing to settle: %v", err)
	}
	if err := os.WriteFile(next, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := seal.FindMaster(path, "a", k1.ID()); !errors.Is(err, seal.ErrMaster) {
		t.Errorf("a file that holds none: %v", err)
	}
}

func TestParseMaster(t *testing.T) {
	t.Parallel()
	digits := strings.Repeat("0123456789abcdef", 4)
	want, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{digits, strings.ToUpper(digits), "spoor-master-key-v1:" + digits} {
		if got, err := seal.ParseMaster(text); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q: %x, %v", text, got, err)
		}
	}
	for _, text := range []string{"", digits[2:], digits + "00", "spoor-master-key-v2:" + digits, digits[1:] + "g", " " + digits} {
		if _, err := seal.ParseMaster(text); !errors.Is(err, seal.ErrMaster) || strings.Contains(err.Error(), "0123456789") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
