package duckdb

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"spoor/internal/safetext"
)

// Formats are the formats of [Engine.Write]. [Engine.WriteParquet] writes Parquet.
var Formats = [...]string{"table", "csv", "json", "jsonl"}

// WriteOptions of [Engine.Write].
type WriteOptions struct {
	QueryOptions
	Format string
	// Width is how many columns a table may take, 0 when it is not for a terminal.
	Width int
}

// Written tells about a result that was written.
type Written struct {
	Rows int64
	// More is set when there were more rows than QueryOptions.Limit.
	More bool
}

// maxCell is how wide a cell of a table gets where no terminal sets a limit.
const maxCell = 120

// Write asks sql and writes the rows as they come. Texts that could act on a terminal or in a spreadsheet are neutralised.
func (e *Engine) Write(ctx context.Context, w io.Writer, sql string, opts WriteOptions) (_ Written, err error) {
	limit := opts.Limit
	if opts.Limit > 0 {
		opts.Limit++
	}
	rows, err := e.Query(ctx, sql, opts.QueryOptions)
	if err != nil {
		return Written{}, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	return rows.Write(w, opts.Format, opts.Width, limit)
}

// Write writes the rows as [Engine.Write] does, limit of them at most when that is not 0. It does not close them.
func (r *Rows) Write(w io.Writer, format string, width int, limit int64) (_ Written, err error) {
	buf := bufio.NewWriterSize(w, 64<<10)
	var out rowWriter
	switch format {
	case "table", "":
		out = newTableWriter(buf, r.Columns, width)
	case "csv":
		out, err = newCSVWriter(buf, r.Columns)
	case "json":
		out = newJSONWriter(buf, r.Columns, true)
	case "jsonl":
		out = newJSONWriter(buf, r.Columns, false)
	default:
		err = fmt.Errorf("%q is not a format of results", format)
	}
	if err != nil {
		return Written{}, err
	}
	var n Written
	for {
		values, ok, err := r.Next()
		if err != nil {
			return n, errors.Join(err, buf.Flush())
		}
		if !ok {
			break
		}
		if limit > 0 && n.Rows == limit {
			n.More = true
			break
		}
		if err := out.row(values); err != nil {
			return n, err
		}
		n.Rows++
	}
	if err := out.end(); err != nil {
		return n, err
	}
	return n, buf.Flush()
}

type rowWriter interface {
	row([]Value) error
	end() error
}

// tableWriter measures the first rows before it writes any.
type tableWriter struct {
	w     *bufio.Writer
	cols  []Column
	width int
	held  [][]string
	sizes []int // once measured
	list  bool  // one line for each value
	n     int64
}

// null is how a table shows NULL.
const null = "NULL"

// measured is how many rows decide the widths of columns.
const measured = 500

func newTableWriter(w *bufio.Writer, cols []Column, width int) *tableWriter {
	return &tableWriter{w: w, cols: cols, width: width}
}

func (t *tableWriter) row(values []Value) error {
	cells := make([]string, len(values))
	for i, v := range values {
		switch {
		case v.Null:
			cells[i] = null
		case t.cols[i].Kind == JSON:
			cells[i] = t.cell(string(dropNulls([]byte(v.Text))))
		case t.cols[i].Name == "explain_value":
			cells[i] = safetext.Lines(v.Text)
		default:
			cells[i] = t.cell(v.Text)
		}
	}
	if t.sizes != nil || t.list {
		return t.print(cells)
	}
	t.held = append(t.held, cells)
	if len(t.held) == measured {
		return t.measure()
	}
	return nil
}

// cell neutralises a text, and bounds it so that rows that are held stay small.
func (t *tableWriter) cell(s string) string { return safetext.Terminal(s, max(4*maxCell, t.width)) }

func (t *tableWriter) end() error {
	if t.sizes == nil && !t.list {
		return t.measure()
	}
	return nil
}

// measure decides the widths and prints what was held.
func (t *tableWriter) measure() error {
	if len(t.cols) == 2 && t.cols[1].Name == "explain_value" {
		for _, cells := range t.held {
			if _, err := fmt.Fprintf(t.w, "%s\n", cells[1]); err != nil {
				return err
			}
		}
		t.held, t.list = nil, true
		return nil
	}
	sizes := make([]int, len(t.cols))
	for i, c := range t.cols {
		sizes[i] = safetext.Width(safetext.Terminal(c.Name, maxCell))
	}
	for _, cells := range t.held {
		for i, c := range cells {
			sizes[i] = max(sizes[i], safetext.Width(c))
		}
	}
	room := t.width - 2*(len(sizes)-1)
	for i := range sizes {
		sizes[i] = min(sizes[i], maxCell)
	}
	if t.width > 0 {
		if room < 8*len(sizes) && sum(sizes) > room {
			t.list = true
		}
		for sum(sizes) > room && !t.list { // the widest gives way
			widest := slices.Max(sizes)
			next := 0
			count := 0
			for _, s := range sizes {
				if s == widest {
					count++
				} else {
					next = max(next, s)
				}
			}
			to := max(next, widest-(sum(sizes)-room+count-1)/count, 1)
			for i, s := range sizes {
				if s == widest {
					sizes[i] = to
				}
			}
		}
	}
	if !t.list {
		t.sizes = sizes
		names := make([]string, len(t.cols))
		lines := make([]string, len(t.cols))
		for i, c := range t.cols {
			names[i] = safetext.Terminal(c.Name, 0)
			lines[i] = strings.Repeat("─", sizes[i])
		}
		if err := errors.Join(t.print(names), t.print(lines)); err != nil {
			return err
		}
	}
	for _, cells := range t.held {
		if err := t.print(cells); err != nil {
			return err
		}
	}
	t.held = nil
	if t.sizes == nil {
		t.sizes = sizes
	}
	return nil
}

func sum(n []int) (s int) {
	for _, v := range n {
		s += v
	}
	return s
}

func (t *tableWriter) print(cells []string) error {
	if t.list {
		return t.printList(cells)
	}
	for i, c := range cells {
		if i > 0 {
			t.w.WriteString("  ") //nolint:errcheck // the last write tells
		}
		cut := safetext.Terminal(c, t.sizes[i])
		pad := strings.Repeat(" ", max(0, t.sizes[i]-safetext.Width(cut)))
		switch {
		case t.cols[i].Kind == Number:
			t.w.WriteString(pad + cut) //nolint:errcheck // the last write tells
		case i == len(cells)-1:
			t.w.WriteString(cut) //nolint:errcheck // the last write tells
		default:
			t.w.WriteString(cut + pad) //nolint:errcheck // the last write tells
		}
	}
	return t.w.WriteByte('\n')
}

// printList prints a row that is too wide, a line for each value that is not NULL.
func (t *tableWriter) printList(cells []string) error {
	t.n++
	widest := 0
	most := 40
	if t.width > 0 {
		most = min(most, max(4, t.width/2-1))
	}
	for _, c := range t.cols {
		widest = max(widest, safetext.Width(safetext.Terminal(c.Name, most)))
	}
	fmt.Fprintf(t.w, "── %d %s\n", t.n, strings.Repeat("─", max(0, t.width-5-len(strconv.FormatInt(t.n, 10))))) //nolint:errcheck // the last write tells
	for i, c := range cells {
		if c == null {
			continue
		}
		name := safetext.Terminal(t.cols[i].Name, most)
		room := 0
		if t.width > 0 {
			room = max(8, t.width-widest-2)
		}
		fmt.Fprintf(t.w, "%s%s  %s\n", name, strings.Repeat(" ", max(0, widest-safetext.Width(name))), safetext.Terminal(c, room)) //nolint:errcheck // the last write tells
	}
	return t.w.WriteByte('\n')
}

type csvWriter struct {
	w     *csv.Writer
	cols  []Column
	cells []string
}

func newCSVWriter(w io.Writer, cols []Column) (*csvWriter, error) {
	c := &csvWriter{w: csv.NewWriter(w), cols: cols, cells: make([]string, len(cols))}
	for i, col := range cols {
		c.cells[i] = safetext.CSV(col.Name)
	}
	return c, c.w.Write(c.cells)
}

func (c *csvWriter) row(values []Value) error {
	for i, v := range values {
		switch {
		case v.Null:
			c.cells[i] = ""
		case c.cols[i].Kind == Number:
			c.cells[i] = v.Text
		default:
			c.cells[i] = safetext.CSV(v.Text)
		}
	}
	return c.w.Write(c.cells)
}

func (c *csvWriter) end() error {
	c.w.Flush()
	return c.w.Error()
}

// jsonWriter writes rows as objects, in one array or one a line.
type jsonWriter struct {
	w     *bufio.Writer
	cols  []Column
	names [][]byte
	array bool
	n     int64
	buf   []byte
}

func newJSONWriter(w *bufio.Writer, cols []Column, array bool) *jsonWriter {
	j := &jsonWriter{w: w, cols: cols, array: array}
	seen := map[string]bool{}
	for _, c := range cols {
		name := c.Name
		for k := 2; seen[name]; k++ {
			name = c.Name + "_" + strconv.Itoa(k)
		}
		seen[name] = true
		j.names = append(j.names, quoteJSON(name))
	}
	return j
}

func quoteJSON(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string can be encoded, and a buffer takes everything
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func (j *jsonWriter) row(values []Value) error {
	b := j.buf[:0]
	switch {
	case j.array && j.n == 0:
		b = append(b, "[\n"...)
	case j.array:
		b = append(b, ",\n"...)
	}
	j.n++
	b = append(b, '{')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, j.names[i]...), ':')
		switch kind := j.cols[i].Kind; {
		case v.Null:
			b = append(b, "null"...)
		case (kind == JSON || kind == Number || kind == Bool) && json.Valid([]byte(v.Text)):
			b = append(b, v.Text...)
		default:
			b = append(b, quoteJSON(v.Text)...)
		}
	}
	b = append(b, '}')
	if !j.array {
		b = append(b, '\n')
	}
	j.buf = b
	_, err := j.w.Write(safetext.JSON(oneLine(b)))
	return err
}

