package tag_test

import (
	"fmt"
	"strings"
	"testing"

	"spoor/internal/tag"
)

func TestTags(t *testing.T) {
	t.Parallel()
	had := tag.Sorted([]tag.Tag{{Key: "b", Value: "2"}, {Key: "a", Value: "1"}})
	if err := tag.Check(had); err != nil || fmt.Sprint(had) != "[{a 1} {b 2}]" {
		t.Error(had, err)
	}
	if all := tag.Add(had, []tag.Tag{{Key: "b", Value: "3"}, {Key: "0", Value: ""}}); fmt.Sprint(all) != "[{0 } {a 1} {b 3}]" {
		t.Error(all)
	}
	if left := tag.Without(had, []string{"a", "x"}); fmt.Sprint(left) != "[{b 2}]" || len(had) != 2 {
		t.Error(left)
	}
	many := make([]tag.Tag, tag.Max+1)
	for i := range many {
		many[i].Key = fmt.Sprintf("k%02d", i)
	}
	if err := tag.Check(many[:tag.Max]); err != nil {
		t.Error(err)
	}
	for _, bad := range [][]tag.Tag{
		many, {{Key: "", Value: "x"}}, {{Key: strings.Repeat("k", 129), Value: ""}}, {{Key: "k", Value: strings.Repeat("v", 257)}}, {{Key: "AWS:x", Value: ""}}, {{Key: "a", Value: ""}, {Key: "a", Value: ""}}, {{Key: "b", Value: ""}, {Key: "a", Value: ""}}, {{Key: "\xff", Value: ""}}, {{Key: "a", Value: "\xff"}},
	} {
		if tag.Check(bad) == nil {
			t.Errorf("%v", bad)
		}
	}
}
