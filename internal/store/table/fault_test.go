package table

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("SPOOR_TABLE_VICTIM"); dir != "" {
		if err := victim(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// faultAt lets the n-th operation fail, and all after it if they are of the kind that needs space.
type faultAt struct {
	at, seen atomic.Int64
	err      error
	mu       sync.Mutex
	ops      []string // the names of the operations, while at is 0
}

func (f *faultAt) fault(op, _ string) error {
	n := f.seen.Add(1)
	at := f.at.Load()
	if at == 0 {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.ops = append(f.ops, op)
		return nil
	}
	full := op == "create" || op == "write" || op == "sync" || op == "syncdir" || op == "link" || op == "rename"
	if n == at || (n > at && full) {
		return f.err
	}
	return nil
}

// TestFullDisk runs out of space at every single operation of every kind of commit. The table always opens, is what it was
// before or what it was to become, the commit's answer tells which, and works again as soon as there is space.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	type step struct {
		name string
		run  func(t *testing.T, tbl *Table, files []string) error
	}
	steps := []step{
		{"append", func(t *testing.T, tbl *Table, files []string) error {
			return tbl.Append(t.Context(), files[2:], Props{"spoor.seq": "2"})
		}},
		{"replace", func(t *testing.T, tbl *Table, files []string) error {
			return tbl.Replace(t.Context(), files[:1], files[2:], Props{"spoor.seq": "2"})
		}},
		{"drop", func(t *testing.T, tbl *Table, files []string) error {
			return tbl.Drop(t.Context(), files[:1], Props{"spoor.seq": "2"})
		}},
		{"properties", func(t *testing.T, tbl *Table, _ []string) error {
			return tbl.Append(t.Context(), nil, Props{"spoor.seq": "2"})
		}},
		{"tag", func(t *testing.T, tbl *Table, _ []string) error { return tbl.Tag(t.Context(), "hold") }},
		{"expire", func(t *testing.T, tbl *Table, _ []string) error {
			_, err := tbl.Expire(t.Context(), -time.Hour, nil)
			return err
		}},
	}
	// view is what a reader sees.
	view := func(t *testing.T, dir string) string {
		t.Helper()
		reader, err := Open(t.Context(), dir, Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		p := mustPlan(t, reader, Filter{})
		for _, f := range p.Files {
			if info, err := os.Stat(f.Path); err != nil || info.Size() != f.Bytes {
				t.Errorf("a planned file: %v", err)
			}
		}
		tags, err := reader.Tags(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all, err := reader.Files(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(names(p.Files), p.Props, tags, names(all))
	}
	for _, s := range steps {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			// once runs the step with a fault at an operation on a fresh copy.
			base := create(t, Options{})
			files := []string{newFile(t, base, day(0)), newFile(t, base, day(1)), newFile(t, base, day(2))}
			gone := newFile(t, base, day(4))
			if err := base.Append(t.Context(), append([]string{gone}, files[:2]...), Props{"spoor.seq": "0"}); err != nil {
				t.Fatal(err)
			}
			if err := base.Drop(t.Context(), []string{gone}, Props{"spoor.seq": "1"}); err != nil {
				t.Fatal(err)
			}
			open := func(t *testing.T, f *faultAt) *Table {
				dir := t.TempDir()
				if err := os.CopyFS(dir, os.DirFS(base.Dir())); err != nil {
					t.Fatal(err)
				}
				tbl, err := Open(t.Context(), dir, Options{fault: f.fault})
				if err != nil {
					t.Fatal(err)
				}
				f.seen.Store(0)
				f.ops = nil
				return tbl
			}
			dry := &faultAt{}
			tbl := open(t, dry)
			before := view(t, tbl.Dir())
			if err := s.run(t, tbl, files); err != nil {
				t.Fatal(err)
			}
			after := view(t, tbl.Dir())
			if before == after {
				t.Fatal("the step does nothing")
			}
			total := dry.seen.Load()
			if total < 5 {
				t.Fatalf("only %d operations: %v", total, dry.ops)
			}
			for n := int64(1); n <= total; n++ {
				f := &faultAt{err: syscall.ENOSPC}
				f.at.Store(1 << 40)
				tbl := open(t, f)
				f.at.Store(n)
				err := s.run(t, tbl, files)
				got := view(t, tbl.Dir())
				where := fmt.Sprintf("operation %d (%s)", n, dry.ops[n-1])
				switch {
				case err == nil && got != after:
					t.Errorf("%s: no error, but not done", where)
				case err != nil && !errors.Is(err, syscall.ENOSPC):
					t.Errorf("%s: %v", where, err)
				case errors.Is(err, ErrUnknown) || (err != nil && s.name == "expire"): // either is right
					if got != before && got != after && s.name != "expire" {
						t.Errorf("%s: neither before nor after: %s", where, got)
					}
				case err != nil && got != before:
					t.Errorf("%s: failed with %v, and yet changed: %s", where, err, got)
				}
				// With space again, the same handle goes on.
				f.at.Store(1 << 40)
				if got != after {
					if err := s.run(t, tbl, files); err != nil {
						t.Errorf("%s: and then: %v", where, err)
					}
				}
				if _, err := tbl.RemoveOrphans(t.Context(), time.Time{}); err != nil {
					t.Fatal(err)
				}
				if got := view(t, tbl.Dir()); got != after {
					t.Errorf("%s: and then, without orphans: %s, want %s", where, got, after)
				}
			}
		})
	}
}

// TestFullDiskAtCreation: a table that could not be created can be created later.
func TestFullDiskAtCreation(t *testing.T) {
	t.Parallel()
	dry := &faultAt{}
	if _, err := Create(t.Context(), t.TempDir(), testSchema(), Options{fault: dry.fault}); err != nil {
		t.Fatal(err)
	}
	for n := int64(1); n <= dry.seen.Load(); n++ {
		f := &faultAt{err: syscall.ENOSPC}
		f.at.Store(n)
		dir := t.TempDir()
		_, err := Create(t.Context(), dir, testSchema(), Options{fault: f.fault})
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("operation %d: %v", n, err)
		}
		tbl, err := Open(t.Context(), dir, Options{})
		if errors.Is(err, ErrNoTable) {
			tbl, err = Create(t.Context(), dir, testSchema(), Options{})
		}
		if err != nil {
			t.Errorf("operation %d (%s): and then: %v", n, dry.ops[n-1], err)
			continue
		}
		if err := tbl.Append(t.Context(), []string{newFile(t, tbl, day(0))}, nil); err != nil {
			t.Error(err)
		}
	}
}

