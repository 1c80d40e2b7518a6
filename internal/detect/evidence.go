package detect

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"spoor/internal/event"
)

// evidence describes a record that was kept aside, its texts shortened. rule is the event rule that it matched, or -1.
func (rs *Ruleset) evidence(r *reading, rule int, withRaw bool) Evidence {
	e := &r.event
	keep := func(s string) string { return strings.Clone(shorten(s)) }
	ev := Evidence{
		ID: keep(e.ID()), Time: when(e.Time), Source: keep(e.Source()), Name: keep(e.Name()), Region: keep(e.Region()),
		Account: keep(e.Account()), Actor: e.Actor(), Address: keep(e.Text(event.SourceIPAddress)), Agent: keep(e.Text(event.UserAgent)),
		Error: keep(e.Text(event.ErrorCode)), Key: keep(e.Text(event.AccessKeyID)), Target: keep(Target(e)), File: e.File, Offset: e.Offset,
	}
	if rule >= 0 {
		r.match.Reset(e)
		ev.Matched = explain(&r.match, rs.rules[rule].src.Expr)
	}
	if withRaw {
		ev.Raw = bytes.Clone(e.Raw)
	}
	return ev
}

// findingID is stable over runs: it depends on what the finding is about alone.
func findingID(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(appendKey(nil, p))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
