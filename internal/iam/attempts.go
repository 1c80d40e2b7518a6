package iam

import (
	"net/netip"
	"time"
)

// KeyWait is how long attempts with an access key from an address are refused unseen, 0 for not at all. The id is that of a
// key that exists, else empty.
func (s *Service) KeyWait(from netip.Addr, id string) time.Duration {
	return s.throttle.wait(throttleKey{from: source(from), id: id}, s.clock())
}

// KeyFailed counts a failed attempt: an unknown key, with an empty id, or a wrong signature.
func (s *Service) KeyFailed(from netip.Addr, id string) {
	s.throttle.fail(throttleKey{from: source(from), id: id}, s.clock())
}
