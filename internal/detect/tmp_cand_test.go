package detect

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"testing"
	"time"

	"spoor/internal/event"
	"spoor/rules"
)

type candSink struct{ f func(*event.Event) }

func (c candSink) Event(e *event.Event) error        { c.f(e); return nil }
func (c candSink) Reject(event.Reject) error         { return nil }
func (c candSink) Note(string)                       {}
func (c candSink) Digest([]byte) error               { return nil }

func TestTmpCandidates(t *testing.T) {
	rs, _, err := Load(context.Background(), Options{Sources: []Source{{Name: "spoor", FS: rules.FS}}})
	if err != nil {
		t.Fatal(err)
	}
	eng := NewEngine(rs)
	w := eng.NewWorker()
	cand, hit := map[int32]int{}, map[int32]int{}
	dur := map[int32]time.Duration{}
	n, tot := 0, 0
	sink := candSink{func(e *event.Event) {
		n++
		if n%10 != 0 { return }
		for _, i := range w.match.Candidates(e) {
			cand[i]++
			tot++
			st := time.Now()
			for k := 0; k < 5; k++ { w.match.Context().Match(rs.rules[i].src.Expr) }
			dur[i] += time.Since(st)
			if w.match.Context().Match(rs.rules[i].src.Expr) {
				hit[i]++
			}
		}
	}}
	d := event.NewDecoder(event.Limits{})
	filepath.Walk("/tmp/s1/AWSLogs", func(p string, info os.FileInfo, err error) error {
		if err == nil && !info.IsDir() && n < 400000 {
			b, _ := os.ReadFile(p)
			d.Decode(context.Background(), p, bytes.NewReader(b), sink)
		}
		return nil
	})
	var ids []int32
	for i := range cand {
		ids = append(ids, i)
	}
	sort.Slice(ids, func(a, b int) bool { return dur[ids[a]] > dur[ids[b]] })
	fmt.Println("events", n/10, "candidates", tot)
	for _, i := range ids[:min(40, len(ids))] {
		fmt.Printf("%7.1f ns/event cand %6d hit %6d  %4.0f ns each  %s\n", float64(dur[i].Nanoseconds())/5/float64(n/10), cand[i], hit[i], float64(dur[i].Nanoseconds())/5/float64(cand[i]), rs.rules[i].info.Title)
	}
}
