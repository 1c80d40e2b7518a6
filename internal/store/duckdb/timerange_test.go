package duckdb

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// lakeScope is the files of lakeRecords, one a day from 2026-01-05 to 2026-01-10, and what is known of them.
func lakeScope(t testing.TB) *Scope {
	t.Helper()
	s := &Scope{Files: write(t, lakeRecords), Facts: map[string]FileFacts{}}
	for _, f := range s.Files {
		day, err := time.Parse(time.DateOnly, strings.TrimPrefix(filepath.Base(filepath.Dir(f)), "eventDay="))
		if err != nil {
			t.Fatal(err)
		}
		facts := FileFacts{Bytes: 100, MinTime: day.Add(24 * time.Hour), MaxTime: day}
		for _, r := range lakeRecords {
			var rec struct{ EventTime time.Time }
			if err := json.Unmarshal([]byte(strings.ReplaceAll(r, "\n", "")), &rec); err != nil {
				t.Fatal(err)
			}
			if rec.EventTime.Truncate(24 * time.Hour).Equal(day) {
				facts.Rows++
				if rec.EventTime.Before(facts.MinTime) {
					facts.MinTime = rec.EventTime
				}
				if rec.EventTime.After(facts.MaxTime) {
					facts.MaxTime = rec.EventTime
				}
			}
		}
		s.Facts[f] = facts
	}
	return s
}

