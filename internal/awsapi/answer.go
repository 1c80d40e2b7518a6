package awsapi

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/fxamacker/cbor/v2"

	"spoor/internal/awsapi/model"
	"spoor/internal/awsapi/wire"
)

// answer writes the result of a call.
func (x *exchange) answer(w http.ResponseWriter, out any) error {
	var body []byte
	t := x.op.out
	switch x.protocol {
	case model.Query:
		name := x.op.model.Name
		body = append(body, "<"+name+`Response xmlns="`+x.service.model.Namespace+`">`...)
		if x.op.model.Wrapper != "" {
			body = append(body, "<"+x.op.model.Wrapper+">"...)
			if t != nil {
				body = t.AppendXML(body, out)
			}
			body = append(body, "</"+x.op.model.Wrapper+">"...)
		}
		body = append(body, "<ResponseMetadata>"...)
		body = wire.AppendElement(body, "RequestId", x.call.RequestID)
		body = append(body, "</ResponseMetadata></"+name+"Response>"...)
	case model.CBOR:
		body = []byte{0xa0} // an empty map
		if t != nil {
			var err error
			if body, err = t.EncodeCBOR(out); err != nil {
				return err
			}
		}
	default:
		body = []byte("{}")
		if t != nil {
			body = t.AppendJSON(body[:0], out)
		}
	}
	x.write(w, http.StatusOK, body)
	return nil
}

// fail writes an error.
func (x *exchange) fail(w http.ResponseWriter, e told) {
	var body []byte
	switch x.protocol {
	case model.Query:
		namespace := "http://webservices.amazon.com/AWSFault/2005-15-09"
		if x.service != nil && x.service.model.Namespace != "" {
			namespace = x.service.model.Namespace
		}
		kind := "Receiver"
		if e.sender() {
			kind = "Sender"
		}
		body = append(body, `<ErrorResponse xmlns="`+namespace+`"><Error>`...)
		body = wire.AppendElement(body, "Type", kind)
		body = wire.AppendElement(body, "Code", e.code)
		body = wire.AppendElement(body, "Message", e.message)
		body = append(body, "</Error>"...)
		body = wire.AppendElement(body, "RequestId", x.call.RequestID)
		body = append(body, "</ErrorResponse>"...)
	case model.CBOR:
		body = must(cbor.Marshal(errorMembers(e, true)))
	default:
		body = must(json.Marshal(errorMembers(e, x.protocol == model.JSON)))
	}
	if x.protocol != model.Query {
		w.Header().Set("X-Amzn-Errortype", e.code)
		if x.service != nil && x.service.model.QueryCompatible {
			kind := "Receiver"
			if e.sender() {
				kind = "Sender"
			}
			w.Header().Set("X-Amzn-Query-Error", e.query+";"+kind)
		}
	}
	x.write(w, e.status, body)
}

func errorMembers(e told, typed bool) map[string]any {
	m := make(map[string]any, len(e.members)+2)
	for k, v := range e.members {
		m[k] = v
	}
	if typed {
		m["__type"] = e.code
	}
	m["message"] = e.message
	return m
}

// must is for values that always have a form.
func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func (x *exchange) write(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("X-Amzn-Requestid", x.call.RequestID)
	h.Set("Content-Type", x.contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	if x.protocol == model.CBOR {
		h.Set("Smithy-Protocol", "rpc-v2-cbor")
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // a caller who is gone was recorded
}
