package iam

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"spoor/internal/durable"
)

// Bounds of the state. What is beyond them is refused.
const (
	maxAssumables  = 5_000
	maxUsers       = 10_000
	maxCredentials = 20_000
	maxNote        = 200
	maxState       = 32 << 20
)

const (
	stateFormat  = "spoor-iam"
	stateVersion = 2 // 1 had no access keys and no roles to assume
)

// file is the content of the state file.
type file struct {
	Format      string           `json:"format"`
	Version     int              `json:"version"`
	Written     time.Time        `json:"written"`
	RootMade    time.Time        `json:"rootMade,omitzero"`    // when root's first credential was made
	Users       []fileUser       `json:"users"`                // by name
	Credentials []fileCredential `json:"credentials"`          // in the order in which they were made
	MasterKey   string           `json:"masterKey,omitempty"`  // the id of that with which secrets are sealed
	Assumables  []fileAssumable  `json:"assumables,omitempty"` // by account and name
}

type fileUser struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Roles   []Role    `json:"roles"`
	Created time.Time `json:"created"`
	By      string    `json:"by"`
}

// fileAssumable is a role that can be assumed.
type fileAssumable struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Account     string            `json:"account"`
	Path        string            `json:"path"`
	Description string            `json:"description,omitempty"`
	Roles       []Role            `json:"roles"`
	Trust       string            `json:"trust"`             // the text of the document, as it was given
	Trusted     map[string]string `json:"trusted,omitempty"` // ids of those whom it names, by ARN, when it was given
	MaxSession  int64             `json:"maxSession"`        // seconds
	Created     time.Time         `json:"created"`
	By          string            `json:"by"`
	Revocations int64             `json:"revocations,omitempty"` // sessions have the number of when they were issued, and end with it
	Revoked     time.Time         `json:"revoked,omitzero"`      // the last of them
	LastUsed    time.Time         `json:"lastUsed,omitzero"`
}

// fileCredential is one credential. The type tells what else there is: a token has a verifier, an access key a sealed secret.
type fileCredential struct {
	ID       string    `json:"id"`
	Type     string    `json:"type"`
	User     string    `json:"user"`
	Verifier string    `json:"verifier,omitempty"`
	Sealed   []byte    `json:"sealed,omitempty"`
	Inactive bool      `json:"inactive,omitempty"` // switched off
	Note     string    `json:"note,omitempty"`
	Created  time.Time `json:"created"`
	By       string    `json:"by"`
	Expires  time.Time `json:"expires,omitzero"`
	LastUsed time.Time `json:"lastUsed,omitzero"`
	Revoked  time.Time `json:"revoked,omitzero"`

	LastService string `json:"lastService,omitempty"`
	LastRegion  string `json:"lastRegion,omitempty"`
}

const (
	typeToken     = "token"
	typeAccessKey = "accessKey"
)

var (
	userID      = regexp.MustCompile(`^AIDA[A-Z2-7]{16}$`)
	assumableID = regexp.MustCompile(`^AROA[A-Z2-7]{16}$`)
	accessKeyID = regexp.MustCompile(`^AKIA[A-Z2-7]{16}$`)
	masterKeyID = regexp.MustCompile(`^[0-9a-f]{16}$`)
	usedPlace   = regexp.MustCompile(`^[a-z0-9-]{0,64}$`)
	assumePath  = regexp.MustCompile(`^/([!-~]{1,510}/)?$`)
	trustedIDs  = regexp.MustCompile(`^(AIDA|AROA)[A-Z2-7]{16}$`)
)

// document is the form of the state file.
func document() durable.Document {
	return durable.Document{What: "access state", Format: stateFormat, Version: stateVersion, Most: maxState, Damaged: ErrDamaged, Newer: ErrNewer}
}

// decodeState reads a state file.
func decodeState(b []byte) (*file, error) {
	f := &file{}
	if err := document().Decode(b, f); err != nil {
		return nil, err
	}
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return f, nil
}

