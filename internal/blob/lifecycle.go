package blob

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/backend"

	"spoor/internal/refusal"
)

const (
	maxRules     = 1000
	maxRuleID    = 255
	maxLifecycle = 4 << 20 // bytes of a document
	maxTagKey    = 128
	maxTagValue  = 256
	maxNewer     = 100
)

// Lifecycle is the lifecycle configuration of a bucket.
type Lifecycle struct {
	Rules []LifecycleRule `json:"rules"`
}

// LifecycleRule is one rule. Of its actions at least one is set.
type LifecycleRule struct {
	ID      string          `json:"id"`
	Enabled bool            `json:"enabled"`
	Filter  LifecycleFilter `json:"filter"`

	Days         int       `json:"days,omitempty"` // after which objects expire
	Date         time.Time `json:"date,omitzero"`  // from which on they do
	LoneMarkers  bool      `json:"loneMarkers,omitempty"`
	NoncurrentIn int       `json:"noncurrentDays,omitempty"`  // after which versions that are not current go
	KeepNewer    int       `json:"keepNewer,omitempty"`       // of those that many stay
	AbortIn      int       `json:"abortUploadDays,omitempty"` // after which uploads in parts end
	// Legacy says that the prefix came without a filter around it, and is told so.
	Legacy bool `json:"legacy,omitempty"`
}

// LifecycleFilter says which objects a rule concerns: those that fulfil all of it.
type LifecycleFilter struct {
	Prefix  string         `json:"prefix,omitempty"`
	Tags    []LifecycleTag `json:"tags,omitempty"`
	Larger  *int64         `json:"larger,omitempty"`  // than so many bytes
	Smaller *int64         `json:"smaller,omitempty"` // than so many bytes
}

// LifecycleTag is a tag that objects have.
type LifecycleTag struct {
	Key   string `json:"key" xml:"Key"`
	Value string `json:"value" xml:"Value"`
}

// The form of the document in S3's API.
type (
	lifecycleXML struct {
		XMLName xml.Name  `xml:"LifecycleConfiguration"`
		NS      string    `xml:"xmlns,attr,omitempty"`
		Rules   []ruleXML `xml:"Rule"`
		Rest    []anyXML  `xml:",any"`
	}
	ruleXML struct {
		ID         *string        `xml:"ID"`
		Status     string         `xml:"Status"`
		Prefix     *string        `xml:"Prefix"`
		Filter     *filterXML     `xml:"Filter"`
		Expiration *expirationXML `xml:"Expiration"`
		Noncurrent *noncurrentXML `xml:"NoncurrentVersionExpiration"`
		Abort      *abortXML      `xml:"AbortIncompleteMultipartUpload"`
		Transition []anyXML       `xml:"Transition"`
		NonTrans   []anyXML       `xml:"NoncurrentVersionTransition"`
		Rest       []anyXML       `xml:",any"`
	}
	filterXML struct {
		Prefix  *string        `xml:"Prefix"`
		Tag     []LifecycleTag `xml:"Tag"`
		Larger  *int64         `xml:"ObjectSizeGreaterThan"`
		Smaller *int64         `xml:"ObjectSizeLessThan"`
		And     *andXML        `xml:"And"`
		Rest    []anyXML       `xml:",any"`
	}
	andXML struct {
		Prefix  *string        `xml:"Prefix"`
		Tag     []LifecycleTag `xml:"Tag"`
		Larger  *int64         `xml:"ObjectSizeGreaterThan"`
		Smaller *int64         `xml:"ObjectSizeLessThan"`
		Rest    []anyXML       `xml:",any"`
	}
	expirationXML struct {
		Date    *string  `xml:"Date"`
		Days    *int     `xml:"Days"`
		Markers *bool    `xml:"ExpiredObjectDeleteMarker"`
		Rest    []anyXML `xml:",any"`
	}
	noncurrentXML struct {
		Days  *int     `xml:"NoncurrentDays"`
		Newer *int     `xml:"NewerNoncurrentVersions"`
		Rest  []anyXML `xml:",any"`
	}
	abortXML struct {
		Days *int     `xml:"DaysAfterInitiation"`
		Rest []anyXML `xml:",any"`
	}
	anyXML struct{ XMLName xml.Name }
)

