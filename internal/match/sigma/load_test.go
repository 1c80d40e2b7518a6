package sigma

import (
	"os"
	"path/filepath"
	"testing"
)

// shared is the folder of data beside the project, or skips the test.
func shared(t testing.TB, path string) string {
	t.Helper()
	if dir := os.Getenv("SPOOR_SHARED"); dir != "" {
		return filepath.Join(dir, path)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		at := filepath.Join(dir, "shared")
		if _, err := os.Stat(filepath.Join(at, "DESIGN.md")); err == nil {
			return filepath.Join(at, path)
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Skip("no folder shared/ with DESIGN.md above the test; set SPOOR_SHARED")
		}
		dir = up
	}
}

func TestLoadShared(t *testing.T) {
	t.Parallel()
	var docs Documents
	files, err := filepath.Glob(shared(t, "rules/sigma/*/*.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		d, problems := Parse(filepath.Base(f), data, Options{})
		docs.Append(d)
		for _, p := range problems {
			t.Logf("%s doc %d %q fatal=%v: %s", p.File, p.Doc, p.Title, p.Fatal, p.Reason)
		}
	}
	t.Logf("%d rules, %d correlations", len(docs.Rules), len(docs.Correlations))
}
