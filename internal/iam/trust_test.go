package iam

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

const trustOfAnn = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/ann"},"Action":"sts:AssumeRole"}]}`

// statement puts one into a document.
func statement(text string) string {
	return `{"Version":"2012-10-17","Statement":` + text + `}`
}

// TestTrustDecides asks documents about callers.
func TestTrustDecides(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 9, 8, 0, 0, 0, time.UTC)
	value := func(text string) []string { return []string{text} }
	ann := func(more map[string][]string) trustCall {
		c := trustCall{account: "111122223333", arns: []string{"arn:aws:iam::111122223333:user/ann"}, id: "AIDA-ANN", values: map[string][]string{
			string(keyPrincipalARN): value("arn:aws:iam::111122223333:user/ann"), string(keyPrincipalAccount): value("111122223333"), string(keyCurrentTime): value(now.Format(time.RFC3339)), string(keyRoleSessionName): value("ci-42"),
		}}
		for k, v := range more {
			c.values[k] = v
		}
		return c
	}
	from := func(addr string) map[string][]string {
		return map[string][]string{string(keySourceIP): value(addr)}
	}
	external := func(id string) map[string][]string { return map[string][]string{string(keyExternalID): value(id)} }
	another := ann(nil)
	another.id = "AIDA-ANOTHER"
	session := trustCall{account: "444455556666", arns: []string{"arn:aws:sts::444455556666:assumed-role/build/x", "arn:aws:iam::444455556666:role/ci/build"}, id: "AROA-BUILD",
		values: map[string][]string{string(keyPrincipalARN): value("arn:aws:iam::444455556666:role/ci/build")}}
	allow := func(principal, more string) string {
		return statement(`{"Effect":"Allow","Principal":` + principal + `,"Action":"sts:AssumeRole"` + more + `}`)
	}
	when := func(condition string) string { return allow(`"*"`, `,"Condition":`+condition) }
	denyWhen := func(condition string) string {
		return statement(`[{"Effect":"Allow","Principal":"*","Action":"*"},{"Effect":"Deny","Principal":"*","Action":"*","Condition":` + condition + `}]`)
	}
	for _, c := range []struct {
		text string
		call trustCall
		what trustAction
		want string // empty: permitted
	}{
		{trustOfAnn, ann(nil), trustAssume, ""},
		{trustOfAnn, ann(nil), trustAssume | trustTag, "does not allow sts:TagSession"},
		{trustOfAnn, ann(nil), trustAssume | trustSourceIdentity, "does not allow sts:SetSourceIdentity"},
		{trustOfAnn, another, trustAssume, "does not allow sts:AssumeRole"},
		{trustOfAnn, session, trustAssume, "does not allow sts:AssumeRole"},
		{allow(`"*"`, ""), session, trustAssume, ""},
		{allow(`{"AWS":"*"}`, ""), session, trustAssume, ""},
		{allow(`{"AWS":"111122223333"}`, ""), ann(nil), trustAssume, ""},
		{allow(`{"AWS":"arn:aws:iam::111122223333:root"}`, ""), ann(nil), trustAssume, ""},
		{allow(`{"AWS":["111122223333","444455556666"]}`, ""), session, trustAssume, ""},
		{allow(`{"AWS":"444455556666"}`, ""), ann(nil), trustAssume, "does not allow"},
		{allow(`{"AWS":"arn:aws:iam::444455556666:role/ci/build"}`, ""), session, trustAssume, ""},
		{allow(`{"AWS":"arn:aws:iam::444455556666:role/build"}`, ""), session, trustAssume, "does not allow"},
		{allow(`{"AWS":"arn:aws:sts::444455556666:assumed-role/build/x"}`, ""), session, trustAssume, ""},
		{allow(`{"AWS":"arn:aws:sts::444455556666:assumed-role/build/y"}`, ""), session, trustAssume, "does not allow"},
		{statement(`{"Effect":"Allow","Principal":"*","Action":["STS:assumerole","sts:TagSession"]}`), ann(nil), trustAssume | trustTag, ""},
		{statement(`[{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"},{"Effect":"Allow","Principal":"*","Action":"sts:SetSourceIdentity"}]`), ann(nil), trustAssume | trustSourceIdentity, ""},
		{statement(`[{"Effect":"Allow","Principal":"*","Action":"sts:*"},{"Effect":"Deny","Principal":"*","Action":"sts:TagSession"}]`), ann(nil), trustAssume, ""},
		{statement(`[{"Effect":"Allow","Principal":"*","Action":"sts:*"},{"Effect":"Deny","Principal":"*","Action":"sts:TagSession"}]`), ann(nil), trustAssume | trustTag, "Statement[1] of the trust document denies it"},
		{statement(`[{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::111122223333:user/ann"},"Action":"*"},{"Effect":"Allow","Principal":"*","Action":"*"}]`), another, trustAssume, "Statement[0]"},
		{statement(`[{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::111122223333:user/ann"},"Action":"*"},{"Effect":"Allow","Principal":"*","Action":"*"}]`), session, trustAssume, ""},

		{when(`{}`), ann(nil), trustAssume, ""},
		{when(`{"StringEquals":{"sts:ExternalId":"x-1"}}`), ann(external("x-1")), trustAssume, ""},
		{when(`{"StringEquals":{"sts:ExternalId":"x-1"}}`), ann(external("X-1")), trustAssume, "does not allow"},
		{when(`{"StringEquals":{"sts:ExternalId":"x-1"}}`), ann(nil), trustAssume, "does not allow"},
		{when(`{"StringEquals":{"STS:EXTERNALID":["x-0","x-1"]}}`), ann(external("x-1")), trustAssume, ""},
		{when(`{"StringEquals":{"sts:ExternalId":12}}`), ann(external("12")), trustAssume, ""},
		{when(`{"StringEqualsIfExists":{"sts:ExternalId":"x-1"}}`), ann(nil), trustAssume, ""},
		{when(`{"StringEqualsIfExists":{"sts:ExternalId":"x-1"}}`), ann(external("x-2")), trustAssume, "does not allow"},
		{when(`{"StringEqualsIgnoreCase":{"sts:ExternalId":"x-1"}}`), ann(external("X-1")), trustAssume, ""},
		{when(`{"StringNotEquals":{"sts:ExternalId":["x-1","x-2"]}}`), ann(external("x-2")), trustAssume, "does not allow"},
		{when(`{"StringNotEquals":{"sts:ExternalId":["x-1","x-2"]}}`), ann(external("x-3")), trustAssume, ""},
		{when(`{"StringNotEquals":{"sts:ExternalId":"x-1"}}`), ann(nil), trustAssume, ""},
		{when(`{"StringNotEqualsIgnoreCase":{"sts:ExternalId":"x-1"}}`), ann(external("X-1")), trustAssume, "does not allow"},
		{when(`{"StringLike":{"sts:RoleSessionName":["bob-*","ci-??"]}}`), ann(nil), trustAssume, ""},
		{when(`{"StringLike":{"sts:RoleSessionName":"ci-?"}}`), ann(nil), trustAssume, "does not allow"},
		{when(`{"StringNotLike":{"sts:RoleSessionName":"ci-*"}}`), ann(nil), trustAssume, "does not allow"},
		{when(`{"StringEquals":{"sts:ExternalId":"x-1"},"StringLike":{"sts:RoleSessionName":"ci-*"}}`), ann(external("x-1")), trustAssume, ""},
		{when(`{"StringEquals":{"sts:ExternalId":"x-1","aws:PrincipalAccount":"444455556666"}}`), ann(external("x-1")), trustAssume, "does not allow"},
		{when(`{"StringEquals":{"aws:PrincipalAccount":"111122223333"}}`), ann(nil), trustAssume, ""},
		{when(`{"StringEquals":{"aws:PrincipalArn":"arn:aws:iam::444455556666:role/ci/build"}}`), session, trustAssume, ""},
		{when(`{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/ci/*"}}`), session, trustAssume, ""},
		{when(`{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam:*:role/ci/*"}}`), session, trustAssume, "want an ARN"},
		{when(`{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::4*:user/*"}}`), ann(nil), trustAssume, "does not allow"},
		{when(`{"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/*"}}`), ann(nil), trustAssume, ""},
		{when(`{"StringEquals":{"sts:SourceIdentity":"ann"}}`), ann(map[string][]string{string(keySourceIdentity): value("ann")}), trustAssume, ""},
		{when(`{"Null":{"sts:ExternalId":"true"}}`), ann(nil), trustAssume, ""},
		{when(`{"Null":{"sts:ExternalId":true}}`), ann(external("x-1")), trustAssume, "does not allow"},
		{when(`{"Null":{"sts:ExternalId":"false"}}`), ann(external("x-1")), trustAssume, ""},
		{when(`{"Null":{"sts:ExternalId":"false"}}`), ann(nil), trustAssume, "does not allow"},
		{when(`{"IpAddress":{"aws:SourceIp":["192.0.2.0/24","2001:db8::1"]}}`), ann(from("192.0.2.7")), trustAssume, ""},
		{when(`{"IpAddress":{"aws:SourceIp":["192.0.2.0/24","2001:db8::1"]}}`), ann(from("2001:db8::1")), trustAssume, ""},
		{when(`{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`), ann(from("203.0.113.9")), trustAssume, "does not allow"},
		{when(`{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`), ann(nil), trustAssume, "does not allow"},
		{when(`{"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`), ann(from("192.0.2.7")), trustAssume, "does not allow"},
		{when(`{"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`), ann(from("203.0.113.9")), trustAssume, ""},
		{denyWhen(`{"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`), ann(nil), trustAssume, "denies it"},
		{denyWhen(`{"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`), ann(from("192.0.2.7")), trustAssume, ""},
		{denyWhen(`{"StringNotEquals":{"sts:ExternalId":"x-1"}}`), ann(nil), trustAssume, "denies it"},
		{when(`{"DateLessThan":{"aws:CurrentTime":"2026-03-09T08:00:01Z"},"DateGreaterThan":{"aws:CurrentTime":"2026-03-09T07:59:59Z"}}`), ann(nil), trustAssume, ""},
		{when(`{"DateLessThan":{"aws:CurrentTime":"2026-03-09T08:00:00Z"}}`), ann(nil), trustAssume, "does not allow"},
		{when(`{"DateLessThanEquals":{"aws:CurrentTime":"2026-03-09T08:00:00Z"},"DateGreaterThanEquals":{"aws:CurrentTime":1773043200}}`), ann(nil), trustAssume, ""},
		{when(`{"DateGreaterThan":{"aws:CurrentTime":"2026-03-10"}}`), ann(nil), trustAssume, "does not allow"},
		{when(`{"DateNotEquals":{"aws:CurrentTime":"2026-03-09T08:00:00Z"}}`), ann(nil), trustAssume, "does not allow"},
	} {
		doc, err := parseTrust([]byte(c.text))
		if err != nil {
			if c.want == "" || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", c.text, err)
			}
			continue
		}
		ids := map[string]string{
			"arn:aws:iam::111122223333:user/ann": "AIDA-ANN", "arn:aws:iam::444455556666:role/ci/build": "AROA-BUILD", "arn:aws:sts::444455556666:assumed-role/build/x": "AROA-BUILD",
		}
		if why := doc.decide(c.call, c.what, ids); (why == "") != (c.want == "") || !strings.Contains(why, c.want) {
			t.Errorf("%s\n%+v: %q; want %q", c.text, c.call, why, c.want)
		}
	}
}

