package table

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/iceberg-go"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
	"github.com/google/uuid"
)

const (
	formatVersion = 2
	// PropPrefix begins the name of every property that callers set with a commit.
	PropPrefix = "spoor."
	// maxAttempts bounds how often a commit is tried anew after another writer was faster.
	maxAttempts = 50
)

var (
	// ErrNoTable says that a folder has no table.
	ErrNoTable = errors.New("no table in the folder")
	// ErrExists says that a folder has a table already.
	ErrExists = errors.New("the folder has a table already")
	// ErrReadOnly says that a table was opened for reading only.
	ErrReadOnly = errors.New("the table is open for reading only")
	// ErrConflict says that another writer changed the table in a way that forbids a commit: it set the same properties,
	// or took away files that the commit replaces. Nothing was committed.
	ErrConflict = errors.New("another writer changed the table")
	// ErrUnknown says that a commit may have happened or not; look at the properties after [Table.Refresh].
	ErrUnknown = errors.New("unknown whether committed")
	// ErrDeletes says that another program wrote delete files into the table, which hide rows in a way that nothing here
	// reads. Such a table is not read at all.
	ErrDeletes = errors.New("the table has delete files, written by another program; they are not supported")
)

// DamagedError names a metadata file that cannot be read.
type DamagedError struct {
	Path string
	Err  error
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("damaged table metadata %s: %v", e.Path, e.Err)
}
func (e *DamagedError) Unwrap() error { return e.Err }

// Props are properties that are committed together with files. Every name begins with [PropPrefix].
type Props map[string]string

// Options say how a table is opened.
type Options struct {
	// ReadOnly refuses commits. A table that is open for reading only looks for newer versions at each plan; one that is
	// open for writing takes it that nobody else writes, and has its temporary files of earlier crashes removed.
	ReadOnly bool
	Logger   *slog.Logger     // nil: nothing is logged
	Now      func() time.Time // nil: time.Now; decides what has expired
	fault    func(op, path string) error
}

// Table is an open table. Its methods may be called concurrently; commits happen one after the other.
type Table struct {
	disk     *disk
	readOnly bool
	now      func() time.Time
	current  atomic.Pointer[state]

	commits  sync.Mutex // held for the whole of a commit
	expiring sync.Mutex // held while files are removed that no snapshot refers to any more; taken before commits

	cacheMu sync.Mutex
	cache   map[string][]File // by the location of the manifest, for the manifests of the last plan
}

// Create makes an empty table in a folder, which must exist, and opens it for writing.
func Create(ctx context.Context, dir string, schema Schema, o Options) (*Table, error) {
	if o.ReadOnly {
		return nil, fmt.Errorf("create table: %w", ErrReadOnly)
	}
	if _, err := latest(dir); err == nil {
		return nil, fmt.Errorf("create table: %s: %w", dir, ErrExists)
	} else if !errors.Is(err, ErrNoTable) {
		return nil, fmt.Errorf("create table: %w", err)
	}
	t, err := newTable(dir, o)
	if err != nil {
		return nil, fmt.Errorf("create table: %w", err)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, fmt.Errorf("create table: %w", err)
	}
	t.disk.location = "s3://spoor/" + id.String()
	meta, err := newMetadata(schema, id, t.disk.location)
	if err != nil {
		return nil, fmt.Errorf("create table: %w", err)
	}
	if err := os.Mkdir(filepath.Join(t.disk.dir, metadataDir), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("create table: %w", err)
	}
	if err := t.disk.syncDir(t.disk.dir); err != nil {
		return nil, fmt.Errorf("create table: %w", err)
	}
	if err := publish(t.disk, 1, meta); errors.Is(err, table.ErrCommitFailed) {
		return nil, fmt.Errorf("create table: %s: %w", dir, ErrExists)
	} else if err != nil {
		return nil, fmt.Errorf("create table: %w", err)
	}
	return Open(ctx, dir, o)
}

