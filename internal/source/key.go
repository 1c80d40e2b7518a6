package source

import (
	"strings"
	"time"
)

// Folder is what the path of a folder tells about everything below it.
type Folder struct {
	Place              // as far as the path goes; Delivered is not set
	From, To time.Time // delivered in [From, To), zero when no date folder is reached
	Level    Level
}

// Level is how deep a folder lies in an AWSLogs layout.
type Level uint8

// The levels, in the order of the path. LevelNone is outside of the layout; below LevelDay the layout ends.
const (
	LevelNone Level = iota
	LevelRoot       // AWSLogs
	LevelOrg        // AWSLogs/o-…
	LevelAccount
	LevelKind
	LevelRegion
	LevelYear
	LevelMonth
	LevelDay
	LevelBelow
)

// ParseKey reads the place out of a key or a path with slashes: out of the folders of an AWSLogs layout and out of the
// names that CloudTrail gives its files, which win where both tell. Names that tell nothing give the zero Place.
// (CloudTrail user guide, "Finding your CloudTrail log files" and "CloudTrail digest file structure".)
func ParseKey(key string) Place {
	dir, name := "", key
	if i := strings.LastIndexByte(key, '/'); i >= 0 {
		dir, name = key[:i], key[i+1:]
	}
	f := ParseFolder(dir)
	return f.Holds(name)
}

// Holds is the place of an object in the folder: what [ParseKey] gives for both.
func (f *Folder) Holds(name string) Place {
	p := f.Place
	if f.To.Sub(f.From) == 24*time.Hour {
		p.Delivered = f.From
	}
	if n, ok := parseName(name); ok {
		n.Org = p.Org
		return n
	}
	if p.Kind == Unknown {
		return Place{} // AWSLogs without a service is anybody's folder
	}
	return p
}

// ParseFolder reads what a folder's path tells, with or without a slash at its end.
func ParseFolder(path string) Folder {
	// The layout starts at the last AWSLogs that an account or organisation follows, or that ends the path.
	for end := len(path); end > 0; {
		i := strings.LastIndex(path[:end], awsLogs)
		if i < 0 {
			break
		}
		end = i
		if i > 0 && path[i-1] != '/' {
			continue
		}
		rest := path[i+len(awsLogs):]
		if rest == "" {
			return Folder{Level: LevelRoot}
		}
		if rest[0] != '/' {
			continue
		}
		if f := parseBelow(rest[1:]); f.Level != LevelNone {
			return f
		}
	}
	return Folder{}
}

const awsLogs = "AWSLogs"

// parseBelow reads [ORG/]ACCOUNT/KIND/REGION/YYYY/MM/DD. LevelNone says that it is not the layout.
func parseBelow(rest string) (f Folder) {
	f.Level = LevelRoot
	next := func() (string, bool) {
		part, tail, _ := strings.Cut(rest, "/")
		rest = tail
		return part, part != ""
	}
	part, ok := next()
	if !ok {
		return f
	}
	if strings.HasPrefix(part, "o-") {
		f.Org, f.Level = part, LevelOrg
		if part, ok = next(); !ok {
			return f
		}
	}
	if !isAccount(part) {
		if f.Level == LevelOrg {
			f.Level = LevelBelow // something else in the organisation's folder
			return f
		}
		return Folder{}
	}
	f.Account, f.Level = part, LevelAccount
	if part, ok = next(); !ok {
		return f
	}
	f.Kind, f.Level = Kind(part), LevelKind
	if part, ok = next(); !ok {
		return f
	}
	if f.Kind != Lake || part != "Query" { // where the others have the Region
		if !isRegion(part) {
			f.Level = LevelBelow
			return f
		}
		f.Region = part
	}
	f.Level = LevelRegion
	year, month, day := 0, 1, 1
	for _, d := range [...]struct {
		digits, min, max int
		to               *int
		level            Level
	}{{4, 1970, 9999, &year, LevelYear}, {2, 1, 12, &month, LevelMonth}, {2, 1, 31, &day, LevelDay}} {
		if part, ok = next(); !ok {
			return f
		}
		n, good := number(part, d.digits)
		if !good || n < d.min || n > d.max {
			f.Level = LevelBelow
			return f
		}
		*d.to = n
		from := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
		if from.Day() != day { // 31 February
			f.Level = LevelBelow
			return f
		}
		f.From, f.Level = from, d.level
		switch d.level {
		case LevelYear:
			f.To = from.AddDate(1, 0, 0)
		case LevelMonth:
			f.To = from.AddDate(0, 1, 0)
		default:
			f.To = from.AddDate(0, 0, 1)
		}
	}
	if rest != "" {
		f.Level = LevelBelow
	}
	return f
}

