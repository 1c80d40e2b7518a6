package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"

	"spoor/internal/blob"
	"spoor/internal/keyring"
	"spoor/internal/sample"
	"spoor/internal/trail"
	"spoor/internal/trail/signing"
	"spoor/internal/trail/validate"
	"spoor/internal/trail/validate/validatetest"
	"spoor/test/rig"
)

// trailSet is a trail's log files and digests, as a folder and with what buckets know besides.
type trailSet struct {
	*data
	Bucket, TrailARN, Region string
	Start, End               time.Time
	Digests, Logs            int
	Metadata                 map[string]map[string]string // of digests, by key
	Keys                     json.RawMessage              // as ListPublicKeys gives them
	Expanded, Stored         int64
}

// keysFile is where the public keys lie, signaturesFile where the signatures of digests do, which a folder does not have.
func (s *trailSet) keysFile() string       { return filepath.Join(s.dir, "keys.json") }
func (s *trailSet) signaturesFile() string { return filepath.Join(s.dir, "signatures.jsonl") }

// benchTrail is the name of the trail.
const benchTrail = "audit"

// installation is the data folder of a service that has the trail.
func (s *trailSet) installation() string { return filepath.Join(s.dir, "installation") }

// buckets is where the service keeps its buckets.
func (s *trailSet) buckets() string { return filepath.Join(s.installation(), "buckets") }

// trailData makes a trail of so many log files, or finds the one that an earlier run left. It is signed with the keys of an
// installation, which is made with it.
func (b *bench) trailData(ctx context.Context) (*trailSet, error) {
	s := &trailSet{data: &data{dir: filepath.Join(b.dir, fmt.Sprintf("trail-of-service-%d", b.validated))}, Metadata: map[string]map[string]string{}}
	about := filepath.Join(s.dir, "about.json")
	if text, err := os.ReadFile(about); err == nil {
		if err := json.Unmarshal(text, s); err != nil {
			return nil, fmt.Errorf("read what the trail is: %w", err)
		}
	} else {
		if err := os.RemoveAll(s.dir); err != nil {
			return nil, fmt.Errorf("remove old data: %w", err)
		}
		b.say("making a trail of %d files", b.validated)
		if err := s.make(ctx, b.validated); err != nil {
			return nil, fmt.Errorf("make a trail: %w", err)
		}
		text, err := json.Marshal(s)
		if err != nil {
			return nil, err
		}
		var signatures bytes.Buffer
		enc := json.NewEncoder(&signatures)
		for key, metadata := range s.Metadata {
			if err := enc.Encode(validate.SignatureOf(s.Bucket, key, metadata)); err != nil {
				return nil, err
			}
		}
		if err := errors.Join(os.WriteFile(s.keysFile(), s.Keys, 0o644), os.WriteFile(s.signaturesFile(), signatures.Bytes(), 0o644), os.WriteFile(about, text, 0o644)); err != nil {
			return nil, fmt.Errorf("make a trail: %w", err)
		}
	}
	err := filepath.WalkDir(s.logs(), func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			s.paths = append(s.paths, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the trail: %w", err)
	}
	if len(s.paths) != s.Digests+s.Logs {
		return nil, fmt.Errorf("%d files in %s, %d were made; remove the folder", len(s.paths), s.dir, s.Digests+s.Logs)
	}
	s.truth = sample.Truth{Records: int64(s.Logs), RawBytes: s.Expanded, FileBytes: s.Stored, Files: int64(len(s.paths))}
	return s, s.warm(ctx)
}

// make makes the files, with the keys of a ring and of digests that are made in the installation, and its book of trails.
func (s *trailSet) make(ctx context.Context, logs int) (err error) {
	const perHour, pairHours = 12, 20 * 24 // a pair of keys signs for 20 days
	ring, err := keyring.Open(ctx, filepath.Join(s.installation(), "keys"), keyring.Options{Account: awsAccount, Region: storeRegion})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ring.Close()) }()
	keys, err := signing.Open(filepath.Join(s.installation(), "trails", "digest-keys"), ring, nil)
	if err != nil {
		return err
	}
	put := validatetest.Folder(s.logs())
	o := validatetest.Options{Account: awsAccount, Region: storeRegion, Trail: benchTrail, PerHour: perHour, Records: 100, Start: time.Date(2026, 1, 10, 9, 0, 31, 0, time.UTC)}
	s.Start, s.Logs = o.Start, logs
	for logs > 0 {
		o.Logs = min(logs, perHour*pairHours)
		logs -= o.Logs
		o.Seed++
		if o.Key, err = keys.Signing(ctx, o.Region, o.Start.Add(time.Hour)); err != nil {
			return err
		}
		made, err := validatetest.Make(o, func(bucket, key string, body []byte, metadata map[string]string) error {
			if metadata != nil {
				s.Metadata[key] = metadata
			}
			return errors.Join(ctx.Err(), put(bucket, key, body, nil))
		})
		if err != nil {
			return err
		}
		s.Bucket, s.TrailARN, s.Region, s.End = made.Options.Bucket, made.TrailARN(), o.Region, made.End
		s.Digests, s.Expanded, s.Stored = s.Digests+len(made.Digests), s.Expanded+made.Expanded, s.Stored+made.Stored
		o.Start, o.Previous = made.End, &made.Digests[len(made.Digests)-1].Link
	}
	s.Keys = validatetest.KeysJSON(keys.Public(o.Region, s.Start, s.End)...)
	book, err := trail.Open(ctx, filepath.Join(s.installation(), "trails", "book"), trail.Options{Account: awsAccount, Region: storeRegion})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, book.Close()) }()
	_, change, err := book.Create(ctx, trail.Where{Account: awsAccount, Region: storeRegion}, trail.Spec{Name: benchTrail, Bucket: s.Bucket, Validation: true}, nil)
	if err == nil {
		err = change.Recorded(ctx)
	}
	return err
}

