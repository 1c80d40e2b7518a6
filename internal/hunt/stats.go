package hunt

import (
	"cmp"
	"hash/maphash"
	"math/bits"
	"slices"
	"strings"
	"time"
	"unsafe"

	"spoor/internal/event"
)

// DimensionCap is how many different values of one dimension are kept for each worker. Beyond it the rarer half is
// forgotten, and Stats.Bounded says so.
const DimensionCap = 100_000

// listCap is how many values a list of Stats holds.
const listCap = 500

// tally counts the events of one value.
type tally struct {
	value         string
	number        int // in its dimension, in the order of coming
	count, failed int64
	first, last   int64 // Unix nanoseconds, 0 when no event had a time
}

func (t *tally) add(when int64, failed bool) {
	t.count++
	if failed {
		t.failed++
	}
	if when != 0 {
		if t.first == 0 || when < t.first {
			t.first = when
		}
		if when > t.last {
			t.last = when
		}
	}
}

func (t *tally) merge(o *tally) {
	t.count += o.count
	t.failed += o.failed
	if o.first != 0 && (t.first == 0 || o.first < t.first) {
		t.first = o.first
	}
	t.last = max(t.last, o.last)
}

func (t *tally) seen(value string) Seen {
	return Seen{Value: value, Count: t.count, Failed: t.failed, First: clock(t.first), Last: clock(t.last)}
}

func clock(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos).UTC()
}

// dimension tallies the values of one field. The last value is remembered, as neighbours in a file are often alike.
type dimension struct {
	seed    maphash.Seed      // the same for all that are merged; chosen at random, so that no log can make values collide
	values  map[uint64]*tally // by hash
	lastT   *tally
	made    int      // tallies, forgotten ones too
	early   []*tally // the first of them, by number
	recent  *recent  // points at tallies
	bounded bool
}

// at returns the tally of value, which is copied when it is new.
func (d *dimension) at(value string) *tally {
	if d.lastT != nil && d.lastT.value == value {
		return d.lastT
	}
	return d.hashed(maphash.String(d.seed, value), value, "", "")
}

// hashed returns the tally of the value with a hash; its parts are put together when it is new.
func (d *dimension) hashed(h uint64, first, colon, second string) *tally {
	t, ok := d.values[h]
	if !ok {
		if d.values == nil {
			d.values = make(map[uint64]*tally)
		}
		if len(d.values) >= DimensionCap {
			d.forget()
		}
		t = &tally{value: strings.Join([]string{first, colon, second}, "")}
		d.count(t)
		d.values[h] = t
	}
	d.lastT = t
	return t
}

// count gives a tally its number.
func (d *dimension) count(t *tally) {
	t.number = d.made
	d.made++
	if t.number < earlyTallies {
		d.early = append(d.early, t)
	}
}

// forget drops the rarer half of the values.
func (d *dimension) forget() {
	d.bounded = true
	d.lastT = nil
	d.recent.forget()
	counts := make([]int64, 0, len(d.values))
	for _, t := range d.values {
		counts = append(counts, t.count)
	}
	slices.Sort(counts)
	limit := counts[len(counts)/2]
	for v, t := range d.values {
		if t.count <= limit {
			delete(d.values, v)
		}
	}
}

func (d *dimension) merge(o *dimension) {
	d.bounded = d.bounded || o.bounded
	for v, t := range o.values {
		if mine, ok := d.values[v]; ok {
			mine.merge(t)
			continue
		}
		if d.values == nil {
			d.values = make(map[uint64]*tally)
		}
		d.values[v] = t
	}
}

// list gives the most frequent values.
func (d *dimension) list() []Seen {
	out := make([]Seen, 0, len(d.values))
	for _, t := range d.values {
		out = append(out, t.seen(t.value))
	}
	slices.SortFunc(out, bySeen)
	return slices.Clip(out[:min(len(out), listCap)])
}

