package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"

	"spoor/internal/awsapi/wire"
	"spoor/internal/recorder"
)

// Protocol is the way in which a service other than S3 is spoken to.
type Protocol uint8

// The protocols.
const (
	REST  Protocol = iota // method and path say what is wanted
	JSON                  // X-Amz-Target does
	Query                 // the parameter Action does
	CBOR                  // the path does: /service/NAME/operation/NAME
)

// MaxParameters is how much of the body of a request is held, to record its parameters.
const MaxParameters = 256 << 10

// ServiceRequest is a request to a service other than S3.
type ServiceRequest struct {
	Service  string // signing name
	Protocol Protocol
	Name     string // of the operation; the method for [REST]
	Version  string // of the API, where the request says it
	params   any    // nil for none
}

// ParseService finds out what a request to a service wants. start is the beginning of its body, of [MaxParameters] at most, and
// whole says that it is all: of longer ones the parameters are not known.
func ParseService(service string, r *http.Request, start []byte, whole bool) *ServiceRequest {
	q := &ServiceRequest{Service: service, Name: r.Method}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	query, _ := wire.ParseQuery(r.URL.RawQuery) // what is malformed names nothing
	target := r.Header.Get("X-Amz-Target")
	parts := strings.Split(r.URL.Path, "/")
	switch {
	case r.Header.Get("Smithy-Protocol") == "rpc-v2-cbor" && len(parts) == 5 && parts[1] == "service" && parts[3] == "operation":
		q.Protocol, q.Name = CBOR, parts[4]
		if whole {
			q.params = decodeCBOR(start)
		}
	case target != "":
		q.Protocol, q.Name = JSON, target[strings.LastIndexByte(target, '.')+1:]
		if i := strings.LastIndexByte(target, '_'); i > 0 && strings.LastIndexByte(target, '.') == i+9 { // CloudTrail_20131101.StopLogging
			if day := target[i+1 : i+9]; strings.Trim(day, "0123456789") == "" {
				q.Version = day[:4] + "-" + day[4:6] + "-" + day[6:]
			}
		}
		if whole {
			q.params = decodeJSON(start)
		}
	default:
		form := query
		if media == "application/x-www-form-urlencoded" && whole && len(start) > 0 {
			if v, err := wire.ParseQuery(string(start)); err == nil {
				form = v
			}
		}
		if action := form.Get("Action"); action != "" && (r.URL.Path == "/" || r.URL.Path == "") {
			q.Protocol, q.Name, q.Version = Query, action, form.Get("Version")
			q.params = formObject(form, "Action", "Version")
			break
		}
		p := formObject(query)
		p["httpMethod"], p["path"] = r.Method, r.URL.Path
		q.params = p
	}
	if !plainName(q.Name) {
		q.Name = "UnknownOperation"
	}
	return q
}

func plainName(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i, c := range []byte(s) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// ReadOnly reports whether the operation's name, or the method, says that nothing is changed.
func (q *ServiceRequest) ReadOnly() bool {
	if q.Protocol == REST {
		return q.Name == http.MethodGet || q.Name == http.MethodHead || q.Name == http.MethodOptions
	}
	return slices.ContainsFunc([]string{"Get", "List", "Describe", "Lookup", "Search", "Filter", "Test", "Check", "Decode", "BatchGet", "Query", "Scan", "Head"},
		func(verb string) bool { return strings.HasPrefix(q.Name, verb) })
}

// private are members that hold what a service keeps for its callers, and that are not recorded, by service.
func private(service string) []string {
	switch service {
	case "sns":
		return []string{"message", "subject", "messageattributes", "publishbatchrequestentries"}
	case "sqs":
		return []string{"messagebody", "messageattributes", "messagesystemattributes", "body", "entries", "messages"}
	case "dynamodb":
		return []string{"item", "items", "attributes", "expressionattributevalues", "requestitems", "responses", "transactitems", "statements", "parameters", "key", "keys", "attributeupdates", "expected", "unprocesseditems", "unprocessedkeys"}
	case "kinesis", "firehose":
		return []string{"data", "records", "record"}
	case "secretsmanager":
		return []string{"secretstring", "secretbinary", "secretvalues"}
	case "ssm":
		return []string{"value", "values", "parameter", "parameters"}
	case "kms":
		return []string{"plaintext", "ciphertextblob", "privatekeyplaintext", "message", "mac"}
	case "logs":
		return []string{"logevents"}
	case "sts":
		return []string{"tokencode", "webidentitytoken", "samlassertion", "sessiontoken", "secretaccesskey"}
	case "events":
		return []string{"entries"}
	}
	return nil
}

// hidePrivate replaces members by name, at any depth, and gives all names a small first letter, as records have them.
func hidePrivate(v any, names []string, depth int) any {
	if depth > maxDepth*2 {
		return recorder.Hidden
	}
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, member := range v {
			if slices.Contains(names, strings.ToLower(name)) {
				out[small(name)] = recorder.Hidden
				continue
			}
			out[small(name)] = hidePrivate(member, names, depth+1)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = hidePrivate(v[i], names, depth+1)
		}
		return out
	case []byte:
		return recorder.Hidden
	}
	return v
}

