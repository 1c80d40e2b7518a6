package docs_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestDependencies keeps docs/dependencies.md complete: every module that the code imports, and every tool, has a line with a
// reason and a licence, and every line has such a module.
func TestDependencies(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	var modules, wanted []string
	for _, m := range regexp.MustCompile(`(?m)^\s*(?:require )?([a-z0-9.-]+\.[a-z]+/\S+) v\S+`).FindAllStringSubmatch(string(mod), -1) {
		modules = append(modules, m[1])
	}
	module := func(path string) string {
		best := ""
		for _, m := range modules {
			if (path == m || strings.HasPrefix(path, m+"/")) && len(m) > len(best) {
				best = m
			}
		}
		return best
	}
	for _, m := range regexp.MustCompile(`(?m)^tool (\S+)`).FindAllStringSubmatch(string(mod), -1) {
		wanted = append(wanted, module(m[1]))
	}
	for path := range imports(t) {
		if !strings.Contains(strings.Split(path, "/")[0], ".") || path == "spoor" || strings.HasPrefix(path, "spoor/") {
			continue
		}
		m := module(path)
		if m == "" {
			t.Errorf("no module of go.mod has the imported package %s", path)
			continue
		}
		wanted = append(wanted, m)
	}
	slices.Sort(wanted)
	wanted = slices.Compact(wanted)
	if len(wanted) < 10 {
		t.Fatalf("only %d modules found: %q", len(wanted), wanted)
	}

	listed := map[string]bool{}
	for line := range strings.Lines(readPage(t, "docs/dependencies.md")) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 5 || strings.HasPrefix(cells[1], "---") || strings.TrimSpace(cells[1]) == "module" {
			continue
		}
		if strings.TrimSpace(cells[2]) == "" || strings.TrimSpace(cells[3]) == "" {
			t.Errorf("docs/dependencies.md: %s has no reason or no licence", strings.TrimSpace(cells[1]))
		}
		for _, name := range regexp.MustCompile(`[a-z0-9.-]+\.[a-z]+/[\w./-]+`).FindAllString(cells[1], -1) {
			if m := module(name); m == "" {
				t.Errorf("docs/dependencies.md: %s is no module of go.mod", name)
			} else {
				listed[m] = true
			}
		}
	}
	for _, m := range wanted {
		if !listed[m] {
			t.Errorf("docs/dependencies.md has no line for %s", m)
		}
	}
	for _, m := range slices.Sorted(maps.Keys(listed)) {
		if !slices.Contains(wanted, m) {
			t.Errorf("docs/dependencies.md: nothing imports %s", m)
		}
	}
}

// imports gives every import of the repository's Go files.
func imports(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	fset := token.NewFileSet()
	walkGo(t, func(path string) {
		file, err := parser.ParseFile(fset, path, nil, parser.ImportsOnly)
		if err != nil {
			t.Error(err)
			return
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Error(err)
			}
			out[name] = true
		}
	})
	return out
}

// walkGo calls fn with every Go file of the repository.
func walkGo(t *testing.T, fn func(path string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "out" || d.Name() == "bin"):
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(path, ".go"):
			fn(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
