package detect

import (
	"strings"

	"spoor/internal/match"
)

// Exprs gives conditions of which every event fulfils one that matters to the rules whose ids are given, without ids to
// any rule. Events that correlations count matter to them.
func (rs *Ruleset) Exprs(ids ...string) []match.Expr {
	wanted := func(r *Rule) bool {
		if len(ids) == 0 {
			return true
		}
		for _, id := range ids {
			if strings.EqualFold(id, r.ID) {
				return true
			}
		}
		return false
	}
	rules := make([]bool, len(rs.rules))
	for i, r := range rs.rules {
		rules[i] = wanted(&r.info)
	}
	var refer func(c *correlation)
	refer = func(c *correlation) {
		for _, ref := range c.refs {
			if ref.rule >= 0 {
				rules[ref.rule] = true
			}
			if ref.corr >= 0 {
				refer(rs.correlations[ref.corr])
			}
		}
	}
	for _, c := range rs.correlations {
		if wanted(&c.info) {
			refer(c)
		}
	}
	var out []match.Expr
	for i, r := range rs.rules {
		if rules[i] {
			out = append(out, r.src.Expr)
		}
	}
	return out
}
