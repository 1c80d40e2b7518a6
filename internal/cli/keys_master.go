package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"spoor/internal/config"
	"spoor/internal/iam"
	"spoor/internal/keyring"
	"spoor/internal/seal"
)

// masterFlags say which master key a ring has, and which it gets.
type masterFlags struct {
	keysFlags
	old      string // file
	ask      bool
	next     string // file that is there
	generate string // file that is made
}

func (e *env) keysReplaceMaster() *cobra.Command {
	var f masterFlags
	c := &cobra.Command{
		Use:   "replace-master",
		Short: "Replace the master key of the key ring",
		Long: `Replace-master seals everything in the ring with a new master key, while the service is stopped. The keys stay as they are, and
what they encrypted opens as before. Copies of the old state and the old master key open nothing that is made later with
new materials: rotate the keys too when the old one has got out.

The master key that the ring has is in the file beside it, in the file of --master-key-file, typed (--ask-master-key), or as
the configuration says it: the variable SPOOR_KEYS_MASTER_KEY, keys.master_key, or keys.master_key_file. The new one
comes into the file beside the ring, or is kept in another file, which keys.master_key_file of the configuration has to
name from then on.

  spoor keys replace-master                                      the file beside the ring gets a new one
  spoor keys replace-master --new-generate /secure/master.key    a new one, in a file that is made
  spoor keys replace-master --new-master-key-file FILE           the one in FILE: 64 hex digits
  spoor keys replace-master --ask-master-key --new-generate FILE

Whenever it is cut short, the ring opens with the old master key or with the new one, and the same command, with
--new-master-key-file in place of --new-generate, does what is left.` + "\n" + exitCodesHelp,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return e.replaceMaster(c.Context(), &f) },
	}
	f.add(c)
	fl := c.Flags()
	fl.StringVar(&f.old, "master-key-file", "", "`file` with the master key that the ring has, in place of what the configuration says")
	fl.BoolVar(&f.ask, "ask-master-key", false, "ask on the terminal for the master key that the ring has, without showing it")
	fl.StringVar(&f.next, "new-master-key-file", "", "`file` with the new master key")
	fl.StringVar(&f.generate, "new-generate", "", "`file` that is made, with a new master key in it")
	return c
}

// replaced is the result of replacing a master key.
type replaced struct {
	Dir        string `json:"dir"`
	Keys       int    `json:"keys"`
	MasterFile string `json:"masterKeyFile"` // that holds the new one
	Already    bool   `json:"already"`       // the ring had the new one
	Change     string `json:"change"`        // what to change in the configuration; empty for nothing
}

