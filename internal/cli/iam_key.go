package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"spoor/internal/iam"
	"spoor/internal/safetext"
)

func (e *env) iamKey() *cobra.Command {
	return commands("key", "Create, list, switch off, rotate and delete access keys", e.iamKeyCreate(), e.iamKeyList(), e.iamKeyUpdate(), e.iamKeyRotate(), e.iamKeyDelete())
}

// keyFormats are the ways in which a new access key is given.
var keyFormats = []string{"text", "env", "json", "profile"}

// keyFlags say how a new access key is given.
type keyFlags struct {
	iamFlags
	note, format, profile string
	endpoint, region      string
	force                 bool
}

func (f *keyFlags) addGiving(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.note, "note", "", "`text` that says what it is for")
	fl.StringVar(&f.format, "format", "text", "how the key is printed: `form` text, env (lines for a shell), json, or profile (sections for the files of AWS's clients)")
	fl.StringVar(&f.profile, "write-profile", "", "write the key as the profile `NAME` into the files of AWS's clients, and do not print it")
	fl.StringVar(&f.endpoint, "endpoint-url", "", "`URL` of the AWS endpoint, for env and profiles (default: as the configuration has it)")
	fl.StringVar(&f.region, "region", "", "`Region` that clients use, for env and profiles (default: as the configuration has it)")
}

// check looks at the flags before anything is made. The profile writer is nil when the key is to be printed.
func (f *keyFlags) check(c *cobra.Command) (*profileWriter, error) {
	given := c.Flags().Changed
	switch {
	case !slices.Contains(keyFormats, f.format):
		return nil, usagef("--format %q: want one of %s", f.format, strings.Join(keyFormats, ", "))
	case f.asJSON && given("format") && f.format != "json":
		return nil, usagef("either --json or --format %s", f.format)
	case f.profile != "" && given("format"):
		return nil, usagef("either --format, which prints the key, or --write-profile, which does not")
	}
	f.asJSON = f.asJSON || f.format == "json"
	if !given("write-profile") {
		return nil, nil
	}
	return newProfileWriter(f.profile, f.force)
}

// reach finds out where clients of AWS reach the installation.
func (f *keyFlags) reach(ctx context.Context, a accessState) (awsEndpoint, error) {
	ep := awsEndpoint{f.endpoint, f.region}
	if ep.URL == "" || ep.Region == "" {
		known, err := a.Endpoint(ctx)
		if err != nil {
			return ep, fmt.Errorf("where the AWS endpoint answers: %w; give --endpoint-url and --region", err)
		}
		if ep.URL == "" {
			ep.URL = known.URL
		}
		if ep.Region == "" {
			ep.Region = known.Region
		}
	}
	if ep.URL == "" {
		return ep, usagef("the configuration has no AWS endpoint (aws.listen): give --endpoint-url")
	}
	return ep, ep.check()
}

// make makes a key, and gives it as the flags say. A key that cannot be given is deleted again.
func (f *keyFlags) make(ctx context.Context, e *env, a accessState, user string, w *profileWriter) (k iam.AccessKey, err error) {
	var ep awsEndpoint
	if w != nil || f.format == "env" || f.format == "profile" {
		if ep, err = f.reach(ctx, a); err != nil {
			return k, err
		}
	}
	k, secret, err := a.CreateAccessKey(ctx, user, f.note)
	if err != nil {
		return k, err
	}
	err = checkKey(k, secret)
	if err == nil {
		err = f.give(e, keyAccess{k, secret, ep}, w)
	}
	if err == nil {
		return k, nil
	}
	// Nobody has the secret: the key would be of no use, and in the way of the next.
	if undo := a.DeleteAccessKey(context.WithoutCancel(ctx), k.ID); undo != nil {
		return k, errors.Join(err, fmt.Errorf("access key %.128q, whose secret is lost, could not be deleted again: %w", k.ID, undo))
	}
	return k, err
}

