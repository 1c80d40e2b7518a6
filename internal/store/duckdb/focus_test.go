package duckdb

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestFocus: what is left out for a query changes no answer.
func TestFocus(t *testing.T) {
	t.Parallel()
	odd := []string{
		`{"eventID":"odd-1","eventTime":"2026-01-08T05:00:01Z","eventName":"Responseelements","requestParameters":[1,{"a":"nullable"}],"userIdentity":{"accessKeyId":"AKIAEXAMPLEANA"}}`,
		`{"eventVersion":"1.08","userIdentity":{"type":"Root"},"eventTime":"2026-01-09T05:00:01Z","eventSource":"s3.amazonaws.com","eventName":"Kelvin","requestParameters":null,"responseElements":null,"additionalEventData":{"a":"SKILL","city":"İſtanbul"},"requestID":"R1","eventID":"00000000-0000-4000-8000-000000000001","sharedEventID":"S1"}`,
	}
	files := write(t, append(slices.Clone(records), odd...))
	if len(files) < 4 {
		t.Fatalf("%d files", len(files))
	}
	narrow, wide := open(t, Options{Files: files}), open(t, Options{Files: files, unfocused: true})
	queries := []string{
		`SELECT * FROM events WHERE eventID = '00000000-0000-4000-8000-000000000001'`,
		`SELECT eventID, raw FROM events WHERE '00000000-0000-4000-8000-000000000001' = eventid`,
		`SELECT * FROM events e WHERE e.eventID = '00000000-0000-4000-8000-000000000002' AND eventName <> 'x'`,
		`SELECT eventID FROM events WHERE eventID = 'nothing'`,
		`SELECT count(*) FROM events WHERE eventID = 'nothing'`,
		`SELECT eventID FROM events WHERE eventID IN ('odd-1', '00000000-0000-4000-8000-000000000003')`,
		`SELECT eventID FROM events WHERE requestID = 'R1' OR eventID = 'odd-1'`,
		`SELECT eventID FROM events WHERE requestID = 'R1' AND eventTime > TIMESTAMPTZ '2026-01-06 00:00:00+00'`,
		`SELECT eventID FROM events WHERE NOT (requestID = 'R1')`,
		`SELECT eventID FROM events WHERE sharedEventID = 'S1'`,
		`SELECT eventid FROM cloudtrail_logs WHERE requestid = 'R2'`,
		`SELECT eventID FROM "default".events AS e WHERE e.requestID = 'R2'`,
		`SELECT eventID FROM event_data_store WHERE requestID = 'R2'`,
		`SELECT (SELECT count(*) FROM events), eventID FROM events WHERE requestID = 'R2'`,
		`SELECT a.eventID, b.eventID FROM events a JOIN events b ON true WHERE a.requestID = 'R2'`,
		`WITH a AS (SELECT * FROM events WHERE requestID = 'R1') SELECT count(*) FROM a`,
		`WITH a AS (SELECT * FROM events WHERE requestID = 'R1') SELECT eventID FROM a UNION ALL SELECT eventID FROM events`,
		`SELECT count(*) FROM events e, unnest(resourceARNs) AS u(x) WHERE eventID = '00000000-0000-4000-8000-000000000001'`,
		`SELECT count(*) FILTER (eventID = 'odd-1'), count(*) FROM events`,
		`SELECT requestID FROM events AS e(requestID) WHERE requestID = '1.11'`,
		`SELECT eventID FROM events WHERE userIdentity.accessKeyId = 'AKIAEXAMPLEANA'`,
		`SELECT eventID FROM events e WHERE e.userIdentity.accessKeyId = 'AKIAEXAMPLEBOB'`,
		`SELECT eventid FROM cloudtrail_logs WHERE useridentity.accesskeyid = 'ASIAEXAMPLECI'`,
		`SELECT eventID FROM events WHERE userIdentity.accessKeyId IN ('AKIAEXAMPLEANA', 'AKIAEXAMPLEBOB')`,
		`SELECT eventID FROM events WHERE list_contains(resourceARNs, 'arn:aws:s3:::payroll')`,
		`SELECT eventID FROM events e WHERE contains(e.resourceARNs, 'arn:aws:s3:::nothing')`,
		`SELECT eventID FROM events WHERE NOT list_contains(resourceARNs, 'arn:aws:s3:::payroll')`,
		`SELECT eventID FROM event_data_store WHERE eventJson LIKE '%payroll%'`,
		`SELECT eventID FROM events WHERE raw LIKE '%payroll%january%' AND eventID > ''`,
		`SELECT eventID FROM events WHERE raw LIKE '%a_ch%'`,
		`SELECT eventID FROM events WHERE raw LIKE '{%'`,
		`SELECT eventID FROM events WHERE raw NOT LIKE '%payroll%'`,
		`SELECT eventID FROM events WHERE raw NOT ILIKE '%PAYROLL%'`,
		`SELECT eventID FROM events WHERE raw ILIKE '%PayRoll%'`,
		`SELECT eventID FROM events WHERE raw ILIKE '%skil_"}%'`,
		`SELECT eventID FROM events WHERE eventName ILIKE 'get%' OR raw ILIKE '%kelvin%'`,
		`SELECT eventID FROM events WHERE raw ILIKE '%stanbul%'`,
		`SELECT eventID FROM events WHERE eventName ILIKE '%ET\OB%'`,
		`SELECT eventID FROM events WHERE eventName ILIKE '%(etob%' OR userAgent ILIKE '%!A1%'`,
	}
	// Every piece of a record, across all seams, in both cases.
	for _, r := range []string{records[0], odd[1]} {
		raw := strings.ReplaceAll(r, "\n", "")
		for at := 0; at+23 <= len(raw); at += 13 {
			piece := strings.ReplaceAll(raw[at:at+[]int{23, 4}[at%2]], "'", "''")
			queries = append(queries, fmt.Sprintf("SELECT eventID FROM events WHERE contains(raw, '%s')", piece))
			if at%3 == 0 && !strings.ContainsAny(piece, `%_\`) {
				queries = append(queries, fmt.Sprintf("SELECT eventID FROM events WHERE raw ILIKE '%%%s%%'", strings.ToUpper(piece)))
			}
		}
	}
	empty := 0
	for _, q := range queries {
		got, err := ask(t, narrow, q)
		want, werr := ask(t, wide, q)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) || (err == nil) != (werr == nil) {
			t.Errorf("%s\ngives %q, %v\nnot   %q, %v", q, got, err, want, werr)
		}
		if len(got) == 0 {
			empty++
		}
	}
	if empty > 7 {
		t.Errorf("%d of %d queries find nothing", empty, len(queries))
	}
}

// TestFocusOf: what is taken from which query.
func TestFocusOf(t *testing.T) {
	t.Parallel()
	e := open(t, Options{})
	for sql, want := range map[string]focus{
		`SELECT 1 FROM events WHERE eventID = 'a'`:                                                      {column: "eventid", values: []string{"a"}},
		`SELECT 1 FROM events x WHERE (x.requestID IN ('a', 'b') AND eventID = 'c') AND 1 = 1`:          {column: "requestid", values: []string{"a", "b"}},
		`SELECT 1 FROM (SELECT * FROM events WHERE useridentity.accesskeyid = 'K') WHERE eventID = 'a'`: {key: "K"},
		`SELECT 1 FROM events WHERE eventID = 'a' OR requestID = 'b'`:                                   {},
		`SELECT 1 FROM events WHERE eventID <> 'a'`:                                                     {},
		`SELECT 1 FROM events WHERE eventID = requestID`:                                                {},
		`SELECT 1 FROM events WHERE y.eventID = 'a'`:                                                    {},
		`SELECT 1 FROM events, events b WHERE eventID = 'a'`:                                            {},
		`SELECT 1 FROM events USING SAMPLE 1 ROWS`:                                                      {},
		`SELECT 1 FROM events WHERE contains(raw, 'arn:aws:iam::1:role/Deploy')`:                        {regex: "Deploy"},
		`SELECT 1 FROM events WHERE raw LIKE '%eventName":"Create%'`:                                    {regex: "Create"},
		`SELECT 1 FROM events WHERE contains(raw, 'ASIAZHI47HRSKEXAMPLE')`:                              {regex: "ZHI47HRSKEXAMPLE"},
		`SELECT 1 FROM events WHERE raw LIKE '%"requestID":"null"%'`:                                    {},
		`SELECT 1 FROM events WHERE raw ILIKE '%Deploy.x%'`:                                             {regex: `[dD][eE][pP][lL][oO][yY]\.[xX]`},
		`SELECT 1 FROM events WHERE raw ILIKE '%ASIAMO6V%'`:                                             {regex: `[aA][mM][oO]6[vV]`},
		`SELECT 1 FROM events WHERE list_contains(resourceARNs, 'a') AND eventName = 'b'`:               {arn: "a"},
		`SELECT 1 FROM events WHERE list_contains(resources, 'a')`:                                      {},
		`SELECT 1 FROM events WHERE contains(errorMessage, 'Deploy')`:                                   {},
	} {
		var tree string
		if err := e.db.QueryRowContext(t.Context(), "SELECT CAST(json_serialize_sql("+quoteText(sql)+") AS VARCHAR)").Scan(&tree); err != nil {
			t.Fatal(err)
		}
		if _, got := focusOf([]byte(tree)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s\ngives %+v, want %+v", sql, got, want)
		}
	}
}
