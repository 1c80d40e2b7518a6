// Package s3 is the front of local buckets: AWS's clients speak S3 to it.
//
// A request is told apart by the table of package gateway, its signature verified by S3's rules, the principal's permission
// asked for by policies of principals and of the bucket, and where a key of the key ring encrypts the object by that of the key.
// What a bucket is set to is answered here, from the state of package blob; objects, their versions, parts, tags and locks are
// forwarded to the gateway behind it, streaming. Every call is recorded before its answer is whole: what cannot be recorded
// fails, and is taken back where there is a way back.
//
// Keys are names of files to the store behind the front: those that would name something else than they say, with empty parts,
// "." or "..", are refused. docs/buckets.md lists what is served.
package s3

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/caller"
	"spoor/internal/awsapi/sigv4"
	"spoor/internal/blob"
	"spoor/internal/gateway"
	"spoor/internal/keyring"
	"spoor/internal/recorder"
)

// Options of New.
type Options struct {
	Credentials awsapi.Credentials
	Access      caller.Access // permissions: of principals, and with policies of resources
	Attempts    awsapi.Attempts
	Recorder    awsapi.Recorder
	Buckets     *blob.Local
	Keys        *keyring.Ring // nil: there is no encryption with keys of the ring
	Account     string        // of the installation
	Region      string
	Regions     []string // further ones for which signatures count; "*" is any
	Partition   string   // default aws
	// Domains are hosts below which names are buckets: NAME.DOMAIN. Buckets in paths are served in any case.
	Domains []string
	Skew    time.Duration // default 15 min
	// LogEvery is how often logs of access are written, default 5 min. [Front.Run] writes them.
	LogEvery time.Duration
	Client   func(*http.Request) (netip.Addr, bool)        // default the connection's
	Log      *slog.Logger                                  // default discards
	Now      func() time.Time                              // default [time.Now]
	NewID    func() string                                 // ids of requests, default 16 random letters and digits
	Proven   func(c *awsapi.Call)                          // told of each call whose signature is right; optional
	Done     func(c *awsapi.Call, code string, status int) // told of each call after its answer; optional
}

// Front is the handler. It may be used by any number of goroutines.
type Front struct {
	o         Options
	table     *gateway.S3Table
	verifier  *gateway.Verifier
	forwarder *gateway.Forwarder
	transport http.RoundTripper
	gate      gateway.Gate
	logs      accessLogs
}

// New makes the front.
func New(o Options) (*Front, error) {
	switch {
	case o.Credentials == nil || o.Access.IAM == nil || o.Recorder == nil || o.Buckets == nil:
		return nil, errors.New("the front of buckets needs credentials, permissions, a recorder and buckets")
	case o.Account == "" || o.Region == "":
		return nil, errors.New("the front of buckets needs an account and a Region")
	}
	if o.Partition == "" {
		o.Partition = "aws"
	}
	if o.Client == nil {
		o.Client = gateway.Peer
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.NewID == nil {
		o.NewID = func() string { return rand.Text()[:16] }
	}
	f := &Front{o: o, table: gateway.NewS3Table(o.Domains...), transport: o.Buckets.Transport(), gate: gateway.Gate{Recorder: o.Recorder}}
	f.logs = accessLogs{waiting: map[logTarget]*strings.Builder{}, full: make(chan struct{}, 1)}
	f.forwarder = gateway.NewForwarder(f.transport)
	f.verifier = &gateway.Verifier{
		Credentials: o.Credentials, Attempts: o.Attempts, Skew: o.Skew, Default: o.Region,
		Region: func(region string) bool {
			return region == o.Region || slices.Contains(o.Regions, region) || slices.Contains(o.Regions, "*")
		},
	}
	return f, nil
}

// Claims reports whether a request is S3's: it is signed for s3, or not signed and in no other protocol.
func Claims(r *http.Request) bool {
	if service, ok := sigv4.Find(r); ok {
		return service == "s3"
	}
	switch media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); {
	case r.Header.Get("X-Amz-Target") != "", r.Header.Get("Smithy-Protocol") != "", strings.HasPrefix(r.URL.Path, "/service/"),
		r.URL.Query().Has("Action"), strings.HasPrefix(media, "application/x-amz-"), strings.HasPrefix(media, "application/cbor"):
		return false
	case r.URL.Path == "/" || r.URL.Path == "": // the query protocol's place; of S3 there is the list of buckets, which nobody gets unsigned
		return false
	}
	return true
}

