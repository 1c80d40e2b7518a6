package validate

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"spoor/internal/blob"
	"spoor/internal/source"
	"spoor/internal/trail/digest"
)

type chainID struct {
	trail, home string
	backfill    bool
}

// place is an account's Region below a prefix: the digests of all trails that write there.
type place struct {
	*run
	id     placeID
	only   *chainID  // the chains of one trail alone, for a place that another one led to
	until  time.Time // and only digests up to here; zero is the range of the run
	keys   *verifiers
	chains map[chainID]*chain
	files  *tracker
	slots  chan *slot // closed by the owner of the place's goroutine

	jobs  chan *step
	ahead chan struct{}

	mu    sync.Mutex
	kinds []string // of log files that are looked through for unlisted ones
}

// slot is verdicts that are told together, when the last of them is known.
type slot struct {
	chain    *chain
	findings []Finding
	left     atomic.Int64
	ready    chan struct{}
}

func newSlot(c *chain, findings []Finding, pending int) *slot {
	s := &slot{chain: c, findings: findings, ready: make(chan struct{})}
	s.left.Store(int64(pending))
	if pending == 0 {
		close(s.ready)
	}
	return s
}

func (s *slot) done() {
	if s.left.Add(-1) == 0 {
		close(s.ready)
	}
}

