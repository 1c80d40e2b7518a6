package validatetest

import (
	"testing"

	"spoor/internal/blob"
	"spoor/internal/trail/digest"
)

func TestMake(t *testing.T) {
	t.Parallel()
	var _ blob.Storage = NewMemory()
	m := NewMemory()
	made, err := Make(Options{Logs: 7, PerHour: 3, Records: 1, Prefix: "p"}, m.Add)
	if err != nil {
		t.Fatal(err)
	}
	keys := m.Keys("trail-bucket")
	if len(made.Digests) != 3 || len(keys) != 10 {
		t.Fatalf("%d digests, %d objects", len(made.Digests), len(keys))
	}
	key, err := made.Public.Verifier()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range made.Digests {
		got := digest.Verify(d.Text, d.Metadata, digest.Location{Bucket: "trail-bucket", Object: d.Key}, func(string) (*digest.Verifier, error) { return key, nil })
		if got.Verdict != digest.Valid {
			t.Errorf("%s: %s %s", d.Key, got.Verdict, got.Reason)
		}
		for _, f := range d.Files {
			if _, _, ok := m.Object(f.Bucket, f.Object); !ok {
				t.Errorf("%s is not there", f.Object)
			}
		}
	}
}
