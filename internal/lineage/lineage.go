package lineage

import (
	"time"
)

// Certainty says how a credential was linked to the call that minted it.
type Certainty string

// The certainties.
const (
	Proven    Certainty = "proven"    // the call's answer names the access key
	Matched   Certainty = "matched"   // the only call that fits by identity and time
	Ambiguous Certainty = "ambiguous" // several calls fit; none is taken
	Unknown   Certainty = "unknown"   // no call is known
	Beginning Certainty = "beginning" // nothing minted it: an identity of its own
)

// Reason says why a link is not known.
type Reason string

// The reasons.
const (
	// ReasonBeforeData: the credential is older than the data of its account, or may be.
	ReasonBeforeData Reason = "before-data"
	// ReasonOtherAccount: the call was logged in an account of which the data have nothing.
	ReasonOtherAccount Reason = "other-account"
	// ReasonService: an AWS service hands such credentials to what it runs, and its call is not in the data: CloudTrail does
	// not log all of them.
	ReasonService Reason = "service-credentials"
	// ReasonNoSignIn: a console session without a sign-in in the data.
	ReasonNoSignIn Reason = "no-sign-in"
	// ReasonSeveral: several calls fit.
	ReasonSeveral Reason = "several-candidates"
	// ReasonNotInData: the data cover account and time, and have no call that fits.
	ReasonNotInData Reason = "not-in-data"
	// ReasonNoKey: the record that was asked for names no access key.
	ReasonNoKey Reason = "no-key"
	// ReasonCycle: the chain leads back to itself, which no true record does.
	ReasonCycle Reason = "cycle"
	// ReasonDepth: the chain is longer than Options.Depth.
	ReasonDepth Reason = "depth"
)

// Options of [Trace]. The zero value takes the defaults.
type Options struct {
	// Depth is how many links are followed, upwards and downwards; 12 by default.
	Depth int
	// Sessions is how many credentials are shown; 60 by default. Further ones are counted in Report.Left.
	Sessions int
	// Group is how many sessions of one role, minted by one key, are shown one by one; more of them are added up. 4 by
	// default.
	Group int
}

// Report is the answer to a question.
type Report struct {
	Asked string `json:"asked"`
	// As is what the question was taken for: key, event, arn, name; "" when nothing was found.
	As string `json:"as,omitempty"`
	// Event is the event that was asked for.
	Event *Event `json:"event,omitempty"`
	// Roots are the first known credentials and identities, with everything below them.
	Roots []*Node `json:"roots"`
	// Targets is how many credentials the question was about; Left how many of them are not shown.
	Targets int `json:"targets"`
	Left    int `json:"left,omitempty"`
	// Accounts tell which part of history the data hold.
	Accounts []Coverage `json:"accounts"`
}

