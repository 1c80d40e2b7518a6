// Command gen writes the tables and types of package model from AWS's service models.
//
//	go run ./gen -out DIRECTORY MODELS...
//
// MODELS are folders of JSON files in botocore's service-2 form. Those of AWS lie beside the repository. The one in models is of
// the part of IAM that Spoor serves, and was written for it; a test holds it against AWS's.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/format"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

func main() {
	out := flag.String("out", ".", "folder below which a package for each model is written")
	flag.Parse()
	if err := run(*out, flag.Args()...); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run writes generated.go of each package.
func run(out string, models ...string) error {
	files, err := generate(models...)
	if err != nil {
		return err
	}
	for _, pkg := range slices.Sorted(maps.Keys(files)) {
		if err := os.MkdirAll(filepath.Join(out, pkg), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, pkg, "generated.go"), files[pkg], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the code of each package by its name.
func generate(models ...string) (map[string][]byte, error) {
	var names []string
	for _, dir := range models {
		found, err := filepath.Glob(filepath.Join(dir, "*.json"))
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("no models in %q", dir)
		}
		names = append(names, found...)
	}
	files := map[string][]byte{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var s service
		if err := json.Unmarshal(text, &s); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		pkg := strings.ReplaceAll(strings.TrimSuffix(filepath.Base(name), ".json"), "-", "")
		if files[pkg] != nil {
			return nil, fmt.Errorf("%s: there is a model of %s already", name, pkg)
		}
		s.pkg = pkg
		if files[pkg], err = s.write(); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return files, nil
}

// service is a model, as far as it is used.
type service struct {
	pkg      string
	Metadata struct {
		APIVersion, EndpointPrefix, JSONVersion, Protocol, ServiceFullName, SigningName, TargetPrefix, XMLNamespace string
		Protocols                                                                                                   []string
		AWSQueryCompatible                                                                                          *struct{}
	}
	Operations map[string]operation
	Shapes     map[string]shape
	Source     struct{ Repo, Tag, Path string }
}

type operation struct {
	HTTP               struct{ Method, RequestURI string }
	Input              *struct{ Shape string }
	Output             *struct{ Shape, ResultWrapper string }
	Errors             []struct{ Shape string }
	AuthType           string
	Deprecated         bool
	RequestCompression *struct{ Encodings []string }
}

type shape struct {
	Type                                                       string
	Members                                                    map[string]member
	Required                                                   []string
	Member, Key, Value                                         *member
	Min, Max                                                   *int64
	Enum                                                       []string
	Pattern                                                    string
	Sensitive, Exception, Fault, Union, Eventstream, Flattened bool
	Error                                                      struct {
		Code           string
		HTTPStatusCode int
	}
}

type member struct{ Shape, Location, LocationName string }

// kinds are the kinds of shapes, and the Go types of those that are not made of others.
var kinds = map[string]struct{ kind, goType string }{
	"structure": {"Structure", ""}, "list": {"List", ""}, "map": {"Map", ""},
	"string": {"String", "string"}, "integer": {"Integer", "int32"}, "long": {"Long", "int64"}, "float": {"Float", "float32"},
	"double": {"Double", "float64"}, "boolean": {"Boolean", "bool"}, "timestamp": {"Timestamp", "time.Time"}, "blob": {"Blob", "[]byte"},
}

// statuses are HTTP statuses that the models leave out, of errors of CloudTrail as its Smithy model has them.
var statuses = map[string]map[string]int{
	"cloudtrail": {
		"AccessDeniedException": 403, "InsufficientS3BucketPolicyException": 403, "InsufficientSnsTopicPolicyException": 403,
		"MaximumNumberOfTrailsExceededException": 403, "NoManagementAccountSLRExistsException": 403, "NotOrganizationManagementAccountException": 403,
		"AccountNotFoundException": 404, "ChannelNotFoundException": 404, "EventDataStoreNotFoundException": 404, "ImportNotFoundException": 404,
		"OrganizationsNotInUseException": 404, "QueryIdNotFoundException": 404, "ResourcePolicyNotFoundException": 404,
		"S3BucketDoesNotExistException": 404, "TrailNotFoundException": 404, "TrailNotProvidedException": 404,
		"ConflictException": 409, "ThrottlingException": 429, "MaxConcurrentQueriesException": 429,
	},
}

// write returns the code of a package.
func (s *service) write() ([]byte, error) {
	names := slices.Sorted(maps.Keys(s.Shapes))
	index := map[string]int{}
	for i, name := range names {
		index[name] = i
	}
	var b bytes.Buffer
	m := s.Metadata
	fmt.Fprintf(&b, "// Code generated by spoor/internal/awsapi/model/gen; DO NOT EDIT.\n// Source: %s\n\n",
		strings.Join(strings.Fields(s.Source.Repo+" "+s.Source.Tag+" "+s.Source.Path), " "))
	fmt.Fprintf(&b, "// Package %s is the model of %s, version %s.\npackage %s\n\nimport (\n", s.pkg, m.ServiceFullName, m.APIVersion, s.pkg)
	types, usesTime, err := s.types()
	if err != nil {
		return nil, err
	}
	if usesTime {
		b.WriteString("\"time\"\n\n")
	}
	b.WriteString("\"spoor/internal/awsapi/model\"\n)\n\n// Service is the table of the service.\nvar Service = model.Service{\n")
	signing := m.SigningName
	if signing == "" {
		signing = m.EndpointPrefix
	}
	fmt.Fprintf(&b, "Name: %q, FullName: %q, Version: %q, SigningName: %q,\nTargetPrefix: %q, JSONVersion: %q, Namespace: %q,\n",
		s.pkg, m.ServiceFullName, m.APIVersion, signing, m.TargetPrefix, m.JSONVersion, m.XMLNamespace)
	protocols := m.Protocols
	if len(protocols) == 0 {
		protocols = []string{m.Protocol}
	}
	b.WriteString("Protocols: []model.Protocol{")
	for _, p := range protocols {
		goName, ok := map[string]string{"json": "JSON", "query": "Query", "rest-json": "RESTJSON", "smithy-rpc-v2-cbor": "CBOR"}[p]
		if !ok {
			return nil, fmt.Errorf("protocol %q is not known", p)
		}
		fmt.Fprintf(&b, "model.%s,", goName)
	}
	b.WriteString("},\n")
	if m.AWSQueryCompatible != nil {
		b.WriteString("QueryCompatible: true,\n")
	}

	b.WriteString("Operations: []model.Operation{\n")
	for _, name := range slices.Sorted(maps.Keys(s.Operations)) {
		o := s.Operations[name]
		fmt.Fprintf(&b, "{Name: %q", name)
		if o.HTTP.Method != "POST" || o.HTTP.RequestURI != "/" {
			fmt.Fprintf(&b, ", Method: %q, Path: %q", o.HTTP.Method, o.HTTP.RequestURI)
		}
		in, out := -1, -1
		if o.Input != nil {
			in = index[o.Input.Shape]
		}
		if o.Output != nil {
			out = index[o.Output.Shape]
		}
		fmt.Fprintf(&b, ", Input: %d, Output: %d", in, out)
		if len(o.Errors) > 0 {
			var list []string
			for _, e := range o.Errors {
				list = append(list, strconv.Itoa(index[e.Shape]))
			}
			fmt.Fprintf(&b, ", Errors: []int16{%s}", strings.Join(list, ", "))
		}
		if o.Output != nil && o.Output.ResultWrapper != "" {
			fmt.Fprintf(&b, ", Wrapper: %q", o.Output.ResultWrapper)
		}
		for _, f := range []struct {
			name string
			set  bool
		}{{"NoAuth", o.AuthType == "none"}, {"Gzip", o.RequestCompression != nil}, {"Deprecated", o.Deprecated}} {
			if f.set {
				fmt.Fprintf(&b, ", %s: true", f.name)
			}
		}
		b.WriteString("},\n")
	}
	b.WriteString("},\nShapes: []model.Shape{\n")
	for i, name := range names {
		if err := s.shape(&b, i, name, index); err != nil {
			return nil, err
		}
	}
	b.WriteString("},\n}\n\n")
	b.Write(types)
	code, err := format.Source(b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("format the code of %s: %w", s.pkg, err)
	}
	return code, nil
}

// shape writes a row of the table.
func (s *service) shape(b *bytes.Buffer, i int, name string, index map[string]int) error {
	sh := s.Shapes[name]
	kind, ok := kinds[sh.Type]
	if !ok {
		return fmt.Errorf("shape %s: type %q is not known", name, sh.Type)
	}
	if sh.Flattened {
		return fmt.Errorf("shape %s is flattened, which is not provided for", name)
	}
	fmt.Fprintf(b, "/* %d */ {Name: %q, Kind: model.%s", i, name, kind.kind)
	var flags []string
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"HasMin", sh.Min != nil}, {"HasMax", sh.Max != nil}, {"Sensitive", sh.Sensitive}, {"Exception", sh.Exception},
		{"Fault", sh.Fault}, {"Union", sh.Union}, {"EventStream", sh.Eventstream},
	} {
		if f.set {
			flags = append(flags, "model."+f.name)
		}
	}
	if len(flags) > 0 {
		fmt.Fprintf(b, ", Flags: %s", strings.Join(flags, " | "))
	}
	if sh.Min != nil && *sh.Min != 0 {
		fmt.Fprintf(b, ", Min: %d", *sh.Min)
	}
	if sh.Max != nil {
		fmt.Fprintf(b, ", Max: %d", *sh.Max)
	}
	switch {
	case sh.Type == "list" && sh.Member.LocationName != "":
		return fmt.Errorf("the members of %s travel under another name, which is not provided for", name)
	case sh.Type == "list":
		fmt.Fprintf(b, ", Elem: %d", index[sh.Member.Shape])
	case sh.Type == "map":
		fmt.Fprintf(b, ", Key: %d, Elem: %d", index[sh.Key.Shape], index[sh.Value.Shape])
		if sh.Key.LocationName+sh.Value.LocationName != "" {
			fmt.Fprintf(b, ", KeyName: %q, ElemName: %q", sh.Key.LocationName, sh.Value.LocationName)
		}
	}
	if len(sh.Enum) > 0 {
		fmt.Fprintf(b, ", Enum: %#v", sh.Enum)
	}
	if sh.Pattern != "" {
		expr, err := expression(sh.Pattern)
		if err != nil {
			return fmt.Errorf("shape %s: %w", name, err)
		}
		fmt.Fprintf(b, ", Pattern: %s", quote(sh.Pattern))
		if expr != sh.Pattern {
			fmt.Fprintf(b, ", Expr: %s", quote(expr))
		}
	}
	if sh.Exception {
		code, status := sh.Error.Code, sh.Error.HTTPStatusCode
		if status == 0 {
			status = statuses[s.pkg][name]
		}
		switch {
		case status != 0:
		case sh.Fault:
			status = 500
		default:
			status = 400
		}
		if code != "" && code != name {
			fmt.Fprintf(b, ", Code: %q", code)
		}
		fmt.Fprintf(b, ", Status: %d", status)
	}
	if len(sh.Members) > 0 {
		b.WriteString(", Members: []model.Member{")
		for _, m := range slices.Sorted(maps.Keys(sh.Members)) {
			mem := sh.Members[m]
			fmt.Fprintf(b, "{Name: %q, Shape: %d", m, index[mem.Shape])
			if slices.Contains(sh.Required, m) {
				b.WriteString(", Required: true")
			}
			switch mem.Location {
			case "":
				if mem.LocationName != "" {
					return fmt.Errorf("member %s of %s travels under another name, which is not provided for", m, name)
				}
			case "querystring":
				fmt.Fprintf(b, ", Query: %q", mem.LocationName)
			default:
				return fmt.Errorf("member %s of %s travels in the %s, which is not provided for", m, name, mem.Location)
			}
			b.WriteString("},")
		}
		b.WriteString("}")
	}
	b.WriteString("},\n")
	return nil
}

// types writes the Go types of the structures that inputs and outputs are made of.
func (s *service) types() (code []byte, usesTime bool, err error) {
	wanted := map[string]bool{}
	var want func(name string)
	want = func(name string) {
		if wanted[name] {
			return
		}
		wanted[name] = true
		sh := s.Shapes[name]
		for _, m := range sh.Members {
			want(m.Shape)
		}
		for _, m := range []*member{sh.Member, sh.Key, sh.Value} {
			if m != nil {
				want(m.Shape)
			}
		}
	}
	for _, o := range s.Operations {
		if o.Input != nil {
			want(o.Input.Shape)
		}
		if o.Output != nil {
			want(o.Output.Shape)
		}
	}
	var b bytes.Buffer
	b.WriteString("// The structures of inputs and outputs. Members that are nil are absent.\ntype (\n")
	seen := map[string]bool{"Service": true}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		sh := s.Shapes[name]
		if sh.Type != "structure" {
			continue
		}
		if seen[exported(name)] {
			return nil, false, fmt.Errorf("the Go type %s would be there twice", exported(name))
		}
		seen[exported(name)] = true
		fmt.Fprintf(&b, "// %s is %s of the model.\n%s struct {\n", exported(name), name, exported(name))
		fields := map[string]bool{}
		for _, m := range slices.Sorted(maps.Keys(sh.Members)) {
			if fields[exported(m)] {
				return nil, false, fmt.Errorf("the field %s of %s would be there twice", exported(m), name)
			}
			fields[exported(m)] = true
			t := s.goType(sh.Members[m].Shape)
			if !strings.HasPrefix(t, "[]") && !strings.HasPrefix(t, "map[") {
				t = "*" + t
			}
			usesTime = usesTime || strings.Contains(t, "time.Time")
			fmt.Fprintf(&b, "%s %s\n", exported(m), t)
		}
		b.WriteString("}\n")
	}
	b.WriteString(")\n")
	return b.Bytes(), usesTime, nil
}

