package files

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	"spoor/internal/source"
	"spoor/internal/source/archive"
)

// Stdin is standard input: one object, named "-", that can be read once.
type Stdin struct {
	r      io.Reader
	opener *archive.Opener
	used   atomic.Bool
}

// NewStdin returns the source of r.
func NewStdin(r io.Reader, lim archive.Limits) *Stdin {
	return &Stdin{r: r, opener: archive.New(lim)}
}

// Parallel is 1.
func (s *Stdin) Parallel() int { return 1 }

// List visits the one object.
func (s *Stdin) List(ctx context.Context, sel source.Selection, visit func(obj source.Object, skip string) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return visit(source.Object{Name: "-", Size: -1, Within: &sel}, "")
}

// Open reads standard input, or the members of an archive in it.
func (s *Stdin) Open(ctx context.Context, obj source.Object, read func(obj source.Object, r io.Reader) error) error {
	if s.used.Swap(true) {
		return errors.New("standard input was read already")
	}
	return s.opener.Read(ctx, obj, s.r, read)
}
