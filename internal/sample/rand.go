package sample

import (
	"math/bits"
	"math/rand/v2"
)

// mix64 joins values into one well spread number: the seed of a stream, or an id that has to be found again.
func mix64(vs ...uint64) uint64 {
	h := uint64(0x9e3779b97f4a7c15)
	for _, v := range vs {
		h ^= v + 0x9e3779b97f4a7c15 + bits.RotateLeft64(h, 6)
		h ^= h >> 30
		h *= 0xbf58476d1ce4e5b9
		h ^= h >> 27
		h *= 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

// hashText is FNV-1a.
func hashText(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// unit maps a hash to [0,1).
func unit(h uint64) float64 { return float64(h>>11) / (1 << 53) }

// source is a stream of random numbers.
type source struct{ rand.PCG }

func newSource(seed uint64) *source {
	s := new(source)
	s.reseed(seed)
	return s
}

func (s *source) reseed(seed uint64) { s.Seed(seed, mix64(seed, 1)) }

func (s *source) unit() float64 { return unit(s.Uint64()) }

// below gives a number in [0,n), n > 0. The bias of multiplying is far below what could be seen here.
func (s *source) below(n int) int {
	hi, _ := bits.Mul64(s.Uint64(), uint64(n))
	return int(hi)
}

// between gives a number in [lo,hi].
func (s *source) between(lo, hi int) int { return lo + s.below(hi-lo+1) }

// skewed gives a number in [0,n) of which small ones are much more likely.
func (s *source) skewed(n int) int {
	u := s.unit()
	return int(float64(n) * u * u * u)
}

const (
	digitsHex    = "0123456789abcdef"
	digitsLower  = "abcdefghijklmnopqrstuvwxyz0123456789"
	digitsUpper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	digitsBase32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	digitsBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	digitsAlnum  = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

// chars appends n characters of an alphabet whose length is a power of two.
func (s *source) chars(b []byte, alphabet string, n int) []byte {
	width := bits.Len(uint(len(alphabet))) - 1
	mask := uint64(1)<<width - 1
	per := 64 / width
	for n > 0 {
		v := s.Uint64()
		for range min(n, per) {
			b = append(b, alphabet[v&mask])
			v >>= width
		}
		n -= per
	}
	return b
}

// charsOf appends n characters of any alphabet.
func (s *source) charsOf(b []byte, alphabet string, n int) []byte {
	for range n {
		b = append(b, alphabet[s.below(len(alphabet))])
	}
	return b
}

// uuid appends a random GUID (RFC 9562, version 4).
func (s *source) uuid(b []byte) []byte {
	return appendUUID(b, s.Uint64(), s.Uint64())
}

func appendUUID(b []byte, hi, lo uint64) []byte {
	hi = hi&^0xf000 | 0x4000
	lo = lo&^(3<<62) | 2<<62
	b = appendHex(b, hi>>32, 8)
	b = append(b, '-')
	b = appendHex(b, hi>>16, 4)
	b = append(b, '-')
	b = appendHex(b, hi, 4)
	b = append(b, '-')
	b = appendHex(b, lo>>48, 4)
	b = append(b, '-')
	return appendHex(b, lo, 12)
}

// appendHex appends the low n hexadecimal digits of v.
func appendHex(b []byte, v uint64, n int) []byte {
	for i := n - 1; i >= 0; i-- {
		b = append(b, digitsHex[v>>(4*i)&15])
	}
	return b
}

// accessKey makes the access key id of a hash: AKIA for long-term keys, ASIA for sessions.
func accessKey(prefix string, h uint64) string { return string(appendAccessKey(nil, prefix, h)) }

func appendAccessKey(b []byte, prefix string, h uint64) []byte {
	b = append(b, prefix...)
	for range 9 {
		b = append(b, digitsBase32[h&31])
		h >>= 5
	}
	return append(b, "EXAMPLE"...)
}

// principalID makes a unique id of IAM (AROA, AIDA, …) of a hash.
func principalID(prefix string, h uint64) string {
	b := append(make([]byte, 0, 21), prefix...)
	for i := range 17 {
		if i == 12 {
			h = mix64(h)
		}
		b = append(b, digitsBase32[h&31])
		h >>= 5
	}
	return string(b)
}
