package sns

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"spoor/internal/awsapi"
	model "spoor/internal/awsapi/model/sns"
	"spoor/internal/recorder"
	"spoor/internal/refusal"
	"spoor/internal/topic"
)

// LinksOptions of [NewLinks].
type LinksOptions struct {
	Topics   *topic.Service
	Recorder awsapi.Recorder
	Account  string       // of the installation
	Log      *slog.Logger // default discards
}

// Links serves what whoever gets messages opens without a key: the links by which subscriptions are confirmed and ended, and the
// certificates by which signatures are verified. Links work by the secret in them. What they change is recorded, or taken back.
type Links struct{ o LinksOptions }

// NewLinks makes them.
func NewLinks(o LinksOptions) *Links {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Links{o}
}

const (
	actionConfirm     = "ConfirmSubscription"
	actionUnsubscribe = "Unsubscribe"
	maxForm           = 16 << 10
)

// Takes reports whether a request is one for the links, and not for the endpoint: one without a signature that is for a
// certificate, or for / with the parameters of a link. Others stay with the endpoint, which refuses and records them.
func (l *Links) Takes(r *http.Request) bool {
	if strings.HasPrefix(r.URL.Path, topic.CertificatePrefix) {
		return true
	}
	if r.URL.Path != "/" || r.Header.Get("Authorization") != "" || r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost {
		return false
	}
	q := r.URL.Query()
	switch q.Get("Action") {
	case actionConfirm:
		return q.Has("TopicArn") && q.Has("Token") && !q.Has("X-Amz-Signature")
	case actionUnsubscribe:
		return q.Has("SubscriptionArn") && q.Has("Proof") && !q.Has("X-Amz-Signature")
	}
	return false
}

// ServeHTTP implements [http.Handler].
func (l *Links) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer") // which would tell the secret
	h.Set("Cache-Control", "no-store")
	if strings.HasPrefix(r.URL.Path, topic.CertificatePrefix) {
		l.certificate(w, r)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	id := uuid.NewString()
	h.Set("x-amzn-RequestId", id)
	q := r.URL.Query()
	if r.Method == http.MethodHead || r.Method == http.MethodGet && l.asks(q) {
		l.form(w, r, q)
		return
	}
	if q.Get("Action") == actionConfirm {
		l.confirm(w, r, id, q)
	} else {
		l.unsubscribe(w, r, id, q)
	}
}

