package iam

import (
	"slices"
	"strings"
)

// Action is something that a caller wants to do. There is one for each operation of the API, and one for each operation that is
// served to AWS's clients, as AWS writes it: cloudtrail:LookupEvents.
type Action string

// AWS reports whether it is an action of the AWS-compatible endpoint.
func (a Action) AWS() bool { return strings.Contains(string(a), ":") }

// The actions. [Actions] tells what each one is.
const (
	GetCallerIdentity Action = "GetCallerIdentity"

	SearchEvents Action = "SearchEvents"
	GetEvent     Action = "GetEvent"
	TailEvents   Action = "TailEvents"
	GetHistogram Action = "GetHistogram"
	GetTop       Action = "GetTop"
	RunQuery     Action = "RunQuery"
	ReadCatalog  Action = "ReadCatalog"

	GetStatus       Action = "GetStatus"
	GetMetrics      Action = "GetMetrics"
	GetLedger       Action = "GetLedger"
	ListSources     Action = "ListSources"
	GetSource       Action = "GetSource"
	ListDeadLetters Action = "ListDeadLetters"
	GetStore        Action = "GetStore"
	GetJournal      Action = "GetJournal"
	ListHolds       Action = "ListHolds"

	GetConfiguration Action = "GetConfiguration"
	ListUsers        Action = "ListUsers"
	GetUser          Action = "GetUser"
	ListTokens       Action = "ListTokens"
	ListPolicies     Action = "ListPolicies"

	PutEvents Action = "PutEvents"

	PauseSource         Action = "PauseSource"
	ResumeSource        Action = "ResumeSource"
	ReplayDeadLetters   Action = "ReplayDeadLetters"
	DeleteDeadLetters   Action = "DeleteDeadLetters"
	PutHold             Action = "PutHold"
	DeleteHold          Action = "DeleteHold"
	CompactStore        Action = "CompactStore"
	ExpireStore         Action = "ExpireStore"
	ReloadConfiguration Action = "ReloadConfiguration"

	CreateUser  Action = "CreateUser"
	UpdateUser  Action = "UpdateUser"
	DeleteUser  Action = "DeleteUser"
	CreateToken Action = "CreateToken"
	RevokeToken Action = "RevokeToken"

	ListAccessKeys  Action = "ListAccessKeys"
	CreateAccessKey Action = "CreateAccessKey"
	UpdateAccessKey Action = "UpdateAccessKey"
	DeleteAccessKey Action = "DeleteAccessKey"

	ListRoles          Action = "ListRoles"
	GetRole            Action = "GetRole"
	CreateRole         Action = "CreateRole"
	UpdateRole         Action = "UpdateRole"
	DeleteRole         Action = "DeleteRole"
	RevokeRoleSessions Action = "RevokeRoleSessions"

	// STSAssumeRole is what [Service.AssumeRole] asks the policies for.
	STSAssumeRole Action = "sts:AssumeRole"
)

// Group is a set of actions that policies can name as one.
type Group string

// The groups.
const (
	GroupSelf              Group = "Self"
	GroupReadEvents        Group = "ReadEvents"
	GroupReadOperations    Group = "ReadOperations"
	GroupReadConfiguration Group = "ReadConfiguration"
	GroupWriteEvents       Group = "WriteEvents"
	GroupOperate           Group = "Operate"
	GroupManageAccess      Group = "ManageAccess"
	GroupReadObjects       Group = "ReadObjects" // of buckets
	GroupWriteObjects      Group = "WriteObjects"
	GroupManageBuckets     Group = "ManageBuckets"
	GroupManageTrails      Group = "ManageTrails"
	GroupUseKeys           Group = "UseKeys" // of the key ring
	GroupManageKeys        Group = "ManageKeys"
	GroupPublishTopics     Group = "PublishTopics"
	GroupManageTopics      Group = "ManageTopics"
)

// ResourceType says what an action is done to.
type ResourceType string

// The types of resources.
const (
	TypeServer ResourceType = "Server" // the installation as a whole
	TypeSource ResourceType = "Source" // by name
	TypeUser   ResourceType = "User"   // by name; root is one here, of the type Root in policies
	TypeToken  ResourceType = "Token"  // by id
	// TypeAccessKey is an access key, by id.
	TypeAccessKey ResourceType = "AccessKey"
	// TypeAssumable is a role to assume, by ARN, or by name for one of the account of the installation.
	TypeAssumable ResourceType = "Assumable"
	// TypeResource is anything else that has an ARN, by that.
	TypeResource ResourceType = "Resource"
)

