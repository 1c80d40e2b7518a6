package journal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write testdata anew")

func newTestCodec(t testing.TB, limit int) *codec {
	t.Helper()
	c, err := newCodec(limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

// TestVersion1 reads an entry as version 1 wrote it, and the parts of it that no compressor is in are written like that.
func TestVersion1(t *testing.T) {
	t.Parallel()
	c := newTestCodec(t, 1<<20)
	plain := []Record{
		{Raw: []byte(`{"a":1}`), Origin: Origin{Source: "push", Object: "r1", Offset: 7, Received: time.Unix(1_770_000_000, 5).UTC()}},
		{Raw: []byte(`{ }`), Origin: Origin{Source: "push", Object: "r2", Offset: 3}},
	}
	packed := records(5, 4)
	var sections []section
	for _, list := range [][]Record{plain, packed} {
		s, err := c.encode(idOf(list[0].Origin.Object), list)
		if err != nil {
			t.Fatal(err)
		}
		sections = append(sections, s)
	}
	if sections[0].codec != codecNone || sections[1].codec != codecZstd {
		t.Errorf("codecs %d, %d", sections[0].codec, sections[1].codec)
	}
	// As docs/formats/journal.md says: flags, source, object, offset, time, length; the same without what is as before; bytes.
	const want = "00" + "0470757368" + "027231" + "0e" + "8a8088c7e8e7a69031" + "07" +
		"05" + "027232" + "07" + "03" +
		"7b2261223a317d" + "7b207d"
	if got := hex.EncodeToString(sections[0].stored); got != want {
		t.Errorf("section %s, want %s", got, want)
	}
	piece := pieceInfo{number: 3, of: 1, accepted: time.Unix(1_770_000_001, 0).UTC()}
	copy(piece.writer[:], "sixteen bytes ok")
	file := filepath.Join("testdata", "v1.bin")
	if *update {
		if err := os.WriteFile(file, appendPiece(nil, piece, appendSections(nil, sections)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p, body, err := parsePiece(m)
	if err != nil || p != piece {
		t.Fatalf("%+v, %v", p, err)
	}
	had, err := c.parseSections(body)
	if err != nil || len(had) != 2 {
		t.Fatalf("%d sections, %v", len(had), err)
	}
	if !bytes.Equal(had[0].stored, sections[0].stored) || had[0].id != sections[0].id {
		t.Errorf("section %x, was %x", sections[0].stored, had[0].stored)
	}
	for i, want := range [][]Record{plain, packed} {
		if got, err := c.decode(nil, had[i]); err != nil || !same(got, want) {
			t.Errorf("section %d: %d records, %v", i, len(got), err)
		}
	}
}

// TestBadPieces: nothing that was changed is taken for a piece, and only a newer version is called one.
func TestBadPieces(t *testing.T) {
	t.Parallel()
	good := appendPiece(nil, pieceInfo{number: 1, of: 2, index: 1}, []byte("body"))
	if got := findPieces(slices.Concat([]byte("SPJ\x01 noise"), good, []byte("SPSPJ"), good[:20], good)); len(got) != 2 || string(got[1].body) != "body" {
		t.Errorf("found %d pieces", len(got))
	}
	for at := range good {
		bad := slices.Clone(good)
		bad[at] ^= 0x40
		_, _, err := parsePiece(bad)
		if want := map[bool]error{true: ErrVersion, false: errDamaged}[at == 3]; !errors.Is(err, want) {
			t.Errorf("byte %d: %v", at, err)
		}
		if _, _, err := parsePiece(good[:at]); !errors.Is(err, errDamaged) {
			t.Errorf("%d bytes: %v", at, err)
		}
	}
	if _, _, err := parsePiece(appendPiece(nil, pieceInfo{of: 1, index: 1}, nil)); !errors.Is(err, errDamaged) {
		t.Errorf("piece 1 of 1: %v", err)
	}
}

// TestBadTime: a time that cannot be kept is refused, not changed.
func TestBadTime(t *testing.T) {
	t.Parallel()
	c := newTestCodec(t, 1<<20)
	for _, year := range []int{1500, 2500} {
		if _, err := c.encode(appendID{}, []Record{{Origin: Origin{Received: time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)}}}); err == nil {
			t.Errorf("year %d was taken", year)
		}
	}
}

// FuzzEntry: whatever the body of an entry is, reading it ends, within the limits, with records or an error.
func FuzzEntry(f *testing.F) {
	c := newTestCodec(f, 1<<20)
	for _, list := range [][]Record{records(1, 3), {{Raw: []byte("{}")}}} {
		s, err := c.encode(idOf("x"), list)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(appendSections(nil, []section{s, s}))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		sections, err := c.parseSections(body)
		if err != nil {
			if !errors.Is(err, errDamaged) {
				t.Fatal(err)
			}
			return
		}
		for _, s := range sections {
			list, err := c.decode(nil, s)
			if err != nil {
				if !errors.Is(err, errDamaged) && !errors.Is(err, ErrVersion) {
					t.Fatal(err)
				}
				continue
			}
			size := 0
			for _, r := range list {
				size += len(r.Raw)
			}
			if len(list) != s.records || size > s.plain {
				t.Fatalf("%d records of %d bytes; said to be %d and %d", len(list), size, s.records, s.plain)
			}
		}
	})
}
