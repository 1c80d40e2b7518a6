package lake

import (
	"cmp"
	"encoding/binary"
	"slices"
	"time"
)

// paged gives a page of a list that begins behind the place in a token. key orders the list. What is added or removed
// between pages moves nothing else.
func paged[T any](f *file, w Where, kind, token string, most int, all []T, key func(T) (time.Time, string)) (page []T, next string, err error) {
	if most <= 0 || most > MaxPage {
		most = MaxPage
	}
	slices.SortFunc(all, func(a, b T) int {
		at, aid := key(a)
		bt, bid := key(b)
		return cmp.Or(at.Compare(bt), cmp.Compare(aid, bid))
	})
	if token != "" {
		b, err := f.Key.Open(token, kind, w.Account, w.Region)
		if err != nil || len(b) <= 8 {
			return nil, "", refuse(codeNextToken, "The token is not one of this list.")
		}
		from, id := time.Unix(int64(binary.BigEndian.Uint64(b)), 0), string(b[8:])
		at, _ := slices.BinarySearchFunc(all, from, func(item T, from time.Time) int {
			t, i := key(item)
			if cmp.Or(t.Compare(from), cmp.Compare(i, id)) <= 0 {
				return -1
			}
			return 1
		})
		all = all[at:]
	}
	if len(all) <= most {
		return all, "", nil
	}
	t, id := key(all[most-1])
	place := append(binary.BigEndian.AppendUint64(nil, uint64(t.Unix())), id...)
	return all[:most], f.Key.Seal(place, kind, w.Account, w.Region), nil
}
