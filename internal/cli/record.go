package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/spf13/cobra"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/caller"
	"spoor/internal/config"
	"spoor/internal/durable"
	"spoor/internal/gateway"
	"spoor/internal/iam"
	"spoor/internal/journal"
	"spoor/internal/recorder"
	"spoor/internal/safetext"
	"spoor/internal/source/s3"
	"spoor/internal/store"
)

// recordFlags are those of spoor record.
type recordFlags struct {
	config    configFlags
	server    serverFlags
	upstreams []string
	domains   []string
	listen    string
	cert, key string
	region    string
	account   string
	out       string
	source    string
	profile   string
	keepHost  bool
	known     bool // --authenticate
}

// stopTime is what calls that are under way may take when the recorder stops.
const stopTime = 30 * time.Second

func (e *env) record() *cobra.Command {
	var f recordFlags
	c := &cobra.Command{
		Use:   "record --upstream NAME=URL",
		Short: "Record what a service of somebody else is asked, in front of it",
		Long: `Record stands in front of a service that speaks S3, or another protocol of AWS, hands every request on to it as it is, and
records each one as an event of CloudTrail before its answer is whole. A call that cannot be recorded fails.

  spoor record --upstream s3=https://s3.example.com --server http://127.0.0.1:8484
                                                records go to a running service, to its source "push"
  spoor record --upstream s3=http://127.0.0.1:9000 --data ./spoor-data
                                                into the journal of a data folder that no service has
  spoor record --upstream s3=http://127.0.0.1:9000 --out ./records
                                                into files of JSON Lines, which spoor hunt reads
  spoor record --upstream s3=https://s3.eu-west-1.amazonaws.com --upstream sqs=https://sqs.eu-west-1.amazonaws.com \
      --authenticate --data ./spoor-data --profile backend
                                                for principals of Spoor alone, signed anew for the service

  aws s3 ls --endpoint-url http://127.0.0.1:4600

Requests find their service by the name that they are signed for. Without --authenticate signatures are handed on: they cover
the name of the host that the client was told, so that the service has to take that one, and who called is what the request
claims; the record says so. With --authenticate callers have access keys of Spoor, of --data, and the service is called with
credentials that the AWS CLI would use too.

An interrupt or SIGTERM stops it in order: calls that are under way have half a minute.

Exit status:
  0  stopped in order
  2  wrong usage
  4  it could not start, or failed`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return e.runRecord(c.Context(), &f) },
	}
	f.config.add(c, "data")
	f.server.add(c, "records go to the running service at this `URL` (default: the variable SPOOR_SERVER, else the data folder)")
	fl := c.Flags()
	fl.StringArrayVar(&f.upstreams, "upstream", nil, "`NAME=URL` of a service and where it is, such as s3=https://s3.example.com; more than once for more services")
	fl.StringVar(&f.listen, "listen", "127.0.0.1:4600", "answer on this `address`")
	fl.StringVar(&f.cert, "tls-cert", "", "answer over TLS with the certificates in this `file`, in PEM")
	fl.StringVar(&f.key, "tls-key", "", "`file` with their key")
	fl.StringArrayVar(&f.domains, "domain", nil, "`host` below which names are buckets, as in NAME.host; more than once for more")
	fl.StringVar(&f.region, "region", "", "`Region` of requests that name none (default: that of the configuration)")
	fl.StringVar(&f.account, "account", "", "`account` that records are for (default: that of the configuration)")
	fl.StringVar(&f.out, "out", "", "records go into files in this `folder`")
	fl.StringVar(&f.source, "source", "", "`name` of the server's source that takes records (default push)")
	fl.BoolVar(&f.keepHost, "keep-host", true, "tell the service the host that the client named, which its signature covers")
	fl.BoolVar(&f.known, "authenticate", false, "callers have access keys of Spoor; requests are signed anew")
	fl.StringVar(&f.profile, "profile", "", "with --authenticate: `profile` of the credentials for the services")
	return c
}

// recordTo is where records go.
type recordTo struct {
	appender recorder.Appender
	name     string
	close    func() error
}

