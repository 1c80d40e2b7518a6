package duckdb

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"spoor/internal/store/segment"
)

// A query of the Lake dialect bounds its time wherever SQL lets it: in a WHERE around a sub-query, by BETWEEN, against a
// sum of now and an interval. An optimizer brings all of that down to the tables. So an engine that has no events is asked
// what it would do; the conditions on eventTime that it would put right above a table say which files can matter.

// LakePlanner finds the time ranges of queries of the Lake dialect. It is safe for concurrent use; Close ends it.
type LakePlanner struct {
	db   *sql.DB
	temp string
}

// OpenLakePlanner makes a planner, in about 30 ms, and in tempDir, the system's when empty, a folder with one small file.
func OpenLakePlanner(ctx context.Context, tempDir string) (_ *LakePlanner, err error) {
	p := &LakePlanner{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start the planner of queries: %w", err), p.Close())
		}
	}()
	if p.temp, err = os.MkdirTemp(tempDir, "spoor-planner-"); err != nil {
		return nil, err
	}
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		return nil, err
	}
	p.db = sql.OpenDB(connector)
	conn, err := p.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := duckdb.RegisterScalarUDF(conn, "ip_in", ipIn{}); err != nil {
		return nil, err
	}
	// Much of what brings no conditions down is left out; the first two give plans that the engine cannot write down.
	none := filepath.Join(p.temp, "none.parquet")
	const leftOut = "late_materialization,top_n_window_elimination,compressed_materialization,join_filter_pushdown,row_group_pruner,common_subplan,window_self_join,build_side_probe_side,limit_pushdown"
	_, err = conn.ExecContext(ctx, "SET threads=1; SET memory_limit='64MB'; SET disabled_optimizers="+quoteText(leftOut)+";"+dialectSQL+macros+
		"COPY (SELECT 1 AS nothing WHERE false) TO "+quoteText(none)+" (FORMAT parquet); CREATE VIEW main."+segmentsView+" AS SELECT * FROM read_parquet("+quoteText(none)+
		", hive_partitioning=false, schema="+schemaSQL(func(segment.Column) bool { return true })+"); SET allowed_paths=["+quoteText(none)+"]; SET enable_external_access=false; SET lock_configuration=true;")
	return p, err
}

// Close ends the planner and removes its folder. No query may be running.
func (p *LakePlanner) Close() error {
	var err error
	if p.db != nil {
		err = p.db.Close()
	}
	if p.temp == "" {
		return err
	}
	return errors.Join(err, os.RemoveAll(p.temp))
}

// span is a time range in microseconds since 1970, both ends included.
type span struct{ from, to int64 }

const (
	firstMicro = math.MinInt64
	lastMicro  = math.MaxInt64
)

var always = span{firstMicro, lastMicro}

func (s span) and(o span) span { return span{max(s.from, o.from), min(s.to, o.to)} }
func (s span) or(o span) span {
	switch {
	case s.from > s.to:
		return o
	case o.from > o.to:
		return s
	}
	return span{min(s.from, o.from), max(s.to, o.to)}
}

// FileFacts is what is known of a file without reading it.
type FileFacts struct {
	Rows, Bytes int64
	// MinTime and MaxTime are the least and greatest event time in it, both included; zero when they are not known.
	MinTime, MaxTime time.Time
}

// may reports whether the file may have events of one of the spans.
func (f FileFacts) may(spans []span) bool {
	if f.MinTime.IsZero() || f.MaxTime.IsZero() {
		return true
	}
	from, to := f.MinTime.UnixMicro(), f.MaxTime.UnixMicro()
	return slices.ContainsFunc(spans, func(s span) bool { return from <= s.to && to >= s.from })
}

// spans gives the time ranges that the tables of a query are asked for, one for each time that a table is read. They are
// [always] alone where that cannot be told.
func (p *LakePlanner) spans(ctx context.Context, query string) ([]span, error) {
	var plan string
	if err := p.db.QueryRowContext(ctx, "SELECT CAST(json_serialize_plan("+quoteText(query)+", skip_null := true, skip_empty := true, skip_default := true, optimize := true) AS VARCHAR)").Scan(&plan); err != nil {
		return nil, fmt.Errorf("read the plan of the query: %w", err)
	}
	var doc struct {
		Error bool       `json:"error"`
		Plans []planNode `json:"plans"`
	}
	dec := json.NewDecoder(strings.NewReader(plan))
	dec.UseNumber()
	if err := dec.Decode(&doc); err != nil || doc.Error {
		return []span{always}, nil //nolint:nilerr // a plan that cannot be written down bounds nothing
	}
	var r planReader
	for i := range doc.Plans {
		r.node(&doc.Plans[i])
	}
	if len(r.spans) == 0 {
		return []span{always}, nil
	}
	return r.spans, nil
}

