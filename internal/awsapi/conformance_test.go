package awsapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/model"
	"spoor/internal/awsapi/services"
)

// TestConformance sends every served operation, for every member of its input down to the third level, values that its
// constraints do not allow, each in an input that holds nothing else: AWS's sentence has to be in the answer, and nothing
// may get through.
func TestConformance(t *testing.T) {
	t.Parallel()
	tried := map[string]int{}
	all := services.All(services.Parts{}) // input is refused before the parts are needed
	of := newRig(t, func(o *awsapi.Options) { o.Services = all })
	r := newRig(t)
	for _, s := range append(r.services(), all...) {
		r := r
		if slices.Contains(all, s) {
			r = of
		}
		m := s.Model()
		for i := range m.Operations {
			op := &m.Operations[i]
			if !s.Serves(op.Name) || op.Input < 0 {
				continue
			}
			probe := prober{t: t, r: r, s: s, op: op, tried: tried}
			probe.structure(op.Input, "", func(v any) any { return v }, 3)
		}
	}
	for _, rule := range []string{"required", "short", "long", "small", "large", "enum", "pattern", "few"} {
		if tried[rule] < 3 {
			t.Errorf("the rule %s was tried %d times: %v", rule, tried[rule], tried)
		}
	}
}

type prober struct {
	t     *testing.T
	r     *rig
	s     *awsapi.Service
	op    *model.Operation
	tried map[string]int
}

// structure probes the members of a structure, which wrap puts into an input.
func (p *prober) structure(shape int16, path string, wrap func(any) any, levels int) {
	m := p.s.Model()
	for _, member := range m.Shapes[shape].Members {
		at := path + strings.ToLower(member.Name[:1]) + member.Name[1:]
		if member.Query != "" {
			continue // in the URL, where every probe has what is needed
		}
		in := func(v any) any { return wrap(map[string]any{member.Name: v}) }
		if member.Required {
			p.send("required", wrap(map[string]any{}), fmt.Sprintf("Value null at '%s' failed to satisfy constraint: Member must not be null", at))
		}
		p.value(member.Shape, at, in, levels)
	}
}

func (p *prober) value(shape int16, at string, in func(any) any, levels int) {
	s := &p.s.Model().Shapes[shape]
	bad := func(rule string, v any, constraint string) {
		p.send(rule, in(v), "at '"+at+"' failed to satisfy constraint: "+constraint)
	}
	switch s.Kind {
	case model.String:
		if s.Has(model.HasMin) && s.Min > 0 {
			bad("short", strings.Repeat("a", int(s.Min-1)), fmt.Sprintf("Member must have length greater than or equal to %d", s.Min))
		}
		if s.Has(model.HasMax) && s.Max < 100_000 {
			bad("long", strings.Repeat("a", int(s.Max+1)), fmt.Sprintf("Member must have length less than or equal to %d", s.Max))
		}
		if len(s.Enum) > 0 {
			bad("enum", "no such", "Member must satisfy enum value set: ["+strings.Join(s.Enum, ", ")+"]")
		}
		if s.Pattern != "" && s.Pattern != "(?s).*" && !strings.Contains(s.Pattern, `[\s\S]*`) {
			bad("pattern", ":\n\u0007", "Member must satisfy regular expression pattern: "+s.Pattern)
		}
	case model.Integer, model.Long:
		if s.Has(model.HasMin) {
			bad("small", s.Min-1, fmt.Sprintf("Member must have value greater than or equal to %d", s.Min))
		}
		if s.Has(model.HasMax) {
			bad("large", s.Max+1, fmt.Sprintf("Member must have value less than or equal to %d", s.Max))
		}
	case model.List:
		if s.Has(model.HasMin) && s.Min > 0 {
			bad("few", []any{}, fmt.Sprintf("Member must have length greater than or equal to %d", s.Min))
		}
		if elem := &p.s.Model().Shapes[s.Elem]; elem.Kind == model.Structure && levels > 1 {
			p.structure(s.Elem, at+".1.member.", func(v any) any { return in([]any{v}) }, levels-1)
		}
	case model.Structure:
		if levels > 1 {
			p.structure(shape, at+".", in, levels-1)
		}
	}
}

// send expects a refusal with a sentence.
func (p *prober) send(rule string, input any, want string) {
	p.t.Helper()
	p.tried[rule]++
	m := p.s.Model()
	var req *http.Request
	var body string
	switch {
	case m.Speaks(model.JSON) || m.Speaks(model.RESTJSON):
		text, err := json.Marshal(input)
		if err != nil {
			p.t.Fatal(err)
		}
		body = string(text)
		if m.Speaks(model.RESTJSON) {
			req = request(p.op.Method, p.r.url+p.op.Path+"?channelArn=arn:x", "application/json", body)
		} else {
			req = request("POST", p.r.url, "application/x-amz-json-"+m.JSONVersion, body, "X-Amz-Target", m.TargetPrefix+"."+p.op.Name)
		}
	default:
		form := []string{"Action=" + p.op.Name, "Version=" + m.Version}
		flatten(&form, "", input)
		body = strings.Join(form, "&")
		req = request("POST", p.r.url, "application/x-www-form-urlencoded", body)
	}
	status, answer, _ := p.r.send(p.t, p.r.sign(p.t, req, body, m.SigningName))
	message := answer
	if strings.HasPrefix(answer, "{") {
		var e struct{ Message string }
		if err := json.Unmarshal([]byte(answer), &e); err != nil {
			p.t.Fatal(err)
		}
		message = e.Message
	} else {
		message = strings.NewReplacer("&#39;", "'", "&#34;", `"`, "&lt;", "<", "&gt;", ">", "&amp;", "&", "\uFFFD", "\u0007").Replace(message)
	}
	if status != 400 || !strings.Contains(message, want) {
		p.t.Errorf("%s %s: %d %s\nwant %s", p.op.Name, body, status, message, want)
	}
}

// flatten writes parameters of the query protocol.
func flatten(form *[]string, name string, v any) {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 0 && name != "" { // which has no form but through what the model does not know
			*form = append(*form, name+".Nothing=")
		}
		for k, member := range v {
			flatten(form, strings.TrimPrefix(name+"."+k, "."), member)
		}
	case []any:
		if len(v) == 0 {
			*form = append(*form, name+"=")
		}
		for i, member := range v {
			flatten(form, fmt.Sprintf("%s.member.%d", name, i+1), member)
		}
	default:
		*form = append(*form, name+"="+strings.ReplaceAll(fmt.Sprint(v), "\u0007", "%07"))
	}
}
