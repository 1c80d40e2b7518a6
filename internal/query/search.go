package query

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"spoor/internal/detect"
	"spoor/internal/event"
	"spoor/internal/store"
	"spoor/internal/store/duckdb"
	"spoor/internal/store/segment"
	"spoor/internal/store/table"
)

// place is a place in the order of events: by time, then id, then where the record was read. It does not change when files
// are merged.
type place struct {
	Time   int64  `json:"t"` // microseconds
	Timed  bool   `json:"h,omitempty"`
	ID     string `json:"i,omitempty"`
	Object string `json:"o,omitempty"`
	Offset int64  `json:"f,omitempty"`
}

// compare orders places; events without a time come last in both orders.
func (p place) compare(o place, order Order) int {
	if p.Timed != o.Timed {
		if p.Timed {
			return -1
		}
		return 1
	}
	c := cmp.Or(cmp.Compare(p.Time, o.Time), strings.Compare(p.ID, o.ID), strings.Compare(p.Object, o.Object), cmp.Compare(p.Offset, o.Offset))
	if order == Newest {
		return -c
	}
	return c
}

// after is the condition that a row comes behind the place.
func (p place) after(order Order) string {
	op := ">"
	if order == Newest {
		op = "<"
	}
	rest := fmt.Sprintf("(coalesce(eventID, ''), coalesce(sourceObject, ''), coalesce(sourceOffset, 0)) %s (%s, %s, %d)", op, quote(p.ID), quote(p.Object), p.Offset)
	if !p.Timed {
		return "(eventTime IS NULL AND " + rest + ")"
	}
	at := "make_timestamptz(" + strconv.FormatInt(p.Time, 10) + ")"
	return fmt.Sprintf("(eventTime IS NULL OR eventTime %s= %s) AND (eventTime IS NULL OR eventTime %[1]s %[2]s OR %[3]s)", op, at, rest)
}

// orderSQL is the order of places.
func orderSQL(order Order) string {
	dir := "ASC"
	if order == Newest {
		dir = "DESC"
	}
	return fmt.Sprintf("ORDER BY eventTime %s NULLS LAST, coalesce(eventID, '') %[1]s, coalesce(sourceObject, '') %[1]s, coalesce(sourceOffset, 0) %[1]s", dir)
}

// placeSQL are the columns that placeOf takes, rowSQL those of [asking.judge].
const (
	placeSQL = `epoch_us(eventTime) AS t, coalesce(eventID, '') AS i, coalesce(sourceObject, '') AS o, coalesce(sourceOffset, 0) AS f`
	rowSQL   = placeSQL + `, to_base64(rawBytes) AS b, ` + segment.RawSQL + ` AS r`
)

func placeOf(values []duckdb.Value) (p place, err error) {
	p = place{Timed: !values[0].Null, ID: strings.Clone(values[1].Text), Object: strings.Clone(values[2].Text)}
	if p.Timed {
		p.Time, err = strconv.ParseInt(values[0].Text, 10, 64)
	}
	if err == nil {
		p.Offset, err = strconv.ParseInt(values[3].Text, 10, 64)
	}
	return p, err
}

// row is a row of rowSQL. Its event lies in memory of its own.
type row struct {
	place place
	event event.Event
}

// judge reads a row, and tells whether its event is asked for.
func (a *asking) judge(values []duckdb.Value, r *row) (bool, error) {
	var err error
	r.place, err = placeOf(values)
	raw := []byte(values[5].Text)
	if err == nil && !values[4].Null {
		raw, err = base64.StdEncoding.DecodeString(values[4].Text)
	}
	if err == nil {
		err = r.event.Reset(raw)
	}
	if err != nil {
		return false, fmt.Errorf("read the record of event %q: %w", r.place.ID, err)
	}
	return a.query.Match(&r.event), nil
}

