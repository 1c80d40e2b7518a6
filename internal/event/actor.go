package event

import (
	"hash/maphash"
	"strings"
)

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
	ActorExternal  ActorKind = "external"  // somebody whom another system than AWS knows, in an event from outside
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

// Actor derives who acted. Its strings are copies. Role sessions give the role, unless the record tells who or what is
// behind the session.
func (e *Event) Actor() Actor {
	a := e.actor()
	a.ID, a.Name, a.Account, a.Session = strings.Clone(a.ID), strings.Clone(a.Name), strings.Clone(a.Account), strings.Clone(a.Session)
	return a
}

func (e *Event) actor() Actor {
	if e.outside() {
		return e.externalActor()
	}
	account := e.Text(IdentityAccountID)
	arn := e.Text(IdentityARN)
	name := e.Text(UserName)
	invokedBy := e.Text(InvokedBy)
	if account == "" {
		account = arnAccount(arn)
	}
	if account == "ANONYMOUS_PRINCIPAL" || strings.EqualFold(e.Text(PrincipalID), "anonymous") {
		return Actor{Kind: ActorAnonymous, ID: "anonymous", Name: "anonymous", From: "accountId"}
	}
	switch e.Text(IdentityType) {
	case "Root":
		id := arn
		if id == "" || !strings.HasSuffix(id, ":root") {
			id = "arn:aws:iam::" + account + ":root"
		}
		return Actor{Kind: ActorRoot, ID: id, Name: "root", Account: account, From: "type"}
	case "IAMUser":
		if arn != "" || name != "" {
			return userActor(arn, name, account)
		}
	case "AssumedRole":
		return e.roleActor(arn, account)
	case "Role":
		if arn != "" {
			return Actor{Kind: ActorRole, ID: arn, Name: arnName(arn), Account: account, From: "arn"}
		}
	case "FederatedUser":
		if arn != "" {
			return Actor{Kind: ActorFederated, ID: arn, Name: arnName(arn), Account: account, From: "arn"}
		}
	case "SAMLUser":
		if name != "" {
			return person(name, account, "userName")
		}
	case "WebIdentityUser":
		return e.webIdentityActor(name, account)
	case "IdentityCenterUser":
		return e.identityCenterActor(account)
	case "AWSService":
		if invokedBy != "" {
			return service(invokedBy, account, "invokedBy")
		}
		if src := e.Text(EventSource); src != "" {
			return service(src, account, "eventSource")
		}
	case "AWSAccount":
		id, _, _ := strings.Cut(e.Text(PrincipalID), ":")
		switch {
		case invokedBy != "" && id == "":
			return service(invokedBy, account, "invokedBy")
		case account == "":
			return unknown("", "type")
		case id == "" || id == account:
			return Actor{Kind: ActorAccount, ID: "account:" + account, Name: "account " + account, Account: account, From: "accountId"}
		}
		return Actor{Kind: ActorAccount, ID: "account:" + account + "/" + id, Name: id + " of account " + account, Account: account, From: "principalId"}
	case "Directory":
		if name != "" {
			return Actor{Kind: ActorPerson, ID: "directory:" + account + "/" + name, Name: name, Account: account, From: "userName"}
		}
	}
	return e.otherActor(arn, name, account, invokedBy)
}

// otherActor reads identities of no or an unknown type from what they hold.
func (e *Event) otherActor(arn, name, account, invokedBy string) Actor {
	if e.Get(OnBehalfOf).Kind() == Object {
		return e.identityCenterActor(account)
	}
	if p := e.signInName(); p != "" {
		return person(p, account, "additionalEventData.UserName")
	}
	switch _, resource := arnParts(arn); {
	case strings.HasPrefix(resource, "assumed-role/"):
		return e.roleActor(arn, account)
	case strings.HasPrefix(resource, "user/"):
		return userActor(arn, name, account)
	case resource == "root":
		return Actor{Kind: ActorRoot, ID: arn, Name: "root", Account: account, From: "arn"}
	case arn != "":
		return Actor{Kind: ActorUnknown, ID: arn, Name: arnName(arn), Account: account, From: "arn"}
	case invokedBy != "":
		return service(invokedBy, account, "invokedBy")
	case e.Text(EventType) == "AwsServiceEvent":
		return service(e.Text(EventSource), account, "eventSource")
	case name != "" && name != hidden:
		return Actor{Kind: ActorUnknown, ID: "unknown:" + account + "/" + name, Name: name, Account: account, From: "userName"}
	}
	if id, _, _ := strings.Cut(e.Text(PrincipalID), ":"); id != "" {
		return Actor{Kind: ActorUnknown, ID: "principal:" + id, Name: id, Account: account, From: "principalId"}
	}
	if key := e.Text(AccessKeyID); key != "" {
		return Actor{Kind: ActorUnknown, ID: "key:" + key, Name: "key " + key, Account: account, From: "accessKeyId"}
	}
	return unknown(account, "")
}

