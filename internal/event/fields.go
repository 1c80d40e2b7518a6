package event

// Field names a typed field of a record. Its place in [Fields] is its value.
type Field uint8

// The typed fields. See [Fields] for their paths and meaning.
const (
	EventVersion Field = iota
	UserIdentity
	IdentityType
	PrincipalID
	IdentityARN
	IdentityAccountID
	AccessKeyID
	UserName
	InvokedBy
	InvokedByDelegate
	IdentityProvider
	CredentialID
	OnBehalfOf
	OnBehalfOfUserID
	IdentityStoreARN
	InScopeOf
	InScopeOfSourceARN
	InScopeOfIssuedTo
	InScopeOfIssuerType
	SessionContext
	SessionIssuer
	IssuerType
	IssuerPrincipalID
	IssuerARN
	IssuerAccountID
	IssuerUserName
	WebIDFederationData
	FederatedProvider
	SessionAttributes
	SessionCreationDate
	MFAAuthenticated
	SourceIdentity
	EC2RoleDelivery
	AssumedRoot
	SignInSessionARN
	EventTime
	EventSource
	EventName
	AWSRegion
	SourceIPAddress
	UserAgent
	ErrorCode
	ErrorMessage
	RequestParameters
	ResponseElements
	AdditionalEventData
	RequestID
	EventID
	ReadOnly
	Resources
	EventType
	APIVersion
	ManagementEvent
	RecipientAccountID
	SharedEventID
	ServiceEventDetails
	VPCEndpointID
	VPCEndpointAccountID
	EventCategory
	Addendum
	SessionCredentialFromConsole
	EdgeDeviceDetails
	TLSDetails
	InsightDetails
	EventContext
	Annotation

	NumFields = iota
)

// FieldInfo describes a typed field.
type FieldInfo struct {
	Path string // as CloudTrail writes it, segments joined by dots
	Type string // string, boolean, object or array; null is possible everywhere
	Doc  string
}

