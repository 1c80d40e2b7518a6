package blob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3err"

	"spoor/internal/durable"
	"spoor/internal/policy"
	"spoor/internal/refusal"
	"spoor/internal/statefile"
)

var (
	// ErrDamaged, ErrNewer are what the state of the buckets may be; ErrLocked says that another process has it, ErrClosed that
	// nobody has it any more.
	ErrDamaged = errors.New("the state of the buckets is damaged")
	ErrNewer   = errors.New("the state of the buckets was written by a newer version")
	ErrLocked  = errors.New("another process serves these buckets")
	ErrClosed  = errors.New("the buckets are closed")
)

// Undo takes a change back, as if it had never been.
type Undo = statefile.Undo

// Bucket is a local bucket.
type Bucket struct {
	Name, Account, Region string
	Created               time.Time
	Policy                *policy.Document // nil for none
	PolicyText            []byte
	PublicAccess          *PublicAccessBlock // nil for none
	Encryption            *Encryption        // nil for AES256
	Versioning            string             // Enabled, Suspended, or empty
	Lifecycle             *Lifecycle         // nil for none
	Logging               *Logging           // nil for none
	RequesterPays         bool
}

// PublicAccessBlock is what keeps a bucket from being made public.
type PublicAccessBlock struct {
	BlockPublicAcls       bool `json:"blockPublicAcls"`
	IgnorePublicAcls      bool `json:"ignorePublicAcls"`
	BlockPublicPolicy     bool `json:"blockPublicPolicy"`
	RestrictPublicBuckets bool `json:"restrictPublicBuckets"`
}

// Encryption is how a bucket stores objects that do not say it themselves.
type Encryption struct {
	KMSKey    string `json:"kmsKey,omitempty"` // ARN; empty for AES256, which leaves files as they are
	BucketKey bool   `json:"bucketKey,omitempty"`
}

// Logging is where a bucket's access is logged to.
type Logging struct {
	Bucket string `json:"bucket"`
	Prefix string `json:"prefix"`
	// Format is that of the keys of logs: empty, SimplePrefix, or PartitionedPrefix by EventTime or DeliveryTime.
	Format string `json:"format,omitempty"`
}

// BucketSpec is a bucket to be made.
type BucketSpec struct {
	Name            string
	Account, Region string // default those of the options
	Ownership       string // default BucketOwnerEnforced
	ObjectLock      bool   // with versions
}

// bucketConfig is what the state knows of a bucket. It is replaced, never changed.
type bucketConfig struct {
	Account      string             `json:"account"`
	Region       string             `json:"region"`
	Created      time.Time          `json:"created"`
	Policy       string             `json:"policy,omitempty"`
	PublicAccess *PublicAccessBlock `json:"publicAccess,omitempty"`
	Encryption   *Encryption        `json:"encryption,omitempty"`
	Versioning   string             `json:"versioning,omitempty"`
	Lifecycle    *Lifecycle         `json:"lifecycle,omitempty"`
	Logging      *Logging           `json:"logging,omitempty"`
	Requester    bool               `json:"requesterPays,omitempty"`
}

const (
	stateFormat  = "spoor-buckets"
	stateVersion = 1
	maxState     = 256 << 20
)

// state is the content of the state file.
type state struct {
	Format  string                   `json:"format"`
	Version int                      `json:"version"`
	Buckets map[string]*bucketConfig `json:"buckets"`
}

func openState(ctx context.Context, dir string, o LocalOptions) (*statefile.File[state], error) {
	return statefile.Open(ctx, dir, stateOptions(o))
}

func stateOptions(o LocalOptions) statefile.Options[state] {
	return statefile.Options[state]{
		What: "the buckets", Document: stateDocument(), Decode: decodeState,
		New: func() *state {
			return &state{Format: stateFormat, Version: stateVersion, Buckets: map[string]*bucketConfig{}}
		},
		Clone: func(s *state) *state {
			c := *s
			c.Buckets = maps.Clone(s.Buckets)
			return &c
		},
		Check: (*state).check,
		Encode: func(s *state) ([]byte, error) {
			b, err := json.MarshalIndent(s, "", " ")
			return append(b, '\n'), err
		},
		Locked: ErrLocked, Closed: ErrClosed, Wait: o.Wait, Log: o.Log,
	}
}

func stateDocument() durable.Document {
	return durable.Document{What: "the state of the buckets", Format: stateFormat, Version: stateVersion, Most: maxState, Damaged: ErrDamaged, Newer: ErrNewer}
}

