package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"spoor/internal/detect"
	"spoor/internal/match/sigma"
	"spoor/internal/safetext"
	"spoor/rules"
)

// ruleFlags say which rules run.
type ruleFlags struct {
	paths           []string
	noBuiltin       bool
	enable, disable []string
	deprecated      bool
	strict          bool
	placeholders    []string
}

func (f *ruleFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringSliceVar(&f.paths, "rules", nil, "further Sigma rules: a `file or folder` (repeatable)")
	fl.BoolVar(&f.noBuiltin, "no-builtin", false, "without the built-in pack")
	fl.StringSliceVar(&f.enable, "enable", nil, "run these `rules` whatever their status: id, name or title")
	fl.StringSliceVar(&f.disable, "disable", nil, "do not run these `rules`")
	fl.BoolVar(&f.deprecated, "deprecated", false, "run deprecated and unsupported rules too")
	fl.BoolVar(&f.strict, "strict", false, "fail when a rule cannot be loaded")
	fl.StringArrayVar(&f.placeholders, "placeholder", nil, placeholderUsage)
}

func (f *ruleFlags) options() (detect.Options, error) {
	opts := detect.Options{Strict: f.strict, EnableDeprecated: f.deprecated, Enable: f.enable, Disable: f.disable}
	if !f.noBuiltin {
		opts.Sources = append(opts.Sources, detect.Source{Name: "spoor", FS: rules.FS})
	}
	for _, p := range f.paths {
		opts.Sources = append(opts.Sources, detect.Source{Path: p})
	}
	var err error
	opts.Placeholders, err = placeholderLists(f.placeholders)
	return opts, err
}

const placeholderUsage = "values for %name% in rules, as `name=value,value` (repeatable)"

// placeholderLists reads the values of --placeholder.
func placeholderLists(given []string) (map[string][]string, error) {
	out := make(map[string][]string, len(given))
	for _, p := range given {
		name, values, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, usagef("--placeholder %q: want name=value,value", p)
		}
		out[name] = append(out[name], strings.Split(values, ",")...)
	}
	return out, nil
}

// load loads the rules and tells about those that could not be loaded.
func (f *ruleFlags) load(ctx context.Context, e *env) (*detect.Ruleset, error) {
	opts, err := f.options()
	if err != nil {
		return nil, err
	}
	set, problems, err := detect.Load(ctx, opts)
	broken := 0
	for _, p := range problems {
		if p.Fatal {
			if broken++; broken <= 10 {
				fmt.Fprintf(e.stderr, "spoor: rule left out: %s\n", safetext.Lines(p.String()))
			}
		}
	}
	if broken > 10 {
		fmt.Fprintf(e.stderr, "spoor: %d more rules left out; spoor rules check names them\n", broken-10)
	}
	return set, err
}

func (e *env) rules() *cobra.Command {
	c := &cobra.Command{
		Use:   "rules",
		Short: "List, show, check, test and backtest detection rules",
		Args:  noArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(e.rulesList(), e.rulesShow(), e.rulesCheck(), e.rulesTest(), e.rulesBacktest(), e.rulesCoverage())
	return c
}

func (e *env) rulesList() *cobra.Command {
	var f ruleFlags
	var asJSON bool
	var tag, level string
	c := &cobra.Command{
		Use:   "list",
		Short: "List the rules that run",
		Long: `List prints the rules that run, highest level first: level, ATT&CK techniques, title, id.

  spoor rules list
  spoor rules list --rules ./my-rules --no-builtin
  spoor rules list --level high --json` + exitCodesHelp,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			least, err := levelFlag("--level", level)
			if err != nil {
				return err
			}
			set, err := f.load(c.Context(), e)
			if err != nil {
				return err
			}
			list := set.Rules()
			list = slices.DeleteFunc(list, func(r detect.RuleState) bool {
				return r.Level < least || tag != "" && !slices.ContainsFunc(r.Tags, func(t string) bool { return strings.Contains(t, strings.ToLower(tag)) })
			})
			slices.SortStableFunc(list, func(a, b detect.RuleState) int {
				if a.Level != b.Level {
					return int(b.Level) - int(a.Level)
				}
				return strings.Compare(a.Title, b.Title)
			})
			if asJSON {
				enc := json.NewEncoder(e.stdout)
				enc.SetIndent("", "  ")
				return enc.Encode(list)
			}
			w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
			for _, r := range list {
				note := ""
				switch {
				case r.Correlation:
					note = "correlation"
				case !r.Alerts:
					note = "feeds correlations or annotates"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.Level, techniqueIDs(r.Rule), safetext.Terminal(r.Title, 90), safetext.Terminal(r.ID, 40), note)
			}
			if err := w.Flush(); err != nil {
				return err
			}
			n, k := set.Count()
			fmt.Fprintf(e.stderr, "%d shown; %s and %s run, %d off\n", len(list), plural(int64(n), "rule"), plural(int64(k), "correlation"), len(set.Off()))
			return nil
		},
	}
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	c.Flags().StringVar(&tag, "tag", "", "only rules with a tag that contains this `text`, such as t1098 or cis")
	c.Flags().StringVar(&level, "level", "", "only rules of this `level` or above")
	return c
}

