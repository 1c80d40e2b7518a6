package s3

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // Content-MD5 is S3's
	"crypto/subtle"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"spoor/internal/blob"
	"spoor/internal/gateway"
	"spoor/internal/keyring"
)

// forward hands a call over to the gateway behind, and its answer to the caller.
func (x *exchange) forward() {
	out, err := x.onward()
	if err != nil {
		x.fail(asRefusal(err))
		return
	}
	body, length := io.Reader(x.r.Body), x.r.ContentLength
	if x.proof != nil {
		body, length = x.onwardBody(out.Header)
	} else {
		out.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	}
	if op := x.q.Operation; op.Body != "" && length != 0 {
		start, all, whole := gateway.PeekBody(x.contentReader(body), gateway.MaxRecordedBody)
		if body = all; whole {
			x.body = start
		}
		if x.proof != nil && len(x.proof.Body.Trailer) > 0 {
			x.proof.Body.Reader = all
			body, length = x.onwardBody(out.Header)
		}
	}
	fresh := x.fresh()
	x.f.forwarder.Forward(x.w, x.r, &gateway.Exchange{
		Out: out, Body: body, Length: length, Changes: !x.q.Operation.ReadOnly,
		Admit: x.admit,
		Settle: func(a *gateway.Answer) error {
			x.status = a.Status
			if a.Err != nil {
				x.refused(a)
			}
			err := x.record(a)
			if err != nil && a.Err == nil {
				x.undoForwarded(a, fresh)
			}
			return err
		},
		Fail: func(_ http.ResponseWriter, a *gateway.Answer, err error) {
			switch e := x.unanswered(a); {
			case err != nil:
				x.write(unrecorded(err))
			default:
				x.log(e)
				x.write(e)
			}
		},
	})
}

// onwardBody is the body for the gateway behind, which keeps what it is told of the encoding: chunks are none of the content.
func (x *exchange) onwardBody(h http.Header) (io.Reader, int64) {
	body, length := x.proof.Body.Onward(h)
	if rest, ok := strings.CutSuffix(h.Get("Content-Encoding"), "aws-chunked"); ok {
		if h.Del("Content-Encoding"); rest != "" {
			h.Set("Content-Encoding", strings.TrimSuffix(rest, ","))
		}
	}
	return body, length
}

// contentReader is the content of a body, without frames.
func (x *exchange) contentReader(body io.Reader) io.Reader {
	if x.proof != nil && len(x.proof.Body.Trailer) > 0 {
		return x.proof.Body.Reader
	}
	return body
}

// unanswered is what a caller is told in place of an answer.
func (x *exchange) unanswered(a *gateway.Answer) *gateway.Refusal {
	var refused *gateway.Refusal
	switch {
	case errors.As(a.Err, &refused):
		return refused
	case a.Gone:
		return gateway.Refuse(http.StatusBadRequest, "IncompleteBody", "The request body terminated unexpectedly")
	case a.Err != nil:
		return gateway.Internal(a.Err)
	}
	return gateway.Internal(errors.New("there is no answer"))
}

// refused completes the answer to a call that failed, for its record.
func (x *exchange) refused(a *gateway.Answer) {
	var refused *gateway.Refusal
	if errors.As(a.Err, &refused) {
		a.Gone, a.Broken = false, false
		if x.r.Method != http.MethodHead {
			a.Out = int64(len(x.failure(refused).Body()))
		}
	}
}

// dropped tells headers that are for the front alone.
func dropped(name string) bool {
	switch name {
	case "Authorization", "X-Amz-Date", "Date", "X-Amz-Security-Token", "X-Amz-Acl", "X-Amz-Expected-Bucket-Owner", "X-Amz-Source-Expected-Bucket-Owner",
		"X-Amz-Request-Payer", "Expect", "Accept-Encoding", "X-Amz-Copy-Source", "X-Amz-Bypass-Governance-Retention", "Forwarded", "Cookie", "Host", "X-Amz-Mfa", "X-Amz-Object-Ownership":
		return true
	}
	return strings.HasPrefix(name, "X-Forwarded-") || strings.HasPrefix(name, blob.HeaderReserved) || strings.HasPrefix(name, "X-Amz-Server-Side-Encryption")
}

