package cli

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"spoor/internal/ledger"
	"spoor/internal/report"
	"spoor/internal/safetext"
	"spoor/internal/source/s3"
	"spoor/internal/trail/digest"
	"spoor/internal/trail/validate"
)

// validateFlags are the flags of spoor validate.
type validateFlags struct {
	cmd    *cobra.Command
	show   reportFlags
	s3     s3.Options
	config configFlags // of an installation whose folders are read

	masterFile string

	start, since, end, until      string
	regions, accounts, accountIDs []string
	trail, bucket, prefix         string
	publicKeys                    []string
	saveKeys                      string
	signatures, saveSignatures    string
	ledger                        string
	workers                       int
	verbose, quiet                bool
	bundle, bundleKey, bundleBy   string
	bundleHost                    bool
	checkBundle, bundlePublicKey  string
}

const mostFindings = 100_000 // that are shown; counts are whole

func (e *env) validate() *cobra.Command {
	var f validateFlags
	formats := report.ValidationFormats[:]
	c := &cobra.Command{
		Use:   "validate TRAIL-ARN|s3://BUCKET/PREFIX|DIR, or validate --data DIR [TRAIL-ARN|TRAIL-NAME|s3://BUCKET/PREFIX]",
		Short: "Verify the digests and log files of trails",
		Long: `Validate tells whether the log files of trails are as they were delivered: it verifies the signature and the links of
every digest, reads every log file that is listed, and looks for log files that no digest lists. It works on buckets of
AWS, on those of a running service, and on folders that copies of them are in, and never writes to them. With --data it
reads trails and local buckets straight out of a data folder, whether the service runs or not.

  spoor validate arn:aws:cloudtrail:eu-central-1:111122223333:trail/audit --since 7d
  spoor validate s3://trail-bucket --start-time 2026-01-01 --end-time 2026-02-01
  spoor validate --data ./spoor-data                                              every trail of the data folder
  spoor validate --data ./spoor-data audit --since 7d
  spoor validate s3://trail-bucket --save-keys keys.json --save-signatures signatures.jsonl
  spoor validate ./copy --public-keys keys.json --signatures signatures.jsonl     offline
  spoor validate ./copy --public-keys keys.json --format junit --out verdicts.xml
  spoor hunt ./copy --ledger ledger.json; spoor validate ./copy --public-keys keys.json --ledger ledger.json
  spoor validate s3://trail-bucket --bundle evidence.zip --bundle-key signing.pem
  spoor validate --check-bundle evidence.zip --bundle-public-key signing.pub

Without a range everything is validated; all accounts, Regions and trails that are found are. Public keys come from
CloudTrail (ListPublicKeys) in each Region, or from files. A folder has no metadata, where signatures are: they are taken
from --signatures, or from the digest after each, which has them too.

Exit status:
  0  everything is valid
  1  something is invalid or missing
  2  wrong usage
  3  nothing is known to be wrong, and something could not be checked
  4  failure: there is no answer`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case f.checkBundle != "" && len(args) > 0:
				return usagef("--check-bundle takes no other input, not %q", args[0])
			case f.checkBundle == "" && f.local():
				if len(args) > 1 {
					return usagef("with --data, spoor validate wants at most one trail or bucket, not %q", args[1])
				}
			case f.checkBundle == "" && len(args) != 1:
				return usagef("spoor validate wants one trail, bucket or folder; for example: spoor validate s3://trail-bucket --since 7d")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.show.check(formats); err != nil {
				return err
			}
			if f.checkBundle != "" {
				return e.checkBundle(&f)
			}
			return e.runValidate(c.Context(), &f, strings.Join(args, ""))
		},
	}
	f.cmd = c
	f.show.add(c, formats)
	f.config.add(c, "data")
	fl := c.Flags()
	fl.StringVar(&f.masterFile, "master-key-file", "", "`file` with the master key of the key ring of --data (default: as the configuration says it, else the one beside the ring)")
	fl.StringVar(&f.start, "start-time", "", "digests that end at this `time` and later: 2026-01-10, 2026-01-10T09:00:00Z, or 36h or 7d ago")
	fl.StringVar(&f.end, "end-time", "", "digests that end up to an hour after this `time`")
	fl.StringVar(&f.since, "since", "", "the same as --start-time")
	fl.StringVar(&f.until, "until", "", "the same as --end-time")
	fl.StringSliceVar(&f.regions, "region", nil, "only these `Regions`")
	fl.StringSliceVar(&f.accounts, "account", nil, "only these `accounts`")
	fl.StringSliceVar(&f.accountIDs, "account-id", nil, "the same as --account")
	fl.StringVar(&f.trail, "trail", "", "only the trail of this `name`")
	fl.StringVar(&f.bucket, "s3-bucket", "", "`bucket` of a trail, in place of asking for it; or the one that a folder is a copy of")
	fl.StringVar(&f.prefix, "s3-prefix", "", "`prefix` of the trail's keys")
	fl.StringVar(&f.s3.Profile, "profile", "", "AWS `profile`")
	fl.StringVar(&f.s3.Region, "aws-region", "", "AWS `Region` to ask first (default: from the environment or profile)")
	fl.StringVar(&f.s3.EndpointURL, "endpoint-url", "", "`URL` of the service that has the buckets and the public keys, in place of AWS")
	fl.StringVar(&f.s3.RoleARN, "role-arn", "", "`ARN` of a role to assume for reading")
	fl.StringVar(&f.s3.ExternalID, "external-id", "", "external `id` for that role")
	fl.BoolVar(&f.s3.RequesterPays, "request-payer", false, "pay for reading a requester-pays bucket")
	fl.BoolVar(&f.s3.Anonymous, "no-sign-request", false, "read a public bucket without credentials")
	fl.IntVar(&f.s3.Parallel, "s3-parallel", 0, "objects read from a bucket at once (default 32)")
	fl.IntVar(&f.workers, "workers", 0, "files hashed at once (default: one for each processor)")
	fl.StringSliceVar(&f.publicKeys, "public-keys", nil, "`files` with public keys: answers of aws cloudtrail list-public-keys, or of --save-keys")
	fl.StringVar(&f.saveKeys, "save-keys", "", "keep the public keys that were used in this `file`")
	fl.StringVar(&f.signatures, "signatures", "", "`file` with the signatures of digests whose metadata is gone")
	fl.StringVar(&f.saveSignatures, "save-signatures", "", "keep the signatures of digests in this `file`, for copies of them")
	fl.StringVar(&f.ledger, "ledger", "", "`file` that spoor hunt --ledger wrote: tell what digests list and was never read")
	fl.BoolVar(&f.verbose, "verbose", false, "show what is valid too")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "no progress")
	fl.StringVar(&f.bundle, "bundle", "", "write a signed bundle of evidence to this `file`")
	fl.StringVar(&f.bundleKey, "bundle-key", "", "sign it with the Ed25519 private key in this PEM `file` (default: a fresh key)")
	fl.StringVar(&f.bundleBy, "bundle-by", "", "who makes it, for its custody log (default: the user)")
	fl.BoolVar(&f.bundleHost, "bundle-host", false, "name this host in its custody log")
	fl.StringVar(&f.checkBundle, "check-bundle", "", "verify the bundle in this `file`")
	fl.StringVar(&f.bundlePublicKey, "bundle-public-key", "", "with the public key in this `file`: PEM, or base64")
	return c
}

