package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"spoor/internal/client"
	"spoor/internal/coverage"
	"spoor/internal/ledger"
	"spoor/internal/safetext"
	"spoor/internal/source/live"
)

// coverageFlags are the flags of spoor coverage.
type coverageFlags struct {
	server        serverFlags
	config        configFlags
	since, source string
	asJSON, hours bool
}

func (e *env) coverage() *cobra.Command {
	var f coverageFlags
	c := &cobra.Command{
		Use:   "coverage",
		Short: "Say whether everything was read that sources listed",
		Long: `Coverage says on its first line whether everything that the sources of a service listed was read, then what is missing,
then what was read by source, account and Region. It asks a running service, or reads the ledgers in a data folder, where
nothing needs to run; beside a running service these are some seconds old.

  spoor coverage --server https://spoor.example.com:8484
  spoor coverage --data /var/lib/spoor            no server, no token
  spoor coverage --since 30d --source trail
  spoor coverage --since all --json | jq '.sources[] | select(.whole | not) | .name'
  spoor coverage --hours --since 1d               hour by hour

An hour in which an account has no record in a Region that has some in most hours is told as a gap. It may be that
nothing happened: gaps alone do not make the answer incomplete.

Exit status:
  0  everything that was listed was read
  2  wrong usage
  3  something is missing, a source does not read, or nothing was read at all
  4  failure: there is no answer`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return e.runCoverage(c.Context(), &f) },
	}
	f.config.add(c, "data")
	f.server.add(c, "ask the server at this `URL` (default: the variable SPOOR_SERVER, else the data folder)")
	fl := c.Flags()
	fl.StringVar(&f.since, "since", "7d", "what was read on the day of this `time` and later: 2026-01-10, 36h or 7d ago, or all")
	fl.StringVar(&f.source, "source", "", "only this `source`")
	fl.BoolVar(&f.hours, "hours", false, "a line for each hour, in place of one for each account and Region")
	fl.BoolVar(&f.asJSON, "json", false, "print the result as JSON")
	return c
}

func (e *env) runCoverage(ctx context.Context, f *coverageFlags) error {
	now := time.Now()
	var since time.Time
	if f.since != "all" {
		var err error
		if since, err = parseWhen("--since", f.since, now); err != nil {
			return err
		}
	}
	var r *coverage.Report
	var from string
	server := f.server.named()
	if given := f.config.cmd.Flags().Changed; given("data") || given("config") {
		if f.server.server != "" {
			return usagef("either --server, or a data folder by --data or --config")
		}
		server = ""
	}
	if server != "" {
		c, err := f.server.client(server)
		if err != nil {
			return err
		}
		defer c.Close()
		from = c.Server()
		if r, err = askCoverage(ctx, c, since, f.source, now); err != nil {
			return remote(c, err)
		}
	} else {
		l, err := f.config.load(e)
		if err != nil {
			return err
		}
		from = l.Config.Data
		if r, err = readCoverage(l.Config.Data, l.Config.SourcesDir(), since, f.source, now); err != nil {
			return err
		}
	}
	if !r.Whole {
		e.exit = ExitIncomplete
	}
	if f.asJSON {
		return e.printJSON(struct {
			From string `json:"from"`
			*coverage.Report
		}{from, r})
	}
	return showCoverage(e.stdout, r, from, server != "", f.hours)
}

// mostLetters is how many dead letters of a source are listed.
const mostLetters = 10_000

