package journal

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// bigAppend is an append of a record of half a megabyte that cannot be compressed.
func bigAppend(i int) (id string, list []Record) {
	raw := make([]byte, 512<<10)
	_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(raw) // never fails
	id = fmt.Sprintf("big %d", i)
	return id, []Record{{Raw: raw, Origin: Origin{Source: "big", Object: id}}}
}

// TestDamage damages files of a journal in every way. What is not damaged is given, once; what is, is named and counted.
func TestDamage(t *testing.T) {
	t.Parallel()
	const total = 40 // entries 1 to 40, in three files
	change := func(t *testing.T, path string, f func([]byte) []byte) {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flip := func(at int) func([]byte) []byte {
		return func(text []byte) []byte {
			if at < 0 {
				at += len(text)
			}
			text[at] ^= 0x10
			return text
		}
	}
	base := t.TempDir()
	j := open(t, Options{Dir: base, RetainBytes: 1 << 40})
	for i := range total {
		_, list := bigAppend(i)
		appendAll(t, j, list)
	}
	f := follow(t, j, "store", FromCursor())
	next(t, f)
	if err := f.Ack(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	closeIt(t, j)
	for _, tc := range []struct {
		name   string
		file   string
		change func([]byte) []byte // nil removes it
		lost   []int               // appends that cannot be had any more
		again  int                 // appends that are there under new sequences
		files  uint64              // damaged
		atEnd  uint64
	}{
		{name: "nothing", file: "1.blk", change: func(b []byte) []byte { return b }},
		{name: "byte of a record", file: "1.blk", change: flip(600 << 10), lost: []int{1}, again: 13, files: 1},
		{name: "length of the first", file: "1.blk", change: flip(2), again: 15, files: 1},
		{name: "length to something large", file: "2.blk", change: flip(3), again: 15, files: 1},
		{name: "sequence", file: "2.blk", change: flip(4), again: 15, files: 1},
		{name: "hash of the server", file: "1.blk", change: flip(-1), again: 1, files: 1},
		{name: "byte in the last file", file: "3.blk", change: flip(600 << 10), lost: []int{31}, again: 8, files: 1, atEnd: 9},
		{name: "last byte of all", file: "3.blk", change: flip(-1), again: 1, files: 1, atEnd: 1},
		{name: "cut off within", file: "1.blk", change: func(b []byte) []byte { return b[:5<<20] }, lost: []int{9, 10, 11, 12, 13, 14}, files: 1},
		{name: "cut off at the end", file: "3.blk", change: func(b []byte) []byte { return b[:len(b)-700<<10] }, lost: []int{38, 39}, atEnd: 2},
		{name: "zeros", file: "2.blk", change: func(b []byte) []byte { clear(b[1<<20 : 1<<20+4096]); return b }, lost: []int{16, 17}, again: 12, files: 1},
		{name: "emptied", file: "2.blk", change: func([]byte) []byte { return nil }, lost: upTo(15, 30)},
		{name: "removed", file: "2.blk", lost: upTo(15, 30)},
		{name: "last removed", file: "3.blk", lost: upTo(30, 40), atEnd: 10},
		{name: "not of the server", file: "2.blk", change: func([]byte) []byte { return []byte(strings.Repeat("nothing of this is known", 99)) }, lost: upTo(15, 30), files: 1},
	} {
		for _, clean := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, closed %v", tc.name, clean), func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "journal")
				if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
					t.Fatal(err)
				}
				o := Options{Dir: dir, RetainBytes: 1 << 40}
				var log strings.Builder
				msgs := blockDir(dir, "SPOOR")
				if !clean { // as a crash leaves it: the server's own summary is missing
					if err := os.Remove(filepath.Join(msgs, "index.db")); err != nil {
						t.Fatal(err)
					}
				}
				path := filepath.Join(msgs, tc.file)
				if tc.change != nil {
					change(t, path, tc.change)
				} else if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}

				o.Log = slog.New(slog.NewTextHandler(&log, nil))
				for round := range 2 { // the second finds everything in order
					j := open(t, o)
					list, lost, _ := drain(t, follow(t, j, "", After(0)))
					var names []string
					byName := map[string]Record{}
					for _, r := range list {
						if r.Origin.Source == "big" {
							names = append(names, r.Origin.Object)
							byName[r.Origin.Object] = r
						}
					}
					var want []string
					for i := range total {
						id, list := bigAppend(i)
						if !slices.Contains(tc.lost, i) {
							want = append(want, id)
							if r, ok := byName[id]; ok && !same(list, []Record{r}) {
								t.Errorf("%s is another", id)
							}
						}
					}
					slices.Sort(names)
					slices.Sort(want)
					if !slices.Equal(names, want) {
						t.Errorf("round %d: there are %d appends, %v; want %d", round, len(names), names, len(want))
					}
					s := stats(t, j)
					missing := 0
					for _, l := range lost {
						missing += int(l.Last - l.First + 1)
					}
					if round == 0 {
						atEnd := tc.atEnd
						if clean && tc.files == 0 {
							atEnd = 0 // the server's summary has them, and it knows that they are missing
						}
						if s.DamagedFiles != tc.files || int(s.Salvaged) != tc.again || s.LostAtEnd != atEnd {
							t.Errorf("%d files damaged, %d appends salvaged, %d lost at the end; want %d, %d, %d", s.DamagedFiles, s.Salvaged, s.LostAtEnd, tc.files, tc.again, atEnd)
						}
						if tc.files > 0 && !strings.Contains(log.String(), "a journal file is damaged\" file="+path) {
							t.Errorf("the log does not name %s:\n%s", path, log.String())
						}
					} else if s.DamagedFiles != 0 || s.Salvaged != 0 || s.LostAtEnd != 0 {
						t.Errorf("found again: %+v", s)
					}
					if missing != len(tc.lost)+tc.again {
						t.Errorf("round %d: %v are told as lost; %d appends are, %d have moved", round, lost, len(tc.lost), tc.again)
					}
					if seq := appendAll(t, j, []Record{{Raw: []byte("{}"), Origin: Origin{Object: "~"}}}); seq <= total {
						t.Errorf("sequence %d was given before", seq)
					}
					closeIt(t, j)
				}
				copies, _ := filepath.Glob(filepath.Join(dir, "damaged", "*"))
				if len(copies) != int(tc.files) {
					t.Errorf("copies %v", copies)
				}
			})
		}
	}
}