var trailARNForm = regexp.MustCompile(`^arn:([a-z0-9-]+):cloudtrail:([a-z0-9-]+):([0-9]{12}):trail/([A-Za-z0-9][A-Za-z0-9._-]{1,126}[A-Za-z0-9])$`)

// validation is a run: what it reads, and what it keeps.
type validation struct {
	opts   validate.Options
	view   report.Validation
	shown  bool // valid ones too
	keys   *keyLog
	each   []func(validate.Finding) error
	digest []func(bucket, key string, text []byte, metadata map[string]string) error
	close  []func() error
}

func (e *env) runValidate(ctx context.Context, f *validateFlags, target string) (err error) {
	limitMemory()
	now := time.Now().UTC()
	r := &validation{shown: f.verbose, view: report.Validation{Version: readVersion().Version, Started: now, Targets: []string{target}, Findings: []validate.Finding{}}}
	defer func() {
		for _, closing := range r.close {
			err = errors.Join(err, closing())
		}
	}()
	if err := f.options(ctx, e, r, target, now); err != nil {
		return err
	}
	save, err := e.saveSignatures(f, r)
	if err != nil {
		return err
	}
	b, err := e.beginBundle(f, r, target)
	if err == nil {
		err = e.validateNow(ctx, f, r)
	}
	if b != nil {
		err = b.finish(ctx, e, f, r, err)
	}
	if err = save(err); err != nil {
		return err
	}
	if f.saveKeys != "" {
		if err := e.write(f.saveKeys, r.keys.write); err != nil {
			return err
		}
	}
	switch {
	case r.view.Summary.Problem:
		e.exit = ExitFindings
	case r.view.Summary.Gaps:
		e.exit = ExitIncomplete
	}
	ro := f.show.options(e, "")
	ro.ExitCode = e.exit
	return e.write(f.show.out, func(w io.Writer) error { return report.WriteValidation(w, f.show.format, &r.view, ro) })
}