// TestTimeRange asks queries whose conditions on eventTime stand anywhere, while the files that they need not read are not
// there.
func TestTimeRange(t *testing.T) {
	t.Parallel()
	scope := lakeScope(t)
	e := open(t, Options{Dirs: []string{filepath.Dir(filepath.Dir(scope.Files[0]))}})
	ids := strings.NewReplacer("EDS", lake, "EAST", east)
	for _, c := range []struct{ sql, days, want string }{
		{"SELECT count(*) FROM EDS", "5 6 7 8 9 10", "6"},
		{"SELECT count(*) FROM EDS WHERE eventTime >= '2026-01-07 00:00:00'", "7 8 9 10", "3"},
		{"SELECT count(*) FROM EDS WHERE '2026-01-07 00:00:00' > eventTime", "5 6", "3"},
		{"SELECT count(*) FROM EDS WHERE eventTime BETWEEN '2026-01-06 00:00:00' AND '2026-01-07 23:00:00'", "6 7", "2"},
		{"SELECT count(*) FROM EDS WHERE eventTime = '2026-01-06 11:00:00'", "6", "1"},
		{"SELECT count(*) FROM EDS WHERE eventTime > '2026-01-07 12:00:00' AND eventTime < '2026-01-08 08:30:15'", "7 8", "0"},
		{"SELECT count(*) FROM EDS WHERE date(eventTime) = date '2026-01-06'", "6", "1"},
		{"SELECT count(*) FROM EDS WHERE date(eventTime) BETWEEN date '2026-01-06' AND date '2026-01-07'", "6 7", "2"},
		{"SELECT count(*) FROM EDS WHERE cast(eventTime AS date) > date '2026-01-08'", "9 10", "1"},
		{"SELECT count(*) FROM EDS WHERE cast(date(eventTime) AS timestamp) < timestamp '2026-01-06 01:00:00'", "5 6", "3"},
		{"SELECT count(*) FROM EDS WHERE eventTime > date '2026-01-08' AND eventTime < timestamp '2026-01-09 00:00:00'", "8", "1"},
		{"SELECT count(*) FROM EDS WHERE eventTime >= from_iso8601_timestamp('2026-01-09T00:00:00Z')", "9 10", "1"},
		{"SELECT count(*) FROM EDS WHERE eventTime >= cast('2026-01-09 00:00:00 UTC' AS timestamp with time zone)", "9 10", "1"},
		{"SELECT count(*) FROM EDS WHERE eventTime > current_timestamp - interval '1' hour", "", "0"},
		{"SELECT count(*) FROM EDS WHERE eventTime > date_add('day', -2, timestamp '2026-01-10 12:00:00')", "9 10", "1"},
		{"SELECT count(*) FROM EDS WHERE (eventTime < '2026-01-05 12:00:00' OR eventTime > '2026-01-09 00:00:00') AND readOnly", "5 6 7 8 9 10", "1"},
		{"SELECT count(*) FROM EDS WHERE (eventTime > '2026-01-08 00:00:00' AND readOnly) OR eventTime > '2026-01-09 00:00:00'", "8 9 10", "1"},
		{"SELECT count(*) FROM EDS WHERE eventTime > '2026-01-08 00:00:00' OR readOnly", "5 6 7 8 9 10", "3"},
		{"SELECT count(*) FROM (SELECT * FROM EDS) AS x WHERE x.eventTime < '2026-01-06 00:00:00'", "5", "2"},
		{"SELECT count(*) FROM (SELECT eventTime AS w, eventName FROM EDS) WHERE w < '2026-01-06 00:00:00'", "5", "2"},
		{"WITH a AS (SELECT * FROM EDS WHERE eventTime > '2026-01-06 00:00:00') SELECT count(*) FROM a WHERE eventTime < '2026-01-07 00:00:00'", "6", "1"},
		{"SELECT count(*) FROM (SELECT eventTime FROM EDS WHERE eventTime < '2026-01-06 00:00:00' UNION ALL SELECT eventTime FROM EDS WHERE eventTime > '2026-01-09 00:00:00')", "5 9 10", "3"},
		{"SELECT count(*) FROM EDS a JOIN EAST b ON a.eventID = b.eventID WHERE a.eventTime > '2026-01-08 00:00:00' AND b.eventTime > '2026-01-08 00:00:00'", "8 9 10", "1"},
		{"SELECT count(*) FROM EDS a LEFT JOIN EAST b ON a.eventID = b.eventID AND b.eventTime > '2026-01-08 00:00:00' WHERE a.eventTime > '2026-01-09 00:00:00'", "8 9 10", "1"},
		{"SELECT count(*) FROM EDS a LEFT JOIN EAST b ON a.eventID = b.eventID WHERE b.eventTime > '2026-01-08 00:00:00' OR b.eventTime IS NULL", "5 6 7 8 9 10", "4"},
		{"SELECT eventName FROM EDS WHERE eventTime > '2026-01-08 00:00:00' AND eventName IS NOT NULL ORDER BY eventTime DESC LIMIT 5", "8 9 10", "RunInstances"},
		{"SELECT eventName FROM EDS WHERE eventTime > '2026-01-07 13:00:00' AND eventName IS NOT NULL LIMIT 1", "8 9 10", "RunInstances"},
		{"SELECT r FROM (SELECT row_number() OVER (PARTITION BY eventName ORDER BY eventTime) AS r FROM EDS WHERE eventTime < '2026-01-05 10:00:00') WHERE r <= 3", "5", "1"},
		{"SELECT count(DISTINCT eventName) FROM EDS WHERE eventTime BETWEEN '2026-01-05 00:00:00' AND '2026-01-05 23:59:59' AND eventName IN (SELECT eventName FROM EAST WHERE eventTime > '2026-01-10 00:00:00')", "5 10", "0"},
		{"WITH a AS (SELECT * FROM EDS), b AS (SELECT eventID FROM a WHERE eventTime < '2026-01-06 00:00:00'), c AS (SELECT eventID FROM a WHERE eventTime >= '2026-01-09 00:00:00') SELECT (SELECT count(*) FROM b) + (SELECT count(*) FROM c)", "5 6 7 8 9 10", "3"},
		// A condition above these does not go below.
		{"SELECT n FROM (SELECT eventTime, row_number() OVER (ORDER BY eventTime) AS n FROM EDS) WHERE eventTime > '2026-01-09 00:00:00'", "5 6 7 8 9 10", "6"},
		{"SELECT count(*) FROM (SELECT * FROM EDS ORDER BY eventTime LIMIT 3) WHERE eventTime > '2026-01-06 00:00:00'", "5 6 7 8 9 10", "1"},
		{"SELECT count(*) FROM EDS WHERE year(eventTime) = 2026", "5 6 7 8 9 10", "6"},
		{"SELECT count(*) FROM EDS WHERE eventID = '00000000-0000-4000-8000-000000000003' AND eventTime < '2026-01-08 00:00:00'", "6", "1"},
		{"SELECT 1", "", "1"},
	} {
		// Files that are of no use are somewhere else, so that a query which reads them ends with an error. Where the bounds
		// alone do not tell, the file of the event id is found among those that are left.
		left := *scope
		left.Files, left.Facts = nil, map[string]FileFacts{}
		var events int64
		for _, f := range scope.Files {
			facts := scope.Facts[f]
			path := f
			needed := slices.Contains(strings.Fields(c.days), facts.MinTime.Format("2"))
			if needed {
				events += facts.Rows
			} else if !strings.Contains(c.sql, "eventID =") {
				path = filepath.Join(filepath.Dir(filepath.Dir(f)), "gone", filepath.Base(f))
			}
			left.Files = append(left.Files, path)
			left.Facts[path] = facts
		}
		rows, err := e.Query(t.Context(), ids.Replace(c.sql), QueryOptions{Scope: &left, DataStores: lakeStores()})
		if err != nil {
			t.Errorf("%s\n%v", c.sql, err)
			continue
		}
		gotEvents, gotBytes := rows.Scanned()
		got, err := read(t, rows)
		if err != nil || !slices.Equal(got, []string{c.want}) {
			t.Errorf("%s\ngot %q, %v; want %s", c.sql, got, err, c.want)
		}
		// One file is asked where none is needed.
		if days := int64(len(strings.Fields(c.days))); gotEvents != events || gotBytes != 100*days {
			t.Errorf("%s\nlooked at %d events in %d bytes, want %d in %d", c.sql, gotEvents, gotBytes, events, 100*days)
		}
	}
}

