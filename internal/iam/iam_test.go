package iam

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var home = netip.MustParseAddr("192.0.2.7")

// clock is a clock that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newClock() *clock { return &clock{t: time.Date(2026, 3, 9, 8, 0, 0, 0, time.UTC)} }

func open(t *testing.T, dir string, o Options) *Service {
	t.Helper()
	s, err := Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *Service) must(t *testing.T, name string, roles ...Role) (Caller, string) {
	t.Helper()
	if name != RootName {
		if _, err := s.CreateUser(name, roles, ""); err != nil {
			t.Fatal(err)
		}
	}
	tok, secret, err := s.CreateToken(TokenSpec{User: name})
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Authenticate(t.Context(), secret, home)
	if err != nil {
		t.Fatal(err)
	}
	if c.Token != tok.ID || c.Principal.Name != name {
		t.Fatalf("%+v for %s", c, name)
	}
	return c, secret
}

// matrix says who may do what, to what is somebody else's. The columns are root, admin, analyst, auditor, recorder,
// storage and a user without a role.
const matrix = `
GetCallerIdentity                                 x x x x x x x
SearchEvents                                      x x x x - - -
GetEvent                                          x x x x - - -
TailEvents                                        x x x x - - -
GetHistogram                                      x x x x - - -
GetTop                                            x x x x - - -
RunQuery                                          x x x x - - -
ReadCatalog                                       x x x x - - -
GetStatus                                         x x x x - - -
GetMetrics                                        x x x x - - -
GetLedger                                         x x x x - - -
ListSources                                       x x x x - - -
GetSource                                         x x x x - - -
ListDeadLetters                                   x x x x - - -
GetStore                                          x x x x - - -
GetJournal                                        x x x x - - -
ListHolds                                         x x x x - - -
GetConfiguration                                  x x - x - - -
ListUsers                                         x x - x - - -
GetUser                                           x x - x - - -
ListTokens                                        x x - x - - -
ListPolicies                                      x x - x - - -
PutEvents                                         x x - - x - -
PauseSource                                       x x - - - - -
ResumeSource                                      x x - - - - -
ReplayDeadLetters                                 x x - - - - -
DeleteDeadLetters                                 x x - - - - -
PutHold                                           x x - - - - -
DeleteHold                                        x x - - - - -
CompactStore                                      x x - - - - -
ExpireStore                                       x x - - - - -
ReloadConfiguration                               x x - - - - -
CreateUser                                        x x - - - - -
UpdateUser                                        x x - - - - -
DeleteUser                                        x x - - - - -
CreateToken                                       x x - - - - -
RevokeToken                                       x x - - - - -
ListAccessKeys                                    x x - x - - -
ListRoles                                         x x - x - - -
GetRole                                           x x - x - - -
CreateAccessKey                                   x x - - - - -
UpdateAccessKey                                   x x - - - - -
DeleteAccessKey                                   x x - - - - -
CreateRole                                        x x - - - - -
UpdateRole                                        x x - - - - -
DeleteRole                                        x x - - - - -
RevokeRoleSessions                                x x - - - - -
sts:GetCallerIdentity                             x x x x x x x
sts:GetSessionToken                               x x x x x x x
sts:GetAccessKeyInfo                              x x x x x x x
sts:AssumeRole                                    x x x x x x x
cloudtrail:LookupEvents                           x x x x - - -
cloudtrail:StartQuery                             x x x x - - -
cloudtrail:DescribeQuery                          x x x x - - -
cloudtrail:GetQueryResults                        x x x x - - -
cloudtrail:ListQueries                            x x x x - - -
cloudtrail:CancelQuery                            x x x x - - -
cloudtrail:ListEventDataStores                    x x x x - - -
cloudtrail:GetEventDataStore                      x x x x - - -
cloudtrail:GetChannel                             x x - x - - -
cloudtrail:ListChannels                           x x - x - - -
cloudtrail:ListTags                               x x - x - - -
cloudtrail-data:PutAuditEvents                    x x - - x - -
cloudtrail:CreateEventDataStore                   x x - - - - -
cloudtrail:UpdateEventDataStore                   x x - - - - -
cloudtrail:DeleteEventDataStore                   x x - - - - -
cloudtrail:RestoreEventDataStore                  x x - - - - -
cloudtrail:StartEventDataStoreIngestion           x x - - - - -
cloudtrail:StopEventDataStoreIngestion            x x - - - - -
cloudtrail:CreateChannel                          x x - - - - -
cloudtrail:UpdateChannel                          x x - - - - -
cloudtrail:DeleteChannel                          x x - - - - -
cloudtrail:AddTags                                x x - - - - -
cloudtrail:RemoveTags                             x x - - - - -
organizations:DescribeOrganization                x x - x - - -
organizations:ListAccounts                        x x - x - - -
organizations:DescribeAccount                     x x - x - - -
organizations:ListRoots                           x x - x - - -
organizations:ListParents                         x x - x - - -
organizations:ListChildren                        x x - x - - -
organizations:ListOrganizationalUnitsForParent    x x - x - - -
organizations:ListAccountsForParent               x x - x - - -
organizations:DescribeOrganizationalUnit          x x - x - - -
organizations:ListDelegatedAdministrators         x x - x - - -
organizations:ListDelegatedServicesForAccount     x x - x - - -
organizations:ListAWSServiceAccessForOrganization x x - x - - -
organizations:ListTagsForResource                 x x - x - - -
iam:GetUser                                       x x - x - - -
iam:ListUsers                                     x x - x - - -
iam:ListAccessKeys                                x x - x - - -
iam:GetAccessKeyLastUsed                          x x - x - - -
iam:GetRole                                       x x - x - - -
iam:ListRoles                                     x x - x - - -
iam:ListAttachedUserPolicies                      x x - x - - -
iam:ListAttachedRolePolicies                      x x - x - - -
iam:ListPolicies                                  x x - x - - -
iam:GetPolicy                                     x x - x - - -
iam:GetPolicyVersion                              x x - x - - -
iam:GetAccountSummary                             x x - x - - -
iam:ListAccountAliases                            x x - x - - -
iam:CreateUser                                    x x - - - - -
iam:DeleteUser                                    x x - - - - -
iam:CreateAccessKey                               x x - - - - -
iam:UpdateAccessKey                               x x - - - - -
iam:DeleteAccessKey                               x x - - - - -
iam:AttachUserPolicy                              x x - - - - -
iam:DetachUserPolicy                              x x - - - - -
iam:CreateRole                                    x x - - - - -
iam:UpdateRole                                    x x - - - - -
iam:DeleteRole                                    x x - - - - -
iam:UpdateAssumeRolePolicy                        x x - - - - -
iam:AttachRolePolicy                              x x - - - - -
iam:DetachRolePolicy                              x x - - - - -
cloudtrail:DescribeTrails                         x x - x - - -
cloudtrail:ListTrails                             x x - x - - -
cloudtrail:GetTrail                               x x - x - - -
cloudtrail:GetTrailStatus                         x x - x - - -
cloudtrail:GetEventSelectors                      x x - x - - -
cloudtrail:GetInsightSelectors                    x x - x - - -
cloudtrail:ListPublicKeys                         x x - x - - -
cloudtrail:GetResourcePolicy                      x x - x - - -
cloudtrail:GetEventConfiguration                  x x - x - - -
cloudtrail:ListInsightsData                       x x x x - - -
cloudtrail:ListInsightsMetricData                 x x x x - - -
cloudtrail:CreateTrail                            x x - - - - -
cloudtrail:UpdateTrail                            x x - - - - -
cloudtrail:DeleteTrail                            x x - - - - -
cloudtrail:StartLogging                           x x - - - - -
cloudtrail:StopLogging                            x x - - - - -
cloudtrail:PutEventSelectors                      x x - - - - -
cloudtrail:PutInsightSelectors                    x x - - - - -
cloudtrail:PutEventConfiguration                  x x - - - - -
cloudtrail:PutResourcePolicy                      x x - - - - -
cloudtrail:DeleteResourcePolicy                   x x - - - - -
cloudtrail:RegisterOrganizationDelegatedAdmin     x x - - - - -
cloudtrail:DeregisterOrganizationDelegatedAdmin   x x - - - - -
s3:ListAllMyBuckets                               x x x x - x -
s3:GetBucketLocation                              x x x x - x -
s3:ListBucket                                     x x x x - x -
s3:ListBucketVersions                             x x x x - x -
s3:ListBucketMultipartUploads                     x x x x - x -
s3:ListMultipartUploadParts                       x x x x - x -
s3:GetObject                                      x x x x - x -
s3:GetObjectVersion                               x x x x - x -
s3:GetObjectAttributes                            x x x x - x -
s3:GetObjectVersionAttributes                     x x x x - x -
s3:GetObjectTagging                               x x x x - x -
s3:GetObjectVersionTagging                        x x x x - x -
s3:GetObjectAcl                                   x x x x - x -
s3:GetObjectVersionAcl                            x x x x - x -
s3:GetObjectRetention                             x x x x - x -
s3:GetObjectLegalHold                             x x x x - x -
s3:PutObject                                      x x - - - x -
s3:DeleteObject                                   x x - - - x -
s3:DeleteObjectVersion                            x x - - - x -
s3:AbortMultipartUpload                           x x - - - x -
s3:PutObjectTagging                               x x - - - x -
s3:PutObjectVersionTagging                        x x - - - x -
s3:DeleteObjectTagging                            x x - - - x -
s3:DeleteObjectVersionTagging                     x x - - - x -
s3:RestoreObject                                  x x - - - x -
s3:GetBucketPolicy                                x x - x - - -
s3:GetBucketPolicyStatus                          x x - x - - -
s3:GetBucketAcl                                   x x - x - - -
s3:GetBucketPublicAccessBlock                     x x - x - - -
s3:GetAccountPublicAccessBlock                    x x - x - - -
s3:GetBucketOwnershipControls                     x x - x - - -
s3:GetEncryptionConfiguration                     x x - x - - -
s3:GetLifecycleConfiguration                      x x - x - - -
s3:GetBucketLogging                               x x - x - - -
s3:GetBucketNotification                          x x - x - - -
s3:GetBucketObjectLockConfiguration               x x - x - - -
s3:GetBucketRequestPayment                        x x - x - - -
s3:GetBucketTagging                               x x - x - - -
s3:GetBucketVersioning                            x x - x - - -
s3:GetBucketCORS                                  x x - x - - -
s3:GetBucketWebsite                               x x - x - - -
s3:GetReplicationConfiguration                    x x - x - - -
s3:GetAccelerateConfiguration                     x x - x - - -
s3:GetAnalyticsConfiguration                      x x - x - - -
s3:GetInventoryConfiguration                      x x - x - - -
s3:GetMetricsConfiguration                        x x - x - - -
s3:GetIntelligentTieringConfiguration             x x - x - - -
s3:CreateBucket                                   x x - - - - -
s3:DeleteBucket                                   x x - - - - -
s3:PutBucketPolicy                                x x - - - - -
s3:DeleteBucketPolicy                             x x - - - - -
s3:PutBucketAcl                                   x x - - - - -
s3:PutBucketPublicAccessBlock                     x x - - - - -
s3:PutAccountPublicAccessBlock                    x x - - - - -
s3:PutBucketOwnershipControls                     x x - - - - -
s3:PutEncryptionConfiguration                     x x - - - - -
s3:PutLifecycleConfiguration                      x x - - - - -
s3:PutBucketLogging                               x x - - - - -
s3:PutBucketNotification                          x x - - - - -
s3:PutBucketObjectLockConfiguration               x x - - - - -
s3:PutBucketRequestPayment                        x x - - - - -
s3:PutBucketTagging                               x x - - - - -
s3:PutBucketVersioning                            x x - - - - -
s3:PutBucketCORS                                  x x - - - - -
s3:PutBucketWebsite                               x x - - - - -
s3:DeleteBucketWebsite                            x x - - - - -
s3:PutReplicationConfiguration                    x x - - - - -
s3:PutAccelerateConfiguration                     x x - - - - -
s3:PutAnalyticsConfiguration                      x x - - - - -
s3:PutInventoryConfiguration                      x x - - - - -
s3:PutMetricsConfiguration                        x x - - - - -
s3:PutIntelligentTieringConfiguration             x x - - - - -
s3:PutObjectAcl                                   x x - - - - -
s3:PutObjectVersionAcl                            x x - - - - -
s3:PutObjectRetention                             x x - - - - -
s3:PutObjectLegalHold                             x x - - - - -
s3:BypassGovernanceRetention                      x x - - - - -
kms:Encrypt                                       x x - - - x -
kms:Decrypt                                       x x x x - x -
kms:GenerateDataKey                               x x - - - x -
kms:GenerateDataKeyWithoutPlaintext               x x - - - x -
kms:ReEncryptFrom                                 x x - - - x -
kms:ReEncryptTo                                   x x - - - x -
kms:GenerateRandom                                x x - - - x -
kms:DescribeKey                                   x x - x - - -
kms:ListKeys                                      x x - x - - -
kms:ListAliases                                   x x - x - - -
kms:GetKeyPolicy                                  x x - x - - -
kms:ListKeyPolicies                               x x - x - - -
kms:GetKeyRotationStatus                          x x - x - - -
kms:ListKeyRotations                              x x - x - - -
kms:ListResourceTags                              x x - x - - -
kms:CreateKey                                     x x - - - - -
kms:UpdateKeyDescription                          x x - - - - -
kms:EnableKey                                     x x - - - - -
kms:DisableKey                                    x x - - - - -
kms:PutKeyPolicy                                  x x - - - - -
kms:CreateAlias                                   x x - - - - -
kms:UpdateAlias                                   x x - - - - -
kms:DeleteAlias                                   x x - - - - -
kms:EnableKeyRotation                             x x - - - - -
kms:DisableKeyRotation                            x x - - - - -
kms:RotateKeyOnDemand                             x x - - - - -
kms:ScheduleKeyDeletion                           x x - - - - -
kms:CancelKeyDeletion                             x x - - - - -
kms:TagResource                                   x x - - - - -
kms:UntagResource                                 x x - - - - -
sns:Publish                                       x x - - - - -
sns:ListTopics                                    x x - x - - -
sns:GetTopicAttributes                            x x - x - - -
sns:ListSubscriptions                             x x - x - - -
sns:ListSubscriptionsByTopic                      x x - x - - -
sns:GetSubscriptionAttributes                     x x - x - - -
sns:ListTagsForResource                           x x - x - - -
sns:GetDataProtectionPolicy                       x x - x - - -
sns:CreateTopic                                   x x - - - - -
sns:DeleteTopic                                   x x - - - - -
sns:SetTopicAttributes                            x x - - - - -
sns:Subscribe                                     x x - - - - -
sns:ConfirmSubscription                           x x - - - - -
sns:Unsubscribe                                   x x - - - - -
sns:SetSubscriptionAttributes                     x x - - - - -
sns:AddPermission                                 x x - - - - -
sns:RemovePermission                              x x - - - - -
sns:TagResource                                   x x - - - - -
sns:UntagResource                                 x x - - - - -
sns:PutDataProtectionPolicy                       x x - - - - -
`

