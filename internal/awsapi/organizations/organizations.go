// Package organizations is the part of Organizations that clients read: the organisation of the configuration.
//
// It has all features and no policies, nobody to whom its administration is delegated, and trusts CloudTrail alone. As on AWS,
// every member may ask which organisation it is in, and the rest is told to the management account. Who belongs to no
// organisation is told so.
package organizations

import (
	"context"
	"slices"
	"strings"
	"time"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/model/organizations"
	"spoor/internal/awsapi/page"
	"spoor/internal/awsapi/wire"
)

// Options are the organisation. One without an ID is none: operations answer as for an account that is in no organisation.
type Options struct {
	ID         string // o- and 10 to 32 small letters and digits
	RootID     string // r- and 4 to 32
	Management string // account, 12 digits
	Units      []Unit
	Accounts   []Account // Management is among them
	// Delegates are the delegated administrators for CloudTrail, members all; nil for none.
	Delegates func() []Delegate
}

// Delegate is a delegated administrator.
type Delegate struct {
	Account string
	Since   time.Time
}

// Unit is an organisational unit.
type Unit struct {
	ID, Name string
	Parent   string // id of a unit or the root
}

// Account is a member of the organisation.
type Account struct {
	ID, Name, Email string
	Parent          string // id of a unit, or the root
	Joined          time.Time
}

// pageSize is how many items a page has at most, and when nobody asks for fewer.
const pageSize = 20

// rootName is what AWS calls every root.
const rootName = "Root"

// trusted is the one service that works for the organisation as a whole.
const trusted = "cloudtrail.amazonaws.com"

// New makes the service. o must not be changed afterwards.
func New(o Options) *awsapi.Service {
	s := awsapi.NewService(&organizations.Service, awsapi.ServiceOptions{Global: true, Invalid: invalid})
	x := &organisation{o}
	awsapi.Handle(s, "DescribeOrganization", x.describe)
	awsapi.Handle(s, "ListAccounts", x.listAccounts)
	awsapi.Handle(s, "DescribeAccount", x.describeAccount)
	awsapi.Handle(s, "ListRoots", x.listRoots)
	awsapi.Handle(s, "ListParents", x.listParents)
	awsapi.Handle(s, "ListChildren", x.listChildren)
	awsapi.Handle(s, "ListOrganizationalUnitsForParent", x.listUnits)
	awsapi.Handle(s, "ListAccountsForParent", x.listAccountsOf)
	awsapi.Handle(s, "DescribeOrganizationalUnit", x.describeUnit)
	awsapi.Handle(s, "ListDelegatedAdministrators", x.listDelegates)
	awsapi.Handle(s, "ListDelegatedServicesForAccount", x.listDelegatedServices)
	awsapi.Handle(s, "ListAWSServiceAccessForOrganization", x.listTrusted)
	awsapi.Handle(s, "ListTagsForResource", x.listTags)
	return s
}

// invalid says what is wrong with an input as Organizations does: with a reason.
func invalid(_ string, v []wire.Violation) *awsapi.Error {
	reason := map[wire.Rule]string{
		wire.Required: "INPUT_REQUIRED", wire.MaxLength: "MAX_LENGTH_EXCEEDED", wire.MinLength: "MIN_LENGTH_EXCEEDED",
		wire.MaxValue: "MAX_VALUE_EXCEEDED", wire.MinValue: "MIN_VALUE_EXCEEDED", wire.Pattern: "INVALID_PATTERN", wire.Enum: "INVALID_ENUM",
	}[v[0].Rule]
	return refusal(reason, wire.Message(v))
}

func refusal(reason, message string) *awsapi.Error {
	e := awsapi.Errorf("InvalidInputException", "%s", message)
	if reason != "" {
		e.Members = map[string]any{"Reason": reason}
	}
	return e
}

type organisation struct{ o Options }

// member refuses callers of accounts that are not in the organisation.
func (x *organisation) member(c *awsapi.Call) error {
	if x.o.ID == "" || c.Account != x.o.Management && x.account(c.Account) == nil {
		return awsapi.Errorf("AWSOrganizationsNotInUseException", "Your account is not a member of an organization.")
	}
	return nil
}

// manager refuses callers of other accounts than the management account.
func (x *organisation) manager(c *awsapi.Call) error {
	if err := x.member(c); err != nil {
		return err
	}
	if c.Account != x.o.Management {
		return awsapi.Errorf(awsapi.AccessDenied, "You don't have permissions to access this resource.")
	}
	return nil
}

func (x *organisation) account(id string) *Account {
	if i := slices.IndexFunc(x.o.Accounts, func(a Account) bool { return a.ID == id }); i >= 0 {
		return &x.o.Accounts[i]
	}
	return nil
}

