package journal

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"

	"spoor/internal/durable"
)

// Options say where a journal is and what it may take. Zero values are the defaults.
type Options struct {
	// Dir is the journal's folder, for a server inside this process. It is made when it is missing, and locked.
	Dir string
	// URL is a NATS system that runs elsewhere, instead of Dir: nats://host:port, more of them with commas. What it
	// acknowledges is as durable as it is configured: replicas, or sync_interval always.
	URL         string
	Credentials string      // file with the user's JWT and seed; only with URL
	TLS         *tls.Config // only with URL
	Stream      string      // name of the stream; default SPOOR
	Replicas    int         // of a stream that is made here; default 1; only with URL

	// Followers are names for which everything is kept until they acknowledge it, before they have followed once, too.
	Followers []string
	// MaxBytes is the size at which appends fail with [FullError]. Default 64 GiB.
	MaxBytes int64
	// RetainBytes and RetainAge are how much is kept of what all followers have acknowledged: what is beyond one of them
	// goes. Defaults 1 GiB and 24 h; negative is nothing. The size is that of the stream, and met to a few entries.
	RetainBytes int64
	RetainAge   time.Duration
	// DropUnread lets a journal of MaxBytes lose the oldest entries that a follower has not acknowledged, instead of
	// refusing new ones. It is logged as an error and counted, and the follower gets it as [Lost].
	DropUnread bool
	// MinFree is the room on the disk below which appends fail with [FullError]. Default 256 MiB; negative is none.
	MinFree int64

	// MaxAppend is the largest append, and so the largest record, in bytes. Default 64 MiB.
	MaxAppend int
	// GroupBytes is the stored size at which a group of appends is written without waiting for more. Default 1 MiB.
	GroupBytes int
	// Linger is how long the first append of a group waits for others. Appends that come while a group is written are
	// the next group in any case. Default 0; a few milliseconds make fewer writes of many small appends.
	Linger time.Duration
	// QueueBytes is how much may wait to be written, stored size. Default 64 MiB. An append that finds no room waits
	// for it for QueueWait, default 5 s, and then fails with [FullError].
	QueueBytes int64
	QueueWait  time.Duration
	// KeepIDs is how many of the newest ids of [Journal.AppendOnce] are known. Default 100 000; after a start, those
	// of the newest 256 MiB.
	KeepIDs int

	Log *slog.Logger     // default discards
	Now func() time.Time // default [time.Now]; what entries, ages and retention go by
}

func (o *Options) defaults() error {
	if (o.Dir == "") == (o.URL == "") {
		return errors.New("open journal: either a folder or a URL")
	}
	set(&o.Stream, "SPOOR")
	set(&o.Replicas, 1)
	set(&o.MaxBytes, 64<<30)
	set(&o.RetainBytes, 1<<30)
	set(&o.RetainAge, 24*time.Hour)
	set(&o.MinFree, 256<<20)
	set(&o.MaxAppend, 64<<20)
	set(&o.GroupBytes, 1<<20)
	set(&o.QueueBytes, 64<<20)
	set(&o.QueueWait, 5*time.Second)
	set(&o.KeepIDs, 100_000)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	for _, name := range o.Followers {
		if err := checkName(name); err != nil {
			return err
		}
	}
	return nil
}

