package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/klauspost/compress/gzip"

	"spoor/internal/trail"
	"spoor/internal/trail/digest"
)

// putMark is a digest that is put, or given up.
type putMark struct {
	chain *chain
	given bool
}

// queue has the pending digest of a chain put.
func (c *courier) queue(ch *chain) {
	prefix := ""
	if r := c.st.runOf(ch); r != nil {
		prefix = r.Place.Prefix
	}
	l := c.lane(laneKey{ch.Pending.Bucket, prefix, ch.Pending.KMSKey, true})
	l.chains = append(l.chains, ch)
	c.count(func(s *TrailStats) { s.PendingDigests++ })
}

// runOf gives the run of a chain.
func (st *state) runOf(ch *chain) *run {
	i := slices.IndexFunc(st.Runs, func(r run) bool { return r.Since == ch.Run })
	if i < 0 {
		return nil
	}
	return &st.Runs[i]
}

// markPuts makes durable that digests are put.
func (c *courier) markPuts(now time.Time) error {
	for len(c.marked) > 0 {
		taken := c.marked[:min(len(c.marked), maxDigests)]
		var list []entry
		backfill := false
		for _, m := range taken {
			list = append(list, entry{Put: &putEntry{m.chain.Run, m.chain.Account, m.chain.Region, now, m.given}})
			backfill = backfill || m.chain.Pending.Backfill
		}
		if err := c.keep(kindOfDigest(backfill)+" mark", list); err != nil {
			return err
		}
		c.marked = c.marked[len(taken):]
		c.digestAt = time.Time{}
		for _, m := range taken {
			c.count(func(s *TrailStats) {
				s.PendingDigests--
				if m.given {
					s.GivenUp++
				} else {
					s.Digests++
				}
			})
			if !m.given {
				c.note(m.chain.Region, func(s *trail.Status) { s.LatestDigestDelivery, s.LatestDigestDeliveryError = now, "" })
			}
		}
	}
	return nil
}

// digests begins chains, makes the digests whose time has come, and ends runs. Each chain has one digest that waits to be put
// at most; those after it are made up when it is put.
func (c *courier) digests(ctx context.Context, now time.Time) error {
	if now.Before(c.digestAt) || len(c.st.Runs) == 0 {
		return nil
	}
	waiting, oldest := c.waiting(), c.oldest(now)
	if err := c.beginChains(now, waiting); err != nil {
		return err
	}
	next := now.Add(c.d.o.DigestInterval)
	var list []entry
	var made []*chain
	backfill := false
	for _, ch := range c.st.Chains {
		r := c.st.runOf(ch)
		if ch.Done || ch.Pending != nil || ch.End.IsZero() || r == nil {
			continue
		}
		end, last := ch.End.Add(c.d.o.DigestInterval), false
		if end.After(now) {
			if r.Ended.IsZero() || waiting[ch.pair()] {
				next = earlier(next, end)
				continue
			}
			second := now.Truncate(time.Second)
			if n := len(ch.Files); !second.After(ch.End) || n > 0 && !ch.Files[n-1].At.Before(second) {
				next = earlier(next, second.Add(time.Second))
				continue
			}
			end, last = second, true
		}
		late := c.late(ch, end, now)
		if at, ok := oldest[ch.pair()]; late && ok && at.Before(end) {
			if ch.outage.held.IsZero() {
				ch.outage.held = now
			}
			if limit := ch.outage.held.Add(c.d.o.DigestInterval); now.Before(limit) { // once in an outage, or digests would never catch up
				next = earlier(next, limit)
				continue
			}
		}
		if len(list) == maxDigests {
			next = now
			break
		}
		p, err := c.make(ctx, r, ch, pending{End: end, Last: last, Backfill: late, Made: now})
		if err != nil {
			c.digestWait.fail(now, &c.d.o)
			c.digestAt = c.digestWait.at
			c.note(ch.Region, func(s *trail.Status) { s.LatestDigestDeliveryError = errorCode(err) })
			c.d.o.Log.Error("a digest of a trail cannot be made; it is tried again", "trail", c.arn, "account", ch.Account, "region", ch.Region, "error", err)
			return nil
		}
		list = append(list, entry{Digest: &digestEntry{ch.Run, ch.Account, ch.Region, p}})
		made = append(made, ch)
		backfill = backfill || late
	}
	c.digestWait.good()
	if len(list) > 0 {
		if err := c.keep(kindOfDigest(backfill), list); err != nil {
			return err
		}
		for _, ch := range made {
			if !ch.Pending.Backfill {
				ch.outage = outage{}
			} else if !ch.outage.told {
				ch.outage.told = true
				c.d.o.Log.Warn("digests of a trail are late, and are made as backfill digests", "trail", c.arn, "account", ch.Account, "region", ch.Region, "from", ch.End)
			}
			c.queue(ch)
		}
	}
	c.digestAt = next
	return c.endRuns(waiting)
}

