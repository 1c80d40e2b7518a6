package segment_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"spoor/internal/dedup"
	"spoor/internal/event"
	"spoor/internal/intake"
	"spoor/internal/ledger"
	"spoor/internal/source"
	"spoor/internal/source/open"
	"spoor/internal/store/segment"
	"spoor/internal/store/segment/segmenttest"
)

// id makes an eventID.
func id(n int) string { return fmt.Sprintf("%08x-1111-4111-8111-%012x", n*2654435761&0xffffffff, n) }

// record makes a record in the form of CloudTrail.
func record(n int, at string) string {
	return fmt.Sprintf(`{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","principalId":"AIDAEXAMPLE","arn":"arn:aws:iam::111122223333:user/ana","accountId":"111122223333","accessKeyId":"AKIAEXAMPLE%d","userName":"ana"},`+
		`"eventTime":%q,"eventSource":"iam.amazonaws.com","eventName":"CreateUser","awsRegion":"us-east-1","sourceIPAddress":"192.0.2.10","userAgent":"aws-cli/2.36.7",`+
		`"requestParameters":{"userName":"x%d"},"responseElements":null,"requestID":"7c0a3e1e-0000-4000-8000-%012x","eventID":%q,"readOnly":false,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management"}`,
		n%7, at, n, n, id(n))
}

func parse(t testing.TB, raw string) *event.Event {
	t.Helper()
	e, err := event.Parse([]byte(raw))
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return e
}