func (x *organisation) unit(id string) *Unit {
	if i := slices.IndexFunc(x.o.Units, func(u Unit) bool { return u.ID == id }); i >= 0 {
		return &x.o.Units[i]
	}
	return nil
}

// container reports whether an id is that of the root or a unit.
func (x *organisation) container(id string) bool { return id == x.o.RootID || x.unit(id) != nil }

// arn names what belongs to the organisation.
func (x *organisation) arn(c *awsapi.Call, kind string, ids ...string) *string {
	return new("arn:" + c.Partition + ":organizations::" + x.o.Management + ":" + kind + "/" + strings.Join(append([]string{x.o.ID}, ids...), "/"))
}

// path is where something is, from the organisation down. Units that contain one another end it.
func (x *organisation) path(parent, id string) string {
	p := id + "/"
	for range len(x.o.Units) {
		u := x.unit(parent)
		if u == nil {
			break
		}
		p = u.ID + "/" + p
		parent = u.Parent
	}
	return x.o.ID + "/" + x.o.RootID + "/" + p
}

func (x *organisation) parentOf(id string) *organizations.Parent {
	kind := "ORGANIZATIONAL_UNIT"
	if id == x.o.RootID {
		kind = "ROOT"
	}
	return &organizations.Parent{Id: &id, Type: &kind}
}

