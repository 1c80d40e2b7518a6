package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"spoor/internal/blob"
	"spoor/internal/topic"
	"spoor/internal/trail"
)

const (
	maxFlight   = 64 << 20       // bytes of files of a trail that are being put
	maxBatch    = 500            // files of one notice, which has at most 256 KiB
	noticeTime  = 24 * time.Hour // after which a notice is given up: topics know repetitions for a day
	publishTime = time.Minute
	markTime    = 200 * time.Millisecond // that a file that is put waits to be marked together with others
	maxDigests  = 64                     // digests that are made, or marked, at once
)

// item is a log file of a manifest that is to be put.
type item struct {
	id       fileID
	from, to uint64
	cut      time.Time
	place    *place
	file     *file
	packs    []pack
}

// needs gives the packs that a file needs, by their place in the manifest.
func (it *item) needs() []int {
	var list []int
	for _, c := range it.file.Chunks {
		if !slices.Contains(list, c.pack) {
			list = append(list, c.pack)
		}
	}
	return list
}

// courier delivers for one trail. Its goroutine is the only one that uses what is not guarded.
type courier struct {
	d   *Delivery
	arn string
	log *trailLog // nil until there is something to keep
	st  *state

	lanes   map[laneKey]*lane
	flight  int // puts that are under way
	bytes   int64
	results chan result
	done    []*item   // that are put and not marked
	since   time.Time // when the first of them was put
	marked  []putMark // digests that are put and not marked
	given   []*item   // that are given up and not marked
	pending map[fileID]*item
	cuts    map[uint64]*openCut // of pending

	trail      trail.Trail
	gone       bool
	reached    uint64
	telling    bool // a notice is being published
	told       chan error
	noticeWait backoff
	logWait    backoff
	digestAt   time.Time // when to look for digests again; zero for now
	digestWait backoff

	wake chan struct{}

	mu      sync.Mutex // guards what follows
	inbox   []*item
	news    *observation
	settled uint64 // everything of the trail up to it is done
	by      map[string]*trail.Status
	stats   TrailStats
}

// openCut is a cut of which files are pending.
type openCut struct {
	from uint64
	at   time.Time
	n    int
}

// observation is what the follower knows of a trail.
type observation struct {
	trail   trail.Trail
	gone    bool
	reached uint64
}

// laneKey is what a refusal is about.
type laneKey struct {
	bucket, prefix, key string
	digests             bool
}

// lane is what is to be put to one place.
type lane struct {
	items  []*item
	chains []*chain
	flight int
	backoff
}

// backoff is when something is tried again.
type backoff struct {
	delay time.Duration // after the last failure; 0 when it was good
	at    time.Time
}

func (b *backoff) fail(now time.Time, o *Options) {
	b.delay = max(o.RetryFirst, min(2*b.delay, o.RetryMost))
	b.at = now.Add(b.delay)
}

func (b *backoff) good()                    { *b = backoff{} }
func (b *backoff) ready(now time.Time) bool { return !now.Before(b.at) }

// result is how a put ended.
type result struct {
	lane  *lane
	item  *item  // or
	chain *chain // whose pending digest it was
	err   error
}

func newCourier(d *Delivery, l *trailLog, st *state) *courier {
	c := &courier{
		d: d, arn: st.Trail, log: l, st: st, lanes: map[laneKey]*lane{}, results: make(chan result, 64), pending: map[fileID]*item{}, cuts: map[uint64]*openCut{},
		told: make(chan error, 1), wake: make(chan struct{}, 1), by: map[string]*trail.Status{}, stats: TrailStats{ARN: st.Trail},
	}
	for region, k := range st.Regions {
		c.by[region] = &trail.Status{
			LatestDelivery: k.Files, LatestDeliveryAttempt: k.Files, LatestDeliveryAttemptSucceeded: k.Files,
			LatestNotification: k.Notices, LatestNotificationAttempt: k.Notices, LatestNotificationAttemptSucceeded: k.Notices, LatestDigestDelivery: k.Digests,
		}
	}
	c.stats.PendingNotices = len(st.Notices)
	for _, ch := range st.Chains {
		if ch.Pending != nil {
			c.queue(ch)
		}
	}
	return c
}

