// Package story runs the real program as people run it, from outside, and looks at what they would see: what is printed,
// which files appear, with which code it ends, and that it leaves nothing behind.
package story

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"spoor/internal/sample"
	"spoor/internal/source/sourcetest"
	"spoor/test/kit"
)

// Exit codes of the program.
const (
	clean      = 0
	findings   = 1
	usage      = 2
	incomplete = 3
)

// program is the path of the binary under test, workspace the folder that holds it and what stories share, shared the
// folder of real logs or "", checkout that of the source. They are set before the first story: the bucket's server moves the
// process to another folder.
var program, workspace, shared, checkout string

func TestMain(m *testing.M) {
	if dir := os.Getenv(storeVariable); dir != "" {
		os.Exit(storeMain(dir))
	}
	code, err := 1, prepare()
	if err == nil {
		code = m.Run()
	}
	if err = errors.Join(err, os.RemoveAll(workspace)); err != nil {
		fmt.Fprintln(os.Stderr, "story:", err)
		code = 1
	}
	os.Exit(code)
}

// prepare builds the program. With SPOOR_STORY_RACE=1 it gets the race detector, and takes some times as long.
func prepare() error {
	var err error
	if dir, err := kit.Shared(); err == nil {
		if shared, err = filepath.Abs(dir); err != nil {
			return err
		}
	}
	if checkout, err = filepath.Abs(filepath.Join("..", "..")); err != nil {
		return err
	}
	if workspace, err = os.MkdirTemp("", "spoor-story-*"); err != nil {
		return err
	}
	program = filepath.Join(workspace, "bin", "spoor")
	flags := []string{"-ldflags", "-s -w -X spoor/internal/cli.version=v0.0.0-story -X spoor/internal/cli.commit=0123abc"}
	if os.Getenv("SPOOR_STORY_RACE") != "" {
		flags = append(flags, "-race")
	}
	return kit.Build(context.Background(), program, flags...)
}

// realLogs returns the folder of real logs, or skips the test.
func realLogs(t *testing.T) string {
	t.Helper()
	if shared == "" {
		return sourcetest.Shared(t) // which tells why, and skips
	}
	return filepath.Join(shared, "data", "cloudtrail")
}

// desk is where one story happens: a folder to work in, and a home and a temporary folder of its own.
type desk struct {
	t         *testing.T
	dir       string
	home, tmp string
	env       []string // further variables
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	base := t.TempDir()
	d := &desk{t: t, dir: filepath.Join(base, "work"), home: filepath.Join(base, "home"), tmp: filepath.Join(base, "tmp")}
	for _, dir := range []string{d.dir, d.home, d.tmp} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, dir := range []string{d.home, d.tmp} {
			left, err := os.ReadDir(dir)
			if err != nil {
				t.Error(err)
			}
			for _, e := range left {
				t.Errorf("left behind: %s", filepath.Join(dir, e.Name()))
			}
		}
	})
	return d
}

// outcome is how a run ended.
type outcome struct {
	t        *testing.T
	args     []string
	code     int
	out, err string
}

// command makes a run of the program, not yet started.
func (d *desk) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(d.t.Context(), program, args...)
	cmd.Dir = d.dir
	cmd.Env = append([]string{
		"HOME=" + d.home, "TMPDIR=" + d.tmp, "TZ=America/New_York", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE=" + filepath.Join(d.home, "none"), "AWS_SHARED_CREDENTIALS_FILE=" + filepath.Join(d.home, "none"),
	}, d.env...)
	return cmd
}

// spoor runs the program to its end.
func (d *desk) spoor(args ...string) outcome { return d.spoorWith(nil, args...) }

// spoorWith runs the program with something on its standard input.
func (d *desk) spoorWith(stdin []byte, args ...string) outcome {
	d.t.Helper()
	cmd := d.command(args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		d.t.Fatalf("spoor %q: %v", args, err)
	}
	o := outcome{t: d.t, args: args, code: cmd.ProcessState.ExitCode(), out: out.String(), err: errs.String()}
	if strings.Contains(o.err, "panic") || strings.Contains(o.err, "DATA RACE") {
		d.t.Errorf("spoor %q:\n%s", args, o.err)
	}
	return o
}

