package validate_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"spoor/internal/trail/validate"
)

// The page explains every code as the program does.
func TestCodesAreExplained(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/validate.md")
	must(t, err)
	var want strings.Builder
	for _, m := range validate.Codes() {
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", m.Code, m.Level, m.Text)
	}
	if !strings.Contains(string(page), "|---|---|---|\n"+want.String()+"\n") {
		t.Errorf("docs/validate.md does not have this table:\n%s", want.String())
	}
}
