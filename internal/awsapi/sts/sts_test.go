package sts_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	client "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/awsapitest"
	"spoor/internal/awsapi/sts"
	"spoor/internal/iam"
)

func services(access *iam.Service, _ *slog.Logger) []*awsapi.Service {
	return []*awsapi.Service{sts.New(sts.Options{Access: access})}
}

// role makes a role that those who are named may assume.
func role(t *testing.T, r *awsapitest.Rig, account, name string, who ...string) iam.Assumable {
	t.Helper()
	trust, err := iam.TrustOf(who...)
	if err != nil {
		t.Fatal(err)
	}
	a, err := r.Access.CreateAssumable(iam.AssumableSpec{Name: name, Account: account, Roles: []iam.Role{iam.RoleAnalyst}, Trust: trust, MaxSession: 2 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func keyOf(c *types.Credentials) awsapitest.Key {
	return awsapitest.Key{ID: *c.AccessKeyId, Secret: *c.SecretAccessKey, Token: *c.SessionToken}
}

func pick(m map[string]any, names ...string) map[string]any {
	out := map[string]any{}
	for _, n := range names {
		out[n] = m[n]
	}
	return out
}

const ann = "arn:aws:iam::111122223333:user/ann"

func TestAssumeRole(t *testing.T) {
	t.Parallel()
	r := awsapitest.New(t, services)
	key := r.User(t, "ann")
	shop := role(t, r, awsapitest.Member, "Shop", ann)
	c := client.NewFromConfig(r.Config(key))
	out, err := c.AssumeRole(t.Context(), &client.AssumeRoleInput{
		RoleArn: aws.String(shop.ARN()), RoleSessionName: aws.String("work"), DurationSeconds: aws.Int32(900), SourceIdentity: aws.String("ann-smith"), ExternalId: aws.String("e-1"),
		Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("red")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(*out.Credentials.Expiration); left > 15*time.Minute || left < 14*time.Minute || !strings.HasPrefix(*out.Credentials.AccessKeyId, "ASIA") {
		t.Errorf("%s for %v", *out.Credentials.AccessKeyId, left)
	}
	if *out.AssumedRoleUser.Arn != "arn:aws:sts::444455556666:assumed-role/Shop/work" || *out.AssumedRoleUser.AssumedRoleId != shop.ID+":work" || *out.SourceIdentity != "ann-smith" {
		t.Errorf("%+v", out.AssumedRoleUser)
	}
	last := r.Book.Last(t)
	awsapitest.Equal(t, pick(last, "eventSource", "eventName", "readOnly", "requestParameters", "responseElements", "resources", "recipientAccountId", "errorCode"), `{
		"eventSource":"sts.amazonaws.com","eventName":"AssumeRole","readOnly":true,"recipientAccountId":"111122223333","errorCode":null,
		"requestParameters":{"roleArn":"arn:aws:iam::444455556666:role/Shop","roleSessionName":"work","durationSeconds":900,"sourceIdentity":"ann-smith","externalId":"e-1","tags":[{"key":"team","value":"red"}]},
		"responseElements":{"assumedRoleUser":{"arn":"arn:aws:sts::444455556666:assumed-role/Shop/work","assumedRoleId":"`+shop.ID+`:work"},
			"credentials":{"accessKeyId":"`+*out.Credentials.AccessKeyId+`","expiration":"`+out.Credentials.Expiration.UTC().Format("Jan 2, 2006, 3:04:05 PM")+`",
				"secretAccessKey":"HIDDEN_DUE_TO_SECURITY_REASONS","sessionToken":"HIDDEN_DUE_TO_SECURITY_REASONS"},"sourceIdentity":"ann-smith"},
		"resources":[{"ARN":"arn:aws:iam::444455556666:role/Shop","accountId":"444455556666","type":"AWS::IAM::Role"}]}`)

	// The session is who it says, in its account, and its calls say where it came from.
	in := client.NewFromConfig(r.Config(keyOf(out.Credentials)))
	who, err := in.GetCallerIdentity(t.Context(), &client.GetCallerIdentityInput{})
	if err != nil || *who.Arn != *out.AssumedRoleUser.Arn || *who.Account != awsapitest.Member || *who.UserId != shop.ID+":work" {
		t.Fatalf("%+v %v", who, err)
	}
	identity := r.Book.Last(t)["userIdentity"].(map[string]any)
	issued := identity["sessionContext"].(map[string]any)["attributes"].(map[string]any)["creationDate"].(string)
	awsapitest.Equal(t, identity, `{"type":"AssumedRole","principalId":"`+shop.ID+`:work","arn":"arn:aws:sts::444455556666:assumed-role/Shop/work","accountId":"444455556666","accessKeyId":"`+*out.Credentials.AccessKeyId+`",
		"sessionContext":{"sessionIssuer":{"type":"Role","principalId":"`+shop.ID+`","arn":"arn:aws:iam::444455556666:role/Shop","accountId":"444455556666","userName":"Shop"},
			"attributes":{"creationDate":"`+issued+`","mfaAuthenticated":"false"},"sourceIdentity":"ann-smith"}}`)
	if r.Book.Last(t)["recipientAccountId"] != awsapitest.Member {
		t.Errorf("recorded for %v", r.Book.Last(t)["recipientAccountId"])
	}

	// A role can be assumed out of a role, for an hour, with the same source identity.
	next := role(t, r, "", "Next", shop.ARN())
	chained, err := in.AssumeRole(t.Context(), &client.AssumeRoleInput{RoleArn: aws.String(next.ARN()), RoleSessionName: aws.String("further")})
	if err != nil || *chained.SourceIdentity != "ann-smith" {
		t.Errorf("%+v %v", chained, err)
	}
	_, err = in.AssumeRole(t.Context(), &client.AssumeRoleInput{RoleArn: aws.String(next.ARN()), RoleSessionName: aws.String("further"), DurationSeconds: aws.Int32(3601)})
	if code, message := awsapitest.Code(err); code != "ValidationError" || message != "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining" {
		t.Errorf("%s: %s", code, message)
	}

	// And ends with the key that it came of.
	if err := r.Access.DeleteAccessKey("ann", key.ID); err != nil {
		t.Fatal(err)
	}
	_, err = in.GetCallerIdentity(t.Context(), &client.GetCallerIdentityInput{})
	if code, _ := awsapitest.Code(err); code != "InvalidClientTokenId" {
		t.Errorf("%v", err)
	}
	for _, text := range r.Book.Records() {
		if strings.Contains(text, *out.Credentials.SecretAccessKey) || strings.Contains(text, *out.Credentials.SessionToken) || strings.Contains(text, key.Secret) {
			t.Errorf("a secret was recorded: %s", text)
		}
	}
}

func TestAssumeRoleRefused(t *testing.T) {
	t.Parallel()
	r := awsapitest.New(t, services)
	deploy := role(t, r, "", "Deploy", "*")
	annKey := r.User(t, "ann")
	r.User(t, "bob")
	bobs := role(t, r, "", "Strict", "arn:aws:iam::111122223333:user/bob")
	for name, x := range map[string]struct {
		key    awsapitest.Key
		change func(*client.AssumeRoleInput)
		want   string
	}{
		"policy": {annKey, func(in *client.AssumeRoleInput) { in.Policy = aws.String("{}") }, "ValidationError: Session policies are not supported here: leave out Policy and PolicyArns"},
		"policy ARNs": {annKey, func(in *client.AssumeRoleInput) {
			in.PolicyArns = []types.PolicyDescriptorType{{Arn: aws.String("arn:aws:iam::aws:policy/SpoorAuditor")}}
		}, "ValidationError: Session policies are not supported here: leave out Policy and PolicyArns"},
		"MFA":  {annKey, func(in *client.AssumeRoleInput) { in.SerialNumber = aws.String("arn:aws:iam::111122223333:mfa/ann") }, "ValidationError: There are no MFA devices here: SerialNumber and TokenCode are not supported"},
		"code": {annKey, func(in *client.AssumeRoleInput) { in.TokenCode = aws.String("123456") }, "ValidationError: There are no MFA devices here: SerialNumber and TokenCode are not supported"},
		"contexts": {annKey, func(in *client.AssumeRoleInput) {
			in.ProvidedContexts = []types.ProvidedContext{{ContextAssertion: aws.String("abcd"), ProviderArn: aws.String("arn:aws:iam::aws:contextProvider/IdentityCenter")}}
		}, "ValidationError: Context assertions are not supported here: leave out ProvidedContexts"},
		"transitive": {annKey, func(in *client.AssumeRoleInput) { in.TransitiveTagKeys = []string{"team"} }, "ValidationError: Session tags do not pass on to further roles here: leave out TransitiveTagKeys"},
		"tag twice": {annKey, func(in *client.AssumeRoleInput) {
			in.Tags = []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}, {Key: aws.String("a"), Value: aws.String("2")}}
		}, "ValidationError: Duplicate tag keys found: a"},
		"long":    {annKey, func(in *client.AssumeRoleInput) { in.DurationSeconds = aws.Int32(7201) }, "ValidationError: The requested DurationSeconds exceeds the MaxSessionDuration set for this role."},
		"short":   {annKey, func(in *client.AssumeRoleInput) { in.DurationSeconds = aws.Int32(899) }, "ValidationError: 1 validation error detected: Value '899' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900"},
		"no role": {annKey, func(in *client.AssumeRoleInput) { in.RoleArn = aws.String("arn:aws:iam::111122223333:role/None") }, "AccessDenied: User: arn:aws:iam::111122223333:user/ann is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::111122223333:role/None"},
		"trust":   {annKey, func(in *client.AssumeRoleInput) { in.RoleArn = aws.String(bobs.ARN()) }, "AccessDenied: User: arn:aws:iam::111122223333:user/ann is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::111122223333:role/Strict"},
		"root":    {r.User(t, iam.RootName), func(*client.AssumeRoleInput) {}, "AccessDenied: Roles may not be assumed by root accounts."},
	} {
		in := &client.AssumeRoleInput{RoleArn: aws.String(deploy.ARN()), RoleSessionName: aws.String("work")}
		x.change(in)
		_, err := client.NewFromConfig(r.Config(x.key)).AssumeRole(t.Context(), in)
		code, message := awsapitest.Code(err)
		if got := code + ": " + message; got != x.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, x.want)
		}
		last := r.Book.Last(t)
		recorded := strings.Replace(code, "ValidationError", "ValidationException", 1)
		if last["eventName"] != "AssumeRole" || last["errorCode"] != recorded || last["errorMessage"] != message || last["responseElements"] != nil || last["resources"] != nil {
			t.Errorf("%s: recorded %v", name, last)
		}
	}
	var tags []types.Tag
	for i := range 50 {
		tags = append(tags, types.Tag{Key: aws.String("key" + string(rune('a'+i%26)) + string(rune('a'+i/26))), Value: aws.String(strings.Repeat("v", 256))})
	}
	_, err := client.NewFromConfig(r.Config(annKey)).AssumeRole(t.Context(), &client.AssumeRoleInput{RoleArn: aws.String(deploy.ARN()), RoleSessionName: aws.String("work"), Tags: tags})
	if code, _ := awsapitest.Code(err); code != "PackedPolicyTooLarge" {
		t.Errorf("%v", err)
	}
}

func TestGetSessionToken(t *testing.T) {
	t.Parallel()
	r := awsapitest.New(t, services)
	key := r.User(t, "ann")
	c := client.NewFromConfig(r.Config(key))
	out, err := c.GetSessionToken(t.Context(), &client.GetSessionTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(*out.Credentials.Expiration); left > 12*time.Hour || left < 12*time.Hour-time.Minute {
		t.Errorf("for %v", left)
	}
	last := r.Book.Last(t)
	awsapitest.Equal(t, pick(last, "eventName", "readOnly", "requestParameters", "responseElements", "resources"), `{"eventName":"GetSessionToken","readOnly":false,"requestParameters":null,"resources":null,
		"responseElements":{"credentials":{"accessKeyId":"`+*out.Credentials.AccessKeyId+`","expiration":"`+out.Credentials.Expiration.UTC().Format("Jan 2, 2006, 3:04:05 PM")+`",
			"secretAccessKey":"HIDDEN_DUE_TO_SECURITY_REASONS","sessionToken":"HIDDEN_DUE_TO_SECURITY_REASONS"}}}`)

	in := client.NewFromConfig(r.Config(keyOf(out.Credentials)))
	who, err := in.GetCallerIdentity(t.Context(), &client.GetCallerIdentityInput{})
	if err != nil || *who.Arn != ann {
		t.Fatalf("%+v %v", who, err)
	}
	identity := r.Book.Last(t)["userIdentity"].(map[string]any)
	if identity["type"] != "IAMUser" || identity["userName"] != "ann" || identity["accessKeyId"] != *out.Credentials.AccessKeyId || identity["sessionContext"].(map[string]any)["attributes"].(map[string]any)["mfaAuthenticated"] != "false" {
		t.Errorf("recorded %v", identity)
	}
	deploy := role(t, r, "", "Deploy", ann)
	assumed, err := in.AssumeRole(t.Context(), &client.AssumeRoleInput{RoleArn: aws.String(deploy.ARN()), RoleSessionName: aws.String("work")})
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		key  awsapitest.Key
		in   client.GetSessionTokenInput
		want string
	}{
		"of a session": {keyOf(out.Credentials), client.GetSessionTokenInput{}, "AccessDenied: Cannot call GetSessionToken with session credentials"},
		"of a role":    {keyOf(assumed.Credentials), client.GetSessionTokenInput{}, "AccessDenied: Cannot call GetSessionToken with session credentials"},
		"MFA":          {key, client.GetSessionTokenInput{SerialNumber: aws.String("arn:aws:iam::111122223333:mfa/ann"), TokenCode: aws.String("123456")}, "ValidationError: There are no MFA devices here: SerialNumber and TokenCode are not supported"},
	} {
		_, err := client.NewFromConfig(r.Config(x.key)).GetSessionToken(t.Context(), &x.in)
		code, message := awsapitest.Code(err)
		if got := code + ": " + message; got != x.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, x.want)
		}
	}
	root := client.NewFromConfig(r.Config(r.User(t, iam.RootName)))
	_, err = root.GetSessionToken(t.Context(), &client.GetSessionTokenInput{DurationSeconds: aws.Int32(3601)})
	if code, message := awsapitest.Code(err); code != "ValidationError" || !strings.Contains(message, "1h0m0s") {
		t.Errorf("%s: %s", code, message)
	}
}

