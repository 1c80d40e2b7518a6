package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"

	"spoor/internal/inflate"
)

// header prints what the figures depend on.
func (b *bench) header(ctx context.Context) {
	fmt.Fprintf(b.page, "Machine: %s, %d cores of which %d are used, %s of memory, %s. %s.\n", processor(), runtime.NumCPU(), cores, memoryTotal(), firstLine(ctx, "uname", "-sr"), runtime.Version())
	fmt.Fprintf(b.page, "Contenders: %s (%s); klauspost/compress %s; DuckDB %s; %s with %s.\n", firstLine(ctx, b.spoor, "version"), b.inflate(ctx), moduleVersion("github.com/klauspost/compress"),
		duckVersion(ctx), firstLine(ctx, "jq", "--version"), firstLine(ctx, "zcat", "--version"))
	fmt.Fprintf(b.page, "Figures are medians of %d runs, taken in turns, with the files in the page cache.\n", b.runs)
}

// inflate is what the program under test expands gzip with. The floor is always klauspost's.
func (b *bench) inflate(ctx context.Context) string {
	text, err := exec.CommandContext(ctx, b.spoor, "version").Output()
	if err != nil {
		return "no " + b.spoor
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "inflate: ") {
			line = strings.TrimSpace(line)
			if inflate.Engine() == "" != strings.Contains(line, "klauspost") {
				line += ", but not for decoding alone, which the benchmark was built with another for"
			}
			return line
		}
	}
	return "inflate: not told"
}

func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimLeft(strings.TrimSpace(name), ": ")
		}
	}
	return runtime.GOARCH
}

func memoryTotal() string {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return "?"
	}
	var kb int64
	if _, err := fmt.Sscanf(string(text), "MemTotal: %d kB", &kb); err != nil {
		return "?"
	}
	return fmt.Sprintf("%d GiB", (kb+1<<19)>>20)
}

func firstLine(ctx context.Context, name string, args ...string) string {
	text, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return "no " + name
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line)
}

func moduleVersion(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == path {
				return m.Version
			}
		}
	}
	return "?"
}
