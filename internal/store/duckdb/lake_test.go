package duckdb

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestDataStoreIDs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ sql, want string }{
		{"SELECT 1", ""},
		{"SELECT * FROM " + lake, lake},
		{"SELECT * FROM " + strings.ToUpper(lake), lake},
		{`SELECT * FROM "` + strings.ToUpper(lake) + `"`, lake},
		{"select * from " + lake + " a join " + east + " as b on a.x = b.x, " + outside + " c where 1 in (select 1 from " + lake + ")", lake + " " + east + " " + outside},
		{"SELECT * FROM (" + lake + " CROSS JOIN " + east + ")", lake + " " + east},
		{"SELECT * FROM (SELECT * FROM " + lake + ") x", lake},
		{"WITH a AS (SELECT * FROM " + lake + " UNION SELECT * FROM " + east + ") SELECT * FROM a", lake + " " + east},
		{"SELECT * FROM " + lake + ", LATERAL (SELECT * FROM " + east + ") y", lake + " " + east},
		{"SELECT * FROM " + lake + ", UNNEST(a, b) t(x, y), " + east, lake + " " + east},
		{"SELECT '" + lake + "' -- FROM " + lake + "\n/* FROM " + lake + " */", ""},
		{`SELECT 1 AS "` + lake + `"`, ""},
		{`SELECT x FROM a GROUP BY x, "` + lake + `"`, ""},
		{"SELECT " + lake + ".eventName FROM " + lake, lake},
		{"SELECT extract(hour FROM x), trim('a' FROM \"" + east + "\"), 1 IS DISTINCT FROM \"" + east + "\" FROM " + lake, lake},
		{"SELECT * FROM ((SELECT 1 FROM " + east + ") UNION (SELECT 2 FROM (" + lake + ")))", east + " " + lake},
		{"SELECT * FROM " + lake[:35], ""},
	} {
		got, err := DataStoreIDs(c.sql)
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s\ngot %q, %v; want %s", c.sql, got, err, c.want)
		}
	}
	for sql, want := range map[string]RefusedError{
		"SELECT '":                         {Line: 1, Column: 8},
		"SELECT é,\n  (1 FROM " + lake:     {Line: 2, Column: 3},
		"SELECT 1\n)":                      {Line: 2, Column: 1},
		"SELECT\n\n/* ":                    {Line: 3, Column: 1},
		"SELECT \x00":                      {},
		"\xff":                             {},
		strings.Repeat("SELECT 1 ", 40000): {Line: 1, Column: 1},
	} {
		_, err := DataStoreIDs(sql)
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Line != want.Line && want.Line > 0 || refused.Column != want.Column && want.Line > 0 {
			t.Errorf("%.40q: got %v, want line %d, column %d", sql, err, want.Line, want.Column)
		}
	}
}

// TestLakeNames asks for the names of columns.
func TestLakeNames(t *testing.T) {
	t.Parallel()
	e := open(t, Options{Files: write(t, lakeRecords)})
	for _, c := range []struct{ sql, want string }{
		{"SELECT eventName, count(*), max(eventTime) AS last, 1 FROM EDS GROUP BY 1", "eventName _col1 last _col3"},
		{"SELECT userIdentity.arn, userIdentity.sessionContext.attributes.creationDate, resources[1].arn, readOnly = true FROM EDS", "arn creationDate arn _col3"},
		{"SELECT 1, t.*, 2 FROM (SELECT eventID, readOnly FROM EDS) t", "_col0 eventID readOnly _col3"},
		{"SELECT t.*, 1, t.* FROM (SELECT eventID FROM EDS) t", "eventID 1 eventID"},
		{"SELECT count(*) FROM EDS UNION ALL SELECT 1 AS n", "_col0"},
		{"WITH a AS (SELECT count(*) AS n FROM EDS) SELECT n, n + 1 FROM a", "n _col1"},
		{"(SELECT count(*) FROM EDS) ORDER BY 1", "_col0"},
		{`SELECT 1 AS "two words"`, "two words"},
	} {
		rows, err := e.Query(t.Context(), strings.ReplaceAll(c.sql, "EDS", lake), QueryOptions{DataStores: lakeStores()})
		if err != nil {
			t.Errorf("%s\n%v", c.sql, err)
			continue
		}
		var got []string
		for _, col := range rows.Columns {
			got = append(got, col.Name)
		}
		if err := rows.Close(); err != nil {
			t.Error(err)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s\ngot %q, want %q", c.sql, got, c.want)
		}
	}
}

