package report_test

import (
	"bytes"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"

	"spoor/internal/detect"
	"spoor/internal/event"
	"spoor/internal/hunt"
	"spoor/internal/report"
)

// FuzzRecord explains and draws a finding whose record, matched field and texts are arbitrary: nothing panics, nothing
// drives the terminal, and the page has the elements of the template only.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"a":{"b":[1,{"c":"x"},[]],"":{}},"d":null}`), "a.b.1.c", "x")
	f.Add([]byte(`{"a":"\u202e\ud800"`), "", "\x1b[2J")
	f.Add([]byte("{\"k\u009b\":\"</pre><script>\"}"), "k\u009b", "</pre><script>")
	f.Fuzz(func(t *testing.T, raw []byte, path, text string) {
		actor := event.Actor{Kind: event.ActorKind(text), ID: text, Name: text}
		finding := detect.Finding{ID: text, Rule: detect.Rule{ID: text, Title: text, Description: text, References: []string{text}}, Level: detect.High, Actor: actor, Account: text, Count: 2,
			Names: []detect.Tally{{Value: text, Count: 1}}, Events: []detect.Evidence{{ID: text, Source: text, Name: text, Actor: actor, Error: text, File: text, Raw: raw,
				Matched: []detect.FieldMatch{{Path: path, Value: text}}}}}
		safe := func(name string, out []byte) {
			if !utf8.Valid(out) {
				t.Fatalf("%s is not valid UTF-8", name)
			}
			for _, r := range string(out) {
				if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
					t.Fatalf("%s holds %U", name, r)
				}
			}
		}
		var b bytes.Buffer
		if err := report.Explain(&b, &finding, report.Options{Limit: -1}); err != nil {
			t.Fatal(err)
		}
		safe("explain", b.Bytes())
		res := &hunt.Result{Inputs: []string{text}, Findings: []detect.Finding{finding}}
		for _, format := range report.Formats {
			if format == "csv" {
				continue // has carriage returns
			}
			out := render(t, format, res, report.Options{})
			safe(format, out)
			if format == "html" {
				elements(t, out, func(n *html.Node) {
					if _, ok := allowed[n.Data]; !ok {
						t.Fatalf("unexpected element <%s>", n.Data)
					}
				})
			}
		}
	})
}
