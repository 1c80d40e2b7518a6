package validate_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rsa"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"spoor/internal/trail/digest"
	"spoor/internal/trail/validate"
	"spoor/internal/trail/validate/validatetest"
)

// rig is a bucket with a trail, and what is asked of it.
type rig struct {
	*validatetest.Memory
	made *validatetest.Made
	o    validate.Options
	keys *validate.KeySet
}

// testKey is one key pair for all tests: making one takes long.
func testKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := sharedKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var sharedKey, otherKey = onceKey(), onceKey()

func newRig(t testing.TB, o validatetest.Options) *rig {
	t.Helper()
	m := validatetest.NewMemory()
	if o.Key == nil {
		o.Key = testKey(t)
	}
	if o.Records == 0 {
		o.Records = 1
	}
	made, err := validatetest.Make(o, m.Add)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{Memory: m, made: made, keys: &validate.KeySet{}}
	r.keys.Add("us-east-1", made.Public)
	r.o = validate.Options{
		Source: m, Roots: []validate.Root{{Bucket: "trail-bucket"}}, Keys: r.keys.Keys, Now: made.End.Add(10 * time.Minute), Expect: made.End.Add(10 * time.Minute),
		Start: made.Digests[0].Start.Add(time.Second), End: made.End,
	}
	return r
}

// run gives the verdicts that are not valid, as CODE KEY, with short keys, and the summary.
func (r *rig) run(t testing.TB) ([]string, *validate.Summary, []validate.Finding) {
	t.Helper()
	var lines []string
	var all []validate.Finding
	o := r.o
	o.Each = func(f validate.Finding) error {
		all = append(all, f)
		if f.Level != validate.OK && f.Code != validate.LogsUncovered {
			line := string(f.Code)
			if f.Key != "" {
				line += " " + r.short(f.Key)
			}
			lines = append(lines, line)
		}
		for _, m := range validate.Codes() {
			if m.Code == f.Code {
				return nil
			}
		}
		return fmt.Errorf("code %s is not explained", f.Code)
	}
	s, err := validate.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return lines, s, all
}

// short is d3 for the digest of the fourth hour, l3.1 for its second log file.
func (r *rig) short(key string) string {
	for i, d := range r.made.Digests {
		if d.Key == key {
			return fmt.Sprintf("d%d", i)
		}
		for j, f := range d.Files {
			if f.Object == key {
				return fmt.Sprintf("l%d.%d", i, j)
			}
		}
	}
	if n, ok := digest.SplitKey(key); ok {
		return "at " + n.End.Format("15:04")
	}
	return filepath.Base(key)
}

// digest changes the text of a digest, with the metadata that it had.
func (r *rig) digest(t testing.TB, i int, change func(string) string) {
	t.Helper()
	d := r.made.Digests[i]
	if err := r.Add("trail-bucket", d.Key, validatetest.Gzip([]byte(change(string(d.Text))), 6), d.Metadata); err != nil {
		t.Fatal(err)
	}
}