// TestLakePlaces asks for the places that errors name.
func TestLakePlaces(t *testing.T) {
	t.Parallel()
	e := open(t, Options{Files: write(t, lakeRecords)})
	for _, c := range []struct {
		sql          string
		line, column int
		say          string
	}{
		{"", 0, 0, "no query"},
		{" ;", 0, 0, "no query"},
		{"-- x\nDROP TABLE x", 2, 1, "only SELECT can be asked of event data stores, not DROP"},
		{"SELECT *\nFROM EDS\nWHERE eventNam = 'x'", 3, 7, `"eventNam" not found`},
		{"WITH a AS (\n  SELECT nope FROM EDS)\nSELECT * FROM a", 2, 10, `"nope" not found`},
		{"\n\nWITH a AS (\n  SELECT nope FROM EDS)\nSELECT * FROM a", 4, 10, `"nope" not found`},
		{"SELECT eventName\nFROM EDS\nWHERE userIdentity.nope = 1", 0, 0, `nope`},
		{"SELECT *\nFROM EDS JOIN nosuch ON true", 2, 48, "there is no table nosuch"},
		{"SELECT nosuch(eventName)\nFROM EDS", 1, 8, "nosuch"},
		{"SELECT eventName,\n  read_blob('/etc/passwd')\nFROM EDS", 2, 3, "read_blob"},
		{"SELECT 1,\n current_setting('x')", 2, 2, "the function current_setting cannot be used"},
		{"SELECT eventName FROM EDS WHER 1", 0, 0, "syntax error"}, // an alias
		{"SELECT eventName FROM EDS WHERE WHERE", 1, 66, `syntax error at or near "WHERE"`},
		{"SELECT cast(eventName AS array(varchar)) FROM EDS\nORDER ORDER", 0, 0, `syntax error at or near "ORDER"`},
		{"SELECT eventTime > 'yesterday' FROM EDS", 1, 0, "yesterday"},
	} {
		_, err := askLake(t, e, nil, lakeStores(), strings.ReplaceAll(c.sql, "EDS", lake))
		var refused *RefusedError
		if !errors.As(err, &refused) {
			t.Errorf("%s\ngot %v", c.sql, err)
			continue
		}
		if c.line > 0 && refused.Line != c.line || c.column > 0 && refused.Column != c.column || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s\ngot %v, want line %d, column %d: %s", c.sql, err, c.line, c.column, c.say)
		}
		if strings.Contains(err.Error(), "MATERIALIZED") || strings.Contains(err.Error(), "spoor_") {
			t.Errorf("%s\ntells what the program wrote: %v", c.sql, err)
		}
	}
}

