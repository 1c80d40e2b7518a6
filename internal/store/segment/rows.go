package segment

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"

	"spoor/internal/event"
)

// Rows says which rows of segments are wanted, as far as their columns tell. It may only leave out what is not wanted: in
// row groups whose columns do not have exactly what the records have, it is not asked.
type Rows struct {
	// Columns are text columns by their paths, such as userIdentity.arn, that are not in lists.
	Columns []string
	// Keep makes a function for one goroutine that is told the texts of Columns in a row, nil for none, and gives the reason why
	// the row is not wanted, or "". The texts are valid during the call.
	Keep func() func(texts [][]byte) (skip string)
	// OneOf are conditions that every wanted row fulfils. They are looked up before rows are read.
	OneOf []OneOf
}

// OneOf is the condition that a needle column has one of the values.
type OneOf struct {
	Column string // a name of [Columns]
	Values []string
	// Folded says that case does not matter; Values are in small letters then.
	Folded bool
	Skip   string // the reason why rows without are not wanted
}

// Left is how many rows were left out for a reason.
type Left struct {
	Reason string
	Rows   int64
}

// OpenRows is [Open] for the rows that are wanted, of the row groups that begin within [from, to), counted in rows of the
// file. What it leaves out is counted by [Reader.Left], for a reason; outside is that for events outside of the time.
func OpenRows(ctx context.Context, name string, since, until time.Time, outside string, from, to int64, want *Rows) (*Reader, error) {
	r, err := Open(ctx, name, since, until)
	if err != nil {
		return nil, err
	}
	r.sel = &selection{outside: outside, from: from, to: to, left: map[string]int64{}}
	if err := r.choose(want); err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", name, err), r.Close())
	}
	return r, nil
}

// Left tells what was left out so far, and why, most first. Rows of row groups that do not belong to the stretch are not
// among them.
func (r *Reader) Left() []Left {
	var out []Left
	if r.sel != nil {
		for reason, n := range r.sel.left {
			out = append(out, Left{reason, n})
		}
	}
	slices.SortFunc(out, func(a, b Left) int { return cmp.Or(cmp.Compare(b.Rows, a.Rows), strings.Compare(a.Reason, b.Reason)) })
	return out
}

// selection is what a reader leaves out.
type selection struct {
	outside  string
	from, to int64
	first    int64 // number of the next row group's first row
	left     map[string]int64

	traits  []traits
	columns []*texts
	times   longs
	texts   [][]byte
	keep    func([][]byte) string
	oneOf   []lookup
	blooms  *metadata.BloomFilterReader
	picked  []bool // rows of the current row group up to the last that is wanted; nil for all
	at      int    // the next of picked
}

// lookup is a OneOf in the Bloom filters of a column.
type lookup struct {
	leaf   int
	needs  traits
	values []parquet.ByteArray
	skip   string
}

// choose prepares the columns of want.
func (r *Reader) choose(want *Rows) (err error) {
	defer damaged(r.name, &err)
	if want == nil || want.Keep == nil {
		return nil
	}
	known := r.pq.MetaData().KeyValueMetadata().FindValue(traitsKey)
	if known == nil {
		return nil // written without: rows cannot be told by their columns
	}
	s := r.sel
	s.traits = parseTraits(*known)
	for _, path := range want.Columns {
		leaf := r.leaf(path)
		if leaf < 0 {
			return fmt.Errorf("no text column %s", path)
		}
		s.columns = append(s.columns, &texts{cursor: cursor{leaf: leaf}})
	}
	s.texts = make([][]byte, len(s.columns))
	s.keep = want.Keep()
	for _, o := range want.OneOf {
		if l, ok := r.lookup(o); ok {
			s.oneOf = append(s.oneOf, l)
		}
	}
	return nil
}

// leaf finds a text column outside of lists.
func (r *Reader) leaf(path string) int {
	leaf := r.pq.MetaData().Schema.ColumnIndexByName(path)
	if leaf < 0 {
		return -1
	}
	c := r.pq.MetaData().Schema.Column(leaf)
	if c.PhysicalType() != parquet.Types.ByteArray || c.MaxRepetitionLevel() > 0 {
		return -1
	}
	return leaf
}

