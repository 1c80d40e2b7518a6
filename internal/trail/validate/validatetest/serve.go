package validatetest

import (
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"spoor/internal/blob"
)

// ServeS3 answers requests of S3 for the objects, bucket in the path, as far as readers need: location, listings of both versions,
// and objects with their metadata. It asks for no signature.
func (m *Memory) ServeS3(w http.ResponseWriter, r *http.Request) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	w.Header().Set("Content-Type", "application/xml")
	q := r.URL.Query()
	switch {
	case key != "":
		m.serveObject(w, r, bucket, key)
	case q.Has("location"):
		_, _ = fmt.Fprint(w, `<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>`)
	default:
		m.serveList(w, r, bucket, q)
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `<Error><Code>%s</Code><Message>refused</Message></Error>`, code)
}

func (m *Memory) serveObject(w http.ResponseWriter, r *http.Request, bucket, key string) {
	body, metadata, ok := m.Object(bucket, key)
	if !ok {
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	for name, value := range metadata {
		w.Header()["x-amz-meta-"+name] = []string{value} // in lower case, as S3 writes it: the AWS CLI takes the name as it is
	}
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

type listed struct {
	Key          string
	LastModified string
	ETag         string
	Size         int64
}

func (m *Memory) serveList(w http.ResponseWriter, r *http.Request, bucket string, q url.Values) {
	most, err := strconv.Atoi(cmp.Or(q.Get("max-keys"), "1000"))
	if err != nil {
		refuse(w, http.StatusBadRequest, "InvalidArgument")
		return
	}
	objects, more, err := m.List(r.Context(), bucket, q.Get("prefix"), cmp.Or(q.Get("continuation-token"), q.Get("start-after"), q.Get("marker")), min(most, 1000))
	if errors.Is(err, blob.ErrNoBucket) {
		refuse(w, http.StatusNotFound, "NoSuchBucket")
		return
	}
	out := struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		Name                  string
		EncodingType          string `xml:",omitempty"`
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
		Contents              []listed
	}{Name: bucket, EncodingType: q.Get("encoding-type"), IsTruncated: more}
	for _, o := range objects {
		name := o.Key
		if out.EncodingType == "url" {
			name = (&url.URL{Path: name}).EscapedPath()
		}
		out.Contents = append(out.Contents, listed{name, "2026-01-10T00:00:00.000Z", `"0"`, o.Size})
		out.NextContinuationToken = o.Key
	}
	if !more {
		out.NextContinuationToken = ""
	}
	_ = xml.NewEncoder(w).Encode(out) // the reader is gone: nobody to tell
}
