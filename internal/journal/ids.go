package journal

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// idSet is the appends with an id that are known: those that are being written, and the newest that were accepted.
type idSet struct {
	known map[appendID]*pending
	order []appendID // a ring of the accepted ones; its oldest is at next
	next  int
	keep  int
}

func newIDSet(keep int) idSet { return idSet{known: map[appendID]*pending{}, keep: keep} }

// enter makes p known, unless its id is: then it returns the one that has it.
func (s *idSet) enter(p *pending) (same *pending) {
	if same = s.known[p.id]; same == nil {
		s.known[p.id] = p
	}
	return same
}

// settle keeps p when it was accepted, and forgets it otherwise.
func (s *idSet) settle(p *pending) {
	if s.known[p.id] != p {
		return
	}
	if p.err != nil {
		delete(s.known, p.id)
		return
	}
	p.section.stored = nil
	if len(s.order) < s.keep {
		s.order = append(s.order, p.id)
		return
	}
	delete(s.known, s.order[s.next])
	s.order[s.next] = p.id
	s.next = (s.next + 1) % s.keep
}

// loadIDs reads the ids at the end of the stream.
func (j *Journal) loadIDs(ctx context.Context, st jetstream.StreamState) error {
	if st.Msgs == 0 {
		return nil
	}
	from := st.FirstSeq
	if many := tailBytes / max(1, st.Bytes/st.Msgs); st.LastSeq > many {
		from = max(from, st.LastSeq-many)
	}
	from = max(from, st.LastSeq-min(st.LastSeq, uint64(j.o.KeepIDs))+1)
	done := closedChan()
	var a assembler
	for seq := from; seq <= st.LastSeq; seq++ {
		m, err := j.get(ctx, seq)
		if errors.Is(err, errMissing) {
			a.reset()
			continue
		}
		if err != nil {
			return fmt.Errorf("read entry %d: %w", seq, err)
		}
		e, err := a.add(seq, m.Data)
		if errors.Is(err, ErrVersion) {
			return fmt.Errorf("read entry %d: %w", seq, err)
		}
		if err != nil || e == nil {
			continue // followers will tell
		}
		sections, err := j.codec.parseSections(e.body)
		if err != nil {
			continue
		}
		for _, s := range sections {
			p := &pending{id: s.id, seq: seq, done: done}
			if s.id != (appendID{}) && j.ids.enter(p) == nil {
				j.ids.settle(p)
			}
		}
	}
	return nil
}
