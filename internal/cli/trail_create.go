package cli

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// trailOptions are what a trail is to be.
type trailOptions struct {
	aws          awsFlags
	name         string
	bestPractice bool

	bucket, prefix    string
	kmsKey, topic     string
	multiRegion       bool
	validation        bool
	organization      bool
	start             bool
	dataEvents        []string // resource types
	lock              string   // governance, compliance or none
	retain, expire    int      // days; expire 0 for never
	accessBucket      string   // "-" for none
	logGroup          string   // "-" for none
	readers           []string // ARNs
	given             func(flag string) bool
	dryRun, asJSON    bool
	dataEventsAsNamed []string
}

// dataTypes are short names of resource types.
var dataTypes = map[string]string{"s3": s3Objects, "lambda": "AWS::Lambda::Function", "dynamodb": "AWS::DynamoDB::Table", "sns": "AWS::SNS::Topic", "sqs": "AWS::SQS::Queue"}

const s3Objects = "AWS::S3::Object"

var (
	trailNameForm = regexp.MustCompile(`^[A-Za-z0-9](?:[._-]?[A-Za-z0-9])+$`)
	dataTypeForm  = regexp.MustCompile(`^AWS::[A-Za-z0-9]+::[A-Za-z0-9]+$`)
	readerForm    = regexp.MustCompile(`^arn:[a-z-]+:(iam|sts)::[0-9]{12}:(root|(user|role|assumed-role)/[\w+=,.@/-]+)$`)
)

func (o *trailOptions) check() error {
	switch {
	case len(o.name) < 3 || len(o.name) > 128 || !trailNameForm.MatchString(o.name):
		return usagef("%q is no name of a trail: 3 to 128 letters, digits, and single . _ - between them", o.name)
	case !o.bestPractice && o.bucket == "":
		return usagef("spoor trail create wants --bucket, or --best-practice, which makes one; for example: spoor trail create --best-practice %s", o.name)
	case o.retain < 1 || o.retain > 36500:
		return usagef("--retain %d: want 1 to 36500 days", o.retain)
	case o.expire != 0 && (o.expire < o.retain || o.expire > 36500):
		return usagef("--expire %d: want at least as many days as --retain, %d, or 0 for never", o.expire, o.retain)
	case !slices.Contains([]string{"governance", "compliance", "none"}, o.lock):
		return usagef("--lock %q: want governance, compliance or none", o.lock)
	}
	if !o.bestPractice {
		for _, flag := range []string{"lock", "retain", "expire", "access-bucket", "log-group", "reader"} {
			if o.given(flag) {
				return usagef("--%s goes with --best-practice", flag)
			}
		}
	} else {
		for _, flag := range []string{"multi-region", "validation", "start"} {
			if o.given(flag) {
				return usagef("--best-practice means --multi-region, --validation and --start; --%s goes without it", flag)
			}
		}
	}
	for _, name := range o.dataEventsAsNamed {
		t, ok := dataTypes[strings.ToLower(name)]
		if !ok {
			t = name
		}
		if !dataTypeForm.MatchString(t) {
			return usagef("--data-events %q: want s3, lambda, dynamodb, sns, sqs or a type such as AWS::S3::Object", name)
		}
		if !slices.Contains(o.dataEvents, t) {
			o.dataEvents = append(o.dataEvents, t)
		}
	}
	for _, r := range o.readers {
		if !readerForm.MatchString(r) {
			return usagef("--reader %q: want the ARN of a user or a role", r)
		}
	}
	if o.bestPractice {
		o.multiRegion, o.validation, o.start = true, true, true
	}
	return nil
}

