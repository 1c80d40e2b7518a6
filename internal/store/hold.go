package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"regexp"
	"slices"
	"time"

	"spoor/internal/store/table"
)

// Hold keeps events from being removed by retention, and the snapshot at which it was placed from expiring.
type Hold struct {
	Name   string    `json:"name"`
	Reason string    `json:"reason,omitempty"`
	Placed time.Time `json:"placed"`
	// Since and Until bound the event days that are held, Until not included; zero for no bound.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// ErrNoHold says that there is no hold of a name.
var ErrNoHold = errors.New("no such hold")

// holdPrefix begins the names of the table's tags that are holds.
const holdPrefix = "hold-"

func holdName(name string) error {
	if !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`).MatchString(name) {
		return fmt.Errorf("hold %q: a name has letters, digits, dots, dashes and underscores, at most 100", name)
	}
	return nil
}

// covers reports whether the hold keeps a day.
func (h Hold) covers(day time.Time) bool {
	return (h.Since.IsZero() || day.Add(24*time.Hour).After(h.Since)) && (h.Until.IsZero() || day.Before(h.Until))
}

// Hold places a hold. What it covers is kept by [Store.Retain] until [Store.Release], also what is ingested later.
func (s *Store) Hold(ctx context.Context, h Hold) error {
	if err := s.writable(); err != nil {
		return err
	}
	if err := holdName(h.Name); err != nil {
		return err
	}
	h.Placed = s.opts.Now().UTC()
	_, err := s.append(ctx, nil, func(st *state) error {
		if slices.ContainsFunc(st.Holds, func(o Hold) bool { return o.Name == h.Name }) {
			return fmt.Errorf("hold %q is placed already", h.Name)
		}
		st.Holds = append(st.Holds, h)
		return nil
	})
	if err != nil {
		return err
	}
	// The hold counts from here on; the tag, which a crash may leave out, keeps the files of this moment besides.
	return s.tagHolds(ctx)
}

// tagHolds gives every hold its tag and takes away tags of holds that are none any more.
func (s *Store) tagHolds(ctx context.Context) error {
	s.tagging.Lock()
	defer s.tagging.Unlock()
	tags, err := s.table.Tags(ctx)
	if err != nil {
		return err
	}
	have := map[string]int64{} // snapshots
	for _, t := range tags {
		have[t.Name] = t.Snapshot
	}
	for _, h := range s.st.Load().Holds {
		name := holdPrefix + h.Name
		if _, ok := have[name]; ok {
			delete(have, name)
			continue
		}
		if plan, err := s.table.Plan(ctx, table.Filter{}); err != nil {
			return err
		} else if plan.Snapshot == 0 {
			continue // there is nothing to keep yet
		}
		if err := s.table.Tag(ctx, name); err != nil {
			return fmt.Errorf("place hold %q: %w", h.Name, err)
		}
	}
	for name := range have {
		if len(name) > len(holdPrefix) && name[:len(holdPrefix)] == holdPrefix {
			if err := s.untag(ctx, name, have[name]); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("release hold: %w", err)
			}
		}
	}
	return nil
}

// untag takes away the tag of a snapshot. Until then it can be planned by it.
func (s *Store) untag(ctx context.Context, name string, snapshot int64) error {
	leave := func(mark uint64) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if snapshot != s.table.Snapshot() {
			s.left[snapshot] = mark
		}
	}
	leave(math.MaxUint64)
	err := s.table.Untag(ctx, name)
	leave(s.leases.mark())
	return err
}

// Release ends a hold.
func (s *Store) Release(ctx context.Context, name string) error {
	if err := s.writable(); err != nil {
		return err
	}
	_, err := s.append(ctx, nil, func(st *state) error {
		was := len(st.Holds)
		st.Holds = slices.DeleteFunc(st.Holds, func(h Hold) bool { return h.Name == name })
		if len(st.Holds) == was {
			return fmt.Errorf("hold %q: %w", name, ErrNoHold)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.tagHolds(ctx)
}

// Holds are the holds that are placed.
func (s *Store) Holds(ctx context.Context) ([]Hold, error) {
	_, st, err := s.view(ctx, table.Filter{})
	if err != nil {
		return nil, err
	}
	return nonNil(st.Holds), nil
}

// held reports whether a hold keeps a day, and which.
func (st *state) held(day time.Time) (string, bool) {
	for _, h := range st.Holds {
		if h.covers(day) {
			return h.Name, true
		}
	}
	return "", false
}
