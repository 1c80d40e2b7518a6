package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Setting is one line of the table of settings.
type Setting struct {
	Key     string   `json:"key"` // as in the file, sections with dots between them
	Kind    string   `json:"kind"`
	Default string   `json:"default"`
	Env     string   `json:"env"`
	Flag    string   `json:"flag,omitempty"` // without dashes
	Secret  bool     `json:"secret,omitempty"`
	Live    bool     `json:"live,omitempty"` // can be changed without a restart
	For     []string `json:"for,omitempty"`  // types of sources that have it
	Need    bool     `json:"need,omitempty"` // must be set
	Doc     string   `json:"doc"`

	value value
}

// Settings is the table of all settings but those of sources.
func Settings() []Setting { return describe((&Config{}).table()) }

// SourceSettings is the table of the settings that each source has. Their keys are those within the source.
func SourceSettings() []Setting { return describe((&Source{}).table()) }

func describe(table []*Setting) []Setting {
	out := make([]Setting, len(table))
	for i, s := range table {
		out[i] = *s
		out[i].value = nil
	}
	return out
}

func finish(table []*Setting) []*Setting {
	for _, s := range table {
		s.Env, s.Kind = envName(s.Key), s.value.kind()
		_, s.Secret = s.value.(secret)
	}
	return table
}

