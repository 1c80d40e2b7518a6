package lakequery

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"spoor/internal/durable"
	"spoor/internal/lake"
	"spoor/internal/query"
	"spoor/internal/store"
	"spoor/internal/store/duckdb"
)

const (
	storeA = "aaaaaaaa-1111-4222-8333-444444444444"
	storeB = "bbbbbbbb-1111-4222-8333-444444444444"
	asleep = "cccccccc-1111-4222-8333-444444444444"
)

var (
	mine   = Owner{"111122223333", "eu-west-1"}
	theirs = Owner{"444455556666", "eu-west-1"}
	there  = Owner{"111122223333", "us-east-1"}
)

// tables has two stores, and one that sleeps.
type tables struct{}

func (tables) DataStores(_ context.Context, account, _ string, ids []string) (out []duckdb.DataStore, err error) {
	for _, id := range ids {
		switch id {
		case storeA, storeB, lake.BuiltInID(account):
			if id == lake.BuiltInID(mine.Account) {
				out = append(out, duckdb.DataStore{ID: id})
				continue
			}
			out = append(out, duckdb.DataStore{ID: id, Where: "account = " + duckdb.QuoteText(account)})
		case asleep:
			return nil, fmt.Errorf("event data store %s: %w", id, lake.ErrInactive)
		default:
			return nil, &lake.NotFoundError{ID: id}
		}
	}
	return out, nil
}

// script is an engine that does what the statement says: "rows 5", "wait", "fail", "broken", "busy", "slow rows 5".
type script struct {
	mu      sync.Mutex
	asked   []query.SQL
	running atomic.Int64
	most    atomic.Int64
	busy    int // so many times more
	release chan struct{}
}

func (s *script) Check(_ context.Context, q query.SQL) error {
	if strings.Contains(q.Query, "no sql") {
		return fmt.Errorf("%w: the query is not SQL: syntax error at or near \"sql\"", query.ErrInvalid)
	}
	if strings.Contains(q.Query, "DELETE") {
		return &query.RefusedError{Reason: "only SELECT can be asked"}
	}
	if strings.Contains(q.Query, "check fails") {
		return errors.New("the engine is broken")
	}
	return nil
}

func (s *script) SQL(ctx context.Context, q query.SQL) (Rows, error) {
	if err := s.Check(ctx, q); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.asked = append(s.asked, q)
	if strings.Contains(q.Query, "busy") && s.busy > 0 {
		s.busy--
		s.mu.Unlock()
		return nil, &query.BusyError{RetryAfter: 5 * time.Second}
	}
	s.mu.Unlock()
	if q.Accepted != nil {
		q.Accepted()
	}
	n := s.running.Add(1)
	for m := s.most.Load(); n > m && !s.most.CompareAndSwap(m, n); m = s.most.Load() {
	}
	var count int
	if _, rest, ok := strings.Cut(q.Query, "rows "); ok {
		if _, err := fmt.Sscanf(rest, "%d", &count); err != nil {
			return nil, err
		}
	}
	switch {
	case strings.Contains(q.Query, "wait"):
		defer s.running.Add(-1)
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the query was ended: %w", ctx.Err())
		case <-s.release:
		}
	case strings.Contains(q.Query, "fail"):
		s.running.Add(-1)
		return nil, fmt.Errorf("%w: Conversion Error: Could not convert string\n\nLINE 1: SELECT …", query.ErrInvalid)
	}
	return &scriptRows{s: s, left: count, q: q.Query}, nil
}

type scriptRows struct {
	s    *script
	left int
	n    int
	q    string
}

func (r *scriptRows) Columns() []duckdb.Column {
	return []duckdb.Column{{Name: "n", Kind: duckdb.Number}, {Name: "at", Type: "TIMESTAMP", Kind: duckdb.Time}, {Name: "none"}}
}

func (r *scriptRows) Next() ([]duckdb.Value, bool, error) {
	if strings.Contains(r.q, "broken") && r.n == 3 {
		return nil, false, errors.New("a file could not be read")
	}
	if strings.Contains(r.q, "slow") {
		time.Sleep(time.Minute)
	}
	if r.left == r.n {
		return nil, false, nil
	}
	r.n++
	filler := ""
	if strings.Contains(r.q, "large") {
		b := make([]byte, 2500)
		random := rand.New(rand.NewPCG(uint64(r.n), 1))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		filler = hex.EncodeToString(b)
	}
	return []duckdb.Value{{Text: fmt.Sprint(r.n, filler)}, {Text: "2026-01-10 09:12:41"}, {Null: true}}, true, nil
}

