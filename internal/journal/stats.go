package journal

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Stats are figures of a journal. Counters count from its opening.
type Stats struct {
	First, Last uint64 // sequences that are there; Last is First-1 when there is none
	Bytes       int64  // size of the stream
	Err         error  // of the last write; nil when it was good, or there was no room for it and is now

	Appends      uint64        // accepted
	Duplicates   uint64        // appends whose id was known
	Records      uint64        // accepted
	RecordBytes  uint64        // theirs, with their origins
	StoredBytes  uint64        // the same, compressed
	Writes       uint64        // entries
	WriteTime    time.Duration // what they took together, with their syncs
	Retries      uint64        // writes that were tried again
	Refused      uint64        // appends that were not accepted for want of room
	Restarts     uint64        // of the server of this process after it had failed
	DamagedFiles uint64        // files that were not whole
	Salvaged     uint64        // appends that were saved from them
	LostAtEnd    uint64        // sequences that were given but are not there any more at an opening
	Removed      uint64        // sequences, by retention
	Dropped      uint64        // of them those that a follower had not acknowledged

	Followers []FollowerStats // by name
}

// FollowerStats are figures of a follower.
type FollowerStats struct {
	Name        string
	Active      bool          // somebody follows
	Cursor      uint64        // acknowledged
	Delivered   uint64        // given
	Lag         uint64        // sequences that are not acknowledged
	Age         time.Duration // of the oldest entry that is not acknowledged
	Redelivered uint64        // entries that were given again
	Lost        uint64        // sequences that could not be read
	Abandoned   uint64        // entries that were begun and not finished; none of them was accepted
}

// Stats returns the figures of now. It reads one entry for each follower that is behind.
func (j *Journal) Stats(ctx context.Context) (Stats, error) {
	if err := j.refresh(ctx); err != nil {
		return Stats{}, err
	}
	n := &j.n
	s := Stats{
		Appends: n.appends.Load(), Duplicates: n.duplicates.Load(), Records: n.records.Load(), RecordBytes: n.rawBytes.Load(),
		StoredBytes: n.storedBytes.Load(), Writes: n.writes.Load(), WriteTime: time.Duration(n.writeNanos.Load()), Retries: n.retries.Load(),
		Refused: n.refused.Load(), Restarts: n.restarts.Load(), DamagedFiles: n.damagedFiles.Load(), Salvaged: n.salvaged.Load(),
		LostAtEnd: n.lost.Load(), Removed: n.removed.Load(), Dropped: n.dropped.Load(),
	}
	names := j.followerNames()
	j.mu.Lock()
	s.First, s.Last, s.Bytes, s.Err = j.first, j.last, j.bytes, j.lastErr
	for _, name := range names {
		if c := j.followers[name]; c != nil {
			s.Followers = append(s.Followers, FollowerStats{Name: name, Active: c.active, Cursor: c.seq, Delivered: c.delivered,
				Lag: j.last - min(j.last, c.seq), Redelivered: c.redelivered, Lost: c.lost, Abandoned: c.abandoned})
		}
	}
	j.mu.Unlock()
	if errors.Is(s.Err, ErrFull) {
		s.Err = j.full(0)
	}
	for i := range s.Followers {
		f := &s.Followers[i]
		for seq := max(f.Cursor+1, s.First); seq <= s.Last; seq++ {
			at, err := j.acceptedAt(ctx, seq)
			if errors.Is(err, errMissing) {
				continue
			}
			if err != nil {
				return Stats{}, fmt.Errorf("age of entry %d: %w", seq, err)
			}
			f.Age = max(0, j.o.Now().Sub(at))
			break
		}
	}
	return s, nil
}