// table lists the settings of c. The order is that of files and documentation; a section is together.
func (c *Config) table() []*Setting {
	h, j, st, r, q, e, lk, org := &c.HTTP, &c.Journal, &c.Store, &c.Store.Retention, &c.Query, &c.AWS, &c.Lake, &c.Organization
	b, ba, k, tp, mail, tr := &c.Buckets, &c.Buckets.AWS, &c.Keys, &c.Topics, &c.Topics.SMTP, &c.Trails
	return finish([]*Setting{
		{Key: "data", Default: "spoor-data", Flag: "data", value: path{&c.Data}, Doc: "folder of everything that is kept"},
		{Key: "account", Default: "000000000000", value: text{&c.Account, "12 digits", checkAccount}, Doc: "account of the installation: that of its own users, and of the calls to it that it records"},
		{Key: "region", Default: "us-east-1", value: text{&c.Region, "text", checkRegion}, Doc: "Region of the calls to it that it records"},
		{Key: "roles", Default: RoleAll, Flag: "roles", value: list{&c.Roles, "all, api, sources, store", checkRole}, Doc: "what this process does: api answers over HTTP, sources reads into the journal, store follows the journal"},
		{Key: "shutdown_timeout", Default: "30s", Live: true, value: span{&c.ShutdownTimeout, time.Second, time.Hour, ""}, Doc: "how long what is under way may take to end when the process is asked to stop"},
		{Key: "memory", Default: "not set", value: size{&c.Memory, 256 * mib, 64 * tib, "not set"}, Doc: "memory that the process aims to stay within; queries come on top, see query.memory"},

		{Key: "http.listen", Default: "127.0.0.1:8484", Flag: "listen", value: text{&h.Listen, "HOST:PORT", checkListen}, Doc: "address that answers"},
		{Key: "http.tls_cert", Flag: "tls-cert", Live: true, value: path{&h.TLSCert}, Doc: "certificate chain in PEM; with it, the address speaks TLS alone"},
		{Key: "http.tls_key", Flag: "tls-key", Live: true, value: path{&h.TLSKey}, Doc: "key of the certificate in PEM"},
		{Key: "http.tls_min_version", Default: "1.2", value: choice{&h.TLSMinVersion, []string{"1.2", "1.3"}}, Doc: "oldest version of TLS"},
		{Key: "http.plain", Default: "false", value: boolean{&h.Plain}, Doc: "listen beyond this machine without TLS, for example behind a proxy that has it; tokens then travel in the clear"},
		{Key: "http.trusted_proxies", value: list{&h.TrustedProxies, "addresses and networks", checkNetwork}, Doc: "proxies whose X-Forwarded-For is believed"},
		{Key: "http.max_body", Default: "64MiB", value: size{&h.MaxBody, kib, 4 * gib, ""}, Doc: "largest request, and what it may grow to when it is decompressed"},
		{Key: "http.max_connections", Default: "1024", value: number{&h.MaxConnections, 1, 1_000_000, ""}, Doc: "connections at once; more wait"},
		{Key: "http.max_tails", Default: "64", value: number{&h.MaxTails, 1, 100_000, ""}, Doc: "live tails at once; more are refused"},
		{Key: "http.header_timeout", Default: "10s", value: span{&h.HeaderTimeout, time.Second, time.Hour, ""}, Doc: "how long the head of a request may take to arrive"},
		{Key: "http.idle_timeout", Default: "2m", value: span{&h.IdleTimeout, time.Second, day, ""}, Doc: "how long a connection without a request stays open"},

		{Key: "journal.dir", value: path{&j.Dir}, Doc: "folder of the journal; by default journal in the data folder"},
		{Key: "journal.url", Flag: "journal-url", value: text{&j.URL, "nats://HOST:PORT, more with commas", checkNATS}, Doc: "NATS system that has the journal, in place of a folder; it must have JetStream"},
		{Key: "journal.credentials_file", value: path{&j.Credentials}, Doc: "NATS credentials (JWT and seed), with journal.url"},
		{Key: "journal.tls_ca", value: path{&j.TLSCA}, Doc: "certificates in PEM that sign the NATS system's, with journal.url; else the machine's"},
		{Key: "journal.stream", Default: "SPOOR", value: text{&j.Stream, "text", checkStream}, Doc: "name of the stream"},
		{Key: "journal.replicas", Default: "1", value: number{&j.Replicas, 1, 5, ""}, Doc: "copies of the stream, with journal.url"},
		{Key: "journal.max_size", Default: "64GiB", value: size{&j.MaxSize, 16 * mib, 64 * tib, ""}, Doc: "size at which nothing more is accepted until followers have read on"},
		{Key: "journal.retain_size", Default: "1GiB", value: size{&j.RetainSize, mib, 64 * tib, ""}, Doc: "how much is kept of what all followers have read"},
		{Key: "journal.retain_age", Default: "1d", value: span{&j.RetainAge, time.Minute, 3650 * day, ""}, Doc: "how long that is kept"},
		{Key: "journal.drop_unread", Default: "false", value: boolean{&j.DropUnread}, Doc: "at max_size, drop the oldest entries that a follower has not read, in place of refusing new ones; it is counted, and logged as an error"},
		{Key: "journal.min_free", Default: "256MiB", value: size{&j.MinFree, mib, 64 * tib, ""}, Doc: "room on the disk below which nothing more is accepted"},
		{Key: "journal.max_append", Default: "64MiB", value: size{&j.MaxAppend, mib, gib, ""}, Doc: "largest batch of records, and so the largest record"},
		{Key: "journal.group_size", Default: "1MiB", value: size{&j.GroupSize, kib, 64 * mib, ""}, Doc: "size at which batches that wait are written together"},
		{Key: "journal.linger", Default: "0s", value: span{&j.Linger, 0, time.Second, ""}, Doc: "how long the first batch waits for others; those that come during a write go together in any case"},
		{Key: "journal.queue_size", Default: "64MiB", value: size{&j.QueueSize, mib, 16 * gib, ""}, Doc: "how much may wait to be written"},
		{Key: "journal.queue_wait", Default: "5s", value: span{&j.QueueWait, 10 * time.Millisecond, time.Minute, ""}, Doc: "how long a batch waits for room before its sender is told to come again later"},

		{Key: "store.dir", value: path{&st.Dir}, Doc: "folder of the store; by default store in the data folder"},
		{Key: "store.flush_rows", Default: "200000", Live: true, value: number{&st.FlushRows, 1000, 20_000_000, ""}, Doc: "events in memory at which they are written to the table"},
		{Key: "store.flush_interval", Default: "5m", Live: true, value: span{&st.FlushInterval, time.Second, day, ""}, Doc: "how long an event stays in memory alone; the journal has it too"},
		{Key: "store.max_hot_rows", Default: "1000000", value: number{&st.MaxHotRows, 1000, 100_000_000, ""}, Doc: "events in memory at which reading from the journal waits for a write"},
		{Key: "store.compact_interval", Default: "1h", Live: true, value: span{&st.CompactInterval, time.Minute, 30 * day, "never"}, Doc: "how often small files of a day are put together"},
		{Key: "store.compact_after", Default: "3h", Live: true, value: span{&st.CompactAfter, 0, 30 * day, ""}, Doc: "how long after its end a day is left alone, because events of it still come"},
		{Key: "store.compact_target", Default: "128MiB", Live: true, value: size{&st.CompactTarget, mib, 4 * gib, ""}, Doc: "size of a file that needs no company"},
		{Key: "store.expire_interval", Default: "1h", Live: true, value: span{&st.ExpireInterval, time.Minute, 30 * day, "never"}, Doc: "how often retention is applied, and files are deleted that were replaced"},
		{Key: "store.expire_grace", Default: "1h", Live: true, value: span{&st.ExpireGrace, time.Minute, 30 * day, ""}, Doc: "how long a file stays after it was replaced, so that queries can end; outside engines may want more"},
		{Key: "store.retention.management", Default: "forever", Live: true, value: span{&r.Management, day, 36500 * day, "forever"}, Doc: "how long management events are kept, from the end of their day"},
		{Key: "store.retention.data", Default: "forever", Live: true, value: span{&r.Data, day, 36500 * day, "forever"}, Doc: "the same for data events"},
		{Key: "store.retention.network_activity", Default: "forever", Live: true, value: span{&r.NetworkActivity, day, 36500 * day, "forever"}, Doc: "the same for network activity events"},
		{Key: "store.retention.insight", Default: "forever", Live: true, value: span{&r.Insight, day, 36500 * day, "forever"}, Doc: "the same for Insight events"},
		{Key: "store.retention.aggregated", Default: "forever", Live: true, value: span{&r.Aggregated, day, 36500 * day, "forever"}, Doc: "the same for aggregated events"},
		{Key: "store.retention.activity_audit_log", Default: "forever", Live: true, value: span{&r.ActivityAudit, day, 36500 * day, "forever"}, Doc: "the same for events from outside, that came by channels"},
		{Key: "store.retention.max_size", Default: "unlimited", Live: true, value: size{&r.MaxSize, 64 * mib, 1 << 60, "unlimited"}, Doc: "size of the store at which the oldest days go, whatever their class; days on hold stay"},
		{Key: "store.retention.max_size_management", Default: "unlimited", Live: true, value: size{&r.ManagementSize, mib, 1 << 60, "unlimited"}, Doc: "how much management events may take, with a share of each file that has them: where it is more, those of the oldest days go"},
		{Key: "store.retention.max_size_data", Default: "unlimited", Live: true, value: size{&r.DataSize, mib, 1 << 60, "unlimited"}, Doc: "the same for data events"},
		{Key: "store.retention.max_size_network_activity", Default: "unlimited", Live: true, value: size{&r.NetworkActivitySize, mib, 1 << 60, "unlimited"}, Doc: "the same for network activity events"},
		{Key: "store.retention.max_size_insight", Default: "unlimited", Live: true, value: size{&r.InsightSize, mib, 1 << 60, "unlimited"}, Doc: "the same for Insight events"},
		{Key: "store.retention.max_size_aggregated", Default: "unlimited", Live: true, value: size{&r.AggregatedSize, mib, 1 << 60, "unlimited"}, Doc: "the same for aggregated events"},
		{Key: "store.retention.max_size_activity_audit_log", Default: "unlimited", Live: true, value: size{&r.ActivityAuditSize, mib, 1 << 60, "unlimited"}, Doc: "the same for events from outside"},

		{Key: "query.memory", Default: "1GiB", value: size{&q.Memory, 64 * mib, 64 * tib, ""}, Doc: "memory of all queries together"},
		{Key: "query.temp", Default: "8GiB", value: size{&q.Temp, 64 * mib, 64 * tib, ""}, Doc: "room for what does not fit into it, in a temporary folder"},
		{Key: "query.threads", Default: "all", value: number{&q.Threads, 1, 1024, "all"}, Doc: "processors that a query may use"},
		{Key: "query.timeout", Default: "5m", Live: true, value: span{&q.Timeout, time.Second, day, ""}, Doc: "how long a query may take"},
		{Key: "query.max_rows", Default: "100000", Live: true, value: number{&q.MaxRows, 1, 100_000_000, ""}, Doc: "rows of an answer; more are cut off, and the answer says so"},
		{Key: "query.concurrent", Default: "4", value: number{&q.Concurrent, 1, 1000, ""}, Doc: "queries at once; more wait"},

		{Key: "iam.policies", Live: true, value: paths{list{&c.IAM.Policies, "files", nil}}, Doc: "policies in Cedar, in addition to those of the ready roles"},
		{Key: "iam.token_lifetime", Default: "90d", Live: true, value: span{&c.IAM.TokenLifetime, time.Minute, 3650 * day, "forever"}, Doc: "how long a token lasts when its maker does not say"},
		{Key: "iam.failure_burst", Default: "20", value: number{&c.IAM.FailureBurst, 1, 1_000_000, ""}, Doc: "failed attempts from an address before it has to wait"},
		{Key: "iam.failure_every", Default: "3s", value: span{&c.IAM.FailureEvery, time.Millisecond, time.Hour, ""}, Doc: "how long it waits for each further attempt"},

		{Key: "aws.listen", Default: "127.0.0.1:4599", Flag: "aws-listen", value: text{&e.Listen, "HOST:PORT, or off", checkListenOrOff}, Doc: "address that answers AWS's own clients, with TLS, connections and time limits as in http; off for none"},
		{Key: "aws.regions", Live: true, value: list{&e.Regions, "Regions", checkRegionOrAny}, Doc: "further Regions that signatures may name beside region; * for any"},
		{Key: "aws.skew", Default: "5m", Live: true, value: span{&e.Skew, time.Second, day, ""}, Doc: "how far the clock of a caller may be off"},
		{Key: "aws.max_body", Default: "4MiB", Live: true, value: size{&e.MaxBody, 64 * kib, 64 * mib, ""}, Doc: "largest request, and what it may grow to when it is decompressed"},
		{Key: "aws.in_flight", Default: "256", Live: true, value: number{&e.InFlight, 1, 100_000, ""}, Doc: "calls whose bodies are held at once; more wait"},
		{Key: "aws.lookup_extended", Default: "false", value: boolean{&e.LookupExtended}, Doc: "LookupEvents takes several attributes, of which all hold, any range of time and any rate, in place of what AWS allows"},
		{Key: "aws.lookup_scope", Default: "own", value: choice{&e.LookupScope, []string{"own", "all"}}, Doc: "which events LookupEvents finds: those of the caller's account and Region, as AWS does, or all, for who may read them"},

		{Key: "lake.dir", value: path{&lk.Dir}, Doc: "folder of event data stores, channels and query results; by default lake in the data folder"},
		{Key: "lake.concurrent", Default: "10", value: number{&lk.Concurrent, 1, 1000, ""}, Doc: "queries of event data stores that an account may have at once; more are refused"},
		{Key: "lake.timeout", Default: "1h", value: span{&lk.Timeout, time.Second, day, ""}, Doc: "how long such a query may take"},
		{Key: "lake.results_size", Default: "4GiB", value: size{&lk.ResultsSize, mib, 64 * tib, ""}, Doc: "room for the results of all of them; when it is used up, the oldest go"},
		{Key: "lake.results_age", Default: "7d", value: span{&lk.ResultsAge, time.Hour, 3650 * day, ""}, Doc: "how long results are kept"},

		{Key: "buckets.dir", value: path{&b.Dir}, Doc: "folder of the buckets that AWS's clients and trails use; by default buckets in the data folder"},
		{Key: "buckets.domains", Live: true, value: list{&b.Domains, "host names", checkHost}, Doc: "names below which a bucket has a name of its own, BUCKET.NAME, beside NAME/BUCKET"},
		{Key: "buckets.expire_interval", Default: "1d", value: span{&b.ExpireInterval, time.Minute, 30 * day, "never"}, Doc: "how often the lifecycle rules of local buckets are carried out"},
		{Key: "buckets.external", value: text{&b.External, "URL, or aws", checkExternal}, Doc: "S3 of somebody else to which trails deliver, in place of local buckets: its address, or aws for Amazon's"},
		{Key: "buckets.path_style", Default: "false", value: boolean{&b.PathStyle}, Doc: "name buckets in the path there, and not in the host name; so it is in any case where the address is no name"},
		{Key: "buckets.aws.region", value: text{&ba.Region, "text", checkRegion}, Doc: "Region there; by default that of the environment or profile"},
		{Key: "buckets.aws.profile", value: text{&ba.Profile, "text", nil}, Doc: "profile of the shared AWS configuration"},
		{Key: "buckets.aws.access_key_id", value: text{&ba.AccessKeyID, "text", nil}, Doc: "access key, in place of the default chain: environment, profile, web identity, container, instance role"},
		{Key: "buckets.aws.secret_access_key", value: secret{&ba.SecretKey}, Doc: "its secret; better in the environment or in a file"},
		{Key: "buckets.aws.secret_access_key_file", value: path{&ba.SecretFile}, Doc: "file that holds the secret"},
		{Key: "buckets.aws.session_token", value: secret{&ba.SessionToken}, Doc: "its session token, if it is a temporary one"},
		{Key: "buckets.aws.role_arn", value: text{&ba.RoleARN, "ARN", checkRoleARN}, Doc: "role to assume with the credentials"},
		{Key: "buckets.aws.external_id", value: text{&ba.ExternalID, "text", checkExternalID}, Doc: "external id for assuming it"},

		{Key: "keys.dir", value: path{&k.Dir}, Doc: "folder of the key ring; by default keys in the data folder"},
		{Key: "keys.master_key", value: secret{&k.Master}, Doc: "master key under which the keys of the ring are kept: 32 bytes, as 64 hex digits; without it, a file beside the ring holds one; better in the environment or in a file"},
		{Key: "keys.master_key_file", value: path{&k.MasterFile}, Doc: "file that holds the master key, in the same form or as spoor keys replace-master writes it"},
		{Key: "keys.external", Default: "false", value: boolean{&k.External}, Doc: "use keys of other accounts by their ARNs, at AWS KMS with the default credential chain"},

		{Key: "topics.dir", value: path{&tp.Dir}, Doc: "folder of topics, subscriptions and messages that are on their way; by default topics in the data folder"},
		{Key: "topics.url", value: text{&tp.URL, "URL", checkHTTP}, Doc: "address of the endpoint as subscribers reach it, in links of messages; by default that of aws.listen"},
		{Key: "topics.external", Default: "false", value: boolean{&tp.External}, Doc: "publish to topics of other accounts by their ARNs, at AWS with the default credential chain"},
		{Key: "topics.deny_addresses", value: list{&tp.Deny, "addresses and networks", checkNetwork}, Doc: "where messages do not go by http, https and nats, beside link-local addresses, where clouds have their credentials"},
		{Key: "topics.allow_addresses", value: list{&tp.Allow, "addresses and networks", checkNetwork}, Doc: "where they go all the same"},
		{Key: "topics.smtp.address", value: text{&mail.Address, "HOST:PORT", checkListen}, Doc: "mail server for subscriptions by e-mail; without it there are none"},
		{Key: "topics.smtp.from", value: text{&mail.From, "text", checkEmail}, Doc: "sender of mails"},
		{Key: "topics.smtp.username", value: text{&mail.Username, "text", nil}, Doc: "name for the mail server"},
		{Key: "topics.smtp.password", value: secret{&mail.Password}, Doc: "its password; better in the environment or in a file"},
		{Key: "topics.smtp.password_file", value: path{&mail.PasswordFile}, Doc: "file that holds the password"},
		{Key: "topics.smtp.tls", Default: "starttls", value: choice{&mail.TLS, []string{"starttls", "tls", "none"}}, Doc: "how the connection is protected; none is for a server on this machine"},

		{Key: "trails.dir", value: path{&tr.Dir}, Doc: "folder of trails, and of log files that are on their way to buckets; by default trails in the data folder"},
		{Key: "trails.interval", Default: "5m", value: span{&tr.Interval, time.Second, day, ""}, Doc: "how long events are collected into a log file"},
		{Key: "trails.digest_interval", Default: "1h", value: span{&tr.Digest, time.Second, day, ""}, Doc: "what a digest file spans; CloudTrail's is an hour, and so it is to be but for trials"},
		{Key: "trails.max_file", Default: "45MiB", value: size{&tr.MaxFile, mib, 50 * mib, ""}, Doc: "size before compression at which a log file is complete"},
		{Key: "trails.max_spool", Default: "16GiB", value: size{&tr.MaxSpool, 64 * mib, 64 * tib, ""}, Doc: "room for log files that their buckets do not take; when it is used up, nothing more is read from the journal until they do"},
		{Key: "trails.sources", Live: true, value: list{&tr.Sources, "sources, or *", checkTrailSource}, Doc: "whose events trails deliver: spoor for those that the service records, names of sources, * for all; by default spoor and all push sources, so that nothing is delivered again that was read from log files"},

		{Key: "organization.id", value: text{&org.ID, "text", checkOrganization}, Doc: "id of the organisation that AWS's clients are told of, such as o-spoor00001; without it there is none"},
		{Key: "organization.root", value: text{&org.Root, "text", checkRoot}, Doc: "id of its root, such as r-spoo"},
		{Key: "organization.management", value: text{&org.Management, "12 digits", checkAccount}, Doc: "its management account"},
		{Key: "organization.units", value: entries[Unit]{&org.Units, (*Unit).table}, Doc: "its organisational units; without a parent a unit is below the root"},
		{Key: "organization.accounts", value: entries[Account]{&org.Accounts, (*Account).table}, Doc: "its accounts, account and the management account among them; without a unit an account is in the root"},

		{Key: "log.level", Default: "info", Flag: "log-level", Live: true, value: choice{&c.Log.Level, []string{"debug", "info", "warn", "error"}}, Doc: "the least important messages that are written"},
		{Key: "log.format", Default: "text", Flag: "log-format", value: choice{&c.Log.Format, []string{"text", "json"}}, Doc: "form of messages, on standard error"},
	})
}