// validateNow runs it.
func (e *env) validateNow(ctx context.Context, f *validateFlags, r *validation) error {
	p := &validate.Progress{}
	r.opts.Progress = p
	r.opts.Keys = r.keys.keys
	r.opts.Each = func(v validate.Finding) error {
		for _, each := range r.each {
			if err := each(v); err != nil {
				return err
			}
		}
		switch {
		case v.Level == validate.OK && !r.shown:
		case len(r.view.Findings) < mostFindings:
			r.view.Findings = append(r.view.Findings, v)
		default:
			r.view.LeftOut++
		}
		return nil
	}
	if len(r.digest) > 0 {
		r.opts.Evidence = func(bucket, key string, text []byte, metadata map[string]string) error {
			for _, each := range r.digest {
				if err := each(bucket, key, text, metadata); err != nil {
					return err
				}
			}
			return nil
		}
	}
	stop := func() {}
	if width, _, ok := terminal(e.stderr); ok && !f.quiet {
		stop = showLine(e.stderr, width, func(elapsed time.Duration) string { return validateLine(p, elapsed) })
	}
	s, err := validate.Run(ctx, r.opts)
	stop()
	if err != nil {
		return err
	}
	r.view.Summary, r.view.Elapsed = s, time.Since(r.view.Started)
	return nil
}

func validateLine(p *validate.Progress, elapsed time.Duration) string {
	done, listed, seconds := p.Digests.Load(), p.DigestsListed.Load(), elapsed.Seconds()
	counted := p.Counted.Load()
	total := fmt.Sprint(max(listed, done))
	if !counted {
		total += "+"
	}
	line := fmt.Sprintf("%d/%s digests  %d log files  %.0f files/s  %.0f MB/s", done, total, p.Logs.Load(), float64(p.Logs.Load())/seconds, float64(p.Bytes.Load())/1e6/seconds)
	if counted && done > 0 && listed > done {
		line += fmt.Sprintf("  ETA %s", time.Duration(float64(elapsed)*float64(listed-done)/float64(done)).Round(time.Second))
	}
	return line
}