func (f *keyFlags) give(e *env, k keyAccess, w *profileWriter) error {
	if w != nil {
		if err := w.write(k); err != nil {
			return err
		}
		if f.asJSON {
			return e.printJSON(struct {
				iam.AccessKey
				Profile string   `json:"profile"`
				Files   []string `json:"files"`
			}{k.key, w.name, []string{w.credentials.path, w.config.path}})
		}
		_, err := fmt.Fprintf(e.stdout, "Made access key %s of %s, and wrote it as profile %s into %s and %s. Try: aws --profile %s sts get-caller-identity\n",
			k.key.ID, shown(k.key.User), w.name, shown(w.credentials.path), shown(w.config.path), w.name)
		return err
	}
	if f.asJSON {
		return e.printJSON(struct {
			iam.AccessKey
			Secret string `json:"secret"`
		}{k.key, k.secret})
	}
	var text string
	switch f.format {
	case "env":
		text = k.exports()
	case "profile":
		const name = "spoor"
		text = "# for ~/.aws/credentials\n" + k.credentials(name) + "\n# for ~/.aws/config\n" + k.settings(name)
	default:
		text = fmt.Sprintf("Access key ID      %s\nSecret access key  %s\n", k.key.ID, k.secret)
	}
	fmt.Fprintf(e.stderr, "Access key %s of %s. Its secret is shown this one time:\n", k.key.ID, shown(k.key.User))
	_, err := io.WriteString(e.stdout, text)
	return err
}

func (e *env) iamKeyCreate() *cobra.Command {
	var f keyFlags
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Make an access key for a user, and give its secret this one time",
		Long: `Create makes an access key, with which AWS's own clients prove who they are to the AWS endpoint of the service. The secret is
given this one time, and never again. A user has two keys at most.

  spoor iam key create ann
  eval "$(spoor iam key create ann --format env)"   for this shell
  spoor iam key create ann --write-profile spoor    for aws --profile spoor; the secret is not printed
  spoor iam key create ann --format profile         the same, to be put into the files by hand

The profile is written into the files that AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE name, else ~/.aws/credentials and
~/.aws/config. One that is there is only replaced with --force.` + "\n" + exitCodesHelp,
		Args: oneArg("the name of the user", "spoor iam key create ann"),
		RunE: func(c *cobra.Command, args []string) error {
			w, err := f.check(c)
			if err != nil {
				return err
			}
			return f.with(c.Context(), e, false, func(a accessState) error {
				_, err := f.make(c.Context(), e, a, args[0], w)
				return err
			})
		},
	}
	f.add(c)
	f.addGiving(c)
	c.Flags().BoolVar(&f.force, "force", false, "replace a profile that is there")
	return c
}

func (e *env) iamKeyList() *cobra.Command {
	var f iamFlags
	var user string
	c := &cobra.Command{
		Use:   "list",
		Short: "List access keys, without their secrets",
		Long: `List prints access keys: whose, whether they can be used, and when, for what service and in what Region they were last used.
Times of last use may be a minute old.

  spoor iam key list
  spoor iam key list --user ann
  spoor iam key list --json | jq -r '.[] | select(.lastUsed == null) | .id'` + "\n" + exitCodesHelp,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.with(c.Context(), e, true, func(a accessState) error {
				keys, err := a.AccessKeys(c.Context(), user)
				if err != nil {
					return err
				}
				if f.asJSON {
					return e.printJSON(keys)
				}
				if len(keys) == 0 {
					_, err := fmt.Fprintln(e.stdout, "There are no access keys.")
					return err
				}
				return table(e.stdout, "ID\tUSER\tSTATUS\tLAST USED\tSERVICE\tREGION\tCREATED\tNOTE", func(w io.Writer) {
					for _, k := range keys {
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", shown(k.ID), shown(k.User), activeText(k.Active), timeText(k.LastUsed),
							dash(shown(k.LastService)), dash(shown(k.LastRegion)), timeText(k.Created), safetext.Terminal(k.Note, 60))
					}
				})
			})
		},
	}
	f.add(c)
	c.Flags().StringVar(&user, "user", "", "only those of this `user`")
	return c
}

