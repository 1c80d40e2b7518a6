// Package lineage tells where credentials come from and what was done with them: who minted an access key, through which
// chain of roles, back to the first identity that is known, and which sessions it minted in turn.
//
// # What links are made of
//
// A link is proven when the answer of a call (responseElements) names the key that it gave. It is matched when the
// record of the call does not name the key, and exactly one call fits by role, session name, identity and time. When several
// fit, all of them are shown and none is taken. Whatever has no link has a [Reason]. A matched link is an inference from
// the evidence beside it, never more.
//
// Records are asked for by SQL, so a store answers from its columns, and logs are read once. Everything is bounded: depth,
// sessions, the length of what is kept of texts out of logs. What was left out is counted.
//
// docs/how-to/lineage.md is written for people.
package lineage