// fill puts everything into the bucket of the installation, as deliveries do, before the service starts.
func (s *trailSet) fill(ctx context.Context) (err error) {
	if err := os.RemoveAll(s.buckets()); err != nil {
		return err
	}
	local, err := blob.OpenLocal(ctx, s.buckets(), blob.LocalOptions{Account: awsAccount, Region: storeRegion})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, local.Close()) }()
	if _, err := local.CreateBucket(ctx, blob.BucketSpec{Name: s.Bucket}); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, path := range s.paths {
		group.Go(func() error {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			key := s.key(path)
			return local.Put(ctx, s.Bucket, key, text, blob.PutOptions{ContentType: "application/json", ContentEncoding: "gzip", Metadata: s.Metadata[key]})
		})
	}
	return group.Wait()
}

// hashAll is the floor: every log file is decompressed and hashed, and nothing else.
func hashAll(s *trailSet, workers int) func(ctx context.Context) (result, error) {
	type state struct {
		zr *gzip.Reader
		n  int64
	}
	return func(ctx context.Context) (result, error) {
		states, err := eachFile(ctx, s.data, workers, func() *state { return new(state) }, func(_ context.Context, st *state, path string) error {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if st.zr == nil {
				st.zr, err = gzip.NewReader(bytes.NewReader(text))
			} else {
				err = st.zr.Reset(bytes.NewReader(text))
			}
			if err != nil {
				return err
			}
			sum := sha256.New()
			n, err := io.Copy(sum, st.zr)
			if sum.Sum(nil)[0] == 0 && n == 0 {
				err = errors.Join(err, errors.New("empty"))
			}
			st.n += n
			return err
		})
		r := result{records: int64(s.Logs)}
		for _, st := range states {
			r.raw += st.n
		}
		if err == nil && r.raw <= s.Expanded {
			err = fmt.Errorf("%d bytes came out, the log files alone have %d", r.raw, s.Expanded)
		}
		return r, err
	}
}

// validateFolder is the program over the folder.
func (b *bench) validateFolder(s *trailSet) func(ctx context.Context) (result, error) {
	return func(ctx context.Context) (result, error) {
		file := filepath.Join(b.dir, "verdict-folder.json")
		m, err := process(ctx, []int{0}, b.spoor, "validate", s.logs(), "--public-keys", s.keysFile(), "--signatures", s.signaturesFile(), "--s3-bucket", s.Bucket, "--format", "json", "--out", file, "--quiet")
		if err == nil {
			var v *verdicts
			if v, err = readVerdicts(file); err == nil && !v.good(s) {
				err = fmt.Errorf("the verdicts are not those of a good trail: %+v", v.Summary)
			}
		}
		return result{records: int64(s.Logs), raw: s.Expanded, process: m}, err
	}
}