// askCoverage asks a server.
func askCoverage(ctx context.Context, c *client.Client, since time.Time, only string, now time.Time) (*coverage.Report, error) {
	sources, err := c.Sources(ctx)
	if err != nil {
		return nil, err
	}
	ledgers, err := c.Ledgers(ctx, since, only)
	if err != nil {
		return nil, err
	}
	all := map[string]*coverage.Source{}
	for _, s := range sources {
		if only == "" || s.Name == only {
			all[s.Name] = &coverage.Source{Name: s.Name, Kind: s.Kind, State: s.State, Error: cmp.Or(s.Error, s.LastError), Backlog: s.Backlog, InFlight: s.InFlight,
				LastSuccess: s.LastSuccess, Waiting: s.DeadLetters, Unread: errors.New("the server has none")}
		}
	}
	for _, l := range ledgers {
		s := all[l.Source]
		if s == nil { // it is not configured any more
			s = &coverage.Source{Name: l.Source, State: "disabled", Backlog: -1}
			all[l.Source] = s
		}
		s.Ledger = l.Ledger
	}
	for _, s := range all {
		if s.Waiting == 0 {
			continue
		}
		if s.Letters, err = lettersOf(func(after string, limit int) ([]live.Letter, error) {
			page, _, err := c.DeadLetters(ctx, s.Name, after, limit)
			return page, err
		}); err != nil {
			return nil, err
		}
		s.Waiting = max(s.Waiting, int64(len(s.Letters)))
	}
	r := coverage.Judge(values(all), since, now)
	j, err := c.Journal(ctx)
	var told *client.Error
	switch {
	case errors.As(err, &told) && told.Status == 403:
		r.Remarks = append(r.Remarks, "the journal was not asked: the token may not read its figures")
		return r, nil
	case err != nil:
		return nil, err
	}
	if j.Error != "" {
		r.Miss("the journal does not accept: " + j.Error)
	}
	if j.LostAtEnd > 0 {
		r.Miss(fmt.Sprintf("the journal lost %s at its end when it was opened", countOf(int64(j.LostAtEnd), "entry")))
	}
	for _, f := range j.Followers {
		if f.Lost > 0 {
			r.Miss(fmt.Sprintf("%d entries of the journal could not be read by its follower %s", f.Lost, f.Name))
		}
		if f.AgeSeconds > 600 {
			r.Remarks = append(r.Remarks, fmt.Sprintf("the follower %s of the journal is %s behind", f.Name, (time.Duration(f.AgeSeconds)*time.Second).Round(time.Minute)))
		}
	}
	return r, nil
}

func values(all map[string]*coverage.Source) []coverage.Source {
	var out []coverage.Source
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, *all[name])
	}
	return out
}

// lettersOf lists the first dead letters of a source.
func lettersOf(list func(after string, limit int) ([]live.Letter, error)) ([]live.Letter, error) {
	var out []live.Letter
	for after := ""; len(out) < mostLetters; after = out[len(out)-1].ID {
		page, err := list(after, 1000)
		if err != nil {
			return nil, err
		}
		if out = append(out, page...); len(page) < 1000 {
			break
		}
	}
	return out, nil
}

// readCoverage reads the ledgers in the folder of sources, without their locks.
func readCoverage(data, dir string, since time.Time, only string, now time.Time) (*coverage.Report, error) {
	if _, err := os.Stat(data); err != nil {
		return nil, usageError{fmt.Errorf("no data folder: %w; give --data with the folder of the service, or --server with its address", err)}
	}
	folders, err := live.Folders(dir)
	if err != nil {
		return nil, err
	}
	all := map[string]*coverage.Source{}
	for name, folder := range folders {
		if only != "" && name != only {
			continue
		}
		s := &coverage.Source{Name: name, Backlog: -1}
		s.Ledger, s.AsOf, s.Unread = folder.Ledger(since)
		if s.Letters, err = lettersOf(folder.Dead); err != nil {
			return nil, fmt.Errorf("dead letters of %s: %w", name, err)
		}
		s.Waiting = int64(len(s.Letters))
		all[name] = s
	}
	if only != "" && len(all) == 0 {
		return nil, usagef("there is no source %q in %s", only, dir)
	}
	return coverage.Judge(values(all), since, now), nil
}

const hourForm = "2006-01-02 15:04"

func hourText(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(hourForm)
}

