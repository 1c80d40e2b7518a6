package event

import (
	"strings"
	"time"
)

// parseTime reads eventTime. CloudTrail writes 2006-01-02T15:04:05Z; records in the wild also have fractions, offsets,
// a space in place of the T, stray spaces, and epoch seconds.
func parseTime(v Value) int64 {
	switch v.kind {
	case String:
		t, _ := ParseTime(v.Text())
		return t
	case Number:
		if f, ok := v.Float(); ok && f > 0 && f < 1e11 {
			return int64(f*1000) * int64(time.Millisecond)
		}
	}
	return 0
}

// ParseTime reads a time as CloudTrail and its exporters write it, without a zone as UTC, into Unix nanoseconds.
func ParseTime(s string) (int64, bool) {
	if t, ok := fastTime(s); ok {
		return t, true
	}
	s = strings.ReplaceAll(strings.TrimSpace(s), ": ", ":")
	for _, layout := range [...]string{
		time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00",
		"2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05.999999999 MST", "2006-01-02T15:04Z", "2006-01-02T15:04:05.999999999-0700",
		"2006-01-02 15:04:05.999999999 -0700 MST", "2006-01-02",
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UnixNano(), true
		}
	}
	return 0, false
}

// fastTime reads exactly 2006-01-02T15:04:05Z.
func fastTime(s string) (int64, bool) {
	if len(s) != 20 || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' || s[19] != 'Z' {
		return 0, false
	}
	bad := byte(0)
	two := func(i int) int {
		a, b := s[i]-'0', s[i+1]-'0'
		if a > 9 || b > 9 {
			bad = 1
		}
		return int(a)*10 + int(b)
	}
	y, mo, d := two(0)*100+two(2), two(5), two(8)
	h, mi, sec := two(11), two(14), two(17)
	if bad != 0 || mo < 1 || mo > 12 || d < 1 || d > 31 || h > 23 || mi > 59 || sec > 59 || y < 1970 || y > 2260 {
		return 0, false
	}
	if d > 28 { // leave the calendar to the library
		t, err := time.Parse(time.RFC3339, s)
		return t.UnixNano(), err == nil
	}
	// Days since 1970-01-01, counting years from March so that the leap day comes last.
	if mo <= 2 {
		y--
		mo += 12
	}
	days := 365*y + y/4 - y/100 + y/400 + (153*(mo-3)+2)/5 + d - 1 - 719468
	return (int64(days)*86400 + int64(h*3600+mi*60+sec)) * int64(time.Second), true
}
