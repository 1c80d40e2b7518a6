// Package sample makes the CloudTrail logs of an organisation that does not exist: accounts, people, workloads and
// services, in the layout of an organisation trail, with an attack inside if asked and the truth about it beside.
//
// The same [Options] give the same bytes whatever the number of workers, on every machine. Everything is drawn from
// streams that are seeded per slot (account × Region × five minutes), so slots can be made in any order; memory is
// bounded by the workers, not by the number of events.
//
// # Words
//
// An actor is whoever calls: a person, a user, a role with its sessions, a service. A mix is the set of calls that an
// actor makes, with weights. A slot is what one account and Region log in one five-minute window. A run is a burst of
// like calls of one actor. The script is the list of events with fixed times: the attack and its benign look-alikes.
//
// # How it compares with real logs
//
// Measured over the 93 records in 8 log files that AWS wrote and that are public, and over 20 000 events a day of this
// package:
//
//	                                 real      sample
//	mean record, bytes               1 451     1 690
//	gzip ratio, files of 1–4         1.7–3.1   2.7
//	gzip ratio, files of 29–51       8.9–9.4   6.6
//	gzip ratio, files of 100 or more           9.5
//
// The real files are one person's clicking, with eventVersion 1.05 and 1.08. Records of today are longer: sessions of
// roles make most calls, tlsDetails and vpcEndpointId came in, agents grew. Many callers share a file of the sample, so
// that its files of middling size compress less than one person's do.
//
// A trail's ratio grows with its files, since ids, which do not compress, come in a fixed number per record. Account
// ids, addresses and names are those set aside for documentation. Access keys end in EXAMPLE, which makes them 35 bits
// less random than real ones; session tokens have the real length and start with EXAMPLE.
//
// Records have the shape of the CloudTrail user guide's record contents page, keys those of its log file page.
package sample
