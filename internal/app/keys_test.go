package app

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spoor/internal/config"
	"spoor/internal/keyring"
	"spoor/internal/seal"
)

// TestMasterKeyOfRing: the master key of the ring comes from a variable or a file, and with another one the start fails and names the
// setting.
func TestMasterKeyOfRing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data, file, other := filepath.Join(dir, "data"), filepath.Join(dir, "master"), filepath.Join(dir, "other")
	master := seal.Random()
	if err := seal.WriteMaster(file, master); err != nil {
		t.Fatal(err)
	}
	write(t, other, hex.EncodeToString(seal.Random())+"\n")
	begin := func(env string, set ...string) error {
		t.Helper()
		o := config.Options{Env: []string{env}}
		for _, kv := range append([]string{"data=" + data, "http.listen=127.0.0.1:0", "aws.listen=127.0.0.1:0"}, set...) {
			k, v, _ := strings.Cut(kv, "=")
			o.Flags = append(o.Flags, config.Override{Key: k, Value: v, From: "--set"})
		}
		a, err := Open(t.Context(), Options{Load: func() (*config.Loaded, error) { return config.Load(o) }, Version: "v0", Commit: "c0", LogTo: &output{}})
		if err == nil {
			err = a.Close()
		}
		return err
	}
	variable := "SPOOR_KEYS_MASTER_KEY=" + hex.EncodeToString(master)
	if err := begin(variable); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(data, "keys", keyring.MasterFile)); !os.IsNotExist(err) {
		t.Errorf("the master key lies beside the ring: %v", err)
	}
	ring, err := keyring.Open(t.Context(), filepath.Join(data, "keys"), keyring.Options{Account: "000000000000", Region: "us-east-1", Master: master})
	if err != nil {
		t.Fatalf("the ring has another master key: %v", err)
	}
	if err := ring.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, env, set, want string // want is the beginning of an error; "" for none
	}{
		{"a file", "", "keys.master_key_file=" + file, ""},
		{"a variable with the line of a file", "SPOOR_KEYS_MASTER_KEY=spoor-master-key-v1:" + hex.EncodeToString(master), "", ""},
		{"another variable", "SPOOR_KEYS_MASTER_KEY=" + hex.EncodeToString(seal.Random()), "", "keys.master_key (variable SPOOR_KEYS_MASTER_KEY): read the key ring "},
		{"another value", "", "keys.master_key=" + hex.EncodeToString(seal.Random()), "keys.master_key (--set): read the key ring "},
		{"another file", "", "keys.master_key_file=" + other, "keys.master_key_file (--set): read the key ring "},
		{"none", "", "", "keys.dir (default): read the key ring "},
	} {
		var set []string
		if c.set != "" {
			set = append(set, c.set)
		}
		err := begin(c.env, set...)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want) || !strings.Contains(err.Error(), "the master key is not the one of the key ring")):
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}
