// Command noise tells how noisy the built-in pack is: findings per 10 000 events of each rule, over logs of people and
// programs that attack nothing. It prints a table in Markdown. make bench-noise runs it.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"

	"spoor/internal/detect"
	"spoor/test/kit"
)

func main() {
	events := flag.Int("events", 100_000, "events of the made-up organisation")
	seed := flag.Uint64("seed", 1, "which made-up organisation")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout, *events, *seed)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "noise:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer, events int, seed uint64) (err error) {
	dir, err := os.MkdirTemp("", "spoor-noise-*")
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(err, os.RemoveAll(dir)) }()
	set, err := kit.Pack(ctx)
	if err != nil {
		return err
	}
	shared, err := kit.Shared()
	if err != nil {
		fmt.Fprintf(w, "Real logs are left out: %v.\n\n", err)
	}
	parts, err := prepare(ctx, dir, shared, events, seed)
	if err != nil {
		return err
	}
	var all []measured
	for _, p := range parts {
		m, err := measure(ctx, p, set, dir)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		all = append(all, m)
	}
	return table(w, all)
}

// table prints what was measured.
func table(w io.Writer, all []measured) error {
	var b strings.Builder
	b.WriteString("| logs | events | findings at low or above | per 10 000 events | informational hits | per 10 000 events |\n|---|---:|---:|---:|---:|---:|\n")
	for _, m := range all {
		fmt.Fprintf(&b, "| %s: %s | %d | %d | %s | %d | %s |\n", m.name, m.about, m.events, m.alerts(), per10000(m.alerts(), m.events), m.hits(), per10000(m.hits(), m.events))
	}
	b.WriteString("\n| logs | level | rule | findings | per 10 000 events | matching events |\n|---|---|---|---:|---:|---:|\n")
	for _, m := range all {
		for _, r := range m.rules {
			if r.level > detect.Informational {
				fmt.Fprintf(&b, "| %s | %s | %s | %d | %s | %d |\n", m.name, r.level, r.title, r.findings, per10000(r.findings, m.events), r.hits)
			}
		}
	}
	b.WriteString("\n| logs | informational rule | hits | per 10 000 events | actors |\n|---|---|---:|---:|---:|\n")
	for _, m := range all {
		for _, r := range m.rules {
			if r.level == detect.Informational {
				fmt.Fprintf(&b, "| %s | %s | %d | %s | %d |\n", m.name, r.title, r.hits, per10000(r.hits, m.events), r.findings)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func per10000(n int, events int64) string {
	if events == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(n)*10_000/float64(events))
}

// sortRules puts the loudest first.
func sortRules(rules []ruleNoise) {
	slices.SortFunc(rules, func(a, b ruleNoise) int {
		return cmp.Or(cmp.Compare(b.level, a.level), cmp.Compare(b.hits, a.hits), cmp.Compare(a.title, b.title))
	})
}
