// Package query answers questions about the events of a store: searches by page, single events, counts over time and by
// value, and SQL.
//
// One engine lives as long as the service. A question leases what the store is at that moment, the files of a plan, and
// is answered from those alone. Terms are those of spoor search, and mean the same. What of them can be said in SQL is said in
// SQL; what cannot is judged by package match over the records that the SQL could not rule out. So the answer is always
// that of the matcher, and only its speed depends on what was asked.
package query
