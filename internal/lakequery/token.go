package lakequery

import (
	"encoding/binary"
	"fmt"

	"github.com/google/uuid"
)

// A page token is what a page begins at and the size of pages. It counts for the same owner and the same question alone.

// place is where a page of a list begins: after a query.
type place struct {
	created int64 // milliseconds since 1970
	id      string
}

func (m *Manager) rowsToken(o Owner, id string, limit int, from int64) string {
	b := binary.BigEndian.AppendUint16([]byte{'r'}, uint16(limit))
	b = binary.BigEndian.AppendUint64(b, uint64(from))
	return m.seal(b, o, id)
}

// openRowsToken gives the size of pages and the first row; limit 0 is any.
func (m *Manager) openRowsToken(o Owner, id string, limit int, token string) (int, int64, error) {
	b, err := m.unseal('r', 1+2+8, token, o, id)
	if err != nil {
		return 0, 0, err
	}
	of := int(binary.BigEndian.Uint16(b[1:]))
	if limit != 0 && limit != of {
		return 0, 0, ErrToken
	}
	return of, int64(binary.BigEndian.Uint64(b[3:])), nil
}

func (f *Filter) binding() string {
	return fmt.Sprintf("%q %q %d %d", f.Store, f.Status, f.Since.UnixMilli(), f.Until.UnixMilli())
}

func (m *Manager) listToken(f Filter, at place) string {
	b := binary.BigEndian.AppendUint16([]byte{'l'}, uint16(f.Limit))
	b = binary.BigEndian.AppendUint64(b, uint64(at.created))
	id := uuid.MustParse(at.id) // ids are this package's own
	return m.seal(append(b, id[:]...), f.Owner, f.binding())
}

func (m *Manager) openListToken(f Filter) (int, place, error) {
	b, err := m.unseal('l', 1+2+8+16, f.Token, f.Owner, f.binding())
	if err != nil {
		return 0, place{}, err
	}
	of := int(binary.BigEndian.Uint16(b[1:]))
	if f.Limit != 0 && f.Limit != of {
		return 0, place{}, ErrToken
	}
	return of, place{int64(binary.BigEndian.Uint64(b[3:])), uuid.UUID(b[11:]).String()}, nil
}

func (m *Manager) seal(b []byte, o Owner, binding string) string {
	return m.key.Seal(b, o.Account, o.Region, binding)
}

func (m *Manager) unseal(kind byte, size int, token string, o Owner, binding string) ([]byte, error) {
	b, err := m.key.Open(token, o.Account, o.Region, binding)
	if err != nil || len(b) != size || b[0] != kind {
		return nil, ErrToken
	}
	return b, nil
}
