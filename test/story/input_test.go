package story

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// kept tells whether the program read n events and nothing went wrong.
func (o outcome) kept(n int64) outcome {
	o.t.Helper()
	r := o.exits(clean).quiet().result()
	if r.Ledger.Records.Kept != n || r.Ledger.Objects.Failed+r.Ledger.Records.Rejected != 0 {
		o.t.Errorf("spoor %q read %+v %+v, want %d events", o.args, r.Ledger.Objects, r.Ledger.Records, n)
	}
	return o
}

// TestInputs gives the same three events in every way that the help names.
func TestInputs(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	three := []string{record(1, "First"), record(2, "Second"), record(3, "Third")}
	plain := logFile(three...)
	packed := gzipped(t, plain)
	lines := []byte(strings.Join(three, "\n") + "\n")

	d.spoorWith(plain, "hunt", "-", "--format", "json").kept(3)
	d.spoorWith(packed, "hunt", "-", "--format", "json").kept(3)
	d.spoorWith(lines, "hunt", "-", "--format", "json").kept(3)
	d.spoorWith([]byte("["+strings.Join(three, ",\n")+"]"), "hunt", "-", "--format", "json").kept(3)
	d.spoorWith(slices.Concat(gzipped(t, lines[:len(three[0])+1]), gzipped(t, lines[len(three[0])+1:])), "hunt", "-", "--format", "json").kept(3) // two members
	d.spoorWith([]byte(three[0]), "hunt", "-", "--format", "json").kept(1)

	var zst bytes.Buffer
	w, err := zstd.NewWriter(&zst)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(lines); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	d.write("three.jsonl.zst", zst.Bytes())
	d.spoor("hunt", "three.jsonl.zst", "--format", "json").kept(3)

	var zipped bytes.Buffer
	z := zip.NewWriter(&zipped)
	var tarred bytes.Buffer
	tw := tar.NewWriter(&tarred)
	for i, r := range three {
		name, text := fmt.Sprintf("logs/%d.json", i), logFile(r)
		if i == 1 {
			name, text = name+".gz", gzipped(t, text)
		}
		f, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	d.write("three.zip", zipped.Bytes())
	d.write("three.tar", tarred.Bytes())
	d.write("three.tar.gz", gzipped(t, tarred.Bytes()))
	d.spoor("hunt", "three.zip", "--format", "json").kept(3)
	d.spoor("hunt", "three.tar", "--format", "json").kept(3)
	d.spoor("hunt", "three.tar.gz", "--format", "json").kept(3)
	d.spoorWith(zipped.Bytes(), "hunt", "-", "--format", "json").kept(3)
	d.spoorWith(gzipped(t, tarred.Bytes()), "hunt", "-", "--format", "json").kept(3)

	// All at once: each event counts once.
	r := d.spoor("hunt", ".", "--format", "json").kept(3).result()
	if r.Ledger.Records.Duplicate != 9 {
		t.Errorf("%d duplicates of 9", r.Ledger.Records.Duplicate)
	}
	if r := d.spoor("hunt", ".", "three.zip", "--keep-duplicates", "--format", "json").exits(clean).result(); r.Ledger.Records.Kept != 15 || r.Ledger.Records.Duplicate != 0 {
		t.Errorf("records %+v, want 15 kept", r.Ledger.Records)
	}
}

// TestIncomplete reads a folder where almost everything that can go wrong has: it ends with code 3, names each place with
// its reason, keeps what it could not read, and has all the rest.
func TestIncomplete(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.write("logs/good.json.gz", gzipped(t, logFile(record(1, "First"), record(2, "Second"))))
	broken := `{"eventID":"broken" "eventTime":"2026-01-10T09:03:00Z"}`
	d.write("logs/record.json", logFile(record(3, "Third"), broken, record(4, "Fourth")))
	d.write("logs/lines.jsonl", []byte(record(5, "Fifth")+"\n{\"eventName\":\"\xff\xfe\n"+record(6, "Sixth")+"\n"))
	packed := gzipped(t, logFile(record(7, "Seventh"), record(8, "Eighth")))
	d.write("logs/cut.json.gz", packed[:len(packed)-20])
	d.write("logs/nonsense.json.gz", []byte("\x1f\x8bthis is no gzip"))
	d.write("logs/text.json", []byte("Service unavailable\n"))
	if err := os.Symlink("nowhere", d.path("logs", "dangling.json")); err != nil {
		t.Fatal(err)
	}
	locked := os.Geteuid() != 0
	if locked { // root reads everything
		d.write("logs/locked.json", logFile(record(9, "Ninth")))
		if err := os.Chmod(d.path("logs", "locked.json"), 0); err != nil {
			t.Fatal(err)
		}
	}

	failed := map[string]string{
		"logs/cut.json.gz": "truncated", "logs/nonsense.json.gz": "gzip", "logs/text.json": "", "logs/dangling.json": "no such file",
	}
	if locked {
		failed["logs/locked.json"] = "permission denied"
	}
	rejected := map[string]string{"logs/record.json": "expected ',' or '}'", "logs/lines.jsonl": "", "logs/cut.json.gz": ""}

	table := d.spoor("hunt", "logs", "--rejects", "rejects.jsonl").exits(incomplete).quiet()
	tame(t, "the table", table.out)
	table.says("The input is incomplete:", "balanced", "Failed ", "Rejected ", "more: ledger.failures and ledger.rejects of --format json") // the list is short
	d.spoor("hunt", "logs/cut.json.gz", "logs/nonsense.json.gz", "logs/record.json").exits(incomplete).
		says("Failed     logs/cut.json.gz ", "logs/nonsense.json.gz ", "Rejected   logs/cut.json.gz ", "logs/record.json ")
	r := d.spoor("hunt", "logs", "--format", "json", "--ledger", "ledger.json").exits(incomplete).quiet().result()
	l := r.Ledger
	if l.Objects.Failed != int64(len(failed)) || l.Records.Rejected != int64(len(rejected)) || len(l.Failures) != len(failed) || len(l.Rejects) != len(rejected) {
		t.Errorf("%d failed, %d rejected: %+v %+v", l.Objects.Failed, l.Records.Rejected, l.Failures, l.Rejects)
	}
	for _, f := range l.Failures {
		if want, ok := failed[f.Object]; !ok || !strings.Contains(f.Reason, want) || f.Reason == "" {
			t.Errorf("%s failed with %q, want %q", f.Object, f.Reason, want)
		}
		if f.Object == "logs/cut.json.gz" && f.RecordsKept != 1 {
			t.Errorf("%d records of the truncated file kept, want 1", f.RecordsKept)
		}
	}
	for _, rej := range l.Rejects {
		if want, ok := rejected[rej.Object]; !ok || !strings.Contains(rej.Reason, want) || rej.Reason == "" || rej.Length == 0 {
			t.Errorf("rejected %+v, want %q", rej, want)
		}
	}
	if !bytes.Contains(d.read("ledger.json"), []byte(`"logs/nonsense.json.gz"`)) {
		t.Error("the ledger's file does not name what failed")
	}

	// What was good is all there: the first events of each file, and those behind the broken ones.
	found := d.spoor("search", "eventSource=s3.amazonaws.com", "logs").exits(incomplete).complains("input incomplete")
	var names []string
	for _, line := range found.lines() {
		_, name, _ := strings.Cut(line, "s3:")
		name, _, _ = strings.Cut(name, " ")
		names = append(names, name)
	}
	if want := []string{"First", "Second", "Third", "Fourth", "Fifth", "Sixth", "Seventh"}; !slices.Equal(names, want) || r.Ledger.Records.Kept != int64(len(want)) {
		t.Errorf("kept %q (%d), want %q", names, r.Ledger.Records.Kept, want)
	}

	// The bytes of what was rejected are kept as they were.
	kept := map[string][]byte{}
	for line := range bytes.Lines(d.read("rejects.jsonl")) {
		var rej struct {
			File, Reason, Raw string
			RawBase64         string
			Offset, Length    int64
			Cut               bool
		}
		if err := json.Unmarshal(line, &rej); err != nil {
			t.Fatal(err)
		}
		raw := []byte(rej.Raw)
		if rej.RawBase64 != "" {
			var err error
			if raw, err = base64.StdEncoding.DecodeString(rej.RawBase64); err != nil {
				t.Fatal(err)
			}
		}
		if int64(len(raw)) != rej.Length || rej.Cut || rej.Reason == "" {
			t.Errorf("%d bytes kept of %+v", len(raw), rej)
		}
		kept[rej.File] = raw
		if strings.HasSuffix(rej.File, ".gz") {
			continue
		}
		if text := d.read(rej.File); !bytes.Equal(text[rej.Offset:rej.Offset+rej.Length], raw) {
			t.Errorf("%s: kept %q, but at %d stands %q", rej.File, raw, rej.Offset, text[rej.Offset:rej.Offset+rej.Length])
		}
	}
	if len(kept) != len(rejected) || !bytes.HasPrefix(kept["logs/record.json"], []byte(broken)) || !bytes.Contains(kept["logs/lines.jsonl"], []byte("\xff\xfe")) {
		t.Errorf("kept %q", kept)
	}

	// What could not be read outweighs what was found.
	d.spoor("hunt", "logs", "--fail-on", "informational").exits(incomplete)
	d.spoor("stats", "logs").exits(incomplete).complains(fmt.Sprintf("%d objects failed, %d records rejected", len(failed), len(rejected)))
}

// TestBomb opens files that are small and want to be large.
func TestBomb(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.write("logs/good.json", logFile(record(1, "First")))
	texts := slices.Repeat([][]byte{bytes.Repeat([]byte{' '}, 1<<20)}, 200)
	d.write("logs/bomb.json.gz", gzipped(t, slices.Concat([][]byte{[]byte(`{"Records":[`)}, texts, [][]byte{[]byte(`]}`)})...))
	r := d.spoor("hunt", "logs", "--format", "json").exits(incomplete).result()
	if l := r.Ledger; l.Records.Kept != 1 || len(l.Failures) != 1 || l.Failures[0].Object != "logs/bomb.json.gz" || !strings.Contains(l.Failures[0].Reason, "expands more than 400 times") {
		t.Errorf("%+v %+v", l.Records, l.Failures)
	}
	d.write("small/long.json", logFile(record(2, "Second"), record(3, "Third", `"additionalEventData":"`+strings.Repeat("x", 5000)+`"`)))
	r = d.spoor("hunt", "small", "--max-record-bytes", "4096", "--format", "json").exits(incomplete).result()
	if l := r.Ledger; l.Records.Kept != 1 || len(l.Rejects) != 1 || !strings.Contains(l.Rejects[0].Reason, "4096") {
		t.Errorf("%+v %+v %+v", l.Records, l.Rejects, l.Failures)
	}
	r = d.spoor("hunt", "small", "--max-expanded-bytes", "2000", "--format", "json").exits(incomplete).result()
	if l := r.Ledger; len(l.Failures) != 1 || !strings.Contains(l.Failures[0].Reason, "2000") {
		t.Errorf("%+v %+v", l.Records, l.Failures)
	}
	var deep strings.Builder
	deep.WriteString(record(4, "Fourth", `"additionalEventData":`+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)))
	d.write("deep/1.json", logFile(deep.String(), record(5, "Fifth")))
	r = d.spoor("hunt", "deep", "--format", "json").exits(incomplete).result()
	if l := r.Ledger; l.Records.Kept != 1 || l.Records.Rejected != 1 || !strings.Contains(l.Rejects[0].Reason, "deep") {
		t.Errorf("%+v %+v %+v", l.Records, l.Rejects, l.Failures)
	}
}

