package segment

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
)

// Stretch is a row group of a segment: a stretch of its rows, and so of time.
type Stretch struct {
	First, Rows int64 // number of the first row in the file, and how many there are
	// From and To are the least and greatest eventTime, zero when the rows have none.
	From, To time.Time
}

// ResourceARN is the path of the ARNs of resources for [Lookup].
const ResourceARN = "resources.element.ARN"

// Lookup gives the row groups of a segment, by the path of its Parquet file, that may have value in a needle column, by
// their Bloom filters; one in about a hundred of the others is among them too. The column is a name of [Columns], or
// [ResourceARN], which engines cannot look up by themselves.
func Lookup(name, column, value string) (out []Stretch, err error) {
	defer damaged(name, &err)
	id := needleID(Columns(), "", column)
	if id == 0 {
		return nil, fmt.Errorf("look up %s: no column of single values", column)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	useCodec()
	pq, err := file.NewParquetReader(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrDamaged, err), f.Close())
	}
	defer pq.Close() // opened for reading
	leaf, times := -1, -1
	for i := range pq.MetaData().Schema.NumColumns() {
		switch pq.MetaData().Schema.Column(i).SchemaNode().FieldID() {
		case int32(id):
			leaf = i
		case timeID:
			times = i
		}
	}
	filters := pq.GetBloomFilterReader()
	first := int64(0)
	for i := range pq.NumRowGroups() {
		rg := pq.MetaData().RowGroup(i)
		s := Stretch{First: first, Rows: rg.NumRows()}
		first += s.Rows
		if leaf >= 0 {
			group, err := filters.RowGroup(i)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			filter, err := group.GetColumnBloomFilter(leaf)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			if filter != nil && !filter.CheckHash(metadata.GetHash(filter.Hasher(), parquet.ByteArray(value))) {
				continue
			}
		}
		if times >= 0 {
			if low, high, ok := timeBounds(rg, times); ok {
				s.From, s.To = time.UnixMicro(low).UTC(), time.UnixMicro(high).UTC()
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// timeID is the id of eventTime.
const timeID = 39

func needleID(cols []Column, prefix, path string) int {
	for _, c := range cols {
		if c.Needle && prefix+c.Name == path {
			return c.ID
		}
		if id := needleID(c.Fields, prefix+c.Name+".", path); id != 0 {
			return id
		}
	}
	return 0
}

// timeBounds gives the least and greatest eventTime of a row group, from its statistics, if it has such.
func timeBounds(rg *metadata.RowGroupMetaData, leaf int) (low, high int64, ok bool) {
	chunk, err := rg.ColumnChunk(leaf)
	if err != nil {
		return 0, 0, false
	}
	st, err := chunk.Statistics()
	if err != nil || st == nil || !st.HasMinMax() {
		return 0, 0, false
	}
	s, ok := st.(*metadata.Int64Statistics)
	if !ok {
		return 0, 0, false
	}
	return s.Min(), s.Max(), true
}