// Search gives a page of events.
func (e *Engine) Search(ctx context.Context, s Search) (_ Page, err error) {
	s.Order = cmp.Or(s.Order, Newest)
	s.Limit = cmp.Or(s.Limit, 50)
	if s.Order != Newest && s.Order != Oldest {
		return Page{}, fmt.Errorf("%w: order %q: want %s or %s", ErrInvalid, s.Order, Newest, Oldest)
	}
	if s.Limit < 1 || s.Limit > MaxPage {
		return Page{}, fmt.Errorf("%w: limit %d: want 1 to %d", ErrInvalid, s.Limit, MaxPage)
	}
	var from *place
	if s.Cursor != "" {
		if from, err = s.place(); err != nil {
			return Page{}, err
		}
		switch {
		case !from.Timed:
		case s.Order == Newest:
			// Nothing behind it is later: files are left out by that.
			if until := time.UnixMicro(from.Time + 1).UTC(); s.Until.IsZero() || until.Before(s.Until) {
				s.Until = until
			}
		case s.Since.IsZero() || s.Since.Before(time.UnixMicro(from.Time)):
			s.Since = time.UnixMicro(from.Time).UTC()
		}
		if !s.Since.IsZero() && !s.Until.IsZero() && !s.Since.Before(s.Until) {
			s.Since, s.Until = time.Time{}, time.Unix(0, 0) // none but those without a time
		}
	}
	ctx, a, err := e.ask(ctx, s.Filter)
	if err != nil {
		return Page{}, err
	}
	defer a.done()
	var found []foundEvent
	err = a.whole(ctx, func() error {
		found = found[:0]
		for _, set := range a.sets {
			more, err := a.page(ctx, set, s.Order, from, s.Limit+1)
			if err != nil {
				return err
			}
			found = append(found, more...)
		}
		return nil
	})
	if err != nil {
		return Page{}, err
	}
	slices.SortFunc(found, func(a, b foundEvent) int { return a.place.compare(b.place, s.Order) })
	page := Page{Events: []Event{}, Damaged: a.damaged}
	for i, f := range found[:min(len(found), s.Limit)] {
		page.Events = append(page.Events, f.Event)
		if i == s.Limit-1 && len(found) > s.Limit {
			page.Next = s.cursor(f.place)
		}
	}
	return page, nil
}

type foundEvent struct {
	place place
	Event
}

// How a page is filled: rows of the files that are looked at first, and later; and what is judged at once, about.
const (
	firstRows = 50_000
	someRows  = 20_000
	minRows   = 200
)

// pager fills a page with events of a set.
type pager struct {
	a     *asking
	set   set
	cond  cond
	order Order
	from  *place // only what is behind it
	want  int
	found []foundEvent // in order, want at most
}

// page gives the first events of a set behind a place.
func (a *asking) page(ctx context.Context, s set, order Order, from *place, want int) ([]foundEvent, error) {
	p := pager{a: a, cond: compiler{s.known}.query(a.query), order: order, from: from, want: want}
	if p.cond.upper == never {
		return nil, nil
	}
	for _, f := range s.files {
		if from == nil || !behind(f, *from, order) {
			p.set.files = append(p.set.files, f)
		}
	}
	slices.SortStableFunc(p.set.files, func(a, b table.File) int {
		switch {
		case a.MinTime.IsZero() != b.MinTime.IsZero(): // those without times last
			return cmp.Compare(b.MinTime.Unix(), a.MinTime.Unix())
		case order == Oldest:
			return a.MinTime.Compare(b.MinTime)
		}
		return b.MaxTime.Compare(a.MaxTime)
	})
	// Most questions are answered by the first files.
	n := prefix(p.set.files, firstRows)
	limit := want
	if !p.cond.exact() {
		limit = max(4*want, minRows)
	}
	rows, err := p.rows(ctx, p.set.files[:n], orderSQL(order)+fmt.Sprintf(" LIMIT %d", limit))
	if err != nil || n == len(p.set.files) && (rows < limit || len(p.found) == want) || p.settled(n) {
		return p.found, err
	}
	p.found = nil
	if p.cond.exact() {
		return p.found, p.sparse(ctx)
	}
	return p.found, p.sweep(ctx)
}

// prefix is how many of the files have about so many rows, one at least.
func prefix(files []table.File, rows int64) int {
	n := 0
	for n < len(files) && (n == 0 || files[n].Rows <= rows) {
		rows -= files[n].Rows
		n++
	}
	return n
}

// where is the condition of the page.
func (p *pager) where() string {
	if p.from == nil {
		return p.cond.upper
	}
	return all([]string{p.cond.upper, p.from.after(p.order)})
}

// settled reports whether no file from the nth on can have an event that belongs before the last that was found.
func (p *pager) settled(n int) bool {
	if len(p.found) < p.want {
		return false
	}
	last := p.found[len(p.found)-1].place
	for _, f := range p.set.files[n:] {
		switch {
		case !last.Timed:
			return false
		case f.MinTime.IsZero():
		case p.order == Newest && f.MaxTime.UnixMicro() >= last.Time || p.order == Oldest && f.MinTime.UnixMicro() <= last.Time:
			return false
		}
	}
	return true
}