func (r *scriptRows) Scanned() (int64, int64) { return 1000, 1 << 20 }

func (r *scriptRows) Damaged() []store.Damage {
	if strings.Contains(r.q, "damaged") {
		return []store.Damage{{File: "2026-01-10/a.parquet"}}
	}
	return nil
}

func (r *scriptRows) Close() error { r.s.running.Add(-1); return nil }

func open(t testing.TB, dir string, change ...func(*Options)) (*Manager, *script) {
	t.Helper()
	s := &script{release: make(chan struct{})}
	o := Options{Engine: s, Tables: tables{}}
	for _, c := range change {
		c(&o)
	}
	m, err := Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return m, s
}

func ask(t testing.TB, m *Manager, o Owner, what string) Query {
	t.Helper()
	q, err := m.Start(t.Context(), Spec{Owner: o, By: "arn:aws:iam::111122223333:user/ana", Statement: "SELECT '" + what + "' FROM " + storeA})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return q
}

// wait gives a query when it has ended.
func wait(t testing.TB, m *Manager, q Query) Query {
	t.Helper()
	m.mu.Lock()
	e := m.byID[q.ID]
	m.mu.Unlock()
	if e == nil {
		t.Fatalf("the query %s is not there", q.ID)
	}
	<-e.done
	out, err := m.Describe(t.Context(), q.Owner, q.ID)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func status(t testing.TB, m *Manager, q Query) Status {
	t.Helper()
	out, err := m.Describe(t.Context(), q.Owner, q.ID)
	if err != nil {
		t.Fatal(err)
	}
	return out.Status
}

func TestQueryEnds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m, _ := open(t, dir)
	var all []Query
	for _, c := range []struct {
		what   string
		status Status
		error  string
		rows   int64
	}{
		{"rows 0", Finished, "", 0},
		{"rows 5", Finished, "", 5},
		{"rows 2500", Finished, "", 2500},
		{"damaged rows 5", Finished, "1 damaged files were left out, so that events may be missing: 2026-01-10/a.parquet", 5},
		{"fail", Failed, "Conversion Error: Could not convert string", 0},
		{"broken rows 5", Failed, "a file could not be read", 0},
	} {
		q := ask(t, m, mine, c.what)
		if q.Status != Queued && q.Status != Running {
			t.Errorf("%s: started as %s", c.what, q.Status)
		}
		got := wait(t, m, q)
		if got.Status != c.status || got.Error != c.error || got.Rows != c.rows || got.Statement != q.Statement || !got.Created.Equal(q.Created) || got.By != q.By {
			t.Errorf("%s: %+v", c.what, got)
		}
		if c.status == Finished && (got.Scanned != 1000 || got.Bytes != 1<<20) {
			t.Errorf("%s: scanned %d, %d bytes", c.what, got.Scanned, got.Bytes)
		}
		all = append(all, got)
	}
	// All is the same when the folder is opened again.
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	m, _ = open(t, dir)
	for _, want := range all {
		got, err := m.Describe(t.Context(), mine, want.ID)
		got.Took, want.Took = got.Took.Truncate(time.Millisecond), want.Took.Truncate(time.Millisecond)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("again: %+v, %v\nwant %+v", got, err, want)
		}
	}
	p, err := m.Results(t.Context(), mine, all[2].ID, 0, "")
	if err != nil || len(p.Rows) != MaxPage || !slices.Equal(p.Columns, []string{"n", "at", "none"}) ||
		!slices.Equal(p.Rows[9], []duckdb.Value{{Text: "10"}, {Text: "2026-01-10 09:12:41"}, {Null: true}}) {
		t.Errorf("%d rows, %v, %v", len(p.Rows), p.Columns, err)
	}
}

