package cli

import (
	"os"
	"strings"

	"spoor/internal/match"
	"spoor/internal/search"
	"spoor/internal/store/segment"
)

// splitQuery tells the terms of a command line from its inputs: what stands behind -- or, without it, the last arguments
// that are files, folders, buckets or -.
func splitQuery(args []string, dash int) (terms, inputs []string) {
	if dash >= 0 {
		return args[:dash], args[dash:]
	}
	n := len(args)
	for n > 0 && isInput(args[n-1]) {
		n--
	}
	return args[:n], args[n:]
}

func isInput(arg string) bool {
	if arg == "-" || strings.HasPrefix(arg, "s3://") {
		return true
	}
	_, err := os.Stat(arg)
	return err == nil
}

// newQuery compiles the terms of a search.
func newQuery(terms []string) (*search.Query, error) {
	q, err := search.Parse(terms)
	if err != nil {
		return nil, usageError{err}
	}
	return q, nil
}

// wanted says what of a store can hold the terms, as far as its columns tell.
func wanted(terms []string) (*segment.Rows, error) {
	q, err := newQuery(terms)
	if err != nil {
		return nil, err
	}
	return rowsFor([]match.Expr{q.Expr()}, "has not what is looked for", true), nil
}
