package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"spoor/internal/config"
	"spoor/internal/keyring"
	"spoor/internal/tag"
)

func (e *env) keys() *cobra.Command {
	c := commands("keys", "The key ring of the service, and its master key", e.keysList(), e.keysReplaceMaster())
	c.Long = `These commands are for who runs the service. Those who use keys make, rotate and delete them with aws kms, at the AWS endpoint.

  spoor keys list                                 the keys in the data folder
  spoor keys replace-master                       a new master key in place of the one beside the ring
  spoor keys replace-master --new-generate FILE   and from now on in another place
  aws kms create-key --endpoint-url http://127.0.0.1:4599` + "\n" + exitCodesHelp
	return c
}

// keysFlags are the flags of commands on a key ring, in a data folder or in a folder of its own.
type keysFlags struct {
	config configFlags
	dir    string
	asJSON bool
}

func (f *keysFlags) add(c *cobra.Command) {
	f.config.add(c, "data")
	c.Flags().StringVar(&f.dir, "dir", "", "the key ring in this `folder` (default: that of the configuration, keys in the data folder)")
	c.Flags().BoolVar(&f.asJSON, "json", false, "as JSON")
}

// load reads the configuration, and gives the folder of the ring.
func (f *keysFlags) load(e *env) (l *config.Loaded, dir string, err error) {
	if f.dir != "" && f.config.cmd.Flags().Changed("data") {
		return nil, "", usagef("either --dir or --data")
	}
	l, err = f.config.load(e)
	if err != nil {
		return nil, "", err
	}
	if f.dir != "" {
		return l, f.dir, nil
	}
	return l, l.Config.Keys.Dir, nil
}

// ringError says what to do about a ring that is not there, or that a service has.
func ringError(l *config.Loaded, dir string, err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist):
		return usagef("there is no key ring in %s: spoor serve makes one; for another one, --data or --dir", shown(dir))
	case errors.Is(err, keyring.ErrLocked):
		return usageError{fmt.Errorf("%w; the service runs: stop it, do this, and start it again. Keys themselves are managed while it runs, with aws kms%s", err, endpointFlag(l))}
	}
	return err
}

// endpointFlag is how AWS's clients are told where the service with a configuration is.
func endpointFlag(l *config.Loaded) string {
	values := map[string]string{}
	for _, s := range l.Effective() {
		values[s.Key] = s.Value
	}
	if ep := endpointOf(values, ""); ep.URL != "" {
		return " --endpoint-url " + ep.URL
	}
	return ""
}

// ringKey is a key as it is listed. It has nothing that could open anything.
type ringKey struct {
	ARN         string    `json:"arn"`
	ID          string    `json:"id"`
	Account     string    `json:"account"`
	Region      string    `json:"region"`
	State       string    `json:"state"` // as AWS has it
	Description string    `json:"description,omitempty"`
	Created     time.Time `json:"created"`
	Deletion    time.Time `json:"deletion,omitzero"`     // when it is deleted
	Rotation    int       `json:"rotation,omitempty"`    // days
	Next        time.Time `json:"nextRotation,omitzero"` // when it is rotated
	Materials   int       `json:"materials"`             // one, and one for every rotation
	Aliases     []string  `json:"aliases"`
	Tags        []tag.Tag `json:"tags,omitempty"`
}

func (e *env) keysList() *cobra.Command {
	var f keysFlags
	c := &cobra.Command{
		Use:   "list",
		Short: "List the keys of the key ring",
		Long: `List prints the keys in the folder of the ring, of all accounts and Regions. It needs no master key, shows no secret, changes
nothing, and works while the service runs, too. Of a service elsewhere, ask with aws kms list-keys.

  spoor keys list
  spoor keys list --dir ./backup/keys
  spoor keys list --json | jq -r '.[] | select(.state != "Enabled") | .arn'` + "\n" + exitCodesHelp,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			l, dir, err := f.load(e)
			if err != nil {
				return err
			}
			list, err := keyring.Look(dir, "", time.Now())
			if err != nil {
				return ringError(l, dir, err)
			}
			if f.asJSON {
				out := make([]ringKey, len(list))
				for i, k := range list {
					out[i] = ringKey{
						ARN: k.ARN, ID: k.ID, Account: k.Ref.Account, Region: k.Ref.Region, State: keyState(k), Description: k.Description, Created: k.Created, Deletion: k.Deletion,
						Rotation: k.Rotation, Next: k.Next, Materials: k.Materials, Aliases: append([]string{}, k.Aliases...), Tags: k.Tags,
					}
				}
				return e.printJSON(out)
			}
			return table(e.stdout, "ACCOUNT\tREGION\tID\tSTATE\tALIASES\tROTATION\tMATERIALS\tCREATED\tDELETION", func(w io.Writer) {
				for _, k := range list {
					rotation := "-"
					if k.Rotation != 0 {
						rotation = fmt.Sprintf("every %dd, next %s", k.Rotation, k.Next.UTC().Format(time.DateOnly))
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", k.Ref.Account, k.Ref.Region, k.ID, keyState(k), dash(shown(strings.Join(k.Aliases, ", "))), rotation, k.Materials, timeText(k.Created), timeText(k.Deletion))
				}
			})
		},
	}
	f.add(c)
	return c
}

// keyState is the state of a key as AWS has it.
func keyState(k keyring.Key) string {
	switch {
	case !k.Deletion.IsZero():
		return "PendingDeletion"
	case k.Enabled:
		return "Enabled"
	}
	return "Disabled"
}
