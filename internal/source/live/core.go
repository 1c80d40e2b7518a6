package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"spoor/internal/durable"
	"spoor/internal/event"
	"spoor/internal/ledger"
	"spoor/internal/source"
)

// Core is the part that all sources have. Sources embed it; its methods may be called concurrently.
type Core struct {
	Options
	decoders chan *event.Decoder // as many objects are decoded at once
	lock     *durable.Lock

	mu    sync.Mutex // guards what follows, and that the ledger and what State saves agree
	book  book
	dirty bool // something changed since the last checkpoint
	state func() (map[string]int64, error)
	stats Stats
	rate  [rateSpan]int64 // records by second
	rated int64           // second of the newest

	letters letters
}

const rateSpan = 60 // seconds that the rate is taken over

func (c *Core) openDir() (err error) {
	if err := os.MkdirAll(filepath.Join(c.Dir, "dead"), 0o700); err != nil {
		return err
	}
	if c.lock, err = durable.Acquire(context.Background(), filepath.Join(c.Dir, "lock"), 0o600, 0); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.lock.Release())
		}
	}()
	for _, dir := range []string{c.Dir, filepath.Join(c.Dir, "dead")} {
		if err := durable.RemoveParts(dir); err != nil {
			return err
		}
	}
	if err := c.book.open(c.Dir, c.Now()); err != nil {
		return err
	}
	return c.letters.open(filepath.Join(c.Dir, "dead"), c.DeadMax)
}

// Remember sets what saves the state of a source beside its ledger: save makes durable what was settled, and returns marks
// that Marks gives after the next opening, and that are durable together with the ledger. It is called while nothing is
// settled.
func (c *Core) Remember(save func() (map[string]int64, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = save
}

// Marks are those of the last checkpoint before the opening.
func (c *Core) Marks() map[string]int64 { return c.book.marks }

// Work runs a source: it calls work, and writes checkpoints until work returns.
func (c *Core) Work(ctx context.Context, work func(ctx context.Context) error) error {
	c.Note(func(s *Stats) { s.Running = true })
	done := make(chan struct{})
	var keeper sync.WaitGroup
	keeper.Go(func() {
		tick := time.NewTicker(c.Checkpoint)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				if err := c.Save(); err != nil {
					c.Failed(fmt.Errorf("keep the ledger: %w", err))
				}
			}
		}
	})
	err := work(ctx)
	close(done)
	keeper.Wait()
	c.Note(func(s *Stats) { s.Running = false })
	if saved := c.Save(); saved != nil {
		saved = fmt.Errorf("keep the ledger: %w", saved)
		c.Failed(saved)
		err = errors.Join(err, saved)
	}
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return nil
	}
	return err
}

// Save writes a checkpoint, when something has changed since the last one.
func (c *Core) Save() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dirty {
		c.book.turn(c.Now())
		return nil
	}
	var marks map[string]int64
	if c.state != nil {
		var err error
		if marks, err = c.state(); err != nil {
			return err
		}
	}
	if err := c.book.save(marks, c.Now()); err != nil {
		return err
	}
	c.dirty = false
	return nil
}

// Close writes the last checkpoint and gives the folder back.
func (c *Core) Close() error { return errors.Join(c.Save(), c.lock.Release()) }

// Ledger implements [Source].
func (c *Core) Ledger(since time.Time) (*ledger.Report, error) {
	c.mu.Lock()
	now := c.book.now()
	before := c.book.day
	c.mu.Unlock()
	return c.book.report(since, before, now)
}

// Dead implements [Source].
func (c *Core) Dead(after string, limit int) ([]Letter, error) { return c.letters.list(after, limit) }

// Letter returns a dead letter.
func (c *Core) Letter(id string) (Letter, error) { return c.letters.get(id) }

// Discard implements [Source].
func (c *Core) Discard(id string) error { return c.letters.remove(id) }

// Bury keeps a dead letter. When it returns nil the letter is durable.
func (c *Core) Bury(l Letter) error {
	l.At = c.Now().UTC()
	id, err := c.letters.add(l)
	if err != nil {
		return fmt.Errorf("keep a dead letter: %w", err)
	}
	c.Log.Error("given up, and kept with the dead letters", "letter", id, "object", l.Object, "attempts", l.Attempts, "reason", l.Reason)
	return nil
}

// Stats implements [Source].
func (c *Core) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	c.advance()
	var sum int64
	for _, n := range c.rate {
		sum += n
	}
	s.Rate = float64(sum) / rateSpan
	s.DeadLetters = c.letters.count()
	return s
}

