package restcatalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"spoor/internal/store"
)

type fake struct {
	m   store.TableMetadata
	err error
}

func (f *fake) TableMetadata(context.Context) (store.TableMetadata, error) { return f.m, f.err }

const metadata = `{"format-version":2,"current-snapshot-id":9223372036854775806,
	"refs":{"main":{"snapshot-id":9223372036854775806,"type":"branch"},"hold-case":{"snapshot-id":3,"type":"tag"}},
	"snapshots":[{"snapshot-id":9223372036854775805},{"snapshot-id":3},{"snapshot-id":9223372036854775806,"summary":{"a":"b"}}]}`

func ask(t *testing.T, h http.Handler, method, path string, headers ...string) (*httptest.ResponseRecorder, map[string]any) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader("{}"))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var body map[string]any
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatalf("%s %s: %v: %s", method, path, err, w.Body)
		}
	}
	return w, body
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	f := &fake{m: store.TableMetadata{UUID: "u", Version: 7, Location: "s3://spoor/u/metadata/v7.metadata.json", JSON: []byte(metadata)}}
	h := New(Options{Store: f, Storage: map[string]string{"s3.endpoint": "http://127.0.0.1:9000"}})
	const table = "/v1/namespaces/spoor/tables/events"
	for _, c := range []struct {
		method, path string
		code         int
		want         string // of the answer, without its spaces
	}{
		{"GET", "/v1/config", 200, `"defaults":{"s3.endpoint":"http://127.0.0.1:9000"}`},
		{"GET", "/v1/config?warehouse=any", 200, `"overrides":{}`},
		{"GET", "/v1/namespaces", 200, `{"namespaces":[["spoor"]]}`},
		{"GET", "/v1/namespaces?parent=spoor", 200, `{"namespaces":[]}`},
		{"GET", "/v1/namespaces?parent=other", 404, `NoSuchNamespaceException`},
		{"GET", "/v1/namespaces/spoor", 200, `{"namespace":["spoor"],"properties":{}}`},
		{"HEAD", "/v1/namespaces/spoor", 204, ``},
		{"HEAD", "/v1/namespaces/other", 404, ``},
		{"GET", "/v1/namespaces/a%1Fb", 404, `NoSuchNamespaceException`},
		{"GET", "/v1/namespaces/spoor/tables", 200, `{"identifiers":[{"name":"events","namespace":["spoor"]}]}`},
		{"GET", "/v1/namespaces/spoor/views", 200, `{"identifiers":[]}`},
		{"GET", "/v1/namespaces/other/tables", 404, `NoSuchNamespaceException`},
		{"GET", table, 200, `"metadata-location":"s3://spoor/u/metadata/v7.metadata.json"`},
		{"GET", table + "?snapshots=all", 200, `9223372036854775805`},
		{"GET", table + "?snapshots=some", 400, `BadRequestException`},
		{"HEAD", table, 204, ``},
		{"GET", "/v1/namespaces/spoor/tables/other", 404, `NoSuchTableException`},
		{"HEAD", "/v1/namespaces/spoor/tables/other", 404, ``},
		{"GET", "/v1/namespaces/other/tables/events", 404, `NoSuchNamespaceException`},
		{"POST", table + "/metrics", 204, ``},
		{"POST", "/v1/namespaces/spoor/tables/other/metrics", 404, `NoSuchTableException`},
		{"POST", table, 406, `UnsupportedOperationException`},
		{"DELETE", table, 406, `UnsupportedOperationException`},
		{"POST", "/v1/namespaces", 406, `UnsupportedOperationException`},
		{"POST", "/v1/namespaces/spoor/tables", 406, `UnsupportedOperationException`},
		{"POST", "/v1/tables/rename", 406, `UnsupportedOperationException`},
		{"POST", "/v1/oauth/tokens", 406, `UnsupportedOperationException`},
		{"GET", "/v1/other", 404, `NoSuchEndpointException`},
		{"GET", "/", 404, `NoSuchEndpointException`},
	} {
		w, body := ask(t, h, c.method, c.path)
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.want) || c.want == "" && w.Body.Len() > 0 {
			t.Errorf("%s %s: %d %s", c.method, c.path, w.Code, w.Body)
		}
		if w.Body.Len() > 0 && w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %v", c.method, c.path, w.Header())
		}
		if c.code >= 400 && c.method != "HEAD" {
			e, _ := body["error"].(map[string]any)
			if e["code"] != float64(c.code) || e["message"] == "" || e["type"] == nil {
				t.Errorf("%s %s: %v", c.method, c.path, body)
			}
		}
	}

	// Each endpoint that engines are told of is there.
	_, config := ask(t, h, "GET", "/v1/config")
	told, _ := config["endpoints"].([]any)
	if len(told) != 7 {
		t.Errorf("%v", told)
	}
	for _, e := range told {
		method, path, _ := strings.Cut(e.(string), " ")
		path = strings.NewReplacer("/{prefix}", "", "{namespace}", "spoor", "{table}", "events").Replace(path)
		if w, _ := ask(t, h, method, path); w.Code >= 300 {
			t.Errorf("%s: %d", e, w.Code)
		}
	}

	// Only what has a name; large numbers stay what they are.
	w, _ := ask(t, h, "GET", table+"?snapshots=refs")
	if text := w.Body.String(); strings.Contains(text, "9223372036854775805") || strings.Count(text, "9223372036854775806") != 3 || !strings.Contains(text, `"summary"`) {
		t.Errorf("%s", text)
	}
	tag := w.Header().Get("ETag")
	if w, _ := ask(t, h, "GET", table+"?snapshots=refs", "If-None-Match", tag); w.Code != http.StatusNotModified || w.Body.Len() > 0 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w, _ := ask(t, h, "GET", table, "If-None-Match", tag); w.Code != http.StatusOK {
		t.Errorf("another form of the table: %d", w.Code)
	}
	f.m.Version++
	if w, _ := ask(t, h, "GET", table+"?snapshots=refs", "If-None-Match", tag); w.Code != http.StatusOK || w.Header().Get("ETag") == tag {
		t.Errorf("the next version: %d", w.Code)
	}

	f.err = fmt.Errorf("open: %w", store.ErrNoStore)
	if w, _ := ask(t, h, "GET", table); w.Code != 404 || !strings.Contains(w.Body.String(), "NoSuchTableException") {
		t.Errorf("no store: %d %s", w.Code, w.Body)
	}
	f.err = errors.New("a path /secret/x")
	if w, _ := ask(t, h, "GET", table); w.Code != 500 || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("a failure: %d %s", w.Code, w.Body)
	}
}

// TestLongReport: what engines report is bounded.
func TestLongReport(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/v1/namespaces/spoor/tables/events/metrics", io.LimitReader(zeros{}, maxReport+1))
	w := httptest.NewRecorder()
	New(Options{Store: &fake{}}).ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
