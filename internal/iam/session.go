package iam

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"spoor/internal/seal"
)

// Session is what temporary credentials stand for. Nobody changes one.
type Session struct {
	Role           *Assumable        // as it is now, but for LastUsed; nil for a session of a user or root
	User           string            // name of the user or root from whom it came, through however many roles
	Name           string            // of the session of a role
	SourceIdentity string            // that was set when a role was assumed, and stays
	Issued         time.Time         // to the second
	Expires        time.Time         // to the second
	Tags           map[string]string // of the session
	MFA            bool              // never set: there is none

	origin string // id of the access key or token that it came of
	chain  []link
}

// Credential is an access key with its secret, and who it belongs to. It counts for one call: the next one asks again.
type Credential struct {
	ID        string
	Secret    string
	Token     string    // session token, of temporary ones
	Expires   time.Time // of temporary ones; may be over
	Principal Principal // of [KindRoot], [KindUser] or [KindRole]
	Session   *Session  // of temporary ones
}

// AssumeSpec says what role to assume.
type AssumeSpec struct {
	RoleARN        string
	SessionName    string // 2 to 64 letters, digits or +=,.@_-
	ExternalID     string
	SourceIdentity string
	Duration       time.Duration // 15 minutes to the longest of the role, 1 hour for who is in a role already; 0 for 1 hour
	Tags           map[string]string
}

// Bounds of sessions.
const (
	minSession     = 15 * time.Minute
	defaultSession = time.Hour
	maxChained     = time.Hour // of a role that is assumed by who is in one
	maxChain       = 8         // roles
	userSession    = 12 * time.Hour
	maxUserSession = 36 * time.Hour
	maxRootSession = time.Hour
	maxTags        = 50
	maxTokenText   = 4096
	sealSession    = "session"
)

// link is a role that was assumed, and how many revocations it had then.
type link struct {
	ID          string `json:"i"`
	Revocations int64  `json:"r,omitempty"`
}

// sealedSession is the content of a session token.
type sealedSession struct {
	Secret  string            `json:"s"`
	Origin  string            `json:"o"`           // id of the access key or token that it came of
	Chain   []link            `json:"c,omitempty"` // roles, the last one is that of the session
	Name    string            `json:"n,omitempty"`
	Source  string            `json:"f,omitempty"`
	Issued  int64             `json:"b"` // Unix seconds
	Expires int64             `json:"e"` // Unix seconds
	Tags    map[string]string `json:"t,omitempty"`

	token string // that it was sealed in
}

var (
	sessionName    = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]{2,64}$`)
	externalID     = regexp.MustCompile(`^[A-Za-z0-9_+=,.@:/-]*$`)
	sessionKeyID   = regexp.MustCompile(`^ASIA[A-Z2-7]{16}$`)
	sessionTagText = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+@-]*$`)
)

// sessionCache holds sessions whose tokens were opened lately, in two halves: when the young one is full it becomes the old
// one, and the old one is forgotten. It says nothing about whether a session still counts.
type sessionCache struct {
	mu         sync.Mutex // guards what follows
	young, old map[string]*sealedSession
}

// maxCached bounds a half of the cache. A session takes some 1 KB, 5 KB at most.
const maxCached = 4096

func (c *sessionCache) get(id string) *sealedSession {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.young[id]
	if o == nil {
		if o = c.old[id]; o != nil {
			c.keep(id, o)
		}
	}
	return o
}

func (c *sessionCache) put(id string, o *sealedSession) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep(id, o)
}

// keep puts one in. The caller holds mu.
func (c *sessionCache) keep(id string, o *sealedSession) {
	if c.young == nil || len(c.young) >= maxCached {
		c.old, c.young = c.young, map[string]*sealedSession{}
	}
	c.young[id] = o
}

// besideSession binds a token to its key and to the installation.
func (s *Service) besideSession(id string) string { return s.opts.Account + "\x00" + id }

