package store

import (
	"context"

	"spoor/internal/dedup"
	"spoor/internal/event"
)

type seen struct{ run *dedup.Set }

func (s *Store) newSeen(_ context.Context, tempDir string) (*seen, error) {
	return &seen{dedup.New(dedup.Options{Dir: tempDir})}, nil
}
func (s *seen) Add(e *event.Event) (dedup.Verdict, error) { return s.run.Add(e) }
func (s *seen) close() error                              { return s.run.Close() }
