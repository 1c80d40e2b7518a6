package topic

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"spoor/internal/policy"
	"spoor/internal/tag"
)

func jsonUnmarshal(text string, v any) error { return json.Unmarshal([]byte(text), v) }

func TestDelivery(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := &world{}
		s, _ := begin(t, t.TempDir(), options(w))
		arn := create(t, s, "news", nil)
		if arn != "arn:aws:sns:eu-west-1:111122223333:news" {
			t.Fatal(arn)
		}
		subscribe(t, s, arn, "https", "https://a.test/x", nil)
		raw := subscribe(t, s, arn, "http", "http://b.test/", map[string]string{"RawMessageDelivery": "true"})
		subscribe(t, s, arn, "sqs", "arn:aws:sqs:eu-west-1:111122223333:q", nil)
		subscribe(t, s, arn, "sqs", "arn:aws:sqs:eu-west-1:111122223333:raw", map[string]string{"RawMessageDelivery": "true"})
		filtered := subscribe(t, s, arn, "https", "https://c.test/", map[string]string{"FilterPolicy": `{"kind":["good"]}`})
		publish(t, s, arn, "one")
		if _, err := s.Publish(t.Context(), arn, Message{Subject: "Hi", Body: "two", Attributes: map[string]Attribute{"kind": {Type: "String", Text: "good"}, "n": {Type: "Number", Text: "7"}}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		same(t, "a", w.bodies("https://a.test/x"), []string{"one", "two"})
		same(t, "b", w.bodies("http://b.test/"), []string{"one", "two"})
		same(t, "c", w.bodies("https://c.test/"), []string{"two"})
		same(t, "queues", w.queued(), []string{"https://sqs/111122223333/q one", "https://sqs/111122223333/q two", "https://sqs/111122223333/raw one", "https://sqs/111122223333/raw two"})
		for _, in := range w.inQueues() {
			if strings.HasSuffix(*in.QueueUrl, "/raw") && *in.MessageBody == "two" {
				if a := in.MessageAttributes["kind"]; *a.StringValue != "good" || *a.DataType != "String" || len(in.MessageAttributes) != 2 {
					t.Errorf("%+v", in.MessageAttributes)
				}
			}
		}
		for _, g := range w.all() {
			h := g.header
			if g.kind != typeNotification {
				continue
			}
			if h.Get("x-amz-sns-topic-arn") != arn || h.Get("Content-Type") != "text/plain; charset=UTF-8" || !strings.HasPrefix(h.Get("x-amz-sns-subscription-arn"), arn+":") || h.Get("x-amz-sns-message-id") == "" {
				t.Errorf("%v", h)
			}
			if isRaw := g.url == "http://b.test/"; isRaw != (h.Get("x-amz-sns-rawdelivery") == "true") || isRaw != (h.Get("x-amz-sns-subscription-arn") == raw) {
				t.Errorf("%s: %v", g.url, h)
			}
		}
		f, err := s.Figures(filtered)
		if err != nil || f.Delivered != 1 || f.Filtered != 1 || f.Open != 0 {
			t.Errorf("%+v %v", f, err)
		}
	})
}

// verify is an independent verifier, written from the SNS developer guide: names in byte order, of those that are there.
func verify(t testing.TB, s *Service, body string) map[string]string {
	t.Helper()
	var any map[string]json.RawMessage
	if err := json.Unmarshal([]byte(body), &any); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	m := map[string]string{}
	for k, v := range any {
		var text string
		if json.Unmarshal(v, &text) == nil {
			m[k] = text
		}
	}
	names := []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	if m["Type"] == "Notification" {
		names = []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}
	}
	var text strings.Builder
	for _, n := range names {
		if v, ok := m[n]; ok {
			text.WriteString(n + "\n" + v + "\n")
		}
	}
	u, err := url.Parse(m["SigningCertURL"])
	if err != nil || u.Host != "spoor.test" || u.RawQuery != "" {
		t.Fatalf("certificate at %q", m["SigningCertURL"])
	}
	text_, ok := s.Certificate(u.Path)
	block, _ := pem.Decode(text_)
	if !ok || block == nil {
		t.Fatalf("no certificate at %s", u.Path)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := base64.StdEncoding.DecodeString(m["Signature"])
	if err != nil {
		t.Fatal(err)
	}
	h, sum := crypto.SHA1, sha1.Sum([]byte(text.String()))
	digest := sum[:]
	if m["SignatureVersion"] == "2" {
		sum := sha256.Sum256([]byte(text.String()))
		h, digest = crypto.SHA256, sum[:]
	}
	if err := rsa.VerifyPKCS1v15(cert.PublicKey.(*rsa.PublicKey), h, digest, signature); err != nil {
		t.Errorf("signature of %s: %v", body, err)
	}
	return m
}

