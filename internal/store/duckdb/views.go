package duckdb

import (
	"fmt"
	"strings"

	"spoor/internal/store/segment"
)

// Names of what queries may read.
const (
	eventsView    = "events"
	athenaView    = "cloudtrail_logs"
	dataStoreView = "event_data_store"
	segmentsView  = "spoor_segments"
)

// Segments is the files as they are, with the columns of package segment and filename, for the other tables and for queries
// with [QueryOptions.Own].
const Segments = "main." + segmentsView

// seenViews say when something was seen first and last, and how often, in what the store has. They are asked anew each time,
// so that compaction, retention and reading again cannot make them wrong.
func seenViews() []struct{ name, sql string } {
	// failed leaves out what only responseElements tells, which would have to be read for it.
	const seen = `min(eventTime) AS firstSeen, max(eventTime) AS lastSeen, count(*) AS events, count_if(errorCode IS NOT NULL OR errorMessage IS NOT NULL) AS failed
FROM main.` + segmentsView
	return []struct{ name, sql string }{
		{"seen_actors", `SELECT actorId, min(actor.name) AS actor, min(actor.kind) AS kind, min(actor.account) AS account, ` + seen + ` WHERE actorId IS NOT NULL GROUP BY actorId`},
		{"seen_addresses", `SELECT sourceIPAddress, ` + seen + ` WHERE sourceIPAddress IS NOT NULL GROUP BY sourceIPAddress`},
		{"seen_keys", `SELECT accessKeyId, min(actorId) AS actorId, count(DISTINCT sourceIPAddress) AS addresses, ` + seen + ` WHERE accessKeyId <> '' GROUP BY accessKeyId`},
		{"seen_agents", `SELECT userAgent, ` + seen + ` WHERE userAgent IS NOT NULL GROUP BY userAgent`},
		{"seen_calls", `SELECT actorId, eventSource, eventName, ` + seen + ` WHERE actorId IS NOT NULL GROUP BY actorId, eventSource, eventName`},
		{"seen_regions", `SELECT account, awsRegion, ` + seen + ` WHERE awsRegion IS NOT NULL GROUP BY account, awsRegion`},
	}
}

// Tables are the names of all tables that queries can ask, but for further names of them.
func Tables() []string {
	out := []string{eventsView, athenaView, dataStoreView}
	for _, v := range seenViews() {
		out = append(out, v.name)
	}
	return out
}

// segmentsSQL is the relation of the files as they are, with every column of package segment whether they have it or not.
// With empty there are none.
func segmentsSQL(empty bool) string {
	cols := segment.Columns()
	if empty {
		parts := make([]string, len(cols))
		for i, c := range cols {
			parts[i] = fmt.Sprintf("CAST(NULL AS %s) AS %s", c.DuckDB(), quoteName(c.Name))
		}
		parts = append(parts, "'' AS filename")
		return "SELECT " + strings.Join(parts, ", ") + " WHERE false"
	}
	return "SELECT *, filename FROM " + readSQL("getvariable('"+schemaVar+"')")
}

// readSQL reads columns of the files of the query. Field ids, not names, say which column of a file is which. A file name
// with = in it means nothing.
func readSQL(schema string) string {
	return fmt.Sprintf("read_parquet(getvariable('%s'), hive_partitioning=false, schema=%s)", filesVar, schema)
}

// schemaSQL is the schema of the columns that are wanted, as read_parquet takes it.
func schemaSQL(wanted func(segment.Column) bool) string {
	var schema []string
	for _, c := range segment.Columns() {
		if wanted(c) {
			schema = append(schema, fmt.Sprintf("%d: {name: %s, type: %s, default_value: NULL}", c.ID, quoteText(c.Name), quoteText(c.DuckDB())))
		}
	}
	return "MAP {" + strings.Join(schema, ", ") + "}"
}

// boundsSQL is the condition that leaves out what the scope of a query bounds, and what the query does not need. Where a
// variable is not set, the engine leaves its part out.
func boundsSQL(empty bool) string {
	if empty {
		return ""
	}
	at := func(name string) string { return "CAST(getvariable('" + name + "') AS TIMESTAMP WITH TIME ZONE)" }
	list := func(name string) string { return "CAST(getvariable('" + name + "') AS VARCHAR[])" }
	return " WHERE " + strings.Join([]string{
		fmt.Sprintf("(%s IS NULL OR eventTime >= %[1]s OR eventTime IS NULL)", at(sinceVar)),
		fmt.Sprintf("(%s IS NULL OR eventTime < %[1]s OR eventTime IS NULL)", at(untilVar)),
		fmt.Sprintf("(%s IS NULL OR list_contains(%[1]s, account))", list(accountsVar)),
		fmt.Sprintf("(%s IS NULL OR list_contains(%[1]s, awsRegion))", list(regionsVar)),
		focusSQL(),
	}, " AND ")
}

// eventsSQL is the view events: JSON columns as JSON, rawBytes only where needed, helpers at the end.
func eventsSQL() string {
	var parts []string
	for _, c := range segment.Columns() {
		switch {
		case c.Name == "raw":
			parts = append(parts, segment.RawSQL+" AS raw")
		case c.Name == "rawHead" || c.Name == "rawTail":
		case c.Type == segment.JSON:
			// What is no JSON, for whatever reason, must not end a query over everything else.
			parts = append(parts, fmt.Sprintf("TRY_CAST(%s AS JSON) AS %[1]s", quoteName(c.Name)))
		default:
			parts = append(parts, quoteName(c.Name))
		}
	}
	parts = append(parts,
		`split_part(eventSource, '.', 1) AS service`,
		`(errorCode IS NOT NULL OR errorMessage IS NOT NULL OR (eventName = 'ConsoleLogin' AND coalesce(TRY(json_extract_string(responseElements, '$.ConsoleLogin')) = 'Failure', false))) AS failed`,
		`list_filter(list_transform(resources, lambda r: r.ARN), lambda a: a IS NOT NULL) AS resourceARNs`)
	return "SELECT " + strings.Join(parts, ", ") + " FROM main." + segmentsView
}

