package journal

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrFull is what every [FullError] is.
	ErrFull = errors.New("the journal takes nothing more now")
	// ErrTooLarge is returned for an append that is larger than Options.MaxAppend. Offering it again does not help.
	ErrTooLarge = errors.New("too large for one append")
	// ErrClosed is returned by what a closed journal, or a closed follower, is asked to do.
	ErrClosed = errors.New("the journal is closed")
	// ErrUnknown is returned when it is not known whether an append was accepted. Offering it again with the same id
	// accepts it once.
	ErrUnknown = errors.New("it is not known whether the append was accepted")
	// ErrFollowed is returned by [Journal.Follow] for a name that somebody follows under already.
	ErrFollowed = errors.New("somebody follows under this name")
)

// FullError says that an append was not accepted, and would be later: back-pressure.
type FullError struct {
	Reason     string        // for people
	RetryAfter time.Duration // when to offer it again
}

func (e *FullError) Error() string {
	return fmt.Sprintf("%v: %s; again in %v", ErrFull, e.Reason, e.RetryAfter)
}

// Is tells that it is [ErrFull].
func (e *FullError) Is(target error) bool { return target == ErrFull }
