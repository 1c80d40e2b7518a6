package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"spoor/internal/detect"
	"spoor/internal/hunt"
	"spoor/internal/report"
)

// reportFlags are the flags of commands that show results.
type reportFlags struct {
	format, out, color string
	limit              int
}

func (f *reportFlags) add(c *cobra.Command, formats []string) {
	fl := c.Flags()
	fl.StringVar(&f.format, "format", "table", "`format`: "+strings.Join(formats, ", "))
	fl.StringVar(&f.out, "out", "", "write to this `file` in place of stdout")
	fl.StringVar(&f.color, "color", "auto", "auto, always or never")
	fl.IntVar(&f.limit, "limit", 0, "rows of each list (default: what fits; -1: all)")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}

func (f *reportFlags) check(formats []string) error {
	if !slices.Contains(formats, f.format) {
		return usagef("--format %q: want one of %s", f.format, strings.Join(formats, ", "))
	}
	if f.color != "auto" && f.color != "always" && f.color != "never" {
		return usagef("--color %q: want auto, always or never", f.color)
	}
	return nil
}

// options says how to show results on what they are written to.
func (f *reportFlags) options(e *env, command string) report.Options {
	opts := report.Options{Limit: f.limit, Command: command, Color: f.color == "always"}
	if f.out == "" {
		if width, height, ok := terminal(e.stdout); ok {
			opts.Width, opts.Height = width, height
			opts.Color = opts.Color || f.color == "auto"
		}
	}
	return opts
}

func (e *env) hunt() *cobra.Command {
	var in inputFlags
	var kept storeFlags
	var rules ruleFlags
	var show reportFlags
	var failOn, minLevel, explain, actor, ledgerOut string
	formats := report.Formats[:]
	c := &cobra.Command{
		Use:   "hunt PATH…|--store DIR",
		Short: "Read logs and tell what happened in them",
		Long: `Hunt reads CloudTrail logs from files, folders, zip and tar archives, standard input (-) and buckets
(s3://bucket/prefix), in every shape in which records travel, runs the built-in rules and yours over them, and prints one
screen: what was found, by whom, where and when, and whether everything was read.

  spoor hunt ./logs
  spoor hunt s3://trail-bucket/AWSLogs --since 7d --region eu-central-1
  spoor hunt --store ./store --since 30d            what a store has (spoor store ingest), and PATHs beside it
  aws s3 cp s3://bucket/key.json.gz - | spoor hunt -
  spoor hunt ./logs --rules ./my-rules --fail-on high --format sarif --out spoor.sarif
  spoor hunt ./logs --explain 4f1c2a9be0d35a77      the rule, why, what to check, the record
  spoor hunt ./logs --actor ana                     the timeline of one actor` + exitCodesHelp,
		Args: kept.orArgs("spoor hunt ./logs"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := show.check(formats); err != nil {
				return err
			}
			fail, err := levelFlag("--fail-on", failOn)
			if err != nil {
				return err
			}
			least, err := levelFlag("--min-level", minLevel)
			if err != nil {
				return err
			}
			if actor != "" && !slices.Contains(timelineFormats[:], show.format) {
				return usagef("--actor with --format %s: a timeline comes as one of %s", show.format, strings.Join(timelineFormats[:], ", "))
			}
			if explain != "" && show.format != "table" {
				return usagef("--explain with --format %s: an explanation is plain text; --format json holds the findings with their events", show.format)
			}
			ctx := c.Context()
			set, err := rules.load(ctx, e)
			if err != nil {
				return err
			}
			opts, earlier, done, err := kept.intake(ctx, e, &in, args, nil)
			if err != nil {
				return err
			}
			stop := in.progress(e, opts.Progress)
			res, err := hunt.Run(ctx, hunt.Options{Intake: opts, Rules: set, TempDir: in.tempDir, Actor: actor, KeepDuplicates: in.keepDuplicates,
				Earlier: earlier, Version: readVersion().Version, Now: time.Now().UTC()})
			stop()
			if err = errors.Join(err, done()); err != nil {
				return err
			}
			if ledgerOut != "" {
				if err := e.write(ledgerOut, func(w io.Writer) error {
					enc := json.NewEncoder(w)
					enc.SetIndent("", "  ")
					return enc.Encode(res.Ledger)
				}); err != nil {
					return err
				}
			}
			e.exit = huntExit(res, fail)
			if least > detect.Informational {
				res.Findings = slices.DeleteFunc(res.Findings, func(f detect.Finding) bool { return f.Level < least })
			}
			ro := show.options(e, strings.Join(append([]string{"spoor hunt"}, quoteAll(append(kept.args(), args...))...), " "))
			ro.ExitCode = e.exit
			return e.write(show.out, func(w io.Writer) error {
				switch {
				case explain != "":
					return explainFinding(w, res, explain, ro)
				case actor != "":
					return report.Timeline(w, timelineFormat(show.format), res.Timeline, ro)
				}
				return report.Write(w, show.format, res, ro)
			})
		},
	}
	in.add(c)
	kept.add(c)
	rules.add(c)
	show.add(c, formats)
	fl := c.Flags()
	fl.StringVar(&failOn, "fail-on", "", "end with exit code 1 when there is a finding of this `level` or above: informational, low, medium, high, critical")
	fl.StringVar(&minLevel, "min-level", "", "show only findings of this `level` or above")
	fl.StringVar(&explain, "explain", "", "explain the finding with this `id`")
	fl.StringVar(&actor, "actor", "", "show the timeline of this `actor`: a name, ARN, id, session or access key")
	fl.StringVar(&ledgerOut, "ledger", "", "write the ledger to this `file`, as JSON")
	return c
}