// validation is spoor validate against the floor, and against the AWS CLI.
func (b *bench) validation(ctx context.Context) error {
	s, err := b.trailData(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.page, "\n## Validation of trails\n\nA trail of %s log files of 100 records in %s hourly digests, %.0f MB, %.0f MB of JSON.\n", thousands(float64(s.Logs)), thousands(float64(s.Digests)), float64(s.Stored)/1e6, float64(s.Expanded)/1e6)
	const floor, ours = "gunzip and SHA-256, two cores", "`spoor validate DIR`"
	all, err := b.race(ctx, []contender{{name: floor, run: hashAll(s, cores)}, {name: ours, run: b.validateFolder(s)}})
	if err != nil {
		return err
	}
	fmt.Fprintf(b.page, "\n| what | files/s, ratio | JSON, MB/s | time, s | CPU, s | peak memory, MB |\n|---|--:|--:|--:|--:|--:|\n")
	for _, m := range all {
		if m.err != nil {
			return fmt.Errorf("%s: %w", m.name, m.err)
		}
		fmt.Fprintf(b.page, "| %s | %.2f | %.0f | %.2f | %.2f | %.0f |\n", m.name, m.rate()/find(all, floor).rate(), float64(s.Expanded)/1e6/m.median().Seconds(), m.median().Seconds(), m.process.CPU.Seconds(), float64(m.process.Peak)/1e6)
	}
	b.bars(all, bar{ours, floor, validateFloor})
	return b.validateBuckets(ctx, s)
}

// validateBuckets is the same trail in a bucket of a running service: read by the AWS CLI, straight out of the data folder, and over
// S3.
func (b *bench) validateBuckets(ctx context.Context, s *trailSet) error {
	cli, err := findAWS()
	if err != nil {
		fmt.Fprintf(b.page, "\nThe AWS CLI is not installed (make awscli): `aws cloudtrail validate-logs` was not measured.\n")
		return nil
	}
	b.say("putting %d files into a bucket", len(s.paths))
	if err := s.fill(ctx); err != nil {
		return fmt.Errorf("fill the bucket: %w", err)
	}
	names, err := os.ReadDir(s.installation())
	if err != nil {
		return err
	}
	for _, n := range names { // what an earlier service left: its access keys are not known any more
		if name := n.Name(); name != "buckets" && name != "keys" && name != "trails" {
			if err := os.RemoveAll(filepath.Join(s.installation(), name)); err != nil {
				return err
			}
		}
	}
	server, _, err := b.start(ctx, rig.Options{Data: s.installation(), Args: []string{"--set", "account=" + awsAccount, "--set", "region=" + storeRegion}})
	if err != nil {
		return err
	}
	defer server.Kill()
	if err := b.validateBucket(ctx, s, cli, server); err != nil {
		return fmt.Errorf("%w\n%s", err, server.Complaints())
	}
	return errors.Join(server.Stop(ctx), os.RemoveAll(s.buckets()))
}

