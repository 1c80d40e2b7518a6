//go:build libdeflate && cgo

package inflate

/*
#cgo CFLAGS: -I${SRCDIR}/../../out/libdeflate/include
#cgo LDFLAGS: -L${SRCDIR}/../../out/libdeflate/lib -l:libdeflate.a
#cgo noescape spoor_gunzip
#cgo nocallback spoor_gunzip
#include <libdeflate.h>

// spoor_gunzip reports whether in is one gzip member and nothing else, whose content fills out.
static int spoor_gunzip(struct libdeflate_decompressor *d, const void *in, size_t in_len, void *out, size_t out_len) {
	size_t read = 0;
	return libdeflate_gzip_decompress_ex(d, in, in_len, out, out_len, &read, NULL) == LIBDEFLATE_SUCCESS && read == in_len;
}
*/
import "C"

import (
	"runtime"
	"unsafe"
)

// Engine names what expands.
func Engine() string { return "libdeflate " + C.LIBDEFLATE_VERSION_STRING }

// Inflater expands gzip files, one after the other; one goroutine uses it at a time.
type Inflater struct {
	d *C.struct_libdeflate_decompressor // freed when the Inflater is no longer reachable
}

// New returns an Inflater, or nil where there is none.
func New() *Inflater {
	d := C.libdeflate_alloc_decompressor()
	if d == nil {
		return nil
	}
	z := &Inflater{d: d}
	runtime.AddCleanup(z, func(d *C.struct_libdeflate_decompressor) { C.libdeflate_free_decompressor(d) }, d)
	return z
}

// Gunzip expands packed into out, whose length must be what it expands to: see [Size]. After an error out holds anything.
func (z *Inflater) Gunzip(out, packed []byte) error {
	if len(out) == 0 || len(packed) == 0 {
		return ErrGzip
	}
	whole := C.spoor_gunzip(z.d, unsafe.Pointer(&packed[0]), C.size_t(len(packed)), unsafe.Pointer(&out[0]), C.size_t(len(out)))
	runtime.KeepAlive(z)
	if whole == 0 {
		return ErrGzip
	}
	return nil
}
