package journal

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// tend does what must be done now and then, until the journal ends.
func (j *Journal) tend() {
	tick := time.NewTicker(upkeepTime)
	defer tick.Stop()
	for {
		var failed context.Context
		var ends <-chan struct{}
		if j.eng != nil && j.eng.running() {
			failed = j.eng.failure()
			ends = failed.Done()
		}
		select {
		case <-j.ctx.Done():
			return
		case <-tick.C:
		case <-ends:
		}
		ctx, cancel := context.WithTimeout(j.ctx, writeTime)
		if j.eng != nil && (failed == nil || failed.Err() != nil) {
			if err := j.restart(ctx, failed); err != nil {
				j.o.Log.Error("start the journal's server", "error", err)
			}
		}
		if err := j.trim(ctx, 0); err != nil && j.ctx.Err() == nil {
			j.o.Log.Error("remove old entries of the journal", "error", err)
		}
		if err := j.writeState(); err != nil {
			j.o.Log.Error("journal", "error", err)
		}
		cancel()
	}
}

// trim removes what retention does not keep, and more where need bytes have no room.
func (j *Journal) trim(ctx context.Context, need int64) error {
	j.trimming.Lock()
	defer j.trimming.Unlock()
	info, err := j.info(ctx)
	if err != nil {
		return fmt.Errorf("state of the stream: %w", err)
	}
	st := info.State
	j.mu.Lock()
	j.first, j.bytes = st.FirstSeq, int64(st.Bytes)
	j.mu.Unlock()
	j.advance(st.LastSeq, 0)
	if st.Msgs == 0 {
		return nil
	}
	floor := j.floor()
	want := st.FirstSeq - 1 // remove up to this one
	tooMany := int64(st.Bytes) + need - j.o.MaxBytes
	if over := max(int64(st.Bytes)-max(0, j.o.RetainBytes), tooMany); over > 0 {
		want = max(want, j.prefix(st, over))
	}
	if want < floor && j.o.RetainAge != 0 {
		old, err := j.olderThan(ctx, st.FirstSeq, floor, j.o.Now().Add(-max(0, j.o.RetainAge)))
		if err != nil {
			return err
		}
		want = max(want, old)
	}
	want = min(want, floor)
	full := tooMany > 0 && want < j.prefix(st, tooMany)
	if full && !j.o.DropUnread && !j.wasFull {
		j.o.Log.Error("the journal is full: a follower has not acknowledged", "stream", j.o.Stream, "bytes", st.Bytes, "first", st.FirstSeq, "acknowledged", floor)
	}
	j.wasFull = full
	if full && j.o.DropUnread {
		unread := max(floor, st.FirstSeq-1)
		want = j.prefix(st, tooMany)
		j.n.dropped.Add(want - unread)
		j.o.Log.Error("the journal is full: entries are dropped that a follower has not acknowledged", "stream", j.o.Stream, "first", unread+1, "last", want)
	}
	if want < st.FirstSeq {
		return nil
	}
	if err := j.stream.Purge(ctx, jetstream.WithPurgeSequence(want+1)); err != nil {
		return fmt.Errorf("remove entries up to %d: %w", want, err)
	}
	j.n.removed.Add(want - st.FirstSeq + 1)
	return j.refresh(ctx)
}

// prefix is the last sequence of the oldest entries that have size bytes together, were they all of one size; rounded up.
func (j *Journal) prefix(st jetstream.StreamState, size int64) uint64 {
	each := max(1, int64(st.Bytes/st.Msgs))
	return min(st.LastSeq, st.FirstSeq-1+uint64((size+each-1)/each))
}

// olderThan is the last sequence from first to last whose entry was accepted before a time; first-1 when there is none.
// Where a clock was set back it may be an earlier one.
func (j *Journal) olderThan(ctx context.Context, first, last uint64, before time.Time) (uint64, error) {
	if last < first {
		return first - 1, nil
	}
	var failed error
	n := sort.Search(int(last-first+1), func(i int) bool {
		if failed != nil {
			return true
		}
		for seq := first + uint64(i); seq <= last; seq++ {
			at, err := j.acceptedAt(ctx, seq)
			if errors.Is(err, errMissing) {
				continue
			}
			failed = err
			return err != nil || !at.Before(before)
		}
		return true
	})
	return first - 1 + uint64(n), failed
}

// acceptedAt is when the entry of a sequence was written.
func (j *Journal) acceptedAt(ctx context.Context, seq uint64) (time.Time, error) {
	m, err := j.get(ctx, seq)
	if err != nil {
		return time.Time{}, err
	}
	p, _, err := parsePiece(m.Data)
	if err != nil {
		return time.Time{}, errMissing
	}
	return p.accepted, nil
}