// TestTimeRangeUnknown has files of which nothing is known: they are always read.
func TestTimeRangeUnknown(t *testing.T) {
	t.Parallel()
	scope := lakeScope(t)
	scope.Facts = nil
	e := open(t, Options{Files: scope.Files})
	got, err := askLake(t, e, scope, lakeStores(), "SELECT count(*) FROM "+lake+" WHERE eventTime < '2026-01-06 00:00:00'")
	if err != nil || got[0] != "2" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestSpans reads plans, also such as the engine does not write.
func TestSpans(t *testing.T) {
	t.Parallel()
	at := func(s string) string { return `{"type":{"id":"TIMESTAMP"},"value":` + s + `}` }
	col := `{"expression_class":"BOUND_REF"}`
	cmp := func(op, l, r string) string {
		return `{"expression_class":"BOUND_COMPARISON","type":"` + op + `","left":` + l + `,"right":` + r + `}`
	}
	con := func(s string) string { return `{"expression_class":"BOUND_CONSTANT","value":` + at(s) + `}` }
	get := `{"type":"LOGICAL_GET","names":["eventTime"],"column_indexes":[{}]}`
	filter := func(below string, exprs ...string) string {
		return `{"type":"LOGICAL_FILTER","children":[` + below + `],"expressions":[` + strings.Join(exprs, ",") + `]}`
	}
	for _, c := range []struct {
		name, plan string
		want       []span
	}{
		{"no condition", get, []span{always}},
		{"above", filter(get, cmp("COMPARE_GREATERTHAN", col, con("5"))), []span{{6, lastMicro}}},
		{"two", filter(get, cmp("COMPARE_GREATERTHAN", col, con("5")), cmp("COMPARE_GREATERTHAN", con("9"), col)), []span{{6, 8}}},
		{"not a comparison of a constant", filter(get, cmp("COMPARE_GREATERTHAN", col, col)), []span{always}},
		{"another operator between", filter(`{"type":"LOGICAL_LIMIT","children":[`+get+`]}`, cmp("COMPARE_GREATERTHAN", col, con("5"))), []span{always}},
		{"a number that is none", filter(get, cmp("COMPARE_GREATERTHAN", col, con(`"x"`))), []span{always}},
		{"a number too long", filter(get, cmp("COMPARE_EQUAL", col, con("99999999999999999999"))), []span{always}},
		{"not equal", filter(get, cmp("COMPARE_NOTEQUAL", col, con("5"))), []span{always}},
		{"a date too far", filter(get, cmp("COMPARE_GREATERTHAN", col, `{"expression_class":"BOUND_CONSTANT","value":{"type":{"id":"DATE"},"value":2147483647}}`)), []span{always}},
		{"an index out of range", filter(get, cmp("COMPARE_GREATERTHAN", `{"expression_class":"BOUND_REF","index":7}`, con("5"))), []span{always}},
		{"a projection out of range", `{"type":"LOGICAL_GET","names":["eventTime"],"column_indexes":[{}],"projection_ids":[4]}`, []span{always}},
		{"or", filter(get, `{"expression_class":"BOUND_CONJUNCTION","type":"CONJUNCTION_OR","children":[`+cmp("COMPARE_EQUAL", col, con("5"))+`,`+cmp("COMPARE_EQUAL", col, con("9"))+`]}`), []span{{5, 9}}},
		{"or with something else", filter(get, `{"expression_class":"BOUND_CONJUNCTION","type":"CONJUNCTION_OR","children":[`+cmp("COMPARE_EQUAL", col, con("5"))+`,{}]}`), []span{always}},
	} {
		var n planNode
		if err := json.Unmarshal([]byte(c.plan), &n); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		p := &planReader{}
		p.node(&n)
		if !slices.Equal(p.spans, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, p.spans, c.want)
		}
	}
}

