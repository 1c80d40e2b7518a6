package gateway

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// Level is what an operation of S3 is about.
type Level uint8

// The levels.
const (
	OfService Level = iota
	OfBucket
	OfObject
)

// S3Operation is an operation of S3: how requests for it look, and what it is called.
type S3Operation struct {
	Name     string   // eventName, as CloudTrail has it
	Action   string   // that a principal needs, without s3:
	Version  string   // the action for a certain version of an object; "" where it is the same
	Level    Level    // what its path names
	Method   string   // of the request
	Sub      string   // parameter of the query that makes it this operation; "" for none
	With     string   // a further one that has to be there
	Copies   bool     // there is an x-amz-copy-source
	ReadOnly bool     // it changes nothing
	Data     bool     // it is a data event, else one of management
	Body     string   // member of requestParameters that has the body, as AWS names it; "" for bodies that are not recorded
	_        struct{} // literals name their members
}

const (
	get, put, post, del, head, options = http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodHead, http.MethodOptions
)

// s3Operations is the table: the first line that fits counts. Names and kinds of events are those of the page on CloudTrail
// events of the S3 user guide, actions those of the service authorization reference.
func s3Operations() []S3Operation {
	return []S3Operation{
		{Name: "ListBuckets", Action: "ListAllMyBuckets", Method: get, ReadOnly: true},

		{Name: "GetAccelerateConfiguration", Action: "GetAccelerateConfiguration", Level: OfBucket, Method: get, Sub: "accelerate", ReadOnly: true},
		{Name: "PutAccelerateConfiguration", Action: "PutAccelerateConfiguration", Level: OfBucket, Method: put, Sub: "accelerate", Body: "AccelerateConfiguration"},
		{Name: "GetBucketAcl", Action: "GetBucketAcl", Level: OfBucket, Method: get, Sub: "acl", ReadOnly: true},
		{Name: "PutBucketAcl", Action: "PutBucketAcl", Level: OfBucket, Method: put, Sub: "acl", Body: "AccessControlPolicy"},
		{Name: "GetBucketAnalyticsConfiguration", Action: "GetAnalyticsConfiguration", Level: OfBucket, Method: get, Sub: "analytics", With: "id", ReadOnly: true},
		{Name: "ListBucketAnalyticsConfigurations", Action: "GetAnalyticsConfiguration", Level: OfBucket, Method: get, Sub: "analytics", ReadOnly: true},
		{Name: "PutBucketAnalyticsConfiguration", Action: "PutAnalyticsConfiguration", Level: OfBucket, Method: put, Sub: "analytics", Body: "AnalyticsConfiguration"},
		{Name: "DeleteBucketAnalyticsConfiguration", Action: "PutAnalyticsConfiguration", Level: OfBucket, Method: del, Sub: "analytics"},
		{Name: "GetBucketCors", Action: "GetBucketCORS", Level: OfBucket, Method: get, Sub: "cors", ReadOnly: true},
		{Name: "PutBucketCors", Action: "PutBucketCORS", Level: OfBucket, Method: put, Sub: "cors", Body: "CORSConfiguration"},
		{Name: "DeleteBucketCors", Action: "PutBucketCORS", Level: OfBucket, Method: del, Sub: "cors"},
		{Name: "GetBucketEncryption", Action: "GetEncryptionConfiguration", Level: OfBucket, Method: get, Sub: "encryption", ReadOnly: true},
		{Name: "PutBucketEncryption", Action: "PutEncryptionConfiguration", Level: OfBucket, Method: put, Sub: "encryption", Body: "ServerSideEncryptionConfiguration"},
		{Name: "DeleteBucketEncryption", Action: "PutEncryptionConfiguration", Level: OfBucket, Method: del, Sub: "encryption"},
		{Name: "GetBucketIntelligentTieringConfiguration", Action: "GetIntelligentTieringConfiguration", Level: OfBucket, Method: get, Sub: "intelligent-tiering", With: "id", ReadOnly: true},
		{Name: "ListBucketIntelligentTieringConfigurations", Action: "GetIntelligentTieringConfiguration", Level: OfBucket, Method: get, Sub: "intelligent-tiering", ReadOnly: true},
		{Name: "PutBucketIntelligentTieringConfiguration", Action: "PutIntelligentTieringConfiguration", Level: OfBucket, Method: put, Sub: "intelligent-tiering", Body: "IntelligentTieringConfiguration"},
		{Name: "DeleteBucketIntelligentTieringConfiguration", Action: "PutIntelligentTieringConfiguration", Level: OfBucket, Method: del, Sub: "intelligent-tiering"},
		{Name: "GetBucketInventoryConfiguration", Action: "GetInventoryConfiguration", Level: OfBucket, Method: get, Sub: "inventory", With: "id", ReadOnly: true},
		{Name: "ListBucketInventoryConfigurations", Action: "GetInventoryConfiguration", Level: OfBucket, Method: get, Sub: "inventory", ReadOnly: true},
		{Name: "PutBucketInventoryConfiguration", Action: "PutInventoryConfiguration", Level: OfBucket, Method: put, Sub: "inventory", Body: "InventoryConfiguration"},
		{Name: "DeleteBucketInventoryConfiguration", Action: "PutInventoryConfiguration", Level: OfBucket, Method: del, Sub: "inventory"},
		{Name: "GetBucketLifecycle", Action: "GetLifecycleConfiguration", Level: OfBucket, Method: get, Sub: "lifecycle", ReadOnly: true},
		{Name: "PutBucketLifecycle", Action: "PutLifecycleConfiguration", Level: OfBucket, Method: put, Sub: "lifecycle", Body: "LifecycleConfiguration"},
		{Name: "DeleteBucketLifecycle", Action: "PutLifecycleConfiguration", Level: OfBucket, Method: del, Sub: "lifecycle"},
		{Name: "GetBucketLocation", Action: "GetBucketLocation", Level: OfBucket, Method: get, Sub: "location", ReadOnly: true},
		{Name: "GetBucketLogging", Action: "GetBucketLogging", Level: OfBucket, Method: get, Sub: "logging", ReadOnly: true},
		{Name: "PutBucketLogging", Action: "PutBucketLogging", Level: OfBucket, Method: put, Sub: "logging", Body: "BucketLoggingStatus"},
		{Name: "GetBucketMetricsConfiguration", Action: "GetMetricsConfiguration", Level: OfBucket, Method: get, Sub: "metrics", With: "id", ReadOnly: true},
		{Name: "ListBucketMetricsConfigurations", Action: "GetMetricsConfiguration", Level: OfBucket, Method: get, Sub: "metrics", ReadOnly: true},
		{Name: "PutBucketMetricsConfiguration", Action: "PutMetricsConfiguration", Level: OfBucket, Method: put, Sub: "metrics", Body: "MetricsConfiguration"},
		{Name: "DeleteBucketMetricsConfiguration", Action: "PutMetricsConfiguration", Level: OfBucket, Method: del, Sub: "metrics"},
		{Name: "GetBucketNotification", Action: "GetBucketNotification", Level: OfBucket, Method: get, Sub: "notification", ReadOnly: true},
		{Name: "PutBucketNotification", Action: "PutBucketNotification", Level: OfBucket, Method: put, Sub: "notification", Body: "NotificationConfiguration"},
		{Name: "GetBucketObjectLockConfiguration", Action: "GetBucketObjectLockConfiguration", Level: OfBucket, Method: get, Sub: "object-lock", ReadOnly: true},
		{Name: "PutBucketObjectLockConfiguration", Action: "PutBucketObjectLockConfiguration", Level: OfBucket, Method: put, Sub: "object-lock", Body: "ObjectLockConfiguration"},
		{Name: "GetBucketOwnershipControls", Action: "GetBucketOwnershipControls", Level: OfBucket, Method: get, Sub: "ownershipControls", ReadOnly: true},
		{Name: "PutBucketOwnershipControls", Action: "PutBucketOwnershipControls", Level: OfBucket, Method: put, Sub: "ownershipControls", Body: "OwnershipControls"},
		{Name: "DeleteBucketOwnershipControls", Action: "PutBucketOwnershipControls", Level: OfBucket, Method: del, Sub: "ownershipControls"},
		{Name: "GetBucketPolicy", Action: "GetBucketPolicy", Level: OfBucket, Method: get, Sub: "policy", ReadOnly: true},
		{Name: "PutBucketPolicy", Action: "PutBucketPolicy", Level: OfBucket, Method: put, Sub: "policy", Body: "bucketPolicy"},
		{Name: "DeleteBucketPolicy", Action: "DeleteBucketPolicy", Level: OfBucket, Method: del, Sub: "policy"},
		{Name: "GetBucketPolicyStatus", Action: "GetBucketPolicyStatus", Level: OfBucket, Method: get, Sub: "policyStatus", ReadOnly: true},
		{Name: "GetBucketPublicAccessBlock", Action: "GetBucketPublicAccessBlock", Level: OfBucket, Method: get, Sub: "publicAccessBlock", ReadOnly: true},
		{Name: "PutBucketPublicAccessBlock", Action: "PutBucketPublicAccessBlock", Level: OfBucket, Method: put, Sub: "publicAccessBlock", Body: "PublicAccessBlockConfiguration"},
		{Name: "DeleteBucketPublicAccessBlock", Action: "PutBucketPublicAccessBlock", Level: OfBucket, Method: del, Sub: "publicAccessBlock"},
		{Name: "GetBucketReplication", Action: "GetReplicationConfiguration", Level: OfBucket, Method: get, Sub: "replication", ReadOnly: true},
		{Name: "PutBucketReplication", Action: "PutReplicationConfiguration", Level: OfBucket, Method: put, Sub: "replication", Body: "ReplicationConfiguration"},
		{Name: "DeleteBucketReplication", Action: "PutReplicationConfiguration", Level: OfBucket, Method: del, Sub: "replication"},
		{Name: "GetBucketRequestPayment", Action: "GetBucketRequestPayment", Level: OfBucket, Method: get, Sub: "requestPayment", ReadOnly: true},
		{Name: "PutBucketRequestPayment", Action: "PutBucketRequestPayment", Level: OfBucket, Method: put, Sub: "requestPayment", Body: "RequestPaymentConfiguration"},
		{Name: "CreateSession", Action: "CreateSession", Level: OfBucket, Method: get, Sub: "session", ReadOnly: true, Data: true},
		{Name: "GetBucketTagging", Action: "GetBucketTagging", Level: OfBucket, Method: get, Sub: "tagging", ReadOnly: true},
		{Name: "PutBucketTagging", Action: "PutBucketTagging", Level: OfBucket, Method: put, Sub: "tagging", Body: "Tagging"},
		{Name: "DeleteBucketTagging", Action: "PutBucketTagging", Level: OfBucket, Method: del, Sub: "tagging"},
		{Name: "ListMultipartUploads", Action: "ListBucketMultipartUploads", Level: OfBucket, Method: get, Sub: "uploads", ReadOnly: true},
		{Name: "GetBucketVersioning", Action: "GetBucketVersioning", Level: OfBucket, Method: get, Sub: "versioning", ReadOnly: true},
		{Name: "PutBucketVersioning", Action: "PutBucketVersioning", Level: OfBucket, Method: put, Sub: "versioning", Body: "VersioningConfiguration"},
		{Name: "ListObjectVersions", Action: "ListBucketVersions", Level: OfBucket, Method: get, Sub: "versions", ReadOnly: true, Data: true},
		{Name: "GetBucketWebsite", Action: "GetBucketWebsite", Level: OfBucket, Method: get, Sub: "website", ReadOnly: true},
		{Name: "PutBucketWebsite", Action: "PutBucketWebsite", Level: OfBucket, Method: put, Sub: "website", Body: "WebsiteConfiguration"},
		{Name: "DeleteBucketWebsite", Action: "DeleteBucketWebsite", Level: OfBucket, Method: del, Sub: "website"},
		{Name: "DeleteObjects", Action: "DeleteObject", Version: "DeleteObjectVersion", Level: OfBucket, Method: post, Sub: "delete", Data: true},
		{Name: "ListObjects", Action: "ListBucket", Level: OfBucket, Method: get, Sub: "list-type", ReadOnly: true, Data: true},
		{Name: "ListObjects", Action: "ListBucket", Level: OfBucket, Method: get, ReadOnly: true, Data: true},
		{Name: "CreateBucket", Action: "CreateBucket", Level: OfBucket, Method: put, Body: "CreateBucketConfiguration"},
		{Name: "DeleteBucket", Action: "DeleteBucket", Level: OfBucket, Method: del},
		{Name: "HeadBucket", Action: "ListBucket", Level: OfBucket, Method: head, ReadOnly: true, Data: true},
		{Name: "PostObject", Action: "PutObject", Level: OfBucket, Method: post, Data: true},
		{Name: "PreflightOptions", Level: OfBucket, Method: options, ReadOnly: true, Data: true},

		{Name: "GetObjectAcl", Action: "GetObjectAcl", Version: "GetObjectVersionAcl", Level: OfObject, Method: get, Sub: "acl", ReadOnly: true, Data: true},
		{Name: "PutObjectAcl", Action: "PutObjectAcl", Version: "PutObjectVersionAcl", Level: OfObject, Method: put, Sub: "acl", Data: true, Body: "AccessControlPolicy"},
		{Name: "GetObjectAttributes", Action: "GetObjectAttributes", Version: "GetObjectVersionAttributes", Level: OfObject, Method: get, Sub: "attributes", ReadOnly: true, Data: true},
		{Name: "GetObjectLegalHold", Action: "GetObjectLegalHold", Level: OfObject, Method: get, Sub: "legal-hold", ReadOnly: true, Data: true},
		{Name: "PutObjectLegalHold", Action: "PutObjectLegalHold", Level: OfObject, Method: put, Sub: "legal-hold", Data: true, Body: "LegalHold"},
		{Name: "GetObjectRetention", Action: "GetObjectRetention", Level: OfObject, Method: get, Sub: "retention", ReadOnly: true, Data: true},
		{Name: "PutObjectRetention", Action: "PutObjectRetention", Level: OfObject, Method: put, Sub: "retention", Data: true, Body: "Retention"},
		{Name: "GetObjectTagging", Action: "GetObjectTagging", Version: "GetObjectVersionTagging", Level: OfObject, Method: get, Sub: "tagging", ReadOnly: true, Data: true},
		{Name: "PutObjectTagging", Action: "PutObjectTagging", Version: "PutObjectVersionTagging", Level: OfObject, Method: put, Sub: "tagging", Data: true, Body: "Tagging"},
		{Name: "DeleteObjectTagging", Action: "DeleteObjectTagging", Version: "DeleteObjectVersionTagging", Level: OfObject, Method: del, Sub: "tagging", Data: true},
		{Name: "GetObjectTorrent", Action: "GetObjectTorrent", Version: "GetObjectVersionTorrent", Level: OfObject, Method: get, Sub: "torrent", ReadOnly: true, Data: true},
		{Name: "RestoreObject", Action: "RestoreObject", Level: OfObject, Method: post, Sub: "restore", Data: true, Body: "RestoreRequest"},
		{Name: "SelectObjectContent", Action: "GetObject", Level: OfObject, Method: post, Sub: "select", ReadOnly: true, Data: true},
		{Name: "RenameObject", Action: "PutObject", Level: OfObject, Method: put, Sub: "renameObject", Data: true},
		{Name: "UpdateObjectEncryption", Action: "UpdateObjectEncryption", Level: OfObject, Method: put, Sub: "encryption", Data: true},
		{Name: "CreateMultipartUpload", Action: "PutObject", Level: OfObject, Method: post, Sub: "uploads", Data: true},
		{Name: "UploadPartCopy", Action: "PutObject", Level: OfObject, Method: put, Sub: "uploadId", Copies: true, Data: true},
		{Name: "UploadPart", Action: "PutObject", Level: OfObject, Method: put, Sub: "uploadId", Data: true},
		{Name: "CompleteMultipartUpload", Action: "PutObject", Level: OfObject, Method: post, Sub: "uploadId", Data: true},
		{Name: "AbortMultipartUpload", Action: "AbortMultipartUpload", Level: OfObject, Method: del, Sub: "uploadId", Data: true},
		{Name: "ListParts", Action: "ListMultipartUploadParts", Level: OfObject, Method: get, Sub: "uploadId", ReadOnly: true, Data: true},
		{Name: "CopyObject", Action: "PutObject", Level: OfObject, Method: put, Copies: true, Data: true},
		{Name: "GetObject", Action: "GetObject", Version: "GetObjectVersion", Level: OfObject, Method: get, ReadOnly: true, Data: true},
		{Name: "HeadObject", Action: "GetObject", Version: "GetObjectVersion", Level: OfObject, Method: head, ReadOnly: true, Data: true},
		{Name: "PutObject", Action: "PutObject", Level: OfObject, Method: put, Data: true},
		{Name: "DeleteObject", Action: "DeleteObject", Version: "DeleteObjectVersion", Level: OfObject, Method: del, Data: true},
		{Name: "PreflightOptions", Level: OfObject, Method: options, ReadOnly: true, Data: true},
	}
}

