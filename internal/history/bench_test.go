//go:build unix

package history

import (
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"spoor/internal/store"
)

// TestBenchmark measures lookups over a store: SPOOR_HISTORY_STORE is its folder, SPOOR_HISTORY_INDEX that of indexes.
func TestBenchmark(t *testing.T) {
	dir := os.Getenv("SPOOR_HISTORY_STORE")
	if dir == "" {
		t.Skip("SPOOR_HISTORY_STORE names no store")
	}
	ctx := t.Context()
	s, err := store.Open(ctx, dir, store.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	into := os.Getenv("SPOOR_HISTORY_INDEX")
	if into == "" {
		into = t.TempDir()
	}
	h, err := New(Options{Store: s, Dir: into, Extended: true})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for {
		more, err := h.catchUp(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
	}
	t.Logf("indexes: %v", time.Since(begin))
	var cpu time.Duration
	ask := func(q Query) (Page, time.Duration) {
		begin, used := time.Now(), spent()
		p, err := h.Lookup(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		cpu += spent() - used
		return p, time.Since(begin)
	}
	account, region := os.Getenv("SPOOR_HISTORY_ACCOUNT"), "us-east-1"
	if account == "" {
		account = "111122223333"
	}
	values := map[Key][]string{}
	first, _ := ask(Query{Account: account, Region: region})
	if len(first.Events) == 0 {
		t.Fatal("nothing of this account")
	}
	counts := map[Attribute]int{}
	q := Query{Account: account, Region: region}
	for range 100 {
		p, _ := ask(q)
		for _, e := range p.Events {
			for _, a := range []Attribute{{AccessKeyID, e.AccessKeyID}, {EventID, e.ID}, {EventName, e.Name}, {EventSource, e.Source}, {ReadOnly, e.ReadOnly}, {Username, e.Username}} {
				counts[a]++
			}
			for _, r := range e.Resources {
				counts[Attribute{ResourceName, r.Name}]++
				counts[Attribute{ResourceType, r.Type}]++
			}
		}
		if q.Token = p.Next; q.Token == "" {
			break
		}
	}
	for a := range counts {
		if a.Value != "" {
			values[a.Key] = append(values[a.Key], a.Value)
		}
	}
	for _, key := range []Key{"", AccessKeyID, EventID, EventName, EventSource, ReadOnly, ResourceName, ResourceType, Username} {
		all := values[key]
		slices.SortFunc(all, func(a, b string) int { return counts[Attribute{key, b}] - counts[Attribute{key, a}] })
		var picks []string
		if len(all) > 0 {
			picks = []string{all[0], all[len(all)/2], all[len(all)-1]}
		}
		for _, v := range append(picks, "no such thing") {
			var times []time.Duration
			events := 0
			cpu = 0
			q := Query{Account: account, Region: region, Attributes: []Attribute{{key, v}}}
			if key == "" {
				q.Attributes = nil
			}
			for range 40 {
				p, d := ask(q)
				times = append(times, d)
				events += len(p.Events)
				q.Token = p.Next
			}
			slices.Sort(times)
			t.Logf("%-13s %-60.60s %5d events p50 %7.1f ms, max %7.1f ms, CPU %6.1f ms each", key, v, events, ms(times[len(times)/2]), ms(times[len(times)-1]), ms(cpu)/40)
		}
	}
}

// spent is the processor time of the process.
func spent() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