// showCoverage prints a judgement for somebody who was just woken up.
func showCoverage(out io.Writer, r *coverage.Report, from string, live, hours bool) error {
	var b strings.Builder
	period := "ever"
	if !r.Since.IsZero() {
		period = "since " + r.Since.Format(time.DateOnly)
	}
	t := r.Total
	if r.Whole {
		head, rest := "WHOLE:", ""
		if t.ToRead > 0 {
			head, rest = "WHOLE so far:", fmt.Sprintf("; %s to read", group(t.ToRead))
		}
		fmt.Fprintf(&b, "%s everything that %s took up %s was read: %s, %s%s.\n", head, countOf(int64(len(r.Sources)), "source"), period,
			countOf(t.Objects.Read, "object"), countOf(t.Records.Kept+t.Records.Duplicate, "record"), rest)
	} else {
		fmt.Fprintf(&b, "NOT WHOLE: %s\n", headline(r))
	}
	origin := "Asked " + from
	if !live {
		origin = "Read from " + from + ", without asking a server; " + written(r)
	}
	fmt.Fprintf(&b, "%s, at %s UTC, %s.\n", safetext.Terminal(origin, 200), hourText(r.Until), period)
	missing(&b, r)
	silent(&b, r)
	if err := readTable(&b, r, hours); err != nil {
		return err
	}
	remarks(&b, r)
	_, err := io.WriteString(out, b.String())
	return err
}

// written says how old ledgers are that were read from a folder.
func written(r *coverage.Report) string {
	var at time.Time
	for _, s := range r.Sources {
		if s.AsOf.After(at) {
			at = s.AsOf
		}
	}
	if at.IsZero() {
		return "no ledger was written yet"
	}
	return "ledgers last written " + agoText(at)
}

func countOf(n int64, thing string) string {
	if n != 1 {
		if base, ok := strings.CutSuffix(thing, "y"); ok {
			thing = base + "ie"
		}
		thing += "s"
	}
	return group(n) + " " + thing
}

// headline says in one line what is missing.
func headline(r *coverage.Report) string {
	var parts []string
	if n := r.Total.MissingObjects; n > 0 {
		parts = append(parts, countOf(n, "object")+" could not be read")
	}
	if n := r.Total.MissingRecords; n > 0 {
		parts = append(parts, countOf(n, "record")+" could not be understood")
	}
	stopped, other := int64(0), int64(0)
	for _, s := range r.Sources {
		switch {
		case s.State == "failed" || s.State == "paused":
			stopped++
		case !s.Whole && s.MissingObjects == 0 && s.Records.Rejected == 0:
			other++
		}
	}
	if stopped > 0 {
		parts = append(parts, countOf(stopped, "source")+" not reading")
	}
	if other > 0 {
		parts = append(parts, "the ledger of "+countOf(other, "source")+" cannot be trusted")
	}
	for _, reason := range r.Reasons {
		parts = append(parts, safetext.Terminal(reason, 200))
	}
	return strings.Join(parts, ", ") + "."
}

// mostNamed is how many of a kind are named for a source; --json has more.
const mostNamed = 5

func missing(b *strings.Builder, r *coverage.Report) {
	if r.Whole {
		return
	}
	b.WriteString("\nMissing\n")
	for _, reason := range r.Reasons {
		fmt.Fprintf(b, "  %s\n", safetext.Terminal(reason, 200))
	}
	for _, s := range r.Sources {
		if s.Whole {
			continue
		}
		fmt.Fprintf(b, "  %s\n", safetext.Terminal(s.Name, 64))
		for _, reason := range s.Reasons {
			fmt.Fprintf(b, "    %s\n", safetext.Terminal(reason, 300))
		}
		named(b, s.Letters, func(l live.Letter) string {
			return fmt.Sprintf("%s: %s\n        spoor sources replay %s %s", safetext.Middle(l.Object, 120), safetext.Terminal(l.Reason, 160), safetext.Terminal(s.Name, 64), safetext.Terminal(l.ID, 64))
		})
		named(b, s.Failures, func(f ledger.Failure) string {
			return fmt.Sprintf("%s: %s (given up, or replayed since)", safetext.Middle(f.Object, 120), safetext.Terminal(f.Reason, 160))
		})
		named(b, s.Rejects, func(rej ledger.Reject) string {
			return fmt.Sprintf("%s at byte %d: %s", safetext.Middle(rej.Object, 120), rej.Offset, safetext.Terminal(rej.Reason, 160))
		})
		if s.State == "paused" {
			fmt.Fprintf(b, "      spoor sources resume %s\n", safetext.Terminal(s.Name, 64))
		}
	}
}