// TestTrustRefuses: what is not understood is refused, with place and reason.
func TestTrustRefuses(t *testing.T) {
	t.Parallel()
	with := func(old, new string) string {
		const good = `{"Version":"2012-10-17","Statement":[{"Sid":"a","Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"x"}}}]}`
		if !strings.Contains(good, old) {
			t.Fatalf("%s is not there", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	if err := CheckTrust(json.RawMessage(with("", ""))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, want string }{
		{"", "not JSON"},
		{"null", "want an object"},
		{"[]", "want an object"},
		{`{"Version":"2012-10-17"}`, "it has no Statement"},
		{`{"Statement":[]}`, "it has no Statement"},
		{`{"Statement":[1]}`, "Statement[0]: want an object"},
		{`{"Statement":{"Effect":"Allow","Principal":"*"}}`, "Statement: it has no Action"},
		{with("2012-10-17", "2012-10-18"), "Version: want 2012-10-17"},
		{with(`"Version"`, `"version"`), "version: want Version, Id or Statement"},
		{with(`{"Version"`, `{"Id":1,"Version"`), "Id: want text"},
		{with("}}}]}", "}}}]}x"), "something follows"},
		{with("}}}]}", "}}}]"), "not JSON"},
		{with(`"Sid":"a"`, `"Sid":{}`), "Statement[0].Sid: want text"},
		{with(`"Effect":"Allow",`, ``), "Statement[0]: it has no Effect"},
		{with(`"Allow"`, `"allow"`), "Statement[0].Effect: want Allow or Deny"},
		{with(`"Effect":"Allow"`, `"Effect":"Deny","Effect":"Allow"`), `Statement[0]: "Effect" is there twice`},
		{with(`"Effect":"Allow"`, `"Effect":"Deny","\u0045ffect":"Allow"`), `Statement[0]: "Effect" is there twice`},
		{with(`"Principal":{"AWS":"*"},`, ``), "Statement[0]: it has no Principal"},
		{with(`"Principal"`, `"NotPrincipal"`), "Statement[0].NotPrincipal: not understood"},
		{with(`{"AWS":"*"}`, `{}`), "Statement[0].Principal: want"},
		{with(`{"AWS":"*"}`, `"arn:aws:iam::111122223333:root"`), "Statement[0].Principal: want"},
		{with(`{"AWS":"*"}`, `{"AWS":[]}`), "Statement[0].Principal.AWS: the list is empty"},
		{with(`{"AWS":"*"}`, `{"AWS":[["*"]]}`), "Statement[0].Principal.AWS: want text"},
		{with(`{"AWS":"*"}`, `{"AWS":"ann"}`), `Statement[0].Principal.AWS: "ann": want`},
		{with(`{"AWS":"*"}`, `{"AWS":"arn:aws:iam::111122223333:user/*"}`), "without wildcards"},
		{with(`{"AWS":"*"}`, `{"AWS":"arn:aws:iam::111122223333:group/x"}`), "Statement[0].Principal.AWS"},
		{with(`{"AWS":"*"}`, `{"AWS":"arn:aws:iam::11112222333:root"}`), "Statement[0].Principal.AWS"},
		{with(`{"AWS":"*"}`, `{"AWS":"111122223333:root"}`), "Statement[0].Principal.AWS"},
		{with(`{"AWS":"*"}`, `{"AWS":"AIDAABCDEFGHIJKLMNOP"}`), "Statement[0].Principal.AWS"},
		{with(`{"AWS":"*"}`, `{"Service":"ec2.amazonaws.com"}`), "Statement[0].Principal.Service: only AWS is understood"},
		{with(`{"AWS":"*"}`, `{"AWS":"*","Federated":"x"}`), "Statement[0].Principal.Federated"},
		{with(`"sts:AssumeRole"`, `"sts:AssumeRoleWithSAML"`), `Statement[0].Action: "sts:AssumeRoleWithSAML": want`},
		{with(`"sts:AssumeRole"`, `"sts:Assume*"`), "Statement[0].Action"},
		{with(`"sts:AssumeRole"`, `["sts:AssumeRole","s3:GetObject"]`), "Statement[0].Action"},
		{with(`"sts:AssumeRole"`, `[]`), "Statement[0].Action: the list is empty"},
		{with(`"Action"`, `"NotAction"`), "Statement[0].NotAction"},
		{with(`"Action"`, `"Resource":"*","Action"`), "Statement[0].Resource: a trust document is about its role"},
		{with(`"Condition"`, `"Conditions"`), "Statement[0].Conditions: want Sid"},
		{with(`"Condition":{`, `"Condition":[{}],"x":{`), "Statement[0].Condition: want an object"},
		{with(`"Condition":{`, `"Condition":{},"Condition":{`), `"Condition" is there twice`},
		{with("StringEquals", "stringEquals"), "Statement[0].Condition.stringEquals: not an operator"},
		{with("StringEquals", "ForAllValues:StringEquals"), "not an operator"},
		{with("StringEquals", "NumericEquals"), "not an operator"},
		{with("StringEquals", "NullIfExists"), "not an operator"},
		{with("StringEquals", "Bool"), "not an operator"},
		{with("StringEquals", "IpAddress"), "sts:ExternalId is not compared with IpAddress"},
		{with("sts:ExternalId", "aws:SourceIp"), "aws:SourceIp is not compared with StringEquals"},
		{with("sts:ExternalId", "aws:MultiFactorAuthPresent"), "Statement[0].Condition.StringEquals.aws:MultiFactorAuthPresent: not a key that is understood"},
		{with(`{"sts:ExternalId":"x"}`, `{}`), "want an object with keys"},
		{with(`{"sts:ExternalId":"x"}`, `{"sts:ExternalId":[]}`), "the list is empty"},
		{with(`{"sts:ExternalId":"x"}`, `{"sts:ExternalId":null}`), "want text"},
		{with(`{"sts:ExternalId":"x"}`, `{"sts:ExternalId":"x","sts:ExternalId":"y"}`), "is there twice"},
		{with(`"x"`, `"${aws:username}"`), "variables are not understood"},
		{with(`"StringEquals":{"sts:ExternalId":"x"}`, `"Null":{"sts:ExternalId":"yes"}`), "want true or false"},
		{with(`"StringEquals":{"sts:ExternalId":"x"}`, `"IpAddress":{"aws:SourceIp":"192.0.2.0/33"}`), "want an address or a network"},
		{with(`"StringEquals":{"sts:ExternalId":"x"}`, `"IpAddress":{"aws:SourceIp":"::ffff:192.0.2.0/120"}`), "write it as IPv4"},
		{with(`"StringEquals":{"sts:ExternalId":"x"}`, `"DateLessThan":{"aws:CurrentTime":"tomorrow"}`), "want a time"},
		{with(`"x"`, `"`+strings.Repeat("x", maxTrust)+`"`), "bytes are more than 8192"},
		{with(`"x"`, "\"\xff\""), "not UTF-8"},
		{strings.Repeat("[", 1000), "nested deeper than 6"},
	} {
		err := CheckTrust(json.RawMessage(c.text))
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.300s: %v; want %s", c.text, err, c.want)
		}
	}
}

func TestTrustOf(t *testing.T) {
	t.Parallel()
	doc, err := TrustOf("arn:aws:iam::111122223333:user/ann", "444455556666")
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parseTrust(doc)
	if err != nil || len(parsed.names()) != 1 || len(parsed.accounts()) != 1 || parsed.statements[0].actions != trustAll {
		t.Errorf("%s: %+v, %v", doc, parsed, err)
	}
	if doc, err := TrustOf("*"); err != nil || !strings.Contains(string(doc), `"Principal":"*"`) {
		t.Errorf("%s, %v", doc, err)
	}
	for _, bad := range [][]string{nil, {"ann"}, {"arn:aws:iam::111122223333:user/ann", ""}} {
		if _, err := TrustOf(bad...); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// FuzzTrust: no text makes the reader of trust documents panic, and what it accepts says the same when it is written again by
// the standard library, which would drop members that are there twice.
func FuzzTrust(f *testing.F) {
	f.Add(trustOfAnn)
	f.Add(statement(`[{"Sid":"x","Effect":"Deny","Principal":{"AWS":["*","111122223333"]},"Action":["sts:*"],"Condition":{"IpAddress":{"aws:SourceIp":["192.0.2.0/24"]},"Null":{"sts:ExternalId":true}}}]`))
	f.Add(statement(`{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"DateLessThan":{"aws:CurrentTime":1e9}}}`))
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseTrust([]byte(text))
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatalf("%q is no JSON: %v", text, err)
		}
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if len(again) > maxTrust { // escapes
			return
		}
		b, err := parseTrust(again)
		if err != nil && !strings.Contains(err.Error(), "want a time") || err == nil && len(b.statements) != len(a.statements) { // a number was written in another form
			t.Fatalf("%q becomes %q: %v", text, again, err)
		}
		call := trustCall{account: "111122223333", arns: []string{"arn:aws:iam::111122223333:user/ann"}, values: map[string][]string{}}
		if why := a.decide(call, trustAll, nil); why == "" && !strings.Contains(text, "llow") && !strings.Contains(text, `\u`) {
			t.Fatalf("%q allows", text)
		}
	})
}