func (e *env) replaceMaster(ctx context.Context, f *masterFlags) (err error) {
	switch {
	case f.old != "" && f.ask:
		return usagef("either --master-key-file or --ask-master-key")
	case f.next != "" && f.generate != "":
		return usagef("either --new-master-key-file or --new-generate")
	}
	l, dir, err := f.load(e)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, keyring.StateFile)); err != nil { // none is to be made
		return ringError(l, dir, err)
	}
	old, from, err := e.oldMaster(ctx, f, l)
	if err != nil {
		return err
	}
	file := f.generate + f.next // one of them is empty
	if old != nil && file == "" {
		return usagef("the ring is given its master key, %s: say where the new one is kept, with --new-generate FILE or --new-master-key-file FILE", from)
	}
	var next []byte
	if f.next != "" {
		if next, err = readMaster(f.next); err != nil {
			return err
		}
	}
	open := func(master []byte) (*keyring.Ring, error) {
		return keyring.Open(ctx, dir, keyring.Options{Account: l.Config.Account, Region: l.Config.Region, Master: master})
	}
	ring, err := open(old)
	if errors.Is(err, keyring.ErrMaster) && next != nil { // it was cut short, or is done
		if again, againErr := open(next); againErr == nil {
			ring, old, err = again, next, nil
		}
	}
	if errors.Is(err, keyring.ErrMaster) {
		return usageError{fmt.Errorf("%w: tried was %s. Give the one that the ring has with --master-key-file, --ask-master-key or the variable SPOOR_KEYS_MASTER_KEY", err, from)}
	}
	if err != nil {
		return ringError(l, dir, err)
	}
	defer func() { err = errors.Join(err, ring.Close()) }()
	list, err := keyring.Look(dir, "", time.Now())
	if err != nil {
		return err
	}
	out := replaced{Dir: dir, Keys: len(list), MasterFile: file, Already: next != nil && string(next) == string(old)}
	switch {
	case file == "":
		out.MasterFile = filepath.Join(dir, keyring.MasterFile)
		err = ring.Rewrap(ctx, nil)
	case f.generate != "":
		if next, err = makeMaster(file); err == nil {
			err = ring.Detach(ctx, next)
		}
	default:
		err = ring.Detach(ctx, next)
	}
	if err != nil {
		return err
	}
	out.Change = masterChange(l, dir, file)
	if f.asJSON {
		return e.printJSON(out)
	}
	text := fmt.Sprintf("The key ring in %s has a new master key, with %s. It is in %s: keep a copy of it, in another place than copies of the ring.\n", shown(dir), plural(int64(out.Keys), "key"), shown(out.MasterFile))
	if out.Already {
		text = fmt.Sprintf("The key ring in %s has the master key in %s already; nothing is left to do.\n", shown(dir), shown(file))
	}
	if out.Change == "" {
		text += "The configuration stays as it is.\n"
	} else {
		text += "Before the service starts: " + out.Change + "\n"
	}
	_, err = fmt.Fprint(e.stdout, text)
	return err
}

// oldMaster is the master key that a ring is given, and by what; nil for the file beside it.
func (e *env) oldMaster(ctx context.Context, f *masterFlags, l *config.Loaded) (master []byte, from string, err error) {
	switch {
	case f.old != "":
		master, err = readMaster(f.old)
		return master, "the one in " + shown(f.old), err
	case f.ask:
		text, err := e.askMaster(ctx, "Master key that the key ring has: ")
		if err != nil {
			return nil, "", err
		}
		master, err = seal.ParseMaster(text)
		return master, "the one that was typed", err
	}
	if master, err = configuredMaster(l); err != nil {
		return nil, "", usageError{err}
	}
	if from = masterSetting(l); from == "" {
		return nil, "the file beside it", nil
	}
	return master, "that of " + from, nil
}

// configuredMaster is the master key that a configuration gives; nil for none, which is the file beside the ring.
func configuredMaster(l *config.Loaded) ([]byte, error) {
	if err := l.ReadMaster(); err != nil {
		return nil, err
	}
	from := masterSetting(l)
	if from == "" {
		return nil, nil
	}
	master, err := seal.ParseMaster(l.Config.Keys.Master.Reveal())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, err)
	}
	return master, nil
}

// masterSetting is the setting of a configuration that gives the master key, with where it is; "" for none.
func masterSetting(l *config.Loaded) string {
	key := "keys.master_key_file"
	if l.Config.Keys.MasterFile == "" {
		key = "keys.master_key"
		if l.Config.Keys.Master == "" {
			return ""
		}
	}
	for _, s := range l.Effective() {
		if s.Key == key && s.Origin.Where != "" {
			return key + " (" + shown(s.Origin.Where) + ")"
		}
	}
	return key
}

// masterChange says what to change in a configuration for a ring with its master key in a file; "" for the one beside the ring.
func masterChange(l *config.Loaded, dir, file string) string {
	beside := file == "" || sameFile(file, filepath.Join(dir, keyring.MasterFile))
	was := masterSetting(l)
	switch named := l.Config.Keys.MasterFile; {
	case beside && was == "", named != "" && !beside && sameFile(named, file):
		return ""
	case beside:
		return "take away " + was + "."
	default:
		path, err := filepath.Abs(file)
		if err != nil {
			path = file
		}
		text := "set keys.master_key_file to " + shown(path)
		if was != "" {
			text += ", in place of " + was
		}
		return text + "."
	}
}