func bySeen(a, b Seen) int {
	if c := cmp.Compare(b.Count, a.Count); c != 0 {
		return c
	}
	return cmp.Compare(a.Value, b.Value)
}

// actorTally is an actor with the different calls and addresses it used.
type actorTally struct {
	tally
	actor     event.Actor
	names     distinct
	addresses distinct
}

// distinct is a set of tallies of one dimension. Those that came early, which are most of what is ever put in, are bits.
type distinct struct {
	early []uint64
	late  map[*tally]struct{}
	n     int
}

// earlyTallies is a multiple of 64.
const earlyTallies = 2048

func (s *distinct) add(t *tally) {
	if t.number < earlyTallies {
		word, bit := t.number/64, uint64(1)<<(t.number%64)
		if word >= len(s.early) {
			if s.n >= distinctCap {
				return
			}
			s.early = append(s.early, make([]uint64, word+1-len(s.early))...)
		}
		if s.early[word]&bit == 0 && s.n < distinctCap {
			s.early[word] |= bit
			s.n++
		}
		return
	}
	if _, ok := s.late[t]; ok || s.n >= distinctCap {
		return
	}
	if s.late == nil {
		s.late = map[*tally]struct{}{}
	}
	s.late[t] = struct{}{}
	s.n++
}

// addAll adds the members of o as what they are in the dimension of s. early are the early tallies of o's dimension.
func (s *distinct) addAll(o *distinct, early []*tally, ours func(*tally) *tally) {
	for i, word := range o.early {
		for ; word != 0; word &= word - 1 {
			s.add(ours(early[i*64+bits.TrailingZeros64(word)]))
		}
	}
	for t := range o.late {
		s.add(ours(t))
	}
}

// saw takes over what an event at when tells of the actor, if it is the earliest yet: one actor has many sessions, and may
// be told of in different words. Of several events at one time it takes the least, so that their order does not matter.
func (t *actorTally) saw(when int64, actor *event.Actor) {
	if when == t.first && compareActors(actor, &t.actor) < 0 || when != 0 && (t.first == 0 || when < t.first) {
		t.actor = *actor
	}
}

func compareActors(a, b *event.Actor) int {
	return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Session, b.Session),
		cmp.Compare(a.From, b.From), cmp.Compare(a.Kind, b.Kind))
}

// distinctCap bounds how many different calls or addresses of one actor are told apart.
const distinctCap = 10_000

// collector gathers Stats for one worker.
type collector struct {
	events, failed, readOnly, insights int64
	first, last                        int64

	accounts, regions, sources, names, addresses, agents, errors, keys dimension

	actors     map[string]*actorTally
	recent     recent
	boundActor bool
	boundHours bool
	hours      map[int64]*HourCount
	lastHour   *HourCount
	lastHourAt int64
}

// recentActor is what the last event of an actor was counted under. The cache of actors gives one pointer for all events
// with the same userIdentity, and holding it here keeps it from being given for another.
type recentActor struct {
	actor            *event.Actor
	tally            *actorTally
	key, addr, agent *tally // key is nil when there is none
}

// recentCall is a call that was counted.
type recentCall struct {
	source, name   string
	ofSource, ofIt *tally
}

// recent spares looking up what was counted a short while ago.
type recent struct {
	actors [1 << 12]recentActor
	calls  [1 << 11]recentCall
}

func (r *recent) forget() {
	clear(r.actors[:])
	clear(r.calls[:])
}

// newCollector returns an empty collector. Those that are to be merged share a seed.
func newCollector(seed maphash.Seed) *collector {
	c := &collector{actors: map[string]*actorTally{}, hours: map[int64]*HourCount{}}
	for _, d := range c.dimensions() {
		d.seed, d.recent = seed, &c.recent
	}
	return c
}

