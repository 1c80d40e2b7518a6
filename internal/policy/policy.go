// Package policy is AWS's policy documents as resources have them: those of buckets, keys and topics. They are parsed strictly,
// since a condition that is not understood may be what keeps somebody out, and evaluated for one request at a time.
package policy

import "errors"

// Principal is who asks.
type Principal struct {
	ARN       string // of the user, or of the assumed role's session
	RoleARN   string // of the role behind a session
	Account   string
	UserID    string
	UserName  string
	Service   string // such as cloudtrail.amazonaws.com, for a service that asks on its own
	Anonymous bool
}

// Request is what a principal wants to do.
type Request struct {
	Principal  Principal
	Action     string              // such as s3:PutObject
	Resource   string              // ARN
	Conditions map[string][]string // values of condition keys, such as aws:SourceArn; keys compare without case
}

// Effect is what a document says of a request.
type Effect uint8

// The effects.
const (
	None Effect = iota // nothing: it is for others to decide
	Allow
	Delegate // an account is allowed, not the principal: policies of the account decide
	Deny
)

// Document is a parsed policy. It is immutable.
type Document struct{}

// Parse parses a document for the resources of a service, such as s3. Errors name statement, member and reason.
func Parse(service string, text []byte) (*Document, error) { return nil, errors.New("not built yet") }

// Evaluate says what the document has to say of a request, and which statement says it: its Sid, or its number from 1.
func (d *Document) Evaluate(r Request) (Effect, string) { return None, "" }
