package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"spoor/internal/lineage"
	"spoor/internal/store/duckdb"
)

func (e *env) lineage() *cobra.Command {
	f := queryFlags{format: "table", memory: "1GiB", timeout: "10m"}
	var opts lineage.Options
	var asJSON bool
	c := &cobra.Command{
		Use:   "lineage ID|KEY|ARN|NAME [PATH…]",
		Short: "Tell who minted an access key or session, and what it did",
		Long: `Lineage tells where a credential comes from: which call minted it, by whom, through which chain of roles, back to the
first identity that is known. Then what was done with it, and which sessions it minted in turn. Asked for can be an access key
id, an event id, an ARN of a session, role or user, a session name, or the name of an actor.

  spoor lineage ASIAIOSFODNN7EXAMPLE ./logs
  spoor lineage 4b8f9c7a-0000-4000-8000-000000000002 --store ./store
  spoor lineage arn:aws:iam::111122223333:role/Admin s3://bucket/prefix --since 7d
  spoor lineage ana@example.com --store ./store --json

A link is proven when the answer of a call names the key, or matched when exactly one call fits; everything else is shown as
unknown, with the reason. With --since and its like, calls outside are not seen.` + "\n" +
			strings.Replace(exitCodesHelp, "findings at or above --fail-on (or: no match, a failed test)", "nothing of it in the data", 1),
		Args: minArgs(1, "what to look for, and where", "spoor lineage ASIAIOSFODNN7EXAMPLE ./logs"),
		RunE: func(c *cobra.Command, args []string) error {
			asked, inputs := args[0], args[1:]
			switch {
			case asked == "":
				return usagef("nothing to look for")
			case f.store != "" && len(inputs) > 0:
				return usagef("either --store or paths to read, not both: %q", inputs)
			case f.store == "" && len(inputs) == 0:
				return usagef("nowhere to look: give a file, folder, archive or bucket to read, or --store; for example: spoor lineage %s ./logs", asked)
			case f.store == "" && f.hold != "":
				return usagef("--hold wants --store")
			case opts.Sessions < 0 || opts.Depth < 0:
				return usagef("--limit and --depth cannot be negative")
			}
			engineOpts, err := f.options()
			if err != nil {
				return err
			}
			f.run = func(ctx context.Context, engine *duckdb.Engine) error {
				r, err := lineage.Trace(ctx, engine, asked, opts)
				if err != nil {
					return err
				}
				return e.showLineage(r, asJSON)
			}
			if f.store != "" {
				return e.queryStore(c.Context(), &f, engineOpts, nil)
			}
			return e.queryPaths(c.Context(), &f, engineOpts, nil, inputs)
		},
	}
	f.in.add(c)
	fl := c.Flags()
	fl.StringVar(&f.store, "store", "", "ask the store in this `folder`")
	fl.StringVar(&f.hold, "hold", "", "ask the store as it was when this hold was `named`")
	fl.StringVar(&f.timeout, "timeout", "10m", "end a question that takes longer; 0: never")
	fl.StringVar(&f.memory, "memory", "1GiB", "most memory that questions may take; what does not fit goes to --temp-dir")
	fl.IntVar(&opts.Sessions, "limit", 60, "most credentials to show")
	fl.IntVar(&opts.Depth, "depth", 12, "most links to follow, up and down")
	fl.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (e *env) showLineage(r *lineage.Report, asJSON bool) error {
	if len(r.Roots) == 0 {
		e.exit = max(e.exit, ExitFindings)
	}
	if asJSON {
		return e.printJSON(r)
	}
	width, _, _ := terminal(e.stdout)
	return r.Text(e.stdout, width)
}
