package delivery

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"spoor/internal/trail"
	"spoor/internal/trail/digest"
)

// state is what a trail's deliveries must not forget. It changes by entries alone, which are made durable first.
type state struct {
	Trail   string               `json:"trail"`         // ARN
	Next    uint64               `json:"next"`          // epochs of the trail that begin behind a lower sequence are in Runs
	Seen    time.Time            `json:"seen,omitzero"` // when the last of them began
	Runs    []run                `json:"runs,omitempty"`
	Floor   time.Time            `json:"floor,omitzero"`  // no chain of digests begins before it
	Batch   uint64               `json:"batch,omitempty"` // the last one
	Last    time.Time            `json:"last,omitzero"`   // of deliveries
	Settled []fileID             `json:"settled,omitempty"`
	Notices []notice             `json:"notices,omitempty"` // that are not published yet
	Chains  []*chain             `json:"chains,omitempty"`
	Regions map[string]delivered `json:"regions,omitempty"`

	has    map[fileID]bool // Settled
	chains map[pair]*chain // Chains
}

// pair names a chain.
type pair struct {
	run             uint64
	account, region string
}

// run is a time in which digests are made without a break: from the epoch that switched them on to the one that ended them.
type run struct {
	Since  uint64    `json:"since"` // the sequence behind which it begins
	At     time.Time `json:"at"`
	Until  uint64    `json:"until,omitempty"` // the last sequence; with Ended
	Ended  time.Time `json:"ended,omitzero"`
	Place  place     `json:"place"` // of now
	Name   string    `json:"name"`  // of the trail
	Home   string    `json:"home"`
	Own    string    `json:"own"` // account
	Region []string  `json:"regions"`
}

// holds says whether a file of entries up to a sequence belongs to the run.
func (r *run) holds(to uint64) bool { return to > r.Since && (r.Ended.IsZero() || to <= r.Until) }

// notice is a message to a topic that is to be published.
type notice struct {
	Batch  uint64    `json:"batch"`
	At     time.Time `json:"at"`
	Topic  string    `json:"topic"`
	Bucket string    `json:"bucket"`
	Keys   []string  `json:"keys"`
	Region []string  `json:"regions"`
}

// listing is a file that was delivered and that the next digest lists.
type listing struct {
	Bucket string    `json:"bucket"`
	Key    string    `json:"key"`
	Hash   string    `json:"hash"`
	Oldest time.Time `json:"oldest"`
	Newest time.Time `json:"newest"`
	At     time.Time `json:"at"`           // of its delivery
	Cut    time.Time `json:"cut,omitzero"` // when its events were made a file; zero in what version 1 wrote
}

// chain is the digests of a run for an account and a Region: ordinary ones, and backfill digests with links of their own. Each
// interval has one of either.
type chain struct {
	Run     uint64       `json:"run"` // its Since
	Account string       `json:"account"`
	Region  string       `json:"region"`
	End     time.Time    `json:"end,omitzero"`   // of the last digest, or where the first one begins; zero before that is known
	Link    *digest.Link `json:"link,omitempty"` // of the last ordinary one
	Late    *digest.Link `json:"late,omitempty"` // of the last backfill digest
	Files   []listing    `json:"files,omitempty"`
	Pending *pending     `json:"pending,omitempty"`
	Done    bool         `json:"done,omitempty"` // the last digest is put; it stays as long as the run does

	outage outage // begins anew with each ordinary digest
}

// outage is what the process knows of digests that are late.
type outage struct {
	held time.Time // since when one waited for files; zero for not yet
	told bool      // the log of the process names it
}

// pending is a digest that is made and not put.
type pending struct {
	Bucket   string            `json:"bucket"`
	Key      string            `json:"key"`
	KMSKey   string            `json:"kmsKey,omitempty"`
	Body     []byte            `json:"body"` // as it is put: compressed
	Metadata map[string]string `json:"metadata"`
	Link     digest.Link       `json:"link"`
	End      time.Time         `json:"end"`
	Files    int               `json:"files"` // how many it lists
	Last     bool              `json:"last,omitempty"`
	Backfill bool              `json:"backfill,omitempty"`
	Made     time.Time         `json:"made"` // a backfill digest tells it
}

