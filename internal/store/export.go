package store

import (
	"bufio"
	"bytes"
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"spoor/internal/event"
	"spoor/internal/source"
	"spoor/internal/store/segment"
	"spoor/internal/store/table"
)

// ExportOptions say what leaves a store, and how.
type ExportOptions struct {
	Filter
	Accounts, Regions []string // for none all of them
	// Dir gets log files, gzip-compressed, in the layout of a trail's bucket: AWSLogs/ACCOUNT/CloudTrail/REGION/Y/M/D. Records
	// are as they arrived, byte for byte. Nothing is overwritten.
	Dir string
	// Lines, in place of Dir, gets one record a line. Line feeds inside of a record become spaces.
	Lines io.Writer
}

// ExportResult tells what was exported.
type ExportResult struct {
	Events  int64    `json:"events"`
	Files   int      `json:"files"`
	Damaged []Damage `json:"damaged"` // files that could not be read to their end: their events may be missing
}

const (
	exportFileEvents = 20_000 // in one log file at most
	exportOpen       = 48     // log files written at once
)

// Export writes the records of events out again, in the order of time within an event day.
func (s *Store) Export(ctx context.Context, opts ExportOptions) (*ExportResult, error) {
	if (opts.Dir == "") == (opts.Lines == nil) {
		return nil, errors.New("export: want a folder or a writer")
	}
	plan, err := s.Plan(ctx, opts.Filter)
	if err != nil {
		return nil, err
	}
	defer plan.Release()
	res := &ExportResult{Damaged: plan.Damaged}
	x := &exporter{opts: &opts, res: res}
	if opts.Lines != nil {
		x.lines = bufio.NewWriterSize(opts.Lines, 1<<18)
	}
	if err := s.export(ctx, plan.Files, x); err != nil {
		return res, errors.Join(fmt.Errorf("export: %w", err), x.abort())
	}
	if x.lines != nil {
		return res, x.lines.Flush()
	}
	for x.open.Len() > 0 {
		if err := x.closeOldest(); err != nil {
			return res, errors.Join(fmt.Errorf("export: %w", err), x.abort())
		}
	}
	return res, nil
}

func (s *Store) export(ctx context.Context, files []table.File, x *exporter) error {
	var ev event.Event
	for _, f := range files {
		err := func() (err error) {
			r, err := segment.Open(ctx, f.Path, x.opts.Since, x.opts.Until)
			if err != nil {
				return &fileError{f, err}
			}
			defer func() { err = errors.Join(err, r.Close()) }()
			for {
				rec, err := r.Next()
				if err == io.EOF {
					return nil
				}
				if err == nil {
					err = rec.Event(&ev)
				}
				if err != nil {
					return &fileError{f, err}
				}
				if x.wants(&ev) {
					if err := x.write(&ev); err != nil {
						return err
					}
				}
			}
		}()
		var bad *fileError
		if errors.As(err, &bad) && ctx.Err() == nil {
			x.res.Damaged = append(x.res.Damaged, Damage{File: f.Name, Day: dayName(f), Rows: f.Rows, What: bad.err.Error()})
		} else if err != nil {
			return err
		}
	}
	return nil
}

type exporter struct {
	opts  *ExportOptions
	res   *ExportResult
	lines *bufio.Writer
	open  list.List // of *exportFile, the one used last in front
	byKey map[string]*list.Element
	n     int
}

// exportFile is a log file being written. It gets its name when it is closed, as the name tells the time of its end.
type exportFile struct {
	key             string
	account, region string
	kind            source.Kind
	f               *os.File
	z               *gzip.Writer
	events          int
	last            int64
}

func (x *exporter) wants(e *event.Event) bool {
	o := x.opts
	if e.Time != 0 && (!o.Since.IsZero() && e.Time < o.Since.UnixNano() || !o.Until.IsZero() && e.Time >= o.Until.UnixNano()) {
		return false
	}
	return (len(o.Accounts) == 0 || slices.Contains(o.Accounts, e.Account())) && (len(o.Regions) == 0 || slices.Contains(o.Regions, e.Region()))
}

