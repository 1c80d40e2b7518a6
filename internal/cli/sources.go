package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"spoor/internal/client"
	"spoor/internal/safetext"
)

// sourcesFlags are the flags of spoor sources.
type sourcesFlags struct {
	server serverFlags
	asJSON bool
}

func (f *sourcesFlags) add(c *cobra.Command) {
	f.server.add(c, "ask the server at this `URL` (default: the variable SPOOR_SERVER, else "+defaultServer+")")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print the result as JSON")
}

// with runs fn with a client of the server.
func (f *sourcesFlags) with(fn func(c *client.Client) error) error {
	server := f.server.named()
	if server == "" {
		server = defaultServer
	}
	c, err := f.server.client(server)
	if err != nil {
		return err
	}
	defer c.Close()
	return remote(c, fn(c))
}

func (e *env) sources() *cobra.Command {
	var f sourcesFlags
	c := &cobra.Command{
		Use:   "sources [NAME]",
		Short: "Show the sources of a running service, and what they could not read",
		Long: `Sources shows how the sources of a running service are doing. What they gave up lies with their dead letters, until it is
replayed or discarded.

  spoor sources --server https://spoor.example.com:8484
  spoor sources trail                              one, with everything that is known
  spoor sources dead-letters trail                 what it could not read, and why
  spoor sources replay trail 0f3a…                 try one again, or --all
  spoor sources discard trail 0f3a…                give it up for good
  spoor sources pause trail                        until spoor sources resume trail

Exit status:
  0  every source that should read does, and nothing was given up
  2  wrong usage
  3  a source has failed, or has dead letters
  4  failure: there is no answer`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(func(cl *client.Client) error {
				var list []client.Source
				if len(args) == 1 {
					one, err := cl.Source(c.Context(), args[0])
					if err != nil {
						return err
					}
					list = append(list, one)
				} else {
					var err error
					if list, err = cl.Sources(c.Context()); err != nil {
						return err
					}
				}
				for _, s := range list {
					if s.State == "failed" || s.DeadLetters > 0 {
						e.exit = ExitIncomplete
					}
				}
				switch {
				case f.asJSON && len(args) == 1:
					return e.printJSON(list[0])
				case f.asJSON:
					return e.printJSON(append([]client.Source{}, list...))
				case len(args) == 1:
					return showSource(e.stdout, &list[0])
				}
				return showSources(e.stdout, list)
			})
		},
	}
	f.add(c)
	c.AddCommand(e.deadLetters(), e.replay(), e.discard(), e.pause("pause", "Stop reading from a source, until it is resumed", (*client.Client).Pause),
		e.pause("resume", "Read from a source again", (*client.Client).Resume))
	return c
}

// agoText says how long ago a time was.
func agoText(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := time.Since(t)
	switch {
	case d < 0:
		return t.UTC().Format(time.RFC3339)
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

func waitingText(n int64) string {
	if n < 0 {
		return "?"
	}
	return group(n)
}

func showSources(out io.Writer, list []client.Source) error {
	if len(list) == 0 {
		_, err := io.WriteString(out, "There is no source. docs/sources.md tells how to configure one.\n")
		return err
	}
	if err := table(out, "NAME\tTYPE\tSTATE\tRECORDS/S\tWAITING\tLAG\tLAST SUCCESS\tERRORS\tDEAD LETTERS", func(w io.Writer) {
		for _, s := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%.1f\t%s\t%s\t%s\t%s\t%s\n", safetext.Terminal(s.Name, 64), dash(safetext.Terminal(s.Kind, 20)), strings.ToUpper(failedOnly(s.State))+quietState(s.State),
				s.Rate, waitingText(s.Backlog), lagText(s.Lag), agoText(s.LastSuccess), group(s.Errors), group(s.DeadLetters))
		}
	}); err != nil {
		return err
	}
	for _, s := range list {
		if text := trouble(&s); text != "" {
			if _, err := fmt.Fprintf(out, "\n%s: %s\n", safetext.Terminal(s.Name, 64), text); err != nil {
				return err
			}
		}
	}
	return nil
}

// failedOnly and quietState let a state that wants somebody stand out.
func failedOnly(state string) string {
	if state == "failed" || state == "paused" {
		return state
	}
	return ""
}

