package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
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
		Short: "Users, tokens and policies of the service",
		Long: `These commands work on the data folder while the service is stopped; whoever may write there may do everything. Lists
work while it runs, too. A running service has the same in its HTTP API, for those whose role allows it.

  spoor iam user create ann --role analyst
  spoor iam token create ann --note laptop        prints the token, this one time
  spoor iam token create root                     when root's token is lost
  spoor iam token list
  spoor iam token revoke abcdefghijklmnop
  spoor iam can ann RunQuery                      may she, and why
  spoor iam policy                                what the roles may do, in Cedar` + "\n" + exitCodesHelp,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q; try: spoor iam --help", args[0])
			}
			return c.Help()
		},
	}
	c.AddCommand(e.iamUser(), e.iamToken(), e.iamPolicy(), e.iamCan())
	return c
}

// iamFlags are the flags of commands on the access state.
type iamFlags struct {
	config configFlags
	asJSON bool
}

func (f *iamFlags) add(c *cobra.Command) {
	f.config.add(c, "data")
	c.Flags().BoolVar(&f.asJSON, "json", false, "as JSON")
}

// with runs fn with the access state of the configured data folder, closed after it.
func (f *iamFlags) with(ctx context.Context, e *env, readOnly bool, fn func(*iam.Service, *config.Config) error) (err error) {
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
	s, err := iam.Open(ctx, l.Config.IAMDir(), iam.Options{Account: l.Config.Account, ReadOnly: readOnly, Policies: policies})
	if errors.Is(err, iam.ErrLocked) {
		return usageError{fmt.Errorf("%w; stop the service, or use its HTTP API", err)}
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return iamError(fn(s, l.Config))
}

// iamError marks what the caller can put right.
func iamError(err error) error {
	for _, mine := range []error{iam.ErrInvalid, iam.ErrNotFound, iam.ErrExists} {
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

func (e *env) iamUser() *cobra.Command {
	return commands("user", "Create, list, change and delete users", e.iamUserCreate(), e.iamUserList(), e.iamUserUpdate(), e.iamUserDelete())
}

func rolesOf(names []string) []iam.Role {
	roles := make([]iam.Role, len(names))
	for i, n := range names {
		roles[i] = iam.Role(n)
	}
	return roles
}

func roleDoc() string {
	var names []string
	for _, r := range iam.Roles() {
		names = append(names, string(r.Role))
	}
	return "`roles` of the user: " + strings.Join(names, ", ")
}

func (e *env) iamUserCreate() *cobra.Command {
	var f iamFlags
	var roles []string
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a user",
		Long: `Create makes a user with roles. It has no token yet.

  spoor iam user create ann --role analyst
  spoor iam user create forwarder --role recorder` + "\n" + exitCodesHelp,
		Args: oneArg("the name of the user", "spoor iam user create ann --role analyst"),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c.Context(), e, false, func(s *iam.Service, _ *config.Config) error {
				p, err := s.CreateUser(args[0], rolesOf(roles), "")
				if err != nil {
					return err
				}
				if f.asJSON {
					return e.printJSON(p)
				}
				_, err = fmt.Fprintf(e.stdout, "Made user %s with %s. A token for it: spoor iam token create %s\n", p.Name, rolesText(p), p.Name)
				return err
			})
		},
	}
	f.add(c)
	c.Flags().StringSliceVar(&roles, "role", nil, roleDoc())
	return c
}

func rolesText(p iam.Principal) string {
	switch len(p.Roles) {
	case 0:
		return "no role"
	case 1:
		return "the role " + string(p.Roles[0])
	}
	return "the roles " + joinRoles(p.Roles)
}

func joinRoles(roles []iam.Role) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	return strings.Join(names, ", ")
}

