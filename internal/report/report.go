// Package report shows what a hunt found: on a terminal, as JSON, JSON Lines, CSV, SARIF 2.1.0, OCSF 1.6.0, a timeline,
// and as one self-contained HTML page. It also explains single findings and prints statistics.
//
// Everything that comes from a log passes through package safetext before it reaches a terminal, a spreadsheet or a
// page. On terminals the printer does it for every text, so that no caller can forget; pages are made by html/template
// from values that hold no markup. Lists are bounded, so that a report stays readable and small whatever the input.
package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"spoor/internal/hunt"
)

// Formats lists the names that [Write] takes.
var Formats = [...]string{"table", "json", "jsonl", "csv", "sarif", "html", "ocsf", "timeline"}

// Options says how to show a report. The zero value is plain text for a pipe.
type Options struct {
	Width    int    // columns of the terminal; 0 when there is none, which counts as DefaultWidth
	Height   int    // rows of the terminal; 0 when there is none: the table is not fitted to one screen
	Color    bool   // whether the terminal shows ANSI colours
	Limit    int    // findings of the table, rows of each statistic; 0 is DefaultLimit, below 0 all
	Command  string // the command to repeat in hints, without options of the format; "" is spoor hunt with the inputs
	ExitCode int    // the exit code that the process will end with: 0 clean, 1 findings, 2 usage, 3 incomplete, 4 failure
}

// What applies when [Options] does not say.
const (
	DefaultWidth = 100
	DefaultLimit = 10
	minWidth     = 60
	maxWidth     = 200
)

func (o Options) width() int {
	if o.Width <= 0 {
		return DefaultWidth
	}
	return min(max(o.Width, minWidth), maxWidth)
}

// limit returns how many of n rows to show.
func (o Options) limit(n int) int {
	switch {
	case o.Limit < 0:
		return n
	case o.Limit == 0:
		return min(n, DefaultLimit)
	}
	return min(n, o.Limit)
}

// Write writes res to w in one of [Formats].
func Write(w io.Writer, format string, res *hunt.Result, opts Options) error {
	var write func(io.Writer, *hunt.Result, Options) error
	switch format {
	case "table":
		write = writeTable
	case "json":
		write = writeJSON
	case "jsonl":
		write = writeJSONL
	case "csv":
		write = writeCSV
	case "sarif":
		write = writeSARIF
	case "html":
		write = writeHTML
	case "ocsf":
		write = writeOCSF
	case "timeline":
		write = writeTimeline
	default:
		return fmt.Errorf("unknown format %q: want one of %s", format, strings.Join(Formats[:], ", "))
	}
	buf := bufio.NewWriterSize(w, 64<<10)
	if err := write(buf, res, opts); err != nil {
		return fmt.Errorf("write the report as %s: %w", format, err)
	}
	if err := buf.Flush(); err != nil {
		return fmt.Errorf("write the report as %s: %w", format, err)
	}
	return nil
}
