package caller_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/caller"
	"spoor/internal/iam"
	"spoor/internal/keyring"
	"spoor/internal/policy"
)

const (
	account = "111122223333"
	member  = "444455556666"
)

var now = time.Date(2026, 3, 9, 8, 0, 0, 0, time.UTC)

// who are principals by name, of real access keys, and what asks them.
type who struct {
	caller.Access
	principals map[string]awsapi.Principal
}

// people makes root, admin, ann without a role, app with that of applications, kept whom a policy forbids to read, and far, a
// session of a role in another account.
func people(t *testing.T) who {
	t.Helper()
	forbid, err := iam.ParsePolicies(iam.PolicyFile{Name: "own.cedar", Text: `@id("kept") forbid (principal == Spoor::User::"kept", action == Spoor::Action::"s3:GetObject", resource);`})
	if err != nil {
		t.Fatal(err)
	}
	s, err := iam.Open(t.Context(), t.TempDir(), iam.Options{Account: account, Accounts: []string{member}, Policies: forbid, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	w := who{caller.Access{IAM: s, Organization: "o-abcdefghij", Now: func() time.Time { return now }}, map[string]awsapi.Principal{
		"nobody": {}, "trails": {Subject: policy.Principal{Service: "cloudtrail.amazonaws.com"}},
	}}
	lookup := func(id, token string) awsapi.Principal {
		t.Helper()
		c, err := w.Lookup(t.Context(), id, token)
		if err != nil {
			t.Fatal(err)
		}
		return c.Principal
	}
	for name, roles := range map[string][]iam.Role{iam.RootName: nil, "admin": {iam.RoleAdmin}, "ann": {}, "app": {iam.RoleStorage}, "kept": {iam.RoleStorage}} {
		if name != iam.RootName {
			if _, err := s.CreateUser(name, roles, ""); err != nil {
				t.Fatal(err)
			}
		}
		k, _, err := s.CreateAccessKey(iam.KeySpec{User: name})
		if err != nil {
			t.Fatal(err)
		}
		w.principals[name] = lookup(k.ID, "")
	}
	trust, err := iam.TrustOf("*")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateAssumable(iam.AssumableSpec{Name: "far", Account: member, Roles: []iam.Role{iam.RoleStorage}, Trust: trust}); err != nil {
		t.Fatal(err)
	}
	as, err := caller.Of(s, &awsapi.Call{Principal: w.principals["admin"]})
	if err != nil {
		t.Fatal(err)
	}
	made, err := s.AssumeRole(t.Context(), as, iam.AssumeSpec{RoleARN: "arn:aws:iam::" + member + ":role/far", SessionName: "xx", SourceIdentity: "admin", Tags: map[string]string{"team": "blue"}})
	if err != nil {
		t.Fatal(err)
	}
	w.principals["far"] = lookup(made.ID, made.Token)
	return w
}

// document makes a policy of statements.
func document(t *testing.T, statements ...string) *policy.Document {
	t.Helper()
	if statements == nil {
		return nil
	}
	d, err := policy.Parse("s3", []byte(`{"Version":"2012-10-17","Statement":[`+strings.Join(statements, ",")+`]}`))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func allow(principal string) string {
	return `{"Effect":"Allow","Principal":` + principal + `,"Action":"s3:GetObject","Resource":"*"}`
}

func deny(principal string) string {
	return `{"Effect":"Deny","Principal":` + principal + `,"Action":"s3:*","Resource":"*"}`
}

// TestAuthorizeResource: who may read an object, by every combination of what policies say.
func TestAuthorizeResource(t *testing.T) {
	t.Parallel()
	w := people(t)
	const (
		everybody = `"*"`
		own, far  = `{"AWS":"` + account + `"}`, `{"AWS":"` + member + `"}`
		ann       = `{"AWS":"arn:aws:iam::` + account + `:user/ann"}`
		kept      = `{"AWS":"arn:aws:iam::` + account + `:user/kept"}`
		session   = `{"AWS":"arn:aws:iam::` + member + `:role/far"}`
		trails    = `{"Service":"cloudtrail.amazonaws.com"}`
	)
	for _, c := range []struct {
		name   string
		policy []string
		must   bool
		want   string // who may: "root admin app"
	}{
		{"no policy", nil, false, "root admin app"},
		{"no policy of a key", nil, true, ""},
		{"everybody", []string{allow(everybody)}, false, "root admin ann app far nobody trails"},
		{"everybody, of a key", []string{allow(everybody)}, true, "root admin ann app far nobody trails"},
		{"the account", []string{allow(own)}, false, "root admin app"},
		{"the account, of a key", []string{allow(own)}, true, "root admin app"},
		{"one user", []string{allow(ann)}, false, "root admin app ann"},
		{"one user, of a key", []string{allow(ann)}, true, "ann"},
		{"who is forbidden", []string{allow(kept)}, false, "root admin app"},
		{"another account", []string{allow(far)}, false, "root admin app far"},
		{"another account, of a key", []string{allow(far)}, true, "far"},
		{"a role of another account", []string{allow(session)}, false, "root admin app far"},
		{"a service", []string{allow(trails)}, false, "root admin app trails"},
		{"denied to all", []string{allow(everybody), deny(everybody)}, false, ""},
		{"denied to the account", []string{allow(everybody), deny(own)}, false, "far nobody trails"},
		{"denied to a user", []string{deny(ann), allow(everybody)}, false, "root admin app far nobody trails"},
	} {
		g := caller.Guarded{Owner: account, Policy: document(t, c.policy...), MustDelegate: c.must}
		for name, p := range w.principals {
			err := w.AuthorizeResource(t.Context(), awsapi.Access{Principal: p, Action: "s3:GetObject", Resources: []string{"arn:aws:s3:::b/k"}}, g)
			want := strings.Contains(" "+c.want+" ", " "+name+" ")
			if (err == nil) != want {
				t.Errorf("%s: %s: %v", c.name, name, err)
			}
			var denied *caller.DeniedError
			if err != nil && (!errors.Is(err, awsapi.ErrDenied) || !errors.As(err, &denied) || denied.Resource != "arn:aws:s3:::b/k") {
				t.Errorf("%s: %s: %v", c.name, name, err)
			}
		}
	}
	for want, c := range map[string]struct {
		name   string
		policy []string
	}{
		"User: arn:aws:iam::111122223333:user/ann is not authorized to perform: s3:GetObject on resource: arn:aws:s3:::b/k because no identity-based policy allows the s3:GetObject action":            {"ann", nil},
		"User: arn:aws:sts::444455556666:assumed-role/far/xx is not authorized to perform: s3:GetObject on resource: arn:aws:s3:::b/k because no resource-based policy allows the s3:GetObject action": {"far", nil},
		"User: anonymous is not authorized to perform: s3:GetObject on resource: arn:aws:s3:::b/k because no resource-based policy allows the s3:GetObject action":                                     {"nobody", nil},
		"User: arn:aws:iam::111122223333:user/app is not authorized to perform: s3:GetObject on resource: arn:aws:s3:::b/k with an explicit deny in a resource-based policy":                           {"app", []string{deny(everybody)}},
		"User: arn:aws:iam::111122223333:user/kept is not authorized to perform: s3:GetObject on resource: arn:aws:s3:::b/k with an explicit deny in an identity-based policy":                         {"kept", []string{allow(everybody)}},
	} {
		err := w.AuthorizeResource(t.Context(), awsapi.Access{Principal: w.principals[c.name], Action: "s3:GetObject", Resources: []string{"arn:aws:s3:::b/k"}}, caller.Guarded{Owner: account, Policy: document(t, c.policy...)})
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	// Of several resources all have to be allowed; without an owner it is the caller's own.
	g := caller.Guarded{Policy: document(t, strings.Replace(allow(ann), `"*"}`, `"arn:aws:s3:::b/1"}`, 1))}
	for arns, want := range map[string]bool{"arn:aws:s3:::b/1": true, "arn:aws:s3:::b/1 arn:aws:s3:::b/2": false} {
		if err := w.AuthorizeResource(t.Context(), awsapi.Access{Principal: w.principals["ann"], Action: "s3:GetObject", Resources: strings.Fields(arns)}, g); (err == nil) != want {
			t.Errorf("%s: %v", arns, err)
		}
	}
	if err := w.AuthorizeResource(t.Context(), awsapi.Access{Principal: w.principals["far"], Action: "s3:CreateBucket"}, caller.Guarded{}); !errors.Is(err, awsapi.ErrDenied) {
		t.Error(err)
	}
}

// TestConditions: what every request is told to have.
func TestConditions(t *testing.T) {
	t.Parallel()
	w := people(t)
	ask := func(name, when string) bool {
		t.Helper()
		x := awsapi.Access{Principal: w.principals[name], Action: "s3:GetObject", Resources: []string{"arn:aws:s3:::b/k"}, Address: netip.MustParseAddr("::ffff:192.0.2.7"), TLS: true, UserAgent: "aws-cli/1"}
		text := strings.TrimSuffix(allow(`"*"`), "}") + `,"Condition":` + when + `}`
		g := caller.Guarded{Owner: account, Policy: document(t, text), MustDelegate: true, Conditions: map[string][]string{"s3:prefix": {"a/"}, "aws:SourceIp": {"10.0.0.1"}}}
		err := w.AuthorizeResource(t.Context(), x, g)
		if err != nil && !errors.Is(err, awsapi.ErrDenied) {
			t.Fatal(err)
		}
		return err == nil
	}
	for _, c := range []struct {
		who, when string
		want      bool
	}{
		{"ann", `{"Bool":{"aws:SecureTransport":"true"},"IpAddress":{"aws:SourceIp":"192.0.2.0/24"},"StringLike":{"aws:UserAgent":"aws-cli/*","s3:prefix":"a/*"}}`, true},
		{"ann", `{"IpAddress":{"aws:SourceIp":"10.0.0.1"}}`, false},
		{"ann", `{"DateEquals":{"aws:CurrentTime":"2026-03-09T08:00:00Z"},"NumericEquals":{"aws:EpochTime":"1773043200"}}`, true},
		{"ann", `{"StringEquals":{"aws:PrincipalArn":"arn:aws:iam::111122223333:user/ann","aws:username":"ann","aws:PrincipalAccount":"111122223333","aws:PrincipalOrgID":"o-abcdefghij","aws:ResourceAccount":"111122223333","aws:PrincipalType":"User"}}`, true},
		{"ann", `{"StringLike":{"aws:userid":"AIDA*"},"Bool":{"aws:PrincipalIsAWSService":"false","aws:ViaAWSService":"false"}}`, true},
		{"ann", `{"Null":{"aws:MultiFactorAuthPresent":"true","aws:SourceArn":"true","aws:TokenIssueTime":"true"}}`, true},
		{"far", `{"StringEquals":{"aws:PrincipalArn":"arn:aws:iam::444455556666:role/far","aws:PrincipalAccount":"444455556666","aws:PrincipalTag/team":"blue","aws:SourceIdentity":"admin"},"StringLike":{"aws:userid":"AROA*:xx"}}`, true},
		{"far", `{"Bool":{"aws:MultiFactorAuthPresent":"false"},"Null":{"aws:username":"true","aws:TokenIssueTime":"false"}}`, true},
		{"root", `{"StringEquals":{"aws:PrincipalArn":"arn:aws:iam::111122223333:root","aws:PrincipalType":"Account"}}`, true},
		{"nobody", `{"Null":{"aws:PrincipalArn":"true","aws:PrincipalAccount":"true","aws:PrincipalOrgID":"true","aws:userid":"true"},"StringEquals":{"aws:PrincipalType":"Anonymous"}}`, true},
		{"trails", `{"Null":{"aws:PrincipalArn":"true","aws:PrincipalOrgID":"true"},"Bool":{"aws:PrincipalIsAWSService":"true"},"StringEquals":{"aws:PrincipalServiceName":"cloudtrail.amazonaws.com"}}`, true},
	} {
		if got := ask(c.who, c.when); got != c.want {
			t.Errorf("%s %s: %v", c.who, c.when, got)
		}
	}
}

// TestAuthorizeKey: a key's policy is told of the key and of who calls.
func TestAuthorizeKey(t *testing.T) {
	t.Parallel()
	w := people(t)
	ring, err := keyring.Open(t.Context(), t.TempDir(), keyring.Options{Account: account, Region: "eu-west-1", External: elsewhere{}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := ring.Close(); err != nil {
			t.Error(err)
		}
	}()
	ref := keyring.Ref{Account: account, Region: "eu-west-1"}
	k, _, err := ring.Create(ref, keyring.Spec{Policy: []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"kms:Decrypt","Resource":"*","Condition":{
		"StringEquals":{"kms:CallerAccount":"444455556666","kms:EncryptionContext:aws:s3:arn":"arn:aws:s3:::b/k","kms:KeySpec":"SYMMETRIC_DEFAULT","kms:ViaService":"s3.eu-west-1.amazonaws.com"},
		"ForAllValues:StringEquals":{"kms:EncryptionContextKeys":"aws:s3:arn"},"ForAnyValue:StringEquals":{"kms:ResourceAliases":"alias/a"}}}]}`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ring.CreateAlias(ref, "alias/a", k.ARN); err != nil {
		t.Fatal(err)
	}
	ask := func(name, arn string, context map[string]string) error {
		with := caller.EncryptionContext(context)
		with["kms:ViaService"] = []string{"s3.eu-west-1.amazonaws.com"}
		return w.AuthorizeKey(t.Context(), awsapi.Access{Principal: w.principals[name], Action: "kms:Decrypt"}, ring, arn, with)
	}
	fits, not := map[string]string{"aws:s3:arn": "arn:aws:s3:::b/k"}, map[string]string{"aws:s3:arn": "arn:aws:s3:::b/k", "more": "x"}
	if err := ask("far", k.ARN, fits); err != nil {
		t.Error(err)
	}
	const gone = "arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-4000-8000-000000000000"
	for name, c := range map[string]struct {
		err, want error
	}{
		"another context": {ask("far", k.ARN, not), awsapi.ErrDenied}, "no context": {ask("far", k.ARN, nil), awsapi.ErrDenied}, "another account": {ask("app", k.ARN, fits), awsapi.ErrDenied},
		"root, whom it does not name": {ask("root", k.ARN, fits), awsapi.ErrDenied}, "nobody": {ask("nobody", k.ARN, fits), awsapi.ErrDenied},
		"no key": {ask("app", gone, fits), keyring.ErrNotFound}, "no key of others": {ask("far", gone, fits), awsapi.ErrDenied},
		"external": {ask("app", "arn:aws:kms:us-east-1:999988887777:key/x", fits), nil}, "external, without a role": {ask("ann", "arn:aws:kms:us-east-1:999988887777:key/x", fits), awsapi.ErrDenied},
	} {
		if !errors.Is(c.err, c.want) || c.want == nil && c.err != nil {
			t.Errorf("%s: %v; want %v", name, c.err, c.want)
		}
	}
}

// elsewhere is an external service that is never asked.
type elsewhere struct{ keyring.External }
