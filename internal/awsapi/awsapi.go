// Package awsapi is the AWS-compatible endpoint: one address at which AWS's own clients find the services of Spoor.
//
// A call is routed by its protocol (awsJson 1.0 and 1.1, query, REST with JSON, Smithy RPC v2 with CBOR), its signature is
// verified ([spoor/internal/awsapi/sigv4]), its input decoded and held against the constraints of AWS's model
// ([spoor/internal/awsapi/wire]), the principal's permission asked for, and only then it reaches the handler that a service
// registered with [Handle]. Every call is recorded before its answer goes out: what cannot be recorded fails, and its handler is
// told to take back what it did ([Call.OnUnrecorded]). Refused signatures are recorded too, alike ones counted together, since
// anybody can provoke them.
//
// Before a signature is verified nothing of a request is believed, and its body is read only after the key was found and the
// claims of the signature hold. docs/aws-api.md says what is spoken.
package awsapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"spoor/internal/awsapi/model"
	"spoor/internal/awsapi/sigv4"
	"spoor/internal/awsapi/wire"
	"spoor/internal/recorder"
)

// Defaults and bounds.
const (
	DefaultSkew     = 5 * time.Minute
	DefaultMaxBody  = 4 << 20
	DefaultInFlight = 256
	DefaultBodyTime = 30 * time.Second
	maxUnsigned     = 64 << 10         // bytes of a body that needs no signature
	recordTimeout   = 10 * time.Second // for the record of a caller who is gone
	writeTime       = 30 * time.Second // that an answer may take
	otherRegion     = "us-east-1"      // where clients find global services
)

// Options of New.
type Options struct {
	Services    []*Service
	Credentials Credentials
	Authorizer  Authorizer
	Recorder    Recorder
	Account     string                                 // 12 digits
	Region      string                                 // for which signatures count
	Regions     []string                               // further ones; "*" is any
	Partition   string                                 // default aws
	Skew        time.Duration                          // default [DefaultSkew]
	MaxBody     int64                                  // bytes, default [DefaultMaxBody]
	BodyTime    time.Duration                          // that a body may take to arrive, default [DefaultBodyTime]
	InFlight    int                                    // calls whose bodies are held at a time, default [DefaultInFlight]; more wait
	Client      func(*http.Request) (netip.Addr, bool) // address of the caller, and whether it came over TLS; default those of the connection
	Attempts    Attempts                               // bounds attempts that fail; nil for no bound
	Log         *slog.Logger                           // default discards
	Now         func() time.Time                       // default [time.Now]
	NewID       func() string                          // request ids; default random UUIDs
	Proven      func(c *Call)                          // told of each call whose signature is right, before it is served; optional
	Done        func(c *Call, code string, status int) // told of each call after its answer; optional
}

// Endpoint is the handler. It may be used by any number of goroutines.
type Endpoint struct {
	o       Options
	targets map[string]*Service // by prefix of X-Amz-Target, long and short
	names   map[string]*Service // by signing name
	slots   chan struct{}
	open    bool // an operation is served that needs no signature
}

// New makes the endpoint of services.
func New(o Options) (*Endpoint, error) {
	if o.Credentials == nil || o.Authorizer == nil || o.Recorder == nil {
		return nil, errors.New("the endpoint needs credentials, an authorizer and a recorder")
	}
	if o.Account == "" || o.Region == "" {
		return nil, errors.New("the endpoint needs an account and a Region")
	}
	if o.Partition == "" {
		o.Partition = "aws"
	}
	if o.Skew <= 0 {
		o.Skew = DefaultSkew
	}
	if o.MaxBody <= 0 {
		o.MaxBody = DefaultMaxBody
	}
	if o.BodyTime <= 0 {
		o.BodyTime = DefaultBodyTime
	}
	if o.InFlight <= 0 {
		o.InFlight = DefaultInFlight
	}
	if o.Client == nil {
		o.Client = peer
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.NewID == nil {
		o.NewID = uuid.NewString
	}
	e := &Endpoint{o: o, targets: map[string]*Service{}, names: map[string]*Service{}, slots: make(chan struct{}, o.InFlight)}
	for _, s := range o.Services {
		if s.err != nil {
			return nil, fmt.Errorf("service %s: %w", s.model.Name, s.err)
		}
		if e.names[s.model.SigningName] != nil {
			return nil, fmt.Errorf("service %s is there twice", s.model.Name)
		}
		e.names[s.model.SigningName] = s
		for _, op := range s.ops {
			e.open = e.open || op.model.NoAuth
		}
		if s.model.TargetPrefix != "" {
			e.targets[s.model.TargetPrefix], e.targets[s.model.ShortTarget()] = s, s
		}
	}
	return e, nil
}

func peer(r *http.Request) (netip.Addr, bool) {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, r.TLS != nil
	}
	return ap.Addr(), r.TLS != nil
}

