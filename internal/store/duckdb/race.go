//go:build race

package duckdb

// raced says that the race detector is there. It keeps a multiple of what Go takes beside it, which nobody counts, so what
// engines take cannot be told.
const raced = true
