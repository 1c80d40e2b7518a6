package organizations_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	client "github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/types"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/awsapitest"
	"spoor/internal/awsapi/organizations"
	"spoor/internal/iam"
)

const (
	id, root = "o-exampleorgid", "r-examplerootid111"
	prod     = "ou-examplerootid111-prod0000"
	web      = "ou-examplerootid111-web00000"
)

var joined = time.Date(2026, 1, 10, 9, 0, 0, 0, time.UTC)

func example() organizations.Options {
	o := organizations.Options{
		ID: id, RootID: root, Management: awsapitest.Account,
		Units: []organizations.Unit{{ID: web, Name: "Web", Parent: prod}, {ID: prod, Name: "Production", Parent: root}},
		Accounts: []organizations.Account{
			{ID: awsapitest.Account, Name: "management", Email: "root@example.com", Parent: root, Joined: joined},
			{ID: awsapitest.Member, Name: "shop", Parent: web},
		},
	}
	for i := range 22 {
		o.Accounts = append(o.Accounts, organizations.Account{ID: fmt.Sprintf("0000000000%02d", i), Name: fmt.Sprintf("a%d", i), Parent: prod})
	}
	return o
}

func rig(t *testing.T, o organizations.Options) (*awsapitest.Rig, *client.Client) {
	t.Helper()
	r := awsapitest.New(t, func(*iam.Service, *slog.Logger) []*awsapi.Service { return []*awsapi.Service{organizations.New(o)} })
	return r, client.NewFromConfig(r.Config(r.User(t, "ann", iam.RoleAuditor)))
}

