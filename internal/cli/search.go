package cli

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"spoor/internal/client"
	"spoor/internal/dedup"
	"spoor/internal/detect"
	"spoor/internal/event"
	"spoor/internal/intake"
	"spoor/internal/ledger"
	"spoor/internal/safetext"
	"spoor/internal/search"
)

// sortedBytes is how many bytes of matching events are held back to be shown in order.
const sortedBytes = 128 << 20

func (e *env) search() *cobra.Command {
	var in inputFlags
	var kept storeFlags
	var server serverFlags
	var format, inFlag string
	var limit int
	var count bool
	c := &cobra.Command{
		Use:   "search TERM… PATH…|--store DIR|--server URL",
		Short: "Find events by text or field",
		Long: `Search prints the events in which every term holds, in the order of time. A term is text, found anywhere in an event,
or a test of a field; case does not matter, * and ? are wildcards, and Sigma's modifiers work:

  spoor search AKIAIOSFODNN7EXAMPLE ./logs
  spoor search eventName=Create* errorCode!=AccessDenied ./logs
  spoor search 'userIdentity.arn|endswith=/ana' 'sourceIPAddress|cidr=198.51.100.0/24' s3://bucket/prefix
  spoor search 'requestParameters.bucketName~^prod-' ./logs --format raw | jq .requestParameters
  spoor search eventID=4f1c2a9b-… --store ./store   a store reads only where that can be
  spoor search ec2 -- ./ec2                         what stands behind -- is read
  spoor search errorCode=AccessDenied --since 1h --server https://spoor.example.com:8484` + strings.Replace(exitCodesHelp, "findings at or above --fail-on (or: no match, a failed test)", "no match", 1),
		Args: minArgs(1, "something to look for and where", "spoor search eventName=StopLogging ./logs"),
		RunE: func(c *cobra.Command, args []string) error {
			terms, inputs := splitQuery(args, c.ArgsLenAtDash())
			if format != "line" && format != "raw" && format != "jsonl" {
				return usagef("--format %q: want line, raw or jsonl", format)
			}
			if server.server != "" || len(inputs) == 0 && inFlag == "" && kept.dir == "" && server.named() != "" {
				if err := server.allow(c, "since", "until", "account", "region", "format", "limit", "count", "quiet"); err != nil {
					return err
				}
				return e.searchServer(c.Context(), &server, &in, args, format != "line", limit, count)
			}
			if inFlag != "" {
				inputs = append(inputs, inFlag)
			}
			if len(terms) == 0 {
				return usagef("nothing to look for: all of %q are inputs; put terms before -- and inputs behind it", args)
			}
			if len(inputs) == 0 && kept.dir == "" {
				return usagef("nowhere to look: %q is neither a file, a folder, s3:// nor -", args[len(args)-1])
			}
			want, err := wanted(terms)
			if err != nil {
				return err
			}
			opts, earlier, done, err := kept.intake(c.Context(), e, &in, inputs, want)
			if err != nil {
				return err
			}
			s := &searcher{limit: limit, count: count, raw: format != "line", out: bufio.NewWriterSize(e.stdout, 64<<10)}
			opts.Ledger = ledger.New()
			if !in.keepDuplicates {
				seen := dedup.New(dedup.Options{Dir: in.tempDir, Earlier: earlier})
				defer func() { _ = seen.Close() }() // temporary files only
				opts.Seen = seen
			}
			ctx, cancel := context.WithCancelCause(c.Context())
			defer cancel(nil)
			stop := in.progress(e, opts.Progress)
			err = intake.Run(ctx, opts, func() (intake.Worker, error) {
				q, err := newQuery(terms)
				return &searchWorker{s: s, q: q}, err
			})
			stop()
			if err = errors.Join(err, done()); err != nil {
				return err
			}
			if err := s.finish(); err != nil {
				return err
			}
			rep := opts.Ledger.Report()
			if s.unsorted {
				fmt.Fprintln(e.stderr, "spoor: too many matches to sort them all: the order of time holds in stretches only")
			}
			if s.left > 0 {
				fmt.Fprintf(e.stderr, "spoor: %d more matches; --limit -1 shows all\n", s.left)
			}
			if !in.quiet {
				for _, r := range rep.Pruned {
					fmt.Fprintf(e.stderr, "spoor: %s of the store not read: %s\n", plural(r.Count, "record"), r.Reason)
				}
			}
			switch {
			case !rep.Balanced:
				e.exit = ExitFailure
				fmt.Fprintf(e.stderr, "spoor: the ledger does not balance: %s\n", strings.Join(rep.Problems, "; "))
			case !rep.Complete() || rep.Empty():
				e.exit = ExitIncomplete
				fmt.Fprintf(e.stderr, "spoor: input incomplete: %s read, %s failed, %s rejected; spoor hunt shows which\n",
					plural(rep.Records.Kept, "event"), plural(rep.Objects.Failed, "object"), plural(rep.Records.Rejected, "record"))
			case s.total == 0:
				e.exit = ExitFindings
			}
			return nil
		},
	}
	in.add(c)
	kept.add(c)
	server.add(c, "search the server at this `URL` (default: the variable SPOOR_SERVER, when there is nothing else to search)")
	fl := c.Flags()
	fl.StringVar(&format, "format", "line", "line, or raw: the records as they came, one a line")
	fl.StringVar(&inFlag, "in", "", "a `path` to read, in place of the last arguments")
	fl.IntVar(&limit, "limit", 1000, "most events to show; -1: all")
	fl.BoolVar(&count, "count", false, "print only the number of matches")
	return c
}

