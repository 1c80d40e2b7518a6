// Package rig runs `spoor serve` as a process of its own, feeds it, asks it over HTTP as a stranger would, and looks at what
// it takes. Tests of faults, stories, the soak and the benchmark share it.
//
// What is sent has ids that tell where they came from, so that an answer can be held against what was acknowledged: [Feed]
// makes records, [Load] sends them, [Book] keeps what must be in the answer.
package rig

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
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Options say which server is started, and how.
type Options struct {
	Program string // the binary
	Data    string // its data folder
	Listen  string // address; empty for a free one, which a restart keeps
	AWS     string // the same for AWS's clients
	Token   string // of an earlier start; else it is that of the first start
	Args    []string
	Env     []string // in addition to the environment of this process
	Log     io.Writer
	// Disk, when not 0, is the size in bytes of a file system of its own that the data folder is; see [Inside]. Only on Linux.
	Disk int64
}

// Server is a process.
type Server struct {
	URL   string
	AWS   string    // URL for AWS's clients
	Began time.Time // when it was executed

	opts   Options
	cmd    *exec.Cmd
	client *http.Client
	done   chan struct{} // closed when it has ended
	err    error         // how, once done is closed

	mu     sync.Mutex
	out    bytes.Buffer // standard output; guarded by mu
	told   bytes.Buffer // the end of standard error; guarded by mu
	token  string       // guarded by mu
	copied *os.Root     // of a file system of its own
}

// ErrEnded is wrapped by the error of a server that ended before it did what was waited for.
var ErrEnded = errors.New("the server has ended")

// Start executes a server, and does not wait until it answers.
func Start(ctx context.Context, o Options) (*Server, error) {
	for _, address := range []*string{&o.Listen, &o.AWS} {
		if *address != "" {
			continue
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		*address = l.Addr().String()
		if err := l.Close(); err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
	}
	s := &Server{URL: "http://" + o.Listen, AWS: "http://" + o.AWS, opts: o, token: o.Token, done: make(chan struct{}),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}}
	args := append([]string{"serve", "--data", o.Data, "--listen", o.Listen, "--aws-listen", o.AWS}, o.Args...)
	s.cmd = exec.CommandContext(ctx, o.Program, args...)
	s.cmd.Env = append(os.Environ(), o.Env...)
	if o.Disk > 0 {
		if err := mounted(s.cmd, o.Data, o.Disk); err != nil {
			return nil, err
		}
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Program, err)
	}
	log, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Program, err)
	}
	s.Began = time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Program, err)
	}
	var reading sync.WaitGroup
	reading.Go(func() { s.read(out, s.welcome) })
	reading.Go(func() { s.read(log, s.complaint) })
	go func() {
		defer close(s.done)
		reading.Wait()
		s.err = s.cmd.Wait()
		s.client.CloseIdleConnections()
	}()
	return s, nil
}

func (s *Server) read(from io.Reader, line func(string)) {
	in := bufio.NewReader(from)
	for {
		text, err := in.ReadString('\n')
		if text != "" {
			line(text)
		}
		if err != nil {
			return // the process has ended
		}
	}
}

var tokenForm = regexp.MustCompile(`^\s*(spoor_[a-z2-7]+_[a-z2-7]+)\s*$`)

func (s *Server) welcome(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.WriteString(line)
	if m := tokenForm.FindStringSubmatch(line); m != nil {
		s.token = m[1]
	}
}

func (s *Server) complaint(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opts.Log != nil {
		_, _ = io.WriteString(s.opts.Log, line) // a test's or a terminal
	}
	if s.told.Len() > 64<<10 {
		s.told.Next(s.told.Len() / 2)
	}
	s.told.WriteString(line)
}

// Output is what the server has written to its standard output.
func (s *Server) Output() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String()
}

// Complaints is the end of what it has written to its standard error.
func (s *Server) Complaints() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told.String()
}

// Token is root's, once the first start has shown it.
func (s *Server) Token() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token
}

