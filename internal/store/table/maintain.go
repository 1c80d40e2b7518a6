package table

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/apache/iceberg-go/table"
)

// references are the files that a version of the table needs, by their names relative to the folder.
type references struct {
	data     map[string]File
	metadata map[string]bool
}

// references walks through all snapshots.
func (t *Table) references(ctx context.Context, s *state) (references, error) {
	refs := references{data: make(map[string]File), metadata: map[string]bool{s.name: true, metadataDir + "/" + versionHint: true}}
	need := func(location string) error {
		name, err := t.disk.name(location)
		refs.metadata[name] = true
		return err
	}
	for entry := range s.meta.PreviousFiles() {
		if err := need(entry.MetadataFile); err != nil {
			return references{}, err
		}
	}
	for _, snap := range s.meta.Snapshots() {
		if err := need(snap.ManifestList); err != nil {
			return references{}, err
		}
		manifests, err := t.manifests(&snap)
		if err != nil {
			return references{}, err
		}
		for _, m := range manifests {
			if err := context.Cause(ctx); err != nil {
				return references{}, err
			}
			name, err := t.disk.name(m.FilePath())
			if err != nil {
				return references{}, err
			}
			if refs.metadata[name] {
				continue
			}
			refs.metadata[name] = true
			files, err := t.files(s, m)
			if err != nil {
				return references{}, err
			}
			for _, f := range files {
				refs.data[f.Name] = f
			}
		}
	}
	return refs, nil
}

// Expired is what an expiry did.
type Expired struct {
	Snapshots int
	Gone      []int64 // their ids
	// Files are the data files that were removed from disk. A crash in between leaves the others to
	// [Table.RemoveOrphans].
	Files []File
	Bytes int64
}

// Expire forgets the snapshots that were replaced more than keep ago and removes the files that only they referred to.
// A plan made less than keep ago keeps its files: the age counts from the commit that replaced a snapshot, not from the
// snapshot's own. Tagged snapshots and the current one stay, and those for which held, when set, is true.
//
// Other commits wait for the one commit of this, not for the files to be looked for and removed.
func (t *Table) Expire(ctx context.Context, keep time.Duration, held func(snapshot int64) bool) (Expired, error) {
	if t.readOnly {
		return Expired{}, fmt.Errorf("expire snapshots: %w", ErrReadOnly)
	}
	t.expiring.Lock()
	defer t.expiring.Unlock()
	out, err := t.expire(ctx, t.now().Add(-keep), held)
	if err != nil {
		return out, fmt.Errorf("expire snapshots: %w", err)
	}
	return out, nil
}

func (t *Table) expire(ctx context.Context, before time.Time, held func(int64) bool) (out Expired, _ error) {
	base := t.current.Load()
	// What was replaced stays replaced, and only the current snapshot ever gets a name, so that what may go of this version
	// may go of every later one.
	ids := expirable(base.meta, before)
	if held != nil {
		ids = slices.DeleteFunc(ids, held)
	}
	if len(ids) == 0 {
		return out, nil
	}
	had, err := t.references(ctx, base)
	if err != nil {
		return out, err
	}
	next, err := t.forget(ctx, ids)
	if err != nil {
		return out, err
	}
	out.Snapshots, out.Gone = len(ids), ids
	// Versions to come build on this one, and no file comes back into the table that left it.
	after, err := t.references(ctx, next)
	if err != nil {
		return out, err
	}
	for name := range had.metadata {
		if !after.metadata[name] {
			if err := t.disk.remove(t.path(name)); err != nil {
				return out, err
			}
		}
	}
	for name, f := range had.data {
		if _, ok := after.data[name]; ok {
			continue
		}
		if err := t.disk.remove(f.Path); err != nil {
			return out, err
		}
		out.Files = append(out.Files, f)
		out.Bytes += f.Bytes
	}
	slices.SortFunc(out.Files, byTime)
	return out, t.removeStrays(ctx, before)
}

// forget commits that snapshots are forgotten, and gives the version that has them no more.
func (t *Table) forget(ctx context.Context, ids []int64) (*state, error) {
	t.commits.Lock()
	defer t.commits.Unlock()
	for attempt := 0; ; attempt++ {
		cat := &catalog{disk: t.disk, base: t.current.Load()}
		_, _, err := cat.CommitTable(ctx, ident, nil, []table.Update{table.NewRemoveSnapshotsUpdate(ids, false)})
		if err == nil {
			return cat.next, t.advance(cat.next)
		}
		if rerr := t.Refresh(context.WithoutCancel(ctx)); rerr != nil || !errors.Is(err, table.ErrCommitFailed) || attempt+1 == maxAttempts {
			return nil, errors.Join(conflict(err), rerr)
		}
	}
}

