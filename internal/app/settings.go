package app

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"spoor/internal/awsapi/organizations"
	"spoor/internal/config"
	"spoor/internal/history"
	"spoor/internal/iam"
	"spoor/internal/journal"
	"spoor/internal/lakequery"
	"spoor/internal/query"
	"spoor/internal/recorder"
	"spoor/internal/source/archive"
	"spoor/internal/source/live"
	"spoor/internal/source/poll"
	"spoor/internal/source/push"
	"spoor/internal/source/s3"
	"spoor/internal/source/sqs"
	"spoor/internal/source/watch"
	"spoor/internal/store"
	"spoor/internal/topic"
	"spoor/internal/trail/delivery"
)

// settings are what the configuration means for each part: the only place that reads it. The parts get their log and what
// runs beside them when they are built.
type settings struct {
	roles    roles
	data     string
	shutdown time.Duration
	memory   int64 // 0: not set
	http     httpSettings
	journal  journal.Options
	live     store.LiveOptions
	maintain store.MaintainOptions
	query    query.Options
	iam      iam.Options
	lifetime time.Duration // of tokens: negative for ever
	log      logSettings
	sources  []sourceSettings
	region   string // of the calls that are recorded
	aws      awsSettings
	lake     lakeSettings
	buckets  bucketSettings
	keys     keySettings
	topics   topicSettings
	trails   trailSettings
	org      organizations.Options
	dirs     dirs
}

type dirs struct{ iam, sources, store, history string }

// awsSettings are those of the endpoint for AWS's clients; what it shares with the other address is in http.
type awsSettings struct {
	listen   string // empty for no endpoint
	regions  []string
	skew     time.Duration
	maxBody  int64
	inFlight int
	history  history.Options
}

// resultsWait is how long GetQueryResults waits for the end of a query: less than clients wait for an answer.
const resultsWait = time.Second

type lakeSettings struct {
	dir     string
	queries lakequery.Options
}

type bucketSettings struct {
	dir       string
	domains   []string
	every     time.Duration // negative: never
	external  string        // endpoint, or [config.AmazonS3]; empty for local buckets
	pathStyle bool
	s3        s3.Options // how external is reached
}

type keySettings struct {
	dir      string
	master   string // text; empty for the file beside the ring
	from     string // the setting that says which master key it is
	external bool
}

type topicSettings struct {
	dir, url    string
	external    bool
	allow, deny []netip.Prefix
	smtp        topic.SMTP
}

type trailSettings struct {
	dir              string
	interval, digest time.Duration
	maxFile, spool   int64
	sources          []string
}

type roles struct{ api, sources, store bool }

type logSettings struct {
	level slog.Level
	json  bool
}

type httpSettings struct {
	listen      string
	certificate *tls.Certificate // nil: no TLS
	tlsMin      uint16
	proxies     []netip.Prefix
	maxBody     int64
	connections int
	tails       int
	header      time.Duration
	idle        time.Duration
}

// sourceSettings are the options of one source, of which one is set.
type sourceSettings struct {
	name, kind string
	enabled    bool
	sqs        *sqs.Options
	poll       *poll.Options
	watch      *watch.Options
	push       *push.Options
}

// options are those that all sources have.
func (s *sourceSettings) options() *live.Options {
	switch {
	case s.sqs != nil:
		return &s.sqs.Options
	case s.poll != nil:
		return &s.poll.Options
	case s.watch != nil:
		return &s.watch.Options
	}
	return &s.push.Options
}

