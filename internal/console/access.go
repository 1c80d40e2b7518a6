package console

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"spoor/internal/config"
	"spoor/internal/iam"
	"spoor/internal/recorder"
)

// Whoami is who the caller is.
type Whoami struct {
	Principal iam.Principal  `json:"principal"`
	ARN       string         `json:"arn"`
	Token     iam.Token      `json:"token"`
	Address   string         `json:"address" doc:"that the call came from"`
	TLS       bool           `json:"tls"`
	Actions   []iam.Action   `json:"actions" doc:"what the caller may do on the server as a whole"`
	Roles     []iam.RoleInfo `json:"readyRoles" doc:"the roles that users can have"`
}

// NewUser is a user to be made.
type NewUser struct {
	Name  string     `json:"name" minLength:"1" maxLength:"64" example:"ann"`
	Roles []iam.Role `json:"roles" maxItems:"16" nullable:"false" doc:"admin, analyst, auditor, recorder, storage" example:"[\"analyst\"]"`
}

// UserRoles are the roles that a user is to have.
type UserRoles struct {
	Roles []iam.Role `json:"roles" maxItems:"16" nullable:"false" example:"[\"auditor\"]"`
}

// NewToken is a token to be made.
type NewToken struct {
	Note    string `json:"note,omitempty" maxLength:"200" doc:"what it is for"`
	Expires string `json:"expires,omitempty" maxLength:"32" doc:"a time, or a length of time such as 30d; forever for never. Default: iam.token_lifetime" example:"30d"`
}

// MadeToken is a token with its secret.
type MadeToken struct {
	iam.Token
	Secret string `json:"secret" doc:"the whole credential; this is the only answer that has it"`
}

// UserPath names a user in a path. It is exported because huma reads exported members alone.
type UserPath struct {
	Name string `path:"name" maxLength:"64" doc:"name of the user; root is one"`
}

type body[T any] struct{ Body T }

type none struct{}

func aboutUser(r *http.Request, _ []byte) iam.Resource {
	return iam.Resource{Type: iam.TypeUser, ID: r.PathValue("name")}
}

func aboutNewUser(_ *http.Request, text []byte) iam.Resource {
	u := decode[NewUser](text)
	return iam.Resource{Type: iam.TypeUser, ID: u.Name, Roles: u.Roles}
}

func aboutUserRoles(r *http.Request, text []byte) iam.Resource {
	return iam.Resource{Type: iam.TypeUser, ID: r.PathValue("name"), Roles: decode[UserRoles](text).Roles}
}

func (c *Console) userResource(name string) []recorder.Resource {
	account := c.o.Access.Account()
	return []recorder.Resource{{ARN: "arn:aws:iam::" + account + ":user/" + name, AccountID: account, Type: "AWS::IAM::User"}}
}

