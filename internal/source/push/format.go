package push

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Format says what is sent. What is something else is refused, so that a sender that was set up wrongly is told.
type Format string

// The formats.
const (
	FormatAuto        Format = "auto"        // any shape that the decoder knows
	FormatRecords     Format = "records"     // records of CloudTrail, in any shape but those below
	FormatEventBridge Format = "eventbridge" // events of EventBridge, with the record in detail
	FormatLogs        Format = "logs"        // subscriptions of CloudWatch Logs: as they are, as Lambda gets them, and in Kinesis or Firehose batches
)

const (
	headRaw  = 64 << 10  // of a body that are looked at
	headText = 256 << 10 // of them, decompressed
)

// check looks at the head of a body, and says what is wrong with it, or "". rest is the whole body.
func (f Format) check(body io.Reader) (rest io.Reader, why string) {
	if f == FormatAuto || f == "" {
		return body, ""
	}
	head := make([]byte, headRaw)
	n, err := io.ReadFull(body, head)
	head = head[:n]
	rest = io.MultiReader(bytes.NewReader(head), body)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		rest = io.MultiReader(bytes.NewReader(head), failing{err})
	}
	if is := shape(expand(head)); is != "" && is != f { // what is no JSON is the decoder's to refuse
		return rest, fmt.Sprintf("this source takes the format %s, and this is %s", f, is)
	}
	return rest, ""
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// expand decompresses the head of a body as far as it goes.
func expand(head []byte) []byte {
	var r io.Reader
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		gz, err := gzip.NewReader(bytes.NewReader(head))
		if err != nil {
			return nil
		}
		r = gz
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(bytes.NewReader(head), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
		if err != nil {
			return nil
		}
		defer z.Close()
		r = z
	default:
		return head
	}
	text, _ := io.ReadAll(io.LimitReader(r, headText)) // cut off as it is, it ends early
	return text
}

// shape tells a format by the keys of the first object, or "" where there is none.
func shape(text []byte) Format {
	d := json.NewDecoder(bytes.NewReader(text))
	for {
		t, err := d.Token()
		if err != nil {
			return ""
		}
		if t == json.Delim('{') {
			break
		}
		if t != json.Delim('[') {
			return ""
		}
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			break
		}
		switch key {
		case "detail-type", "detail":
			return FormatEventBridge
		case "messageType", "logEvents", "logGroup", "awslogs":
			return FormatLogs
		case "records": // a batch of Kinesis or Firehose; CloudTrail writes Records
			return FormatLogs
		}
		var skip json.RawMessage
		if d.Decode(&skip) != nil {
			break
		}
	}
	return FormatRecords
}
