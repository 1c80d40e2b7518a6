package detect

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"spoor/internal/event"
	"spoor/rules"
)

// collect keeps the events of real logs, each id once.
type collect struct {
	seen   map[string]bool
	events []*event.Event
}

func (c *collect) Event(e *event.Event) error {
	if id := e.ID(); id != "" && !c.seen[id] {
		c.seen[string([]byte(id))] = true
		c.events = append(c.events, e.Clone())
	}
	return nil
}
func (c *collect) Reject(event.Reject) error { return nil }
func (c *collect) Note(string)               {}
func (c *collect) Digest([]byte) error       { return nil }

func realEvents(t *testing.T, dirs ...string) []*event.Event {
	t.Helper()
	c := &collect{seen: map[string]bool{}}
	dec := event.NewDecoder(event.Limits{})
	for _, dir := range dirs {
		err := filepath.WalkDir(shared(t, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) == ".md" {
				return err
			}
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			// Files that are not logs lie beside the logs; what they hold is not asked here.
			_ = dec.Decode(t.Context(), path, f, c)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return c.events
}

// Over real logs, with every rule there is, the answer does not depend on order, shards or memory.
func TestSameAnswerOverRealLogs(t *testing.T) {
	t.Parallel()
	evs := realEvents(t, "data/cloudtrail/stratus-red-team", "data/cloudtrail/console-sessions", "data/cloudtrail/s3-layout", "data/cloudtrail/cloud-custodian")
	rs := mustLoad(t, Options{EnableDeprecated: true, Strict: true, Sources: []Source{{Name: "spoor", FS: rules.FS},
		{Path: shared(t, "rules/sigma/rules")}, {Path: shared(t, "rules/sigma/unsupported")}}})
	want := batchOf(t, rs, BatchOptions{}, 1, evs)
	if len(evs) < 300 || len(want.Findings) < 50 || len(want.Notes) != 0 {
		t.Errorf("%d events, %d findings, notes %q", len(evs), len(want.Findings), want.Notes)
	}
	t.Logf("%d events, %d findings, %d of %d rules fired", len(evs), len(want.Findings), want.Fired(), len(want.Rules))
	rng := rand.New(rand.NewPCG(9, 9))
	for _, opt := range []BatchOptions{{}, {Memory: 32 << 10}} {
		rng.Shuffle(len(evs), func(i, j int) { evs[i], evs[j] = evs[j], evs[i] })
		sameResults(t, "shuffled", want, batchOf(t, rs, opt, 3, evs))
	}
}
