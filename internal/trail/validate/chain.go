package validate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"spoor/internal/trail/digest"
)

// item is a digest on its way.
type item struct {
	name  digest.Name
	key   string
	peek  bool // after the range: only what it tells of the one before it counts
	other bool // of a trail that is not asked for: only what it lists counts
	list  bool // no digest: err is of the listing

	done     chan struct{} // closed when what follows is there
	err      error
	meta     map[string]string
	text     []byte // for evidence
	stored   int64
	storedBy string
	size     int64
	hash     string
	d        *digest.Digest
	parse    error

	signature string // that it has, or that the next one tells
	byLink    bool   // the next one told it
	finding   Finding
	vouched   bool // its content is what was signed
	noted     bool // what it lists and covers is taken note of
}

// sound says whether what the digest says can be built upon.
func (it *item) sound() bool { return it.finding.Level == OK }

// linksTo says whether the digest says that the other one comes before it.
func (it *item) linksTo(bucket, key string) bool {
	return it != nil && it.d != nil && it.d.Previous != nil && it.d.Previous.Bucket == bucket && it.d.Previous.Object == key
}

// chain judges the digests of a trail in the order of their ends.
type chain struct {
	p    *place
	id   chainID
	told Chain // counted by who tells

	queue   []*item // with verdicts of their own, but for the last one
	all     []*item // of a backfill chain, whose order is that of its links
	there   spans   // of a backfill chain: the hours of its digests, whatever their verdicts, and of those that are told to be missing
	jumps   []jump  // of an ordinary one
	prev    *item   // the last one that was told of
	cadence time.Duration
	peeked  bool
	links   []outside // to other places
	moved   bool      // another place's chain goes on from here
	last    time.Time // end of the last sound digest
}

// jump is time that the ordinary digests leave out: one links to the one before it, and starts later than that one ends. The service
// makes backfill digests of such time, one for each interval.
type jump struct {
	from, to time.Time
	cadence  time.Duration
	it       *item // that starts at to
}

// outside is a link that leaves its place.
type outside struct {
	from  *item
	link  digest.Link
	start time.Time // of the digest that links
}

func newChain(p *place, id chainID) *chain {
	return &chain{p: p, id: id, cadence: time.Hour, told: Chain{
		Bucket: p.id.bucket, Prefix: p.id.prefix, Organization: p.id.org, Account: p.id.account, Region: p.id.region, Trail: id.trail, HomeRegion: id.home, Backfill: id.backfill,
	}}
}

// tell counts a verdict.
func (c *chain) tell(f *Finding) {
	switch f.Code.subject() {
	case "digest":
		c.told.Digests.add(f.Level)
	case "log":
		c.told.Logs.add(f.Level)
	}
	if f.Code == DigestValid {
		if c.told.Start.IsZero() || f.Start.Before(c.told.Start) {
			c.told.Start = f.Start
		}
		c.told.End = later(c.told.End, f.End)
	}
}

// push takes the next digest.
func (c *chain) push(ctx context.Context, it *item) error {
	if it.other {
		if it.err == nil && it.d != nil && c.p.credible(it) {
			c.p.note(it, false)
		}
		return nil
	}
	if it.peek {
		c.peeked = true
	}
	if c.id.backfill {
		c.all = append(c.all, it)
		c.early(ctx, it)
		return nil
	}
	c.queue = append(c.queue, it)
	if n := len(c.queue); n >= 2 {
		c.judge(ctx, c.queue[n-2], it)
	}
	if len(c.queue) < 3 {
		return nil
	}
	first := c.queue[0]
	c.queue = c.queue[1:]
	return c.settle(ctx, first, c.queue[0])
}

