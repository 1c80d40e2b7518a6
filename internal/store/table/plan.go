package table

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// File is a data file of the table.
type File struct {
	// Path is the file's absolute path; Name is its name relative to the table's folder, with slashes, which stays the
	// same when the folder moves.
	Path, Name string
	Rows       int64
	Bytes      int64
	// Day is the UTC midnight of the day that the file's events lie in; MinTime and MaxTime are the least and greatest
	// event time in it, both included. All are zero if no event in the file has a time.
	Day, MinTime, MaxTime time.Time
}

// Filter says which files a plan is about.
type Filter struct {
	// Since and Until bound the event time: Since is included, Until is not. The zero time is no bound. Files without
	// times are always planned.
	Since, Until time.Time
	// Tag asks for the table as it was when it got a tag, instead of now.
	Tag string
}

// Keeps reports whether the file may have events of the filter's range.
func (f Filter) Keeps(file File) bool {
	if file.MinTime.IsZero() {
		return true
	}
	return (f.Until.IsZero() || file.MinTime.Before(f.Until)) && (f.Since.IsZero() || !file.MaxTime.Before(f.Since))
}

// Plan is what the table was at one moment.
type Plan struct {
	Snapshot int64  // Iceberg snapshot id; 0 if the table never had a file
	Files    []File // ordered by MinTime, then Name; each once
	Props    Props  // as of the same moment
	Columns  []Column
}

// Rows is the number of rows in all files of the plan.
func (p Plan) Rows() int64 {
	var n int64
	for _, f := range p.Files {
		n += f.Rows
	}
	return n
}

// Plan gives the files that may have events in the filter's range, with the properties that were committed with them.
// The files stay readable for as long as [Table.Expire] is told to keep snapshots, counted from the commit that
// replaces them.
func (t *Table) Plan(ctx context.Context, f Filter) (Plan, error) {
	for attempt := 0; ; attempt++ {
		if t.readOnly {
			if err := t.Refresh(ctx); err != nil {
				return Plan{}, fmt.Errorf("plan: %w", err)
			}
		}
		s := t.current.Load()
		plan, err := t.plan(ctx, s, f)
		if err == nil {
			return plan, nil
		}
		// Between the look at the version and the look at its manifests, another process may have let it expire.
		if !t.readOnly || !errors.Is(err, fs.ErrNotExist) || attempt == 3 {
			return Plan{}, fmt.Errorf("plan: %w", err)
		}
	}
}

func (t *Table) plan(ctx context.Context, s *state, f Filter) (Plan, error) {
	plan := Plan{Props: props(s.meta.Properties()), Columns: columns(s.meta.CurrentSchema().Fields())}
	snap := s.meta.CurrentSnapshot()
	if f.Tag != "" {
		snap = nil
		for name, ref := range s.meta.Refs() {
			if name == f.Tag && ref.SnapshotRefType == table.TagRef {
				snap = s.meta.SnapshotByID(ref.SnapshotID)
			}
		}
		if snap == nil {
			return Plan{}, fmt.Errorf("no tag %q", f.Tag)
		}
		if snap.Summary != nil {
			plan.Props = props(snap.Summary.Properties)
		}
	}
	if snap == nil {
		return plan, nil
	}
	plan.Snapshot = snap.SnapshotID
	manifests, err := t.manifests(snap)
	if err != nil {
		return Plan{}, err
	}
	read := make(map[string][]File, len(manifests))
	seen := make(map[string]bool)
	for _, m := range manifests {
		if err := context.Cause(ctx); err != nil {
			return Plan{}, err
		}
		if !f.keepsManifest(m) {
			continue
		}
		files, err := t.files(s, m)
		if err != nil {
			return Plan{}, err
		}
		read[m.FilePath()] = files
		for _, file := range files {
			if f.Keeps(file) && !seen[file.Name] {
				seen[file.Name] = true
				plan.Files = append(plan.Files, file)
			}
		}
	}
	t.remember(manifests, read)
	slices.SortFunc(plan.Files, byTime)
	return plan, nil
}

func byTime(a, b File) int {
	return cmp.Or(a.MinTime.Compare(b.MinTime), cmp.Compare(a.Name, b.Name))
}

// keepsManifest looks at the days that a manifest's files lie in.
func (f Filter) keepsManifest(m iceberg.ManifestFile) bool {
	parts := m.Partitions()
	if len(parts) != 1 || parts[0].ContainsNull || parts[0].LowerBound == nil || parts[0].UpperBound == nil {
		return true
	}
	lower, upper := *parts[0].LowerBound, *parts[0].UpperBound
	if len(lower) != 4 || len(upper) != 4 {
		return true
	}
	first := time.Unix(int64(int32(binary.LittleEndian.Uint32(lower)))*86400, 0)
	end := time.Unix((int64(int32(binary.LittleEndian.Uint32(upper)))+1)*86400, 0)
	return (f.Until.IsZero() || first.Before(f.Until)) && (f.Since.IsZero() || end.After(f.Since))
}