// exchange is a call on its way through the endpoint.
type exchange struct {
	e           *Endpoint
	r           *http.Request
	ctl         *http.ResponseController
	protocol    model.Protocol
	contentType string // of the answer
	service     *Service
	name        string // of the operation, as asked for
	op          *operation
	call        *Call
	sig         *sigv4.Signature
	body        []byte
	params      url.Values // of the query protocol
	proven      bool       // the signature was verified
	unsignable  bool       // the operation needs no signature
	holds       bool       // a slot
	in, out     any
}

// ServeHTTP implements http.Handler.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{e: e, r: r, call: &Call{
		RequestID: e.o.NewID(), Time: e.o.Now(), Region: e.o.Region, Account: e.o.Account, Partition: e.o.Partition,
		UserAgent: r.UserAgent(), Principal: Principal{Identity: recorder.Anonymous()},
	}}
	x.call.Address, x.call.TLS = e.o.Client(r)
	x.ctl = http.NewResponseController(w)
	x.hurry()
	refused := x.prepare()
	if refused == nil {
		refused = x.serve()
	}
	var answer *told
	if refused != nil {
		answer = x.told(refused)
	}
	err := x.record(answer)
	x.after(err == nil)
	if err != nil {
		answer = x.told(&Error{Code: InternalFailure, Message: "The call could not be recorded, and was not carried out.", cause: err})
	}
	if x.holds {
		<-e.slots
	}
	_ = x.ctl.SetWriteDeadline(time.Now().Add(writeTime))
	if answer == nil {
		if err := x.answer(w, x.out); err != nil {
			answer = x.told(&Error{Code: InternalFailure, Message: internalMessage, cause: err})
		}
	}
	if answer != nil {
		x.fail(w, *answer)
	}
	if e.o.Done != nil {
		code, status := "", http.StatusOK
		if answer != nil {
			code, status = answer.code, answer.status
		}
		e.o.Done(x.call, code, status)
	}
}

// told puts an error into the words of the protocol, and logs what callers are not told.
func (x *exchange) told(err *Error) *told {
	var m *model.Service
	if x.service != nil {
		m = x.service.model
	}
	t := tell(err, m, x.protocol)
	if t.status >= 500 {
		x.e.o.Log.Error("a call failed", slog.String("operation", x.call.Operation), slog.String("request", x.call.RequestID), slog.Any("error", errors.Join(err, err.cause)))
	}
	return &t
}

// prepare finds out what is called, and who calls. It reads the body.
func (x *exchange) prepare() *Error {
	if err := x.route(); err != nil {
		return err
	}
	if x.service != nil {
		x.call.Service = x.service.model.SigningName
	}
	sig, err := sigv4.Parse(x.r)
	if err != nil {
		var refused *sigv4.Error
		if errors.As(err, &refused) && refused.Kind == sigv4.Missing && x.protocol == model.Query {
			return x.unsigned(err)
		}
		return refusal(err)
	}
	x.sig = sig
	x.call.AccessKey = sig.AccessKey
	if sig.Presigned { // as S3 records it: such a request can be sent again by whoever has the URL
		x.call.Annotate("AuthenticationMethod", "QueryString")
	}
	if x.service == nil { // the query protocol does not name it but in the scope
		if x.service = x.e.names[sig.Service]; x.service == nil || !x.service.model.Speaks(model.Query) {
			x.service = nil
			return Errorf(UnknownOperation, "No service that is signed for as this one is served here")
		}
		x.call.Service = sig.Service
	}
	return x.authenticate()
}

