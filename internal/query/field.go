package query

import (
	"strconv"
	"strings"

	"spoor/internal/event"
	"spoor/internal/store/segment"
)

// counted is a field by which events are counted.
type counted struct {
	// sql is its column in segments whose columns tell everything, "" when it has none.
	sql string
	// sure is when that column tells the value.
	sure string
	// each calls fn with its values in an event, each once.
	each func(e *event.Event, fn func(value string))
}

// derived are the fields that the store derives of a record.
func derived() []struct {
	Field
	sql string
	of  func(*event.Event) string
} {
	actor := func(of func(event.Actor) string) func(*event.Event) string {
		return func(e *event.Event) string { return of(e.Actor()) }
	}
	const text = "string"
	return []struct {
		Field
		sql string
		of  func(*event.Event) string
	}{
		{Field{"actor.id", text, "who acted, the same for every session of it; stable and unique", true}, `actor.id`, actor(func(a event.Actor) string { return a.ID })},
		{Field{"actor.name", text, "who acted, short, for people", true}, `actor.name`, actor(func(a event.Actor) string { return a.Name })},
		{Field{"actor.kind", text, "root, user, role, person, workload, instance, function, federated, account, service, anonymous or unknown", true}, `actor.kind`, actor(func(a event.Actor) string { return string(a.Kind) })},
		{Field{"actor.account", text, "account of the identity", true}, `actor.account`, actor(func(a event.Actor) string { return a.Account })},
		{Field{"actor.session", text, "session name", true}, `actor.session`, actor(func(a event.Actor) string { return a.Session })},
		{Field{"account", text, "account that the record belongs to: recipientAccountId, or else the caller's", true}, `account`, (*event.Event).Account},
		{Field{"service", text, "eventSource up to its first dot", true}, `split_part(eventSource, '.', 1)`, func(e *event.Event) string {
			s, _, _ := strings.Cut(e.Source(), ".")
			return s
		}},
	}
}

// Fields are the fields of events that have a name here; any other path of a record can be asked about, too.
func Fields() []Field {
	var out []Field
	for f, info := range event.Fields {
		_, typ, ok := column(event.Field(f))
		out = append(out, Field{Path: info.Path, Type: info.Type, Doc: info.Doc, Countable: ok && typ != segment.JSON})
	}
	for _, d := range derived() {
		out = append(out, d.Field)
	}
	return out
}

// short is cutText in SQL.
func short(sql string) string { return "left(" + sql + ", " + strconv.Itoa(MaxText) + ")" }

// countedBy finds the field of a name.
func countedBy(name string) counted {
	for _, d := range derived() {
		if d.Path == name {
			// An empty text is none.
			return counted{short("nullif(" + d.sql + ", '')"), always, func(e *event.Event, fn func(string)) {
				if s := d.of(e); s != "" {
					fn(s)
				}
			}}
		}
	}
	path := event.ParsePath(name)
	out := counted{sure: always, each: func(e *event.Event, fn func(string)) {
		var seen map[string]bool
		var take func(v event.Value) bool
		take = func(v event.Value) bool {
			switch v.Kind() {
			case event.String, event.Number, event.True, event.False:
				s := v.Text()
				if !seen[s] {
					if seen == nil {
						seen = map[string]bool{}
					}
					seen[s] = true
					fn(s)
				}
			case event.Array:
				v.Elements(take)
			}
			return true
		}
		e.Find(path, take)
	}}
	if f, ok := path.Field(); ok {
		switch c, typ, ok := column(f); {
		case !ok || typ == segment.JSON:
		case typ == segment.Bool:
			// What is no boolean is not in the column.
			out.sql, out.sure = "CAST("+c+" AS VARCHAR)", "("+c+" IS NOT NULL)"
		default:
			out.sql = short(c)
		}
	}
	return out
}
