package intake

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"unicode/utf8"

	"spoor/internal/event"
)

// RejectWriter keeps rejected records aside, one JSON object a line: file, offset, length, reason, and the bytes as text
// in raw, or as Base64 in rawBase64 where they are not UTF-8. cut is true when the stretch is longer than what is kept.
type RejectWriter struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

// NewRejectWriter writes to w.
func NewRejectWriter(w io.Writer) *RejectWriter { return &RejectWriter{w: w} }

// Write adds r.
func (w *RejectWriter) Write(r event.Reject) error {
	line := struct {
		File      string `json:"file"`
		Offset    int64  `json:"offset"`
		Length    int64  `json:"length"`
		Reason    string `json:"reason"`
		Cut       bool   `json:"cut,omitempty"`
		Raw       string `json:"raw,omitempty"`
		RawBase64 []byte `json:"rawBase64,omitempty"`
	}{File: r.File, Offset: r.Offset, Length: r.Length, Reason: r.Reason, Cut: int64(len(r.Raw)) < r.Length}
	if utf8.Valid(r.Raw) {
		line.Raw = string(r.Raw)
	} else {
		line.RawBase64 = r.Raw
	}
	out, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("encode a rejected record: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.w.Write(append(out, '\n')); err != nil {
		return fmt.Errorf("keep a rejected record aside: %w", err)
	}
	return nil
}
