package history

import (
	"bufio"
	_ "embed" // for the table of resources
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"sync"
	"time"

	"spoor/internal/event"
)

//go:embed resources.txt
var resourcesText string

// derivation is the version of what is derived here, but for the table of resources. Indexes that were made by another one
// are made again.
const derivation = 1

// rules is a sum of what attributes are derived by.
var rules = sync.OnceValue(func() uint32 {
	return crc32.Checksum(fmt.Appendf(nil, "%d\n%s", derivation, resourcesText), castagnoli)
})

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// kind is what of an event the history is about.
type kind byte

const (
	noKind     kind = 0 // data, network activity and others are not in the history
	management kind = 'M'
	insight    kind = 'I'
)

// kindOf is [noKind] for what is in no history: events without a time, too.
func kindOf(e *event.Event) kind {
	if e.Time == 0 {
		return noKind
	}
	switch e.Category() {
	case "Management":
		return management
	case "Insight":
		return insight
	}
	return noKind
}

// attributes calls fn with every attribute of an event, the same ones more than once where the record has them so. Texts may
// point into the record.
func attributes(e *event.Event, k kind, fn func(Key, string)) {
	one := func(key Key, text string) {
		if text != "" {
			fn(key, text)
		}
	}
	one(EventID, e.ID())
	one(EventName, nameOf(e, k))
	one(EventSource, sourceOf(e, k))
	if k == insight {
		return
	}
	one(AccessKeyID, e.Text(event.AccessKeyID))
	one(ReadOnly, readOnlyOf(e))
	one(Username, usernameOf(e))
	resourcesOf(e, func(typ, name string) {
		one(ResourceType, typ)
		one(ResourceName, name)
	})
}

// eventOf makes an event of the history. Nothing of e is kept.
func eventOf(e *event.Event, k kind) Event {
	out := Event{
		ID: e.ID(), Name: nameOf(e, k), Source: sourceOf(e, k), Username: usernameOf(e), AccessKeyID: e.Text(event.AccessKeyID),
		ReadOnly: readOnlyOf(e), Time: time.Unix(0, e.Time).UTC(), Raw: json.RawMessage(slices.Clone(e.Raw)),
	}
	for _, s := range []*string{&out.ID, &out.Name, &out.Source, &out.Username, &out.AccessKeyID} {
		*s = strings.Clone(*s)
	}
	resourcesOf(e, func(typ, name string) {
		r := Resource{strings.Clone(typ), strings.Clone(name)}
		if !slices.Contains(out.Resources, r) {
			out.Resources = append(out.Resources, r)
		}
	})
	return out
}

// nameOf is eventName; an Insight event has that of the calls that it is about.
func nameOf(e *event.Event, k kind) string {
	if name := e.Name(); name != "" || k != insight {
		return name
	}
	return member(e.Get(event.InsightDetails), "eventName").Text()
}

func sourceOf(e *event.Event, k kind) string {
	if source := e.Source(); source != "" || k != insight {
		return source
	}
	return member(e.Get(event.InsightDetails), "eventSource").Text()
}

// readOnlyOf is "" when the record does not tell.
func readOnlyOf(e *event.Event) string {
	switch v := e.Get(event.ReadOnly); v.Kind() {
	case event.True, event.False:
		return v.Text()
	case event.String:
		for _, s := range [...]string{"true", "false"} {
			if strings.EqualFold(v.Text(), s) {
				return s
			}
		}
	}
	return ""
}

// usernameOf is the name of the user; "root" for the account's own, and of sessions of roles and of federated users the name
// of the session.
func usernameOf(e *event.Event) string {
	switch e.Text(event.IdentityType) {
	case "Root":
		return "root"
	case "AssumedRole":
		return sessionOf(e)
	case "FederatedUser":
		if name := e.Text(event.UserName); name != "" {
			return name
		}
		return sessionOf(e)
	}
	return e.Text(event.UserName)
}

func sessionOf(e *event.Event) string {
	if _, session, ok := strings.Cut(e.Text(event.PrincipalID), ":"); ok {
		return session
	}
	arn := e.Text(event.IdentityARN)
	return arn[strings.LastIndexByte(arn, '/')+1:]
}