// late says whether a backfill digest with this end lists a file that is in no digest yet: it was there in its time, or was to be.
func (l *listing) late(end time.Time) bool {
	return l.At.Before(end) || !l.Cut.IsZero() && l.Cut.Before(end)
}

// delivered is what of the status of a Region is kept.
type delivered struct {
	Files   time.Time `json:"files,omitzero"`
	Notices time.Time `json:"notices,omitzero"`
	Digests time.Time `json:"digests,omitzero"`
}

// entry is a change of the state: one of its members is set.
type entry struct {
	Runs    *runsEntry    `json:"runs,omitempty"`
	Shipped *shippedEntry `json:"shipped,omitempty"`
	GivenUp *givenUpEntry `json:"givenUp,omitempty"`
	Notice  *noticeEntry  `json:"notice,omitempty"`
	Begin   *beginEntry   `json:"begin,omitempty"`
	Digest  *digestEntry  `json:"digest,omitempty"`
	Put     *putEntry     `json:"put,omitempty"`
}

// runsEntry: epochs were looked at.
type runsEntry struct {
	Next uint64    `json:"next"`
	Seen time.Time `json:"seen"`
	Runs []run     `json:"runs"` // all
}

// shippedEntry: files are in their bucket. Those with the topic are told in one notice.
type shippedEntry struct {
	Batch  uint64        `json:"batch"`
	At     time.Time     `json:"at"`
	Topic  string        `json:"topic,omitempty"`
	Bucket string        `json:"bucket"`
	Files  []shippedFile `json:"files"`
}

type shippedFile struct {
	ID      fileID    `json:"id"`
	Key     string    `json:"key"`
	Account string    `json:"account"`
	Region  string    `json:"region"`
	Run     *uint64   `json:"run,omitempty"` // whose digests list it
	Hash    string    `json:"hash,omitempty"`
	Oldest  time.Time `json:"oldest,omitzero"`
	Newest  time.Time `json:"newest,omitzero"`
	Cut     time.Time `json:"cut,omitzero"` // with Run
}

// givenUpEntry: a file was tried for too long.
type givenUpEntry struct {
	ID fileID    `json:"id"`
	At time.Time `json:"at"`
}

// noticeEntry: a notice is published, or given up.
type noticeEntry struct {
	Batch   uint64    `json:"batch"`
	At      time.Time `json:"at"`
	GivenUp bool      `json:"givenUp,omitempty"`
}

// beginEntry: a chain begins.
type beginEntry struct {
	Run     uint64    `json:"run"`
	Account string    `json:"account"`
	Region  string    `json:"region"`
	Start   time.Time `json:"start"` // of its first digest
}

// digestEntry: a digest is made.
type digestEntry struct {
	Run     uint64  `json:"run"`
	Account string  `json:"account"`
	Region  string  `json:"region"`
	Made    pending `json:"made"`
}

// putEntry: it is put, or given up.
type putEntry struct {
	Run     uint64    `json:"run"`
	Account string    `json:"account"`
	Region  string    `json:"region"`
	At      time.Time `json:"at"`
	GivenUp bool      `json:"givenUp,omitempty"`
}

func newState(arn string) *state {
	st := &state{Trail: arn}
	st.index()
	return st
}

// index makes what is not kept.
func (st *state) index() {
	st.has, st.chains = map[fileID]bool{}, map[pair]*chain{}
	for _, id := range st.Settled {
		st.has[id] = true
	}
	for _, c := range st.Chains {
		st.chains[c.pair()] = c
	}
	if st.Regions == nil {
		st.Regions = map[string]delivered{}
	}
}

func (c *chain) pair() pair { return pair{c.Run, c.Account, c.Region} }

func (st *state) settled(id fileID) bool { return st.has[id] }

