// Package keyring keeps keys: those of customers as AWS KMS has them, under which data keys are wrapped, and what other parts
// seal with the master key. Keys never leave it in the clear but as data keys.
//
// A key has materials, the last of which encrypts; the others open what they once closed. Materials lie in the state sealed with
// the master key, and what they wrap names key and material, so that it opens as long as the key is there. Who may use a key is
// for the callers to ask: a key has a policy, which [Ring.Policy] gives.
//
// The state is one file in a folder; docs/formats/keyring.md describes it, and what wrapped keys look like.
package keyring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"spoor/internal/policy"
	"spoor/internal/seal"
	"spoor/internal/statefile"
)

var (
	// ErrNotFound is returned for a key or an alias that is not there, ErrDisabled for a key that is switched off, ErrPending for
	// one that is about to be deleted, ErrDenied where the key's policy does not let the principal, ErrCiphertext for what this
	// ring did not wrap, or wrapped with another encryption context.
	ErrNotFound   = errors.New("the key is not there")
	ErrDisabled   = errors.New("the key is disabled")
	ErrPending    = errors.New("the key is about to be deleted")
	ErrDenied     = errors.New("the key's policy does not allow it")
	ErrCiphertext = errors.New("it was not encrypted with a key of this ring in this encryption context")

	// ErrExists is returned for an alias that is there already, ErrLimit where there are too many, ErrInvalid for what is not of the
	// form, ErrPolicy for a policy that is not, ErrState for a change that the state of the key does not allow.
	ErrExists  = errors.New("exists already")
	ErrLimit   = errors.New("too many")
	ErrInvalid = errors.New("not valid")
	ErrPolicy  = errors.New("the policy is not valid")
	ErrState   = errors.New("the state of the key does not allow it")

	// ErrLocked is returned by Open for a ring that another process has, ErrDamaged for a state that is not of the form, ErrNewer for
	// one of a newer version, ErrMaster where the master key is missing or another one. ErrClosed is returned after Close.
	ErrLocked  = errors.New("the key ring is in use")
	ErrDamaged = errors.New("damaged")
	ErrNewer   = errors.New("written by a newer program")
	ErrMaster  = errors.New("the master key is not the one of the key ring")
	ErrClosed  = errors.New("the key ring is closed")
)

// Options of Open.
type Options struct {
	Account, Region, Partition string
	Master                     []byte           // 32 bytes; without it a file beside the ring holds them, made when it is missing
	Now                        func() time.Time // default [time.Now]
	Log                        *slog.Logger     // default discards
	External                   External         // keys that are not of this ring; nil for none
	Wait                       time.Duration    // how long a lock is waited for that another process has
}

// External is a service with keys of its own. Its errors are those of this package where they mean the same.
type External interface {
	// GenerateDataKey makes a data key of 32 bytes under a key.
	GenerateDataKey(ctx context.Context, keyARN string, encryptionContext map[string]string) (DataKey, error)
	// Decrypt gives back what was wrapped under a key.
	Decrypt(ctx context.Context, keyARN string, wrapped []byte, encryptionContext map[string]string) ([]byte, error)
}

// MasterFile is the name of the file of the master key in the folder of a ring.
const MasterFile = "master.key"

// StateFile is the name of the file of the state there.
const StateFile = statefile.Name

const (
	masterLabel   = "spoor keyring master v1 "
	rootLabel     = "spoor keyring root v1 "
	materialLabel = "spoor keyring material v1 "
	ownLabel      = "spoor keyring own v1 "
)

// Purposes of what is sealed in the state: the root with the master key, the others with the root.
const (
	forRoot     = "root"
	forMaterial = "material"
	forOwn      = "own"
)

// Ring is an open key ring. Its methods may be called concurrently.
type Ring struct {
	o     Options
	dir   string
	state *statefile.File[file]
	own   *seal.Key // that [Ring.Seal] uses
	look  bool      // it is another process's: nothing is written
	due   atomic.Pointer[plan]

	rewrap sync.Mutex // held by Rewrap

	mu   sync.Mutex
	keys map[string]*seal.Key // of materials, by their ids
}

