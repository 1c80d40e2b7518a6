package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"spoor/internal/durable"
	"spoor/internal/event"
	"spoor/internal/journal"
)

// maxNamed is how many records that cannot be delivered are named in the log between two cuts.
const maxNamed = 20

// ackTime is what the last acknowledgement may take when everything ends.
const ackTime = 5 * time.Second

// follow follows the journal until the context ends. After an error that may pass it begins again behind the last manifest.
func (d *Delivery) follow(ctx context.Context) error {
	var again backoff
	for {
		began := d.o.Now()
		err := d.followOnce(ctx)
		d.abandon()
		switch {
		case ctx.Err() != nil && !errors.Is(err, errFault):
			if err != nil {
				d.o.Log.Error("the last cut of trails failed; the next start reads the journal again", "error", err)
			}
			return nil
		case errors.Is(err, journal.ErrClosed), errors.Is(err, journal.ErrVersion), errors.Is(err, errFault), errors.Is(err, errEnd):
			return err
		}
		if d.o.Now().Sub(began) > d.o.RetryMost {
			again.good()
		}
		again.fail(d.o.Now(), &d.o)
		d.o.Log.Error("events for trails cannot be taken from the journal; it is tried again behind the last manifest", "wait", again.delay, "error", err)
		timer := time.NewTimer(again.delay)
		select {
		case <-ctx.Done():
		case err := <-d.fatal:
			timer.Stop()
			return err
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return nil
		}
	}
}

// errEnd is wrapped by errors that do not pass.
var errEnd = errors.New("deliveries end")

// abandon throws away what is not in a manifest.
func (d *Delivery) abandon() {
	if d.cut != nil {
		if d.o.fault("abandon") == nil {
			d.cut.discard()
		}
		d.cut = nil
	}
	if d.plan != nil {
		d.plan.forget()
	}
	d.plan = nil
	d.read = d.reached
	d.figures(time.Time{})
}

// followOnce follows the journal from the last manifest on.
func (d *Delivery) followOnce(ctx context.Context) error {
	f, err := d.o.Feed.Follow(ctx, d.committed)
	if err != nil {
		return fmt.Errorf("follow the journal: %w", err)
	}
	defer f.Close()
	d.reached = f.Start() // what is between was acknowledged: nobody takes it
	d.read, d.acked = d.reached, d.reached
	batches, failed := make(chan journal.Batch), make(chan error, 1)
	reading, stop := context.WithCancel(ctx)
	var working sync.WaitGroup
	defer working.Wait()
	defer stop()
	working.Go(func() {
		for {
			b, err := f.Next(reading)
			if err != nil {
				failed <- err
				return
			}
			select {
			case batches <- b:
			case <-reading.Done():
				return
			}
		}
	})
	var oldest time.Time // when the first entry was accepted that is not in a manifest
	var held int64       // bytes of records that the journal keeps for this follower
	var due, idle alarm  // the next cut; the next acknowledgement of entries that no trail takes
	cut := func() error {
		due.stop()
		idle.stop()
		oldest, held = time.Time{}, 0
		return d.makeCut(ctx, f)
	}
	defer due.stop()
	defer idle.stop()
	d.look()
	if err := d.tell(); err != nil {
		return err
	}
	for {
		in := batches
		if d.spooled.Load() >= d.o.MaxSpool || d.waiting.Load() >= int64(d.o.MaxPending) {
			if d.cut != nil {
				if err := cut(); err != nil {
					return err
				}
			}
			in = nil
		}
		d.fill(in == nil)
		select {
		case <-d.changed: // before entries that came after it
			if err := cut(); err != nil {
				return err
			}
			d.look()
			if err := d.tell(); err != nil {
				return err
			}
			continue
		case err := <-d.fatal:
			return fmt.Errorf("%w: %w", errEnd, err)
		default:
		}
		select {
		case <-ctx.Done():
			return cut()
		case err := <-d.fatal:
			return fmt.Errorf("%w: %w", errEnd, err)
		case err := <-failed:
			if ctx.Err() != nil {
				return cut()
			}
			return fmt.Errorf("read the journal: %w", errors.Join(err, cut()))
		case <-d.changed:
			if err := cut(); err != nil {
				return err
			}
			d.look()
			if err := d.tell(); err != nil {
				return err
			}
		case <-due.ring:
			if err := cut(); err != nil {
				return err
			}
		case <-idle.ring:
			idle.stop()
			if d.cut == nil {
				if err := cut(); err != nil {
					return err
				}
			}
		case <-d.freed:
			if err := d.tell(); err != nil {
				return err
			}
		case b := <-in:
			// It may lie behind a change that was told while it came. One that the last look did not see is behind it.
			select {
			case <-d.changed:
				if err := cut(); err != nil {
					return err
				}
				d.look()
				if err := d.tell(); err != nil {
					return err
				}
			default:
			}
			if d.plan == nil || b.Seq > d.plan.until {
				if err := cut(); err != nil {
					return err
				}
				if d.plan, err = newPlan(d.trails, b.Seq); err != nil {
					return err
				}
			}
			if oldest.IsZero() {
				oldest = b.Accepted
			}
			for i := range b.Records {
				held += int64(len(b.Records[i].Raw))
			}
			if err := d.takeBatch(&b); err != nil {
				return err
			}
			if d.cut != nil {
				due.set(d.o.Interval)
			} else {
				idle.set(min(d.o.Interval, idleAck))
			}
			d.figures(oldest)
			if s := d.cut; held >= d.o.MaxHeld || s != nil && (s.raw >= d.o.MaxCut || s.files >= d.o.MaxOpen) {
				if err := cut(); err != nil {
					return err
				}
			}
		}
	}
}

