package lineage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"spoor/internal/store/duckdb"
)

// Calls that give out credentials, and their ids in the answer. The others of signCalls begin console sessions or stand
// behind credentials, and name none.
const (
	mintCalls = `'AssumeRole', 'AssumeRoleWithSAML', 'AssumeRoleWithWebIdentity', 'AssumeRoot', 'GetSessionToken', 'GetFederationToken', 'GetDelegatedAccessToken',
		'CreateAccessKey', 'CreateServiceSpecificCredential', 'GetCredentialsForIdentity', 'CreateSession', 'CreateOAuth2Token'`
	signCalls = `'ConsoleLogin', 'SwitchRole', 'GetSigninToken', 'UserAuthentication', 'CreateOAuth2Token', 'AuthorizeOAuth2Access'`
	ssoCalls  = `'GetRoleCredentials', 'Federate'`

	// mintedKey is the id of the credential that a call gave.
	mintedKey = `coalesce(json_extract_scalar(responseElements, '$.credentials.accessKeyId'), json_extract_scalar(responseElements, '$.accessKey.accessKeyId'),
		json_extract_scalar(responseElements, '$.credentialSet[0].credentials.accessKeyId'), json_extract_scalar(responseElements, '$.accessToken.accessKeyId'),
		json_extract_scalar(responseElements, '$.serviceSpecificCredential.serviceSpecificCredentialId'))`
	// longest is how many characters are kept of a text out of a log.
	longest = "1024"
)

// minting reports whether a call is one of mintCalls.
func minting(call string) bool { return strings.Contains(mintCalls, "'"+call+"'") }

// rec is a record, as far as lineage needs it.
type rec struct {
	Event
	who      Who
	key      string // of the caller
	issued   time.Time
	mfa      string
	source   string // sourceIdentity of the caller's session
	console  bool
	federate string // federatedProvider, or identityProvider
	scope    string // inScopeOf.sourceArn
	delivery string // ec2RoleDelivery
	issuer   string // ARN of the session's issuer
	invoked  string
	shared   string
	request  string // requestID
	token    string // credentialId
	// of calls that mint
	gave    string // key in the answer
	assumed string // ARN of the session in the answer
	role    string // requestParameters.roleArn
	session string // requestParameters.roleSessionName, or name
	user    string // requestParameters.userName, or the user of the key in the answer
	set     string // requestParameters.sourceIdentity
	from    string // additionalEventData.SwitchFrom
	ssoRole string
	ssoAcct string
}

const recColumns = `eventID, eventTime, eventSource, eventName, account, awsRegion, left(sourceIPAddress, ` + longest + `), left(userAgent, ` + longest + `),
	coalesce(errorCode, CASE WHEN failed THEN coalesce(left(errorMessage, 100), 'failed') END),
	userIdentity.type, left(userIdentity.arn, ` + longest + `), userIdentity.accountId, left(userIdentity.principalId, ` + longest + `),
	left(actor.name, ` + longest + `), left(actor.id, ` + longest + `), actor.kind, left(actor.session, ` + longest + `),
	accessKeyId, userIdentity.sessionContext.attributes.creationDate, userIdentity.sessionContext.attributes.mfaAuthenticated,
	left(userIdentity.sessionContext.sourceIdentity, ` + longest + `), sessionCredentialFromConsole,
	left(coalesce(userIdentity.sessionContext.webIdFederationData.federatedProvider, userIdentity.identityProvider), ` + longest + `),
	left(userIdentity.inScopeOf.sourceArn, ` + longest + `), userIdentity.sessionContext.ec2RoleDelivery,
	left(userIdentity.sessionContext.sessionIssuer.arn, ` + longest + `), left(userIdentity.invokedBy, ` + longest + `), sharedEventID, requestID, userIdentity.credentialId`

const mintColumns = recColumns + `,
	left(` + mintedKey + `, 128), left(json_extract_scalar(responseElements, '$.assumedRoleUser.arn'), ` + longest + `),
	left(json_extract_scalar(requestParameters, '$.roleArn'), ` + longest + `),
	left(coalesce(json_extract_scalar(requestParameters, '$.roleSessionName'), json_extract_scalar(requestParameters, '$.name')), ` + longest + `),
	left(coalesce(json_extract_scalar(requestParameters, '$.userName'), json_extract_scalar(responseElements, '$.accessKey.userName')), ` + longest + `),
	left(json_extract_scalar(requestParameters, '$.sourceIdentity'), ` + longest + `),
	left(json_extract_scalar(additionalEventData, '$.SwitchFrom'), ` + longest + `),
	left(json_extract_scalar(serviceEventDetails, '$.role_name'), ` + longest + `), json_extract_scalar(serviceEventDetails, '$.account_id')`