// settingsOf translates a configuration whose files were read.
func settingsOf(l *config.Loaded) (*settings, error) {
	c := l.Config
	s := &settings{
		roles: roles{api: c.Has(config.RoleAPI), sources: c.Has(config.RoleSources), store: c.Has(config.RoleStore)},
		data:  c.Data, shutdown: c.ShutdownTimeout, memory: c.Memory, region: c.Region,
		dirs: dirs{iam: c.IAMDir(), sources: c.SourcesDir(), store: c.Store.Dir, history: filepath.Join(c.Data, "history")},
		http: httpSettings{listen: c.HTTP.Listen, certificate: c.HTTP.Certificate, tlsMin: c.HTTP.MinVersion(), proxies: c.HTTP.Proxies(),
			maxBody: c.HTTP.MaxBody, connections: c.HTTP.MaxConnections, tails: c.HTTP.MaxTails, header: c.HTTP.HeaderTimeout, idle: c.HTTP.IdleTimeout},
		log: logSettings{level: c.Log.SlogLevel(), json: c.Log.Format == "json"},
	}
	s.aws = awsSettings{regions: c.AWS.Regions, skew: c.AWS.Skew, maxBody: c.AWS.MaxBody, inFlight: c.AWS.InFlight, history: history.Options{Dir: s.dirs.history, Extended: c.AWS.LookupExtended, Scope: history.Scope(c.AWS.LookupScope)}}
	trails := c.AWS.Listen != config.Off && s.roles.api
	if trails {
		s.aws.listen = c.AWS.Listen
	}
	s.lake = lakeSettings{dir: c.Lake.Dir, queries: lakequery.Options{Concurrent: c.Lake.Concurrent, Running: max(1, c.Query.Concurrent/2), Timeout: c.Lake.Timeout, Wait: resultsWait, Size: c.Lake.ResultsSize, Age: c.Lake.ResultsAge}}
	s.org = organization(c.Organization)
	b, m := c.Buckets, c.Topics.SMTP
	s.buckets = bucketSettings{dir: b.Dir, domains: b.Domains, every: orForever(b.ExpireInterval), external: b.External, pathStyle: b.PathStyle}
	if b.External != "" {
		endpoint := b.External
		if endpoint == config.AmazonS3 {
			endpoint = ""
		}
		s.buckets.s3 = awsOptions(b.AWS, endpoint, 0)
	}
	s.keys = keySettings{dir: c.Keys.Dir, master: c.Keys.Master.Reveal(), from: "keys.master_key", external: c.Keys.External}
	switch {
	case c.Keys.MasterFile != "":
		s.keys.from = "keys.master_key_file"
	case s.keys.master == "":
		s.keys.from = "keys.dir"
	}
	s.topics = topicSettings{dir: c.Topics.Dir, url: c.Topics.URL, external: c.Topics.External, smtp: topic.SMTP{Addr: m.Address, From: m.From, Username: m.Username, Password: m.Password.Reveal(), TLS: smtpTLS[m.TLS]}}
	s.topics.allow, s.topics.deny = c.Topics.Addresses()
	s.trails = trailSettings{dir: c.Trails.Dir, interval: c.Trails.Interval, digest: c.Trails.Digest, maxFile: c.Trails.MaxFile, spool: c.Trails.MaxSpool, sources: trailSources(c)}
	s.live = store.LiveOptions{FlushRows: int64(c.Store.FlushRows), FlushInterval: c.Store.FlushInterval, MaxHotRows: int64(c.Store.MaxHotRows)}
	s.maintain = store.MaintainOptions{CompactInterval: c.Store.CompactInterval, CompactAfter: c.Store.CompactAfter, CompactTarget: c.Store.CompactTarget,
		ExpireInterval: c.Store.ExpireInterval, ExpireGrace: c.Store.ExpireGrace, Retention: store.RetainOptions{Ages: c.Store.Retention.Ages(), Sizes: c.Store.Retention.Sizes(), MaxBytes: c.Store.Retention.MaxSize}}
	s.query = query.Options{TempDir: filepath.Join(c.Data, "tmp"), Memory: c.Query.Memory, TempBytes: c.Query.Temp, Threads: c.Query.Threads, Timeout: c.Query.Timeout,
		MaxRows: int64(c.Query.MaxRows), Concurrent: c.Query.Concurrent}
	var err error
	if s.journal, err = journalOptions(c.Journal); err != nil {
		return nil, blame(l, "journal.tls_ca", err)
	}
	if trails {
		s.journal.Followers = append(s.journal.Followers, delivery.FollowerName)
	}
	files := make([]iam.PolicyFile, len(c.IAM.Texts))
	for i, t := range c.IAM.Texts {
		files[i] = iam.PolicyFile{Name: t.Name, Text: t.Text}
	}
	policies, err := iam.ParsePolicies(files...)
	if err != nil {
		return nil, blame(l, "iam.policies", err)
	}
	s.iam = iam.Options{Account: c.Account, Accounts: slices.DeleteFunc(c.Organization.AccountIDs(), func(id string) bool { return id == c.Account }), Policies: policies, Throttle: iam.Throttle{Burst: c.IAM.FailureBurst, Every: c.IAM.FailureEvery}}
	s.lifetime = orForever(c.IAM.TokenLifetime)
	for i := range c.Sources {
		s.sources = append(s.sources, sourceOptions(&c.Sources[i], s.dirs.sources, c.HTTP.MaxBody))
	}
	return s, nil
}

// smtpTLS are the words of the configuration.
var smtpTLS = map[string]topic.TLSMode{"starttls": topic.StartTLS, "tls": topic.ImplicitTLS, "none": topic.NoTLS}

// trailSources are the sources whose events trails deliver.
func trailSources(c *config.Config) []string {
	if len(c.Trails.Sources) > 0 {
		return c.Trails.Sources
	}
	out := []string{recorder.DefaultSource, defaultPush}
	for _, s := range c.Sources {
		if s.Type == config.SourcePush && s.Name != defaultPush {
			out = append(out, s.Name)
		}
	}
	return out
}

