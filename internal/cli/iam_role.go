package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"spoor/internal/client"
	"spoor/internal/config"
	"spoor/internal/iam"
	"spoor/internal/safetext"
)

func (e *env) iamRole() *cobra.Command {
	return commands("role", "Create, list, change and delete roles to assume, and end their sessions",
		e.iamRoleCreate(), e.iamRoleList(), e.iamRoleShow(), e.iamRoleUpdate(), e.iamRoleDelete(), e.iamRoleRevoke())
}

// roleFlags are those of commands on one role.
type roleFlags struct {
	iamFlags
	account string
}

func (f *roleFlags) add(c *cobra.Command) {
	f.iamFlags.add(c)
	c.Flags().StringVar(&f.account, "account", "", "`account` of the role, one of the organisation (default: that of the installation)")
}

// roleSettings are the flags that say what a role is.
type roleSettings struct {
	roles, trust           []string
	trustFile, description string
	maxSession             string
}

func (s *roleSettings) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringSliceVar(&s.roles, "role", nil, strings.Replace(roleDoc(), "of the user", "whose rights its sessions have", 1))
	fl.StringArrayVar(&s.trust, "trust", nil, "`who` may assume it: the name of a user, an ARN, or * for everybody; may be repeated")
	fl.StringVar(&s.trustFile, "trust-file", "", "`file` with a trust policy document of AWS, in place of --trust; - for standard input")
	fl.StringVar(&s.description, "description", "", "`text` that says what it is for")
	fl.StringVar(&s.maxSession, "max-session", "", "how `long` a session lasts at most, 1h to 12h (default 1h)")
}

// maxTrust bounds the file of a trust policy document.
const maxTrust = 1 << 20

var accountForm = regexp.MustCompile(`^[0-9]{12}$`)

// document is the trust policy document that the flags give; nil for none.
func (s *roleSettings) document(ctx context.Context, e *env, a accessState) (json.RawMessage, error) {
	switch {
	case len(s.trust) > 0 && s.trustFile != "":
		return nil, usagef("either --trust or --trust-file")
	case s.trustFile != "":
		in := e.stdin
		if s.trustFile != "-" {
			file, err := os.Open(s.trustFile)
			if err != nil {
				return nil, usageError{fmt.Errorf("read the trust policy document: %w", err)}
			}
			defer file.Close() //nolint:errcheck // it was only read
			in = file
		}
		text, err := io.ReadAll(io.LimitReader(in, maxTrust+1))
		if err != nil {
			return nil, fmt.Errorf("read the trust policy document: %w", err)
		}
		if len(text) > maxTrust || !json.Valid(text) {
			return nil, usagef("--trust-file %s: want a JSON document of up to %d bytes", s.trustFile, maxTrust)
		}
		return text, nil
	case len(s.trust) == 0:
		return nil, nil
	}
	var who []string
	for _, name := range s.trust {
		arn, err := trusted(ctx, a, name)
		if err != nil {
			return nil, err
		}
		who = append(who, arn)
	}
	return iam.TrustOf(who...)
}

// trusted is who --trust names, as a trust policy document does.
func trusted(ctx context.Context, a accessState, name string) (string, error) {
	switch {
	case name == "*" || strings.HasPrefix(name, "arn:"):
		return name, nil
	case accountForm.MatchString(name):
		return "arn:aws:iam::" + name + ":root", nil
	case name == iam.RootName:
		return "", usagef("--trust root: to AWS, the root of an account stands for everybody in it; say * when that is meant")
	case name == "":
		return "", usagef("--trust: want the name of a user, an ARN, or *")
	}
	account, err := a.Account(ctx)
	if err != nil {
		return "", err
	}
	return "arn:aws:iam::" + account + ":user/" + name, nil
}

// seconds is --max-session; 0 when it is not given.
func (s *roleSettings) seconds() (int64, error) {
	if s.maxSession == "" {
		return 0, nil
	}
	d, err := config.ParseSpan(s.maxSession)
	if err != nil || d < time.Second || d%time.Second != 0 {
		return 0, usagef("--max-session %q: want a span such as 1h or 12h", s.maxSession)
	}
	return int64(d / time.Second), nil
}