func (e *env) trailCreate() *cobra.Command {
	var o trailOptions
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a trail, with --best-practice everything around it",
		Long: `Create makes a trail that logs to a bucket that is there (--bucket).

With --best-practice it makes all of it: an encryption key that only the trail encrypts with, a bucket with object lock,
versioning, no public access and a policy for this trail and TLS alone, a second bucket for its access log, the trail over all
Regions with validation and encryption, and a log group where the endpoint has them. It looks at what is there and changes only
what differs, so that after a failure, or months later, the same command finishes or repairs. What is stricter stays. At the end
everything is read back.

What it prints is a script: each step as a comment that says ok, changed, would change, skipped or failed, with the commands of
the AWS CLI that do the same.

  spoor trail create --best-practice audit --dry-run
  spoor trail create --best-practice audit --data-events s3,lambda --retain 730 --lock compliance
  spoor trail create --best-practice audit --endpoint-url http://127.0.0.1:4599 --profile ana
  spoor trail create audit --bucket my-bucket --multi-region --validation

Exit status:
  0  everything is as it should be; what the endpoint does not have and was skipped is named
  1  with --dry-run: something would change
  2  wrong usage
  3  what was read back is not all as it should be, or a protection of the bucket was skipped
  4  a step failed; the same command goes on from there`,
		Args: oneArg("the name of the trail", "spoor trail create --best-practice audit"),
		RunE: func(c *cobra.Command, args []string) error {
			o.name, o.given = args[0], c.Flags().Changed
			if err := o.check(); err != nil {
				return err
			}
			cfg, err := o.aws.config(c.Context())
			if err != nil {
				return err
			}
			p, err := newTrailPlan(c.Context(), cfg, &o)
			if err != nil {
				return err
			}
			return e.runPlan(c.Context(), p)
		},
	}
	o.aws.add(c)
	fl := c.Flags()
	fl.BoolVar(&o.bestPractice, "best-practice", false, "make the key, the buckets and all that is good practice, too")
	fl.StringVar(&o.bucket, "bucket", "", "`bucket` of the log files (with --best-practice: the trail's, else NAME-ACCOUNT-REGION)")
	fl.StringVar(&o.prefix, "prefix", "", "`prefix` of their keys")
	fl.StringVar(&o.kmsKey, "kms-key-id", "", "`key` that encrypts them (with --best-practice: the trail's, else one of the alias trail/NAME)")
	fl.StringVar(&o.topic, "sns-topic-name", "", "`topic` that is told of them")
	fl.BoolVar(&o.multiRegion, "multi-region", false, "events of all Regions")
	fl.BoolVar(&o.validation, "validation", false, "write digests, by which files are validated")
	fl.BoolVar(&o.organization, "organization", false, "events of all accounts of the organisation")
	fl.BoolVar(&o.start, "start", true, "let it log")
	fl.StringSliceVar(&o.dataEventsAsNamed, "data-events", nil, "data events beside management events, of these `types`: s3, lambda, dynamodb, sns, sqs, or AWS::…::…")
	fl.StringVar(&o.lock, "lock", "governance", "`mode` of the object lock: governance, compliance or none")
	fl.IntVar(&o.retain, "retain", 365, "`days` for which the lock keeps files from being deleted")
	fl.IntVar(&o.expire, "expire", 0, "delete files after so many `days` (default: never)")
	fl.StringVar(&o.accessBucket, "access-bucket", "", "`bucket` of the access log (default: BUCKET-access; - for no access log)")
	fl.StringVar(&o.logGroup, "log-group", "", "log `group` that events go to, too (default: CloudTrail/NAME; - for none)")
	fl.StringArrayVar(&o.readers, "reader", nil, "`ARN` of who may decrypt (default: whom the policies of the account let)")
	fl.BoolVar(&o.dryRun, "dry-run", false, "print what would be done, and change nothing")
	fl.BoolVar(&o.asJSON, "json", false, "as JSON")
	return c
}

// The outcomes of a step.
const (
	stepOK      = "ok"
	stepChanged = "changed"
	stepWould   = "would change"
	stepSkipped = "skipped"
	stepFailed  = "failed"
)

// trailStep is a part of what there is to be.
type trailStep struct {
	name string
	// essential steps that are skipped make the result incomplete. Others are of use where there is what they need.
	essential bool
	// look gives the calls that are left to do, none when all is as it should be. Nothing is changed by looking.
	look func(context.Context) ([]awsCall, error)
}

// skipError is why a step is not for this endpoint.
type skipError string

func (s skipError) Error() string { return string(s) }

// stepResult is how a step went.
type stepResult struct {
	Step     string   `json:"step"`
	Status   string   `json:"status"`
	Reason   string   `json:"reason,omitempty"`
	Commands []string `json:"commands,omitempty"`
}

// planResult is how a plan went.
type planResult struct {
	Trail    string       `json:"trail"`
	Bucket   string       `json:"bucket"`
	Key      string       `json:"key,omitempty"`
	DryRun   bool         `json:"dryRun,omitempty"`
	Steps    []stepResult `json:"steps"`
	Verified bool         `json:"verified"`          // everything that was not skipped was read back as it should be
	Differs  []string     `json:"differs,omitempty"` // steps that were not
}

// skipped is the reason why a step that failed with err is one to skip, or "".
func skipped(err error) string {
	var skip skipError
	if errors.As(err, &skip) {
		return string(skip)
	}
	return lacking(err)
}