func (l *Links) certificate(w http.ResponseWriter, r *http.Request) {
	text, ok := l.o.Topics.Certificate(r.URL.Path)
	switch {
	case !ok:
		http.NotFound(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
	default:
		w.Header().Set("Content-Type", "application/x-pem-file")
		w.Header().Set("Cache-Control", "public, max-age=86400")
		_, _ = w.Write(text) // the caller may have gone
	}
}

// asks reports whether a link is one of mail, which is opened by programs that look for harm too: a person has to press a button.
func (l *Links) asks(q url.Values) bool {
	if q.Get("Action") == actionConfirm {
		return l.o.Topics.IsMailToken(q.Get("TopicArn"), q.Get("Token"))
	}
	_, u, err := l.o.Topics.Subscription(q.Get("SubscriptionArn"))
	return err == nil && u.Protocol == "email"
}

var pageForm = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Title}}</title></head>
<body><h1>{{.Title}}</h1><p>{{.Text}}</p>{{if .Button}}<form method="post"><button>{{.Button}}</button></form>{{end}}</body></html>
`))

type pageText struct{ Title, Text, Button string }

func (l *Links) show(w http.ResponseWriter, status int, p pageText) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; form-action 'self'; frame-ancestors 'none'")
	w.WriteHeader(status)
	if err := pageForm.Execute(w, p); err != nil {
		l.o.Log.Debug("a page could not be sent", slog.Any("error", err))
	}
}

func (l *Links) form(w http.ResponseWriter, _ *http.Request, q url.Values) {
	p := pageText{"Confirm the subscription", "Do you want to get what is published to " + q.Get("TopicArn") + "?", "Subscribe"}
	if q.Get("Action") == actionUnsubscribe {
		p = pageText{"End the subscription", "Do you want to get nothing more by " + q.Get("SubscriptionArn") + "?", "Unsubscribe"}
	}
	l.show(w, http.StatusOK, p)
}

func (l *Links) confirm(w http.ResponseWriter, r *http.Request, id string, q url.Values) {
	mail := l.asks(q)
	topicARN := q.Get("TopicArn")
	arn, _, undo, err := l.o.Topics.Confirm(r.Context(), topicARN, q.Get("Token"), false, false)
	request := map[string]any{"topicArn": topicARN, "token": recorder.Hidden}
	err = l.record(r, id, actionConfirm, topicARN, request, map[string]any{"subscriptionArn": arn}, undo, err)
	if mail || err != nil && strings.Contains(r.Header.Get("Accept"), "text/html") {
		l.told(w, err, pageText{Title: "Subscription confirmed", Text: "You get what is published to " + topicARN + "."})
		return
	}
	l.answer(w, id, actionConfirm, "<ConfirmSubscriptionResult><SubscriptionArn>"+escape(arn)+"</SubscriptionArn></ConfirmSubscriptionResult>", err)
}

func (l *Links) unsubscribe(w http.ResponseWriter, r *http.Request, id string, q url.Values) {
	arn := q.Get("SubscriptionArn")
	topicARN := arn
	if part := strings.Split(arn, ":"); len(part) > 6 {
		topicARN = strings.Join(part[:6], ":")
	}
	var undo topic.Undo
	_, u, err := l.o.Topics.Subscription(arn)
	mail := err == nil && u.Protocol == "email"
	switch {
	case errors.Is(err, topic.ErrNotFound): // it went already; the link is opened again, and changes nothing
		l.answer(w, id, actionUnsubscribe, "", nil)
		return
	case err != nil:
	case !l.o.Topics.UnsubscribeProof(arn, q.Get("Proof")):
		err = refusal.Errorf(codeAuthorization, "The link does not end this subscription")
	default:
		undo, err = l.o.Topics.Unsubscribe(arn)
	}
	err = l.record(r, id, actionUnsubscribe, topicARN, map[string]any{"subscriptionArn": arn}, nil, undo, err)
	if mail {
		l.told(w, err, pageText{Title: "Subscription ended", Text: "You get nothing more by it."})
		return
	}
	l.answer(w, id, actionUnsubscribe, "", err)
}

// record makes what happened durable, and takes a change back that it cannot.
func (l *Links) record(r *http.Request, id, name, topicARN string, request, response map[string]any, undo topic.Undo, failed error) error {
	c := recorder.Call{
		RequestID: id, Time: time.Now(), Source: "sns.amazonaws.com", Name: name, APIVersion: model.Service.Version, Recipient: l.o.Account,
		Identity: recorder.Anonymous(), UserAgent: r.UserAgent(), Request: request, TLS: r.TLS, Host: r.Host,
	}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		c.Address, _ = netip.ParseAddr(host)
	}
	if topic.IsARN(topicARN) {
		part := strings.Split(topicARN, ":")
		c.Region, c.Recipient = part[3], part[4]
		c.Resources = []recorder.Resource{{ARN: topicARN, AccountID: part[4], Type: "AWS::SNS::Topic"}}
	} else {
		c.Request = nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 10*time.Second)
	defer cancel()
	if failed != nil {
		c.ErrorCode, c.ErrorMessage = awsapi.InternalFailure, "The link could not be followed."
		if e, ok := errors.AsType[*refusal.Error](failed); ok {
			c.ErrorCode, c.ErrorMessage = e.Code, e.Message
		} else {
			l.o.Log.Error("a link of a subscription could not be followed", slog.String("request", id), slog.Any("error", failed))
		}
		_ = l.o.Recorder.Refused(ctx, "sns link "+c.ErrorCode+" "+c.Address.String(), c) // the recorder tells of it
		return failed
	}
	if response != nil {
		c.Response = response
	}
	if _, err := l.o.Recorder.Record(ctx, c); err != nil {
		if undo != nil {
			err = errors.Join(err, undo())
		}
		l.o.Log.Error("a link of a subscription could not be recorded, and changed nothing", slog.String("request", id), slog.Any("error", err))
		return fmt.Errorf("record %s: %w", name, err)
	}
	return nil
}

// told shows a person how it went.
func (l *Links) told(w http.ResponseWriter, err error, p pageText) {
	switch e, refused := errors.AsType[*refusal.Error](err); {
	case err == nil:
		l.show(w, http.StatusOK, p)
	case refused:
		l.show(w, statusOf(e.Code), pageText{Title: "The link does not work", Text: e.Message})
	default:
		l.show(w, http.StatusInternalServerError, pageText{Title: "The link did not work", Text: "Try again later."})
	}
}

func statusOf(code string) int {
	if s, ok := model.Service.Exception(code); ok {
		return int(s.Status)
	}
	return http.StatusBadRequest
}

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a builder takes everything
	return b.String()
}

// answer writes the XML that the call by API has.
func (l *Links) answer(w http.ResponseWriter, id, action, result string, err error) {
	w.Header().Set("Content-Type", "text/xml")
	space := model.Service.Namespace
	if err == nil {
		fmt.Fprintf(w, `<%sResponse xmlns="%s">%s<ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata></%sResponse>`, action, space, result, id, action)
		return
	}
	status, kind, code, message := http.StatusInternalServerError, "Receiver", awsapi.InternalFailure, "The link did not work; try again later."
	if e, ok := errors.AsType[*refusal.Error](err); ok {
		status, kind, code, message = statusOf(e.Code), "Sender", e.Code, e.Message
		if s, ok := model.Service.Exception(e.Code); ok && s.Code != "" {
			code = s.Code
		}
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, `<ErrorResponse xmlns="%s"><Error><Type>%s</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>%s</RequestId></ErrorResponse>`,
		space, kind, code, escape(message), id)
}
