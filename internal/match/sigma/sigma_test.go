package sigma

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"spoor/internal/event"
	"spoor/internal/match"
)

var testOptions = Options{Placeholders: map[string][]string{"admins": {"ana", "svc-*"}, "one": {"x"}, "none": {}}}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n  ") + "\n"
}

// ruleOf is a rule document with the detection.
func ruleOf(detection string) string {
	return "title: t\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n" + indent(detection)
}

// compile gives the rule of a detection, or the reason why there is none.
func compile(t testing.TB, detection string) (*Rule, string) {
	t.Helper()
	docs, problems := Parse("f.yml", []byte(ruleOf(detection)), testOptions)
	for _, p := range problems {
		if p.Fatal {
			return nil, p.Reason
		}
	}
	if len(docs.Rules) != 1 {
		t.Fatalf("%s\n%d rules, want 1", detection, len(docs.Rules))
	}
	return docs.Rules[0], ""
}

// selects reports whether a rule with the one item matches the event.
func selects(t testing.TB, item, record string) bool {
	t.Helper()
	r, reason := compile(t, "s:\n"+indent(item)+"condition: s")
	if reason != "" {
		t.Fatalf("%s: %s", item, reason)
	}
	return holds(t, r.Expr, record)
}

func holds(t testing.TB, x match.Expr, record string) bool {
	t.Helper()
	e, err := event.Parse([]byte(record))
	if err != nil {
		t.Fatalf("%s: %v", record, err)
	}
	var c match.Context
	c.Reset(e)
	held := c.Match(x)
	if _, traced := c.Explain(x); traced != held {
		t.Errorf("%s: Explain says %v, Match %v", record, traced, held)
	}
	if got := match.NewIndex([]match.Expr{x}).NewMatcher().Match(e, nil); (len(got) == 1) != held {
		t.Errorf("%s: the index says %v, Match %v", record, got, held)
	}
	return held
}

