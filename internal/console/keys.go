package console

import (
	"context"
	"net/http"

	"spoor/internal/iam"
)

// NewAccessKey is an access key to be made.
type NewAccessKey struct {
	Note string `json:"note,omitempty" maxLength:"200" doc:"what it is for" example:"laptop"`
}

// MadeAccessKey is an access key with its secret.
type MadeAccessKey struct {
	iam.AccessKey
	Secret string `json:"secret" doc:"the secret access key; this is the only answer that has it"`
}

// AccessKeyState is what an access key is to be.
type AccessKeyState struct {
	Active bool `json:"active" doc:"whether it can be used"`
}

// KeyPath names an access key in a path; see [UserPath].
type KeyPath struct {
	ID string `path:"id" maxLength:"128" doc:"id of the access key: AKIA and 16 characters"`
}

func aboutKey(r *http.Request, _ []byte) iam.Resource {
	return iam.Resource{Type: iam.TypeAccessKey, ID: r.PathValue("id")}
}

// keyStatus is how AWS says whether a key can be used.
func keyStatus(active bool) string {
	if active {
		return "Active"
	}
	return "Inactive"
}

func (c *Console) registerKeys() {
	type newKey struct {
		UserPath
		Body NewAccessKey
	}
	type update struct {
		KeyPath
		Body AccessKeyState
	}
	register(c, spec{method: "GET", path: apiPath + "/users/{name}/access-keys", action: iam.ListAccessKeys, tag: "access", summary: "Access keys of a user, without their secrets", about: aboutUser},
		func(_ context.Context, in *UserPath) (*body[items[iam.AccessKey]], error) {
			if err := c.exists(in.Name); err != nil {
				return nil, err
			}
			return itemsOf(c.o.Access.AccessKeys(in.Name)), nil
		})
	register(c, spec{method: "GET", path: apiPath + "/access-keys", action: iam.ListAccessKeys, tag: "access", summary: "All access keys, without their secrets"},
		func(context.Context, *none) (*body[items[iam.AccessKey]], error) {
			return itemsOf(c.o.Access.AccessKeys("")), nil
		})
	register(c, spec{method: "POST", path: apiPath + "/users/{name}/access-keys", action: iam.CreateAccessKey, tag: "access", summary: "Make an access key for a user", status: http.StatusCreated, about: aboutUser,
		doc: "A user has two at most. The answer has the secret; nobody can get it again."},
		func(ctx context.Context, in *newKey) (*body[MadeAccessKey], error) {
			var made MadeAccessKey
			params := map[string]any{"userName": in.Name}
			if in.Body.Note != "" {
				params["note"] = in.Body.Note
			}
			err := c.apply(ctx, change{
				action: iam.CreateAccessKey, params: params, resources: c.userResource(in.Name),
				check: func() error { return c.exists(in.Name) },
				do: func(context.Context) (map[string]any, error) {
					k, secret, err := c.o.Access.CreateAccessKey(iam.KeySpec{User: in.Name, Note: in.Body.Note, By: callOf(ctx).caller.Principal.Name})
					made = MadeAccessKey{k, secret}
					return map[string]any{"accessKeyId": k.ID, "status": keyStatus(k.Active)}, err
				},
				undo: func() error { return c.o.Access.DeleteAccessKey(in.Name, made.ID) },
			})
			if err != nil {
				return nil, err
			}
			return &body[MadeAccessKey]{made}, nil
		})
	register(c, spec{method: "PUT", path: apiPath + "/access-keys/{id}", action: iam.UpdateAccessKey, tag: "access", summary: "Switch an access key off, or on again", about: aboutKey,
		doc: "What is off cannot be used, nor can sessions that came of it."},
		func(ctx context.Context, in *update) (*body[iam.AccessKey], error) {
			ch, user := c.keyChange(iam.UpdateAccessKey, in.ID)
			ch.params["status"] = keyStatus(in.Body.Active)
			ch.always = !in.Body.Active
			var now iam.AccessKey
			ch.do = func(context.Context) (_ map[string]any, err error) {
				now, err = c.o.Access.SetAccessKey(user, in.ID, in.Body.Active)
				return nil, err
			}
			err := c.apply(ctx, ch)
			return &body[iam.AccessKey]{now}, err
		})
	register(c, spec{method: "DELETE", path: apiPath + "/access-keys/{id}", action: iam.DeleteAccessKey, tag: "access", summary: "Delete an access key, at once and for ever", about: aboutKey,
		doc: "Sessions that came of it end."},
		func(ctx context.Context, in *KeyPath) (*none, error) {
			ch, user := c.keyChange(iam.DeleteAccessKey, in.ID)
			ch.do = func(context.Context) (map[string]any, error) { return nil, c.o.Access.DeleteAccessKey(user, in.ID) }
			return nil, c.apply(ctx, ch)
		})
}

// keyChange begins a change of an access key that is named by its id alone.
func (c *Console) keyChange(a iam.Action, id string) (ch change, user string) {
	ch = change{action: a, params: map[string]any{"accessKeyId": id}, check: func() error { _, err := c.o.Access.AccessKey(id); return err }}
	if k, err := c.o.Access.AccessKey(id); err == nil { // else check tells
		user = k.User
		ch.params["userName"], ch.resources = user, c.userResource(user)
	}
	return ch, user
}
