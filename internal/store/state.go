package store

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"

	"spoor/internal/durable"
	"spoor/internal/ledger"
)

// Properties of the table that belong to a commit.
const (
	propState = "spoor.state" // name of the state file
	propSeq   = "spoor.seq"   // its number
)

// state is what a commit makes valid beside the data files. A state file is written once and never changed.
type state struct {
	Format  string    `json:"format"` // spoor-store-state
	Version int       `json:"version"`
	Seq     int64     `json:"seq"` // of the commit, from 1
	Written time.Time `json:"written"`
	// Ledgers and Objects name files beside this one. The ledger is the sum of Ledgers; an object was read when it is in
	// one of Objects.
	Ledgers []part `json:"ledgers"`
	Objects []part `json:"objects"`
	// Rows is how many rows the data files have: what the ledger kept, less what Removed adds up to.
	Rows    int64     `json:"rows"`
	Kept    int64     `json:"kept"`
	Removed []removal `json:"removed"` // by event day, the oldest first
	Holds   []Hold    `json:"holds"`
	Runs    []Run     `json:"runs"` // the last ingestions, the oldest first
	// Journal is how far the store has the journal that it followed last; what it points to never changes.
	Journal *journalMark `json:"journal,omitempty"`
}

// part is a file of the state.
type part struct {
	Name  string `json:"name"`
	Count int64  `json:"count"` // cells or objects
}

// removal counts the events of a day that retention removed.
type removal struct {
	Day  string `json:"day"`
	Rows int64  `json:"rows"`
}

// Run is one ingestion.
type Run struct {
	Began   time.Time      `json:"began"`
	Ended   time.Time      `json:"ended"`
	Inputs  []string       `json:"inputs"`
	Objects ledger.Objects `json:"objects"` // read or failed, without what was left out while listing
	Records ledger.Records `json:"records"`
}

const (
	stateVersion = 1
	runsKept     = 50
	inputsKept   = 10
	stateMax     = 64 << 20
)

func newState() *state { return &state{Format: "spoor-store-state", Version: stateVersion} }

// clone copies what may be changed.
func (st *state) clone() *state {
	c := *st
	c.Ledgers, c.Objects, c.Removed = slices.Clone(st.Ledgers), slices.Clone(st.Objects), slices.Clone(st.Removed)
	c.Holds, c.Runs = slices.Clone(st.Holds), slices.Clone(st.Runs)
	return &c
}

// remove counts rows of days as removed.
func (st *state) remove(rows map[string]int64) {
	sum := map[string]int64{}
	for _, r := range st.Removed {
		sum[r.Day] += r.Rows
	}
	for day, n := range rows {
		sum[day] += n
		st.Rows -= n
	}
	st.Removed = st.Removed[:0]
	for _, day := range slices.Sorted(maps.Keys(sum)) {
		st.Removed = append(st.Removed, removal{day, sum[day]})
	}
}

func (st *state) removedRows() (n int64) {
	for _, r := range st.Removed {
		n += r.Rows
	}
	return n
}

// files names everything that belongs to the state, but for the state file itself.
func (st *state) files() []string {
	var out []string
	for _, p := range slices.Concat(st.Ledgers, st.Objects) {
		out = append(out, p.Name)
	}
	return out
}

// readState reads the state file name of the store in dir.
func readState(dir, name string) (*state, error) {
	path, err := statePath(dir, name)
	if err != nil {
		return nil, err
	}
	b, err := readBounded(path, stateMax)
	if err != nil {
		return nil, fmt.Errorf("read the store's state: %w", err)
	}
	st := &state{}
	if err := json.Unmarshal(b, st); err != nil {
		return nil, fmt.Errorf("read the store's state %s: %w", name, err)
	}
	if st.Format != "spoor-store-state" {
		return nil, fmt.Errorf("read the store's state %s: not a state file", name)
	}
	if st.Version > stateVersion {
		return nil, fmt.Errorf("read the store's state: %w: it has version %d, this program knows up to %d", ErrNewer, st.Version, stateVersion)
	}
	return st, nil
}

// statePath gives the path of a file of the state. Names come out of files, so they must not lead elsewhere.
func statePath(dir, name string) (string, error) {
	if name == "" || filepath.Base(name) != name || !filepath.IsLocal(name) {
		return "", fmt.Errorf("the store's state names a file %q", name)
	}
	return filepath.Join(dir, stateDir, name), nil
}

