package segment

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/maphash"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
)

// dictionary is the values of a leaf column in a row group, each once. The Parquet library has one of its own, which costs
// twice as much for every value and some memory besides; it is given the finished one.
type dictionary struct {
	seed    maphash.Seed
	table   []int32 // open addressing: index in vals + 1; the length is a power of two
	vals    []parquet.ByteArray
	hashes  []uint64
	bytes   int
	indices []int32 // of each value that is not null

	// For write, kept between row groups.
	spaced  []int32
	bitmap  []byte
	offsets []int32
	data    []byte
	plain   []parquet.ByteArray
}

// dictionaryBytes is how large a dictionary may be. With more, the column is written without.
const dictionaryBytes = 1 << 20

func newDictionary(seed maphash.Seed) *dictionary {
	return &dictionary{seed: seed, table: make([]int32, 256)}
}

func (d *dictionary) reset() {
	clear(d.table)
	clear(d.vals)
	clear(d.plain)
	d.vals, d.hashes, d.indices, d.plain, d.bytes = d.vals[:0], d.hashes[:0], d.indices[:0], d.plain[:0], 0
}

func (d *dictionary) add(b []byte) {
	h := maphash.Bytes(d.seed, b)
	mask := uint64(len(d.table) - 1)
	i := h & mask
	for ; d.table[i] != 0; i = (i + 1) & mask {
		if v := d.table[i] - 1; d.hashes[v] == h && bytes.Equal(d.vals[v], b) {
			d.indices = append(d.indices, v)
			return
		}
	}
	d.indices = append(d.indices, int32(len(d.vals)))
	d.vals = append(d.vals, b)
	d.hashes = append(d.hashes, h)
	d.bytes += len(b)
	d.table[i] = int32(len(d.vals))
	if len(d.vals)*2 > len(d.table) {
		d.table = make([]int32, 2*len(d.table))
		mask = uint64(len(d.table) - 1)
		for v, h := range d.hashes {
			i := h & mask
			for d.table[i] != 0 {
				i = (i + 1) & mask
			}
			d.table[i] = int32(v + 1)
		}
	}
}

// write writes the column. def are its definition levels, the greatest of which means a value.
func (d *dictionary) write(col *file.ByteArrayColumnChunkWriter, def []int16) error {
	enc, ok := col.CurrentEncoder().(interface{ PutDictionary(arrow.Array) error })
	if !ok || len(d.vals) == 0 || d.bytes > dictionaryBytes {
		if ok && len(d.vals) > 0 {
			col.FallbackToPlain()
		}
		for _, i := range d.indices {
			d.plain = append(d.plain, d.vals[i])
		}
		_, err := col.WriteBatch(d.plain, def, nil)
		return err
	}
	if err := enc.PutDictionary(d.values()); err != nil {
		return fmt.Errorf("give it its dictionary: %w", err)
	}
	if st := col.PageStatistics(); st != nil {
		low, high := d.vals[0], d.vals[0]
		for _, v := range d.vals[1:] {
			if bytes.Compare(v, low) < 0 {
				low = v
			} else if bytes.Compare(v, high) > 0 {
				high = v
			}
		}
		st, ok := st.(interface {
			SetMinMax(low, high parquet.ByteArray)
		})
		if !ok {
			return fmt.Errorf("no statistics of texts")
		}
		st.SetMinMax(low, high)
		col.PageStatistics().IncNulls(int64(len(def) - len(d.indices)))
		col.PageStatistics().IncNumValues(int64(len(d.indices)))
	}
	return col.WriteDictIndices(d.numbers(def, col.Descr().MaxDefinitionLevel()), def, nil)
}

// values gives the dictionary as an array.
func (d *dictionary) values() arrow.Array {
	d.offsets, d.data = append(d.offsets[:0], 0), d.data[:0]
	for _, v := range d.vals {
		d.data = append(d.data, v...)
		d.offsets = append(d.offsets, int32(len(d.data)))
	}
	return array.NewBinaryData(array.NewData(arrow.BinaryTypes.Binary, len(d.vals), []*memory.Buffer{nil,
		memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(d.offsets)), memory.NewBufferBytes(d.data)}, nil, 0, 0))
}

// numbers gives the indices as an array, nulls among them.
func (d *dictionary) numbers(def []int16, there int16) arrow.Array {
	if len(d.indices) == len(def) {
		return array.NewInt32Data(array.NewData(arrow.PrimitiveTypes.Int32, len(def), []*memory.Buffer{nil,
			memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(d.indices))}, nil, 0, 0))
	}
	d.spaced, d.bitmap = d.spaced[:0], d.bitmap[:0]
	next, word := 0, uint64(0)
	for i, level := range def {
		if level == there {
			d.spaced = append(d.spaced, d.indices[next])
			next++
			word |= 1 << (i & 63)
		} else {
			d.spaced = append(d.spaced, 0)
		}
		if i&63 == 63 {
			d.bitmap = binary.LittleEndian.AppendUint64(d.bitmap, word)
			word = 0
		}
	}
	d.bitmap = binary.LittleEndian.AppendUint64(d.bitmap, word)
	return array.NewInt32Data(array.NewData(arrow.PrimitiveTypes.Int32, len(def), []*memory.Buffer{memory.NewBufferBytes(d.bitmap),
		memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(d.spaced))}, nil, len(def)-next, 0))
}
