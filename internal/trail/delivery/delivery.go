// Package delivery follows the journal for all trails: it writes log files and digests to buckets, and tells topics of them.
//
// One follower, [FollowerName], reads the journal. Each record is decoded once; the settings of the trails at its sequence
// decide who takes it. What is taken is compressed into packs, in stretches of records that the same trails take of one
// account, Region and category; a stretch is compressed and stored once, however many trails take it. A log file is a list
// of stretches. A cut ends all open files: packs are synced, one manifest that tells of them is written, and then the journal
// is acknowledged. A crash before the manifest throws the packs away and reads the journal again; after it nothing is read
// again, and what follows repeats harmlessly.
//
// Each trail has a goroutine of its own, which puts the files of manifests into buckets, tells topics, and makes digests, and
// keeps in a log what it has done. A trail whose bucket refuses holds up nobody but itself, until the spool is full: then
// nothing more is taken from the journal until there is room.
//
// docs/formats/delivery.md says what is stored.
package delivery

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"spoor/internal/blob"
	"spoor/internal/durable"
	"spoor/internal/journal"
	"spoor/internal/topic"
	"spoor/internal/trail"
)

// FollowerName is the name under which trails follow a journal, for [journal.Options].Followers.
const FollowerName = "trails"

var (
	// ErrDamaged is returned for state that is not what was written, ErrNewer for state that a newer version wrote.
	ErrDamaged = errors.New("the state of deliveries is damaged")
	ErrNewer   = errors.New("the state of deliveries was written by a newer version")
)

// errFault is what a refused step ends everything with.
var errFault = errors.New("refused")

// Feed is a journal: [JournalFeed].
type Feed interface {
	// ID is the identity of the journal.
	ID() string
	// Follow begins behind what was acknowledged, or behind the sequence after where that is more.
	Follow(ctx context.Context, after uint64) (Follower, error)
}

// Follower gives a journal's batches, as [journal.Follower] does.
type Follower interface {
	Start() uint64
	Next(ctx context.Context) (journal.Batch, error)
	Ack(ctx context.Context, seq uint64) error
	Close()
}

// JournalFeed is a journal that trails follow.
func JournalFeed(j *journal.Journal) Feed { return journalFeed{j} }

type journalFeed struct{ *journal.Journal }

func (f journalFeed) Follow(ctx context.Context, after uint64) (Follower, error) {
	from := journal.FromCursor()
	for {
		follower, err := f.Journal.Follow(ctx, FollowerName, from)
		if err != nil {
			return nil, err
		}
		if follower.Start() >= after {
			return follower, nil
		}
		follower.Close()
		from = journal.After(after)
	}
}

// Book is where trails come from: [trail.Book].
type Book interface {
	Deliverable() ([]trail.Trail, <-chan struct{})
	Delivered(seq uint64) error
}

// Storage takes files: a [blob.Storage].
type Storage interface {
	Put(ctx context.Context, bucket, key string, body []byte, o blob.PutOptions) error
}

// Topics takes notices: [topic.Service].
type Topics interface {
	Publish(ctx context.Context, topicARN string, m topic.Message) (messageID string, err error)
}

// Signer has the keys of digests: [spoor/internal/trail/signing.Keys].
type Signer interface {
	Signing(ctx context.Context, region string, at time.Time) (*rsa.PrivateKey, error)
}

// Options of New. Zero values are the defaults.
type Options struct {
	Dir     string // required; made when it is missing, and locked
	Feed    Feed   // required, and so are the next three
	Book    Book
	Storage Storage
	Signer  Signer
	Topics  Topics // nil: trails with topics show an error in their status

	// Account and Region are where records are filed that tell none of their own.
	Account, Region string
	// Regions are those, besides the home Region, for which multi-Region trails get digests before any file was delivered.
	Regions []string
	// Sources says whether records of a source of the journal (journal.Origin.Source) are delivered; nil for all.
	Sources func(source string) bool
	// Authorize, when set, is asked before each put, as the service that delivers. Errors are those of Storage.
	Authorize func(ctx context.Context, trailARN, bucket, key, kmsKey string) error

	Interval       time.Duration // between cuts; default 5 minutes
	DigestInterval time.Duration // of digests, whole seconds; default 1 hour
	MaxFile        int64         // bytes of a log file before compression; default 49 MiB. A record that is larger is alone in its file
	MaxCut         int64         // bytes of records after which a cut is made early; default 256 MiB
	MaxHeld        int64         // bytes of records that are read and not acknowledged, taken or not, after which a cut is made early; default 4 GiB
	MaxOpen        int           // open files after which a cut is made early; default 20 000
	MaxBuffer      int64         // bytes of records in memory; default 64 MiB
	MaxSpool       int64         // bytes on disk at which nothing more is taken from the journal; default 8 GiB
	MaxPending     int           // files in manifests that are not delivered, likewise; default 200 000
	Parallel       int           // puts of a trail at once; default 4

	// RetryFirst and RetryMost are the waits after the first failure and after many; default 1 s and 2 minutes. GiveUp is how
	// long a file is tried, from its cut on; default for ever. A put may take PutTimeout; default 5 minutes.
	RetryFirst, RetryMost time.Duration
	GiveUp                time.Duration
	PutTimeout            time.Duration

	Log *slog.Logger     // default discards
	Now func() time.Time // default [time.Now]

	// fault, when set, may refuse a step: then everything stops, as in a crash.
	fault func(step string) error
	// compact is the size from which the log of a trail is written anew.
	compact int64
}

