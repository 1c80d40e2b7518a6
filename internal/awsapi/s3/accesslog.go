package s3

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/caller"
	"spoor/internal/blob"
	"spoor/internal/gateway"
	"spoor/internal/policy"
	"spoor/internal/recorder"
)

// Bounds of logs of access.
const (
	DefaultLogEvery = 5 * time.Minute
	maxLogObject    = 4 << 20  // bytes after which a log is written before its time
	maxLogHeld      = 32 << 20 // bytes of all logs that wait; further lines are dropped
	logger          = "logging.s3.amazonaws.com"
)

// accessLogs are lines that wait to be written: for each bucket that is logged, and where to.
type accessLogs struct {
	mu      sync.Mutex
	waiting map[logTarget]*strings.Builder // guarded by mu
	held    int                            // guarded by mu
	dropped uint64                         // guarded by mu
	full    chan struct{}
}

// logTarget is a bucket that is logged, and where to.
type logTarget struct {
	account, region, bucket string
	to                      blob.Logging
}

// Run writes logs of access, every Options.LogEvery and when they are large, until ctx ends; then it writes what is left. Logs are
// as good as AWS's: lines may be missing after a crash, or where the target does not take them. Nothing else waits for it.
func (f *Front) Run(ctx context.Context) error {
	every := f.o.LogEvery
	if every <= 0 {
		every = DefaultLogEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f.WriteLogs(ctx)
		case <-f.logs.full:
			f.WriteLogs(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
			defer cancel()
			f.WriteLogs(last)
			return nil
		}
	}
}

// WriteLogs writes the logs of access that wait.
func (f *Front) WriteLogs(ctx context.Context) {
	f.logs.mu.Lock()
	waiting, dropped := f.logs.waiting, f.logs.dropped
	f.logs.waiting, f.logs.held, f.logs.dropped = map[logTarget]*strings.Builder{}, 0, 0
	f.logs.mu.Unlock()
	if dropped > 0 {
		f.o.Log.Warn("lines of logs of access were dropped: too many waited", slog.Uint64("lines", dropped))
	}
	for target, text := range waiting {
		if err := f.writeLog(ctx, target, text.String()); err != nil {
			f.o.Log.Warn("a log of access could not be written", slog.String("bucket", target.bucket), slog.String("to", target.to.Bucket), slog.Any("error", err))
		}
	}
}

// writeLog writes a log, where the policy of its bucket lets the service that writes logs.
func (f *Front) writeLog(ctx context.Context, t logTarget, text string) error {
	now := f.o.Now().UTC()
	key := t.to.Prefix
	if t.to.Format == "EventTime" || t.to.Format == "DeliveryTime" {
		key += t.account + "/" + t.region + "/" + t.bucket + now.Format("/2006/01/02/")
	}
	key += now.Format("2006-01-02-15-04-05-") + rand.Text()[:16]
	to, err := f.o.Buckets.Bucket(ctx, t.to.Bucket)
	if err != nil {
		return err
	}
	err = f.o.Access.AuthorizeResource(ctx, awsapi.Access{
		Principal: awsapi.Principal{Identity: recorder.Identity{Type: "AWSService"}, Subject: policy.Principal{Service: logger}},
		Action:    "s3:PutObject", Resources: []string{"arn:" + f.o.Partition + ":s3:::" + to.Name + "/" + key}, TLS: true,
	}, caller.Guarded{Owner: to.Account, Policy: to.Policy, Conditions: map[string][]string{
		"aws:SourceArn": {"arn:" + f.o.Partition + ":s3:::" + t.bucket}, "aws:SourceAccount": {t.account}, "s3:ResourceAccount": {to.Account},
	}})
	if err != nil {
		return err
	}
	return f.o.Buckets.Put(ctx, to.Name, key, []byte(text), blob.PutOptions{ContentType: "text/plain"})
}

// logAccess adds a line to the log of the bucket that a call was about, where it has one.
func (x *exchange) logAccess(took time.Duration) {
	if !x.found || x.bucket.Logging == nil {
		return
	}
	t := logTarget{account: x.bucket.Account, region: x.bucketRegion(), bucket: x.bucket.Name, to: *x.bucket.Logging}
	line := x.logLine(took)
	l := &x.f.logs
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held+len(line) > maxLogHeld {
		l.dropped++
		return
	}
	b := l.waiting[t]
	if b == nil {
		b = &strings.Builder{}
		l.waiting[t] = b
	}
	b.WriteString(line)
	if l.held += len(line); b.Len() > maxLogObject {
		select {
		case l.full <- struct{}{}:
		default:
		}
	}
}

