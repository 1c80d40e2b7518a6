// Package selector is what trails and event data stores record: basic and advanced event selectors, as CloudTrail has them.
//
// Selectors are checked as the service checks them, with messages that name selector, field and reason, and compiled to one
// condition in two forms, which are the same for every event whose typed fields are no arrays or objects: a predicate of
// package match over events ([Set.Match]), and SQL over the columns of segments ([Set.SQL]).
//
// An event is recorded when any selector takes it. The rules are those of the API reference pages AdvancedEventSelector and
// AdvancedFieldSelector and of the user guide's pages on filtering events.
package selector

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"spoor/internal/event"
)

// Bounds.
const (
	MaxBasic     = 5    // basic selectors of a trail
	MaxResources = 250  // values of data resources in all basic selectors, those that stand for all not counted
	MaxStore     = 5    // advanced selectors of an event data store
	MaxValues    = 500  // values in all operators of all advanced selectors
	maxName      = 1000 // characters of a selector's name, and of a field
	maxValue     = 2048 // characters of a value
)

// Target is what selectors are for.
type Target uint8

// The targets.
const (
	Trail Target = iota
	DataStore
)

// FieldSelector is a condition on one field: some of the values of Equals, StartsWith and EndsWith, when there are any, and
// none of those of the others. The members' names are those of the API.
type FieldSelector struct {
	Field         string
	Equals        []string `json:",omitempty"`
	StartsWith    []string `json:",omitempty"`
	EndsWith      []string `json:",omitempty"`
	NotEquals     []string `json:",omitempty"`
	NotStartsWith []string `json:",omitempty"`
	NotEndsWith   []string `json:",omitempty"`
}

// Advanced is an advanced event selector: all conditions hold.
type Advanced struct {
	Name           string `json:",omitempty"`
	FieldSelectors []FieldSelector
}

// DataResource names resources whose data events are taken.
type DataResource struct {
	Type   string
	Values []string
}

// Basic is a basic event selector.
type Basic struct {
	ReadWriteType                 string // All, ReadOnly or WriteOnly; empty for All
	IncludeManagementEvents       bool
	DataResources                 []DataResource
	ExcludeManagementEventSources []string
}

// Error says what is wrong with selectors.
type Error struct {
	Selector int    // its place, from 1; 0 for all together
	Name     string // of the selector, where it has one
	Field    string // or member, where one is at fault
	Reason   string
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Selector > 0 {
		fmt.Fprintf(&b, "event selector %d", e.Selector)
		if e.Name != "" {
			fmt.Fprintf(&b, " (%.80s)", e.Name)
		}
		if e.Field != "" {
			fmt.Fprintf(&b, ", field %.80s", e.Field)
		}
		b.WriteString(": ")
	}
	return b.String() + e.Reason
}

// The categories of advanced selectors.
const (
	Management        = "Management"
	Data              = "Data"
	NetworkActivity   = "NetworkActivity"
	Insight           = "Insight"
	ConfigurationItem = "ConfigurationItem"
	Evidence          = "Evidence"
	ActivityAuditLog  = event.OutsideCategory
)

// alone reports whether a category stands alone in an event data store, and in its selector.
func alone(category string) bool {
	switch category {
	case Insight, ConfigurationItem, Evidence, ActivityAuditLog:
		return true
	}
	return false
}

