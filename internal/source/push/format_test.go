package push

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

func TestFormat(t *testing.T) {
	t.Parallel()
	const (
		record = `{"eventVersion":"1.11","eventName":"GetObject","eventSource":"s3.amazonaws.com","requestParameters":{"detail":1,"logEvents":[]}}`
		bridge = `{"version":"0","id":"1","detail-type":"AWS API Call via CloudTrail","detail":` + record + `}`
		logs   = `{"messageType":"DATA_MESSAGE","owner":"111122223333","logEvents":[]}`
	)
	for _, c := range []struct {
		name, body string
		is         Format
	}{
		{"a record", record, FormatRecords},
		{"a file", `{"Records":[` + record + `]}`, FormatRecords},
		{"an array", `[` + record + `]`, FormatRecords},
		{"lines", record + "\n" + bridge, FormatRecords},
		{"an event of EventBridge", bridge, FormatEventBridge},
		{"events of EventBridge", `[` + bridge + `]`, FormatEventBridge},
		{"a subscription", logs, FormatLogs},
		{"a subscription by Lambda", `{"awslogs":{"data":"H4sI"}}`, FormatLogs},
		{"a batch of Firehose", `{"requestId":"1","records":[{"data":"H4sI"}]}`, FormatLogs},
		{"a long record", `{"requestParameters":"` + strings.Repeat("a", 2*headText) + `","detail":{}}`, FormatRecords},
		{"no JSON", "detail", ""},
		{"nothing", "", ""},
	} {
		packed := map[string][]byte{"plain": []byte(c.body), "gzip": gzipped(t, c.body), "zstd": zstdOf(t, c.body)}
		for how, body := range packed {
			for _, f := range []Format{"", FormatAuto, FormatRecords, FormatEventBridge, FormatLogs} {
				rest, why := f.check(bytes.NewReader(body))
				good := f == "" || f == FormatAuto || c.is == "" || c.is == f
				if good != (why == "") {
					t.Errorf("%s (%s) as %q: %q", c.name, how, f, why)
				}
				if whole, err := io.ReadAll(rest); err != nil || !bytes.Equal(whole, body) {
					t.Errorf("%s (%s) as %q: the body is not whole: %v", c.name, how, f, err)
				}
			}
		}
	}
}

func gzipped(t *testing.T, s string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zstdOf(t *testing.T, s string) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll([]byte(s), nil)
}
