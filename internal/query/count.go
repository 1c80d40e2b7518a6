package query

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"spoor/internal/event"
	"spoor/internal/store/duckdb"
)

// maxValues is how many different values of a field are told apart while they are counted. Where the engine counts, in
// memory that it can lay aside, there is no such bound.
const maxValues = 200_000

// MaxText is the most characters of a value that are counted by; longer values are cut.
const MaxText = 1024

// cutText makes a value one that is counted: valid, and not too long.
func cutText(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	if len(s) <= MaxText {
		return s
	}
	n := 0
	for i := range s {
		if n++; n > MaxText {
			return s[:i]
		}
	}
	return s
}

// rest hands on the events that SQL could not decide about and that are asked for, in no order. With everything, those too
// that it could.
func (a *asking) rest(ctx context.Context, s set, c cond, everything bool, fn func(e *event.Event) error) error {
	where := c.upper
	if !everything {
		where = all([]string{c.upper, not(c.lower)})
	}
	if where == never || c.exact() && !everything {
		return nil
	}
	// A few files at once: what is read lies in a table until it is judged.
	rows := int64(firstRows)
	for files := s.files; len(files) > 0; {
		n, judged := prefix(files, rows), 0
		for _, part := range parts(files[:n]) {
			var r row
			sql := fmt.Sprintf("SELECT %s FROM %s WHERE %s", rowSQL, duckdb.Segments, all([]string{where, part.where()}))
			if err := a.each(ctx, sql, a.scope(part.files), func(values []duckdb.Value) error {
				judged++
				ok, err := a.judge(values, &r)
				if err != nil || !ok {
					return err
				}
				return fn(&r.event)
			}); err != nil {
				return err
			}
		}
		files = files[n:]
		rows = min(4*rows, max(firstRows, rows*someRows/int64(max(1, judged))))
	}
	return nil
}

// Top gives the most frequent values of a field.
func (e *Engine) Top(ctx context.Context, t Top) (_ TopResult, err error) {
	t.Limit = cmp.Or(t.Limit, 10)
	switch {
	case t.Field == "":
		return TopResult{}, fmt.Errorf("%w: no field to count by", ErrInvalid)
	case t.Limit < 1 || t.Limit > MaxTop:
		return TopResult{}, fmt.Errorf("%w: limit %d: want 1 to %d", ErrInvalid, t.Limit, MaxTop)
	}
	ctx, a, err := e.ask(ctx, t.Filter)
	if err != nil {
		return TopResult{}, err
	}
	defer a.done()
	by := countedBy(t.Field)
	var out TopResult
	err = a.whole(ctx, func() (err error) {
		out, err = a.top(ctx, by, t.Limit)
		return err
	})
	out.Damaged = a.damaged
	return out, err
}