// options finds out what is validated.
func (f *validateFlags) options(ctx context.Context, e *env, r *validation, target string, now time.Time) (err error) {
	o := &r.opts
	o.Now, o.Compute = now, f.workers
	if o.Start, err = oneTime("--start-time", f.start, "--since", f.since, now); err != nil {
		return err
	}
	if o.End, err = oneTime("--end-time", f.end, "--until", f.until, now); err != nil {
		return err
	}
	if !o.End.IsZero() && !o.Start.Before(o.End) {
		return usagef("the range ends at %s, before it starts at %s", o.End.Format(time.RFC3339), o.Start.Format(time.RFC3339))
	}
	r.view.Start, r.view.End = o.Start, o.End
	o.Accounts, o.Regions, o.Trail = slices.Concat(f.accounts, f.accountIDs), f.regions, f.trail
	if f.ledger != "" {
		if o.Ledger, err = readLedger(f.ledger); err != nil {
			return err
		}
	}
	if f.signatures != "" {
		if err := readFile(f.signatures, func(in io.Reader) (err error) {
			o.Signatures, err = validate.ReadSignatures(in)
			return err
		}); err != nil {
			return err
		}
	}
	if f.local() {
		if err := f.keySource(r, aws.Config{}); err != nil {
			return err
		}
		return f.dataFolder(e, r, target)
	}
	if f.masterFile != "" {
		return usagef("--master-key-file is for sealed objects of a data folder; it wants --data")
	}
	bucket, prefix := f.bucket, f.prefix
	arn := trailARNForm.FindStringSubmatch(target)
	remote := arn != nil
	switch {
	case arn != nil:
	case strings.HasPrefix(target, "arn:"):
		return usagef("%q is not the ARN of a trail, such as arn:aws:cloudtrail:us-east-1:111122223333:trail/audit", target)
	case strings.HasPrefix(target, "s3://"):
		if bucket != "" {
			return usagef("either s3://, or --s3-bucket with the ARN of a trail")
		}
		below := ""
		if bucket, below, err = s3.ParseURL(target); err != nil {
			return usageError{err}
		}
		if prefix != "" && below != "" {
			return usagef("the prefix is given twice: %q and --s3-prefix %q", below, prefix)
		}
		prefix = cmp.Or(prefix, below)
		remote = true
	}
	var config aws.Config
	if remote || len(f.publicKeys) == 0 {
		if config, err = s3.Config(ctx, f.s3); err != nil {
			return err
		}
	}
	if err := f.keySource(r, config); err != nil {
		return err
	}
	if !remote {
		return f.folder(ctx, r, target, bucket, prefix)
	}
	o.Expect = now
	if arn != nil {
		if bucket, prefix, err = f.trailOf(ctx, r, config, arn, bucket, prefix); err != nil {
			return err
		}
	}
	o.Source = validate.NewBuckets(config, f.s3.EndpointURL, f.s3.RequesterPays)
	o.Fetch = cmp.Or(f.s3.Parallel, 32)
	o.Roots = []validate.Root{{Bucket: bucket, Prefix: prefix}}
	return nil
}

func (f *validateFlags) folder(ctx context.Context, r *validation, dir, bucket, prefix string) error {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return usagef("%q is neither the ARN of a trail, nor s3://BUCKET, nor a folder", dir)
	}
	folder, err := validate.OpenFolder(ctx, dir, bucket)
	if err != nil {
		return err
	}
	r.close = append(r.close, folder.Close)
	o := &r.opts
	o.Source, o.NoMetadata = folder, true
	for _, root := range folder.Roots() {
		if at := (validate.Root{Bucket: root.Bucket, Prefix: prefix}); !slices.Contains(o.Roots, at) {
			o.Roots = append(o.Roots, at)
		}
		if root.Bucket != "" {
			r.view.Notes = append(r.view.Notes, fmt.Sprintf("folder %s is taken for s3://%s/%s, as digests in it say", root.Dir, root.Bucket, root.Base))
		}
	}
	if !o.End.IsZero() {
		o.Expect = o.Now
	}
	return nil
}

// trailOf asks for a trail: where it delivers, and whether it still does.
func (f *validateFlags) trailOf(ctx context.Context, r *validation, config aws.Config, arn []string, bucket, prefix string) (string, string, error) {
	o := &r.opts
	o.HomeRegion = arn[2]
	if o.Trail != "" && o.Trail != arn[4] {
		return "", "", usagef("--trail %s is not the trail of the ARN, %s", o.Trail, arn[4])
	}
	o.Trail = arn[4]
	client := f.cloudTrail(config, arn[2])
	if bucket == "" {
		out, err := client.DescribeTrails(ctx, &cloudtrail.DescribeTrailsInput{TrailNameList: []string{arn[0]}})
		if err != nil {
			return "", "", fmt.Errorf("ask where trail %s delivers to: %w", arn[0], err)
		}
		found := false
		for _, t := range out.TrailList {
			if aws.ToString(t.TrailARN) == arn[0] {
				found = true
				bucket, prefix = aws.ToString(t.S3BucketName), cmp.Or(prefix, aws.ToString(t.S3KeyPrefix))
				if !aws.ToBool(t.IsOrganizationTrail) && len(o.Accounts) == 0 {
					o.Accounts = []string{arn[3]}
				}
			}
		}
		if !found {
			return "", "", fmt.Errorf("there is no trail %s", arn[0])
		}
	}
	status, err := client.GetTrailStatus(ctx, &cloudtrail.GetTrailStatusInput{Name: &arn[0]})
	switch {
	case ctx.Err() != nil:
		return "", "", ctx.Err()
	case err != nil:
		r.view.Notes = append(r.view.Notes, "whether the trail is logging is not known: "+err.Error())
	case !aws.ToBool(status.IsLogging) && status.StopLoggingTime != nil:
		o.Expect = status.StopLoggingTime.UTC()
		r.view.Notes = append(r.view.Notes, "the trail has not been logging since "+o.Expect.Format(time.RFC3339))
	case !aws.ToBool(status.IsLogging):
		o.Expect = time.Time{}
		r.view.Notes = append(r.view.Notes, "the trail is not logging")
	}
	return bucket, prefix, nil
}

