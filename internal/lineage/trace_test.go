package lineage

import (
	"fmt"
	"strings"
	"testing"

	"spoor/internal/safetext"
)

// TestMinting builds a chain for each way in which credentials come to be.
func TestMinting(t *testing.T) {
	t.Parallel()
	use := func(l *logs, account string, identity obj, more ...any) {
		l.add(account, at("11:00:00"), "s3.amazonaws.com", "ListBuckets", identity, with(nil, more...))
	}
	tests := map[string]struct {
		build func(l *logs)
		asked string
		want  string
	}{
		"a chain of roles": {func(l *logs) {
			ana := user(home, "ana", "AKIAEXAMPLEANA00")
			l.add(home, at("10:00:00"), "sts.amazonaws.com", "AssumeRole", ana, taken(home, "Deploy", "d1", "ASIAEXAMPLEDEP00"))
			l.add(home, at("10:01:00"), "sts.amazonaws.com", "AssumeRole", role(home, "Deploy", "d1", "ASIAEXAMPLEDEP00", at("10:00:00")), taken(home, "Admin", "a1", "ASIAEXAMPLEADM00"))
			use(l, home, role(home, "Admin", "a1", "ASIAEXAMPLEADM00", at("10:01:00")))
		}, "ASIAEXAMPLEADM00", `
unknown before-data: user ana AKIAEXAMPLEANA00
  AssumeRole proven: role Deploy/d1 ASIAEXAMPLEDEP00
    AssumeRole proven: role Admin/a1 ASIAEXAMPLEADM00 <`},
		"two accounts, records of both": {func(l *logs) {
			ana := user(home, "ana", "AKIAEXAMPLEANA00")
			l.add(other, at("10:00:00"), "sts.amazonaws.com", "AssumeRole", obj{"type": "AWSAccount", "principalId": "AIDAANA", "accountId": home},
				with(taken(other, "Admin", "a1", "ASIAEXAMPLEADM00"), "sharedEventID", "S1"))
			l.add(home, at("10:00:00"), "sts.amazonaws.com", "AssumeRole", ana, with(taken(other, "Admin", "a1", "ASIAEXAMPLEADM00"), "sharedEventID", "S1"))
			use(l, other, role(other, "Admin", "a1", "ASIAEXAMPLEADM00", at("10:00:00")))
		}, "ASIAEXAMPLEADM00", `
unknown before-data: user ana AKIAEXAMPLEANA00
  AssumeRole proven: role Admin/a1 ASIAEXAMPLEADM00 <`},
		"two accounts, the caller's record without the answer": {func(l *logs) {
			ana := user(home, "ana", "AKIAEXAMPLEANA00")
			l.add(other, at("10:00:00"), "sts.amazonaws.com", "AssumeRole", obj{"type": "AWSAccount", "principalId": "AIDAANA", "accountId": home},
				with(taken(other, "Admin", "a1", "ASIAEXAMPLEADM00"), "sharedEventID", "S1"))
			l.add(home, at("10:00:00"), "sts.amazonaws.com", "AssumeRole", ana, with(taken(other, "Admin", "a1", ""), "sharedEventID", "S1", "responseElements", nil))
			use(l, other, role(other, "Admin", "a1", "ASIAEXAMPLEADM00", at("10:00:00")))
		}, "ASIAEXAMPLEADM00", `
unknown before-data: user ana AKIAEXAMPLEANA00
  AssumeRole proven: role Admin/a1 ASIAEXAMPLEADM00 <`},
		"an answer without the key": {func(l *logs) {
			l.add(home, at("10:00:00"), "sts.amazonaws.com", "AssumeRole", user(home, "ana", "AKIAEXAMPLEANA00"), with(taken(home, "Admin", "a1", ""), "responseElements", obj{"omitted": true}))
			l.add(home, at("10:00:01"), "sts.amazonaws.com", "AssumeRole", user(home, "bob", "AKIAEXAMPLEBOB00"), taken(home, "Admin", "a1", "ASIAEXAMPLEOTHER"))
			use(l, home, role(home, "Admin", "a1", "ASIAEXAMPLEADM00", at("10:00:00")))
		}, "ASIAEXAMPLEADM00", `
unknown before-data: user ana AKIAEXAMPLEANA00
  AssumeRole matched: role Admin/a1 ASIAEXAMPLEADM00 <`},
		"AssumeRoleWithSAML, Identity Center": {func(l *logs) {
			l.add(home, at("10:00:00"), "sts.amazonaws.com", "AssumeRoleWithSAML", obj{"type": "SAMLUser", "principalId": "q=:ana@example.com", "userName": "ana@example.com", "identityProvider": "q="},
				taken(home, "AWSReservedSSO_Admin_0123456789abcdef", "ana@example.com", "ASIAEXAMPLESSO00"))
			use(l, home, role(home, "AWSReservedSSO_Admin_0123456789abcdef", "ana@example.com", "ASIAEXAMPLESSO00", at("10:00:00")))
		}, "ana@example.com", `
beginning: person ana@example.com
  AssumeRoleWithSAML proven: permission set Admin/ana@example.com ASIAEXAMPLESSO00 <`},
		"Identity Center's own record": {func(l *logs) {
			l.add(home, at("10:00:01"), "sso.amazonaws.com", "GetRoleCredentials", obj{"type": "IdentityCenterUser", "accountId": home, "onBehalfOf": obj{"userId": "u-1", "identityStoreArn": "arn:aws:identitystore::" + home + ":identitystore/d-1"}, "credentialId": "C1"},
				obj{"serviceEventDetails": obj{"role_name": "Admin", "account_id": home}})
			l.add(home, at("10:00:01"), "sso.amazonaws.com", "GetRoleCredentials", obj{"type": "IdentityCenterUser", "accountId": home, "onBehalfOf": obj{"userId": "u-2", "identityStoreArn": "arn:aws:identitystore::" + home + ":identitystore/d-1"}},
				obj{"serviceEventDetails": obj{"role_name": "ViewOnly", "account_id": home}})
			use(l, home, role(home, "AWSReservedSSO_Admin_0123456789abcdef", "ana@example.com", "ASIAEXAMPLESSO00", at("10:00:00")))
		}, "ASIAEXAMPLESSO00", `
beginning: person u-1 C1
  GetRoleCredentials matched: permission set Admin/ana@example.com ASIAEXAMPLESSO00 <`},
		"AssumeRoleWithWebIdentity": {func(l *logs) {
			l.add(home, at("10:00:00"), "sts.amazonaws.com", "AssumeRoleWithWebIdentity", obj{"type": "WebIdentityUser", "principalId": "p", "userName": "repo:example/app:ref:main", "identityProvider": "ci.example"},
				taken(home, "Build", "b1", "ASIAEXAMPLEWEB00"))
			use(l, home, role(home, "Build", "b1", "ASIAEXAMPLEWEB00", at("10:00:00")))
		}, "arn:aws:iam::" + home + ":role/Build", `
beginning: workload repo:example/app
  AssumeRoleWithWebIdentity proven: role Build/b1 ASIAEXAMPLEWEB00 <`},
		"GetSessionToken": {func(l *logs) {
			ana := user(home, "ana", "AKIAEXAMPLEANA00")
			l.add(home, at("10:00:00"), "sts.amazonaws.com", "GetSessionToken", ana, obj{"responseElements": obj{"credentials": obj{"accessKeyId": "ASIAEXAMPLETOK00"}}})
			use(l, home, session(user(home, "ana", "ASIAEXAMPLETOK00"), at("10:00:00")))
		}, "ASIAEXAMPLETOK00", `
unknown before-data: user ana AKIAEXAMPLEANA00
  GetSessionToken proven: user ana ASIAEXAMPLETOK00 <`},
		"GetFederationToken": {func(l *logs) {
			l.add(home, at("10:00:00"), "sts.amazonaws.com", "GetFederationToken", user(home, "ana", "AKIAEXAMPLEANA00"), obj{"requestParameters": obj{"name": "guest"}, "responseElements": obj{
				"credentials": obj{"accessKeyId": "ASIAEXAMPLEFED00"}, "federatedUser": obj{"arn": "arn:aws:sts::" + home + ":federated-user/guest"}}})
			use(l, home, session(obj{"type": "FederatedUser", "arn": "arn:aws:sts::" + home + ":federated-user/guest", "accountId": home, "accessKeyId": "ASIAEXAMPLEFED00"}, at("10:00:00")))
		}, "ASIAEXAMPLEFED00", `
unknown before-data: user ana AKIAEXAMPLEANA00
  GetFederationToken proven: federated guest ASIAEXAMPLEFED00 <`},
		"AssumeRoot": {func(l *logs) {
			l.add(home, at("10:00:00"), "sts.amazonaws.com", "AssumeRoot", user(home, "ana", "AKIAEXAMPLEANA00"), obj{"requestParameters": obj{"targetPrincipal": other},
				"responseElements": obj{"credentials": obj{"accessKeyId": "ASIAEXAMPLEROOT0"}}})
			use(l, other, session(obj{"type": "Root", "arn": "arn:aws:iam::" + other + ":root", "accountId": other, "accessKeyId": "ASIAEXAMPLEROOT0"}, at("10:00:00")))
		}, "ASIAEXAMPLEROOT0", `
unknown before-data: user ana AKIAEXAMPLEANA00
  AssumeRoot proven: root ASIAEXAMPLEROOT0 <`},
		"CreateAccessKey, never used, and of oneself": {func(l *logs) {
			l.add(home, at("10:00:00"), "iam.amazonaws.com", "CreateAccessKey", user(home, "ana", "AKIAEXAMPLEANA00"), made("bob", "AKIAEXAMPLEBOB00"))
			l.add(home, at("10:00:05"), "iam.amazonaws.com", "CreateAccessKey", user(home, "ana", "AKIAEXAMPLEANA00"), with(made("ana", "AKIAEXAMPLEANA11"), "requestParameters", nil))
			use(l, home, user(home, "ana", "AKIAEXAMPLEANA11"))
		}, "AKIAEXAMPLEANA00", `
unknown before-data: user ana AKIAEXAMPLEANA00 <
  CreateAccessKey proven: user bob AKIAEXAMPLEBOB00
  CreateAccessKey proven: user ana AKIAEXAMPLEANA11`},
		"a console sign-in": {func(l *logs) {
			l.add(home, at("09:58:00"), "signin.amazonaws.com", "ConsoleLogin", user(home, "ana", ""), obj{"responseElements": obj{"ConsoleLogin": "Failure"}, "errorMessage": "Failed authentication", "eventType": "AwsConsoleSignIn"})
			l.add(home, at("09:59:00"), "signin.amazonaws.com", "ConsoleLogin", user(home, "ana", ""), obj{"responseElements": obj{"ConsoleLogin": "Success"}, "eventType": "AwsConsoleSignIn"})
			use(l, home, session(user(home, "ana", "ASIAEXAMPLECON00"), at("09:59:30")), "sessionCredentialFromConsole", "true")
		}, "ASIAEXAMPLECON00", `
beginning: user ana
  ConsoleLogin matched: user ana ASIAEXAMPLECON00 <`},
		"a role that was switched to in the console": {func(l *logs) {
			l.add(home, at("10:00:00"), "signin.amazonaws.com", "SwitchRole", role(home, "Admin", "ana", "", at("10:00:00")), obj{"additionalEventData": obj{"SwitchFrom": "arn:aws:iam::" + home + ":user/ana"}})
			use(l, home, role(home, "Admin", "ana", "ASIAEXAMPLESWI00", at("10:00:01")), "sessionCredentialFromConsole", "true")
		}, "ASIAEXAMPLESWI00", `
unknown no-key: ana
  SwitchRole matched: role Admin/ana ASIAEXAMPLESWI00 <`},
		"an instance, by EC2": {func(l *logs) {
			l.add(home, at("09:00:00"), "ec2.amazonaws.com", "RunInstances", user(home, "ana", "AKIAEXAMPLEANA00"), obj{"responseElements": obj{"instancesSet": obj{"items": []obj{{"instanceId": "i-0123456789abcdef0"}}}}})
			l.add(home, at("10:00:00"), "sts.amazonaws.com", "AssumeRole", obj{"type": "AWSService", "invokedBy": "ec2.amazonaws.com"}, taken(home, "Web", "i-0123456789abcdef0", "ASIAEXAMPLEEC200"))
			use(l, home, role(home, "Web", "i-0123456789abcdef0", "ASIAEXAMPLEEC200", at("10:00:00")))
		}, "ASIAEXAMPLEEC200", `
beginning: service ec2.amazonaws.com
  AssumeRole proven: role Web/i-0123456789abcdef0 ASIAEXAMPLEEC200 <`},
		"Roles Anywhere": {func(l *logs) {
			l.add(home, at("10:00:00"), "rolesanywhere.amazonaws.com", "CreateSession", obj{"type": "Unknown", "accountId": home, "principalId": "", "arn": ""}, obj{
				"requestParameters": obj{"roleArn": "arn:aws:iam::" + home + ":role/Edge"}, "responseElements": obj{"credentialSet": []obj{{"credentials": obj{"accessKeyId": "ASIAEXAMPLERA000"}}}}})
			use(l, home, role(home, "Edge", "cert", "ASIAEXAMPLERA000", at("10:00:00")))
		}, "ASIAEXAMPLERA000", `
beginning: unknown
  CreateSession proven: role Edge/cert ASIAEXAMPLERA000 <`},
		"a bearer token": {func(l *logs) {
			l.add(home, at("10:00:00"), "iam.amazonaws.com", "CreateServiceSpecificCredential", user(home, "ana", "AKIAEXAMPLEANA00"), obj{"requestParameters": obj{"userName": "bot"},
				"responseElements": obj{"serviceSpecificCredential": obj{"serviceSpecificCredentialId": "ACCAEXAMPLETOKEN", "userName": "bot"}}})
			bot := user(home, "bot", "")
			bot["credentialId"] = "ACCAEXAMPLETOKEN"
			use(l, home, bot)
		}, "ACCAEXAMPLETOKEN", `
unknown before-data: user ana AKIAEXAMPLEANA00
  CreateServiceSpecificCredential proven: user bot ACCAEXAMPLETOKEN <`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &logs{}
			l.begin(home, other)
			test.build(l)
			if got := shape(l.trace(t, test.asked, Options{})); got != strings.TrimPrefix(test.want, "\n")+"\n" {
				t.Errorf("got\n%s\nwant%s", got, test.want)
			}
		})
	}
}