func (e *env) iamUserUpdate() *cobra.Command {
	var f iamFlags
	var roles []string
	c := &cobra.Command{
		Use:   "update NAME --role ROLE",
		Short: "Give a user other roles",
		Long: `Update gives a user the roles that are named, in place of those it has.

  spoor iam user update ann --role analyst,auditor
  spoor iam user update ann --role ''              none` + "\n" + exitCodesHelp,
		Args: oneArg("the name of the user", "spoor iam user update ann --role auditor"),
		RunE: func(c *cobra.Command, args []string) error {
			if !c.Flags().Changed("role") {
				return usagef("spoor iam user update wants --role; for example: spoor iam user update %s --role auditor", args[0])
			}
			return f.with(c.Context(), e, false, func(s *iam.Service, _ *config.Config) error {
				p, err := s.SetRoles(args[0], rolesOf(roles))
				if err != nil {
					return err
				}
				if f.asJSON {
					return e.printJSON(p)
				}
				_, err = fmt.Fprintf(e.stdout, "User %s has %s.\n", p.Name, rolesText(p))
				return err
			})
		},
	}
	f.add(c)
	c.Flags().StringSliceVar(&roles, "role", nil, roleDoc())
	return c
}

func (e *env) iamUserList() *cobra.Command {
	var f iamFlags
	c := &cobra.Command{
		Use:   "list",
		Short: "List users and their roles",
		Long: `List prints the principals of the service: root, and the users with their roles.

  spoor iam user list
  spoor iam user list --json | jq -r '.[] | select(.roles | index("admin")) | .name'` + "\n" + exitCodesHelp,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.with(c.Context(), e, true, func(s *iam.Service, _ *config.Config) error {
				users := s.Users()
				if f.asJSON {
					return e.printJSON(users)
				}
				tokens := map[string]int64{}
				for _, t := range s.Tokens("") {
					if t.Status == iam.StatusActive {
						tokens[t.User]++
					}
				}
				return table(e.stdout, "NAME\tROLES\tTOKENS\tCREATED\tBY", func(w io.Writer) {
					for _, p := range users {
						roles := joinRoles(p.Roles)
						if p.Kind == iam.KindRoot {
							roles = "(everything)"
						}
						fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", p.Name, dash(roles), tokens[p.Name], timeText(p.Created), p.By)
					}
				})
			})
		},
	}
	f.add(c)
	return c
}

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

func (e *env) iamUserDelete() *cobra.Command {
	var f iamFlags
	c := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a user and its tokens",
		Long: `Delete deletes a user, with all of its tokens. What the user did stays recorded.

  spoor iam user delete ann` + "\n" + exitCodesHelp,
		Args: oneArg("the name of the user", "spoor iam user delete ann"),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c.Context(), e, false, func(s *iam.Service, _ *config.Config) error {
				n := int64(len(s.Tokens(args[0])))
				if err := s.DeleteUser(args[0]); err != nil {
					return err
				}
				if f.asJSON {
					return e.printJSON(map[string]any{"deleted": args[0], "tokens": n})
				}
				_, err := fmt.Fprintf(e.stdout, "Deleted user %s and %s.\n", args[0], plural(n, "token"))
				return err
			})
		},
	}
	f.add(c)
	return c
}

func (e *env) iamToken() *cobra.Command {
	return commands("token", "Create, list and revoke tokens", e.iamTokenCreate(), e.iamTokenList(), e.iamTokenRevoke())
}

func (e *env) iamTokenCreate() *cobra.Command {
	var f iamFlags
	var note, expires string
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a token for a user, and print it this one time",
		Long: `Create makes a token. It is printed, alone on standard output, and never again: only a hash of it is kept. Callers send
it in the header Authorization: Bearer TOKEN.

  spoor iam token create ann --note laptop
  SPOOR_TOKEN=$(spoor iam token create forwarder --expires forever)
  spoor iam token create root                     when root's token is lost` + "\n" + exitCodesHelp,
		Args: oneArg("the name of the user", "spoor iam token create ann"),
		RunE: func(c *cobra.Command, args []string) error {
			spec := iam.TokenSpec{User: args[0], Note: note}
			return f.with(c.Context(), e, false, func(s *iam.Service, cfg *config.Config) error {
				spec.Lifetime = cfg.IAM.TokenLifetime
				switch {
				case expires == "forever":
					spec.Lifetime = -1
				case expires != "":
					d, err := config.ParseSpan(expires)
					if err != nil || d <= 0 {
						return usagef("--expires %q: want a span such as 12h or 30d, or forever", expires)
					}
					spec.Lifetime = d
				case spec.Lifetime == 0:
					spec.Lifetime = -1
				}
				t, secret, err := s.CreateToken(spec)
				if err != nil {
					return err
				}
				if f.asJSON {
					return e.printJSON(struct {
						iam.Token
						Secret string `json:"secret"`
					}{t, secret})
				}
				until := "does not expire"
				if !t.Expires.IsZero() {
					until = "expires " + timeText(t.Expires)
				}
				fmt.Fprintf(e.stderr, "Token %s of %s, which %s. It is shown this one time:\n", t.ID, t.User, until)
				_, err = fmt.Fprintln(e.stdout, secret)
				return err
			})
		},
	}
	f.add(c)
	c.Flags().StringVar(&note, "note", "", "`text` that says what it is for")
	c.Flags().StringVar(&expires, "expires", "", "how `long` it lasts: 12h, 30d, or forever (default: iam.token_lifetime)")
	return c
}

