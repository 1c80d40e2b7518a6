package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"spoor/internal/detect"
	"spoor/internal/event"
	"spoor/internal/hunt"
	"spoor/internal/ledger"
	"spoor/internal/safetext"
)

const (
	dayLayout  = "2006-01-02"
	timeLayout = "2006-01-02 15:04:05"
)

// number writes n with commas between thousands.
func number[T int | int64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	neg := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(s, "-")
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	if neg {
		return "-" + s
	}
	return s
}

// plural writes a count with its noun, such as 1 file, 1,200 files.
func plural[T int | int64](n T, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if strings.HasSuffix(noun, "ry") {
		return number(n) + " " + noun[:len(noun)-1] + "ies"
	}
	if strings.HasSuffix(noun, "s") {
		return number(n) + " " + noun + "es"
	}
	return number(n) + " " + noun + "s"
}

// times writes how often something happened.
func times(n int) string {
	if n == 1 {
		return "once"
	}
	return number(n) + " times"
}

func size(n int64) string {
	switch f := float64(n); {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1e6:
		return fmt.Sprintf("%.1f kB", f/1e3)
	case n < 1e9:
		return fmt.Sprintf("%.1f MB", f/1e6)
	default:
		return fmt.Sprintf("%.1f GB", f/1e9)
	}
}

// duration writes the two largest units, or years.
func duration(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	if days := int(d.Hours()) / 24; days >= 730 {
		return fmt.Sprintf("%.1f years", float64(days)/365.25)
	}
	return fmt.Sprintf("%s %d h", plural(int(d.Hours())/24, "day"), int(d.Hours())%24)
}

// span of time, always UTC; the date once when both ends share it.
func period(first, last time.Time) string {
	first, last = first.UTC(), last.UTC()
	switch {
	case first.IsZero() && last.IsZero():
		return "time unknown"
	case first.Equal(last) || last.IsZero():
		return first.Format(timeLayout)
	case first.Format(dayLayout) == last.Format(dayLayout):
		return first.Format(timeLayout) + "–" + last.Format("15:04:05")
	}
	return first.Format(timeLayout) + " – " + last.Format(timeLayout)
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(timeLayout)
}

// call shortens eventSource:eventName to service:eventName.
func call(source, name string) string {
	source = strings.TrimSuffix(source, ".amazonaws.com")
	switch {
	case source == "":
		return name
	case name == "":
		return source
	}
	return source + ":" + name
}

// callOf is call for a value of the form eventSource:eventName.
func callOf(v string) string {
	source, name, ok := strings.Cut(v, ":")
	if !ok {
		return v
	}
	return call(source, name)
}

// actorName is the shortest text that tells an actor.
func actorName(a event.Actor) string {
	switch {
	case a.Name != "":
		return a.Name
	case a.ID != "":
		return a.ID
	case a.Kind == event.ActorRoot:
		return "root"
	case a.Kind == event.ActorAnonymous:
		return "anonymous"
	}
	return "unknown"
}

// actorPhrase names an actor inside a sentence.
func actorPhrase(a event.Actor) string {
	name := actorName(a)
	switch a.Kind {
	case event.ActorRoot:
		if a.Account != "" {
			return "the root user of " + a.Account
		}
		return "the root user"
	case event.ActorUser:
		return "user " + name
	case event.ActorRole:
		return "role " + name
	case event.ActorInstance:
		return "EC2 instance " + name
	case event.ActorFunction:
		return "Lambda function " + name
	case event.ActorFederated:
		return "federated user " + name
	case event.ActorWorkload:
		return "workload " + name
	case event.ActorAccount:
		if strings.HasPrefix(name, "account ") || strings.Contains(name, " of account ") {
			return name
		}
		return "account " + name
	case event.ActorService:
		return "AWS service " + name
	case event.ActorAnonymous:
		return "an anonymous caller"
	case event.ActorPerson:
		return name
	}
	if name == "unknown" {
		return "an unknown caller"
	}
	return name
}

// list joins the first show values and says how many more there are.
func list(values []string, show int) string {
	more := len(values) - show
	switch {
	case len(values) == 0:
		return ""
	case len(values) == 1:
		return values[0]
	case more <= 0:
		return strings.Join(values[:len(values)-1], ", ") + " and " + values[len(values)-1]
	}
	return strings.Join(values[:show], ", ") + " and " + number(more) + " more"
}

func values(t []detect.Tally) []string {
	out := make([]string, 0, len(t))
	for _, v := range t {
		if v.Value != "" {
			out = append(out, v.Value)
		}
	}
	return out
}

// calls lists what was called.
func calls(t []detect.Tally, show int) string {
	names := values(t)
	for i, n := range names {
		names[i] = safetext.Terminal(callOf(n), 80)
	}
	return list(names, show)
}

// what says in one sentence who did what, how often, and how it went.
func what(f *detect.Finding) string {
	var b strings.Builder
	b.WriteString(upperFirst(safetext.Middle(actorPhrase(f.Actor), 80)))
	names := calls(f.Names, 3)
	switch {
	case f.Observed != "":
		fmt.Fprintf(&b, ": %s", safetext.Terminal(f.Observed, 200))
		if f.Count > 1 {
			fmt.Fprintf(&b, ", %s", times(f.Count))
		}
		if names != "" {
			fmt.Fprintf(&b, " (%s)", names)
		}
	case names == "":
		fmt.Fprintf(&b, " did this %s", times(f.Count))
	default:
		fmt.Fprintf(&b, " called %s %s", names, times(f.Count))
	}
	switch {
	case f.Denied <= 0 || f.Observed != "":
	case f.Denied >= f.Count && f.Count == 1:
		b.WriteString("; the call failed")
	case f.Denied >= f.Count:
		b.WriteString("; every call failed")
	default:
		fmt.Fprintf(&b, "; %s failed", number(f.Denied))
	}
	if e := values(f.Errors); len(e) > 0 && f.Denied > 0 && f.Observed == "" {
		fmt.Fprintf(&b, " (%s)", list(capped(e, 60), 2))
	}
	return b.String()
}

