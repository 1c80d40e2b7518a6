package duckdb

import (
	"fmt"
	"slices"
	"strings"

	"spoor/internal/store/segment"
)

// DataStore is what an event data store holds, as a table of the Lake dialect.
type DataStore struct {
	// ID is a UUID in small letters: the name in FROM.
	ID string
	// Audit stores have the columns of events from outside of AWS (eventData, metadata, addendum …) in place of CloudTrail's.
	Audit bool
	// Where is a condition in SQL over the columns of package segment, "" for all. What it is NULL for is left out. It is the
	// program's own, its values quoted with [QuoteText].
	Where string
}

// QuoteText writes a text as SQL does.
func QuoteText(s string) string { return quoteText(s) }

// DataStoreIDs gives the ids of the event data stores that a query of the Lake dialect names in FROM, in small letters, in
// the order in which they appear, once each. Errors are [*RefusedError].
func DataStoreIDs(sql string) ([]string, error) {
	toks, err := lakeLex(sql)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, i := range tablePlaces(toks) {
		if id, ok := storeID(toks[i]); ok && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// storeID is the id that a token is.
func storeID(t token) (string, bool) {
	switch {
	case t.kind == uuid:
		return strings.ToLower(t.text), true
	case t.kind == quoted && isUUID(t.low):
		return t.low, true
	}
	return "", false
}

// tablePlaces are the tokens that stand where a table does: behind FROM and JOIN, and behind the commas between tables.
func tablePlaces(toks []token) (places []int) {
	next := func(i, end int) token {
		for ; i < end; i++ {
			if toks[i].kind != space {
				return toks[i]
			}
		}
		return token{}
	}
	// tables says that the tokens are tables, query that they are a query: in other parentheses FROM is part of a call.
	var walk func(i, end int, tables, query bool)
	walk = func(i, end int, tables, query bool) {
		want := tables // the next token is a table
		last := ""
		for ; i < end; i++ {
			t := toks[i]
			if t.kind == space {
				continue
			}
			switch {
			case t.mate > i:
				first := next(i+1, t.mate)
				inner := first.text == "(" || first.kind == word && (first.low == "select" || first.low == "with" || first.low == "from")
				walk(i+1, t.mate, want && t.text == "(", inner)
				i = t.mate
				want = false
			case t.kind == word && (t.low == "from" && query && last != "distinct" || t.low == "join"):
				want, tables = true, true
			case t.kind == word && endsTables(t.low):
				want, tables = false, false
			case t.text == "," && tables:
				want = true
			case want && t.kind == word && t.low == "lateral":
			case want:
				places = append(places, i)
				want = false
			}
			last = t.low
		}
	}
	walk(0, len(toks), false, true)
	return places
}

// endsTables reports whether a word stands behind the tables of a query.
func endsTables(word string) bool {
	switch word {
	case "where", "group", "order", "having", "limit", "union", "except", "intersect", "select", "window", "qualify", "offset", "fetch":
		return true
	}
	return false
}

// columnsSQL are the columns of an event data store.
func (d DataStore) columnsSQL() string {
	if d.Audit {
		return auditColumnsSQL()
	}
	return lakeColumnsSQL()
}

// cteSQL defines the store for a query; see [translation]. Events outside of span are not asked for. With at, there is a
// column of this name more: eventTime as it lies in the files.
func (d DataStore) cteSQL(span span, at string) string {
	conds := []string{"true"}
	if d.Where != "" {
		conds = append(conds, "("+d.Where+")")
	}
	if from, ok := literal(span.from); ok {
		conds = append(conds, "eventTime >= "+from)
	}
	if to, ok := literal(span.to); ok {
		conds = append(conds, "eventTime <= "+to)
	}
	columns := d.columnsSQL()
	if at != "" {
		columns += ", eventTime AS " + quoteName(at)
	}
	return fmt.Sprintf("%s AS NOT MATERIALIZED (SELECT %s FROM main.%s WHERE %s)", quoteName(d.ID), columns, segmentsView, strings.Join(conds, " AND "))
}

// mapSQL is JSON as a map of text: scalar members as text, others as JSON text.
func mapSQL(expr string) string {
	return "spoor_map(" + expr + ")"
}

// instantSQL is a time with zone as one in UTC without: what CAST does, in a hundredth of the time.
func instantSQL(expr string) string { return "make_timestamp(epoch_us(" + expr + "))" }

// addendumSQL is the addendum of CloudTrail as a struct.
func addendumSQL(names func(string) string) string {
	member := func(n string) string { return fmt.Sprintf("TRY(json_extract_string(addendum, '$.%s'))", n) }
	id := func(n string) string { return fmt.Sprintf("coalesce(%s, %s)", member(n+"ID"), member(n+"Id")) }
	return fmt.Sprintf("CASE WHEN addendum IS NULL THEN NULL ELSE {%s: %s, %s: %s, %s: %s, %s: %s} END",
		quoteText(names("reason")), member("reason"), quoteText(names("updatedFields")), member("updatedFields"),
		quoteText(names("originalRequestId")), id("originalRequest"), quoteText(names("originalEventId")), id("originalEvent"))
}

func asIs(s string) string { return s }

// lakeColumnsSQL are the columns of events of CloudTrail: times without zone, free JSON as maps of text.
func lakeColumnsSQL() string {
	asMap := func(c string) string { return mapSQL(c) + " AS " + c }
	return `eventVersion, userIdentity, ` + instantSQL("eventTime") + ` AS eventTime, eventSource, eventName, awsRegion, sourceIPAddress, userAgent, errorCode, errorMessage,
	` + asMap("requestParameters") + ", " + asMap("responseElements") + ", " + asMap("additionalEventData") + `,
	requestID, eventID, readOnly, list_transform(resources, lambda r: CASE WHEN r IS NULL THEN NULL ELSE {'accountId': r.accountId, 'type': r.type, 'ARN': r.ARN, 'ARNPrefix': r.ARNPrefix} END) AS resources,
	eventType, apiVersion, managementEvent, recipientAccountId, sharedEventID, annotation, vpcEndpointId, vpcEndpointAccountId,
	` + asMap("serviceEventDetails") + ", " + addendumSQL(asIs) + " AS addendum, " + asMap("edgeDeviceDetails") + ", " + asMap("insightDetails") + ", " + asMap("eventContext") + `,
	eventCategory, tlsDetails, sessionCredentialFromConsole, ` + segment.RawSQL + ` AS eventJson, CAST(NULL AS VARCHAR) AS eventJsonChecksum`
}

// auditShape is what of the record of an outside event becomes columns, as json_transform takes it.
const auditShape = `{"metadata":{"ingestionTime":"VARCHAR","channelARN":"VARCHAR"},` +
	`"eventData":{"version":"VARCHAR","userIdentity":{"type":"VARCHAR","principalId":"VARCHAR","details":"JSON"},"userAgent":"VARCHAR","eventSource":"VARCHAR","eventName":"VARCHAR",` +
	`"eventTime":"VARCHAR","UID":"VARCHAR","requestParameters":"JSON","responseElements":"JSON","errorCode":"VARCHAR","errorMessage":"VARCHAR","sourceIPAddress":"VARCHAR",` +
	`"recipientAccountId":"VARCHAR","additionalEventData":"JSON"}}`

// auditColumnsSQL are the columns of events from outside of AWS.
func auditColumnsSQL() string {
	record := "TRY(json_transform(" + segment.RawSQL + ", " + quoteText(auditShape) + "))"
	data := func(m string) string { return fmt.Sprintf("'%s': r.eventData.%[1]s", m) }
	dataMap := func(m string) string { return fmt.Sprintf("'%s': %s", m, mapSQL("r.eventData."+m)) }
	return `eventVersion, eventCategory, eventType, eventID, ` + instantSQL("eventTime") + ` AS eventTime, awsRegion, recipientAccountId, ` + addendumSQL(asIs) + ` AS addendum,
	list_transform([` + record + `], lambda r: CASE WHEN r.metadata IS NULL THEN NULL ELSE {
		'ingestionTime': ` + momentSQL("r.metadata.ingestionTime") + `, 'channelARN': r.metadata.channelARN} END)[1] AS metadata,
	list_transform([` + record + `], lambda r: CASE WHEN r.eventData IS NULL THEN NULL ELSE {` + data("version") + `,
		'userIdentity': CASE WHEN r.eventData.userIdentity IS NULL THEN NULL ELSE {'type': r.eventData.userIdentity.type, 'principalId': r.eventData.userIdentity.principalId,
			'details': ` + mapSQL("r.eventData.userIdentity.details") + `} END,
		` + strings.Join([]string{data("userAgent"), data("eventSource"), data("eventName"), "'eventTime': " + momentSQL("r.eventData.eventTime"), data("UID"), dataMap("requestParameters"), dataMap("responseElements"),
		data("errorCode"), data("errorMessage"), data("sourceIPAddress"), data("recipientAccountId"), dataMap("additionalEventData")}, ", ") + `} END)[1] AS eventData,
	` + segment.RawSQL + ` AS eventJson, CAST(NULL AS VARCHAR) AS eventJsonChecksum`
}

// momentSQL is a time in a record as a timestamp in UTC.
func momentSQL(expr string) string { return "spoor_moment(" + expr + ")" }
