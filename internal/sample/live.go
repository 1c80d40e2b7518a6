package sample

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
)

// LiveOptions say how the logs of an organisation go on.
type LiveOptions struct {
	// Seed and Accounts are as in Options.
	Seed     uint64
	Accounts int
	// Out is the folder to write into: log files under AWSLogs/, and beside it truth.json, about the history, and live.json,
	// which tells how far it is. What is there from before goes on from where it ended.
	Out string
	// PerDay is how many events a day has, about. Default 15 000.
	PerDay int
	// Days of history come first, with the attack in them; default 6, before today.
	Days int
	// Every is how often what has happened is written, 5 s by default. Trails take minutes.
	Every time.Duration
	Now   func() time.Time // nil for the system's clock
}

// liveState is what is known of a folder, in live.json.
type liveState struct {
	Seed    uint64    `json:"seed"`
	Through time.Time `json:"through"` // everything before it is written
}

// Live writes the logs of an organisation up to now, and then what happens as time passes, until the context ends, which is
// no error. Files appear whole. One process may write to a folder.
func Live(ctx context.Context, o LiveOptions) error {
	if o.PerDay <= 0 {
		o.PerDay = 15_000
	}
	if o.Days <= 0 {
		o.Days = 6
	}
	if o.Every <= 0 {
		o.Every = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	err := live(ctx, o)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func live(ctx context.Context, o LiveOptions) error {
	if err := os.MkdirAll(filepath.Join(o.Out, "AWSLogs"), 0o755); err != nil {
		return fmt.Errorf("create folder: %w", err)
	}
	path := filepath.Join(o.Out, "live.json")
	var st liveState
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		if err := json.Unmarshal(text, &st); err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
	case errors.Is(err, os.ErrNotExist):
		today := o.Now().UTC().Truncate(24 * time.Hour)
		t, err := Generate(ctx, Options{Seed: o.Seed, Accounts: o.Accounts, Sink: whole(o.Out), Events: o.PerDay * o.Days, Start: today.AddDate(0, 0, -o.Days), Days: o.Days, Story: true})
		if err != nil {
			return err
		}
		if err := writeTruth(filepath.Join(o.Out, "truth.json"), t); err != nil {
			return err
		}
		st = liveState{Seed: o.Seed, Through: today}
	default:
		return err
	}
	tick := time.NewTicker(o.Every)
	defer tick.Stop()
	var day time.Time
	var waiting []liveRecord // of the day, not written yet, by time
	for {
		now := o.Now().UTC()
		for st.Through.Before(now) {
			if d := st.Through.Truncate(24 * time.Hour); d != day {
				if waiting, err = liveDay(ctx, o, st.Seed, d); err != nil {
					return err
				}
				day = d
				waiting = slices.DeleteFunc(waiting, func(r liveRecord) bool { return r.at.Before(st.Through) })
			}
			until := now
			if next := day.AddDate(0, 0, 1); next.Before(until) {
				until = next
			}
			n, _ := slices.BinarySearchFunc(waiting, until, func(r liveRecord, t time.Time) int { return r.at.Compare(t) })
			if err := deliver(ctx, o.Out, waiting[:n], until); err != nil {
				return err
			}
			waiting = waiting[n:]
			st.Through = until
			text, err := json.Marshal(st)
			if err != nil {
				return err
			}
			if err := whole(o.Out).write("live.json", append(text, '\n')); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

type liveRecord struct {
	at              time.Time
	account, region string
	raw             []byte
}

// liveDay makes the events of a day, by time.
func liveDay(ctx context.Context, o LiveOptions, seed uint64, day time.Time) ([]liveRecord, error) {
	files := &keptFiles{}
	if _, err := Generate(ctx, Options{Seed: seed, Accounts: o.Accounts, Sink: files, Events: o.PerDay, Start: day, Days: 1, Plain: true, Duplicates: -1}); err != nil {
		return nil, err
	}
	var out []liveRecord
	for _, f := range files.all {
		var file struct{ Records []json.RawMessage }
		if err := json.Unmarshal(f.Bytes(), &file); err != nil {
			return nil, fmt.Errorf("read what was made: %w", err)
		}
		for _, raw := range file.Records {
			var head struct {
				EventTime          time.Time
				AWSRegion          string
				RecipientAccountID string
			}
			if err := json.Unmarshal(raw, &head); err != nil {
				return nil, fmt.Errorf("read what was made: %w", err)
			}
			out = append(out, liveRecord{head.EventTime, head.RecipientAccountID, head.AWSRegion, raw})
		}
	}
	slices.SortFunc(out, func(a, b liveRecord) int {
		return cmp.Or(a.at.Compare(b.at), strings.Compare(a.account, b.account), strings.Compare(a.region, b.region), bytes.Compare(a.raw, b.raw))
	})
	return out, nil
}

// deliver writes records as the log files of a trail, one for each account and Region.
func deliver(ctx context.Context, dir string, records []liveRecord, at time.Time) error {
	type place struct{ account, region string }
	by := map[place]*bytes.Buffer{}
	var order []place
	for _, r := range records {
		p := place{r.account, r.region}
		b := by[p]
		if b == nil {
			b = bytes.NewBufferString(opening)
			by[p] = b
			order = append(order, p)
		} else {
			b.WriteByte(',')
		}
		b.Write(r.raw)
	}
	for _, p := range order {
		if err := ctx.Err(); err != nil {
			return err
		}
		by[p].WriteString(closing)
		sum := sha256.Sum256(by[p].Bytes())
		key := fmt.Sprintf("AWSLogs/%s/%s/CloudTrail/%s/%s/%s_CloudTrail_%s_%s_%s.json.gz", organization, p.account, p.region, at.Format("2006/01/02"),
			p.account, p.region, at.Format("20060102T1504Z"), strings.ToUpper(hex.EncodeToString(sum[:8])))
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		if _, err := w.Write(by[p].Bytes()); err != nil {
			return fmt.Errorf("compress: %w", err)
		}
		if err := w.Close(); err != nil {
			return fmt.Errorf("compress: %w", err)
		}
		if err := whole(dir).write(key, z.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// whole is a Sink whose files appear when they are complete.
type whole string

func (d whole) Create(_ context.Context, key string) (io.WriteCloser, error) {
	return &wholeFile{dir: d, key: key}, nil
}

type wholeFile struct {
	bytes.Buffer
	dir whole
	key string
}

func (f *wholeFile) Close() error { return f.dir.write(f.key, f.Bytes()) }

func (d whole) write(key string, text []byte) error {
	path := filepath.Join(string(d), filepath.FromSlash(key))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("create folder of log file: %w", err)
	}
	part := path + ".part"
	if err := os.WriteFile(part, text, 0o644); err != nil {
		return fmt.Errorf("create log file: %w", err)
	}
	if err := os.Rename(part, path); err != nil {
		return fmt.Errorf("create log file: %w", err)
	}
	return nil
}

// keptFiles is a Sink that keeps the files.
type keptFiles struct {
	mu  sync.Mutex
	all []*keptFile
}

type keptFile struct{ bytes.Buffer }

func (*keptFile) Close() error { return nil }

func (m *keptFiles) Create(context.Context, string) (io.WriteCloser, error) {
	f := &keptFile{}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = append(m.all, f)
	return f, nil
}
