// Package docs_test keeps the documentation true: every command of a console block is run with the real program, shown
// outputs are compared, generated pages and tables are held against the code, and links must lead somewhere.
//
//	go test ./test/docs            checks
//	go test ./test/docs -update    rewrites generated pages and shown outputs
package docs_test

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "rewrite generated pages and shown outputs")

// root is the repository: absolute, because the bucket store moves the process to another folder. workspace holds what
// all tests share. TestMain sets both, and removes the workspace.
var root, workspace string

func TestMain(m *testing.M) {
	flag.Parse()
	var err error
	if root, err = filepath.Abs("../.."); err == nil {
		workspace, err = os.MkdirTemp("", "spoor-docs-")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := stopGateway(); err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		code = 1
	}
	if err := os.RemoveAll(workspace); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// program builds the program once and returns the folder that holds it.
var program = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(workspace, "bin")
	cmd := exec.Command("go", "build", "-ldflags", "-X spoor/internal/cli.version=0.1.0", "-o", filepath.Join(dir, "spoor"), "./cmd/spoor")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return dir, nil
})

// pages lists the Markdown files of the repository, with slashes and without the root.
func pages(t *testing.T) []string {
	t.Helper()
	var out []string
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == "out" || name == "bin" || d.Name() == "testdata" || name != "." && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(name, ".md"):
			out = append(out, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(out, "README.md") || len(out) < 5 {
		t.Fatalf("only %d pages found: %q", len(out), out)
	}
	return out
}

func readPage(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func writePage(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// generated holds a page against what the code gives, or rewrites it.
func generated(t *testing.T, name, want string) {
	t.Helper()
	if *update {
		writePage(t, name, want)
		return
	}
	got, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatalf("%v; write it with: go test ./test/docs -update", err)
	}
	if string(got) == want {
		return
	}
	have, need := strings.Split(string(got), "\n"), strings.Split(want, "\n")
	for i := range max(len(have), len(need)) {
		var h, n string
		if i < len(have) {
			h = have[i]
		}
		if i < len(need) {
			n = need[i]
		}
		if h != n {
			t.Fatalf("%s is out of date from line %d on; rewrite it with: go test ./test/docs -update\nit says  %s\ncode says %s", name, i+1, h, n)
		}
	}
}
