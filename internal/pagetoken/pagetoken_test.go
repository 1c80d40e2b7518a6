package pagetoken

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTokens(t *testing.T) {
	t.Parallel()
	k := NewKey()
	token := k.Seal([]byte("place"), "list", "111122223333")
	if got, err := k.Open(token, "list", "111122223333"); err != nil || string(got) != "place" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := k.Open(k.Seal(nil)); err != nil || len(got) != 0 {
		t.Errorf("of nothing: %q, %v", got, err)
	}
	for name, open := range map[string]func() ([]byte, error){
		"another binding":  func() ([]byte, error) { return k.Open(token, "list", "444455556666") },
		"a binding moved":  func() ([]byte, error) { return k.Open(token, "list1", "11122223333") },
		"less binding":     func() ([]byte, error) { return k.Open(token, "list") },
		"another key":      func() ([]byte, error) { return NewKey().Open(token, "list", "111122223333") },
		"nothing":          func() ([]byte, error) { return k.Open("", "list", "111122223333") },
		"short":            func() ([]byte, error) { return k.Open(token[:20], "list", "111122223333") },
		"longer":           func() ([]byte, error) { return k.Open(token+"AAAA", "list", "111122223333") },
		"padded":           func() ([]byte, error) { return k.Open(token+"=", "list", "111122223333") },
		"a line break":     func() ([]byte, error) { return k.Open(token+"\n", "list", "111122223333") },
		"far too long":     func() ([]byte, error) { return k.Open(token+strings.Repeat("A", maxToken), "list", "111122223333") },
		"another alphabet": func() ([]byte, error) { return k.Open("+/"+token[2:], "list", "111122223333") },
	} {
		if got, err := open(); !errors.Is(err, Err) || got != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for i := range token {
		changed := []byte(token)
		changed[i] ^= 1
		if _, err := k.Open(string(changed), "list", "111122223333"); err == nil {
			t.Errorf("the token with another byte %d is taken", i)
		}
	}
}

func TestOpenKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	k, err := OpenKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	again, err := OpenKey(path)
	if err != nil || !bytes.Equal(k, again) || len(k) != KeySize {
		t.Errorf("%x and then %x, %v", k, again, err)
	}
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKey(path); err == nil || !strings.Contains(err.Error(), "has 5 bytes in place of 32") {
		t.Errorf("a short one: %v", err)
	}
	if _, err := OpenKey(filepath.Dir(path)); err == nil {
		t.Error("a folder is taken for a key")
	}
}