// TestValues has a line for each rule of comparison of values, of wildcards and of paths.
func TestValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		item, record string
		want         bool
	}{
		// text against text
		{`eventName: createuser`, `{"eventName":"CreateUser"}`, true},
		{`eventName: CreateUse`, `{"eventName":"CreateUser"}`, false},
		{`a: Ä`, `{"a":"ä"}`, true},
		{`a: ''`, `{"a":""}`, true},
		{`a: '*'`, `{"a":""}`, true},
		{`a: ''`, `{"a":"x"}`, false},
		// text against numbers and booleans, as published rules have it
		{`requestParameters.enable: 'false'`, `{"requestParameters":{"enable":false}}`, true},
		{`responseElements.publiclyAccessible: 'True'`, `{"responseElements":{"publiclyAccessible":true}}`, true},
		{`requestParameters.fromPort: '22'`, `{"requestParameters":{"fromPort":22}}`, true},
		{`requestParameters.fromPort: '2*'`, `{"requestParameters":{"fromPort":22}}`, true},
		{`a: false`, `{"a":"FALSE"}`, true},
		{`a: true`, `{"a":true}`, true},
		{`a: true`, `{"a":false}`, false},
		{`a: 22`, `{"a":"22"}`, true},
		{`a: 22`, `{"a":22.0}`, true},
		{`a: 1.0`, `{"a":1}`, true},
		{`a: '1.0'`, `{"a":1}`, false},
		{`a: 1.10`, `{"a":"1.10"}`, true},
		{`a: 012345678901`, `{"a":"012345678901"}`, true},
		{`a: 0x16`, `{"a":22}`, true},
		{`a: 0o26`, `{"a":22}`, true},
		{`a: 1e3`, `{"a":1000}`, true},
		{`a: 1e3`, `{"a":"1000"}`, true},
		{`a: 22`, `{"a":"22a"}`, false},
		// YAML 1.2: no other words are booleans, dates are text
		{`additionalEventData.MFAUsed: No`, `{"additionalEventData":{"MFAUsed":"No"}}`, true},
		{`a: yes`, `{"a":"yes"}`, true},
		{`a: on`, `{"a":true}`, false},
		{`a: off`, `{"a":"off"}`, true},
		{`a: 2024-01-02`, `{"a":"2024-01-02"}`, true},
		{`a: !!str true`, `{"a":"true"}`, true},
		{`a: .inf`, `{"a":".INF"}`, true},
		// null and missing
		{`errorCode: null`, `{}`, true},
		{`errorCode: null`, `{"errorCode":null}`, true},
		{`errorCode: ~`, `{"errorCode":null}`, true},
		{`errorCode:`, `{}`, true},
		{`errorCode: []`, `{}`, true},
		{`errorCode: null`, `{"errorCode":""}`, false},
		{`errorCode: null`, `{"errorCode":"X"}`, false},
		{`errorCode: ''`, `{"errorCode":null}`, false},
		{`errorCode: '*'`, `{"errorCode":null}`, false},
		{`errorCode: '*'`, `{}`, false},
		{`errorCode: 'null'`, `{"errorCode":null}`, false},
		{`requestParameters.a: null`, `{"requestParameters":null}`, true},
		{`requestParameters.a|exists: false`, `{"requestParameters":null}`, true},
		{`errorCode: [null, AccessDenied]`, `{}`, true},
		{`errorCode: [null, AccessDenied]`, `{"errorCode":"AccessDenied"}`, true},
		{`errorCode: [null, AccessDenied]`, `{"errorCode":"X"}`, false},
		// lists
		{`a: [x, y]`, `{"a":"Y"}`, true},
		{`a: x`, `{"a":["w","X"]}`, true},
		{`a: x`, `{"a":[["X"]]}`, true},
		{`a: x`, `{"a":[]}`, false},
		{`a: [a, b, c, d, e, f, g, h]`, `{"a":"H"}`, true},
		{`a: [1, 2, 3, 4, 5, 6, '7*']`, `{"a":78}`, true},
		// paths
		{`requestParameters.containerDefinitions.command|contains: uri`, `{"requestParameters":{"containerDefinitions":[{"command":["sh","-c"]},{"command":["curl $URI"]}]}}`, true},
		{`REQUESTPARAMETERS.BucketName: x`, `{"requestParameters":{"bucketName":"x"}}`, true},
		{`a.b: x`, `{"a":{"B":"y","b":"x"}}`, true},
		{`tags.aws:createdBy.x: v`, `{"tags":{"aws:createdBy.x":"v"}}`, true},
		{`a.b.c: v`, `{"a":{"b.c":"v","b":{"c":"w"}}}`, true},
		{`a.1: y`, `{"a":["x","y"]}`, true},
		{`a.0: y`, `{"a":["x","y"]}`, false},
		// a field of other systems that CloudTrail lacks never matches, and is not repaired
		{`status: success`, `{"responseElements":{"status":"success"}}`, false},
		// wildcards and escapes
		{`eventName: 'list*'`, `{"eventName":"ListBuckets"}`, true},
		{`a: 'a?c'`, `{"a":"aXc"}`, true},
		{`a: 'a?c'`, `{"a":"ac"}`, false},
		{`a: 'a*c'`, `{"a":"a\nb\nc"}`, true},
		{`a: 'a\*c'`, `{"a":"a*c"}`, true},
		{`a: 'a\*c'`, `{"a":"abc"}`, false},
		{`a: 'a\?c'`, `{"a":"abc"}`, false},
		{`a: 'a\?c'`, `{"a":"a?c"}`, true},
		{`a: 'a\\*c'`, `{"a":"a\\bc"}`, true},
		{`a: 'a\\*c'`, `{"a":"a*c"}`, false},
		{`a: 'a\\\*c'`, `{"a":"a\\*c"}`, true},
		{`a: 'a\\\*c'`, `{"a":"a\\bc"}`, false},
		{`a: 'a\bc'`, `{"a":"a\\bc"}`, true},
		{`a: 'a\\bc'`, `{"a":"a\\bc"}`, true},
		{`a: 'a\'`, `{"a":"a\\"}`, true},
		{`a: 'a\\'`, `{"a":"a\\"}`, true},
		{`a: '100%'`, `{"a":"100%"}`, true},
		{`a: '%admins%'`, `{"a":"ana"}`, false},
		{`userAgent|contains: 'Jersey/${project.version}'`, `{"userAgent":"x Jersey/${project.version} (y)"}`, true},
		{`userAgent|contains: 'Jersey/${project.version}'`, `{"userAgent":"x Jersey/2"}`, false},
		// whole objects
		{`responseElements|contains: Failure`, `{"responseElements":{"ConsoleLogin":"Failure"}}`, true},
		{`responseElements|contains: consolelogin`, `{"responseElements":{"ConsoleLogin":"Failure"}}`, true},
		{`responseElements|contains: '*'`, `{"responseElements":{}}`, true},
		{`responseElements|contains: '*'`, `{"responseElements":null}`, false},
		{"requestParameters|contains|all:\n  - '\"arn:aws:s3:::<YOUR-BUCKET-NAME>/*\"'\n  - '\"s3:GetObject\"'\n  - '\"Allow\"'\n  - userName\":\"ana",
			`{"requestParameters":{"userName":"ana","policyDocument":"{\"Effect\":\"Allow\",\"Action\":[\"s3:GetObject\"],\"Resource\":\"arn:aws:s3:::<YOUR-BUCKET-NAME>/x/*\"}"}}`, true},
		{"requestParameters|contains|all:\n  - '\"arn:aws:s3:::<YOUR-BUCKET-NAME>/*\"'\n  - '\"s3:GetObject\"'\n  - '\"Allow\"'\n  - userName\":\"ana",
			`{"requestParameters":{"userName":"ana","policyDocument":"{\"Effect\":\"Allow\",\"Action\":[\"s3:GetObject\"],\"Resource\":\"arn:aws:s3:::<YOUR-BUCKET-NAME>/*\"}"}}`, true},
		{`requestParameters|contains|all: ['"s3:GetObject"', '"Deny"']`, `{"requestParameters":{"policyDocument":"{\"Effect\":\"Allow\",\"Action\":[\"s3:GetObject\"]}"}}`, false},
		{`requestParameters: x`, `{"requestParameters":{"a":{"b":"X"}}}`, true},
		{`requestParameters: '{"a":1}'`, `{"requestParameters": {"a" : 1}}`, true},
	} {
		if got := selects(t, c.item, c.record); got != c.want {
			t.Errorf("%s on %s: %v, want %v", c.item, c.record, got, c.want)
		}
	}
}

