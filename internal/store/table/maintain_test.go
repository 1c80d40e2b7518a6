package table

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// later is a clock that can be put forward.
type later struct{ by atomic.Int64 }

func (l *later) now() time.Time          { return time.Now().Add(time.Duration(l.by.Load())) }
func (l *later) forward(d time.Duration) { l.by.Add(int64(d)) }

func exists(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

func TestExpireAndTags(t *testing.T) {
	t.Parallel()
	var clock later
	tbl := create(t, Options{Now: clock.now})
	ctx := t.Context()
	if err := tbl.Tag(ctx, "early"); err == nil {
		t.Error("a table without a snapshot was tagged")
	}
	a, b, c := newFile(t, tbl, day(0)), newFile(t, tbl, day(1)), newFile(t, tbl, day(2))
	if err := tbl.Append(ctx, []string{a, b}, Props{"spoor.seq": "1"}); err != nil {
		t.Fatal(err)
	}
	if err := tbl.Replace(ctx, []string{a}, []string{c}, Props{"spoor.seq": "2"}); err != nil {
		t.Fatal(err)
	}
	if got, err := tbl.Expire(ctx, time.Hour, nil); err != nil || !reflect.DeepEqual(got, Expired{}) {
		t.Fatalf("expired at once: %+v, %v", got, err)
	}
	clock.forward(2 * time.Hour)
	got, err := tbl.Expire(ctx, time.Hour, nil)
	if err != nil || got.Snapshots != 1 || !slices.Equal(names(got.Files), []string{a}) || got.Bytes != got.Files[0].Bytes || got.Bytes == 0 {
		t.Fatalf("expired: %+v, %v", got, err)
	}
	if exists(t, tbl.path(a)) || !exists(t, tbl.path(b)) || !exists(t, tbl.path(c)) {
		t.Error("expiry removed the wrong files")
	}

	for _, bad := range []string{"", "main"} {
		if err := tbl.Tag(ctx, bad); err == nil {
			t.Errorf("a tag named %q", bad)
		}
	}
	if err := tbl.Tag(ctx, "case 17/a"); err != nil {
		t.Fatal(err)
	}
	if err := tbl.Tag(ctx, "case 17/a"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("tagged twice: %v", err)
	}
	tagged := mustPlan(t, tbl, Filter{}).Snapshot
	if err := tbl.Drop(ctx, []string{b, c}, Props{"spoor.seq": "3"}); err != nil {
		t.Fatal(err)
	}
	d := newFile(t, tbl, day(3))
	if err := tbl.Append(ctx, []string{d}, Props{"spoor.seq": "4"}); err != nil {
		t.Fatal(err)
	}
	clock.forward(2 * time.Hour)
	if got, err = tbl.Expire(ctx, time.Hour, nil); err != nil || got.Snapshots != 1 || len(got.Files) != 0 {
		t.Fatalf("expired with a tag: %+v, %v", got, err)
	}
	reader, err := Open(ctx, tbl.Dir(), Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	tags, err := reader.Tags(ctx)
	if err != nil || len(tags) != 1 || tags[0].Name != "case 17/a" || tags[0].Snapshot != tagged || time.Since(tags[0].Time) > time.Hour {
		t.Errorf("tags: %+v, %v", tags, err)
	}
	held := mustPlan(t, reader, Filter{Tag: "case 17/a"})
	if !slices.Equal(names(held.Files), []string{b, c}) || held.Props["spoor.seq"] != "2" || held.Snapshot != tagged {
		t.Errorf("held: %+v", held)
	}
	if got := names(mustPlan(t, reader, Filter{}).Files); !slices.Equal(got, []string{d}) {
		t.Errorf("now: %v", got)
	}
	if _, err := reader.Plan(ctx, Filter{Tag: "main"}); err == nil {
		t.Error("a branch was planned as a tag")
	}
	if orphans, err := tbl.Orphans(ctx, time.Time{}); err != nil || len(orphans) != 0 {
		t.Errorf("orphans: %+v, %v", orphans, err)
	}

	if err := tbl.Untag(ctx, "case 17/a"); err != nil {
		t.Fatal(err)
	}
	if err := tbl.Untag(ctx, "case 17/a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("untagged twice: %v", err)
	}
	if got, err = tbl.Expire(ctx, time.Hour, nil); err != nil || got.Snapshots != 1 || !slices.Equal(names(got.Files), []string{b, c}) {
		t.Fatalf("expired after the tag went: %+v, %v", got, err)
	}
	if files, err := tbl.Files(ctx); err != nil || !slices.Equal(names(files), []string{d}) {
		t.Errorf("files left: %v, %v", names(files), err)
	}
}

// TestExpirable: the age counts from the replacement, so that a plan of a snapshot that was current for years keeps its
// files.
func TestExpirable(t *testing.T) {
	t.Parallel()
	at := func(id, parent, hours int64) string {
		p := ""
		if parent != 0 {
			p = fmt.Sprintf(`"parent-snapshot-id":%d,`, parent)
		}
		return fmt.Sprintf(`{"snapshot-id":%d,%s"sequence-number":%d,"timestamp-ms":%d,"manifest-list":"s3://spoor/x/metadata/%d.avro","summary":{"operation":"append"},"schema-id":0}`,
			id, p, id, hours*3600_000, id)
	}
	meta, err := table.ParseMetadataString(`{"format-version":2,"table-uuid":"018f0000-0000-7000-8000-000000000000","location":"s3://spoor/x",
		"last-sequence-number":9,"last-updated-ms":360000000,"last-column-id":1,"current-schema-id":0,
		"schemas":[{"type":"struct","schema-id":0,"fields":[{"id":1,"name":"eventTime","required":false,"type":"timestamptz"}]}],
		"default-spec-id":0,"partition-specs":[{"spec-id":0,"fields":[]}],"last-partition-id":999,"default-sort-order-id":0,
		"sort-orders":[{"order-id":0,"fields":[]}],"current-snapshot-id":5,
		"refs":{"main":{"snapshot-id":5,"type":"branch"},"hold":{"snapshot-id":2,"type":"tag"}},
		"snapshots":[` + strings.Join([]string{
		at(1, 0, 1),  // replaced in hour 2
		at(2, 1, 2),  // tagged
		at(3, 2, 3),  // replaced in hour 90, although from hour 3
		at(4, 3, 90), // replaced in hour 95
		at(5, 4, 95), // current
		at(8, 7, 50), // was tagged; its child is gone
	}, ",") + `]}`)
	if err != nil {
		t.Fatal(err)
	}
	for hour, want := range map[int64][]int64{2: {8}, 3: {1, 8}, 90: {1, 8}, 91: {1, 3, 8}, 96: {1, 3, 4, 8}, 1000: {1, 3, 4, 8}} {
		got := expirable(meta, time.UnixMilli(hour*3600_000))
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("before hour %d: %v, want %v", hour, got, want)
		}
	}
}

func TestOrphans(t *testing.T) {
	t.Parallel()
	tbl := create(t, Options{})
	ctx := t.Context()
	live := newFile(t, tbl, day(0))
	if err := tbl.Append(ctx, []string{live}, nil); err != nil {
		t.Fatal(err)
	}
	var want []string
	want = append(want, newFile(t, tbl, day(0)), newFile(t, tbl, day(1)))
	for _, name := range []string{"data/eventDay=2026-03-02/x.parquet.tmp", "metadata/v3.metadata.json.x.tmp", "metadata/v9.metadata.json.claim", "metadata/left-m0.avro"} {
		if err := os.WriteFile(tbl.path(name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		want = append(want, name)
	}
	if err := os.MkdirAll(tbl.path("data/eventDay=2026-01-01"), 0o755); err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	of := func(orphans []Orphan, err error) []string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, o := range orphans {
			if info, err := os.Stat(tbl.path(o.Name)); err == nil && (info.Size() != o.Bytes || !info.ModTime().Equal(o.Modified)) {
				t.Errorf("orphan %+v is %d bytes of %v", o, info.Size(), info.ModTime())
			}
			out = append(out, o.Name)
		}
		slices.Sort(out)
		return out
	}
	if got := of(tbl.Orphans(ctx, time.Now().Add(-time.Hour))); len(got) != 0 {
		t.Errorf("young files counted as orphans: %v", got)
	}
	if got := of(tbl.Orphans(ctx, time.Time{})); !slices.Equal(got, want) {
		t.Errorf("orphans %v, want %v", got, want)
	}
	if got := of(tbl.RemoveOrphans(ctx, time.Time{})); !slices.Equal(got, want) {
		t.Errorf("removed %v, want %v", got, want)
	}
	var left []string
	if err := filepath.WalkDir(tbl.path("data"), func(path string, _ fs.DirEntry, err error) error {
		left = append(left, strings.TrimPrefix(filepath.ToSlash(path), filepath.ToSlash(tbl.Dir())+"/"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"data", "data/eventDay=2026-03-01", live}; !slices.Equal(left, want) {
		t.Errorf("left: %v, want %v", left, want)
	}
	if p := mustPlan(t, tbl, Filter{}); rows(t, p.Files[0].Path) != 1 {
		t.Error("the live file is damaged")
	}
	if err := tbl.Append(ctx, []string{newFile(t, tbl, day(5))}, nil); err != nil {
		t.Fatal(err)
	}
	reopened, err := Open(ctx, tbl.Dir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := mustPlan(t, reopened, Filter{}).Rows(); got != 2 {
		t.Errorf("%d rows", got)
	}
}

// TestOpenClearsTemporary: an abandoned claim or half-written version of a crashed writer does not outlive the next one.
func TestOpenClearsTemporary(t *testing.T) {
	t.Parallel()
	tbl := create(t, Options{})
	left := []string{"metadata/v2.metadata.json.claim", "metadata/v2.metadata.json.1234.tmp", "metadata/version-hint.text.1234.tmp"}
	for _, name := range left {
		if err := os.WriteFile(tbl.path(name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(t.Context(), tbl.Dir(), Options{ReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	for _, name := range left {
		if !exists(t, tbl.path(name)) {
			t.Errorf("a reader removed %s", name)
		}
	}
	w, err := Open(t.Context(), tbl.Dir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range left {
		if exists(t, tbl.path(name)) {
			t.Errorf("%s is still there", name)
		}
	}
	if err := w.Append(t.Context(), []string{newFile(t, w, day(0))}, nil); err != nil {
		t.Fatal(err)
	}
}

// TestMetadataStaysSmall: the metadata does not grow with the number of commits, but with the number of files.
func TestMetadataStaysSmall(t *testing.T) {
	t.Parallel()
	var clock later
	tbl := create(t, Options{Now: clock.now})
	const commits = 60
	for i := range commits {
		if err := tbl.Append(t.Context(), []string{newFile(t, tbl, day(i%4))}, nil); err != nil {
			t.Fatal(err)
		}
		if i%10 == 9 {
			clock.forward(2 * time.Hour)
			if _, err := tbl.Expire(t.Context(), time.Hour, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	snap := tbl.current.Load().meta.CurrentSnapshot()
	manifests, err := tbl.manifests(snap)
	if err != nil {
		t.Fatal(err)
	}
	if len(manifests) >= 20 {
		t.Errorf("%d manifests for %d commits", len(manifests), commits)
	}
	if n := len(tbl.current.Load().meta.Snapshots()); n != 1 {
		t.Errorf("%d snapshots", n)
	}
	avro, err := filepath.Glob(tbl.path("metadata/*.avro"))
	if err != nil {
		t.Fatal(err)
	}
	if len(avro) != len(manifests)+1 {
		t.Errorf("%d manifests and lists on disk, %d are needed", len(avro), len(manifests)+1)
	}
	if got := mustPlan(t, tbl, Filter{}); len(got.Files) != commits || got.Rows() != commits {
		t.Errorf("%d files with %d rows", len(got.Files), got.Rows())
	}
	if got := mustPlan(t, tbl, Filter{Since: day(1), Until: day(2)}); len(got.Files) != commits/4 {
		t.Errorf("%d files of one day", len(got.Files))
	}
}

// TestDeleteFiles: a table that another program hides rows of is refused.
func TestDeleteFiles(t *testing.T) {
	t.Parallel()
	tbl := create(t, Options{})
	a := newFile(t, tbl, day(0))
	if err := tbl.Append(t.Context(), []string{a}, nil); err != nil {
		t.Fatal(err)
	}
	err := tbl.commit(t.Context(), nil, func(tx *table.Transaction, base *state) error {
		b, err := iceberg.NewDataFileBuilder(base.meta.PartitionSpec(), iceberg.EntryContentPosDeletes, tbl.disk.location+"/data/d.parquet",
			iceberg.ParquetFile, map[int]any{1000: iceberg.Date(day(0).Unix() / 86400)}, nil, nil, 1, 100)
		if err != nil {
			return err
		}
		return tx.NewRowDelta(nil).AddDeletes(b.Build()).Commit(t.Context())
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{{}, {ReadOnly: true}} {
		again, err := Open(t.Context(), tbl.Dir(), o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := again.Plan(t.Context(), Filter{}); !errors.Is(err, ErrDeletes) {
			t.Errorf("planned: %v", err)
		}
	}
}