// top counts the values of a field over all sets.
func (a *asking) top(ctx context.Context, by counted, limit int) (out TopResult, err error) {
	counts := map[string]int64{}
	var values int64
	add := func(value string, n int64) error {
		if _, ok := counts[value]; !ok && len(counts) >= maxValues {
			return fmt.Errorf("%w: more than %d", ErrTooMany, maxValues)
		}
		counts[value] += n
		values += n
		return nil
	}
	for _, s := range a.sets {
		c := compiler{s.known}.query(a.query)
		c.lower = all([]string{c.lower, by.sure})
		everything := by.sql == "" || !s.known.PlainTexts
		if !everything && c.lower != never {
			// The engine keeps what is not among the first when nothing else is to be added.
			keep := int64(maxValues + 1)
			if len(a.sets) == 1 && c.exact() {
				keep = int64(limit)
			}
			sql := fmt.Sprintf(`WITH g AS MATERIALIZED (SELECT %s AS v, count(*) AS n FROM %s WHERE %s GROUP BY 1)
SELECT 'value' AS k, v, n FROM (SELECT v, n FROM g WHERE v IS NOT NULL ORDER BY n DESC, v LIMIT %d)
UNION ALL SELECT 'missing', NULL, coalesce(sum(n), 0) FROM g WHERE v IS NULL UNION ALL SELECT 'values', NULL, coalesce(sum(n), 0) FROM g WHERE v IS NOT NULL`, by.sql, duckdb.Segments, c.lower, keep)
			if err := a.each(ctx, sql, a.scope(s.files), func(row []duckdb.Value) error {
				n, err := strconv.ParseInt(row[2].Text, 10, 64)
				if err != nil {
					return fmt.Errorf("count the values: %w", err)
				}
				switch row[0].Text {
				case "missing":
					out.Missing += n
					out.Total += n
					return nil
				case "values": // those told and others
					out.Total += n
					values += n
					return nil
				}
				values -= n
				return add(row[1].Text, n)
			}); err != nil {
				return out, err
			}
		}
		if err := a.rest(ctx, s, c, everything, func(e *event.Event) error {
			out.Total++
			some := false
			var failed error
			by.each(e, func(value string) {
				some = true
				if err := add(strings.Clone(cutText(value)), 1); err != nil {
					failed = err
				}
			})
			if !some {
				out.Missing++
			}
			return failed
		}); err != nil {
			return out, err
		}
	}
	out.Values = mostFrequent(counts, limit)
	out.Others = values
	for _, v := range out.Values {
		out.Others -= v.Count
	}
	return out, nil
}

// mostFrequent gives the values with the highest counts, equal ones by value.
func mostFrequent(counts map[string]int64, limit int) []Value {
	values := make([]Value, 0, len(counts))
	for v, n := range maps.All(counts) {
		values = append(values, Value{v, n})
	}
	slices.SortFunc(values, func(a, b Value) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Value, b.Value))
	})
	return slices.Clip(values[:min(limit, len(values))])
}

// intervals are the usual lengths of buckets.
var intervals = [...]time.Duration{
	time.Second, 5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 28 * 24 * time.Hour, 364 * 24 * time.Hour,
}

// Histogram counts events over time.
func (e *Engine) Histogram(ctx context.Context, h Histogram) (_ HistogramResult, err error) {
	h.Buckets = cmp.Or(h.Buckets, 60)
	switch {
	case h.Interval < 0 || h.Interval%time.Second != 0:
		return HistogramResult{}, fmt.Errorf("%w: interval %s: want whole seconds", ErrInvalid, h.Interval)
	case h.Buckets < 1 || h.Buckets > MaxBuckets:
		return HistogramResult{}, fmt.Errorf("%w: %d buckets: want 1 to %d", ErrInvalid, h.Buckets, MaxBuckets)
	}
	ctx, a, err := e.ask(ctx, h.Filter)
	if err != nil {
		return HistogramResult{}, err
	}
	defer a.done()
	if h.Interval == 0 {
		h.Interval = a.interval(h.Buckets)
	}
	if h.Interval/time.Second > math.MaxInt32 {
		return HistogramResult{}, fmt.Errorf("%w: interval %s: too long", ErrInvalid, h.Interval)
	}
	var by *counted
	if h.By != "" {
		c := countedBy(h.By)
		by = &c
	}
	var out HistogramResult
	err = a.whole(ctx, func() (err error) {
		out, err = a.histogram(ctx, h.Interval, by)
		return err
	})
	out.Interval, out.Damaged = h.Interval, a.damaged
	return out, err
}

// interval chooses the length of buckets by what the files have.
func (a *asking) interval(buckets int) time.Duration {
	var from, to time.Time
	for _, f := range a.files() {
		if f.MinTime.IsZero() {
			continue
		}
		if from.IsZero() || f.MinTime.Before(from) {
			from = f.MinTime
		}
		if f.MaxTime.After(to) {
			to = f.MaxTime
		}
	}
	if !a.filter.Since.IsZero() {
		from = a.filter.Since
	}
	if !a.filter.Until.IsZero() {
		to = a.filter.Until
	}
	for _, d := range intervals {
		if to.Sub(from) <= d*time.Duration(buckets) {
			return d
		}
	}
	return intervals[len(intervals)-1]
}

