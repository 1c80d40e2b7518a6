package iam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Bounds of the state. What is beyond them is refused.
const (
	maxUsers       = 10_000
	maxCredentials = 20_000
	maxNote        = 200
	maxState       = 32 << 20
)

const (
	stateFormat  = "spoor-iam"
	stateVersion = 1
)

// file is the content of the state file.
type file struct {
	Format      string           `json:"format"`
	Version     int              `json:"version"`
	Written     time.Time        `json:"written"`
	RootMade    time.Time        `json:"rootMade,omitzero"` // when root's first credential was made
	Users       []fileUser       `json:"users"`             // by name
	Credentials []fileCredential `json:"credentials"`       // in the order in which they were made
}

type fileUser struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Roles   []Role    `json:"roles"`
	Created time.Time `json:"created"`
	By      string    `json:"by"`
}

// fileCredential is one credential. The type tells what else there is: a token has a verifier.
type fileCredential struct {
	ID       string    `json:"id"`
	Type     string    `json:"type"`
	User     string    `json:"user"`
	Verifier string    `json:"verifier"`
	Note     string    `json:"note,omitempty"`
	Created  time.Time `json:"created"`
	By       string    `json:"by"`
	Expires  time.Time `json:"expires,omitzero"`
	LastUsed time.Time `json:"lastUsed,omitzero"`
	Revoked  time.Time `json:"revoked,omitzero"`
}

const typeToken = "token"

var userID = regexp.MustCompile(`^AIDA[A-Z2-7]{16}$`)

// decodeState reads a state file. It is strict: what it does not know may be what keeps somebody out.
func decodeState(b []byte) (*file, error) {
	var head struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if head.Format != stateFormat {
		return nil, fmt.Errorf("%w: its format is %.40q, not %q", ErrDamaged, head.Format, stateFormat)
	}
	if head.Version > stateVersion {
		return nil, fmt.Errorf("%w: it has version %d, this one knows up to %d", ErrNewer, head.Version, stateVersion)
	}
	f := &file{}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: something follows its end", ErrDamaged)
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
	if len(f.Users) > maxUsers || len(f.Credentials) > maxCredentials {
		return fmt.Errorf("%d users and %d credentials are %w", len(f.Users), len(f.Credentials), ErrLimit)
	}
	names, ids := map[string]bool{}, map[string]bool{}
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
		names[strings.ToLower(u.Name)], names[u.Name], ids[u.ID] = true, true, true
	}
	names[RootName] = true
	clear(ids)
	for _, c := range f.Credentials {
		if len(c.ID) != idLen || !isBase32(c.ID) || ids[c.ID] {
			return fmt.Errorf("credential %.40q: id", c.ID)
		}
		ids[c.ID] = true
		if c.Type != typeToken {
			return fmt.Errorf("credential %s: type %.40q", c.ID, c.Type)
		}
		if _, ok := parseVerifier(c.Verifier); !ok {
			return fmt.Errorf("credential %s: verifier", c.ID)
		}
		if !names[c.User] {
			return fmt.Errorf("credential %s belongs to %.80q, who is not there", c.ID, c.User)
		}
		if len(c.Note) > maxNote {
			return fmt.Errorf("credential %s: its note has %d bytes", c.ID, len(c.Note))
		}
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
