// Package config is the configuration of the service: one table of settings, with defaults, that a file in YAML, the
// environment and the command line override in this order.
//
// [Load] is strict: a key that it does not know is an error, as is a value that does not fit, and all errors are told
// together, with their places. Every value knows where it came from. What the configuration names in other files is read by
// [Loaded.ReadFiles].
package config

import (
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"time"
)

// Config is the configuration of a service. The table of settings says what each field means, and its limits.
type Config struct {
	Data            string
	Account         string
	Region          string
	Roles           []string
	ShutdownTimeout time.Duration
	HTTP            HTTP
	Journal         Journal
	Store           Store
	Query           Query
	IAM             IAM
	AWS             Endpoint
	Lake            Lake
	Buckets         Buckets
	Keys            Keys
	Topics          Topics
	Trails          Trails
	Organization    Organization
	Log             Log
	Memory          int64 // 0: not set
	Sources         []Source
}

// HTTP is the address that answers.
type HTTP struct {
	Listen         string
	TLSCert        string
	TLSKey         string
	TLSMinVersion  string
	Plain          bool
	TrustedProxies []string
	MaxBody        int64
	MaxConnections int
	MaxTails       int
	HeaderTimeout  time.Duration
	IdleTimeout    time.Duration

	// Certificate is what TLSCert and TLSKey hold, once [Loaded.ReadFiles] has read them.
	Certificate *tls.Certificate
}

