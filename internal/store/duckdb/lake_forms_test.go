package duckdb

import (
	"strings"
	"testing"
)

const (
	lakeDoc = "../../../docs/lake-sql.md"
	outside = "0d1e2f30-0000-4000-8000-00000000abcd" // events from outside
	east    = "b1b2c3d4-0000-4000-8000-00000000abcd" // those of us-east-1
)

// lakeRecords are what the stores of the tests of the Lake dialect have.
var lakeRecords = append(records[:len(records):len(records)],
	`{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLE:ci-42","arn":"arn:aws:sts::111122223333:assumed-role/Deploy/ci-42","accountId":"111122223333","accessKeyId":"ASIAEXAMPLECI",
"sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROAEXAMPLE","arn":"arn:aws:iam::111122223333:role/Deploy","accountId":"111122223333","userName":"Deploy"},"attributes":{"creationDate":"2026-01-05T09:00:00Z","mfaAuthenticated":"false"}}},
"eventTime":"2026-01-08T08:30:15Z","eventSource":"ec2.amazonaws.com","eventName":"RunInstances","awsRegion":"us-east-1","sourceIPAddress":"203.0.113.9","userAgent":"Terraform",
"requestParameters":{"instanceType":"p4d.24xlarge","instancesSet":{"items":[{"imageId":"ami-1","minCount":2,"maxCount":2}]}},"responseElements":{"instancesSet":{"items":[{"instanceId":"i-1","privateIpAddress":"10.0.0.4"},{"instanceId":"i-2","privateIpAddress":"10.0.0.5"}]}},
"requestID":"R5","eventID":"00000000-0000-4000-8000-000000000005","readOnly":false,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management","vpcEndpointId":"vpce-1","vpcEndpointAccountId":"111122223333",
"eventContext":{"requestContext":{"aws:PrincipalTag/team":"ci"},"tagContext":{}},"annotation":"seen"}`,
	`{"eventVersion":"1.07","eventTime":"2026-01-09T00:10:00Z","awsRegion":"us-east-1","eventID":"00000000-0000-4000-8000-000000000006","eventType":"AwsCloudTrailInsight","recipientAccountId":"111122223333","sharedEventID":"S6",
"insightDetails":{"state":"Start","eventSource":"ec2.amazonaws.com","eventName":"RunInstances","insightType":"ApiCallRateInsight","insightContext":{"statistics":{"baseline":{"average":0.5},"insight":{"average":12}}}},"eventCategory":"Insight"}`,
	`{"eventVersion":"1.0","eventCategory":"ActivityAuditLog","eventType":"ActivityLog","eventID":"00000000-0000-4000-8000-000000000007","eventTime":"2026-01-10T10:00:00Z","awsRegion":"us-east-1","recipientAccountId":"111122223333","addendum":null,
"metadata":{"ingestionTime":"2026-01-10T10:00:02Z","channelARN":"arn:aws:cloudtrail:us-east-1:111122223333:channel/11111111-2222-4333-8444-555555555555"},
"eventData":{"version":"1","userIdentity":{"type":"CustomUserIdentity","principalId":"dora","details":{"team":"finance","roles":["a","b"]}},"userAgent":"portal/2","eventSource":"portal.example.com","eventName":"ExportReport","eventTime":"2026-01-10T10:00:00","UID":"u-1",
"requestParameters":{"report":"salaries","rows":12000,"filter":{"year":2025}},"responseElements":null,"errorCode":null,"sourceIPAddress":"198.51.100.77","recipientAccountId":"111122223333","additionalEventData":{"ticket":"T-9"}}}`,
	`{"eventVersion":"1.0","eventCategory":"ActivityAuditLog","eventType":"ActivityLog","eventID":"00000000-0000-4000-8000-000000000008","eventTime":"2026-01-10T11:00:00Z","awsRegion":"us-east-1","recipientAccountId":"111122223333",
"metadata":{"ingestionTime":"2026-01-10T11:00:01Z","channelARN":"arn:aws:cloudtrail:us-east-1:111122223333:channel/11111111-2222-4333-8444-555555555555"},
"eventData":{"version":"1","userIdentity":{"type":"CustomUserIdentity","principalId":"emil"},"eventSource":"portal.example.com","eventName":"SignIn","eventTime":"2026-01-10T11:00:00","UID":"u-2","errorCode":"Denied","errorMessage":"no","recipientAccountId":"111122223333"}}`,
)

// lakeStores are the stores that the tests of the Lake dialect hand over.
func lakeStores() []DataStore {
	return []DataStore{
		{ID: lake, Where: "eventCategory IS DISTINCT FROM " + QuoteText("ActivityAuditLog")},
		{ID: east, Where: "awsRegion = " + QuoteText("us-east-1") + " AND eventCategory = " + QuoteText("Management")},
		{ID: outside, Audit: true, Where: "eventCategory = " + QuoteText("ActivityAuditLog")},
	}
}

// askLake is ask in the Lake dialect.
func askLake(t testing.TB, e *Engine, scope *Scope, stores []DataStore, sql string) ([]string, error) {
	t.Helper()
	rows, err := e.Query(t.Context(), sql, QueryOptions{Scope: scope, DataStores: stores})
	if err != nil {
		return nil, err
	}
	return read(t, rows)
}

