package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"

	"github.com/ergochat/readline"

	"spoor/internal/safetext"
	"spoor/internal/store/duckdb"
)

const shellHelp = `Type SQL, over as many lines as you like, and end it with ; (Ctrl-C gives up a query, Ctrl-D leaves).

  .tables              what can be asked
  .schema [TABLE]      its columns
  .ready [NAME [name=value …]]   ready queries, or the answer of one
  .show NAME           the SQL of a ready query
  .format FORMAT       table, csv, json, jsonl
  .help                this
  .quit                leave
`

// lineReader reads lines from somebody who types.
type lineReader interface {
	ReadLine() (string, error)
	SetPrompt(prompt string)
	SaveToHistory(line string) error
}

// answerer answers a question and writes the result.
type answerer func(ctx context.Context, f *queryFlags, q *question) error

// engineShell is the shell over an engine of this process.
func (e *env) engineShell(ctx context.Context, f *queryFlags, engine *duckdb.Engine) error {
	return e.shell(ctx, f, engine.ColumnNames, func(ctx context.Context, f *queryFlags, q *question) error { return e.answer(ctx, f, engine, q) })
}

// shell lets somebody ask one query after the other.
func (e *env) shell(ctx context.Context, f *queryFlags, names func(ctx context.Context, table string) ([]string, error), answer answerer) error {
	// Ctrl-C ends a query here, not the program, whose context would end with it.
	ctx, stop := signal.NotifyContext(context.WithoutCancel(ctx), syscall.SIGTERM)
	defer stop()
	columns, err := shellColumns(ctx, names)
	if err != nil {
		return err
	}
	rl, err := readline.NewFromConfig(&readline.Config{
		HistoryFile: historyFile(), HistoryLimit: 2000, DisableAutoSaveHistory: true,
		AutoComplete: completer(columns), Undo: true, Stdin: e.stdin, Stdout: e.stdout, Stderr: e.stderr,
	})
	if err != nil {
		return fmt.Errorf("open the shell: %w", err)
	}
	defer rl.Close() //nolint:errcheck // it only restores the terminal
	fmt.Fprintln(e.stdout, "Tables: events, cloudtrail_logs, event_data_store. End SQL with ; — .help tells more, .quit leaves.")
	s := &shell{e: e, f: *f, answer: answer, lines: rl, interrupts: true}
	if f.format == "parquet" {
		s.f.format = "table"
	}
	return s.run(ctx)
}

// historyFile is where what was asked is remembered, "" when there is no place for it. Only its owner may read it.
func historyFile() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	dir = filepath.Join(dir, "spoor")
	if os.MkdirAll(dir, 0o700) != nil {
		return ""
	}
	path := filepath.Join(dir, "query-history")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil || file.Close() != nil {
		return ""
	}
	return path
}

type shell struct {
	e          *env
	f          queryFlags
	answer     answerer
	lines      lineReader
	interrupts bool // Ctrl-C ends the query that runs
}

// run reads and answers until the end of what is typed. Errors of queries are shown and end nothing.
func (s *shell) run(ctx context.Context) error {
	var pending strings.Builder
	for ctx.Err() == nil {
		prompt := "spoor> "
		if pending.Len() > 0 {
			prompt = "   ..> "
		}
		s.lines.SetPrompt(prompt)
		line, err := s.lines.ReadLine()
		switch {
		case errors.Is(err, readline.ErrInterrupt):
			pending.Reset()
			continue
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read from the terminal: %w", err)
		}
		if pending.Len() == 0 {
			word := strings.TrimSpace(line)
			if word == "" {
				continue
			}
			if strings.HasPrefix(word, ".") {
				_ = s.lines.SaveToHistory(word) // a history that cannot be written is no reason to stop
				quit, err := s.command(ctx, strings.Fields(word))
				if quit {
					return nil
				}
				s.tell(err)
				continue
			}
		}
		pending.WriteString(line)
		pending.WriteByte('\n')
		if !duckdb.Ended(pending.String()) {
			continue
		}
		sql := strings.TrimSpace(pending.String())
		pending.Reset()
		_ = s.lines.SaveToHistory(duckdb.OneLine(sql)) // as above
		s.tell(s.ask(ctx, &question{sql: sql}))
	}
	return nil
}