// give hands files over.
func (c *courier) give(items []*item) {
	c.mu.Lock()
	c.inbox = append(c.inbox, items...)
	for _, it := range items {
		c.stats.Taken += uint64(it.file.Events)
		c.stats.PendingFiles++
		c.stats.PendingBytes += it.file.packed()
		if c.stats.PendingSince.IsZero() || it.cut.Before(c.stats.PendingSince) {
			c.stats.PendingSince = it.cut
		}
		c.settled = min(c.settled, it.from-1)
	}
	c.mu.Unlock()
	c.rouse()
}

// observe tells of the trail; files of entries up to reached were given before.
func (c *courier) observe(o observation) {
	c.mu.Lock()
	c.news = &o
	c.mu.Unlock()
	c.rouse()
}

func (c *courier) rouse() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// doneUpTo is the sequence up to which nothing of the trail is left to do.
func (c *courier) doneUpTo() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.settled
}

// retire ends the courier of a trail that is gone and has nothing left to do.
func (c *courier) retire() bool {
	if !c.gone || !c.st.idle() || len(c.pending) > 0 || c.flight > 0 || c.telling || c.logWait.delay > 0 {
		return false
	}
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	c.st.forget(c.d.cuts)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.inbox) > 0 || c.news != nil || len(c.st.Settled) > 0 || c.d.o.fault("retire") != nil {
		return false
	}
	if c.log != nil {
		if err := errors.Join(c.log.close(), os.Remove(c.log.path)); err != nil {
			c.d.o.Log.Warn("the log of a trail that is gone cannot be removed; the next start tries again", "trail", c.arn, "error", err)
		}
		c.log = nil
	}
	delete(c.d.couriers, c.arn)
	return true
}

