package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"spoor/internal/blob"
	"spoor/internal/event"
	"spoor/internal/journal"
	"spoor/internal/keyring"
	"spoor/internal/sample"
	"spoor/internal/selector"
	"spoor/internal/trail"
	"spoor/internal/trail/delivery"
	"spoor/internal/trail/signing"
)

// delivered is what a process that delivers a journal tells.
type delivered struct {
	Records, Taken uint64 // events of the journal, and those in files, of all trails together
	Files          uint64
	Stored         int64
	Took, CPU      time.Duration
}

// keepAll is a follower that acknowledges nothing, so that the journal can be followed again.
const keepAll = "keep"

// deliveryFiles are the parts of a folder for deliveries.
func deliveryFiles(dir string) (events, accounts, work string) {
	return filepath.Join(dir, "journal"), filepath.Join(dir, "accounts.json"), filepath.Join(dir, "work")
}

// fillJournal appends the records of a data set to a journal, and notes their accounts.
func fillJournal(ctx context.Context, d *data, dir string) (err error) {
	at, accountsFile, _ := deliveryFiles(dir)
	j, err := journal.Open(ctx, journal.Options{Dir: at, Followers: []string{keepAll}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	sink := &journalSink{ctx: ctx, journal: j, accounts: map[string]bool{}}
	dec := event.NewDecoder(event.Limits{})
	for _, path := range d.paths {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		if err := errors.Join(dec.Decode(ctx, path, file, sink), file.Close()); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	if err := sink.flush(); err != nil {
		return err
	}
	text, err := json.Marshal(slices.Sorted(maps.Keys(sink.accounts)))
	if err != nil {
		return err
	}
	return os.WriteFile(accountsFile, text, 0o644)
}

// journalSink appends what is decoded.
type journalSink struct {
	tally
	ctx      context.Context
	journal  *journal.Journal
	batch    []journal.Record
	accounts map[string]bool
}

func (s *journalSink) Event(e *event.Event) error {
	s.accounts[strings.Clone(e.Account())] = true
	s.batch = append(s.batch, journal.Record{Raw: bytes.Clone(e.Raw), Origin: journal.Origin{Source: "bench", Received: time.Now()}})
	if len(s.batch) < pushBatch {
		return nil
	}
	return s.flush()
}

func (s *journalSink) flush() error {
	if len(s.batch) == 0 {
		return nil
	}
	_, err := s.journal.Append(s.ctx, s.batch)
	s.batch = s.batch[:0]
	return err
}

// again is the journal from its beginning, whatever was acknowledged.
type again struct{ *journal.Journal }

func (a again) Follow(ctx context.Context, after uint64) (delivery.Follower, error) {
	return a.Journal.Follow(ctx, delivery.FollowerName, journal.After(after))
}

// book is trails that stay as they are.
type book struct{ trails []trail.Trail }

func (b book) Deliverable() ([]trail.Trail, <-chan struct{}) { return b.trails, nil }
func (b book) Delivered(uint64) error                        { return nil }

// benchSelectors are five different choices. The first is the one trail.
func benchSelectors() [][]selector.Advanced {
	is := func(field string, values ...string) selector.FieldSelector {
		return selector.FieldSelector{Field: field, Equals: values}
	}
	management := is("eventCategory", selector.Management)
	data := func(of string, more ...selector.FieldSelector) selector.Advanced {
		return selector.Advanced{FieldSelectors: append([]selector.FieldSelector{is("eventCategory", selector.Data), is("resources.type", of)}, more...)}
	}
	return [][]selector.Advanced{
		{{FieldSelectors: []selector.FieldSelector{management}}, data("AWS::S3::Object"), data("AWS::Lambda::Function")},
		{{FieldSelectors: []selector.FieldSelector{management, is("readOnly", "false")}}},
		{{FieldSelectors: []selector.FieldSelector{management, {Field: "eventSource", NotEquals: []string{"kms.amazonaws.com", "rdsdata.amazonaws.com"}}}}},
		{data("AWS::S3::Object", is("readOnly", "true"), selector.FieldSelector{Field: "eventName", StartsWith: []string{"Get"}})},
		{data("AWS::S3::Object", is("readOnly", "false")), data("AWS::DynamoDB::Table")},
	}
}

// deliverMain delivers the journal of a folder for so many trails, and writes what it took into a file.
func deliverMain(args []string, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := func() error {
		if len(args) != 3 {
			return errors.New("a folder, a number of trails and a file")
		}
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		r, err := deliverAll(ctx, args[0], n)
		if err != nil {
			return err
		}
		text, err := json.Marshal(r)
		if err != nil {
			return err
		}
		return os.WriteFile(args[2], text, 0o644)
	}()
	if err != nil {
		fmt.Fprintf(stderr, "bench: deliver: %v\n", err)
		return 1
	}
	return 0
}

// deliverAll delivers a journal to encrypted local buckets, until every file is there.
func deliverAll(ctx context.Context, dir string, trails int) (r delivered, err error) {
	const home, management = awsRegion, awsAccount
	at, accountsFile, work := deliveryFiles(dir)
	if err := os.RemoveAll(work); err != nil {
		return r, err
	}
	text, err := os.ReadFile(accountsFile)
	if err != nil {
		return r, err
	}
	var accounts []string
	if err := json.Unmarshal(text, &accounts); err != nil {
		return r, err
	}
	j, err := journal.Open(ctx, journal.Options{Dir: at, Followers: []string{keepAll}})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	stats, err := j.Stats(ctx)
	if err != nil {
		return r, err
	}
	keys, err := keyring.Open(ctx, filepath.Join(work, "keys"), keyring.Options{Account: management, Region: home})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, keys.Close()) }()
	key, _, err := keys.Create(keyring.Ref{Account: management, Region: home}, keyring.Spec{})
	if err != nil {
		return r, err
	}
	buckets, err := blob.OpenLocal(ctx, filepath.Join(work, "buckets"), blob.LocalOptions{Account: management, Region: home, Keys: keys})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, buckets.Close()) }()
	signer, err := signing.Open(filepath.Join(work, "signing"), keys, nil)
	if err != nil {
		return r, err
	}
	var trailsBook book
	for i, selectors := range benchSelectors()[:trails] {
		name := fmt.Sprintf("trail-%d", i)
		if _, err := buckets.CreateBucket(ctx, blob.BucketSpec{Name: name, Account: management, Region: home}); err != nil {
			return r, err
		}
		trailsBook.trails = append(trailsBook.trails, trail.Trail{
			ARN: "arn:aws:cloudtrail:" + home + ":" + management + ":trail/" + name, Name: name, Account: management, HomeRegion: home, OrganizationID: "o-benchmark0", Accounts: accounts,
			Epochs: []trail.Epoch{{Settings: trail.Settings{Logging: true, Bucket: name, KMSKey: key.ARN, Validation: true, MultiRegion: true, GlobalServiceEvents: true, Organization: true, Advanced: selectors}}},
		})
	}
	o := delivery.Options{Dir: filepath.Join(work, "trails"), Feed: again{j}, Book: trailsBook, Storage: buckets, Signer: signer, Account: management, Region: home}
	cpu, began := ownTime(), time.Now()
	// Everything is read, and cut; what is not in buckets by then is put there by the next one, which takes over at once.
	for i, done := range []func(delivery.Stats) bool{
		func(s delivery.Stats) bool { return s.Read >= stats.Last },
		idle,
	} {
		d, err := delivery.New(ctx, o)
		if err != nil {
			return r, err
		}
		s, err := runUntil(ctx, d, done)
		if err = errors.Join(err, d.Close()); err != nil {
			return r, err
		}
		r.Records += s.Records
		for _, t := range s.Trails {
			if i == 0 {
				r.Taken += t.Taken
			}
			r.Files += t.Files
			r.Stored += t.Bytes
		}
	}
	r.Took, r.CPU = time.Since(began), ownTime()-cpu
	return r, nil
}

