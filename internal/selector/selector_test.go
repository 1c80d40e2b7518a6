package selector

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"spoor/internal/event"
	"spoor/internal/match"
)

func field(name string, lists ...[]string) FieldSelector {
	f := FieldSelector{Field: name}
	for i, l := range lists {
		*[]*[]string{&f.Equals, &f.StartsWith, &f.EndsWith, &f.NotEquals, &f.NotStartsWith, &f.NotEndsWith}[i] = l
	}
	return f
}

func of(category string, fs ...FieldSelector) Advanced {
	return Advanced{Name: "x", FieldSelectors: append([]FieldSelector{field("eventCategory", []string{category})}, fs...)}
}

func many(n int, format string) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf(format, i)
	}
	return out
}

func TestCheckAdvanced(t *testing.T) {
	t.Parallel()
	one := []string{"v"}
	typ := field("resources.type", []string{"AWS::S3::Object"})
	source := field("eventSource", []string{"kms.amazonaws.com"})
	for i, c := range []struct {
		sel         []Advanced
		trail, says string // the reasons, "" for none
	}{
		{[]Advanced{of(Management)}, "", ""},
		{Default(), "", ""},
		{[]Advanced{of(Management, field("readOnly", []string{"false"}))}, "", ""},
		{[]Advanced{of(Management, field("eventSource", nil, nil, nil, []string{"kms.amazonaws.com", "rdsdata.amazonaws.com"}))}, "", ""},
		{[]Advanced{of(Management, source)}, "only NotEquals with kms.amazonaws.com or rdsdata.amazonaws.com", ""},
		{[]Advanced{of(Management, field("eventSource", nil, nil, nil, []string{"s3.amazonaws.com"}))}, "only NotEquals", ""},
		{[]Advanced{of(Management, field("eventName", one))}, "not allowed for eventCategory Management of trails", ""},
		{[]Advanced{of(Management, field("eventType", one))}, "not allowed", ""},
		{[]Advanced{of(Management, field("userIdentity.arn", nil, nil, nil, nil, one))}, "not allowed", ""},
		{[]Advanced{of(Management, field("sessionCredentialFromConsole", []string{"true"}))}, "not allowed", ""},
		{[]Advanced{of(Data, typ, field("eventName", nil, one), field("eventSource", one), field("resources.ARN", one, one, one, one, one, one))}, "", ""},
		{[]Advanced{of(Data, typ, field("sessionCredentialFromConsole", nil, nil, nil, []string{"true"}), field("userIdentity.arn", one), field("eventType", one))}, "", ""},
		{[]Advanced{of(NetworkActivity, source, field("errorCode", []string{"VpceAccessDenied"}), field("vpcEndpointId", one), field("eventName", one))}, "", ""},
		{[]Advanced{of(Insight)}, `"Insight" is not a category`, ""},
		{[]Advanced{of(ConfigurationItem)}, "not a category", ""},
		{[]Advanced{of(Evidence)}, "not a category", ""},
		{[]Advanced{of(ActivityAuditLog)}, "not a category", ""},
		{many6(), "", "6 advanced event selectors; an event data store has at most 5"},
		{[]Advanced{of(Data, typ, field("eventName", many(498, "e%d")))}, "", ""},

		{nil, "there is no event selector", "there is no event selector"},
		{[]Advanced{{FieldSelectors: []FieldSelector{field("readOnly", []string{"true"})}}}, "event selector 1, field eventCategory: it is missing", "it is missing"},
		{[]Advanced{of(Management), of("management")}, `event selector 2 (x), field eventCategory: "management" is not a category`, "event selector 2"},
		{[]Advanced{{FieldSelectors: []FieldSelector{field("eventCategory", nil, []string{Management})}}}, "needs Equals with one value", "needs Equals"},
		{[]Advanced{{FieldSelectors: []FieldSelector{field("eventCategory", []string{Management, Data})}}}, "needs Equals with one value", "needs Equals"},
		{[]Advanced{{FieldSelectors: []FieldSelector{field("eventCategory", []string{Management}, nil, nil, []string{Data})}}}, "needs Equals with one value", "needs Equals"},
		{[]Advanced{of(Management, field("readOnly"))}, "field readOnly: it has no operator", "no operator"},
		{[]Advanced{of(Management, field("readOnly", []string{}))}, "Equals has no value", "Equals has no value"},
		{[]Advanced{of(Management, field("readOnly", []string{"True"}))}, "only Equals with true or false", "only Equals with true or false"},
		{[]Advanced{of(Management, field("readOnly", nil, nil, nil, []string{"true"}))}, "only Equals with true or false", "only Equals"},
		{[]Advanced{of(Management, field("resources.type", []string{"AWS::S3::Object"}))}, "not allowed", "not allowed for eventCategory Management of event data stores"},
		{[]Advanced{of(Management, field("awsRegion", one))}, "not a field of event selectors", "not a field"},
		{[]Advanced{of(Management, field("resources.arn", one))}, "not a field of event selectors", "not a field"},
		{[]Advanced{of(Management, field("readOnly", []string{"true"}), field("readOnly", []string{"true"}))}, "readOnly: it is there twice", "twice"},
		{[]Advanced{of(Data)}, "resources.type: it is missing", "resources.type: it is missing"},
		{[]Advanced{of(Data, field("resources.type", []string{"AWS::S3::Object", "AWS::SNS::Topic"}))}, "only Equals with one value", "only Equals"},
		{[]Advanced{of(Data, field("resources.type", nil, []string{"AWS::S3"}))}, "only Equals with one value", "only Equals"},
		{[]Advanced{of(Data, field("resources.type", []string{"S3::Object"}))}, "form AWS::Service::Type", "form AWS"},
		{[]Advanced{of(Data, typ, field("errorCode", []string{"VpceAccessDenied"}))}, "not allowed", "not allowed"},
		{[]Advanced{of(Data, typ, field("sessionCredentialFromConsole", []string{"false"}))}, "Equals or NotEquals with true", "with true"},
		{[]Advanced{of(NetworkActivity)}, "eventSource: it is missing", "eventSource: it is missing"},
		{[]Advanced{of(NetworkActivity, field("eventSource", []string{"a.amazonaws.com", "b.amazonaws.com"}))}, "the name of one service", "one service"},
		{[]Advanced{of(NetworkActivity, field("eventSource", []string{"example.com"}))}, "the name of one service", "one service"},
		{[]Advanced{of(NetworkActivity, source, field("errorCode", []string{"AccessDenied"}))}, "VpceAccessDenied", "VpceAccessDenied"},
		{[]Advanced{of(NetworkActivity, source, field("readOnly", []string{"true"}))}, "not allowed", "not allowed"},
		{[]Advanced{of(ActivityAuditLog, field("eventName", one))}, "not a category", "ActivityAuditLog allows no other field"},
		{[]Advanced{of(Management), of(Insight)}, "not a category", "Insight cannot be combined with others: Insight, Management"},
		{[]Advanced{of(Data, typ, field("eventName", many(499, "e%d")))}, "501 values", "501 values; at most 500"},
		{[]Advanced{of(Data, typ, field("eventName", []string{strings.Repeat("x", 2049)}))}, "1 to 2048 characters", "1 to 2048"},
		{[]Advanced{of(Data, typ, field("eventName", []string{""}))}, "1 to 2048 characters", "1 to 2048"},
		{[]Advanced{of(Data, typ, field("eventName", []string{"a\x00"}))}, "in one line", "in one line"},
		{[]Advanced{of(Data, typ, field("eventName", []string{"a\xff"}))}, "in one line", "in one line"},
		{[]Advanced{{Name: strings.Repeat("é", 1001), FieldSelectors: Default()[0].FieldSelectors}}, "longer than 1000", "longer than 1000"},
	} {
		for target, says := range map[Target]string{Trail: c.trail, DataStore: c.says} {
			err := CheckAdvanced(target, c.sel)
			if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
				t.Errorf("case %d, target %d: %v; want %q", i, target, err, says)
			}
		}
	}
}

