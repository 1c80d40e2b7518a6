package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"spoor/internal/source"
)

var base = time.Date(2026, 1, 10, 9, 0, 0, 0, time.UTC)

func object(name, account, region string, at time.Time) source.Object {
	return source.Object{Name: name, Size: 100, Place: source.Place{Kind: source.Logs, Account: account, Region: region, Delivered: at}}
}

// run is a reading of four objects, as the calls that are made for it.
type run struct {
	l    *Ledger
	good *Object
	bad  *Object
	part *Tally
}

var (
	good    = object("good", "111122223333", "us-east-1", base.Add(15*time.Minute))
	bad     = object("bad", "111122223333", "eu-west-1", base)
	digest  = source.Object{Name: "digest", Size: 5, Place: source.Place{Kind: source.Digest, Account: "111122223333", Region: "us-east-1", Delivered: base}}
	unknown = source.Object{Name: "-", Size: -1}
)

var script = []struct {
	name string
	call func(r *run)
}{
	{"listed good", func(r *run) { r.l.Listed(good) }},
	{"listed bad", func(r *run) { r.l.Listed(bad) }},
	{"listed digest", func(r *run) { r.l.Listed(digest) }},
	{"listed unknown", func(r *run) { r.l.Listed(unknown) }},
	{"skip digest", func(r *run) { r.l.Skip(digest, "digest file") }},
	{"skip unknown", func(r *run) { r.l.Skip(unknown, "empty") }},
	{"open good", func(r *run) { r.good = r.l.Object(good) }},
	{"part of good", func(r *run) {
		if r.good != nil {
			r.part = r.good.Part()
		}
	}},
	{"good seen", func(r *run) { r.good.on(func(o *Object) { o.Seen(3) }) }},
	{"good kept", func(r *run) {
		r.good.on(func(o *Object) { o.Record("111122223333", "us-east-1", base.UnixNano(), Kept) })
	}},
	{"good kept again", func(r *run) {
		r.good.on(func(o *Object) { o.Record("111122223333", "us-east-1", base.UnixNano()+1, Kept) })
	}},
	{"good of another hour", func(r *run) {
		r.good.on(func(o *Object) { o.Record("111122223333", "us-east-1", base.UnixNano()-1, Filtered) })
	}},
	{"part seen", func(r *run) { r.part.on(func(t *Tally) { t.Seen(2) }) }},
	{"part duplicate", func(r *run) {
		r.part.on(func(t *Tally) { t.Record("444455556666", "us-east-1", base.UnixNano(), Duplicate) })
	}},
	{"part other", func(r *run) { r.part.on(func(t *Tally) { t.Record("", "", 0, Other) }) }},
	{"part done", func(r *run) { r.part.on(func(t *Tally) { t.Done() }) }},
	{"close good", func(r *run) { r.good.on(func(o *Object) { o.Close(nil) }) }},
	{"open bad", func(r *run) { r.bad = r.l.Object(bad) }},
	{"bad seen", func(r *run) { r.bad.on(func(o *Object) { o.Seen(2) }) }},
	{"bad kept", func(r *run) {
		r.bad.on(func(o *Object) { o.Record("111122223333", "eu-west-1", base.UnixNano(), Kept) })
	}},
	{"bad rejected", func(r *run) { r.bad.on(func(o *Object) { o.Reject(17, 4, "unexpected end") }) }},
	{"close bad", func(r *run) { r.bad.on(func(o *Object) { o.Close(errors.New("gzip: truncated")) }) }},
}

func (o *Object) on(f func(*Object)) {
	if o != nil {
		f(o)
	}
}

func (t *Tally) on(f func(*Tally)) {
	if t != nil {
		f(t)
	}
}

func play(without int) *Report {
	r := &run{l: New()}
	for i, s := range script {
		if i != without {
			s.call(r)
		}
	}
	return r.l.Report()
}

