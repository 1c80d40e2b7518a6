package keyring

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"spoor/internal/durable"
	"spoor/internal/policy"
	"spoor/internal/seal"
	"spoor/internal/tag"
)

const (
	stateFormat  = "spoor-keyring"
	stateVersion = 1
)

// Bounds of the state.
const (
	maxState       = 64 << 20
	maxKeys        = 10_000
	maxAliases     = 10_000
	maxMaterials   = 1_000 // of a key
	maxDescription = 8192
	MaxOnDemand    = 25 // rotations on demand of a key
)

// Days that rotation and deletion take.
const (
	MinRotation, DefaultRotation, MaxRotation = 90, 365, 2560
	MinDeletion, MaxDeletion                  = 7, 30
)

// file is the content of the state file.
type file struct {
	Format    string      `json:"format"`
	Version   int         `json:"version"`
	MasterKey string      `json:"masterKey,omitempty"` // id of that with which the root is sealed
	Root      []byte      `json:"root,omitempty"`      // sealed
	Own       []byte      `json:"own,omitempty"`       // the key of Ring.Seal, sealed with the root
	Keys      []*fileKey  `json:"keys"`                // by id; never changed
	Aliases   []fileAlias `json:"aliases"`             // by account, Region and name

	root *seal.Key
}

type fileKey struct {
	ID          string         `json:"id"`
	Account     string         `json:"account"`
	Region      string         `json:"region"`
	Description string         `json:"description,omitempty"`
	Created     time.Time      `json:"created"`
	Enabled     bool           `json:"enabled"`
	Deletion    time.Time      `json:"deletion,omitzero"` // when it is deleted
	Tags        []tag.Tag      `json:"tags,omitempty"`    // by key
	Policy      string         `json:"policy"`
	Rotation    int            `json:"rotation,omitempty"` // days between automatic ones, 0 for none
	Next        time.Time      `json:"next,omitzero"`      // when the next one is
	Materials   []fileMaterial `json:"materials"`          // the last one encrypts

	doc *policy.Document
}

// fileMaterial is a secret of a key.
type fileMaterial struct {
	ID       string    `json:"id"`
	Made     time.Time `json:"made"`
	OnDemand bool      `json:"onDemand,omitempty"` // why it was made, but for the first
	Sealed   []byte    `json:"sealed"`
}

