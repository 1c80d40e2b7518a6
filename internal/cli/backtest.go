package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"spoor/internal/detect"
	"spoor/internal/hunt"
	"spoor/internal/safetext"
)

// unmatched is the reason for which events of a store are left out that no rule can match.
const unmatched = "no rule can match"

func (e *env) rulesBacktest() *cobra.Command {
	var in inputFlags
	var kept storeFlags
	var f ruleFlags
	var asJSON bool
	var samples int
	var failAbove float64
	c := &cobra.Command{
		Use:   "backtest RULE… PATH…|--store DIR",
		Short: "Run rules over the past: how often, since when, by whom",
		Long: `Backtest runs rules over past events and prints for each how often it matched, how often in 10,000 events, when first and
last, by how many actors, and a few of the events. RULE is a file or folder of Sigma rules (.yml, .yaml), or the id or title of a
built-in rule; correlations bring the rules along that they refer to. Of a store it reads only what the rules can match.

  spoor rules backtest my-rule.yml --store ./store --since 90d
  spoor rules backtest ./my-rules ./logs --json
  spoor rules backtest "Root signed in to the console" ./logs
  spoor rules backtest ./my-rules --store ./store --fail-above 5      for CI: a noisy rule ends with code 1
  spoor rules backtest ./my-rules -- ./logs                           what stands behind -- is read` +
			strings.Replace(exitCodesHelp, "findings at or above --fail-on (or: no match, a failed test)", "a rule matched more often than --fail-above, or could not be loaded", 1),
		Args: minArgs(1, "a rule", "spoor rules backtest my-rule.yml --store ./store"),
		RunE: func(c *cobra.Command, args []string) error {
			refs, inputs := splitRules(args, c.ArgsLenAtDash(), kept.dir != "")
			if len(inputs) == 0 && kept.dir == "" {
				return usagef("nothing to run the rules over: give a file, folder, archive or bucket behind the rules, or --store")
			}
			var named []string // built-in rules
			for _, ref := range refs {
				if _, err := os.Stat(ref); err == nil {
					f.paths = append(f.paths, ref)
				} else if isRuleFile(ref) {
					return usageError{err}
				} else {
					named = append(named, ref)
				}
			}
			if len(refs) == 0 && len(f.paths) == 0 {
				return usagef("no rule to run: give a file or folder of Sigma rules, or the id or title of a built-in rule, before what is read")
			}
			f.noBuiltin = len(named) == 0
			f.enable = append(f.enable, named...)
			ctx := c.Context()
			set, err := f.load(ctx, e)
			if err != nil {
				return err
			}
			about, ids, err := chosen(set, named)
			if err != nil {
				return err
			}
			opts, known, done, err := kept.intake(ctx, e, &in, inputs, rowsFor(set.Exprs(ids...), unmatched, false))
			if err != nil {
				return err
			}
			stop := in.progress(e, opts.Progress)
			res, err := hunt.Backtest(ctx, hunt.BacktestOptions{About: about, Samples: samples, Unread: unmatched,
				Options: hunt.Options{Intake: opts, Rules: set, TempDir: in.tempDir, KeepDuplicates: in.keepDuplicates, Earlier: known,
					Version: readVersion().Version, Now: time.Now().UTC()}})
			stop()
			if err = errors.Join(err, done()); err != nil {
				return err
			}
			e.exit = backtestExit(res, failAbove)
			if asJSON {
				return e.printJSON(res)
			}
			return showBacktest(e.stdout, res)
		},
	}
	in.add(c)
	kept.add(c)
	f.add(c)
	fl := c.Flags()
	fl.BoolVar(&asJSON, "json", false, "as JSON")
	fl.IntVar(&samples, "samples", 3, fmt.Sprintf("events to show of each rule, at most %d", detect.EventCap))
	fl.Float64Var(&failAbove, "fail-above", -1, "end with exit code 1 when a rule matches more often than this in 10,000 events")
	return c
}

// splitRules tells rules from what is read: what stands behind -- or, without it, what follows the last rule file, folder of
// rules or name of a rule.
func splitRules(args []string, dash int, stored bool) (refs, inputs []string) {
	if dash >= 0 {
		return args[:dash], args[dash:]
	}
	n := 0
	for n < len(args) && isRules(args[n]) {
		n++
	}
	if n == len(args) && !stored && n > 1 && isInput(args[n-1]) && !isRuleFile(args[n-1]) {
		n-- // a folder of logs may have a rule in it
	}
	return args[:n], args[n:]
}

func isRuleFile(name string) bool {
	ext := strings.ToLower(filepath.Ext(name))
	return ext == ".yml" || ext == ".yaml"
}