func malformed(format string, a ...any) error { return refusal.Errorf("MalformedXML", format, a...) }

// ParseLifecycle reads a document of S3's API and checks it. Codes of errors are MalformedXML, and those of [Lifecycle.Check].
func ParseLifecycle(text []byte) (*Lifecycle, error) {
	if len(text) > maxLifecycle {
		return nil, malformed("The document has more than %d bytes", maxLifecycle)
	}
	var doc lifecycleXML
	dec := xml.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&doc); err != nil {
		return nil, malformed("The XML you provided was not well-formed or did not validate against our published schema: %s", err)
	}
	for {
		t, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if c, ok := t.(xml.CharData); err != nil || ok && len(bytes.TrimSpace(c)) > 0 || !ok {
			if _, comment := t.(xml.Comment); !comment {
				return nil, malformed("Something follows the document")
			}
		}
	}
	l := &Lifecycle{}
	if err := unknown(doc.Rest); err != nil {
		return nil, err
	}
	for i := range doc.Rules {
		r, err := doc.Rules[i].rule(i)
		if err != nil {
			return nil, err
		}
		l.Rules = append(l.Rules, r)
	}
	return l, l.Check()
}

func unknown(rest []anyXML) error {
	if len(rest) > 0 {
		return malformed("The element %.60s is not known here", rest[0].XMLName.Local)
	}
	return nil
}

func (x *ruleXML) rule(i int) (r LifecycleRule, err error) {
	if len(x.Transition)+len(x.NonTrans) > 0 {
		return r, refusal.Errorf("NotImplemented", "Transitions are not implemented: there is one storage class")
	}
	if err := unknown(x.Rest); err != nil {
		return r, err
	}
	r.ID = fmt.Sprintf("rule-%d", i+1)
	if x.ID != nil && *x.ID != "" {
		r.ID = *x.ID
	}
	switch x.Status {
	case "Enabled":
		r.Enabled = true
	case "Disabled":
	default:
		return r, malformed("The status of rule %.60q is not Enabled or Disabled", r.ID)
	}
	if (x.Prefix == nil) == (x.Filter == nil) {
		return r, malformed("Rule %.60q has not one of Filter and Prefix", r.ID)
	}
	if x.Prefix != nil {
		r.Filter.Prefix, r.Legacy = *x.Prefix, true
	} else if r.Filter, err = x.Filter.filter(); err != nil {
		return r, err
	}
	if e := x.Expiration; e != nil {
		if err := e.read(&r); err != nil {
			return r, err
		}
	}
	if n := x.Noncurrent; n != nil {
		if err := unknown(n.Rest); err != nil {
			return r, err
		}
		if n.Days == nil {
			return r, malformed("NoncurrentVersionExpiration has no NoncurrentDays")
		}
		if r.NoncurrentIn = *n.Days; r.NoncurrentIn < 1 {
			return r, notPositive("NoncurrentDays")
		}
		if n.Newer != nil {
			if r.KeepNewer = *n.Newer; r.KeepNewer < 1 {
				return r, notPositive("NewerNoncurrentVersions")
			}
		}
	}
	if a := x.Abort; a != nil {
		if err := unknown(a.Rest); err != nil {
			return r, err
		}
		if a.Days == nil {
			return r, malformed("AbortIncompleteMultipartUpload has no DaysAfterInitiation")
		}
		if r.AbortIn = *a.Days; r.AbortIn < 1 {
			return r, notPositive("DaysAfterInitiation")
		}
	}
	return r, nil
}

func notPositive(what string) error {
	return refusal.Errorf("InvalidArgument", "'%s' for the lifecycle action must be a positive integer", what)
}

func (e *expirationXML) read(r *LifecycleRule) error {
	if err := unknown(e.Rest); err != nil {
		return err
	}
	n := 0
	if e.Days != nil {
		n++
		if r.Days = *e.Days; r.Days < 1 {
			return notPositive("Days")
		}
	}
	if e.Date != nil {
		n++
		t, err := time.Parse(time.RFC3339, *e.Date)
		if err != nil {
			if t, err = time.Parse(time.DateOnly, *e.Date); err != nil {
				return malformed("The date %.40q is not one", *e.Date)
			}
		}
		if r.Date = t.UTC(); r.Date.IsZero() {
			return malformed("The date %.40q is not one", *e.Date)
		}
	}
	if e.Markers != nil {
		n++
		r.LoneMarkers = *e.Markers
	}
	if n != 1 {
		return malformed("Expiration has not one of Date, Days and ExpiredObjectDeleteMarker")
	}
	return nil
}