func (b *bench) validateBucket(ctx context.Context, s *trailSet, cli string, server *rig.Server) error {
	admin, err := newAWSClient(ctx, server)
	if err != nil {
		return err
	}
	c := newStoreClient(server.AWS)
	c.key = admin.key
	env := []string{"AWS_ENDPOINT_URL_S3=" + server.AWS, "AWS_ACCESS_KEY_ID=" + c.key.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + c.key.SecretAccessKey, "AWS_DEFAULT_REGION=" + s.Region, "AWS_EC2_METADATA_DISABLED=true",
		"AWS_CONFIG_FILE=" + filepath.Join(b.dir, "none"), "AWS_SHARED_CREDENTIALS_FILE=" + filepath.Join(b.dir, "none"), "AWS_PAGER="}
	theirs := func(runs int) (took time.Duration, verdict string, err error) {
		for range runs {
			cmd := exec.CommandContext(ctx, cli, "cloudtrail", "validate-logs", "--trail-arn", s.TrailARN, "--start-time", s.Start.Format(time.RFC3339), "--end-time", s.End.Format(time.RFC3339),
				"--endpoint-url", server.AWS, "--region", s.Region, "--verbose")
			cmd.Env = append(os.Environ(), env...)
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			began := time.Now()
			err := cmd.Run()
			took += time.Since(began)
			if _, exited := err.(*exec.ExitError); err != nil && !exited {
				return 0, "", err
			}
			verdict = out.String() + errs.String()
		}
		return took / time.Duration(runs), verdict, nil
	}
	ours := func(args ...string) func(int) (time.Duration, *verdicts, error) {
		return func(runs int) (took time.Duration, v *verdicts, err error) {
			file := filepath.Join(b.dir, "verdict.json")
			for range runs {
				cmd := exec.CommandContext(ctx, b.spoor, append(append([]string{"validate"}, args...), "--start-time", s.Start.Format(time.RFC3339), "--end-time", s.End.Format(time.RFC3339), "--format", "json", "--out", file, "--quiet")...)
				cmd.Env = append(append(os.Environ(), env...), "GOMAXPROCS="+strconv.Itoa(cores))
				began := time.Now()
				text, err := cmd.CombinedOutput()
				took += time.Since(began)
				if _, exited := err.(*exec.ExitError); err != nil && !exited {
					return 0, nil, err
				}
				if v, err = readVerdicts(file); err != nil {
					return 0, nil, fmt.Errorf("%w: %s", err, text)
				}
				if err := os.Remove(file); err != nil {
					return 0, nil, err
				}
			}
			return took / time.Duration(runs), v, nil
		}
	}
	straight, remote := ours("--data", s.installation(), s.TrailARN), ours("s3://"+s.Bucket, "--endpoint-url", server.AWS)
	b.say("aws cloudtrail validate-logs")
	slow, said, err := theirs(1)
	if err != nil {
		return err
	}
	fast, v, err := straight(b.runs)
	if err != nil {
		return err
	}
	over, w, err := remote(1)
	if err != nil {
		return err
	}
	want := fmt.Sprintf("%d/%d digest files valid", s.Digests, s.Digests)
	logs := fmt.Sprintf("%d/%d log files valid", s.Logs, s.Logs)
	if !strings.Contains(said, want) || !strings.Contains(said, logs) || !v.good(s) || !w.good(s) {
		return fmt.Errorf("the verdicts are not those of a good trail: %s\nand %+v and %+v", tail(said), v.Summary, w.Summary)
	}
	same, err := b.sameVerdicts(ctx, s, c, theirs, straight, remote)
	if err != nil {
		return err
	}
	ratio := slow.Seconds() / fast.Seconds()
	fmt.Fprintf(b.page, "\nThe same files in a bucket of a running `spoor serve`, on the same %d cores. The AWS CLI reads them over the S3 of the service, which asks for permission and records each request; `--data` reads them straight out of the data folder while the service runs.\n\n| what | ratio | time, s |\n|---|--:|--:|\n| `aws cloudtrail validate-logs` | 1.0 | %.1f |\n| `spoor validate --data DIR` | %.1f | %.2f |\n| `spoor validate s3://…`, over the same S3 | %.1f | %.2f |\n",
		cores, slow.Seconds(), ratio, fast.Seconds(), slow.Seconds()/over.Seconds(), over.Seconds())
	fmt.Fprintf(b.page, "\n- `spoor validate --data` against `aws cloudtrail validate-logs`: %.1f times as fast, wanted ≥ %d: %s\n- the same verdicts on each file, before and after a log file was changed, one was removed and a digest was changed: %s\n",
		ratio, validateFaster, sayReached(ratio >= validateFaster), sayReached(same))
	b.say("validation: %.1f times as fast as the AWS CLI, over S3 %.1f times", ratio, slow.Seconds()/over.Seconds())
	return nil
}

func tail(s string) string { return s[max(0, len(s)-2000):] }

// sameVerdicts damages the trail and holds the verdicts of both against each other: what is invalid for one is invalid for the other.
func (b *bench) sameVerdicts(ctx context.Context, s *trailSet, c *storeClient, theirs func(int) (time.Duration, string, error), ours ...func(int) (time.Duration, *verdicts, error)) (bool, error) {
	var logs, digests []string
	for _, path := range s.paths {
		key := s.key(path)
		if _, ok := s.Metadata[key]; ok {
			digests = append(digests, key)
		} else {
			logs = append(logs, key)
		}
	}
	changed, removed, forged := logs[len(logs)/3], logs[len(logs)/2], digests[len(digests)/4]
	if err := errors.Join(c.put(ctx, s.Bucket, changed, validatetest.Gzip([]byte(`{"Records":[]}`), 6), nil), c.remove(ctx, s.Bucket, removed)); err != nil {
		return false, err
	}
	text, err := os.ReadFile(filepath.Join(s.logs(), filepath.FromSlash(forged)))
	if err != nil {
		return false, err
	}
	zr, err := gzip.NewReader(bytes.NewReader(text))
	if err != nil {
		return false, err
	}
	if text, err = io.ReadAll(zr); err != nil {
		return false, err
	}
	if err := c.put(ctx, s.Bucket, forged, validatetest.Gzip(bytes.Replace(text, []byte(`"logFiles"`), []byte(` "logFiles"`), 1), 6), s.Metadata[forged]); err != nil {
		return false, err
	}
	_, said, err := theirs(1)
	if err != nil {
		return false, err
	}
	invalid := map[string]bool{}
	for _, m := range invalidLine.FindAllStringSubmatch(said, -1) {
		invalid[m[1]] = true
	}
	same := len(invalid) == 3
	for _, run := range ours {
		_, v, err := run(1)
		if err != nil {
			return false, err
		}
		bad := v.bad()
		for _, key := range append(logs, digests...) {
			if invalid[key] != (bad[key] != "") {
				b.say("%s: for the AWS CLI %v, for spoor %q", key, invalid[key], bad[key])
				same = false
			}
		}
	}
	return same, nil
}

