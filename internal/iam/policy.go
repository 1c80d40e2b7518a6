package iam

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

//go:embed policies/roles.cedar
var rolesText string

// rolesFile is the name under which the policies of the ready roles are known.
const rolesFile = "roles.cedar"

// MaxPolicyFile is how large a file of policies may be, in bytes.
const MaxPolicyFile = 256 << 10

// Bounds of one policy. Parsing and checking take time by the square of what is nested, and stack.
const (
	maxPolicy  = 16 << 10 // bytes
	maxNesting = 64       // brackets, conditions and signs that open something
)

// checkNesting refuses text that would be nested too deep, or whose policies are too long, before it is parsed.
func checkNesting(text string) error {
	line, start, depth, opened := 1, 0, 0, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '\n':
			line++
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				switch text[i] {
				case '\\':
					i++
				case '\n':
					line++
				}
			}
			opened = 0
		case ' ', '\t', '\r':
		case '/':
			if strings.HasPrefix(text[i:], "//") {
				for i+1 < len(text) && text[i+1] != '\n' {
					i++
				}
			}
		case '(', '[', '{':
			depth, opened = depth+opened+1, 0 // what was opened stays so until the policy ends
		case ')', ']', '}':
			depth--
		case '!', '-':
			opened++
		case ';':
			start, depth, opened = i+1, 0, 0
		case 'i':
			opened = 0
			if strings.HasPrefix(text[i:], "if") && !wordAt(text, i-1) && !wordAt(text, i+2) {
				depth++ // it ends with the policy: how many there are is bound, not only how deep they are
			}
		default:
			opened = 0
		}
		if depth+opened > maxNesting {
			return fmt.Errorf("line %d: nested deeper than %d", line, maxNesting)
		}
		if i-start > maxPolicy {
			return fmt.Errorf("line %d: the policy is longer than %d bytes", line, maxPolicy)
		}
	}
	return nil
}

