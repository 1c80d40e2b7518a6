package dedup

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"spoor/internal/event"
)

func ev(t testing.TB, id, name string) *event.Event {
	t.Helper()
	idField := ""
	if id != "" {
		idField = fmt.Sprintf(`"eventID":%q,`, id)
	}
	e, err := event.Parse(fmt.Appendf(nil, `{"eventTime":"2026-01-10T09:12:41Z","eventSource":"iam.amazonaws.com",%s"eventName":%q}`, idField, name))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func add(s *Set, e *event.Event) (Verdict, error) {
	k := KeyOf(e)
	s.Ahead(k)
	return s.Add(k, e.Time)
}

func randomID(r *rand.Rand) string {
	a, b := r.Uint64(), r.Uint64()
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", a>>32, a>>16&0xffff, a&0xffff, b>>48, b&0xffffffffffff)
}

// TestAgainstMap offers random events with repeats and conflicts, in memory and spilled, and compares with a plain map.
func TestAgainstMap(t *testing.T) {
	t.Parallel()
	for _, inMemory := range []int{0, 160, 16000} {
		t.Run(fmt.Sprint(inMemory), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := New(Options{Dir: dir, InMemory: inMemory})
			r := rand.New(rand.NewPCG(1, 2))
			type pair struct{ id, name string }
			seen := map[pair]bool{}
			ids := map[string]bool{}
			var offered []pair
			for range 20000 {
				p := pair{randomID(r), "A"}
				switch r.IntN(6) {
				case 0, 1:
					if len(offered) > 0 {
						p = offered[r.IntN(len(offered))]
					}
				case 2:
					if len(offered) > 0 {
						p = pair{offered[r.IntN(len(offered))].id, fmt.Sprintf("B%d", r.IntN(3))}
					}
				case 3:
					p.id = fmt.Sprintf("EXAMPLE-%d", r.IntN(3000))
				}
				offered = append(offered, p)
				want := First
				switch {
				case seen[p]:
					want = Duplicate
				case ids[p.id]:
					want = Conflict
				}
				seen[p], ids[p.id] = true, true
				got, err := add(s, ev(t, p.id, p.name))
				if err != nil || got != want {
					t.Fatalf("%v: %d, %v, want %d", p, got, err, want)
				}
			}
			if inMemory == 160 {
				if files, _ := os.ReadDir(dir); len(files) != 1 {
					t.Errorf("nothing was spilled: %v", files)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if files, _ := os.ReadDir(dir); len(files) != 0 {
				t.Errorf("left behind: %v", files)
			}
		})
	}
}

func TestWithoutEventID(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	for i, want := range []Verdict{First, Duplicate, First} {
		name := "A"
		if i == 2 {
			name = "B"
		}
		if got, err := add(s, ev(t, "", name)); got != want || err != nil {
			t.Errorf("%d: %d %v", i, got, err)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	s := New(Options{Dir: b.TempDir()})
	r := rand.New(rand.NewPCG(1, 2))
	events := make([]*event.Event, 100000)
	for i := range events {
		events[i] = ev(b, randomID(r), "A")
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := add(s, events[i%len(events)]); err != nil {
			b.Fatal(err)
		}
	}
}