// parseName reads ACCOUNT_KIND_REGION_YYYYMMDDTHHmmZ_UNIQUE.json.gz, and
// ACCOUNT_KIND_REGION_TRAIL_HOMEREGION_YYYYMMDDTHHmmSSZ[_backfill].json.gz for digests. TRAIL may hold underscores.
func parseName(name string) (Place, bool) {
	account, rest, ok := strings.Cut(name, "_")
	if !ok || !isAccount(account) {
		return Place{}, false
	}
	kind, rest, ok := strings.Cut(rest, "_")
	if !ok || kind != string(Logs) && !strings.HasPrefix(kind, string(Logs)+"-") {
		return Place{}, false
	}
	region, rest, ok := strings.Cut(rest, "_")
	if !ok || !isRegion(region) {
		return Place{}, false
	}
	p := Place{Kind: Kind(kind), Account: account, Region: region}
	if p.Kind == Digest {
		if i := strings.IndexByte(rest, '.'); i >= 0 {
			// The trail's name may hold dots, the time and what follows it cannot.
			if j := strings.LastIndexByte(rest, 'Z'); j > i {
				i = j + 1
			}
			rest = rest[:i]
		}
		rest = strings.TrimSuffix(rest, "_backfill")
		i := strings.LastIndexByte(rest, '_')
		rest = rest[i+1:]
	}
	at, ok := parseMinute(rest)
	if !ok {
		return Place{}, false
	}
	p.Delivered = at
	return p, true
}

// parseMinute reads the YYYYMMDDTHHmm that s starts with, followed by Z or by seconds and Z.
func parseMinute(s string) (time.Time, bool) {
	if len(s) < 14 || s[8] != 'T' {
		return time.Time{}, false
	}
	if tail := s[13:]; tail[0] != 'Z' {
		if _, ok := number(tail[:min(2, len(tail))], 2); !ok || len(tail) < 3 || tail[2] != 'Z' {
			return time.Time{}, false
		}
	}
	y, ok1 := number(s[:4], 4)
	mo, ok2 := number(s[4:6], 2)
	d, ok3 := number(s[6:8], 2)
	h, ok4 := number(s[9:11], 2)
	mi, ok5 := number(s[11:13], 2)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || y < 1970 || mo < 1 || mo > 12 || d < 1 || h > 23 || mi > 59 {
		return time.Time{}, false
	}
	t := time.Date(y, time.Month(mo), d, h, mi, 0, 0, time.UTC)
	return t, t.Day() == d
}

func number(s string, digits int) (int, bool) {
	if len(s) != digits {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + int(c)
	}
	return n, true
}

func isAccount(s string) bool {
	if len(s) != 12 {
		return false
	}
	for i := range len(s) {
		if s[i]-'0' > 9 {
			return false
		}
	}
	return true
}

// isRegion accepts what looks like a Region without a list of them: new ones appear, other clouds have their own, and
// anonymised logs have impossible ones.
func isRegion(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !(c >= 'a' && c <= 'z' || c == '-' || c-'0' <= 9) {
			return false
		}
	}
	return s[0] >= 'a' && s[0] <= 'z'
}

// SystemFile reports whether a path with slashes names a file that file managers leave behind: it never is a log.
func SystemFile(path string) bool {
	name := path[strings.LastIndexByte(path, '/')+1:]
	switch name {
	case ".DS_Store", "Thumbs.db":
		return true
	}
	return strings.HasPrefix(name, "._") && (strings.HasPrefix(path, "__MACOSX/") || strings.Contains(path, "/__MACOSX/"))
}
