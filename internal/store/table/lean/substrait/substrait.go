// Package substrait stands in for the definitions of functions that iceberg-go reads, 200 KB of YAML, whenever a program
// that links it starts: 0.1 s and 32 MB for every command. They serve filters that iceberg-go evaluates over Arrow data.
// Spoor plans by itself and DuckDB evaluates, so there are none here; such a filter would fail, naming the function.
package substrait

import "embed"

//go:embed extensions
var none embed.FS

// GetSubstraitExtensionsFS returns a folder "extensions" of definitions.
func GetSubstraitExtensionsFS() embed.FS { return none }
