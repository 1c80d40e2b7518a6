package dedup

import "slices"

// Remove makes the events of a file unknown, unless other files have them too, and closes it. A file that the index does
// not have is no error.
func (x *Index) Remove(name string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	f := x.all[name]
	if f == nil {
		return nil
	}
	delete(x.all, name)
	for day, files := range x.days {
		if at := slices.Index(files, f); at >= 0 {
			if x.days[day] = slices.Delete(files, at, at+1); len(x.days[day]) == 0 {
				delete(x.days, day)
			}
		}
	}
	if ids := f.ids.Load(); ids != nil {
		return ids.Close()
	}
	return nil
}