// TestOrder: nothing is published before all that it needs is synced, and nothing is answered before the publication is.
func TestOrder(t *testing.T) {
	t.Parallel()
	type operation struct{ op, path string }
	var mu sync.Mutex
	var ops []operation
	tbl := create(t, Options{fault: func(op, path string) error {
		mu.Lock()
		defer mu.Unlock()
		ops = append(ops, operation{op, path})
		return nil
	}})
	files := []string{newFile(t, tbl, day(0)), newFile(t, tbl, day(1))}
	ops = nil
	if err := tbl.Append(t.Context(), files, Props{"spoor.seq": "1"}); err != nil {
		t.Fatal(err)
	}
	published := slices.IndexFunc(ops, func(o operation) bool { return o.op == "link" })
	if published < 0 {
		t.Fatalf("nothing published: %v", ops)
	}
	// last gives the last place of an operation before the publication.
	last := func(op, path string) int {
		for i := published - 1; i >= 0; i-- {
			if ops[i] == (operation{op, path}) {
				return i
			}
		}
		return -1
	}
	metadata := tbl.path("metadata")
	for _, name := range files {
		path := tbl.path(name)
		synced := last("sync", path)
		for dir := filepath.Dir(path); synced >= 0; dir = filepath.Dir(dir) {
			if last("syncdir", dir) < 0 {
				t.Errorf("%s is not synced before the publication", dir)
			}
			if dir == tbl.Dir() {
				break
			}
		}
		if synced < 0 || last("syncdir", filepath.Dir(path)) < synced {
			t.Errorf("%s is not synced before its folder, or not at all", path)
		}
	}
	created := 0
	for _, o := range ops[:published] {
		if o.op != "create" {
			continue
		}
		created++
		if at := last("sync", o.path); at < 0 || at < last("write", o.path) || at > last("syncdir", metadata) {
			t.Errorf("%s is not synced, and its folder after it, before the publication", o.path)
		}
	}
	if created != 3 { // a manifest, the manifest list, the version
		t.Errorf("%d files written before the publication: %v", created, ops)
	}
	rest := ops[published+1:]
	if i := slices.Index(rest, operation{"syncdir", metadata}); i < 0 || i < slices.IndexFunc(rest, func(o operation) bool { return o.op == "rename" }) {
		t.Errorf("the publication is not synced: %v", rest)
	}
}

