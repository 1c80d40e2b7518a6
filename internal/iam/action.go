package iam

import "slices"

// Action is something that a caller wants to do. There is one for each operation of the API.
type Action string

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
