package safetext_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"spoor/internal/safetext"
)

func TestTerminal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, in string
		limit    int
		want     string
	}{
		{"plain", "aws-cli/2.1", 0, "aws-cli/2.1"},
		{"fits exactly", "abcdef", 6, "abcdef"},
		{"cut", "abcdefg", 6, "abcde…"},
		{"one column", "abc", 1, "…"},
		{"ansi", "\x1b[31mred\x1b[0m", 0, `\x1b[31mred\x1b[0m`},
		{"osc title", "\x1b]0;pwned\a", 0, `\x1b]0;pwned\x07`},
		{"c1 csi", "\u009b31m", 0, `\x9b31m`},
		{"raw c1 byte", "\x9b31m", 0, `\x9b31m`},
		{"newline, return, tab", "a\nb\rc\td", 0, `a\nb\rc\td`},
		{"delete", "a\x7f", 0, `a\x7f`},
		{"bidi override", "user\u202etxt.exe", 0, `user\u202etxt.exe`},
		{"isolates", "\u2066a\u2069", 0, `\u2066a\u2069`},
		{"zero width", "ad\u200bmin\ufeff", 0, `ad\u200bmin\ufeff`},
		{"soft hyphen", "ad\u00admin", 0, `ad\u00admin`},
		{"no-break space", "a\u00a0b", 0, `a\u00a0b`},
		{"line separator", "a\u2028b", 0, `a\u2028b`},
		{"tags", "a\U000e0041", 0, `a\U000e0041`},
		{"hangul filler", "\u3164", 0, `\u3164`},
		{"variation selector", "a\ufe0f", 0, `a\ufe0f`},
		{"private use", "\ue000", 0, `\ue000`},
		{"invalid", "a\xffb", 0, `a\xffb`},
		{"replacement character itself", "a\ufffdb", 0, "a\ufffdb"},
		{"accents stay", "é e\u0301", 0, "é e\u0301"},
		{"stacked marks", "e\u0301\u0301\u0301", 0, "e\u0301\u0301\\u0301"},
		{"leading mark", "\u0301e", 0, `\u0301e`},
		{"wide", "漢字漢字", 5, "漢字…"},
		{"wide fits", "漢字", 4, "漢字"},
		{"escape is not split", "abc\x1b", 6, "abc…"},
		{"empty", "", 3, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := safetext.Terminal(c.in, c.limit); got != c.want {
				t.Errorf("Terminal(%q, %d) = %q, want %q", c.in, c.limit, got, c.want)
			}
		})
	}
}

func TestMiddle(t *testing.T) {
	t.Parallel()
	in := "arn:aws:iam::111122223333:role/Deploy"
	for limit, want := range map[int]string{
		0: in, 100: in, len(in): in,
		20: "arn:aws:i…ole/Deploy",
		5:  "arn:…",
	} {
		if got := safetext.Middle(in, limit); got != want {
			t.Errorf("Middle(%d) = %q, want %q", limit, got, want)
		}
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	if got, want := safetext.Lines("a\r\nb\x1b\tc\n"), "a\nb\\x1b\\tc\n"; got != want {
		t.Errorf("Lines = %q, want %q", got, want)
	}
}

func TestCSV(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain":                 "plain",
		"":                      "",
		"=1+1":                  "'=1+1",
		"+1":                    "'+1",
		"-1":                    "'-1",
		"@SUM(A1)":              "'@SUM(A1)",
		"\t=1":                  `'\t=1`,
		"\r=1":                  `'\r=1`,
		"\n=1":                  `'\n=1`,
		"  =1":                  "'  =1",
		"＝1":                    "'＝1",
		"a=1":                   "a=1",
		"=cmd|' /C calc'!A0":    "'=cmd|' /C calc'!A0",
		"DDE (\"cmd\";\"/C\")":  "DDE (\"cmd\";\"/C\")",
		"two\nlines":            `two\nlines`,
		"\u202e=HYPERLINK(\"x)": `\u202e=HYPERLINK("x)`,
	} {
		if got := safetext.CSV(in); got != want {
			t.Errorf("CSV(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	in := map[string]string{"k\u202e": "\u009b31m \x7f \U000e0041 é 漢 e\u0301"}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	got := safetext.JSON(b)
	if want := `{"k\u202e":"\u009b31m \u007f \udb40\udc41 é 漢 e` + "\u0301" + `"}`; string(got) != want {
		t.Errorf("JSON = %s, want %s", got, want)
	}
	var back map[string]string
	if err := json.Unmarshal(got, &back); err != nil {
		t.Fatal(err)
	}
	if back["k\u202e"] != in["k\u202e"] {
		t.Errorf("the value changed: %q", back)
	}
}

// TestJSONOfBytes has bytes that are not UTF-8, which some terminals take for control characters.
func TestJSONOfBytes(t *testing.T) {
	t.Parallel()
	got := safetext.JSON([]byte("{\"a\":\"x\x9b31m\xff\ufffd\"}"))
	if want := `{"a":"x\ufffd31m\ufffd` + "\ufffd" + `"}`; string(got) != want {
		t.Errorf("JSON = %q, want %q", got, want)
	}
}

func FuzzTerminal(f *testing.F) {
	for _, s := range []string{"", "\x1b[2J", "e\u0301\u0301\u0301", "漢字", "\xff\xfe", "\u202e\u2066"} {
		f.Add(s, 4)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		for _, got := range []string{safetext.Terminal(s, limit), safetext.Middle(s, limit), safetext.CSV(s)} {
			if !utf8.ValidString(got) {
				t.Fatalf("%q gave invalid UTF-8 %q", s, got)
			}
			for _, r := range got {
				if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || !unicode.IsPrint(r) {
					t.Fatalf("%q gave %q with %U", s, got, r)
				}
			}
		}
		if got := safetext.Terminal(s, limit); limit > 0 && safetext.Width(got) > limit {
			t.Fatalf("%q is %d columns wide, limit %d", got, safetext.Width(got), limit)
		}
		if got := safetext.Middle(s, limit); limit > 0 && safetext.Width(got) > limit {
			t.Fatalf("middle: %q is %d columns wide, limit %d", got, safetext.Width(got), limit)
		}
		if got := safetext.CSV(s); got != "" && strings.ContainsRune("=+-@", rune(got[0])) {
			t.Fatalf("%q gave the formula %q", s, got)
		}
	})
}

func FuzzJSON(f *testing.F) {
	f.Add("\u202e\u009b\x7f")
	f.Fuzz(func(t *testing.T, s string) {
		b, err := json.Marshal(s)
		if err != nil {
			t.Skip()
		}
		var want, got string
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(safetext.JSON(b), &got); err != nil || got != want {
			t.Fatalf("%q became %q (%v)", want, got, err)
		}
	})
}
