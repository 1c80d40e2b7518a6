// Package detect runs rules over events: which rules there are ([Load], [Ruleset]), which of them an event matches
// ([Engine], [Worker]), what several events mean together (correlations, over the windows of package window), and what
// came of it all ([Finding]).
//
// The same rules run over history and live. A [Batch] takes a set of events in any order from many goroutines and gives its
// findings at the end; a [Live] answers as events arrive. Both run one correlator over occurrences in the order of event
// time and id, so that they give the same answer.
//
// Correlations follow the Sigma specification 2.1.0 (correlation rules), read as docs/formats/rules.md says: windows slide
// over event time, one group per account when there is no group-by, events of one second count as ordered.
//
// Everything is bounded: groups, entries, tallies, evidence. What a bound costs is counted and told ([Result.Notes],
// [LiveStats]).
package detect
