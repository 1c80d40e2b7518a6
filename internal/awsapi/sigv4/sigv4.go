// Package sigv4 verifies signatures of version 4: those in the Authorization header, those in the query of a presigned URL, and
// those of the chunks of a streamed body ([NewChunkReader]).
//
// [Parse] takes a request apart and refuses what is malformed, [Signature.Check] holds it against the clock and the place that
// it was made for, and [Signature.Verify] recomputes it. Only after Verify has said yes is anything in the request the word of
// the holder of the key. The algorithm is that of the AWS Signature Version 4 pages of the IAM user guide.
package sigv4

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Values of x-amz-content-sha256 that are no digest.
const (
	UnsignedPayload          = "UNSIGNED-PAYLOAD"
	StreamingPayload         = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	StreamingPayloadTrailer  = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	StreamingUnsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	timeForm   = "20060102T150405Z"
	dayForm    = "20060102"
)

// Bounds of what a request may name.
const (
	maxExpires       = 7 * 24 * time.Hour
	maxAuthorization = 8 << 10
	maxSigned        = 100 // headers
	maxParameters    = 1000
)

// Kind is why a signature is refused.
type Kind uint8

// The kinds of refusals.
const (
	Missing    Kind = iota + 1 // there is no signature
	Retired                    // it is of a version before 4
	Incomplete                 // it is malformed
	BadQuery                   // the parameters of a presigned URL are malformed
	Scope                      // it was made for something else
	Skewed                     // its time is too far from now
	Expired                    // the presigned URL has expired
	Unsigned                   // it leaves out a header that it has to cover
	Mismatch                   // it is wrong
)

// Error is a refusal. Its text is for the caller: it holds nothing secret, and of the request nothing but times and scopes.
type Error struct {
	Kind Kind
	Text string
	Time time.Time // that the request named, of Skewed
}

// Error implements error.
func (e *Error) Error() string { return e.Text }

func refuse(k Kind, format string, a ...any) *Error {
	return &Error{Kind: k, Text: fmt.Sprintf(format, a...)}
}

// Signature is what a request says of its signature. Nothing of it is proven before Verify.
type Signature struct {
	AccessKey string
	Day       string // of the scope, YYYYMMDD
	Region    string
	Service   string
	Time      time.Time
	Presigned bool
	Expires   time.Duration // how long a presigned URL counts
	Token     string        // X-Amz-Security-Token
	Payload   string        // x-amz-content-sha256, "" where there is none
	signed    []string      // headers that are covered, as they were named
	signature string
	end       string // of the scope
	stamp     string // Time as it was written
}

// Find reports the scope that a request claims, without any check, for those who have to know where it wants to go.
func Find(r *http.Request) (service string, ok bool) {
	text := ""
	if h := r.Header.Get("Authorization"); strings.HasPrefix(h, algorithm) && len(h) <= maxAuthorization {
		_, text, _ = strings.Cut(h, "Credential=")
		text, _, _ = strings.Cut(text, ",")
	} else if strings.Contains(r.URL.RawQuery, "X-Amz-Credential=") {
		text = r.URL.Query().Get("X-Amz-Credential")
	}
	parts := strings.Split(strings.TrimSpace(text), "/")
	if len(parts) < 5 {
		return "", false
	}
	return parts[len(parts)-2], true
}

// Parse takes the signature out of a request. Errors are *[Error].
func Parse(r *http.Request) (*Signature, error) {
	auth, inQuery := r.Header.Values("Authorization"), strings.Contains(r.URL.RawQuery, "X-Amz-Algorithm=")
	switch {
	case len(auth) == 0 && !inQuery && retired(r):
		return nil, refuse(Retired, retiredText)
	case len(auth) == 0 && !inQuery:
		return nil, refuse(Missing, "Request is missing Authentication Token")
	case len(auth) > 1, len(auth) == 1 && inQuery:
		return nil, refuse(Incomplete, "Only one authentication mechanism may be used in a request")
	case inQuery:
		return parseQuery(r)
	}
	return parseHeader(r, auth[0])
}

const retiredText = "The authorization mechanism you have provided is not supported. Please use " + algorithm + "."

