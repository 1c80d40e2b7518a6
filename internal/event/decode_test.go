package event

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// collect keeps copies of what a decoder hands on.
type collect struct {
	mu      sync.Mutex
	events  []*Event
	rejects []Reject
	notes   []string
	digests int
}

func (c *collect) Event(e *Event) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, e.Clone())
	return nil
}

func (c *collect) Reject(r Reject) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.Raw = bytes.Clone(r.Raw)
	c.rejects = append(c.rejects, r)
	return nil
}

func (c *collect) Note(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notes = append(c.notes, s)
}

func (c *collect) Digest([]byte) error { c.digests++; return nil }

func (c *collect) ids() []string {
	var out []string
	for _, e := range c.events {
		out = append(out, e.ID())
	}
	return out
}

func decode(t *testing.T, text string) (*collect, error) {
	t.Helper()
	c := &collect{}
	err := NewDecoder(Limits{}).Decode(context.Background(), "test", strings.NewReader(text), c)
	return c, err
}

// sharedData finds the folder of real logs.
func sharedData(t testing.TB) string {
	dir := os.Getenv("SPOOR_SHARED")
	if dir == "" {
		dir = "../../../shared"
	}
	dir = filepath.Join(dir, "data", "cloudtrail")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no shared test data: %v", err)
	}
	return dir
}

