package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// problemCap bounds the cells and objects that problems name.
const problemCap = 10

// Report returns what was counted, checked: Balanced says whether the identities hold and everything that was begun was
// ended. It is to be called when reading has ended; a ledger that is still fed gives a report that does not balance.
func (l *Ledger) Report() *Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &Report{
		Objects: l.objects, Records: l.records, Bytes: l.bytes,
		Skipped: l.skipped.list(), Notes: l.notes.list(), Failures: l.failures.list(), Rejects: l.rejects.list(),
		Cells: make([]Cell, 0, len(l.cells)),
	}
	if len(l.pruned.n) > 0 {
		r.Pruned = l.pruned.list()
	}
	for key, c := range l.cells {
		out := Cell{Account: key.account, Region: key.region, Objects: c.objects, Records: Records{
			Kept: c.records[Kept], Duplicate: c.records[Duplicate], Filtered: c.records[Filtered], Rejected: c.records[rejected], Other: c.records[Other],
		}}
		out.Records.Seen = out.Records.settled()
		if key.hour != 0 {
			out.Hour = time.Unix(key.hour*3600, 0).UTC()
		}
		r.Records.add(out.Records)
		r.Cells = append(r.Cells, out)
	}
	r.Records.Seen = l.records.Seen // what the decoder counted, not what the cells add up to
	r.Records.Rejected = l.rejected
	slices.SortFunc(r.Cells, compareCells)
	if rest := l.cells[restKey]; rest != nil && len(l.cells) > l.cellCap {
		var n int64
		for _, k := range rest.records {
			n += k
		}
		r.Notes = mergeReasons(r.Notes, []ReasonCount{{fmt.Sprintf("record of an account, Region and hour beyond the %d counted apart", l.cellCap), n}})
	}

	r.Problems = r.Check()
	if n := len(l.open); n > 0 {
		var names []string
		for o := range l.open {
			names = append(names, o.name)
		}
		slices.Sort(names)
		r.Problems = append(r.Problems, fmt.Sprintf("%d objects were opened and never closed: %s", n, strings.Join(names[:min(n, problemCap)], ", ")))
	}
	for _, m := range l.misuse.list() {
		r.Problems = append(r.Problems, fmt.Sprintf("%s (%d times)", m.Reason, m.Count))
	}
	r.Balanced = len(r.Problems) == 0
	return r
}

// Check returns which identities do not hold in a report, of its totals, of its cells, and between them.
func (r *Report) Check() []string {
	var problems []string
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if r.Objects.Listed != r.Objects.settled() {
		problem("objects: %d listed, but %d read + %d skipped + %d failed = %d", r.Objects.Listed, r.Objects.Read, r.Objects.Skipped, r.Objects.Failed, r.Objects.settled())
	}
	if rec := r.Records; rec.Seen != rec.settled() {
		problem("records: %d seen, but %d kept + %d duplicate + %d filtered + %d rejected + %d other = %d",
			rec.Seen, rec.Kept, rec.Duplicate, rec.Filtered, rec.Rejected, rec.Other, rec.settled())
	}
	var objects Objects
	var records Records
	bad := 0
	for i := range r.Cells {
		c := &r.Cells[i]
		objects.add(c.Objects)
		records.add(c.Records)
		if c.Objects.Listed != c.Objects.settled() || c.Records.Seen != c.Records.settled() {
			if bad++; bad <= problemCap {
				problem("account %q, Region %q, hour %s: objects %+v, records %+v", c.Account, c.Region, c.Hour.Format(time.RFC3339), c.Objects, c.Records)
			}
		}
	}
	if bad > problemCap {
		problem("%d cells in all do not balance", bad)
	}
	if objects != r.Objects {
		problem("objects: the cells add up to %+v, the totals are %+v", objects, r.Objects)
	}
	if records != r.Records {
		problem("records: the cells add up to %+v, the totals are %+v", records, r.Records)
	}
	var skipped int64
	for _, s := range r.Skipped {
		skipped += s.Count
	}
	if skipped != r.Objects.Skipped {
		problem("objects: %d skipped, but reasons for %d", r.Objects.Skipped, skipped)
	}
	if n := int64(len(r.Failures)); n != min(r.Objects.Failed, FailureCap) {
		problem("objects: %d failed, but %d are named", r.Objects.Failed, n)
	}
	if n := int64(len(r.Rejects)); n != min(r.Records.Rejected, RejectCap) {
		problem("records: %d rejected, but %d are named", r.Records.Rejected, n)
	}
	return problems
}

