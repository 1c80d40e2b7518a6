package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

// botocore reads AWS's model of a service that the AWS CLI has, where make awscli has installed it.
func botocore(t *testing.T, service string) *fullModel {
	t.Helper()
	found, err := filepath.Glob("../../../../out/awscli/lib/python3*/site-packages/awscli/botocore/data/" + service + "/service-2.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 {
		if os.Getenv("CI") != "" {
			t.Fatal("the AWS CLI is not installed: run make awscli")
		}
		t.Skip("the AWS CLI is not installed: make awscli installs it")
	}
	return readModel(t, found[0])
}

// hold compares a model that was written for Spoor with AWS's: what is in ours is in AWS's, with the same types, constraints and
// codes.
func hold(t *testing.T, ours, theirs *fullModel, operations int, metadata ...string) {
	t.Helper()
	for _, name := range append(metadata, "apiVersion", "endpointPrefix", "protocol", "protocols", "serviceAbbreviation", "serviceFullName", "serviceId", "signatureVersion", "uid") {
		if a, b := ours.Metadata[name], theirs.Metadata[name]; a == nil || !reflect.DeepEqual(a, b) {
			t.Errorf("metadata %s: %v, AWS has %v", name, a, b)
		}
	}
	for _, wrong := range differences(ours, theirs) {
		t.Error(wrong)
	}
	if len(ours.Operations) != operations {
		t.Errorf("%d operations", len(ours.Operations))
	}
}

// TestKMS holds the model of KMS against AWS's.
func TestKMS(t *testing.T) {
	t.Parallel()
	hold(t, readModel(t, "models/kms.json"), botocore(t, "kms/2014-11-01"), 29, "jsonVersion", "targetPrefix")
}

// TestBotocore holds the model of IAM against AWS's.
func TestBotocore(t *testing.T) {
	t.Parallel()
	ours, theirs := readModel(t, "models/iam.json"), botocore(t, "iam/2010-05-08")
	hold(t, ours, theirs, 26, "globalEndpoint", "xmlNamespace")

	// And the comparison sees what is different.
	for name, change := range map[string]func(*fullModel){
		"operation CreateUser: errors": func(m *fullModel) { delete(m.Operations["CreateUser"], "errors") },
		"operation Invented: AWS has none": func(m *fullModel) {
			m.Operations["Invented"] = map[string]any{"input": map[string]any{"shape": "GetUserRequest"}}
		},
		"CreateUser.input.UserName: pattern": func(m *fullModel) { m.Shapes["userNameType"]["pattern"] = ".*" },
		"CreateUser.input.UserName: max":     func(m *fullModel) { delete(m.Shapes["userNameType"], "max") },
		"GetUser.output: required":           func(m *fullModel) { delete(m.Shapes["GetUserResponse"], "required") },
		"CreateUser.input.Nothing: AWS has none": func(m *fullModel) {
			m.Shapes["CreateUserRequest"]["members"].(map[string]any)["Nothing"] = map[string]any{"shape": "stringType"}
		},
		"CreateUser.input: members":                                   func(m *fullModel) { delete(m.Shapes["CreateUserRequest"]["members"].(map[string]any), "Tags") },
		"GetUser.errors.NoSuchEntityException: error":                 func(m *fullModel) { delete(m.Shapes["NoSuchEntityException"], "error") },
		"CreateAccessKey.output.AccessKey.SecretAccessKey: sensitive": func(m *fullModel) { delete(m.Shapes["accessKeySecretType"], "sensitive") },
		"ListUsers.input.MaxItems: type":                              func(m *fullModel) { m.Shapes["maxItemsType"]["type"] = "long" },
		"UpdateAccessKey.input.Status: enum":                          func(m *fullModel) { m.Shapes["statusType"]["enum"] = []any{"Active"} },
	} {
		m := readModel(t, "models/iam.json")
		change(m)
		if got := differences(m, theirs); !slices.ContainsFunc(got, func(s string) bool { return len(s) >= len(name) && s[:len(name)] == name }) {
			t.Errorf("%s is not found: %q", name, got)
		}
	}
}

// fullModel is a model in every detail.
type fullModel struct {
	Metadata           map[string]any
	Operations, Shapes map[string]map[string]any
}

func readModel(t *testing.T, path string) *fullModel {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := &fullModel{}
	if err := json.Unmarshal(text, m); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return m
}

// differences says what ours has that theirs has not, or otherwise. Of structures that inputs are made of, all members have to
// be there: one that is left out would be ignored, not refused.
func differences(ours, theirs *fullModel) []string {
	var wrong []string
	say := func(format string, a ...any) { wrong = append(wrong, fmt.Sprintf(format, a...)) }
	var shape func(at, a, b string, input bool, above []string)
	shape = func(at, a, b string, input bool, above []string) {
		if slices.Contains(above, a) {
			return
		}
		above = append(above, a)
		x, y := ours.Shapes[a], theirs.Shapes[b]
		if x == nil || y == nil {
			say("%s: there is no shape %s or %s", at, a, b)
			return
		}
		for _, k := range []string{"type", "min", "max", "pattern", "enum", "sensitive", "exception", "fault", "error", "flattened", "required", "union"} {
			if !reflect.DeepEqual(x[k], y[k]) {
				say("%s: %s is %v, AWS has %v", at, k, x[k], y[k])
			}
		}
		for _, k := range []string{"member", "key", "value"} {
			if of := pointed(x[k]); of != "" {
				shape(at+"."+k, of, pointed(y[k]), input, above)
			}
		}
		mine, _ := x["members"].(map[string]any)
		all, _ := y["members"].(map[string]any)
		for _, m := range slices.Sorted(maps.Keys(mine)) {
			if all[m] == nil {
				say("%s.%s: AWS has none", at, m)
				continue
			}
			shape(at+"."+m, pointed(mine[m]), pointed(all[m]), input, above)
		}
		if input && len(mine) < len(all) {
			say("%s: members %q, AWS has %q", at, slices.Sorted(maps.Keys(mine)), slices.Sorted(maps.Keys(all)))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(ours.Operations)) {
		o, of := ours.Operations[name], theirs.Operations[name]
		if of == nil {
			say("operation %s: AWS has none", name)
			continue
		}
		for _, k := range []string{"name", "http", "input", "output", "errors", "authtype", "deprecated"} {
			a, b := o[k], of[k]
			if m, ok := b.(map[string]any); ok {
				delete(m, "documentation")
			}
			if !reflect.DeepEqual(a, b) {
				say("operation %s: %s is %v, AWS has %v", name, k, a, b)
			}
		}
		for _, k := range []string{"input", "output"} {
			if a := pointed(o[k]); a != "" {
				shape(name+"."+k, a, pointed(of[k]), k == "input", nil)
			}
		}
		errs, _ := o["errors"].([]any)
		for _, e := range errs {
			shape(name+".errors."+pointed(e), pointed(e), pointed(e), false, nil)
		}
	}
	return wrong
}

// pointed is the shape that a member is of.
func pointed(v any) string {
	m, _ := v.(map[string]any)
	s, _ := m["shape"].(string)
	return s
}