// removeStrays removes metadata that belongs to no snapshot, such as manifests that were merged in the commit that wrote
// them.
func (t *Table) removeStrays(ctx context.Context, before time.Time) error {
	found, err := t.orphans(ctx, before, metadataDir)
	if err != nil {
		return err
	}
	for _, o := range found {
		if err := t.disk.remove(t.path(o.Name)); err != nil {
			return err
		}
	}
	return nil
}

// conflict makes iceberg-go's word for it ours.
func conflict(err error) error {
	if errors.Is(err, table.ErrCommitFailed) {
		return fmt.Errorf("%w: %w", ErrConflict, err)
	}
	return err
}

// expirable gives the snapshots that no name refers to and that were replaced before a time.
func expirable(meta table.Metadata, before time.Time) []int64 {
	snapshots := meta.Snapshots()
	replaced := make(map[int64]int64, len(snapshots)) // when a snapshot's child was committed
	for _, s := range snapshots {
		if s.ParentSnapshotID != nil {
			replaced[*s.ParentSnapshotID] = s.TimestampMs
		}
	}
	named := make(map[int64]bool)
	for _, ref := range meta.Refs() {
		named[ref.SnapshotID] = true
	}
	var ids []int64
	for _, s := range snapshots {
		// Without a child here, the child has expired already, and so was replaced long before.
		if at, ok := replaced[s.SnapshotID]; !named[s.SnapshotID] && (!ok || time.UnixMilli(at).Before(before)) {
			ids = append(ids, s.SnapshotID)
		}
	}
	return ids
}

// Tag names the current snapshot, which then never expires. A tag that exists is moved only with its name removed
// first.
func (t *Table) Tag(ctx context.Context, name string) error {
	if name == "" || name == table.MainBranch {
		return fmt.Errorf("tag %q: not a name for a tag", name)
	}
	return t.update(ctx, "tag "+name, func(s *state) ([]table.Update, error) {
		if _, ok := tags(s)[name]; ok {
			return nil, fmt.Errorf("there is such a tag: %w", fs.ErrExist)
		}
		snap := s.meta.CurrentSnapshot()
		if snap == nil {
			return nil, errors.New("the table has no snapshot yet")
		}
		return []table.Update{table.NewSetSnapshotRefUpdate(name, snap.SnapshotID, table.TagRef, 0, 0, 0)}, nil
	})
}

// Untag removes a name; it fails with [fs.ErrNotExist] if there is none.
func (t *Table) Untag(ctx context.Context, name string) error {
	return t.update(ctx, "untag "+name, func(s *state) ([]table.Update, error) {
		if _, ok := tags(s)[name]; !ok {
			return nil, fmt.Errorf("no such tag: %w", fs.ErrNotExist)
		}
		return []table.Update{table.NewRemoveSnapshotRefUpdate(name)}, nil
	})
}

// Tag is a snapshot that has a name.
type Tag struct {
	Name     string
	Snapshot int64
	Time     time.Time // of the snapshot, not of the naming
}

