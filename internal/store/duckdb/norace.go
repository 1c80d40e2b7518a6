//go:build !race

package duckdb

const raced = false
