package s3

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"spoor/internal/blob"
	"spoor/internal/gateway"
	"spoor/internal/policy"
	"spoor/internal/refusal"
)

const (
	namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
	instance  = "http://www.w3.org/2001/XMLSchema-instance"
	undoTime  = 10 * time.Second
	timeForm  = "2006-01-02T15:04:05.000Z"

	maxPolicy    = 20 << 10
	maxDocument  = 64 << 10
	maxLifecycle = 512 << 10
)

var malformed = gateway.Refuse(http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")

// handler is what serves an operation here; nil for those that are forwarded.
func (x *exchange) handler() func() (*answered, error) {
	name := x.q.Operation.Name
	switch name {
	case "ListBuckets":
		return x.listBuckets
	case "CreateBucket":
		return x.createBucket
	case "DeleteBucket":
		return x.deleteBucket
	case "HeadBucket":
		return x.headBucket
	case "GetBucketLocation":
		return x.getLocation
	case "GetBucketPolicy":
		return x.getPolicy
	case "PutBucketPolicy":
		return x.putPolicy
	case "DeleteBucketPolicy":
		return x.deletePolicy
	case "GetBucketPolicyStatus":
		return x.getPolicyStatus
	case "GetBucketPublicAccessBlock":
		return x.getPublicAccess
	case "PutBucketPublicAccessBlock":
		return x.putPublicAccess
	case "DeleteBucketPublicAccessBlock":
		return x.deletePublicAccess
	case "GetBucketEncryption":
		return x.getEncryption
	case "PutBucketEncryption":
		return x.putEncryption
	case "DeleteBucketEncryption":
		return x.deleteEncryption
	case "GetBucketLifecycle":
		return x.getLifecycle
	case "PutBucketLifecycle":
		return x.putLifecycle
	case "DeleteBucketLifecycle":
		return x.deleteLifecycle
	case "GetBucketLogging":
		return x.getLogging
	case "PutBucketLogging":
		return x.putLogging
	case "PutBucketVersioning":
		return x.putVersioning
	case "GetBucketRequestPayment":
		return x.getRequestPayment
	case "PutBucketRequestPayment":
		return x.putRequestPayment
	case "GetBucketAcl":
		return x.getACL
	case "GetObjectAcl":
		return x.getObjectACL
	case "PutBucketAcl", "PutObjectAcl":
		return x.putACL
	case "GetBucketOwnershipControls":
		return x.getOwnership
	case "PutBucketOwnershipControls":
		return x.putOwnership
	case "DeleteObjects":
		return x.deleteObjects
	case "GetAccelerateConfiguration":
		return unset("AccelerateConfiguration", "")
	case "GetBucketNotification":
		return unset("NotificationConfiguration", "")
	case "ListBucketAnalyticsConfigurations":
		return unset("ListBucketAnalyticsConfigurationResult", "<IsTruncated>false</IsTruncated>")
	case "ListBucketIntelligentTieringConfigurations":
		return unset("ListBucketIntelligentTieringConfigurationsOutput", "<IsTruncated>false</IsTruncated>")
	case "ListBucketInventoryConfigurations":
		return unset("ListInventoryConfigurationsResult", "<IsTruncated>false</IsTruncated>")
	case "ListBucketMetricsConfigurations":
		return unset("ListMetricsConfigurationsResult", "<IsTruncated>false</IsTruncated>")
	case "GetBucketAnalyticsConfiguration", "GetBucketIntelligentTieringConfiguration", "GetBucketInventoryConfiguration", "GetBucketMetricsConfiguration":
		return missing("NoSuchConfiguration", "The specified configuration does not exist.")
	case "GetBucketWebsite":
		return missing("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration")
	case "GetBucketReplication":
		return missing("ReplicationConfigurationNotFoundError", "The replication configuration was not found")
	}
	if Served(name) {
		return nil
	}
	return func() (*answered, error) {
		return nil, gateway.Refuse(http.StatusNotImplemented, "NotImplemented", "A header or query you provided requested a function that is not implemented: %s is not served here.", name)
	}
}

// Served reports whether an operation of S3's table does something here, other than to say that it does not.
func Served(name string) bool {
	switch name {
	case "PutAccelerateConfiguration", "PutBucketAnalyticsConfiguration", "DeleteBucketAnalyticsConfiguration", "PutBucketIntelligentTieringConfiguration",
		"DeleteBucketIntelligentTieringConfiguration", "PutBucketInventoryConfiguration", "DeleteBucketInventoryConfiguration", "PutBucketMetricsConfiguration",
		"DeleteBucketMetricsConfiguration", "PutBucketNotification", "PutBucketReplication", "DeleteBucketReplication", "PutBucketWebsite", "DeleteBucketWebsite",
		"DeleteBucketOwnershipControls", "CreateSession", "PostObject", "GetObjectTorrent", "RestoreObject", "SelectObjectContent", "RenameObject", "UpdateObjectEncryption":
		return false
	}
	return true
}

func unset(root, content string) func() (*answered, error) {
	return func() (*answered, error) { return document(root, content), nil }
}

func missing(code, message string) func() (*answered, error) {
	return func() (*answered, error) { return nil, gateway.Refuse(http.StatusNotFound, code, "%s", message) }
}

// document is an answer in XML.
func document(root, content string) *answered {
	return &answered{status: http.StatusOK, body: []byte(xml.Header + "<" + root + ` xmlns="` + namespace + `">` + content + "</" + root + ">")}
}

func element(name, value string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(value)) // a buffer does not fail
	return "<" + name + ">" + b.String() + "</" + name + ">"
}