func TestModifiers(t *testing.T) {
	t.Parallel()
	b64 := base64.StdEncoding.EncodeToString
	for _, c := range []struct {
		item, record string
		want         bool
	}{
		{`a|contains: B`, `{"a":"abc"}`, true},
		{`a|contains: B`, `{"a":"ac"}`, false},
		{`a|contains: '*b*'`, `{"a":"abc"}`, true},
		{`a|contains: '*'`, `{"a":""}`, true},
		{`a|contains: '*'`, `{}`, false},
		{`a|contains: ''`, `{"a":"x"}`, true},
		{`a|contains: 2`, `{"a":123}`, true},
		{`a|contains: 'b?d'`, `{"a":"abcde"}`, true},
		{`a|startswith: AB`, `{"a":"abc"}`, true},
		{`a|startswith: b`, `{"a":"abc"}`, false},
		{`a|startswith: 1`, `{"a":12}`, true},
		{`a|endswith: BC`, `{"a":"abc"}`, true},
		{`a|endswith: b`, `{"a":"abc"}`, false},
		{`a|endswith: '\*'`, `{"a":"b*"}`, true},
		{`a|endswith: '\*'`, `{"a":"bc"}`, false},
		{`a|contains|all: [a, c]`, `{"a":"abc"}`, true},
		{`a|contains|all: [a, d]`, `{"a":"abc"}`, false},
		{`a|all: [x, y]`, `{"a":["x","y","z"]}`, true},
		{`a|all: [x, y]`, `{"a":["x","z"]}`, false},
		{`a|all|contains: [a, c]`, `{"a":"abc"}`, true},
		{`a|exists: true`, `{"a":null}`, true},
		{`a|exists: true`, `{}`, false},
		{`a|exists: false`, `{"a":null}`, false},
		{`a|exists: false`, `{}`, true},
		{`errorCode|exists: false`, `{"errorCode":""}`, false},
		{`a|exists|neq: true`, `{}`, true},
		{`a|cased: Abc`, `{"a":"Abc"}`, true},
		{`a|cased: Abc`, `{"a":"abc"}`, false},
		{`a|cased|contains: B`, `{"a":"aBc"}`, true},
		{`a|contains|cased: B`, `{"a":"abc"}`, false},
		{`a|cased: [A, B, C, D, E, F, G]`, `{"a":"g"}`, false},
		{`a|neq: x`, `{"a":"y"}`, true},
		{`a|neq: x`, `{"a":"X"}`, false},
		{`a|neq: x`, `{}`, true},
		{`a|neq: [x, y]`, `{"a":"y"}`, false},
		{`a|neq: [x, y]`, `{"a":"z"}`, true},
		{`a|neq: x`, `{"a":["x","y"]}`, false},
		{`a|contains|neq: x`, `{"a":"axb"}`, false},
		{`a|neq: null`, `{"a":1}`, true},
		{`a|re: b.d`, `{"a":"abcde"}`, true},
		{`a|re: B.D`, `{"a":"abcde"}`, false},
		{`a|re|i: B.D`, `{"a":"abcde"}`, true},
		{`a|re|ignorecase: B.D`, `{"a":"abcde"}`, true},
		{`a|re: ^c`, `{"a":"b\nc"}`, false},
		{`a|re|m: ^c`, `{"a":"b\nc"}`, true},
		{`a|re|multiline: ^c`, `{"a":"b\nc"}`, true},
		{`a|re: b.c`, `{"a":"b\nc"}`, false},
		{`a|re|s: b.c`, `{"a":"b\nc"}`, true},
		{`a|re|dotall|i: B.C`, `{"a":"b\nc"}`, true},
		{`a|re: 'b\*c'`, `{"a":"b*c"}`, true},
		{`a|re: 'a\\b'`, `{"a":"a\\b"}`, true},
		{`a|re: '^\d+$'`, `{"a":123}`, true},
		{`a|re: 12`, `{"a":123}`, true},
		{`a|re: '^(true|false)$'`, `{"a":false}`, true},
		{`a|re: '"b":1'`, `{"a":{"b":1}}`, true},
		{`a|re: '^x$'`, `{"a":{"b":["x"]}}`, true},
		{`a|re: '.*'`, `{"a":null}`, false},
		{`a|re|startswith: b`, `{"a":"ab"}`, false},
		{`a|re|startswith: a|b`, `{"a":"bc"}`, true},
		{`a|re|endswith: b`, `{"a":"ba"}`, false},
		{`a|re|contains: b`, `{"a":"abc"}`, true},
		{`a|re|all: ['a', 'c$']`, `{"a":"abc"}`, true},
		{`a|re|all: ['a', 'b$']`, `{"a":"abc"}`, false},
		{`a|cidr: 10.0.0.0/8`, `{"a":"10.2.3.4"}`, true},
		{`a|cidr: 10.0.0.0/8`, `{"a":"11.2.3.4"}`, false},
		{`a|cidr: [10.0.0.0/8, '2001:db8::/32']`, `{"a":"2001:db8::1"}`, true},
		{`a|cidr: 10.0.0.0/8`, `{"a":"::ffff:10.0.0.1"}`, true},
		{`a|cidr: 0.0.0.0/0`, `{"a":"AWS Internal"}`, false},
		{`a|cidr: 0.0.0.0/0`, `{"a":"ec2.amazonaws.com"}`, false},
		{`a|cidr: 10.0.0.1`, `{"a":"10.0.0.1"}`, true},
		{`a|lt: 5`, `{"a":4}`, true},
		{`a|lt: 5`, `{"a":5}`, false},
		{`a|lte: 5`, `{"a":"5"}`, true},
		{`a|gt: 5`, `{"a":5.5}`, true},
		{`a|gt: 5`, `{"a":"x"}`, false},
		{`a|gte: -1.5`, `{"a":-1.5}`, true},
		{`a|gte: 5`, `{"a":null}`, false},
		{`a|gte: 5`, `{"a":[1,6]}`, true},
		{`a|fieldref: b`, `{"a":"X","b":"x"}`, true},
		{`a|fieldref: b`, `{"a":"X","b":"y"}`, false},
		{`a|fieldref: b`, `{"a":"X"}`, false},
		{`a|fieldref: b`, `{"b":"X"}`, false},
		{`a|fieldref: b`, `{"a":null,"b":null}`, false},
		{`a|fieldref: b`, `{"a":"xyz","b":"x*"}`, false},
		{`a|fieldref: [c, b]`, `{"a":"X","b":"x","c":"y"}`, true},
		{`a|fieldref|neq: b`, `{"a":"X","b":"x"}`, false},
		{`a|fieldref|neq: b`, `{"a":"X","b":"y"}`, true},
		{`a|fieldref|neq: b`, `{"a":"X"}`, true},
		{`a|fieldref|contains: b.c`, `{"a":"user/Ana/x","b":{"c":"ana"}}`, true},
		{`a|fieldref|startswith: b`, `{"a":"AnaX","b":"ana"}`, true},
		{`a|fieldref|endswith: b`, `{"a":"XAna","b":"ana"}`, true},
		{`a|fieldref|endswith: b`, `{"a":"AnaX","b":"ana"}`, false},
		{`a|fieldref|cased: b`, `{"a":"X","b":"x"}`, false},
		// an ARN never equals a user name, and a path without fieldref is a plain text
		{`userIdentity.arn|fieldref: requestParameters.userName`, `{"userIdentity":{"arn":"arn:aws:iam::1:user/ana"},"requestParameters":{"userName":"ana"}}`, false},
		{`a|contains: b.c`, `{"a":"xy","b":{"c":"x"}}`, false},
		{`a|base64: ping`, `{"a":"` + b64([]byte("ping")) + `"}`, true},
		{`a|base64: ping`, `{"a":"` + strings.ToLower(b64([]byte("ping"))) + `"}`, false},
		{`a|base64|contains: foo`, `{"a":"x ` + b64([]byte("foo")) + ` y"}`, true},
		{`a|base64offset|contains: /bin/sh`, `{"a":"` + b64([]byte("/bin/sh -c")) + `"}`, true},
		{`a|base64offset|contains: /bin/sh`, `{"a":"` + b64([]byte("x/bin/sh -c")) + `"}`, true},
		{`a|base64offset|contains: /bin/sh`, `{"a":"` + b64([]byte("xy/bin/sh -c")) + `"}`, true},
		{`a|base64offset|contains: /bin/sh`, `{"a":"` + b64([]byte("xyz/bin/bash -c")) + `"}`, false},
		{`a|wide|base64: ab`, `{"a":"` + b64([]byte("a\x00b\x00")) + `"}`, true},
		{`a|utf16le|base64offset|contains: ping`, `{"a":"` + b64([]byte("xx\x00p\x00i\x00n\x00g\x00 \x00")) + `"}`, true},
		{`a|utf16be|base64: ab`, `{"a":"` + b64([]byte("\x00a\x00b")) + `"}`, true},
		{`a|utf16|base64: ab`, `{"a":"` + b64([]byte("\xff\xfea\x00b\x00")) + `"}`, true},
		{`a|utf16|base64: "\U0001F600"`, `{"a":"` + b64([]byte("\xff\xfe\x3d\xd8\x00\xde")) + `"}`, true},
		{`a|windash|contains: ' -foo'`, `{"a":"x /FOO"}`, true},
		{`a|windash|contains: ' -foo'`, `{"a":"x ` + "\u2013" + `foo"}`, true},
		{`a|contains|windash: ' /foo'`, `{"a":"x ` + "\u2015" + `foo"}`, true},
		{`a|windash: '-a -b'`, `{"a":"` + "\u2014" + `a /b"}`, true},
		{`a|windash: 'a-b'`, `{"a":"a/b"}`, false},
		{`a|windash: '- b'`, `{"a":"/ b"}`, false},
		{`a|windash|contains|all: [' -a', ' -b']`, `{"a":"x /a -b"}`, true},
		{`a|windash|contains|all: [' -a', ' -b']`, `{"a":"x /a"}`, false},
		{`a|expand: '%admins%'`, `{"a":"Ana"}`, true},
		{`a|expand: '%admins%'`, `{"a":"svc-7"}`, true},
		{`a|expand: '%admins%'`, `{"a":"bo"}`, false},
		{`a|expand: 'user/%admins%/%one%'`, `{"a":"user/svc-1/x"}`, true},
		{`a|expand: '%none%'`, `{"a":""}`, false},
		{`a|expand: '%none%'`, `{}`, false},
		{`a|expand: '\%admins%'`, `{"a":"%admins%"}`, true},
		{`a|expand: '100% of'`, `{"a":"100% of"}`, true},
		{`a|expand|contains: '%admins%'`, `{"a":"xanay"}`, true},
		{`a|contains|expand: '%admins%'`, `{"a":"xanay"}`, true},
		{`a|re|expand: '^%admins%$'`, `{"a":"svc-x"}`, true},
		{`a|re|expand: '^%admins%$'`, `{"a":"anab"}`, false},
		{`a|minute: 4`, `{"a":"2024-05-06T15:04:05Z"}`, true},
		{`a|hour: [3, 15]`, `{"a":"2024-05-06T15:04:05Z"}`, true},
		{`a|hour: 15`, `{"a":"2024-05-06T15:04:05+01:00"}`, false},
		{`a|hour|gte: 15`, `{"a":"2024-05-06T15:04:05Z"}`, true},
		{`a|lt|hour: 15`, `{"a":"2024-05-06T15:04:05Z"}`, false},
		{`a|day: 6`, `{"a":"2024-05-06T15:04:05Z"}`, true},
		{`a|week: 53`, `{"a":"2021-01-03T15:04:05Z"}`, true},
		{`a|month: 5`, `{"a":"2024-05-06"}`, true},
		{`a|year: 2024`, `{"a":"2024-05-06T15:04:05Z"}`, true},
		{`a|year: 2024`, `{"a":"no time"}`, false},
		{`a|year|neq: 2024`, `{"a":"2023-05-06T15:04:05Z"}`, true},
		// aliases
		{`src_ip: 10.*`, `{"sourceIPAddress":"10.1.1.1"}`, true},
		{`src_ip: 10.*`, `{"src_ip":"11","sourceIPAddress":"10.1.1.1"}`, false},
		{`src_ip|cidr: 10.0.0.0/8`, `{"sourceIPAddress":"10.1.1.1"}`, true},
		{`src_ip|exists: true`, `{"sourceIPAddress":"10.1.1.1"}`, true},
		{`src_country: DE`, `{"sourceIPAddress":"10.1.1.1"}`, false},
		{`user: ana`, `{"userIdentity":{"type":"IAMUser","userName":"ana","arn":"arn:aws:iam::111122223333:user/ana","accountId":"111122223333"}}`, true},
	} {
		if got := selects(t, c.item, c.record); got != c.want {
			t.Errorf("%s on %s: %v, want %v", c.item, c.record, got, c.want)
		}
	}
}

