package match

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"spoor/internal/event"
)

func parseEvent(t testing.TB, text string) *event.Event {
	t.Helper()
	e, err := event.Parse([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return e
}

func at(path string) *Place { return At(event.ParsePath(path)) }

func is(path string, patterns ...string) Expr {
	var ps []*Pattern
	for _, p := range patterns {
		ps = append(ps, pat(p))
	}
	return Field(at(path), Values(ps))
}

func eval(t testing.TB, x Expr, text string) bool {
	t.Helper()
	var c Context
	c.Reset(parseEvent(t, text))
	_, traced := c.Explain(x)
	held := c.Match(x)
	if traced != held {
		t.Errorf("%s: Explain says %v, Match %v", text, traced, held)
	}
	return held
}

func TestTests(t *testing.T) {
	t.Parallel()
	inf := math.Inf(1)
	regex := func(s string) Test {
		r, err := Regexp(s)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	text := func(ps ...string) Test {
		var out []*Pattern
		for _, p := range ps {
			out = append(out, pat(p))
		}
		return Values(out)
	}
	net := func(s ...string) Test {
		var out []netip.Prefix
		for _, n := range s {
			out = append(out, netip.MustParsePrefix(n))
		}
		return CIDR(out...)
	}
	policy := `{"doc":"{\"Action\":\"s3:GetObject\",\"Effect\":\"Allow\"}","n":1}`
	for _, c := range []struct {
		name  string
		test  Test
		value string // of x, "" for missing
		want  bool
	}{
		{"text", text("abc"), `"ABC"`, true},
		{"text against null", text("*"), `null`, false},
		{"text against missing", text("*"), ``, false},
		{"empty against null", text(""), `null`, false},
		{"empty", text(""), `""`, true},
		{"star on empty", text("*"), `""`, true},
		{"text against a number", text("22"), `22`, true},
		{"text against a decimal", text("1.5"), `1.50`, true},
		{"text against an exponent", text("100"), `1e2`, true},
		{"text against true", text("TRUE"), `true`, true},
		{"text against false", text("false"), `false`, true},
		{"element of a list", text("b"), `["a","b"]`, true},
		{"element of a list in a list", text("b"), `["a",["b"]]`, true},
		{"null in a list", NullOrMissing(), `[null,1]`, true},
		{"empty list is not null", NullOrMissing(), `[]`, false},
		{"null", NullOrMissing(), `null`, true},
		{"missing", NullOrMissing(), ``, true},
		{"not null", NullOrMissing(), `""`, false},
		{"escapes", text("a\"b\u00e9/"), `"a\"b\u00e9\/"`, true},
		{"long list", text("a", "b", "c", "d", "e", "f", "g"), `"G"`, true},
		{"long list, absent", text("a", "b", "c", "d", "e", "f", "g"), `"h"`, false},
		{"long list, folding", text("a", "b", "c", "d", "e", "f", "k"), `"` + "\u212a" + `"`, true},
		{"short list, folding", text("a", "k"), `"` + "\u212a" + `"`, true},
		{"short list, folding outside ASCII", text("é", "ö"), `"Ö"`, true},
		{"number", Values(nil, 1), `1.0`, true},
		{"number against a string", Values(nil, 1), `"1"`, false},
		{"leaf of an object", text("*GetObject*"), policy, true},
		{"leaf of an object, whole", text("1"), policy, true},
		{"JSON of an object", text(`*"n":1}`), policy, true},
		{"white space of an object", text(`*"n":1}`), `{"a": 0,` + "\n\t" + `"n" : 1 }`, true},
		{"quotes inside a policy", text(`*"s3:getobject"*"Allow"*`), policy, true},
		{"escaped quotes inside a policy", text(`*\"s3:GetObject\"*`), policy, true},
		{"needless escapes", text(`*"<x>/":"é"*`), `{"\u003cx\u003E\/":"\u00e9"}`, true},
		{"a surrogate pair", text("*\U0001F600\"}"), `{"a":"\ud83d\ude00"}`, true},
		{"a lone surrogate stays", text(`*\ud83d*`), `{"a":"\ud83d","b":2}`, true},
		{"a control character stays", text(`*a\u0001b*`), `{"x":{"y":"a\u0001b"}}`, true},
		{"an escaped quote by number", text(`{"a":"x"y"}`), `{"a":"x\u0022y"}`, true},
		{"null inside an object is no text", text(""), `{"a":null}`, false},
		{"object in a list", text("v"), `[{"a":"v"}]`, true},
		{"span of text", Numbers(Span{Min: 5, Max: inf}), `" 7 "`, true},
		{"span", Numbers(Span{Min: 5, Max: 7, OpenMax: true}), `7`, false},
		{"span, closed", Numbers(Span{Min: 5, Max: 7}), `7`, true},
		{"span, open below", Numbers(Span{Min: 5, Max: 7, OpenMin: true}), `5`, false},
		{"span of something else", Numbers(Span{Min: -inf, Max: inf}), `"x"`, false},
		{"span of true", Numbers(Span{Min: -inf, Max: inf}), `true`, false},
		{"span of missing", Numbers(Span{Min: -inf, Max: inf}), ``, false},
		{"span, one of a list", Numbers(Span{Min: 5, Max: inf}), `[1,9]`, true},
		{"cidr", net("10.0.0.0/8"), `"10.1.2.3"`, true},
		{"cidr, outside", net("10.0.0.0/8"), `"11.1.2.3"`, false},
		{"cidr, second", net("10.0.0.0/8", "2001:db8::/32"), `"2001:DB8::1"`, true},
		{"cidr, mapped", net("10.0.0.0/8"), `"::ffff:10.1.2.3"`, true},
		{"cidr, mapped network", net("::ffff:10.0.0.0/104"), `"10.1.2.3"`, true},
		{"cidr, all of IPv4 is not IPv6", net("0.0.0.0/0"), `"::1"`, false},
		{"cidr, zone", net("fe80::/10"), `"fe80::1%eth0"`, true},
		{"cidr, service", net("0.0.0.0/0"), `"ec2.amazonaws.com"`, false},
		{"cidr, internal", net("0.0.0.0/0"), `"AWS Internal"`, false},
		{"cidr, number", net("0.0.0.0/0"), `10`, false},
		{"cidr, object", net("10.0.0.0/8"), `{"a":"10.1.1.1"}`, false},
		{"re is found anywhere", regex("b+"), `"abba"`, true},
		{"re minds case", regex("b+"), `"ABBA"`, false},
		{"re with a flag", regex("(?i)b+c"), `"ABBCA"`, true},
		{"re with a needed literal", regex(".+:assumed-role/aws:.+"), `"arn:aws:sts::1:assumed-role/aws:x/y"`, true},
		{"re with a needed literal, absent", regex(".+:assumed-role/aws:.+"), `"arn:aws:sts::1:assumed-role/x/y"`, false},
		{"re, alternatives", regex("foo|bar"), `"xbar"`, true},
		{"re on a number", regex("^2.$"), `22`, true},
		{"re in an object", regex(`"s3:Get`), policy, true},
		{"re on null", regex(""), `null`, false},
		{"hour", TimeParts(Hour, Span{Min: 13, Max: 13}), `"2024-05-06T15:04:05+02:00"`, true},
		{"minute", TimeParts(Minute, Span{Min: 4, Max: 4}), `"2024-05-06 15:04:05"`, true},
		{"day", TimeParts(Day, Span{Min: 6, Max: 6}), `"2024-05-06"`, true},
		{"ISO week", TimeParts(Week, Span{Min: 53, Max: 53}), `"2021-01-01T00:00:00Z"`, true},
		{"month", TimeParts(Month, Span{Min: 5, Max: 5}), `"May 6, 2024 3:04:05 PM"`, true},
		{"year of seconds", TimeParts(Year, Span{Min: 2024, Max: 2024}), `1715007845`, true},
		{"year of milliseconds", TimeParts(Year, Span{Min: 2024, Max: 2024}), `1715007845123`, true},
		{"year of no time", TimeParts(Year, Span{Min: -inf, Max: inf}), `"yesterday, perhaps"`, false},
		{"year of a huge number", TimeParts(Year, Span{Min: -inf, Max: inf}), `1e300`, false},
		{"year of true", TimeParts(Year, Span{Min: -inf, Max: inf}), `true`, false},
	} {
		e := `{"y":0}`
		if c.value != "" {
			e = `{"x":` + c.value + `}`
		}
		if got := eval(t, Field(at("x"), c.test), e); got != c.want {
			t.Errorf("%s: %v on %s, want %v", c.name, got, e, c.want)
		}
	}
}

func TestExpressions(t *testing.T) {
	t.Parallel()
	a, b, c := is("x", "1"), is("y", "1"), is("z", "1")
	for _, k := range []struct {
		name  string
		x     Expr
		event string
		want  bool
	}{
		{"and of nothing", And(), `{}`, true},
		{"or of nothing", Or(), `{}`, false},
		{"and", And(a, b), `{"x":1,"y":1}`, true},
		{"and, one lacks", And(a, b), `{"x":1}`, false},
		{"or", Or(a, b), `{"y":1}`, true},
		{"not", Not(And(a, b)), `{"y":1}`, true},
		{"not not", Not(Not(a)), `{"x":1}`, true},
		{"two of three", AtLeast(2, a, b, c), `{"x":1,"z":1}`, true},
		{"two of three, one", AtLeast(2, a, b, c), `{"z":1}`, false},
		{"three of two", AtLeast(3, a, b), `{"x":1,"y":1}`, false},
		{"none of two", AtLeast(0, a, b), `{}`, true},
		{"exists", Exists(at("x")), `{"x":null}`, true},
		{"exists, missing", Exists(at("x")), `{}`, false},
		{"exists, typed", Exists(at("errorCode")), `{"errorCode":null}`, true},
		{"exists, empty list", Exists(at("x")), `{"x":[]}`, true},
		{"path over two lists", is("r.d.c", "v"), `{"r":{"d":[{"c":["u"]},{"c":["w","v"]}]}}`, true},
		{"no element, by not", Not(is("r.d", "v")), `{"r":{"d":["u","w"]}}`, true},
		{"reference", FieldRef(at("x"), at("y"), Equal, false), `{"x":"AbC","y":"aBc"}`, true},
		{"reference, case", FieldRef(at("x"), at("y"), Equal, true), `{"x":"AbC","y":"aBc"}`, false},
		{"reference, stars are plain", FieldRef(at("x"), at("y"), Equal, false), `{"x":"abc","y":"a*"}`, false},
		{"reference, missing", FieldRef(at("x"), at("y"), Equal, false), `{"x":"abc"}`, false},
		{"reference, both missing", FieldRef(at("x"), at("y"), Equal, false), `{}`, false},
		{"reference, both null", FieldRef(at("x"), at("y"), Equal, false), `{"x":null,"y":null}`, false},
		{"reference, any pair", FieldRef(at("x"), at("y"), Equal, false), `{"x":["a","b"],"y":["c","B"]}`, true},
		{"reference, contains", FieldRef(at("x"), at("y"), Contains, false), `{"x":"arn:user/Ana","y":"ana"}`, true},
		{"reference, ends", FieldRef(at("x"), at("y"), EndsWith, false), `{"x":"arn:user/Ana","y":"ana"}`, true},
		{"reference, starts", FieldRef(at("x"), at("y"), StartsWith, false), `{"x":"arn:user/Ana","y":"ana"}`, false},
		{"reference, numbers", FieldRef(at("x"), at("y"), Equal, false), `{"x":1.0,"y":1}`, true},
		{"reference, number and text", FieldRef(at("x"), at("y"), Equal, false), `{"x":"1","y":1}`, true},
		{"reference, outside ASCII", FieldRef(at("x"), at("y"), Contains, false), `{"x":"xÉy","y":"é"}`, true},
		{"reference into an object", FieldRef(at("x"), at("y"), Equal, false), `{"x":{"k":"v"},"y":"v"}`, true},
		{"anywhere", Anywhere(Values([]*Pattern{pat("*needle*")}), false), `{"a":{"b":[1,{"c":"a Needle!"}]}}`, true},
		{"anywhere, keys do not count", Anywhere(Values([]*Pattern{pat("*needle*")}), false), `{"needle":1}`, false},
		{"anywhere, over values", Anywhere(Values([]*Pattern{pat("*one*two*")}), true), `{"a":"one","b":"two"}`, true},
		{"anywhere, over values without JSON", Anywhere(Values([]*Pattern{pat("*one*two*")}), false), `{"a":"one","b":"two"}`, false},
		{"else", Field(at("x").Else(at("y")), Values([]*Pattern{pat("v")})), `{"y":"v"}`, true},
		{"else, present", Field(at("x").Else(at("y")), Values([]*Pattern{pat("v")})), `{"x":"u","y":"v"}`, false},
		{"else, null is present", Field(at("x").Else(at("y")), Values([]*Pattern{pat("v")})), `{"x":null,"y":"v"}`, false},
		{"else else", Field(at("x").Else(at("y")).Else(at("z")), Values([]*Pattern{pat("v")})), `{"z":"v"}`, true},
		{"derived", Field(at("x").Else(Derived("d", func(*event.Event) (string, bool) { return "a\"v", true })), Values([]*Pattern{pat("*V")})), `{}`, true},
		{"derived, nothing", Field(Derived("d", func(*event.Event) (string, bool) { return "", false }), Values([]*Pattern{pat("*")})), `{}`, false},
		{"derived, nothing is missing", Field(Derived("d", func(*event.Event) (string, bool) { return "", false }), NullOrMissing()), `{}`, true},
	} {
		if got := eval(t, k.x, k.event); got != k.want {
			t.Errorf("%s: %v, want %v", k.name, got, k.want)
		}
	}
}

func TestRegexpRefuses(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]string{
		`a(?=b)`: "look-ahead ((?=)", `a(?!b)`: "look-ahead ((?!)", `(?<=a)b`: "look-behind ((?<=)", `(?<!a)b`: "look-behind ((?<!)",
		`(a)\1`: `back-reference (\1)`, `(?P<n>a)(?P=n)`: "back-reference", `(?<n>a)\k<n>`: "back-reference", `(?>a)`: "atomic", `a++b`: "possessive", `a*+`: "possessive",
		`(?(1)a|b)`: "conditional", `a{`: "", `(`: "missing closing", strings.Repeat("a", MaxRegexp+1): "limit",
		`[(?=]`: "", `[^](?=]`: "", `\(?=`: "", `[\]]`: "", `\Q(?=\E`: "", `a+?`: "", `[a+]+`: "", `a\++`: "",
	} {
		_, err := Regexp(expr)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", expr, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: error %v, want one with %q", expr, err, want)
		}
	}
}

