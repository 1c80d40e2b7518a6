package match

import (
	"net/netip"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"spoor/internal/event"
)

// FormKind says what a [Form] is.
type FormKind uint8

// The kinds of forms.
const (
	FormOther    FormKind = iota // a test of which nothing else is told
	FormConst                    // Form.Holds
	FormAnd                      // of Form.Of
	FormOr                       // of Form.Of
	FormNot                      // of Form.Of[0]
	FormAtLeast                  // Form.N of Form.Of
	FormField                    // Form.Test of the values at Form.Path
	FormExists                   // a value at Form.Path, null included
	FormAnywhere                 // Form.Test of any scalar of the event, or of the JSON of the whole, when Form.Whole
)

// Form is an expression taken apart, for those who say it in another language.
type Form struct {
	Kind  FormKind
	Holds bool
	N     int
	Of    []Form
	// Path is where a test looks, and only there; Field the typed field that it names exactly, when Typed.
	Path  *event.Path
	Field event.Field
	Typed bool
	Whole bool
	Test  FormTest
}

// TestKind says what a [FormTest] is.
type TestKind uint8

// The kinds of tests.
const (
	TestOther  TestKind = iota
	TestValues          // [Values]
	TestNull            // [NullOrMissing]
	TestCIDR            // [CIDR]
)

// FormTest is a test of a value.
type FormTest struct {
	Kind TestKind
	// Missing is the answer where there is no value.
	Missing bool
	// Texts are texts of TestValues, folded, that pass; Patterns are the other patterns of it. All says that every text
	// passes. Numbers that pass besides are not told.
	Texts    []string
	Patterns []*Pattern
	All      bool
	Nets     []netip.Prefix // of TestCIDR
	// Runs are pieces of text, folded: every text that passes has, folded, all pieces of at least one of them. nil when
	// nothing is known of what passes.
	Runs [][]string
}

// FormOf takes an expression apart.
func FormOf(x Expr) Form {
	of := func(xs []Expr) []Form {
		out := make([]Form, len(xs))
		for i, x := range xs {
			out[i] = FormOf(x)
		}
		return out
	}
	at := func(kind FormKind, p *Place) Form {
		if p.path == nil || p.otherwise != nil {
			return Form{}
		}
		return Form{Kind: kind, Path: p.path, Field: p.field, Typed: p.typed}
	}
	switch x := x.(type) {
	case constant:
		return Form{Kind: FormConst, Holds: bool(x)}
	case *named:
		return FormOf(x.x)
	case *and:
		return Form{Kind: FormAnd, Of: of(x.xs)}
	case *or:
		return Form{Kind: FormOr, Of: of(x.xs)}
	case *not:
		return Form{Kind: FormNot, Of: of([]Expr{x.x})}
	case *atLeast:
		return Form{Kind: FormAtLeast, N: x.want, Of: of(x.xs)}
	case *exists:
		return at(FormExists, x.place)
	case *leaf:
		f := at(FormField, x.place)
		f.Test = formOfTest(x.test)
		return f
	case *anywhere:
		return Form{Kind: FormAnywhere, Whole: x.json, Test: formOfTest(x.test)}
	}
	return Form{}
}

func formOfTest(t Test) FormTest {
	f := FormTest{Missing: t.missing()}
	switch t := t.(type) {
	case null:
		f.Kind = TestNull
	case *cidr:
		f.Kind, f.Nets = TestCIDR, t.nets
	case *values:
		f.Kind, f.All, f.Texts, f.Patterns = TestValues, t.all, t.few, slices.Clone(t.globs)
		for _, s := range t.few {
			f.Runs = append(f.Runs, []string{s})
		}
		for _, p := range t.globs {
			f.Runs = append(f.Runs, p.runs())
		}
		for s := range t.cased {
			f.Patterns = append(f.Patterns, NewPattern([]Part{{Text: s}}, true))
			f.Runs = append(f.Runs, []string{Fold(s)})
		}
		if t.all || len(t.numbers) > 0 {
			f.Runs = nil
		}
	case *re:
		for _, clause := range t.clauses {
			var runs [][]string
			for _, p := range clause {
				runs = append(runs, p.runs())
			}
			if f.Runs == nil || len(runs) < len(f.Runs) {
				f.Runs = runs
			}
		}
	}
	return f
}

// Expression is a regular expression of RE2 that is found in exactly the texts that the pattern matches. It names every
// form of every letter, so that it depends on nobody's tables. ok is false for patterns that are not UTF-8.
func (p *Pattern) Expression() (expr string, ok bool) {
	if p.broken {
		return "", false
	}
	var b strings.Builder
	b.WriteString("(?s)")
	if p.head {
		b.WriteString(`\A`)
	}
	if len(p.segs) == 0 && p.head && p.tail {
		return `\A\z`, true
	}
	for i, s := range p.segs {
		if i > 0 {
			b.WriteString(".*")
		}
		for _, r := range s.runes {
			switch {
			case r == hole:
				b.WriteByte('.')
			case p.cased:
				writeRune(&b, r)
			default:
				writeForms(&b, r)
			}
		}
	}
	if p.tail {
		b.WriteString(`\z`)
	}
	return b.String(), true
}

// Like is a pattern of SQL's LIKE that matches exactly the ASCII texts that p matches, when they are folded unless p is
// cased. ok is false for patterns that LIKE cannot say without escapes, and for those that match no ASCII.
func (p *Pattern) Like() (like string, cased, ok bool) {
	if p.wide || p.broken {
		return "", false, false
	}
	var b strings.Builder
	if !p.head {
		b.WriteByte('%')
	}
	for i, s := range p.segs {
		if i > 0 {
			b.WriteByte('%')
		}
		for _, r := range s.runes {
			switch r {
			case hole:
				b.WriteByte('_')
			case '%', '_', '\\':
				return "", false, false
			default:
				b.WriteRune(r)
			}
		}
	}
	if !p.tail && (p.head || len(p.segs) > 0) {
		b.WriteByte('%')
	}
	return b.String(), p.cased, true
}

// writeForms writes all characters that fold to the same as r.
func writeForms(b *strings.Builder, r rune) {
	if unicode.SimpleFold(r) == r {
		writeRune(b, r)
		return
	}
	b.WriteByte('[')
	writeRune(b, r)
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		writeRune(b, f)
	}
	b.WriteByte(']')
}

func writeRune(b *strings.Builder, r rune) {
	switch {
	case r < utf8.RuneSelf && !syntax.IsWordChar(r):
		b.WriteString(`\x{`)
		const hex = "0123456789abcdef"
		b.WriteByte(hex[r>>4])
		b.WriteByte(hex[r&15])
		b.WriteByte('}')
	default:
		b.WriteRune(r)
	}
}
