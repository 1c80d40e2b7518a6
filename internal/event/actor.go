package event

// ActorKind says what kind of thing acted.
type ActorKind string

// The kinds of actors.
const (
	ActorRoot      ActorKind = "root"      // the account itself
	ActorUser      ActorKind = "user"      // an IAM user
	ActorRole      ActorKind = "role"      // a role, whoever holds its session
	ActorPerson    ActorKind = "person"    // a person behind Identity Center, SAML or a source identity
	ActorWorkload  ActorKind = "workload"  // a federated machine identity: OIDC subject such as a CI job or a Kubernetes service account
	ActorInstance  ActorKind = "instance"  // an EC2 instance behind its instance profile
	ActorFunction  ActorKind = "function"  // a Lambda function behind its execution role
	ActorFederated ActorKind = "federated" // a GetFederationToken user
	ActorAccount   ActorKind = "account"   // another account, nothing more is known
	ActorService   ActorKind = "service"   // an AWS service on its own behalf
	ActorAnonymous ActorKind = "anonymous" // an unauthenticated caller
	ActorUnknown   ActorKind = "unknown"   // the record does not tell
)

// Actor is the one stable identity of who acted, the same for every session of it. docs/formats/actor.md gives the
// derivation.
type Actor struct {
	Kind    ActorKind `json:"kind"`
	ID      string    `json:"id"`                // stable and unique, such as arn:aws:iam::111122223333:role/Deploy or person:ana@example.com
	Name    string    `json:"name"`              // short, for people
	Account string    `json:"account,omitempty"` // account of the identity
	Session string    `json:"session,omitempty"` // session name, not part of the identity
	From    string    `json:"from"`              // which part of the record told, such as sessionIssuer.arn
}