// ActionInfo tells about an action.
type ActionInfo struct {
	Action Action       `json:"action"`
	Group  Group        `json:"group"`
	On     ResourceType `json:"on"`
	Write  bool         `json:"write"` // changes something
	Doc    string       `json:"doc"`
}

// Actions lists all actions.
func Actions() []ActionInfo { return slices.Clone(actions) }

var actions = []ActionInfo{
	{GetCallerIdentity, GroupSelf, TypeServer, false, "who the caller is"},

	{SearchEvents, GroupReadEvents, TypeServer, false, "find events by filters"},
	{GetEvent, GroupReadEvents, TypeServer, false, "one event, with its record as it came"},
	{TailEvents, GroupReadEvents, TypeServer, false, "follow events as they arrive"},
	{GetHistogram, GroupReadEvents, TypeServer, false, "events over time"},
	{GetTop, GroupReadEvents, TypeServer, false, "the most frequent values of a field"},
	{RunQuery, GroupReadEvents, TypeServer, false, "SQL over events, in a sandbox"},
	{ReadCatalog, GroupReadEvents, TypeServer, false, "the Iceberg catalogue, and with it the files of the table"},

	{GetStatus, GroupReadOperations, TypeServer, false, "health in detail: lag, queues, disk"},
	{GetMetrics, GroupReadOperations, TypeServer, false, "metrics for Prometheus"},
	{GetLedger, GroupReadOperations, TypeServer, false, "what was listed, read, kept and failed"},
	{ListSources, GroupReadOperations, TypeServer, false, "sources, with lag, rate and errors"},
	{GetSource, GroupReadOperations, TypeSource, false, "one source, with its last errors"},
	{ListDeadLetters, GroupReadOperations, TypeSource, false, "messages and objects that could not be read"},
	{GetStore, GroupReadOperations, TypeServer, false, "what the store holds, by day"},
	{GetJournal, GroupReadOperations, TypeServer, false, "the journal and its followers"},
	{ListHolds, GroupReadOperations, TypeServer, false, "what retention must not touch"},

	{GetConfiguration, GroupReadConfiguration, TypeServer, false, "the configuration in effect, secrets masked"},
	{ListUsers, GroupReadConfiguration, TypeServer, false, "users and their roles"},
	{GetUser, GroupReadConfiguration, TypeUser, false, "one user"},
	{ListTokens, GroupReadConfiguration, TypeUser, false, "tokens of a user, without their secrets"},
	{ListPolicies, GroupReadConfiguration, TypeServer, false, "policies in effect"},

	{PutEvents, GroupWriteEvents, TypeSource, true, "put events in"},

	{PauseSource, GroupOperate, TypeSource, true, "stop reading from a source"},
	{ResumeSource, GroupOperate, TypeSource, true, "read from it again"},
	{ReplayDeadLetters, GroupOperate, TypeSource, true, "try again what could not be read"},
	{DeleteDeadLetters, GroupOperate, TypeSource, true, "give up what could not be read"},
	{PutHold, GroupOperate, TypeServer, true, "keep retention from removing anything"},
	{DeleteHold, GroupOperate, TypeServer, true, "let retention go on"},
	{CompactStore, GroupOperate, TypeServer, true, "fewer, larger files"},
	{ExpireStore, GroupOperate, TypeServer, true, "remove what is too old, now"},
	{ReloadConfiguration, GroupOperate, TypeServer, true, "read the configuration again"},

	{CreateUser, GroupManageAccess, TypeUser, true, "make a user with roles"},
	{UpdateUser, GroupManageAccess, TypeUser, true, "give a user other roles"},
	{DeleteUser, GroupManageAccess, TypeUser, true, "delete a user and all tokens of it"},
	{CreateToken, GroupManageAccess, TypeUser, true, "make a token for a user"},
	{RevokeToken, GroupManageAccess, TypeToken, true, "make a token useless"},

	{ListAccessKeys, GroupReadConfiguration, TypeUser, false, "access keys of a user, without their secrets"},
	{ListRoles, GroupReadConfiguration, TypeServer, false, "roles that can be assumed"},
	{GetRole, GroupReadConfiguration, TypeAssumable, false, "one role that can be assumed, with its trust document"},
	{CreateAccessKey, GroupManageAccess, TypeUser, true, "make an access key for a user"},
	{UpdateAccessKey, GroupManageAccess, TypeAccessKey, true, "switch an access key off and on"},
	{DeleteAccessKey, GroupManageAccess, TypeAccessKey, true, "delete an access key, and end the sessions that came of it"},
	{CreateRole, GroupManageAccess, TypeAssumable, true, "make a role that can be assumed"},
	{UpdateRole, GroupManageAccess, TypeAssumable, true, "change what a role may do, or who may assume it"},
	{DeleteRole, GroupManageAccess, TypeAssumable, true, "delete a role, and end its sessions"},
	{RevokeRoleSessions, GroupManageAccess, TypeAssumable, true, "end the sessions of a role that were issued until now"},

	{"sts:GetCallerIdentity", GroupSelf, TypeServer, false, "who the caller is"},
	{"sts:GetSessionToken", GroupSelf, TypeServer, false, "temporary credentials of the caller"},
	{"sts:GetAccessKeyInfo", GroupSelf, TypeServer, false, "the account of an access key"},
	{STSAssumeRole, GroupSelf, TypeAssumable, false, "temporary credentials of a role, if its trust document lets the caller"},

	{"cloudtrail:LookupEvents", GroupReadEvents, TypeServer, false, "event history of the account"},
	{"cloudtrail:StartQuery", GroupReadEvents, TypeResource, false, "SQL over event data stores"},
	{"cloudtrail:DescribeQuery", GroupReadEvents, TypeResource, false, "how a query is doing"},
	{"cloudtrail:GetQueryResults", GroupReadEvents, TypeResource, false, "what a query found"},
	{"cloudtrail:ListQueries", GroupReadEvents, TypeResource, false, "queries of an event data store"},
	{"cloudtrail:CancelQuery", GroupReadEvents, TypeResource, false, "end a query"},
	{"cloudtrail:ListEventDataStores", GroupReadEvents, TypeServer, false, "event data stores"},
	{"cloudtrail:GetEventDataStore", GroupReadEvents, TypeResource, false, "one event data store"},

	{"cloudtrail:GetChannel", GroupReadConfiguration, TypeResource, false, "one channel"},
	{"cloudtrail:ListChannels", GroupReadConfiguration, TypeServer, false, "channels"},
	{"cloudtrail:ListTags", GroupReadConfiguration, TypeResource, false, "tags of event data stores and channels"},

	{"cloudtrail-data:PutAuditEvents", GroupWriteEvents, TypeResource, true, "put events of your own into a channel"},

	{"cloudtrail:CreateEventDataStore", GroupOperate, TypeServer, true, "make an event data store"},
	{"cloudtrail:UpdateEventDataStore", GroupOperate, TypeResource, true, "change an event data store"},
	{"cloudtrail:DeleteEventDataStore", GroupOperate, TypeResource, true, "delete an event data store"},
	{"cloudtrail:RestoreEventDataStore", GroupOperate, TypeResource, true, "take back its deletion"},
	{"cloudtrail:StartEventDataStoreIngestion", GroupOperate, TypeResource, true, "let an event data store take events"},
	{"cloudtrail:StopEventDataStoreIngestion", GroupOperate, TypeResource, true, "let it take none"},
	{"cloudtrail:CreateChannel", GroupOperate, TypeServer, true, "make a channel"},
	{"cloudtrail:UpdateChannel", GroupOperate, TypeResource, true, "change a channel"},
	{"cloudtrail:DeleteChannel", GroupOperate, TypeResource, true, "delete a channel"},
	{"cloudtrail:AddTags", GroupOperate, TypeResource, true, "tag an event data store or a channel"},
	{"cloudtrail:RemoveTags", GroupOperate, TypeResource, true, "take tags away"},

	{"cloudtrail:DescribeTrails", GroupReadConfiguration, TypeServer, false, "trails"},
	{"cloudtrail:ListTrails", GroupReadConfiguration, TypeServer, false, "names of trails"},
	{"cloudtrail:GetTrail", GroupReadConfiguration, TypeResource, false, "one trail"},
	{"cloudtrail:GetTrailStatus", GroupReadConfiguration, TypeResource, false, "whether a trail logs, and what it delivered last"},
	{"cloudtrail:GetEventSelectors", GroupReadConfiguration, TypeResource, false, "which events a trail takes"},
	{"cloudtrail:GetInsightSelectors", GroupReadConfiguration, TypeResource, false, "which Insights a trail or an event data store has"},
	{"cloudtrail:ListPublicKeys", GroupReadConfiguration, TypeServer, false, "public keys of digests"},
	{"cloudtrail:GetResourcePolicy", GroupReadConfiguration, TypeResource, false, "policy of an event data store, a dashboard or a channel"},
	{"cloudtrail:GetEventConfiguration", GroupReadConfiguration, TypeResource, false, "what events of a trail or an event data store have beside"},
	{"cloudtrail:ListInsightsData", GroupReadEvents, TypeResource, false, "Insights events of a trail"},
	{"cloudtrail:ListInsightsMetricData", GroupReadEvents, TypeResource, false, "figures behind Insights"},
	{"cloudtrail:CreateTrail", GroupManageTrails, TypeResource, true, "make a trail"},
	{"cloudtrail:UpdateTrail", GroupManageTrails, TypeResource, true, "change a trail"},
	{"cloudtrail:DeleteTrail", GroupManageTrails, TypeResource, true, "delete a trail"},
	{"cloudtrail:StartLogging", GroupManageTrails, TypeResource, true, "let a trail deliver"},
	{"cloudtrail:StopLogging", GroupManageTrails, TypeResource, true, "let it deliver nothing"},
	{"cloudtrail:PutEventSelectors", GroupManageTrails, TypeResource, true, "change which events a trail takes"},
	{"cloudtrail:PutInsightSelectors", GroupManageTrails, TypeResource, true, "change which Insights there are"},
	{"cloudtrail:PutEventConfiguration", GroupManageTrails, TypeResource, true, "change what events have beside"},
	{"cloudtrail:PutResourcePolicy", GroupManageTrails, TypeResource, true, "give an event data store, a dashboard or a channel a policy"},
	{"cloudtrail:DeleteResourcePolicy", GroupManageTrails, TypeResource, true, "take it away"},
	{"cloudtrail:RegisterOrganizationDelegatedAdmin", GroupManageTrails, TypeResource, true, "let an account administer trails of the organisation"},
	{"cloudtrail:DeregisterOrganizationDelegatedAdmin", GroupManageTrails, TypeResource, true, "let it no more"},

	{"s3:ListAllMyBuckets", GroupReadObjects, TypeServer, false, "names of buckets"},
	{"s3:GetBucketLocation", GroupReadObjects, TypeResource, false, "the Region of a bucket"},
	{"s3:ListBucket", GroupReadObjects, TypeResource, false, "objects of a bucket"},
	{"s3:ListBucketVersions", GroupReadObjects, TypeResource, false, "versions of them"},
	{"s3:ListBucketMultipartUploads", GroupReadObjects, TypeResource, false, "uploads in parts that are under way"},
	{"s3:ListMultipartUploadParts", GroupReadObjects, TypeResource, false, "parts of an upload"},
	{"s3:GetObject", GroupReadObjects, TypeResource, false, "an object"},
	{"s3:GetObjectVersion", GroupReadObjects, TypeResource, false, "a version of an object"},
	{"s3:GetObjectAttributes", GroupReadObjects, TypeResource, false, "size and hashes of an object"},
	{"s3:GetObjectVersionAttributes", GroupReadObjects, TypeResource, false, "those of a version"},
	{"s3:GetObjectTagging", GroupReadObjects, TypeResource, false, "tags of an object"},
	{"s3:GetObjectVersionTagging", GroupReadObjects, TypeResource, false, "tags of a version"},
	{"s3:GetObjectAcl", GroupReadObjects, TypeResource, false, "access list of an object"},
	{"s3:GetObjectVersionAcl", GroupReadObjects, TypeResource, false, "access list of a version"},
	{"s3:GetObjectRetention", GroupReadObjects, TypeResource, false, "until when an object is kept"},
	{"s3:GetObjectLegalHold", GroupReadObjects, TypeResource, false, "whether an object is held"},
	{"s3:PutObject", GroupWriteObjects, TypeResource, true, "put an object"},
	{"s3:DeleteObject", GroupWriteObjects, TypeResource, true, "delete an object"},
	{"s3:DeleteObjectVersion", GroupWriteObjects, TypeResource, true, "delete a version of an object"},
	{"s3:AbortMultipartUpload", GroupWriteObjects, TypeResource, true, "give up an upload in parts"},
	{"s3:PutObjectTagging", GroupWriteObjects, TypeResource, true, "tag an object"},
	{"s3:PutObjectVersionTagging", GroupWriteObjects, TypeResource, true, "tag a version"},
	{"s3:DeleteObjectTagging", GroupWriteObjects, TypeResource, true, "take tags of an object away"},
	{"s3:DeleteObjectVersionTagging", GroupWriteObjects, TypeResource, true, "take those of a version away"},
	{"s3:RestoreObject", GroupWriteObjects, TypeResource, true, "bring back an archived object"},
	{"s3:GetBucketPolicy", GroupReadConfiguration, TypeResource, false, "policy of a bucket"},
	{"s3:GetBucketPolicyStatus", GroupReadConfiguration, TypeResource, false, "whether that is public"},
	{"s3:GetBucketAcl", GroupReadConfiguration, TypeResource, false, "access list of a bucket"},
	{"s3:GetBucketPublicAccessBlock", GroupReadConfiguration, TypeResource, false, "what a bucket blocks of public access"},
	{"s3:GetAccountPublicAccessBlock", GroupReadConfiguration, TypeServer, false, "what the account blocks of it"},
	{"s3:GetBucketOwnershipControls", GroupReadConfiguration, TypeResource, false, "who owns objects"},
	{"s3:GetEncryptionConfiguration", GroupReadConfiguration, TypeResource, false, "encryption of a bucket"},
	{"s3:GetLifecycleConfiguration", GroupReadConfiguration, TypeResource, false, "lifecycle rules"},
	{"s3:GetBucketLogging", GroupReadConfiguration, TypeResource, false, "where accesses are logged"},
	{"s3:GetBucketNotification", GroupReadConfiguration, TypeResource, false, "who is notified"},
	{"s3:GetBucketObjectLockConfiguration", GroupReadConfiguration, TypeResource, false, "object lock"},
	{"s3:GetBucketRequestPayment", GroupReadConfiguration, TypeResource, false, "who pays"},
	{"s3:GetBucketTagging", GroupReadConfiguration, TypeResource, false, "tags of a bucket"},
	{"s3:GetBucketVersioning", GroupReadConfiguration, TypeResource, false, "versioning"},
	{"s3:GetBucketCORS", GroupReadConfiguration, TypeResource, false, "origins that browsers may ask from"},
	{"s3:GetBucketWebsite", GroupReadConfiguration, TypeResource, false, "website of a bucket"},
	{"s3:GetReplicationConfiguration", GroupReadConfiguration, TypeResource, false, "replication"},
	{"s3:GetAccelerateConfiguration", GroupReadConfiguration, TypeResource, false, "acceleration"},
	{"s3:GetAnalyticsConfiguration", GroupReadConfiguration, TypeResource, false, "analytics"},
	{"s3:GetInventoryConfiguration", GroupReadConfiguration, TypeResource, false, "inventories"},
	{"s3:GetMetricsConfiguration", GroupReadConfiguration, TypeResource, false, "request metrics"},
	{"s3:GetIntelligentTieringConfiguration", GroupReadConfiguration, TypeResource, false, "tiering"},
	{"s3:CreateBucket", GroupManageBuckets, TypeResource, true, "make a bucket"},
	{"s3:DeleteBucket", GroupManageBuckets, TypeResource, true, "delete a bucket"},
	{"s3:PutBucketPolicy", GroupManageBuckets, TypeResource, true, "change the policy of a bucket"},
	{"s3:DeleteBucketPolicy", GroupManageBuckets, TypeResource, true, "take it away"},
	{"s3:PutBucketAcl", GroupManageBuckets, TypeResource, true, "change its access list"},
	{"s3:PutBucketPublicAccessBlock", GroupManageBuckets, TypeResource, true, "change what it blocks of public access"},
	{"s3:PutAccountPublicAccessBlock", GroupManageBuckets, TypeServer, true, "change what the account blocks of it"},
	{"s3:PutBucketOwnershipControls", GroupManageBuckets, TypeResource, true, "change who owns objects"},
	{"s3:PutEncryptionConfiguration", GroupManageBuckets, TypeResource, true, "change its encryption"},
	{"s3:PutLifecycleConfiguration", GroupManageBuckets, TypeResource, true, "change its lifecycle rules"},
	{"s3:PutBucketLogging", GroupManageBuckets, TypeResource, true, "change where accesses are logged"},
	{"s3:PutBucketNotification", GroupManageBuckets, TypeResource, true, "change who is notified"},
	{"s3:PutBucketObjectLockConfiguration", GroupManageBuckets, TypeResource, true, "change object lock"},
	{"s3:PutBucketRequestPayment", GroupManageBuckets, TypeResource, true, "change who pays"},
	{"s3:PutBucketTagging", GroupManageBuckets, TypeResource, true, "tag a bucket"},
	{"s3:PutBucketVersioning", GroupManageBuckets, TypeResource, true, "change versioning"},
	{"s3:PutBucketCORS", GroupManageBuckets, TypeResource, true, "change origins that browsers may ask from"},
	{"s3:PutBucketWebsite", GroupManageBuckets, TypeResource, true, "make a bucket a website"},
	{"s3:DeleteBucketWebsite", GroupManageBuckets, TypeResource, true, "make it none"},
	{"s3:PutReplicationConfiguration", GroupManageBuckets, TypeResource, true, "change replication"},
	{"s3:PutAccelerateConfiguration", GroupManageBuckets, TypeResource, true, "change acceleration"},
	{"s3:PutAnalyticsConfiguration", GroupManageBuckets, TypeResource, true, "change analytics"},
	{"s3:PutInventoryConfiguration", GroupManageBuckets, TypeResource, true, "change inventories"},
	{"s3:PutMetricsConfiguration", GroupManageBuckets, TypeResource, true, "change request metrics"},
	{"s3:PutIntelligentTieringConfiguration", GroupManageBuckets, TypeResource, true, "change tiering"},
	{"s3:PutObjectAcl", GroupManageBuckets, TypeResource, true, "change the access list of an object"},
	{"s3:PutObjectVersionAcl", GroupManageBuckets, TypeResource, true, "change that of a version"},
	{"s3:PutObjectRetention", GroupManageBuckets, TypeResource, true, "change until when an object is kept"},
	{"s3:PutObjectLegalHold", GroupManageBuckets, TypeResource, true, "hold an object, or let it go"},
	{"s3:BypassGovernanceRetention", GroupManageBuckets, TypeResource, true, "delete what governance keeps"},

	{"kms:Encrypt", GroupUseKeys, TypeResource, false, "encrypt with a key"},
	{"kms:Decrypt", GroupUseKeys, TypeResource, false, "decrypt with a key"},
	{"kms:GenerateDataKey", GroupUseKeys, TypeResource, false, "a data key under a key"},
	{"kms:GenerateDataKeyWithoutPlaintext", GroupUseKeys, TypeResource, false, "the same, wrapped alone"},
	{"kms:ReEncryptFrom", GroupUseKeys, TypeResource, false, "decrypt with a key what another one encrypts"},
	{"kms:ReEncryptTo", GroupUseKeys, TypeResource, false, "encrypt with a key what another one decrypts"},
	{"kms:GenerateRandom", GroupUseKeys, TypeServer, false, "random bytes"},
	{"kms:DescribeKey", GroupReadConfiguration, TypeResource, false, "one key"},
	{"kms:ListKeys", GroupReadConfiguration, TypeServer, false, "keys"},
	{"kms:ListAliases", GroupReadConfiguration, TypeServer, false, "aliases of keys"},
	{"kms:GetKeyPolicy", GroupReadConfiguration, TypeResource, false, "policy of a key"},
	{"kms:ListKeyPolicies", GroupReadConfiguration, TypeResource, false, "names of its policies"},
	{"kms:GetKeyRotationStatus", GroupReadConfiguration, TypeResource, false, "whether a key rotates"},
	{"kms:ListKeyRotations", GroupReadConfiguration, TypeResource, false, "when it did"},
	{"kms:ListResourceTags", GroupReadConfiguration, TypeResource, false, "tags of a key"},
	{"kms:CreateKey", GroupManageKeys, TypeServer, true, "make a key"},
	{"kms:UpdateKeyDescription", GroupManageKeys, TypeResource, true, "change what a key is for"},
	{"kms:EnableKey", GroupManageKeys, TypeResource, true, "switch a key on"},
	{"kms:DisableKey", GroupManageKeys, TypeResource, true, "switch a key off"},
	{"kms:PutKeyPolicy", GroupManageKeys, TypeResource, true, "change the policy of a key"},
	{"kms:CreateAlias", GroupManageKeys, TypeResource, true, "give a key another name"},
	{"kms:UpdateAlias", GroupManageKeys, TypeResource, true, "give that name to another key"},
	{"kms:DeleteAlias", GroupManageKeys, TypeResource, true, "delete such a name"},
	{"kms:EnableKeyRotation", GroupManageKeys, TypeResource, true, "let a key rotate"},
	{"kms:DisableKeyRotation", GroupManageKeys, TypeResource, true, "let it rotate no more"},
	{"kms:RotateKeyOnDemand", GroupManageKeys, TypeResource, true, "rotate a key now"},
	{"kms:ScheduleKeyDeletion", GroupManageKeys, TypeResource, true, "delete a key in some days"},
	{"kms:CancelKeyDeletion", GroupManageKeys, TypeResource, true, "take that back"},
	{"kms:TagResource", GroupManageKeys, TypeResource, true, "tag a key"},
	{"kms:UntagResource", GroupManageKeys, TypeResource, true, "take tags away"},

	{"sns:Publish", GroupPublishTopics, TypeResource, true, "publish to a topic"},
	{"sns:ListTopics", GroupReadConfiguration, TypeServer, false, "topics"},
	{"sns:GetTopicAttributes", GroupReadConfiguration, TypeResource, false, "one topic"},
	{"sns:ListSubscriptions", GroupReadConfiguration, TypeServer, false, "subscriptions"},
	{"sns:ListSubscriptionsByTopic", GroupReadConfiguration, TypeResource, false, "those of a topic"},
	{"sns:GetSubscriptionAttributes", GroupReadConfiguration, TypeResource, false, "one subscription"},
	{"sns:ListTagsForResource", GroupReadConfiguration, TypeResource, false, "tags of a topic"},
	{"sns:GetDataProtectionPolicy", GroupReadConfiguration, TypeResource, false, "data protection policy of a topic"},
	{"sns:CreateTopic", GroupManageTopics, TypeResource, true, "make a topic"},
	{"sns:DeleteTopic", GroupManageTopics, TypeResource, true, "delete a topic"},
	{"sns:SetTopicAttributes", GroupManageTopics, TypeResource, true, "change a topic"},
	{"sns:Subscribe", GroupManageTopics, TypeResource, true, "subscribe somebody to a topic"},
	{"sns:ConfirmSubscription", GroupManageTopics, TypeResource, true, "confirm a subscription"},
	{"sns:Unsubscribe", GroupManageTopics, TypeResource, true, "end a subscription"},
	{"sns:SetSubscriptionAttributes", GroupManageTopics, TypeResource, true, "change a subscription"},
	{"sns:AddPermission", GroupManageTopics, TypeResource, true, "let others use a topic"},
	{"sns:RemovePermission", GroupManageTopics, TypeResource, true, "let them no more"},
	{"sns:TagResource", GroupManageTopics, TypeResource, true, "tag a topic"},
	{"sns:UntagResource", GroupManageTopics, TypeResource, true, "take tags away"},
	{"sns:PutDataProtectionPolicy", GroupManageTopics, TypeResource, true, "change the data protection policy of a topic"},

	{"organizations:DescribeOrganization", GroupReadConfiguration, TypeServer, false, "the organisation"},
	{"organizations:ListAccounts", GroupReadConfiguration, TypeServer, false, "its accounts"},
	{"organizations:DescribeAccount", GroupReadConfiguration, TypeResource, false, "one of its accounts"},
	{"organizations:ListRoots", GroupReadConfiguration, TypeServer, false, "its root"},
	{"organizations:ListParents", GroupReadConfiguration, TypeResource, false, "what an account or a unit is in"},
	{"organizations:ListChildren", GroupReadConfiguration, TypeResource, false, "what is in the root or a unit"},
	{"organizations:ListOrganizationalUnitsForParent", GroupReadConfiguration, TypeResource, false, "units in the root or a unit"},
	{"organizations:ListAccountsForParent", GroupReadConfiguration, TypeResource, false, "accounts in the root or a unit"},
	{"organizations:DescribeOrganizationalUnit", GroupReadConfiguration, TypeResource, false, "one unit"},
	{"organizations:ListDelegatedAdministrators", GroupReadConfiguration, TypeServer, false, "accounts that administer services"},
	{"organizations:ListDelegatedServicesForAccount", GroupReadConfiguration, TypeResource, false, "services that an account administers"},
	{"organizations:ListAWSServiceAccessForOrganization", GroupReadConfiguration, TypeServer, false, "services that work across the organisation"},
	{"organizations:ListTagsForResource", GroupReadConfiguration, TypeResource, false, "tags of what is in the organisation"},

	{"iam:GetUser", GroupReadConfiguration, TypeUser, false, "one user"},
	{"iam:ListUsers", GroupReadConfiguration, TypeServer, false, "users"},
	{"iam:ListAccessKeys", GroupReadConfiguration, TypeUser, false, "access keys of a user"},
	{"iam:GetAccessKeyLastUsed", GroupReadConfiguration, TypeUser, false, "when an access key was last used"},
	{"iam:GetRole", GroupReadConfiguration, TypeAssumable, false, "one role"},
	{"iam:ListRoles", GroupReadConfiguration, TypeServer, false, "roles"},
	{"iam:ListAttachedUserPolicies", GroupReadConfiguration, TypeUser, false, "what a user may do"},
	{"iam:ListAttachedRolePolicies", GroupReadConfiguration, TypeAssumable, false, "what a role may do"},
	{"iam:ListPolicies", GroupReadConfiguration, TypeServer, false, "the managed policies"},
	{"iam:GetPolicy", GroupReadConfiguration, TypeResource, false, "one managed policy"},
	{"iam:GetPolicyVersion", GroupReadConfiguration, TypeResource, false, "the text of a managed policy"},
	{"iam:GetAccountSummary", GroupReadConfiguration, TypeServer, false, "how many users, keys and roles there are"},
	{"iam:ListAccountAliases", GroupReadConfiguration, TypeServer, false, "aliases of the account: none"},

	{"iam:CreateUser", GroupManageAccess, TypeUser, true, "make a user"},
	{"iam:DeleteUser", GroupManageAccess, TypeUser, true, "delete a user"},
	{"iam:CreateAccessKey", GroupManageAccess, TypeUser, true, "make an access key for a user"},
	{"iam:UpdateAccessKey", GroupManageAccess, TypeUser, true, "switch an access key of a user off and on"},
	{"iam:DeleteAccessKey", GroupManageAccess, TypeUser, true, "delete an access key of a user"},
	{"iam:AttachUserPolicy", GroupManageAccess, TypeUser, true, "give a user a managed policy"},
	{"iam:DetachUserPolicy", GroupManageAccess, TypeUser, true, "take one away"},
	{"iam:CreateRole", GroupManageAccess, TypeAssumable, true, "make a role"},
	{"iam:UpdateRole", GroupManageAccess, TypeAssumable, true, "change description and longest session of a role"},
	{"iam:DeleteRole", GroupManageAccess, TypeAssumable, true, "delete a role"},
	{"iam:UpdateAssumeRolePolicy", GroupManageAccess, TypeAssumable, true, "change who may assume a role"},
	{"iam:AttachRolePolicy", GroupManageAccess, TypeAssumable, true, "give a role a managed policy"},
	{"iam:DetachRolePolicy", GroupManageAccess, TypeAssumable, true, "take one away"},
}

// Groups lists the groups of actions, in the order of [Actions].
func Groups() []Group {
	var out []Group
	for _, a := range actions {
		if !slices.Contains(out, a.Group) {
			out = append(out, a.Group)
		}
	}
	return out
}
