package sample

import (
	"math"
	"slices"
)

const (
	// slotSeconds is how often log files are delivered.
	slotSeconds = 300
	// maxJob bounds the events that a worker holds at once.
	maxJob = 2048
)

// job is a piece of work: the events of a slot, or of a part of it.
type job struct {
	seed        uint64
	place       *place
	slot        int64 // Unix time of the slot's beginning
	start, span int64 // the part of the slot that background events fall into
	n           int   // background events, sessions that begin included
	opens       bool  // the part in which sessions begin
	script      []scripted
}

// plan divides the events among the slots.
type plan struct {
	w          *world
	start      int64
	slots      int
	background int
	script     map[slotKey][]scripted
}

type slotKey struct {
	place int
	slot  int64
}

func newPlan(w *world, o *Options, s *script) *plan {
	p := &plan{w: w, start: o.Start.Unix(), slots: o.Days * 86400 / slotSeconds, background: o.Events - len(s.events), script: map[slotKey][]scripted{}}
	for _, e := range s.events {
		k := slotKey{e.place.no, e.time - e.time%slotSeconds}
		p.script[k] = append(p.script[k], e)
	}
	return p
}

func (p *plan) crowd(pl *place, slot int64) (*crowd, int) {
	// 1970-01-01 was a Thursday.
	hour := int((slot/3600 + 72) % hoursOfWeek)
	if slot%3600 == 0 {
		return &pl.crowd[hour][1], hour
	}
	return &pl.crowd[hour][0], hour
}

// weight is how busy a slot is.
func (p *plan) weight(pl *place, slot int64) float64 {
	c, _ := p.crowd(pl, slot)
	u := unit(mix64(p.w.seed, uint64(pl.no), uint64(slot), 41))
	return c.total() * (0.25 + math.Min(4, -0.75*math.Log(1-u)))
}

// jobs gives all work in a fixed order until yield returns false. The counts add up to the events asked for.
func (p *plan) jobs(yield func(job) bool) {
	total := 0.0
	for i := range p.slots {
		for _, pl := range p.w.places {
			total += p.weight(pl, p.start+int64(i)*slotSeconds)
		}
	}
	sum, given := 0.0, 0
	for i := range p.slots {
		slot := p.start + int64(i)*slotSeconds
		for _, pl := range p.w.places {
			sum += p.weight(pl, slot)
			upto := int(float64(p.background) * (sum / total))
			n := upto - given
			given = upto
			script := p.script[slotKey{pl.no, slot}]
			if n == 0 && len(script) == 0 {
				continue
			}
			parts := max(1, (n+maxJob-1)/maxJob)
			for part := range parts {
				j := job{
					seed: mix64(p.w.seed, uint64(pl.no), uint64(slot), uint64(part), 42), place: pl, slot: slot,
					start: slot + int64(slotSeconds*part/parts), n: n*(part+1)/parts - n*part/parts,
				}
				j.span = slot + int64(slotSeconds*(part+1)/parts) - j.start
				if part == 0 {
					j.opens, j.script = true, script
				}
				if !yield(j) {
					return
				}
			}
		}
	}
}

// make fills g with the events of a job, in the order of their files.
func (p *plan) make(g *gen, j *job) {
	g.begin(j.seed, j.place)
	c, hour := p.crowd(j.place, j.slot)
	left := j.n
	if j.opens {
		room := int(float64(j.n)/5 + g.unit())
		j.place.starting(j.slot, hour, min(room, j.n), func(s starter, inst int, nth int64) {
			g.sessionBegins(s, inst, nth)
			left--
		})
	}
	g.fill(left, c, j.start, j.span)
	for _, e := range j.script {
		start := len(g.out)
		g.out = append(g.out, e.raw...)
		g.list = append(g.list, item{start, len(g.out), e.time})
	}
	slices.SortStableFunc(g.list, func(a, b item) int { return int(a.time - b.time) })
	for i := range g.list {
		if far := min(6, len(g.list)-1-i); far > 0 && g.below(4) == 0 {
			k := i + 1 + g.below(far)
			g.list[i], g.list[k] = g.list[k], g.list[i]
		}
	}
}

// logFile is the records of one file: a part of the gen's list.
type logFile struct {
	stamp int64
	items []item
}

// files divides the events of a job among log files: most in time, some late, some a second time. It calls fn for each
// and returns the number of duplicates.
func (g *gen) files(j *job, o *Options, fn func(f logFile) error) (duplicates int, err error) {
	onTime := g.list[:0:0]
	var late []item
	for _, it := range g.list {
		if g.below(250) == 0 && !o.TinyFiles {
			late = append(late, it)
			continue
		}
		onTime = append(onTime, it)
		if g.unit() < o.Duplicates {
			late = append(late, it)
			duplicates++
		}
	}
	stamp := j.slot + slotSeconds
	cut := func(items []item, stamp int64) error {
		for len(items) > 0 {
			n := len(items)
			switch {
			case o.TinyFiles:
				n = min(n, g.between(1, 5))
			case n > 40 && g.below(4) == 0:
				n = g.between(n/5, n/2)
			}
			delivered := stamp
			if g.below(3) == 0 {
				delivered += slotSeconds
			}
			if err := fn(logFile{delivered, items[:n]}); err != nil {
				return err
			}
			items = items[n:]
		}
		return nil
	}
	if err := cut(onTime, stamp); err != nil {
		return 0, err
	}
	return duplicates, cut(late, stamp+slotSeconds*int64(g.between(1, 3)))
}
