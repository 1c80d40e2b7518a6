package blob

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/versity/versitygw/s3err"

	"spoor/internal/refusal"
)

// sealing says how an object is sealed. A nil one says that it is not.
type sealing struct {
	key     string // ARN
	context map[string]string
}

// metaSealing is the metadata that a request on its way through the gateway has instead of key and encryption context, which may
// be larger than metadata may be.
const metaSealing = "spoor-sealing"

// objectARN is the name of an object in encryption contexts.
func objectARN(bucket, key string) string { return "arn:aws:s3:::" + bucket + "/" + key }

// sealingOf takes what says how an object is sealed out of its metadata; without it the bucket says so.
func (s *store) sealingOf(bucket, key string, metadata map[string]string) (*sealing, map[string]string, error) {
	if token, ok := metadata[metaSealing]; ok {
		clean := make(map[string]string, len(metadata)-1)
		for k, v := range metadata {
			if k != metaSealing {
				clean[k] = v
			}
		}
		v, ok := s.sealings.Load(token)
		if !ok {
			return nil, nil, refused("InvalidArgument", http.StatusBadRequest, "Metadata %s is reserved", metaSealing)
		}
		how := v.(*sealing)
		if how.key == "" {
			return nil, clean, nil
		}
		return s.complete(*how, bucket, key), clean, nil
	}
	return s.ofBucket(bucket, key), metadata, nil
}

// ofBucket is how a bucket seals its objects by default.
func (s *store) ofBucket(bucket, key string) *sealing {
	e := s.local.config(bucket).Encryption
	if e == nil || e.KMSKey == "" {
		return nil
	}
	if e.BucketKey {
		return &sealing{e.KMSKey, map[string]string{contextARN: "arn:aws:s3:::" + bucket}}
	}
	return s.complete(sealing{key: e.KMSKey}, bucket, key)
}

// contextARN is the member of encryption contexts that S3 fills in.
const contextARN = "aws:s3:arn"

func (s *store) complete(how sealing, bucket, key string) *sealing {
	if len(how.context) == 0 {
		how.context = map[string]string{contextARN: objectARN(bucket, key)}
	}
	return &how
}

// seal makes the sealer of a new object.
func (s *store) seal(ctx context.Context, how *sealing) (*sealer, error) {
	if s.keys == nil {
		return nil, refused("KMS.NotFoundException", http.StatusBadRequest, "There is no key ring")
	}
	key, err := s.keys.GenerateDataKey(ctx, how.key, how.context)
	if err != nil {
		return nil, ofKeys(err)
	}
	defer clear(key.Plaintext)
	return newSealer(key, how.context)
}

// ofKeys makes of an error of the key ring what S3 answers.
func ofKeys(err error) error {
	for _, k := range keyErrors() {
		if errors.Is(err, k.is) {
			status := http.StatusBadRequest
			if k.code == "AccessDenied" {
				status = http.StatusForbidden
			}
			return &storageError{code: k.code, err: fmt.Errorf("%w: %w", err, s3err.APIError{Code: k.code, Description: k.is.Error(), HTTPStatusCode: status})}
		}
	}
	return err
}

// forGateway makes errors such that the gateway answers them. What it has no answer for is logged here.
func (s *store) forGateway(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[s3err.S3Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*refusal.Error](err); ok {
		return refused(e.Code, http.StatusBadRequest, "%s", e.Message)
	}
	if !errors.Is(err, context.Canceled) {
		s.local.o.Log.Error("a request to a bucket failed", slog.Any("error", err))
	}
	if errors.Is(err, ErrTampered) { // asking again does not help
		return refused(CodeTampered, http.StatusBadRequest, "The object was changed after it was encrypted, and does not open")
	}
	return s3err.GetAPIError(s3err.ErrInternalError)
}
