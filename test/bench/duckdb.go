//go:build cgo

package main

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	_ "github.com/duckdb/duckdb-go/v2" // registers the driver
)

// The statements, the first as a user writes it, with what DuckDB's error messages ask for, and the second with the
// shape declared, so that DuckDB neither infers it nor parses what it does not need: the best that it can do.
const (
	duckInferred = `SELECT r.eventName, count(*) FROM (SELECT unnest(Records) AS r FROM read_json('DIR/**/*.json.gz', union_by_name = true, sample_size = -1, maximum_object_size = 67108864)) GROUP BY 1`
	duckDeclared = `SELECT r.eventName, count(*) FROM (SELECT unnest(Records) AS r FROM read_json('DIR/**/*.json.gz', columns = {Records: 'STRUCT(eventName VARCHAR)[]'}, maximum_object_size = 67108864)) GROUP BY 1`
)

// duckdb runs a statement in process and adds up the counts.
func duckdb(d *data, statement string) func(ctx context.Context) (result, error) {
	return func(ctx context.Context) (r result, err error) {
		db, err := openDuck(ctx)
		if err != nil {
			return r, err
		}
		defer db.Close()
		rows, err := db.QueryContext(ctx, strings.Replace(statement, "DIR", strings.ReplaceAll(d.logs(), "'", "''"), 1))
		if err != nil {
			return r, fmt.Errorf("query: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			var n int64
			if err := rows.Scan(&name, &n); err != nil {
				return r, fmt.Errorf("read rows: %w", err)
			}
			r.records += n
		}
		if err := rows.Err(); err != nil {
			return r, fmt.Errorf("read rows: %w", err)
		}
		r.raw = d.truth.RawBytes
		return r, r.check(d)
	}
}

func openDuck(ctx context.Context) (*sql.DB, error) {
	db, err := sql.Open("duckdb", "")
	if err != nil {
		return nil, fmt.Errorf("open DuckDB: %w", err)
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, fmt.Sprintf("SET threads = %d; SET preserve_insertion_order = false", cores)); err != nil {
		db.Close()
		return nil, fmt.Errorf("set up DuckDB: %w", err)
	}
	return db, nil
}

func duckVersion(ctx context.Context) string {
	db, err := openDuck(ctx)
	if err != nil {
		return "none"
	}
	defer db.Close()
	var v string
	if err := db.QueryRowContext(ctx, "SELECT version()").Scan(&v); err != nil {
		return "none"
	}
	return v
}