// TestUnknown builds each reason for which an origin is not known.
func TestUnknown(t *testing.T) {
	t.Parallel()
	read := func(l *logs, account string, identity obj, more ...any) {
		l.add(account, at("11:00:00"), "s3.amazonaws.com", "ListBuckets", identity, with(nil, more...))
	}
	tests := map[string]struct {
		build func(l *logs)
		asked string
		want  string
		text  string // what the explanation or the notes say
	}{
		"a session older than the data": {func(l *logs) {
			read(l, home, role(home, "Admin", "a1", "ASIAEXAMPLEADM00", "2026-01-09T23:59:00Z"))
		}, "ASIAEXAMPLEADM00", "unknown before-data: role Admin/a1 ASIAEXAMPLEADM00 <", "the session began 2026-01-09 23:59:00Z, before the data of account 111122223333 begin (2026-01-10 00:00:00Z)"},
		"a session of an account without data": {func(l *logs) {
			read(l, home, role(abroad, "Admin", "a1", "ASIAEXAMPLEADM00", at("10:00:00")))
		}, "ASIAEXAMPLEADM00", "unknown other-account: role Admin/a1 ASIAEXAMPLEADM00 <", "nothing recorded in account 999988887777"},
		"a caller of an account without data": {func(l *logs) {
			l.add(home, at("10:00:00"), "sts.amazonaws.com", "AssumeRole", obj{"type": "AWSAccount", "principalId": "AROAX:vendor", "accountId": abroad}, with(taken(home, "Admin", "a1", "ASIAEXAMPLEADM00"), "sharedEventID", "S"))
			read(l, home, role(home, "Admin", "a1", "ASIAEXAMPLEADM00", at("10:00:00")))
		}, "ASIAEXAMPLEADM00", "unknown other-account: AROAX of account 999988887777\n  AssumeRole proven: role Admin/a1 ASIAEXAMPLEADM00 <", "of which the data have nothing"},
		"a caller of an account with data, without the record": {func(l *logs) {
			l.add(home, at("10:00:00"), "sts.amazonaws.com", "AssumeRole", obj{"type": "AWSAccount", "principalId": "AROAX:vendor", "accountId": other}, taken(home, "Admin", "a1", "ASIAEXAMPLEADM00"))
			read(l, home, role(home, "Admin", "a1", "ASIAEXAMPLEADM00", at("10:00:00")))
		}, "ASIAEXAMPLEADM00", "unknown not-in-data: AROAX of account 444455556666\n  AssumeRole proven: role Admin/a1 ASIAEXAMPLEADM00 <", "neither its record of the call nor a key"},
		"a caller who is known by the principal id alone": {func(l *logs) {
			l.add(home, at("10:00:00"), "sts.amazonaws.com", "AssumeRole", obj{"type": "AWSAccount", "principalId": "AIDAANA", "accountId": other}, taken(home, "Admin", "a1", "ASIAEXAMPLEADM00"))
			l.add(other, at("09:00:00"), "s3.amazonaws.com", "ListBuckets", user(other, "ana", "AKIAEXAMPLEANA00"), nil)
			read(l, home, role(home, "Admin", "a1", "ASIAEXAMPLEADM00", at("10:00:00")))
		}, "ASIAEXAMPLEADM00", "ambiguous several-candidates: AIDAANA of account 444455556666\n  AssumeRole proven: role Admin/a1 ASIAEXAMPLEADM00 <", "1 key of the caller in use then may have made it"},
		"an instance without EC2's call": {func(l *logs) {
			l.add(home, at("09:00:00"), "ec2.amazonaws.com", "RunInstances", user(home, "ana", "AKIAEXAMPLEANA00"), obj{"responseElements": obj{"instancesSet": obj{"items": []obj{{"instanceId": "i-0123456789abcdef0"}}}}})
			read(l, home, role(home, "Web", "i-0123456789abcdef0", "ASIAEXAMPLEEC200", at("10:00:00")))
		}, "i-0123456789abcdef0", "unknown service-credentials: role Web/i-0123456789abcdef0 ASIAEXAMPLEEC200 <", "instance started by ana"},
		"a function": {func(l *logs) {
			id := role(home, "Fn", "worker", "ASIAEXAMPLEFN000", at("10:00:00"))
			id["inScopeOf"] = obj{"sourceArn": "arn:aws:lambda:us-east-1:" + home + ":function:worker", "issuerType": "AWS::Lambda::Function"}
			read(l, home, id)
		}, "ASIAEXAMPLEFN000", "unknown service-credentials: role Fn/worker ASIAEXAMPLEFN000 <", "Lambda gives the function its credentials"},
		"a console session without a sign-in": {func(l *logs) {
			read(l, home, session(user(home, "ana", "ASIAEXAMPLECON00"), at("10:00:00")), "sessionCredentialFromConsole", "true")
		}, "ASIAEXAMPLECON00", "unknown no-sign-in: user ana ASIAEXAMPLECON00 <", "no sign-in and no call for it in the data about 2026-01-10 10:00:00Z"},
		"two sign-ins": {func(l *logs) {
			for _, when := range []string{"09:50:00", "09:55:00"} {
				l.add(home, at(when), "signin.amazonaws.com", "ConsoleLogin", user(home, "ana", ""), obj{"responseElements": obj{"ConsoleLogin": "Success"}})
			}
			read(l, home, session(user(home, "ana", "ASIAEXAMPLECON00"), at("10:00:00")))
		}, "ASIAEXAMPLECON00", "ambiguous several-candidates: user ana ASIAEXAMPLECON00 <", "2 calls fit"},
		"two answers with one key": {func(l *logs) {
			l.add(home, at("10:00:00"), "sts.amazonaws.com", "AssumeRole", user(home, "ana", "AKIAEXAMPLEANA00"), taken(home, "Admin", "a1", "ASIAEXAMPLEADM00"))
			l.add(home, at("10:00:00"), "sts.amazonaws.com", "AssumeRole", user(home, "eve", "AKIAEXAMPLEEVE00"), taken(home, "Admin", "a1", "ASIAEXAMPLEADM00"))
		}, "ASIAEXAMPLEADM00", "ambiguous several-candidates: role Admin/a1 ASIAEXAMPLEADM00 <", "2 calls fit"},
		"a call that failed, and one of another session": {func(l *logs) {
			l.add(home, at("10:00:00"), "sts.amazonaws.com", "AssumeRole", user(home, "ana", "AKIAEXAMPLEANA00"), with(taken(home, "Admin", "a1", ""), "errorCode", "AccessDenied", "responseElements", nil))
			l.add(home, at("10:00:00"), "sts.amazonaws.com", "AssumeRole", user(home, "ana", "AKIAEXAMPLEANA00"), with(taken(home, "Admin", "a2", ""), "responseElements", nil))
			l.add(home, at("09:50:00"), "sts.amazonaws.com", "AssumeRole", user(home, "ana", "AKIAEXAMPLEANA00"), with(taken(home, "Admin", "a1", ""), "responseElements", nil))
			l.add(home, at("09:00:00"), "cloudtrail.amazonaws.com", "StopLogging", user(home, "eve", "AKIAEXAMPLEEVE00"), nil)
			read(l, home, role(home, "Admin", "a1", "ASIAEXAMPLEADM00", at("10:00:00")))
		}, "ASIAEXAMPLEADM00", "unknown not-in-data: role Admin/a1 ASIAEXAMPLEADM00 <", "StopLogging by eve"},
		"a user that was made within the data": {func(l *logs) {
			l.add(home, at("08:00:00"), "iam.amazonaws.com", "CreateUser", user(home, "eve", "AKIAEXAMPLEEVE00"), obj{"requestParameters": obj{"userName": "bob"}})
			read(l, home, user(home, "bob", "AKIAEXAMPLEBOB00"))
		}, "AKIAEXAMPLEBOB00", "unknown not-in-data: user bob AKIAEXAMPLEBOB00 <", "user made by eve"},
		"no key": {func(l *logs) {}, "kms.amazonaws.com", "beginning: service kms.amazonaws.com <", "an AWS service on its own behalf"},
		"an event of a stranger": {func(l *logs) {
			l.add(home, at("10:00:00"), "s3.amazonaws.com", "GetObject", obj{"type": "AWSAccount", "principalId": "AIDAX", "accountId": abroad}, nil)
		}, "00000000-0000-4000-8000-000000000003", "unknown no-key: AIDAX of account 999988887777 <", "name no access key"},
		"a circle": {func(l *logs) {
			l.add(home, at("10:00:00"), "sts.amazonaws.com", "AssumeRole", role(home, "B", "b", "ASIAEXAMPLEBBBB0", at("10:00:00")), taken(home, "A", "a", "ASIAEXAMPLEAAAA0"))
			l.add(home, at("10:00:00"), "sts.amazonaws.com", "AssumeRole", role(home, "A", "a", "ASIAEXAMPLEAAAA0", at("10:00:00")), taken(home, "B", "b", "ASIAEXAMPLEBBBB0"))
		}, "ASIAEXAMPLEAAAA0", "AssumeRole unknown cycle: role B/b ASIAEXAMPLEBBBB0\n  AssumeRole proven: role A/a ASIAEXAMPLEAAAA0 <", "minted, in the end, by itself"},
		"a key that minted itself": {func(l *logs) {
			l.add(home, at("10:00:00"), "sts.amazonaws.com", "AssumeRole", role(home, "A", "a", "ASIAEXAMPLEAAAA0", at("10:00:00")), taken(home, "A", "a", "ASIAEXAMPLEAAAA0"))
		}, "ASIAEXAMPLEAAAA0", "AssumeRole unknown cycle: role A/a ASIAEXAMPLEAAAA0 <", "the key minted itself"},
		"nothing": {func(l *logs) {}, "ASIANOTINTHEDATA", "", "Nothing of ASIANOTINTHEDATA in the data."},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &logs{}
			l.begin(home, other)
			test.build(l)
			r := l.trace(t, test.asked, Options{})
			if got := strings.TrimSuffix(shape(r), "\n"); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
			var b strings.Builder
			if err := r.Text(&b, 2000); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(b.String(), test.text) {
				t.Errorf("%q is not in\n%s", test.text, b.String())
			}
		})
	}
}