// idle reports whether nothing waits for a bucket.
func idle(s delivery.Stats) bool {
	return !slices.ContainsFunc(s.Trails, func(t delivery.TrailStats) bool { return t.PendingFiles > 0 })
}

// runUntil delivers until it is done, and gives the figures of then.
func runUntil(ctx context.Context, d *delivery.Delivery, done func(delivery.Stats) bool) (delivery.Stats, error) {
	run, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- d.Run(run) }()
	limit := time.After(deliverWait)
	for {
		select {
		case err := <-ended:
			return d.Stats(), errors.Join(errors.New("deliveries ended before they were done"), err)
		case <-limit:
			stop()
			return d.Stats(), errors.Join(fmt.Errorf("deliveries were not done after %s", deliverWait), <-ended)
		case <-time.After(deliverPoll):
		}
		if done(d.Stats()) {
			stop()
			err := <-ended
			return d.Stats(), err
		}
	}
}

// delivery is a journal that is delivered to buckets, by one trail and by five.
func (b *bench) delivery(ctx context.Context) error {
	days := daysFor(b.delivered)
	d, err := b.dataset(ctx, "delivered", sample.Options{Events: b.delivered, Days: days, Story: true}, fmt.Sprintf("--events %d --days %d", b.delivered, days))
	if err != nil {
		return err
	}
	dir := filepath.Join(b.dir, "delivery")
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove what an earlier run left: %w", err)
	}
	b.say("filling the journal")
	if err := fillJournal(ctx, d, dir); err != nil {
		return fmt.Errorf("fill the journal: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	out := filepath.Join(dir, "delivered.json")
	runs := map[int][]delivered{}
	peaks := map[int]int64{}
	for range b.runs {
		for _, n := range []int{1, 5} {
			m, err := process(ctx, []int{0}, self, deliverWord, dir, strconv.Itoa(n), out)
			if err != nil {
				return err
			}
			text, err := os.ReadFile(out)
			if err != nil {
				return err
			}
			var r delivered
			if err := json.Unmarshal(text, &r); err != nil {
				return fmt.Errorf("read %s: %w", out, err)
			}
			if r.Records < uint64(d.truth.Records) || r.Taken < r.Records/2 || r.Files == 0 {
				return fmt.Errorf("%d records of %d were looked at, %d taken, %d files", r.Records, d.truth.Records, r.Taken, r.Files)
			}
			runs[n] = append(runs[n], r)
			peaks[n] = max(peaks[n], m.Peak)
			b.say("delivery, %d trails: %.0f events/s", n, float64(r.Records)/r.Took.Seconds())
		}
	}
	mid := func(n int, of func(delivered) time.Duration) time.Duration {
		m := &measured{}
		for _, r := range runs[n] {
			m.times = append(m.times, of(r))
		}
		return m.median()
	}
	took := func(r delivered) time.Duration { return r.Took }
	cpu := func(r delivered) time.Duration { return r.CPU }
	fmt.Fprintf(b.page, "\n## Deliveries of trails\n")
	b.describe(d)
	fmt.Fprintf(b.page, "\nThe events lie in a journal; trails of an organisation over all its accounts and Regions deliver them, with validation, to local buckets, each file encrypted under a key of the key ring and synced, until the last one is there. The five have different selectors, the one that of the first of them.\n")
	fmt.Fprintf(b.page, "\n| trails | events/s of the journal | events in files, of it | files | stored, MB | time, s | CPU, s | peak memory, MB |\n|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, n := range []int{1, 5} {
		r := runs[n][0]
		fmt.Fprintf(b.page, "| %d | %s | %.2f | %s | %.0f | %.2f | %.2f | %.0f |\n", n, thousands(float64(r.Records)/mid(n, took).Seconds()), float64(r.Taken)/float64(r.Records), thousands(float64(r.Files)), float64(r.Stored)/1e6,
			mid(n, took).Seconds(), mid(n, cpu).Seconds(), float64(peaks[n])/1e6)
	}
	rate := float64(runs[1][0].Records) / mid(1, took).Seconds()
	wall, work := mid(5, took).Seconds()/mid(1, took).Seconds(), mid(5, cpu).Seconds()/mid(1, cpu).Seconds()
	fmt.Fprintf(b.page, "\n- one trail: %s events/s, wanted ≥ %s: %s\n- peak memory: %.0f MB, wanted ≤ %.0f: %s\n- five trails against one: %.2f times the time, %.2f times the CPU time, wanted ≤ %.1f: %s\n",
		thousands(rate), thousands(deliverRate), sayReached(rate >= deliverRate), float64(max(peaks[1], peaks[5]))/1e6, float64(deliverMemory)/1e6, sayReached(max(peaks[1], peaks[5]) <= deliverMemory),
		wall, work, fiveTrails, sayReached(max(wall, work) <= fiveTrails))
	return os.RemoveAll(dir)
}
