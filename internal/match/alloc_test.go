package match_test

import (
	"testing"

	"spoor/internal/event"
	"spoor/internal/match"
	"spoor/internal/match/sigma"
)

// TestMatchDoesNotAllocate is not parallel: allocations of other tests would count.
func TestMatchDoesNotAllocate(t *testing.T) {
	if raceBuild {
		t.Skip("allocations are not those of a normal build under the race detector")
	}
	exprs := generated(t, 300)
	for _, selection := range []string{
		`{eventName: [ListUsers, GetObject], eventSource: s3.amazonaws.com}`,
		`{userAgent|contains: [boto, 'cli"']}`,
		`{userAgent|re: 'aws-cli.*[0-9]'}`,
		`{requestParameters.tags.key: [a, b, c, d, e, f, g, x]}`,
		`{requestParameters|contains: '"s3:GetObject"'}`,
		`{requestParameters.size|gte: 5}`,
		`{sourceIPAddress|cidr: [10.0.0.0/8, '2001:db8::/32']}`,
		`{userIdentity.arn|fieldref|endswith: requestParameters.userName}`,
		`{errorCode: null}`,
		`{userIdentity.arn: '*:user/?na*'}`,
		`[needle, s3:getobj]`,
		`{userIdentity.sessionContext.attributes.creationDate|hour: 9}`,
	} {
		docs, problems := sigma.Parse("f", []byte("title: t\nlogsource: {product: aws}\ndetection:\n  s: "+selection+"\n  condition: s\n"), sigma.Options{})
		if len(problems) != 0 {
			t.Fatal(problems)
		}
		exprs = append(exprs, docs.Rules[0].Expr)
	}
	record := `{"eventName":"GetObject","eventSource":"s3.amazonaws.com","sourceIPAddress":"10.1.2.3","userAgent":"aws-cli\" \/2","userIdentity":{"arn":"arn:aws:iam::1:user/ana","sessionContext":{"attributes":{"creationDate":"2026-01-10T09:15:41Z"}}},` +
		`"requestParameters":{"size":7,"userName":"ana","tags":[{"key":"x"},{"key":"y"}],"policy":"{\"Action\":\"s3:GetObject\"}"}}`
	e, err := event.Parse([]byte(record))
	if err != nil {
		t.Fatal(err)
	}
	m := match.NewIndex(exprs).NewMatcher()
	dst := m.Match(e, nil)
	if len(dst) != len(exprs)-300 || dst[0] != 300 {
		t.Fatalf("matches %v, want all from 300 on", dst)
	}
	if n := testing.AllocsPerRun(200, func() { dst = m.Match(e, dst[:0]) }); n != 0 {
		t.Errorf("Match allocates %v times an event", n)
	}
	var c match.Context
	if n := testing.AllocsPerRun(200, func() {
		c.Reset(e)
		for _, x := range exprs {
			c.Match(x)
		}
	}); n != 0 {
		t.Errorf("evaluating every expression allocates %v times", n)
	}
}