func set[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Times within which the parts of the work must be done, or are tried again.
const (
	requestTime = 5 * time.Second        // one request to the stream
	stallTime   = 30 * time.Second       // a write of the server of this process; then it is started again
	writeTime   = time.Minute            // one entry, tried again
	pollTime    = 200 * time.Millisecond // looking for entries of other processes
	upkeepTime  = 10 * time.Second       // retention and the state file
	retryAfter  = 5 * time.Second        // what callers are told when there is no room
	tailBytes   = 256 << 20              // what is read for ids at a start
)

// Journal is an open journal. Its methods may be called concurrently.
type Journal struct {
	o      Options
	codec  *codec
	writer [16]byte // names this opening in entries
	loaded bool     // what is there is known

	eng    *engine // nil with a URL
	lock   *durable.Lock
	nc     *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream
	kv     jetstream.KeyValue
	piece  int // largest body of a piece

	room  *semaphore.Weighted // QueueBytes
	queue chan *pending

	ctx     context.Context // of what the journal does itself
	cancel  context.CancelFunc
	writing sync.WaitGroup // the writer
	tending sync.WaitGroup // upkeep, poll

	restarting sync.Mutex // held while the server is started again
	trimming   sync.Mutex // held while old entries are removed
	wasFull    bool       // the last time; trimming
	stateMu    sync.Mutex // held while the state file is written
	stateText  string     // what it has; stateMu

	mu        sync.Mutex
	closed    bool
	calls     sync.WaitGroup // appends that were let in
	first     uint64         // sequence of the first entry that may be there
	last      uint64         // of the last one
	changed   chan struct{}  // closed when last changes
	bytes     int64          // size of the stream, near enough
	followers map[string]*cursor
	ids       idSet
	lastErr   error

	number  atomic.Uint64 // of the last entry that this opening wrote
	dirTime time.Time     // modification of the folder of messages at its last sync; the writer's
	n       counters
}

type counters struct {
	appends, duplicates, records, rawBytes, storedBytes, writes, writeNanos, retries, refused, restarts atomic.Uint64
	damagedFiles, salvaged, lost, removed, dropped                                                      atomic.Uint64
}

// Open opens a journal, and makes it when it is not there. What a crash left is repaired first; what could not be kept is
// named in the log and counted in [Stats]. The context is for opening only; [Journal.Close] ends the journal.
func Open(ctx context.Context, o Options) (_ *Journal, err error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	j := &Journal{
		o: o, room: semaphore.NewWeighted(o.QueueBytes), queue: make(chan *pending, 1024),
		changed: make(chan struct{}), followers: map[string]*cursor{}, ids: newIDSet(o.KeepIDs),
	}
	j.ctx, j.cancel = context.WithCancel(context.WithoutCancel(ctx))
	_, _ = rand.Read(j.writer[:]) // never fails
	if j.codec, err = newCodec(o.MaxAppend); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open journal: %w", err), j.release())
		}
	}()
	var st state
	var damaged []damage
	if o.Dir != "" {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, err
		}
		if j.lock, err = durable.Acquire(ctx, filepath.Join(o.Dir, "lock"), 0o600, 10*time.Second); err != nil {
			return nil, err
		}
		if st, err = readState(o.Dir, o.Log); err != nil {
			return nil, err
		}
		var reach uint64
		if damaged, reach, err = j.inspect(); err != nil {
			return nil, err
		}
		st.Last = max(st.Last, reach)
		j.eng = &engine{dir: o.Dir, log: o.Log.With("part", "journal server")}
		if err := j.eng.start(ctx); err != nil {
			return nil, err
		}
	}
	if err := j.connect(ctx); err != nil {
		return nil, err
	}
	if j.eng != nil {
		if err := syncTree(natsDir(o.Dir)); err != nil {
			return nil, err
		}
	}
	if err := j.load(ctx, st); err != nil {
		return nil, err
	}
	j.loaded = true
	if err := j.salvage(ctx, damaged); err != nil {
		return nil, err
	}
	j.writing.Go(j.write)
	j.tending.Go(j.tend)
	if o.URL != "" {
		j.tending.Go(j.poll)
	}
	return j, nil
}