func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return b, errors.Join(err, f.Close())
}

// writeState writes and syncs st under a new name.
func writeState(dir string, st *state) (name string, err error) {
	b, err := json.MarshalIndent(st, "", " ")
	if err != nil {
		return "", fmt.Errorf("encode the store's state: %w", err)
	}
	name = uuid.NewString() + ".json"
	if err := durable.WriteFile(filepath.Join(dir, stateDir, name), append(b, '\n'), 0o644); err != nil {
		return "", fmt.Errorf("write the store's state: %w", err)
	}
	return name, nil
}

// ledgerMax bounds the ledger file that is read.
const ledgerMax = 512 << 20

// encodeLedger gives the file of a ledger.
func encodeLedger(r *ledger.Report) ([]byte, error) {
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if err := errors.Join(json.NewEncoder(z).Encode(r), z.Close()); err != nil {
		return nil, fmt.Errorf("encode the store's ledger: %w", err)
	}
	return buf.Bytes(), nil
}

func decodeLedger(from io.Reader) (*ledger.Report, error) {
	z, err := gzip.NewReader(from)
	if err != nil {
		return nil, err
	}
	r := &ledger.Report{}
	return r, json.NewDecoder(io.LimitReader(z, ledgerMax)).Decode(r)
}

func writeLedger(dir string, r *ledger.Report) (part, error) {
	b, err := encodeLedger(r)
	if err != nil {
		return part{}, err
	}
	p := part{Name: uuid.NewString() + ".ledger.json.gz", Count: int64(len(r.Cells))}
	if err := durable.WriteFile(filepath.Join(dir, stateDir, p.Name), b, 0o644); err != nil {
		return part{}, fmt.Errorf("write the store's ledger: %w", err)
	}
	return p, nil
}

func readLedger(dir, name string) (*ledger.Report, error) {
	path, err := statePath(dir, name)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the store's ledger: %w", err)
	}
	r, err := decodeLedger(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read the store's ledger %s: %w", name, err)
	}
	return r, nil
}

// ledger adds up the ledger of the store.
func (st *state) ledger(dir string) (*ledger.Report, error) {
	reports := make([]*ledger.Report, 0, len(st.Ledgers))
	for _, p := range st.Ledgers {
		r, err := readLedger(dir, p.Name)
		if err != nil {
			return nil, err
		}
		reports = append(reports, r)
	}
	return ledger.Merge(reports...), nil
}

// partsMax is how many files of a kind a state has at most: small ones are added up into larger ones, so that every entry
// is written a few times only.
const partsMax = 8

// fold says from which place on parts are to be added up into one: the last ones that together are no smaller than half
// of the one before. It is len(parts) when nothing is to be done.
func fold(parts []part) int {
	if len(parts) <= partsMax {
		return len(parts)
	}
	at := len(parts) - 1
	sum := parts[at].Count
	for at > 0 && (parts[at-1].Count <= 2*sum || at >= partsMax) {
		at--
		sum += parts[at].Count
	}
	return at
}

// cellsMax is how many cells by hour the ledger keeps. Beyond it, they are added up by day, and then by month.
const cellsMax = 200_000

// coarsen bounds the cells of a ledger.
func coarsen(r *ledger.Report) {
	if len(r.Cells) > cellsMax {
		r.Cells = r.ByDay()
	}
	if len(r.Cells) > cellsMax {
		r.Cells = r.By(func(c ledger.Cell) ledger.Cell {
			if !c.Hour.IsZero() {
				c.Hour = time.Date(c.Hour.Year(), c.Hour.Month(), 1, 0, 0, 0, 0, time.UTC)
			}
			return c
		})
	}
}

// addition is a ledger, and objects that were read, on their way into the state. Its files lie in the folder already.
type addition struct {
	s       *Store
	kept    int64
	ledgers growth
	objects growth
}

// growth is what is to become of a list of files.
type growth struct {
	part part   // that is added; without a name there is nothing to add
	from []part // what the list was when this was prepared
	to   []part // what it is to become if it is still that: with the smaller ones added up
}