// forget lets go of settled files of cuts without a manifest.
func (st *state) forget(cuts map[uint64]*cutState) {
	st.Settled = slices.DeleteFunc(st.Settled, func(id fileID) bool {
		if cuts[id.cut] != nil {
			return false
		}
		delete(st.has, id)
		return true
	})
}

// idle says that nothing is left to do.
func (st *state) idle() bool { return len(st.Runs) == 0 && len(st.Notices) == 0 && len(st.Chains) == 0 }

// chain gives a chain, which is made when there is none.
func (st *state) chain(p pair) *chain {
	c := st.chains[p]
	if c == nil {
		c = &chain{Run: p.run, Account: p.account, Region: p.region}
		st.Chains = append(st.Chains, c)
		st.chains[p] = c
	}
	return c
}

// apply changes the state.
func (st *state) apply(e *entry) error {
	switch {
	case e.Runs != nil:
		st.Next, st.Seen, st.Runs = e.Runs.Next, e.Runs.Seen, e.Runs.Runs
		st.Chains = slices.DeleteFunc(st.Chains, func(c *chain) bool {
			if slices.ContainsFunc(st.Runs, func(r run) bool { return r.Since == c.Run }) {
				return false
			}
			delete(st.chains, c.pair())
			return true
		})
	case e.Shipped != nil:
		s := e.Shipped
		st.Batch, st.Last = s.Batch, s.At
		n := notice{Batch: s.Batch, At: s.At, Topic: s.Topic, Bucket: s.Bucket}
		for _, f := range s.Files {
			st.settle(f.ID)
			d := st.Regions[f.Region]
			d.Files = s.At
			st.Regions[f.Region] = d
			n.Keys = append(n.Keys, f.Key)
			if !slices.Contains(n.Region, f.Region) {
				n.Region = append(n.Region, f.Region)
			}
			if f.Run != nil {
				c := st.chain(pair{*f.Run, f.Account, f.Region})
				c.Files = append(c.Files, listing{s.Bucket, f.Key, f.Hash, f.Oldest, f.Newest, s.At, f.Cut})
			}
		}
		if s.Topic != "" {
			st.Notices = append(st.Notices, n)
		}
	case e.GivenUp != nil:
		st.settle(e.GivenUp.ID)
	case e.Notice != nil:
		i := slices.IndexFunc(st.Notices, func(n notice) bool { return n.Batch == e.Notice.Batch })
		if i < 0 {
			return fmt.Errorf("there is no notice %d", e.Notice.Batch)
		}
		if !e.Notice.GivenUp {
			for _, r := range st.Notices[i].Region {
				d := st.Regions[r]
				d.Notices = e.Notice.At
				st.Regions[r] = d
			}
		}
		st.Notices = slices.Delete(st.Notices, i, i+1)
	case e.Begin != nil:
		c := st.chain(pair{e.Begin.Run, e.Begin.Account, e.Begin.Region})
		if !c.End.IsZero() {
			return errors.New("the chain has begun")
		}
		c.End = e.Begin.Start
	case e.Digest != nil:
		c := st.chain(pair{e.Digest.Run, e.Digest.Account, e.Digest.Region})
		made := e.Digest.Made
		if c.Pending != nil || made.Files < 0 || made.Files > len(c.Files) {
			return fmt.Errorf("a digest of %d files, of %d that wait", made.Files, len(c.Files))
		}
		left := slices.Clone(c.Files)
		if made.Backfill {
			left = slices.DeleteFunc(left, func(l listing) bool { return l.late(made.End) })
			if len(c.Files)-len(left) != made.Files {
				return fmt.Errorf("a backfill digest of %d files, of %d that are its own", made.Files, len(c.Files)-len(left))
			}
		} else {
			left = left[made.Files:]
		}
		c.Files, c.Pending = left, &made
	case e.Put != nil:
		c := st.chains[pair{e.Put.Run, e.Put.Account, e.Put.Region}]
		if c == nil || c.Pending == nil {
			return errors.New("there is no digest that waits to be put")
		}
		if !e.Put.GivenUp {
			d := st.Regions[c.Region]
			d.Digests = e.Put.At
			st.Regions[c.Region] = d
		}
		c.End = c.Pending.End
		if c.Pending.Backfill {
			c.Late = &c.Pending.Link
		} else {
			c.Link = &c.Pending.Link
		}
		if c.Pending.Last {
			if c.End.After(st.Floor) {
				st.Floor = c.End
			}
			c.Done = true
		}
		c.Pending = nil
	default:
		return errors.New("an entry that changes nothing")
	}
	return nil
}