// add counts an event that actor caused.
func (c *collector) add(e *event.Event, actor *event.Actor, failed bool) {
	when := e.Time
	c.events++
	if failed {
		c.failed++
	}
	if when != 0 {
		if c.first == 0 || when < c.first {
			c.first = when
		}
		c.last = max(c.last, when)
	}
	c.accounts.at(e.Account()).add(when, failed)
	c.regions.at(e.Region()).add(when, failed)
	if k := e.Get(event.EventCategory); k.Kind() == event.String && (k.Text() == "Insight" || k.Text() == "Aggregated") {
		c.insights++
		return
	}
	if e.Get(event.ReadOnly).Kind() == event.True {
		c.readOnly++
	}
	call := c.call(e.Source(), e.Name())
	call.ofSource.add(when, failed)
	call.ofIt.add(when, failed)
	if code := e.Text(event.ErrorCode); code != "" {
		c.errors.at(code).add(when, failed)
	}
	if when != 0 {
		c.hour(when, failed)
	}

	a := c.actor(actor)
	t := a.tally // for a may be forgotten while the others are looked up
	if key := e.Text(event.AccessKeyID); key != "" {
		if a.key == nil || a.key.value != key {
			a.key = c.keys.at(key)
		}
		a.key.add(when, failed)
	}
	if addr := e.Text(event.SourceIPAddress); a.addr == nil || a.addr.value != addr {
		a.addr = c.addresses.at(addr)
	}
	a.addr.add(when, failed)
	if agent := e.Text(event.UserAgent); a.agent == nil || a.agent.value != agent {
		a.agent = c.agents.at(agent)
	}
	a.agent.add(when, failed)
	t.saw(when, actor)
	t.add(when, failed)
	t.names.add(call.ofIt)
	t.addresses.add(a.addr)
}

// call gives the tallies of a call.
func (c *collector) call(source, name string) recentCall {
	r := &c.recent.calls[event.CallHash(source, name)%uint64(len(c.recent.calls))]
	if r.ofIt == nil || r.name != name || r.source != source {
		of := c.sources.at(source)
		it := c.names.hashed(maphash.String(c.names.seed, source)*0x9e3779b97f4a7c15^maphash.String(c.names.seed, name), source, ":", name)
		// What is remembered points into the copies that the tallies hold.
		*r = recentCall{of.value, it.value[len(source)+1:], of, it}
	}
	return *r
}

func (c *collector) hour(when int64, failed bool) {
	at := when - when%int64(time.Hour)
	if c.lastHour == nil || c.lastHourAt != at {
		h := c.hours[at]
		if h == nil {
			if len(c.hours) >= DimensionCap {
				c.boundHours = true
				return
			}
			h = &HourCount{Hour: clock(at)}
			c.hours[at] = h
		}
		c.lastHour, c.lastHourAt = h, at
	}
	c.lastHour.Count++
	if failed {
		c.lastHour.Failed++
	}
}

func (c *collector) actor(actor *event.Actor) *recentActor {
	r := &c.recent.actors[uint64(uintptr(unsafe.Pointer(actor)))*0x9e3779b97f4a7c15>>40%uint64(len(c.recent.actors))]
	if r.actor == actor {
		return r
	}
	t := c.actors[actor.ID]
	if t == nil {
		if len(c.actors) >= DimensionCap {
			c.forgetActors()
		}
		t = &actorTally{actor: *actor}
		c.actors[actor.ID] = t
	}
	*r = recentActor{actor: actor, tally: t}
	return r
}

func (c *collector) forgetActors() {
	c.boundActor = true
	c.recent.forget()
	counts := make([]int64, 0, len(c.actors))
	for _, t := range c.actors {
		counts = append(counts, t.count)
	}
	slices.Sort(counts)
	limit := counts[len(counts)/2]
	for id, t := range c.actors {
		if t.count <= limit {
			delete(c.actors, id)
		}
	}
}

// dimensions gives the dimensions with the names that Stats.Distinct has for them.
func (c *collector) dimensions() map[string]*dimension {
	return map[string]*dimension{"accounts": &c.accounts, "regions": &c.regions, "sources": &c.sources, "names": &c.names,
		"addresses": &c.addresses, "agents": &c.agents, "errors": &c.errors, "keys": &c.keys}
}

