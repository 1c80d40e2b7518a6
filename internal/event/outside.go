package event

import "unsafe"

// OutsideCategory is the eventCategory of events that other systems than AWS sent in through a channel of CloudTrail Lake.
const OutsideCategory = "ActivityAuditLog"

// outside reports whether the record is such an event.
func (e *Event) outside() bool {
	s := e.spans[EventCategory]
	return s.bits>>4 == uint32(len(OutsideCategory)+2) && Kind(s.bits&7) == String &&
		string(e.Raw[s.off+1:s.off+1+uint32(len(OutsideCategory))]) == OutsideCategory
}

// adopt lays the typed fields of an event from outside, which its sender wrote into eventData, where the record itself does
// not have them. Of the identity only type and principalId count: the rest would name identities of AWS.
func (e *Event) adopt() {
	var data, identity Value
	e.Root().Members(func(k string, v Value) bool {
		if k == "eventData" {
			data = v
		}
		return true
	})
	had := e.spans
	data.Members(func(k string, v Value) bool {
		switch f := topField([]byte(k)); f {
		case UserIdentity:
			if had[f].bits == 0 {
				identity = v
				e.lay(f, v)
			}
		case EventTime, EventSource, EventName, SourceIPAddress, UserAgent, ErrorCode, ErrorMessage, RequestParameters, ResponseElements,
			AdditionalEventData, RecipientAccountID:
			if had[f].bits == 0 {
				e.lay(f, v)
			}
		}
		return true
	})
	identity.Members(func(k string, v Value) bool {
		switch f := identityField([]byte(k)); f {
		case IdentityType, PrincipalID:
			e.lay(f, v)
		}
		return true
	})
}

// lay makes v, which points into Raw, the value of a field.
func (e *Event) lay(f Field, v Value) {
	off := int(uintptr(unsafe.Pointer(unsafe.SliceData(v.raw))) - uintptr(unsafe.Pointer(unsafe.SliceData(e.Raw))))
	e.spans[f] = makeSpan(off, off+len(v.raw), v.kind, v.esc)
}

// externalActor is who acted in an event from outside: the principal of the system that sent it, whose names mean nothing
// elsewhere.
func (e *Event) externalActor() Actor {
	id, source := e.Text(PrincipalID), e.Text(EventSource)
	if id == "" {
		return unknown("", "principalId")
	}
	return Actor{Kind: ActorExternal, ID: "external:" + source + "/" + id, Name: id, From: "principalId"}
}
