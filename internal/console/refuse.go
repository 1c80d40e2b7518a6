package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"spoor/internal/iam"
	"spoor/internal/journal"
	"spoor/internal/recorder"
)

// buffer reads the body of a call, and puts it back.
func buffer(r *http.Request) ([]byte, *Problem) {
	body, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, problem(http.StatusRequestEntityTooLarge, codeTooLarge, "the request is too large")
	case err != nil:
		return nil, problem(http.StatusBadRequest, codeBody, "the body of the request cannot be read to its end")
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body, nil
}

// unauthenticated refuses a caller who did not prove who it is.
func (c *Console) unauthenticated(w http.ResponseWriter, r *http.Request, cl *call, err error) {
	var auth *iam.AuthError
	if !errors.As(err, &auth) {
		tell(w, r, c.problemOf(r.Context(), err))
		return
	}
	rec := c.event(r.Context(), r, "UnknownOperation", nil)
	if cl.route != nil {
		rec.Name = string(cl.route.action)
	}
	rec.Identity = recorder.Anonymous()
	rec.ErrorCode, rec.ErrorMessage = "MissingAuthenticationToken", auth.Public()
	switch {
	case auth.Wait > 0:
		rec.ErrorCode = "ThrottlingException"
	case auth.Principal != nil:
		rec.Identity, rec.ErrorCode = identity(*auth.Principal, auth.Token), "ExpiredToken"
	case auth.Reason != "there is no token":
		rec.ErrorCode, rec.Identity.CredentialID = "InvalidClientTokenId", auth.Token
	}
	c.record(r.Context(), "unauthenticated "+network(cl.address)+" "+rec.Identity.PrincipalID, rec)
	tell(w, r, authProblem(auth))
}

