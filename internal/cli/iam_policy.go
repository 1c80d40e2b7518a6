package cli

import (
	"io"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	"spoor/internal/iam"
	"spoor/internal/safetext"
)

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
  spoor iam policy --set iam.policies=extra.cedar
  spoor iam policy --server https://spoor.example.com:8484` + "\n" + exitCodesHelp,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && schema {
				return usagef("spoor iam policy takes the id of one policy, or --schema")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			server, err := f.asked()
			if err != nil {
				return err
			}
			var all []iam.PolicyInfo
			if server != "" && !schema {
				err = f.with(c.Context(), e, true, func(a accessState) error {
					all, err = a.Policies(c.Context())
					return err
				})
			} else {
				all, err = f.configured(e)
			}
			if err != nil {
				return err
			}
			if schema {
				_, err := io.WriteString(e.stdout, iam.Schema())
				return err
			}
			list := []iam.PolicyInfo{}
			for _, p := range all {
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

// configured are the policies of the configuration, whatever the data folder has.
func (f *iamFlags) configured(e *env) ([]iam.PolicyInfo, error) {
	l, err := f.config.load(e)
	if err != nil {
		return nil, err
	}
	policies, err := readPolicies(l)
	if err != nil {
		return nil, err
	}
	return policies.All(), nil
}

func (e *env) iamCan() *cobra.Command {
	var f iamFlags
	var on, from string
	var withTLS bool
	c := &cobra.Command{
		Use:   "can NAME [ACTION]",
		Short: "Tell whether a user may do something, and why",
		Long: `Can asks the policies as the service does, with the users of the data folder, also while the service runs. Without an action
it asks for every one. It exits with 1 when the action is not allowed.

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
			return f.withFolder(c.Context(), e, true, func(in *folderAccess) error {
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
					d, err := in.s.Would(args[0], call, a.Action, resource)
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
	f.addFolder(c)
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
