package keyring

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"spoor/internal/seal"
)

// TestReadOnly opens what a ring wrapped that somebody else has, also with keys and master keys that come later.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := OpenReadOnly(dir, Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no ring: %v", err)
	}
	r := open(t, dir, Options{})
	first := create(t, r)
	look, err := OpenReadOnly(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	with := map[string]string{"a": "b"}
	opens := func(what, arn string) {
		t.Helper()
		d, err := r.GenerateDataKey(t.Context(), arn, with)
		if err != nil {
			t.Fatal(err)
		}
		got, err := look.Unwrap(t.Context(), d.Wrapped, with)
		if err != nil || !bytes.Equal(got.Plaintext, d.Plaintext) || got.KeyARN != arn {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
		is(t, what+", another context", second(look.Unwrap(t.Context(), d.Wrapped, nil)), ErrCiphertext)
	}
	opens("at once", first.ARN)
	opens("a key that came later", create(t, r).ARN)
	if err := r.Rewrap(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	opens("a new master key", create(t, r).ARN)
	is(t, "a data key", second(look.GenerateDataKey(t.Context(), first.ARN, nil)), ErrClosed)

	// A master key that waits for its place is found, and left where it is.
	master := filepath.Join(dir, MasterFile)
	if err := os.Rename(master, seal.NextMaster(master)); err != nil {
		t.Fatal(err)
	}
	if look, err = OpenReadOnly(dir, Options{}); err != nil {
		t.Fatal(err)
	}
	opens("the next master key", first.ARN)
	if _, err := os.Stat(master); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the master key was moved: %v", err)
	}
	text, err := os.ReadFile(seal.NextMaster(master))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(seal.NextMaster(master), master); err != nil {
		t.Fatal(err)
	}
	given, err := seal.ParseMaster(string(bytes.TrimSpace(text)))
	if err != nil {
		t.Fatal(err)
	}
	is(t, "another master key", second(OpenReadOnly(dir, Options{Master: seal.Random()})), ErrMaster)
	if err := os.Remove(master); err != nil {
		t.Fatal(err)
	}
	is(t, "no master key", second(OpenReadOnly(dir, Options{})), ErrMaster)
	if look, err = OpenReadOnly(dir, Options{Master: given}); err != nil {
		t.Fatal(err)
	}
	opens("a master key that was given", first.ARN)
	if err := seal.WriteMaster(master, given); err != nil {
		t.Fatal(err)
	}
}
