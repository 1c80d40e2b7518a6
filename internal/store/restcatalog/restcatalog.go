// Package restcatalog lets other engines find the table of a store: the part of the Apache Iceberg REST catalogue
// specification that reads. There is one namespace, spoor, and one table in it, events. Nothing can be changed; what the
// specification has and this has not is answered in its error model.
//
// The catalogue tells where the table's metadata and files are, by logical locations (s3://spoor/…); it does not give the
// files themselves. Engines read those from an S3 endpoint that has the store's folder under that name.
package restcatalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"

	"spoor/internal/store"
)

// Namespace and Table are the names by which the table is known.
const (
	Namespace = "spoor"
	Table     = "events"
)

// Store is what the catalogue needs of a store; [*store.Store] is one.
type Store interface {
	TableMetadata(context.Context) (store.TableMetadata, error)
}

// Options of a catalogue.
type Options struct {
	// Store gives the table. Its error [store.ErrNoStore] is answered as a table that is not there yet.
	Store Store
	// Storage is told to engines with the table: how they reach its files, such as s3.endpoint, s3.region and
	// s3.path-style-access. It must not hold secrets.
	Storage map[string]string
	Log     *slog.Logger // nil: nothing is logged
}

// maxReport bounds the reports of engines that are read, and thrown away.
const maxReport = 1 << 20

// endpoints are what the catalogue has, as it tells engines.
func endpoints() []string {
	return []string{
		"GET /v1/{prefix}/namespaces",
		"GET /v1/{prefix}/namespaces/{namespace}",
		"HEAD /v1/{prefix}/namespaces/{namespace}",
		"GET /v1/{prefix}/namespaces/{namespace}/tables",
		"GET /v1/{prefix}/namespaces/{namespace}/tables/{table}",
		"HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}",
		"POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/metrics",
	}
}

type catalog struct {
	opts Options
	log  *slog.Logger
}

// New gives the catalogue as a handler of paths that begin with /v1/. It asks nobody who they are: that is for the caller.
func New(opts Options) http.Handler {
	c := &catalog{opts, opts.Log}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	get := func(path string, h func(http.ResponseWriter, *http.Request) error) { // and HEAD
		mux.HandleFunc("GET "+path, c.answer(h))
		mux.HandleFunc(path, c.answer(unsupported))
	}
	get("/v1/config", c.config)
	get("/v1/namespaces", c.namespaces)
	get("/v1/namespaces/{namespace}", c.namespace)
	get("/v1/namespaces/{namespace}/tables", c.tables)
	get("/v1/namespaces/{namespace}/views", c.views)
	get("/v1/namespaces/{namespace}/tables/{table}", c.table)
	mux.HandleFunc("POST /v1/namespaces/{namespace}/tables/{table}/metrics", c.answer(c.metrics))
	mux.HandleFunc("/", c.answer(unknown))
	return mux
}

// problem is an error of the specification: its HTTP status and the name of its exception.
type problem struct {
	code    int
	kind    string
	message string
}

func (p *problem) Error() string { return p.message }

func unsupported(http.ResponseWriter, *http.Request) error {
	return &problem{http.StatusNotAcceptable, "UnsupportedOperationException", "this catalogue can be read only"}
}

// unknown answers for what the specification may have and this catalogue has not.
func unknown(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead && strings.HasPrefix(r.URL.Path, "/v1/") {
		return unsupported(w, r)
	}
	return &problem{http.StatusNotFound, "NoSuchEndpointException", "there is no such endpoint"}
}

// answer turns errors into those of the specification.
func (c *catalog) answer(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil || r.Context().Err() != nil {
			return
		}
		var p *problem
		if !errors.As(err, &p) {
			c.log.ErrorContext(r.Context(), "catalogue: a request failed", "path", r.URL.Path, "error", err)
			p = &problem{http.StatusInternalServerError, "InternalServerError", "the table could not be read; the log of the service says why"}
		}
		c.write(w, r, p.code, map[string]any{"error": map[string]any{"message": p.message, "type": p.kind, "code": p.code}})
	}
}

