package cli

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"spoor/internal/sample"
)

func (e *env) sample() *cobra.Command {
	opts := sample.Options{}
	var size, start string
	var noStory, asJSON bool
	c := &cobra.Command{
		Use:   "sample --out DIR",
		Short: "Make a sample organisation's logs, with an attack in them",
		Long: `Sample writes the CloudTrail logs of a made-up organisation, in the layout of a trail's bucket: accounts, people,
automation, services, errors, and an attack that runs through several accounts. truth.json beside the logs tells what
happened. The same options give the same bytes.

  spoor sample --out ./sample --events 100000
  spoor sample --out ./big --events 10000000 --days 30 --accounts 20 --seed 7
  spoor sample --out ./one --size 5GB --one-file` + "\n" + exitCodesHelp,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if opts.Out == "" {
				return usagef("spoor sample wants --out; for example: spoor sample --out ./sample")
			}
			if size != "" {
				n, err := parseSize(size)
				if err != nil {
					return err
				}
				opts.Bytes, opts.Events = n, 0
			}
			if start != "" {
				t, err := time.Parse(time.DateOnly, start)
				if err != nil {
					return usagef("--start %q: want a day such as 2026-03-02", start)
				}
				opts.Start = t
			}
			opts.Story = !noStory
			began := time.Now()
			truth, err := sample.Generate(c.Context(), opts)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(e.stdout).Encode(truth)
			}
			_, err = fmt.Fprintf(e.stderr, "Wrote %d records in %d files to %s in %s.\n", truth.Records, truth.Files, opts.Out, time.Since(began).Round(10*time.Millisecond))
			return err
		},
	}
	fl := c.Flags()
	fl.StringVar(&opts.Out, "out", "", "`folder` to write into")
	fl.IntVar(&opts.Events, "events", 100_000, "different events")
	fl.StringVar(&size, "size", "", "in place of --events, about so much JSON before compression: 500MB, 5GB")
	fl.Uint64Var(&opts.Seed, "seed", 1, "which organisation")
	fl.StringVar(&start, "start", "", "first `day` (default 2026-03-02)")
	fl.IntVar(&opts.Days, "days", 7, "length of the period")
	fl.IntVar(&opts.Accounts, "accounts", 6, "accounts, 3 to 200")
	fl.BoolVar(&noStory, "no-attack", false, "leave out the attack")
	fl.BoolVar(&opts.TinyFiles, "tiny-files", false, "files of 1 to 5 events")
	fl.BoolVar(&opts.OneFile, "one-file", false, "a single file")
	fl.BoolVar(&opts.Plain, "plain", false, "no compression")
	fl.IntVar(&opts.Workers, "workers", 0, "goroutines (default: one for each processor)")
	fl.BoolVar(&asJSON, "json", false, "print truth.json's content")
	return c
}

// parseSize reads 500MB, 5GB, 1.5GiB or a number of bytes.
func parseSize(s string) (int64, error) {
	units := []struct {
		name string
		size float64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1}}
	for _, u := range units {
		if num, ok := strings.CutSuffix(strings.ToLower(s), strings.ToLower(u.name)); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
			if err != nil || f <= 0 || f*u.size > 1e15 {
				break
			}
			return int64(f * u.size), nil
		}
	}
	return 0, usagef("--size %q: want a size such as 500MB or 5GB", s)
}
