package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"spoor/internal/ledger"
	"spoor/internal/safetext"
	"spoor/internal/store"
)

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
			limitMemoryTo(memoryLimit - 48<<20) // ids files of the store are mapped besides
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
