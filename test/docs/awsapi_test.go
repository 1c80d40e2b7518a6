package docs_test

import (
	"testing"

	"spoor/internal/awsapi/services"
)

// TestAPICoverage keeps docs/api-coverage.md equal to the models and to what is served of them.
func TestAPICoverage(t *testing.T) {
	t.Parallel()
	generated(t, "docs/api-coverage.md", services.Coverage())
}
