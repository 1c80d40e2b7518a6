package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"
	"time"

	"spoor/internal/detect"
	"spoor/internal/hunt"
	"spoor/internal/safetext"
)

// cells writes rows by RFC 4180, every cell made safe for spreadsheets.
type cells struct{ csv *csv.Writer }

func newCells(w io.Writer) cells {
	c := cells{csv.NewWriter(w)}
	c.csv.UseCRLF = true
	return c
}

func (c cells) row(values ...string) {
	for i, v := range values {
		values[i] = safetext.CSV(v)
	}
	_ = c.csv.Write(values) // the error stays in the writer; done returns it
}

func (c cells) done() error {
	c.csv.Flush()
	if err := c.csv.Error(); err != nil {
		return fmt.Errorf("write a row: %w", err)
	}
	return nil
}

func writeCSV(w io.Writer, res *hunt.Result, _ Options) error {
	c := newCells(w)
	c.row("finding", "level", "title", "rule", "suite", "actor", "actor_kind", "actor_id", "account", "count", "failed", "first", "last",
		"observed", "group", "calls", "regions", "addresses", "user_agents", "errors", "access_keys", "targets", "techniques", "tactics",
		"event_ids", "files")
	for i := range res.Findings {
		f := &res.Findings[i]
		var ids, files, tactics []string
		for _, e := range f.Events {
			ids = append(ids, e.ID)
			files = appendNew(files, e.File)
		}
		if len(f.EventIDs) > 0 {
			ids = f.EventIDs
		}
		for _, t := range f.Rule.Techniques {
			if t.Tactic != "" {
				tactics = appendNew(tactics, t.Tactic)
			}
		}
		c.row(f.ID, f.Level.String(), f.Rule.Title, f.Rule.ID, f.Rule.Suite, actorName(f.Actor), string(f.Actor.Kind), f.Actor.ID, f.Account,
			strconv.Itoa(f.Count), strconv.Itoa(f.Denied), rfc3339(f.First), rfc3339(f.Last), f.Observed, groupText(f.Group),
			tallies(f.Names), tallies(f.Regions), tallies(f.Addresses), tallies(f.Agents), tallies(f.Errors), tallies(f.Keys), tallies(f.Targets),
			strings.Join(techniqueIDs(&f.Rule), "; "), strings.Join(tactics, "; "), strings.Join(ids, "; "), strings.Join(files, "; "))
	}
	return c.done()
}

func rfc3339(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// tallies writes values with their counts in one cell.
func tallies(ts []detect.Tally) string {
	parts := make([]string, len(ts))
	for i, t := range ts {
		parts[i] = t.Value + " (" + strconv.Itoa(t.Count) + ")"
	}
	return strings.Join(parts, "; ")
}

func groupText(g map[string]string) string {
	keys := make([]string, 0, len(g))
	for k := range g {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for i, k := range keys {
		keys[i] = k + "=" + g[k]
	}
	return strings.Join(keys, "; ")
}

func appendNew(list []string, v string) []string {
	for _, have := range list {
		if have == v {
			return list
		}
	}
	return append(list, v)
}