func (o *Options) defaults() error {
	switch {
	case o.Dir == "" || o.Feed == nil || o.Book == nil || o.Storage == nil || o.Signer == nil:
		return errors.New("deliveries of trails need a folder, a journal, trails, a storage and keys")
	case o.DigestInterval%time.Second != 0:
		return fmt.Errorf("the interval of digests, %s, is not in whole seconds", o.DigestInterval)
	}
	set(&o.Interval, 5*time.Minute)
	set(&o.DigestInterval, time.Hour)
	set(&o.MaxFile, 49<<20)
	set(&o.MaxCut, 256<<20)
	set(&o.MaxHeld, 4<<30)
	set(&o.MaxOpen, 20_000)
	set(&o.MaxBuffer, 64<<20)
	set(&o.MaxSpool, 8<<30)
	set(&o.MaxPending, 200_000)
	set(&o.Parallel, 4)
	set(&o.compact, compactBytes)
	set(&o.RetryFirst, time.Second)
	set(&o.RetryMost, 2*time.Minute)
	set(&o.PutTimeout, 5*time.Minute)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	refuse := o.fault
	o.fault = func(step string) error {
		if refuse == nil {
			return nil
		}
		if err := refuse(step); err != nil {
			return fmt.Errorf("%w: %s: %w", errFault, step, err)
		}
		return nil
	}
	return nil
}