// answer is an answer without what belongs to the HTTP exchange.
func answer(t *testing.T, out any) map[string]any {
	t.Helper()
	text, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	delete(m, "ResultMetadata")
	return m
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	_, c := rig(t, example())
	ctx := t.Context()
	ask := func(what string, out any, err error, want string) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		awsapitest.Equal(t, answer(t, out), want)
	}
	org, err := c.DescribeOrganization(ctx, &client.DescribeOrganizationInput{})
	ask("organisation", org, err, `{"Organization":{"Id":"o-exampleorgid","Arn":"arn:aws:organizations::111122223333:organization/o-exampleorgid","FeatureSet":"ALL",
		"MasterAccountId":"111122223333","MasterAccountArn":"arn:aws:organizations::111122223333:account/o-exampleorgid/111122223333","MasterAccountEmail":"root@example.com","AvailablePolicyTypes":[]}}`)
	account, err := c.DescribeAccount(ctx, &client.DescribeAccountInput{AccountId: aws.String(awsapitest.Member)})
	ask("account", account, err, `{"Account":{"Id":"444455556666","Arn":"arn:aws:organizations::111122223333:account/o-exampleorgid/444455556666","Name":"shop","Email":null,"Status":"ACTIVE","State":"ACTIVE",
		"JoinedMethod":"INVITED","JoinedTimestamp":null,"Paths":["o-exampleorgid/r-examplerootid111/ou-examplerootid111-prod0000/ou-examplerootid111-web00000/444455556666/"]}}`)
	own, err := c.DescribeAccount(ctx, &client.DescribeAccountInput{AccountId: aws.String(awsapitest.Account)})
	if err != nil || !own.Account.JoinedTimestamp.Equal(joined) || *own.Account.Email != "root@example.com" || own.Account.Paths[0] != id+"/"+root+"/"+awsapitest.Account+"/" {
		t.Errorf("%+v %v", own, err)
	}
	unit, err := c.DescribeOrganizationalUnit(ctx, &client.DescribeOrganizationalUnitInput{OrganizationalUnitId: aws.String(web)})
	ask("unit", unit, err, `{"OrganizationalUnit":{"Id":"ou-examplerootid111-web00000","Arn":"arn:aws:organizations::111122223333:ou/o-exampleorgid/ou-examplerootid111-web00000","Name":"Web",
		"Path":"o-exampleorgid/r-examplerootid111/ou-examplerootid111-prod0000/ou-examplerootid111-web00000/"}}`)
	roots, err := c.ListRoots(ctx, &client.ListRootsInput{})
	ask("roots", roots, err, `{"Roots":[{"Id":"r-examplerootid111","Arn":"arn:aws:organizations::111122223333:root/o-exampleorgid/r-examplerootid111","Name":"Root","PolicyTypes":[]}],"NextToken":null}`)
	for child, want := range map[string]string{
		awsapitest.Account: `{"Id":"r-examplerootid111","Type":"ROOT"}`, awsapitest.Member: `{"Id":"ou-examplerootid111-web00000","Type":"ORGANIZATIONAL_UNIT"}`,
		web: `{"Id":"ou-examplerootid111-prod0000","Type":"ORGANIZATIONAL_UNIT"}`, prod: `{"Id":"r-examplerootid111","Type":"ROOT"}`,
	} {
		parents, err := c.ListParents(ctx, &client.ListParentsInput{ChildId: &child})
		ask("parents of "+child, parents, err, `{"Parents":[`+want+`],"NextToken":null}`)
	}
	children, err := c.ListChildren(ctx, &client.ListChildrenInput{ParentId: aws.String(prod), ChildType: types.ChildTypeOrganizationalUnit})
	ask("children", children, err, `{"Children":[{"Id":"ou-examplerootid111-web00000","Type":"ORGANIZATIONAL_UNIT"}],"NextToken":null}`)
	children, err = c.ListChildren(ctx, &client.ListChildrenInput{ParentId: aws.String(root), ChildType: types.ChildTypeAccount})
	ask("children", children, err, `{"Children":[{"Id":"111122223333","Type":"ACCOUNT"}],"NextToken":null}`)
	units, err := c.ListOrganizationalUnitsForParent(ctx, &client.ListOrganizationalUnitsForParentInput{ParentId: aws.String(root)})
	if err != nil || len(units.OrganizationalUnits) != 1 || *units.OrganizationalUnits[0].Name != "Production" {
		t.Errorf("%+v %v", units, err)
	}
	delegates, err := c.ListDelegatedAdministrators(ctx, &client.ListDelegatedAdministratorsInput{ServicePrincipal: aws.String("cloudtrail.amazonaws.com")})
	ask("delegates", delegates, err, `{"DelegatedAdministrators":[],"NextToken":null}`)
	trusted, err := c.ListAWSServiceAccessForOrganization(ctx, &client.ListAWSServiceAccessForOrganizationInput{})
	ask("trusted", trusted, err, `{"EnabledServicePrincipals":[{"ServicePrincipal":"cloudtrail.amazonaws.com","DateEnabled":"2026-01-10T09:00:00Z"}],"NextToken":null}`)
	for _, id := range []string{root, web, awsapitest.Member} {
		tags, err := c.ListTagsForResource(ctx, &client.ListTagsForResourceInput{ResourceId: &id})
		ask("tags of "+id, tags, err, `{"Tags":[],"NextToken":null}`)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	r, c := rig(t, example())
	var got []string
	var sizes []int
	pages := client.NewListAccountsPaginator(c, &client.ListAccountsInput{})
	for pages.HasMorePages() {
		p, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(p.Accounts))
		for _, a := range p.Accounts {
			got = append(got, *a.Id)
		}
	}
	if len(slices.Compact(slices.Sorted(slices.Values(got)))) != 24 || !slices.Equal(sizes, []int{20, 4}) {
		t.Errorf("pages of %v: %q", sizes, got)
	}
	var of []string
	under := client.NewListAccountsForParentPaginator(c, &client.ListAccountsForParentInput{ParentId: aws.String(prod), MaxResults: aws.Int32(9)})
	for under.HasMorePages() {
		p, err := under.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range p.Accounts {
			of = append(of, *a.Name)
		}
	}
	if len(of) != 22 || slices.Contains(of, "shop") || slices.Contains(of, "management") {
		t.Errorf("%q", of)
	}
	first, err := c.ListAccounts(t.Context(), &client.ListAccountsInput{MaxResults: aws.Int32(1)})
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"x", *first.NextToken} { // of another list
		_, err := c.ListChildren(t.Context(), &client.ListChildrenInput{ParentId: aws.String(root), ChildType: types.ChildTypeAccount, NextToken: &token})
		var e *types.InvalidInputException
		if !errors.As(err, &e) || e.Reason != types.InvalidInputExceptionReasonInvalidPaginationToken {
			t.Errorf("%q: %v", token, err)
		}
	}
	if last := r.Book.Last(t); last["errorCode"] != "InvalidInputException" || last["eventSource"] != "organizations.amazonaws.com" || last["readOnly"] != true {
		t.Errorf("recorded %v", last)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	r, c := rig(t, example())
	ctx := t.Context()
	nobody := aws.String("999999999999")
	noUnit := aws.String("ou-examplerootid111-none0000")
	tell := func(_ any, err error) string {
		code, message := awsapitest.Code(err)
		return code + ": " + message
	}
	for _, x := range []struct{ got, want string }{
		{tell(c.DescribeAccount(ctx, &client.DescribeAccountInput{AccountId: nobody})), "AccountNotFoundException: You specified an account that doesn't exist."},
		{tell(c.DescribeOrganizationalUnit(ctx, &client.DescribeOrganizationalUnitInput{OrganizationalUnitId: noUnit})), "OrganizationalUnitNotFoundException: You specified an organizational unit that doesn't exist."},
		{tell(c.ListParents(ctx, &client.ListParentsInput{ChildId: nobody})), "ChildNotFoundException: You specified a child that doesn't exist."},
		{tell(c.ListChildren(ctx, &client.ListChildrenInput{ParentId: noUnit, ChildType: types.ChildTypeAccount})), "ParentNotFoundException: You specified parent that doesn't exist."},
		{tell(c.ListAccountsForParent(ctx, &client.ListAccountsForParentInput{ParentId: noUnit})), "ParentNotFoundException: You specified parent that doesn't exist."},
		{tell(c.ListOrganizationalUnitsForParent(ctx, &client.ListOrganizationalUnitsForParentInput{ParentId: noUnit})), "ParentNotFoundException: You specified parent that doesn't exist."},
		{tell(c.ListTagsForResource(ctx, &client.ListTagsForResourceInput{ResourceId: nobody})), "TargetNotFoundException: You specified a target that doesn't exist."},
		{tell(c.ListDelegatedServicesForAccount(ctx, &client.ListDelegatedServicesForAccountInput{AccountId: nobody})), "AccountNotFoundException: You specified an account that doesn't exist."},
		{tell(c.ListDelegatedServicesForAccount(ctx, &client.ListDelegatedServicesForAccountInput{AccountId: aws.String(awsapitest.Member)})),
			"AccountNotRegisteredException: The provided account is not a registered delegated administrator for your organization."},
		{tell(c.DescribeAccount(ctx, &client.DescribeAccountInput{AccountId: aws.String("shop")})),
			`InvalidInputException: 1 validation error detected: Value 'shop' at 'accountId' failed to satisfy constraint: Member must satisfy regular expression pattern: ^\d{12}$`},
		{tell(c.ListAccounts(ctx, &client.ListAccountsInput{MaxResults: aws.Int32(21)})),
			"InvalidInputException: 1 validation error detected: Value '21' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 20"},
	} {
		if x.got != x.want {
			t.Errorf("got  %s\nwant %s", x.got, x.want)
		}
	}
	if code, _ := awsapitest.Code(second(client.NewFromConfig(r.Config(r.User(t, "bob", iam.RoleAnalyst))).ListRoots(ctx, &client.ListRootsInput{}))); code != "AccessDeniedException" {
		t.Errorf("an analyst got %q", code)
	}
}

