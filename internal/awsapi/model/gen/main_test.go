package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"spoor/internal/source/sourcetest"
)

// TestGenerated holds the committed code equal to what the models give.
func TestGenerated(t *testing.T) {
	t.Parallel()
	t.Run("own", func(t *testing.T) { equal(t, "models", 2) })
	t.Run("shared", func(t *testing.T) { equal(t, filepath.Join(sourcetest.Shared(t), "spec", "models"), 8) })
}

func equal(t *testing.T, models string, n int) {
	t.Parallel()
	files, err := generate(models)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != n {
		t.Errorf("%d models", len(files))
	}
	for pkg, want := range files {
		got, err := os.ReadFile(filepath.Join("..", pkg, "generated.go"))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("%s is not what its model gives: go generate ./internal/awsapi/model", pkg)
		}
	}
}

func TestExpression(t *testing.T) {
	t.Parallel()
	for pattern, c := range map[string]struct{ yes, no string }{
		`[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\t]*`: {"a é 😀", "\x00"},
		`[\u0009\u000A\u0020-\u00FF\u10000-\u10FFFF]+`:             {"a\n😀", "\x00"},
		`^(?!\s*$).+`: {" a ", "  "},
		`^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$`: {"a-b-c", "a--b"},
		`[a-z]{3}`:         {"abc", "ab"},
		`(?s).*`:           {"a\nb", ""},
		`[\p{L}\p{Z}@\-]+`: {"é a@-", "!"},
	} {
		e, err := expression(pattern)
		if err != nil {
			t.Error(err)
			continue
		}
		r := regexp.MustCompile(`^(?:` + e + `)$`)
		if !r.MatchString(c.yes) || c.no != "" && r.MatchString(c.no) {
			t.Errorf("%s became %s", pattern, e)
		}
	}
	for _, pattern := range []string{`(?=a)b`, `[a-z]{1,2048}`} {
		if _, err := expression(pattern); err == nil {
			t.Errorf("%s, which Go cannot say, was taken", pattern)
		}
	}
}

// TestProvided holds that what the tables cannot say is refused, rather than left out.
func TestProvided(t *testing.T) {
	t.Parallel()
	model := func(shape, protocol string) string {
		return `{"metadata":{"apiVersion":"1","endpointPrefix":"x","serviceFullName":"X","protocol":"` + protocol + `"},"operations":{"A":{"http":{"method":"POST","requestUri":"/"},"input":{"shape":"I"}}},
			"shapes":{"I":{"type":"structure","members":{"M":{"shape":"S"}}},"S":` + shape + `,"T":{"type":"string"}}}`
	}
	for name, c := range map[string]struct{ shape, protocol, want string }{
		"fine":          {`{"type":"string","min":1}`, "json", ""},
		"type":          {`{"type":"document"}`, "json", "is not known"},
		"flattened":     {`{"type":"list","member":{"shape":"T"},"flattened":true}`, "query", "flattened"},
		"names of list": {`{"type":"list","member":{"shape":"T","locationName":"item"}}`, "query", "under another name"},
		"header":        {`{"type":"structure","members":{"M":{"shape":"T","location":"header"}}}`, "json", "travels in the header"},
		"renamed":       {`{"type":"structure","members":{"M":{"shape":"T","locationName":"m"}}}`, "json", "under another name"},
		"pattern":       {`{"type":"string","pattern":"(?<=a)b"}`, "json", "no equal"},
		"protocol":      {`{"type":"string"}`, "ec2", "protocol"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "x-y.json"), []byte(model(c.shape, c.protocol)), 0o600); err != nil {
			t.Fatal(err)
		}
		err := run(dir, dir)
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v", name, err)
		case c.want == "":
			if code, err := os.ReadFile(filepath.Join(dir, "xy", "generated.go")); err != nil || !bytes.Contains(code, []byte("Min: 1")) {
				t.Errorf("%s: %v %s", name, err, code)
			}
		}
	}
	if err := run(t.TempDir(), t.TempDir()); err == nil {
		t.Error("no models are fine")
	}
	if err := run(t.TempDir(), "models", "models"); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("two models of one service: %v", err)
	}
}