func small(name string) string {
	first, n := utf8.DecodeRuneInString(name)
	if n < len(name) {
		if next, _ := utf8.DecodeRuneInString(name[n:]); unicode.IsUpper(next) { // such as KMSKeyId
			return name
		}
	}
	return string(unicode.ToLower(first)) + name[n:]
}

func decodeJSON(text []byte) any {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v map[string]any
	if d.Decode(&v) != nil || len(v) == 0 {
		return nil
	}
	return v
}

func decodeCBOR(text []byte) any {
	if len(text) == 0 {
		return nil
	}
	mode, err := cbor.DecOptions{MaxNestedLevels: maxDepth * 2, MaxArrayElements: maxNodes * 2, MaxMapPairs: maxNodes * 2}.DecMode()
	if err != nil {
		return nil
	}
	var v map[string]any
	if mode.Unmarshal(text, &v) != nil || len(v) == 0 {
		return nil
	}
	return plainCBOR(v, 0)
}

// plainCBOR makes of decoded CBOR what JSON can have.
func plainCBOR(v any, depth int) any {
	if depth > maxDepth*2 {
		return recorder.Hidden
	}
	switch v := v.(type) {
	case map[string]any:
		for k, m := range v {
			v[k] = plainCBOR(m, depth+1)
		}
		return v
	case map[any]any:
		out := map[string]any{}
		for k, m := range v {
			if name, ok := k.(string); ok {
				out[name] = plainCBOR(m, depth+1)
			}
		}
		return out
	case []any:
		for i := range v {
			v[i] = plainCBOR(v[i], depth+1)
		}
		return v
	case string, bool, int64, uint64, []byte, nil:
		return v
	case float64:
		if v != v || v > 1e308 || v < -1e308 {
			return nil
		}
		return v
	case cbor.Tag:
		return plainCBOR(v.Content, depth+1)
	}
	return nil
}

// formObject is a form as an object, with the names as they are written.
func formObject(form url.Values, without ...string) map[string]any {
	p := map[string]any{}
	for name, values := range form {
		if hiddenParameter(name) || slices.Contains(without, name) || strings.HasPrefix(strings.ToLower(name), "x-amz-") {
			continue
		}
		if len(values) == 1 {
			p[name] = values[0]
		} else {
			list := make([]any, len(values))
			for i, v := range values {
				list[i] = v
			}
			p[name] = list
		}
	}
	return p
}

