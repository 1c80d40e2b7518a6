package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"spoor/internal/blob"
	"spoor/internal/config"
	"spoor/internal/keyring"
	"spoor/internal/source/s3"
	"spoor/internal/trail"
	"spoor/internal/trail/digest"
	"spoor/internal/trail/signing"
	"spoor/internal/trail/validate"
)

// local reports whether trails are read out of the folders of an installation.
func (f *validateFlags) local() bool {
	fl := f.cmd.Flags()
	return fl.Changed("data") || fl.Changed("config") || fl.Changed("set")
}

// dataFolder finds out what is validated in the folders of an installation. Without a target it is every trail of its book.
func (f *validateFlags) dataFolder(e *env, r *validation, target string) error {
	for _, name := range []string{"profile", "aws-region", "endpoint-url", "role-arn", "external-id", "request-payer", "no-sign-request"} {
		if f.cmd.Flags().Changed(name) {
			return usagef("--%s is for buckets that are read over S3; with --data they are read out of the data folder", name)
		}
	}
	l, err := f.config.load(e)
	if err != nil {
		return err
	}
	c := l.Config
	if at := c.Buckets.External; at != "" {
		return usagef("trails of this configuration deliver to buckets of an S3 elsewhere, not of the data folder (buckets.external: %s): validate them with spoor validate s3://BUCKET%s",
			shown(at), externalFlag(at))
	}
	if target == "" {
		r.view.Targets = []string{c.Data}
	}
	trails, err := trail.Look(filepath.Join(c.Trails.Dir, "book"), "")
	if errors.Is(err, fs.ErrNotExist) {
		trails, err = nil, nil
	}
	if err != nil {
		return folderError(err)
	}
	if err := f.dataTargets(r, trails, target, c.Trails.Dir); err != nil {
		return err
	}
	keys, err := f.dataKeys(l)
	if err != nil {
		return err
	}
	buckets, err := blob.OpenReadOnly(c.Buckets.Dir, keys)
	if errors.Is(err, fs.ErrNotExist) {
		return usagef("there are no local buckets in %s: spoor serve makes them; --data or --config names another folder, and buckets elsewhere are read with s3://BUCKET", shown(c.Buckets.Dir))
	}
	if err != nil {
		return folderError(err)
	}
	o := &r.opts
	o.Source = buckets
	for _, t := range trails {
		k := validate.Known{
			Account: t.Account, HomeRegion: t.HomeRegion, Trail: t.Name, Organization: t.Settings.Organization, Bucket: t.Settings.Bucket, Prefix: strings.Trim(t.Settings.Prefix, "/"), Since: t.Started,
		}
		switch s := t.Settings; {
		case !s.Validation:
			f.note(r, t, "has no validation of log files")
		case s.Logging:
			k.Until = o.Now
		case t.Stopped.IsZero():
			f.note(r, t, "was never logging")
		default:
			k.Until = t.Stopped
			f.note(r, t, "has not been logging since "+t.Stopped.UTC().Format(time.RFC3339))
		}
		o.Trails = append(o.Trails, k)
	}
	if o.Trails == nil {
		o.Trails = []validate.Known{}
	}
	if len(f.publicKeys) > 0 {
		return nil
	}
	dir := filepath.Join(c.Trails.Dir, "digest-keys")
	r.keys.from = func(_ context.Context, region string, start, end time.Time) ([]digest.PublicKey, error) {
		k, err := signing.OpenReadOnly(dir) // anew: a running service makes some
		if err != nil {
			return nil, err
		}
		return k.Public(region, start, end), nil
	}
	_, err = signing.OpenReadOnly(dir)
	return folderError(err)
}

// note tells what is particular about a trail that is validated.
func (f *validateFlags) note(r *validation, t trail.Info, text string) {
	if o := r.opts; (o.Trail == "" || o.Trail == t.Name && o.HomeRegion == t.HomeRegion) && slices.Contains(o.Roots, validate.Root{Bucket: t.Settings.Bucket, Prefix: strings.Trim(t.Settings.Prefix, "/")}) {
		r.view.Notes = append(r.view.Notes, "trail "+t.ARN+" "+text)
	}
}

// externalFlag is how validate is told where buckets are that the configuration names.
func externalFlag(at string) string {
	if at == config.AmazonS3 {
		return ""
	}
	return " --endpoint-url " + shown(at)
}