// read makes a record of a row of recColumns, or of mintColumns.
func read(row []string) rec {
	at := func(i int) string {
		if i < len(row) {
			return row[i]
		}
		return ""
	}
	r := rec{
		Event: Event{ID: row[0], Time: stamp(row[1]), Source: row[2], Name: row[3], Account: row[4], Region: row[5], Address: row[6], Agent: row[7], Error: row[8]},
		who:   Who{Type: row[9], ARN: row[10], Account: row[11], Principal: row[12], Actor: row[13], ActorID: row[14], ActorKind: row[15], Name: row[16]},
		key:   row[17], issued: stamp(row[18]), mfa: strings.ToLower(row[19]), source: row[20], console: row[21] == "true", federate: row[22], scope: row[23], delivery: row[24],
		issuer: row[25], invoked: row[26], shared: row[27], request: row[28], token: row[29],
		gave: at(30), assumed: at(31), role: at(32), session: at(33), user: at(34), set: at(35), from: at(36), ssoRole: at(37), ssoAcct: at(38),
	}
	if r.key == "" {
		r.key = r.token
	}
	switch {
	case r.role != "":
		r.Target = r.role
	case r.user != "":
		r.Target = "user " + r.user
	case r.Name == "CreateAccessKey":
		r.Target = "user " + r.who.Actor // a key for oneself
	case r.session != "":
		r.Target = r.session
	}
	return r
}

// stamp reads a time as the engine or a record writes it.
func stamp(s string) time.Time {
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// asker asks the engine, with values that never become SQL.
type asker struct {
	ctx    context.Context //nolint:containedctx // of one trace
	engine *duckdb.Engine
}

// params collects values, and gives the names by which they stand in a query.
type params []duckdb.Param

func (p *params) add(value string) string {
	name := "v" + strconv.Itoa(len(*p))
	*p = append(*p, duckdb.Param{Name: name, Value: value})
	return "$" + name
}

// in is a list of values.
func (p *params) in(values []string) string {
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = p.add(v)
	}
	return "(" + strings.Join(names, ", ") + ")"
}

// around is a condition on the time of events. Zero times are no bound.
func (p *params) around(from, to time.Time) string {
	cond := "true"
	if !from.IsZero() {
		cond = "eventTime >= CAST(" + p.add(from.UTC().Format("2006-01-02 15:04:05.999999+00")) + " AS timestamp with time zone)"
	}
	if !to.IsZero() {
		cond += " AND eventTime <= CAST(" + p.add(to.UTC().Format("2006-01-02 15:04:05.999999+00")) + " AS timestamp with time zone)"
	}
	return cond
}

// at is a condition on the time of events, of which there are few: rows lie in the order of time, so that little is read.
func (p *params) at(times []time.Time) string {
	names := make([]string, len(times))
	for i, t := range times {
		names[i] = "CAST(" + p.add(t.UTC().Format("2006-01-02 15:04:05.999999+00")) + " AS timestamp with time zone)"
	}
	return "eventTime IN (" + strings.Join(names, ", ") + ")"
}

// mostRows is the most rows of one answer.
const mostRows = 5000

// rows gives the answer; NULL is "".
func (a *asker) rows(what, sql string, p params, limit int) (out [][]string, err error) {
	rows, err := a.engine.Query(a.ctx, sql, duckdb.QueryOptions{Params: p, Limit: int64(limit)})
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", what, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for {
		values, ok, err := rows.Next()
		if err != nil {
			return nil, fmt.Errorf("look for %s: %w", what, err)
		}
		if !ok {
			return out, nil
		}
		row := make([]string, len(values))
		for i, v := range values {
			row[i] = v.Text
		}
		out = append(out, row)
	}
}

func (a *asker) recs(what, sql string, p params, limit int) ([]rec, error) {
	rows, err := a.rows(what, sql, p, limit)
	if err != nil {
		return nil, err
	}
	out := make([]rec, len(rows))
	for i, r := range rows {
		out[i] = read(r)
	}
	return out, nil
}