// Record fills in what is recorded of a request and its answer: all but who called, when and from where. Bodies of [REST] are
// not recorded, since it is not known what they hold.
func (q *ServiceRequest) Record(c *recorder.Call, a *Answer) {
	c.Source, c.Name, c.APIVersion, c.ReadOnly = q.Service+".amazonaws.com", q.Name, q.Version, q.ReadOnly()
	hidden := private(q.Service)
	if q.params != nil {
		if m, ok := hidePrivate(q.params, hidden, 0).(map[string]any); ok && len(m) > 0 {
			c.Request = m
		}
	}
	if a == nil {
		return
	}
	if c.Additional == nil {
		c.Additional = map[string]any{}
	}
	c.Additional["bytesTransferredIn"], c.Additional["bytesTransferredOut"] = a.In, a.Out
	switch {
	case a.Gone:
		c.Additional["transferAborted"] = "client"
	case a.Broken:
		c.Additional["transferAborted"] = "service"
	}
	c.ErrorCode, c.ErrorMessage = q.failure(a)
	if c.ErrorCode == "" && !c.ReadOnly && a.Whole && q.Protocol != REST && len(a.Body) > 0 {
		if m, ok := hidePrivate(q.result(a.Body), hidden, 0).(map[string]any); ok && len(m) > 0 {
			c.Response = m
		}
	}
}

// result is the answer to a change.
func (q *ServiceRequest) result(body []byte) any {
	switch q.Protocol {
	case JSON:
		return decodeJSON(body)
	case CBOR:
		return decodeCBOR(body)
	}
	v, err := XMLObject(body)
	m, ok := v.(map[string]any)
	if err != nil || !ok {
		return nil
	}
	if r, ok := m[q.Name+"Result"].(map[string]any); ok {
		return r
	}
	delete(m, "ResponseMetadata")
	delete(m, "xmlns")
	return m
}

// failure is the error that an answer tells.
func (q *ServiceRequest) failure(a *Answer) (code, message string) {
	if a.Err != nil {
		var refused *Refusal
		switch {
		case errors.As(a.Err, &refused):
			return refused.Code, refused.Message
		case a.Gone && a.Status == 0:
			return "RequestAborted", "The caller broke off before the request was complete"
		case a.Gone:
			return "", ""
		case a.Broken:
			return "InternalFailure", "The service broke off its answer"
		}
		return "ServiceUnavailable", "The service did not answer"
	}
	if a.Status < 400 {
		return "", ""
	}
	code, _, _ = strings.Cut(a.Header.Get("X-Amzn-Errortype"), ":")
	var m map[string]any
	switch {
	case q.Protocol == Query || bytes.HasPrefix(bytes.TrimSpace(a.Body), []byte("<")):
		return xmlError(a.Body)
	case q.Protocol == CBOR:
		m, _ = decodeCBOR(a.Body).(map[string]any)
	default:
		m, _ = decodeJSON(a.Body).(map[string]any)
	}
	for name, v := range m {
		text, _ := v.(string)
		switch strings.ToLower(name) {
		case "__type", "code":
			if text != "" && code == "" {
				code = text
			}
		case "message":
			message = text
		}
	}
	if i := strings.LastIndexByte(code, '#'); i >= 0 {
		code = code[i+1:]
	}
	if code == "" {
		code = strings.ReplaceAll(http.StatusText(a.Status), " ", "")
	}
	if code == "" {
		code = "UnknownError"
	}
	return code, message
}

// Write answers with an error in the words of the protocol.
func (q *ServiceRequest) Write(w http.ResponseWriter, r *http.Request, status int, code, message, requestID string) {
	h := w.Header()
	h.Set("X-Amzn-Requestid", requestID)
	var body []byte
	switch q.Protocol {
	case Query:
		h.Set("Content-Type", "text/xml")
		body = append(body, "<ErrorResponse><Error><Type>Receiver</Type>"...)
		body = wire.AppendElement(body, "Code", code)
		body = wire.AppendElement(body, "Message", message)
		body = append(body, "</Error>"...)
		body = wire.AppendElement(body, "RequestId", requestID)
		body = append(body, "</ErrorResponse>"...)
	case CBOR:
		h.Set("Content-Type", "application/cbor")
		h.Set("Smithy-Protocol", "rpc-v2-cbor")
		body, _ = cbor.Marshal(map[string]string{"__type": code, "message": message}) // strings can be
	default:
		h.Set("Content-Type", "application/x-amz-json-1.1")
		if q.Protocol == REST {
			h.Set("Content-Type", "application/json")
		}
		h.Set("X-Amzn-Errortype", code)
		body, _ = json.Marshal(map[string]string{"__type": code, "message": message}) // strings can be
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // who asked may have gone
	}
}
