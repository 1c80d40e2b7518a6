package digest

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const shared = "../../../../shared"

// sharedFile reads one of the files that are kept beside the sources.
func sharedFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(shared, filepath.FromSlash(name)))
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("%s is not there", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type vector struct {
	Key         string `json:"publicKeyValueBase64"`
	Fingerprint string
	Digests     []struct{ UncompressedContent, SHA256, StringToSign, SignatureHex string }
}

func readVector(t testing.TB) (v vector, key PublicKey) {
	t.Helper()
	if err := json.Unmarshal(sharedFile(t, "spec/digest-test-vector.json"), &v); err != nil {
		t.Fatal(err)
	}
	der, err := base64.StdEncoding.DecodeString(v.Key)
	if err != nil {
		t.Fatal(err)
	}
	return v, PublicKey{DER: der, Fingerprint: v.Fingerprint}
}

// only finds one key.
func only(t testing.TB, key PublicKey) func(string) (*Verifier, error) {
	t.Helper()
	v, err := key.Verifier()
	if err != nil {
		t.Fatal(err)
	}
	return func(fingerprint string) (*Verifier, error) {
		if fingerprint != key.Fingerprint {
			return nil, nil
		}
		return v, nil
	}
}

func TestVector(t *testing.T) {
	t.Parallel()
	v, key := readVector(t)
	if got := Fingerprint(key.DER); got != v.Fingerprint {
		t.Errorf("fingerprint %s, want %s", got, v.Fingerprint)
	}
	for _, d := range v.Digests {
		parsed, err := Parse([]byte(d.UncompressedContent))
		if err != nil {
			t.Fatal(err)
		}
		meta := map[string]string{MetaSignature: d.SignatureHex, MetaAlgorithm: SignatureAlgorithm}
		got := Verify([]byte(d.UncompressedContent), meta, Location{parsed.Bucket, parsed.Object}, only(t, key))
		if got.Verdict != Valid || got.Hash != d.SHA256 || got.Reason != "" {
			t.Errorf("%s: %+v", parsed.Object, got)
		}
		if text := ToSign(parsed.EndText, parsed.Bucket, parsed.Object, got.Hash, parsed.PreviousSigning); text != d.StringToSign {
			t.Errorf("string to sign\n%s\nwant\n%s", text, d.StringToSign)
		}
	}
}

// Every bit of a digest, of its metadata and of its place counts.
func TestTampered(t *testing.T) {
	t.Parallel()
	v, key := readVector(t)
	d := v.Digests[1]
	parsed, err := Parse([]byte(d.UncompressedContent))
	if err != nil {
		t.Fatal(err)
	}
	other := PublicKey{DER: key.DER, Fingerprint: "00"}
	for name, c := range map[string]struct {
		text   func(string) string
		meta   map[string]string
		at     Location
		keys   func(string) (*Verifier, error)
		want   Verdict
		reason string
	}{
		"as it is":         {want: Valid},
		"hash of a log":    {text: func(s string) string { return strings.Replace(s, "26a792", "26a793", 1) }, want: Forged, reason: "its signature"},
		"space":            {text: func(s string) string { return s + " " }, want: Forged},
		"link":             {text: func(s string) string { return strings.Replace(s, `"57150a7d`, `"57150a7e`, 1) }, want: Forged},
		"no link":          {text: func(s string) string { return strings.Replace(s, `"previousDigestSignature"`, `"x"`, 1) }, want: InvalidFormat, reason: "previousDigestSignature is missing"},
		"no files":         {text: func(s string) string { return strings.Replace(s, `"logFiles"`, `"LogFiles"`, 1) }, want: InvalidFormat, reason: "logFiles is missing"},
		"cut":              {text: func(s string) string { return s[:len(s)-1] }, want: InvalidFormat},
		"two":              {text: func(s string) string { return s + s }, want: InvalidFormat, reason: "something follows"},
		"moved key":        {at: Location{parsed.Bucket, parsed.Object + "x"}, want: Moved, reason: "s3://trail-bucket/AWSLogs"},
		"moved bucket":     {at: Location{"other", parsed.Object}, want: Moved},
		"bucket not known": {at: Location{"", parsed.Object}, want: Valid},
		"unsigned":         {meta: map[string]string{}, want: Unsigned},
		"algorithm":        {meta: map[string]string{MetaSignature: d.SignatureHex, MetaAlgorithm: "MD5withRSA"}, want: BadAlgorithm, reason: "MD5withRSA"},
		"algorithm inside": {text: func(s string) string { return strings.Replace(s, "SHA256withRSA", "SHA1withRSA", 1) }, want: BadAlgorithm},
		"other signature":  {meta: map[string]string{MetaSignature: v.Digests[0].SignatureHex, MetaAlgorithm: SignatureAlgorithm}, want: Forged},
		"no hex":           {meta: map[string]string{MetaSignature: "zz", MetaAlgorithm: SignatureAlgorithm}, want: Forged, reason: "hexadecimal"},
		"key unknown":      {keys: func(string) (*Verifier, error) { return nil, nil }, want: KeyUnknown, reason: v.Fingerprint},
		"key unreadable":   {keys: func(string) (*Verifier, error) { return other.Verifier() }, want: BadKey, reason: "has the fingerprint"},
		"no key":           {keys: func(string) (*Verifier, error) { return PublicKey{Fingerprint: "00"}.Verifier() }, want: BadKey, reason: "PKCS #1"},
	} {
		text := d.UncompressedContent
		if c.text != nil {
			text = c.text(text)
		}
		meta, at, keys := map[string]string{MetaSignature: d.SignatureHex, MetaAlgorithm: SignatureAlgorithm}, Location{parsed.Bucket, parsed.Object}, only(t, key)
		if c.meta != nil {
			meta = c.meta
		}
		if c.at.Object != "" {
			at = c.at
		}
		if c.keys != nil {
			keys = c.keys
		}
		got := Verify([]byte(text), meta, at, keys)
		if got.Verdict != c.want || !strings.Contains(got.Reason, c.reason) {
			t.Errorf("%s: %s %q, want %s %q", name, got.Verdict, got.Reason, c.want, c.reason)
		}
	}
}

// Sign writes what the vector has, byte for byte but for the fingerprint of the key.
func TestSign(t *testing.T) {
	t.Parallel()
	v, _ := readVector(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der := x509.MarshalPKCS1PublicKey(&key.PublicKey)
	public := PublicKey{DER: der, Fingerprint: Fingerprint(der)}
	var previous *Link
	for i, d := range v.Digests {
		p, err := Parse([]byte(d.UncompressedContent))
		if err != nil {
			t.Fatal(err)
		}
		if p.Previous != nil {
			if p.Previous.Hash != v.Digests[i-1].SHA256 || p.Previous.Algorithm != HashAlgorithm {
				t.Errorf("link %+v", p.Previous)
			}
			previous = p.Previous
		}
		s, err := Sign(Spec{Account: p.Account, Start: p.Start, End: p.End, Bucket: p.Bucket, Object: p.Object, Previous: previous, Files: p.Files}, key)
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.ReplaceAll(d.UncompressedContent, v.Fingerprint, public.Fingerprint); string(s.Text) != want {
			t.Errorf("text\n%s\nwant\n%s", s.Text, want)
		}
		got := Verify(s.Text, s.Metadata, Location{p.Bucket, p.Object}, only(t, public))
		if got.Verdict != Valid || got.Hash != s.Link.Hash || got.Signature != s.Link.Signature {
			t.Errorf("%+v", got)
		}
	}
}

func TestSignTimes(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 10, 10, 0, 31, 0, time.FixedZone("", 3600))
	hash := strings.Repeat("0a", 32)
	spec := Spec{
		Account: "111122223333", Start: at, End: at.Add(time.Hour), Bucket: "b", Object: "k<&>", Backfill: true, Generated: at.Add(90 * time.Hour),
		Files: []File{
			{Bucket: "b", Object: "1", Hash: hash},
			{Bucket: "b", Object: "2", Hash: hash, Newest: at.Add(5), Oldest: at.Add(-time.Hour)},
			{Bucket: "b", Object: "3", Hash: hash, Newest: at.Add(time.Minute), Oldest: at},
		},
	}
	s, err := Sign(spec, key)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"digestStartTime":"2026-01-10T09:00:31Z"`, `"newestEventTime":"2026-01-10T09:01:31Z","oldestEventTime":"2026-01-10T08:00:31Z","previousDigestS3Bucket":null`,
		`"digestS3Object":"k<&>"`, `"newestEventTime":null,"oldestEventTime":null},{`,
	} {
		if !bytes.Contains(s.Text, []byte(want)) {
			t.Errorf("%s is not in\n%s", want, s.Text)
		}
	}
	if got := s.Metadata[MetaBackfill]; got != "2026-01-14T03:00:31.000Z" {
		t.Errorf("backfill made at %s", got)
	}
	for name, bad := range map[string]func(*Spec){
		"no account": func(s *Spec) { s.Account = "" }, "no bucket": func(s *Spec) { s.Bucket = "" }, "no key": func(s *Spec) { s.Object = "" },
		"no time": func(s *Spec) { s.End = s.Start }, "parts of seconds": func(s *Spec) { s.Start = s.Start.Add(1) },
		"hash": func(s *Spec) { s.Files = []File{{Bucket: "b", Object: "k", Hash: strings.ToUpper(hash)}} }, "link": func(s *Spec) { s.Previous = &Link{Bucket: "b", Object: "k", Hash: hash} },
	} {
		s := spec
		bad(&s)
		if _, err := Sign(s, key); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}

func TestRealDigests(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		object string
		files  int
	}{
		"aws-docs-digest-1.json":                {"AWSLogs/111122223333/CloudTrail-Digest/us-east-2/2015/08/17/111122223333_CloudTrail-Digest_us-east-2_your-trail-name_us-east-2_20150817T150131Z.json.gz", 1},
		"aws-docs-digest-2.json":                {"AWSLogs/111122223333/CloudTrail-Digest/us-east-2/2015/08/20/111122223333_CloudTrail-Digest_us-east-2_example-trail-name_us-east-2_20150820T180131Z.json.gz", 0},
		"llm-guard-trail_20231015T230404Z.json": {"AWSLogs/327878933619/CloudTrail-Digest/ap-northeast-1/2023/10/15/327878933619_CloudTrail-Digest_ap-northeast-1_llm-guard-trail_us-west-2_20231015T230404Z.json.gz", -1},
	} {
		d, err := Parse(sharedFile(t, "data/cloudtrail/digest/"+name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d.Object != want.object || want.files >= 0 && len(d.Files) != want.files || d.Previous == nil || d.End.Sub(d.Start) != time.Hour {
			t.Errorf("%s: %+v", name, d)
		}
		n, ok := SplitKey(d.Object)
		if !ok || n.Account != d.Account || !n.End.Equal(d.End) {
			t.Errorf("%s: %+v, %t", name, n, ok)
		}
	}
}

func TestSplitKey(t *testing.T) {
	t.Parallel()
	end := time.Date(2026, 1, 10, 10, 0, 31, 0, time.UTC)
	const day = "CloudTrail-Digest/us-east-1/2026/01/10/"
	for key, want := range map[string]Name{
		"AWSLogs/111122223333/" + day + "111122223333_CloudTrail-Digest_us-east-1_audit_us-east-1_20260110T100031Z.json.gz":                  {"", "", "111122223333", "us-east-1", "audit", "us-east-1", end, false},
		"a/b/AWSLogs/111122223333/" + day + "111122223333_CloudTrail-Digest_us-east-1_audit_us-east-1_20260110T100031Z.json.gz":              {"a/b", "", "111122223333", "us-east-1", "audit", "us-east-1", end, false},
		"AWSLogs/o-a1b2c3d4e5/111122223333/" + day + "111122223333_CloudTrail-Digest_us-east-1_my_tr.1_eu-west-1_20260110T100031Z.json.gz":   {"", "o-a1b2c3d4e5", "111122223333", "us-east-1", "my_tr.1", "eu-west-1", end, false},
		"AWSLogs/AWSLogs/111122223333/" + day + "111122223333_CloudTrail-Digest_us-east-1_audit_us-east-1_20260110T100031Z_backfill.json.gz": {"AWSLogs", "", "111122223333", "us-east-1", "audit", "us-east-1", end, true},
		"/AWSLogs/111122223333/" + day + "111122223333_CloudTrail-Digest_us-east-1_audit_us-east-1_20260110T100031Z.json.gz":                 {},
		"AWSLogs/111122223333/" + day + "111122223333_CloudTrail-Digest_us-east-1_audit_us-east-1_20260110T100031Z.json.gz.1":                {},
		"AWSLogs/111122223333/" + day + "111122223333_CloudTrail-Digest_us-east-1_audit_us-east-1_20260111T100031Z.json.gz":                  {},
		"AWSLogs/111122223333/" + day + "999922223333_CloudTrail-Digest_us-east-1_audit_us-east-1_20260110T100031Z.json.gz":                  {},
		"AWSLogs/111122223333/" + day + "111122223333_CloudTrail-Digest_us-east-1__us-east-1_20260110T100031Z.json.gz":                       {},
		"AWSLogs/111122223333/" + day + "111122223333_CloudTrail-Digest_us-east-1_20260110T100031Z.json.gz":                                  {},
		"AWSLogs/11112222333/" + day + "11112222333_CloudTrail-Digest_us-east-1_audit_us-east-1_20260110T100031Z.json.gz":                    {},
		"AWSLogs/x-1/111122223333/" + day + "111122223333_CloudTrail-Digest_us-east-1_audit_us-east-1_20260110T100031Z.json.gz":              {},
		"AWSLogs/111122223333/CloudTrail/us-east-1/2026/01/10/111122223333_CloudTrail_us-east-1_20260110T1000Z_AbCdEfGhIjKlMnO1.json.gz":     {},
		"": {},
	} {
		got, ok := SplitKey(key)
		if ok != (want != Name{}) || ok && got != want {
			t.Errorf("%s: %+v, %t", key, got, ok)
		}
		if ok && got.Key() != key {
			t.Errorf("%s: is %s", key, got.Key())
		}
	}
}

func FuzzParse(f *testing.F) {
	v, key := readVector(f)
	keys := only(f, key)
	for _, d := range v.Digests {
		f.Add([]byte(d.UncompressedContent), d.SignatureHex)
	}
	f.Add([]byte(`{"logFiles":[{}]}`), "")
	f.Add([]byte(`{"logFiles":[null],"digestEndTime":null}`), "00")
	f.Fuzz(func(t *testing.T, text []byte, signature string) {
		d, err := Parse(text)
		if (d == nil) == (err == nil) || err != nil && !errors.Is(err, ErrFormat) {
			t.Fatalf("%+v, %v", d, err)
		}
		at := Location{}
		if d != nil {
			at = Location{d.Bucket, d.Object}
		}
		got := Verify(text, map[string]string{MetaSignature: signature, MetaAlgorithm: SignatureAlgorithm}, at, keys)
		genuine := false
		for _, d := range v.Digests {
			genuine = genuine || d.UncompressedContent == string(text) && strings.EqualFold(d.SignatureHex, signature)
		}
		if (got.Verdict == Valid) != genuine {
			t.Fatalf("%+v", got)
		}
	})
}

func FuzzSplitKey(f *testing.F) {
	f.Add("AWSLogs/111122223333/CloudTrail-Digest/us-east-1/2026/01/10/111122223333_CloudTrail-Digest_us-east-1_audit_us-east-1_20260110T100031Z.json.gz")
	f.Add("p/AWSLogs/o-a/111122223333/CloudTrail-Digest/us-east-1/2026/01/10/111122223333_CloudTrail-Digest_us-east-1_au_dit_us-east-1_20260110T100031Z_backfill.json.gz")
	f.Fuzz(func(t *testing.T, key string) {
		if n, ok := SplitKey(key); ok && n.Key() != key {
			t.Fatalf("%q: %+v", key, n)
		}
	})
}