// oneLine writes line feeds inside of a JSON document, which stand between its values only, as spaces. The first two and
// the last bytes are the caller's.
func oneLine(b []byte) []byte {
	if len(b) < 4 {
		return b
	}
	for i, c := range b[2 : len(b)-1] {
		if c == '\n' || c == '\r' {
			b[i+2] = ' '
		}
	}
	return b
}

func (j *jsonWriter) end() error {
	if !j.array {
		return nil
	}
	text := "\n]\n"
	if j.n == 0 {
		text = "[]\n"
	}
	_, err := j.w.WriteString(text)
	return err
}

// dropNulls leaves out members that are null, of which structs have many, for people.
func dropNulls(doc []byte) []byte {
	if !bytes.Contains(doc, []byte("null")) {
		return doc
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.UseNumber()
	var out bytes.Buffer
	if ok := copyValue(dec, &out); !ok {
		return doc
	}
	return out.Bytes()
}

// copyValue copies the next value but members that are null. It reports whether it could be read.
func copyValue(dec *json.Decoder, out *bytes.Buffer) bool {
	tok, err := dec.Token()
	if err != nil {
		return false
	}
	switch tok := tok.(type) {
	case json.Delim:
		out.WriteByte(byte(tok))
		for first := true; dec.More(); {
			start := out.Len()
			if !first {
				out.WriteByte(',')
			}
			if tok == '{' {
				key, err := dec.Token()
				name, ok := key.(string)
				if err != nil || !ok {
					return false
				}
				out.Write(quoteJSON(name))
				out.WriteByte(':')
			}
			value := out.Len()
			if !copyValue(dec, out) {
				return false
			}
			if tok == '{' && string(out.Bytes()[value:]) == "null" {
				out.Truncate(start)
				continue
			}
			first = false
		}
		if _, err := dec.Token(); err != nil {
			return false
		}
		out.WriteByte(byte(tok) + 2) // ] and } stand two behind [ and {
	case string:
		out.Write(quoteJSON(tok))
	case json.Number:
		out.WriteString(tok.String())
	case bool:
		out.WriteString(strconv.FormatBool(tok))
	default:
		out.WriteString("null")
	}
	return true
}

// WriteParquet asks sql and writes the rows to path, an absolute path, as Parquet with zstd, and tells how many. It is
// done by an engine of its own, the only one that can write, and only there; the statement that writes is not the user's.
func (e *Engine) WriteParquet(ctx context.Context, sql, path string, opts QueryOptions) (_ int64, err error) {
	if !filepath.IsAbs(path) {
		return 0, fmt.Errorf("write %s: the path is not absolute", path)
	}
	o := e.opts
	o.writable = path
	w, err := Open(ctx, o)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	ctx, done, fail := w.limits(ctx)
	defer func() {
		if err != nil {
			err = fail(err)
		}
		err = errors.Join(err, done())
	}()
	conn, err := w.db.Conn(ctx)
	if err != nil {
		return 0, fmt.Errorf("ask the query engine: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	p, err := w.plan(ctx, conn, sql, opts)
	if err != nil {
		return 0, err
	}
	if p.explain != "" {
		return 0, refusef("EXPLAIN cannot be written as Parquet")
	}
	defer w.watchMemory(ctx)()
	limit := ""
	if opts.Limit > 0 {
		limit = fmt.Sprintf(" LIMIT %d", opts.Limit)
	}
	var rows int64
	err = conn.QueryRowContext(ctx, fmt.Sprintf("COPY (SELECT * FROM (\n%s\n) AS spoor_query%s) TO %s (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)", p.sql, limit, quoteText(path))).Scan(&rows)
	return rows, err
}
