package docs_test

import (
	"fmt"
	"strings"
	"testing"

	"spoor/internal/app"
)

// TestMetrics keeps the table of docs/metrics.md equal to the figures that a server gives.
func TestMetrics(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("| figure | kind | labels | what it is |\n|---|---|---|---|\n")
	for _, f := range app.Metrics() {
		var labels []string
		for _, l := range f.Labels {
			labels = append(labels, "`"+l+"`")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, f.Kind, strings.Join(labels, ", "), cell(f.Help))
	}
	generatedPart(t, "docs/metrics.md", "figures", b.String())
}