// slot is a bucket, by its number since 1970, and a value of the field that counts are told apart by.
type slot struct {
	bucket int64
	value  string
	other  bool // no value, or none of those told apart
}

func (a *asking) histogram(ctx context.Context, interval time.Duration, by *counted) (out HistogramResult, err error) {
	var series []string
	if by != nil {
		// Of an array the first value counts here.
		top, err := a.top(ctx, counted{by.sql, by.sure, by.first}, MaxSeries)
		if err != nil {
			return out, err
		}
		out.Values = top.Values
		for _, v := range top.Values {
			series = append(series, v.Value)
		}
	}
	counts := map[slot]int64{}
	buckets := map[int64]int64{}
	add := func(s slot, n int64) error {
		counts[s] += n
		if buckets[s.bucket] += n; len(buckets) > MaxBuckets {
			return fmt.Errorf("%w: more than %d buckets of %s have events; ask for longer ones, or a shorter time", ErrInvalid, MaxBuckets, interval)
		}
		out.Total += n
		return nil
	}
	size := interval.Microseconds()
	for _, s := range a.sets {
		c := compiler{s.known}.query(a.query)
		if by != nil {
			c.lower = all([]string{c.lower, by.sure})
		}
		everything := by != nil && by.sql == "" || !s.known.PlainTexts
		if !everything && c.lower != never {
			value := "NULL"
			if by != nil && len(series) > 0 {
				quoted := make([]string, len(series))
				for i, v := range series {
					quoted[i] = quote(v)
				}
				value = fmt.Sprintf("CASE WHEN %s IN (%s) THEN %[1]s END", by.sql, strings.Join(quoted, ", "))
			}
			// Division rounds to zero.
			sql := fmt.Sprintf(`SELECT (epoch_us(eventTime) - CASE WHEN epoch_us(eventTime) < 0 THEN %d ELSE 0 END) // %d AS bucket, %s AS v, count(*) AS n FROM %s WHERE %s GROUP BY 1, 2 LIMIT %d`,
				size-1, size, value, duckdb.Segments, c.lower, (MaxBuckets+2)*(MaxSeries+1))
			if err := a.each(ctx, sql, a.scope(s.files), func(row []duckdb.Value) error {
				n, err := strconv.ParseInt(row[2].Text, 10, 64)
				if err != nil {
					return fmt.Errorf("count by time: %w", err)
				}
				if row[0].Null {
					out.Untimed += n
					out.Total += n
					return nil
				}
				bucket, err := strconv.ParseInt(row[0].Text, 10, 64)
				if err != nil {
					return fmt.Errorf("count by time: %w", err)
				}
				return add(slot{bucket, row[1].Text, row[1].Null}, n)
			}); err != nil {
				return out, err
			}
		}
		if err := a.rest(ctx, s, c, everything, func(e *event.Event) error {
			if e.Time == 0 {
				out.Untimed++
				out.Total++
				return nil
			}
			at := slot{bucket: floorDiv(floorDiv(e.Time, 1000), size), other: true}
			if by != nil {
				by.first(e, func(v string) {
					if v = cutText(v); slices.Contains(series, v) {
						at.value, at.other = strings.Clone(v), false
					}
				})
			}
			return add(at, 1)
		}); err != nil {
			return out, err
		}
	}
	for _, b := range slices.Sorted(maps.Keys(buckets)) {
		bucket := Bucket{From: time.UnixMicro(b * size).UTC(), Count: buckets[b]}
		if by != nil {
			bucket.Others = counts[slot{bucket: b, other: true}]
			for _, v := range series {
				bucket.By = append(bucket.By, counts[slot{bucket: b, value: v}])
			}
		}
		out.Buckets = append(out.Buckets, bucket)
	}
	return out, nil
}

// first calls fn with the first value.
func (c *counted) first(e *event.Event, fn func(string)) {
	done := false
	c.each(e, func(v string) {
		if !done {
			done = true
			fn(v)
		}
	})
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