func quietState(state string) string {
	if failedOnly(state) != "" {
		return ""
	}
	return dash(safetext.Terminal(state, 20))
}

func lagText(d time.Duration) string {
	if d <= 0 {
		return "-"
	}
	return d.Round(time.Second).String()
}

// trouble says what is wrong with a source, and what to do.
func trouble(s *client.Source) string {
	var parts []string
	if s.State == "failed" {
		text := "failed: " + safetext.Terminal(s.Error, 300)
		if !s.Retry.IsZero() {
			text += "; tried again at " + timeText(s.Retry)
		}
		parts = append(parts, text)
	} else if s.LastError != "" && s.LastErrorAt.After(s.LastSuccess) {
		parts = append(parts, fmt.Sprintf("last error, %s: %s", agoText(s.LastErrorAt), safetext.Terminal(s.LastError, 300)))
	}
	if s.DeadLetters > 0 {
		parts = append(parts, fmt.Sprintf("%s: spoor sources dead-letters %s", countOf(s.DeadLetters, "dead letter"), safetext.Terminal(s.Name, 64)))
	}
	return strings.Join(parts, "\n  ")
}

func showSource(out io.Writer, s *client.Source) error {
	var b strings.Builder
	line := func(name, value string) { fmt.Fprintf(&b, "  %-14s %s\n", name, value) }
	fmt.Fprintf(&b, "%s: %s, %s\n", safetext.Terminal(s.Name, 64), dash(safetext.Terminal(s.Kind, 20)), dash(safetext.Terminal(s.State, 20)))
	line("records", fmt.Sprintf("%s accepted, %s malformed, %.1f a second, %s", group(s.Records), group(s.Rejected), s.Rate, bytesText(s.Bytes)))
	line("objects", fmt.Sprintf("%s settled, %s given up, %s in work, %s waiting", group(s.Objects), group(s.Failed), group(s.InFlight), waitingText(s.Backlog)))
	line("lag", lagText(s.Lag))
	line("tried again", fmt.Sprintf("%s objects and messages; %s times there was no room in the journal", group(s.Retries), group(s.Waits)))
	line("errors", group(s.Errors))
	line("last success", agoText(s.LastSuccess))
	if text := trouble(s); text != "" {
		fmt.Fprintf(&b, "\n%s\n", text)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (e *env) deadLetters() *cobra.Command {
	var f sourcesFlags
	var after string
	var limit int
	c := &cobra.Command{
		Use:   "dead-letters NAME",
		Short: "List what a source could not read",
		Long: `Dead-letters lists objects and messages that a source gave up, with the reasons.

  spoor sources dead-letters trail
  spoor sources dead-letters trail --json | jq -r '.[].id'

Exit status:
  0  there is none
  2  wrong usage
  3  there are some
  4  failure: there is no answer`,
		Args: oneArg("the name of a source", "spoor sources dead-letters trail"),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(func(cl *client.Client) error {
				list, next, err := cl.DeadLetters(c.Context(), args[0], after, limit)
				if err != nil {
					return err
				}
				if len(list) > 0 {
					e.exit = ExitIncomplete
				}
				if next != "" {
					fmt.Fprintf(e.stderr, "spoor: there are more; --after %s goes on\n", safetext.Terminal(next, 64))
				}
				if f.asJSON {
					return e.printJSON(append(list[:0:0], list...))
				}
				if len(list) == 0 {
					_, err := io.WriteString(e.stdout, "There is none: nothing was given up.\n")
					return err
				}
				return table(e.stdout, "ID\tGIVEN UP\tTRIES\tWHAT\tWHY", func(w io.Writer) {
					for _, l := range list {
						fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", safetext.Terminal(l.ID, 64), timeText(l.At), l.Attempts, safetext.Middle(l.Object, 100), safetext.Terminal(l.Reason, 200))
					}
				})
			})
		},
	}
	f.add(c)
	c.Flags().StringVar(&after, "after", "", "begin behind this `id`")
	c.Flags().IntVar(&limit, "limit", 100, "most letters to show, 1000 at most")
	return c
}

// letters runs do for the ids that are named, or for all dead letters of a source.
func (e *env) letters(ctx context.Context, cl *client.Client, source string, ids []string, all bool, did string, do func(ctx context.Context, source, id string) error) error {
	done, failed := int64(0), int64(0)
	one := func(id string) error {
		err := do(ctx, source, id)
		var told *client.Error
		switch {
		case err == nil:
			done++
			return nil
		case errors.As(err, &told) && told.Status == 409, errors.As(err, &told) && told.Status == 404 && all:
			failed++
			fmt.Fprintf(e.stderr, "spoor: %s: %s\n", safetext.Terminal(id, 64), safetext.Terminal(told.Detail, 400))
			return nil
		}
		return err
	}
	var err error
	if !all {
		for _, id := range ids {
			if err = one(id); err != nil {
				break
			}
		}
	} else {
		for after := ""; err == nil; {
			page, next, lerr := cl.DeadLetters(ctx, source, after, 1000)
			if lerr != nil {
				err = lerr
				break
			}
			for _, l := range page {
				if err = one(l.ID); err != nil {
					break
				}
			}
			if after = next; next == "" {
				break
			}
		}
	}
	if failed > 0 {
		e.exit = ExitIncomplete
	}
	text := fmt.Sprintf("%s %s", countOf(done, "dead letter"), did)
	if failed > 0 {
		text += fmt.Sprintf(", %s not", group(failed))
	}
	if _, werr := fmt.Fprintf(e.stdout, "%s.\n", text); err == nil {
		err = werr
	}
	return err
}

func letterArgs(verb string, all *bool) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 0 || (len(args) == 1) != *all {
			return usagef("%s wants the name of a source and ids of dead letters, or --all; for example: spoor sources %s trail 0f3a…", c.CommandPath(), verb)
		}
		return nil
	}
}

