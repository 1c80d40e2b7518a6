package table

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/apache/iceberg-go/table"
	"github.com/google/uuid"
)

const (
	metadataDir = "metadata"
	dataDir     = "data"
	versionHint = "version-hint.text"
	tempSuffix  = ".tmp"
)

// ident is what iceberg-go calls the table; it is written nowhere.
var ident = table.Identifier{"spoor", "events"}

// state is one version of the table.
type state struct {
	version int
	meta    table.Metadata
	name    string // "metadata/v7.metadata.json"
}

func metadataName(version int) string {
	return metadataDir + "/v" + strconv.Itoa(version) + ".metadata.json"
}

// metadataVersion tells the version from the name of a file in metadata/.
func metadataVersion(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, "v")
	if !ok {
		return 0, false
	}
	digits, ok = strings.CutSuffix(digits, ".metadata.json")
	if !ok {
		return 0, false
	}
	v, err := strconv.Atoi(digits)
	return v, err == nil && v > 0 && strconv.Itoa(v) == digits
}

// latest finds the newest version by looking at the folder; the hint may lag behind.
func latest(dir string) (int, error) {
	entries, err := os.ReadDir(filepath.Join(dir, metadataDir))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%s: %w", dir, ErrNoTable)
	}
	if err != nil {
		return 0, fmt.Errorf("look for the newest table metadata: %w", err)
	}
	newest := 0
	for _, e := range entries {
		if v, ok := metadataVersion(e.Name()); ok {
			newest = max(newest, v)
		}
	}
	if newest == 0 {
		return 0, fmt.Errorf("%s: %w", dir, ErrNoTable)
	}
	return newest, nil
}

// load reads the newest version. A version that vanishes while it is looked for was overtaken by others.
func load(dir string) (*state, error) {
	for attempt := 0; ; attempt++ {
		version, err := latest(dir)
		if err != nil {
			return nil, err
		}
		s := &state{version: version, name: metadataName(version)}
		path := filepath.Join(dir, filepath.FromSlash(s.name))
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) && attempt < 10 {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read table metadata: %w", err)
		}
		err = guard(func() (err error) {
			s.meta, err = table.ParseMetadataBytes(data)
			return err
		})
		if err != nil {
			return nil, &DamagedError{Path: path, Err: err}
		}
		if s.meta.Version() != formatVersion {
			return nil, fmt.Errorf("table metadata %s: Iceberg format version %d, only %d is understood", path, s.meta.Version(), formatVersion)
		}
		return s, nil
	}
}

// Metadata is the metadata of one version of the table.
type Metadata struct {
	UUID     string
	Version  int
	Location string // logical, as files are named in it
	JSON     []byte // as the Apache Iceberg table specification has it
}

// Metadata gives the metadata of the current version.
func (t *Table) Metadata(ctx context.Context) (Metadata, error) {
	for attempt := 0; ; attempt++ {
		if t.readOnly {
			if err := t.Refresh(ctx); err != nil {
				return Metadata{}, fmt.Errorf("read table metadata: %w", err)
			}
		}
		s := t.current.Load()
		b, err := os.ReadFile(t.path(s.name))
		if err == nil {
			return Metadata{UUID: s.meta.TableUUID().String(), Version: s.version, Location: t.disk.location + "/" + s.name, JSON: b}, nil
		}
		// Many versions may have followed meanwhile.
		if !errors.Is(err, fs.ErrNotExist) || attempt == 3 {
			return Metadata{}, fmt.Errorf("read table metadata: %w", err)
		}
	}
}

// publish makes meta the next version: whole and durable, or not at all. It fails with [table.ErrCommitFailed] if there
// is such a version already.
func publish(d *disk, version int, meta table.Metadata) error {
	var buf bytes.Buffer
	if err := json.NewEncoder(&buf).Encode(meta); err != nil {
		return fmt.Errorf("encode table metadata: %w", err)
	}
	dir := filepath.Join(d.dir, metadataDir)
	path := filepath.Join(d.dir, filepath.FromSlash(metadataName(version)))
	temp := path + "." + uuid.NewString() + tempSuffix
	if err := d.writeFile(temp, buf.Bytes()); err != nil {
		return err
	}
	defer func() {
		if err := d.remove(temp); err != nil {
			d.log.Warn("table: a temporary file stays", "path", temp, "error", err)
		}
	}()
	// What the new version refers to, before the version itself.
	if err := d.syncDir(dir); err != nil {
		return err
	}
	if err := d.link(temp, path); errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", path, table.ErrCommitFailed)
	} else if err != nil {
		return fmt.Errorf("publish table metadata: %w", err)
	}
	if err := writeHint(d, version); err != nil {
		d.log.Warn("table: the version hint lags behind", "version", version, "error", err)
	}
	if err := d.syncDir(dir); err != nil {
		return fmt.Errorf("%w: %s is there but may not survive a loss of power: %w", ErrUnknown, path, err)
	}
	return nil
}

// writeHint tells readers that want it the newest version; nothing here reads it.
func writeHint(d *disk, version int) error {
	path := filepath.Join(d.dir, metadataDir, versionHint)
	temp := path + "." + uuid.NewString() + tempSuffix
	if err := d.writeFile(temp, strconv.AppendInt(nil, int64(version), 10)); err != nil {
		return err
	}
	if err := d.rename(temp, path); err != nil {
		return errors.Join(err, d.remove(temp))
	}
	return nil
}

// catalog commits onto one version of the table: the next one is published, or the commit fails because somebody else
// published it. One catalog serves one commit.
type catalog struct {
	disk *disk
	base *state
	next *state // set by a commit that succeeded
}

func (c *catalog) LoadTable(context.Context, table.Identifier) (*table.Table, error) {
	return nil, errors.New("table: a commit does not reload")
}

func (c *catalog) CommitTable(ctx context.Context, _ table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	for _, r := range reqs {
		if err := r.Validate(c.base.meta); err != nil {
			return nil, "", err
		}
	}
	meta, err := table.UpdateTableMetadata(c.base.meta, updates, c.disk.location+"/"+c.base.name)
	if err != nil {
		return nil, "", fmt.Errorf("update table metadata: %w", err)
	}
	if err := context.Cause(ctx); err != nil {
		return nil, "", err
	}
	// A version far behind may have been trimmed, so that its successor's name is free again.
	newest, err := latest(c.disk.dir)
	if err != nil {
		return nil, "", err
	}
	if newest != c.base.version {
		return nil, "", fmt.Errorf("table is at version %d, not %d: %w", newest, c.base.version, table.ErrCommitFailed)
	}
	next := &state{version: c.base.version + 1, meta: meta, name: metadataName(c.base.version + 1)}
	if err := publish(c.disk, next.version, meta); err != nil {
		return nil, "", err
	}
	c.next = next
	return meta, c.disk.location + "/" + next.name, nil
}
