package lineage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spoor/internal/event"
	"spoor/internal/source/sourcetest"
	"spoor/internal/store/segment"
)

// toSegments writes what a decoder reads as segments, each event once.
type toSegments struct {
	w    *segment.Writer
	seen map[string]bool
}

func (s *toSegments) Event(e *event.Event) error {
	if id := e.ID(); id != "" && s.seen[id] {
		return nil
	} else if id != "" {
		s.seen[strings.Clone(id)] = true
	}
	return s.w.Add(e, nil)
}
func (s *toSegments) Reject(event.Reject) error { return nil }
func (s *toSegments) Note(string)               {}
func (s *toSegments) Digest([]byte) error       { return nil }

// TestShared traces every key in real records at once, and counts against SQL.
func TestShared(t *testing.T) {
	t.Parallel()
	root := filepath.Join(sourcetest.Shared(t), "data", "cloudtrail")
	dir := t.TempDir()
	sink := &toSegments{segment.NewWriter(segment.Options{Dir: dir}), map[string]bool{}}
	dec := event.NewDecoder(event.Limits{})
	for _, folder := range []string{"stratus-red-team", "s3-layout", "panther-rule-tests", "aws-docs", "wrappers"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()                            //nolint:errcheck // only read
			_ = dec.Decode(t.Context(), path, f, sink) // not all files hold records
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	e := openEngine(t, dir, sink.w)
	tr, err := newTracer(t.Context(), e, Options{Sessions: 1000})
	if err != nil {
		t.Fatal(err)
	}
	count := func(sql string) map[string]int64 {
		rows, err := tr.rows("a count", sql, nil, mostRows)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]int64{}
		for _, r := range rows {
			out[r[0]] = number(r[1])
		}
		return out
	}
	used := count("SELECT accessKeyId, count(*) FROM events WHERE accessKeyId <> '' GROUP BY 1")
	given := count("SELECT " + mintedKey + " AS k, count(*) FROM events WHERE eventName IN (" + mintCalls + ") AND errorCode IS NULL AND k IS NOT NULL AND (k NOT LIKE 'AKIA%' OR eventName = 'CreateAccessKey') GROUP BY 1")
	if len(used) < 50 || len(given) < 5 {
		t.Fatalf("only %d keys used and %d given in the records", len(used), len(given))
	}
	var keys []string
	for k := range used {
		keys = append(keys, k)
	}
	for k := range given {
		if used[k] == 0 {
			keys = append(keys, k)
		}
	}
	targets, err := tr.keys("key", keys, len(keys))
	if err != nil {
		t.Fatal(err)
	}
	if len(targets) != len(keys) {
		t.Errorf("%d of %d keys were found", len(targets), len(keys))
	}
	r, err := tr.trace(targets)
	if err != nil {
		t.Fatal(err)
	}
	check(t, r)
	found, proven := map[string]bool{}, 0
	var walk func(n *Node)
	walk = func(n *Node) {
		if n.Key != "" {
			found[n.Key] = true
			if n.Kind != Bearer && n.Uses.Calls != used[n.Key] {
				t.Errorf("%s: %d calls, want %d", n.Key, n.Uses.Calls, used[n.Key])
			}
			if named := n.Origin.Certainty == Proven || n.Origin.Certainty == Ambiguous || n.Origin.Reason == ReasonCycle; given[n.Key] > 0 && !named {
				t.Errorf("%s is in an answer, but its origin is %+v", n.Key, n.Origin)
			}
			if n.Origin.Certainty == Proven {
				proven++
			}
		}
		for _, c := range n.Minted {
			walk(c)
		}
	}
	for _, n := range r.Roots {
		walk(n)
	}
	for _, k := range keys {
		if !found[k] {
			t.Errorf("%s is in no tree", k)
		}
	}
	if proven == 0 {
		t.Error("no link is proven")
	}
	t.Logf("%d keys, %d trees, %d proven", len(keys), len(r.Roots), proven)
}