// openSession opens the token of a temporary access key.
func (s *Service) openSession(id, token string) (*sealedSession, error) {
	if o := s.sessions.get(id); o != nil {
		if subtle.ConstantTimeCompare([]byte(o.token), []byte(token)) != 1 {
			return nil, seal.ErrSealed
		}
		return o, nil
	}
	k := s.usable(s.now().file)
	if k == nil || len(token) > maxTokenText || !sessionKeyID.MatchString(id) {
		return nil, seal.ErrSealed
	}
	sealed, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || base64.RawURLEncoding.EncodeToString(sealed) != token { // there is one text of each token
		return nil, seal.ErrSealed
	}
	text, err := k.Open(sealSession, s.besideSession(id), sealed)
	if err != nil {
		return nil, err
	}
	o := &sealedSession{token: token}
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.DisallowUnknownFields() // a newer program may have put in what restricts it
	if err := dec.Decode(o); err != nil {
		return nil, fmt.Errorf("read a session: %w", err)
	}
	s.sessions.put(id, o)
	return o, nil
}

// session gives who a session belongs to, as it is now, or why it does not count any more.
func (s *Service) session(sn *snapshot, origin string, chain []link, name string, now time.Time) (p Principal, role *assumable, why string) {
	cred := sn.credentials[origin]
	if cred == nil {
		return p, nil, "the credential that the session came of is not there any more"
	}
	if st := cred.status(now); st != StatusActive {
		return p, nil, "the credential that the session came of is " + string(st)
	}
	p = sn.principals[cred.User]
	for _, l := range chain {
		role = sn.assumables[l.ID]
		switch {
		case role == nil:
			return p, nil, "the role is not there any more"
		case role.revocations != l.Revocations:
			return p, nil, "the sessions of role " + role.Name + " were revoked"
		case !s.has(role.Account):
			return p, nil, "the account of role " + role.Name + " is none of the organisation any more"
		}
	}
	if role != nil {
		p = role.principal(name)
	}
	return p, role, ""
}

// Credential finds an access key. The error is [ErrNotFound] for one that is unknown, switched off, deleted or revoked, and
// for a session token that does not belong to it; one that has merely expired is found.
func (s *Service) Credential(ctx context.Context, accessKeyID, sessionToken string) (Credential, error) {
	if err := ctx.Err(); err != nil {
		return Credential{}, err
	}
	sn, now := s.now(), s.clock()
	none := func(why string) (Credential, error) {
		return Credential{}, fmt.Errorf("access key %.40q: %w: %s", accessKeyID, ErrNotFound, why)
	}
	if strings.HasPrefix(accessKeyID, sessionPrefix) {
		o, err := s.openSession(accessKeyID, sessionToken)
		if err != nil {
			return none("the session token is not its own")
		}
		return s.credential(sn, accessKeyID, o, now)
	}
	c := sn.credentials[accessKeyID]
	switch {
	case c == nil || c.Type != typeAccessKey:
		return none("there is none")
	case c.status(now) != StatusActive:
		return none("it is " + string(c.status(now)))
	case sessionToken != "":
		return none("it has no session token")
	case c.secret == "":
		return none("its secret cannot be opened")
	}
	return Credential{ID: c.ID, Secret: c.secret, Principal: sn.principals[c.User]}, nil
}

func (s *Service) credential(sn *snapshot, id string, o *sealedSession, now time.Time) (Credential, error) {
	p, role, why := s.session(sn, o.Origin, o.Chain, o.Name, now)
	if why != "" {
		return Credential{}, fmt.Errorf("access key %.40q: %w: %s", id, ErrNotFound, why)
	}
	se := &Session{
		User: sn.credentials[o.Origin].User, Name: o.Name, SourceIdentity: o.Source, Tags: o.Tags,
		Issued: time.Unix(o.Issued, 0).UTC(), Expires: time.Unix(o.Expires, 0).UTC(), origin: o.Origin, chain: o.Chain,
	}
	if role != nil {
		se.Role = &role.Assumable
	}
	return Credential{ID: id, Secret: o.Secret, Token: o.token, Expires: se.Expires, Principal: p, Session: se}, nil
}

// CallerOf is the caller who came with a credential.
func (s *Service) CallerOf(c Credential, address netip.Addr, tls bool) Caller {
	return Caller{Principal: c.Principal, AccessKey: c.ID, Session: c.Session, Address: address, TLS: tls}
}