// retired reports whether a URL is signed by version 2, as old clients do by themselves: S3's way or that of the query protocol.
func retired(r *http.Request) bool {
	q := r.URL.Query()
	return q.Has("Signature") && (q.Has("AWSAccessKeyId") || q.Get("SignatureVersion") == "2")
}

func parseHeader(r *http.Request, auth string) (*Signature, error) {
	if len(auth) > maxAuthorization {
		return nil, refuse(Incomplete, "Authorization header is too long")
	}
	name, rest, _ := strings.Cut(auth, " ")
	if name != algorithm {
		if strings.HasPrefix(name, "AWS4-") {
			return nil, refuse(Incomplete, "Unsupported algorithm in Authorization header, only %s is supported", algorithm)
		}
		if name == "AWS" && strings.Contains(rest, ":") || strings.HasPrefix(name, "AWS3") {
			return nil, refuse(Retired, retiredText)
		}
		return nil, refuse(Missing, "Request is missing Authentication Token")
	}
	fields := map[string]string{}
	for _, part := range strings.Split(rest, ",") {
		k, v, ok := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := fields[k]; !ok || twice {
			return nil, refuse(Incomplete, "Authorization header is malformed: it consists of key=value pairs, each once")
		}
		fields[k] = v
	}
	var lacks []string
	for _, k := range []string{"Credential", "Signature", "SignedHeaders"} {
		if fields[k] == "" {
			lacks = append(lacks, fmt.Sprintf("Authorization header requires '%s' parameter.", k))
		}
	}
	stamp, dated := one(r.Header, "X-Amz-Date"), one(r.Header, "Date")
	if stamp == "" && dated == "" {
		lacks = append(lacks, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	if len(lacks) > 0 {
		return nil, refuse(Incomplete, "%s", strings.Join(lacks, " "))
	}
	if stamp == "" {
		stamp = dated
		if t, err := http.ParseTime(dated); err == nil {
			stamp = t.UTC().Format(timeForm)
		}
	}
	s := &Signature{signature: fields["Signature"], stamp: stamp, Token: one(r.Header, "X-Amz-Security-Token"), Payload: one(r.Header, "X-Amz-Content-Sha256")}
	return s, s.fill(fields["Credential"], fields["SignedHeaders"], Incomplete)
}

// parameters of a presigned URL, each needed once.
var parameters = []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"}

func parseQuery(r *http.Request) (*Signature, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || strings.Count(r.URL.RawQuery, "&") > maxParameters {
		return nil, refuse(BadQuery, "The query string of the request is malformed")
	}
	for _, p := range parameters {
		// Some services sign URLs without a time of their own, and give them the quarter of an hour that others have.
		if p == "X-Amz-Expires" && len(q[p]) == 0 {
			continue
		}
		if len(q[p]) != 1 || q.Get(p) == "" {
			return nil, refuse(BadQuery, "AWS query-string parameters must include '%s' once. Re-examine the query-string parameters.", p)
		}
	}
	if q.Get("X-Amz-Algorithm") != algorithm {
		return nil, refuse(BadQuery, "X-Amz-Algorithm only supports \"%s\"", algorithm)
	}
	s := &Signature{Presigned: true, signature: q.Get("X-Amz-Signature"), stamp: q.Get("X-Amz-Date"), Expires: 15 * time.Minute}
	if text := q.Get("X-Amz-Expires"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil:
			return nil, refuse(BadQuery, "X-Amz-Expires should be a number")
		case n < 0:
			return nil, refuse(BadQuery, "X-Amz-Expires must be non-negative")
		case n > int64(maxExpires/time.Second):
			return nil, refuse(BadQuery, "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than %d seconds", int64(maxExpires/time.Second))
		}
		s.Expires = time.Duration(n) * time.Second
	}
	if tokens := q["X-Amz-Security-Token"]; len(tokens) > 1 {
		return nil, refuse(BadQuery, "X-Amz-Security-Token may be given once")
	} else if len(tokens) == 1 {
		s.Token = tokens[0]
	}
	s.Payload = cmp.Or(one(r.Header, "X-Amz-Content-Sha256"), q.Get("X-Amz-Content-Sha256"))
	return s, s.fill(q.Get("X-Amz-Credential"), q.Get("X-Amz-SignedHeaders"), BadQuery)
}

// fill takes credential and header list apart. bad is the kind of what is malformed.
func (s *Signature) fill(credential, headers string, bad Kind) error {
	parts := strings.Split(credential, "/")
	if len(parts) < 5 { // a key may hold slashes, a scope may not
		return refuse(bad, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term")
	}
	n := len(parts) - 4
	s.AccessKey = strings.Join(parts[:n], "/")
	s.Day, s.Region, s.Service, s.end = parts[n], parts[n+1], parts[n+2], parts[n+3]
	if s.AccessKey == "" || len(s.AccessKey) > 128 {
		return refuse(bad, "Credential must begin with an access key id")
	}
	t, err := time.Parse(timeForm, s.stamp)
	if err != nil {
		return refuse(bad, "Date must be in ISO-8601 'basic format'. Got a value of another form. See http://en.wikipedia.org/wiki/ISO_8601")
	}
	s.Time = t
	if len(s.signature) != 2*sha256.Size || strings.Trim(s.signature, "0123456789abcdef") != "" {
		return refuse(bad, "Signature must be %d lower case hexadecimal digits", 2*sha256.Size)
	}
	s.signed = strings.Split(headers, ";")
	if len(s.signed) > maxSigned || slices.Contains(s.signed, "") || headers != strings.ToLower(headers) {
		return refuse(bad, "SignedHeaders must be names of headers in lower case, separated by semicolons")
	}
	sorted := slices.Clone(s.signed)
	slices.Sort(sorted)
	if len(slices.Compact(sorted)) != len(s.signed) {
		return refuse(bad, "SignedHeaders must name each header once")
	}
	return nil
}

// Place is what signatures have to be made for.
type Place struct {
	Service string
	Region  func(string) bool // whether signatures for a Region count
	Skew    time.Duration     // how far the clock of the caller may be off
}

// Check holds the claims of a signature against time and place, and that it covers what it has to. Errors are *[Error].
func (s *Signature) Check(r *http.Request, now time.Time, p Place) error {
	now = now.UTC()
	switch {
	case s.end != terminator:
		return refuse(Scope, "Credential should be scoped with a valid terminator: '%s'.", terminator)
	case s.Service != p.Service:
		return refuse(Scope, "Credential should be scoped to correct service: '%s'.", p.Service)
	case !p.Region(s.Region):
		return refuse(Scope, "Credential should be scoped to a valid region.")
	case s.Day != s.Time.Format(dayForm):
		return refuse(Scope, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.",
			limit(s.Day), s.Time.Format(dayForm), s.stamp)
	}
	stamp := func(t time.Time) string { return t.Format(timeForm) }
	minutes := strconv.Itoa(int(p.Skew / time.Minute))
	switch end := s.Time.Add(s.Expires); {
	case s.Time.After(now.Add(p.Skew)):
		return &Error{Kind: Skewed, Time: s.Time, Text: fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + %s min.)",
			s.stamp, stamp(now.Add(p.Skew)), stamp(now), minutes)}
	case s.Presigned && now.After(end):
		return &Error{Kind: Expired, Time: end, Text: fmt.Sprintf("Signature expired: %s is now earlier than %s", stamp(end), stamp(now))}
	case !s.Presigned && s.Time.Before(now.Add(-p.Skew)):
		return &Error{Kind: Skewed, Time: s.Time, Text: fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - %s min.)",
			s.stamp, stamp(now.Add(-p.Skew)), stamp(now), minutes)}
	}
	if !slices.Contains(s.signed, "host") {
		return refuse(Unsigned, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	for name, values := range r.Header {
		low := strings.ToLower(name)
		if !strings.HasPrefix(low, "x-amz-") || low == "x-amz-cf-id" { // which a proxy adds
			continue
		}
		if !slices.Contains(s.signed, low) {
			return refuse(Unsigned, "'%s' must be a 'SignedHeader' in the AWS Authorization.", limit(name))
		}
		if len(values) > 1 {
			return refuse(Unsigned, "'%s' may be given once.", limit(name))
		}
	}
	if !s.Presigned && one(r.Header, "X-Amz-Date") == "" && !slices.Contains(s.signed, "date") {
		return refuse(Unsigned, "'Date' must be a 'SignedHeader' in the AWS Authorization.")
	}
	return nil
}

// Verify recomputes the signature, and compares in constant time. payload is the digest of the body in hexadecimal, or the
// value that stands for it; twice says that paths are encoded twice, which all services but S3 do. The error is *[Error].
func (s *Signature) Verify(r *http.Request, secret, payload string, twice bool) error {
	canonical, err := s.canonical(r, payload, twice)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(canonical))
	want := sign(s.key(secret), algorithm+"\n"+s.stamp+"\n"+s.scope()+"\n"+hex.EncodeToString(sum[:]))
	if got, err := hex.DecodeString(s.signature); err != nil || !hmac.Equal(got, want) {
		return refuse(Mismatch, "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	}
	return nil
}

func (s *Signature) scope() string {
	return s.Day + "/" + s.Region + "/" + s.Service + "/" + terminator
}

// key derives the signing key.
func (s *Signature) key(secret string) []byte {
	k := sign([]byte("AWS4"+secret), s.Day)
	k = sign(k, s.Region)
	k = sign(k, s.Service)
	return sign(k, terminator)
}

func sign(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// canonical is the canonical request.
func (s *Signature) canonical(r *http.Request, payload string, twice bool) (string, error) {
	var b strings.Builder
	b.WriteString(r.Method)
	b.WriteByte('\n')
	b.WriteString(canonicalPath(r.URL, twice))
	b.WriteByte('\n')
	query, err := canonicalQuery(r.URL.RawQuery)
	if err != nil {
		return "", err
	}
	b.WriteString(query)
	b.WriteByte('\n')
	names := slices.Clone(s.signed)
	slices.Sort(names)
	for _, name := range names {
		b.WriteString(name)
		b.WriteByte(':')
		switch name {
		case "host":
			b.WriteString(strings.TrimSpace(r.Host))
		case "content-length": // which net/http takes out of the headers
			b.WriteString(strconv.FormatInt(r.ContentLength, 10))
		case "transfer-encoding":
			b.WriteString(strings.Join(r.TransferEncoding, ","))
		default:
			for i, v := range r.Header.Values(name) {
				if i > 0 {
					b.WriteByte(',')
				}
				b.WriteString(strings.Join(strings.Fields(v), " "))
			}
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	b.WriteString(strings.Join(names, ";"))
	b.WriteByte('\n')
	b.WriteString(payload)
	return b.String(), nil
}

func canonicalPath(u *url.URL, twice bool) string {
	p := u.EscapedPath()
	if p == "" {
		return "/"
	}
	if !twice {
		return escape(u.Path, true)
	}
	return escape(p, true)
}

// canonicalQuery sorts the parameters, each decoded and encoded again, without the signature.
func canonicalQuery(raw string) (string, error) {
	if raw == "" {
		return "", nil
	}
	parts := strings.Split(raw, "&")
	if len(parts) > maxParameters {
		return "", refuse(BadQuery, "The query string of the request has too many parameters")
	}
	type pair struct{ name, value string }
	var pairs []pair
	for _, part := range parts {
		if part == "" {
			continue
		}
		k, v, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(k)
		if err != nil {
			return "", refuse(BadQuery, "The query string of the request is malformed")
		}
		value, err := url.QueryUnescape(v)
		if err != nil {
			return "", refuse(BadQuery, "The query string of the request is malformed")
		}
		if name == "X-Amz-Signature" {
			continue
		}
		pairs = append(pairs, pair{escape(name, false), escape(value, false)})
	}
	slices.SortFunc(pairs, func(a, b pair) int { return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.value, b.value)) })
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.name)
		b.WriteByte('=')
		b.WriteString(p.value)
	}
	return b.String(), nil
}

// escape encodes as RFC 3986 does: all but unreserved characters, and slashes where keepSlash.
func escape(s string, keepSlash bool) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(s))
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '~', c == '/' && keepSlash:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

// one is the value of a header that is there once.
func one(h http.Header, name string) string {
	if v := h.Values(name); len(v) == 1 {
		return strings.TrimSpace(v[0])
	}
	return ""
}

// limit cuts what a caller wrote, before it is told back.
func limit(s string) string {
	if len(s) > 40 {
		return s[:40]
	}
	return s
}
