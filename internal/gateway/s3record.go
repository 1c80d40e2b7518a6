package gateway

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"

	"spoor/internal/recorder"
)

// Bounds of what is recorded of a request.
const (
	MaxRecordedBody = 96 << 10 // bytes of a configuration
	MaxDeleteBody   = 2 << 20  // bytes of a list of objects to delete: 1000 of them
	maxDepth        = 16       // of elements in each other
	maxNodes        = 10_000   // of a document
	maxObjects      = 64 << 10 // bytes of ARNs of a list of objects
)

// hiddenParameter tells parameters of the query that are, or give away, credentials.
func hiddenParameter(name string) bool {
	switch strings.ToLower(name) {
	case "x-amz-signature", "x-amz-security-token", "x-amz-credential", "signature", "awsaccesskeyid", "x-amz-s3session-token":
		return true
	}
	return false
}

// recordedHeader tells those those of a request that are parameters of S3's operations, but for secrets.
func recordedHeader(name string) bool {
	switch name {
	case "x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "x-amz-user-agent", "x-amz-trailer", "x-amz-decoded-content-length", "x-amz-sdk-checksum-algorithm",
		"x-amz-server-side-encryption-customer-key", "x-amz-copy-source-server-side-encryption-customer-key", "x-amz-s3session-token", "x-amz-tagging", "x-amz-mfa",
		"x-amz-te", "x-amz-cf-id", "x-amz-server-side-encryption-context", "x-amz-checksum-mode":
		return false
	}
	return strings.HasPrefix(name, "x-amz-") && !strings.HasPrefix(name, "x-amz-meta-") && !strings.HasPrefix(name, "x-amz-checksum-")
}

// S3Owner is where buckets belong, as records have it.
type S3Owner struct {
	Partition string
	Account   string // of the bucket; "" where it is not known
}

// Record fills in what S3 records of a request and its answer: all but who called, when and from where. body is that of the
// request, where the operation's is recorded; "" for none. a may be nil for a request that was refused unseen.
func (q *S3Request) Record(c *recorder.Call, r *http.Request, owner S3Owner, body []byte, a *Answer) {
	c.Source, c.Name, c.ReadOnly = "s3.amazonaws.com", q.Name(), readOnly(q, r)
	if q.Operation != nil && q.Operation.Data {
		c.Category = "Data"
	}
	c.Request = q.parameters(r, body)
	c.Resources = append(c.Resources, q.resources(owner, body)...)
	extra := func(key string, value any) {
		if c.Additional == nil {
			c.Additional = map[string]any{}
		}
		c.Additional[key] = value
	}
	switch auth := r.Header.Get("Authorization"); {
	case strings.HasPrefix(auth, "AWS4-HMAC-SHA256"):
		extra("SignatureVersion", "SigV4")
		extra("AuthenticationMethod", "AuthHeader")
	case strings.HasPrefix(auth, "AWS4-ECDSA-P256-SHA256"):
		extra("SignatureVersion", "SigV4A")
		extra("AuthenticationMethod", "AuthHeader")
	case q.Query.Has("X-Amz-Signature"):
		extra("SignatureVersion", "SigV4")
		extra("AuthenticationMethod", "QueryString")
	case strings.HasPrefix(auth, "AWS "):
		extra("SignatureVersion", "SigV2")
		extra("AuthenticationMethod", "AuthHeader")
	case q.Query.Has("Signature") && q.Query.Has("AWSAccessKeyId"):
		extra("SignatureVersion", "SigV2")
		extra("AuthenticationMethod", "QueryString")
	}
	if r.TLS != nil {
		extra("CipherSuite", tls.CipherSuiteName(r.TLS.CipherSuite))
	}
	if a == nil {
		return
	}
	extra("bytesTransferredIn", a.In)
	extra("bytesTransferredOut", a.Out)
	if id := a.Header.Get("X-Amz-Id-2"); id != "" {
		extra("x-amz-id-2", id)
	}
	if sse := sseApplied(r.Header, a.Header); sse != "" {
		extra("SSEApplied", sse)
	}
	switch {
	case a.Gone:
		extra("transferAborted", "client")
	case a.Broken:
		extra("transferAborted", "service")
	}
	c.ErrorCode, c.ErrorMessage = a.S3Error(r.Method)
	if c.ErrorCode == "NoSuchKey" && q.level == OfBucket {
		c.ErrorCode, c.ErrorMessage = "NoSuchBucket", "The specified bucket does not exist"
	}
	if c.ErrorCode == "" && !c.ReadOnly {
		c.Response = responseElements(a.Header)
	}
}

func readOnly(q *S3Request, r *http.Request) bool {
	if q.Operation != nil {
		return q.Operation.ReadOnly
	}
	return r.Method == http.MethodGet || r.Method == http.MethodHead
}

