// Package blob is object storage: buckets over a local folder, served as S3 by an embedded gateway, and buckets of an S3 that
// somebody else runs.
//
// Objects of local buckets are files. What is answered is on disk: a write syncs the object's file and the folders that lead to
// it, which costs two syncs for an object in a folder that is known, and one more for every new folder above it. A crash leaves
// an object as it was or as it became.
//
// Objects that are encrypted with a key of the key ring are sealed in segments before they reach the disk; sizes and ranges that
// anybody sees are those of the content. docs/formats/buckets.md describes folder, state and the form of sealed objects.
package blob

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/aws/smithy-go"
	"github.com/versity/versitygw/s3err"

	"spoor/internal/keyring"
	"spoor/internal/refusal"
)

var (
	// ErrNoBucket, ErrNoKey: there is none of that name. ErrDenied: the storage refuses.
	ErrNoBucket = errors.New("the bucket does not exist")
	ErrNoKey    = errors.New("the key does not exist")
	ErrDenied   = errors.New("the storage refuses access")

	// ErrTampered is returned for a sealed object whose content is not what was sealed.
	ErrTampered = errors.New("the sealed object was changed")
)

// Object is what is known of an object without its content.
type Object struct {
	Key, VersionID, ETag string
	Size                 int64 // of the content as readers see it
	Modified             time.Time
	ContentType          string
	ContentEncoding      string
	Metadata             map[string]string // x-amz-meta-*, without the prefix, lower case
	KMSKey               string            // ARN of the key that encrypts it; empty for none
	// EncryptionContext is that of the key. List does not tell it, and neither do buckets of others.
	EncryptionContext map[string]string
}

// PutOptions say how an object is stored.
type PutOptions struct {
	ContentType, ContentEncoding string
	ACL                          string // canned ACL, such as bucket-owner-full-control; local buckets belong to their owner anyway
	Metadata                     map[string]string
	KMSKey                       string            // ARN; empty for the bucket's own encryption
	EncryptionContext            map[string]string // with KMSKey
}

// Storage is what deliveries and validations need of buckets, wherever they are. Errors that are due to the bucket or the key
// wrap [ErrNoBucket], [ErrNoKey] or [ErrDenied], and [Code] tells what S3 calls them.
type Storage interface {
	// Put stores an object whole or not at all. When it returns, the object is there after a crash too. Putting the same again
	// changes nothing that readers see.
	Put(ctx context.Context, bucket, key string, body []byte, o PutOptions) error
	Get(ctx context.Context, bucket, key string) (io.ReadCloser, Object, error)
	Head(ctx context.Context, bucket, key string) (Object, error)
	// List gives objects in the order of their keys, those after a key; most is 1000 when it is not from 1 to 1000. Objects of
	// a list may lack metadata, content type and key of encryption.
	List(ctx context.Context, bucket, prefix, after string, most int) (objects []Object, more bool, err error)
}

// Keys wrap data keys. A [keyring.Ring] does.
type Keys interface {
	GenerateDataKey(ctx context.Context, keyARN string, encryptionContext map[string]string) (keyring.DataKey, error)
	Unwrap(ctx context.Context, wrapped []byte, encryptionContext map[string]string) (keyring.DataKey, error)
}

// maxList is how many objects a list has at most.
const maxList = 1000

// storageError is an error of a storage.
type storageError struct {
	kind error // ErrNoBucket, ErrNoKey, ErrDenied, or nil
	code string
	err  error
}

func (e *storageError) Error() string { return e.err.Error() }

func (e *storageError) Unwrap() []error {
	if e.kind == nil {
		return []error{e.err}
	}
	return []error{e.kind, e.err}
}

// CodeTampered is the code of S3 that [ErrTampered] is answered with.
const CodeTampered = "KMS.InvalidCiphertextException"

// Code is what S3 calls an error of this package, such as AccessDenied or NoSuchBucket; empty where it has no name for it.
func Code(err error) string {
	if e, ok := errors.AsType[*storageError](err); ok && e.code != "" {
		return e.code
	}
	if e, ok := errors.AsType[s3err.S3Error](err); ok {
		return e.BaseError().Code
	}
	if e, ok := errors.AsType[*refusal.Error](err); ok {
		return e.Code
	}
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	for _, k := range keyErrors() {
		if errors.Is(err, k.is) {
			return k.code
		}
	}
	switch {
	case errors.Is(err, ErrNoBucket):
		return "NoSuchBucket"
	case errors.Is(err, ErrNoKey):
		return "NoSuchKey"
	case errors.Is(err, ErrDenied):
		return "AccessDenied"
	}
	return ""
}

// kindOf tells which of the errors of this package one with a code of S3 is.
func kindOf(code string) error {
	switch code {
	case "NoSuchBucket":
		return ErrNoBucket
	case "NoSuchKey", "NoSuchVersion", "NotFound":
		return ErrNoKey
	case "AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AllAccessDisabled", "AccountProblem", "ExpiredToken":
		return ErrDenied
	}
	return nil
}

// keyError is what S3 answers where keys fail.
type keyError struct {
	is   error
	code string
}

func keyErrors() []keyError {
	return []keyError{
		{keyring.ErrDisabled, "KMS.DisabledException"},
		{keyring.ErrNotFound, "KMS.NotFoundException"},
		{keyring.ErrPending, "KMS.KMSInvalidStateException"},
		{keyring.ErrDenied, "AccessDenied"},
		{keyring.ErrCiphertext, "KMS.InvalidCiphertextException"},
	}
}
