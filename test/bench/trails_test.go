package main

import (
	"os"
	"path/filepath"
	"testing"

	"spoor/internal/sample"
)

// TestTrailData: the floor reads what was made, and the same is found again.
func TestTrailData(t *testing.T) {
	t.Parallel()
	b := &bench{dir: t.TempDir(), validated: 30, log: t.Output(), page: t.Output()}
	s, err := b.trailData(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.trailData(t.Context())
	if err != nil || again.TrailARN != s.TrailARN || len(again.Metadata) != s.Digests || s.Digests != 3 || len(again.paths) != len(s.paths) || string(again.Keys) != string(s.Keys) {
		t.Fatalf("the trail that is there already: %+v, %v", again, err)
	}
	for _, path := range s.paths {
		if key := s.key(path); filepath.IsAbs(key) {
			t.Errorf("%s has the key %s", path, key)
		}
	}
	if r, err := hashAll(s, cores)(t.Context()); err != nil || r.records != 30 || r.raw <= s.Expanded {
		t.Errorf("%+v, %v", r, err)
	}
	if err := os.Remove(s.paths[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := hashAll(s, 1)(t.Context()); err == nil {
		t.Error("the floor misses no file")
	}
	if _, err := b.trailData(t.Context()); err == nil {
		t.Error("a trail without one of its files is taken")
	}
}

// TestVerdicts reads reports of spoor validate.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "report.json")
	if err := os.WriteFile(path, []byte(`{"summary":{"digests":{"valid":3,"invalid":1},"logs":{"valid":7,"unchecked":2}},"findings":[{"code":"digest-forged","level":"invalid","key":"d"},`+
		`{"code":"chain-hash","level":"invalid","key":"e"},{"code":"log-unvouched","level":"unchecked","key":"f"},{"code":"log-missing","level":"invalid","key":"g"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := readVerdicts(path)
	if err != nil {
		t.Fatal(err)
	}
	if bad := v.bad(); len(bad) != 2 || bad["d"] != "digest-forged" || bad["g"] != "log-missing" || v.good(&trailSet{Digests: 3, Logs: 7}) {
		t.Errorf("%v %+v", bad, v.Summary)
	}
	v.Findings = nil
	if !v.good(&trailSet{Digests: 3, Logs: 7}) || v.good(&trailSet{Digests: 3, Logs: 8}) {
		t.Errorf("%+v", v.Summary)
	}
}

// TestDeliverAll: each trail takes of the journal what its selectors say, again and again.
func TestDeliverAll(t *testing.T) {
	t.Parallel()
	b := &bench{dir: t.TempDir(), log: t.Output(), page: t.Output()}
	d, err := b.dataset(t.Context(), "some", sample.Options{Events: 3000, Days: 1, Story: true}, "--events 3000 --days 1")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(b.dir, "delivery")
	if err := fillJournal(t.Context(), d, dir); err != nil {
		t.Fatal(err)
	}
	one, err := deliverAll(t.Context(), dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	five, err := deliverAll(t.Context(), dir, 5)
	if err != nil {
		t.Fatal(err)
	}
	again, err := deliverAll(t.Context(), dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	if one.Records != uint64(d.truth.Records) || five.Records != one.Records || again.Taken != one.Taken {
		t.Errorf("%d records, %+v, %+v, %+v", d.truth.Records, one, five, again)
	}
	if one.Taken < one.Records/2 || one.Taken >= one.Records || five.Taken <= one.Taken || one.Files == 0 || five.Files <= one.Files || one.Took <= 0 || one.CPU <= 0 || one.Stored <= 0 {
		t.Errorf("%+v, %+v", one, five)
	}
}