// TestDamageAfterKill damages the last file of a journal whose process was killed, so that nothing but this file knows which
// sequences were given: they are told as lost, and what is saved has others, so that a follower which is beyond the damage
// gets it.
func TestDamageAfterKill(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "journal")
	j := open(t, Options{Dir: dir})
	const total = 9
	for i := range total {
		_, list := bigAppend(i)
		appendAll(t, j, list)
	}
	closeIt(t, j)
	path := filepath.Join(blockDir(dir, "SPOOR"), "1.blk")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[600<<10] ^= 0x10
	for _, err := range []error{os.WriteFile(path, text, 0o600), os.Remove(statePath(dir)), os.Remove(filepath.Join(filepath.Dir(path), "index.db"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	j = open(t, Options{Dir: dir})
	if s := stats(t, j); s.LostAtEnd != total-1 || s.Salvaged != total-2 || s.DamagedFiles != 1 {
		t.Errorf("%d lost at the end, %d saved, %d files damaged", s.LostAtEnd, s.Salvaged, s.DamagedFiles)
	}
	f := follow(t, j, "store", After(total-1)) // it has all but the last
	want, _ := bigAppend(total - 1)
	for range 2 * total {
		b := next(t, f)
		if b.Seq <= total && len(b.Records) > 0 {
			t.Errorf("sequence %d has other records than it had", b.Seq)
		}
		for _, r := range b.Records {
			if r.Origin.Object == want {
				return
			}
		}
	}
	t.Error("the last append is not given again")
}

func upTo(from, to int) (list []int) {
	for i := from; i < to; i++ {
		list = append(list, i)
	}
	return list
}
