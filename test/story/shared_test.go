package story

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// folders are the real logs with what their README counts, and what is made of the files around them. Events is the README's
// figure; mended are events that a lenient reader finds in broken files besides.
var folders = map[string]struct {
	events, mended int64
	objects        objects
	records        records
}{
	"s3-layout":          {93, 0, objects{10, 8, 2, 0}, records{Seen: 93, Kept: 93}},
	"stratus-red-team":   {142, 0, objects{21, 18, 3, 0}, records{Seen: 142, Kept: 142}},
	"traildiscover":      {157, 0, objects{159, 157, 2, 0}, records{Seen: 157, Kept: 157}},
	"aws-docs":           {90, 0, objects{2, 1, 1, 0}, records{Seen: 90, Kept: 84, Duplicate: 6}},
	"panther-rule-tests": {228, 0, objects{2, 1, 1, 0}, records{Seen: 228, Kept: 174, Duplicate: 54}},
	"console-sessions":   {3349, 0, objects{33, 16, 17, 0}, records{Seen: 3349, Kept: 3307, Duplicate: 42}}, // 16 of those skipped are labels
	"cloud-custodian":    {24, 0, objects{25, 24, 1, 0}, records{Seen: 24, Kept: 23, Duplicate: 1}},
	"wrappers":           {19, 0, objects{6, 5, 1, 0}, records{Seen: 19, Kept: 19}},
	"digest":             {0, 0, objects{5, 3, 2, 0}, records{Seen: 3, Other: 3}},
	// The broken files give four events besides: two of the export that breaks off in the third, and the first of each of two
	// log files that the guides spoilt further down.
	"odd": {4, 4, objects{18, 12, 3, 3}, records{Seen: 18, Kept: 8, Rejected: 10}},
}

// broken are the files of odd/ that are no JSON, with what is said of each: how many records were read before and behind
// what is wrong, and whether the rest of the file is given up.
var broken = map[string]struct {
	kept   int64
	failed bool
	reason string
}{
	"aws-docs-invalid-json/01-raw-newline-inside-a-JSON-string.txt":         {0, true, "control character in a string"},
	"aws-docs-invalid-json/02-lookup-events-output-with-the-CloudTrail.txt": {0, false, "control character in a string"},
	"aws-docs-invalid-json/03-literal-ellipsis-text-inside-the-Records.txt": {1, true, "expected a JSON value"},
	"aws-docs-invalid-json/04-missing-comma-between-members.txt":            {0, false, "expected ',' or '}' after a member"},
	"aws-docs-invalid-json/05-missing-comma-between-members.txt":            {0, false, "expected ',' or '}' after a member"},
	"aws-docs-invalid-json/06-backslash-escape-that-JSON-does-not-allo.txt": {0, false, "invalid escape in a string"},
	"aws-docs-invalid-json/07-trailing-comma-before-a-closing-brace.txt":    {0, false, "expected a member name in quotes"},
	"aws-docs-invalid-json/08-truncated.txt":                                {0, true, "unexpected end of JSON"},
	"aws-docs-invalid-json/09-unescaped-quote-inside-a-string.txt":          {1, false, "expected ',' or '}' after a member"},
	"datadog-export-aws.execution.ec2-user-data.json":                       {2, false, "expected ',' or ']' after an element"},
}

// TestRealLogs reads real logs, each folder for itself and all at once, and holds the ledger against their README.
func TestRealLogs(t *testing.T) {
	t.Parallel()
	data := realLogs(t)
	d := newDesk(t)
	var sum objects
	var seen records
	var events, mended int64
	for name, want := range folders {
		code := clean
		if want.objects.Failed+want.records.Rejected > 0 || want.records.Seen == want.records.Rejected {
			code = incomplete
		}
		l := d.spoor("hunt", filepath.Join(data, name), "--format", "json").exits(code).quiet().result().Ledger
		if l.Objects != want.objects || l.Records != want.records {
			t.Errorf("%s: %+v %+v, want %+v %+v", name, l.Objects, l.Records, want.objects, want.records)
		}
		if got := l.Records.Kept + l.Records.Duplicate; got != want.events+want.mended {
			t.Errorf("%s: %d events, the README counts %d and %d are mended", name, got, want.events, want.mended)
		}
		events, mended = events+want.events, mended+want.mended
		sum = objects{sum.Listed + l.Objects.Listed, sum.Read + l.Objects.Read, sum.Skipped + l.Objects.Skipped, sum.Failed + l.Objects.Failed}
		seen.Seen, seen.Rejected, seen.Other = seen.Seen+l.Records.Seen, seen.Rejected+l.Records.Rejected, seen.Other+l.Records.Other
	}
	if events != 4106 {
		t.Errorf("the table has %d events, the README 4106", events)
	}

	all := d.spoor("hunt", data, "--format", "json").exits(incomplete).quiet().result().Ledger
	sum.Listed, sum.Skipped = sum.Listed+1, sum.Skipped+1 // the README itself
	if all.Objects != sum {
		t.Errorf("all at once: %+v, one by one: %+v", all.Objects, sum)
	}
	// Some events lie in several folders, so there are more duplicates than in each.
	if want := (records{Seen: seen.Seen, Kept: 4004, Duplicate: 106, Rejected: seen.Rejected, Other: seen.Other}); all.Records != want || want.Kept+want.Duplicate != events+mended {
		t.Errorf("all at once: %+v, want %+v", all.Records, want)
	}

	var failed, rejected int
	for name, want := range broken {
		path := filepath.Join(data, "odd", filepath.FromSlash(name))
		i := slices.IndexFunc(all.Rejects, func(r struct {
			Object, Reason string
			Offset, Length int64
		}) bool {
			return r.Object == path
		})
		if i < 0 {
			t.Errorf("nothing of %s is rejected", name)
			continue
		}
		rejected++
		if r := all.Rejects[i]; !strings.Contains(r.Reason, want.reason) || r.Length == 0 {
			t.Errorf("%s: rejected %+v, want %q", name, r, want.reason)
		}
		for _, f := range all.Failures {
			if f.Object == path {
				failed++
				if !want.failed || !strings.Contains(f.Reason, "truncated") || f.RecordsKept != want.kept {
					t.Errorf("%s: failed %+v", name, f)
				}
			}
		}
		one := d.spoor("hunt", path, "--format", "json").exits(incomplete).result().Ledger
		if one.Records.Kept != want.kept || one.Records.Rejected != 1 || (one.Objects.Failed == 1) != want.failed {
			t.Errorf("%s alone: %+v %+v", name, one.Objects, one.Records)
		}
	}
	if failed != len(all.Failures) || rejected != len(all.Rejects) {
		t.Errorf("%d failures and %d rejects, %d and %d explained", len(all.Failures), len(all.Rejects), failed, rejected)
	}
	// The tenth of the guides' files is a piece of a record without braces: no log, and said so when it is named.
	fragment := d.spoor("hunt", filepath.Join(data, "odd", "aws-docs-invalid-json", "10-fragment.txt")).exits(incomplete)
	fragment.says("No event was examined.", "10-fragment.txt")
}
