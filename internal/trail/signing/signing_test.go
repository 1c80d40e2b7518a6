package signing

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"spoor/internal/durable"
)

// masked is a sealer that binds what it seals to its purpose.
type masked struct{ fail bool }

func (m masked) Seal(purpose string, secret []byte) ([]byte, error) {
	if m.fail {
		return nil, errors.New("the master key is not there")
	}
	return append([]byte(purpose+"\x00"), flip(secret)...), nil
}

func (m masked) Unseal(purpose string, sealed []byte) ([]byte, error) {
	rest, ok := bytes.CutPrefix(sealed, []byte(purpose+"\x00"))
	if m.fail || !ok {
		return nil, errors.New("sealed for another purpose")
	}
	return flip(rest), nil
}

func flip(b []byte) []byte {
	out := bytes.Clone(b)
	for i := range out {
		out[i] ^= 0x5a
	}
	return out
}

var start = time.Date(2026, 1, 10, 10, 0, 31, 0, time.UTC)

func open(t *testing.T, dir string) *Keys {
	t.Helper()
	k, err := Open(dir, masked{}, func() time.Time { return start })
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// fingerprint is that of the key that signs at a time.
func fingerprint(t *testing.T, k *Keys, region string, at time.Time) string {
	t.Helper()
	key, err := k.Signing(t.Context(), region, at)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range k.Public(region, at, at) {
		if v, err := p.Verifier(); err == nil && v != nil && bytes.Equal(p.DER, public(key)) {
			if at.Before(p.Start) || !at.Before(p.End) {
				t.Errorf("key of %s is valid from %s to %s", at, p.Start, p.End)
			}
			if p.End.Sub(p.Start) != 30*24*time.Hour {
				t.Errorf("valid for %s", p.End.Sub(p.Start))
			}
			return p.Fingerprint
		}
	}
	t.Fatalf("the key that signs at %s is not public then", at)
	return ""
}

func TestRotation(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	k := open(t, dir)
	if got := k.Public("us-east-1", time.Time{}, start.AddDate(9, 0, 0)); len(got) != 0 {
		t.Fatalf("%d keys", len(got))
	}
	first := fingerprint(t, k, "us-east-1", start)
	day := 24 * time.Hour
	began := start.Add(-time.Hour)
	if got := fingerprint(t, k, "us-east-1", start.Add(18*day)); got != first {
		t.Error("another key after 18 days")
	}
	if n := len(k.Public("us-east-1", time.Time{}, start.AddDate(9, 0, 0))); n != 1 {
		t.Errorf("%d keys after 18 days", n)
	}
	// A day before it is needed the next one is made; it does not sign yet.
	if got := fingerprint(t, k, "us-east-1", began.Add(19*day)); got != first {
		t.Error("another key after 19 days")
	}
	keys := k.Public("us-east-1", time.Time{}, start.AddDate(9, 0, 0))
	if len(keys) != 2 || !keys[1].Start.Equal(began.Add(20*day)) || !keys[0].Start.Equal(began) {
		t.Fatalf("%+v", keys)
	}
	second := fingerprint(t, k, "us-east-1", began.Add(20*day))
	if second == first || second != keys[1].Fingerprint || fingerprint(t, k, "us-east-1", began.Add(20*day-time.Second)) != first {
		t.Error("the keys do not change after 20 days")
	}
	// Both are valid for ten days, ends included.
	for at, want := range map[time.Duration]int{-time.Second: 0, 0: 1, 20*day - 1: 1, 20 * day: 2, 30 * day: 2, 30*day + 1: 1, 50 * day: 1, 50*day + 1: 0} {
		if got := len(k.Public("us-east-1", began.Add(at), began.Add(at))); got != want {
			t.Errorf("after %s: %d keys, want %d", at, got, want)
		}
	}
	// A service that was off for long begins anew; a digest that is made later is signed with the key of its end.
	third := fingerprint(t, k, "us-east-1", start.Add(300*day))
	if third == second || fingerprint(t, k, "us-east-1", start.Add(5*day)) != first {
		t.Error("keys after a pause")
	}
	early := fingerprint(t, k, "us-east-1", start.Add(-100*day))
	if slices.Contains([]string{first, second, third}, early) {
		t.Error("a key before its time")
	}
	if other := fingerprint(t, k, "eu-west-1", start); other == first {
		t.Error("one key for two Regions")
	}
	// All is there again.
	again := open(t, dir)
	for _, region := range []string{"us-east-1", "eu-west-1"} {
		a, b := k.Public(region, time.Time{}, start.AddDate(9, 0, 0)), again.Public(region, time.Time{}, start.AddDate(9, 0, 0))
		if len(a) != len(b) || len(a) == 0 {
			t.Fatalf("%d keys, then %d", len(a), len(b))
		}
		for i := range a {
			if a[i].Fingerprint != b[i].Fingerprint || !a[i].Start.Equal(b[i].Start) || !a[i].End.Equal(b[i].End) || !bytes.Equal(a[i].DER, b[i].DER) {
				t.Errorf("%+v, then %+v", a[i], b[i])
			}
		}
	}
	if fingerprint(t, again, "us-east-1", start) != first {
		t.Error("another key after opening")
	}
	info, err := os.Stat(filepath.Join(dir, fileName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	k := open(t, t.TempDir())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := k.Signing(context.Background(), "us-east-1", start); err != nil {
				t.Error(err)
			}
			k.Public("us-east-1", start, start)
		})
	}
	wg.Wait()
	if n := len(k.Public("us-east-1", start, start)); n != 1 {
		t.Errorf("%d keys", n)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := open(t, dir)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.Signing(ended, "us-east-1", start); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	for _, region := range []string{"", "US", "../x", "a b"} {
		if _, err := k.Signing(t.Context(), region, start); err == nil {
			t.Errorf("Region %q", region)
		}
	}
	locked, err := Open(dir, masked{fail: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := locked.Signing(t.Context(), "us-east-1", start); err == nil {
		t.Error("a key that cannot be sealed")
	}
	if len(locked.Public("us-east-1", start, start)) != 0 {
		t.Error("a key that was not kept is public")
	}
	fingerprint(t, k, "us-east-1", start)
	if locked, err = Open(dir, masked{fail: true}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := locked.Signing(t.Context(), "us-east-1", start); err == nil {
		t.Error("a key that cannot be opened")
	}
	if len(locked.Public("us-east-1", start, start)) != 1 {
		t.Error("public keys need no secret")
	}
	// A folder that cannot be written to: the key is not used, and the keys that were stay.
	if os.Geteuid() != 0 {
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		if _, err := k.Signing(t.Context(), "eu-west-1", start); err == nil || len(k.Public("eu-west-1", start, start)) != 0 {
			t.Errorf("%v", err)
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDamaged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := open(t, dir)
	fingerprint(t, k, "us-east-1", start)
	path := filepath.Join(dir, fileName)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	print := k.pairs[0].Fingerprint
	for name, c := range map[string]struct {
		from, to string
		want     error
	}{
		"format":      {"spoor-digest-keys", "other", ErrDamaged},
		"newer":       {`"version": 1`, `"version": 2`, ErrNewer},
		"no version":  {`"version": 1`, `"version": 0`, ErrDamaged},
		"unknown":     {`"region"`, `"regions"`, ErrDamaged},
		"Region":      {"us-east-1", "US", ErrDamaged},
		"fingerprint": {print, strings.Repeat("0", 32), ErrDamaged},
		"times":       {`"end": "2026`, `"end": "2025`, ErrDamaged},
		"tail":        {"]\n}\n", "]\n}\n{}", ErrDamaged},
		"cut":         {"]\n}\n", "", ErrDamaged},
	} {
		bad := strings.Replace(string(good), c.from, c.to, 1)
		if bad == string(good) {
			t.Fatalf("%s: nothing changed", name)
		}
		if err := durable.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, masked{}, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// The halves of another pair.
	other := open(t, t.TempDir())
	fingerprint(t, other, "us-east-1", start)
	mixed := open(t, t.TempDir())
	mixed.pairs = []pair{k.pairs[0]}
	mixed.pairs[0].Sealed = append([]byte(purpose(k.pairs[0])+"\x00"), bytes.TrimPrefix(other.pairs[0].Sealed, []byte(purpose(other.pairs[0])+"\x00"))...)
	if _, err := mixed.Signing(t.Context(), "us-east-1", start); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"format":"spoor-digest-keys","version":1,"keys":[]}`))
	f.Add([]byte(`{"format":"spoor-digest-keys","version":1,"keys":[{"region":"us-east-1","public":"MAA="}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if pairs, err := decode(b); err != nil && (pairs != nil || !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer)) {
			t.Fatalf("%v, %v", pairs, err)
		}
	})
}

func public(key *rsa.PrivateKey) []byte { return x509.MarshalPKCS1PublicKey(&key.PublicKey) }
