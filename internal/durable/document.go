package durable

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Document is a file that holds the state of something as one JSON object, which says what it is in its members format and
// version. It is read strictly: what is not known may be what keeps somebody out.
type Document struct {
	What    string // in errors
	Format  string
	Version int   // the newest that is known
	Most    int64 // bytes
	// Damaged is wrapped by errors of content that is not of the form, Newer by those of a newer version.
	Damaged, Newer error
}

// Read reads the file with decode, which gives it to [Document.Decode] and checks what came of it; found is false when there
// is no file.
func (d Document) Read(path string, decode func([]byte) error) (found bool, _ error) {
	in, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", d.What, err)
	}
	b, err := io.ReadAll(io.LimitReader(in, d.Most+1))
	if err = errors.Join(err, in.Close()); err != nil {
		return false, fmt.Errorf("read %s: %w", d.What, err)
	}
	if int64(len(b)) > d.Most {
		return false, fmt.Errorf("read %s %s: %w: larger than %d bytes", d.What, path, d.Damaged, d.Most)
	}
	if err := decode(b); err != nil {
		return false, fmt.Errorf("read %s %s: %w", d.What, path, err)
	}
	return true, nil
}

// Decode decodes the content of the file.
func (d Document) Decode(b []byte, into any) error {
	var head struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return fmt.Errorf("%w: %w", d.Damaged, err)
	}
	if head.Format != d.Format {
		return fmt.Errorf("%w: its format is %.40q, not %q", d.Damaged, head.Format, d.Format)
	}
	if head.Version > d.Version {
		return fmt.Errorf("%w: it has version %d, this one knows up to %d", d.Newer, head.Version, d.Version)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("%w: %w", d.Damaged, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows its end", d.Damaged)
	}
	return nil
}