// coverage tells what the data hold, by account.
func (a *asker) coverage() (map[string]Coverage, error) {
	rows, err := a.rows("what the data hold", `SELECT account, min(eventTime), max(eventTime), count(*) FROM events GROUP BY account ORDER BY count(*) DESC`, nil, mostRows)
	if err != nil {
		return nil, err
	}
	out := map[string]Coverage{}
	for _, r := range rows {
		out[r[0]] = Coverage{Account: r[0], First: stamp(r[1]), Last: stamp(r[2]), Events: number(r[3])}
	}
	return out, nil
}

// fetchIDs is how many records are fetched by their ids; more are asked for in one query over everything.
const fetchIDs = 400

// fetch gives the records of a condition, at most 5000, in the order of time. Wide columns are costly to read, so that few
// records are first found by the narrow columns of the condition.
func (a *asker) fetch(what, columns, cond string, p params) ([]rec, error) {
	found, err := a.rows(what, "SELECT eventID, eventTime FROM events WHERE "+cond+" ORDER BY eventTime, eventID", p, mostRows)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	whole := len(found) > fetchIDs
	for _, f := range found {
		whole = whole || f[0] == "" || f[1] == ""
	}
	if whole {
		return a.recs(what, "SELECT "+columns+" FROM events WHERE "+cond+" ORDER BY eventTime, eventID", p, mostRows)
	}
	var out []rec
	for part := range slices.Chunk(found, 100) {
		q := slices.Clone(p)
		ids, times := make([]string, len(part)), make([]time.Time, len(part))
		for i, f := range part {
			ids[i], times[i] = f[0], stamp(f[1])
		}
		where := q.at(times) + " AND eventID IN " + q.in(ids) + " AND (" + cond + ")"
		recs, err := a.recs(what, "SELECT "+columns+" FROM events WHERE "+where+" ORDER BY eventTime, eventID", q, mostRows)
		if err != nil {
			return nil, err
		}
		out = append(out, recs...)
	}
	return out, nil
}

// ofKeys is the condition that an event was made with one of the keys.
func (p *params) ofKeys(keys []string) string {
	cond := "accessKeyId IN " + p.in(keys)
	for _, k := range keys {
		if !isAccessKey(k) { // a bearer token, which has no column of its own
			return "(" + cond + " OR userIdentity.credentialId IN " + p.in(keys) + ")"
		}
	}
	return cond
}

// firstUse gives, of each key, the record of its first use, outside of the console if there is one.
func (a *asker) firstUse(keys []string) (map[string]rec, error) {
	var p params
	rows, err := a.rows("uses of keys", `SELECT coalesce(nullif(accessKeyId, ''), userIdentity.credentialId) AS k, arg_min(eventID, eventTime), min(eventTime) FROM events WHERE `+p.ofKeys(keys)+` GROUP BY k`, p, mostRows)
	if err != nil {
		return nil, err
	}
	out := map[string]rec{}
	for part := range slices.Chunk(rows, 100) {
		var p params
		var ids, keys []string
		var times []time.Time
		for _, r := range part {
			keys, ids, times = append(keys, r[0]), append(ids, r[1]), append(times, stamp(r[2]))
		}
		recs, err := a.recs("uses of keys", `SELECT `+recColumns+` FROM events WHERE `+p.at(times)+` AND `+p.ofKeys(keys)+` AND (eventID IN `+p.in(ids)+` OR eventID IS NULL) ORDER BY eventTime DESC`, p, mostRows)
		if err != nil {
			return nil, err
		}
		for _, r := range recs {
			out[r.key] = r
		}
	}
	return out, nil
}

// mints gives the successful calls that gave the keys, by key. With only, just those of that name are looked at.
func (a *asker) mints(keys []string, only string, from, to time.Time) (map[string][]rec, error) {
	var p params
	calls := "eventName IN (" + mintCalls + ")"
	if only != "" {
		calls = "eventName = " + p.add(only)
	}
	sql := `SELECT ` + mintColumns + ` FROM events WHERE ` + calls + ` AND errorCode IS NULL AND ` + p.around(from, to) + ` AND ` + mintedKey + ` IN ` + p.in(keys) + ` ORDER BY eventTime, eventID`
	recs, err := a.recs("who made keys", sql, p, mostRows)
	out := map[string][]rec{}
	for _, r := range recs {
		out[r.gave] = append(out[r.gave], r)
	}
	return out, err
}