// network is the address, of IPv6 the network that one host may choose its addresses from.
func network(a netip.Addr) string {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

// refused authorises a call. When it may not be made, it is recorded and answered, and refused is true.
func (c *Console) refused(w http.ResponseWriter, r *http.Request, rt *route, body []byte) bool {
	var on iam.Resource
	if rt.about != nil {
		on = rt.about(r, body)
	}
	err := c.authorize(r.Context(), r, rt.action, on)
	if err == nil {
		return false
	}
	tell(w, r, c.problemOf(r.Context(), err))
	return true
}

// authorize decides whether the caller may do something, and records a refusal.
func (c *Console) authorize(ctx context.Context, r *http.Request, a iam.Action, on iam.Resource) error {
	cl := callOf(ctx)
	d := c.o.Access.Authorize(ctx, cl.caller, a, on)
	if d.Allowed {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	params := map[string]any{}
	if on.ID != "" {
		params[strings.ToLower(string(on.Type))] = on.ID
	}
	if on.Roles != nil {
		params["roles"] = on.Roles
	}
	rec := c.event(ctx, r, string(a), params)
	rec.ErrorCode, rec.ErrorMessage = "AccessDenied", d.Reason
	if len(d.Policies) > 0 {
		rec.Additional = map[string]any{"policies": d.Policies}
	}
	why := d.Err()
	if err := c.o.Access.Check(cl.caller); err != nil { // revoked since it came
		rec.ErrorCode, rec.ErrorMessage, why = "ExpiredToken", err.Error(), err
	}
	c.record(ctx, "denied "+d.Principal.ID+" "+string(a)+" "+string(on.Type), rec)
	return why
}

// record records a refusal; when that cannot be done, it stands all the same.
func (c *Console) record(ctx context.Context, kind string, rec recorder.Call) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := c.o.Recorder.Refused(ctx, kind, rec); err != nil {
		c.o.Log.Error("a refusal could not be recorded", slog.String("request", requestID(ctx)), slog.Any("error", err))
	}
}

// identity is a principal as userIdentity has it.
func identity(p iam.Principal, token string) recorder.Identity {
	id := recorder.Identity{Type: "IAMUser", PrincipalID: p.ID, ARN: p.ARN(), AccountID: p.Account, UserName: p.Name, CredentialID: token}
	if p.Kind == iam.KindRoot {
		id.Type, id.PrincipalID, id.UserName = "Root", p.Account, ""
	}
	return id
}

// event is the call as an event, yet without its outcome. r may be nil where the request is not at hand.
func (c *Console) event(ctx context.Context, r *http.Request, name string, params map[string]any) recorder.Call {
	cl := callOf(ctx)
	rec := recorder.Call{
		RequestID: cl.id, Time: c.o.Now(), Name: name, APIVersion: "v1", Address: cl.address,
		Identity: identity(cl.caller.Principal, cl.caller.Token), ReadOnly: !writes(iam.Action(name)),
	}
	if len(params) > 0 {
		rec.Request = params
	}
	if r != nil {
		rec.UserAgent, rec.TLS, rec.Host = r.UserAgent(), r.TLS, r.Host
	}
	return rec
}

func writes(a iam.Action) bool {
	for _, i := range iam.Actions() {
		if i.Action == a {
			return i.Write
		}
	}
	return false
}

// change is a call that changes something.
type change struct {
	action iam.Action
	params map[string]any // requestParameters
	// check finds out, before anything is recorded, what would make do fail.
	check func() error
	// do makes the change; response is responseElements.
	do func(ctx context.Context) (response map[string]any, err error)
	// undo, of a change whose response belongs into the event, takes it back when it cannot be recorded. Without it the change
	// is recorded before it is made.
	undo func() error
	// always makes the change also when it cannot be recorded, as it takes something away that may be misused. It must be one
	// that can be made again.
	always    bool
	resources []recorder.Resource
}

// apply makes a change and records it, whether it succeeds or not. When it returns nil, both are durable. A change that cannot
// be recorded is not made, or taken back. It goes on when the caller has gone.
func (c *Console) apply(ctx context.Context, ch change) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime)
	defer cancel()
	rec := c.event(ctx, requestOf(ctx), string(ch.action), ch.params)
	rec.ReadOnly, rec.Resources = false, ch.resources
	failed := func(err error, amends string) error {
		p := c.problemOf(ctx, err)
		rec.EventID, rec.Response, rec.Time = "", nil, c.o.Now()
		rec.ErrorCode, rec.ErrorMessage = errorCode(p), p.Detail
		if amends != "" {
			rec.Additional = map[string]any{"amends": amends}
		}
		if _, err := c.o.Recorder.Record(ctx, rec); err != nil {
			c.o.Log.Error("a change that failed could not be recorded", slog.String("request", requestID(ctx)), slog.Any("error", err))
		}
		return err
	}
	if ch.check != nil {
		if err := ch.check(); err != nil {
			return failed(err, "")
		}
	}
	if ch.undo != nil {
		response, err := ch.do(ctx)
		if err != nil {
			return failed(err, "")
		}
		if len(response) > 0 {
			rec.Response = response
		}
		if _, err := c.o.Recorder.Record(ctx, rec); err != nil {
			detail := "nothing was changed: the call could not be recorded"
			if undo := ch.undo(); undo != nil {
				c.o.Log.Error("a change that could not be recorded could not be taken back", slog.String("request", requestID(ctx)), slog.Any("error", undo))
				detail = "the call could not be recorded, and what it changed could not be taken back"
			}
			return notRecorded(err, detail)
		}
		return nil
	}
	id, err := c.o.Recorder.Record(ctx, rec)
	if err != nil && !ch.always {
		return notRecorded(err, "nothing was changed: the call could not be recorded")
	}
	if _, doErr := ch.do(ctx); doErr != nil {
		return failed(doErr, id)
	}
	if err != nil {
		return notRecorded(err, "the change was made, but it could not be recorded; make it again later")
	}
	return nil
}

// notRecorded is the problem of a change that could not be recorded.
func notRecorded(err error, detail string) *Problem {
	p := problem(http.StatusServiceUnavailable, codeNotRecorded, detail)
	var full *journal.FullError
	if errors.As(err, &full) {
		return p.again(full.RetryAfter)
	}
	return p.again(5 * time.Second)
}

// errorCode is the errorCode of a call with a problem, in CloudTrail's words.
func errorCode(p *Problem) string {
	switch p.Code {
	case codeNotFound:
		return "ResourceNotFoundException"
	case codeExists:
		return "EntityAlreadyExists"
	case codeLimit:
		return "LimitExceeded"
	case codeInvalid, codeBody:
		return "ValidationException"
	case codeConflict:
		return "ConflictException"
	case codeDenied:
		return "AccessDenied"
	case codeBusy, codeFull, codeUnavailable, codeTimeout:
		return "ServiceUnavailable"
	}
	return "InternalFailure"
}

// decode reads a JSON body as huma does.
func decode[T any](body []byte) (v T) {
	_ = json.Unmarshal(body, &v) // what is wrong with it is told by huma, to those who may make the call
	return v
}
