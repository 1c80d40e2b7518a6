package intake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"spoor/internal/ledger"
	"spoor/internal/source"
)

// epochs records what it is asked.
type epochs struct {
	mu    sync.Mutex
	known map[string]bool
	led   *ledger.Ledger
	begun []string
	ended map[string]bool
}

func (e *epochs) Skip(obj source.Object) (string, error) {
	if e.known[obj.Name] {
		return "read before", nil
	}
	return "", nil
}

func (e *epochs) Begin(_ context.Context, obj source.Object) (*ledger.Ledger, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.begun = append(e.begun, obj.Name)
	return e.led, nil
}

func (e *epochs) End(_ context.Context, obj source.Object, whole bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended[obj.Name] = whole
	return nil
}

func TestEpochs(t *testing.T) {
	t.Parallel()
	src := &memory{
		objects: []source.Object{{Name: "old.json"}, {Name: "good.json", Size: 1}, {Name: "bad.json", Size: 1}, {Name: "gone.json", Size: 1},
			{Name: "early.json", Size: 1}, {Name: "a.zip", Size: 1}, {Name: "b.zip", Size: 1}, {Name: "note.txt", Size: 1}},
		text: map[string]string{
			"good.json": rec("1", 10, ""), "bad.json": rec("2", 10, ""), "early.json": rec("3", 1, "") + rec("4", 10, ""), "note.txt": "hello",
			"a.zip!1": rec("5", 10, ""), "a.zip!2": rec("6", 10, ""), "b.zip!1": rec("7", 10, ""), "b.zip!2": rec("8", 10, ""),
		},
		open: map[string]error{"gone.json": errors.New("gone")},
		read: map[string]error{"bad.json": errors.New("cut"), "b.zip!1": errors.New("cut")},
		members: map[string][]source.Object{
			"a.zip": {{Name: "a.zip!1", Size: 1, Archive: "a.zip"}, {Name: "a.zip!2", Size: 1, Archive: "a.zip"}},
			"b.zip": {{Name: "b.zip!1", Size: 1, Archive: "b.zip"}, {Name: "b.zip!2", Size: 1, Archive: "b.zip"}},
		},
	}
	ep := &epochs{known: map[string]bool{"old.json": true}, led: ledger.New(), ended: map[string]bool{}}
	run := ledger.New()
	g := gather{mu: new(sync.Mutex), ids: map[string]int{}}
	sel := source.Selection{Since: time.Date(2026, 1, 10, 5, 0, 0, 0, time.UTC)}
	if err := Run(t.Context(), Options{Sources: []source.Source{src}, Select: sel, Ledger: run, Epochs: ep}, func() (Worker, error) { return &g, nil }); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"good.json": true, "bad.json": false, "gone.json": false, "early.json": false, "a.zip": true, "b.zip": false, "note.txt": true}
	if fmt.Sprint(ep.ended) != fmt.Sprint(want) {
		t.Errorf("ended %v, want %v", ep.ended, want)
	}
	r, e := run.Report(), ep.led.Report()
	if !r.Balanced || r.Objects != (ledger.Objects{Listed: 1, Skipped: 1}) {
		t.Errorf("ledger of the listing: %+v, problems %v", r.Objects, r.Problems)
	}
	if !e.Balanced || e.Objects != (ledger.Objects{Listed: 11, Read: 7, Skipped: 1, Failed: 3}) {
		t.Errorf("ledger of what was read: %+v, problems %v", e.Objects, e.Problems)
	}
	if e.Records.Kept != int64(len(g.ids)) || e.Records.Filtered != 1 {
		t.Errorf("records %+v, %d given", e.Records, len(g.ids))
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	day := func(d int) source.Place {
		return source.Place{Delivered: time.Date(2026, 1, d, 0, 0, 0, 0, time.UTC)}
	}
	var in []job
	for _, account := range []string{"a", "b", "c"} {
		for d := 1; d <= 4; d++ {
			in = append(in, job{obj: source.Object{Name: fmt.Sprint(account, d), Place: day(d)}})
		}
	}
	for _, limit := range []int{0, 5, 100} {
		w := window{limit: limit}
		var got []string
		send := func(j job) error { got = append(got, j.obj.Name); return nil }
		for _, j := range in {
			if err := w.through(j, send); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.drain(send); err != nil {
			t.Fatal(err)
		}
		want := map[int]string{0: "[a1 a2 a3 a4 b1 b2 b3 b4 c1 c2 c3 c4]", 5: "[a1 a2 b1 a3 b2 c1 a4 b3 b4 c2 c3 c4]",
			100: "[a1 b1 c1 a2 b2 c2 a3 b3 c3 a4 b4 c4]"}[limit]
		if limit == 5 { // what is sent early depends on the bound, what is sent does not
			slices.Sort(got)
			want = "[a1 a2 a3 a4 b1 b2 b3 b4 c1 c2 c3 c4]"
		}
		if fmt.Sprint(got) != want {
			t.Errorf("window of %d: %v, want %s", limit, got, want)
		}
	}
}
