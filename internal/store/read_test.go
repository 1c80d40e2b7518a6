package store

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"spoor/internal/dedup"
	"spoor/internal/event"
	"spoor/internal/intake"
	"spoor/internal/ledger"
	"spoor/internal/source"
	"spoor/internal/store/segment"
)

// placed gathers records with the place that they say they come from.
type placed struct{ seen map[string]place }

type place struct {
	file   string
	offset int64
}

func (p *placed) Event(e *event.Event) error {
	p.seen[string(e.Raw)] = place{strings.Clone(e.File), e.Offset}
	return nil
}

func readPlaced(t *testing.T, src source.Source, sel source.Selection, seen intake.Seen) (map[string]place, *ledger.Report) {
	t.Helper()
	p := &placed{map[string]place{}}
	led := ledger.New()
	if err := intake.Run(t.Context(), intake.Options{Sources: []source.Source{src}, Select: sel, Ledger: led, Seen: seen, Workers: 1}, func() (intake.Worker, error) { return p, nil }); err != nil {
		t.Fatal(err)
	}
	return p.seen, led.Report()
}

// TestReadPlaces: events of a store tell where they were read from first.
func TestReadPlaces(t *testing.T) {
	t.Parallel()
	logs := makeLogs(t, 800, 2, 11)
	s := create(t, filepath.Join(t.TempDir(), "store"), Options{})
	ingest(t, s, IngestOptions{}, logs)
	files, _ := readPlaced(t, input(t, logs).Sources[0], source.Selection{}, nil)
	stored, rep := readPlaced(t, s.Source(Filter{}), source.Selection{}, nil)
	if len(stored) != len(files) || !rep.Balanced || rep.Records.Seen != int64(len(stored)) || len(rep.Pruned) != 0 {
		t.Fatalf("%d of %d, %+v", len(stored), len(files), rep.Records)
	}
	for raw, at := range stored {
		text, err := os.ReadFile(at.file)
		if err != nil || !strings.HasPrefix(at.file, logs) || at.offset < 0 || len(text) == 0 {
			t.Fatalf("%+v: %v", at, err)
		}
		if !strings.Contains(raw, `"eventID"`) {
			t.Fatal(raw)
		}
	}
	once := 0
	for raw, at := range files {
		if stored[raw] == at { // of copies another one may have been first
			once++
		}
	}
	if once < len(files)*9/10 {
		t.Errorf("%d of %d have their place", once, len(files))
	}
}

