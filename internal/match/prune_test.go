package match_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"spoor/internal/event"
	"spoor/internal/match"
)

// TestPruner: what a pruner rules out does not hold, and what columns decide alone it decides.
func TestPruner(t *testing.T) {
	t.Parallel()
	at := func(path string) *match.Place { return match.At(event.ParsePath(path)) }
	is := func(path string, values ...string) match.Expr {
		var ps []*match.Pattern
		for _, v := range values {
			ps = append(ps, match.NewPattern([]match.Part{{Text: v}}, false))
		}
		return match.Field(at(path), match.Values(ps))
	}
	contains := func(path, text string) match.Expr {
		return match.Field(at(path), match.Values([]*match.Pattern{match.NewPattern([]match.Part{{Kind: match.Star}, {Text: text}, {Kind: match.Star}}, false)}))
	}
	re, err := match.Regexp("^Get.*")
	if err != nil {
		t.Fatal(err)
	}
	net := match.Field(at("sourceIPAddress"), match.CIDR(netip.MustParsePrefix("198.51.100.0/24")))
	leaves := []match.Expr{
		is("eventName", "GetObject", "putObject"), is("eventSource", "s3.amazonaws.com"), contains("userIdentity.arn", "ana"),
		is("errorCode", "AccessDenied"), match.Field(at("errorCode"), match.NullOrMissing()), match.Exists(at("errorCode")),
		match.Field(at("eventName"), re), net, is("requestParameters.bucketName", "b"), match.Const(true),
		match.Field(at("userIdentity.userName").Else(at("userIdentity.arn")), match.Values([]*match.Pattern{match.NewPattern([]match.Part{{Kind: match.Star}, {Text: "ana"}}, false)})),
		is("eventID", "ABC"),
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	var tree func(depth int) match.Expr
	tree = func(depth int) match.Expr {
		if depth == 0 || rnd.IntN(3) == 0 {
			return leaves[rnd.IntN(len(leaves))]
		}
		subs := []match.Expr{tree(depth - 1), tree(depth - 1), tree(depth - 1)}[:1+rnd.IntN(3)]
		switch rnd.IntN(5) {
		case 0:
			return match.Or(subs...)
		case 1:
			return match.Not(subs[0])
		case 2:
			return match.AtLeast(2, subs...)
		case 3:
			return match.Named("n", match.And(subs...))
		}
		return match.And(subs...)
	}
	pick := func(of ...string) string { return of[rnd.IntN(len(of))] }
	var events []*event.Event
	for range 300 {
		raw := fmt.Sprintf(`{"eventID":%s,"eventName":%s,"eventSource":%s,"sourceIPAddress":%s,"errorCode":%s%s,"userIdentity":{"arn":%s%s},"requestParameters":{"bucketName":%s}}`,
			pick(`"abc"`, `"ABC"`, `"abd"`), pick(`"GetObject"`, `"PUTOBJECT"`, `"ListUsers"`, `""`, `null`, `true`), pick(`"s3.amazonaws.com"`, `"iam.amazonaws.com"`),
			pick(`"198.51.100.7"`, `"203.0.113.1"`, `"AWS Internal"`, `null`), pick(`"AccessDenied"`, `null`, `"x"`, `""`), pick(``, `,"x":1`),
			pick(`"a/ana"`, `"a/bob"`, `null`), pick(``, `,"userName":"ana"`, `,"userName":null`, `,"userName":"bob"`), pick(`"b"`, `"c"`))
		e, err := event.Parse([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	ruledOut, decided := 0, 0
	for range 400 {
		xs := []match.Expr{tree(3), tree(2)}
		fields := match.TestedFields(xs...)
		p := match.NewPruner(xs, fields)
		var ctx match.Context
		for _, e := range events {
			texts := make([][]byte, len(fields))
			for i, f := range fields {
				if v := e.Get(f); v.Kind() == event.String || v.Kind() == event.True {
					texts[i] = append([]byte{}, v.Text()...)
				}
			}
			ctx.Reset(e)
			holds := slices.ContainsFunc(xs, ctx.Match)
			if possible := p.Possible(texts); !possible {
				if ruledOut++; holds {
					t.Fatalf("ruled out, but it holds: %s", e.Raw)
				}
			} else if !holds {
				decided++
			}
			for _, f := range fields {
				if need, ok := match.Needs(xs[0], f); ok && ctx.Match(xs[0]) && !slices.Contains(need, match.Fold(e.Text(f))) {
					t.Fatalf("needs %v of field %d, but it holds: %s", need, f, e.Raw)
				}
			}
		}
	}
	if ruledOut < 20_000 || ruledOut < decided {
		t.Errorf("%d ruled out, %d let pass that do not hold: too few", ruledOut, decided)
	}
}
