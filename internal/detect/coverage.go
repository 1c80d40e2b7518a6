package detect

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Coverage maps the rules of a set that run onto ATT&CK.
type Coverage struct {
	Tactics  []TacticCoverage // in the order of the matrix, those without rules included; rules without a tactic last, under an empty one
	Untagged []Rule           // rules that name no technique
	Rules    int
}

// TacticCoverage is one column of the matrix.
type TacticCoverage struct {
	Tactic     Tactic
	Techniques []TechniqueCoverage // by number
	Rules      int                 // distinct
}

// TechniqueCoverage is one technique of a tactic with the rules for it.
type TechniqueCoverage struct {
	Technique
	Rules []Rule // by level, highest first, then title
}

// Coverage gives the ATT&CK coverage of the rules that run, in current numbers. Rules that alert and rules that only feed
// correlations both count. A rule that names several tactics counts under each that its techniques serve.
func (rs *Ruleset) Coverage() Coverage {
	type cell struct{ tactic, id string }
	cells := map[cell]*TechniqueCoverage{}
	rulesOf := map[string]map[string]bool{}
	var out Coverage
	for i, r := range rs.Rules() {
		out.Rules++
		if len(r.Techniques) == 0 {
			out.Untagged = append(out.Untagged, r.Rule)
		}
		named := Tactics(r.Tags)
		for _, t := range r.Techniques {
			serves := strings.Fields(techniques[t.ID].tactics)
			in := slices.DeleteFunc(slices.Clone(named), func(s string) bool { return !slices.Contains(serves, s) })
			if len(in) == 0 {
				in = []string{cmp.Or(t.Tactic, firstOf(serves))}
			}
			for _, tactic := range in {
				c := cells[cell{tactic, t.ID}]
				if c == nil {
					c = &TechniqueCoverage{Technique: t}
					c.Tactic, c.Old = tactic, cmp.Or(formerly[t.ID], t.Old)
					cells[cell{tactic, t.ID}] = c
				}
				c.Rules = append(c.Rules, r.Rule)
				if rulesOf[tactic] == nil {
					rulesOf[tactic] = map[string]bool{}
				}
				rulesOf[tactic][fmt.Sprint(i)] = true
			}
		}
	}
	columns := append(slices.Clone(tactics[:]), Tactic{})
	for _, tactic := range columns {
		col := TacticCoverage{Tactic: tactic, Rules: len(rulesOf[tactic.Short])}
		for at, c := range cells {
			if at.tactic == tactic.Short {
				slices.SortFunc(c.Rules, func(a, b Rule) int {
					return cmp.Or(cmp.Compare(b.Level, a.Level), strings.Compare(a.Title, b.Title), strings.Compare(a.ID, b.ID))
				})
				col.Techniques = append(col.Techniques, *c)
			}
		}
		if tactic.Short == "" && len(col.Techniques) == 0 {
			continue
		}
		slices.SortFunc(col.Techniques, func(a, b TechniqueCoverage) int { return strings.Compare(a.ID, b.ID) })
		out.Tactics = append(out.Tactics, col)
	}
	return out
}

func firstOf(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// layer is an ATT&CK Navigator layer, format 4.5.
type layer struct {
	Name        string           `json:"name"`
	Versions    layerVersions    `json:"versions"`
	Domain      string           `json:"domain"`
	Description string           `json:"description"`
	Sorting     int              `json:"sorting"` // 3: by descending score
	HideDisable bool             `json:"hideDisabled"`
	Techniques  []layerTechnique `json:"techniques"`
	Gradient    layerGradient    `json:"gradient"`
}

type layerVersions struct {
	Attack    string `json:"attack"`
	Navigator string `json:"navigator"`
	Layer     string `json:"layer"`
}

type layerTechnique struct {
	ID       string       `json:"techniqueID"`
	Tactic   string       `json:"tactic,omitempty"`
	Score    int          `json:"score"` // number of rules
	Comment  string       `json:"comment"`
	Enabled  bool         `json:"enabled"`
	Metadata []layerValue `json:"metadata"`
	ShowSubs bool         `json:"showSubtechniques"`
}

type layerValue struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type layerGradient struct {
	Colors []string `json:"colors"`
	Min    int      `json:"minValue"`
	Max    int      `json:"maxValue"`
}

// Navigator gives the coverage as an ATT&CK Navigator layer (format 4.5): the score of a technique is its number of rules, its
// comment their titles. With old set, techniques and tactics carry the numbers of ATT&CK 18, for Navigators that do not
// know 19.
func (c Coverage) Navigator(name string, old bool) ([]byte, error) {
	l := layer{Name: name, Domain: "enterprise-attack", Sorting: 3, Versions: layerVersions{AttackVersion, "5.1.0", "4.5"},
		Description: fmt.Sprintf("%d rules over CloudTrail events", c.Rules), Gradient: layerGradient{Colors: []string{"#dbe9f6", "#2171b5"}, Max: 1},
		Techniques: []layerTechnique{}}
	if old {
		l.Versions.Attack = "18"
	}
	at := map[[2]string]int{}
	for _, col := range c.Tactics {
		for _, t := range col.Techniques {
			id, tactic := t.ID, col.Tactic.Short
			if old {
				id = cmp.Or(t.Old, t.ID)
				if tactic == "stealth" || tactic == "defense-impairment" {
					tactic = oldEvasion
				}
			}
			var titles []string
			for _, r := range t.Rules {
				titles = append(titles, r.Title)
			}
			l.Gradient.Max = max(l.Gradient.Max, len(t.Rules))
			one := layerTechnique{ID: id, Tactic: tactic, Score: len(t.Rules), Comment: strings.Join(titles, "\n"), Enabled: true,
				Metadata: []layerValue{}, ShowSubs: strings.Contains(id, ".")}
			if t.Old != "" && !old {
				one.Metadata = append(one.Metadata, layerValue{"before ATT&CK 19", t.Old})
			}
			if i, ok := at[[2]string{id, tactic}]; ok { // two techniques that were one
				l.Techniques[i].Score += one.Score
				l.Techniques[i].Comment += "\n" + one.Comment
				continue
			}
			at[[2]string{id, tactic}] = len(l.Techniques)
			l.Techniques = append(l.Techniques, one)
		}
	}
	out, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write a Navigator layer: %w", err)
	}
	return append(out, '\n'), nil
}