// planNode is an operator of an optimized plan, as far as it matters.
type planNode struct {
	Type          string            `json:"type"`
	Children      []planNode        `json:"children"`
	Expressions   []json.RawMessage `json:"expressions"`
	ProjectionMap []int             `json:"projection_map"`
	// Of LOGICAL_GET:
	Names         []string `json:"names"`
	ProjectionIDs []int    `json:"projection_ids"`
	ColumnIndexes []struct {
		Index int `json:"index"`
	} `json:"column_indexes"`
	TableFilters struct {
		Filters []struct {
			Key   int             `json:"key"`
			Value json.RawMessage `json:"value"`
		} `json:"filters"`
	} `json:"table_filters"`
}

// planReader gathers the spans of the tables of a plan.
type planReader struct{ spans []span }

// none marks an output of an operator that is not the event time of a table.
const none = -1

// node reads an operator and what is below. Of each of its outputs it says of which table it is the event time.
func (p *planReader) node(n *planNode) (outputs []int) {
	switch n.Type {
	case "LOGICAL_GET":
		table := len(p.spans)
		p.spans = append(p.spans, always)
		at := slices.IndexFunc(n.Names, func(s string) bool { return s == "eventTime" })
		for _, f := range n.TableFilters.Filters {
			if f.Key == at {
				p.spans[table] = p.spans[table].and(filterSpan(f.Value))
			}
		}
		for _, c := range n.ColumnIndexes {
			out := none
			if c.Index == at && at >= 0 {
				out = table
			}
			outputs = append(outputs, out)
		}
		return picked(outputs, n.ProjectionIDs)
	case "LOGICAL_FILTER":
		if len(n.Children) != 1 {
			break
		}
		outputs = p.node(&n.Children[0])
		for _, e := range n.Expressions {
			for table, s := range exprSpans(e, outputs) {
				p.spans[table] = p.spans[table].and(s)
			}
		}
		return picked(outputs, n.ProjectionMap)
	case "LOGICAL_PROJECTION":
		if len(n.Children) != 1 {
			break
		}
		below := p.node(&n.Children[0])
		for _, e := range n.Expressions {
			out, _ := eventTimeOf(parseExpr(e), below)
			outputs = append(outputs, out)
		}
		return outputs
	}
	// What goes through other operators may be there whatever a condition above says of it.
	for i := range n.Children {
		p.node(&n.Children[i])
	}
	return nil
}

// picked are the outputs of an operator that gives some of them only.
func picked(outputs, ids []int) []int {
	if len(ids) == 0 {
		return outputs
	}
	out := make([]int, len(ids))
	for i, id := range ids {
		if out[i] = none; id >= 0 && id < len(outputs) {
			out[i] = outputs[id]
		}
	}
	return out
}

// planConstant is a value in a plan.
type planConstant struct {
	Type struct {
		ID string `json:"id"`
	} `json:"type"`
	Null  *bool           `json:"is_null"`
	Value json.RawMessage `json:"value"`
}

const (
	dayMicros = 24 * 60 * 60 * 1_000_000
	maxDays   = 3_000_000 // from 1970, some 8000 years
)

// literal writes a moment as SQL, false when it is beyond the years that have four digits.
func literal(us int64) (string, bool) {
	if us < -719_000*dayMicros || us > 2_900_000*dayMicros {
		return "", false
	}
	return "TIMESTAMPTZ " + quoteText(time.UnixMicro(us).UTC().Format("2006-01-02 15:04:05.000000+00")), true
}

// micros is the span of the moments that a constant is: of a day all of it.
func (c planConstant) micros() (span, bool) {
	var n json.Number
	dec := json.NewDecoder(bytes.NewReader(c.Value))
	dec.UseNumber()
	if len(c.Value) == 0 || dec.Decode(&n) != nil {
		return span{}, false
	}
	v, err := n.Int64()
	if err != nil {
		return span{}, false
	}
	switch c.Type.ID {
	case "TIMESTAMP", "TIMESTAMP WITH TIME ZONE":
		return span{v, v}, true
	case "DATE":
		if v > maxDays || v < -maxDays {
			return span{}, false
		}
		return span{v * dayMicros, v*dayMicros + dayMicros - 1}, true
	}
	return span{}, false
}

// compared is the span of what compares so with a constant.
func compared(op string, c planConstant) span {
	at, ok := c.micros()
	if !ok {
		return always
	}
	switch op {
	case "COMPARE_EQUAL":
		return at
	case "COMPARE_GREATERTHAN":
		return span{max(at.to, at.to+1), lastMicro}
	case "COMPARE_GREATERTHANOREQUALTO":
		return span{at.from, lastMicro}
	case "COMPARE_LESSTHAN":
		return span{firstMicro, min(at.from, at.from-1)}
	case "COMPARE_LESSTHANOREQUALTO":
		return span{firstMicro, at.to}
	}
	return always
}

