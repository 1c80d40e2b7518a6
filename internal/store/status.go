package store

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/parquet/file"

	"spoor/internal/ledger"
	"spoor/internal/store/table"
)

// Status is what a store holds. Times are UTC, sizes are bytes.
type Status struct {
	Dir      string    `json:"dir"`
	Version  int       `json:"version"`
	Created  time.Time `json:"created"`
	Seq      int64     `json:"seq"`      // commits so far
	Snapshot int64     `json:"snapshot"` // Iceberg's id of the current one
	Rows     int64     `json:"rows"`
	Files    int       `json:"files"`
	Bytes    int64     `json:"bytes"`      // of the data files
	Index    int64     `json:"indexBytes"` // of the files of event ids
	First    time.Time `json:"firstEvent,omitzero"`
	Last     time.Time `json:"lastEvent,omitzero"`
	Days     []Day     `json:"days"`
	// Replaced are data files that only older snapshots and holds refer to.
	Replaced      int   `json:"replacedFiles"`
	ReplacedBytes int64 `json:"replacedBytes"`
	// Orphans are files that nothing refers to: what a running writer has not committed yet, or a killed one left.
	Orphans     int            `json:"orphans"`
	OrphanBytes int64          `json:"orphanBytes"`
	Holds       []Hold         `json:"holds"`
	Objects     int64          `json:"objectsRead"` // that are known and not read again
	Removed     int64          `json:"removed"`     // events that retention removed
	Ledger      *ledger.Report `json:"ledger"`
	Runs        []Run          `json:"runs"`
	Damaged     []Damage       `json:"damaged"` // found without reading the files; see Verify
	Columns     []ColumnSize   `json:"columns,omitempty"`
	// Hot is what was taken from a journal and is not in data files yet; nothing of it is counted above.
	Hot HotStatus `json:"hot"`
}

// HotStatus is what a store has beside its data files.
type HotStatus struct {
	Rows  int64 `json:"rows"`
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// Journal is the one that was followed last, Committed the sequence of it up to which rows are in data files.
	Journal   string `json:"journal,omitempty"`
	Committed uint64 `json:"committed,omitempty"`
}