func TestEnvelope(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := &world{}
		s, _ := begin(t, t.TempDir(), options(w))
		arn := create(t, s, "news", nil)
		sub := subscribe(t, s, arn, "https", "https://a.test/", nil)
		m := Message{Subject: "A <b> & ü", Body: "line 1\nline \"2\" </x>  ", Attributes: map[string]Attribute{"b": {Type: "Binary", Binary: []byte{1, 2}}, "a": {Type: "String.Array", Text: `["x"]`}}}
		id, err := s.Publish(t.Context(), arn, m)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := s.SetAttribute(arn, "SignatureVersion", "2"); err != nil {
			t.Fatal(err)
		}
		publish(t, s, arn, "plain")
		synctest.Wait()
		var bodies []string
		for _, g := range w.all() {
			if g.kind == typeNotification {
				bodies = append(bodies, g.body)
			}
		}
		if len(bodies) != 2 {
			t.Fatalf("%q", bodies)
		}
		v := verify(t, s, bodies[0])
		if v["SignatureVersion"] != "1" || v["MessageId"] != id || v["Subject"] != m.Subject || v["Message"] != m.Body || v["TopicArn"] != arn || v["Timestamp"] != "2000-01-01T00:00:00.000Z" {
			t.Errorf("%v", v)
		}
		proof := s.proof("unsubscribe", s.byARN(arn), s.byARN(arn).Subscriptions[0])
		want := fmt.Sprintf(`{
  "Type" : "Notification",
  "MessageId" : "%s",
  "TopicArn" : "%s",
  "Subject" : "A <b> & ü",
  "Message" : "line 1\nline \"2\" </x> \u2028 ",
  "Timestamp" : "2000-01-01T00:00:00.000Z",
  "SignatureVersion" : "1",
  "Signature" : "%s",
  "SigningCertURL" : "https://spoor.test%s",
  "UnsubscribeURL" : "https://spoor.test/?Action=Unsubscribe&Proof=%s&SubscriptionArn=%s",
  "MessageAttributes" : {
    "a" : {"Type":"String.Array","Value":"[\"x\"]"},
    "b" : {"Type":"Binary","Value":"AQI="}
  }
}`, id, arn, v["Signature"], s.keys.path, proof, url.QueryEscape(sub))
		want = strings.ReplaceAll(want, `</x> \u2028 "`, "</x>  \"")
		if bodies[0] != want {
			t.Errorf("got  %s\nwant %s", bodies[0], want)
		}
		if v := verify(t, s, bodies[1]); v["SignatureVersion"] != "2" || v["Message"] != "plain" {
			t.Errorf("%v", v)
		}
		if _, ok := any(v["Subject"]).(string); !ok || strings.Contains(bodies[1], `"Subject"`) || strings.Contains(bodies[1], "MessageAttributes") {
			t.Errorf("%s", bodies[1])
		}
		if !s.UnsubscribeProof(sub, proof) || s.UnsubscribeProof(sub, proof[1:]+"0") {
			t.Error("the proof of the link")
		}
	})
}

