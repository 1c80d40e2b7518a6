package docs_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// maxLine is the widest line of prose, in characters.
const maxLine = 120

// TestLinks checks that links between pages lead to a file, that code in pages names files, folders and tests that are there,
// that pages named in Go comments are there, and that lines are not too wide. Tables and blocks of code may be.
func TestLinks(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	code := regexp.MustCompile("`([^`\n]+)`")
	place := regexp.MustCompile(`^(?:cmd|docs|internal|rules|test)(?:/[\w.-]+)+/?$`)
	test := regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w*`)
	tests := testNames(t)
	links, names := 0, 0
	for _, page := range pages(t) {
		fenced := false
		n := 0
		for line := range strings.Lines(readPage(t, page)) {
			n++
			line = strings.TrimRight(line, "\n")
			if strings.HasPrefix(line, "```") {
				fenced = !fenced
				continue
			}
			if fenced {
				continue
			}
			if w := utf8.RuneCountInString(line); w > maxLine && !strings.HasPrefix(line, "|") && page != "rules/README.md" {
				t.Errorf("%s:%d: %d characters wide, more than %d", page, n, w, maxLine)
			}
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				to, _, _ := strings.Cut(m[1], "#")
				if to == "" || strings.Contains(to, "://") {
					continue
				}
				links++
				if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(path.Join(path.Dir(page), to)))); err != nil {
					t.Errorf("%s:%d: the link leads nowhere: %s", page, n, m[1])
				}
			}
			for _, m := range code.FindAllStringSubmatch(line, -1) {
				if !place.MatchString(m[1]) || strings.Contains(m[1], "/FOLDER/") {
					continue
				}
				names++
				if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(m[1]))); err != nil {
					t.Errorf("%s:%d: there is no %s", page, n, m[1])
				}
			}
			for _, name := range test.FindAllString(line, -1) {
				names++
				if !tests[name] {
					t.Errorf("%s:%d: there is no test %s", page, n, name)
				}
			}
		}
	}
	if links < 50 || names < 80 {
		t.Errorf("only %d links and %d names found", links, names)
	}

	page := regexp.MustCompile(`\b(?:docs/[\w/-]+|CONTRIBUTING)\.md\b`)
	walkGo(t, func(file string) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
			return
		}
		for _, name := range page.FindAllString(string(text), -1) {
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(name))); err != nil {
				t.Errorf("%s names %s, which is not there", file, name)
			}
		}
	})
}

// testNames gives the names of all test functions of the repository.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	fset := token.NewFileSet()
	walkGo(t, func(file string) {
		if !strings.HasSuffix(file, "_test.go") {
			return
		}
		f, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			return
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				out[fn.Name.Name] = true
			}
		}
	})
	return out
}

// TestArchitecture checks that docs/architecture.md has a line for every package.
func TestArchitecture(t *testing.T) {
	t.Parallel()
	text := readPage(t, "docs/architecture.md")
	packages := 0
	for _, top := range []string{"cmd", "internal", "rules", "test"} {
		seen := map[string]bool{}
		err := filepath.WalkDir(filepath.Join(root, top), func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") {
				return err
			}
			dir, err := filepath.Rel(root, filepath.Dir(file))
			if err != nil || seen[dir] || byProgram(t, file) {
				return err
			}
			seen[dir] = true
			packages++
			if !strings.Contains(text, "\n| `"+filepath.ToSlash(dir)+"` | ") {
				t.Errorf("docs/architecture.md has no line for %s", dir)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if packages < 20 {
		t.Errorf("only %d packages found", packages)
	}
}

// byProgram tells files that a program wrote: their package is described with the program.
func byProgram(t *testing.T, file string) bool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.HasPrefix(text, []byte("// Code generated "))
}
