// Package validate tells whether the log files of trails are as they were delivered: it follows the chains of digests in buckets or
// in copies of them, verifies every signature and every link, reads every log file that is listed, and looks for those that are
// not. It reads, and changes nothing.
//
// A place is an account's Region below a prefix of a bucket. Places are worked on at once, and told of in order. Within one, digests
// are listed by day, fetched ahead, and judged in the order of their time, each with the two after it at hand: the next one vouches
// for it. Log files go to workers that all places share. Memory does not grow with the number of files.
package validate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"spoor/internal/blob"
	"spoor/internal/ledger"
	"spoor/internal/trail/digest"
)

// Root is a bucket, or what is below a prefix of one. The prefix is that of trails, without a slash at its end; it may also reach
// into the layout (AWSLogs/ACCOUNT/…).
type Root struct{ Bucket, Prefix string }

// Options say what is validated.
type Options struct {
	Source Source
	Roots  []Root
	Keys   Keys

	// Digests with ends from Start to an hour after End are validated, and the log files that they list; zero is all.
	Start, End time.Time
	// Expect is the time at which the objects were looked at: a digest of the range that was due an hour before it is missed. Zero is
	// not known, as of a copy of unknown age.
	Expect time.Time
	// Trails are all that there are, where that is known, and then say for each what Expect says otherwise for all.
	Trails []Known
	Now    time.Time // default the clock's

	// Empty is any.
	Accounts, Regions               []string
	Trail, HomeRegion, Organization string

	Signatures Signatures // used where metadata has no signature; may be nil
	NoMetadata bool       // the source has no metadata: a digest without a signature lost nothing

	Fetch   int  // objects that are open at a time; default 2 for each processor
	Compute int  // objects that are hashed at a time; default one for each processor
	Stored  bool // hashes of stored bytes are told too

	// Each takes every verdict, valid ones too, in an order that depends on the bucket alone. What it is given is its own.
	Each func(Finding) error
	// Evidence takes every digest that was read, with its metadata, or, without one, with the signature that the digest after it
	// tells. It is called by several goroutines at once. Optional.
	Evidence func(bucket, key string, text []byte, metadata map[string]string) error
	Progress *Progress      // optional
	Ledger   *ledger.Report // what was read, to be compared with what digests list; optional
}

// Known is what is known of a trail besides its objects.
type Known struct {
	Account, HomeRegion, Trail string
	Organization               bool // it has places of accounts other than its own
	Bucket, Prefix             string
	Since, Until               time.Time // while it writes digests; a zero Until is that it does not, or that it is not known
}

// of reports whether a chain is one that the trail writes to.
func (k *Known) of(p placeID, c chainID) bool {
	return k.Trail == c.trail && k.HomeRegion == c.home && k.Bucket == p.bucket && k.Prefix == p.prefix && (k.Organization || k.Account == p.account)
}

// expected is until when digests of a chain are expected; zero for not known.
func (r *run) expected(p placeID, c chainID) time.Time {
	if r.Trails == nil {
		return r.Expect
	}
	var until time.Time
	for i := range r.Trails {
		if r.Trails[i].of(p, c) {
			until = later(until, r.Trails[i].Until)
		}
	}
	return until
}

// without tells of trails that should have digests, and have none.
func (r *run) without() error {
	for i := range r.Trails {
		k := &r.Trails[i]
		wanted := (r.Trail == "" || r.Trail == k.Trail) && (r.HomeRegion == "" || r.HomeRegion == k.HomeRegion) && len(r.Accounts)+len(r.Regions) == 0 && r.Start.IsZero() && r.End.IsZero()
		rooted := slices.ContainsFunc(r.Roots, func(o Root) bool { return o == Root{k.Bucket, k.Prefix} })
		if !wanted || !rooted || !k.Since.Add(time.Hour+grace).Before(k.Until) {
			continue
		}
		if slices.ContainsFunc(r.places, func(p *place) bool {
			return slices.ContainsFunc(p.sorted(), func(c *chain) bool { return k.of(p.id, c.id) })
		}) {
			continue
		}
		if err := r.tell(nil, Finding{
			Code: NoDigests, Level: Unchecked, Bucket: k.Bucket, Account: k.Account, Trail: k.Trail, Start: k.Since, End: k.Until,
			Reason: "the trail of home Region " + k.HomeRegion + " has no digest, and should have",
		}); err != nil {
			return err
		}
	}
	return nil
}

