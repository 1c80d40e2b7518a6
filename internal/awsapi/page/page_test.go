package page_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"spoor/internal/awsapi/page"
)

func self(s string) string { return s }

func TestCut(t *testing.T) {
	t.Parallel()
	var items []string
	for i := range 25 {
		items = append(items, fmt.Sprintf("i%02d", i))
	}
	want := slices.Clone(items)
	slices.Reverse(items)
	for _, most := range []int{1, 7, 24, 25, 26} {
		var got []string
		var token *string
		for pages := 1; ; pages++ {
			cut, next, err := page.Cut(slices.Clone(items), self, token, most, "List", "x")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, cut...)
			if next == nil {
				if want := (25 + most - 1) / most; pages != want {
					t.Errorf("%d pages of %d, want %d", pages, most, want)
				}
				break
			}
			token = next
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d: %q", most, got)
		}
	}

	// An item that goes, and one that comes before those told, change nothing of what follows.
	first, next, err := page.Cut([]string{"a", "b", "c", "d"}, self, nil, 2, "List")
	if err != nil || !slices.Equal(first, []string{"a", "b"}) {
		t.Fatalf("%q %v", first, err)
	}
	second, last, err := page.Cut([]string{"a", "aa", "c", "d"}, self, next, 2, "List")
	if err != nil || !slices.Equal(second, []string{"c", "d"}) || last != nil {
		t.Errorf("%q %v %v", second, last, err)
	}
	none, last, err := page.Cut([]string{"a"}, self, next, 2, "List")
	if err != nil || len(none) != 0 || last != nil {
		t.Errorf("%q %v %v", none, last, err)
	}
	for _, bad := range []string{"", "x", "AAAA", *next + "=", " " + *next, "AAAAAAAAAAAA"} {
		if _, _, err := page.Cut([]string{"a"}, self, &bad, 2, "List"); !errors.Is(err, page.ErrToken) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, _, err := page.Cut([]string{"a"}, self, next, 2, "List", "of another"); !errors.Is(err, page.ErrToken) {
		t.Errorf("the token of another list: %v", err)
	}
}

// FuzzCut: whatever comes as a token, a page is a part of the list in order, or the token is refused.
func FuzzCut(f *testing.F) {
	_, next, err := page.Cut([]string{"a", "b", "c"}, self, nil, 1, "List")
	if err != nil {
		f.Fatal(err)
	}
	for _, token := range []string{"", "x", *next, *next + "A", "AAAAAAAAAAAA"} {
		f.Add(token, 1)
	}
	f.Fuzz(func(t *testing.T, token string, most int) {
		if most < 1 {
			return
		}
		all := []string{"a", "b", "c"}
		got, next, err := page.Cut(slices.Clone(all), self, &token, most, "List")
		switch {
		case err != nil:
			if !errors.Is(err, page.ErrToken) || got != nil || next != nil {
				t.Errorf("%q %v %v", got, next, err)
			}
		case len(got) > most || len(got) > 0 && !slices.Equal(got, all[slices.Index(all, got[0]):][:len(got)]):
			t.Errorf("%q", got)
		case next == nil && len(got) > 0 && got[len(got)-1] != "c":
			t.Errorf("the list ends with %q", got)
		}
	})
}
