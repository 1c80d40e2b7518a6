package event

import (
	"bytes"
	"encoding/base64"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// isRecord tells a CloudTrail record from other JSON objects: an event name or source, or the category of a kind that
// has neither, beside at least one more field that every record has.
func (e *Event) isRecord() bool {
	n := 0
	for _, f := range [...]Field{EventVersion, EventTime, EventID, AWSRegion, UserIdentity, EventType, RequestParameters, ResponseElements, SourceIPAddress, RecipientAccountID} {
		if e.spans[f].bits != 0 {
			n++
		}
	}
	if kindOf(e, EventName) == String || kindOf(e, EventSource) == String {
		return n >= 1
	}
	return n >= 2 && (kindOf(e, InsightDetails) == Object || kindOf(e, EventCategory) == String || kindOf(e, EventType) == String)
}

func kindOf(e *Event, f Field) Kind { return Kind(e.spans[f].bits & 7) }

// Category is what kind of record this is, from eventCategory or, before version 1.07, from the rest of the record:
// Management, Data, NetworkActivity, Insight, Aggregated or ActivityAuditLog.
func (e *Event) Category() string {
	if c := e.Text(EventCategory); c != "" {
		return c
	}
	switch t := e.Text(EventType); {
	case t == "AwsCloudTrailInsight":
		return "Insight"
	case t == "AwsAggregatedEvent":
		return "Aggregated"
	case t == "AwsVpceEvent" || t == "AwsVpceEvents":
		return "NetworkActivity"
	case e.Get(ManagementEvent).Kind() == False:
		return "Data"
	}
	return "Management"
}

// isDigest recognises the object of a digest file.
func isDigest(v Value) bool {
	found := 0
	v.Members(func(k string, _ Value) bool {
		switch k {
		case "digestStartTime", "digestEndTime", "digestS3Object", "logFiles":
			found++
		}
		return true
	})
	return found >= 3
}

// unwrap looks for records inside v, which is not one itself, and hands them on: in objects, arrays, and strings that
// hold JSON. It returns how many it found, or -1 when v is recognised as a wrapper that holds none.
func (d *Decoder) unwrap(v Value, offset int64, invalid bool, depth int) int {
	if depth == maxWrapperDepth || d.stop != nil {
		return 0
	}
	n, empty := 0, false
	take := func(m Value) bool {
		switch k := d.unwrap(m, offset, invalid, depth+1); {
		case k < 0:
			empty = true
		default:
			n += k
		}
		return d.stop == nil
	}
	switch v.Kind() {
	case Object:
		record := false
		if depth > 0 {
			e := d.innerEvent(depth)
			record = e.Reset(v.Raw()) == nil && e.isRecord()
			// Keys that are only alike must be more than a few to make a record of something inside of another thing.
			record = record && (!e.irregular || kindOf(e, EventName) == String && kindOf(e, EventSource) == String && kindOf(e, EventTime) == String)
			if record && !e.irregular {
				d.emit(e, offset, invalid)
				return 1
			}
		}
		v.Members(func(k string, m Value) bool {
			switch k {
			case "messageType":
				if m.Text() == "CONTROL_MESSAGE" {
					d.sink.Note(NoteControl)
					d.records++
					empty = true
				}
			case "data": // CloudWatch Logs subscription as Lambda and Kinesis get it: Base64 of gzip
				if m.Kind() == String {
					if inner, ok := unpack(m.Text(), d.lim.MaxRecord); ok {
						return take(inner)
					}
				}
			}
			return take(m)
		})
		if record && n == 0 && d.stop == nil {
			d.emit(d.innerEvent(depth), offset, invalid)
			return 1
		}
	case Array:
		v.Elements(take)
	case String:
		text := v.Text()
		i := strings.IndexByte(text, '{')
		if i < 0 || i > 0 && len(strings.TrimSpace(text[:i])) > 40 {
			return 0
		}
		for len(d.tmp) <= depth {
			d.tmp = append(d.tmp, nil)
		}
		d.tmp[depth] = append(d.tmp[depth][:0], text[i:]...)
		raw := bytes.TrimSpace(d.tmp[depth])
		if inner, err := NewValue(raw); err == nil {
			take(inner)
		}
	}
	if n == 0 && empty {
		return -1
	}
	return n
}

// unpack reads JSON out of Base64 of gzip.
func unpack(text string, limit int) (Value, bool) {
	packed, err := base64.StdEncoding.DecodeString(text)
	if err != nil || !bytes.HasPrefix(packed, []byte{0x1f, 0x8b}) {
		return Value{}, false
	}
	gz, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return Value{}, false
	}
	plain, err := io.ReadAll(io.LimitReader(gz, int64(limit)))
	if err != nil {
		return Value{}, false
	}
	v, err := NewValue(plain)
	return v, err == nil
}

func (d *Decoder) innerEvent(depth int) *Event {
	for len(d.inner) <= depth {
		d.inner = append(d.inner, new(Event))
	}
	return d.inner[depth]
}
