package duckdb

// Caps of functions whose result is much larger than their arguments: the engine does not count such texts and lists
// against its memory limit before they are stored.
const (
	maxText = "65536" // bytes of one text
	maxList = "10000" // members of one list; Trino's own limit for sequence
)

// macros are the functions of Trino that DuckDB lacks or means differently, and caps on some of DuckDB's own.
const macros = `
-- text
CREATE MACRO spoor_text(x) AS CASE WHEN typeof(x) = 'JSON' THEN to_json(x) ->> '$' WHEN typeof(x) LIKE 'TIMESTAMP WITH%' THEN system.main.strftime(CAST(x AS TIMESTAMP), '%Y-%m-%d %H:%M:%S.%g UTC') WHEN typeof(x) = 'TIMESTAMP' THEN system.main.strftime(CAST(x AS TIMESTAMP), '%Y-%m-%d %H:%M:%S.%g') ELSE CAST(x AS VARCHAR) END;
CREATE MACRO spoor_simple(p) AS system.main.regexp_full_match(p, '%[ -$&-\[\]^\x60-~]+%');
CREATE MACRO "~~*"(s, p) AS CASE WHEN spoor_simple(p) THEN regexp_matches(s, '(?is)' || regexp_escape(system.main.substring(p, 2, length(p) - 2))) ELSE system.main."~~*"(s, p) END;
CREATE MACRO "!~~*"(s, p) AS CASE WHEN spoor_simple(p) THEN NOT regexp_matches(s, '(?is)' || regexp_escape(system.main.substring(p, 2, length(p) - 2))) ELSE system.main."!~~*"(s, p) END;
CREATE MACRO regexp_like(s, p) AS regexp_matches(s, p);
CREATE MACRO regexp_extract(s, p) AS CASE WHEN regexp_matches(s, p) THEN system.main.regexp_extract(s, p) END,
	(s, p, g) AS CASE WHEN regexp_matches(s, p) THEN system.main.regexp_extract(s, p, g) END;
CREATE MACRO spoor_regexp_replace(s, p) AS system.main.regexp_replace(s, p, '', 'g'),
	(s, p, r) AS system.main.regexp_replace(s, p, system.main.regexp_replace(r, '\$(\d)', '\\\1', 'g'), 'g');
CREATE MACRO regexp_split(s, p) AS string_split_regex(s, p);
CREATE MACRO replace(s, x) AS system.main.replace(s, x, ''), (s, x, y) AS system.main.replace(s, x, y);
CREATE MACRO split(s, d) AS string_split(s, d),
	(s, d, n) AS CASE WHEN len(string_split(s, d)) <= n THEN string_split(s, d)
		ELSE list_concat(list_slice(string_split(s, d), 1, n - 1), [array_to_string(list_slice(string_split(s, d), n, -1), d)]) END;
CREATE MACRO split_to_map(s, e, k) AS map_from_entries(list_transform(string_split(s, e), lambda x: (split_part(x, k, 1), array_to_string(list_slice(string_split(x, k), 2, -1), k))));
CREATE MACRO url_extract_host(u) AS nullif(system.main.regexp_extract(u, '^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/@?#]*@)?([^/:?#]*)', 1), '');
CREATE MACRO from_utf8(b) AS decode(b);
CREATE MACRO to_utf8(s) AS encode(s);
CREATE MACRO repeat(s, n) AS CASE WHEN strlen(s) * n > ` + maxText + ` THEN error('repeat: more than ` + maxText + ` bytes') ELSE system.main.repeat(s, n) END;
CREATE MACRO lpad(s, n, f) AS CASE WHEN n > ` + maxText + ` THEN error('lpad: more than ` + maxText + ` characters') ELSE system.main.lpad(s, n, f) END;
CREATE MACRO rpad(s, n, f) AS CASE WHEN n > ` + maxText + ` THEN error('rpad: more than ` + maxText + ` characters') ELSE system.main.rpad(s, n, f) END;

-- JSON
CREATE MACRO spoor_path(p) AS system.main.regexp_replace(system.main.regexp_replace(p, '\["([^"]*)"\]', '."\1"', 'g'), '\[''([^'']*)''\]', '."\1"', 'g');
CREATE MACRO json_extract(j, p) AS TRY(system.main.json_extract(j, spoor_path(p)));
CREATE MACRO json_extract_scalar(j, p) AS TRY(json_extract_string(system.main.json_value(j, spoor_path(p)), '$'));
CREATE MACRO json_parse(s) AS system.main.json(s);
CREATE MACRO json_format(j) AS CAST(to_json(j) AS VARCHAR);
CREATE MACRO json_array_get(j, i) AS TRY(system.main.json_extract(j, CASE WHEN i < 0 THEN '$[#' ELSE '$[' END || CAST(i AS VARCHAR) || ']'));
CREATE MACRO json_array_length(j) AS CASE WHEN TRY(json_type(j)) = 'ARRAY' THEN CAST(system.main.json_array_length(j) AS BIGINT) END;
CREATE MACRO json_array_contains(j, v) AS list_contains(TRY_CAST(CAST(j AS JSON) AS JSON[]), to_json(v));
CREATE MACRO json_size(j, p) AS CASE WHEN json_type(j, spoor_path(p)) = 'ARRAY' THEN CAST(system.main.json_array_length(j, spoor_path(p)) AS BIGINT)
	WHEN json_type(j, spoor_path(p)) = 'OBJECT' THEN len(json_keys(j, spoor_path(p))) WHEN json_type(j, spoor_path(p)) IS NOT NULL THEN 0 END;
CREATE MACRO is_json_scalar(j) AS json_type(j) NOT IN ('ARRAY', 'OBJECT');

-- arrays and maps
CREATE MACRO element_at(x, k) AS x[k];
CREATE MACRO cardinality(x) AS CASE WHEN typeof(x) LIKE 'MAP(%' THEN len(json_keys(to_json(x))) ELSE CAST(system.main.json_array_length(to_json(x)) AS BIGINT) END;
CREATE MACRO array_join(a, d) AS array_to_string(a, d), (a, d, n) AS array_to_string(list_transform(a, lambda x: coalesce(CAST(x AS VARCHAR), n)), d);
CREATE MACRO array_union(a, b) AS list_distinct(list_concat(a, b));
CREATE MACRO array_except(a, b) AS list_distinct(list_filter(a, lambda x: NOT list_contains(b, x)));
CREATE MACRO array_remove(a, v) AS list_filter(a, lambda x: x <> v);
CREATE MACRO array_position(a, v) AS coalesce(list_position(a, v), CASE WHEN a IS NOT NULL THEN 0 END);
CREATE MACRO slice(a, i, n) AS list_slice(a, i, CASE WHEN i < 0 AND i + n >= 0 THEN -1 ELSE i + n - 1 END);
CREATE MACRO sequence(a, b) AS generate_series(a, b), (a, b, s) AS generate_series(a, b, s);
CREATE MACRO map_agg(k, v) AS map(list(k), list(v));
CREATE MACRO set_agg(x) AS list_distinct(list(x));
CREATE MACRO range(a) AS CASE WHEN a > ` + maxList + ` THEN error('range: more than ` + maxList + ` members') ELSE system.main.range(a) END,
	(a, b) AS CASE WHEN typeof(a) NOT LIKE 'TIME%' AND TRY_CAST(CAST(b AS VARCHAR) AS DOUBLE) - TRY_CAST(CAST(a AS VARCHAR) AS DOUBLE) > ` + maxList + ` THEN error('range: more than ` + maxList + ` members') ELSE system.main.range(a, b) END;
CREATE MACRO generate_series(a) AS CASE WHEN a > ` + maxList + ` THEN error('generate_series: more than ` + maxList + ` members') ELSE system.main.generate_series(a) END,
	(a, b) AS CASE WHEN b - a > ` + maxList + ` THEN error('generate_series: more than ` + maxList + ` members') ELSE system.main.generate_series(a, b) END,
	(a, b, s) AS CASE WHEN a + ` + maxList + ` * s < b AND s > 0 * s OR a + ` + maxList + ` * s > b AND s < 0 * s THEN error('generate_series: more than ` + maxList + ` members') ELSE system.main.generate_series(a, b, s) END;

-- time
CREATE MACRO from_iso8601_timestamp(s) AS CAST(s AS TIMESTAMP WITH TIME ZONE);
CREATE MACRO from_iso8601_date(s) AS CAST(s AS DATE);
CREATE MACRO to_iso8601(t) AS CASE WHEN typeof(t) = 'DATE' THEN CAST(t AS VARCHAR) WHEN typeof(t) LIKE '%TIME ZONE' THEN system.main.strftime(CAST(t AS TIMESTAMP), '%Y-%m-%dT%H:%M:%S.%gZ') ELSE system.main.strftime(CAST(t AS TIMESTAMP), '%Y-%m-%dT%H:%M:%S.%g') END;
CREATE MACRO to_unixtime(t) AS epoch(t);
CREATE MACRO from_unixtime(n) AS to_timestamp(n);
CREATE MACRO day_of_week(t) AS isodow(t);
CREATE MACRO dow(t) AS isodow(t);
CREATE MACRO day_of_month(t) AS day(t);
CREATE MACRO day_of_year(t) AS dayofyear(t);
CREATE MACRO doy(t) AS dayofyear(t);
CREATE MACRO week_of_year(t) AS week(t);
CREATE MACRO year_of_week(t) AS isoyear(t);
CREATE MACRO yow(t) AS isoyear(t);
CREATE MACRO last_day_of_month(t) AS last_day(t);
CREATE MACRO date_add(d, i) AS d + i,
	(u, n, t) AS t + CASE lower(u) WHEN 'millisecond' THEN to_milliseconds(CAST(n AS DOUBLE)) WHEN 'second' THEN to_seconds(CAST(n AS DOUBLE)) WHEN 'minute' THEN to_minutes(CAST(n AS BIGINT)) WHEN 'hour' THEN to_hours(CAST(n AS BIGINT))
		WHEN 'day' THEN to_days(CAST(n AS INTEGER)) WHEN 'week' THEN to_weeks(CAST(n AS INTEGER)) WHEN 'month' THEN to_months(CAST(n AS INTEGER)) WHEN 'quarter' THEN to_quarters(CAST(n AS INTEGER)) WHEN 'year' THEN to_years(CAST(n AS INTEGER))
		ELSE error('date_add: the unit ' || u || ' is not known') END;
CREATE MACRO date_diff(u, a, b) AS date_sub(u, a, b);
CREATE MACRO at_timezone(t, z) AS timezone(z, t);
CREATE MACRO with_timezone(t, z) AS timezone(z, CAST(t AS TIMESTAMP));
CREATE MACRO current_timezone() AS 'UTC';

-- the Lake dialect's
CREATE MACRO spoor_now() AS make_timestamp(epoch_us(now()));
CREATE MACRO spoor_iso_utc(s) AS make_timestamp(epoch_us(CAST(s AS TIMESTAMP WITH TIME ZONE)));
CREATE MACRO spoor_at_zone(t, z) AS timezone(z, CAST(t AS TIMESTAMP WITH TIME ZONE));
CREATE MACRO spoor_moment(s) AS TRY_CAST(s AS TIMESTAMP);
CREATE MACRO spoor_map(s) AS TRY_CAST(TRY_CAST(s AS JSON) AS MAP(VARCHAR, VARCHAR));
CREATE MACRO spoor_split_part(s, d, n) AS string_split(s, d)[n];

-- ours
CREATE MACRO is_subnet_of(net, address) AS ip_in(address, net);
`
