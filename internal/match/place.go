package match

import (
	"encoding/json"

	"spoor/internal/event"
)

// Place is where a test looks for values. It is immutable.
type Place struct {
	path      *event.Path
	field     event.Field
	typed     bool // path names field exactly
	otherwise *Place
	derive    func(*event.Event) (string, bool)
	name      string
}

// At is the place of a path.
func At(path *event.Path) *Place {
	p := &Place{path: path, name: path.String()}
	p.field, p.typed = path.Field()
	return p
}

// Derived is a place whose value is computed from the event, such as the actor's name. fn gives the text and whether
// there is any; it must be safe for concurrent use.
func Derived(name string, fn func(*event.Event) (string, bool)) *Place {
	return &Place{name: name, derive: fn}
}

// Else is p, or q in events that have nothing at p.
func (p *Place) Else(q *Place) *Place {
	c := *p
	if c.otherwise != nil {
		q = c.otherwise.Else(q)
	}
	c.otherwise = q
	return &c
}

// find calls fn for each value at p until fn returns false, and reports whether there was any.
func (p *Place) find(c *Context, fn func(event.Value) bool) bool {
	for {
		switch {
		case p.derive != nil:
			if text, ok := p.derive(c.e); ok {
				if v, ok := c.makeValue(text); ok {
					fn(v)
					return true
				}
			}
		case p.direct(c):
			if v := c.e.Get(p.field); v.Kind() != event.Missing {
				fn(v)
				return true
			}
		case c.e.Find(p.path, fn):
			return true
		}
		if p.otherwise == nil {
			return false
		}
		p = p.otherwise
	}
}

// direct reports whether the values at p are what Get gives for its field.
func (p *Place) direct(c *Context) bool { return p.typed && !c.many }

// source is the place that find takes values from for this event.
func (p *Place) source(c *Context) *Place {
	for p.otherwise != nil {
		one := *p
		one.otherwise = nil
		if one.find(c, func(event.Value) bool { return false }) {
			return p
		}
		p = p.otherwise
	}
	return p
}

// makeValue gives text as a JSON string that lives until the next call.
func (c *Context) makeValue(text string) (event.Value, bool) {
	quoted, err := json.Marshal(text)
	if err != nil {
		return event.Value{}, false
	}
	c.made = append(c.made[:0], quoted...)
	v, err := event.NewValue(c.made)
	return v, err == nil
}