// Open opens the ring in a folder, and makes it when it is not there. It is locked until Close.
func Open(ctx context.Context, dir string, o Options) (_ *Ring, err error) {
	if o.Partition == "" {
		o.Partition = "aws"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if !accountID.MatchString(o.Account) || !regionName.MatchString(o.Region) {
		return nil, fmt.Errorf("open the key ring: account %.40q and Region %.40q: %w", o.Account, o.Region, ErrInvalid)
	}
	r := &Ring{o: o, dir: dir, keys: map[string]*seal.Key{}}
	r.state, err = statefile.Open(ctx, dir, r.stateOptions())
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.state.Close(nil))
		}
	}()
	f := r.state.Get()
	if f.MasterKey == "" { // a new ring
		if f, err = r.begin(); err != nil {
			return nil, err
		}
	}
	own, err := f.root.Open(forOwn, "", f.Own)
	if err != nil {
		return nil, fmt.Errorf("open the key ring in %s: %w: its own key: %w", dir, ErrDamaged, err)
	}
	if r.own, err = seal.New(own, ownLabel); err != nil {
		return nil, err
	}
	for _, k := range f.Keys {
		for _, m := range k.Materials {
			if _, err := r.material(f, k, m.ID); err != nil {
				return nil, fmt.Errorf("open the key ring in %s: %w: key %s: %w", dir, ErrDamaged, k.ID, err)
			}
		}
	}
	return r, r.maintain()
}

func (r *Ring) stateOptions() statefile.Options[file] {
	return statefile.Options[file]{
		What: "the key ring", Document: document(), Decode: r.decode, New: newState, Clone: (*file).clone, Check: (*file).check,
		Encode: (*file).encode, Locked: ErrLocked, Closed: ErrClosed, Wait: r.o.Wait, Log: r.o.Log,
	}
}

// decode reads a state, and opens its root.
func (r *Ring) decode(b []byte) (*file, error) {
	f, err := decodeState(b)
	if err != nil || f.MasterKey == "" {
		return f, err
	}
	master, err := r.findMaster(f.MasterKey)
	if err != nil {
		return nil, err
	}
	root, err := master.Open(forRoot, "", f.Root)
	if err != nil {
		return nil, fmt.Errorf("%w: its root: %w", ErrDamaged, err)
	}
	f.root, err = seal.New(root, rootLabel)
	return f, err
}

// begin gives a new ring what it needs.
func (r *Ring) begin() (*file, error) {
	master, err := r.findMaster("")
	if err != nil {
		return nil, err
	}
	secret := seal.Random()
	sealed, err := master.Seal(forRoot, "", secret)
	if err != nil {
		return nil, err
	}
	root, err := seal.New(secret, rootLabel)
	if err != nil {
		return nil, err
	}
	own, err := root.Seal(forOwn, "", seal.Random())
	if err != nil {
		return nil, err
	}
	err = r.state.Amend(func(f *file) bool {
		f.MasterKey, f.Root, f.Own, f.root = master.ID(), sealed, own, root
		return true
	})
	return r.state.Get(), err
}

// findMaster gives the master key with an id; without one, the ring is new, and any will do.
func (r *Ring) findMaster(id string) (*seal.Key, error) {
	path := filepath.Join(r.dir, MasterFile)
	if r.o.Master != nil {
		k, err := seal.New(r.o.Master, masterLabel)
		if err != nil {
			return nil, fmt.Errorf("open the key ring in %s: %w", r.dir, err)
		}
		if id != "" && k.ID() != id {
			return nil, ErrMaster
		}
		return k, nil
	}
	k, from, err := seal.FindMaster(path, masterLabel, id)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMaster, err)
	}
	if k != nil && r.look {
		return k, nil
	}
	if k != nil {
		return k, seal.SettleMaster(path, from)
	}
	if id != "" {
		return nil, fmt.Errorf("%w: %s is missing or holds another one", ErrMaster, path)
	}
	master := seal.Random()
	if err := seal.WriteMaster(path, master); err != nil {
		return nil, err
	}
	return seal.New(master, masterLabel)
}