func (f *validateFlags) cloudTrail(config aws.Config, region string) *cloudtrail.Client {
	return cloudtrail.NewFromConfig(config, func(o *cloudtrail.Options) {
		o.Region = region
		if f.s3.EndpointURL != "" {
			o.BaseEndpoint = &f.s3.EndpointURL
		}
	})
}

// keySource finds the public keys: in files, or by asking in each Region.
func (f *validateFlags) keySource(r *validation, config aws.Config) error {
	r.keys = &keyLog{seen: map[string][]digest.PublicKey{}, asked: map[string]*askedKeys{}}
	if len(f.publicKeys) > 0 {
		var set validate.KeySet
		for _, name := range f.publicKeys {
			if err := readFile(name, set.Read); err != nil {
				return err
			}
		}
		r.keys.from = set.Keys
		return nil
	}
	r.keys.from = func(ctx context.Context, region string, start, end time.Time) ([]digest.PublicKey, error) {
		var out []digest.PublicKey
		in := &cloudtrail.ListPublicKeysInput{StartTime: &start, EndTime: &end}
		for {
			page, err := f.cloudTrail(config, region).ListPublicKeys(ctx, in)
			if err != nil {
				return nil, fmt.Errorf("ask for the public keys of %s (--public-keys reads them from a file): %w", region, err)
			}
			for _, k := range page.PublicKeyList {
				out = append(out, digest.PublicKey{DER: k.Value, Fingerprint: aws.ToString(k.Fingerprint), Start: aws.ToTime(k.ValidityStartTime).UTC(), End: aws.ToTime(k.ValidityEndTime).UTC()})
			}
			if in.NextToken = page.NextToken; in.NextToken == nil {
				return out, nil
			}
		}
	}
	return nil
}

// keyLog asks for keys once for each Region and range of days, and keeps what it got.
type keyLog struct {
	from  validate.Keys
	mu    sync.Mutex
	asked map[string]*askedKeys
	seen  map[string][]digest.PublicKey
}

type askedKeys struct {
	once sync.Once
	keys []digest.PublicKey
	err  error
}

func (l *keyLog) keys(ctx context.Context, region string, start, end time.Time) ([]digest.PublicKey, error) {
	start, end = start.UTC().Truncate(24*time.Hour), end.UTC().Truncate(24*time.Hour).Add(24*time.Hour)
	l.mu.Lock()
	id := region + " " + start.String() + " " + end.String()
	a := l.asked[id]
	if a == nil {
		a = &askedKeys{}
		l.asked[id] = a
	}
	l.mu.Unlock()
	a.once.Do(func() {
		a.keys, a.err = l.from(ctx, region, start, end)
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, k := range a.keys {
			if !slices.ContainsFunc(l.seen[region], func(o digest.PublicKey) bool { return o.Fingerprint == k.Fingerprint }) {
				l.seen[region] = append(l.seen[region], k)
			}
		}
	})
	return a.keys, a.err
}

func (l *keyLog) write(w io.Writer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return validate.WriteKeys(w, l.seen)
}