// Day is an event day of a store; events without a time are under 1970-01-01.
type Day struct {
	Day   string `json:"day"`
	Rows  int64  `json:"rows"`
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`
}

// ColumnSize is what a column takes in all data files, compressed.
type ColumnSize struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

// Damage names a file of the store that is not as it was written.
type Damage struct {
	File string `json:"file"` // relative to the store's folder
	Day  string `json:"day,omitempty"`
	Rows int64  `json:"rows"` // that are lost or in doubt
	What string `json:"what"`
}

// Status looks at the store; columns adds what each column takes, which reads the end of every data file.
func (s *Store) Status(ctx context.Context, columns bool) (*Status, error) {
	defer s.leases.take(s.opts.Now())()
	plan, st, hot, err := s.now(ctx, table.Filter{})
	if err != nil {
		return nil, fmt.Errorf("status of the store: %w", err)
	}
	out := &Status{Dir: s.dir, Version: s.format.Version, Created: s.format.Created, Seq: st.Seq, Snapshot: plan.Snapshot, Files: len(plan.Files),
		Holds: nonNil(st.Holds), Runs: nonNil(st.Runs), Removed: st.removedRows(), Damaged: nonNil(hot.damage)}
	if st.Journal != nil {
		out.Hot.Journal, out.Hot.Committed = st.Journal.ID, st.Journal.Seq
	}
	for _, f := range hot.tables(s.dir, table.Filter{}) {
		out.Hot.Rows += f.Rows
		out.Hot.Files++
		out.Hot.Bytes += f.Bytes
		if what := looks(f); what != "" {
			out.Damaged = append(out.Damaged, Damage{File: f.Name, Rows: f.Rows, What: what})
		}
	}
	for _, p := range st.Objects {
		out.Objects += p.Count
	}
	if out.Ledger, err = st.ledger(s.dir); err != nil {
		return nil, fmt.Errorf("status of the store: %w", err)
	}
	days := map[string]*Day{}
	live := map[string]bool{}
	for _, f := range plan.Files {
		live[f.Name] = true
		d := days[dayName(f)]
		if d == nil {
			d = &Day{Day: dayName(f)}
			days[d.Day] = d
		}
		d.Rows += f.Rows
		d.Files++
		d.Bytes += f.Bytes
		out.Rows += f.Rows
		out.Bytes += f.Bytes
		if !f.MinTime.IsZero() && (out.First.IsZero() || f.MinTime.Before(out.First)) {
			out.First = f.MinTime
		}
		if f.MaxTime.After(out.Last) {
			out.Last = f.MaxTime
		}
		if info, err := os.Stat(idsPath(s.dir, f.Name)); err == nil {
			out.Index += info.Size()
		} else {
			out.Damaged = append(out.Damaged, Damage{File: relative(s.dir, idsPath(s.dir, f.Name)), Day: dayName(f), What: plain(err)})
		}
		if what := looks(f); what != "" {
			out.Damaged = append(out.Damaged, Damage{File: f.Name, Day: dayName(f), Rows: f.Rows, What: what})
		}
	}
	for _, d := range days {
		out.Days = append(out.Days, *d)
	}
	slices.SortFunc(out.Days, func(a, b Day) int { return cmp.Compare(a.Day, b.Day) })
	out.Days = nonNil(out.Days)
	all, err := s.table.Files(ctx)
	if err != nil {
		return nil, fmt.Errorf("status of the store: %w", err)
	}
	for _, f := range all {
		if !live[f.Name] {
			out.Replaced++
			out.ReplacedBytes += f.Bytes
		}
	}
	orphans, err := s.table.Orphans(ctx, time.Time{})
	if err != nil {
		return nil, fmt.Errorf("status of the store: %w", err)
	}
	for _, o := range orphans {
		out.Orphans++
		out.OrphanBytes += o.Bytes
	}
	if columns {
		if out.Columns, err = columnSizes(ctx, plan.Files); err != nil {
			return nil, fmt.Errorf("status of the store: %w", err)
		}
	}
	return out, nil
}

// columnSizes adds up what columns take, the largest first; members of structs count for the column. Damaged files are
// left out.
func columnSizes(ctx context.Context, files []table.File) ([]ColumnSize, error) {
	sizes := map[string]int64{}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r, err := file.OpenParquetFile(f.Path, false)
		if err != nil {
			continue
		}
		meta := r.MetaData()
		for g := range r.NumRowGroups() {
			for i := range meta.Schema.NumColumns() {
				c, err := meta.RowGroup(g).ColumnChunk(i)
				if err != nil {
					continue
				}
				sizes[meta.Schema.Column(i).ColumnPath()[0]] += c.TotalCompressedSize()
			}
		}
		if err := r.Close(); err != nil {
			return nil, err
		}
	}
	out := make([]ColumnSize, 0, len(sizes))
	for name, n := range sizes {
		out = append(out, ColumnSize{name, n})
	}
	slices.SortFunc(out, func(a, b ColumnSize) int { return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Name, b.Name)) })
	return out, nil
}

// dayName gives the event day of a file, by its folder: the table knows none of events without a time. Hot files have
// several.
func dayName(f table.File) string {
	if isHot(f.Name) {
		return "several days"
	}
	if f.Day.IsZero() {
		return time.Unix(0, 0).UTC().Format(time.DateOnly)
	}
	return f.Day.Format(time.DateOnly)
}

// looks tells what is wrong with a data file as far as its length and its last bytes tell, or "". It takes some
// microseconds; damage in between shows when the file is read.
func looks(f table.File) string {
	r, err := os.Open(f.Path)
	if err != nil {
		return plain(err)
	}
	defer r.Close() // was opened for reading
	info, err := r.Stat()
	if err != nil {
		return plain(err)
	}
	if info.Size() != f.Bytes {
		return fmt.Sprintf("has %d bytes where %d were written", info.Size(), f.Bytes)
	}
	// A Parquet file ends with the length of its footer and "PAR1".
	var tail [8]byte
	if _, err := r.ReadAt(tail[:], f.Bytes-int64(len(tail))); err != nil {
		return plain(err)
	}
	if n := int64(binary.LittleEndian.Uint32(tail[:])); string(tail[4:]) != "PAR1" || n <= 0 || n > f.Bytes-12 {
		return "its end is not that of a Parquet file"
	}
	return ""
}

// footer tells what is wrong with the footer of a data file, or "".
func footer(f table.File) (what string) {
	defer func() {
		if p := recover(); p != nil { // by which the Parquet library answers some damage
			what = fmt.Sprintf("its footer cannot be read: %v", p)
		}
	}()
	r, err := file.OpenParquetFile(f.Path, false)
	if err != nil {
		return "its footer cannot be read: " + err.Error()
	}
	rows := r.NumRows()
	if err := r.Close(); err != nil {
		return plain(err)
	}
	if rows != f.Rows {
		return fmt.Sprintf("its footer tells of %d events where %d were written", rows, f.Rows)
	}
	return ""
}

// plain gives an error without the path that is told beside it.
func plain(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "missing"
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

func relative(dir, path string) string {
	if rel, err := filepath.Rel(dir, path); err == nil {
		return filepath.ToSlash(rel)
	}
	return path
}

func nonNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// TableMetadata is the metadata of the store's table, as the Apache Iceberg table specification has it. It names the
// committed files alone, not those of events that wait for the next commit.
type TableMetadata = table.Metadata

// TableMetadata gives the metadata of the table as it is now.
func (s *Store) TableMetadata(ctx context.Context) (TableMetadata, error) {
	return s.table.Metadata(ctx)
}