// TestLakeSandbox tries to get out of the stores that a query was given.
func TestLakeSandbox(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret.csv")
	if err := os.WriteFile(secret, []byte("a\nhidden\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := write(t, lakeRecords)
	e := open(t, Options{Dirs: []string{filepath.Dir(filepath.Dir(files[0]))}})
	scope := &Scope{Files: files}
	only := []DataStore{lakeStores()[1]} // east
	// The other tables are there, for other queries.
	for _, table := range Tables() {
		if _, err := askScope(t, e, scope, "SELECT count(*) FROM "+table); err != nil {
			t.Fatal(err)
		}
	}
	var queries []string
	for _, list := range tricks {
		for _, q := range list {
			queries = append(queries, q, strings.ReplaceAll(q, " events", " "+east))
		}
	}
	for _, table := range append(Tables(), lake, outside, `"`+lake+`"`, segmentsView, "main."+segmentsView, "spoor_result", resultTable, `main."`+east+`"`, `"default"."`+east+`"`, `default.`+east, `memory.main.`+east,
		"information_schema.tables", "duckdb_tables", "sqlite_master", "cloudtrail_logs_x", "'"+east+"'", "'"+secret+"'", "'"+files[0]+"'") {
		queries = append(queries, "SELECT * FROM "+table, "SELECT * FROM "+east+" JOIN "+table+" ON true", "WITH x AS (SELECT * FROM "+table+") SELECT * FROM x", "SELECT (SELECT count(*) FROM "+table+")",
			"SELECT * FROM "+east+" WHERE eventName IN (SELECT eventName FROM "+table+")", "SELECT 1 UNION ALL SELECT count(*) FROM "+table)
	}
	for _, column := range []string{"raw", "rawHead", "rawTail", "actor", "account", "accessKeyId", "actorId", "eventDay", "sourceObject", "filename"} {
		queries = append(queries, "SELECT "+column+" FROM "+east, "SELECT 1 FROM "+east+" WHERE "+column+" IS NULL", `SELECT "`+east+`".`+column+" FROM "+east)
	}
	queries = append(queries,
		"EXPLAIN SELECT 1", "EXPLAIN ANALYZE SELECT * FROM "+east, "DESCRIBE "+east, "SUMMARIZE "+east, "SHOW TABLES", "SHOW COLUMNS FROM "+east, "SELECT * FROM (DESCRIBE "+east+")", "SELECT * FROM (SUMMARIZE "+east+")",
		"SELECT * FROM (SHOW TABLES)", "FROM "+east, "TABLE "+east, "SELECT 1) SELECT (1", "SELECT * FROM "+east+") x, main."+segmentsView+" --", `WITH "`+east+`" AS (SELECT 1) SELECT * FROM "`+lake+`"`,
		"WITH RECURSIVE x AS (SELECT * FROM "+lake+") SELECT * FROM x", "SELECT "+lake+".eventName FROM "+east, "SELECT * FROM $id", "SELECT * FROM ?", "SELECT $id", "SELECT ?")
	for _, q := range queries {
		q = strings.NewReplacer("SECRET", secret, "PLANNED", files[0], "DIR", dir).Replace(q)
		got, err := askLake(t, e, scope, only, q)
		if err == nil {
			if strings.HasPrefix(q, `SELECT '\'; DROP`) {
				continue
			}
			t.Errorf("%s\nwas answered: %.200q", q, got)
			continue
		}
		if strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s\ntold the content of a file: %v", q, err)
		}
	}
	got, err := askLake(t, e, scope, only, "SELECT eventName, eventJson IS NOT NULL FROM "+east+" ORDER BY 1")
	if err != nil || !slices.Equal(got, []string{"ConsoleLogin | true", "CreateUser | true", "RunInstances | true"}) {
		t.Errorf("after all that, got %q, %v", got, err)
	}
	// With no stores there are none.
	if _, err := askLake(t, e, scope, []DataStore{}, "SELECT * FROM "+east); err == nil || !strings.Contains(err.Error(), "there is no event data store "+east) {
		t.Errorf("without stores: %v", err)
	}
	if after := listing(t, dir); !slices.Equal(after, []string{"secret.csv"}) {
		t.Errorf("files were written: %v", after)
	}
}

// TestLakeEmpty asks stores where there are no files.
func TestLakeEmpty(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]*Engine{"no files": open(t, Options{}), "no files now": open(t, Options{Dirs: []string{t.TempDir()}})} {
		for sql, want := range map[string]string{
			"SELECT count(*) FROM EDS": "0",
			"SELECT count(*), max(eventData.eventName) FROM AUDIT WHERE eventTime > '2026-01-01 00:00:00'":         "0 | ∅",
			"SELECT count(*) FROM EDS WHERE eventID = 'x' AND element_at(requestParameters, 'a') LIKE '%b%'":       "0",
			"SELECT count(*) FROM EDS a JOIN AUDIT b USING (eventID) WHERE a.eventTime > now() - interval '1' day": "0",
		} {
			got, err := askLake(t, e, nil, lakeStores(), strings.NewReplacer("EDS", lake, "AUDIT", outside).Replace(sql))
			if err != nil || !slices.Equal(got, []string{want}) {
				t.Errorf("%s: %s\ngot %q, %v", name, sql, got, err)
			}
		}
	}
}

