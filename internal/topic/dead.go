package topic

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"spoor/internal/durable"
)

// deadSize is when a file of dead letters is put aside; one is put aside, so that a subscription has at most twice as much.
const deadSize = 8 << 20

// DeadLetter is a message that was given up.
type DeadLetter struct {
	Time      time.Time `json:"time"` // when it was given up
	Attempts  int       `json:"attempts"`
	Reason    string    `json:"reason"`
	MessageID string    `json:"messageId"`
	Published time.Time `json:"published"`
	Message   Message   `json:"message"`
}

func letterOf(e *entry, now time.Time, attempts int, why error) DeadLetter {
	m := Message{Subject: e.Subject, Body: e.Body, Attributes: e.Attributes, Group: e.Group, Deduplication: e.Dedup}
	if e.Bodies != nil {
		m.PerProtocol = true
		m.Body, _ = bodiesText(e.Bodies) // texts can always be written
	}
	return DeadLetter{Time: now, Attempts: attempts, Reason: short(why), MessageID: e.ID, Published: e.Time, Message: m}
}

func bodiesText(bodies map[string]string) (string, error) {
	b, err := json.Marshal(bodies)
	return string(b), err
}

func (b *box) deadPath(id string) string { return filepath.Join(b.dir, "dead", id+logSuffix) }

// keepDead makes a dead letter durable. A crash before the cursor is kept can make two of one.
func (s *Service) keepDead(b *box, id string, d DeadLetter) (err error) {
	text, err := appendLine(nil, d)
	if err != nil {
		return fmt.Errorf("keep a dead letter: %w", err)
	}
	b.dead.Lock()
	defer b.dead.Unlock()
	path := b.deadPath(id)
	if err := durable.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep a dead letter: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("keep a dead letter: %w", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = fmt.Errorf("keep a dead letter: %w", err)
		}
	}()
	end, err := wholeLines(f)
	if err != nil {
		return err
	}
	if end >= deadSize {
		if err := os.Rename(path, path+".1"); err != nil {
			return err
		}
		old := f
		if f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			f = old
			return err
		}
		if err := old.Close(); err != nil {
			return err
		}
		end = 0
	}
	if _, err := f.WriteAt(text, end); err != nil {
		return errors.Join(err, f.Truncate(end))
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if end == 0 {
		return durable.SyncDir(filepath.Dir(path))
	}
	return nil
}

// wholeLines is the length of a file without what a crash left of a line at its end.
func wholeLines(f *os.File) (int64, error) {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 64<<10)
	for end > 0 {
		n := min(end, int64(len(buf)))
		if _, err := f.ReadAt(buf[:n], end-n); err != nil {
			return 0, err
		}
		for i := n - 1; i >= 0; i-- {
			if buf[i] == '\n' {
				return end - n + i + 1, nil
			}
		}
		end -= n
	}
	return 0, nil
}

// DeadLetters calls each with the messages that a subscription had given up and that are kept here, oldest first. It ends with
// the error of each.
func (s *Service) DeadLetters(subscriptionARN string, each func(DeadLetter) error) error {
	t, u, err := s.subscribed(subscriptionARN)
	if err != nil {
		return err
	}
	b := s.box(t.ID)
	if b == nil {
		return noSubscription()
	}
	b.dead.Lock()
	defer b.dead.Unlock()
	for _, path := range []string{b.deadPath(u.ID) + ".1", b.deadPath(u.ID)} {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read dead letters: %w", err)
		}
		if err := errors.Join(readDead(f, each), f.Close()); err != nil {
			return fmt.Errorf("read dead letters: %w", err)
		}
	}
	return nil
}

// readDead reads dead letters, without those that are damaged.
func readDead(r io.Reader, each func(DeadLetter) error) error {
	br := bufio.NewReader(r)
	for {
		l, err := readRaw(br)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var d DeadLetter
		if body, err := checkLine(l); err != nil || strict(body, &d) != nil {
			continue
		}
		if err := each(d); err != nil {
			return err
		}
	}
}

// checkLine gives the JSON of a line: eight hexadecimal digits of CRC-32C, a space, JSON, a line feed.
func checkLine(raw []byte) ([]byte, error) {
	if len(raw) < 11 || len(raw) > maxLine || raw[8] != ' ' || raw[len(raw)-1] != '\n' {
		return nil, errLine
	}
	body := raw[9 : len(raw)-1]
	if fmt.Sprintf("%08x", crc32.Checksum(body, castagnoli)) != string(raw[:8]) {
		return nil, errLine
	}
	return body, nil
}

// Figures are what happened to the messages for a subscription.
type Figures struct {
	Delivered uint64    // taken by the endpoint
	Filtered  uint64    // not wanted, by the filter policy
	GivenUp   uint64    // gone to the queue for dead letters, or kept as dead letters
	Damaged   uint64    // not readable any more
	Open      int       // under way, or waiting to be tried again
	Error     string    // of the last attempt, empty where that succeeded
	Tried     time.Time // the last attempt
}

// Figures gives the figures of a subscription.
func (s *Service) Figures(subscriptionARN string) (Figures, error) {
	t, u, err := s.subscribed(subscriptionARN)
	if err != nil {
		return Figures{}, err
	}
	return s.figures(t)[u.ID], nil
}

func (s *Service) figures(t *Topic) map[string]Figures {
	b := s.box(t.ID)
	out := map[string]Figures{}
	if b == nil {
		return out
	}
	for id, c := range b.snapshot(t) {
		out[id] = Figures{Delivered: c.Delivered, Filtered: c.Filtered, GivenUp: c.GivenUp, Damaged: c.Damaged, Open: len(c.Open), Error: c.Error, Tried: c.Tried}
	}
	return out
}

// Totals gives the figures of all subscriptions together, and how many bytes the outboxes have.
func (s *Service) Totals() (sum Figures, outbox int64) {
	for _, t := range s.state.Get().Topics {
		for _, f := range s.figures(t) {
			sum.Delivered += f.Delivered
			sum.Filtered += f.Filtered
			sum.GivenUp += f.GivenUp
			sum.Damaged += f.Damaged
			sum.Open += f.Open
			if f.Tried.After(sum.Tried) {
				sum.Tried, sum.Error = f.Tried, f.Error
			}
		}
		b := s.box(t.ID)
		if b != nil {
			outbox += b.log.size()
		}
	}
	return sum, outbox
}
