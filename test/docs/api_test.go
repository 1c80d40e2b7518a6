package docs_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestRoutes keeps the table of docs/api/README.md equal to the description of the HTTP API.
func TestRoutes(t *testing.T) {
	t.Parallel()
	var doc struct {
		Paths map[string]map[string]struct {
			Summary string
			XAction string `json:"x-action"`
		}
	}
	if err := json.Unmarshal([]byte(readPage(t, "docs/api/openapi.json")), &doc); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| route | action | what |\n|---|---|---|\n")
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(doc.Paths[path])) {
			op := doc.Paths[path][method]
			action := ""
			if op.XAction != "" {
				action = "`" + op.XAction + "`"
			}
			fmt.Fprintf(&b, "| `%s %s` | %s | %s |\n", strings.ToUpper(method), path, action, op.Summary)
		}
	}
	generatedPart(t, "docs/api/README.md", "routes", b.String())
}
