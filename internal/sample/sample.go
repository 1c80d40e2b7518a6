package sample

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"
)

// Generate makes the logs that the options ask for and returns the truth about them. It stops at the first error, and
// then some files have been written and others not.
func Generate(ctx context.Context, o Options) (Truth, error) {
	o.defaults()
	if err := o.validate(); err != nil {
		return Truth{}, err
	}
	w, err := newWorld(o.Seed, o.Accounts)
	if err != nil {
		return Truth{}, fmt.Errorf("make the organisation: %w", err)
	}
	s := new(script)
	if o.Story {
		if s, err = newScript(w, &o); err != nil {
			return Truth{}, fmt.Errorf("write the story: %w", err)
		}
		if o.Events < len(s.events) {
			return Truth{}, fmt.Errorf("sample: the story alone has %d events, more than %d", len(s.events), o.Events)
		}
	}
	m := &maker{w: w, o: &o, plan: newPlan(w, &o, s), sink: o.Sink, workers: o.Workers}
	if m.workers < 1 {
		m.workers = runtime.GOMAXPROCS(0)
	}
	if m.sink == nil {
		if err := os.MkdirAll(o.Out, 0o755); err != nil {
			return Truth{}, fmt.Errorf("create folder: %w", err)
		}
		m.sink = folder(o.Out)
	}
	var sum *tally
	if o.OneFile {
		sum, err = m.oneFile(ctx)
	} else {
		sum, err = m.manyFiles(ctx)
	}
	if err != nil {
		return Truth{}, err
	}
	t := m.truth(sum, s)
	if o.Out != "" {
		if err := writeTruth(filepath.Join(o.Out, "truth.json"), t); err != nil {
			return Truth{}, err
		}
	}
	return t, nil
}

// maker is one call of Generate.
type maker struct {
	w       *world
	o       *Options
	plan    *plan
	sink    Sink
	workers int
}

// tally counts what was made, by place.
type tally struct {
	files, records                    []int64
	raw, written, duplicates, created int64
}

func newTally(places int) *tally {
	return &tally{files: make([]int64, places), records: make([]int64, places)}
}

func (t *tally) add(o *tally) {
	for i := range t.files {
		t.files[i] += o.files[i]
		t.records[i] += o.records[i]
	}
	t.raw += o.raw
	t.written += o.written
	t.duplicates += o.duplicates
	t.created += o.created
}