// Close ends the ring.
func (r *Ring) Close() error { return r.state.Close(nil) }

// Rewrap replaces the master key, and the root that it seals: all that lies in the state is sealed anew. What keys wrapped and what
// Seal made opens as before. newMaster has 32 bytes; nil makes one, where the ring has its master key from the file beside it. That
// file has the new one then; a ring that was given its master key has to be given the new one when it is opened again. After an
// error or a crash the old one counts, or, when all but the last step was done, the new one: the file beside the ring fits anyhow.
func (r *Ring) Rewrap(ctx context.Context, newMaster []byte) error {
	r.rewrap.Lock()
	defer r.rewrap.Unlock()
	if newMaster == nil {
		if r.o.Master != nil {
			return fmt.Errorf("replace the master key: %w: the ring was given one, and has to be given the new one too", ErrInvalid)
		}
		newMaster = seal.Random()
	}
	return r.replace(ctx, newMaster, r.o.Master == nil)
}

// Detach is Rewrap for a master key that is kept elsewhere from then on, where it lies already when this is called: the ring has to be
// given it. The file beside the ring is removed at the end, unless it holds that key. After a crash the ring opens with the old
// master key or with the new one; called with the new one on a ring that has it, this does what was left to do.
func (r *Ring) Detach(ctx context.Context, newMaster []byte) error {
	r.rewrap.Lock()
	defer r.rewrap.Unlock()
	master, err := seal.New(newMaster, masterLabel)
	if err != nil {
		return fmt.Errorf("replace the master key: %w: %w", ErrInvalid, err)
	}
	if r.state.Get().MasterKey != master.ID() {
		if err := r.replace(ctx, newMaster, false); err != nil {
			return err
		}
	}
	r.o.Master = newMaster
	path := filepath.Join(r.dir, MasterFile)
	if k, _, err := seal.FindMaster(path, masterLabel, master.ID()); err != nil || k != nil {
		return err // also a file that cannot be read is not removed
	}
	for _, p := range []string{path, seal.NextMaster(path)} {
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove the old master key: %w", err)
		}
	}
	return syncDir(r.dir)
}

// replace is Rewrap, with the new master key in the file beside the ring or not. The caller holds rewrap.
func (r *Ring) replace(ctx context.Context, newMaster []byte, beside bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	master, err := seal.New(newMaster, masterLabel)
	if err != nil {
		return fmt.Errorf("replace the master key: %w: %w", ErrInvalid, err)
	}
	secret := seal.Random()
	sealed, err := master.Seal(forRoot, "", secret)
	if err != nil {
		return fmt.Errorf("replace the master key: %w", err)
	}
	root, err := seal.New(secret, rootLabel)
	if err != nil {
		return fmt.Errorf("replace the master key: %w", err)
	}
	path := filepath.Join(r.dir, MasterFile)
	if beside {
		if err := seal.WriteMaster(seal.NextMaster(path), newMaster); err != nil {
			return fmt.Errorf("replace the master key: %w", err)
		}
	}
	// What may be taken back to is sealed anew too, else it would not open any more.
	var failed error
	err = r.state.Amend(func(f *file) bool {
		if failed == nil {
			failed = f.reseal(root)
		}
		if failed != nil {
			return false
		}
		f.MasterKey, f.Root = master.ID(), sealed
		return true
	})
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("replace the master key: %w", err)
	}
	if beside {
		return seal.SettleMaster(path, seal.NextMaster(path))
	}
	return nil
}

// Ref is where a key is referred to: an account in a Region.
type Ref struct{ Account, Region string }

var (
	accountID  = regexp.MustCompile(`^[0-9]{12}$`)
	regionName = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
	keyARN     = regexp.MustCompile(`^arn:(aws[a-z-]*):kms:([a-z0-9-]{1,32}):([0-9]{12}):(key|alias)/([A-Za-z0-9:/_-]{1,256})$`)
)

// place is a key's or an alias's ARN in its parts.
type place struct {
	Ref
	partition, kind, name string
}

