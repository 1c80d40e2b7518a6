package cli

import (
	"fmt"
	"io"
	"sync"
	"time"

	"spoor/internal/intake"
)

// showProgress writes how far reading is to w.
func showProgress(w io.Writer, width int, p *intake.Progress) (stop func()) {
	return showLine(w, width, func(elapsed time.Duration) string { return progressLine(p, elapsed) })
}

// showLine writes what text gives to w, five times a second on one line, until stop is called, which removes the line and
// waits.
func showLine(w io.Writer, width int, text func(elapsed time.Duration) string) (stop func()) {
	end := make(chan struct{})
	var wg sync.WaitGroup
	start := time.Now()
	wg.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				fmt.Fprint(w, "\r\x1b[K")
				return
			case <-tick.C:
				line := text(time.Since(start))
				if len(line) > width-1 {
					line = line[:max(0, width-1)]
				}
				fmt.Fprintf(w, "\r%s\x1b[K", line)
			}
		}
	})
	return sync.OnceFunc(func() {
		close(end)
		wg.Wait()
	})
}

func progressLine(p *intake.Progress, elapsed time.Duration) string {
	done, listed, seconds := p.Done.Load(), p.Listed.Load(), elapsed.Seconds()
	total := fmt.Sprintf("%d", listed)
	if !p.ListingDone.Load() {
		total += "+"
	}
	line := fmt.Sprintf("%d/%s files  %d events  %.0f events/s  %.0f MB/s", done, total, p.Events.Load(), float64(p.Events.Load())/seconds,
		float64(p.DoneBytes.Load())/1e6/seconds)
	if !p.ListingDone.Load() {
		return line
	}
	all, now := p.ListedBytes.Load(), p.DoneBytes.Load()
	if p.Unsized.Load() > 0 { // then files must do
		all, now = listed, done
	}
	if now > 0 && all > now {
		left := time.Duration(float64(elapsed) * float64(all-now) / float64(now))
		line += fmt.Sprintf("  ETA %s", left.Round(time.Second))
	}
	return line
}
