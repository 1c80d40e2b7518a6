package sigv4

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Bounds of streamed bodies.
const (
	maxChunk     = 16 << 20 // bytes in a chunk, which is held until its signature is seen
	maxChunkLine = 512
	maxTrailers  = 16
	maxTrailer   = 4 << 10 // bytes of one
)

// ErrChunk is wrapped by errors of a [ChunkReader] that say that a body is malformed or ends too early.
var ErrChunk = errors.New("malformed aws-chunked body")

// Streaming reports whether a payload value announces a body of chunks.
func Streaming(payload string) bool {
	return payload == StreamingPayload || payload == StreamingPayloadTrailer || payload == StreamingUnsignedTrailer
}

// ChunkReader reads the data of a body of chunks. Data of signed chunks is handed out only after the chunk's signature was
// verified; a wrong one is an *[Error], and everything malformed wraps [ErrChunk]. It must be used by one goroutine.
type ChunkReader struct {
	in       *bufio.Reader
	signed   bool
	trailers bool
	key      []byte
	sig      *Signature
	previous string
	chunk    []byte // verified and not yet read
	buffer   []byte
	left     int64 // of an unsigned chunk
	trailer  http.Header
	allowed  []string // trailers that were announced
	err      error
}

// NewChunkReader reads body, whose request s was verified with secret; payload is the value of x-amz-content-sha256, for which
// [Streaming] holds. announced are the names in X-Amz-Trailer.
func NewChunkReader(body io.Reader, s *Signature, secret, payload string, announced []string) *ChunkReader {
	c := &ChunkReader{
		in: bufio.NewReaderSize(body, 64<<10), sig: s, previous: s.signature, trailer: http.Header{},
		signed: payload != StreamingUnsignedTrailer, trailers: payload != StreamingPayload,
	}
	for _, name := range announced {
		c.allowed = append(c.allowed, strings.ToLower(strings.TrimSpace(name)))
	}
	if c.signed {
		c.key = s.key(secret)
	}
	return c
}

// Trailer are the headers after the body, verified; complete after Read has returned io.EOF.
func (c *ChunkReader) Trailer() http.Header { return c.trailer }

// Read implements io.Reader.
func (c *ChunkReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for c.err == nil {
		if len(c.chunk) > 0 {
			n := copy(p, c.chunk)
			c.chunk = c.chunk[n:]
			return n, nil
		}
		if c.left > 0 {
			n, err := c.in.Read(p[:min(int64(len(p)), c.left)])
			c.left -= int64(n)
			if err != nil {
				c.err = torn(err)
			} else if c.left == 0 {
				c.err = c.lineEnd()
			}
			if n > 0 {
				return n, nil
			}
			continue
		}
		c.err = c.next()
	}
	return 0, c.err
}

// next reads the header of a chunk, and the chunk if it is signed. io.EOF is the end of the body.
func (c *ChunkReader) next() error {
	line, err := c.line(maxChunkLine)
	if err != nil {
		return err
	}
	digits, extension, extended := strings.Cut(line, ";")
	size, err := strconv.ParseUint(digits, 16, 63)
	if err != nil || digits == "" || len(digits) > 16 {
		return fmt.Errorf("%w: the size of a chunk is no hexadecimal number", ErrChunk)
	}
	if !c.signed {
		if extended {
			return fmt.Errorf("%w: a chunk without signature has an extension", ErrChunk)
		}
		if size == 0 {
			return c.readTrailers()
		}
		c.left = int64(size)
		return nil
	}
	signature, ok := strings.CutPrefix(extension, "chunk-signature=")
	if !ok {
		return fmt.Errorf("%w: a chunk has no signature", ErrChunk)
	}
	if size > maxChunk {
		return fmt.Errorf("%w: a chunk is larger than %d bytes", ErrChunk, maxChunk)
	}
	if c.buffer, err = readUpTo(c.in, c.buffer[:0], int(size)); err != nil {
		return torn(err)
	}
	sum := sha256.Sum256(c.buffer)
	empty := sha256.Sum256(nil)
	if err := c.verify(signature, "AWS4-HMAC-SHA256-PAYLOAD", hex.EncodeToString(empty[:])+"\n"+hex.EncodeToString(sum[:])); err != nil {
		return err
	}
	c.chunk = c.buffer
	if size > 0 {
		return c.lineEnd()
	}
	if c.trailers {
		return c.readTrailers()
	}
	// The last chunk ends in a line of its own, which some clients leave out.
	if rest, _ := c.in.Peek(2); len(rest) > 0 {
		if err := c.lineEnd(); err != nil {
			return err
		}
	}
	return c.end()
}

