package console

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"spoor/internal/iam"
	"spoor/internal/recorder"
)

// AssumableRole is a role that principals can assume.
type AssumableRole struct {
	ID                string          `json:"id" doc:"AROA and 16 characters; never used again"`
	ARN               string          `json:"arn"`
	Name              string          `json:"name"`
	Account           string          `json:"account"`
	Path              string          `json:"path"`
	Description       string          `json:"description,omitempty"`
	Roles             []iam.Role      `json:"roles" nullable:"false" doc:"what its sessions may do: the ready roles"`
	Trust             json.RawMessage `json:"trust" doc:"trust policy document, as given: who may assume it"`
	MaxSessionSeconds int64           `json:"maxSessionSeconds" doc:"how long a session lasts at most"`
	Created           time.Time       `json:"created"`
	By                string          `json:"by"`
	RevokedBefore     time.Time       `json:"revokedBefore,omitzero" doc:"sessions issued until then are ended"`
	LastUsed          time.Time       `json:"lastUsed,omitzero"`
}

func roleOf(a iam.Assumable) AssumableRole {
	return AssumableRole{
		ID: a.ID, ARN: a.ARN(), Name: a.Name, Account: a.Account, Path: a.Path, Description: a.Description, Roles: append([]iam.Role{}, a.Roles...), Trust: a.Trust,
		MaxSessionSeconds: int64(a.MaxSession / time.Second), Created: a.Created, By: a.By, RevokedBefore: a.RevokedBefore, LastUsed: a.LastUsed,
	}
}

// NewRole is a role to be made.
type NewRole struct {
	Name              string          `json:"name" minLength:"1" maxLength:"64" example:"reader"`
	Account           string          `json:"account,omitempty" pattern:"^[0-9]{12}$" doc:"that it belongs to: one of the organisation; default: that of the installation"`
	Description       string          `json:"description,omitempty" maxLength:"1000"`
	Roles             []iam.Role      `json:"roles" maxItems:"16" nullable:"false" doc:"what its sessions may do: admin, analyst, auditor, recorder, storage" example:"[\"analyst\"]"`
	Trust             json.RawMessage `json:"trust" doc:"trust policy document of AWS: who may assume it"`
	MaxSessionSeconds int64           `json:"maxSessionSeconds,omitempty" minimum:"3600" maximum:"43200" doc:"how long a session lasts at most; default 3600"`
}

// RoleChange is what to change of a role. What is left out stays as it is.
type RoleChange struct {
	Description       *string         `json:"description,omitempty" maxLength:"1000"`
	Roles             *[]iam.Role     `json:"roles,omitempty" maxItems:"16" nullable:"false"`
	Trust             json.RawMessage `json:"trust,omitempty" doc:"trust policy document of AWS, in place of the one there is"`
	MaxSessionSeconds *int64          `json:"maxSessionSeconds,omitempty" minimum:"3600" maximum:"43200"`
}

// RolePath names a role; see [UserPath].
type RolePath struct {
	Name    string `path:"name" maxLength:"64" doc:"name of the role"`
	Account string `query:"account" pattern:"^[0-9]{12}$" doc:"account of the role; default: that of the installation"`
}

// roleResource is a role as policies see it: by ARN, of one that is not there the ARN that it would have.
func (c *Console) roleResource(account, name string, roles []iam.Role) iam.Resource {
	return iam.Resource{Type: iam.TypeAssumable, ID: c.roleARN(account, name), Roles: roles}
}

func (c *Console) roleARN(account, name string) string {
	if a, err := c.o.Access.Assumable(account, name); err == nil {
		return a.ARN()
	}
	if account == "" {
		account = c.o.Access.Account()
	}
	return iam.Assumable{Account: account, Path: "/", Name: name}.ARN()
}

func (c *Console) aboutRole(r *http.Request, _ []byte) iam.Resource {
	return c.roleResource(r.URL.Query().Get("account"), r.PathValue("name"), nil)
}

func (c *Console) aboutNewRole(_ *http.Request, text []byte) iam.Resource {
	n := decode[NewRole](text)
	return c.roleResource(n.Account, n.Name, n.Roles)
}

func (c *Console) aboutRoleChange(r *http.Request, text []byte) iam.Resource {
	return c.roleResource(r.URL.Query().Get("account"), r.PathValue("name"), decode[RoleChange](text).given())
}

// given are the roles of a change, nil for none.
func (ch RoleChange) given() []iam.Role {
	if ch.Roles == nil {
		return nil
	}
	return append([]iam.Role{}, *ch.Roles...)
}

// roleChanged begins a change of a role.
func (c *Console) roleChanged(a iam.Action, account, name string) change {
	arn := c.roleARN(account, name)
	if account == "" {
		account = c.o.Access.Account()
	}
	return change{
		action: a, params: map[string]any{"roleName": name, "account": account},
		resources: []recorder.Resource{{ARN: arn, AccountID: account, Type: "AWS::IAM::Role"}},
		check:     func() error { _, err := c.o.Access.Assumable(account, name); return err },
	}
}

// documentText is a JSON document as events have it: text on one line.
func documentText(doc json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, doc) != nil {
		return string(doc)
	}
	return b.String()
}

