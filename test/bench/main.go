// Command bench measures how fast Spoor reads and hunts and how much memory it takes, against what there is to compare
// with: the decompression of the same files, DuckDB, and zcat with jq; how fast a store is filled and asked; what a
// running service takes in and how soon it answers, to AWS's clients too; how fast trails are delivered and validated, and what
// recording costs. It prints a page in Markdown, which docs/benchmarks.md keeps.
//
//	go run ./test/bench -spoor bin/spoor            everything, somewhat over an hour
//	go run ./test/bench -spoor bin/spoor -quick     small sizes, to see that it works; its figures mean nothing
//	go run ./test/bench -sections speed,rules       parts of it
//
// All contenders run on two cores over the same files, in turns, several times; a ratio is one of medians. The data
// come from internal/sample and are kept in a folder for the next time, unless -clean is given.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// cores is how many cores every contender gets.
const cores = 2

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// section is a part of the page.
type section struct {
	name string // a part that begins with another one's name and a dash belongs to it
	run  func(*bench, context.Context) error
}

// is reports whether a name means the section.
func (s section) is(name string) bool { return s.name == name || strings.HasPrefix(s.name, name+"-") }

// sections in the order in which they run and are printed.
var sections = [...]section{
	{"speed", (*bench).speed},
	{"rules", (*bench).rules},
	{"memory", (*bench).memory},
	{"tiny", (*bench).tiny},
	{"store", (*bench).store},
	{"serve", (*bench).serve},
	{"aws", (*bench).aws},
	{"trails-validate", (*bench).validation},
	{"trails-deliver", (*bench).delivery},
	{"trails-record", (*bench).recorder},
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 1 {
		switch args[0] {
		case measureWord:
			return measureMain(args[1:], stdout, stderr)
		case storeWord:
			return storeMain(args[1:], os.Stdin, stdout, stderr)
		case deliverWord:
			return deliverMain(args[1:], stderr)
		}
	}
	b := &bench{log: stderr}
	fl := flag.NewFlagSet("bench", flag.ContinueOnError)
	fl.SetOutput(stderr)
	quick := fl.Bool("quick", false, "small sizes, to see that everything runs")
	only := fl.String("sections", "", "comma-separated `parts` to run: speed, rules, memory, tiny, store, serve, aws, trails, or of the last trails-validate, trails-deliver, trails-record (default all)")
	fl.StringVar(&b.awsParts, "aws", "", "comma-separated `parts` of the section aws: LookupEvents, Lake, GetCallerIdentity, PutAuditEvents (default all)")
	out := fl.String("out", "", "write the page to this `file` too")
	clean := fl.Bool("clean", false, "remove the data at the end")
	fl.StringVar(&b.spoor, "spoor", "", "the `binary` to measure (default: one built for it)")
	fl.StringVar(&b.dir, "dir", filepath.Join(os.TempDir(), "spoor-bench"), "`folder` for the data, kept from run to run")
	fl.StringVar(&b.sigma, "sigma", "", "`folder` of further Sigma rules (default: rules/sigma/rules of a folder named shared beside the repository)")
	fl.IntVar(&b.runs, "runs", 3, "how often each contender runs")
	fl.IntVar(&b.events, "events", 1_000_000, "events of the main data set")
	fl.IntVar(&b.many, "many", 10_000_000, "events of the large data set")
	fl.Int64Var(&b.huge, "huge", 5_000_000_000, "bytes of JSON in the one huge file")
	fl.IntVar(&b.files, "files", 100_000, "about so many tiny files")
	fl.IntVar(&b.stored, "stored", 2_000_000, "events of the store that is asked")
	fl.IntVar(&b.day, "day", 1_000_000, "events of the day that is compacted")
	fl.DurationVar(&b.pushed, "pushed", 20*time.Second, "how long the service takes events in as fast as it can")
	fl.DurationVar(&b.steadily, "steadily", 10*time.Minute, "how long it takes them in at a steady rate")
	fl.IntVar(&b.unflushed, "unflushed", 1_000_000, "events that are not flushed when it is killed")
	fl.IntVar(&b.validated, "validated", 10_000, "log files that are validated")
	fl.IntVar(&b.delivered, "delivered", 1_000_000, "events that trails deliver")
	fl.IntVar(&b.small, "small", 2000, "small requests of each kind that are recorded")
	fl.Int64Var(&b.large, "large", 1_000_000_000, "bytes of a large object that is recorded")
	fl.DurationVar(&b.timeout, "timeout", 0, "give up on a contender after so long (default never)")
	if err := fl.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if *quick {
		set := map[string]bool{}
		fl.Visit(func(f *flag.Flag) { set[f.Name] = true })
		for name, small := range map[string]func(){
			"events": func() { b.events = 30_000 }, "many": func() { b.many = 100_000 }, "huge": func() { b.huge = 60_000_000 },
			"files": func() { b.files = 2_000 }, "stored": func() { b.stored = 50_000 }, "day": func() { b.day = 30_000 }, "runs": func() { b.runs = 1 },
			"validated": func() { b.validated = 300 }, "delivered": func() { b.delivered = 30_000 }, "small": func() { b.small = 100 }, "large": func() { b.large = 50_000_000 },
			"pushed": func() { b.pushed = 2 * time.Second }, "steadily": func() { b.steadily = 20 * time.Second }, "unflushed": func() { b.unflushed = 20_000 },
		} {
			if !set[name] {
				small()
			}
		}
	}
	if fl.NArg() > 0 || b.runs < 1 || b.events < 1000 || b.many < 1000 || b.huge < 1<<20 || b.files < 100 || b.stored < 1000 || b.day < 1000 || b.unflushed < 1000 || b.validated < 100 || b.delivered < 1000 || b.small < 100 || b.large < 1<<20 || b.pushed < time.Second || b.steadily < 10*time.Second {
		fmt.Fprintln(stderr, "bench: no arguments beside flags; -runs at least 1, -events, -many, -stored, -day, -unflushed and -delivered 1000, -huge and -large 1 MiB, -files, -validated and -small 100, -pushed 1s, -steadily 10s")
		return 2
	}
	wanted := strings.FieldsFunc(*only, func(r rune) bool { return r == ',' })
	for _, w := range wanted {
		if !slices.ContainsFunc(sections[:], func(s section) bool { return s.is(w) }) {
			fmt.Fprintf(stderr, "bench: no section %q\n", w)
			return 2
		}
	}
	page := stdout
	if *out != "" {
		file, err := os.Create(*out)
		if err != nil {
			fmt.Fprintf(stderr, "bench: %v\n", err)
			return 1
		}
		defer file.Close()
		page = io.MultiWriter(stdout, file)
	}
	b.page = page
	runtime.GOMAXPROCS(cores)
	err := b.all(ctx, wanted)
	if *clean {
		err = errors.Join(err, os.RemoveAll(b.dir))
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 1
	}
	return 0
}