// lakeFormList is what is published about CloudTrail Lake, and what queries for incidents are made of. EDS is the id of a
// store, EAST that of one with fewer events, AUDIT that of one with events from outside.
func lakeFormList() []form {
	return []form{
		// The table.
		{form: `FROM <id>`, sql: `SELECT count(*) FROM EDS`, want: one("6")},
		{form: `FROM "<id>", FROM <ID IN CAPITALS>`, sql: `SELECT count(*) FROM "EDS" WHERE eventID IN (SELECT eventID FROM A1B2C3D4-0000-4000-8000-00000000ABCD)`, want: one("6")},
		{form: `FROM <id> AS t, FROM <id> t`, sql: `SELECT t.eventName, u.n FROM EDS AS t, (SELECT count(*) AS n FROM EDS q WHERE q.readOnly) u WHERE t.eventSource = 's3.amazonaws.com'`, want: one("GetObject | 1")},
		{form: `"<id>".eventName, <id>.eventName`, sql: `SELECT "EDS".eventName, EDS.awsRegion FROM EDS WHERE EDS.readOnly = true`, want: one("GetObject | us-east-1")},
		{form: `FROM <id> a JOIN <other id> b ON …`, sql: `SELECT a.eventName FROM EDS a JOIN EAST b ON a.eventID = b.eventID ORDER BY 1`, want: one("ConsoleLogin", "CreateUser", "RunInstances")},
		{form: `LEFT, RIGHT, INNER, FULL JOIN`, sql: `SELECT count(*), count(b.eventID) FROM EDS a LEFT JOIN EAST b USING (eventID)`, want: one("6 | 3")},
		{form: `FROM (sub-query), WHERE x IN (sub-query), EXISTS`, sql: `SELECT count(*) FROM (SELECT * FROM EDS WHERE sourceIPAddress IN (SELECT sourceIPAddress FROM EAST)) x WHERE EXISTS (SELECT 1 FROM EAST e WHERE e.userIdentity.accountId = x.userIdentity.accountId)`, want: one("4")},
		{form: `WITH …, WITH RECURSIVE …`, sql: `WITH a AS (SELECT eventName FROM EDS), b AS (SELECT eventName FROM EAST) SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)`, want: one("6 | 3")},
		{form: `UNION, UNION ALL, EXCEPT, INTERSECT`, sql: `SELECT eventName FROM EDS WHERE readOnly = false INTERSECT SELECT eventName FROM EAST EXCEPT SELECT 'CreateUser' UNION ALL SELECT eventData.eventName FROM AUDIT ORDER BY 1`, want: one("ConsoleLogin", "ExportReport", "RunInstances", "SignIn")},
		{form: `events of CloudTrail and from outside together`, sql: `SELECT eventTime, eventName FROM EDS WHERE eventTime > '2026-01-08 00:00:00' AND eventName IS NOT NULL UNION ALL SELECT eventTime, eventData.eventName FROM AUDIT ORDER BY 1`, want: one("2026-01-08 08:30:15.000 | RunInstances", "2026-01-10 10:00:00.000 | ExportReport", "2026-01-10 11:00:00.000 | SignIn")},
		{form: `-- <id>, /* <id> */, '<id>'`, sql: "SELECT 'c0000000-0000-4000-8000-000000000000' -- FROM c0000000-0000-4000-8000-000000000000\nFROM EDS /* JOIN c0000000-0000-4000-8000-000000000000 */ LIMIT 1;", want: one("c0000000-0000-4000-8000-000000000000")},
		{form: `FROM <id of a store that is not there>`, sql: `SELECT 1 FROM c0000000-0000-4000-8000-000000000000`, refused: "line 1, column 15: there is no event data store c0000000-0000-4000-8000-000000000000", note: "the error names the id"},
		{form: `FROM $EDS_ID`, sql: `SELECT 1 FROM $EDS_ID`, refused: "line 1, column 15: write the id of an event data store in place of $EDS_ID", note: "the id is to be put in place of it, as for AWS"},
		{form: `FROM "arn:aws:cloudtrail:…"`, sql: `SELECT 1 FROM "arn:aws:cloudtrail:us-east-1:111122223333:eventdatastore/EDS"`, refused: "line 1, column 15: there is no table arn:aws", note: "FROM takes the id alone, as for AWS"},
		{form: `FROM cloudtrail_logs, FROM events`, sql: `SELECT 1 FROM cloudtrail_logs`, refused: "line 1, column 15: there is no table cloudtrail_logs", note: "those are tables of spoor query; here are event data stores only"},
		// What is no SELECT.
		{form: `INSERT, UPDATE, DELETE, CREATE, DROP …`, sql: `DELETE FROM EDS`, refused: "line 1, column 1: only SELECT can be asked of event data stores, not DELETE", note: "events are never changed"},
		{form: `WITH … INSERT`, sql: `WITH a AS (SELECT 1) INSERT INTO EDS SELECT * FROM a`, refused: "only SELECT can be asked", note: "events are never changed"},
		{form: `EXPLAIN, DESCRIBE, SHOW TABLES`, sql: `DESCRIBE EDS`, refused: "line 1, column 1: only SELECT can be asked of event data stores, not DESCRIBE", note: "SELECT alone, as for AWS"},
		{form: `SELECT 1; SELECT 2`, sql: `SELECT 1; SELECT 2`, refused: "line 1, column 9: there is more than one statement", note: "one at a time, as for AWS"},
		{form: `a query that is no SQL`, sql: "SELECT eventName\nFORM EDS", refused: "line 2, column 6: the query is not SQL: syntax error at or near \"EDS\"", note: "the error says where"},
		{form: `a column that is not there`, sql: "SELECT eventName,\n  eventNam\nFROM EDS", refused: `line 2, column 3: referenced column "eventnam" not found`, note: "the error says where, and what there is"},
		// Columns.
		{form: `eventTime > '2026-01-06 00:00:00'`, sql: `SELECT eventName FROM EDS WHERE eventTime > '2026-01-06 00:00:00' AND eventTime < '2026-01-07 12:00:00' ORDER BY eventTime`, want: one("CreateUser")},
		{form: `eventTime BETWEEN '…' AND '…'`, sql: `SELECT count(*) FROM EDS WHERE eventTime BETWEEN '2026-01-05 10:00:00' AND '2026-01-07 12:00:00.000'`, want: one("3")},
		{form: `eventTime >= timestamp '…', eventTime >= date '…'`, sql: `SELECT count(*) FROM EDS WHERE eventTime >= timestamp '2026-01-06 00:00:00' AND eventTime >= date '2026-01-07'`, want: one("3")},
		{form: `eventTime >= '2026-01-06T00:00:00Z'`, note: "a T and a Z are taken, too", sql: `SELECT count(*) FROM EDS WHERE eventTime >= '2026-01-06T00:00:00Z'`, want: one("4")},
		{form: `eventTime >= from_iso8601_timestamp('…')`, sql: `SELECT count(*) FROM EDS WHERE eventTime >= from_iso8601_timestamp('2026-01-06T02:00:00+02:00')`, want: one("4")},
		{form: `eventTime >= current_timestamp - interval '7' day`, sql: `SELECT count(*) FROM EDS WHERE eventTime < current_timestamp - interval '7' day AND eventTime < now() - interval '1' hour AND eventTime < date_add('day', -7, now())`, want: one("6")},
		{form: `date(eventTime) = current_date - interval '1' day`, sql: `SELECT count(*) FROM EDS WHERE date(eventTime) < current_date - interval '1' day AND date(eventTime) = date '2026-01-05'`, want: one("2")},
		{form: `SELECT eventTime`, sql: `SELECT eventTime, cast(eventTime AS varchar), 'at ' || cast(eventTime AS varchar) FROM EDS WHERE eventName = 'GetObject'`, want: one("2026-01-05 09:12:41.000 | 2026-01-05 09:12:41.000 | at 2026-01-05 09:12:41.000")},
		{form: `names in any letter case`, sql: `SELECT EVENTNAME, userIdentity.SessionContext.sessionissuer.USERNAME FROM EDS WHERE useridentity.TYPE = 'AssumedRole' AND eventname = 'RunInstances'`, want: one("RunInstances | Deploy")},
		{form: `userIdentity.arn, userIdentity.sessionContext.sessionIssuer.userName`, sql: `SELECT userIdentity.arn, userIdentity.sessionContext.sessionIssuer.userName, userIdentity.sessionContext.attributes.mfaAuthenticated FROM EDS WHERE eventName = 'RunInstances'`, want: one("arn:aws:sts::111122223333:assumed-role/Deploy/ci-42 | Deploy | false")},
		{form: `userIdentity.sessionContext.attributes.creationDate > '2026-01-05 08:00:00'`, sql: `SELECT userIdentity.sessionContext.attributes.creationDate FROM EDS WHERE userIdentity.sessionContext.attributes.creationDate > '2026-01-05 08:00:00' AND eventName = 'RunInstances'`, want: one("2026-01-05 09:00:00.000")},
		{form: `element_at(userIdentity.sessionContext.webIdFederationData.attributes, 'sub')`, sql: `SELECT element_at(userIdentity.sessionContext.webIdFederationData.attributes, 'sub'), userIdentity.sessionContext.webIdFederationData.federatedProvider FROM EDS WHERE userIdentity.sessionContext.webIdFederationData IS NOT NULL`, want: one("repo:x | arn:aws:iam::111122223333:oidc-provider/ci.example")},
		{form: `readOnly = false, managementEvent = true`, sql: `SELECT count(*) FROM EDS WHERE readOnly = false AND managementEvent = true`, want: one("4")},
		{form: `readOnly, NOT readOnly`, sql: `SELECT readOnly, count(*) FROM EDS WHERE NOT readOnly OR readOnly GROUP BY readOnly ORDER BY 2`, want: one("true | 1", "false | 4")},
		{form: `element_at(requestParameters, 'bucketName')`, sql: `SELECT element_at(requestParameters, 'bucketName'), element_at(requestParameters, 'none') FROM EDS WHERE eventName = 'GetObject'`, want: one("payroll | ∅")},
		{form: `requestParameters['bucketName']`, note: "a missing key is NULL, not an error: conditions joined by AND may be tested in any order, and an error would end queries that AWS answers", sql: `SELECT requestParameters['bucketName'], requestParameters['none'] FROM EDS WHERE eventName = 'GetObject'`, want: one("payroll | ∅")},
		{form: `scalar members of maps as text, nested ones as JSON text`, sql: `SELECT element_at(additionalEventData, 'bytesTransferredOut'), element_at(requestParameters, 'Host') FROM EDS WHERE eventName = 'GetObject'`, want: one(`1234 | ["a","b"]`)},
		{form: `element_at(requestParameters, 'ipPermissions') LIKE '%0.0.0.0/0%'`, sql: `SELECT eventName FROM EDS WHERE element_at(requestParameters, 'ipPermissions') LIKE '%0.0.0.0/0%'`, want: one("AuthorizeSecurityGroupIngress")},
		{form: `json_extract_scalar(element_at(requestParameters, 'X'), '$.Y')`, sql: `SELECT json_extract_scalar(element_at(requestParameters, 'ipPermissions'), '$.items[0].fromPort') FROM EDS WHERE eventSource = 'ec2.amazonaws.com' AND eventName LIKE 'Authorize%'`, want: one("22")},
		{form: `element_at(responseElements, 'ConsoleLogin') = 'Failure'`, sql: `SELECT sourceIPAddress, element_at(additionalEventData, 'MFAUsed') FROM EDS WHERE eventName = 'ConsoleLogin' AND element_at(responseElements, 'ConsoleLogin') = 'Failure'`, want: one("192.0.2.33 | No")},
		{form: `requestParameters IS NULL, cardinality(requestParameters)`, sql: `SELECT count(*), max(cardinality(requestParameters)) FROM EDS WHERE requestParameters IS NOT NULL`, want: one("3 | 4")},
		{form: `SELECT requestParameters`, sql: `SELECT requestParameters, responseElements FROM EDS WHERE eventName = 'AuthorizeSecurityGroupIngress'`, want: one(`{groupId=sg-1, ipPermissions={"items":[{"ipProtocol":"tcp","fromPort":22,"toPort":22,"ipRanges":{"items":[{"cidrIp":"0.0.0.0/0"}]}}]}} | {_return=true, requestId=x}`)},
		{form: `SELECT userIdentity`, note: "members that AWS does not have are there, too; creationDate is as in the record", sql: `SELECT userIdentity.sessionContext.sessionIssuer, tlsDetails FROM EDS WHERE eventName IN ('RunInstances', 'GetObject') ORDER BY 1`, want: one("{type=Role, principalId=AROAEXAMPLE, arn=arn:aws:iam::111122223333:role/Deploy, accountId=111122223333, userName=Deploy} | ∅", "∅ | {tlsVersion=TLSv1.3, cipherSuite=TLS_AES_128_GCM_SHA256, clientProvidedHostHeader=payroll.s3.amazonaws.com, keyExchange=null}")},
		{form: `resources[1].arn, element_at(resources, -1).type`, sql: `SELECT resources[1].arn, element_at(resources, -1).type, element_at(resources, 9).arn, cardinality(resources) FROM EDS WHERE eventName = 'GetObject'`, want: one("arn:aws:s3:::payroll/2026/january.csv | AWS::S3::Bucket | ∅ | 2")},
		{form: `SELECT resources`, sql: `SELECT resources FROM EDS WHERE eventName = 'GetObject'`, want: one("[{accountId=null, type=AWS::S3::Object, ARN=arn:aws:s3:::payroll/2026/january.csv, ARNPrefix=null}, {accountId=111122223333, type=AWS::S3::Bucket, ARN=arn:aws:s3:::payroll, ARNPrefix=null}]")},
		{form: `any_match(resources, r -> r.arn LIKE …)`, sql: `SELECT eventName FROM EDS WHERE any_match(resources, r -> r.arn LIKE '%payroll%') AND contains(transform(resources, r -> r.type), 'AWS::S3::Bucket')`, want: one("GetObject")},
		{form: `CROSS JOIN UNNEST(resources) AS t(r)`, note: "with one name an array of rows gives the row", sql: `SELECT r.type, r.arn FROM EDS CROSS JOIN UNNEST(resources) AS t(r) ORDER BY 1`, want: one("AWS::S3::Bucket | arn:aws:s3:::payroll", "AWS::S3::Object | arn:aws:s3:::payroll/2026/january.csv")},
		{form: `CROSS JOIN UNNEST(resources) AS t(accountId, type, arn, prefix)`, sql: `SELECT t.accountId, t.type, t.arn FROM EDS CROSS JOIN UNNEST(resources) AS t(accountId, type, arn, prefix) ORDER BY 2`, want: one("111122223333 | AWS::S3::Bucket | arn:aws:s3:::payroll", "∅ | AWS::S3::Object | arn:aws:s3:::payroll/2026/january.csv")},
		{form: `, UNNEST(requestParameters) AS t(k, v)`, sql: `SELECT k, v FROM EDS, UNNEST(requestParameters) AS t(k, v) WHERE eventName = 'RunInstances' ORDER BY k LIMIT 1`, want: one("instanceType | p4d.24xlarge")},
		{form: `UNNEST(cast(json_extract(…) AS array(json)))`, sql: `SELECT json_extract_scalar(i, '$.instanceId') FROM EDS CROSS JOIN UNNEST(cast(json_extract(element_at(responseElements, 'instancesSet'), '$.items') AS array(json))) AS t(i) ORDER BY 1`, want: one("i-1", "i-2")},
		{form: `insightDetails, element_at(insightDetails, 'state')`, sql: `SELECT element_at(insightDetails, 'state'), json_extract_scalar(element_at(insightDetails, 'insightContext'), '$.statistics.insight.average'), sharedEventID FROM EDS WHERE eventCategory = 'Insight'`, want: one("Start | 12 | S6")},
		{form: `addendum.reason, element_at(addendum, 'reason')`, sql: `SELECT addendum.reason, addendum.originalEventId, element_at(addendum, 'updatedFields') FROM EDS WHERE addendum IS NOT NULL`, want: one("UPDATED_DATA | E0 | errorCode")},
		{form: `vpcEndpointId, vpcEndpointAccountId, eventContext, annotation`, sql: `SELECT vpcEndpointId, vpcEndpointAccountId, json_extract_scalar(element_at(eventContext, 'requestContext'), '$["aws:PrincipalTag/team"]'), annotation FROM EDS WHERE annotation IS NOT NULL`, want: one("vpce-1 | 111122223333 | ci | seen")},
		{form: `eventJson, json_extract(eventJson, …)`, sql: `SELECT json_extract_scalar(eventJson, '$.requestParameters.instancesSet.items[0].imageId'), eventJson LIKE '%p4d%' FROM EDS WHERE eventName = 'RunInstances'`, want: one("ami-1 | true")},
		{form: `eventJsonChecksum`, note: "always NULL", sql: `SELECT count(eventJsonChecksum) FROM EDS`, want: one("0")},
		// Events from outside.
		{form: `eventData.eventName, eventData.userIdentity.principalId (outside events)`, sql: `SELECT eventData.eventName, eventData.userIdentity.principalId, eventData.userIdentity.type, eventData.errorCode FROM AUDIT ORDER BY eventTime`, want: one("ExportReport | dora | CustomUserIdentity | ∅", "SignIn | emil | CustomUserIdentity | Denied")},
		{form: `element_at(eventData.requestParameters, 'report') (outside events)`, sql: `SELECT element_at(eventData.requestParameters, 'report'), cast(element_at(eventData.requestParameters, 'rows') AS bigint) + 1, json_extract_scalar(element_at(eventData.requestParameters, 'filter'), '$.year'), element_at(eventData.userIdentity.details, 'team'), element_at(eventData.additionalEventData, 'ticket') FROM AUDIT WHERE eventData.UID = 'u-1'`, want: one("salaries | 12001 | 2025 | finance | T-9")},
		{form: `metadata.channelARN, metadata.ingestionTime (outside events)`, sql: `SELECT metadata.channelARN LIKE '%:channel/%', metadata.ingestionTime, date_diff('second', eventTime, metadata.ingestionTime), eventData.eventTime FROM AUDIT WHERE eventData.eventTime > '2026-01-10 10:30:00'`, want: one("true | 2026-01-10 11:00:01.000 | 1 | 2026-01-10 11:00:00.000")},
		{form: `SELECT * (outside events)`, sql: `SELECT eventVersion, eventCategory, eventType, eventID, eventTime, awsRegion, recipientAccountId, addendum FROM AUDIT ORDER BY eventTime LIMIT 1`, want: one("1.0 | ActivityAuditLog | ActivityLog | 00000000-0000-4000-8000-000000000007 | 2026-01-10 10:00:00.000 | us-east-1 | 111122223333 | ∅")},
		{form: `eventName (outside events)`, sql: `SELECT eventName FROM AUDIT`, refused: "line 1, column 8: referenced column \"eventname\" not found", note: "it is eventData.eventName, as for AWS"},
		// The result.
		{form: `true, 1.5e0, 1e10, 0.00001e0, array, map, row`, sql: `SELECT true, 1.5e0, 1e10, 0.00001e0, ARRAY['a', NULL], map(ARRAY['k'], ARRAY[1.5e0]), ARRAY[timestamp '2026-01-05 10:00:00'], date '2026-01-05', 'x'`, want: one("true | 1.5 | 1.0E10 | 1.0E-5 | [a, null] | {k=1.5} | [2026-01-05 10:00:00.000] | 2026-01-05 | x")},
		{form: `cast(x AS row(a varchar, b bigint))`, sql: `SELECT cast(json_parse('{"a":"x","b":7}') AS row(a varchar, b bigint)), json_parse('{"a": 1}')`, want: one(`{a=x, b=7} | {"a":1}`)},
		// Maps and arrays.
		{form: `element_at(array, n), negative from the end`, sql: `SELECT element_at(ARRAY['a', 'b'], 1), element_at(ARRAY['a', 'b'], -1), element_at(ARRAY['a'], 5)`, want: one("a | b | ∅")},
		{form: `array[n]`, note: "a subscript out of range is NULL, not an error, for the same reason as a missing key", sql: `SELECT ARRAY[7, 8][2], ARRAY[7, 8][3]`, want: one("8 | ∅")},
		{form: `map(), map(ARRAY[…], ARRAY[…]), map_keys, map_values, map_agg`, sql: `SELECT map(), map(ARRAY['a', 'b'], ARRAY[1, 2]), map_keys(map(ARRAY['a'], ARRAY[1])), map_values(map(ARRAY['a'], ARRAY[1])), (SELECT map_agg(eventName, awsRegion) FROM EDS WHERE readOnly)`, want: one("{} | {a=1, b=2} | [a] | [1] | {GetObject=us-east-1}")},
		{form: `map_filter, transform_values, transform_keys, map_entries`, sql: `SELECT map_filter(m, (k, v) -> k <> 'a' AND v > 1), transform_values(m, (k, v) -> k || cast(v AS varchar)), transform_keys(m, (k, v) -> upper(k)) FROM (SELECT map(ARRAY['a', 'b'], ARRAY[1, 2]) AS m)`, want: one("{b=2} | {a=a1, b=b2} | {A=1, B=2}")},
		{form: `map_filter(requestParameters, (k, v) -> v LIKE …)`, sql: `SELECT eventName, map_keys(map_filter(requestParameters, (k, v) -> v LIKE '%0.0.0.0/0%')) FROM EDS WHERE cardinality(map_filter(requestParameters, (k, v) -> v LIKE '%0.0.0.0/0%')) > 0`, want: one("AuthorizeSecurityGroupIngress | [ipPermissions]")},
		{form: `transform, filter, reduce, zip_with`, sql: `SELECT transform(ARRAY[1, 2], x -> x * 10), filter(ARRAY[1, 2, 3], x -> x % 2 = 1), reduce(ARRAY[1, 2, 3], 0, (s, x) -> s + x, s -> s), zip_with(ARRAY[1, 2], ARRAY[3, 4], (x, y) -> x * y)`, want: one("[10, 20] | [1, 3] | 6 | [3, 8]")},
		{form: `transform(cast(json_extract(…) AS array(json)), x -> …)`, sql: `SELECT transform(cast(json_extract(element_at(responseElements, 'instancesSet'), '$.items') AS array(json)), x -> json_extract_scalar(x, '$.privateIpAddress')) FROM EDS WHERE eventName = 'RunInstances'`, want: one("[10.0.0.4, 10.0.0.5]")},
		{form: `cardinality, contains, any_match, all_match, none_match`, sql: `SELECT cardinality(ARRAY[1, 2]), contains(ARRAY['a'], 'a'), any_match(ARRAY[1, 2], x -> x > 1), all_match(ARRAY[1, 2], x -> x > 1), none_match(ARRAY[1], x -> x > 1)`, want: one("2 | true | true | false | true")},
		{form: `array_agg, array_join, array_distinct, array_sort, array_union, arrays_overlap`, sql: `SELECT array_join(array_sort(array_distinct(array_agg(awsRegion))), ', '), arrays_overlap(ARRAY[1], ARRAY[1, 2]), array_sort(array_union(ARRAY[1], ARRAY[2, 1])) FROM EDS`, want: one("eu-west-1, us-east-1 | true | [1, 2]")},
		{form: `UNNEST(ARRAY[…]) AS t(x), UNNEST(a, b), WITH ORDINALITY`, sql: `SELECT x, y, n FROM UNNEST(ARRAY['p', 'q'], ARRAY[1]) WITH ORDINALITY AS t(x, y, n) ORDER BY n`, want: one("p | 1 | 1", "q | ∅ | 2")},
		{form: `sequence(1, 3), slice, flatten, repeat`, note: "sequence gives 10 000 members at most, as Trino; repeat is of texts", sql: `SELECT sequence(1, 3), slice(ARRAY[1, 2, 3], 2, 2), flatten(ARRAY[ARRAY[1], ARRAY[2]]), repeat('ab', 2)`, want: one("[1, 2, 3] | [2, 3] | [1, 2] | abab")},
		// JSON.
		{form: `json_extract(text, path): quotes stay`, sql: `SELECT json_extract('{"a":"x","b":[1,2]}', '$.a'), json_extract('{"a":"x","b":[1,2]}', '$.b'), json_extract('{', '$.a'), json_extract('{"a":1}', '$.c')`, want: one(`"x" | [1,2] | ∅ | ∅`)},
		{form: `json_extract_scalar(text, path)`, sql: `SELECT json_extract_scalar('{"a":"x","b":[1,2]}', '$.a'), json_extract_scalar('{"a":"x","b":[1,2]}', '$.b'), json_extract_scalar('{"a b":{"c":true}}', '$["a b"].c')`, want: one("x | ∅ | true")},
		{form: `json_parse, json_format, json_array_get, json_array_length, json_array_contains`, sql: `SELECT json_format(json_parse('[1, "a"]')), json_array_get('["a","b"]', 0), json_array_get('["a","b"]', -1), json_array_get('["a"]', 3), json_array_length('[1,2]'), json_array_contains('[1,2]', 2)`, want: one(`[1,"a"] | "a" | "b" | ∅ | 2 | true`)},
		{form: `cast(json AS varchar), cast(x AS json)`, note: "arrays and objects give their text; Trino refuses them", sql: `SELECT cast(json_extract('{"a":"x"}', '$.a') AS varchar), cast(ARRAY['a'] AS json), cast('a' AS json), cast(map(ARRAY['k'], ARRAY[1]) AS json), cast(json_parse('[1]') AS varchar)`, want: one(`x | ["a"] | "a" | {"k":1} | [1]`)},
		{form: `cast(json AS array(varchar)), cast(json AS map(varchar, varchar))`, sql: `SELECT cast(json_parse('["a","b"]') AS array(varchar)), cast(json_parse('{"a":"b"}') AS map(varchar, varchar)), cast(json_parse('{"a":["b"]}') AS map(varchar, array(varchar)))`, want: one("[a, b] | {a=b} | {a=[b]}")},
		{form: `json_query, json_value with lax and strict paths`, sql: `SELECT json_value('{"a":1}', 'lax $.a')`, refused: "lax or strict", note: "write json_extract_scalar"},
		// Text and numbers.
		{form: `LIKE, NOT LIKE, ESCAPE, case-sensitive`, sql: `SELECT 'Get' LIKE 'get%', 'GetObject' LIKE 'Get%', 'a_b' LIKE 'a\_b' ESCAPE '\', eventName NOT LIKE 'List%' FROM EDS WHERE readOnly`, want: one("false | true | true | true")},
		{form: `||, concat, with NULL`, sql: `SELECT 'a' || 'b', 'a' || NULL, concat('a', 'b', 'c'), concat('a', NULL)`, want: one("ab | ∅ | abc | ∅")},
		{form: `split(s, d)[1], split_part, cardinality(split(…))`, sql: `SELECT split(userIdentity.arn, '/')[2], element_at(split(userIdentity.arn, '/'), -1), split_part(userIdentity.arn, ':', 5), split_part('a', '/', 2) FROM EDS WHERE eventName = 'RunInstances'`, want: one("Deploy | ci-42 | 111122223333 | ∅")},
		{form: `lower, upper, trim, length, substr, substring, strpos, position, replace, reverse, lpad`, sql: `SELECT lower('A'), upper('a'), trim(' a '), length('abc'), substr('abc', 2), substr('abc', -2), substring('abc' FROM 2 FOR 1), strpos('abc', 'c'), position('b' IN 'abc'), replace('aXb', 'X'), replace('aXb', 'X', '-'), reverse('ab'), lpad('7', 3, '0')`, want: one("a | A | a | 3 | bc | bc | b | 3 | 2 | ab | a-b | ba | 007")},
		{form: `regexp_like, regexp_extract, regexp_extract_all, regexp_replace, regexp_split`, sql: `SELECT regexp_like('arn:aws:iam::1:root', ':root$'), regexp_extract('role/Deploy/x', 'role/([^/]+)', 1), regexp_extract('a', 'b'), regexp_extract_all('a1b2', '\d'), regexp_replace('a1b2', '(\w)(\d)', '$2$1'), regexp_split('a,b', ',')`, want: one("true | Deploy | ∅ | [1, 2] | 1a2b | [a, b]")},
		{form: `patterns with look-around or back references`, sql: `SELECT regexp_like('ab', 'a(?=b)')`, refused: "invalid perl operator", note: "patterns are RE2's: matched in linear time, whatever the log holds"},
		{form: `integer division and modulo`, sql: `SELECT 7 / 2, -7 / 2, 7 % 3, -7 % 3, 7 / 2.0, sum(1) / 4 FROM EDS`, want: one("3 | -3 | 1 | -1 | 3.5 | 1")},
		{form: `division by zero`, note: "NULL, or infinity for floating point; Trino ends with an error", sql: `SELECT 1 / 0, try(1 / 0)`, want: one("∅ | ∅")},
		{form: `cast, try_cast, try`, sql: `SELECT cast('1.5' AS double), try_cast('x' AS bigint), try(cast('x' AS bigint)), cast(7 AS varchar), cast('abc' AS varchar(2)), cast('2026-01-05 10:00:00' AS timestamp), cast('2026-01-05' AS date), cast('true' AS boolean)`, want: one("1.5 | ∅ | ∅ | 7 | ab | 2026-01-05 10:00:00.000 | 2026-01-05 | true")},
		{form: `cast('x' AS bigint)`, sql: `SELECT cast(eventName AS bigint) FROM EDS`, refused: "Could not convert string", note: "an error, as in Trino; try_cast gives NULL"},
		{form: `coalesce, nullif, if, CASE, greatest, least`, sql: `SELECT coalesce(errorCode, 'none'), nullif('a', 'a'), if(readOnly, 'read'), CASE eventName WHEN 'GetObject' THEN 1 ELSE 0 END, greatest(1, 2), greatest(1, NULL), least(2, 1) FROM EDS WHERE readOnly`, want: one("none | ∅ | read | 1 | 2 | ∅ | 1")},
		{form: `IS DISTINCT FROM, IN, BETWEEN, IS NULL, AND OR NOT, <>, !=`, sql: `SELECT count(*) FROM EDS WHERE (errorCode IS DISTINCT FROM 'AccessDenied' AND eventName IN ('CreateUser', 'RunInstances', 'GetObject') AND NOT errorCode IS NOT NULL) AND eventName <> 'x' AND eventName != 'y'`, want: one("2")},
		// Time.
		{form: `date '…', timestamp '…', interval '…' day, hour, month`, note: "a date and an interval give a timestamp", sql: `SELECT timestamp '2026-01-05 10:00:00' - interval '1' hour, timestamp '2026-03-31 00:00:00' - interval '1' month, date '2026-01-05' + interval '2' day`, want: one("2026-01-05 09:00:00.000 | 2026-02-28 00:00:00.000 | 2026-01-07 00:00:00.000")},
		{form: `now(), current_timestamp, current_date`, note: "now and current_timestamp are UTC without a zone in the text", sql: `SELECT now() = current_timestamp, date(now()) = current_date, cast(now() AS varchar) LIKE '____-__-__ __:__:__.___'`, want: one("true | true | true")},
		{form: `date_add, date_diff, date_trunc`, note: "a date gives a timestamp", sql: `SELECT date_add('day', -1, eventTime), date_diff('hour', eventTime, timestamp '2026-01-05 12:00:00'), date_trunc('hour', eventTime), date_trunc('day', eventTime) FROM EDS WHERE eventName = 'GetObject'`, want: one("2026-01-04 09:12:41.000 | 2 | 2026-01-05 09:00:00.000 | 2026-01-05 00:00:00.000")},
		{form: `date(eventTime), year, month, day, hour, minute, extract(… FROM …)`, sql: `SELECT date(eventTime), year(eventTime), month(eventTime), day(eventTime), hour(eventTime), minute(eventTime), extract(hour FROM eventTime), extract(dow FROM eventTime) FROM EDS WHERE eventName = 'GetObject'`, want: one("2026-01-05 | 2026 | 1 | 5 | 9 | 12 | 9 | 1")},
		{form: `day_of_week (1 = Monday), dow, day_of_year, week`, sql: `SELECT day_of_week(eventTime), day_of_week(date '2026-01-04'), dow(eventTime), day_of_year(eventTime), week(eventTime) FROM EDS WHERE eventName = 'GetObject'`, want: one("1 | 7 | 1 | 5 | 2")},
		{form: `at_timezone(eventTime, zone), eventTime AT TIME ZONE zone`, note: "gives the local time without its zone", sql: `SELECT at_timezone(eventTime, 'America/New_York'), eventTime AT TIME ZONE 'Asia/Tokyo', hour(at_timezone(eventTime, 'Europe/Berlin')) FROM EDS WHERE eventName = 'GetObject'`, want: one("2026-01-05 04:12:41.000 | 2026-01-05 18:12:41.000 | 10")},
		{form: `date_format, date_parse, format_datetime, parse_datetime`, note: "the pattern must be a literal", sql: `SELECT date_format(eventTime, '%Y-%m-%d %H:%i:%s'), date_format(eventTime, '%W %h %p'), date_parse('2026/01/05 07', '%Y/%m/%d %H'), format_datetime(eventTime, 'yyyy-MM-dd HH:mm'), parse_datetime('05.01.2026', 'dd.MM.yyyy') FROM EDS WHERE eventName = 'GetObject'`, want: one("2026-01-05 09:12:41 | Monday 09 AM | 2026-01-05 07:00:00.000 | 2026-01-05 09:12 | 2026-01-05 00:00:00.000 UTC")},
		{form: `to_unixtime, from_unixtime, from_iso8601_timestamp, to_iso8601`, note: "from_iso8601_timestamp is UTC without a zone in the text", sql: `SELECT to_unixtime(timestamp '1970-01-01 00:01:00'), from_unixtime(60), from_iso8601_timestamp('2026-01-05T10:00:00+01:00'), to_iso8601(eventTime) FROM EDS WHERE eventName = 'GetObject'`, want: one("60.0 | 1970-01-01 00:01:00.000 UTC | 2026-01-05 09:00:00.000 | 2026-01-05T09:12:41.000")},
		// Aggregates, windows, order.
		{form: `count(*), count(DISTINCT x), count_if, sum, avg, min, max, FILTER`, sql: `SELECT count(*), count(DISTINCT sourceIPAddress), count_if(errorCode IS NOT NULL), min(eventTime), max(eventName), avg(cardinality(resources)), count(*) FILTER (WHERE readOnly) FROM EDS`, want: one("6 | 3 | 1 | 2026-01-05 09:12:41.000 | RunInstances | 2.0 | 1")},
		{form: `approx_distinct, approx_percentile, arbitrary, max_by, min_by, bool_or, histogram`, sql: `SELECT approx_distinct(eventName), arbitrary(eventVersion), max_by(eventName, eventTime), min_by(eventName, eventTime), bool_or(readOnly), histogram(awsRegion) FROM EDS WHERE eventName IS NOT NULL`, want: one("5 | 1.11 | RunInstances | GetObject | true | {eu-west-1=1, us-east-1=4}")},
		{form: `rank() OVER (PARTITION BY … ORDER BY …), row_number, lag`, sql: `SELECT eventName, rank() OVER (PARTITION BY userIdentity.type ORDER BY eventTime DESC), lag(eventName) OVER (ORDER BY eventTime) FROM EDS WHERE userIdentity.type = 'AssumedRole' ORDER BY 2`, want: one("RunInstances | 1 | AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupIngress | 2 | ∅")},
		{form: `GROUP BY 1, HAVING, ROLLUP, ORDER BY 2 DESC, LIMIT`, sql: `SELECT eventSource, count(*) AS n FROM EDS WHERE eventSource IS NOT NULL GROUP BY 1 HAVING count(*) > 1 ORDER BY 2 DESC LIMIT 10`, want: one("ec2.amazonaws.com | 2")},
		{form: `ORDER BY …: NULLs last in both directions; NULLS FIRST`, sql: `SELECT array_agg(c) FROM (SELECT errorCode AS c FROM EDS WHERE eventName IN ('CreateUser', 'GetObject') ORDER BY errorCode DESC)`, want: one("[AccessDenied, null]")},
		{form: `LIMIT n, OFFSET n, FETCH FIRST n ROWS ONLY, LIMIT ALL`, sql: `SELECT eventName FROM EDS WHERE eventName IS NOT NULL ORDER BY eventTime OFFSET 1 LIMIT 1`, want: one("AuthorizeSecurityGroupIngress")},
		{form: `comments, a final semicolon or none`, sql: "/* who */ SELECT eventName -- what\nFROM EDS WHERE readOnly ; -- end", want: one("GetObject")},
		// Shapes of queries for incidents.
		{form: `who used this access key, from where, when first and last`, sql: `SELECT userIdentity.arn, sourceIPAddress, userAgent, min(eventTime) AS first_seen, max(eventTime) AS last_seen, count(*) AS calls FROM EDS WHERE userIdentity.accessKeyId = 'ASIAEXAMPLECI' AND eventTime >= '2026-01-01 00:00:00' GROUP BY 1, 2, 3 ORDER BY last_seen DESC`, want: one("arn:aws:sts::111122223333:assumed-role/Deploy/ci-42 | 203.0.113.9 | Terraform | 2026-01-05 10:00:00.000 | 2026-01-08 08:30:15.000 | 2")},
		{form: `failed sign-ins without MFA by address and day`, sql: `SELECT date(eventTime) AS day, sourceIPAddress, count(*) AS failed FROM EDS WHERE eventName = 'ConsoleLogin' AND element_at(responseElements, 'ConsoleLogin') = 'Failure' AND element_at(additionalEventData, 'MFAUsed') = 'No' GROUP BY date(eventTime), sourceIPAddress ORDER BY day`, want: one("2026-01-07 | 192.0.2.33 | 1")},
		{form: `security groups that were opened to the world`, sql: `SELECT eventTime, userIdentity.arn, element_at(requestParameters, 'groupId') AS group_id, json_extract_scalar(p, '$.fromPort') AS port, json_extract_scalar(r, '$.cidrIp') AS cidr FROM EDS CROSS JOIN UNNEST(cast(json_extract(element_at(requestParameters, 'ipPermissions'), '$.items') AS array(json))) AS a(p) CROSS JOIN UNNEST(cast(json_extract(p, '$.ipRanges.items') AS array(json))) AS b(r) WHERE eventName = 'AuthorizeSecurityGroupIngress'`, want: one("2026-01-05 10:00:00.000 | arn:aws:sts::111122223333:assumed-role/Deploy/ci-42 | sg-1 | 22 | 0.0.0.0/0")},
		{form: `instances that were started, one row each`, sql: `SELECT element_at(requestParameters, 'instanceType'), json_extract_scalar(i, '$.instanceId') FROM EDS CROSS JOIN UNNEST(cast(json_extract(element_at(responseElements, 'instancesSet'), '$.items') AS array(json))) AS t(i) WHERE eventName = 'RunInstances' AND errorCode IS NULL ORDER BY 2`, want: one("p4d.24xlarge | i-1", "p4d.24xlarge | i-2")},
		{form: `calls that this role makes now and did not make before`, sql: `WITH before AS (SELECT DISTINCT eventSource, eventName FROM EDS WHERE eventTime < '2026-01-06 00:00:00' AND userIdentity.sessionContext.sessionIssuer.userName = 'Deploy'), recent AS (SELECT DISTINCT eventSource, eventName FROM EDS WHERE eventTime >= '2026-01-06 00:00:00' AND userIdentity.sessionContext.sessionIssuer.userName = 'Deploy') SELECT recent.* FROM recent LEFT JOIN before ON recent.eventName = before.eventName AND recent.eventSource = before.eventSource WHERE before.eventName IS NULL`, want: one("ec2.amazonaws.com | RunInstances")},
		{form: `the most active principals by hour, ranked`, sql: `SELECT * FROM (SELECT date_trunc('hour', eventTime) AS hour, userIdentity.principalId AS who, count(*) AS n, rank() OVER (PARTITION BY date_trunc('hour', eventTime) ORDER BY count(*) DESC) AS r FROM EDS WHERE userIdentity.principalId IS NOT NULL GROUP BY 1, 2) WHERE r = 1 ORDER BY hour DESC LIMIT 2`, want: one("2026-01-08 08:00:00.000 | AROAEXAMPLE:ci-42 | 1 | 1", "2026-01-07 12:00:00.000 | 111122223333 | 1 | 1")},
		{form: `work outside of office hours`, sql: `SELECT eventName, hour(at_timezone(eventTime, 'America/Los_Angeles')) AS h FROM EDS WHERE day_of_week(at_timezone(eventTime, 'America/Los_Angeles')) IN (6, 7) OR hour(at_timezone(eventTime, 'America/Los_Angeles')) NOT BETWEEN 7 AND 19 ORDER BY eventTime LIMIT 2`, want: one("GetObject | 1", "AuthorizeSecurityGroupIngress | 2")},
		{form: `refused calls by principal and error`, sql: `SELECT coalesce(userIdentity.userName, userIdentity.sessionContext.sessionIssuer.userName) AS who, errorCode, count(*) AS n, array_join(array_sort(array_agg(DISTINCT eventName)), ',') AS calls FROM EDS WHERE errorCode LIKE '%Denied%' OR errorCode LIKE '%Unauthorized%' GROUP BY 1, 2 ORDER BY n DESC`, want: one("bob | AccessDenied | 1 | CreateUser")},
		{form: `who touched this object, by its ARN`, sql: `SELECT eventTime, eventName, userIdentity.userName FROM EDS WHERE cardinality(filter(resources, r -> r.arn = 'arn:aws:s3:::payroll/2026/january.csv')) > 0`, want: one("2026-01-05 09:12:41.000 | GetObject | ana")},
		{form: `insights beside the calls that they are about`, sql: `SELECT i.eventTime, e.eventName, e.userIdentity.arn FROM EDS i JOIN EDS e ON element_at(i.insightDetails, 'eventName') = e.eventName AND e.eventTime BETWEEN i.eventTime - interval '1' day AND i.eventTime WHERE i.eventCategory = 'Insight'`, want: one("2026-01-09 00:10:00.000 | RunInstances | arn:aws:sts::111122223333:assumed-role/Deploy/ci-42")},
	}
}

// TestLakeForms runs every form, and keeps the table in docs/lake-sql.md.
func TestLakeForms(t *testing.T) {
	t.Parallel()
	e := open(t, Options{Files: write(t, lakeRecords)})
	ids := strings.NewReplacer("EDS", lake, "EAST", east, "AUDIT", outside, "$EDS_ID", "$EDS_ID")
	forms := lakeFormList()
	for i := range forms {
		forms[i].sql, forms[i].refused = ids.Replace(forms[i].sql), ids.Replace(forms[i].refused)
	}
	runForms(t, lakeDoc, "forms", forms, func(sql string) ([]string, error) { return askLake(t, e, nil, lakeStores(), sql) })
}
