package cli

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"spoor/internal/event"
	"spoor/internal/intake"
	"spoor/internal/source"
	"spoor/internal/source/archive"
	"spoor/internal/source/open"
	"spoor/internal/source/s3"
)

// inputFlags are the flags of every command that reads logs.
type inputFlags struct {
	since, until, lag string
	accounts, regions []string
	workers           int
	rejects           string
	quiet             bool
	keepDuplicates    bool
	tempDir           string

	maxRecord, maxRatio        int64
	maxExpanded                int64
	maxMembers, maxMemberBytes int64

	s3 s3.Options
}

func (f *inputFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.since, "since", "", "leave out events before this `time`: 2026-01-10, 2026-01-10T09:00:00Z, or 36h or 7d ago")
	fl.StringVar(&f.until, "until", "", "leave out events at or after this `time`")
	fl.StringVar(&f.lag, "delivery-lag", "24h", "with --until, how much later than its events a file may have been delivered")
	fl.StringSliceVar(&f.accounts, "account", nil, "only these `accounts`")
	fl.StringSliceVar(&f.regions, "region", nil, "only these `Regions`")
	fl.IntVar(&f.workers, "workers", 0, "goroutines that decode (default: one for each processor)")
	fl.StringVar(&f.rejects, "rejects", "", "keep records that cannot be read in this `file`, as JSON Lines")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "no progress")
	fl.BoolVar(&f.keepDuplicates, "keep-duplicates", false, "count an event as often as it is read")
	fl.StringVar(&f.tempDir, "temp-dir", "", "`folder` for what does not fit into memory (default: the system's)")
	fl.Int64Var(&f.maxRecord, "max-record-bytes", 32<<20, "largest record, in bytes")
	fl.Int64Var(&f.maxExpanded, "max-expanded-bytes", 0, "most bytes that one file may decompress to (default: any, within --max-ratio)")
	fl.Int64Var(&f.maxRatio, "max-ratio", 400, "most that a file of over 128 MiB may have been compressed, against decompression bombs")
	fl.Int64Var(&f.maxMembers, "max-archive-members", 0, "most members of one archive (default 10000000)")
	fl.Int64Var(&f.maxMemberBytes, "max-archive-bytes", 0, "most bytes that the members of one archive may hold (default: 4 TiB)")
	fl.StringVar(&f.s3.Profile, "profile", "", "AWS `profile` for s3:// inputs")
	fl.StringVar(&f.s3.Region, "aws-region", "", "AWS `Region` of the bucket (default: from the environment or profile)")
	fl.StringVar(&f.s3.EndpointURL, "endpoint-url", "", "`URL` of an S3-compatible store")
	fl.StringVar(&f.s3.RoleARN, "role-arn", "", "`ARN` of a role to assume for reading")
	fl.StringVar(&f.s3.ExternalID, "external-id", "", "external `id` for that role")
	fl.IntVar(&f.s3.Parallel, "s3-parallel", 0, "objects read from a bucket at once (default 16)")
	fl.BoolVar(&f.s3.Unordered, "s3-unordered", false, "accept listings that are out of order, as directory buckets give them")
	fl.BoolVar(&f.s3.RequesterPays, "request-payer", false, "pay for reading a requester-pays bucket")
	fl.BoolVar(&f.s3.Anonymous, "no-sign-request", false, "read a public bucket without credentials")
}

// memoryLimit is where the garbage collector begins to work harder, and up to which it is lazy. Reading needs less,
// whatever the input.
const memoryLimit = 400 << 20

// limitMemory tells the garbage collector, unless the caller's environment does.
func limitMemory() { limitMemoryTo(memoryLimit) }

func limitMemoryTo(limit int64) {
	if os.Getenv("GOMEMLIMIT") == "" && os.Getenv("GOGC") == "" {
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(400)
	}
}

// intake makes the options of a run over args. done closes what was opened.
func (f *inputFlags) intake(ctx context.Context, e *env, args []string) (opts intake.Options, done func() error, err error) {
	limitMemory()
	now := time.Now()
	opts = intake.Options{Named: args, Workers: f.workers, Progress: new(intake.Progress)}
	opts.Limits = event.Limits{MaxRecord: int(min(f.maxRecord, event.MaxRecordBytes)), MaxExpanded: f.maxExpanded, MaxRatio: f.maxRatio}
	opts.Select = source.Selection{Accounts: f.accounts, Regions: f.regions}
	if lag, ok := span(f.lag); ok {
		opts.Select.Lag = lag
	} else {
		return opts, nil, usagef("--delivery-lag %q: want a span such as 24h or 30d", f.lag)
	}
	if opts.Select.Since, err = parseWhen("--since", f.since, now); err != nil {
		return opts, nil, err
	}
	if opts.Select.Until, err = parseWhen("--until", f.until, now); err != nil {
		return opts, nil, err
	}
	if !opts.Select.Until.IsZero() && !opts.Select.Since.Before(opts.Select.Until) {
		return opts, nil, usagef("--since %s is not before --until %s", f.since, f.until)
	}
	for _, arg := range args {
		src, err := f.open(ctx, e, arg)
		if err != nil {
			return opts, nil, err
		}
		opts.Sources = append(opts.Sources, src)
	}
	done = func() error { return nil }
	if f.rejects != "" {
		file, err := os.Create(f.rejects)
		if err != nil {
			return opts, nil, fmt.Errorf("keep rejected records aside: %w", err)
		}
		opts.Rejects = intake.NewRejectWriter(file)
		done = file.Close
	}
	return opts, done, nil
}

// open gives the source that arg names.
func (f *inputFlags) open(ctx context.Context, e *env, arg string) (source.Source, error) {
	src, err := open.Resolve(ctx, arg, open.Options{S3: f.s3, Stdin: e.stdin,
		Limits: archive.Limits{Members: f.maxMembers, Expanded: f.maxMemberBytes}})
	if err != nil {
		return nil, usageError{err}
	}
	return src, nil
}

// parseWhen reads a point in time, or a span before now.
func parseWhen(flag, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, ok := span(s); ok {
		return now.Add(-d), nil
	}
	if t, ok := event.ParseTime(s); ok {
		return time.Unix(0, t).UTC(), nil
	}
	return time.Time{}, usagef("%s: %q is neither a time (2026-01-10, 2026-01-10T09:00:00Z) nor a span (36h, 7d)", flag, s)
}

// span reads 90s, 15m, 36h, 7d or 2w.
func span(s string) (time.Duration, bool) {
	if n := len(s) - 1; n > 0 && (s[n] == 'd' || s[n] == 'w') {
		var k int
		if _, err := fmt.Sscanf(s[:n]+".", "%d.", &k); err != nil || k < 0 || k > 36500 || fmt.Sprint(k) != s[:n] {
			return 0, false
		}
		if s[n] == 'w' {
			k *= 7
		}
		return time.Duration(k) * 24 * time.Hour, true
	}
	d, err := time.ParseDuration(s)
	return d, err == nil && d >= 0
}

// progress shows the progress of a run on a terminal.
func (f *inputFlags) progress(e *env, p *intake.Progress) (stop func()) {
	if width, _, ok := terminal(e.stderr); ok && !f.quiet {
		return showProgress(e.stderr, width, p)
	}
	return func() {}
}
