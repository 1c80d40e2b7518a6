package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// largeRuns is how often each client takes an object up and down at least: those times spread more than others.
const largeRuns = 5

// pattern is so many bytes that nobody compresses or hashes beforehand.
type pattern struct {
	block []byte
	at    int64
	left  int64
}

func newPattern(n int64) *pattern {
	block := make([]byte, 1<<20)
	x := uint64(88172645463325252)
	for i := range block {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		block[i] = byte(x)
	}
	return &pattern{block: block, left: n}
}

func (p *pattern) Len() int { return int(p.left) }

func (p *pattern) Read(to []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n := copy(to[:min(int64(len(to)), p.left)], p.block[p.at%int64(len(p.block)):])
	p.at += int64(n)
	p.left -= int64(n)
	return n, nil
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// samePattern compares a file with a pattern.
func samePattern(path string, n int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	want, p := make([]byte, 1<<20), newPattern(n)
	got := make([]byte, len(want))
	for at := int64(0); ; {
		m, werr := io.ReadFull(p, want)
		k, gerr := io.ReadFull(f, got)
		if m != k || !bytes.Equal(want[:m], got[:k]) {
			return fmt.Errorf("what came back differs from what went up, in the mebibyte at %d of %d bytes", at, n)
		}
		at += int64(m)
		if werr != nil || gerr != nil { // both are at their end
			return nil
		}
	}
}

// largeClient is a program that takes an object to a gateway and back.
type largeClient struct {
	name     string
	up, down func(ctx context.Context, url, key string) error
	check    func() error // of what came down
}

// rawClient is the benchmark's own: it makes up what it sends, and throws away what it gets.
func (b *bench) rawClient() largeClient {
	var got counter
	clients := map[string]*storeClient{}
	client := func(url string) *storeClient {
		if clients[url] == nil {
			clients[url] = newStoreClient(url)
		}
		return clients[url]
	}
	return largeClient{
		name: "HTTP alone",
		up: func(ctx context.Context, url, key string) error {
			return client(url).do(ctx, http.MethodPut, "/"+recordBucket+"/"+key, nil, newPattern(b.large), nil)
		},
		down: func(ctx context.Context, url, key string) error {
			got = 0
			return client(url).do(ctx, http.MethodGet, "/"+recordBucket+"/"+key, nil, nil, &got)
		},
		check: func() error {
			if int64(got) != b.large {
				return fmt.Errorf("%d bytes came back, %d went up", got, b.large)
			}
			return nil
		},
	}
}

// sdkClient is the AWS SDK for Go: PutObject of a file, and GetObject into one with its checksum validated.
func (b *bench) sdkClient(object, got string) largeClient {
	clients := map[string]*awss3.Client{}
	client := func(url string) *awss3.Client {
		if clients[url] == nil {
			clients[url] = awss3.New(awss3.Options{BaseEndpoint: aws.String(url), Region: storeRegion, UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider(storeKey, storeSecret, ""),
				RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported, ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported})
		}
		return clients[url]
	}
	return largeClient{
		name: "AWS SDK for Go",
		up: func(ctx context.Context, url, key string) error {
			f, err := os.Open(object)
			if err != nil {
				return err
			}
			_, err = client(url).PutObject(ctx, &awss3.PutObjectInput{Bucket: aws.String(recordBucket), Key: &key, Body: f})
			return errors.Join(err, f.Close())
		},
		down: func(ctx context.Context, url, key string) error {
			f, err := os.Create(got)
			if err != nil {
				return err
			}
			defer f.Close() //nolint:errcheck // the error is returned where it matters
			res, err := client(url).GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String(recordBucket), Key: &key, ChecksumMode: types.ChecksumModeEnabled})
			if err != nil {
				return err
			}
			defer res.Body.Close() //nolint:errcheck // only read
			if res.ChecksumCRC32 == nil {
				return errors.New("the answer has no checksum to validate")
			}
			if _, err := io.Copy(f, res.Body); err != nil {
				return err
			}
			return f.Close()
		},
		check: func() error { return samePattern(got, b.large) },
	}
}

// cliClient is the AWS CLI, from start to exit of `aws s3 cp`.
func (b *bench) cliClient(cli, object, got string) largeClient {
	cp := func(ctx context.Context, url, from, to string) error {
		cmd := exec.CommandContext(ctx, cli, "s3", "cp", "--only-show-errors", "--endpoint-url", url, "--region", storeRegion, from, to)
		none := filepath.Join(b.dir, "none")
		cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+storeKey, "AWS_SECRET_ACCESS_KEY="+storeSecret, "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE="+none, "AWS_SHARED_CREDENTIALS_FILE="+none, "AWS_PAGER=")
		if said, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("aws s3 cp: %w: %s", err, tail(string(said)))
		}
		return nil
	}
	return largeClient{
		name: "AWS CLI",
		up: func(ctx context.Context, url, key string) error {
			return cp(ctx, url, object, "s3://"+recordBucket+"/"+key)
		},
		down: func(ctx context.Context, url, key string) error {
			return cp(ctx, url, "s3://"+recordBucket+"/"+key, got)
		},
		check: func() error { return samePattern(got, b.large) },
	}
}

