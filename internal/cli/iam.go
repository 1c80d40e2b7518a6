package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"spoor/internal/config"
	"spoor/internal/iam"
	"spoor/internal/safetext"
)

func (e *env) iam() *cobra.Command {
	c := &cobra.Command{
		Use:   "iam",
		Short: "Users, access keys, roles, tokens and policies of the service",
		Long: `These commands say who may do what. With --server, or SPOOR_SERVER, they ask a running service, which lets those do it whose
role allows it. Else they work on the data folder while the service is stopped, where whoever may write may do everything;
lists work there while it runs, too.

  spoor iam user create ann --role analyst
  spoor iam key create ann                        an access key, for clients of AWS
  spoor iam key rotate ann                        a second one; then --finish
  spoor iam role create reader --role analyst --trust ann
  spoor iam token create ann --note laptop        for the HTTP API; printed this one time
  spoor iam token create root                     when root's token is lost
  spoor iam can ann RunQuery                      may she, and why
  spoor iam replace-master                        a new master key, under which secrets of access keys are kept
  spoor iam policy                                what the ready roles may do, in Cedar
  spoor iam user list --server https://spoor.example.com:8484` + "\n" + exitCodesHelp,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q; try: spoor iam --help", args[0])
			}
			return c.Help()
		},
	}
	c.AddCommand(e.iamUser(), e.iamKey(), e.iamRole(), e.iamToken(), e.iamPolicy(), e.iamCan(), e.iamReplaceMaster())
	return c
}

// iamFlags are the flags of commands on the access state, in a data folder or of a server.
type iamFlags struct {
	config configFlags
	server serverFlags
	asJSON bool
}

func (f *iamFlags) add(c *cobra.Command) {
	f.addFolder(c)
	f.server.add(c, "ask the running service at this `URL` (default: the variable SPOOR_SERVER, else the data folder)")
}

// addFolder adds the flags of commands that work on a data folder alone.
func (f *iamFlags) addFolder(c *cobra.Command) {
	f.config.add(c, "data")
	c.Flags().BoolVar(&f.asJSON, "json", false, "as JSON")
}

// asked is the server to ask; "" for the data folder.
func (f *iamFlags) asked() (string, error) {
	given := f.config.cmd.Flags().Changed
	if given("data") || given("config") || given("set") {
		if f.server.server != "" {
			return "", usagef("either --server, or a data folder by --data, --config or --set")
		}
		return "", nil
	}
	return f.server.named(), nil
}

// with runs fn with what has the access state. ReadOnly is for what changes nothing.
func (f *iamFlags) with(ctx context.Context, e *env, readOnly bool, fn func(accessState) error) error {
	server, err := f.asked()
	if err != nil {
		return err
	}
	if server == "" {
		return f.withFolder(ctx, e, readOnly, func(a *folderAccess) error { return fn(a) })
	}
	c, err := f.server.client(server)
	if err != nil {
		return err
	}
	defer c.Close()
	return remote(c, iamError(fn(serverAccess{c})))
}

// withFolder runs fn with the access state of the configured data folder, closed after it.
func (f *iamFlags) withFolder(ctx context.Context, e *env, readOnly bool, fn func(*folderAccess) error) (err error) {
	l, err := f.config.load(e)
	if err != nil {
		return err
	}
	var policies *iam.Policies
	if readOnly { // what changes the state asks no policy
		if policies, err = readPolicies(l); err != nil {
			return err
		}
	}
	s, err := iam.Open(ctx, l.Config.IAMDir(), iam.Options{Account: l.Config.Account, Accounts: l.Config.Organization.AccountIDs(), ReadOnly: readOnly, Policies: policies})
	if errors.Is(err, iam.ErrLocked) {
		return usageError{fmt.Errorf("%w; the service runs: ask it with --server, by this configuration %s, or stop it", err, serverURL(l.Config))}
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return iamError(fn(&folderAccess{s, l}))
}

// serverURL is where a service with a configuration answers, seen from its machine.
func serverURL(c *config.Config) string {
	return listenURL(c.HTTP.Listen, "", c.HTTP.TLSCert != "")
}

// iamError marks what the caller can put right.
func iamError(err error) error {
	for _, mine := range []error{iam.ErrInvalid, iam.ErrNotFound, iam.ErrExists, iam.ErrLimit} {
		if errors.Is(err, mine) {
			return usageError{err}
		}
	}
	return err
}

func oneArg(what, example string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef("%s wants %s; for example: %s", c.CommandPath(), what, example)
		}
		return nil
	}
}

func commands(use, short string, list ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q; try: %s --help", args[0], c.CommandPath())
			}
			return c.Help()
		},
	}
	c.AddCommand(list...)
	return c
}

// shown is text that may come from a server, as it can be shown.
func shown(s string) string { return safetext.Terminal(s, 400) }

// table writes aligned columns. Every cell must be safe to show.
func table(out io.Writer, head string, rows func(w io.Writer)) error {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, head)
	rows(w)
	if err := w.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}
