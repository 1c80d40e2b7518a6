package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"spoor/internal/seal"
)

// required checks that sources have what they need, and nothing that belongs to sources of another type.
func (l *loader) required() {
	for _, it := range l.items {
		if it.source < 0 {
			continue
		}
		typ := l.Config.Sources[it.source].Type
		prefix := sourcePrefix(it.Key)
		name := strings.TrimSuffix(strings.TrimPrefix(prefix, "sources."), ".")
		switch {
		case it.Need && it.value.text() == "" && it.applies(typ) && !l.told(it.Key):
			where := l.where(prefix + "name")
			l.problem(where, it.Key, "source %s needs it: %s", name, it.Doc)
		case typ != "" && !it.applies(typ) && l.given(it.Key):
			l.problem(it.origin.Where, it.Key, "a source of type %s has no such setting, %s has", typ, alternatives(it.For))
		}
	}
}

// sourcePrefix gives "sources.NAME." of a key.
func sourcePrefix(key string) string {
	rest := strings.TrimPrefix(key, "sources.")
	return key[:len("sources.")+strings.IndexByte(rest, '.')+1]
}

// told says whether there is a problem with a setting already.
func (l *loader) told(key string) bool {
	for _, p := range l.problems {
		if p.Key == key {
			return true
		}
	}
	return false
}

// check looks at how settings go together.
func (l *loader) check() {
	c := l.Config
	wrong := func(key, format string, args ...any) { l.problem(l.where(key), key, format, args...) }

	if len(c.Roles) == 0 {
		wrong("roles", "a process without a role does nothing")
	} else if len(c.Roles) > 1 && c.Has(RoleAll) {
		for _, r := range c.Roles {
			if r == RoleAll {
				wrong("roles", "all stands alone")
				break
			}
		}
	}
	if c.Data == "" {
		wrong("data", "it is empty")
	}
	if c.HTTP.Listen == "" {
		wrong("http.listen", "it is empty")
	}
	switch hasCert, hasKey := c.HTTP.TLSCert != "", c.HTTP.TLSKey != ""; {
	case hasCert != hasKey:
		key, other := "http.tls_cert", "http.tls_key"
		if hasKey {
			key, other = other, key
		}
		wrong(key, "%s is missing: the two belong together", other)
	case !hasCert && !c.HTTP.Plain && c.HTTP.Listen != "" && !loopback(c.HTTP.Listen):
		wrong("http.listen", "%s can be reached from other machines, and tokens would travel in the clear: set http.tls_cert and http.tls_key, or http.plain behind a proxy that has TLS", c.HTTP.Listen)
	}
	l.checkOrganization(wrong)
	l.checkAWSServices(wrong)
	if at := c.AWS.Listen; at == "" {
		wrong("aws.listen", "it is empty; off is for no endpoint")
	} else if at != Off {
		if c.HTTP.TLSCert == "" && !c.HTTP.Plain && !loopback(at) {
			wrong("aws.listen", "%s can be reached from other machines, and credentials of sessions would travel in the clear: set http.tls_cert and http.tls_key, or http.plain behind a proxy that has TLS", at)
		}
		if at == c.HTTP.Listen && !strings.HasSuffix(at, ":0") {
			wrong("aws.listen", "http.listen is %s too: want an address of its own", at)
		}
	}
	j := c.Journal
	if j.URL != "" && j.Dir != "" {
		wrong("journal.dir", "it is not used with journal.url")
	}
	if j.URL == "" {
		for _, key := range []string{"journal.credentials_file", "journal.tls_ca", "journal.replicas"} {
			if it := l.byKey[key]; it.value.text() != it.Default {
				wrong(key, "it is not used without journal.url")
			}
		}
		if len(c.Roles) > 0 && !c.Has(RoleAll) {
			wrong("roles", "a process with a part of the roles needs a journal that it shares with others: set journal.url")
		}
	}
	if j.MaxAppend > j.QueueSize {
		wrong("journal.max_append", "a batch of %s does not fit into journal.queue_size, %s", FormatSize(j.MaxAppend), FormatSize(j.QueueSize))
	}
	if j.RetainSize > j.MaxSize {
		wrong("journal.retain_size", "%s is more than journal.max_size, %s", FormatSize(j.RetainSize), FormatSize(j.MaxSize))
	}
	if c.Store.FlushRows > c.Store.MaxHotRows {
		wrong("store.flush_rows", "%d are more than store.max_hot_rows, %d", c.Store.FlushRows, c.Store.MaxHotRows)
	}
	for _, s := range c.Sources {
		prefix := "sources." + s.Name + "."
		a := s.AWS
		checkAWS(a, func(key, format string, args ...any) { wrong(prefix+key, format, args...) })
		if a.Anonymous && (a.AccessKeyID != "" || a.Profile != "" || a.RoleARN != "") {
			wrong(prefix+"aws.anonymous", "there are credentials too")
		}
		if s.Type == SourceS3 && strings.HasPrefix(s.Prefix, "/") {
			wrong(prefix+"prefix", "keys do not begin with a slash")
		}
		if s.Type == SourceSQS && s.Visibility < 2*s.Wait {
			wrong(prefix+"visibility", "%s is too short beside wait, %s: want twice as much", FormatSpan(s.Visibility), FormatSpan(s.Wait))
		}
	}
}