// onward makes the request to the gateway behind of the caller's: of what was understood, so that nobody reads it otherwise.
func (x *exchange) onward() (*http.Request, error) {
	q := url.Values{}
	for name, values := range x.q.Query {
		switch l := strings.ToLower(name); {
		case strings.HasPrefix(l, "x-amz-") && l != "x-amz-request-payer", l == "x-id":
		default:
			q[name] = values
		}
	}
	delete(q, "x-amz-request-payer")
	out := inner(x.r.Context(), x.r.Method, x.q.Bucket, x.q.Key, q)
	for name, values := range gateway.Outgoing(x.r).Header {
		if !dropped(name) {
			out.Header[name] = values
		}
	}
	if strings.EqualFold(x.r.Header.Get("X-Amz-Bypass-Governance-Retention"), "true") {
		out.Header.Set("X-Amz-Bypass-Governance-Retention", "true")
	}
	if x.q.Operation.Copies {
		source := gateway.EscapePath(x.q.Copy.Bucket + "/" + x.q.Copy.Key)
		if v := x.q.Copy.Version; v != "" {
			source += "?versionId=" + url.QueryEscape(v)
		}
		out.Header.Set("X-Amz-Copy-Source", source)
	}
	switch x.q.Operation.Name {
	case "PutObject", "CopyObject", "CreateMultipartUpload":
		return out, x.encrypt(out.Header)
	case "UploadPart", "UploadPartCopy", "CompleteMultipartUpload":
		return out, x.part()
	}
	return out, nil
}

// encrypt settles how an object is encrypted: as the request says, and otherwise as the bucket does. A key is told to the store
// only when the caller may use it.
func (x *exchange) encrypt(h http.Header) error {
	given, id := x.r.Header.Get(headerSSE), x.r.Header.Get(headerKey)
	if given == "" && id == "" {
		if e := x.bucket.Encryption; e != nil && e.KMSKey != "" {
			given, id = "aws:kms", e.KMSKey
		}
	}
	switch given {
	case "", "AES256":
		if id != "" {
			return gateway.Refuse(http.StatusBadRequest, "InvalidArgument", "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms")
		}
		h.Set(blob.HeaderKMSKey, blob.NoKMSKey) // objects lie as they are
		return nil
	case "aws:kms":
	case "aws:kms:dsse":
		return gateway.Refuse(http.StatusNotImplemented, "NotImplemented", "Encryption in two layers is not served here.")
	default:
		return gateway.Refuse(http.StatusBadRequest, "InvalidEncryptionAlgorithmError", "The encryption request that you specified is not valid. The valid value is AES256 or aws:kms.")
	}
	arn, err := x.resolveKey(id)
	if err != nil {
		return err
	}
	encryption := map[string]string{}
	if text := x.r.Header.Get(headerContext); text != "" {
		if encryption, err = blob.ParseContext(text); err != nil || encryption == nil {
			return gateway.Refuse(http.StatusBadRequest, "InvalidArgument", "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string holding JSON which represents a string-string map")
		}
	}
	if own := x.q.ARN(x.f.o.Partition); encryption["aws:s3:arn"] == "" {
		encryption["aws:s3:arn"] = own
	} else if encryption["aws:s3:arn"] != own {
		return gateway.Refuse(http.StatusBadRequest, "InvalidArgument", "The encryption context names another object")
	}
	if err := x.mayKey("kms:GenerateDataKey", arn, encryption); err != nil {
		return err
	}
	x.key = arn
	h.Set(blob.HeaderKMSKey, arn)
	h.Set(blob.HeaderKMSContext, blob.FormatContext(encryption))
	return nil
}

