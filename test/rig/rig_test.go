package rig

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"spoor/internal/event"
)

// TestFeed: records are whole, with the ids and times that they are said to have, and ids tell where they come from.
func TestFeed(t *testing.T) {
	t.Parallel()
	f, err := NewFeed(t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	var all []string
	for batch := range uint64(130) {
		got := 0
		sink := &collect{each: func(raw []byte) {
			var e event.Event
			if err := e.Reset(raw); err != nil {
				t.Fatal(err)
			}
			if want := f.ID(3, batch, got); e.ID() != want {
				t.Fatalf("record %d of batch %d is %s, want %s", got, batch, e.ID(), want)
			}
			if age := now.Sub(e.When()); age < 0 || age > 2*time.Minute {
				t.Fatalf("a record is of %s", e.When())
			}
			all = append(all, e.ID())
			got++
		}}
		text, err := f.File(3, batch, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := event.NewDecoder(event.Limits{}).Decode(t.Context(), "batch", bytes.NewReader(text), sink); err != nil || got != f.Size() {
			t.Fatalf("batch %d has %d records: %v", batch, got, err)
		}
	}
	for i, id := range all {
		if n, ours := numberOf(id); !ours || n != number(3, uint64(i)) {
			t.Fatalf("%s is number %x, %t", id, n, ours)
		}
	}
	slices.Sort(all)
	if n := len(slices.Compact(all)); n != 13000 {
		t.Errorf("%d ids", n)
	}
	if _, ours := numberOf("6b1c1d7e-0000-4000-8000-000000000001"); ours {
		t.Error("an id of somebody else is ours")
	}
}
