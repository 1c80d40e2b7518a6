package lakequery_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"spoor/internal/intake"
	"spoor/internal/lake"
	"spoor/internal/lakequery"
	"spoor/internal/query"
	"spoor/internal/sample"
	"spoor/internal/source"
	"spoor/internal/source/open"
	"spoor/internal/store"
	"spoor/internal/store/duckdb"
)

const (
	account = "111122223333"
	region  = "eu-west-1"
	storeID = "a1b2c3d4-0000-4000-8000-00000000abcd"
)

var owner = lakequery.Owner{Account: account, Region: region}

// everything is a store that has all events.
type everything struct{}

func (everything) DataStores(_ context.Context, _, _ string, ids []string) (out []duckdb.DataStore, err error) {
	for _, id := range ids {
		if id != storeID {
			return nil, &lake.NotFoundError{ID: id}
		}
		out = append(out, duckdb.DataStore{ID: id})
	}
	return out, nil
}

// newEngine is an engine over a store of made events, which lies in the folder.
func newEngine(t testing.TB, events int) (e *query.Engine, dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "store")
	s, err := store.Create(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if events > 0 {
		logs := t.TempDir()
		if _, err := sample.Generate(t.Context(), sample.Options{Events: events, Out: logs, OneFile: true, Days: 3}); err != nil {
			t.Fatal(err)
		}
		src, err := open.Resolve(t.Context(), logs, open.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Ingest(t.Context(), store.IngestOptions{Intake: intake.Options{Sources: []source.Source{src}, Named: []string{logs}, Workers: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	if e, err = query.Open(t.Context(), query.Options{Store: s, Dir: dir, TempDir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e, dir
}

func newManager(t testing.TB, o lakequery.Options) *lakequery.Manager {
	t.Helper()
	m, err := lakequery.Open(t.Context(), filepath.Join(t.TempDir(), "queries"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return m
}

// directly asks the engine, as somebody does who waits.
func directly(t testing.TB, e *query.Engine, sql string) (rows [][]duckdb.Value) {
	t.Helper()
	r, err := e.SQL(t.Context(), query.SQL{Query: sql, DataStores: []duckdb.DataStore{{ID: storeID}}})
	if err != nil {
		t.Fatal(err)
	}
	for {
		row, ok, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		rows = append(rows, slices.Clone(row))
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// byQuery starts a query and asks for its rows until they are there.
func byQuery(t testing.TB, m *lakequery.Manager, sql string) (rows [][]duckdb.Value) {
	t.Helper()
	q, err := m.Start(t.Context(), lakequery.Spec{Owner: owner, Statement: sql})
	if err != nil {
		t.Fatal(err)
	}
	for token := ""; ; {
		p, err := m.Results(t.Context(), owner, q.ID, 0, token)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case !p.Query.Status.Ended():
			time.Sleep(100 * time.Microsecond) // somebody polls
			continue
		case p.Query.Status != lakequery.Finished:
			t.Fatalf("%+v", p.Query)
		}
		rows = append(rows, p.Rows...)
		if token = p.Next; token == "" {
			return rows
		}
	}
}

var asked = []struct{ name, sql string }{
	{"count", "SELECT count(*) AS n FROM " + storeID},
	{"group", "SELECT eventSource, eventName, count(*) AS n FROM " + storeID + " GROUP BY eventSource, eventName ORDER BY n DESC, eventSource, eventName LIMIT 50"},
	{"rows", "SELECT eventTime, eventID, eventName, userIdentity.arn, sourceIPAddress, errorCode FROM " + storeID + " ORDER BY eventTime, eventID LIMIT 1000"},
	{"struct", "SELECT userIdentity, requestParameters, resources FROM " + storeID + " WHERE requestParameters IS NOT NULL ORDER BY eventTime, eventID LIMIT 100"},
}

// TestSameAsDirectly asks an engine both ways.
func TestSameAsDirectly(t *testing.T) {
	t.Parallel()
	e, _ := newEngine(t, 3000)
	m := newManager(t, lakequery.Options{Engine: lakequery.Over(e), Tables: everything{}})
	for _, c := range append(asked, struct{ name, sql string }{"all", "SELECT * FROM " + storeID + " ORDER BY eventTime, eventID"}) {
		want, got := directly(t, e, c.sql), byQuery(t, m, c.sql)
		if len(want) == 0 || !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%s: %d rows, directly %d", c.name, len(got), len(want))
		}
	}
	list, _, err := m.List(t.Context(), lakequery.Filter{Owner: owner, Store: storeID})
	if err != nil || len(list) != len(asked)+1 {
		t.Fatalf("%d queries, %v", len(list), err)
	}
	for _, q := range list {
		if q.Scanned != 3000 || q.Bytes < 10_000 || q.Rows == 0 {
			t.Errorf("%+v", q)
		}
	}
	for _, c := range []struct{ sql, want string }{
		{"SELECT eventNam FROM " + storeID, `line 1:8: `},
		{"SELECT count(*)\nFORM " + storeID, `line 2:`},
		{"SELECT count(*) FROM " + storeID + " WHERE nosuch(eventName)", `line 1:65: `},
		{"DROP TABLE " + storeID, `line 1:1: `},
		{"SELECT count(*) FROM " + storeID + "; SELECT 1", `line 1:`},
		{"SELECT count(*) FROM events, " + storeID, `line 1:22: `},
		{"SELECT * FROM read_parquet('/etc/passwd'), " + storeID, `line 1:15: `},
	} {
		_, err := m.Start(t.Context(), lakequery.Spec{Owner: owner, Statement: c.sql})
		if s, ok := err.(*lakequery.StatementError); !ok || len(s.Error()) < len(c.want) || s.Error()[:len(c.want)] != c.want {
			t.Errorf("%s: %v\nwant %s", c.sql, err, c.want)
		}
	}
	// One that can only fail when it runs.
	q, err := m.Start(t.Context(), lakequery.Spec{Owner: owner, Statement: "SELECT CAST(eventName AS bigint) FROM " + storeID})
	if err != nil {
		t.Fatal(err)
	}
	for !q.Status.Ended() {
		time.Sleep(time.Millisecond)
		if q, err = m.Describe(t.Context(), owner, q.ID); err != nil {
			t.Fatal(err)
		}
	}
	if q.Status != lakequery.Failed || q.Error == "" {
		t.Errorf("%+v", q)
	}
}

// TestCancelEndsTheEngine ends a question that would take for ever.
func TestCancelEndsTheEngine(t *testing.T) {
	t.Parallel()
	e, _ := newEngine(t, 3000)
	m := newManager(t, lakequery.Options{Engine: lakequery.Over(e), Tables: everything{}})
	q, err := m.Start(t.Context(), lakequery.Spec{Owner: owner, Statement: fmt.Sprintf("SELECT count(*) FROM %s a, %[1]s b, %[1]s c, %[1]s d WHERE a.eventID <> b.eventName AND c.eventID < d.eventID", storeID)})
	if err != nil {
		t.Fatal(err)
	}
	for e.Stats().Running == 0 {
		time.Sleep(time.Millisecond)
	}
	got, err := m.Cancel(t.Context(), owner, q.ID)
	if err != nil || got.Status != lakequery.Cancelled || e.Stats().Running != 0 {
		t.Errorf("%+v, %v, %+v", got, err, e.Stats())
	}
	if got.Took > 20*time.Second {
		t.Errorf("it took %s", got.Took)
	}
}

// BenchmarkQuery is from the start of a query until its rows were read, beside the same SQL asked of the engine.
func BenchmarkQuery(b *testing.B) {
	e, _ := newEngine(b, 100_000)
	m := newManager(b, lakequery.Options{Engine: lakequery.Over(e), Tables: everything{}})
	for _, c := range asked {
		var with, without []time.Duration
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				began := time.Now()
				directly(b, e, c.sql)
				between := time.Now()
				byQuery(b, m, c.sql)
				without = append(without, between.Sub(began))
				with = append(with, time.Since(between))
			}
			slices.Sort(with)
			slices.Sort(without)
			ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
			b.ReportMetric(ms(without[len(without)/2]), "direct-ms")
			b.ReportMetric(ms(with[len(with)/2]), "query-ms")
			b.ReportMetric(ms(with[len(with)/2]-without[len(without)/2]), "more-ms")
		})
	}
}