// resourcesOf calls fn with what the call was about: what the record lists, or else what the table finds.
func resourcesOf(e *event.Event, fn func(typ, name string)) {
	listed := false
	e.Get(event.Resources).Elements(func(r event.Value) bool {
		typ, name := text(member(r, "type")), text(member(r, "ARN"))
		if name == "" {
			name = text(member(r, "ARNPrefix"))
		}
		if name != "" {
			listed = true
			fn(typ, name)
		}
		return true
	})
	if listed {
		return
	}
	service, ok := strings.CutSuffix(e.Source(), ".amazonaws.com")
	if !ok {
		return
	}
	t := resourceTable()[service]
	if t == nil {
		return
	}
	t.request.find(e, e.Get(event.RequestParameters), fn)
	t.response.find(e, e.Get(event.ResponseElements), fn)
}

func text(v event.Value) string {
	if v.Kind() != event.String {
		return ""
	}
	return v.Text()
}

// member gives a member of an object, the first of the name.
func member(v event.Value, name string) (out event.Value) {
	v.Members(func(k string, val event.Value) bool {
		if k != name {
			return true
		}
		out = val
		return false
	})
	return out
}

// service is what the table has of one.
type service struct{ request, response paths }

// paths are rules by the first member of their path.
type paths map[string][]rule

// rule is a type, and where the names of such resources are.
type rule struct {
	typ    string
	events []string // all when there are none
	rest   []string // of the path
}

func (p paths) find(e *event.Event, v event.Value, fn func(typ, name string)) {
	if len(p) == 0 {
		return
	}
	v.Members(func(k string, val event.Value) bool {
		for i := range p[k] {
			if r := &p[k][i]; r.on(e.Name()) {
				walk(val, r.rest, func(name string) { fn(r.typ, name) })
			}
		}
		return true
	})
}

func (r *rule) on(name string) bool {
	return len(r.events) == 0 || slices.ContainsFunc(r.events, func(pattern string) bool {
		if end, ok := strings.CutPrefix(pattern, "*"); ok {
			return strings.HasSuffix(name, end)
		}
		if start, ok := strings.CutSuffix(pattern, "*"); ok {
			return strings.HasPrefix(name, start)
		}
		return name == pattern
	})
}

// walk calls fn with the texts at the end of a path.
func walk(v event.Value, path []string, fn func(string)) {
	switch {
	case v.Kind() == event.Array:
		v.Elements(func(el event.Value) bool {
			walk(el, path, fn)
			return true
		})
	case len(path) > 0:
		if v = member(v, path[0]); v.Exists() {
			walk(v, path[1:], fn)
		}
	default:
		if s := text(v); s != "" {
			fn(s)
		}
	}
}

// resourceTable is the table of resources, by service.
var resourceTable = sync.OnceValue(func() map[string]*service {
	t, err := parseTable(resourcesText)
	if err != nil {
		panic(err) // it is a part of the program
	}
	return t
})

func parseTable(s string) (map[string]*service, error) {
	out := map[string]*service{}
	lines := bufio.NewScanner(strings.NewReader(s))
	for n := 1; lines.Scan(); n++ {
		f := strings.Fields(lines.Text())
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if len(f) < 3 || strings.Count(f[1], "::") != 2 {
			return nil, fmt.Errorf("line %d of the table of resources: want a service, a type and paths", n)
		}
		name, events, _ := strings.Cut(f[0], ":")
		t := out[name]
		if t == nil {
			t = &service{paths{}, paths{}}
			out[name] = t
		}
		for _, path := range f[2:] {
			in := t.request
			if rest, ok := strings.CutPrefix(path, ">"); ok {
				in, path = t.response, rest
			}
			segs := strings.Split(path, ".")
			r := rule{typ: f[1], rest: segs[1:]}
			if events != "" {
				r.events = strings.Split(events, ",")
			}
			in[segs[0]] = append(in[segs[0]], r)
		}
	}
	return out, lines.Err()
}