// route finds protocol, service and operation, as far as headers and path tell.
func (x *exchange) route() *Error {
	r := x.r
	x.protocol, x.contentType = model.JSON, "application/x-amz-json-1.1"
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	target := r.Header.Get("X-Amz-Target")
	switch {
	case r.Header.Get("Smithy-Protocol") != "" || strings.HasPrefix(r.URL.Path, "/service/"):
		x.protocol, x.contentType = model.CBOR, "application/cbor"
		parts := strings.Split(r.URL.Path, "/")
		if r.Header.Get("Smithy-Protocol") != "rpc-v2-cbor" || r.Method != http.MethodPost || len(parts) != 5 || parts[1] != "service" || parts[3] != "operation" {
			return Errorf(UnknownOperation, "The protocol of the request is not spoken here")
		}
		x.service, x.name = x.e.targets[parts[2]], parts[4]
		if media != "application/cbor" && (media != "" || r.ContentLength != 0) {
			return Errorf(Serialization, "The content type of the request is not application/cbor")
		}
	case target != "":
		if media == "application/x-amz-json-1.0" {
			x.contentType = media
		}
		dot := strings.LastIndexByte(target, '.')
		if dot < 0 || r.Method != http.MethodPost || r.URL.Path != "/" || len(r.Header.Values("X-Amz-Target")) != 1 {
			return Errorf(UnknownOperation, "The target of the request names no operation")
		}
		x.service, x.name = x.e.targets[target[:dot]], target[dot+1:]
		if media != "application/x-amz-json-1.0" && media != "application/x-amz-json-1.1" {
			return Errorf(UnknownOperation, "The content type of the request is none of the protocol")
		}
	default:
		for _, s := range x.e.o.Services {
			if !s.model.Speaks(model.RESTJSON) {
				continue
			}
			for i := range s.model.Operations {
				if o := &s.model.Operations[i]; o.Path == r.URL.Path && o.Method == r.Method {
					x.protocol, x.contentType, x.service, x.name = model.RESTJSON, "application/json", s, o.Name
					if media != "application/json" && r.ContentLength != 0 {
						return Errorf(Serialization, "The content type of the request is not application/json")
					}
					return nil
				}
			}
		}
		form := media == "application/x-www-form-urlencoded"
		if r.URL.Path != "/" && r.URL.Path != "" || !(r.Method == http.MethodPost && (form || media == "" && r.ContentLength == 0) || r.Method == http.MethodGet) {
			return Errorf(UnknownOperation, "The request names no operation")
		}
		x.protocol, x.contentType = model.Query, "text/xml"
		return nil
	}
	if x.service == nil || !x.service.model.Speaks(x.protocol) {
		x.service = nil
		return Errorf(UnknownOperation, "The request names no service that is served here")
	}
	return nil
}

// invalidToken is AWS's text for keys and tokens that do not count.
const invalidToken = "The security token included in the request is invalid."