// children gives the successful calls by which the keys minted others, and how many there are of each key.
func (a *asker) children(keys []string) ([]rec, map[string]int64, error) {
	var p params
	cond := `eventName IN (` + mintCalls + `) AND errorCode IS NULL AND accessKeyId IN ` + p.in(keys)
	recs, err := a.fetch("what keys minted", mintColumns, cond, p)
	recs = slices.DeleteFunc(recs, func(r rec) bool { return r.gave == "" })
	if err != nil || len(recs) < mostRows {
		return recs, nil, err
	}
	rows, err := a.rows("what keys minted", `SELECT accessKeyId, count(*) FROM events WHERE `+cond+` GROUP BY 1`, p, mostRows)
	total := map[string]int64{}
	for _, r := range rows {
		total[r[0]] = number(r[1])
	}
	return recs, total, err
}

// keptCounts is how many values are kept of each list of [Uses].
const keptCounts = "40"

// uses adds up what was done with keys. With a name in by, all of them together, under that name.
func (a *asker) uses(keys []string, together bool) (map[string]*Uses, error) {
	var p params
	of := "coalesce(nullif(accessKeyId, ''), userIdentity.credentialId)"
	cond := p.ofKeys(keys)
	if together {
		of = "'all'"
	}
	sql := `WITH used AS (SELECT ` + of + ` AS k, eventName AS n, eventSource AS s, NOT coalesce(readOnly, false) AS w, left(errorCode, 200) AS e, left(sourceIPAddress, 200) AS ip,
		left(userAgent, 300) AS ua, awsRegion AS r, account AS a, eventTime AS t, errorCode IS NOT NULL OR errorMessage IS NOT NULL AS f
	FROM events WHERE ` + cond + `),
	sums AS (SELECT k, grouping(n) AS gn, grouping(e) AS ge, grouping(ip) AS gi, grouping(ua) AS gu, grouping(r) AS gr, grouping(a) AS ga, n, s, bool_or(w) AS w, e, ip, ua, r, a,
		count(*) AS calls, count_if(f) AS failed, min(t) AS first, max(t) AS last
	FROM used GROUP BY GROUPING SETS ((k), (k, n, s), (k, e), (k, ip), (k, ua), (k, r), (k, a)))
	SELECT k, CASE WHEN gn = 0 THEN 'name' WHEN ge = 0 THEN 'error' WHEN gi = 0 THEN 'address' WHEN gu = 0 THEN 'agent' WHEN gr = 0 THEN 'region' WHEN ga = 0 THEN 'account' ELSE 'all' END AS what,
		coalesce(n, e, ip, ua, r, a) AS value, s, w, calls, failed, first, last, count(*) OVER (PARTITION BY k, what) AS n_distinct
	FROM sums WHERE what = 'all' OR value IS NOT NULL
	QUALIFY row_number() OVER (PARTITION BY k, what ORDER BY CASE WHEN what = 'name' AND w THEN 0 ELSE 1 END, calls DESC, value, s) <= ` + keptCounts + `
	ORDER BY k, what, CASE WHEN what = 'name' AND w THEN 0 ELSE 1 END, calls DESC, first, value`
	out := map[string]*Uses{}
	const chunk = 20 // keys, so that an answer stays within mostRows
	rows, err := a.rows("what was done with keys", sql, p, chunk*mostRows)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		u := out[r[0]]
		if u == nil {
			u = &Uses{}
			out[r[0]] = u
		}
		c := Count{Value: r[2], Source: r[3], Calls: number(r[5]), Failed: number(r[6]), First: stamp(r[7]), Last: stamp(r[8])}
		list := map[string]*[]Count{"name": &u.Names, "error": &u.Errors, "address": &u.Addresses, "agent": &u.Agents, "region": &u.Regions, "account": &u.Accounts}[r[1]]
		if list == nil {
			u.Calls, u.Failed, u.First, u.Last = c.Calls, c.Failed, c.First, c.Last
			continue
		}
		c.Writes = r[1] == "name" && r[4] == "true"
		if len(*list) == 0 {
			c.Distinct = number(r[9])
		}
		*list = append(*list, c)
	}
	return out, nil
}

func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64) // the engine wrote it
	return n
}

// isAccessKey reports whether s has the form of an access key id.
func isAccessKey(s string) bool {
	if len(s) < 12 || len(s) > 128 || s[0] != 'A' || s[2:4] != "IA" || s[1] != 'K' && s[1] != 'S' {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return (r < 'A' || r > 'Z') && (r < '0' || r > '9') }) < 0
}