// idleAck is how long entries that no trail takes are kept in the journal.
const idleAck = time.Second

// alarm is a timer that is set once at a time.
type alarm struct {
	timer *time.Timer
	ring  <-chan time.Time // nil while it is not set
}

func (a *alarm) set(d time.Duration) {
	if a.timer == nil {
		a.timer = time.NewTimer(d)
		a.ring = a.timer.C
	}
}

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
	*a = alarm{}
}

// look reads the book.
func (d *Delivery) look() {
	d.trails, d.changed = d.o.Book.Deliverable()
	d.plan = nil
	d.inform()
}

// inform tells the couriers what is known of their trails.
func (d *Delivery) inform() {
	d.mu.Lock()
	defer d.mu.Unlock()
	known := map[string]bool{}
	for _, t := range d.trails {
		known[t.ARN] = true
		c := d.couriers[t.ARN]
		if c == nil {
			c = newCourier(d, nil, newState(t.ARN))
			d.couriers[t.ARN] = c
			d.start(c)
		}
		c.observe(observation{t, false, d.reached})
	}
	for arn, c := range d.couriers {
		if !known[arn] {
			c.observe(observation{gone: true, reached: d.reached})
		}
	}
}

// tell tells the book up to where everything is settled, when that lets it forget something.
func (d *Delivery) tell() error {
	settled := d.reached
	d.mu.Lock()
	for _, t := range d.trails {
		if c := d.couriers[t.ARN]; c != nil {
			settled = min(settled, c.doneUpTo())
		}
	}
	d.mu.Unlock()
	forgets := false
	for _, t := range d.trails {
		forgets = forgets || t.Deleted && len(t.Epochs) > 0 && t.Epochs[len(t.Epochs)-1].After <= settled || len(t.Epochs) > 1 && t.Epochs[1].After <= settled
	}
	if !forgets || settled <= d.told {
		return nil
	}
	if err := d.o.fault("book"); err != nil {
		return err
	}
	if err := d.o.Book.Delivered(settled); err != nil {
		d.o.Log.Warn("trails cannot be told of what is delivered; they are told again", "sequence", settled, "error", err)
		return nil
	}
	d.told = settled
	return nil
}

// takeBatch takes an entry of the journal.
func (d *Delivery) takeBatch(b *journal.Batch) error {
	for _, l := range b.Lost {
		d.o.Log.Error("entries of the journal are lost: no trail has their events", "first", l.First, "last", l.Last)
		d.count(func(s *Stats) { s.Lost += l.Last - l.First + 1 })
	}
	d.read = b.Seq
	if len(d.plan.targets) == 0 {
		return nil
	}
	var records, events, undecodable, unplaced uint64
	defer func() {
		d.count(func(s *Stats) {
			s.Records += records
			s.Events += events
			s.Undecodable += undecodable
			s.Unplaced += unplaced
		})
	}()
	p := d.plan
	var ev event.Event
	source, wanted := "", d.o.Sources == nil || d.o.Sources("")
	for i := range b.Records {
		rec := &b.Records[i]
		if rec.Origin.Source != source {
			source = rec.Origin.Source
			wanted = d.o.Sources == nil || d.o.Sources(source)
		}
		if !wanted {
			continue
		}
		records++
		if err := ev.Reset(rec.Raw); err != nil {
			undecodable++
			d.name("a record is no event, and goes into no file of a trail", b.Seq, rec, err)
			continue
		}
		hits, r := p.takes(&ev, d.o.Account, d.o.Region)
		if len(hits) == 0 {
			continue
		}
		events++
		if r.unplaced {
			unplaced++
			d.name("an event tells no account or Region of its own, and is filed under those of this installation", b.Seq, rec, nil)
		}
		if d.cut == nil {
			d.cut, d.named = d.newSpool(p.targets), 0
		}
		st, class := p.to(r, hits)
		if st == nil {
			var err error
			if st, err = d.cut.stretch(r, class, hits); err != nil {
				return fmt.Errorf("begin a file of the spool: %w", err)
			}
		}
		at := ev.Time
		if at == 0 {
			at = b.Accepted.UnixNano()
		}
		if err := d.cut.add(st, ev.Raw, at); err != nil {
			return err
		}
	}
	return nil
}

