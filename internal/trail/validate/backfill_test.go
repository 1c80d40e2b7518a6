package validate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"spoor/internal/trail/digest"
	"spoor/internal/trail/validate"
	"spoor/internal/trail/validate/validatetest"
)

// TestOutages validates a trail of eleven hours, of which two stretches have backfill digests: of hours 2 to 4, and of 7 and 8.
// Ordinary digests go on at hours 5 and 9.
func TestOutages(t *testing.T) {
	t.Parallel()
	const b = "trail-bucket"
	remove := func(which ...int) func(*testing.T, *rig) {
		return func(_ *testing.T, r *rig) {
			for _, i := range which {
				r.Delete(b, r.made.Digests[i].Key)
			}
		}
	}
	hours := func(from, to int) func(r *rig) { // from the end of a digest to that of another one
		return func(r *rig) {
			r.o.Start = r.made.Digests[from].End.Add(-time.Minute)
			r.o.End = r.made.Digests[to].End.Add(-time.Hour)
		}
	}
	for name, c := range map[string]struct {
		change   func(t *testing.T, r *rig)
		ask      func(r *rig)
		want     []string
		digests  int64 // valid
		backfill int64
	}{
		"clean":                        {digests: 6, backfill: 5},
		"the first of a row":           {change: remove(2), want: []string{"digest-missing d2"}, digests: 6, backfill: 4},
		"in the middle":                {change: remove(3), want: []string{"digest-missing d3"}, digests: 6, backfill: 4},
		"the last of a row":            {change: remove(4), want: []string{"digest-missing d4"}, digests: 6, backfill: 4},
		"two of a row":                 {change: remove(2, 3), want: []string{"digest-missing d2", "digest-missing d3"}, digests: 6, backfill: 3},
		"the last of all":              {change: remove(8), want: []string{"digest-missing d8"}, digests: 6, backfill: 4},
		"all of the last row":          {change: remove(7, 8), want: []string{"digest-missing d7", "digest-missing d8"}, digests: 6, backfill: 3},
		"all of the first row":         {change: remove(2, 3, 4), want: []string{"digest-missing d2", "digest-missing d3", "digest-missing d4"}, digests: 6, backfill: 2},
		"all backfill digests":         {change: remove(2, 3, 4, 7, 8), want: []string{"digest-missing d2", "digest-missing d3", "digest-missing d4", "digest-missing d7", "digest-missing d8"}, digests: 6},
		"the ordinary one":             {change: remove(5), want: []string{"digest-missing d5"}, digests: 5, backfill: 5},
		"before the outage too":        {change: remove(1, 2), want: []string{"digest-missing d1", "digest-missing d2"}, digests: 5, backfill: 4},
		"nothing but backfill digests": {change: remove(0, 1, 5, 6, 9, 10), backfill: 5},
		"changed": {change: func(t *testing.T, r *rig) {
			r.digest(t, 3, replace("awsAccountId", "awsaccountid"))
		}, want: []string{"digest-modified d3"}, digests: 6, backfill: 4},
		"signed by another": {change: func(t *testing.T, r *rig) {
			r.lateDigest(t, 3, func(s *digest.Spec) {}, true)
		}, want: []string{"digest-forged d3"}, digests: 6, backfill: 4},
		"another link": {change: func(t *testing.T, r *rig) {
			r.lateDigest(t, 8, func(s *digest.Spec) { l := *s.Previous; l.Hash = strings.Repeat("0", 64); s.Previous = &l }, false)
		}, want: []string{"chain-hash d8"}, digests: 6, backfill: 5},
		"a link to an ordinary one": {change: func(t *testing.T, r *rig) {
			r.lateDigest(t, 8, func(s *digest.Spec) { s.Previous = &r.made.Digests[6].Link }, false)
		}, want: []string{"chain-order d8"}, digests: 6, backfill: 5},
		"another time of making": {change: func(t *testing.T, r *rig) {
			d := r.made.Digests[3]
			meta := map[string]string{digest.MetaBackfill: "2030-01-01T00:00:00.000Z"}
			for k, v := range d.Metadata {
				if k != digest.MetaBackfill {
					meta[k] = v
				}
			}
			must(t, r.Add(b, d.Key, validatetest.Gzip(d.Text, 6), meta))
		}, want: []string{"digest-key-time d3"}, digests: 6, backfill: 4},
		"a digest that covers what it does not": {change: func(t *testing.T, r *rig) { // by somebody without the key
			r.lateDigest(t, 4, func(s *digest.Spec) { s.Start = s.Start.Add(-2 * time.Hour) }, true)
			remove(2, 3)(t, r)
		}, want: []string{"digest-forged d4"}, digests: 6, backfill: 2},
		"a log file":                               {change: func(t *testing.T, r *rig) { r.Delete(b, r.made.Digests[3].Files[0].Object) }, want: []string{"log-missing l3.0"}, digests: 6, backfill: 5},
		"range within the outage":                  {ask: hours(3, 4), backfill: 2},
		"range within the outage, one missing":     {ask: hours(2, 4), change: remove(4), want: []string{"digest-missing d4"}, backfill: 2},
		"range within the outage, all missing":     {ask: hours(2, 4), change: remove(2, 3, 4), want: []string{"digest-missing d2", "digest-missing d3", "digest-missing d4"}},
		"range from the outage on":                 {ask: hours(3, 6), change: remove(2, 3), want: []string{"digest-missing d3"}, digests: 2, backfill: 1},
		"range up to the outage":                   {ask: hours(0, 3), change: remove(3, 4), want: []string{"digest-missing d3"}, digests: 2, backfill: 1},
		"range whose last digest is missing":       {ask: hours(0, 6), change: remove(6), want: []string{"digest-missing d6"}, digests: 3, backfill: 3},
		"range whose ordinary digests are missing": {ask: hours(5, 6), change: remove(5, 6), want: []string{"gap-start d5", "digest-missing d6"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, validatetest.Options{Hours: 11, PerHour: 2, Late: []int{2, 3, 4, 7, 8}})
			if c.ask != nil {
				c.ask(r)
			}
			if c.change != nil {
				c.change(t, r)
			}
			got, s, all := r.run(t)
			got = slices.DeleteFunc(got, func(line string) bool { return strings.HasPrefix(line, "log-unlisted") }) // of digests that are gone
			slices.Sort(got)
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) || s.Digests.Valid != c.digests || s.Backfill.Valid != c.backfill {
				t.Errorf("verdicts %q, want %q; %d and %d valid", got, c.want, s.Digests.Valid, s.Backfill.Valid)
				for _, f := range all {
					if f.Level != validate.OK {
						t.Logf("%s %s %s", f.Code, r.short(f.Key), f.Reason)
					}
				}
			}
			for _, f := range all {
				if n, ok := digest.SplitKey(f.Key); ok && n.Backfill != f.Backfill {
					t.Errorf("%s is about %s, which is said to be ordinary or not", f.Code, f.Key)
				}
			}
			if name == "clean" && (s.Logs.Valid != 22 || len(s.Chains) != 2 || s.Problem || s.Gaps) {
				t.Errorf("%+v", s)
			}
		})
	}
}

