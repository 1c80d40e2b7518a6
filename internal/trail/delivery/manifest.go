package delivery

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"spoor/internal/durable"
)

const (
	cutsDir   = "cuts"
	packsDir  = "packs"
	trailsDir = "trails"

	manifestFormat  = "spoor-trail-cut"
	manifestVersion = 1
	maxManifest     = 1 << 30
)

// manifest is what a cut made: the log files of a range of the journal, each a list of stretches of packs.
type manifest struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	Number  uint64    `json:"number"` // of the cut, from 1
	Journal string    `json:"journal"`
	From    uint64    `json:"from"` // the first sequence
	To      uint64    `json:"to"`   // the last one
	At      time.Time `json:"at"`
	Packs   []pack    `json:"packs"`
	Places  []place   `json:"places"`
	Files   []file    `json:"files"`
}

// pack is a file of stretches.
type pack struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// place is where files of a trail go: what its settings were.
type place struct {
	Trail        string `json:"trail"` // ARN
	Bucket       string `json:"bucket"`
	Prefix       string `json:"prefix,omitempty"`
	Organization string `json:"organization,omitempty"` // of a trail of the organisation
	KMSKey       string `json:"kmsKey,omitempty"`
	Topic        string `json:"topic,omitempty"`
	Validation   bool   `json:"validation,omitempty"`
}

// file is a log file.
type file struct {
	Place   int       `json:"place"` // in Places
	Account string    `json:"account"`
	Region  string    `json:"region"`
	Kind    string    `json:"kind"` // CloudTrail, CloudTrail-Insight, …
	Key     string    `json:"key"`
	Events  int64     `json:"events"`
	Size    int64     `json:"size"` // before compression
	CRC     uint32    `json:"crc"`  // of gzip
	Hash    string    `json:"hash"` // SHA-256 before compression
	Oldest  time.Time `json:"oldest"`
	Newest  time.Time `json:"newest"`
	Chunks  []chunk   `json:"chunks"`
}

// chunk is a stretch of a pack: compressed, and ending on a byte.
type chunk struct {
	pack int    // in Packs
	off  int64  // in it
	size int64  // of the stretch
	sum  uint32 // CRC-32C of it
}

// MarshalJSON implements [json.Marshaler]: there are many chunks.
func (c chunk) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, "[%d,%d,%d,%d]", c.pack, c.off, c.size, c.sum), nil
}

// UnmarshalJSON implements [json.Unmarshaler].
func (c *chunk) UnmarshalJSON(b []byte) error {
	var v []int64
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	if len(v) != 4 || v[3] < 0 || v[3] > 1<<32-1 {
		return fmt.Errorf("a stretch is four numbers, not %.80s", b)
	}
	*c = chunk{int(v[0]), v[1], v[2], uint32(v[3])}
	return nil
}

func manifestDocument() durable.Document {
	return durable.Document{What: "the manifest of a cut", Format: manifestFormat, Version: manifestVersion, Most: maxManifest, Damaged: ErrDamaged, Newer: ErrNewer}
}

// readManifest reads a manifest, which is there.
func readManifest(path string) (m *manifest, err error) {
	found, err := manifestDocument().Read(path, func(b []byte) (err error) {
		m, err = decodeManifest(b)
		return err
	})
	if err == nil && !found {
		err = fmt.Errorf("read the manifest of a cut %s: %w", path, os.ErrNotExist)
	}
	return m, err
}

func decodeManifest(b []byte) (*manifest, error) {
	m := &manifest{}
	if err := manifestDocument().Decode(b, m); err != nil {
		return nil, err
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return m, nil
}

var (
	packForm    = regexp.MustCompile(`^[0-9]{20}-[0-9]{1,9}\.pack$`)
	accountForm = regexp.MustCompile(`^[0-9]{12}$`)
	regionForm  = regexp.MustCompile(`^[a-z]{2,8}(-[a-z0-9]{1,16}){1,4}$`)
)

func (m *manifest) check() error {
	if m.Version < 1 || m.Number == 0 || m.Journal == "" || m.From == 0 || m.From > m.To || m.At.IsZero() || len(m.Files) == 0 {
		return fmt.Errorf("version %d, cut %d of journal %q, sequences %d to %d, at %s, %d files", m.Version, m.Number, m.Journal, m.From, m.To, m.At, len(m.Files))
	}
	for _, p := range m.Packs {
		if !packForm.MatchString(p.Name) || p.Size < 0 {
			return fmt.Errorf("pack %.40q of %d bytes", p.Name, p.Size)
		}
	}
	for _, p := range m.Places {
		if p.Trail == "" || p.Bucket == "" {
			return fmt.Errorf("place of trail %.200q: bucket %.80q", p.Trail, p.Bucket)
		}
	}
	for i, f := range m.Files {
		if f.Place < 0 || f.Place >= len(m.Places) || !accountForm.MatchString(f.Account) || !regionForm.MatchString(f.Region) || f.Key == "" || f.Events <= 0 || f.Size <= 0 || len(f.Chunks) == 0 {
			return fmt.Errorf("file %d: %.200q of place %d, account %.40q, Region %.40q, %d events, %d bytes", i, f.Key, f.Place, f.Account, f.Region, f.Events, f.Size)
		}
		if h, err := hex.DecodeString(f.Hash); err != nil || len(h) != 32 || hex.EncodeToString(h) != f.Hash {
			return fmt.Errorf("file %d: hash %.80q", i, f.Hash)
		}
		for _, c := range f.Chunks {
			if c.pack < 0 || c.pack >= len(m.Packs) || c.off < 0 || c.size <= 0 || c.size > m.Packs[c.pack].Size || c.off > m.Packs[c.pack].Size-c.size {
				return fmt.Errorf("file %d: stretch of %d bytes at %d of pack %d", i, c.size, c.off, c.pack)
			}
		}
	}
	return nil
}

func cutName(n uint64) string { return fmt.Sprintf("%020d.json", n) }

// listCuts gives the numbers of the manifests of a folder, in rising order.
func listCuts(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, e := range entries {
		n, err := strconv.ParseUint(strings.TrimSuffix(e.Name(), ".json"), 10, 64)
		if err != nil || cutName(n) != e.Name() {
			return nil, fmt.Errorf("%w: %s is not the name of a manifest", ErrDamaged, e.Name())
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	return numbers, nil
}

// fileID names a file: by its cut, and its place in the manifest.
type fileID struct {
	cut   uint64
	index int
}

// MarshalText implements [encoding.TextMarshaler].
func (id fileID) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%d-%d", id.cut, id.index), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (id *fileID) UnmarshalText(b []byte) error {
	cut, index, _ := strings.Cut(string(b), "-")
	var err, err2 error
	id.cut, err = strconv.ParseUint(cut, 10, 64)
	id.index, err2 = strconv.Atoi(index)
	if err != nil || err2 != nil || id.index < 0 {
		return fmt.Errorf("%.40q does not name a file", b)
	}
	return nil
}

func compare[T cmp.Ordered](a, b T) int { return cmp.Compare(a, b) }
