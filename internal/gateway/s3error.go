package gateway

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"strconv"
)

// S3Failure is an error in S3's XML.
type S3Failure struct {
	Status        int
	Code, Message string
	Resource      string // path that the request was for
	RequestID     string
	HostID        string
	Members       [][2]string // further elements, in order
}

// Body is the document.
func (f S3Failure) Body() []byte {
	var b bytes.Buffer
	b.WriteString(xml.Header + "<Error>")
	element := func(name, value string) {
		b.WriteString("<" + name + ">")
		_ = xml.EscapeText(&b, []byte(value)) // a buffer does not fail
		b.WriteString("</" + name + ">")
	}
	element("Code", f.Code)
	element("Message", f.Message)
	for _, m := range f.Members {
		element(m[0], m[1])
	}
	if f.Resource != "" {
		element("Resource", f.Resource)
	}
	element("RequestId", f.RequestID)
	element("HostId", f.HostID)
	b.WriteString("</Error>")
	return b.Bytes()
}

// Write answers with the error; a HEAD without its body.
func (f S3Failure) Write(w http.ResponseWriter, method string) {
	body := f.Body()
	h := w.Header()
	h.Set("Content-Type", "application/xml")
	if method != http.MethodHead {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(f.Status)
	if method != http.MethodHead {
		_, _ = w.Write(body) // who asked may have gone
	}
}
