package cli

import (
	"context"
	"fmt"
	"net"

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
	Policies(ctx context.Context) ([]iam.PolicyInfo, error)
}

// serverAccess is that of a server.
type serverAccess struct{ *client.Client }

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

// localURL is the URL of an address that is listened on, seen from its machine.
func localURL(listen string, tls bool) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return defaultServer
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http"
	if tls {
		scheme = "https"
	}
	return fmt.Sprintf("%s://%s", scheme, net.JoinHostPort(host, port))
}
