package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"spoor/internal/config"
	"spoor/internal/store"
	"spoor/internal/trail/delivery"
)

// certificate writes a certificate of its own for this machine, and gives the paths of certificate and key.
func certificate(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	write(t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})))
	return cert, key
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// imprint is everything that settings hold, as text.
func imprint(t *testing.T, s *settings) string {
	t.Helper()
	c := *s
	var b strings.Builder
	for _, p := range c.iam.Policies.All() {
		if !p.Ready {
			fmt.Fprintf(&b, "policy %s %s\n", p.ID, p.Text)
		}
	}
	c.iam.Policies = nil
	if c.http.certificate != nil {
		fmt.Fprintf(&b, "certificate %x\n", sha256.Sum256(c.http.certificate.Certificate[0]))
		c.http.certificate = nil
	}
	if tls := c.journal.TLS; tls != nil {
		//lint:ignore SA1019 it is a pool of our own
		fmt.Fprintf(&b, "authorities %x\n", tls.RootCAs.Subjects())
		c.journal.TLS = nil
	}
	for _, one := range c.sources {
		fmt.Fprintf(&b, "source %s\n", fingerprint(one))
	}
	c.sources = nil
	fmt.Fprintf(&b, "networks %v %v %v\n", c.http.proxies, c.topics.allow, c.topics.deny) // in a struct they are printed by what they are made of
	c.http.proxies, c.topics.allow, c.topics.deny = nil, nil, nil
	fmt.Fprintf(&b, "%+v", c)
	if regexp.MustCompile(`0x[0-9a-f]{8}`).MatchString(b.String()) {
		t.Fatalf("a pointer is compared and not what it points to: %s", b.String())
	}
	return b.String()
}

