// Package duckdb asks questions in SQL over Parquet segments: an engine in this process over a given list of files.
//
// A query meets these tables and nothing else:
//
//   - events: the columns of package segment, named as CloudTrail names them, JSON as JSON, and a few helpers;
//   - cloudtrail_logs: the columns of Athena's table, also as "default"."cloudtrail_logs" and under a name of the user's;
//   - event_data_store: the columns of a CloudTrail Lake event data store, also under any event data store id (a UUID).
//
// Queries may be written in Trino's SQL, as published ones are, or in DuckDB's. [Translate] and the macros of macros.go
// cover the difference; docs/sql.md lists every form with its verdict.
//
// Queries of the Lake dialect ([QueryOptions.DataStores]) meet none of these, but event data stores ([DataStore]), each under
// its id; lake.go says what else is different, timerange.go how their conditions on eventTime reach the files, and
// docs/lake-sql.md lists every form.
//
// # The sandbox
//
// Whoever may ask may not do anything else. A query is refused unless the parser says that it is one SELECT (or EXPLAIN,
// DESCRIBE, SUMMARIZE or SHOW TABLES of one), and unless every table, table function and function in it is allowed
// (guard.go). Behind that stands the engine's own configuration, which is locked: no access to files beyond those planned,
// or, for an engine that outlives them, beyond the folders that they are in; no extensions, no settings. Time, memory and
// disk are limited.
//
// # Long-lived engines
//
// An engine takes some 30 ms to open, and reads the footers of all files again. One with [Options.Dirs] stays, is told with
// each query what to ask ([QueryOptions.Scope]), and keeps the footers it has met: a file more costs its own footer.
package duckdb