// TestBase64Offsets has the encodings by example: those of "foobar" and "ping" at each offset.
func TestBase64Offsets(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"foobar": "Zm9vYmFy Zvb2Jhc mb29iYX", "ping": "cGluZ Bpbm waW5n", "a": "Y h", "": "",
	} {
		if got := strings.Join(base64Offsets(text), " "); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
		if got := strings.Join(stable(text), " "); got != want {
			t.Errorf("%q: by trial %q, want %q", text, got, want)
		}
	}
}

// stable finds by trial the characters that text gives at each offset whatever stands around it.
func stable(text string) []string {
	var out []string
	for offset := range 3 {
		pad := 6 - (offset+len(text))%3
		a := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("\x00", offset) + text + strings.Repeat("\x00", pad)))
		b := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("\xff", offset) + text + strings.Repeat("\xff", pad)))
		var s strings.Builder
		for i := range min(len(a), len(b)) {
			if a[i] == b[i] {
				s.WriteByte(a[i])
			}
		}
		if s.Len() > 0 {
			out = append(out, s.String())
		}
	}
	return out
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for item, want := range map[string]string{
		`a|foo: x`:                             `unknown modifier "foo"`,
		`a|: x`:                                `unknown modifier ""`,
		`a|Contains: x`:                        `unknown modifier "Contains"`,
		`a|contains|exists: true`:              "contains does not take a boolean",
		`'|exists': true`:                      "exists needs a field",
		`a|exists: 'true'`:                     "exists does not take a text",
		`a|exists: 1`:                          "exists does not take a number",
		`a|exists: null`:                       "exists does not take null",
		`a|exists|contains: true`:              "contains does not take an existence test",
		`a|contains: null`:                     "contains does not take null",
		`a|contains: true`:                     "contains does not take a boolean",
		`a|contains: []`:                       "contains does not take null",
		`a|cidr|contains: 10.0.0.0/8`:          "contains does not take a network",
		`a|contains|re: x`:                     "re after contains",
		`a|all|re: [x, y]`:                     "re after all",
		`a|re: null`:                           "re does not take null",
		`a|re: '(?=x)'`:                        "look-ahead",
		`a|re: '(a)\1'`:                        "back-reference",
		`a|re: '('`:                            "missing closing",
		`a|re: ` + strings.Repeat("a", 10_241): "the limit is 10240",
		`a|i: x`:                               "i without re",
		`a|multiline: x`:                       "multiline without re",
		`a|cidr: 10.0.0.0/33`:                  "not a network",
		`a|cidr: 10.1.2.3/8`:                   "10.0.0.0/8 is meant",
		`a|cidr: '%net%'`:                      "not a network",
		`a|cidr: 10`:                           "cidr does not take a number",
		`a|contains|cidr: 10.0.0.0/8`:          "cidr after contains",
		`'|cidr': 10.0.0.0/8`:                  "needs a field",
		`a|lt: x`:                              "lt does not take a text",
		`a|gte: '5'`:                           "gte does not take a text",
		`'|lt': 5`:                             "needs a field",
		`a|fieldref: 'b*'`:                     "wildcards",
		`a|fieldref: ''`:                       "no field",
		`a|fieldref: 5`:                        "fieldref does not take a number",
		`'|fieldref': b`:                       "needs a field",
		`a|base64: 'a*'`:                       "wildcards",
		`a|base64offset: 'a?'`:                 "wildcards",
		`a|contains|base64: a`:                 "wildcards",
		`a|base64: null`:                       "base64 does not take null",
		`a|wide: 5`:                            "wide does not take a number",
		`a|windash: 5`:                         "windash does not take a number",
		`a|windash: '-a -b -c -d -e -f'`:       "more than 10000 alternatives",
		`a|cased: 5`:                           "cased does not take a number",
		`a|re|cased: x`:                        "cased does not take a regular expression",
		`a|expand: '%who%'`:                    "the placeholder %who% is not configured",
		`a|expand: 5`:                          "expand does not take a number",
		`a|hour: x`:                            "hour takes a number",
		`a|hour|day: 5`:                        "after another part",
		`'|hour': 5`:                           "needs a field",
		`a|hour|contains: 5`:                   "contains after a part of time",
		`a: {b: c}`:                            "a map where a value is expected",
		strings.Repeat("a.", 32) + `b: c`:      "32 segments",
		`a|fieldref: ` + strings.Repeat("a.", 32): "32 segments",
		`a: [[b]]`: "a list inside a list",
	} {
		_, reason := compile(t, "s:\n"+indent(item)+"condition: s")
		if !strings.Contains(reason, want) {
			t.Errorf("%s: %q, want it to say %q", item, reason, want)
		}
	}
	for detection, want := range map[string]string{
		"s: {}\ncondition: s":                                  "empty map",
		"s: []\ncondition: s":                                  "empty list",
		"s: null\ncondition: s":                                "null needs a field",
		"s: [null]\ncondition: s":                              "null needs a field",
		"condition: s":                                         "no selection",
		"s: {a: b}":                                            "no condition",
		"s: {a: b}\ncondition: {a: b}":                         "neither a text nor a list",
		"s: {a: b}\ncondition: []":                             "neither a text nor a list",
		"s: {a: b}\ncondition: [[s]]":                          "neither a text nor a list",
		"s: {a: b}\ncondition: t":                              `undefined identifier "t"`,
		"s: {a: b}\ncondition: s or t":                         `undefined identifier "t"`,
		"s: {a: b}\ncondition: ''":                             "it ends where",
		"s: {a: b}\ncondition: s and":                          "it ends where",
		"s: {a: b}\ncondition: s s":                            `unexpected "s"`,
		"s: {a: b}\ncondition: (s":                             "not closed",
		"s: {a: b}\ncondition: s)":                             `unexpected ")"`,
		"s: {a: b}\ncondition: and s":                          `unexpected "and"`,
		"s: {a: b}\ncondition: s*":                             "not an identifier",
		"s: {a: b}\ncondition: 1 of t*":                        "no identifier fits",
		"s: {a: b}\ncondition: all of t*":                      "no identifier fits",
		"_s: {a: b}\ncondition: 1 of them":                     "no identifier fits",
		"_s: {a: b}\ncondition: all of them":                   "no identifier fits",
		"s: {a: b}\ncondition: 0 of s":                         "expected all, any or a number",
		"s: {a: b}\ncondition: x of s":                         "expected all, any or a number",
		"s: {a: b}\ncondition: 1 of":                           "not a pattern",
		"s: {a: b}\ncondition: 1 of (s)":                       "not a pattern",
		"s: {a: b}\ncondition: s | foo() > 1":                  "not understood",
		"s: {a: b}\ncondition: s | count() by x y > 1":         "not understood",
		"s: {a: b}\ncondition: s | sum() > 1":                  "without a field",
		"s: {a: b}\ncondition: s | count() > x":                "not understood",
		"s: {a: b}\ncondition: s | near t":                     `undefined identifier "t"`,
		"s: {a: b}\ncondition: [s | count() > 1, s]":           "in a list of conditions",
		"s: {a: b}\ntimeframe: 5x\ncondition: s | count() > 1": "timespan",
		"s: {a: b}\ncondition: " + strings.Repeat("(", 100) + "s" + strings.Repeat(")", 100): "nested deeper",
		"s: {a: b}\ncondition: " + strings.Repeat("not ", 100) + "s":                         "nested deeper",
	} {
		_, problems := Parse("f.yml", []byte(ruleOf(detection)), testOptions)
		if len(problems) == 0 || !problems[len(problems)-1].Fatal || !strings.Contains(problems[len(problems)-1].Reason, want) {
			t.Errorf("%s: %+v, want a reason with %q", detection, problems, want)
		}
	}
}

