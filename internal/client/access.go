package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"spoor/internal/iam"
)

// Who is who the caller is; see [Client.Identity].
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

// AccessKeys lists access keys without their secrets: those of a user, or with an empty name all.
func (c *Client) AccessKeys(ctx context.Context, user string) ([]iam.AccessKey, error) {
	path := "/access-keys"
	if user != "" {
		path = userPath(user) + path
	}
	var out items[iam.AccessKey]
	err := c.get(ctx, path, nil, &out)
	return out.Items, err
}

// CreateAccessKey makes an access key. Its secret cannot be had again.
func (c *Client) CreateAccessKey(ctx context.Context, user, note string) (k iam.AccessKey, secret string, err error) {
	var out struct {
		iam.AccessKey
		Secret string `json:"secret"`
	}
	err = c.whole(ctx, call{method: http.MethodPost, path: userPath(user) + "/access-keys", body: map[string]string{"note": note}}, &out)
	return out.AccessKey, out.Secret, err
}

// SetAccessKey switches an access key on or off.
func (c *Client) SetAccessKey(ctx context.Context, id string, active bool) (iam.AccessKey, error) {
	var out iam.AccessKey
	err := c.whole(ctx, call{method: http.MethodPut, path: "/access-keys/" + url.PathEscape(id), body: map[string]bool{"active": active}}, &out)
	return out, err
}

// DeleteAccessKey deletes an access key.
func (c *Client) DeleteAccessKey(ctx context.Context, id string) error {
	return c.whole(ctx, call{method: http.MethodDelete, path: "/access-keys/" + url.PathEscape(id)}, nil)
}

// Role is a role that principals can assume.
type Role struct {
	ID                string          `json:"id"`
	ARN               string          `json:"arn"`
	Name              string          `json:"name"`
	Account           string          `json:"account"`
	Path              string          `json:"path"`
	Description       string          `json:"description,omitempty"`
	Roles             []iam.Role      `json:"roles"` // what its sessions may do
	Trust             json.RawMessage `json:"trust"` // trust policy document: who may assume it
	MaxSessionSeconds int64           `json:"maxSessionSeconds"`
	Created           time.Time       `json:"created"`
	By                string          `json:"by"`
	RevokedBefore     time.Time       `json:"revokedBefore,omitzero"` // sessions issued until then are ended
	LastUsed          time.Time       `json:"lastUsed,omitzero"`
}

// NewRole is a role to be made.
type NewRole struct {
	Name              string          `json:"name"`
	Account           string          `json:"account,omitempty"` // empty for that of the installation
	Description       string          `json:"description,omitempty"`
	Roles             []iam.Role      `json:"roles"`
	Trust             json.RawMessage `json:"trust"`
	MaxSessionSeconds int64           `json:"maxSessionSeconds,omitempty"` // 0 for what the server has by default
}

// RoleChange is what to change of a role. What is nil stays as it is.
type RoleChange struct {
	Description       *string         `json:"description,omitempty"`
	Roles             *[]iam.Role     `json:"roles,omitempty"`
	Trust             json.RawMessage `json:"trust,omitempty"`
	MaxSessionSeconds *int64          `json:"maxSessionSeconds,omitempty"`
}

// Roles lists the roles that can be assumed, of all accounts.
func (c *Client) Roles(ctx context.Context) ([]Role, error) {
	var out items[Role]
	err := c.get(ctx, "/roles", nil, &out)
	return out.Items, err
}

// Role is one role. An empty account is that of the installation.
func (c *Client) Role(ctx context.Context, account, name string) (Role, error) {
	var out Role
	err := c.get(ctx, rolePath(name), inAccount(account), &out)
	return out, err
}

// CreateRole makes a role.
func (c *Client) CreateRole(ctx context.Context, n NewRole) (Role, error) {
	n.Roles = named(n.Roles)
	var out Role
	err := c.whole(ctx, call{method: http.MethodPost, path: "/roles", body: n}, &out)
	return out, err
}

// UpdateRole changes a role.
func (c *Client) UpdateRole(ctx context.Context, account, name string, ch RoleChange) (Role, error) {
	if ch.Roles != nil {
		roles := named(*ch.Roles)
		ch.Roles = &roles
	}
	var out Role
	err := c.whole(ctx, call{method: http.MethodPut, path: rolePath(name), query: inAccount(account), body: ch}, &out)
	return out, err
}

// DeleteRole deletes a role, and ends its sessions.
func (c *Client) DeleteRole(ctx context.Context, account, name string) error {
	return c.whole(ctx, call{method: http.MethodDelete, path: rolePath(name), query: inAccount(account)}, nil)
}

// RevokeSessions ends the sessions of a role that were issued until now.
func (c *Client) RevokeSessions(ctx context.Context, account, name string) (Role, error) {
	var out Role
	err := c.whole(ctx, call{method: http.MethodPost, path: rolePath(name) + "/revoke-sessions", query: inAccount(account)}, &out)
	return out, err
}

func rolePath(name string) string { return "/roles/" + url.PathEscape(name) }

func inAccount(account string) url.Values {
	if account == "" {
		return nil
	}
	return url.Values{"account": {account}}
}
