package report_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"spoor/internal/hunt"
	"spoor/internal/report"
)

// ocsfObject is what OCSF 1.6.0 (schema.ocsf.io) says of an object or class, as far as this package writes it. An
// attribute is named with its type: s string, i integer, b boolean, t timestamp in milliseconds, j any JSON, or the name
// of an object; [] before it makes an array, ! after it says that the attribute is required.
type ocsfObject struct {
	attributes string
	oneOf      []string // at least one of these must be there
}

var ocsfSchema = map[string]ocsfObject{
	"base": {attributes: `activity_id:i! activity_name:s category_uid:i! category_name:s class_uid:i! class_name:s type_uid:i! type_name:s
		severity_id:i! severity:s status_id:i status:s status_code:s status_detail:s time:t! start_time:t end_time:t count:i message:s
		metadata:metadata! cloud:cloud! observables:[]observable unmapped:j raw_data:s`},
	"detection_finding": {attributes: `is_alert:b finding_info:finding_info! evidences:[]evidences resources:[]resource_details remediation:remediation`},
	"api_activity":      {attributes: `actor:actor! api:api! src_endpoint:network_endpoint! http_request:http_request resources:[]resource_details`},
	"metadata":          {attributes: `version:s! product:product! profiles:[]s uid:s event_code:s log_name:s log_provider:s original_time:s`},
	"product":           {attributes: `name:s vendor_name:s version:s`, oneOf: []string{"name", "uid"}},
	"cloud":             {attributes: `provider:s! region:s account:account`},
	"account":           {attributes: `uid:s type_id:i type:s`, oneOf: []string{"name", "uid"}},
	"observable":        {attributes: `name:s! type_id:i! type:s value:s`},
	"finding_info": {attributes: `uid:s! title:s! desc:s types:[]s data_sources:[]s created_time:t first_seen_time:t last_seen_time:t src_url:s analytic:analytic
		attacks:[]attack related_events:[]related_event`},
	"analytic":         {attributes: `uid:s name:s type_id:i! type:s category:s`, oneOf: []string{"name", "uid"}},
	"attack":           {attributes: `tactic:entity technique:entity sub_technique:entity`, oneOf: []string{"tactic", "technique", "sub_technique"}},
	"entity":           {attributes: `uid:s name:s`, oneOf: []string{"name", "uid"}},
	"related_event":    {attributes: `uid:s! type_uid:i type_name:s`},
	"evidences":        {attributes: `actor:actor api:api src_endpoint:network_endpoint data:j`, oneOf: []string{"actor", "api", "src_endpoint", "data"}},
	"actor":            {attributes: `user:user session:session invoked_by:s`, oneOf: []string{"user", "session", "invoked_by"}},
	"user":             {attributes: `uid:s name:s type_id:i type:s credential_uid:s account:account`, oneOf: []string{"account", "name", "uid"}},
	"session":          {attributes: `uid:s issuer:s`},
	"api":              {attributes: `operation:s! version:s service:entity request:request response:response`},
	"request":          {attributes: `uid:s! data:j`},
	"response":         {attributes: `error:s error_message:s data:j`},
	"network_endpoint": {attributes: `ip:s svc_name:s`, oneOf: []string{"ip", "svc_name"}},
	"http_request":     {attributes: `user_agent:s`},
	"resource_details": {attributes: `uid:s type:s region:s`, oneOf: []string{"name", "uid"}},
	"remediation":      {attributes: `desc:s! references:[]s`},
}

// ocsfEnums are the values of enumerated attributes with their captions; the sibling attribute must hold the caption
// unless the value is 99. "" as a caption stands for any.
var ocsfEnums = map[string]map[int]string{
	"detection_finding.activity_id": {0: "Unknown", 1: "Create", 2: "Update", 3: "Close", 99: ""},
	"api_activity.activity_id":      {0: "Unknown", 1: "Create", 2: "Read", 3: "Update", 4: "Delete", 99: ""},
	"detection_finding.status_id":   {0: "Unknown", 1: "New", 2: "In Progress", 3: "Suppressed", 4: "Resolved", 5: "Archived", 6: "Deleted", 99: ""},
	"api_activity.status_id":        {0: "Unknown", 1: "Success", 2: "Failure", 99: ""},
	"severity_id":                   {0: "Unknown", 1: "Informational", 2: "Low", 3: "Medium", 4: "High", 5: "Critical", 6: "Fatal", 99: ""},
	"detection_finding.class_uid":   {2004: "Detection Finding"},
	"api_activity.class_uid":        {6003: "API Activity"},
	"detection_finding.category_uid": {
		2: "Findings"},
	"api_activity.category_uid": {6: "Application Activity"},
	"user.type_id":              {0: "Unknown", 1: "User", 2: "Admin", 3: "System", 4: "Service", 99: ""},
	"account.type_id":           {10: "AWS Account"},
	"analytic.type_id":          {1: "Rule"},
	"observable.type_id":        {2: "IP Address", 4: "User Name", 10: "Resource UID", 16: "HTTP User-Agent", 19: "User Credential ID"},
}