func TestQueryRefused(t *testing.T) {
	t.Parallel()
	m, s := open(t, t.TempDir())
	for _, c := range []struct {
		spec Spec
		want string
		as   any
	}{
		{Spec{Statement: "SELECT 1"}, "no event data store is named by its id in FROM", new(*StatementError)},
		{Spec{Statement: "SELECT eventName\n  FROM " + storeA + " AS a JOIN dddddddd-1111-4222-8333-444444444444 AS d ON true"},
			"line 2:55: there is no event data store dddddddd-1111-4222-8333-444444444444", new(*StatementError)},
		{Spec{Statement: "SELECT no sql FROM " + storeA}, "line 1:11: the query is not SQL: syntax error at or near \"sql\"", new(*StatementError)},
		{Spec{Statement: "DELETE FROM " + storeA}, "only SELECT can be asked", new(*StatementError)},
		{Spec{Statement: "SELECT 'open FROM " + storeA}, "", new(*StatementError)},
		{Spec{Statement: "SELECT '" + strings.Repeat("ä", MaxStatement) + "' FROM " + storeA}, "the statement has more than 10000 characters, or is no UTF-8", new(*StatementError)},
		{Spec{Statement: "SELECT 1 FROM " + asleep}, "event data store " + asleep + ": the event data store is not active", nil},
		{Spec{Statement: "SELECT 'check fails' FROM " + storeA}, "the engine is broken", nil},
		{Spec{Alias: "no-such"}, "there is no query with the alias no-such", new(*ParameterError)},
		{Spec{Alias: "key"}, "the query key needs the parameter key: an access key id, such as AKIA… or ASIA…", new(*ParameterError)},
		{Spec{Alias: "key", Params: []string{"a", "b"}}, "the query key has 1 parameters, and 2 were given", new(*ParameterError)},
		{Spec{Alias: "key", Params: []string{"a", "key=b"}}, "the parameter key of the query key is given twice", new(*ParameterError)},
	} {
		c.spec.Owner = mine
		_, err := m.Start(t.Context(), c.spec)
		if err == nil || c.want != "" && err.Error() != c.want || c.as != nil && !errors.As(err, c.as) {
			t.Errorf("%.80q: %v\nwant %s", c.spec, err, c.want)
		}
	}
	if _, err := m.Start(t.Context(), Spec{Owner: mine, Statement: "SELECT 1 FROM " + asleep}); !errors.Is(err, lake.ErrInactive) {
		t.Errorf("a store that sleeps: %v", err)
	}
	if len(s.asked) > 0 || m.Stats().Kept != 0 || len(m.active) != 0 {
		t.Errorf("asked %v, %+v, active %v", s.asked, m.Stats(), m.active)
	}
	if files, err := filepath.Glob(filepath.Join(m.dir, "*"+suffix)); len(files) > 0 || err != nil {
		t.Errorf("files %v, %v", files, err)
	}
}