// hidden is what CloudTrail writes for a user name that was mistyped at sign-in: it may be a password.
const hidden = "HIDDEN_DUE_TO_SECURITY_REASONS"

func userActor(arn, name, account string) Actor {
	switch {
	case arn != "":
		if name == "" {
			name = arnName(arn)
		}
		return Actor{Kind: ActorUser, ID: arn, Name: name, Account: account, From: "arn"}
	case name == hidden:
		return Actor{Kind: ActorUnknown, ID: "unknown:" + account + "/hidden", Name: "unknown user name", Account: account, From: "userName"}
	case name != "":
		return Actor{Kind: ActorUser, ID: "arn:aws:iam::" + account + ":user/" + name, Name: name, Account: account, From: "userName"}
	}
	return unknown(account, "type")
}

func (e *Event) roleActor(arn, account string) Actor {
	role := e.Text(IssuerARN)
	roleName := e.Text(IssuerUserName)
	from := "sessionIssuer.arn"
	session := ""
	partition, resource := arnParts(arn)
	if rest, ok := strings.CutPrefix(resource, "assumed-role/"); ok {
		derived := rest
		if i := strings.LastIndexByte(rest, '/'); i >= 0 {
			derived, session = rest[:i], rest[i+1:]
		}
		if role == "" {
			role, from = "arn:"+partition+":iam::"+account+":role/"+derived, "arn"
		}
	}
	if session == "" {
		_, session, _ = strings.Cut(e.Text(PrincipalID), ":")
	}
	if role == "" {
		if roleName == "" {
			return unknown(account, "type")
		}
		role, from = "arn:aws:iam::"+account+":role/"+roleName, "sessionIssuer.userName"
	}
	if roleName == "" {
		roleName = arnName(role)
	}
	// Some workforce products (Cognito, GetFederationToken chains) have users as issuers; then it is the user.
	if e.Text(IssuerType) == "IAMUser" {
		a := userActor(role, roleName, account)
		a.Session = session
		return a
	}
	if by := e.Text(SourceIdentity); by != "" {
		a := person(by, account, "sourceIdentity")
		a.Session = session
		return a
	}
	if strings.HasPrefix(roleName, "AWSReservedSSO_") && session != "" {
		a := person(session, account, "session of "+roleName)
		a.Session = session
		return a
	}
	if scope := e.Text(InScopeOfSourceARN); strings.Contains(scope, ":function:") {
		return Actor{Kind: ActorFunction, ID: scope, Name: arnName(scope), Account: account, Session: session, From: "inScopeOf.sourceArn"}
	}
	if isInstanceID(session) {
		from := "session name"
		if !e.Get(EC2RoleDelivery).IsNull() {
			from = "ec2RoleDelivery"
		}
		return Actor{Kind: ActorInstance, ID: "instance:" + account + "/" + session, Name: session + " (" + roleName + ")", Account: account, Session: session, From: from}
	}
	kind := ActorRole
	switch {
	case strings.Contains(role, ":role/aws-service-role/"):
		kind = ActorService
	case e.Text(FederatedProvider) != "":
		kind = ActorWorkload
	}
	return Actor{Kind: kind, ID: role, Name: roleName, Account: account, Session: session, From: from}
}

// webIdentityActor reads the caller of AssumeRoleWithWebIdentity: a CI job, a service account, or a person.
func (e *Event) webIdentityActor(subject, account string) Actor {
	provider := e.Text(IdentityProvider)
	if i := strings.LastIndex(provider, "oidc-provider/"); i >= 0 {
		provider = provider[i+len("oidc-provider/"):]
	}
	if subject == "" {
		if provider == "" {
			return unknown(account, "type")
		}
		return Actor{Kind: ActorWorkload, ID: "webidentity:" + provider, Name: provider, Account: account, From: "identityProvider"}
	}
	kind := ActorPerson
	for _, prefix := range [...]string{"repo:", "project_path:", "system:serviceaccount:", "organization:", "pipeline:"} {
		if strings.HasPrefix(subject, prefix) {
			kind = ActorWorkload
		}
	}
	// A CI job runs for many refs and environments; the repository is the identity.
	if strings.HasPrefix(subject, "repo:") || strings.HasPrefix(subject, "project_path:") {
		parts := strings.SplitN(subject, ":", 3)
		subject = parts[0] + ":" + parts[1]
	}
	return Actor{Kind: kind, ID: "webidentity:" + provider + "/" + subject, Name: subject, Account: account, From: "userName"}
}