func (e *env) iamTokenList() *cobra.Command {
	var f iamFlags
	var user string
	c := &cobra.Command{
		Use:   "list",
		Short: "List tokens, without their secrets",
		Long: `List prints tokens: whose, when they were made and last used, and whether they can be used. Times of last use may be a
minute old. Tokens that were revoked or have expired are listed for 90 days.

  spoor iam token list
  spoor iam token list --user ann
  spoor iam token list --json | jq -r '.[] | select(.status == "active" and .lastUsed == null) | .id'` + "\n" + exitCodesHelp,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.with(c.Context(), e, true, func(s *iam.Service, _ *config.Config) error {
				if user != "" {
					if _, err := s.User(user); err != nil {
						return err
					}
				}
				tokens := s.Tokens(user)
				if f.asJSON {
					return e.printJSON(tokens)
				}
				if len(tokens) == 0 {
					_, err := fmt.Fprintln(e.stdout, "There are no tokens.")
					return err
				}
				return table(e.stdout, "ID\tUSER\tSTATUS\tEXPIRES\tLAST USED\tCREATED\tNOTE", func(w io.Writer) {
					for _, t := range tokens {
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.User, t.Status, timeText(t.Expires), timeText(t.LastUsed), timeText(t.Created), safetext.Terminal(t.Note, 60))
					}
				})
			})
		},
	}
	f.add(c)
	c.Flags().StringVar(&user, "user", "", "only those of this `user`")
	return c
}

func (e *env) iamTokenRevoke() *cobra.Command {
	var f iamFlags
	c := &cobra.Command{
		Use:   "revoke ID",
		Short: "Make a token useless, for ever",
		Long: `Revoke makes a token useless. The id is what spoor iam token list shows; the token itself does as well.

  spoor iam token revoke abcdefghijklmnop` + "\n" + exitCodesHelp,
		Args: oneArg("the id of the token", "spoor iam token revoke abcdefghijklmnop"),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c.Context(), e, false, func(s *iam.Service, _ *config.Config) error {
				t, err := s.RevokeToken(iam.TokenID(args[0]))
				if err != nil {
					return err
				}
				if f.asJSON {
					return e.printJSON(t)
				}
				_, err = fmt.Fprintf(e.stdout, "Revoked token %s of %s.\n", t.ID, t.User)
				return err
			})
		},
	}
	f.add(c)
	return c
}

