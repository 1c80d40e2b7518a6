package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"spoor/internal/client"
	"spoor/internal/safetext"
)

// tailAhead is how many messages of a live tail wait while the latest events are shown.
const tailAhead = 1024

// runServer shows the latest events of a server, and those to come.
func (t *tailer) runServer(ctx context.Context, f *serverFlags, in *inputFlags, terms []string, follow bool) error {
	c, err := f.client(f.named())
	if err != nil {
		return err
	}
	defer c.Close()
	if follow && (len(in.accounts) > 0 || len(in.regions) > 0 || in.since != "") {
		return usagef("--account, --region and --since choose from what is there; with -f give terms, such as recipientAccountId=111122223333 awsRegion=us-east-1")
	}
	w := &tailWorker{t: t}
	if t.engine != nil {
		w.rules = t.engine.NewWorker()
	}
	q := client.Search{Terms: terms, Accounts: in.accounts, Regions: in.regions}
	if q.Since, _, err = serverTimes(in.since, ""); err != nil {
		return err
	}
	if !follow {
		_, err := t.latest(ctx, c, q, w)
		return remote(c, err)
	}

	// Following begins before the latest are asked for, and behind what they can be, so that nothing is accepted in between
	// unseen.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	messages := make(chan client.TailMessage, tailAhead)
	var following sync.WaitGroup
	var ended error
	begun, done := make(chan struct{}), make(chan struct{})
	following.Go(func() {
		defer close(done)
		defer close(messages)
		_, ended = c.Tail(ctx, client.Tail{Terms: terms, Searchable: true, Began: sync.OnceFunc(func() { close(begun) }), Lost: func(err error, wait time.Duration) {
			fmt.Fprintf(t.env.stderr, "spoor: the connection was lost, and is made again in %s: %s\n", wait.Round(100*time.Millisecond), safetext.Terminal(err.Error(), 300))
		}}, func(m client.TailMessage) error {
			select {
			case messages <- m:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	})
	finish := func(err error) error {
		cancel(errFinished)
		for range messages { // until it has ended
		}
		following.Wait()
		return err
	}
	shown := map[string]bool{}
	select {
	case <-begun:
		if shown, err = t.latest(ctx, c, q, w); err != nil {
			return finish(remote(c, err))
		}
	case <-done:
	}
	for m := range messages {
		if err := t.message(m, w, shown); err != nil {
			return finish(err)
		}
	}
	following.Wait()
	if ctx.Err() != nil {
		return nil // interrupted, which is how it ends
	}
	return remote(c, ended)
}

var errFinished = errors.New("the reader has seen enough")

// latest shows the latest events, in the order of time, and tells their ids.
func (t *tailer) latest(ctx context.Context, c *client.Client, q client.Search, w *tailWorker) (map[string]bool, error) {
	shown := map[string]bool{}
	var events []client.Event
	for first := true; len(events) < t.last && (first || q.Cursor != ""); first = false {
		q.Limit = min(1000, t.last-len(events))
		page, err := c.Search(ctx, q)
		if err != nil {
			return nil, err
		}
		if first {
			t.env.damagedThere(page.Damaged)
		}
		events, q.Cursor = append(events, page.Events...), page.Next
	}
	slices.Reverse(events)
	for i := range events {
		if err := t.showEvent(&events[i], w); err != nil {
			return nil, err
		}
		shown[events[i].ID] = true
	}
	return shown, nil
}

func (t *tailer) showEvent(ev *client.Event, w *tailWorker) error {
	rec, err := recordOf(ev)
	if err != nil {
		return err
	}
	_, err = io.WriteString(t.env.stdout, w.line(rec)+"\n")
	return err
}

// message shows a message of a live tail. Events among shown were shown already.
func (t *tailer) message(m client.TailMessage, w *tailWorker, shown map[string]bool) error {
	if m.Dropped > 0 {
		t.env.exit = ExitIncomplete
		fmt.Fprintf(t.env.stderr, "spoor: %s left out here: they came faster than they could be shown\n", countOf(int64(m.Dropped), "event"))
	}
	if m.Gap != "" {
		t.env.exit = ExitIncomplete
		fmt.Fprintf(t.env.stderr, "spoor: events may be missing here: %s\n", safetext.Terminal(m.Gap, 300))
	}
	if m.Event == nil {
		return nil
	}
	if m.Event.ID != "" && shown[m.Event.ID] {
		delete(shown, m.Event.ID)
		return nil
	}
	return t.showEvent(m.Event, w)
}