// S3Table finds the operations of requests. It is immutable.
type S3Table struct {
	rows    []S3Operation
	subs    [3]map[string]bool // parameters that are sub-resources, by level
	domains []string
}

// NewS3Table makes the table. A host NAME.DOMAIN of one of the domains names a bucket; with other hosts, and without domains,
// the path does.
func NewS3Table(domains ...string) *S3Table {
	t := &S3Table{rows: s3Operations()}
	for i := range t.subs {
		t.subs[i] = map[string]bool{}
	}
	for _, o := range t.rows {
		if o.Sub != "" && o.Sub != "list-type" {
			t.subs[o.Level][o.Sub] = true
		}
	}
	for _, d := range domains {
		t.domains = append(t.domains, strings.ToLower(strings.Trim(d, ".")))
	}
	slices.SortFunc(t.domains, func(a, b string) int { return len(b) - len(a) }) // the longest one first: it says most
	return t
}

// Operations are the lines of the table, in the order in which they count.
func (t *S3Table) Operations() []S3Operation { return slices.Clone(t.rows) }

// Subresources are the parameters of a query that make a request for a bucket, or an object, another operation.
func (t *S3Table) Subresources(l Level) map[string]bool { return t.subs[l] }

// S3Request is a request in S3's terms.
type S3Request struct {
	Operation *S3Operation // nil where it is none that S3 has
	Bucket    string
	Key       string     // decoded once
	Query     url.Values // decoded
	BadQuery  bool       // some of the query is malformed, and not in Query
	Hosted    bool       // the bucket is in the host, not in the path
	Twice     bool       // more than one sub-resource is named: who reads it otherwise sees another operation
	Copy      Copy       // where the content comes from, of operations that copy
	level     Level
}

