// Package table keeps the list of a store's data files: which Parquet files belong to the store now, which belonged to it
// a while ago, and which properties were set together with them. It is a seam over an Apache Iceberg table, format
// version 2, in a folder, committed by iceberg-go; nothing of iceberg-go shows through, so that it can be replaced.
//
// # Layout
//
// The metadata lies in metadata/ as an Iceberg file system table has it: v1.metadata.json, v2.metadata.json, …,
// version-hint.text, manifest lists and manifests. Data files are written by the caller below data/, one event day a
// file. Locations inside of the metadata are logical, s3://spoor/<table UUID>/…, and are mapped to the folder that the
// table was opened in: the folder can be copied and moved, and engines that resolve locations against the table's root
// read it as it is.
//
// # Promises
//
// A commit is one file, published by a hard link that fails if the version is there already, after everything that it
// refers to has been synced, files and folders. A process killed at any point leaves the version before or the version
// after; what else it leaves are orphans, which [Table.RemoveOrphans] removes.
//
// One process at a time may have the table open for writing (the caller holds a lock for that); any number may read.
// A second writer is detected at its commit, never overwritten. A file that a reader was told of stays for as long as
// [Table.Expire] was told to keep it.
package table
