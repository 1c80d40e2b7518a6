package awsapi

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"time"

	"spoor/internal/awsapi/model"
	"spoor/internal/awsapi/wire"
	"spoor/internal/recorder"
)

// Principal is who a key belongs to.
type Principal struct {
	Identity recorder.Identity // userIdentity of what it does; AccessKeyID is filled in by the endpoint
	Subject  any               // what the Authorizer and the parts behind the services know it by
}

// Credential is an access key.
type Credential struct {
	Secret    string
	Token     string    // that has to come with the key, of temporary ones
	Expires   time.Time // of temporary ones
	Principal Principal
}

// ErrUnknownKey is returned by [Credentials] for a key that is not there, or does not count any more.
var ErrUnknownKey = errors.New("unknown access key")

// Credentials finds keys. What it returns counts for one call: a key that was revoked is refused from then on. The session
// token is as the caller sent it, empty for none.
type Credentials interface {
	Lookup(ctx context.Context, accessKeyID, sessionToken string) (Credential, error)
}

// Attempts bounds attempts to guess credentials, by address and key. The key is empty where it is unknown, or came with a wrong
// session token.
type Attempts interface {
	// Wait is how long an attempt is refused unseen, 0 for not at all.
	Wait(address netip.Addr, accessKeyID string) time.Duration
	// Failed counts an attempt that failed.
	Failed(address netip.Addr, accessKeyID string)
}

// Access is what a principal wants to do.
type Access struct {
	Principal Principal
	Action    string   // such as cloudtrail:LookupEvents
	Resources []string // ARNs, none where the operation is about no resource
	ReadOnly  bool
	Address   netip.Addr
	TLS       bool
	UserAgent string
}

// ErrDenied is returned by an [Authorizer] for what may not be done.
var ErrDenied = errors.New("not authorized")

// Authorizer decides. Its errors but those that wrap [ErrDenied] fail the call.
type Authorizer interface {
	Authorize(ctx context.Context, a Access) error
}

// Recorder makes calls durable. [recorder.Recorder] is one.
type Recorder interface {
	Record(ctx context.Context, c recorder.Call) (eventID string, err error)
	Refused(ctx context.Context, kind string, c recorder.Call) error
}

// Call is a call that is being served.
type Call struct {
	Service   string // signing name
	Operation string
	RequestID string
	Time      time.Time
	Region    string // of the signature's scope
	Account   string // of the principal; of the endpoint before that is known
	Partition string
	AccessKey string
	Principal Principal
	Address   netip.Addr
	TLS       bool
	UserAgent string

	resources  []recorder.Resource
	additional map[string]any
	undo       []func(context.Context)
	recorded   []func(context.Context)
}

// Resource tells the record what the call is about. The handler's goroutine may use it.
func (c *Call) Resource(r ...recorder.Resource) { c.resources = append(c.resources, r...) }

// Annotate adds to additionalEventData of the record.
func (c *Call) Annotate(key string, value any) {
	if c.additional == nil {
		c.additional = map[string]any{}
	}
	c.additional[key] = value
}

// OnUnrecorded is the way back of a handler that changed something: f runs, the last one first, when the call turns out not to
// be recordable, which fails it.
func (c *Call) OnUnrecorded(f func(context.Context)) { c.undo = append(c.undo, f) }

// OnRecorded is for what may be known only when the call is recorded: f runs behind that, before the answer.
func (c *Call) OnRecorded(f func(context.Context)) { c.recorded = append(c.recorded, f) }

// ServiceOptions of NewService.
type ServiceOptions struct {
	EventSource  string   // eventSource of records; default SIGNINGNAME.amazonaws.com
	ActionPrefix string   // of actions; default the signing name
	Global       bool     // signatures for us-east-1 count too
	EveryRegion  bool     // and for this service those for every Region: it has something of Regions that nobody configured
	Secrets      []string // further members that are not to be recorded: STRUCTURE.MEMBER
	Omitted      []string // members that are left out of records altogether: STRUCTURE.MEMBER
	// Invalid says, for a service that has errors of its own for that, what violations of the model's constraints are
	// answered with; nil for AWS's common validation error.
	Invalid func(operation string, v []wire.Violation) *Error
}