// filterSpan is the span that a filter of a table leaves.
func filterSpan(raw json.RawMessage) span {
	var f struct {
		Type       string            `json:"filter_type"`
		Comparison string            `json:"comparison_type"`
		Constant   planConstant      `json:"constant"`
		Children   []json.RawMessage `json:"child_filters"`
	}
	if json.Unmarshal(raw, &f) != nil {
		return always
	}
	switch f.Type {
	case "CONSTANT_COMPARISON":
		return compared(f.Comparison, f.Constant)
	case "CONJUNCTION_AND":
		out := always
		for _, c := range f.Children {
			out = out.and(filterSpan(c))
		}
		return out
	case "CONJUNCTION_OR":
		if len(f.Children) == 0 {
			return always
		}
		out := filterSpan(f.Children[0])
		for _, c := range f.Children[1:] {
			out = out.or(filterSpan(c))
		}
		return out
	}
	return always
}

// planExpr is an expression of a plan, as far as it matters.
type planExpr struct {
	Class    string            `json:"expression_class"`
	Type     string            `json:"type"`
	Name     string            `json:"name"`
	Index    int               `json:"index"`
	Children []json.RawMessage `json:"children"`
	Child    json.RawMessage   `json:"child"`
	Left     json.RawMessage   `json:"left"`
	Right    json.RawMessage   `json:"right"`
	Input    json.RawMessage   `json:"input"`
	Lower    json.RawMessage   `json:"lower"`
	Upper    json.RawMessage   `json:"upper"`
	Value    planConstant      `json:"value"`
	Return   struct {
		ID string `json:"id"`
	} `json:"return_type"`
}

func parseExpr(raw json.RawMessage) (e planExpr) {
	if len(raw) == 0 || json.Unmarshal(raw, &e) != nil {
		return planExpr{}
	}
	return e
}

// eventTimeOf is the table whose event time an expression is, or none. day says that it is cut to the day.
func eventTimeOf(e planExpr, outputs []int) (table int, day bool) {
	switch e.Class {
	case "BOUND_REF":
		if e.Index >= 0 && e.Index < len(outputs) {
			return outputs[e.Index], false
		}
	case "BOUND_CAST":
		table, day = eventTimeOf(parseExpr(e.Child), outputs)
		switch e.Return.ID {
		case "TIMESTAMP", "TIMESTAMP WITH TIME ZONE":
			return table, day
		case "DATE":
			return table, true
		}
	case "BOUND_FUNCTION":
		if len(e.Children) != 1 || e.Name != "make_timestamp" {
			break
		}
		if inner := parseExpr(e.Children[0]); inner.Class == "BOUND_FUNCTION" && inner.Name == "epoch_us" && len(inner.Children) == 1 {
			return eventTimeOf(parseExpr(inner.Children[0]), outputs)
		}
	}
	return none, false
}

// exprSpans are the spans that a condition leaves of the tables whose event time it is about.
func exprSpans(raw json.RawMessage, outputs []int) map[int]span {
	e := parseExpr(raw)
	one := func(subject planExpr, op string, value planExpr) map[int]span {
		table, day := eventTimeOf(subject, outputs)
		if table == none || value.Class != "BOUND_CONSTANT" {
			return nil
		}
		s := compared(op, value.Value)
		if day && value.Value.Type.ID != "DATE" && s.to < lastMicro-dayMicros {
			s.to += dayMicros // the day goes on
		}
		return map[int]span{table: s}
	}
	switch e.Class {
	case "BOUND_COMPARISON":
		l, r := parseExpr(e.Left), parseExpr(e.Right)
		if l.Class == "BOUND_CONSTANT" {
			l, r, e.Type = r, l, flipped(e.Type)
		}
		return one(l, e.Type, r)
	case "BOUND_BETWEEN":
		in := parseExpr(e.Input)
		return both(one(in, "COMPARE_GREATERTHANOREQUALTO", parseExpr(e.Lower)), one(in, "COMPARE_LESSTHANOREQUALTO", parseExpr(e.Upper)))
	case "BOUND_CONJUNCTION":
		if len(e.Children) == 0 {
			return nil
		}
		out := exprSpans(e.Children[0], outputs)
		for _, c := range e.Children[1:] {
			if e.Type == "CONJUNCTION_AND" {
				out = both(out, exprSpans(c, outputs))
			} else {
				out = either(out, exprSpans(c, outputs))
			}
		}
		return out
	}
	return nil
}

func flipped(op string) string {
	switch op {
	case "COMPARE_GREATERTHAN":
		return "COMPARE_LESSTHAN"
	case "COMPARE_GREATERTHANOREQUALTO":
		return "COMPARE_LESSTHANOREQUALTO"
	case "COMPARE_LESSTHAN":
		return "COMPARE_GREATERTHAN"
	case "COMPARE_LESSTHANOREQUALTO":
		return "COMPARE_GREATERTHANOREQUALTO"
	}
	return op
}

// both are the spans where both conditions hold, either those where one does.
func both(a, b map[int]span) map[int]span {
	out := map[int]span{}
	for _, m := range []map[int]span{a, b} {
		for t, s := range m {
			if have, ok := out[t]; ok {
				s = s.and(have)
			}
			out[t] = s
		}
	}
	return out
}

func either(a, b map[int]span) map[int]span {
	out := map[int]span{}
	for t, s := range a {
		if o, ok := b[t]; ok {
			out[t] = s.or(o)
		}
	}
	return out
}