// TestReadPruned: every event of the store is read or left out for a reason, by file, row group and row.
func TestReadPruned(t *testing.T) {
	t.Parallel()
	logs := makeLogs(t, 1500, 3, 12)
	s := create(t, filepath.Join(t.TempDir(), "store"), Options{})
	res := ingest(t, s, IngestOptions{}, logs)
	st, err := s.Status(t.Context(), false)
	if err != nil || len(st.Days) != 3 {
		t.Fatal(err, st)
	}
	all, _ := readPlaced(t, s.Source(Filter{}), source.Selection{}, nil)
	since := st.First.AddDate(0, 0, 1)
	name := &segment.Rows{Columns: []string{"eventName"}, Keep: func() func([][]byte) string {
		return func(texts [][]byte) string {
			if string(texts[0]) == "GetObject" {
				return ""
			}
			return "another name"
		}
	}}
	for what, c := range map[string]struct {
		sel     source.Selection
		want    *segment.Rows
		reasons []string
		keeps   func(e *event.Event) bool
	}{
		"time":    {source.Selection{Since: since}, nil, []string{source.SkipTime}, func(e *event.Event) bool { return !e.When().Before(since) }},
		"account": {source.Selection{Accounts: []string{"111122223333"}}, nil, []string{source.SkipAccount}, func(e *event.Event) bool { return e.Account() == "111122223333" }},
		"Region":  {source.Selection{Regions: []string{"eu-west-1"}}, nil, []string{source.SkipRegion}, func(e *event.Event) bool { return e.Region() == "eu-west-1" }},
		"rows":    {source.Selection{}, name, []string{"another name"}, func(e *event.Event) bool { return e.Name() == "GetObject" }},
		"all of it": {source.Selection{Since: since, Accounts: []string{"111122223333"}, Regions: []string{"us-east-1"}}, name, []string{source.SkipTime, source.SkipAccount, source.SkipRegion, "another name"},
			func(e *event.Event) bool {
				return !e.When().Before(since) && e.Account() == "111122223333" && e.Region() == "us-east-1" && e.Name() == "GetObject"
			}},
		"nothing": {source.Selection{Until: st.First}, nil, []string{source.SkipTime}, func(*event.Event) bool { return false }},
	} {
		src := s.Read(ReadOptions{Want: c.want})
		whole, _ := readPlaced(t, src, c.sel, nil)
		src.rows = 100 // files in stretches, all but the first of which are empty, as row groups are larger
		got, rep := readPlaced(t, src, c.sel, nil)
		if !maps.Equal(got, whole) {
			t.Errorf("%s: %d events by stretches, %d by files", what, len(got), len(whole))
		}
		want := 0
		for raw := range all {
			e, err := event.Parse([]byte(raw))
			if err != nil {
				t.Fatal(err)
			}
			if c.keeps(e) {
				want++
				if _, ok := got[raw]; !ok {
					t.Errorf("%s: %s was left out", what, e.ID())
				}
			}
		}
		n := rep.Records.Seen
		var reasons []string
		for _, p := range rep.Pruned {
			n += p.Count
			reasons = append(reasons, p.Reason)
		}
		slices.Sort(reasons)
		slices.Sort(c.reasons)
		if len(got) != want || n != res.Rows || !rep.Balanced || !rep.Complete() || rep.Empty() || !slices.Equal(reasons, c.reasons) || rep.Records.Filtered != 0 {
			t.Errorf("%s: %d events, want %d; %d of %d accounted for; %v; %+v", what, len(got), want, n, res.Rows, rep.Pruned, rep.Records)
		}
		if err := src.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestReadBeside: the store's events are known to others by its index, but those of a segment that is not as written come
// into the set like others.
func TestReadBeside(t *testing.T) {
	t.Parallel()
	logs := makeLogs(t, 600, 2, 13)
	dir := filepath.Join(t.TempDir(), "store")
	s := create(t, dir, Options{})
	res := ingest(t, s, IngestOptions{}, logs)
	for _, damage := range []bool{false, true} {
		if damage {
			ids, err := filepath.Glob(filepath.Join(dir, indexDir, "*.ids"))
			if err != nil || len(ids) < 2 {
				t.Fatal(ids, err)
			}
			if err := os.Truncate(ids[0], 100); err != nil {
				t.Fatal(err)
			}
		}
		src := s.Read(ReadOptions{Beside: true})
		asked := &asking{src: src}
		set := dedup.New(dedup.Options{Earlier: asked.find})
		stored, rep := readPlaced(t, src, source.Selection{}, set)
		if int64(len(stored)) != res.Rows || asked.n > 0 != damage {
			t.Errorf("damage %v: %d of %d, %d lookups for the store's own events", damage, len(stored), res.Rows, asked.n)
		}
		if rep.Records.Duplicate != 0 || !rep.Balanced {
			t.Errorf("%+v", rep.Records)
		}
		again, rep := readPlaced(t, input(t, logs).Sources[0], source.Selection{}, set)
		if len(again) != 0 || rep.Records.Duplicate != rep.Records.Seen || rep.Records.Seen < res.Rows {
			t.Errorf("damage %v: %d events of the files count again: %+v", damage, len(again), rep.Records)
		}
		if err := set.Close(); err != nil {
			t.Error(err)
		}
		if err := src.Close(); err != nil {
			t.Error(err)
		}
	}
}

type asking struct {
	src *Source
	n   int
}

func (a *asking) find(k dedup.Key, at int64) (dedup.Verdict, error) {
	a.n++
	return a.src.Earlier(k, at)
}

// TestReadEarlier: segments of before their columns were known to be exact are read whole.
func TestReadEarlier(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), filepath.Join("testdata", "v1", "store"), Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	all, _ := readPlaced(t, s.Source(Filter{}), source.Selection{}, nil)
	by := map[string]int{}
	for raw := range all {
		e, err := event.Parse([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		by[strings.Clone(e.Account())]++
	}
	account, want := "", 0
	for name, n := range by {
		if name != "" && n > want {
			account, want = name, n
		}
	}
	got, rep := readPlaced(t, s.Source(Filter{}), source.Selection{Accounts: []string{account}}, nil)
	if len(got) != want || want == 0 || len(rep.Pruned) > 0 || rep.Records.Seen != int64(len(all)) || rep.Records.Filtered != int64(len(all)-want) {
		t.Errorf("%d, want %d; %+v %v", len(got), want, rep.Records, rep.Pruned)
	}
}