// sameFile reports whether two paths are of one file that is there.
func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	y, err2 := os.Stat(b)
	return err == nil && err2 == nil && os.SameFile(x, y)
}

// readMaster reads the file of a master key.
func readMaster(path string) ([]byte, error) {
	text, err := config.ReadMasterFile(path)
	if err != nil {
		return nil, usageError{fmt.Errorf("read the master key: %w", err)}
	}
	return seal.ParseMaster(text.Reveal())
}

// makeMaster makes a master key in a file that is not there yet.
func makeMaster(path string) ([]byte, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, usagef("--new-generate: %s is there already; to use the master key in it, --new-master-key-file", shown(path))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, usageError{fmt.Errorf("--new-generate: %w", err)}
	}
	master := seal.Random()
	return master, seal.WriteMaster(path, master)
}

// askMaster asks for a master key on the terminal, and shows nothing of what is typed. The text is one.
func (e *env) askMaster(ctx context.Context, prompt string) (string, error) {
	text, err := e.askSecret(ctx, prompt)
	if err != nil {
		return "", err
	}
	text = strings.TrimSpace(text)
	if _, err := seal.ParseMaster(text); err != nil {
		return "", usagef("what was typed is no master key: want 64 hex digits, or the line of the file of one")
	}
	return text, nil
}

// askSecret asks for a secret on the terminal.
func (e *env) askSecret(ctx context.Context, prompt string) (string, error) {
	in, ok := e.stdin.(*os.File)
	fd := -1
	if ok {
		fd = int(in.Fd())
	}
	if !term.IsTerminal(fd) {
		return "", usagef("--ask-master-key: standard input is no terminal; give the master key by a file, or by the variable SPOOR_KEYS_MASTER_KEY")
	}
	was, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("ask on the terminal: %w", err)
	}
	fmt.Fprint(e.stderr, prompt)
	type answer struct {
		text []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() { // nothing ends the reading of a terminal: after an interrupt it goes on until the process ends
		text, err := term.ReadPassword(fd)
		got <- answer{text, err}
	}()
	select {
	case a := <-got:
		fmt.Fprintln(e.stderr)
		if a.err != nil {
			return "", fmt.Errorf("ask on the terminal: %w", a.err)
		}
		return string(a.text), nil
	case <-ctx.Done():
		fmt.Fprintln(e.stderr)
		return "", errors.Join(ctx.Err(), term.Restore(fd, was))
	}
}

func (e *env) iamReplaceMaster() *cobra.Command {
	var f iamFlags
	c := &cobra.Command{
		Use:   "replace-master",
		Short: "Replace the master key under which secrets of access keys are kept",
		Long: `Replace-master makes a new master key beside the access state, and seals the secrets of access keys with it, while the service
is stopped. Access keys and tokens go on to work; temporary credentials end. When the old one has got out with the state,
so have the secrets: replace the access keys too, with spoor iam key rotate.

  spoor iam replace-master
  spoor iam replace-master --data /var/lib/spoor` + "\n" + exitCodesHelp,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			err := f.withFolder(c.Context(), e, false, func(a *folderAccess) error {
				n, err := a.s.ReplaceMaster()
				if err != nil {
					return err
				}
				if f.asJSON {
					return e.printJSON(map[string]any{"keys": n})
				}
				_, err = fmt.Fprintf(e.stdout, "The access state has a new master key, with %s. Temporary credentials have ended.\n", plural(int64(n), "access key"))
				return err
			})
			if errors.Is(err, iam.ErrLocked) {
				err = usagef("the access state is in use: the service runs. Stop it, do this, and start it again")
			}
			return err
		},
	}
	f.addFolder(c)
	return c
}