func techniqueIDs(r detect.Rule) string {
	var out []string
	for _, t := range r.Techniques {
		out = append(out, t.ID)
	}
	if len(out) == 0 {
		return "-"
	}
	return safetext.Terminal(strings.Join(out, ","), 40)
}

func (e *env) rulesShow() *cobra.Command {
	var f ruleFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "show RULE",
		Short: "Show a rule: why it matters, what to check, its source",
		Long: `Show prints what is known of a rule, found by id, title or a part of the title, and its source.

  spoor rules show "access key created"
  spoor rules show 5a1c0f6e-… --json` + exitCodesHelp,
		Args: minArgs(1, "a rule's id or title", `spoor rules show "root"`),
		RunE: func(c *cobra.Command, args []string) error {
			set, err := f.load(c.Context(), e)
			if err != nil {
				return err
			}
			want := strings.ToLower(strings.Join(args, " "))
			var found []detect.Rule
			for _, r := range set.Rules() {
				found = append(found, r.Rule)
			}
			for _, o := range set.Off() {
				found = append(found, o.Rule)
			}
			exact := slices.ContainsFunc(found, func(r detect.Rule) bool { return strings.ToLower(r.ID) == want || strings.ToLower(r.Title) == want })
			found = slices.DeleteFunc(found, func(r detect.Rule) bool {
				if exact {
					return strings.ToLower(r.ID) != want && strings.ToLower(r.Title) != want
				}
				return !strings.Contains(strings.ToLower(r.Title), want) && !strings.HasPrefix(strings.ToLower(r.ID), want)
			})
			if len(found) == 0 {
				return usagef("no rule is called %q; spoor rules list names them", want)
			}
			if asJSON {
				enc := json.NewEncoder(e.stdout)
				enc.SetIndent("", "  ")
				return enc.Encode(found)
			}
			if len(found) > 5 {
				for _, r := range found {
					fmt.Fprintf(e.stdout, "%s  %s\n", safetext.Terminal(r.ID, 40), safetext.Terminal(r.Title, 100))
				}
				return nil
			}
			for i, r := range found {
				if i > 0 {
					fmt.Fprintln(e.stdout)
				}
				if err := e.showRule(r); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}

func (e *env) showRule(r detect.Rule) error {
	line := func(name string, values ...string) {
		for i, v := range values {
			if v == "" {
				continue
			}
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(e.stdout, "%-12s %s\n", name, safetext.Terminal(strings.Join(strings.Fields(v), " "), 2000))
		}
	}
	line("title", r.Title)
	line("id", r.ID)
	line("level", r.Level.String())
	line("status", r.Status)
	for _, t := range r.Techniques {
		line("technique", strings.TrimSpace(t.ID+" "+t.Name))
	}
	line("why", r.Description)
	line("check", r.Check...)
	line("benign", r.FalsePositives...)
	line("controls", strings.Join(r.Controls, ", "))
	line("author", r.Author)
	line("licence", r.License)
	line("references", r.References...)
	line("suite", r.Suite)
	line("file", r.File)
	text, err := fs.ReadFile(rules.FS, r.File)
	if r.Suite != "spoor" || err != nil {
		text, err = os.ReadFile(r.File)
	}
	if err != nil {
		return nil // the rule came from elsewhere; what is known of it was shown
	}
	fmt.Fprintln(e.stdout)
	for _, l := range strings.Split(strings.TrimRight(string(text), "\n"), "\n") {
		fmt.Fprintf(e.stdout, "    %s\n", safetext.Terminal(l, 4000))
	}
	return nil
}

func (e *env) rulesCheck() *cobra.Command {
	var f ruleFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "check [PATH…]",
		Short: "Load rules and name every problem",
		Long: `Check loads rules, the built-in pack or the files and folders given, and names what cannot be loaded and what is odd,
with file, document and reason. It ends with code 1 when a rule cannot be loaded.

  spoor rules check ./my-rules
  spoor rules check` + exitCodesHelp,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				f.noBuiltin = true
				f.paths = append(f.paths, args...)
			}
			opts, err := f.options()
			if err != nil {
				return err
			}
			opts.Strict = false
			set, problems, err := detect.Load(c.Context(), opts)
			if err != nil {
				return err
			}
			broken := 0
			for _, p := range problems {
				if p.Fatal {
					broken++
				}
			}
			if broken > 0 {
				e.exit = ExitFindings
			}
			if asJSON {
				if problems == nil {
					problems = []sigma.Problem{}
				}
				enc := json.NewEncoder(e.stdout)
				enc.SetIndent("", "  ")
				return enc.Encode(problems)
			}
			for _, p := range problems {
				kind := "warning"
				if p.Fatal {
					kind = "error"
				}
				fmt.Fprintf(e.stdout, "%s: %s\n", kind, safetext.Lines(p.String()))
			}
			n, k := set.Count()
			fmt.Fprintf(e.stderr, "%s and %s run, %d off, %d cannot be loaded\n", plural(int64(n), "rule"), plural(int64(k), "correlation"), len(set.Off()), broken)
			for _, o := range set.Off() {
				fmt.Fprintf(e.stderr, "off: %s: %s\n", safetext.Terminal(o.Rule.Title, 100), safetext.Terminal(o.Reason, 100))
			}
			return nil
		},
	}
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}

