package journal

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"spoor/internal/durable"
)

// pending is an append that waits to be written.
type pending struct {
	id      appendID
	section section
	size    int64 // of the queue's room
	seq     uint64
	err     error
	done    chan struct{} // closed when seq and err are set
}

// Append makes records durable, all or none, in their order, as part of one entry, and returns the entry's sequence: when
// it returns they are synced. Nothing is kept of the records afterwards. No records are nothing, with sequence 0.
//
// Errors: [FullError] (not accepted, would be later), [ErrTooLarge], [ErrClosed], and [ErrUnknown], for which the
// context's end is one reason.
func (j *Journal) Append(ctx context.Context, records []Record) (seq uint64, err error) {
	return j.AppendOnce(ctx, "", records)
}

// AppendOnce is [Journal.Append] for a caller that offers the same records again when it does not know whether they were
// accepted, after a crash of either side too. id names them; an id that is known is not appended again, and the sequence is
// that of the first time. Known are the newest ids, Options.KeepIDs of them.
func (j *Journal) AppendOnce(ctx context.Context, id string, records []Record) (seq uint64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return 0, ErrClosed
	}
	j.calls.Add(1)
	j.mu.Unlock()
	defer j.calls.Done()
	if len(records) == 0 {
		return 0, nil
	}
	p := &pending{id: idOf(id), done: make(chan struct{})}
	if p.id != (appendID{}) {
		j.mu.Lock()
		same := j.ids.enter(p)
		j.mu.Unlock()
		if same != nil {
			seq, err := await(ctx, same)
			if err == nil {
				j.n.duplicates.Add(1)
			}
			return seq, err
		}
	}
	if err := j.enqueue(ctx, p, records); err != nil {
		j.settle(p, 0, err)
		return 0, err
	}
	return await(ctx, p)
}

func await(ctx context.Context, p *pending) (uint64, error) {
	select {
	case <-p.done:
		return p.seq, p.err
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
	}
}

