package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"spoor/internal/config"
	"spoor/internal/iam"
	"spoor/internal/safetext"
)

func (e *env) config() *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Check and show the configuration of the service",
		Long: `The configuration is a file in YAML, overridden by variables (SPOOR_…) and those by flags. Every setting has a default:
without any of them the service runs too.

  spoor config example > spoor.yaml     every setting, with its default
  spoor config check spoor.yaml         everything that is wrong with it
  spoor config show --config spoor.yaml what is in effect, and where it came from` + "\n" + exitCodesHelp,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q; try: spoor config --help", args[0])
			}
			return c.Help()
		},
	}
	c.AddCommand(e.configCheck(), e.configShow(), e.configExample())
	return c
}

// configFlags are the flags of commands that read the configuration.
type configFlags struct {
	file   string
	set    []string
	named  map[string]*string // by key
	flagOf map[string]string  // by key
	over   []config.Override  // what was asked for on the terminal
	cmd    *cobra.Command
}

// add adds --config, --set, and a flag for each setting that has one, or for those keys alone.
func (f *configFlags) add(c *cobra.Command, keys ...string) {
	f.cmd, f.named, f.flagOf = c, map[string]*string{}, map[string]string{}
	fl := c.Flags()
	fl.StringVar(&f.file, "config", "", "read the configuration from this `file` (default: the variable SPOOR_CONFIG, else none)")
	fl.StringArrayVar(&f.set, "set", nil, "`KEY=VALUE` of any setting, such as store.flush_rows=100000 or sources.NAME.enabled=false")
	wanted := func(key string) bool {
		for _, k := range keys {
			if k == key {
				return true
			}
		}
		return len(keys) == 0
	}
	for _, s := range config.Settings() {
		if s.Flag == "" || !wanted(s.Key) {
			continue
		}
		doc := s.Doc
		if s.Default != "" {
			doc += fmt.Sprintf(" (default %s)", s.Default)
		}
		f.named[s.Key], f.flagOf[s.Key] = fl.String(s.Flag, "", doc), s.Flag
	}
}

// load is read with errors of usage for what is wrong, and warnings on standard error.
func (f *configFlags) load(e *env) (*config.Loaded, error) {
	l, err := f.read(e)
	if err != nil {
		var bad *config.Error
		if errors.As(err, &bad) || errors.Is(err, os.ErrNotExist) {
			err = usageError{err}
		}
		return nil, err
	}
	for _, w := range l.Warnings {
		fmt.Fprintf(e.stderr, "spoor: %s\n", safetext.Terminal(w, 400))
	}
	return l, nil
}

// read reads the configuration.
func (f *configFlags) read(e *env) (*config.Loaded, error) {
	environ := os.Environ()
	o := config.Options{File: f.file, Env: environ}
	for _, v := range environ {
		if path, ok := strings.CutPrefix(v, "SPOOR_CONFIG="); ok && o.File == "" {
			o.File = path
		}
	}
	if o.File == "-" {
		text, err := io.ReadAll(io.LimitReader(e.stdin, config.MaxFile+1))
		if err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
		o.File, o.Text = "", append([]byte{}, text...)
	}
	for _, kv := range f.set {
		key, value, ok := strings.Cut(kv, "=")
		if !ok || key == "" {
			return nil, usagef("--set %q: want KEY=VALUE, such as store.flush_rows=100000", kv)
		}
		o.Flags = append(o.Flags, config.Override{Key: key, Value: value, From: "--set"})
	}
	for _, s := range config.Settings() {
		if value, ok := f.named[s.Key]; ok && f.cmd.Flags().Changed(s.Flag) {
			o.Flags = append(o.Flags, config.Override{Key: s.Key, Value: *value, From: "--" + s.Flag})
		}
	}
	o.Flags = append(o.Flags, f.over...)
	return config.Load(o)
}