// logLine is the line of a call, in the form of the page on the format of server access logs of the S3 user guide.
func (x *exchange) logLine(took time.Duration) string {
	dash := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	quote := func(s string) string {
		if s == "" {
			return "-"
		}
		return `"` + strings.NewReplacer(`"`, "%22", "\n", "%0A", "\r", "%0D").Replace(s) + `"`
	}
	number := func(n int64) string {
		if n == 0 {
			return "-"
		}
		return strconv.FormatInt(n, 10)
	}
	requester, sig, auth := "-", "-", "-"
	if x.proof != nil {
		if requester = x.call.Principal.Identity.ARN; x.call.Principal.Identity.Type == "Root" {
			requester = x.call.Principal.Identity.AccountID
		}
		sig, auth = "SigV4", "AuthHeader"
		if x.proof.Signature.Presigned {
			auth = "QueryString"
		}
	}
	cipher, version := "-", "-"
	if s := x.r.TLS; s != nil {
		cipher, version = dash(tls.CipherSuiteName(s.CipherSuite)), map[uint16]string{0x303: "TLSv1.2", 0x304: "TLSv1.3"}[s.Version]
	}
	uri := x.r.Method + " " + hideQuery(x.r) + " " + x.r.Proto
	remote := "-"
	if x.call.Address.IsValid() {
		remote = x.call.Address.Unmap().WithZone("").String()
	}
	key := strings.ReplaceAll(gateway.EscapePath(x.q.Key), "%2F", "/")
	return fmt.Sprintf("%s %s [%s] %s %s %s %s %s %s %d %s %s %s %d %s %s %s %s %s %s %s %s %s %s - -\n",
		x.bucket.Account, x.bucket.Name, x.call.Time.UTC().Format("02/Jan/2006:15:04:05 +0000"), remote, requester, x.call.RequestID, x.logOperation(), dash(key),
		quote(uri), x.status, dash(x.code), number(x.sent), number(x.size), took.Milliseconds(), "-", quote(x.r.Referer()), quote(x.r.UserAgent()),
		dash(x.q.Version()), x.hostID, sig, cipher, auth, dash(x.r.Host), version)
}

// hideQuery is what was asked for, without the signature.
func hideQuery(r *http.Request) string {
	uri := r.URL.EscapedPath()
	var kept []string
	for part := range strings.SplitSeq(r.URL.RawQuery, "&") {
		name, _, _ := strings.Cut(part, "=")
		if l := strings.ToLower(name); part != "" && l != "x-amz-signature" && l != "x-amz-security-token" && l != "x-amz-credential" {
			kept = append(kept, part)
		}
	}
	if len(kept) > 0 {
		uri += "?" + strings.Join(kept, "&")
	}
	return uri
}

// logOperation is what logs call an operation.
func (x *exchange) logOperation() string {
	op := x.q.Operation
	if op == nil {
		return "REST." + x.r.Method + ".UNKNOWN"
	}
	what := "OBJECT"
	if op.Level == gateway.OfBucket {
		what = "BUCKET"
	}
	switch {
	case op.Name == "CopyObject":
		return "REST.COPY.OBJECT"
	case op.Name == "UploadPartCopy":
		return "REST.COPY.PART"
	case op.Name == "UploadPart":
		what = "PART"
	case op.Sub == "uploadId":
		what = "UPLOAD"
	case op.Sub == "delete":
		what = "MULTI_OBJECT_DELETE"
	case op.Sub == "policy":
		what = "BUCKETPOLICY"
	case op.Sub == "versions":
		what = "BUCKETVERSIONS"
	case op.Sub == "logging":
		what = "LOGGING_STATUS"
	case op.Name == "PreflightOptions":
		what = "PREFLIGHT"
	case op.Sub != "" && op.Sub != "list-type":
		what = strings.ToUpper(strings.ReplaceAll(op.Sub, "-", "_"))
	}
	return "REST." + op.Method + "." + what
}