// largeObjects go up and down with the clients that people use, and with one that does nothing else. Clients have their files in
// a folder.
func (b *bench) largeObjects(ctx context.Context, direct, through, records, folder string) error {
	object, got := filepath.Join(folder, "object"), filepath.Join(folder, "got")
	if err := writePattern(object, b.large); err != nil {
		return fmt.Errorf("write an object: %w", err)
	}
	clients := []largeClient{b.rawClient(), b.sdkClient(object, got)}
	cli, err := findAWS()
	if err == nil {
		clients = append(clients, b.cliClient(cli, object, got))
	}
	runs := b.runs
	if runs > 1 {
		runs = max(runs, largeRuns)
	}
	fmt.Fprintf(b.page, "\nOne object of %.1f GB, each client %d times up and down; the median.\n\n| client | share of direct, up | down | direct, MB/s, up | down | recorded, MB/s, up | down |\n|---|--:|--:|--:|--:|--:|--:|\n", float64(b.large)/1e9, runs)
	urls := [2]string{direct, through}
	var lines []string
	for _, c := range clients {
		b.say("large objects: %s", c.name)
		times, err := b.upAndDown(ctx, c, urls, got, runs)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if err := b.wasRecorded(records, largeKey(c, 1), runs+1); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		var share [2]float64
		var rate [2][2]float64 // by way, up and down
		for i := range share {
			for way := range rate {
				rate[way][i] = float64(b.large) / 1e6 / (&measured{times: times[way][i]}).median().Seconds()
			}
			share[i] = rate[1][i] / rate[0][i]
		}
		fmt.Fprintf(b.page, "| %s | %.2f | %.2f | %.0f | %.0f | %.0f | %.0f |\n", c.name, share[0], share[1], rate[0][0], rate[0][1], rate[1][0], rate[1][1])
		worst := min(share[0], share[1])
		lines = append(lines, fmt.Sprintf("- throughput of large objects with %s against direct: %.2f, wanted ≥ %.2f: %s\n", c.name, worst, recordLarge, sayReached(worst >= recordLarge)))
		b.say("large objects: %s: %.2f of direct up, %.2f down", c.name, share[0], share[1])
	}
	if cli == "" {
		lines = append(lines, "- throughput of large objects with the AWS CLI: it is not there, nothing was measured\n")
	}
	fmt.Fprintf(b.page, "\n%s", strings.Join(lines, ""))
	return nil
}

// largeKey is the key of a client's object, by way.
func largeKey(c largeClient, way int) string {
	return fmt.Sprintf("large/%s/%d", strings.ReplaceAll(c.name, " ", "-"), way)
}

// upAndDown measures a client, in turns.
func (b *bench) upAndDown(ctx context.Context, c largeClient, urls [2]string, got string, runs int) (times [2][2][]time.Duration, err error) {
	janitor := newStoreClient(urls[0])
	for run := range runs + 1 {
		for turn := range urls {
			way := (run + turn) % 2
			key := largeKey(c, way)
			if err := os.Remove(got); err != nil && !errors.Is(err, os.ErrNotExist) {
				return times, err
			}
			for i, move := range [...]func(context.Context, string, string) error{c.up, c.down} {
				began := time.Now()
				if err := move(ctx, urls[way], key); err != nil {
					return times, err
				}
				if run > 0 { // files and caches are there then
					times[way][i] = append(times[way][i], time.Since(began))
				}
			}
			if err := c.check(); err != nil {
				return times, err
			}
			if err := janitor.remove(ctx, recordBucket, key); err != nil { // what comes back next time went up then
				return times, err
			}
		}
	}
	return times, nil
}

// wasRecorded holds the bytes that records tell of an object against those that went up and down.
func (b *bench) wasRecorded(dir, key string, times int) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		return err
	}
	var in, out int64
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() && err == nil {
			var r struct {
				RequestParameters   map[string]any `json:"requestParameters"`
				AdditionalEventData struct {
					In  int64 `json:"bytesTransferredIn"`
					Out int64 `json:"bytesTransferredOut"`
				} `json:"additionalEventData"`
			}
			if err = json.Unmarshal(lines.Bytes(), &r); err == nil && r.RequestParameters["key"] == key {
				in, out = in+r.AdditionalEventData.In, out+r.AdditionalEventData.Out
			}
		}
		if err := errors.Join(err, lines.Err(), f.Close()); err != nil {
			return fmt.Errorf("read records: %w", err)
		}
	}
	// Parts come with a few requests and answers beside the content.
	want := b.large * int64(times)
	for _, n := range []int64{in, out} {
		if n < want || n > want+want/100 {
			return fmt.Errorf("records tell of %d bytes up and %d down, of %d", in, out, want)
		}
	}
	return nil
}

func writePattern(path string, n int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, newPattern(n), make([]byte, 1<<20))
	return errors.Join(err, f.Close())
}
