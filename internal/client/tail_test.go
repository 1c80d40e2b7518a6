package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// script answers each connection of a live tail with what it says, and then ends it, but for the last, which stays open.
func script(t *testing.T, texts ...string) (*server, *[]string) {
	t.Helper()
	positions := &[]string{}
	s := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
		*positions = append(*positions, r.Header.Get("Last-Event-Id"))
		if r.URL.Path != "/api/v1/tail" || r.Header.Get("Accept") != "text/event-stream" {
			t.Errorf("request %s %v", r.URL, r.Header)
		}
		if n > len(texts) {
			t.Errorf("connection %d", n)
			return
		}
		text := texts[n-1]
		if status, _, ok := strings.Cut(text, " problem"); ok {
			code := 0
			fmt.Sscan(status, &code)
			tellProblem(w, code, "code", "why "+status)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, text) //nolint:errcheck // a test server
		w.(http.Flusher).Flush()
		if n == len(texts) {
			<-r.Context().Done()
			return
		}
		panic(http.ErrAbortHandler)
	})
	return s, positions
}

func sent(id string) string {
	return fmt.Sprintf("event: event\nid: p%s\ndata: {\"id\":%q,\"record\":{\"eventID\":%[1]q}}\n\n", id, id)
}

// follow follows until there are n messages, and tells them as text.
func follow(t *testing.T, c *Client, tail Tail, n int) (got []string, position string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	enough := errors.New("enough")
	position, err = c.Tail(ctx, tail, func(m TailMessage) error {
		text := ""
		if m.Dropped > 0 {
			text += fmt.Sprintf("dropped %d ", m.Dropped)
		}
		if m.Gap != "" {
			text += "gap " + m.Gap + " "
		}
		if m.Event != nil {
			text += m.Event.ID
		}
		if got = append(got, strings.TrimSpace(text)); len(got) == n {
			return enough
		}
		return nil
	})
	if errors.Is(err, enough) {
		err = nil
	}
	return got, position, err
}

func TestTail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		texts     []string
		want      []string
		positions []string // that connections asked for
		err       string
	}{
		{"events and what is missing",
			[]string{"id: p0\n\n" + sent("1") + ":\n\n" + "event: missing\ndata: {\"dropped\":3}\n\n" + sent("2") + "event: missing\nid: p3\ndata: {\"gap\":\"old\"}\n\nevent: new\ndata: {}\n\n" + sent("4")},
			[]string{"1", "dropped 3", "2", "gap old", "4"}, []string{""}, ""},
		{"lost and resumed",
			[]string{"id: p0\n\n" + sent("1") + sent("2"), sent("3"), "503 problem", "500 problem", "504 problem", "429 problem", sent("4")},
			[]string{"1", "2", "3", "4"}, []string{"", "p2", "p3", "p3", "p3", "p3", "p3"}, ""},
		{"what broke off is given again",
			[]string{sent("1") + "event: event\nid: p2\ndata: {\"id\":\"2\"}\n", sent("1x") + "event: event\nid: p2\nda", sent("2")},
			[]string{"1", "1x", "2"}, []string{"", "p1", "p1x"}, ""},
		{"a position alone counts",
			[]string{sent("1") + "id: p9\n\n", sent("10")},
			[]string{"1", "10"}, []string{"", "p9"}, ""},
		{"lost before any position",
			[]string{":\n\n", sent("1")},
			[]string{"gap the connection was lost before the server had told a position", "1"}, []string{"", ""}, ""},
		{"a token that has expired",
			[]string{sent("1"), "401 problem"}, []string{"1"}, []string{"", "p1"}, "why 401"},
		{"not allowed any more",
			[]string{sent("1") + "event: error\ndata: {\"status\":403,\"code\":\"denied\",\"detail\":\"no more\"}\n\n", ""},
			[]string{"1"}, []string{""}, "no more (denied)"},
		{"the server stops",
			[]string{sent("1") + "event: error\ndata: {\"status\":503,\"code\":\"unavailable\",\"detail\":\"stopping\"}\n\n", sent("2")},
			[]string{"1", "2"}, []string{"", "p1"}, ""},
		{"not allowed at all", []string{"403 problem"}, nil, []string{""}, "why 403"},
		{"too many tails", []string{"503 problem"}, nil, []string{""}, "why 503"},
		{"an event that cannot be read",
			[]string{sent("1") + "event: event\nid: p2\ndata: {\n\n", sent("3")},
			[]string{"1", "3"}, []string{"", "p1"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, positions := script(t, c.texts...)
			var lost []error
			got, _, err := follow(t, dial(t, s.URL), Tail{Lost: func(err error, wait time.Duration) {
				lost = append(lost, err)
				if wait <= 0 || wait > time.Second {
					t.Errorf("waits %s after %v", wait, err)
				}
			}}, max(len(c.want), 1)+map[bool]int{true: 1}[c.err != ""])
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%v, want %q", err, c.err)
			}
			if !slices.Equal(got, c.want) || !slices.Equal(*positions, c.positions) {
				t.Errorf("messages %q, want %q; positions %q, want %q", got, c.want, *positions, c.positions)
			}
			if want := len(c.positions) - 1; c.err == "" && len(lost) != want {
				t.Errorf("lost %v, want %d", lost, want)
			}
		})
	}
}