func (e *env) runRecord(ctx context.Context, f *recordFlags) (err error) {
	if len(f.upstreams) == 0 {
		return usagef("spoor record wants a service; for example: spoor record --upstream s3=https://s3.example.com --out ./records")
	}
	if (f.cert == "") != (f.key == "") {
		return usagef("--tls-cert and --tls-key go together")
	}
	if f.profile != "" && !f.known {
		return usagef("--profile is for --authenticate: without it requests are handed on as they are signed")
	}
	o := gateway.ProxyOptions{Domains: f.domains, ReplaceHost: !f.keepHost, Log: slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	for _, text := range f.upstreams {
		u, err := gateway.ParseUpstream(text)
		if err != nil {
			return usageError{err}
		}
		o.Upstreams = append(o.Upstreams, u)
	}
	l, err := f.config.load(e)
	if err != nil {
		return err
	}
	o.Account, o.Region = pick(f.account, l.Config.Account), pick(f.region, l.Config.Region)
	if f.account != "" && !isAccount(f.account) {
		return usagef("--account: an account has 12 digits")
	}
	var closers []func() error
	defer func() {
		for _, c := range slices.Backward(closers) {
			err = errors.Join(err, c())
		}
	}()
	to, lock, err := e.recordTo(ctx, f, l.Config)
	if err != nil {
		return err
	}
	closers = append(closers, to.close)
	r, err := recorder.New(recorder.Options{Journal: to.appender, Account: o.Account, Region: o.Region, Log: o.Log})
	if err != nil {
		return usageError{err}
	}
	o.Recorder = r
	if f.known {
		keys, done, err := recordAccess(ctx, l, lock)
		if err != nil {
			return err
		}
		closers = append(closers, done)
		o.Verifier = &gateway.Verifier{Credentials: keys, Attempts: keys, Default: o.Region, Region: func(string) bool { return true }}
		if o.Signer, err = recordSigner(ctx, f.profile, o.Region); err != nil {
			return err
		}
	}
	p, err := gateway.NewProxy(o)
	if err != nil {
		return usageError{err}
	}
	return e.serveRecord(ctx, f, p, r, to.name)
}

func pick(given, otherwise string) string {
	if given != "" {
		return given
	}
	return otherwise
}

func isAccount(s string) bool {
	if len(s) != 12 {
		return false
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// recordTo opens what records go to. locked says that the data folder is this process's.
func (e *env) recordTo(ctx context.Context, f *recordFlags, c *config.Config) (to recordTo, locked bool, err error) {
	given := f.config.cmd.Flags().Changed
	server := f.server.named()
	if given("data") && f.server.server == "" && !f.known {
		server = ""
	}
	switch {
	case f.out != "" && f.server.server != "":
		return to, false, usagef("either --out or --server: records go to one place")
	case f.out != "":
		files, err := gateway.NewFiles(f.out, nil)
		if err != nil {
			return to, false, err
		}
		b := gateway.NewBatch(files.Write)
		return recordTo{b, "files in " + f.out, func() error { return errors.Join(b.Close(), files.Close()) }}, false, nil
	case server != "":
		cl, err := f.server.client(server)
		if err != nil {
			return to, false, err
		}
		b := gateway.NewBatch(func(ctx context.Context, records [][]byte) error { return remote(cl, cl.Push(ctx, f.source, records)) })
		return recordTo{b, cl.Server(), func() error { err := b.Close(); cl.Close(); return err }}, false, nil
	}
	if err := durable.MkdirAll(c.Data, 0o700); err != nil {
		return to, false, err
	}
	lock, err := durable.Acquire(ctx, filepath.Join(c.Data, "lock"), 0o600, 0)
	if errors.Is(err, durable.ErrLocked) {
		return to, false, usageError{fmt.Errorf("the data folder %s is in use: %w; a service that runs takes records with --server %s", c.Data, err, serverURL(c))}
	}
	if err != nil {
		return to, false, err
	}
	j, err := journal.Open(ctx, journal.Options{
		Dir: c.Journal.Dir, Stream: c.Journal.Stream, Followers: []string{store.FollowerName}, MaxBytes: c.Journal.MaxSize, MinFree: c.Journal.MinFree,
		MaxAppend: int(c.Journal.MaxAppend), GroupBytes: int(c.Journal.GroupSize), Linger: c.Journal.Linger,
	})
	if err != nil {
		return to, false, errors.Join(fmt.Errorf("open the journal: %w", err), lock.Release())
	}
	return recordTo{j, "the journal of " + c.Data, func() error { return errors.Join(j.Close(), lock.Release()) }}, true, nil
}

// recordAccess are the principals of a data folder. Where the folder is a service's, it is looked at again now and then.
func recordAccess(ctx context.Context, l *config.Loaded, own bool) (*freshAccess, func() error, error) {
	policies, err := readPolicies(l)
	if err != nil {
		return nil, nil, err
	}
	a := &freshAccess{open: func(ctx context.Context) (*iam.Service, error) {
		return iam.Open(ctx, l.Config.IAMDir(), iam.Options{Account: l.Config.Account, Accounts: l.Config.Organization.AccountIDs(), Policies: policies, ReadOnly: !own})
	}, renew: !own}
	if a.current.IAM, err = a.open(ctx); err != nil {
		return nil, nil, fmt.Errorf("open the principals: %w", err)
	}
	a.opened = time.Now()
	return a, a.close, nil
}

// freshAccess are principals that another process may change: they are read anew when what is known is older than freshTime.
type freshAccess struct {
	open    func(context.Context) (*iam.Service, error)
	renew   bool
	mu      sync.Mutex
	current caller.Access // guarded by mu
	opened  time.Time     // guarded by mu
}

const freshTime = 5 * time.Second

func (a *freshAccess) get(ctx context.Context) (caller.Access, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.renew || time.Since(a.opened) < freshTime {
		return a.current, nil
	}
	s, err := a.open(context.WithoutCancel(ctx))
	if err != nil {
		return a.current, fmt.Errorf("read the principals again: %w", err)
	}
	old := a.current.IAM
	a.current.IAM, a.opened = s, time.Now()
	return a.current, old.Close()
}

func (a *freshAccess) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current.IAM.Close()
}

// Lookup implements [awsapi.Credentials].
func (a *freshAccess) Lookup(ctx context.Context, id, token string) (awsapi.Credential, error) {
	c, err := a.get(ctx)
	if err != nil {
		return awsapi.Credential{}, err
	}
	return c.Lookup(ctx, id, token)
}

// Wait implements [awsapi.Attempts].
func (a *freshAccess) Wait(from netip.Addr, id string) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current.Wait(from, id)
}

// Failed implements [awsapi.Attempts].
func (a *freshAccess) Failed(from netip.Addr, id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.current.Failed(from, id)
}

// recordSigner signs with the credentials that the AWS CLI would use.
func recordSigner(ctx context.Context, profile, region string) (gateway.Signer, error) {
	cfg, err := s3.Config(ctx, s3.Options{Profile: profile, Region: region})
	if err != nil {
		return nil, usageError{err}
	}
	if cfg.Credentials == nil {
		return nil, usagef("there are no credentials for the services: set AWS_ACCESS_KEY_ID, or give --profile")
	}
	return newRecordSigner(cfg.Credentials), nil
}

// newRecordSigner signs with credentials: paths once for S3, twice for all others.
func newRecordSigner(credentials aws.CredentialsProvider) gateway.Signer {
	once := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	twice := v4.NewSigner()
	return func(ctx context.Context, r *http.Request, service, region, digest string) error {
		c, err := credentials.Retrieve(ctx)
		if err != nil {
			return err
		}
		s := twice
		if service == "s3" {
			s = once
		}
		return s.SignHTTP(ctx, c, r, digest, service, region, time.Now())
	}
}

// serveRecord answers until ctx ends.
func (e *env) serveRecord(ctx context.Context, f *recordFlags, p *gateway.Proxy, r *recorder.Recorder, to string) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", f.listen)
	if err != nil {
		return usageError{err}
	}
	scheme := "http"
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return errors.Join(usageError{err}, listener.Close())
		}
		listener, scheme = tls.NewListener(listener, &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{pair}}), "https"
	}
	server := &http.Server{Handler: p, ReadHeaderTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	fmt.Fprintf(e.stderr, "spoor: recording on %s://%s into %s\n", scheme, listener.Addr(), safetext.Terminal(to, 300))
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	counting, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.Run(counting) }) // what it cannot write it logs
	if width, _, ok := terminal(e.stderr); ok {
		wg.Go(func() { recordProgress(counting, e.stderr, width, p) })
	}
	select {
	case err = <-served:
	case <-ctx.Done():
		fmt.Fprintln(e.stderr, "spoor: stopping; a second interrupt ends at once")
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		if err = server.Shutdown(last); err != nil {
			err = errors.Join(fmt.Errorf("calls were cut off: %w", err), server.Close())
		}
		cancel()
		if e := <-served; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
	}
	stop()
	wg.Wait()
	s := p.Stats()
	fmt.Fprintf(e.stderr, "spoor: %s, %d not recorded\n", plural(int64(s.Calls), "call"), s.Unrecorded)
	return err
}

// recordProgress shows how many calls there were.
func recordProgress(ctx context.Context, w io.Writer, width int, p *gateway.Proxy) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var before uint64
	for {
		select {
		case <-ctx.Done():
			fmt.Fprint(w, "\r\x1b[K")
			return
		case <-tick.C:
			s := p.Stats()
			line := fmt.Sprintf("%d calls  %d/s  %d not recorded", s.Calls, s.Calls-before, s.Unrecorded)
			before = s.Calls
			fmt.Fprintf(w, "\r%s\x1b[K", line[:min(len(line), max(0, width-1))])
		}
	}
}

var (
	_ awsapi.Credentials = (*freshAccess)(nil)
	_ awsapi.Attempts    = (*freshAccess)(nil)
)
