package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"spoor/internal/sample"
)

// data is a data set on disk.
type data struct {
	dir     string
	command string // that makes the same
	truth   sample.Truth
	paths   []string // of its log files
}

func (d *data) logs() string { return filepath.Join(d.dir, "logs") }

// dataset makes a data set, or finds the one that an earlier run left.
func (b *bench) dataset(ctx context.Context, name string, o sample.Options, flags string) (*data, error) {
	d := &data{dir: filepath.Join(b.dir, name), command: "spoor sample --out DIR --seed 1 " + flags}
	o.Seed = 1
	want, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("describe data: %w", err)
	}
	marker := filepath.Join(d.dir, "options.json")
	truth := filepath.Join(d.dir, "truth.json")
	if got, err := os.ReadFile(marker); err != nil || string(got) != string(want) {
		if err := os.RemoveAll(d.dir); err != nil {
			return nil, fmt.Errorf("remove old data: %w", err)
		}
		b.say("making %s", name)
		began := time.Now()
		o.Out = d.logs()
		t, err := sample.Generate(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("make data: %w", err)
		}
		b.say("made %s: %d records, %d files, %.0f events/s", name, t.Records, t.Files, float64(t.Events)/time.Since(began).Seconds())
		// The folder that the contenders read holds log files only.
		if err := os.Rename(filepath.Join(d.logs(), "truth.json"), truth); err != nil {
			return nil, fmt.Errorf("make data: %w", err)
		}
		if err := os.WriteFile(marker, want, 0o644); err != nil {
			return nil, fmt.Errorf("make data: %w", err)
		}
	}
	text, err := os.ReadFile(truth)
	if err != nil {
		return nil, fmt.Errorf("read truth: %w", err)
	}
	if err := json.Unmarshal(text, &d.truth); err != nil {
		return nil, fmt.Errorf("read truth: %w", err)
	}
	err = filepath.WalkDir(d.logs(), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && (strings.HasSuffix(path, ".json.gz") || strings.HasSuffix(path, ".json")) {
			d.paths = append(d.paths, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list data: %w", err)
	}
	if int64(len(d.paths)) != d.truth.Files {
		return nil, fmt.Errorf("%d files in %s, %d were made; remove the folder", len(d.paths), d.dir, d.truth.Files)
	}
	return d, d.warm(ctx)
}

// warm reads all files, so that they are in the page cache.
func (d *data) warm(ctx context.Context) error {
	for _, path := range d.paths {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := readThrough(path); err != nil {
			return err
		}
	}
	return nil
}

// daysFor is the period of so many events: ten million in a month.
func daysFor(events int) int { return max(1, events*3/1_000_000) }

func (b *bench) mainData(ctx context.Context) (*data, error) {
	days := daysFor(b.events)
	return b.dataset(ctx, "main", sample.Options{Events: b.events, Days: days, Story: true}, fmt.Sprintf("--events %d --days %d", b.events, days))
}