func (g growth) apply(now []part) []part {
	switch {
	case g.part.Name == "":
		return now
	case slices.Equal(now, g.from):
		return slices.Clone(g.to)
	}
	return append(now, g.part) // another one comes to add up what is small
}

// prepare writes a ledger, and objects that were read, for a commit to come, which calls apply. The caller calls done
// when that has happened, or will not happen.
func (s *Store) prepare(r *ledger.Report, objects []objectKey) (_ *addition, err error) {
	s.laying.RLock()
	a := &addition{s: s}
	defer func() {
		if err != nil {
			a.done()
		}
	}()
	st := s.st.Load()
	if r != nil {
		a.kept = r.Records.Kept
		if a.ledgers, err = growLedgers(s.dir, st.Ledgers, r); err != nil {
			return nil, err
		}
	}
	a.objects, err = growObjects(s.dir, st.Objects, objects)
	return a, err
}

// apply makes the addition part of st, in the function that changes the state at a commit.
func (a *addition) apply(st *state) {
	st.Ledgers, st.Objects = a.ledgers.apply(st.Ledgers), a.objects.apply(st.Objects)
	st.Kept += a.kept
	st.Rows += a.kept
}

// done ends the addition: its files are swept away unless a commit named them.
func (a *addition) done() { a.s.laying.RUnlock() }

// growLedgers adds r to the ledgers.
func growLedgers(dir string, now []part, r *ledger.Report) (g growth, err error) {
	g.from = now
	if g.part, err = writeLedger(dir, r); err != nil {
		return g, err
	}
	g.to = append(slices.Clone(now), g.part)
	at := fold(g.to)
	if at == len(g.to) {
		return g, nil
	}
	all, err := (&state{Ledgers: g.to[at:]}).ledger(dir)
	if err != nil {
		return g, err
	}
	coarsen(all)
	sum, err := writeLedger(dir, all)
	g.to = append(g.to[:at], sum)
	return g, err
}

// growObjects adds objects to those that were read.
func growObjects(dir string, now []part, keys []objectKey) (g growth, err error) {
	if len(keys) == 0 {
		return g, nil
	}
	g.from = now
	_, next := sorted(keys)
	if g.part, err = newObjects(dir, next); err != nil {
		return g, err
	}
	g.to = append(slices.Clone(now), g.part)
	at := fold(g.to)
	if at == len(g.to) {
		return g, nil
	}
	merged := func() (objectKey, bool, error) { return objectKey{}, false, nil }
	var open []*objectsFile
	defer func() {
		for _, o := range open {
			err = errors.Join(err, o.close())
		}
	}()
	for _, p := range g.to[at:] {
		o, err := openPart(dir, p)
		if err != nil {
			return g, err
		}
		open = append(open, o)
		merged = mergeKeys(merged, o.keys())
	}
	sum, err := newObjects(dir, merged)
	g.to = append(g.to[:at], sum)
	return g, err
}

func newObjects(dir string, next func() (objectKey, bool, error)) (part, error) {
	name := uuid.NewString() + ".objects"
	n, err := writeObjects(filepath.Join(dir, stateDir, name), next)
	if err != nil {
		return part{}, fmt.Errorf("write the objects that were read: %w", err)
	}
	return part{Name: name, Count: n}, nil
}

func openPart(dir string, p part) (*objectsFile, error) {
	path, err := statePath(dir, p.Name)
	if err != nil {
		return nil, err
	}
	o, err := openObjects(path)
	if err != nil {
		return nil, fmt.Errorf("open the objects that were read: %w", err)
	}
	if o.n != p.Count {
		return nil, errors.Join(fmt.Errorf("open the objects that were read: %s has %d, not %d", p.Name, o.n, p.Count), o.close())
	}
	return o, nil
}

// sweepState removes files of the state folder that keep does not name and that are older than before.
func sweepState(dir string, keep map[string]bool, before time.Time) (removed int, _ error) {
	entries, err := os.ReadDir(filepath.Join(dir, stateDir))
	if err != nil {
		return 0, fmt.Errorf("clean the store's state: %w", err)
	}
	for _, e := range entries {
		if keep[e.Name()] || e.IsDir() {
			continue
		}
		info, err := e.Info()
		if err != nil || !info.ModTime().Before(before) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, stateDir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, fmt.Errorf("clean the store's state: %w", err)
		}
		removed++
	}
	return removed, nil
}
