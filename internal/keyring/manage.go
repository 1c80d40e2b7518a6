package keyring

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"spoor/internal/policy"
	"spoor/internal/seal"
	"spoor/internal/statefile"
	"spoor/internal/tag"
)

// Undo takes a change back, as if it had never been; see [statefile.Undo].
type Undo = statefile.Undo

// Key is what can be told of a key.
type Key struct {
	ARN         string
	ID          string
	Ref         Ref
	Description string
	Created     time.Time
	Enabled     bool
	Deletion    time.Time // when it is deleted; zero for one that is not about to be
	Tags        []tag.Tag // by key
	PolicyText  string
	Rotation    int       // days between automatic rotations; 0 for none
	Next        time.Time // when the next one is
	Material    string    // id of that which encrypts
	Materials   int       // how many there are: one, and one for every rotation
	Aliases     []string  // alias/NAME
}

// Material is what a key encrypts with, or did.
type Material struct {
	ID       string
	Made     time.Time
	OnDemand bool // why it was made, but for the first
}

// Alias is another name of a key.
type Alias struct {
	Name, ARN        string // alias/NAME
	KeyID            string
	Created, Updated time.Time
}

// newMaterial is a secret that is not in a state yet.
type newMaterial struct {
	id       string
	secret   []byte
	made     time.Time
	onDemand bool
}

func makeMaterial(now time.Time, onDemand bool) newMaterial {
	id := make([]byte, materialLen)
	_, _ = rand.Read(id) // never fails
	return newMaterial{id: hex.EncodeToString(id), secret: seal.Random(), made: now, onDemand: onDemand}
}

func (r *Ring) now() time.Time { return r.o.Now().UTC().Truncate(time.Millisecond) }

// plan is when something is due next in a state.
type plan struct {
	of  *file
	due time.Time // zero for never
}

// next gives when something is due.
func (r *Ring) next() time.Time {
	f := r.state.Get()
	if p := r.due.Load(); p != nil && p.of == f {
		return p.due
	}
	var due time.Time
	at := func(t time.Time) {
		if due.IsZero() || t.Before(due) {
			due = t
		}
	}
	for _, k := range f.Keys {
		switch {
		case !k.Deletion.IsZero():
			at(k.Deletion)
		case k.rotates():
			at(k.Next)
		}
	}
	r.due.Store(&plan{f, due})
	return due
}

func (k *fileKey) rotates() bool {
	return k.Rotation != 0 && k.Enabled && k.Deletion.IsZero() && len(k.Materials) < maxMaterials
}