// authenticate finds out who calls.
func (x *exchange) authenticate() *Error {
	sig, s := x.sig, x.service
	if err := sig.Check(x.r, x.call.Time, sigv4.Place{Service: s.model.SigningName, Region: func(region string) bool {
		return region == x.e.o.Region || s.o.Global && region == otherRegion || s.o.EveryRegion && regionForm.MatchString(region) || slices.Contains(x.e.o.Regions, region) || slices.Contains(x.e.o.Regions, "*")
	}, Skew: x.e.o.Skew}); err != nil {
		return refusal(err)
	}
	key, err := x.e.o.Credentials.Lookup(x.r.Context(), sig.AccessKey, sig.Token)
	if err != nil && !errors.Is(err, ErrUnknownKey) {
		return &Error{Code: InternalFailure, Message: internalMessage, cause: fmt.Errorf("look up an access key: %w", err)}
	}
	known := sig.AccessKey
	if err != nil || key.Secret == "" || subtle.ConstantTimeCompare([]byte(key.Token), []byte(sig.Token)) != 1 {
		known = ""
	}
	// From where attempts fail, further ones are refused unseen; who fails with one key does not keep out others.
	attempts := x.e.o.Attempts
	if attempts != nil && attempts.Wait(x.call.Address, known) > 0 {
		return Errorf(Throttling, "Rate exceeded")
	}
	refused := Errorf(UnrecognizedClient, invalidToken)
	if known != "" {
		refused = x.verify(key)
	}
	if attempts != nil && refused != nil && (refused.Code == UnrecognizedClient || refused.Code == InvalidSignature) {
		attempts.Failed(x.call.Address, known)
	}
	return refused
}

// verify verifies the signature. The body is read between what needs no body and what does.
func (x *exchange) verify(key Credential) *Error {
	sig := x.sig
	digest := sig.Payload
	given := len(digest) == 2*sha256.Size && strings.Trim(digest, "0123456789abcdef") == ""
	if given { // and nothing has to be read of a body whose signature is wrong
		if err := sig.Verify(x.r, key.Secret, digest, true); err != nil {
			return refusal(err)
		}
	}
	if err := x.wait(); err != nil {
		return err
	}
	if err := x.read(x.e.o.MaxBody); err != nil {
		return err
	}
	sum := sha256.Sum256(x.body)
	var err error
	if found := hex.EncodeToString(sum[:]); !given {
		err = sig.Verify(x.r, key.Secret, found, true)
	} else if found != digest {
		err = &sigv4.Error{Kind: sigv4.Mismatch, Text: "The provided 'x-amz-content-sha256' header does not match what was computed."}
	}
	if err != nil {
		return refusal(err)
	}
	if !key.Expires.IsZero() && !x.call.Time.Before(key.Expires) {
		return Errorf(ExpiredToken, "The security token included in the request is expired")
	}
	x.proven = true
	x.call.Region = sig.Region
	x.call.Principal = key.Principal
	if account := key.Principal.Identity.AccountID; account != "" {
		x.call.Account = account
	}
	x.call.Principal.Identity.AccessKeyID = sig.AccessKey
	if x.e.o.Proven != nil {
		x.e.o.Proven(x.call)
	}
	return nil
}

// unsigned takes a call without a signature: those few operations that need none. missing is the refusal of all others.
func (x *exchange) unsigned(missing error) *Error {
	if !x.e.open {
		return refusal(missing)
	}
	if err := x.read(maxUnsigned); err != nil {
		return err
	}
	if err := x.action(); err != nil {
		return refusal(missing)
	}
	for _, s := range x.e.o.Services {
		if s.model.Speaks(model.Query) && s.model.Version == x.params.Get("Version") {
			x.service, x.call.Service = s, s.model.SigningName
			if op := s.ops[x.name]; op != nil && op.model.NoAuth {
				x.unsignable = true
				return nil
			}
		}
	}
	return refusal(missing)
}

// wait takes a slot, when there is one. Callers who have shown no key do not come here: they could hold all slots.
func (x *exchange) wait() *Error {
	select {
	case x.e.slots <- struct{}{}:
		x.holds = true
		return nil
	case <-x.r.Context().Done():
		return &Error{Code: Unavailable, Message: "The caller did not wait", cause: x.r.Context().Err()}
	}
}

// read takes the body.
func (x *exchange) read(most int64) *Error {
	if x.r.ContentLength > most {
		return Errorf(TooLarge, "The request is larger than %d bytes", most)
	}
	x.hurry()
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(x.r.Body, most+1))
	switch {
	case err != nil:
		return &Error{Code: Serialization, Message: "The body of the request ended too early", cause: err}
	case n > most:
		return Errorf(TooLarge, "The request is larger than %d bytes", most)
	}
	x.body = b.Bytes()
	if x.r.Body != http.NoBody {
		_ = x.ctl.SetReadDeadline(time.Time{}) // from here on it is the caller who waits
	}
	return nil
}

