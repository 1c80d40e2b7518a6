package metrics

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func scrape(t *testing.T, r *Registry) string {
	t.Helper()
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	level := 1.0
	part := Part{Name: "one", Families: []Family{{"spoor_one_total", Counter, "Ones.", nil}, {"spoor_one_level", Gauge, "Level of ones.", []string{"side"}}},
		Read: func(_ context.Context, put Put) error {
			put("spoor_one_total", 7)
			put("spoor_one_level", level, "left\n\"")
			return nil
		}}
	broken := Part{Name: "two", Families: []Family{{"spoor_two", Gauge, "Twos.", nil}}, Read: func(context.Context, Put) error { return errors.New("no") }}
	r, err := New(slog.New(slog.NewTextHandler(io.Discard, nil)), part, broken)
	if err != nil {
		t.Fatal(err)
	}
	end := r.Begin()
	if got := scrape(t, r); !strings.Contains(got, "spoor_http_requests_active 1\n") {
		t.Errorf("no request is under way:\n%s", got)
	}
	end()
	r.Observe("GET /x", 200, time.Millisecond, false)
	r.Observe("", 401, time.Millisecond, false)
	r.Observe("GET /tail", 500, time.Hour, true)
	r.ObserveCall("sts", "GetCallerIdentity", "", time.Millisecond)
	r.ObserveCall("", "", "UnknownOperationException", time.Millisecond)
	defer r.BeginCall()()
	level = 2
	got := scrape(t, r)
	for _, want := range []string{
		"# TYPE spoor_one_total counter\nspoor_one_total 7\n", `spoor_one_level{side="left\n\""} 2` + "\n", "spoor_http_requests_active 0\n",
		`spoor_http_requests_total{route="GET /x",status="200"} 1` + "\n", `spoor_http_requests_total{route="GET /tail",status="500"} 1` + "\n",
		`spoor_http_requests_total{route="other",status="401"} 1` + "\n",
		`spoor_aws_calls_total{code="ok",operation="GetCallerIdentity",service="sts"} 1` + "\n", `spoor_aws_call_seconds_count{service="other"} 1` + "\n",
		`spoor_aws_calls_total{code="UnknownOperationException",operation="other",service="other"} 1` + "\n", "spoor_aws_calls_active 1\n",
		`spoor_http_request_seconds_count{route="GET /x"} 1` + "\n", `spoor_metrics_errors_total{part="one"} 0` + "\n", `spoor_metrics_errors_total{part="two"} `, "go_goroutines ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if strings.Contains(got, `spoor_http_request_seconds_count{route="GET /tail"}`) {
		t.Error("a live tail was timed")
	}
	problems, err := testutil.GatherAndLint(r.reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if !strings.HasPrefix(p.Metric, "go_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestDeclaredTwice(t *testing.T) {
	t.Parallel()
	p := Part{Name: "one", Families: []Family{{"spoor_one", Gauge, "Ones.", nil}}}
	if _, err := New(slog.New(slog.DiscardHandler), p, p); err == nil {
		t.Error("a figure that is declared twice was taken")
	}
}
