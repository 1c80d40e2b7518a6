package live_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/smithy-go"

	"spoor/internal/journal"
	"spoor/internal/ledger"
	"spoor/internal/source"
	"spoor/internal/source/archive"
	"spoor/internal/source/files"
	"spoor/internal/source/live"
	"spoor/internal/source/live/livetest"
	"spoor/internal/source/s3"
)

func open(t *testing.T, o live.Options) *live.Core {
	t.Helper()
	o.Name = "test"
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	c, err := live.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func report(t *testing.T, c *live.Core) *ledger.Report {
	t.Helper()
	r, err := c.Ledger(time.Time{})
	if err != nil || !r.Balanced {
		t.Fatalf("ledger: %v, %v", r.Problems, err)
	}
	return r
}

// TestJournal hands records to a journal, byte-exact and with their origin.
func TestJournal(t *testing.T) {
	t.Parallel()
	j, err := journal.Open(t.Context(), journal.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}()
	c := open(t, live.Options{Accept: live.Into(j), BatchBytes: 500})
	text := strings.Join([]string{livetest.Record("a"), livetest.Record("b"), livetest.Record("c")}, "\n")
	r, err := c.ReadAt(t.Context(), source.Object{Name: "x.jsonl"}, strings.NewReader(text), 1000)
	if err != nil {
		t.Fatal(err)
	}
	c.Settle(r, nil, nil)
	f, err := j.Follow(t.Context(), "test", journal.After(0))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var got []string
	for len(got) < 3 {
		b, err := f.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range b.Records {
			got = append(got, string(rec.Raw))
			if at := rec.Origin.Offset - 1000; rec.Origin.Source != "test" || rec.Origin.Object != "x.jsonl" || !strings.HasPrefix(text[at:], string(rec.Raw)) {
				t.Errorf("origin %+v", rec.Origin)
			}
		}
	}
	if strings.Join(got, "\n") != text {
		t.Errorf("journal holds %q", got)
	}
}

// Where there is no room, reading waits as long as it is told to, and goes on.
func TestBackPressure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kept, offers := &livetest.Kept{}, 0
		kept.Fail = func(int) error {
			if offers++; offers <= 60 {
				return fmt.Errorf("append: %w", &journal.FullError{Reason: "full", RetryAfter: time.Minute})
			}
			return nil
		}
		c := open(t, live.Options{Accept: kept})
		begun := time.Now()
		if _, err := c.Read(t.Context(), source.Object{Name: "x"}, bytes.NewReader(livetest.Log("a", "b"))); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took != time.Hour || c.Stats().Waits != 60 || fmt.Sprint(kept.IDs()) != "[a b]" {
			t.Errorf("took %v, %d waits, accepted %v", took, c.Stats().Waits, kept.IDs())
		}
		if got := c.Stats().Rate; got != 2.0/60 {
			t.Errorf("rate %v", got)
		}
		time.Sleep(time.Minute)
		if got := c.Stats().Rate; got != 0 {
			t.Errorf("rate %v a minute later", got)
		}
		offers = 0
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute/2)
		defer cancel()
		if _, err := c.Read(ctx, source.Object{Name: "x"}, bytes.NewReader(livetest.Log("c"))); !live.Passing(err) {
			t.Errorf("stopped: %v", err)
		}
	})
}