func (e *env) iamPolicy() *cobra.Command {
	var f iamFlags
	var schema bool
	c := &cobra.Command{
		Use:   "policy [ID]",
		Short: "Print the policies in effect, in Cedar",
		Long: `Policy prints the Cedar policies that decide who may do what: those of the ready roles, and those that the
configuration adds (iam.policies). All of them are checked; what is wrong is told with its place.

  spoor iam policy
  spoor iam policy analyst
  spoor iam policy --schema                       what policies can name: actions, resources, facts of a call
  spoor iam policy --set iam.policies=extra.cedar` + "\n" + exitCodesHelp,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && schema {
				return usagef("spoor iam policy takes the id of one policy, or --schema")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			l, err := f.config.load(e)
			if err != nil {
				return err
			}
			policies, err := readPolicies(l)
			if err != nil {
				return err
			}
			if schema {
				_, err := io.WriteString(e.stdout, iam.Schema())
				return err
			}
			list := []iam.PolicyInfo{}
			for _, p := range policies.All() {
				if len(args) == 0 || p.ID == args[0] {
					list = append(list, p)
				}
			}
			if len(list) == 0 {
				return usagef("there is no policy %q; spoor iam policy prints all", args[0])
			}
			if f.asJSON {
				return e.printJSON(list)
			}
			var b strings.Builder
			for i, p := range list {
				if i > 0 {
					b.WriteString("\n")
				}
				b.WriteString(strings.TrimSpace(p.Text) + "\n")
			}
			_, err = io.WriteString(e.stdout, safetext.Lines(b.String()))
			return err
		},
	}
	f.add(c)
	c.Flags().BoolVar(&schema, "schema", false, "print the Cedar schema instead")
	return c
}

func (e *env) iamCan() *cobra.Command {
	var f iamFlags
	var on, from string
	var withTLS bool
	c := &cobra.Command{
		Use:   "can NAME [ACTION]",
		Short: "Tell whether a user may do something, and why",
		Long: `Can asks the policies as the service does. Without an action it asks for every one. It exits with 1 when the action is
not allowed.

  spoor iam can ann RunQuery
  spoor iam can ann CreateToken --on User:bob
  spoor iam can ann RunQuery --from 203.0.113.9 --tls` + "\n" + exitCodesHelp,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usagef("spoor iam can wants the name of a user, and an action; for example: spoor iam can ann RunQuery")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c.Context(), e, true, func(s *iam.Service, _ *config.Config) error {
				call := iam.Caller{TLS: withTLS}
				if from != "" {
					addr, err := netip.ParseAddr(from)
					if err != nil {
						return usagef("--from %q: want an address, such as 192.0.2.7", from)
					}
					call.Address = addr
				}
				resource, err := parseResource(on)
				if err != nil {
					return err
				}
				var decisions []iam.Decision
				for _, a := range iam.Actions() {
					if len(args) == 2 && string(a.Action) != args[1] || len(args) == 1 && !a.Takes(resource.Type) {
						continue
					}
					d, err := s.Would(args[0], call, a.Action, resource)
					if err != nil {
						return err
					}
					decisions = append(decisions, d)
				}
				if len(decisions) == 0 {
					return usagef("there is no action %q; spoor iam policy --schema lists them", args[1])
				}
				if len(args) == 2 && !decisions[0].Allowed {
					e.exit = ExitFindings
				}
				if f.asJSON {
					return e.printJSON(decisions)
				}
				var b strings.Builder
				for _, d := range decisions {
					mark := "no  "
					if d.Allowed {
						mark = "yes "
					}
					b.WriteString(mark + safetext.Terminal(d.Reason, 400) + "\n")
				}
				_, err = io.WriteString(e.stdout, b.String())
				return err
			})
		},
	}
	f.add(c)
	c.Flags().StringVar(&on, "on", "", "`resource`, as TYPE:ID: User:bob, Token:abcdefghijklmnop, Source:trail (default: the server)")
	c.Flags().StringVar(&from, "from", "", "`address` that the call comes from")
	c.Flags().BoolVar(&withTLS, "tls", false, "as if the call came by TLS")
	return c
}

// parseResource reads TYPE:ID; empty is the server.
func parseResource(s string) (iam.Resource, error) {
	if s == "" {
		return iam.Resource{Type: iam.TypeServer}, nil
	}
	typ, id, ok := strings.Cut(s, ":")
	for _, t := range []iam.ResourceType{iam.TypeUser, iam.TypeToken, iam.TypeSource} {
		if ok && id != "" && strings.EqualFold(typ, string(t)) {
			return iam.Resource{Type: t, ID: iam.TokenID(id)}, nil
		}
	}
	return iam.Resource{}, usagef("--on %q: want TYPE:ID, such as User:bob, Token:abcdefghijklmnop or Source:trail", s)
}
