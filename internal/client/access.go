package client

import (
	"context"
	"net/http"
	"net/url"

	"spoor/internal/iam"
)

// Who the caller is; see [Client.Identity].
type Who struct {
	Principal iam.Principal `json:"principal"`
	ARN       string        `json:"arn"`
	Token     iam.Token     `json:"token"`
	Actions   []iam.Action  `json:"actions"` // what the caller may do on the server as a whole
}

// Setting is one of the server's configuration.
type Setting struct {
	Key   string   `json:"key"`
	Value string   `json:"value"` // stars for a secret
	List  []string `json:"list"`  // of a list, in place of Value
}

// Identity is who the caller is, by its token.
func (c *Client) Identity(ctx context.Context) (Who, error) {
	var out Who
	err := c.get(ctx, "/identity", nil, &out)
	return out, err
}

// Settings is the configuration in effect, secrets masked.
func (c *Client) Settings(ctx context.Context) ([]Setting, error) {
	var out items[Setting]
	err := c.get(ctx, "/configuration", nil, &out)
	return out.Items, err
}

// Policies are those in effect.
func (c *Client) Policies(ctx context.Context) ([]iam.PolicyInfo, error) {
	var out items[iam.PolicyInfo]
	err := c.get(ctx, "/policies", nil, &out)
	return out.Items, err
}

// Users lists all principals: root, and the users by name.
func (c *Client) Users(ctx context.Context) ([]iam.Principal, error) {
	var out items[iam.Principal]
	err := c.get(ctx, "/users", nil, &out)
	return out.Items, err
}

// User is one principal.
func (c *Client) User(ctx context.Context, name string) (iam.Principal, error) {
	var out iam.Principal
	err := c.get(ctx, userPath(name), nil, &out)
	return out, err
}

// CreateUser makes a user.
func (c *Client) CreateUser(ctx context.Context, name string, roles []iam.Role) (iam.Principal, error) {
	var out iam.Principal
	err := c.whole(ctx, call{method: http.MethodPost, path: "/users", body: map[string]any{"name": name, "roles": named(roles)}}, &out)
	return out, err
}

// SetRoles gives a user other roles, in place of those it has.
func (c *Client) SetRoles(ctx context.Context, name string, roles []iam.Role) (iam.Principal, error) {
	var out iam.Principal
	err := c.whole(ctx, call{method: http.MethodPut, path: userPath(name), body: map[string]any{"roles": named(roles)}}, &out)
	return out, err
}

// DeleteUser deletes a user with everything that it can prove itself with.
func (c *Client) DeleteUser(ctx context.Context, name string) error {
	return c.whole(ctx, call{method: http.MethodDelete, path: userPath(name)}, nil)
}

// Tokens lists tokens without their secrets: those of a user, or with an empty name all.
func (c *Client) Tokens(ctx context.Context, user string) ([]iam.Token, error) {
	path := "/tokens"
	if user != "" {
		path = userPath(user) + path
	}
	var out items[iam.Token]
	err := c.get(ctx, path, nil, &out)
	return out.Items, err
}

// CreateToken makes a token. Expires is a time, a length of time, or forever; empty is for the server to say. The secret is the
// whole credential, and cannot be had again.
func (c *Client) CreateToken(ctx context.Context, user, note, expires string) (t iam.Token, secret string, err error) {
	var out struct {
		iam.Token
		Secret string `json:"secret"`
	}
	err = c.whole(ctx, call{method: http.MethodPost, path: userPath(user) + "/tokens", body: map[string]string{"note": note, "expires": expires}}, &out)
	return out.Token, out.Secret, err
}

// RevokeToken makes a token useless.
func (c *Client) RevokeToken(ctx context.Context, id string) (iam.Token, error) {
	var out iam.Token
	err := c.whole(ctx, call{method: http.MethodDelete, path: "/tokens/" + url.PathEscape(id)}, &out)
	return out, err
}

func userPath(name string) string { return "/users/" + url.PathEscape(name) }

// named are roles that are not null in JSON.
func named(roles []iam.Role) []iam.Role { return append([]iam.Role{}, roles...) }