func TestQueryByAlias(t *testing.T) {
	t.Parallel()
	m, s := open(t, t.TempDir())
	if _, err := m.Latest(t.Context(), mine, "key"); !errors.Is(err, ErrNotFound) {
		t.Errorf("before: %v", err)
	}
	for _, params := range [][]string{{"AKIA=1"}, {"key=AKIA=1"}} {
		q, err := m.Start(t.Context(), Spec{Owner: mine, Alias: "KEY", Params: params})
		if err != nil {
			t.Fatal(err)
		}
		wait(t, m, q)
		sql := s.asked[len(s.asked)-1]
		if sql.Ready != "key" || sql.Params["key"] != "AKIA=1" || sql.Accounts != nil || sql.DataStores != nil {
			t.Errorf("asked %+v", sql)
		}
		if list, _, err := m.List(t.Context(), Filter{Owner: mine, Store: lake.BuiltInID(mine.Account), Limit: 1}); err != nil || len(list) != 1 || list[0].ID != q.ID {
			t.Errorf("%+v, %v", list, err)
		}
		if got, err := m.Latest(t.Context(), mine, "key"); err != nil || got.ID != q.ID || !strings.Contains(got.Statement, "FROM events") {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if _, err := m.Latest(t.Context(), theirs, "key"); !errors.Is(err, ErrNotFound) {
		t.Errorf("of others: %v", err)
	}
	// Whose store has their own events alone sees no others.
	q, err := m.Start(t.Context(), Spec{Owner: theirs, Alias: "root"})
	if err != nil {
		t.Fatal(err)
	}
	wait(t, m, q)
	if sql := s.asked[len(s.asked)-1]; !slices.Equal(sql.Accounts, []string{theirs.Account}) {
		t.Errorf("asked %+v", sql)
	}
}

func TestQueriesAreOfTheirOwners(t *testing.T) {
	t.Parallel()
	m, s := open(t, t.TempDir())
	q := ask(t, m, mine, "rows 5")
	wait(t, m, q)
	if d := s.asked[0].DataStores; len(d) != 1 || d[0].Where != "account = '111122223333'" || !s.asked[0].Whole || s.asked[0].Timeout != DefaultTimeout {
		t.Errorf("asked %+v", s.asked[0])
	}
	p, err := m.Results(t.Context(), mine, q.ID, 2, "")
	if err != nil || p.Next == "" {
		t.Fatalf("%+v, %v", p, err)
	}
	for _, o := range []Owner{theirs, there, {}} {
		_, err1 := m.Describe(t.Context(), o, q.ID)
		_, err2 := m.Results(t.Context(), o, q.ID, 2, "")
		_, err3 := m.Results(t.Context(), o, q.ID, 2, p.Next)
		_, err4 := m.Cancel(t.Context(), o, q.ID)
		list, _, err5 := m.List(t.Context(), Filter{Owner: o})
		for i, err := range []error{err1, err2, err3, err4} {
			if !errors.Is(err, ErrNotFound) {
				t.Errorf("%v, %d: %v", o, i, err)
			}
		}
		if len(list) > 0 || err5 != nil || m.Stores(o, q.ID) != nil {
			t.Errorf("%v: %v, %v, %v", o, list, err5, m.Stores(o, q.ID))
		}
	}
	if got := m.Stores(mine, q.ID); !slices.Equal(got, []string{storeA}) {
		t.Errorf("stores %v", got)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m, _ := open(t, dir)
	q := ask(t, m, mine, "rows 2345")
	other := ask(t, m, mine, "rows 2345")
	wait(t, m, q)
	wait(t, m, other)
	var tokens []string
	token, n := "", 0
	for pages := 1; ; pages++ {
		limit := 100
		if pages%2 == 0 {
			limit = 0 // with a token, its own
		}
		p, err := m.Results(t.Context(), mine, q.ID, limit, token)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range p.Rows {
			if n++; r[0].Text != fmt.Sprint(n) {
				t.Fatalf("row %d is %s", n, r[0].Text)
			}
		}
		if p.Query.Rows != 2345 {
			t.Errorf("%d rows in all", p.Query.Rows)
		}
		if token = p.Next; token == "" {
			if pages != 24 || n != 2345 {
				t.Errorf("%d pages, %d rows", pages, n)
			}
			break
		}
		if len(token) < 4 || len(token) > 1000 {
			t.Errorf("the token has %d characters", len(token))
		}
		tokens = append(tokens, token)
	}
	bad := func(what string, id string, limit int, token string) {
		t.Helper()
		if _, err := m.Results(t.Context(), mine, id, limit, token); !errors.Is(err, ErrToken) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range tokens[0] {
		for _, c := range "AQgw_-=9" {
			if token := tokens[0][:i] + string(c) + tokens[0][i+1:]; token != tokens[0] {
				bad("a changed token", q.ID, 0, token)
			}
		}
	}
	bad("another size", q.ID, 99, tokens[0])
	bad("another query", other.ID, 100, tokens[0])
	bad("cut", q.ID, 100, tokens[0][:len(tokens[0])-4])
	bad("longer", q.ID, 100, tokens[0]+"AAAA")
	bad("none", q.ID, 100, "AAAA")
	list, next, err := m.List(t.Context(), Filter{Owner: mine, Limit: 1})
	if err != nil || len(list) != 1 || next == "" {
		t.Fatalf("%v, %q, %v", list, next, err)
	}
	bad("of a list", q.ID, 0, next)
	if _, _, err := m.List(t.Context(), Filter{Owner: mine, Token: tokens[0]}); !errors.Is(err, ErrToken) {
		t.Errorf("of rows: %v", err)
	}
	// Tokens count after a restart, too.
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	m, _ = open(t, dir)
	if p, err := m.Results(t.Context(), mine, q.ID, 100, tokens[2]); err != nil || p.Rows[0][0].Text != "301" {
		t.Errorf("%v, %v", p.Rows, err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, s := open(t, t.TempDir())
		began := time.Now()
		var all []Query
		for i := range 25 {
			what := "rows 1"
			if i%5 == 0 {
				what = "fail"
			}
			q := ask(t, m, mine, what)
			wait(t, m, q)
			all = append(all, q)
			time.Sleep(time.Minute)
		}
		q, err := m.Start(t.Context(), Spec{Owner: mine, Statement: "SELECT 'wait' FROM " + storeB + " JOIN " + storeA + " ON true"})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, q)
		at := func(i int) time.Time { return began.Add(time.Duration(i) * time.Minute).Truncate(time.Millisecond) }
		for _, c := range []struct {
			f    Filter
			want []int
		}{
			{Filter{Store: storeA, Limit: 7}, []int{25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}},
			{Filter{Store: storeB}, []int{25}},
			{Filter{Store: asleep}, nil},
			{Filter{Status: Failed, Limit: 2}, []int{20, 15, 10, 5, 0}},
			{Filter{Status: Running}, []int{25}},
			{Filter{Status: Finished, Since: at(7), Until: at(11)}, []int{11, 9, 8, 7}},
			{Filter{Since: at(24).Add(time.Second)}, []int{25}},
			{Filter{Until: at(0), Limit: 1}, []int{0}},
		} {
			var got []string
			c.f.Owner = mine
			for {
				page, next, err := m.List(t.Context(), c.f)
				if err != nil {
					t.Fatal(err)
				}
				if c.f.Limit > 0 && len(page) > c.f.Limit {
					t.Errorf("%+v: %d in a page", c.f, len(page))
				}
				for _, q := range page {
					got = append(got, q.ID)
				}
				if next == "" {
					break
				}
				changed := c.f
				changed.Token, changed.Status = next, Cancelled
				if _, _, err := m.List(t.Context(), changed); !errors.Is(err, ErrToken) {
					t.Errorf("a token with another filter: %v", err)
				}
				changed = c.f
				changed.Token, changed.Limit = next, 999
				if _, _, err := m.List(t.Context(), changed); !errors.Is(err, ErrToken) {
					t.Errorf("a token with another size: %v", err)
				}
				c.f.Token = next
			}
			var want []string
			for _, i := range c.want {
				want = append(want, all[i].ID)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%+v:\n%v\nwant %v", c.f, got, want)
			}
		}
		close(s.release)
	})
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, s := open(t, t.TempDir(), func(o *Options) { o.Running = 3 })
		var all []Query
		for range DefaultConcurrent {
			all = append(all, ask(t, m, mine, "wait rows 1"))
		}
		synctest.Wait()
		if _, err := m.Start(t.Context(), Spec{Owner: mine, Statement: "SELECT 1 FROM " + storeA}); !errors.Is(err, ErrTooMany) {
			t.Errorf("one more: %v", err)
		}
		if _, err := m.Start(t.Context(), Spec{Owner: there, Statement: "SELECT 1 FROM " + storeA}); !errors.Is(err, ErrTooMany) {
			t.Errorf("one more in another Region: %v", err)
		}
		// Others are not kept out: theirs is the next.
		last := ask(t, m, theirs, "wait")
		if st := m.Stats(); st.Running != 3 || st.Queued != 8 || s.running.Load() != 3 {
			t.Errorf("%+v", st)
		}
		for i, q := range all {
			if got := status(t, m, q); got != map[bool]Status{true: Running, false: Queued}[i < 3] {
				t.Errorf("%d is %s", i, got)
			}
		}
		s.release <- struct{}{}
		synctest.Wait()
		if got := status(t, m, last); got != Running {
			t.Errorf("that of another account is %s", got)
		}
		if got := status(t, m, all[3]); got != Queued {
			t.Errorf("the fourth is %s", got)
		}
		if _, err := m.Cancel(t.Context(), mine, all[9].ID); err != nil || status(t, m, all[9]) != Cancelled {
			t.Errorf("cancel one that waits: %v, %s", err, status(t, m, all[9]))
		}
		close(s.release)
		synctest.Wait()
		for _, q := range all[:9] {
			if got := wait(t, m, q); got.Status != Finished || got.Rows != 1 {
				t.Errorf("%+v", got)
			}
		}
		if s.most.Load() != 3 || len(m.active) != 0 || len(m.busy) != 0 || m.running != 0 {
			t.Errorf("%d at once, active %v, busy %v, running %d", s.most.Load(), m.active, m.busy, m.running)
		}
		ask(t, m, mine, "rows 1")
		synctest.Wait()
	})
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, _ := open(t, t.TempDir(), func(o *Options) { o.Running = 1 })
		first := ask(t, m, mine, "wait")
		second := ask(t, m, mine, "slow rows 500") // ends while it is read
		began := time.Now()
		time.Sleep(30 * time.Minute)
		if q, err := m.Describe(t.Context(), mine, first.ID); err != nil || q.Took != 30*time.Minute || q.Status != Running {
			t.Errorf("%+v, %v", q, err)
		}
		if q, err := m.Describe(t.Context(), mine, second.ID); err != nil || q.Took != 0 || q.Status != Queued {
			t.Errorf("%+v, %v", q, err)
		}
		if q := wait(t, m, first); q.Status != TimedOut || q.Took != time.Hour || q.Error != "the query took longer than its time limit" {
			t.Errorf("%+v", q)
		}
		if took := time.Since(began); took != time.Hour {
			t.Errorf("ended after %s", took)
		}
		_ = second
	})
}

