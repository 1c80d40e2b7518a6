package topic

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// guard decides to which addresses messages go: whoever may subscribe could otherwise make this process speak with what only it
// can reach. It looks at the address that is connected to, so that no name hides one.
type guard struct{ allow, deny []netip.Prefix }

// forbidden are addresses that are denied by default: link-local ones and those of metadata services, and what is no host.
var forbidden = func() []netip.Prefix {
	var out []netip.Prefix
	for _, p := range []string{"169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32", "0.0.0.0/8", "::/128", "224.0.0.0/4", "ff00::/8", "255.255.255.255/32"} {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}()

// nat64 are addresses of IPv6 that stand for one of IPv4 in their last four bytes.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// check is the error for an address that messages do not go to.
func (g guard) check(a netip.Addr) error {
	a = a.Unmap().WithZone("")
	if nat64.Contains(a) {
		b := a.As16()
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	in := func(list []netip.Prefix) bool {
		return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	if in(g.deny) || in(forbidden) && !in(g.allow) {
		return permanent{fmt.Errorf("messages do not go to the address %s", a)}
	}
	return nil
}

// control looks at a connection before it is made.
func (g guard) control(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("the address %s: %w", address, err)
	}
	return g.check(at.Addr())
}

func (g guard) dialer(limit time.Duration) *net.Dialer {
	return &net.Dialer{Timeout: limit, KeepAlive: 30 * time.Second, Control: g.control}
}

// transport makes calls without a proxy, which would connect to what was asked for in our place.
func (g guard) transport(limit time.Duration) *http.Transport {
	d := g.dialer(limit)
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return d.DialContext(ctx, network, address)
		},
		TLSHandshakeTimeout:    limit,
		ResponseHeaderTimeout:  limit,
		MaxIdleConnsPerHost:    parallel,
		MaxConnsPerHost:        0,
		MaxIdleConns:           256,
		IdleConnTimeout:        time.Minute,
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: 64 << 10,
	}
}