func TestSelections(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, selection, record string
		want                    bool
	}{
		{"map is and", "a: x\nb: y", `{"a":"x","b":"y"}`, true},
		{"map is and, one lacks", "a: x\nb: y", `{"a":"x"}`, false},
		{"list of maps is or", "- a: x\n  b: y\n- c: z", `{"c":"z"}`, true},
		{"list of maps, half of one", "- a: x\n  b: y\n- c: z", `{"a":"x"}`, false},
		{"lists nest", "- - a: x\n  - b: y\n- c: z", `{"b":"y"}`, true},
		{"same field twice", "a|contains: x\na|endswith: y", `{"a":"xzy"}`, true},
		{"same field twice, one lacks", "a|contains: x\na|endswith: y", `{"a":"xz"}`, false},
		{"keywords are or", "- foo\n- bar", `{"a":{"b":["a BAR b"]}}`, true},
		{"a keyword is no key", "- foo", `{"foo":"x"}`, false},
		{"a keyword that is plain", "needle", `{"a":"hay needle"}`, true},
		{"a keyword that is a number", "- 404", `{"a":1404}`, true},
		{"a keyword that is a boolean", "- true", `{"a":true}`, true},
		{"all keywords", "'|all':\n  - foo\n  - bar", `{"a":"xfoo","b":"barx"}`, true},
		{"all keywords, one lacks", "'|all':\n  - foo\n  - bar", `{"a":"xfoo"}`, false},
		{"all keywords, written long", "'|contains|all':\n  - foo\n  - bar", `{"a":"xfoo","b":"barx"}`, true},
		{"a keyword at the start", "'|startswith':\n  - foo", `{"a":"xfoo"}`, false},
		{"a keyword at the end", "'|endswith':\n  - foo", `{"a":"xfoo"}`, true},
		{"a keyword with a wildcard over fields", "- 'foo*bar'", `{"a":"foo","b":"bar"}`, true},
		{"a keyword without one", "- 'foobar'", `{"a":"foo","b":"bar"}`, false},
		{"a keyword with case", "'|cased':\n  - Foo", `{"a":"foo"}`, false},
		{"a keyword as expression", "'|re':\n  - 'fo+$'", `{"a":"xfooo"}`, true},
		{"a keyword as expression over fields", "'|re':\n  - 'foo.*bar'", `{"a":"foo","b":"bar"}`, true},
		{"a keyword in base64", "'|base64offset|contains':\n  - foobar", `{"a":"xx Zm9vYmFy"}`, true},
		{"maps and keywords", "- a: x\n- foo", `{"b":"foo"}`, true},
		{"maps and keywords, the map", "- a: x\n- foo", `{"a":"x"}`, true},
		{"maps and keywords, neither", "- a: x\n- foo", `{"a":"y"}`, false},
		{"keywords and items in a map", "'':\n  - foo\na: x", `{"a":"x","b":"foo"}`, true},
		{"keyword against null", "- ''", `{"a":null}`, false},
	} {
		r, reason := compile(t, "s:\n"+indent(c.selection)+"condition: s")
		if reason != "" {
			t.Errorf("%s: %s", c.name, reason)
			continue
		}
		if got := holds(t, r.Expr, c.record); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestConditions(t *testing.T) {
	t.Parallel()
	detection := "a: {a: 1}\nb: {b: 1}\nc: {c: 1}\nsel_1: {a: 1}\nsel-2: {b: 1}\n_h1: {d: 1}\n_h2: {e: 1}\nall: {f: 1}\n1x: {g: 1}\n"
	for _, c := range []struct {
		condition, fields string
		want              bool
	}{
		{"a", "a", true}, {"a", "b", false},
		{"a or b and c", "a", true}, {"a or b and c", "b", false}, {"a or b and c", "bc", true},
		{"(a or b) and c", "a", false}, {"(a or b) and c", "ac", true},
		{"not a or b", "", true}, {"not a or b", "ab", true}, {"not a and b", "b", true}, {"not (a and b)", "a", true}, {"not not a", "a", true}, {"not not not a", "a", false},
		{"A AND b", "", false},
		{"a AND NOT b Or c", "c", true},
		{"1 of sel*", "b", true}, {"1 of sel*", "c", false}, {"any of sel*", "a", true}, {"all of sel*", "a", false}, {"ALL OF sel*", "ab", true},
		{"2 of sel*", "ab", true}, {"2 of sel*", "a", false},
		{"1 of them", "d", false}, {"1 of them", "g", true}, {"all of them", "abcfg", true}, {"all of them", "abcdef", false},
		{"1 of THEM", "c", true},
		{"1 of _h*", "e", true}, {"1 of *", "d", false}, {"1 of *1", "d", false}, {"1 of *1", "a", true}, {"1 of s*1", "a", true}, {"1 of s*1", "b", false},
		{"not 1 of sel* and c", "c", true}, {"not 1 of sel* and c", "ac", false},
		{"1 of a", "a", true}, {"_h1", "d", true}, {"all", "f", true}, {"1x", "g", true}, {"sel-2", "b", true},
		{"(a)or(b)", "b", true}, {"\ta\n and b ", "ab", true},
		{"3 of sel*", "ab", false},
		{"['a', 'c and b']", "cb", true}, {"['a', 'c and b']", "c", false},
	} {
		cond := c.condition
		if !strings.HasPrefix(cond, "[") {
			cond = fmt.Sprintf("%q", cond)
		}
		r, reason := compile(t, detection+"condition: "+cond)
		if c.condition == "A AND b" {
			if !strings.Contains(reason, `undefined identifier "A"`) {
				t.Errorf("identifiers mind case: %q", reason)
			}
			continue
		}
		if reason != "" {
			t.Errorf("%s: %s", c.condition, reason)
			continue
		}
		var members []string
		for _, f := range c.fields {
			members = append(members, fmt.Sprintf(`"%c":1`, f))
		}
		if got := holds(t, r.Expr, "{"+strings.Join(members, ",")+"}"); got != c.want {
			t.Errorf("%s with %s: %v, want %v", c.condition, c.fields, got, c.want)
		}
	}
}

// TestWarnings has what is accepted although it is odd.
func TestWarnings(t *testing.T) {
	t.Parallel()
	for detection, want := range map[string]string{
		"s: {a|all: x}\ncondition: s":            "a: `all` on a single value",
		"s: {a: x}\ncondition: 2 of s":           "2 of s can never hold: 1 fit",
		"s: {a: x}\ntimeframe: 5m\ncondition: s": "the timeframe is ignored: the condition has no aggregation",
	} {
		docs, problems := Parse("f.yml", []byte(ruleOf(detection)), testOptions)
		if len(docs.Rules) != 1 || len(problems) != 1 || problems[0].Fatal || problems[0].Reason != want || len(docs.Rules[0].Warnings) != 1 || docs.Rules[0].Warnings[0] != want {
			t.Errorf("%s: %+v, want the one remark %q", detection, problems, want)
		}
	}
}

// TestTwoEventNames: a rule that joins two different events by and, with a timeframe that nothing uses, loads and never
// matches.
func TestTwoEventNames(t *testing.T) {
	t.Parallel()
	r, reason := compile(t, "a: {eventName: DeleteKey}\nb: {eventName: DisableKey}\ntimeframe: 1h\ncondition: a and b")
	if reason != "" {
		t.Fatal(reason)
	}
	for _, name := range []string{"DeleteKey", "DisableKey"} {
		if holds(t, r.Expr, `{"eventName":"`+name+`"}`) {
			t.Errorf("matches %s", name)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	r, reason := compile(t, "selection: {eventName: A}\nfilter_x: {userAgent: x}\nextra: [{a: 1}, {b: 1}]\ncondition: selection and 1 of e* and not 1 of filter_*")
	if reason != "" {
		t.Fatal(reason)
	}
	e, err := event.Parse([]byte(`{"eventName":"a","b":1}`))
	if err != nil {
		t.Fatal(err)
	}
	var c match.Context
	c.Reset(e)
	trace, held := c.Explain(r.Expr)
	if got := fmt.Sprint(held, trace); got != "true {[selection extra] [{eventName a false} {b 1 false}]}" {
		t.Error(got)
	}
}
