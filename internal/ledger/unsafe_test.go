package ledger

import "unsafe"

// unsafeString is a string that changes with b.
func unsafeString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