// checkOCSF returns what is wrong with v as an object of the kinds.
func checkOCSF(path string, v any, kinds ...string) (problems []string) {
	obj, ok := v.(map[string]any)
	if !ok {
		return []string{path + " is not an object"}
	}
	bad := func(format string, args ...any) { problems = append(problems, path+": "+fmt.Sprintf(format, args...)) }
	known := map[string]string{}
	for _, kind := range kinds {
		o, ok := ocsfSchema[kind]
		if !ok {
			bad("no object %q in the table", kind)
		}
		for a := range strings.FieldsSeq(o.attributes) {
			name, typ, _ := strings.Cut(a, ":")
			t, required := strings.CutSuffix(typ, "!")
			known[name] = t
			if _, there := obj[name]; required && !there {
				bad("%s is required", name)
			}
		}
		if len(o.oneOf) > 0 && !slices.ContainsFunc(o.oneOf, func(n string) bool { return obj[n] != nil }) {
			bad("needs one of %v", o.oneOf)
		}
	}
	for name, val := range obj {
		typ, ok := known[name]
		if !ok {
			bad("unknown attribute %s", name)
			continue
		}
		list := []any{val}
		if t, isList := strings.CutPrefix(typ, "[]"); isList {
			typ = t
			if list, ok = val.([]any); !ok {
				bad("%s is not an array", name)
			}
		}
		for _, one := range list {
			switch typ {
			case "s":
				_, ok = one.(string)
			case "b":
				_, ok = one.(bool)
			case "i", "t":
				var n json.Number
				n, ok = one.(json.Number)
				if _, err := n.Int64(); err != nil {
					ok = false
				}
				if typ == "t" && len(n) != 13 {
					ok = false
				}
			case "j":
				ok = one != nil
			default:
				problems = append(problems, checkOCSF(path+"."+name, one, typ)...)
				continue
			}
			if !ok {
				bad("%s has the value %v", name, one)
			}
		}
		for _, kind := range append(kinds, "") {
			enum, ok := ocsfEnums[strings.TrimPrefix(kind+"."+name, ".")]
			if !ok {
				continue
			}
			n, _ := val.(json.Number)
			id, _ := n.Int64()
			caption, ok := enum[int(id)]
			if !ok {
				bad("%s has the value %v", name, val)
			}
			sibling := strings.TrimSuffix(strings.TrimSuffix(name, "_id"), "_uid")
			if name != "type_id" && (strings.HasSuffix(name, "_uid") || name == "activity_id") {
				sibling += "_name"
			}
			if got, _ := obj[sibling].(string); caption != "" && got != caption || got == "" {
				bad("%s is %q beside %s %v", sibling, got, name, val)
			}
		}
	}
	return problems
}

func TestOCSF(t *testing.T) {
	t.Parallel()
	for name, res := range map[string]*hunt.Result{"incident": incident(t), "poisoned": poisoned(t)} {
		classes := map[string]int{}
		events := map[string]int{}
		lines := bytes.Split(bytes.TrimSuffix(render(t, "ocsf", res, report.Options{}), []byte("\n")), []byte("\n"))
		for i, line := range lines {
			dec := json.NewDecoder(bytes.NewReader(line))
			dec.UseNumber()
			var v map[string]any
			if err := dec.Decode(&v); err != nil {
				t.Fatalf("%s line %d: %v", name, i, err)
			}
			class := map[string]string{"2004": "detection_finding", "6003": "api_activity"}[fmt.Sprint(v["class_uid"])]
			if class == "" {
				t.Fatalf("%s line %d has the class %v", name, i, v["class_uid"])
			}
			classes[class]++
			problems := checkOCSF(class, v, "base", class)
			if want := fmt.Sprintf("%v%02v", v["class_uid"], v["activity_id"]); fmt.Sprint(v["type_uid"]) != want {
				problems = append(problems, fmt.Sprintf("type_uid is %v, want %s", v["type_uid"], want))
			}
			if want := fmt.Sprintf("%v: %v", v["class_name"], v["activity_name"]); v["type_name"] != want {
				problems = append(problems, fmt.Sprintf("type_name is %v, want %s", v["type_name"], want))
			}
			if len(problems) > 0 {
				t.Errorf("%s line %d: %s", name, i, strings.Join(problems, "\n\t"))
			}
			if class == "api_activity" {
				events[fmt.Sprint(v["metadata"].(map[string]any)["uid"])]++
			}
		}
		if classes["detection_finding"] != len(res.Findings) {
			t.Errorf("%s: %d findings, want %d", name, classes["detection_finding"], len(res.Findings))
		}
		want := map[string]bool{}
		for _, f := range res.Findings {
			for _, e := range f.Events {
				want[e.ID] = true
			}
		}
		if classes["api_activity"] != len(want) {
			t.Errorf("%s: %d activities, want %d", name, classes["api_activity"], len(want))
		}
		for id, n := range events {
			if n != 1 {
				t.Errorf("%s: event %.60q is there %d times", name, id, n)
			}
		}
	}
}

func TestOCSFCheckFindsFaults(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"uid":"1","title":"x","analytic":{"type_id":1,"type":"Rule","name":"x"},"nonsense":1}`: "unknown attribute nonsense",
		`{"title":"x"}`:                                     "uid is required",
		`{"uid":"1","title":7}`:                             "title has the value 7",
		`{"uid":"1","title":"x","types":"a"}`:               "types is not an array",
		`{"uid":"1","title":"x","created_time":1700000000}`: "created_time has the value",
		`{"uid":"1","title":"x","analytic":{"type_id":77,"type":"Rule","name":"x"}}`:           "type_id has the value 77",
		`{"uid":"1","title":"x","analytic":{"type_id":1,"type":"Other","name":"x"}}`:           `type is "Other" beside type_id 1`,
		`{"uid":"1","title":"x","analytic":{"type_id":1,"type":"Rule"}}`:                       "needs one of [name uid]",
		`{"uid":"1","title":"x","attacks":[{"technique":{"uid":"T1"}},{"tactic":"not this"}]}`: "tactic is not an object",
	} {
		dec := json.NewDecoder(strings.NewReader(text))
		dec.UseNumber()
		var v any
		if err := dec.Decode(&v); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(checkOCSF("finding_info", v, "finding_info"), "\n"); !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}
