package query_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"spoor/internal/event"
	"spoor/internal/query"
	"spoor/internal/sample"
	"spoor/internal/store"
)

// sampled is a store of the sample organisation's logs.
func sampled(t testing.TB, opts query.Options, events int) *asked {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "logs")
	if _, err := sample.Generate(t.Context(), sample.Options{Seed: 5, Events: events, Days: 2, Out: dir}); err != nil {
		t.Fatal(err)
	}
	return newAsked(t, opts, dir)
}

// values gives the values of a path in an event, each once, by the plain words of the documentation.
func values(e *event.Event, path string) []string {
	switch path {
	case "actor.name":
		return nonEmpty(e.Actor().Name)
	case "actor.kind":
		return nonEmpty(string(e.Actor().Kind))
	case "account":
		return nonEmpty(e.Account())
	case "service":
		s, _, _ := strings.Cut(e.Source(), ".")
		return nonEmpty(s)
	}
	var out []string
	e.Find(event.ParsePath(path), func(v event.Value) bool {
		switch v.Kind() {
		case event.Array:
			v.Elements(func(v event.Value) bool {
				if v.Kind() != event.Object {
					out = append(out, v.Text())
				}
				return true
			})
		case event.Null, event.Object:
		default:
			out = append(out, strings.ToValidUTF8(v.Text(), "\ufffd"))
		}
		return true
	})
	slices.Sort(out)
	return slices.Compact(out)
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// TestCounts compares with counting by hand.
func TestCounts(t *testing.T) {
	t.Parallel()
	plain, odd := oddRecords()
	for name, a := range map[string]*asked{
		"sample": sampled(t, query.Options{}, 3000),
		"odd":    newAsked(t, query.Options{}, writeLog(t, "plain.json", plain...), writeLog(t, "odd.json", odd...)),
	} {
		for _, terms := range [][]string{nil, {"eventName=*e*"}, {"readOnly=false"}, {"s3"}} {
			want := a.want(t, query.Newest, terms...)
			for _, field := range []string{"eventName", "readOnly", "actor.name", "actor.kind", "account", "service", "errorCode", "userIdentity.sessionContext.attributes.mfaAuthenticated", "requestParameters.a", "requestParameters.bucketName", "nothing"} {
				what := fmt.Sprintf("%s, %s of %q", name, field, terms)
				counts := map[string]int64{}
				expect := query.TopResult{Total: int64(len(want)), Damaged: []store.Damage{}}
				var all int64
				for _, e := range want {
					vs := values(e, field)
					for _, v := range vs {
						if len(v) > query.MaxText {
							v = v[:query.MaxText] // ASCII, here
						}
						counts[v]++
						all++
					}
					if len(vs) == 0 {
						expect.Missing++
					}
				}
				for v, n := range maps.All(counts) {
					expect.Values = append(expect.Values, query.Value{Value: v, Count: n})
				}
				slices.SortFunc(expect.Values, func(a, b query.Value) int {
					return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Value, b.Value))
				})
				expect.Values = expect.Values[:min(5, len(expect.Values))]
				expect.Others = all
				for _, v := range expect.Values {
					expect.Others -= v.Count
				}
				got, err := a.Top(t.Context(), query.Top{Filter: query.Filter{Terms: terms}, Field: field, Limit: 5})
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				if len(got.Values) == 0 {
					got.Values = expect.Values[:0]
				}
				if !reflect.DeepEqual(got, expect) {
					t.Errorf("%s:\n%+v\nwant\n%+v", what, got, expect)
				}
			}
			for _, by := range []string{"", "eventName", "readOnly", "requestParameters.bucketName"} {
				a.histogram(t, name, terms, by, want)
			}
		}
	}
}