func set(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func at(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (x *organisation) describe(_ context.Context, c *awsapi.Call, _ *struct{}) (*organizations.DescribeOrganizationResponse, error) {
	if err := x.member(c); err != nil {
		return nil, err
	}
	out := organizations.Organization{
		Id: &x.o.ID, Arn: x.arn(c, "organization"), FeatureSet: new("ALL"), MasterAccountId: &x.o.Management,
		MasterAccountArn: x.arn(c, "account", x.o.Management), AvailablePolicyTypes: []organizations.PolicyTypeSummary{},
	}
	if a := x.account(x.o.Management); a != nil {
		out.MasterAccountEmail = set(a.Email)
	}
	return &organizations.DescribeOrganizationResponse{Organization: &out}, nil
}

// tell is an account as answers have it.
func (x *organisation) tell(c *awsapi.Call, a *Account) organizations.Account {
	return organizations.Account{
		Id: &a.ID, Arn: x.arn(c, "account", a.ID), Name: set(a.Name), Email: set(a.Email), Status: new("ACTIVE"), State: new("ACTIVE"),
		JoinedMethod: new("INVITED"), JoinedTimestamp: at(a.Joined), Paths: []string{x.path(a.Parent, a.ID)},
	}
}

func (x *organisation) tellUnit(c *awsapi.Call, u *Unit) organizations.OrganizationalUnit {
	return organizations.OrganizationalUnit{Id: &u.ID, Arn: x.arn(c, "ou", u.ID), Name: &u.Name, Path: new(x.path(u.Parent, u.ID))}
}

// paged is a page of what a list of the organisation has.
func paged[T any](items []T, id func(T) string, token *string, most *int32, list ...string) ([]T, *string, error) {
	n := pageSize
	if most != nil {
		n = int(*most)
	}
	cut, next, err := page.Cut(items, id, token, n, list...)
	if err != nil {
		return nil, nil, refusal("INVALID_NEXT_TOKEN", "You specified an invalid value for nextToken. You must get the value from the response to a previous call to the API.")
	}
	return cut, next, nil
}

// accounts are those that keep tells to keep, told.
func (x *organisation) accounts(c *awsapi.Call, keep func(Account) bool, token *string, most *int32, list ...string) ([]organizations.Account, *string, error) {
	out := []organizations.Account{}
	for i := range x.o.Accounts {
		if keep(x.o.Accounts[i]) {
			out = append(out, x.tell(c, &x.o.Accounts[i]))
		}
	}
	return paged(out, func(a organizations.Account) string { return *a.Id }, token, most, list...)
}

func (x *organisation) listAccounts(_ context.Context, c *awsapi.Call, in *organizations.ListAccountsRequest) (*organizations.ListAccountsResponse, error) {
	if err := x.manager(c); err != nil {
		return nil, err
	}
	out, next, err := x.accounts(c, func(Account) bool { return true }, in.NextToken, in.MaxResults, c.Operation)
	return &organizations.ListAccountsResponse{Accounts: out, NextToken: next}, err
}

func (x *organisation) listAccountsOf(_ context.Context, c *awsapi.Call, in *organizations.ListAccountsForParentRequest) (*organizations.ListAccountsForParentResponse, error) {
	if err := x.parent(c, *in.ParentId); err != nil {
		return nil, err
	}
	out, next, err := x.accounts(c, func(a Account) bool { return a.Parent == *in.ParentId }, in.NextToken, in.MaxResults, c.Operation, *in.ParentId)
	return &organizations.ListAccountsForParentResponse{Accounts: out, NextToken: next}, err
}

func accountNotFound() error {
	return awsapi.Errorf("AccountNotFoundException", "You specified an account that doesn't exist.")
}

func (x *organisation) describeAccount(_ context.Context, c *awsapi.Call, in *organizations.DescribeAccountRequest) (*organizations.DescribeAccountResponse, error) {
	if err := x.manager(c); err != nil {
		return nil, err
	}
	a := x.account(*in.AccountId)
	if a == nil {
		return nil, accountNotFound()
	}
	return &organizations.DescribeAccountResponse{Account: new(x.tell(c, a))}, nil
}

func (x *organisation) listRoots(_ context.Context, c *awsapi.Call, in *organizations.ListRootsRequest) (*organizations.ListRootsResponse, error) {
	if err := x.manager(c); err != nil {
		return nil, err
	}
	roots := []organizations.Root{{Id: &x.o.RootID, Arn: x.arn(c, "root", x.o.RootID), Name: new(rootName), PolicyTypes: []organizations.PolicyTypeSummary{}}}
	roots, next, err := paged(roots, func(r organizations.Root) string { return *r.Id }, in.NextToken, in.MaxResults, c.Operation)
	return &organizations.ListRootsResponse{Roots: roots, NextToken: next}, err
}

func (x *organisation) listParents(_ context.Context, c *awsapi.Call, in *organizations.ListParentsRequest) (*organizations.ListParentsResponse, error) {
	if err := x.manager(c); err != nil {
		return nil, err
	}
	var parent *organizations.Parent
	if a := x.account(*in.ChildId); a != nil {
		parent = x.parentOf(a.Parent)
	} else if u := x.unit(*in.ChildId); u != nil {
		parent = x.parentOf(u.Parent)
	} else {
		return nil, awsapi.Errorf("ChildNotFoundException", "You specified a child that doesn't exist.")
	}
	parents, next, err := paged([]organizations.Parent{*parent}, func(p organizations.Parent) string { return *p.Id }, in.NextToken, in.MaxResults, c.Operation, *in.ChildId)
	return &organizations.ListParentsResponse{Parents: parents, NextToken: next}, err
}

// parent refuses callers who may not ask, and what contains nothing.
func (x *organisation) parent(c *awsapi.Call, id string) error {
	if err := x.manager(c); err != nil {
		return err
	}
	if !x.container(id) {
		return awsapi.Errorf("ParentNotFoundException", "You specified parent that doesn't exist.")
	}
	return nil
}

func (x *organisation) listChildren(_ context.Context, c *awsapi.Call, in *organizations.ListChildrenRequest) (*organizations.ListChildrenResponse, error) {
	if err := x.parent(c, *in.ParentId); err != nil {
		return nil, err
	}
	children := []organizations.Child{}
	if *in.ChildType == "ACCOUNT" {
		for i := range x.o.Accounts {
			if x.o.Accounts[i].Parent == *in.ParentId {
				children = append(children, organizations.Child{Id: &x.o.Accounts[i].ID, Type: in.ChildType})
			}
		}
	} else {
		for i := range x.o.Units {
			if x.o.Units[i].Parent == *in.ParentId {
				children = append(children, organizations.Child{Id: &x.o.Units[i].ID, Type: in.ChildType})
			}
		}
	}
	children, next, err := paged(children, func(h organizations.Child) string { return *h.Id }, in.NextToken, in.MaxResults, c.Operation, *in.ParentId, *in.ChildType)
	return &organizations.ListChildrenResponse{Children: children, NextToken: next}, err
}

func (x *organisation) listUnits(_ context.Context, c *awsapi.Call, in *organizations.ListOrganizationalUnitsForParentRequest) (*organizations.ListOrganizationalUnitsForParentResponse, error) {
	if err := x.parent(c, *in.ParentId); err != nil {
		return nil, err
	}
	units := []organizations.OrganizationalUnit{}
	for i := range x.o.Units {
		if x.o.Units[i].Parent == *in.ParentId {
			units = append(units, x.tellUnit(c, &x.o.Units[i]))
		}
	}
	units, next, err := paged(units, func(u organizations.OrganizationalUnit) string { return *u.Id }, in.NextToken, in.MaxResults, c.Operation, *in.ParentId)
	return &organizations.ListOrganizationalUnitsForParentResponse{OrganizationalUnits: units, NextToken: next}, err
}

func (x *organisation) describeUnit(_ context.Context, c *awsapi.Call, in *organizations.DescribeOrganizationalUnitRequest) (*organizations.DescribeOrganizationalUnitResponse, error) {
	if err := x.manager(c); err != nil {
		return nil, err
	}
	u := x.unit(*in.OrganizationalUnitId)
	if u == nil {
		return nil, awsapi.Errorf("OrganizationalUnitNotFoundException", "You specified an organizational unit that doesn't exist.")
	}
	return &organizations.DescribeOrganizationalUnitResponse{OrganizationalUnit: new(x.tellUnit(c, u))}, nil
}

func (x *organisation) delegates() []Delegate {
	if x.o.Delegates == nil {
		return nil
	}
	return x.o.Delegates()
}

func (x *organisation) listDelegates(_ context.Context, c *awsapi.Call, in *organizations.ListDelegatedAdministratorsRequest) (*organizations.ListDelegatedAdministratorsResponse, error) {
	if err := x.manager(c); err != nil {
		return nil, err
	}
	service := ""
	if in.ServicePrincipal != nil {
		service = *in.ServicePrincipal
	}
	all := []organizations.DelegatedAdministrator{}
	for _, d := range x.delegates() {
		if a := x.account(d.Account); a != nil && (service == "" || service == trusted) {
			t := x.tell(c, a)
			all = append(all, organizations.DelegatedAdministrator{
				Id: t.Id, Arn: t.Arn, Name: t.Name, Email: t.Email, Status: t.Status, State: t.State, JoinedMethod: t.JoinedMethod, JoinedTimestamp: t.JoinedTimestamp,
				DelegationEnabledDate: at(d.Since),
			})
		}
	}
	all, next, err := paged(all, func(d organizations.DelegatedAdministrator) string { return *d.Id }, in.NextToken, in.MaxResults, c.Operation, service)
	return &organizations.ListDelegatedAdministratorsResponse{DelegatedAdministrators: all, NextToken: next}, err
}

func (x *organisation) listDelegatedServices(_ context.Context, c *awsapi.Call, in *organizations.ListDelegatedServicesForAccountRequest) (*organizations.ListDelegatedServicesForAccountResponse, error) {
	if err := x.manager(c); err != nil {
		return nil, err
	}
	if x.account(*in.AccountId) == nil {
		return nil, accountNotFound()
	}
	all := x.delegates()
	i := slices.IndexFunc(all, func(d Delegate) bool { return d.Account == *in.AccountId })
	if i < 0 {
		return nil, awsapi.Errorf("AccountNotRegisteredException", "The provided account is not a registered delegated administrator for your organization.")
	}
	services := []organizations.DelegatedService{{ServicePrincipal: new(trusted), DelegationEnabledDate: at(all[i].Since)}}
	services, next, err := paged(services, func(d organizations.DelegatedService) string { return *d.ServicePrincipal }, in.NextToken, in.MaxResults, c.Operation, *in.AccountId)
	return &organizations.ListDelegatedServicesForAccountResponse{DelegatedServices: services, NextToken: next}, err
}

func (x *organisation) listTrusted(_ context.Context, c *awsapi.Call, in *organizations.ListAWSServiceAccessForOrganizationRequest) (*organizations.ListAWSServiceAccessForOrganizationResponse, error) {
	if err := x.manager(c); err != nil {
		return nil, err
	}
	services := []organizations.EnabledServicePrincipal{{ServicePrincipal: new(trusted)}}
	if a := x.account(x.o.Management); a != nil {
		services[0].DateEnabled = at(a.Joined)
	}
	services, next, err := paged(services, func(p organizations.EnabledServicePrincipal) string { return *p.ServicePrincipal }, in.NextToken, in.MaxResults, c.Operation)
	return &organizations.ListAWSServiceAccessForOrganizationResponse{EnabledServicePrincipals: services, NextToken: next}, err
}

func (x *organisation) listTags(_ context.Context, c *awsapi.Call, in *organizations.ListTagsForResourceRequest) (*organizations.ListTagsForResourceResponse, error) {
	if err := x.manager(c); err != nil {
		return nil, err
	}
	if !x.container(*in.ResourceId) && x.account(*in.ResourceId) == nil {
		return nil, awsapi.Errorf("TargetNotFoundException", "You specified a target that doesn't exist.")
	}
	none, next, err := paged([]organizations.Tag{}, func(t organizations.Tag) string { return *t.Key }, in.NextToken, nil, c.Operation, *in.ResourceId)
	return &organizations.ListTagsForResourceResponse{Tags: none, NextToken: next}, err
}