func (e *env) iamRoleCreate() *cobra.Command {
	var f roleFlags
	var s roleSettings
	c := &cobra.Command{
		Use:   "create NAME --trust WHO",
		Short: "Make a role that users can assume",
		Long: `Create makes a role. Whom its trust policy document names, can assume it by sts:AssumeRole, and gets temporary credentials with
the rights of the role. A role of another account of the organisation sees the event history of that account.

  spoor iam role create reader --role analyst --trust ann --trust bob
  spoor iam role create reader --account 444455556666 --role auditor --trust '*'
  spoor iam role create reader --role analyst --trust-file trust.json --max-session 8h` + "\n" + exitCodesHelp,
		Args: oneArg("the name of the role", "spoor iam role create reader --role analyst --trust ann"),
		RunE: func(c *cobra.Command, args []string) error {
			most, err := s.seconds()
			if err != nil {
				return err
			}
			if len(s.trust) == 0 && s.trustFile == "" {
				return usagef("spoor iam role create wants --trust or --trust-file: who may assume it; for example: spoor iam role create %s --role analyst --trust ann", args[0])
			}
			return f.with(c.Context(), e, false, func(a accessState) error {
				trust, err := s.document(c.Context(), e, a)
				if err != nil {
					return err
				}
				r, err := a.CreateRole(c.Context(), client.NewRole{Name: args[0], Account: f.account, Description: s.description, Roles: rolesOf(s.roles), Trust: trust, MaxSessionSeconds: most})
				if err != nil {
					return err
				}
				if f.asJSON {
					return e.printJSON(r)
				}
				_, err = fmt.Fprintf(e.stdout, "Made role %s with %s. To assume it: aws sts assume-role --role-arn %s --role-session-name NAME\n", shown(r.Name), rightsText(r.Roles), shown(r.ARN))
				return err
			})
		},
	}
	f.add(c)
	s.add(c)
	return c
}

func (e *env) iamRoleList() *cobra.Command {
	var f iamFlags
	c := &cobra.Command{
		Use:   "list",
		Short: "List roles that can be assumed",
		Long: `List prints the roles that can be assumed, of all accounts. Times of last use may be a minute old.

  spoor iam role list
  spoor iam role list --json | jq -r '.[].arn'` + "\n" + exitCodesHelp,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.with(c.Context(), e, true, func(a accessState) error {
				list, err := a.Roles(c.Context())
				if err != nil {
					return err
				}
				if f.asJSON {
					return e.printJSON(list)
				}
				if len(list) == 0 {
					_, err := fmt.Fprintln(e.stdout, "There are no roles to assume.")
					return err
				}
				return table(e.stdout, "NAME\tACCOUNT\tROLES\tLAST USED\tREVOKED BEFORE\tCREATED\tBY", func(w io.Writer) {
					for _, r := range list {
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", shown(r.Name), shown(r.Account), dash(shown(joinRoles(r.Roles))), timeText(r.LastUsed),
							timeText(r.RevokedBefore), timeText(r.Created), shown(r.By))
					}
				})
			})
		},
	}
	f.add(c)
	return c
}

func (e *env) iamRoleShow() *cobra.Command {
	var f roleFlags
	c := &cobra.Command{
		Use:   "show NAME",
		Short: "Show a role, with its trust policy document",
		Long: `Show prints a role: its rights, and who may assume it.

  spoor iam role show reader
  spoor iam role show reader --json | jq .trust > trust.json` + "\n" + exitCodesHelp,
		Args: oneArg("the name of the role", "spoor iam role show reader"),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c.Context(), e, true, func(a accessState) error {
				r, err := a.Role(c.Context(), f.account, args[0])
				if err != nil {
					return err
				}
				if f.asJSON {
					return e.printJSON(r)
				}
				return showRole(e.stdout, r)
			})
		},
	}
	f.add(c)
	return c
}

func showRole(out io.Writer, r client.Role) error {
	var trust bytes.Buffer
	if json.Indent(&trust, r.Trust, "", "  ") != nil {
		trust.Reset()
		trust.Write(r.Trust)
	}
	var b strings.Builder
	for _, line := range [][2]string{
		{"ARN", r.ARN}, {"ID", r.ID}, {"Description", dash(r.Description)}, {"Roles", dash(joinRoles(r.Roles))}, {"Longest session", (time.Duration(r.MaxSessionSeconds) * time.Second).String()},
		{"Made", timeText(r.Created) + " by " + r.By}, {"Last used", timeText(r.LastUsed)}, {"Sessions revoked", revokedText(r)},
	} {
		fmt.Fprintf(&b, "%-17s %s\n", line[0], safetext.Terminal(line[1], 1200))
	}
	b.WriteString("Trust\n" + safetext.Lines(trust.String()) + "\n")
	_, err := io.WriteString(out, b.String())
	return err
}

