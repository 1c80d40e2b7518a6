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
