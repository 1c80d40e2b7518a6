package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"spoor/internal/awsapi/model"
)

// all is a structure with a member of each kind.
type all struct {
	Blob      []byte
	Bool      *bool
	Double    *float64
	Float     *float32
	Int       *int32
	List      []string
	Long      *int64
	Map       map[string]string
	Secret    *string
	Self      *all
	String    *string
	Structs   []all
	Time      *time.Time
	Union     *union
	Universes map[string]union
}

type union struct{ A, B *string }

// service is a model with constraints of each kind.
var service = model.Service{Name: "test", Shapes: []model.Shape{
	{Name: "All", Kind: model.Structure, Members: []model.Member{
		{Name: "blob", Shape: 1}, {Name: "Bool", Shape: 2}, {Name: "Double", Shape: 3}, {Name: "Float", Shape: 4}, {Name: "Int", Shape: 5}, {Name: "List", Shape: 6}, {Name: "Long", Shape: 7},
		{Name: "Map", Shape: 8}, {Name: "Secret", Shape: 9}, {Name: "Self", Shape: 0}, {Name: "String", Shape: 10, Required: true}, {Name: "Structs", Shape: 11}, {Name: "Time", Shape: 12},
		{Name: "Union", Shape: 13}, {Name: "Universes", Shape: 15},
	}},
	{Name: "Blob", Kind: model.Blob, Flags: model.HasMax, Max: 4},
	{Name: "Bool", Kind: model.Boolean},
	{Name: "Double", Kind: model.Double, Flags: model.HasMin | model.HasMax, Min: -1, Max: 1},
	{Name: "Float", Kind: model.Float},
	{Name: "Int", Kind: model.Integer, Flags: model.HasMin, Min: 1},
	{Name: "List", Kind: model.List, Flags: model.HasMin | model.HasMax, Min: 1, Max: 2, Elem: 14},
	{Name: "Long", Kind: model.Long, Flags: model.HasMax, Max: 1 << 40},
	{Name: "Map", Kind: model.Map, Flags: model.HasMax, Max: 2, Key: 14, Elem: 14},
	{Name: "Secret", Kind: model.String, Flags: model.Sensitive | model.HasMin, Min: 8},
	{Name: "String", Kind: model.String, Flags: model.HasMin | model.HasMax, Max: 3, Min: 1, Pattern: `[a-zé<>&"]+`},
	{Name: "Structs", Kind: model.List, Elem: 0},
	{Name: "Time", Kind: model.Timestamp},
	{Name: "Union", Kind: model.Structure, Flags: model.Union, Members: []model.Member{{Name: "A", Shape: 14}, {Name: "B", Shape: 14}}},
	{Name: "Short", Kind: model.String, Flags: model.HasMax, Max: 2, Enum: []string{"a", "b", "ccc", ""}},
	{Name: "Universes", Kind: model.Map, Key: 14, Elem: 13},
}}

func compile(t testing.TB) *Type {
	t.Helper()
	typ, err := NewCompiler(&service, "Union.B").Type(0, reflect.TypeFor[all]())
	if err != nil {
		t.Fatal(err)
	}
	return typ
}

func p[T any](v T) *T { return &v }