// Results waits for the end of a query, but not for longer than it may.
func TestResultsWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, s := open(t, t.TempDir(), func(o *Options) { o.Wait = time.Second })
		q := ask(t, m, mine, "wait rows 2")
		results := func(ctx context.Context) (Page, time.Duration) {
			began := time.Now()
			p, err := m.Results(ctx, mine, q.ID, 0, "")
			if err != nil {
				t.Fatal(err)
			}
			return p, time.Since(began)
		}
		if p, took := results(t.Context()); p.Query.Status != Running || p.Query.Took != time.Second || p.Rows != nil || took != time.Second {
			t.Errorf("while it runs: %+v after %s", p, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if p, took := results(ctx); p.Query.Status != Running || took != 100*time.Millisecond {
			t.Errorf("of one who goes away: %+v after %s", p, took)
		}
		cancel()
		time.AfterFunc(300*time.Millisecond, func() { close(s.release) })
		if p, took := results(t.Context()); p.Query.Status != Finished || len(p.Rows) != 2 || took != 300*time.Millisecond {
			t.Errorf("as it ends: %+v after %s", p, took)
		}
		if p, took := results(t.Context()); len(p.Rows) != 2 || took != 0 {
			t.Errorf("when it has ended: %+v after %s", p, took)
		}
		s.release = make(chan struct{})
		q = ask(t, m, mine, "wait")
		time.AfterFunc(200*time.Millisecond, func() {
			if _, err := m.Cancel(t.Context(), mine, q.ID); err != nil {
				t.Error(err)
			}
		})
		if p, took := results(t.Context()); p.Query.Status != Cancelled || took != 200*time.Millisecond {
			t.Errorf("as it is cancelled: %+v after %s", p, took)
		}
	})
}