func (x *filterXML) filter() (f LifecycleFilter, err error) {
	if err := unknown(x.Rest); err != nil {
		return f, err
	}
	n := len(x.Tag)
	for _, set := range []bool{x.Prefix != nil, x.Larger != nil, x.Smaller != nil, x.And != nil} {
		if set {
			n++
		}
	}
	if n > 1 {
		return f, malformed("Filter has more than one condition, and no And around them")
	}
	a := &andXML{Prefix: x.Prefix, Tag: x.Tag, Larger: x.Larger, Smaller: x.Smaller}
	if x.And != nil {
		a = x.And
		if err := unknown(a.Rest); err != nil {
			return f, err
		}
		n := len(a.Tag)
		for _, set := range []bool{a.Prefix != nil, a.Larger != nil, a.Smaller != nil} {
			if set {
				n++
			}
		}
		if n < 2 {
			return f, malformed("And has fewer than two conditions")
		}
	}
	if a.Prefix != nil {
		f.Prefix = *a.Prefix
	}
	f.Tags, f.Larger, f.Smaller = a.Tag, a.Larger, a.Smaller
	return f, nil
}

// Check checks rules. Codes of errors are InvalidArgument, InvalidRequest and MalformedXML.
func (l *Lifecycle) Check() error {
	if len(l.Rules) == 0 || len(l.Rules) > maxRules {
		return malformed("A lifecycle configuration has from 1 to %d rules", maxRules)
	}
	ids := make(map[string]bool, len(l.Rules))
	for i := range l.Rules {
		r := &l.Rules[i]
		if r.ID == "" || len(r.ID) > maxRuleID || !utf8.ValidString(r.ID) {
			return refusal.Errorf("InvalidArgument", "ID length should not exceed allowed limit of %d", maxRuleID)
		}
		if ids[r.ID] {
			return refusal.Errorf("InvalidArgument", "Rule ID must be unique. Found same ID for more than one rule")
		}
		ids[r.ID] = true
		if err := r.check(); err != nil {
			return err
		}
	}
	return nil
}

func (r *LifecycleRule) check() error {
	f := &r.Filter
	if len(f.Prefix) > maxKey || !utf8.ValidString(f.Prefix) {
		return refusal.Errorf("InvalidRequest", "The maximum size of a prefix is %d", maxKey)
	}
	tags := map[string]bool{}
	for _, t := range f.Tags {
		if t.Key == "" || utf8.RuneCountInString(t.Key) > maxTagKey || utf8.RuneCountInString(t.Value) > maxTagValue || !utf8.ValidString(t.Key+t.Value) {
			return refusal.Errorf("InvalidTag", "The TagKey or TagValue you have provided is invalid")
		}
		if tags[t.Key] {
			return refusal.Errorf("InvalidRequest", "Duplicate Tag Keys are not allowed")
		}
		tags[t.Key] = true
	}
	if f.Larger != nil && *f.Larger < 0 || f.Smaller != nil && *f.Smaller < 1 {
		return refusal.Errorf("InvalidRequest", "The sizes of a filter must not be negative")
	}
	if f.Larger != nil && f.Smaller != nil && *f.Larger >= *f.Smaller-1 {
		return refusal.Errorf("InvalidRequest", "ObjectSizeGreaterThan must be less than ObjectSizeLessThan")
	}
	if r.Days < 0 || r.NoncurrentIn < 0 || r.KeepNewer < 0 || r.AbortIn < 0 {
		return notPositive("Days")
	}
	const most = 1 << 31
	if r.Days >= most || r.NoncurrentIn >= most || r.AbortIn >= most {
		return refusal.Errorf("InvalidArgument", "A number of days is too large")
	}
	if r.KeepNewer > maxNewer || r.KeepNewer > 0 && r.NoncurrentIn == 0 {
		return refusal.Errorf("InvalidArgument", "NewerNoncurrentVersions is a number from 1 to %d, with NoncurrentDays", maxNewer)
	}
	if !r.Date.IsZero() {
		if !r.Date.Equal(r.Date.UTC().Truncate(24 * time.Hour)) {
			return refusal.Errorf("InvalidArgument", "'Date' must be at midnight GMT")
		}
		if y := r.Date.UTC().Year(); y < 1 || y > 9999 {
			return refusal.Errorf("InvalidArgument", "'Date' is out of range")
		}
		if r.Days > 0 || r.LoneMarkers {
			return malformed("Expiration has not one of Date, Days and ExpiredObjectDeleteMarker")
		}
	}
	if r.Days > 0 && r.LoneMarkers {
		return malformed("Expiration has not one of Date, Days and ExpiredObjectDeleteMarker")
	}
	narrow := len(f.Tags) > 0 || f.Larger != nil || f.Smaller != nil
	if r.AbortIn > 0 && narrow {
		return refusal.Errorf("InvalidRequest", "AbortIncompleteMultipartUpload cannot be specified with Tags or object sizes")
	}
	if r.LoneMarkers && narrow {
		return refusal.Errorf("InvalidRequest", "ExpiredObjectDeleteMarker cannot be specified with Tags or object sizes")
	}
	if r.Days == 0 && r.Date.IsZero() && !r.LoneMarkers && r.NoncurrentIn == 0 && r.AbortIn == 0 {
		return refusal.Errorf("InvalidRequest", "At least one action needs to be specified in a rule")
	}
	return nil
}

