package event

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestIdentitiesRepeat: a record whose userIdentity was met before reads as it does alone.
func TestIdentitiesRepeat(t *testing.T) {
	t.Parallel()
	var pool []string
	for i := range 40 {
		name := fmt.Sprintf("session-%d", i%7)
		for _, form := range []string{
			`{"type":"AssumedRole","principalId":"AROAEXAMPLE:%[1]s","arn":"arn:aws:sts::111122223333:assumed-role/Deploy/%[1]s","accountId":"111122223333","accessKeyId":"ASIA%[2]d","sessionContext":{"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::111122223333:role/Deploy","userName":"Deploy"},"attributes":{"mfaAuthenticated":"false","creationDate":"2026-01-10T09:%02[3]d:00Z"}}}`,
			`{"type":"IAMUser", "principalId":"AIDAEXAMPLE%[2]d", "Arn":"arn:aws:iam::111122223333:user/%[1]s", "userName":"%[1]s\u0041", "sessionContext.sourceIdentity":"ana%[3]d", "tags":[{"a":{}}]}`,
			`{"type":"IAMUser","principalId":"AIDAEXAMPLE%[2]d","principalId":"AIDA%[3]d","sessionContext":{"attributes":{"mfaAuthenticated":true}},"sessionContext":{"sessionIssuer":{"type":"Root"}},"userName":"%[1]s"}`,
			`{"type":"AWSService","invokedBy":"%[1]s.amazonaws.com"}`,
			`{"type":"Unknown","principalId":"` + strings.Repeat("x", identityMost) + `%[1]s%[2]d%[3]d"}`,
			`{"type":"Unknown","principalId":"%[1]s%[2]d%[3]d` + strings.Repeat("é", 60) + `"}`,
			`null`,
		} {
			s := fmt.Sprintf(form, name, i, i%60)
			if at := strings.Index(s, "%!"); at >= 0 {
				s = s[:at]
			}
			pool = append(pool, s)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var text strings.Builder
	text.WriteString(`{"Records":[`)
	const n = 6000
	for i := range n {
		if i > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, `{"eventVersion":"1.11","pad":%q,"userIdentity":%s,"eventTime":"2026-01-10T09:15:41Z"`, strings.Repeat("p", rng.IntN(90)), pool[rng.IntN(len(pool))])
		if rng.IntN(10) == 0 {
			fmt.Fprintf(&text, `,"userIdentity":%s`, pool[rng.IntN(len(pool))])
		}
		if rng.IntN(10) == 0 {
			text.WriteString(`,"EventSource":"s3.amazonaws.com"`)
		}
		fmt.Fprintf(&text, `,"eventName":"GetObject","eventID":"%d"}`, i)
	}
	text.WriteString("]}")
	c := &collect{}
	d := NewDecoder(Limits{})
	if err := d.Decode(t.Context(), "f", strings.NewReader(text.String()), c); err != nil || len(c.events) != n {
		t.Fatalf("%d events, %v", len(c.events), err)
	}
	met := 0
	hashes := map[string]uint64{}
	for _, e := range c.events {
		alone, err := Parse(e.Raw)
		if err != nil {
			t.Fatal(err)
		}
		if e.spans != alone.spans || e.irregular != alone.irregular || e.Actor() != alone.Actor() {
			t.Fatalf("%s\nreads as %+v\nalone as %+v", e.Raw, e, alone)
		}
		if e.identity == 0 {
			continue
		}
		raw := string(e.Get(UserIdentity).Raw())
		if h, ok := hashes[raw]; ok {
			met++
			if h != e.identity {
				t.Fatalf("%s has the hashes %x and %x", raw, h, e.identity)
			}
		}
		hashes[raw] = e.identity
	}
	if met < n/4 || len(hashes) < 40 {
		t.Errorf("%d of %d identities were met again, %d differ: the test tests nothing", met, n, len(hashes))
	}
}