func parseARN(arn string) (place, bool) {
	m := keyARN.FindStringSubmatch(arn)
	if m == nil {
		return place{}, false
	}
	return place{Ref: Ref{Account: m[3], Region: m[2]}, partition: m[1], kind: m[4], name: m[5]}, true
}

func (r *Ring) arn(ref Ref, kind, name string) string {
	return "arn:" + r.o.Partition + ":kms:" + ref.Region + ":" + ref.Account + ":" + kind + "/" + name
}

// external reports whether a key is not of this ring: none that could be here.
func (r *Ring) external(p place) bool {
	if r.o.External == nil || p.Account == r.o.Account && p.Region == r.o.Region && p.partition == r.o.Partition {
		return false
	}
	_, here := r.state.Get().key(p.name)
	return !here
}

// Resolve gives the ARN of the key that id means: a key id, a key's ARN, alias/NAME, or an alias's ARN. The key of an external
// service is meant by ARN alone, and nobody knows whether it is there.
func (r *Ring) Resolve(ref Ref, id string) (arn string, err error) {
	p, isARN := parseARN(id)
	if name, isAlias := strings.CutPrefix(id, "alias/"); !isARN {
		p = place{Ref: ref, partition: r.o.Partition, kind: "key", name: id}
		if isAlias {
			p.kind, p.name = "alias", name
		}
	}
	if p.kind == "alias" {
		a, ok := r.state.Get().alias(p.Ref, p.name)
		switch {
		case ok && p.partition == r.o.Partition:
			return r.Resolve(p.Ref, a.Key)
		case isARN && r.external(p):
			return id, nil
		}
		return "", &Error{ErrNotFound, "Alias " + r.arn(p.Ref, "alias", p.name) + " is not found."}
	}
	if isARN && r.external(p) {
		return id, nil
	}
	_, k, err := r.find("arn:" + p.partition + ":kms:" + p.Region + ":" + p.Account + ":key/" + p.name)
	if err != nil {
		return "", err
	}
	return r.keyARN(k), nil
}

// Error is one of the errors above in words for a caller, which are those of AWS where it has them.
type Error struct {
	Kind error
	Text string
}

// Error implements error.
func (e *Error) Error() string { return e.Text }

// Unwrap returns what it is.
func (e *Error) Unwrap() error { return e.Kind }

func (r *Ring) keyARN(k *fileKey) string { return r.arn(Ref{k.Account, k.Region}, "key", k.ID) }

// find finds a key by its ARN, and the state that it is of. One whose time has come is not there any more.
func (r *Ring) find(arn string) (*file, *fileKey, error) {
	p, ok := parseARN(arn)
	if ok && p.kind == "key" && p.partition == r.o.Partition {
		if err := r.maintain(); err != nil {
			return nil, nil, err
		}
		f := r.state.Get()
		if k, ok := f.key(p.name); ok && k.Account == p.Account && k.Region == p.Region {
			return f, k, nil
		}
	}
	return nil, nil, notFound(arn)
}

func notFound(arn string) error { return &Error{ErrNotFound, "Key '" + arn + "' does not exist"} }

// usable finds a key that can encrypt and decrypt.
func (r *Ring) usable(arn string) (*file, *fileKey, error) {
	f, k, err := r.find(arn)
	switch {
	case err != nil:
		return nil, nil, err
	case !k.Deletion.IsZero():
		return nil, nil, &Error{ErrPending, arn + " is pending deletion."}
	case !k.Enabled:
		return nil, nil, &Error{ErrDisabled, arn + " is disabled."}
	}
	return f, k, nil
}

// DataKey is a key for data. Who has the plaintext forgets it after use.
type DataKey struct {
	KeyARN    string
	Plaintext []byte // 32 bytes
	Wrapped   []byte
}

