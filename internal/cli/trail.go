package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cttypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/smithy-go"
	"github.com/spf13/cobra"

	"spoor/internal/source/s3"
)

func (e *env) trail() *cobra.Command {
	c := commands("trail", "Make, list and watch trails, of Spoor's service or of AWS",
		e.trailCreate(), e.trailList(), e.trailStatus(), e.trailStart(), e.trailStop(), e.trailDelete())
	c.Long = `These commands call CloudTrail's API as AWS's own clients do: with the credentials, the Region and the endpoint of the
environment or of a profile, so that they work with AWS and with a service of yours alike. Each prints the commands of the AWS
CLI that do the same.

  spoor trail create --best-practice audit --dry-run     what would be done, as a script
  spoor trail create --best-practice audit               bucket, key, trail: all that is good practice
  spoor trail create audit --bucket my-bucket            a trail alone
  spoor trail status audit
  spoor trail list --json` + "\n" + exitCodesHelp
	return c
}

// awsFlags say how the services of AWS are reached: what is not given comes from the environment and the profile.
type awsFlags struct{ profile, region, endpoint string }

func (f *awsFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.profile, "profile", "", "AWS `profile` (default: from the environment)")
	fl.StringVar(&f.region, "region", "", "AWS `Region` (default: from the environment or profile)")
	fl.StringVar(&f.endpoint, "endpoint-url", "", "`URL` of a service that speaks AWS's protocols (default: from the environment or profile, else AWS)")
}

// global are the flags for commands of the AWS CLI.
func (f *awsFlags) global() []string {
	var out []string
	for _, g := range [][2]string{{"--endpoint-url", f.endpoint}, {"--region", f.region}, {"--profile", f.profile}} {
		if g[1] != "" {
			out = append(out, g[0], g[1])
		}
	}
	return out
}

func (f *awsFlags) config(ctx context.Context) (aws.Config, error) {
	cfg, err := s3.Config(ctx, s3.Options{Profile: f.profile, Region: f.region})
	if err == nil && f.endpoint != "" {
		cfg.BaseEndpoint = &f.endpoint
	}
	return cfg, err
}

// trails is a client of CloudTrail.
func (f *awsFlags) trails(ctx context.Context) (*cloudtrail.Client, error) {
	cfg, err := f.config(ctx)
	if err != nil {
		return nil, err
	}
	return cloudtrail.NewFromConfig(cfg, func(o *cloudtrail.Options) {
		if f.endpoint != "" { // before that of the environment for this service
			o.BaseEndpoint = &f.endpoint
		}
	}), nil
}

// refused reports whether the service answered with one of the codes.
func refused(err error, codes ...string) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	for _, c := range codes {
		if api.ErrorCode() == c {
			return true
		}
	}
	return false
}

// lacking is the reason why an endpoint has not what was asked for, or "".
func lacking(err error) string {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return ""
	}
	var response *awshttp.ResponseError
	switch {
	case refused(err, "NotImplemented", "NotImplementedException", "UnknownOperationException", "UnknownOperation", "UnsupportedOperation", "UnsupportedOperationException",
		"InvalidAction", "MethodNotAllowed", "CloudWatchLogsDeliveryUnavailableException"):
	case errors.As(err, &response) && response.HTTPStatusCode() == http.StatusNotImplemented:
	default:
		return ""
	}
	return "the endpoint answers " + shown(api.ErrorCode()) + reasonText(api.ErrorMessage())
}

func reasonText(message string) string {
	if message == "" {
		return ""
	}
	return ": " + shown(message)
}

// trailError marks what the caller can put right, and leaves out what is of no use to them.
func trailError(err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return err
	}
	told := fmt.Errorf("%s%s", api.ErrorCode(), reasonText(api.ErrorMessage()))
	if refused(err, "TrailNotFoundException", "InvalidTrailNameException", "CloudTrailARNInvalidException", "InvalidHomeRegionException", "S3BucketDoesNotExistException") {
		return usageError{told}
	}
	return told
}

// trailNameArg wants the name of a trail.
func trailNameArg(command string) cobra.PositionalArgs {
	return oneArg("the name or the ARN of the trail", "spoor trail "+command+" audit")
}

// trailRow is a trail in a list.
type trailRow struct {
	Name         string `json:"name"`
	ARN          string `json:"arn"`
	HomeRegion   string `json:"homeRegion"`
	MultiRegion  bool   `json:"multiRegion"`
	Organization bool   `json:"organization"`
	Validation   bool   `json:"validation"`
	Bucket       string `json:"bucket"`
	Prefix       string `json:"prefix,omitempty"`
	KMSKey       string `json:"kmsKey,omitempty"`
	Topic        string `json:"topic,omitempty"`
	LogGroup     string `json:"logGroup,omitempty"`
}

