package config

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// value is a setting's place in a [Config], with what it may hold.
type value interface {
	set(text string) error // the text of a file, of the environment or of the command line
	text() string          // what set would take
	kind() string          // for documentation
}

// list is a value that is several texts. In the environment and on the command line they have commas between them.
type list struct {
	p     *[]string
	what  string
	check func(string) error
}

func (v list) set(text string) error {
	var items []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return v.setList(items)
}

func (v list) setList(items []string) error {
	for _, item := range items {
		if item == "" || strings.ContainsAny(item, ",\n") {
			return fmt.Errorf("%q cannot be in a list", item)
		}
		if v.check == nil {
			continue
		}
		if err := v.check(item); err != nil {
			return err
		}
	}
	*v.p = items
	return nil
}

func (v list) text() string { return strings.Join(*v.p, ",") }
func (v list) kind() string { return "list of " + v.what }

// paths is a list of files.
type paths struct{ list }

func (v paths) rebase(dir string) {
	for i, p := range *v.p {
		(*v.p)[i] = rebase(p, dir)
	}
}

type text struct {
	p     *string
	what  string
	check func(string) error
}

func (v text) set(s string) error {
	if v.check != nil && s != "" {
		if err := v.check(s); err != nil {
			return err
		}
	}
	*v.p = s
	return nil
}

func (v text) text() string { return *v.p }
func (v text) kind() string { return v.what }

// path is a file or folder. What a configuration file names is relative to the file, all else to the working folder.
type path struct{ p *string }

func (v path) set(s string) error {
	if strings.ContainsRune(s, 0) {
		return errors.New("a path has no zero byte")
	}
	*v.p = s
	return nil
}

func (v path) text() string      { return *v.p }
func (v path) kind() string      { return "path" }
func (v path) rebase(dir string) { *v.p = rebase(*v.p, dir) }

func rebase(p, dir string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(dir, p)
}

type secret struct{ p *Secret }

func (v secret) set(s string) error { *v.p = Secret(s); return nil }
func (v secret) text() string       { return v.p.Reveal() }
func (v secret) kind() string       { return "secret" }

type choice struct {
	p  *string
	of []string
}

func (v choice) set(s string) error {
	if !slices.Contains(v.of, s) {
		return fmt.Errorf("want %s", alternatives(v.of))
	}
	*v.p = s
	return nil
}

func (v choice) text() string { return *v.p }
func (v choice) kind() string { return alternatives(v.of) }

func alternatives(of []string) string {
	if len(of) < 2 {
		return strings.Join(of, "")
	}
	return strings.Join(of[:len(of)-1], ", ") + " or " + of[len(of)-1]
}

type boolean struct{ p *bool }

func (v boolean) set(s string) error {
	switch s {
	case "true", "false":
		*v.p = s == "true"
		return nil
	}
	return errors.New("want true or false")
}

func (v boolean) text() string { return strconv.FormatBool(*v.p) }
func (v boolean) kind() string { return "true or false" }

// number is between least and most, both included; zero says what 0 means if that is something else.
type number struct {
	p           *int
	least, most int
	zero        string
}

func (v number) set(s string) error {
	n, err := strconv.Atoi(s)
	switch {
	case v.zero != "" && (s == v.zero || err == nil && n == 0):
		*v.p = 0
	case err != nil || n < v.least || n > v.most:
		return fmt.Errorf("want a number from %d to %d%s", v.least, v.most, or(v.zero))
	default:
		*v.p = n
	}
	return nil
}

func (v number) text() string {
	if *v.p == 0 && v.zero != "" {
		return v.zero
	}
	return strconv.Itoa(*v.p)
}

func (v number) kind() string { return fmt.Sprintf("number, %d to %d%s", v.least, v.most, or(v.zero)) }

func or(zero string) string {
	if zero == "" {
		return ""
	}
	return ", or " + zero
}

// span is a length of time. Zero says what 0 means, if that is possible.
type span struct {
	p           *time.Duration
	least, most time.Duration
	zero        string
}

func (v span) set(s string) error {
	d, err := ParseSpan(s)
	switch {
	case v.zero != "" && (s == v.zero || err == nil && d == 0):
		*v.p = 0
	case err != nil:
		return fmt.Errorf("%w%s", err, or(v.zero))
	case d < v.least || d > v.most:
		return fmt.Errorf("want a span from %s to %s%s", FormatSpan(v.least), FormatSpan(v.most), or(v.zero))
	default:
		*v.p = d
	}
	return nil
}

func (v span) text() string {
	if *v.p == 0 && v.zero != "" {
		return v.zero
	}
	return FormatSpan(*v.p)
}