// isoTime is eventTime as the record writes it.
const isoTime = `CASE WHEN epoch_us(eventTime) % 1000000 = 0 THEN strftime(CAST(eventTime AS TIMESTAMP), '%Y-%m-%dT%H:%M:%SZ') ELSE strftime(CAST(eventTime AS TIMESTAMP), '%Y-%m-%dT%H:%M:%S.%fZ') END`

// athenaSQL is Athena's table: lower-case names, times and booleans as text, JSON as text, partition columns.
func athenaSQL() string {
	return `SELECT
	eventVersion AS eventversion,
	CASE WHEN userIdentity IS NULL THEN NULL ELSE {
		'type': userIdentity.type, 'principalid': userIdentity.principalId, 'arn': userIdentity.arn, 'accountid': userIdentity.accountId,
		'invokedby': userIdentity.invokedBy, 'accesskeyid': userIdentity.accessKeyId, 'username': userIdentity.userName,
		'onbehalfof': CASE WHEN userIdentity.onBehalfOf IS NULL THEN NULL ELSE {'userid': userIdentity.onBehalfOf.userId, 'identitystorearn': userIdentity.onBehalfOf.identityStoreArn} END,
		'sessioncontext': CASE WHEN userIdentity.sessionContext IS NULL THEN NULL ELSE {
			'attributes': CASE WHEN userIdentity.sessionContext.attributes IS NULL THEN NULL ELSE {
				'mfaauthenticated': userIdentity.sessionContext.attributes.mfaAuthenticated, 'creationdate': userIdentity.sessionContext.attributes.creationDate} END,
			'sessionissuer': CASE WHEN userIdentity.sessionContext.sessionIssuer IS NULL THEN NULL ELSE {
				'type': userIdentity.sessionContext.sessionIssuer.type, 'principalid': userIdentity.sessionContext.sessionIssuer.principalId,
				'arn': userIdentity.sessionContext.sessionIssuer.arn, 'accountid': userIdentity.sessionContext.sessionIssuer.accountId,
				'username': userIdentity.sessionContext.sessionIssuer.userName} END,
			'ec2roledelivery': userIdentity.sessionContext.ec2RoleDelivery,
			'webidfederationdata': CASE WHEN userIdentity.sessionContext.webIdFederationData IS NULL THEN NULL ELSE {
				'federatedprovider': userIdentity.sessionContext.webIdFederationData.federatedProvider,
				'attributes': TRY_CAST(TRY_CAST(userIdentity.sessionContext.webIdFederationData.attributes AS JSON) AS MAP(VARCHAR, VARCHAR))} END
		} END
	} END AS useridentity,
	` + isoTime + ` AS eventtime,
	eventSource AS eventsource, eventName AS eventname, awsRegion AS awsregion, sourceIPAddress AS sourceipaddress, userAgent AS useragent,
	errorCode AS errorcode, errorMessage AS errormessage,
	requestParameters AS requestparameters, responseElements AS responseelements, additionalEventData AS additionaleventdata,
	requestID AS requestid, eventID AS eventid,
	list_transform(resources, lambda r: {'arn': r.ARN, 'accountid': r.accountId, 'type': r.type}) AS resources,
	eventType AS eventtype, apiVersion AS apiversion, CAST(readOnly AS VARCHAR) AS readonly, recipientAccountId AS recipientaccountid,
	serviceEventDetails AS serviceeventdetails, sharedEventID AS sharedeventid, vpcEndpointId AS vpcendpointid, vpcEndpointAccountId AS vpcendpointaccountid,
	eventCategory AS eventcategory,
	` + addendumSQL(strings.ToLower) + ` AS addendum,
	sessionCredentialFromConsole AS sessioncredentialfromconsole, edgeDeviceDetails AS edgedevicedetails,
	CASE WHEN tlsDetails IS NULL THEN NULL ELSE {
		'tlsversion': tlsDetails.tlsVersion, 'ciphersuite': tlsDetails.cipherSuite, 'clientprovidedhostheader': tlsDetails.clientProvidedHostHeader} END AS tlsdetails,
	CAST(NULL AS VARCHAR) AS reciprocalvpcid,
	strftime(CAST(eventTime AS TIMESTAMP), '%Y/%m/%d') AS "timestamp", awsRegion AS region,
	strftime(CAST(eventTime AS TIMESTAMP), '%Y') AS "year", strftime(CAST(eventTime AS TIMESTAMP), '%m') AS "month", strftime(CAST(eventTime AS TIMESTAMP), '%d') AS "day",
	account
FROM main.` + segmentsView
}

// dataStoreSQL is a CloudTrail Lake event data store that has all events.
func dataStoreSQL() string { return "SELECT " + lakeColumnsSQL() + " FROM main." + segmentsView }

func quoteName(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
func quoteText(s string) string { return `'` + strings.ReplaceAll(s, `'`, `''`) + `'` }
