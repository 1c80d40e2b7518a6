package cli

import (
	"context"
	"net"
	"net/url"
	"time"

	"spoor/internal/client"
	"spoor/internal/config"
	"spoor/internal/iam"
)

// accessState is who there is and what they prove it with, in a data folder or of a server. An empty user of a list is all.
type accessState interface {
	Users(ctx context.Context) ([]iam.Principal, error)
	CreateUser(ctx context.Context, name string, roles []iam.Role) (iam.Principal, error)
	SetRoles(ctx context.Context, name string, roles []iam.Role) (iam.Principal, error)
	DeleteUser(ctx context.Context, name string) error
	Tokens(ctx context.Context, user string) ([]iam.Token, error)
	// CreateToken takes how long the token lasts as the flag --expires has it.
	CreateToken(ctx context.Context, user, note, expires string) (t iam.Token, secret string, err error)
	RevokeToken(ctx context.Context, id string) (iam.Token, error)
	AccessKeys(ctx context.Context, user string) ([]iam.AccessKey, error)
	CreateAccessKey(ctx context.Context, user, note string) (k iam.AccessKey, secret string, err error)
	SetAccessKey(ctx context.Context, id string, active bool) (iam.AccessKey, error)
	DeleteAccessKey(ctx context.Context, id string) error
	Roles(ctx context.Context) ([]client.Role, error)
	// Role, and what follows, takes an empty account for that of the installation.
	Role(ctx context.Context, account, name string) (client.Role, error)
	CreateRole(ctx context.Context, n client.NewRole) (client.Role, error)
	UpdateRole(ctx context.Context, account, name string, ch client.RoleChange) (client.Role, error)
	DeleteRole(ctx context.Context, account, name string) error
	RevokeSessions(ctx context.Context, account, name string) (client.Role, error)
	Policies(ctx context.Context) ([]iam.PolicyInfo, error)
	// Account is that of the installation.
	Account(ctx context.Context) (string, error)
	// Endpoint is where AWS's clients reach the installation; without a URL when they do not.
	Endpoint(ctx context.Context) (awsEndpoint, error)
}

// serverAccess is that of a server.
type serverAccess struct{ *client.Client }

func (a serverAccess) Account(ctx context.Context) (string, error) {
	who, err := a.Identity(ctx)
	return who.Principal.Account, err
}

func (a serverAccess) Endpoint(ctx context.Context) (awsEndpoint, error) {
	list, err := a.Settings(ctx)
	if err != nil {
		return awsEndpoint{}, err
	}
	values := map[string]string{}
	for _, s := range list {
		values[s.Key] = s.Value
	}
	u, err := url.Parse(a.Server())
	if err != nil {
		return awsEndpoint{}, err
	}
	return endpointOf(values, u.Hostname()), nil
}

// endpointOf is the AWS endpoint of a configuration. Host is where the machine is reached when the configuration does not say.
func endpointOf(values map[string]string, host string) awsEndpoint {
	ep := awsEndpoint{Region: values["region"]}
	if listen := values["aws.listen"]; listen != "" && listen != "off" {
		ep.URL = listenURL(listen, host, values["http.tls_cert"] != "")
	}
	return ep
}

// folderAccess is that of a data folder.
type folderAccess struct {
	s *iam.Service
	l *config.Loaded
}

func (a *folderAccess) Users(context.Context) ([]iam.Principal, error) { return a.s.Users(), nil }

func (a *folderAccess) CreateUser(_ context.Context, name string, roles []iam.Role) (iam.Principal, error) {
	return a.s.CreateUser(name, roles, "")
}

func (a *folderAccess) SetRoles(_ context.Context, name string, roles []iam.Role) (iam.Principal, error) {
	return a.s.SetRoles(name, roles)
}

func (a *folderAccess) DeleteUser(_ context.Context, name string) error { return a.s.DeleteUser(name) }

// there says whether there is a user, when one is named.
func (a *folderAccess) there(user string) error {
	if user == "" {
		return nil
	}
	_, err := a.s.User(user)
	return err
}

func (a *folderAccess) Tokens(_ context.Context, user string) ([]iam.Token, error) {
	if err := a.there(user); err != nil {
		return nil, err
	}
	return append([]iam.Token{}, a.s.Tokens(user)...), nil
}

