package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"spoor/internal/iam"
)

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
		Long: `Create makes a user with roles. It has neither access key nor token yet.

  spoor iam user create ann --role analyst
  spoor iam user create forwarder --role recorder` + "\n" + exitCodesHelp,
		Args: oneArg("the name of the user", "spoor iam user create ann --role analyst"),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c.Context(), e, false, func(a accessState) error {
				p, err := a.CreateUser(c.Context(), args[0], rolesOf(roles))
				if err != nil {
					return err
				}
				if f.asJSON {
					return e.printJSON(p)
				}
				_, err = fmt.Fprintf(e.stdout, "Made user %s with %s. Give it an access key or a token: spoor iam key create %s, spoor iam token create %s\n", shown(p.Name), rolesText(p), shown(p.Name), shown(p.Name))
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
		return "the role " + shown(string(p.Roles[0]))
	}
	return "the roles " + shown(joinRoles(p.Roles))
}

// rightsText says what a role to assume may do.
func rightsText(roles []iam.Role) string {
	if len(roles) == 0 {
		return "no rights"
	}
	return "the rights of " + shown(joinRoles(roles))
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
			return f.with(c.Context(), e, false, func(a accessState) error {
				p, err := a.SetRoles(c.Context(), args[0], rolesOf(roles))
				if err != nil {
					return err
				}
				if f.asJSON {
					return e.printJSON(p)
				}
				_, err = fmt.Fprintf(e.stdout, "User %s has %s.\n", shown(p.Name), rolesText(p))
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
			return f.with(c.Context(), e, true, func(a accessState) error {
				users, err := a.Users(c.Context())
				if err != nil {
					return err
				}
				if f.asJSON {
					return e.printJSON(users)
				}
				list, err := a.Tokens(c.Context(), "")
				if err != nil {
					return err
				}
				tokens, active := map[string]int64{}, map[string]int64{}
				for _, t := range list {
					if t.Status == iam.StatusActive {
						tokens[t.User]++
					}
				}
				keys, err := a.AccessKeys(c.Context(), "")
				if err != nil {
					return err
				}
				for _, k := range keys {
					if k.Active {
						active[k.User]++
					}
				}
				return table(e.stdout, "NAME\tROLES\tKEYS\tTOKENS\tCREATED\tBY", func(w io.Writer) {
					for _, p := range users {
						roles := joinRoles(p.Roles)
						if p.Kind == iam.KindRoot {
							roles = "(everything)"
						}
						fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\n", shown(p.Name), dash(shown(roles)), active[p.Name], tokens[p.Name], timeText(p.Created), shown(p.By))
					}
				})
			})
		},
	}
	f.add(c)
	return c
}

func (e *env) iamUserDelete() *cobra.Command {
	var f iamFlags
	c := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a user, its access keys and its tokens",
		Long: `Delete deletes a user, with all of its access keys and tokens; temporary credentials that came of the keys end. What the user
did stays recorded.

  spoor iam user delete ann` + "\n" + exitCodesHelp,
		Args: oneArg("the name of the user", "spoor iam user delete ann"),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c.Context(), e, false, func(a accessState) error {
				tokens, err := a.Tokens(c.Context(), args[0])
				if err != nil {
					return err
				}
				keys, err := a.AccessKeys(c.Context(), args[0])
				if err != nil {
					return err
				}
				if err := a.DeleteUser(c.Context(), args[0]); err != nil {
					return err
				}
				if f.asJSON {
					return e.printJSON(map[string]any{"deleted": args[0], "tokens": len(tokens), "keys": len(keys)})
				}
				_, err = fmt.Fprintf(e.stdout, "Deleted user %s, %s and %s.\n", args[0], plural(int64(len(keys)), "access key"), plural(int64(len(tokens)), "token"))
				return err
			})
		},
	}
	f.add(c)
	return c
}