// saveSignatures keeps signatures while they pass. done is called with the outcome.
func (e *env) saveSignatures(f *validateFlags, r *validation) (done func(error) error, err error) {
	if f.saveSignatures == "" {
		return func(err error) error { return err }, nil
	}
	w, done, err := e.output(f.saveSignatures)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	enc := json.NewEncoder(w)
	r.digest = append(r.digest, func(bucket, key string, _ []byte, metadata map[string]string) error {
		if metadata[digest.MetaSignature] == "" {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		return enc.Encode(validate.SignatureOf(bucket, key, metadata))
	})
	return done, nil
}

// oneTime reads a time that has two flags.
func oneTime(name, text, other, otherText string, now time.Time) (time.Time, error) {
	if text != "" && otherText != "" {
		return time.Time{}, usagef("%s and %s are the same: give one", name, other)
	}
	if text == "" {
		name, text = other, otherText
	}
	return parseWhen(name, text, now)
}

func readFile(name string, read func(io.Reader) error) error {
	in, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if err := errors.Join(read(in), in.Close()); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// readLedger reads what spoor hunt or spoor coverage wrote: a ledger, or a document that has some.
func readLedger(name string) (*ledger.Report, error) {
	var all ledger.Report
	err := readFile(name, func(in io.Reader) error {
		var doc struct {
			ledger.Report
			Ledger  *ledger.Report `json:"ledger"`
			Sources []struct {
				Ledger *ledger.Report `json:"ledger"`
			} `json:"sources"`
		}
		if err := json.NewDecoder(in).Decode(&doc); err != nil {
			return err
		}
		all = doc.Report
		found := doc.Cells != nil
		for _, l := range append([]*ledger.Report{doc.Ledger}, sourceLedgers(doc.Sources)...) {
			if l != nil {
				found = true
				all.Cells, all.Failures = append(all.Cells, l.Cells...), append(all.Failures, l.Failures...)
			}
		}
		if !found {
			return errors.New("it has no ledger")
		}
		return nil
	})
	return &all, err
}

func sourceLedgers(in []struct {
	Ledger *ledger.Report `json:"ledger"`
}) (out []*ledger.Report) {
	for _, s := range in {
		out = append(out, s.Ledger)
	}
	return out
}

// evidence is a bundle on its way.
type evidence struct {
	*validate.Bundle
	file  *os.File
	path  string
	key   ed25519.PrivateKey
	fresh bool
}

// beginBundle begins the bundle, nil when none is wanted.
func (e *env) beginBundle(f *validateFlags, r *validation, target string) (*evidence, error) {
	if f.bundle == "" {
		if f.bundleKey != "" || f.bundleBy != "" || f.bundleHost {
			return nil, usagef("--bundle-key, --bundle-by and --bundle-host need --bundle")
		}
		return nil, nil
	}
	b := &evidence{path: f.bundle}
	var err error
	if f.bundleKey == "" {
		b.fresh = true
		b.key, err = validate.NewBundleKey()
	} else {
		err = readFile(f.bundleKey, func(in io.Reader) error {
			text, err := io.ReadAll(io.LimitReader(in, 1<<20))
			if err == nil {
				b.key, err = validate.ReadBundleKey(text)
			}
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	if b.file, err = os.CreateTemp(dirOf(f.bundle), ".spoor-out-"); err != nil {
		return nil, fmt.Errorf("write %s: %w", f.bundle, err)
	}
	if b.Bundle, err = validate.NewBundle(b.file, dirOf(f.bundle), nil); err != nil {
		return nil, errors.Join(err, b.file.Close(), os.Remove(b.file.Name()))
	}
	info := readVersion()
	c := validate.Custody{Event: "validation started", By: f.bundleBy, Command: f.command(target), Version: info.Version + " " + info.Commit + " " + runtime.GOOS + "/" + runtime.GOARCH}
	if c.By == "" {
		if u, err := user.Current(); err == nil {
			c.By = u.Username
		}
	}
	if f.bundleHost {
		if c.Host, err = os.Hostname(); err != nil {
			c.Host = "not known"
		}
	}
	if c.Binary, err = binaryHash(); err != nil {
		c.Binary = "not known: " + err.Error()
	}
	b.Log(c)
	r.opts.Stored = true
	r.keys.from = b.Keys(r.keys.from)
	r.digest = append(r.digest, b.Digest)
	r.each = append(r.each, b.Each)
	r.view.Bundle, r.view.Key = f.bundle, "Ed25519 public key "+base64.StdEncoding.EncodeToString(b.key.Public().(ed25519.PublicKey))
	return b, nil
}

// command is the command line as it was understood.
func (f *validateFlags) command(target string) []string {
	out := []string{"spoor", "validate"}
	if target != "" {
		out = append(out, target)
	}
	f.cmd.Flags().Visit(func(fl *pflag.Flag) { out = append(out, "--"+fl.Name+"="+fl.Value.String()) })
	return out
}

func binaryHash() (string, error) {
	name, err := os.Executable()
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	if err := readFile(name, func(in io.Reader) error {
		_, err := io.Copy(sum, in)
		return err
	}); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// finish ends the bundle; it appears whole or not at all. before is how the validation ended.
func (b *evidence) finish(ctx context.Context, e *env, f *validateFlags, r *validation, before error) error {
	err := before
	if err == nil {
		b.Log(validate.Custody{Event: "validation ended: " + outcome(r.view.Summary)})
		by := "the key of --bundle-key"
		if b.fresh {
			by = "a fresh key"
		}
		b.Log(validate.Custody{Event: "evidence signed with " + by + ", " + r.view.Key})
		var verdicts strings.Builder
		if err = report.WriteValidation(&verdicts, "json", &r.view, report.Options{}); err == nil {
			err = b.Finish(ctx, []byte(verdicts.String()), b.key)
		}
	}
	err = errors.Join(err, b.Discard())
	if err == nil {
		if err = b.file.Chmod(0o644); err == nil {
			err = b.file.Sync()
		}
	}
	err = errors.Join(err, b.file.Close())
	if err == nil {
		err = os.Rename(b.file.Name(), b.path)
	}
	if err != nil {
		if before == nil {
			err = fmt.Errorf("write %s: %w", b.path, err)
		}
		return errors.Join(err, removeIfThere(b.file.Name()))
	}
	if b.fresh {
		fmt.Fprintf(e.stderr, "%s is signed with a fresh key, whose private half is gone; keep its public half elsewhere:\n%s\n", safetext.Terminal(b.path, 0),
			base64.StdEncoding.EncodeToString(b.key.Public().(ed25519.PublicKey)))
	}
	return nil
}

func outcome(s *validate.Summary) string {
	switch {
	case s.Problem:
		return "something is invalid or missing"
	case s.Gaps:
		return "something could not be checked"
	}
	return "everything is valid"
}

func (e *env) checkBundle(f *validateFlags) error {
	var key ed25519.PublicKey
	if f.bundlePublicKey != "" {
		if err := readFile(f.bundlePublicKey, func(in io.Reader) error {
			text, err := io.ReadAll(io.LimitReader(in, 1<<20))
			if err == nil {
				key, err = validate.ReadBundlePublicKey(text)
			}
			return err
		}); err != nil {
			return err
		}
	}
	in, err := os.Open(f.checkBundle)
	if err != nil {
		return fmt.Errorf("read %s: %w", f.checkBundle, err)
	}
	defer func() { _ = in.Close() }() // read only
	info, err := in.Stat()
	if err != nil {
		return fmt.Errorf("read %s: %w", f.checkBundle, err)
	}
	c, err := validate.CheckBundle(in, info.Size(), key)
	if errors.Is(err, validate.ErrBundle) {
		e.exit = ExitFindings
		_, err = fmt.Fprintf(e.stdout, "INVALID: %s: %s\n", safetext.Terminal(f.checkBundle, 0), safetext.Terminal(err.Error(), 0))
		return err
	}
	if err != nil {
		return err
	}
	if f.show.format == "json" {
		return e.printJSON(c)
	}
	signed := "signed with its own key, which is good only if you know it"
	if c.Trusted {
		signed = "signed with the key that you gave"
	}
	_, err = fmt.Fprintf(e.stdout, "VALID: %s is as it was made on %s, %s\nPublic key %s\nMembers    %d, all with their hashes\nDigests    %d with a right signature, %d without\n",
		safetext.Terminal(f.checkBundle, 0), c.Manifest.Created.Format(time.RFC3339), signed, c.Manifest.PublicKey, len(c.Manifest.Members), c.Digests, c.Failing)
	for _, l := range c.Custody {
		if err == nil {
			_, err = fmt.Fprintf(e.stdout, "%s  %s\n", l.Time.Format(time.RFC3339), safetext.Terminal(strings.Join(strings.Fields(l.By+" "+l.Host+" "+l.Event), " "), 0))
		}
	}
	if err == nil && c.Summary != nil {
		_, err = fmt.Fprintf(e.stdout, "It says: %s\n", outcome(c.Summary))
	}
	return err
}