// kindOfDigest names a step.
func kindOfDigest(backfill bool) string {
	if backfill {
		return "backfill"
	}
	return "digest"
}

// waiting gives the chains, there or not, that files will belong to which are not delivered yet; of runs that have ended, and
// nothing while all go on.
func (c *courier) waiting() map[pair]bool {
	if !slices.ContainsFunc(c.st.Runs, func(r run) bool { return !r.Ended.IsZero() }) {
		return nil
	}
	pairs := map[pair]bool{}
	c.onTheWay(func(_ *item, _ *run, of pair) { pairs[of] = true })
	return pairs
}

// onTheWay visits the files of runs that are not delivered yet, each with its run and the chain, there or not, that it will belong to.
func (c *courier) onTheWay(visit func(it *item, r *run, of pair)) {
	note := func(it *item) {
		if r := c.runOf(it); r != nil {
			visit(it, r, pair{r.Since, it.file.Account, it.file.Region})
		}
	}
	for _, it := range c.pending {
		note(it)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, it := range c.inbox {
		note(it)
	}
}

// late says whether a digest that ends then can only be made as a backfill digest. The first one of a chain never is: it is what
// the ordinary ones, whose jumps in time tell of backfill digests, hang on.
func (c *courier) late(ch *chain, end, now time.Time) bool {
	return ch.Link != nil && now.Sub(end) > c.d.o.DigestInterval
}

// oldest gives, for chains with a digest that is late, when the oldest of their files was cut that is on its way to where their
// digests go: a backfill digest waits for what it is to list. What goes elsewhere may be refused for ever.
func (c *courier) oldest(now time.Time) map[pair]time.Time {
	late := slices.ContainsFunc(c.st.Chains, func(ch *chain) bool {
		return !ch.Done && ch.Pending == nil && !ch.End.IsZero() && c.late(ch, ch.End.Add(c.d.o.DigestInterval), now)
	})
	if !late {
		return nil
	}
	found := map[pair]time.Time{}
	c.onTheWay(func(it *item, r *run, of pair) {
		if r.Place.Bucket != it.place.Bucket || r.Place.Prefix != it.place.Prefix {
			return
		}
		if at, ok := found[of]; !ok || it.cut.Before(at) {
			found[of] = it.cut
		}
	})
	return found
}

// make makes a digest of an end, and ordinary or not.
func (c *courier) make(ctx context.Context, r *run, ch *chain, p pending) (pending, error) {
	p.Bucket, p.KMSKey = r.Place.Bucket, r.Place.KMSKey
	p.Key = digest.ObjectKey(r.Place.Prefix, r.Place.Organization, ch.Account, ch.Region, r.Name, r.Home, p.End, p.Backfill)
	spec := digest.Spec{Account: ch.Account, Start: ch.End, End: p.End, Bucket: p.Bucket, Object: p.Key, Previous: ch.Link}
	key, err := c.d.o.Signer.Signing(ctx, ch.Region, p.End)
	if err == nil && p.Backfill {
		// There is a key of the digest's own time too, since who validates that time asks for one; it is signed with that of now.
		spec.Previous, spec.Backfill, spec.Generated = ch.Late, true, p.Made
		key, err = c.d.o.Signer.Signing(ctx, ch.Region, p.Made)
	}
	if err != nil {
		return p, fmt.Errorf("key of Region %s: %w", ch.Region, err)
	}
	for _, f := range ch.Files {
		if !f.At.Before(p.End) && !p.Backfill {
			break
		}
		if !p.Backfill || f.late(p.End) {
			spec.Files = append(spec.Files, digest.File{Bucket: f.Bucket, Object: f.Key, Hash: f.Hash, Newest: f.Newest, Oldest: f.Oldest})
		}
	}
	p.Files = len(spec.Files)
	s, err := digest.Sign(spec, key)
	if err != nil {
		return p, err
	}
	var body bytes.Buffer
	z := gzip.NewWriter(&body)
	_, err = z.Write(s.Text)
	if err = errors.Join(err, z.Close()); err != nil {
		return p, fmt.Errorf("compress a digest: %w", err)
	}
	p.Body, p.Metadata, p.Link = body.Bytes(), s.Metadata, s.Link
	return p, nil
}

// beginChains begins the chains that runs have in any case, and those of which a file was delivered. The first ones of a run
// begin with it, and later ones at a boundary of theirs. A chain waits for the end of that of an earlier run.
func (c *courier) beginChains(now time.Time, waiting map[pair]bool) error {
	var list []entry
	for i := range c.st.Runs {
		r := &c.st.Runs[i]
		start := r.At.UTC().Truncate(time.Second)
		begun := slices.ContainsFunc(c.st.Chains, func(ch *chain) bool { return ch.Run == r.Since && !ch.End.IsZero() })
		for _, region := range r.Region {
			if p := (pair{r.Since, r.Own, region}); c.st.chains[p] == nil && (r.Ended.IsZero() || !begun) {
				c.st.chain(p)
			}
		}
		for _, ch := range c.st.Chains {
			if ch.Run != r.Since || !ch.End.IsZero() || c.earlier(i, ch, waiting) {
				continue
			}
			at := start
			if begun {
				from := now
				if len(ch.Files) > 0 {
					from = ch.Files[0].At
				}
				if from.After(start) {
					at = start.Add(from.Sub(start) / c.d.o.DigestInterval * c.d.o.DigestInterval)
				}
			}
			if at.Before(c.st.Floor) {
				at = c.st.Floor
			}
			list = append(list, entry{Begin: &beginEntry{ch.Run, ch.Account, ch.Region, at}})
		}
	}
	if len(list) == 0 {
		return nil
	}
	return c.keep("begin", list)
}

// earlier says whether an earlier run has, or will have, a chain of the same account and Region that has not ended.
func (c *courier) earlier(i int, ch *chain, waiting map[pair]bool) bool {
	for _, r := range c.st.Runs[:i] {
		p := pair{r.Since, ch.Account, ch.Region}
		if o := c.st.chains[p]; waiting[p] || o != nil && !o.Done {
			return true
		}
	}
	return false
}

// endRuns forgets runs whose chains have all ended.
func (c *courier) endRuns(waiting map[pair]bool) error {
	busy := map[uint64]bool{}
	for p := range waiting {
		busy[p.run] = true
	}
	left := slices.DeleteFunc(slices.Clone(c.st.Runs), func(r run) bool {
		return !r.Ended.IsZero() && !busy[r.Since] && !slices.ContainsFunc(c.st.Chains, func(ch *chain) bool { return ch.Run == r.Since && !ch.Done })
	})
	if len(left) == len(c.st.Runs) {
		return nil
	}
	return c.keep("end", []entry{{Runs: &runsEntry{c.st.Next, c.st.Seen, left}}})
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
