package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// awsCall is a call of a service of AWS. What is sent and the command that is printed come of the same input.
type awsCall struct {
	service   string // as the AWS CLI names it
	operation string
	input     any // of the SDK's operation, a pointer
	send      func(context.Context) error
	saves     string // path of the answer that a later command needs as [madeKey]; empty for none
}

// callOf makes a call of an operation of a client; then, which may be nil, gets the answer.
func callOf[I, O, P any](service string, operation func(context.Context, *I, ...func(*P)) (*O, error), in *I, then func(*O)) awsCall {
	return awsCall{
		service: service, operation: strings.TrimSuffix(reflect.TypeFor[I]().Name(), "Input"), input: in,
		send: func(ctx context.Context) error {
			out, err := operation(ctx, in)
			if err == nil && then != nil {
				then(out)
			}
			return err
		},
	}
}

// madeKey stands in inputs for the ARN of a key that is not made yet. Its characters are none of any name.
const madeKey = "\ue000KEY\ue000"

// command is the call as a command of the AWS CLI, for a POSIX shell. global are flags for all commands. With saving, what a
// later command needs goes into a variable.
func (c awsCall) command(global []string, saving bool) (string, error) {
	words := []string{"aws", c.service, cliName(c.operation)}
	v := reflect.ValueOf(c.input).Elem()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		w, err := cliFlag("--", cliName(f.Name), v.Field(i))
		if err != nil {
			return "", fmt.Errorf("write %s as a command: %s: %w", c.operation, f.Name, err)
		}
		words = append(words, w...)
	}
	words = append(words, global...)
	save := saving && c.saves != ""
	if save {
		words = append(words, "--query", c.saves, "--output", "text")
	}
	for i, w := range words {
		words[i] = shellWord(w)
	}
	line := strings.Join(words, " ")
	if save {
		return `KEY="$(` + line + `)"`, nil
	}
	return line, nil
}

// shellWord quotes a word; [madeKey] becomes the variable.
func shellWord(w string) string {
	parts := strings.Split(w, madeKey)
	if len(parts) == 1 {
		return quoteAll(parts)[0]
	}
	var b strings.Builder
	for i, p := range parts {
		if i > 0 {
			b.WriteString(`"$KEY"`)
		}
		if p != "" {
			b.WriteString(quoteAll([]string{p})[0])
		}
	}
	return b.String()
}

// cliFlag is what a member of an input is on the command line: nothing when it is not set, a switch, text, or JSON.
func cliFlag(dashes, name string, v reflect.Value) ([]string, error) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil, nil
		}
		v = v.Elem()
	} else if v.IsZero() {
		return nil, nil
	}
	switch v.Kind() {
	case reflect.Bool:
		if !v.Bool() {
			name = "no-" + name
		}
		return []string{dashes + name}, nil
	case reflect.String:
		return []string{dashes + name, v.String()}, nil
	case reflect.Int32, reflect.Int64:
		return []string{dashes + name, strconv.FormatInt(v.Int(), 10)}, nil
	}
	var b bytes.Buffer
	if err := cliJSON(&b, v); err != nil {
		return nil, err
	}
	return []string{dashes + name, b.String()}, nil
}

// cliJSON writes a value as the AWS CLI reads it: members that are set, under their names in the API.
func cliJSON(b *bytes.Buffer, v reflect.Value) error {
	switch v.Kind() {
	case reflect.Pointer:
		return cliJSON(b, v.Elem())
	case reflect.Struct:
		sep := byte('{')
		for i := range v.NumField() {
			f, m := v.Type().Field(i), v.Field(i)
			if !f.IsExported() || m.IsZero() {
				continue
			}
			b.WriteByte(sep)
			sep = ','
			fmt.Fprintf(b, "%q:", f.Name)
			if err := cliJSON(b, m); err != nil {
				return err
			}
		}
		if sep == '{' {
			b.WriteByte(sep)
		}
		b.WriteByte('}')
		return nil
	case reflect.Slice:
		b.WriteByte('[')
		for i := range v.Len() {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := cliJSON(b, v.Index(i)); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	case reflect.String, reflect.Bool, reflect.Int32, reflect.Int64:
		text, err := plainJSON(v.Interface())
		b.Write(text)
		return err
	}
	return fmt.Errorf("a %s cannot be written", v.Type())
}

// plainJSON is JSON in which <, > and & stay as they are.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

var (
	wordStart = regexp.MustCompile(`(.)([A-Z][a-z]+)`)
	wordEnd   = regexp.MustCompile(`([a-z0-9])([A-Z])`)
)

// cliName is how the AWS CLI writes the name of an operation or a member.
func cliName(name string) string {
	return strings.ToLower(wordEnd.ReplaceAllString(wordStart.ReplaceAllString(name, "$1-$2"), "$1-$2"))
}