func TestTailBegins(t *testing.T) {
	t.Parallel()
	s := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		if got := r.URL.RawQuery; got != "term=a%3Db&term=c" || r.Header.Get("Last-Event-Id") != "p7" {
			t.Errorf("%s after %q", got, r.Header.Get("Last-Event-Id"))
		}
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, sent("8")) //nolint:errcheck // a test server
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	c := dial(t, s.URL)
	began := 0
	got, position, err := follow(t, c, Tail{Terms: []string{"a=b", "c"}, After: "p7", Began: func() { began++ }}, 1)
	if err != nil || !slices.Equal(got, []string{"8"}) || position != "p7" || began != 1 { // fn refused 8: it was not had
		t.Errorf("%q up to %q, %v", got, position, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	position, err = c.Tail(ctx, Tail{Terms: []string{"a=b", "c"}, After: "p7"}, func(TailMessage) error {
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || position != "p8" {
		t.Errorf("interrupted at %q: %v", position, err)
	}
}

func TestTailOfSomethingElse(t *testing.T) {
	t.Parallel()
	s := serve(t, func(_ int, w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
	if _, _, err := follow(t, dial(t, s.URL), Tail{}, 1); err == nil || !strings.Contains(err.Error(), "no live tail") {
		t.Errorf("%v", err)
	}
	s.Close()
	if _, _, err := follow(t, dial(t, s.URL), Tail{}, 1); !errors.Is(err, ErrUnreachable) {
		t.Errorf("nobody there: %v", err)
	}
}

// TestTailIdle: a server that says nothing is as good as gone; one that says a little is not.
func TestTailIdle(t *testing.T) {
	t.Parallel()
	s, positions := script(t, sent("1"), sent("2"))
	idle := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, sent(fmt.Sprint(n))) //nolint:errcheck // a test server
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	var lost []error
	got, _, err := follow(t, dial(t, idle.URL), Tail{Idle: 30 * time.Millisecond, Lost: func(err error, _ time.Duration) { lost = append(lost, err) }}, 2)
	if err != nil || !slices.Equal(got, []string{"1", "2"}) || len(lost) != 1 || !errors.Is(lost[0], errIdle) {
		t.Errorf("%q, %v, lost %v", got, err, lost)
	}
	if got, _, err := follow(t, dial(t, s.URL), Tail{}, 2); err != nil || !slices.Equal(got, []string{"1", "2"}) || len(*positions) != 2 {
		t.Errorf("%q, %v", got, err)
	}
}

func TestEventReader(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200<<10)
	for _, c := range []struct {
		name, text string
		want       []block
		err        error
	}{
		{"all kinds", "event: a\nid: 1\ndata: x\n\n", []block{{id: "1", event: "a", data: []byte("x"), retry: -1}}, io.EOF},
		{"CRLF, no space, comments, other fields", ": hello\r\nevent:a\r\ndata:x\r\nother: y\r\nlone\r\n\r\n", []block{{event: "a", data: []byte("x"), retry: -1}}, io.EOF},
		{"lines of data", "data: x\ndata:\ndata:  y\n\n", []block{{data: []byte("x\n\n y"), retry: -1}}, io.EOF},
		{"empty data", "data\n\n", []block{{data: []byte{}, retry: -1}}, io.EOF},
		{"retry", "retry: 250\n\nretry: x\n\ndata: y\n\n", []block{{retry: 250 * time.Millisecond}, {data: []byte("y"), retry: -1}}, io.EOF},
		{"an id with a null", "id: a\x00b\ndata: x\n\n", []block{{data: []byte("x"), retry: -1}}, io.EOF},
		{"a long line", "data: " + long + "\n\n", []block{{data: []byte(long), retry: -1}}, io.EOF},
		{"no end of the block", "data: x\n\ndata: y\n", []block{{data: []byte("x"), retry: -1}}, io.ErrUnexpectedEOF},
		{"no end of the line", "data: x\n\ndata: y", []block{{data: []byte("x"), retry: -1}}, io.ErrUnexpectedEOF},
		{"nothing", "", nil, io.EOF},
	} {
		for _, r := range []io.Reader{strings.NewReader(c.text), iotest.OneByteReader(strings.NewReader(c.text))} {
			e := newEventReader(r)
			var got []block
			for {
				b, err := e.next(func() {})
				if err != nil {
					if !errors.Is(err, c.err) {
						t.Errorf("%s: %v, want %v", c.name, err, c.err)
					}
					break
				}
				got = append(got, b)
			}
			if !slices.EqualFunc(got, c.want, func(a, b block) bool {
				return a.id == b.id && a.event == b.event && a.retry == b.retry && string(a.data) == string(b.data) && (a.data == nil) == (b.data == nil)
			}) {
				t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
			}
		}
	}
}

func FuzzEventReader(f *testing.F) {
	f.Add("event: a\nid: 1\ndata: x\n\nretry: 5\n\n")
	f.Add(":\r\n\r\ndata")
	f.Fuzz(func(t *testing.T, text string) {
		whole, bytewise := newEventReader(strings.NewReader(text)), newEventReader(iotest.OneByteReader(strings.NewReader(text)))
		for {
			a, errA := whole.next(func() {})
			b, errB := bytewise.next(func() {})
			if (errA == nil) != (errB == nil) || errA == nil && (a.id != b.id || a.event != b.event || string(a.data) != string(b.data)) {
				t.Fatalf("%+v %v, byte by byte %+v %v", a, errA, b, errB)
			}
			if errA != nil {
				return
			}
		}
	})
}
