package duckdb

import (
	"fmt"
	"slices"
	"strings"
)

// Ready is a query that is kept ready for a question that responders often have.
type Ready struct {
	Name     string
	Question string
	Params   []ReadyParam
	SQL      string
}

// ReadyParam is a parameter of a ready query, $name in its SQL.
type ReadyParam struct {
	Name, Doc string
	Default   string // "" when a value must be given
}

// Bind gives the values of all parameters: those given and the defaults of others.
func (r Ready) Bind(given map[string]string) ([]Param, error) {
	var out []Param
	for _, p := range r.Params {
		v, ok := given[p.Name]
		if !ok {
			if p.Default == "" {
				return nil, fmt.Errorf("the query %s needs --param %s=… (%s)", r.Name, p.Name, p.Doc)
			}
			v = p.Default
		}
		out = append(out, Param{p.Name, v})
	}
	for name := range given {
		if !slices.ContainsFunc(r.Params, func(p ReadyParam) bool { return p.Name == name }) {
			return nil, fmt.Errorf("the query %s has no parameter %s", r.Name, name)
		}
	}
	return out, nil
}

// FindReady gives the ready query of that name.
func FindReady(name string) (Ready, bool) {
	for _, r := range ReadyQueries() {
		if r.Name == strings.ToLower(name) {
			return r, true
		}
	}
	return Ready{}, false
}