// folderError says what to do about a folder that may not be read.
func folderError(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; the data folder is read as the user that the service runs as", err)
	}
	return err
}

// dataTargets finds the places of the target: an ARN, a name, a bucket, or nothing for all trails.
func (f *validateFlags) dataTargets(r *validation, trails []trail.Info, target, dir string) error {
	o := &r.opts
	bucket, prefix := f.bucket, strings.Trim(f.prefix, "/")
	root := func(t trail.Info) validate.Root {
		at := validate.Root{Bucket: t.Settings.Bucket, Prefix: strings.Trim(t.Settings.Prefix, "/")}
		if bucket != "" {
			at.Bucket = bucket
		}
		if prefix != "" {
			at.Prefix = prefix
		}
		return at
	}
	if strings.HasPrefix(target, "s3://") {
		name, below, err := s3.ParseURL(target)
		switch {
		case err != nil:
			return usageError{err}
		case bucket != "":
			return usagef("either s3://, or --s3-bucket with a trail")
		case prefix != "" && below != "":
			return usagef("the prefix is given twice: %q and --s3-prefix %q", below, prefix)
		}
		o.Roots = []validate.Root{{Bucket: name, Prefix: strings.Trim(prefix+below, "/")}} // one of them is empty
		return nil
	}
	if target == "" {
		if bucket != "" || prefix != "" {
			return usagef("--s3-bucket and --s3-prefix want a trail; for a bucket: s3://BUCKET/PREFIX")
		}
		for _, t := range trails {
			if at := root(t); !slices.Contains(o.Roots, at) {
				o.Roots = append(o.Roots, at)
			}
		}
		if len(o.Roots) == 0 {
			return usagef("there is no trail in %s; for a bucket of trails that are gone: s3://BUCKET/PREFIX", shown(dir))
		}
		return nil
	}
	var found []trail.Info
	for _, t := range trails {
		if t.ARN == target || t.Name == target {
			found = append(found, t)
		}
	}
	switch {
	case len(trails) == 0:
		return usagef("there is no trail in %s: spoor serve makes its folder; --data or --config names another one", shown(dir))
	case len(found) == 0:
		names := make([]string, len(trails))
		for i, t := range trails {
			names[i] = t.ARN
		}
		return usagef("there is no trail %q in %s: there is %s", target, shown(dir), orNothing(names))
	case len(found) > 1:
		return usagef("there are %d trails of the name %q: give the ARN, such as %s", len(found), target, found[0].ARN)
	case o.Trail != "" && o.Trail != found[0].Name:
		return usagef("--trail %s is not the trail that was asked for, %s", o.Trail, found[0].Name)
	}
	t := found[0]
	o.Trail, o.HomeRegion, o.Roots = t.Name, t.HomeRegion, []validate.Root{root(t)}
	if !t.Settings.Organization && len(o.Accounts) == 0 {
		o.Accounts = []string{t.Account}
	}
	return nil
}

func orNothing(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// dataKeys gives what opens sealed objects. That nothing can be opened is told of those objects, if there are any.
func (f *validateFlags) dataKeys(l *config.Loaded) (blob.Keys, error) {
	o := keyring.Options{}
	var err error
	if f.masterFile != "" {
		if o.Master, err = readMaster(f.masterFile); err != nil {
			return nil, err
		}
	} else if o.Master, err = configuredMaster(l); err != nil {
		return closedKeys{err}, nil
	}
	r, err := keyring.OpenReadOnly(l.Config.Keys.Dir, o)
	switch {
	case errors.Is(err, keyring.ErrMaster):
		return closedKeys{fmt.Errorf("%w (--master-key-file or the variable SPOOR_KEYS_MASTER_KEY gives one)", err)}, nil
	case err != nil:
		return closedKeys{err}, nil
	}
	return r, nil
}

// closedKeys are those of a ring that could not be opened.
type closedKeys struct{ err error }

func (k closedKeys) GenerateDataKey(context.Context, string, map[string]string) (keyring.DataKey, error) {
	return keyring.DataKey{}, k.err
}

func (k closedKeys) Unwrap(context.Context, []byte, map[string]string) (keyring.DataKey, error) {
	return keyring.DataKey{}, k.err
}
