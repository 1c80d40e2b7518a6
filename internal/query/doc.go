// Package query answers questions about the events of a store: searches by page, single events, counts over time and by
// value, and SQL.
//
// One engine lives as long as the service. A question leases what the store is at that moment, the files of a plan, and
// is answered from those alone. Terms are those of spoor search, and mean the same. What of them can be said in SQL is said in
// SQL; what cannot is judged by package match over the records that the SQL could not rule out. So the answer is always
// that of the matcher, and only its speed depends on what was asked. Of each term there are two
// conditions in SQL, one that only events of it fulfil and one that all of them do; see compile.go.
//
// # Bounds
//
// A question has a time limit. Questions that run at once share the engine's threads, memory and temporary disk; so many run
// and so many wait, others get a [*BusyError]. What is judged by the matcher is taken from the engine in portions. The
// engine's memory is its own affair: whatever else the process takes, questions get what Options.Memory says and no more,
// and one that wants more is ended with [ErrMemory]. The process should have room for Options.Memory, 512 MiB, and the
// rest of the service.
package query
