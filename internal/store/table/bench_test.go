package table

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkAppend commits one file each time.
func BenchmarkAppend(b *testing.B) {
	tbl, err := Create(b.Context(), b.TempDir(), testSchema(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		name, err := writeFile(tbl.Dir(), day(i%10))
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := tbl.Append(b.Context(), []string{name}, Props{"spoor.seq": fmt.Sprint(i)}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPlan plans a table of 500 files in ten days, of 50 commits.
func BenchmarkPlan(b *testing.B) {
	dir := b.TempDir()
	tbl, err := Create(b.Context(), dir, testSchema(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	for commit := range 50 {
		var files []string
		for i := range 10 {
			name, err := writeFile(dir, day(i).Add(time.Duration(commit)*time.Minute))
			if err != nil {
				b.Fatal(err)
			}
			files = append(files, name)
		}
		if err := tbl.Append(b.Context(), files, nil); err != nil {
			b.Fatal(err)
		}
	}
	for _, bc := range []struct {
		name   string
		filter Filter
		want   int
	}{{"all", Filter{}, 500}, {"day", Filter{Since: day(3), Until: day(4)}, 50}, {"hour", Filter{Since: day(3), Until: day(3).Add(10 * time.Minute)}, 10}} {
		for _, warm := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/warm=%v", bc.name, warm), func(b *testing.B) {
				reader := tbl
				for b.Loop() {
					if !warm {
						if reader, err = Open(b.Context(), dir, Options{ReadOnly: true}); err != nil {
							b.Fatal(err)
						}
					}
					p, err := reader.Plan(b.Context(), bc.filter)
					if err != nil || len(p.Files) != bc.want {
						b.Fatalf("%d files, %v", len(p.Files), err)
					}
				}
			})
		}
	}
}