// full has every member set.
func full() all {
	at := time.Date(2026, 1, 10, 9, 12, 41, 123e6, time.UTC)
	return all{
		Blob: []byte{1, 2, 3}, Bool: p(true), Double: p(0.5), Float: p(float32(1.5)), Int: p(int32(7)), List: []string{"a", "b"}, Long: p(int64(1 << 40)),
		Map: map[string]string{"a": "b", "b": ""}, Secret: p("12345678"), Self: &all{String: p("x")}, String: p(`é<"`), Structs: []all{{String: p("a")}, {String: p("b"), Time: p(at.Truncate(time.Second))}},
		Time: &at, Union: &union{A: p("a")}, Universes: map[string]union{"a": {B: p("b")}},
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	typ, want := compile(t), full()
	for name, trip := range map[string]func(into *all) error{
		"json": func(into *all) error { return typ.DecodeJSON(typ.AppendJSON(nil, &want), into) },
		"cbor": func(into *all) error {
			b, err := typ.EncodeCBOR(&want)
			if err != nil {
				return err
			}
			return typ.DecodeCBOR(b, into)
		},
	} {
		var got all
		if err := trip(&got); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v\nwant %+v", name, got, want)
		}
	}
	if vs := typ.Validate(&want); len(vs) > 0 {
		t.Error(Message(vs))
	}
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	typ, v := compile(t), full()
	if got, want := string(typ.AppendJSON(nil, &v)), `{"blob":"AQID","Bool":true,"Double":0.5,"Float":1.5,"Int":7,"List":["a","b"],"Long":1099511627776,"Map":{"a":"b","b":""},`+
		`"Secret":"12345678","Self":{"String":"x"},"String":"é\u003c\"","Structs":[{"String":"a"},{"String":"b","Time":1768036361}],"Time":1768036361.123,"Union":{"A":"a"},"Universes":{"a":{"B":"b"}}}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := string(typ.Record(&v)), `{"blob":"AQID","bool":true,"double":0.5,"float":1.5,"int":7,"list":["a","b"],"long":1099511627776,"map":{"a":"b","b":""},`+
		`"secret":"HIDDEN_DUE_TO_SECURITY_REASONS","self":{"string":"x"},"string":"é\u003c\"","structs":[{"string":"a"},{"string":"b","time":"Jan 10, 2026, 9:12:41 AM"}],`+
		`"time":"Jan 10, 2026, 9:12:41 AM","union":{"a":"a"},"universes":{"a":{"b":"HIDDEN_DUE_TO_SECURITY_REASONS"}}}`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := string(typ.AppendXML(nil, &v)), `<blob>AQID</blob><Bool>true</Bool><Double>0.5</Double><Float>1.5</Float><Int>7</Int><List><member>a</member><member>b</member></List><Long>1099511627776</Long>`+
		`<Map><entry><key>a</key><value>b</value></entry><entry><key>b</key><value></value></entry></Map><Secret>12345678</Secret><Self><String>x</String></Self><String>é&lt;&#34;</String>`+
		`<Structs><member><String>a</String></member><member><String>b</String><Time>2026-01-10T09:12:41Z</Time></member></Structs><Time>2026-01-10T09:12:41.123Z</Time><Union><A>a</A></Union>`+
		`<Universes><entry><key>a</key><value><B>b</B></value></entry></Universes>`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	odd := all{Double: p(math.NaN()), Float: p(float32(math.Inf(-1)))}
	if got := string(typ.AppendJSON(nil, &odd)); got != `{"Double":"NaN","Float":"-Infinity"}` {
		t.Error(got)
	}
	if got := string(typ.AppendXML(nil, &odd)); got != `<Double>NaN</Double><Float>-Infinity</Float>` {
		t.Error(got)
	}
	if got := string(typ.AppendXML(nil, &all{String: p("\x00\x1b")})); got != "<String>\uFFFD\uFFFD</String>" {
		t.Errorf("%q", got)
	}
	if typ.Record(&all{}) != nil || !typ.Empty(&all{}) || typ.Empty(&v) {
		t.Error("empty is not told from full")
	}
}