// TestPolicies: what a policy forbids is refused, also where the service asks by itself.
func TestPolicies(t *testing.T) {
	t.Parallel()
	r := awsapitest.New(t, services)
	c := client.NewFromConfig(r.Config(r.User(t, "ann")))
	deploy := role(t, r, "", "Deploy", ann)
	p, err := iam.ParsePolicies(iam.PolicyFile{Name: "x.cedar", Text: `forbid (principal, action in [Spoor::Action::"sts:AssumeRole", Spoor::Action::"sts:GetSessionToken", Spoor::Action::"sts:GetAccessKeyInfo"], resource);`})
	if err != nil {
		t.Fatal(err)
	}
	r.Access.SetPolicies(p)
	for what, err := range map[string]error{
		"AssumeRole":       second(c.AssumeRole(t.Context(), &client.AssumeRoleInput{RoleArn: aws.String(deploy.ARN()), RoleSessionName: aws.String("work")})),
		"GetSessionToken":  second(c.GetSessionToken(t.Context(), &client.GetSessionTokenInput{})),
		"GetAccessKeyInfo": second(c.GetAccessKeyInfo(t.Context(), &client.GetAccessKeyInfoInput{AccessKeyId: aws.String("AKIAIOSFODNN7EXAMPLE")})),
	} {
		code, message := awsapitest.Code(err)
		if code != "AccessDenied" || !strings.HasPrefix(message, "User: "+ann+" is not authorized to perform: sts:"+what) {
			t.Errorf("%s: %s", code, message)
		}
	}
	if _, err := c.GetCallerIdentity(t.Context(), &client.GetCallerIdentityInput{}); err != nil {
		t.Error(err)
	}
}