// Fields is the table of typed fields, indexed by [Field]. Rules, SQL columns and docs/formats/fields.md come from it.
var Fields = [NumFields]FieldInfo{
	EventVersion:                 {"eventVersion", "string", "version of the record format, major.minor"},
	UserIdentity:                 {"userIdentity", "object", "who made the request"},
	IdentityType:                 {"userIdentity.type", "string", "Root, IAMUser, AssumedRole, Role, FederatedUser, AWSAccount, AWSService, IdentityCenterUser, SAMLUser, WebIdentityUser, Directory or Unknown"},
	PrincipalID:                  {"userIdentity.principalId", "string", "unique id of the caller; for temporary credentials id:session"},
	IdentityARN:                  {"userIdentity.arn", "string", "ARN of the caller"},
	IdentityAccountID:            {"userIdentity.accountId", "string", "account that owns the caller"},
	AccessKeyID:                  {"userIdentity.accessKeyId", "string", "access key that signed the request"},
	UserName:                     {"userIdentity.userName", "string", "friendly name of the caller"},
	InvokedBy:                    {"userIdentity.invokedBy", "string", "AWS service that made the request"},
	InvokedByDelegate:            {"userIdentity.invokedByDelegate", "object", "product provider with delegated access"},
	IdentityProvider:             {"userIdentity.identityProvider", "string", "external identity provider of SAMLUser and WebIdentityUser"},
	CredentialID:                 {"userIdentity.credentialId", "string", "bearer token credential"},
	OnBehalfOf:                   {"userIdentity.onBehalfOf", "object", "Identity Center user for whom the call was made"},
	OnBehalfOfUserID:             {"userIdentity.onBehalfOf.userId", "string", "id of that user"},
	IdentityStoreARN:             {"userIdentity.onBehalfOf.identityStoreArn", "string", "identity store of that user"},
	InScopeOf:                    {"userIdentity.inScopeOf", "object", "resource for which the credentials were issued (Lambda, ECS)"},
	InScopeOfSourceARN:           {"userIdentity.inScopeOf.sourceArn", "string", "ARN of that resource"},
	InScopeOfIssuedTo:            {"userIdentity.inScopeOf.credentialsIssuedTo", "string", "resource that received the credentials"},
	InScopeOfIssuerType:          {"userIdentity.inScopeOf.issuerType", "string", "kind of that resource, such as AWS::Lambda::Function"},
	SessionContext:               {"userIdentity.sessionContext", "object", "how a session came to be"},
	SessionIssuer:                {"userIdentity.sessionContext.sessionIssuer", "object", "who issued the session"},
	IssuerType:                   {"userIdentity.sessionContext.sessionIssuer.type", "string", "Root, IAMUser or Role"},
	IssuerPrincipalID:            {"userIdentity.sessionContext.sessionIssuer.principalId", "string", "id of the issuer"},
	IssuerARN:                    {"userIdentity.sessionContext.sessionIssuer.arn", "string", "ARN of the issuer"},
	IssuerAccountID:              {"userIdentity.sessionContext.sessionIssuer.accountId", "string", "account of the issuer"},
	IssuerUserName:               {"userIdentity.sessionContext.sessionIssuer.userName", "string", "name of the issuing role or user"},
	WebIDFederationData:          {"userIdentity.sessionContext.webIdFederationData", "object", "federation behind a web identity session"},
	FederatedProvider:            {"userIdentity.sessionContext.webIdFederationData.federatedProvider", "string", "OIDC provider behind the session"},
	SessionAttributes:            {"userIdentity.sessionContext.attributes", "object", "when the session began and whether with MFA"},
	SessionCreationDate:          {"userIdentity.sessionContext.attributes.creationDate", "string", "when the session began"},
	MFAAuthenticated:             {"userIdentity.sessionContext.attributes.mfaAuthenticated", "string", "\"true\" or \"false\""},
	SourceIdentity:               {"userIdentity.sessionContext.sourceIdentity", "string", "identity set when the role was assumed"},
	EC2RoleDelivery:              {"userIdentity.sessionContext.ec2RoleDelivery", "string", "1.0 (IMDSv1) or 2.0"},
	AssumedRoot:                  {"userIdentity.sessionContext.assumedRoot", "string", "true in sessions of sts:AssumeRoot"},
	SignInSessionARN:             {"userIdentity.sessionContext.signInSessionArn", "string", "console sign-in session"},
	EventTime:                    {"eventTime", "string", "when the request completed, UTC"},
	EventSource:                  {"eventSource", "string", "service, such as iam.amazonaws.com"},
	EventName:                    {"eventName", "string", "API action"},
	AWSRegion:                    {"awsRegion", "string", "Region of the request"},
	SourceIPAddress:              {"sourceIPAddress", "string", "caller's address, or a service name, or AWS Internal"},
	UserAgent:                    {"userAgent", "string", "caller's agent"},
	ErrorCode:                    {"errorCode", "string", "present only when the request failed"},
	ErrorMessage:                 {"errorMessage", "string", "present with errorCode"},
	RequestParameters:            {"requestParameters", "object", "parameters of the request"},
	ResponseElements:             {"responseElements", "object", "answer of a call that changed something"},
	AdditionalEventData:          {"additionalEventData", "object", "data outside request and response"},
	RequestID:                    {"requestID", "string", "id made by the called service"},
	EventID:                      {"eventID", "string", "unique id of the record"},
	ReadOnly:                     {"readOnly", "boolean", "whether the call only reads"},
	Resources:                    {"resources", "array", "resources touched: ARN, accountId, type"},
	EventType:                    {"eventType", "string", "AwsApiCall, AwsServiceEvent, AwsConsoleAction, AwsConsoleSignIn, AwsVpceEvent, AwsCloudTrailInsight, AwsAggregatedEvent or ActivityLog"},
	APIVersion:                   {"apiVersion", "string", "version of the called API"},
	ManagementEvent:              {"managementEvent", "boolean", "true for management, false for data events"},
	RecipientAccountID:           {"recipientAccountId", "string", "account that received this copy"},
	SharedEventID:                {"sharedEventID", "string", "the same in all copies sent to several accounts"},
	ServiceEventDetails:          {"serviceEventDetails", "object", "what a service event was about"},
	VPCEndpointID:                {"vpcEndpointId", "string", "VPC endpoint of the request"},
	VPCEndpointAccountID:         {"vpcEndpointAccountId", "string", "owner of that endpoint"},
	EventCategory:                {"eventCategory", "string", "Management, Data, NetworkActivity, Insight, Aggregated or ActivityAuditLog"},
	Addendum:                     {"addendum", "object", "why a record came late or changed"},
	SessionCredentialFromConsole: {"sessionCredentialFromConsole", "string", "\"true\" when the call came from a console session"},
	EdgeDeviceDetails:            {"edgeDeviceDetails", "object", "S3 on Outposts only"},
	TLSDetails:                   {"tlsDetails", "object", "TLS version, cipher suite, host name"},
	InsightDetails:               {"insightDetails", "object", "what an Insight event found"},
	EventContext:                 {"eventContext", "object", "event data stores with context keys only"},
	Annotation:                   {"annotation", "string", "a column of event data stores"},
}