func TestMatrix(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	callers := make([]Caller, 7)
	callers[0], _ = s.must(t, RootName)
	for i, r := range []Role{RoleAdmin, RoleAnalyst, RoleAuditor, RoleRecorder, RoleStorage} {
		callers[i+1], _ = s.must(t, "user-"+string(r), r)
	}
	callers[6], _ = s.must(t, "nobody")
	other, _ := s.must(t, "other", RoleAdmin)
	seen := map[Action]bool{}
	for line := range strings.Lines(strings.TrimSpace(matrix)) {
		cells := strings.Fields(line)
		i := slices.IndexFunc(actions, func(i ActionInfo) bool { return string(i.Action) == cells[0] })
		if i < 0 || len(cells) != 8 {
			t.Fatalf("line %q", line)
		}
		a := actions[i]
		seen[a.Action] = true
		resources := []Resource{{Type: a.On, ID: "some"}}
		switch a.On {
		case TypeServer:
			resources = []Resource{{}, {Type: TypeServer}}
		case TypeSource:
			resources = append(resources, Resource{})
		case TypeUser:
			resources[0].ID = "other"
			resources = append(resources, Resource{})
		case TypeToken:
			resources[0].ID = other.Token
		case TypeAssumable, TypeResource:
			resources[0].ID = "arn:aws:iam::000000000000:role/some"
			resources = append(resources, Resource{})
		}
		for k, c := range callers {
			for _, r := range resources {
				d := s.Authorize(t.Context(), c, a.Action, r)
				if d.Allowed != (cells[k+1] == "x") || len(d.Errors) > 0 {
					t.Errorf("%+v; want %s", d, cells[k+1])
				}
				if d.Allowed != (len(d.Policies) > 0) || d.Allowed != (d.Err() == nil) {
					t.Errorf("%+v: policies %q, error %v", d, d.Policies, d.Err())
				}
			}
		}
	}
	for _, a := range actions {
		if !seen[a.Action] {
			t.Errorf("the matrix has no line for %s", a.Action)
		}
	}
}

