package console

import (
	"net/http"
	"net/netip"
	"strings"
)

// Client is where a call came from, and whether it travelled over TLS, for other fronts behind the same proxies.
func Client(r *http.Request, proxies []netip.Prefix) (netip.Addr, bool) { return client(r, proxies) }

// client finds out where a call came from and whether it travelled over TLS. Proxies that are trusted say so in
// X-Forwarded-For and X-Forwarded-Proto; what others say there does not count.
func client(r *http.Request, proxies []netip.Prefix) (addr netip.Addr, tls bool) {
	tls = r.TLS != nil
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		addr = ap.Addr().Unmap().WithZone("")
	}
	if !trusted(addr, proxies) {
		return addr, tls
	}
	if proto := r.Header.Values("X-Forwarded-Proto"); len(proto) > 0 {
		last := proto[len(proto)-1]
		tls = strings.EqualFold(strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:]), "https")
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, ok := parseHop(hops[i])
		if !ok {
			break // what stands before it was not written by a proxy that is trusted
		}
		addr = hop
		if !trusted(hop, proxies) {
			break
		}
	}
	return addr, tls
}

func trusted(a netip.Addr, proxies []netip.Prefix) bool {
	for _, p := range proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// parseHop reads an address, with a port or without.
func parseHop(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	return a.Unmap().WithZone(""), err == nil
}

// bearer gives the token of a call: "" when it has none, and ok is false when it has something else or more than one.
func bearer(h http.Header) (token string, ok bool) {
	values := h.Values("Authorization")
	switch len(values) {
	case 0:
		return "", true
	case 1:
	default:
		return "", false
	}
	scheme, token, found := strings.Cut(values[0], " ")
	token = strings.TrimSpace(token)
	if !found || !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > 512 {
		return "", false
	}
	return token, true
}
