package segment

import (
	"fmt"
	"strings"
	"sync"

	"spoor/internal/event"
)

// Type is the type of a column.
type Type uint8

// The types of columns. Every value can be null.
const (
	Text   Type = iota
	JSON        // text that is one JSON value
	Bytes       // bytes that need not be text
	Bool        //
	Long        // 64-bit integer
	Time        // microseconds since 1970 in UTC
	Day         // days since 1970
	Struct      // Column.Fields
	List        // Column.Fields[0] is the element
)

// Column is a column of a segment, or a field of a struct or list column.
type Column struct {
	Name string
	// ID is the field id by which Iceberg and Parquet know the column, for ever: a name may change, an id is never used
	// again.
	ID     int
	Type   Type
	Fields []Column
	Doc    string
	// Needle columns have Bloom filters, since people look for single values in them.
	Needle bool

	from  source
	field event.Field // with fromField
	like  packing
}

// source says where a value comes from.
type source uint8

const (
	fromField  source = iota // a typed field of the record
	fromMember               // the member of the JSON object around it that has the column's name
	fromTime
	fromDay
	fromAccount
	fromActor
	fromActorKind
	fromActorID
	fromActorName
	fromActorAccount
	fromActorSession
	fromFile
	fromOffset
	fromRawHead
	fromRawTail
	fromRaw
	fromRawBytes
)

// packing is how the values of a column are laid down.
type packing uint8

const (
	repeating packing = iota // few different values: dictionary
	unique                   // hardly a value twice: no dictionary
	bulky                    // long texts: no dictionary, no statistics
	ascending                // numbers close to each other: differences
)

// Columns returns the table of columns, in the order of the file. It is the same slice always and must not be changed.
func Columns() []Column { return table() }