// named prints the first of a list.
func named[T any](b *strings.Builder, list []T, text func(T) string) {
	for i, v := range list {
		if i == mostNamed {
			fmt.Fprintf(b, "      … %s more; --json has them\n", group(int64(len(list)-i)))
			return
		}
		fmt.Fprintf(b, "      %s\n", text(v))
	}
}

// silent tells of gaps, the longest first.
func silent(b *strings.Builder, r *coverage.Report) {
	type gap struct {
		source string
		ledger.Gap
	}
	var gaps []gap
	for _, s := range r.Sources {
		for _, g := range s.Gaps {
			gaps = append(gaps, gap{s.Name, g})
		}
	}
	if len(gaps) == 0 {
		return
	}
	slices.SortStableFunc(gaps, func(a, b gap) int { return cmp.Or(b.Hours-a.Hours, a.From.Compare(b.From)) })
	b.WriteString("\nSilent hours, where there are usually records: perhaps nothing happened\n")
	for i, g := range gaps {
		if i == 2*mostNamed {
			fmt.Fprintf(b, "  … %s more; --json has them\n", group(int64(len(gaps)-i)))
			break
		}
		until := hourText(g.Until)
		if g.Open {
			until = "now"
		}
		fmt.Fprintf(b, "  %s  %s %s  %s to %s, %s\n", safetext.Terminal(g.source, 64), safetext.Terminal(g.Account, 20), safetext.Terminal(g.Region, 24), hourText(g.From), until, countOf(int64(g.Hours), "hour"))
	}
}

func readTable(b *strings.Builder, r *coverage.Report, hours bool) error {
	if r.Total.Objects.Listed == 0 && r.Total.Records.Seen == 0 {
		return nil
	}
	b.WriteByte('\n')
	cells := func(o ledger.Objects, rec ledger.Records) string {
		return fmt.Sprintf("%s\t%s\t%s\t%s\t%s", group(o.Read), group(o.Failed), group(rec.Kept+rec.Duplicate), group(rec.Filtered+rec.Other), group(rec.Rejected))
	}
	head := "SOURCE\tACCOUNT\tREGION\tFIRST HOUR\tLAST HOUR\tHOURS\tOBJECTS\tFAILED\tRECORDS\tLEFT OUT\tREJECTED"
	if hours {
		head = "SOURCE\tACCOUNT\tREGION\tHOUR\tOBJECTS\tFAILED\tRECORDS\tLEFT OUT\tREJECTED"
	}
	return table(b, head, func(w io.Writer) {
		for _, s := range r.Sources {
			name := safetext.Terminal(s.Name, 64)
			place := func(account, region string) string {
				return fmt.Sprintf("%s\t%s\t%s", name, dash(safetext.Terminal(account, 20)), dash(safetext.Terminal(region, 24)))
			}
			if hours {
				for _, c := range s.Cells {
					if c.Hour.IsZero() || !c.Hour.Before(r.Since) {
						fmt.Fprintf(w, "%s\t%s\t%s\n", place(c.Account, c.Region), hourText(c.Hour), cells(c.Objects, c.Records))
					}
				}
				continue
			}
			for _, st := range s.Stretches {
				busy := "-"
				if st.Hours > 0 {
					busy = fmt.Sprintf("%s of %s", group(int64(st.Busy)), group(int64(st.Hours)))
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", place(st.Account, st.Region), hourText(st.First), hourText(st.Last), busy, cells(st.Objects, st.Records))
			}
		}
	})
}

func remarks(b *strings.Builder, r *coverage.Report) {
	var lines []string
	for _, text := range r.Remarks {
		lines = append(lines, safetext.Terminal(text, 300))
	}
	for _, s := range r.Sources {
		for _, text := range s.Remarks {
			lines = append(lines, safetext.Terminal(s.Name, 64)+": "+safetext.Terminal(text, 300))
		}
	}
	if len(lines) > 0 {
		fmt.Fprintf(b, "\nNotes\n  %s\n", strings.Join(lines, "\n  "))
	}
}
