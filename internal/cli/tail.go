package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"spoor/internal/dedup"
	"spoor/internal/detect"
	"spoor/internal/event"
	"spoor/internal/intake"
	"spoor/internal/ledger"
	"spoor/internal/safetext"
	"spoor/internal/source"
)

func (e *env) tail() *cobra.Command {
	var in inputFlags
	var rules ruleFlags
	var server serverFlags
	var follow, noRules bool
	var last int
	var every time.Duration
	var format string
	c := &cobra.Command{
		Use:   "tail PATH…|--server URL [TERM…]",
		Short: "Show the latest events, and with -f those to come",
		Long: `Tail prints the latest events, marks those that an alerting rule matches, and with -f goes on as files appear and grow.
An event is shown once, however often it is delivered. A file that is being written is read again when it has changed, and
reported when it stays unreadable.

With --server it shows what a service has, and with -f what it accepts from then on, as it does; terms are those of spoor
search. A connection that is lost is made again, and goes on where it was. What was missed is told.

  spoor tail ./logs
  spoor tail -f ./logs -n 50
  spoor tail -f s3://bucket/AWSLogs --since 1h --every 30s
  spoor tail -f --server https://spoor.example.com:8484 errorCode=AccessDenied
  spoor tail -f -n 0 --format raw --server http://127.0.0.1:8484 | jq .eventName` + exitCodesHelp,
		RunE: func(c *cobra.Command, args []string) error {
			if format != "line" && format != "raw" {
				return usagef("--format %q: want line or raw", format)
			}
			t := &tailer{env: e, last: last, raw: format == "raw", read: map[string]source.Object{}, failing: map[string]string{}, broken: map[string]bool{}}
			if !noRules && !t.raw {
				set, err := rules.load(c.Context(), e)
				if err != nil {
					return err
				}
				t.engine = detect.NewEngine(set)
			}
			if server.server != "" || !slices.ContainsFunc(args, isInput) && server.named() != "" {
				if err := server.allow(c, "since", "account", "region", "format", "follow", "lines", "no-rules", "quiet",
					"rules", "no-builtin", "enable", "disable", "deprecated", "strict", "placeholder"); err != nil {
					return err
				}
				return t.runServer(c.Context(), &server, &in, args, follow)
			}
			if len(args) == 0 {
				return usagef("%s wants a folder, file or bucket to read, or --server; for example: spoor tail -f ./logs", c.CommandPath())
			}
			if every < 10*time.Millisecond {
				return usagef("--every %s: want at least 10ms", every)
			}
			opts, done, err := in.intake(c.Context(), e, args)
			if err != nil {
				return err
			}
			t.opts = opts
			seen := dedup.New(dedup.Options{Dir: in.tempDir})
			defer func() { _ = seen.Close() }() // temporary files only
			t.opts.Seen = seen
			err = t.run(c.Context(), follow, every)
			return errors.Join(err, done())
		},
	}
	in.add(c)
	rules.add(c)
	server.add(c, "follow the server at this `URL` (default: the variable SPOOR_SERVER, when there is no path)")
	fl := c.Flags()
	fl.StringVar(&format, "format", "line", "line, or raw: the records as they came, one a line")
	fl.BoolVarP(&follow, "follow", "f", false, "go on as files appear and grow, until interrupted")
	fl.IntVarP(&last, "lines", "n", 10, "events to start with")
	fl.DurationVar(&every, "every", time.Second, "how often to look")
	fl.BoolVar(&noRules, "no-rules", false, "do not mark events that rules match")
	return c
}

// tailer reads the same sources again and again.
type tailer struct {
	env     *env
	opts    intake.Options
	engine  *detect.Engine // nil: no rules
	last    int
	raw     bool
	read    map[string]source.Object // what was read, as it was listed then
	failing map[string]string        // objects that could not be read, with the reason that will be told
	broken  map[string]bool          // objects that were told, until they can be read

	mu      sync.Mutex // guards what follows
	lines   []found
	started bool // the first lines were shown: from then on all are
}

