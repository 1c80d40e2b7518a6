package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"spoor/internal/store"
)

func (e *env) store() *cobra.Command {
	c := &cobra.Command{
		Use:   "store",
		Short: "Keep events for years, in a folder",
		Long: `A store is a folder with events of years: compressed, searchable, deduplicated, with a ledger of everything that was
read into it. It is an Apache Iceberg table of Parquet files, which other engines can read too.

  spoor store ingest ./logs --into ./store            read what is new
  spoor store ingest s3://trail-bucket/AWSLogs --into ./store
  spoor store status ./store                          what is in it
  spoor store verify ./store                          is all of it still there, and is it whole
  spoor store compact ./store                         fewer, larger files
  spoor store expire ./store --data 90d               let go of what is too old
  spoor store hold ./store --name case-17             nothing is let go of
  spoor store export ./store --out ./logs             the records as they came` + "\n" + exitCodesHelp,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q; try: spoor store --help", args[0])
			}
			return c.Help()
		},
	}
	c.AddCommand(e.storeIngest(), e.storeStatus(), e.storeVerify(), e.storeCompact(), e.storeExpire(), e.storeHold(), e.storeExport())
	return c
}

// writerFlags are the flags of commands that change a store.
type writerFlags struct {
	wait   string
	asJSON bool
}

func (f *writerFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.wait, "wait", "", "while another process writes to the store, wait so `long`: 30s, 10m, or forever (default: fail at once)")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print the result as JSON")
}

func (f *writerFlags) options() (store.Options, error) {
	var o store.Options
	switch {
	case f.wait == "":
	case f.wait == "forever":
		o.Wait = -1
	default:
		d, ok := span(f.wait)
		if !ok {
			return o, usagef("--wait %q: want a span such as 30s or 10m, or forever", f.wait)
		}
		o.Wait = d
	}
	return o, nil
}

// openStore opens a store; what the caller can put right is a usage error.
func openStore(ctx context.Context, dir string, o store.Options) (*store.Store, error) {
	s, err := store.Open(ctx, dir, o)
	switch {
	case errors.Is(err, store.ErrNoStore):
		return nil, usageError{fmt.Errorf("%w; make one with: spoor store ingest PATH --into %s", err, dir)}
	case errors.Is(err, store.ErrNewer):
		return nil, usageError{err}
	case errors.Is(err, store.ErrLocked):
		return nil, fmt.Errorf("%w; try again later, or wait with --wait 10m", err)
	}
	return s, err
}

// withStore runs fn with the store in dir and closes it.
func withStore(ctx context.Context, dir string, o store.Options, fn func(*store.Store) error) (err error) {
	s, err := openStore(ctx, dir, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return fn(s)
}

func (e *env) printJSON(v any) error {
	enc := json.NewEncoder(e.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func storeArg(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("%s wants one argument, the store's folder; for example: %s ./store", c.CommandPath(), c.CommandPath())
	}
	return nil
}