// TestNoHardLinks: on file systems without hard links, commits work and still never overwrite.
func TestNoHardLinks(t *testing.T) {
	t.Parallel()
	for _, refusal := range []error{syscall.EPERM, syscall.EOPNOTSUPP, syscall.ENOSYS} {
		o := Options{fault: func(op, _ string) error {
			if op == "link" {
				return refusal
			}
			return nil
		}}
		one, err := Create(t.Context(), t.TempDir(), testSchema(), o)
		if err != nil {
			t.Fatalf("%v: %v", refusal, err)
		}
		two, err := Open(t.Context(), one.Dir(), o)
		if err != nil {
			t.Fatal(err)
		}
		for i, tbl := range []*Table{one, two, one, two} {
			if err := tbl.Append(t.Context(), []string{newFile(t, tbl, day(i))}, nil); err != nil {
				t.Errorf("%v: %v", refusal, err)
			}
		}
		if got := mustPlan(t, two, Filter{}).Rows(); got != 4 {
			t.Errorf("%v: %d rows", refusal, got)
		}
		d := two.disk
		if err := d.link(two.path("metadata/version-hint.text"), two.path(two.current.Load().name)); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%v: linked over a file: %v", refusal, err)
		}
	}
}

// TestDamagedMetadata: whatever is broken is named, and nothing panics.
func TestDamagedMetadata(t *testing.T) {
	t.Parallel()
	base := create(t, Options{})
	for i := range 3 {
		if err := base.Append(t.Context(), []string{newFile(t, base, day(i))}, Props{"spoor.seq": strconv.Itoa(i)}); err != nil {
			t.Fatal(err)
		}
	}
	snap := base.current.Load().meta.CurrentSnapshot()
	list, err := base.disk.name(snap.ManifestList)
	if err != nil {
		t.Fatal(err)
	}
	manifests, err := base.manifests(snap)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := base.disk.name(manifests[0].FilePath())
	if err != nil {
		t.Fatal(err)
	}
	try := func(name string, damage func(path string) error) (dir string, err error) {
		dir = t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(base.Dir())); err != nil {
			t.Fatal(err)
		}
		if err := damage(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		tbl, err := Open(t.Context(), dir, Options{ReadOnly: true})
		if err != nil {
			return dir, err
		}
		_, err = tbl.Plan(t.Context(), Filter{})
		return dir, err
	}
	for _, name := range []string{base.current.Load().name, list, manifest} {
		for what, damage := range map[string]func(string) error{
			"empty":   func(p string) error { return os.Truncate(p, 0) },
			"cut":     func(p string) error { return os.Truncate(p, 200) },
			"garbage": func(p string) error { return os.WriteFile(p, []byte(strings.Repeat("{garbage\x00", 100)), 0o644) },
			"gone":    os.Remove,
		} {
			if what == "gone" && strings.HasSuffix(name, ".json") {
				continue // then the version before is the newest
			}
			dir, err := try(name, damage)
			var damaged *DamagedError
			if !errors.As(err, &damaged) || damaged.Path != filepath.Join(dir, name) || !strings.Contains(err.Error(), damaged.Path) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		content, err := os.ReadFile(base.path(name))
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 2))
		dir, _ := try(name, func(string) error { return nil })
		for range 200 { // what the changed bytes mean is not known, only that nothing panics
			broken := slices.Clone(content)
			for range 1 + rng.IntN(4) {
				broken[rng.IntN(len(broken))] ^= byte(1 + rng.IntN(255))
			}
			if err := os.WriteFile(filepath.Join(dir, name), broken, 0o644); err != nil {
				t.Fatal(err)
			}
			if tbl, err := Open(t.Context(), dir, Options{ReadOnly: true}); err == nil {
				_, _ = tbl.Plan(t.Context(), Filter{})
			}
		}
	}
}

// digest identifies a set of files.
func digest(names []string) string {
	sorted := slices.Sorted(slices.Values(names))
	sum := sha256.Sum256([]byte(strings.Join(sorted, "\n")))
	return hex.EncodeToString(sum[:])
}

