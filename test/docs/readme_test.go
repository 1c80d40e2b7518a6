package docs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// How documentation writes commands, in blocks marked console:
//
//	$ spoor hunt ./logs
//
// A command is run by bash with the program in the path, in a folder that holds what [prepare] puts there and what the page's
// earlier commands and file blocks wrote. It must end with 0; what ends otherwise on purpose says so with its output:
//
//	$ spoor hunt ./damaged > report.txt; echo $?
//	3
//
// A server, spoor serve or make run, goes on while the rest of the page is run, on a port of its own in place of the usual one, with
// SPOOR_TOKEN set to its first token; at the end of the page it is stopped, and must end with 0. Its output is what it prints
// when it has started.
//
// AWS's clients have files of their own, and reach that server where it is. Their commands are left out where they are not
// installed.
//
// Lines behind a command are its whole output, standard error included, up to a line that holds only … for what is left
// out. Without such lines the output is not looked at. A block of YAML that starts with the comment "# file NAME" is written
// to NAME first.

// command is one command of a page with the output that the page shows.
type command struct {
	page   string
	line   int // of the command in the page, from 1
	text   string
	output []string
}

// file is a file that a page shows.
type file struct{ name, text string }

// step is a command or a file, in the order of the page.
type step struct {
	command *command
	file    *file
}

// read finds the commands and files of a page.
func read(page, text string) ([]step, error) {
	var out []step
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		kind, ok := strings.CutPrefix(lines[i], "```")
		if !ok || kind == "" {
			continue
		}
		start := i + 1
		end := start
		for end < len(lines) && lines[end] != "```" {
			end++
		}
		if end == len(lines) {
			return nil, fmt.Errorf("%s:%d: the block has no end", page, i+1)
		}
		block := lines[start:end]
		i = end
		switch {
		case kind == "console":
			if len(block) == 0 || !strings.HasPrefix(block[0], "$ ") {
				return nil, fmt.Errorf("%s:%d: a console block starts with $ and a command", page, start)
			}
			for k, l := range block {
				if text, ok := strings.CutPrefix(l, "$ "); ok {
					out = append(out, step{command: &command{page: page, line: start + k + 1, text: text}})
					continue
				}
				c := out[len(out)-1].command
				c.output = append(c.output, l)
			}
		case len(block) > 0 && strings.HasPrefix(block[0], "# file "):
			out = append(out, step{file: &file{strings.TrimPrefix(block[0], "# file "), strings.Join(block[1:], "\n") + "\n"}})
		case slices.ContainsFunc(block, func(l string) bool { return strings.HasPrefix(l, "$ ") }):
			return nil, fmt.Errorf("%s:%d: commands belong into a block marked console", page, start)
		}
	}
	return out, nil
}

// TestCommands runs every command of every page.
func TestCommands(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("the commands of the documentation need bash, which is not here")
	}
	total := 0
	for _, page := range pages(t) {
		steps, err := read(page, readPage(t, page))
		if err != nil {
			t.Error(err)
			continue
		}
		n := 0
		for _, s := range steps {
			if s.command != nil {
				n++
			}
		}
		if n == 0 {
			continue
		}
		total += n
		t.Run(page, func(t *testing.T) {
			t.Parallel()
			runPage(t, steps)
		})
	}
	if total < 60 {
		t.Errorf("only %d commands found in the documentation", total)
	}
}

