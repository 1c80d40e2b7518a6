package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"

	"spoor/internal/event"
)

// contender is something that goes through data.
type contender struct {
	name string
	// run goes through the data once.
	run  func(ctx context.Context) (result, error)
	once bool // runs only once, whatever -runs says
}

type result struct {
	records int64
	raw     int64 // bytes of JSON
	// process is set when it was one of its own; then its time counts.
	process measurement
}

// measured is what came of a contender.
type measured struct {
	name  string
	times []time.Duration
	result
	err error
}

func (m *measured) median() time.Duration {
	if len(m.times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(m.times))
	return sorted[len(sorted)/2]
}

// rate is records per second.
func (m *measured) rate() float64 {
	if d := m.median(); d > 0 {
		return float64(m.records) / d.Seconds()
	}
	return 0
}

// race runs the contenders in turns. One that fails is out of the race, and its row says why.
func (b *bench) race(ctx context.Context, contenders []contender) ([]*measured, error) {
	all := make([]*measured, len(contenders))
	for i, c := range contenders {
		all[i] = &measured{name: c.name}
	}
	for round := range b.runs {
		for i, c := range contenders {
			m := all[i]
			if m.err != nil || c.once && round > 0 {
				continue
			}
			runtime.GC()
			limited, cancel := ctx, context.CancelFunc(func() {})
			if b.timeout > 0 {
				limited, cancel = context.WithTimeout(ctx, b.timeout)
			}
			began := time.Now()
			r, err := c.run(limited)
			took := time.Since(began)
			cancel()
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				m.err = err
				b.say("%s: %v", c.name, err)
				continue
			}
			if r.process.Elapsed > 0 {
				took = r.process.Elapsed
			}
			r.process.Peak = max(r.process.Peak, m.process.Peak)
			m.result = r
			m.times = append(m.times, took)
			b.say("%s: %.2f s, %.0f records/s", c.name, took.Seconds(), float64(r.records)/took.Seconds())
		}
	}
	return all, nil
}