// connect finds or makes the stream and the bucket of cursors.
func (j *Journal) connect(ctx context.Context) error {
	opts := []nats.Option{nats.Name("spoor journal"), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.NoEcho()}
	if j.eng != nil {
		opts = append(opts, nats.InProcessServer(j.eng), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0))
	} else {
		opts = append(opts, nats.ReconnectWait(500*time.Millisecond))
		if j.o.Credentials != "" {
			opts = append(opts, nats.UserCredentials(j.o.Credentials))
		}
		if j.o.TLS != nil {
			opts = append(opts, nats.Secure(j.o.TLS))
		}
	}
	opts = append(opts, nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
		if err != nil {
			j.o.Log.Warn("the journal's connection is lost", "error", err)
		}
	}))
	var err error
	if j.nc, err = nats.Connect(j.o.URL, opts...); err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	if j.js, err = jetstream.New(j.nc, jetstream.WithDefaultTimeout(requestTime)); err != nil {
		return err
	}
	j.stream, err = j.js.Stream(ctx, j.o.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		j.stream, err = j.js.CreateStream(ctx, jetstream.StreamConfig{
			Name: j.o.Stream, Subjects: []string{j.subject()}, Description: "Spoor's journal",
			Storage: jetstream.FileStorage, Replicas: j.o.Replicas, Retention: jetstream.LimitsPolicy,
			Discard: jetstream.DiscardNew, // never drop what was accepted
			// Only what is on its way at the same time; see Journal.find for what takes longer.
			Duplicates: 30 * time.Second, AllowDirect: true, DenyDelete: true,
		})
	}
	if err != nil {
		return fmt.Errorf("stream %s: %w", j.o.Stream, err)
	}
	c := j.stream.CachedInfo().Config
	if c.Retention != jetstream.LimitsPolicy || c.Storage != jetstream.FileStorage || c.NoAck || len(c.Subjects) != 1 || c.Subjects[0] != j.subject() ||
		c.MaxAge != 0 || c.MaxMsgsPerSubject > 0 || c.Discard != jetstream.DiscardNew && (c.MaxBytes > 0 || c.MaxMsgs > 0) {
		return fmt.Errorf("stream %s exists with another configuration: it must keep messages of the subject %s in files, acknowledge them, and drop none", j.o.Stream, j.subject())
	}
	most := j.nc.MaxPayload()
	if c.MaxMsgSize > 0 {
		most = min(most, int64(c.MaxMsgSize))
	}
	j.piece = int(min(most-1024, 4<<20)) - pieceHeader // headers of NATS count, too
	if j.piece < 1024 {
		return fmt.Errorf("stream %s takes messages of %d bytes only", j.o.Stream, most)
	}
	j.kv, err = j.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: j.o.Stream + "-cursors", Description: "cursors of the followers of Spoor's journal",
		Storage: jetstream.FileStorage, Replicas: j.o.Replicas, History: 1,
	})
	if err != nil {
		return fmt.Errorf("bucket of cursors: %w", err)
	}
	return nil
}

// ID is the identity of the stream, for as long as there is one: whoever keeps sequences keeps it beside them, and knows by
// it that they mean nothing in another journal. It is made of the stream's name and the time at which it was made.
func (j *Journal) ID() string {
	return fmt.Sprintf("%s-%x", j.o.Stream, j.stream.CachedInfo().Created.UnixNano())
}

func (j *Journal) subject() string { return "spoor.journal." + j.o.Stream }

// load learns what is there.
func (j *Journal) load(ctx context.Context, st state) error {
	info, err := j.info(ctx)
	if err != nil {
		return fmt.Errorf("state of the stream: %w", err)
	}
	j.first, j.last, j.bytes = info.State.FirstSeq, info.State.LastSeq, int64(info.State.Bytes)
	if err := j.loadCursors(ctx, st); err != nil {
		return err
	}
	need := st.Last
	for name, c := range j.followers {
		if c.seq > j.last {
			j.o.Log.Error("a follower is ahead of the journal", "follower", name, "cursor", c.seq, "last", j.last)
		}
		need = max(need, c.seq)
	}
	if err := j.fillTo(ctx, j.last, need); err != nil {
		return err
	}
	return j.loadIDs(ctx, info.State)
}

// fillTo gives away the sequences behind last, where the stream ends, up to need, without content. They were those of entries that are lost from the end of the
// stream: were they given to new entries, followers that are beyond them would never see those.
func (j *Journal) fillTo(ctx context.Context, last, need uint64) error {
	if need <= last {
		return nil
	}
	j.n.lost.Add(need - last)
	j.o.Log.Error("entries are lost from the end of the journal", "stream", j.o.Stream, "first", last+1, "last", need)
	for last < need {
		if need-last > 1000 && j.floor() >= last { // nobody needs what is there: jump
			if err := j.stream.Purge(ctx, jetstream.WithPurgeSequence(need+1)); err != nil {
				return fmt.Errorf("move the journal to sequence %d: %w", need, err)
			}
			info, err := j.info(ctx)
			if err != nil {
				return fmt.Errorf("state of the stream: %w", err)
			}
			if info.State.LastSeq < need {
				return fmt.Errorf("move the journal to sequence %d: it is at %d", need, info.State.LastSeq)
			}
			j.mu.Lock()
			j.first, j.bytes = info.State.FirstSeq, int64(info.State.Bytes)
			j.mu.Unlock()
			last = info.State.LastSeq
			break
		}
		ack, err := j.js.Publish(ctx, j.subject(), appendPiece(nil, pieceInfo{writer: j.writer, accepted: j.o.Now()}, nil))
		if err != nil {
			return fmt.Errorf("fill the journal to sequence %d: %w", need, err)
		}
		last = ack.Sequence
	}
	j.advance(last, 0)
	return nil
}