func (l *Lifecycle) clone() *Lifecycle {
	c := &Lifecycle{slices.Clone(l.Rules)}
	for i := range c.Rules {
		f := &c.Rules[i].Filter
		f.Tags, f.Larger, f.Smaller = slices.Clone(f.Tags), copied(f.Larger), copied(f.Smaller)
	}
	return c
}

// XML is the document of S3's API.
func (l *Lifecycle) XML() ([]byte, error) {
	doc := lifecycleXML{NS: "http://s3.amazonaws.com/doc/2006-03-01/"}
	for _, r := range l.Rules {
		x := ruleXML{ID: &r.ID, Status: "Disabled"}
		if r.Enabled {
			x.Status = "Enabled"
		}
		if r.Legacy {
			x.Prefix = &r.Filter.Prefix
		} else {
			x.Filter = r.Filter.xml()
		}
		switch {
		case r.Days > 0:
			x.Expiration = &expirationXML{Days: &r.Days}
		case !r.Date.IsZero():
			x.Expiration = &expirationXML{Date: ptr(r.Date.UTC().Format("2006-01-02T15:04:05.000Z"))}
		case r.LoneMarkers:
			x.Expiration = &expirationXML{Markers: ptr(true)}
		}
		if r.NoncurrentIn > 0 {
			x.Noncurrent = &noncurrentXML{Days: &r.NoncurrentIn}
			if r.KeepNewer > 0 {
				x.Noncurrent.Newer = &r.KeepNewer
			}
		}
		if r.AbortIn > 0 {
			x.Abort = &abortXML{Days: &r.AbortIn}
		}
		doc.Rules = append(doc.Rules, x)
	}
	b, err := xml.Marshal(doc)
	return append([]byte(xml.Header), b...), err
}

func (f *LifecycleFilter) xml() *filterXML {
	n := len(f.Tags)
	for _, set := range []bool{f.Prefix != "", f.Larger != nil, f.Smaller != nil} {
		if set {
			n++
		}
	}
	var prefix *string
	if f.Prefix != "" || n == 0 {
		prefix = &f.Prefix
	}
	if n < 2 {
		return &filterXML{Prefix: prefix, Tag: f.Tags, Larger: f.Larger, Smaller: f.Smaller}
	}
	return &filterXML{And: &andXML{Prefix: prefix, Tag: f.Tags, Larger: f.Larger, Smaller: f.Smaller}}
}

// Expirations count what lifecycle rules did.
type Expirations struct {
	Objects  int // that were removed, or got a delete marker
	Versions int // that were not current
	Markers  int // that had nothing left to hide
	Uploads  int
	Locked   int // versions that stayed because they are locked
}

// RunLifecycle applies the lifecycle rules of all buckets now, and then about daily, until ctx ends. Failures are logged and
// tried again the next time.
func (l *Local) RunLifecycle(ctx context.Context) error {
	for {
		if _, err := l.ApplyLifecycle(ctx); err != nil && ctx.Err() == nil {
			l.o.Log.Error("lifecycle rules could not be applied everywhere", slog.Any("error", err))
		}
		t := time.NewTimer(l.o.LifecycleInterval)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
	}
}

