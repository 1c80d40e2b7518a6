package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"spoor/internal/awsapi/model"
)

type timeValue = time.Time

// DecodeJSON decodes a JSON object into a structure. An empty body is an empty object.
func (t *Type) DecodeJSON(body []byte, into any) error {
	v := t.root(into)
	if err := utf8Text(body); err != nil {
		return err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	value, err := readJSON(d, MaxDepth)
	if err == nil {
		if _, end := d.Token(); !errors.Is(end, io.EOF) {
			err = malformed("Something follows the end of the JSON object")
		}
	}
	if err != nil {
		var e *Error
		if errors.As(err, &e) {
			return err
		}
		return malformed("The request body is not valid JSON")
	}
	return t.bind(value, v)
}

// readJSON reads a value. Names that come twice are refused: who records a request and who serves it must not read it differently.
func readJSON(d *json.Decoder, depth int) (any, error) {
	tok, err := d.Token()
	if err != nil {
		return nil, err
	}
	open, ok := tok.(json.Delim)
	if !ok {
		return tok, nil
	}
	if depth == 0 {
		return nil, malformed("The request is nested too deeply")
	}
	if open == '[' {
		list := []any{}
		for d.More() {
			v, err := readJSON(d, depth-1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	}
	m := map[string]any{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, ok := name.(string)
		if !ok {
			return nil, malformed("The request body is not valid JSON")
		}
		if _, twice := m[key]; twice {
			return nil, malformed("The request has a member twice")
		}
		if m[key], err = readJSON(d, depth-1); err != nil {
			return nil, err
		}
	}
	_, err = d.Token()
	return m, err
}

// decoding is how CBOR is read.
var decoding = func() cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: MaxDepth, DefaultMapType: reflect.TypeFor[map[string]any](),
		BignumTag: cbor.BignumTagForbidden,
	}.DecMode()
	if err != nil {
		panic(err) // the options are constant
	}
	return m
}()

// DecodeCBOR decodes a CBOR map into a structure. An empty body is an empty map.
func (t *Type) DecodeCBOR(body []byte, into any) error {
	v := t.root(into)
	if len(body) == 0 {
		return nil
	}
	var value any
	if err := decoding.Unmarshal(body, &value); err != nil {
		return malformed("The request body is not a valid CBOR map")
	}
	return t.bind(value, v)
}

// Parameters puts the members that travel in the URL into a structure.
func (t *Type) Parameters(q url.Values, into any) error {
	v := t.root(into)
	for i := range t.fields {
		f := &t.fields[i]
		if f.query == "" || len(q[f.query]) == 0 {
			continue
		}
		if len(q[f.query]) > 1 {
			return malformed("The parameter '%s' is given more than once", f.query)
		}
		if err := f.t.scan(q.Get(f.query), f.room(v)); err != nil {
			return err
		}
	}
	return nil
}

// found is what AWS calls what came.
func found(value any) string {
	switch v := value.(type) {
	case string:
		return "STRING_VALUE"
	case bool:
		return strings.ToUpper(strconv.FormatBool(v)) + "_VALUE"
	case []any:
		return "START_ARRAY"
	case map[string]any:
		return "START_OBJECT"
	case []byte:
		return "BLOB_VALUE"
	case time.Time:
		return "TIMESTAMP_VALUE"
	case nil:
		return "NULL_VALUE"
	}
	return "NUMBER_VALUE"
}

// names of kinds, as AWS's messages have them.
var kindNames = map[model.Kind]string{
	model.String: "String", model.Integer: "Integer", model.Long: "Long", model.Float: "Float", model.Double: "Double",
	model.Boolean: "Boolean", model.Timestamp: "Timestamp", model.Blob: "Blob", model.List: "List", model.Map: "Map", model.Structure: "Structure",
}

func (t *Type) wrong(value any) error {
	if _, ok := value.(map[string]any); ok {
		return malformed("Start of structure or map found where not expected.")
	}
	if _, ok := value.([]any); ok {
		return malformed("Start of list found where not expected")
	}
	return malformed("%s can not be converted to %s", found(value), article(kindNames[t.shape.Kind]))
}

// bind puts a value of JSON or CBOR into v. Members of REST that travel in the URL are not taken from the body.
func (t *Type) bind(value any, v reflect.Value) error {
	switch t.shape.Kind {
	case model.Structure:
		m, ok := value.(map[string]any)
		if !ok {
			return t.wrong(value)
		}
		for i := range t.fields {
			f := &t.fields[i]
			member, ok := m[f.name]
			if !ok || member == nil || f.query != "" {
				continue
			}
			if err := f.t.bind(member, f.room(v)); err != nil {
				return err
			}
		}
		return nil
	case model.List:
		list, ok := value.([]any)
		if !ok {
			return t.wrong(value)
		}
		out := reflect.MakeSlice(t.goType, len(list), len(list))
		for i, member := range list {
			if err := t.elem.bind(member, out.Index(i)); err != nil {
				return err
			}
		}
		v.Set(out)
		return nil
	case model.Map:
		m, ok := value.(map[string]any)
		if !ok {
			return t.wrong(value)
		}
		out := reflect.MakeMapWithSize(t.goType, len(m))
		for k, member := range m {
			e := reflect.New(t.elem.goType).Elem()
			if err := t.elem.bind(member, e); err != nil {
				return err
			}
			out.SetMapIndex(reflect.ValueOf(k).Convert(t.key.goType), e)
		}
		v.Set(out)
		return nil
	}
	return t.scalar(value, v)
}

func (t *Type) scalar(value any, v reflect.Value) error {
	switch t.shape.Kind {
	case model.String:
		if s, ok := value.(string); ok {
			v.SetString(s)
			return nil
		}
	case model.Boolean:
		if b, ok := value.(bool); ok {
			v.SetBool(b)
			return nil
		}
	case model.Integer, model.Long:
		if n, ok := whole(value); ok && !v.OverflowInt(n) {
			v.SetInt(n)
			return nil
		}
	case model.Float, model.Double:
		if f, ok := float(value); ok && !v.OverflowFloat(f) {
			v.SetFloat(f)
			return nil
		}
	case model.Timestamp:
		if at, ok := value.(time.Time); ok && inRange(at) && !at.IsZero() { // which CBOR's decoder makes of what is no number
			v.Set(reflect.ValueOf(at.UTC().Round(time.Millisecond)))
			return nil
		}
		if _, text := value.(string); text {
			break
		}
		if f, ok := float(value); ok {
			if at, ok := epoch(f); ok {
				v.Set(reflect.ValueOf(at))
				return nil
			}
		}
	case model.Blob:
		switch b := value.(type) {
		case []byte:
			v.SetBytes(b)
			return nil
		case string:
			if out, err := base64.StdEncoding.Strict().DecodeString(b); err == nil {
				v.SetBytes(out)
				return nil
			}
		}
	}
	return t.wrong(value)
}

func whole(value any) (int64, bool) {
	switch n := value.(type) {
	case json.Number:
		i, err := strconv.ParseInt(n.String(), 10, 64)
		return i, err == nil
	case int64:
		return n, true
	case uint64:
		return int64(n), n <= math.MaxInt64
	case float64:
		return int64(n), n == math.Trunc(n) && math.Abs(n) < 1<<53
	}
	return 0, false
}

func float(value any) (float64, bool) {
	switch n := value.(type) {
	case json.Number:
		f, err := strconv.ParseFloat(n.String(), 64)
		return f, err == nil
	case float64:
		return n, true
	case int64:
		return float64(n), true
	case uint64:
		return float64(n), true
	case string: // what JSON has no number for
		switch n {
		case "NaN":
			return math.NaN(), true
		case "Infinity":
			return math.Inf(1), true
		case "-Infinity":
			return math.Inf(-1), true
		}
	}
	return 0, false
}

// epoch is a time to the millisecond, which is as exact as AWS's are.
func epoch(seconds float64) (time.Time, bool) {
	if math.IsNaN(seconds) || math.Abs(seconds) > 1e12 {
		return time.Time{}, false
	}
	at := time.UnixMilli(int64(math.Round(seconds * 1000))).UTC()
	return at, inRange(at)
}

// inRange holds for times that can be written in every protocol.
func inRange(at time.Time) bool { return at.Year() >= 1 && at.Year() <= 9999 }

// scan puts the text of a parameter into v.
func (t *Type) scan(s string, v reflect.Value) error {
	var value any = s
	switch t.shape.Kind {
	case model.Integer, model.Long:
		value = json.Number(s)
	case model.Float, model.Double:
		if _, ok := float(s); !ok {
			value = json.Number(s)
		}
	case model.Boolean:
		switch s {
		case "true":
			value = true
		case "false":
			value = false
		}
	case model.Timestamp:
		if at, err := time.Parse(time.RFC3339Nano, s); err == nil {
			value = at
		} else {
			value = json.Number(s)
		}
	case model.Structure, model.List, model.Map:
		return malformed("Unexpected value where %s belongs", article(kindNames[t.shape.Kind]))
	}
	if err := t.scalar(value, v); err != nil {
		return malformed("%s can not be converted to %s", found(s), article(kindNames[t.shape.Kind]))
	}
	return nil
}

// node is a parameter of the query protocol, or what parameters with a common beginning are below.
type node struct {
	value string
	set   bool
	below map[string]*node
}

// ParseQuery reads a form-encoded text, each parameter once.
func ParseQuery(text string) (url.Values, error) {
	if strings.Count(text, "&") > maxParams {
		return nil, malformed("The request has too many parameters")
	}
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, malformed("The query string of the request is malformed")
	}
	for name, list := range values {
		if len(list) > 1 {
			return nil, malformed("The request has a parameter twice")
		}
		if err := utf8Text([]byte(name)); err != nil {
			return nil, err
		}
		if err := utf8Text([]byte(list[0])); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// DecodeQuery decodes parameters of the query protocol into a structure.
func (t *Type) DecodeQuery(values url.Values, into any) error {
	root := &node{}
	for name, list := range values {
		at := root
		parts := strings.Split(name, ".")
		if len(parts) > 2*MaxDepth {
			return malformed("The request is nested too deeply")
		}
		if _, ok := t.byName[parts[0]]; !ok {
			continue
		}
		for _, part := range parts {
			next := at.below[part]
			if next == nil {
				next = &node{}
				if at.below == nil {
					at.below = map[string]*node{}
				}
				at.below[part] = next
			}
			at = next
		}
		at.value, at.set = list[0], true
	}
	return t.bindQuery(root, t.root(into))
}

func (t *Type) bindQuery(n *node, v reflect.Value) error {
	switch t.shape.Kind {
	case model.Structure:
		if n.set && n.value != "" {
			return malformed("Unexpected value where a Structure belongs")
		}
		for i := range t.fields {
			f := &t.fields[i]
			if below := n.below[f.name]; below != nil {
				if err := f.t.bindQuery(below, f.room(v)); err != nil {
					return err
				}
			}
		}
		return nil
	case model.List:
		items, err := n.numbered("member")
		if err != nil {
			return err
		}
		out := reflect.MakeSlice(t.goType, len(items), len(items))
		for i, item := range items {
			if err := t.elem.bindQuery(item, out.Index(i)); err != nil {
				return err
			}
		}
		v.Set(out)
		return nil
	case model.Map:
		items, err := n.numbered("entry")
		if err != nil {
			return err
		}
		out := reflect.MakeMapWithSize(t.goType, len(items))
		for _, item := range items {
			key, value := item.below[t.names[0]], item.below[t.names[1]]
			if key == nil || value == nil || !key.set {
				return malformed("An entry of a map needs a key and a value")
			}
			e := reflect.New(t.elem.goType).Elem()
			if err := t.elem.bindQuery(value, e); err != nil {
				return err
			}
			k := reflect.ValueOf(key.value).Convert(t.key.goType)
			if out.MapIndex(k).IsValid() {
				return malformed("A map has a key twice")
			}
			out.SetMapIndex(k, e)
		}
		v.Set(out)
		return nil
	}
	if !n.set || len(n.below) > 0 {
		return malformed("Unexpected complex element termination")
	}
	return t.scan(n.value, v)
}

// numbered returns the nodes below name in the order of their numbers. A node with an empty value is an empty list.
func (n *node) numbered(name string) ([]*node, error) {
	if n.set && n.value != "" || len(n.below) > 1 || len(n.below) == 1 && n.below[name] == nil {
		return nil, malformed("A list consists of members that are numbered")
	}
	if len(n.below) == 0 {
		return nil, nil
	}
	type item struct {
		number int
		node   *node
	}
	var items []item
	for k, below := range n.below[name].below {
		number, err := strconv.Atoi(k)
		if err != nil || number < 1 || strconv.Itoa(number) != k {
			return nil, malformed("Key %s is not a positive number", strconv.Quote(cut(k, 20)))
		}
		items = append(items, item{number, below})
	}
	slices.SortFunc(items, func(a, b item) int { return a.number - b.number })
	out := make([]*node, len(items))
	for i := range items {
		out[i] = items[i].node
	}
	return out, nil
}

// cut shortens a text for a message.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