func many6() []Advanced {
	out := make([]Advanced, 6)
	for i := range out {
		out[i] = of(Management)
	}
	return out
}

func TestCheckBasic(t *testing.T) {
	t.Parallel()
	data := func(typ string, values ...string) []Basic {
		return []Basic{{DataResources: []DataResource{{typ, values}}}}
	}
	for i, c := range []struct {
		sel  []Basic
		says string
	}{
		{[]Basic{{IncludeManagementEvents: true, ExcludeManagementEventSources: []string{"kms.amazonaws.com"}}}, ""},
		{data("AWS::S3::Object", "arn:aws:s3", "arn:aws:s3:::", "arn:aws-cn:s3:::b/", "arn:aws:s3:::b/pre"), ""},
		{data("AWS::Lambda::Function", "arn:aws:lambda", "arn:aws:lambda:us-east-1:111122223333:function:f"), ""},
		{data("AWS::DynamoDB::Table", "arn:aws:dynamodb", "arn:aws:dynamodb:us-east-1:111122223333:table/t"), ""},
		{data("AWS::S3::Object", append(many(250, "arn:aws:s3:::b/%d"), "arn:aws:s3")...), ""},
		{nil, "there are 0 event selectors"},
		{make([]Basic, 6), "there are 6 event selectors; a trail has 1 to 5"},
		{[]Basic{{ReadWriteType: "read"}}, `event selector 1, field ReadWriteType: "read" is none of`},
		{[]Basic{{}, {IncludeManagementEvents: true, ExcludeManagementEventSources: []string{"s3.amazonaws.com"}}}, "event selector 2, field ExcludeManagementEventSources"},
		{[]Basic{{ExcludeManagementEventSources: []string{"kms.amazonaws.com"}}}, "management events are not included"},
		{data("AWS::SNS::Topic", "arn:aws:sns"), `type "AWS::SNS::Topic" is none of`},
		{data("AWS::S3::Object"), "has no value"},
		{data("AWS::S3::Object", "b/pre"), "no ARN of type AWS::S3::Object"},
		{data("AWS::S3::Object", "arn:aws:lambda"), "no ARN of type AWS::S3::Object"},
		{data("AWS::S3::Object", "arn:aws:s3:::a\x00"), "no ARN"},
		{data("AWS::S3::Object", many(251, "arn:aws:s3:::b/%d")...), "251 values of data resources"},
	} {
		if err := CheckBasic(c.sel); (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("case %d: %v; want %q", i, err, c.says)
		}
	}
}