func set[T int | int64 | time.Duration](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

// Delivery delivers for all trails. [Delivery.Run] does the work; the other methods may be called concurrently with it, but
// for Close.
type Delivery struct {
	o    Options
	lock *durable.Lock
	id   string // of the journal

	// Of the follower's goroutine.
	trails    []trail.Trail
	changed   <-chan struct{}
	committed uint64 // everything up to it is in manifests
	reached   uint64 // and up to it there is nothing else to be put into one
	read      uint64 // up to it, batches were taken
	acked     uint64
	told      uint64 // to the book
	number    uint64 // of the last cut
	plan      *plan
	cut       *spool // nil when nothing was taken
	named     int    // records since the last cut that cannot be delivered as they should
	press     *press

	freed chan struct{} // has room for one: the spool got smaller, or something was settled
	fatal chan error    // has room for one: why Run must end

	spooled atomic.Int64 // bytes on disk
	waiting atomic.Int64 // files in manifests that are not settled

	mu       sync.Mutex // guards what follows
	cuts     map[uint64]*cutState
	packs    map[string]*packState
	couriers map[string]*courier // by ARN
	full     bool
	stats    Stats
	run      context.Context // of couriers; nil when Run is not
	working  sync.WaitGroup
}

// cutState is a manifest that is on disk.
type cutState struct {
	number uint64
	left   int // files that are not settled
}

// packState is a pack that files need.
type packState struct {
	size int64
	left int // files that need it
}

// Stats are the figures of deliveries. Counters count from the start of the process.
type Stats struct {
	Read        uint64    // sequence of the journal up to which batches were taken
	Reached     uint64    // and up to which what was taken is in manifests
	Records     uint64    // records that were looked at
	Events      uint64    // of them, those that some trail takes
	Undecodable uint64    // records that are no event
	Unplaced    uint64    // events without a usable account or Region, filed under those of the installation
	Lost        uint64    // sequences that the journal could not give
	Cuts        uint64    // manifests
	OpenFiles   int       // files that the next cut ends
	Buffered    int64     // bytes of records in memory
	Spool       int64     // bytes on disk that wait for buckets
	Full        bool      // the spool is full: nothing is taken from the journal
	Oldest      time.Time // when the journal accepted the oldest entry that is not in a manifest; zero for none
	Trails      []TrailStats
}

// TrailStats are the figures of a trail.
type TrailStats struct {
	ARN            string
	Taken          uint64 // events in files of cuts
	Files          uint64 // delivered
	Bytes          int64  // of them, compressed
	Failures       uint64 // of puts
	GivenUp        uint64 // files that were given up after Options.GiveUp
	PendingFiles   int
	PendingBytes   int64     // of them, compressed
	PendingSince   time.Time // when the oldest of them was cut; zero for none
	Notices        uint64
	PendingNotices int
	Digests        uint64
	PendingDigests int // made and not put
}

// New opens the state of deliveries.
func New(ctx context.Context, o Options) (_ *Delivery, err error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	d := &Delivery{
		o: o, id: o.Feed.ID(), freed: make(chan struct{}, 1), fatal: make(chan error, 1),
		cuts: map[uint64]*cutState{}, packs: map[string]*packState{}, couriers: map[string]*courier{}, press: newPress(),
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("open the deliveries of trails: %w", errors.Join(err, d.Close()))
		}
	}()
	for _, dir := range []string{"", cutsDir, packsDir, trailsDir} {
		if err := durable.MkdirAll(filepath.Join(o.Dir, dir), 0o700); err != nil {
			return nil, err
		}
	}
	if d.lock, err = durable.Acquire(ctx, filepath.Join(o.Dir, "lock"), 0o600, 10*time.Second); err != nil {
		return nil, err
	}
	for _, dir := range []string{cutsDir, trailsDir} {
		if err := durable.RemoveParts(filepath.Join(o.Dir, dir)); err != nil {
			return nil, err
		}
	}
	if err := d.load(); err != nil {
		return nil, err
	}
	return d, nil
}

// load reads what is on disk, and removes what nothing refers to.
func (d *Delivery) load() error {
	logs, err := os.ReadDir(filepath.Join(d.o.Dir, trailsDir))
	if err != nil {
		return err
	}
	for _, e := range logs {
		l, st, err := openLog(filepath.Join(d.o.Dir, trailsDir, e.Name()))
		if err != nil {
			return err
		}
		d.couriers[st.Trail] = newCourier(d, l, st)
	}
	numbers, err := listCuts(filepath.Join(d.o.Dir, cutsDir))
	if err != nil {
		return err
	}
	for i, n := range numbers {
		m, err := readManifest(filepath.Join(d.o.Dir, cutsDir, cutName(n)))
		if err != nil {
			return err
		}
		if m.Number != n {
			return fmt.Errorf("%w: manifest %d says that it is %d", ErrDamaged, n, m.Number)
		}
		if i == len(numbers)-1 {
			d.number = n
			if m.Journal == d.id {
				d.committed = m.To
			} else {
				d.o.Log.Error("the journal is another one than trails followed; they begin where it begins", "had", m.Journal, "has", d.id)
			}
		}
		d.admit(m, false)
	}
	for _, c := range d.couriers {
		c.st.forget(d.cuts)
	}
	packs, err := os.ReadDir(filepath.Join(d.o.Dir, packsDir))
	if err != nil {
		return err
	}
	for _, e := range packs {
		if d.packs[e.Name()] == nil {
			if err := os.Remove(filepath.Join(d.o.Dir, packsDir, e.Name())); err != nil {
				return err
			}
		}
	}
	for _, n := range numbers {
		d.prune(n)
	}
	return nil
}

// admit takes a manifest that is on disk into memory: its files go to the couriers, but for those of one that is not fresh, which
// may be settled.
func (d *Delivery) admit(m *manifest, fresh bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	cs := &cutState{number: m.Number}
	d.cuts[m.Number] = cs
	by := map[*courier][]*item{}
	for i := range m.Files {
		f := &m.Files[i]
		place := &m.Places[f.Place]
		c := d.couriers[place.Trail]
		if c == nil {
			c = newCourier(d, nil, newState(place.Trail))
			d.couriers[place.Trail] = c
			d.start(c)
		}
		id := fileID{m.Number, i}
		if !fresh && c.st.settled(id) {
			continue
		}
		it := &item{id: id, from: m.From, to: m.To, cut: m.At, place: place, file: f, packs: m.Packs}
		cs.left++
		d.waiting.Add(1)
		for _, name := range it.needs() {
			p := d.packs[m.Packs[name].Name]
			if p == nil {
				p = &packState{size: m.Packs[name].Size}
				d.packs[m.Packs[name].Name] = p
				if !fresh { // otherwise it was counted as it was written
					d.spooled.Add(p.size)
				}
			}
			p.left++
		}
		by[c] = append(by[c], it)
	}
	for c, items := range by {
		c.give(items)
	}
}