// early takes note of a backfill digest before it is judged, which needs them all: ordinary digests go by what hours they cover.
func (c *chain) early(ctx context.Context, it *item) {
	if it.peek {
		return
	}
	from := it.name.End.Add(-c.cadence)
	if it.d != nil && it.d.Start.Before(it.name.End) {
		from = it.d.Start
		c.cadence = it.name.End.Sub(from)
	}
	c.there.add(from, it.name.End)
	if it.err != nil || it.d == nil {
		return
	}
	c.p.backfillKeys(ctx, it)
	if v, _ := it.d.Verify(it.hash, it.meta, digest.Location{Bucket: c.p.id.bucket, Object: it.key}, c.p.keys.find); v == digest.Valid {
		c.p.note(it, true)
		it.noted = true
	}
}

// flush ends the chain.
func (c *chain) flush(ctx context.Context) error {
	if c.id.backfill {
		return c.flushBackfill(ctx)
	}
	for i, it := range c.queue {
		var next *item
		if i+1 < len(c.queue) {
			next = c.queue[i+1]
		} else {
			c.judge(ctx, it, nil)
		}
		if err := c.settle(ctx, it, next); err != nil {
			return err
		}
	}
	c.queue = nil
	return nil
}

// judge gives a digest the verdict that follows from itself, and from the signature that the next one tells.
func (c *chain) judge(ctx context.Context, it, next *item) {
	p := c.p
	f := &it.finding
	*f = p.name(c, Finding{Key: it.key, End: it.name.End, Size: it.size, Stored: it.stored, StoredBy: it.storedBy, Hash: it.hash})
	set := func(code Code, level Level, format string, args ...any) {
		f.Code, f.Level, f.Reason = code, level, fmt.Sprintf(format, args...)
	}
	var form formatError
	switch {
	case missing(it.err):
		set(DigestMissing, Invalid, "it was listed, and then it was not there")
		return
	case errors.As(it.err, &form):
		set(DigestFormat, Invalid, "it is not one whole gzip member: %v", form)
		return
	case sealBroken(it.err):
		set(DigestModified, Invalid, "it is encrypted, and does not open: %v", it.err)
		return
	case it.err != nil:
		set(DigestFailed, Unchecked, "%v", it.err)
		return
	case it.parse != nil:
		set(DigestFormat, Invalid, "%v", it.parse)
		return
	}
	f.Start, f.Files = it.d.Start, len(it.d.Files)
	linked := next.linksTo(p.id.bucket, it.key)
	it.signature = it.meta[digest.MetaSignature]
	meta := it.meta
	if it.signature == "" && linked && next.d.PreviousSigning != "" {
		it.signature, it.byLink = next.d.PreviousSigning, true
		meta = map[string]string{digest.MetaSignature: it.signature, digest.MetaAlgorithm: cmp.Or(it.meta[digest.MetaAlgorithm], digest.SignatureAlgorithm)}
	}
	f.ByLink = it.byLink
	if c.id.backfill {
		p.backfillKeys(ctx, it)
	}
	verdict, reason := it.d.Verify(it.hash, meta, digest.Location{Bucket: p.id.bucket, Object: it.key}, p.keys.find)
	other := linked && !it.byLink && next.d.PreviousSigning != it.signature // the next one saw another signature
	switch verdict {
	case digest.Moved:
		set(DigestMoved, Invalid, "%s", reason)
	case digest.Unsigned:
		if p.NoMetadata {
			set(DigestUnverifiable, Unchecked, "its signature was in the metadata of its object, which files do not keep, and no newer digest tells it")
		} else {
			set(DigestUnsigned, Invalid, "%s", reason)
		}
	case digest.BadAlgorithm:
		set(DigestAlgorithm, Invalid, "%s", reason)
	case digest.BadKey:
		set(DigestKeyBad, Invalid, "%s", reason)
	case digest.KeyUnknown:
		switch {
		case p.keys.empty():
			set(DigestUnverifiable, Unchecked, "there is no public key of %s to verify it with", p.id.region)
		case other:
			set(DigestForged, Invalid, "%s, and the digest after it tells another signature", reason)
		default:
			set(DigestKeyUnknown, Invalid, "%s", reason)
		}
	case digest.Forged:
		switch {
		case other:
			set(DigestForged, Invalid, "%s, and the digest after it tells another signature", reason)
		case linked && !it.byLink:
			set(DigestModified, Invalid, "%s, and the signature is the one that the digest after it tells: the content was changed", reason)
		case it.byLink:
			set(DigestModified, Invalid, "%s, as the digest after it tells it", strings.Replace(reason, "its signature is not", "the signature is not", 1))
		default:
			set(DigestModified, Invalid, "%s: one of both was changed", reason)
		}
	case digest.InvalidFormat:
		set(DigestFormat, Invalid, "%s", reason)
	case digest.Valid:
		it.vouched = true
		set(DigestValid, OK, "")
		c.more(it, set)
	}
}