// resolveKey is the ARN of a key that a request names; without a name that of S3's own.
func (x *exchange) resolveKey(id string) (string, error) {
	if x.f.o.Keys == nil {
		return "", gateway.Refuse(http.StatusBadRequest, "KMS.NotFoundException", "There are no keys here.")
	}
	if id == "" {
		id = "alias/aws/s3"
	}
	arn, err := x.f.o.Keys.Resolve(x.keyRef(), id)
	if err != nil {
		return "", keyRefusal(err)
	}
	return arn, nil
}

// part asks for the key of an upload in parts.
func (x *exchange) part() error {
	u, err := x.f.o.Buckets.Upload(x.r.Context(), x.q.Bucket, x.q.Key, x.q.Query.Get("uploadId"))
	if err != nil {
		return stateError(err)
	}
	if x.key = u.KMSKey; x.key != "" {
		return x.mayKey("kms:GenerateDataKey", x.key, u.EncryptionContext)
	}
	return nil
}

func (x *exchange) keyRef() keyring.Ref {
	account := x.call.Principal.Identity.AccountID
	if x.proof == nil {
		account = x.f.o.Account
	}
	return keyring.Ref{Account: account, Region: x.bucketRegion()}
}

// keyRefusal is what S3 says of a key.
func keyRefusal(err error) error {
	switch {
	case errors.Is(err, keyring.ErrNotFound):
		return gateway.Refuse(http.StatusBadRequest, "KMS.NotFoundException", "%s", err)
	case errors.Is(err, keyring.ErrDisabled):
		return gateway.Refuse(http.StatusBadRequest, "KMS.DisabledException", "%s", err)
	case errors.Is(err, keyring.ErrPending):
		return gateway.Refuse(http.StatusBadRequest, "KMS.KMSInvalidStateException", "%s", err)
	}
	return gateway.Internal(fmt.Errorf("look up a key: %w", err))
}

// kept are headers of an error's answer that callers go by.
var kept = []string{"X-Amz-Delete-Marker", "X-Amz-Version-Id", "Last-Modified", "Etag", "Content-Range", "Allow", "Retry-After"}

// admit looks at the answer of the gateway behind, before anything of it goes out: errors are told in the front's name, what is
// encrypted is for those who may use its key, and that an object is not there for those who may list.
func (x *exchange) admit(a *gateway.Answer) error {
	h := a.Header
	for _, name := range []string{"X-Amz-Request-Id", "X-Amz-Id-2", "Server"} {
		h.Del(name)
	}
	if x.proof != nil && x.bucket.Region != "" && x.q.Level() == gateway.OfBucket {
		h.Set("X-Amz-Bucket-Region", x.bucket.Region)
	}
	op := x.q.Operation
	if a.Status >= 400 {
		code, message := a.S3Error(x.r.Method)
		e := &gateway.Refusal{Status: a.Status, Code: code, Message: message}
		x.extra = http.Header{}
		for _, name := range kept {
			if v := h[name]; len(v) > 0 {
				x.extra[name] = v
			}
		}
		if op.Level == gateway.OfObject && op.ReadOnly && (code == "NoSuchKey" || code == "NoSuchVersion") {
			err := x.absent(e, &x.bucket, x.q.Key)
			if asRefusal(err).Code == "AccessDenied" {
				x.extra = nil
			}
			return err
		}
		return e
	}
	if a.Status >= 300 {
		return nil
	}
	switch op.Name {
	case "GetObject", "HeadObject", "GetObjectAttributes":
		if err := x.mayRead(h); err != nil {
			return err
		}
	case "PutObject", "CopyObject", "CreateMultipartUpload", "UploadPart", "UploadPartCopy", "CompleteMultipartUpload":
	default:
		return nil
	}
	if h.Set(headerSSE, "AES256"); x.key != "" {
		h.Set(headerSSE, "aws:kms")
		h.Set(headerKey, x.key)
	}
	return nil
}

