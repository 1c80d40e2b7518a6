package report_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"

	"spoor/internal/detect"
	"spoor/internal/event"
	"spoor/internal/hunt"
	"spoor/internal/report"
)

// allowed are the elements of the page with their attributes. Anything else came from a log.
var allowed = map[string]string{
	"html": "lang", "head": "", "body": "", "meta": "charset http-equiv content name", "title": "", "style": "", "script": "",
	"header": "class", "nav": "", "main": "class id", "section": "class id", "footer": "", "div": "class id hidden role aria-label",
	"h1": "", "h2": "", "h3": "", "h4": "", "p": "class id hidden", "ul": "class", "ol": "class", "li": "class title", "dl": "", "dt": "", "dd": "",
	"span": "class id", "b": "", "i": "", "small": "", "code": "", "pre": "", "mark": "", "a": "class href rel target", "button": "type id hidden class data-level aria-pressed",
	"select": "id aria-label", "option": "value", "input": "id type placeholder aria-label", "details": "class id data-level data-actor", "summary": "",
	"table": "class", "thead": "", "tbody": "", "tr": "class title", "th": "class", "td": "class colspan title",
	"svg": "class viewBox width height aria-hidden aria-label role preserveAspectRatio", "path": "d", "g": "class", "rect": "class x y width height rx",
	"line": "class x1 x2 y1 y2", "text": "class x y dx dy text-anchor",
}