func newMetadata(schema Schema, id uuid.UUID, location string) (table.Metadata, error) {
	sc, err := schema.iceberg(0)
	if err != nil {
		return nil, err
	}
	timeColumn, _ := find(schema.Columns, schema.Time)
	spec := iceberg.NewPartitionSpec(iceberg.PartitionField{
		SourceIDs: []int{timeColumn.ID}, FieldID: 1000, Name: schema.Time + "_day", Transform: iceberg.DayTransform{},
	})
	props := iceberg.Properties{
		table.ManifestMergeEnabledKey:             "true",
		table.ManifestMinMergeCountKey:            "20",
		table.MetadataDeleteAfterCommitEnabledKey: "true",
		table.MetadataPreviousVersionsMaxKey:      "100",
		// Files must not go before their readers do: only Expire knows when.
		table.GCEnabledKey: "false",
		// Plans give files, not ranges of them.
		table.ReadSplitTargetSizeKey:     "1099511627776",
		table.DefaultWriteMetricsModeKey: "counts",
		metricsKey(schema.Time):          "full",
	}
	for _, name := range schema.Bounds {
		props[metricsKey(name)] = "truncate(16)"
	}
	order := table.UnsortedSortOrder
	b, err := table.NewMetadataBuilder(formatVersion)
	if err != nil {
		return nil, err
	}
	// Not table.NewMetadata, which would give the columns other ids than the Parquet files have.
	for _, step := range []func() error{
		func() error { return b.SetUUID(id) },
		func() error { return b.AddSchema(sc) },
		func() error { return b.SetCurrentSchemaID(-1) },
		func() error { return b.AddSortOrder(&order) },
		func() error { return b.SetDefaultSortOrderID(-1) },
		func() error { return b.AddPartitionSpec(&spec, true) },
		func() error { return b.SetDefaultSpecID(-1) },
		func() error { return b.SetLoc(location) },
		func() error { return b.SetProperties(props) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return b.Build()
}

func metricsKey(column string) string { return table.MetricsModeColumnConfPrefix + "." + column }

func newTable(dir string, o Options) (*Table, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	t := &Table{readOnly: o.ReadOnly, now: o.Now, disk: &disk{dir: dir, log: o.Logger, fault: o.fault}}
	if t.disk.log == nil {
		t.disk.log = slog.New(slog.DiscardHandler)
	}
	if t.now == nil {
		t.now = time.Now
	}
	return t, nil
}

// Open opens the table of a folder. It fails with [ErrNoTable] where there is none, with a [*DamagedError] where the
// newest metadata cannot be read.
func Open(ctx context.Context, dir string, o Options) (*Table, error) {
	t, err := newTable(dir, o)
	if err != nil {
		return nil, fmt.Errorf("open table: %w", err)
	}
	if err := t.Refresh(ctx); err != nil {
		return nil, fmt.Errorf("open table: %w", err)
	}
	if !o.ReadOnly {
		if err := t.removeTemporary(); err != nil {
			return nil, fmt.Errorf("open table: %w", err)
		}
	}
	return t, nil
}

// removeTemporary removes what a crashed writer left of its bookkeeping. An abandoned claim of a version, as other
// writers of such tables leave it, would keep them from committing.
func (t *Table) removeTemporary() error {
	dir := filepath.Join(t.disk.dir, metadataDir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), tempSuffix) || strings.HasSuffix(e.Name(), ".claim") {
			if err := t.disk.remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// Refresh makes the newest version the current one.
func (t *Table) Refresh(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if cur := t.current.Load(); cur != nil {
		if v, err := latest(t.disk.dir); err != nil {
			return err
		} else if v == cur.version {
			return nil
		}
	}
	s, err := load(t.disk.dir)
	if err != nil {
		return err
	}
	return t.advance(s)
}

// advance makes s the current version unless a newer one is.
func (t *Table) advance(s *state) error {
	for {
		cur := t.current.Load()
		switch {
		case cur == nil: // nobody else has the table yet
			t.disk.location = s.meta.Location()
		case cur.meta.TableUUID() != s.meta.TableUUID():
			return fmt.Errorf("%s: another table took the place of the one that was opened", t.disk.dir)
		case cur.version >= s.version:
			return nil
		}
		if t.current.CompareAndSwap(cur, s) {
			return nil
		}
	}
}

// Dir is the folder, as an absolute path.
func (t *Table) Dir() string { return t.disk.dir }

// Props gives the properties of the current version.
func (t *Table) Props() Props { return props(t.current.Load().meta.Properties()) }

func props(all iceberg.Properties) Props {
	out := make(Props)
	for k, v := range all {
		if strings.HasPrefix(k, PropPrefix) {
			out[k] = v
		}
	}
	return out
}

// Snapshot gives the id of the current snapshot, 0 if the table never had a file.
func (t *Table) Snapshot() int64 {
	if snap := t.current.Load().meta.CurrentSnapshot(); snap != nil {
		return snap.SnapshotID
	}
	return 0
}

// Columns gives the columns of the current version.
func (t *Table) Columns() []Column { return columns(t.current.Load().meta.CurrentSchema().Fields()) }

// Append adds data files, and sets properties, in one commit. Files are Parquet files below data/ in the table's folder,
// named by a path or relative to the folder; each lies in one day, has the table's columns (absent ones are null) with
// their field ids, and is not in the table yet. They are synced here. Without files, only properties are set.
//
// A commit that returns nil is durable. After [ErrUnknown] it may have happened; after any other error it has not.
func (t *Table) Append(ctx context.Context, files []string, p Props) error {
	if err := t.Replace(ctx, nil, files, p); err != nil {
		return fmt.Errorf("append to table: %w", err)
	}
	return nil
}

// Drop takes files out of the table, and sets properties, in one commit. The files themselves stay until their snapshots
// have expired.
func (t *Table) Drop(ctx context.Context, files []string, p Props) error {
	if err := t.Replace(ctx, files, nil, p); err != nil {
		return fmt.Errorf("drop from table: %w", err)
	}
	return nil
}

// DropBefore takes out all files of days before the day (UTC) of a time, and gives those files.
func (t *Table) DropBefore(ctx context.Context, day time.Time, p Props) ([]File, error) {
	until := day.UTC().Truncate(24 * time.Hour)
	plan, err := t.Plan(ctx, Filter{Until: until})
	if err != nil {
		return nil, fmt.Errorf("drop from table: %w", err)
	}
	drop := slices.DeleteFunc(plan.Files, func(f File) bool { return f.Day.IsZero() || !f.Day.Before(until) })
	names := make([]string, len(drop))
	for i, f := range drop {
		names[i] = f.Name
	}
	return drop, t.Drop(ctx, names, p)
}

// Replace exchanges files for others, and sets properties, in one commit. It fails with [ErrConflict] if one of the old
// files is not in the table.
func (t *Table) Replace(ctx context.Context, old, add []string, p Props) error {
	for k := range p {
		if !strings.HasPrefix(k, PropPrefix) {
			return fmt.Errorf("property %q does not begin with %q", k, PropPrefix)
		}
	}
	oldNames, err := t.names(old)
	if err != nil {
		return err
	}
	addNames, err := t.names(add)
	if err != nil {
		return err
	}
	if len(oldNames)+len(addNames)+len(p) == 0 {
		return nil
	}
	paths := make([]string, len(addNames))
	for i, n := range addNames {
		paths[i] = t.path(n)
	}
	if t.readOnly {
		return ErrReadOnly
	}
	if err := t.disk.sync(paths); err != nil {
		return err
	}
	return t.commit(ctx, p, func(tx *table.Transaction, base *state) error {
		return t.change(ctx, tx, base, oldNames, addNames, p)
	})
}

// change puts the exchange of files into a transaction.
func (t *Table) change(ctx context.Context, tx *table.Transaction, base *state, old, add []string, p Props) error {
	added := make([]iceberg.DataFile, len(add))
	for i, name := range add {
		df, err := table.FileToDataFile(ctx, t.disk, t.disk.location+"/"+name, base.meta.CurrentSchema(), base.meta.PartitionSpec(),
			base.meta.DefaultSortOrder(), base.meta.Properties())
		if err != nil {
			return fmt.Errorf("data file %s: %w", t.path(name), err)
		}
		added[i] = df
	}
	summary := iceberg.Properties(p)
	if len(old) == 0 {
		if len(added) > 0 {
			if err := tx.AddDataFiles(ctx, added, summary, table.WithoutDuplicateCheck(), table.WithoutAutoNameMapping()); err != nil {
				return err
			}
		}
	} else {
		removed, err := t.dataFiles(base, old)
		if err != nil {
			return err
		}
		if len(added) == 0 {
			err = tx.ReplaceDataFilesWithDataFiles(ctx, removed, nil, summary, table.WithoutAutoNameMapping())
		} else {
			rewrite := tx.NewRewrite(summary)
			for _, df := range removed {
				rewrite.DeleteFile(df)
			}
			for _, df := range added {
				rewrite.AddDataFile(df)
			}
			err = rewrite.Commit(ctx)
		}
		if err != nil {
			return err
		}
	}
	return tx.SetProperties(summary)
}

// commit runs build on the newest version and publishes the result, anew if another writer was faster, unless that
// writer set one of the same properties.
func (t *Table) commit(ctx context.Context, p Props, build func(*table.Transaction, *state) error) error {
	if t.readOnly {
		return ErrReadOnly
	}
	t.commits.Lock()
	defer t.commits.Unlock()
	started := t.Props()
	for attempt := 0; ; attempt++ {
		base := t.current.Load()
		for k := range p {
			before, had := started[k]
			if now, has := base.meta.Properties()[k]; had != has || before != now {
				return fmt.Errorf("property %s changed: %w", k, ErrConflict)
			}
		}
		cat := &catalog{disk: t.disk, base: base}
		tbl := table.New(ident, base.meta, t.disk.location+"/"+base.name, func(context.Context) (iceio.IO, error) { return t.disk, nil }, cat)
		tx, err := tbl.NewTransactionOnBranchWithError(table.MainBranch)
		if err != nil {
			return err
		}
		if err := build(tx, base); err != nil {
			return err
		}
		_, err = tx.Commit(ctx)
		if cat.next != nil {
			return errors.Join(err, t.advance(cat.next))
		}
		if err == nil { // nothing to change
			return nil
		}
		if !errors.Is(err, table.ErrCommitFailed) {
			// What was published without being known to be durable is found again.
			return errors.Join(err, t.Refresh(context.WithoutCancel(ctx)))
		}
		if attempt+1 == maxAttempts {
			return fmt.Errorf("%w, %d times in a row: %w", ErrConflict, maxAttempts, err)
		}
		if err := t.Refresh(ctx); err != nil {
			return err
		}
	}
}

// names gives the names of files relative to the folder, with slashes.
func (t *Table) names(files []string) ([]string, error) {
	out := make([]string, len(files))
	seen := make(map[string]bool, len(files))
	for i, f := range files {
		name := f
		if filepath.IsAbs(f) {
			rel, err := filepath.Rel(t.disk.dir, f)
			if err != nil {
				return nil, fmt.Errorf("data file %s: %w", f, err)
			}
			name = rel
		}
		name = filepath.ToSlash(filepath.Clean(name))
		if !filepath.IsLocal(filepath.FromSlash(name)) || !strings.HasPrefix(name, dataDir+"/") || !strings.HasSuffix(name, ".parquet") {
			return nil, fmt.Errorf("data file %s: not a .parquet file below %s", f, filepath.Join(t.disk.dir, dataDir))
		}
		if seen[name] {
			return nil, fmt.Errorf("data file %s: named twice", f)
		}
		seen[name] = true
		out[i] = name
	}
	return out, nil
}

func (t *Table) path(name string) string { return filepath.Join(t.disk.dir, filepath.FromSlash(name)) }