// hurry bounds the time that the body may take. Not every connection has deadlines. Without a body the server reads on
// already, to see whether the caller goes away: a deadline would look like that.
func (x *exchange) hurry() {
	if x.r.Body != http.NoBody {
		_ = x.ctl.SetReadDeadline(time.Now().Add(x.e.o.BodyTime))
	}
}

// action reads the parameters of the query protocol, and the operation among them.
func (x *exchange) action() *Error {
	text := string(x.body)
	if x.r.Method == http.MethodGet || text == "" {
		text = x.r.URL.RawQuery
	}
	values, err := wire.ParseQuery(text)
	if err != nil {
		return Errorf(Serialization, "%s", err)
	}
	x.params, x.name = values, values.Get("Action")
	if x.name == "" {
		return Errorf(MissingAction, "The request must contain the parameter Action")
	}
	return nil
}

// serve carries out a call whose caller is known.
func (x *exchange) serve() (refused *Error) {
	if x.protocol == model.Query && x.params == nil {
		if err := x.action(); err != nil {
			return err
		}
	}
	version := x.params.Get("Version")
	if x.op = x.service.ops[x.name]; x.op == nil || x.protocol == model.Query && version != "" && version != x.service.model.Version {
		x.op = nil
		if x.protocol == model.Query {
			return Errorf(UnknownOperation, "Could not find operation %s for version %s", limit(x.name), limit(orNone(version)))
		}
		if _, known := x.service.model.Operation(x.name); known {
			return Errorf(UnknownOperation, "The operation %s is not served here", x.name)
		}
		return Errorf(UnknownOperation, "The service has no operation %s", limit(x.name))
	}
	x.call.Operation = x.name
	if err := x.decode(); err != nil {
		return err
	}
	if x.op.in != nil {
		if broken := x.op.in.Validate(x.in); len(broken) > 0 {
			if x.service.o.Invalid != nil {
				if err := x.service.o.Invalid(x.name, broken); err != nil {
					return err
				}
			}
			return Errorf(Validation, "%s", wire.Message(broken))
		}
	}
	if err := x.authorize(); err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			x.out = nil
			refused = &Error{Code: InternalFailure, Message: internalMessage, cause: fmt.Errorf("panic: %v\n%s", p, debug.Stack())}
		}
	}()
	out, err := x.op.call(x.r.Context(), x.call, x.in)
	if err != nil {
		return asError(err)
	}
	x.out = out
	return nil
}

func orNone(version string) string {
	if version == "" {
		return "NO_VERSION_SPECIFIED"
	}
	return version
}

func limit(s string) string {
	if len(s) > 128 {
		return strings.ToValidUTF8(s[:128], "")
	}
	return s
}

// decode makes the input of the body.
func (x *exchange) decode() *Error {
	x.in = x.op.newIn()
	t := x.op.in
	if t == nil {
		return nil
	}
	body := x.body
	switch x.r.Header.Get("Content-Encoding") {
	case "":
	case "gzip":
		if !x.op.model.Gzip {
			return Errorf(Serialization, "The body of this operation may not be compressed")
		}
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err == nil {
			body, err = io.ReadAll(io.LimitReader(z, x.e.o.MaxBody+1))
		}
		if err != nil {
			return Errorf(Serialization, "The body is not compressed with gzip")
		}
		if int64(len(body)) > x.e.o.MaxBody {
			return Errorf(TooLarge, "The request is larger than %d bytes", x.e.o.MaxBody)
		}
	default:
		return Errorf(Serialization, "The encoding of the body is not known")
	}
	var err error
	switch x.protocol {
	case model.Query:
		err = t.DecodeQuery(x.params, x.in)
	case model.CBOR:
		err = t.DecodeCBOR(body, x.in)
	case model.RESTJSON:
		var q url.Values
		if q, err = wire.ParseQuery(x.r.URL.RawQuery); err == nil {
			if err = t.DecodeJSON(body, x.in); err == nil {
				err = t.Parameters(q, x.in)
			}
		}
	default:
		err = t.DecodeJSON(body, x.in)
	}
	if err != nil {
		x.in = nil
		return Errorf(Serialization, "%s", err)
	}
	return nil
}