func rowOf(t cttypes.Trail) trailRow {
	return trailRow{aws.ToString(t.Name), aws.ToString(t.TrailARN), aws.ToString(t.HomeRegion), aws.ToBool(t.IsMultiRegionTrail), aws.ToBool(t.IsOrganizationTrail),
		aws.ToBool(t.LogFileValidationEnabled), aws.ToString(t.S3BucketName), aws.ToString(t.S3KeyPrefix), aws.ToString(t.KmsKeyId), aws.ToString(t.SnsTopicARN), aws.ToString(t.CloudWatchLogsLogGroupArn)}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (e *env) trailList() *cobra.Command {
	var f awsFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the trails that apply to a Region",
		Long: `List prints the trails that apply to the Region: its own, and those of other Regions that take events of all.

  spoor trail list
  spoor trail list --profile audit --region eu-west-1
  spoor trail list --json | jq -r '.[] | select(.validation | not) | .arn'` + "\n" + exitCodesHelp,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := f.trails(c.Context())
			if err != nil {
				return err
			}
			out, err := client.DescribeTrails(c.Context(), &cloudtrail.DescribeTrailsInput{})
			if err != nil {
				return trailError(err)
			}
			rows := make([]trailRow, len(out.TrailList))
			for i, t := range out.TrailList {
				rows[i] = rowOf(t)
			}
			if asJSON {
				return e.printJSON(rows)
			}
			if len(rows) == 0 {
				_, err := fmt.Fprintln(e.stdout, "There are no trails.")
				return err
			}
			return table(e.stdout, "NAME\tHOME\tALL REGIONS\tORGANISATION\tVALIDATION\tENCRYPTION\tBUCKET", func(w io.Writer) {
				for _, r := range rows {
					encryption := "S3"
					if r.KMSKey != "" {
						encryption = "KMS"
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", shown(r.Name), shown(r.HomeRegion), yesNo(r.MultiRegion), yesNo(r.Organization), yesNo(r.Validation), encryption,
						shown(strings.TrimSuffix(r.Bucket+"/"+r.Prefix, "/")))
				}
			})
		},
	}
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}

// trailStatus is how a trail is doing. Times that are zero are never.
type trailStatus struct {
	trailRow
	Logging             bool       `json:"logging"`
	Started             *time.Time `json:"started,omitempty"`
	Stopped             *time.Time `json:"stopped,omitempty"`
	LatestDelivery      *time.Time `json:"latestDelivery,omitempty"`
	LatestDeliveryError string     `json:"latestDeliveryError,omitempty"`
	LatestDigest        *time.Time `json:"latestDigest,omitempty"`
	LatestDigestError   string     `json:"latestDigestError,omitempty"`
	LatestNotice        *time.Time `json:"latestNotice,omitempty"`
	LatestNoticeError   string     `json:"latestNoticeError,omitempty"`
	LatestLogs          *time.Time `json:"latestLogs,omitempty"`
	LatestLogsError     string     `json:"latestLogsError,omitempty"`
}

// well reports whether the trail logs, and its last deliveries were good.
func (s *trailStatus) well() bool {
	return s.Logging && s.LatestDeliveryError == "" && s.LatestDigestError == "" && s.LatestNoticeError == "" && s.LatestLogsError == ""
}

func (e *env) trailStatus() *cobra.Command {
	var f awsFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "status NAME",
		Short: "Whether a trail logs, and how its deliveries are doing",
		Long: `Status prints a trail and how it does in the Region. It ends with 1 when the trail does not log, or when the last delivery of log
files, digests or notices failed.

  spoor trail status audit
  spoor trail status arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit --region us-east-1
  spoor trail status audit --json | jq -r .latestDelivery` + "\n" + exitCodesHelp,
		Args: trailNameArg("status"),
		RunE: func(c *cobra.Command, args []string) error {
			client, err := f.trails(c.Context())
			if err != nil {
				return err
			}
			trail, err := client.GetTrail(c.Context(), &cloudtrail.GetTrailInput{Name: &args[0]})
			if err != nil {
				return trailError(err)
			}
			out, err := client.GetTrailStatus(c.Context(), &cloudtrail.GetTrailStatusInput{Name: trail.Trail.TrailARN})
			if err != nil {
				return trailError(err)
			}
			s := trailStatus{rowOf(*trail.Trail), aws.ToBool(out.IsLogging), out.StartLoggingTime, out.StopLoggingTime, out.LatestDeliveryTime, aws.ToString(out.LatestDeliveryError),
				out.LatestDigestDeliveryTime, aws.ToString(out.LatestDigestDeliveryError), out.LatestNotificationTime, aws.ToString(out.LatestNotificationError),
				out.LatestCloudWatchLogsDeliveryTime, aws.ToString(out.LatestCloudWatchLogsDeliveryError)}
			if !s.well() {
				e.exit = ExitFindings
			}
			if asJSON {
				return e.printJSON(s)
			}
			return s.print(e.stdout)
		},
	}
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}