// checkAWS looks at how credentials go together.
func checkAWS(a AWS, wrong func(key, format string, args ...any)) {
	switch {
	case (a.AccessKeyID != "") != (a.SecretKey != "" || a.SecretFile != ""):
		key, other := "aws.access_key_id", "aws.secret_access_key"
		if a.AccessKeyID == "" {
			key, other = other, key
			if a.SecretKey == "" {
				key = "aws.secret_access_key_file"
			}
		}
		wrong(key, "%s is missing: the two belong together", other)
	case a.SecretKey != "" && a.SecretFile != "":
		wrong("aws.secret_access_key_file", "aws.secret_access_key is set too: want one of the two")
	case a.SessionToken != "" && a.AccessKeyID == "":
		wrong("aws.session_token", "aws.access_key_id is missing")
	case a.Profile != "" && a.AccessKeyID != "":
		wrong("aws.profile", "aws.access_key_id is set too: want one of the two")
	}
	if a.ExternalID != "" && a.RoleARN == "" {
		wrong("aws.external_id", "aws.role_arn is missing")
	}
}

// checkAWSServices looks at what buckets, keys and topics need.
func (l *loader) checkAWSServices(wrong func(key, format string, args ...any)) {
	b, m := l.Config.Buckets, l.Config.Topics.SMTP
	checkAWS(b.AWS, func(key, format string, args ...any) { wrong("buckets."+key, format, args...) })
	if b.External == "" {
		for _, key := range []string{"buckets.path_style", "buckets.aws.region", "buckets.aws.profile", "buckets.aws.access_key_id", "buckets.aws.role_arn"} {
			if it := l.byKey[key]; it.value.text() != it.Default {
				wrong(key, "it is not used without buckets.external")
			}
		}
	}
	if k := l.Config.Keys; k.Master != "" && k.MasterFile != "" {
		wrong("keys.master_key_file", "keys.master_key is set too: want one of the two")
	} else if _, err := seal.ParseMaster(k.Master.Reveal()); k.Master != "" && err != nil {
		wrong("keys.master_key", "it is not 64 hex digits")
	}
	switch {
	case m.Address != "" && m.From == "":
		wrong("topics.smtp.from", "it is missing: mails have a sender")
	case m.Address == "" && (m.From != "" || m.Username != ""):
		wrong("topics.smtp.address", "it is missing")
	case m.Username == "" && (m.Password != "" || m.PasswordFile != ""):
		wrong("topics.smtp.username", "it is missing: the password belongs to it")
	case m.Password != "" && m.PasswordFile != "":
		wrong("topics.smtp.password_file", "topics.smtp.password is set too: want one of the two")
	case m.TLS == "none" && m.Password+Secret(m.PasswordFile) != "" && !loopback(m.Address):
		wrong("topics.smtp.tls", "the password would travel in the clear")
	}
	for _, name := range l.Config.Trails.Sources {
		if name != "*" && name != "spoor" && !slices.ContainsFunc(l.Config.Sources, func(s Source) bool { return s.Name == name }) {
			wrong("trails.sources", "there is no source %s", name)
		}
	}
}

// checkOrganization looks at how units and accounts go together.
func (l *loader) checkOrganization(wrong func(key, format string, args ...any)) {
	c, o := l.Config, l.Config.Organization
	if o.ID == "" {
		for _, key := range []string{"organization.root", "organization.management", "organization.units", "organization.accounts"} {
			if l.byKey[key].value.text() != "" {
				wrong(key, "it is not used without organization.id")
			}
		}
		return
	}
	for _, key := range []string{"organization.root", "organization.management"} {
		if l.byKey[key].value.text() == "" {
			wrong(key, "an organisation has one: it is missing")
			return
		}
	}
	parents := map[string]string{o.Root: ""}
	for _, u := range o.Units {
		if _, twice := parents[u.ID]; twice {
			wrong("organization.units", "unit %s is there twice", u.ID)
		}
		if parents[u.ID] = u.Parent; u.Parent == "" {
			parents[u.ID] = o.Root
		}
	}
	for _, u := range o.Units {
		at, steps := u.ID, 0
		for ; at != o.Root && steps <= len(o.Units); steps++ {
			parent, ok := parents[at]
			if !ok {
				wrong("organization.units", "unit %s is below %s, which is not there", u.ID, at)
				break
			}
			at = parent
		}
		if steps > len(o.Units) {
			wrong("organization.units", "unit %s is below itself", u.ID)
		}
	}
	seen := map[string]bool{}
	for _, a := range o.Accounts {
		if seen[a.ID] {
			wrong("organization.accounts", "account %s is there twice", a.ID)
		}
		seen[a.ID] = true
		if _, ok := parents[a.Unit]; a.Unit != "" && !ok {
			wrong("organization.accounts", "account %s is in %s, which is not there", a.ID, a.Unit)
		}
	}
	if !seen[o.Management] {
		wrong("organization.management", "account %s is not among organization.accounts", o.Management)
	}
	if !seen[c.Account] {
		wrong("organization.accounts", "the account of the installation, %s, is not among them", c.Account)
	}
}