func wordAt(text string, i int) bool {
	if i < 0 || i >= len(text) {
		return false
	}
	c := text[i]
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// PolicyFile is Cedar text with a name for messages.
type PolicyFile struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// PolicyInfo tells about one policy.
type PolicyInfo struct {
	ID     string `json:"id"` // the annotation @id, else FILE:LINE
	File   string `json:"file"`
	Line   int    `json:"line"`
	Effect string `json:"effect"` // permit or forbid
	Doc    string `json:"doc"`    // the annotation @doc
	Text   string `json:"text"`   // normalised
	Ready  bool   `json:"ready"`  // one of those of the ready roles
}

// Policies is a checked set of policies: those of the ready roles and those of the operator.
type Policies struct {
	set   *cedar.PolicySet
	infos []PolicyInfo
}

// All lists the policies, those of the ready roles first.
func (p *Policies) All() []PolicyInfo { return append([]PolicyInfo(nil), p.infos...) }

// Schema is the Cedar schema that policies are checked against: the entities, the actions with their groups, and what is
// known of a call.
func Schema() string {
	var b strings.Builder
	b.WriteString(`namespace Spoor {
  // The roles: ` + roleNames() + `.
  entity Role;

  // Principals. A user is in its roles.
  entity Root { name: String };
  entity User in [Role] { name: String };
  // A session of a role that was assumed, by the ARN of that role: it is in the roles of the role. The name is ROLE/SESSION.
  entity Assumed in [Role] { name: String, role: String, account: String, session: String };

  // What actions are done to. The name of the server is empty.
  entity Server { name: String };
  entity Source { name: String };
  entity Token { owner: String };
  entity AccessKey { owner: String };
  // A role that can be assumed, by its ARN.
  entity Assumable { name: String, account: String };
  // Whatever else has an ARN, by that: its parts, of which kind and name are from its end: KIND/NAME.
  entity Resource { service: String, region: String, account: String, kind: String, name: String };

  // What is known of a call.
  type Call = {
    address?: ipaddr, // that the call came from
    tls: Bool,
    time: datetime,
    token: String, // the id of the token it came with; empty for an access key
    accessKey?: String, // the id of the access key it came with
    issued?: datetime, // when that key was, of temporary ones
    roles?: Set<String>, // those that a user or a role is to have, where they are made and changed
  };

  // Groups of actions.
`)
	for _, g := range Groups() {
		fmt.Fprintf(&b, "  action %s;\n", g)
	}
	b.WriteString("\n")
	for _, a := range actions {
		name := string(a.Action)
		if a.Action.AWS() {
			name = `"` + name + `"`
		}
		fmt.Fprintf(&b, "  // %s\n  action %s in [%s] appliesTo { principal: [Root, User, Assumed], resource: [%s], context: Call };\n",
			a.Doc, name, a.Group, strings.Join(a.entityTypes(), ", "))
	}
	b.WriteString("}\n")
	return b.String()
}

// entityTypes are the types that a resource of an action can have. What is done to one source, user or role can be done to all;
// what AWS's clients do is done to whatever they name.
func (a ActionInfo) entityTypes() []string {
	switch {
	case a.Action.AWS():
		return []string{"Server", "User", "Root", "Assumable", "Resource"}
	case a.On == TypeUser:
		return []string{"User", "Root", "Server"}
	case a.On == TypeSource, a.On == TypeAssumable:
		return []string{string(a.On), "Server"}
	}
	return []string{string(a.On)}
}

// ParsePolicies checks policies of the operator, and adds them to those of the ready roles. Every problem of every file is
// in the error, with file and line: text that is not Cedar, names that are not there, types that do not fit, and ids that
// are used twice.
func ParsePolicies(files ...PolicyFile) (*Policies, error) {
	var s schema.Schema
	if err := s.UnmarshalCedar([]byte(Schema())); err != nil {
		return nil, fmt.Errorf("read the schema of policies: %w", err)
	}
	resolved, err := s.Resolve()
	if err != nil {
		return nil, fmt.Errorf("read the schema of policies: %w", err)
	}
	p := &Policies{set: cedar.NewPolicySet()}
	check := validate.New(resolved)
	problems := p.add(check, PolicyFile{rolesFile, rolesText}, true)
	for _, f := range files {
		problems = append(problems, p.add(check, f, false)...)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return p, nil
}

func (p *Policies) add(check *validate.Validator, f PolicyFile, ready bool) (problems []error) {
	if len(f.Text) > MaxPolicyFile {
		return []error{fmt.Errorf("%s: %d bytes are more than %d", f.Name, len(f.Text), MaxPolicyFile)}
	}
	if err := checkNesting(f.Text); err != nil {
		return []error{fmt.Errorf("%s: %w", f.Name, err)}
	}
	list, err := cedar.NewPolicyListFromBytes(f.Name, []byte(f.Text))
	if err != nil {
		return []error{fmt.Errorf("%s: not Cedar: %w", f.Name, err)}
	}
	for _, policy := range list {
		pos := policy.Position()
		where := fmt.Sprintf("%s:%d", f.Name, pos.Line)
		info := PolicyInfo{ID: where, File: f.Name, Line: pos.Line, Effect: "permit", Text: string(policy.MarshalCedar()), Ready: ready}
		if policy.Effect() == cedar.Forbid {
			info.Effect = "forbid"
		}
		notes := policy.Annotations()
		if id := string(notes["id"]); id != "" {
			info.ID = id
		}
		info.Doc = string(notes["doc"])
		if err := check.Policy(info.ID, (*xast.Policy)(policy.AST())); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", where, err))
		}
		if !p.set.Add(cedar.PolicyID(info.ID), policy) {
			problems = append(problems, fmt.Errorf("%s: there is another policy with the id %q", where, info.ID))
		}
		p.infos = append(p.infos, info)
	}
	return problems
}