func (s *trailStatus) print(out io.Writer) error {
	at := func(t *time.Time, failure string) string {
		text := "never"
		if t != nil && !t.IsZero() {
			text = timeText(*t)
		}
		if failure != "" {
			text += "  last error: " + shown(failure)
		}
		return text
	}
	rows := [][2]string{{"trail", shown(s.ARN)}, {"logs", yesNo(s.Logging)}}
	if s.Started != nil {
		rows = append(rows, [2]string{"started", at(s.Started, "")})
	}
	if s.Stopped != nil {
		rows = append(rows, [2]string{"stopped", at(s.Stopped, "")})
	}
	rows = append(rows, [2]string{"bucket", shown(strings.TrimSuffix(s.Bucket+"/"+s.Prefix, "/"))}, [2]string{"encryption key", dash(shown(s.KMSKey))},
		[2]string{"log files", at(s.LatestDelivery, s.LatestDeliveryError)})
	if s.Validation {
		rows = append(rows, [2]string{"digests", at(s.LatestDigest, s.LatestDigestError)})
	} else {
		rows = append(rows, [2]string{"digests", "not written: validation is off"})
	}
	if s.Topic != "" {
		rows = append(rows, [2]string{"notices", at(s.LatestNotice, s.LatestNoticeError)})
	}
	if s.LogGroup != "" {
		rows = append(rows, [2]string{"log group", at(s.LatestLogs, s.LatestLogsError)})
	}
	for _, r := range rows {
		if _, err := fmt.Fprintf(out, "%-16s%s\n", r[0], r[1]); err != nil {
			return err
		}
	}
	return nil
}

// trailCall is a command that is one call on one trail.
func (e *env) trailCall(use, short, long, done string, call func(*cloudtrail.Client, string) awsCall) *cobra.Command {
	var f awsFlags
	var dryRun bool
	c := &cobra.Command{
		Use: use + " NAME", Short: short, Long: long + "\n" + exitCodesHelp,
		Args: trailNameArg(use),
		RunE: func(c *cobra.Command, args []string) error {
			client, err := f.trails(c.Context())
			if err != nil {
				return err
			}
			x := call(client, args[0])
			line, err := x.command(f.global(), false)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintln(e.stdout, line); err != nil || dryRun {
				return err
			}
			if err := x.send(c.Context()); err != nil {
				return trailError(err)
			}
			_, err = fmt.Fprintf(e.stdout, "# "+done+"\n", shown(args[0]))
			return err
		},
	}
	f.add(c)
	c.Flags().BoolVar(&dryRun, "dry-run", false, "print the command, and do nothing")
	return c
}

func (e *env) trailStart() *cobra.Command {
	return e.trailCall("start", "Let a trail log", `Start lets a trail log, from now on.

  spoor trail start audit`, "%s logs", func(c *cloudtrail.Client, name string) awsCall {
		return callOf("cloudtrail", c.StartLogging, &cloudtrail.StartLoggingInput{Name: &name}, nil)
	})
}

func (e *env) trailStop() *cobra.Command {
	return e.trailCall("stop", "Let a trail log no more", `Stop lets a trail log no more. Its files stay, and a last digest ends the chain.

  spoor trail stop audit`, "%s logs no more", func(c *cloudtrail.Client, name string) awsCall {
		return callOf("cloudtrail", c.StopLogging, &cloudtrail.StopLoggingInput{Name: &name}, nil)
	})
}

func (e *env) trailDelete() *cobra.Command {
	return e.trailCall("delete", "Delete a trail; its files stay", `Delete deletes a trail. Its bucket, key and files stay as they are.

  spoor trail delete audit
  spoor trail delete audit --dry-run`, "%s is deleted; its files stay where they are", func(c *cloudtrail.Client, name string) awsCall {
		return callOf("cloudtrail", c.DeleteTrail, &cloudtrail.DeleteTrailInput{Name: &name}, nil)
	})
}