func TestReport(t *testing.T) {
	t.Parallel()
	r := play(-1)
	hour := func(h int) time.Time { return base.Add(time.Duration(h) * time.Hour) }
	want := &Report{
		Objects:  Objects{Listed: 4, Read: 1, Skipped: 2, Failed: 1},
		Records:  Records{Seen: 7, Kept: 3, Duplicate: 1, Filtered: 1, Rejected: 1, Other: 1},
		Bytes:    Bytes{Stored: 200},
		Skipped:  []ReasonCount{{"digest file", 1}, {"empty", 1}},
		Failures: []Failure{{Object: "bad", Reason: "gzip: truncated", Kept: 1}},
		Rejects:  []Reject{{Object: "bad", Offset: 17, Length: 4, Reason: "unexpected end"}},
		Notes:    []ReasonCount{},
		Cells: []Cell{
			{Objects: Objects{Listed: 1, Skipped: 1}, Records: Records{Seen: 1, Other: 1}},
			{Account: "111122223333", Region: "eu-west-1", Hour: hour(0), Objects: Objects{Listed: 1, Failed: 1}, Records: Records{Seen: 2, Kept: 1, Rejected: 1}},
			{Account: "111122223333", Region: "us-east-1", Hour: hour(-1), Records: Records{Seen: 1, Filtered: 1}},
			{Account: "111122223333", Region: "us-east-1", Hour: hour(0), Objects: Objects{Listed: 2, Read: 1, Skipped: 1}, Records: Records{Seen: 2, Kept: 2}},
			{Account: "444455556666", Region: "us-east-1", Hour: hour(0), Records: Records{Seen: 1, Duplicate: 1}},
		},
		Balanced: true,
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("\n got %+v\nwant %+v", r, want)
	}
	if r.Complete() {
		t.Error("complete in spite of a failure")
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(&back, r) {
		t.Errorf("JSON: %v\n got %+v\nwant %+v", err, back, r)
	}
	if p := back.Check(); p != nil {
		t.Error(p)
	}
	if got := r.ByAccount(); len(got) != 3 || got[1].Records.Seen != 5 || got[1].Objects.Listed != 3 {
		t.Errorf("by account: %+v", got)
	}
	if got := r.ByRegion(); len(got) != 4 || got[2].Region != "us-east-1" || got[2].Records.Seen != 3 {
		t.Errorf("by Region: %+v", got)
	}
	if got := r.ByDay(); len(got) != 4 || got[2].Records.Seen != 3 || !got[2].Hour.Equal(base.Truncate(24*time.Hour)) {
		t.Errorf("by day: %+v", got)
	}
}

// The check can fail: without any one of the calls, the report does not balance.
func TestEveryCallCounts(t *testing.T) {
	t.Parallel()
	for i, s := range script {
		switch r := play(i); {
		case r.Balanced || len(r.Problems) == 0:
			if s.name != "part of good" { // takes what is counted in it along
				t.Errorf("balanced without %q", s.name)
			}
		case s.name == "part of good":
			t.Errorf("not balanced without a part: %q", r.Problems)
		}
	}
}

func TestMisuse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		do   func(l *Ledger, o *Object)
		want string
	}{
		"closed twice":        {func(_ *Ledger, o *Object) { o.Close(nil); o.Close(nil) }, "object closed twice: good (1 times)"},
		"never closed":        {func(*Ledger, *Object) {}, "1 objects were opened and never closed: good"},
		"record after close":  {func(_ *Ledger, o *Object) { o.Close(nil); o.Record("a", "b", 1, Kept) }, "record counted after its object was closed (1 times)"},
		"reject after close":  {func(_ *Ledger, o *Object) { o.Close(nil); o.Reject(1, 1, "x") }, "record rejected after its object was closed (1 times)"},
		"unknown outcome":     {func(_ *Ledger, o *Object) { o.Record("a", "b", 1, 77); o.Close(nil) }, "record with an outcome that does not exist (1 times)"},
		"part left":           {func(_ *Ledger, o *Object) { o.Part(); o.Close(nil) }, "object closed while 1 parts of it were counted: good (1 times)"},
		"part ended twice":    {func(_ *Ledger, o *Object) { p := o.Part(); p.Done(); p.Done(); o.Close(nil) }, "part ended twice (1 times)"},
		"object ended":        {func(_ *Ledger, o *Object) { o.Done(); o.Close(nil) }, "object ended as a part: good (1 times)"},
		"record after a part": {func(_ *Ledger, o *Object) { p := o.Part(); p.Done(); p.Record("a", "b", 1, Kept); o.Close(nil) }, "record counted after its object was closed (1 times)"},
		"other place": {func(l *Ledger, o *Object) { o.Close(nil); l.Listed(good); l.Object(bad).Close(nil) },
			`account "111122223333", Region "eu-west-1", hour 2026-01-10T09:00:00Z: objects {Listed:0 Read:1 Skipped:0 Failed:0}, records {Seen:0 Kept:0 Duplicate:0 Filtered:0 Rejected:0 Other:0}`},
	} {
		l := New()
		l.Listed(good)
		c.do(l, l.Object(good))
		if r := l.Report(); r.Balanced || !slices.Contains(r.Problems, c.want) {
			t.Errorf("%s: %v %q, want %q", name, r.Balanced, r.Problems, c.want)
		}
	}
}

