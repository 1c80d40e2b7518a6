package segment_test

import (
	"context"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"spoor/internal/event"
	"spoor/internal/intake"
	"spoor/internal/ledger"
	"spoor/internal/source"
	"spoor/internal/source/open"
	"spoor/internal/store/segment"
)

// TestThroughput prints how fast a folder of logs, named by SPOOR_BENCH_LOGS, becomes segments.
func TestThroughput(t *testing.T) {
	logs := os.Getenv("SPOOR_BENCH_LOGS")
	if logs == "" {
		t.Skip("SPOOR_BENCH_LOGS names no folder")
	}
	dir := t.TempDir()
	if d := os.Getenv("SPOOR_BENCH_OUT"); d != "" {
		dir = d
	}
	src, err := open.Resolve(t.Context(), logs, open.Options{})
	if err != nil {
		t.Fatal(err)
	}
	start, before := time.Now(), cpu()
	var mu sync.Mutex
	var rows, bytes int64
	var workers []*worker
	err = intake.Run(t.Context(), intake.Options{Sources: []source.Source{src}, Named: []string{logs}, Ledger: ledger.New()}, func() (intake.Worker, error) {
		w := &worker{w: segment.NewWriter(segment.Options{Dir: dir}), ctx: t.Context()}
		mu.Lock()
		workers = append(workers, w)
		mu.Unlock()
		return w, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Go(func() {
			if err := w.flush(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, w := range workers {
		for _, s := range w.segs {
			rows += s.Rows
			bytes += s.Bytes
		}
	}
	d := time.Since(start)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d rows in %v: %.0f/s, processor %.1f us an event, %d files, %.1f bytes an event, %d MB from the system", rows, d, float64(rows)/d.Seconds(),
		(cpu()-before).Seconds()*1e6/float64(rows), len(workers[0].segs), float64(bytes)/float64(rows), m.Sys>>20)
}

func cpu() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

type worker struct {
	w    *segment.Writer
	ctx  context.Context
	segs []segment.Segment
}

func (w *worker) Event(e *event.Event) error {
	if err := w.w.Add(e, nil); err != nil {
		return err
	}
	if w.w.Bytes() > 256<<20 {
		return w.flush()
	}
	return nil
}

func (w *worker) flush() error {
	segs, err := w.w.Flush(w.ctx)
	w.segs = append(w.segs, segs...)
	return err
}