// Coverage is what the data hold of an account.
type Coverage struct {
	Account string    `json:"account"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Events  int64     `json:"events"`
}

// Kind says what a node is.
type Kind string

// The kinds of nodes.
const (
	LongTerm Kind = "key"      // a long-term access key
	Session  Kind = "session"  // temporary credentials
	Bearer   Kind = "bearer"   // a bearer token, by its credential id
	Identity Kind = "identity" // an identity whose credentials the record does not name: a person, a service, a password
)

// Node is a credential, or an identity at the beginning of a chain.
type Node struct {
	Kind Kind   `json:"kind"`
	Key  string `json:"accessKeyId,omitempty"`
	Who
	// Issued is when the session began.
	Issued time.Time `json:"issued,omitzero"`
	MFA    string    `json:"mfa,omitempty"` // "true" or "false"
	// SourceIdentity is what the caller of AssumeRole said about itself; it stays along a chain of roles.
	SourceIdentity string `json:"sourceIdentity,omitempty"`
	// Source is the resource or provider that the credentials were made for or by: a function, an OIDC provider.
	Source  string `json:"source,omitempty"`
	Console bool   `json:"console,omitempty"` // used in the console
	// Target is set when the question was about this node.
	Target bool `json:"target,omitempty"`
	Origin Link `json:"origin"`
	// Notes are what else is known about the beginning, in plain words: who set the password, who started the instance.
	Notes []Note `json:"notes,omitempty"`
	Uses  *Uses  `json:"uses,omitempty"` // nil for identities; zero when never used
	// Minted are the credentials that this one minted, in the order of time.
	Minted []*Node `json:"minted,omitempty"`
	// Groups add up sessions that are too many to be shown one by one.
	Groups []Group `json:"groups,omitempty"`
	// Hidden is how many more sessions it minted, which the question is not about or which are too many.
	Hidden int64 `json:"hidden,omitempty"`

	parent    *Node
	parentKey string // that minted it, before it is loaded
	role      string // the role's ARN, as the record has it
	account   string // where its minting is logged

	linked, expanded bool // whether its origin and what it minted were looked for
}

// Who is an identity as a record has it.
type Who struct {
	Type      string `json:"type,omitempty"` // userIdentity.type
	ARN       string `json:"arn,omitempty"`
	Account   string `json:"account,omitempty"`
	Principal string `json:"principalId,omitempty"`
	// Actor and ActorKind are the resolved identity, docs/formats/actor.md.
	Actor     string `json:"actor,omitempty"`
	ActorID   string `json:"actorId,omitempty"`
	ActorKind string `json:"actorKind,omitempty"`
	Name      string `json:"session,omitempty"` // session name
}

// Link says where a credential comes from.
type Link struct {
	Certainty Certainty `json:"certainty"`
	Event     *Event    `json:"event,omitempty"` // that minted it
	// Copies are records of the same call in other accounts.
	Copies []Event `json:"copies,omitempty"`
	// Evidence is what the link rests on.
	Evidence string `json:"evidence,omitempty"`
	Reason   Reason `json:"reason,omitempty"`
	// Text says the reason in words.
	Text string `json:"text,omitempty"`
	// Candidates are the calls that fit, at most 10, when there are several.
	Candidates []Candidate `json:"candidates,omitempty"`
	More       int         `json:"moreCandidates,omitempty"`
}

// Candidate is a call that may have minted a credential.
type Candidate struct {
	Event    Event  `json:"event"`
	Key      string `json:"callerKey,omitempty"`
	Who      Who    `json:"caller"`
	Evidence string `json:"evidence"`
}

// Event names a record.
type Event struct {
	ID      string    `json:"eventID"`
	Time    time.Time `json:"time"`
	Source  string    `json:"eventSource"`
	Name    string    `json:"eventName"`
	Account string    `json:"account,omitempty"`
	Region  string    `json:"region,omitempty"`
	Address string    `json:"address,omitempty"`
	Agent   string    `json:"userAgent,omitempty"`
	Error   string    `json:"error,omitempty"`
	// Target is the role or user that the call was about.
	Target string `json:"target,omitempty"`
}

// Note is something known about the beginning of a credential.
type Note struct {
	Text  string `json:"text"`
	Event *Event `json:"event,omitempty"`
	Key   string `json:"accessKeyId,omitempty"` // of the caller
}

// Uses is what was done with a credential.
type Uses struct {
	Calls  int64     `json:"calls"`
	Failed int64     `json:"failed"`
	First  time.Time `json:"first,omitzero"`
	Last   time.Time `json:"last,omitzero"`
	// Names are the calls, most of all first; what changes something before what only reads.
	Names     []Count `json:"callsByName,omitempty"`
	Errors    []Count `json:"errors,omitempty"`
	Addresses []Count `json:"addresses,omitempty"`
	Agents    []Count `json:"userAgents,omitempty"`
	Regions   []Count `json:"regions,omitempty"`
	Accounts  []Count `json:"accounts,omitempty"`
}

// Count is a value and how often it came. Of each list at most 40 values are kept; Distinct of the first one says how many
// there are.
type Count struct {
	Value    string    `json:"value"`
	Source   string    `json:"eventSource,omitempty"`
	Writes   bool      `json:"writes,omitempty"`
	Calls    int64     `json:"calls"`
	Failed   int64     `json:"failed,omitempty"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	Distinct int64     `json:"distinct,omitempty"`
}

// Group is sessions of one role that one credential minted.
type Group struct {
	Call     string    `json:"call"`
	Target   string    `json:"target"` // role or user
	Sessions int64     `json:"sessions"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	// Uses is what was done with the first 1000 of them; Partial says that there are more.
	Uses    *Uses `json:"uses,omitempty"`
	Partial bool  `json:"partial,omitempty"`
}
