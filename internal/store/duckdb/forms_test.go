package duckdb

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of forms into docs/sql.md")

// form is a published form of a query, with its verdict.
type form struct {
	form string
	note string // what differs, or why it is refused
	sql  string
	want []string
	// refused is what the refusal must say.
	refused string
}

func (f form) verdict() string {
	switch {
	case f.refused != "":
		return "refused"
	case f.note != "":
		return "runs with a difference"
	}
	return "runs"
}

func one(s ...string) []string { return s }

const lake = "a1b2c3d4-0000-4000-8000-00000000abcd"

func forms() []form {
	return []form{
		// The table.
		{form: `FROM cloudtrail_logs`, sql: `SELECT count(*) FROM cloudtrail_logs`, want: one("4")},
		{form: `FROM "default"."cloudtrail_logs"`, sql: `SELECT count(*) FROM "default"."cloudtrail_logs"`, want: one("4")},
		{form: `FROM default.cloudtrail_logs`, sql: `SELECT count(*) FROM default.cloudtrail_logs`, want: one("4")},
		{form: `FROM AwsDataCatalog.default.cloudtrail_logs`, sql: `SELECT count(*) FROM "AwsDataCatalog"."default".cloudtrail_logs`, want: one("4")},
		{form: `FROM cloudtrail_logs_mybucket (--table-name)`, sql: `SELECT count(*) FROM cloudtrail_logs_mybucket`, want: one("4")},
		{form: `FROM <event data store id>`, sql: `SELECT count(*) FROM ` + lake, want: one("4")},
		{form: `FROM "<event data store id>" AS t`, sql: `SELECT count(t.eventID) FROM "` + lake + `" AS t`, want: one("4")},
		{form: `FROM $EDS_ID`, sql: `SELECT count(*) FROM $EDS_ID`, want: one("4")},
		{form: `FROM <id> a JOIN <id> b`, sql: `SELECT count(*) FROM ` + lake + ` a JOIN b1b2c3d4-0000-4000-8000-00000000abcd b ON a.eventID = b.eventID`, want: one("4"), note: "every id means the same events"},
		{form: `FROM cloudtrail_logs FOR TIMESTAMP AS OF …`, sql: `SELECT 1 FROM cloudtrail_logs FOR TIMESTAMP AS OF now()`, refused: "syntax error", note: "a tag or time is chosen by the store, not by the query"},
		{form: `eventtime >= '2026-01-01T00:00:00Z'`, sql: `SELECT eventid FROM cloudtrail_logs WHERE eventtime >= '2026-01-06T11:00:00Z' AND eventtime < '2026-01-07T00:00:00Z'`, want: one("00000000-0000-4000-8000-000000000003")},
		{form: `eventTime > '2026-01-06 00:00:00' (Lake)`, sql: `SELECT eventID FROM ` + lake + ` WHERE eventTime > '2026-01-06 00:00:00' AND eventTime < '2026-01-07 00:00:00'`, want: one("00000000-0000-4000-8000-000000000003")},
		{form: `timestamp = '2026/01/05'`, sql: `SELECT count(*) FROM cloudtrail_logs WHERE timestamp >= '2026/01/05' AND "timestamp" < '2026/01/06'`, want: one("2")},
		{form: `region, account, year, month, day`, sql: `SELECT DISTINCT region, account, year, month, day FROM cloudtrail_logs WHERE year = '2026' AND month = '01' AND day = '05' ORDER BY region`, want: one("eu-west-1 | 111122223333 | 2026 | 01 | 05", "us-east-1 | 111122223333 | 2026 | 01 | 05")},
		{form: `readonly = 'true'`, sql: `SELECT eventname FROM cloudtrail_logs WHERE readonly = 'true'`, want: one("GetObject")},
		{form: `reciprocalvpcid`, note: "always NULL: no record has it", sql: `SELECT count(reciprocalvpcid) FROM cloudtrail_logs`, want: one("0")},
		{form: `useridentity.sessioncontext.sessionissuer.username`, sql: `SELECT useridentity.sessioncontext.sessionissuer.username FROM cloudtrail_logs WHERE useridentity.type = 'AssumedRole'`, want: one("Deploy")},
		{form: `userIdentity.sessionContext.attributes.mfaAuthenticated, any letter case`, sql: `SELECT USERIDENTITY.sessionContext.Attributes.mfaAuthenticated FROM cloudtrail_logs WHERE userIdentity.TYPE = 'AssumedRole'`, want: one("false")},
		{form: `useridentity.sessioncontext.webidfederationdata.attributes['sub']`, sql: `SELECT useridentity.sessioncontext.webidfederationdata.attributes['sub'] FROM cloudtrail_logs WHERE useridentity.type = 'AssumedRole'`, want: one("repo:x")},
		{form: `addendum.reason, tlsdetails.tlsversion`, sql: `SELECT max(addendum.reason), max(addendum.originaleventid), max(tlsdetails.tlsversion) FROM cloudtrail_logs`, want: one("UPDATED_DATA | E0 | TLSv1.3")},
		{form: `SELECT useridentity`, note: "structs are shown as JSON", sql: `SELECT tlsdetails FROM cloudtrail_logs WHERE tlsdetails IS NOT NULL`, want: one(`{"tlsversion":"TLSv1.3","ciphersuite":"TLS_AES_128_GCM_SHA256","clientprovidedhostheader":"payroll.s3.amazonaws.com"}`)},
		{form: `eventJson, eventJsonChecksum (Lake)`, note: "eventJsonChecksum is always NULL", sql: `SELECT json_extract_scalar(eventJson, '$.eventName'), eventJsonChecksum FROM ` + lake + ` WHERE eventName = 'GetObject'`, want: one("GetObject | ∅")},
		// Maps and arrays.
		{form: `element_at(map, key)`, sql: `SELECT element_at(requestParameters, 'bucketName'), element_at(requestParameters, 'none') FROM ` + lake + ` WHERE eventName = 'GetObject'`, want: one("payroll | ∅")},
		{form: `element_at(requestParameters, 'ipPermissions') LIKE '%0.0.0.0/0%'`, sql: `SELECT eventName FROM ` + lake + ` WHERE element_at(requestParameters, 'ipPermissions') LIKE '%0.0.0.0/0%'`, want: one("AuthorizeSecurityGroupIngress")},
		{form: `json_extract_scalar(element_at(requestParameters, 'X'), '$.Y')`, sql: `SELECT json_extract_scalar(element_at(requestParameters, 'ipPermissions'), '$.items[0].ipProtocol') FROM ` + lake + ` WHERE eventSource = 'ec2.amazonaws.com'`, want: one("tcp")},
		{form: `element_at(array, n)`, sql: `SELECT element_at(ARRAY['a', 'b'], 2), element_at(ARRAY['a', 'b'], -1), element_at(ARRAY['a'], 5)`, want: one("b | b | ∅")},
		{form: `array[n]`, note: "a subscript out of range is NULL, not an error", sql: `SELECT ARRAY[1, 2][1], ARRAY[1, 2][3]`, want: one("1 | ∅")},
		{form: `map['key']`, note: "a missing key is NULL, not an error", sql: `SELECT map(ARRAY['a'], ARRAY[1])['a'], map(ARRAY['a'], ARRAY[1])['b']`, want: one("1 | ∅")},
		{form: `map(ARRAY[…], ARRAY[…]), map()`, sql: `SELECT map(ARRAY['a', 'b'], ARRAY[1, 2]), cardinality(map())`, want: one(`{"a":1,"b":2} | 0`)},
		{form: `map_keys, map_values`, sql: `SELECT map_keys(map(ARRAY['a'], ARRAY[1])), map_values(map(ARRAY['a'], ARRAY[1]))`, want: one(`["a"] | [1]`)},
		{form: `map_agg(k, v)`, sql: `SELECT map_agg(k, v) FROM (VALUES ('a', 1), ('b', 2)) t(k, v)`, want: one(`{"a":1,"b":2}`)},
		{form: `map_filter, transform_values, transform_keys, zip_with`, sql: `SELECT map_filter(m, (k, v) -> v > 1), transform_values(m, (k, v) -> v + 1), transform_keys(m, (k, v) -> upper(k)), zip_with(ARRAY[1, 2], ARRAY[3, 4], (x, y) -> x * y) FROM (SELECT map(ARRAY['a', 'b'], ARRAY[1, 2]) m)`, want: one(`{"b":2} | {"a":2,"b":3} | {"A":1,"B":2} | [3,8]`)},
		{form: `transform(array, x -> …)`, sql: `SELECT transform(ARRAY[1, 2], x -> x + 1), transform(resources, r -> r.type) FROM cloudtrail_logs WHERE eventname = 'GetObject'`, want: one(`[2,3] | ["AWS::S3::Object","AWS::S3::Bucket"]`)},
		{form: `transform(cast(json_extract(…) AS array(json)), x -> json_extract_scalar(x, …))`, sql: `SELECT transform(cast(json_extract(requestparameters, '$.ipPermissions.items') AS array(json)), x -> json_extract_scalar(x, '$.toPort')) FROM cloudtrail_logs WHERE eventsource = 'ec2.amazonaws.com'`, want: one(`["22"]`)},
		{form: `filter(array, x -> …)`, sql: `SELECT filter(ARRAY[1, 2, 3], x -> x > 1), cardinality(filter(resources, r -> r.type = 'AWS::S3::Bucket')) FROM cloudtrail_logs WHERE eventname = 'GetObject'`, want: one("[2,3] | 1")},
		{form: `any_match, all_match, none_match`, sql: `SELECT any_match(ARRAY[1, 2], x -> x > 1), all_match(ARRAY[1, 2], x -> x > 1), none_match(ARRAY[1, 2], x -> x > 2), any_match(ARRAY[], x -> x > 1), all_match(ARRAY[], x -> x > 1)`, want: one("true | false | true | false | true")},
		{form: `reduce(array, start, f, g)`, sql: `SELECT reduce(ARRAY[1, 2, 3], 10, (s, x) -> s + x, s -> s * 2), reduce(ARRAY['a', 'b'], '', (s, x) -> s || x, s -> s)`, want: one("32 | ab")},
		{form: `cardinality(array), cardinality(map)`, sql: `SELECT cardinality(ARRAY[1, 2]), cardinality(map(ARRAY['a'], ARRAY[1]))`, want: one("2 | 1")},
		{form: `contains(array, x)`, sql: `SELECT contains(ARRAY['a', 'b'], 'a'), contains(transform(resources, r -> r.arn), 'arn:aws:s3:::payroll') FROM cloudtrail_logs WHERE eventname = 'GetObject'`, want: one("true | true")},
		{form: `array_agg, array_join, array_distinct, array_sort`, sql: `SELECT array_join(array_sort(array_distinct(array_agg(useridentity.type))), ',') FROM cloudtrail_logs`, want: one("AssumedRole,IAMUser,Root")},
		{form: `array_join(array, ',', 'null')`, sql: `SELECT array_join(ARRAY['a', NULL], ','), array_join(ARRAY['a', NULL], ',', '?')`, want: one("a | a,?")},
		{form: `array_max, array_min, array_position, array_remove, slice`, sql: `SELECT array_max(ARRAY[1, 3]), array_min(ARRAY[1, 3]), array_position(ARRAY['a', 'b'], 'b'), array_position(ARRAY['a'], 'x'), array_remove(ARRAY[1, 2, 1], 1), slice(ARRAY[1, 2, 3, 4], 2, 2), slice(ARRAY[1, 2, 3], -2, 2)`, want: one("3 | 1 | 2 | 0 | [2] | [2,3] | [2,3]")},
		{form: `array_union, array_except, array_intersect, arrays_overlap, flatten`, sql: `SELECT array_sort(array_union(ARRAY[1, 2], ARRAY[2, 3])), array_except(ARRAY[1, 2], ARRAY[2]), array_intersect(ARRAY[1, 2], ARRAY[2]), arrays_overlap(ARRAY[1], ARRAY[2]), flatten(ARRAY[ARRAY[1], ARRAY[2]])`, want: one("[1,2,3] | [1] | [2] | false | [1,2]")},
		{form: `sequence(1, 3)`, sql: `SELECT sequence(1, 3), sequence(1, 5, 2), cardinality(sequence(date '2026-01-01', date '2026-01-03', interval '1' day))`, want: one("[1,2,3] | [1,3,5] | 3")},
		{form: `CROSS JOIN UNNEST(array) AS t(x)`, sql: `SELECT r.arn FROM cloudtrail_logs CROSS JOIN UNNEST(transform(resources, x -> x)) AS t(r) ORDER BY 1`, want: one("arn:aws:s3:::payroll", "arn:aws:s3:::payroll/2026/january.csv"), note: "with one name an array of rows gives the row, with one name for each member its members"},
		{form: `CROSS JOIN UNNEST(array of rows) AS t(a, b, c)`, sql: `SELECT t.a, t.c FROM cloudtrail_logs CROSS JOIN UNNEST(resources) AS t(a, b, c) ORDER BY 1`, want: one("arn:aws:s3:::payroll | AWS::S3::Bucket", "arn:aws:s3:::payroll/2026/january.csv | AWS::S3::Object")},
		{form: `, UNNEST(map) AS t(k, v)`, sql: `SELECT k, v FROM ` + lake + `, UNNEST(requestParameters) AS t(k, v) WHERE eventName = 'GetObject' AND k = 'key'`, want: one("key | 2026/january.csv")},
		{form: `UNNEST(a, b) AS t(x, y)`, sql: `SELECT x, y FROM (SELECT ARRAY[1, 2] a, ARRAY['p'] b) CROSS JOIN UNNEST(a, b) AS t(x, y) ORDER BY x`, want: one("1 | p", "2 | ∅")},
		{form: `UNNEST(…) WITH ORDINALITY`, sql: `SELECT x, n FROM (SELECT ARRAY['p', 'q'] a) CROSS JOIN UNNEST(a) WITH ORDINALITY AS t(x, n) ORDER BY n`, want: one("p | 1", "q | 2")},
		// JSON.
		{form: `json_extract(text, path)`, sql: `SELECT json_extract(requestparameters, '$.bucketName'), json_extract(requestparameters, '$.Host'), json_extract(requestparameters, '$.none') FROM cloudtrail_logs WHERE eventname = 'GetObject'`, want: one(`"payroll" | ["a","b"] | ∅`)},
		{form: `json_extract of text that is no JSON`, sql: `SELECT json_extract('{', '$.a'), json_extract_scalar('x', '$.a')`, want: one("∅ | ∅")},
		{form: `json_extract_scalar(text, path)`, sql: `SELECT json_extract_scalar(requestparameters, '$.bucketName'), json_extract_scalar(requestparameters, '$.Host'), json_extract_scalar(additionaleventdata, '$.bytesTransferredOut') FROM cloudtrail_logs WHERE eventname = 'GetObject'`, want: one("payroll | ∅ | 1234")},
		{form: `'$["x-amz-acl"]', '$.x-amz-acl', '$.Host[1]'`, sql: `SELECT json_extract_scalar(requestparameters, '$["x-amz-acl"]'), json_extract_scalar(requestparameters, '$.x-amz-acl'), json_extract_scalar(requestparameters, '$.Host[1]') FROM cloudtrail_logs WHERE eventname = 'GetObject'`, want: one("private | private | b")},
		{form: `json_extract(x, '$..name')`, note: "the result is an array of what was found, of DuckDB's paths", sql: `SELECT json_extract('{"a":{"n":1},"b":{"n":2}}', '$..n')`, want: one("[1,2]")},
		{form: `cast(json_extract(…) AS varchar)`, sql: `SELECT cast(json_extract(requestparameters, '$.bucketName') AS varchar), CAST(json_extract(requestparameters, '$.Host') AS VARCHAR) FROM cloudtrail_logs WHERE eventname = 'GetObject'`, note: "arrays and objects give their text; Trino refuses them", want: one(`payroll | ["a","b"]`)},
		{form: `cast(json_extract(…) AS double | bigint | boolean)`, sql: `SELECT cast(json_extract(additionaleventdata, '$.bytesTransferredOut') AS double), cast(json_extract(additionaleventdata, '$.bytesTransferredOut') AS bigint) FROM cloudtrail_logs WHERE eventname = 'GetObject'`, want: one("1234.0 | 1234")},
		{form: `cast(json_parse(…) AS array(varchar))`, sql: `SELECT cast(json_parse('["a","b"]') AS array(varchar)), cast(json_extract(requestparameters, '$.Host') AS array(varchar))[2] FROM cloudtrail_logs WHERE eventname = 'GetObject'`, want: one(`["a","b"] | b`)},
		{form: `cast(json_parse(…) AS map(varchar, varchar))`, sql: `SELECT cast(json_parse(additionaleventdata) AS map(varchar, varchar))['SignatureVersion'], map_values(cast(json_parse('{"a":{"b":1}}') AS map(varchar, json))) FROM cloudtrail_logs WHERE eventname = 'GetObject'`, want: one(`SigV4 | [{"b":1}]`)},
		{form: `cast(… AS array(row(a varchar, b bigint)))`, sql: `SELECT cast(json_extract(requestparameters, '$.ipPermissions.items') AS array(row(ipProtocol varchar, fromPort bigint)))[1].fromPort FROM cloudtrail_logs WHERE eventsource = 'ec2.amazonaws.com'`, want: one("22")},
		{form: `cast(x AS json)`, sql: `SELECT cast('a' AS json), cast(ARRAY[1, 2] AS json), cast(map(ARRAY['k'], ARRAY[1]) AS json)`, want: one(`"a" | [1,2] | {"k":1}`)},
		{form: `json_parse, json_format`, sql: `SELECT json_format(json_parse('{"a": 1}')), json_format(json_extract('{"a":"b"}', '$.a'))`, want: one(`{"a":1} | "b"`)},
		{form: `json_array_get(json, n)`, sql: `SELECT json_array_get('["a","b"]', 0), json_array_get('["a","b"]', -1), json_array_get('["a"]', 5), json_array_get(json_extract(requestparameters, '$.Host'), 1) FROM cloudtrail_logs WHERE eventname = 'GetObject'`, want: one(`"a" | "b" | ∅ | "b"`)},
		{form: `json_array_length(json)`, sql: `SELECT json_array_length('[1,2]'), json_array_length('{"a":1}'), json_array_length('x')`, want: one("2 | ∅ | ∅")},
		{form: `json_array_contains, json_size, is_json_scalar`, sql: `SELECT json_array_contains('[1, 2]', 2), json_array_contains('["a"]', 'b'), json_size('{"x":{"a":1,"b":2}}', '$.x'), json_size('{"x":[1]}', '$.x'), is_json_scalar('1'), is_json_scalar('[1]')`, want: one("true | false | 2 | 1 | true | false")},
		{form: `json_query, json_value with lax/strict paths`, sql: `SELECT json_value('{"a":"b"}', 'lax $.a')`, refused: "lax or strict", note: "write json_extract_scalar"},
		{form: `JSON '{"a":1}'`, sql: `SELECT json_extract(JSON '{"a":1}', '$.a')`, want: one("1")},
		// Text.
		{form: `LIKE, case-sensitive; NOT LIKE; LIKE … ESCAPE`, sql: `SELECT 'abc' LIKE 'A%', 'abc' LIKE 'a_c', 'a%c' LIKE 'a\%c' ESCAPE '\', 'x' NOT LIKE 'y'`, want: one("false | true | true | true")},
		{form: `||, concat: NULL when a part is NULL`, sql: `SELECT 'a' || NULL, concat('a', NULL), concat('a', 'b', 'c')`, want: one("∅ | ∅ | abc")},
		{form: `lower, upper, trim, length, substr, reverse, strpos, starts_with`, sql: `SELECT lower('A'), upper('a'), trim(' a '), length('abc'), substr('abc', 2, 1), reverse('ab'), strpos('abc', 'c'), starts_with('abc', 'ab')`, want: one("a | A | a | 3 | b | ba | 3 | true")},
		{form: `replace(s, x, y), replace(s, x)`, sql: `SELECT replace('a-b', '-', '+'), replace('a-b', '-')`, want: one("a+b | ab")},
		{form: `split(s, d)[1]`, sql: `SELECT split('a/b/c', '/')[1], split('a/b/c', '/')[3], cardinality(split('a/b/c', '/')), split('a/b/c', '/', 2)`, want: one(`a | c | 3 | ["a","b/c"]`)},
		{form: `split_part(s, d, n)`, note: "a part that is not there is empty, not NULL", sql: `SELECT split_part('a/b', '/', 2), split_part('a/b', '/', 3)`, want: one("b | ")},
		{form: `split_to_map(s, ',', '=')`, sql: `SELECT split_to_map('a=1,b=2', ',', '=')['b']`, want: one("2")},
		{form: `regexp_like(s, p)`, sql: `SELECT regexp_like('abc', '^a.c$'), regexp_like('abc', 'b'), regexp_like('ABC', '(?i)abc')`, want: one("true | true | true")},
		{form: `regexp_extract(s, p), regexp_extract(s, p, n)`, sql: `SELECT regexp_extract('role/Deploy/x', 'role/[^/]+'), regexp_extract('role/Deploy/x', 'role/([^/]+)', 1), regexp_extract('a', 'b')`, want: one("role/Deploy | Deploy | ∅")},
		{form: `regexp_extract_all, regexp_split`, sql: `SELECT regexp_extract_all('a1b2', '\d'), regexp_split('a1b2c', '\d')`, want: one(`["1","2"] | ["a","b","c"]`)},
		{form: `regexp_replace(s, p), regexp_replace(s, p, '$1')`, sql: `SELECT regexp_replace('a1b2', '\d'), regexp_replace('a1b2', '([a-z])\d', '$1-'), regexp_replace('a1', '\d', 'x')`, want: one("ab | a-b- | ax")},
		{form: `patterns with look-around or back references`, sql: `SELECT regexp_like('ab', 'a(?=b)')`, refused: "invalid perl operator", note: "patterns are RE2's: matched in linear time, whatever the log holds"},
		{form: `url_extract_host, from_utf8, to_utf8, to_hex, chr`, sql: `SELECT url_extract_host('https://console.aws.amazon.com:443/x?y'), from_utf8(to_utf8('a')), to_hex(to_utf8('az')), chr(97)`, want: one("console.aws.amazon.com | a | 617A | a")},
		{form: `levenshtein_distance, lpad, rpad`, sql: `SELECT levenshtein_distance('ab', 'ac'), lpad('a', 3, '.'), rpad('a', 3, '.')`, want: one("1 | ..a | a..")},
		{form: `format('%s', x)`, sql: `SELECT format('%s', 'a')`, refused: "format cannot be used", note: "its result can be of any size; write concat or ||"},
		// Numbers and conditions.
		{form: `integer division: 7 / 2`, sql: `SELECT 7 / 2, -7 / 2, 7.0 / 2, 7 % 3, -7 % 3, mod(7, 3), count(*) / 3 FROM cloudtrail_logs`, want: one("3 | -3 | 3.5 | 1 | -1 | 1 | 1")},
		{form: `division by zero`, note: "NULL, or infinity for floating point; Trino ends with an error", sql: `SELECT 1 / 0, try(1 / 0)`, want: one("∅ | ∅")},
		{form: `cast(… AS double), try_cast`, sql: `SELECT cast('1.5' AS double), try_cast('x' AS double), try_cast('7' AS integer), cast(7 AS varchar), cast('abc' AS varchar(2))`, want: one("1.5 | ∅ | 7 | 7 | ab")},
		{form: `try(…)`, sql: `SELECT try(cast('x' AS bigint)), try(json_parse('{')), try(1)`, want: one("∅ | ∅ | 1")},
		{form: `coalesce, nullif, if, CASE`, sql: `SELECT coalesce(NULL, 1), nullif(1, 1), if(true, 'a'), if(false, 'a'), if(false, 'a', 'b'), CASE WHEN 1 > 2 THEN 'x' ELSE 'y' END`, want: one("1 | ∅ | a | ∅ | b | y")},
		{form: `greatest, least`, note: "NULLs are left out; in Trino one makes the result NULL", sql: `SELECT greatest(1, NULL, 2), least(1, 2)`, want: one("2 | 1")},
		{form: `round, ceil, floor, abs, power, sqrt`, sql: `SELECT round(1.25, 1), ceil(1.2), floor(1.8), abs(-1), power(2, 3), sqrt(9)`, want: one("1.3 | 2 | 1 | 1 | 8.0 | 3.0")},
		{form: `IS DISTINCT FROM, BETWEEN, IN, EXISTS`, sql: `SELECT 1 IS DISTINCT FROM NULL, 2 BETWEEN 1 AND 3, 'a' IN ('a', 'b'), EXISTS (SELECT 1 FROM cloudtrail_logs WHERE eventname = 'CreateUser')`, want: one("true | true | true | true")},
		{form: `contains('10.0.0.0/8', cast(x AS ipaddress))`, sql: `SELECT cast('10.0.0.1' AS ipaddress)`, refused: "ipaddress", note: "write ip_in(address, network), or is_subnet_of(network, address)"},
		// Time.
		{form: `from_iso8601_timestamp(eventtime)`, sql: `SELECT from_iso8601_timestamp(eventtime) FROM cloudtrail_logs WHERE eventname = 'GetObject'`, want: one("2026-01-05T09:12:41Z")},
		{form: `date(from_iso8601_timestamp(eventtime)), date(ts)`, sql: `SELECT date(from_iso8601_timestamp(eventtime)), count(*) FROM cloudtrail_logs GROUP BY 1 ORDER BY 1 LIMIT 1`, want: one("2026-01-05 | 2")},
		{form: `cast(eventtime AS timestamp), timestamp(3), timestamp with time zone`, sql: `SELECT cast(eventtime AS timestamp), cast(eventtime AS timestamp(3)), cast(eventtime AS timestamp with time zone) FROM cloudtrail_logs WHERE eventname = 'GetObject'`, note: "Trino wants a blank in place of T and no Z; both are taken", want: one("2026-01-05 09:12:41 | 2026-01-05 09:12:41 | 2026-01-05T09:12:41Z")},
		{form: `date '…', timestamp '…', interval '7' day`, sql: `SELECT date '2026-01-05' + interval '2' day, timestamp '2026-01-05 10:00:00' - interval '1' hour, timestamp '2026-01-05 10:00:00' - interval '1' month`, note: "a date and an interval give a timestamp", want: one("2026-01-07 00:00:00 | 2026-01-05 09:00:00 | 2025-12-05 10:00:00")},
		{form: `current_timestamp - interval '7' day, now(), current_date`, sql: `SELECT now() > current_timestamp - interval '7' day, current_date >= date '2026-01-01', localtimestamp IS NOT NULL`, want: one("true | true | true")},
		{form: `date_add('day', -1, ts)`, sql: `SELECT date_add('day', -1, timestamp '2026-01-05 10:00:00'), date_add('hour', 2, timestamp '2026-01-05 10:00:00'), date_add('month', 1, date '2026-01-31'), date_add('minute', 15, from_iso8601_timestamp('2026-01-05T10:00:00Z'))`, note: "a date gives a timestamp", want: one("2026-01-04 10:00:00 | 2026-01-05 12:00:00 | 2026-02-28 00:00:00 | 2026-01-05T10:15:00Z")},
		{form: `date_diff('day', a, b)`, sql: `SELECT date_diff('day', timestamp '2026-01-01 12:00:00', timestamp '2026-01-02 11:00:00'), date_diff('hour', timestamp '2026-01-01 12:00:00', timestamp '2026-01-02 11:00:00'), date_diff('day', date '2026-01-01', date '2026-01-05')`, want: one("0 | 23 | 4")},
		{form: `date_trunc('hour', ts)`, sql: `SELECT date_trunc('hour', timestamp '2026-01-05 10:11:12'), date_trunc('day', from_iso8601_timestamp('2026-01-05T10:11:12Z')), date_trunc('month', date '2026-01-05')`, note: "a date gives a timestamp", want: one("2026-01-05 10:00:00 | 2026-01-05T00:00:00Z | 2026-01-01 00:00:00")},
		{form: `date_format(ts, '%Y-%m-%d %H:%i:%s')`, sql: `SELECT date_format(timestamp '2026-01-05 10:11:12', '%Y-%m-%d %H:%i:%s'), date_format(timestamp '2026-01-05 15:11:12', '%W %e %M %h %p %T')`, note: "the pattern must be a literal", want: one("2026-01-05 10:11:12 | Monday 5 January 03 PM 15:11:12")},
		{form: `date_parse(s, '%Y-%m-%dT%H:%i:%sZ')`, sql: `SELECT date_parse(eventtime, '%Y-%m-%dT%H:%i:%sZ'), date_parse('2026/01/05', '%Y/%m/%d') FROM cloudtrail_logs WHERE eventname = 'GetObject'`, note: "the pattern must be a literal", want: one("2026-01-05 09:12:41 | 2026-01-05 00:00:00")},
		{form: `parse_datetime(s, 'yyyy-MM-dd''T''HH:mm:ss''Z'''), format_datetime`, sql: `SELECT parse_datetime(eventtime, 'yyyy-MM-dd''T''HH:mm:ss''Z'''), format_datetime(timestamp '2026-01-05 10:11:12', 'yyyy/MM/dd HH:mm') FROM cloudtrail_logs WHERE eventname = 'GetObject'`, note: "the pattern must be a literal", want: one("2026-01-05T09:12:41Z | 2026/01/05 10:11")},
		{form: `to_unixtime(ts), from_unixtime(n)`, sql: `SELECT to_unixtime(from_iso8601_timestamp('1970-01-01T00:01:00Z')), from_unixtime(60)`, want: one("60.0 | 1970-01-01T00:01:00Z")},
		{form: `to_iso8601(ts)`, sql: `SELECT to_iso8601(from_iso8601_timestamp('2026-01-05T10:00:00Z')), to_iso8601(date '2026-01-05')`, want: one("2026-01-05T10:00:00.000Z | 2026-01-05")},
		{form: `day_of_week (1 = Monday), dow, day_of_month, day_of_year, week_of_year`, sql: `SELECT day_of_week(date '2026-01-05'), day_of_week(date '2026-01-04'), dow(date '2026-01-05'), day_of_month(date '2026-01-05'), day_of_year(date '2026-02-01'), week_of_year(date '2026-01-05'), year(date '2026-01-05'), month(date '2026-01-05'), hour(timestamp '2026-01-05 10:00:00')`, want: one("1 | 7 | 1 | 5 | 32 | 2 | 2026 | 1 | 10")},
		{form: `extract(hour FROM ts)`, sql: `SELECT extract(hour FROM from_iso8601_timestamp('2026-01-05T10:00:00Z')), extract(year FROM date '2026-01-05')`, want: one("10 | 2026")},
		{form: `at_timezone(ts, zone), ts AT TIME ZONE zone`, note: "gives the local time without its zone", sql: `SELECT at_timezone(from_iso8601_timestamp('2026-01-05T10:00:00Z'), 'America/New_York'), from_iso8601_timestamp('2026-01-05T10:00:00Z') AT TIME ZONE 'Asia/Tokyo'`, want: one("2026-01-05 05:00:00 | 2026-01-05 19:00:00")},
		// Aggregates and windows.
		{form: `count(*), count(DISTINCT x), count_if, sum, avg, min, max`, sql: `SELECT count(*), count(DISTINCT eventsource), count_if(errorcode IS NOT NULL), min(eventname) FROM cloudtrail_logs`, want: one("4 | 4 | 1 | AuthorizeSecurityGroupIngress")},
		{form: `approx_distinct(x)`, sql: `SELECT approx_distinct(eventsource), approx_distinct(eventname) FILTER (WHERE errorcode IS NULL) FROM cloudtrail_logs`, want: one("4 | 3")},
		{form: `approx_percentile(x, 0.5)`, sql: `SELECT approx_percentile(x, 0.5) FROM (VALUES (1), (2), (3)) t(x)`, want: one("2")},
		{form: `arbitrary, any_value, max_by, min_by`, sql: `SELECT arbitrary(awsregion), max_by(eventname, eventtime), min_by(eventname, eventtime) FROM cloudtrail_logs WHERE awsregion = 'us-east-1'`, want: one("us-east-1 | ConsoleLogin | GetObject")},
		{form: `bool_or, bool_and, every, set_agg, histogram`, sql: `SELECT bool_or(x > 1), every(x > 1), array_sort(set_agg(x % 2)), histogram(x % 2) FROM (VALUES (1), (2), (3)) t(x)`, want: one(`true | false | [0,1] | {"0":1,"1":2}`)},
		{form: `listagg(x, ',') WITHIN GROUP (ORDER BY x)`, sql: `SELECT listagg(eventname, ',') WITHIN GROUP (ORDER BY eventname) FROM cloudtrail_logs`, refused: "listagg", note: "write array_join(array_agg(x ORDER BY x), ',')"},
		{form: `array_agg(x ORDER BY y)`, sql: `SELECT array_agg(eventname ORDER BY eventtime DESC)[1] FROM cloudtrail_logs`, want: one("ConsoleLogin")},
		{form: `GROUP BY …, HAVING, ROLLUP, GROUPING SETS`, sql: `SELECT awsregion, count(*) FROM cloudtrail_logs GROUP BY ROLLUP (awsregion) HAVING count(*) > 1 ORDER BY 2`, want: one("us-east-1 | 3", "∅ | 4")},
		{form: `rank() OVER (PARTITION BY … ORDER BY …), row_number, lag, lead`, sql: `SELECT eventname, rank() OVER (PARTITION BY awsregion ORDER BY eventtime), lag(eventname) OVER (ORDER BY eventtime) FROM cloudtrail_logs ORDER BY eventtime LIMIT 2`, want: one("GetObject | 1 | ∅", "AuthorizeSecurityGroupIngress | 1 | GetObject")},
		// The rest of the language.
		{form: `ORDER BY: NULLs last in both directions`, sql: `SELECT errorcode FROM cloudtrail_logs WHERE eventname IN ('CreateUser', 'GetObject') ORDER BY errorcode DESC`, want: one("AccessDenied", "∅")},
		{form: `WITH, UNION ALL, EXCEPT, INTERSECT, subqueries`, sql: `WITH a AS (SELECT eventname FROM cloudtrail_logs WHERE readonly = 'true'), b AS (SELECT 'x' AS eventname) SELECT * FROM a UNION ALL SELECT * FROM b EXCEPT SELECT 'none' ORDER BY 1`, want: one("GetObject", "x")},
		{form: `WITH RECURSIVE`, sql: `WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 3) SELECT array_agg(x) FROM n`, want: one("[1,2,3]")},
		{form: `comments -- and /* */, a final semicolon`, sql: "-- who\nSELECT /* what */ 1 -- x\n; -- end", want: one("1")},
		{form: `LIMIT n, OFFSET n LIMIT m, FETCH FIRST n ROWS ONLY`, sql: `SELECT x FROM (VALUES (1), (2), (3)) t(x) ORDER BY x OFFSET 1 LIMIT 1`, want: one("2")},
		{form: `VALUES, row(…)`, sql: `SELECT t.a, t.b FROM (VALUES (1, 'x'), (2, 'y')) AS t(a, b) WHERE (a, b) = (2, 'y')`, want: one("2 | y")},
		{form: `DESCRIBE t, SHOW COLUMNS FROM t`, note: "with DuckDB's types", sql: `SHOW COLUMNS FROM "default".cloudtrail_logs`, want: nil},
		{form: `SHOW TABLES`, note: "lists what can be asked", sql: `SHOW TABLES`, want: one("cloudtrail_logs", "cloudtrail_logs_mybucket", "event_data_store", "events",
			"seen_actors", "seen_addresses", "seen_agents", "seen_calls", "seen_keys", "seen_regions")},
		{form: `EXPLAIN, EXPLAIN ANALYZE`, note: "DuckDB's plan", sql: `EXPLAIN SELECT 1`, want: nil},
		{form: `CREATE TABLE AS, INSERT, UNLOAD, CREATE VIEW, MSCK REPAIR, ALTER TABLE`, sql: `CREATE TABLE t AS SELECT 1`, refused: "only SELECT", note: "queries only read; --format parquet --out writes a result"},
	}
}

