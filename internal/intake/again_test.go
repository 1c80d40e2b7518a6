package intake

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spoor/internal/event"
)

func TestRereader(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "log.json")
	if err := os.WriteFile(file, []byte("one two three"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := NewRereader(event.Limits{})
	read := func(ctx context.Context, file string, fail error) (string, error) {
		var got []string
		err := r.Read(ctx, file, []event.Stretch{{Offset: 0, Length: 3}, {Offset: 8, Length: 5}, {Offset: 50, Length: 1}}, func(_ int, text []byte) error {
			got = append(got, string(text))
			return fail
		})
		return strings.Join(got, ","), err
	}
	stop := errors.New("stop")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 { // the second time with a decoder that was used
		for _, c := range []struct {
			name string
			ctx  context.Context
			file string
			fail error
			want string
			err  error
		}{
			{"there", t.Context(), file, nil, "one,three", nil},
			{"gone", t.Context(), file + "x", nil, "", nil},
			{"a folder", t.Context(), filepath.Dir(file), nil, "", nil},
			{"stopped", t.Context(), file, stop, "one", stop},
			{"cancelled", gone, file, nil, "", context.Canceled},
		} {
			if got, err := read(c.ctx, c.file, c.fail); got != c.want || !errors.Is(err, c.err) {
				t.Errorf("%s: %q, %v, want %q, %v", c.name, got, err, c.want, c.err)
			}
		}
	}
}