func TestGetAccessKeyInfo(t *testing.T) {
	t.Parallel()
	r := awsapitest.New(t, services)
	key := r.User(t, "ann")
	c := client.NewFromConfig(r.Config(key))
	shop := role(t, r, awsapitest.Member, "Shop", ann)
	assumed, err := c.AssumeRole(t.Context(), &client.AssumeRoleInput{RoleArn: aws.String(shop.ARN()), RoleSessionName: aws.String("work")})
	if err != nil {
		t.Fatal(err)
	}
	in := client.NewFromConfig(r.Config(keyOf(assumed.Credentials)))
	for _, x := range []struct {
		c        *client.Client
		id, want string
	}{
		{c, key.ID, awsapitest.Account}, {in, key.ID, awsapitest.Account}, {in, *assumed.Credentials.AccessKeyId, awsapitest.Member},
		{c, *assumed.Credentials.AccessKeyId, "ValidationError: The account of the access key " + *assumed.Credentials.AccessKeyId + " is not known"},
		{c, "AKIAIOSFODNN7EXAMPLE", "ValidationError: The account of the access key AKIAIOSFODNN7EXAMPLE is not known"},
	} {
		out, err := x.c.GetAccessKeyInfo(t.Context(), &client.GetAccessKeyInfoInput{AccessKeyId: &x.id})
		code, message := awsapitest.Code(err)
		got := code + ": " + message
		if err == nil {
			got = *out.Account
		}
		if got != x.want {
			t.Errorf("got %s, want %s", got, x.want)
		}
	}
}

