package intake

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"spoor/internal/ledger"
	"spoor/internal/source"
	"spoor/internal/source/archive"
	"spoor/internal/source/files"
	"spoor/internal/source/sourcetest"
)

// The sizes of files in folders become known when they are opened; the ledger tells the same as if they were listed.
func TestFoldersWithoutSizes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := sourcetest.Gzip(`{"Records":[` + rec("1", 10, "") + `,` + rec("2", 11, "") + `]}`)
	key := sourcetest.Key("111122223333", "us-east-1", time.Date(2026, 1, 10, 9, 15, 0, 0, time.UTC), "x")
	big := strings.Repeat(rec("big", 10, `,"userAgent":"`+strings.Repeat("x", 10_000)+`"`)+"\n", bigObject/10_000+1)
	for name, data := range map[string][]byte{
		key: log, "empty.json": nil, "broken.json.gz": log[:len(log)-9], "note.txt": []byte("hello"), ".DS_Store": []byte("x"), "big.json": []byte(big),
		"a.zip": sourcetest.Zip(sourcetest.Member{Name: "m.json", Data: []byte(rec("3", 10, ""))}, sourcetest.Member{Name: "empty"}),
		"b.zip": sourcetest.Zip(sourcetest.Member{Name: "m.json", Data: []byte(rec("4", 10, ""))})[:60],
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "dangling.json")); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	run := func(sized bool) (*ledger.Report, *Progress, map[string]int) {
		f, err := files.New(dir, archive.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		var src source.Source = f
		if sized {
			src = struct {
				source.Source
				local
			}{Source: f} // lists sizes
		}
		led, p := ledger.New(), new(Progress)
		g := gather{mu: new(sync.Mutex), ids: map[string]int{}}
		if err := Run(t.Context(), Options{Sources: []source.Source{src}, Ledger: led, Progress: p}, func() (Worker, error) { return &g, nil }); err != nil {
			t.Fatal(err)
		}
		return led.Report(), p, g.ids
	}
	got, p, ids := run(false)
	want, q, wanted := run(true)
	if fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", *want) || !got.Balanced || got.Objects.Failed != 3 || got.Bytes.Stored == 0 {
		t.Errorf("without sizes\n%+v\nwith sizes\n%+v", got, want)
	}
	if fmt.Sprint(ids) != fmt.Sprint(wanted) || len(ids) != 4 {
		t.Errorf("%v, want %v", ids, wanted)
	}
	if p.ListedBytes.Load() != q.ListedBytes.Load() || p.DoneBytes.Load() != q.DoneBytes.Load() || p.Done.Load() != p.Listed.Load() || p.Unsized.Load() != 0 {
		t.Errorf("%d bytes listed, %d done, want %d, %d", p.ListedBytes.Load(), p.DoneBytes.Load(), q.ListedBytes.Load(), q.DoneBytes.Load())
	}
}

type local struct{}

func (local) Local() bool { return true }
