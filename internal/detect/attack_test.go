package detect

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"spoor/rules"
)

func TestTechniques(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tags string
		want []Technique
	}{
		{"attack.defense-impairment attack.t1685.002", []Technique{{"T1685.002", "T1562.008", "Disable or Modify Cloud Log", "defense-impairment"}}},
		{"attack.defense_evasion attack.t1562.008", []Technique{{"T1685.002", "T1562.008", "Disable or Modify Cloud Log", "defense-impairment"}}},
		{"attack.t1562.001 attack.t1685", []Technique{{"T1685", "T1562.001", "Disable or Modify Tools", ""}}},
		{"attack.defense-evasion attack.t1562.007 attack.t1562.004", []Technique{{"T1686.001", "T1562.007", "Cloud Firewall", "defense-impairment"}, {"T1686", "T1562.004", "Disable or Modify System Firewall", "defense-impairment"}}},
		{"attack.defense-evasion attack.t1535", []Technique{{"T1535", "", "Unused/Unsupported Cloud Regions", "stealth"}}},
		{"attack.exfiltration attack.persistence attack.T1136.003", []Technique{{"T1136.003", "", "Cloud Account", "persistence"}}},
		{"attack.impact attack.t1136", []Technique{{"T1136", "", "Create Account", "impact"}}},
		{"attack.t9999 attack.g0001 attack.s0002 cve.2021-1", []Technique{{"T9999", "", "", ""}}},
		{"", nil},
	} {
		if got := Techniques(strings.Fields(c.tags)); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.tags, got, c.want)
		}
	}
}

func TestAttackTable(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, tactic := range tactics {
		known[tactic.Short] = true
	}
	form := regexp.MustCompile(`^T[0-9]{4}(\.[0-9]{3})?$`)
	for id, info := range techniques {
		if !form.MatchString(id) || info.name == "" || info.tactics == "" {
			t.Errorf("%s: %+v", id, info)
		}
		for _, tactic := range strings.Fields(info.tactics) {
			if !known[tactic] {
				t.Errorf("%s: no tactic %q", id, tactic)
			}
		}
		if parent, _, sub := strings.Cut(id, "."); sub && techniques[parent].name == "" {
			t.Errorf("%s: its parent is not in the table", id)
		}
		if renumbered[id] != "" {
			t.Errorf("%s is a number that is gone", id)
		}
	}
	for old, now := range renumbered {
		if techniques[now].name == "" {
			t.Errorf("%s became %s, which is not in the table", old, now)
		}
	}
	for now, old := range formerly {
		if renumbered[old] != now {
			t.Errorf("%s was %s, which became %q", now, old, renumbered[old])
		}
	}
}

// Every technique that the pack and the published rules name is known, and so is every tactic.
func TestTagsAreKnown(t *testing.T) {
	t.Parallel()
	sources := []Source{{Name: "spoor", FS: rules.FS}}
	if dir := shared(t, "rules/sigma"); dir != "" {
		sources = append(sources, Source{Path: dir + "/rules"}, Source{Path: dir + "/unsupported"})
	}
	rs := mustLoad(t, Options{Sources: sources, EnableDeprecated: true})
	for _, r := range rs.Rules() {
		for _, tech := range r.Techniques {
			if tech.Name == "" {
				t.Errorf("%s: %s has no name", r.File, tech.ID)
			}
		}
		for _, tag := range r.Tags {
			short, ok := strings.CutPrefix(tag, "attack.")
			if ok && !techniqueTag.MatchString(tag) && len(Tactics([]string{tag})) == 0 {
				t.Errorf("%s: unknown tactic %q", r.File, short)
			}
		}
	}
}

func TestCoverage(t *testing.T) {
	t.Parallel()
	rs := rulesOf(t, rule("New", "A", "tags: [attack.defense-impairment, attack.t1685.002]")+rule("Old", "B", "tags: [attack.defense-evasion, attack.t1562.008]")+
		strings.Replace(rule("Two", "C", "tags: [attack.persistence, attack.privilege-escalation, attack.t1098]"), "medium", "high", 1)+rule("None", "D")+
		rule("Odd", "E", "tags: [attack.t1110]")+rule("Off", "F", "tags: [attack.t1110]", "status: deprecated"))
	c := rs.Coverage()
	var got []string
	for _, col := range c.Tactics {
		for _, tech := range col.Techniques {
			var titles []string
			for _, r := range tech.Rules {
				titles = append(titles, r.Title)
			}
			got = append(got, col.Tactic.ID+" "+tech.ID+" "+tech.Old+" "+strings.Join(titles, ","))
		}
	}
	want := []string{"TA0003 T1098  Two", "TA0004 T1098  Two", "TA0112 T1685.002 T1562.008 New,Old", "TA0006 T1110  Odd"}
	if !slices.Equal(got, want) || len(c.Tactics) != len(tactics) || c.Rules != 5 || len(c.Untagged) != 1 || c.Untagged[0].Title != "None" {
		t.Errorf("%q, %d columns, %d rules, untagged %d", got, len(c.Tactics), c.Rules, len(c.Untagged))
	}
	for _, old := range []bool{false, true} {
		text, err := c.Navigator("mine", old)
		if err != nil {
			t.Fatal(err)
		}
		var l struct {
			Versions   map[string]string
			Domain     string
			Techniques []struct {
				ID     string `json:"techniqueID"`
				Tactic string
				Score  int
			}
		}
		if err := json.Unmarshal(text, &l); err != nil {
			t.Fatal(err)
		}
		id, tactic, version := "T1685.002", "defense-impairment", "19"
		if old {
			id, tactic, version = "T1562.008", "defense-evasion", "18"
		}
		if l.Versions["layer"] != "4.5" || l.Versions["attack"] != version || l.Domain != "enterprise-attack" || len(l.Techniques) != 4 ||
			l.Techniques[2].ID != id || l.Techniques[2].Tactic != tactic || l.Techniques[2].Score != 2 {
			t.Errorf("old %v: %s", old, text)
		}
	}
}

// Five chains, each of several kinds of rules, fire and stay quiet as their cases say.
func TestChains(t *testing.T) {
	t.Parallel()
	results, err := RunTests(t.Context(), os.DirFS("testdata/chains"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 17 {
		t.Errorf("%d results", len(results))
	}
	for _, r := range results {
		if !r.OK {
			t.Error(r)
		}
	}
}