// organization translates the organisation. What has no parent is below the root.
func organization(c config.Organization) organizations.Options {
	parent := func(id string) string {
		if id == "" {
			return c.Root
		}
		return id
	}
	o := organizations.Options{ID: c.ID, RootID: c.Root, Management: c.Management}
	for _, u := range c.Units {
		o.Units = append(o.Units, organizations.Unit{ID: u.ID, Name: u.Name, Parent: parent(u.Parent)})
	}
	for _, a := range c.Accounts {
		o.Accounts = append(o.Accounts, organizations.Account{ID: a.ID, Name: a.Name, Email: a.Email, Parent: parent(a.Unit), Joined: a.Joined})
	}
	return o
}

// orForever translates a span of which 0 is for ever, where packages have a default for 0.
func orForever(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

func journalOptions(c config.Journal) (journal.Options, error) {
	o := journal.Options{
		Dir: c.Dir, URL: c.URL, Credentials: c.Credentials, Stream: c.Stream, Replicas: c.Replicas,
		Followers: []string{store.FollowerName}, // in every process: nothing that one accepts is removed before the store has it
		MaxBytes:  c.MaxSize, RetainBytes: c.RetainSize, RetainAge: c.RetainAge, DropUnread: c.DropUnread, MinFree: c.MinFree,
		MaxAppend: int(c.MaxAppend), GroupBytes: int(c.GroupSize), Linger: c.Linger, QueueBytes: c.QueueSize, QueueWait: c.QueueWait,
	}
	if c.URL != "" {
		o.Dir = ""
	}
	if c.TLSCA != "" {
		text, err := os.ReadFile(c.TLSCA)
		if err != nil {
			return o, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return o, fmt.Errorf("%s holds no certificate in PEM", c.TLSCA)
		}
		o.TLS = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return o, nil
}

// sourceOptions translates a source. http.max_body bounds what a push may send, whatever its own limit says.
func sourceOptions(c *config.Source, dir string, maxBody int64) sourceSettings {
	s := sourceSettings{name: c.Name, kind: c.Type, enabled: c.Enabled}
	common := live.Options{Name: c.Name, Dir: filepath.Join(dir, c.Name), Accounts: c.Accounts, Regions: c.Regions, Workers: c.Workers}
	switch c.Type {
	case config.SourceSQS:
		aws := awsOptions(c.AWS, c.AWS.Endpoint, c.Workers)
		buckets := aws
		buckets.EndpointURL = c.AWS.S3Endpoint
		wait := c.Wait
		if wait == 0 {
			wait = -1
		}
		s.sqs = &sqs.Options{Options: common, QueueURL: c.Queue, AWS: aws, S3: buckets, Wait: wait, Visibility: c.Visibility, MaxReceives: c.MaxReceives}
	case config.SourceS3:
		s.poll = &poll.Options{Options: common, Bucket: c.Bucket, Prefix: c.Prefix, S3: awsOptions(c.AWS, c.AWS.Endpoint, c.Workers),
			Interval: c.Interval, Lookback: orForever(c.Lookback)}
	case config.SourceFolder:
		settle := c.Settle
		if settle == 0 {
			settle = -1
		}
		s.watch = &watch.Options{Options: common, Path: c.Path, Interval: c.Interval, Settle: settle, Archives: archive.Limits{}}
	case config.SourcePush:
		common.Workers = 0 // one for each processor: requests wait for the journal without one
		s.push = &push.Options{Options: common, MaxBody: min(c.MaxBody, maxBody), Format: push.Format(c.Format)}
	}
	return s
}

func awsOptions(a config.AWS, endpoint string, parallel int) s3.Options {
	return s3.Options{Profile: a.Profile, Region: a.Region, EndpointURL: endpoint, RoleARN: a.RoleARN, ExternalID: a.ExternalID,
		AccessKeyID: a.AccessKeyID, SecretKey: a.SecretKey.Reveal(), SessionToken: a.SessionToken.Reveal(), Anonymous: a.Anonymous, Parallel: parallel}
}

// blame says which setting an error comes from, and where its value does.
func blame(l *config.Loaded, key string, err error) error {
	if err == nil {
		return nil
	}
	var known *config.Error
	if errors.As(err, &known) {
		return err
	}
	for _, e := range l.Effective() {
		if e.Key != key {
			continue
		}
		from := string(e.Origin.Kind)
		switch e.Origin.Kind {
		case config.FromFlag:
			from = e.Origin.Where
		case config.FromEnv:
			from = "variable " + e.Origin.Where
		case config.FromFile:
			from = e.Origin.Where
		}
		return fmt.Errorf("%s (%s): %w", key, from, err)
	}
	return fmt.Errorf("%s: %w", key, err)
}