func (e *Event) identityCenterActor(account string) Actor {
	if name := e.signInName(); name != "" {
		return person(name, account, "additionalEventData.UserName")
	}
	user := e.Text(OnBehalfOfUserID)
	if user == "" {
		user, _, _ = strings.Cut(e.Text(PrincipalID), ":")
	}
	if user == "" {
		return unknown(account, "type")
	}
	store := arnName(e.Text(IdentityStoreARN))
	return Actor{Kind: ActorPerson, ID: "identitystore:" + store + "/" + user, Name: user, Account: account, From: "onBehalfOf.userId"}
}

// signInName is the user name in Identity Center sign-in events.
func (e *Event) signInName() string {
	name := ""
	if src := e.Source(); src != "signin.amazonaws.com" && src != "sso.amazonaws.com" && src != "sso-directory.amazonaws.com" {
		return ""
	}
	e.Get(AdditionalEventData).Members(func(k string, v Value) bool {
		if k == "UserName" {
			name = v.Text()
		}
		return name == ""
	})
	return name
}

func person(name, account, from string) Actor {
	return Actor{Kind: ActorPerson, ID: "person:" + strings.ToLower(name), Name: name, Account: account, From: from}
}

func service(name, account, from string) Actor {
	return Actor{Kind: ActorService, ID: "service:" + name, Name: name, Account: account, From: from}
}

func unknown(account, from string) Actor {
	return Actor{Kind: ActorUnknown, ID: "unknown:" + account, Name: "unknown", Account: account, From: from}
}

// arnParts gives the partition and the resource part of an ARN.
func arnParts(arn string) (partition, resource string) {
	p, _, r := splitARN(arn)
	if r == "" {
		return "aws", ""
	}
	return p, r
}

func arnAccount(arn string) string {
	_, a, _ := splitARN(arn)
	return a
}

// splitARN cuts arn:partition:service:region:account:resource.
func splitARN(arn string) (partition, account, resource string) {
	rest, ok := strings.CutPrefix(arn, "arn:")
	if !ok {
		return "", "", ""
	}
	partition, rest, _ = strings.Cut(rest, ":")
	_, rest, _ = strings.Cut(rest, ":")
	_, rest, _ = strings.Cut(rest, ":")
	account, resource, ok = strings.Cut(rest, ":")
	if !ok {
		return "", "", ""
	}
	return partition, account, resource
}

// arnName is the last part of an ARN's resource.
func arnName(arn string) string {
	return arn[strings.LastIndexAny(arn, "/:")+1:]
}

// isInstanceID reports whether s looks like i-0123456789abcdef0 (8 or 17 hexadecimal digits).
func isInstanceID(s string) bool {
	if len(s) != 10 && len(s) != 19 || s[:2] != "i-" {
		return false
	}
	for i := 2; i < len(s); i++ {
		if !isHex(s[i]) {
			return false
		}
	}
	return true
}

// ActorCache remembers derived actors by a hash of userIdentity, which repeats over a session. It is bounded and not safe
// for concurrent use; the actors it gives are shared and must not be changed. The zero value is ready.
type ActorCache struct {
	seed  maphash.Seed // chosen at random, so that no log can make identities collide
	slots []cachedActor
}

type cachedActor struct {
	hash  uint64
	actor *Actor
}

// actorSlots is a power of two that covers the sessions of a busy hour and stays in a processor's cache.
const actorSlots = 1 << 13

// Of returns the actor of e.
func (c *ActorCache) Of(e *Event) *Actor {
	id := e.Get(UserIdentity)
	if id.kind != Object || e.outside() {
		a := e.Actor()
		return &a
	}
	switch e.Text(IdentityType) {
	case "IAMUser", "AssumedRole", "Root", "Role", "FederatedUser", "AWSAccount":
	case "AWSService":
		if !e.has(InvokedBy) {
			a := e.Actor()
			return &a
		}
	default: // may depend on more than userIdentity
		a := e.Actor()
		return &a
	}
	if c.slots == nil {
		c.seed, c.slots = maphash.MakeSeed(), make([]cachedActor, actorSlots)
	}
	h := e.identity
	if h == 0 {
		h = maphash.Bytes(c.seed, id.raw)
	}
	slot := &c.slots[h%actorSlots]
	if slot.hash != h || slot.actor == nil {
		a := e.Actor()
		*slot = cachedActor{h, &a}
	}
	return slot.actor
}