func (st *state) settle(id fileID) {
	if !st.has[id] {
		st.has[id] = true
		st.Settled = append(st.Settled, id)
	}
}

// observe gives the entry that looks at epochs up to a sequence, nil when it would change nothing. gone says that nobody knows
// the trail any more.
func (st *state) observe(t trail.Trail, gone bool, reached uint64, regions []string, now time.Time) *runsEntry {
	next, seen, runs := st.Next, st.Seen, slices.Clone(st.Runs)
	open := func() *run {
		if n := len(runs); n > 0 && runs[n-1].Ended.IsZero() {
			return &runs[n-1]
		}
		return nil
	}
	end := func(after uint64, at time.Time) {
		if r := open(); r != nil {
			r.Until, r.Ended = after, at
		}
	}
	if gone {
		if open() == nil {
			return nil
		}
		end(reached, now)
		return &runsEntry{next, seen, runs}
	}
	if next > 0 && reached < next-1 {
		return nil // after a crash: it knew more already
	}
	look := func(i int) {
		e := t.Epochs[i]
		if e.At.IsZero() {
			e.At = now
		}
		on := e.Settings.Logging && e.Settings.Validation && !(t.Deleted && i == len(t.Epochs)-1)
		if !on {
			end(e.After, e.At)
			return
		}
		list := []string{t.HomeRegion}
		if e.Settings.MultiRegion {
			for _, r := range regions {
				if !slices.Contains(list, r) {
					list = append(list, r)
				}
			}
		}
		r := open()
		if r == nil {
			since := e.After
			if n := len(runs); n > 0 { // what ended it was taken back
				since = max(since, runs[n-1].Until, runs[n-1].Since+1)
			}
			runs = append(runs, run{Since: since, At: e.At, Name: t.Name, Home: t.HomeRegion, Own: t.Account})
			r = open()
		}
		r.Place, r.Region = placeOf(t, e.Settings), list
	}
	last := -1
	for i, e := range t.Epochs {
		if e.After > reached {
			break
		}
		last = i
		if e.After >= next || e.After == next-1 && e.At.After(seen) {
			look(i)
			next, seen = e.After+1, e.At
		}
	}
	if last >= 0 {
		look(last) // settings of the configuration may be others, and a change may have been taken back
	}
	if next == st.Next && seen.Equal(st.Seen) && slices.EqualFunc(runs, st.Runs, func(a, b run) bool {
		same := slices.Equal(a.Region, b.Region) && a.At.Equal(b.At) && a.Ended.Equal(b.Ended)
		return same && a.Since == b.Since && a.Until == b.Until && a.Place == b.Place && a.Name == b.Name && a.Home == b.Home && a.Own == b.Own
	}) {
		return nil
	}
	return &runsEntry{next, seen, runs}
}

// check holds what every state has in common.
func (st *state) check() error {
	if st.Trail == "" {
		return errors.New("it says of no trail")
	}
	for i := range st.Runs {
		if r := &st.Runs[i]; r.Name == "" || r.Home == "" || r.Own == "" || r.Place.Bucket == "" || i < len(st.Runs)-1 && r.Ended.IsZero() {
			return fmt.Errorf("run %d, since %d, of trail %.80q", i, r.Since, r.Name)
		}
	}
	for _, c := range st.Chains {
		if !accountForm.MatchString(c.Account) || !regionForm.MatchString(c.Region) || c.Pending != nil && (c.Pending.Bucket == "" || c.Pending.Key == "") {
			return fmt.Errorf("chain of account %.40q and Region %.40q", c.Account, c.Region)
		}
	}
	return nil
}
