package store

import (
	"context"
	"fmt"
	"io"
	"time"

	"spoor/internal/dedup"
	"spoor/internal/store/segment"
	"spoor/internal/store/table"
)

// Filter says which events a query or export is about, as far as files can be left out by it.
type Filter struct {
	Since, Until time.Time // event time; Until is not included
	// Hold asks for the store as it was when the hold of this name was placed.
	Hold string
}

// Plan is what a query reads: the files of one moment, committed ones and hot ones, which have events of several days and
// no Day. They stay until [Plan.Release], in the process that changes the store; for other processes, for the grace
// period of [Store.Expire].
type Plan struct {
	table.Plan
	// Damaged names files that were left out since they are missing or not as they were written. Whoever answers from the
	// plan must say so: the answer may miss their events.
	Damaged []Damage

	dir     string
	release func()
}

// Release says that the files are not read any more. It may be called more than once.
func (p *Plan) Release() { p.release() }

// WithEvent gives the files that may have an event with an eventID, which is not empty, by the ids beside them. Files whose
// ids cannot be read are among them.
func (p *Plan) WithEvent(ctx context.Context, id string) (files []table.File, _ error) {
	k := dedup.KeyOfID(id)
	for _, f := range p.Files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		ids, err := dedup.OpenIDs(idsPath(p.dir, f.Name))
		if err != nil {
			files = append(files, f)
			continue
		}
		has := ids.Find(k) != dedup.First || int64(ids.Len()) != f.Rows
		if err := ids.Close(); err != nil {
			return nil, fmt.Errorf("look for an event: %w", err)
		}
		if has {
			files = append(files, f)
		}
	}
	return files, nil
}

// Plan gives the files that may have events of the filter. Each is looked at: its length and its end. Release it.
func (s *Store) Plan(ctx context.Context, f Filter) (_ *Plan, err error) {
	release := s.leases.take(s.opts.Now())
	defer func() {
		if err != nil {
			release()
		}
	}()
	tf := table.Filter{Since: f.Since, Until: f.Until}
	if f.Hold != "" {
		tf.Tag = holdPrefix + f.Hold
	}
	p, _, hot, err := s.now(ctx, tf)
	if err != nil {
		return nil, fmt.Errorf("plan a query: %w", err)
	}
	out := &Plan{Plan: p, Damaged: nonNil(hot.damage), dir: s.dir, release: release}
	p.Files = append(p.Files, hot.tables(s.dir, tf)...)
	byTime(p.Files)
	good := make([]table.File, 0, len(p.Files))
	for _, file := range p.Files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if what := looks(file); what != "" {
			out.Damaged = append(out.Damaged, Damage{File: file.Name, Day: dayName(file), Rows: file.Rows, What: what})
			continue
		}
		good = append(good, file)
	}
	out.Files = good
	return out, nil
}

// logText reads rows as the text of a log file.
type logText struct {
	rows *segment.Reader
	buf  []byte // rest of what is to be read
	n    int64
	own  []byte // memory of buf
	end  bool
}

// Read implements [io.Reader].
func (t *logText) Read(p []byte) (int, error) {
	for len(t.buf) == 0 {
		if t.end {
			return 0, io.EOF
		}
		t.own = t.own[:0]
		for len(t.own) < 64<<10 && !t.end {
			rec, err := t.rows.Next()
			switch {
			case err == io.EOF:
				if t.n == 0 {
					t.own = append(t.own, `{"Records":[`...)
				}
				t.own = append(t.own, "]}"...)
				t.end = true
			case err != nil:
				if len(t.own) == 0 {
					return 0, fmt.Errorf("damaged: %w", err)
				}
				// What was read is handed on before the error, which comes again.
				t.buf = t.own
				return t.give(p)
			default:
				sep := `{"Records":[`
				if t.n > 0 {
					sep = ","
				}
				t.own = append(append(t.own, sep...), rec.Raw...)
				t.n++
			}
		}
		t.buf = t.own
	}
	return t.give(p)
}

func (t *logText) give(p []byte) (int, error) {
	n := copy(p, t.buf)
	t.buf = t.buf[n:]
	return n, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
