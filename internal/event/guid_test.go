package event_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"spoor/internal/event"
)

// TestParseGUID compares with a plain reading, digit by digit.
func TestParseGUID(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	good := 0
	for range 200_000 {
		id := event.AppendGUID(nil, r.Uint64(), r.Uint64())
		if r.IntN(2) == 0 {
			id[r.IntN(len(id))] = byte(r.Uint32())
		}
		var hi, lo uint64
		ok := len(id) == event.GUIDLen
		for i, c := range id {
			d := bytes.IndexByte([]byte("0123456789abcdef"), c)
			switch {
			case i == 8 || i == 13 || i == 18 || i == 23:
				ok = ok && c == '-'
			case d < 0:
				ok = false
			default:
				hi, lo = hi<<4|lo>>60, lo<<4|uint64(d)
			}
		}
		gotHi, gotLo, gotOK := event.ParseGUID(string(id))
		if gotOK != ok || ok && (gotHi != hi || gotLo != lo) {
			t.Fatalf("%q: %x %x %v", id, gotHi, gotLo, gotOK)
		}
		if !ok {
			continue
		}
		good++
		if text := event.AppendGUID(nil, hi, lo); !bytes.Equal(text, id) {
			t.Fatalf("%q was written as %q", id, text)
		}
	}
	if good < 100_000 {
		t.Errorf("only %d were GUIDs", good)
	}
	for _, bad := range []string{"", "7c1b6c1e-0b1f-4c0e-9f3a-1f2e3d4c5b6", "7c1b6c1e-0b1f-4c0e-9f3a-1f2e3d4c5b6aa"} {
		if _, _, ok := event.ParseGUID(bad); ok {
			t.Errorf("%q was read", bad)
		}
	}
}
