package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// measurement is what a process took.
type measurement struct {
	Code    int           `json:"code"`
	Elapsed time.Duration `json:"elapsed"`
	CPU     time.Duration `json:"cpu"`
	Peak    int64         `json:"peak"` // bytes of resident memory at most, of the process or of its largest child
}

// measureWord makes this program run one command and print its measurement. A process begins with the peak of the one
// that started it, which here may hold DuckDB and half a gigabyte of text; so a fresh copy of this program starts what
// is to be measured, and its own few megabytes are the floor.
const measureWord = "measure"

func measureMain(args []string, stdout, stderr io.Writer) int {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = stderr
	began := time.Now()
	err := cmd.Run()
	m := measurement{Elapsed: time.Since(began)}
	if cmd.ProcessState == nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 1
	}
	m.Code = cmd.ProcessState.ExitCode()
	m.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		m.Peak = int64(usage.Maxrss) << 10 // Linux counts in KiB
	}
	if err := json.NewEncoder(stdout).Encode(m); err != nil {
		return 1
	}
	return 0
}

// process runs a command with its output thrown away. codes are the exit codes that mean success.
func process(ctx context.Context, codes []int, args ...string) (measurement, error) {
	var m measurement
	self, err := os.Executable()
	if err != nil {
		return m, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, append([]string{measureWord}, args...)...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(cores))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// What the command started dies with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	err = cmd.Run()
	if err == nil {
		err = json.Unmarshal(stdout.Bytes(), &m)
	}
	if err == nil && !slices.Contains(codes, m.Code) {
		err = fmt.Errorf("exit code %d", m.Code)
	}
	if err != nil {
		if text := strings.TrimSpace(stderr.String()); text != "" {
			err = errors.Join(err, errors.New(text))
		}
		return m, fmt.Errorf("run %s: %w", args[0], err)
	}
	return m, nil
}
