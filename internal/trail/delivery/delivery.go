// Package delivery follows the journal for all trails: it writes log files and digests to buckets, and tells topics of them.
package delivery