func (c *Console) registerRoles() {
	register(c, spec{method: "GET", path: apiPath + "/roles", action: iam.ListRoles, tag: "access", summary: "Roles that can be assumed"},
		func(context.Context, *none) (*body[items[AssumableRole]], error) {
			var list []AssumableRole
			for _, a := range c.o.Access.Assumables() {
				list = append(list, roleOf(a))
			}
			return itemsOf(list), nil
		})
	register(c, spec{method: "POST", path: apiPath + "/roles", action: iam.CreateRole, tag: "access", summary: "Make a role that can be assumed", status: http.StatusCreated, about: c.aboutNewRole, body: true},
		func(ctx context.Context, in *body[NewRole]) (*body[AssumableRole], error) {
			n := in.Body
			if err := c.authorize(ctx, requestOf(ctx), iam.CreateRole, c.roleResource(n.Account, n.Name, n.Roles)); err != nil {
				return nil, err
			}
			ch := c.roleChanged(iam.CreateRole, n.Account, n.Name)
			ch.check = nil
			ch.params["roles"], ch.params["assumeRolePolicyDocument"] = n.Roles, documentText(n.Trust)
			if n.Description != "" {
				ch.params["description"] = n.Description
			}
			if n.MaxSessionSeconds != 0 {
				ch.params["maxSessionDuration"] = n.MaxSessionSeconds
			}
			var made iam.Assumable
			ch.do = func(context.Context) (_ map[string]any, err error) {
				made, err = c.o.Access.CreateAssumable(iam.AssumableSpec{Name: n.Name, Account: n.Account, Description: n.Description, Roles: n.Roles, Trust: n.Trust,
					MaxSession: time.Duration(n.MaxSessionSeconds) * time.Second, By: callOf(ctx).caller.Principal.Name})
				return map[string]any{"roleId": made.ID, "arn": made.ARN()}, err
			}
			ch.undo = func() error { return c.o.Access.DeleteAssumable(made.Account, made.Name) }
			if err := c.apply(ctx, ch); err != nil {
				return nil, err
			}
			return &body[AssumableRole]{roleOf(made)}, nil
		})
	register(c, spec{method: "GET", path: apiPath + "/roles/{name}", action: iam.GetRole, tag: "access", summary: "One role", about: c.aboutRole},
		func(_ context.Context, in *RolePath) (*body[AssumableRole], error) {
			a, err := c.o.Access.Assumable(in.Account, in.Name)
			return &body[AssumableRole]{roleOf(a)}, err
		})
	type update struct {
		RolePath
		Body RoleChange
	}
	register(c, spec{method: "PUT", path: apiPath + "/roles/{name}", action: iam.UpdateRole, tag: "access", summary: "Change what a role may do, or who may assume it", about: c.aboutRoleChange, body: true,
		doc: "What the body leaves out stays as it is. Rights count at once, also for sessions that there are."},
		func(ctx context.Context, in *update) (*body[AssumableRole], error) {
			b := in.Body
			if err := c.authorize(ctx, requestOf(ctx), iam.UpdateRole, c.roleResource(in.Account, in.Name, b.given())); err != nil {
				return nil, err
			}
			ch := c.roleChanged(iam.UpdateRole, in.Account, in.Name)
			how := iam.AssumableChange{Description: b.Description, Roles: b.Roles, Trust: b.Trust}
			if b.Description != nil {
				ch.params["description"] = *b.Description
			}
			if b.Roles != nil {
				ch.params["roles"] = *b.Roles
			}
			if there := ch.check; b.Trust != nil {
				ch.params["assumeRolePolicyDocument"] = documentText(b.Trust)
				ch.check = func() error {
					if err := there(); err != nil {
						return err
					}
					return iam.CheckTrust(b.Trust)
				}
			}
			if b.MaxSessionSeconds != nil {
				d := time.Duration(*b.MaxSessionSeconds) * time.Second
				how.MaxSession, ch.params["maxSessionDuration"] = &d, *b.MaxSessionSeconds
			}
			return c.applyToRole(ctx, ch, func() (iam.Assumable, error) { return c.o.Access.UpdateAssumable(in.Account, in.Name, how) })
		})
	register(c, spec{method: "DELETE", path: apiPath + "/roles/{name}", action: iam.DeleteRole, tag: "access", summary: "Delete a role, and end its sessions", about: c.aboutRole},
		func(ctx context.Context, in *RolePath) (*none, error) {
			ch := c.roleChanged(iam.DeleteRole, in.Account, in.Name)
			ch.do = func(context.Context) (map[string]any, error) {
				return nil, c.o.Access.DeleteAssumable(in.Account, in.Name)
			}
			return nil, c.apply(ctx, ch)
		})
	register(c, spec{method: "POST", path: apiPath + "/roles/{name}/revoke-sessions", action: iam.RevokeRoleSessions, tag: "access", summary: "End the sessions of a role that were issued until now", about: c.aboutRole,
		doc: "Who may assume the role can do so again: to keep somebody out, change the trust document, or switch off its key."},
		func(ctx context.Context, in *RolePath) (*body[AssumableRole], error) {
			ch := c.roleChanged(iam.RevokeRoleSessions, in.Account, in.Name)
			ch.always = true
			return c.applyToRole(ctx, ch, func() (iam.Assumable, error) { return c.o.Access.RevokeSessions(in.Account, in.Name) })
		})
}

// applyToRole makes a change that gives the role as it is then.
func (c *Console) applyToRole(ctx context.Context, ch change, do func() (iam.Assumable, error)) (*body[AssumableRole], error) {
	var now iam.Assumable
	ch.do = func(context.Context) (_ map[string]any, err error) {
		now, err = do()
		return nil, err
	}
	if err := c.apply(ctx, ch); err != nil {
		return nil, err
	}
	return &body[AssumableRole]{roleOf(now)}, nil
}
