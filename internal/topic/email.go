package topic

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"
)

// TLSMode says how a connection to a mail server is encrypted.
type TLSMode string

// The modes.
const (
	StartTLS    TLSMode = "starttls" // required; the default
	ImplicitTLS TLSMode = "implicit" // from the first byte
	NoTLS       TLSMode = "none"     // for a server on the same machine
)

// SMTP says how mail is sent.
type SMTP struct {
	Addr               string // host:port
	From               string // an address, alone or with a name
	Username, Password string // without them, it is sent without login
	TLS                TLSMode
	Roots              *x509.CertPool // default those of the system
}

// mailSender sends mail, a connection for each.
type mailSender struct{ s *Service }

func (mailSender) close() {}

func (m mailSender) send(ctx context.Context, t *Topic, u *Subscription, e *entry, b *box) error {
	v := m.s.envelope(t, u, e)
	subject, body := v.Subject, ""
	if u.Protocol == protocolEmailJSON {
		text, _, err := m.s.payload(b, t, u, e, v)
		if err != nil {
			return err
		}
		body = string(text)
	}
	switch {
	case e == nil:
		subject = "Notification - Subscription Confirmation"
		if u.Protocol == protocolEmail {
			body = "You have chosen to subscribe to the topic:\n" + v.Topic + "\n\nTo confirm this subscription, open this link:\n" + v.SubscribeURL +
				"\n\nIf you have not asked for this, there is nothing to be done: without confirmation nothing further is sent.\n"
		}
	case subject == "":
		subject = "Notification Message"
	}
	if e != nil && u.Protocol == protocolEmail {
		body = v.Body + "\n\n--\nIf you wish to stop receiving notifications from this topic, open this link to unsubscribe:\n" + v.UnsubscribeURL + "\n"
	}
	raw, from, err := m.compose(t, u.Endpoint, subject, body, v)
	if err != nil {
		return permanent{err}
	}
	if err := m.deliver(ctx, from, u.Endpoint, raw); err != nil {
		var p *textproto.Error
		if errors.As(err, &p) && p.Code >= 500 && p.Code != 530 && p.Code != 535 { // no such mailbox, and the like; not the login
			return permanent{fmt.Errorf("send mail: %w", err)}
		}
		return fmt.Errorf("send mail: %w", err)
	}
	return nil
}

// header is a value on one line: what is no plain text is encoded.
func header(value string) string {
	value = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, value)
	return mime.QEncoding.Encode("utf-8", value)
}

// compose writes a mail. Nothing that comes from outside makes a header: values are on one line, and the body is encoded.
func (m mailSender) compose(t *Topic, to, subject, body string, v *envelope) (raw []byte, from string, err error) {
	sender, err := mail.ParseAddress(m.s.o.SMTP.From)
	if err != nil {
		return nil, "", fmt.Errorf("the address that mail is sent from: %w", err)
	}
	if name := t.Attributes[attrDisplay]; name != "" {
		sender.Name = name
	}
	rcpt, err := mail.ParseAddress(to)
	if err != nil || rcpt.Address != to {
		return nil, "", errors.New("the endpoint is no address of mail")
	}
	domain := sender.Address[strings.LastIndexByte(sender.Address, '@')+1:]
	var b bytes.Buffer
	for _, h := range [][2]string{
		{"From", sender.String()}, {"To", (&mail.Address{Address: to}).String()}, {"Subject", header(subject)},
		{"Date", m.s.o.Now().UTC().Format(time.RFC1123Z)}, {"Message-ID", "<" + v.ID + "@" + domain + ">"}, {"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"}, {"Content-Type", plainText}, {"Content-Transfer-Encoding", "quoted-printable"},
	} {
		b.WriteString(h[0] + ": " + strings.NewReplacer("\r", " ", "\n", " ").Replace(fold(h[1])) + "\r\n")
	}
	if v.UnsubscribeURL != "" {
		b.WriteString("List-Unsubscribe: <" + v.UnsubscribeURL + ">\r\n")
	}
	b.WriteString("\r\n")
	q := quotedprintable.NewWriter(&b)
	_, err = q.Write([]byte(strings.ReplaceAll(strings.ReplaceAll(body, "\r\n", "\n"), "\n", "\r\n")))
	if err = errors.Join(err, q.Close()); err != nil {
		return nil, "", fmt.Errorf("write a mail: %w", err)
	}
	return b.Bytes(), sender.Address, nil
}

// fold joins what an encoder of headers has put on several lines.
func fold(value string) string {
	return strings.ReplaceAll(value, "\r\n", "")
}

// deliver hands a mail to the server.
func (m mailSender) deliver(ctx context.Context, from, to string, raw []byte) (err error) {
	o := m.s.o.SMTP
	host, _, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return fmt.Errorf("the address of the mail server: %w", err)
	}
	conf := &tls.Config{ServerName: host, RootCAs: o.Roots, MinVersion: tls.VersionTLS12}
	d := &net.Dialer{Timeout: attemptTime}
	var conn net.Conn
	if o.TLS == ImplicitTLS {
		conn, err = (&tls.Dialer{NetDialer: d, Config: conf}).DialContext(ctx, "tcp", o.Addr)
	} else {
		conn, err = d.DialContext(ctx, "tcp", o.Addr)
	}
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // wakes whoever reads or writes
	defer stop()
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	defer func() {
		if err != nil {
			_ = c.Close() // the error is told already
		}
	}()
	if o.TLS != ImplicitTLS && o.TLS != NoTLS {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return errors.New("the server offers no encryption (STARTTLS), which the configuration asks for")
		}
		if err := c.StartTLS(conf); err != nil {
			return err
		}
	}
	if o.Username != "" {
		if err := c.Auth(smtp.PlainAuth("", o.Username, o.Password, host)); err != nil {
			return err
		}
	}
	if err := c.Mail(from); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(raw); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_ = c.Quit() // it is accepted
	return nil
}
