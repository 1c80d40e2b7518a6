// Package segment writes and reads the files that the events of a store lie in.
//
// A segment is one Parquet file with the events of one day (UTC), in the order of (eventTime, eventID), and beside it an
// .ids file with the ids of its events, by which an event that is offered again is known. Both are written once and
// never changed. docs/formats/store.md describes them.
//
// The columns are given by one table, [Columns]: names, field ids, types, and where each value comes from. The schemas
// for Parquet, Arrow, Iceberg and DuckDB, the writer, and the documentation are made from it.
//
// A segment keeps the bytes of every record as they arrived ([Columns] raw and rawBytes); the other columns lie beside
// them and can be made again from them.
package segment
