package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"spoor/internal/sample"
)

// bar is what a contender has to reach: a ratio of its rate to that of another.
type bar struct {
	name  string
	than  string
	ratio float64
}

func find(all []*measured, name string) *measured {
	for _, m := range all {
		if m.name == name {
			return m
		}
	}
	return nil
}

// verdict says how a bar stands.
func (w bar) verdict(all []*measured) string {
	a, b := find(all, w.name), find(all, w.than)
	if a == nil || b == nil || a.rate() == 0 || b.rate() == 0 {
		return "not measured"
	}
	ratio := a.rate() / b.rate()
	word := "reached"
	if ratio < w.ratio {
		word = "**missed**"
	}
	return fmt.Sprintf("%.2f, wanted ≥ %.2f: %s", ratio, w.ratio, word)
}

// table prints the contenders, each with its ratio to the one named floor.
func (b *bench) table(all []*measured, floor string) {
	unit := find(all, floor)
	fmt.Fprintf(b.page, "\n| what | time, s | events/s | JSON, MB/s | ratio to %s | CPU, s | peak memory, MB |\n|---|--:|--:|--:|--:|--:|--:|\n", floor)
	for _, m := range all {
		if m.err != nil {
			fmt.Fprintf(b.page, "| %s | failed | | | | | |\n", m.name)
			continue
		}
		ratio, cpu, peak := "", "", ""
		if unit != nil && unit.rate() > 0 {
			ratio = fmt.Sprintf("%.2f", m.rate()/unit.rate())
		}
		if p := m.process; p.Elapsed > 0 {
			cpu, peak = fmt.Sprintf("%.2f", p.CPU.Seconds()), fmt.Sprintf("%.0f", float64(p.Peak)/1e6)
		}
		fmt.Fprintf(b.page, "| %s | %.2f | %s | %.0f | %s | %s | %s |\n", m.name, m.median().Seconds(), thousands(m.rate()), float64(m.raw)/1e6/m.median().Seconds(), ratio, cpu, peak)
	}
	for _, m := range all {
		if m.err != nil {
			fmt.Fprintf(b.page, "\n%s failed: %.400s\n", m.name, strings.Join(strings.Fields(m.err.Error()), " "))
		}
	}
}

func (b *bench) bars(all []*measured, bars ...bar) {
	fmt.Fprintln(b.page)
	for _, w := range bars {
		fmt.Fprintf(b.page, "- %s, against %s: %s\n", w.name, w.than, w.verdict(all))
	}
}

func sayReached(ok bool) string {
	if ok {
		return "reached"
	}
	return "**missed**"
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }

// thousands writes a number with commas.
func thousands(f float64) string {
	s := fmt.Sprintf("%.0f", f)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func (b *bench) describe(d *data) {
	t := d.truth
	fmt.Fprintf(b.page, "\nData: `%s`: %s records in %s files, %.0f MB, %.0f MB of JSON (mean record %.0f bytes, gzip ratio %.1f).\n", d.command,
		thousands(float64(t.Records)), thousands(float64(t.Files)), float64(t.FileBytes)/1e6, float64(t.RawBytes)/1e6, float64(t.RawBytes)/float64(t.Records), float64(t.RawBytes)/float64(t.FileBytes))
}

// The contenders' names, which bars refer to.
const (
	floorOne    = "gunzip, one core"
	floorTwo    = "gunzip, two cores"
	decodeTwo   = "decode: gunzip, typed fields, raw kept"
	huntPack    = "`spoor hunt DIR`"
	duckBest    = "DuckDB, shape declared"
	duckNatural = "DuckDB, shape inferred"
	jqName      = "`zcat` into `jq`"
)

// speed is the way from gunzip to the report, and the others.
func (b *bench) speed(ctx context.Context) error {
	d, err := b.mainData(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.page, "\n## Reading and hunting\n")
	b.describe(d)
	all, err := b.race(ctx, []contender{
		{name: floorOne, run: gunzip(d, 1)},
		{name: floorTwo, run: gunzip(d, cores)},
		{name: decodeTwo, run: decode(d, cores)},
		{name: huntPack, run: b.hunt(d)},
		{name: duckBest, run: duckdb(d, duckDeclared)},
		{name: duckNatural, run: duckdb(d, duckInferred), once: true},
		{name: jqName, run: jq(d)},
	})
	if err != nil {
		return err
	}
	splits, err := b.splits(ctx, d)
	if err != nil {
		return err
	}
	b.table(append(all[:2:2], append(splits, all[2:]...)...), floorTwo)
	fmt.Fprintf(b.page, "\nSplitting is measured over the first %d MB of the JSON, in memory. DuckDB's statements, and jq's program:\n\n    %s\n    %s\n    %s\n", textLimit>>20, duckDeclared, duckInferred, jqProgram)
	b.bars(all, bar{decodeTwo, floorTwo, 0.6}, bar{huntPack, floorTwo, 0.45}, bar{huntPack, duckBest, 2}, bar{huntPack, duckNatural, 2}, bar{huntPack, jqName, 4})
	return nil
}

// splits are measured apart, so that their text does not take memory from the others.
func (b *bench) splits(ctx context.Context, d *data) ([]*measured, error) {
	one, two := split(d, 1), split(d, cores)
	// The first run of each loads the text.
	for _, f := range []func(context.Context) (result, error){one, two} {
		if _, err := f(ctx); err != nil {
			return nil, fmt.Errorf("split: %w", err)
		}
	}
	return b.race(ctx, []contender{{name: "record splitting alone, one core", run: one}, {name: "record splitting alone, two cores", run: two}})
}

// rules is what more rules cost.
func (b *bench) rules(ctx context.Context) error {
	d, err := b.mainData(ctx)
	if err != nil {
		return err
	}
	made := filepath.Join(b.dir, "rules")
	const total = 1000
	pack, err := b.countRules(ctx)
	if err != nil {
		return err
	}
	further := 0
	if b.sigma != "" {
		if further, err = b.countRules(ctx, "--no-builtin", "--rules", b.sigma); err != nil {
			return err
		}
	}
	if err := writeRules(made, total-pack-further); err != nil {
		return err
	}
	fmt.Fprintf(b.page, "\n## What rules cost\n")
	b.describe(d)
	none, thousand := "no rules", thousands(total)+" rules"
	list := []contender{{name: none, run: b.hunt(d, "--no-builtin")}, {name: fmt.Sprintf("built-in pack: %d rules", pack), run: b.hunt(d)}}
	flags := []string{"--rules", made}
	if b.sigma != "" {
		list = append(list, contender{name: fmt.Sprintf("pack and Sigma's: %d rules", pack+further), run: b.hunt(d, "--rules", b.sigma)})
		flags = append(flags, "--rules", b.sigma)
	}
	list = append(list, contender{name: thousand, run: b.hunt(d, flags...)})
	all, err := b.race(ctx, list)
	if err != nil {
		return err
	}
	b.table(all, none)
	b.bars(all, bar{thousand, none, 1 / 1.5})
	return nil
}

// memory is how much hunt takes of it, and that it does not grow with the input.
func (b *bench) memory(ctx context.Context) error {
	small, err := b.mainData(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.page, "\n## Memory\n")
	days := daysFor(b.many)
	large, err := b.dataset(ctx, "many", sample.Options{Events: b.many, Days: days, Story: true}, fmt.Sprintf("--events %d --days %d", b.many, days))
	if err != nil {
		return err
	}
	days = daysFor(int(b.huge / 1700))
	huge, err := b.dataset(ctx, "huge", sample.Options{Bytes: b.huge, Days: days, Story: true, OneFile: true}, fmt.Sprintf("--size %d --days %d --one-file", b.huge, days))
	if err != nil {
		return err
	}
	var list []contender
	for _, d := range []*data{small, large, huge} {
		b.describe(d)
		name := fmt.Sprintf("%s events, %s files", thousands(float64(d.truth.Events)), thousands(float64(d.truth.Files)))
		if d.truth.Files == 1 {
			name = fmt.Sprintf("%s events, one file of %.1f GB of JSON", thousands(float64(d.truth.Events)), float64(d.truth.RawBytes)/1e9)
		}
		list = append(list, contender{name: name, run: b.hunt(d), once: d != small})
	}
	all, err := b.race(ctx, list)
	if err != nil {
		return err
	}
	b.table(all, all[0].name)
	fmt.Fprintln(b.page)
	const limit = 512e6
	for _, m := range all {
		word := "reached"
		switch {
		case m.process.Peak == 0:
			word = "not measured"
		case float64(m.process.Peak) > limit:
			word = "**missed**"
		}
		fmt.Fprintf(b.page, "- %s: peak %.0f MB, wanted ≤ %.0f MB: %s\n", m.name, float64(m.process.Peak)/1e6, limit/1e6, word)
	}
	if a, z := all[0].process.Peak, all[1].process.Peak; a > 0 && z > 0 {
		fmt.Fprintf(b.page, "- %.1f times the events take %.2f times the memory\n", float64(all[1].records)/float64(all[0].records), float64(z)/float64(a))
	}
	return nil
}

// tiny is many small files against the main data.
func (b *bench) tiny(ctx context.Context) error {
	normal, err := b.mainData(ctx)
	if err != nil {
		return err
	}
	// Tiny files hold three events on average, less at the end of a slot.
	events := b.files * 14 / 5
	small, err := b.dataset(ctx, "tiny", sample.Options{Events: events, Days: 2, TinyFiles: true}, fmt.Sprintf("--events %d --days 2 --tiny-files --no-attack", events))
	if err != nil {
		return err
	}
	fmt.Fprintf(b.page, "\n## Tiny files\n")
	b.describe(small)
	const floor, hunted, usual = "gunzip of tiny files, two cores", "`spoor hunt` over tiny files", "`spoor hunt` over the main data"
	all, err := b.race(ctx, []contender{{name: floor, run: gunzip(small, cores)}, {name: hunted, run: b.hunt(small)}, {name: usual, run: b.hunt(normal)}})
	if err != nil {
		return err
	}
	b.table(all, usual)
	b.bars(all, bar{hunted, usual, 0.5})
	if m := find(all, hunted); m.err == nil {
		rate := float64(small.truth.Files) / m.median().Seconds()
		word := "reached"
		if rate < 10_000 {
			word = "**missed**"
		}
		fmt.Fprintf(b.page, "- files per second: %s, wanted ≥ 10,000: %s\n", thousands(rate), word)
	}
	return nil
}

// countRules asks the binary how many rules it loads.
func (b *bench) countRules(ctx context.Context, flags ...string) (int, error) {
	text, err := exec.CommandContext(ctx, b.spoor, append([]string{"rules", "list", "--json"}, flags...)...).Output()
	if err != nil {
		return 0, fmt.Errorf("count rules: %w", err)
	}
	var list []json.RawMessage
	if err := json.Unmarshal(text, &list); err != nil {
		return 0, fmt.Errorf("count rules: %w", err)
	}
	return len(list), nil
}

func writeRules(dir string, n int) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove old rules: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make folder for rules: %w", err)
	}
	for i := range n {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("made-%04d.yml", i)), []byte(madeRule(i)), 0o644); err != nil {
			return fmt.Errorf("write rule: %w", err)
		}
	}
	return nil
}