// PID is that of the process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Done is closed when the process has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Again are the options that start the same server again.
func (s *Server) Again() Options {
	o := s.opts
	o.Listen, o.AWS, o.Token = strings.TrimPrefix(s.URL, "http://"), strings.TrimPrefix(s.AWS, "http://"), s.Token()
	return o
}

// readyPoll is how often a server is asked whether it is ready.
const readyPoll = 10 * time.Millisecond

// Ready waits until /readyz says yes and a token is known, and returns how long that took from the execution.
func (s *Server) Ready(ctx context.Context) (time.Duration, error) {
	said := []byte("it does not answer")
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/readyz", nil)
		if err != nil {
			return 0, err
		}
		res, err := s.client.Do(req)
		ready := false
		if err == nil {
			var text []byte
			if text, err = io.ReadAll(res.Body); err == nil {
				ready, said = res.StatusCode == http.StatusOK, text
			}
			res.Body.Close() //nolint:errcheck // read to its end
		}
		took := time.Since(s.Began)
		if ready && s.Token() != "" {
			return took, nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("wait until the server is ready: %w; it says: %s\n%s", ctx.Err(), said, s.Complaints())
		case <-s.done:
			return 0, fmt.Errorf("%w: %w\n%s", ErrEnded, s.ended(), s.Complaints())
		case <-time.After(readyPoll):
		}
	}
}

func (s *Server) ended() error {
	if s.err == nil {
		return errors.New("exit code 0")
	}
	return s.err
}

// Kill ends the process as kill -9 does, and waits until it is gone.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.done
}

// Stop asks the process to end, and waits. An exit code other than 0 is an error.
func (s *Server) Stop(ctx context.Context) error {
	if err := s.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop the server: %w", err)
	}
	select {
	case <-s.done:
	case <-ctx.Done():
		s.Kill()
		return fmt.Errorf("stop the server: %w\n%s", ctx.Err(), s.Complaints())
	}
	if s.err != nil {
		return fmt.Errorf("stop the server: %w\n%s", s.err, s.Complaints())
	}
	return nil
}

// Signal sends a signal to the process.
func (s *Server) Signal(sig os.Signal) error { return s.cmd.Process.Signal(sig) }

// Process is what the operating system knows of a process.
type Process struct {
	RSS  int64 // resident memory, bytes
	Peak int64 // of RSS since the start
	// File is the part of RSS that is pages of files, which the system takes back when it needs them.
	File  int64
	CPU   time.Duration
	Files int // open
}

// Process looks at the server's process. It is for Linux.
func (s *Server) Process() (Process, error) {
	var p Process
	dir := filepath.Join("/proc", strconv.Itoa(s.PID()))
	text, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return p, fmt.Errorf("look at the server's process: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		var to *int64
		switch name {
		case "VmRSS":
			to = &p.RSS
		case "VmHWM":
			to = &p.Peak
		case "RssFile":
			to = &p.File
		default:
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil {
			return p, fmt.Errorf("look at the server's process: %s: %w", name, err)
		}
		*to = n << 10
	}
	if text, err = os.ReadFile(filepath.Join(dir, "stat")); err != nil {
		return p, fmt.Errorf("look at the server's process: %w", err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	if f := strings.Fields(rest); len(f) > 12 {
		for _, ticks := range f[11:13] { // utime and stime, in hundredths of a second
			n, err := strconv.ParseInt(ticks, 10, 64)
			if err != nil {
				return p, fmt.Errorf("look at the server's process: %w", err)
			}
			p.CPU += time.Duration(n) * 10 * time.Millisecond
		}
	}
	open, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return p, fmt.Errorf("look at the server's process: %w", err)
	}
	p.Files = len(open)
	return p, nil
}

// Exit is the exit code, -1 for a process that was killed. The process must have ended.
func (s *Server) Exit() int {
	<-s.done
	var exit *exec.ExitError
	switch {
	case s.err == nil:
		return 0
	case errors.As(s.err, &exit):
		if w, ok := exit.Sys().(syscall.WaitStatus); ok && w.Signaled() {
			return -1
		}
		return exit.ExitCode()
	}
	return -1
}