func (c *Console) registerAccess() {
	type list[T any] struct {
		Body struct {
			Items []T `json:"items" nullable:"false"`
		}
	}
	register(c, spec{method: "GET", path: apiPath + "/identity", action: iam.GetCallerIdentity, tag: "access", summary: "Who the caller is"},
		func(ctx context.Context, _ *none) (*body[Whoami], error) {
			cl := callOf(ctx)
			p := cl.caller.Principal
			w := Whoami{Principal: p, ARN: p.ARN(), Address: cl.address.String(), TLS: cl.tls, Actions: []iam.Action{}, Roles: iam.Roles()}
			t, err := c.o.Access.Token(cl.caller.Token)
			if err != nil {
				return nil, err
			}
			w.Token = t
			for _, a := range iam.Actions() {
				if !a.Action.AWS() && c.o.Access.Authorize(ctx, cl.caller, a.Action, iam.Resource{}).Allowed {
					w.Actions = append(w.Actions, a.Action)
				}
			}
			return &body[Whoami]{w}, nil
		})
	register(c, spec{method: "GET", path: apiPath + "/users", action: iam.ListUsers, tag: "access", summary: "Users and their roles"},
		func(context.Context, *none) (*list[iam.Principal], error) {
			out := &list[iam.Principal]{}
			out.Body.Items = c.o.Access.Users()
			return out, nil
		})
	register(c, spec{method: "POST", path: apiPath + "/users", action: iam.CreateUser, tag: "access", summary: "Make a user", status: http.StatusCreated, about: aboutNewUser, body: true},
		func(ctx context.Context, in *body[NewUser]) (*body[iam.Principal], error) {
			u := in.Body
			if err := c.authorize(ctx, requestOf(ctx), iam.CreateUser, iam.Resource{Type: iam.TypeUser, ID: u.Name, Roles: u.Roles}); err != nil {
				return nil, err
			}
			var made iam.Principal
			err := c.apply(ctx, change{
				action: iam.CreateUser, params: map[string]any{"userName": u.Name, "roles": u.Roles}, resources: c.userResource(u.Name),
				do: func(context.Context) (_ map[string]any, err error) {
					made, err = c.o.Access.CreateUser(u.Name, u.Roles, callOf(ctx).caller.Principal.Name)
					return map[string]any{"userId": made.ID, "arn": made.ARN()}, err
				},
				undo: func() error { return c.o.Access.DeleteUser(u.Name) },
			})
			return &body[iam.Principal]{made}, err
		})
	register(c, spec{method: "GET", path: apiPath + "/users/{name}", action: iam.GetUser, tag: "access", summary: "One user", about: aboutUser},
		func(_ context.Context, in *UserPath) (*body[iam.Principal], error) {
			p, err := c.o.Access.User(in.Name)
			return &body[iam.Principal]{p}, err
		})
	type update struct {
		UserPath
		Body UserRoles
	}
	register(c, spec{method: "PUT", path: apiPath + "/users/{name}", action: iam.UpdateUser, tag: "access", summary: "Give a user other roles", about: aboutUserRoles, body: true},
		func(ctx context.Context, in *update) (*body[iam.Principal], error) {
			roles := in.Body.Roles
			if err := c.authorize(ctx, requestOf(ctx), iam.UpdateUser, iam.Resource{Type: iam.TypeUser, ID: in.Name, Roles: roles}); err != nil {
				return nil, err
			}
			var now iam.Principal
			err := c.apply(ctx, change{
				action: iam.UpdateUser, params: map[string]any{"userName": in.Name, "roles": roles}, resources: c.userResource(in.Name),
				check: func() error { return c.exists(in.Name) },
				do: func(context.Context) (_ map[string]any, err error) {
					now, err = c.o.Access.SetRoles(in.Name, roles)
					return nil, err
				},
			})
			return &body[iam.Principal]{now}, err
		})
	register(c, spec{method: "DELETE", path: apiPath + "/users/{name}", action: iam.DeleteUser, tag: "access", summary: "Delete a user, its access keys and its tokens", about: aboutUser},
		func(ctx context.Context, in *UserPath) (*none, error) {
			return nil, c.apply(ctx, change{
				action: iam.DeleteUser, params: map[string]any{"userName": in.Name}, resources: c.userResource(in.Name),
				check: func() error { return c.exists(in.Name) },
				do:    func(context.Context) (map[string]any, error) { return nil, c.o.Access.DeleteUser(in.Name) },
			})
		})
	register(c, spec{method: "GET", path: apiPath + "/users/{name}/tokens", action: iam.ListTokens, tag: "access", summary: "Tokens of a user, without their secrets", about: aboutUser},
		func(_ context.Context, in *UserPath) (*list[iam.Token], error) {
			if err := c.exists(in.Name); err != nil {
				return nil, err
			}
			out := &list[iam.Token]{}
			out.Body.Items = append([]iam.Token{}, c.o.Access.Tokens(in.Name)...)
			return out, nil
		})
	register(c, spec{method: "GET", path: apiPath + "/tokens", action: iam.ListTokens, tag: "access", summary: "All tokens, without their secrets"},
		func(context.Context, *none) (*list[iam.Token], error) {
			out := &list[iam.Token]{}
			out.Body.Items = append([]iam.Token{}, c.o.Access.Tokens("")...)
			return out, nil
		})
	type newToken struct {
		UserPath
		Body NewToken
	}
	register(c, spec{method: "POST", path: apiPath + "/users/{name}/tokens", action: iam.CreateToken, tag: "access", summary: "Make a token for a user", status: http.StatusCreated, about: aboutUser,
		doc: "The answer has the secret; nobody can get it again."},
		func(ctx context.Context, in *newToken) (*body[MadeToken], error) {
			life, err := c.lifetime(in.Body.Expires)
			if err != nil {
				return nil, err
			}
			spec := iam.TokenSpec{User: in.Name, Note: in.Body.Note, Lifetime: life, By: callOf(ctx).caller.Principal.Name}
			var made MadeToken
			err = c.apply(ctx, change{
				action: iam.CreateToken, params: map[string]any{"userName": in.Name, "note": in.Body.Note, "expires": in.Body.Expires}, resources: c.userResource(in.Name),
				check: func() error { return c.exists(in.Name) },
				do: func(context.Context) (map[string]any, error) {
					t, secret, err := c.o.Access.CreateToken(spec)
					made = MadeToken{t, secret}
					response := map[string]any{"tokenId": t.ID}
					if !t.Expires.IsZero() {
						response["expires"] = t.Expires.UTC().Format(time.RFC3339)
					}
					return response, err
				},
				undo: func() error {
					_, err := c.o.Access.RevokeToken(made.ID)
					return err
				},
			})
			if err != nil {
				return nil, err
			}
			return &body[MadeToken]{made}, nil
		})
	type tokenPath struct {
		ID string `path:"id" maxLength:"128" doc:"id of the token, not the token"`
	}
	register(c, spec{method: "DELETE", path: apiPath + "/tokens/{id}", action: iam.RevokeToken, tag: "access", summary: "Make a token useless, at once and for ever",
		about: func(r *http.Request, _ []byte) iam.Resource {
			return iam.Resource{Type: iam.TypeToken, ID: r.PathValue("id")}
		}},
		func(ctx context.Context, in *tokenPath) (*body[iam.Token], error) {
			var now iam.Token
			err := c.apply(ctx, change{
				action: iam.RevokeToken, params: map[string]any{"tokenId": in.ID}, always: true,
				check: func() error { _, err := c.o.Access.Token(in.ID); return err },
				do: func(context.Context) (_ map[string]any, err error) {
					now, err = c.o.Access.RevokeToken(in.ID)
					return nil, err
				},
			})
			return &body[iam.Token]{now}, err
		})
	register(c, spec{method: "GET", path: apiPath + "/policies", action: iam.ListPolicies, tag: "access", summary: "Policies in effect"},
		func(context.Context, *none) (*list[iam.PolicyInfo], error) {
			out := &list[iam.PolicyInfo]{}
			out.Body.Items = c.o.Access.Policies().All()
			return out, nil
		})
}

// exists says whether there is a user.
func (c *Console) exists(name string) error {
	_, err := c.o.Access.User(name)
	return err
}

// lifetime reads how long a token is to last.
func (c *Console) lifetime(s string) (time.Duration, error) {
	switch s {
	case "":
		if c.o.TokenLifetime != nil {
			return c.o.TokenLifetime(), nil
		}
		return 0, nil
	case "forever":
		return -1, nil
	}
	if d, err := config.ParseSpan(s); err == nil {
		if d < time.Minute {
			return 0, invalid("body.expires", "a token lasts for a minute at least")
		}
		return d, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return 0, invalid("body.expires", fmt.Sprintf("%q is neither a time (2027-01-10T09:00:00Z) nor a length of time (30d, 12h) nor forever", s))
	}
	if d := t.Sub(c.o.Now()); d >= time.Minute {
		return d, nil
	}
	return 0, invalid("body.expires", "it is not in the future")
}