// mayRead asks for the key of the object in an answer. The object may have been replaced since: then nobody knows whose key it
// has, and the caller has to ask again.
func (x *exchange) mayRead(h http.Header) error {
	o, err := x.f.o.Buckets.HeadVersion(x.r.Context(), x.q.Bucket, x.q.Key, x.q.Version())
	if err == nil && strings.Trim(h.Get("Etag"), `"`) != o.ETag {
		err = blob.ErrNoKey
	}
	if errors.Is(err, blob.ErrNoKey) {
		return gateway.Refuse(http.StatusServiceUnavailable, "SlowDown", "The object was replaced while it was read. Please try again.")
	}
	if err != nil {
		return gateway.Internal(fmt.Errorf("look at an object: %w", err))
	}
	if x.key = o.KMSKey; x.key != "" {
		return x.mayKey("kms:Decrypt", x.key, o.EncryptionContext)
	}
	return nil
}

// fresh reports whether the call is about to make an object where there is none, so that it can be taken back.
func (x *exchange) fresh() bool {
	switch x.q.Operation.Name {
	case "PutObject", "CopyObject", "CompleteMultipartUpload":
		_, err := x.f.o.Buckets.Head(x.r.Context(), x.q.Bucket, x.q.Key)
		return errors.Is(err, blob.ErrNoKey)
	}
	return false
}

// undoForwarded takes back what the gateway behind did, for a call that could not be recorded: versions are removed again, and
// objects where there were none. What was replaced or deleted in a bucket without versions is gone.
func (x *exchange) undoForwarded(a *gateway.Answer, fresh bool) {
	var err error
	upload, version := "", a.Header.Get("X-Amz-Version-Id")
	switch x.q.Operation.Name {
	case "PutObject", "CopyObject", "CompleteMultipartUpload":
		if version == "" && !fresh || version == "null" && !fresh {
			x.f.o.Log.Error("a call that could not be recorded replaced an object", slog.String("request", x.call.RequestID), slog.String("bucket", x.q.Bucket))
			return
		}
	case "DeleteObject":
		if version == "" || x.q.Version() != "" || a.Header.Get("X-Amz-Delete-Marker") != "true" {
			x.f.o.Log.Error("a call that could not be recorded deleted an object", slog.String("request", x.call.RequestID), slog.String("bucket", x.q.Bucket))
			return
		}
	case "CreateMultipartUpload":
		var made struct {
			UploadID string `xml:"UploadId"`
		}
		if xml.Unmarshal(a.Body, &made) != nil {
			return
		}
		upload = made.UploadID
	default:
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), undoTime)
	defer cancel()
	if upload == "" {
		err = x.f.o.Buckets.Delete(ctx, x.q.Bucket, x.q.Key, version)
	} else {
		var res *http.Response
		if res, err = x.f.transport.RoundTrip(inner(ctx, http.MethodDelete, x.q.Bucket, x.q.Key, url.Values{"uploadId": {upload}})); err == nil {
			_ = res.Body.Close()
		}
	}
	if err != nil {
		x.f.o.Log.Error("a call that could not be recorded could not be taken back", slog.String("request", x.call.RequestID), slog.Any("error", err))
	}
}

// checkMD5 compares a body with Content-MD5, where that is given.
func checkMD5(h http.Header, body []byte) error {
	given := h.Get("Content-Md5")
	if given == "" {
		return nil
	}
	want, err := base64.StdEncoding.DecodeString(given)
	if err != nil || len(want) != md5.Size {
		return gateway.Refuse(http.StatusBadRequest, "InvalidDigest", "The Content-MD5 you specified was invalid.")
	}
	if sum := md5.Sum(body); subtle.ConstantTimeCompare(sum[:], want) != 1 { //nolint:gosec // see above
		return gateway.Refuse(http.StatusBadRequest, "BadDigest", "The Content-MD5 you specified did not match what we received.")
	}
	return nil
}

// maxDeleted bounds the answer to a list of objects to delete.
const maxDeleted = 4 << 20

