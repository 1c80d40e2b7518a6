package topic

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestFilter(t *testing.T) {
	t.Parallel()
	str := func(s string) Attribute { return Attribute{Type: "String", Text: s} }
	num := func(s string) Attribute { return Attribute{Type: "Number", Text: s} }
	event := map[string]Attribute{
		"store": str("example_corp"), "event": str("order_placed"), "price": num("210.75"), "ip": str("10.0.0.5"),
		"interests": {Type: typeArray, Text: `["soccer","rugby","hockey",5,true,null]`}, "bin": {Type: "Binary", Binary: []byte("x")},
	}
	body := `{"store":"example_corp","price":210.75,"flag":true,"none":null,"ip":"10.0.0.5","customer":{"interests":["soccer","rugby"],"age":42},"items":[{"id":1},{"id":7}]}`
	for _, x := range []struct {
		policy string
		body   bool
		want   bool
	}{
		{`{}`, false, true},
		{`{"store":["example_corp"]}`, false, true},
		{`{"store":["other"]}`, false, false},
		{`{"store":["other","example_corp"],"event":["order_placed"]}`, false, true},
		{`{"store":["example_corp"],"event":["order_cancelled"]}`, false, false},
		{`{"missing":["x"]}`, false, false},
		{`{"store":[{"prefix":"example"}]}`, false, true},
		{`{"store":[{"prefix":"corp"}]}`, false, false},
		{`{"store":[{"suffix":"_corp"}]}`, false, true},
		{`{"store":[{"equals-ignore-case":"EXAMPLE_corp"}]}`, false, true},
		{`{"store":[{"anything-but":["other"]}]}`, false, true},
		{`{"store":[{"anything-but":["example_corp","other"]}]}`, false, false},
		{`{"store":[{"anything-but":{"prefix":"ex"}}]}`, false, false},
		{`{"store":[{"anything-but":{"prefix":"or"}}]}`, false, true},
		{`{"price":[{"anything-but":[100,500]}]}`, false, true},
		{`{"price":[{"anything-but":[210.750]}]}`, false, false},
		{`{"missing":[{"anything-but":["x"]}]}`, false, false},
		{`{"interests":[{"anything-but":["soccer"]}]}`, false, false},
		{`{"interests":["rugby","basketball"]}`, false, true},
		{`{"interests":[{"prefix":"hock"}]}`, false, true},
		{`{"interests":[5]}`, false, true},
		{`{"interests":[true]}`, false, true},
		{`{"interests":[null]}`, false, true},
		{`{"interests":["5"]}`, false, false},
		{`{"price":[{"numeric":["=",210.75]}]}`, false, true},
		{`{"price":[{"numeric":["=",2.1075e2]}]}`, false, true},
		{`{"price":[{"numeric":[">",200,"<=",210.75]}]}`, false, true},
		{`{"price":[{"numeric":[">",210.75]}]}`, false, false},
		{`{"price":[210.750]}`, false, true},
		{`{"price":["210.75"]}`, false, false},
		{`{"store":[{"exists":true}]}`, false, true},
		{`{"store":[{"exists":false}]}`, false, false},
		{`{"missing":[{"exists":false}]}`, false, true},
		{`{"missing":["x",{"exists":false}]}`, false, true},
		{`{"bin":[{"exists":true}]}`, false, false},
		{`{"ip":[{"cidr":"10.0.0.0/24"}]}`, false, true},
		{`{"ip":[{"cidr":"10.0.1.0/24"}]}`, false, false},
		{`{"store":["example_corp"],"$or":[{"price":[{"numeric":["<",1]}]},{"event":["order_placed"]}]}`, false, true},
		{`{"$or":[{"price":[{"numeric":["<",1]}]},{"event":["x"]}]}`, false, false},
		{`{"store":["example_corp"],"customer":{"interests":["rugby"]}}`, true, true},
		{`{"customer":{"interests":["chess"]}}`, true, false},
		{`{"customer":{"age":[{"numeric":[">=",42]}]}}`, true, true},
		{`{"customer":{"gone":[{"exists":false}]}}`, true, true},
		{`{"nobody":{"gone":[{"exists":true}]}}`, true, false},
		{`{"items":{"id":[7]}}`, true, true},
		{`{"items":{"id":[8]}}`, true, false},
		{`{"flag":[true]}`, true, true},
		{`{"flag":[false]}`, true, false},
		{`{"none":[null]}`, true, true},
		{`{"customer":["x"]}`, true, false},
	} {
		f, err := parseFilter(x.policy, x.body)
		if err != nil {
			t.Errorf("%s: %v", x.policy, err)
			continue
		}
		if got := f.wants(&entry{Body: body, Attributes: event}, x.body); got != x.want {
			t.Errorf("%s: %v", x.policy, got)
		}
	}
	if f, err := parseFilter(`{"a":["b"]}`, true); err != nil || f.wants(&entry{Body: "no JSON"}, true) || f.wants(&entry{Body: `["a"]`}, true) {
		t.Error("a body that is no object passes", err)
	}
	for _, bad := range []string{
		``, `[]`, `{"a":"b"}`, `{"a":[]}`, `{"a":{"b":["c"]}}`, `{"a":[{"prefix":1}]}`, `{"a":[{"unknown":1}]}`, `{"a":[{"numeric":["<",1,">",0]}]}`, `{"a":[{"numeric":[">",2,"<",1]}]}`,
		`{"a":[{"numeric":["="]}]}`, `{"a":[{"numeric":["!=",1]}]}`, `{"a":[{"exists":"x"}]}`, `{"a":[{"cidr":"10.0.0.0"}]}`, `{"a":[1e99999999]}`, `{"a":["b"],"a":["c"]}`, `{"a":["b"]} x`,
		`{"a":[{"prefix":"x","suffix":"y"}]}`, `{"a":[{"anything-but":{"numeric":["=",1]}}]}`, `{"a":["b"],"b":["b"],"c":["b"],"d":["b"],"e":["b"],"f":["b"]}`,
		`{"a":[` + strings.Repeat(`1,`, 150) + `1]}`, strings.Repeat(`{"a":`, 40) + `["x"]` + strings.Repeat(`}`, 40),
	} {
		for _, body := range []bool{false, true} {
			if body && bad == `{"a":{"b":["c"]}}` {
				continue
			}
			if _, err := parseFilter(bad, body); err == nil {
				t.Errorf("%.80s is a filter policy", bad)
			}
		}
	}
}

