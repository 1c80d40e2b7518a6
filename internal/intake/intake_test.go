package intake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"spoor/internal/dedup"
	"spoor/internal/event"
	"spoor/internal/ledger"
	"spoor/internal/source"
)

// memory is a source of texts.
type memory struct {
	objects  []source.Object
	text     map[string]string
	open     map[string]error // what Open gives in place of the text
	read     map[string]error // what the reader gives behind the text
	members  map[string][]source.Object
	listErr  error
	parallel int
}

func (m *memory) List(_ context.Context, _ source.Selection, visit func(source.Object, string) error) error {
	for _, o := range m.objects {
		if err := visit(o, o.Skip); err != nil {
			return err
		}
	}
	return m.listErr
}

func (m *memory) Open(_ context.Context, obj source.Object, read func(source.Object, io.Reader) error) error {
	if err := m.open[obj.Name]; err != nil {
		return err
	}
	give := func(o source.Object) error {
		var r io.Reader = strings.NewReader(m.text[o.Name])
		if err := m.read[o.Name]; err != nil {
			r = io.MultiReader(r, failing{err})
		}
		return read(o, r)
	}
	if members, ok := m.members[obj.Name]; ok {
		for _, o := range members {
			if err := give(o); err != nil {
				return err
			}
		}
		return nil
	}
	return give(obj)
}

func (m *memory) Parallel() int { return m.parallel }

func rec(id string, hour int, extra string) string {
	return fmt.Sprintf(`{"eventTime":"2026-01-10T%02d:00:00Z","eventSource":"iam.amazonaws.com","eventName":"ListUsers","awsRegion":"us-east-1","recipientAccountId":"111122223333","eventID":%q%s}`, hour, id, extra)
}

// gather is a worker that keeps ids.
type gather struct {
	mu  *sync.Mutex
	ids map[string]int
	err error
}

func (g *gather) Event(e *event.Event) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ids[strings.Clone(e.ID())]++
	return g.err
}

func runOn(t *testing.T, m *memory, change func(*Options)) (ids map[string]int, rep *ledger.Report, err error) {
	t.Helper()
	opts := Options{Sources: []source.Source{m}, Ledger: ledger.New(), Seen: dedup.New(dedup.Options{Dir: t.TempDir()})}
	if change != nil {
		change(&opts)
	}
	ids = map[string]int{}
	var mu sync.Mutex
	err = Run(t.Context(), opts, func() (Worker, error) { return &gather{mu: &mu, ids: ids}, nil })
	rep = opts.Ledger.Report()
	if err == nil && !rep.Balanced {
		t.Fatalf("the ledger does not balance: %v", rep.Problems)
	}
	return ids, rep, err
}

func object(name string) source.Object { return source.Object{Name: name, Size: 100} }

func TestEverythingIsAccountedFor(t *testing.T) {
	t.Parallel()
	lines := func(recs ...string) string { return strings.Join(recs, "\n") }
	m := &memory{
		objects: []source.Object{
			object("a.json"), object("b.json"), object("README.md"), object("other.json"), object("broken.json"), object("torn.json"), object("gone.json"),
			object("all.zip"), {Name: "pruned.json", Skip: "outside of the time range"}, {Name: "d.json.gz", Place: source.Place{Kind: source.Digest}},
			{Name: "flow.gz", Place: source.Place{Kind: "vpcflowlogs"}}, object("digest.json"), object("garbage.json"), {Name: "log.bin", Size: 1, Place: source.Place{Kind: source.Logs}},
		},
		text: map[string]string{
			"a.json": lines(rec("1", 1, ""), rec("2", 2, "")), "b.json": lines(rec("2", 2, ""), rec("2", 3, ""), rec("3", 3, "")),
			"README.md": "# logs\n", "other.json": `{"name":"x"}`, "broken.json": lines(rec("4", 4, ""), `{"eventName":"X",}`, rec("5", 5, "")),
			"torn.json": lines(rec("6", 6, ""), rec("7", 7, "")) + "\n", "all.zip!x": rec("8", 8, ""), "all.zip!y": "text", "digest.json": `{"digestStartTime":"","digestEndTime":"","digestS3Object":"","logFiles":[]}`,
			"garbage.json": "garbage", "log.bin": "garbage",
		},
		open:    map[string]error{"gone.json": errors.New("no such file")},
		read:    map[string]error{"torn.json": errors.New("connection reset")},
		members: map[string][]source.Object{"all.zip": {{Name: "all.zip!x", Size: 5, Archive: "all.zip"}, {Name: "all.zip!y", Size: 5, Archive: "all.zip"}, {Name: "all.zip!z", Archive: "all.zip", Skip: "empty"}}},
	}
	var rejected bytes.Buffer
	for _, parallel := range []int{0, 4} {
		m.parallel = parallel
		rejected.Reset()
		ids, rep, err := runOn(t, m, func(o *Options) { o.Rejects = NewRejectWriter(&rejected) })
		if err != nil {
			t.Fatal(err)
		}
		for id, want := range map[string]int{"1": 1, "2": 2, "3": 1, "4": 1, "5": 1, "6": 1, "7": 1, "8": 1} { // 2 is two events with one id
			if ids[id] != want {
				t.Errorf("event %s came %d times, want %d", id, ids[id], want)
			}
		}
		if want := (ledger.Objects{Listed: 17, Read: 6, Skipped: 7, Failed: 4}); rep.Objects != want {
			t.Errorf("objects %+v, want %+v", rep.Objects, want)
		}
		if want := (ledger.Records{Seen: 12, Kept: 9, Duplicate: 1, Rejected: 1, Other: 1}); rep.Records != want {
			t.Errorf("records %+v, want %+v", rep.Records, want)
		}
		failed := map[string]string{}
		for _, f := range rep.Failures {
			failed[f.Object] = f.Reason
		}
		for name, part := range map[string]string{"gone.json": "no such file", "torn.json": "connection reset", "garbage.json": "not CloudTrail", "log.bin": "not CloudTrail"} {
			if !strings.Contains(failed[name], part) {
				t.Errorf("%s failed with %q, want %q", name, failed[name], part)
			}
		}
		var line struct {
			File   string
			Offset int64
			Raw    string
		}
		if err := json.Unmarshal(rejected.Bytes(), &line); err != nil || line.File != "broken.json" || line.Raw != `{"eventName":"X",}`+"\n" || line.Offset != int64(len(rec("4", 4, "")))+1 {
			t.Errorf("kept aside: %s (%v)", rejected.String(), err)
		}
	}
}

