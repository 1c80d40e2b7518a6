package blob

import (
	"errors"
	"io"

	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3err"
)

// wholeBody fails where a body ends before its length: the gateway's server tells the end of a torn connection as the end of the
// body.
type wholeBody struct {
	r    io.Reader
	left int64
}

// whole makes a body fail that is shorter than it says. Bodies of chunks tell it themselves.
func whole(body io.Reader, length *int64) io.Reader {
	if _, chunks := body.(middlewares.ChecksumReader); chunks || body == nil || length == nil {
		return body
	}
	return &wholeBody{body, *length}
}

func (w *wholeBody) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	w.left -= int64(n)
	if errors.Is(err, io.EOF) && w.left > 0 {
		return n, s3err.GetAPIError(s3err.ErrIncompleteBody)
	}
	return n, err
}