// Progress is how far a run is. It may be read at any time.
type Progress struct {
	Digests, DigestsListed atomic.Int64 // done, and known so far
	Counted                atomic.Bool  // all digests are known
	Logs, Bytes, Stored    atomic.Int64 // log files done, their bytes, and those of their objects
}

// grace is how late a digest may be before it is missed.
const grace = time.Hour

const (
	placesAtOnce = 8
	digestsAhead = 64 // of a place
	slotsAhead   = 32 // digests of a place that wait for their log files, or for their turn
	pageSize     = 1000
	mostNamed    = 1000                // missing digests that are named, of one gap
	lateFor      = 31 * 24 * time.Hour // deliveries are retried for 30 days
)

type placeID struct{ bucket, prefix, org, account, region string }

func (p placeID) compare(o placeID) int {
	return cmp.Or(cmp.Compare(p.bucket, o.bucket), cmp.Compare(p.prefix, o.prefix), cmp.Compare(p.org, o.org), cmp.Compare(p.account, o.account), cmp.Compare(p.region, o.region))
}

type run struct {
	Options
	pools   *pools
	logs    chan *logJob
	summary *Summary
	places  []*place
	ledger  *reconciler // or nil
}

// Run validates. Its error is that of the caller, of Each, or of a root that cannot be listed, but for a bucket of several
// that is not there; everything else is a verdict.
func Run(ctx context.Context, o Options) (*Summary, error) {
	if o.Compute == 0 {
		o.Compute = runtime.GOMAXPROCS(0)
	}
	if o.Fetch == 0 {
		o.Fetch = 2 * o.Compute
	}
	if o.Progress == nil {
		o.Progress = &Progress{}
	}
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	r := &run{Options: o, pools: newPools(o.Fetch, o.Compute, o.Stored), logs: make(chan *logJob), ledger: newReconciler(o.Ledger), summary: &Summary{Codes: map[Code]int64{}, Chains: []Chain{}}}
	ids, err := r.discover(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		r.places = append(r.places, newPlace(r, id))
	}
	if len(ids) == 0 {
		var text []string
		for _, root := range o.Roots {
			switch {
			case root.Bucket != "":
				text = append(text, "below s3://"+root.Bucket+"/"+root.Prefix)
			case root.Prefix != "":
				text = append(text, "in the folder below "+root.Prefix)
			default:
				text = append(text, "in the folder, at PREFIX/AWSLogs/ACCOUNT/CloudTrail-Digest/… as buckets have them")
			}
		}
		err = r.tell(nil, Finding{Code: NoDigests, Level: Unchecked, Reason: "no digest was found " + strings.Join(text, " and ")})
	} else {
		err = r.all(ctx)
	}
	if err == nil && len(ids) > 0 {
		err = r.without()
	}
	if err != nil {
		return nil, err
	}
	if r.ledger != nil {
		for _, f := range r.ledger.findings() {
			if err := r.tell(nil, f); err != nil {
				return nil, err
			}
		}
	}
	for _, p := range r.places {
		for _, c := range p.sorted() {
			if c.told.Digests.Total() > 0 || c.told.Logs.Total() > 0 {
				r.summary.Chains = append(r.summary.Chains, c.told)
			}
		}
	}
	return r.summary, nil
}

// all works on all places, follows chains into other ones, and tells how the chains end.
func (r *run) all(ctx context.Context) error {
	workers, wctx := errgroup.WithContext(ctx)
	for range r.Fetch {
		workers.Go(func() error { return r.work(wctx) })
	}
	err := func() error {
		defer close(r.logs)
		known := map[placeID]bool{}
		for next := r.places; len(next) > 0; {
			if err := r.round(wctx, next); err != nil {
				return err
			}
			for _, p := range next {
				known[p.id] = true
			}
			next = r.follow(known)
			r.places = append(r.places, next...)
		}
		return r.ends(wctx)
	}()
	if werr := workers.Wait(); werr != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return werr
	}
	return err
}

// round works on places, and tells of them in order.
func (r *run) round(ctx context.Context, places []*place) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		for _, p := range places {
			for s := range p.slots {
				if err := s.wait(ctx); err != nil {
					return err
				}
				for i := range s.findings {
					if err := r.tell(s.chain, s.findings[i]); err != nil {
						return err
					}
				}
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		return nil
	})
	g.Go(func() error {
		r.count(ctx, places)
		return nil
	})
	g.Go(func() error {
		at, ctx := errgroup.WithContext(ctx)
		at.SetLimit(placesAtOnce)
		for _, p := range places {
			at.Go(func() error {
				defer close(p.slots)
				return p.validate(ctx)
			})
		}
		return at.Wait()
	})
	return g.Wait()
}