// name names a record in the log, as far as there are few.
func (d *Delivery) name(what string, seq uint64, r *journal.Record, err error) {
	if d.named++; d.named <= maxNamed {
		d.o.Log.Warn(what, "sequence", seq, "source", r.Origin.Source, "object", r.Origin.Object, "offset", r.Origin.Offset, "error", err)
	}
	if d.named == maxNamed {
		d.o.Log.Warn("further ones are counted until the next cut")
	}
}

// makeCut ends the open files: when they are in a manifest, the journal is acknowledged.
func (d *Delivery) makeCut(ctx context.Context, f Follower) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(ackTime, d.o.Interval))
	defer cancel()
	if d.cut != nil {
		if err := d.commit(); err != nil {
			return err
		}
	}
	d.reached, d.named = d.read, 0
	d.figures(time.Time{})
	d.inform()
	if d.reached <= d.acked {
		return nil
	}
	if err := d.o.fault("ack"); err != nil {
		return err
	}
	if err := f.Ack(ctx, d.reached); err != nil {
		d.o.Log.Error("the journal cannot be acknowledged for trails; it is tried again", "sequence", d.reached, "error", err)
		return nil
	}
	d.acked = d.reached
	return d.o.fault("acked")
}

// commit makes a manifest of the open files.
func (d *Delivery) commit() error {
	s := d.cut
	m, err := s.finish(d.reached+1, d.read, d.o.Now().UTC())
	if err != nil {
		return err
	}
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("make the manifest of a cut: %w", err)
	}
	if len(b) > maxManifest {
		return fmt.Errorf("make the manifest of a cut: it has %d bytes, the limit is %d", len(b), maxManifest)
	}
	if err := d.o.fault("manifest"); err != nil {
		return err
	}
	path := filepath.Join(d.o.Dir, cutsDir, cutName(m.Number))
	if err := durable.WriteFile(path, b, 0o600); err != nil {
		if rerr := os.Remove(path); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
			d.cut = nil // it may be there, and then its packs must be
			return fmt.Errorf("%w: write the manifest of a cut: %w", errEnd, errors.Join(err, rerr))
		}
		return fmt.Errorf("write the manifest of a cut: %w", err)
	}
	d.cut = nil // it is there now
	d.plan.forget()
	if err := d.o.fault("manifest written"); err != nil {
		return err
	}
	d.mu.Lock()
	before := d.number
	d.number = m.Number
	d.stats.Cuts++
	d.mu.Unlock()
	d.committed = m.To
	d.admit(m, true)
	d.prune(before)
	return nil
}

// fill notes whether the spool is full.
func (d *Delivery) fill(full bool) {
	d.mu.Lock()
	was := d.full
	d.full = full
	d.mu.Unlock()
	switch {
	case full && !was:
		d.o.Log.Error("the spool of trails is full: nothing more is taken from the journal until buckets take files again",
			"bytes", d.spooled.Load(), "bytes most", d.o.MaxSpool, "files", d.waiting.Load(), "files most", d.o.MaxPending)
	case was && !full:
		d.o.Log.Info("the spool of trails has room again")
	}
}

func (d *Delivery) count(change func(*Stats)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(&d.stats)
}

// figures notes where the follower is.
func (d *Delivery) figures(oldest time.Time) {
	d.count(func(s *Stats) {
		s.Read, s.Reached, s.Oldest = d.read, d.reached, oldest
		s.OpenFiles, s.Buffered = 0, 0
		if d.cut != nil {
			s.OpenFiles, s.Buffered = d.cut.files, d.cut.held
		}
	})
}
