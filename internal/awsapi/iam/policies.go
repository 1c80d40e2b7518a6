package iam

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"spoor/internal/awsapi"
	model "spoor/internal/awsapi/model/iam"
	"spoor/internal/iam"
)

const (
	policyPath    = "/"
	policyVersion = "v1" // the only one
)

// policyARN is the form of names of policies.
var policyARN = regexp.MustCompile(`^arn:[a-z-]+:iam::(aws|[0-9]{12}):policy/[\w+=,.@/-]+$`)

func noPolicy(arn string) string { return "Policy " + arn + " was not found." }

// policyRole finds the role that a policy stands for. toAttach chooses AWS's words for what is not there.
func policyRole(arn string, toAttach bool) (iam.Role, error) {
	role, ok := iam.RoleOfPolicy(arn)
	switch {
	case ok:
		return role, nil
	case !policyARN.MatchString(arn):
		return "", awsapi.Errorf(invalidInput, "ARN %s is not valid.", arn)
	case toAttach:
		return "", awsapi.Errorf(noSuchEntity, "Policy %s does not exist or is not attachable.", arn)
	}
	return "", awsapi.Errorf(noSuchEntity, "%s", noPolicy(arn))
}

func policyName(r iam.Role) string {
	arn := r.PolicyARN()
	return arn[strings.LastIndexByte(arn, '/')+1:]
}

// attach gives who has the roles that now tells one more, or takes it away. Errors of now and set are those of package iam.
func (s *service) attach(c *awsapi.Call, who, arn string, give bool, now func() ([]iam.Role, error), set func([]iam.Role) error) error {
	role, err := policyRole(arn, give)
	if err != nil {
		return err
	}
	change := func(give bool) (changed bool, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		roles, err := now()
		if err != nil || slices.Contains(roles, role) == give {
			return false, err
		}
		roles = slices.DeleteFunc(slices.Clone(roles), func(r iam.Role) bool { return r == role })
		if give {
			roles = append(roles, role)
		}
		return true, set(roles)
	}
	changed, err := change(give)
	switch {
	case err != nil:
		return err
	case changed:
		s.takeBack(c, c.Operation+" "+who+" "+string(role), func() error {
			_, err := change(!give)
			return err
		})
	case !give:
		return awsapi.Errorf(noSuchEntity, "%s", noPolicy(arn))
	}
	return nil
}

// attached is a page of the policies of a user or role.
func attached(c *awsapi.Call, roles []iam.Role, prefix, marker *string, most *int32, owner string) (list []model.AttachedPolicy, truncated *bool, next *string, err error) {
	list = []model.AttachedPolicy{}
	if under(policyPath, prefix) {
		for _, r := range roles {
			list = append(list, model.AttachedPolicy{PolicyName: new(policyName(r)), PolicyArn: new(r.PolicyARN())})
		}
	}
	return paged(list, func(p model.AttachedPolicy) string { return *p.PolicyName }, marker, most, c.Operation, owner, text(prefix))
}

// attachments counts who has a role, in the account of the caller.
func (s *service) attachments(c *awsapi.Call, role iam.Role) int32 {
	var n int32
	if c.Account == s.o.Access.Account() {
		for _, p := range s.o.Access.Users() {
			if slices.Contains(p.Roles, role) {
				n++
			}
		}
	}
	for _, a := range s.o.Access.Assumables() {
		if a.Account == c.Account && slices.Contains(a.Roles, role) {
			n++
		}
	}
	return n
}

// policyID is the same for a policy in all installations.
func policyID(r iam.Role) string {
	sum := sha256.Sum256([]byte(r.PolicyARN()))
	return "ANPA" + base32.StdEncoding.EncodeToString(sum[:])[:17]
}