func TestQuery(t *testing.T) {
	t.Parallel()
	typ := compile(t)
	form := "blob=AQID&Bool=true&Double=0.5&Float=1.5&Int=7&List.member.1=a&List.member.10=b&Long=1099511627776&Map.entry.1.key=a&Map.entry.1.value=b&Map.entry.2.key=b&Map.entry.2.value=" +
		"&Secret=12345678&Self.String=x&String=%C3%A9%3C%22&Structs.member.1.String=a&Structs.member.2.String=b&Structs.member.2.Time=2026-01-10T09:12:41Z&Time=2026-01-10T09:12:41.123Z" +
		"&Union.A=a&Universes.entry.1.key=a&Universes.entry.1.value.B=b&Action=x&Other.a.b=c"
	values, err := ParseQuery(form)
	if err != nil {
		t.Fatal(err)
	}
	var got all
	if err := typ.DecodeQuery(values, &got); err != nil {
		t.Fatal(err)
	}
	if want := full(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	got = all{}
	if err := typ.DecodeQuery(url.Values{"List": {""}, "Time": {"1768036361"}, "Double": {"NaN"}}, &got); err != nil || got.List == nil || got.Time.Unix() != 1768036361 || !math.IsNaN(*got.Double) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{
		"Int=1.5", "Int=99999999999", "Bool=yes", "Bool=True", "Double=x", "Time=yesterday", "blob=!", "Self=x", "Map.entry.1.key=a", "Map.entry.1.value=a",
		"Map.entry.1.key=a&Map.entry.1.value=b&Map.entry.2.key=a&Map.entry.2.value=c", "List.member.0=a", "List.member.01=a", "List.member.-1=a", "List.other.1=a", "List=x&List.member.1=a",
		"String=a&String.x=b", "a=1&a=2", "a=%zz", "a=%ff", "Time=99999999999999", "Self" + strings.Repeat(".Self", 200) + ".String=a", strings.Repeat("a&", 30_000),
	} {
		values, err := ParseQuery(bad)
		if err == nil {
			err = typ.DecodeQuery(values, &all{})
		}
		var e *Error
		if !errors.As(err, &e) || e.Text == "" {
			t.Errorf("%.60s: %v", bad, err)
		}
	}
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	typ := compile(t)
	for _, bad := range []string{
		`x`, `{`, `{"a":1,}`, `[]`, `"x"`, `null x`, `1`, `{}{}`, `{"a":1,"a":2}`, `{"Self":{"b":{"c":1,"c":1}}}`, "{\"a\":\"\xff\"}", `{"Bool":1}`, `{"Bool":"true"}`, `{"Int":1.5}`, `{"Int":1e400}`, `{"Int":2147483648}`,
		`{"Long":9223372036854775808}`, `{"Float":1e300}`, `{"Double":"x"}`, `{"Double":1e999}`, `{"Time":"2026-01-10T09:12:41Z"}`, `{"Time":"NaN"}`, `{"Time":1e15}`, `{"blob":"A"}`, `{"blob":1}`, `{"List":{}}`, `{"List":"a"}`,
		`{"List":[null]}`, `{"List":[1]}`, `{"Map":[]}`, `{"Map":{"a":null}}`, `{"Structs":[[]]}`, `{"Self":[]}`, `{"String":{}}`, `{"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
	} {
		var e *Error
		if err := typ.DecodeJSON([]byte(bad), &all{}); !errors.As(err, &e) || e.Text == "" {
			t.Errorf("%.60s: %v", bad, err)
		}
	}
	for _, good := range []string{``, " \n", `{}`, `null`, `{"String":null,"Nothing":{"a":[1,2]}}`} {
		var v all
		err := typ.DecodeJSON([]byte(good), &v)
		if good == `null` { // which is no object
			if err == nil {
				t.Error("null is an object")
			}
			continue
		}
		if err != nil || !typ.Empty(&v) {
			t.Errorf("%q: %v", good, err)
		}
	}
	deep := bytes.Repeat([]byte{0x81}, 200)
	for name, bad := range map[string]any{
		"number": 1, "list": []int{1}, "keys": map[int]string{1: "a"}, "text": map[string]any{"String": 1}, "bytes": map[string]any{"String": []byte("a")}, "big": map[string]any{"Long": uint64(math.MaxUint64)},
		"fraction": map[string]any{"Int": 1.5}, "nan": map[string]any{"Time": cbor.Tag{Number: 1, Content: math.NaN()}}, "null": map[string]any{"List": []any{nil}},
	} {
		b, err := cbor.Marshal(bad)
		if err != nil {
			t.Fatal(err)
		}
		var e *Error
		if err := typ.DecodeCBOR(b, &all{}); !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bad := range [][]byte{deep, {0xa0, 0xa0}, {0xbf}, {0xa1, 0x61, 0xff, 0x01}, {0xc2, 0x41, 0x01}, {0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}} {
		var e *Error
		if err := typ.DecodeCBOR(bad, &all{}); !errors.As(err, &e) {
			t.Errorf("%x: %v", bad, err)
		}
	}
	// Numbers arrive in whatever form is shortest, and strings in pieces.
	var v all
	if err := typ.DecodeCBOR([]byte("\xbf\x66Double\x01\x63Int\xf9\x47\x00\x66String\x7f\x61a\x61b\xff\x64Time\xc1\xfb\x41\xda\x58\x81\x0a\x40\x00\x00\xff"), &v); err != nil || *v.Double != 1 || *v.Int != 7 || *v.String != "ab" || v.Time == nil {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	typ := compile(t)
	for name, c := range map[string]struct {
		change func(v *all)
		want   string
	}{
		"missing":        {func(v *all) { v.String = nil }, "1 validation error detected: Value null at 'string' failed to satisfy constraint: Member must not be null"},
		"short, pattern": {func(v *all) { v.String = p("") }, "2 validation errors detected: Value '' at 'string' failed to satisfy constraint: Member must have length greater than or equal to 1; Value '' at 'string' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zé<>&\"]+"},
		"characters":     {func(v *all) { v.String = p("ééé") }, ""},
		"long":           {func(v *all) { v.String = p("éééé") }, "1 validation error detected: Value 'éééé' at 'string' failed to satisfy constraint: Member must have length less than or equal to 3"},
		"line":           {func(v *all) { v.String = p("a\n") }, "1 validation error detected: Value 'a\n' at 'string' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zé<>&\"]+"},
		"blob":           {func(v *all) { v.Blob = make([]byte, 5) }, "1 validation error detected: Value '5 bytes' at 'blob' failed to satisfy constraint: Member must have length less than or equal to 4"},
		"value":          {func(v *all) { v.Int = p(int32(0)) }, "1 validation error detected: Value '0' at 'int' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		"large":          {func(v *all) { v.Long = p(int64(1<<40 + 1)) }, "1 validation error detected: Value '1099511627777' at 'long' failed to satisfy constraint: Member must have value less than or equal to 1099511627776"},
		"fraction":       {func(v *all) { v.Double = p(-1.5) }, "1 validation error detected: Value '-1.5' at 'double' failed to satisfy constraint: Member must have value greater than or equal to -1"},
		"few":            {func(v *all) { v.List = []string{} }, "1 validation error detected: Value '[]' at 'list' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		"element":        {func(v *all) { v.List = []string{"a", "x"} }, "1 validation error detected: Value '[a, x]' at 'list' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 2, Member must satisfy enum value set: [a, b, ccc, ]]"},
		"key":            {func(v *all) { v.Map = map[string]string{"x": "a"} }, "1 validation error detected: Value '{x=a}' at 'map' failed to satisfy constraint: Map keys must satisfy constraint: [Member must have length less than or equal to 2, Member must satisfy enum value set: [a, b, ccc, ]]"},
		"map value":      {func(v *all) { v.Map = map[string]string{"a": "ccc"} }, "1 validation error detected: Value '{a=ccc}' at 'map' failed to satisfy constraint: Map value must satisfy constraint: [Member must have length less than or equal to 2, Member must satisfy enum value set: [a, b, ccc, ]]"},
		"deep":           {func(v *all) { v.Structs[1].String = nil }, "1 validation error detected: Value null at 'structs.2.member.string' failed to satisfy constraint: Member must not be null"},
		"secret":         {func(v *all) { v.Secret = p("1234567") }, "1 validation error detected: Value at 'secret' failed to satisfy constraint: Member must have length greater than or equal to 8"},
		"no union":       {func(v *all) { v.Union = &union{} }, "1 validation error detected: Value 'Union()' at 'union' failed to satisfy constraint: Exactly one member must be set"},
		"hidden member":  {func(v *all) { v.Universes["a"] = union{A: p("a"), B: p("b")} }, "1 validation error detected: Value 'Union(a=a, b=***)' at 'universes.a.member' failed to satisfy constraint: Exactly one member must be set"},
	} {
		v := full()
		c.change(&v)
		got := ""
		if vs := typ.Validate(&v); len(vs) > 0 {
			got = Message(vs)
		}
		if got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, c.want)
		}
	}
	v := full()
	for range 200 {
		v.Structs = append(v.Structs, all{String: p(strings.Repeat("é", 10_000))})
	}
	if vs := typ.Validate(&v); len(vs) != maxViolations || len(Message(vs)) > 100_000 || vs[0].Member != "Structs" || vs[0].Rule != MaxLength {
		t.Errorf("%d violations, %d bytes, %+v", len(vs), len(Message(vs)), vs[0].Rule)
	}
}

func TestCompiler(t *testing.T) {
	t.Parallel()
	type lacks struct{ A *string }
	type other struct{ A, B *int32 }
	for name, try := range map[string]func(c *Compiler) error{
		"lacks a field": func(c *Compiler) error { _, err := c.Type(13, reflect.TypeFor[lacks]()); return err },
		"other type":    func(c *Compiler) error { _, err := c.Type(13, reflect.TypeFor[other]()); return err },
		"no structure":  func(c *Compiler) error { _, err := c.Type(13, reflect.TypeFor[string]()); return err },
		"no shape":      func(c *Compiler) error { _, err := c.Type(99, reflect.TypeFor[union]()); return err },
		"two types": func(c *Compiler) error {
			type again struct{ A, B *string }
			_, err := c.Type(13, reflect.TypeFor[union]())
			if err != nil {
				return nil
			}
			_, err = c.Type(13, reflect.TypeFor[again]())
			return err
		},
	} {
		if try(NewCompiler(&service)) == nil {
			t.Errorf("%s: was taken", name)
		}
	}
}

func TestParameters(t *testing.T) {
	t.Parallel()
	rest := model.Service{Name: "rest", Shapes: []model.Shape{
		{Name: "In", Kind: model.Structure, Members: []model.Member{{Name: "A", Shape: 1, Query: "a"}, {Name: "B", Shape: 1}}}, {Name: "String", Kind: model.String},
	}}
	typ, err := NewCompiler(&rest).Type(0, reflect.TypeFor[union]())
	if err != nil {
		t.Fatal(err)
	}
	var v union
	if err := typ.DecodeJSON([]byte(`{"A":"body","B":"b"}`), &v); err != nil || v.A != nil || *v.B != "b" {
		t.Errorf("%+v, %v", v, err)
	}
	if err := typ.Parameters(url.Values{"a": {"url"}, "B": {"x"}}, &v); err != nil || *v.A != "url" || *v.B != "b" {
		t.Errorf("%+v, %v", v, err)
	}
	if typ.Parameters(url.Values{"a": {"1", "2"}}, &v) == nil {
		t.Error("a parameter came twice")
	}
}

// same holds that what was decoded is decoded to the same again, and has a form in every encoding.
func same(t *testing.T, typ *Type, v *all) {
	t.Helper()
	_ = typ.Validate(v)
	text := typ.AppendJSON(nil, v)
	if !json.Valid(text) || len(typ.Record(v)) > 0 && !json.Valid(typ.Record(v)) {
		t.Fatalf("no JSON: %s", text)
	}
	var again all
	if err := typ.DecodeJSON(text, &again); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if second := typ.AppendJSON(nil, &again); !bytes.Equal(text, second) {
		t.Fatalf("%s became %s", text, second)
	}
	b, err := typ.EncodeCBOR(v)
	if err != nil {
		t.Fatal(err)
	}
	var other all
	if err := typ.DecodeCBOR(b, &other); err != nil {
		t.Fatalf("%x: %v", b, err)
	}
	if third := typ.AppendJSON(nil, &other); !bytes.Equal(text, third) {
		t.Fatalf("%s became %s", text, third)
	}
	_ = typ.AppendXML(nil, v)
}

func FuzzJSON(f *testing.F) {
	typ := compile(f)
	v := full()
	f.Add(typ.AppendJSON(nil, &v))
	f.Add([]byte(`{"Self":{"Self":{}},"x":[1,2,{"a":null}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var v all
		if err := typ.DecodeJSON(body, &v); err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%T", err)
			}
			return
		}
		same(t, typ, &v)
	})
}