func TestSharedDataReadsAsItsReadmeSays(t *testing.T) {
	t.Parallel()
	root := sharedData(t)
	want := map[string]int{"s3-layout": 93, "stratus-red-team": 142, "traildiscover": 157, "aws-docs": 90, "panther-rule-tests": 228,
		"console-sessions": 3349, "cloud-custodian": 24, "wrappers": 19, "odd": 4, "digest": 0}
	wantDigests := map[string]int{"digest": 3}
	for folder, n := range want {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			serial, parallel := &collect{}, &collect{}
			err := filepath.WalkDir(filepath.Join(root, folder), func(path string, e fs.DirEntry, err error) error {
				if err != nil || e.IsDir() {
					return err
				}
				// Broken files have a test of their own.
				if strings.Contains(path, "aws-docs-invalid-json") || strings.Contains(path, "datadog-export-aws.execution") {
					return nil
				}
				data, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				if err := NewDecoder(Limits{}).Decode(t.Context(), path, bytes.NewReader(data), serial); err != nil && !errors.Is(err, ErrNotLogs) && !errors.Is(err, ErrNoRecords) {
					t.Errorf("%s: %v", path, err)
				}
				err = NewDecoder(Limits{}).DecodeParallel(t.Context(), path, bytes.NewReader(data), parallel, []Sink{parallel, parallel})
				if err != nil && !errors.Is(err, ErrNotLogs) && !errors.Is(err, ErrNoRecords) {
					t.Errorf("%s in parallel: %v", path, err)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(serial.events) != n || len(parallel.events) != n {
				t.Errorf("%d events, in parallel %d, want %d", len(serial.events), len(parallel.events), n)
			}
			if serial.digests != wantDigests[folder] || parallel.digests != wantDigests[folder] {
				t.Errorf("%d digests, in parallel %d, want %d", serial.digests, parallel.digests, wantDigests[folder])
			}
			for _, r := range append(serial.rejects, parallel.rejects...) {
				t.Errorf("rejected: %s at %d: %s", r.File, r.Offset, r.Reason)
			}
			a, b := serial.ids(), parallel.ids()
			sort.Strings(a)
			sort.Strings(b)
			if fmt.Sprint(a) != fmt.Sprint(b) {
				t.Error("parallel reading gives other events")
			}
		})
	}
}

func TestInvalidJSONIsRejectedWithPlaceAndReason(t *testing.T) {
	t.Parallel()
	root := filepath.Join(sharedData(t), "odd", "aws-docs-invalid-json")
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".txt") {
			continue
		}
		seen++
		data, err := os.ReadFile(filepath.Join(root, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		c := &collect{}
		err = NewDecoder(Limits{}).Decode(t.Context(), e.Name(), bytes.NewReader(data), c)
		if strings.HasPrefix(e.Name(), "10-fragment") {
			if !errors.Is(err, ErrNotLogs) {
				t.Errorf("%s: %v", e.Name(), err)
			}
			continue
		}
		if len(c.rejects) == 0 {
			t.Errorf("%s: nothing rejected, %d events, %v", e.Name(), len(c.events), err)
			continue
		}
		t.Logf("%s: %d events; %s (%v)", e.Name(), len(c.events), c.rejects[0].Reason, err)
	}
	if seen != 10 {
		t.Errorf("%d cases, want 10", seen)
	}
}

const rec = `{"eventVersion":"1.08","eventTime":"2026-01-10T09:12:41Z","eventSource":"iam.amazonaws.com","eventName":"ListUsers","eventID":"%s"}`

func record(id string) string { return fmt.Sprintf(rec, id) }

func TestShapes(t *testing.T) {
	t.Parallel()
	a, b := record("a"), record("b")
	quoted := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"` }
	gz := func(s string) string {
		var buf bytes.Buffer
		w := gzip.NewWriter(&buf)
		_, _ = w.Write([]byte(s))
		_ = w.Close()
		return buf.String()
	}
	zst := func(s string) string {
		w, _ := zstd.NewWriter(nil)
		return string(w.EncodeAll([]byte(s), nil))
	}
	utf16 := func(s string) string {
		out := []byte{0xff, 0xfe}
		for _, c := range []byte(s) {
			out = append(out, c, 0)
		}
		return string(out)
	}
	for name, text := range map[string]string{
		"log file":              `{"Records":[` + a + `,` + b + `]}`,
		"pretty log file":       "{\n  \"Records\" : [\n" + a + " ,\n" + b + "\n]\n}\n",
		"more members":          `{"version":1,"x":{"y":[1,2]},"Records":[` + a + `,` + b + `],"z":null}`,
		"JSON Lines":            a + "\n" + b + "\n",
		"concatenated":          a + b,
		"byte order mark":       "\xef\xbb\xbf" + a + "\n" + b,
		"UTF-16":                utf16(a + "\r\n" + b),
		"bare array":            "[" + a + "," + b + "]",
		"array of strings":      "[" + quoted(a) + "," + quoted(b) + "]",
		"EventBridge":           `{"version":"0","detail-type":"AWS API Call via CloudTrail","detail":` + a + `}` + "\n" + `{"detail":` + b + `}`,
		"LookupEvents":          `{"Events":[{"EventId":"x","EventName":"ListUsers","CloudTrailEvent":` + quoted(a) + `},{"CloudTrailEvent":` + quoted(b) + `}],"NextToken":"t"}`,
		"subscription":          `{"messageType":"DATA_MESSAGE","logEvents":[{"id":"1","message":` + quoted(a) + `},{"message":` + quoted(b) + `}]}`,
		"Logs export":           "2026-01-10T09:12:41.000Z " + a + "\n2026-01-10T09:12:42.000Z " + b + "\n",
		"FilterLogEvents":       `{"events":[{"logStreamName":"s","message":` + quoted(a) + `},{"message":` + quoted(b) + `}]}`,
		"rows with a field":     `{"_source":{"x":1,"event":` + a + `}}` + "\n" + `{"_source":{"event":` + quoted(b) + `}}`,
		"CSV":                   "id,record\n1,\"" + strings.ReplaceAll(a, `"`, `""`) + "\"\n2,\"" + strings.ReplaceAll(b, `"`, `""`) + "\"\n",
		"gzip":                  gz(`{"Records":[` + a + `,` + b + `]}`),
		"gzip members":          gz(a+"\n") + gz(b),
		"gzip twice":            gz(gz(a + "\n" + b)),
		"zstd":                  zst(`{"Records":[` + a + `,` + b + `]}`),
		"zero padding":          gz(a+b) + strings.Repeat("\x00", 512),
		"other case":            strings.ReplaceAll(a+"\n"+b, "event", "Event"),
		"digest and files":      `{"digestStartTime":"x","digestEndTime":"y","digestS3Object":"z","logFiles":[]}` + a + b,
		"escaped member names":  strings.ReplaceAll(a+b, `"eventName"`, `"event\u004eame"`),
		"a record and wrappers": a + `{"Records":[` + b + `]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, parallel := range []bool{false, true} {
				c := &collect{}
				var err error
				if parallel {
					err = NewDecoder(Limits{}).DecodeParallel(t.Context(), "test", strings.NewReader(text), c, []Sink{c, c})
				} else {
					err = NewDecoder(Limits{}).Decode(t.Context(), "test", strings.NewReader(text), c)
				}
				if err != nil || len(c.rejects) > 0 {
					t.Fatalf("parallel %v: %v %+v", parallel, err, c.rejects)
				}
				got := c.ids()
				sort.Strings(got)
				if fmt.Sprint(got) != "[a b]" {
					t.Fatalf("parallel %v: %v", parallel, got)
				}
				for _, e := range c.events {
					if name != "other case" && name != "escaped member names" && string(e.Raw) != record(e.ID()) {
						t.Errorf("bytes differ: %s", e.Raw)
					}
					if e.Name() != "ListUsers" || e.Time == 0 {
						t.Errorf("fields: %q %d", e.Name(), e.Time)
					}
				}
			}
		})
	}
}

// TestSmallReads feeds the decoder one byte at a time and with a tiny buffer, so that every boundary is crossed.
func TestBoundaries(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	text.WriteString(`{"Records":[`)
	for i := range 200 {
		if i > 0 {
			text.WriteString(" , ")
		}
		text.WriteString(record(fmt.Sprintf("%d-%s", i, strings.Repeat("é\\n", i*7%50))))
	}
	text.WriteString("]}")
	for _, size := range []int{64, 200, 1000, 4096} {
		d := NewDecoder(Limits{})
		d.buf = make([]byte, size)
		c := &collect{}
		if err := d.Decode(t.Context(), "test", iotestOneByte{strings.NewReader(text.String())}, c); err != nil || len(c.events) != 200 || len(c.rejects) > 0 {
			t.Errorf("buffer %d: %d events, %d rejects, %v", size, len(c.events), len(c.rejects), err)
		}
	}
}

type iotestOneByte struct{ r *strings.Reader }

func (o iotestOneByte) Read(p []byte) (int, error) { return o.r.Read(p[:1]) }

func TestMalformedRecordsDoNotTakeOthersWithThem(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]string{
		"missing comma":     `{"eventVersion":"1.08" "eventName":"X"}`,
		"bad escape":        `{"eventVersion":"1.08","userAgent":"a\qb"}`,
		"control character": "{\"eventVersion\":\"1.08\",\"userAgent\":\"a\nb\"}",
		"bad number":        `{"eventVersion":"1.08","requestParameters":{"n":01}}`,
		"stray text":        `... more records ...`,
		"too deep":          `{"eventVersion":"1.08","requestParameters":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`,
		"wrong close":       `{"eventVersion":"1.08","requestParameters":[1}}`,
		"not a record":      `{"hello":"world"}`,
		"unescaped quote":   `{"eventVersion":"1.08","userAgent":"a"b","eventName":"Y"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for shape, text := range map[string]string{
				"array":   `{"Records":[` + record("a") + `,` + bad + `,` + record("b") + `]}`,
				"spaced":  "[\n  " + record("a") + ",\n  " + bad + ",\n  " + record("b") + "\n]",
				"first":   `[` + bad + `,` + record("a") + `,` + record("b") + `]`,
				"adjoins": `[` + record("a") + `,` + record("b") + bad + `]`,
			} {
				c, err := decode(t, text)
				if shape == "adjoins" {
					if len(c.events) < 2 || len(c.rejects) == 0 {
						t.Errorf("%s: %d events, %+v, %v", shape, len(c.events), c.rejects, err)
					}
					continue
				}
				if err != nil || fmt.Sprint(c.ids()) != "[a b]" || len(c.rejects) != 1 {
					t.Fatalf("%s: %v, events %v, %d rejects %+v", shape, err, c.ids(), len(c.rejects), c.rejects)
				}
				r := c.rejects[0]
				if !strings.HasPrefix(text[r.Offset:], bad) {
					t.Errorf("%s: reject at %d, which is %q", shape, r.Offset, text[r.Offset:min(len(text), int(r.Offset)+20)])
				}
			}
			if name == "control character" || name == "stray text" || name == "too deep" {
				return // these span or are no lines
			}
			c, err := decode(t, record("a")+"\n"+bad+"\n"+record("b")+"\n")
			if err != nil || fmt.Sprint(c.ids()) != "[a b]" || len(c.rejects) != 1 {
				t.Fatalf("lines: %v, events %v, %+v", err, c.ids(), c.rejects)
			}
		})
	}
}

func TestBrokenInputs(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, _ = w.Write([]byte(`{"Records":[` + record("a") + `,` + record("b") + `]}`))
	_ = w.Close()
	whole := buf.String()
	bomb := func() string {
		var buf bytes.Buffer
		w, _ := gzip.NewWriterLevel(&buf, gzip.BestCompression)
		_, _ = w.Write([]byte(`{"Records":[` + record("a") + `,`))
		zero := bytes.Repeat([]byte(" "), 1<<20)
		for range 400 {
			_, _ = w.Write(zero)
		}
		_, _ = w.Write([]byte(record("b") + `]}`))
		_ = w.Close()
		return buf.String()
	}
	for name, c := range map[string]struct {
		text   string
		events int
		want   string
	}{
		"truncated gzip":    {whole[:len(whole)-12], 2, "truncated"},
		"broken gzip":       {whole[:len(whole)-8] + "\x00\x00\x00\x00" + whole[len(whole)-4:], 2, "checksum"},
		"garbage behind":    {whole + "garbage that is not gzip", 2, "not gzip"},
		"truncated array":   {`{"Records":[` + record("a") + `,` + record("b"), 2, "truncated"},
		"truncated record":  {`{"Records":[` + record("a") + `,` + record("b")[:40], 1, "truncated"},
		"truncated members": {`{"Records":[` + record("a") + `]`, 1, "truncated"},
		"bomb":              {bomb(), 1, "bomb"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := decode(t, c.text)
			if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if len(got.events) != c.events {
				t.Errorf("%d events, want %d", len(got.events), c.events)
			}
		})
	}
	for name, text := range map[string]string{"text": "# hello\nworld\n", "binary": "\x00\x01\x02", "PNG": "\x89PNG\r\n\x1a\n", "plain CSV": "a,b\n1,2\n", "parquet": "PAR1xxxx"} {
		if c, err := decode(t, text); !errors.Is(err, ErrNotLogs) || len(c.rejects) > 0 {
			t.Errorf("%s: %v, %+v", name, err, c.rejects)
		}
	}
	for name, text := range map[string]string{"package": `{"name":"x","version":"1"}`, "list": `[{"a":1},{"b":2}]`} {
		if c, err := decode(t, text); !errors.Is(err, ErrNoRecords) || len(c.rejects) > 0 {
			t.Errorf("%s: %v, %+v", name, err, c.rejects)
		}
	}
	for name, text := range map[string]string{"empty": "", "blank": " \n", "empty array": "[]", "no records": `{"Records":[]}`, "no records spaced": "{ \"Records\" : [ ] }"} {
		if c, err := decode(t, text); err != nil || len(c.events)+len(c.rejects) > 0 {
			t.Errorf("%s: %v, %+v", name, err, c.rejects)
		}
	}
}

// The place of a failure is right also where the window moves to find that there is no more.
func TestPlaceOfTheEnd(t *testing.T) {
	t.Parallel()
	for _, size := range []int{300, 1000, 1024, 4096} {
		text := (`[` + strings.Repeat(record("a")+`,`, 50))[:size]
		c, d := &collect{}, NewDecoder(Limits{})
		d.buf = make([]byte, size)
		err := d.Decode(t.Context(), "test", strings.NewReader(text), c)
		if want := fmt.Sprintf("at byte %d", size); !errors.Is(err, ErrInput) || len(c.rejects) != 1 || !strings.HasSuffix(c.rejects[0].Reason, want) {
			t.Errorf("%d bytes: %v, %+v, want %q", size, err, c.rejects, want)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	big := strings.Replace(record("big"), `"iam`, `"`+strings.Repeat("x", 3<<20), 1)
	c := &collect{}
	text := `{"Records":[` + record("a") + `,` + big + `,` + record("b") + `]}`
	err := NewDecoder(Limits{MaxRecord: 1 << 20}).Decode(t.Context(), "test", strings.NewReader(text), c)
	if err != nil || fmt.Sprint(c.ids()) != "[a b]" || len(c.rejects) != 1 || !strings.Contains(c.rejects[0].Reason, "limit") || c.rejects[0].Length < 3<<20 {
		t.Errorf("%v %v %d", err, c.ids(), len(c.rejects))
	}
	// However much of it lies in the buffer at once.
	long := strings.Replace(record("long"), `"iam`, `"`+strings.Repeat("x", 5000)+`iam`, 1)
	for name, text := range map[string]string{"log file": `{"Records":[` + record("a") + `,` + long + `,` + record("b") + `]}`, "lines": record("a") + "\n" + long + "\n" + record("b") + "\n"} {
		for _, parallel := range []bool{false, true} {
			c, d := &collect{}, NewDecoder(Limits{MaxRecord: 4096})
			err := error(nil)
			if parallel {
				err = d.DecodeParallel(t.Context(), "test", strings.NewReader(text), c, []Sink{c})
			} else {
				err = d.Decode(t.Context(), "test", strings.NewReader(text), c)
			}
			if err != nil || fmt.Sprint(c.ids()) != "[a b]" || len(c.rejects) != 1 || !strings.Contains(c.rejects[0].Reason, "limit of 4096 bytes") || c.rejects[0].Length < 5000 {
				t.Errorf("%s, parallel %v: %v %v %+v", name, parallel, err, c.ids(), c.rejects)
			}
		}
	}
	c = &collect{}
	if err := NewDecoder(Limits{}).Decode(t.Context(), "test", strings.NewReader(text), c); err != nil || len(c.events) != 3 {
		t.Errorf("%v, %d events", err, len(c.events))
	}
	c = &collect{}
	if err := NewDecoder(Limits{MaxExpanded: 1 << 20}).Decode(t.Context(), "test", strings.NewReader(text), c); !errors.Is(err, ErrInput) {
		t.Errorf("%v", err)
	}
}

func TestInvalidUTF8IsReadAndNoted(t *testing.T) {
	t.Parallel()
	c, err := decode(t, `[`+record("a\xff")+`,`+record("é")+`]`)
	if err != nil || len(c.events) != 2 || fmt.Sprint(c.notes) != "["+NoteInvalidUTF8+"]" {
		t.Errorf("%v, %d events, notes %v", err, len(c.events), c.notes)
	}
}

func TestSinkErrorsStopTheDecoder(t *testing.T) {
	t.Parallel()
	want := errors.New("enough")
	text := "[" + strings.Repeat(record("x")+",", 5000) + record("x") + "]"
	for _, parallel := range []bool{false, true} {
		n := 0
		sink := &stopAfter{n: &n, err: want}
		var err error
		if parallel {
			err = NewDecoder(Limits{}).DecodeParallel(t.Context(), "test", strings.NewReader(text), &collect{}, []Sink{sink})
		} else {
			err = NewDecoder(Limits{}).Decode(t.Context(), "test", strings.NewReader(text), sink)
		}
		if err != want || n != 10 {
			t.Errorf("parallel %v: %v after %d", parallel, err, n)
		}
	}
}

type stopAfter struct {
	collect
	n   *int
	err error
}

func (s *stopAfter) Event(*Event) error {
	if *s.n++; *s.n == 10 {
		return s.err
	}
	return nil
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"Records":[`+record("a")+`,`+record("b")+`]}`), uint16(64))
	f.Add([]byte("2026 "+record("a")+"\nx\n"), uint16(100))
	f.Add([]byte(`{"logEvents":[{"message":"{\"eventName\":\"x\",\"eventTime\":1}"}]}`), uint16(90))
	f.Add([]byte("a,b\n\"{}\",2"), uint16(300))
	f.Add([]byte(outsideRecord), uint16(500))
	f.Fuzz(func(t *testing.T, text []byte, size uint16) {
		serial, parallel := &collect{}, &collect{}
		d := NewDecoder(Limits{MaxRecord: 4096})
		d.buf = make([]byte, 64+int(size))
		err := d.Decode(t.Context(), "fuzz", bytes.NewReader(text), serial)
		for _, e := range serial.events {
			again, perr := Parse(e.Raw)
			if perr != nil {
				t.Fatalf("a record that was handed on does not parse: %v", perr)
			}
			if again.Name() != e.Name() {
				t.Fatalf("%q and %q", again.Name(), e.Name())
			}
			e.Actor()
		}
		if len(text) > 4096 {
			return // the sizes of buffers show in what is too large
		}
		perr := NewDecoder(Limits{MaxRecord: 4096}).DecodeParallel(t.Context(), "fuzz", bytes.NewReader(text), parallel, []Sink{parallel, parallel})
		if (err == nil) != (perr == nil) || len(serial.events) != len(parallel.events) || len(serial.rejects) != len(parallel.rejects) {
			t.Fatalf("serial %v %d %d, parallel %v %d %d", err, len(serial.events), len(serial.rejects), perr, len(parallel.events), len(parallel.rejects))
		}
	})
}