func decodeState(b []byte) (*state, error) {
	s := &state{}
	if err := stateDocument().Decode(b, s); err != nil {
		return nil, err
	}
	if s.Version < 1 {
		return nil, fmt.Errorf("%w: version %d", ErrDamaged, s.Version)
	}
	if s.Buckets == nil {
		s.Buckets = map[string]*bucketConfig{}
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return s, nil
}

var (
	accountForm = regexp.MustCompile(`^[0-9]{12}$`)
	regionForm  = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$`)
	keyForm     = regexp.MustCompile(`^arn:[a-z0-9-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]{1,128}$`)
)

// check holds what every state has in common.
func (s *state) check() error {
	for name, c := range s.Buckets {
		if !goodBucket(name) || c == nil {
			return fmt.Errorf("bucket %.70q: name or content", name)
		}
		if err := c.check(name); err != nil {
			return fmt.Errorf("bucket %s: %w", name, err)
		}
	}
	return nil
}

func (c *bucketConfig) check(name string) error {
	if !accountForm.MatchString(c.Account) || !regionForm.MatchString(c.Region) {
		return fmt.Errorf("account %.20q, Region %.40q", c.Account, c.Region)
	}
	if c.Policy != "" {
		if _, err := parsePolicy(name, []byte(c.Policy)); err != nil {
			return err
		}
	}
	switch c.Versioning {
	case "", string(types.BucketVersioningStatusEnabled), string(types.BucketVersioningStatusSuspended):
	default:
		return fmt.Errorf("versioning %.40q", c.Versioning)
	}
	if e := c.Encryption; e != nil && e.KMSKey != "" && !keyForm.MatchString(e.KMSKey) {
		return fmt.Errorf("encryption with %.100q", e.KMSKey)
	}
	if c.Lifecycle != nil {
		if err := c.Lifecycle.Check(); err != nil {
			return fmt.Errorf("lifecycle: %w", err)
		}
	}
	if c.Logging != nil {
		return c.Logging.check()
	}
	return nil
}

func (g *Logging) check() error {
	if !goodBucket(g.Bucket) {
		return refusal.Errorf("InvalidTargetBucketForLogging", "The target bucket for logging does not exist")
	}
	switch g.Format {
	case "", "SimplePrefix", "EventTime", "DeliveryTime":
	default:
		return refusal.Errorf("MalformedXML", "The format %.40q of the keys of logs is not one of SimplePrefix, EventTime and DeliveryTime", g.Format)
	}
	if len(g.Prefix) > maxKey {
		return refusal.Errorf("InvalidArgument", "The prefix of logs has more than %d bytes", maxKey)
	}
	return nil
}

// config is what is known of a bucket that has a folder.
func (l *Local) config(name string) bucketConfig { return l.state.Get().config(name, l.o) }

func (s *state) config(name string, o LocalOptions) bucketConfig {
	if c := s.Buckets[name]; c != nil {
		return *c
	}
	return bucketConfig{Account: o.Account, Region: o.Region}
}

// change changes what is known of a bucket.
func (l *Local) change(name string, fn func(*bucketConfig) error) (Undo, error) {
	dir, err := l.store.root(name)
	if err != nil {
		return nil, named(err, "change", name, "")
	}
	var made time.Time
	if info, err := os.Stat(dir); err == nil {
		made = info.ModTime().UTC().Truncate(time.Second)
	}
	undo, err := l.state.Change(func(s *state) error {
		c := bucketConfig{Account: l.o.Account, Region: l.o.Region, Created: made}
		if old := s.Buckets[name]; old != nil {
			c = *old
		}
		if err := fn(&c); err != nil {
			return err
		}
		s.Buckets[name] = &c
		return nil
	})
	return undo, named(err, "change", name, "")
}

// parsedPolicy is a policy that was parsed.
type parsedPolicy struct {
	text string
	doc  *policy.Document
}

// Bucket gives a bucket, or [ErrNoBucket].
func (l *Local) Bucket(_ context.Context, name string) (Bucket, error) {
	dir, err := l.store.root(name)
	if err != nil {
		return Bucket{}, named(err, "look at", name, "")
	}
	b, err := l.bucket(name, dir)
	return b, named(err, "look at", name, "")
}

func (l *Local) bucket(name, dir string) (Bucket, error) {
	c := l.config(name)
	b := Bucket{
		Name: name, Account: c.Account, Region: c.Region, Created: c.Created, PublicAccess: c.PublicAccess, Encryption: c.Encryption,
		Versioning: c.Versioning, Lifecycle: c.Lifecycle, Logging: c.Logging, RequesterPays: c.Requester,
	}
	if b.Created.IsZero() {
		info, err := os.Stat(dir)
		if err != nil {
			return b, err
		}
		b.Created = info.ModTime().UTC().Truncate(time.Second)
	}
	if c.Policy == "" {
		return b, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.policies[name]
	if p.text != c.Policy {
		doc, err := policy.Parse("s3", []byte(c.Policy))
		if err != nil {
			return b, err
		}
		p = parsedPolicy{c.Policy, doc}
		l.policies[name] = p
	}
	b.Policy, b.PolicyText = p.doc, []byte(p.text)
	return b, nil
}

// Buckets lists the buckets of an account in the order of their names; those of all when it is empty.
func (l *Local) Buckets(_ context.Context, account string) ([]Bucket, error) {
	names, err := os.ReadDir(l.store.buckets)
	if err != nil {
		return nil, fmt.Errorf("list buckets: %w", err)
	}
	var list []Bucket
	for _, n := range names {
		if !n.IsDir() || !goodBucket(n.Name()) || account != "" && l.config(n.Name()).Account != account {
			continue
		}
		b, err := l.bucket(n.Name(), filepath.Join(l.store.buckets, n.Name()))
		if isAbsent(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list buckets: %s: %w", n.Name(), err)
		}
		list = append(list, b)
	}
	return list, nil
}

func ownerACL(account string) auth.ACL {
	return auth.ACL{Owner: account, Grantees: []auth.Grantee{{Permission: auth.PermissionFullControl, Access: account, Type: types.TypeCanonicalUser}}}
}

// CreateBucket makes a bucket, with public access blocked as AWS does. Codes of errors are BucketAlreadyOwnedByYou,
// BucketAlreadyExists and InvalidBucketName.
func (l *Local) CreateBucket(ctx context.Context, spec BucketSpec) (Undo, error) {
	if !goodBucket(spec.Name) || net4(spec.Name) {
		return nil, named(s3err.GetBucketErr(s3err.ErrInvalidBucketName, spec.Name), "make", spec.Name, "")
	}
	if spec.Account == "" {
		spec.Account = l.o.Account
	}
	if spec.Region == "" {
		spec.Region = l.o.Region
	}
	if spec.Ownership == "" {
		spec.Ownership = string(types.ObjectOwnershipBucketOwnerEnforced)
	}
	l.making.Lock()
	defer l.making.Unlock()
	if _, err := l.store.root(spec.Name); err == nil {
		code := s3err.ErrBucketAlreadyExists
		if l.config(spec.Name).Account == spec.Account {
			code = s3err.ErrBucketAlreadyOwnedByYou
		}
		return nil, named(s3err.GetBucketErr(code, spec.Name), "make", spec.Name, "")
	} else if Code(err) != "NoSuchBucket" {
		return nil, named(err, "make", spec.Name, "")
	}
	// The state comes first: without its folder it is forgotten, and a folder without it would be the default owner's.
	c := &bucketConfig{
		Account: spec.Account, Region: spec.Region, Created: l.o.Now().UTC().Truncate(time.Second),
		PublicAccess: &PublicAccessBlock{true, true, true, true},
	}
	if spec.ObjectLock {
		c.Versioning = string(types.BucketVersioningStatusEnabled)
	}
	undo, err := l.state.Change(func(s *state) error { s.Buckets[spec.Name] = c; return nil })
	if err != nil {
		return nil, named(err, "make", spec.Name, "")
	}
	if err := l.store.make(ctx, spec); err != nil {
		return nil, named(errors.Join(err, undo()), "make", spec.Name, "")
	}
	return func() error {
		l.making.Lock()
		defer l.making.Unlock()
		if _, err := l.take(spec.Name); err != nil {
			l.o.Log.Error("a bucket that must not be is there still", slog.String("bucket", spec.Name), slog.Any("error", err))
			return fmt.Errorf("take back bucket %s: %w", spec.Name, err)
		}
		return undo()
	}, nil
}

// net4 reports whether a name is an IP address, which no bucket's may be.
func net4(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil
}

// take takes the folders of an empty bucket away, to where they stay until the buckets are opened again.
func (l *Local) take(name string) (back func() error, err error) {
	if ok, err := l.store.empty(name); err != nil {
		return nil, err
	} else if !ok {
		return nil, s3err.GetBucketErr(s3err.ErrBucketNotEmpty, name)
	}
	trash := filepath.Join(l.dir, deletedName)
	if err := durable.MkdirAll(trash, 0o700); err != nil {
		return nil, err
	}
	to, err := os.MkdirTemp(trash, name+".")
	if err != nil {
		return nil, err
	}
	from := filepath.Join(l.store.buckets, name)
	l.store.forget(from)
	if err := os.Rename(from, filepath.Join(to, "bucket")); err != nil {
		return nil, err
	}
	l.store.forget(from)
	// Somebody may have put something into it meanwhile.
	if left, err := os.ReadDir(filepath.Join(to, "bucket")); err != nil || slices.ContainsFunc(left, func(e os.DirEntry) bool { return e.Name() != tmpName }) {
		return nil, errors.Join(err, os.Rename(filepath.Join(to, "bucket"), from), s3err.GetBucketErr(s3err.ErrBucketNotEmpty, name))
	}
	if err := os.RemoveAll(filepath.Join(l.store.archive, name)); err != nil {
		return nil, err
	}
	var attrs map[string][]byte
	if l.store.attrs.beside != "" {
		if attrs, err = l.attributesOf(from); err != nil {
			return nil, err
		}
		if err := l.store.attrs.DeleteAttributes(from, ""); err != nil {
			return nil, err
		}
	}
	if err := durable.SyncDir(l.store.buckets); err != nil {
		return nil, err
	}
	return func() error {
		if _, err := os.Lstat(from); !isAbsent(err) { // one was made since
			return errors.Join(err, os.ErrExist)
		}
		if err := os.Rename(filepath.Join(to, "bucket"), from); err != nil {
			return err
		}
		for name, v := range attrs {
			if err := l.store.attrs.store(nil, from, "", name, v); err != nil {
				return err
			}
		}
		return durable.SyncDir(l.store.buckets)
	}, nil
}

func (l *Local) attributesOf(dir string) (map[string][]byte, error) {
	names, err := l.store.attrs.ListAttributes(dir, "")
	if err != nil {
		return nil, err
	}
	m := map[string][]byte{}
	for _, n := range names {
		if m[n], err = l.store.attrs.RetrieveAttribute(nil, dir, "", n); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// DeleteBucket removes an empty bucket, or fails with the code BucketNotEmpty. Uploads to it that were begun end.
func (l *Local) DeleteBucket(_ context.Context, name string) (Undo, error) {
	l.making.Lock()
	defer l.making.Unlock()
	if _, err := l.store.root(name); err != nil {
		return nil, named(err, "delete", name, "")
	}
	back, err := l.take(name)
	if err != nil {
		return nil, named(err, "delete", name, "")
	}
	undo, err := l.state.Change(func(s *state) error { delete(s.Buckets, name); return nil })
	if err != nil {
		return nil, named(errors.Join(err, back()), "delete", name, "")
	}
	return func() error {
		l.making.Lock()
		defer l.making.Unlock()
		if err := errors.Join(undo(), back()); err != nil {
			l.o.Log.Error("a bucket that was deleted could not be brought back", slog.String("bucket", name), slog.Any("error", err))
			return fmt.Errorf("bring back bucket %s: %w", name, err)
		}
		return nil
	}, nil
}

// parsePolicy parses the policy of a bucket, and refuses one for others' resources.
func parsePolicy(bucket string, text []byte) (*policy.Document, error) {
	doc, err := policy.Parse("s3", text)
	if err != nil {
		return nil, refusal.Errorf("MalformedPolicy", "%s", err)
	}
	for _, r := range doc.Resources() {
		name, ok := strings.CutPrefix(r, "arn:")
		if part := strings.SplitN(name, ":", 5); ok && len(part) == 5 && part[1] == "s3" && part[2] == "" && part[3] == "" {
			name, _, _ = strings.Cut(part[4], "/")
			if name == bucket {
				continue
			}
		}
		return nil, refusal.Errorf("MalformedPolicy", "Policy has invalid resource")
	}
	return doc, nil
}

// SetPolicy sets the policy of a bucket, or removes it when the text is empty. Codes of errors are MalformedPolicy, and
// AccessDenied for a public policy where such are blocked.
func (l *Local) SetPolicy(_ context.Context, bucket string, text []byte) (Undo, error) {
	var doc *policy.Document
	if len(text) > 0 {
		var err error
		if doc, err = parsePolicy(bucket, text); err != nil {
			return nil, named(err, "set the policy of", bucket, "")
		}
	}
	return l.change(bucket, func(c *bucketConfig) error {
		if c.PublicAccess != nil && c.PublicAccess.BlockPublicPolicy && policy.Public(doc) {
			return refusal.Errorf("AccessDenied", "public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access")
		}
		c.Policy = string(text)
		return nil
	})
}

// SetPublicAccess sets what blocks public access, or removes it when it is nil.
func (l *Local) SetPublicAccess(_ context.Context, bucket string, b *PublicAccessBlock) (Undo, error) {
	b = copied(b)
	return l.change(bucket, func(c *bucketConfig) error { c.PublicAccess = b; return nil })
}

// SetEncryption sets how a bucket stores objects, or AES256 when it is nil. A key is named by its ARN.
func (l *Local) SetEncryption(_ context.Context, bucket string, e *Encryption) (Undo, error) {
	e = copied(e)
	if e != nil && e.KMSKey != "" && !keyForm.MatchString(e.KMSKey) {
		return nil, named(refusal.Errorf("InvalidArgument", "%.200q is not the ARN of a key", e.KMSKey), "set the encryption of", bucket, "")
	}
	return l.change(bucket, func(c *bucketConfig) error { c.Encryption = e; return nil })
}

// SetLifecycle sets the lifecycle rules of a bucket, or removes them when they are nil. Codes of errors are those of
// [Lifecycle.Check].
func (l *Local) SetLifecycle(_ context.Context, bucket string, r *Lifecycle) (Undo, error) {
	if r != nil {
		if err := r.Check(); err != nil {
			return nil, named(err, "set the lifecycle of", bucket, "")
		}
		r = r.clone()
	}
	return l.change(bucket, func(c *bucketConfig) error { c.Lifecycle = r; return nil })
}

// SetLogging sets where access to a bucket is logged, or nothing when it is nil. The target must be a bucket of the same account
// and Region.
func (l *Local) SetLogging(_ context.Context, bucket string, g *Logging) (Undo, error) {
	g = copied(g)
	if g != nil {
		if err := g.check(); err != nil {
			return nil, named(err, "set the logging of", bucket, "")
		}
		if _, err := l.store.root(g.Bucket); err != nil {
			return nil, named(refusal.Errorf("InvalidTargetBucketForLogging", "The target bucket for logging does not exist"), "set the logging of", bucket, "")
		}
		if to := l.config(g.Bucket); to.Account != l.config(bucket).Account || to.Region != l.config(bucket).Region {
			return nil, named(refusal.Errorf("InvalidTargetBucketForLogging", "The owner and the Region of the bucket to be logged and the target bucket must be the same"), "set the logging of", bucket, "")
		}
	}
	return l.change(bucket, func(c *bucketConfig) error { c.Logging = g; return nil })
}

// SetRequestPayment sets who pays. Nobody does here; requests that do not say that they would are refused in front of it.
func (l *Local) SetRequestPayment(_ context.Context, bucket string, requester bool) (Undo, error) {
	return l.change(bucket, func(c *bucketConfig) error { c.Requester = requester; return nil })
}

// SetVersioning sets Enabled or Suspended; a bucket with object lock cannot be suspended.
func (l *Local) SetVersioning(_ context.Context, bucket, status string) (Undo, error) {
	dir, err := l.store.root(bucket)
	if err != nil {
		return nil, named(err, "set the versioning of", bucket, "")
	}
	if status != string(types.BucketVersioningStatusEnabled) && status != string(types.BucketVersioningStatusSuspended) {
		return nil, named(refusal.Errorf("IllegalVersioningConfigurationException", "The status is not Enabled or Suspended"), "set the versioning of", bucket, "")
	}
	lock, err := l.store.lockConfig(dir)
	if err != nil {
		return nil, named(err, "set the versioning of", bucket, "")
	}
	if lock != nil && status == string(types.BucketVersioningStatusSuspended) {
		return nil, named(s3err.GetAPIError(s3err.ErrSuspendedVersioningNotAllowed), "set the versioning of", bucket, "")
	}
	return l.change(bucket, func(c *bucketConfig) error { c.Versioning = status; return nil })
}

func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}