func FuzzCBOR(f *testing.F) {
	typ := compile(f)
	v := full()
	b, err := typ.EncodeCBOR(&v)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, body []byte) {
		var v all
		if err := typ.DecodeCBOR(body, &v); err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%T", err)
			}
			return
		}
		same(t, typ, &v)
	})
}

func FuzzQuery(f *testing.F) {
	typ := compile(f)
	f.Add("List.member.1=a&Map.entry.1.key=a&Map.entry.1.value=b&Self.Structs.member.1.Int=1&Time=2026-01-10T09:12:41Z")
	f.Fuzz(func(t *testing.T, form string) {
		values, err := ParseQuery(form)
		var v all
		if err == nil {
			err = typ.DecodeQuery(values, &v)
		}
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%T", err)
			}
			return
		}
		same(t, typ, &v)
	})
}

func BenchmarkDecodeJSON(b *testing.B) {
	typ, v := compile(b), full()
	body := typ.AppendJSON(nil, &v)
	b.ReportAllocs()
	for b.Loop() {
		var v all
		if err := typ.DecodeJSON(body, &v); err != nil {
			b.Fatal(err)
		}
		if vs := typ.Validate(&v); len(vs) > 0 {
			b.Fatal(fmt.Sprint(vs))
		}
	}
}
