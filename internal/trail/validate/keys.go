package validate

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"time"

	"spoor/internal/trail/digest"
)

// Keys gives the public keys of a Region that were valid at some time of a range. It is called concurrently.
type Keys func(ctx context.Context, region string, start, end time.Time) ([]digest.PublicKey, error)

// SavedKey is a public key in a file: what ListPublicKeys answers, and the Region, which it does not say.
type SavedKey struct {
	Value             string    // base64 of the PKCS #1 form
	ValidityStartTime savedTime //
	ValidityEndTime   savedTime
	Fingerprint       string
	Region            string `json:",omitempty"` // empty for any
}

// savedTime is a time in the forms of AWS's protocol and of its CLI: seconds, or RFC 3339.
type savedTime struct{ time.Time }

// UnmarshalJSON reads either form.
func (t *savedTime) UnmarshalJSON(b []byte) error {
	var seconds float64
	if err := json.Unmarshal(b, &seconds); err == nil {
		if math.Abs(seconds) > 1e11 {
			return errors.New("a time out of range")
		}
		t.Time = time.Unix(0, int64(seconds*1e3)*int64(time.Millisecond)).UTC()
		return nil
	}
	return json.Unmarshal(b, &t.Time)
}

type savedKeys struct {
	PublicKeyList []SavedKey
}

// KeySet is keys from files.
type KeySet struct{ keys []regionKey }

type regionKey struct {
	region string
	digest.PublicKey
}

// Read adds the keys of a file: one or more answers of ListPublicKeys as JSON. Every key has to have its fingerprint.
func (s *KeySet) Read(r io.Reader) error {
	dec := json.NewDecoder(r)
	for n := 0; ; n++ {
		var in struct{ PublicKeyList *[]SavedKey }
		if err := dec.Decode(&in); errors.Is(err, io.EOF) && n > 0 {
			return nil
		} else if err != nil {
			return fmt.Errorf("public keys: %w", err)
		}
		if in.PublicKeyList == nil {
			return errors.New("public keys: there is no PublicKeyList")
		}
		for _, k := range *in.PublicKeyList {
			der, err := base64.StdEncoding.DecodeString(k.Value)
			if err != nil {
				return fmt.Errorf("public key %.64q: %w", k.Fingerprint, err)
			}
			p := digest.PublicKey{DER: der, Fingerprint: k.Fingerprint, Start: k.ValidityStartTime.Time, End: k.ValidityEndTime.Time}
			if _, err := p.Verifier(); err != nil {
				return err
			}
			s.Add(k.Region, p)
		}
	}
}

// Add adds a key. An empty Region is any.
func (s *KeySet) Add(region string, k digest.PublicKey) {
	if !slices.ContainsFunc(s.keys, func(o regionKey) bool { return o.region == region && bytes.Equal(o.DER, k.DER) }) {
		s.keys = append(s.keys, regionKey{region, k})
	}
}

// Len is how many keys there are.
func (s *KeySet) Len() int { return len(s.keys) }

// Keys is a [Keys] over them.
func (s *KeySet) Keys(_ context.Context, region string, start, end time.Time) ([]digest.PublicKey, error) {
	var out []digest.PublicKey
	for _, k := range s.keys {
		if (k.region == "" || k.region == region) && !k.Start.After(end) && !k.End.Before(start) {
			out = append(out, k.PublicKey)
		}
	}
	return out, nil
}

// WriteKeys writes keys as [KeySet.Read] reads them, by Region.
func WriteKeys(w io.Writer, byRegion map[string][]digest.PublicKey) error {
	out := savedKeys{PublicKeyList: []SavedKey{}}
	for region, keys := range byRegion {
		for _, k := range keys {
			out.PublicKeyList = append(out.PublicKeyList, SavedKey{base64.StdEncoding.EncodeToString(k.DER), savedTime{k.Start.UTC()}, savedTime{k.End.UTC()}, k.Fingerprint, region})
		}
	}
	slices.SortFunc(out.PublicKeyList, func(a, b SavedKey) int {
		if a.Region != b.Region {
			return bytes.Compare([]byte(a.Region), []byte(b.Region))
		}
		return a.ValidityStartTime.Compare(b.ValidityStartTime.Time)
	})
	b, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// verifiers are the keys of a Region, ready to verify.
type verifiers struct {
	keys map[string]digest.PublicKey
	mu   sync.Mutex
	open map[string]*digest.Verifier
	bad  map[string]error
}

func newVerifiers(keys []digest.PublicKey) *verifiers {
	v := &verifiers{keys: map[string]digest.PublicKey{}, open: map[string]*digest.Verifier{}, bad: map[string]error{}}
	v.add(keys)
	return v
}

func (v *verifiers) add(keys []digest.PublicKey) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, k := range keys {
		v.keys[k.Fingerprint] = k
	}
}

// find finds a key, nil when there is none.
func (v *verifiers) find(fingerprint string) (*digest.Verifier, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if k := v.open[fingerprint]; k != nil || v.bad[fingerprint] != nil {
		return k, v.bad[fingerprint]
	}
	k, ok := v.keys[fingerprint]
	if !ok {
		return nil, nil
	}
	open, err := k.Verifier()
	v.open[fingerprint], v.bad[fingerprint] = open, err
	return open, err
}

// validity is when a key may sign.
func (v *verifiers) validity(fingerprint string) (start, end time.Time, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	k, ok := v.keys[fingerprint]
	return k.Start, k.End, ok
}

func (v *verifiers) empty() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.keys) == 0
}