// TestFanOut sees that many sessions are added up, and that nothing grows without bound.
func TestFanOut(t *testing.T) {
	t.Parallel()
	l := &logs{}
	l.begin(home)
	ci := user(home, "ci", "AKIAEXAMPLECI000")
	key := func(n int) string { return fmt.Sprintf("ASIAEXAMPLE%05d", n) }
	for i := range 300 {
		when := at(fmt.Sprintf("%02d:%02d:00", 10+i/60, i%60))
		l.add(home, when, "sts.amazonaws.com", "AssumeRole", ci, taken(home, "Deploy", fmt.Sprintf("d%d", i), key(i)))
		l.add(home, when, "s3.amazonaws.com", "PutObject", role(home, "Deploy", fmt.Sprintf("d%d", i), key(i), when), nil)
	}
	for i := range 3 { // one session takes three other roles
		l.add(home, at("20:00:00"), "sts.amazonaws.com", "AssumeRole", role(home, "Deploy", "d7", key(7), at("10:07:00")), taken(home, fmt.Sprintf("R%d", i), "x", fmt.Sprintf("ASIAEXAMPLEX%04d", i)))
	}
	e := l.engine(t)
	for name, test := range map[string]struct {
		asked string
		opts  Options
		want  string
	}{
		"from above": {"AKIAEXAMPLECI000", Options{}, `unknown before-data: user ci AKIAEXAMPLECI000 <
  300 of arn:aws:iam::111122223333:role/Deploy by AssumeRole
`},
		"one of them": {"ASIAEXAMPLE00007", Options{}, `unknown before-data: user ci AKIAEXAMPLECI000
  AssumeRole proven: role Deploy/d7 ASIAEXAMPLE00007 <
    AssumeRole proven: role R0/x ASIAEXAMPLEX0000
    AssumeRole proven: role R1/x ASIAEXAMPLEX0001
    AssumeRole proven: role R2/x ASIAEXAMPLEX0002
  299 more
`},
		"few sessions": {"ASIAEXAMPLE00007", Options{Sessions: 3}, `unknown before-data: user ci AKIAEXAMPLECI000
  AssumeRole proven: role Deploy/d7 ASIAEXAMPLE00007 <
    AssumeRole proven: role R0/x ASIAEXAMPLEX0000
    AssumeRole proven: role R1/x ASIAEXAMPLEX0001
    1 more
  299 more
`},
		"few links": {"ASIAEXAMPLEX0001", Options{Depth: 1}, `unknown before-data: user ci AKIAEXAMPLECI000
  299 more
`},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "few links" {
				r := ask(t, e, test.asked, test.opts)
				if len(r.Roots) != 1 || r.Roots[0].Origin.Reason != ReasonDepth || r.Roots[0].Key != "ASIAEXAMPLE00007" {
					t.Errorf("got\n%s", shape(r))
				}
				return
			}
			r := ask(t, e, test.asked, test.opts)
			if got := shape(r); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
	r := ask(t, e, "AKIAEXAMPLECI000", Options{})
	if g := r.Roots[0].Groups[0]; g.Uses == nil || g.Uses.Calls != 303 || g.Uses.Names[0].Value != "PutObject" || g.Uses.Names[0].Calls != 300 || g.Partial {
		t.Errorf("the group was used so: %+v", g.Uses)
	}
	if u := r.Roots[0].Uses; u.Calls != 300 || u.Names[0].Value != "AssumeRole" || u.First.Format("15:04:05") != "10:00:00" || u.Last.Format("15:04:05") != "14:59:00" {
		t.Errorf("the key was used so: %+v", u)
	}
	many := ask(t, e, "arn:aws:iam::"+home+":role/Deploy", Options{Sessions: 20})
	if many.Targets != 300 || many.Left != 280 || len(many.Roots) != 1 || len(many.Roots[0].Minted) != 20 || many.Roots[0].Minted[0].Key != key(280) {
		t.Errorf("of %d credentials %d are left; got\n%s", many.Targets, many.Left, shape(many))
	}
}

// TestHostile sees that texts out of logs act on nothing, and are cut.
func TestHostile(t *testing.T) {
	t.Parallel()
	evil := "\x1b[2J\u202eEVIL'; DROP VIEW events; --" + strings.Repeat("A", 5000)
	l := &logs{}
	l.begin(home)
	id := role(home, evil, evil, "ASIAEXAMPLEADM00", at("10:00:00"))
	l.add(home, at("10:00:00"), "sts.amazonaws.com", "AssumeRole", user(home, evil, "AKIAEXAMPLEANA00"), with(taken(home, evil, evil, "ASIAEXAMPLEADM00"), "userAgent", evil, "sourceIPAddress", evil))
	l.add(home, at("11:00:00"), evil, evil, id, obj{"errorCode": evil, "errorMessage": evil, "userAgent": evil, "sourceIPAddress": evil, "awsRegion": evil})
	l.add(home, at("12:00:00"), "sts.amazonaws.com", "AssumeRole", id, obj{"requestParameters": []int{1}, "responseElements": "text"})
	l.add(home, at("12:00:01"), "sts.amazonaws.com", "AssumeRole", id, obj{"requestParameters": obj{"roleArn": obj{"a": 1}}, "responseElements": obj{"credentials": []int{1, 2}, "accessKey": 7}})
	l.add(home, at("12:00:02"), "sts.amazonaws.com", "AssumeRole", id, with(taken(home, "X", "x", evil), "eventID", nil, "requestID", nil))
	e := l.engine(t)
	for _, asked := range []string{"ASIAEXAMPLEADM00", "AKIAEXAMPLEANA00", evil, evil[:20], "' OR '1'='1", "$v0", "arn:" + evil} {
		r := ask(t, e, asked, Options{})
		var b strings.Builder
		if err := r.Text(&b, 100); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(b.String(), "\x1b\u202e") {
			t.Errorf("asked for %.20q: what could drive a terminal is in the text", asked)
		}
		for line := range strings.Lines(b.String()) {
			if n := safetext.Width(strings.TrimSuffix(line, "\n")); n > 100 {
				t.Errorf("a line of %d columns: %s", n, line)
			}
		}
		if b.Len() > 30_000 {
			t.Errorf("asked for %.20q: %d bytes of text", asked, b.Len())
		}
		if found := len(r.Roots) > 0; found != strings.HasPrefix(asked, "A") {
			if asked != evil {
				t.Errorf("asked for %.20q: %d trees", asked, len(r.Roots))
			}
		}
	}
}
