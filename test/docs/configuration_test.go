package docs_test

import (
	"fmt"
	"strings"
	"testing"

	"spoor/internal/config"
	"spoor/internal/iam"
)

// generatedPart holds the part of a page that is marked with a name against what the code gives, or rewrites it.
func generatedPart(t *testing.T, page, name, want string) {
	t.Helper()
	begin, end := "<!-- "+name+": written by go test ./test/docs -update -->\n", "<!-- end of "+name+" -->\n"
	before, rest, ok := strings.Cut(readPage(t, page), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place marked %q", page, name)
	}
	generated(t, page, before+begin+"\n"+want+"\n"+end+after)
}

// TestConfiguration keeps the tables of docs/configuration.md equal to the table of settings.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	value := func(s config.Setting) string {
		switch {
		case s.Need:
			return "must be set"
		case s.Default != "":
			return "`" + s.Default + "`"
		}
		return ""
	}
	var b strings.Builder
	b.WriteString("| setting | values | default | flag | what it is |\n|---|---|---|---|---|\n")
	for _, s := range config.Settings() {
		flag, doc := "", cell(s.Doc)
		if s.Flag != "" {
			flag = "`--" + s.Flag + "`"
		}
		if s.Live {
			doc += " (*live*)"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", s.Key, cell(s.Kind), value(s), flag, doc)
	}
	generatedPart(t, "docs/configuration.md", "settings", b.String())
	b.Reset()
	b.WriteString("| setting | types | values | default | what it is |\n|---|---|---|---|---|\n")
	for _, s := range config.SourceSettings() {
		types := "all"
		if s.For != nil {
			types = strings.Join(s.For, ", ")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", s.Key, types, cell(s.Kind), value(s), cell(s.Doc))
	}
	generatedPart(t, "docs/configuration.md", "sources", b.String())
}

// TestAccess keeps the table of actions in docs/formats/iam.md equal to what the policies decide.
func TestAccess(t *testing.T) {
	t.Parallel()
	s, err := iam.Open(t.Context(), t.TempDir(), iam.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	names := []string{iam.RootName}
	for _, r := range iam.Roles() {
		if _, err := s.CreateUser("user-"+string(r.Role), []iam.Role{r.Role}, ""); err != nil {
			t.Fatal(err)
		}
		names = append(names, "user-"+string(r.Role))
	}
	var b strings.Builder
	b.WriteString("| action | group | on | root | admin | analyst | auditor | recorder | storage | what it is |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, a := range iam.Actions() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |", a.Action, a.Group, a.On)
		for _, name := range names {
			d, err := s.Would(name, iam.Caller{}, a.Action, iam.Resource{Type: a.On, ID: "another"})
			if err != nil {
				t.Fatal(err)
			}
			mark := ""
			if d.Allowed {
				mark = "yes"
			}
			fmt.Fprintf(&b, " %s |", mark)
		}
		fmt.Fprintf(&b, " %s |\n", cell(a.Doc))
	}
	generatedPart(t, "docs/formats/iam.md", "actions", b.String())
}