// issue seals a session.
func (s *Service) issue(sn *snapshot, o *sealedSession, now time.Time) (Credential, error) {
	k, err := s.sealer()
	if err != nil {
		return Credential{}, err
	}
	id := newAWSID(sessionPrefix)
	o.Secret = newKeySecret()
	text, err := json.Marshal(o)
	if err != nil {
		return Credential{}, fmt.Errorf("write a session: %w", err)
	}
	sealed, err := k.Seal(sealSession, s.besideSession(id), text)
	if err != nil {
		return Credential{}, err
	}
	o.token = base64.RawURLEncoding.EncodeToString(sealed)
	if len(o.token) > maxTokenText {
		return Credential{}, fmt.Errorf("session: %w: tags and names make a token of %d bytes, more than %d", ErrLimit, len(o.token), maxTokenText)
	}
	return s.credential(sn, id, o, now)
}

// origin is the credential that a session of the caller comes of, and the roles that the caller is in.
func (c Caller) origin() (id string, chain []link) {
	switch {
	case c.Session != nil:
		return c.Session.origin, c.Session.chain
	case c.AccessKey != "":
		return c.AccessKey, nil
	}
	return c.Token, nil
}

// denied says what AWS says of roles that are not there and of those that may not be assumed alike. Why is logged.
func (s *Service) denied(p Principal, roleARN, why string) (Credential, error) {
	s.log.Info("a role was not assumed", "principal", p.ARN(), "role", roleARN, "reason", why)
	return Credential{}, fmt.Errorf("%s may not assume %.200s: %w", p.ARN(), roleARN, ErrDenied)
}

// AssumeRole makes temporary credentials of a role. The error is [ErrDenied] when the role's trust document or a policy does not
// permit it, or when there is no such role, [ErrInvalid] for what cannot be, and [ErrLimit] for tags that are too large together.
func (s *Service) AssumeRole(ctx context.Context, c Caller, spec AssumeSpec) (Credential, error) {
	if err := checkAssume(spec); err != nil {
		return Credential{}, err
	}
	sn, now := s.now(), s.clock()
	p, why := s.current(sn, c, now)
	if why != "" {
		return s.denied(c.Principal, spec.RoleARN, why)
	}
	if p.Kind == KindRoot {
		return s.denied(p, spec.RoleARN, "root assumes no roles")
	}
	if d := s.AuthorizeARN(ctx, c, STSAssumeRole, spec.RoleARN); !d.Allowed {
		return s.denied(p, spec.RoleARN, d.Reason)
	}
	role := sn.assumables[sn.idOf(spec.RoleARN)]
	if role == nil || role.ARN() != spec.RoleARN || !s.has(role.Account) {
		return s.denied(p, spec.RoleARN, "there is no such role")
	}
	o := &sealedSession{Name: spec.SessionName, Source: spec.SourceIdentity, Tags: spec.Tags, Issued: now.Unix()}
	origin, chain := c.origin()
	if c.Session != nil && c.Session.SourceIdentity != "" {
		if o.Source != "" && o.Source != c.Session.SourceIdentity {
			return s.denied(p, spec.RoleARN, "the session has another source identity, which stays")
		}
		o.Source = c.Session.SourceIdentity
	}
	what := trustAssume
	if o.Source != "" {
		what |= trustSourceIdentity
	}
	if len(o.Tags) > 0 {
		what |= trustTag
	}
	if why := role.trust.decide(s.trustCall(sn, c, p, spec, o.Source, now), what, role.trusted); why != "" {
		return s.denied(p, spec.RoleARN, why)
	}
	longest := role.MaxSession
	if len(chain) > 0 {
		if longest = maxChained; spec.Duration > longest {
			return Credential{}, fmt.Errorf("duration %s: %w: it is 1 hour at most for who is in a role already", spec.Duration, ErrInvalid)
		}
		if len(chain) >= maxChain {
			return Credential{}, fmt.Errorf("role %s: %w: more than %d roles were assumed in a row", role.Name, ErrInvalid, maxChain)
		}
	}
	d, err := sessionDuration(spec.Duration, defaultSession, longest)
	if err != nil {
		return Credential{}, err
	}
	o.Origin, o.Chain, o.Expires = origin, append(slices.Clone(chain), link{role.ID, role.revocations}), now.Add(d).Unix()
	return s.issue(sn, o, now)
}

func sessionDuration(d, usual, longest time.Duration) (time.Duration, error) {
	if d == 0 {
		d = min(usual, longest)
	}
	if d < minSession || d > longest {
		return 0, fmt.Errorf("duration %s: %w: want %s to %s", d, ErrInvalid, minSession, longest)
	}
	return d, nil
}

