// Package journal is the durable log between what takes events in and what works on them.
//
// [Journal.Append] returns when the records are synced; concurrent callers share one write. Followers read the entries in
// order, each with a cursor of its own that the journal keeps: [Journal.Follow], [Follower.Next], [Follower.Ack].
//
// The log is a stream of NATS JetStream, which runs inside this process without a listening port (Options.Dir), or in a
// NATS system of somebody else (Options.URL). The code is the same; only the process's own server can be repaired and
// restarted here, and syncs by our configuration.
//
// What a follower gets is what was accepted, at least once, in order. An append that is offered again with the same id is
// accepted once. What cannot be read any more is named and counted, and what follows it is served. Nothing that a follower
// has not acknowledged is removed; when there is no room left, appends fail with [FullError].
//
// docs/formats/journal.md says what is stored.
package journal
