// Package livetest is what the tests of live sources share: an S3 gateway inside the process, a moto server beside it that
// speaks SQS, SNS and STS, logs, and an acceptor that remembers.
package livetest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/klauspost/compress/gzip"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"

	"spoor/internal/event"
	"spoor/internal/journal"
	"spoor/internal/source/s3"
)

// Record is a record with an id, at a time of 2026-01-10.
func Record(id string) string {
	return fmt.Sprintf(`{"eventVersion":"1.08","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/ana","accountId":"111122223333"},"eventTime":"2026-01-10T10:00:00Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","awsRegion":"eu-central-1","sourceIPAddress":"192.0.2.1","eventID":%q,"recipientAccountId":"111122223333"}`, id)
}

// Log is a log file of records with these ids, as CloudTrail delivers it.
func Log(ids ...string) []byte {
	var records []string
	for _, id := range ids {
		records = append(records, Record(id))
	}
	return Gzip(`{"Records":[` + strings.Join(records, ",") + `]}`)
}

// Gzip compresses.
func Gzip(text string) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := io.WriteString(z, text); err != nil {
		panic(err) // a buffer does not fail
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// Key is the key of a log of a day of January 2026.
func Key(day int, name string) string {
	return fmt.Sprintf("AWSLogs/111122223333/CloudTrail/eu-central-1/2026/01/%02d/111122223333_CloudTrail_eu-central-1_202601%02dT1005Z_%s.json.gz", day, day, name)
}

// Kept is an acceptor that remembers what it got.
type Kept struct {
	mu      sync.Mutex
	ids     []string
	records []journal.Record
	changed chan struct{}

	// Fail, when set, is asked before anything is kept.
	Fail func(n int) error
}

// Accept implements [spoor/internal/source/live.Acceptor].
func (k *Kept) Accept(_ context.Context, records []journal.Record) error {
	if k.Fail != nil {
		if err := k.Fail(len(records)); err != nil {
			return err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range records {
		var e event.Event
		raw := bytes.Clone(r.Raw)
		if err := e.Reset(raw); err != nil {
			return fmt.Errorf("record %s: %w", raw, err)
		}
		r.Raw = raw
		k.ids = append(k.ids, e.ID())
		k.records = append(k.records, r)
	}
	if k.changed != nil {
		close(k.changed)
		k.changed = nil
	}
	return nil
}

// IDs are the event ids in order, each as often as it came.
func (k *Kept) IDs() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Sorted(slices.Values(k.ids))
}

// Distinct are the event ids in order, each once, as what follows the journal sees them.
func (k *Kept) Distinct() []string { return slices.Compact(k.IDs()) }

// Records are what came.
func (k *Kept) Records() []journal.Record {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.records)
}

// Gateway is an S3 endpoint over a folder. There can be one in a process.
type Gateway struct {
	URL     string
	root    string
	stop    func() error
	buckets atomic.Int64
	mu      sync.Mutex
	onEvent func(body []byte)
	hook    net.Listener
}

// Isolate keeps the machine's own AWS configuration out of a test binary. It is for TestMain.
func Isolate(dir string) error {
	for k, v := range map[string]string{
		"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "testersecret", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": filepath.Join(dir, "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(dir, "none"),
	} {
		if err := os.Setenv(k, v); err != nil {
			return err
		}
	}
	return nil
}

// StartGateway starts the gateway of the process, over folders in dir.
func StartGateway(dir string) (*Gateway, error) { return start(dir, true) }

// start starts a gateway. Its notifications read requests that it has reused since, which the race detector sees under load.
func start(dir string, notify bool) (*Gateway, error) {
	g := &Gateway{root: filepath.Join(dir, "buckets")}
	if err := os.MkdirAll(g.root, 0o700); err != nil {
		return nil, err
	}
	var err error
	if g.hook, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	hook := &http.Server{Handler: http.HandlerFunc(g.notified)}
	served := make(chan error, 1)
	go func() { served <- hook.Serve(g.hook) }()
	addr, err := freePort()
	if err != nil {
		return nil, err
	}
	be, err := posix.New(g.root, meta.XattrMeta{}, posix.PosixOpts{DefaultEtag: "none", CopyObjectThreshold: 5 << 30})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	config := &embedgw.Config{
		RootUserAccess: "tester", RootUserSecret: "testersecret", Ports: []string{addr}, Quiet: true,
		MaxConnections: 1000, MaxRequests: 1000, MultipartMaxParts: 10000, HealthPath: "/health",
	}
	if notify {
		config.EventWebhookURL = "http://" + g.hook.Addr().String()
	}
	go func() { done <- embedgw.RunVersityGW(ctx, be, config) }()
	g.URL = "http://" + addr
	g.stop = func() error {
		cancel()
		err := errors.Join(<-done, hook.Close())
		if e := <-served; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
		return err
	}
	for {
		res, err := http.Get(g.URL + "/health")
		if err == nil {
			return g, res.Body.Close()
		}
		select {
		case err := <-done:
			return nil, fmt.Errorf("start the gateway: %w", err)
		default:
		}
	}
}

// Stop ends the gateway.
func (g *Gateway) Stop() error { return g.stop() }

// Main runs the tests of a package with a gateway of their own in gateway, kept apart from the machine's own AWS
// configuration, and returns the exit code: what a TestMain needs.
func Main(m *testing.M, gateway **Gateway) (code int) { return run(m, gateway, true) }

// MainQuiet is Main with a gateway that notifies nobody.
func MainQuiet(m *testing.M, gateway **Gateway) (code int) { return run(m, gateway, false) }

func run(m *testing.M, gateway **Gateway, notify bool) (code int) {
	dir, err := os.MkdirTemp("", "spoor-live-*")
	if err == nil {
		defer os.RemoveAll(dir)
		err = Isolate(dir)
	}
	if err == nil {
		*gateway, err = start(filepath.Join(dir, "s3"), notify)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code = m.Run()
	if err := (*gateway).Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		return 1
	}
	return code
}

func (g *Gateway) notified(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil && g.onEvent != nil {
		g.onEvent(body)
	}
}

// Notify says who gets the gateway's event notifications from now on.
func (g *Gateway) Notify(to func(body []byte)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.onEvent = to
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// client speaks to the gateway.
func (g *Gateway) client(t testing.TB) *awss3.Client {
	cfg, err := s3.Config(t.Context(), s3.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return awss3.NewFromConfig(cfg, func(o *awss3.Options) { o.BaseEndpoint, o.UsePathStyle = &g.URL, true })
}

// Serve makes a bucket in which the folder dir is below a prefix of one level. It moves the folder there, and leaves a link
// where it was, so that dir must not be in use by its inode.
func (g *Gateway) Serve(bucket, prefix, dir string) error {
	place := filepath.Join(g.root, bucket, prefix)
	if err := os.MkdirAll(filepath.Dir(place), 0o700); err != nil { // a folder is a bucket
		return err
	}
	if err := os.Rename(dir, place); err != nil {
		return err
	}
	return os.Symlink(place, dir)
}

// Bucket makes an empty bucket.
func (g *Gateway) Bucket(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("bucket-%d", g.buckets.Add(1))
	if _, err := g.client(t).CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
	return name
}

// Put puts an object, and returns its ETag.
func (g *Gateway) Put(t testing.TB, bucket, key string, data []byte) string {
	t.Helper()
	out, err := g.client(t).PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(data)})
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
	return aws.ToString(out.ETag)
}

// Moto is a server of SQS, SNS and STS.
type Moto struct {
	URL  string
	cmd  *exec.Cmd
	tail chan struct{}
}

// missing skips a test for want of the moto server; where CI is set, that is a failure.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

var serving = regexp.MustCompile(`Running on (http://127\.0\.0\.1:[0-9]+)`)

// StartMoto starts a moto server, which ends with the test.
func StartMoto(t testing.TB) *Moto {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "out", "moto")
	want, err := os.ReadFile(filepath.Join(root, "internal", "source", "live", "livetest", "requirements.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "installed.txt")); err != nil || !bytes.Equal(got, want) {
		missing(t, "the moto server is not in %s; `make moto` installs it there, and needs python3 and the Python package index", dir)
	}
	m := &Moto{tail: make(chan struct{})}
	m.cmd = exec.Command(filepath.Join(dir, "bin", "python"), "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0")
	m.cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	out, err := m.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		t.Fatalf("start the moto server: %v", err)
	}
	t.Cleanup(func() {
		_ = m.cmd.Process.Kill()
		<-m.tail
		_ = m.cmd.Wait() // killed
	})
	said := make(chan string, 1)
	go func() {
		defer close(m.tail)
		var text strings.Builder
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if m.URL == "" {
				text.WriteString(lines.Text() + "\n")
				if found := serving.FindStringSubmatch(lines.Text()); found != nil {
					m.URL = found[1]
					said <- ""
				}
			}
		}
		if m.URL == "" {
			said <- text.String()
		}
	}()
	if text := <-said; text != "" {
		t.Fatalf("the moto server ended: %s", text)
	}
	return m
}

// moduleRoot is found from where this file lies: the gateway changes the working directory.
func moduleRoot() (string, error) {
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("it is not known where the sources lie")
	}
	root := filepath.Join(filepath.Dir(here), "..", "..", "..", "..")
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		return "", fmt.Errorf("find the checkout: %w", err)
	}
	return root, nil
}
