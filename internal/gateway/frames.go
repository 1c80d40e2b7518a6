package gateway

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"spoor/internal/awsapi/sigv4"
)

// frameSize is the data of a chunk.
const frameSize = 64 << 10

// Onward prepares the body for a service, and puts into the headers of the request to it what they have to say of it: the
// sender's digest, which the service compares; or that the body is not signed, since it is verified here; and where there are
// trailers, chunks with those behind them, so that the service has the checksums in them.
func (b Body) Onward(h http.Header) (body io.Reader, length int64) {
	encodings := make([]string, 0, 2)
	for _, list := range h["Content-Encoding"] {
		for e := range strings.SplitSeq(list, ",") {
			if e = strings.TrimSpace(e); e != "" && !strings.EqualFold(e, "aws-chunked") {
				encodings = append(encodings, e)
			}
		}
	}
	h.Del("X-Amz-Trailer")
	h.Del("X-Amz-Decoded-Content-Length")
	body, length = b.Reader, b.Length
	switch {
	case b.Digest != "":
		h.Set("X-Amz-Content-Sha256", b.Digest)
	case len(b.Trailer) == 0:
		h.Set("X-Amz-Content-Sha256", sigv4.UnsignedPayload)
	default:
		encodings = append(encodings, "aws-chunked")
		h.Set("X-Amz-Content-Sha256", sigv4.StreamingUnsignedTrailer)
		h.Set("X-Amz-Trailer", strings.Join(b.Trailer, ","))
		h.Set("X-Amz-Decoded-Content-Length", strconv.FormatInt(b.Length, 10))
		f := &framed{b: b, frame: make([]byte, 0, 24+frameSize)}
		body, length = f, f.length()
	}
	h.Del("Content-Encoding")
	if len(encodings) > 0 {
		h.Set("Content-Encoding", strings.Join(encodings, ","))
	}
	return body, length
}

// framed packs a body into chunks without signatures, and its trailers behind them.
type framed struct {
	b     Body
	frame []byte
	rest  []byte // of frame, that is not read yet
	last  bool
	err   error
}

// trailerLength is how long the value of a checksum is, in base64; false for one that is not known.
func trailerLength(name string) (int64, bool) {
	switch name {
	case "x-amz-checksum-crc32", "x-amz-checksum-crc32c":
		return 8, true
	case "x-amz-checksum-crc64nvme":
		return 12, true
	case "x-amz-checksum-sha1":
		return 28, true
	case "x-amz-checksum-sha256":
		return 44, true
	}
	return 0, false
}

// length is what the chunks come to, -1 where that is not known before.
func (f *framed) length() int64 {
	chunk := func(n int64) int64 { return int64(len(strconv.FormatInt(n, 16))) + 2 + n + 2 }
	total := f.b.Length / frameSize * chunk(frameSize)
	if rest := f.b.Length % frameSize; rest > 0 {
		total += chunk(rest)
	}
	total += int64(len("0\r\n\r\n"))
	for _, name := range f.b.Trailer {
		n, ok := trailerLength(name)
		if !ok {
			return -1
		}
		total += int64(len(name)) + 1 + n + 2
	}
	return total
}

func (f *framed) Read(p []byte) (int, error) {
	for len(f.rest) == 0 && f.err == nil {
		f.fill()
	}
	if len(f.rest) == 0 {
		return 0, f.err
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// fill makes the next chunk.
func (f *framed) fill() {
	if f.last {
		f.err = io.EOF
		return
	}
	const head = 16 // digits at most, and the end of the line
	buf := f.frame[:head+2+frameSize+2]
	n, err := io.ReadFull(f.b.Reader, buf[head+2:head+2+frameSize])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		f.err = err
		return
	}
	f.rest = nil
	if n > 0 {
		line := strconv.FormatInt(int64(n), 16) + "\r\n"
		start := head + 2 - len(line)
		copy(buf[start:], line)
		copy(buf[head+2+n:], "\r\n")
		f.rest = buf[start : head+2+n+2]
	}
	if err == nil {
		return
	}
	f.last = true
	end := append([]byte(nil), f.rest...)
	end = append(end, "0\r\n"...)
	values := f.b.Values()
	for _, name := range f.b.Trailer {
		value := values.Get(name)
		if want, ok := trailerLength(name); value == "" || ok && int64(len(value)) != want {
			f.rest = nil
			f.err = fmt.Errorf("the trailer %.64q: %w", name, Refuse(http.StatusBadRequest, "MalformedTrailerError", "The request contained trailing data that was not well-formed or did not conform to our published schema."))
			return
		}
		end = append(end, name+":"+value+"\r\n"...)
	}
	f.rest = append(end, "\r\n"...)
}
