package iam

import (
	"context"
	"slices"
	"strings"
)

// arnParts are the parts of an ARN. kind and name are those of its end: KIND/NAME, KIND:NAME or NAME alone.
type arnParts struct{ service, region, account, kind, name string }

func parseARN(arn string) (arnParts, bool) {
	p := strings.SplitN(arn, ":", 6)
	if len(p) != 6 || p[0] != "arn" || !strings.HasPrefix(p[1], "aws") || p[2] == "" || p[5] == "" || len(arn) > maxARN {
		return arnParts{}, false
	}
	a := arnParts{service: p[2], region: p[3], account: p[4], name: p[5]}
	if i := strings.IndexAny(p[5], "/:"); i >= 0 {
		a.kind, a.name = p[5][:i], p[5][i+1:]
	}
	return a, true
}

const maxARN = 2048

// last is the name without the path before it.
func (a arnParts) last() string { return a.name[strings.LastIndexByte(a.name, '/')+1:] }

// resourceOf gives what an ARN names.
func (s *Service) resourceOf(arn string) (Resource, bool) {
	if arn == "*" {
		return Resource{Type: TypeServer}, true
	}
	a, ok := parseARN(arn)
	if !ok {
		return Resource{Type: TypeResource, ID: arn}, false
	}
	switch {
	case a.service == "iam" && a.kind == "role":
		return Resource{Type: TypeAssumable, ID: arn}, true
	case a.service == "iam" && a.account == s.opts.Account && a.kind == "user":
		return Resource{Type: TypeUser, ID: a.last()}, true
	case a.service == "iam" && a.account == s.opts.Account && a.kind == "" && a.name == RootName:
		return Resource{Type: TypeUser, ID: RootName}, true
	}
	return Resource{Type: TypeResource, ID: arn}, true
}

// AuthorizeARN decides whether a caller may do something to resources that have ARNs: the first one that is refused decides.
// Without an ARN it is done to the server. Managed policies among the ARNs are the roles that policies find in context.roles.
func (s *Service) AuthorizeARN(ctx context.Context, c Caller, a Action, arns ...string) Decision {
	if len(arns) == 0 {
		return s.Authorize(ctx, c, a, Resource{})
	}
	var roles []Role
	for _, arn := range arns {
		if r, ok := RoleOfPolicy(arn); ok && !slices.Contains(roles, r) {
			roles = append(roles, r)
		}
	}
	var d Decision
	for _, arn := range arns {
		r, ok := s.resourceOf(arn)
		r.Roles = roles
		if !ok {
			return decision(c.Principal, a, r).deny("it is no ARN")
		}
		if d = s.Authorize(ctx, c, a, r); !d.Allowed {
			return d
		}
	}
	return d
}