func (x *exporter) write(e *event.Event) error {
	x.res.Events++
	if x.lines != nil {
		raw := e.Raw
		if bytes.ContainsAny(raw, "\r\n") { // white space between tokens: strings cannot hold them
			raw = bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\n"), []byte(" ")), []byte("\r"), []byte(" "))
		}
		if _, err := x.lines.Write(raw); err != nil {
			return err
		}
		return x.lines.WriteByte('\n')
	}
	kind := source.Logs
	switch e.Category() {
	case "Insight":
		kind = source.Insight
	case "NetworkActivity":
		kind = source.NetworkActivity
	case "Aggregated":
		kind = source.Aggregated
	}
	hour := e.Time / int64(time.Hour)
	key := fmt.Sprintf("%s/%s/%s/%d", e.Account(), e.Region(), kind, hour)
	if x.byKey == nil {
		x.byKey = map[string]*list.Element{}
	}
	el := x.byKey[key]
	if el == nil {
		if x.open.Len() >= exportOpen {
			if err := x.closeOldest(); err != nil {
				return err
			}
		}
		f, err := x.create(key, e, kind)
		if err != nil {
			return err
		}
		el = x.open.PushFront(f)
		x.byKey[key] = el
	}
	x.open.MoveToFront(el)
	f := el.Value.(*exportFile)
	sep := `{"Records":[`
	if f.events > 0 {
		sep = ","
	}
	if _, err := io.WriteString(f.z, sep); err != nil {
		return err
	}
	if _, err := f.z.Write(e.Raw); err != nil {
		return err
	}
	f.last = max(f.last, e.Time)
	if f.events++; f.events >= exportFileEvents {
		return x.close(el)
	}
	return nil
}

func (x *exporter) create(key string, e *event.Event, kind source.Kind) (*exportFile, error) {
	if err := os.MkdirAll(x.opts.Dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(x.opts.Dir, ".spoor-export-")
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewWriterLevel(f, 5)
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return &exportFile{key: key, account: strings.Clone(e.Account()), region: strings.Clone(e.Region()), kind: kind, f: f, z: z}, nil
}

func (x *exporter) closeOldest() error { return x.close(x.open.Back()) }

// Names come from log content: what does not look like an account or a Region gets no say in paths.
var (
	accountName = regexp.MustCompile(`^[0-9]{12}$`)
	regionName  = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]{2,12}){1,3}-[0-9]{1,2}$`)
)

// close ends a log file and gives it its name.
func (x *exporter) close(el *list.Element) error {
	f := el.Value.(*exportFile)
	if _, err := io.WriteString(f.z, "]}"); err != nil {
		return err
	}
	if err := errors.Join(f.z.Close(), f.f.Chmod(0o644), f.f.Sync()); err != nil {
		return err
	}
	// Delivered in the minute after the last event, as far as the name tells.
	at := time.Unix(0, f.last).UTC().Truncate(time.Minute).Add(time.Minute)
	x.n++
	var path string
	if accountName.MatchString(f.account) && regionName.MatchString(f.region) && f.last != 0 {
		path = filepath.Join("AWSLogs", f.account, string(f.kind), f.region, at.Format("2006"), at.Format("01"), at.Format("02"),
			fmt.Sprintf("%s_%s_%s_%s_%016d.json.gz", f.account, f.kind, f.region, at.Format("20060102T1504Z"), x.n))
	} else {
		path = filepath.Join("other", fmt.Sprintf("records_%016d.json.gz", x.n))
	}
	path = filepath.Join(x.opts.Dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := errors.Join(f.f.Close(), publish(f.f.Name(), path)); err != nil {
		return err
	}
	delete(x.byKey, f.key)
	x.open.Remove(el)
	x.res.Files++
	return nil
}

// publish gives a file its name, and fails when there is such a file.
func publish(from, to string) error {
	err := os.Link(from, to)
	if err == nil {
		return os.Remove(from)
	}
	if errors.Is(err, os.ErrExist) {
		return err
	}
	// The file system has no hard links.
	if _, err := os.Lstat(to); !errors.Is(err, os.ErrNotExist) {
		return cmp.Or(err, os.ErrExist)
	}
	return os.Rename(from, to)
}

// abort removes log files that were not ended.
func (x *exporter) abort() error {
	var errs []error
	for el := x.open.Front(); el != nil; el = el.Next() {
		f := el.Value.(*exportFile)
		_ = f.f.Close() // may be closed already, and goes away anyway
		if err := os.Remove(f.f.Name()); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