// tell tells one verdict. One goroutine calls it.
func (r *run) tell(c *chain, f Finding) error {
	r.summary.add(&f)
	if c != nil {
		c.tell(&f)
	}
	if r.ledger != nil {
		r.ledger.note(&f)
	}
	if r.Each == nil {
		return nil
	}
	return r.Each(f)
}

// count counts the digests ahead of the work, for a progress that knows its end.
func (r *run) count(ctx context.Context, places []*place) {
	for _, p := range places {
		err := p.listDigests(ctx, func(names []digest.Name) (bool, error) {
			for _, n := range names {
				if p.wants(n) && r.within(n.End) == 0 {
					r.Progress.DigestsListed.Add(1)
				}
			}
			return true, nil
		})
		if err != nil {
			return // whoever does the work meets it too
		}
	}
	r.Progress.Counted.Store(true)
}

// within says whether a digest with this end is before the range, in it, or after it.
func (r *run) within(end time.Time) int {
	switch {
	case !r.Start.IsZero() && end.Before(r.Start):
		return -1
	case !r.End.IsZero() && end.After(r.End.Add(time.Hour)):
		return 1
	}
	return 0
}

// discover finds the places that have digests.
func (r *run) discover(ctx context.Context) ([]placeID, error) {
	var out []placeID
	seen := map[placeID]bool{}
	for _, root := range r.Roots {
		prefix, filter := splitRoot(root.Prefix)
		bases, err := r.bases(ctx, root.Bucket, prefix, filter != nil)
		if errors.Is(err, blob.ErrNoBucket) && len(r.Roots) > 1 {
			if err := r.tell(nil, Finding{Code: ListFailed, Level: Unchecked, Bucket: root.Bucket, Reason: err.Error()}); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list s3://%s/%s: %w", root.Bucket, root.Prefix, err)
		}
		for _, base := range bases {
			ids, err := r.below(ctx, root.Bucket, base, filter)
			if err != nil {
				return nil, fmt.Errorf("list s3://%s/%s: %w", root.Bucket, base, err)
			}
			for _, id := range ids {
				if !seen[id] {
					seen[id] = true
					out = append(out, id)
				}
			}
		}
	}
	slices.SortFunc(out, placeID.compare)
	return out, nil
}

const layout = "AWSLogs"

// splitRoot splits a prefix that reaches into the layout; filter is what it says there, nil when it does not.
func splitRoot(prefix string) (base string, filter []string) {
	prefix = strings.Trim(prefix, "/")
	parts := strings.Split(prefix, "/")
	for i, p := range parts {
		if p == layout {
			return strings.Join(parts[:i], "/"), parts[i+1:]
		}
	}
	return prefix, nil
}

const (
	deepest   = 6
	mostAsked = 2000
)

