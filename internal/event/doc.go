// Package event is the CloudTrail record: how it is read out of the many shapes in which it reaches people, how its
// fields are addressed, and who acted in it.
//
// An [Event] keeps the record's bytes exactly as they arrived ([Event.Raw]) and lays typed fields beside them. The
// table [Fields] names every typed field once; rules, SQL and documentation read from it. Any other path is found on
// demand with [Event.Find].
//
// Nothing in an Event is copied out of the input: Raw, [Value] and the strings they give point into the decoder's
// buffer and are valid only until the callback that received the event returns. Whoever keeps something longer calls
// [Event.Clone], strings.Clone or bytes.Clone. Builds with the race detector overwrite released buffers, so that a
// broken promise shows in tests.
//
// The formats are those of the record contents pages of the CloudTrail user guide; docs/formats/record.md says what
// Spoor reads. This package imports nothing else of Spoor.
package event