// check holds what every state has in common.
func (f *file) check() error {
	if f.Version < 1 {
		return fmt.Errorf("version %d", f.Version)
	}
	if len(f.Users) > maxUsers || len(f.Credentials) > maxCredentials || len(f.Assumables) > maxAssumables {
		return fmt.Errorf("%d users, %d credentials and %d roles are %w", len(f.Users), len(f.Credentials), len(f.Assumables), ErrLimit)
	}
	names, owners, ids := map[string]bool{}, map[string]bool{RootName: true}, map[string]bool{}
	for _, u := range f.Users {
		if err := CheckName(u.Name); err != nil {
			return err
		}
		roles, err := checkRoles(u.Roles)
		if err != nil {
			return fmt.Errorf("user %s: %w", u.Name, err)
		}
		if !slices.Equal(roles, u.Roles) {
			return fmt.Errorf("user %s: roles %q are not in order", u.Name, u.Roles)
		}
		if !userID.MatchString(u.ID) || ids[u.ID] {
			return fmt.Errorf("user %s: id %.40q", u.Name, u.ID)
		}
		if names[strings.ToLower(u.Name)] {
			return fmt.Errorf("two users %s", u.Name)
		}
		names[strings.ToLower(u.Name)], owners[u.Name], ids[u.ID] = true, true, true
	}
	if f.Version < 2 && (f.MasterKey != "" || f.Assumables != nil) {
		return errors.New("version 1 had no masterKey and no assumables")
	}
	if f.MasterKey != "" && !masterKeyID.MatchString(f.MasterKey) {
		return fmt.Errorf("masterKey %.40q", f.MasterKey)
	}
	for _, c := range f.Credentials {
		if err := f.checkCredential(c); err != nil {
			return fmt.Errorf("credential %.40q: %w", c.ID, err)
		}
		if ids[c.ID] {
			return fmt.Errorf("credential %s is there twice: id", c.ID)
		}
		if !owners[c.User] {
			return fmt.Errorf("credential %s belongs to %.80q, who is not there", c.ID, c.User)
		}
		ids[c.ID] = true
	}
	for i, a := range f.Assumables {
		if err := a.check(); err != nil {
			return fmt.Errorf("role %.80q: %w", a.Name, err)
		}
		if ids[a.ID] {
			return fmt.Errorf("role %s: id %s is there twice", a.Name, a.ID)
		}
		ids[a.ID] = true
		if i > 0 && compareAssumables(f.Assumables[i-1], a) >= 0 {
			return fmt.Errorf("role %s of %s is there twice or not in order", a.Name, a.Account)
		}
	}
	return nil
}

func (f *file) checkCredential(c fileCredential) error {
	if len(c.Note) > maxNote {
		return fmt.Errorf("its note has %d bytes", len(c.Note))
	}
	switch {
	case c.Type == typeToken:
		if len(c.ID) != idLen || !isBase32(c.ID) {
			return errors.New("id")
		}
		if _, ok := parseVerifier(c.Verifier); !ok {
			return errors.New("verifier")
		}
		if c.Sealed != nil || c.Inactive || c.LastService != "" || c.LastRegion != "" {
			return errors.New("a token has nothing of an access key")
		}
	case c.Type == typeAccessKey && f.Version >= 2:
		if !accessKeyID.MatchString(c.ID) {
			return errors.New("id")
		}
		if len(c.Sealed) == 0 || f.MasterKey == "" {
			return errors.New("its secret is not sealed")
		}
		if c.Verifier != "" || !c.Expires.IsZero() || !c.Revoked.IsZero() {
			return errors.New("an access key has nothing of a token")
		}
		if !usedPlace.MatchString(c.LastService) || !usedPlace.MatchString(c.LastRegion) {
			return errors.New("where it was last used")
		}
	default:
		return fmt.Errorf("type %.40q", c.Type)
	}
	return nil
}

// compareAssumables orders roles by account and name. Those of an account differ also when case does not count.
func compareAssumables(a, b fileAssumable) int {
	return cmp.Or(strings.Compare(a.Account, b.Account), strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)))
}

func (a *fileAssumable) check() error {
	if !assumableID.MatchString(a.ID) {
		return fmt.Errorf("id %.40q", a.ID)
	}
	if !accountID.MatchString(a.Account) {
		return fmt.Errorf("account %.40q", a.Account)
	}
	longest := time.Duration(min(max(a.MaxSession, 0), int64(2*maxMaxSession/time.Second))) * time.Second // without overflow
	if err := checkAssumable(a.Name, a.Path, a.Description, longest); err != nil {
		return err
	}
	roles, err := checkRoles(a.Roles)
	if err != nil {
		return err
	}
	if !slices.Equal(roles, a.Roles) {
		return fmt.Errorf("roles %q are not in order", a.Roles)
	}
	t, err := parseTrust([]byte(a.Trust))
	if err != nil {
		return err
	}
	names := t.names()
	if len(names) != len(a.Trusted) {
		return fmt.Errorf("%d principals are named and %d trusted", len(names), len(a.Trusted))
	}
	for _, name := range names {
		if !trustedIDs.MatchString(a.Trusted[name]) {
			return fmt.Errorf("trusted %.200s", name)
		}
	}
	if a.Revocations < 0 {
		return fmt.Errorf("%d revocations", a.Revocations)
	}
	return nil
}

// encode gives the text of a state file.
func (f *file) encode() ([]byte, error) {
	if f.Users == nil {
		f.Users = []fileUser{}
	}
	if f.Credentials == nil {
		f.Credentials = []fileCredential{}
	}
	b, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}