// lookup gives the forms that a value may have in the column, false when those are too many to know.
func (r *Reader) lookup(o OneOf) (l lookup, ok bool) {
	leaf := r.leaf(o.Column)
	if leaf < 0 {
		return l, false
	}
	l = lookup{leaf: leaf, needs: plainTexts, skip: o.Skip}
	for _, v := range o.Values {
		if o.Folded && !within(v, 'a', 'z') {
			switch {
			case !within(v, 'A', 'Z'): // outside of ASCII
				return l, false
			case o.Column == "eventID" || o.Column == "sharedEventID":
				l.needs |= smallIDs
			case o.Column == "accessKeyId":
				l.needs |= capitalKeys
				v = strings.ToUpper(v)
			default:
				return l, false
			}
		}
		l.values = append(l.values, parquet.ByteArray(v))
	}
	return l, true
}

// pick reads the chosen columns of a row group, and reports whether any row of it is wanted.
func (r *Reader) pick(i int, rg *file.RowGroupReader) (bool, error) {
	s := r.sel
	s.picked, s.at = s.picked[:0], 0
	rows := rg.NumRows()
	if i >= len(s.traits) || s.keep == nil || s.traits[i]&plainTexts == 0 {
		s.picked = nil
		return true, nil
	}
	for _, l := range s.oneOf {
		if l.needs&^s.traits[i] != 0 {
			continue
		}
		has, err := r.mayHave(i, &l)
		if err != nil {
			return false, err
		}
		if !has {
			s.left[l.skip] += rows
			return false, nil
		}
	}
	for _, c := range s.columns {
		if err := c.open(rg); err != nil {
			return false, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	timed := r.since != 0 || r.until != 0
	if timed {
		s.times.leaf = r.times.leaf
		if err := s.times.open(rg); err != nil {
			return false, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	last := -1
	for n := range int(rows) {
		outside := false
		if timed {
			if err := s.times.next(); err != nil {
				return false, err
			}
			outside = r.outside(&s.times)
		}
		for k, c := range s.columns {
			if err := c.next(); err != nil {
				return false, err
			}
			s.texts[k] = c.val
		}
		skip := s.outside
		if !outside {
			skip = s.keep(s.texts)
		}
		s.picked = append(s.picked, skip == "")
		if skip == "" {
			last = n
		} else {
			s.left[skip]++
		}
	}
	s.picked = s.picked[:last+1]
	return last >= 0, nil
}

// outside reports whether a row is outside of the time asked for.
func (r *Reader) outside(t *longs) bool {
	return t.ok && (r.since != 0 && t.val < r.since || r.until != 0 && t.val >= r.until)
}

// mayHave asks the Bloom filter of a row group.
func (r *Reader) mayHave(i int, l *lookup) (bool, error) {
	if r.sel.blooms == nil {
		r.sel.blooms = r.pq.GetBloomFilterReader()
	}
	group, err := r.sel.blooms.RowGroup(i)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	filter, err := group.GetColumnBloomFilter(l.leaf)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return filter == nil || slices.ContainsFunc(l.values, func(v parquet.ByteArray) bool {
		return filter.CheckHash(metadata.GetHash(filter.Hasher(), v))
	}), nil
}

// within goes on to a row group of so many rows, and reports whether it belongs to the stretch.
func (s *selection) within(rows int64) bool {
	first := s.first
	s.first += rows
	return first >= s.from && first < s.to
}

// wanted says whether the row that r has come to is one of those picked. Behind the last of them it ends the row group.
func (s *selection) wanted(r *Reader) bool {
	if s.picked == nil {
		return true
	}
	picked := s.picked[s.at]
	if s.at++; s.at == len(s.picked) {
		r.left = 0
	}
	return picked
}

// ColumnsOf gives the columns with exactly the texts of a typed field, for [Rows.Columns] and, if needle, for [OneOf]; "" for
// none.
func ColumnsOf(f event.Field) (column, needle string) {
	var walk func(prefix string, cols []Column)
	walk = func(prefix string, cols []Column) {
		for i := range cols {
			c := &cols[i]
			switch {
			case c.Type == Struct:
				walk(prefix+c.Name+".", c.Fields)
			case c.Type == Text && c.from == fromField && c.field == f:
				if column == "" {
					column = prefix + c.Name
				}
				if c.Needle {
					needle = prefix + c.Name
				}
			}
		}
	}
	walk("", Columns())
	return column, needle
}
