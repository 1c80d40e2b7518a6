package s3

import (
	"encoding/xml"
	"fmt"
	"net/http"

	"spoor/internal/blob"
	"spoor/internal/gateway"
)

// changed takes note of the way back from a change of the state.
func (x *exchange) changed(undo blob.Undo, err error) error {
	if undo != nil {
		x.undo = append(x.undo, undo)
	}
	return stateError(err)
}

func (x *exchange) create(name, region string, lock bool) error {
	err := x.changed(x.f.o.Buckets.CreateBucket(x.r.Context(), blob.BucketSpec{Name: name, Account: x.call.Account, Region: region, ObjectLock: lock}))
	if err != nil {
		return err
	}
	if b, err := x.f.o.Buckets.Bucket(x.r.Context(), name); err == nil { // for the record
		x.bucket, x.found = b, true
	}
	return nil
}

func (x *exchange) deleteBucket() (*answered, error) {
	return noContent(), x.changed(x.f.o.Buckets.DeleteBucket(x.r.Context(), x.q.Bucket))
}

func (x *exchange) setPolicy(text []byte) error {
	return x.changed(x.f.o.Buckets.SetPolicy(x.r.Context(), x.q.Bucket, text))
}

func (x *exchange) setPublicAccess(b *blob.PublicAccessBlock) error {
	return x.changed(x.f.o.Buckets.SetPublicAccess(x.r.Context(), x.q.Bucket, b))
}

func (x *exchange) setRequesterPays(yes bool) error {
	return x.changed(x.f.o.Buckets.SetRequestPayment(x.r.Context(), x.q.Bucket, yes))
}

func (x *exchange) putVersioning() (*answered, error) {
	var doc struct {
		XMLName xml.Name `xml:"VersioningConfiguration"`
		Status  string
		MFA     string `xml:"MfaDelete"`
	}
	if err := x.read(maxDocument, &doc); err != nil {
		return nil, err
	}
	if doc.MFA == "Enabled" {
		return nil, gateway.Refuse(http.StatusNotImplemented, "NotImplemented", "Deleting with a second factor is not served here.")
	}
	return &answered{status: http.StatusOK}, x.changed(x.f.o.Buckets.SetVersioning(x.r.Context(), x.q.Bucket, doc.Status))
}

func (x *exchange) getEncryption() (*answered, error) {
	content, bucketKey := element("SSEAlgorithm", "AES256"), false
	if e := x.bucket.Encryption; e != nil && e.KMSKey != "" {
		content, bucketKey = element("SSEAlgorithm", "aws:kms")+element("KMSMasterKeyID", e.KMSKey), e.BucketKey
	}
	return document("ServerSideEncryptionConfiguration", "<Rule><ApplyServerSideEncryptionByDefault>"+content+"</ApplyServerSideEncryptionByDefault>"+
		element("BucketKeyEnabled", fmt.Sprint(bucketKey))+"</Rule>"), nil
}

func (x *exchange) putEncryption() (*answered, error) {
	var doc struct {
		XMLName xml.Name `xml:"ServerSideEncryptionConfiguration"`
		Rule    []struct {
			Default struct {
				Algorithm string `xml:"SSEAlgorithm"`
				Key       string `xml:"KMSMasterKeyID"`
			} `xml:"ApplyServerSideEncryptionByDefault"`
			BucketKey bool `xml:"BucketKeyEnabled"`
		}
	}
	if err := x.read(maxDocument, &doc); err != nil {
		return nil, err
	}
	if len(doc.Rule) != 1 {
		return nil, malformed
	}
	e := &blob.Encryption{BucketKey: doc.Rule[0].BucketKey}
	switch d := doc.Rule[0].Default; d.Algorithm {
	case "AES256":
		if d.Key != "" {
			return nil, gateway.Refuse(http.StatusBadRequest, "InvalidArgument", "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse")
		}
	case "aws:kms":
		arn, err := x.resolveKey(d.Key)
		if err != nil {
			return nil, err
		}
		e.KMSKey = arn
	case "aws:kms:dsse":
		return nil, gateway.Refuse(http.StatusNotImplemented, "NotImplemented", "Encryption in two layers is not served here.")
	default:
		return nil, malformed
	}
	return &answered{status: http.StatusOK}, x.changed(x.f.o.Buckets.SetEncryption(x.r.Context(), x.q.Bucket, e))
}

