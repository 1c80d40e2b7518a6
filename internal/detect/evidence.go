package detect

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"spoor/internal/event"
	"spoor/internal/match"
)

// evidence describes a record that was kept aside. rule is the event rule that it matched, or -1.
func (rs *Ruleset) evidence(e *event.Event, rule int, withRaw bool) Evidence {
	ev := Evidence{
		ID: strings.Clone(e.ID()), Time: when(e.Time), Source: strings.Clone(e.Source()), Name: strings.Clone(e.Name()),
		Region: strings.Clone(e.Region()), Account: strings.Clone(e.Account()), Actor: e.Actor(),
		Address: strings.Clone(e.Text(event.SourceIPAddress)), Agent: strings.Clone(e.Text(event.UserAgent)),
		Error: strings.Clone(e.Text(event.ErrorCode)), Key: strings.Clone(e.Text(event.AccessKeyID)), Target: strings.Clone(Target(e)),
		File: e.File, Offset: e.Offset,
	}
	if rule >= 0 {
		var c match.Context
		c.Reset(e)
		ev.Matched = explain(&c, rs.rules[rule].src.Expr)
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
