package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"spoor/internal/iam"
)

// describe says what the API is as a whole.
func describe(doc *huma.OpenAPI) {
	doc.Info.Title = "Spoor"
	doc.Info.Version = "1"
	doc.Info.Description = "The HTTP API of a running Spoor. Calls are authenticated with a bearer token; what a caller may do is decided by policies. " +
		"Answers that are no success are problem documents (RFC 9457)."
	doc.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {Type: "http", Scheme: "bearer", Description: "A token of a principal, as `spoor iam token create` or this API makes it."},
	}
	doc.Security = []map[string][]string{{"token": {}}}
	for _, t := range [][2]string{
		{"events", "putting events in, and finding them"}, {"sources", "where events come from"}, {"store", "where events are kept"},
		{"service", "the process"}, {"access", "who may do what"},
	} {
		doc.Tags = append(doc.Tags, &huma.Tag{Name: t[0], Description: t[1]})
	}
}

// spec is what a route is registered with.
type spec struct {
	method, path string
	action       iam.Action
	tag, summary string
	doc          string
	status       int // of success; default as huma has it
	about        func(r *http.Request, body []byte) iam.Resource
	body         bool
	public       bool
	push         bool
	stream       bool
	produces     map[string]string // media types of a body that is streamed, with what it is
}

// register adds a route whose errors become problems.
func register[I, O any](c *Console, s spec, h func(ctx context.Context, in *I) (*O, error)) {
	pattern := s.method + " " + s.path
	rt := &route{pattern: pattern, action: s.action, about: s.about, body: s.body, public: s.public, push: s.push, stream: s.stream, once: map[string]bool{}, many: map[string]bool{}}
	c.routes[pattern] = rt
	op := huma.Operation{
		OperationID: operationID(s), Method: s.method, Path: s.path, Summary: s.summary, Description: s.doc, Tags: []string{s.tag},
		DefaultStatus: s.status, MaxBodyBytes: maxBody, BodyReadTimeout: readTime,
		Responses: map[string]*huma.Response{"default": {
			Description: "a problem",
			Content: map[string]*huma.MediaType{"application/problem+json": {
				Schema: huma.SchemaFromType(c.api.OpenAPI().Components.Schemas, problemType),
			}},
		}},
	}
	if s.body {
		op.BodyReadTimeout = -1 // it is read already
	}
	if s.public {
		op.Security = []map[string][]string{}
	} else {
		op.Extensions = map[string]any{"x-action": string(s.action)}
	}
	if s.produces != nil {
		ok := &huma.Response{Description: http.StatusText(http.StatusOK), Content: map[string]*huma.MediaType{}}
		for media, what := range s.produces {
			ok.Content[media] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Description: what}}
		}
		op.Responses["200"] = ok
	}
	huma.Register(c.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err != nil {
			return nil, c.problemOf(ctx, err)
		}
		return out, nil
	})
	item := c.api.OpenAPI().Paths[s.path]
	for _, done := range []*huma.Operation{item.Get, item.Post, item.Put, item.Delete} {
		if done == nil || done.Method != s.method {
			continue
		}
		for _, p := range done.Parameters {
			if p.In != "query" {
				continue
			}
			if p.Schema.Type == huma.TypeArray {
				rt.many[p.Name] = true
			} else {
				rt.once[p.Name] = true
			}
		}
	}
}

// operationID is the action, or where several routes have one, the action and what tells them apart.
func operationID(s spec) string {
	id := string(s.action)
	switch {
	case s.public:
		id = strings.Trim(s.path, "/")
	case s.path == apiPath+"/tokens":
		id = "ListAllTokens"
	case s.path == apiPath+"/access-keys":
		id = "ListAllAccessKeys"
	case s.path == apiPath+"/status":
		id = "GetStatus"
	case s.path == specPath:
		id = "GetDescription"
	case s.path == apiPath+"/queries":
		id = "ListQueries"
	case s.path == apiPath+"/fields":
		id = "ListFields"
	}
	return id
}

// raw adds a handler that is no operation of the description.
func (c *Console) raw(pattern string, action iam.Action, h http.Handler) {
	c.routes[pattern] = &route{pattern: pattern, action: action, stream: true}
	c.handle(pattern, h)
}

// streamed is an answer that is written as it comes.
type streamed struct {
	Body func(huma.Context)
}

// stream gives a handler the request and the writer. What it writes is not touched; the problem that it returns before it has
// written is told.
func stream(h func(w http.ResponseWriter, r *http.Request) error, c *Console) *streamed {
	return &streamed{Body: func(hc huma.Context) {
		r, w := humago.Unwrap(hc)
		if err := h(w, r); err != nil {
			tell(w, r, c.problemOf(r.Context(), err))
		}
	}}
}

// Routes lists the patterns of all routes with their actions; of those that anybody may call the action is empty.
func (c *Console) Routes() map[string]iam.Action {
	out := make(map[string]iam.Action, len(c.routes))
	for p, rt := range c.routes {
		out[p] = rt.action
	}
	return out
}

// OpenAPI is the description of the API as JSON.
func (c *Console) OpenAPI() ([]byte, error) { return c.spec() }

// document writes the description. Names of what huma has for itself are left out.
func document(doc *huma.OpenAPI) ([]byte, error) {
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	var tree map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	if components, ok := tree["components"].(map[string]any); ok {
		if schemas, ok := components["schemas"].(map[string]any); ok {
			delete(schemas, "ErrorModel")
			delete(schemas, "ErrorDetail")
		}
	}
	if text, err = marshal(tree); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, text, "", " "); err != nil {
		return nil, fmt.Errorf("indent: %w", err)
	}
	return out.Bytes(), nil
}

// marshal is JSON without HTML's escapes, and a line feed behind it.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}