// deleteObjects deletes those of a list that the caller may delete, and tells of the others.
func (x *exchange) deleteObjects() (*answered, error) {
	text, err := x.content(gateway.MaxDeleteBody)
	if err != nil {
		return nil, err
	}
	var doc struct {
		XMLName xml.Name              `xml:"Delete"`
		Object  []gateway.DeleteEntry `xml:"Object"`
		Quiet   bool                  `xml:"Quiet,omitempty"`
	}
	if err := xml.Unmarshal(text, &doc); err != nil || len(doc.Object) == 0 || len(doc.Object) > 1000 {
		return nil, malformed
	}
	var refused bytes.Buffer
	wanted := doc.Object[:0:0]
	for _, o := range doc.Object {
		err := checkKey(o.Key)
		if err == nil {
			action, conditions := "s3:DeleteObject", map[string][]string{}
			if o.VersionID != "" {
				action = "s3:DeleteObjectVersion"
				conditions["s3:VersionId"] = []string{o.VersionID}
			}
			err = x.ask(action, x.arn(x.q.Bucket+"/"+o.Key), &x.bucket, conditions)
			if err == nil && strings.EqualFold(x.r.Header.Get("X-Amz-Bypass-Governance-Retention"), "true") {
				err = x.ask("s3:BypassGovernanceRetention", x.arn(x.q.Bucket+"/"+o.Key), &x.bucket, conditions)
			}
		}
		if err != nil {
			e := asRefusal(err)
			if e.Status >= 500 {
				return nil, e
			}
			refused.WriteString("<Error>" + element("Key", o.Key))
			if o.VersionID != "" {
				refused.WriteString(element("VersionId", o.VersionID))
			}
			refused.WriteString(element("Code", e.Code) + element("Message", e.Message) + "</Error>")
			continue
		}
		wanted = append(wanted, o)
	}
	if len(wanted) == 0 {
		if x.proof == nil {
			return nil, denied
		}
		return &answered{status: http.StatusOK, body: []byte(xml.Header + `<DeleteResult xmlns="` + namespace + `">` + refused.String() + "</DeleteResult>")}, nil
	}
	doc.Object = wanted
	var list bytes.Buffer
	list.WriteString(`<Delete xmlns="` + namespace + `">`)
	for _, o := range wanted {
		list.WriteString("<Object>" + element("Key", o.Key))
		if o.VersionID != "" {
			list.WriteString(element("VersionId", o.VersionID))
		}
		list.WriteString("</Object>")
	}
	if doc.Quiet {
		list.WriteString("<Quiet>true</Quiet>")
	}
	list.WriteString("</Delete>")
	r := inner(context.WithoutCancel(x.r.Context()), http.MethodPost, x.q.Bucket, "", url.Values{"delete": {""}})
	sum := md5.Sum(list.Bytes()) //nolint:gosec // see above
	r.Header.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum[:]))
	r.Header.Set("Content-Type", "application/xml")
	r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	if strings.EqualFold(x.r.Header.Get("X-Amz-Bypass-Governance-Retention"), "true") {
		r.Header.Set("X-Amz-Bypass-Governance-Retention", "true")
	}
	r.Body, r.ContentLength = io.NopCloser(&list), int64(list.Len())
	res, err := x.f.transport.RoundTrip(r)
	if err != nil {
		return nil, gateway.Internal(fmt.Errorf("delete objects: %w", err))
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxDeleted))
	if err != nil {
		return nil, gateway.Internal(fmt.Errorf("delete objects: %w", err))
	}
	if res.StatusCode != http.StatusOK {
		code, message := (&gateway.Answer{Status: res.StatusCode, Body: body}).S3Error(http.MethodPost)
		return nil, gateway.Refuse(res.StatusCode, code, "%s", message)
	}
	if end := bytes.LastIndex(body, []byte("</DeleteResult>")); refused.Len() > 0 {
		if end < 0 { // <DeleteResult/>, where all went well and nothing was to be told
			body = []byte(xml.Header + `<DeleteResult xmlns="` + namespace + `">` + refused.String() + "</DeleteResult>")
		} else {
			body = append(append(bytes.Clone(body[:end]), refused.Bytes()...), "</DeleteResult>"...)
		}
	}
	return &answered{status: http.StatusOK, body: body, header: http.Header{"Content-Type": {"application/xml"}, "Content-Length": {strconv.Itoa(len(body))}}}, nil
}