func activeText(active bool) string {
	if active {
		return "active"
	}
	return "inactive"
}

func (e *env) iamKeyUpdate() *cobra.Command {
	var f iamFlags
	var status string
	c := &cobra.Command{
		Use:   "update ID --status active|inactive",
		Short: "Switch an access key off, or on again",
		Long: `Update switches an access key off, at once: calls with it are refused, and so are those with temporary credentials that came of
it. It can be switched on again.

  spoor iam key update AKIAIOSFODNN7EXAMPLE --status inactive
  spoor iam key update AKIAIOSFODNN7EXAMPLE --status active` + "\n" + exitCodesHelp,
		Args: oneArg("the id of the access key", "spoor iam key update AKIAIOSFODNN7EXAMPLE --status inactive"),
		RunE: func(c *cobra.Command, args []string) error {
			active := strings.EqualFold(status, "active")
			if !active && !strings.EqualFold(status, "inactive") {
				return usagef("spoor iam key update wants --status active or inactive; for example: spoor iam key update %s --status inactive", args[0])
			}
			return f.with(c.Context(), e, false, func(a accessState) error {
				k, err := a.SetAccessKey(c.Context(), args[0], active)
				if err != nil {
					return err
				}
				if f.asJSON {
					return e.printJSON(k)
				}
				_, err = fmt.Fprintf(e.stdout, "Access key %s of %s is %s.\n", shown(k.ID), shown(k.User), activeText(k.Active))
				return err
			})
		},
	}
	f.add(c)
	c.Flags().StringVar(&status, "status", "", "`status` that the key is to have: active or inactive")
	return c
}

func (e *env) iamKeyDelete() *cobra.Command {
	var f iamFlags
	c := &cobra.Command{
		Use:   "delete ID",
		Short: "Delete an access key, for ever",
		Long: `Delete deletes an access key, and ends temporary credentials that came of it. What was done with it stays recorded. When it is
not certain that nothing uses it any more, switch it off first: spoor iam key update.

  spoor iam key delete AKIAIOSFODNN7EXAMPLE` + "\n" + exitCodesHelp,
		Args: oneArg("the id of the access key", "spoor iam key delete AKIAIOSFODNN7EXAMPLE"),
		RunE: func(c *cobra.Command, args []string) error {
			return f.with(c.Context(), e, false, func(a accessState) error {
				if err := a.DeleteAccessKey(c.Context(), args[0]); err != nil {
					return err
				}
				if f.asJSON {
					return e.printJSON(map[string]any{"deleted": args[0]})
				}
				_, err := fmt.Fprintf(e.stdout, "Deleted access key %s.\n", shown(args[0]))
				return err
			})
		},
	}
	f.add(c)
	return c
}

func (e *env) iamKeyRotate() *cobra.Command {
	var f keyFlags
	var finish bool
	c := &cobra.Command{
		Use:   "rotate NAME",
		Short: "Replace the access key of a user: make a second one, and later delete the first",
		Long: `Rotate makes a second access key for a user, and gives its secret as spoor iam key create does. The first one goes on to work,
until everything that uses it has the second. With --finish it is deleted, if the second one was used, and the first not after
it, to the minute; else the exit code is 1 and nothing is changed, unless --force is given.

  spoor iam key rotate ann --write-profile spoor --force
  spoor iam key list --user ann                     which one was used when
  spoor iam key rotate ann --finish

Exit status:
  0  done
  1  not finished: the older key seems to be in use still
  2  wrong usage
  4  failure`,
		Args: oneArg("the name of the user", "spoor iam key rotate ann"),
		RunE: func(c *cobra.Command, args []string) error {
			if finish {
				for _, flag := range []string{"format", "note", "write-profile", "endpoint-url", "region"} {
					if c.Flags().Changed(flag) {
						return usagef("--%s is for the new key; --finish makes none", flag)
					}
				}
				return f.with(c.Context(), e, false, func(a accessState) error { return f.finish(c.Context(), e, a, args[0]) })
			}
			w, err := f.check(c)
			if err != nil {
				return err
			}
			return f.with(c.Context(), e, false, func(a accessState) error { return f.rotate(c.Context(), e, a, args[0], w) })
		},
	}
	f.add(c)
	f.addGiving(c)
	c.Flags().BoolVar(&finish, "finish", false, "delete the older key")
	c.Flags().BoolVar(&f.force, "force", false, "replace a profile that is there; with --finish, delete the older key also when it seems to be in use")
	return c
}

