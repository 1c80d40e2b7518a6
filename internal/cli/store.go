package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"spoor/internal/ledger"
	"spoor/internal/safetext"
	"spoor/internal/store"
)

func (e *env) store() *cobra.Command {
	c := &cobra.Command{
		Use:   "store",
		Short: "Keep events for years, in a folder",
		Long: `A store is a folder with events of years: compressed, searchable, deduplicated, with a ledger of everything that was
read into it. It is an Apache Iceberg table of Parquet files, which other engines can read too.

  spoor store ingest ./logs --into ./store            read what is new
  spoor store ingest s3://trail-bucket/AWSLogs --into ./store
  spoor store status ./store                          what is in it
  spoor store verify ./store                          is all of it still there, and is it whole
  spoor store compact ./store                         fewer, larger files
  spoor store expire ./store --data 90d               let go of what is too old
  spoor store hold ./store --name case-17             nothing is let go of
  spoor store export ./store --out ./logs             the records as they came` + "\n" + exitCodesHelp,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q; try: spoor store --help", args[0])
			}
			return c.Help()
		},
	}
	c.AddCommand(e.storeIngest(), e.storeStatus(), e.storeVerify(), e.storeCompact(), e.storeExpire(), e.storeHold(), e.storeExport())
	return c
}

// writerFlags are the flags of commands that change a store.
type writerFlags struct {
	wait   string
	asJSON bool
}

func (f *writerFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.wait, "wait", "", "while another process writes to the store, wait so `long`: 30s, 10m, or forever (default: fail at once)")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print the result as JSON")
}

func (f *writerFlags) options() (store.Options, error) {
	var o store.Options
	switch {
	case f.wait == "":
	case f.wait == "forever":
		o.Wait = -1
	default:
		d, ok := span(f.wait)
		if !ok {
			return o, usagef("--wait %q: want a span such as 30s or 10m, or forever", f.wait)
		}
		o.Wait = d
	}
	return o, nil
}

// openStore opens a store; what the caller can put right is a usage error.
func openStore(ctx context.Context, dir string, o store.Options) (*store.Store, error) {
	s, err := store.Open(ctx, dir, o)
	switch {
	case errors.Is(err, store.ErrNoStore):
		return nil, usageError{fmt.Errorf("%w; make one with: spoor store ingest PATH --into %s", err, dir)}
	case errors.Is(err, store.ErrNewer):
		return nil, usageError{err}
	case errors.Is(err, store.ErrLocked):
		return nil, fmt.Errorf("%w; try again later, or wait with --wait 10m", err)
	}
	return s, err
}