// TestAccounts holds what accounts are told that do not manage the organisation, or are in none.
func TestAccounts(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		change         func(*organizations.Options)
		describe, list string
	}{
		"management": {func(*organizations.Options) {}, "", ""},
		"member":     {func(o *organizations.Options) { o.Management = awsapitest.Member }, "", "AccessDeniedException: You don't have permissions to access this resource."},
		"other": {func(o *organizations.Options) { o.Management, o.Accounts = awsapitest.Member, o.Accounts[1:2] },
			"AWSOrganizationsNotInUseException: Your account is not a member of an organization.", "AWSOrganizationsNotInUseException: Your account is not a member of an organization."},
		"none": {func(o *organizations.Options) { *o = organizations.Options{} },
			"AWSOrganizationsNotInUseException: Your account is not a member of an organization.", "AWSOrganizationsNotInUseException: Your account is not a member of an organization."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := example()
			x.change(&o)
			r, c := rig(t, o)
			out, err := c.DescribeOrganization(t.Context(), &client.DescribeOrganizationInput{})
			code, message := awsapitest.Code(err)
			if got := strings.TrimSuffix(code+": "+message, ": "); got != x.describe {
				t.Errorf("DescribeOrganization: %s", got)
			}
			if err == nil && *out.Organization.MasterAccountId != o.Management {
				t.Errorf("managed by %s", *out.Organization.MasterAccountId)
			}
			if x.list == "" {
				return
			}
			for what, err := range map[string]error{
				"ListAccounts":                        second(c.ListAccounts(t.Context(), &client.ListAccountsInput{})),
				"DescribeAccount":                     second(c.DescribeAccount(t.Context(), &client.DescribeAccountInput{AccountId: aws.String(awsapitest.Account)})),
				"ListRoots":                           second(c.ListRoots(t.Context(), &client.ListRootsInput{})),
				"ListParents":                         second(c.ListParents(t.Context(), &client.ListParentsInput{ChildId: aws.String(prod)})),
				"ListChildren":                        second(c.ListChildren(t.Context(), &client.ListChildrenInput{ParentId: aws.String(root), ChildType: types.ChildTypeAccount})),
				"ListOrganizationalUnitsForParent":    second(c.ListOrganizationalUnitsForParent(t.Context(), &client.ListOrganizationalUnitsForParentInput{ParentId: aws.String(root)})),
				"ListAccountsForParent":               second(c.ListAccountsForParent(t.Context(), &client.ListAccountsForParentInput{ParentId: aws.String(root)})),
				"DescribeOrganizationalUnit":          second(c.DescribeOrganizationalUnit(t.Context(), &client.DescribeOrganizationalUnitInput{OrganizationalUnitId: aws.String(prod)})),
				"ListDelegatedAdministrators":         second(c.ListDelegatedAdministrators(t.Context(), &client.ListDelegatedAdministratorsInput{})),
				"ListDelegatedServicesForAccount":     second(c.ListDelegatedServicesForAccount(t.Context(), &client.ListDelegatedServicesForAccountInput{AccountId: aws.String(awsapitest.Account)})),
				"ListAWSServiceAccessForOrganization": second(c.ListAWSServiceAccessForOrganization(t.Context(), &client.ListAWSServiceAccessForOrganizationInput{})),
				"ListTagsForResource":                 second(c.ListTagsForResource(t.Context(), &client.ListTagsForResourceInput{ResourceId: aws.String(root)})),
			} {
				code, message := awsapitest.Code(err)
				if got := code + ": " + message; got != x.list {
					t.Errorf("%s: %s", what, got)
				}
			}
			if last := r.Book.Last(t); strings.TrimSuffix(last["errorCode"].(string), "Exception") != strings.TrimSuffix(x.list[:strings.Index(x.list, ":")], "Exception") {
				t.Errorf("recorded %v", last["errorCode"])
			}
		})
	}
}

