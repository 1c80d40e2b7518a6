package iam

// Allowed lists the actions that a role alone permits now, by all policies in effect, in a call of which nothing else is known,
// to what belongs to somebody else.
func (s *Service) Allowed(r Role) []Action {
	var out []Action
	p := Principal{Kind: KindUser, Name: "somebody", Account: s.opts.Account, Roles: []Role{r}}
	for _, a := range actions {
		if s.decide(s.now(), Caller{}, decision(p, a.Action, Resource{Type: a.On, ID: "another"})).Allowed {
			out = append(out, a.Action)
		}
	}
	return out
}
