package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"spoor/internal/durable"
	"spoor/internal/ledger"
)

// bookVersion is that of the files of a book.
const bookVersion = 1

// book is the ledger of a source over time: a file for each day on which something was settled, the last of them in memory
// too. The methods are called one at a time, but for report.
type book struct {
	dir   string
	day   string         // of the current file
	base  *ledger.Report // what the file held when it was opened
	led   *ledger.Ledger // since then
	marks map[string]int64
}

// page is a file of a book.
type page struct {
	Version int              `json:"version"`
	Day     string           `json:"day"`
	Marks   map[string]int64 `json:"marks,omitempty"`
	Ledger  *ledger.Report   `json:"ledger"`
}

const (
	pagePrefix = "ledger-"
	pageSuffix = ".json"
)

func dayOf(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// open reads the newest page.
func (b *book) open(dir string, now time.Time) error {
	*b = book{dir: dir, day: dayOf(now), led: ledger.New()}
	days, err := b.days()
	if err != nil || len(days) == 0 {
		return err
	}
	b.day = days[len(days)-1] // in the future, too, when the clock was set back: days only rise
	p, err := b.page(b.day)
	if err != nil {
		return err
	}
	b.base, b.marks = p.Ledger, p.Marks
	b.turn(now)
	return nil
}

// turn begins a new day.
func (b *book) turn(now time.Time) {
	if day := dayOf(now); day > b.day {
		b.day, b.base, b.led = day, nil, ledger.New()
	}
}

// days are those that have a page, in order.
func (b *book) days() ([]string, error) {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return nil, err
	}
	var days []string
	for _, e := range entries {
		if day, ok := strings.CutPrefix(e.Name(), pagePrefix); ok {
			if day, ok = strings.CutSuffix(day, pageSuffix); ok {
				if _, err := time.Parse(time.DateOnly, day); err == nil {
					days = append(days, day)
				}
			}
		}
	}
	slices.Sort(days)
	return days, nil
}

func (b *book) path(day string) string { return filepath.Join(b.dir, pagePrefix+day+pageSuffix) }

func (b *book) page(day string) (*page, error) {
	text, err := os.ReadFile(b.path(day))
	if err != nil {
		return nil, err
	}
	var p page
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, fmt.Errorf("read %s: %w", b.path(day), err)
	}
	if p.Version != bookVersion || p.Ledger == nil {
		return nil, fmt.Errorf("read %s: version %d, known is %d", b.path(day), p.Version, bookVersion)
	}
	return &p, nil
}

// now is the ledger of the current day.
func (b *book) now() *ledger.Report {
	if b.base == nil {
		return b.led.Report()
	}
	return ledger.Merge(b.base, b.led.Report())
}

// save writes the page of the current day, and turns it.
func (b *book) save(marks map[string]int64, now time.Time) error {
	text, err := json.Marshal(page{Version: bookVersion, Day: b.day, Marks: marks, Ledger: b.now()})
	if err != nil {
		return fmt.Errorf("encode the ledger: %w", err)
	}
	if err := durable.WriteFile(b.path(b.day), text, 0o600); err != nil {
		return err
	}
	b.marks = marks
	b.turn(now)
	return nil
}

// report adds up the pages since a day, before the current one, whose ledger is given.
func (b *book) report(since time.Time, before string, now *ledger.Report) (*ledger.Report, error) {
	days, err := b.days()
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	sum := now
	for _, day := range days {
		if day >= before || !since.IsZero() && day < dayOf(since) {
			continue
		}
		p, err := b.page(day)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read ledger: %w", err)
		}
		sum = ledger.Merge(sum, p.Ledger)
	}
	return sum, nil
}