func checkAssume(spec AssumeSpec) error {
	switch {
	case !sessionName.MatchString(spec.SessionName):
		return fmt.Errorf("session name %.80q: %w: want 2 to 64 letters, digits or +=,.@_-", spec.SessionName, ErrInvalid)
	case spec.ExternalID != "" && (len(spec.ExternalID) < 2 || len(spec.ExternalID) > 1224 || !externalID.MatchString(spec.ExternalID)):
		return fmt.Errorf("external id: %w: want 2 to 1224 letters, digits or +=,.@:/_-", ErrInvalid)
	case spec.SourceIdentity != "" && !sessionName.MatchString(spec.SourceIdentity):
		return fmt.Errorf("source identity %.80q: %w: want 2 to 64 letters, digits or +=,.@_-", spec.SourceIdentity, ErrInvalid)
	case len(spec.Tags) > maxTags:
		return fmt.Errorf("%d tags: %w: want %d at most", len(spec.Tags), ErrInvalid, maxTags)
	}
	for k, v := range spec.Tags {
		if n := utf8.RuneCountInString(k); n < 1 || n > 128 || utf8.RuneCountInString(v) > 256 || !sessionTagText.MatchString(k) || !sessionTagText.MatchString(v) {
			return fmt.Errorf("tag %.80q: %w: want a name of 1 to 128 letters, digits, spaces or _.:/=+-@, and a value of up to 256 of them", k, ErrInvalid)
		}
	}
	return nil
}

// trustCall is what the trust document of a role is asked about a caller.
func (s *Service) trustCall(sn *snapshot, c Caller, p Principal, spec AssumeSpec, source string, now time.Time) trustCall {
	call := trustCall{account: p.Account, arns: []string{p.ARN()}, id: p.ID, values: map[string][]string{}}
	arn := p.ARN()
	if p.Kind == KindRole {
		role, _, _ := strings.Cut(p.ID, ":")
		call.id, arn = role, sn.assumables[role].ARN()
		call.arns = append(call.arns, arn)
	}
	put := func(k trustKey, text string) {
		if text != "" {
			call.values[string(k)] = []string{text}
		}
	}
	put(keyExternalID, spec.ExternalID)
	put(keyRoleSessionName, spec.SessionName)
	put(keySourceIdentity, source)
	put(keyPrincipalARN, arn)
	put(keyPrincipalAccount, p.Account)
	if addr := c.Address.Unmap().WithZone(""); addr.IsValid() {
		put(keySourceIP, addr.String())
	}
	put(keyCurrentTime, now.Format(time.RFC3339Nano))
	return call
}

// SessionToken makes temporary credentials of the caller: of a user for 15 minutes to 36 hours, 12 hours by default, of root for
// 1 hour at most. The error is [ErrDenied] for callers who have temporary ones themselves.
func (s *Service) SessionToken(ctx context.Context, c Caller, d time.Duration) (Credential, error) {
	if err := ctx.Err(); err != nil {
		return Credential{}, err
	}
	sn, now := s.now(), s.clock()
	p, why := s.current(sn, c, now)
	if why == "" && c.Session != nil {
		why = "temporary credentials make no others of the same caller"
	}
	if why != "" {
		return Credential{}, fmt.Errorf("temporary credentials of %s: %w: %s", c.Principal.ARN(), ErrDenied, why)
	}
	longest := maxUserSession
	if p.Kind == KindRoot {
		longest = maxRootSession
	}
	d, err := sessionDuration(d, userSession, longest)
	if err != nil {
		return Credential{}, err
	}
	origin, _ := c.origin()
	return s.issue(sn, &sealedSession{Origin: origin, Issued: now.Unix(), Expires: now.Add(d).Unix()}, now)
}

// barred says what credentials of [Service.SessionToken] may not do, as on AWS: empty for what they may.
func (c Caller) barred(a Action) string {
	if c.Session == nil || c.Session.Role != nil {
		return ""
	}
	switch {
	case strings.HasPrefix(string(a), "iam:"), strings.HasPrefix(string(a), "sts:") && a != STSAssumeRole && a != "sts:GetCallerIdentity":
		return "temporary credentials of a user may not do that"
	}
	return ""
}