// TestBeside reads a folder in which other things lie beside logs, and folders without any.
func TestBeside(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.write("logs/1.json", logFile(record(1, "First")))
	d.write("logs/README.md", []byte("# Logs\n"))
	d.write("logs/LICENSE", []byte("Do what you like.\n"))
	d.write("logs/AWSLogs/111122223333/CloudTrail-Digest/eu-central-1/2026/01/10/111122223333_CloudTrail-Digest_eu-central-1_trail_eu-central-1_20260110T090000Z.json.gz", gzipped(t, []byte(`{}`)))
	d.write("logs/AWSLogs/111122223333/Config/eu-central-1/2026/1/10/ConfigHistory/x.json.gz", gzipped(t, []byte(`{}`)))
	r := d.spoor("hunt", "logs", "--format", "json").exits(clean).result()
	reasons := map[string]int64{}
	for _, s := range r.Ledger.Skipped {
		reasons[s.Reason] = s.Count
	}
	if r.Ledger.Objects != (objects{Listed: 5, Read: 1, Skipped: 4}) || reasons["not CloudTrail logs"] != 2 || reasons["digest file"] != 1 || reasons["log of another service: Config"] != 1 {
		t.Errorf("objects %+v, skipped %v", r.Ledger.Objects, reasons)
	}
	d.spoor("hunt", "logs").exits(clean).says("Skipped ", "not CloudTrail logs (2)")

	if err := os.Mkdir(d.path("empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	d.spoor("hunt", "empty").exits(incomplete).says("No event was examined.", "0 listed")
	d.spoor("hunt", "logs/README.md").exits(incomplete).says("No event was examined.", "logs/README.md", "not CloudTrail logs") // what is named must hold logs
	d.spoor("hunt", "logs", "--since", "2027-01-01").exits(clean).says("1 filtered")
	d.spoorWith(nil, "hunt", "-").exits(incomplete)
	d.spoor("search", "eventName=First", "empty").exits(incomplete)
}