// tellPolicy is a policy as answers have it. It was made by nobody, at no time.
func (s *service) tellPolicy(c *awsapi.Call, i iam.RoleInfo) model.Policy {
	return model.Policy{
		PolicyName: new(policyName(i.Role)), PolicyId: new(policyID(i.Role)), Arn: new(i.Role.PolicyARN()), Path: new(policyPath),
		DefaultVersionId: new(policyVersion), IsAttachable: new(true), AttachmentCount: new(s.attachments(c, i.Role)),
		PermissionsBoundaryUsageCount: new(int32(0)),
	}
}

func describe(i iam.RoleInfo) *string {
	return new(strings.ToUpper(i.Doc[:1]) + i.Doc[1:] + ".")
}

func (s *service) listPolicies(_ context.Context, c *awsapi.Call, in *model.ListPoliciesRequest) (*model.ListPoliciesResponse, error) {
	if _, err := s.who(c); err != nil {
		return nil, err
	}
	only := in.OnlyAttached != nil && *in.OnlyAttached
	list := []model.Policy{}
	if text(in.Scope) != "Local" && text(in.PolicyUsageFilter) != "PermissionsBoundary" && under(policyPath, in.PathPrefix) {
		for _, i := range iam.Roles() {
			if p := s.tellPolicy(c, i); !only || *p.AttachmentCount > 0 {
				list = append(list, p)
			}
		}
	}
	list, truncated, next, err := paged(list, func(p model.Policy) string { return *p.PolicyName }, in.Marker, in.MaxItems,
		c.Operation, text(in.Scope), text(in.PathPrefix), text(in.PolicyUsageFilter), fmt.Sprint(only))
	if err != nil {
		return nil, err
	}
	return &model.ListPoliciesResponse{Policies: list, IsTruncated: truncated, Marker: next}, nil
}

// info finds a policy by name.
func (s *service) info(c *awsapi.Call, arn string) (iam.RoleInfo, error) {
	if _, err := s.who(c); err != nil {
		return iam.RoleInfo{}, err
	}
	role, err := policyRole(arn, false)
	if err != nil {
		return iam.RoleInfo{}, err
	}
	all := iam.Roles()
	return all[slices.IndexFunc(all, func(i iam.RoleInfo) bool { return i.Role == role })], nil
}

func (s *service) getPolicy(_ context.Context, c *awsapi.Call, in *model.GetPolicyRequest) (*model.GetPolicyResponse, error) {
	i, err := s.info(c, *in.PolicyArn)
	if err != nil {
		return nil, err
	}
	p := s.tellPolicy(c, i)
	p.Description = describe(i) // which lists do not have
	return &model.GetPolicyResponse{Policy: &p}, nil
}

// ownService is the prefix of actions of Spoor's own API, as its eventSource has it.
const ownService = "spoor"

// getPolicyVersion tells what a policy allows now, in AWS's language: the decisions are made by policies in Cedar, those of the
// operator among them.
func (s *service) getPolicyVersion(_ context.Context, c *awsapi.Call, in *model.GetPolicyVersionRequest) (*model.GetPolicyVersionResponse, error) {
	i, err := s.info(c, *in.PolicyArn)
	if err != nil {
		return nil, err
	}
	if *in.VersionId != policyVersion {
		return nil, awsapi.Errorf(noSuchEntity, "Policy %s version %s does not exist or is not attachable.", *in.PolicyArn, *in.VersionId)
	}
	type statement struct {
		Effect, Resource string
		Action           []string
	}
	var doc struct {
		Version   string
		Statement [1]statement
	}
	doc.Version, doc.Statement[0] = "2012-10-17", statement{Effect: "Allow", Resource: "*"}
	for _, a := range s.o.Access.Allowed(i.Role) {
		name := string(a)
		if !a.AWS() {
			name = ownService + ":" + name
		}
		doc.Statement[0].Action = append(doc.Statement[0].Action, name)
	}
	slices.Sort(doc.Statement[0].Action)
	body, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("write the policy %s: %w", *in.PolicyArn, err)
	}
	return &model.GetPolicyVersionResponse{PolicyVersion: &model.PolicyVersion{
		Document: document(body), VersionId: new(policyVersion), IsDefaultVersion: new(true),
	}}, nil
}