// Note changes the figures.
func (c *Core) Note(change func(s *Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.stats)
}

// Update changes the state of a source, while nothing is settled and no checkpoint is written. changed says that there is
// something to be written.
func (c *Core) Update(change func() (changed bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty = change() || c.dirty
}

// Failed counts and logs an error.
func (c *Core) Failed(err error) {
	text := short(err)
	c.Log.Warn("error of a source", "error", text)
	c.Note(func(s *Stats) { s.Errors++; s.LastError = text; s.LastErrorAt = c.Now().UTC() })
}

// Succeeded says that the source was reached and is in order.
func (c *Core) Succeeded() { c.Note(func(s *Stats) { s.LastSuccess = c.Now().UTC() }) }

// advance clears the seconds of the rate that have gone by; c.mu is held.
func (c *Core) advance() int64 {
	now := c.Now().Unix()
	if d := now - c.rated; d < 0 || d >= rateSpan { // the clock was set back too
		c.rate = [rateSpan]int64{}
	} else {
		for s := c.rated + 1; s <= now; s++ {
			c.rate[s%rateSpan] = 0
		}
	}
	c.rated = now
	return (now%rateSpan + rateSpan) % rateSpan
}

func (c *Core) accepted(records int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Records += int64(records)
	c.stats.Bytes += bytes
	c.rate[c.advance()] += int64(records)
}

// Settle counts an object that was read, with the error that it is given up for, if any. also, when not nil, is called
// together with it: a checkpoint has both or neither.
func (c *Core) Settle(r *Reading, err error, also func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirty = true
	obj := r.obj
	led := c.book.led
	led.Listed(obj)
	c.stats.Objects++
	if skip := r.skipped(err); skip != "" {
		led.Skip(obj, skip)
	} else {
		o := led.Object(obj)
		r.count(o)
		o.Close(err)
		c.stats.Rejected += r.rejected
		if err != nil {
			c.stats.Failed++
		}
	}
	for _, m := range r.members {
		led.Listed(m.obj)
		if m.skip != "" {
			led.Skip(m.obj, m.skip)
			continue
		}
		o := led.Object(m.obj)
		m.count(o)
		o.Close(m.err)
		c.stats.Rejected += m.rejected
	}
	if err == nil {
		c.stats.LastSuccess = c.Now().UTC()
	}
	if also != nil {
		also()
	}
}

// Skip settles an object that is left out for a reason.
func (c *Core) Skip(obj source.Object, reason string, also func()) {
	c.Settle(&Reading{core: c, obj: obj, skip: reason}, nil, also)
}

// Unread is the reading of an object of which nothing was read.
func (c *Core) Unread(obj source.Object) *Reading { return &Reading{core: c, obj: obj} }

// Wanted gives the reason why an object is left out by its key, or "".
func (c *Core) Wanted(p source.Place) string {
	sel := source.Selection{Accounts: c.Accounts, Regions: c.Regions, Kinds: source.LogKinds()}
	return sel.Skip(p)
}

// From reads an object of a source, or the members of an archive.
func (c *Core) From(ctx context.Context, src source.Source, obj source.Object) (*Reading, error) {
	whole := &Reading{core: c, obj: obj}
	err := src.Open(ctx, obj, func(o source.Object, text io.Reader) error {
		if o.Name == obj.Name {
			r, err := c.Read(ctx, o, text)
			whole = r
			return err
		}
		if len(whole.members) >= maxMembers {
			return fmt.Errorf("the archive has more than %d members", maxMembers)
		}
		m := &Reading{core: c, obj: o, skip: o.Skip}
		if m.skip == "" {
			m.skip = c.Wanted(o.Place)
		}
		if m.skip == "" {
			var err error
			m, err = c.Read(ctx, o, text)
			if m.skip = m.skipped(err); m.skip == "" {
				m.err = err
			}
			if Passing(err) {
				return err
			}
			if whole.broken == nil {
				whole.broken = m.err
			}
		}
		whole.members = append(whole.members, m)
		return nil
	})
	if err == nil && whole.broken != nil {
		err = whole.broken
	}
	return whole, err
}

const maxMembers = 100_000 // of an archive, as they are remembered until all are read

// Pause waits, or until the context ends.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Backoff is how long to wait after a number of failures in a row: base, doubled up to most.
func Backoff(base, most time.Duration, failures int) time.Duration {
	for range max(failures-1, 0) {
		if base *= 2; base >= most {
			return most
		}
	}
	return min(base, most)
}