// lateDigest signs a backfill digest anew, with its key or another one.
func (r *rig) lateDigest(t *testing.T, i int, change func(*digest.Spec), another bool) {
	t.Helper()
	d := r.made.Digests[i]
	parsed, err := digest.Parse(d.Text)
	must(t, err)
	spec := digest.Spec{Account: parsed.Account, Start: parsed.Start, End: parsed.End, Bucket: parsed.Bucket, Object: parsed.Object, Previous: parsed.Previous, Files: parsed.Files, Backfill: true, Generated: d.Made}
	change(&spec)
	key := testKey(t)
	if another {
		key = anotherKey(t)
	}
	s, err := digest.Sign(spec, key)
	must(t, err)
	must(t, r.Add("trail-bucket", d.Key, validatetest.Gzip(s.Text, 6), s.Metadata))
}

// TestOutageLasts: the newest digests are backfill digests, and none of the ordinary ones is there yet.
func TestOutageLasts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		removed []int
		want    []string
	}{
		"clean":             {},
		"the newest":        {[]int{5}, []string{"gap-end at 15:00"}},
		"in the middle":     {[]int{4}, []string{"digest-missing d4"}},
		"all":               {[]int{3, 4, 5}, []string{"gap-end at 13:00", "gap-end at 14:00", "gap-end at 15:00"}},
		"the last ordinary": {[]int{2}, []string{"gap-end d2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, validatetest.Options{Hours: 6, Late: []int{3, 4, 5}})
			r.o.Start, r.o.End = time.Time{}, time.Time{}
			r.o.Expect = r.made.End.Add(70 * time.Minute)
			for _, i := range c.removed {
				r.Delete("trail-bucket", r.made.Digests[i].Key)
			}
			got, _, _ := r.run(t)
			got = slices.DeleteFunc(got, func(line string) bool {
				return strings.HasPrefix(line, "chain-start") || strings.HasPrefix(line, "log-unlisted")
			})
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("verdicts %q, want %q", got, c.want)
			}
		})
	}
}