// exits fails the test unless the run ended with code.
func (o outcome) exits(code int) outcome {
	o.t.Helper()
	if o.code != code {
		o.t.Fatalf("spoor %q ended with %d, want %d\n%s\n%s", o.args, o.code, code, tail(o.out), tail(o.err))
	}
	return o
}

// says fails the test unless all texts are on standard output.
func (o outcome) says(texts ...string) outcome {
	o.t.Helper()
	for _, text := range texts {
		if !strings.Contains(o.out, text) {
			o.t.Errorf("spoor %q does not say %q:\n%s", o.args, text, tail(o.out))
		}
	}
	return o
}

// complains fails the test unless all texts are on standard error.
func (o outcome) complains(texts ...string) outcome {
	o.t.Helper()
	for _, text := range texts {
		if !strings.Contains(o.err, text) {
			o.t.Errorf("spoor %q does not complain %q:\n%s", o.args, text, tail(o.err))
		}
	}
	return o
}

// quiet fails the test when anything is on standard error.
func (o outcome) quiet() outcome {
	o.t.Helper()
	if o.err != "" {
		o.t.Errorf("spoor %q complains:\n%s", o.args, tail(o.err))
	}
	return o
}

// lines gives the lines of standard output.
func (o outcome) lines() []string {
	if o.out == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(o.out, "\n"), "\n")
}

func tail(s string) string {
	const most = 4000
	if len(s) > most {
		return "… " + s[len(s)-most:]
	}
	return s
}

// path joins names to the story's folder.
func (d *desk) path(names ...string) string {
	return filepath.Join(append([]string{d.dir}, names...)...)
}

func (d *desk) write(name string, text []byte) {
	d.t.Helper()
	path := d.path(filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) read(name string) []byte {
	d.t.Helper()
	text, err := os.ReadFile(d.path(name))
	if err != nil {
		d.t.Fatal(err)
	}
	return text
}

// files lists what lies in the story's folder.
func (d *desk) files() []string {
	d.t.Helper()
	var names []string
	if err := fs.WalkDir(os.DirFS(d.dir), ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, name)
		}
		return err
	}); err != nil {
		d.t.Fatal(err)
	}
	return names
}