// TestLoops holds that units that contain one another, which no configuration has, do no harm.
func TestLoops(t *testing.T) {
	t.Parallel()
	o := example()
	o.Units[1].Parent = web
	_, c := rig(t, o)
	if _, err := c.DescribeAccount(t.Context(), &client.DescribeAccountInput{AccountId: aws.String(awsapitest.Member)}); err != nil {
		t.Error(err)
	}
}

func TestCLI(t *testing.T) {
	t.Parallel()
	r := awsapitest.New(t, func(*iam.Service, *slog.Logger) []*awsapi.Service {
		return []*awsapi.Service{organizations.New(example())}
	})
	run := r.CLI(t, r.User(t, iam.RootName))
	out, err := run("organizations", "list-accounts", "--page-size", "7", "--query", "length(Accounts)")
	if err != nil || strings.TrimSpace(out) != "24" {
		t.Errorf("%v: %s", err, out)
	}
	out, err = run("organizations", "list-parents", "--child-id", "999999999999")
	if want := "An error occurred (ChildNotFoundException) when calling the ListParents operation: You specified a child that doesn't exist."; err == nil || !strings.Contains(out, want) {
		t.Errorf("%v: %s", err, out)
	}
}

func second(_ any, err error) error { return err }

// TestDelegates: delegated administrators for CloudTrail are listed, and what they administer.
func TestDelegates(t *testing.T) {
	t.Parallel()
	o := example()
	o.Delegates = func() []organizations.Delegate {
		return []organizations.Delegate{{Account: awsapitest.Member, Since: joined}, {Account: "999999999999", Since: joined}}
	}
	_, c := rig(t, o)
	ctx := t.Context()
	for service, want := range map[string]int{"": 1, "cloudtrail.amazonaws.com": 1, "config.amazonaws.com": 0} {
		in := &client.ListDelegatedAdministratorsInput{}
		if service != "" {
			in.ServicePrincipal = &service
		}
		got, err := c.ListDelegatedAdministrators(ctx, in)
		if err != nil || len(got.DelegatedAdministrators) != want {
			t.Errorf("%s: %+v %v", service, got, err)
			continue
		}
		for _, d := range got.DelegatedAdministrators {
			if *d.Id != awsapitest.Member || *d.Name != "shop" || !d.DelegationEnabledDate.Equal(joined) || *d.Arn != "arn:aws:organizations::111122223333:account/o-exampleorgid/444455556666" {
				t.Errorf("%+v", d)
			}
		}
	}
	services, err := c.ListDelegatedServicesForAccount(ctx, &client.ListDelegatedServicesForAccountInput{AccountId: aws.String(awsapitest.Member)})
	if err != nil || len(services.DelegatedServices) != 1 || *services.DelegatedServices[0].ServicePrincipal != "cloudtrail.amazonaws.com" || !services.DelegatedServices[0].DelegationEnabledDate.Equal(joined) {
		t.Errorf("%+v %v", services, err)
	}
}
