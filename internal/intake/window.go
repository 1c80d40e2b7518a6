package intake

import (
	"cmp"
	"container/heap"
	"slices"
	"strings"
)

// window holds listed objects back to give them out in the order of their delivery: listings go by account and Region
// first, so that without it every day would be met again and again.
type window struct {
	limit int
	jobs  jobHeap
}

// through takes a job, and sends the earliest one when the window is full.
func (w *window) through(j job, send func(job) error) error {
	if w.limit <= 0 {
		return send(j)
	}
	heap.Push(&w.jobs, j)
	if len(w.jobs) <= w.limit {
		return nil
	}
	return send(heap.Pop(&w.jobs).(job))
}

// drain sends what is held.
func (w *window) drain(send func(job) error) error {
	slices.SortFunc(w.jobs, compareJobs)
	for _, j := range w.jobs {
		if err := send(j); err != nil {
			return err
		}
	}
	w.jobs = nil
	return nil
}

// compareJobs orders by delivery; what does not tell it goes by name, first.
func compareJobs(a, b job) int {
	return cmp.Or(a.obj.Place.Delivered.Compare(b.obj.Place.Delivered), strings.Compare(a.obj.Name, b.obj.Name))
}

type jobHeap []job

func (h jobHeap) Len() int           { return len(h) }
func (h jobHeap) Less(i, k int) bool { return compareJobs(h[i], h[k]) < 0 }
func (h jobHeap) Swap(i, k int)      { h[i], h[k] = h[k], h[i] }
func (h *jobHeap) Push(x any)        { *h = append(*h, x.(job)) }
func (h *jobHeap) Pop() any {
	j := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return j
}
