// Package match is the predicate form that every rule language of Spoor compiles to, and the index that picks the few
// candidate predicates for an event.
package match

// Expr is a compiled predicate over an event.
type Expr interface{}