// took tells which of some events a set takes, by their numbers.
func took(t *testing.T, s *Set, records ...string) (out []int) {
	t.Helper()
	var c match.Context
	for i, r := range records {
		e, err := event.Parse([]byte(r))
		if err != nil {
			t.Fatal(err)
		}
		if c.Reset(e); c.Match(s.Match()) {
			out = append(out, i)
		}
	}
	return out
}

// s3Call is a data event on an object.
func s3Call(arn, more string) string {
	return `{"eventSource":"s3.amazonaws.com","eventName":"PutObject","eventCategory":"Data","readOnly":false,"resources":[{"type":"AWS::S3::Object","ARN":"` + arn + `"},{"type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::b"}]` + more + `}`
}

func TestAdvanced(t *testing.T) {
	t.Parallel()
	b := "arn:aws:s3:::b/"
	s, err := CompileAdvanced(Trail, []Advanced{of(Data, field("resources.type", []string{"AWS::S3::Object"}),
		field("resources.ARN", []string{b + "object1"}, []string{b}, []string{"object3"}, []string{b + "object6"}, []string{b + "deselect"}, []string{"object5"}))})
	if err != nil {
		t.Fatal(err)
	}
	got := took(t, s, s3Call(b+"object1", ""), s3Call(b+"object2", ""), s3Call("arn:aws:s3:::other/object3", ""), s3Call(b+"deselectObject4", ""),
		s3Call(b+"object5", ""), s3Call(b+"object6", ""), s3Call("arn:aws:s3:::B/object1", ""))
	if fmt.Sprint(got) != "[0 1 2]" {
		t.Errorf("mixed operators take %v", got)
	}
	// One entry of resources has to fulfil both; a star is a star, and case counts.
	for _, c := range []struct {
		typ, arn string
		want     string
	}{{"AWS::S3::Bucket", "arn:aws:s3:::b/x", "[]"}, {"AWS::S3::Object", "arn:aws:s3:::b/x", "[0]"}, {"AWS::S3::Bucket", "arn:aws:s3:::b", "[0]"}, {"AWS::S3::object", "arn:aws:s3:::b", "[]"}, {"AWS::S3::Object", "arn:aws:s3:::b/*", "[]"}} {
		if s, err = CompileAdvanced(Trail, []Advanced{of(Data, field("resources.type", []string{c.typ}), field("resources.ARN", []string{c.arn}))}); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(took(t, s, s3Call("arn:aws:s3:::b/x", ""))); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.typ, c.arn, got, c.want)
		}
	}
	if c := Categories([]Advanced{of(Data), of(Management), of(Data)}); fmt.Sprint(c) != "[Data Management]" {
		t.Error(c)
	}
	// The members are those of the API.
	text, err := json.Marshal([]Advanced{of(Management, field("readOnly", []string{"true"}))})
	if want := `[{"Name":"x","FieldSelectors":[{"Field":"eventCategory","Equals":["Management"]},{"Field":"readOnly","Equals":["true"]}]}]`; err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
}

