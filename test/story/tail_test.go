package story

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// following is a running spoor tail -f.
type following struct {
	d    *desk
	cmd  *exec.Cmd
	out  chan string // lines of standard output, closed at its end
	errs chan string
}

// patience is how long a line may take on a busy machine.
const patience = 2 * time.Minute

func (d *desk) follow(args ...string) *following {
	d.t.Helper()
	f := &following{d: d, cmd: d.command(append([]string{"tail", "-f", "--every", "20ms"}, args...)...), out: make(chan string, 1000), errs: make(chan string, 1000)}
	lines := func(r io.Reader, err error, to chan<- string) {
		if err != nil {
			d.t.Fatal(err)
		}
		go func() {
			defer close(to)
			for s := bufio.NewScanner(r); s.Scan(); {
				to <- s.Text()
			}
		}()
	}
	out, err := f.cmd.StdoutPipe()
	lines(out, err, f.out)
	errs, err := f.cmd.StderrPipe()
	lines(errs, err, f.errs)
	if err := f.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	return f
}

// expect waits for the next line, which must hold all texts.
func (f *following) expect(lines <-chan string, texts ...string) string {
	f.d.t.Helper()
	select {
	case l, ok := <-lines:
		for _, text := range texts {
			if !ok || !strings.Contains(l, text) {
				f.d.t.Fatalf("the line is %q (%v), want %q", l, ok, texts)
			}
		}
		return l
	case <-time.After(patience):
		f.d.t.Fatalf("no line with %q", texts)
		return ""
	}
}

// stop interrupts the program and gives what it had still to say.
func (f *following) stop(code int) (out, errs []string) {
	f.d.t.Helper()
	if err := f.cmd.Process.Signal(os.Interrupt); err != nil {
		f.d.t.Fatal(err)
	}
	for l := range f.out {
		out = append(out, l)
	}
	for l := range f.errs {
		errs = append(errs, l)
	}
	if err := f.cmd.Wait(); f.cmd.ProcessState.ExitCode() != code {
		f.d.t.Errorf("interrupted, it ends with %v, want code %d", err, code)
	}
	return out, errs
}

// TestFollow follows a folder as log files arrive in it.
func TestFollow(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.write("logs/1.json", logFile(record(1, "First"), record(2, "Second"), record(3, "Third")))
	f := d.follow("logs", "-n", "2")
	f.expect(f.out, "2026-01-10T09:02:00Z", "ana", "s3:Second", "203.0.113.10", "111122223333", eventID(2))
	f.expect(f.out, "s3:Third")

	// A file that appears whole; one event of it is known.
	d.write("logs/deep/er/2.json.gz", gzipped(t, logFile(record(3, "Third"), record(4, "Fourth"))))
	f.expect(f.out, "s3:Fourth", eventID(4))

	// A file that is written in two steps: what can be read is shown at once, the rest when it is there.
	whole := logFile(record(5, "Fifth"), record(6, "Sixth"))
	cut := bytes.Index(whole, []byte(`"eventTime":"2026-01-10T09:06`))
	d.write("logs/3.json", whole[:cut])
	f.expect(f.out, "s3:Fifth", eventID(5))
	d.write("logs/3.json", whole)
	f.expect(f.out, "s3:Sixth", eventID(6))

	// One that grows by lines.
	d.write("logs/4.jsonl", []byte(record(7, "Seventh")+"\n"))
	f.expect(f.out, "s3:Seventh")
	d.write("logs/4.jsonl", []byte(record(7, "Seventh")+"\n"+record(8, "StopLogging")+"\n"))
	f.expect(f.out, "s3:StopLogging")

	// A rule that alerts marks its event.
	d.write("logs/5.json", []byte(strings.Replace(record(9, "StopLogging"), "s3.amazonaws.com", "cloudtrail.amazonaws.com", 1)))
	f.expect(f.out, "cloudtrail:StopLogging", "<< high: CloudTrail logging stopped")

	if out, _ := f.stop(clean); len(out) > 0 {
		t.Errorf("more lines than events: %q", out)
	}
}

// TestFollowBroken follows a folder in which a file stays broken: it is told once, and the program does not end as if it had
// read everything.
func TestFollowBroken(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.write("logs/1.json", logFile(record(1, "First")))
	f := d.follow("logs")
	f.expect(f.out, "s3:First")
	packed := gzipped(t, logFile(record(2, "Second"), record(3, "Third")))
	d.write("logs/broken.json.gz", packed[:len(packed)-30])
	f.expect(f.out, "s3:Second")
	f.expect(f.errs, "spoor: logs/broken.json.gz: ", "truncated")
	d.write("logs/2.json", logFile(record(4, "Fourth")))
	f.expect(f.out, "s3:Fourth")
	if out, errs := f.stop(incomplete); len(out)+len(errs) > 0 {
		t.Errorf("more is said: %q %q", out, errs)
	}
}

// TestFollowMended follows a folder in which a broken file is mended later.
func TestFollowMended(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	packed := gzipped(t, logFile(record(2, "Second"), record(3, "Third")))
	d.write("logs/slow.json.gz", packed[:len(packed)-30])
	f := d.follow("logs")
	f.expect(f.out, "s3:Second")
	f.expect(f.errs, "spoor: logs/slow.json.gz: ", "truncated")
	d.write("logs/slow.json.gz", packed)
	f.expect(f.out, "s3:Third")
	f.stop(clean)
}

// TestTail shows the latest events and ends.
func TestTail(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.write("logs/1.json", logFile(record(3, "Third"), record(1, "First"), record(2, "Second")))
	if got := d.spoor("tail", "logs", "-n", "2").exits(clean).quiet().lines(); len(got) != 2 || !strings.Contains(got[0], "s3:Second") || !strings.Contains(got[1], "s3:Third") {
		t.Errorf("the latest are %q", got)
	}
	d.write("logs/broken.json", []byte(`{"Records":[`+record(4, "Fourth")+`,{]}`))
	got := d.spoor("tail", "logs", "-n", "1").exits(incomplete).complains("logs/broken.json: ").lines()
	if len(got) != 1 || !strings.Contains(got[0], "s3:Fourth") {
		t.Errorf("the latest is %q", got)
	}
	d.spoor("tail", "logs", "--every", "1ms").exits(usage).complains("--every 1ms")
}