func TestAuthorize(t *testing.T) {
	t.Parallel()
	extra, err := ParsePolicies(PolicyFile{"extra.cedar", `
@id("office") forbid (principal, action == Spoor::Action::"RunQuery", resource) unless { context has address && context.address.isInRange(ip("192.0.2.0/24")) };
@id("no-admins") forbid (principal is Spoor::User, action in [Spoor::Action::"CreateUser", Spoor::Action::"UpdateUser"], resource) when { context has roles && context.roles.contains("admin") };
@id("tls") forbid (principal == Spoor::User::"careful", action, resource) unless { context.tls };
permit (principal == Spoor::User::"bob", action == Spoor::Action::"PutEvents", resource == Spoor::Source::"trail");`})
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, t.TempDir(), Options{Policies: extra, Account: "111122223333"})
	root, _ := s.must(t, RootName)
	admin, _ := s.must(t, "ann", RoleAdmin)
	bob, _ := s.must(t, "bob", RoleAnalyst)
	careful, _ := s.must(t, "careful", RoleAnalyst)
	recorder, _ := s.must(t, "rec", RoleRecorder, RoleAnalyst)
	gone, _ := s.must(t, "gone", RoleAdmin)
	if err := s.DeleteUser("gone"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateUser("gone", []Role{RoleAdmin}, ""); err != nil { // another one of the same name
		t.Fatal(err)
	}
	forged := bob
	forged.Principal = admin.Principal
	away := bob
	away.Address = netip.MustParseAddr("203.0.113.9")
	nowhere := bob
	nowhere.Address = netip.Addr{}
	mapped := bob
	mapped.Address = netip.MustParseAddr("::ffff:192.0.2.9")
	encrypted := careful
	encrypted.TLS = true
	for _, c := range []struct {
		caller Caller
		action Action
		res    Resource
		want   bool
		reason string
	}{
		{bob, RunQuery, Resource{}, true, "user bob (analyst) may RunQuery on the server: permitted by analyst"},
		{mapped, RunQuery, Resource{}, true, "permitted by analyst"},
		{away, RunQuery, Resource{}, false, "user bob (analyst) may not RunQuery on the server: forbidden by office"},
		{nowhere, RunQuery, Resource{}, false, "forbidden by office"},
		{bob, PutEvents, Resource{Type: TypeSource, ID: "trail"}, true, "permitted by extra.cedar:5"},
		{bob, PutEvents, Resource{Type: TypeSource, ID: "other"}, false, "user bob (analyst) may not PutEvents on source other: no policy permits it"},
		{bob, PutEvents, Resource{}, false, "no policy permits it"},
		{recorder, PutEvents, Resource{}, true, "user rec (analyst, recorder) may PutEvents on the server: permitted by recorder"},
		{bob, ListTokens, Resource{Type: TypeUser, ID: "bob"}, true, "permitted by own-tokens"},
		{bob, ListTokens, Resource{Type: TypeUser, ID: "ann"}, false, "no policy permits it"},
		{bob, RevokeToken, Resource{Type: TypeToken, ID: bob.Token}, true, "permitted by own-token-revoke"},
		{bob, RevokeToken, Resource{Type: TypeToken, ID: admin.Token}, false, "no policy permits it"},
		{bob, RevokeToken, Resource{Type: TypeToken, ID: "none"}, false, "no policy permits it"},
		{admin, RevokeToken, Resource{Type: TypeToken, ID: root.Token}, false, "forbidden by root-tokens-are-its-own"},
		{admin, CreateToken, Resource{Type: TypeUser, ID: RootName}, false, "forbidden by root-is-its-own"},
		{admin, CreateToken, Resource{Type: TypeUser, ID: "bob"}, true, "permitted by admin"},
		{root, CreateToken, Resource{Type: TypeUser, ID: RootName}, true, "root may CreateToken on user root: permitted by root"},
		{admin, CreateUser, Resource{Type: TypeUser, ID: "new", Roles: []Role{RoleAnalyst}}, true, "permitted by admin"},
		{admin, CreateUser, Resource{Type: TypeUser, ID: "new", Roles: []Role{RoleAdmin}}, false, "forbidden by no-admins"},
		{admin, UpdateUser, Resource{Type: TypeUser, ID: "ann", Roles: []Role{RoleAdmin}}, false, "forbidden by no-admins"},
		{root, UpdateUser, Resource{Type: TypeUser, ID: "bob", Roles: []Role{RoleAdmin}}, true, "permitted by root"},
		{careful, GetStatus, Resource{}, false, "forbidden by tls"},
		{encrypted, GetStatus, Resource{}, true, "permitted by analyst"},
		{gone, GetStatus, Resource{}, false, "user gone (admin) may not GetStatus on the server: the principal is not there any more"},
		{forged, CreateUser, Resource{Type: TypeUser, ID: "x"}, false, "the token is not there any more"},
		{Caller{}, GetStatus, Resource{}, false, "nobody may not GetStatus on the server: the principal is not there any more"},
		{Caller{Principal: Principal{Kind: KindRoot, Name: RootName, ID: "111122223333"}}, GetStatus, Resource{}, false, "the token is not there any more"},
		{root, "DropEverything", Resource{}, false, "there is no such action"},
		{root, GetStatus, Resource{Type: TypeToken, ID: "x"}, false, "it is not done to a token"},
		{root, RevokeToken, Resource{}, false, "it is not done to a server"},
	} {
		d := s.Authorize(t.Context(), c.caller, c.action, c.res)
		if d.Allowed != c.want || !strings.HasSuffix(d.Reason, c.reason) {
			t.Errorf("%s %s %+v: %v, %s\nwant %v, %s", c.caller.Principal.Name, c.action, c.res, d.Allowed, d.Reason, c.want, c.reason)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if d := s.Authorize(ctx, root, GetStatus, Resource{}); d.Allowed {
		t.Error("allowed after the end")
	}
	var denied *DeniedError
	if err := s.Authorize(t.Context(), away, RunQuery, Resource{}).Err(); !errors.As(err, &denied) || denied.Decision.Action != RunQuery {
		t.Errorf("%v", err)
	}
	if got := bob.Principal.ARN() + " " + root.Principal.ARN(); got != "arn:aws:iam::111122223333:user/bob arn:aws:iam::111122223333:root" {
		t.Error(got)
	}
}

// TestForbidFails: a policy that forbids and cannot be evaluated forbids.
func TestForbidFails(t *testing.T) {
	t.Parallel()
	extra, err := ParsePolicies(PolicyFile{"extra.cedar", `
@id("overflow") forbid (principal, action == Spoor::Action::"RunQuery", resource) when { 9223372036854775807 + 1 > 0 };
@id("overflow-permit") permit (principal, action == Spoor::Action::"GetStatus", resource) when { 9223372036854775807 + 1 > 0 };`})
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, t.TempDir(), Options{Policies: extra})
	root, _ := s.must(t, RootName)
	nobody, _ := s.must(t, "nobody")
	d := s.Authorize(t.Context(), root, RunQuery, Resource{})
	if d.Allowed || len(d.Errors) != 1 || !slices.Equal(d.Policies, []string{"overflow"}) || !strings.Contains(d.Reason, "could not be evaluated: overflow: ") {
		t.Errorf("%+v", d)
	}
	if d := s.Authorize(t.Context(), nobody, GetStatus, Resource{}); d.Allowed || len(d.Errors) != 1 {
		t.Errorf("%+v", d)
	}
	if d := s.Authorize(t.Context(), root, GetStatus, Resource{}); !d.Allowed || len(d.Errors) != 1 {
		t.Errorf("%+v", d)
	}
}

func TestParsePolicies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		want []string
	}{
		{`permit (principal, action, resource)`, []string{"x.cedar: not Cedar: "}},
		{"\n" + `permit (principal, action == Spoor::Action::"Serch", resource);`, []string{"x.cedar:2: "}},
		{`permit (principal == Spoor::Usr::"x", action, resource);`, []string{"x.cedar:1: "}},
		{`permit (principal, action == Spoor::Action::"GetEvent", resource) when { context.adress == ip("1.2.3.4") };`, []string{"x.cedar:1: "}},
		{`permit (principal, action == Spoor::Action::"GetEvent", resource) when { context.tls == 3 };`, []string{"x.cedar:1: "}},
		{`@id("admin") permit (principal, action, resource);`, []string{`x.cedar:1: there is another policy with the id "admin"`}},
		{`@id("a") permit (principal == Spoor::Nobody::"x", action, resource); @id("admin") permit (principal, action, resource);`,
			[]string{"x.cedar:1: ", `another policy with the id "admin"`}},
		{strings.Repeat(" ", MaxPolicyFile+1), []string{"x.cedar: 262145 bytes are more than 262144"}},
	} {
		_, err := ParsePolicies(PolicyFile{"x.cedar", c.text})
		if err == nil {
			t.Errorf("%.100q is fine", c.text)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%.100q: %v; want %s", c.text, err, w)
			}
		}
	}
	p, err := ParsePolicies(PolicyFile{"x.cedar", "// mine\n@doc(\"why\")\nforbid (principal, action, resource);"})
	if err != nil {
		t.Fatal(err)
	}
	all := p.All()
	if last := all[len(all)-1]; last.ID != "x.cedar:2" || last.Doc != "why" || last.Effect != "forbid" || last.Ready || !strings.Contains(last.Text, "forbid") {
		t.Errorf("%+v", last)
	}
	for _, i := range all[:len(all)-1] {
		if !i.Ready || i.Doc == "" || i.ID == "" || strings.Contains(i.ID, ":") {
			t.Errorf("%+v", i)
		}
	}
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, t.TempDir(), Options{Now: c.now})
	_, good := s.must(t, "ann", RoleAdmin)
	other, _ := s.must(t, "bob")
	_, short, err := s.CreateToken(TokenSpec{User: "ann", Lifetime: time.Hour, Note: "short"})
	if err != nil {
		t.Fatal(err)
	}
	_, ever, err := s.CreateToken(TokenSpec{User: "ann", Lifetime: -1})
	if err != nil {
		t.Fatal(err)
	}
	revoked, revokedText, err := s.CreateToken(TokenSpec{User: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	caller, err := s.Authenticate(t.Context(), revokedText, home)
	if err != nil || s.Check(caller) != nil {
		t.Fatal(err)
	}
	if got, err := s.RevokeToken(revoked.ID); err != nil || got.Status != StatusRevoked {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := s.Check(caller); err == nil || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("still a caller: %v", err)
	}
	wrong := good[:len(good)-1] + "a"
	if wrong == good {
		wrong = good[:len(good)-1] + "b"
	}
	swapped := tokenText(other.Token, good[len(good)-secretLen:])
	for _, x := range []struct {
		token, reason, public string
	}{
		{good, "", ""},
		{ever, "", ""},
		{short, "", ""},
		{"", "there is no token", "the token is missing or not valid"},
		{"x", "it is no token of Spoor", "the token is missing or not valid"},
		{strings.ToUpper(good), "it is no token of Spoor", "the token is missing or not valid"},
		{good + " ", "it is no token of Spoor", "the token is missing or not valid"},
		{tokenText(strings.ToLower(randomText(idBytes)), good[len(good)-secretLen:]), "there is no such token", "the token is missing or not valid"},
		{wrong, "the secret of the token is wrong", "the token is missing or not valid"},
		{swapped, "the secret of the token is wrong", "the token is missing or not valid"},
		{revokedText, "the token is revoked", "the token is revoked"},
	} {
		_, err := s.Authenticate(t.Context(), x.token, home)
		if x.reason == "" {
			if err != nil {
				t.Errorf("%v", err)
			}
			continue
		}
		var e *AuthError
		if !errors.As(err, &e) || e.Reason != x.reason || e.Public() != x.public || e.Wait != 0 {
			t.Errorf("%v; want %s, %s", err, x.reason, x.public)
		}
		if e != nil && strings.Contains(e.Error()+e.Public(), good[len(good)-secretLen:]) {
			t.Error("the error has a secret")
		}
	}
	c.add(time.Hour)
	var e *AuthError
	if _, err := s.Authenticate(t.Context(), short, home); !errors.As(err, &e) || e.Reason != "the token is expired" || e.Principal.Name != "ann" {
		t.Errorf("%v", err)
	}
	c.add(100 * 24 * time.Hour)
	if _, err := s.Authenticate(t.Context(), good, home); err == nil {
		t.Error("lasts longer than by default")
	}
	if _, err := s.Authenticate(t.Context(), ever, home); err != nil {
		t.Error(err)
	}
	// Roles count as they are now.
	ann, err := s.Authenticate(t.Context(), ever, home)
	if err != nil || !s.Authorize(t.Context(), ann, CreateUser, Resource{Type: TypeUser, ID: "x"}).Allowed {
		t.Fatal(err)
	}
	if _, err := s.SetRoles("ann", []Role{RoleAuditor}); err != nil {
		t.Fatal(err)
	}
	if d := s.Authorize(t.Context(), ann, CreateUser, Resource{Type: TypeUser, ID: "x"}); d.Allowed || !slices.Equal(d.Principal.Roles, []Role{RoleAuditor}) {
		t.Errorf("%+v", d)
	}
	// What ended long ago is not kept for ever.
	if n := len(s.Tokens("ann")); n != 2 {
		t.Errorf("%d tokens: %+v", n, s.Tokens("ann"))
	}
}

func TestThrottle(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, t.TempDir(), Options{Now: c.now, Throttle: Throttle{Burst: 3, Every: 10 * time.Second}})
	ann, good := s.must(t, "ann", RoleAdmin)
	_, other := s.must(t, "bob")
	away := netip.MustParseAddr("2001:db8::1")
	near := netip.MustParseAddr("2001:db8::ffff")
	try := func(token string, from netip.Addr) (wait time.Duration, ok bool) {
		_, err := s.Authenticate(t.Context(), token, from)
		var e *AuthError
		if errors.As(err, &e) {
			if (e.Wait > 0) != strings.HasPrefix(e.Public(), "too many failed attempts; try again in ") {
				t.Errorf("%v: %s", e, e.Public())
			}
			return e.Wait, false
		}
		return 0, err == nil
	}
	bad := tokenText(ann.Token, strings.Repeat("a", secretLen))
	for i := range 3 {
		if wait, ok := try(bad, away); wait != 0 || ok {
			t.Fatalf("attempt %d: %v, %v", i, wait, ok)
		}
	}
	if wait, ok := try(good, near); wait != 10*time.Second || ok {
		t.Errorf("the right secret, from the network of those that failed: %v, %v", wait, ok)
	}
	if _, ok := try(good, home); !ok {
		t.Error("from another address")
	}
	if _, ok := try(other, away); !ok {
		t.Error("another token from the same address")
	}
	c.add(10 * time.Second)
	if wait, ok := try(bad, away); wait != 0 || ok {
		t.Errorf("one more: %v, %v", wait, ok)
	}
	if wait, _ := try(bad, away); wait != 10*time.Second {
		t.Errorf("and no more: %v", wait)
	}
	c.add(time.Hour)
	if _, ok := try(good, away); !ok {
		t.Error("an hour later")
	}
	for range 3 {
		try("nonsense", away)
	}
	if wait, _ := try("nonsense", away); wait == 0 {
		t.Error("tokens that are none are not counted")
	}
	for range 10 {
		if wait, _ := try("", home); wait != 0 {
			t.Error("no token counts as an attempt")
		}
	}
	for i := range maxThrottled + 10 {
		s.throttle.fail(throttleKey{from: source(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))}, c.now())
	}
	if n := len(s.throttle.full); n > maxThrottled {
		t.Errorf("%d addresses remembered", n)
	}
}