// maintain does what is due: rotations and deletions. There is no way back from them.
func (r *Ring) maintain() error {
	if r.look {
		return nil // whoever has the ring does it
	}
	now := r.now()
	if due := r.next(); due.IsZero() || now.Before(due) {
		return nil
	}
	made := map[string]newMaterial{} // the same in all states that may be gone back to
	var failed error
	err := r.state.Amend(func(f *file) bool {
		changed := false
		for _, k := range slices.Clone(f.Keys) {
			if !k.Deletion.IsZero() && !now.Before(k.Deletion) {
				f.remove(k.ID)
				changed = true
				continue
			}
			if !k.rotates() || now.Before(k.Next) {
				continue
			}
			m, ok := made[k.ID]
			if !ok {
				m = makeMaterial(now, false)
				made[k.ID] = m
			}
			c := k.clone()
			if err := f.add(c, m); err != nil {
				failed = err
				continue
			}
			c.Next = now.AddDate(0, 0, k.Rotation)
			f.put(c)
			changed = true
		}
		return changed
	})
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("rotate and delete keys: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.keys) // what was deleted is not kept
	return nil
}

// change applies fn to the state.
func (r *Ring) change(fn func(f *file) error) (Undo, error) {
	if err := r.maintain(); err != nil {
		return nil, err
	}
	return r.state.Change(fn)
}

// changeKey applies fn to a copy of a key.
func (r *Ring) changeKey(arn string, pending bool, fn func(f *file, k *fileKey) error) (Key, Undo, error) {
	p, _ := parseARN(arn)
	undo, err := r.change(func(f *file) error {
		k, ok := f.key(p.name)
		if !ok || r.keyARN(k) != arn {
			return notFound(arn)
		}
		if !pending && !k.Deletion.IsZero() {
			return &Error{ErrPending, arn + " is pending deletion."}
		}
		c := k.clone()
		if err := fn(f, c); err != nil {
			return err
		}
		f.put(c)
		return nil
	})
	if err != nil {
		return Key{}, nil, err
	}
	k, err := r.Key(arn)
	return k, undo, err
}

// Spec says what key to make.
type Spec struct {
	Description string
	Policy      []byte // nil for the default: the account's own policies decide
	Tags        []tag.Tag
}

// DefaultPolicy is the policy of a key that was given none: it leaves all to the account.
func (r *Ring) DefaultPolicy(account string) []byte {
	type statement struct {
		Sid, Effect string
		Principal   map[string]string
		Action      string
		Resource    string
	}
	b, err := json.MarshalIndent(struct {
		Version, Id string //nolint:revive // as AWS writes it
		Statement   []statement
	}{"2012-10-17", "key-default-1", []statement{{
		"Enable IAM User Permissions", "Allow", map[string]string{"AWS": "arn:" + r.o.Partition + ":iam::" + account + ":root"}, "kms:*", "*",
	}}}, "", "  ")
	if err != nil {
		panic(err) // texts always have a form
	}
	return b
}

// ParsePolicy parses the policy of a key. The error is [ErrPolicy].
func ParsePolicy(text []byte) (*policy.Document, error) {
	doc, err := policy.Parse("kms", text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	return doc, nil
}

func checkDescription(text string) error {
	if utf8.RuneCountInString(text) > maxDescription {
		return fmt.Errorf("description: %w: more than %d characters", ErrInvalid, maxDescription)
	}
	return nil
}

// Create makes a key.
func (r *Ring) Create(ref Ref, spec Spec) (Key, Undo, error) {
	if !accountID.MatchString(ref.Account) || !regionName.MatchString(ref.Region) {
		return Key{}, nil, fmt.Errorf("make a key: account %.40q and Region %.40q: %w", ref.Account, ref.Region, ErrInvalid)
	}
	if spec.Policy == nil {
		spec.Policy = r.DefaultPolicy(ref.Account)
	}
	doc, err := ParsePolicy(spec.Policy)
	if err != nil {
		return Key{}, nil, err
	}
	if err := checkDescription(spec.Description); err != nil {
		return Key{}, nil, err
	}
	tags := tag.Sorted(spec.Tags)
	if err := tag.Check(tags); err != nil {
		return Key{}, nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return Key{}, nil, fmt.Errorf("make a key: %w", err)
	}
	now := r.now()
	m := makeMaterial(now, false)
	undo, err := r.change(func(f *file) error {
		if len(f.Keys) >= maxKeys {
			return &Error{ErrLimit, fmt.Sprintf("There are %d keys, and more are not kept.", maxKeys)}
		}
		k := &fileKey{ID: id.String(), Account: ref.Account, Region: ref.Region, Description: spec.Description, Created: now, Enabled: true, Tags: tags, Policy: string(spec.Policy), doc: doc}
		if err := f.add(k, m); err != nil {
			return err
		}
		f.put(k)
		return nil
	})
	if err != nil {
		return Key{}, nil, err
	}
	k, err := r.Key(r.arn(ref, "key", id.String()))
	return k, undo, err
}

// Key tells of a key of the ring.
func (r *Ring) Key(arn string) (Key, error) {
	f, k, err := r.find(arn)
	if err != nil {
		return Key{}, err
	}
	return r.tell(f, k), nil
}

func (r *Ring) tell(f *file, k *fileKey) Key {
	out := Key{
		ARN: r.keyARN(k), ID: k.ID, Ref: Ref{k.Account, k.Region}, Description: k.Description, Created: k.Created, Enabled: k.Enabled, Deletion: k.Deletion,
		Tags: slices.Clone(k.Tags), PolicyText: k.Policy, Rotation: k.Rotation, Next: k.Next, Material: k.Materials[len(k.Materials)-1].ID, Materials: len(k.Materials),
	}
	for _, a := range f.Aliases {
		if a.Key == k.ID {
			out.Aliases = append(out.Aliases, "alias/"+a.Name)
		}
	}
	return out
}

// Keys gives ids and ARNs of the keys of an account in a Region, by id.
func (r *Ring) Keys(ref Ref) ([]Key, error) {
	if err := r.maintain(); err != nil {
		return nil, err
	}
	var out []Key
	for _, k := range r.state.Get().Keys {
		if k.Account == ref.Account && k.Region == ref.Region {
			out = append(out, Key{ARN: r.keyARN(k), ID: k.ID, Ref: ref})
		}
	}
	return out, nil
}

// Look gives the keys in the folder of a ring, by account, Region and id, as they lie there: it needs no master key, and locks and
// changes nothing, so that another process may have the ring. Those that are due to be deleted are left out. partition may be empty.
// The error is [os.ErrNotExist] where there is no ring.
func Look(dir, partition string, now time.Time) ([]Key, error) {
	r := &Ring{o: Options{Partition: cmp.Or(partition, "aws")}}
	var f *file
	found, err := document().Read(filepath.Join(dir, StateFile), func(b []byte) (err error) {
		f, err = decodeState(b)
		return err
	})
	if err == nil && !found {
		err = fmt.Errorf("no key ring in %s: %w", dir, os.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	out := []Key{}
	for _, k := range f.Keys {
		if k.Deletion.IsZero() || now.Before(k.Deletion) {
			out = append(out, r.tell(f, k))
		}
	}
	slices.SortStableFunc(out, func(a, b Key) int {
		return cmp.Or(strings.Compare(a.Ref.Account, b.Ref.Account), strings.Compare(a.Ref.Region, b.Ref.Region))
	})
	return out, nil
}

// SetDescription says what a key is for.
func (r *Ring) SetDescription(arn, text string) (Key, Undo, error) {
	if err := checkDescription(text); err != nil {
		return Key{}, nil, err
	}
	return r.changeKey(arn, false, func(_ *file, k *fileKey) error {
		k.Description = text
		return nil
	})
}

// SetEnabled switches a key on or off.
func (r *Ring) SetEnabled(arn string, on bool) (Key, Undo, error) {
	return r.changeKey(arn, false, func(_ *file, k *fileKey) error {
		k.Enabled = on
		return nil
	})
}

// SetPolicy gives a key another policy.
func (r *Ring) SetPolicy(arn string, text []byte) (Key, Undo, error) {
	doc, err := ParsePolicy(text)
	if err != nil {
		return Key{}, nil, err
	}
	return r.changeKey(arn, true, func(_ *file, k *fileKey) error {
		k.Policy, k.doc = string(text), doc
		return nil
	})
}

// SetRotation lets a key rotate every so many days, from now on, or with 0 not any more.
func (r *Ring) SetRotation(arn string, days int) (Key, Undo, error) {
	if days != 0 && (days < MinRotation || days > MaxRotation) {
		return Key{}, nil, fmt.Errorf("rotate every %d days: %w: want %d to %d", days, ErrInvalid, MinRotation, MaxRotation)
	}
	now := r.now()
	return r.changeKey(arn, false, func(_ *file, k *fileKey) error {
		if !k.Enabled {
			return &Error{ErrDisabled, arn + " is disabled."}
		}
		switch {
		case days == 0:
			k.Next = time.Time{}
		case days != k.Rotation:
			k.Next = now.AddDate(0, 0, days)
		}
		k.Rotation = days
		return nil
	})
}

// Rotate gives a key another material now. What the old ones closed opens as before.
func (r *Ring) Rotate(arn string) (Key, Undo, error) {
	m := makeMaterial(r.now(), true)
	return r.changeKey(arn, false, func(f *file, k *fileKey) error {
		if !k.Enabled {
			return &Error{ErrDisabled, arn + " is disabled."}
		}
		n := 0
		for _, m := range k.Materials {
			if m.OnDemand {
				n++
			}
		}
		if n >= MaxOnDemand || len(k.Materials) >= maxMaterials {
			return &Error{ErrLimit, fmt.Sprintf("The key was rotated %d times on demand, and more is not possible.", n)}
		}
		return f.add(k, m)
	})
}

// Materials are those that a key has had, oldest first: what it was made with, and those of its rotations.
func (r *Ring) Materials(arn string) ([]Material, error) {
	_, k, err := r.find(arn)
	if err != nil {
		return nil, err
	}
	out := make([]Material, len(k.Materials))
	for i, m := range k.Materials {
		out[i] = Material{ID: m.ID, Made: m.Made, OnDemand: m.OnDemand}
	}
	return out, nil
}

// ScheduleDeletion lets a key be deleted in so many days. Until then it does nothing.
func (r *Ring) ScheduleDeletion(arn string, days int) (Key, Undo, error) {
	if days < MinDeletion || days > MaxDeletion {
		return Key{}, nil, fmt.Errorf("delete in %d days: %w: want %d to %d", days, ErrInvalid, MinDeletion, MaxDeletion)
	}
	at := r.now().AddDate(0, 0, days)
	return r.changeKey(arn, false, func(_ *file, k *fileKey) error {
		k.Enabled, k.Deletion = false, at
		return nil
	})
}

// CancelDeletion takes that back. The key is disabled then.
func (r *Ring) CancelDeletion(arn string) (Key, Undo, error) {
	return r.changeKey(arn, true, func(_ *file, k *fileKey) error {
		if k.Deletion.IsZero() {
			return &Error{ErrState, arn + " is not pending deletion."}
		}
		k.Deletion = time.Time{}
		return nil
	})
}

// AddTags gives a key tags; those with a key that is there already get another value.
func (r *Ring) AddTags(arn string, tags []tag.Tag) (Key, Undo, error) {
	return r.changeKey(arn, false, func(_ *file, k *fileKey) error {
		k.Tags = tag.Add(k.Tags, tags)
		if err := tag.Check(k.Tags); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		return nil
	})
}

// RemoveTags takes tags away.
func (r *Ring) RemoveTags(arn string, keys []string) (Key, Undo, error) {
	return r.changeKey(arn, false, func(_ *file, k *fileKey) error {
		k.Tags = tag.Without(k.Tags, keys)
		return nil
	})
}

// checkAlias gives the name of an alias without its prefix.
func checkAlias(alias string) (string, error) {
	name, ok := strings.CutPrefix(alias, "alias/")
	if !ok || !aliasName.MatchString(name) {
		return "", fmt.Errorf("alias %.80q: %w: want alias/ and up to 250 letters, digits or /_-", alias, ErrInvalid)
	}
	return name, nil
}

// CreateAlias gives a key another name, alias/NAME.
func (r *Ring) CreateAlias(ref Ref, alias, keyARN string) (Undo, error) {
	return r.changeAlias(ref, alias, keyARN, func(f *file, a fileAlias) error {
		i, there := f.findAlias(ref, a.Name)
		switch {
		case there:
			return &Error{ErrExists, "An alias with the name " + r.arn(ref, "alias", a.Name) + " already exists"}
		case len(f.Aliases) >= maxAliases:
			return &Error{ErrLimit, fmt.Sprintf("There are %d aliases, and more are not kept.", maxAliases)}
		}
		f.Aliases = slices.Insert(f.Aliases, i, a)
		return nil
	})
}

// UpdateAlias makes an alias that of another key.
func (r *Ring) UpdateAlias(ref Ref, alias, keyARN string) (Undo, error) {
	return r.changeAlias(ref, alias, keyARN, func(f *file, a fileAlias) error {
		i, there := f.findAlias(ref, a.Name)
		if !there {
			return r.noAlias(ref, a.Name)
		}
		a.Created = f.Aliases[i].Created
		f.Aliases[i] = a
		return nil
	})
}

func (r *Ring) noAlias(ref Ref, name string) error {
	return &Error{ErrNotFound, "Alias " + r.arn(ref, "alias", name) + " is not found."}
}

func (r *Ring) changeAlias(ref Ref, alias, keyARN string, fn func(*file, fileAlias) error) (Undo, error) {
	name, err := checkAlias(alias)
	if err != nil {
		return nil, err
	}
	p, _ := parseARN(keyARN)
	now := r.now()
	return r.change(func(f *file) error {
		k, ok := f.key(p.name)
		switch {
		case !ok || r.keyARN(k) != keyARN || k.Account != ref.Account || k.Region != ref.Region:
			return notFound(keyARN)
		case !k.Deletion.IsZero():
			return &Error{ErrPending, keyARN + " is pending deletion."}
		}
		return fn(f, fileAlias{Account: ref.Account, Region: ref.Region, Name: name, Key: k.ID, Created: now, Updated: now})
	})
}

// DeleteAlias deletes an alias.
func (r *Ring) DeleteAlias(ref Ref, alias string) (Undo, error) {
	name, err := checkAlias(alias)
	if err != nil {
		return nil, err
	}
	return r.change(func(f *file) error {
		i, there := f.findAlias(ref, name)
		if !there {
			return r.noAlias(ref, name)
		}
		f.Aliases = slices.Delete(f.Aliases, i, i+1)
		return nil
	})
}

// Aliases are those of an account in a Region, by name; of one key, where keyID is given.
func (r *Ring) Aliases(ref Ref, keyID string) ([]Alias, error) {
	if err := r.maintain(); err != nil {
		return nil, err
	}
	var out []Alias
	for _, a := range r.state.Get().Aliases {
		if a.Account == ref.Account && a.Region == ref.Region && (keyID == "" || a.Key == keyID) {
			out = append(out, Alias{Name: "alias/" + a.Name, ARN: r.arn(ref, "alias", a.Name), KeyID: a.Key, Created: a.Created, Updated: a.Updated})
		}
	}
	return out, nil
}
