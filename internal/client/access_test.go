package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"

	"spoor/internal/iam"
)

// TestAccess makes every call about access once, and reads its answer.
func TestAccess(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		do     func(ctx context.Context, c *Client) (any, error)
		want   string // request
		answer string
		got    string
	}{
		{"Identity", func(ctx context.Context, c *Client) (any, error) {
			w, err := c.Identity(ctx)
			return w.Principal.Account, err
		},
			"GET /api/v1/identity ", `{"principal":{"account":"111122223333"}}`, `111122223333`},
		{"Settings", func(ctx context.Context, c *Client) (any, error) { return c.Settings(ctx) },
			"GET /api/v1/configuration ", `{"items":[{"key":"region","value":"r"}]}`, `[{region r []}]`},
		{"Policies", func(ctx context.Context, c *Client) (any, error) {
			l, err := c.Policies(ctx)
			return names(l, func(v iam.PolicyInfo) string { return v.ID }), err
		},
			"GET /api/v1/policies ", `{"items":[{"id":"admin"}]}`, `[admin]`},
		{"Users", func(ctx context.Context, c *Client) (any, error) {
			l, err := c.Users(ctx)
			return names(l, func(v iam.Principal) string { return v.Name }), err
		},
			"GET /api/v1/users ", `{"items":[{"name":"ann"}]}`, `[ann]`},
		{"CreateUser", func(ctx context.Context, c *Client) (any, error) {
			p, err := c.CreateUser(ctx, "ann", nil)
			return p.Name, err
		},
			`POST /api/v1/users {"name":"ann","roles":[]}`, `{"name":"ann"}`, `ann`},
		{"SetRoles", func(ctx context.Context, c *Client) (any, error) {
			p, err := c.SetRoles(ctx, "a/b", []iam.Role{"admin"})
			return p.Roles, err
		}, `PUT /api/v1/users/a%2Fb {"roles":["admin"]}`, `{"roles":["admin"]}`, `[admin]`},
		{"DeleteUser", func(ctx context.Context, c *Client) (any, error) { return nil, c.DeleteUser(ctx, "ann") },
			"DELETE /api/v1/users/ann ", "", "<nil>"},
		{"Tokens", func(ctx context.Context, c *Client) (any, error) { l, err := c.Tokens(ctx, ""); return len(l), err },
			"GET /api/v1/tokens ", `{"items":[{},{}]}`, `2`},
		{"Tokens of a user", func(ctx context.Context, c *Client) (any, error) { l, err := c.Tokens(ctx, "ann"); return len(l), err },
			"GET /api/v1/users/ann/tokens ", `{"items":[]}`, `0`},
		{"CreateToken", func(ctx context.Context, c *Client) (any, error) {
			k, secret, err := c.CreateToken(ctx, "ann", "n", "30d")
			return k.ID + " " + secret, err
		}, `POST /api/v1/users/ann/tokens {"expires":"30d","note":"n"}`, `{"id":"i","secret":"s"}`, `i s`},
		{"RevokeToken", func(ctx context.Context, c *Client) (any, error) { k, err := c.RevokeToken(ctx, "i"); return k.ID, err },
			"DELETE /api/v1/tokens/i ", `{"id":"i"}`, `i`},
		{"AccessKeys", func(ctx context.Context, c *Client) (any, error) {
			l, err := c.AccessKeys(ctx, "")
			return names(l, func(v iam.AccessKey) string { return v.ID }), err
		},
			"GET /api/v1/access-keys ", `{"items":[{"id":"AKIA1"}]}`, `[AKIA1]`},
		{"AccessKeys of a user", func(ctx context.Context, c *Client) (any, error) {
			l, err := c.AccessKeys(ctx, "ann")
			return len(l), err
		},
			"GET /api/v1/users/ann/access-keys ", `{"items":[]}`, `0`},
		{"CreateAccessKey", func(ctx context.Context, c *Client) (any, error) {
			k, secret, err := c.CreateAccessKey(ctx, "ann", "n")
			return k.ID + " " + secret, err
		}, `POST /api/v1/users/ann/access-keys {"note":"n"}`, `{"id":"AKIA1","secret":"s"}`, `AKIA1 s`},
		{"SetAccessKey", func(ctx context.Context, c *Client) (any, error) {
			k, err := c.SetAccessKey(ctx, "AKIA1", false)
			return k.Active, err
		}, `PUT /api/v1/access-keys/AKIA1 {"active":false}`, `{"active":false}`, `false`},
		{"DeleteAccessKey", func(ctx context.Context, c *Client) (any, error) { return nil, c.DeleteAccessKey(ctx, "AKIA1") },
			"DELETE /api/v1/access-keys/AKIA1 ", "", "<nil>"},
		{"Roles", func(ctx context.Context, c *Client) (any, error) {
			l, err := c.Roles(ctx)
			return names(l, func(v Role) string { return v.ARN }), err
		},
			"GET /api/v1/roles ", `{"items":[{"arn":"a"}]}`, `[a]`},
		{"Role", func(ctx context.Context, c *Client) (any, error) {
			r, err := c.Role(ctx, "", "r")
			return string(r.Trust), err
		},
			"GET /api/v1/roles/r ", `{"trust":{"Version": "x"}}`, `{"Version": "x"}`},
		{"CreateRole", func(ctx context.Context, c *Client) (any, error) {
			r, err := c.CreateRole(ctx, NewRole{Name: "r", Trust: json.RawMessage(`{}`), MaxSessionSeconds: 3600})
			return r.MaxSessionSeconds, err
		}, `POST /api/v1/roles {"name":"r","roles":[],"trust":{},"maxSessionSeconds":3600}`, `{"maxSessionSeconds":3600}`, `3600`},
		{"UpdateRole", func(ctx context.Context, c *Client) (any, error) {
			var none []iam.Role
			r, err := c.UpdateRole(ctx, "1", "r", RoleChange{Roles: &none})
			return r.Roles, err
		}, `PUT /api/v1/roles/r?account=1 {"roles":[]}`, `{"roles":[]}`, `[]`},
		{"DeleteRole", func(ctx context.Context, c *Client) (any, error) { return nil, c.DeleteRole(ctx, "1", "r") },
			"DELETE /api/v1/roles/r?account=1 ", "", "<nil>"},
		{"RevokeSessions", func(ctx context.Context, c *Client) (any, error) {
			r, err := c.RevokeSessions(ctx, "", "r")
			return r.Name, err
		},
			"POST /api/v1/roles/r/revoke-sessions ", `{"name":"r"}`, `r`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var asked string
			s := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				asked = r.Method + " " + r.RequestURI + " " + string(body)
				_, _ = io.WriteString(w, c.answer)
			})
			got, err := c.do(t.Context(), dial(t, s.URL))
			if err != nil || asked != c.want || fmt.Sprint(got) != c.got {
				t.Errorf("asked %q, want %q\ngot %v, want %s: %v", asked, c.want, got, c.got, err)
			}
		})
		t.Run(c.name+" refused", func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(_ int, w http.ResponseWriter, _ *http.Request) { tellProblem(w, 403, "denied", "ann may not") })
			if _, err := c.do(t.Context(), dial(t, s.URL)); err == nil {
				t.Error("no error")
			}
			if s.hits.Load() != 1 {
				t.Errorf("asked %d times", s.hits.Load())
			}
		})
	}
}

func names[T any](list []T, name func(T) string) []string {
	var out []string
	for _, v := range list {
		out = append(out, name(v))
	}
	return out
}