func (x *exchange) deleteEncryption() (*answered, error) {
	return noContent(), x.changed(x.f.o.Buckets.SetEncryption(x.r.Context(), x.q.Bucket, nil))
}

func (x *exchange) getLifecycle() (*answered, error) {
	if x.bucket.Lifecycle == nil {
		x.extras = append(x.extras, [2]string{"BucketName", x.q.Bucket})
		return nil, gateway.Refuse(http.StatusNotFound, "NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist")
	}
	text, err := x.bucket.Lifecycle.XML()
	if err != nil {
		return nil, gateway.Internal(err)
	}
	return &answered{status: http.StatusOK, body: text}, nil
}

func (x *exchange) putLifecycle() (*answered, error) {
	text, err := x.content(maxLifecycle)
	if err != nil {
		return nil, err
	}
	l, err := blob.ParseLifecycle(text)
	if err != nil {
		return nil, stateError(err)
	}
	return &answered{status: http.StatusOK}, x.changed(x.f.o.Buckets.SetLifecycle(x.r.Context(), x.q.Bucket, l))
}

func (x *exchange) deleteLifecycle() (*answered, error) {
	return noContent(), x.changed(x.f.o.Buckets.SetLifecycle(x.r.Context(), x.q.Bucket, nil))
}

// The form of where access is logged to.
type loggingXML struct {
	XMLName xml.Name `xml:"BucketLoggingStatus"`
	Enabled *struct {
		TargetBucket, TargetPrefix string
		TargetGrants               *struct{}
		Format                     *struct {
			Simple      *struct{} `xml:"SimplePrefix"`
			Partitioned *struct {
				Source string `xml:"PartitionDateSource"`
			} `xml:"PartitionedPrefix"`
		} `xml:"TargetObjectKeyFormat"`
	} `xml:"LoggingEnabled"`
}

func (x *exchange) getLogging() (*answered, error) {
	g := x.bucket.Logging
	if g == nil {
		return document("BucketLoggingStatus", ""), nil
	}
	format := ""
	switch {
	case g.Format == "SimplePrefix":
		format = "<TargetObjectKeyFormat><SimplePrefix/></TargetObjectKeyFormat>"
	case g.Format != "":
		format = "<TargetObjectKeyFormat><PartitionedPrefix>" + element("PartitionDateSource", g.Format) + "</PartitionedPrefix></TargetObjectKeyFormat>"
	}
	return document("BucketLoggingStatus", "<LoggingEnabled>"+element("TargetBucket", g.Bucket)+element("TargetPrefix", g.Prefix)+format+"</LoggingEnabled>"), nil
}

func (x *exchange) putLogging() (*answered, error) {
	var doc loggingXML
	if err := x.read(maxDocument, &doc); err != nil {
		return nil, err
	}
	on := doc.Enabled
	if on == nil {
		return &answered{status: http.StatusOK}, x.changed(x.f.o.Buckets.SetLogging(x.r.Context(), x.q.Bucket, nil))
	}
	if on.TargetGrants != nil {
		return nil, gateway.Refuse(http.StatusBadRequest, "InvalidArgument", "Target grants are not supported: the target bucket does not allow ACLs")
	}
	g := &blob.Logging{Bucket: on.TargetBucket, Prefix: on.TargetPrefix}
	if f := on.Format; f != nil {
		switch {
		case f.Simple != nil && f.Partitioned == nil:
			g.Format = "SimplePrefix"
		case f.Partitioned != nil && f.Simple == nil && (f.Partitioned.Source == "EventTime" || f.Partitioned.Source == "DeliveryTime"):
			g.Format = f.Partitioned.Source
		default:
			return nil, malformed
		}
	}
	return &answered{status: http.StatusOK}, x.changed(x.f.o.Buckets.SetLogging(x.r.Context(), x.q.Bucket, g))
}
