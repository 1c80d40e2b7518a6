// Package cli is the command line: one file per command. [Run] is the whole program but for signals and exit.
//
// Results go to stdout, everything else to stderr. Exit codes mean something: see the constants.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"spoor/internal/safetext"
)

// Exit codes.
const (
	ExitClean      = 0 // done, nothing to report
	ExitFindings   = 1 // findings at or above --fail-on; no match for search; a failed rule test
	ExitUsage      = 2 // the command line is wrong
	ExitIncomplete = 3 // something of the input could not be read: the answer may miss something
	ExitFailure    = 4 // something else went wrong
)

const exitCodesHelp = `
Exit status:
  0  clean
  1  findings at or above --fail-on (or: no match, a failed test)
  2  wrong usage
  3  input incomplete: something could not be read, so the answer may miss something
  4  failure`

// env is what commands have in place of globals.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	exit           int // what the command asks for when it ends without an error
}

// usageError is an error of the caller.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Run runs the command line args and returns the exit code.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	e := &env{stdin: stdin, stdout: stdout, stderr: stderr}
	root := e.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return e.exit
	case errors.Is(err, syscall.EPIPE): // the reader of our output has seen enough
		return e.exit
	}
	fmt.Fprintf(stderr, "spoor: %s\n", safetext.Lines(err.Error()))
	var usage usageError
	switch {
	case errors.As(err, &usage):
		return ExitUsage
	case errors.Is(err, context.Canceled):
		return 130
	}
	return ExitFailure
}

func (e *env) root() *cobra.Command {
	c := &cobra.Command{
		Use:   "spoor",
		Short: "CloudTrail that anybody can run: read, prove, ask, watch",
		Long: `Spoor reads CloudTrail logs from folders, archives and buckets, tells what happened in them, and says whether
it read everything; as a service it takes them in, keeps them, and answers.

  spoor hunt ./logs                       findings, ledger and next steps on one screen
  spoor hunt s3://bucket/prefix --since 7d
  spoor hunt ./logs --format html --out report.html
  spoor stats ./logs                      who, from where, how often, first and last
  spoor search errorCode=AccessDenied ./logs
  spoor lineage ASIA… ./logs              who minted an access key, and what it did
  spoor rules list                        what is looked for
  spoor sample --out ./sample --events 100000
  spoor serve                             the service: takes events in, keeps them, answers over HTTP` + exitCodesHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q; try: spoor help", args[0])
			}
			return c.Help()
		},
	}
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%w; try: %s --help", err, c.CommandPath())
	})
	c.AddCommand(e.serve(), e.record(), e.hunt(), e.stats(), e.search(), e.tail(), e.querySQL(), e.lineage(), e.rules(), e.sample(), e.store(), e.coverage(), e.sources(), e.config(), e.iam(), e.keys(), e.trail(), e.validate(), e.version())
	var profile string
	var file *os.File
	c.PersistentFlags().StringVar(&profile, "cpuprofile", "", "write a CPU profile to this `file`")
	_ = c.PersistentFlags().MarkHidden("cpuprofile")
	c.PersistentPreRunE = func(*cobra.Command, []string) (err error) {
		if profile == "" {
			return nil
		}
		if file, err = os.Create(profile); err != nil {
			return err
		}
		return pprof.StartCPUProfile(file)
	}
	c.PersistentPostRunE = func(*cobra.Command, []string) error {
		if file == nil {
			return nil
		}
		pprof.StopCPUProfile()
		return file.Close()
	}
	return c
}

// minArgs is cobra.MinimumNArgs with an error that says what is missing and how to go on.
func minArgs(n int, what, example string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < n {
			return usagef("%s wants %s; for example: %s", c.CommandPath(), what, example)
		}
		return nil
	}
}

func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no argument, not %q", c.CommandPath(), args[0])
	}
	return nil
}

// terminal gives the size of the terminal behind w, or false.
func terminal(w io.Writer) (width, height int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return 0, 0, false
	}
	width, height, err := term.GetSize(int(f.Fd()))
	return width, height, err == nil && width > 0
}

// output opens where results go: stdout, or a file that appears whole or not at all. done must be called with the
// outcome of the writing.
func (e *env) output(path string) (w io.Writer, done func(error) error, err error) {
	if path == "" || path == "-" {
		return e.stdout, func(err error) error { return err }, nil
	}
	f, err := os.CreateTemp(dirOf(path), ".spoor-out-")
	if err != nil {
		return nil, nil, fmt.Errorf("write %s: %w", path, err)
	}
	return f, func(werr error) error {
		err := werr
		if err == nil {
			err = f.Chmod(0o644)
		}
		if err == nil {
			err = f.Sync()
		}
		err = errors.Join(err, f.Close())
		if err == nil {
			err = os.Rename(f.Name(), path)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("write %s: %w", path, err), removeIfThere(f.Name()))
		}
		return nil
	}, nil
}

func dirOf(path string) string {
	if i := strings.LastIndexAny(path, `/\`); i > 0 {
		return path[:i]
	} else if i == 0 {
		return path[:1]
	}
	return "."
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// plural says how many of a thing there are.
func plural(n int64, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}
