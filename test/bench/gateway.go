package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"spoor/test/rig"
)

// recorder is what it costs S3 to be recorded: `spoor record` in front of a gateway, against the gateway itself, in turns.
func (b *bench) recorder(ctx context.Context) error {
	dir := filepath.Join(b.dir, "recorder")
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove what an earlier run left: %w", err)
	}
	memory, err := inMemory(dir)
	if err != nil {
		return err
	}
	gateway, err := startStore(ctx, filepath.Join(memory, "s3"))
	if err != nil {
		return errors.Join(err, os.RemoveAll(memory))
	}
	err = b.recorded(ctx, gateway, dir, memory)
	return errors.Join(err, gateway.stop(), os.RemoveAll(memory), os.RemoveAll(dir))
}

// inMemory makes a folder for objects in memory, where the system has such folders and they take attributes of files, as a
// gateway needs: on a disk the sync of a record would wait for gigabytes of objects to be written. Otherwise it is below dir.
func inMemory(dir string) (string, error) {
	if made, err := os.MkdirTemp("/dev/shm", "spoor-bench-"); err == nil {
		if err = unix.Setxattr(made, "user.spoor", []byte("1"), 0); err == nil {
			return made, nil
		}
		if err := os.Remove(made); err != nil {
			return "", err
		}
	}
	made := filepath.Join(dir, "objects")
	if err := os.MkdirAll(made, 0o755); err != nil {
		return "", fmt.Errorf("make a folder for objects: %w", err)
	}
	return made, nil
}

const (
	recordBucket = "bench-bucket"
	recordFolder = "records" // of the recorder
)

// startRecorder starts spoor record in front of a gateway, and waits until it answers.
func (b *bench) startRecorder(ctx context.Context, upstream, dir string) (url string, stop func() error, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, b.spoor, "record", "--upstream", "s3="+upstream, "--listen", addr, "--out", filepath.Join(dir, recordFolder), "--account", awsAccount, "--region", storeRegion)
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(cores))
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("start spoor record: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	stop = func() error {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			return errors.Join(err, <-done)
		}
		if err := <-done; err != nil {
			return fmt.Errorf("spoor record: %w: %s", err, tail(said.String()))
		}
		return nil
	}
	for began := time.Now(); ; {
		if c, err := net.Dial("tcp", addr); err == nil {
			return "http://" + addr, stop, c.Close()
		}
		select {
		case err := <-done:
			return "", nil, fmt.Errorf("spoor record ended: %w: %s", err, tail(said.String()))
		case <-time.After(recorderWait):
		}
		if time.Since(began) > storeWait {
			return "", nil, errors.Join(fmt.Errorf("spoor record does not answer: %s", tail(said.String())), stop())
		}
	}
}

// smallKinds are the small requests that are measured.
var smallKinds = [...]string{"PUT", "GET", "HEAD"}

// recorded measures. Records are in dir, which is on a disk; memory is a folder for what need not be.
func (b *bench) recorded(ctx context.Context, gateway *s3Store, dir, memory string) (err error) {
	url, stop, err := b.startRecorder(ctx, gateway.url, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	direct, through := newStoreClient(gateway.url), newStoreClient(url)
	if err := direct.do(ctx, http.MethodPut, "/"+recordBucket, nil, nil, nil); err != nil {
		return err
	}
	fmt.Fprintf(b.page, "\n## The recorder in front of S3\n\n`spoor record` in front of an S3 gateway over a folder in memory, each in a process of its own, with the client on the same %d cores; records are synced to a disk. One request under way; direct and recorded take turns.\n", cores)
	if err := b.smallRequests(ctx, direct, through, "/"+recordBucket); err != nil {
		return err
	}
	return b.largeObjects(ctx, gateway.url, url, filepath.Join(dir, recordFolder), memory)
}

// smallRequests are objects of 1 KiB.
func (b *bench) smallRequests(ctx context.Context, direct, through *storeClient, bucket string) error {
	body := bytes.Repeat([]byte("small object "), 80)[:1024]
	times := map[string][2][]time.Duration{}
	for i := range b.small + b.small/10 {
		for _, kind := range smallKinds {
			for turn := range 2 {
				which := (i + turn) % 2
				c := []*storeClient{direct, through}[which]
				key := fmt.Sprintf("%s/small/%d/%d", bucket, which, i%1000)
				began := time.Now()
				var err error
				switch kind {
				case "PUT":
					err = c.do(ctx, kind, key, nil, bytes.NewReader(body), nil)
				default:
					err = c.do(ctx, kind, key, nil, nil, nil)
				}
				took := time.Since(began)
				if err != nil {
					return err
				}
				if i < b.small/10 { // connections and folders are there then
					continue
				}
				t := times[kind]
				t[which] = append(t[which], took)
				times[kind] = t
			}
		}
	}
	fmt.Fprintf(b.page, "\n| objects of 1 KiB, %s requests each | added, p50, ms | added, p99, ms | direct, p50, ms | p99, ms | recorded, p50, ms | p99, ms |\n|---|--:|--:|--:|--:|--:|--:|\n", thousands(float64(b.small)))
	var worst [2]time.Duration
	for _, kind := range smallKinds {
		t := times[kind]
		for i := range t {
			slices.Sort(t[i])
		}
		var added [2]time.Duration
		for i, p := range []float64{50, 99} {
			added[i] = rig.Percentile(t[1], p) - rig.Percentile(t[0], p)
			worst[i] = max(worst[i], added[i])
		}
		fine := func(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }
		fmt.Fprintf(b.page, "| %s | %s | %s | %s | %s | %s | %s |\n", kind, fine(added[0]), fine(added[1]), fine(rig.Percentile(t[0], 50)), fine(rig.Percentile(t[0], 99)), fine(rig.Percentile(t[1], 50)), fine(rig.Percentile(t[1], 99)))
	}
	fmt.Fprintf(b.page, "\n- a small request, recorded and synced before its answer, takes at p50 at most %.2f ms more, wanted ≤ %s: %s\n- at p99 %.2f ms more, wanted ≤ %s: %s\n",
		float64(worst[0])/1e6, millis(recordAdded), sayReached(worst[0] <= recordAdded), float64(worst[1])/1e6, millis(recordAddedMost), sayReached(worst[1] <= recordAddedMost))
	b.say("recorder: %s more at p50, %s at p99", worst[0], worst[1])
	return nil
}
