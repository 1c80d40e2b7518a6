package trail

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"spoor/internal/statefile"
)

// Book keeps trails. Its methods may be called concurrently.
type Book struct {
	o    Options
	file *statefile.File[file]
	turn chan struct{} // held while a trail is made or updated, so that what was checked is what is kept
	org  atomic.Pointer[Organization]

	mu      sync.Mutex      // guards what follows; changes of the file do not take it
	pending map[string]bool // epochs whose calls are not recorded yet
	changed chan struct{}   // closed when Deliverable has another answer
}

// Open opens the book in a folder, which is made when it is missing and locked until [Book.Close].
func Open(ctx context.Context, dir string, o Options) (*Book, error) {
	if !accountForm.MatchString(o.Account) || !regionForm.MatchString(o.Region) {
		return nil, fmt.Errorf("open the trails: %.40q in %.40q is no account in a Region", o.Account, o.Region)
	}
	if o.Partition == "" {
		o.Partition = "aws"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Position == nil {
		o.Position = func(context.Context) (uint64, error) { return 0, nil }
	}
	b := &Book{o: o, turn: make(chan struct{}, 1), pending: map[string]bool{}, changed: make(chan struct{})}
	b.org.Store(&o.Organization)
	var err error
	b.file, err = statefile.Open(ctx, dir, b.stateOptions())
	if err != nil {
		return nil, err
	}
	// Whether the calls of epochs that wait were recorded, nobody knows any more; what they changed is in force.
	if err := b.settle(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open the trails: %w", err), b.file.Close(nil))
	}
	return b, nil
}

func (b *Book) stateOptions() statefile.Options[file] {
	return statefile.Options[file]{
		What: "the trails", Document: document(), Decode: decodeState, New: newState, Clone: (*file).clone, Check: (*file).check,
		Encode: func(f *file) ([]byte, error) { return f.encode(b.now()) }, Locked: ErrLocked, Closed: ErrClosed, Wait: b.o.Wait, Log: b.o.Log,
	}
}

// Look gives the trails of the book in a folder, of all accounts, as they lie there: it locks and changes nothing, so that another
// process may have the book. partition may be empty. The error is [fs.ErrNotExist] where there is no book.
func Look(dir, partition string) ([]Info, error) {
	b := &Book{o: Options{Partition: cmp.Or(partition, "aws"), Now: time.Now}}
	var err error
	if b.file, err = statefile.Look(dir, b.stateOptions()); err != nil {
		return nil, err
	}
	return b.list(b.file.Get(), func(t *entry) bool { return !t.deleted() }), nil
}

// Close ends the book.
func (b *Book) Close() error { return b.file.Close(nil) }

// now is the time of changes, in whole seconds as answers have it.
func (b *Book) now() time.Time { return b.o.Now().UTC().Truncate(time.Second) }

// Change is a change that is made, and that is not in force for deliveries before its call is recorded. One of its methods is
// called, once.
type Change struct {
	b     *Book
	undo  statefile.Undo
	epoch string // empty when deliveries are not changed
}

// Undo takes the change back, as if it had never been. What it may say is logged too.
func (c *Change) Undo() error {
	err := c.undo()
	return errors.Join(err, c.b.decided(context.Background(), c.epoch)) // others may have waited for this one
}

// Recorded tells that the record of the call is in the journal: the change counts for what comes behind it. An error means that
// it is in force later; it is logged too.
func (c *Change) Recorded(ctx context.Context) error { return c.b.decided(ctx, c.epoch) }

// decided tells that an epoch is there to stay, or gone.
func (b *Book) decided(ctx context.Context, id string) error {
	if id == "" {
		return nil
	}
	b.mu.Lock()
	delete(b.pending, id)
	b.mu.Unlock()
	return b.settle(ctx)
}

// change applies fn to the state, which gives what it changed. fn may be called again, on other states, and must do the same
// then. id is that of the epoch that it may make.
func change[T any](b *Book, id string, fn func(f *file, now time.Time) (T, error)) (changed T, _ *Change, _ error) {
	now := b.now()
	b.mu.Lock()
	b.pending[id] = true
	b.mu.Unlock()
	var once sync.Once
	undo, err := b.file.Change(func(f *file) error {
		v, err := fn(f, now)
		once.Do(func() { changed = v })
		return err
	})
	if err != nil || !b.file.Get().has(id) {
		b.mu.Lock()
		delete(b.pending, id)
		b.mu.Unlock()
		id = ""
	}
	if err != nil {
		return changed, nil, err
	}
	return changed, &Change{b, undo, id}, nil
}

// has reports whether there is an epoch.
func (f *file) has(id string) bool {
	return slices.ContainsFunc(f.Trails, func(t entry) bool {
		return slices.ContainsFunc(t.Epochs, func(e epoch) bool { return e.ID == id })
	})
}

// newEpoch is an id.
func newEpoch() string { return uuid.NewString() }

// settle puts epochs into force whose calls are recorded, and that no other one of their trail has to precede. They begin where
// the journal ends now: deliveries have decided nothing behind it, and the records of their calls are before it.
func (b *Book) settle(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.file.Get()
	ready := map[string]bool{}
	for i := range f.Trails {
		t := &f.Trails[i]
		for _, e := range t.Epochs[f.over(t):] {
			if b.pending[e.ID] {
				break
			}
			ready[e.ID] = true
		}
	}
	if len(ready) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	at, err := b.o.Position(ctx)
	if err == nil {
		err = b.file.Amend(func(f *file) bool {
			for id := range ready {
				f.settled[id] = at
			}
			return true
		})
	}
	if err != nil {
		b.o.Log.Error("changes of trails are not in force yet", slog.Int("changes", len(ready)), slog.Any("error", err))
		return fmt.Errorf("put changes of trails into force: %w", err)
	}
	b.notify()
	return nil
}

const settleTime = 10 * time.Second

// over is how many epochs are settled, or have settled ones behind them.
func (f *file) over(t *entry) int {
	for k := len(t.Epochs) - 1; k >= 0; k-- {
		if _, ok := f.settled[t.Epochs[k].ID]; ok {
			return k + 1
		}
	}
	return 0
}

// notify tells that Deliverable has another answer. The caller has mu.
func (b *Book) notify() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// SetOrganization replaces the organisation. What trails of it took is theirs.
func (b *Book) SetOrganization(o Organization) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.org.Store(&o)
	b.notify()
}

