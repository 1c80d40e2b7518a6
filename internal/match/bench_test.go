package match_test

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"spoor/internal/event"
	"spoor/internal/match"
	"spoor/internal/match/sigma"
)

// sharedDir is the folder of data beside the project, "" when there is none.
func sharedDir() string {
	if dir := os.Getenv("SPOOR_SHARED"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	for err == nil {
		at := filepath.Join(dir, "shared")
		if _, err := os.Stat(filepath.Join(at, "DESIGN.md")); err == nil {
			return at
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
	return ""
}

// collect is a sink that keeps events.
type collect []*event.Event

func (c *collect) Event(e *event.Event) error { *c = append(*c, e.Clone()); return nil }
func (c *collect) Reject(event.Reject) error  { return nil }
func (c *collect) Note(string)                {}
func (c *collect) Digest([]byte) error        { return nil }

// sampleEvents gives recorded events when the shared data is there, else made ones.
func sampleEvents(tb testing.TB) []*event.Event {
	tb.Helper()
	var out []*event.Event
	if dir := sharedDir(); dir != "" {
		for _, sub := range []string{"s3-layout", "stratus-red-team", "traildiscover"} {
			err := filepath.WalkDir(filepath.Join(dir, "data/cloudtrail", sub), func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() || !strings.Contains(path, ".json") {
					return err
				}
				f, err := os.Open(path)
				if err != nil {
					return err
				}
				defer f.Close()
				return event.NewDecoder(event.Limits{}).Decode(context.Background(), path, f, (*collect)(&out))
			})
			if err != nil {
				tb.Fatal(err)
			}
		}
	}
	if len(out) > 0 {
		return out
	}
	w := rand.New(rand.NewPCG(1, 1))
	for i := range 500 {
		e, err := event.Parse(fmt.Appendf(nil, `{"eventVersion":"1.08","userIdentity":{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/Deploy/ci-%d","accountId":"111122223333"},"eventTime":"2026-01-10T09:15:41Z","eventSource":"s%d.amazonaws.com","eventName":"Get%d","awsRegion":"eu-west-1","sourceIPAddress":"203.0.113.%d","userAgent":"aws-cli/2.15.0 md/Botocore#1.34 ua/2.0","requestParameters":{"bucketName":"b%d","Host":"s3.amazonaws.com"},"responseElements":null,"eventID":"%d"}`,
			i, w.IntN(30), w.IntN(200), w.IntN(255), i, i))
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// rulesIn compiles the rules of the files that fit a pattern, none when there are none.
func rulesIn(tb testing.TB, pattern string) []match.Expr {
	tb.Helper()
	var out []match.Expr
	files, err := filepath.Glob(pattern)
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			tb.Fatal(err)
		}
		docs, _ := sigma.Parse(f, data, sigma.Options{Placeholders: map[string][]string{"Legitimate_Countries": {"DE"}, "Legitimate_IP_Ranges": {"10.*"}}})
		for _, r := range docs.Rules {
			out = append(out, r.Expr)
		}
		for _, c := range docs.Correlations {
			for _, r := range c.Base {
				out = append(out, r.Expr)
			}
		}
	}
	return out
}

// generated makes n rules of the shapes that published rules have.
func generated(tb testing.TB, n int) []match.Expr {
	tb.Helper()
	w := rand.New(rand.NewPCG(7, 7))
	pick := func(s ...string) string { return s[w.IntN(len(s))] }
	verb := func() string { return pick("Create", "Delete", "Put", "Update", "Get", "List", "Describe", "Attach") }
	noun := func() string {
		return pick("User", "Role", "Bucket", "Trail", "Key", "Function", "Instance", "Policy") + fmt.Sprint(w.IntN(40))
	}
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString("---\n")
		}
		fmt.Fprintf(&b, "title: rule %d\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n", i)
		switch i % 10 {
		case 0, 1, 2, 3:
			fmt.Fprintf(&b, "  s:\n    eventSource: %s.amazonaws.com\n    eventName: %s\n  condition: s\n", pick("iam", "s3", "ec2", "kms"), verb()+noun())
		case 4, 5:
			fmt.Fprintf(&b, "  s:\n    eventName: [%s, %s, %s]\n  f:\n    userAgent|contains: tool%d\n  condition: s and not 1 of f*\n", verb()+noun(), verb()+noun(), verb()+noun(), i)
		case 6:
			fmt.Fprintf(&b, "  s:\n    userAgent|contains: attack-tool-%d\n  condition: s\n", i)
		case 7:
			fmt.Fprintf(&b, "  s:\n    userIdentity.arn|endswith: ':user/person-%d'\n    errorCode: AccessDenied\n  condition: s\n", i)
		case 8:
			fmt.Fprintf(&b, "  s:\n    eventSource: s3.amazonaws.com\n    requestParameters.bucketName: bucket-%d\n  condition: s\n", i)
		case 9:
			fmt.Fprintf(&b, "  s:\n    eventName|startswith: %s\n    sourceIPAddress: 198.51.100.%d\n  condition: s\n", verb()+noun(), i%256)
		}
	}
	docs, problems := sigma.Parse("generated", []byte(b.String()), sigma.Options{})
	if len(problems) > 0 || len(docs.Rules) != n {
		tb.Fatalf("%d rules, problems %v", len(docs.Rules), problems)
	}
	var out []match.Expr
	for _, r := range docs.Rules {
		out = append(out, r.Expr)
	}
	return out
}

func BenchmarkMatch(b *testing.B) {
	events := sampleEvents(b)
	one := generated(b, 1)
	pack := rulesIn(b, "../../rules/*/*.yml")
	published := rulesIn(b, filepath.Join(sharedDir(), "rules/sigma/*/*.yml"))
	made := generated(b, 1000)
	for _, c := range []struct {
		name  string
		rules []match.Expr
	}{{"none", nil}, {"one", one}, {"pack", pack}, {"sigma", published}, {"1000", made}, {"all", slices.Concat(pack, published, made)}} {
		b.Run(c.name, func(b *testing.B) {
			m := match.NewIndex(c.rules).NewMatcher()
			var dst []int
			candidates, hits := 0, 0
			for _, e := range events {
				candidates += len(m.Candidates(e))
				hits += len(m.Match(e, dst[:0]))
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				dst = m.Match(events[i], dst[:0])
				if i++; i == len(events) {
					i = 0
				}
			}
			b.ReportMetric(float64(len(c.rules)), "rules")
			b.ReportMetric(float64(candidates)/float64(len(events)), "candidates/event")
			b.ReportMetric(float64(hits)/float64(len(events)), "matches/event")
		})
	}
	b.Run("1000 one by one", func(b *testing.B) {
		var c match.Context
		i := 0
		for b.Loop() {
			c.Reset(events[i])
			for _, x := range made {
				c.Match(x)
			}
			if i++; i == len(events) {
				i = 0
			}
		}
	})
}
