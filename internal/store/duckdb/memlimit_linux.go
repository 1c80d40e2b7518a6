//go:build linux && cgo && (amd64 || arm64)

package duckdb

/*
#cgo CFLAGS: -fexceptions
#cgo LDFLAGS: -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc -Wl,--wrap=_Znwm -Wl,--wrap=_Znam -Wl,--wrap=duckdb_je_malloc -Wl,--wrap=duckdb_je_realloc
#cgo LDFLAGS: -Wl,--wrap=duckdb_pending_prepared -Wl,--wrap=duckdb_execute_pending -Wl,--wrap=pthread_create
#include <stdint.h>
int spoor_memory_grant(int64_t bytes);
int64_t spoor_memory_granted(void);
void spoor_memory_others(int64_t bytes);
int64_t spoor_memory_taken(void);
void spoor_memory_trim(void);
*/
import "C"

// grant lets the engines of the process take so many bytes more together, or less. It reports whether that is watched.
func grant(bytes int64) bool { return C.spoor_memory_grant(C.int64_t(bytes)) == 0 }

// granted is what the engines of the process may take together.
func granted() int64 { return int64(C.spoor_memory_granted()) }

// tellOthers tells how many bytes of the process are not the engines'.
func tellOthers(bytes int64) { C.spoor_memory_others(C.int64_t(bytes)) }

// taken is what the process takes, but for files that are mapped; false when that is not known.
func taken() (int64, bool) {
	n := int64(C.spoor_memory_taken())
	return n, n >= 0
}

// trimProcess gives memory that the engine freed back to the system.
func trimProcess() { C.spoor_memory_trim() }