type bench struct {
	awsParts          string
	spoor, dir, sigma string
	runs              int
	events, many      int
	stored, day       int
	huge              int64
	files, unflushed  int
	validated, small  int
	delivered         int
	large             int64
	pushed, steadily  time.Duration
	timeout           time.Duration
	page, log         io.Writer
}

func (b *bench) all(ctx context.Context, wanted []string) error {
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return fmt.Errorf("make folder for data: %w", err)
	}
	if err := b.findSpoor(ctx); err != nil {
		return err
	}
	b.findSigma()
	b.header(ctx)
	for _, s := range sections {
		if len(wanted) > 0 && !slices.ContainsFunc(wanted, s.is) {
			continue
		}
		if err := s.run(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// findSpoor makes the binary's path absolute, or builds one.
func (b *bench) findSpoor(ctx context.Context) error {
	if b.spoor != "" {
		path, err := exec.LookPath(b.spoor)
		if err != nil {
			return fmt.Errorf("find spoor: %w", err)
		}
		if b.spoor, err = filepath.Abs(path); err != nil {
			return fmt.Errorf("find spoor: %w", err)
		}
		return nil
	}
	b.spoor = filepath.Join(b.dir, "spoor")
	b.say("building spoor")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", b.spoor, "spoor/cmd/spoor")
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build spoor: %w: %s", err, text)
	}
	return nil
}

// findSigma looks for the folder of Sigma rules upwards from the working folder.
func (b *bench) findSigma() {
	if b.sigma != "" {
		return
	}
	at, err := os.Getwd()
	if err != nil {
		return
	}
	for {
		dir := filepath.Join(at, "shared", "rules", "sigma", "rules")
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			b.sigma = dir
			return
		}
		up := filepath.Dir(at)
		if up == at {
			return
		}
		at = up
	}
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(b.log, "bench: "+format+"\n", args...) }