func TestConfirmation(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := &world{}
		dir := t.TempDir()
		s, stop := begin(t, dir, options(w))
		arn := create(t, s, "news", nil)
		w.set(func() { w.answer = func(got) (int, error) { return 503, nil } })
		sub, u, _, err := s.Subscribe(t.Context(), arn, "https", "https://a.test/", account, nil)
		if err != nil || u.Status != Pending {
			t.Fatal(u, err)
		}
		publish(t, s, arn, "early")
		synctest.Wait()
		stop() // the question is asked again after a start
		w.set(func() { w.answer = nil })
		s, _ = begin(t, dir, options(w))
		synctest.Wait()
		if len(w.all()) != 1 || w.all()[0].kind != typeSubscribe || w.all()[0].header.Get("x-amz-sns-subscription-arn") != "" {
			t.Fatalf("%+v", w.all())
		}
		v := verify(t, s, w.all()[0].body)
		link, err := url.Parse(v["SubscribeURL"])
		if err != nil || link.Query().Get("Token") != v["Token"] || link.Query().Get("TopicArn") != arn {
			t.Errorf("%v", v)
		}
		for _, token := range []string{"", "x", v["Token"][1:], v["Token"] + "0", strings.Repeat("0", len(v["Token"]))} {
			if _, _, _, err := s.Confirm(t.Context(), arn, token, false, false); err == nil || err.Error() != "Invalid parameter: Token" {
				t.Errorf("%q: %v", token, err)
			}
		}
		for range 2 {
			if got, _, _, err := s.Confirm(t.Context(), arn, v["Token"], false, false); err != nil || got != sub {
				t.Errorf("%s %v", got, err)
			}
		}
		publish(t, s, arn, "late")
		synctest.Wait()
		same(t, "a", w.bodies("https://a.test/"), []string{"late"})

		// Who unsubscribes can come back, with what is published from then on.
		if _, err := s.Unsubscribe(sub); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		publish(t, s, arn, "missed")
		last := w.all()[len(w.all())-1]
		if last.kind != typeUnsubscribe {
			t.Fatalf("%+v", last)
		}
		v = verify(t, s, last.body)
		if _, _, err := s.Subscription(sub); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
		if _, _, _, err := s.Confirm(t.Context(), arn, v["Token"], false, false); err != nil {
			t.Fatal(err)
		}
		publish(t, s, arn, "back")
		synctest.Wait()
		same(t, "a", w.bodies("https://a.test/"), []string{"late", "back"})

		// What nobody confirms goes.
		pending, _, _, err := s.Subscribe(t.Context(), arn, "https", "https://never.test/", account, nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(PendingFor + sweepFor)
		synctest.Wait()
		if _, _, err := s.Subscription(pending); !errors.Is(err, ErrNotFound) || len(s.byARN(arn).Subscriptions) != 1 {
			t.Errorf("%v, %d subscriptions", err, len(s.byARN(arn).Subscriptions))
		}
	})
}

// slow retries keep the number of attempts of tests small.
var slow = Retries{MinDelay: 20, MaxDelay: 3600, Retries: 1000, MaxDelays: 990, Function: "exponential"}

// A queue that is down for days gets everything when it comes back, in a service that was restarted meanwhile; another endpoint
// is not held up.
func TestDownForDays(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := &world{}
		dir := t.TempDir()
		o := options(w)
		o.Retries = map[string]Retries{"sqs": slow}
		o.window, o.segment = 16, 4<<10
		s, stop := begin(t, dir, o)
		arn := create(t, s, "news", nil)
		sub := subscribe(t, s, arn, "sqs", "arn:aws:sqs:eu-west-1:111122223333:q", nil)
		subscribe(t, s, arn, "https", "https://a.test/", map[string]string{"DeliveryPolicy": `{"healthyRetryPolicy":{"minDelayTarget":3600,"maxDelayTarget":3600,"numRetries":100}}`})
		subscribe(t, s, arn, "https", "https://b.test/", nil)
		w.set(func() {
			w.queue = func(*sqs.SendMessageInput) error { return errDown }
			w.answer = func(g got) (int, error) {
				if strings.HasPrefix(g.url, "https://a.test") && g.kind == typeNotification {
					return 0, errDown
				}
				return 200, nil
			}
		})
		var want, queued []string
		for i := range 2 * o.window {
			want = append(want, fmt.Sprint("m", i))
			queued = append(queued, "https://sqs/111122223333/q "+want[i])
		}
		publish(t, s, arn, want...)
		time.Sleep(30 * time.Hour)
		same(t, "b", w.bodies("https://b.test/"), want)
		f, err := s.Figures(sub)
		if err != nil || f.Open != o.window || f.Error == "" || f.Delivered != 0 {
			t.Errorf("%+v %v", f, err)
		}
		stop()
		time.Sleep(10 * time.Hour)
		s, _ = begin(t, dir, o)
		time.Sleep(32 * time.Hour)
		w.set(func() { w.queue, w.answer = nil, nil })
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		same(t, "queue", w.queued(), queued)
		same(t, "a", w.bodies("https://a.test/"), want)
		same(t, "b", w.bodies("https://b.test/"), want)
		sum, size := s.Totals()
		if sum.GivenUp != 0 || sum.Open != 0 || sum.Delivered != uint64(3*len(want)) {
			t.Errorf("%+v", sum)
		}
		if size > 2*o.segment {
			t.Errorf("the outbox has %d bytes", size)
		}
	})
}