// bases finds the prefixes below which the layout begins.
func (r *run) bases(ctx context.Context, bucket, prefix string, exact bool) ([]string, error) {
	if exact {
		return []string{prefix}, nil
	}
	var out []string
	asked := 0
	var walk func(string, int) error
	walk = func(at string, depth int) error {
		if asked++; asked > mostAsked {
			return errors.New("there are too many folders to look for trails in; give the prefix of the trail")
		}
		below := ""
		if at != "" {
			below = at + "/"
		}
		names, err := r.folders(ctx, bucket, below)
		if err != nil {
			return err
		}
		if slices.Contains(names, layout) {
			out = append(out, at)
		}
		for _, n := range names {
			if n != layout && depth < deepest {
				if err := walk(below+n, depth+1); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return out, walk(prefix, 0)
}

// folders lists the folders right below a prefix that ends with a slash, by jumping from one to the next.
func (r *run) folders(ctx context.Context, bucket, prefix string) ([]string, error) {
	var out []string
	after, most := "", 1
	for {
		objects, more, err := r.Source.List(ctx, bucket, prefix, after, most)
		if err != nil {
			return nil, err
		}
		jumped := false
		for _, o := range objects {
			after = o.Key
			if name, _, isDir := strings.Cut(strings.TrimPrefix(o.Key, prefix), "/"); isDir {
				if name != "" {
					out = append(out, name)
				}
				after = prefix + name + "/\U0010FFFF"
				jumped = true
				break
			}
		}
		switch {
		case jumped:
			most = 1
		case !more || len(objects) == 0:
			return out, nil
		default:
			most = pageSize // objects among the folders
		}
	}
}

// below finds the places of one layout. filter is what the root said below it.
func (r *run) below(ctx context.Context, bucket, base string, filter []string) ([]placeID, error) {
	root := layout + "/"
	if base != "" {
		root = base + "/" + root
	}
	at := func(i int) string {
		if i < len(filter) {
			return filter[i]
		}
		return ""
	}
	list := func(prefix, one string) ([]string, error) {
		if one != "" {
			return []string{one}, nil
		}
		return r.folders(ctx, bucket, prefix)
	}
	var out []placeID
	accounts := func(org string, from int) error {
		prefix := root
		if org != "" {
			prefix += org + "/"
		}
		names, err := list(prefix, at(from))
		if err != nil {
			return err
		}
		for _, account := range names {
			if !isAccount(account) || len(r.Accounts) > 0 && !slices.Contains(r.Accounts, account) {
				continue
			}
			if kind := at(from + 1); kind != "" && kind != "CloudTrail-Digest" && kind != "CloudTrail" {
				continue
			}
			regions, err := list(prefix+account+"/CloudTrail-Digest/", at(from+2))
			if err != nil {
				return err
			}
			for _, region := range regions {
				if len(r.Regions) == 0 || slices.Contains(r.Regions, region) {
					out = append(out, placeID{bucket, base, org, account, region})
				}
			}
		}
		return nil
	}
	first, err := list(root, at(0))
	if err != nil {
		return nil, err
	}
	plain := false
	for _, name := range first {
		switch {
		case isAccount(name):
			plain = true
		case strings.HasPrefix(name, "o-") && (r.Organization == "" || r.Organization == name):
			if err := accounts(name, 1); err != nil {
				return nil, err
			}
		}
	}
	if plain && r.Organization == "" {
		return out, accounts("", 0)
	}
	return out, nil
}

func isAccount(text string) bool {
	return len(text) == 12 && strings.Trim(text, "0123456789") == ""
}

// logJob is a log file to read.
type logJob struct {
	finding *Finding
	slot    *slot
	vouched bool
}

// work reads log files until there are no more.
func (r *run) work(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case j, ok := <-r.logs:
			if !ok {
				return nil
			}
			r.log(ctx, j)
			j.slot.done()
		}
	}
}

// sealBroken reports whether an object that its bucket encrypts was changed, so that nothing of it can be read.
func sealBroken(err error) bool {
	return errors.Is(err, blob.ErrTampered) || err != nil && blob.Code(err) == blob.CodeTampered
}

// log reads one log file and judges it.
func (r *run) log(ctx context.Context, j *logJob) {
	f := j.finding
	c, _, err := r.pools.read(ctx, r.Source, f.Bucket, f.Key, nil, mostContent)
	f.Size, f.Stored, f.Hash, f.StoredBy = c.size, c.stored, c.hash, c.rawHash
	var format formatError
	switch {
	case errors.As(err, &format):
		f.Code, f.Level, f.Reason = LogUnreadable, Invalid, "it is not one whole gzip member: "+format.Error()
	case errors.Is(err, blob.ErrNoKey):
		f.Code, f.Level, f.Reason = LogMissing, Invalid, "it is not there"
	case sealBroken(err):
		f.Code, f.Level, f.Reason = LogModified, Invalid, "it is encrypted, and does not open: "+err.Error()
	case err != nil:
		f.Code, f.Level, f.Reason = LogFailed, Unchecked, err.Error()
	case !strings.EqualFold(f.Hash, f.Listed):
		f.Code, f.Level, f.Reason = LogModified, Invalid, fmt.Sprintf("its SHA-256 is %s, its digest lists %.64s", f.Hash, f.Listed)
	case !j.vouched:
		f.Code, f.Level, f.Reason = LogUnvouched, Unchecked, "its hash is the one that its digest lists, and nothing vouches for that digest"
	default:
		f.Code, f.Level = LogValid, OK
	}
	r.Progress.Logs.Add(1)
	r.Progress.Bytes.Add(f.Size)
	r.Progress.Stored.Add(f.Stored)
}