// ApplyLifecycle applies the lifecycle rules of all buckets once. What fails in one bucket does not keep it from the others.
func (l *Local) ApplyLifecycle(ctx context.Context) (Expirations, error) {
	var sum Expirations
	all, err := l.Buckets(ctx, "")
	if err != nil {
		return sum, err
	}
	for _, b := range all {
		if b.Lifecycle == nil {
			continue
		}
		x := &expiry{l: l, bucket: b, now: l.o.Now().UTC()}
		berr := x.run(ctx)
		if berr != nil {
			err = errors.Join(err, fmt.Errorf("apply the lifecycle of %s: %w", b.Name, berr))
		}
		if x.done != (Expirations{}) {
			l.o.Log.Info("lifecycle rules were applied", slog.String("bucket", b.Name), slog.Int("objects", x.done.Objects), slog.Int("versions", x.done.Versions),
				slog.Int("markers", x.done.Markers), slog.Int("uploads", x.done.Uploads), slog.Int("locked", x.done.Locked))
		}
		sum.Objects += x.done.Objects
		sum.Versions += x.done.Versions
		sum.Markers += x.done.Markers
		sum.Uploads += x.done.Uploads
		sum.Locked += x.done.Locked
		if ctx.Err() != nil {
			break
		}
	}
	return sum, err
}

// expiry applies the rules of a bucket.
type expiry struct {
	l      *Local
	bucket Bucket
	now    time.Time
	done   Expirations
}

// due is the midnight after some days.
func due(from time.Time, days int) time.Time {
	t := from.UTC().AddDate(0, 0, days)
	day := t.Truncate(24 * time.Hour)
	if day.Equal(t) {
		return day
	}
	return day.AddDate(0, 0, 1)
}

func (x *expiry) expired(name, version string) {
	if x.l.o.Expired != nil {
		x.l.o.Expired(x.bucket.Name, name, version)
	}
}

func (x *expiry) run(ctx context.Context) error {
	s := x.l.store
	dir, err := s.root(x.bucket.Name)
	if err != nil {
		return err
	}
	if err := x.uploads(ctx); err != nil {
		return err
	}
	concerns := slices.ContainsFunc(x.bucket.Lifecycle.Rules, func(r LifecycleRule) bool {
		return r.Enabled && (r.Days > 0 || !r.Date.IsZero() || r.LoneMarkers || r.NoncurrentIn > 0)
	})
	if !concerns {
		return nil
	}
	var failed error
	for marker := ""; ; {
		w, err := backend.Walk(ctx, os.DirFS(dir), common(x.bucket.Lifecycle.Rules), "", marker, maxList, keysOf(s, dir), []string{tmpName})
		if err != nil {
			return errors.Join(failed, err)
		}
		for _, o := range w.Objects {
			if err := ctx.Err(); err != nil {
				return errors.Join(failed, err)
			}
			if err := x.key(dir, *o.Key); err != nil && failed == nil {
				failed = fmt.Errorf("key %q: %w", *o.Key, err)
			}
		}
		if !w.Truncated {
			return failed
		}
		marker = w.NextMarker
	}
}

// common is the prefix that all keys have that the rules concern.
func common(rules []LifecycleRule) string {
	p := rules[0].Filter.Prefix
	for _, r := range rules[1:] {
		for !strings.HasPrefix(r.Filter.Prefix, p) {
			p = p[:len(p)-1]
		}
	}
	for !utf8.ValidString(p) {
		p = p[:len(p)-1]
	}
	return p
}

// concerns reports whether a rule's filter lets a version in.
func (x *expiry) concerns(f *LifecycleFilter, key string, v versionInfo) (bool, error) {
	if !strings.HasPrefix(key, f.Prefix) || f.Larger != nil && v.size <= *f.Larger || f.Smaller != nil && v.size >= *f.Smaller {
		return false, nil
	}
	if len(f.Tags) == 0 {
		return true, nil
	}
	if v.place.marker {
		return false, nil
	}
	tags, err := x.l.store.GetObjectTagging(context.Background(), x.bucket.Name, key, v.place.version)
	for _, t := range f.Tags {
		if have, ok := tags[t.Key]; !ok || have != t.Value {
			return false, err
		}
	}
	return err == nil, err
}

