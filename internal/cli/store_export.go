package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"spoor/internal/safetext"
	"spoor/internal/store"
)

func (e *env) storeExport() *cobra.Command {
	var opts store.ExportOptions
	var since, until, format, out string
	var asJSON bool
	c := &cobra.Command{
		Use:   "export DIR --out FOLDER",
		Short: "Write the records out again, as they came",
		Long: `Export writes the records of a store to gzip-compressed log files in the layout of a trail's bucket, byte for byte as they
arrived, or as JSON Lines to a file or to stdout. Reading the result into another store gives the same events.

  spoor store export ./store --out ./logs
  spoor store export ./store --since 2026-03-01 --until 2026-03-02 --account 111122223333 --format jsonl | jq .eventName` + "\n" + exitCodesHelp,
		Args: storeArg,
		RunE: func(c *cobra.Command, args []string) (err error) {
			ctx := c.Context()
			now := time.Now()
			if opts.Since, err = parseWhen("--since", since, now); err != nil {
				return err
			}
			if opts.Until, err = parseWhen("--until", until, now); err != nil {
				return err
			}
			switch format {
			case "logs":
				if out == "" || out == "-" {
					return usagef("spoor store export wants --out, the folder for log files, or --format jsonl; for example: spoor store export ./store --out ./logs")
				}
				opts.Dir = out
			case "jsonl":
			default:
				return usagef("--format %q: want logs or jsonl", format)
			}
			limitMemory()
			return withStore(ctx, args[0], store.Options{ReadOnly: true}, func(s *store.Store) error {
				var res *store.ExportResult
				if format == "logs" {
					res, err = s.Export(ctx, opts)
				} else {
					err = e.write(out, func(w io.Writer) (err error) {
						opts.Lines = w
						res, err = s.Export(ctx, opts)
						return err
					})
				}
				if err != nil {
					return err
				}
				if len(res.Damaged) > 0 {
					e.exit = ExitIncomplete
				}
				to := e.stdout
				if opts.Dir == "" && (out == "" || out == "-") { // stdout is taken
					to = e.stderr
				}
				if asJSON {
					enc := json.NewEncoder(to)
					enc.SetIndent("", "  ")
					return enc.Encode(res)
				}
				var b strings.Builder
				fmt.Fprintf(&b, "Exported %s events", group(res.Events))
				if res.Files > 0 {
					fmt.Fprintf(&b, " in %s files to %s", group(int64(res.Files)), safetext.Middle(out, 80))
				}
				b.WriteString(".\n")
				showDamage(&b, res.Damaged)
				_, err = io.WriteString(to, b.String())
				return err
			})
		},
	}
	fl := c.Flags()
	fl.StringVar(&out, "out", "", "`folder` for log files, or file for JSON Lines")
	fl.StringVar(&format, "format", "logs", "logs or jsonl")
	fl.StringVar(&since, "since", "", "only events at or after this `time`")
	fl.StringVar(&until, "until", "", "only events before this `time`")
	fl.StringSliceVar(&opts.Accounts, "account", nil, "only these `accounts`")
	fl.StringSliceVar(&opts.Regions, "region", nil, "only these `Regions`")
	fl.StringVar(&opts.Hold, "hold", "", "the store as it was when the hold of this `name` was placed")
	fl.BoolVar(&asJSON, "json", false, "print the result as JSON")
	return c
}