// table lists what is said of a unit.
func (u *Unit) table() []*Setting {
	return finish([]*Setting{
		{Key: "id", Need: true, value: text{&u.ID, "text", checkUnit}},
		{Key: "name", Need: true, value: text{&u.Name, "text", checkName}},
		{Key: "parent", value: text{&u.Parent, "text", checkParent}},
	})
}

// table lists what is said of an account.
func (a *Account) table() []*Setting {
	return finish([]*Setting{
		{Key: "id", Need: true, value: text{&a.ID, "12 digits", checkAccount}},
		{Key: "name", Need: true, value: text{&a.Name, "text", checkName}},
		{Key: "email", value: text{&a.Email, "text", checkEmail}},
		{Key: "unit", value: text{&a.Unit, "text", checkParent}},
		{Key: "joined", value: date{&a.Joined}},
	})
}

// table lists the settings of a source.
func (s *Source) table() []*Setting {
	queue, bucket, folder, push := []string{SourceSQS}, []string{SourceS3}, []string{SourceFolder}, []string{SourcePush}
	aws := []string{SourceSQS, SourceS3}
	pull := []string{SourceSQS, SourceS3, SourceFolder}
	a := &s.AWS
	return finish([]*Setting{
		{Key: "name", Need: true, value: text{&s.Name, "text", checkSourceName}, Doc: "name in the ledger, in metrics and in policies; small letters, digits and hyphens"},
		{Key: "type", Need: true, value: choice{&s.Type, []string{SourceSQS, SourceS3, SourceFolder, SourcePush}}, Doc: "sqs: notifications of a bucket; s3: a bucket that is listed; folder: a folder of this machine; push: what others send by HTTP"},
		{Key: "enabled", Default: "true", Live: true, value: boolean{&s.Enabled}, Doc: "whether it is read"},

		{Key: "queue", For: queue, Need: true, value: text{&s.Queue, "URL", checkHTTP}, Doc: "address of the queue that gets the bucket's notifications, directly, through SNS or through EventBridge"},
		{Key: "wait", Default: "20s", For: queue, value: span{&s.Wait, 0, 20 * time.Second, ""}, Doc: "how long a request waits for messages"},
		{Key: "visibility", Default: "5m", For: queue, value: span{&s.Visibility, 10 * time.Second, 12 * time.Hour, ""}, Doc: "how long a message that was taken is hidden from others; it is prolonged while it is worked on"},
		{Key: "max_receives", Default: "5", For: queue, value: number{&s.MaxReceives, 1, 1000, ""}, Doc: "how often a message is tried before it goes to the dead letters"},

		{Key: "bucket", For: bucket, Need: true, value: text{&s.Bucket, "text", checkBucket}, Doc: "name of the bucket, or ARN of an access point"},
		{Key: "prefix", For: bucket, value: text{&s.Prefix, "text", nil}, Doc: "what keys begin with, such as AWSLogs/"},
		{Key: "lookback", Default: "7d", For: bucket, value: span{&s.Lookback, time.Hour, 36500 * day, "forever"}, Doc: "days of the trail's layout that are listed again and again, because logs still come; older ones are listed at start"},

		{Key: "path", For: folder, Need: true, value: path{&s.Path}, Doc: "the folder, with those below it"},
		{Key: "settle", Default: "2s", For: folder, value: span{&s.Settle, 0, time.Hour, ""}, Doc: "how long a file must not have changed before it is read"},

		{Key: "interval", Default: "1m", For: []string{SourceS3, SourceFolder}, value: span{&s.Interval, time.Second, day, ""}, Doc: "how often it is looked at"},
		{Key: "workers", Default: "4", For: pull, value: number{&s.Workers, 1, 256, ""}, Doc: "objects that are read at once"},
		{Key: "accounts", For: pull, value: list{&s.Accounts, "accounts", checkAccount}, Doc: "only events of these; empty for all"},
		{Key: "regions", For: pull, value: list{&s.Regions, "Regions", checkRegion}, Doc: "only events of these; empty for all"},

		{Key: "format", Default: "auto", For: push, value: choice{&s.Format, []string{"auto", "records", "eventbridge", "logs"}}, Doc: "what is sent: records of CloudTrail in any shape, events of EventBridge, or subscriptions of CloudWatch Logs"},
		{Key: "max_body", Default: "64MiB", For: push, value: size{&s.MaxBody, kib, 4 * gib, ""}, Doc: "largest request, and what it may grow to; http.max_body is a limit too"},

		{Key: "aws.region", For: aws, value: text{&a.Region, "text", checkRegion}, Doc: "Region; by default that of the environment or profile, for a queue that of its address"},
		{Key: "aws.endpoint", For: aws, value: text{&a.Endpoint, "URL", checkHTTP}, Doc: "address of another service than Amazon's"},
		{Key: "aws.s3_endpoint", For: queue, value: text{&a.S3Endpoint, "URL", checkHTTP}, Doc: "the same for the buckets that notifications name"},
		{Key: "aws.profile", For: aws, value: text{&a.Profile, "text", nil}, Doc: "profile of the shared AWS configuration"},
		{Key: "aws.access_key_id", For: aws, value: text{&a.AccessKeyID, "text", nil}, Doc: "access key, in place of the default chain: environment, profile, web identity, container, instance role"},
		{Key: "aws.secret_access_key", For: aws, value: secret{&a.SecretKey}, Doc: "its secret; better in the environment or in a file"},
		{Key: "aws.secret_access_key_file", For: aws, value: path{&a.SecretFile}, Doc: "file that holds the secret"},
		{Key: "aws.session_token", For: aws, value: secret{&a.SessionToken}, Doc: "its session token, if it is a temporary one"},
		{Key: "aws.role_arn", For: aws, value: text{&a.RoleARN, "ARN", checkRoleARN}, Doc: "role to assume with the credentials"},
		{Key: "aws.external_id", For: aws, value: text{&a.ExternalID, "text", checkExternalID}, Doc: "external id for assuming it"},
		{Key: "aws.anonymous", Default: "false", For: bucket, value: boolean{&a.Anonymous}, Doc: "no credentials, for public buckets"},
	})
}

