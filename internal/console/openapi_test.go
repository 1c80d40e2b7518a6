package console

import (
	"bytes"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write docs/api/openapi.json anew")

// TestOpenAPI keeps docs/api/openapi.json as it is generated.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	want, err := s.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	const file = "../../docs/api/openapi.json"
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the routes make: go test ./internal/console -run TestOpenAPI -update", file)
	}
}