// MinVersion is TLSMinVersion as package tls has it.
func (h HTTP) MinVersion() uint16 {
	if h.TLSMinVersion == "1.3" {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

// Proxies are the TrustedProxies; addresses are networks of one.
func (h HTTP) Proxies() []netip.Prefix { return networks(h.TrustedProxies) }

// networks reads networks that were checked.
func networks(list []string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		if p, err := parseNetwork(s); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// Journal is the durable log: in a folder, or in a NATS system elsewhere when URL is set.
type Journal struct {
	Dir         string
	URL         string
	Credentials string
	TLSCA       string
	Stream      string
	Replicas    int
	MaxSize     int64
	RetainSize  int64
	RetainAge   time.Duration
	DropUnread  bool
	MinFree     int64
	MaxAppend   int64
	GroupSize   int64
	Linger      time.Duration
	QueueSize   int64
	QueueWait   time.Duration
}

// Store is where events are kept.
type Store struct {
	Dir             string
	FlushRows       int
	FlushInterval   time.Duration
	MaxHotRows      int
	CompactInterval time.Duration
	CompactAfter    time.Duration
	CompactTarget   int64
	ExpireInterval  time.Duration
	ExpireGrace     time.Duration
	Retention       Retention
}

// Retention is how long events are kept by class, 0 for ever, and how large the store may be, 0 without a limit.
type Retention struct {
	Management      time.Duration
	Data            time.Duration
	NetworkActivity time.Duration
	Insight         time.Duration
	Aggregated      time.Duration
	ActivityAudit   time.Duration // of outside events
	MaxSize         int64

	// How large the events of a class may be, 0 without a limit.
	ManagementSize, DataSize, NetworkActivitySize, InsightSize, AggregatedSize, ActivityAuditSize int64
}

// Sizes are the sizes by class of event, without the classes that have no limit.
func (r Retention) Sizes() map[string]int64 {
	out := map[string]int64{}
	for class, size := range map[string]int64{"Management": r.ManagementSize, "Data": r.DataSize, "NetworkActivity": r.NetworkActivitySize,
		"Insight": r.InsightSize, "Aggregated": r.AggregatedSize, "ActivityAuditLog": r.ActivityAuditSize} {
		if size > 0 {
			out[class] = size
		}
	}
	return out
}

// Ages are the ages by class of event, without the classes that are kept for ever.
func (r Retention) Ages() map[string]time.Duration {
	out := map[string]time.Duration{}
	for class, age := range map[string]time.Duration{"Management": r.Management, "Data": r.Data, "NetworkActivity": r.NetworkActivity,
		"Insight": r.Insight, "Aggregated": r.Aggregated, "ActivityAuditLog": r.ActivityAudit} {
		if age > 0 {
			out[class] = age
		}
	}
	return out
}

// Query bounds what callers may ask.
type Query struct {
	Memory     int64
	Temp       int64
	Threads    int // 0: one for each processor
	Timeout    time.Duration
	MaxRows    int
	Concurrent int
}

// IAM is who may do what.
type IAM struct {
	Policies      []string
	TokenLifetime time.Duration
	FailureBurst  int
	FailureEvery  time.Duration

	// Texts are the files of Policies, once [Loaded.ReadFiles] has read them.
	Texts []PolicyText
}

// PolicyText is a file of policies.
type PolicyText struct{ Name, Text string }

// Off is what [Endpoint].Listen is for no endpoint.
const Off = "off"

// Endpoint is the address at which AWS's own clients are answered. TLS, connections and time limits are those of [HTTP].
type Endpoint struct {
	Listen         string
	Regions        []string
	Skew           time.Duration
	MaxBody        int64
	InFlight       int
	LookupExtended bool
	LookupScope    string
}

// Lake is event data stores and their queries.
type Lake struct {
	Dir         string
	Concurrent  int
	Timeout     time.Duration
	ResultsSize int64
	ResultsAge  time.Duration
}

// Buckets are the buckets of AWS's clients and of trails: local ones, or those of another service.
type Buckets struct {
	Dir            string
	Domains        []string
	ExpireInterval time.Duration
	External       string // [AmazonS3], the address of a service that speaks as S3 does, or empty for local buckets
	PathStyle      bool
	AWS            AWS // how External is reached
}

// AmazonS3 is what [Buckets].External is for Amazon's own service.
const AmazonS3 = "aws"

// Keys are the key ring.
type Keys struct {
	Dir        string
	Master     Secret // 32 bytes in hex
	MasterFile string // read into Master by [Loaded.ReadFiles]
	External   bool
}

// Topics are the topics of AWS's clients and of trails.
type Topics struct {
	Dir      string
	URL      string
	External bool
	Allow    []string // networks; checked
	Deny     []string
	SMTP     SMTP
}

// Addresses are Allow and Deny as package netip has them.
func (t Topics) Addresses() (allow, deny []netip.Prefix) { return networks(t.Allow), networks(t.Deny) }

// SMTP is how mail is sent.
type SMTP struct {
	Address, From, Username string
	Password                Secret
	PasswordFile            string // read into Password by [Loaded.ReadFiles]
	TLS                     string
}

// Trails are the deliveries of trails.
type Trails struct {
	Dir              string
	Interval, Digest time.Duration
	MaxFile          int64
	MaxSpool         int64
	Sources          []string // empty for Spoor's own records and those of push sources
}

// Organization is the organisation that AWS's clients are told of. One without an ID is none.
type Organization struct {
	ID         string
	Root       string
	Management string
	Units      []Unit
	Accounts   []Account
}

// Unit is an organisational unit. Without a parent it is below the root.
type Unit struct{ ID, Name, Parent string }

// Account is a member of the organisation. Without a unit it is in the root.
type Account struct {
	ID, Name, Email, Unit string
	Joined                time.Time
}

// AccountIDs are the accounts of the organisation.
func (o Organization) AccountIDs() []string {
	var out []string
	for _, a := range o.Accounts {
		out = append(out, a.ID)
	}
	return out
}

// Log is what the service tells about itself.
type Log struct {
	Level  string
	Format string
}

// SlogLevel is Level as package slog has it.
func (l Log) SlogLevel() slog.Level {
	var level slog.Level
	_ = level.UnmarshalText([]byte(l.Level)) // it was checked
	return level
}

// The types of sources.
const (
	SourceSQS    = "sqs"    // notifications of objects in buckets, from a queue
	SourceS3     = "s3"     // a bucket, listed again and again
	SourceFolder = "folder" // a folder of this machine, looked at again and again
	SourcePush   = "push"   // what others send by HTTP
)

// Source is where events come from. Which fields count depends on the type.
type Source struct {
	Name    string
	Type    string
	Enabled bool

	Queue             string
	Wait              time.Duration
	Visibility        time.Duration
	MaxReceives       int
	Bucket            string
	Prefix            string
	Interval          time.Duration
	Lookback          time.Duration
	Workers           int
	Accounts, Regions []string
	Path              string
	Settle            time.Duration
	Format            string
	MaxBody           int64
	AWS               AWS
}

// AWS is how a source or a bucket reaches AWS, or what speaks as it does. Without keys and profile it is the default credential chain.
type AWS struct {
	Region       string
	Endpoint     string
	S3Endpoint   string
	Profile      string
	AccessKeyID  string
	SecretKey    Secret
	SecretFile   string // read into SecretKey by [Loaded.ReadFiles]
	SessionToken Secret
	RoleARN      string
	ExternalID   string
	Anonymous    bool
}

// Secret is text that is shown as stars, whatever prints it.
type Secret string

// masked stands for a secret.
const masked = "********"

// Reveal gives the text itself.
func (s Secret) Reveal() string { return string(s) }

// String is stars, or empty.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return masked
}

// GoString is String.
func (s Secret) GoString() string { return `"` + s.String() + `"` }

// MarshalJSON writes String.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// LogValue is String.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Default is the configuration without a file.
func Default() *Config {
	c := &Config{}
	for _, s := range c.table() {
		_ = s.value.set(s.Default) // a test holds that all are fine
	}
	c.derive()
	return c
}

// derive fills in what follows from other settings.
func (c *Config) derive() {
	if c.Journal.Dir == "" && c.Journal.URL == "" {
		c.Journal.Dir = filepath.Join(c.Data, "journal")
	}
	if c.Store.Dir == "" {
		c.Store.Dir = filepath.Join(c.Data, "store")
	}
	for name, dir := range map[string]*string{"lake": &c.Lake.Dir, "buckets": &c.Buckets.Dir, "keys": &c.Keys.Dir, "topics": &c.Topics.Dir, "trails": &c.Trails.Dir} {
		if *dir == "" {
			*dir = filepath.Join(c.Data, name)
		}
	}
}

// IAMDir is the folder of the access state.
func (c *Config) IAMDir() string { return filepath.Join(c.Data, "iam") }

// SourcesDir is the folder in which sources keep how far they are.
func (c *Config) SourcesDir() string { return filepath.Join(c.Data, "sources") }

// Has says whether the process has a role.
func (c *Config) Has(role string) bool {
	for _, r := range c.Roles {
		if r == role || r == RoleAll {
			return true
		}
	}
	return false
}

// The roles of a process.
const (
	RoleAll     = "all"     // everything
	RoleAPI     = "api"     // answers over HTTP
	RoleSources = "sources" // reads from sources into the journal
	RoleStore   = "store"   // follows the journal into the store, and maintains it
)

// envName is the variable that sets key.
func envName(key string) string {
	return "SPOOR_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}