// ReadyQueries are all ready queries, in the order in which an investigation tends to need them.
func ReadyQueries() []Ready {
	const sinceDoc = "a time, such as 2026-01-10 or 2026-01-10T09:00:00Z"
	return []Ready{
		{"key", "What was done with this access key: by whom, from where, when?", []ReadyParam{{"key", "an access key id, such as AKIA… or ASIA…", ""}},
			`SELECT actor.name AS actor, sourceIPAddress, eventSource, eventName, count(*) AS calls, count_if(failed) AS failed,
       min(eventTime) AS first, max(eventTime) AS last
FROM events
WHERE accessKeyId = $key
GROUP BY ALL
ORDER BY first`},
		{"key-origin", "Where does this access key come from?", []ReadyParam{{"key", "an access key id, such as AKIA… or ASIA…", ""}},
			`SELECT eventTime, actor.name AS made_by, accessKeyId AS with_key, eventName,
       coalesce(json_extract_scalar(requestParameters, '$.roleArn'), json_extract_scalar(requestParameters, '$.userName')) AS made_for,
       sourceIPAddress, eventID
FROM events
WHERE eventName IN ('CreateAccessKey', 'AssumeRole', 'AssumeRoleWithSAML', 'AssumeRoleWithWebIdentity', 'AssumeRoot', 'GetSessionToken', 'GetFederationToken', 'CreateUser')
  AND (json_extract_scalar(responseElements, '$.accessKey.accessKeyId') = $key OR json_extract_scalar(responseElements, '$.credentials.accessKeyId') = $key)
ORDER BY eventTime`},
		{"arn", "Who touched this ARN, and how?", []ReadyParam{{"arn", "the ARN of a resource, role or user", ""}},
			`SELECT actor.name AS actor, eventSource, eventName, count(*) AS calls, count_if(failed) AS failed,
       min(eventTime) AS first, max(eventTime) AS last
FROM events
WHERE userIdentity.arn = $arn
   OR userIdentity.sessionContext.sessionIssuer.arn = $arn
   OR list_contains(resourceARNs, $arn)
   OR contains(requestParameters::varchar, $arn)
   OR contains(responseElements::varchar, $arn)
GROUP BY ALL
ORDER BY first`},
		{"actor", "What did this actor do, newest first?", []ReadyParam{{"actor", "the name or id of an actor, an ARN, or a session name", ""}},
			`SELECT eventTime, eventSource, eventName, errorCode, sourceIPAddress, awsRegion, account, eventID
FROM events
WHERE actor.name = $actor OR actorId = $actor OR actor.session = $actor OR userIdentity.arn = $actor
ORDER BY eventTime DESC, eventID`},
		{"address", "Who came from this address or network, when first and last?", []ReadyParam{{"address", "an address such as 198.51.100.7, or a network such as 198.51.100.0/24", ""}},
			`SELECT sourceIPAddress, actor.name AS actor, actor.kind AS kind, account, count(*) AS calls, count_if(failed) AS failed,
       min(eventTime) AS first, max(eventTime) AS last
FROM events
WHERE sourceIPAddress = $address OR ip_in(sourceIPAddress, $address)
GROUP BY ALL
ORDER BY first`},
		{"addresses", "From which addresses did each actor come, when first and last?", nil,
			`SELECT actor.name AS actor, sourceIPAddress, count(*) AS calls, count_if(failed) AS failed, min(eventTime) AS first, max(eventTime) AS last
FROM events
WHERE actor.kind <> 'service'
GROUP BY ALL
ORDER BY actor, first`},
		{"refused", "Who was refused, and what?", nil,
			`SELECT actor.name AS actor, account, eventSource, eventName, errorCode, count(*) AS refusals, count(DISTINCT sourceIPAddress) AS addresses,
       min(eventTime) AS first, max(eventTime) AS last
FROM events
WHERE errorCode IN ('AccessDenied', 'AccessDeniedException', 'UnauthorizedOperation', 'Client.UnauthorizedOperation', 'UnauthorizedAccess',
                    'AuthorizationError', 'AuthorizationErrorException', 'AuthFailure', 'Forbidden', 'VpceAccessDenied', 'InvalidClientTokenId')
GROUP BY ALL
ORDER BY refusals DESC, first`},
		{"new-principals", "Which actors were seen for the first time since?", []ReadyParam{{"since", sinceDoc, ""}},
			`SELECT a.actorId AS id, a.actor, a.kind, a.firstSeen AS first, a.lastSeen AS last, a.events AS calls,
       count(DISTINCT e.eventName) AS kinds_of_calls, min_by(e.sourceIPAddress, e.eventTime) AS first_address
FROM seen_actors AS a JOIN events AS e ON e.actorId = a.actorId
WHERE a.firstSeen >= CAST($since AS timestamp with time zone)
GROUP BY ALL
ORDER BY first, id`},
		{"new-calls", "Which calls did an actor make for the first time since?", []ReadyParam{{"since", sinceDoc, ""}},
			`SELECT a.actor, c.eventSource, c.eventName, c.firstSeen AS first, c.events AS calls, c.failed
FROM seen_calls AS c JOIN seen_actors AS a ON a.actorId = c.actorId
WHERE a.kind <> 'service' AND c.firstSeen >= CAST($since AS timestamp with time zone)
ORDER BY first, a.actor, c.eventName`},
		{"new-addresses", "Which addresses were seen for the first time since, and who came from them?", []ReadyParam{{"since", sinceDoc, ""}},
			`SELECT s.sourceIPAddress AS address, s.firstSeen AS first, s.lastSeen AS last, s.events AS calls, s.failed,
       array_join(array_agg(DISTINCT e.actor.name), ', ') AS actors
FROM seen_addresses AS s JOIN events AS e ON e.sourceIPAddress = s.sourceIPAddress
WHERE s.firstSeen >= CAST($since AS timestamp with time zone) AND e.actor.kind <> 'service'
GROUP BY ALL
ORDER BY first, address`},
		{"seen", "When was this seen first and last: an actor, address, access key, or part of a user agent?", []ReadyParam{{"value", "the name or id of an actor, an address, an access key id, or a part of a user agent", ""}},
			`SELECT 'actor' AS what, actorId AS value, firstSeen AS first, lastSeen AS last, events, failed FROM seen_actors WHERE actorId = $value OR actor = $value
UNION ALL SELECT 'address', sourceIPAddress, firstSeen, lastSeen, events, failed FROM seen_addresses WHERE sourceIPAddress = $value
UNION ALL SELECT 'access key', accessKeyId, firstSeen, lastSeen, events, failed FROM seen_keys WHERE accessKeyId = $value
UNION ALL SELECT 'user agent', userAgent, firstSeen, lastSeen, events, failed FROM seen_agents WHERE contains(lower(userAgent), lower($value))
ORDER BY first, what, value`},
		{"console", "Who signed in to the console, from where, with MFA or without, and who failed?", nil,
			`SELECT eventTime, actor.name AS actor, actor.kind AS kind, account,
       CASE WHEN failed THEN coalesce(errorMessage, 'Failure') ELSE 'Success' END AS outcome,
       json_extract_scalar(additionalEventData, '$.MFAUsed') AS mfa, sourceIPAddress, userAgent
FROM events
WHERE eventName = 'ConsoleLogin'
ORDER BY eventTime`},
		{"root", "What did root do?", nil,
			`SELECT eventTime, account, eventSource, eventName, errorCode, sourceIPAddress, userAgent, eventID
FROM events
WHERE actor.kind = 'root'
ORDER BY eventTime`},
		{"roles", "Who took which role, from where?", nil,
			`SELECT coalesce(json_extract_scalar(requestParameters, '$.roleArn'), resourceARNs[1]) AS role, actor.name AS taken_by, actor.kind AS kind,
       sourceIPAddress, count(*) AS times, count_if(failed) AS failed, min(eventTime) AS first, max(eventTime) AS last
FROM events
WHERE eventName IN ('AssumeRole', 'AssumeRoleWithSAML', 'AssumeRoleWithWebIdentity', 'AssumeRoot')
  AND actor.kind <> 'service'
GROUP BY ALL
ORDER BY role, first`},
		{"access-granted", "Which users, keys, passwords and permissions were made or changed?", nil,
			`SELECT eventTime, actor.name AS by_whom, eventName,
       coalesce(json_extract_scalar(requestParameters, '$.userName'), json_extract_scalar(requestParameters, '$.roleName'),
                json_extract_scalar(requestParameters, '$.groupName'), json_extract_scalar(requestParameters, '$.policyArn'),
                json_extract_scalar(requestParameters, '$.policyName')) AS for_whom,
       json_extract_scalar(requestParameters, '$.policyArn') AS policy, errorCode, sourceIPAddress, eventID
FROM events
WHERE eventSource = 'iam.amazonaws.com' AND NOT coalesce(readOnly, false)
  AND (eventName LIKE 'Create%' OR eventName LIKE 'Attach%' OR eventName LIKE 'Put%' OR eventName LIKE 'Add%' OR eventName LIKE 'Update%' OR eventName LIKE 'Enable%')
ORDER BY eventTime`},
		{"trails", "Who changed or stopped what records and watches?", nil,
			`SELECT eventTime, actor.name AS actor, eventSource, eventName, CAST(requestParameters AS varchar) AS parameters, errorCode, sourceIPAddress, eventID
FROM events
WHERE NOT coalesce(readOnly, false)
  AND eventSource IN ('cloudtrail.amazonaws.com', 'config.amazonaws.com', 'guardduty.amazonaws.com', 'securityhub.amazonaws.com', 'access-analyzer.amazonaws.com')
ORDER BY eventTime`},
		{"failures", "Which calls fail most?", nil,
			`SELECT errorCode, eventSource, eventName, count(*) AS calls, count(DISTINCT actorId) AS actors, min(eventTime) AS first, max(eventTime) AS last
FROM events
WHERE errorCode IS NOT NULL
GROUP BY ALL
ORDER BY calls DESC, first`},
		{"hours", "How much happened in each hour?", nil,
			`SELECT date_trunc('hour', eventTime) AS hour, count(*) AS events, count_if(failed) AS failed, count(DISTINCT actorId) AS actors, count(DISTINCT sourceIPAddress) AS addresses
FROM events
GROUP BY ALL
ORDER BY hour`},
		{"regions", "In which Regions and accounts is there activity, since when?", nil,
			`SELECT account, awsRegion, count(*) AS events, count_if(NOT coalesce(readOnly, false)) AS changes, count(DISTINCT actorId) AS actors, min(eventTime) AS first, max(eventTime) AS last
FROM events
GROUP BY ALL
ORDER BY account, events DESC`},
	}
}