func TestNamedInputsMustHoldLogs(t *testing.T) {
	t.Parallel()
	m := &memory{objects: []source.Object{object("notes.txt")}, text: map[string]string{"notes.txt": "text"}}
	_, rep, err := runOn(t, m, func(o *Options) { o.Named = []string{"notes.txt"} })
	if err != nil || rep.Objects.Failed != 1 {
		t.Errorf("%v %+v", err, rep.Objects)
	}
}

func TestSelection(t *testing.T) {
	t.Parallel()
	m := &memory{objects: []source.Object{object("a")}, text: map[string]string{"a": rec("1", 1, "") + rec("2", 2, "") + rec("3", 3, "") +
		strings.ReplaceAll(rec("4", 2, ""), "us-east-1", "eu-west-1") + strings.ReplaceAll(rec("5", 2, ""), "111122223333", "444455556666") + strings.Replace(rec("6", 2, ""), "2026-01-10T02:00:00Z", "?", 1)}}
	ids, rep, err := runOn(t, m, func(o *Options) {
		o.Select = source.Selection{Since: time.Date(2026, 1, 10, 2, 0, 0, 0, time.UTC), Until: time.Date(2026, 1, 10, 3, 0, 0, 0, time.UTC),
			Accounts: []string{"111122223333"}, Regions: []string{"us-east-1"}}
	})
	if err != nil || fmt.Sprint(ids) != "map[2:1 6:1]" || rep.Records.Filtered != 4 {
		t.Errorf("%v, %v, %+v: an event without a time cannot be left out by time", ids, err, rep.Records)
	}
}

// TestBigObjects reads an object with all workers and compares with reading it with one.
func TestBigObjects(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	for i := range 20000 {
		text.WriteString(rec(fmt.Sprint(i), i%24, "") + "\n")
	}
	for _, size := range []int64{100, bigObject, -1} {
		m := &memory{objects: []source.Object{{Name: "big.json", Size: size}}, text: map[string]string{"big.json": text.String()}}
		ids, rep, err := runOn(t, m, func(o *Options) { o.Workers = 3 })
		if err != nil || len(ids) != 20000 || rep.Records.Kept != 20000 || rep.Objects.Read != 1 {
			t.Errorf("size %d: %d events, %+v, %v", size, len(ids), rep.Records, err)
		}
	}
}

func TestErrorsEndTheRun(t *testing.T) {
	t.Parallel()
	want := errors.New("disk full")
	for _, size := range []int64{100, -1} {
		m := &memory{objects: []source.Object{{Name: "a", Size: size}}, text: map[string]string{"a": rec("1", 1, "")}}
		err := Run(t.Context(), Options{Sources: []source.Source{m}, Ledger: ledger.New()}, func() (Worker, error) {
			return &gather{mu: new(sync.Mutex), ids: map[string]int{}, err: want}, nil
		})
		if err != want {
			t.Errorf("size %d: %v", size, err)
		}
	}
	m := &memory{objects: []source.Object{object("a")}, text: map[string]string{"a": rec("1", 1, "")}, listErr: want}
	if _, _, err := runOn(t, m, nil); err != want {
		t.Errorf("listing: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, Options{Sources: []source.Source{m}, Ledger: ledger.New()}, func() (Worker, error) { return &gather{}, nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