func runPage(t *testing.T, steps []step) {
	dir := t.TempDir()
	env, err := prepare(dir)
	if err != nil {
		t.Fatal(err)
	}
	clients := filepath.Join(root, "out", "awscli", "bin") // by make awscli
	if _, err := os.Stat(filepath.Join(clients, "aws")); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("the AWS CLI is not installed: run make awscli")
		}
		clients = ""
	}
	var address, aws string
	for _, s := range steps {
		if s.file != nil {
			path := filepath.Join(dir, filepath.FromSlash(s.file.name))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(s.file.text), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		c := s.command
		if clients == "" && usesAWS.MatchString(c.text) {
			t.Logf("%s:%d: left out: the AWS CLI is not installed: make awscli installs it", c.page, c.line)
			continue
		}
		begun := time.Now()
		var out string
		var err error
		if c.text == "make run" || strings.HasPrefix(c.text, "spoor serve") && !strings.Contains(c.text, "--help") {
			out, address, err = serve(t, dir, env, c)
			if m := awsForm.FindStringSubmatch(out); m != nil {
				aws = m[1]
			}
			if token := tokenForm.FindString(out); token != "" {
				env = append(env, "SPOOR_TOKEN="+token)
			}
		} else {
			text := strings.ReplaceAll(c.text, "https://storage.example.com", "$STORE")
			if address != "" {
				text = strings.ReplaceAll(text, usual, address)
			}
			if aws != "" {
				text = strings.ReplaceAll(text, usualAWS, aws)
			}
			with := env
			if forAWS.MatchString(text) {
				with = awsEnv(dir, clients, env)
			}
			out, err = run(t.Context(), dir, with, text)
		}
		t.Logf("%s:%d: %s  %s", c.page, c.line, time.Since(begun).Round(time.Millisecond), c.text)
		if err != nil {
			t.Errorf("%s:%d: %s\n%v\n%s", c.page, c.line, c.text, err, tail(out))
			continue
		}
		if len(c.output) == 0 {
			continue
		}
		got := strings.Split(strings.TrimRight(out, "\n"), "\n")
		if shown(c.output, got) {
			continue
		}
		if !*update {
			t.Errorf("%s:%d: %s\nshows\n%s\nbut the program says\n%s\nrewrite it with: go test ./test/docs -update", c.page, c.line, c.text,
				strings.Join(c.output, "\n"), tail(out))
			continue
		}
		rewrite(t, c, got)
	}
}

func tail(s string) string {
	if n := 12000; len(s) > n {
		return s[:n] + "\n…"
	}
	return s
}

// leftOut is the line that stands for any number of lines.
const leftOut = "…"

// shown reports whether a page's lines are the output, but for what differs in every run and for what is left out.
func shown(want, got []string) bool {
	head, rest := want, []string(nil)
	if i := slices.Index(want, leftOut); i >= 0 {
		head, rest = want[:i], want[i+1:]
		if len(head)+len(rest) > len(got) {
			return false
		}
		return same(head, got[:len(head)]) && same(rest, got[len(got)-len(rest):])
	}
	return same(head, got)
}

func same(a, b []string) bool {
	return slices.EqualFunc(a, b, func(x, y string) bool { return stable(x) == stable(y) })
}

// awsEnv is an environment for AWS's clients, with files of their own and none of the keys of buckets.
func awsEnv(dir, clients string, env []string) []string {
	out := []string{"AWS_CONFIG_FILE=" + filepath.Join(dir, ".aws", "config"), "AWS_SHARED_CREDENTIALS_FILE=" + filepath.Join(dir, ".aws", "credentials"),
		"AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true", "AWS_RETRY_MODE=standard", "AWS_MAX_ATTEMPTS=8"}
	for _, v := range env {
		if path, ok := strings.CutPrefix(v, "PATH="); ok && clients != "" {
			v = "PATH=" + clients + string(filepath.ListSeparator) + path
		}
		if !strings.HasPrefix(v, "AWS_") {
			out = append(out, v)
		}
	}
	return out
}

// usual is where a server answers by default, usualAWS where it answers AWS's clients.
const (
	usual    = "127.0.0.1:8484"
	usualAWS = "127.0.0.1:4599"
)

// forAWS are commands of AWS's clients that call the server, and those that write their files.
var (
	usesAWS = regexp.MustCompile(`(^| )aws (--profile|configure) `)
	forAWS  = regexp.MustCompile(usesAWS.String() + `|--write-profile|spoor (trail|validate) .*--profile`)
)

var (
	tokenForm   = regexp.MustCompile(`spoor_[a-z2-7]{16}_[a-z2-7]{52}`)
	addressForm = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	awsForm     = regexp.MustCompile(`AWS's own clients find it on http://(127\.0\.0\.1:\d+)`)
	idForm      = regexp.MustCompile(`\b(AIDA|AKIA|ASIA|AROA)[A-Z2-7]{16}\b`)
)