func (e *env) rulesTest() *cobra.Command {
	var asJSON, verbose bool
	var placeholders []string
	c := &cobra.Command{
		Use:   "test [PATH…]",
		Short: "Run the test events beside rules",
		Long: `Test runs the cases in name.test.yml beside each name.yml: events that must fire the rule and events that must not. A
rule without both is reported. Without a path the built-in pack is tested.

  spoor rules test
  spoor rules test ./my-rules --verbose` + exitCodesHelp,
		RunE: func(c *cobra.Command, args []string) error {
			lists, err := placeholderLists(placeholders)
			if err != nil {
				return err
			}
			var results []detect.TestResult
			run := func(fsys fs.FS, prefix string) error {
				rs, err := detect.RunTests(c.Context(), fsys, detect.Options{Placeholders: lists})
				for i := range rs {
					rs[i].File = filepath.Join(prefix, rs[i].File)
				}
				results = append(results, rs...)
				return err
			}
			if len(args) == 0 {
				if err := run(rules.FS, "rules"); err != nil {
					return err
				}
			}
			for _, a := range args {
				info, err := os.Stat(a)
				if err != nil {
					return usageError{err}
				}
				if !info.IsDir() {
					return usagef("%s is a file: give the folder that holds the rule and its test", a)
				}
				if err := run(os.DirFS(a), a); err != nil {
					return err
				}
			}
			failed := 0
			for _, r := range results {
				if !r.OK {
					failed++
				}
			}
			if failed > 0 {
				e.exit = ExitFindings
			}
			if asJSON {
				enc := json.NewEncoder(e.stdout)
				enc.SetIndent("", "  ")
				return enc.Encode(results)
			}
			for _, r := range results {
				if verbose || !r.OK {
					fmt.Fprintln(e.stdout, safetext.Lines(r.String()))
				}
			}
			fmt.Fprintf(e.stdout, "%d cases, %d failed\n", len(results), failed)
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "name the cases that passed too")
	c.Flags().StringArrayVar(&placeholders, "placeholder", nil, placeholderUsage)
	return c
}

func (e *env) rulesCoverage() *cobra.Command {
	var f ruleFlags
	var show reportFlags
	var old bool
	formats := []string{"table", "json", "navigator"}
	c := &cobra.Command{
		Use:   "coverage",
		Short: "Map the rules onto ATT&CK",
		Long: `Coverage maps the rules that run onto ATT&CK ` + detect.AttackVersion + `, with the numbers of earlier versions beside: as a table, as JSON, or as
a layer for the ATT&CK Navigator.

  spoor rules coverage
  spoor rules coverage --rules ./my-rules --format navigator --out layer.json` + exitCodesHelp,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := show.check(formats); err != nil {
				return err
			}
			set, err := f.load(c.Context(), e)
			if err != nil {
				return err
			}
			cov := set.Coverage()
			return e.write(show.out, func(w io.Writer) error {
				switch show.format {
				case "navigator":
					layer, err := cov.Navigator("Spoor", old)
					if err != nil {
						return err
					}
					_, err = w.Write(append(layer, '\n'))
					return err
				case "json":
					enc := json.NewEncoder(w)
					enc.SetIndent("", "  ")
					return enc.Encode(cov)
				}
				return coverageTable(w, cov)
			})
		},
	}
	f.add(c)
	show.add(c, formats)
	c.Flags().BoolVar(&old, "old-ids", false, "number techniques in the layer as before ATT&CK 19")
	return c
}

func coverageTable(w io.Writer, cov detect.Coverage) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	techniques := 0
	for _, tactic := range cov.Tactics {
		name := tactic.Tactic.Name
		if name == "" {
			name = "(no tactic)"
		}
		fmt.Fprintf(tw, "%s\t%d rules\n", name, tactic.Rules)
		for _, t := range tactic.Techniques {
			techniques++
			id := t.ID
			if t.Old != "" {
				id += " (" + t.Old + ")"
			}
			fmt.Fprintf(tw, "  %s\t%d\t%s\n", id, len(t.Rules), safetext.Terminal(t.Name, 80))
		}
	}
	fmt.Fprintf(tw, "\n%d rules, %d techniques", cov.Rules, techniques)
	if n := len(cov.Untagged); n > 0 {
		fmt.Fprintf(tw, ", %d rules without a technique", n)
	}
	fmt.Fprintln(tw)
	return tw.Flush()
}
