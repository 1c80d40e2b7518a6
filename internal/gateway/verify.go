package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/sigv4"
)

// Verifier finds out who sent a request, by the rules of S3: paths are encoded once, the digest of the body is in a header or
// left out, bodies may come in signed chunks, and presigned URLs count until they expire, as often as they are used.
type Verifier struct {
	Credentials awsapi.Credentials
	Attempts    awsapi.Attempts   // nil for no bound
	Region      func(string) bool // whether signatures for a Region count
	Skew        time.Duration     // default 15 min
	Default     string            // Region that callers are told to use
}

// DefaultSkew is how far the clock of a caller of S3 may be off.
const DefaultSkew = 15 * time.Minute

// Proof is a request whose signature is right.
type Proof struct {
	Signature  *sigv4.Signature
	Credential awsapi.Credential
	Body       Body
}

// Body is the body of a request as its sender meant it: without the frames of chunks, and verified while it is read. Its last
// byte comes only after all of it was verified.
type Body struct {
	io.Reader
	Length  int64              // -1 for unknown
	Digest  string             // in hexadecimal, where the sender named it; it is for the reader to compare, see Check
	Trailer []string           // names of headers behind it, in lower case
	Values  func() http.Header // of those headers, when it was read to its end
}

// Check gives the body compared with its digest while it is read, for readers who do not compare it themselves.
func (b Body) Check() io.Reader {
	if b.Digest == "" {
		return b.Reader
	}
	return &digested{r: b.Reader, left: b.Length, want: b.Digest, sum: sha256.New()}
}

// ErrNoSignature is what Verify returns for a request that has none: whoever sent it is anonymous.
var ErrNoSignature = &Refusal{Code: "AccessDenied", Message: "Access Denied", Status: http.StatusForbidden}

// Refusal is why a request is refused, as S3 names it.
type Refusal struct {
	Code, Message string
	Status        int
	AccessKey     string // that the request claims
	Guess         bool   // it may be an attempt to guess credentials
	cause         error
}

// Error implements error.
func (e *Refusal) Error() string { return e.Code + ": " + e.Message }

// Unwrap gives what callers are not told.
func (e *Refusal) Unwrap() error { return e.cause }

// Refuse makes a refusal.
func Refuse(status int, code, format string, a ...any) *Refusal {
	return &Refusal{Code: code, Message: fmt.Sprintf(format, a...), Status: status}
}

// Internal is a failure that callers learn nothing of.
func Internal(cause error) *Refusal {
	return &Refusal{Code: "InternalError", Message: "We encountered an internal error. Please try again.", Status: http.StatusInternalServerError, cause: cause}
}