// rows takes rows of files, in any order, keeps those that are asked for and belong first, and tells how many there were.
func (p *pager) rows(ctx context.Context, files []table.File, tail string) (n int, err error) {
	var r row
	sql := fmt.Sprintf("SELECT %s FROM %s WHERE %s %s", rowSQL, duckdb.Segments, p.where(), tail)
	return n, p.a.each(ctx, sql, p.a.scope(files), func(values []duckdb.Value) error {
		n++
		return p.take(values, &r)
	})
}

func (p *pager) take(values []duckdb.Value, r *row) error {
	ok, err := p.a.judge(values, r)
	if err != nil || !ok {
		return err
	}
	at, _ := slices.BinarySearchFunc(p.found, r.place, func(f foundEvent, to place) int { return f.place.compare(to, p.order) })
	if at < p.want {
		p.found = slices.Insert(p.found, at, foundEvent{r.place, newEvent(&r.event)})
		p.found = p.found[:min(len(p.found), p.want)]
	}
	return nil
}

// sparse finds the places first, by the columns of the condition alone, and reads those records.
func (p *pager) sparse(ctx context.Context) error {
	sql := fmt.Sprintf("SELECT %s, filename FROM %s WHERE %s %s LIMIT %d", placeSQL, duckdb.Segments, p.where(), orderSQL(p.order), p.want)
	var places []place
	names := map[string]bool{}
	var ids []string
	if err := p.a.each(ctx, sql, p.a.scope(p.set.files), func(values []duckdb.Value) error {
		at, err := placeOf(values)
		places = append(places, at)
		names[strings.Clone(values[4].Text)] = true
		ids = append(ids, quote(at.ID))
		return err
	}); err != nil || len(places) == 0 {
		return err
	}
	scope := p.a.scope(slices.DeleteFunc(slices.Clone(p.set.files), func(f table.File) bool { return !names[f.Path] }))
	first, last := places[0], places[len(places)-1]
	if p.order == Newest {
		first, last = last, first
	}
	if first.Timed && last.Timed {
		scope.Since, scope.Until = time.UnixMicro(first.Time).UTC(), time.UnixMicro(last.Time+1).UTC()
	}
	id := "eventID"
	if slices.ContainsFunc(places, func(at place) bool { return at.ID == "" }) {
		id = "coalesce(eventID, '')"
	}
	wanted := map[place]bool{}
	for _, at := range places {
		wanted[at] = true
	}
	var r row
	sql = fmt.Sprintf("SELECT %s FROM %s WHERE %s IN (%s)", rowSQL, duckdb.Segments, id, strings.Join(ids, ", "))
	return p.a.each(ctx, sql, scope, func(values []duckdb.Value) error {
		if at, err := placeOf(values); err != nil || !wanted[at] {
			return err
		}
		return p.take(values, &r)
	})
}

// sweep goes over the files, and judges what the condition lets through, until nothing can come that belongs before what was
// found. The more is let through, the fewer files are taken at once.
func (p *pager) sweep(ctx context.Context) error {
	rows := int64(firstRows)
	for at := 0; at < len(p.set.files) && !p.settled(at); {
		n := prefix(p.set.files[at:], rows)
		judged := 0
		for _, part := range parts(p.set.files[at : at+n]) {
			k, err := p.part(ctx, part)
			if err != nil {
				return err
			}
			judged += k
		}
		at += n
		rows = min(4*rows, max(firstRows, rows*someRows/int64(max(1, judged))))
	}
	return nil
}

func (p *pager) part(ctx context.Context, part part) (n int, err error) {
	var r row
	sql := fmt.Sprintf("SELECT %s FROM %s WHERE %s", rowSQL, duckdb.Segments, all([]string{p.where(), part.where()}))
	return n, p.a.each(ctx, sql, p.a.scope(part.files), func(values []duckdb.Value) error {
		n++
		return p.take(values, &r)
	})
}

// part is files, or a stretch of time of one that is large.
type part struct {
	files    []table.File
	from, to int64 // microseconds, to not included; both 0 for everything
	untimed  bool  // only what has no time
}

// where is the condition of the stretch.
func (p part) where() string {
	switch {
	case p.untimed:
		return "(eventTime IS NULL)"
	case p.to != 0:
		return fmt.Sprintf("(eventTime >= make_timestamptz(%d) AND eventTime < make_timestamptz(%d))", p.from, p.to)
	}
	return always
}