// Strings point into buffers that are used again.
func TestBuffersAreCopied(t *testing.T) {
	t.Parallel()
	l := New()
	buf := []byte("111122223333us-east-1a reason of sorts")
	text := unsafeString(buf)
	place := source.Place{Account: text[:12], Region: text[12:21]}
	obj := source.Object{Name: text[:21], Place: place, Size: 1}
	l.Listed(obj)
	o := l.Object(obj)
	o.Seen(2)
	o.Record(text[:12], text[12:21], 1, Kept)
	o.Reject(1, 1, text[21:])
	o.Note(text[21:])
	copy(buf, "------------+++++++++..................")
	o.Record(text[:12], text[12:21], 1, Kept)
	o.Seen(1)
	o.Close(errors.New("x"))
	l.Listed(source.Object{Name: "y"})
	l.Skip(source.Object{Name: "y"}, text[21:])
	copy(buf, "~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~")
	r := l.Report()
	b, err := json.Marshal(r)
	if err != nil || !r.Balanced || strings.Contains(string(b), "~") {
		t.Errorf("%v %s", err, b)
	}
	for _, want := range []string{`"account":"111122223333","region":"us-east-1"`, `"account":"------------","region":"+++++++++"`, `"reason":"a reason of sorts"`, `"object":"111122223333us-east-1"`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in %s", want, b)
		}
	}
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	l := New()
	const workers, each = 8, 50
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				obj := object(fmt.Sprint(w, "-", i), fmt.Sprint(w%3), "us-east-1", base.Add(time.Duration(i)*time.Hour))
				l.Listed(obj)
				o := l.Object(obj)
				var parts sync.WaitGroup
				for range 3 {
					p := o.Part()
					parts.Go(func() {
						for k := range 10 {
							p.Record("a", "b", base.UnixNano()+int64(k)*int64(time.Hour)/3, Outcome(k%4))
						}
						p.Reject(int64(i), 1, "bad")
						p.Seen(11)
						p.Expanded(7)
						p.Note("odd")
						p.Done()
					})
				}
				parts.Wait()
				o.Close(nil)
			}
		})
	}
	wg.Wait()
	r := l.Report()
	const n = workers * each
	if !r.Balanced || r.Objects.Read != n || r.Records.Seen != n*33 || r.Records.Rejected != n*3 || r.Records.Kept != n*9 || r.Bytes.Expanded != n*21 || r.Notes[0].Count != n*3 {
		t.Errorf("%v %+v %+v %+v %+v", r.Problems, r.Objects, r.Records, r.Bytes, r.Notes)
	}
}

