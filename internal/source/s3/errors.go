package s3

import (
	"errors"
	"fmt"

	"github.com/aws/smithy-go"
)

// hints say what to do about errors that are met often (Amazon S3 API reference, "List of error codes").
var hints = map[string]string{
	"AccessDenied":                 "access denied: listing needs s3:ListBucket, reading s3:GetObject, and kms:Decrypt for objects encrypted with KMS keys",
	"NoSuchBucket":                 "there is no such bucket",
	"NoSuchKey":                    "there is no such object",
	"InvalidObjectState":           "the object is archived: restore it first",
	"ExpiredToken":                 "the AWS credentials have expired",
	"InvalidAccessKeyId":           "the store does not know the access key",
	"SignatureDoesNotMatch":        "the secret key is wrong, or the clock",
	"RequestTimeTooSkewed":         "the clock is wrong",
	"PermanentRedirect":            "the bucket is in another Region",
	"AuthorizationHeaderMalformed": "the bucket is in another Region",
	"PreconditionFailed":           "the object was replaced while it was read",
}

// explain adds what an error means.
func explain(err error) error {
	var api smithy.APIError
	if errors.As(err, &api) {
		if hint := hints[api.ErrorCode()]; hint != "" {
			return fmt.Errorf("%s: %w", hint, err)
		}
	}
	return err
}
