// Package kit is what the tests across packages share: where the checkout and the shared logs lie, and a hunt as the
// command line runs it.
package kit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"spoor/internal/detect"
	"spoor/internal/event"
	"spoor/internal/hunt"
	"spoor/internal/intake"
	"spoor/internal/source"
	"spoor/internal/source/open"
	"spoor/rules"
)

// Root returns the folder of the checkout, found upwards from the working directory.
func Root() (string, error) {
	return upwards("go.mod", ".")
}

// Shared returns the folder of shared logs: $SPOOR_SHARED, or the folder named shared beside the checkout.
func Shared() (string, error) {
	if dir := os.Getenv("SPOOR_SHARED"); dir != "" {
		return dir, nil
	}
	return upwards(filepath.Join("shared", "DESIGN.md"), "shared")
}

// upwards finds the nearest folder above the working directory that has the file named mark, and returns what is called
// name in it.
func upwards(mark, name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the working directory: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, mark)); err == nil {
			return filepath.Join(dir, name), nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("%s: %w in any folder above the working directory", mark, os.ErrNotExist)
		}
		dir = up
	}
}

// Build builds the program, with the flags of go build in front of those that every test wants.
func Build(ctx context.Context, to string, flags ...string) error {
	root, err := Root()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build", "-trimpath", "-o", to}, flags...), "./cmd/spoor")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return nil
}

// Pack loads the built-in rules. Every one of them must load.
func Pack(ctx context.Context) (*detect.Ruleset, error) {
	set, _, err := detect.Load(ctx, detect.Options{Strict: true, Sources: []detect.Source{{Name: "spoor", FS: rules.FS}}})
	if err != nil {
		return nil, fmt.Errorf("load the built-in pack: %w", err)
	}
	return set, nil
}

// Job says what to hunt in.
type Job struct {
	Paths          []string // files, folders and archives
	Rules          *detect.Ruleset
	Workers        int // 0: one for each processor
	KeepDuplicates bool
	TempDir        string
	Actor          string // whose timeline is asked for
	Stdin          io.Reader
	// Wrap, when set, stands between each source and the hunt.
	Wrap func(source.Source) source.Source
}

// Hunt runs a hunt with the limits of the command line. A result whose ledger does not balance is an error.
func Hunt(ctx context.Context, j Job) (*hunt.Result, error) {
	opts := hunt.Options{
		Intake: intake.Options{Named: j.Paths, Workers: j.Workers, Limits: event.Limits{MaxRecord: 32 << 20, MaxRatio: 400}},
		Rules:  j.Rules, TempDir: j.TempDir, Actor: j.Actor, KeepDuplicates: j.KeepDuplicates, Version: "test", Now: time.Unix(0, 0).UTC(),
	}
	for _, p := range j.Paths {
		src, err := open.Resolve(ctx, p, open.Options{Stdin: j.Stdin})
		if err != nil {
			return nil, err
		}
		if j.Wrap != nil {
			src = j.Wrap(src)
		}
		opts.Intake.Sources = append(opts.Intake.Sources, src)
	}
	res, err := hunt.Run(ctx, opts)
	if err != nil {
		return nil, err
	}
	if !res.Ledger.Balanced {
		return nil, fmt.Errorf("the ledger does not balance: %w", errors.New(fmt.Sprint(res.Ledger.Problems)))
	}
	return res, nil
}