func TestRetries(t *testing.T) {
	t.Parallel()
	all := func(r Retries) (n int, total time.Duration, text string) {
		for ; ; n++ {
			d, ok := r.delay(n + 1)
			if !ok {
				return n, total, text
			}
			if total += d; n < 16 {
				text += fmt.Sprint(d.Round(100*time.Millisecond).Seconds(), " ")
			}
		}
	}
	for _, x := range []struct {
		r     Retries
		n     int
		total time.Duration
		text  string
	}{
		{httpRetries, 3, time.Minute, "20 20 20 "},
		{queueRetries, 100_015, 23*24*time.Hour + 3*time.Hour + 34*time.Minute, "0 0 0 1 1 1.3 1.8 2.5 3.3 4.5 6 8.1 11 14.8 20 20 "},
		{mailRetries, 50, 6*time.Hour + 49*time.Minute + 45*time.Second, "10 10 15.1 22.7 34.2 51.4 77.5 116.7 175.7 264.6 398.4 600 600 600 600 600 "},
		{Retries{MinDelay: 1, MaxDelay: 10, Retries: 3, Function: "linear"}, 3, 21 * time.Second, "4 7 10 "},
		{Retries{MinDelay: 1, MaxDelay: 13, Retries: 3, Function: "arithmetic"}, 3, 23 * time.Second, "3 7 13 "},
		{Retries{MinDelay: 1, MaxDelay: 8, Retries: 3, Function: "geometric"}, 3, 14 * time.Second, "2 4 8 "},
		{Retries{MinDelay: 1, MaxDelay: 8, Retries: 3, Function: "exponential"}, 3, 14 * time.Second, "2 4 8 "},
	} {
		n, total, text := all(x.r)
		if n != x.n || text != x.text || (total-x.total).Abs() > time.Minute {
			t.Errorf("%+v: %d in %s: %s", x.r, n, total, text)
		}
	}
	for _, bad := range []string{
		`{"healthyRetryPolicy":{"minDelayTarget":30}}`, `{"healthyRetryPolicy":{"maxDelayTarget":3601}}`, `{"healthyRetryPolicy":{"numRetries":101}}`, `{"healthyRetryPolicy":{"numRetries":-1}}`,
		`{"healthyRetryPolicy":{"backoffFunction":"x"}}`, `{"throttlePolicy":{"maxReceivesPerSecond":0}}`, `{"x":1}`, `{"requestPolicy":{"headerContentType":"a\r\nb/c"}}`,
	} {
		if _, err := parseDelivery([]byte(bad)); err == nil {
			t.Errorf("%s is a delivery policy", bad)
		}
	}
}

