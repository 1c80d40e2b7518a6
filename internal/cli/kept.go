package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"spoor/internal/dedup"
	"spoor/internal/event"
	"spoor/internal/intake"
	"spoor/internal/match"
	"spoor/internal/source"
	"spoor/internal/store"
	"spoor/internal/store/segment"
)

// storeFlags are the flags of commands that read a store as they read logs.
type storeFlags struct{ dir, hold string }

func (f *storeFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.dir, "store", "", "read the store in this `folder`, beside or in place of paths")
	c.Flags().StringVar(&f.hold, "hold", "", "read the store as it was when this hold was `named`")
}

// args are the flags as they were given.
func (f *storeFlags) args() []string {
	var out []string
	if f.dir != "" {
		out = append(out, "--store", f.dir)
	}
	if f.hold != "" {
		out = append(out, "--hold", f.hold)
	}
	return out
}

// orArgs wants a path or a store.
func (f *storeFlags) orArgs(example string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if f.dir != "" {
			return nil
		}
		return minArgs(1, "a file, folder, archive, bucket or - to read, or --store", example)(c, args)
	}
}

// earlier looks up events that a store has, for [dedup.Options].
type earlier = func(dedup.Key, int64) (dedup.Verdict, error)

// intake makes the options of a run over a store and paths; want says what of the store can matter, nil for all. The store
// comes first, so that its events are known when paths are read: an event that is in both counts as one of the store.
func (f *storeFlags) intake(ctx context.Context, e *env, in *inputFlags, paths []string, want *segment.Rows) (opts intake.Options, known earlier, done func() error, err error) {
	if f.dir == "" && f.hold != "" {
		return opts, nil, nil, usagef("--hold wants --store")
	}
	opts, done, err = in.intake(ctx, e, paths)
	if err != nil || f.dir == "" {
		return opts, nil, done, err
	}
	s, err := openStore(ctx, f.dir, store.Options{ReadOnly: true})
	if err != nil {
		return opts, nil, nil, errors.Join(err, done())
	}
	src := s.Read(store.ReadOptions{Filter: store.Filter{Hold: f.hold}, Want: want, Beside: len(paths) > 0})
	opts.Sources = append([]source.Source{src}, opts.Sources...)
	opts.Named = append([]string{f.dir}, opts.Named...)
	closeInputs := done
	return opts, src.Earlier, func() error { return errors.Join(closeInputs(), src.Close(), s.Close()) }, nil
}

// rowsFor says which events of a store some of the expressions can hold for, as far as its columns tell; nil when those tell
// nothing. skip is the reason for leaving others out. With lookup, single values are looked up in the Bloom filters first.
func rowsFor(xs []match.Expr, skip string, lookup bool) *segment.Rows {
	want := &segment.Rows{}
	var fields []event.Field
	for _, f := range match.TestedFields(xs...) {
		column, needle := segment.ColumnsOf(f)
		if column == "" {
			continue
		}
		fields = append(fields, f)
		want.Columns = append(want.Columns, column)
		if values, ok := match.Needs(match.Or(xs...), f); ok && needle != "" && lookup {
			want.OneOf = append(want.OneOf, segment.OneOf{Column: needle, Values: values, Folded: true, Skip: skip})
		}
	}
	if len(fields) == 0 {
		return nil
	}
	want.Keep = func() func([][]byte) string {
		p := match.NewPruner(xs, fields)
		return func(texts [][]byte) string {
			if p.Possible(texts) {
				return ""
			}
			return skip
		}
	}
	return want
}