func (s *slot) wait(ctx context.Context) error {
	select {
	case <-s.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// step is what the lister found next: a digest, or the log files of some days.
type step struct {
	item *item
	logs []logFile
	end  time.Time // of the days; every digest that ends before it came before this step
}

// logFile is a log file as it was listed.
type logFile struct {
	key  string
	from time.Time // delivered in [from, to)
	to   time.Time
	odd  bool // its name is not one of CloudTrail's
}

func newPlace(r *run, id placeID) *place {
	return &place{
		run: r, id: id, chains: map[chainID]*chain{}, files: newTracker(), slots: make(chan *slot, slotsAhead),
		jobs: make(chan *step, digestsAhead), ahead: make(chan struct{}, 2), kinds: []string{string(source.Logs)},
	}
}

func (p *place) folder() string {
	return digest.Folder(p.id.prefix, p.id.org, p.id.account, p.id.region)
}

// kindFolder is where files of another kind lie.
func (p *place) kindFolder(kind string) string {
	end := string(source.Digest) + "/" + p.id.region + "/"
	return strings.TrimSuffix(p.folder(), end) + kind + "/" + p.id.region + "/"
}

// wants says whether a digest belongs to what is validated.
func (p *place) wants(n digest.Name) bool {
	if p.only != nil {
		return p.only.trail == n.Trail && p.only.home == n.HomeRegion
	}
	return (p.Trail == "" || p.Trail == n.Trail) && (p.HomeRegion == "" || p.HomeRegion == n.HomeRegion)
}

// where is the range of the place.
func (p *place) where(n digest.Name) int {
	if !p.until.IsZero() && n.End.After(p.until) {
		return 1
	}
	return p.within(n.End)
}

// listDigests gives the digests of each day from the start of the range on, in the order of their ends, until it is told to stop.
func (p *place) listDigests(ctx context.Context, day func([]digest.Name) (bool, error)) error {
	folder := p.folder()
	after := ""
	if !p.Start.IsZero() {
		after = folder + p.Start.UTC().Format("2006/01/02/")
	}
	var names []digest.Name
	flush := func() (bool, error) {
		if len(names) == 0 {
			return true, nil
		}
		slices.SortFunc(names, func(a, b digest.Name) int {
			return cmp.Or(a.End.Compare(b.End), cmp.Compare(a.Key(), b.Key()))
		})
		goOn, err := day(names)
		names = names[:0]
		return goOn, err
	}
	for {
		objects, more, err := p.Source.List(ctx, p.id.bucket, folder, after, pageSize)
		if err != nil {
			return fmt.Errorf("list s3://%s/%s: %w", p.id.bucket, folder, err)
		}
		for _, o := range objects {
			after = o.Key
			n, ok := digest.SplitKey(o.Key)
			if !ok {
				continue
			}
			if len(names) > 0 && !sameDay(names[0].End, n.End) {
				if goOn, err := flush(); err != nil || !goOn {
					return err
				}
			}
			names = append(names, n)
		}
		if !more || len(objects) == 0 {
			_, err := flush()
			return err
		}
	}
}

func dayOf(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

func sameDay(a, b time.Time) bool { return dayOf(a).Equal(dayOf(b)) }

// listLogs lists the log files of a day.
func (p *place) listLogs(ctx context.Context, day time.Time) ([]logFile, error) {
	p.mu.Lock()
	kinds := slices.Clone(p.kinds)
	p.mu.Unlock()
	var out []logFile
	for _, kind := range kinds {
		prefix := p.kindFolder(kind) + day.Format("2006/01/02/")
		for after := ""; ; {
			objects, more, err := p.Source.List(ctx, p.id.bucket, prefix, after, pageSize)
			if err != nil {
				return nil, fmt.Errorf("list s3://%s/%s: %w", p.id.bucket, prefix, err)
			}
			for _, o := range objects {
				after = o.Key
				if strings.HasSuffix(o.Key, "/") || source.SystemFile(o.Key) {
					continue
				}
				f := logFile{key: o.Key, from: day, to: day.Add(24 * time.Hour), odd: true}
				if at, ok := logMinute(o.Key); ok {
					f = logFile{key: o.Key, from: at, to: at.Add(time.Minute)}
				}
				out = append(out, f)
			}
			if !more || len(objects) == 0 {
				break
			}
		}
	}
	return out, nil
}

// logMinute is the minute of delivery that the name of a log file tells.
func logMinute(key string) (time.Time, bool) {
	parts := strings.Split(strings.TrimSuffix(path.Base(key), ".json.gz"), "_")
	if len(parts) != 5 || !strings.HasSuffix(key, ".json.gz") {
		return time.Time{}, false
	}
	at, err := time.Parse("20060102T1504Z", parts[3])
	return at, err == nil
}

// validate works on the place until every verdict is in its slots.
func (p *place) validate(ctx context.Context) error {
	if ok, err := p.getKeys(ctx); err != nil || !ok {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(p.jobs)
		return p.list(ctx, g)
	})
	g.Go(func() error { return p.judge(ctx) })
	return g.Wait()
}

// getKeys gets the public keys of the Region; ok is false when the place cannot be listed, which is told.
func (p *place) getKeys(ctx context.Context) (ok bool, err error) {
	start, end := p.Start.Add(-2*time.Hour), p.End.Add(2*time.Hour)
	if p.Start.IsZero() {
		first, err := p.first(ctx)
		if err != nil {
			return false, p.failed(ctx, err)
		}
		start = first.Add(-2 * time.Hour)
	}
	if p.End.IsZero() {
		end = p.Now.Add(2 * time.Hour)
	}
	keys, err := p.Keys(ctx, p.id.region, start, end)
	if err == nil && len(keys) == 0 {
		err = fmt.Errorf("no public key of %s was valid between %s and %s", p.id.region, stamp(start), stamp(end))
	}
	p.keys = newVerifiers(keys)
	if err != nil {
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		return true, p.say(ctx, nil, Finding{Code: NoKeys, Level: Unchecked, Reason: err.Error()})
	}
	return true, nil
}

// first is the end of the first digest.
func (p *place) first(ctx context.Context) (first time.Time, err error) {
	err = p.listDigests(ctx, func(names []digest.Name) (bool, error) {
		first = names[0].End
		return false, nil
	})
	return first, err
}

// failed tells that the place cannot be listed.
func (p *place) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return p.say(ctx, nil, Finding{Code: ListFailed, Level: Unchecked, Reason: err.Error()})
}

// say tells a verdict that is known.
func (p *place) say(ctx context.Context, c *chain, f Finding) error {
	return p.put(ctx, newSlot(c, []Finding{p.name(c, f)}, 0))
}

// name fills in what a verdict is about.
func (p *place) name(c *chain, f Finding) Finding {
	f.Account, f.Region, f.Bucket = p.id.account, p.id.region, cmp.Or(f.Bucket, p.id.bucket)
	if c != nil {
		f.Trail, f.Backfill = c.id.trail, c.id.backfill
	}
	return f
}

func (p *place) put(ctx context.Context, s *slot) error {
	select {
	case p.slots <- s:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *place) send(ctx context.Context, s *step) error {
	select {
	case p.jobs <- s:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// list lists the digests, has them fetched, and lists the log files of their days behind them.
func (p *place) list(ctx context.Context, g *errgroup.Group) error {
	var listed time.Time // log files up to this day
	peeked, wanted := map[chainID]bool{}, map[chainID]bool{}
	err := p.listDigests(ctx, func(names []digest.Name) (bool, error) {
		var of []digest.Name
		in := false
		for _, n := range names {
			if !p.wants(n) {
				// Of another trail: what it lists is listed.
				if p.only == nil && p.where(n) == 0 {
					if err := p.fetch(ctx, g, &item{name: n, other: true}); err != nil {
						return false, err
					}
				}
				continue
			}
			of = append(of, n)
		}
		for _, n := range of {
			id := chainID{n.Trail, n.HomeRegion, n.Backfill}
			switch p.where(n) {
			case 0:
				in = true
				wanted[id] = true
				if err := p.fetch(ctx, g, &item{name: n}); err != nil {
					return false, err
				}
			case 1:
				if !peeked[id] {
					peeked[id] = true
					if err := p.fetch(ctx, g, &item{name: n, peek: true}); err != nil {
						return false, err
					}
				}
			}
		}
		day := dayOf(names[0].End)
		if in {
			from := day.AddDate(0, 0, -1)
			if !listed.IsZero() && listed.After(from.AddDate(0, 0, -1)) {
				from = listed.AddDate(0, 0, 1)
			}
			for ; !from.After(day); from = from.AddDate(0, 0, 1) {
				if err := p.listed(ctx, from); err != nil {
					return false, err
				}
			}
			listed = day
		}
		last := p.End
		if !p.until.IsZero() && (last.IsZero() || p.until.Before(last)) {
			last = p.until
		}
		return last.IsZero() || !day.After(dayOf(last.Add(time.Hour)).AddDate(0, 0, 1)), nil
	})
	if err != nil && ctx.Err() == nil {
		return p.send(ctx, &step{item: &item{err: err, list: true}})
	}
	return err
}

// listed hands on the log files of a day. It keeps one day ahead of those who judge.
func (p *place) listed(ctx context.Context, day time.Time) error {
	if err := take(ctx, p.ahead); err != nil {
		return err
	}
	logs, err := p.listLogs(ctx, day)
	if err != nil {
		return err
	}
	return p.send(ctx, &step{logs: logs, end: day.Add(24 * time.Hour)})
}

// fetch has a digest fetched, and hands it on in its turn.
func (p *place) fetch(ctx context.Context, g *errgroup.Group, it *item) error {
	it.key, it.done = it.name.Key(), make(chan struct{})
	if err := p.send(ctx, &step{item: it}); err != nil {
		return err
	}
	g.Go(func() error {
		defer close(it.done)
		p.get(ctx, it)
		return nil
	})
	return nil
}

// get reads a digest.
func (p *place) get(ctx context.Context, it *item) {
	var text bytes.Buffer
	var c content
	c, it.meta, it.err = p.pools.read(ctx, p.Source, p.id.bucket, it.key, &text, mostDigest)
	it.stored, it.storedBy = c.stored, c.rawHash
	if it.err != nil {
		return
	}
	it.hash, it.size = digest.Hash(text.Bytes()), int64(text.Len())
	it.d, it.parse = digest.Parse(text.Bytes())
	if saved := p.Signatures[[2]string{p.id.bucket, it.key}]; it.meta[digest.MetaSignature] == "" && saved != nil {
		it.meta = saved
	}
	if p.Evidence != nil {
		it.text = text.Bytes()
	}
}

// judge takes what was listed in its order.
func (p *place) judge(ctx context.Context) error {
	for s := range p.jobs {
		if s.item == nil {
			<-p.ahead
			p.files.lay(s.logs)
			p.files.forget(s.end)
			continue
		}
		if s.item.list {
			if err := p.say(ctx, nil, Finding{Code: ListFailed, Level: Unchecked, Reason: s.item.err.Error()}); err != nil {
				return err
			}
			continue
		}
		select {
		case <-s.item.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		c := p.chain(s.item.name)
		if err := c.push(ctx, s.item); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, c := range p.sorted() {
		if err := c.flush(ctx); err != nil {
			return err
		}
	}
	if p.only != nil {
		return nil
	}
	return p.unlisted(ctx)
}

func (p *place) chain(n digest.Name) *chain {
	id := chainID{n.Trail, n.HomeRegion, n.Backfill}
	c := p.chains[id]
	if c == nil {
		c = newChain(p, id)
		p.chains[id] = c
	}
	return c
}

// sorted gives the chains in an order that is always the same.
func (p *place) sorted() []*chain {
	var out []*chain
	for _, c := range p.chains {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *chain) int {
		x := 0
		if a.id.backfill != b.id.backfill {
			x = 1
			if b.id.backfill {
				x = -1
			}
		}
		return cmp.Or(cmp.Compare(a.id.trail, b.id.trail), cmp.Compare(a.id.home, b.id.home), x)
	})
	return out
}

// note takes note of what a digest lists, and of the hours that it covers.
func (p *place) note(it *item, covers bool) {
	if covers {
		p.files.cover(it.d.Start, it.d.End)
	}
	for _, f := range it.d.Files {
		if f.Bucket != p.id.bucket {
			continue
		}
		p.files.list(f.Object)
		if k := string(source.ParseKey(f.Object).Kind); k != "" && k != string(source.Logs) {
			p.mu.Lock()
			if !slices.Contains(p.kinds, k) {
				p.kinds = append(p.kinds, k)
			}
			p.mu.Unlock()
		}
	}
}

// unlisted tells of log files that no digest lists.
func (p *place) unlisted(ctx context.Context) error {
	if left := p.files.inside(); len(left) > 0 {
		if err := p.later(ctx, left[0].from); err != nil {
			return p.failed(ctx, err)
		}
	}
	for _, f := range p.files.inside() {
		reason := "no digest of any trail that was found there lists it; it was put there by somebody else, or by a trail without validation"
		if f.odd {
			reason = "no digest lists it, and its name is not one that CloudTrail gives"
		}
		if err := p.say(ctx, nil, Finding{Code: LogUnlisted, Level: Invalid, Key: f.key, Reason: reason}); err != nil {
			return err
		}
	}
	n, first, last := p.files.outside(p.Start, p.End)
	if n == 0 {
		return nil
	}
	return p.say(ctx, nil, Finding{
		Code: LogsUncovered, Level: Notice, Start: first, End: last, Files: int(n), Key: p.kindFolder(string(source.Logs)),
		Reason: fmt.Sprintf("%d log files lie in hours that no valid digest covers: whether they are as they were delivered cannot be told", n),
	})
}

// later looks through digests after the range for log files that were delivered late.
func (p *place) later(ctx context.Context, from time.Time) error {
	if p.End.IsZero() {
		return nil
	}
	if keys, err := p.Keys(ctx, p.id.region, p.End, from.Add(lateFor)); err == nil {
		p.keys.add(keys) // without them digests do not count
	}
	q := newPlace(p.run, p.id)
	r := *p.run
	r.Start, r.End = p.End, time.Time{}
	q.run = &r
	return q.listDigests(ctx, func(names []digest.Name) (bool, error) {
		for _, n := range names {
			if p.within(n.End) != 1 || n.End.After(from.Add(lateFor)) {
				continue
			}
			it := &item{name: n, key: n.Key()}
			p.get(ctx, it)
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			if it.err != nil || it.d == nil {
				continue
			}
			if n.Backfill {
				p.backfillKeys(ctx, it)
			}
			if p.credible(it) {
				p.note(it, false)
			}
		}
		return len(p.files.inside()) > 0 && !names[0].End.After(from.Add(lateFor)), nil
	})
}

// credible says whether a digest that is not judged may say what is listed.
func (p *place) credible(it *item) bool {
	v, _ := it.d.Verify(it.hash, it.meta, digest.Location{Bucket: p.id.bucket, Object: it.key}, p.keys.find)
	return v == digest.Valid || v == digest.Unsigned && p.NoMetadata
}

// missing says whether an error is of an object that is not there.
func missing(err error) bool { return errors.Is(err, blob.ErrNoKey) }

// tracker compares what lies in a place with what digests list. One goroutine uses it.
type tracker struct {
	listed  map[string]bool    // by digests, not seen yet
	laid    map[string]logFile // seen, not listed yet
	covered spans              // by valid digests
	past    int64              // files outside that were forgotten
	first   time.Time          // of those
	last    time.Time
}

type span struct{ from, to time.Time }

func newTracker() *tracker { return &tracker{listed: map[string]bool{}, laid: map[string]logFile{}} }

func (t *tracker) list(key string) {
	if _, ok := t.laid[key]; ok {
		delete(t.laid, key)
		return
	}
	t.listed[key] = true
}

func (t *tracker) lay(files []logFile) {
	for _, f := range files {
		if t.listed[f.key] {
			delete(t.listed, f.key)
			continue
		}
		t.laid[f.key] = f
	}
}

// cover takes note of hours.
func (t *tracker) cover(from, to time.Time) { t.covered.add(from, to) }

// spans are stretches of time in order, apart.
type spans []span

// add adds one. It mostly follows what is there already.
func (l *spans) add(from, to time.Time) {
	if n := len(*l); n > 0 && !from.Before((*l)[n-1].from) {
		if last := &(*l)[n-1]; !from.After(last.to) {
			last.to = later(last.to, to)
		} else {
			*l = append(*l, span{from, to})
		}
		return
	}
	all := append(*l, span{from, to})
	slices.SortFunc(all, func(a, b span) int { return a.from.Compare(b.from) })
	*l = nil
	for _, s := range all {
		if n := len(*l); n > 0 && !s.from.After((*l)[n-1].to) {
			(*l)[n-1].to = later((*l)[n-1].to, s.to)
		} else {
			*l = append(*l, s)
		}
	}
}

// has says whether the time up to a moment is in one.
func (l spans) has(end time.Time) bool {
	i, _ := slices.BinarySearchFunc(l, end, func(s span, at time.Time) int { return s.to.Compare(at) })
	return i < len(l) && l[i].from.Before(end)
}

// without gives what of a stretch is in none. It may be asked of nothing.
func (l *spans) without(from, to time.Time) []span {
	var out []span
	if l != nil {
		for _, s := range *l {
			if !s.to.After(from) {
				continue
			}
			if !s.from.Before(to) {
				break
			}
			if s.from.After(from) {
				out = append(out, span{from, s.from})
			}
			from = s.to
		}
	}
	if from.Before(to) {
		out = append(out, span{from, to})
	}
	return out
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// covers says whether a file must be listed by a digest: the whole minute of its delivery is covered, or, of one with an odd name,
// some of its day.
func (t *tracker) covers(f logFile) bool {
	i, _ := slices.BinarySearchFunc(t.covered, f.from, func(s span, at time.Time) int {
		if s.to.After(at) {
			return 1
		}
		return -1
	})
	if i == len(t.covered) {
		return false
	}
	s := t.covered[i]
	if f.odd {
		return s.from.Before(f.to)
	}
	return !s.from.After(f.from) && !s.to.Before(f.to)
}

// forget lets go of what is so old that nothing comes for it any more.
func (t *tracker) forget(end time.Time) {
	for key := range t.listed { // its day was listed
		if at, ok := logMinute(key); ok && at.Before(end.Add(-48*time.Hour)) {
			delete(t.listed, key)
		}
	}
	for key, f := range t.laid {
		if f.to.Before(end.Add(-lateFor)) && !t.covers(f) {
			delete(t.laid, key)
			t.out(f)
		}
	}
}

func (t *tracker) out(f logFile) {
	t.past++
	if t.first.IsZero() || f.from.Before(t.first) {
		t.first = f.from
	}
	t.last = later(t.last, f.from)
}

// inside gives the files in covered hours that no digest lists, in the order of their keys.
func (t *tracker) inside() []logFile {
	var out []logFile
	for _, f := range t.laid {
		if t.covers(f) {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b logFile) int { return cmp.Or(a.from.Compare(b.from), cmp.Compare(a.key, b.key)) })
	return out
}

// outside counts the files of a range in hours that are not covered. Those of a minute that is covered in part are neither in nor
// out.
func (t *tracker) outside(start, end time.Time) (n int64, first, last time.Time) {
	for _, f := range t.laid {
		partly := slices.ContainsFunc(t.covered, func(s span) bool { return s.from.Before(f.to) && f.from.Before(s.to) })
		if !partly && (start.IsZero() || !f.from.Before(start)) && (end.IsZero() || !f.from.After(end)) {
			t.out(f)
		}
	}
	return t.past, t.first, t.last
}

// newest is the time of the newest file that lies outside of covered hours.
func (t *tracker) newest() time.Time { return t.last }
