package event

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
)

// lines reads text that starts neither with an object nor with an array: lines with something before the JSON
// (CloudWatch Logs exports put the time there), or CSV with records in cells.
func (d *Decoder) lines() error {
	head, ok := d.line()
	if !ok {
		return ErrNotLogs
	}
	if bytes.IndexByte(head, 0) >= 0 {
		return ErrNotLogs
	}
	i := bytes.IndexByte(head, '{')
	if i < 0 || bytes.HasPrefix(head, []byte(`"`)) {
		if bytes.ContainsAny(head, ",\t") && i < 0 && len(head) < 64<<10 {
			return d.csv(head)
		}
		return ErrNotLogs
	}
	for ok && d.stop == nil {
		d.prefixed(head)
		d.pos += len(head)
		if d.pos < d.end && d.buf[d.pos] == '\n' {
			d.pos++
		}
		head, ok = d.line()
	}
	if d.records == 0 && d.stop == nil && d.rerr == nil {
		d.held = d.held[:0]
		return ErrNotLogs
	}
	return nil
}

// line gives the line at pos without its end, or false at the end of the text. A line beyond the record limit is cut
// there.
func (d *Decoder) line() ([]byte, bool) {
	searched := 0
	for {
		if i := bytes.IndexByte(d.buf[d.pos+searched:d.end], '\n'); i >= 0 {
			return d.buf[d.pos : d.pos+searched+i], true
		}
		searched = d.end - d.pos
		if !d.more() {
			return d.buf[d.pos:d.end], d.end > d.pos
		}
	}
}

// prefixed reads a line with a record behind a prefix.
func (d *Decoder) prefixed(line []byte) {
	text := bytes.TrimSpace(line)
	if len(text) == 0 {
		return
	}
	offset := d.base + int64(d.pos)
	reason := "line without JSON"
	if i := bytes.IndexByte(text, '{'); i >= 0 {
		d.s = scanner{b: text}
		e := d.innerEvent(0)
		end := e.read(&d.s, i)
		switch {
		case end < 0:
			reason = d.s.error(offset).Error()
		case len(bytes.TrimSpace(text[end:])) > 0:
			reason = fmt.Sprintf("more text after the record at byte %d", offset+int64(end))
		case e.isRecord():
			d.emit(e, offset, false)
			return
		default:
			d.unwrapItem(valueAt(text, i, end), offset, false)
			return
		}
	}
	d.hold(Reject{Offset: offset, Length: int64(len(line)), Reason: reason, Raw: line})
}

// csv reads export rows; records are JSON in one of the cells.
func (d *Decoder) csv(header []byte) error {
	start := d.base + int64(d.pos)
	r := csv.NewReader(&window{d: d})
	r.ReuseRecord, r.LazyQuotes, r.FieldsPerRecord = true, true, -1
	if bytes.Count(header, []byte{'\t'}) > bytes.Count(header, []byte{','}) {
		r.Comma = '\t'
	}
	if _, err := r.Read(); err != nil {
		return ErrNotLogs
	}
	var cell []byte
	for d.stop == nil {
		offset := start + r.InputOffset()
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			d.hold(Reject{Offset: offset, Reason: fmt.Sprintf("CSV: %v", err)})
			continue
		}
		n := 0
		for _, text := range row {
			if len(text) < 2 || text[0] != '{' && text[0] != '[' && text[0] != '"' {
				continue
			}
			cell = append(cell[:0], text...)
			if v, err := NewValue(cell); err == nil {
				e := d.innerEvent(0)
				if v.Kind() == Object && e.Reset(cell) == nil && e.isRecord() {
					d.emit(e, offset, false)
					n++
				} else {
					n += max(0, d.unwrap(v, offset, false, 0))
				}
			}
		}
		if n == 0 {
			d.hold(Reject{Offset: offset, Length: start + r.InputOffset() - offset, Reason: "row without a CloudTrail record in a cell"})
		}
	}
	if d.records == 0 && d.stop == nil && d.rerr == nil {
		d.held = d.held[:0]
		return ErrNotLogs
	}
	return nil
}

// window reads the rest of the text through the decoder's buffer, so that limits hold.
type window struct{ d *Decoder }

func (w *window) Read(p []byte) (int, error) {
	d := w.d
	if d.pos == d.end && !d.more() {
		return 0, io.EOF
	}
	n := copy(p, d.buf[d.pos:d.end])
	d.pos += n
	return n, nil
}