// TestLakeHostile asks about records that are made to trouble it.
func TestLakeHostile(t *testing.T) {
	t.Parallel()
	e := open(t, Options{Files: write(t, []string{
		`{"eventID":"h1","eventTime":"2026-01-05T10:00:00Z","eventName":"a=b, c={","requestParameters":{"k, x=1":"v}","n":null,"d":1e400,"deep":{"a":[1,{"b":null}]}},"userIdentity":{"userName":"x, arn=root}"},"resources":[{"ARN":"],"},null,7]}`,
		`{"eventID":"h2","eventTime":"not a time","requestParameters":"text","responseElements":[1],"userIdentity":"root","addendum":7,"eventData":5,"metadata":[]}`,
		`{"eventID":"h3","eventTime":"2026-01-05T10:00:00.123456Z","eventData":{"userIdentity":"x","eventTime":"x","requestParameters":[1]},"metadata":{"ingestionTime":7}}`,
	})})
	stores := []DataStore{{ID: lake}, {ID: outside, Audit: true}}
	for _, c := range []struct{ sql, want string }{
		{"SELECT requestParameters, resources, userIdentity.userName FROM EDS WHERE eventID = 'h1'",
			`{k, x=1=v}, n=null, d=1e400, deep={"a":[1,{"b":null}]}} | [{accountId=null, type=null, ARN=],, ARNPrefix=null}, null, null] | x, arn=root}`},
		{"SELECT requestParameters, responseElements, addendum, userIdentity, eventTime FROM EDS WHERE eventID = 'h2'", "∅ | ∅ | {reason=null, updatedFields=null, originalRequestId=null, originalEventId=null} | ∅ | ∅"},
		{"SELECT eventTime FROM EDS WHERE eventID = 'h3'", "2026-01-05 10:00:00.123"},
		{"SELECT eventData.eventName, eventData.userIdentity.type, metadata.channelARN FROM AUDIT WHERE eventID = 'h2'", "∅ | ∅ | ∅"},
		{"SELECT eventData.requestParameters, eventData.eventTime, eventData.userIdentity.principalId, metadata.ingestionTime FROM AUDIT WHERE eventID = 'h3'", "∅ | ∅ | ∅ | ∅"},
		{"SELECT count(*) FROM EDS WHERE eventTime IS NULL", "1"},
	} {
		got, err := askLake(t, e, nil, stores, strings.NewReplacer("EDS", lake, "AUDIT", outside).Replace(c.sql))
		if err != nil || !slices.Equal(got, []string{c.want}) {
			t.Errorf("%s\ngot  %q, %v\nwant %q", c.sql, got, err, c.want)
		}
	}
}

func TestLakeText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ typ, value, want string }{
		{"VARCHAR", "x", "x"},
		{"BOOLEAN", "true", "true"},
		{"BIGINT", "7", "7"},
		{"DOUBLE", "0", "0.0"}, {"DOUBLE", "-0.0", "-0.0"}, {"DOUBLE", "1", "1.0"}, {"DOUBLE", "0.001", "0.001"}, {"DOUBLE", "0.0001", "1.0E-4"}, {"DOUBLE", "9999999.5", "9999999.5"},
		{"DOUBLE", "1e+16", "1.0E16"}, {"DOUBLE", "-1.25e-7", "-1.25E-7"}, {"DOUBLE", "inf", "Infinity"}, {"DOUBLE", "-inf", "-Infinity"}, {"DOUBLE", "nan", "NaN"}, {"FLOAT", "0.1", "0.1"},
		{"DOUBLE", strconv.FormatFloat(math.MaxFloat64, 'g', -1, 64), "1.7976931348623157E308"},
		{"TIMESTAMP", "2026-01-05 10:00:00", "2026-01-05 10:00:00.000"}, {"TIMESTAMP", "2026-01-05 10:00:00.5", "2026-01-05 10:00:00.500"}, {"TIMESTAMP", "2026-01-05 10:00:00.123456", "2026-01-05 10:00:00.123"},
		{"TIMESTAMP WITH TIME ZONE", "2026-01-05 10:00:00+00", "2026-01-05 10:00:00.000 UTC"}, {"TIMESTAMP", "infinity", "infinity"}, {"DATE", "2026-01-05", "2026-01-05"},
		{"INTEGER[]", "[1,null]", "[1, null]"}, {"VARCHAR[][]", `[["a"],[]]`, "[[a], []]"}, {"DOUBLE[2]", "[1.0,1e20]", "[1.0, 1.0E20]"},
		{"MAP(VARCHAR, VARCHAR)", `{"a":"b","c":null}`, "{a=b, c=null}"}, {"MAP(VARCHAR, JSON)", `{"a":{"x":1}}`, `{a={"x":1}}`},
		{`STRUCT("a ""b, (" VARCHAR, c STRUCT(d TIMESTAMP)[])`, `{"a \"b, (":"x","c":[{"d":"2026-01-05 10:00:00"}]}`, `{a "b, (=x, c=[{d=2026-01-05 10:00:00.000}]}`},
		{"VARCHAR[]", "no JSON", "no JSON"}, {"STRUCT(a VARCHAR)", `{"a":"x","b":"y"}`, `{"a":"x","b":"y"}`}, {"STRUCT(", "x", "x"}, {"MAP(", "x", "x"}, {"]", "x", "x"},
	} {
		if got := parseType(c.typ).text(c.value); got != c.want {
			t.Errorf("%s %s: got %s, want %s", c.typ, c.value, got, c.want)
		}
	}
}