// isRules reports whether an argument names rules: a file or folder of them, or nothing that could be read.
func isRules(arg string) bool {
	if isRuleFile(arg) {
		return true
	}
	info, err := os.Stat(arg)
	if err != nil {
		return !isInput(arg)
	}
	if !info.IsDir() {
		return false
	}
	const most = 10_000 // names to look at: a folder of logs may have millions
	n, found := 0, false
	_ = filepath.WalkDir(arg, func(name string, d fs.DirEntry, err error) error {
		if n++; n > most {
			return fs.SkipAll
		}
		if err == nil && !d.IsDir() && isRuleFile(name) {
			found = true
			return fs.SkipAll
		}
		return nil
	})
	return found
}

// chosen says which rules of the set are told about: those from files, and the built-in ones that are named.
func chosen(set *detect.Ruleset, named []string) (about func(detect.Rule) bool, ids []string, err error) {
	const builtin = "spoor" // suite
	picked := map[string]bool{}
	for _, ref := range named {
		r, ok := set.Find(ref)
		if !ok {
			return nil, nil, usagef("no rule is called %q; spoor rules list names them", ref)
		}
		picked[r.ID] = true
	}
	about = func(r detect.Rule) bool { return len(named) == 0 || r.Suite != builtin || picked[r.ID] }
	some := false
	for _, r := range set.Rules() {
		if about(r.Rule) {
			some = true
			if len(named) > 0 {
				ids = append(ids, r.ID)
			}
			if r.ID == "" {
				ids = nil
				break
			}
		}
	}
	if !some {
		return nil, nil, usagef("no rule to run; spoor rules check says what is wrong with a rule")
	}
	return about, ids, nil
}

func backtestExit(res *hunt.BacktestResult, failAbove float64) int {
	switch {
	case !res.Ledger.Balanced:
		return ExitFailure
	case !res.Ledger.Complete() || res.Ledger.Empty():
		return ExitIncomplete
	case len(res.Problems) > 0 || failAbove >= 0 && slices.ContainsFunc(res.Rules, func(t hunt.RuleTest) bool { return t.Per10000 > failAbove }):
		return ExitFindings
	}
	return ExitClean
}

func showBacktest(w io.Writer, res *hunt.BacktestResult) error {
	var b strings.Builder
	l := res.Ledger
	fmt.Fprintf(&b, "%s events in %s; %s records read, %s kept", group(res.Events), res.Elapsed.Round(10*time.Millisecond), group(l.Records.Seen), group(l.Records.Kept))
	for _, r := range l.Pruned {
		fmt.Fprintf(&b, "; %s of the store not read: %s", group(r.Count), r.Reason)
	}
	b.WriteString("\n\n")
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "matches\tper 10,000\tdenied\tactors\tfirst\tlast\tlevel\trule")
	day := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.UTC().Format(time.DateTime)
	}
	for i := range res.Rules {
		t := &res.Rules[i]
		actors := fmt.Sprint(t.Actors)
		title := safetext.Terminal(t.Rule.Title, 90)
		if !t.Alerts {
			actors, title = "-", title+" (feeds correlations)"
		}
		fmt.Fprintf(tw, "%s\t%.2f\t%s\t%s\t%s\t%s\t%s\t%s\n", group(t.Matches), t.Per10000, group(t.Denied), actors, day(t.First), day(t.Last), t.Rule.Level, title)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for i := range res.Rules {
		t := &res.Rules[i]
		if len(t.Samples) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%s\n", safetext.Terminal(t.Rule.Title, 120))
		for k := range t.Samples {
			s := &t.Samples[k]
			service, _, _ := strings.Cut(s.Source, ".")
			parts := []string{s.Time.UTC().Format(time.RFC3339), s.Actor.Name, service + ":" + s.Name}
			if s.Target != "" {
				parts = append(parts, s.Target)
			}
			if s.Error != "" {
				parts = append(parts, "["+s.Error+"]")
			}
			parts = append(parts, s.Address, s.Account, s.Region, s.ID)
			for j, p := range parts {
				parts[j] = safetext.Terminal(p, 160)
			}
			fmt.Fprintf(&b, "  %s\n", strings.Join(parts, "  "))
		}
	}
	showTrouble(&b, l)
	if !l.Balanced {
		fmt.Fprintf(&b, "\nTHE LEDGER DOES NOT BALANCE: %s\n", safetext.Terminal(strings.Join(l.Problems, "; "), 400))
	}
	for _, n := range res.Notes {
		fmt.Fprintf(&b, "\nnot judged: %s\n", safetext.Terminal(n, 400))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
