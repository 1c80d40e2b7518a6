package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"spoor/internal/store"
)

func (e *env) storeHold() *cobra.Command {
	var w writerFlags
	var h store.Hold
	var since, until, release string
	c := &cobra.Command{
		Use:   "hold DIR",
		Short: "Place, list and release legal holds",
		Long: `A hold keeps events from being removed by retention, whatever their age, until it is released; and the files of the moment
when it was placed from being deleted, also when they are compacted.

  spoor store hold ./store                                       list
  spoor store hold ./store --name case-17 --reason "letter of 3 March"
  spoor store hold ./store --name case-18 --since 2026-01-01 --until 2026-02-01
  spoor store hold ./store --release case-17` + "\n" + exitCodesHelp,
		Args: storeArg,
		RunE: func(c *cobra.Command, args []string) (err error) {
			ctx := c.Context()
			o, err := w.options()
			if err != nil {
				return err
			}
			now := time.Now()
			if h.Since, err = parseWhen("--since", since, now); err != nil {
				return err
			}
			if h.Until, err = parseWhen("--until", until, now); err != nil {
				return err
			}
			switch {
			case h.Name != "" && release != "":
				return usagef("--name places a hold and --release ends one: use one of them")
			case h.Name == "" && (h.Reason != "" || since != "" || until != ""):
				return usagef("a hold wants --name")
			}
			o.ReadOnly = h.Name == "" && release == ""
			return withStore(ctx, args[0], o, func(s *store.Store) error {
				if h.Name != "" {
					err = s.Hold(ctx, h)
				} else if release != "" {
					err = s.Release(ctx, release)
				}
				if err != nil {
					return usageError{err}
				}
				holds, err := s.Holds(ctx)
				if err != nil {
					return err
				}
				if w.asJSON {
					return e.printJSON(holds)
				}
				if len(holds) == 0 {
					_, err := fmt.Fprintln(e.stdout, "No holds.")
					return err
				}
				for _, h := range holds {
					if _, err := fmt.Fprintln(e.stdout, holdText(h)); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	w.add(c)
	fl := c.Flags()
	fl.StringVar(&h.Name, "name", "", "place a hold of this `name`")
	fl.StringVar(&h.Reason, "reason", "", "why, for people")
	fl.StringVar(&since, "since", "", "hold only event days from this `time` on")
	fl.StringVar(&until, "until", "", "hold only event days before this `time`")
	fl.StringVar(&release, "release", "", "release the hold of this `name`")
	return c
}

func (e *env) storeCompact() *cobra.Command {
	var w writerFlags
	var closed string
	var all bool
	c := &cobra.Command{
		Use:   "compact DIR",
		Short: "Merge the small files of days that are over",
		Long: `Compact merges the small files of each day that is over into large ones, so that queries read less. The old files stay
until spoor store expire, for the sake of queries that are running.` + "\n" + exitCodesHelp,
		Args: storeArg,
		RunE: func(c *cobra.Command, args []string) error {
			o, err := w.options()
			if err != nil {
				return err
			}
			var opts store.CompactOptions
			var ok bool
			if opts.Closed, ok = span(closed); !ok {
				return usagef("--closed %q: want a span such as 3h or 1d", closed)
			}
			if opts.Closed = max(opts.Closed, 1); all {
				opts.Closed = -1
			}
			limitMemory()
			return withStore(c.Context(), args[0], o, func(s *store.Store) error {
				if !w.asJSON {
					opts.Progress = func(d store.DayCompacted) {
						fmt.Fprintf(e.stdout, "%s  %s events: %d files (%s) into %d (%s) in %.1f s\n", d.Day, group(d.Rows), d.FilesBefore,
							bytesText(d.BytesBefore), d.FilesAfter, bytesText(d.BytesAfter), d.Seconds)
					}
				}
				res, err := s.Compact(c.Context(), opts)
				if err != nil {
					return err
				}
				if len(res.Damaged) > 0 {
					e.exit = ExitIncomplete
				}
				if w.asJSON {
					return e.printJSON(res)
				}
				var b strings.Builder
				if len(res.Days) == 0 {
					b.WriteString("Nothing to merge.\n")
				} else {
					fmt.Fprintf(&b, "Merged %s events of %d days in %.1f s (%s events/s).\n", group(res.Rows), len(res.Days), res.Seconds,
						group(int64(float64(res.Rows)/max(res.Seconds, 1e-3))))
				}
				showDamage(&b, res.Damaged)
				_, err = io.WriteString(e.stdout, b.String())
				return err
			})
		},
	}
	w.add(c)
	c.Flags().StringVar(&closed, "closed", "3h", "leave days alone that ended less than this `span` ago")
	c.Flags().BoolVar(&all, "all", false, "compact days that are not over, too")
	return c
}

func (e *env) storeExpire() *cobra.Command {
	var w writerFlags
	ages := map[string]*string{}
	var grace string
	var dry bool
	c := &cobra.Command{
		Use:   "expire DIR",
		Short: "Let go of what is too old",
		Long: `Expire removes events that are older than their class is to be kept, and deletes the files that nothing needs any more: those
that retention or compaction replaced longer ago than the grace period. Days under a hold are kept whole. A class without
an age is kept for ever.

  spoor store expire ./store                                    only delete replaced files
  spoor store expire ./store --management 365d --data 90d --insight 30d
  spoor store expire ./store --data 90d --dry-run` + "\n" + exitCodesHelp,
		Args: storeArg,
		RunE: func(c *cobra.Command, args []string) error {
			ctx := c.Context()
			o, err := w.options()
			if err != nil {
				return err
			}
			retain := store.RetainOptions{Ages: map[string]time.Duration{}, DryRun: dry}
			for class, text := range ages {
				if *text == "" {
					continue
				}
				d, ok := span(*text)
				if !ok || d <= 0 {
					return usagef("--%s %q: want a span such as 90d", classFlag(class), *text)
				}
				retain.Ages[class] = d
			}
			g, ok := span(grace)
			if !ok {
				return usagef("--grace %q: want a span such as 1h", grace)
			}
			if g == 0 {
				g = -1
			}
			limitMemory()
			return withStore(ctx, args[0], o, func(s *store.Store) error {
				var out struct {
					Retained *store.RetainResult `json:"retention,omitempty"`
					Expired  *store.ExpireResult `json:"expired,omitempty"`
				}
				var err error
				if len(retain.Ages) > 0 {
					if out.Retained, err = s.Retain(ctx, retain); err != nil {
						return err
					}
					if len(out.Retained.Damaged) > 0 {
						e.exit = ExitIncomplete
					}
				}
				if !dry {
					if out.Expired, err = s.Expire(ctx, store.ExpireOptions{Grace: g}); err != nil {
						return err
					}
				}
				if w.asJSON {
					return e.printJSON(out)
				}
				return showExpire(e.stdout, out.Retained, out.Expired, dry)
			})
		},
	}
	w.add(c)
	fl := c.Flags()
	for _, class := range store.Classes() {
		ages[class] = fl.String(classFlag(class), "", "keep "+class+" events for this `span`, such as 365d")
	}
	fl.StringVar(&grace, "grace", "1h", "how long replaced files stay for queries that are running")
	fl.BoolVar(&dry, "dry-run", false, "only tell what would be removed")
	return c
}

// classFlag is the flag of a class of events.
func classFlag(class string) string {
	switch class {
	case "NetworkActivity":
		return "network-activity"
	case "ActivityAuditLog":
		return "activity-audit-log"
	}
	return strings.ToLower(class)
}

func showExpire(w io.Writer, r *store.RetainResult, x *store.ExpireResult, dry bool) error {
	var b strings.Builder
	if r != nil {
		verb := "Removed"
		if dry {
			verb = "Would remove"
		}
		fmt.Fprintf(&b, "%s %s events.\n", verb, group(r.Removed))
		for i, d := range r.Days {
			if i == 100 {
				fmt.Fprintf(&b, "  and %d more days; see --json\n", len(r.Days)-i)
				break
			}
			if d.Held != "" {
				fmt.Fprintf(&b, "  %s: HELD by %s, %s events stay\n", d.Day, d.Held, group(d.Rows))
				continue
			}
			fmt.Fprintf(&b, "  %s: %s of %s events (%s)\n", d.Day, group(d.Removed), group(d.Rows), strings.Join(d.Expired, ", "))
		}
		showDamage(&b, r.Damaged)
	}
	if x != nil {
		fmt.Fprintf(&b, "Deleted %s in %s data files of %d versions that were replaced.\n", bytesText(x.Bytes), group(int64(x.Files)), x.Snapshots)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
