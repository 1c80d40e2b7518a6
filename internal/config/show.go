package config

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Effective is a setting with the value in effect.
type Effective struct {
	Key     string   `json:"key"`
	Value   string   `json:"value"`          // stars for a secret
	List    []string `json:"list,omitempty"` // of a list, in place of Value
	Default string   `json:"default"`
	Secret  bool     `json:"secret,omitempty"`
	Live    bool     `json:"live,omitempty"`
	Origin  Origin   `json:"origin"`

	written bool // Value is YAML already
}

// Effective lists all settings with their values and origins, secrets masked. Of a source, those that its type has.
func (l *Loaded) Effective() []Effective {
	var out []Effective
	for _, it := range l.items {
		if it.source >= 0 && !it.applies(l.Config.Sources[it.source].Type) {
			continue
		}
		e := Effective{Key: it.Key, Value: it.value.text(), Default: it.Default, Secret: it.Secret, Live: it.Live, Origin: it.origin}
		switch v := it.value.(type) {
		case secret:
			e.Value = v.p.String()
		case interface{ written() }:
			e.written = true
		case list:
			e.Value, e.List = "", slices.Clone(*v.p)
		case paths:
			e.Value, e.List = "", slices.Clone(*v.p)
		}
		out = append(out, e)
	}
	return out
}

// YAML is the configuration in effect as a file, with the origin of each value beside it. Secrets are masked; but for them,
// the file gives the same configuration.
func (l *Loaded) YAML() string {
	w := &yamlWriter{}
	for _, e := range l.Effective() {
		o := string(e.Origin.Kind)
		if e.Origin.Where != "" {
			o += " " + e.Origin.Where
		}
		value := quote(e.Value)
		if e.written {
			value = e.Value
		}
		if e.List != nil {
			items := make([]string, len(e.List))
			for i, s := range e.List {
				items[i] = quote(s)
			}
			value = "[" + strings.Join(items, ", ") + "]"
		}
		if e.Value == "" && len(e.List) == 0 {
			if e.Origin.Kind == FromDefault {
				continue // not set, and nothing by default
			}
			if e.List != nil || e.written {
				value = "[]"
			}
		}
		w.write(e.Key, value, o)
	}
	return w.b.String()
}

// yamlWriter writes settings in the order of the table, opening sections as they come.
type yamlWriter struct {
	b       strings.Builder
	section []string
	sources bool
	source  string
}

func (w *yamlWriter) write(key, value, comment string) {
	indent := ""
	parts := strings.Split(key, ".")
	if parts[0] == "sources" {
		if !w.sources {
			w.b.WriteString("sources:\n")
			w.sources = true
		}
		indent = "    "
		if w.source != parts[1] {
			w.source, w.section = parts[1], nil
			indent = "  - "
		}
		parts = parts[2:]
	}
	dirs := parts[:len(parts)-1]
	same := 0
	for same < len(dirs) && same < len(w.section) && dirs[same] == w.section[same] {
		same++
	}
	for i := same; i < len(dirs); i++ {
		fmt.Fprintf(&w.b, "%s%s%s:\n", indent, strings.Repeat("  ", i), dirs[i])
	}
	w.section = slices.Clone(dirs)
	line := fmt.Sprintf("%s%s%s: %s", indent, strings.Repeat("  ", len(dirs)), parts[len(parts)-1], value)
	if comment != "" {
		line += strings.Repeat(" ", max(1, 48-utf8.RuneCountInString(line))) + "# " + strings.ReplaceAll(comment, "\n", " ")
	}
	w.b.WriteString(line + "\n")
}

// quote writes text as a YAML scalar: as it is when nothing in it could mean something else.
func quote(s string) string {
	plain := s != "" && s != masked
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '/' || c == '.' || c == '_':
		case i > 0 && (c == '-' || c == ':' && i+1 < len(s) || c == '@' || c == '=' || c == '+'):
		default:
			plain = false
		}
	}
	switch strings.ToLower(s) {
	case "null", "~":
		plain = false
	}
	if plain {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0xfeff || r == 0x2028 || r == 0x2029:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// Example is a configuration file with every setting at its default, commented out, and with a source of each type.
func Example() string {
	var b strings.Builder
	b.WriteString("# Configuration of Spoor: every setting with its default. Take out the # of what you change.\n" +
		"# Relative paths are relative to this file. Each setting can be overridden by a variable: store.flush_rows by\n" +
		"# SPOOR_STORE_FLUSH_ROWS, and on the command line by --set store.flush_rows=NUMBER.\n")
	var section []string
	for _, s := range Settings() {
		parts := strings.Split(s.Key, ".")
		dirs := parts[:len(parts)-1]
		if len(dirs) == 0 || len(section) == 0 || dirs[0] != section[0] {
			b.WriteString("\n")
		}
		for i := range dirs {
			if i >= len(section) || section[i] != dirs[i] {
				fmt.Fprintf(&b, "%s%s:\n", strings.Repeat("  ", i), dirs[i])
			}
		}
		section = dirs
		indent := strings.Repeat("  ", len(dirs))
		value := quote(s.Default)
		if strings.HasPrefix(s.Kind, "list of ") {
			value = "[" + s.Default + "]"
		}
		for _, line := range wrap(s.Doc+". "+s.Kind, 110-len(indent)) {
			fmt.Fprintf(&b, "%s# %s\n", indent, line)
		}
		fmt.Fprintf(&b, "%s#%s: %s\n", indent, parts[len(parts)-1], value)
	}
	b.WriteString(`
# Where events come from.
#sources:
#  - name: trail-bucket                    # what a trail delivers, as its bucket tells of it
#    type: sqs
#    queue: https://sqs.eu-central-1.amazonaws.com/111122223333/trail-notices
#    aws:
#      role_arn: arn:aws:iam::111122223333:role/spoor-reader
#      external_id: spoor-7f3a
#  - name: old-bucket                      # a bucket without notifications
#    type: s3
#    bucket: trail-bucket
#    prefix: AWSLogs/
#    interval: 5m
#  - name: dropbox                         # a folder of this machine
#    type: folder
#    path: /var/spool/spoor
#  - name: gateway                         # what others send
#    type: push
`)
	return b.String()
}

// wrap breaks text into lines.
func wrap(s string, width int) []string {
	var out []string
	line := ""
	for _, word := range strings.Fields(s) {
		if line != "" && len(line)+1+len(word) > width {
			out, line = append(out, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(out, line)
}

// Changed compares with another configuration: the keys of settings that differ and can be changed while the process runs,
// and of those that want a restart. All of a source is live.
func (l *Loaded) Changed(with *Loaded) (live, restart []string) {
	type held struct {
		text string
		live bool
	}
	all := func(l *Loaded) map[string]held {
		out := map[string]held{}
		for _, it := range l.items {
			out[it.Key] = held{it.value.text(), it.Live || it.source >= 0}
		}
		return out
	}
	a, b := all(l), all(with)
	seen := map[string]bool{}
	for _, m := range []map[string]held{a, b} {
		for key := range m {
			if seen[key] || a[key] == b[key] {
				continue
			}
			seen[key] = true
			if m[key].live {
				live = append(live, key)
			} else {
				restart = append(restart, key)
			}
		}
	}
	slices.Sort(live)
	slices.Sort(restart)
	return live, restart
}