func TestGiveUp(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := &world{}
		s, _ := begin(t, t.TempDir(), options(w))
		arn := create(t, s, "news", nil)
		local := subscribe(t, s, arn, "https", "https://a.test/", nil)
		moved := subscribe(t, s, arn, "https", "https://b.test/", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:111122223333:dead"}`})
		refused := subscribe(t, s, arn, "https", "https://c.test/", nil)
		synctest.Wait()
		tries := map[string]int{}
		w.set(func() {
			w.answer = func(g got) (int, error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				tries[g.url]++
				return map[string]int{"https://a.test/": 500, "https://b.test/": 429, "https://c.test/": 302}[g.url], nil
			}
		})
		publish(t, s, arn, "one")
		synctest.Wait()
		if f, _ := s.Figures(local); f.Open != 1 || f.GivenUp != 0 || f.Error != "the endpoint answered 500" {
			t.Errorf("%+v", f)
		}
		time.Sleep(59 * time.Second)
		synctest.Wait()
		tried := func() (text string) {
			w.set(func() { text = fmt.Sprint(tries) })
			return text
		}
		if got := tried(); got != "map[https://a.test/:3 https://b.test/:3 https://c.test/:1]" {
			t.Error(got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := tried(); got != "map[https://a.test/:4 https://b.test/:4 https://c.test/:1]" {
			t.Error(got)
		}
		same(t, "queue", w.queued(), []string{"https://sqs/111122223333/dead one"})
		for sub, want := range map[string]string{local: "the endpoint answered 500 4", moved: "", refused: "the endpoint answered 302 1"} {
			letters := ""
			if err := s.DeadLetters(sub, func(d DeadLetter) error {
				letters += fmt.Sprint(d.Reason, " ", d.Attempts)
				if d.Message.Body != "one" {
					t.Errorf("%+v", d)
				}
				return nil
			}); err != nil || letters != want {
				t.Errorf("%q %v", letters, err)
			}
			if f, _ := s.Figures(sub); f.GivenUp != 1 || f.Open != 0 || f.Delivered != 0 {
				t.Errorf("%s: %+v", sub, f)
			}
		}
		// A queue for dead letters that is not there keeps them here.
		w.set(func() { w.queue = func(*sqs.SendMessageInput) error { return apiError("QueueDoesNotExist") } })
		publish(t, s, arn, "two")
		time.Sleep(2 * time.Minute)
		n := 0
		if err := s.DeadLetters(moved, func(d DeadLetter) error { n++; return nil }); err != nil || n != 1 {
			t.Errorf("%d %v", n, err)
		}
		if f, _ := s.Figures(moved); f.GivenUp != 2 || f.Open != 0 {
			t.Errorf("%+v", f)
		}
	})
}

func TestFIFO(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := &world{}
		dir := t.TempDir()
		s, stop := begin(t, dir, options(w))
		arn := create(t, s, "n.fifo", map[string]string{"FifoTopic": "true", "ContentBasedDeduplication": "true"})
		subscribe(t, s, arn, "sqs", "arn:aws:sqs:eu-west-1:111122223333:q.fifo", map[string]string{"RawMessageDelivery": "true"})
		w.set(func() {
			n := 0
			w.queue = func(in *sqs.SendMessageInput) error { // every second attempt fails
				if n++; n%2 == 1 {
					return errDown
				}
				return nil
			}
		})
		send := func(group, body, dedup string) Receipt {
			t.Helper()
			r, release, _, err := s.PublishHeld(t.Context(), arn, []Message{{Body: body, Group: group, Deduplication: dedup}})
			if err != nil {
				t.Fatal(err)
			}
			release()
			return r[0]
		}
		first := send("a", "a0", "")
		for i := 1; i < 10; i++ {
			send("a", fmt.Sprint("a", i), "")
			send("b", fmt.Sprint("b", i), "")
		}
		if again := send("a", "a0", ""); !again.Duplicate || again.ID != first.ID || again.Sequence != first.Sequence {
			t.Errorf("%+v %+v", again, first)
		}
		if other := send("a", "a0", "own"); other.Duplicate {
			t.Errorf("%+v", other)
		}
		time.Sleep(time.Minute)
		stop()
		s, _ = begin(t, dir, options(w))
		if again := send("b", "a0", "own"); !again.Duplicate {
			t.Error("a restart forgot a deduplication id")
		}
		time.Sleep(5 * time.Minute)
		if later := send("a", "last", "own"); later.Duplicate {
			t.Error("a deduplication id counts after five minutes")
		}
		time.Sleep(time.Minute)
		byGroup := map[string]string{}
		for _, in := range w.inQueues() {
			byGroup[*in.MessageGroupId] += *in.MessageBody + " "
			if in.MessageDeduplicationId == nil {
				t.Error("no deduplication id")
			}
		}
		if got := byGroup["a"]; got != "a0 a1 a2 a3 a4 a5 a6 a7 a8 a9 a0 last " {
			t.Error(got)
		}
		if got := byGroup["b"]; got != "b1 b2 b3 b4 b5 b6 b7 b8 b9 " {
			t.Error(got)
		}
		for m, want := range map[*Message]string{
			{Body: "x"}: "Invalid parameter: The MessageGroupId parameter is required for FIFO topics",
			{Body: "x", Group: "g", Deduplication: "a b"}: "Invalid parameter: MessageDeduplicationId Reason: it can contain up to 128 alphanumeric or punctuation characters",
		} {
			if _, err := s.Publish(t.Context(), arn, *m); err == nil || err.Error() != want {
				t.Errorf("%+v: %v", m, err)
			}
		}
	})
}