func TestBasic(t *testing.T) {
	t.Parallel()
	management := `{"eventSource":"iam.amazonaws.com","eventName":"CreateUser","eventCategory":"Management","readOnly":false}`
	kms := `{"eventSource":"kms.amazonaws.com","eventName":"Decrypt","eventCategory":"Management","readOnly":true}`
	old := `{"eventSource":"iam.amazonaws.com","eventName":"ListUsers","eventVersion":"1.02","readOnly":true}`
	object := s3Call("arn:aws:s3:::b/pre/x", "")
	function := `{"eventCategory":"Data","readOnly":false,"resources":[{"type":"AWS::Lambda::Function","ARN":"arn:aws:lambda:us-east-1:1:function:helloworld2"}]}`
	for i, c := range []struct {
		sel  Basic
		want string
	}{
		{Basic{IncludeManagementEvents: true}, "[0 1 2]"},
		{Basic{IncludeManagementEvents: true, ReadWriteType: "WriteOnly"}, "[0]"},
		{Basic{IncludeManagementEvents: true, ReadWriteType: "ReadOnly"}, "[1 2]"},
		{Basic{IncludeManagementEvents: true, ExcludeManagementEventSources: []string{"kms.amazonaws.com"}}, "[0 2]"},
		{Basic{}, "[]"},
		{Basic{DataResources: []DataResource{{"AWS::S3::Object", []string{"arn:aws:s3"}}}}, "[3]"},
		{Basic{DataResources: []DataResource{{"AWS::S3::Object", []string{"arn:aws:s3:::"}}}}, "[3]"},
		{Basic{DataResources: []DataResource{{"AWS::S3::Object", []string{"arn:aws:s3:::b/pre"}}}}, "[3]"},
		{Basic{DataResources: []DataResource{{"AWS::S3::Object", []string{"arn:aws:s3:::b/pro"}}}}, "[]"},
		{Basic{ReadWriteType: "ReadOnly", DataResources: []DataResource{{"AWS::S3::Object", []string{"arn:aws:s3"}}}}, "[]"},
		{Basic{DataResources: []DataResource{{"AWS::Lambda::Function", []string{"arn:aws:lambda:us-east-1:1:function:helloworld"}}}}, "[]"},
		{Basic{DataResources: []DataResource{{"AWS::Lambda::Function", []string{"arn:aws:lambda"}}, {"AWS::S3::Object", []string{"arn:aws:s3"}}}}, "[3 4]"},
	} {
		s, err := CompileBasic([]Basic{c.sel})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(took(t, s, management, kms, old, object, function)); got != c.want {
			t.Errorf("case %d: %s, want %s", i, got, c.want)
		}
	}
}