// settle notes that files are delivered, or given up, durably: packs and manifests that nobody needs any more are removed.
func (d *Delivery) settle(items []*item) error {
	if err := d.o.fault("packs remove"); err != nil {
		return err
	}
	var err error
	done := map[uint64]bool{}
	d.mu.Lock()
	for _, it := range items {
		d.cuts[it.id.cut].left--
		d.waiting.Add(-1)
		done[it.id.cut] = true
		for _, n := range it.needs() {
			name := it.packs[n].Name
			p := d.packs[name]
			if p.left--; p.left > 0 {
				continue
			}
			delete(d.packs, name)
			if rerr := os.Remove(filepath.Join(d.o.Dir, packsDir, name)); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
				err = errors.Join(err, rerr)
			}
			d.spooled.Add(-p.size)
		}
	}
	d.mu.Unlock()
	if err != nil {
		d.o.Log.Warn("files of the spool cannot be removed; the next start tries again", "error", err)
	}
	if err := d.o.fault("packs removed"); err != nil {
		return err
	}
	for n := range done {
		d.prune(n)
	}
	d.nudge()
	return nil
}

// prune removes the manifest of a cut whose files are all settled. The last one stays: it says up to where the journal is in
// manifests.
func (d *Delivery) prune(n uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	cs := d.cuts[n]
	if cs == nil || cs.left > 0 || n == d.number {
		return
	}
	if d.o.fault("manifest remove") != nil {
		return
	}
	if err := os.Remove(filepath.Join(d.o.Dir, cutsDir, cutName(n))); err != nil {
		d.o.Log.Warn("a manifest cannot be removed; the next start tries again", "error", err)
	}
	delete(d.cuts, n)
}

// nudge wakes the follower.
func (d *Delivery) nudge() {
	select {
	case d.freed <- struct{}{}:
	default:
	}
}

// die ends Run with an error.
func (d *Delivery) die(err error) {
	select {
	case d.fatal <- err:
	default:
	}
}

// start begins the goroutine of a courier, when Run is running; d.mu is held.
func (d *Delivery) start(c *courier) {
	if d.run != nil {
		ctx := d.run
		d.working.Go(func() { c.run(ctx) })
	}
}

// Run delivers until the context ends, and then makes a last cut; what is not put then is put after the next start. It is
// called once. It returns nil when the context has ended, and otherwise why deliveries cannot go on.
func (d *Delivery) Run(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	d.mu.Lock()
	d.run = work
	for _, c := range d.couriers {
		d.start(c)
	}
	d.mu.Unlock()
	err := d.follow(ctx)
	stop()
	d.working.Wait()
	d.mu.Lock()
	d.run = nil
	d.mu.Unlock()
	if err != nil {
		return fmt.Errorf("deliveries of trails: %w", err)
	}
	return nil
}

// Close gives the folder back. Run has ended.
func (d *Delivery) Close() error {
	var err error
	for _, c := range d.couriers {
		err = errors.Join(err, c.log.close())
	}
	if d.lock != nil {
		err = errors.Join(err, d.lock.Release())
		d.lock = nil
	}
	return err
}

// Status is how a trail's deliveries from a Region are doing.
func (d *Delivery) Status(trailARN, region string) trail.Status {
	d.mu.Lock()
	c := d.couriers[trailARN]
	d.mu.Unlock()
	if c == nil {
		return trail.Status{}
	}
	return c.status(region)
}

// Stats returns the figures of now.
func (d *Delivery) Stats() Stats {
	d.mu.Lock()
	s := d.stats
	s.Full = d.full
	couriers := slices.Collect(maps.Values(d.couriers))
	d.mu.Unlock()
	s.Spool = d.spooled.Load()
	for _, c := range couriers {
		s.Trails = append(s.Trails, c.figures())
	}
	slices.SortFunc(s.Trails, func(a, b TrailStats) int { return compare(a.ARN, b.ARN) })
	return s
}
