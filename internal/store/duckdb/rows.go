package duckdb

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// RowWriter writes the rows of a result in one of [Formats], as [Engine.Write] does, for callers that read the rows
// themselves. It is for one goroutine.
type RowWriter struct {
	buf *bufio.Writer
	out rowWriter
}

// NewRowWriter begins a result. Width is how many columns a table may take, 0 when it is not for a terminal.
func NewRowWriter(w io.Writer, format string, cols []Column, width int) (*RowWriter, error) {
	buf := bufio.NewWriterSize(w, 64<<10)
	out, err := newRowWriter(buf, format, cols, width)
	if err != nil {
		return nil, err
	}
	return &RowWriter{buf, out}, nil
}

// Row writes a row. Nothing is kept of the values, but by tables of their first rows.
func (w *RowWriter) Row(values []Value) error { return w.out.row(values) }

// End ends the result.
func (w *RowWriter) End() error { return errors.Join(w.out.end(), w.buf.Flush()) }

// Flush hands on what was written so far.
func (w *RowWriter) Flush() error { return w.buf.Flush() }

func newRowWriter(buf *bufio.Writer, format string, cols []Column, width int) (rowWriter, error) {
	switch format {
	case "table", "":
		return newTableWriter(buf, cols, width), nil
	case "csv":
		return newCSVWriter(buf, cols)
	case "json":
		return newJSONWriter(buf, cols, true), nil
	case "jsonl":
		return newJSONWriter(buf, cols, false), nil
	}
	return nil, fmt.Errorf("%q is not a format of results", format)
}
