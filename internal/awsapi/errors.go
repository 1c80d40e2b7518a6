package awsapi

import (
	"errors"
	"fmt"
	"net/http"

	"spoor/internal/awsapi/model"
	"spoor/internal/awsapi/sigv4"
)

// Error is what a caller is told. Code is the name of an exception of the service's model, or of [Common].
type Error struct {
	Code    string
	Message string
	Members map[string]any // further members of the exception, in protocols that have them
	cause   error          // for the log alone
}

// Error implements error.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Unwrap returns the cause, which callers are not told.
func (e *Error) Unwrap() error { return e.cause }

// Errorf makes an error for a caller.
func Errorf(code, format string, a ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, a...)}
}

// CommonError is an error that any operation of any service may answer with.
type CommonError struct {
	Code   string // in JSON and CBOR
	Query  string // in the query protocol
	S3     string // of the S3 API
	Status int
}

// Codes of common errors, as the protocols with JSON have them.
const (
	MissingAuthenticationToken = "MissingAuthenticationTokenException"
	IncompleteSignature        = "IncompleteSignatureException"
	UnrecognizedClient         = "UnrecognizedClientException"
	InvalidSignature           = "InvalidSignatureException"
	ExpiredToken               = "ExpiredTokenException"
	AccessDenied               = "AccessDeniedException"
	UnknownOperation           = "UnknownOperationException"
	MissingAction              = "MissingAction"
	Serialization              = "SerializationException"
	Validation                 = "ValidationException"
	Throttling                 = "ThrottlingException"
	TooLarge                   = "RequestEntityTooLargeException"
	InternalFailure            = "InternalFailure"
	Unavailable                = "ServiceUnavailableException"
	requestTimeTooSkewed       = "RequestTimeTooSkewed"
	requestExpired             = "RequestExpired"
)

// Common is the catalogue of errors that are in no model, or mean the same in all.
var Common = []CommonError{
	{MissingAuthenticationToken, "MissingAuthenticationToken", "AccessDenied", http.StatusForbidden},
	{IncompleteSignature, "IncompleteSignature", "AuthorizationHeaderMalformed", http.StatusForbidden},
	{UnrecognizedClient, "InvalidClientTokenId", "InvalidAccessKeyId", http.StatusForbidden},
	{InvalidSignature, "SignatureDoesNotMatch", "SignatureDoesNotMatch", http.StatusForbidden},
	{ExpiredToken, "ExpiredToken", "ExpiredToken", http.StatusForbidden},
	{AccessDenied, "AccessDenied", "AccessDenied", http.StatusForbidden},
	{UnknownOperation, "InvalidAction", "MethodNotAllowed", http.StatusBadRequest},
	{MissingAction, "MissingAction", "MethodNotAllowed", http.StatusBadRequest},
	{Serialization, "MalformedInput", "MalformedXML", http.StatusBadRequest},
	{Validation, "ValidationError", "InvalidArgument", http.StatusBadRequest},
	{Throttling, "Throttling", "SlowDown", http.StatusBadRequest},
	{TooLarge, "RequestEntityTooLarge", "EntityTooLarge", http.StatusRequestEntityTooLarge},
	{InternalFailure, "InternalFailure", "InternalError", http.StatusInternalServerError},
	{Unavailable, "ServiceUnavailable", "ServiceUnavailable", http.StatusServiceUnavailable},
	// A clock that is off, and a presigned URL that is over, have codes of their own in S3 alone.
	{requestTimeTooSkewed, "SignatureDoesNotMatch", "RequestTimeTooSkewed", http.StatusForbidden},
	{requestExpired, "SignatureDoesNotMatch", "AccessDenied", http.StatusForbidden},
}

// told is an error in the words of a protocol.
type told struct {
	code    string
	query   string // in the query protocol, also where it is not spoken
	record  string // in records, as CloudTrail has it for all protocols
	status  int
	message string
	members map[string]any
}

// sender reports whether the caller is at fault.
func (t told) sender() bool { return t.status < 500 }

// tell puts an error into the words of a protocol. What is in no catalogue is a failure of the service.
func tell(e *Error, s *model.Service, p model.Protocol) told {
	t := told{code: e.Code, query: e.Code, message: e.Message, members: e.Members}
	common := false
	for _, c := range Common {
		if c.Code == e.Code {
			t.query, t.status, common = c.Query, c.Status, true
		}
	}
	found := common
	if s != nil && (!found || e.Code == Throttling) { // which is 429 in some models
		if shape, ok := s.Exception(e.Code); ok {
			t.status, found = int(shape.Status), true
			if shape.Code != "" && !common {
				t.query = shape.Code
			}
		}
	}
	if !found {
		return told{code: InternalFailure, query: InternalFailure, record: InternalFailure, status: http.StatusInternalServerError, message: internalMessage}
	}
	named := !common || t.code == Validation // the others are told apart by protocol in records too
	switch {
	case p == model.Query:
		t.code = t.query
	case t.code == requestTimeTooSkewed, t.code == requestExpired:
		t.code = InvalidSignature
	case t.code == UnknownOperation && p != model.JSON:
		t.status = http.StatusNotFound
	}
	switch {
	case e.Code == AccessDenied:
		t.record = "AccessDenied"
	case named:
		t.record = e.Code
	default:
		t.record = t.code
	}
	return t
}

const internalMessage = "The request processing has failed because of an unknown error, exception or failure."

// refusal is what a refused signature is answered with.
func refusal(err error) *Error {
	var e *sigv4.Error
	if !errors.As(err, &e) {
		return &Error{Code: InternalFailure, Message: internalMessage, cause: err}
	}
	switch e.Kind {
	case sigv4.Missing:
		return Errorf(MissingAuthenticationToken, "%s", e.Text)
	case sigv4.Incomplete, sigv4.BadQuery, sigv4.Retired:
		return Errorf(IncompleteSignature, "%s", e.Text)
	case sigv4.Skewed:
		return Errorf(requestTimeTooSkewed, "%s", e.Text)
	case sigv4.Expired:
		return Errorf(requestExpired, "%s", e.Text)
	}
	return Errorf(InvalidSignature, "%s", e.Text) // Scope, Unsigned, Mismatch
}

// asError makes what a handler returned an answer.
func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Code: InternalFailure, Message: internalMessage, cause: err}
}