func TestOnce(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := &world{}
		dir := t.TempDir()
		o := options(w)
		o.segment = 4 << 10
		s, stop := begin(t, dir, o)
		arn := create(t, s, "news", nil)
		subscribe(t, s, arn, "https", "https://a.test/", nil)
		say := func(once string) string {
			t.Helper()
			id, err := s.Publish(t.Context(), arn, Message{Body: once, Once: once})
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
		one := say("one")
		// The segment of the message is long gone when the name still counts.
		big := strings.Repeat("x", 1000)
		for i := range 40 {
			publish(t, s, arn, fmt.Sprint(i, big))
		}
		time.Sleep(time.Minute)
		logs, _ := filepath.Glob(filepath.Join(dir, topicsName, "*", "outbox", "*"+logSuffix))
		seen, _ := filepath.Glob(filepath.Join(dir, topicsName, "*", "outbox", "*"+seenSuffix))
		if len(logs) != 1 || len(seen) != 1 {
			t.Errorf("%q %q", logs, seen)
		}
		if got := say("one"); got != one {
			t.Errorf("%s, not %s", got, one)
		}
		stop()
		s, _ = begin(t, dir, o)
		time.Sleep(23 * time.Hour)
		if got := say("one"); got != one {
			t.Errorf("%s, not %s", got, one)
		}
		time.Sleep(time.Hour)
		if got := say("one"); got == one {
			t.Error("a name counts after a day")
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if seen, _ := filepath.Glob(filepath.Join(dir, topicsName, "*", "outbox", "*"+seenSuffix)); len(seen) != 0 {
			t.Errorf("%q", seen)
		}
		n := 0
		for _, b := range w.bodies("https://a.test/") {
			if b == "one" {
				n++
			}
		}
		if n != 2 {
			t.Errorf("delivered %d times", n)
		}
	})
}

