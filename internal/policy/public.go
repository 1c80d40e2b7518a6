package policy

import (
	"slices"
	"strings"
)

// Public reports whether a statement grants something to everybody without a condition that narrows whom, as S3 tells public
// policies: by fixed values of keys that say who asks or from where. What is denied does not make up for it.
func Public(d *Document) bool {
	if d == nil {
		return false
	}
	return slices.ContainsFunc(d.statements, func(st statement) bool {
		return st.allow && (st.notWho || st.who.everybody) && !slices.ContainsFunc(st.conditions.list, narrows)
	})
}

// narrowing are the keys whose fixed values narrow a grant.
var narrowing = []string{
	"aws:sourceip", "aws:sourcearn", "aws:sourceaccount", "aws:sourceowner", "aws:sourcevpc", "aws:sourcevpce", "aws:sourceorgid", "aws:userid",
	"aws:principalarn", "aws:principalaccount", "aws:principalorgid", "kms:calleraccount", "s3:dataaccesspointarn", "s3:dataaccesspointaccount",
}

func narrows(c condition) bool {
	if c.op.not || c.ifExists || c.set == forAll || !slices.Contains(narrowing, c.key) {
		return false
	}
	switch c.op.kind {
	case Text, ARN:
		return !slices.ContainsFunc(c.want, func(p pattern) bool { return !p.fixed(c.key) })
	case Address:
		return !slices.ContainsFunc(c.given, broad)
	}
	return false
}

// fixed reports whether a value is one, and not a set that others may belong to.
func (p *pattern) fixed(key string) bool {
	if p.variables() {
		return false
	}
	text := p.parts[0].text
	switch key {
	case "aws:userid": // all sessions of one role
		text = strings.TrimSuffix(text, ":"+string(rune(anyText)))
	case "s3:dataaccesspointarn": // all access points of one account
		if parts := strings.SplitN(text, ":", arnParts); len(parts) == arnParts {
			text = strings.Join(parts[:arnParts-1], ":")
		}
	}
	return text != "" && !strings.ContainsAny(text, string(rune(anyText))+string(rune(anyChar)))
}

// broad reports whether a network is wider than /8, or /32 of IPv6, and so no narrower than everybody.
func broad(text string) bool {
	n, err := readNetwork(text)
	if err != nil || n.Addr().Is4() {
		return err != nil || n.Bits() < 8
	}
	return n.Bits() < 32 && (!n.Addr().IsPrivate() || n.Bits() < 7)
}
