// Package property holds what must not change an answer: the order in which files are read, how events are cut into files,
// the shape they travel in, how often they are delivered, and how many goroutines work.
package property

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"spoor/internal/detect"
	"spoor/internal/event"
	"spoor/internal/hunt"
	"spoor/internal/intake"
	"spoor/internal/ledger"
	"spoor/internal/sample"
	"spoor/internal/source"
	"spoor/internal/source/open"
	"spoor/internal/source/sourcetest"
	"spoor/test/kit"
)

// answer is what a hunt says of the events, without where they lay and how long it took.
type answer struct {
	findings []string // as JSON, in order
	stats    string
	timeline string
	kept     map[ledger.Cell]int64 // by account, Region and hour
	period   string
}

func answerOf(t *testing.T, res *hunt.Result) answer {
	t.Helper()
	a := answer{stats: marshal(t, res.Stats), timeline: marshal(t, res.Timeline), kept: map[ledger.Cell]int64{}, period: fmt.Sprint(res.First, res.Last, res.Notes, res.TimelineCut, res.Rules)}
	for _, c := range res.Ledger.Cells {
		if c.Records.Kept > 0 {
			a.kept[ledger.Cell{Account: c.Account, Region: c.Region, Hour: c.Hour}] = c.Records.Kept
		}
	}
	for _, f := range res.Findings {
		var raw []byte
		f.Events = slices.Clone(f.Events)
		for i := range f.Events {
			f.Events[i].File, f.Events[i].Offset = "", 0
			h := sha256.Sum256(f.Events[i].Raw)
			raw = append(raw, h[:4]...)
		}
		a.findings = append(a.findings, marshal(t, f)+fmt.Sprintf(" %x", raw))
	}
	return a
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// same fails the test unless both answers are one.
func (a answer) same(t *testing.T, b answer) {
	t.Helper()
	for i := range max(len(a.findings), len(b.findings)) {
		var x, y string
		if i < len(a.findings) {
			x = a.findings[i]
		}
		if i < len(b.findings) {
			y = b.findings[i]
		}
		if x != y {
			t.Errorf("finding %d of %d and %d differs at byte %d:\n  %.1500s\n  %.1500s", i+1, len(a.findings), len(b.findings), differ(x, y), x, y)
			break
		}
	}
	for _, c := range [...]struct{ what, x, y string }{{"statistics", a.stats, b.stats}, {"timeline", a.timeline, b.timeline}, {"period, rules or notes", a.period, b.period}} {
		if i := differ(c.x, c.y); i >= 0 {
			t.Errorf("%s differ at byte %d:\n  %.400s\n  %.400s", c.what, i, c.x[max(0, i-100):], c.y[max(0, i-100):])
		}
	}
	if len(a.kept) != len(b.kept) {
		t.Errorf("events kept in %d and %d hours", len(a.kept), len(b.kept))
	}
	for cell, n := range a.kept {
		if b.kept[cell] != n {
			t.Errorf("%s %s %s: %d and %d events kept", cell.Account, cell.Region, cell.Hour, n, b.kept[cell])
			break
		}
	}
}

// differ returns where x and y differ first, or -1.
func differ(x, y string) int {
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return i
		}
	}
	if len(x) == len(y) {
		return -1
	}
	return min(len(x), len(y))
}

// shuffled lists its source in an order of its own.
type shuffled struct {
	source.Source
	seed uint64
}