// parameters are requestParameters: bucketName, key, Host, the query, S3's headers and a configuration in the body.
func (q *S3Request) parameters(r *http.Request, body []byte) map[string]any {
	p := map[string]any{"Host": r.Host}
	for name, values := range q.Query {
		if hiddenParameter(name) {
			continue
		}
		if len(values) == 1 {
			p[name] = values[0]
		} else {
			p[name] = values
		}
	}
	for name, values := range r.Header {
		if name = strings.ToLower(name); recordedHeader(name) {
			p[name] = strings.Join(values, ",")
		}
	}
	if q.Bucket != "" {
		p["bucketName"] = q.Bucket
	}
	if q.Key != "" {
		p["key"] = q.Key
	}
	if q.Operation != nil && q.Operation.Body != "" && len(body) > 0 {
		if v, ok := document(q.Operation.Body, body); ok {
			p[q.Operation.Body] = v
		}
	}
	return p
}

// document is a configuration as records have it.
func document(member string, body []byte) (any, bool) {
	if member == "bucketPolicy" {
		var v any
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		if d.Decode(&v) != nil {
			return nil, false
		}
		return v, true
	}
	v, err := XMLObject(body)
	return v, err == nil
}

// XMLObject makes of an XML document what records have: elements by name, those that come more than once in a list, text as a
// string, attributes as members. The root's own name is left out.
func XMLObject(text []byte) (any, error) {
	d := xml.NewDecoder(bytes.NewReader(text))
	nodes := 0
	for {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		if start, ok := t.(xml.StartElement); ok {
			return xmlElement(d, start, 1, &nodes)
		}
	}
}

var errDocument = errors.New("the document is too deep or too large")

func xmlElement(d *xml.Decoder, start xml.StartElement, depth int, nodes *int) (any, error) {
	if *nodes++; depth > maxDepth || *nodes > maxNodes {
		return nil, errDocument
	}
	members := map[string]any{}
	for _, a := range start.Attr {
		name := a.Name.Local
		if a.Name.Space != "" && a.Name.Local != "xmlns" {
			name = "xsi:" + a.Name.Local
		}
		members[name] = a.Value
	}
	var content strings.Builder
	nested := false
	for {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		switch t := t.(type) {
		case xml.CharData:
			content.Write(t)
		case xml.StartElement:
			nested = true
			v, err := xmlElement(d, t, depth+1, nodes)
			if err != nil {
				return nil, err
			}
			switch old := members[t.Name.Local].(type) {
			case nil:
				members[t.Name.Local] = v
			case []any:
				members[t.Name.Local] = append(old, v)
			default:
				members[t.Name.Local] = []any{old, v}
			}
		case xml.EndElement:
			text := strings.TrimSpace(content.String())
			switch {
			case !nested && len(members) == 0:
				return text, nil
			case !nested && text != "":
				members["value"] = text
			}
			return members, nil
		}
	}
}

// resources are the object, or where all of a bucket's objects are meant their prefix, and the bucket.
func (q *S3Request) resources(owner S3Owner, body []byte) []recorder.Resource {
	if q.Bucket == "" {
		return nil
	}
	bucket := "arn:" + owner.Partition + ":s3:::" + q.Bucket
	var list []recorder.Resource
	data := q.Operation != nil && q.Operation.Data
	switch {
	case q.level == OfObject:
		list = append(list, recorder.Resource{Type: "AWS::S3::Object", ARN: bucket + "/" + q.Key})
	case data && q.Name() == "DeleteObjects":
		list = append(list, deleted(bucket, body)...)
	case data && strings.HasPrefix(q.Name(), "ListObject"):
		list = append(list, recorder.Resource{Type: "AWS::S3::Object", ARNPrefix: bucket + "/" + q.Query.Get("prefix")})
	case data:
		list = append(list, recorder.Resource{Type: "AWS::S3::Object", ARNPrefix: bucket + "/"})
	}
	return append(list, recorder.Resource{AccountID: owner.Account, Type: "AWS::S3::Bucket", ARN: bucket})
}

// DeleteEntry is an object that DeleteObjects is to delete.
type DeleteEntry struct {
	Key       string
	VersionID string `xml:"VersionId"`
}

// DeleteList reads the body of DeleteObjects.
func DeleteList(body []byte) ([]DeleteEntry, error) {
	var v struct {
		XMLName xml.Name `xml:"Delete"`
		Object  []DeleteEntry
	}
	if err := xml.Unmarshal(body, &v); err != nil {
		return nil, err
	}
	if len(v.Object) > 1000 {
		return nil, errDocument
	}
	return v.Object, nil
}

