package recorder

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"unicode/utf8"
)

// secretText is what looks like a credential, wherever it stands: tokens of Spoor, whole or cut off, and what follows the
// name of a scheme in a header.
var secretText = regexp.MustCompile(`(?i)spoor_[a-z0-9]{16}_[a-z0-9_]+|\b(?:bearer|basic)\s+[a-z0-9._~+/=-]{12,}`)

// HideText replaces what looks like a credential in a text.
func HideText(s string) string { return hideText(s) }

func hideText(s string) string {
	if s == "" {
		return s
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	return secretText.ReplaceAllString(s, Hidden)
}

// secretNames are members whose values are secrets, in lower case and without separators.
var secretNames = map[string]bool{
	"secret": true, "secretkey": true, "secretaccesskey": true, "secretstring": true, "secretbinary": true, "clientsecret": true,
	"token": true, "sessiontoken": true, "accesstoken": true, "refreshtoken": true, "idtoken": true, "webidentitytoken": true, "bearertoken": true,
	"samlassertion": true, "privatekey": true, "plaintext": true, "authorization": true, "passphrase": true, "apikey": true, "passwd": true,
}

var separators = strings.NewReplacer("-", "", "_", "", ".", "", " ", "")

func secretName(name string) bool {
	name = strings.ToLower(separators.Replace(name))
	return secretNames[name] || strings.HasSuffix(name, "password")
}

// hide replaces the secrets of a JSON value.
func hide(v any) any {
	switch v := v.(type) {
	case string:
		return hideText(v)
	case []any:
		for i := range v {
			v[i] = hide(v[i])
		}
	case map[string]any:
		for k, member := range v {
			clean := hideText(k)
			if clean != k {
				delete(v, k)
			}
			switch {
			case member == nil:
			case secretName(k):
				v[clean] = Hidden
				continue
			}
			v[clean] = hide(member)
		}
	}
	return v
}

// elements encodes an object without its secrets: null for none, and a remark in place of one that is too large.
func elements(v any, most int) (json.RawMessage, error) {
	if v == nil {
		return json.RawMessage("null"), nil
	}
	text, err := marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var plain any
	if err := d.Decode(&plain); err != nil {
		return nil, err
	}
	if text, err = marshal(hide(plain)); err != nil {
		return nil, err
	}
	if len(text) > most {
		return marshal(map[string]any{"omitted": true, "originalSize": len(text), "reason": "LARGE_SIZE"})
	}
	return text, nil
}

// marshal is JSON without HTML's escapes.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// line is a text without its secrets, of a kilobyte at most. What stands far behind that is not looked at.
func line(s string) string { return shorten(hideText(s[:min(len(s), 8*maxText)])) }

// shorten cuts a text at a kilobyte.
func shorten(s string) string {
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