func gzipped(t *testing.T, texts ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	for _, text := range texts {
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// logFile gives records the shape of a log file.
func logFile(records ...string) []byte {
	return []byte(`{"Records":[` + strings.Join(records, ",") + `]}`)
}

// record makes a record at minute n of a morning. more are further members.
func record(n int, name string, more ...string) string {
	return fmt.Sprintf(`{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","principalId":"AIDAEXAMPLE","arn":"arn:aws:iam::111122223333:user/ana","accountId":"111122223333","accessKeyId":"AKIAIOSFODNN7EXAMPLE","userName":"ana"},"eventTime":"%s","eventSource":"s3.amazonaws.com","eventName":"%s","awsRegion":"eu-central-1","sourceIPAddress":"203.0.113.10","userAgent":"aws-cli/2.0","requestParameters":null,"responseElements":null,"eventID":"%s","eventType":"AwsApiCall","recipientAccountId":"111122223333"%s}`,
		time.Date(2026, 1, 10, 9, n, 0, 0, time.UTC).Format(time.RFC3339), name, eventID(n), strings.Join(append([]string{""}, more...), ","))
}

func eventID(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// result is the part of a report's JSON that stories look at.
type result struct {
	Version  string    `json:"version"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
	Findings []finding `json:"findings"`
	Stats    struct {
		Events   int64            `json:"events"`
		Distinct map[string]int64 `json:"distinct"`
	} `json:"stats"`
	Ledger ledger `json:"ledger"`
}

type finding struct {
	ID    string `json:"id"`
	Level string `json:"level"`
	Rule  struct {
		ID    string `json:"id"`
		Title string `json:"title"`
		File  string `json:"file"`
	} `json:"rule"`
	Actor struct {
		Name string `json:"name"`
	} `json:"actor"`
	Account string    `json:"account"`
	Count   int       `json:"count"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Events  []struct {
		ID     string `json:"eventID"`
		File   string `json:"file"`
		Offset int64  `json:"offset"`
	} `json:"events"`
	EventIDs []string `json:"eventIDs"`
}

// alerts tells findings from annotations.
func (f *finding) alerts() bool { return f.Level != "informational" }

// about tells whether the finding names one of the events.
func (f *finding) about(ids []string) bool {
	for _, e := range f.Events {
		if slices.Contains(ids, e.ID) {
			return true
		}
	}
	return slices.ContainsFunc(f.EventIDs, func(id string) bool { return slices.Contains(ids, id) })
}

type objects struct{ Listed, Read, Skipped, Failed int64 }

type records struct{ Seen, Kept, Duplicate, Filtered, Rejected, Other int64 }

type ledger struct {
	Objects objects `json:"objects"`
	Records records `json:"records"`
	Skipped []struct {
		Reason string
		Count  int64
	} `json:"skippedReasons"`
	Failures []struct {
		Object, Reason string
		RecordsKept    int64
	} `json:"failures"`
	Rejects []struct {
		Object, Reason string
		Offset, Length int64
	} `json:"rejects"`
	Cells []struct {
		Account, Region string
		Hour            time.Time
		Objects         objects
		Records         records
	} `json:"cells"`
	Balanced bool     `json:"balanced"`
	Problems []string `json:"problems"`
}

// result reads standard output as the JSON report, and checks what holds for each.
func (o outcome) result() result {
	o.t.Helper()
	var r result
	if err := json.Unmarshal([]byte(o.out), &r); err != nil {
		o.t.Fatalf("spoor %q: %v\n%s", o.args, err, tail(o.out))
	}
	l := r.Ledger
	if !l.Balanced || l.Objects.Listed != l.Objects.Read+l.Objects.Skipped+l.Objects.Failed ||
		l.Records.Seen != l.Records.Kept+l.Records.Duplicate+l.Records.Filtered+l.Records.Rejected+l.Records.Other || r.Stats.Events != l.Records.Kept {
		o.t.Errorf("spoor %q: the ledger does not balance: %+v %+v, %d events, %q", o.args, l.Objects, l.Records, r.Stats.Events, l.Problems)
	}
	return r
}

// tame fails the test when text holds what could steer a terminal or mislead a reader: control characters but line feeds
// (and carriage returns before them, as CSV has them), bidirectional controls, or what is not UTF-8.
func tame(t *testing.T, what, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("%s is not UTF-8", what)
	}
	for i, r := range strings.ReplaceAll(text, "\r\n", "\n") {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' || r == '\ufeff') {
			t.Errorf("%s holds %U at byte %d: %q", what, r, i, text[max(0, i-60):min(len(text), i+40)])
			return
		}
	}
}

// organisation is the sample that stories share, made by the program itself; nobody writes to it.
type organisation struct {
	dir   string
	truth sample.Truth
	said  string
}

var sampled = sync.OnceValues(func() (organisation, error) {
	o := organisation{dir: filepath.Join(workspace, "sample")}
	var out bytes.Buffer
	cmd := exec.Command(program, "sample", "--out", o.dir, "--events", "6000")
	cmd.Stderr = &out
	if err := cmd.Run(); err != nil {
		return o, fmt.Errorf("make the sample: %w: %s", err, out.String())
	}
	o.said = out.String()
	text, err := os.ReadFile(filepath.Join(o.dir, "truth.json"))
	if err != nil {
		return o, err
	}
	return o, json.Unmarshal(text, &o.truth)
})

func theSample(t *testing.T) organisation {
	t.Helper()
	o, err := sampled()
	if err != nil {
		t.Fatal(err)
	}
	return o
}
