package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"spoor/internal/dedup"
	"spoor/internal/durable"
	"spoor/internal/event"
	"spoor/internal/ledger"
	"spoor/internal/store/segment"
	"spoor/internal/store/table"
)

// Hot rows are those that were taken from a journal and are in no data file yet. They lie in hot files, which the hot
// manifest names in the order of the journal, each for a stretch of its sequences. Neither is synced: the journal has it
// all, until the rows are committed to the table together with the sequence up to which they reach. Files that end at or
// before that sequence mean nothing any more.

const (
	hotDir      = "hot"
	hotManifest = "manifest"
	hotVersion  = 1
	// hotManifestMax bounds the manifest that is read.
	hotManifestMax = 16 << 20
)

// journalMark is how far the store has a journal. The zero value is no journal.
type journalMark struct {
	ID  string `json:"id"`  // of [Feed.ID]
	Seq uint64 `json:"seq"` // everything up to it is in data files
}

// manifest is the hot manifest.
type manifest struct {
	Format  string    `json:"format"` // spoor-hot
	Version int       `json:"version"`
	Journal string    `json:"journal"` // identity of the journal that the sequences are of
	Written time.Time `json:"written"`
	Files   []hotFile `json:"files"` // each begins where the one before it ends
}

// hotFile is what was made of a stretch of the journal.
type hotFile struct {
	Name string `json:"name"` // of <name>.parquet, <name>.ids and <name>.ledger.json.gz; the first two are there if there are rows
	From uint64 `json:"from"` // sequences behind From up to To
	To   uint64 `json:"to"`
	Rows int64  `json:"rows"`
	// Of the Parquet file. The times are zero when some rows have none.
	Bytes   int64     `json:"bytes,omitempty"`
	Sum     uint32    `json:"crc32c,omitempty"`
	MinTime time.Time `json:"minTime,omitzero"`
	MaxTime time.Time `json:"maxTime,omitzero"`
	Days    int       `json:"days,omitempty"`  // about how many event days the rows are of
	Group   int64     `json:"group,omitempty"` // about how much memory one of its row groups takes
	// LedgerSum is the checksum of the file with the ledger of what was taken from the stretch.
	LedgerSum uint32    `json:"ledgerCrc32c"`
	Published time.Time `json:"published"`
}

func (f *hotFile) parquet() string { return hotDir + "/" + f.Name + ".parquet" }
func (f *hotFile) ids() string     { return hotDir + "/" + f.Name + ".ids" }
func (f *hotFile) ledger() string  { return hotDir + "/" + f.Name + ".ledger.json.gz" }

// names are the files that belong to it.
func (f *hotFile) names() []string { return []string{f.parquet(), f.ids(), f.ledger()} }

// table describes the file as the table does those of its own.
func (f *hotFile) table(dir string) table.File {
	return table.File{Path: filepath.Join(dir, filepath.FromSlash(f.parquet())), Name: f.parquet(), Rows: f.Rows, Bytes: f.Bytes, MinTime: f.MinTime, MaxTime: f.MaxTime}
}

// isHot tells a hot file by its name.
func isHot(name string) bool { return strings.HasPrefix(name, hotDir+"/") }

// errHotManifest says that the hot manifest is not what was written.
var errHotManifest = errors.New("the list of hot files is damaged")

// encodeManifest gives the manifest's file: a line with its checksum, and JSON.
func encodeManifest(m *manifest) ([]byte, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return append(fmt.Appendf(nil, "%08x\n", crc32.Checksum(b, castagnoli())), b...), nil
}