// Allowed asks the policy of a key alone. Nobody here knows that of an external key: a service is told that it is allowed, and
// others that it is for their account, and the external service decides.
func (r *Ring) Allowed(keyARN, action string, by policy.Principal, conditions map[string][]string) (policy.Effect, error) {
	if p, ok := parseARN(keyARN); ok && r.external(p) {
		switch {
		case by.Service != "":
			return policy.Allow, nil
		case by.Anonymous:
			return policy.None, nil
		}
		return policy.Delegate, nil
	}
	_, k, err := r.find(keyARN)
	if err != nil {
		return policy.None, err
	}
	e, _ := k.doc.Evaluate(policy.Request{Principal: by, Action: action, Resource: keyARN, Conditions: conditions})
	return e, nil
}

// Policy gives the account of a key and its policy, which is nil for external keys.
func (r *Ring) Policy(keyARN string) (owner string, doc *policy.Document, err error) {
	p, ok := parseARN(keyARN)
	if ok && r.external(p) {
		return p.Account, nil, nil
	}
	_, k, err := r.find(keyARN)
	if err != nil {
		return "", nil, err
	}
	return k.Account, k.doc, nil
}

// External reports whether a key is one of the external service.
func (r *Ring) External(keyARN string) bool {
	p, ok := parseARN(keyARN)
	return ok && r.external(p)
}

// GenerateDataKey makes a data key under a key, bound to an encryption context. Nobody's permission is asked.
func (r *Ring) GenerateDataKey(ctx context.Context, keyARN string, encryptionContext map[string]string) (DataKey, error) {
	if p, ok := parseARN(keyARN); ok && r.external(p) {
		d, err := r.o.External.GenerateDataKey(ctx, keyARN, encryptionContext)
		if err != nil {
			return DataKey{}, fmt.Errorf("generate a data key: %w", err)
		}
		d.Wrapped = appendExternal(nil, keyARN, d.Wrapped)
		return d, nil
	}
	d := DataKey{KeyARN: keyARN, Plaintext: seal.Random()}
	var err error
	d.Wrapped, err = r.Encrypt(ctx, keyARN, d.Plaintext, encryptionContext)
	return d, err
}

// Unwrap gives back a data key. Nobody's permission is asked.
func (r *Ring) Unwrap(ctx context.Context, wrapped []byte, encryptionContext map[string]string) (DataKey, error) {
	if arn, inner, ok := cutExternal(wrapped); ok {
		if r.o.External == nil {
			return DataKey{}, fmt.Errorf("unwrap a data key of %s: %w: no external service is configured", arn, ErrNotFound)
		}
		text, err := r.o.External.Decrypt(ctx, arn, inner, encryptionContext)
		if err != nil {
			return DataKey{}, fmt.Errorf("unwrap a data key: %w", err)
		}
		return DataKey{KeyARN: arn, Plaintext: text, Wrapped: wrapped}, nil
	}
	text, arn, err := r.Decrypt(ctx, wrapped, encryptionContext)
	return DataKey{KeyARN: arn, Plaintext: text, Wrapped: wrapped}, err
}

// KeyOf tells under which key something was wrapped, without opening it: the key may be gone.
func (r *Ring) KeyOf(wrapped []byte) (arn string, err error) {
	if arn, _, ok := cutExternal(wrapped); ok {
		return arn, nil
	}
	b, ok := parseBlob(wrapped)
	if !ok {
		return "", ErrCiphertext
	}
	k, ok := r.state.Get().key(b.key.String())
	if !ok {
		return "", ErrCiphertext
	}
	return r.keyARN(k), nil
}

// Seal makes of a secret of another part what that part may keep in a file; purpose separates uses from one another. It opens
// also after the master key was replaced.
func (r *Ring) Seal(purpose string, secret []byte) ([]byte, error) {
	if strings.ContainsRune(purpose, 0) {
		return nil, fmt.Errorf("seal: %w: the purpose has a zero byte", ErrInvalid)
	}
	return r.own.Seal(purpose, "", secret)
}

// Unseal gives back what Seal made for the same purpose.
func (r *Ring) Unseal(purpose string, sealed []byte) ([]byte, error) {
	text, err := r.own.Open(purpose, "", sealed)
	if err != nil {
		return nil, fmt.Errorf("unseal: %w", ErrCiphertext)
	}
	return text, nil
}