func TestRegexpSubject(t *testing.T) {
	t.Parallel()
	x, err := Regexp("needle")
	if err != nil {
		t.Fatal(err)
	}
	pad := strings.Repeat("x", MaxRegexpSubject-6)
	for text, want := range map[string]bool{pad + "needle": true, pad + " needle": false} {
		if got := eval(t, Field(at("x"), x), `{"x":"`+text+`"}`); got != want {
			t.Errorf("needle that ends at %d: %v, want %v", len(text), got, want)
		}
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	x := And(
		Named("sel", And(is("eventName", "create*"), Or(is("requestParameters.a.b", "two"), is("userAgent", "none")))),
		Not(Named("filter", is("eventSource", "iam*"))),
		Named("gone", Field(at("errorCode"), NullOrMissing())),
		Named("object", is("requestParameters", "*\"b\"*")),
	)
	var c Context
	c.Reset(parseEvent(t, `{"eventName":"CreateUser","eventSource":"ec2","requestParameters":{"a":[{"b":"one"},{"b":"two"}]}}`))
	trace, held := c.Explain(x)
	if !held {
		t.Fatal("does not hold")
	}
	want := []Held{
		{Path: "errorCode", Missing: true}, {Path: "eventName", Value: "CreateUser"}, {Path: "requestParameters.a.b", Value: "two"},
		{Path: "requestParameters", Value: `{"a":[{"b":"one"},{"b":"two"}]}`},
	}
	slices.SortFunc(trace.Tests, func(a, b Held) int { return strings.Compare(a.Path+a.Value, b.Path+b.Value) })
	slices.SortFunc(want, func(a, b Held) int { return strings.Compare(a.Path+a.Value, b.Path+b.Value) })
	if !slices.Equal(trace.Tests, want) {
		t.Errorf("tests %+v, want %+v", trace.Tests, want)
	}
	slices.Sort(trace.Names)
	if names := []string{"gone", "object", "sel"}; !slices.Equal(trace.Names, names) {
		t.Errorf("names %v, want %v", trace.Names, names)
	}
	c.Reset(parseEvent(t, `{"eventName":"CreateUser"}`))
	if trace, held = c.Explain(x); held || len(trace.Tests)+len(trace.Names) != 0 {
		t.Errorf("held %v with %+v, want nothing", held, trace)
	}
}

func TestExplainCutsValues(t *testing.T) {
	t.Parallel()
	var c Context
	c.Reset(parseEvent(t, `{"x":"a`+strings.Repeat("é", MaxHeldValue)+`"}`))
	trace, held := c.Explain(is("x", "a*"))
	if want := "a" + strings.Repeat("é", (MaxHeldValue-1)/2); !held || len(trace.Tests) != 1 || trace.Tests[0].Value != want {
		t.Errorf("%v %d tests, want the value cut to %d bytes", held, len(trace.Tests), len(want))
	}
}

// world makes random events and expressions out of few words, so that they meet often.
type world struct{ *rand.Rand }

func (w world) pick(s ...string) string { return s[w.IntN(len(s))] }

var (
	names   = []string{"CreateUser", "DeleteUser", "ListUsers", "GetObject", "PutObject", "StopLogging"}
	sources = []string{"iam.amazonaws.com", "s3.amazonaws.com", "cloudtrail.amazonaws.com"}
	agents  = []string{"aws-cli/2.0 md/Botocore", "Boto3/1.28", "TruffleHog", "S3 Browser/9.5.5", "console.amazonaws.com", "Pac\u212a\u017f tool", "a\\\"quoted\\/agent"}
	paths   = []string{"eventName", "eventSource", "userAgent", "userIdentity.type", "userIdentity.arn", "errorCode", "requestParameters.bucket", "requestParameters.tags.key", "requestParameters", "resources.ARN", "EVENTNAME"}
)

func (w world) event() string {
	var b strings.Builder
	b.WriteString(`{"v":1`)
	add := func(key, val string) { b.WriteString(`,"` + key + `":` + val) }
	quote := func(s string) string { return `"` + s + `"` }
	switch w.IntN(12) {
	case 0:
	case 1:
		add("eventName", w.pick("null", "5", `["CreateUser","GetObject"]`, `{"a":"CreateUser"}`, "true"))
	case 2:
		add("EventName", quote(w.pick(names...)))
	case 3:
		add("eventName", quote(w.pick("create\\u0055ser", "LI\u017fTUSERS", "")))
	default:
		add("eventName", quote(w.pick(names...)))
	}
	switch w.IntN(8) {
	case 0:
	case 1:
		add("eventSource", w.pick("null", "[]", `"IAM.amazonaws.com"`))
	default:
		add("eventSource", quote(w.pick(sources...)))
	}
	if w.IntN(6) > 0 {
		add("userAgent", w.pick(quote(w.pick(agents...)), quote(w.pick(agents...)), "null", `[`+quote(w.pick(agents...))+`,3]`))
	}
	if w.IntN(6) > 0 {
		add("userIdentity", w.pick(`{"type":"Root"}`, `{"type":"IAMUser","arn":"arn:aws:iam::1:user/ana"}`, `{"TYPE":"AssumedRole","arn":"arn:aws:sts::1:assumed-role/aws:x/i-1"}`, `[{"type":"Root"},{"type":"IAMUser"}]`, "null"))
	}
	if w.IntN(3) == 0 {
		add("errorCode", w.pick(`"AccessDenied"`, `null`, `"Client.UnauthorizedOperation"`, "404"))
	}
	if w.IntN(4) > 0 {
		add("requestParameters", w.pick(`null`, `{"bucket":"Logs"}`, `{"bucket":["logs","data"],"tags":[{"key":"a"},{"key":"b"}]}`, `{"bucket":7,"tags":{"key":null}}`, `{"tags.key":"c","policy":"{\"Effect\":\"Allow\"}"}`))
	}
	if w.IntN(4) == 0 {
		add("resources", `[{"ARN":"arn:aws:s3:::logs"},{"ARN":"arn:aws:s3:::data"}]`)
	}
	b.WriteByte('}')
	return b.String()
}

func (w world) value() string {
	return w.pick("CreateUser", "createuser", "Create*", "*User*", "*Us?r", "ListUsers", "GetObject", "PUTobject", "iam.amazonaws.com", "s3.*", "*.amazonaws.com", "*", "",
		"Root", "IAMUser", "*truffleh*", "*S3 Browser*", "*pacKS*", "AccessDenied", "*Unauthorized*", "logs", "data", "7", "404", "a", "*:assumed-role/aws:*", "arn:aws:s3:::logs",
		"*\"Allow\"*", "*quoted*", "true", "5", "c")
}

func (w world) expr(depth int) Expr {
	if depth > 0 {
		var xs []Expr
		for range 1 + w.IntN(3) {
			xs = append(xs, w.expr(depth-1))
		}
		switch w.IntN(6) {
		case 0:
			return Or(xs...)
		case 1:
			return Not(xs[0])
		case 2:
			return AtLeast(1+w.IntN(len(xs)), xs...)
		case 3:
			return Named("n", xs[0])
		default:
			return And(xs...)
		}
	}
	place := at(w.pick(paths...))
	switch w.IntN(14) {
	case 0:
		return Exists(place)
	case 1:
		return Field(place, NullOrMissing())
	case 2:
		return Field(place.Else(at(w.pick(paths...))), Values([]*Pattern{pat(w.value())}))
	case 3:
		t, err := Regexp(w.pick("User", "(?i)truffle", "assumed-role/aws:.+", "a|b", "^s3[.]", "(Create|Delete)User", "(?:Get){1}Obj"))
		if err != nil {
			panic(err)
		}
		return Field(place, t)
	case 4:
		return FieldRef(place, at(w.pick(paths...)), Relation(w.IntN(4)), w.IntN(2) == 0)
	case 5:
		return Anywhere(Values([]*Pattern{pat(w.value())}), w.IntN(2) == 0)
	case 6:
		return Field(place, Values([]*Pattern{cased(w.value())}, 7, 5))
	case 7:
		return Field(place, Numbers(Span{Min: 4, Max: 7}))
	}
	var ps []*Pattern
	for range 1 + w.IntN(8) {
		ps = append(ps, pat(w.value()))
		if w.IntN(3) > 0 {
			break
		}
	}
	return Field(place, Values(ps))
}

// TestIndexEqualsEvaluation is the promise of the index: what it leaves out cannot hold.
func TestIndexEqualsEvaluation(t *testing.T) {
	t.Parallel()
	held, possible, all := 0, 0, 0
	for seed := range uint64(30) {
		w := world{rand.New(rand.NewPCG(seed, 1))}
		var xs []Expr
		for range []int{3, 30, 300}[seed%3] {
			xs = append(xs, w.expr(w.IntN(3)))
		}
		ix := NewIndex(xs)
		m := ix.NewMatcher()
		var c Context
		for range 300 {
			text := w.event()
			e := parseEvent(t, text)
			c.Reset(e)
			var want []int
			for i, x := range xs {
				if c.Match(x) {
					want = append(want, i)
				}
				if _, traced := c.Explain(x); traced != c.Match(x) {
					t.Fatalf("seed %d, expression %d on %s: Explain and Match disagree", seed, i, text)
				}
			}
			got := m.Match(e, nil)
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d on %s: the index gives %v, evaluation %v", seed, text, got, want)
			}
			cand := slices.Clone(m.Candidates(e))
			slices.Sort(cand)
			if len(slices.Compact(slices.Clone(cand))) != len(cand) {
				t.Fatalf("seed %d on %s: a candidate twice: %v", seed, text, cand)
			}
			held, possible, all = held+len(want), possible+len(cand), all+len(xs)
		}
	}
	if held == 0 || possible == all {
		t.Errorf("%d held, %d candidates of %d: the test tests nothing", held, possible, all)
	}
	t.Logf("%d held, %d candidates of %d", held, possible, all)
}

func TestMatcherForgetsPairs(t *testing.T) {
	t.Parallel()
	ix := NewIndex([]Expr{is("eventName", "a1*"), is("eventName", "b")})
	m := ix.NewMatcher()
	for i := range maxPairs + 10 {
		name := "a" + strings.Repeat("1", i%7) + strings.Repeat("x", i)
		if i%2 == 0 {
			name = "a" + strings.Repeat("y", i%500) + strings.Repeat("z", i/500)
		}
		got := m.Match(parseEvent(t, `{"eventSource":"s","eventName":"`+name+`"}`), nil)
		if want := strings.HasPrefix(name, "a1"); (len(got) == 1) != want {
			t.Fatalf("%.20s: %v, want it to match: %v", name, got, want)
		}
		if len(m.pairs) > maxPairs {
			t.Fatalf("%d pairs remembered, the limit is %d", len(m.pairs), maxPairs)
		}
	}
}