func (b *Book) organization() Organization { return *b.org.Load() }

// in are the epochs in force, and whether the trail ended with the last one. One that is not settled, and has a settled one behind
// it, is over.
func (f *file) in(t *entry) (out []Epoch, ended bool) {
	for _, e := range t.Epochs {
		after, ok := f.settled[e.ID]
		if !ok {
			continue
		}
		if n := len(out); n > 0 && out[n-1].After == after {
			out = out[:n-1] // which no entry belongs to
		}
		out, ended = append(out, Epoch{After: after, At: e.At, Settings: e.Settings}), e.End
	}
	return out, ended
}

// Deliverable gives the trails that deliveries are for, and a channel that is closed when they have changed. An epoch is among
// them when the call that made it is recorded, and is never taken back. For an entry of the journal that was read before the call,
// or before a look at the channel that found it open, no epoch is missing: those that come later begin behind it.
func (b *Book) Deliverable() ([]Trail, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.file.Get()
	var out []Trail
	for i := range f.Trails {
		t := &f.Trails[i]
		epochs, ended := f.in(t)
		if len(epochs) == 0 {
			continue
		}
		out = append(out, Trail{
			ARN: b.arn(t), Name: t.Name, Account: t.Account, HomeRegion: t.Region, OrganizationID: t.OrganizationID, Accounts: b.organization().accounts(t),
			Epochs: epochs, Deleted: ended,
		})
	}
	return out, b.changed
}

// accounts are those whose events a trail takes.
func (o Organization) accounts(t *entry) []string {
	all := []string{t.Account}
	if t.OrganizationID != "" && t.OrganizationID == o.ID {
		all = append(all, o.Accounts...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Delivered tells that everything up to a sequence is settled: epochs before it, and trails that were deleted, are forgotten.
func (b *Book) Delivered(seq uint64) error {
	if err := b.settle(context.Background()); err != nil { // what could not be, at its time
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.file.Get()
	after := now.clone()
	if !after.forget(seq) {
		return nil
	}
	gone := maps.Clone(now.settled)
	maps.DeleteFunc(gone, func(id string, _ uint64) bool { return after.has(id) })
	if err := b.file.Amend(func(f *file) bool {
		f.forget(seq)
		maps.DeleteFunc(f.settled, func(id string, _ uint64) bool { _, ok := gone[id]; return ok })
		return true
	}); err != nil {
		return fmt.Errorf("forget what was delivered: %w", err)
	}
	b.notify()
	return nil
}

// forget drops epochs that are over up to a sequence, and trails that ended with one of them.
func (f *file) forget(seq uint64) (dropped bool) {
	kept := f.Trails[:0:0]
	for _, t := range f.Trails {
		first := 0
		for k, e := range t.Epochs {
			if after, ok := f.settled[e.ID]; ok && after <= seq {
				first = k
			}
		}
		after, ok := f.settled[t.Epochs[first].ID]
		switch {
		case t.deleted() && first == len(t.Epochs)-1 && ok && after <= seq:
			dropped = true
			continue
		case first > 0:
			t.Epochs, dropped = slices.Clone(t.Epochs[first:]), true
		}
		kept = append(kept, t)
	}
	f.Trails = kept
	return dropped
}

func (b *Book) arn(t *entry) string {
	return ARN{b.o.Partition, t.Region, t.Account, t.Name}.String()
}