// rotate makes a second key.
func (f *keyFlags) rotate(ctx context.Context, e *env, a accessState, user string, w *profileWriter) error {
	keys, err := a.AccessKeys(ctx, user)
	if err != nil {
		return err
	}
	switch len(keys) {
	case 1:
	case 0:
		return usagef("%s has no access key to replace; spoor iam key create %s makes one", user, user)
	default:
		return usagef("%s has %d access keys; spoor iam key rotate %s --finish deletes the older one, when it is not in use any more", user, len(keys), user)
	}
	k, err := f.make(ctx, e, a, user, w)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stderr, `
%s has two access keys now: %s, and %s, which %s.
  1. Give the new one to everything that uses the older one.
  2. See that the older one is not used any more:        spoor iam key list --user %s
  3. Delete the older one:                               spoor iam key rotate %s --finish
`, user, k.ID, shown(keys[0].ID), usedText(keys[0]), user, user)
	return err
}

func usedText(k iam.AccessKey) string {
	if k.LastUsed.IsZero() {
		return "was never used"
	}
	return "was last used " + timeText(k.LastUsed)
}

// finish deletes the older of two keys.
func (f *keyFlags) finish(ctx context.Context, e *env, a accessState, user string) error {
	keys, err := a.AccessKeys(ctx, user)
	if err != nil {
		return err
	}
	if len(keys) != 2 {
		return usagef("%s has %s: there is no rotation to finish; spoor iam key rotate %s begins one", user, plural(int64(len(keys)), "access key"), user)
	}
	older, newer := keys[0], keys[1]
	if newer.Created.Before(older.Created) {
		older, newer = newer, older
	}
	did := struct {
		User     string `json:"user"`
		Finished bool   `json:"finished"`
		Older    string `json:"older"`
		Newer    string `json:"newer"`
		Reason   string `json:"reason,omitempty"`
	}{User: user, Older: older.ID, Newer: newer.ID, Reason: inUse(older, newer)}
	if did.Finished = did.Reason == "" || f.force; did.Finished {
		if err := a.DeleteAccessKey(ctx, older.ID); err != nil {
			return err
		}
	} else {
		e.exit = ExitFindings
	}
	switch {
	case f.asJSON:
		return e.printJSON(did)
	case did.Finished:
		_, err = fmt.Fprintf(e.stdout, "Deleted access key %s of %s, which %s. %s stays.\n", shown(older.ID), user, usedText(older), shown(newer.ID))
	default:
		_, err = fmt.Fprintf(e.stderr, "spoor: nothing was deleted: %s. --force deletes the older key all the same\n", did.Reason)
	}
	return err
}

// inUse says why the older of two keys may be in use still, or nothing.
func inUse(older, newer iam.AccessKey) string {
	o, n := shown(older.ID), shown(newer.ID)
	switch {
	case !newer.Active:
		return fmt.Sprintf("the newer key %s is switched off", n)
	case newer.LastUsed.IsZero():
		return fmt.Sprintf("the newer key %s was not used yet", n)
	case older.Active && older.LastUsed.After(newer.LastUsed):
		return fmt.Sprintf("the older key %s was used at %s, after the newer key %s, at %s", o, timeText(older.LastUsed), n, timeText(newer.LastUsed))
	}
	return ""
}