// Categories gives the categories of advanced selectors that were checked, sorted, once each.
func Categories(selectors []Advanced) []string {
	var out []string
	for _, s := range selectors {
		for _, f := range s.FieldSelectors {
			if f.Field == "eventCategory" {
				out = append(out, f.Equals...)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Default are the selectors of an event data store that is given none.
func Default() []Advanced {
	return []Advanced{{Name: "Default management events", FieldSelectors: []FieldSelector{{Field: "eventCategory", Equals: []string{Management}}}}}
}

type operator uint8

const (
	equals operator = iota
	startsWith
	endsWith
)

var operatorNames = [...]string{"Equals", "StartsWith", "EndsWith"}

// clause is one list of values: an operator, or its opposite.
type clause struct {
	op     operator
	not    bool
	values []string
}

func (c clause) name() string {
	if c.not {
		return "Not" + operatorNames[c.op]
	}
	return operatorNames[c.op]
}

// clauses are the lists that are there.
func (f FieldSelector) clauses() []clause {
	all := []clause{
		{equals, false, f.Equals}, {startsWith, false, f.StartsWith}, {endsWith, false, f.EndsWith},
		{equals, true, f.NotEquals}, {startsWith, true, f.NotStartsWith}, {endsWith, true, f.NotEndsWith},
	}
	return slices.DeleteFunc(all, func(c clause) bool { return c.values == nil })
}

// fields are the typed fields that selectors compare as texts. The others are eventCategory, readOnly and those of resources.
var fields = map[string]event.Field{
	"eventSource": event.EventSource, "eventName": event.EventName, "eventType": event.EventType, "userIdentity.arn": event.IdentityARN,
	"sessionCredentialFromConsole": event.SessionCredentialFromConsole, "errorCode": event.ErrorCode, "vpcEndpointId": event.VPCEndpointID,
}

var (
	resourceType   = regexp.MustCompile(`^AWS::[A-Za-z0-9]+::[A-Za-z0-9]+$`)
	serviceName    = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*\.amazonaws\.com$`)
	excludeSources = []string{"kms.amazonaws.com", "rdsdata.amazonaws.com"}
)

// CheckAdvanced checks advanced selectors. Its errors are [*Error].
func CheckAdvanced(target Target, selectors []Advanced) error {
	if len(selectors) == 0 {
		return &Error{Reason: "there is no event selector"}
	}
	if target == DataStore && len(selectors) > MaxStore {
		return &Error{Reason: fmt.Sprintf("there are %d advanced event selectors; an event data store has at most %d", len(selectors), MaxStore)}
	}
	values := 0
	for i, s := range selectors {
		n, err := s.check(target)
		if err != nil {
			err.Selector, err.Name = i+1, s.Name
			return err
		}
		values += n
	}
	if values > MaxValues {
		return &Error{Reason: fmt.Sprintf("the event selectors have %d values; at most %d are allowed", values, MaxValues)}
	}
	if c := Categories(selectors); len(c) > 1 {
		for _, name := range c {
			if alone(name) {
				return &Error{Reason: fmt.Sprintf("eventCategory %s cannot be combined with others: %s", name, strings.Join(c, ", "))}
			}
		}
	}
	return nil
}

// check checks one selector, and counts its values.
func (s Advanced) check(target Target) (values int, _ *Error) {
	bad := func(field, format string, a ...any) (int, *Error) {
		return 0, &Error{Field: field, Reason: fmt.Sprintf(format, a...)}
	}
	if utf8.RuneCountInString(s.Name) > maxName {
		return bad("", "its name is longer than %d characters", maxName)
	}
	seen := map[string]bool{}
	category := ""
	for _, f := range s.FieldSelectors {
		if seen[f.Field] {
			return bad(f.Field, "it is there twice")
		}
		seen[f.Field] = true
		cs := f.clauses()
		if len(cs) == 0 {
			return bad(f.Field, "it has no operator")
		}
		for _, c := range cs {
			if len(c.values) == 0 {
				return bad(f.Field, "%s has no value", c.name())
			}
			values += len(c.values)
			for _, v := range c.values {
				if v == "" || utf8.RuneCountInString(v) > maxValue || !utf8.ValidString(v) || strings.ContainsAny(v, "\x00\n") {
					return bad(f.Field, "a value of %s is not a text of 1 to %d characters in one line", c.name(), maxValue)
				}
			}
		}
		if f.Field == "eventCategory" {
			if len(cs) != 1 || len(f.Equals) != 1 {
				return bad(f.Field, "it needs Equals with one value, and nothing else")
			}
			category = f.Equals[0]
		}
	}
	if category == "" {
		return bad("eventCategory", "it is missing")
	}
	switch {
	case category == Management || category == Data || category == NetworkActivity:
	case alone(category) && target == DataStore:
	default:
		return bad("eventCategory", "%.80q is not a category that can be selected here", category)
	}
	for _, f := range s.FieldSelectors {
		if f.Field == "eventCategory" {
			continue
		}
		if reason := f.allowed(target, category); reason != "" {
			return bad(f.Field, "%s", reason)
		}
	}
	switch {
	case category == Data && !seen["resources.type"]:
		return bad("resources.type", "it is missing; eventCategory Data needs it")
	case category == NetworkActivity && !seen["eventSource"]:
		return bad("eventSource", "it is missing; eventCategory NetworkActivity needs it")
	}
	return values, nil
}

// allowed gives the reason why a field may not stand beside a category as it does, "" for none.
func (f FieldSelector) allowed(target Target, category string) string {
	only := func(c clause, values ...string) bool {
		cs := f.clauses()
		return len(cs) == 1 && cs[0].op == c.op && cs[0].not == c.not && (len(values) == 0 || !slices.ContainsFunc(cs[0].values, func(v string) bool { return !slices.Contains(values, v) }))
	}
	eq, ne := clause{op: equals}, clause{op: equals, not: true}
	store := target == DataStore
	is := func(categories ...string) bool { return slices.Contains(categories, category) }
	switch f.Field {
	case "readOnly":
		if is(Management, Data) {
			return unless(only(eq, "true", "false"), "only Equals with true or false is allowed")
		}
	case "eventSource":
		switch {
		case is(NetworkActivity):
			return unless(only(eq) && len(f.Equals) == 1 && serviceName.MatchString(f.Equals[0]), "only Equals with the name of one service is allowed, such as s3.amazonaws.com")
		case is(Data) || is(Management) && store:
			return ""
		case is(Management):
			return unless(only(ne, excludeSources...), "only NotEquals with "+strings.Join(excludeSources, " or ")+" is allowed")
		}
	case "eventName":
		if is(Data, NetworkActivity) || is(Management) && store {
			return ""
		}
	case "eventType", "userIdentity.arn":
		if is(Data) || is(Management) && store {
			return ""
		}
	case "sessionCredentialFromConsole":
		if is(Data, Management) && (store || is(Data)) {
			return unless(only(eq, "true") || only(ne, "true"), "only Equals or NotEquals with true is allowed")
		}
	case "resources.type":
		if is(Data) {
			if !only(eq) || len(f.Equals) != 1 {
				return "only Equals with one value is allowed"
			}
			return unless(resourceType.MatchString(f.Equals[0]), "the value has not the form AWS::Service::Type")
		}
	case "resources.ARN":
		if is(Data) {
			return ""
		}
	case "errorCode":
		if is(NetworkActivity) {
			return unless(only(eq, "VpceAccessDenied"), "only Equals with VpceAccessDenied is allowed")
		}
	case "vpcEndpointId":
		if is(NetworkActivity) {
			return ""
		}
	default:
		return "it is not a field of event selectors"
	}
	if alone(category) {
		return "eventCategory " + category + " allows no other field"
	}
	return "it is not allowed for eventCategory " + category + " " + [...]string{Trail: "of trails", DataStore: "of event data stores"}[target]
}

func unless(ok bool, reason string) string {
	if ok {
		return ""
	}
	return reason
}

// basicTypes are the types of data resources, with the service in their ARNs.
var basicTypes = map[string]string{"AWS::S3::Object": "s3", "AWS::Lambda::Function": "lambda", "AWS::DynamoDB::Table": "dynamodb"}

var arnForm = regexp.MustCompile(`^arn:aws[a-z-]*:([a-z0-9-]+)(:.*)?$`)

// everything reports whether the value of a data resource stands for all of its type.
func everything(value string) bool {
	return strings.Count(strings.TrimSuffix(value, ":::"), ":") == 2
}

// CheckBasic checks basic selectors. Its errors are [*Error].
func CheckBasic(selectors []Basic) error {
	if n := len(selectors); n == 0 || n > MaxBasic {
		return &Error{Reason: fmt.Sprintf("there are %d event selectors; a trail has 1 to %d", n, MaxBasic)}
	}
	values := 0
	for i, s := range selectors {
		bad := func(member, format string, a ...any) error {
			return &Error{Selector: i + 1, Field: member, Reason: fmt.Sprintf(format, a...)}
		}
		switch s.ReadWriteType {
		case "", "All", "ReadOnly", "WriteOnly":
		default:
			return bad("ReadWriteType", "%.80q is none of All, ReadOnly, WriteOnly", s.ReadWriteType)
		}
		for _, source := range s.ExcludeManagementEventSources {
			if !slices.Contains(excludeSources, source) {
				return bad("ExcludeManagementEventSources", "%.80q is none of %s", source, strings.Join(excludeSources, ", "))
			}
		}
		if len(s.ExcludeManagementEventSources) > 0 && !s.IncludeManagementEvents {
			return bad("ExcludeManagementEventSources", "management events are not included")
		}
		for _, r := range s.DataResources {
			service, ok := basicTypes[r.Type]
			if !ok {
				return bad("DataResources", "type %.80q is none of AWS::S3::Object, AWS::Lambda::Function, AWS::DynamoDB::Table", r.Type)
			}
			if len(r.Values) == 0 {
				return bad("DataResources", "type %s has no value", r.Type)
			}
			for _, v := range r.Values {
				m := arnForm.FindStringSubmatch(v)
				if m == nil || m[1] != service || !utf8.ValidString(v) || strings.ContainsRune(v, 0) || len(v) > maxValue {
					return bad("DataResources", "%.80q is no ARN of type %s", v, r.Type)
				}
				if !everything(v) {
					values++
				}
			}
		}
	}
	if values > MaxResources {
		return &Error{Reason: fmt.Sprintf("the event selectors have %d values of data resources; at most %d are allowed", values, MaxResources)}
	}
	return nil
}