// withStore runs fn with the store in dir and closes it.
func withStore(ctx context.Context, dir string, o store.Options, fn func(*store.Store) error) (err error) {
	s, err := openStore(ctx, dir, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return fn(s)
}

func (e *env) printJSON(v any) error {
	enc := json.NewEncoder(e.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func storeArg(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("%s wants one argument, the store's folder; for example: %s ./store", c.CommandPath(), c.CommandPath())
	}
	return nil
}

func (e *env) storeIngest() *cobra.Command {
	var in inputFlags
	var w writerFlags
	var into string
	c := &cobra.Command{
		Use:   "ingest PATH… --into DIR",
		Short: "Read logs into a store: only what is new",
		Long: `Ingest reads CloudTrail logs, in every shape and from every place that spoor hunt reads, into a store, which is made when
there is none. Files and objects that the store has read are left out (by name, size and modification time or ETag), and
events that it has are not added again (by eventID). Files that could not be read are tried again the next time.

It can be interrupted at any point, and run again: nothing is lost and nothing is there twice.

  spoor store ingest ./logs --into ./store
  spoor store ingest s3://trail-bucket/AWSLogs --into ./store --region eu-central-1` + "\n" + exitCodesHelp,
		Args: minArgs(1, "a file, folder, archive, bucket or - to read", "spoor store ingest ./logs --into ./store"),
		RunE: func(c *cobra.Command, args []string) error {
			if into == "" {
				return usagef("spoor store ingest wants --into; for example: spoor store ingest ./logs --into ./store")
			}
			if in.keepDuplicates {
				return usagef("--keep-duplicates: a store has every event once")
			}
			o, err := w.options()
			if err != nil {
				return err
			}
			ctx := c.Context()
			opts, done, err := in.intake(ctx, e, args)
			if err != nil {
				return err
			}
			s, err := store.Open(ctx, into, o)
			if errors.Is(err, store.ErrNoStore) {
				s, err = store.Create(ctx, into, o)
			}
			if err != nil {
				if errors.Is(err, store.ErrLocked) {
					err = fmt.Errorf("%w; try again later, or wait with --wait 10m", err)
				}
				return errors.Join(err, done())
			}
			stop := in.progress(e, opts.Progress)
			res, err := s.Ingest(ctx, store.IngestOptions{Intake: opts, TempDir: in.tempDir})
			stop()
			if err = errors.Join(err, done(), s.Close()); err != nil {
				return err
			}
			e.exit = ingestExit(res)
			if w.asJSON {
				return e.printJSON(res)
			}
			return showIngest(e.stdout, into, res)
		},
	}
	in.add(c)
	w.add(c)
	c.Flags().StringVar(&into, "into", "", "`folder` of the store")
	return c
}

// ingestExit is the exit code of an ingestion. Nothing new is as good as something new; nothing at all is not.
func ingestExit(res *store.IngestResult) int {
	switch l := res.Ledger; {
	case !l.Balanced:
		return ExitFailure
	case !l.Complete() || l.Records.Seen == 0 && res.Known == 0:
		return ExitIncomplete
	}
	return ExitClean
}

func showIngest(w io.Writer, dir string, res *store.IngestResult) error {
	var b strings.Builder
	l := res.Ledger
	rate := ""
	if s := res.Took.Seconds(); s > 0 && l.Records.Seen > 0 {
		rate = fmt.Sprintf(", %s events/s", group(int64(float64(l.Records.Seen)/s)))
	}
	fmt.Fprintf(&b, "Added %s events to %s in %s%s; it has %s now.\n\n", group(res.Added), safetext.Middle(dir, 60), res.Took.Round(10*time.Millisecond), rate, group(res.Rows))
	fmt.Fprintf(&b, "  objects  %s listed: %s read, %s skipped (%s read before), %s failed\n", group(l.Objects.Listed), group(l.Objects.Read),
		group(l.Objects.Skipped), group(res.Known), group(l.Objects.Failed))
	fmt.Fprintf(&b, "  records  %s seen: %s added, %s duplicate, %s filtered, %s rejected, %s other\n", group(l.Records.Seen), group(l.Records.Kept),
		group(l.Records.Duplicate), group(l.Records.Filtered), group(l.Records.Rejected), group(l.Records.Other))
	fmt.Fprintf(&b, "  written  %s in %s files, %s commits\n", bytesText(res.Bytes), group(int64(res.Files)), group(int64(res.Commits)))
	showTrouble(&b, l)
	switch {
	case !l.Balanced:
		fmt.Fprintf(&b, "\nTHE LEDGER DOES NOT BALANCE: %s\n", safetext.Terminal(strings.Join(l.Problems, "; "), 400))
	case !l.Complete():
		b.WriteString("\nIncomplete: what failed is tried again when you run this again.\n")
	case l.Records.Seen == 0 && res.Known == 0:
		b.WriteString("\nIncomplete: there was nothing to read.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// showTrouble lists the first objects that failed and records that were rejected.
func showTrouble(b *strings.Builder, l *ledger.Report) {
	const most = 10
	for i, f := range l.Failures {
		if i == 0 {
			b.WriteString("\nCould not be read whole:\n")
		}
		if i == most {
			fmt.Fprintf(b, "  and %s more; see --json\n", group(l.Objects.Failed-most))
			break
		}
		fmt.Fprintf(b, "  %s: %s (%s events of it are kept)\n", safetext.Middle(f.Object, 80), safetext.Terminal(f.Reason, 120), group(f.Kept))
	}
	for i, r := range l.Rejects {
		if i == 0 {
			b.WriteString("\nRecords that could not be read:\n")
		}
		if i == most {
			fmt.Fprintf(b, "  and %s more; see --json, or keep them with --rejects FILE\n", group(l.Records.Rejected-most))
			break
		}
		fmt.Fprintf(b, "  %s at byte %d: %s\n", safetext.Middle(r.Object, 80), r.Offset, safetext.Terminal(r.Reason, 120))
	}
}

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
	if class == "NetworkActivity" {
		return "network-activity"
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

func (e *env) storeExport() *cobra.Command {
	var opts store.ExportOptions
	var since, until, format, out string
	var asJSON bool
	c := &cobra.Command{
		Use:   "export DIR --out FOLDER",
		Short: "Write the records out again, as they came",
		Long: `Export writes the records of a store to gzip-compressed log files in the layout of a trail's bucket, byte for byte as they
arrived, or as JSON Lines to a file or to stdout. Reading the result into another store gives the same events.

  spoor store export ./store --out ./logs
  spoor store export ./store --since 2026-03-01 --until 2026-03-02 --account 111122223333 --format jsonl | jq .eventName` + "\n" + exitCodesHelp,
		Args: storeArg,
		RunE: func(c *cobra.Command, args []string) (err error) {
			ctx := c.Context()
			now := time.Now()
			if opts.Since, err = parseWhen("--since", since, now); err != nil {
				return err
			}
			if opts.Until, err = parseWhen("--until", until, now); err != nil {
				return err
			}
			switch format {
			case "logs":
				if out == "" || out == "-" {
					return usagef("spoor store export wants --out, the folder for log files, or --format jsonl; for example: spoor store export ./store --out ./logs")
				}
				opts.Dir = out
			case "jsonl":
			default:
				return usagef("--format %q: want logs or jsonl", format)
			}
			limitMemory()
			return withStore(ctx, args[0], store.Options{ReadOnly: true}, func(s *store.Store) error {
				var res *store.ExportResult
				if format == "logs" {
					res, err = s.Export(ctx, opts)
				} else {
					err = e.write(out, func(w io.Writer) (err error) {
						opts.Lines = w
						res, err = s.Export(ctx, opts)
						return err
					})
				}
				if err != nil {
					return err
				}
				if len(res.Damaged) > 0 {
					e.exit = ExitIncomplete
				}
				to := e.stdout
				if opts.Dir == "" && (out == "" || out == "-") { // stdout is taken
					to = e.stderr
				}
				if asJSON {
					enc := json.NewEncoder(to)
					enc.SetIndent("", "  ")
					return enc.Encode(res)
				}
				var b strings.Builder
				fmt.Fprintf(&b, "Exported %s events", group(res.Events))
				if res.Files > 0 {
					fmt.Fprintf(&b, " in %s files to %s", group(int64(res.Files)), safetext.Middle(out, 80))
				}
				b.WriteString(".\n")
				showDamage(&b, res.Damaged)
				_, err = io.WriteString(to, b.String())
				return err
			})
		},
	}
	fl := c.Flags()
	fl.StringVar(&out, "out", "", "`folder` for log files, or file for JSON Lines")
	fl.StringVar(&format, "format", "logs", "logs or jsonl")
	fl.StringVar(&since, "since", "", "only events at or after this `time`")
	fl.StringVar(&until, "until", "", "only events before this `time`")
	fl.StringSliceVar(&opts.Accounts, "account", nil, "only these `accounts`")
	fl.StringSliceVar(&opts.Regions, "region", nil, "only these `Regions`")
	fl.StringVar(&opts.Hold, "hold", "", "the store as it was when the hold of this `name` was placed")
	fl.BoolVar(&asJSON, "json", false, "print the result as JSON")
	return c
}
