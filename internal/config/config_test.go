package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// load reads text as the file /etc/spoor/spoor.yaml.
func load(text string, env []string, flags ...Override) (*Loaded, error) {
	return Load(Options{File: filepath.Join("/etc", "spoor", "spoor.yaml"), Text: []byte(text), Env: env, Flags: flags})
}

func mustLoad(t *testing.T, text string, env []string, flags ...Override) *Loaded {
	t.Helper()
	l, err := load(text, env, flags...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// problems gives the problems of an error, without the folder of the file.
func problems(t *testing.T, err error) []string {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%v", err)
	}
	var out []string
	for _, p := range e.Problems {
		out = append(out, strings.TrimPrefix(p.String(), filepath.Join("/etc", "spoor")+string(filepath.Separator)))
	}
	return out
}

func TestTable(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, table := range [][]*Setting{(&Config{}).table(), (&Source{}).table()} {
		for _, s := range table {
			if !regexp.MustCompile(`^[a-z0-9_]+(\.[a-z0-9_]+)*$`).MatchString(s.Key) || s.Doc == "" || s.Kind == "" || strings.HasSuffix(s.Doc, ".") {
				t.Errorf("%+v", s)
			}
			for _, name := range []string{s.Env, "--" + s.Flag} {
				if other, ok := seen[name]; ok && name != "--" {
					t.Errorf("%s and %s are both set by %s", s.Key, other, name)
				}
				seen[name] = s.Key
			}
			if s.Default == "" {
				continue
			}
			if err := s.value.set(s.Default); err != nil {
				t.Errorf("%s: the default %q: %v", s.Key, s.Default, err)
			}
			if got := s.value.text(); got != s.Default {
				t.Errorf("%s: the default %q is written %q", s.Key, s.Default, got)
			}
			if err := s.value.set("\x00 no value at all"); err == nil {
				t.Errorf("%s takes anything", s.Key)
			}
		}
		clear(seen)
	}
}

func TestDefault(t *testing.T) {
	t.Parallel()
	c := Default()
	l, err := Load(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprintf("%+v", l.Config), fmt.Sprintf("%+v", c); got != want {
		t.Errorf("without anything\n%s\nby default\n%s", got, want)
	}
	if c.Data != "spoor-data" || c.Journal.Dir != filepath.Join("spoor-data", "journal") || c.Store.Dir != filepath.Join("spoor-data", "store") ||
		c.IAMDir() != filepath.Join("spoor-data", "iam") || c.HTTP.Listen != "127.0.0.1:8484" || !c.Has(RoleStore) || len(c.Store.Retention.Ages()) != 0 ||
		c.Query.Threads != 0 || c.Memory != 0 || c.Log.SlogLevel() != slog.LevelInfo || c.IAM.TokenLifetime != 90*day {
		t.Errorf("%+v", c)
	}
	for _, e := range l.Effective() {
		if e.Origin.Kind != FromDefault {
			t.Errorf("%+v", e)
		}
	}
}

const full = `
data: /var/lib/spoor
account: 000011112222   # digits, not a number in octal
http:
  listen: 0.0.0.0:443
  tls_cert: tls/cert.pem
  tls_key: /secret/key.pem
  trusted_proxies: [10.0.0.0/8, 192.0.2.1]
journal: {max_size: 20GiB, retain_age: 2d12h}
store:
  flush_interval: 1m30s
  retention:
    data: 90d
    insight: forever
iam:
  policies:
    - extra.cedar
    - /etc/other.cedar
log:
sources:
  - name: trail
    type: sqs
    queue: https://sqs.eu-central-1.amazonaws.com/111122223333/q
    aws:
      role_arn: arn:aws:iam::111122223333:role/reader
      external_id: x-1
      access_key_id: AKIAEXAMPLE
      secret_access_key: verysecret
  - {name: drop-box, type: folder, path: ../in, accounts: ["111122223333"]}
`

func TestLoad(t *testing.T) {
	t.Parallel()
	l := mustLoad(t, full, []string{"SPOOR_DATA=/env", "SPOOR_LOG_LEVEL=debug", "SPOOR_ROLES=", "HOME=/x", "SPOOR_SOURCES_DROP_BOX_PATH=in",
		"SPOOR_HTTP_TRUSTED_PROXIES=::1, 10.1.0.0/16", "SPOOR_STORE_FLUSH_ROW=5", "SPOOR_SERVICE_HOST=1", "SPOOR_TOKEN=x"},
		Override{"log.level", "warn", "--log-level"}, Override{"sources.trail.wait", "5s", "--set"})
	c := l.Config
	base := filepath.Join("/etc", "spoor")
	for _, x := range []struct{ got, want any }{
		{c.Data, "/env"},
		{c.Account, "000011112222"},
		{c.Store.Dir, filepath.Join("/env", "store")},
		{c.HTTP.TLSCert, filepath.Join(base, "tls", "cert.pem")},
		{c.HTTP.TLSKey, "/secret/key.pem"},
		{fmt.Sprint(c.HTTP.Proxies()), "[::1/128 10.1.0.0/16]"},
		{c.Journal.MaxSize, int64(20 << 30)},
		{c.Journal.RetainAge, 60 * time.Hour},
		{c.Store.FlushInterval, 90 * time.Second},
		{fmt.Sprint(c.Store.Retention.Ages()), "map[Data:2160h0m0s]"},
		{fmt.Sprint(c.IAM.Policies), fmt.Sprint([]string{filepath.Join(base, "extra.cedar"), "/etc/other.cedar"})},
		{c.Log.Level, "warn"},
		{len(c.Sources), 2},
		{c.Sources[0].AWS.SecretKey.Reveal(), "verysecret"},
		{c.Sources[0].Wait, 5 * time.Second},
		{c.Sources[0].Visibility, 5 * time.Minute},
		{c.Sources[0].Enabled, true},
		{c.Sources[1].Path, "in"}, // from the environment: relative to the working folder
		{c.Sources[1].Accounts[0], "111122223333"},
		{strings.Join(l.Warnings, "|"), "the variable SPOOR_STORE_FLUSH_ROW sets nothing; did you mean SPOOR_STORE_FLUSH_ROWS?"},
	} {
		if x.got != x.want {
			t.Errorf("%v, want %v", x.got, x.want)
		}
	}
	origins := map[string]string{}
	for _, e := range l.Effective() {
		origins[e.Key] = strings.TrimSpace(string(e.Origin.Kind) + " " + strings.TrimPrefix(e.Origin.Where, base+string(filepath.Separator)))
	}
	for key, want := range map[string]string{"data": "env SPOOR_DATA", "log.level": "flag --log-level", "journal.max_size": "file spoor.yaml:9:21", "query.memory": "default",
		"sources.trail.wait": "flag --set", "sources.drop-box.path": "env SPOOR_SOURCES_DROP_BOX_PATH", "store.retention.data": "file spoor.yaml:13:11", "iam.policies": "file spoor.yaml:17:5"} {
		if origins[key] != want {
			t.Errorf("%s is from %q, want %q", key, origins[key], want)
		}
	}
	if _, ok := origins["sources.trail.bucket"]; ok {
		t.Error("a queue has no bucket")
	}

	// No way of printing shows the secret.
	text := l.YAML()
	b, err := json.Marshal(struct {
		C any
		E any
	}{c, l.Effective()})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", c.Sources[0].AWS.SecretKey, "aws", c.Sources[0].AWS)
	for _, s := range []string{text, string(b), fmt.Sprintf("%v %+v %#v %s", c.Sources, c.Sources, c.Sources, c.Sources[0].AWS.SecretKey), log.String()} {
		if strings.Contains(s, "verysecret") || !strings.Contains(s, masked) {
			t.Errorf("the secret in %s", s)
		}
	}
	// But for the secret, what is shown gives the same again.
	again, err := load(text, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	again.Config.Sources[0].AWS.SecretKey = "verysecret"
	again.Config.Sources[1].Path = "in" // relative to the file now
	if got, want := fmt.Sprintf("%+v", again.Config), fmt.Sprintf("%+v", c); got != strings.ReplaceAll(want, "TLSCert:tls", "") {
		t.Errorf("%s\n%s\n%s", text, got, want)
	}
	if !strings.Contains(text, "\n  max_size: 20GiB                               # file /etc/spoor/spoor.yaml:9:21\n") && filepath.Separator == '/' {
		t.Error(text)
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		env        []string
		flags      []Override
		want       []string
	}{
		{name: "all at once", text: "dta: x\nhttp:\n  lisen: y\n  max_body: 1XB\nstore: {flush_rows: many}\nflush_interval: 1m\nlog: {level: loud, color: true}\n",
			env: []string{"SPOOR_QUERY_TIMEOUT=soon"}, flags: []Override{{"query.max_rows", "0", "--set"}, {"querry.threads", "1", "--set"}},
			want: []string{
				"spoor.yaml:1:1: dta: unknown key; did you mean data?",
				"spoor.yaml:3:3: http.lisen: unknown key; did you mean listen?",
				`spoor.yaml:4:13: http.max_body: "1XB" is no size: want one such as 512KiB, 64MiB or 10GB`,
				"spoor.yaml:5:21: store.flush_rows: want a number from 1000 to 20000000",
				"spoor.yaml:6:1: flush_interval: unknown key; did you mean store.flush_interval?",
				"spoor.yaml:7:14: log.level: want debug, info, warn or error",
				"spoor.yaml:7:20: log.color: unknown key",
				`SPOOR_QUERY_TIMEOUT: query.timeout: "soon" is no span: want one such as 30s, 5m, 12h or 7d`,
				"--set: query.max_rows: want a number from 1 to 100000000",
				"--set: querry.threads: unknown key; did you mean query.threads?",
			}},
		{name: "shapes", text: "data: [a]\nhttp: here\nroles: all\njournal: {dir: , dir: x}\nlog:\n  level: {}\nstore: [x]\nquery: {? [a] : b}\niam: {policies: [{}]}\nregion: !x y\nhttp.listen: x\n",
			want: []string{
				"spoor.yaml:1:7: data: want path, not a list",
				"spoor.yaml:2:7: http: want a section with keys, not a single value",
				"spoor.yaml:3:8: roles: want a list, such as [a, b], not a single value",
				"spoor.yaml:4:16: journal.dir: it has no value; leave it out for the default",
				"spoor.yaml:4:18: journal.dir: set twice",
				"spoor.yaml:6:10: log.level: want debug, info, warn or error, not a section",
				"spoor.yaml:7:8: store: want a section with keys, not a list",
				"spoor.yaml:8:11: query: a key that is a list",
				"spoor.yaml:9:18: iam.policies: want text in the list, not a section",
				"spoor.yaml:10:9: region: want text, not a tagged value",
				"spoor.yaml:11:1: http.listen: write sections below each other, without dots",
			}},
		{name: "list", text: "- a\n", want: []string{"spoor.yaml:1:1: want a section with keys, not a list"}},
		{name: "alias", text: "data: &x y\nregion: *x\n", want: []string{"spoor.yaml:2:9: region: want text, not an alias, which a configuration has not"}},
		{name: "syntax", text: "a: b\n  c: [\n", want: []string{"spoor.yaml:2: not YAML: mapping values are not allowed in this context"}},
		{name: "two documents", text: "data: a\n---\ndata: b\n", want: []string{"spoor.yaml:2:1: a second document: want one"}},
		{name: "TLS", text: "http: {tls_key: x, listen: '0.0.0.0:1'}\n", want: []string{"spoor.yaml:1:17: http.tls_key: http.tls_cert is missing: the two belong together"}},
		{name: "in the clear", text: "http: {listen: ':80'}\n", want: []string{"spoor.yaml:1:16: http.listen: :80 can be reached from other machines, and tokens would travel in the clear: set http.tls_cert and http.tls_key, or http.plain behind a proxy that has TLS"}},
		{name: "addresses", text: "http: {listen: 'here', trusted_proxies: [x/8]}\njournal: {url: 'http://x'}\n", want: []string{
			`spoor.yaml:1:16: http.listen: "here": want HOST:PORT, such as 127.0.0.1:8484`,
			`spoor.yaml:1:41: http.trusted_proxies: "x/8": want an address or a network, such as 10.0.0.0/8`,
			"spoor.yaml:2:16: journal.url: want a URL that begins with nats:// or tls://"}},
		{name: "credentials in a URL", text: "journal: {url: 'nats://me:hush@x:4222'}\n", want: []string{"spoor.yaml:1:16: journal.url: credentials do not belong into a URL"}},
		{name: "relations", text: "roles: [all, api]\njournal: {dir: x, url: 'nats://x:4222', max_append: 1GiB, retain_size: 1TiB}\nstore: {max_hot_rows: 1000}\n", want: []string{
			"spoor.yaml:1:8: roles: all stands alone",
			"spoor.yaml:2:16: journal.dir: it is not used with journal.url",
			"spoor.yaml:2:53: journal.max_append: a batch of 1GiB does not fit into journal.queue_size, 64MiB",
			"spoor.yaml:2:72: journal.retain_size: 1TiB is more than journal.max_size, 64GiB",
			"spoor.yaml: store.flush_rows: 200000 are more than store.max_hot_rows, 1000"}},
		{name: "roles", text: "roles: [api]\njournal: {replicas: 3}", want: []string{
			"spoor.yaml:2:21: journal.replicas: it is not used without journal.url",
			"spoor.yaml:1:8: roles: a process with a part of the roles needs a journal that it shares with others: set journal.url"}},
		{name: "AWS in the clear", text: "aws: {listen: ':80', regions: [x_y]}\n", want: []string{`spoor.yaml:1:31: aws.regions: "x_y": want a Region such as eu-central-1`}},
		{name: "AWS beyond this machine", text: "aws: {listen: ':80'}\n", want: []string{"spoor.yaml:1:15: aws.listen: :80 can be reached from other machines, and credentials of sessions would travel in the clear: set http.tls_cert and http.tls_key, or http.plain behind a proxy that has TLS"}},
		{name: "what trails need", text: "buckets: {path_style: true, aws: {access_key_id: AKIA}}\nkeys: {master_key: short}\ntopics: {smtp: {address: 'mail.example.com:25', username: u, password: p, tls: none}}\ntrails: {sources: [spoor, other]}\n", want: []string{
			"spoor.yaml:1:50: buckets.aws.access_key_id: aws.secret_access_key is missing: the two belong together",
			"spoor.yaml:1:23: buckets.path_style: it is not used without buckets.external",
			"spoor.yaml:1:50: buckets.aws.access_key_id: it is not used without buckets.external",
			"spoor.yaml:2:20: keys.master_key: it is not 64 hex digits",
			"spoor.yaml: topics.smtp.from: it is missing: mails have a sender",
			"spoor.yaml:4:19: trails.sources: there is no source other"}},
		{name: "AWS nowhere", text: "aws: {listen: 'none', skew: 0s, lookup_scope: some}\n", want: []string{
			`spoor.yaml:1:15: aws.listen: "none": want HOST:PORT, such as 127.0.0.1:4599, or off`,
			"spoor.yaml:1:29: aws.skew: want a span from 1s to 1d",
			"spoor.yaml:1:47: aws.lookup_scope: want own or all"}},
		{name: "one address for two", text: "http: {listen: 'localhost:4000'}\naws: {listen: 'localhost:4000'}\n", want: []string{"spoor.yaml:2:15: aws.listen: http.listen is localhost:4000 too: want an address of its own"}},
		{name: "organisation without an id", text: "organization:\n  root: r-abcd\n  accounts: [{id: '000000000000', name: One}]\n", want: []string{
			"spoor.yaml:2:9: organization.root: it is not used without organization.id",
			"spoor.yaml:3:13: organization.accounts: it is not used without organization.id"}},
		{name: "organisation without a root", text: "organization: {id: o-abcdefghij, management: '000000000000'}\n", want: []string{"spoor.yaml: organization.root: an organisation has one: it is missing"}},
		{name: "entries", text: "organization:\n  id: o-short\n  units: {id: x}\n  accounts:\n    - x\n    - {id: '12', nme: One, email: nobody, joined: soon, unit: x}\n    - {id: '111122223333', id: '111122223333', name: ''}\n",
			env: []string{"SPOOR_ORGANIZATION_UNITS=[{name: One, id: x}"}, want: []string{
				`spoor.yaml:2:7: organization.id: "o-short": want o- and 10 to 32 small letters and digits`,
				"spoor.yaml:3:10: organization.units: want a list of {id, name, parent}, not a section",
				"spoor.yaml:5:7: organization.accounts: want {id, name, email, unit, joined}, not a single value",
				`spoor.yaml:6:12: organization.accounts: id: "12": want 12 digits`,
				`spoor.yaml:6:18: organization.accounts: unknown key "nme"; want id, name, email, unit, joined`,
				`spoor.yaml:6:35: organization.accounts: email: "nobody": want an address such as it@example.com`,
				`spoor.yaml:6:51: organization.accounts: joined: "soon" is no date: want one such as 2026-01-31`,
				`spoor.yaml:6:63: organization.accounts: unit: "x": want the id of a unit or of the root`,
				"spoor.yaml:6:7: organization.accounts: name is missing",
				"spoor.yaml:7:28: organization.accounts: id is set twice",
				"spoor.yaml:7:54: organization.accounts: name is empty",
				"SPOOR_ORGANIZATION_UNITS: organization.units: not YAML: line 1: did not find expected ',' or ']'"}},
		{name: "organisation", text: `account: "111111111111"
organization:
  id: o-abcdefghij
  root: r-abcd
  management: "222222222222"
  units: [{id: ou-abcd-11111111, name: One, parent: ou-abcd-22222222}, {id: ou-abcd-22222222, name: Two, parent: ou-abcd-11111111}, {id: ou-abcd-33333333, name: Three, parent: ou-abcd-44444444}, {id: ou-abcd-33333333, name: Four}]
  accounts: [{id: "333333333333", name: One, unit: ou-abcd-55555555}, {id: "333333333333", name: Two}]
`, want: []string{
			"spoor.yaml:6:10: organization.units: unit ou-abcd-33333333 is there twice",
			"spoor.yaml:6:10: organization.units: unit ou-abcd-11111111 is below itself",
			"spoor.yaml:6:10: organization.units: unit ou-abcd-22222222 is below itself",
			"spoor.yaml:7:13: organization.accounts: account 333333333333 is in ou-abcd-55555555, which is not there",
			"spoor.yaml:7:13: organization.accounts: account 333333333333 is there twice",
			"spoor.yaml:5:15: organization.management: account 222222222222 is not among organization.accounts",
			"spoor.yaml:7:13: organization.accounts: the account of the installation, 111111111111, is not among them"}},
		{name: "no role", text: "roles: []", want: []string{"spoor.yaml:1:8: roles: a process without a role does nothing"}},
		{name: "sources", text: `sources:
  - {name: a, type: s3}
  - {name: a, type: folder, path: x}
  - {type: push}
  - {name: B_c, type: queue}
  - {name: d}
  - {name: e, type: folder, path: x, bucket: yyy, qeue: z}
  - text
`, want: []string{
			`spoor.yaml:3:5: sources: there is another source "a"`,
			`spoor.yaml:5:12: sources.[3].name: "B_c": want small letters, digits and single hyphens between them, at most 63`,
			"spoor.yaml:5:23: sources.[3].type: want sqs, s3, folder or push",
			"spoor.yaml:7:51: sources.e.qeue: unknown key; did you mean queue?",
			"spoor.yaml:8:5: sources: want a source with name and type, not a single value",
			"spoor.yaml:2:12: sources.a.bucket: source a needs it: name of the bucket, or ARN of an access point",
			"spoor.yaml:4:5: sources.[2].name: source [2] needs it: name in the ledger, in metrics and in policies; small letters, digits and hyphens",
			"spoor.yaml:6:12: sources.d.type: source d needs it: sqs: notifications of a bucket; s3: a bucket that is listed; folder: a folder of this machine; push: what others send by HTTP",
			"spoor.yaml:7:46: sources.e.bucket: a source of type folder has no such setting, s3 has",
		}},
		{name: "no list of sources", text: "sources: {name: x}\n", want: []string{"spoor.yaml:1:10: sources: want a list of sources, each with name and type, not a section"}},
		{name: "credentials", text: `sources:
  - {name: a, type: s3, bucket: my-bucket, aws: {access_key_id: x}}
  - {name: b, type: s3, bucket: my-bucket, aws: {secret_access_key_file: x}}
  - {name: c, type: s3, bucket: my-bucket, aws: {access_key_id: x, secret_access_key: y, secret_access_key_file: z}}
  - {name: d, type: s3, bucket: my-bucket, prefix: /x, aws: {external_id: xx, profile: p, anonymous: true}}
  - {name: e, type: sqs, queue: "https://x/y", wait: 20s, visibility: 30s, aws: {access_key_id: x, secret_access_key: y, profile: z}}
`, want: []string{
			"spoor.yaml:2:65: sources.a.aws.access_key_id: aws.secret_access_key is missing: the two belong together",
			"spoor.yaml:3:74: sources.b.aws.secret_access_key_file: aws.access_key_id is missing: the two belong together",
			"spoor.yaml:4:114: sources.c.aws.secret_access_key_file: aws.secret_access_key is set too: want one of the two",
			"spoor.yaml:5:75: sources.d.aws.external_id: aws.role_arn is missing",
			"spoor.yaml:5:102: sources.d.aws.anonymous: there are credentials too",
			"spoor.yaml:5:52: sources.d.prefix: keys do not begin with a slash",
			"spoor.yaml:6:131: sources.e.aws.profile: aws.access_key_id is set too: want one of the two",
			"spoor.yaml:6:71: sources.e.visibility: 30s is too short beside wait, 20s: want twice as much"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := load(c.text, c.env, c.flags...)
			if err == nil {
				t.Fatal("fine")
			}
			if got := problems(t, err); !slices.Equal(got, c.want) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
			}
			if strings.Contains(err.Error(), "hush") {
				t.Error("the error has a password")
			}
		})
	}
	for _, fine := range []string{"", "# nothing\n", "---\n", "http:\n", "sources:\n", "sources: []\n", "http: {listen: ':80', plain: true}\n", "http: {listen: '[::1]:0'}\n",
		"http: {listen: 'localhost:80'}\n", "aws: {listen: off, regions: ['*']}\n", "aws: {listen: '0.0.0.0:80'}\nhttp: {plain: true}\n", "roles: [api, store]\njournal: {url: 'nats://a:4222,tls://b'}\n"} {
		if _, err := load(fine, nil); err != nil {
			t.Errorf("%q: %v", fine, err)
		}
	}
	if _, err := Load(Options{File: filepath.Join(t.TempDir(), "none.yaml")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := load(strings.Repeat("#", MaxFile+1), nil); err == nil || !strings.Contains(err.Error(), "larger than 1048576 bytes") {
		t.Errorf("%v", err)
	}
}

// TestOrganization: lists of sections are read from the file and from variables, and shown such that they read the same.
func TestOrganization(t *testing.T) {
	t.Parallel()
	l := mustLoad(t, `account: "000011112222"
organization:
  id: o-abcdefghij
  root: r-abcd
  management: "000011112222"
  units: [{id: ou-abcd-11111111, name: "Work: loads, #1"}]
  accounts:
    - {id: "000011112222", name: Ränder, email: root@example.com, joined: 2024-02-29}
    - id: "333333333333"
      name: "null"
      unit: ou-abcd-22222222
`, []string{`SPOOR_ORGANIZATION_UNITS=[{id: ou-abcd-22222222, name: Two}, {id: ou-abcd-11111111, name: One, parent: ou-abcd-22222222}]`})
	o := l.Config.Organization
	want := Organization{ID: "o-abcdefghij", Root: "r-abcd", Management: "000011112222",
		Units: []Unit{{"ou-abcd-22222222", "Two", ""}, {"ou-abcd-11111111", "One", "ou-abcd-22222222"}},
		Accounts: []Account{{ID: "000011112222", Name: "Ränder", Email: "root@example.com", Joined: time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC)},
			{ID: "333333333333", Name: "null", Unit: "ou-abcd-22222222"}}}
	if fmt.Sprintf("%+v", o) != fmt.Sprintf("%+v", want) {
		t.Errorf("got\n%+v\nwant\n%+v", o, want)
	}
	if ids := o.AccountIDs(); !slices.Equal(ids, []string{"000011112222", "333333333333"}) {
		t.Errorf("%q", ids)
	}
	again, err := load(l.YAML(), nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, l.YAML())
	}
	if fmt.Sprintf("%+v", again.Config.Organization) != fmt.Sprintf("%+v", want) {
		t.Errorf("%s\nreads as\n%+v", l.YAML(), again.Config.Organization)
	}
	if again = mustLoad(t, "organization: {units: []}\n", nil); again.Config.Organization.Units == nil || len(again.Config.Organization.Units) != 0 {
		t.Errorf("%+v", again.Config.Organization)
	}
}

func TestUnits(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"0": 0, "0s": 0, "250ms": 250 * time.Millisecond, "1.5s": 1500 * time.Millisecond, "7d": 7 * day, "2w": 14 * day,
		"1w2d3h": 9*day + 3*time.Hour, "1d12h30m": 36*time.Hour + 30*time.Minute, "36500d": 36500 * day} {
		got, err := ParseSpan(text)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
		if again, err := ParseSpan(FormatSpan(got)); err != nil || again != got {
			t.Errorf("%v is written %s, which is %v, %v", got, FormatSpan(got), again, err)
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", time.Hour: "1h", 90 * time.Minute: "1h30m", 10 * time.Minute: "10m", day: "1d", 36 * time.Hour: "1d12h",
		time.Hour + time.Second: "1h0m1s", 20 * time.Second: "20s", 250 * time.Millisecond: "250ms"} {
		if got := FormatSpan(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	for _, text := range []string{"", "7", "-1h", "+1h", "1d-1h", "1h1d", "1d 1h", "d", "1x", "999999999999999999d", "40000d", "1e3s", "7d0", "1d2w", "9223372036s1h9999999h"} {
		if d, err := ParseSpan(text); err == nil {
			t.Errorf("%q is %v", text, d)
		}
	}
	for text, want := range map[string]int64{"0": 0, "4096": 4096, "1B": 1, "64MiB": 64 << 20, "64mib": 64 << 20, "1.5GiB": 3 << 29, "10GB": 1e10, "1 TB": 1e12, "2KB": 2000, "0.5KiB": 512} {
		got, err := ParseSize(text)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
		if again, err := ParseSize(FormatSize(got)); err != nil || again != got {
			t.Errorf("%v is written %s, which is %v, %v", got, FormatSize(got), again, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "1XB", "1.1B", "GiB", "1e3", "9999999PiB", "1..5KB", "9223372036854775808"} {
		if n, err := ParseSize(text); err == nil {
			t.Errorf("%q is %d", text, n)
		}
	}
	for _, x := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"listen", "lisen", 1}, {"qeue", "queue", 1}, {"data", "dtaa", 1}, {"abc", "xyz", 3}} {
		if got := distance(x.a, x.b); got != x.want || distance(x.b, x.a) != x.want {
			t.Errorf("%s, %s: %d, want %d", x.a, x.b, got, x.want)
		}
	}
}

// TestExample: the example is fine as it is; and with every setting in it, where it says the defaults.
func TestExample(t *testing.T) {
	t.Parallel()
	text := Example()
	l := mustLoad(t, text, nil)
	if len(l.Config.Sources) != 0 {
		t.Error("sources")
	}
	whole := regexp.MustCompile(`(?m)^( *)#( *- |[a-z0-9_]+:| {2,})`).ReplaceAllString(text, "$1$2")
	l, err := load(whole, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, whole)
	}
	for _, e := range l.Effective() {
		if strings.HasPrefix(e.Key, "sources.") {
			continue
		}
		value := e.Value
		if e.List != nil {
			value = strings.Join(e.List, ",")
		}
		if e.Key == "data" {
			value = filepath.Base(value)
		}
		if e.Origin.Kind != FromFile || value != e.Default && !slices.Contains([]string{"journal.dir", "store.dir", "lake.dir", "buckets.dir", "keys.dir", "topics.dir", "trails.dir"}, e.Key) {
			t.Errorf("%+v", e)
		}
	}
	var types []string
	for _, s := range l.Config.Sources {
		types = append(types, s.Type)
	}
	if !slices.Equal(types, []string{SourceSQS, SourceS3, SourceFolder, SourcePush}) {
		t.Errorf("%q", types)
	}
}

func TestReadFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("secret", "  hush\n")
	write("empty", "\n")
	write("p.cedar", "// none")
	write("spoor.yaml", `
iam: {policies: [p.cedar]}
sources:
  - {name: a, type: s3, bucket: my-bucket, aws: {access_key_id: x, secret_access_key_file: secret}}
  - {name: b, type: folder, path: .}
  - {name: c, type: folder, path: none, enabled: false}
`)
	l, err := Load(Options{File: filepath.Join(dir, "spoor.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.ReadFiles(); err != nil {
		t.Fatal(err)
	}
	if c := l.Config; c.Sources[0].AWS.SecretKey.Reveal() != "hush" || len(c.IAM.Texts) != 1 || c.IAM.Texts[0].Text != "// none" {
		t.Errorf("%+v", c)
	}
	if strings.Contains(l.YAML(), "hush") {
		t.Error("the secret is shown")
	}
	write("spoor.yaml", `
http: {tls_cert: p.cedar, tls_key: secret}
journal: {url: 'nats://x', credentials_file: none, tls_ca: none}
iam: {policies: [none]}
sources:
  - {name: a, type: s3, bucket: my-bucket, aws: {access_key_id: x, secret_access_key_file: empty}}
  - {name: b, type: folder, path: none}
  - {name: c, type: folder, path: secret}
`)
	if l, err = Load(Options{File: filepath.Join(dir, "spoor.yaml")}); err != nil {
		t.Fatal(err)
	}
	var e *Error
	if err := l.ReadFiles(); !errors.As(err, &e) || len(e.Problems) != 7 {
		t.Fatalf("%v", err)
	}
	keys := map[string]bool{}
	for _, p := range e.Problems {
		if keys[p.Key] = true; !strings.Contains(p.Where, "spoor.yaml:") || p.Message == "" {
			t.Errorf("%+v", p)
		}
	}
	if len(keys) != 7 {
		t.Errorf("%v", keys)
	}
}

func TestChanged(t *testing.T) {
	t.Parallel()
	a := mustLoad(t, "log: {level: info}\nsources:\n  - {name: a, type: push}\n", nil)
	b := mustLoad(t, "log: {level: debug, format: json}\nhttp: {max_body: 1MiB}\nsources:\n  - {name: b, type: push}\n", nil)
	live, restart := a.Changed(b)
	if !slices.Contains(live, "log.level") || !slices.Contains(live, "sources.a.type") || !slices.Contains(live, "sources.b.type") ||
		!slices.Equal(restart, []string{"http.max_body", "log.format"}) {
		t.Errorf("%q, %q", live, restart)
	}
	if live, restart = a.Changed(a); live != nil || restart != nil {
		t.Errorf("%q, %q", live, restart)
	}
}

// FuzzLoad: no text makes the reader panic; what is wrong has a place; and what is fine is shown such that it reads the same.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(full), "SPOOR_DATA=x")
	f.Add([]byte("http: {max_body: 1.5MiB}\nlog:\n  level: warn\n"), "SPOOR_LOG_LEVEL=debug")
	f.Add([]byte("sources:\n  - {name: a, type: s3, bucket: abc, prefix: \"\\x07é: #\"}\n"), "SPOOR_SOURCES_A_PREFIX=x: y")
	f.Add([]byte("organization: {id: o-abcdefghij, root: r-abcd, management: '000000000000', accounts: [{id: '000000000000', name: 'A: b', joined: 2026-01-31}]}\n"),
		"SPOOR_ORGANIZATION_UNITS=[{id: ou-abcd-22222222, name: Two}]")
	f.Add([]byte("data: &x y\nregion: *x\n--- a\n"), "")
	f.Fuzz(func(t *testing.T, text []byte, env string) {
		l, err := Load(Options{File: "/x/spoor.yaml", Text: text, Env: []string{env}})
		if err != nil {
			var e *Error
			if errors.As(err, &e) {
				for _, p := range e.Problems {
					if p.Message == "" || p.Where == "" && p.Key == "" {
						t.Fatalf("%+v", p)
					}
				}
			}
			return
		}
		shown := l.YAML()
		again, err := Load(Options{File: "/x/spoor.yaml", Text: []byte(shown)})
		if err != nil {
			t.Fatalf("%v\n%s", err, shown)
		}
		a, b := l.Effective(), again.Effective()
		if len(a) != len(b) {
			t.Fatalf("%d settings, %d\n%s", len(a), len(b), shown)
		}
		moves := map[string]bool{} // in a file they are relative to the file
		for _, it := range l.items {
			moves[it.Key] = (it.Kind == "path" || it.Kind == "list of files") && it.origin.Kind != FromFile
		}
		for i := range a {
			if a[i].Secret || moves[a[i].Key] {
				continue
			}
			if a[i].Value != b[i].Value || !slices.Equal(a[i].List, b[i].List) {
				t.Fatalf("%+v\n%+v\n%s", a[i], b[i], shown)
			}
		}
	})
}