// parts divides files into stretches whose records, all of them, can be held for a while.
func parts(files []table.File) (out []part) {
	if len(files) > 1 || files[0].Rows <= 4*firstRows || files[0].MinTime.IsZero() {
		return []part{{files: files}}
	}
	f := files[0]
	from, to := f.MinTime.UnixMicro(), f.MaxTime.UnixMicro()+1
	n := f.Rows/firstRows + 1
	step := (to-from)/n + 1
	for at := from; at < to; at += step {
		out = append(out, part{files: files, from: at, to: min(at+step, to)})
	}
	return append(out, part{files: files, untimed: true})
}

// behind reports whether all events of a file come before the place, so that none is behind it.
func behind(f table.File, p place, order Order) bool {
	switch {
	case f.MinTime.IsZero() || !p.Timed: // there may be events without a time
		return false
	case order == Newest:
		return f.MinTime.UnixMicro() > p.Time
	}
	return f.MaxTime.UnixMicro() < p.Time
}

// cursorText is what a cursor says.
type cursorText struct {
	place
	For uint64 `json:"q"` // what the page is of
}

// sum tells questions apart, but for their times, which a caller may give relative to now.
func (s *Search) sum() uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%q %q %q %q", s.Terms, s.Accounts, s.Regions, s.Order)
	return h.Sum64()
}

func (s *Search) cursor(p place) string {
	text, err := json.Marshal(cursorText{p, s.sum()})
	if err != nil {
		return "" // it has texts and numbers only
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func (s *Search) place() (*place, error) {
	text, err := base64.RawURLEncoding.DecodeString(s.Cursor)
	var c cursorText
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: the cursor is not one that was given", ErrInvalid)
	case c.For != s.sum():
		return nil, fmt.Errorf("%w: the cursor is of another question", ErrInvalid)
	}
	return &c.place, nil
}

// Event gives the event of an id. It is [ErrNotFound] when there is none; damaged are files that were left out, which may
// have it.
func (e *Engine) Event(ctx context.Context, id string) (_ Event, damaged []store.Damage, err error) {
	if id == "" {
		return Event{}, nil, fmt.Errorf("%w: no id", ErrInvalid)
	}
	ctx, a, err := e.ask(ctx, Filter{})
	if err != nil {
		return Event{}, nil, err
	}
	defer a.done()
	if err := a.only(ctx, id); err != nil {
		return Event{}, nil, ended(ctx, err)
	}
	var found *Event
	sql := fmt.Sprintf("SELECT %s FROM %s WHERE eventID = %s %s LIMIT 1", rowSQL, duckdb.Segments, quote(id), orderSQL(Newest))
	err = a.whole(ctx, func() error {
		return a.each(ctx, sql, a.scope(a.files()), func(values []duckdb.Value) error {
			var r row
			_, err := a.judge(values, &r)
			if err == nil {
				ev := newEvent(&r.event)
				found = &ev
			}
			return err
		})
	})
	switch {
	case err != nil:
		return Event{}, a.damaged, err
	case found == nil:
		return Event{}, a.damaged, ErrNotFound
	}
	return *found, a.damaged, nil
}

// newEvent takes what people want to know of an event, whose record belongs to the result.
func newEvent(e *event.Event) Event {
	actor := e.Actor()
	out := Event{
		ID: e.ID(), Source: e.Source(), Name: e.Name(), Region: e.Region(), Account: e.Account(), Actor: actor, Target: detect.Target(e),
		Address: e.Text(event.SourceIPAddress), UserAgent: e.Text(event.UserAgent), AccessKey: e.Text(event.AccessKeyID), Category: e.Category(),
		ErrorCode: e.Text(event.ErrorCode), ErrorMessage: e.Text(event.ErrorMessage), Failed: e.Failed(), Raw: json.RawMessage(e.Raw),
	}
	if e.Time != 0 {
		out.Time = e.When()
	}
	switch v := e.Get(event.ReadOnly); v.Kind() {
	case event.True, event.False:
		yes := v.Kind() == event.True
		out.ReadOnly = &yes
	}
	for _, s := range []*string{&out.ID, &out.Source, &out.Name, &out.Region, &out.Account, &out.Target, &out.Address, &out.UserAgent, &out.AccessKey,
		&out.Category, &out.ErrorCode, &out.ErrorMessage, &out.Actor.ID, &out.Actor.Name, &out.Actor.Account, &out.Actor.Session} {
		*s = strings.Clone(*s)
	}
	return out
}