// Hostile input makes up accounts, Regions, hours, reasons and names; what is held stays bounded and the sums right.
func TestBounds(t *testing.T) {
	t.Parallel()
	const cells = 10_000
	l := New()
	if l.cellCap != CellCap {
		t.Errorf("%d cells at most", l.cellCap)
	}
	l.cellCap = cells
	obj := object("x", "1", "r", base)
	l.Listed(obj)
	o := l.Object(obj)
	const n = cells + 5000
	long := strings.Repeat("é", 1<<16)
	for i := range n {
		o.Record("account", "region", int64(i)*hour+1, Kept)
	}
	for i := range 50 {
		o.Record(long, long+fmt.Sprint(i), math.MinInt64, Kept)
		o.Record("\xff\xfe", "x", math.MaxInt64, Kept)
	}
	for i := range 3 * ReasonCap {
		o.Note(fmt.Sprint("note ", i))
		o.Reject(int64(3*ReasonCap-i), 1, long)
	}
	o.Seen(n + 100 + 3*ReasonCap)
	o.Close(nil)
	for i := range 3 * FailureCap {
		obj := object(fmt.Sprintf("%04d", (i*7)%(3*FailureCap)), "1", "r", base)
		l.Listed(obj)
		l.Object(obj).Close(errors.New(long))
		l.Listed(obj)
		l.Skip(obj, fmt.Sprint("reason ", i))
	}
	r := l.Report()
	if !r.Balanced {
		t.Fatal(r.Problems)
	}
	if len(r.Cells) != cells+1 || r.Records.Kept != n+100 {
		t.Errorf("%d cells, %d records", len(r.Cells), r.Records.Kept)
	}
	if len(r.Failures) != FailureCap || r.Failures[0].Object != "0000" || r.Failures[FailureCap-1].Object != fmt.Sprintf("%04d", FailureCap-1) {
		t.Errorf("%d failures", len(r.Failures))
	}
	if len(r.Rejects) != RejectCap || r.Rejects[0].Offset != 1 || r.Rejects[RejectCap-1].Offset != RejectCap {
		t.Errorf("%d rejects", len(r.Rejects))
	}
	if len(r.Skipped) != ReasonCap+1 || r.Skipped[0] != (ReasonCount{Rest, 2 * ReasonCap}) {
		t.Errorf("%d reasons, first %+v", len(r.Skipped), r.Skipped[0])
	}
	if i := slices.IndexFunc(r.Notes, func(n ReasonCount) bool { return strings.Contains(n.Reason, "beyond the 10000") }); i < 0 || r.Notes[i].Count < 5000 {
		t.Errorf("no note of the cells left out: %+v", r.Notes[:2])
	}
	b, err := json.Marshal(r)
	if err != nil || len(b) > 10<<20 {
		t.Fatal(err, len(b))
	}
	var back Report
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(&back, r) {
		t.Errorf("a large report does not come back as it was: %v", err)
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	one := play(-1)
	two := Merge(one, nil, play(-1))
	if !two.Balanced || two.Objects.Listed != 8 || two.Records.Seen != 14 || len(two.Cells) != len(one.Cells) || two.Cells[1].Records.Seen != 4 ||
		len(two.Failures) != 2 || len(two.Rejects) != 2 || two.Skipped[0].Count != 2 || two.Bytes.Stored != 400 {
		t.Errorf("%+v", two)
	}
	if got := Merge(one); !reflect.DeepEqual(got, one) {
		t.Errorf("\n got %+v\nwant %+v", got, one)
	}
	var back Report
	if b, err := json.Marshal(one); err != nil || json.Unmarshal(b, &back) != nil {
		t.Fatal(err)
	}
	if got := Merge(&back, one); !reflect.DeepEqual(got, two) {
		t.Errorf("\n got %+v\nwant %+v", got, two)
	}
	// Two wrongs do not make a right.
	less, more := play(-1), play(-1)
	less.Objects.Listed--
	less.Problems, less.Balanced = less.Check(), false
	more.Objects.Listed++
	more.Problems, more.Balanced = more.Check(), false
	if got := Merge(less, more); got.Balanced {
		t.Error("two reports that do not balance add up to one that does")
	}
	less.Problems = nil
	more.Problems = nil
	if got := Merge(less, more); got.Balanced {
		t.Error("two reports that do not balance, without saying why, add up to one that does")
	}
	if got := Merge(); !got.Balanced || got.Cells == nil || got.Failures == nil {
		t.Errorf("%+v", got)
	}
}

// A change to any number of a report is noticed.
func TestCheck(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Report){
		"listed":    func(r *Report) { r.Objects.Listed++ },
		"read":      func(r *Report) { r.Objects.Read++ },
		"skipped":   func(r *Report) { r.Objects.Skipped++ },
		"failed":    func(r *Report) { r.Objects.Failed-- },
		"seen":      func(r *Report) { r.Records.Seen++ },
		"kept":      func(r *Report) { r.Records.Kept++ },
		"duplicate": func(r *Report) { r.Records.Duplicate++; r.Records.Kept-- },
		"a cell":    func(r *Report) { r.Cells = r.Cells[1:] },
		"in a cell": func(r *Report) { r.Cells[1].Records.Kept++; r.Cells[1].Records.Seen++ },
		"moved":     func(r *Report) { r.Cells[1].Records.Kept--; r.Cells[2].Records.Kept++ },
		"reason":    func(r *Report) { r.Skipped[0].Count++ },
		"failure":   func(r *Report) { r.Failures = nil },
		"reject":    func(r *Report) { r.Rejects = append(r.Rejects, r.Rejects...) },
	} {
		r := play(-1)
		change(r)
		if len(r.Check()) == 0 {
			t.Errorf("a change of %s goes unnoticed", name)
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	l := New()
	o := l.Object(good)
	buf := []byte("111122223333us-east-1")
	account, region := unsafeString(buf[:12]), unsafeString(buf[12:])
	at := base.UnixNano()
	b.ReportAllocs()
	for b.Loop() {
		o.Record(account, region, at, Kept)
		at += int64(time.Millisecond)
	}
}

// Records of several accounts and Regions in turn, as in one file of many.
func BenchmarkRecordMixed(b *testing.B) {
	l := New()
	o := l.Object(good)
	var places [16][2]string
	for i := range places {
		places[i] = [2]string{fmt.Sprintf("%012d", i%4), fmt.Sprintf("region-%d", i/4)}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		p := &places[i&15]
		o.Record(p[0], p[1], base.UnixNano(), Kept)
		i++
	}
}

// All that one tiny file costs.
func BenchmarkObject(b *testing.B) {
	l := New()
	b.ReportAllocs()
	for b.Loop() {
		l.Listed(good)
		o := l.Object(good)
		o.Record("111122223333", "us-east-1", base.UnixNano(), Kept)
		o.Seen(1)
		o.Close(nil)
	}
}
