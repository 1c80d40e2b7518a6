// Package awsapitest is what tests of the endpoint's services share: an endpoint over real principals, whose journal is in
// memory, and AWS's own clients.
package awsapitest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/caller"
	"spoor/internal/iam"
	"spoor/internal/journal"
	"spoor/internal/recorder"
)

// The place of the endpoint.
const (
	Account = "111122223333"
	Member  = "444455556666" // another account, whose roles can be assumed
	Region  = "eu-west-1"
)

// Rig is an endpoint under test.
type Rig struct {
	URL    string
	Access *iam.Service
	Book   *Book
	log    *Buffer
}

// Key is an access key with its secret.
type Key struct{ ID, Secret, Token string }

// New starts an endpoint of the services that make makes of the principals. Whoever comes with a key of the rig is a real one.
func New(t testing.TB, services func(*iam.Service, *slog.Logger) []*awsapi.Service, change ...func(*awsapi.Options)) *Rig {
	t.Helper()
	r := &Rig{Book: &Book{}, log: &Buffer{}}
	log := slog.New(slog.NewTextHandler(r.log, nil))
	var err error
	if r.Access, err = iam.Open(t.Context(), t.TempDir(), iam.Options{Account: Account, Accounts: []string{Member}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Access.Close(); err != nil {
			t.Error(err)
		}
	})
	rec, err := recorder.New(recorder.Options{Journal: r.Book, Account: Account, Region: Region})
	if err != nil {
		t.Fatal(err)
	}
	access := caller.Access{IAM: r.Access}
	o := awsapi.Options{
		Services: services(r.Access, log), Credentials: access, Authorizer: access, Attempts: access, Recorder: rec,
		Account: Account, Region: Region, Log: log,
	}
	for _, c := range change {
		c(&o)
	}
	e, err := awsapi.New(o)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(e)
	t.Cleanup(srv.Close)
	r.URL = srv.URL
	return r
}

// Log is what was logged.
func (r *Rig) Log() string { return r.log.String() }

// User makes a user with roles, and a key of it. Of root, which is there, it makes a key.
func (r *Rig) User(t testing.TB, name string, roles ...iam.Role) Key {
	t.Helper()
	if name != iam.RootName {
		if _, err := r.Access.CreateUser(name, roles, ""); err != nil {
			t.Fatal(err)
		}
	}
	k, secret, err := r.Access.CreateAccessKey(iam.KeySpec{User: name})
	if err != nil {
		t.Fatal(err)
	}
	return Key{ID: k.ID, Secret: secret}
}

// Config is for a client of AWS's SDK.
func (r *Rig) Config(k Key) aws.Config {
	return aws.Config{
		Region: Region, BaseEndpoint: &r.URL, RetryMaxAttempts: 1,
		Credentials: aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(k.ID, k.Secret, k.Token)),
	}
}

// Code is the code and the message that a client of the SDK made of an error, "" for none.
func Code(err error) (code, message string) {
	var e smithy.APIError
	switch {
	case err == nil:
		return "", ""
	case errors.As(err, &e):
		return e.ErrorCode(), e.ErrorMessage()
	}
	return "no answer", err.Error()
}

// CLI runs the AWS CLI, and returns what it wrote. It skips the test where the CLI is not installed; where CI is set that is a
// failure.
func (r *Rig) CLI(t testing.TB, k Key) func(args ...string) (string, error) {
	t.Helper()
	cli, err := exec.LookPath("aws")
	if own := filepath.Join(Installed(t), "bin", "aws"); exists(own) {
		cli, err = own, nil
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("the AWS CLI is not installed: run make awscli")
		}
		t.Skip("the AWS CLI is not installed: make awscli installs it")
	}
	home := t.TempDir()
	return func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), cli, append(args, "--endpoint-url", r.URL, "--output", "json", "--region", Region)...)
		cmd.Env = append(os.Environ(), "HOME="+home, "AWS_CONFIG_FILE="+home+"/config", "AWS_SHARED_CREDENTIALS_FILE="+home+"/credentials",
			"AWS_ACCESS_KEY_ID="+k.ID, "AWS_SECRET_ACCESS_KEY="+k.Secret, "AWS_SESSION_TOKEN="+k.Token, "AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true", "AWS_MAX_ATTEMPTS=1")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
}

// Installed is where make awscli puts the AWS CLI, whether it is there or not.
func Installed(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if exists(filepath.Join(dir, "go.mod")) {
			return filepath.Join(dir, "out", "awscli")
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	t.Fatalf("the tests do not run inside of the module: %v", err)
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Equal compares a value, as JSON, with a JSON text.
func Equal(t testing.TB, got any, want string) {
	t.Helper()
	var w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	a, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("got  %s\nwant %s", a, b)
	}
}

// Book is a journal in memory.
type Book struct {
	mu      sync.Mutex
	records []string
	err     error
}

// Append implements [recorder.Appender].
func (b *Book) Append(_ context.Context, records []journal.Record) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	for _, r := range records {
		b.records = append(b.records, string(r.Raw))
	}
	return uint64(len(b.records)), nil
}

// Fail makes the journal refuse, or with nil accept, from now on.
func (b *Book) Fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

// Records are the events, in the order in which they came.
func (b *Book) Records() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.records...)
}

// Last is the last event.
func (b *Book) Last(t testing.TB) map[string]any {
	t.Helper()
	all := b.Records()
	if len(all) == 0 {
		t.Fatal("nothing was recorded")
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(all[len(all)-1]), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// Buffer is what was written to it, by any number of goroutines.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String is what was written.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