func TestHeld(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := &world{}
		dir := t.TempDir()
		s, stop := begin(t, dir, options(w))
		arn := create(t, s, "news", nil)
		subscribe(t, s, arn, "https", "https://a.test/", nil)
		hold := func(body string) (func(), Undo) {
			t.Helper()
			_, release, undo, err := s.PublishHeld(t.Context(), arn, []Message{{Body: body, Once: "name"}})
			if err != nil {
				t.Fatal(err)
			}
			return release, undo
		}
		_, undo := hold("never")
		publish(t, s, arn, "behind")
		synctest.Wait()
		same(t, "while it is held", w.bodies("https://a.test/"), nil)
		if err := undo(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		same(t, "after it was withdrawn", w.bodies("https://a.test/"), []string{"behind"})
		hold("held at the end") // whose name does not count for the withdrawn one
		stop()
		_, _ = begin(t, dir, options(w))
		synctest.Wait()
		same(t, "after a start", w.bodies("https://a.test/"), []string{"behind", "held at the end"})
	})
}

func TestOutboxIsBounded(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := &world{}
		o := options(w)
		o.segment, o.MaxOutbox = 4<<10, 4<<10
		o.Retries = map[string]Retries{"sqs": slow}
		s, _ := begin(t, t.TempDir(), o)
		arn := create(t, s, "news", nil)
		dead := subscribe(t, s, arn, "sqs", "arn:aws:sqs:eu-west-1:111122223333:q", nil)
		subscribe(t, s, arn, "https", "https://a.test/", nil)
		w.set(func() { w.queue = func(*sqs.SendMessageInput) error { return errDown } })
		big := strings.Repeat("x", 1000)
		var want []string
		for i := range 60 {
			want = append(want, fmt.Sprint(i, big))
			publish(t, s, arn, want[i])
			time.Sleep(3 * time.Second)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		_, size := s.Totals()
		f, err := s.Figures(dead)
		if err != nil || f.GivenUp == 0 || int(f.GivenUp)+f.Open != 60 || size > 3*o.segment {
			t.Errorf("%+v %v, %d bytes", f, err, size)
		}
		if got := w.bodies("https://a.test/"); len(got) != 60 {
			t.Errorf("the other endpoint got %d", len(got))
		}
		w.set(func() { w.queue = nil })
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if f2, err := s.Figures(dead); err != nil || f2.Open != 0 || f2.Delivered != 60-f.GivenUp {
			t.Errorf("%+v %v", f2, err)
		}
	})
}