// readPolicies reads and checks the policies that a configuration names. What is wrong with them is an error of usage.
func readPolicies(l *config.Loaded) (*iam.Policies, error) {
	if err := l.ReadPolicies(); err != nil {
		return nil, usageError{err}
	}
	files := make([]iam.PolicyFile, len(l.Config.IAM.Texts))
	for i, t := range l.Config.IAM.Texts {
		files[i] = iam.PolicyFile{Name: t.Name, Text: t.Text}
	}
	p, err := iam.ParsePolicies(files...)
	if err != nil {
		return nil, usageError{err}
	}
	return p, nil
}

func (e *env) configCheck() *cobra.Command {
	var f configFlags
	var asJSON, alone bool
	c := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Tell everything that is wrong with a configuration",
		Long: `Check reads a configuration as the service would, with variables and flags, and the files that it names: certificate,
policies, secrets. It tells all problems, with file, line and column, and exits with 1 when there are any.

  spoor config check spoor.yaml
  spoor config check spoor.yaml --alone           on another machine: without the files that it names
  spoor config example | spoor config check -` + "\n" + exitCodesHelp,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && f.file != "" {
				return usagef("spoor config check takes one file; for example: spoor config check spoor.yaml")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				f.file = args[0]
			}
			l, err := f.load(e)
			if err == nil && !alone {
				if err = l.ReadFiles(); err == nil {
					if _, err = readPolicies(l); err != nil {
						err = &config.Error{Problems: []config.Problem{{Key: "iam.policies", Message: err.Error()}}}
					}
				}
			}
			out := struct {
				OK       bool             `json:"ok"`
				Problems []config.Problem `json:"problems"`
				Warnings []string         `json:"warnings"`
			}{OK: err == nil, Problems: []config.Problem{}, Warnings: []string{}}
			var bad *config.Error
			switch {
			case errors.As(err, &bad):
				out.Problems = bad.Problems
				e.exit = ExitFindings
			case err != nil:
				return err
			default:
				out.Warnings = append(out.Warnings, l.Warnings...)
			}
			if asJSON {
				return e.printJSON(out)
			}
			if bad != nil {
				var b strings.Builder
				for _, p := range bad.Problems {
					b.WriteString(safetext.Lines(p.String()) + "\n")
				}
				_, err = io.WriteString(e.stdout, b.String())
				return err
			}
			changed := int64(0)
			for _, s := range l.Effective() {
				if s.Origin.Kind != config.FromDefault {
					changed++
				}
			}
			_, err = fmt.Fprintf(e.stdout, "The configuration is fine: %s not at the default, %s.\n", plural(changed, "setting"), plural(int64(len(l.Config.Sources)), "source"))
			return err
		},
	}
	f.add(c)
	c.Flags().BoolVar(&alone, "alone", false, "do not look at the files and folders that it names")
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}

func (e *env) configShow() *cobra.Command {
	var f configFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "show",
		Short: "Show the configuration in effect, and where each value came from",
		Long: `Show prints every setting that has a value, as a configuration file, with where the value came from beside it: the
default, a line of the file, a variable or a flag. Secrets are masked.

  spoor config show
  spoor config show --config spoor.yaml --set store.flush_rows=100000
  spoor config show --json | jq '.[] | select(.origin.kind != "default")'` + "\n" + exitCodesHelp,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			l, err := f.load(e)
			if err != nil {
				return err
			}
			if asJSON {
				return e.printJSON(l.Effective())
			}
			_, err = io.WriteString(e.stdout, safetext.Lines(l.YAML()))
			return err
		},
	}
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}

func (e *env) configExample() *cobra.Command {
	return &cobra.Command{
		Use:   "example",
		Short: "Print a configuration file with every setting at its default",
		Long: `Example prints a configuration file in which every setting is explained, at its default, and commented out.

  spoor config example > spoor.yaml` + "\n" + exitCodesHelp,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := io.WriteString(e.stdout, config.Example())
			return err
		},
	}
}