func TestState(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "iam")
	c := newClock()
	o := Options{Now: c.now}
	s := open(t, dir, o)
	secret, made, err := s.FirstRoot()
	if err != nil || !made {
		t.Fatalf("%v, %v", made, err)
	}
	if again, made, err := s.FirstRoot(); again != "" || made || err != nil {
		t.Errorf("a second root credential: %v, %v", made, err)
	}
	root, err := s.Authenticate(t.Context(), secret, home)
	if err != nil || root.Principal.Kind != KindRoot || root.Principal.ID != "000000000000" {
		t.Fatalf("%+v, %v", root, err)
	}
	ann, _ := s.must(t, "ann", RoleAuditor, RoleAnalyst, RoleAnalyst)
	if !slices.Equal(ann.Principal.Roles, []Role{RoleAnalyst, RoleAuditor}) {
		t.Errorf("%q", ann.Principal.Roles)
	}
	for _, bad := range []error{
		second(s.CreateUser("Ann", nil, "")), second(s.CreateUser("root", nil, "")), second(s.CreateUser("Root", nil, "")), second(s.CreateUser("", nil, "")),
		second(s.CreateUser("a b", nil, "")), second(s.CreateUser(strings.Repeat("a", 65), nil, "")), second(s.CreateUser("bob", []Role{"boss"}, "")),
		second(s.SetRoles("root", nil)), second(s.SetRoles("none", nil)), second(s.SetRoles("ann", []Role{"x"})), s.DeleteUser("root"), s.DeleteUser("none"),
		second(s.RevokeToken("none")), second(s.User("none")), second(s.Token("none")), third(s.CreateToken(TokenSpec{User: "none"})),
		third(s.CreateToken(TokenSpec{User: "ann", Note: "a\nb"})), third(s.CreateToken(TokenSpec{User: "ann", Note: strings.Repeat("a", 201)})),
	} {
		if !errors.Is(bad, ErrInvalid) && !errors.Is(bad, ErrNotFound) && !errors.Is(bad, ErrExists) {
			t.Errorf("%v", bad)
		}
	}
	if _, err := Open(t.Context(), dir, o); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
		t.Errorf("a second owner: %v", err)
	}
	look := open(t, dir, Options{Now: c.now, ReadOnly: true})
	if err := second(look.CreateUser("x", nil, "")); !errors.Is(err, ErrReadOnly) {
		t.Errorf("%v", err)
	}
	if got, want := fmt.Sprint(look.Users(), len(look.Tokens(""))), fmt.Sprint(s.Users(), 2); got != want {
		t.Errorf("another process sees %s, not %s", got, want)
	}
	text, err := os.ReadFile(filepath.Join(dir, stateName))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), secret[len(secret)-secretLen:]) || strings.Contains(string(text), secret) {
		t.Error("the secret is in the state")
	}
	if runtime.GOOS != "windows" {
		for name, want := range map[string]os.FileMode{stateName: 0o600, ".": 0o700 | os.ModeDir} {
			if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
				t.Errorf("%s: %v, %v", name, info.Mode(), err)
			}
		}
	}
	// What is left of a write that was cut short is cleaned away.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := second(s.CreateUser("late", nil, "")); !errors.Is(err, ErrReadOnly) {
		t.Errorf("a change after the end: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".part-1"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, o)
	if _, err := os.Stat(filepath.Join(dir, ".part-1")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := s.Authenticate(t.Context(), secret, home); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if _, made, err := s.FirstRoot(); made || err != nil {
		t.Errorf("%v, %v", made, err)
	}
	if tok, err := s.Token(root.Token); err != nil || !tok.LastUsed.Equal(c.now()) {
		t.Errorf("%+v, %v", tok, err)
	}
	if err := s.DeleteUser("ann"); err != nil {
		t.Fatal(err)
	}
	if n := len(s.Tokens("")); n != 1 {
		t.Errorf("%d tokens", n)
	}
	if err := s.Check(ann); err == nil {
		t.Error("a caller who was deleted")
	}
}

func second[T any](_ T, err error) error        { return err }
func third[T, U any](_ T, _ U, err error) error { return err }

// TestLastUsed: times of last use reach the file without a change, within a minute or so.
func TestLastUsed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(t.Context(), dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}()
		c, _ := s.must(t, RootName)
		before, err := os.Stat(filepath.Join(dir, stateName))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(useEvery + time.Second)
		synctest.Wait()
		f, err := readState(filepath.Join(dir, stateName))
		if err != nil || f.Credentials[0].ID != c.Token || f.Credentials[0].LastUsed.IsZero() {
			t.Fatalf("%+v, %v", f, err)
		}
		first, err := os.Stat(filepath.Join(dir, stateName))
		if err != nil || os.SameFile(before, first) {
			t.Fatal("not written", err)
		}
		time.Sleep(10 * useEvery)
		synctest.Wait()
		if now, err := os.Stat(filepath.Join(dir, stateName)); err != nil || !os.SameFile(first, now) {
			t.Error("written without need", err)
		}
	})
}

