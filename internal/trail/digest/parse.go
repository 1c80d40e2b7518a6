package digest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Digest is what the text of a digest says. Nothing of it is true before [Verify] says so.
type Digest struct {
	Account         string
	Start, End      time.Time
	EndText         string // End as it is signed
	Bucket, Object  string // where it says that it lies
	Fingerprint     string // of the key that signed it
	Algorithm       string // of the signature
	Newest, Oldest  time.Time
	Previous        *Link // nil for the first one of a chain; Hash and Algorithm may be empty
	Files           []File
	PreviousSigning string // previousDigestSignature, empty for null
}

// ErrFormat is wrapped by errors of text that is no digest.
var ErrFormat = errors.New("not the form of a digest")

// Parse reads a digest. Members that validation needs must be there, with their types; others may be missing, and unknown ones
// are left out. Names count with their case.
func Parse(text []byte) (*Digest, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	var members map[string]json.RawMessage
	if err := dec.Decode(&members); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: something follows its end", ErrFormat)
	}
	r := reader{members: members}
	d := &Digest{
		Account: r.text("awsAccountId", false), EndText: r.text("digestEndTime", true),
		Bucket: r.text("digestS3Bucket", true), Object: r.text("digestS3Object", true),
		Fingerprint: r.text("digestPublicKeyFingerprint", true), Algorithm: r.text("digestSignatureAlgorithm", false),
		Newest: r.time("newestEventTime", false), Oldest: r.time("oldestEventTime", false),
		Start: r.time("digestStartTime", true), End: r.time("digestEndTime", true),
	}
	if _, ok := members["previousDigestSignature"]; !ok {
		r.fail("previousDigestSignature is missing")
	}
	d.PreviousSigning = r.text("previousDigestSignature", false)
	link := Link{
		Bucket: r.text("previousDigestS3Bucket", false), Object: r.text("previousDigestS3Object", false), Signature: d.PreviousSigning,
		Hash: r.text("previousDigestHashValue", false), Algorithm: r.text("previousDigestHashAlgorithm", false),
	}
	if link.Bucket != "" && link.Object != "" {
		d.Previous = &link
	}
	raw, ok := members["logFiles"]
	if !ok {
		r.fail("logFiles is missing")
	} else if files := []json.RawMessage(nil); r.err == nil {
		if err := json.Unmarshal(raw, &files); err != nil || files == nil {
			r.fail("logFiles is no list")
		}
		d.Files = make([]File, len(files))
		for i, raw := range files {
			if r.err != nil {
				break
			}
			f := reader{}
			if err := json.Unmarshal(raw, &f.members); err != nil {
				r.fail("an entry of logFiles is no object")
				break
			}
			d.Files[i] = File{
				Bucket: f.text("s3Bucket", true), Object: f.text("s3Object", true), Hash: f.text("hashValue", true),
				Algorithm: f.text("hashAlgorithm", false), Newest: f.time("newestEventTime", false), Oldest: f.time("oldestEventTime", false),
			}
			if f.err != nil {
				r.fail(fmt.Sprintf("entry %d of logFiles: %v", i, f.err))
			}
		}
	}
	if r.err == nil && d.End.Before(d.Start) {
		r.fail("it ends before it starts")
	}
	if r.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, r.err)
	}
	return d, nil
}

// reader reads members, and keeps the first error.
type reader struct {
	members map[string]json.RawMessage
	err     error
}

func (r *reader) fail(why string) {
	if r.err == nil {
		r.err = errors.New(why)
	}
}

// text reads a text; null is like one that is missing.
func (r *reader) text(name string, needed bool) string {
	raw, ok := r.members[name]
	if !ok || string(raw) == "null" {
		if needed {
			r.fail(name + " is missing")
		}
		return ""
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		r.fail(name + " is no text")
	} else if needed && text == "" {
		r.fail(name + " is empty")
	}
	return text
}

func (r *reader) time(name string, needed bool) time.Time {
	text := r.text(name, needed)
	if text == "" {
		return time.Time{}
	}
	t, err := time.Parse(timeForm, text)
	if err != nil {
		r.fail(name + " is no time")
	}
	return t
}