// deleted are the objects of a list, or where that is not known, or too long for a record, all of the bucket.
func deleted(bucket string, body []byte) []recorder.Resource {
	entries, err := DeleteList(body)
	size := 0
	var list []recorder.Resource
	for _, e := range entries {
		if size += len(bucket) + len(e.Key) + 64; size > maxObjects {
			break
		}
		list = append(list, recorder.Resource{Type: "AWS::S3::Object", ARN: bucket + "/" + e.Key})
	}
	if err != nil || size > maxObjects || len(list) == 0 {
		return []recorder.Resource{{Type: "AWS::S3::Object", ARNPrefix: bucket + "/"}}
	}
	return list
}

// sseApplied is how an object is encrypted, and whether the request or the bucket said so.
func sseApplied(request, answer http.Header) string {
	if answer.Get("X-Amz-Server-Side-Encryption-Customer-Algorithm") != "" {
		return "SSE_C"
	}
	kind := ""
	switch answer.Get("X-Amz-Server-Side-Encryption") {
	case "AES256":
		kind = "SSE_S3"
	case "aws:kms":
		kind = "SSE_KMS"
	case "aws:kms:dsse":
		kind = "DSSE_KMS"
	default:
		return ""
	}
	if request.Get("X-Amz-Server-Side-Encryption") == "" {
		return "Default_" + kind
	}
	return kind
}

// responseElements are what a change is answered with, "" for nothing.
func responseElements(h http.Header) any {
	out := map[string]any{}
	for _, name := range []string{
		"X-Amz-Server-Side-Encryption", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", "X-Amz-Server-Side-Encryption-Bucket-Key-Enabled",
		"X-Amz-Version-Id", "X-Amz-Copy-Source-Version-Id", "X-Amz-Delete-Marker", "X-Amz-Expiration",
	} {
		if v := h.Get(name); v != "" {
			out[strings.ToLower(name)] = v
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// S3Error is the error that an answer tells, as S3 names it; "" for none. A HEAD has it in its status alone.
func (a *Answer) S3Error(method string) (code, message string) {
	if a.Err != nil {
		var refused *Refusal
		switch {
		case errors.As(a.Err, &refused):
			return refused.Code, refused.Message
		case a.Gone && a.Status == 0:
			return "IncompleteBody", "The caller broke off before the request was complete"
		case a.Gone:
			return "", "" // it was answered
		case a.Broken:
			return "InternalError", "The service broke off its answer"
		}
		return "ServiceUnavailable", "The service did not answer"
	}
	if a.Status < 400 {
		// An answer of success may hold an error that happened after its beginning was sent.
		if changes := method == http.MethodPut || method == http.MethodPost; !changes || !bytes.Contains(a.Body[:min(len(a.Body), 512)], []byte("<Error")) {
			return "", ""
		}
		return xmlError(a.Body)
	}
	if code, message = xmlError(a.Body); code != "" {
		return code, message
	}
	switch a.Status {
	case http.StatusBadRequest:
		return "BadRequest", http.StatusText(a.Status)
	case http.StatusForbidden:
		return "AccessDenied", "Access Denied"
	case http.StatusNotFound:
		return "NoSuchKey", "The specified key does not exist."
	case http.StatusMethodNotAllowed:
		return "MethodNotAllowed", "The specified method is not allowed against this resource."
	case http.StatusPreconditionFailed:
		return "PreconditionFailed", "At least one of the pre-conditions you specified did not hold"
	case http.StatusRequestedRangeNotSatisfiable:
		return "InvalidRange", "The requested range is not satisfiable"
	case http.StatusServiceUnavailable:
		return "ServiceUnavailable", http.StatusText(a.Status)
	}
	if a.Status >= 500 {
		return "InternalError", http.StatusText(a.Status)
	}
	return "UnknownError", http.StatusText(a.Status)
}

// xmlError reads <Error><Code/><Message/></Error>, at the root or one element below it, as S3 and the query protocol have it.
func xmlError(body []byte) (code, message string) {
	d := xml.NewDecoder(io.LimitReader(bytes.NewReader(body), peekSize))
	in, depth := 0, 0
	for range maxNodes {
		t, err := d.Token()
		if err != nil {
			return code, message
		}
		switch t := t.(type) {
		case xml.StartElement:
			depth++
			switch {
			case in == 0 && t.Name.Local == "Error" && depth <= 3:
				in = depth
			case in > 0 && depth == in+1 && (t.Name.Local == "Code" || t.Name.Local == "Message"):
				var text string
				if d.DecodeElement(&text, &t) != nil {
					return code, message
				}
				depth--
				if t.Name.Local == "Code" {
					code = text
				} else {
					message = text
				}
			}
		case xml.EndElement:
			if depth == in && in > 0 {
				return code, message
			}
			depth--
		}
	}
	return code, message
}
