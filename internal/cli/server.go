package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"spoor/internal/client"
	"spoor/internal/event"
)

// serverFlags are the flags of commands that ask a server.
type serverFlags struct {
	server, tokenFile, ca string
	plain                 bool
}

// defaultServer is where spoor serve answers unless told otherwise.
const defaultServer = "http://127.0.0.1:8484"

func (f *serverFlags) add(c *cobra.Command, doc string) {
	fl := c.Flags()
	fl.StringVar(&f.server, "server", "", doc)
	fl.StringVar(&f.tokenFile, "token-file", "", "read the token for the server from this `file` (default: the variable SPOOR_TOKEN)")
	fl.StringVar(&f.ca, "ca", "", "`file` with certificates in PEM that sign the server's (default: those of the system)")
	fl.BoolVar(&f.plain, "plain", false, "send the token in the clear to another machine, where http:// is trusted")
	_ = c.RegisterFlagCompletionFunc("server", cobra.FixedCompletions([]string{defaultServer}, cobra.ShellCompDirectiveNoFileComp))
}

// named is the server that is named, by the flag or else by SPOOR_SERVER; "" for none.
func (f *serverFlags) named() string {
	if f.server != "" {
		return f.server
	}
	return os.Getenv("SPOOR_SERVER")
}

// client makes a client of a server. Without a token it does not reach out.
func (f *serverFlags) client(server string) (*client.Client, error) {
	token := func() (string, error) {
		if f.tokenFile == "" {
			return strings.TrimSpace(os.Getenv("SPOOR_TOKEN")), nil
		}
		text, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return "", usageError{fmt.Errorf("read the token: %w", err)}
		}
		text = bytes.TrimSpace(text)
		if len(text) == 0 || len(text) > 512 || bytes.ContainsAny(text, " \r\n\t") {
			return "", usagef("%s: want one token and nothing else", f.tokenFile)
		}
		return string(text), nil
	}
	switch t, err := token(); {
	case err != nil:
		return nil, err
	case t == "":
		return nil, usagef("%s wants a token: set SPOOR_TOKEN, or give --token-file; spoor iam token create makes one where the data folder is", server)
	}
	o := client.Options{Server: server, Token: token, Plain: f.plain, UserAgent: "spoor/" + version}
	if f.ca != "" {
		var err error
		if o.CA, err = os.ReadFile(f.ca); err != nil {
			return nil, usageError{fmt.Errorf("read the certificates: %w", err)}
		}
	}
	c, err := client.New(o)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// remote says what to do about errors of a server.
func remote(c *client.Client, err error) error {
	var told *client.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &told) && told.Status == 401:
		return fmt.Errorf("%s does not take the token: %w; spoor iam token create makes another one", c.Server(), err)
	case errors.As(err, &told) && told.Mine():
		return usageError{err}
	case errors.As(err, &told):
		return fmt.Errorf("%s: %w", c.Server(), err)
	case errors.Is(err, client.ErrUnreachable):
		return fmt.Errorf("%w; is it running? spoor serve starts one", err)
	}
	return err
}

// allow refuses flags that mean nothing to a server: those that are not among names, beside the server's own.
func (f *serverFlags) allow(c *cobra.Command, names ...string) error {
	names = append(names, "server", "token-file", "ca", "plain", "cpuprofile")
	var bad []string
	c.Flags().Visit(func(flag *pflag.Flag) {
		if !slices.Contains(names, flag.Name) {
			bad = append(bad, "--"+flag.Name)
		}
	})
	if len(bad) > 0 {
		return usagef("%s: a server has no use for it; it is for what is read here", strings.Join(bad, ", "))
	}
	return nil
}

// serverTimes are --since and --until as a server reads them: absolute, by this machine's clock.
func serverTimes(since, until string) (from, to string, err error) {
	now := time.Now()
	text := func(flag, s string) (string, error) {
		t, err := parseWhen(flag, s, now)
		if err != nil || t.IsZero() {
			return "", err
		}
		return t.UTC().Format(time.RFC3339), nil
	}
	if from, err = text("--since", since); err != nil {
		return "", "", err
	}
	to, err = text("--until", until)
	return from, to, err
}

// damagedThere tells of files that a server could not read.
func (e *env) damagedThere(list []client.Damage) {
	for _, d := range list {
		e.damaged(d.File, d.What)
	}
}

// recordOf reads the record of an event of a server.
func recordOf(ev *client.Event) (*event.Event, error) {
	raw := []byte(ev.Record)
	if len(raw) > 0 && raw[0] == '"' { // it is not strictly JSON
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, fmt.Errorf("event %.64q of the server: %w", ev.ID, err)
		}
		raw = []byte(text)
	}
	rec, err := event.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("event %.64q of the server: %w", ev.ID, err)
	}
	return rec, nil
}