func noContent() *answered { return &answered{status: http.StatusNoContent} }

// read reads a document in XML.
func (x *exchange) read(most int, into any) error {
	text, err := x.content(most)
	if err != nil {
		return err
	}
	d := xml.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(into); err != nil {
		return malformed
	}
	return nil
}

// stateError is what an error of the state of buckets is to a caller.
func stateError(err error) error {
	if err == nil {
		return nil
	}
	var r *refusal.Error
	switch code := blob.Code(err); {
	case errors.Is(err, blob.ErrNoBucket):
		return gateway.Refuse(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
	case errors.As(err, &r):
		return gateway.Refuse(statusOf(r.Code), r.Code, "%s", r.Message)
	case code != "":
		return gateway.Refuse(statusOf(code), code, "%s", err)
	}
	return gateway.Internal(err)
}

// statusOf is the status with which S3 answers a code.
func statusOf(code string) int {
	switch code {
	case "BucketAlreadyExists", "BucketAlreadyOwnedByYou", "BucketNotEmpty", "OperationAborted", "InvalidBucketState":
		return http.StatusConflict
	case "AccessDenied":
		return http.StatusForbidden
	case "NotImplemented":
		return http.StatusNotImplemented
	case "InternalError":
		return http.StatusInternalServerError
	}
	if strings.HasPrefix(code, "NoSuch") || strings.HasSuffix(code, "NotFoundError") {
		return http.StatusNotFound
	}
	return http.StatusBadRequest
}

// owner is an account as S3 shows it.
func owner(account string) string { return "<Owner>" + element("ID", account) + "</Owner>" }

func (x *exchange) listBuckets() (*answered, error) {
	if x.proof == nil {
		return nil, denied
	}
	all, err := x.f.o.Buckets.Buckets(x.r.Context(), x.call.Account)
	if err != nil {
		return nil, gateway.Internal(fmt.Errorf("list buckets: %w", err))
	}
	q := x.q.Query
	most := 10_000
	if text := q.Get("max-buckets"); text != "" {
		if _, err := fmt.Sscanf(text, "%d", &most); err != nil || most < 1 || most > 10_000 {
			return nil, gateway.Refuse(http.StatusBadRequest, "InvalidArgument", "Argument max-buckets must be an integer between 1 and 10000")
		}
	}
	var b strings.Builder
	b.WriteString(owner(x.call.Account) + "<Buckets>")
	n, last, more := 0, "", false
	for _, bucket := range all {
		if !strings.HasPrefix(bucket.Name, q.Get("prefix")) || bucket.Name <= q.Get("continuation-token") ||
			q.Get("bucket-region") != "" && bucket.Region != q.Get("bucket-region") {
			continue
		}
		if n == most {
			more = true
			break
		}
		n, last = n+1, bucket.Name
		b.WriteString("<Bucket>" + element("Name", bucket.Name) + element("CreationDate", bucket.Created.UTC().Format(timeForm)) +
			element("BucketRegion", cmp.Or(bucket.Region, x.f.o.Region)) + element("BucketArn", x.arn(bucket.Name)) + "</Bucket>")
	}
	b.WriteString("</Buckets>")
	if more {
		b.WriteString(element("ContinuationToken", last))
	}
	if q.Get("prefix") != "" {
		b.WriteString(element("Prefix", q.Get("prefix")))
	}
	return document("ListAllMyBucketsResult", b.String()), nil
}

var (
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	dottedQuad = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$`)
)

// validBucket reports whether a bucket may have the name.
func validBucket(name string) bool {
	if !bucketName.MatchString(name) || dottedQuad.MatchString(name) || strings.Contains(name, "..") {
		return false
	}
	for _, p := range []string{"xn--", "sthree-", "amzn-s3-demo-"} {
		if strings.HasPrefix(name, p) {
			return false
		}
	}
	for _, s := range []string{"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"} {
		if strings.HasSuffix(name, s) {
			return false
		}
	}
	return true
}

func (x *exchange) createBucket() (*answered, error) {
	if !validBucket(x.q.Bucket) {
		x.extras = append(x.extras, [2]string{"BucketName", x.q.Bucket})
		return nil, gateway.Refuse(http.StatusBadRequest, "InvalidBucketName", "The specified bucket is not valid.")
	}
	text, err := x.content(maxDocument)
	if err != nil {
		return nil, err
	}
	var doc struct {
		XMLName            xml.Name `xml:"CreateBucketConfiguration"`
		LocationConstraint string
		Location, Bucket   *struct{}
		Tags               *struct{}
	}
	if len(text) > 0 && xml.Unmarshal(text, &doc) != nil {
		return nil, malformed
	}
	if doc.Location != nil || doc.Bucket != nil || doc.Tags != nil {
		return nil, gateway.Refuse(http.StatusNotImplemented, "NotImplemented", "Buckets are made without types, zones and tags here.")
	}
	region := cmp.Or(doc.LocationConstraint, x.call.Region)
	switch {
	case doc.LocationConstraint == "us-east-1" || doc.LocationConstraint == "EU" || !x.f.verifier.Region(region):
		return nil, gateway.Refuse(http.StatusBadRequest, "InvalidLocationConstraint", "The specified location-constraint is not valid")
	case doc.LocationConstraint == "" && x.call.Region != "us-east-1", doc.LocationConstraint != "" && x.call.Region != region && x.call.Region != "us-east-1":
		return nil, gateway.Refuse(http.StatusBadRequest, "IllegalLocationConstraintException",
			"The %s location constraint is incompatible for the region specific endpoint this request was sent to.", cmp.Or(doc.LocationConstraint, "unspecified"))
	}
	switch o := x.r.Header.Get("X-Amz-Object-Ownership"); o {
	case "", "BucketOwnerEnforced":
	case "BucketOwnerPreferred", "ObjectWriter":
		return nil, gateway.Refuse(http.StatusNotImplemented, "NotImplemented", "Objects belong to the owner of their bucket here.")
	default:
		return nil, gateway.Refuse(http.StatusBadRequest, "InvalidArgument", "Invalid x-amz-object-ownership header: %.40s", o)
	}
	header := http.Header{"Location": {"/" + x.q.Bucket}, "X-Amz-Bucket-Arn": {x.arn(x.q.Bucket)}}
	if x.found {
		x.extras = append(x.extras, [2]string{"BucketName", x.q.Bucket})
		switch {
		case x.bucket.Account != x.call.Account:
			x.found = false // it is not for the caller to know whose it is
			return nil, gateway.Refuse(http.StatusConflict, "BucketAlreadyExists", "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.")
		case x.bucket.Region == "us-east-1" && region == "us-east-1":
			return &answered{status: http.StatusOK, header: header}, nil
		}
		return nil, gateway.Refuse(http.StatusConflict, "BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.")
	}
	lock := strings.EqualFold(x.r.Header.Get("X-Amz-Bucket-Object-Lock-Enabled"), "true")
	if err := x.create(x.q.Bucket, region, lock); err != nil {
		return nil, err
	}
	return &answered{status: http.StatusOK, header: header}, nil
}

func (x *exchange) headBucket() (*answered, error) {
	return &answered{status: http.StatusOK, header: http.Header{
		"X-Amz-Bucket-Region": {x.bucketRegion()}, "X-Amz-Bucket-Arn": {x.arn(x.bucket.Name)}, "X-Amz-Access-Point-Alias": {"false"}, "Content-Type": {"application/xml"},
	}}, nil
}

func (x *exchange) getLocation() (*answered, error) {
	region := x.bucketRegion()
	if region == "us-east-1" {
		region = ""
	}
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(region)) // a buffer does not fail
	return document("LocationConstraint", b.String()), nil
}

func (x *exchange) getPolicy() (*answered, error) {
	if len(x.bucket.PolicyText) == 0 {
		x.extras = append(x.extras, [2]string{"BucketName", x.q.Bucket})
		return nil, gateway.Refuse(http.StatusNotFound, "NoSuchBucketPolicy", "The bucket policy does not exist")
	}
	return &answered{status: http.StatusOK, body: x.bucket.PolicyText, header: http.Header{"Content-Type": {"application/json"}}}, nil
}

func (x *exchange) putPolicy() (*answered, error) {
	text, err := x.content(maxPolicy)
	if err != nil {
		return nil, err
	}
	doc, err := policy.Parse("s3", text)
	if err != nil {
		return nil, gateway.Refuse(http.StatusBadRequest, "MalformedPolicy", "%s", err)
	}
	if b := x.bucket.PublicAccess; b != nil && b.BlockPublicPolicy && policy.Public(doc) {
		return nil, gateway.Refuse(http.StatusForbidden, "AccessDenied", "User: %s is not authorized to perform: s3:PutBucketPolicy on resource: \"%s\" because public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access.",
			x.call.Principal.Identity.ARN, x.q.ARN(x.f.o.Partition))
	}
	return noContent(), x.setPolicy(text)
}

func (x *exchange) deletePolicy() (*answered, error) { return noContent(), x.setPolicy(nil) }

func (x *exchange) getPolicyStatus() (*answered, error) {
	if x.bucket.Policy == nil {
		return nil, gateway.Refuse(http.StatusNotFound, "NoSuchBucketPolicy", "The bucket policy does not exist")
	}
	return document("PolicyStatus", element("IsPublic", fmt.Sprint(policy.Public(x.bucket.Policy)))), nil
}

func (x *exchange) getPublicAccess() (*answered, error) {
	b := x.bucket.PublicAccess
	if b == nil {
		x.extras = append(x.extras, [2]string{"BucketName", x.q.Bucket})
		return nil, gateway.Refuse(http.StatusNotFound, "NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found")
	}
	return document("PublicAccessBlockConfiguration", element("BlockPublicAcls", fmt.Sprint(b.BlockPublicAcls))+element("IgnorePublicAcls", fmt.Sprint(b.IgnorePublicAcls))+
		element("BlockPublicPolicy", fmt.Sprint(b.BlockPublicPolicy))+element("RestrictPublicBuckets", fmt.Sprint(b.RestrictPublicBuckets))), nil
}

func (x *exchange) putPublicAccess() (*answered, error) {
	var doc struct {
		XMLName                                                                     xml.Name `xml:"PublicAccessBlockConfiguration"`
		BlockPublicAcls, IgnorePublicAcls, BlockPublicPolicy, RestrictPublicBuckets bool
	}
	if err := x.read(maxDocument, &doc); err != nil {
		return nil, err
	}
	return &answered{status: http.StatusOK}, x.setPublicAccess(&blob.PublicAccessBlock{
		BlockPublicAcls: doc.BlockPublicAcls, IgnorePublicAcls: doc.IgnorePublicAcls, BlockPublicPolicy: doc.BlockPublicPolicy, RestrictPublicBuckets: doc.RestrictPublicBuckets,
	})
}

func (x *exchange) deletePublicAccess() (*answered, error) {
	return noContent(), x.setPublicAccess(nil)
}

func (x *exchange) getRequestPayment() (*answered, error) {
	payer := "BucketOwner"
	if x.bucket.RequesterPays {
		payer = "Requester"
	}
	return document("RequestPaymentConfiguration", element("Payer", payer)), nil
}

func (x *exchange) putRequestPayment() (*answered, error) {
	var doc struct {
		XMLName xml.Name `xml:"RequestPaymentConfiguration"`
		Payer   string
	}
	if err := x.read(maxDocument, &doc); err != nil {
		return nil, err
	}
	if doc.Payer != "BucketOwner" && doc.Payer != "Requester" {
		return nil, malformed
	}
	return &answered{status: http.StatusOK}, x.setRequesterPays(doc.Payer == "Requester")
}

// acl is the list of access that everything has: all to the owner of the bucket.
func (x *exchange) acl() *answered {
	id := x.bucket.Account
	return document("AccessControlPolicy", owner(id)+`<AccessControlList><Grant><Grantee xmlns:xsi="`+instance+`" xsi:type="CanonicalUser">`+element("ID", id)+
		`</Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList>`)
}

func (x *exchange) getACL() (*answered, error) { return x.acl(), nil }

// getObjectACL answers for objects that are there.
func (x *exchange) getObjectACL() (*answered, error) {
	if _, err := x.f.o.Buckets.HeadVersion(x.r.Context(), x.q.Bucket, x.q.Key, x.q.Version()); err != nil {
		return nil, stateError(err)
	}
	return x.acl(), nil
}

// putACL takes lists of access that say what holds anyway.
func (x *exchange) putACL() (*answered, error) {
	text, err := x.content(maxDocument)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(text)) == 0 {
		if x.r.Header.Get("X-Amz-Acl") == "" {
			return nil, gateway.Refuse(http.StatusBadRequest, "MissingSecurityHeader", "Your request was missing a required header")
		}
		return &answered{status: http.StatusOK}, nil
	}
	var doc struct {
		XMLName xml.Name `xml:"AccessControlPolicy"`
		Owner   struct{ ID string }
		Grants  []struct {
			Grantee    struct{ ID string }
			Permission string
		} `xml:"AccessControlList>Grant"`
	}
	if xml.Unmarshal(text, &doc) != nil {
		return nil, malformed
	}
	if doc.Owner.ID != "" && doc.Owner.ID != x.bucket.Account || len(doc.Grants) != 1 || doc.Grants[0].Grantee.ID != x.bucket.Account || doc.Grants[0].Permission != "FULL_CONTROL" {
		return nil, aclNotSupported
	}
	return &answered{status: http.StatusOK}, nil
}

func (x *exchange) getOwnership() (*answered, error) {
	return document("OwnershipControls", "<Rule>"+element("ObjectOwnership", "BucketOwnerEnforced")+"</Rule>"), nil
}

func (x *exchange) putOwnership() (*answered, error) {
	var doc struct {
		XMLName xml.Name `xml:"OwnershipControls"`
		Rule    []struct{ ObjectOwnership string }
	}
	if err := x.read(maxDocument, &doc); err != nil {
		return nil, err
	}
	if len(doc.Rule) != 1 {
		return nil, malformed
	}
	if doc.Rule[0].ObjectOwnership != "BucketOwnerEnforced" {
		return nil, gateway.Refuse(http.StatusNotImplemented, "NotImplemented", "Objects belong to the owner of their bucket here.")
	}
	return &answered{status: http.StatusOK}, nil
}
