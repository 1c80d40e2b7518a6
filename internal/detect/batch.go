package detect

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"spoor/internal/event"
)

// DefaultBatchMemory bounds what a [Batch] keeps aside in memory before it writes to temporary files.
const DefaultBatchMemory = 64 << 20

// BatchOptions are the settings of a [Batch]. Zero members stand for defaults.
type BatchOptions struct {
	Shards      int    // goroutines that give events; the number of processors
	TempDir     string // where matching records go when memory is used up; the system's directory for temporary files
	Memory      int64  // bytes, over all shards; DefaultBatchMemory
	MaxFindings int    // DefaultMaxFindings
	RawLimit    int64  // bytes of raw records in the findings; DefaultRawLimit
	// Again, when set, spares the batch the keeping of records that only feed correlations and can be read again
	// (event.Event.Again): those behind findings are asked for in Finish.
	Again Again
}

// Batch evaluates a set of events that is all there: history. Events come in any order and from many goroutines; the answer
// depends on neither, nor on how the events are shared out. Memory does not grow with the events: what matched is kept
// compactly, and beyond BatchOptions.Memory in temporary files of about the compressed size of the matching records.
type Batch struct {
	engine *Engine
	opt    BatchOptions
	spare  budget // of what feeds correlations
	mu     sync.Mutex
	shards []*Shard
	done   bool
}

// NewBatch begins a batch. Its owner calls Close.
func (e *Engine) NewBatch(opt BatchOptions) *Batch {
	if opt.Shards <= 0 {
		opt.Shards = runtime.GOMAXPROCS(0)
	}
	if opt.Memory <= 0 {
		opt.Memory = DefaultBatchMemory
	}
	if opt.MaxFindings <= 0 {
		opt.MaxFindings = DefaultMaxFindings
	}
	if opt.RawLimit <= 0 {
		opt.RawLimit = DefaultRawLimit
	}
	return &Batch{engine: e, opt: opt, spare: budget{limit: opt.Memory / 4 * 3}}
}

// Shard gives the events of one goroutine to a batch. It is not safe for concurrent use.
type Shard struct {
	worker *Worker
	hits   *hits
	log    *payloadLog
	again  bool // records that can be read again are not kept for correlations
	sorter *sorter
	occ    occurrence
	err    error

	rules    []int // that the event matches
	prepared bool
}

// Shard adds a shard. It may be called from any goroutine, at most 254 times.
func (b *Batch) Shard() (*Shard, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.shards) >= maxShards {
		return nil, fmt.Errorf("start a shard: there are %d already", len(b.shards))
	}
	part := b.opt.Memory / int64(4*b.opt.Shards)
	log := &payloadLog{shard: len(b.shards), limit: part, dir: b.opt.TempDir, spill: true}
	s := &Shard{
		worker: b.engine.NewWorker(),
		log:    log,
		hits:   newHits(b.engine.rs.rules, b.opt.MaxFindings, log),
		again:  b.opt.Again != nil,
		sorter: newSorter(&b.spare, b.opt.TempDir),
	}
	b.shards = append(b.shards, s)
	return s, nil
}

// Prepare finds the rules that e matches, ahead of Event with the same e; it keeps nothing if that does not come. Whoever
// calls it calls it before every Event.
func (s *Shard) Prepare(e *event.Event) {
	s.rules, s.prepared = s.worker.run(e), true
}

// Event evaluates an event. It copies what it keeps. After an error the batch is of no use.
func (s *Shard) Event(e *event.Event) error {
	if !s.prepared {
		s.Prepare(e)
	}
	s.prepared = false
	rules := s.rules
	if len(rules) == 0 {
		return s.err
	}
	if s.err == nil {
		s.err = s.take(e, rules)
	}
	return s.err
}

func (s *Shard) take(e *event.Event, rules []int) error {
	record := noHandle
	var err error
	if in := s.worker.inputs(e, rules); len(in) > 0 {
		if record, err = s.log.append(e, s.again && e.Again && !s.worker.alerts(rules)); err != nil {
			return err
		}
		s.occ = occurrence{time: e.Time, id: orderID(e), account: shorten(e.Account()), failed: s.worker.failed, record: record, inputs: in}
		if err = s.sorter.add(&s.occ); err != nil {
			return err
		}
	}
	var actor *event.Actor
	for _, i := range rules {
		if !s.worker.rs.rules[i].alerts {
			s.hits.byRule[i]++
			continue
		}
		if actor == nil {
			actor = s.worker.actors.Of(e)
		}
		if record, err = s.hits.add(i, e, actor, s.worker.failed, record); err != nil {
			return err
		}
	}
	return nil
}

