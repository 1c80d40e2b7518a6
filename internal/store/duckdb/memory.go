package duckdb

import (
	"context"
	"errors"
	"fmt"
	"runtime/metrics"
	"sync"
	"time"
)

// An engine counts what it stores, not what it is working on. So what engines really take is bounded as well, and by what
// they take, not by what the process does: in a service other parts of it grow and shrink, which must neither make queries
// fail nor let them take more. What engines take is what the process takes but for mapped files, for Go's heap and stacks, and
// for what there was before the first engine. There are two walls:
//
//   - Of a query, while it runs, engines may not take more than what all of them were granted; else it is ended, and only
//     it: of several, one in a while.
//   - An allocation of an engine that would take more is refused in C, which the engine makes an error of the query. See
//     memlimit_linux.c.
//
// Both are for all engines of the process together, each of which brings its Options.Memory and memorySlack. So the process
// takes no more than all of these and what the rest of it takes.

// ErrMemory is the cause of the end of queries that need more than Options.Memory.
var ErrMemory = errors.New("the query needs more memory than its limit")

// memorySlack is what an engine may take beyond Options.Memory: it counts what it stores, not what it is working on.
const memorySlack = 512 << 20

// goBytes is what Go takes.
func goBytes() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	for _, v := range s {
		if v.Value.Kind() != metrics.KindUint64 {
			return 0
		}
	}
	return int64(s[0].Value.Uint64()) - int64(s[1].Value.Uint64())
}

// account is what an engine may take.
type account struct {
	bytes int64
	base  int64 // what was taken before the engine was opened, but for Go
	ended sync.Once

	mu   sync.Mutex // guards last
	last time.Time  // when a query was ended
}

// openAccount grants an engine memory. It returns nil where nothing is watched.
func openAccount(memory int64) *account {
	if raced {
		return nil
	}
	a := &account{bytes: memory + memorySlack}
	before := granted()
	if !grant(a.bytes) {
		return nil
	}
	now, ok := taken()
	if !ok {
		grant(-a.bytes)
		return nil
	}
	// Other engines may have taken something by now. Of that too little is taken off rather than too much.
	a.base = max(0, now-goBytes()-before)
	a.refresh()
	return a
}

// refresh tells what is not the engines', before they are asked for anything. It may be called of nil.
func (a *account) refresh() (others int64) {
	if a == nil {
		return 0
	}
	others = a.base + goBytes()
	tellOthers(others)
	return others
}

func (a *account) close() {
	if a != nil {
		a.ended.Do(func() { grant(-a.bytes) })
	}
}

// over reports whether engines take more than they were granted.
func (a *account) over() bool {
	others := a.refresh()
	now, ok := taken()
	return ok && now-others > granted()
}

// mayEnd says whether this is the query to be ended: one in a while, so that others get the memory that it had.
func (a *account) mayEnd() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now := time.Now(); now.Sub(a.last) > 200*time.Millisecond {
		a.last = now
		return true
	}
	return false
}

// watchMemory ends the query of ctx when the engines take too much. Where nothing is watched, the engine's own limit and the
// caps of macros.go are what there is.
func (e *Engine) watchMemory(ctx context.Context) (stop func()) {
	cancel, _ := ctx.Value(cancelKey{}).(context.CancelCauseFunc)
	if e.account == nil || cancel == nil {
		return func() {}
	}
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
				if e.account.over() && e.account.mayEnd() {
					cancel(fmt.Errorf("%w of %d MiB", ErrMemory, e.opts.Memory>>20))
					return
				}
			}
		}
	})
	return func() {
		close(end)
		wg.Wait()
	}
}