// applies says whether sources of a type have the setting.
func (s *Setting) applies(typ string) bool { return s.For == nil || slices.Contains(s.For, typ) }

var (
	accountForm  = regexp.MustCompile(`^[0-9]{12}$`)
	regionForm   = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	nameForm     = regexp.MustCompile(`^[a-z0-9](-?[a-z0-9])*$`)
	bucketForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]+$`)
	streamForm   = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	roleForm     = regexp.MustCompile(`^arn:[a-z0-9-]+:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$`)
	orgForm      = regexp.MustCompile(`^o-[a-z0-9]{10,32}$`)
	rootForm     = regexp.MustCompile(`^r-[a-z0-9]{4,32}$`)
	unitForm     = regexp.MustCompile(`^ou-[a-z0-9]{4,32}-[a-z0-9]{8,32}$`)
	parentForm   = regexp.MustCompile(`^(r-[a-z0-9]{4,32}|ou-[a-z0-9]{4,32}-[a-z0-9]{8,32})$`)
	shownForm    = regexp.MustCompile(`^[\pL\pN\pP\pS]([\pL\pN\pP\pS ]*[\pL\pN\pP\pS])?$`)
	emailForm    = regexp.MustCompile(`^[^\s@]+@[^\s@]+\.[^\s@]+$`)
	hostForm     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
	externalForm = regexp.MustCompile(`^[A-Za-z0-9+=,.@:/_-]{2,}$`)
)

// form checks text by its form and its length.
func form(f *regexp.Regexp, most int, want string) func(string) error {
	return func(s string) error {
		if len(s) > most || !f.MatchString(s) {
			return fmt.Errorf("%.80q: want %s", s, want)
		}
		return nil
	}
}

func checkAccount(s string) error { return form(accountForm, 12, "12 digits")(s) }
func checkRegion(s string) error  { return form(regionForm, 64, "a Region such as eu-central-1")(s) }
func checkSourceName(s string) error {
	return form(nameForm, 63, "small letters, digits and single hyphens between them, at most 63")(s)
}
func checkStream(s string) error {
	return form(streamForm, 64, "up to 64 letters, digits, hyphens and underscores")(s)
}
func checkRoleARN(s string) error {
	return form(roleForm, 2048, "the ARN of a role, arn:aws:iam::ACCOUNT:role/NAME")(s)
}
func checkExternalID(s string) error {
	return form(externalForm, 1224, "2 to 1224 letters, digits and +=,.@:/_-")(s)
}

func checkOrganization(s string) error {
	return form(orgForm, 34, "o- and 10 to 32 small letters and digits")(s)
}
func checkRoot(s string) error {
	return form(rootForm, 34, "r- and 4 to 32 small letters and digits")(s)
}
func checkUnit(s string) error {
	return form(unitForm, 68, "ou-, 4 to 32 small letters and digits, a hyphen and 8 to 32 more")(s)
}
func checkParent(s string) error { return form(parentForm, 68, "the id of a unit or of the root")(s) }
func checkName(s string) error {
	return form(shownForm, 128, "a name of one line, up to 128 bytes")(s)
}
func checkEmail(s string) error { return form(emailForm, 64, "an address such as it@example.com")(s) }

// checkHost checks a host name.
func checkHost(s string) error {
	return form(hostForm, 253, "a host name such as s3.example.com")(s)
}

func checkExternal(s string) error {
	if s == AmazonS3 {
		return nil
	}
	return checkHTTP(s)
}

func checkTrailSource(s string) error {
	if s == "*" {
		return nil
	}
	return checkSourceName(s)
}

func checkRegionOrAny(s string) error {
	if s == "*" {
		return nil
	}
	return checkRegion(s)
}

func checkListenOrOff(s string) error {
	if s == Off {
		return nil
	}
	if checkListen(s) != nil && !strings.Contains(s, ":") {
		return fmt.Errorf("%.80q: want HOST:PORT, such as 127.0.0.1:4599, or off", s)
	}
	return checkListen(s)
}

func checkBucket(s string) error {
	if strings.HasPrefix(s, "arn:") {
		return nil
	}
	if strings.HasPrefix(s, "s3://") {
		return fmt.Errorf("%.80q: want the name alone; what follows it goes into prefix", s)
	}
	return form(bucketForm, 255, "the name of a bucket")(s)
}

func checkRole(s string) error {
	all := []string{RoleAll, RoleAPI, RoleSources, RoleStore}
	if !slices.Contains(all, s) {
		return fmt.Errorf("%.40q: want %s", s, alternatives(all))
	}
	return nil
}

func checkListen(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%.80q: want HOST:PORT, such as 127.0.0.1:8484", s)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%.80q: want a port from 0 to 65535", s)
	}
	if strings.ContainsAny(host, "/ ") {
		return fmt.Errorf("%.80q: want HOST:PORT, such as 127.0.0.1:8484", s)
	}
	return nil
}

// loopback says whether only this machine reaches an address.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().IsLoopback()
	}
	return host == "localhost"
}

func parseNetwork(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%.80q: want an address or a network, such as 10.0.0.0/8", s)
	}
	return a.WithZone("").Prefix(a.BitLen())
}

func checkNetwork(s string) error { _, err := parseNetwork(s); return err }

func checkURL(s string, schemes ...string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || !slices.Contains(schemes, u.Scheme) {
		return fmt.Errorf("want a URL that begins with %s://", strings.Join(schemes, ":// or "))
	}
	if u.User != nil {
		return errors.New("credentials do not belong into a URL")
	}
	return nil
}

func checkHTTP(s string) error { return checkURL(s, "https", "http") }

func checkNATS(s string) error {
	for one := range strings.SplitSeq(s, ",") {
		if err := checkURL(strings.TrimSpace(one), "nats", "tls"); err != nil {
			return err
		}
	}
	return nil
}