// Service is the part of the endpoint that serves one model. It is set up by one goroutine, and immutable after [New].
type Service struct {
	model    *model.Service
	o        ServiceOptions
	compiler *wire.Compiler
	ops      map[string]*operation
	err      error
}

// operation is a served operation.
type operation struct {
	model     *model.Operation
	in, out   *wire.Type // nil for none
	newIn     func() any
	call      func(ctx context.Context, c *Call, in any) (any, error)
	readOnly  bool
	anyone    bool
	result    bool // is recorded, also when it is read-only
	category  string
	resources func(c *Call, in any) []string
}

// NewService begins a service that serves nothing yet.
func NewService(m *model.Service, o ServiceOptions) *Service {
	if o.EventSource == "" {
		o.EventSource = m.SigningName + ".amazonaws.com"
	}
	if o.ActionPrefix == "" {
		o.ActionPrefix = m.SigningName
	}
	c := wire.NewCompiler(m, append(secrets(m.Name), o.Secrets...)...)
	c.Omit(o.Omitted...)
	return &Service{model: m, o: o, compiler: c, ops: map[string]*operation{}}
}

// Model is the service's model.
func (s *Service) Model() *model.Service { return s.model }

// Serves reports whether an operation is served.
func (s *Service) Serves(name string) bool { return s.ops[name] != nil }

// An Option says more of an operation.
type Option func(*operation)

// ReadOnly overrides what the operation's name says.
func ReadOnly(yes bool) Option { return func(o *operation) { o.readOnly = yes } }

// RecordResult records the result of a call that CloudTrail calls read-only.
func RecordResult() Option { return func(o *operation) { o.result = true } }

// AnyPrincipal serves whoever has a valid signature, without asking the Authorizer.
func AnyPrincipal() Option { return func(o *operation) { o.anyone = true } }

// DataEvent records calls as data events.
func DataEvent() Option { return func(o *operation) { o.category = "Data" } }

// On names the ARNs that a call needs a permission for.
func On[In any](f func(c *Call, in *In) []string) Option {
	return func(o *operation) { o.resources = func(c *Call, in any) []string { return f(c, in.(*In)) } }
}

// Handle serves an operation. In and Out are the generated types of the model; struct{} stands for none. The input that the
// handler gets was decoded and satisfies the model's constraints. Its error is an *[Error], or is answered as a failure of the
// service. Mistakes are returned by [New].
func Handle[In, Out any](s *Service, name string, h func(ctx context.Context, c *Call, in *In) (*Out, error), options ...Option) {
	m, ok := s.model.Operation(name)
	switch {
	case !ok:
		s.err = errors.Join(s.err, fmt.Errorf("%s has no operation %s", s.model.Name, name))
		return
	case s.ops[name] != nil:
		s.err = errors.Join(s.err, fmt.Errorf("%s of %s is served twice", name, s.model.Name))
		return
	}
	op := &operation{model: m, readOnly: m.ReadOnly(), newIn: func() any { return new(In) }}
	op.call = func(ctx context.Context, c *Call, in any) (any, error) {
		out, err := h(ctx, c, in.(*In))
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = new(Out)
		}
		return out, nil
	}
	bind := func(shape int16, t reflect.Type) *wire.Type {
		if shape < 0 && t == reflect.TypeFor[struct{}]() {
			return nil
		}
		bound, err := s.compiler.Type(shape, t)
		s.err = errors.Join(s.err, err)
		return bound
	}
	op.in, op.out = bind(m.Input, reflect.TypeFor[In]()), bind(m.Output, reflect.TypeFor[Out]())
	for _, o := range options {
		o(op)
	}
	s.ops[name] = op
}

// secrets are members that the models do not call sensitive, and that CloudTrail does not record.
func secrets(service string) []string {
	switch service {
	case "sns":
		return []string{"PublishInput.Message", "PublishInput.Subject", "PublishInput.MessageAttributes",
			"PublishBatchRequestEntry.Message", "PublishBatchRequestEntry.Subject", "PublishBatchRequestEntry.MessageAttributes"}
	case "sts":
		return []string{"AssumeRoleRequest.TokenCode", "GetSessionTokenRequest.TokenCode", "Credentials.SessionToken",
			"AssumeRoleWithWebIdentityRequest.WebIdentityToken", "AssumeRoleWithSAMLRequest.SAMLAssertion"}
	}
	return nil
}