// Verify finds out who sent a request for a service. S3's paths are encoded once, those of all others twice. Errors are
// *[Refusal]; [ErrNoSignature] for a request without a signature.
func (v *Verifier) Verify(ctx context.Context, r *http.Request, service string, from netip.Addr, now time.Time) (*Proof, error) {
	sig, err := sigv4.Parse(r)
	if err != nil {
		return nil, v.refusal(err, nil)
	}
	skew := v.Skew
	if skew <= 0 {
		skew = DefaultSkew
	}
	if err := sig.Check(r, now, sigv4.Place{Service: service, Region: v.Region, Skew: skew}); err != nil {
		return nil, v.refusal(err, sig)
	}
	claimed := func(e *Refusal) error {
		e.AccessKey = sig.AccessKey
		return e
	}
	key, err := v.Credentials.Lookup(ctx, sig.AccessKey, sig.Token)
	if err != nil && !errors.Is(err, awsapi.ErrUnknownKey) {
		return nil, claimed(Internal(fmt.Errorf("look up an access key: %w", err)))
	}
	known := sig.AccessKey
	if err != nil || key.Secret == "" || subtle.ConstantTimeCompare([]byte(key.Token), []byte(sig.Token)) != 1 {
		known = ""
	}
	if v.Attempts != nil && v.Attempts.Wait(from, known) > 0 {
		return nil, claimed(Refuse(http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate."))
	}
	p := &Proof{Signature: sig, Credential: key}
	refused := v.verify(r, p, known != "")
	if refused != nil {
		refused.AccessKey = sig.AccessKey
		if v.Attempts != nil && refused.Guess {
			v.Attempts.Failed(from, known)
		}
		return nil, refused
	}
	if !key.Expires.IsZero() && !now.Before(key.Expires) {
		return nil, claimed(Refuse(http.StatusBadRequest, "ExpiredToken", "The provided token has expired."))
	}
	return p, nil
}

// verify verifies the signature, and prepares the body.
func (v *Verifier) verify(r *http.Request, p *Proof, known bool) *Refusal {
	sig := p.Signature
	if !known {
		e := Refuse(http.StatusForbidden, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
		if sig.Token != "" {
			e = Refuse(http.StatusBadRequest, "InvalidToken", "The provided token is malformed or otherwise invalid.")
		}
		e.Guess = true
		return e
	}
	s3 := sig.Service == "s3"
	payload := sig.Payload
	switch {
	case payload == "" && sig.Presigned:
		payload = sigv4.UnsignedPayload
	case payload == "" && s3:
		return Refuse(http.StatusBadRequest, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
	}
	digest := hexDigest(payload)
	streams := sigv4.Streaming(payload)
	switch {
	case payload == "": // of other services, whose clients leave it out; the digest is known when the body is
		start, _, whole := PeekBody(r.Body, awsapi.DefaultMaxBody)
		if !whole {
			return Refuse(http.StatusRequestEntityTooLarge, "EntityTooLarge", "The body is too large for a signature that does not name its digest.")
		}
		sum := sha256.Sum256(start)
		payload, digest = hex.EncodeToString(sum[:]), true
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(start)), int64(len(start))
	case !digest && !streams && payload != sigv4.UnsignedPayload:
		return Refuse(http.StatusBadRequest, "InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "+
			"STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.")
	}
	if err := sig.Verify(r, p.Credential.Secret, payload, !s3); err != nil {
		return v.refusal(err, sig)
	}
	p.Body = Body{Reader: r.Body, Length: r.ContentLength}
	if digest {
		if r.ContentLength < 0 {
			return Refuse(http.StatusLengthRequired, "MissingContentLength", "You must provide the Content-Length HTTP header.")
		}
		p.Body.Digest = payload
	}
	if streams {
		return v.chunks(r, p, payload)
	}
	return nil
}

func hexDigest(s string) bool {
	return len(s) == 2*sha256.Size && strings.Trim(s, "0123456789abcdef") == ""
}

// chunks unpacks a body of chunks.
func (v *Verifier) chunks(r *http.Request, p *Proof, payload string) *Refusal {
	n, err := strconv.ParseInt(r.Header.Get("X-Amz-Decoded-Content-Length"), 10, 64)
	if err != nil || n < 0 {
		return Refuse(http.StatusLengthRequired, "MissingContentLength", "You must provide the X-Amz-Decoded-Content-Length HTTP header.")
	}
	var names []string
	for _, list := range r.Header["X-Amz-Trailer"] {
		for name := range strings.SplitSeq(list, ",") {
			if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
				names = append(names, name)
			}
		}
	}
	c := sigv4.NewChunkReader(r.Body, p.Signature, p.Credential.Secret, payload, names)
	p.Body = Body{Reader: &chunked{c: c, left: n}, Length: n, Trailer: names, Values: c.Trailer}
	return nil
}

// chunked gives the last byte of a body of chunks when all that follows it was verified.
type chunked struct {
	c    *sigv4.ChunkReader
	left int64
	end  bool
	err  error
}

func (c *chunked) Read(p []byte) (int, error) {
	switch {
	case c.err != nil:
		return 0, c.err
	case c.left == 0:
		if !c.end {
			if c.finish(); c.err != nil {
				return 0, c.err
			}
		}
		return 0, io.EOF
	}
	n, err := c.c.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if errors.Is(err, io.EOF) && c.left > 0 {
		err = fmt.Errorf("%w: it is shorter than it says", sigv4.ErrChunk)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = chunkRefusal(err)
		return 0, c.err
	}
	if c.left == 0 {
		if c.finish(); c.err != nil {
			return 0, c.err
		}
	}
	return n, nil
}

// finish reads what follows the last byte.
func (c *chunked) finish() {
	var one [1]byte
	n, err := c.c.Read(one[:])
	switch {
	case n > 0:
		c.err = chunkRefusal(fmt.Errorf("%w: it is longer than it says", sigv4.ErrChunk))
	case !errors.Is(err, io.EOF):
		c.err = chunkRefusal(err)
	}
	c.end = true
}

func chunkRefusal(err error) error {
	var wrong *sigv4.Error
	switch {
	case errors.As(err, &wrong):
		e := Refuse(http.StatusForbidden, "SignatureDoesNotMatch", "%s", wrong.Text)
		e.cause = err
		return e
	case errors.Is(err, sigv4.ErrChunk):
		e := Refuse(http.StatusBadRequest, "IncompleteBody", "The request body terminated unexpectedly")
		e.cause = err
		return e
	}
	return err
}

// digested compares a body with its digest, before it gives the last byte.
type digested struct {
	r    io.Reader
	left int64
	want string
	sum  hash.Hash
	err  error
}

func (d *digested) Read(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	if d.left == 0 {
		if d.compare(); d.err == nil {
			d.err = io.EOF
		}
		return 0, d.err
	}
	n, err := d.r.Read(p[:min(int64(len(p)), d.left)])
	d.left -= int64(n)
	d.sum.Write(p[:n])
	if errors.Is(err, io.EOF) && d.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && !errors.Is(err, io.EOF) {
		d.err = err
		return n, err
	}
	if d.left == 0 {
		if d.compare(); d.err != nil {
			return 0, d.err
		}
	}
	return n, nil
}

func (d *digested) compare() {
	if hex.EncodeToString(d.sum.Sum(nil)) != d.want {
		d.err = Refuse(http.StatusBadRequest, "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
}

// refusal puts an error of a signature into S3's words.
func (v *Verifier) refusal(err error, sig *sigv4.Signature) *Refusal {
	var e *sigv4.Error
	if !errors.As(err, &e) {
		return Internal(err)
	}
	out := &Refusal{Status: http.StatusForbidden, Code: "AccessDenied", Message: "Access Denied", cause: err}
	if sig != nil {
		out.AccessKey = sig.AccessKey
	}
	switch e.Kind {
	case sigv4.Missing:
		return ErrNoSignature
	case sigv4.Retired:
		out.Status, out.Code, out.Message = http.StatusBadRequest, "InvalidRequest", e.Text
	case sigv4.Incomplete:
		out.Status, out.Code, out.Message = http.StatusBadRequest, "AuthorizationHeaderMalformed", "The authorization header is malformed; "+e.Text
	case sigv4.BadQuery:
		out.Status, out.Code, out.Message = http.StatusBadRequest, "AuthorizationQueryParametersError", e.Text
	case sigv4.Scope:
		out.Status, out.Code, out.Message = http.StatusBadRequest, "AuthorizationHeaderMalformed", "The authorization header is malformed; "+e.Text
		if sig != nil && v.Region != nil && !v.Region(sig.Region) {
			out.Message = fmt.Sprintf("The authorization header is malformed; the region '%.40s' is wrong; expecting '%s'", sig.Region, v.Default)
		}
		if sig != nil && sig.Presigned {
			out.Code = "AuthorizationQueryParametersError"
		}
	case sigv4.Skewed:
		out.Code, out.Message = "RequestTimeTooSkewed", "The difference between the request time and the current time is too large."
		if sig != nil && sig.Presigned {
			out.Code, out.Message = "AccessDenied", "Request is not valid yet"
		}
	case sigv4.Expired:
		out.Message = "Request has expired"
	case sigv4.Unsigned:
		out.Message = "There were headers present in the request which were not signed"
	default:
		out.Code, out.Message, out.Guess = "SignatureDoesNotMatch", e.Text, true
	}
	return out
}