// exchange is a call on its way through the front.
type exchange struct {
	f      *Front
	r      *http.Request
	w      http.ResponseWriter
	call   *awsapi.Call
	q      *gateway.S3Request
	proof  *gateway.Proof // nil for a caller without a signature
	bucket blob.Bucket    // that the request is about, where it is there
	found  bool           // bucket is it
	body   []byte         // of the request, where it is recorded
	hostID string
	key    string // ARN of the key that encrypts the object, "" for none
	undo   []blob.Undo
	code   string // of the answer, "" for a success
	status int
	sent   int64       // bytes of the answer
	size   int64       // of the object, as far as the answer tells
	extra  http.Header // of the answer of an error
	extras [][2]string // elements of an error
}

// ServeHTTP implements http.Handler.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var host [48]byte
	_, _ = rand.Read(host[:]) // it does not fail
	x := &exchange{f: f, r: r, w: w, hostID: base64.StdEncoding.EncodeToString(host[:]), call: &awsapi.Call{
		Service: "s3", RequestID: f.o.NewID(), Time: f.o.Now(), Region: f.o.Region, Account: f.o.Account, Partition: f.o.Partition,
		UserAgent: r.UserAgent(), Principal: awsapi.Principal{Identity: recorder.Anonymous()},
	}}
	x.call.Address, x.call.TLS = f.o.Client(r)
	w.Header().Set("X-Amz-Request-Id", x.call.RequestID)
	w.Header().Set("X-Amz-Id-2", x.hostID)
	x.q = f.table.Parse(r)
	x.call.Operation = x.q.Name()
	began := time.Now()
	defer func() { // also of an answer that breaks off
		x.logAccess(time.Since(began))
		if f.o.Done != nil {
			f.o.Done(x.call, x.code, x.status)
		}
	}()
	x.serve()
}

// answered is an answer that the front gives itself.
type answered struct {
	status int
	header http.Header
	body   []byte
}

// serve carries out a call.
func (x *exchange) serve() {
	f := x.f
	proof, err := f.verifier.Verify(x.r.Context(), x.r, "s3", x.call.Address, x.call.Time)
	switch {
	case errors.Is(err, gateway.ErrNoSignature):
	case err != nil:
		x.refuse(asRefusal(err))
		return
	default:
		x.proof = proof
		x.call.Region, x.call.AccessKey = proof.Signature.Region, proof.Signature.AccessKey
		x.call.Principal = proof.Credential.Principal
		x.call.Principal.Identity.AccessKeyID = proof.Signature.AccessKey
		if account := x.call.Principal.Identity.AccountID; account != "" {
			x.call.Account = account
		}
		if f.o.Proven != nil {
			f.o.Proven(x.call)
		}
	}
	if f.gate.Closed() {
		x.shut()
		return
	}
	if err := x.check(); err != nil {
		x.fail(asRefusal(err))
		return
	}
	if err := x.authorize(); err != nil {
		x.fail(asRefusal(err))
		return
	}
	own := x.handler()
	if own == nil {
		x.forward()
		return
	}
	a, err := x.run(own)
	if err != nil {
		x.takeBack()
		x.fail(asRefusal(err))
		return
	}
	x.answer(a)
}

func asRefusal(err error) *gateway.Refusal {
	var e *gateway.Refusal
	if errors.As(err, &e) {
		return e
	}
	return gateway.Internal(err)
}