// Copy is what x-amz-copy-source names.
type Copy struct {
	Bucket, Key, Version string
	Malformed            bool
}

// Level is what the path names.
func (q *S3Request) Level() Level { return q.level }

// Version is the version that is asked for, "" for the current one.
func (q *S3Request) Version() string { return q.Query.Get("versionId") }

// Name is the eventName.
func (q *S3Request) Name() string {
	if q.Operation == nil {
		return "UnknownOperation"
	}
	return q.Operation.Name
}

// Action is the action that has to be allowed, with s3:, "" for none.
func (q *S3Request) Action() string {
	switch {
	case q.Operation == nil || q.Operation.Action == "":
		return ""
	case q.Operation.Version != "" && q.Operation.Level == OfObject && q.Version() != "":
		return "s3:" + q.Operation.Version
	}
	return "s3:" + q.Operation.Action
}

// ARN is the bucket's or the object's.
func (q *S3Request) ARN(partition string) string {
	switch q.level {
	case OfService:
		return "*"
	case OfBucket:
		return "arn:" + partition + ":s3:::" + q.Bucket
	}
	return "arn:" + partition + ":s3:::" + q.Bucket + "/" + q.Key
}

// Parse finds out what a request is for.
func (t *S3Table) Parse(r *http.Request) *S3Request {
	q := &S3Request{}
	var err error
	q.Query, err = url.ParseQuery(r.URL.RawQuery)
	q.BadQuery = err != nil
	path := strings.TrimPrefix(r.URL.Path, "/")
	if bucket, ok := t.hosted(r.Host); ok {
		q.Bucket, q.Key, q.Hosted = bucket, path, true
	} else {
		q.Bucket, q.Key, _ = strings.Cut(path, "/")
	}
	switch {
	case q.Bucket == "" && q.Key == "":
		q.level = OfService
	case q.Key == "":
		q.level = OfBucket
	default:
		q.level = OfObject
	}
	source, copies := r.Header["X-Amz-Copy-Source"]
	named := 0
	for name := range q.Query {
		if t.subs[q.level][name] {
			named++
		}
	}
	q.Twice = named > 1
	for i := range t.rows {
		o := &t.rows[i]
		if o.Level != q.level || o.Method != r.Method || o.Sub != "" && !q.Query.Has(o.Sub) || o.With != "" && !q.Query.Has(o.With) || o.Copies && !copies {
			continue
		}
		if o.Sub == "" && named > 0 { // a sub-resource that has no such method
			continue
		}
		q.Operation = o
		break
	}
	if q.Operation != nil && q.Operation.Copies {
		q.Copy = parseCopy(source)
	}
	return q
}

// hosted is the bucket that a host names.
func (t *S3Table) hosted(host string) (string, bool) {
	if len(t.domains) == 0 {
		return "", false
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(host)
	for _, d := range t.domains {
		if host == d {
			return "", false
		}
		if bucket, ok := strings.CutSuffix(host, "."+d); ok && bucket != "" {
			return bucket, true
		}
	}
	return "", false
}

// parseCopy reads BUCKET/KEY, with or without a slash before it and ?versionId= behind it, encoded as in a URL.
func parseCopy(values []string) Copy {
	if len(values) != 1 {
		return Copy{Malformed: true}
	}
	text, version, _ := strings.Cut(values[0], "?versionId=")
	path, err := url.QueryUnescape(text) // a plus is a space, to S3 too
	bucket, key, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if err != nil || !ok || bucket == "" || key == "" || strings.ContainsRune(bucket, ':') || !utf8.ValidString(path) {
		return Copy{Malformed: true}
	}
	if version, err = url.QueryUnescape(version); err != nil {
		return Copy{Malformed: true}
	}
	return Copy{Bucket: bucket, Key: key, Version: version}
}