var table = sync.OnceValue(func() []Column {
	const actorDoc = "who acted, the same for every session of it; see actor.md"
	return []Column{
		field(1, "eventVersion", event.EventVersion),
		object(2, "userIdentity", event.UserIdentity,
			field(3, "type", event.IdentityType),
			field(4, "principalId", event.PrincipalID),
			field(5, "arn", event.IdentityARN),
			field(6, "accountId", event.IdentityAccountID),
			field(7, "accessKeyId", event.AccessKeyID),
			field(8, "userName", event.UserName),
			field(9, "invokedBy", event.InvokedBy),
			field(10, "identityProvider", event.IdentityProvider),
			field(11, "credentialId", event.CredentialID),
			object(12, "onBehalfOf", event.OnBehalfOf,
				field(13, "userId", event.OnBehalfOfUserID),
				field(14, "identityStoreArn", event.IdentityStoreARN)),
			object(15, "inScopeOf", event.InScopeOf,
				field(16, "sourceArn", event.InScopeOfSourceARN),
				member(17, "sourceAccount", "account of that resource"),
				field(18, "issuerType", event.InScopeOfIssuerType),
				field(19, "credentialsIssuedTo", event.InScopeOfIssuedTo)),
			object(20, "invokedByDelegate", event.InvokedByDelegate,
				member(21, "accountId", "account of that provider")),
			object(22, "sessionContext", event.SessionContext,
				object(23, "attributes", event.SessionAttributes,
					field(24, "creationDate", event.SessionCreationDate),
					field(25, "mfaAuthenticated", event.MFAAuthenticated)),
				object(26, "sessionIssuer", event.SessionIssuer,
					field(27, "type", event.IssuerType),
					field(28, "principalId", event.IssuerPrincipalID),
					field(29, "arn", event.IssuerARN),
					field(30, "accountId", event.IssuerAccountID),
					field(31, "userName", event.IssuerUserName)),
				field(32, "sourceIdentity", event.SourceIdentity),
				field(33, "ec2RoleDelivery", event.EC2RoleDelivery),
				field(34, "assumedRoot", event.AssumedRoot),
				field(35, "signInSessionArn", event.SignInSessionARN),
				object(36, "webIdFederationData", event.WebIDFederationData,
					field(37, "federatedProvider", event.FederatedProvider),
					memberJSON(38, "attributes", "claims that were passed on")))),
		{ID: 39, Name: "eventTime", Type: Time, from: fromTime, like: ascending, Doc: "when the request completed; null when missing or not a time. The rows of a file are in this order"},
		field(40, "eventSource", event.EventSource),
		field(41, "eventName", event.EventName).needle(),
		field(42, "awsRegion", event.AWSRegion),
		field(43, "sourceIPAddress", event.SourceIPAddress).needle(),
		field(44, "userAgent", event.UserAgent),
		field(45, "errorCode", event.ErrorCode),
		field(46, "errorMessage", event.ErrorMessage),
		json(47, "requestParameters", event.RequestParameters),
		json(48, "responseElements", event.ResponseElements),
		json(49, "additionalEventData", event.AdditionalEventData),
		field(50, "requestID", event.RequestID).as(unique).needle(),
		field(51, "eventID", event.EventID).as(unique).needle(),
		boolean(52, "readOnly", event.ReadOnly),
		{ID: 53, Name: "resources", Type: List, from: fromField, field: event.Resources, Doc: event.Fields[event.Resources].Doc, Fields: []Column{
			{ID: 54, Name: "element", Type: Struct, Doc: "one resource; null for an element that is not an object", Fields: []Column{
				member(55, "ARN", "ARN of the resource").needle(),
				member(56, "ARNPrefix", "in place of ARN where many resources with this beginning were touched"),
				member(57, "accountId", "account that owns it"),
				member(58, "type", "its type, such as AWS::S3::Object"),
			}}}},
		field(59, "eventType", event.EventType),
		field(60, "apiVersion", event.APIVersion),
		boolean(61, "managementEvent", event.ManagementEvent),
		field(62, "recipientAccountId", event.RecipientAccountID),
		field(63, "sharedEventID", event.SharedEventID).as(unique).needle(),
		json(64, "serviceEventDetails", event.ServiceEventDetails),
		field(65, "vpcEndpointId", event.VPCEndpointID),
		field(66, "vpcEndpointAccountId", event.VPCEndpointAccountID),
		field(67, "eventCategory", event.EventCategory),
		json(68, "addendum", event.Addendum),
		field(69, "sessionCredentialFromConsole", event.SessionCredentialFromConsole),
		json(70, "edgeDeviceDetails", event.EdgeDeviceDetails),
		object(71, "tlsDetails", event.TLSDetails,
			member(72, "tlsVersion", "such as TLSv1.3"),
			member(73, "cipherSuite", "such as TLS_AES_128_GCM_SHA256"),
			member(74, "clientProvidedHostHeader", "host name that the client asked for"),
			member(75, "keyExchange", "such as x25519")),
		json(76, "insightDetails", event.InsightDetails),
		json(77, "eventContext", event.EventContext),
		field(78, "annotation", event.Annotation),
		{ID: 79, Name: "actor", Type: Struct, from: fromActor, Doc: actorDoc, Fields: []Column{
			{ID: 80, Name: "kind", from: fromActorKind, Doc: "root, user, role, person, workload, instance, function, federated, account, service, external, anonymous or unknown"},
			{ID: 81, Name: "id", from: fromActorID, Doc: "stable and unique"},
			{ID: 82, Name: "name", from: fromActorName, Doc: "short, for people"},
			{ID: 83, Name: "account", from: fromActorAccount, Doc: "account of the identity"},
			{ID: 84, Name: "session", from: fromActorSession, Doc: "session name"},
		}},
		{ID: 85, Name: "account", from: fromAccount, Doc: "account that the record belongs to: recipientAccountId, or else the caller's"},
		Column{ID: 86, Name: "accessKeyId", field: event.AccessKeyID, Doc: "userIdentity.accessKeyId again: filters on a field of a struct skip nothing in many engines"}.needle(),
		Column{ID: 87, Name: "actorId", from: fromActorID, Doc: "actor.id again"}.needle(),
		{ID: 88, Name: "eventDay", Type: Day, from: fromDay, Doc: "day of eventTime in UTC; 1970-01-01 when eventTime is null. One day a file"},
		{ID: 89, Name: "sourceObject", from: fromFile, Doc: "name of the file or object that the record was read from"},
		{ID: 90, Name: "sourceOffset", Type: Long, from: fromOffset, like: ascending, Doc: "byte offset of the record in it, after decompression"},
		{ID: 91, Name: "rawHead", from: fromRawHead, like: bulky, Doc: "the record up to the value of requestParameters; null where raw is not"},
		{ID: 92, Name: "rawTail", from: fromRawTail, like: bulky, Doc: "the record behind the text of eventID; null where raw is not"},
		{ID: 93, Name: "raw", from: fromRaw, like: bulky, Doc: "the whole record, only where the parts do not give it; bytes that are not UTF-8 are written as U+FFFD"},
		{ID: 94, Name: "rawBytes", Type: Bytes, from: fromRawBytes, like: bulky, Doc: "the record byte for byte, only where it is not UTF-8"},
	}
})

