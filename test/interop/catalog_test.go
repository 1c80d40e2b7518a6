package interop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"spoor/internal/source/live/livetest"
	"spoor/internal/store"
	"spoor/internal/store/duckdb"
	"spoor/internal/store/restcatalog"
	"spoor/test/kit"
)

const catalogToken = "a-token-of-the-catalogue"

// gatewayVar makes the test binary an S3 endpoint: its folder, and a bucket, a prefix and the folder that is to be there.
const gatewayVar = "SPOOR_INTEROP_GATEWAY"

func TestMain(m *testing.M) {
	job := os.Getenv(gatewayVar)
	if job == "" {
		os.Exit(m.Run())
	}
	if err := runGateway(strings.Split(job, "\n")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// runGateway tells its address and serves until standard input ends.
func runGateway(job []string) error {
	if err := livetest.Isolate(job[0]); err != nil {
		return err
	}
	g, err := livetest.StartGateway(job[0])
	if err != nil {
		return err
	}
	if err := g.Serve(job[1], job[2], job[3]); err != nil {
		return errors.Join(err, g.Stop())
	}
	fmt.Println("serving", g.URL)
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, g.Stop())
}

// startGateway starts an S3 endpoint in a process of its own, as it changes the working directory.
func startGateway(t *testing.T, job ...string) (url string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe) // ends with its standard input
	cmd.Env = append(os.Environ(), gatewayVar+"="+strings.Join(job, "\n"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for url == "" && lines.Scan() {
		url, _ = strings.CutPrefix(lines.Text(), "serving ")
		if url == lines.Text() {
			url = ""
		}
	}
	rest := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, out)
		rest <- err
	}()
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), <-rest); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the S3 endpoint: %v: %s", err, stderr.String())
		}
	})
	if url == "" {
		t.Fatalf("the S3 endpoint did not start: %s", stderr.String())
	}
	return url
}

// served is a store behind a catalogue and an S3 endpoint, as a service offers it.
type served struct {
	store    *store.Store
	engine   *duckdb.Engine
	gateway  string // its address
	catalog  string
	loads    *atomic.Int64 // of the table
	reported *atomic.Int64
}

