// Package arch keeps the house in order: which package may import which, and what none may do. The tables
// below are the rules.
package arch

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// module is what the import paths of the project begin with.
const module = "spoor"

// skipDirs hold nothing of ours, or what is made from it.
var skipDirs = []string{".git", "bin", "out", "spoor-data", "testdata", "vendor"}

// pkg is the Go code of one folder.
type pkg struct {
	dir     string // below the module, "." for its root
	doc     string // its package comment
	name    string
	imports map[string]bool // packages of ours, by folder, that its code imports
	tests   map[string]bool // and those that only its tests import
	files   []file
}

type file struct {
	name string
	test bool
	ast  *ast.File
}

// load reads all Go code below fsys, whatever its build constraints.
func load(fsys fs.FS) ([]*pkg, *token.FileSet, error) {
	byDir := map[string]*pkg{}
	fset := token.NewFileSet()
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains(skipDirs, d.Name()) || strings.HasPrefix(d.Name(), ".") && name != "." {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		src, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		tree, err := parser.ParseFile(fset, name, src, parser.ParseComments)
		if err != nil {
			return fmt.Errorf("parse %s: %w", name, err)
		}
		dir := path.Dir(name)
		p := byDir[dir]
		if p == nil {
			p = &pkg{dir: dir, imports: map[string]bool{}, tests: map[string]bool{}}
			byDir[dir] = p
		}
		f := file{name: name, test: strings.HasSuffix(name, "_test.go"), ast: tree}
		p.files = append(p.files, f)
		if !f.test || p.name == "" {
			p.name = tree.Name.Name
		}
		if tree.Doc != nil {
			p.doc = tree.Doc.Text()
		}
		for _, imp := range tree.Imports {
			to, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if to == module {
				to = module + "/."
			}
			if ours, ok := strings.CutPrefix(to, module+"/"); ok {
				if f.test {
					p.tests[ours] = true
				} else {
					p.imports[ours] = true
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return slices.SortedFunc(maps.Values(byDir), func(a, b *pkg) int { return strings.Compare(a.dir, b.dir) }), fset, nil
}

// only says what the packages below a folder may import of ours; more is wrong. What is not named here may import whatever
// no other rule forbids.
var only = map[string][]string{
	"internal/event":         {"internal/inflate"},
	"internal/inflate":       {},
	"internal/safetext":      {},
	"internal/sample":        {},
	"internal/match":         {"internal/event"},
	"internal/dedup":         {"internal/event"},
	"internal/detect/window": {},
	"internal/source":        {},
	"internal/source/live":   liveSource,
	"internal/source/sqs":    liveSource,
	"internal/source/poll":   liveSource,
	"internal/source/watch":  liveSource,
	"internal/source/push":   liveSource,
	"internal/ledger":        {"internal/source"},
	"internal/config":        {"internal/seal"},
	"internal/durable":       {},
	"internal/policy":        {},
	"internal/seal":          {"internal/durable"},
	"internal/iam":           {"internal/durable", "internal/policy", "internal/seal"},
	"internal/trail/digest":  {},
	"rules":                  {},
	"cmd":                    {"internal/cli"},
}

// liveSource is what sources of a running service use beside the others: they hand records to the journal.
var liveSource = []string{"internal/durable", "internal/event", "internal/intake", "internal/journal", "internal/ledger", "internal/source"}

// fronts call domain packages, and nobody calls them but what is named.
var fronts = map[string][]string{
	"internal/cli":     {"cmd"},
	"internal/app":     {"cmd", "internal/cli"},
	"internal/awsapi":  {"internal/app", "internal/gateway", "internal/cli"}, // spoor record is a front of its own
	"internal/gateway": {"internal/awsapi", "internal/cli", "test"},
	"internal/console": {"internal/app"},
	"cmd":              {},
	"test":             {"test"},
	// What tests of several packages share is for tests alone.
	"internal/awsapi/awsapitest":           {},
	"internal/trail/validate/validatetest": {"test"},
	"internal/source/sourcetest":           {},
	"internal/source/live/livetest":        {"test"},
}

// followers read the journal, each with its own cursor. They never import one another: they meet in event and alert.
var followers = []string{"internal/store", "internal/trail", "internal/detect", "internal/insight", "internal/loggroup", "internal/eventbus"}

// below reports whether dir is root or lies in it.
func below(dir, root string) bool { return dir == root || strings.HasPrefix(dir, root+"/") }

func belowAny(dir string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return below(dir, root) })
}

// nearest says whether no other folder named by only lies between root and dir.
func nearest(dir, root string) bool {
	for other := range only {
		if below(dir, other) && below(other, root) && other != root {
			return false
		}
	}
	return true
}

// direction checks the imports.
func direction(pkgs []*pkg) []string {
	var wrong []string
	for _, p := range pkgs {
		for _, to := range slices.Sorted(maps.Keys(p.imports)) {
			for _, root := range slices.Sorted(maps.Keys(only)) {
				if below(p.dir, root) && nearest(p.dir, root) && !below(to, root) && !belowAny(to, only[root]) {
					wrong = append(wrong, fmt.Sprintf("%s imports %s; below %s only %q may be imported", p.dir, to, root, only[root]))
				}
			}
			for _, front := range slices.Sorted(maps.Keys(fronts)) {
				if below(to, front) && !below(p.dir, front) && !belowAny(p.dir, fronts[front]) {
					wrong = append(wrong, fmt.Sprintf("%s imports %s, which only %q may", p.dir, to, fronts[front]))
				}
			}
			for _, f := range followers {
				for _, g := range followers {
					if f != g && below(p.dir, f) && below(to, g) {
						wrong = append(wrong, fmt.Sprintf("%s imports %s: both follow the journal", p.dir, to))
					}
				}
			}
		}
		for _, to := range slices.Sorted(maps.Keys(p.tests)) {
			if below(to, "test") && !below(p.dir, "test") {
				wrong = append(wrong, fmt.Sprintf("the tests of %s import %s", p.dir, to))
			}
		}
	}
	return wrong
}

// comments checks that every package says what it is.
func comments(pkgs []*pkg) []string {
	var wrong []string
	for _, p := range pkgs {
		want := "Package " + p.name + " "
		if p.name == "main" {
			want = "Command " + path.Base(p.dir) + " "
		}
		if !strings.HasPrefix(p.doc, want) {
			wrong = append(wrong, fmt.Sprintf("%s: the package comment begins with %.30q, not with %q", p.dir, p.doc, want))
		}
	}
	return wrong
}

// state checks that nothing runs before main and that no variable of a package is changed: there are no init functions, and
// code outside tests assigns to no package-level variable, its elements or its fields. A change through a pointer or a
// method is not seen.
func state(pkgs []*pkg, fset *token.FileSet) []string {
	var wrong []string
	for _, p := range pkgs {
		var code []*ast.File
		for _, f := range p.files {
			for _, decl := range f.ast.Decls {
				if d, ok := decl.(*ast.FuncDecl); ok && d.Name.Name == "init" && d.Recv == nil {
					wrong = append(wrong, fmt.Sprintf("%s: init function", fset.Position(d.Pos())))
				}
			}
			if !f.test {
				code = append(code, f.ast)
			}
		}
		if len(code) == 0 {
			continue
		}
		// Names are to be resolved within the package alone: what its imports mean, and mistakes, do not matter.
		info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
		conf := types.Config{Importer: nothing{}, Error: func(error) {}}
		checked, _ := conf.Check(p.dir, fset, code, info) // errors went to Error
		changed := func(target ast.Expr) {
			id := root(target)
			if id == nil {
				return
			}
			if v, ok := info.Uses[id].(*types.Var); ok && v.Parent() == checked.Scope() {
				wrong = append(wrong, fmt.Sprintf("%s: changes the package-level variable %s", fset.Position(id.Pos()), id.Name))
			}
		}
		for _, f := range code {
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.AssignStmt:
					for _, target := range n.Lhs {
						changed(target)
					}
				case *ast.IncDecStmt:
					changed(n.X)
				case *ast.RangeStmt:
					changed(n.Key)
					changed(n.Value)
				case *ast.CallExpr:
					if id, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && (id.Name == "delete" || id.Name == "clear" || id.Name == "copy") {
						changed(n.Args[0])
					}
				}
				return true
			})
		}
	}
	return wrong
}

// nothing imports no package.
type nothing struct{}

// Import implements [types.Importer].
func (nothing) Import(string) (*types.Package, error) { return nil, errors.New("not imported") }

// root returns the variable that an expression such as x, x.f, x[i], *x or (x) is a part of.
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.SelectorExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}
