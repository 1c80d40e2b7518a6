package live_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spoor/internal/journal"
	"spoor/internal/source"
	"spoor/internal/source/live"
	"spoor/internal/source/live/livetest"
)

// TestFolders looks at the folder of a source while the source has it.
func TestFolders(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if got, err := live.Folders(filepath.Join(dir, "none")); err != nil || len(got) != 0 {
		t.Errorf("a folder that is not there: %v, %v", got, err)
	}
	now := time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC)
	c := open(t, live.Options{Dir: filepath.Join(dir, "trail"), Now: func() time.Time { return now },
		Accept: live.AcceptFunc(func(context.Context, []journal.Record) error { return nil })})
	folder := func() live.Folder {
		t.Helper()
		all, err := live.Folders(dir)
		if err != nil || len(all) != 1 {
			t.Fatalf("folders %v, %v", all, err)
		}
		return all["trail"]
	}
	if r, at, err := folder().Ledger(time.Time{}); err != nil || !r.Balanced || !r.Empty() || !at.IsZero() {
		t.Errorf("before anything was read: %+v, %s, %v", r, at, err)
	}
	for range 2 {
		if err := c.Save(); err != nil { // turns the page
			t.Fatal(err)
		}
		r, err := c.Read(t.Context(), source.Object{Name: "x.jsonl"}, strings.NewReader(livetest.Record("a")))
		if err != nil {
			t.Fatal(err)
		}
		c.Settle(r, nil, nil)
		c.Settle(c.Unread(source.Object{Name: "y.json.gz"}), errors.New("broken off"), nil)
		if err := c.Save(); err != nil {
			t.Fatal(err)
		}
		now = now.Add(24 * time.Hour)
	}
	if err := c.Bury(live.Letter{Object: "y.json.gz", Reason: "broken off"}); err != nil {
		t.Fatal(err)
	}
	for since, want := range map[time.Time]int64{{}: 4, now.Add(-24 * time.Hour): 2, now: 0} {
		if r, at, err := folder().Ledger(since); err != nil || r.Objects.Listed != want || !r.Balanced || at.IsZero() {
			t.Errorf("since %s: %+v, %s, %v; want %d objects", since, r, at, err, want)
		}
	}
	if l, err := folder().Dead("", 10); err != nil || len(l) != 1 || l[0].Object != "y.json.gz" {
		t.Errorf("letters %+v, %v", l, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "trail", "ledger-2026-01-10.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := folder().Ledger(time.Time{}); err == nil || !strings.Contains(err.Error(), "ledger-2026-01-10.json") {
		t.Errorf("a damaged ledger: %v", err)
	}
}