// more looks at what a right signature does not say.
func (c *chain) more(it *item, set func(Code, Level, string, ...any)) {
	d := it.d
	signed := d.End
	start, end, known := c.p.keys.validity(d.Fingerprint)
	if made, ok := backfillTime(it); ok {
		signed = made
	} else if c.id.backfill && signed.Before(start) {
		signed = start // it was made at some time after its end
	}
	switch {
	case it.byLink && !c.p.NoMetadata:
		set(DigestUnsigned, Invalid, "its metadata has no signature; the one that the digest after it tells is right, so that the content is as it was signed")
	case known && !start.IsZero() && (signed.Before(start) || signed.After(end)):
		set(DigestKeyTime, Invalid, "its key %.64s was valid from %s to %s", d.Fingerprint, stamp(start), stamp(end))
	case !d.End.Equal(it.name.End):
		set(DigestFormat, Invalid, "it ends at %s, its key says %s", stamp(d.End), stamp(it.name.End))
	case d.Previous != nil && d.Previous.Algorithm != "" && d.Previous.Algorithm != digest.HashAlgorithm:
		set(DigestAlgorithm, Invalid, "it names the hash of the digest before it by the algorithm %.40q", d.Previous.Algorithm)
	case c.id.backfill && !c.p.NoMetadata && it.meta[digest.MetaBackfill] == "":
		set(DigestFormat, Invalid, "its metadata does not say when it was made")
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func backfillTime(it *item) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339, it.meta[digest.MetaBackfill])
	return t, err == nil
}

// backfillKeys gets the keys of the time when a backfill digest was made.
func (p *place) backfillKeys(ctx context.Context, it *item) {
	made, ok := backfillTime(it)
	if k, err := p.keys.find(it.d.Fingerprint); !ok || k != nil || err != nil {
		return
	}
	if keys, err := p.Keys(ctx, p.id.region, made.Add(-time.Hour), made.Add(time.Hour)); err == nil {
		p.keys.add(keys) // without them the verdict is that the key is unknown
	}
}

