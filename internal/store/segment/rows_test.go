package segment_test

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"spoor/internal/event"
	"spoor/internal/store/segment"
	"spoor/internal/store/segment/segmenttest"
)

// openRows reads what is wanted of a file, in stretches of so many rows, and adds up what was left out.
func openRows(t *testing.T, name string, since, until time.Time, stretch, rows int64, want *segment.Rows) (raw []string, left map[string]int64) {
	t.Helper()
	left = map[string]int64{}
	for from := int64(0); from < rows; from += stretch {
		r, err := segment.OpenRows(t.Context(), name, since, until, "time", from, from+stretch, want)
		if err != nil {
			t.Fatal(err)
		}
		for {
			rec, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			raw = append(raw, string(rec.Raw))
		}
		for _, l := range r.Left() {
			left[l.Reason] += l.Rows
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return raw, left
}

// TestOpenRows: whatever is left out is not wanted, is counted, and nothing is read twice, however the file is cut.
func TestOpenRows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := segment.NewWriter(segment.Options{Dir: dir, RowGroup: 200})
	var ids, keys []string
	day := ""
	add := func(e *event.Event) {
		t.Helper()
		if err := w.Add(e, nil); err != nil {
			t.Fatal(err)
		}
	}
	segmenttest.Events(t, 3000, func(e *event.Event) {
		if d := e.When().Format(time.DateOnly); day == "" {
			day = d
		} else if d != day {
			return
		}
		add(e)
		ids = append(ids, strings.Clone(e.ID()))
		if k := e.Text(event.AccessKeyID); k != "" {
			keys = append(keys, strings.Clone(k))
		}
	})
	at, err := time.Parse(time.DateOnly, day)
	if err != nil {
		t.Fatal(err)
	}
	// A row group with an event that columns do not tell all of.
	add(parse(t, fmt.Sprintf(`{"eventVersion":"1.08","eventTime":%q,"eventSource":"iam.amazonaws.com","eventName":["OddCall"],"eventID":"0A0A0A0A-0000-4000-8000-000000000001"}`, at.Add(13*time.Hour).Format(time.RFC3339))))
	segs, err := w.Flush(t.Context())
	if err != nil || len(segs) != 1 || segs[0].Rows < 1000 {
		t.Fatal(segs, err)
	}
	name, rows := filepath.Join(dir, segs[0].Path), segs[0].Rows

	column := func(path string, ok func(string) bool) *segment.Rows {
		return &segment.Rows{Columns: []string{path}, Keep: func() func([][]byte) string {
			return func(texts [][]byte) string {
				if ok(string(texts[0])) {
					return ""
				}
				return "value"
			}
		}}
	}
	oneOf := func(path, value string, folded bool) *segment.Rows {
		want := column(path, func(s string) bool { return s == value || folded && strings.EqualFold(s, value) })
		want.OneOf = []segment.OneOf{{Column: path, Values: []string{value}, Folded: folded, Skip: "value"}}
		return want
	}
	all, _ := openRows(t, name, time.Time{}, time.Time{}, rows, rows, nil)
	if int64(len(all)) != rows {
		t.Fatalf("%d of %d rows", len(all), rows)
	}
	text := func(raw string, f event.Field) string { return strings.Clone(parse(t, raw).Text(f)) }
	none := func(string) bool { return false }
	for what, c := range map[string]struct {
		want         *segment.Rows
		since, until time.Time
		keep         func(raw string) bool // exactly what is wanted
		odd          bool                  // the whole row group of the odd event comes
		most         int                   // rows that may come
	}{
		"all":    {nil, time.Time{}, time.Time{}, func(string) bool { return true }, false, int(rows)},
		"time":   {nil, at.Add(6 * time.Hour), at.Add(8 * time.Hour), func(raw string) bool { h := parse(t, raw).When().Hour(); return h >= 6 && h < 8 }, false, int(rows) / 4},
		"name":   {column("eventName", func(s string) bool { return s == "AssumeRole" }), time.Time{}, time.Time{}, func(raw string) bool { return text(raw, event.EventName) == "AssumeRole" }, true, int(rows) / 2},
		"nested": {column("userIdentity.sessionContext.sessionIssuer.userName", func(s string) bool { return s != "" }), time.Time{}, time.Time{}, func(raw string) bool { return text(raw, event.IssuerUserName) != "" }, true, int(rows)},
		"time and name": {column("eventName", func(s string) bool { return s == "AssumeRole" }), at.Add(6 * time.Hour), at.Add(8 * time.Hour), func(raw string) bool {
			h := parse(t, raw).When().Hour()
			return h >= 6 && h < 8 && text(raw, event.EventName) == "AssumeRole"
		}, false, int(rows) / 4},
		"id":         {oneOf("eventID", ids[7], false), time.Time{}, time.Time{}, func(raw string) bool { return text(raw, event.EventID) == ids[7] }, true, 1},
		"id folded":  {oneOf("eventID", strings.ToLower(ids[70]), true), time.Time{}, time.Time{}, func(raw string) bool { return text(raw, event.EventID) == ids[70] }, true, 1},
		"key folded": {oneOf("accessKeyId", strings.ToLower(keys[3]), true), time.Time{}, time.Time{}, func(raw string) bool { return text(raw, event.AccessKeyID) == keys[3] }, true, int(rows) / 2},
		"odd id":     {oneOf("eventID", "0a0a0a0a-0000-4000-8000-000000000001", true), time.Time{}, time.Time{}, func(raw string) bool { return strings.Contains(raw, "0A0A0A0A-") }, true, 1},
		"nothing":    {column("eventName", none), time.Time{}, time.Time{}, none, true, 0},
	} {
		var must []string
		for _, raw := range all {
			if c.keep(raw) {
				must = append(must, raw)
			}
		}
		most := c.most
		if c.odd {
			most += 200
		}
		for _, stretch := range []int64{rows, 200, 450, 97} {
			got, left := openRows(t, name, c.since, c.until, stretch, rows, c.want)
			n := int64(len(got))
			for _, k := range left {
				n += k
			}
			i := 0
			for _, raw := range got { // in the order of the file
				if i < len(must) && raw == must[i] {
					i++
				}
			}
			if i != len(must) || n != rows || len(got) > most || !c.odd && !slices.Equal(got, must) {
				t.Errorf("%s by %d: %d rows with %d of %d that are wanted; left out %v of %d", what, stretch, len(got), i, len(must), left, rows)
			}
		}
	}
	if _, err := segment.OpenRows(t.Context(), name, time.Time{}, time.Time{}, "", 0, rows, column("resources.list.element.ARN", none)); err == nil {
		t.Error("a column of lists was taken")
	}
	if c, needle := segment.ColumnsOf(event.AccessKeyID); c != "userIdentity.accessKeyId" || needle != "accessKeyId" {
		t.Error(c, needle)
	}
	if c, needle := segment.ColumnsOf(event.EventTime); c != "" || needle != "" {
		t.Error(c, needle)
	}
}
