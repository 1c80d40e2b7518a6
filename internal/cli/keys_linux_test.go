package cli

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"spoor/internal/keyring"
	"spoor/internal/seal"
)

// typist is a terminal at which somebody sits.
type typist struct {
	*testing.T
	keyboard, terminal *os.File
}

// newTypist sits down at a terminal, which stays open until the test of all ends: what reads it is not ended by an interrupt, but when
// the typist has gone.
func newTypist(t, all *testing.T) typist {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	t.Cleanup(func() { _ = keyboard.Close() }) // the test has ended
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	all.Cleanup(func() { _ = terminal.Close() }) // the test has ended
	return typist{t, keyboard, terminal}
}

// echoes reports whether the terminal shows what is typed.
func (p typist) echoes() bool {
	p.Helper()
	s, err := unix.IoctlGetTermios(int(p.terminal.Fd()), unix.TCGETS)
	if err != nil {
		p.Fatal(err)
	}
	return s.Lflag&unix.ECHO != 0
}

// until calls do, at the latest when the test has to end, as soon as the terminal does not show what is typed.
func (p typist) until(ctx context.Context, do func()) {
	for ctx.Err() == nil {
		if !p.echoes() {
			do()
			return
		}
		time.Sleep(time.Millisecond) // terminals do not tell when they change
	}
}

// spoor runs a command at the terminal, where text is typed when it asks.
func (p typist) spoor(text string, stdout *watched, args ...string) (code int, stderr string) {
	p.Helper()
	ctx, stop := context.WithTimeout(p.Context(), time.Minute)
	defer stop()
	stdout.stop = stop
	var errs bytes.Buffer
	var typing sync.WaitGroup
	typing.Go(func() {
		p.until(ctx, func() {
			if text == "" { // interrupts it
				stop()
			} else if _, err := p.keyboard.WriteString(text + "\n"); err != nil {
				p.Error(err)
			}
		})
	})
	code = Run(ctx, args, p.terminal, stdout, &errs)
	stop()
	typing.Wait()
	if !p.echoes() {
		p.Error("the terminal is left without echo")
	}
	return code, errs.String()
}

// watched is an output that interrupts the program when it says that it serves.
type watched struct {
	b    bytes.Buffer
	stop func()
}

func (w *watched) String() string { return w.b.String() }

func (w *watched) Write(b []byte) (int, error) {
	n, err := w.b.Write(b)
	if strings.Contains(w.String(), " serves on ") {
		w.stop()
	}
	return n, err
}

func TestAskMasterKey(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	r := keyRing{t, filepath.Join(data, "keys"), keyring.Ref{Account: "000000000000", Region: "us-east-1"}}
	master := seal.Random()
	text := hex.EncodeToString(master)
	wrapped := r.wraps(master, "logs")
	serve := []string{"serve", "--ask-master-key", "--data", data, "--set", "http.listen=127.0.0.1:0", "--set", "aws.listen=127.0.0.1:0"}
	file := filepath.Join(t.TempDir(), "next")
	replace := []string{"keys", "replace-master", "--data", data, "--ask-master-key", "--new-generate", file}
	all := t
	for _, c := range []struct {
		name, typed string
		args        []string
		code        int
		wants       string
	}{
		{"serve", text, serve, ExitClean, "Master key of the key ring: \n"},
		{"serve with the line of a file", "spoor-master-key-v1:" + text, serve, ExitClean, "stopping"},
		{"serve with another one", hex.EncodeToString(seal.Random()), serve, ExitFailure, "keys.master_key (--ask-master-key): read the key ring "},
		{"serve with none", "abc", serve, ExitUsage, "what was typed is no master key"},
		{"serve interrupted", "", serve, 130, "Master key of the key ring: \n"},
		{"replace with another one", hex.EncodeToString(seal.Random()), replace, ExitUsage, "tried was the one that was typed"},
		{"replace", text, replace, ExitClean, "Master key that the key ring has: \n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newTypist(t, all)
			out := &watched{}
			code, stderr := p.spoor(c.typed, out, c.args...)
			if code != c.code || !strings.Contains(stderr, c.wants) {
				t.Errorf("%d, want %d and %q\n%s%s", code, c.code, c.wants, out, stderr)
			}
			if c.typed != "" && strings.Contains(out.String()+stderr, c.typed) {
				t.Error("what was typed is shown")
			}
		})
	}
	r.opens("replaced", masterIn(t, file), wrapped)
	if code, _, stderr := spoor(t, text+"\n", serve...); code != ExitUsage || !strings.Contains(stderr, "standard input is no terminal") {
		t.Errorf("%d: %s", code, stderr)
	}
}