// where says when, from which address, in which Region and account, on what.
func where(f *detect.Finding) string {
	parts := []string{period(f.First, f.Last)}
	if a := values(f.Addresses); len(a) > 0 {
		parts = append(parts, "from "+list(capped(a, 60), 2))
	}
	if r := values(f.Regions); len(r) > 0 {
		parts = append(parts, "in "+list(capped(r, 40), 3))
	}
	if f.Account != "" {
		parts = append(parts, "account "+safetext.Terminal(f.Account, 40))
	}
	if t := values(f.Targets); len(t) > 0 {
		parts = append(parts, "on "+list(capped(t, 70), 1))
	}
	return strings.Join(parts, ", ")
}

func capped(in []string, limit int) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = safetext.Middle(s, limit)
	}
	return out
}

func upperFirst(s string) string {
	for _, lead := range [...]string{"the ", "an ", "user ", "role ", "federated ", "workload ", "account "} {
		if strings.HasPrefix(s, lead) {
			return strings.ToUpper(s[:1]) + s[1:]
		}
	}
	return s
}

// techniqueIDs lists the ATT&CK numbers of a rule.
func techniqueIDs(r *detect.Rule) []string {
	var ids []string
	for _, t := range r.Techniques {
		if t.ID != "" && !slices.Contains(ids, t.ID) {
			ids = append(ids, t.ID)
		}
	}
	return ids
}

// levelCounts counts findings by level.
func levelCounts(fs []detect.Finding) (n [len(detect.Levels)]int) {
	for i := range fs {
		n[fs[i].Level]++
	}
	return n
}

// verdict says what a reader has to know first, and how bad it is.
func verdict(res *hunt.Result) (string, detect.Level) {
	n := levelCounts(res.Findings)
	count := func(l detect.Level) string { return number(n[l]) + " " + l.String() }
	finding := func(k int) string {
		if k == 1 {
			return "finding"
		}
		return "findings"
	}
	switch {
	case n[detect.Critical] > 0 && n[detect.High] > 0:
		return fmt.Sprintf("%s and %s %s: look at these first.", count(detect.Critical), count(detect.High), finding(n[detect.High])), detect.Critical
	case n[detect.Critical] > 0:
		return fmt.Sprintf("%s %s: look here first.", count(detect.Critical), finding(n[detect.Critical])), detect.Critical
	case n[detect.High] > 0:
		return fmt.Sprintf("%s %s: look here first.", count(detect.High), finding(n[detect.High])), detect.High
	case n[detect.Medium] > 0:
		return fmt.Sprintf("Nothing critical or high. %s %s to look at.", count(detect.Medium), finding(n[detect.Medium])), detect.Medium
	case n[detect.Low] > 0:
		return fmt.Sprintf("Nothing above low. %s %s.", count(detect.Low), finding(n[detect.Low])), detect.Low
	case res.Stats.Events == 0:
		return "No event was examined.", detect.Medium
	}
	return fmt.Sprintf("No rule found anything to alert on in %s.", plural(res.Stats.Events, "event")), detect.Informational
}

// state is how far the input can be trusted to be all there.
type state int

const (
	whole      state = iota
	incomplete       // something could not be read
	unbalanced       // the counts contradict one another
)

// completeness says whether everything was read.
func completeness(l *ledger.Report) (string, state) {
	switch {
	case l == nil:
		return "There is no ledger: what was read is not known.", unbalanced
	case !l.Balanced:
		return "The ledger does not balance, so no count of this report can be trusted: " + list(l.Problems, 3) + ".", unbalanced
	case l.Complete() && l.Empty():
		return fmt.Sprintf("No CloudTrail record was found: %s listed, %s read, %s skipped.", plural(l.Objects.Listed, "file"), number(l.Objects.Read), number(l.Objects.Skipped)), incomplete
	case l.Complete():
		text := fmt.Sprintf("Everything that was listed was read: %s, %s.", plural(l.Objects.Read, "file"), plural(l.Records.Seen, "record"))
		if n := total(l.Pruned); n > 0 {
			text += fmt.Sprintf(" The store left out %s unread that cannot be asked for.", plural(n, "record"))
		}
		return text, whole
	}
	var parts []string
	if n := l.Objects.Failed; n > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s files could not be read whole", number(n), number(l.Objects.Listed)))
	}
	if n := l.Records.Rejected; n > 0 {
		verb := "were malformed"
		if n == 1 {
			verb = "was malformed"
		}
		parts = append(parts, fmt.Sprintf("%s of %s records %s", number(n), number(l.Records.Seen), verb))
	}
	return "The input is incomplete: " + strings.Join(parts, ", and ") + ". What they hold is missing here.", incomplete
}

func total(rs []ledger.ReasonCount) (n int64) {
	for _, r := range rs {
		n += r.Count
	}
	return n
}
