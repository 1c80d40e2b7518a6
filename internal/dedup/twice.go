package dedup

import (
	"container/heap"
	"context"
	"encoding/binary"
)

// Twice counts the events that files have more than once, within one or among them: an event that is there three times
// counts two. It reads the files side by side, so memory does not grow with them.
func Twice(ctx context.Context, files []*IDs) (n int64, _ error) {
	h := make(idsHeap, 0, len(files))
	for _, d := range files {
		if d.n > 0 {
			h = append(h, idsCursor{d, 0})
		}
	}
	heap.Init(&h)
	var last Key
	for i := 0; len(h) > 0; i++ {
		if i&0xffff == 0 {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
		}
		k := h[0].key()
		if i > 0 && k == last {
			n++
		}
		last = k
		if h[0].at++; h[0].at == h[0].ids.n {
			heap.Pop(&h)
		} else {
			heap.Fix(&h, 0)
		}
	}
	return n, nil
}

// idsCursor is a place in a file.
type idsCursor struct {
	ids *IDs
	at  uint64
}

func (c idsCursor) key() Key {
	return Key{hi: c.ids.word(c.at), essence: binary.LittleEndian.Uint32(c.ids.entries[c.at*idsEntry+8:])}
}

type idsHeap []idsCursor

func (h idsHeap) Len() int           { return len(h) }
func (h idsHeap) Less(i, k int) bool { return compareIDs(h[i].key(), h[k].key()) < 0 }
func (h idsHeap) Swap(i, k int)      { h[i], h[k] = h[k], h[i] }
func (h *idsHeap) Push(x any)        { *h = append(*h, x.(idsCursor)) }
func (h *idsHeap) Pop() any {
	c := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return c
}