func (s *shell) tell(err error) {
	if err != nil {
		fmt.Fprintf(s.e.stderr, "%s\n", safetext.Lines(err.Error()))
	}
}

func (s *shell) ask(ctx context.Context, q *question) error {
	if s.interrupts {
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, os.Interrupt)
		defer stop()
	}
	f := s.f
	f.out = ""
	return s.answer(ctx, &f, q)
}

// command runs what starts with a dot.
func (s *shell) command(ctx context.Context, words []string) (quit bool, err error) {
	out := s.e.stdout
	switch words[0] {
	case ".quit", ".exit", ".q":
		return true, nil
	case ".help", ".h":
		_, err := io.WriteString(out, shellHelp)
		return false, err
	case ".tables":
		return false, s.ask(ctx, &question{sql: "SHOW TABLES"})
	case ".schema":
		name := "events"
		if len(words) > 1 {
			name = words[1]
		}
		return false, s.ask(ctx, &question{sql: "SELECT column_name, column_type FROM (DESCRIBE " + name + ")"})
	case ".format":
		if len(words) != 2 || !slices.Contains(duckdb.Formats[:], words[1]) {
			return false, fmt.Errorf("want .format and one of %s", strings.Join(duckdb.Formats[:], ", "))
		}
		s.f.format = words[1]
		return false, nil
	case ".ready", ".show":
		if len(words) == 1 {
			return false, listReady(out)
		}
		r, ok := duckdb.FindReady(words[1])
		if !ok {
			return false, fmt.Errorf("there is no ready query %s; .ready lists them", words[1])
		}
		if words[0] == ".show" {
			_, err := fmt.Fprintln(out, r.SQL)
			return false, err
		}
		given := map[string]string{}
		for _, w := range words[2:] {
			name, value, ok := strings.Cut(w, "=")
			if !ok {
				return false, fmt.Errorf("want name=value, not %s", w)
			}
			given[name] = value
		}
		q := &question{sql: r.SQL}
		if q.params, err = r.Bind(given); err != nil {
			return false, errors.New(strings.ReplaceAll(err.Error(), "--param ", ""))
		}
		return false, s.ask(ctx, q)
	}
	return false, fmt.Errorf("there is no %s; .help tells what there is", words[0])
}

// shellColumns are the words that completion offers: tables, their columns, members of structs, keywords, functions.
func shellColumns(ctx context.Context, columns func(ctx context.Context, table string) ([]string, error)) ([]string, error) {
	words := map[string]bool{}
	for _, w := range []string{"SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "LIMIT", "HAVING", "DISTINCT", "BETWEEN", "INTERVAL", "DESCRIBE", "EXPLAIN", "UNNEST", "CROSS JOIN",
		"count(*)", "count_if(", "json_extract_scalar(", "date_trunc(", "from_iso8601_timestamp(", "regexp_like(", "ip_in(", "array_agg(", "max_by(", "min_by(",
		".help", ".tables", ".schema", ".ready", ".show", ".format", ".quit"} {
		words[w] = true
	}
	for _, r := range duckdb.ReadyQueries() {
		words[r.Name] = true
	}
	for _, table := range duckdb.Tables() {
		words[table] = true
		names, err := columns(ctx, table)
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			words[n] = true
		}
	}
	out := make([]string, 0, len(words))
	for w := range words {
		out = append(out, w)
	}
	sort.Slice(out, func(i, j int) bool {
		a, b := strings.ToLower(out[i]), strings.ToLower(out[j])
		return a < b || a == b && out[i] < out[j]
	})
	return out, nil
}

// completer completes the word before the cursor, whatever its case.
type completer []string

// Do implements [readline.AutoCompleter].
func (c completer) Do(line []rune, pos int) (rest [][]rune, length int) {
	start := pos
	for start > 0 {
		r := line[start-1]
		if r != '.' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '-' {
			break
		}
		start--
	}
	word := strings.ToLower(string(line[start:pos]))
	if word == "" {
		return nil, 0
	}
	for _, w := range c {
		if len(w) >= len(word) && strings.EqualFold(w[:len(word)], word) {
			rest = append(rest, []rune(w[len(word):]))
		}
	}
	return rest, len([]rune(word))
}
