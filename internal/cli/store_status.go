package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"spoor/internal/safetext"
	"spoor/internal/store"
)

func (e *env) storeStatus() *cobra.Command {
	var asJSON, columns bool
	c := &cobra.Command{
		Use:   "status DIR",
		Short: "What a store holds",
		Long: `Status tells how many events of which days a store has, what they take, what was read into it, what is held, and
whether files are missing or have another length than was written. It exits with 3 when they do.` + "\n" + exitCodesHelp,
		Args: storeArg,
		RunE: func(c *cobra.Command, args []string) error {
			return withStore(c.Context(), args[0], store.Options{ReadOnly: true}, func(s *store.Store) error {
				st, err := s.Status(c.Context(), columns)
				if err != nil {
					return err
				}
				if len(st.Damaged) > 0 {
					e.exit = ExitIncomplete
				}
				if asJSON {
					return e.printJSON(st)
				}
				return showStatus(e.stdout, st)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON")
	c.Flags().BoolVar(&columns, "columns", false, "also what each column takes")
	return c
}

func showStatus(out io.Writer, st *store.Status) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s events", safetext.Middle(st.Dir, 100), group(st.Rows))
	if !st.First.IsZero() {
		fmt.Fprintf(&b, " from %s to %s", st.First.Format(time.RFC3339), st.Last.Format(time.RFC3339))
	}
	b.WriteString("\n\n")
	if st.Rows > 0 {
		fmt.Fprintf(&b, "  data      %s in %s files, %.0f bytes an event, and %s of event ids\n", bytesText(st.Bytes), group(int64(st.Files)),
			float64(st.Bytes)/float64(st.Rows), bytesText(st.Index))
	}
	if st.Hot.Rows > 0 {
		fmt.Fprintf(&b, "  hot       %s events more in %s files (%s), taken from the journal and not in data files yet\n", group(st.Hot.Rows), group(int64(st.Hot.Files)), bytesText(st.Hot.Bytes))
	}
	if st.Hot.Journal != "" {
		fmt.Fprintf(&b, "  journal   %s, in data files up to sequence %d\n", safetext.Terminal(st.Hot.Journal, 100), st.Hot.Committed)
	}
	if st.Replaced > 0 {
		fmt.Fprintf(&b, "  replaced  %s in %s files of older snapshots and holds; spoor store expire lets go of them\n", bytesText(st.ReplacedBytes), group(int64(st.Replaced)))
	}
	if st.Orphans > 0 {
		fmt.Fprintf(&b, "  orphans   %s in %s files: not committed yet, or left by a process that was killed; the next writer removes these\n", bytesText(st.OrphanBytes), group(int64(st.Orphans)))
	}
	l := st.Ledger
	fmt.Fprintf(&b, "  objects   %s read, %s failed, %s known\n", group(l.Objects.Read), group(l.Objects.Failed), group(st.Objects))
	fmt.Fprintf(&b, "  records   %s seen: %s kept, %s duplicate, %s filtered, %s rejected, %s other\n", group(l.Records.Seen), group(l.Records.Kept),
		group(l.Records.Duplicate), group(l.Records.Filtered), group(l.Records.Rejected), group(l.Records.Other))
	if st.Removed > 0 {
		fmt.Fprintf(&b, "  removed   %s events by retention\n", group(st.Removed))
	}
	fmt.Fprintf(&b, "  commits   %d, the store made %s, format version %d\n", st.Seq, st.Created.Format(time.RFC3339), st.Version)
	for _, h := range st.Holds {
		fmt.Fprintf(&b, "  HOLD      %s\n", holdText(h))
	}
	if len(st.Days) > 0 {
		b.WriteByte('\n')
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "day\tevents\tfiles\tsize\t")
		days := st.Days
		const most = 40
		if len(days) > most {
			fmt.Fprintf(t, "… %d more\t\t\t\t\n", len(days)-most)
			days = days[len(days)-most:]
		}
		for _, d := range days {
			fmt.Fprintf(t, "%s\t%s\t%d\t%s\t\n", d.Day, group(d.Rows), d.Files, bytesText(d.Bytes))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(st.Columns) > 0 {
		b.WriteByte('\n')
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(t, "column\tsize\tbytes an event\t")
		for _, c := range st.Columns {
			fmt.Fprintf(t, "%s\t%s\t%.1f\t\n", safetext.Terminal(c.Name, 60), bytesText(c.Bytes), float64(c.Bytes)/float64(max(1, st.Rows)))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	showDamage(&b, st.Damaged)
	if len(st.Damaged) > 0 {
		b.WriteString("\nspoor store verify tells what is lost.\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func showDamage(b *strings.Builder, damage []store.Damage) {
	const most = 50
	for i, d := range damage {
		if i == 0 {
			b.WriteString("\nDAMAGED:\n")
		}
		if i == most {
			fmt.Fprintf(b, "  and %d more; see --json\n", len(damage)-most)
			break
		}
		fmt.Fprintf(b, "  %s: %s", safetext.Middle(d.File, 90), safetext.Terminal(d.What, 200))
		if d.Rows > 0 {
			fmt.Fprintf(b, " (%s events of %s)", group(d.Rows), d.Day)
		}
		b.WriteByte('\n')
	}
}

func holdText(h store.Hold) string {
	text := h.Name + " since " + h.Placed.Format(time.RFC3339) + ", "
	switch {
	case h.Since.IsZero() && h.Until.IsZero():
		text += "everything"
	case h.Until.IsZero():
		text += "from " + h.Since.Format(time.DateOnly)
	case h.Since.IsZero():
		text += "before " + h.Until.Format(time.DateOnly)
	default:
		text += "from " + h.Since.Format(time.DateOnly) + " to before " + h.Until.Format(time.DateOnly)
	}
	if h.Reason != "" {
		text += ": " + safetext.Terminal(h.Reason, 80)
	}
	return text
}

// group writes a number with spaces between thousands.
func group(n int64) string {
	s := fmt.Sprint(n)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	var parts []string
	for len(s) > 3 {
		parts = append([]string{s[len(s)-3:]}, parts...)
		s = s[:len(s)-3]
	}
	return sign + strings.Join(append([]string{s}, parts...), " ")
}

// bytesText writes a size for people.
func bytesText(n int64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n), -1
	for f >= unit && i < 5 {
		f /= unit
		i++
	}
	return fmt.Sprintf("%.1f %cB", f, "kMGTPE"[i])
}

func (e *env) storeVerify() *cobra.Command {
	var asJSON, quiet bool
	var opts store.VerifyOptions
	c := &cobra.Command{
		Use:   "verify DIR",
		Short: "Read everything again and hold it against the ledger",
		Long: `Verify reads every file of a store again and holds it against what was written: its length, its end, every record, the
order of the events, their ids, the ledger, the objects that were read, and that no event is there twice. It names every
file that is damaged, and the days that miss something. It changes nothing, and exits with 3 when something is wrong.` + "\n" + exitCodesHelp,
		Args: storeArg,
		RunE: func(c *cobra.Command, args []string) error {
			return withStore(c.Context(), args[0], store.Options{ReadOnly: true}, func(s *store.Store) error {
				stop := func() {}
				if width, _, ok := terminal(e.stderr); ok && !quiet {
					opts.Progress, stop = countProgress(e.stderr, width, "events")
				}
				v, err := s.Verify(c.Context(), opts)
				stop()
				if err != nil {
					return err
				}
				if !v.OK() {
					e.exit = ExitIncomplete
				}
				if asJSON {
					return e.printJSON(v)
				}
				return showVerification(e.stdout, args[0], v)
			})
		},
	}
	fl := c.Flags()
	fl.BoolVar(&asJSON, "json", false, "print the result as JSON")
	fl.BoolVar(&opts.Deep, "deep", false, "read every column too, not only the records")
	fl.IntVar(&opts.Workers, "workers", 0, "files read at once (default: one for each processor)")
	fl.BoolVarP(&quiet, "quiet", "q", false, "no progress")
	return c
}

// countProgress shows on one line how much of something was done. stop removes the line.
func countProgress(w io.Writer, width int, what string) (progress func(done, of int, n int64), stop func()) {
	var mu sync.Mutex // guards last and w
	var last time.Time
	progress = func(done, of int, n int64) {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); now.Sub(last) >= 200*time.Millisecond {
			last = now
			line := fmt.Sprintf("%d/%d files  %s %s", done, of, group(n), what)
			fmt.Fprintf(w, "\r%s\x1b[K", line[:min(len(line), max(0, width-1))])
		}
	}
	return progress, func() {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprint(w, "\r\x1b[K")
	}
}

func showVerification(out io.Writer, dir string, v *store.Verification) error {
	var b strings.Builder
	how := "every record read"
	if v.Deep {
		how = "every column and record read"
	}
	if v.OK() {
		fmt.Fprintf(&b, "%s is whole: %s events in %s files, %s in %.1f s.\n", safetext.Middle(dir, 60), group(v.Rows), group(int64(v.Files)), how, v.Seconds)
		fmt.Fprintf(&b, "  ledger    %s kept, %s removed by retention, %s there\n  twice     none\n", group(v.Kept), group(v.Removed), group(v.Rows))
		if v.HotRows > 0 {
			fmt.Fprintf(&b, "  hot       %s events more in %d files, taken from the journal and not in data files yet\n", group(v.HotRows), v.HotFiles)
		}
	} else {
		fmt.Fprintf(&b, "%s IS NOT WHOLE: %s of %s events can be read, %s are lost (%s in %.1f s).\n", safetext.Middle(dir, 60), group(v.Rows),
			group(v.Kept-v.Removed), group(v.Lost), how, v.Seconds)
		showDamage(&b, v.Damaged)
		for i, d := range v.Days {
			if i == 0 {
				b.WriteString("\nDays that are not as the ledger has them:\n")
			}
			if i == 50 {
				fmt.Fprintf(&b, "  and %d more; see --json\n", len(v.Days)-50)
				break
			}
			fmt.Fprintf(&b, "  %s: %s events, %s could be read\n", d.Day, group(d.Expected), group(d.Read))
		}
		for i, p := range v.Problems {
			if i == 0 {
				b.WriteString("\nThe store as a whole:\n")
			}
			fmt.Fprintf(&b, "  %s\n", safetext.Terminal(p, 300))
		}
		b.WriteString("\nWhat is left still answers; put the named files back from a copy to have the rest.\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}