// Bounds of the files that a configuration names.
const (
	maxSecret = 64 << 10
	maxPolicy = 256 << 10
)

// ReadFiles reads the files that the configuration names, and puts them into Certificate of [HTTP], Texts of [IAM] and the
// secrets of sources; and it looks whether folders that are to be read are there. The error is an [*Error] with all problems.
func (l *Loaded) ReadFiles() error {
	c := l.Config
	problems := l.readPolicies()
	wrong := func(key string, err error) { problems = append(problems, l.trouble(key, err)) }
	if c.HTTP.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(c.HTTP.TLSCert, c.HTTP.TLSKey)
		if err != nil {
			wrong("http.tls_cert", err)
		} else {
			c.HTTP.Certificate = &pair
		}
	}
	for key, path := range map[string]string{"journal.credentials_file": c.Journal.Credentials, "journal.tls_ca": c.Journal.TLSCA} {
		if path == "" {
			continue
		}
		if _, err := readText(path, maxSecret*16); err != nil {
			wrong(key, err)
		}
	}
	read := func(key, path string, into *Secret) {
		if path == "" {
			return
		}
		text, err := readSecret(path)
		if err != nil {
			wrong(key, err)
		}
		*into = text
	}
	read("buckets.aws.secret_access_key_file", c.Buckets.AWS.SecretFile, &c.Buckets.AWS.SecretKey)
	read("topics.smtp.password_file", c.Topics.SMTP.PasswordFile, &c.Topics.SMTP.Password)
	problems = append(problems, l.readMaster()...)
	for i := range c.Sources {
		s := &c.Sources[i]
		read("sources."+s.Name+".aws.secret_access_key_file", s.AWS.SecretFile, &s.AWS.SecretKey)
		if s.Type == SourceFolder && s.Enabled {
			info, err := os.Stat(s.Path)
			if err == nil && !info.IsDir() {
				err = fmt.Errorf("%s is no folder", s.Path)
			}
			if err != nil {
				wrong("sources."+s.Name+".path", err)
			}
		}
	}
	if len(problems) > 0 {
		return &Error{problems}
	}
	return nil
}

// ReadPolicies is the part of [Loaded.ReadFiles] that reads policies.
func (l *Loaded) ReadPolicies() error {
	if problems := l.readPolicies(); len(problems) > 0 {
		return &Error{problems}
	}
	return nil
}

// readSecret reads a file that holds a secret, and space around it.
func readSecret(path string) (Secret, error) {
	text, err := readText(path, maxSecret)
	text = strings.TrimSpace(text)
	if err == nil && text == "" {
		err = fmt.Errorf("%s is empty", path)
	}
	return Secret(text), err
}

// ReadMaster is the part of [Loaded.ReadFiles] that reads the master key of the key ring.
func (l *Loaded) ReadMaster() error {
	if problems := l.readMaster(); len(problems) > 0 {
		return &Error{problems}
	}
	return nil
}

func (l *Loaded) readMaster() []Problem {
	k := &l.Config.Keys
	if k.MasterFile == "" {
		return nil
	}
	text, err := ReadMasterFile(k.MasterFile)
	k.Master = text
	if err != nil {
		return []Problem{l.trouble("keys.master_key_file", err)}
	}
	return nil
}

// ReadMasterFile reads the file of a master key, as keys.master_key_file names it. The error does not quote it.
func ReadMasterFile(path string) (Secret, error) {
	text, err := readSecret(path)
	if err != nil {
		return text, err
	}
	if _, err := seal.ParseMaster(text.Reveal()); err != nil {
		return "", fmt.Errorf("%s does not hold 64 hex digits", path)
	}
	return text, nil
}

func (l *Loaded) readPolicies() (problems []Problem) {
	l.Config.IAM.Texts = nil
	for _, path := range l.Config.IAM.Policies {
		text, err := readText(path, maxPolicy)
		if err != nil {
			problems = append(problems, l.trouble("iam.policies", err))
			continue
		}
		l.Config.IAM.Texts = append(l.Config.IAM.Texts, PolicyText{path, text})
	}
	return problems
}

// trouble is a problem with the value of a setting.
func (l *Loaded) trouble(key string, err error) Problem {
	p := Problem{Key: key, Message: err.Error()}
	for _, it := range l.items {
		if it.Key == key {
			p.Where = it.origin.Where
		}
	}
	return p
}

func readText(path string, limit int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return string(b), errors.Join(err, f.Close())
}