// Result is what a batch found.
type Result struct {
	Findings []Finding // highest level first, then count, then first seen
	Rules    []RuleHits
	// Notes say in words which bounds were met; findings are exact when there are none.
	Notes []string
}

// RuleHits is how often a rule that runs matched or fired.
type RuleHits struct {
	Rule   Rule
	Hits   int64
	Alerts bool
}

// Fired counts the rules that matched and alert.
func (r *Result) Fired() int {
	n := 0
	for _, h := range r.Rules {
		if h.Hits > 0 && h.Alerts {
			n++
		}
	}
	return n
}

// Finish gives the result, once, after the last event of every shard. The end of the input is the end of time: windows
// that are judged when they end are judged as they are.
func (b *Batch) Finish(ctx context.Context) (*Result, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done {
		return nil, errors.New("finish a batch: it is finished already")
	}
	b.done = true
	rs := b.engine.rs
	all := newHits(rs.rules, b.opt.MaxFindings, nil)
	var logs []*payloadLog
	var sorters []*sorter
	for _, s := range b.shards {
		if s.err != nil {
			return nil, s.err
		}
		all.merge(s.hits)
		logs, sorters = append(logs, s.log), append(sorters, s.sorter)
	}
	cs := newCases(rs, b.opt.MaxFindings)
	k := newCorrelator(rs, cs.fired, cs.joined)
	if err := inOrder(ctx, rs, sorters, k.take); err != nil {
		return nil, fmt.Errorf("correlate: %w", err)
	}
	k.flush()
	groups := make([]*aggregate, 0, len(all.groups))
	for _, g := range all.groups {
		groups = append(groups, g)
	}
	out := &Result{Notes: append(all.notes(), append(cs.notes(), k.notes()...)...)}
	var lost int
	var err error
	if out.Findings, lost, err = rs.findings(groups, cs.list(), logs, b.opt.RawLimit, b.opt.Again); err != nil {
		return nil, fmt.Errorf("read back the records of findings: %w", err)
	}
	if lost > 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("%d records behind correlations could not be read again: their files have changed since", lost))
	}
	for i, r := range rs.rules {
		if !r.part {
			out.Rules = append(out.Rules, RuleHits{r.info, all.byRule[i], r.alerts})
		}
	}
	for i, c := range rs.correlations {
		out.Rules = append(out.Rules, RuleHits{c.info, cs.byRule[i], c.alerts})
	}
	return out, nil
}

// Close removes the temporary files. No shard may be in use.
func (b *Batch) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = true
	var errs []error
	for _, s := range b.shards {
		errs = append(errs, s.log.close(), s.sorter.close())
	}
	b.shards = nil
	return errors.Join(errs...)
}

func (h *hits) notes() []string {
	var out []string
	if h.overflow > 0 {
		out = append(out, fmt.Sprintf("%d matches are not shown: they belong to more than %d groups of rule, actor and account", h.overflow, h.limit))
	}
	if h.exact < TallyExact {
		out = append(out, "tallies of frequent values are incomplete: there were too many distinct values")
	}
	return out
}

func (cs *cases) notes() []string {
	if cs.overflow == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%d firings of correlations are not shown: they belong to more than %d groups", cs.overflow, cs.limit)}
}

func (k *correlator) notes() []string {
	var out []string
	if k.untimed > 0 {
		out = append(out, fmt.Sprintf("%d events without a readable eventTime took no part in correlations", k.untimed))
	}
	for i, s := range k.sets {
		if n := s.Stats().Evicted; n > 0 {
			out = append(out, fmt.Sprintf("%s: %d groups were given up because too many were open at once", k.rs.correlations[i].info.Title, n))
		}
	}
	if k.early > 0 {
		out = append(out, fmt.Sprintf("%d events went into chained correlations early because too many were held back", k.early))
	}
	return out
}
