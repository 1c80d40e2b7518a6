package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spoor/internal/detect"
	"spoor/internal/sample"
)

// TestMain lets process run the test binary as measureWord.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == measureWord {
		os.Exit(measureMain(os.Args[2:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func TestProcess(t *testing.T) {
	t.Parallel()
	m, err := process(t.Context(), []int{3}, "sh", "-c", "exit 3")
	if err != nil || m.Code != 3 || m.Elapsed <= 0 || m.Peak < 100<<10 || m.Peak > 200<<20 {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := process(t.Context(), []int{0}, "sh", "-c", "echo broken >&2; exit 4"); err == nil || !strings.Contains(err.Error(), "exit code 4") || !strings.Contains(err.Error(), "broken") {
		t.Errorf("exit code 4 gives %v", err)
	}
	if _, err := process(t.Context(), []int{0}, "/nowhere/at/all"); err == nil {
		t.Error("a command that is not there gives no error")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := process(ctx, []int{0}, "sh", "-c", "sleep 60 | cat"); err == nil || time.Since(began) > 30*time.Second {
		t.Errorf("a command that takes too long gives %v after %s", err, time.Since(began))
	}
}

func TestMadeRulesLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const n = 900
	if err := writeRules(dir, n); err != nil {
		t.Fatal(err)
	}
	set, problems, err := detect.Load(t.Context(), detect.Options{Sources: []detect.Source{{Path: dir}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("rule: %s", p.String())
	}
	if got, _ := set.Count(); got != n {
		t.Errorf("%d rules are loaded, want %d", got, n)
	}
}

// TestContenders: everybody counts the same records in the same files.
func TestContenders(t *testing.T) {
	t.Parallel()
	b := &bench{dir: t.TempDir(), runs: 3, log: t.Output(), page: t.Output()}
	d, err := b.dataset(t.Context(), "some", sample.Options{Events: 4000, Days: 1, Story: true}, "--events 4000 --days 1")
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.dataset(t.Context(), "some", sample.Options{Events: 4000, Days: 1, Story: true}, "--events 4000 --days 1")
	if err != nil || again.truth.Records != d.truth.Records || len(again.paths) != len(d.paths) {
		t.Fatalf("the data that are there already: %v", err)
	}
	broken := errors.New("cannot run")
	all, err := b.race(t.Context(), []contender{
		{name: "one", run: gunzip(d, 1)},
		{name: "two", run: gunzip(d, cores)},
		{name: "decode", run: decode(d, cores)},
		{name: "split", run: split(d, cores)},
		{name: "duckdb", run: duckdb(d, duckDeclared), once: true},
		{name: "broken", run: func(context.Context) (result, error) { return result{}, broken }},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		want := 3
		switch m.name {
		case "duckdb":
			if duckDeclared == "" {
				continue
			}
			want = 1
		case "broken":
			if !errors.Is(m.err, broken) || m.rate() != 0 {
				t.Errorf("broken: %+v", m)
			}
			continue
		}
		if m.err != nil || m.records != d.truth.Records || len(m.times) != want {
			t.Errorf("%s: %d records in %d runs, %v; want %d in %d", m.name, m.records, len(m.times), m.err, d.truth.Records, want)
		}
	}
	var page bytes.Buffer
	b.page = &page
	b.table(all, "two")
	b.bars(all, bar{"one", "two", 0.0001}, bar{"one", "two", 1000}, bar{"broken", "two", 1})
	for _, want := range []string{"| two | ", "| 1.00 |", "| broken | failed |", "broken failed: cannot run", "wanted ≥ 0.00: reached", "wanted ≥ 1000.00: **missed**", "broken, against two: not measured"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("no %q in\n%s", want, page.String())
		}
	}
	if err := os.Remove(d.paths[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := gunzip(d, 1)(t.Context()); err == nil {
		t.Error("gunzip misses no file")
	}
	if _, err := decode(again, 1)(t.Context()); err == nil {
		t.Error("decode misses no file")
	}
}

func TestFlags(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-sections", "nothing"}, {"-sections", "trail"}, {"-runs", "0"}, {"argument"}, {"-unknown"}} {
		var stderr bytes.Buffer
		if code := run(t.Context(), append(args, "-dir", filepath.Join(t.TempDir(), "data")), &stderr, &stderr); code != 2 || stderr.Len() == 0 {
			t.Errorf("%v: exit code %d, %q", args, code, stderr.String())
		}
	}
	if m := (&measured{times: []time.Duration{5, 1, 3}}); m.median() != 3 {
		t.Errorf("median %d", m.median())
	}
	for f, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567.8: "1,234,568"} {
		if got := thousands(f); got != want {
			t.Errorf("%f is %s, want %s", f, got, want)
		}
	}
}