// histogram compares a histogram with counting by hand.
func (a *asked) histogram(t *testing.T, name string, terms []string, by string, want []*event.Event) {
	t.Helper()
	const interval = 10 * time.Minute
	h, err := a.Histogram(t.Context(), query.Histogram{Filter: query.Filter{Terms: terms}, Interval: interval, By: by})
	if err != nil {
		t.Fatalf("%s, %q by %q: %v", name, terms, by, err)
	}
	counts := map[string]int64{}
	var untimed int64
	for _, e := range want {
		if e.Time == 0 {
			untimed++
			continue
		}
		from := e.When().Truncate(interval).Format(time.RFC3339)
		counts[from]++
		if by == "" {
			continue
		}
		at := -1
		for _, v := range values(e, by) {
			at = slices.IndexFunc(h.Values, func(have query.Value) bool { return have.Value == v })
			break
		}
		if at < 0 {
			counts[from+" others"]++
		} else {
			counts[from+" "+h.Values[at].Value]++
		}
	}
	got := map[string]int64{}
	var total int64
	for _, b := range h.Buckets {
		from := b.From.Format(time.RFC3339)
		got[from] = b.Count
		total += b.Count
		if b.Others > 0 {
			got[from+" others"] = b.Others
		}
		for i, n := range b.By {
			if n > 0 {
				got[from+" "+h.Values[i].Value] = n
			}
		}
	}
	if h.Interval != interval || h.Untimed != untimed || h.Total != total+untimed || !maps.Equal(got, counts) {
		t.Errorf("%s, %q by %q: %+v\ngot  %v\nwant %v", name, terms, by, h, got, counts)
	}
	if by != "" && len(h.Values) > query.MaxSeries {
		t.Errorf("%d values of %s", len(h.Values), by)
	}
}

// TestInterval chooses the length of buckets.
func TestInterval(t *testing.T) {
	t.Parallel()
	a := sampled(t, query.Options{}, 1000)
	for buckets, want := range map[int]time.Duration{48: time.Hour, 60: time.Hour, 10: 6 * time.Hour, 1: 7 * 24 * time.Hour} {
		h, err := a.Histogram(t.Context(), query.Histogram{Buckets: buckets})
		if err != nil || h.Interval != want || h.Total != int64(len(a.events)) {
			t.Errorf("%d buckets: %s, %d events, %v; want %s", buckets, h.Interval, h.Total, err, want)
		}
	}
	day := a.events[0].When().Truncate(time.Hour)
	h, err := a.Histogram(t.Context(), query.Histogram{Filter: query.Filter{Since: day.Add(-time.Hour), Until: day}})
	if err != nil || h.Interval != time.Minute || h.Total == 0 {
		t.Errorf("an hour: %+v, %v", h, err)
	}
}

// slow is a query that ends by being ended.
const slow = `SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE a.range % 7 = b.range % 5`