// TestForms runs every published form, and keeps the table in docs/sql.md.
func TestForms(t *testing.T) {
	t.Parallel()
	e := open(t, Options{Files: write(t, records), TableName: "cloudtrail_logs_mybucket"})
	runForms(t, "../../../docs/sql.md", "forms", forms(), func(sql string) ([]string, error) { return ask(t, e, sql) })
}

// runForms runs forms and keeps the table of them in a document.
func runForms(t *testing.T, doc, name string, forms []form, ask func(sql string) ([]string, error)) {
	t.Helper()
	lines := []string{"| form | verdict | difference, or reason and way out |", "|---|---|---|"}
	for _, f := range forms {
		lines = append(lines, strings.TrimSpace(strings.Join([]string{"", code(f.form), f.verdict(), f.note, ""}, " | ")))
		t.Run(f.form, func(t *testing.T) {
			got, err := ask(f.sql)
			if f.refused != "" {
				if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(f.refused)) {
					t.Errorf("%s\ngot %q, %v; want an error with %q", f.sql, got, err, f.refused)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s\n%v", f.sql, err)
			}
			if f.want == nil && len(got) == 0 || f.want != nil && !slices.Equal(got, f.want) {
				t.Errorf("%s\ngot  %q\nwant %q", f.sql, got, f.want)
			}
		})
	}
	checkDoc(t, doc, name, strings.Join(lines, "\n"))
}

func code(s string) string {
	if i := strings.Index(s, "|"); i >= 0 {
		return "<code>" + strings.NewReplacer("&", "&amp;", "<", "&lt;", "|", "&#124;").Replace(s) + "</code>"
	}
	return "`" + s + "`"
}

// checkDoc compares what stands between <!-- name --> and <!-- /name --> in a document.
func checkDoc(t *testing.T, path, name, want string) {
	t.Helper()
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(doc), "<!-- "+name+" -->\n")
	have, after, ok2 := strings.Cut(rest, "\n<!-- /"+name+" -->")
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for %s", path, name)
	}
	if have == want {
		return
	}
	if !*update {
		t.Errorf("%s: the table %s is not up to date; run go test ./internal/store/duckdb -update", path, name)
		return
	}
	if err := os.WriteFile(path, []byte(before+"<!-- "+name+" -->\n"+want+"\n<!-- /"+name+" -->"+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