// Merge adds up reports, such as those of parts of one run. The result balances when each of them did. Nil ones are left out.
func Merge(reports ...*Report) *Report {
	out := &Report{Skipped: []ReasonCount{}, Notes: []ReasonCount{}}
	failures := bounded[Failure]{limit: FailureCap, compare: compareFailures}
	rejects := bounded[Reject]{limit: RejectCap, compare: compareRejects}
	cells := map[Cell]*Cell{}
	for _, r := range reports {
		if r == nil {
			continue
		}
		out.Objects.add(r.Objects)
		out.Records.add(r.Records)
		out.Bytes.Stored += r.Bytes.Stored
		out.Bytes.Expanded += r.Bytes.Expanded
		out.Skipped = mergeReasons(out.Skipped, r.Skipped)
		out.Notes = mergeReasons(out.Notes, r.Notes)
		if len(r.Pruned) > 0 {
			out.Pruned = mergeReasons(out.Pruned, r.Pruned)
		}
		for _, f := range r.Failures {
			failures.add(f)
		}
		for _, rej := range r.Rejects {
			rejects.add(rej)
		}
		addCells(cells, r.Cells, func(c Cell) Cell { return Cell{Account: c.Account, Region: c.Region, Hour: c.Hour} })
		out.Problems = append(out.Problems, r.Problems...)
		if !r.Balanced && len(r.Problems) == 0 {
			out.Problems = append(out.Problems, "a merged report does not balance")
		}
	}
	out.Failures, out.Rejects, out.Cells = failures.list(), rejects.list(), sortedCells(cells)
	for _, p := range out.Check() {
		if !slices.Contains(out.Problems, p) {
			out.Problems = append(out.Problems, p)
		}
	}
	out.Balanced = len(out.Problems) == 0
	return out
}

// By adds cells up: key says where each belongs, by the account, Region and hour of the cell that it returns.
func (r *Report) By(key func(Cell) Cell) []Cell {
	cells := map[Cell]*Cell{}
	addCells(cells, r.Cells, func(c Cell) Cell {
		k := key(c)
		return Cell{Account: k.Account, Region: k.Region, Hour: k.Hour}
	})
	return sortedCells(cells)
}

// ByAccount adds cells up by account.
func (r *Report) ByAccount() []Cell {
	return r.By(func(c Cell) Cell { return Cell{Account: c.Account} })
}

// ByRegion adds cells up by account and Region.
func (r *Report) ByRegion() []Cell {
	return r.By(func(c Cell) Cell { return Cell{Account: c.Account, Region: c.Region} })
}

// ByDay adds cells up by account, Region and day (UTC).
func (r *Report) ByDay() []Cell {
	return r.By(func(c Cell) Cell {
		if !c.Hour.IsZero() {
			c.Hour = c.Hour.Truncate(24 * time.Hour)
		}
		return c
	})
}

func addCells(to map[Cell]*Cell, cells []Cell, key func(Cell) Cell) {
	for _, c := range cells {
		k := key(c)
		k.Hour = k.Hour.UTC() // times are compared as they are written
		sum := to[k]
		if sum == nil {
			sum = &Cell{Account: k.Account, Region: k.Region, Hour: k.Hour}
			to[k] = sum
		}
		sum.Objects.add(c.Objects)
		sum.Records.add(c.Records)
	}
}

func sortedCells(cells map[Cell]*Cell) []Cell {
	out := make([]Cell, 0, len(cells))
	for _, c := range cells {
		out = append(out, *c)
	}
	slices.SortFunc(out, compareCells)
	return out
}

func (o *Objects) settled() int64 { return o.Read + o.Skipped + o.Failed }

func (o *Objects) add(p Objects) {
	o.Listed += p.Listed
	o.Read += p.Read
	o.Skipped += p.Skipped
	o.Failed += p.Failed
}

func (r *Records) settled() int64 {
	return r.Kept + r.Duplicate + r.Filtered + r.Rejected + r.Other
}

func (r *Records) add(p Records) {
	r.Seen += p.Seen
	r.Kept += p.Kept
	r.Duplicate += p.Duplicate
	r.Filtered += p.Filtered
	r.Rejected += p.Rejected
	r.Other += p.Other
}

func compareCells(a, b Cell) int {
	return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Region, b.Region), a.Hour.Compare(b.Hour))
}

func compareFailures(a, b Failure) int {
	return cmp.Or(cmp.Compare(a.Object, b.Object), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Kept, b.Kept))
}

func compareRejects(a, b Reject) int {
	return cmp.Or(cmp.Compare(a.Object, b.Object), cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Length, b.Length), cmp.Compare(a.Reason, b.Reason))
}

// list returns the reasons, most frequent first.
func (r *reasons) list() []ReasonCount {
	out := make([]ReasonCount, 0, len(r.n))
	for reason, n := range r.n {
		out = append(out, ReasonCount{reason, n})
	}
	slices.SortFunc(out, compareReasons)
	return out
}

func compareReasons(a, b ReasonCount) int {
	return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Reason, b.Reason))
}

func mergeReasons(a, b []ReasonCount) []ReasonCount {
	n := map[string]int64{}
	for _, c := range slices.Concat(a, b) {
		n[c.Reason] += c.Count
	}
	all := make([]ReasonCount, 0, len(n))
	for _, reason := range slices.Sorted(maps.Keys(n)) {
		all = append(all, ReasonCount{reason, n[reason]})
	}
	slices.SortFunc(all, compareReasons)
	return all
}

// bounded keeps the first limit elements in order, whatever the order in which they come.
type bounded[T any] struct {
	limit   int
	compare func(a, b T) int
	held    []T
}

func (b *bounded[T]) add(v T) {
	b.held = append(b.held, v)
	if len(b.held) >= 2*b.limit {
		slices.SortFunc(b.held, b.compare)
		b.held = b.held[:b.limit]
	}
}

func (b *bounded[T]) list() []T {
	slices.SortFunc(b.held, b.compare)
	return append([]T{}, b.held[:min(len(b.held), b.limit)]...)
}
