package segment

import (
	"bytes"
	"unsafe"

	"spoor/internal/event"
)

// Most of a record's bytes lie in other columns already: the texts of requestParameters, responseElements,
// additionalEventData, requestID and eventID, which follow each other in this order in every record that CloudTrail
// writes. Such a record is kept as what comes before and what comes behind. It takes half the room of a second copy, and
// joining the parts costs less than unpacking the copy would. Records of any other form are kept whole.

// The texts between the parts.
const (
	glueResponse   = `,"responseElements":`
	glueAdditional = `,"additionalEventData":`
	glueRequestID  = `,"requestID":"`
	glueEventID    = `,"eventID":"`
)

// RawSQL is the expression that gives the record in DuckDB's SQL. For rows with rawBytes it is the text nearest to it.
const RawSQL = `coalesce(raw, concat(rawHead, coalesce(requestParameters, 'null'), '` + glueResponse + `', coalesce(responseElements, 'null'), ` +
	`'` + glueAdditional + `' || additionalEventData, '` + glueRequestID + `' || requestID || '"', '` + glueEventID + `', eventID, rawTail))`

// split gives the parts of a record that other columns do not have, nil when the columns and the parts would not give it
// byte for byte. The record must be UTF-8.
func split(e *event.Event) (head, tail []byte) {
	raw := e.Raw
	start := unsafe.Pointer(unsafe.SliceData(raw))
	at := 0
	// next takes the value v after glue, and says whether it stands there as its column has it.
	next := func(glue string, v event.Value) bool {
		text := v.Raw()
		if len(raw)-at < len(glue) || string(raw[at:at+len(glue)]) != glue {
			return false
		}
		at += len(glue)
		if uintptr(unsafe.Pointer(unsafe.SliceData(text)))-uintptr(start) != uintptr(at) {
			return false
		}
		at += len(text)
		return true
	}
	params, response, additional := e.Get(event.RequestParameters), e.Get(event.ResponseElements), e.Get(event.AdditionalEventData)
	if params.Kind() == event.Missing || response.Kind() == event.Missing || additional.Kind() == event.Null {
		return nil, nil
	}
	first := int(uintptr(unsafe.Pointer(unsafe.SliceData(params.Raw()))) - uintptr(start))
	at = first
	if !next("", params) || !next(glueResponse, response) {
		return nil, nil
	}
	if additional.Exists() && !next(glueAdditional, additional) {
		return nil, nil
	}
	// The glue of strings holds their first quote.
	if id := e.Get(event.RequestID); id.Exists() && (!plainString(id) || !next(glueRequestID[:len(glueRequestID)-1], id)) {
		return nil, nil
	}
	if id := e.Get(event.EventID); !plainString(id) || !next(glueEventID[:len(glueEventID)-1], id) {
		return nil, nil
	}
	return raw[:first:first], raw[at-1:]
}

// plainString reports whether a column has exactly what stands between the quotes.
func plainString(v event.Value) bool {
	return v.Kind() == event.String && bytes.IndexByte(v.Raw(), '\\') < 0
}

// join appends the record to dst, as RawSQL does.
func join(dst []byte, p *parts) []byte {
	if p.raw != nil {
		return append(dst, p.raw...)
	}
	null := []byte("null")
	dst = append(dst, p.head...)
	dst = append(dst, or(p.params, null)...)
	dst = append(append(dst, glueResponse...), or(p.response, null)...)
	if p.additional != nil {
		dst = append(append(dst, glueAdditional...), p.additional...)
	}
	if p.requestID != nil {
		dst = append(append(append(dst, glueRequestID...), p.requestID...), '"')
	}
	dst = append(append(dst, glueEventID...), p.eventID...)
	return append(dst, p.tail...)
}

// parts are the columns that a record is joined from; raw is rawBytes where there is some.
type parts struct {
	head, params, response, additional, requestID, eventID, tail, raw []byte
}

func or(a, b []byte) []byte {
	if a == nil {
		return b
	}
	return a
}
