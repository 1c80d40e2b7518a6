package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"spoor/internal/source/live/livetest"
)

// What is asked for of trails.
const (
	validateFaster  = 20  // times aws cloudtrail validate-logs
	validateFloor   = 0.7 // of gunzip and SHA-256
	deliverRate     = 50_000
	deliverMemory   = 512e6
	fiveTrails      = 2.5                    // times the cost of one
	recordAdded     = time.Millisecond       // p50 of a small request
	recordAddedMost = 5 * time.Millisecond   // p99
	recordLarge     = 0.9                    // of the throughput of large objects
	storeWord       = "store"                // makes this program an S3 gateway
	deliverWord     = "deliver"              // makes it deliver a journal
	storeSays       = "answers at "          // and where
	storeKey        = "tester"               // of the gateway
	storeSecret     = "testersecret"         // likewise
	storeRegion     = "us-east-1"            // likewise
	storeWait       = 30 * time.Second       // until it answers
	deliverWait     = 20 * time.Minute       // until everything is in buckets
	deliverPoll     = 5 * time.Millisecond   // between looks whether it is
	recorderWait    = 100 * time.Millisecond // between looks whether it answers
)

// storeMain is an S3 gateway over a folder, until standard input ends. It says where it answers.
func storeMain(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := livetest.Isolate(args[0])
	var g *livetest.Gateway
	if err == nil {
		g, err = livetest.StartGateway(args[0])
	}
	if err == nil {
		_, err = fmt.Fprintln(stdout, storeSays+g.URL)
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 1
	}
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, stdin) // it ends with who reads it
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
	if err := g.Stop(); err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 1
	}
	return 0
}

// s3Store is an S3 gateway in a process of its own.
type s3Store struct {
	url   string
	cmd   *exec.Cmd
	stdin io.Closer
}

// startStore starts a gateway over a folder.
func startStore(ctx context.Context, dir string) (_ *s3Store, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("start an S3 gateway: %w", err)
	}
	s := &s3Store{cmd: exec.CommandContext(ctx, self, storeWord, dir)}
	in, err := s.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start an S3 gateway: %w", err)
	}
	s.stdin = in
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start an S3 gateway: %w", err)
	}
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start an S3 gateway: %w", err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() { // the gateway talks before it
		if url, ok := strings.CutPrefix(lines.Text(), storeSays); ok {
			s.url = url
			return s, nil
		}
	}
	return nil, errors.Join(errors.New("an S3 gateway ended before it answered"), lines.Err(), s.stop())
}

func (s *s3Store) stop() error {
	err := s.stdin.Close()
	return errors.Join(err, s.cmd.Wait())
}

// findAWS is the AWS CLI of make awscli, or of the path.
func findAWS() (string, error) {
	at, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		cli := filepath.Join(at, "out", "awscli", "bin", "aws")
		if _, err := os.Stat(cli); err == nil {
			return cli, nil
		}
		up := filepath.Dir(at)
		if up == at {
			return exec.LookPath("aws")
		}
		at = up
	}
}
