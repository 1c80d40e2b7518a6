package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/parquet/file"

	"spoor/internal/event"
	"spoor/internal/intake"
	"spoor/internal/ledger"
	"spoor/internal/sample"
	"spoor/internal/source"
	"spoor/internal/source/open"
	"spoor/internal/store/segment"
	"spoor/internal/store/table"
)

// makeLogs writes the logs of the sample organisation.
func makeLogs(t testing.TB, events, days int, seed uint64) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "logs")
	if _, err := sample.Generate(t.Context(), sample.Options{Seed: seed, Events: events, Days: days, Out: dir}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func create(t testing.TB, dir string, opts Options) *Store {
	t.Helper()
	s, err := Create(t.Context(), dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func input(t testing.TB, paths ...string) intake.Options {
	t.Helper()
	opts, err := sources(paths...)
	if err != nil {
		t.Fatal(err)
	}
	return opts
}

func sources(paths ...string) (intake.Options, error) {
	opts := intake.Options{Named: paths}
	for _, p := range paths {
		src, err := open.Resolve(context.Background(), p, open.Options{})
		if err != nil {
			return opts, err
		}
		opts.Sources = append(opts.Sources, src)
	}
	return opts, nil
}

func ingest(t testing.TB, s *Store, opts IngestOptions, paths ...string) *IngestResult {
	t.Helper()
	workers := max(1, opts.Intake.Workers) // each writes files of its own, and files are what takes time here
	opts.Intake = input(t, paths...)
	opts.Intake.Workers = workers
	res, err := s.Ingest(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if !res.Ledger.Balanced {
		t.Fatalf("the ledger does not balance: %v", res.Ledger.Problems)
	}
	return res
}

// check verifies a store.
func check(t testing.TB, s *Store) *Verification {
	t.Helper()
	return checkAll(t, s, false)
}

func checkAll(t testing.TB, s *Store, deep bool) *Verification {
	t.Helper()
	v, err := s.Verify(t.Context(), VerifyOptions{Deep: deep})
	if err != nil {
		t.Fatal(err)
	}
	if !v.OK() {
		t.Fatalf("the store is not whole: %+v", v)
	}
	st, err := s.Status(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if st.Rows != st.Ledger.Records.Kept-st.Removed || st.Rows != v.Rows || len(st.Damaged) > 0 {
		t.Fatalf("%d rows, %d kept, %d removed, %d verified, damaged %v", st.Rows, st.Ledger.Records.Kept, st.Removed, v.Rows, st.Damaged)
	}
	return v
}

// records gives the records of a source, sorted.
func records(t testing.TB, src source.Source, sel source.Selection) []string {
	t.Helper()
	if c, ok := src.(io.Closer); ok {
		defer c.Close() // was only read
	}
	g := &gather{}
	led := ledger.New()
	if err := intake.Run(t.Context(), intake.Options{Sources: []source.Source{src}, Select: sel, Ledger: led, Workers: 1}, func() (intake.Worker, error) { return g, nil }); err != nil {
		t.Fatal(err)
	}
	if r := led.Report(); !r.Balanced || !r.Complete() {
		t.Fatalf("not read whole: %+v %+v", r.Failures, r.Problems)
	}
	slices.Sort(g.raw)
	return g.raw
}

type gather struct{ raw []string }

func (g *gather) Event(e *event.Event) error {
	g.raw = append(g.raw, string(e.Raw))
	return nil
}

// unique gives the records of folders, each eventID once.
func unique(t testing.TB, paths ...string) []string {
	t.Helper()
	var all []string
	for _, p := range paths {
		all = append(all, records(t, input(t, p).Sources[0], source.Selection{})...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestIngest(t *testing.T) {
	t.Parallel()
	logs := makeLogs(t, 1500, 3, 1)
	dir := filepath.Join(t.TempDir(), "store")
	s := create(t, dir, Options{})
	var acked []int64
	res := ingest(t, s, IngestOptions{Intake: intake.Options{Workers: 3}, EpochRows: 300, BufferBytes: 1 << 20, Committed: func(rows int64) { acked = append(acked, rows) }}, logs)
	want := unique(t, logs)
	if res.Added != int64(len(want)) || res.Rows != res.Added || res.Commits < 4 || len(acked) != res.Commits || acked[len(acked)-1] != res.Rows {
		t.Fatalf("added %d of %d, %d commits, told %v", res.Added, len(want), res.Commits, acked)
	}
	if res.Ledger.Records.Kept != res.Added || res.Ledger.Records.Duplicate == 0 {
		t.Errorf("records %+v", res.Ledger.Records)
	}
	check(t, s)
	if got := records(t, s.Source(Filter{}), source.Selection{}); !slices.Equal(got, want) {
		t.Errorf("%d records come out, %d went in, or others", len(got), len(want))
	}

	// A second time, nothing is read.
	again := ingest(t, s, IngestOptions{}, logs)
	if again.Added != 0 || again.Commits != 0 || again.Ledger.Records.Seen != 0 || again.Known != res.Ledger.Objects.Listed {
		t.Errorf("the second time: %+v", again)
	}
	for _, r := range again.Ledger.Skipped {
		if r.Reason != ReadBefore {
			t.Errorf("skipped: %+v", r)
		}
	}

	// New files alone are read, in a process of its own.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	more := makeLogs(t, 200, 1, 2)
	if err := os.Rename(more, filepath.Join(logs, "more")); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(t.Context(), dir, Options{}); err != nil {
		t.Fatal(err)
	} else {
		defer s.Close()
		res := ingest(t, s, IngestOptions{}, logs)
		if want := int64(len(unique(t, filepath.Join(logs, "more")))); res.Added != want || res.Known != again.Known {
			t.Errorf("added %d, want %d; %d known, want %d", res.Added, want, res.Known, again.Known)
		}
		// The same events by another name are duplicates.
		moved := filepath.Join(t.TempDir(), "moved")
		if err := os.Rename(logs, moved); err != nil {
			t.Fatal(err)
		}
		if res := ingest(t, s, IngestOptions{}, moved); res.Added != 0 || res.Ledger.Records.Duplicate == 0 || res.Ledger.Records.Kept != 0 {
			t.Errorf("moved: %+v", res.Ledger.Records)
		}
		check(t, s)
	}
}

// TestFailedObject: what could be read of a damaged file is kept, and the file is tried again.
func TestFailedObject(t *testing.T) {
	t.Parallel()
	logs := t.TempDir()
	rec := func(id int) string {
		return fmt.Sprintf(`{"eventVersion":"1.08","eventTime":"2026-01-10T10:00:%02dZ","eventSource":"iam.amazonaws.com","eventName":"ListUsers","awsRegion":"us-east-1","recipientAccountId":"111122223333","eventID":"00000000-0000-4000-8000-%012d"}`, id, id)
	}
	file := filepath.Join(logs, "a.json")
	whole := `{"Records":[` + rec(1) + "," + rec(2) + "," + rec(3) + "]}"
	write := func(text string, at time.Time) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	at := time.Date(2026, 1, 11, 0, 0, 0, 0, time.UTC)
	write(whole[:len(whole)-len(rec(3))], at)
	s := create(t, filepath.Join(t.TempDir(), "store"), Options{})
	for i, want := range []int64{2, 0} {
		res := ingest(t, s, IngestOptions{}, logs)
		if res.Ledger.Complete() || res.Added != want || res.Known != 0 {
			t.Fatalf("round %d: added %d, known %d, failures %v, rejects %v", i, res.Added, res.Known, res.Ledger.Failures, res.Ledger.Rejects)
		}
	}
	write(whole, at)
	if res := ingest(t, s, IngestOptions{}, logs); res.Added != 1 || res.Ledger.Records.Duplicate != 2 || !res.Ledger.Complete() {
		t.Errorf("mended: %+v", res.Ledger)
	}
	if res := ingest(t, s, IngestOptions{}, logs); res.Known != 1 || res.Ledger.Records.Seen != 0 {
		t.Errorf("after that: %+v", res.Ledger)
	}
	// The same length, another time: the file was written anew.
	write(strings.ReplaceAll(whole, "ListUsers", "ListRoles"), at.Add(time.Second))
	if res := ingest(t, s, IngestOptions{}, logs); res.Added != 3 || res.Ledger.Records.Kept != 3 {
		t.Errorf("other events with the same ids: %+v", res.Ledger)
	}
	check(t, s)
}

// TestSelection: files of which a part was left out are read again.
func TestSelection(t *testing.T) {
	t.Parallel()
	logs := makeLogs(t, 500, 1, 3)
	s := create(t, filepath.Join(t.TempDir(), "store"), Options{})
	in := input(t, logs)
	in.Select.Until = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	res, err := s.Ingest(t.Context(), IngestOptions{Intake: in})
	if err != nil {
		t.Fatal(err)
	}
	rest := ingest(t, s, IngestOptions{}, logs)
	if want := int64(len(unique(t, logs))); res.Added == 0 || rest.Added == 0 || res.Added+rest.Added != want {
		t.Errorf("%d and %d, want %d", res.Added, rest.Added, want)
	}
	check(t, s)
}

// TestOddRecords: records without an id, a time, with bytes that are not UTF-8, with line feeds.
func TestOddRecords(t *testing.T) {
	t.Parallel()
	logs := t.TempDir()
	text := "{\"eventName\":\"NoID\",\"eventTime\":\"2026-01-10T10:00:00Z\"}\n" +
		"{\"eventName\":\"NoTime\",\"eventID\":\"x\"}\n" +
		"{\"eventName\":\"NotUTF8 \xff\xfe\",\"eventID\":\"y\",\"eventTime\":\"2026-01-10T11:00:00Z\"}\n" +
		"{\n \"eventName\": \"Pretty\",\n \"eventID\": \"z\",\r\n \"eventTime\": \"2026-01-10T12:00:00.123456789Z\"\n}\n" +
		"{\"eventName\":\"Old\",\"eventID\":\"o\",\"eventTime\":\"1969-12-31T23:59:59Z\"}\n" +
		"{\"eventName\":\"Epoch\",\"eventID\":\"e\",\"eventTime\":\"1970-01-01T00:00:01Z\"}\n"
	if err := os.WriteFile(filepath.Join(logs, "odd.jsonl"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s := create(t, filepath.Join(t.TempDir(), "store"), Options{})
	for range 2 {
		ingest(t, s, IngestOptions{}, logs)
		if err := os.Chtimes(filepath.Join(logs, "odd.jsonl"), time.Now(), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	want := unique(t, logs)
	if got := records(t, s.Source(Filter{}), source.Selection{}); !slices.Equal(got, want) || len(got) != 6 {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if v := check(t, s); v.Rows != 6 {
		t.Errorf("%d rows", v.Rows)
	}
	out := filepath.Join(t.TempDir(), "out")
	res, err := s.Export(t.Context(), ExportOptions{Dir: out})
	if err != nil || res.Events != 6 {
		t.Fatalf("%+v %v", res, err)
	}
	if got := unique(t, out); !slices.Equal(got, want) {
		t.Errorf("exported %q", got)
	}
	var lines bytes.Buffer
	if _, err := s.Export(t.Context(), ExportOptions{Lines: &lines}); err != nil || bytes.Count(lines.Bytes(), []byte("\n")) != 6 {
		t.Errorf("%v\n%s", err, lines.Bytes())
	}
	if _, err := s.Compact(t.Context(), CompactOptions{Closed: -1}); err != nil {
		t.Fatal(err)
	}
	check(t, s)
}

func TestExport(t *testing.T) {
	t.Parallel()
	logs := makeLogs(t, 1000, 2, 4)
	s := create(t, filepath.Join(t.TempDir(), "store"), Options{})
	ingest(t, s, IngestOptions{}, logs)
	want := unique(t, logs)
	out := filepath.Join(t.TempDir(), "out")
	res, err := s.Export(t.Context(), ExportOptions{Dir: out})
	if err != nil || res.Events != int64(len(want)) || res.Files == 0 {
		t.Fatalf("%+v %v, want %d", res, err, len(want))
	}
	if left, err := filepath.Glob(filepath.Join(out, ".spoor*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v %v", left, err)
	}
	other := create(t, filepath.Join(t.TempDir(), "other"), Options{})
	ingest(t, other, IngestOptions{}, out)
	if got := records(t, other.Source(Filter{}), source.Selection{}); !slices.Equal(got, want) {
		t.Errorf("%d records, want %d", len(got), len(want))
	}
	// Files tell their place by their names, so a selection leaves none out that it must not.
	since := time.Date(2026, 3, 2, 20, 0, 0, 0, time.UTC)
	sel := source.Selection{Since: since, Until: since.Add(6 * time.Hour)}
	a := records(t, s.Source(Filter{}), sel)
	if b := records(t, input(t, out).Sources[0], sel); len(a) == 0 || !slices.Equal(a, b) {
		t.Errorf("%d records of the store, %d of the export", len(a), len(b))
	}
	// Filters of the export.
	var lines bytes.Buffer
	part, err := s.Export(t.Context(), ExportOptions{Lines: &lines, Filter: Filter{Since: sel.Since, Until: sel.Until}})
	if err != nil || part.Events != int64(len(a)) {
		t.Errorf("%+v %v, want %d", part, err, len(a))
	}
	account := ""
	for line := range bytes.Lines(lines.Bytes()) {
		e, err := event.Parse(bytes.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		if account == "" {
			account = strings.Clone(e.Account())
		}
	}
	if one, err := s.Export(t.Context(), ExportOptions{Lines: &lines, Accounts: []string{account}}); err != nil || one.Events == 0 || one.Events >= res.Events {
		t.Errorf("%+v %v", one, err)
	}
	// Nothing is overwritten.
	if _, err := s.Export(t.Context(), ExportOptions{Dir: out}); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second export into the folder: %v", err)
	}
}

func TestCompact(t *testing.T) {
	t.Parallel()
	for _, fan := range []string{"in order", "all at once"} {
		t.Run(fan, func(t *testing.T) {
			t.Parallel()
			logs := makeLogs(t, 800, 2, 5)
			s := create(t, filepath.Join(t.TempDir(), "store"), Options{})
			in := input(t, logs)
			in.Workers = 1
			opts := IngestOptions{EpochRows: 60, BufferBytes: 1 << 18, Intake: in}
			if fan == "all at once" { // every epoch has events of the whole time
				for _, account := range accounts(t, logs) {
					opts.Intake.Select.Accounts = []string{account}
					if _, err := s.Ingest(t.Context(), opts); err != nil {
						t.Fatal(err)
					}
				}
			} else if _, err := s.Ingest(t.Context(), opts); err != nil {
				t.Fatal(err)
			}
			before := records(t, s.Source(Filter{}), source.Selection{})
			plan, err := s.Plan(t.Context(), Filter{})
			if err != nil {
				t.Fatal(err)
			}
			res, err := s.Compact(t.Context(), CompactOptions{})
			if err != nil {
				t.Fatal(err)
			}
			after, err := s.Plan(t.Context(), Filter{})
			if err != nil {
				t.Fatal(err)
			}
			days := map[string]bool{}
			for _, f := range plan.Files {
				days[dayName(f)] = true
			}
			if len(plan.Files) < 10 || len(after.Files) != len(days) || res.Rows != plan.Rows() || after.Rows() != plan.Rows() {
				t.Errorf("%d files became %d of %d days; %d rows of %d, now %d", len(plan.Files), len(after.Files), len(days), res.Rows, plan.Rows(), after.Rows())
			}
			if got := records(t, s.Source(Filter{}), source.Selection{}); !slices.Equal(got, before) {
				t.Error("other records than before")
			}
			// The files of an earlier plan stay until they expire, then nothing of them is left.
			for _, f := range plan.Files {
				if what := looks(f); what != "" {
					t.Fatalf("%s: %s", f.Name, what)
				}
			}
			if x, err := s.Expire(t.Context(), ExpireOptions{}); err != nil || x.Files != 0 {
				t.Errorf("within the grace period: %+v %v", x, err)
			}
			if x, err := s.Expire(t.Context(), ExpireOptions{Grace: -1}); err != nil || x.Files != 0 {
				t.Errorf("expired while a plan had them: %+v %v", x, err)
			}
			plan.Release()
			if x, err := s.Expire(t.Context(), ExpireOptions{Grace: -1}); err != nil || x.Files < len(plan.Files)-len(after.Files) {
				t.Errorf("expired: %+v %v", x, err)
			}
			for dir, ext := range map[string]string{"data/*": ".parquet", "index": ".ids"} {
				if names, err := filepath.Glob(filepath.Join(s.dir, dir, "*"+ext)); err != nil || len(names) != len(after.Files) {
					t.Errorf("%d files *%s, want %d (%v)", len(names), ext, len(after.Files), err)
				}
			}
			checkAll(t, s, true)
			// The ids of the merged files are known.
			moved := filepath.Join(t.TempDir(), "moved")
			if err := os.Rename(logs, moved); err != nil {
				t.Fatal(err)
			}
			if res := ingest(t, s, IngestOptions{}, moved); res.Added != 0 {
				t.Errorf("%d events came twice", res.Added)
			}
			if res, err := s.Compact(t.Context(), CompactOptions{}); err != nil || len(res.Days) != 0 {
				t.Errorf("again: %+v %v", res, err)
			}
		})
	}
}

func accounts(t *testing.T, logs string) []string {
	t.Helper()
	seen := map[string]bool{}
	for _, r := range records(t, input(t, logs).Sources[0], source.Selection{}) {
		e, err := event.Parse([]byte(r))
		if err != nil {
			t.Fatal(err)
		}
		seen[strings.Clone(e.Account())] = true
	}
	var out []string
	for a := range seen {
		out = append(out, a)
	}
	slices.Sort(out)
	return out
}

// classed makes events of two classes over days.
func classed(t *testing.T, days int) string {
	t.Helper()
	var b strings.Builder
	n := 0
	for d := range days {
		for h := range 24 {
			for _, class := range []string{"Management", "Data", ""} {
				n++
				more := fmt.Sprintf(`,"eventCategory":%q`, class)
				if class == "" { // an old record
					more = ""
				}
				fmt.Fprintf(&b, `{"eventTime":"2026-01-%02dT%02d:00:00Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","awsRegion":"us-east-1","recipientAccountId":"111122223333","eventID":"00000000-0000-4000-8000-%012d"%s}`+"\n",
					d+1, h, n, more)
			}
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.jsonl"), []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestRetain(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 11, 0, 0, 0, 0, time.UTC) // ten days are over
	s := create(t, filepath.Join(t.TempDir(), "store"), Options{Now: func() time.Time { return now }})
	logs := classed(t, 10)
	ingest(t, s, IngestOptions{}, logs)
	rows := func() (n int64) {
		t.Helper()
		st, err := s.Status(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		return st.Rows
	}
	retain := func(o RetainOptions) *RetainResult {
		t.Helper()
		res, err := s.Retain(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		check(t, s)
		return res
	}
	const day = 24 * time.Hour
	if rows() != 720 {
		t.Fatalf("%d rows", rows())
	}
	// Data events of the first five days are older than five days. Records without a category are management events here.
	if err := s.Hold(t.Context(), Hold{Name: "case", Since: time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC), Until: time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC)}); err != nil {
		t.Fatal(err)
	}
	ages := map[string]time.Duration{"Data": 5*day - time.Second}
	if res := retain(RetainOptions{Ages: ages, DryRun: true}); res.Removed != 5*24-24 || rows() != 720 {
		t.Errorf("dry run: %+v, %d rows", res, rows())
	}
	if res := retain(RetainOptions{Ages: ages}); res.Removed != 5*24-24 || rows() != 720-4*24 || len(res.Days) != 6-1 {
		t.Errorf("%+v, %d rows", res, rows())
	}
	if res := retain(RetainOptions{Ages: ages}); res.Removed != 0 || rows() != 720-4*24 {
		t.Errorf("again: %+v", res)
	}
	// Whole days.
	all := map[string]time.Duration{}
	for _, c := range Classes() {
		all[c] = 8*day - time.Second
	}
	if res := retain(RetainOptions{Ages: all}); res.Removed != 48 || rows() != 720-4*24-48 {
		t.Errorf("whole days: %+v, %d rows", res, rows())
	}
	if err := s.Release(t.Context(), "case"); err != nil {
		t.Fatal(err)
	}
	if err := s.Release(t.Context(), "case"); !errors.Is(err, ErrNoHold) {
		t.Errorf("released twice: %v", err)
	}
	if res := retain(RetainOptions{Ages: all}); res.Removed != 72 {
		t.Errorf("after the release: %+v", res)
	}
	now = time.Now().Add(time.Second) // snapshots have the time of the clock
	if _, err := s.Expire(t.Context(), ExpireOptions{Grace: -1}); err != nil {
		t.Fatal(err)
	}
	check(t, s)
	if names, err := filepath.Glob(filepath.Join(s.dir, "data", "eventDay=2026-01-0[12]", "*")); err != nil || len(names) > 0 {
		t.Errorf("still there: %v %v", names, err)
	}
	// What was removed does not come back with the same file.
	if res := ingest(t, s, IngestOptions{}, logs); res.Added != 0 {
		t.Errorf("%d came back", res.Added)
	}
	for _, bad := range []map[string]time.Duration{{"Nonsense": day}, {"Data": 0}} {
		if _, err := s.Retain(t.Context(), RetainOptions{Ages: bad}); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
}

// TestHold: what a hold was placed on can be read as it was, whatever became of it.
func TestHold(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 11, 0, 0, 0, 0, time.UTC)
	dir := filepath.Join(t.TempDir(), "store")
	s := create(t, dir, Options{Now: func() time.Time { return now }})
	ingest(t, s, IngestOptions{EpochRows: 10, BufferBytes: 1 << 14}, classed(t, 2))
	want := records(t, s.Source(Filter{}), source.Selection{})
	if err := s.Hold(t.Context(), Hold{Name: "case", Until: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), Reason: "a letter"}); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"case", "", "../x", "a b"} {
		if err := s.Hold(t.Context(), Hold{Name: bad}); err == nil {
			t.Errorf("hold %q was placed", bad)
		}
	}
	all := map[string]time.Duration{}
	for _, c := range Classes() {
		all[c] = time.Hour
	}
	if res, err := s.Retain(t.Context(), RetainOptions{Ages: all}); err != nil || res.Removed != 72 || len(res.Days) != 2 || res.Days[0].Held != "case" {
		t.Fatalf("%+v %v", res, err)
	}
	if _, err := s.Compact(t.Context(), CompactOptions{}); err != nil {
		t.Fatal(err)
	}
	now = time.Now().Add(time.Second) // snapshots have the time of the clock
	if x, err := s.Expire(t.Context(), ExpireOptions{Grace: -1}); err != nil || x.Snapshots == 0 {
		t.Fatalf("%+v %v", x, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), dir, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := records(t, s.Source(Filter{Hold: "case"}), source.Selection{}); !slices.Equal(got, want) {
		t.Errorf("%d records under the hold, want %d", len(got), len(want))
	}
	if got := records(t, s.Source(Filter{}), source.Selection{}); len(got) != 72 {
		t.Errorf("%d records now", len(got))
	}
	if holds, err := s.Holds(t.Context()); err != nil || len(holds) != 1 || holds[0].Reason != "a letter" {
		t.Errorf("%+v %v", holds, err)
	}
	if _, err := s.Plan(t.Context(), Filter{Hold: "other"}); err == nil {
		t.Error("a plan of a hold that is not there")
	}
}

// TestDamage: each kind of damage is named, and the rest still answers.
func TestDamage(t *testing.T) {
	t.Parallel()
	logs := makeLogs(t, 600, 2, 6)
	edit := func(fn func(b []byte) []byte) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, fn(b), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	zero := func(from, to float64) func(b []byte) []byte {
		return func(b []byte) []byte {
			clear(b[int(float64(len(b))*from):int(float64(len(b))*to)])
			return b
		}
	}
	tests := []struct {
		name   string
		ids    bool // the ids file, in place of the data file
		do     func(t *testing.T, path string)
		seen   bool // without reading the file
		answer bool // the events are still there
	}{
		{name: "missing", do: func(t *testing.T, p string) {
			if err := os.Remove(p); err != nil {
				t.Fatal(err)
			}
		}, seen: true},
		{name: "cut", do: edit(func(b []byte) []byte { return b[:len(b)/2] }), seen: true},
		{name: "empty", do: edit(func([]byte) []byte { return nil }), seen: true},
		{name: "end", do: edit(zero(0.999, 1)), seen: true},
		{name: "footer", do: edit(func(b []byte) []byte { clear(b[len(b)-200 : len(b)-100]); return b }), answer: true},
		{name: "pages", do: func(t *testing.T, p string) {
			r, err := file.OpenParquetFile(p, false)
			if err != nil {
				t.Fatal(err)
			}
			meta := r.MetaData()
			c, err := meta.RowGroup(0).ColumnChunk(meta.Schema.ColumnIndexByName("requestParameters"))
			if err != nil {
				t.Fatal(err)
			}
			from, n := c.DataPageOffset(), c.TotalCompressedSize()
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			edit(func(b []byte) []byte { clear(b[from+n/4 : from+n]); return b })(t, p)
		}},
		{name: "ids missing", ids: true, do: func(t *testing.T, p string) {
			if err := os.Remove(p); err != nil {
				t.Fatal(err)
			}
		}, answer: true, seen: true},
		{name: "ids changed", ids: true, do: edit(zero(0.5, 0.6)), answer: true},
	}
	made := filepath.Join(t.TempDir(), "store")
	first := create(t, made, Options{})
	ingest(t, first, IngestOptions{EpochRows: 200}, logs)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "store")
			if err := os.CopyFS(dir, os.DirFS(made)); err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			plan, err := s.Plan(t.Context(), Filter{})
			if err != nil {
				t.Fatal(err)
			}
			hit := plan.Files[len(plan.Files)/2]
			path, name := hit.Path, hit.Name
			if tt.ids {
				path = idsPath(dir, hit.Name)
				name = relative(dir, path)
			}
			tt.do(t, path)

			v, err := s.Verify(t.Context(), VerifyOptions{Deep: true})
			if err != nil {
				t.Fatal(err)
			}
			if v.OK() || len(v.Damaged) == 0 || v.Damaged[0].File != name || v.Damaged[0].Day != dayName(hit) {
				t.Fatalf("%+v, want %s", v, name)
			}
			if !tt.answer && (v.Lost == 0 || len(v.Days) != 1 || v.Days[0].Day != dayName(hit)) || tt.answer && (v.Lost != 0 || len(v.Days) != 0) {
				t.Errorf("lost %d, days %+v", v.Lost, v.Days)
			}
			st, err := s.Status(t.Context(), false)
			if err != nil {
				t.Fatal(err)
			}
			if got := slices.ContainsFunc(st.Damaged, func(d Damage) bool { return d.File == name }); got != tt.seen {
				t.Errorf("status says %+v", st.Damaged)
			}

			// The rest answers, and the ledger of the reader names what does not.
			led := ledger.New()
			g := &gather{}
			if err := intake.Run(t.Context(), intake.Options{Sources: []source.Source{s.Source(Filter{})}, Ledger: led, Workers: 1}, func() (intake.Worker, error) { return g, nil }); err != nil {
				t.Fatal(err)
			}
			r := led.Report()
			if tt.answer {
				if !r.Complete() || int64(len(g.raw)) != plan.Rows() {
					t.Errorf("%d of %d events, failures %v", len(g.raw), plan.Rows(), r.Failures)
				}
			} else {
				if len(r.Failures) != 1 || r.Failures[0].Object != hit.Path || int64(len(g.raw)) < plan.Rows()-hit.Rows || int64(len(g.raw)) >= plan.Rows() {
					t.Errorf("%d of %d events, failures %v", len(g.raw), plan.Rows(), r.Failures)
				}
				var lines bytes.Buffer
				x, err := s.Export(t.Context(), ExportOptions{Lines: &lines})
				if err != nil || len(x.Damaged) != 1 || x.Damaged[0].File != name || x.Events < plan.Rows()-hit.Rows {
					t.Errorf("export: %+v %v", x, err)
				}
				if p, err := s.Plan(t.Context(), Filter{}); err != nil || len(p.Damaged) == 1 != tt.seen || len(p.Files)+len(p.Damaged) != len(plan.Files) {
					t.Errorf("plan: %+v %v", p.Damaged, err)
				}
			}

			// Work goes on: the day is left alone by compaction, and new events are taken.
			c, err := s.Compact(t.Context(), CompactOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if !tt.ids && (len(c.Damaged) != 1 || c.Damaged[0].File != name) || tt.ids && len(c.Damaged) != 0 {
				t.Errorf("compact: %+v", c)
			}
			if res := ingest(t, s, IngestOptions{}, classed(t, 1)); res.Added != 72 {
				t.Errorf("added %d", res.Added)
			}
		})
	}
}

func TestWriters(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	s := create(t, dir, Options{})
	if _, err := Open(t.Context(), dir, Options{}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("a second writer: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, dir, Options{Wait: -1}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one that waits: %v", err)
	}
	got := make(chan error)
	go func() {
		second, err := Open(context.Background(), dir, Options{Wait: time.Minute})
		if err == nil {
			err = second.Close()
		}
		got <- err
	}()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("one that waited: %v", err)
	}
	for name, fn := range map[string]func() error{
		"ingest":  func() error { _, err := s.Ingest(t.Context(), IngestOptions{}); return err },
		"compact": func() error { _, err := s.Compact(t.Context(), CompactOptions{}); return err },
		"retain":  func() error { _, err := s.Retain(t.Context(), RetainOptions{}); return err },
		"expire":  func() error { _, err := s.Expire(t.Context(), ExpireOptions{}); return err },
		"hold":    func() error { return s.Hold(t.Context(), Hold{Name: "x"}) },
		"release": func() error { return s.Release(t.Context(), "x") },
	} {
		if err := fn(); !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s without the lock: %v", name, err)
		}
	}
}

// TestReaders: two readers see whole states while a writer writes.
func TestReaders(t *testing.T) {
	t.Parallel()
	logs := makeLogs(t, 1000, 2, 7)
	dir := filepath.Join(t.TempDir(), "store")
	s := create(t, dir, Options{})
	look := make(chan struct{}, 1) // after a commit, while the next epoch is read
	errs := make(chan error, 2)
	for range 2 {
		go func() {
			err := func() error {
				r, err := Open(context.Background(), dir, Options{ReadOnly: true})
				if err != nil {
					return err
				}
				var last int64
				for range look {
					st, err := r.Status(context.Background(), false)
					if err != nil {
						return err
					}
					if st.Rows != st.Ledger.Records.Kept || st.Rows < last || len(st.Damaged) > 0 {
						return fmt.Errorf("%d rows, %d kept, %d before, damaged %v", st.Rows, st.Ledger.Records.Kept, last, st.Damaged)
					}
					last = st.Rows
				}
				if last == 0 {
					return errors.New("it never saw an event")
				}
				return r.Close()
			}()
			for range look { // the writer must not wait for a reader that has failed
			}
			errs <- err
		}()
	}
	ingest(t, s, IngestOptions{EpochRows: 80, Committed: func(int64) {
		select {
		case look <- struct{}{}:
		default:
		}
	}}, logs)
	for range 4 {
		look <- struct{}{}
	}
	if _, err := s.Compact(t.Context(), CompactOptions{Progress: func(DayCompacted) { look <- struct{}{} }}); err != nil {
		t.Error(err)
	}
	close(look)
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "letter.txt"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(t.Context(), other, Options{}); err == nil || !strings.Contains(err.Error(), "letter.txt") {
		t.Errorf("a folder with other things: %v", err)
	}
	if _, err := Open(t.Context(), other, Options{}); !errors.Is(err, ErrNoStore) {
		t.Errorf("no store: %v", err)
	}
	if _, err := Open(t.Context(), filepath.Join(other, "none"), Options{ReadOnly: true}); !errors.Is(err, ErrNoStore) {
		t.Errorf("no folder: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "store")
	create(t, dir, Options{}).Close()
	for text, want := range map[string]error{
		`{"format":"spoor-store","version":2}`: ErrNewer,
		`{"format":"spoor-store","version":0}`: ErrNoStore,
		`{"format":"other","version":1}`:       ErrNoStore,
		`{`:                                    ErrNoStore,
	} {
		if err := os.WriteFile(filepath.Join(dir, formatName), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, ro := range []bool{true, false} {
			if _, err := Open(t.Context(), dir, Options{ReadOnly: ro}); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", text, err, want)
			}
		}
	}
}

// TestHalfMade: a store whose making was interrupted is made anew.
func TestHalfMade(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	create(t, dir, Options{}).Close()
	if err := os.Remove(filepath.Join(dir, formatName)); err != nil {
		t.Fatal(err)
	}
	s := create(t, dir, Options{})
	ingest(t, s, IngestOptions{}, classed(t, 1))
	check(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// With events in it, it is somebody's.
	if err := os.Remove(filepath.Join(dir, formatName)); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(t.Context(), dir, Options{}); err == nil {
		t.Error("a store that lost its format file was taken over")
	}
}

// TestReadOnlyFolder: a store that cannot be written to answers, and says clearly that it cannot be written to.
func TestReadOnlyFolder(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Log("permissions do not bind this user: only reading is tested")
	}
	dir := filepath.Join(t.TempDir(), "store")
	s := create(t, dir, Options{})
	logs := classed(t, 1)
	ingest(t, s, IngestOptions{}, logs)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var folders []string
	if err := filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			folders = append(folders, p)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		if err := os.Chmod(f, 0o555); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(f, 0o755)
	}
	r, err := Open(t.Context(), dir, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	check(t, r)
	if got := records(t, r.Source(Filter{}), source.Selection{}); len(got) != 72 {
		t.Errorf("%d records", len(got))
	}
	if os.Geteuid() != 0 {
		w, err := Open(t.Context(), dir, Options{})
		if err == nil {
			_, err = w.Ingest(t.Context(), IngestOptions{Intake: input(t, classed(t, 2))})
			w.Close()
		}
		if !errors.Is(err, os.ErrPermission) {
			t.Errorf("writing: %v", err)
		}
	}
}

// TestMoved: the folder can be copied.
func TestMoved(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	s := create(t, dir, Options{})
	ingest(t, s, IngestOptions{}, classed(t, 1))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), to, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	check(t, s)
	if res := ingest(t, s, IngestOptions{}, classed(t, 2)); res.Added != 72 {
		t.Errorf("added %d", res.Added)
	}
	check(t, s)
}

// TestSweep: what no commit names goes with the next writer.
func TestSweep(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	s := create(t, dir, Options{})
	ingest(t, s, IngestOptions{}, classed(t, 1))
	w := segment.NewWriter(segment.Options{Dir: dir})
	e, err := event.Parse([]byte(`{"eventTime":"2026-01-01T00:00:00Z","eventID":"x","eventName":"Orphan"}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(e, nil); err != nil {
		t.Fatal(err)
	}
	segs, err := w.Flush(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st, err := s.Status(t.Context(), false); err != nil || st.Orphans != 1 {
		t.Errorf("%d orphans, %v", st.Orphans, err)
	}
	old := filepath.Join(dir, stateDir, "old.json")
	if err := os.WriteFile(old, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(old, time.Now(), time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(t.Context(), dir, Options{}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, p := range []string{filepath.Join(dir, segs[0].Path), filepath.Join(dir, segs[0].IDsPath), old} {
		if _, err := os.Stat(p); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", p, err)
		}
	}
	check(t, s)
}

func TestOverlap(t *testing.T) {
	t.Parallel()
	file := func(from, to int64) table.File {
		return table.File{MinTime: time.Unix(from, 0), MaxTime: time.Unix(to, 0)}
	}
	for _, tt := range []struct {
		files []table.File
		want  int
	}{
		{nil, 0}, {[]table.File{file(1, 2)}, 1}, {[]table.File{file(1, 2), file(3, 4)}, 1}, {[]table.File{file(1, 2), file(2, 4)}, 2},
		{[]table.File{file(1, 9), file(2, 3), file(4, 5)}, 2}, {[]table.File{file(5, 5), file(5, 5), file(5, 5)}, 3}, {[]table.File{{}, {}}, 2},
	} {
		if got := overlap(tt.files); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.files, got, tt.want)
		}
	}
}

// TestUnreadableState: a state that cannot be read is an error that names it, never an empty store.
func TestUnreadableState(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	s := create(t, dir, Options{})
	ingest(t, s, IngestOptions{}, classed(t, 1))
	name := s.table.Props()[propState]
	path := filepath.Join(dir, stateDir, name)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	newer := &state{}
	if err := json.Unmarshal(good, newer); err != nil {
		t.Fatal(err)
	}
	newer.Version = stateVersion + 1
	b, err := json.Marshal(newer)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"": name, "{}": name, string(good[:50]): name, string(b): "newer version"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), dir, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("state %.20q: %v", text, err)
		}
	}
}