// authorize asks whether the principal may.
func (x *exchange) authorize() *Error {
	if x.op.anyone || x.op.model.NoAuth {
		return nil
	}
	a := Access{Principal: x.call.Principal, Action: x.service.o.ActionPrefix + ":" + x.name, ReadOnly: x.op.readOnly, Address: x.call.Address, TLS: x.call.TLS, UserAgent: x.call.UserAgent}
	if x.op.resources != nil {
		a.Resources = x.op.resources(x.call, x.in)
	}
	err := x.e.o.Authorizer.Authorize(x.r.Context(), a)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrDenied):
		on := ""
		if len(a.Resources) > 0 {
			on = " on resource: " + limit(a.Resources[0])
		}
		return Errorf(AccessDenied, "User: %s is not authorized to perform: %s%s because no identity-based policy allows the %s action",
			a.Principal.Identity.ARN, a.Action, on, a.Action)
	}
	return &Error{Code: InternalFailure, Message: internalMessage, cause: fmt.Errorf("authorize %s: %w", a.Action, err)}
}

var (
	regionForm = regexp.MustCompile(`^[a-z]{2,3}(-[a-z]{2,20}){1,3}-[0-9]{1,2}$`)
	plainName  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,127}$`)
	plainKey   = regexp.MustCompile(`^[A-Za-z0-9]{16,128}$`)
)

// record makes the call durable. refused is what the caller will be told, nil for a result.
func (x *exchange) record(refused *told) error {
	c := recorder.Call{
		RequestID: x.call.RequestID, Time: x.call.Time, Name: "UnknownOperation", Region: x.call.Region, Recipient: x.call.Account,
		Identity: x.call.Principal.Identity, Address: x.call.Address, UserAgent: x.call.UserAgent,
		Additional: x.call.additional, Resources: x.call.resources, TLS: x.r.TLS, Host: x.r.Host,
	}
	if plainName.MatchString(x.name) {
		c.Name = x.name
	}
	if x.service != nil {
		c.Source, c.APIVersion = x.service.o.EventSource, x.service.model.Version
		if m, ok := x.service.model.Operation(x.name); ok {
			c.ReadOnly = m.ReadOnly()
		}
	}
	if x.op != nil {
		c.ReadOnly, c.Category = x.op.readOnly, x.op.category
		if x.op.in != nil && x.in != nil {
			c.Request = object(x.op.in.Record(x.in))
		}
		if x.op.out != nil && x.out != nil && (!c.ReadOnly || x.op.result) {
			c.Response = object(x.op.out.Record(x.out))
		}
	}
	if refused != nil {
		c.Response = nil
		c.ErrorCode, c.ErrorMessage = refused.record, refused.message
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), recordTimeout)
	defer cancel()
	if !x.proven && (refused != nil || !x.unsignable) {
		if plainKey.MatchString(x.call.AccessKey) {
			x.call.Annotate("claimedAccessKeyId", x.call.AccessKey)
			c.Additional = x.call.additional
		}
		// Whoever is refused is refused, also when that cannot be recorded: the recorder tells of it.
		_ = x.e.o.Recorder.Refused(ctx, "aws "+c.ErrorCode+" "+c.Source+" "+x.call.Address.String(), c)
		return nil
	}
	_, err := x.e.o.Recorder.Record(ctx, c)
	return err
}

// object is nil for no members, so that the record has null.
func object(text json.RawMessage) any {
	if text == nil {
		return nil
	}
	return text
}

// after undoes what the handler did, the last thing first, or tells it that the call is recorded.
func (x *exchange) after(recorded bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), recordTimeout)
	defer cancel()
	if recorded {
		for _, f := range x.call.recorded {
			f(ctx)
		}
		return
	}
	for _, undo := range slices.Backward(x.call.undo) {
		undo(ctx)
	}
}
