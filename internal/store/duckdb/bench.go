package duckdb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Question is a query that a store must be quick at. Its SQL is DuckDB's too.
type Question struct {
	Name, SQL string
	// Most is how long it may take warm over 2 million events, 0 where nothing is asked for.
	Most time.Duration
	// Needle questions look for a single value.
	Needle bool
	// Nothing is found.
	Nothing bool
}

// Needles are values that [Questions] look for.
type Needles struct{ EventID, RequestID, Actor, AccessKey, Address, EventName, ResourceARN, ParameterARN string }

// FindNeedles takes values from the middle of what is asked: an event, and others that are neither the most frequent nor
// the rarest.
func (e *Engine) FindNeedles(ctx context.Context) (Needles, error) {
	var n Needles
	// The twentieth in the order of frequency, of what is there at least twice.
	usual := func(expr string) string {
		return fmt.Sprintf(`SELECT x FROM (SELECT x, count(*) AS n FROM (SELECT %s AS x FROM events) WHERE x <> '' GROUP BY 1 ORDER BY n DESC, 1 LIMIT 20) ORDER BY n, 1 LIMIT 1`, expr)
	}
	for _, q := range []struct {
		to  *string
		sql string
	}{
		{&n.EventID, `SELECT min(eventID) FROM events WHERE eventID > '8'`},
		{&n.RequestID, `SELECT min(requestID) FROM events WHERE requestID > '8'`},
		{&n.Actor, usual("actorId")},
		{&n.AccessKey, usual("accessKeyId")},
		{&n.Address, usual("sourceIPAddress")},
		{&n.EventName, usual("eventName")},
		{&n.ResourceARN, usual("resources[1].ARN")},
		{&n.ParameterARN, usual("json_extract_string(requestParameters, '$.roleArn')")},
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

// Questions are the queries over events that a store must be quick at.
func Questions(n Needles) []Question {
	const (
		some = `SELECT eventTime, eventSource, eventName, sourceIPAddress, errorCode, eventID FROM events WHERE `
		last = ` ORDER BY eventTime DESC LIMIT 50`
		ms   = time.Millisecond
	)
	out := []Question{
		{Name: "one event id", SQL: `SELECT * FROM events WHERE eventID = $EventID`, Most: 50 * ms, Needle: true},
		{Name: "an event id that is not there", SQL: `SELECT * FROM events WHERE eventID = '00000000-0000-0000-0000-000000000000'`, Needle: true, Nothing: true},
		{Name: "one request id", SQL: `SELECT * FROM events WHERE requestID = $RequestID`, Needle: true},
		{Name: "one actor, newest 50", SQL: some + `actorId = $Actor` + last, Most: 50 * ms, Needle: true},
		{Name: "one access key", SQL: some + `accessKeyId = $AccessKey`, Most: 100 * ms, Needle: true},
		{Name: "one address, newest 50", SQL: some + `sourceIPAddress = $Address` + last, Needle: true},
		{Name: "one event name, newest 50", SQL: some + `eventName = $EventName` + last, Needle: true},
		{Name: "one resource ARN, newest 50", SQL: some + `list_contains(resourceARNs, $ResourceARN)` + last, Needle: true},
		{Name: "a resource ARN that is not there", SQL: some + `list_contains(resourceARNs, 'arn:aws:s3:::nothing-like-it')`, Needle: true, Nothing: true},
		{Name: "an ARN in requestParameters", SQL: some + `contains(requestParameters::varchar, $ParameterARN)` + last, Needle: true},
		{Name: "group by eventName over all", SQL: `SELECT eventName, count(*) FROM events GROUP BY 1 ORDER BY 2 DESC`, Most: 100 * ms},
		{Name: "hourly histogram with a filter", SQL: `SELECT date_trunc('hour', eventTime) AS hour, count(*) FROM events WHERE errorCode IS NOT NULL GROUP BY 1 ORDER BY 1`, Most: 100 * ms},
		{Name: "text in the record", SQL: some + `raw LIKE '%' || $AccessKey || '%'`, Most: 1500 * ms},
		{Name: "text that is in no record", SQL: some + `raw LIKE '%nothing-like-it%'`, Most: 1500 * ms, Nothing: true},
		{Name: "text in the record, in any case", SQL: some + `raw ILIKE '%' || $AccessKey || '%'`, Most: 3000 * ms},
		{Name: "text that is in no record, in any case", SQL: some + `raw ILIKE '%Nothing-Like-It%'`, Most: 3000 * ms, Nothing: true},
	}
	values := strings.NewReplacer("'%' || $AccessKey || '%'", quoteText("%"+n.AccessKey+"%"), "$EventID", quoteText(n.EventID), "$RequestID", quoteText(n.RequestID),
		"$Actor", quoteText(n.Actor), "$AccessKey", quoteText(n.AccessKey), "$Address", quoteText(n.Address), "$EventName", quoteText(n.EventName),
		"$ResourceARN", quoteText(n.ResourceARN), "$ParameterARN", quoteText(n.ParameterARN))
	for i := range out {
		out[i].SQL = values.Replace(out[i].SQL)
	}
	return out
}

// Timing is how long a query took.
type Timing struct {
	// First is the first run, with files that may not be in memory; Warm the median of the later ones.
	First, Warm time.Duration
	Rows        int64
	Runs        int // all of them
}

// timeEnough is how long a question is asked again.
const timeEnough = 10 * time.Second

// Time asks sql and reads the result, runs times, and once more before. What takes long is asked less often, but twice.
func (e *Engine) Time(ctx context.Context, sql string, runs int) (t Timing, err error) {
	var warm []time.Duration
	began := time.Now()
	for run := range runs + 1 {
		if run > 1 && time.Since(began) > timeEnough {
			break
		}
		t.Runs++
		start := time.Now()
		if t.Rows, err = e.count(ctx, sql); err != nil {
			return t, err
		}
		if took := time.Since(start); run == 0 {
			t.First = took
		} else {
			warm = append(warm, took)
		}
	}
	if slices.Sort(warm); len(warm) > 0 {
		t.Warm = warm[len(warm)/2]
	}
	return t, nil
}

// count asks and reads everything.
func (e *Engine) count(ctx context.Context, sql string) (n int64, err error) {
	rows, err := e.Query(ctx, sql, QueryOptions{})
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