func TestThrottle(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := &world{}
		s, _ := begin(t, t.TempDir(), options(w))
		arn := create(t, s, "news", map[string]string{"DeliveryPolicy": `{"http":{"defaultThrottlePolicy":{"maxReceivesPerSecond":2},"defaultRequestPolicy":{"headerContentType":"application/json"}}}`})
		subscribe(t, s, arn, "https", "https://a.test/", nil)
		for i := range 20 {
			publish(t, s, arn, fmt.Sprint(i))
		}
		time.Sleep(5*time.Second - time.Millisecond)
		if n := len(w.bodies("https://a.test/")); n != 10 {
			t.Errorf("%d in five seconds", n)
		}
		if c := w.all()[len(w.all())-1].header.Get("Content-Type"); c != "application/json" {
			t.Error(c)
		}
	})
}

func TestGuard(t *testing.T) {
	t.Parallel()
	deny := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}
	allow := []netip.Prefix{netip.MustParsePrefix("169.254.7.0/24"), netip.MustParsePrefix("10.1.2.0/24")}
	for address, want := range map[string]bool{
		"169.254.169.254": false, "169.254.170.2": false, "fe80::1%eth0": false, "::ffff:169.254.169.254": false, "64:ff9b::a9fe:a9fe": false, "fd00:ec2::254": false,
		"0.0.0.0": false, "::": false, "224.0.0.1": false, "169.254.7.1": true, "10.1.2.3": false, "10.2.0.1": true, "127.0.0.1": true, "::1": true, "93.184.216.34": true,
	} {
		if err := (guard{allow: allow, deny: deny}).check(netip.MustParseAddr(address)); (err == nil) != want {
			t.Errorf("%s: %v", address, err)
		}
	}
	// By name, by number, and behind a redirect.
	hits := 0
	var mu sync.Mutex
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { mu.Lock(); hits++; mu.Unlock() }))
	defer target.Close()
	redirect := httptest.NewServer(http.RedirectHandler(target.URL, http.StatusTemporaryRedirect))
	defer redirect.Close()
	o := options(nil)
	o.Transport = nil
	o.Deny = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
	s, err := Open(t.Context(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	create(t, s, "t", nil)
	to := func(endpoint string) error {
		u := &Subscription{ID: "x", Protocol: "http", Endpoint: endpoint}
		return s.sender("http").send(t.Context(), s.byARN("arn:aws:sns:eu-west-1:111122223333:t"), u, &entry{Body: "x", Time: time.Now()}, &box{})
	}
	for endpoint, want := range map[string]string{
		target.URL: "", redirect.URL: "the endpoint answered 307", strings.Replace(target.URL, "127.0.0.1", "127.0.0.2", 1): "messages do not go to the address 127.0.0.2",
		"http://169.254.169.254/latest/": "messages do not go to the address 169.254.169.254", "http://[::ffff:a9fe:a9fe]/": "messages do not go to the address 169.254.169.254",
	} {
		err := to(endpoint)
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasSuffix(err.Error(), want)) {
			t.Errorf("%s: %v", endpoint, err)
		}
		if final := errors.As(err, new(permanent)); want != "" && !final {
			t.Errorf("%s: is tried again: %v", endpoint, err)
		}
	}
	if hits != 1 {
		t.Errorf("%d calls", hits)
	}
}

