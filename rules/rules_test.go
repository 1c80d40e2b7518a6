package rules_test

import (
	"testing"

	"spoor/internal/detect"
	"spoor/rules"
)

// TestPack runs the cases beside every rule of the pack.
func TestPack(t *testing.T) {
	t.Parallel()
	results, err := detect.RunTests(t.Context(), rules.FS, detect.Options{})
	if err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, r := range results {
		if r.OK {
			passed++
			continue
		}
		t.Error(r)
	}
	t.Logf("%d cases passed", passed)
	if passed == 0 {
		t.Error("no case ran")
	}
}