// TestBoundsTime: only where a query has no condition on eventTime for certain, nothing is planned for its time range.
func TestBoundsTime(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]bool{
		"SELECT eventTime, eventName FROM $ WHERE eventName = 'x' ORDER BY eventTime DESC LIMIT 5":    false,
		"SELECT eventName, eventTime FROM $ ORDER BY eventName, eventTime":                            false,
		"SELECT count(*) FROM $ WHERE (eventName = 'x' OR errorCode IS NULL)":                         false,
		"SELECT eventTime FROM $ UNION SELECT eventTime FROM $ ORDER BY 1":                            false,
		"SELECT eventTime AS t FROM $ WHERE t > now()":                                                true,
		"SELECT eventTime t FROM $ WHERE t > now()":                                                   true,
		"SELECT max(eventTime) FROM $":                                                                true,
		"SELECT eventName FROM $ WHERE eventTime > '2026-01-01 00:00:00'":                             true,
		"SELECT eventName FROM $ WHERE (eventTime > '2026-01-01 00:00:00')":                           true,
		"SELECT eventName FROM (SELECT * FROM $ WHERE eventTime > '2026-01-01 00:00:00')":             true,
		"SELECT eventName FROM $ a JOIN $ b ON a.eventTime < b.eventTime":                             true,
		"SELECT eventName FROM $ GROUP BY eventName HAVING max(eventTime) > '2026-01-01 00:00:00'":    true,
		`SELECT eventName FROM $ WHERE "eventTime" > '2026-01-01 00:00:00'`:                           true,
		"WITH e AS (SELECT eventTime FROM $) SELECT * FROM e":                                         true,
		"SELECT eventTime, eventTime > now() FROM $":                                                  true,
		"SELECT eventName FROM $ ORDER BY eventTime LIMIT 1 OFFSET 2":                                 false,
		"SELECT eventTime FROM $ WHERE eventName = 'eventTime' AND eventSource = 'iam.amazonaws.com'": false,
	} {
		toks, err := lakeLex(strings.ReplaceAll(query, "$", "6ed74001-fd14-56f2-8b83-7a346f9b5871"))
		if err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		if got := lakeTranslation(toks, nil).boundsTime(); got != want {
			t.Errorf("%s: bounds time: %t, want %t", query, got, want)
		}
	}
}