func serve(t *testing.T) *served {
	t.Helper()
	tmp := t.TempDir()
	s, _ := makeStore(t, filepath.Join(tmp, "store"))
	// The store's folder is the folder of the bucket and the name that its table's locations begin with.
	m, err := s.TableMetadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	place, _, ok := strings.Cut(strings.TrimPrefix(m.Location, "s3://"), "/metadata/")
	if !ok {
		t.Fatalf("location %s", m.Location)
	}
	bucket, prefix, _ := strings.Cut(place, "/")
	gateway := startGateway(t, tmp, bucket, prefix, s.Dir())
	out := &served{store: s, gateway: gateway, loads: new(atomic.Int64), reported: new(atomic.Int64)}
	h := http.StripPrefix("/iceberg", restcatalog.New(restcatalog.Options{Store: s, Storage: map[string]string{"s3.endpoint": gateway, "s3.path-style-access": "true", "s3.region": "us-east-1"}}))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+catalogToken {
			http.Error(w, `{"error":{"message":"no token","type":"NotAuthorizedException","code":401}}`, http.StatusUnauthorized)
			return
		}
		if strings.HasSuffix(r.URL.Path, "/tables/events") {
			out.loads.Add(1)
		}
		if strings.HasSuffix(r.URL.Path, "/metrics") {
			out.reported.Add(1)
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	out.catalog = srv.URL + "/iceberg"
	p, err := s.Plan(t.Context(), store.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	var files []string
	for _, f := range p.Files {
		files = append(files, f.Path)
	}
	if out.engine, err = duckdb.Open(t.Context(), duckdb.Options{Files: files, TempDir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := out.engine.Close(); err != nil {
			t.Error(err)
		}
	})
	return out
}

// TestCatalog has engines that know nothing of Spoor find the table in the catalogue, with a token, and read its files from
// an S3 endpoint. They must see what `spoor query` sees.
func TestCatalog(t *testing.T) {
	t.Parallel()
	s := serve(t)
	t.Run("ClickHouse", func(t *testing.T) { s.clickHouse(t) })
	t.Run("PyIceberg", func(t *testing.T) { s.pyIceberg(t) })
}

func (s *served) clickHouse(t *testing.T) {
	before := s.loads.Load()
	qs := questions()
	ask := []string{
		"SET allow_experimental_database_iceberg = 1",
		fmt.Sprintf("CREATE DATABASE lake ENGINE = DataLakeCatalog('%s/v1', 'tester', 'testersecret') SETTINGS catalog_type = 'rest', warehouse = 'spoor', auth_header = 'Authorization: Bearer %s', storage_endpoint = '%s', vended_credentials = false",
			s.catalog, catalogToken, s.gateway),
		"SHOW TABLES FROM lake",
	}
	for _, q := range qs {
		ask = append(ask, strings.ReplaceAll(q.click, "STORE", "lake.`spoor.events`"))
	}
	answers := clickHouse(t, t.TempDir(), ask)
	if !slices.Equal(answers[2], []string{"spoor.events"}) {
		t.Errorf("tables: %q", answers[2])
	}
	for i, q := range qs {
		want := duckDB(t, s.engine, q.duck)
		if got := answers[i+3]; !slices.Equal(got, want) || len(want) == 0 {
			t.Errorf("%s:\nClickHouse %d rows %.600q\nDuckDB     %d rows %.600q\n%s", q.name, len(got), got, len(want), want, ask[i+3])
		}
	}
	if s.loads.Load() == before {
		t.Error("the catalogue was not asked")
	}
}

// python finds the environment that `make pyiceberg` makes. Without it the test skips; where CI is set, it fails.
func python(t *testing.T) (exe, script string) {
	t.Helper()
	root, err := kit.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "out", "pyiceberg")
	want, err := os.ReadFile(filepath.Join(root, "test", "interop", "pyiceberg", "requirements.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "installed.txt")); err != nil || !bytes.Equal(got, want) {
		if os.Getenv("CI") != "" {
			t.Fatalf("PyIceberg is not in %s", dir)
		}
		t.Skipf("PyIceberg is not in %s; `make pyiceberg` installs it there, and needs python3 and PyPI", dir)
	}
	return filepath.Join(dir, "bin", "python"), filepath.Join(root, "test", "interop", "pyiceberg", "ask.py")
}

func (s *served) pyIceberg(t *testing.T) {
	exe, script := python(t)
	if err := s.store.Hold(t.Context(), store.Hold{Name: "case"}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, script, s.catalog, catalogToken, s.gateway, "spoor.events")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("ask PyIceberg: %v: %s", err, stderr.String())
	}
	var got struct {
		Namespaces, Tables [][]string
		Exists             []bool
		Missing, Change    string
		Rows               [][]*string
		Filtered, Held     int
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprintf("%v %v %v %s %s", got.Namespaces, got.Tables, got.Exists, got.Missing, got.Change) != "[[spoor]] [[spoor events]] [true false] not found refused" {
		t.Errorf("%v %v %v %s %s", got.Namespaces, got.Tables, got.Exists, got.Missing, got.Change)
	}
	var rows []string
	for _, row := range got.Rows {
		cells := make([]string, len(row))
		for i, c := range row {
			if cells[i] = "∅"; c != nil {
				cells[i] = *c
			}
		}
		rows = append(rows, strings.Join(cells, " | "))
	}
	// PyIceberg gives a list that is null as an empty one.
	want := duckDB(t, s.engine, `SELECT eventID, eventDay::varchar, userIdentity.arn, userIdentity.sessionContext.sessionIssuer.arn, coalesce(len(resources), 0)::varchar,
		requestParameters::varchar, coalesce(md5(rawBytes), md5(raw)) FROM events`)
	slices.Sort(rows)
	slices.Sort(want)
	if got.Held != len(want) {
		t.Errorf("%d rows under the hold, want %d", got.Held, len(want))
	}
	if len(want) < 8000 || !slices.Equal(rows, want) {
		t.Errorf("PyIceberg %d rows %.600q\nDuckDB %d rows %.600q", len(rows), rows, len(want), want)
	}
	if n := duckDB(t, s.engine, `SELECT count(*)::varchar FROM events WHERE eventName = 'GetUser'`); n[0] != fmt.Sprint(min(10, got.Filtered)) && got.Filtered != 10 {
		t.Errorf("filtered: %d rows, DuckDB %s", got.Filtered, n[0])
	}
}