func (x *exchange) run(own func() (*answered, error)) (a *answered, err error) {
	defer func() {
		if p := recover(); p != nil {
			a, err = nil, gateway.Internal(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	return own()
}

// check refuses what no bucket has, before anybody's permission is asked.
func (x *exchange) check() error {
	q := x.q
	switch {
	case q.BadQuery || !utf8.ValidString(x.r.URL.Path):
		return gateway.Refuse(http.StatusBadRequest, "InvalidURI", "Couldn't parse the specified URI.")
	case q.Operation == nil:
		return gateway.Refuse(http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource.")
	case q.Twice:
		return gateway.Refuse(http.StatusBadRequest, "InvalidArgument", "Conflicting query string parameters: a request is for one subresource")
	}
	if q.Operation.Name == "UploadPart" || q.Operation.Name == "UploadPartCopy" {
		if n, err := strconv.Atoi(q.Query.Get("partNumber")); err != nil || n < 1 || n > 10000 {
			return gateway.Refuse(http.StatusBadRequest, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
		}
	}
	for name, values := range q.Query {
		if x.proof == nil && strings.HasPrefix(name, "response-") {
			return gateway.Refuse(http.StatusBadRequest, "InvalidRequest", "Request specific response headers cannot be used for anonymous GET requests.")
		}
		if len(values) > 1 {
			return gateway.Refuse(http.StatusBadRequest, "InvalidArgument", "The parameter %.40q comes more than once", name)
		}
	}
	if q.Level() == gateway.OfObject {
		if err := checkKey(q.Key); err != nil {
			return err
		}
	}
	if q.Operation.Copies {
		if q.Copy.Malformed {
			return gateway.Refuse(http.StatusBadRequest, "InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
		}
		if err := checkKey(q.Copy.Key); err != nil {
			return err
		}
	}
	for name := range x.r.Header {
		if strings.HasPrefix(name, blob.HeaderReserved) {
			return gateway.Refuse(http.StatusBadRequest, "InvalidArgument", "Metadata with this name cannot be kept here.")
		}
		if strings.HasPrefix(name, "X-Amz-Server-Side-Encryption-Customer-") || strings.HasPrefix(name, "X-Amz-Copy-Source-Server-Side-Encryption-Customer-") {
			return gateway.Refuse(http.StatusNotImplemented, "NotImplemented", "Encryption with keys that come with the request is not served here.")
		}
	}
	if err := x.checkACL(); err != nil {
		return err
	}
	if q.Bucket == "" {
		return nil
	}
	b, err := x.f.o.Buckets.Bucket(x.r.Context(), q.Bucket)
	switch {
	case err == nil:
		x.bucket, x.found = b, true
	case !errors.Is(err, blob.ErrNoBucket):
		return gateway.Internal(fmt.Errorf("look up a bucket: %w", err))
	case q.Operation.Name != "CreateBucket":
		x.extras = append(x.extras, [2]string{"BucketName", q.Bucket})
		return gateway.Refuse(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
	}
	if want := x.r.Header.Get("X-Amz-Expected-Bucket-Owner"); want != "" && x.found && want != b.Account {
		return denied
	}
	if x.found && b.RequesterPays && x.call.Principal.Identity.AccountID != b.Account && x.r.Header.Get("X-Amz-Request-Payer") != "requester" && q.Query.Get("x-amz-request-payer") != "requester" {
		return denied
	}
	return nil
}

var denied = gateway.Refuse(http.StatusForbidden, "AccessDenied", "Access Denied")

// reserved is the folder of the store itself in each bucket.
const reserved = ".sgwtmp"

// checkKey refuses keys that would name another file than they say.
func checkKey(key string) error {
	if len(key) > 1024 {
		return gateway.Refuse(http.StatusBadRequest, "KeyTooLongError", "Your key is too long")
	}
	parts := strings.Split(strings.TrimSuffix(key, "/"), "/")
	for _, p := range parts {
		if p == "" || p == "." || p == ".." || len(p) > 255 {
			return gateway.Refuse(http.StatusBadRequest, "InvalidArgument", "Keys with empty parts, parts of one or two periods, or parts of more than 255 bytes cannot be kept here.")
		}
	}
	if parts[0] == reserved || strings.ContainsRune(key, 0) || !utf8.ValidString(key) {
		return gateway.Refuse(http.StatusBadRequest, "InvalidArgument", "This key cannot be kept here.")
	}
	return nil
}

// checkACL takes the lists of access that say what holds anyway: all belongs to the bucket's owner.
func (x *exchange) checkACL() error {
	for name := range x.r.Header {
		if strings.HasPrefix(name, "X-Amz-Grant-") {
			return aclNotSupported
		}
	}
	switch acl := x.r.Header.Get("X-Amz-Acl"); acl {
	case "", "private", "bucket-owner-full-control":
		return nil
	case "public-read", "public-read-write", "authenticated-read", "aws-exec-read", "bucket-owner-read", "log-delivery-write":
		return aclNotSupported
	}
	return gateway.Refuse(http.StatusBadRequest, "InvalidArgument", "The canned ACL is not known")
}

var aclNotSupported = gateway.Refuse(http.StatusBadRequest, "AccessControlListNotSupported", "The bucket does not allow ACLs")

// fill makes the record of the call, as far as it is known. a is nil for a call that was refused.
func (x *exchange) fill(a *gateway.Answer) recorder.Call {
	c := recorder.Call{
		RequestID: x.call.RequestID, Time: x.call.Time, Region: x.call.Region, Recipient: x.call.Account, Identity: x.call.Principal.Identity,
		Address: x.call.Address, UserAgent: x.call.UserAgent, TLS: x.r.TLS, Host: x.r.Host, Additional: map[string]any{},
	}
	if x.found && x.bucket.Region != "" {
		c.Region = x.bucket.Region
	}
	if x.proof == nil && x.found { // nobody has an account; it is the owner's business
		c.Recipient = x.bucket.Account
	}
	owner := gateway.S3Owner{Partition: x.f.o.Partition}
	if x.found {
		owner.Account = x.bucket.Account
	}
	x.q.Record(&c, x.r, owner, x.body, a)
	c.Additional["x-amz-id-2"] = x.hostID
	return c
}

// record makes the call durable. a is its answer.
func (x *exchange) record(a *gateway.Answer) error {
	if x.proof != nil && x.proof.Body.Length >= 0 && a.In > x.proof.Body.Length {
		a.In = x.proof.Body.Length
	}
	x.sent, x.status = a.Out, a.Status
	if n, err := strconv.ParseInt(a.Header.Get("Content-Length"), 10, 64); err == nil && a.Err == nil && a.Status < 300 && x.q.Level() == gateway.OfObject && x.q.Operation != nil && x.q.Operation.ReadOnly {
		x.size = n
	}
	return x.f.gate.Record(x.r.Context(), x.fill(a))
}

// failure is an error as it is answered.
func (x *exchange) failure(e *gateway.Refusal) gateway.S3Failure {
	return gateway.S3Failure{
		Status: e.Status, Code: e.Code, Message: e.Message, Resource: x.r.URL.Path, RequestID: x.call.RequestID, HostID: x.hostID, Members: x.extras,
	}
}

// refuse answers a caller who has proven nothing.
func (x *exchange) refuse(e *gateway.Refusal) {
	x.log(e)
	c := x.fill(nil)
	c.ErrorCode, c.ErrorMessage = e.Code, e.Message
	if e.AccessKey != "" && len(e.AccessKey) <= 128 && strings.Trim(e.AccessKey, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789") == "" {
		c.Additional["claimedAccessKeyId"] = e.AccessKey
	}
	x.f.gate.Refused(x.r.Context(), "s3 "+e.Code+" "+x.call.Address.String(), c)
	x.write(e)
}

// fail records and answers a call that was not carried out.
func (x *exchange) fail(e *gateway.Refusal) {
	if x.proof == nil && e.Status < 500 {
		x.refuse(e)
		return
	}
	x.log(e)
	f := x.failure(e)
	a := &gateway.Answer{Err: e, Status: e.Status}
	if x.r.Method != http.MethodHead {
		a.Out = int64(len(f.Body()))
	}
	if err := x.record(a); err != nil {
		e = unrecorded(err)
	}
	x.write(e)
}

// shut answers while nothing can be recorded, and looks whether it can again.
func (x *exchange) shut() {
	e := gateway.Refuse(http.StatusServiceUnavailable, "SlowDown", "Calls cannot be recorded at the moment, and are not carried out. Please try again.")
	_ = x.record(&gateway.Answer{Err: e, Status: e.Status}) // it opens the gate, or not
	x.w.Header().Set("Retry-After", "1")
	x.write(e)
}

func unrecorded(cause error) *gateway.Refusal {
	e := gateway.Internal(cause)
	e.Message = "The call could not be recorded."
	return e
}

func (x *exchange) log(e *gateway.Refusal) {
	if e.Status >= 500 && e.Unwrap() != nil {
		x.f.o.Log.Error("a call failed", slog.String("operation", x.call.Operation), slog.String("request", x.call.RequestID), slog.Any("error", e.Unwrap()))
	}
}

func (x *exchange) write(e *gateway.Refusal) {
	x.code, x.status = e.Code, e.Status
	for k, v := range x.extra {
		x.w.Header()[k] = v
	}
	if e.Code == "NoSuchBucket" || e.Status >= 500 {
		x.w.Header().Del("X-Amz-Bucket-Region")
	}
	x.failure(e).Write(x.w, x.r.Method)
}

// answer records and sends what the front answers itself.
func (x *exchange) answer(a *answered) {
	if a.header == nil {
		a.header = http.Header{}
	}
	out := &gateway.Answer{Status: a.status, Header: a.header, Body: a.body, Whole: true, In: int64(len(x.body)), Out: int64(len(a.body))}
	if x.r.Method == http.MethodHead {
		out.Out = 0
	}
	if err := x.record(out); err != nil {
		x.takeBack()
		x.write(unrecorded(err))
		return
	}
	h := x.w.Header()
	for k, v := range a.header {
		h[k] = v
	}
	if len(a.body) > 0 && h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/xml")
	}
	if a.status != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	x.status = a.status
	x.w.WriteHeader(a.status)
	if x.r.Method != http.MethodHead {
		_, _ = x.w.Write(a.body) // who asked may have gone
	}
}

// takeBack undoes what was done for a call that could not be recorded.
func (x *exchange) takeBack() {
	for _, undo := range slices.Backward(x.undo) {
		if err := undo(); err != nil {
			x.f.o.Log.Error("a change could not be taken back", slog.String("operation", x.call.Operation), slog.String("request", x.call.RequestID), slog.Any("error", err))
		}
	}
	x.undo = nil
}

// content reads the body of a request that the front serves itself, and verifies it.
func (x *exchange) content(most int) ([]byte, error) {
	var body io.Reader = x.r.Body
	if x.proof != nil {
		body = x.proof.Body.Check()
	}
	text, err := io.ReadAll(io.LimitReader(body, int64(most)+1))
	var refused *gateway.Refusal
	switch {
	case errors.As(err, &refused):
		return nil, refused
	case err != nil:
		return nil, gateway.Refuse(http.StatusBadRequest, "IncompleteBody", "The request body terminated unexpectedly")
	case len(text) > most:
		return nil, gateway.Refuse(http.StatusBadRequest, "MaxMessageLengthExceeded", "Your request was too big.")
	}
	if err := checkMD5(x.r.Header, text); err != nil {
		return nil, err
	}
	x.body = text
	return text, nil
}

// inner is a request to the gateway behind, of the front's own or on behalf of the caller.
func inner(ctx context.Context, method, bucket, key string, q url.Values) *http.Request {
	path := "/" + bucket
	if key != "" {
		path += "/" + key
	}
	r := &http.Request{
		Method: method, Host: "s3", Header: http.Header{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody,
		URL: &url.URL{Scheme: "http", Host: "s3", Path: path, RawPath: gateway.EscapePath(path), RawQuery: strings.ReplaceAll(q.Encode(), "+", "%20")},
	}
	return r.WithContext(ctx)
}