func TestBusyEngine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, s := open(t, t.TempDir())
		s.busy = 3
		q := ask(t, m, mine, "busy rows 2")
		synctest.Wait()
		if got := status(t, m, q); got != Queued {
			t.Errorf("it is %s", got)
		}
		began := time.Now()
		if got := wait(t, m, q); got.Status != Finished || got.Rows != 2 || got.Took != 0 || time.Since(began) != 15*time.Second {
			t.Errorf("%+v after %s", got, time.Since(began))
		}
		s.busy = 1000
		q = ask(t, m, mine, "busy")
		synctest.Wait()
		if got, err := m.Cancel(t.Context(), mine, q.ID); err != nil || got.Status != Cancelled {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestCancel(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m, s := open(t, dir)
	q := ask(t, m, mine, "wait rows 7")
	got, err := m.Cancel(t.Context(), mine, q.ID)
	if err != nil || got.Status != Cancelled || s.running.Load() != 0 {
		t.Fatalf("%+v, %v; %d run", got, err, s.running.Load())
	}
	if _, err := m.Cancel(t.Context(), mine, q.ID); !errors.Is(err, ErrEnded) {
		t.Errorf("twice: %v", err)
	}
	if p, err := m.Results(t.Context(), mine, q.ID, 0, ""); err != nil || p.Query.Status != Cancelled || p.Rows != nil {
		t.Errorf("%+v, %v", p, err)
	}
	done := ask(t, m, mine, "rows 1")
	wait(t, m, done)
	if _, err := m.Cancel(t.Context(), mine, done.ID); !errors.Is(err, ErrEnded) {
		t.Errorf("one that finished: %v", err)
	}
	// What could not be recorded is taken back: the query runs once more, and is what it would have been.
	if err := m.Again(t.Context(), done.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("again, finished: %v", err)
	}
	close(s.release)
	if err := m.Again(t.Context(), q.ID); err != nil {
		t.Fatal(err)
	}
	if got := wait(t, m, q); got.Status != Finished || got.Rows != 7 || !got.Created.Equal(q.Created) {
		t.Errorf("%+v", got)
	}
	if p, err := m.Results(t.Context(), mine, q.ID, 0, ""); err != nil || len(p.Rows) != 7 {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestWithdraw(t *testing.T) {
	t.Parallel()
	m, s := open(t, t.TempDir(), func(o *Options) { o.Running = 1 })
	done, runs, waits := ask(t, m, mine, "rows 1"), Query{}, Query{}
	wait(t, m, done)
	runs, waits = ask(t, m, mine, "wait"), ask(t, m, mine, "wait")
	for _, q := range []Query{waits, runs, done} {
		if err := m.Withdraw(t.Context(), q.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Describe(t.Context(), mine, q.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v", err)
		}
	}
	if err := m.Withdraw(t.Context(), done.ID); err != nil {
		t.Errorf("twice: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(m.dir, "*"+suffix))
	if st := m.Stats(); err != nil || len(files) > 0 || st.Bytes != 0 || st.Kept != 0 || s.running.Load() != 0 {
		t.Errorf("%v, %v, %+v", files, err, st)
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	m, _ := open(t, t.TempDir(), func(o *Options) { o.Size, o.QuerySize = 3<<20, 1<<20 })
	small := ask(t, m, mine, "large rows 50")
	if q := wait(t, m, small); q.Status != Finished {
		t.Errorf("%+v", q)
	}
	for range 4 {
		q := wait(t, m, ask(t, m, mine, "large rows 5000"))
		if q.Status != Failed || q.Error != "the result cannot be kept: it is larger than the 1048576 bytes that one may take, compressed" || q.Rows != 0 {
			t.Errorf("%+v", q)
		}
	}
	if q := wait(t, m, ask(t, m, theirs, "large rows 50")); q.Status != Finished {
		t.Errorf("%+v", q)
	}
	var all []Query
	for range 30 { // more than there is room for: the oldest go
		q := wait(t, m, ask(t, m, mine, "large rows 100"))
		if all = append(all, q); q.Status != Finished {
			t.Errorf("%+v", q)
		}
	}
	there := 0
	for k, q := range all {
		p, err := m.Results(t.Context(), mine, q.ID, 0, "")
		if errors.Is(err, ErrNotFound) && there == 0 {
			continue
		}
		if there++; err != nil || len(p.Rows) != 100 {
			t.Errorf("%d of 30: %d rows, %v", k, len(p.Rows), err)
		}
	}
	if there < 5 || there > 20 {
		t.Errorf("%d of 30 are there", there)
	}
	if _, err := m.Describe(t.Context(), mine, small.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("the oldest: %v", err)
	}
	if list, _, err := m.List(t.Context(), Filter{Owner: theirs}); err != nil || len(list) != 1 {
		t.Errorf("that of an account that takes little: %v, %v", list, err)
	}
	var size int64
	files, err := filepath.Glob(filepath.Join(m.dir, "*"+suffix))
	for _, f := range files {
		info, serr := os.Stat(f)
		err = errors.Join(err, serr)
		size += max(info.Size(), fileUnit)
	}
	if st := m.Stats(); err != nil || size > 3<<20 || st.Bytes != size || m.sizes[mine.Account]+m.sizes[theirs.Account] != size {
		t.Errorf("%d bytes, %+v, %v, %v", size, st, m.sizes, err)
	}
}

func TestAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		m, _ := open(t, dir, func(o *Options) { o.Most = 5 })
		first := ask(t, m, mine, "rows 1")
		synctest.Wait()
		time.Sleep(DefaultAge)
		if got := status(t, m, first); got != Finished {
			t.Errorf("after 7 days it is %s", got)
		}
		time.Sleep(time.Millisecond)
		if _, err := m.Describe(t.Context(), mine, first.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("after more than 7 days: %v", err)
		}
		if list, _, err := m.List(t.Context(), Filter{Owner: mine}); len(list) > 0 || err != nil {
			t.Errorf("%v, %v", list, err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if files, err := filepath.Glob(filepath.Join(m.dir, "*"+suffix)); len(files) > 0 || err != nil || m.Stats().Bytes != 0 {
			t.Errorf("files %v, %v, %+v", files, err, m.Stats())
		}
		// Of too many the oldest goes.
		var all []Query
		for range 7 {
			all = append(all, ask(t, m, mine, "rows 1"))
			synctest.Wait()
			time.Sleep(time.Second)
		}
		for i, q := range all {
			_, err := m.Describe(t.Context(), mine, q.ID)
			if (i < 2) != errors.Is(err, ErrNotFound) {
				t.Errorf("%d: %v", i, err)
			}
		}
		if err := m.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(DefaultAge)
		m, _ = open(t, dir)
		if st := m.Stats(); st.Kept != 0 || st.Bytes != 0 {
			t.Errorf("%+v", st)
		}
	})
}

func TestClose(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m, s := open(t, dir, func(o *Options) { o.Running = 1 })
	runs, waits := ask(t, m, mine, "wait"), ask(t, m, mine, "wait")
	if _, err := Open(t.Context(), dir, Options{Engine: s, Tables: tables{}}); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("the folder is taken twice: %v", err)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := s.running.Load(); n != 0 {
		t.Errorf("%d run", n)
	}
	if _, err := m.Start(t.Context(), Spec{Owner: mine, Statement: "SELECT 1 FROM " + storeA}); !errors.Is(err, ErrClosed) {
		t.Errorf("start: %v", err)
	}
	m, _ = open(t, dir)
	for q, want := range map[string]string{runs.ID: errStopped.Error(), waits.ID: interrupted} {
		if got, err := m.Describe(t.Context(), mine, q); err != nil || got.Status != Failed || got.Error != want {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

// TestCrash opens a folder as it is at any moment of a query: whatever was answered is there, and what had not ended has failed.
func TestCrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m, _ := open(t, dir)
	q := ask(t, m, mine, "rows 20")
	wait(t, m, q)
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, q.ID+suffix))
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(dir, keyName))
	if err != nil {
		t.Fatal(err)
	}
	answered := false
	for n := 0; n <= len(whole); n += 1 + n%3 {
		if n > len(whole)-4 {
			n = len(whole)
		}
		dir := t.TempDir()
		for name, b := range map[string][]byte{q.ID + suffix: whole[:n], keyName: key, durable.PartPrefix + "1": key[:5], "notes.txt": nil} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // what is found is written such that it is found again
			m, _ := open(t, dir)
			got, err := m.Describe(t.Context(), mine, q.ID)
			switch {
			case errors.Is(err, ErrNotFound) && !answered:
			case err != nil:
				t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
			case n == len(whole):
				p, err := m.Results(t.Context(), mine, q.ID, 0, "")
				if err != nil || got.Status != Finished || len(p.Rows) != 20 {
					t.Fatalf("%+v, %d rows, %v", got, len(p.Rows), err)
				}
			default:
				answered = true
				if got.Status != Failed || got.Error != interrupted || got.Statement != q.Statement {
					t.Fatalf("%d of %d bytes: %+v", n, len(whole), got)
				}
			}
			if err := m.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !answered {
		t.Error("no beginning had a head")
	}
}

func TestDamagedFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m, _ := open(t, dir)
	good, bad := ask(t, m, mine, "rows 20"), ask(t, m, mine, "large rows 300")
	wait(t, m, good)
	wait(t, m, bad)
	path := filepath.Join(dir, bad.ID+suffix)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Results(t.Context(), mine, bad.ID, 0, ""); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("damaged rows: %v", err)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	b[20] ^= 1 // in the head
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	m, _ = open(t, dir)
	if _, err := m.Describe(t.Context(), mine, bad.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("a damaged head: %v", err)
	}
	if p, err := m.Results(t.Context(), mine, good.ID, 0, ""); err != nil || len(p.Rows) != 20 {
		t.Errorf("the others: %d rows, %v", len(p.Rows), err)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, keyName), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, Options{Engine: &script{}, Tables: tables{}}); err == nil || !strings.Contains(err.Error(), "has 5 bytes in place of 32") {
		t.Errorf("a damaged key: %v", err)
	}
}
