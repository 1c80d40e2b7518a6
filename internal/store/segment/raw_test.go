package segment

import (
	"bytes"
	"testing"

	"spoor/internal/event"
)

// FuzzSplit joins what was split.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{
		`{"requestParameters":null,"responseElements":null,"eventID":"e"}`,
		`{"a":1,"requestParameters":{"b":[2]},"responseElements":"x","additionalEventData":{},"requestID":"r","eventID":"e","c":{}}`,
		`{"requestParameters":{},"requestParameters":{},"responseElements":{},"requestID":"","eventID":""}`,
		`{"x":{"requestParameters":{},"responseElements":{},"requestID":"r","eventID":"e"},"eventID":"e"}`,
		`{"requestParameters":{},"responseElements":{},"eventID":"e","eventID":"e"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := event.Parse(raw)
		if err != nil {
			return
		}
		head, tail := split(e)
		if head == nil {
			return
		}
		text := func(f event.Field) []byte {
			if v := e.Get(f); !v.IsNull() {
				return append([]byte{}, v.Text()...)
			}
			return nil
		}
		value := func(f event.Field) []byte {
			if v := e.Get(f); !v.IsNull() {
				return v.Raw()
			}
			return nil
		}
		got := join(nil, &parts{head: head, params: value(event.RequestParameters), response: value(event.ResponseElements),
			additional: value(event.AdditionalEventData), requestID: text(event.RequestID), eventID: text(event.EventID), tail: tail})
		if !bytes.Equal(got, e.Raw) {
			t.Errorf("%q became %q", e.Raw, got)
		}
	})
}

// TestSplit says which records are split.
func TestSplit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ raw, head, tail string }{
		{`{"a":1,"requestParameters":{"b":2},"responseElements":null,"requestID":"r","eventID":"e","c":3}`, `{"a":1,"requestParameters":`, `","c":3}`},
		{`{"requestParameters":null,"responseElements":{"x":1},"additionalEventData":{},"eventID":""}`, `{"requestParameters":`, `"}`},
		{`{"requestParameters":null,"responseElements":null,"requestID":null,"eventID":"e"}`, "", ""},
		{`{"requestParameters":null,"responseElements":null,"requestID":7,"eventID":"e"}`, "", ""},
		{`{"requestParameters":null,"responseElements":null,"requestID":"\u0041","eventID":"e"}`, "", ""},
		{`{"requestParameters":null,"responseElements":null,"additionalEventData":null,"requestID":"r","eventID":"e"}`, "", ""},
		{`{"requestParameters":null, "responseElements":null,"requestID":"r","eventID":"e"}`, "", ""},
		{`{"responseElements":null,"requestID":"r","eventID":"e"}`, "", ""},
		{`{"requestParameters":null,"responseElements":null,"requestID":"r"}`, "", ""},
	} {
		e, err := event.Parse([]byte(c.raw))
		if err != nil {
			t.Fatal(err)
		}
		if head, tail := split(e); string(head) != c.head || string(tail) != c.tail {
			t.Errorf("%s: %q and %q, want %q and %q", c.raw, head, tail, c.head, c.tail)
		}
	}
}