func TestExternal(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := &world{}
		x := &cloud{err: errDown}
		o := options(w)
		aws := "arn:aws:sns:us-east-1:999999999999:theirs"
		o.External = func(arn string) bool { return arn == aws }
		o.SNS = x.make
		dir := t.TempDir()
		s, stop := begin(t, dir, o)
		for range 2 {
			if _, err := s.Publish(t.Context(), aws, Message{Subject: "s", Body: "b", Once: "1"}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		stop()
		x.set(nil)
		s, _ = begin(t, dir, o)
		time.Sleep(time.Minute)
		if got := x.text(); got != "us-east-1 arn:aws:sns:us-east-1:999999999999:theirs s b\n" {
			t.Errorf("%q", got)
		}
		if _, err := s.Topic(aws); !errors.Is(err, ErrNotFound) {
			t.Error("a topic of AWS is shown as one of here")
		}
		if err := s.Allowed(t.Context(), aws, "SNS:Publish", policy.Principal{}, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestTopics(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(t.Context(), dir, options(&world{}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, options(&world{})); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	refused := func(want string, _ ...any) func(...any) {
		return func(got ...any) {
			t.Helper()
			err, _ := got[len(got)-1].(error)
			if err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		}
	}
	three := func(a any, b any, c error) []any { return []any{a, b, c} }
	for name, want := range map[string]string{"": "Topic Name", "a b": "Topic Name", strings.Repeat("x", 257): "Topic Name", "x.fifo": "Topic Name", "a:b": "Topic Name"} {
		refused("Invalid parameter: " + want)(three(s.Create(here, name, nil, nil))...)
	}
	refused("Invalid parameter: AttributeName")(three(s.Create(here, "t", map[string]string{"X": "y"}, nil))...)
	refused("Invalid parameter: Attributes Reason: KmsMasterKeyId: messages are not encrypted with keys here, so that there is none to be named")(
		three(s.Create(here, "t", map[string]string{"KmsMasterKeyId": "alias/aws/sns"}, nil))...)
	tags := []tag.Tag{{Key: "b", Value: "2"}, {Key: "a", Value: "1"}}
	arn, _, err := s.Create(here, "t", map[string]string{"DisplayName": "T"}, tags)
	if err != nil {
		t.Fatal(err)
	}
	if again, _, err := s.Create(here, "t", map[string]string{"DisplayName": "T"}, nil); err != nil || again != arn {
		t.Error(again, err)
	}
	refused("Invalid parameter: Attributes Reason: Topic already exists with different attributes")(three(s.Create(here, "t", map[string]string{"DisplayName": "U"}, nil))...)
	refused("Invalid parameter: Tags Reason: Topic already exists with different tags")(three(s.Create(here, "t", nil, tags[:1]))...)

	a, err := s.Attributes(arn)
	if err != nil || a["Owner"] != account || a["DisplayName"] != "T" || a["SubscriptionsConfirmed"] != "0" || !strings.Contains(a["Policy"], "__default_policy_ID") ||
		a["EffectiveDeliveryPolicy"] != `{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":20,"maxDelayTarget":20,"numRetries":3,"numMaxDelayRetries":0,"numNoDelayRetries":0,"numMinDelayRetries":0,"backoffFunction":"linear"},"defaultRequestPolicy":{"headerContentType":"text/plain; charset=UTF-8"},"disableSubscriptionOverrides":false}}` {
		t.Errorf("%v %v", a, err)
	}
	service := policy.Principal{Service: "cloudtrail.amazonaws.com"}
	if err := s.Allowed(t.Context(), arn, "SNS:Publish", service, nil); !errors.Is(err, ErrDenied) {
		t.Error(err)
	}
	if err := s.Allowed(t.Context(), arn+"x", "SNS:Publish", service, nil); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	text := `{"Version":"2012-10-17","Statement":[{"Sid":"AWSCloudTrailSNSPolicy20150319","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"SNS:Publish","Resource":"` + arn + `"}]}`
	if _, err := s.SetAttribute(arn, "Policy", text); err != nil {
		t.Fatal(err)
	}
	if err := s.Allowed(t.Context(), arn, "SNS:Publish", service, nil); err != nil {
		t.Error(err)
	}
	if _, err := s.SetAttribute(arn, "Policy", `{"Version":"2012-10-17","Statement":[{"Effect":"Perhaps"}]}`); err == nil || !strings.HasPrefix(err.Error(), "Invalid parameter: Policy Error: ") {
		t.Error(err)
	}
	undo, err := s.AddPermission(arn, "lab", []string{"444455556666"}, []string{"Publish"})
	if err != nil {
		t.Fatal(err)
	}
	other := policy.Principal{ARN: "arn:aws:iam::444455556666:user/u", Account: "444455556666"}
	doc, owner, err := s.Policy(arn)
	if err != nil || owner != account {
		t.Fatal(owner, err)
	}
	if e, _ := doc.Evaluate(policy.Request{Principal: other, Action: "SNS:Publish", Resource: arn}); e != policy.Delegate {
		t.Errorf("%v", e)
	}
	if _, err := s.AddPermission(arn, "lab", []string{"444455556666"}, []string{"Publish"}); err == nil {
		t.Error("a label twice")
	}
	if err := undo(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RemovePermission(arn, "lab"); err == nil {
		t.Error("what was taken back is there")
	}
	if _, err := s.RemovePermission(arn, "AWSCloudTrailSNSPolicy20150319"); err != nil {
		t.Error(err)
	}
	if got, err := s.Tags(arn); err != nil || fmt.Sprint(got) != "[{a 1} {b 2}]" {
		t.Error(got, err)
	}
	if _, err := s.SetTags(arn, []tag.Tag{{Key: "c"}}, []string{"a"}); err != nil {
		t.Error(err)
	}
	if got, _ := s.Tags(arn); fmt.Sprint(got) != "[{b 2} {c }]" {
		t.Error(got)
	}
	sub := subscribe(t, s, arn, "sqs", "arn:aws:sqs:eu-west-1:111122223333:q", nil)
	back, err := s.Delete(arn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Topic(arn); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if err := back(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Subscription(sub); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(t.Context(), dir, options(&world{})); err != nil {
		t.Fatal(err)
	}
	if got := s.Topics(here); !slices.Equal(got, []string{arn}) {
		t.Error(got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Publish(t.Context(), arn, Message{Body: "x"}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	// A damaged state is refused, and left as it is.
	path := filepath.Join(dir, "state.json")
	if err := os.WriteFile(path, []byte(`{"format":"spoor-topics","version":1,"topics":[{"id":"x"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, options(&world{})); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}

func TestSubscribeRefuses(t *testing.T) {
	t.Parallel()
	o := options(&world{})
	o.SMTP = SMTP{Addr: "mail.test:25", From: "spoor@test"}
	s, err := Open(t.Context(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	arn := create(t, s, "t", nil)
	for _, x := range []struct{ protocol, endpoint, name, value, want string }{
		{"https", "http://a.test/", "", "", "Endpoint must match the specified protocol"},
		{"http", "http://", "", "", "Endpoint must match the specified protocol"},
		{"http", "http://u:p@a.test/", "", "", "Endpoint Reason: it has a user or a password, which would be shown in lists"},
		{"http", "http://a.test/\r\nX: y", "", "", "Endpoint Reason: it is longer than 2048 characters, or has some that are not printable ASCII"},
		{"sqs", "https://sqs/q", "", "", "SQS endpoint ARN"},
		{"sqs", "arn:aws:sqs:eu-west-1:111122223333:q.fifo", "", "", "Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics"},
		{"email", "a@b.test,c@d.test", "", "", "Email address"},
		{"email", "Name<a@b.test>", "", "", "Email address"},
		{"email", "a@b.test", "RawMessageDelivery", "true", "Attributes Reason: Delivery protocol [email] does not support raw message delivery."},
		{"nats", "nats://u:p@h:4222/x", "", "", "Endpoint Reason: it has to be nats://HOST:PORT/SUBJECT, or tls://…, without user"},
		{"nats", "nats://h:4222/x.>", "", "", "Endpoint Reason: it has to be nats://HOST:PORT/SUBJECT, or tls://…, without user"},
		{"sms", "+1", "", "", "Invalid protocol type: sms"},
		{"https", "https://a.test/", "RawMessageDelivery", "yes", "Attributes Reason: RawMessageDelivery: Invalid value [yes]. Must be true or false."},
		{"https", "https://a.test/", "FilterPolicy", "[]", "FilterPolicy: Filter policy must be a JSON object"},
		{"https", "https://a.test/", "RedrivePolicy", `{"deadLetterTargetArn":"x"}`, "RedrivePolicy: deadLetterTargetArn is an invalid arn"},
		{"sqs", "arn:aws:sqs:eu-west-1:111122223333:q", "DeliveryPolicy", `{}`, "Attributes Reason: Delivery protocol [sqs] does not support a delivery policy."},
		{"https", "https://a.test/", "DeliveryPolicy", `{"healthyRetryPolicy":{"numRetries":1,"numNoDelayRetries":2}}`,
			"DeliveryPolicy: healthyRetryPolicy.numRetries must be at least the sum of numNoDelayRetries, numMinDelayRetries and numMaxDelayRetries"},
	} {
		attributes := map[string]string{}
		if x.name != "" {
			attributes[x.name] = x.value
		}
		if _, _, _, err := s.Subscribe(t.Context(), arn, x.protocol, x.endpoint, account, attributes); err == nil || err.Error() != "Invalid parameter: "+x.want {
			t.Errorf("%s %s: %v\nwant %s", x.protocol, x.endpoint, err, x.want)
		}
	}
	// A queue of another account is asked, and confirms in its own time.
	if _, u, _, err := s.Subscribe(t.Context(), arn, "sqs", "arn:aws:sqs:eu-west-1:444455556666:q", account, nil); err != nil || u.Status != Pending {
		t.Errorf("%+v %v", u, err)
	}
}