// goType is the Go type of a shape that is an element of a list.
func (s *service) goType(name string) string {
	sh := s.Shapes[name]
	switch sh.Type {
	case "structure":
		return exported(name)
	case "list":
		return "[]" + s.goType(sh.Member.Shape)
	case "map":
		return "map[string]" + s.goType(sh.Value.Shape)
	}
	return kinds[sh.Type].goType
}

func exported(name string) string {
	r := []rune(name)
	r[0] = unicode.ToUpper(r[0])
	return string(r)
}

// quote writes a string as Go code, raw where that reads better.
func quote(s string) string {
	if strconv.CanBackquote(s) && strings.ContainsRune(s, '\\') {
		return "`" + s + "`"
	}
	return strconv.Quote(s)
}

var (
	pair     = regexp.MustCompile(`\\uD800\\uDC00-\\uDBFF\\uDFFF`)
	unicodes = regexp.MustCompile(`\\u(10[0-9A-Fa-f]{4}|10000|[0-9A-Fa-f]{4})`)
)

// rewritten are patterns that Go's expressions cannot say in the same words.
var rewritten = map[string]string{
	`^(?!\s*$).+`: `.*\S.*`, // a line that is not blank
	// No two hyphens in a row; the length is bounded beside it.
	`^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$`: `[a-z0-9](?:-?[a-z0-9])+`,
}

// expression translates a pattern from Java's language to Go's.
func expression(pattern string) (string, error) {
	e, ok := rewritten[pattern]
	if !ok {
		e = pair.ReplaceAllString(pattern, `\x{10000}-\x{10FFFF}`)
		e = unicodes.ReplaceAllString(e, `\x{$1}`)
	}
	if _, err := regexp.Compile(e); err != nil {
		return "", fmt.Errorf("the pattern %q has no equal in Go: %w", pattern, err)
	}
	return e, nil
}