// victim works on a table until it is killed. It prints a line after each commit that it was told is done.
func victim(dir string) error {
	ctx := context.Background()
	killAt, err := strconv.ParseInt(os.Getenv("SPOOR_TABLE_KILL_AT"), 10, 64)
	if err != nil {
		return err
	}
	var ops atomic.Int64
	o := Options{fault: func(string, string) error {
		if ops.Add(1) == killAt {
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		return nil
	}}
	tbl, err := Open(ctx, dir, o)
	if err != nil {
		return err
	}
	if _, err := tbl.RemoveOrphans(ctx, time.Time{}); err != nil {
		return err
	}
	for {
		p, err := tbl.Plan(ctx, Filter{})
		if err != nil {
			return err
		}
		seq, err := strconv.Atoi(p.Props["spoor.seq"])
		if err != nil {
			return err
		}
		seq++
		var old, add []string
		rows := p.Rows()
		kept := names(p.Files)
		switch {
		case seq%7 == 0 && len(p.Files) > 0: // drop the first day
			for _, f := range p.Files {
				if f.Day.Equal(p.Files[0].Day) {
					old = append(old, f.Name)
					rows -= f.Rows
				}
			}
		case seq%5 == 0 && len(p.Files) > 0: // make one file of those of the first day
			var times []time.Time
			for _, f := range p.Files {
				if f.Day.Equal(p.Files[0].Day) {
					old = append(old, f.Name)
					for i := range f.Rows {
						times = append(times, f.MinTime.Add(time.Duration(i)))
					}
				}
			}
			name, err := writeFile(dir, times...)
			if err != nil {
				return err
			}
			add = append(add, name)
		default:
			for i := range 2 {
				name, err := writeFile(dir, day(seq%3), day(seq%3).Add(time.Duration(i)*time.Microsecond))
				if err != nil {
					return err
				}
				add = append(add, name)
				rows += 2
			}
		}
		kept = append(slices.DeleteFunc(kept, func(n string) bool { return slices.Contains(old, n) }), add...)
		props := Props{"spoor.seq": strconv.Itoa(seq), "spoor.rows": strconv.FormatInt(rows, 10), "spoor.files": digest(kept)}
		if err := tbl.Replace(ctx, old, add, props); err != nil {
			return err
		}
		fmt.Println("done", seq)
		if seq%4 == 0 {
			if _, err := tbl.Expire(ctx, 0, nil); err != nil {
				return err
			}
		}
	}
}

// TestKill kills a writer again and again: half of the rounds at a chosen operation on the disk, half from outside at any
// moment. SPOOR_FAULT_ROUNDS sets the number of rounds.
func TestKill(t *testing.T) {
	t.Parallel()
	rounds := 6
	if s := os.Getenv("SPOOR_FAULT_ROUNDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("SPOOR_FAULT_ROUNDS: %v", err)
		}
		rounds = n
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tbl := create(t, Options{})
	if err := tbl.Append(t.Context(), nil, Props{"spoor.seq": "0", "spoor.rows": "0", "spoor.files": digest(nil)}); err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	done, unknown := 0, 0
	for round := range rounds {
		killAt, acks := int64(0), 0
		if round%2 == 0 {
			killAt = 1 + rng.Int64N(250)
		} else {
			acks = 1 + rng.IntN(6)
		}
		cmd := exec.CommandContext(t.Context(), self, "-test.run=^$")
		cmd.Env = append(os.Environ(), "SPOOR_TABLE_VICTIM="+tbl.Dir(), fmt.Sprintf("SPOOR_TABLE_KILL_AT=%d", killAt))
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines, killed := 0, false
		for sc := bufio.NewScanner(out); sc.Scan(); {
			if _, err := fmt.Sscanf(sc.Text(), "done %d", &done); err != nil {
				t.Fatalf("round %d: %q: %v", round, sc.Text(), err)
			}
			if lines++; acks > 0 && lines >= acks && !killed {
				killed = true
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
			t.Fatalf("round %d: the writer ended by itself: %v\n%s", round, err, stderr.String())
		}

		reader, err := Open(t.Context(), tbl.Dir(), Options{ReadOnly: true})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		p := mustPlan(t, reader, Filter{})
		seq, err := strconv.Atoi(p.Props["spoor.seq"])
		if err != nil || seq < done || seq > done+1 {
			t.Fatalf("round %d: at commit %q, %d were done", round, p.Props["spoor.seq"], done)
		}
		unknown += seq - done
		done = seq
		if got := strconv.FormatInt(p.Rows(), 10); got != p.Props["spoor.rows"] || digest(names(p.Files)) != p.Props["spoor.files"] {
			t.Fatalf("round %d: %s rows in %d files do not fit %v", round, got, len(p.Files), p.Props)
		}
		all, err := reader.Files(t.Context())
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for _, f := range all {
			if got := rows(t, f.Path); got != f.Rows {
				t.Fatalf("round %d: %s has %d rows, not %d", round, f.Name, got, f.Rows)
			}
		}
	}
	t.Logf("%d commits in %d rounds, %d of them unanswered", done, rounds, unknown)
	if done == 0 {
		t.Error("no commit came through in any round")
	}
	if err := tbl.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := tbl.RemoveOrphans(t.Context(), time.Time{}); err != nil {
		t.Fatal(err)
	}
	if orphans, err := tbl.Orphans(t.Context(), time.Time{}); err != nil || len(orphans) != 0 {
		t.Errorf("orphans that stay: %v, %v", orphans, err)
	}
}
