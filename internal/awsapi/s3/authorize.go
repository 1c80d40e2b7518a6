package s3

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/caller"
	"spoor/internal/blob"
	"spoor/internal/gateway"
	"spoor/internal/policy"
)

// authorize asks whether the caller may.
func (x *exchange) authorize() error {
	q := x.q
	action := q.Action()
	if action == "" { // a question of a browser, before it asks
		return nil
	}
	switch q.Operation.Name {
	case "ListBuckets":
		return x.ask(action, x.arn("*"), nil, nil)
	case "CreateBucket":
		return x.ask(action, q.ARN(x.f.o.Partition), nil, nil)
	case "DeleteObjects": // each object on its own, when they are known
		return nil
	}
	if x.rescue(action) {
		return x.ask(action, q.ARN(x.f.o.Partition), nil, nil)
	}
	if err := x.ask(action, q.ARN(x.f.o.Partition), &x.bucket, nil); err != nil {
		return err
	}
	further := func(action string) error { return x.ask(action, q.ARN(x.f.o.Partition), &x.bucket, nil) }
	h := x.r.Header
	if q.Operation.Name == "PutObject" || q.Operation.Name == "CopyObject" || q.Operation.Name == "CreateMultipartUpload" {
		if h.Get("X-Amz-Tagging") != "" {
			if err := further("s3:PutObjectTagging"); err != nil {
				return err
			}
		}
		if h.Get("X-Amz-Object-Lock-Mode") != "" || h.Get("X-Amz-Object-Lock-Retain-Until-Date") != "" {
			if err := further("s3:PutObjectRetention"); err != nil {
				return err
			}
		}
		if h.Get("X-Amz-Object-Lock-Legal-Hold") != "" {
			if err := further("s3:PutObjectLegalHold"); err != nil {
				return err
			}
		}
	}
	if q.Operation.Name == "GetObjectAttributes" {
		get := "s3:GetObject"
		if q.Version() != "" {
			get = "s3:GetObjectVersion"
		}
		if err := further(get); err != nil {
			return err
		}
	}
	if strings.EqualFold(h.Get("X-Amz-Bypass-Governance-Retention"), "true") {
		if err := further("s3:BypassGovernanceRetention"); err != nil {
			return err
		}
	}
	if q.Operation.Copies {
		return x.authorizeSource()
	}
	return nil
}

// rescue tells the calls by which the root user of the bucket's account gets rid of a policy that keeps everybody out.
func (x *exchange) rescue(action string) bool {
	id := x.call.Principal.Identity
	return x.found && id.Type == "Root" && id.AccountID == x.bucket.Account &&
		(action == "s3:GetBucketPolicy" || action == "s3:PutBucketPolicy" || action == "s3:DeleteBucketPolicy")
}

func (x *exchange) arn(name string) string { return "arn:" + x.f.o.Partition + ":s3:::" + name }

// ask asks for one permission. b is the bucket whose policy has a say, nil for none.
func (x *exchange) ask(action, arn string, b *blob.Bucket, conditions map[string][]string) error {
	g := caller.Guarded{Owner: x.call.Principal.Identity.AccountID}
	if b != nil {
		g.Owner, g.Policy = b.Account, b.Policy
		given := x.conditions()
		for k, v := range conditions {
			given[k] = v
		}
		given["s3:ResourceAccount"] = []string{b.Account}
		if x.tagged(b.PolicyText) {
			if err := x.objectTags(arn, b, given); err != nil {
				return err
			}
		}
		g.Conditions = given
		if b.PublicAccess != nil && b.PublicAccess.RestrictPublicBuckets && policy.Public(b.Policy) && x.call.Principal.Identity.AccountID != b.Account {
			x.why("public policies of this bucket are for its own account alone")
			return denied
		}
	} else if x.proof == nil {
		return denied
	}
	return x.asked(x.f.o.Access.AuthorizeResource(x.r.Context(), x.access(action, arn), g))
}

func (x *exchange) access(action, arn string) awsapi.Access {
	a := caller.AccessOf(x.call, action, arn)
	a.ReadOnly = x.q.Operation.ReadOnly
	return a
}

