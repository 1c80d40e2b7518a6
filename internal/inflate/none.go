//go:build !libdeflate || !cgo

package inflate

// Engine is "": texts are read as streams.
func Engine() string { return "" }

// Inflater is what libdeflate would be in.
type Inflater struct{}

// New returns nil.
func New() *Inflater { return nil }

// Gunzip expands nothing.
func (z *Inflater) Gunzip(_, _ []byte) error { return ErrGzip }
