package report_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"spoor/internal/report"
	"spoor/internal/trail/validate"
)

// everyVerdict has one verdict of each code, some with texts of somebody who means no good.
func everyVerdict() *report.Validation {
	v := &report.Validation{Version: "1.0", Started: time.Date(2026, 1, 10, 0, 0, 0, 0, time.UTC), Elapsed: time.Second, Targets: []string{"s3://b"}, LeftOut: 3,
		Summary: &validate.Summary{Problem: true, Gaps: true, Codes: map[validate.Code]int64{}, Chains: []validate.Chain{{Account: "111122223333", Region: "us-east-1", Trail: "audit"}}}}
	for i, m := range validate.Codes() {
		f := validate.Finding{Code: m.Code, Level: m.Level, Account: "111122223333", Region: "us-east-1", Trail: "audit", Reason: "because {of} [this]"}
		if i%3 != 0 {
			f.Bucket, f.Key = "b", "key\x1b[31m\u202e<&>/"+string(m.Code)
		}
		if i%2 == 0 {
			f.Start, f.End = v.Started, v.Started.Add(time.Hour)
		}
		v.Findings = append(v.Findings, f)
		v.Summary.Codes[m.Code]++
	}
	return v
}

func renderValidation(t *testing.T, format string, v *report.Validation, o report.Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := report.WriteValidation(&b, format, v, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestValidationFormats(t *testing.T) {
	t.Parallel()
	schema := sarifSchema(t)
	for name, v := range map[string]*report.Validation{"every": everyVerdict(), "none": {Summary: &validate.Summary{}}} {
		for _, format := range report.ValidationFormats {
			out := renderValidation(t, format, v, report.Options{ExitCode: 1, Limit: -1})
			for _, bad := range []string{"\x1b", "\u202e"} {
				if bytes.Contains(out, []byte(bad)) {
					t.Errorf("%s %s has %q", name, format, bad)
				}
			}
			for _, f := range v.Findings {
				if !bytes.Contains(out, []byte(f.Code)) {
					t.Errorf("%s %s does not name %s", name, format, f.Code)
				}
			}
			switch format {
			case "sarif":
				doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(out))
				if err != nil {
					t.Fatal(err)
				}
				if err := schema.Validate(doc); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			case "junit":
				dec := xml.NewDecoder(bytes.NewReader(out))
				for {
					if _, err := dec.Token(); errors.Is(err, io.EOF) {
						break
					} else if err != nil {
						t.Fatalf("%s: %v", name, err)
					}
				}
			}
		}
	}
	if err := report.WriteValidation(io.Discard, "xml", everyVerdict(), report.Options{}); err == nil {
		t.Error("an unknown format is taken")
	}
}

// The outcome comes first, and the same reason is told once.
func TestValidationTable(t *testing.T) {
	t.Parallel()
	v := everyVerdict()
	out := string(renderValidation(t, "table", v, report.Options{}))
	for i, want := range []string{"Spoor 1.0", "", "INVALID: "} {
		if line := strings.Split(out, "\n")[i]; !strings.HasPrefix(line, want) {
			t.Errorf("line %d is %q", i, line)
		}
	}
	v.Findings = nil
	for range 40 {
		v.Findings = append(v.Findings, validate.Finding{Code: validate.LogMissing, Level: validate.Invalid, Bucket: "b", Key: "k", Reason: "it is not there"})
	}
	out = string(renderValidation(t, "table", v, report.Options{}))
	if strings.Count(out, "it is not there") != 1 || strings.Count(out, "log-missing") != 25 || !strings.Contains(out, "and 15 more; --limit -1 shows all") {
		t.Errorf("%s", out)
	}
	for want, s := range map[string]validate.Summary{
		"VALID: 2 digests and 1 log file are as they were delivered": {Digests: validate.Counts{Valid: 2}, Logs: validate.Counts{Valid: 1}},
		"NOT PROVED: nothing that was checked is wrong":              {Gaps: true},
		"INVALID: 1 digest, 2 log files, 1 other problem":            {Problem: true, Gaps: true, Digests: validate.Counts{Invalid: 1}, Logs: validate.Counts{Invalid: 2}, Codes: map[validate.Code]int64{validate.ChainHash: 1}},
	} {
		if out := string(renderValidation(t, "table", &report.Validation{Summary: &s}, report.Options{})); !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}