// TestEverySettingIsRead changes each setting by itself, and wants the options of the parts to change with it.
func TestEverySettingIsRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := certificate(t, dir, "one")
	cert2, key2 := certificate(t, dir, "two")
	secret, secret2 := filepath.Join(dir, "secret"), filepath.Join(dir, "secret2")
	write(t, secret, "one")
	write(t, secret2, "two")
	policy := filepath.Join(dir, "extra.cedar")
	write(t, policy, `@id("extra") permit (principal, action == Spoor::Action::"PutEvents", resource);`)

	load := func(file string, set []string) (*settings, error) {
		t.Helper()
		o := config.Options{Text: []byte(file), File: filepath.Join(dir, "spoor.yaml")}
		for _, kv := range set {
			k, v, _ := strings.Cut(kv, "=")
			o.Flags = append(o.Flags, config.Override{Key: k, Value: v, From: "--set"})
		}
		l, err := config.Load(o)
		if err != nil {
			return nil, err
		}
		if err := l.ReadFiles(); err != nil {
			return nil, err
		}
		return settingsOf(l)
	}
	// by gives, for a setting, what it is set to, and with which others.
	type by struct {
		value string
		with  []string
	}
	url := "journal.url=nats://127.0.0.1:4222"
	org := []string{"organization.id=o-abcdefghij", "organization.root=r-abcd", "organization.management=111122223333", "organization.units=[{id: ou-abcd-11111111, name: One}]",
		"organization.accounts=[{id: '000000000000', name: Own}, {id: '111122223333', name: Other, email: a@example.com}]"}
	master := filepath.Join(dir, "master")
	write(t, master, strings.Repeat("cd", 32))
	outside, mail := []string{"buckets.external=https://s3.example.com"}, []string{"topics.smtp.address=mail.example.com:587", "topics.smtp.from=spoor@example.com"}
	values := map[string]by{
		"data": {value: "elsewhere"}, "account": {value: "111122223333"}, "region": {value: "eu-west-1"},
		"roles": {value: "api", with: []string{url}}, "shutdown_timeout": {value: "7s"}, "memory": {value: "1GiB"},
		"http.listen": {value: "127.0.0.1:9000"}, "http.tls_cert": {value: cert, with: []string{"http.tls_key=" + key}}, "http.tls_key": {value: key2, with: []string{"http.tls_cert=" + cert2}},
		"http.tls_min_version": {value: "1.3"}, "http.trusted_proxies": {value: "10.0.0.0/8"}, "http.max_body": {value: "1MiB"}, "http.max_connections": {value: "7"},
		"http.max_tails": {value: "7"}, "http.header_timeout": {value: "7s"}, "http.idle_timeout": {value: "7s"},
		"journal.dir": {value: "elsewhere"}, "journal.url": {value: "nats://127.0.0.1:4222"}, "journal.credentials_file": {value: secret, with: []string{url}},
		"journal.tls_ca": {value: cert, with: []string{url}}, "journal.stream": {value: "OTHER"}, "journal.replicas": {value: "3", with: []string{url}},
		"journal.max_size": {value: "7GiB"}, "journal.retain_size": {value: "7MiB"}, "journal.retain_age": {value: "7h"}, "journal.drop_unread": {value: "true"},
		"journal.min_free": {value: "7MiB"}, "journal.max_append": {value: "7MiB"}, "journal.group_size": {value: "7KiB"}, "journal.linger": {value: "7ms"},
		"journal.queue_size": {value: "77MiB"}, "journal.queue_wait": {value: "7s"},
		"store.dir": {value: "elsewhere"}, "store.flush_rows": {value: "7777"}, "store.flush_interval": {value: "7s"}, "store.max_hot_rows": {value: "777777"},
		"store.compact_interval": {value: "7m"}, "store.compact_after": {value: "7h"}, "store.compact_target": {value: "7MiB"}, "store.expire_interval": {value: "7m"}, "store.expire_grace": {value: "7m"},
		"store.retention.management": {value: "7d"}, "store.retention.data": {value: "7d"}, "store.retention.network_activity": {value: "7d"}, "store.retention.insight": {value: "7d"},
		"store.retention.aggregated": {value: "7d"}, "store.retention.activity_audit_log": {value: "7d"}, "store.retention.max_size_activity_audit_log": {value: "7GiB"}, "store.retention.max_size": {value: "7GiB"},
		"store.retention.max_size_management": {value: "7GiB"}, "store.retention.max_size_data": {value: "7GiB"}, "store.retention.max_size_network_activity": {value: "7GiB"}, "store.retention.max_size_insight": {value: "7GiB"}, "store.retention.max_size_aggregated": {value: "7GiB"},
		"query.memory": {value: "777MiB"}, "query.temp": {value: "777MiB"}, "query.threads": {value: "7"}, "query.timeout": {value: "7s"}, "query.max_rows": {value: "7"}, "query.concurrent": {value: "7"},
		"iam.policies": {value: policy}, "iam.token_lifetime": {value: "7d"}, "iam.failure_burst": {value: "7"}, "iam.failure_every": {value: "7s"},
		"aws.listen": {value: "off"}, "aws.regions": {value: "eu-west-1"}, "aws.skew": {value: "7m"}, "aws.max_body": {value: "7MiB"}, "aws.in_flight": {value: "7"},
		"buckets.dir": {value: "elsewhere"}, "buckets.domains": {value: "s3.example.com"}, "buckets.expire_interval": {value: "7h"}, "buckets.external": {value: "aws"},
		"buckets.path_style": {value: "true", with: outside}, "buckets.aws.region": {value: "eu-west-1", with: outside}, "buckets.aws.profile": {value: "p", with: outside},
		"buckets.aws.access_key_id":          {value: "AKIAIOSFODNN7EXAMPL2", with: append([]string{"buckets.aws.access_key_id=AKIAIOSFODNN7EXAMPLE", "buckets.aws.secret_access_key=s"}, outside...)},
		"buckets.aws.secret_access_key":      {value: "s2", with: append([]string{"buckets.aws.access_key_id=AKIAIOSFODNN7EXAMPLE", "buckets.aws.secret_access_key=s"}, outside...)},
		"buckets.aws.secret_access_key_file": {value: secret2, with: append([]string{"buckets.aws.access_key_id=AKIAIOSFODNN7EXAMPLE", "buckets.aws.secret_access_key_file=" + secret}, outside...)},
		"buckets.aws.session_token":          {value: "t", with: append([]string{"buckets.aws.access_key_id=AKIAIOSFODNN7EXAMPLE", "buckets.aws.secret_access_key=s"}, outside...)},
		"buckets.aws.role_arn":               {value: "arn:aws:iam::111122223333:role/r", with: outside}, "buckets.aws.external_id": {value: "id", with: append([]string{"buckets.aws.role_arn=arn:aws:iam::111122223333:role/r"}, outside...)},
		"keys.dir": {value: "elsewhere"}, "keys.master_key": {value: strings.Repeat("ab", 32)}, "keys.master_key_file": {value: master}, "keys.external": {value: "true"},
		"topics.dir": {value: "elsewhere"}, "topics.url": {value: "https://spoor.example.com"}, "topics.external": {value: "true"},
		"topics.smtp.address": {value: "mail.example.com:25", with: mail}, "topics.smtp.from": {value: "trails@example.com", with: mail},
		"topics.allow_addresses": {value: "10.0.0.0/8"}, "topics.deny_addresses": {value: "10.0.0.0/8"},
		"topics.smtp.username": {value: "u", with: mail}, "topics.smtp.password": {value: "p", with: append([]string{"topics.smtp.username=u"}, mail...)},
		"topics.smtp.password_file": {value: secret, with: append([]string{"topics.smtp.username=u"}, mail...)}, "topics.smtp.tls": {value: "tls", with: mail},
		"trails.dir": {value: "elsewhere"}, "trails.interval": {value: "7s"}, "trails.digest_interval": {value: "7m"}, "trails.max_file": {value: "7MiB"}, "trails.max_spool": {value: "777MiB"}, "trails.sources": {value: "*"},
		"aws.lookup_extended": {value: "true"}, "aws.lookup_scope": {value: "all"},
		"lake.dir": {value: "elsewhere"}, "lake.concurrent": {value: "7"}, "lake.timeout": {value: "7m"}, "lake.results_size": {value: "7GiB"}, "lake.results_age": {value: "7h"},
		"organization.id": {value: "o-zzzzzzzzzz", with: org}, "organization.root": {value: "r-zzzz", with: org}, "organization.management": {value: "000000000000", with: org},
		"organization.units":    {value: "[{id: ou-abcd-11111111, name: One}, {id: ou-abcd-22222222, name: Two}]", with: org},
		"organization.accounts": {value: "[{id: '000000000000', name: Own}, {id: '111122223333', name: Other, unit: ou-abcd-11111111, joined: 2026-01-02}]", with: org},
		"log.level":             {value: "debug"}, "log.format": {value: "json"},
	}
	for _, s := range config.Settings() {
		if s.Key == "http.plain" { // package config reads it: it allows what is an error otherwise
			if _, err := load("", []string{"http.listen=0.0.0.0:0"}); err == nil {
				t.Error("http.plain: it is not needed to listen in the clear")
			}
			if _, err := load("", []string{"http.listen=0.0.0.0:0", "http.plain=true"}); err != nil {
				t.Errorf("http.plain: %v", err)
			}
			continue
		}
		v, ok := values[s.Key]
		if !ok {
			t.Errorf("%s: this test does not know the setting: give it a value, and read it in settingsOf", s.Key)
			continue
		}
		was, err := load("", v.with)
		if strings.HasPrefix(s.Key, "http.tls_") && s.Key != "http.tls_min_version" { // one alone is an error
			was, err = load("", nil)
		}
		if err != nil {
			t.Fatalf("%s: before: %v", s.Key, err)
		}
		is, err := load("", append(v.with, s.Key+"="+v.value))
		if err != nil {
			t.Fatalf("%s: %v", s.Key, err)
		}
		if imprint(t, was) == imprint(t, is) {
			t.Errorf("%s: nothing reads the setting", s.Key)
		}
	}

	bases := map[string]string{
		config.SourceSQS:    "sources: [{name: one, type: sqs, queue: 'https://sqs.eu-west-1.amazonaws.com/111122223333/q'}]",
		config.SourceS3:     "sources: [{name: one, type: s3, bucket: logs}]",
		config.SourceFolder: "sources: [{name: one, type: folder, path: .}]",
		config.SourcePush:   "sources: [{name: one, type: push}]",
	}
	keys := []string{"aws.access_key_id=AKIAIOSFODNN7EXAMPLE", "aws.secret_access_key=one"}
	ofSource := map[string]by{
		"enabled": {value: "false"}, "queue": {value: "https://sqs.eu-west-1.amazonaws.com/111122223333/other"}, "wait": {value: "7s"}, "visibility": {value: "7m"},
		"max_receives": {value: "7"}, "bucket": {value: "other"}, "prefix": {value: "AWSLogs/"}, "lookback": {value: "7h"}, "path": {value: os.TempDir()}, "settle": {value: "7s"},
		"interval": {value: "7s"}, "workers": {value: "7"}, "accounts": {value: "111122223333"}, "regions": {value: "eu-west-1"}, "format": {value: "logs"}, "max_body": {value: "7MiB"},
		"aws.region": {value: "eu-west-1"}, "aws.endpoint": {value: "http://127.0.0.1:1"}, "aws.s3_endpoint": {value: "http://127.0.0.1:1"}, "aws.profile": {value: "other"},
		"aws.access_key_id": {value: "AKIAIOSFODNN7EXAMPLE", with: keys[1:]}, "aws.secret_access_key": {value: "two", with: keys},
		"aws.secret_access_key_file": {value: secret2, with: keys[:1]}, "aws.session_token": {value: "one", with: keys},
		"aws.role_arn": {value: "arn:aws:iam::111122223333:role/reader"}, "aws.external_id": {value: "seven", with: []string{"aws.role_arn=arn:aws:iam::111122223333:role/reader"}}, "aws.anonymous": {value: "true"},
	}
	for _, s := range config.SourceSettings() {
		if s.Key == "name" || s.Key == "type" { // every one of the others depends on them
			continue
		}
		v, ok := ofSource[s.Key]
		if !ok {
			t.Errorf("sources.%s: this test does not know the setting: give it a value, and read it in sourceOptions", s.Key)
			continue
		}
		types := s.For
		if types == nil {
			types = []string{config.SourceSQS, config.SourceS3, config.SourceFolder, config.SourcePush}
		}
		for _, typ := range types {
			var with []string
			for _, kv := range v.with {
				with = append(with, "sources.one."+kv)
			}
			was, err := load(bases[typ], nil)
			if len(with) > 0 && s.Key != "aws.access_key_id" && s.Key != "aws.secret_access_key_file" { // without their companions these are errors
				was, err = load(bases[typ], with)
			}
			if err != nil {
				t.Fatalf("%s %s: before: %v", typ, s.Key, err)
			}
			is, err := load(bases[typ], append(with, "sources.one."+s.Key+"="+v.value))
			if err != nil {
				t.Fatalf("%s %s: %v", typ, s.Key, err)
			}
			if imprint(t, was) == imprint(t, is) {
				t.Errorf("sources of type %s: nothing reads %s", typ, s.Key)
			}
			if sameSource(was.sources[0], is.sources[0]) {
				t.Errorf("sources of type %s: a reload would not see that %s has changed", typ, s.Key)
			}
		}
	}
	// The content of a secret's file counts, and not only its name.
	one, err := load(bases[config.SourceS3], []string{"sources.one.aws.access_key_id=A", "sources.one.aws.secret_access_key_file=" + secret})
	if err != nil {
		t.Fatal(err)
	}
	if got := one.sources[0].poll.S3.SecretKey; got != "one" {
		t.Errorf("the secret in a file is %q", got)
	}
}