// FuzzLake asks whatever comes: it must not panic, and no answer has anything of an event that is in no store of the query.
func FuzzLake(f *testing.F) {
	for _, form := range lakeFormList() {
		f.Add(strings.NewReplacer("EDS", lake, "EAST", east, "AUDIT", outside).Replace(form.sql))
	}
	for _, list := range tricks {
		for _, q := range list {
			f.Add(strings.ReplaceAll(q, " events", " "+lake))
		}
	}
	const canary = "kanarienvogel"
	files := write(f, append(slices.Clone(lakeRecords), `{"eventID":"`+canary+`","eventTime":"2026-01-05T10:00:00Z","eventName":"`+canary+`","eventCategory":"Management","awsRegion":"us-east-1","recipientAccountId":"`+canary+`",
"requestParameters":{"`+canary+`":"`+canary+`"},"userIdentity":{"arn":"`+canary+`","userName":"`+canary+`","accountId":"`+canary+`"},"resources":[{"ARN":"`+canary+`"}],"eventData":{"eventName":"`+canary+`"},"userAgent":"`+canary+`","sourceIPAddress":"`+canary+`"}`))
	e := open(f, Options{Dirs: []string{filepath.Dir(filepath.Dir(files[0]))}, Threads: 1, Timeout: 2 * time.Second})
	stores := lakeStores()
	for i := range stores {
		stores[i].Where = "(" + stores[i].Where + ") AND eventID <> '" + canary + "'"
	}
	f.Fuzz(func(t *testing.T, sql string) {
		if strings.Contains(strings.ToLower(sql), canary[:4]) {
			return
		}
		ids, err := DataStoreIDs(sql)
		var refused *RefusedError
		if err != nil && !errors.As(err, &refused) {
			t.Errorf("%v is no refusal", err)
		}
		for i, id := range ids {
			if !isUUID(id) || id != strings.ToLower(id) || slices.Contains(ids[:i], id) {
				t.Errorf("ids %q", ids)
			}
		}
		rows, err := e.Query(t.Context(), sql, QueryOptions{DataStores: stores, Scope: &Scope{Files: files}, Limit: 20})
		if err != nil {
			if strings.Contains(err.Error(), canary) {
				t.Errorf("an error tells of an event that is in no store: %v", err)
			}
			return
		}
		got, err := read(t, rows)
		if strings.Contains(strings.Join(got, "\n"), canary) || err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("an event that is in no store: %q, %v", got, err)
		}
	})
}