// Members of archives are counted apart, and broken ones make the archive one that is tried again.
func TestArchive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, members map[string][]byte) {
		var out bytes.Buffer
		z := zip.NewWriter(&out)
		for _, m := range []string{"a.json.gz", "b.json.gz", "c.txt"} {
			w, err := z.Create(m)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(members[m]); err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), out.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("good.zip", map[string][]byte{"a.json.gz": livetest.Log("a"), "b.json.gz": livetest.Log("b"), "c.txt": []byte("hello")})
	write("bad.zip", map[string][]byte{"a.json.gz": livetest.Log("c"), "b.json.gz": livetest.Log("d")[:50], "c.txt": []byte("hello")})
	for name, want := range map[string]struct {
		objects ledger.Objects
		kept    string
	}{
		"good.zip": {ledger.Objects{Listed: 4, Read: 3, Skipped: 1}, "[a b]"},
		"bad.zip":  {ledger.Objects{Listed: 4, Read: 1, Skipped: 1, Failed: 2}, "[c]"},
	} {
		kept := &livetest.Kept{}
		c := open(t, live.Options{Accept: kept})
		src, err := files.New(dir, archive.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.From(t.Context(), src, source.Object{Name: filepath.Join(dir, name), Size: -1})
		if (err == nil) != (name == "good.zip") || live.Passing(err) {
			t.Errorf("%s: %v", name, err)
		}
		c.Settle(r, err, nil)
		if got := report(t, c).Objects; got != want.objects || fmt.Sprint(kept.IDs()) != want.kept {
			t.Errorf("%s: %+v, accepted %v", name, got, kept.IDs())
		}
	}
}

// Without credentials objects wait; one that may not be read, or is not there, is given up in time.
func TestPassing(t *testing.T) {
	t.Parallel()
	role, err := s3.New(t.Context(), "b", "", s3.Options{EndpointURL: "http://127.0.0.1:1", AccessKeyID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, stopped := open(t, live.Options{Accept: &livetest.Kept{}}).From(gone, role, source.Object{Name: "s3://b/x"})
	for err, want := range map[error]bool{
		stopped:           true,
		s3.ErrCredentials: true,
		&smithy.GenericAPIError{Code: "ExpiredToken", Fault: smithy.FaultClient}:       true,
		&smithy.GenericAPIError{Code: "InvalidAccessKeyId", Fault: smithy.FaultClient}: true,
		&smithy.GenericAPIError{Code: "SlowDown", Fault: smithy.FaultServer}:           true,
		&smithy.GenericAPIError{Code: "Whatever", Fault: smithy.FaultServer}:           true,
		&smithy.GenericAPIError{Code: "AccessDenied", Fault: smithy.FaultClient}:       false,
		&smithy.GenericAPIError{Code: "NoSuchKey", Fault: smithy.FaultClient}:          false,
		errors.New("input broken"): false,
	} {
		if got := live.Passing(fmt.Errorf("open: %w", err)); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}

// Hostile input makes neither cells nor names without end.
func TestCells(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	const n = 10_000
	for i := range n {
		text.WriteString(strings.ReplaceAll(livetest.Record(fmt.Sprint(i)), "111122223333", fmt.Sprintf("%d%s", i, strings.Repeat("x", 100))) + "\n")
	}
	text.WriteString("{broken\n")
	c := open(t, live.Options{Accept: &livetest.Kept{}})
	r, err := c.Read(t.Context(), source.Object{Name: "x.jsonl"}, strings.NewReader(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	c.Settle(r, nil, nil)
	got := report(t, c)
	if got.Records.Kept != n || got.Records.Rejected != 1 || got.Records.Seen != n+1 || len(got.Cells) > 5000 {
		t.Errorf("%+v in %d cells", got.Records, len(got.Cells))
	}
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, err := live.Open(live.Options{Name: "test", Dir: dir, Accept: &livetest.Kept{}, DeadMax: 3})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		err := c.Bury(live.Letter{Object: fmt.Sprint(i), Reason: strings.Repeat("y", 10_000) + "\x1b", Attempts: i})
		if errors.Is(err, live.ErrDeadFull) != (i == 3) || (err != nil) != (i == 3) {
			t.Errorf("letter %d: %v", i, err)
		}
	}
	if err := c.Bury(live.Letter{Object: "1", Attempts: 9}); err != nil { // the same one again
		t.Error(err)
	}
	if err := c.Bury(live.Letter{Object: "m", Message: strings.Repeat("x", 2<<20)}); err == nil {
		t.Error("a message of 2 MiB was kept")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = open(t, live.Options{Dir: dir, Accept: &livetest.Kept{}, DeadMax: 3})
	if n := c.Stats().DeadLetters; n != 3 {
		t.Errorf("%d letters after a restart", n)
	}
	var ids []string
	for after := ""; ; after = ids[len(ids)-1] {
		page, err := c.Dead(after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range page {
			ids = append(ids, l.ID)
			if len(l.Reason) > 1000 || l.At.IsZero() || l.Object == "1" && l.Attempts != 9 {
				t.Errorf("letter %+v", l)
			}
		}
		if len(page) < 2 {
			break
		}
	}
	if len(ids) != 3 {
		t.Fatalf("listed %v", ids)
	}
	if err := c.Discard(ids[0]); err != nil || c.Stats().DeadLetters != 2 {
		t.Errorf("discard: %v", err)
	}
	for _, id := range []string{ids[0], "", "../lock", strings.Repeat("g", 32), "x" + ids[1][1:]} {
		if err := c.Discard(id); !errors.Is(err, live.ErrNoLetter) {
			t.Errorf("discard %q: %v", id, err)
		}
	}
}

// Days of the ledger only rise: a clock that is set back counts on in the newest day.
func TestClockBack(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i, at := range []time.Time{now, now.AddDate(0, 0, -20), now.AddDate(0, 0, 1)} {
		c, err := live.Open(live.Options{Name: "test", Dir: dir, Accept: &livetest.Kept{}, Now: func() time.Time { return at }})
		if err != nil {
			t.Fatal(err)
		}
		c.Skip(source.Object{Name: fmt.Sprint(i)}, "why not", nil)
		if got := report(t, c).Objects.Skipped; got != int64(i+1) {
			t.Errorf("%d counted, want %d", got, i+1)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	pages, err := filepath.Glob(filepath.Join(dir, "ledger-*.json"))
	if err != nil || len(pages) != 2 {
		t.Errorf("pages %v, %v", pages, err)
	}
}