// settle gives the verdict that takes the neighbours into account, has the log files read, and goes on.
func (c *chain) settle(ctx context.Context, it, next *item) error {
	if it.peek {
		return c.settlePeek(ctx, it)
	}
	p := c.p
	f := &it.finding
	if f.Code == DigestModified && it.byLink && next.finding.Level == Invalid {
		f.Code, f.Level, f.Reason = DigestUnverifiable, Unchecked, "the digest after it, which tells its signature, is not as it was signed"
	}
	if it.d != nil && !it.vouched && next.linksTo(p.id.bucket, it.key) && next.sound() && next.d.Previous.Hash == it.hash {
		it.vouched = true
		f.Reason += "; its content is the one that the digest after it links to"
	}
	if it.d != nil && !it.vouched && f.Level == Invalid && f.Files > 0 {
		f.Reason += fmt.Sprintf("; the log files that it lists, %d, were not looked at", f.Files)
	}
	if p.Evidence != nil && it.err == nil {
		meta := it.meta
		if it.byLink {
			meta = map[string]string{digest.MetaSignature: it.signature, digest.MetaAlgorithm: digest.SignatureAlgorithm}
		}
		if err := p.Evidence(p.id.bucket, it.key, it.text, meta); err != nil {
			return err
		}
		it.text = nil
	}
	before, err := c.before(it)
	if err != nil {
		return err
	}
	if f.Code == DigestUnverifiable && it.d != nil && c.prev != nil && c.prev.vouched && len(before) == 0 && it.linksTo(p.id.bucket, c.prev.key) {
		f.Reason += "; its link to the digest before it is right"
	}
	findings := append(before, *f)
	pending := 0
	if it.d != nil {
		if it.vouched || f.Code == DigestUnverifiable {
			pending = len(it.d.Files)
		}
		if !it.noted {
			p.note(it, it.vouched)
		}
	}
	at := len(findings)
	for i := range pending {
		l := &it.d.Files[i]
		findings = append(findings, p.name(c, Finding{Bucket: l.Bucket, Key: l.Object, Listed: l.Hash}))
	}
	s := newSlot(c, findings, pending)
	if err := p.put(ctx, s); err != nil {
		return err
	}
	for i := range pending {
		lf := &s.findings[at+i]
		if by := it.d.Files[i].Algorithm; by != digest.HashAlgorithm {
			lf.Code, lf.Level, lf.Reason = LogAlgorithm, Invalid, fmt.Sprintf("its digest names the hash algorithm %.40q", by)
			s.done()
			continue
		}
		select {
		case p.run.logs <- &logJob{lf, s, it.vouched}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p.Progress.Digests.Add(1)
	if it.d != nil {
		it.d.Files = nil
		if it.sound() {
			c.last = it.d.End
			if span := it.d.End.Sub(it.d.Start); span > 0 {
				c.cadence = span
			}
		}
	}
	c.prev = it
	return nil
}

// settlePeek tells which digests of the range the first one after it proves to be missing.
func (c *chain) settlePeek(ctx context.Context, it *item) error {
	if c.p.only != nil || c.id.backfill {
		return nil
	}
	links := len(c.links)
	found, err := c.before(it)
	c.links = c.links[:links] // where it comes from is no matter of the range
	if err != nil {
		return err
	}
	for _, f := range found {
		if f.Code.subject() != "digest" || c.p.within(f.End) != 0 {
			continue
		}
		if err := c.p.say(ctx, c, f); err != nil {
			return err
		}
	}
	return nil
}

// before tells what is wrong between a digest and the one that was told of before it.
func (c *chain) before(it *item) ([]Finding, error) {
	if c.id.backfill {
		return nil, nil
	}
	p, prev := c.p, c.prev
	say := func(code Code, level Level, format string, args ...any) Finding {
		f := p.name(c, Finding{Code: code, Level: level, Key: it.key, End: it.name.End, Reason: fmt.Sprintf(format, args...)})
		if it.d != nil {
			f.Start = it.d.Start
		}
		return f
	}
	if it.d == nil || !it.sound() && it.finding.Code != DigestUnverifiable && !it.vouched {
		// What it says does not count; its name tells when it ends.
		if prev != nil {
			if from, to := prev.name.End, it.name.End.Add(-c.cadence); to.Sub(from) > c.cadence/2 {
				return c.missing(from, to, c.cadence, DigestMissing, "no digest ends then, and one was due every "+words(c.cadence)), nil
			}
		}
		return nil, nil
	}
	d := it.d
	l := d.Previous
	cadence := c.cadence
	if span := d.End.Sub(d.Start); span > 0 && (prev == nil || span > cadence) {
		cadence = span
	}
	if l == nil {
		switch {
		case prev == nil:
			if p.Start.IsZero() || d.Start.After(p.Start) {
				return []Finding{say(ChainStart, Notice, "the chain starts at %s", stamp(d.Start))}, nil
			}
		case d.Start.Before(prev.name.End):
			return []Finding{say(ChainTimes, Invalid, "it starts at %s, before the end of the digest before it at %s", stamp(d.Start), stamp(prev.name.End))}, nil
		default:
			f := say(ChainRestart, Notice, "the chain starts anew: no digest was made from %s to %s, while logging or validation was off", stamp(prev.name.End), stamp(d.Start))
			f.Start, f.End = prev.name.End, d.Start
			return []Finding{f}, nil
		}
		return nil, nil
	}
	target, ok := digest.SplitKey(l.Object)
	past := prev != nil && !it.linksTo(p.id.bucket, prev.key) && l.Bucket == p.id.bucket && target.Prefix == p.id.prefix && !target.End.After(prev.name.End)
	if ok && !past && target.End.Before(d.Start) {
		c.jumps = append(c.jumps, jump{target.End, d.Start, cadence, it})
	}
	if prev != nil && it.linksTo(p.id.bucket, prev.key) {
		var out []Finding
		if prev.d == nil || !prev.vouched {
			return nil, nil // that one has its own verdict
		}
		if l.Hash != "" && !strings.EqualFold(l.Hash, prev.hash) {
			out = append(out, say(ChainHash, Invalid, "it links to content with the SHA-256 %.64s, the digest before it has %s", l.Hash, prev.hash))
		}
		if !prev.byLink && prev.signature != "" && l.Signature != prev.signature && prev.sound() {
			out = append(out, say(ChainSignature, Invalid, "it links to another signature than the digest before it has"))
		}
		if d.Start.Before(prev.d.End) { // and of the time after it backfill digests tell
			out = append(out, say(ChainTimes, Invalid, "it starts at %s, and the digest before it ends at %s", stamp(d.Start), stamp(prev.d.End)))
		}
		return out, nil
	}
	if !ok || (chainID{target.Trail, target.HomeRegion, target.Backfill}) != c.id || target.Account != p.id.account || target.Region != p.id.region {
		return []Finding{say(ChainOrder, Invalid, "it links to s3://%s/%s, which is no digest of its trail", l.Bucket, l.Object)}, nil
	}
	if l.Bucket != p.id.bucket || target.Prefix != p.id.prefix || target.Organization != p.id.org {
		c.links = append(c.links, outside{it, *l, d.Start})
		return nil, nil
	}
	if prev != nil {
		if !target.End.After(prev.name.End) {
			return []Finding{say(ChainOrder, Invalid, "it links to s3://%s/%s, past the digest before it, s3://%s/%s", l.Bucket, l.Object, p.id.bucket, prev.key)}, nil
		}
		return c.missing(prev.name.End, target.End, cadence, DigestMissing, ""), nil
	}
	// The first one that was found.
	if p.within(target.End) < 0 {
		return nil, nil
	}
	if p.Start.IsZero() {
		return c.missing(target.End.Add(-1), target.End, cadence, DigestMissing, "the first digest that was found links to it; how many came before it cannot be told"), nil
	}
	return c.missing(p.Start.Add(-1), target.End, cadence, GapStart, ""), nil
}

// missing names the digests that were due after from and up to to, but for hours that have a backfill digest. The last one is what
// the next digest links to, unless why says something else.
func (c *chain) missing(from, to time.Time, cadence time.Duration, code Code, why string) []Finding {
	cadence = max(cadence, time.Second)
	var late *chain
	if !c.id.backfill {
		late = c.p.chains[chainID{c.id.trail, c.id.home, true}]
	}
	var out []Finding
	left := 0
	for end := to; end.After(from); end = end.Add(-cadence) {
		if code == DigestMissing && end.Sub(from) <= cadence/2 && end != to {
			break
		}
		if len(out) == mostNamed {
			left = int(end.Sub(from)/cadence) + 1
			break
		}
		if late != nil && late.there.has(end) {
			continue
		}
		n := digest.Name{
			Prefix: c.p.id.prefix, Organization: c.p.id.org, Account: c.p.id.account, Region: c.p.id.region, Trail: c.id.trail, HomeRegion: c.id.home, End: end, Backfill: c.id.backfill,
		}
		f := c.p.name(c, Finding{Code: code, Level: Invalid, Key: n.Key(), Start: end.Add(-cadence), End: end, Reason: why})
		if why == "" {
			f.Reason = "no digest ends then, and one was due every " + words(cadence)
			if end == to {
				f.Code, f.Reason = DigestMissing, "it is not there, and the digest after it links to it"
			}
		}
		out = append(out, f)
	}
	if left > 0 && len(out) > 0 {
		out[len(out)-1].Reason += fmt.Sprintf("; about %d more before it are missing too", left)
	}
	slices.Reverse(out)
	return out
}

func words(d time.Duration) string {
	switch {
	case d == time.Hour:
		return "hour"
	case d%time.Minute == 0:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return d.String()
}

// flushBackfill judges the backfill digests by their links.
func (c *chain) flushBackfill(ctx context.Context) error {
	byKey, next := map[string]*item{}, map[string]*item{}
	for _, it := range c.all {
		byKey[it.key] = it
		if it.d != nil && it.d.Previous != nil && it.d.Previous.Bucket == c.p.id.bucket {
			next[it.d.Previous.Object] = it
		}
	}
	for _, it := range c.all {
		c.judge(ctx, it, next[it.key])
	}
	for _, it := range c.all {
		if it.peek {
			continue
		}
		var found []Finding
		if it.sound() && it.d.Previous != nil {
			l := it.d.Previous
			prev := byKey[l.Object]
			target, ok := digest.SplitKey(l.Object)
			switch {
			case l.Bucket != c.p.id.bucket || ok && target.Prefix != c.p.id.prefix:
				c.links = append(c.links, outside{it, *l, it.d.Start})
			case !ok || (chainID{target.Trail, target.HomeRegion, target.Backfill}) != c.id || target.Account != c.p.id.account || target.Region != c.p.id.region:
				found = append(found, c.p.name(c, Finding{Code: ChainOrder, Level: Invalid, Key: it.key, Start: it.d.Start, End: it.d.End,
					Reason: fmt.Sprintf("it links to s3://%s/%s, which is no backfill digest of its trail", l.Bucket, l.Object)}))
			case prev == nil && c.p.within(target.End) == 0:
				c.there.add(target.End.Add(it.d.Start.Sub(it.d.End)), target.End)
				found = append(found, c.p.name(c, Finding{Code: DigestMissing, Level: Invalid, Key: l.Object, End: target.End, Reason: "it is not there, and the backfill digest after it links to it"}))
			case prev != nil && prev.vouched && l.Hash != "" && !strings.EqualFold(l.Hash, prev.hash):
				found = append(found, c.p.name(c, Finding{Code: ChainHash, Level: Invalid, Key: it.key, Start: it.d.Start, End: it.d.End,
					Reason: fmt.Sprintf("it links to content with the SHA-256 %.64s, the digest before it has %s", l.Hash, prev.hash)}))
			case prev != nil && prev.sound() && !prev.byLink && l.Signature != prev.signature:
				found = append(found, c.p.name(c, Finding{Code: ChainSignature, Level: Invalid, Key: it.key, Start: it.d.Start, End: it.d.End,
					Reason: "it links to another signature than the digest before it has"}))
			}
		}
		for _, f := range found {
			if err := c.p.say(ctx, c, f); err != nil {
				return err
			}
		}
		if err := c.settle(ctx, it, next[it.key]); err != nil {
			return err
		}
	}
	return nil
}

// follow makes places of those that chains lead to and that were not looked at.
func (r *run) follow(known map[placeID]bool) []*place {
	var out []*place
	led := map[placeID]*place{}
	for _, p := range r.places {
		for _, c := range p.sorted() {
			for _, l := range c.links {
				target, ok := digest.SplitKey(l.link.Object)
				id := placeID{l.link.Bucket, target.Prefix, target.Organization, target.Account, target.Region}
				if q := led[id]; q != nil && q.only.trail == c.id.trail && q.only.home == c.id.home { // by the other one of its chains
					q.until = later(q.until, target.End)
				}
				if !ok || known[id] {
					continue
				}
				known[id] = true
				q := newPlace(r, id)
				q.only, q.until = &c.id, target.End
				led[id] = q
				out = append(out, q)
			}
		}
	}
	slices.SortFunc(out, func(a, b *place) int { return a.id.compare(b.id) })
	return out
}

// ends tells how the chains hang together across places, and how they end.
func (r *run) ends(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	at := map[[2]string]*chain{} // by bucket and key of the last digest
	for _, p := range r.places {
		for _, c := range p.sorted() {
			if c.prev != nil {
				at[[2]string{p.id.bucket, c.prev.key}] = c
			}
		}
	}
	for _, p := range r.places {
		for _, c := range p.sorted() {
			for _, l := range c.links {
				f := c.cross(l, at)
				if c.id.backfill && f.Code == DigestMissing {
					c.there.add(f.Start, f.End)
				}
				if err := r.tell(c, f); err != nil {
					return err
				}
			}
		}
	}
	if err := r.leaps(); err != nil {
		return err
	}
	// A trail of several Regions or accounts ends everywhere at once.
	newest := map[[2]string]time.Time{}
	for _, p := range r.places {
		for _, c := range p.chains {
			if c.prev != nil && !c.id.backfill {
				of := [2]string{c.id.trail, c.id.home}
				newest[of] = later(newest[of], c.lastEnd())
			}
		}
	}
	for _, p := range r.places {
		for _, c := range p.sorted() {
			if c.id.backfill || c.prev == nil || c.moved || c.peeked || p.only != nil {
				continue
			}
			for _, f := range c.end(newest[[2]string{c.id.trail, c.id.home}]) {
				if err := r.tell(c, f); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// leaps tells which backfill digests are missing in time that ordinary ones leave out. They may lie in another place than these:
// they went to where the trail wrote when they were made.
func (r *run) leaps() error {
	type trailIn struct{ account, region, trail, home string }
	there := map[trailIn]*spans{}
	of := func(p *place, c *chain) trailIn { return trailIn{p.id.account, p.id.region, c.id.trail, c.id.home} }
	for _, p := range r.places {
		for _, c := range p.sorted() {
			if !c.id.backfill {
				continue
			}
			if there[of(p, c)] == nil {
				there[of(p, c)] = &spans{}
			}
			for _, s := range c.there {
				there[of(p, c)].add(s.from, s.to)
			}
		}
	}
	for _, p := range r.places {
		for _, c := range p.sorted() {
			for _, j := range c.jumps {
				for _, s := range there[of(p, c)].without(j.from, j.to) {
					if whole := j.to.Sub(j.from); s.to.Sub(s.from) == whole && whole < j.cadence/2 {
						f := p.name(c, Finding{Code: ChainTimes, Level: Invalid, Key: j.it.key, Start: j.to, End: j.it.name.End,
							Reason: fmt.Sprintf("it starts at %s, and the digest before it ends at %s", stamp(j.to), stamp(j.from))})
						if err := r.tell(c, f); err != nil {
							return err
						}
						continue
					}
					late := p.chain(digest.Name{Trail: c.id.trail, HomeRegion: c.id.home, Backfill: true})
					why := fmt.Sprintf("no digest ends then, ordinary or backfill; the ordinary digest after it, s3://%s/%s, starts at %s and links to the one that ended at %s, as it does when backfill digests were made for the time between",
						p.id.bucket, j.it.key, stamp(j.to), stamp(j.from))
					for _, f := range late.missing(s.from, s.to, j.cadence, DigestMissing, why) {
						if p.within(f.End) != 0 {
							continue
						}
						if err := r.tell(late, f); err != nil {
							return err
						}
					}
				}
			}
		}
	}
	return nil
}

// lastEnd is the end of the last digest, ordinary or backfill.
func (c *chain) lastEnd() time.Time {
	last := c.prev.name.End
	if late := c.p.chains[chainID{c.id.trail, c.id.home, true}]; late != nil && len(late.there) > 0 {
		last = later(last, late.there[len(late.there)-1].to)
	}
	return last
}

// cross judges a link to another place.
func (c *chain) cross(l outside, at map[[2]string]*chain) Finding {
	f := c.p.name(c, Finding{Key: l.from.key, Start: l.start, End: l.from.name.End})
	target, _ := digest.SplitKey(l.link.Object)
	where := fmt.Sprintf("s3://%s/%s", l.link.Bucket, l.link.Object)
	old := at[[2]string{l.link.Bucket, l.link.Object}]
	if old != nil {
		old.moved = true
		switch {
		case old.prev.d == nil || !old.prev.vouched:
			f.Code, f.Level, f.Reason = ChainMoved, Notice, "it goes on from "+where+", which has a verdict of its own"
		case !strings.EqualFold(l.link.Hash, old.prev.hash):
			f.Code, f.Level, f.Reason = ChainHash, Invalid, "it goes on from "+where+", and that has other content than it links to"
		case !old.prev.byLink && old.prev.sound() && old.prev.signature != l.link.Signature:
			f.Code, f.Level, f.Reason = ChainSignature, Invalid, "it goes on from "+where+", and that has another signature than it links to"
		case !c.id.backfill && l.start.Before(old.prev.d.End):
			f.Code, f.Level, f.Reason = ChainTimes, Invalid, "it goes on from "+where+", which ends at "+stamp(old.prev.d.End)
		default:
			f.Code, f.Level, f.Reason = ChainMoved, Notice, "it goes on from "+where
		}
		return f
	}
	if c.p.within(target.End) < 0 {
		f.Code, f.Level, f.Reason = ChainMoved, Notice, "it goes on from "+where+", before the range"
		return f
	}
	id := placeID{l.link.Bucket, target.Prefix, target.Organization, target.Account, target.Region}
	for _, p := range c.p.places {
		if p.id != id {
			continue
		}
		if o := p.chains[c.id]; o != nil && o.prev != nil {
			f.Code, f.Level, f.Key, f.Bucket, f.End = DigestMissing, Invalid, l.link.Object, l.link.Bucket, target.End
			f.Start, f.Reason = target.End.Add(-c.cadence), "it is not there, and the digest after it, in s3://"+c.p.id.bucket+"/"+c.p.id.prefix+", links to it"
			if !target.End.After(o.prev.name.End) {
				f.Code, f.Key, f.Bucket, f.Reason = ChainOrder, l.from.key, c.p.id.bucket, "it goes on from "+where+", and there are newer digests there"
			}
			return f
		}
	}
	f.Code, f.Level, f.Reason = ChainElsewhere, Unchecked, "it goes on from "+where+", where no digest was found"
	return f
}

// end tells which digests are missing after the last one. newest is the end of the trail's newest digest anywhere.
func (c *chain) end(newest time.Time) []Finding {
	p, last := c.p, c.lastEnd()
	expect, why := p.expected(p.id, c.id), "no digest ends then, and one was due every "+words(c.cadence)+": it was deleted, or logging or validation ended"
	if expect.IsZero() && newest.Sub(last) > c.cadence+grace {
		expect, why = newest.Add(grace), "no digest ends then, and the trail has newer ones elsewhere: it was deleted, or the trail left the account or Region"
	}
	if !expect.IsZero() {
		due := last
		for n := 0; n < 1_000_000 && !due.Add(c.cadence+grace).After(expect) && (p.End.IsZero() || due.Before(p.End)); n++ {
			due = due.Add(c.cadence)
		}
		return c.missing(c.prev.name.End, due, c.cadence, GapEnd, why)
	}
	if newer := p.files.newest(); newer.Sub(last) > c.cadence+grace {
		return []Finding{p.name(c, Finding{Code: EndOpen, Level: Unchecked, Key: c.prev.key, Start: last, End: newer,
			Reason: fmt.Sprintf("the digests end at %s, and there are log files up to %s: newer digests were deleted, or logging went on without validation", stamp(last), stamp(newer))})}
	}
	return []Finding{p.name(c, Finding{Code: EndOpen, Level: Notice, Key: c.prev.key, End: last,
		Reason: fmt.Sprintf("the digests end at %s; whether newer ones were deleted cannot be told", stamp(last))})}
}