func revokedText(r client.Role) string {
	if r.RevokedBefore.IsZero() {
		return "-"
	}
	return "those issued until " + timeText(r.RevokedBefore)
}

func (e *env) iamRoleUpdate() *cobra.Command {
	var f roleFlags
	var s roleSettings
	c := &cobra.Command{
		Use:   "update NAME",
		Short: "Change what a role may do, or who may assume it",
		Long: `Update changes what its flags name, and leaves the rest as it is. Rights count at once, also for sessions that there are; who
may assume the role, counts for the next ones: spoor iam role revoke-sessions ends those that there are.

  spoor iam role update reader --role analyst,auditor
  spoor iam role update reader --trust ann
  spoor iam role update reader --max-session 12h --description "for investigations"` + "\n" + exitCodesHelp,
		Args: oneArg("the name of the role", "spoor iam role update reader --role auditor"),
		RunE: func(c *cobra.Command, args []string) error {
			given := c.Flags().Changed
			var ch client.RoleChange
			if given("role") {
				roles := rolesOf(s.roles)
				ch.Roles = &roles
			}
			if given("description") {
				ch.Description = &s.description
			}
			if given("max-session") && s.maxSession != "" {
				most, err := s.seconds()
				if err != nil {
					return err
				}
				ch.MaxSessionSeconds = &most
			}
			if ch.Roles == nil && ch.Description == nil && ch.MaxSessionSeconds == nil && len(s.trust) == 0 && s.trustFile == "" {
				return usagef("spoor iam role update wants what to change: --role, --trust, --trust-file, --description or --max-session")
			}
			return f.with(c.Context(), e, false, func(a accessState) (err error) {
				if ch.Trust, err = s.document(c.Context(), e, a); err != nil {
					return err
				}
				r, err := a.UpdateRole(c.Context(), f.account, args[0], ch)
				if err != nil {
					return err
				}
				if f.asJSON {
					return e.printJSON(r)
				}
				_, err = fmt.Fprintf(e.stdout, "Role %s has %s.\n", shown(r.Name), rightsText(r.Roles))
				return err
			})
		},
	}
	f.add(c)
	s.add(c)
	return c
}

func (e *env) iamRoleDelete() *cobra.Command {
	var f roleFlags
	c := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a role, and end its sessions",
		Long: `Delete deletes a role. Its sessions end at once. What they did stays recorded.

  spoor iam role delete reader
  spoor iam role delete reader --account 444455556666` + "\n" + exitCodesHelp,
		Args: oneArg("the name of the role", "spoor iam role delete reader"),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c.Context(), e, false, func(a accessState) error {
				if err := a.DeleteRole(c.Context(), f.account, args[0]); err != nil {
					return err
				}
				if f.asJSON {
					return e.printJSON(map[string]any{"deleted": args[0]})
				}
				_, err := fmt.Fprintf(e.stdout, "Deleted role %s.\n", shown(args[0]))
				return err
			})
		},
	}
	f.add(c)
	return c
}

func (e *env) iamRoleRevoke() *cobra.Command {
	var f roleFlags
	c := &cobra.Command{
		Use:   "revoke-sessions NAME",
		Short: "End the sessions of a role that were issued until now",
		Long: `Revoke-sessions makes all temporary credentials of a role useless that were issued until now. Whoever may assume the role can do
so again: to keep somebody out, change the trust policy document first, or switch off the access key.

  spoor iam role revoke-sessions reader` + "\n" + exitCodesHelp,
		Args: oneArg("the name of the role", "spoor iam role revoke-sessions reader"),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c.Context(), e, false, func(a accessState) error {
				r, err := a.RevokeSessions(c.Context(), f.account, args[0])
				if err != nil {
					return err
				}
				if f.asJSON {
					return e.printJSON(r)
				}
				_, err = fmt.Fprintf(e.stdout, "Sessions of role %s that were issued until %s are ended.\n", shown(r.Name), timeText(r.RevokedBefore))
				return err
			})
		},
	}
	f.add(c)
	return c
}