// smtpServer takes one mail after the other, and gives their texts.
func smtpServer(t *testing.T) (addr string, mails chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	mails = make(chan string, 10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serveMail(c, mails)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String(), mails
}

func serveMail(c net.Conn, mails chan<- string) {
	defer c.Close()
	r := bufio.NewReader(c)
	say := func(s string) { fmt.Fprint(c, s+"\r\n") }
	say("220 test")
	var head string
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(strings.TrimSpace(line)); {
		case strings.HasPrefix(verb, "EHLO"):
			say("250 test")
		case strings.HasPrefix(verb, "RCPT") && strings.Contains(line, "nobody"):
			say("550 no such mailbox")
		case strings.HasPrefix(verb, "DATA"):
			say("354 go on")
			var b strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				b.WriteString(strings.TrimPrefix(line, "."))
			}
			mails <- head + b.String()
			say("250 ok")
		case strings.HasPrefix(verb, "QUIT"):
			say("221 bye")
			return
		default:
			head += line
			say("250 ok")
		}
	}
}

func TestMail(t *testing.T) {
	t.Parallel()
	addr, mails := smtpServer(t)
	o := options(&world{})
	o.SMTP = SMTP{Addr: addr, From: "Spoor <spoor@test.example>", TLS: NoTLS}
	s, err := Open(t.Context(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	arn := create(t, s, "t", map[string]string{"DisplayName": `Ops "team" ü`})
	sub, _, _, err := s.Subscribe(t.Context(), arn, "email", "ann@test.example", account, nil)
	if err != nil {
		t.Fatal(err)
	}
	topic := s.byARN(arn)
	u := topic.Subscriptions[0]
	if err := s.sender("email").send(t.Context(), topic, u, nil, s.box(topic.ID)); err != nil {
		t.Fatal(err)
	}
	read := func() (envelope string, m *mail.Message, body string) {
		t.Helper()
		text := <-mails
		envelope, rest, _ := strings.Cut(text, "From: ")
		m, err := mail.ReadMessage(strings.NewReader("From: " + rest))
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		raw, err := io.ReadAll(quotedprintable.NewReader(m.Body))
		if err != nil {
			t.Fatal(err)
		}
		return envelope, m, strings.ReplaceAll(string(raw), "\r\n", "\n")
	}
	envelope, m, body := read()
	if !strings.Contains(envelope, "MAIL FROM:<spoor@test.example>") || !strings.Contains(envelope, "RCPT TO:<ann@test.example>") {
		t.Error(envelope)
	}
	if !strings.Contains(body, "https://spoor.test/?Action=ConfirmSubscription&") || !strings.Contains(body, s.token(topic, u)) {
		t.Error(body)
	}
	from, err := m.Header.AddressList("From")
	if err != nil || from[0].Name != `Ops "team" ü` || from[0].Address != "spoor@test.example" {
		t.Errorf("%v %v", from, err)
	}
	// Nothing of a message becomes a header or the end of the mail.
	evil := "Hi\r\nBcc: evil@test.example\r\n\r\n<script>"
	e := &entry{ID: "id", Time: time.Now(), Subject: evil, Body: "one\r\n.\r\nMAIL FROM:<x>\nü " + strings.Repeat("y", 2000)}
	if err := s.sender("email").send(t.Context(), topic, u, e, s.box(topic.ID)); err != nil {
		t.Fatal(err)
	}
	_, m, body = read()
	if len(m.Header["Bcc"]) != 0 || len(m.Header) != 10 {
		t.Errorf("%v", m.Header)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || subject != "Hi  Bcc: evil@test.example    <script>" {
		t.Errorf("%q %v", subject, err)
	}
	if !strings.HasPrefix(body, "one\n.\nMAIL FROM:<x>\nü yyy") || !strings.Contains(body, "\n\n--\n") || !strings.Contains(body, s.unsubscribeURL(topic, u)) || m.Header.Get("List-Unsubscribe") != "<"+s.unsubscribeURL(topic, u)+">" {
		t.Errorf("%s %v", body, m.Header)
	}
	if !strings.HasPrefix(sub, arn+":") {
		t.Error(sub)
	}
	// email-json has the signed envelope.
	u2 := u.clone()
	u2.Protocol = "email-json"
	if err := s.sender("email-json").send(t.Context(), topic, u2, &entry{ID: "id", Time: time.Now(), Body: "text"}, s.box(topic.ID)); err != nil {
		t.Fatal(err)
	}
	_, _, body = read()
	if v := verify(t, s, body); v["Message"] != "text" {
		t.Errorf("%v", v)
	}
	u3 := u.clone()
	u3.Endpoint = "nobody@test.example"
	if err := s.sender("email").send(t.Context(), topic, u3, e, s.box(topic.ID)); !errors.As(err, new(permanent)) {
		t.Errorf("%v", err)
	}
	s.o.SMTP.TLS = StartTLS // which the server does not offer
	if err := s.sender("email").send(t.Context(), topic, u, e, s.box(topic.ID)); err == nil || errors.As(err, new(permanent)) || !strings.Contains(err.Error(), "STARTTLS") {
		t.Errorf("%v", err)
	}
}

func TestNATS(t *testing.T) {
	t.Parallel()
	ns, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	ns.Start()
	defer func() {
		ns.Shutdown()
		ns.WaitForShutdown()
	}()
	if !ns.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	nc, err := nats.Connect(ns.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	in, err := nc.SubscribeSync("notes.audit")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	s, stop := begin(t, t.TempDir(), options(&world{}))
	defer stop()
	arn := create(t, s, "t", nil)
	if _, u, _, err := s.Subscribe(t.Context(), arn, "nats", ns.ClientURL()+"/notes.audit", account, nil); err != nil || u.Status != Confirmed {
		t.Fatalf("%+v %v", u, err)
	}
	publish(t, s, arn, "hello")
	m, err := in.NextMsg(20 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if v := verify(t, s, string(m.Data)); v["Message"] != "hello" || m.Header.Get(nats.MsgIdHdr) != v["MessageId"] {
		t.Errorf("%v %v", v, m.Header)
	}
}

// sealer is a key ring.
type sealer struct{ opened int }

func (*sealer) Seal(purpose string, secret []byte) ([]byte, error) {
	return append([]byte(purpose+":"), flip(secret)...), nil
}

func (x *sealer) Unseal(purpose string, sealed []byte) ([]byte, error) {
	x.opened++
	rest, ok := bytes.CutPrefix(sealed, []byte(purpose+":"))
	if !ok {
		return nil, errors.New("another purpose")
	}
	return flip(rest), nil
}

func flip(b []byte) []byte {
	out := bytes.Clone(b)
	for i := range out {
		out[i] ^= 0x5a
	}
	return out
}

func TestKeys(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, keysName)
	o := options(&world{})
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	o.Now = func() time.Time { return now }
	plain, err := openKeys(path, o)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	ring := &sealer{}
	o.Sealer = ring
	first, err := openKeys(path, o) // is sealed from now on
	if err != nil || !first.key.Equal(plain.key) {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), `"sealed": true`) {
		t.Errorf("%s %v", text, err)
	}
	same, err := openKeys(path, o)
	if err != nil || same.path != first.path || !bytes.Equal(same.secret, first.secret) || ring.opened != 1 {
		t.Errorf("%v", err)
	}
	o.Sealer = nil
	if _, err := openKeys(path, o); err == nil {
		t.Error("sealed keys were opened without a ring")
	}
	o.Sealer = ring
	now = now.Add(certFor - certLeft + time.Hour)
	next, err := openKeys(path, o)
	if err != nil || next.path == first.path || next.certs[first.path] == nil || !bytes.Equal(next.secret, first.secret) || next.key.Equal(first.key) {
		t.Errorf("%v %v", next, err)
	}
	if again, err := openKeys(path, o); err != nil || again.path != next.path || len(again.certs) != 2 {
		t.Errorf("%v", err)
	}
}