// asked makes an answer about a permission one for the caller.
func (x *exchange) asked(err error) error {
	if err == nil {
		return nil
	}
	if !errors.Is(err, awsapi.ErrDenied) {
		return gateway.Internal(fmt.Errorf("ask for a permission: %w", err))
	}
	if x.proof == nil {
		return denied
	}
	return gateway.Refuse(http.StatusForbidden, "AccessDenied", "%s", err)
}

func (x *exchange) why(text string) {
	x.f.o.Log.Debug("a call is refused", "request", x.call.RequestID, "why", text)
}

// conditions are what policies of buckets may ask of a request.
func (x *exchange) conditions() map[string][]string {
	c := map[string][]string{"s3:signatureversion": {"AWS4-HMAC-SHA256"}}
	put := func(name, value string) {
		if value != "" {
			c["s3:"+name] = []string{value}
		}
	}
	q := x.q.Query
	for _, name := range []string{"prefix", "delimiter", "max-keys"} {
		if q.Has(name) {
			c["s3:"+name] = []string{q.Get(name)}
		}
	}
	put("VersionId", x.q.Version())
	for name, values := range x.r.Header {
		name = strings.ToLower(name)
		switch {
		case strings.HasPrefix(name, "x-amz-acl"), strings.HasPrefix(name, "x-amz-grant-"), name == "x-amz-copy-source", name == "x-amz-metadata-directive",
			name == "x-amz-server-side-encryption", name == "x-amz-storage-class", name == "x-amz-website-redirect-location", name == "x-amz-object-ownership",
			name == "x-amz-content-sha256", name == "if-match", name == "if-none-match":
			put(name, strings.Join(values, ","))
		case name == "x-amz-object-lock-mode":
			put("object-lock-mode", values[0])
		case name == "x-amz-object-lock-retain-until-date":
			put("object-lock-retain-until-date", values[0])
		case name == "x-amz-object-lock-legal-hold":
			put("object-lock-legal-hold", values[0])
		case name == "x-amz-tagging":
			tags, err := url.ParseQuery(values[0])
			if err != nil {
				continue
			}
			var keys []string
			for k := range tags {
				c["s3:RequestObjectTag/"+k] = []string{tags.Get(k)}
				keys = append(keys, k)
			}
			slices.Sort(keys)
			c["s3:RequestObjectTagKeys"] = keys
		}
	}
	if key := x.r.Header.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"); key != "" {
		put("x-amz-server-side-encryption-aws-kms-key-id", x.keyARN(key))
	}
	if x.proof == nil {
		delete(c, "s3:signatureversion")
		return c
	}
	sig := x.proof.Signature
	put("authType", "REST-HEADER")
	if sig.Presigned {
		put("authType", "REST-QUERY-STRING")
	}
	put("signatureAge", strconv.FormatInt(max(0, x.call.Time.Sub(sig.Time).Milliseconds()), 10))
	if x.r.TLS != nil {
		put("TlsVersion", map[uint16]string{0x303: "1.2", 0x304: "1.3"}[x.r.TLS.Version])
	}
	return c
}

// keyARN is the ARN that a key's name means, and the name itself where it means nothing.
func (x *exchange) keyARN(id string) string {
	if x.f.o.Keys == nil {
		return id
	}
	if arn, err := x.f.o.Keys.Resolve(x.keyRef(), id); err == nil {
		return arn
	}
	return id
}

// tagged tells policies that ask for the tags which an object has already.
func (x *exchange) tagged(policyText []byte) bool {
	return x.q.Level() == gateway.OfObject && strings.Contains(strings.ToLower(string(policyText)), "s3:existingobjecttag/")
}

// objectTags reads the tags of the object of an ARN.
func (x *exchange) objectTags(arn string, b *blob.Bucket, into map[string][]string) error {
	key, ok := strings.CutPrefix(arn, x.arn(b.Name)+"/")
	if !ok {
		return nil
	}
	q := url.Values{"tagging": {""}}
	if v := x.q.Version(); v != "" && key == x.q.Key {
		q.Set("versionId", v)
	}
	res, err := x.f.transport.RoundTrip(inner(x.r.Context(), http.MethodGet, b.Name, key, q))
	if err != nil {
		return gateway.Internal(fmt.Errorf("read the tags of an object: %w", err))
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // there is no object, or it has no tags
		return nil
	}
	var doc struct {
		TagSet struct{ Tag []struct{ Key, Value string } }
	}
	if err := xml.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&doc); err != nil {
		return gateway.Internal(fmt.Errorf("read the tags of an object: %w", err))
	}
	for _, t := range doc.TagSet.Tag {
		into["s3:ExistingObjectTag/"+t.Key] = []string{t.Value}
	}
	return nil
}