var invalidLine = regexp.MustCompile(`(?m)^(?:Digest|Log) file\ts3://[^/]+/(\S+)\tINVALID`)

// key is the key of a file of the folder.
func (s *trailSet) key(path string) string {
	return filepath.ToSlash(strings.TrimPrefix(path, s.logs()+string(filepath.Separator)))
}

// storeClient speaks S3 to a gateway, with bodies that are not part of the signature, as those of large objects are not.
type storeClient struct {
	url    string
	key    aws.Credentials
	signer *v4.Signer
	http   *http.Client
}

func newStoreClient(url string) *storeClient {
	return &storeClient{url: url, key: aws.Credentials{AccessKeyID: storeKey, SecretAccessKey: storeSecret}, signer: v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }),
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true, WriteBufferSize: 256 << 10, ReadBufferSize: 256 << 10}}}
}

func (c *storeClient) put(ctx context.Context, bucket, key string, body []byte, metadata map[string]string) error {
	h := http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}
	for k, v := range metadata {
		h.Set("X-Amz-Meta-"+k, v)
	}
	return c.do(ctx, http.MethodPut, "/"+bucket+"/"+key, h, bytes.NewReader(body), nil)
}

func (c *storeClient) remove(ctx context.Context, bucket, key string) error {
	return c.do(ctx, http.MethodDelete, "/"+bucket+"/"+key, nil, nil, nil)
}

// sized is a body whose length is known.
type sized interface {
	io.Reader
	Len() int
}

// do sends a request, and gives what is answered to sink.
func (c *storeClient) do(ctx context.Context, method, path string, h http.Header, body sized, sink io.Writer) error {
	var reader io.Reader
	if body != nil {
		reader = body
	}
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, reader)
	if err != nil {
		return err
	}
	if body != nil {
		req.ContentLength = int64(body.Len())
	}
	for k, v := range h {
		req.Header[k] = v
	}
	const unsigned = "UNSIGNED-PAYLOAD"
	req.Header.Set("X-Amz-Content-Sha256", unsigned)
	if err := c.signer.SignHTTP(ctx, c.key, req, unsigned, "s3", storeRegion, time.Now()); err != nil {
		return err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	if sink == nil || res.StatusCode >= 300 {
		text, err := io.ReadAll(res.Body)
		if err == nil && res.StatusCode >= 300 {
			err = fmt.Errorf("%s %s: status %d: %.500s", method, path, res.StatusCode, text)
		}
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{sink}, res.Body, make([]byte, 256<<10))
	return err
}

// verdicts are what spoor validate says.
type verdicts struct {
	Findings []struct{ Code, Level, Key string }
	Summary  struct {
		Digests, Logs struct{ Valid, Invalid, Unchecked int }
	}
}

// readVerdicts reads the report of spoor validate.
func readVerdicts(path string) (*verdicts, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	v := &verdicts{}
	if err := json.Unmarshal(text, v); err != nil {
		return nil, fmt.Errorf("read the report of spoor validate: %w", err)
	}
	return v, nil
}

// good reports whether everything of a trail is valid.
func (v *verdicts) good(s *trailSet) bool {
	return v.Summary.Digests.Valid == s.Digests && v.Summary.Logs.Valid == s.Logs && len(v.bad()) == 0
}

// bad are the objects that are not valid, with the reason. What is said of links between digests is not said of objects.
func (v *verdicts) bad() map[string]string {
	out := map[string]string{}
	for _, f := range v.Findings {
		if subject, _, _ := strings.Cut(f.Code, "-"); f.Level == "invalid" && (subject == "log" || subject == "digest") {
			out[f.Key] = f.Code
		}
	}
	return out
}