// manifests reads the manifest list of a snapshot.
func (t *Table) manifests(snap *table.Snapshot) ([]iceberg.ManifestFile, error) {
	var manifests []iceberg.ManifestFile
	err := guard(func() (err error) {
		manifests, err = snap.Manifests(t.disk)
		return err
	})
	if err != nil {
		return nil, t.damaged(snap.ManifestList, err)
	}
	for _, m := range manifests {
		if m.ManifestContent() != iceberg.ManifestContentData {
			return nil, fmt.Errorf("%s: %w", t.show(m.FilePath()), ErrDeletes)
		}
	}
	return manifests, nil
}

// files reads the live files of a manifest. Manifests never change, so what was read is kept.
func (t *Table) files(s *state, m iceberg.ManifestFile) ([]File, error) {
	t.cacheMu.Lock()
	files, ok := t.cache[m.FilePath()]
	t.cacheMu.Unlock()
	if ok {
		return files, nil
	}
	timeID := timeColumn(s.meta)
	err := t.entries(m, func(df iceberg.DataFile) error {
		file, err := t.file(df, timeID)
		files = append(files, file)
		return err
	})
	return files, err
}

// entries reads a manifest: its live files, in the order in which it has them. An error of yield is one about the
// manifest.
func (t *Table) entries(m iceberg.ManifestFile, yield func(iceberg.DataFile) error) error {
	err := guard(func() error {
		for entry, err := range m.Entries(t.disk, true) {
			if err != nil {
				return err
			}
			if err := yield(entry.DataFile()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return t.damaged(m.FilePath(), err)
	}
	return nil
}

// guard runs a reader of Iceberg metadata, and makes an error of the panic by which the library answers some damage.
func guard(read func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("not as Iceberg writes it: %v", p)
		}
	}()
	return read()
}

// remember keeps what was read of the manifests that the table has now, and lets go of the others.
func (t *Table) remember(manifests []iceberg.ManifestFile, read map[string][]File) {
	t.cacheMu.Lock()
	defer t.cacheMu.Unlock()
	for _, m := range manifests {
		if _, ok := read[m.FilePath()]; !ok {
			if files, ok := t.cache[m.FilePath()]; ok {
				read[m.FilePath()] = files
			}
		}
	}
	t.cache = read
}

// timeColumn gives the id of the column that the table is partitioned by.
func timeColumn(meta table.Metadata) int {
	spec := meta.PartitionSpec()
	if spec.NumFields() == 0 {
		return 0
	}
	return spec.Field(0).SourceID()
}

func (t *Table) file(df iceberg.DataFile, timeID int) (File, error) {
	if df.ContentType() != iceberg.EntryContentData {
		return File{}, ErrDeletes
	}
	name, err := t.disk.name(df.FilePath())
	if err != nil {
		return File{}, err
	}
	f := File{Path: t.path(name), Name: name, Rows: df.Count(), Bytes: df.FileSizeBytes()}
	lower, upper := df.LowerBoundValues()[timeID], df.UpperBoundValues()[timeID]
	if len(lower) == 8 && len(upper) == 8 {
		f.MinTime = time.UnixMicro(int64(binary.LittleEndian.Uint64(lower))).UTC()
		f.MaxTime = time.UnixMicro(int64(binary.LittleEndian.Uint64(upper))).UTC()
		f.Day = f.MinTime.Truncate(24 * time.Hour)
	}
	return f, nil
}

// damaged names the file in the table's folder that could not be understood, or is missing, which stays visible to
// [errors.Is]. What the file system refuses for other reasons is no damage.
func (t *Table) damaged(location string, err error) error {
	if pathErr := (*fs.PathError)(nil); errors.As(err, &pathErr) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read table metadata %s: %w", t.show(location), err)
	}
	return &DamagedError{Path: t.show(location), Err: err}
}

// show gives the path of a location, or the location where it has none.
func (t *Table) show(location string) string {
	if path, err := t.disk.path(location); err == nil {
		return path
	}
	return location
}

// dataFiles finds files of the current snapshot by their names, as iceberg-go wants to be told what to remove.
func (t *Table) dataFiles(s *state, names []string) ([]iceberg.DataFile, error) {
	want := make(map[string]bool, len(names))
	for _, n := range names {
		want[t.disk.location+"/"+filepath.ToSlash(n)] = true
	}
	var out []iceberg.DataFile
	if snap := s.meta.CurrentSnapshot(); snap != nil {
		manifests, err := t.manifests(snap)
		if err != nil {
			return nil, err
		}
		for _, m := range manifests {
			err := t.entries(m, func(df iceberg.DataFile) error {
				if want[df.FilePath()] {
					delete(want, df.FilePath())
					out = append(out, df)
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
	}
	for location := range want {
		return nil, fmt.Errorf("%s is not in the table: %w", t.show(location), ErrConflict)
	}
	return out, nil
}

// Files gives the data files that any snapshot refers to which has not expired, tagged ones included: what must stay on
// disk. Order: by time, then name.
func (t *Table) Files(ctx context.Context) ([]File, error) {
	if t.readOnly {
		if err := t.Refresh(ctx); err != nil {
			return nil, fmt.Errorf("list files of all snapshots: %w", err)
		}
	}
	refs, err := t.references(ctx, t.current.Load())
	if err != nil {
		return nil, fmt.Errorf("list files of all snapshots: %w", err)
	}
	out := make([]File, 0, len(refs.data))
	for _, f := range refs.data {
		out = append(out, f)
	}
	slices.SortFunc(out, byTime)
	return out, nil
}