// readAll gives the records of segments, in their order.
func readAll(t testing.TB, dir string, segs []segment.Segment, since, until time.Time) []segment.Record {
	t.Helper()
	var out []segment.Record
	for _, s := range segs {
		r, err := segment.Open(context.Background(), filepath.Join(dir, filepath.FromSlash(s.Path)), since, until)
		if err != nil {
			t.Fatal(err)
		}
		if r.Rows() != s.Rows {
			t.Errorf("%s has %d rows, was said to have %d", s.Path, r.Rows(), s.Rows)
		}
		for {
			rec, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, segment.Record{Raw: bytes.Clone(rec.Raw), File: rec.File, Offset: rec.Offset})
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// odd are records that are not as CloudTrail writes them.
var odd = []string{
	`{}`,
	`{"eventID":"x"}`,
	`{"eventTime":"2026-01-10T09:12:41Z"}`,
	`{ "eventTime" : "2026-01-10T09:12:41Z" , "requestParameters":{"a":1},"responseElements":null,"requestID":"r","eventID":"e" }`,
	`{"requestParameters":null,"responseElements":null,"eventID":"e"}`,
	`{"requestParameters":null,"responseElements":null,"requestID":"r","eventID":"e"}`,
	`{"requestParameters":null,"responseElements":null,"additionalEventData":null,"requestID":"r","eventID":"e"}`,
	`{"requestParameters":null,"responseElements":null,"additionalEventData":{},"requestID":"r","eventID":"e","x":1}`,
	`{"requestParameters":"text","responseElements":[1,2],"additionalEventData":3,"requestID":"","eventID":""}`,
	`{"requestParameters":{},"responseElements":{},"requestID":null,"eventID":"e"}`,
	`{"requestParameters":{},"responseElements":{},"requestID":5,"eventID":"e"}`,
	`{"requestParameters":{},"responseElements":{},"requestID":"r\u0041","eventID":"e"}`,
	`{"requestParameters":{},"responseElements":{},"requestID":"r","eventID":"e\/"}`,
	`{"requestParameters":{},"responseElements": {},"requestID":"r","eventID":"e"}`,
	`{"requestParameters":{},"responseElements":{},"eventID":"e","requestID":"r"}`,
	`{"requestParameters":{"a":1},"responseElements":{},"requestID":"r","eventID":"e","requestParameters":{"b":2}}`,
	`{"requestParameters":{"a":1},"requestParameters":{"b":2},"responseElements":{},"requestID":"r","eventID":"e"}`,
	`{"requestParameters":{},"responseElements":{},"requestID":"r","eventID":"e","eventID":"f"}`,
	`{"REQUESTPARAMETERS":{},"responseElements":{},"requestID":"r","eventID":"e"}`,
	`{"requestParameters":{},"responseElements":{},"requestID":"r","eventID":"e","eventName":"` + "\xff\xfe" + `"}`,
	`{"requestParameters":{"a":"` + "\xc3\x28" + `"},"responseElements":{},"requestID":"r","eventID":"e"}`,
	`{"requestParameters":{"a":"\ud800"},"responseElements":{"b":"\udc00\ud800"},"requestID":"r","eventID":"e"}`,
	`{"requestParameters":{"a":"\u0000","b":1e999},"responseElements":{},"requestID":"r","eventID":"e","userAgent":"a\u0000b"}`,
	`{"eventTime":"1969-12-31T23:59:59.5Z","eventID":"before"}`,
	`{"eventTime":"1970-01-01T00:00:01Z","eventID":"after"}`,
	`{"eventTime":"yesterday","eventID":"never"}`,
	`{"eventTime":1768036361,"eventID":"epoch"}`,
	`{"eventTime":"2026-01-10T09:12:41.123456789Z","eventID":"fraction"}`,
	`{"userIdentity":null,"resources":null,"tlsDetails":null}`,
	`{"userIdentity":[],"resources":{},"tlsDetails":"x"}`,
	`{"userIdentity":{},"resources":[],"tlsDetails":{}}`,
	`{"resources":[null,1,{},{"ARN":"a","accountId":"b","type":"c"},{"arn":"lower"},{"ARN":7,"ARNPrefix":"p/"},[]]}`,
	`{"userIdentity.arn":"dotted","userIdentity.sessionContext.sessionIssuer.arn":"deep"}`,
	`{"readOnly":"true","managementEvent":"FALSE"}`,
	`{"readOnly":1,"managementEvent":"maybe"}`,
	`{"eventName":5,"awsRegion":true,"errorCode":{},"userAgent":"` + strings.Repeat("long ", 100_000) + `"}`,
	`{"requestParameters":{"big":"` + strings.Repeat("0123456789", 300_000) + `"},"responseElements":null,"requestID":"r","eventID":"e"}`,
}

// TestRoundTrip writes records of every form, and reads the same bytes.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := segment.NewWriter(segment.Options{Dir: dir, RowGroup: 10})
	var want []string
	for i := range 35 {
		want = append(want, record(i, fmt.Sprintf("2026-01-1%dT09:12:%02dZ", i%3, i)))
	}
	want = append(want, odd...)
	for i, raw := range want {
		e := parse(t, raw)
		e.File, e.Offset = fmt.Sprintf("file%d", i%2), int64(i)*1000
		if err := w.Add(e, nil); err != nil {
			t.Fatal(err)
		}
		clear(e.Raw) // nothing of it may be kept
	}
	segs, err := w.Flush(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if w.Rows() != 0 || w.Bytes() != 0 {
		t.Errorf("%d rows, %d bytes are left", w.Rows(), w.Bytes())
	}
	var got []string
	for _, rec := range readAll(t, dir, segs, time.Time{}, time.Time{}) {
		got = append(got, string(rec.Raw))
		i := slices.Index(want, string(rec.Raw))
		if i < 0 || rec.File != fmt.Sprintf("file%d", i%2) || rec.Offset != int64(i)*1000 {
			t.Errorf("%.100s from %s at %d", rec.Raw, rec.File, rec.Offset)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("read %d records, wrote %d", len(got), len(want))
	}
}

// TestFiles checks what lies in which file, in which order, and what is said of it.
func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := segment.NewWriter(segment.Options{Dir: dir, RowGroup: 3, MaxRows: 5})
	at := time.Date(2026, 1, 10, 23, 59, 50, 0, time.UTC)
	var events []*event.Event
	for i := range 17 {
		e := parse(t, record(i, at.Add(time.Duration(i*7%17/2)*time.Second).Format(time.RFC3339)))
		events = append(events, e)
	}
	for _, s := range []string{`{"eventTime":"1970-01-01T05:00:00Z","eventID":"1"}`, `{"eventID":"2"}`, `{"eventTime":"1969-12-31T23:59:59Z","eventID":"3"}`} {
		events = append(events, parse(t, s))
	}
	for _, e := range events {
		if err := w.Add(e, nil); err != nil {
			t.Fatal(err)
		}
	}
	segs, err := w.Flush(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var about []string
	index := dedup.NewIndex()
	defer index.Close()
	for _, s := range segs {
		about = append(about, fmt.Sprintf("%s %d %s %s", s.Day.Format(time.DateOnly), s.Rows, clock(s.MinTime), clock(s.MaxTime)))
		if filepath.Dir(s.Path) != "data/eventDay="+s.Day.Format(time.DateOnly) || strings.TrimSuffix(filepath.Base(s.Path), ".parquet") != strings.TrimSuffix(filepath.Base(s.IDsPath), ".ids") {
			t.Errorf("names %s and %s", s.Path, s.IDsPath)
		}
		st, err := os.Stat(filepath.Join(dir, s.Path))
		if err != nil || st.Size() != s.Bytes {
			t.Errorf("%s: %d bytes, %v, want %d", s.Path, st.Size(), err, s.Bytes)
		}
		index.Add(filepath.Join(dir, s.IDsPath), nanos(s.MinTime), nanos(s.MaxTime))
		var last *event.Event
		for _, rec := range readAll(t, dir, []segment.Segment{s}, time.Time{}, time.Time{}) {
			e := parse(t, string(rec.Raw))
			if last != nil && (last.Time > e.Time || last.Time == e.Time && last.ID() >= e.ID()) {
				t.Errorf("%s: %s %s after %s %s", s.Path, e.When(), e.ID(), last.When(), last.ID())
			}
			last = e
		}
	}
	want := []string{"1969-12-31 1 23:59:59 23:59:59", "1970-01-01 1 none none", "1970-01-01 1 05:00:00 05:00:00"}
	if !slices.Equal(about[:3], want) {
		t.Errorf("files %q, want %q", about[:3], want)
	}
	for _, a := range about[3:] {
		if !strings.HasPrefix(a, "2026-01-10 5 23:59:5") && !strings.HasPrefix(a, "2026-01-10 2 23:59:5") && a != "2026-01-10 5 23:59:50 23:59:52" {
			t.Errorf("file %q", a)
		}
	}
	for _, e := range events {
		if v, err := index.Find(dedup.KeyOf(e), e.Time); v != dedup.Duplicate || err != nil {
			t.Errorf("%s is not in the index: %d %v", e.Raw, v, err)
		}
	}
	// By time.
	since, until := at.Add(2*time.Second), at.Add(4*time.Second)
	n := 0
	for _, e := range events {
		if e.Time == 0 || e.Time >= since.UnixNano() && e.Time < until.UnixNano() {
			n++
		}
	}
	if got := readAll(t, dir, segs, since, until); len(got) != n {
		t.Errorf("%d records from %s to %s, want %d", len(got), since, until, n)
	}
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "none"
	}
	return t.Format(time.TimeOnly)
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// TestStream merges what a writer wrote.
func TestStream(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	segs := segmenttest.WriteSample(t, dir, 3000)
	records := readAll(t, dir, segs, time.Time{}, time.Time{})
	s := segment.NewStream(segment.Options{Dir: dir, RowGroup: 1000, MaxRows: 1100})
	for _, rec := range records {
		var e event.Event
		if err := rec.Event(&e); err != nil {
			t.Fatal(err)
		}
		if err := s.Add(t.Context(), &e); err != nil {
			t.Fatal(err)
		}
	}
	merged, err := s.Close(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again := readAll(t, dir, merged, time.Time{}, time.Time{})
	if !slices.EqualFunc(records, again, func(a, b segment.Record) bool {
		return bytes.Equal(a.Raw, b.Raw) && a.File == b.File && a.Offset == b.Offset
	}) {
		t.Errorf("%d records became %d, or others", len(records), len(again))
	}
	if len(merged) < 3 {
		t.Errorf("%d files", len(merged))
	}
	for _, m := range merged {
		if m.Rows > 1100 {
			t.Errorf("%s has %d rows", m.Path, m.Rows)
		}
	}

	before := files(t, dir)
	s = segment.NewStream(segment.Options{Dir: dir, RowGroup: 10})
	for _, rec := range records[:25] {
		if err := s.Add(t.Context(), parse(t, string(rec.Raw))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Add(t.Context(), parse(t, `{"eventTime":"2020-01-01T00:00:00Z"}`)); err == nil {
		t.Error("an event out of order was taken")
	}
	if err := s.Abort(); err != nil {
		t.Error(err)
	}
	if after := files(t, dir); !slices.Equal(before, after) {
		t.Errorf("left behind: %v", after)
	}
}

func files(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestFlushFails leaves nothing behind, and keeps the events.
func TestFlushFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := segment.NewWriter(segment.Options{Dir: dir})
	for i := range 10 {
		if err := w.Add(parse(t, record(i, fmt.Sprintf("2026-01-1%dT00:00:00Z", i))), nil); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "index"), nil, 0o666); err != nil { // in the place of the folder
		t.Fatal(err)
	}
	if _, err := w.Flush(t.Context()); err == nil {
		t.Error("no error")
	}
	if left := files(t, dir); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	if err := os.Remove(filepath.Join(dir, "index")); err != nil {
		t.Fatal(err)
	}
	segs, err := w.Flush(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, dir, segs, time.Time{}, time.Time{}); len(got) != 10 {
		t.Errorf("%d records", len(got))
	}
}

// TestDamaged reads files with a byte changed or bytes missing: an error with the file's name, or the same records.
func TestDamaged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	seg := segmenttest.WriteSample(t, dir, 300)[0]
	name := filepath.Join(dir, seg.Path)
	whole := readAll(t, dir, []segment.Segment{seg}, time.Time{}, time.Time{})
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	read := func() (n int, same bool, err error) {
		r, err := segment.Open(t.Context(), name, time.Time{}, time.Time{})
		if err != nil {
			return 0, false, err
		}
		defer r.Close()
		same = true
		for ; ; n++ {
			rec, err := r.Next()
			if err == io.EOF {
				return n, same, nil
			}
			if err != nil {
				return n, false, err
			}
			same = same && n < len(whole) && bytes.Equal(rec.Raw, whole[n].Raw)
		}
	}
	failed := 0
	for at := 0; at < len(text); at += 397 {
		bad := slices.Clone(text)
		bad[at] ^= 0x55
		if err := os.WriteFile(name, bad, 0o666); err != nil {
			t.Fatal(err)
		}
		n, same, err := read()
		switch {
		case err != nil:
			failed++
			if !errors.Is(err, segment.ErrDamaged) || !strings.Contains(err.Error(), name) {
				t.Errorf("byte %d: %v", at, err)
			}
		case n == len(whole) && !same:
			// Columns that are packed without compression have no checksum; what the record is made of has.
			t.Errorf("byte %d: other records and no error", at)
		}
	}
	if failed < 20 {
		t.Errorf("%d changes were seen", failed)
	}
	for _, n := range []int{0, 3, 100, len(text) / 2, len(text) - 1} {
		if err := os.WriteFile(name, text[:n], 0o666); err != nil {
			t.Fatal(err)
		}
		if _, _, err := read(); !errors.Is(err, segment.ErrDamaged) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestSharedData keeps every record of the logs that lie beside the project byte for byte.
func TestSharedData(t *testing.T) {
	t.Parallel()
	data := shared(t)
	src, err := open.Resolve(t.Context(), data, open.Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	k := &keeper{w: segment.NewWriter(segment.Options{Dir: dir}), raw: map[string]int{}}
	err = intake.Run(t.Context(), intake.Options{Sources: []source.Source{src}, Named: []string{data}, Ledger: ledger.New(), Workers: 1},
		func() (intake.Worker, error) { return k, nil })
	if err != nil {
		t.Fatal(err)
	}
	n := k.w.Rows()
	segs, err := k.w.Flush(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n < 1000 {
		t.Errorf("%d records", n)
	}
	whole := 0
	for _, rec := range readAll(t, dir, segs, time.Time{}, time.Time{}) {
		k.raw[string(rec.Raw)]--
		whole++
	}
	if whole != n {
		t.Errorf("%d records became %d", n, whole)
	}
	for raw, n := range k.raw {
		if n != 0 {
			t.Errorf("%d too many or too few of %.300s", n, raw)
		}
	}
}

type keeper struct {
	w   *segment.Writer
	raw map[string]int
}

func (k *keeper) Event(e *event.Event) error {
	k.raw[string(e.Raw)]++
	return k.w.Add(e, nil)
}

// shared finds the folder of logs beside the project.
func shared(t testing.TB) string {
	t.Helper()
	root := os.Getenv("SPOOR_SHARED")
	if root == "" {
		dir, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		for ; ; dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "shared", "DESIGN.md")); err == nil {
				root = filepath.Join(dir, "shared")
				break
			}
			if dir == filepath.Dir(dir) {
				t.Skip("no folder shared/ with DESIGN.md beside the project, and SPOOR_SHARED is not set")
			}
		}
	}
	return filepath.Join(root, "data")
}

// FuzzRoundTrip keeps any record byte for byte.
func FuzzRoundTrip(f *testing.F) {
	for _, s := range odd[16:24] {
		f.Add([]byte(s))
	}
	f.Add([]byte(record(1, "2026-01-10T09:12:41Z")))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := event.Parse(raw)
		if err != nil {
			return
		}
		dir := t.TempDir()
		w := segment.NewWriter(segment.Options{Dir: dir})
		for range 2 {
			if err := w.Add(e, nil); err != nil {
				t.Fatal(err)
			}
		}
		segs, err := w.Flush(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := readAll(t, dir, segs, time.Time{}, time.Time{})
		if len(got) != 2 || !bytes.Equal(got[0].Raw, e.Raw) || !bytes.Equal(got[1].Raw, e.Raw) {
			t.Errorf("%q became %v", e.Raw, got)
		}
	})
}