// wants reports whether a rule removes version i of a history.
func (x *expiry) wants(r *LifecycleRule, history []versionInfo, i int) bool {
	v := history[i]
	if i > 0 {
		// The age of a version counts from when another took its place; i-1 newer ones are not current either.
		return r.NoncurrentIn > 0 && !x.now.Before(due(history[i-1].made, r.NoncurrentIn)) && i-1 >= r.KeepNewer
	}
	old := r.Days > 0 && !x.now.Before(due(v.made, r.Days)) || !r.Date.IsZero() && !x.now.Before(r.Date)
	if v.place.marker {
		return len(history) == 1 && (r.LoneMarkers || old)
	}
	return old
}

// key applies the rules to the versions of a key, with its lock held.
func (x *expiry) key(dir, key string) error {
	s, bucket := x.l.store, x.bucket.Name
	defer s.lock(bucket, key)()
	history, err := s.history(dir, bucket, key)
	if err != nil {
		return err
	}
	for i := len(history) - 1; i >= 0; i-- { // oldest first, so that a marker may be left alone in the end
		wanted := false
		for r := range x.bucket.Lifecycle.Rules {
			rule := &x.bucket.Lifecycle.Rules[r]
			if !rule.Enabled || !x.wants(rule, history, i) {
				continue
			}
			if wanted, err = x.concerns(&rule.Filter, key, history[i]); err != nil {
				return err
			}
			if wanted {
				break
			}
		}
		if !wanted {
			continue
		}
		gone, err := x.remove(dir, key, history, i)
		if err != nil {
			return err
		}
		if gone {
			history = slices.Delete(history, i, i+1)
		}
	}
	return nil
}

// remove removes version i of a history, unless it is locked.
func (x *expiry) remove(dir, key string, history []versionInfo, i int) (bool, error) {
	s, bucket, v := x.l.store, x.bucket.Name, history[i]
	status := types.BucketVersioningStatus(x.bucket.Versioning)
	hides := i == 0 && !v.place.marker && status == types.BucketVersioningStatusEnabled || i == 0 && !v.place.marker && status != "" && v.place.version != nullVersion
	if !hides {
		locked, err := s.locked(v.place, x.now)
		if err != nil {
			return false, err
		}
		if locked {
			x.done.Locked++
			return false, nil
		}
	}
	var err error
	version := v.place.version
	switch {
	case strings.HasSuffix(key, "/"):
		_, err = s.removeFolder(dir, key)
		x.done.Objects++
	case i == 0 && !v.place.marker && status != "":
		_, err = s.putMarker(dir, bucket, key, status)
		version = ""
		x.done.Objects++
	default:
		_, err = s.removeVersion(dir, bucket, key, version)
		switch {
		case v.place.marker && i == 0:
			x.done.Markers++
		case i > 0:
			x.done.Versions++
		default:
			x.done.Objects++
		}
	}
	if err != nil {
		return false, err
	}
	if status == "" {
		version = ""
	}
	x.expired(key, version)
	return !hides, nil
}

// uploads ends uploads in parts that are too old.
func (x *expiry) uploads(ctx context.Context) error {
	s := x.l.store
	for i := range x.bucket.Lifecycle.Rules {
		r := &x.bucket.Lifecycle.Rules[i]
		if !r.Enabled || r.AbortIn == 0 {
			continue
		}
		var after, afterID string
		for {
			res, err := s.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{
				Bucket: &x.bucket.Name, Prefix: &r.Filter.Prefix, KeyMarker: &after, UploadIdMarker: &afterID, MaxUploads: ptr(int32(maxList)),
			})
			if err != nil {
				return err
			}
			for _, u := range res.Uploads {
				if x.now.Before(due(u.Initiated, r.AbortIn)) {
					continue
				}
				if err := s.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &x.bucket.Name, Key: &u.Key, UploadId: &u.UploadID}); err != nil {
					return err
				}
				x.done.Uploads++
				x.expired(u.Key, "")
			}
			if !res.IsTruncated {
				break
			}
			after, afterID = res.NextKeyMarker, ""
		}
	}
	return nil
}