// resign signs a digest anew with a key, after a change.
func (r *rig) resign(t testing.TB, i int, key *rsa.PrivateKey, change func(*digest.Spec)) validatetest.Digest {
	t.Helper()
	d := r.made.Digests[i]
	parsed, err := digest.Parse(d.Text)
	if err != nil {
		t.Fatal(err)
	}
	spec := digest.Spec{Account: parsed.Account, Start: parsed.Start, End: parsed.End, Bucket: parsed.Bucket, Object: parsed.Object, Previous: parsed.Previous, Files: parsed.Files}
	change(&spec)
	s, err := digest.Sign(spec, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Add(spec.Bucket, spec.Object, validatetest.Gzip(s.Text, 6), s.Metadata); err != nil {
		t.Fatal(err)
	}
	d.Signed = s
	return d
}

func replace(from, to string) func(string) string {
	return func(s string) string { return strings.Replace(s, from, to, 1) }
}

func gunzip(t testing.TB, b []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Every kind of failure, in a chain of six hours with two log files each.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	const b = "trail-bucket"
	for name, c := range map[string]struct {
		options validatetest.Options
		change  func(t *testing.T, r *rig)
		want    []string
		outside int // log files in hours that no valid digest covers
	}{
		"clean": {want: nil},
		"log changed": {change: func(t *testing.T, r *rig) {
			key := r.made.Digests[2].Files[1].Object
			body, _, _ := r.Object(b, key)
			text := bytes.Replace(gunzip(t, body), []byte("AssumedRole"), []byte("AssumedRolf"), 1)
			must(t, r.Add(b, key, validatetest.Gzip(text, 6), nil))
		}, want: []string{"log-modified l2.1"}},
		"log removed": {change: func(t *testing.T, r *rig) { r.Delete(b, r.made.Digests[2].Files[0].Object) }, want: []string{"log-missing l2.0"}},
		"log compressed anew": {change: func(t *testing.T, r *rig) {
			key := r.made.Digests[2].Files[0].Object
			body, _, _ := r.Object(b, key)
			must(t, r.Add(b, key, validatetest.Gzip(gunzip(t, body), 1), nil))
		}},
		"log cut": {change: func(t *testing.T, r *rig) {
			key := r.made.Digests[2].Files[0].Object
			body, _, _ := r.Object(b, key)
			must(t, r.Add(b, key, body[:len(body)-9], nil))
		}, want: []string{"log-unreadable l2.0"}},
		"log with a tail": {change: func(t *testing.T, r *rig) {
			key := r.made.Digests[2].Files[0].Object
			body, _, _ := r.Object(b, key)
			must(t, r.Add(b, key, append(bytes.Clone(body), 0), nil))
		}, want: []string{"log-unreadable l2.0"}},
		"log with a second member": {change: func(t *testing.T, r *rig) {
			key := r.made.Digests[2].Files[0].Object
			body, _, _ := r.Object(b, key)
			must(t, r.Add(b, key, append(bytes.Clone(body), validatetest.Gzip(nil, 6)...), nil))
		}, want: []string{"log-unreadable l2.0"}},
		"log not compressed": {change: func(t *testing.T, r *rig) {
			key := r.made.Digests[2].Files[0].Object
			body, _, _ := r.Object(b, key)
			must(t, r.Add(b, key, gunzip(t, body), nil))
		}, want: []string{"log-unreadable l2.0"}},
		"log planted": {change: func(t *testing.T, r *rig) {
			body, _, _ := r.Object(b, r.made.Digests[2].Files[0].Object)
			must(t, r.Add(b, r.made.Options.LogKey(r.made.Digests[2].Start.Add(20*time.Minute), "planted000000000"), body, nil))
		}, want: []string{"log-unlisted 111122223333_CloudTrail_us-east-1_20260110T1120Z_planted000000000.json.gz"}},
		"log planted with another name": {change: func(t *testing.T, r *rig) {
			key := filepath.ToSlash(filepath.Dir(r.made.Digests[2].Files[0].Object)) + "/more.json.gz"
			must(t, r.Add(b, key, []byte("x"), nil))
		}, want: []string{"log-unlisted more.json.gz"}},
		"log before the digests": {change: func(t *testing.T, r *rig) {
			r.o.Start = time.Time{}
			must(t, r.Add(b, r.made.Options.LogKey(r.made.Digests[0].Start.Add(-20*time.Minute), "before0000000000"), []byte("x"), nil))
		}, want: []string{"chain-start d0"}, outside: 1},
		"log listed later": {change: func(t *testing.T, r *rig) { r.o.End = r.made.Digests[1].End; r.late(t, 5, 1) }},
		"hash algorithm": {change: func(t *testing.T, r *rig) {
			d := r.made.Digests[5]
			r.signText(t, 5, strings.Replace(string(d.Text), `"hashAlgorithm":"SHA-256"`, `"hashAlgorithm":"MD5"`, 1), testKey(t))
		}, want: []string{"log-algorithm l5.0"}},

		"digest changed": {change: func(t *testing.T, r *rig) {
			r.digest(t, 2, replace(r.made.Digests[2].Files[0].Hash, strings.Repeat("0", 64)))
		},
			want: []string{"digest-modified d2"}},
		"newest digest changed": {change: func(t *testing.T, r *rig) {
			r.digest(t, 5, replace(r.made.Digests[5].Files[0].Hash, strings.Repeat("0", 64)))
		},
			want: []string{"digest-modified d5"}},
		"digest compressed anew": {change: func(t *testing.T, r *rig) {
			d := r.made.Digests[2]
			must(t, r.Add(b, d.Key, validatetest.Gzip(d.Text, 1), d.Metadata))
		}},
		"digest no gzip": {change: func(t *testing.T, r *rig) {
			d := r.made.Digests[2]
			must(t, r.Add(b, d.Key, d.Text, d.Metadata))
		}, want: []string{"digest-format d2"}, outside: 2},
		"digest no JSON":    {change: func(t *testing.T, r *rig) { r.digest(t, 2, func(string) string { return "{" }) }, want: []string{"digest-format d2"}, outside: 2},
		"digest incomplete": {change: func(t *testing.T, r *rig) { r.digest(t, 2, replace("digestEndTime", "digestEnd")) }, want: []string{"digest-format d2"}, outside: 2},
		"digest removed":    {change: func(t *testing.T, r *rig) { r.Delete(b, r.made.Digests[2].Key) }, want: []string{"digest-missing d2"}, outside: 2},
		"two digests removed": {change: func(t *testing.T, r *rig) { r.Delete(b, r.made.Digests[2].Key); r.Delete(b, r.made.Digests[3].Key) },
			want: []string{"digest-missing d2", "digest-missing d3"}, outside: 4},
		"every other digest removed": {change: func(t *testing.T, r *rig) { r.Delete(b, r.made.Digests[1].Key); r.Delete(b, r.made.Digests[3].Key) },
			want: []string{"digest-missing d1", "digest-missing d3"}, outside: 4},
		"first digests removed": {change: func(t *testing.T, r *rig) { r.Delete(b, r.made.Digests[0].Key); r.Delete(b, r.made.Digests[1].Key) },
			want: []string{"gap-start d0", "digest-missing d1"}, outside: 4},
		"first digests removed, no range": {change: func(t *testing.T, r *rig) {
			r.o.Start = time.Time{}
			r.Delete(b, r.made.Digests[0].Key)
			r.Delete(b, r.made.Digests[1].Key)
		}, want: []string{"digest-missing d1"}, outside: 4},
		"newest digests removed": {change: func(t *testing.T, r *rig) {
			r.o.Expect = r.made.End.Add(time.Hour)
			r.Delete(b, r.made.Digests[4].Key)
			r.Delete(b, r.made.Digests[5].Key)
		}, want: []string{"gap-end d4", "gap-end d5"}, outside: 4},
		"newest digests removed from a copy": {change: func(t *testing.T, r *rig) {
			r.o.Expect = time.Time{}
			for i := range 3 {
				r.Delete(b, r.made.Digests[3+i].Key)
			}
		}, want: []string{"end-open d2"}, outside: 6},
		"signature removed":        {change: func(t *testing.T, r *rig) { r.meta(t, 2, nil) }, want: []string{"digest-unsigned d2"}},
		"newest signature removed": {change: func(t *testing.T, r *rig) { r.meta(t, 5, nil) }, want: []string{"digest-unsigned d5"}},
		"signature changed": {change: func(t *testing.T, r *rig) {
			r.meta(t, 2, map[string]string{digest.MetaSignature: strings.Repeat("0", 512), digest.MetaAlgorithm: digest.SignatureAlgorithm})
		}, want: []string{"digest-forged d2"}},
		"signature algorithm": {change: func(t *testing.T, r *rig) {
			r.meta(t, 2, map[string]string{digest.MetaSignature: r.made.Digests[2].Link.Signature, digest.MetaAlgorithm: "none"})
		}, want: []string{"digest-algorithm d2"}},
		"signed by another": {change: func(t *testing.T, r *rig) {
			r.resign(t, 2, anotherKey(t), func(s *digest.Spec) { s.Files = s.Files[:1] })
		}, want: []string{"digest-forged d2"}, outside: 1},
		"signed by another who names our key": {change: func(t *testing.T, r *rig) {
			other := digestFingerprint(anotherKey(t))
			d := r.resign(t, 2, anotherKey(t), func(*digest.Spec) {})
			must(t, r.Add(b, d.Key, validatetest.Gzip([]byte(strings.Replace(string(d.Text), other, r.made.Public.Fingerprint, 1)), 6), d.Metadata))
		}, want: []string{"digest-forged d2"}},
		"newest signed by another": {change: func(t *testing.T, r *rig) { r.resign(t, 5, anotherKey(t), func(*digest.Spec) {}) }, want: []string{"digest-key-unknown d5"}},
		"key not published": {change: func(t *testing.T, r *rig) {
			r.keys = &validate.KeySet{}
			r.keys.Add("us-east-1", validatetest.PublicKey(anotherKey(t), r.made.Public.Start, r.made.Public.End))
			r.o.Keys = r.keys.Keys
		}, want: []string{"digest-key-unknown d0", "digest-key-unknown d1", "digest-key-unknown d2", "digest-key-unknown d3", "digest-key-unknown d4", "digest-key-unknown d5"}},
		"key not valid": {change: func(t *testing.T, r *rig) {
			r.keys = &validate.KeySet{}
			r.keys.Add("us-east-1", validatetest.PublicKey(testKey(t), r.made.Public.Start, r.made.Digests[4].End))
			r.o.Keys = r.keys.Keys
		}, want: []string{"digest-key-time d5"}},
		"no keys": {change: func(t *testing.T, r *rig) { r.o.Keys = (&validate.KeySet{}).Keys },
			want: append([]string{"no-keys"}, unverifiable(6)...)},
		"key unreadable": {change: func(t *testing.T, r *rig) {
			r.o.Keys = func(context.Context, string, time.Time, time.Time) ([]digest.PublicKey, error) {
				return []digest.PublicKey{{DER: []byte("x"), Fingerprint: r.made.Public.Fingerprint}}, nil
			}
			r.o.Start = r.made.Digests[5].Start.Add(time.Second)
		}, want: []string{"digest-key-unreadable d5"}},
		"digest moved to another hour": {change: func(t *testing.T, r *rig) {
			d := r.made.Digests[2]
			r.Delete(b, d.Key)
			must(t, r.Add(b, strings.Replace(d.Key, "T120031Z", "T120131Z", 1), validatetest.Gzip(d.Text, 6), d.Metadata))
		}, want: []string{"digest-moved at 12:01", "chain-order d3"}},
		"digest put in the place of another": {change: func(t *testing.T, r *rig) {
			d := r.made.Digests[2]
			must(t, r.Add(b, r.made.Digests[3].Key, validatetest.Gzip(d.Text, 6), d.Metadata))
		}, want: []string{"digest-moved d3"}, outside: 2},
		"bucket copied": {change: func(t *testing.T, r *rig) {
			for _, k := range r.Keys(b) {
				body, meta, _ := r.Object(b, k)
				must(t, r.Add("copy", k, body, meta))
			}
			r.o.Roots = []validate.Root{{Bucket: "copy"}}
			r.o.Start = r.made.Digests[4].Start.Add(time.Second)
		}, want: []string{"digest-moved d4", "digest-moved d5"}, outside: 4},
		"chain with another hash": {change: func(t *testing.T, r *rig) {
			r.resign(t, 5, testKey(t), func(s *digest.Spec) { l := *s.Previous; l.Hash = strings.Repeat("0", 64); s.Previous = &l })
		}, want: []string{"chain-hash d5"}},
		"chain with another signature": {change: func(t *testing.T, r *rig) {
			r.resign(t, 5, testKey(t), func(s *digest.Spec) { l := *s.Previous; l.Signature = strings.Repeat("0", 512); s.Previous = &l })
		}, want: []string{"chain-signature d5"}},
		"times do not meet": {change: func(t *testing.T, r *rig) {
			r.resign(t, 5, testKey(t), func(s *digest.Spec) { s.Start = s.Start.Add(time.Minute) })
		}, want: []string{"chain-times d5"}},
		"chain past a digest": {change: func(t *testing.T, r *rig) {
			r.resign(t, 5, testKey(t), func(s *digest.Spec) { l := r.made.Digests[3].Link; s.Previous = &l })
		}, want: []string{"chain-order d5"}},
		"chain to something else": {change: func(t *testing.T, r *rig) {
			r.resign(t, 5, testKey(t), func(s *digest.Spec) { l := *s.Previous; l.Object = "other"; s.Previous = &l })
		}, want: []string{"chain-order d5"}},
		"chain anew": {change: func(t *testing.T, r *rig) {
			r.Delete(b, r.made.Digests[4].Key)
			for _, f := range r.made.Digests[4].Files {
				r.Delete(b, f.Object)
			}
			r.resign(t, 5, testKey(t), func(s *digest.Spec) { s.Previous = nil })
		}, want: []string{"chain-restart d5"}},
		"chain anew too early": {change: func(t *testing.T, r *rig) {
			r.resign(t, 5, testKey(t), func(s *digest.Spec) { s.Previous = nil; s.Start = s.Start.Add(-time.Minute) })
		}, want: []string{"chain-times d5"}},
		"hash algorithm of a link": {change: func(t *testing.T, r *rig) {
			d := r.made.Digests[5]
			r.signText(t, 5, strings.Replace(string(d.Text), `"previousDigestHashAlgorithm":"SHA-256"`, `"previousDigestHashAlgorithm":"MD5"`, 1), testKey(t))
		}, want: []string{"digest-algorithm d5"}},
		"nothing there":     {change: func(t *testing.T, r *rig) { r.o.Roots[0].Prefix = "other" }, want: []string{"no-digests"}},
		"account not there": {change: func(t *testing.T, r *rig) { r.o.Accounts = []string{"999999999999"} }, want: []string{"no-digests"}},
		"prefix":            {options: validatetest.Options{Prefix: "a/b"}},
		"prefix named":      {options: validatetest.Options{Prefix: "a/b"}, change: func(t *testing.T, r *rig) { r.o.Roots[0].Prefix = "a/b/" }},
		"prefix into the layout": {options: validatetest.Options{Prefix: "a/b", Organization: "o-abcdefghij"}, change: func(t *testing.T, r *rig) {
			r.o.Roots[0].Prefix = "a/b/AWSLogs/o-abcdefghij/111122223333/CloudTrail-Digest/us-east-1"
		}},
		"organisation": {options: validatetest.Options{Organization: "o-abcdefghij"}, change: func(t *testing.T, r *rig) { r.o.Organization = "o-abcdefghij" }},
		"two trails": {change: func(t *testing.T, r *rig) {
			_, err := validatetest.Make(validatetest.Options{Trail: "audit2", Hours: 6, PerHour: 2, Records: 1, Seed: 7, Key: testKey(t)}, r.Add)
			must(t, err)
		}},
		"one of two trails": {change: func(t *testing.T, r *rig) {
			_, err := validatetest.Make(validatetest.Options{Trail: "audit2", Hours: 6, PerHour: 2, Records: 1, Seed: 7, Key: testKey(t)}, r.Add)
			must(t, err)
			r.o.Trail = "audit"
		}},
		"one Region without its newest": {change: func(t *testing.T, r *rig) {
			_, err := validatetest.Make(validatetest.Options{Region: "eu-west-1", Home: "us-east-1", Hours: 3, PerHour: 1, Records: 1, Key: testKey(t)}, r.Add)
			must(t, err)
			r.keys.Add("eu-west-1", r.made.Public)
			r.o.Expect = time.Time{}
		}, want: []string{"gap-end at 13:00", "gap-end at 14:00", "gap-end at 15:00", "end-open d5"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := c.options
			o.Hours, o.PerHour = 6, 2
			r := newRig(t, o)
			if c.change != nil {
				c.change(t, r)
			}
			got, s, all := r.run(t)
			if !slices.Equal(got, c.want) {
				t.Errorf("verdicts\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
				for _, f := range all {
					if f.Level != validate.OK {
						t.Logf("%s %s %s", f.Code, r.short(f.Key), f.Reason)
					}
				}
			}
			for _, f := range all {
				if (f.Level == validate.OK) != (f.Reason == "") {
					t.Errorf("%s: %q", f.Code, f.Reason)
				}
			}
			outside := 0
			for _, f := range all {
				if f.Code == validate.LogsUncovered {
					outside += f.Files
				}
			}
			if outside != c.outside {
				t.Errorf("%d log files outside, want %d", outside, c.outside)
			}
			problem := slices.ContainsFunc(all, func(f validate.Finding) bool { return f.Level == validate.Invalid })
			gaps := slices.ContainsFunc(all, func(f validate.Finding) bool { return f.Level == validate.Unchecked })
			if s.Problem != problem || s.Gaps != gaps {
				t.Errorf("%+v", s)
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func unverifiable(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("digest-unverifiable d%d", i), fmt.Sprintf("log-unvouched l%d.0", i), fmt.Sprintf("log-unvouched l%d.1", i))
	}
	return out
}

// meta replaces the metadata of a digest.
func (r *rig) meta(t testing.TB, i int, meta map[string]string) {
	t.Helper()
	must(t, r.Add("trail-bucket", r.made.Digests[i].Key, validatetest.Gzip(r.made.Digests[i].Text, 6), meta))
}

// late has the log file of one hour lie as if it had been named in another.
func (r *rig) late(t testing.TB, listed, named int) {
	t.Helper()
	at := r.made.Digests[named].Start.Add(20 * time.Minute)
	key := r.made.Options.LogKey(at, "late000000000000")
	f := r.made.Digests[listed].Files[0]
	body, _, _ := r.Object("trail-bucket", f.Object)
	must(t, r.Add("trail-bucket", key, body, nil))
	r.resign(t, listed, testKey(t), func(s *digest.Spec) {
		f.Object = key
		s.Files = append(slices.Clone(s.Files), f)
	})
}