// huntExit is the exit code for a result. What could not be read outweighs what was found.
func huntExit(res *hunt.Result, fail detect.Level) int {
	switch {
	case !res.Ledger.Balanced:
		return ExitFailure
	case !res.Ledger.Complete() || res.Ledger.Empty():
		return ExitIncomplete
	}
	if fail >= 0 {
		for _, f := range res.Findings {
			if f.Level >= fail {
				return ExitFindings
			}
		}
	}
	return ExitClean
}

func levelFlag(flag, name string) (detect.Level, error) {
	if name == "" {
		return -1, nil
	}
	i := slices.Index(detect.Levels[:], strings.ToLower(name))
	if i < 0 {
		return -1, usagef("%s %q: want one of %s", flag, name, strings.Join(detect.Levels[:], ", "))
	}
	return detect.Level(i), nil
}

// timelineFormats are the formats of --actor; timeline is the same as table there.
var timelineFormats = [...]string{"table", "timeline", "csv", "json", "jsonl"}

func timelineFormat(format string) string {
	if format == "timeline" {
		return "table"
	}
	return format
}

func explainFinding(w io.Writer, res *hunt.Result, id string, opts report.Options) error {
	var found []*detect.Finding
	for i := range res.Findings {
		if f := &res.Findings[i]; strings.HasPrefix(f.ID, strings.ToLower(id)) {
			found = append(found, f)
		}
	}
	switch {
	case len(found) == 0:
		return usagef("no finding has the id %s; the ids stand in the table and in --format json", id)
	case len(found) > 1 && found[0].ID != id:
		return usagef("%d findings have ids that start with %s; give more of it", len(found), id)
	}
	return report.Explain(w, found[0], opts)
}

// write writes a result to a file or to stdout.
func (e *env) write(path string, fn func(io.Writer) error) error {
	w, done, err := e.output(path)
	if err != nil {
		return err
	}
	return done(fn(w))
}

// quoteAll quotes arguments for a shell, for hints that can be pasted.
func quoteAll(args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		if out[i] = a; a == "" || strings.ContainsAny(a, " \t\n'\"\\$&;|<>()*?[]{}~#`!") {
			out[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return out
}

func (e *env) stats() *cobra.Command {
	var in inputFlags
	var kept storeFlags
	var show reportFlags
	formats := []string{"table", "json", "csv"}
	c := &cobra.Command{
		Use:   "stats PATH…|--store DIR",
		Short: "Who did what, from where, how often, first and last",
		Long: `Stats reads logs and prints the most frequent actors, calls, addresses, user agents, errors, access keys, accounts and
Regions, each with its first and last event.

  spoor stats ./logs
  spoor stats ./logs --since 24h --limit 30
  spoor stats --store ./store --account 111122223333
  spoor stats ./logs --format csv --out stats.csv` + exitCodesHelp,
		Args: kept.orArgs("spoor stats ./logs"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := show.check(formats); err != nil {
				return err
			}
			opts, earlier, done, err := kept.intake(c.Context(), e, &in, args, nil)
			if err != nil {
				return err
			}
			stop := in.progress(e, opts.Progress)
			res, err := hunt.Run(c.Context(), hunt.Options{Intake: opts, TempDir: in.tempDir, KeepDuplicates: in.keepDuplicates,
				Earlier: earlier, Version: readVersion().Version, Now: time.Now().UTC()})
			stop()
			if err = errors.Join(err, done()); err != nil {
				return err
			}
			e.exit = huntExit(res, -1)
			if err := e.write(show.out, func(w io.Writer) error {
				return report.Stats(w, show.format, res, show.options(e, "spoor stats"))
			}); err != nil {
				return err
			}
			if e.exit == ExitIncomplete {
				fmt.Fprintf(e.stderr, "spoor: input incomplete: %s failed, %s rejected; spoor hunt shows which\n", plural(res.Ledger.Objects.Failed, "object"), plural(res.Ledger.Records.Rejected, "record"))
			}
			return nil
		},
	}
	in.add(c)
	kept.add(c)
	show.add(c, formats)
	return c
}
