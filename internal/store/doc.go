// Package store keeps events for years in a folder and gives them back: Parquet segments of one event day each, in an
// Apache Iceberg table that any engine can read, with a ledger of everything that was ever read into it.
//
// # Promises
//
// One commit makes segments, their event ids, the ledger and the set of objects that were read valid together. Objects are
// taken over in epochs: an epoch is committed only when every object that gave events to it has been read to its end. A
// process killed at any point leaves the store as the last commit left it; what else it left is removed by the next writer.
// So the store's ledger always counts what the segments hold, [Store.Verify] can prove it, and reading the same input again
// adds nothing: objects are known by name, size and modification time or ETag, events by eventID, over the whole store.
//
// An object that cannot be read to its end is not marked as read: what could be read of it is kept and counted, and the
// next ingestion tries it again, when the events that it gave already are duplicates.
//
// # Who may do what
//
// One process writes, guarded by a lock file; any number of processes read. A reader keeps its plan: files that it was
// told of stay for the grace period of [Store.Expire].
//
// docs/formats/store.md describes the folder.
package store