// readManifest reads the hot manifest of the store in dir. Without one there is none in it.
func readManifest(dir string) (*manifest, error) {
	b, err := readBounded(filepath.Join(dir, hotDir, hotManifest), hotManifestMax)
	if errors.Is(err, fs.ErrNotExist) {
		return &manifest{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the list of hot files: %w", err)
	}
	sum, body, ok := bytes.Cut(b, []byte("\n"))
	if !ok || string(sum) != fmt.Sprintf("%08x", crc32.Checksum(body, castagnoli())) {
		return nil, errHotManifest
	}
	m := &manifest{}
	if err := json.Unmarshal(body, m); err != nil || m.Format != "spoor-hot" {
		return nil, errors.Join(errHotManifest, err)
	}
	if m.Version > hotVersion {
		return nil, fmt.Errorf("read the list of hot files: %w: it has version %d, this program knows up to %d", ErrNewer, m.Version, hotVersion)
	}
	for i, f := range m.Files {
		if f.Name == "" || f.Name != filepath.Base(f.Name) || !filepath.IsLocal(f.Name) || f.Rows < 0 || f.To < f.From || i > 0 && f.From != m.Files[i-1].To {
			return nil, errHotManifest
		}
	}
	return m, nil
}

// writeManifest replaces the hot manifest. It is not synced.
func writeManifest(dir string, m *manifest) (err error) {
	b, err := encodeManifest(m)
	if err != nil {
		return fmt.Errorf("write the list of hot files: %w", err)
	}
	f, err := os.CreateTemp(filepath.Join(dir, hotDir), durable.PartPrefix)
	if err != nil {
		return fmt.Errorf("write the list of hot files: %w", err)
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, hotDir, hotManifest))
	}
	if err != nil {
		return fmt.Errorf("write the list of hot files: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// beyond are the files that reach beyond what is committed of their journal.
func (m *manifest) beyond(mark journalMark) []hotFile {
	if m.Journal != mark.ID {
		return m.Files
	}
	return slices.DeleteFunc(slices.Clone(m.Files), func(f hotFile) bool { return f.To <= mark.Seq })
}

// hotView is what a store has beside its table.
type hotView struct {
	files  []hotFile
	damage []Damage
}

// now gives what the store has at one moment: its table, its state, which is nil for the past, and its hot files. The
// caller has a lease.
//
// The manifest is read before the table: rows that move from hot files into the table in between are in both, and the
// state of the table tells so. Hot files come and go with the manifest, and stay a while behind it.
func (s *Store) now(ctx context.Context, f table.Filter) (table.Plan, *state, hotView, error) {
	if f.Tag != "" {
		plan, err := s.table.Plan(ctx, f)
		return plan, nil, hotView{}, err
	}
	for attempt := 0; ; attempt++ {
		m, merr := readManifest(s.dir)
		if merr != nil && !errors.Is(merr, errHotManifest) {
			return table.Plan{}, nil, hotView{}, merr
		}
		plan, st, err := s.view(ctx, f)
		if err != nil {
			return table.Plan{}, nil, hotView{}, err
		}
		if merr != nil {
			return plan, st, hotView{damage: []Damage{{File: hotDir + "/" + hotManifest, What: merr.Error() + "; what was not committed yet is made again from the journal when the store is next followed"}}}, nil
		}
		var mark journalMark
		if st.Journal != nil {
			mark = *st.Journal
		}
		hot := hotView{files: m.beyond(mark)}
		// A process that slept between the two may have missed more than the time that files stay.
		if attempt < 3 && slices.ContainsFunc(hot.files, func(h hotFile) bool {
			return h.Rows > 0 && looks(h.table(s.dir)) != ""
		}) {
			if again, err := readManifest(s.dir); err == nil && !again.Written.Equal(m.Written) {
				continue
			}
		}
		return plan, st, hot, nil
	}
}

// tables are the hot files with rows that a filter asks for, as files of the table.
func (h hotView) tables(dir string, f table.Filter) (out []table.File) {
	for _, file := range h.files {
		if t := file.table(dir); file.Rows > 0 && f.Keeps(t) {
			out = append(out, t)
		}
	}
	return out
}

// byTime sorts files as a plan has them.
func byTime(files []table.File) {
	slices.SortFunc(files, func(a, b table.File) int {
		if c := a.MinTime.Compare(b.MinTime); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
}

// checkHot reads a hot file against its checksums, and tells what is wrong with it, or "".
func checkHot(ctx context.Context, dir string, f *hotFile) (what string, _ error) {
	if _, err := readHotLedger(dir, f); err != nil {
		return plain(err), ctx.Err()
	}
	if f.Rows == 0 {
		return "", nil
	}
	t := f.table(dir)
	if what := looks(t); what != "" {
		return what, nil
	}
	switch sum, err := fileSum(ctx, t.Path); {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		return plain(err), nil
	case sum != f.Sum:
		return otherSum, nil
	}
	ids, err := dedup.OpenIDs(idsPath(dir, t.Name))
	if err != nil {
		return plain(err), nil
	}
	defer ids.Close() // was opened for reading
	if err := ids.Verify(); err != nil || ids.Sum() != f.Sum || int64(ids.Len()) != f.Rows {
		return "its event ids are not those of what was written", nil
	}
	return "", nil
}

// readHotLedger reads the ledger of what was taken from the stretch of a hot file.
func readHotLedger(dir string, f *hotFile) (*ledger.Report, error) {
	path := filepath.Join(dir, filepath.FromSlash(f.ledger()))
	b, err := readBounded(path, ledgerMax)
	if err != nil {
		return nil, err
	}
	if crc32.Checksum(b, castagnoli()) != f.LedgerSum {
		return nil, fmt.Errorf("the ledger beside it is damaged")
	}
	r, err := decodeLedger(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	if r.Records.Kept != f.Rows {
		return nil, fmt.Errorf("has %d events where its ledger kept %d", f.Rows, r.Records.Kept)
	}
	return r, nil
}

// verifyHot reads a hot file, and tells how many rows can be read and what is wrong with it. It gives each event to has.
func verifyHot(ctx context.Context, dir string, f *hotFile, deep bool, has func(dedup.Key, int64)) (rows int64, what string, _ error) {
	if what, err := checkHot(ctx, dir, f); err != nil || what != "" || f.Rows == 0 {
		return 0, what, err
	}
	t := f.table(dir)
	if what := footer(t); what != "" {
		return 0, what, nil
	}
	keys := make([]dedup.Key, 0, f.Rows)
	rows, what, err := readRows(ctx, t, func(e *event.Event) {
		k := dedup.KeyOf(e)
		keys = append(keys, k)
		has(k, e.Time)
	})
	if err != nil || what != "" {
		return rows, what, err
	}
	if deep {
		if what := readColumns(ctx, t); what != "" {
			return rows, what, ctx.Err()
		}
	}
	ids, err := dedup.OpenIDs(idsPath(dir, t.Name))
	if err != nil {
		return rows, plain(err), nil
	}
	defer ids.Close() // was opened for reading
	if !haveAll(ids, keys) {
		return rows, "its event ids are not those of its events", nil
	}
	return rows, "", ctx.Err()
}

// segmentFile describes a hot segment that was written.
func hotOf(g segment.Segment) hotFile {
	name := strings.TrimSuffix(filepath.Base(g.Path), filepath.Ext(g.Path))
	return hotFile{Name: name, Rows: g.Rows, Bytes: g.Bytes, Sum: g.Sum, MinTime: g.MinTime, MaxTime: g.MaxTime, Group: g.Group}
}

// hotIDs are the ids of hot files.
type hotIDs []*dedup.IDs

// find looks for an event.
func (h hotIDs) find(k dedup.Key, at int64) dedup.Verdict {
	verdict := dedup.First
	for _, ids := range h {
		if first, last := ids.Times(); at < first || at > last {
			continue
		}
		switch v := ids.Find(k); v {
		case dedup.Duplicate:
			return v
		case dedup.Conflict:
			verdict = v
		}
	}
	return verdict
}

// hotSeen knows the events of hot files beside others. It implements [intake.Seen].
type hotSeen struct {
	*seen
	hot hotIDs
}

// Add implements [intake.Seen].
func (h *hotSeen) Add(k dedup.Key, at int64) (dedup.Verdict, error) {
	verdict := h.hot.find(k, at)
	if verdict == dedup.Duplicate {
		return verdict, nil
	}
	v, err := h.seen.Add(k, at)
	return max(verdict, v), err
}

// close closes the ids of the hot files; the rest is not its own.
func (h *hotSeen) close() error {
	var errs []error
	for _, ids := range h.hot {
		errs = append(errs, ids.Close())
	}
	return errors.Join(errs...)
}

// withHot adds the events of hot files that wait for their journal to be followed again. Of a file that is damaged nothing
// is known, as it is made again from the journal, when its events are looked for in the store.
func (s *Store) withHot(ctx context.Context, sn *seen) (*hotSeen, error) {
	h := &hotSeen{seen: sn}
	_, _, hot, err := s.now(ctx, table.Filter{})
	if err != nil {
		return nil, err
	}
	for i := range hot.files {
		f := &hot.files[i]
		what, err := checkHot(ctx, s.dir, f)
		if err != nil {
			return nil, errors.Join(err, h.close())
		}
		if what != "" || f.Rows == 0 {
			continue
		}
		ids, err := dedup.OpenIDs(idsPath(s.dir, f.parquet()))
		if err != nil {
			return nil, errors.Join(err, h.close())
		}
		h.hot = append(h.hot, ids)
	}
	return h, nil
}

// removeHot removes the files of a hot file.
func removeHot(dir string, f *hotFile) error {
	var errs []error
	for _, name := range f.names() {
		if err := os.Remove(filepath.Join(dir, filepath.FromSlash(name))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