type fileAlias struct {
	Account string    `json:"account"`
	Region  string    `json:"region"`
	Name    string    `json:"name"` // without alias/
	Key     string    `json:"key"`  // id
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`
}

func newState() *file { return &file{Format: stateFormat, Version: stateVersion} }

func document() durable.Document {
	return durable.Document{What: "the key ring", Format: stateFormat, Version: stateVersion, Most: maxState, Damaged: ErrDamaged, Newer: ErrNewer}
}

// decodeState reads a state file.
func decodeState(b []byte) (*file, error) {
	f := &file{}
	if err := document().Decode(b, f); err != nil {
		return nil, err
	}
	for i, k := range f.Keys {
		if k == nil {
			return nil, fmt.Errorf("%w: key %d is null", ErrDamaged, i)
		}
		var err error
		if k.doc, err = policy.Parse("kms", []byte(k.Policy)); err != nil {
			return nil, fmt.Errorf("%w: key %.40s: policy: %w", ErrDamaged, k.ID, err)
		}
	}
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return f, nil
}

var (
	masterKeyID = regexp.MustCompile(`^[0-9a-f]{16}$`)
	aliasName   = regexp.MustCompile(`^[A-Za-z0-9/_-]{1,250}$`)
)

// check holds what every state has in common.
func (f *file) check() error {
	if f.Version < 1 {
		return fmt.Errorf("version %d", f.Version)
	}
	begun := f.MasterKey != ""
	if begun && !masterKeyID.MatchString(f.MasterKey) || begun != (len(f.Root) > 0) || begun != (len(f.Own) > 0) || !begun && len(f.Keys) > 0 {
		return fmt.Errorf("masterKey %.40q, with %d bytes of root and %d of its own", f.MasterKey, len(f.Root), len(f.Own))
	}
	if len(f.Keys) > maxKeys || len(f.Aliases) > maxAliases {
		return fmt.Errorf("%d keys and %d aliases: %w", len(f.Keys), len(f.Aliases), ErrLimit)
	}
	materials := map[string]bool{}
	for i, k := range f.Keys {
		if err := k.check(materials); err != nil {
			return fmt.Errorf("key %.40q: %w", k.ID, err)
		}
		if i > 0 && f.Keys[i-1].ID >= k.ID {
			return fmt.Errorf("key %s is there twice or not in order", k.ID)
		}
	}
	for i, a := range f.Aliases {
		k, ok := f.key(a.Key)
		switch {
		case !aliasName.MatchString(a.Name) || a.Created.IsZero() || a.Updated.IsZero():
			return fmt.Errorf("alias %.80q", a.Name)
		case !ok || k.Account != a.Account || k.Region != a.Region:
			return fmt.Errorf("alias %s: key %.40q is not there", a.Name, a.Key)
		case i > 0 && compareAliases(f.Aliases[i-1], a) >= 0:
			return fmt.Errorf("alias %s is there twice or not in order", a.Name)
		}
	}
	return nil
}

func (k *fileKey) check(materials map[string]bool) error {
	if id, err := uuid.Parse(k.ID); err != nil || id.String() != k.ID {
		return errors.New("its id is none")
	}
	if !accountID.MatchString(k.Account) || !regionName.MatchString(k.Region) {
		return fmt.Errorf("account %.40q and Region %.40q", k.Account, k.Region)
	}
	if utf8.RuneCountInString(k.Description) > maxDescription {
		return fmt.Errorf("its description has more than %d characters", maxDescription)
	}
	if err := tag.Check(k.Tags); err != nil {
		return err
	}
	if k.doc == nil || k.Created.IsZero() {
		return errors.New("it has no policy, or was never made")
	}
	if k.Rotation != 0 && (k.Rotation < MinRotation || k.Rotation > MaxRotation) || (k.Rotation == 0) != k.Next.IsZero() {
		return fmt.Errorf("rotation every %d days, next at %v", k.Rotation, k.Next)
	}
	if k.Enabled && !k.Deletion.IsZero() {
		return errors.New("it is enabled, and to be deleted")
	}
	if len(k.Materials) == 0 || len(k.Materials) > maxMaterials {
		return fmt.Errorf("%d materials", len(k.Materials))
	}
	for _, m := range k.Materials {
		if b, err := hex.DecodeString(m.ID); err != nil || len(b) != materialLen || strings.ToLower(m.ID) != m.ID || materials[m.ID] {
			return fmt.Errorf("material %.80q", m.ID)
		}
		if len(m.Sealed) != seal.MasterLen+seal.Overhead || m.Made.IsZero() {
			return fmt.Errorf("material %s is not whole", m.ID)
		}
		materials[m.ID] = true
	}
	return nil
}

func compareAliases(a, b fileAlias) int {
	for _, c := range [][2]string{{a.Account, b.Account}, {a.Region, b.Region}, {a.Name, b.Name}} {
		if n := strings.Compare(c[0], c[1]); n != 0 {
			return n
		}
	}
	return 0
}

func (f *file) encode() ([]byte, error) {
	out := *f
	if out.Keys == nil {
		out.Keys = []*fileKey{}
	}
	if out.Aliases == nil {
		out.Aliases = []fileAlias{}
	}
	b, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

func (f *file) clone() *file {
	c := *f
	c.Keys, c.Aliases = slices.Clone(f.Keys), slices.Clone(f.Aliases)
	return &c
}

func (k *fileKey) clone() *fileKey {
	c := *k
	c.Tags, c.Materials = slices.Clone(k.Tags), slices.Clone(k.Materials)
	return &c
}

func (f *file) find(id string) (int, bool) {
	return slices.BinarySearchFunc(f.Keys, id, func(k *fileKey, id string) int { return strings.Compare(k.ID, id) })
}

func (f *file) key(id string) (*fileKey, bool) {
	if i, ok := f.find(id); ok {
		return f.Keys[i], true
	}
	return nil, false
}

// put puts a key in, or in the place of what it was.
func (f *file) put(k *fileKey) {
	if i, ok := f.find(k.ID); ok {
		f.Keys[i] = k
	} else {
		f.Keys = slices.Insert(f.Keys, i, k)
	}
}

// remove removes a key and its aliases.
func (f *file) remove(id string) {
	f.Keys = slices.DeleteFunc(f.Keys, func(k *fileKey) bool { return k.ID == id })
	f.Aliases = slices.DeleteFunc(f.Aliases, func(a fileAlias) bool { return a.Key == id })
}

func (f *file) findAlias(ref Ref, name string) (int, bool) {
	return slices.BinarySearchFunc(f.Aliases, fileAlias{Account: ref.Account, Region: ref.Region, Name: name}, compareAliases)
}

func (f *file) alias(ref Ref, name string) (fileAlias, bool) {
	if i, ok := f.findAlias(ref, name); ok {
		return f.Aliases[i], true
	}
	return fileAlias{}, false
}

// sealed gives a key one more material.
func (f *file) add(k *fileKey, m newMaterial) error {
	sealed, err := f.root.Seal(forMaterial, besideMaterial(k, m.id), m.secret)
	if err != nil {
		return fmt.Errorf("make material of a key: %w", err)
	}
	k.Materials = append(k.Materials, fileMaterial{ID: m.id, Made: m.made, OnDemand: m.onDemand, Sealed: sealed})
	return nil
}

// reseal seals all that the root seals with another one.
func (f *file) reseal(root *seal.Key) error {
	again := func(purpose, beside string, sealed []byte) ([]byte, error) {
		text, err := f.root.Open(purpose, beside, sealed)
		if err != nil {
			return nil, err
		}
		return root.Seal(purpose, beside, text)
	}
	own, err := again(forOwn, "", f.Own)
	if err != nil {
		return err
	}
	keys := make([]*fileKey, len(f.Keys))
	for i, k := range f.Keys {
		keys[i] = k.clone()
		for j := range keys[i].Materials {
			m := &keys[i].Materials[j]
			if m.Sealed, err = again(forMaterial, besideMaterial(k, m.ID), m.Sealed); err != nil {
				return err
			}
		}
	}
	f.Own, f.Keys, f.root = own, keys, root
	return nil
}
