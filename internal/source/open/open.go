// Package open finds the source that an argument of the command line names.
package open

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"spoor/internal/source"
	"spoor/internal/source/archive"
	"spoor/internal/source/files"
	"spoor/internal/source/s3"
)

// Options are those of all sources.
type Options struct {
	S3     s3.Options // its Limits are those below
	Limits archive.Limits
	Stdin  io.Reader // for the argument -
}

// Resolve returns the source that arg names: - for standard input, s3://BUCKET/PREFIX, or a file, folder or archive. What
// lies on this machine must exist; a bucket is asked when it is listed.
func Resolve(ctx context.Context, arg string, opts Options) (source.Source, error) {
	switch {
	case arg == "":
		return nil, errors.New("an empty name is no input")
	case arg == "-":
		if opts.Stdin == nil {
			return nil, errors.New("there is no standard input")
		}
		return files.NewStdin(opts.Stdin, opts.Limits), nil
	case strings.HasPrefix(arg, "s3://"):
		bucket, prefix, err := s3.ParseURL(arg)
		if err != nil {
			return nil, err
		}
		opts.S3.Limits = opts.Limits
		src, err := s3.New(ctx, bucket, prefix, opts.S3)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", arg, err)
		}
		return src, nil
	}
	src, err := files.New(arg, opts.Limits)
	if err != nil {
		if scheme, _, ok := strings.Cut(arg, "://"); ok && !strings.ContainsAny(scheme, `/\.`) {
			return nil, fmt.Errorf("%s: inputs are files, folders, - and s3://, not %s://", arg, scheme)
		}
		return nil, err
	}
	return src, nil
}