// advance tells that the stream reaches to last, and grew by size bytes.
func (j *Journal) advance(last uint64, size int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.bytes += int64(size)
	if last > j.last {
		j.last = last
		close(j.changed)
		j.changed = make(chan struct{})
	}
}

// reach is the last sequence, and a channel that closes when there is another.
func (j *Journal) reach() (last uint64, changed <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last, j.changed
}

// errMissing is a sequence that has no message, or none that can be read.
var errMissing = errors.New("no such message")

// get reads the message of a sequence. While the server is away it waits for it. The error is the context's, or [ErrClosed],
// or errMissing.
func (j *Journal) get(ctx context.Context, seq uint64) (*jetstream.RawStreamMsg, error) {
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		try, cancel := j.try(ctx)
		m, err := j.stream.GetMsg(try, seq)
		cancel()
		if err == nil && m.Sequence != seq {
			err = jetstream.ErrMsgNotFound
		}
		if errors.Is(err, jetstream.ErrMsgNotFound) && j.eng == nil {
			m, err = j.getOfLeader(ctx, seq)
		}
		switch {
		case err == nil:
			return m, nil
		case errors.Is(err, jetstream.ErrMsgNotFound):
			return nil, errMissing
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case j.ctx.Err() != nil || j.nc.IsClosed():
			return nil, ErrClosed
		}
		j.o.Log.Debug("the journal cannot be read; again", "sequence", seq, "error", err)
		select {
		case <-ctx.Done():
		case <-j.ctx.Done():
		case <-time.After(wait):
		}
	}
}

// getOfLeader reads a message from the one that decides: a replica that is behind says that it is not there, too.
func (j *Journal) getOfLeader(ctx context.Context, seq uint64) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	m, err := j.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+j.o.Stream, fmt.Appendf(nil, `{"seq":%d}`, seq))
	if err != nil {
		return nil, err
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Seq  uint64 `json:"seq"`
			Data []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return nil, err
	}
	switch {
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, jetstream.ErrMsgNotFound
	case answer.Error != nil:
		return nil, answer.Error
	case answer.Message == nil || answer.Message.Seq != seq:
		return nil, jetstream.ErrInvalidJetStreamResponse
	}
	return &jetstream.RawStreamMsg{Sequence: seq, Data: answer.Message.Data}, nil
}

// poll looks for what other processes have written.
func (j *Journal) poll() {
	tick := time.NewTicker(pollTime)
	defer tick.Stop()
	for {
		select {
		case <-j.ctx.Done():
			return
		case <-tick.C:
			ctx, cancel := context.WithTimeout(j.ctx, requestTime)
			if err := j.refresh(ctx); err != nil {
				j.o.Log.Debug("state of the stream", "error", err)
			}
			cancel()
		}
	}
}

// try bounds one request: an answer never comes when the connection is lost meanwhile.
func (j *Journal) try(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	if j.eng == nil {
		return ctx, cancel
	}
	stop := context.AfterFunc(j.eng.failure(), cancel)
	return ctx, func() { stop(); cancel() }
}

// info asks for the state of the stream. Not by j.stream: that keeps what it is told, where others read it.
func (j *Journal) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := j.try(ctx)
	defer cancel()
	s, err := j.js.Stream(ctx, j.o.Stream)
	if err != nil {
		return nil, err
	}
	return s.CachedInfo(), nil
}

// refresh asks the stream where it is.
func (j *Journal) refresh(ctx context.Context) error {
	info, err := j.info(ctx)
	if err != nil {
		return fmt.Errorf("state of the stream: %w", err)
	}
	j.mu.Lock()
	j.first, j.bytes = info.State.FirstSeq, int64(info.State.Bytes)
	j.mu.Unlock()
	j.advance(info.State.LastSeq, 0)
	return nil
}

// Close lets the appends that were begun end, ends the followers, and closes the journal. It must be called once.
func (j *Journal) Close() error {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	j.calls.Wait()
	close(j.queue)
	j.writing.Wait()
	return j.release()
}

// release gives back whatever there is of a journal.
func (j *Journal) release() (err error) {
	j.cancel()
	j.tending.Wait()
	if j.nc != nil {
		j.nc.Close()
	}
	if j.eng != nil {
		j.eng.stop()
		if j.loaded {
			err = j.writeState()
		}
	}
	if j.lock != nil {
		err = errors.Join(err, j.lock.Release())
	}
	j.codec.close()
	return err
}