// Tags gives all tags, by name.
func (t *Table) Tags(ctx context.Context) ([]Tag, error) {
	if t.readOnly {
		if err := t.Refresh(ctx); err != nil {
			return nil, fmt.Errorf("list tags: %w", err)
		}
	}
	var out []Tag
	for _, tag := range tags(t.current.Load()) {
		out = append(out, tag)
	}
	slices.SortFunc(out, func(a, b Tag) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func tags(s *state) map[string]Tag {
	out := make(map[string]Tag)
	for name, ref := range s.meta.Refs() {
		if ref.SnapshotRefType != table.TagRef {
			continue
		}
		tag := Tag{Name: name, Snapshot: ref.SnapshotID}
		if snap := s.meta.SnapshotByID(ref.SnapshotID); snap != nil {
			tag.Time = time.UnixMilli(snap.TimestampMs).UTC()
		}
		out[name] = tag
	}
	return out
}

// update commits changes of the metadata alone.
func (t *Table) update(ctx context.Context, what string, build func(*state) ([]table.Update, error)) error {
	if t.readOnly {
		return fmt.Errorf("%s: %w", what, ErrReadOnly)
	}
	t.commits.Lock()
	defer t.commits.Unlock()
	for attempt := 0; ; attempt++ {
		base := t.current.Load()
		updates, err := build(base)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		cat := &catalog{disk: t.disk, base: base}
		if _, _, err = cat.CommitTable(ctx, ident, nil, updates); err == nil {
			return t.advance(cat.next)
		}
		if rerr := t.Refresh(context.WithoutCancel(ctx)); rerr != nil {
			return fmt.Errorf("%s: %w", what, errors.Join(err, rerr))
		}
		if !errors.Is(err, table.ErrCommitFailed) || attempt+1 == maxAttempts {
			return fmt.Errorf("%s: %w", what, conflict(err))
		}
	}
}

// Orphan is a file below data/ or metadata/ that nothing refers to.
type Orphan struct {
	Name     string // relative to the folder, with slashes
	Bytes    int64
	Modified time.Time
}

// Orphans gives the files below data/ and metadata/ that no snapshot refers to and that were last written before a time;
// the zero time means all. Files that are about to be appended count as orphans too.
func (t *Table) Orphans(ctx context.Context, before time.Time) ([]Orphan, error) {
	t.expiring.Lock()
	defer t.expiring.Unlock()
	out, err := t.orphans(ctx, before, dataDir, metadataDir)
	if err != nil {
		return nil, fmt.Errorf("look for orphans: %w", err)
	}
	return out, nil
}

func (t *Table) orphans(ctx context.Context, before time.Time, dirs ...string) ([]Orphan, error) {
	out, err := t.walk(ctx, before, dirs...)
	if err != nil {
		return nil, err
	}
	// What commits that were under way have written is referred to once they have ended.
	t.commits.Lock()
	err = t.Refresh(ctx)
	s := t.current.Load()
	t.commits.Unlock()
	if err != nil {
		return nil, err
	}
	refs, err := t.references(ctx, s)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(out, func(o Orphan) bool {
		_, ok := refs.data[o.Name]
		return ok || refs.metadata[o.Name]
	}), nil
}

// walk gives the files below folders that were last written before a time.
func (t *Table) walk(ctx context.Context, before time.Time, dirs ...string) (out []Orphan, _ error) {
	for _, dir := range dirs {
		err := filepath.WalkDir(t.path(dir), func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) { // no data yet, or gone meanwhile
				return nil
			}
			if err != nil || e.IsDir() {
				return err
			}
			rel, err := filepath.Rel(t.disk.dir, path)
			if err != nil {
				return err
			}
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			if before.IsZero() || info.ModTime().Before(before) {
				out = append(out, Orphan{Name: filepath.ToSlash(rel), Bytes: info.Size(), Modified: info.ModTime()})
			}
			return context.Cause(ctx)
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// RemoveOrphans removes what [Table.Orphans] gives, and gives what it removed, and folders below data/ that are empty.
// At the start of the only writer, before it writes, the zero time is right.
func (t *Table) RemoveOrphans(ctx context.Context, before time.Time) ([]Orphan, error) {
	if t.readOnly {
		return nil, fmt.Errorf("remove orphans: %w", ErrReadOnly)
	}
	t.expiring.Lock()
	defer t.expiring.Unlock()
	orphans, err := t.orphans(ctx, before, dataDir, metadataDir)
	if err != nil {
		return nil, fmt.Errorf("remove orphans: %w", err)
	}
	for i, o := range orphans {
		if err := t.disk.remove(t.path(o.Name)); err != nil {
			return orphans[:i], fmt.Errorf("remove orphans: %w", err)
		}
	}
	if err := t.removeEmptyDays(before); err != nil {
		return orphans, fmt.Errorf("remove orphans: %w", err)
	}
	return orphans, nil
}

// removeEmptyDays removes folders directly below data/ that have nothing in them.
func (t *Table) removeEmptyDays(before time.Time) error {
	days, err := os.ReadDir(t.path(dataDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, day := range days {
		if !day.IsDir() {
			continue
		}
		path := filepath.Join(t.path(dataDir), day.Name())
		entries, err := os.ReadDir(path)
		if err != nil {
			return err
		}
		info, err := day.Info()
		if err != nil {
			return err
		}
		// Removing a folder fails if something has appeared in it, which is what is wanted.
		if len(entries) == 0 && (before.IsZero() || info.ModTime().Before(before)) {
			if err := t.disk.remove(path); err != nil {
				t.disk.log.Warn("table: an empty folder stays", "path", path, "error", err)
			}
		}
	}
	return nil
}
