package refusal_test

import (
	"errors"
	"testing"

	"spoor/internal/refusal"
)

func TestRefusal(t *testing.T) {
	t.Parallel()
	e, ok := errors.AsType[*refusal.Error](refusal.Errorf("ConflictException", "It is %d.", 1))
	if !ok || e.Code != "ConflictException" || e.Error() != "It is 1." {
		t.Errorf("%+v", e)
	}
	for in, want := range map[string]string{"": "", "it is so": "It is so.", "It is.": "It is."} {
		if got := refusal.Sentence(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
