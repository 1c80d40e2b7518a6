package docs_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"spoor/internal/cli"
	"spoor/internal/event"
	"spoor/internal/hunt"
	"spoor/internal/ledger"
	"spoor/internal/report"
	"spoor/internal/sample"
)

// documented checks that a page names every member that JSON of a value of this type can have, but for what is elsewhere.
func documented(t *testing.T, page string, v any, elsewhere ...reflect.Type) {
	t.Helper()
	text := readPage(t, page)
	named := map[string]bool{}
	for _, m := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(text, -1) {
		for _, word := range regexp.MustCompile(`\w+`).FindAllString(m[1], -1) {
			named[word] = true
		}
	}
	members := map[string]bool{}
	seen := map[reflect.Type]bool{}
	for _, typ := range elsewhere {
		seen[typ] = true
	}
	jsonMembers(reflect.TypeOf(v), members, seen)
	if len(members) < 5 {
		t.Fatalf("%T has only %d members", v, len(members))
	}
	for name := range members {
		if !named[name] {
			t.Errorf("%s does not name %q of %T", page, name, v)
		}
	}
}

func jsonMembers(typ reflect.Type, out map[string]bool, seen map[reflect.Type]bool) {
	switch typ.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Array:
		jsonMembers(typ.Elem(), out, seen)
		return
	case reflect.Struct:
	default:
		return
	}
	if seen[typ] || typ == reflect.TypeFor[time.Time]() || typ.Implements(reflect.TypeFor[json.Marshaler]()) {
		return
	}
	seen[typ] = true
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		if !f.Anonymous || name != "" {
			if name == "" {
				name = f.Name
			}
			out[name] = true
		}
		jsonMembers(f.Type, out, seen)
	}
}

// TestFormatsNameMembers checks that the pages on formats name every member of the JSON and every column of the CSV.
func TestFormatsNameMembers(t *testing.T) {
	t.Parallel()
	documented(t, "docs/formats/findings.md", hunt.Result{}, reflect.TypeFor[ledger.Report](), reflect.TypeFor[event.Actor]())
	documented(t, "docs/formats/ledger.md", ledger.Report{})
	documented(t, "docs/formats/sample.md", sample.Truth{})
	documented(t, "docs/formats/actor.md", event.Actor{})

	page := readPage(t, "docs/formats/findings.md")
	columns := func(write func(*bytes.Buffer) error) {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		head, err := csv.NewReader(&b).Read()
		if err != nil || len(head) < 10 {
			t.Fatalf("%v, columns %q", err, head)
		}
		for _, c := range head {
			if !strings.Contains(page, "`"+c+"`") {
				t.Errorf("docs/formats/findings.md does not name the column %s", c)
			}
		}
	}
	columns(func(b *bytes.Buffer) error { return report.Write(b, "csv", &hunt.Result{}, report.Options{}) })
	columns(func(b *bytes.Buffer) error { return report.Timeline(b, "csv", nil, report.Options{}) })
	for _, f := range report.Formats {
		for _, p := range []string{"README.md", "docs/formats/report.md"} {
			if !strings.Contains(readPage(t, p), "`"+f+"`") {
				t.Errorf("%s does not name the format %s", p, f)
			}
		}
	}
}

// TestActorKinds checks that docs/formats/actor.md has a row for every kind of actor.
func TestActorKinds(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "internal", "event", "actor.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	text := readPage(t, "docs/formats/actor.md")
	kinds := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if typ, ok := spec.Type.(*ast.Ident); !ok || typ.Name != "ActorKind" {
			return true
		}
		kind, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		kinds++
		if !strings.Contains(text, "\n| `"+kind+"` | ") {
			t.Errorf("docs/formats/actor.md has no row for the kind %s", kind)
		}
		return true
	})
	if kinds < 10 {
		t.Errorf("only %d kinds found", kinds)
	}
}

// TestExitCodes checks the table of exit codes in the README against the program's.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	text := readPage(t, "README.md")
	for code, words := range map[int]string{
		cli.ExitClean: "clean", cli.ExitFindings: "findings", cli.ExitUsage: "usage", cli.ExitIncomplete: "incomplete", cli.ExitFailure: "failure",
	} {
		if !regexp.MustCompile(fmt.Sprintf(`(?m)^\| %d \| .*%s`, code, words)).MatchString(text) {
			t.Errorf("the README's table has no row for exit code %d with %q", code, words)
		}
	}
}

// TestFlags checks that every flag that a page names is one of the program's.
func TestFlags(t *testing.T) {
	t.Parallel()
	known := map[string]bool{"update": true}
	for _, others := range []string{"data-binary", "retry", "retry-delay", "retry-all-errors", "bind", "port"} { // of curl, mount, versitygw
		known[others] = true
	}
	var add func(args ...string)
	add = func(args ...string) {
		var out bytes.Buffer
		if code := cli.Run(t.Context(), append(args, "--help"), strings.NewReader(""), &out, &out); code != 0 {
			t.Fatalf("%q --help ends with %d", args, code)
		}
		for _, m := range regexp.MustCompile(`(?m)^\s+(?:-\w, )?--([\w-]+)`).FindAllStringSubmatch(out.String(), -1) {
			known[m[1]] = true
		}
		_, commands, _ := strings.Cut(out.String(), "\nAvailable Commands:\n")
		commands, _, _ = strings.Cut(commands, "\n\n")
		for _, m := range regexp.MustCompile(`(?m)^  ([a-z][\w-]*) `).FindAllStringSubmatch(commands, -1) {
			if m[1] != "help" && m[1] != "completion" {
				add(append(slices.Clone(args), m[1])...)
			}
		}
	}
	add()
	// Lines of commands of AWS's CLI and of curl name flags of theirs.
	others := regexp.MustCompile(`(?m)^.*(?:^|[$|(\s])(?:aws|curl) .*$`)
	named := 0
	for _, page := range pages(t) {
		for _, m := range regexp.MustCompile("(?:^|[\\s`(])--([a-z][\\w-]+)").FindAllStringSubmatch(others.ReplaceAllString(strings.ReplaceAll(readPage(t, page), "\\\n", " "), ""), -1) {
			named++
			if !known[m[1]] {
				t.Errorf("%s: the program has no flag --%s", page, m[1])
			}
		}
	}
	if named < 80 || len(known) < 30 {
		t.Errorf("only %d flags named, %d known", named, len(known))
	}
}