// merge adds the counts of o, which is not used any more.
func (c *collector) merge(o *collector) {
	c.events += o.events
	c.failed += o.failed
	c.readOnly += o.readOnly
	c.insights += o.insights
	if o.first != 0 && (c.first == 0 || o.first < c.first) {
		c.first = o.first
	}
	c.last = max(c.last, o.last)
	// The sets of actors point at tallies of their own collector: move them to ours before those are merged.
	names, addresses := c.names.adopt(&o.names), c.addresses.adopt(&o.addresses)
	earlyNames, earlyAddresses := o.names.early, o.addresses.early
	for id, t := range o.actors {
		mine := c.actors[id]
		if mine == nil {
			mine = &actorTally{actor: t.actor}
			c.actors[id] = mine
		}
		mine.saw(t.first, &t.actor)
		mine.tally.merge(&t.tally)
		mine.names.addAll(&t.names, earlyNames, names)
		mine.addresses.addAll(&t.addresses, earlyAddresses, addresses)
	}
	c.boundActor = c.boundActor || o.boundActor
	c.boundHours = c.boundHours || o.boundHours
	theirs := o.dimensions()
	for name, d := range c.dimensions() {
		d.merge(theirs[name])
	}
	for at, h := range o.hours {
		if mine := c.hours[at]; mine != nil {
			mine.Count += h.Count
			mine.Failed += h.Failed
		} else {
			c.hours[at] = h
		}
	}
}

// adopt returns a translation of o's tallies to those that will stand for them after a merge. Those that d has not get
// numbers of d.
func (d *dimension) adopt(o *dimension) func(*tally) *tally {
	to := make(map[*tally]*tally, len(o.values))
	for v, t := range o.values {
		if mine, ok := d.values[v]; ok {
			to[t] = mine
		}
	}
	return func(t *tally) *tally {
		mine, ok := to[t]
		if !ok {
			d.count(t)
			mine, to[t] = t, t
		}
		return mine
	}
}

// stats gives what was gathered.
func (c *collector) stats() Stats {
	s := Stats{Events: c.events, Failed: c.failed, ReadOnly: c.readOnly, Insights: c.insights, Distinct: map[string]int64{},
		Accounts: c.accounts.list(), Regions: c.regions.list(), Sources: c.sources.list(), Names: c.names.list(),
		Addresses: c.addresses.list(), Agents: c.agents.list(), Errors: c.errors.list(), Keys: c.keys.list()}
	for name, d := range c.dimensions() {
		s.Distinct[name] = int64(len(d.values))
		if d.bounded {
			s.Bounded = append(s.Bounded, name)
		}
	}
	s.Distinct["actors"] = int64(len(c.actors))
	if c.boundActor {
		s.Bounded = append(s.Bounded, "actors")
	}
	if c.boundHours {
		s.Bounded = append(s.Bounded, "hours")
	}
	slices.Sort(s.Bounded)
	s.Actors = make([]ActorSeen, 0, len(c.actors))
	for id, t := range c.actors {
		a := t.actor
		a.Session = "" // an actor stands for all of its sessions
		s.Actors = append(s.Actors, ActorSeen{Actor: a, Seen: t.seen(id), Names: int64(t.names.n), Addresses: int64(t.addresses.n)})
	}
	slices.SortFunc(s.Actors, func(a, b ActorSeen) int { return bySeen(a.Seen, b.Seen) })
	s.Actors = slices.Clip(s.Actors[:min(len(s.Actors), listCap)])
	s.Hours = make([]HourCount, 0, len(c.hours))
	for _, h := range c.hours {
		s.Hours = append(s.Hours, *h)
	}
	slices.SortFunc(s.Hours, func(a, b HourCount) int { return a.Hour.Compare(b.Hour) })
	return s
}
