package blob

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// maxCopy is how large what one call copies may be.
const maxCopy = 5 << 30

// CopyObject implements backend.Backend.
func (s *store) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (out s3response.CopyObjectOutput, err error) {
	fromBucket, fromKey, fromVersion, err := backend.ParseCopySource(text(in.CopySource))
	if err != nil {
		return out, err
	}
	if in.ExpectedSourceBucketOwner != nil && *in.ExpectedSourceBucketOwner != "" && *in.ExpectedSourceBucketOwner != s.local.config(fromBucket).Account {
		return out, s3err.GetAPIError(s3err.ErrAccessDenied)
	}
	bucket, key := text(in.Bucket), text(in.Key)
	_, resealed := in.Metadata[metaSealing]
	if fromBucket == bucket && fromKey == key && fromVersion == "" && in.MetadataDirective != types.MetadataDirectiveReplace && !resealed {
		return out, s3err.GetAPIError(s3err.ErrInvalidCopyDest)
	}
	how, metadata, err := s.sealingOf(bucket, key, in.Metadata)
	if err != nil {
		return out, err
	}
	src, err := s.get(ctx, &s3.GetObjectInput{Bucket: &fromBucket, Key: &fromKey, VersionId: &fromVersion, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		return out, s.forGateway(err)
	}
	defer func() {
		if src.Body != nil {
			err = errors.Join(err, src.Body.Close())
		}
	}()
	if *src.ContentLength > maxCopy {
		return out, s3err.GetCopySourceObjectTooLargeErr(maxCopy)
	}
	if err := backend.EvaluatePreconditions(text(src.ETag), *src.LastModified, backend.PreConditions{
		IfMatch: in.CopySourceIfMatch, IfNoneMatch: in.CopySourceIfNoneMatch, IfModSince: in.CopySourceIfModifiedSince, IfUnmodeSince: in.CopySourceIfUnmodifiedSince,
	}); err != nil {
		return out, err
	}
	to := s3response.PutObjectInput{
		Bucket: &bucket, Key: &key, ContentLength: src.ContentLength, ChecksumAlgorithm: in.ChecksumAlgorithm,
		ContentType: in.ContentType, ContentEncoding: in.ContentEncoding, ContentDisposition: in.ContentDisposition, ContentLanguage: in.ContentLanguage,
		CacheControl: in.CacheControl, Expires: in.Expires, WebsiteRedirectLocation: in.WebsiteRedirectLocation, Metadata: metadata,
		ObjectLockRetainUntilDate: in.ObjectLockRetainUntilDate, ObjectLockMode: in.ObjectLockMode, ObjectLockLegalHoldStatus: in.ObjectLockLegalHoldStatus,
	}
	if src.Body != nil {
		to.Body = src.Body
	}
	if to.ChecksumAlgorithm == "" {
		to.ChecksumAlgorithm = algorithmOf(src)
	}
	if in.MetadataDirective != types.MetadataDirectiveReplace {
		to.ContentType, to.ContentEncoding, to.ContentDisposition, to.ContentLanguage = src.ContentType, src.ContentEncoding, src.ContentDisposition, src.ContentLanguage
		to.CacheControl, to.Expires, to.Metadata = src.CacheControl, src.ExpiresString, src.Metadata
	}
	if in.TaggingDirective == types.TaggingDirectiveReplace {
		to.Tagging = in.Tagging
	} else if tags, err := s.GetObjectTagging(ctx, fromBucket, fromKey, fromVersion); err == nil {
		to.Tagging = ptr(encodeTags(tags))
	} else {
		return out, s.forGateway(err)
	}
	res, err := s.put(ctx, to, how)
	if err != nil {
		return out, s.forGateway(err)
	}
	info, err := os.Stat(filepath.Join(s.buckets, bucket, key))
	made := s.local.o.Now()
	if err == nil {
		made = info.ModTime()
	}
	return s3response.CopyObjectOutput{
		VersionId: &res.VersionID, CopySourceVersionId: src.VersionId,
		CopyObjectResult: &s3response.CopyObjectResult{
			ETag: &res.ETag, LastModified: &made, ChecksumType: res.ChecksumType,
			ChecksumCRC32: res.ChecksumCRC32, ChecksumCRC32C: res.ChecksumCRC32C, ChecksumSHA1: res.ChecksumSHA1, ChecksumSHA256: res.ChecksumSHA256,
			ChecksumCRC64NVME: res.ChecksumCRC64NVME, ChecksumSHA512: res.ChecksumSHA512, ChecksumMD5: res.ChecksumMD5,
			ChecksumXXHASH64: res.ChecksumXXHASH64, ChecksumXXHASH3: res.ChecksumXXHASH3, ChecksumXXHASH128: res.ChecksumXXHASH128,
		},
	}, nil
}