// TestLakeNewest asks for the newest and oldest events, by the column of the files where the query has that form, and by the
// dialect's eventTime: an expression in parentheses is never of that form.
func TestLakeNewest(t *testing.T) {
	t.Parallel()
	e := open(t, Options{Files: write(t, append(slices.Clone(lakeRecords), `{"eventID":"no-time","eventName":"Untimed","awsRegion":"us-east-1"}`))})
	for _, c := range []struct {
		sql  string // KEY is eventTime
		form bool
	}{
		{`SELECT eventTime, eventName FROM EDS ORDER BY KEY DESC LIMIT 3`, true},
		{`SELECT eventName FROM EDS ORDER BY KEY LIMIT 3`, true},
		{`SELECT eventName FROM EDS ORDER BY KEY DESC NULLS FIRST LIMIT 2 OFFSET 1`, true},
		{`SELECT * FROM "EDS" WHERE readOnly = false ORDER BY KEY ASC, eventName LIMIT 4;`, true},
		{`SELECT e.eventID, e.*, upper(e.eventName) AS n FROM EDS AS e WHERE e.awsRegion = 'us-east-1' ORDER BY e.KEY DESC LIMIT 2`, true},
		{`SELECT eventTime AS t, date(eventTime), 2 * 3 FROM EDS ORDER BY KEY DESC LIMIT 5`, true},
		{`SELECT EVENTTIME FROM EDS WHERE eventTime > '2026-01-06 00:00:00' AND eventName IN (SELECT eventName FROM EDS) ORDER BY KEY LIMIT 100`, true},
		{`SELECT eventName, row_number() OVER (ORDER BY eventTime) FROM EDS ORDER BY KEY DESC LIMIT 3`, true},

		{`SELECT eventName FROM EDS ORDER BY KEY DESC`, false},
		{`SELECT date(eventTime) AS eventTime, eventID FROM EDS ORDER BY KEY DESC, 2 LIMIT 3`, false},
		{`SELECT eventName eventTime FROM EDS ORDER BY KEY, eventID LIMIT 3`, false},
		{`SELECT DISTINCT eventTime FROM EDS ORDER BY KEY LIMIT 3`, false},
		{`SELECT eventTime, count(*) FROM EDS GROUP BY eventTime ORDER BY KEY LIMIT 3`, false},
		{`SELECT eventTime FROM EDS UNION SELECT eventTime FROM EAST ORDER BY KEY LIMIT 3`, false},
		{`SELECT a.eventName FROM EDS a JOIN EAST b ON a.eventID = b.eventID ORDER BY a.KEY LIMIT 3`, false},
		{`SELECT a.eventName FROM EDS a, EAST b WHERE a.eventID = b.eventID ORDER BY a.KEY LIMIT 3`, false},
		{`SELECT eventName FROM (SELECT * FROM EDS) ORDER BY KEY LIMIT 3`, false},
		{`SELECT eventName FROM EDS ORDER BY eventName, KEY LIMIT 3`, false},
		{`SELECT eventName FROM EDS ORDER BY KEY + interval '1' day LIMIT 3`, false},
		{`WITH x AS (SELECT * FROM EDS) SELECT eventName FROM x ORDER BY KEY LIMIT 3`, false},
		{`SELECT eventTime FROM AUDIT ORDER BY KEY DESC LIMIT 1`, true},
	} {
		query := strings.NewReplacer("EDS", lake, "EAST", east, "AUDIT", outside).Replace(c.sql)
		toks, err := lakeLex(strings.ReplaceAll(query, "KEY", "eventTime"))
		if err != nil {
			t.Fatal(err)
		}
		if got := lakeTranslation(toks, nil).orderByTime(); got != c.form {
			t.Errorf("%s\nof the form: %v", c.sql, got)
		}
		got, err := askLake(t, e, nil, lakeStores(), strings.ReplaceAll(query, "KEY", "eventTime"))
		if err != nil {
			t.Errorf("%s\n%v", c.sql, err)
			continue
		}
		want, err := askLake(t, e, nil, lakeStores(), regexp.MustCompile(`(\w\.)?KEY`).ReplaceAllString(query, "(${1}eventTime)"))
		if err != nil {
			t.Errorf("%s\n%v", c.sql, err)
			continue
		}
		if len(got) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s\ngot  %q\nwant %q", c.sql, got, want)
		}
	}
	_, err := askLake(t, e, nil, lakeStores(), "SELECT count(*) FROM "+lake+" ORDER BY eventTime LIMIT 1")
	if err == nil || strings.Contains(err.Error(), "spoor") {
		t.Errorf("got %v", err)
	}
	rows, err := e.Query(t.Context(), "SELECT * FROM "+lake+" ORDER BY eventTime LIMIT 1", QueryOptions{DataStores: lakeStores()})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range rows.Columns {
		if c.Name == timeColumn {
			t.Errorf("there is a column %q", c.Name)
		}
	}
	if err := rows.Close(); err != nil {
		t.Error(err)
	}
}