// TestEnds ends questions: by time, by their caller, and by too many others.
func TestEnds(t *testing.T) {
	t.Parallel()
	log := writeLog(t, "a.json", `{"eventVersion":"1.08","eventTime":"2026-01-05T09:00:00Z","eventSource":"s3.amazonaws.com","eventName":"A","eventID":"1"}`)
	a := newAsked(t, query.Options{Concurrent: 1, Wait: 50 * time.Millisecond, Threads: 1}, log)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := a.SQL(ctx, query.SQL{Query: slow})
		ended <- err
	}()
	for a.Stats().Running == 0 {
		time.Sleep(time.Millisecond)
	}
	var busy *query.BusyError
	if _, err := a.Search(t.Context(), query.Search{}); !errors.As(err, &busy) || busy.RetryAfter <= 0 {
		t.Errorf("with one that runs: %v", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := a.Search(ctx, query.Search{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	a.Configure(200*time.Millisecond, 10)
	if _, err := a.SQL(t.Context(), query.SQL{Query: slow}); !errors.Is(err, query.ErrTimeout) {
		t.Errorf("too long: %v", err)
	}
	a.Configure(time.Minute, 10)
	rows, err := a.SQL(t.Context(), query.SQL{Query: "SELECT * FROM range(100)"})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for {
		_, ok, err := rows.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		n++
	}
	if a.Stats().Running != 1 {
		t.Error("a question has no place while its rows are read")
	}
	if err := rows.Close(); err != nil || n != 11 || rows.Limit != 10 {
		t.Errorf("%d rows, limit %d, %v", n, rows.Limit, err)
	}
	if s := a.Stats(); s.Running != 0 || s.Waiting != 0 || s.Refused != 1 {
		t.Errorf("afterwards: %+v", s)
	}
}

// TestTogether asks at once while files are merged and let go of.
func TestTogether(t *testing.T) {
	t.Parallel()
	a := sampled(t, query.Options{Concurrent: 3, Wait: time.Minute, Threads: 2}, 2000)
	want := int64(len(a.events))
	id := a.events[7].ID()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 4 {
				if h, err := a.Histogram(t.Context(), query.Histogram{}); err != nil || h.Total != want || len(h.Damaged) > 0 {
					t.Errorf("histogram: %d events, damaged %v, %v", h.Total, h.Damaged, err)
				}
				if e, _, err := a.Event(t.Context(), id); err != nil || e.ID != id {
					t.Errorf("event: %+v, %v", e.ID, err)
				}
				if rows, err := a.SQL(t.Context(), query.SQL{Query: "SELECT count(*) FROM events"}); err != nil {
					t.Errorf("SQL: %v", err)
				} else {
					row, _, err := rows.Next()
					if err != nil || row[0].Text != fmt.Sprint(want) {
						t.Errorf("SQL: %v, %v", row, err)
					}
					if err := rows.Close(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Go(func() {
		for range 2 {
			if _, err := a.store.Compact(t.Context(), store.CompactOptions{}); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
}

// TestDamaged answers without a file that is not as it was written, and says so.
func TestDamaged(t *testing.T) {
	t.Parallel()
	plain, _ := oddRecords()
	const good = `{"eventVersion":"1.08","eventTime":"2026-02-05T09:00:00Z","eventSource":"s3.amazonaws.com","eventName":"Good","eventID":"good"}`
	a := newAsked(t, query.Options{}, writeLog(t, "plain.json", plain...), writeLog(t, "good.json", good))
	plan, err := a.store.Plan(t.Context(), store.Filter{Until: time.Date(2026, 1, 6, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	plan.Release()
	for _, f := range plan.Files {
		if f.MinTime.IsZero() {
			continue
		}
		// Its length and its footer are as they were.
		data, err := os.ReadFile(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		for i := 4; i < len(data)/3; i++ {
			data[i] ^= 0x55
		}
		if err := os.WriteFile(f.Path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, ask := range map[string]func() (int, []store.Damage, error){
		"search": func() (int, []store.Damage, error) {
			p, err := a.Search(t.Context(), query.Search{Filter: query.Filter{Terms: []string{"eventSource=s3*"}}})
			return len(p.Events), p.Damaged, err
		},
		"top": func() (int, []store.Damage, error) {
			p, err := a.Top(t.Context(), query.Top{Field: "eventName", Filter: query.Filter{Terms: []string{"eventSource=s3*"}}})
			return int(p.Total), p.Damaged, err
		},
		"event": func() (int, []store.Damage, error) {
			_, damaged, err := a.Event(t.Context(), "good")
			return 1, damaged, err
		},
	} {
		n, damaged, err := ask()
		if err != nil || n != 1 || name != "event" && len(damaged) == 0 {
			t.Errorf("%s: %d, %v, %v", name, n, damaged, err)
		}
	}
}

// TestFields are what people choose from.
func TestFields(t *testing.T) {
	t.Parallel()
	seen := map[string]query.Field{}
	for _, f := range query.Fields() {
		if _, twice := seen[f.Path]; twice || f.Doc == "" || f.Type == "" {
			t.Errorf("%+v", f)
		}
		seen[f.Path] = f
	}
	for path, want := range map[string]bool{"eventName": true, "userIdentity.arn": true, "readOnly": true, "requestParameters": false, "actor.name": true} {
		if f, ok := seen[path]; !ok || f.Countable != want {
			t.Errorf("%s: %+v", path, f)
		}
	}
}