// searchServer searches a server, in the order of time. Nothing of it is held back.
func (e *env) searchServer(ctx context.Context, f *serverFlags, in *inputFlags, terms []string, raw bool, limit int, count bool) error {
	c, err := f.client(f.named())
	if err != nil {
		return err
	}
	defer c.Close()
	q := client.Search{Terms: terms, Accounts: in.accounts, Regions: in.regions, Oldest: true}
	if q.Since, q.Until, err = serverTimes(in.since, in.until); err != nil {
		return err
	}
	if count {
		n, err := c.Count(ctx, q)
		if err != nil {
			return remote(c, err)
		}
		if n.Total == 0 {
			e.exit = ExitFindings
		}
		e.damagedThere(n.Damaged)
		_, err = fmt.Fprintln(e.stdout, n.Total)
		return err
	}
	out := bufio.NewWriterSize(e.stdout, 64<<10)
	shown := 0
	for {
		q.Limit = 1000
		if limit >= 0 {
			q.Limit = min(q.Limit, max(limit-shown, 1))
		}
		page, err := c.Search(ctx, q)
		if err != nil {
			return errors.Join(remote(c, err), out.Flush())
		}
		if q.Cursor == "" {
			e.damagedThere(page.Damaged)
		}
		for i := range page.Events {
			if limit >= 0 && shown == limit {
				break
			}
			rec, err := recordOf(&page.Events[i])
			if err != nil {
				return errors.Join(err, out.Flush())
			}
			line := eventLine
			if raw {
				line = rawLine
			}
			if _, err := out.WriteString(line(rec) + "\n"); err != nil {
				return err
			}
			shown++
		}
		if err := out.Flush(); err != nil {
			return err
		}
		q.Cursor = page.Next
		if q.Cursor == "" || limit >= 0 && shown >= limit {
			break
		}
	}
	if q.Cursor != "" {
		fmt.Fprintln(e.stderr, "spoor: there are more matches; --limit -1 shows all")
	}
	if shown == 0 && q.Cursor == "" && e.exit == ExitClean {
		e.exit = ExitFindings
	}
	return nil
}

// rawLine is the record of an event on one line.
func rawLine(e *event.Event) string { return string(safetext.JSON(e.Root().Compact(nil))) }

// searcher gathers matches from all workers.
type searcher struct {
	limit      int
	count, raw bool

	mu       sync.Mutex // guards what follows
	out      *bufio.Writer
	held     []found
	size     int
	total    int64
	left     int64
	shown    int64
	unsorted bool
}

// found is a match, ready to be shown.
type found struct {
	at   int64
	id   string
	text string
}

type searchWorker struct {
	s *searcher
	q *search.Query
}

// Event implements [intake.Worker].
func (w *searchWorker) Event(e *event.Event) error {
	if !w.q.Match(e) {
		return nil
	}
	f := found{at: e.Time, id: strings.Clone(e.ID())}
	if !w.s.count {
		if w.s.raw {
			f.text = rawLine(e)
		} else {
			f.text = eventLine(e)
		}
	}
	return w.s.take(f)
}

func (s *searcher) take(f found) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total++
	if s.count {
		return nil
	}
	s.held = append(s.held, f)
	s.size += len(f.text) + 64
	if s.limit >= 0 && len(s.held) > 2*s.limit+1000 {
		s.sort()
		s.left += int64(len(s.held) - s.limit)
		clear(s.held[s.limit:])
		s.held = s.held[:s.limit]
		s.size = 0
		for _, h := range s.held {
			s.size += len(h.text) + 64
		}
	}
	if s.size > sortedBytes {
		s.unsorted = true
		return s.show()
	}
	return nil
}

func (s *searcher) sort() {
	slices.SortFunc(s.held, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.at, b.at), strings.Compare(a.id, b.id), strings.Compare(a.text, b.text))
	})
}

func (s *searcher) show() error {
	s.sort()
	for _, f := range s.held {
		if s.limit >= 0 && s.shown >= int64(s.limit) {
			s.left++
			continue
		}
		s.shown++
		if _, err := s.out.WriteString(f.text + "\n"); err != nil {
			return err
		}
	}
	s.held, s.size = s.held[:0], 0
	return nil
}

func (s *searcher) finish() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count {
		fmt.Fprintln(s.out, s.total)
	}
	if err := s.show(); err != nil {
		return err
	}
	return s.out.Flush()
}

// eventLine describes an event on one line.
func eventLine(e *event.Event) string {
	when := "                   -"
	if e.Time != 0 {
		when = e.When().Format(time.RFC3339)
	}
	actor := e.Actor()
	service, _, _ := strings.Cut(e.Source(), ".")
	parts := []string{when, actor.Name, service + ":" + e.Name()}
	if t := detect.Target(e); t != "" {
		parts = append(parts, t)
	}
	if code := e.Text(event.ErrorCode); code != "" {
		parts = append(parts, "["+code+"]")
	} else if e.Failed() {
		parts = append(parts, "[failed]")
	}
	parts = append(parts, e.Text(event.SourceIPAddress), e.Account(), e.Region(), e.ID())
	for i, p := range parts {
		parts[i] = safetext.Terminal(p, 160)
	}
	return strings.Join(parts, "  ")
}