// noField is what the key tables give for a key that is not typed.
const noField Field = 255

// The functions below are the key tables of the objects that hold typed fields; a test keeps them equal to Fields.

func topField(key []byte) Field {
	switch string(key) {
	case "eventVersion":
		return EventVersion
	case "userIdentity":
		return UserIdentity
	case "eventTime":
		return EventTime
	case "eventSource":
		return EventSource
	case "eventName":
		return EventName
	case "awsRegion":
		return AWSRegion
	case "sourceIPAddress":
		return SourceIPAddress
	case "userAgent":
		return UserAgent
	case "errorCode":
		return ErrorCode
	case "errorMessage":
		return ErrorMessage
	case "requestParameters":
		return RequestParameters
	case "responseElements":
		return ResponseElements
	case "additionalEventData":
		return AdditionalEventData
	case "requestID":
		return RequestID
	case "eventID":
		return EventID
	case "readOnly":
		return ReadOnly
	case "resources":
		return Resources
	case "eventType":
		return EventType
	case "apiVersion":
		return APIVersion
	case "managementEvent":
		return ManagementEvent
	case "recipientAccountId":
		return RecipientAccountID
	case "sharedEventID":
		return SharedEventID
	case "serviceEventDetails":
		return ServiceEventDetails
	case "vpcEndpointId":
		return VPCEndpointID
	case "vpcEndpointAccountId":
		return VPCEndpointAccountID
	case "eventCategory":
		return EventCategory
	case "addendum":
		return Addendum
	case "sessionCredentialFromConsole":
		return SessionCredentialFromConsole
	case "edgeDeviceDetails":
		return EdgeDeviceDetails
	case "tlsDetails":
		return TLSDetails
	case "insightDetails":
		return InsightDetails
	case "eventContext":
		return EventContext
	case "annotation":
		return Annotation
	}
	return noField
}

func identityField(key []byte) Field {
	switch string(key) {
	case "type":
		return IdentityType
	case "principalId":
		return PrincipalID
	case "arn":
		return IdentityARN
	case "accountId":
		return IdentityAccountID
	case "accessKeyId":
		return AccessKeyID
	case "userName":
		return UserName
	case "invokedBy":
		return InvokedBy
	case "invokedByDelegate":
		return InvokedByDelegate
	case "identityProvider":
		return IdentityProvider
	case "credentialId":
		return CredentialID
	case "onBehalfOf":
		return OnBehalfOf
	case "inScopeOf":
		return InScopeOf
	case "sessionContext":
		return SessionContext
	}
	return noField
}

func onBehalfOfField(key []byte) Field {
	switch string(key) {
	case "userId":
		return OnBehalfOfUserID
	case "identityStoreArn":
		return IdentityStoreARN
	}
	return noField
}

func inScopeOfField(key []byte) Field {
	switch string(key) {
	case "sourceArn":
		return InScopeOfSourceARN
	case "credentialsIssuedTo":
		return InScopeOfIssuedTo
	case "issuerType":
		return InScopeOfIssuerType
	}
	return noField
}

func sessionField(key []byte) Field {
	switch string(key) {
	case "sessionIssuer":
		return SessionIssuer
	case "webIdFederationData":
		return WebIDFederationData
	case "attributes":
		return SessionAttributes
	case "sourceIdentity":
		return SourceIdentity
	case "ec2RoleDelivery":
		return EC2RoleDelivery
	case "assumedRoot":
		return AssumedRoot
	case "signInSessionArn":
		return SignInSessionARN
	}
	return noField
}

func issuerField(key []byte) Field {
	switch string(key) {
	case "type":
		return IssuerType
	case "principalId":
		return IssuerPrincipalID
	case "arn":
		return IssuerARN
	case "accountId":
		return IssuerAccountID
	case "userName":
		return IssuerUserName
	}
	return noField
}

func federationField(key []byte) Field {
	switch string(key) {
	case "federatedProvider":
		return FederatedProvider
	}
	return noField
}

func attributeField(key []byte) Field {
	switch string(key) {
	case "creationDate":
		return SessionCreationDate
	case "mfaAuthenticated":
		return MFAAuthenticated
	}
	return noField
}
