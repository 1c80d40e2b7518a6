package query_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"spoor/internal/journal"
	"spoor/internal/query"
	"spoor/internal/store"
	"spoor/internal/store/duckdb"
)

// TestLake asks event data stores of a store that has committed files and hot ones.
func TestLake(t *testing.T) {
	t.Parallel()
	const all, east, none = "a1b2c3d4-0000-4000-8000-000000000001", "a1b2c3d4-0000-4000-8000-000000000002", "a1b2c3d4-0000-4000-8000-000000000003"
	dir := filepath.Join(t.TempDir(), "store")
	s, err := store.Create(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(t.Context(), journal.Options{Dir: t.TempDir(), Followers: []string{store.FollowerName}})
	if err != nil {
		t.Fatal(err)
	}
	live, err := s.Follow(t.Context(), store.JournalFeed(j), store.LiveOptions{FlushRows: 1 << 40, MaxHotRows: 1 << 50, FlushInterval: 1000 * time.Hour, Publish: time.Millisecond, Grace: -1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- live.Run(ctx) }()
	e, err := query.Open(t.Context(), query.Options{Store: s, Dir: dir, TempDir: t.TempDir(), MaxRows: 5})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(e.Close(), <-done, live.Close(), s.Close(), j.Close()); err != nil {
			t.Error(err)
		}
	})
	add := func(day, n int) {
		t.Helper()
		var records []journal.Record
		for i := range n {
			records = append(records, journal.Record{Raw: fmt.Appendf(nil, `{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","accessKeyId":"AKIA%d"},"eventTime":"2026-01-%02dT10:00:%02dZ","eventSource":"s3.amazonaws.com","eventName":"E%d","awsRegion":%q,`+
				`"requestParameters":{"n":%d},"responseElements":null,"eventID":"00000000-0000-4000-8000-0000000%02d%03d","readOnly":true,"eventCategory":"Data","recipientAccountId":"111122223333"}`,
				i, day, i, i, []string{"us-east-1", "eu-west-1"}[i%2], i, day, i)})
		}
		seq, err := j.Append(t.Context(), records)
		if err != nil {
			t.Fatal(err)
		}
		if err := live.Wait(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	stores := []duckdb.DataStore{{ID: all}, {ID: east, Where: "awsRegion = " + duckdb.QuoteText("us-east-1")}}
	ask := func(sql string, stores []duckdb.DataStore) (rows []string, events, bytes int64, err error) {
		r, err := e.SQL(t.Context(), query.SQL{Query: sql, DataStores: stores})
		if err != nil {
			return nil, 0, 0, err
		}
		defer func() { err = errors.Join(err, r.Close()) }()
		events, bytes = r.Scanned()
		for {
			values, ok, err := r.Next()
			if err != nil || !ok {
				return rows, events, bytes, err
			}
			var row []string
			for _, v := range values {
				row = append(row, v.Text)
			}
			rows = append(rows, strings.Join(row, " "))
		}
	}
	check := func(when, sql, want string, scanned int64) {
		t.Helper()
		rows, events, bytes, err := ask(sql, stores)
		if err != nil || strings.Join(rows, ", ") != want || events != scanned || (bytes > 0) != (scanned > 0) {
			t.Errorf("%s: %s\ngot %q of %d events in %d bytes, %v; want %s of %d", when, sql, rows, events, bytes, err, want, scanned)
		}
	}
	add(5, 4)
	add(6, 6)
	const both = "SELECT (SELECT count(*) FROM " + all + "), (SELECT count(*) FROM " + east + ")"
	check("hot", both, "10 5", 10)
	if err := live.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("committed", both, "10 5", 10)
	add(7, 3)
	check("committed and hot", both, "13 7", 13)
	check("one day", "SELECT count(*) FROM "+all+" WHERE eventTime < '2026-01-06 00:00:00'", "4", 4)
	check("hot ones alone", "SELECT eventTime, eventName, element_at(requestParameters, 'n') FROM "+east+" WHERE eventTime > '2026-01-07 00:00:00' ORDER BY 1", "2026-01-07 10:00:00.000 E0 0, 2026-01-07 10:00:02.000 E2 2", 3)
	check("no day", "SELECT count(*) FROM "+all+" WHERE eventTime > now()", "0", 0)
	check("two days far apart", "SELECT count(*) FROM (SELECT eventTime FROM "+all+" WHERE eventTime < '2026-01-06 00:00:00' UNION ALL SELECT eventTime FROM "+east+" WHERE eventTime > '2026-01-07 00:00:00')", "6", 7)
	check("no store", "SELECT 1", "1", 0)
	check("more than MaxRows, and one", "SELECT 'x' FROM "+all, "x, x, x, x, x, x", 13)

	var refused *query.RefusedError
	if _, _, _, err := ask("SELECT 1 FROM "+none, stores); !errors.As(err, &refused) || refused.Line != 1 || refused.Column != 15 || !strings.Contains(refused.Reason, none) {
		t.Errorf("a store that is not there: %v", err)
	}
	if _, _, _, err := ask("SELECT 1 FROM events", stores); !errors.As(err, &refused) {
		t.Errorf("a table that is not there: %v", err)
	}
	if _, _, _, err := ask("SELECT 1 FROM "+all, []duckdb.DataStore{}); !errors.As(err, &refused) {
		t.Errorf("without stores: %v", err)
	}
	if _, err := e.SQL(t.Context(), query.SQL{Ready: "root", DataStores: stores}); !errors.Is(err, query.ErrInvalid) {
		t.Errorf("a ready query: %v", err)
	}
	// Other queries are as they were.
	if rows, _, _, err := ask("SELECT count(*) FROM events", nil); err != nil || !slices.Equal(rows, []string{"13"}) {
		t.Errorf("events: %q, %v", rows, err)
	}
}
