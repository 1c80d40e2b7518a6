package event

import (
	"strings"
	"testing"
)

func TestFieldsEqualKeyTables(t *testing.T) {
	places := map[string]place{}
	for p, path := range placePaths {
		places[strings.TrimSuffix(path, ".")] = place(p)
	}
	for f := range Field(NumFields) {
		parent, last := "", Fields[f].Path
		for i := len(last) - 1; i >= 0; i-- {
			if last[i] == '.' {
				parent, last = last[:i], last[i+1:]
				break
			}
		}
		if got := fieldAt(places[parent], []byte(last)); got != f {
			t.Errorf("%s: the key table gives %d, want %d", Fields[f].Path, got, f)
		}
	}
}

func TestFind(t *testing.T) {
	e, err := Parse([]byte(`{"eventName":"X","userIdentity":{"type":"Root","sessionContext":{"sessionIssuer":{"type":"Role"}}},"requestParameters":{"a":[{"b":[1,2]},{"B":3}],"c.d":"dotted","c":{"d":"nested"},"n":null},"EventSource":"iam"}`))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"eventName": "X", "EVENTNAME": "X", "userIdentity.sessionContext.sessionIssuer.type": "Role", "requestParameters.a.b": "|3",
		"requestParameters.c.d": "dotted", "requestParameters.n": "", "requestParameters.zzz": "-", "eventSource": "iam", "requestParameters.a.0.b.1": "2",
		"userIdentity.type.x": "-",
	} {
		got, sep := "", ""
		if !e.Find(ParsePath(path), func(v Value) bool { got += sep + v.Text(); sep = "|"; return true }) {
			got = "-"
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

func TestFailed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		`{"eventName":"X"}`: false,
		`{"eventName":"X","errorCode":null,"errorMessage":null}`:                     false,
		`{"eventName":"X","errorCode":""}`:                                           false,
		`{"eventName":"X","errorCode":"AccessDenied"}`:                               true,
		`{"eventName":"X","errorMessage":"no"}`:                                      true,
		`{"eventName":"ConsoleLogin","responseElements":{"ConsoleLogin":"Failure"}}`: true,
		`{"eventName":"ConsoleLogin","responseElements":{"ConsoleLogin":"Success"}}`: false,
		`{"eventName":"X","responseElements":{"ConsoleLogin":"Failure"}}`:            false,
	} {
		e, err := Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if e.Failed() != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
}

// FuzzProbe checks that a probe never hides what a walk without it finds.
func FuzzProbe(f *testing.F) {
	f.Add(`{"requestParameters":{"x":"0123456789012345678901234567890123456789","Omitted":true}}`, "requestParameters.omitted")
	f.Add(`{"requestParameters":{"x":"0123456789012345678901234567890123456789","a.b":true}}`, "requestParameters.a.b")
	f.Add(`{"requestParameters":{"x":"0123456789012345678901234567890123456789","\u006fmitted":true}}`, "requestParameters.omitted")
	f.Add(`{"requestParameters":{"x":"0123456789012345678901234567890123456789","S3-Key_1":true}}`, "requestParameters.s3-key_1")
	f.Add(`{"requestParameters":{"x":"0123456789012345678901234567890123456789","ſ3-Key_1":true}}`, "requestParameters.s3-key_1")
	f.Fuzz(func(t *testing.T, record, path string) {
		e, err := Parse([]byte(record))
		if err != nil || len(path) > 100 {
			return
		}
		p := ParsePath(path)
		plain := ParsePath(path)
		for i := range plain.probes {
			plain.probes[i] = probe{}
		}
		if got, want := e.First(p), e.First(plain); string(got.Raw()) != string(want.Raw()) {
			t.Fatalf("%s in %s: %s, want %s", path, record, got.Raw(), want.Raw())
		}
	})
}