// enqueue gives an append to the writer.
func (j *Journal) enqueue(ctx context.Context, p *pending, records []Record) (err error) {
	if p.section, err = j.codec.encode(p.id, records); err != nil {
		return err
	}
	p.size = min(int64(len(p.section.stored)), j.o.QueueBytes)
	room, cancel := context.WithTimeout(ctx, j.o.QueueWait)
	defer cancel()
	if j.room.Acquire(room, p.size) != nil {
		p.size = 0
		if err := ctx.Err(); err != nil {
			return err
		}
		j.n.refused.Add(1)
		return &FullError{fmt.Sprintf("%d bytes wait to be written", j.o.QueueBytes), retryAfter}
	}
	select {
	case j.queue <- p:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// settle ends an append.
func (j *Journal) settle(p *pending, seq uint64, err error) {
	p.seq, p.err = seq, err
	j.mu.Lock()
	j.ids.settle(p)
	j.mu.Unlock()
	close(p.done)
	j.room.Release(p.size)
}

// write writes groups of appends until the queue is closed and empty.
func (j *Journal) write() {
	var group []*pending
	for p := range j.queue {
		group = j.gather(append(group[:0], p))
		sections := make([]section, len(group))
		for i, p := range group {
			sections[i] = p.section
		}
		seq, err := j.writeEntry(j.ctx, sections)
		j.mu.Lock()
		j.lastErr = err
		j.mu.Unlock()
		for i, p := range group {
			j.settle(p, seq, err)
			group[i] = nil
		}
	}
}

// gather takes more appends for a group.
func (j *Journal) gather(group []*pending) []*pending {
	size := len(group[0].section.stored)
	var linger <-chan time.Time
	for size < j.o.GroupBytes {
		select {
		case p, ok := <-j.queue:
			if !ok {
				return group
			}
			group = append(group, p)
			size += len(p.section.stored)
			continue
		default:
		}
		if j.o.Linger <= 0 {
			return group
		}
		if linger == nil {
			linger = time.After(j.o.Linger)
		}
		select {
		case p, ok := <-j.queue:
			if !ok {
				return group
			}
			group = append(group, p)
			size += len(p.section.stored)
		case <-linger:
			return group
		}
	}
	return group
}

// writeEntry makes one entry durable. Only one goroutine may be in it.
func (j *Journal) writeEntry(ctx context.Context, sections []section) (seq uint64, err error) {
	began := time.Now()
	body := appendSections(nil, sections)
	if j.overfull(len(body)) { // perhaps not when what nobody needs has gone
		trimming, cancel := context.WithTimeout(ctx, requestTime)
		if err := j.trim(trimming, int64(len(body))); err != nil {
			j.o.Log.Error("make room in the journal", "error", err)
		}
		cancel()
	}
	if err := j.full(len(body)); err != nil {
		j.n.refused.Add(uint64(len(sections)))
		return 0, err
	}
	if seq, err = j.publish(ctx, body); err != nil {
		return 0, err
	}
	if err := j.syncBlocks(); err != nil {
		return 0, fmt.Errorf("%w: sync the journal's folder: %w", ErrUnknown, err)
	}
	j.n.writes.Add(1)
	j.n.writeNanos.Add(uint64(time.Since(began)))
	j.n.appends.Add(uint64(len(sections)))
	j.n.storedBytes.Add(uint64(len(body)))
	for _, s := range sections {
		j.n.records.Add(uint64(s.records))
		j.n.rawBytes.Add(uint64(s.plain))
	}
	return seq, nil
}

// overfull tells whether size more bytes were more than MaxBytes.
func (j *Journal) overfull(size int) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.bytes+int64(size) > j.o.MaxBytes
}

// full says why size more bytes cannot be taken.
func (j *Journal) full(size int) error {
	if j.overfull(size) {
		return &FullError{fmt.Sprintf("it has its %d bytes, and a follower needs them", j.o.MaxBytes), retryAfter}
	}
	if j.eng != nil && j.o.MinFree > 0 {
		free, err := durable.Free(j.o.Dir)
		if err != nil {
			return fmt.Errorf("free space of %s: %w", j.o.Dir, err)
		}
		// Twice: the files of the server are written anew now and then.
		if free < uint64(j.o.MinFree)+2*uint64(size) {
			return &FullError{fmt.Sprintf("the disk has %d bytes left", free), retryAfter}
		}
	}
	return nil
}

// syncBlocks makes the names of files durable that the server has made. It syncs their content itself, but not the folder.
func (j *Journal) syncBlocks() error {
	if j.eng == nil {
		return nil
	}
	dir := blockDir(j.o.Dir, j.o.Stream)
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if info.ModTime().Equal(j.dirTime) {
		return nil
	}
	if err := durable.SyncDir(dir); err != nil {
		return err
	}
	j.dirTime = info.ModTime()
	return nil
}

// attempt is an entry under a number, which may have reached the stream or not.
type attempt struct {
	after  uint64 // it is behind this sequence
	number uint64
}

// publish writes the pieces of an entry, again and again until it is known to be there or known not to be. The pieces
// follow each other without anything between them.
func (j *Journal) publish(ctx context.Context, body []byte) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, writeTime)
	defer cancel()
	after, _ := j.reach()
	tried := attempt{after: after, number: j.number.Add(1)}
	var unsure error // why it may be there
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		var server context.Context
		if j.eng != nil {
			server = j.eng.failure()
		}
		seq, err := j.publishOnce(ctx, tried.number, body)
		if err == nil {
			return seq, nil
		}
		var api *jetstream.APIError
		errors.As(err, &api)
		switch {
		case errors.Is(err, errInterleaved): // the pieces so far are void
			tried.number = j.number.Add(1)
			continue
		case unsure == nil && api != nil && api.ErrorCode == jsStoreFailed && strings.Contains(api.Description, "maximum"):
			j.n.refused.Add(1)
			return 0, &FullError{api.Description, retryAfter}
		case errors.Is(err, nats.ErrMaxPayload), api != nil && api.ErrorCode == jsTooLarge:
			return 0, fmt.Errorf("write to the journal: %w", err)
		}
		unsure = err
		j.n.retries.Add(1)
		j.o.Log.Warn("an entry could not be written; again", "error", err)
		// A connection that is lost comes back by itself; a server that failed, or does not answer, does not.
		if j.eng != nil && (server.Err() != nil || api != nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, jetstream.ErrNoStreamResponse) || !j.eng.running()) {
			if err := j.restart(ctx, server); err != nil {
				j.n.refused.Add(1)
				return 0, errors.Join(&FullError{"its disk cannot be written", retryAfter}, unsure, err)
			}
			seq, err := j.find(ctx, tried)
			if seq != 0 {
				return seq, nil
			}
			if err == nil { // surely not there
				j.n.refused.Add(1)
				return 0, errors.Join(&FullError{"its disk could not be written", retryAfter}, unsure)
			}
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: %w", ErrUnknown, unsure)
		case <-time.After(wait):
		}
		if seq, err := j.find(ctx, tried); err != nil {
			j.o.Log.Debug("look for an entry", "error", err)
		} else if seq != 0 {
			return seq, nil
		}
	}
}