// manyFiles writes log files in the layout of an organisation's trail.
func (m *maker) manyFiles(ctx context.Context) (*tally, error) {
	group, ctx := errgroup.WithContext(ctx)
	jobs := make(chan job, 4*m.workers)
	group.Go(func() error {
		defer close(jobs)
		return m.each(ctx, func(j job) error {
			select {
			case jobs <- j:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	tallies := make([]*tally, m.workers)
	for i := range tallies {
		t := newTally(len(m.w.places))
		tallies[i] = t
		group.Go(func() error {
			w := &writer{gen: gen{w: m.w}, m: m, tally: t}
			for j := range jobs {
				if err := w.write(ctx, &j); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, t := range tallies[1:] {
		tallies[0].add(t)
	}
	return tallies[0], nil
}

// each hands out all jobs in order.
func (m *maker) each(ctx context.Context, fn func(job) error) error {
	var err error
	m.plan.jobs(func(j job) bool {
		if err = ctx.Err(); err == nil {
			err = fn(j)
		}
		return err == nil
	})
	return err
}

// writer is a worker of manyFiles.
type writer struct {
	gen
	m     *maker
	tally *tally
	text  []byte
	zip   *gzip.Writer
	zd    bytes.Buffer
	key   []byte
}

func (w *writer) write(ctx context.Context, j *job) error {
	w.m.plan.make(&w.gen, j)
	duplicates, err := w.files(j, w.m.o, func(f logFile) error {
		w.text = append(w.text[:0], opening...)
		for i, it := range f.items {
			if i > 0 {
				w.text = append(w.text, ',')
			}
			w.text = append(w.text, w.out[it.start:it.end]...)
		}
		w.text = append(w.text, closing...)
		w.key = w.appendKey(w.key[:0], f.stamp)
		w.tally.files[j.place.no]++
		w.tally.records[j.place.no] += int64(len(f.items))
		return w.put(ctx, string(w.key))
	})
	w.tally.duplicates += int64(duplicates)
	return err
}

// The ends of a log file.
const (
	opening = `{"Records":[`
	closing = `]}`
)

// appendKey appends the key of a log file of the slot.
func (w *writer) appendKey(b []byte, stamp int64) []byte {
	account, region := w.place.account.id, w.place.region
	b = cat(b, "AWSLogs/", organization, "/", account, "/CloudTrail/", region, "/")
	b = appendDay(b, stamp, '/')
	b = cat(b, "/", account, "_CloudTrail_", region, "_")
	b = appendStamp(b, stamp)
	b = w.charsOf(append(b, '_'), digitsAlnum, 16)
	if w.m.o.Plain {
		return cat(b, ".json")
	}
	return cat(b, ".json.gz")
}

// put writes the text as a file.
func (w *writer) put(ctx context.Context, key string) error {
	data := w.text
	if !w.m.o.Plain {
		w.zd.Reset()
		if w.zip == nil {
			var err error
			if w.zip, err = gzip.NewWriterLevel(&w.zd, w.m.o.Level); err != nil {
				return fmt.Errorf("compress: %w", err)
			}
		} else {
			w.zip.Reset(&w.zd)
		}
		if _, err := w.zip.Write(w.text); err != nil {
			return fmt.Errorf("compress: %w", err)
		}
		if err := w.zip.Close(); err != nil {
			return fmt.Errorf("compress: %w", err)
		}
		data = w.zd.Bytes()
	}
	w.tally.raw += int64(len(w.text))
	w.tally.written += int64(len(data))
	w.tally.created++
	file, err := w.m.sink.Create(ctx, key)
	if err != nil {
		return err
	}
	if _, err := file.Write(data); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", key, err), file.Close())
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	return nil
}

// chunk is a job's records, joined by commas.
type chunk struct {
	text                []byte
	place               int
	records, duplicates int
}

// oneFile writes all records into a single file. Workers make the chunks, which are written in the order of the jobs.
func (m *maker) oneFile(ctx context.Context) (*tally, error) {
	key := "records.json.gz"
	if m.o.Plain {
		key = "records.json"
	}
	file, err := m.sink.Create(ctx, key)
	if err != nil {
		return nil, err
	}
	sum, err := m.chunks(ctx, file)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("write %s: %w", key, err)
	}
	return sum, nil
}

func (m *maker) chunks(ctx context.Context, file io.Writer) (*tally, error) {
	sum := newTally(len(m.w.places))
	sum.created = 1
	counted := &countingWriter{w: file}
	out := bufio.NewWriterSize(counted, 1<<20)
	var to io.Writer = out
	var zip *gzip.Writer
	if !m.o.Plain {
		var err error
		if zip, err = gzip.NewWriterLevel(out, m.o.Level); err != nil {
			return nil, fmt.Errorf("compress: %w", err)
		}
		to = zip
	}

	type task struct {
		job  job
		done chan chunk
	}
	group, ctx := errgroup.WithContext(ctx)
	depth := 4 * m.workers
	tasks, order := make(chan task, depth), make(chan chan chunk, depth)
	free := make(chan []byte, depth)
	group.Go(func() error {
		defer close(tasks)
		defer close(order)
		return m.each(ctx, func(j job) error {
			t := task{j, make(chan chunk, 1)}
			select {
			case order <- t.done:
			case <-ctx.Done():
				return ctx.Err()
			}
			select {
			case tasks <- t:
			case <-ctx.Done():
				return ctx.Err()
			}
			return nil
		})
	})
	for range m.workers {
		group.Go(func() error {
			g := gen{w: m.w}
			for t := range tasks {
				var buf []byte
				select {
				case buf = <-free:
				default:
				}
				c := m.chunk(&g, &t.job, buf[:0])
				t.done <- c
			}
			return nil
		})
	}
	group.Go(func() error {
		if _, err := io.WriteString(to, opening); err != nil {
			return err
		}
		sum.raw += int64(len(opening) + len(closing))
		first := true
		for done := range order {
			var c chunk
			select {
			case c = <-done:
			case <-ctx.Done():
				return ctx.Err()
			}
			if !first {
				if _, err := to.Write([]byte{','}); err != nil {
					return err
				}
				sum.raw++
			}
			first = false
			if _, err := to.Write(c.text); err != nil {
				return err
			}
			sum.raw += int64(len(c.text))
			sum.records[c.place] += int64(c.records)
			sum.duplicates += int64(c.duplicates)
			select {
			case free <- c.text:
			default:
			}
		}
		_, err := io.WriteString(to, closing)
		return err
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if zip != nil {
		if err := zip.Close(); err != nil {
			return nil, err
		}
	}
	if err := out.Flush(); err != nil {
		return nil, err
	}
	sum.written = counted.n
	return sum, nil
}

func (m *maker) chunk(g *gen, j *job, buf []byte) chunk {
	m.plan.make(g, j)
	c := chunk{text: buf, place: j.place.no}
	// g.files fails only where its callback does.
	c.duplicates, _ = g.files(j, m.o, func(f logFile) error {
		for _, it := range f.items {
			if c.records > 0 {
				c.text = append(c.text, ',')
			}
			c.text = append(c.text, g.out[it.start:it.end]...)
			c.records++
		}
		return nil
	})
	return c
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

func (m *maker) truth(sum *tally, s *script) Truth {
	t := Truth{
		Seed: m.o.Seed, Organization: organization, Start: m.o.Start.UTC(), End: m.o.Start.UTC().Add(time.Duration(m.o.Days) * 24 * time.Hour),
		Events: int64(m.o.Events), Duplicates: sum.duplicates, Files: sum.created, RawBytes: sum.raw, FileBytes: sum.written,
		Steps: s.steps, Benign: s.benign,
	}
	for _, a := range m.w.accounts {
		account := TruthAccount{ID: a.id, Name: a.name}
		for _, p := range m.w.places {
			if p.account == a {
				t.Records += sum.records[p.no]
				account.Regions = append(account.Regions, TruthRegion{p.region, sum.files[p.no], sum.records[p.no]})
			}
		}
		t.Accounts = append(t.Accounts, account)
	}
	return t
}

func writeTruth(path string, t Truth) error {
	text, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return fmt.Errorf("encode truth: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write truth: %w", err)
	}
	return nil
}