// authorizeSource asks for the object that is copied, by the policy of its bucket and of the key that encrypts it.
func (x *exchange) authorizeSource() error {
	from := x.q.Copy
	b, err := x.f.o.Buckets.Bucket(x.r.Context(), from.Bucket)
	if errors.Is(err, blob.ErrNoBucket) {
		x.extras = append(x.extras, [2]string{"BucketName", from.Bucket})
		return gateway.Refuse(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
	}
	if err != nil {
		return gateway.Internal(fmt.Errorf("look up the bucket of a copy: %w", err))
	}
	if want := x.r.Header.Get("X-Amz-Source-Expected-Bucket-Owner"); want != "" && want != b.Account {
		return denied
	}
	action := "s3:GetObject"
	conditions := map[string][]string{}
	if from.Version != "" {
		action = "s3:GetObjectVersion"
		conditions["s3:VersionId"] = []string{from.Version}
	}
	if err := x.ask(action, x.arn(from.Bucket+"/"+from.Key), &b, conditions); err != nil {
		return err
	}
	o, err := x.f.o.Buckets.HeadVersion(x.r.Context(), from.Bucket, from.Key, from.Version)
	if err != nil {
		return x.absent(stateError(err), &b, from.Key)
	}
	if o.KMSKey != "" {
		return x.mayKey("kms:Decrypt", o.KMSKey, o.EncryptionContext)
	}
	return nil
}

// absent is what is told of an object that cannot be had: that it is not there is for those who may list.
func (x *exchange) absent(err error, b *blob.Bucket, key string) error {
	e := asRefusal(err)
	if e.Status != http.StatusNotFound {
		return err
	}
	if list := x.ask("s3:ListBucket", x.arn(b.Name), b, nil); list != nil {
		if e := asRefusal(list); e.Status >= 500 {
			return e
		}
		if x.proof == nil {
			return denied
		}
		return gateway.Refuse(http.StatusForbidden, "AccessDenied", "%s, which would tell whether the object is there", list.(*gateway.Refusal).Message)
	}
	if e.Code == "NoSuchKey" {
		x.extras = append(x.extras, [2]string{"Key", key})
	}
	return e
}

// Headers of encryption.
const (
	headerSSE = "X-Amz-Server-Side-Encryption"
	headerKey = "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"

	headerContext = "X-Amz-Server-Side-Encryption-Context"
)

// mayKey asks whether the caller may use a key for an object. Somebody without credentials may not.
func (x *exchange) mayKey(action, arn string, encryption map[string]string) error {
	if x.f.o.Keys == nil {
		return gateway.Refuse(http.StatusBadRequest, "KMS.NotFoundException", "There are no keys here.")
	}
	if x.proof == nil {
		return denied
	}
	owner, doc, err := x.f.o.Keys.Policy(arn)
	if err != nil {
		return keyRefusal(err)
	}
	conditions := map[string][]string{
		"kms:ViaService":    {"s3." + x.bucketRegion() + ".amazonaws.com"},
		"kms:CallerAccount": {x.call.Principal.Identity.AccountID},
	}
	for k, v := range encryption {
		conditions["kms:EncryptionContext:"+k] = []string{v}
		conditions["kms:EncryptionContextKeys"] = append(conditions["kms:EncryptionContextKeys"], k)
	}
	slices.Sort(conditions["kms:EncryptionContextKeys"])
	return x.asked(x.f.o.Access.AuthorizeResource(x.r.Context(), x.access(action, arn), caller.Guarded{Owner: owner, Policy: doc, MustDelegate: !x.f.o.Keys.External(arn), Conditions: conditions}))
}

func (x *exchange) bucketRegion() string {
	if x.found && x.bucket.Region != "" {
		return x.bucket.Region
	}
	return x.f.o.Region
}