// readUpTo reads n bytes, and makes room as they come rather than as they were announced.
func readUpTo(in io.Reader, buffer []byte, n int) ([]byte, error) {
	b := bytes.NewBuffer(buffer)
	got, err := io.CopyN(b, in, int64(n))
	if err == nil && got != int64(n) {
		err = io.ErrUnexpectedEOF
	}
	return b.Bytes(), err
}

// verify compares a signature in the chain, and goes on in it.
func (c *ChunkReader) verify(signature, kind, rest string) error {
	want := hex.EncodeToString(sign(c.key, kind+"\n"+c.sig.stamp+"\n"+c.sig.scope()+"\n"+c.previous+"\n"+rest))
	if !hmac.Equal([]byte(signature), []byte(want)) {
		return refuse(Mismatch, "The request signature we calculated does not match the signature you provided. Check your key and signing method.")
	}
	c.previous = want
	return nil
}

// readTrailers reads the headers after the last chunk.
func (c *ChunkReader) readTrailers() error {
	var h hash.Hash = sha256.New()
	given := ""
	for range maxTrailers + 2 {
		line, err := c.line(maxTrailer)
		if err != nil {
			return err
		}
		if line == "" {
			if c.signed {
				if given == "" {
					return fmt.Errorf("%w: the trailer has no signature", ErrChunk)
				}
				if err := c.verify(given, "AWS4-HMAC-SHA256-TRAILER", hex.EncodeToString(h.Sum(nil))); err != nil {
					return err
				}
			}
			return c.end()
		}
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		switch {
		case !ok || given != "":
			return fmt.Errorf("%w: a trailer is no header", ErrChunk)
		case name == "x-amz-trailer-signature" && c.signed:
			given = value
		case !slices.Contains(c.allowed, name) || c.trailer.Get(name) != "":
			return fmt.Errorf("%w: a trailer was not announced, or comes twice", ErrChunk)
		default:
			c.trailer.Set(name, value)
			h.Write([]byte(name + ":" + value + "\n"))
		}
	}
	return fmt.Errorf("%w: too many trailers", ErrChunk)
}

// end is io.EOF when nothing follows.
func (c *ChunkReader) end() error {
	switch _, err := c.in.ReadByte(); {
	case err == nil:
		return fmt.Errorf("%w: something follows the end", ErrChunk)
	case errors.Is(err, io.EOF):
		return io.EOF
	default:
		return err
	}
}

func (c *ChunkReader) lineEnd() error {
	var b [2]byte
	if _, err := io.ReadFull(c.in, b[:]); err != nil {
		return torn(err)
	}
	if b != [2]byte{'\r', '\n'} {
		return fmt.Errorf("%w: a chunk is longer than it says", ErrChunk)
	}
	return nil
}

// line reads a line of at most most bytes, without its end.
func (c *ChunkReader) line(most int) (string, error) {
	var line []byte
	for len(line) <= most {
		b, err := c.in.ReadByte()
		if err != nil {
			return "", torn(err)
		}
		if b == '\n' {
			if len(line) > 0 && line[len(line)-1] == '\r' {
				line = line[:len(line)-1]
			}
			return string(line), nil
		}
		line = append(line, b)
	}
	return "", fmt.Errorf("%w: a line is too long", ErrChunk)
}

// torn makes an early end a malformed body.
func torn(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends too early", ErrChunk)
	}
	return err
}