func (t *tailer) run(ctx context.Context, follow bool, every time.Duration) error {
	for first := true; ; first = false {
		if err := t.round(ctx); err != nil {
			if follow && ctx.Err() != nil {
				return nil
			}
			return err
		}
		t.env.exit = ExitClean
		if len(t.broken) > 0 {
			t.env.exit = ExitIncomplete
		}
		if err := t.print(first); err != nil {
			return err
		}
		if !follow {
			if len(t.failing) > 0 {
				t.env.exit = ExitIncomplete
				for name, reason := range t.failing {
					t.complain(name, reason)
				}
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
	}
}

// round reads what is new or has changed since the last one.
func (t *tailer) round(ctx context.Context) error {
	opts := t.opts
	opts.Ledger = ledger.New()
	opts.Progress = new(intake.Progress)
	changed := map[string]source.Object{}
	opts.Sources = nil
	for _, s := range t.opts.Sources {
		opts.Sources = append(opts.Sources, &changedOnly{Source: s, before: t.read, changed: changed})
	}
	if err := intake.Run(ctx, opts, func() (intake.Worker, error) {
		w := &tailWorker{t: t}
		if t.engine != nil {
			w.rules = t.engine.NewWorker()
		}
		return w, nil
	}); err != nil {
		return err
	}
	rep := opts.Ledger.Report()
	problems := map[string]string{}
	for _, f := range rep.Failures {
		problems[f.Object] = f.Reason
	}
	for _, r := range rep.Rejects {
		if problems[r.Object] == "" {
			problems[r.Object] = fmt.Sprintf("%s (record at byte %d)", r.Reason, r.Offset)
		}
	}
	// A file that could not be read may be in the middle of being written: it is told when it has not changed since.
	for name, reason := range t.failing {
		if _, again := changed[name]; !again {
			t.complain(name, reason)
			t.broken[name] = true
		}
		delete(t.failing, name)
	}
	for name, obj := range changed {
		t.read[name] = obj
		delete(t.broken, name)
		if reason, bad := problems[name]; bad {
			t.failing[name] = reason
		}
	}
	return nil
}

func (t *tailer) complain(name, reason string) {
	fmt.Fprintf(t.env.stderr, "spoor: %s: %s\n", safetext.Terminal(name, 300), safetext.Terminal(reason, 300))
}

func (t *tailer) print(first bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sort()
	if first {
		t.lines = t.lines[max(0, len(t.lines)-t.last):]
		t.started = true
	}
	return t.show()
}

func (t *tailer) sort() {
	slices.SortFunc(t.lines, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.at, b.at), strings.Compare(a.id, b.id))
	})
}

// show prints what was gathered; t.mu is held.
func (t *tailer) show() error {
	for _, l := range t.lines {
		if _, err := io.WriteString(t.env.stdout, l.text+"\n"); err != nil {
			return err
		}
	}
	t.lines = nil
	return nil
}

// tailHeld is how many lines are held back to be sorted.
const tailHeld = 200_000

type tailWorker struct {
	t     *tailer
	rules *detect.Worker
}

// line is an event with the rules that match it.
func (w *tailWorker) line(e *event.Event) string {
	if w.t.raw {
		return rawLine(e)
	}
	text := eventLine(e)
	if w.rules != nil {
		w.rules.Evaluate(e, func(h detect.Hit) {
			if h.Alerts() && h.Level() > detect.Informational {
				text += "  << " + h.Level().String() + ": " + safetext.Terminal(h.Rule().Title, 120)
			}
		})
	}
	return text
}

// Event implements [intake.Worker].
func (w *tailWorker) Event(e *event.Event) error {
	f := found{at: e.Time, id: strings.Clone(e.ID()), text: w.line(e)}
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	w.t.lines = append(w.t.lines, f)
	switch {
	case len(w.t.lines) <= tailHeld:
		return nil
	case w.t.started:
		return w.t.show()
	}
	w.t.sort()
	w.t.lines = slices.Delete(w.t.lines, 0, len(w.t.lines)-max(w.t.last, tailHeld/2))
	return nil
}

// changedOnly lists what is new or has changed.
type changedOnly struct {
	source.Source
	before, changed map[string]source.Object
}

// List implements [source.Source].
func (c *changedOnly) List(ctx context.Context, sel source.Selection, visit func(source.Object, string) error) error {
	return c.Source.List(ctx, sel, func(obj source.Object, skip string) error {
		if old, ok := c.before[obj.Name]; ok && old.Size == obj.Size && old.Modified.Equal(obj.Modified) {
			return nil
		}
		c.changed[obj.Name] = obj
		return visit(obj, skip)
	})
}
