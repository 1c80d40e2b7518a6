package segment

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/parquet/file"

	"spoor/internal/event"
)

// TestStreamBound: large records make small row groups, so that memory does not grow with them.
func TestStreamBound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := NewStream(Options{Dir: dir})
	s.most = 100_000
	pad := strings.Repeat("x", 30_000)
	for i := range 10 {
		e, err := event.Parse(fmt.Appendf(nil, `{"eventID":"e-%d","eventTime":"2026-01-01T00:00:0%dZ","errorMessage":%q}`, i, i, pad))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Add(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	segs, err := s.Close(t.Context())
	if err != nil || len(segs) != 1 || segs[0].Rows != 10 {
		t.Fatalf("%+v %v", segs, err)
	}
	pq, err := file.OpenParquetFile(filepath.Join(dir, segs[0].Path), false)
	if err != nil {
		t.Fatal(err)
	}
	defer pq.Close()
	for i, want := range []int64{4, 4, 2} {
		if i >= pq.NumRowGroups() || pq.RowGroup(i).NumRows() != want {
			t.Fatalf("%d row groups, not of 4, 4 and 2 rows", pq.NumRowGroups())
		}
	}
}