func field(id int, name string, f event.Field) Column {
	return Column{ID: id, Name: name, field: f, Doc: event.Fields[f].Doc}
}

func boolean(id int, name string, f event.Field) Column {
	return Column{ID: id, Name: name, Type: Bool, field: f, Doc: event.Fields[f].Doc}
}

func json(id int, name string, f event.Field) Column {
	return Column{ID: id, Name: name, Type: JSON, field: f, like: bulky, Doc: event.Fields[f].Doc}
}

func object(id int, name string, f event.Field, fields ...Column) Column {
	return Column{ID: id, Name: name, Type: Struct, field: f, Doc: event.Fields[f].Doc, Fields: fields}
}

func member(id int, name, doc string) Column {
	return Column{ID: id, Name: name, from: fromMember, Doc: doc}
}

func memberJSON(id int, name, doc string) Column {
	return Column{ID: id, Name: name, Type: JSON, from: fromMember, like: bulky, Doc: doc}
}

func (c Column) as(p packing) Column { c.like = p; return c }
func (c Column) needle() Column      { c.Needle = true; return c }

// DuckDB returns the type of the column in DuckDB's SQL. JSON columns are VARCHAR, as they lie in the file.
func (c Column) DuckDB() string {
	switch c.Type {
	case Bytes:
		return "BLOB"
	case Bool:
		return "BOOLEAN"
	case Long:
		return "BIGINT"
	case Time:
		return "TIMESTAMP WITH TIME ZONE"
	case Day:
		return "DATE"
	case List:
		return c.Fields[0].DuckDB() + "[]"
	case Struct:
		var b strings.Builder
		for i, f := range c.Fields {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%q %s", f.Name, f.DuckDB())
		}
		return "STRUCT(" + b.String() + ")"
	}
	return "VARCHAR"
}

// Markdown returns the table of columns for docs/formats/store.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| id | column | type | Bloom | what it is |\n|---|---|---|---|---|\n")
	var rows func(prefix string, cols []Column)
	rows = func(prefix string, cols []Column) {
		for _, c := range cols {
			bloom := ""
			if c.Needle {
				bloom = "yes"
			}
			path := prefix + c.Name
			fmt.Fprintf(&b, "| %d | `%s` | %s | %s | %s |\n", c.ID, path, c.Type, bloom, c.Doc)
			rows(path+".", c.Fields)
		}
	}
	rows("", Columns())
	return b.String()
}

// String names the type for documentation.
func (t Type) String() string {
	return [...]string{Text: "text", JSON: "JSON text", Bytes: "bytes", Bool: "boolean", Long: "64-bit integer",
		Time: "timestamp (µs, UTC)", Day: "date", Struct: "struct", List: "list"}[t]
}