func TestForeverAndNever(t *testing.T) {
	t.Parallel()
	l, err := config.Load(config.Options{Text: []byte("iam: {token_lifetime: forever}\nsources: [{name: one, type: s3, bucket: logs, lookback: forever}, {name: two, type: folder, path: /tmp, settle: 0s},\n  {name: three, type: sqs, queue: 'https://sqs.eu-west-1.amazonaws.com/111122223333/q', wait: 0s}]")})
	if err != nil {
		t.Fatal(err)
	}
	s, err := settingsOf(l)
	if err != nil {
		t.Fatal(err)
	}
	if s.lifetime >= 0 {
		t.Errorf("tokens that last for ever: %v, and 0 is the default of package iam", s.lifetime)
	}
	if got := s.sources[0].poll.Lookback; got >= 0 {
		t.Errorf("lookback for ever: %v", got)
	}
	if got := s.sources[1].watch.Settle; got >= 0 {
		t.Errorf("no settling: %v", got)
	}
	if got := s.sources[2].sqs.Wait; got >= 0 {
		t.Errorf("no waiting: %v", got)
	}
	if got := s.journal.Followers; !slices.Equal(got, []string{store.FollowerName, delivery.FollowerName}) {
		t.Errorf("followers of the journal: %q", got)
	}
}
