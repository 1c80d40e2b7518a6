package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"spoor/internal/iam"
	"spoor/internal/safetext"
)

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
			return f.with(c.Context(), e, false, func(a accessState) error {
				t, secret, err := a.CreateToken(c.Context(), args[0], note, expires)
				if err != nil {
					return err
				}
				if iam.TokenID(secret) != t.ID { // a server may answer anything
					return errors.New("the token that was made has not the form of one")
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
				fmt.Fprintf(e.stderr, "Token %s of %s, which %s. It is shown this one time:\n", shown(t.ID), shown(t.User), until)
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
			return f.with(c.Context(), e, true, func(a accessState) error {
				tokens, err := a.Tokens(c.Context(), user)
				if err != nil {
					return err
				}
				if f.asJSON {
					return e.printJSON(tokens)
				}
				if len(tokens) == 0 {
					_, err := fmt.Fprintln(e.stdout, "There are no tokens.")
					return err
				}
				return table(e.stdout, "ID\tUSER\tSTATUS\tEXPIRES\tLAST USED\tCREATED\tNOTE", func(w io.Writer) {
					for _, t := range tokens {
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", shown(t.ID), shown(t.User), shown(string(t.Status)), timeText(t.Expires), timeText(t.LastUsed), timeText(t.Created), safetext.Terminal(t.Note, 60))
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
			return f.with(c.Context(), e, false, func(a accessState) error {
				t, err := a.RevokeToken(c.Context(), iam.TokenID(args[0]))
				if err != nil {
					return err
				}
				if f.asJSON {
					return e.printJSON(t)
				}
				_, err = fmt.Fprintf(e.stdout, "Revoked token %s of %s.\n", shown(t.ID), shown(t.User))
				return err
			})
		},
	}
	f.add(c)
	return c
}