// TestCannotWrite: what gives something is not in effect, what takes something away is.
func TestCannotWrite(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("a folder in use cannot be moved here")
	}
	dir := filepath.Join(t.TempDir(), "iam")
	s := open(t, dir, Options{})
	c, secret := s.must(t, "ann", RoleAdmin, RoleAnalyst)
	aside := dir + ".aside"
	if err := os.Rename(dir, aside); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateUser("bob", nil, ""); err == nil {
		t.Error("bob was made")
	}
	if _, err := s.SetRoles("ann", []Role{RoleRecorder}); err == nil {
		t.Error("ann has another role")
	}
	if n := len(s.Users()); n != 2 {
		t.Errorf("%d principals", n)
	}
	if _, err := s.SetRoles("ann", []Role{RoleAnalyst}); err == nil || !strings.Contains(err.Error(), "in effect, but not written yet") {
		t.Errorf("%v", err)
	}
	if d := s.Authorize(t.Context(), c, CreateUser, Resource{Type: TypeUser, ID: "x"}); d.Allowed {
		t.Error("still an admin")
	}
	if _, err := s.RevokeToken(c.Token); err == nil {
		t.Error("written")
	}
	if _, err := s.Authenticate(t.Context(), secret, home); err == nil {
		t.Error("a revoked token")
	}
	if err := s.Flush(); err == nil {
		t.Error("written")
	}
	if err := os.Rename(aside, dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	f, err := readState(filepath.Join(dir, stateName))
	if err != nil || f.Credentials[0].Revoked.IsZero() || !slices.Equal(f.Users[0].Roles, []Role{RoleAnalyst}) {
		t.Errorf("%+v, %v", f, err)
	}
}

