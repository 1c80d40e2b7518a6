package duckdb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Timing is how long a query took.
type Timing struct {
	Name string
	SQL  string
	// First is the first run, with files that may not be in memory; Warm the median of the later ones.
	First, Warm time.Duration
	Rows        int64
}

// Needles are values that the queries of [Engine.Benchmark] look for.
type Needles struct{ EventID, Actor, AccessKey string }

// FindNeedles takes values from the middle of what is asked: an event, and an actor and an access key that are neither
// the most frequent nor the rarest.
func (e *Engine) FindNeedles(ctx context.Context) (Needles, error) {
	var n Needles
	for _, q := range []struct {
		to  *string
		sql string
	}{
		{&n.EventID, `SELECT eventID FROM events WHERE eventID > '8' LIMIT 1`},
		{&n.Actor, `SELECT actorId FROM (SELECT actorId, count(*) AS n FROM events WHERE actorId IS NOT NULL GROUP BY 1 ORDER BY n DESC, 1 LIMIT 20) ORDER BY n, 1 LIMIT 1`},
		{&n.AccessKey, `SELECT accessKeyId FROM (SELECT accessKeyId, count(*) AS n FROM events WHERE accessKeyId <> '' GROUP BY 1 ORDER BY n DESC, 1 LIMIT 20) ORDER BY n, 1 LIMIT 1`},
	} {
		rows, err := e.Query(ctx, q.sql, QueryOptions{})
		if err != nil {
			return n, err
		}
		values, ok, err := rows.Next()
		if ok {
			*q.to = values[0].Text
		}
		if err = errors.Join(err, rows.Close()); err != nil {
			return n, err
		}
	}
	return n, nil
}

// Benchmark times the queries that a store must be quick at, runs times each, and one more for the first.
func (e *Engine) Benchmark(ctx context.Context, n Needles, runs int) ([]Timing, error) {
	out := []Timing{
		{Name: "one event id", SQL: `SELECT * FROM events WHERE eventID = $id`},
		{Name: "an event id that is not there", SQL: `SELECT * FROM events WHERE eventID = '00000000-0000-0000-0000-000000000000'`},
		{Name: "one actor, newest 50", SQL: `SELECT eventTime, eventSource, eventName, sourceIPAddress, errorCode, eventID FROM events WHERE actorId = $actor ORDER BY eventTime DESC LIMIT 50`},
		{Name: "one access key", SQL: `SELECT eventTime, eventSource, eventName, sourceIPAddress, errorCode, eventID FROM events WHERE accessKeyId = $key`},
		{Name: "group by eventName over all", SQL: `SELECT eventName, count(*) FROM events GROUP BY 1 ORDER BY 2 DESC`},
		{Name: "hourly histogram with a filter", SQL: `SELECT date_trunc('hour', eventTime) AS hour, count(*) FROM events WHERE errorCode IS NOT NULL GROUP BY 1 ORDER BY 1`},
	}
	params := []Param{{"id", n.EventID}, {"actor", n.Actor}, {"key", n.AccessKey}}
	for i := range out {
		t := &out[i]
		var warm []time.Duration
		for run := range runs + 1 {
			start := time.Now()
			rows, err := e.count(ctx, t.SQL, params)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.Name, err)
			}
			took := time.Since(start)
			if run == 0 {
				t.First = took
			} else {
				warm = append(warm, took)
			}
			t.Rows = rows
		}
		if slices.Sort(warm); len(warm) > 0 {
			t.Warm = warm[len(warm)/2]
		}
	}
	return out, nil
}

// count asks and reads everything.
func (e *Engine) count(ctx context.Context, sql string, params []Param) (n int64, err error) {
	rows, err := e.Query(ctx, sql, QueryOptions{Params: params})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for {
		_, ok, err := rows.Next()
		if err != nil || !ok {
			return n, err
		}
		n++
	}
}
