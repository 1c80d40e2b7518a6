//go:build !(linux && cgo && (amd64 || arm64))

package duckdb

// limitProcess cannot limit the process here.
func limitProcess(int64) bool { return false }

func trimProcess() {}