// do looks at a step and does what is left to do.
func (p *trailPlan) do(ctx context.Context, s trailStep) (stepResult, error) {
	r := stepResult{Step: s.name, Status: stepOK}
	calls, err := s.look(ctx)
	for _, c := range calls {
		line, textErr := c.command(p.o.aws.global(), p.o.dryRun)
		if textErr != nil {
			return r, textErr
		}
		r.Commands = append(r.Commands, line)
	}
	switch {
	case err != nil:
	case len(calls) == 0:
		return r, nil
	case p.o.dryRun:
		r.Status = stepWould
		return r, nil
	default:
		for _, c := range calls {
			if err = p.send(ctx, c); err != nil {
				err = fmt.Errorf("%s: %w", c.operation, err)
				break
			}
			p.changed = true
		}
		if err == nil {
			r.Status = stepChanged
			return r, nil
		}
	}
	if reason := skipped(err); reason != "" {
		r.Status, r.Reason, r.Commands = stepSkipped, reason, nil
		return r, nil
	}
	r.Status, r.Reason = stepFailed, shown(trailError(err).Error())
	return r, err
}

// send sends a call. What was changed a moment ago is not known at once to all of a large service: refusals for the want of
// it are tried again for a while.
func (p *trailPlan) send(ctx context.Context, c awsCall) error {
	for wait := time.Second; ; wait *= 2 {
		err := c.send(ctx)
		if !p.changed || wait > 8*time.Second || !refused(err, "InsufficientS3BucketPolicyException", "InsufficientEncryptionPolicyException", "S3BucketDoesNotExistException", "KmsKeyNotFoundException",
			"InvalidCloudWatchLogsRoleArnException", "InvalidCloudWatchLogsLogGroupArnException", "NoSuchBucket", "OperationAborted") {
			return err
		}
		if stop := p.pause(ctx, wait); stop != nil {
			return errors.Join(err, stop)
		}
	}
}

func pauseFor(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// runPlan does the steps, reads everything back, and prints how it went.
func (e *env) runPlan(ctx context.Context, p *trailPlan) error {
	res := planResult{Trail: p.trailARN, Bucket: p.bucket, DryRun: p.o.dryRun}
	say := func(format string, a ...any) error {
		if p.o.asJSON {
			return nil
		}
		_, err := fmt.Fprintf(e.stdout, format, a...)
		return err
	}
	if err := say("# trail %s, bucket %s\n", shown(p.trailARN), shown(p.bucket)); err != nil {
		return err
	}
	would, lost := false, false
	var failure error
	kept := p.steps[:0:0]
	for _, s := range p.steps {
		r, err := p.do(ctx, s)
		if err != nil && r.Status != stepFailed {
			return err
		}
		res.Steps = append(res.Steps, r)
		if err := r.print(say); err != nil {
			return err
		}
		if err != nil {
			failure = fmt.Errorf("%s: %s; what was done so far is there, and the same command goes on", s.name, r.Reason)
			break
		}
		would = would || r.Status == stepWould
		if r.Status == stepSkipped {
			lost = lost || s.essential
			continue
		}
		kept = append(kept, s)
	}
	if p.keyARN != madeKey {
		res.Key = p.keyARN
	}
	switch {
	case failure != nil:
	case p.o.dryRun:
		if would {
			e.exit = ExitFindings
		}
	default:
		for _, s := range kept {
			calls, err := s.look(ctx)
			switch {
			case err != nil:
				res.Differs = append(res.Differs, s.name+": "+shown(trailError(err).Error()))
			case len(calls) > 0:
				res.Differs = append(res.Differs, s.name)
			}
		}
		res.Verified = len(res.Differs) == 0
		if !res.Verified || lost {
			e.exit = ExitIncomplete
		}
		if err := p.sayVerified(say, &res, len(kept)); err != nil {
			return err
		}
	}
	if p.o.asJSON {
		if err := e.printJSON(res); err != nil {
			return err
		}
	}
	return failure
}

func (r *stepResult) print(say func(string, ...any) error) error {
	text := fmt.Sprintf("# %-13s %s", r.Status, r.Step)
	if r.Reason != "" {
		text += " (" + r.Reason + ")"
	}
	if err := say("%s\n", text); err != nil {
		return err
	}
	for _, c := range r.Commands {
		if r.Status == stepFailed {
			c = "# " + c
		}
		if err := say("%s\n", c); err != nil {
			return err
		}
	}
	return nil
}

func (p *trailPlan) sayVerified(say func(string, ...any) error, res *planResult, steps int) error {
	for _, d := range res.Differs {
		if err := say("# read back, and it differs: %s\n", d); err != nil {
			return err
		}
	}
	if !res.Verified {
		return nil
	}
	left := ""
	if n := len(res.Steps) - steps; n > 0 {
		left = fmt.Sprintf(", %d skipped", n)
	}
	return say("# read back: %d steps are as they should be%s\n", steps, left)
}