func (a *folderAccess) CreateToken(_ context.Context, user, note, expires string) (iam.Token, string, error) {
	spec := iam.TokenSpec{User: user, Note: note, Lifetime: a.l.Config.IAM.TokenLifetime}
	switch {
	case expires == "forever":
		spec.Lifetime = -1
	case expires != "":
		d, err := config.ParseSpan(expires)
		if err != nil || d <= 0 {
			return iam.Token{}, "", usagef("--expires %q: want a span such as 12h or 30d, or forever", expires)
		}
		spec.Lifetime = d
	case spec.Lifetime == 0:
		spec.Lifetime = -1
	}
	return a.s.CreateToken(spec)
}

func (a *folderAccess) RevokeToken(_ context.Context, id string) (iam.Token, error) {
	return a.s.RevokeToken(id)
}

func (a *folderAccess) Policies(context.Context) ([]iam.PolicyInfo, error) {
	return a.s.Policies().All(), nil
}

func (a *folderAccess) AccessKeys(_ context.Context, user string) ([]iam.AccessKey, error) {
	if err := a.there(user); err != nil {
		return nil, err
	}
	return append([]iam.AccessKey{}, a.s.AccessKeys(user)...), nil
}

func (a *folderAccess) CreateAccessKey(_ context.Context, user, note string) (iam.AccessKey, string, error) {
	return a.s.CreateAccessKey(iam.KeySpec{User: user, Note: note})
}

func (a *folderAccess) SetAccessKey(_ context.Context, id string, active bool) (iam.AccessKey, error) {
	k, err := a.s.AccessKey(id)
	if err != nil {
		return k, err
	}
	return a.s.SetAccessKey(k.User, id, active)
}

func (a *folderAccess) DeleteAccessKey(_ context.Context, id string) error {
	k, err := a.s.AccessKey(id)
	if err != nil {
		return err
	}
	return a.s.DeleteAccessKey(k.User, id)
}

// roleOf is a role as a server gives it.
func roleOf(a iam.Assumable, err error) (client.Role, error) {
	if err != nil {
		return client.Role{}, err
	}
	return client.Role{
		ID: a.ID, ARN: a.ARN(), Name: a.Name, Account: a.Account, Path: a.Path, Description: a.Description, Roles: append([]iam.Role{}, a.Roles...), Trust: a.Trust,
		MaxSessionSeconds: int64(a.MaxSession / time.Second), Created: a.Created, By: a.By, RevokedBefore: a.RevokedBefore, LastUsed: a.LastUsed,
	}, nil
}

func (a *folderAccess) Roles(context.Context) ([]client.Role, error) {
	out := []client.Role{}
	for _, one := range a.s.Assumables() {
		r, err := roleOf(one, nil)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func (a *folderAccess) Role(_ context.Context, account, name string) (client.Role, error) {
	return roleOf(a.s.Assumable(account, name))
}

func (a *folderAccess) CreateRole(_ context.Context, n client.NewRole) (client.Role, error) {
	return roleOf(a.s.CreateAssumable(iam.AssumableSpec{Name: n.Name, Account: n.Account, Description: n.Description, Roles: n.Roles, Trust: n.Trust, MaxSession: time.Duration(n.MaxSessionSeconds) * time.Second}))
}

func (a *folderAccess) UpdateRole(_ context.Context, account, name string, ch client.RoleChange) (client.Role, error) {
	how := iam.AssumableChange{Description: ch.Description, Roles: ch.Roles, Trust: ch.Trust}
	if ch.MaxSessionSeconds != nil {
		d := time.Duration(*ch.MaxSessionSeconds) * time.Second
		how.MaxSession = &d
	}
	return roleOf(a.s.UpdateAssumable(account, name, how))
}

func (a *folderAccess) DeleteRole(_ context.Context, account, name string) error {
	return a.s.DeleteAssumable(account, name)
}

func (a *folderAccess) RevokeSessions(_ context.Context, account, name string) (client.Role, error) {
	return roleOf(a.s.RevokeSessions(account, name))
}

func (a *folderAccess) Account(context.Context) (string, error) { return a.s.Account(), nil }

func (a *folderAccess) Endpoint(context.Context) (awsEndpoint, error) {
	values := map[string]string{}
	for _, s := range a.l.Effective() {
		values[s.Key] = s.Value
	}
	return endpointOf(values, ""), nil
}

// listenURL is the URL of an address that is listened on. Host is that of its machine, empty for this one; it counts when the
// address is not of one interface alone.
func listenURL(listen, host string, tls bool) string {
	at, port, err := net.SplitHostPort(listen)
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(at); at == "" || ip != nil && ip.IsUnspecified() {
		if at = host; at == "" {
			at = "127.0.0.1"
		}
	}
	scheme := "http"
	if tls {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(at, port)
}