// elements calls fn for every element of the page.
func elements(t *testing.T, page []byte, fn func(*html.Node)) *html.Node {
	t.Helper()
	doc, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		switch n.Type {
		case html.ElementNode:
			fn(n)
		case html.CommentNode:
			t.Errorf("a comment: %.80q", n.Data)
		}
	}
	return doc
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func content(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

// count counts the elements of a page by name and the names of their attributes.
func count(t *testing.T, page []byte) map[string]int {
	t.Helper()
	out := map[string]int{}
	elements(t, page, func(n *html.Node) { out[n.Data]++ })
	return out
}

// Whatever stands in a log, the page has the elements and attributes of the template only, its addresses are its own or
// those of the web, and one style and one script that the policy names by their hash.
func TestHTMLTakesNoMarkupFromLogs(t *testing.T) {
	t.Parallel()
	for name, res := range map[string]*hunt.Result{"incident": incident(t), "poisoned": poisoned(t), "quiet": quiet(), "empty": {}} {
		page := render(t, "html", res, report.Options{})
		ids := map[string]bool{}
		var policy, style, script string
		elements(t, page, func(n *html.Node) {
			attributes, ok := allowed[n.Data]
			if !ok {
				t.Errorf("%s: unexpected element <%s>", name, n.Data)
			}
			for _, a := range n.Attr {
				if !slices.Contains(strings.Fields(attributes), a.Key) {
					t.Errorf("%s: unexpected attribute %s=%.60q of <%s>", name, a.Key, a.Val, n.Data)
				}
				if strings.HasPrefix(strings.ToLower(a.Key), "on") || a.Key == "style" || a.Key == "src" {
					t.Errorf("%s: attribute %s of <%s>", name, a.Key, n.Data)
				}
				switch a.Key {
				case "href":
					u, err := url.Parse(a.Val)
					if err != nil || !(strings.HasPrefix(a.Val, "#") || u.Scheme == "https" || u.Scheme == "http") {
						t.Errorf("%s: href %.80q", name, a.Val)
					}
				case "id":
					if ids[a.Val] {
						t.Errorf("%s: id %q twice", name, a.Val)
					}
					ids[a.Val] = true
					if strings.ContainsFunc(a.Val, func(r rune) bool { return !unicode.IsLower(r) && !unicode.IsDigit(r) }) {
						t.Errorf("%s: id %q", name, a.Val)
					}
				case "class":
					if strings.ContainsFunc(a.Val, func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789- ", r) }) {
						t.Errorf("%s: class %q", name, a.Val)
					}
				}
			}
			switch {
			case n.Data == "meta" && attr(n, "http-equiv") == "Content-Security-Policy":
				policy = attr(n, "content")
			case n.Data == "meta" && attr(n, "http-equiv") != "":
				t.Errorf("%s: meta %v", name, n.Attr)
			case n.Data == "style":
				style += content(n)
			case n.Data == "script":
				script += content(n)
			}
		})
		hash := func(s string) string {
			sum := sha256.Sum256([]byte(s))
			return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
		}
		if want := "default-src 'none'; style-src " + hash(style) + "; script-src " + hash(script) + "; base-uri 'none'; form-action 'none'"; policy != want {
			t.Errorf("%s: the policy is\n%s, want\n%s", name, policy, want)
		}
		for tag, want := range map[string]int{"style": 1, "script": 1, "title": 1, "meta": 5} {
			got := count(t, page)[tag]
			if tag == "title" {
				got -= strings.Count(string(page), "</title></rect>") // the tooltips of the drawing
			}
			if got != want {
				t.Errorf("%s: %d <%s>, want %d", name, got, tag, want)
			}
		}
		for _, asset := range []string{style, script} {
			if strings.Contains(asset, "url(") || strings.Contains(asset, "@import") || strings.Contains(asset, "http") || strings.Contains(asset, "innerHTML") || strings.Contains(asset, "eval(") {
				t.Errorf("%s: the style or script loads or builds something", name)
			}
		}
	}
}

// Hostile text is shown, so that a reader sees it, and escaped, so that it does nothing.
func TestHTMLShowsHostileText(t *testing.T) {
	t.Parallel()
	page := render(t, "html", poisoned(t), report.Options{})
	if !utf8.Valid(page) {
		t.Fatal("the page is not valid UTF-8")
	}
	for _, r := range string(page) {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			t.Fatalf("the page holds %U", r)
		}
	}
	if strings.Contains(string(page), "ZgotmplZ") {
		t.Error("a value stands where the template does not allow it")
	}
	doc, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	text := content(doc)
	for _, want := range []string{`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `</script><script>alert(2)</script>`, `javascript:alert(4)`, `{{.Secret}}{{template "x"}}`,
		`\x1b[2J\x1b[31mred`, `moc.live\u202egro.doog`, `ad\u200bmin\ufeff`, `\xff\xfe invalid`} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not shown", want)
		}
	}
}

// The structure of a page depends on how much there is to show, never on what the texts say.
func TestHTMLStructureIsIndependentOfText(t *testing.T) {
	t.Parallel()
	shape := func(text string) map[string]int {
		res := incident(t)
		for i := range res.Findings {
			f := &res.Findings[i]
			f.Actor.ID, f.Actor.Name, f.Account, f.Rule.Title = text, text, text, text
			f.Rule.References = []string{text}
			f.Names, f.Addresses = tally(text, 1), tally(text, 2)
			for j := range f.Events {
				e := &f.Events[j]
				e.Source, e.Name, e.Error, e.Target, e.File, e.Address = text, text, text, text, text, text
				e.Matched, e.Raw = []detect.FieldMatch{{Path: text, Value: text}}, record(t, text, e.Time, text, text, text, text, map[string]any{"x": text})
			}
		}
		res.Stats.Names = []hunt.Seen{seen(0, text, 1, 1)}
		res.Stats.Actors = []hunt.ActorSeen{{Actor: event.Actor{ID: text, Name: text}, Seen: seen(0, text, 1, 1)}}
		return count(t, render(t, "html", res, report.Options{}))
	}
	want := shape("harmless")
	for _, h := range hostile {
		h = h[:min(len(h), 1000)] // records that are too long are cut, which is tested elsewhere
		if got := shape(h); !maps.Equal(got, want) {
			t.Errorf("%.60q changes the page: %v, want %v", h, got, want)
		}
	}
}

// A page stays small enough to be mailed and opened, whatever there is to show.
func TestHTMLIsBounded(t *testing.T) {
	t.Parallel()
	res := incident(t)
	big := res.Findings[0]
	big.Rule.Description = strings.Repeat("long text ", 100000)
	big.Rule.Check = slices.Repeat([]string{strings.Repeat("check ", 10000)}, 1000)
	big.Events = slices.Repeat(big.Events, 100)
	for i := range big.Events {
		big.Events[i].Raw = []byte(`{"a":"` + strings.Repeat("A", 200_000) + `"}`)
	}
	res.Findings = slices.Repeat([]detect.Finding{big}, 3000)
	for i := range res.Findings {
		res.Findings[i].ID = fmt.Sprintf("%016x", i)
	}
	res.Stats.Addresses = slices.Repeat(res.Stats.Addresses, 10000)
	res.Stats.Hours = nil
	for h := range 20 * 366 * 24 {
		res.Stats.Hours = append(res.Stats.Hours, hunt.HourCount{Hour: start.Truncate(time.Hour).Add(time.Duration(h-100000) * time.Hour), Count: 3})
	}
	res.Ledger.Failures = slices.Repeat(res.Ledger.Failures, 500)
	page := render(t, "html", res, report.Options{})
	if len(page) > 12<<20 {
		t.Errorf("the page has %d bytes", len(page))
	}
	n := count(t, page)
	if n["rect"] > 3000 || n["tr"] > 10000 {
		t.Errorf("the page has %d rectangles and %d rows", n["rect"], n["tr"])
	}
	if !bytes.Contains(page, []byte("2,500 more findings are not on this page")) || !bytes.Contains(page, []byte("left out to keep this page small")) {
		t.Error("the page does not say that something is left out")
	}
}

// Odd times must not break the drawing.
func TestHTMLChartTakesAnyTime(t *testing.T) {
	t.Parallel()
	res := incident(t)
	res.Findings[0].First = time.Time{}
	res.Findings[1].First, res.Findings[1].Last = time.Unix(0, 0), time.Date(2260, 1, 1, 0, 0, 0, 0, time.UTC)
	res.Findings[2].First, res.Findings[2].Last = start, start.Add(-time.Hour)
	res.Stats.Hours = append(res.Stats.Hours, hunt.HourCount{Count: 9}, hunt.HourCount{Hour: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), Count: 1 << 62, Failed: -5})
	elements(t, render(t, "html", res, report.Options{}), func(n *html.Node) {
		for _, a := range n.Attr {
			if strings.Contains(a.Val, "NaN") || strings.Contains(a.Val, "Inf") || n.Data == "rect" && (a.Key == "width" || a.Key == "height") && strings.HasPrefix(a.Val, "-") {
				t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
			}
		}
	})
	for name, length := range map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour, "month": 31 * 24 * time.Hour, "years": 12 * 366 * 24 * time.Hour, "centuries": 250 * 366 * 24 * time.Hour} {
		res := quiet()
		res.Last = res.First.Add(length)
		ticks, bars := 0, 0
		elements(t, render(t, "html", res, report.Options{}), func(n *html.Node) {
			switch attr(n, "class") {
			case "grid":
				ticks++
			case "all":
				bars++
			}
		})
		if ticks > 10 || ticks < 1 && length > time.Minute || bars > 0 {
			t.Errorf("%s: %d ticks, %d bars", name, ticks, bars)
		}
	}
	one := quiet()
	one.First, one.Last = start, start
	if !bytes.Contains(render(t, "html", one, report.Options{}), []byte("<svg class=\"chart\"")) {
		t.Error("one moment is not drawn")
	}
}
