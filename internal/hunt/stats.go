package hunt

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"
	"time"

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
		d.values[h] = t
	}
	d.lastT = t
	return t
}

// forget drops the rarer half of the values.
func (d *dimension) forget() {
	d.bounded = true
	d.lastT = nil
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
	names     map[*tally]struct{}
	addresses map[*tally]struct{}
	lastName  *tally
	lastAddr  *tally
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
	byActor    map[*event.Actor]*actorTally // the cache gives one pointer for many events
	lastActor  *event.Actor
	lastTally  *actorTally
	boundActor bool
	boundHours bool
	hours      map[int64]*HourCount
	lastHour   *HourCount
	lastHourAt int64
}

// newCollector returns an empty collector. Those that are to be merged share a seed.
func newCollector(seed maphash.Seed) *collector {
	c := &collector{actors: map[string]*actorTally{}, byActor: map[*event.Actor]*actorTally{}, hours: map[int64]*HourCount{}}
	for _, d := range c.dimensions() {
		d.seed = seed
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
	source := e.Source()
	c.sources.at(source).add(when, failed)
	call := e.Name()
	name := c.names.hashed(maphash.String(c.names.seed, source)*0x9e3779b97f4a7c15^maphash.String(c.names.seed, call), source, ":", call)
	name.add(when, failed)
	addr := c.addresses.at(e.Text(event.SourceIPAddress))
	addr.add(when, failed)
	c.agents.at(e.Text(event.UserAgent)).add(when, failed)
	if code := e.Text(event.ErrorCode); code != "" {
		c.errors.at(code).add(when, failed)
	}
	if key := e.Text(event.AccessKeyID); key != "" {
		c.keys.at(key).add(when, failed)
	}
	if when != 0 {
		c.hour(when, failed)
	}

	a := c.actor(actor)
	a.saw(when, actor)
	a.add(when, failed)
	if a.lastName != name {
		a.lastName = name
		if len(a.names) < distinctCap {
			a.names[name] = struct{}{}
		}
	}
	if a.lastAddr != addr {
		a.lastAddr = addr
		if len(a.addresses) < distinctCap {
			a.addresses[addr] = struct{}{}
		}
	}
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

func (c *collector) actor(actor *event.Actor) *actorTally {
	if actor == c.lastActor {
		return c.lastTally
	}
	t := c.byActor[actor]
	if t == nil {
		t = c.actors[actor.ID]
		if t == nil {
			if len(c.actors) >= DimensionCap {
				c.forgetActors()
			}
			t = &actorTally{actor: *actor, names: map[*tally]struct{}{}, addresses: map[*tally]struct{}{}}
			c.actors[actor.ID] = t
		}
		if len(c.byActor) > 2*DimensionCap {
			clear(c.byActor)
		}
		c.byActor[actor] = t
	}
	c.lastActor, c.lastTally = actor, t
	return t
}

func (c *collector) forgetActors() {
	c.boundActor = true
	clear(c.byActor)
	c.lastActor = nil
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
	for id, t := range o.actors {
		mine := c.actors[id]
		if mine == nil {
			mine = &actorTally{actor: t.actor, names: map[*tally]struct{}{}, addresses: map[*tally]struct{}{}}
			c.actors[id] = mine
		}
		mine.saw(t.first, &t.actor)
		mine.tally.merge(&t.tally)
		for n := range t.names {
			mine.names[names(n)] = struct{}{}
		}
		for a := range t.addresses {
			mine.addresses[addresses(a)] = struct{}{}
		}
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

// adopt returns a translation of o's tallies to those that will stand for them after a merge.
func (d *dimension) adopt(o *dimension) func(*tally) *tally {
	to := make(map[*tally]*tally, len(o.values))
	for v, t := range o.values {
		if mine, ok := d.values[v]; ok {
			to[t] = mine
		}
	}
	return func(t *tally) *tally {
		if mine, ok := to[t]; ok {
			return mine
		}
		return t
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
		s.Actors = append(s.Actors, ActorSeen{Actor: a, Seen: t.seen(id), Names: int64(len(t.names)), Addresses: int64(len(t.addresses))})
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
