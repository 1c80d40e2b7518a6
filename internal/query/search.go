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
	"spoor/internal/match"
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

// rowSQL are the columns that [asking.judge] takes.
const rowSQL = `epoch_us(eventTime) AS t, coalesce(eventID, '') AS i, coalesce(sourceObject, '') AS o, coalesce(sourceOffset, 0) AS f, to_base64(rawBytes) AS b, ` + segment.RawSQL + ` AS r`

// row is a row of rowSQL. Its event lies in memory of its own.
type row struct {
	place place
	event event.Event
}

// judge reads a row, and tells whether its event is asked for.
func (a *asking) judge(values []duckdb.Value, r *row) (bool, error) {
	var err error
	r.place = place{Timed: !values[0].Null, ID: values[1].Text, Object: values[2].Text}
	if r.place.Timed {
		r.place.Time, err = strconv.ParseInt(values[0].Text, 10, 64)
	}
	if err == nil {
		r.place.Offset, err = strconv.ParseInt(values[3].Text, 10, 64)
	}
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

// How many rows are taken at once while a page is filled: where rows turn out not to be asked for, more and more.
const (
	fewRows  = 200
	mostRows = 20_000
)

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

// page gives the first events of a set behind a place.
func (a *asking) page(ctx context.Context, s set, order Order, from *place, want int) ([]foundEvent, error) {
	c := compiler{s.known}.compile(match.FormOf(a.query.Expr()))
	if c.upper == never {
		return nil, nil
	}
	rows := want
	if !c.exact() {
		rows = max(4*want, fewRows)
	}
	files := slices.Clone(s.files)
	if order == Oldest {
		slices.SortStableFunc(files, func(a, b table.File) int { return a.MinTime.Compare(b.MinTime) })
	}
	var out []foundEvent
	for {
		where := c.upper
		if from != nil {
			where = all([]string{where, from.after(order)})
			files = slices.DeleteFunc(files, func(f table.File) bool { return behind(f, *from, order) })
		}
		sql := fmt.Sprintf("SELECT %s FROM %s WHERE %s %s LIMIT %d", rowSQL, duckdb.Segments, where, orderSQL(order), rows)
		n := 0
		var r row
		err := a.each(ctx, sql, a.scope(files), func(values []duckdb.Value) error {
			n++
			ok, err := a.judge(values, &r)
			if err != nil {
				return err
			}
			last := r.place
			from = &last
			if ok && len(out) < want {
				out = append(out, foundEvent{r.place, newEvent(&r.event)})
			}
			return nil
		})
		if err != nil || n < rows || len(out) >= want {
			return out, err
		}
		rows = min(4*rows, mostRows)
	}
}

// behind reports whether all events of a file come before the place, so that none is behind it.
func behind(f table.File, p place, order Order) bool {
	switch {
	case f.MinTime.IsZero(): // its events have no time
		return false
	case !p.Timed:
		return true
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