// run works until the context ends, and waits for what it began.
func (c *courier) run(ctx context.Context) {
	var working sync.WaitGroup
	defer working.Wait()
	for {
		now := c.d.o.Now()
		if err := c.step(ctx, now, &working); err != nil {
			if ctx.Err() == nil {
				c.d.die(fmt.Errorf("trail %s: %w", c.arn, err))
			}
			return
		}
		if c.retire() {
			return
		}
		timer := time.NewTimer(c.rest(now))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case r := <-c.results:
			c.collect(r)
			for more := true; more; {
				select {
				case r := <-c.results:
					c.collect(r)
				default:
					more = false
				}
			}
		case err := <-c.told:
			if err := c.published(err); err != nil {
				c.d.die(fmt.Errorf("trail %s: %w", c.arn, err))
				timer.Stop()
				return
			}
		case <-c.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// step does what can be done now. Its errors end everything; those that pass are tried again.
func (c *courier) step(ctx context.Context, now time.Time, working *sync.WaitGroup) error {
	if c.logWait.ready(now) {
		err := c.marks(ctx, now)
		switch {
		case err == nil:
			c.logWait.good()
		case errors.Is(err, errFault) || errors.Is(err, ErrDamaged):
			return err
		default:
			c.logWait.fail(now, &c.d.o)
			c.d.o.Log.Error("what was delivered for a trail cannot be written down; it is tried again", "trail", c.arn, "error", err)
		}
	}
	if c.logWait.delay > 0 {
		return nil // nothing is begun that could not be written down
	}
	c.putAway(now)
	c.dispatch(ctx, now, working)
	return c.publish(ctx, now, working)
}

// marks makes durable what happened, and what is to happen before it does.
func (c *courier) marks(ctx context.Context, now time.Time) error {
	if err := c.markFiles(now); err != nil {
		return err
	}
	if err := c.markPuts(now); err != nil {
		return err
	}
	if err := c.take(now); err != nil {
		return err
	}
	if err := c.digests(ctx, now); err != nil {
		return err
	}
	if c.log != nil && c.log.long(c.d.o.compact) {
		if err := c.compact(); err != nil {
			return fmt.Errorf("write the log of the trail anew: %w", err)
		}
	}
	c.account()
	return nil
}

// keep makes entries durable, and then changes the state.
func (c *courier) keep(step string, list []entry) error {
	if err := c.d.o.fault(step); err != nil {
		return err
	}
	if c.log == nil {
		l, err := newLog(filepath.Join(c.d.o.Dir, trailsDir), c.st)
		if err != nil {
			return fmt.Errorf("make the log of the trail: %w", err)
		}
		c.log = l
	}
	if err := c.log.append(list); err != nil {
		return fmt.Errorf("write to the log of the trail: %w", err)
	}
	for i := range list {
		if err := c.st.apply(&list[i]); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	return c.d.o.fault(step + " kept")
}

// compact writes the log anew.
func (c *courier) compact() error {
	c.d.mu.Lock()
	c.st.forget(c.d.cuts)
	c.d.mu.Unlock()
	if err := c.d.o.fault("compact"); err != nil {
		return err
	}
	l, err := newLog(filepath.Join(c.d.o.Dir, trailsDir), c.st)
	if err != nil {
		return err
	}
	err = c.log.close()
	c.log = l
	return errors.Join(err, c.d.o.fault("compacted"))
}

// take takes what was handed over.
func (c *courier) take(now time.Time) error {
	c.mu.Lock()
	items, news := c.inbox, c.news
	c.inbox = nil
	c.mu.Unlock()
	for _, it := range items {
		c.pending[it.id] = it
		if c.cuts[it.id.cut] == nil {
			c.cuts[it.id.cut] = &openCut{from: it.from, at: it.cut}
		}
		c.cuts[it.id.cut].n++
		l := c.lane(laneKey{it.place.Bucket, it.place.Prefix, it.place.KMSKey, false})
		l.items = append(l.items, it)
	}
	if news == nil {
		return nil
	}
	if e := c.st.observe(news.trail, news.gone, news.reached, c.d.o.Regions, now); e != nil {
		if err := c.keep("runs", []entry{{Runs: e}}); err != nil {
			return err
		}
		c.digestAt = time.Time{}
	}
	c.trail, c.gone, c.reached = news.trail, news.gone, news.reached
	c.mu.Lock()
	if c.news == news {
		c.news = nil
	}
	c.mu.Unlock()
	return nil
}

func (c *courier) lane(k laneKey) *lane {
	l := c.lanes[k]
	if l == nil {
		l = &lane{}
		c.lanes[k] = l
	}
	return l
}

// putAway forgets lanes that have nothing.
func (c *courier) putAway(now time.Time) {
	for k, l := range c.lanes {
		if len(l.items) == 0 && len(l.chains) == 0 && l.flight == 0 && l.ready(now) {
			delete(c.lanes, k)
		}
	}
}

// dispatch begins puts.
func (c *courier) dispatch(ctx context.Context, now time.Time, working *sync.WaitGroup) {
	for k, l := range c.lanes {
		most := c.d.o.Parallel
		if l.delay > 0 {
			most = 1 // to see whether it is good again
		}
		for l.flight < most && l.ready(now) && len(l.items)+len(l.chains) > 0 {
			if len(l.chains) > 0 {
				ch := l.chains[0]
				l.chains = l.chains[1:]
				p := ch.Pending
				c.attempt(ch.Region, now, k.digests)
				c.begin(ctx, working, l, result{lane: l, chain: ch}, 0, func(ctx context.Context) error {
					return c.put(ctx, kindOfDigest(p.Backfill), p.Bucket, p.Key, p.KMSKey, p.Body, p.Metadata)
				})
				continue
			}
			it := l.items[0]
			size := it.file.packed()
			if c.flight > 0 && c.bytes+size > maxFlight {
				break
			}
			l.items = l.items[1:]
			c.attempt(it.file.Region, now, k.digests)
			c.begin(ctx, working, l, result{lane: l, item: it}, size, func(ctx context.Context) error { return c.putFile(ctx, it) })
		}
	}
}

func (c *courier) begin(ctx context.Context, working *sync.WaitGroup, l *lane, r result, size int64, put func(context.Context) error) {
	l.flight++
	c.flight++
	c.bytes += size
	working.Go(func() {
		try, cancel := context.WithTimeout(ctx, c.d.o.PutTimeout)
		defer cancel()
		r.err = put(try)
		select {
		case c.results <- r:
		case <-ctx.Done():
		}
	})
}

func (c *courier) putFile(ctx context.Context, it *item) error {
	if err := c.d.o.fault("file read"); err != nil {
		return err
	}
	body, err := assemble(c.d.o.Dir, it.file, it.packs)
	if err != nil {
		return err
	}
	return c.put(ctx, "file", it.place.Bucket, it.file.Key, it.place.KMSKey, body, nil)
}

// put puts an object as CloudTrail does: gzip bytes, named as such.
func (c *courier) put(ctx context.Context, step, bucket, key, kmsKey string, body []byte, metadata map[string]string) error {
	if err := c.d.o.fault(step + " put"); err != nil {
		return err
	}
	if c.d.o.Authorize != nil {
		if err := c.d.o.Authorize(ctx, c.arn, bucket, key, kmsKey); err != nil {
			return err
		}
	}
	o := blob.PutOptions{ContentType: "application/json", ContentEncoding: "gzip", ACL: "bucket-owner-full-control", Metadata: metadata}
	if kmsKey != "" {
		o.KMSKey = kmsKey
		o.EncryptionContext = map[string]string{"aws:cloudtrail:arn": c.arn, "aws:s3:arn": "arn:" + partition(c.arn) + ":s3:::" + bucket + "/" + key}
	}
	if err := c.d.o.Storage.Put(ctx, bucket, key, body, o); err != nil {
		return err
	}
	return c.d.o.fault(step + " put done")
}

func partition(arn string) string {
	if parts := strings.SplitN(arn, ":", 3); len(parts) == 3 {
		return parts[1]
	}
	return "aws"
}

// collect takes the result of a put.
func (c *courier) collect(r result) {
	now := c.d.o.Now()
	r.lane.flight--
	c.flight--
	var began time.Time
	region := ""
	if r.item != nil {
		c.bytes -= r.item.file.packed()
		began, region = r.item.cut, r.item.file.Region
	} else {
		began, region = r.chain.Pending.Made, r.chain.Region
	}
	if errors.Is(r.err, errFault) {
		c.d.die(r.err)
		return
	}
	if r.err == nil {
		if r.lane.delay > 0 {
			c.d.o.Log.Info("files of a trail can be put again", "trail", c.arn)
		}
		r.lane.good()
		if r.item != nil {
			if len(c.done) == 0 {
				c.since = now
			}
			c.done = append(c.done, r.item)
		} else {
			c.marked = append(c.marked, putMark{r.chain, false})
		}
		return
	}
	if r.lane.delay == 0 { // not again for each try
		c.d.o.Log.Error("a file of a trail cannot be put; it is tried again", "trail", c.arn, "region", region, "code", errorCode(r.err), "error", r.err)
	}
	regions := map[string]bool{region: true} // what waits behind it fails with it
	for _, it := range r.lane.items {
		regions[it.file.Region] = true
	}
	for _, ch := range r.lane.chains {
		regions[ch.Region] = true
	}
	c.failed(now, regions, r.chain != nil, r.err)
	r.lane.fail(now, &c.d.o)
	if c.d.o.GiveUp > 0 && now.Sub(began) > c.d.o.GiveUp {
		if r.item != nil {
			c.given = append(c.given, r.item)
			return
		}
		c.d.o.Log.Error("a digest of a trail is given up: the chain goes on behind it", "trail", c.arn, "bucket", r.chain.Pending.Bucket, "key", r.chain.Pending.Key)
		c.marked = append(c.marked, putMark{r.chain, true})
		return
	}
	if r.item != nil { // behind the others: it may be the only one that fails
		r.lane.items = append(r.lane.items, r.item)
	} else {
		r.lane.chains = append(r.lane.chains, r.chain)
	}
}

// markFiles makes durable that files are put, or given up. Those of a bucket that are told to a topic together are one batch.
func (c *courier) markFiles(now time.Time) error {
	for len(c.given) > 0 {
		it := c.given[0]
		if err := c.keep("give up", []entry{{GivenUp: &givenUpEntry{it.id, now}}}); err != nil {
			return err
		}
		c.given = c.given[1:]
		c.d.o.Log.Error("a file of a trail is given up: its events are in no file of the trail", "trail", c.arn, "bucket", it.place.Bucket, "key", it.file.Key, "events", it.file.Events)
		c.count(func(s *TrailStats) { s.GivenUp++ })
		if err := c.release([]*item{it}); err != nil {
			return err
		}
	}
	if len(c.done) > 0 && len(c.done) < maxBatch && c.flight > 0 && now.Sub(c.since) < markTime && !now.Before(c.since) {
		return nil // others follow at once
	}
	for len(c.done) > 0 {
		type group struct{ bucket, topic string }
		if now.Before(c.st.Last) {
			now = c.st.Last // deliveries are in order whatever the clock does
		}
		batches := map[group]*shippedEntry{}
		var list []entry
		taken := c.done[:min(len(c.done), maxBatch)]
		batch := c.st.Batch
		for _, it := range taken {
			g := group{it.place.Bucket, it.place.Topic}
			s := batches[g]
			if s == nil {
				batch++
				s = &shippedEntry{Batch: batch, At: now, Topic: it.place.Topic, Bucket: it.place.Bucket}
				batches[g] = s
				list = append(list, entry{Shipped: s})
			}
			f := shippedFile{ID: it.id, Key: it.file.Key, Account: it.file.Account, Region: it.file.Region}
			if r := c.runOf(it); r != nil {
				since := r.Since
				f.Run, f.Hash, f.Oldest, f.Newest, f.Cut = &since, it.file.Hash, it.file.Oldest, it.file.Newest, it.cut
			}
			s.Files = append(s.Files, f)
		}
		if err := c.keep("mark", list); err != nil {
			return err
		}
		c.done = c.done[len(taken):]
		c.digestAt = time.Time{}
		for _, it := range taken {
			c.note(it.file.Region, func(s *trail.Status) {
				s.LatestDelivery, s.LatestDeliveryAttemptSucceeded, s.LatestDeliveryError = now, now, ""
			})
			c.count(func(s *TrailStats) {
				s.Files++
				s.Bytes += it.file.packed()
			})
		}
		if err := c.release(taken); err != nil {
			return err
		}
	}
	return nil
}

// runOf gives the run whose digests list a file; nil for none.
func (c *courier) runOf(it *item) *run {
	if !it.place.Validation {
		return nil
	}
	for i := range c.st.Runs {
		if r := &c.st.Runs[i]; r.holds(it.to) {
			return r
		}
	}
	return nil
}

// release lets go of files that are marked.
func (c *courier) release(items []*item) error {
	for _, it := range items {
		delete(c.pending, it.id)
		if oc := c.cuts[it.id.cut]; oc.n > 1 {
			oc.n--
		} else {
			delete(c.cuts, it.id.cut)
		}
	}
	c.mu.Lock()
	c.stats.PendingFiles -= len(items)
	for _, it := range items {
		c.stats.PendingBytes -= it.file.packed()
	}
	c.stats.PendingNotices = len(c.st.Notices)
	c.mu.Unlock()
	return c.d.settle(items)
}

// account finds out up to where the trail is settled.
func (c *courier) account() {
	settled := c.reached
	var since time.Time
	for _, oc := range c.cuts {
		settled = min(settled, oc.from-1)
		if since.IsZero() || oc.at.Before(since) {
			since = oc.at
		}
	}
	for i := range c.st.Runs {
		if r := &c.st.Runs[i]; !r.Ended.IsZero() {
			settled = min(settled, max(r.Until, 1)-1)
		}
	}
	c.mu.Lock()
	changed := false
	if len(c.inbox) == 0 {
		changed = settled != c.settled
		c.settled, c.stats.PendingSince = settled, since
	}
	c.mu.Unlock()
	if changed {
		c.d.nudge()
	}
}

// publish begins to tell a topic of a batch, one after the other.
func (c *courier) publish(ctx context.Context, now time.Time, working *sync.WaitGroup) error {
	if c.telling || len(c.st.Notices) == 0 || !c.noticeWait.ready(now) {
		return nil
	}
	n := c.st.Notices[0]
	m, err := n.message(c.arn)
	if err != nil {
		return err
	}
	for _, r := range n.Region {
		c.note(r, func(s *trail.Status) { s.LatestNotificationAttempt = now })
	}
	c.telling = true
	working.Go(func() {
		try, cancel := context.WithTimeout(ctx, publishTime)
		defer cancel()
		err := c.d.o.fault("publish")
		if err == nil && c.d.o.Topics == nil {
			err = topic.ErrNotFound
		}
		if err == nil {
			_, err = c.d.o.Topics.Publish(try, n.Topic, m)
		}
		if err == nil {
			err = c.d.o.fault("published")
		}
		c.told <- err // has room for it
	})
	return nil
}

// message is what a topic is told. Its name follows from the files, so that it counts once.
func (n *notice) message(arn string) (topic.Message, error) {
	body, err := json.Marshal(struct {
		Bucket string   `json:"s3Bucket"`
		Keys   []string `json:"s3ObjectKey"`
	}{n.Bucket, n.Keys})
	if err != nil {
		return topic.Message{}, err
	}
	sum := sha256.Sum256([]byte(arn + "\n" + n.Bucket + "\n" + strings.Join(n.Keys, "\n")))
	return topic.Message{Body: string(body), Once: hex.EncodeToString(sum[:])}, nil
}

// published takes how telling the topic ended.
func (c *courier) published(err error) error {
	c.telling = false
	if errors.Is(err, errFault) {
		return err
	}
	now, n := c.d.o.Now(), c.st.Notices[0]
	given := err != nil && now.Sub(n.At) > noticeTime
	if err != nil {
		if c.noticeWait.delay == 0 {
			c.d.o.Log.Error("a topic cannot be told of files of a trail; it is tried again", "trail", c.arn, "topic", n.Topic, "error", err)
		}
		for _, w := range c.st.Notices { // what waits behind it fails with it
			if w.Topic != n.Topic {
				continue
			}
			for _, r := range w.Region {
				c.note(r, func(s *trail.Status) { s.LatestNotificationAttempt, s.LatestNotificationError = now, errorCode(err) })
			}
		}
		if !given {
			c.noticeWait.fail(now, &c.d.o)
			return nil
		}
		c.d.o.Log.Error("a topic is not told of files of a trail any more", "trail", c.arn, "topic", n.Topic, "files", len(n.Keys))
	}
	if err := c.keep("notice", []entry{{Notice: &noticeEntry{n.Batch, now, given}}}); err != nil {
		if errors.Is(err, errFault) || errors.Is(err, ErrDamaged) {
			return err
		}
		c.noticeWait.fail(now, &c.d.o) // told again: the topic takes it once
		c.d.o.Log.Error("what was told to a topic cannot be written down", slog.String("trail", c.arn), slog.Any("error", err))
		return nil
	}
	c.count(func(s *TrailStats) { s.PendingNotices = len(c.st.Notices) })
	if given {
		return nil
	}
	c.noticeWait.good()
	c.count(func(s *TrailStats) { s.Notices++ })
	for _, r := range n.Region {
		c.note(r, func(s *trail.Status) {
			s.LatestNotification, s.LatestNotificationAttemptSucceeded, s.LatestNotificationError = now, now, ""
		})
	}
	return nil
}

// rest is how long nothing happens by itself.
func (c *courier) rest(now time.Time) time.Duration {
	wait := time.Hour
	until := func(at time.Time) { wait = min(wait, max(at.Sub(now), 0)) }
	if c.logWait.delay > 0 {
		until(c.logWait.at)
		return wait
	}
	if len(c.done) > 0 {
		until(c.since.Add(markTime))
	}
	for _, l := range c.lanes {
		if len(l.items)+len(l.chains) > 0 && l.flight == 0 && !l.ready(now) {
			until(l.at)
		}
	}
	if len(c.st.Notices) > 0 && !c.telling {
		until(c.noticeWait.at)
	}
	if len(c.st.Runs) > 0 {
		until(c.digestAt)
	}
	return wait
}

// errorCode is the code of S3, or of SNS, that the status of a trail shows for an error; empty for time that ran out.
func errorCode(err error) string {
	if code := blob.Code(err); code != "" {
		return code
	}
	switch {
	case errors.Is(err, topic.ErrNotFound):
		return "NotFound"
	case errors.Is(err, topic.ErrDenied):
		return "AuthorizationError"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return ""
	}
	return "InternalError"
}

// note changes the status of a Region.
func (c *courier) note(region string, change func(*trail.Status)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.by[region]
	if s == nil {
		s = &trail.Status{}
		c.by[region] = s
	}
	change(s)
}

func (c *courier) attempt(region string, now time.Time, digests bool) {
	if !digests {
		c.note(region, func(s *trail.Status) { s.LatestDeliveryAttempt = now })
	}
}

func (c *courier) failed(now time.Time, regions map[string]bool, digests bool, err error) {
	c.count(func(s *TrailStats) { s.Failures++ })
	for region := range regions {
		c.note(region, func(s *trail.Status) {
			if digests {
				s.LatestDigestDeliveryError = errorCode(err)
			} else {
				s.LatestDeliveryAttempt, s.LatestDeliveryError = now, errorCode(err)
			}
		})
	}
}

func (c *courier) count(change func(*TrailStats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.stats)
}

func (c *courier) status(region string) trail.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.by[region]; s != nil {
		return *s
	}
	return trail.Status{}
}

func (c *courier) figures() TrailStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}