func (s shuffled) List(ctx context.Context, sel source.Selection, visit func(source.Object, string) error) error {
	type listed struct {
		obj  source.Object
		skip string
	}
	var all []listed
	if err := s.Source.List(ctx, sel, func(obj source.Object, skip string) error {
		all = append(all, listed{obj, skip})
		return nil
	}); err != nil {
		return err
	}
	rand.New(rand.NewPCG(s.seed, 1)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, l := range all {
		if err := visit(l.obj, l.skip); err != nil {
			return err
		}
	}
	return nil
}

// collect reads all records under path, as they stand.
func collect(t *testing.T, path string) [][]byte {
	t.Helper()
	src, err := open.Resolve(t.Context(), path, open.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var c collector
	if err := intake.Run(t.Context(), intake.Options{Sources: []source.Source{src}, Named: []string{path}, Ledger: ledger.New()},
		func() (intake.Worker, error) { return &c, nil }); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(c.records, bytes.Compare) // whichever goroutine was first
	return c.records
}

type collector struct {
	mu      sync.Mutex // guards records
	records [][]byte
}

// Event implements [intake.Worker].
func (c *collector) Event(e *event.Event) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.records = append(c.records, bytes.Clone(e.Raw))
	return nil
}

// logFile gives records the shape of a log file, with blanks between them.
func logFile(records [][]byte, blanks int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"Records":[`)
	for i, r := range records {
		if i > 0 {
			b.WriteByte(',')
			b.Write(bytes.Repeat([]byte{' '}, blanks))
		}
		b.Write(r)
	}
	b.WriteString("]}")
	return b.Bytes()
}

func jsonLines(records [][]byte) []byte {
	var b bytes.Buffer
	for _, r := range records {
		b.Write(r)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

func gzipped(t *testing.T, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// split writes records into a folder of files of 1 to most records each, in the order of a seed.
func split(t *testing.T, records [][]byte, most int, seed uint64) string {
	t.Helper()
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(seed, 2))
	records = slices.Clone(records)
	r.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	for n := 0; len(records) > 0; n++ {
		k := min(1+r.IntN(most), len(records))
		write(t, filepath.Join(dir, fmt.Sprintf("%06d.json.gz", n)), gzipped(t, logFile(records[:k], 0)))
		records = records[k:]
	}
	return dir
}

// variant is the same events in another form.
type variant struct {
	name       string
	job        func(t *testing.T) kit.Job
	duplicates int64 // -1: not told
}

func check(t *testing.T, set *detect.Ruleset, base kit.Job, variants []variant) {
	t.Helper()
	base.Rules, base.TempDir = set, t.TempDir()
	res, err := kit.Hunt(t.Context(), base)
	if err != nil {
		t.Fatal(err)
	}
	if !res.Ledger.Complete() || len(res.Findings) < 10 || res.Stats.Events < 100 {
		t.Fatalf("%d events and %d findings to compare with: %+v", res.Stats.Events, len(res.Findings), res.Ledger.Failures)
	}
	want := answerOf(t, res)
	for _, v := range variants {
		t.Run(v.name, func(t *testing.T) {
			j := v.job(t)
			j.Rules, j.TempDir, j.Actor = set, t.TempDir(), base.Actor
			res, err := kit.Hunt(t.Context(), j)
			if err != nil {
				t.Fatal(err)
			}
			if !res.Ledger.Complete() {
				t.Fatalf("not read whole: %+v %+v", res.Ledger.Failures, res.Ledger.Rejects)
			}
			if v.duplicates >= 0 && res.Ledger.Records.Duplicate != v.duplicates {
				t.Errorf("%d duplicates, want %d", res.Ledger.Records.Duplicate, v.duplicates)
			}
			want.same(t, answerOf(t, res))
		})
	}
}

// bigObject is the size from which one file is decoded by several goroutines.
const bigObject = 48 << 20

// TestSample holds the answer over an organisation with an attack in it.
func TestSample(t *testing.T) {
	t.Parallel()
	events := 20_000
	if raceDetector {
		events = 4_000
	}
	logs := t.TempDir()
	truth, err := sample.Generate(t.Context(), sample.Options{Out: logs, Events: events, Seed: 3, Story: true, Level: 1})
	if err != nil {
		t.Fatal(err)
	}
	set, err := kit.Pack(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := collect(t, logs)
	if int64(len(all)) != truth.Records || truth.Duplicates == 0 {
		t.Fatalf("%d records, the truth says %d, %d of them duplicates", len(all), truth.Records, truth.Duplicates)
	}
	dups := truth.Duplicates
	n := int64(len(all))
	stdin := func(text []byte) kit.Job {
		return kit.Job{Paths: []string{"-"}, Stdin: bytes.NewReader(text), Workers: 3}
	}
	variants := []variant{
		{"another run", func(*testing.T) kit.Job { return kit.Job{Paths: []string{logs}} }, dups},
		{"one worker", func(*testing.T) kit.Job { return kit.Job{Paths: []string{logs}, Workers: 1} }, dups},
		{"eight workers", func(*testing.T) kit.Job { return kit.Job{Paths: []string{logs}, Workers: 8} }, dups},
		{"shuffled files, one worker", func(*testing.T) kit.Job {
			return kit.Job{Paths: []string{logs}, Workers: 1, Wrap: func(s source.Source) source.Source { return shuffled{s, 1} }}
		}, dups},
		{"shuffled files, two workers", func(*testing.T) kit.Job {
			return kit.Job{Paths: []string{logs}, Workers: 2, Wrap: func(s source.Source) source.Source { return shuffled{s, 2} }}
		}, dups},
		{"shuffled records in few files", func(t *testing.T) kit.Job { return kit.Job{Paths: []string{split(t, all, 3000, 1)}} }, dups},
		{"shuffled records in many files", func(t *testing.T) kit.Job { return kit.Job{Paths: []string{split(t, all, 10, 2)}} }, dups},
		{"everything twice", func(*testing.T) kit.Job { return kit.Job{Paths: []string{logs, logs}} }, 2*dups + n - dups},
		{"every third record again", func(t *testing.T) kit.Job {
			var again [][]byte
			for i := 0; i < len(all); i += 3 {
				again = append(again, all[i])
			}
			return kit.Job{Paths: []string{split(t, again, 50, 3), logs}}
		}, dups + (n+2)/3},
		{"one log file on standard input", func(*testing.T) kit.Job { return stdin(logFile(all, 0)) }, dups},
		{"one compressed log file on standard input", func(t *testing.T) kit.Job { return stdin(gzipped(t, logFile(all, 0))) }, dups},
		{"JSON Lines on standard input", func(*testing.T) kit.Job { return stdin(jsonLines(all)) }, dups},
		{"one compressed file of JSON Lines", func(t *testing.T) kit.Job {
			path := filepath.Join(t.TempDir(), "all.jsonl.gz")
			write(t, path, gzipped(t, jsonLines(all)))
			return kit.Job{Paths: []string{path}}
		}, dups},
		{"a bare array", func(t *testing.T) kit.Job {
			text := logFile(all, 0)
			return stdin(text[len(`{"Records":`) : len(text)-1])
		}, dups},
		{"one huge file", func(t *testing.T) kit.Job {
			text := logFile(all, 0)
			text = logFile(all, (bigObject-len(text))/(len(all)-1)+1)
			if len(text) < bigObject {
				t.Fatalf("%d bytes", len(text))
			}
			path := filepath.Join(t.TempDir(), "huge.json")
			write(t, path, text)
			return kit.Job{Paths: []string{path}, Workers: 4}
		}, dups},
	}
	check(t, set, kit.Job{Paths: []string{logs}, Workers: 2, Actor: "ci-deploy"}, variants)
}

// TestShared holds the answer over real logs. Records that share an eventID and differ are left out: which of them is the
// event is not to be known, and the first that is read is kept.
func TestShared(t *testing.T) {
	t.Parallel()
	data := filepath.Join(sourcetest.Shared(t), "data/cloudtrail")
	set, err := kit.Pack(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	byID := map[string][][]byte{}
	for _, dir := range []string{"s3-layout", "stratus-red-team", "traildiscover", "console-sessions", "cloud-custodian", "wrappers", "panther-rule-tests", "aws-docs"} {
		for _, r := range collect(t, filepath.Join(data, dir)) {
			e, err := event.Parse(r)
			if err != nil {
				t.Fatalf("%s: %v: %.200s", dir, err, r)
			}
			id := e.ID()
			if id == "" {
				id = string(r)
			}
			byID[id] = append(byID[id], r)
		}
	}
	var all [][]byte
	for _, rs := range byID {
		if !slices.ContainsFunc(rs, func(r []byte) bool { return !bytes.Equal(r, rs[0]) }) {
			all = append(all, rs...)
		}
	}
	slices.SortFunc(all, bytes.Compare)
	dups := int64(len(all))
	for _, rs := range byID {
		if !slices.ContainsFunc(rs, func(r []byte) bool { return !bytes.Equal(r, rs[0]) }) {
			dups--
		}
	}
	n := int64(len(all))
	if n < 3500 {
		t.Fatalf("%d records", n)
	}
	stdin := func(r io.Reader) kit.Job { return kit.Job{Paths: []string{"-"}, Stdin: r, Workers: 3} }
	base := split(t, all, 100, 9)
	check(t, set, kit.Job{Paths: []string{base}, Workers: 2}, []variant{
		{"another run", func(*testing.T) kit.Job { return kit.Job{Paths: []string{base}} }, dups},
		{"one worker", func(*testing.T) kit.Job { return kit.Job{Paths: []string{base}, Workers: 1} }, dups},
		{"shuffled records", func(t *testing.T) kit.Job { return kit.Job{Paths: []string{split(t, all, 40, 10)}, Workers: 5} }, dups},
		{"a file for each record", func(t *testing.T) kit.Job { return kit.Job{Paths: []string{split(t, all, 1, 11)}} }, dups},
		{"everything twice", func(t *testing.T) kit.Job { return kit.Job{Paths: []string{base, split(t, all, 70, 12)}} }, n + dups},
		{"one log file on standard input", func(*testing.T) kit.Job { return stdin(bytes.NewReader(logFile(all, 0))) }, dups},
	})
}