// serve starts a server and returns what it prints when it has started, and its address. It is stopped when the page is done.
func serve(t *testing.T, dir string, env []string, c *command) (printed, address string, err error) {
	out, log := &output{first: make(chan struct{})}, &output{first: make(chan struct{})}
	cmd := exec.Command("bash", "-c", "exec "+c.text)
	cmd.Dir, cmd.Env = dir, append(slices.Clone(env), "SPOOR_HTTP_LISTEN=127.0.0.1:0", "SPOOR_AWS_LISTEN=127.0.0.1:0")
	cmd.Stdout, cmd.Stderr = out, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return "", "", err
	}
	signal := func(s syscall.Signal) error { return syscall.Kill(-cmd.Process.Pid, s) }
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case <-out.first:
	case err := <-done:
		return log.String(), "", fmt.Errorf("the server ended: %v", err)
	case <-time.After(time.Minute):
		return log.String(), "", errors.Join(errors.New("the server does not say that it has started"), signal(syscall.SIGKILL), <-done)
	}
	t.Cleanup(func() {
		if err := signal(syscall.SIGINT); err != nil {
			t.Errorf("%s:%d: %s\nhas not gone on: %v\n%s", c.page, c.line, c.text, err, tail(log.String()))
			return
		}
		err := <-done
		if c.text == "make run" { // make itself says that it was interrupted
			err = nil
		}
		if err != nil || !strings.Contains(log.String(), "cut_off=0") {
			t.Errorf("%s:%d: %s\ndid not stop in order: %v\n%s", c.page, c.line, c.text, err, tail(log.String()))
		}
	})
	return out.String(), addressForm.FindString(out.String()), nil
}

var (
	elapsed = regexp.MustCompile(`^(Spoor \S+ · .* · )\d.*$`)
	written = regexp.MustCompile(` in [0-9.]+(ms|s|m[0-9.]+s)\.$`)
)

// stable takes out of a line what differs in every run.
func stable(s string) string {
	s = addressForm.ReplaceAllString(tokenForm.ReplaceAllString(strings.TrimRight(s, " "), "TOKEN"), "ADDRESS")
	s = idForm.ReplaceAllString(s, "${1}ID")
	return written.ReplaceAllString(elapsed.ReplaceAllString(s, "${1}TIME"), " in TIME.")
}

var rewriting sync.Mutex

// rewrite puts the output into the page, with as many lines before and behind what is left out as it has now.
func rewrite(t *testing.T, c *command, got []string) {
	t.Helper()
	rewriting.Lock()
	defer rewriting.Unlock()
	if i := slices.Index(c.output, leftOut); i >= 0 && len(got) > len(c.output) {
		end := got[len(got)-(len(c.output)-i-1):]
		got = append(append(slices.Clone(got[:i]), leftOut), end...)
	}
	for i := range got {
		got[i] = strings.TrimRight(got[i], " ")
	}
	text := readPage(t, c.page)
	old := "$ " + c.text + "\n" + strings.Join(c.output, "\n") + "\n"
	if strings.Count(text, old) != 1 {
		t.Errorf("%s:%d: cannot be rewritten: the same text is there %d times", c.page, c.line, strings.Count(text, old))
		return
	}
	writePage(t, c.page, strings.Replace(text, old, "$ "+c.text+"\n"+strings.Join(got, "\n")+"\n", 1))
}

// run runs a command in dir and returns what it wrote. A command that goes on for ever, tail -f, is interrupted as soon as it
// has written something.
func run(ctx context.Context, dir string, env []string, text string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	follows := strings.Contains(text, "tail -f")
	if follows {
		text = "exec " + text
	}
	cmd := exec.CommandContext(ctx, "bash", "-c", text)
	cmd.Dir, cmd.Env = dir, env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out := &output{first: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return "", err
	}
	var interrupted error
	if follows {
		select {
		case <-out.first:
		case <-ctx.Done():
		}
		interrupted = cmd.Process.Signal(os.Interrupt)
	}
	err := errors.Join(cmd.Wait(), interrupted)
	return out.String(), err
}

// output gathers what a command writes, and tells when the first of it came.
type output struct {
	mu    sync.Mutex
	text  bytes.Buffer
	first chan struct{}
	once  sync.Once
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.once.Do(func() { close(o.first) })
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