func (v span) kind() string {
	return fmt.Sprintf("span, %s to %s%s", FormatSpan(v.least), FormatSpan(v.most), or(v.zero))
}

const (
	day  = 24 * time.Hour
	week = 7 * day
	long = 100 * 365 * day // longer than any span
)

// ParseSpan reads a length of time: numbers with the units w, d, h, m, s, ms, us and ns, the large ones first, as in 7d,
// 1h30m or 250ms. Days have 24 hours.
func ParseSpan(s string) (time.Duration, error) {
	rest, total := s, time.Duration(0)
	for _, u := range []struct {
		name string
		size time.Duration
	}{{"w", week}, {"d", day}} {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == 0 || !strings.HasPrefix(rest[digits:], u.name) {
			continue
		}
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil || n > int64(long/u.size) {
			return 0, spanError(s)
		}
		total += time.Duration(n) * u.size
		if rest = rest[digits+1:]; rest == "" {
			return total, checkSpan(s, total)
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "+") || d > long || total > 0 && rest == "0" {
		return 0, spanError(s)
	}
	return total + d, checkSpan(s, total+d)
}

func checkSpan(s string, d time.Duration) error {
	if d < 0 || d > long {
		return spanError(s)
	}
	return nil
}

func spanError(s string) error {
	return fmt.Errorf("%.40q is no span: want one such as 30s, 5m, 12h or 7d", s)
}

// FormatSpan writes a length of time as [ParseSpan] reads it.
func FormatSpan(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	var b strings.Builder
	if n := d / day; n > 0 {
		fmt.Fprintf(&b, "%dd", n)
		d -= n * day
	}
	if d > 0 {
		text := d.String()
		if strings.HasSuffix(text, "m0s") {
			text = strings.TrimSuffix(text, "0s")
		}
		if strings.HasSuffix(text, "h0m") {
			text = strings.TrimSuffix(text, "0m")
		}
		b.WriteString(text)
	}
	return b.String()
}

// size is a number of bytes. Zero says what 0 means, if that is possible.
type size struct {
	p           *int64
	least, most int64
	zero        string
}

func (v size) set(s string) error {
	n, err := ParseSize(s)
	switch {
	case v.zero != "" && (s == v.zero || err == nil && n == 0):
		*v.p = 0
	case err != nil:
		return fmt.Errorf("%w%s", err, or(v.zero))
	case n < v.least || n > v.most:
		return fmt.Errorf("want a size from %s to %s%s", FormatSize(v.least), FormatSize(v.most), or(v.zero))
	default:
		*v.p = n
	}
	return nil
}

func (v size) text() string {
	if *v.p == 0 && v.zero != "" {
		return v.zero
	}
	return FormatSize(*v.p)
}

func (v size) kind() string {
	return fmt.Sprintf("size, %s to %s%s", FormatSize(v.least), FormatSize(v.most), or(v.zero))
}

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
	tib = 1 << 40
)

// sizeUnits are from the largest to the smallest, and of each size the one first that is written.
var sizeUnits = [...]struct {
	name string
	size int64
}{{"PiB", 1 << 50}, {"TiB", tib}, {"GiB", gib}, {"MiB", mib}, {"KiB", kib}, {"PB", 1e15}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1}}

// ParseSize reads a number of bytes: 64MiB, 1.5GB, 4096B or 4096. Units with i are powers of 1024, the others of 1000, and
// their case does not matter.
func ParseSize(s string) (int64, error) {
	wrong := fmt.Errorf("%.40q is no size: want one such as 512KiB, 64MiB or 10GB", s)
	digits := len(s) - len(strings.TrimLeft(s, "0123456789."))
	num, unit := s[:digits], strings.TrimSpace(s[digits:])
	factor := int64(1)
	if unit != "" {
		i := slices.IndexFunc(sizeUnits[:], func(u struct {
			name string
			size int64
		}) bool {
			return strings.EqualFold(u.name, unit)
		})
		if i < 0 {
			return 0, wrong
		}
		factor = sizeUnits[i].size
	}
	if n, err := strconv.ParseInt(num, 10, 64); err == nil {
		if n > math.MaxInt64/factor {
			return 0, wrong
		}
		return n * factor, nil
	}
	f, err := strconv.ParseFloat(num, 64)
	if err != nil || f*float64(factor) >= 1<<62 || f*float64(factor) != math.Trunc(f*float64(factor)) {
		return 0, wrong
	}
	return int64(f * float64(factor)), nil
}

// FormatSize writes a number of bytes as [ParseSize] reads it, exactly.
func FormatSize(n int64) string {
	for _, u := range sizeUnits {
		if n >= u.size && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}
