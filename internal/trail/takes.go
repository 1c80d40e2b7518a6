package trail

import (
	"fmt"
	"slices"

	"spoor/internal/selector"
)

// globalRegion is the Region that records of global services have.
const globalRegion = "us-east-1"

// Global reports whether an event is one of a global service, by its source and Region: sign-in, and what IAM, STS and
// CloudFront do without a Region.
func Global(source, region string) bool {
	if region != globalRegion {
		return false
	}
	switch source {
	case "iam.amazonaws.com", "sts.amazonaws.com", "cloudfront.amazonaws.com", "signin.amazonaws.com":
		return true
	}
	return false
}

// Takes reports whether the trail is for events of an account (recipientAccountId), a Region and a source. Selectors decide
// besides ([Trail.Compile]), and so does [Settings.Logging].
func (t Trail) Takes(s Settings, account, region, source string) bool {
	switch {
	case !slices.Contains(t.Accounts, account):
		return false
	case Global(source, region):
		return s.GlobalServiceEvents
	}
	return s.MultiRegion || region == t.HomeRegion
}

// Compile compiles the selectors of settings; without any, all management events are taken. Events of other categories than
// those of selectors of trails are never taken: Management, Data and NetworkActivity.
func (t Trail) Compile(s Settings) (*selector.Set, error) {
	set, err := s.compile()
	if err != nil {
		return nil, fmt.Errorf("compile the selectors of %s: %w", t.ARN, err)
	}
	return set, nil
}

func (s Settings) compile() (*selector.Set, error) {
	switch {
	case len(s.Advanced) > 0:
		return selector.CompileAdvanced(selector.Trail, s.Advanced)
	case len(s.Basic) > 0:
		return selector.CompileBasic(s.Basic)
	}
	return selector.CompileBasic(DefaultSelectors())
}

// DefaultSelectors are those of a trail that was given none: all management events.
func DefaultSelectors() []selector.Basic {
	return []selector.Basic{{ReadWriteType: "All", IncludeManagementEvents: true}}
}

// At is the place in Epochs of the one that an entry of the journal belongs to; -1 for an entry before all of them.
func (t Trail) At(seq uint64) int {
	i := len(t.Epochs) - 1
	for i >= 0 && t.Epochs[i].After >= seq {
		i--
	}
	return i
}