// errors of JetStream.
const (
	jsStoreFailed jetstream.ErrorCode = 10077 // a limit of the stream, or an error of the disk
	jsTooLarge    jetstream.ErrorCode = 10054
	jsWrongLast   jetstream.ErrorCode = 10071
)

var errInterleaved = errors.New("another entry came between the pieces")

// publishOnce is publishPieces for as long as an answer may be waited for.
func (j *Journal) publishOnce(ctx context.Context, number uint64, body []byte) (uint64, error) {
	if j.eng == nil {
		ctx, cancel := context.WithTimeout(ctx, requestTime)
		defer cancel()
		return j.publishPieces(ctx, number, body)
	}
	failed := j.eng.failure()
	ctx, cancel := context.WithTimeout(ctx, stallTime)
	defer cancel()
	defer context.AfterFunc(failed, cancel)()
	seq, err := j.publishPieces(ctx, number, body)
	if err != nil && failed.Err() != nil {
		err = errors.Join(context.Cause(failed), err)
	}
	return seq, err
}

// publishPieces writes an entry under a number.
func (j *Journal) publishPieces(ctx context.Context, number uint64, body []byte) (seq uint64, err error) {
	p := pieceInfo{writer: j.writer, number: number, accepted: j.o.Now(), of: uint32(max(1, (len(body)+j.piece-1)/j.piece))}
	for ; p.index < p.of; p.index++ {
		part := body[:min(len(body), j.piece)]
		body = body[len(part):]
		m := &nats.Msg{Subject: j.subject(), Data: appendPiece(make([]byte, 0, pieceHeader+len(part)), p, part)}
		opts := []jetstream.PublishOpt{
			jetstream.WithMsgID(fmt.Sprintf("%s-%d-%d", hex.EncodeToString(j.writer[:]), number, p.index)),
			jetstream.WithExpectStream(j.o.Stream),
		}
		if p.index > 0 {
			opts = append(opts, jetstream.WithExpectLastSequence(seq))
		}
		ack, err := j.js.PublishMsg(ctx, m, opts...)
		if err != nil {
			var api *jetstream.APIError
			if p.index > 0 && errors.As(err, &api) && api.ErrorCode == jsWrongLast {
				return 0, errInterleaved
			}
			return 0, err
		}
		if p.index > 0 && ack.Sequence != seq+1 {
			return 0, errInterleaved
		}
		seq = ack.Sequence
		j.advance(seq, len(m.Data))
	}
	return seq, nil
}

// find looks for an entry that may have reached the stream: its sequence, or 0 when it is not there.
func (j *Journal) find(ctx context.Context, t attempt) (uint64, error) {
	if err := j.refresh(ctx); err != nil {
		return 0, err
	}
	last, _ := j.reach()
	var have uint32
	for seq := t.after + 1; seq <= last; seq++ {
		m, err := j.get(ctx, seq)
		if errors.Is(err, errMissing) {
			have = 0
			continue
		}
		if err != nil {
			return 0, err
		}
		p, _, err := parsePiece(m.Data)
		if err != nil || p.writer != j.writer || p.number != t.number {
			have = 0
			continue
		}
		if p.index != have {
			have = 0
		}
		if p.index == have {
			have++
		}
		if have == p.of {
			return seq, nil
		}
	}
	return 0, nil
}

// restart starts the server of this process again, unless it is another already than the one whose failure the caller has
// seen; nil is a server that did not run.
func (j *Journal) restart(ctx, seen context.Context) error {
	j.restarting.Lock()
	defer j.restarting.Unlock()
	if j.eng.running() && j.eng.failure() != seen {
		return nil
	}
	j.n.restarts.Add(1)
	j.o.Log.Error("the journal's server is started again")
	j.eng.stop()
	if _, _, err := j.inspect(); err != nil {
		j.o.Log.Error("look at the journal's files", "error", err)
	}
	if err := j.eng.start(ctx); err != nil {
		return err
	}
	for {
		try, cancel := context.WithTimeout(ctx, 500*time.Millisecond) // the client may not know yet that it was cut off
		info, err := j.info(try)
		cancel()
		if err == nil {
			last, _ := j.reach()
			return j.fillTo(ctx, info.State.LastSeq, last)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("state of the stream: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
