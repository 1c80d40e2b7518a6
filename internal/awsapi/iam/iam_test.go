package iam_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	client "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	stsclient "github.com/aws/aws-sdk-go-v2/service/sts"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/awsapitest"
	iamapi "spoor/internal/awsapi/iam"
	"spoor/internal/awsapi/sts"
	"spoor/internal/iam"
)

func services(access *iam.Service, log *slog.Logger) []*awsapi.Service {
	return []*awsapi.Service{iamapi.New(iamapi.Options{Access: access, Log: log}), sts.New(sts.Options{Access: access})}
}

const (
	analyst = "arn:aws:iam::aws:policy/SpoorAnalyst"
	auditor = "arn:aws:iam::aws:policy/SpoorAuditor"
	trust   = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:AssumeRole"}]}`
)

// told is an error as clients tell it, empty for none.
func told(err error) string {
	code, message := awsapitest.Code(err)
	return strings.TrimSuffix(code+": "+message, ": ")
}

func last(_ any, err error) string { return told(err) }

func pick(m map[string]any, names ...string) map[string]any {
	out := map[string]any{}
	for _, n := range names {
		out[n] = m[n]
	}
	return out
}

func str(s string) *string { return &s }

func TestUsers(t *testing.T) {
	t.Parallel()
	r := awsapitest.New(t, services)
	ctx := t.Context()
	c := client.NewFromConfig(r.Config(r.User(t, "boss", iam.RoleAdmin)))
	made, err := c.CreateUser(ctx, &client.CreateUserInput{UserName: str("ann"), Path: str("/")})
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Access.User("ann")
	if err != nil || p.By != "boss" || len(p.Roles) != 0 {
		t.Fatalf("%+v %v", p, err)
	}
	if u := made.User; *u.Arn != "arn:aws:iam::111122223333:user/ann" || *u.UserId != p.ID || *u.UserName != "ann" || *u.Path != "/" || !u.CreateDate.Equal(p.Created) {
		t.Errorf("%+v", u)
	}
	awsapitest.Equal(t, pick(r.Book.Last(t), "eventSource", "eventName", "readOnly", "apiVersion", "requestParameters", "responseElements", "errorCode"), `{
		"eventSource":"iam.amazonaws.com","eventName":"CreateUser","readOnly":false,"apiVersion":"2010-05-08","errorCode":null,"requestParameters":{"userName":"ann","path":"/"},
		"responseElements":{"user":{"arn":"arn:aws:iam::111122223333:user/ann","createDate":"`+p.Created.Format("Jan 2, 2006, 3:04:05 PM")+`","path":"/","userId":"`+p.ID+`","userName":"ann"}}}`)

	if got := last(c.CreateUser(ctx, &client.CreateUserInput{UserName: str("Ann")})); got != "EntityAlreadyExists: User with name Ann already exists." {
		t.Error(got)
	}
	if rec := r.Book.Last(t); rec["errorCode"] != "EntityAlreadyExistsException" || rec["errorMessage"] != "User with name Ann already exists." {
		t.Errorf("recorded %v", rec)
	}
	got, err := c.GetUser(ctx, &client.GetUserInput{UserName: str("ann")})
	if err != nil || *got.User.UserId != p.ID {
		t.Errorf("%+v %v", got, err)
	}
	me, err := c.GetUser(ctx, &client.GetUserInput{})
	if err != nil || *me.User.UserName != "boss" {
		t.Errorf("%+v %v", me, err)
	}
	root, err := client.NewFromConfig(r.Config(r.User(t, iam.RootName))).GetUser(ctx, &client.GetUserInput{})
	if err != nil || *root.User.Arn != "arn:aws:iam::111122223333:root" || *root.User.UserId != awsapitest.Account || root.User.UserName != nil || root.User.Path != nil {
		t.Errorf("%+v %v", root.User, err)
	}

	if _, err := c.AttachUserPolicy(ctx, &client.AttachUserPolicyInput{UserName: str("ann"), PolicyArn: str(analyst)}); err != nil {
		t.Fatal(err)
	}
	awsapitest.Equal(t, pick(r.Book.Last(t), "requestParameters", "responseElements"), `{"requestParameters":{"userName":"ann","policyArn":"arn:aws:iam::aws:policy/SpoorAnalyst"},"responseElements":null}`)
	for range 2 { // again changes nothing
		if _, err := c.AttachUserPolicy(ctx, &client.AttachUserPolicyInput{UserName: str("ann"), PolicyArn: str(auditor)}); err != nil {
			t.Fatal(err)
		}
	}
	if p, _ := r.Access.User("ann"); !slices.Equal(p.Roles, []iam.Role{iam.RoleAnalyst, iam.RoleAuditor}) {
		t.Errorf("roles %q", p.Roles)
	}
	attached, err := c.ListAttachedUserPolicies(ctx, &client.ListAttachedUserPoliciesInput{UserName: str("ann")})
	if err != nil || attached.IsTruncated || len(attached.AttachedPolicies) != 2 || *attached.AttachedPolicies[0].PolicyName != "SpoorAnalyst" || *attached.AttachedPolicies[1].PolicyArn != auditor {
		t.Errorf("%+v %v", attached, err)
	}
	key, err := c.CreateAccessKey(ctx, &client.CreateAccessKeyInput{UserName: str("ann")})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		want string
		do   func() (any, error)
	}{
		{"Cannot delete entity, must delete access keys first.", func() (any, error) {
			return c.DeleteAccessKey(ctx, &client.DeleteAccessKeyInput{UserName: str("ann"), AccessKeyId: key.AccessKey.AccessKeyId})
		}},
		{"Cannot delete entity, must detach all policies first.", func() (any, error) {
			return c.DetachUserPolicy(ctx, &client.DetachUserPolicyInput{UserName: str("ann"), PolicyArn: str(analyst)})
		}},
		{"Cannot delete entity, must detach all policies first.", func() (any, error) {
			return c.DetachUserPolicy(ctx, &client.DetachUserPolicyInput{UserName: str("ann"), PolicyArn: str(auditor)})
		}},
	} {
		if got := last(c.DeleteUser(ctx, &client.DeleteUserInput{UserName: str("ann")})); got != "DeleteConflict: "+step.want {
			t.Error(got)
		}
		if _, err := step.do(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.DeleteUser(ctx, &client.DeleteUserInput{UserName: str("ann")}); err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{
		last(c.DeleteUser(ctx, &client.DeleteUserInput{UserName: str("ann")})), last(c.GetUser(ctx, &client.GetUserInput{UserName: str("ann")})),
		last(c.AttachUserPolicy(ctx, &client.AttachUserPolicyInput{UserName: str("ann"), PolicyArn: str(analyst)})),
		last(c.ListAttachedUserPolicies(ctx, &client.ListAttachedUserPoliciesInput{UserName: str("ann")})),
		last(c.CreateAccessKey(ctx, &client.CreateAccessKeyInput{UserName: str("ann")})), last(c.ListAccessKeys(ctx, &client.ListAccessKeysInput{UserName: str("ann")})),
	} {
		if got != "NoSuchEntity: The user with name ann cannot be found." {
			t.Error(got)
		}
	}
	if got := last(client.NewFromConfig(r.Config(keyOf(t, r, iam.RootName))).DeleteUser(ctx, &client.DeleteUserInput{UserName: str("root")})); got != "NoSuchEntity: The user with name root cannot be found." {
		t.Error(got)
	}
}

// keyOf makes another key of a user who is there.
func keyOf(t *testing.T, r *awsapitest.Rig, user string) awsapitest.Key {
	t.Helper()
	k, secret, err := r.Access.CreateAccessKey(iam.KeySpec{User: user})
	if err != nil {
		t.Fatal(err)
	}
	return awsapitest.Key{ID: k.ID, Secret: secret}
}

func noKey(id string) string {
	return "NoSuchEntity: The Access Key with id " + id + " cannot be found."
}

func TestKeys(t *testing.T) {
	t.Parallel()
	r := awsapitest.New(t, services)
	ctx := t.Context()
	boss := client.NewFromConfig(r.Config(r.User(t, "boss", iam.RoleAdmin)))
	r.User(t, "bob")
	first := r.User(t, "ann")
	ann := client.NewFromConfig(r.Config(first))

	made, err := boss.CreateAccessKey(ctx, &client.CreateAccessKeyInput{UserName: str("ann")})
	if err != nil {
		t.Fatal(err)
	}
	k := made.AccessKey
	if !strings.HasPrefix(*k.AccessKeyId, "AKIA") || len(*k.SecretAccessKey) != 40 || *k.UserName != "ann" || k.Status != types.StatusTypeActive || k.CreateDate == nil {
		t.Errorf("%+v", k)
	}
	awsapitest.Equal(t, pick(r.Book.Last(t), "eventName", "requestParameters", "responseElements"), `{"eventName":"CreateAccessKey","requestParameters":{"userName":"ann"},
		"responseElements":{"accessKey":{"accessKeyId":"`+*k.AccessKeyId+`","createDate":"`+k.CreateDate.Format("Jan 2, 2006, 3:04:05 PM")+`","secretAccessKey":"HIDDEN_DUE_TO_SECURITY_REASONS","status":"Active","userName":"ann"}}}`)
	if got := last(boss.CreateAccessKey(ctx, &client.CreateAccessKeyInput{UserName: str("ann")})); got != "LimitExceeded: Cannot exceed quota for AccessKeysPerUser: 2" {
		t.Error(got)
	}
	if r.Book.Last(t)["errorCode"] != "LimitExceededException" {
		t.Errorf("recorded %v", r.Book.Last(t)["errorCode"])
	}
	if got := last(ann.CreateAccessKey(ctx, &client.CreateAccessKeyInput{})); !strings.HasPrefix(got, "AccessDenied: User: arn:aws:iam::111122223333:user/ann is not authorized to perform: iam:CreateAccessKey on resource: arn:aws:iam::111122223333:user/ann") {
		t.Error(got)
	}

	// One's own keys are one's own to see, to switch and to delete, and those of others are not.
	second := client.NewFromConfig(r.Config(awsapitest.Key{ID: *k.AccessKeyId, Secret: *k.SecretAccessKey}))
	list := func(c *client.Client, user *string) string {
		t.Helper()
		out, err := c.ListAccessKeys(ctx, &client.ListAccessKeysInput{UserName: user})
		if err != nil {
			return told(err)
		}
		var text []string
		for _, k := range out.AccessKeyMetadata {
			text = append(text, *k.UserName+" "+*k.AccessKeyId+" "+string(k.Status))
		}
		slices.Sort(text)
		return strings.Join(text, ", ")
	}
	both := []string{"ann " + first.ID + " Active", "ann " + *k.AccessKeyId + " Active"}
	slices.Sort(both)
	for _, got := range []string{list(ann, nil), list(second, str("ann")), list(boss, str("ann"))} {
		if got != strings.Join(both, ", ") {
			t.Error(got)
		}
	}
	if got := list(ann, str("bob")); !strings.HasPrefix(got, "AccessDenied") {
		t.Error(got)
	}
	if _, err := ann.UpdateAccessKey(ctx, &client.UpdateAccessKeyInput{AccessKeyId: k.AccessKeyId, Status: types.StatusTypeInactive}); err != nil {
		t.Fatal(err)
	}
	if got := list(second, nil); got != "InvalidClientTokenId: The security token included in the request is invalid." {
		t.Error(got)
	}
	if got := list(ann, nil); !strings.Contains(got, *k.AccessKeyId+" Inactive") {
		t.Error(got)
	}
	for range 2 { // again changes nothing
		if _, err := ann.UpdateAccessKey(ctx, &client.UpdateAccessKeyInput{AccessKeyId: k.AccessKeyId, Status: types.StatusTypeActive}); err != nil {
			t.Fatal(err)
		}
	}
	if got := list(second, nil); got != strings.Join(both, ", ") {
		t.Error(got)
	}
	for _, x := range []struct{ want, got string }{
		{"InvalidInput: An access key can be made Active or Inactive", last(ann.UpdateAccessKey(ctx, &client.UpdateAccessKeyInput{AccessKeyId: k.AccessKeyId, Status: types.StatusTypeExpired}))},
		{noKey("AKIAIOSFODNN7EXAMPLE"), last(ann.UpdateAccessKey(ctx, &client.UpdateAccessKeyInput{AccessKeyId: str("AKIAIOSFODNN7EXAMPLE"), Status: types.StatusTypeActive}))},
		{noKey("AKIAIOSFODNN7EXAMPLE"), last(boss.GetAccessKeyLastUsed(ctx, &client.GetAccessKeyLastUsedInput{AccessKeyId: str("AKIAIOSFODNN7EXAMPLE")}))},
		{noKey(*k.AccessKeyId), last(boss.DeleteAccessKey(ctx, &client.DeleteAccessKeyInput{UserName: str("bob"), AccessKeyId: k.AccessKeyId}))},
		{noKey(*k.AccessKeyId), last(boss.UpdateAccessKey(ctx, &client.UpdateAccessKeyInput{AccessKeyId: k.AccessKeyId, Status: types.StatusTypeInactive}))}, // which is none of the caller
	} {
		if x.got != x.want {
			t.Errorf("got  %s\nwant %s", x.got, x.want)
		}
	}

	unused, err := ann.GetAccessKeyLastUsed(ctx, &client.GetAccessKeyLastUsedInput{AccessKeyId: k.AccessKeyId})
	if err != nil || *unused.UserName != "ann" || *unused.AccessKeyLastUsed.ServiceName != "N/A" || *unused.AccessKeyLastUsed.Region != "N/A" || unused.AccessKeyLastUsed.LastUsedDate != nil {
		t.Errorf("%+v %v", unused, err)
	}
	r.Access.UsedKey(*k.AccessKeyId, "cloudtrail", "eu-west-1")
	used, err := ann.GetAccessKeyLastUsed(ctx, &client.GetAccessKeyLastUsedInput{AccessKeyId: k.AccessKeyId})
	if err != nil || *used.AccessKeyLastUsed.ServiceName != "cloudtrail" || *used.AccessKeyLastUsed.Region != "eu-west-1" || time.Since(*used.AccessKeyLastUsed.LastUsedDate) > 2*time.Minute {
		t.Errorf("%+v %v", used, err)
	}
	if got := last(client.NewFromConfig(r.Config(keyOf(t, r, "bob"))).GetAccessKeyLastUsed(ctx, &client.GetAccessKeyLastUsedInput{AccessKeyId: k.AccessKeyId})); !strings.HasPrefix(got, "AccessDenied") {
		t.Error(got)
	}

	if _, err := second.DeleteAccessKey(ctx, &client.DeleteAccessKeyInput{AccessKeyId: k.AccessKeyId}); err != nil {
		t.Fatal(err)
	}
	if got := list(second, nil); !strings.HasPrefix(got, "InvalidClientTokenId") {
		t.Error(got)
	}

	// Keys of root are root's.
	root := client.NewFromConfig(r.Config(r.User(t, iam.RootName)))
	of, err := root.CreateAccessKey(ctx, &client.CreateAccessKeyInput{})
	if err != nil || *of.AccessKey.UserName != "root" {
		t.Errorf("%+v %v", of, err)
	}
	if got := last(boss.CreateAccessKey(ctx, &client.CreateAccessKeyInput{UserName: str("root")})); !strings.HasPrefix(got, "AccessDenied") {
		t.Error(got)
	}
	for _, text := range r.Book.Records() {
		if strings.Contains(text, *k.SecretAccessKey) || strings.Contains(text, *of.AccessKey.SecretAccessKey) {
			t.Errorf("a secret was recorded: %s", text)
		}
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	r := awsapitest.New(t, services)
	ctx := t.Context()
	c := client.NewFromConfig(r.Config(r.User(t, "boss", iam.RoleAdmin)))
	made, err := c.CreateRole(ctx, &client.CreateRoleInput{RoleName: str("Deploy"), Path: str("/ci/"), AssumeRolePolicyDocument: str(trust), Description: str("for CI"), MaxSessionDuration: aws.Int32(7200)})
	if err != nil {
		t.Fatal(err)
	}
	a, err := r.Access.Assumable("", "Deploy")
	if err != nil || a.By != "boss" || len(a.Roles) != 0 {
		t.Fatalf("%+v %v", a, err)
	}
	check := func(role *types.Role) {
		t.Helper()
		doc, err := url.PathUnescape(*role.AssumeRolePolicyDocument)
		if err != nil || doc != trust || strings.ContainsAny(*role.AssumeRolePolicyDocument, ` {"+`) {
			t.Errorf("%s %v", *role.AssumeRolePolicyDocument, err)
		}
		if *role.Arn != "arn:aws:iam::111122223333:role/ci/Deploy" || *role.RoleId != a.ID || *role.RoleName != "Deploy" || *role.Path != "/ci/" || *role.Description != "for CI" ||
			*role.MaxSessionDuration != 7200 || !role.CreateDate.Equal(a.Created) {
			t.Errorf("%+v", role)
		}
	}
	check(made.Role)
	record := r.Book.Last(t)
	awsapitest.Equal(t, record["requestParameters"], `{"assumeRolePolicyDocument":`+quoted(trust)+`,"description":"for CI","maxSessionDuration":7200,"path":"/ci/","roleName":"Deploy"}`)
	awsapitest.Equal(t, record["responseElements"], `{"role":{"arn":"arn:aws:iam::111122223333:role/ci/Deploy","assumeRolePolicyDocument":`+quoted(*made.Role.AssumeRolePolicyDocument)+`,
		"createDate":"`+a.Created.Format("Jan 2, 2006, 3:04:05 PM")+`","description":"for CI","maxSessionDuration":7200,"path":"/ci/","roleId":"`+a.ID+`","roleName":"Deploy"}}`)

	got, err := c.GetRole(ctx, &client.GetRoleInput{RoleName: str("Deploy")})
	if err != nil {
		t.Fatal(err)
	}
	check(got.Role)
	if got.Role.RoleLastUsed == nil || got.Role.RoleLastUsed.LastUsedDate != nil {
		t.Errorf("%+v", got.Role.RoleLastUsed)
	}
	for prefix, n := range map[string]int{"/": 1, "/ci/": 1, "/cd/": 0} {
		list, err := c.ListRoles(ctx, &client.ListRolesInput{PathPrefix: &prefix})
		if err != nil || len(list.Roles) != n || list.IsTruncated {
			t.Fatalf("%s: %+v %v", prefix, list, err)
		}
		if n > 0 {
			check(&list.Roles[0])
		}
	}
	if _, err := c.UpdateRole(ctx, &client.UpdateRoleInput{RoleName: str("Deploy"), Description: str("for CD")}); err != nil {
		t.Fatal(err)
	}
	if a, _ := r.Access.Assumable("", "Deploy"); a.Description != "for CD" || a.MaxSession != 2*time.Hour {
		t.Errorf("%+v", a)
	}
	if _, err := c.UpdateRole(ctx, &client.UpdateRoleInput{RoleName: str("Deploy"), MaxSessionDuration: aws.Int32(3600)}); err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(trust, "111122223333:root", "111122223333:user/boss", 1)
	if _, err := c.UpdateAssumeRolePolicy(ctx, &client.UpdateAssumeRolePolicyInput{RoleName: str("Deploy"), PolicyDocument: &other}); err != nil {
		t.Fatal(err)
	}
	if a, _ := r.Access.Assumable("", "Deploy"); a.Description != "for CD" || a.MaxSession != time.Hour || string(a.Trust) != other {
		t.Errorf("%+v", a)
	}
	for _, p := range []string{analyst, auditor} {
		if _, err := c.AttachRolePolicy(ctx, &client.AttachRolePolicyInput{RoleName: str("Deploy"), PolicyArn: &p}); err != nil {
			t.Fatal(err)
		}
	}
	attached, err := c.ListAttachedRolePolicies(ctx, &client.ListAttachedRolePoliciesInput{RoleName: str("Deploy")})
	if err != nil || len(attached.AttachedPolicies) != 2 || *attached.AttachedPolicies[1].PolicyArn != auditor {
		t.Errorf("%+v %v", attached, err)
	}
	if got := last(c.DeleteRole(ctx, &client.DeleteRoleInput{RoleName: str("Deploy")})); got != "DeleteConflict: Cannot delete entity, must detach all policies first." {
		t.Error(got)
	}
	for _, p := range []string{analyst, auditor} {
		if _, err := c.DetachRolePolicy(ctx, &client.DetachRolePolicyInput{RoleName: str("Deploy"), PolicyArn: &p}); err != nil {
			t.Fatal(err)
		}
	}
	const none = `trust document: not valid: there is no arn:aws:iam::111122223333:user/none`
	for _, x := range []struct{ want, got string }{
		{"EntityAlreadyExists: Role with name Deploy already exists.", last(c.CreateRole(ctx, &client.CreateRoleInput{RoleName: str("Deploy"), AssumeRolePolicyDocument: str(trust)}))},
		{"MalformedPolicyDocument: " + none, last(c.CreateRole(ctx, &client.CreateRoleInput{RoleName: str("R"), AssumeRolePolicyDocument: str(strings.Replace(trust, "333:root", "333:user/none", 1))}))},
		{"MalformedPolicyDocument: " + none, last(c.UpdateAssumeRolePolicy(ctx, &client.UpdateAssumeRolePolicyInput{RoleName: str("Deploy"), PolicyDocument: str(strings.Replace(trust, "333:root", "333:user/none", 1))}))},
		{"NoSuchEntity: Policy " + analyst + " was not found.", last(c.DetachRolePolicy(ctx, &client.DetachRolePolicyInput{RoleName: str("Deploy"), PolicyArn: str(analyst)}))},
		{"NoSuchEntity: Policy arn:aws:iam::aws:policy/AdministratorAccess does not exist or is not attachable.",
			last(c.AttachRolePolicy(ctx, &client.AttachRolePolicyInput{RoleName: str("Deploy"), PolicyArn: str("arn:aws:iam::aws:policy/AdministratorAccess")}))},
		{"InvalidInput: ARN arn:aws:s3:::a-bucket/of-some is not valid.", last(c.DetachRolePolicy(ctx, &client.DetachRolePolicyInput{RoleName: str("Deploy"), PolicyArn: str("arn:aws:s3:::a-bucket/of-some")}))},
		{"", last(c.DeleteRole(ctx, &client.DeleteRoleInput{RoleName: str("Deploy")}))},
		{"NoSuchEntity: The role with name Deploy cannot be found.", last(c.DeleteRole(ctx, &client.DeleteRoleInput{RoleName: str("Deploy")}))},
		{"NoSuchEntity: The role with name Deploy cannot be found.", last(c.GetRole(ctx, &client.GetRoleInput{RoleName: str("Deploy")}))},
		{"NoSuchEntity: The role with name Deploy cannot be found.", last(c.UpdateRole(ctx, &client.UpdateRoleInput{RoleName: str("Deploy")}))},
		{"NoSuchEntity: The role with name Deploy cannot be found.", last(c.UpdateAssumeRolePolicy(ctx, &client.UpdateAssumeRolePolicyInput{RoleName: str("Deploy"), PolicyDocument: str(trust)}))},
		{"NoSuchEntity: The role with name Deploy cannot be found.", last(c.AttachRolePolicy(ctx, &client.AttachRolePolicyInput{RoleName: str("Deploy"), PolicyArn: str(analyst)}))},
		{"NoSuchEntity: The role with name Deploy cannot be found.", last(c.ListAttachedRolePolicies(ctx, &client.ListAttachedRolePoliciesInput{RoleName: str("Deploy")}))},
	} {
		if x.got != x.want {
			t.Errorf("got  %s\nwant %s", x.got, x.want)
		}
	}
	if got := last(c.CreateRole(ctx, &client.CreateRoleInput{RoleName: str("R"), AssumeRolePolicyDocument: str(`{"Version":"2012-10-17"}`)})); !strings.HasPrefix(got, "MalformedPolicyDocument: trust document: ") {
		t.Error(got)
	}
}

func quoted(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string has a form
	}
	return string(text)
}

// TestMember holds what a session of a role in another account sees, and may make.
func TestMember(t *testing.T) {
	t.Parallel()
	r := awsapitest.New(t, services)
	ctx := t.Context()
	everybody, err := iam.TrustOf("*")
	if err != nil {
		t.Fatal(err)
	}
	shop, err := r.Access.CreateAssumable(iam.AssumableSpec{Name: "Shop", Account: awsapitest.Member, Roles: []iam.Role{iam.RoleAdmin}, Trust: everybody})
	if err != nil {
		t.Fatal(err)
	}
	ann := r.User(t, "ann")
	out, err := stsclient.NewFromConfig(r.Config(ann)).AssumeRole(ctx, &stsclient.AssumeRoleInput{RoleArn: str(shop.ARN()), RoleSessionName: str("work")})
	if err != nil {
		t.Fatal(err)
	}
	c := client.NewFromConfig(r.Config(awsapitest.Key{ID: *out.Credentials.AccessKeyId, Secret: *out.Credentials.SecretAccessKey, Token: *out.Credentials.SessionToken}))
	if made, err := c.CreateRole(ctx, &client.CreateRoleInput{RoleName: str("Deploy"), AssumeRolePolicyDocument: str(trust)}); err != nil || *made.Role.Arn != "arn:aws:iam::444455556666:role/Deploy" {
		t.Errorf("%+v %v", made, err)
	}
	if a, err := r.Access.Assumable(awsapitest.Member, "Deploy"); err != nil || a.By != "Shop/work" {
		t.Errorf("%+v %v", a, err)
	}
	roles, err := c.ListRoles(ctx, &client.ListRolesInput{})
	if err != nil || len(roles.Roles) != 2 {
		t.Errorf("%+v %v", roles, err)
	}
	users, err := c.ListUsers(ctx, &client.ListUsersInput{})
	if err != nil || len(users.Users) != 0 {
		t.Errorf("%+v %v", users, err)
	}
	sum, err := c.GetAccountSummary(ctx, &client.GetAccountSummaryInput{})
	if err != nil || sum.SummaryMap["Users"] != 0 || sum.SummaryMap["Roles"] != 2 {
		t.Errorf("%+v %v", sum, err)
	}
	policy, err := c.GetPolicy(ctx, &client.GetPolicyInput{PolicyArn: str("arn:aws:iam::aws:policy/SpoorAdmin")})
	if err != nil || *policy.Policy.AttachmentCount != 1 {
		t.Errorf("%+v %v", policy, err)
	}
	for _, x := range []struct{ want, got string }{
		{"NoSuchEntity: The user with name ann cannot be found.", last(c.GetUser(ctx, &client.GetUserInput{UserName: str("ann")}))},
		{"NoSuchEntity: The user with name ann cannot be found.", last(c.DeleteUser(ctx, &client.DeleteUserInput{UserName: str("ann")}))},
		{"NoSuchEntity: The user with name ann cannot be found.", last(c.CreateAccessKey(ctx, &client.CreateAccessKeyInput{UserName: str("ann")}))},
		{"NoSuchEntity: The Access Key with id " + ann.ID + " cannot be found.", last(c.GetAccessKeyLastUsed(ctx, &client.GetAccessKeyLastUsedInput{AccessKeyId: &ann.ID}))},
		{"InvalidInput: Users belong to the account 111122223333 here, and you are in 444455556666", last(c.CreateUser(ctx, &client.CreateUserInput{UserName: str("new")}))},
		{"ValidationError: Must specify userName when calling with non-User credentials", last(c.GetUser(ctx, &client.GetUserInput{}))},
		{"ValidationError: Must specify userName when calling with non-User credentials", last(c.ListAccessKeys(ctx, &client.ListAccessKeysInput{}))},
		{"ValidationError: Must specify userName when calling with non-User credentials", last(c.CreateAccessKey(ctx, &client.CreateAccessKeyInput{}))},
	} {
		if x.got != x.want {
			t.Errorf("got  %s\nwant %s", x.got, x.want)
		}
	}
	if _, err := r.Access.User("ann"); err != nil {
		t.Error(err)
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	r := awsapitest.New(t, services)
	ctx := t.Context()
	c := client.NewFromConfig(r.Config(r.User(t, "boss", iam.RoleAdmin)))
	r.User(t, "ann", iam.RoleAnalyst)
	names := func(in *client.ListPoliciesInput) string {
		t.Helper()
		out, err := c.ListPolicies(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, p := range out.Policies {
			all = append(all, fmt.Sprint(*p.PolicyName, " ", *p.AttachmentCount))
			if *p.Arn != "arn:aws:iam::aws:policy/"+*p.PolicyName || !strings.HasPrefix(*p.PolicyId, "ANPA") || len(*p.PolicyId) != 21 || *p.DefaultVersionId != "v1" || !p.IsAttachable || *p.Path != "/" || p.Description != nil {
				t.Errorf("%+v", p)
			}
		}
		return strings.Join(all, ", ")
	}
	const all = "SpoorAdmin 1, SpoorAnalyst 1, SpoorAuditor 0, SpoorRecorder 0, SpoorStorage 0"
	for _, x := range []struct {
		in   client.ListPoliciesInput
		want string
	}{
		{client.ListPoliciesInput{}, all}, {client.ListPoliciesInput{Scope: types.PolicyScopeTypeAws}, all}, {client.ListPoliciesInput{Scope: types.PolicyScopeTypeLocal}, ""},
		{client.ListPoliciesInput{OnlyAttached: true}, "SpoorAdmin 1, SpoorAnalyst 1"}, {client.ListPoliciesInput{PathPrefix: str("/aws-service-role/")}, ""},
		{client.ListPoliciesInput{PolicyUsageFilter: types.PolicyUsageTypePermissionsBoundary}, ""}, {client.ListPoliciesInput{PolicyUsageFilter: types.PolicyUsageTypePermissionsPolicy}, all},
	} {
		if got := names(&x.in); got != x.want {
			t.Errorf("%+v: %s", x.in, got)
		}
	}
	one, err := c.GetPolicy(ctx, &client.GetPolicyInput{PolicyArn: str(analyst)})
	if err != nil || *one.Policy.Description != "Reads and queries events, reads objects, and sees how the service is doing." {
		t.Errorf("%+v %v", one, err)
	}

	// The document says what the policies decide.
	for _, i := range iam.Roles() {
		out, err := c.GetPolicyVersion(ctx, &client.GetPolicyVersionInput{PolicyArn: str(i.Role.PolicyARN()), VersionId: str("v1")})
		if err != nil || !out.PolicyVersion.IsDefaultVersion || *out.PolicyVersion.VersionId != "v1" {
			t.Fatalf("%+v %v", out, err)
		}
		text, err := url.PathUnescape(*out.PolicyVersion.Document)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct {
			Version   string
			Statement []struct {
				Effect, Resource string
				Action           []string
			}
		}
		if err := json.Unmarshal([]byte(text), &doc); err != nil || doc.Version != "2012-10-17" || len(doc.Statement) != 1 || doc.Statement[0].Effect != "Allow" || doc.Statement[0].Resource != "*" {
			t.Fatalf("%s %v", text, err)
		}
		user := "of-" + string(i.Role)
		if _, err := r.Access.CreateUser(user, []iam.Role{i.Role}, ""); err != nil {
			t.Fatal(err)
		}
		for _, a := range iam.Actions() {
			d, err := r.Access.Would(user, iam.Caller{}, a.Action, iam.Resource{Type: a.On, ID: "another"})
			if err != nil {
				t.Fatal(err)
			}
			name := string(a.Action)
			if !a.Action.AWS() {
				name = "spoor:" + name
			}
			if slices.Contains(doc.Statement[0].Action, name) != d.Allowed {
				t.Errorf("%s of %s: %v", name, i.Role, d.Allowed)
			}
		}
	}
	for want, got := range map[string]string{
		"NoSuchEntity: Policy arn:aws:iam::111122223333:policy/x was not found.":                  last(c.GetPolicy(ctx, &client.GetPolicyInput{PolicyArn: str("arn:aws:iam::111122223333:policy/x")})),
		"InvalidInput: ARN SpoorAdminSpoorAdmin is not valid.":                                    last(c.GetPolicy(ctx, &client.GetPolicyInput{PolicyArn: str("SpoorAdminSpoorAdmin")})),
		"NoSuchEntity: Policy " + analyst + " version v2 does not exist or is not attachable.":    last(c.GetPolicyVersion(ctx, &client.GetPolicyVersionInput{PolicyArn: str(analyst), VersionId: str("v2")})),
		"NoSuchEntity: Policy arn:aws:iam::aws:policy/Spoor does not exist or is not attachable.": last(c.AttachUserPolicy(ctx, &client.AttachUserPolicyInput{UserName: str("ann"), PolicyArn: str("arn:aws:iam::aws:policy/Spoor")})),
		"NoSuchEntity: Policy " + auditor + " was not found.":                                     last(c.DetachUserPolicy(ctx, &client.DetachUserPolicyInput{UserName: str("ann"), PolicyArn: str(auditor)})),
	} {
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	sum, err := c.GetAccountSummary(ctx, &client.GetAccountSummaryInput{})
	if err != nil || sum.SummaryMap["Users"] != 7 || sum.SummaryMap["Roles"] != 0 || sum.SummaryMap["AccessKeysPerUserQuota"] != 2 || sum.SummaryMap["AccountAccessKeysPresent"] != 0 {
		t.Errorf("%+v %v", sum, err)
	}
	aliases, err := c.ListAccountAliases(ctx, &client.ListAccountAliasesInput{})
	if err != nil || len(aliases.AccountAliases) != 0 || aliases.IsTruncated {
		t.Errorf("%+v %v", aliases, err)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	r := awsapitest.New(t, services)
	ctx := t.Context()
	c := client.NewFromConfig(r.Config(r.User(t, "boss", iam.RoleAuditor)))
	for i := range 9 {
		if _, err := r.Access.CreateUser(fmt.Sprintf("user%d", i), nil, ""); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	pages := client.NewListUsersPaginator(c, &client.ListUsersInput{MaxItems: aws.Int32(4)})
	n := 0
	for ; pages.HasMorePages(); n++ {
		p, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range p.Users {
			got = append(got, *u.UserName)
		}
		if p.IsTruncated != (p.Marker != nil) {
			t.Errorf("%v %v", p.IsTruncated, p.Marker)
		}
	}
	if n != 3 || len(got) != 10 || !slices.IsSorted(got) || got[0] != "boss" {
		t.Errorf("%d pages: %q", n, got)
	}
	first, err := c.ListPolicies(ctx, &client.ListPoliciesInput{MaxItems: aws.Int32(3)})
	if err != nil || len(first.Policies) != 3 || !first.IsTruncated {
		t.Fatalf("%+v %v", first, err)
	}
	rest, err := c.ListPolicies(ctx, &client.ListPoliciesInput{MaxItems: aws.Int32(3), Marker: first.Marker})
	if err != nil || len(rest.Policies) != 2 || rest.IsTruncated {
		t.Errorf("%+v %v", rest, err)
	}
	for _, got := range []string{
		last(c.ListUsers(ctx, &client.ListUsersInput{Marker: first.Marker})), last(c.ListPolicies(ctx, &client.ListPoliciesInput{Marker: first.Marker, OnlyAttached: true})),
	} {
		if got != "ValidationError: Invalid Marker: "+*first.Marker {
			t.Error(got)
		}
	}
}

// TestUnsupported holds that what has no counterpart here is refused, and changes nothing.
func TestUnsupported(t *testing.T) {
	t.Parallel()
	r := awsapitest.New(t, services)
	ctx := t.Context()
	c := client.NewFromConfig(r.Config(r.User(t, "boss", iam.RoleAdmin)))
	root := client.NewFromConfig(r.Config(r.User(t, iam.RootName)))
	before := state(t, r)
	tags := []types.Tag{{Key: str("k"), Value: str("v")}}
	for _, x := range []struct{ want, got string }{
		{"InvalidInput: Users and roles have no tags here: leave out Tags", last(c.CreateUser(ctx, &client.CreateUserInput{UserName: str("ann"), Tags: tags}))},
		{"InvalidInput: Users and roles have no tags here: leave out Tags", last(c.CreateRole(ctx, &client.CreateRoleInput{RoleName: str("R"), AssumeRolePolicyDocument: str(trust), Tags: tags}))},
		{"InvalidInput: Permissions boundaries are not supported here: leave out PermissionsBoundary", last(c.CreateUser(ctx, &client.CreateUserInput{UserName: str("ann"), PermissionsBoundary: str(analyst)}))},
		{"InvalidInput: Permissions boundaries are not supported here: leave out PermissionsBoundary", last(c.CreateRole(ctx, &client.CreateRoleInput{RoleName: str("R"), AssumeRolePolicyDocument: str(trust), PermissionsBoundary: str(analyst)}))},
		{"InvalidInput: All users have the path / here: leave out Path", last(c.CreateUser(ctx, &client.CreateUserInput{UserName: str("ann"), Path: str("/team/")}))},
		{"ValidationError: user name \"root\": not valid: it belongs to the root principal", last(root.CreateUser(ctx, &client.CreateUserInput{UserName: str("root")}))},
		{"InvalidAction: Could not find operation CreateGroup for version 2010-05-08", last(c.CreateGroup(ctx, &client.CreateGroupInput{GroupName: str("g")}))},
	} {
		if x.got != x.want {
			t.Errorf("got  %s\nwant %s", x.got, x.want)
		}
	}
	if after := state(t, r); after != before {
		t.Errorf("before %s\nafter  %s", before, after)
	}
}

// state is all that there is.
func state(t *testing.T, r *awsapitest.Rig) string {
	t.Helper()
	keys := r.Access.AccessKeys("")
	for i := range keys {
		keys[i].LastUsed, keys[i].LastRegion, keys[i].LastService = time.Time{}, "", ""
	}
	slices.SortFunc(keys, func(a, b iam.AccessKey) int { return strings.Compare(a.ID, b.ID) })
	text, err := json.MarshalIndent([]any{r.Access.Users(), keys, r.Access.Assumables(), r.Access.Tokens("")}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// changes are all operations that change something, each on what prepared makes.
func changes(old awsapitest.Key) map[string]func(context.Context, *client.Client) error {
	return map[string]func(context.Context, *client.Client) error{
		"CreateUser": func(ctx context.Context, c *client.Client) error {
			return second(c.CreateUser(ctx, &client.CreateUserInput{UserName: str("new")}))
		},
		"DeleteUser": func(ctx context.Context, c *client.Client) error {
			return second(c.DeleteUser(ctx, &client.DeleteUserInput{UserName: str("plain")}))
		},
		"CreateAccessKey": func(ctx context.Context, c *client.Client) error {
			return second(c.CreateAccessKey(ctx, &client.CreateAccessKeyInput{UserName: str("old")}))
		},
		"UpdateAccessKey": func(ctx context.Context, c *client.Client) error {
			return second(c.UpdateAccessKey(ctx, &client.UpdateAccessKeyInput{UserName: str("old"), AccessKeyId: &old.ID, Status: types.StatusTypeInactive}))
		},
		"DeleteAccessKey": func(ctx context.Context, c *client.Client) error {
			return second(c.DeleteAccessKey(ctx, &client.DeleteAccessKeyInput{UserName: str("old"), AccessKeyId: &old.ID}))
		},
		"AttachUserPolicy": func(ctx context.Context, c *client.Client) error {
			return second(c.AttachUserPolicy(ctx, &client.AttachUserPolicyInput{UserName: str("old"), PolicyArn: str(auditor)}))
		},
		"DetachUserPolicy": func(ctx context.Context, c *client.Client) error {
			return second(c.DetachUserPolicy(ctx, &client.DetachUserPolicyInput{UserName: str("old"), PolicyArn: str(analyst)}))
		},
		"CreateRole": func(ctx context.Context, c *client.Client) error {
			return second(c.CreateRole(ctx, &client.CreateRoleInput{RoleName: str("New"), AssumeRolePolicyDocument: str(trust)}))
		},
		"UpdateRole": func(ctx context.Context, c *client.Client) error {
			return second(c.UpdateRole(ctx, &client.UpdateRoleInput{RoleName: str("Old"), Description: str("other"), MaxSessionDuration: aws.Int32(7200)}))
		},
		"UpdateAssumeRolePolicy": func(ctx context.Context, c *client.Client) error {
			return second(c.UpdateAssumeRolePolicy(ctx, &client.UpdateAssumeRolePolicyInput{RoleName: str("Old"), PolicyDocument: str(strings.Replace(trust, "333:root", "333:user/old", 1))}))
		},
		"AttachRolePolicy": func(ctx context.Context, c *client.Client) error {
			return second(c.AttachRolePolicy(ctx, &client.AttachRolePolicyInput{RoleName: str("Old"), PolicyArn: str(auditor)}))
		},
		"DetachRolePolicy": func(ctx context.Context, c *client.Client) error {
			return second(c.DetachRolePolicy(ctx, &client.DetachRolePolicyInput{RoleName: str("Old"), PolicyArn: str(analyst)}))
		},
		"DeleteRole": func(ctx context.Context, c *client.Client) error {
			return second(c.DeleteRole(ctx, &client.DeleteRoleInput{RoleName: str("Plain")}))
		},
	}
}

func second(_ any, err error) error { return err }

// prepared makes what changes change: users old, with a key and a policy, and plain; roles Old, with a policy, and Plain.
func prepared(t *testing.T, r *awsapitest.Rig) awsapitest.Key {
	t.Helper()
	key := r.User(t, "old", iam.RoleAnalyst)
	if _, err := r.Access.CreateUser("plain", nil, ""); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Access.CreateToken(iam.TokenSpec{User: "plain"}); err != nil {
		t.Fatal(err)
	}
	for name, roles := range map[string][]iam.Role{"Old": {iam.RoleAnalyst}, "Plain": {}} {
		if _, err := r.Access.CreateAssumable(iam.AssumableSpec{Name: name, Roles: roles, Trust: json.RawMessage(trust), Description: "as it was"}); err != nil {
			t.Fatal(err)
		}
	}
	return key
}

// TestUnrecorded: what could not be recorded did not happen.
func TestUnrecorded(t *testing.T) {
	t.Parallel()
	for name := range changes(awsapitest.Key{}) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := awsapitest.New(t, services)
			boss := r.User(t, "boss", iam.RoleAdmin)
			key := prepared(t, r)
			c := client.NewFromConfig(r.Config(boss))
			do := changes(key)[name]
			before := state(t, r)
			r.Book.Fail(errors.New("the disk is full"))
			if got := told(do(t.Context(), c)); got != "InternalFailure: The call could not be recorded, and was not carried out." {
				t.Error(got)
			}
			if after := state(t, r); after != before {
				t.Errorf("before %s\nafter  %s", before, after)
			}
			if strings.Contains(r.Log(), "could not be taken back") {
				t.Error(r.Log())
			}
			// The key of the user whose access was nearly changed works as before.
			r.Book.Fail(nil)
			if got := last(client.NewFromConfig(r.Config(key)).ListAccessKeys(t.Context(), &client.ListAccessKeysInput{})); got != "" {
				t.Error(got)
			}
			if err := do(t.Context(), c); err != nil {
				t.Error(err)
			}
			if after := state(t, r); after == before {
				t.Error("the recorded call changed nothing")
			}
		})
	}
}

// TestDenied: whoever may not changes nothing, and is recorded.
func TestDenied(t *testing.T) {
	t.Parallel()
	r := awsapitest.New(t, services)
	key := prepared(t, r)
	for _, role := range []iam.Role{iam.RoleAnalyst, iam.RoleAuditor, iam.RoleRecorder, iam.RoleStorage} {
		c := client.NewFromConfig(r.Config(r.User(t, "the-"+string(role), role)))
		before := state(t, r)
		for name, do := range changes(key) {
			got := told(do(t.Context(), c))
			if !strings.HasPrefix(got, "AccessDenied: User: arn:aws:iam::111122223333:user/the-"+string(role)+" is not authorized to perform: iam:"+name+" on resource: arn:aws:iam::111122223333:") {
				t.Errorf("%s of %s: %s", name, role, got)
			}
			if rec := r.Book.Last(t); rec["eventName"] != name || rec["errorCode"] != "AccessDenied" {
				t.Errorf("%s of %s: recorded %v", name, role, rec)
			}
		}
		if after := state(t, r); after != before {
			t.Errorf("before %s\nafter  %s", before, after)
		}
	}
	// Nor may who has temporary credentials of a user, whatever the user may.
	out, err := stsclient.NewFromConfig(r.Config(r.User(t, "boss", iam.RoleAdmin))).GetSessionToken(t.Context(), &stsclient.GetSessionTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	c := client.NewFromConfig(r.Config(awsapitest.Key{ID: *out.Credentials.AccessKeyId, Secret: *out.Credentials.SecretAccessKey, Token: *out.Credentials.SessionToken}))
	if got := last(c.ListUsers(t.Context(), &client.ListUsersInput{})); !strings.HasPrefix(got, "AccessDenied") {
		t.Error(got)
	}
}

// TestTogether: changes of one user that come at once do not undo one another.
func TestTogether(t *testing.T) {
	t.Parallel()
	r := awsapitest.New(t, services)
	c := client.NewFromConfig(r.Config(r.User(t, "boss", iam.RoleAdmin)))
	prepared(t, r)
	failed := make(chan error)
	all := []string{"arn:aws:iam::aws:policy/SpoorAdmin", auditor, "arn:aws:iam::aws:policy/SpoorRecorder"}
	for _, p := range all {
		go func() {
			failed <- errors.Join(second(c.AttachUserPolicy(t.Context(), &client.AttachUserPolicyInput{UserName: str("plain"), PolicyArn: &p})),
				second(c.AttachRolePolicy(t.Context(), &client.AttachRolePolicyInput{RoleName: str("Plain"), PolicyArn: &p})))
		}()
	}
	for range all {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	p, err := r.Access.User("plain")
	if err != nil || len(p.Roles) != 3 {
		t.Errorf("%q %v", p.Roles, err)
	}
	a, err := r.Access.Assumable("", "Plain")
	if err != nil || len(a.Roles) != 3 {
		t.Errorf("%q %v", a.Roles, err)
	}
}

// TestNoAccess: without principals the operations fail, and tell nothing.
func TestNoAccess(t *testing.T) {
	t.Parallel()
	r := awsapitest.New(t, func(*iam.Service, *slog.Logger) []*awsapi.Service {
		return []*awsapi.Service{iamapi.New(iamapi.Options{})}
	})
	c := client.NewFromConfig(r.Config(r.User(t, "boss", iam.RoleAdmin)))
	key := prepared(t, r)
	for name, do := range changes(key) {
		if code, _ := awsapitest.Code(do(t.Context(), c)); code != "InternalFailure" {
			t.Errorf("%s: %s", name, code)
		}
	}
}

func TestCLI(t *testing.T) {
	t.Parallel()
	r := awsapitest.New(t, services)
	run := r.CLI(t, r.User(t, "boss", iam.RoleAdmin))
	for _, x := range []struct {
		args []string
		want string
	}{
		{[]string{"create-user", "--user-name", "ann"}, `"Arn": "arn:aws:iam::111122223333:user/ann"`},
		{[]string{"create-access-key", "--user-name", "ann"}, `"AccessKeyId": "AKIA`},
		{[]string{"create-role", "--role-name", "Deploy", "--assume-role-policy-document", trust}, `"AWS": "arn:aws:iam::111122223333:root"`}, // the CLI takes the escapes away
		{[]string{"list-users", "--page-size", "1", "--query", "Users[].UserName"}, `"boss"`},
		{[]string{"get-policy-version", "--policy-arn", analyst, "--version-id", "v1"}, `"cloudtrail:LookupEvents"`},
		{[]string{"delete-user", "--user-name", "ann"}, "An error occurred (DeleteConflict) when calling the DeleteUser operation: Cannot delete entity, must delete access keys first."},
	} {
		out, err := run(append([]string{"iam"}, x.args...)...)
		if !strings.Contains(out, x.want) || (err != nil) != strings.Contains(x.want, "error") {
			t.Errorf("%q: %v %s", x.args, err, out)
		}
	}
}