// eachFile goes through the files of d with so many goroutines, each with a state of its own.
func eachFile[S any](ctx context.Context, d *data, workers int, newState func() S, fn func(ctx context.Context, state S, path string) error) ([]S, error) {
	group, ctx := errgroup.WithContext(ctx)
	var mu sync.Mutex
	next := 0 // guarded by mu
	take := func() (string, bool) {
		mu.Lock()
		defer mu.Unlock()
		if next == len(d.paths) {
			return "", false
		}
		next++
		return d.paths[next-1], true
	}
	states := make([]S, workers)
	for i := range states {
		states[i] = newState()
		group.Go(func() error {
			for {
				path, ok := take()
				if !ok {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := fn(ctx, states[i], path); err != nil {
					return fmt.Errorf("%s: %w", path, err)
				}
			}
		})
	}
	return states, group.Wait()
}

// gunzip is the floor: the decompression of all files, and nothing done with the text.
func gunzip(d *data, workers int) func(ctx context.Context) (result, error) {
	type state struct {
		zr  *gzip.Reader
		buf []byte
		n   int64
	}
	return func(ctx context.Context) (result, error) {
		states, err := eachFile(ctx, d, workers, func() *state { return &state{buf: make([]byte, 128<<10)} }, func(_ context.Context, s *state, path string) error {
			file, err := os.Open(path)
			if err != nil {
				return err
			}
			defer file.Close()
			if s.zr == nil {
				s.zr, err = gzip.NewReader(file)
			} else {
				err = s.zr.Reset(file)
			}
			if err != nil {
				return err
			}
			for {
				n, err := s.zr.Read(s.buf)
				s.n += int64(n)
				if err == io.EOF {
					return nil
				}
				if err != nil {
					return err
				}
			}
		})
		r := result{records: d.truth.Records}
		for _, s := range states {
			r.raw += s.n
		}
		if err == nil && r.raw != d.truth.RawBytes {
			err = fmt.Errorf("%d bytes came out, %d were put in", r.raw, d.truth.RawBytes)
		}
		return r, err
	}
}

// tally is a Sink that counts. It looks at what every consumer looks at, so that nothing is left for later.
type tally struct {
	records, raw, odd int64
	times             int64
}

func (t *tally) Event(e *event.Event) error {
	t.records++
	t.raw += int64(len(e.Raw))
	t.times ^= e.Time
	return nil
}
func (t *tally) Reject(event.Reject) error { t.odd++; return nil }
func (t *tally) Note(string)               { t.odd++ }
func (t *tally) Digest([]byte) error       { t.odd++; return nil }

// decode is gunzip, the typed fields and the raw record, without anything done with them.
func decode(d *data, workers int) func(ctx context.Context) (result, error) {
	type state struct {
		tally
		dec *event.Decoder
	}
	return func(ctx context.Context) (result, error) {
		states, err := eachFile(ctx, d, workers, func() *state { return &state{dec: event.NewDecoder(event.Limits{})} }, func(ctx context.Context, s *state, path string) error {
			file, err := os.Open(path)
			if err != nil {
				return err
			}
			defer file.Close()
			return s.dec.Decode(ctx, path, file, s)
		})
		var r result
		for _, s := range states {
			r.records += s.records
			r.raw += s.raw
		}
		if err == nil {
			err = r.check(d)
		}
		return r, err
	}
}

// check holds the number of records against the truth.
func (r result) check(d *data) error {
	if r.records != d.truth.Records {
		return fmt.Errorf("%d records, %d were written", r.records, d.truth.Records)
	}
	return nil
}

// textLimit bounds the text that split holds in memory.
const textLimit = 400 << 20

// split finds the records in text that is in memory already. It goes through the first files, as many as textLimit
// allows, and its rates are those of these.
func split(d *data, workers int) func(ctx context.Context) (result, error) {
	var texts [][]byte // made in the first run, before the clock of the others
	load := func() error {
		size := 0
		for _, path := range d.paths {
			file, err := os.Open(path)
			if err != nil {
				return err
			}
			zr, err := gzip.NewReader(file)
			if err != nil {
				file.Close()
				return fmt.Errorf("%s: %w", path, err)
			}
			text, err := io.ReadAll(zr)
			file.Close()
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			texts = append(texts, text)
			if size += len(text); size > textLimit {
				break
			}
		}
		return nil
	}
	return func(ctx context.Context) (result, error) {
		if texts == nil {
			if err := load(); err != nil {
				return result{}, err
			}
		}
		var r result
		var mu sync.Mutex // guards r and next
		next := 0
		group, ctx := errgroup.WithContext(ctx)
		for range workers {
			group.Go(func() error {
				dec, sink := event.NewDecoder(event.Limits{}), new(tally)
				defer func() {
					mu.Lock()
					defer mu.Unlock()
					r.records += sink.records
					r.raw += sink.raw
				}()
				for {
					mu.Lock()
					i := next
					next++
					mu.Unlock()
					if i >= len(texts) {
						return nil
					}
					err := dec.Split(ctx, "text", bytes.NewReader(texts[i]), sink, func(raw []byte) error {
						sink.records++
						sink.raw += int64(len(raw))
						return nil
					})
					if err != nil {
						return err
					}
				}
			})
		}
		err := group.Wait()
		return r, err
	}
}

// hunt is the binary, as a user runs it.
func (b *bench) hunt(d *data, flags ...string) func(ctx context.Context) (result, error) {
	return func(ctx context.Context) (result, error) {
		args := append([]string{"hunt", "--quiet", "--temp-dir", b.dir}, flags...)
		m, err := process(ctx, []int{0}, append([]string{b.spoor}, append(args, d.logs())...)...)
		return result{records: d.truth.Records, raw: d.truth.RawBytes, process: m}, err
	}
}

const jqProgram = `.Records[] | select(.errorCode == "AccessDenied")`

// jq is zcat with jq's select, the thing that everybody has at hand.
func jq(d *data) func(ctx context.Context) (result, error) {
	const script = `set -e; find "$1" -name '*.json.gz' -print0 | xargs -0 zcat | jq -c "$2" > /dev/null`
	return func(ctx context.Context) (result, error) {
		m, err := process(ctx, []int{0}, "sh", "-c", script, "sh", d.logs(), jqProgram)
		return result{records: d.truth.Records, raw: d.truth.RawBytes, process: m}, err
	}
}

func readThrough(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read data: %w", err)
	}
	defer file.Close()
	if _, err := io.Copy(io.Discard, file); err != nil {
		return fmt.Errorf("read data: %w", err)
	}
	return nil
}
