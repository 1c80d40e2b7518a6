//go:build linux && cgo && (amd64 || arm64)

package duckdb

/*
#cgo CFLAGS: -fexceptions
#cgo LDFLAGS: -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc -Wl,--wrap=_Znwm -Wl,--wrap=_Znam -Wl,--wrap=duckdb_je_malloc -Wl,--wrap=duckdb_je_realloc
#cgo LDFLAGS: -Wl,--wrap=duckdb_prepare_extracted_statement -Wl,--wrap=duckdb_pending_prepared -Wl,--wrap=duckdb_execute_pending -Wl,--wrap=pthread_create
#include <stdint.h>
int spoor_memory_limit(int64_t bytes);
void spoor_memory_trim(void);
*/
import "C"

// limitProcess refuses the engine memory when the process has grown to so many resident bytes; 0 ends that. It reports
// whether this system can.
func limitProcess(bytes int64) bool { return C.spoor_memory_limit(C.int64_t(bytes)) == 0 }

// trimProcess gives memory that the engine freed back to the system.
func trimProcess() { C.spoor_memory_trim() }
