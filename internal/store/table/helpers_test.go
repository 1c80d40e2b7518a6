package table

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/google/uuid"
)

// testSchema has every kind of column that a store has.
func testSchema() Schema {
	return Schema{
		Columns: []Column{
			{ID: 1, Name: "eventTime", Type: "timestamptz"},
			{ID: 2, Name: "eventName", Type: "string", Doc: "The call."},
			{ID: 10, Name: "userIdentity", Type: "struct", Fields: []Column{
				{ID: 11, Name: "arn", Type: "string"},
				{ID: 12, Name: "sessionContext", Type: "struct", Fields: []Column{{ID: 13, Name: "sourceIdentity", Type: "string"}}},
			}},
			{ID: 20, Name: "resources", Type: "list", Fields: []Column{
				{ID: 21, Name: "element", Type: "struct", Fields: []Column{{ID: 22, Name: "ARN", Type: "string"}}},
			}},
			{ID: 3, Name: "readOnly", Type: "boolean"},
			{ID: 4, Name: "sourceOffset", Type: "long"},
			{ID: 5, Name: "eventDay", Type: "date"},
			{ID: 6, Name: "rawBytes", Type: "binary"},
		},
		Time:   "eventTime",
		Bounds: []string{"eventName", "userIdentity.arn"},
	}
}

func day(n int) time.Time { return time.Date(2026, 3, 1+n, 0, 0, 0, 0, time.UTC) }

func fieldID(id int) arrow.Metadata {
	return arrow.NewMetadata([]string{"PARQUET:field_id"}, []string{fmt.Sprint(id)})
}

// writeFile makes a synced Parquet file of the first columns of testSchema with one row for each time (null for the
// zero time), and gives its name.
func writeFile(dir string, times ...time.Time) (string, error) {
	name := fmt.Sprintf("data/eventDay=%s/%s.parquet", times[0].Format(time.DateOnly), uuid.NewString())
	return name, writeNamed(filepath.Join(dir, name), times...)
}

func writeNamed(path string, times ...time.Time) error {
	sc := arrow.NewSchema([]arrow.Field{
		{Name: "eventTime", Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, Nullable: true, Metadata: fieldID(1)},
		{Name: "eventName", Type: arrow.BinaryTypes.String, Nullable: true, Metadata: fieldID(2)},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, sc)
	defer b.Release()
	for i, at := range times {
		if at.IsZero() {
			b.Field(0).AppendNull()
		} else {
			b.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(at.UnixMicro()))
		}
		b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("Call%d", i))
	}
	rec := b.NewRecordBatch()
	defer rec.Release()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w, err := pqarrow.NewFileWriter(sc, f, parquet.NewWriterProperties(), pqarrow.DefaultWriterProps())
	if err != nil {
		return err
	}
	if err := w.Write(rec); err != nil {
		return err
	}
	return w.Close()
}

// rows reads a Parquet file's row count from the file itself.
func rows(t *testing.T, path string) int64 {
	t.Helper()
	r, err := file.OpenParquetFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return r.NumRows()
}

func create(t *testing.T, o Options) *Table {
	t.Helper()
	tbl, err := Create(t.Context(), t.TempDir(), testSchema(), o)
	if err != nil {
		t.Fatal(err)
	}
	return tbl
}

func newFile(t *testing.T, tbl *Table, times ...time.Time) string {
	t.Helper()
	name, err := writeFile(tbl.Dir(), times...)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func mustPlan(t *testing.T, tbl *Table, f Filter) Plan {
	t.Helper()
	p, err := tbl.Plan(context.Background(), f)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