// TestOutageCopied validates a copy, which has no metadata: signatures are told by the next digest of either chain, and nobody
// says when backfill digests were made.
func TestOutageCopied(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	made, err := validatetest.Make(validatetest.Options{Hours: 8, PerHour: 1, Records: 1, Late: []int{2, 3, 4}, Key: testKey(t)}, validatetest.Folder(dir))
	must(t, err)
	keys := &validate.KeySet{}
	public := made.Public
	public.Start = made.Digests[4].End // it began to be valid within the outage
	keys.Add("us-east-1", public)
	older := validatetest.PublicKey(anotherKey(t), made.Options.Start.Add(-time.Hour), made.End)
	keys.Add("us-east-1", older)
	src, err := validate.OpenFolder(t.Context(), dir, "trail-bucket")
	must(t, err)
	defer src.Close()
	var got []string
	s, err := validate.Run(t.Context(), validate.Options{
		Source: src, Roots: []validate.Root{{Bucket: "trail-bucket"}}, Keys: keys.Keys, Now: made.End, NoMetadata: true,
		Each: func(f validate.Finding) error {
			if f.Level != validate.OK {
				got = append(got, fmt.Sprintf("%s %v %s", f.Code, f.Backfill, f.End.Format("15:04")))
			}
			return nil
		},
	})
	must(t, err)
	// Nothing tells the signature of the newest digest of either chain.
	want := []string{"chain-start false 10:00", "digest-key-time false 10:00", "digest-key-time false 11:00",
		"digest-unverifiable false 17:00", "log-unvouched false 00:00", "digest-unverifiable true 14:00", "log-unvouched true 00:00", "end-open false 17:00"}
	if !slices.Equal(got, want) {
		t.Errorf("verdicts %q, want %q; %+v", got, want, s)
	}
}

// TestOutageMoved: within an outage the trail went to another bucket, so that its backfill digests are in both.
func TestOutageMoved(t *testing.T) {
	t.Parallel()
	for _, roots := range [][]string{{"trail-bucket", "new"}, {"new"}} {
		for _, removed := range []int{-1, 2, 3, 5} {
			t.Run(fmt.Sprint(roots, removed), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, validatetest.Options{Hours: 4, PerHour: 1, Late: []int{2, 3}})
				old := r.made
				next, err := validatetest.Make(validatetest.Options{
					Bucket: "new", Start: old.End, Hours: 4, PerHour: 1, Records: 1, Late: []int{0, 1}, Key: testKey(t), Seed: 5, Previous: &old.Digests[1].Link, PreviousLate: &old.Digests[3].Link,
				}, r.Add)
				must(t, err)
				r.keys.Add("us-east-1", next.Public)
				all := append(slices.Clone(old.Digests), next.Digests...)
				r.o.Roots, r.o.Start, r.o.End, r.o.Now, r.o.Expect = nil, time.Time{}, time.Time{}, next.End, next.End
				for _, b := range roots {
					r.o.Roots = append(r.o.Roots, validate.Root{Bucket: b})
				}
				var want []string
				if removed >= 0 {
					r.Delete(all[removed].Link.Bucket, all[removed].Key)
					want = append(want, "digest-missing "+all[removed].Key)
				}
				_, s, findings := r.run(t)
				var got []string
				for _, f := range findings {
					if f.Level == validate.Invalid && f.Code != validate.LogUnlisted {
						got = append(got, string(f.Code)+" "+f.Key)
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("verdicts %q, want %q", got, want)
				}
				if removed < 0 && (s.Digests.Valid != 4 || s.Backfill.Valid != 4 || s.Gaps) {
					t.Errorf("%+v", s)
				}
			})
		}
	}
}