func (c *catalog) write(w http.ResponseWriter, r *http.Request, code int, body any) {
	text, err := json.Marshal(body)
	if err != nil { // texts and numbers
		c.log.ErrorContext(r.Context(), "catalogue: an answer was not encoded", "error", err)
		code, text = http.StatusInternalServerError, []byte("{}")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if r.Method != http.MethodHead {
		_, _ = w.Write(append(text, '\n')) // the caller may have gone
	}
}

func (c *catalog) config(w http.ResponseWriter, r *http.Request) error {
	c.write(w, r, http.StatusOK, map[string]any{"defaults": c.storage(), "overrides": map[string]string{}, "endpoints": endpoints()})
	return nil
}

func (c *catalog) storage() map[string]string {
	if c.opts.Storage == nil {
		return map[string]string{}
	}
	return maps.Clone(c.opts.Storage)
}

// separator is between the levels of a namespace in a path or query.
const separator = "\x1f"

func noNamespace(name string) error {
	return &problem{http.StatusNotFound, "NoSuchNamespaceException",
		fmt.Sprintf("there is no namespace %q, only %s", strings.ReplaceAll(name, separator, "."), Namespace)}
}

func (c *catalog) namespaces(w http.ResponseWriter, r *http.Request) error {
	list := [][]string{}
	switch parent := r.URL.Query().Get("parent"); parent {
	case "":
		list = append(list, []string{Namespace})
	case Namespace:
	default:
		return noNamespace(parent)
	}
	c.write(w, r, http.StatusOK, map[string]any{"namespaces": list})
	return nil
}

func inNamespace(r *http.Request) error {
	if ns := r.PathValue("namespace"); ns != Namespace {
		return noNamespace(ns)
	}
	return nil
}

func (c *catalog) namespace(w http.ResponseWriter, r *http.Request) error {
	if err := inNamespace(r); err != nil {
		return err
	}
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	c.write(w, r, http.StatusOK, map[string]any{"namespace": []string{Namespace}, "properties": map[string]string{}})
	return nil
}

func (c *catalog) tables(w http.ResponseWriter, r *http.Request) error {
	if err := inNamespace(r); err != nil {
		return err
	}
	c.write(w, r, http.StatusOK, map[string]any{"identifiers": []any{map[string]any{"namespace": []string{Namespace}, "name": Table}}})
	return nil
}

// views lists none, as some engines ask for them beside the tables.
func (c *catalog) views(w http.ResponseWriter, r *http.Request) error {
	if err := inNamespace(r); err != nil {
		return err
	}
	c.write(w, r, http.StatusOK, map[string]any{"identifiers": []any{}})
	return nil
}

func isTable(r *http.Request) error {
	if err := inNamespace(r); err != nil {
		return err
	}
	if name := r.PathValue("table"); name != Table {
		return &problem{http.StatusNotFound, "NoSuchTableException", fmt.Sprintf("there is no table %q, only %s", name, Table)}
	}
	return nil
}

func (c *catalog) table(w http.ResponseWriter, r *http.Request) error {
	if err := isTable(r); err != nil {
		return err
	}
	m, err := c.opts.Store.TableMetadata(r.Context())
	if errors.Is(err, store.ErrNoStore) {
		return &problem{http.StatusNotFound, "NoSuchTableException", "the table is not there yet"}
	}
	if err != nil {
		return err
	}
	which := r.URL.Query().Get("snapshots")
	switch which {
	case "", "all":
		which = "all"
	case "refs":
	default:
		return &problem{http.StatusBadRequest, "BadRequestException", "snapshots is all or refs"}
	}
	tag := fmt.Sprintf(`"%s-%d-%s"`, m.UUID, m.Version, which)
	w.Header().Set("ETag", tag)
	if asks := r.Header.Get("If-None-Match"); asks == tag {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	text := m.JSON
	if which == "refs" {
		if text, err = referred(text); err != nil {
			return err
		}
	}
	c.write(w, r, http.StatusOK, map[string]any{"metadata-location": m.Location, "metadata": json.RawMessage(text), "config": c.storage()})
	return nil
}

// referred leaves out the snapshots that no branch or tag refers to.
func referred(text []byte) ([]byte, error) {
	var all map[string]json.RawMessage
	type snapshot struct {
		ID int64 `json:"snapshot-id"`
	}
	var some struct {
		Refs      map[string]snapshot `json:"refs"`
		Snapshots []json.RawMessage   `json:"snapshots"`
	}
	if err := errors.Join(json.Unmarshal(text, &all), json.Unmarshal(text, &some)); err != nil {
		return nil, fmt.Errorf("read the table's metadata: %w", err)
	}
	refs := slices.Collect(maps.Values(some.Refs))
	kept := []json.RawMessage{}
	for _, text := range some.Snapshots {
		var s snapshot
		if err := json.Unmarshal(text, &s); err != nil {
			return nil, fmt.Errorf("read the table's metadata: %w", err)
		}
		if slices.Contains(refs, s) {
			kept = append(kept, text)
		}
	}
	var err error
	if all["snapshots"], err = json.Marshal(kept); err != nil {
		return nil, fmt.Errorf("encode the table's metadata: %w", err)
	}
	return json.Marshal(all)
}

// metrics takes what engines report of their scans, and forgets it.
func (c *catalog) metrics(w http.ResponseWriter, r *http.Request) error {
	if err := isTable(r); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, maxReport)); err != nil {
		return &problem{http.StatusBadRequest, "BadRequestException", "the report is too long, or was not sent to its end"}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