func (e *env) replay() *cobra.Command {
	var f sourcesFlags
	var all bool
	c := &cobra.Command{
		Use:   "replay NAME ID…|--all",
		Short: "Try dead letters of a source again",
		Long: `Replay tries to read what a source gave up. A letter is removed when all of it is durable; one that still cannot be read
stays.

  spoor sources replay trail 0f3a… 51bc…
  spoor sources replay trail --all

Exit status:
  0  all were read
  2  wrong usage
  3  some still cannot be read
  4  failure`,
		Args: letterArgs("replay", &all),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(func(cl *client.Client) error {
				return e.letters(c.Context(), cl, args[0], args[1:], all, "replayed", cl.Replay)
			})
		},
	}
	f.server.add(c, "ask the server at this `URL` (default: the variable SPOOR_SERVER, else "+defaultServer+")")
	c.Flags().BoolVar(&all, "all", false, "all dead letters of the source")
	return c
}

func (e *env) discard() *cobra.Command {
	var f sourcesFlags
	var all bool
	c := &cobra.Command{
		Use:   "discard NAME ID…|--all",
		Short: "Give dead letters of a source up for good",
		Long: `Discard removes what a source could not read from its dead letters. The ledger goes on to count it as failed, and
spoor coverage as missing. The service records who did it.

  spoor sources discard trail 0f3a…
  spoor sources discard trail --all

Exit status:
  0  all were removed
  2  wrong usage
  3  some were not
  4  failure`,
		Args: letterArgs("discard", &all),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(func(cl *client.Client) error {
				return e.letters(c.Context(), cl, args[0], args[1:], all, "discarded", cl.Discard)
			})
		},
	}
	f.server.add(c, "ask the server at this `URL` (default: the variable SPOOR_SERVER, else "+defaultServer+")")
	c.Flags().BoolVar(&all, "all", false, "all dead letters of the source")
	return c
}

func (e *env) pause(verb, short string, do func(*client.Client, context.Context, string) (client.Source, error)) *cobra.Command {
	var f sourcesFlags
	c := &cobra.Command{
		Use:   verb + " NAME",
		Short: short,
		Long: short + `. A restart of the service does not change it, and the service records who did it.

  spoor sources ` + verb + ` trail

Exit status:
  0  done
  2  wrong usage
  4  failure`,
		Args: oneArg("the name of a source", "spoor sources "+verb+" trail"),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(func(cl *client.Client) error {
				s, err := do(cl, c.Context(), args[0])
				if err != nil {
					return err
				}
				if f.asJSON {
					return e.printJSON(s)
				}
				_, err = fmt.Fprintf(e.stdout, "%s is %s.\n", safetext.Terminal(s.Name, 64), safetext.Terminal(s.State, 20))
				return err
			})
		},
	}
	f.add(c)
	return c
}