// TestUnrecorded: credentials of a call that could not be recorded reach nobody.
func TestUnrecorded(t *testing.T) {
	t.Parallel()
	r := awsapitest.New(t, services)
	c := client.NewFromConfig(r.Config(r.User(t, "ann")))
	deploy := role(t, r, "", "Deploy", ann)
	r.Book.Fail(errors.New("the disk is full"))
	for what, err := range map[string]error{
		"AssumeRole":      second(c.AssumeRole(t.Context(), &client.AssumeRoleInput{RoleArn: aws.String(deploy.ARN()), RoleSessionName: aws.String("work")})),
		"GetSessionToken": second(c.GetSessionToken(t.Context(), &client.GetSessionTokenInput{})),
	} {
		if code, _ := awsapitest.Code(err); code != "InternalFailure" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestCLI(t *testing.T) {
	t.Parallel()
	r := awsapitest.New(t, services)
	run := r.CLI(t, r.User(t, "ann"))
	deploy := role(t, r, "", "Deploy", ann)
	out, err := run("sts", "assume-role", "--role-arn", deploy.ARN(), "--role-session-name", "work", "--tags", "Key=team,Value=red")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got struct {
		Credentials     struct{ AccessKeyId, SecretAccessKey, SessionToken, Expiration string }
		AssumedRoleUser struct{ Arn string }
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.AssumedRoleUser.Arn != "arn:aws:sts::111122223333:assumed-role/Deploy/work" {
		t.Fatalf("%v: %s", err, out)
	}
	in := r.CLI(t, awsapitest.Key{ID: got.Credentials.AccessKeyId, Secret: got.Credentials.SecretAccessKey, Token: got.Credentials.SessionToken})
	if out, err := in("sts", "get-caller-identity", "--query", "Arn"); err != nil || strings.TrimSpace(out) != `"`+got.AssumedRoleUser.Arn+`"` {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := in("sts", "get-session-token"); err == nil || !strings.Contains(out, "An error occurred (AccessDenied) when calling the GetSessionToken operation: Cannot call GetSessionToken with session credentials") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := run("sts", "get-session-token", "--duration-seconds", "900", "--query", "Credentials.AccessKeyId"); err != nil || !strings.Contains(out, `"ASIA`) {
		t.Errorf("%v: %s", err, out)
	}
}

func second(_ any, err error) error { return err }