// TestMany: changes and calls at the same time. It is for the race detector.
func TestMany(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	root, secret := s.must(t, RootName)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			name := fmt.Sprint("user", i)
			if _, err := s.CreateUser(name, []Role{RoleAnalyst}, "root"); err != nil {
				t.Error(err)
			}
			tok, text, err := s.CreateToken(TokenSpec{User: name, By: "root"})
			if err != nil {
				t.Error(err)
			}
			for range 20 {
				c, err := s.Authenticate(t.Context(), text, home)
				if err != nil {
					t.Error(err)
				}
				if !s.Authorize(t.Context(), c, SearchEvents, Resource{}).Allowed {
					t.Error("an analyst")
				}
			}
			if _, err := s.RevokeToken(tok.ID); err != nil {
				t.Error(err)
			}
			if _, err := s.Authenticate(t.Context(), text, home); err == nil {
				t.Error("revoked")
			}
		})
		wg.Go(func() {
			for range 50 {
				if _, err := s.Authenticate(t.Context(), secret, home); err != nil {
					t.Error(err)
				}
				if !s.Authorize(t.Context(), root, CompactStore, Resource{}).Allowed || len(s.Tokens("")) == 0 {
					t.Error("root")
				}
			}
			if err := s.Flush(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func BenchmarkCall(b *testing.B) {
	s, err := Open(b.Context(), b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if _, err := s.CreateUser("ann", []Role{RoleAnalyst}, ""); err != nil {
		b.Fatal(err)
	}
	_, secret, err := s.CreateToken(TokenSpec{User: "ann"})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		c, err := s.Authenticate(b.Context(), secret, home)
		if err != nil {
			b.Fatal(err)
		}
		if !s.Authorize(b.Context(), c, SearchEvents, Resource{}).Allowed {
			b.Fatal("not allowed")
		}
	}
}

func BenchmarkParsePolicies(b *testing.B) {
	for b.Loop() {
		if _, err := ParsePolicies(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCreateToken(b *testing.B) {
	s, err := Open(b.Context(), b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for b.Loop() {
		if _, _, err := s.CreateToken(TokenSpec{User: RootName}); err != nil {
			b.Fatal(err)
		}
	}
}
