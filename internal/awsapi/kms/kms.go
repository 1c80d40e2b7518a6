// Package kms is the Key Management Service for AWS's clients: symmetric keys of the key ring, with aliases, policies, tags,
// rotation and deletion. docs/kms.md says what is served.
//
// Who may use a key, its policy says and, as far as that leaves it to them, the policies of principals. Nothing of what is
// encrypted and decrypted is recorded, in the clear or not.
package kms

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/caller"
	model "spoor/internal/awsapi/model/kms"
	"spoor/internal/awsapi/page"
	"spoor/internal/keyring"
	"spoor/internal/recorder"
)

// Options are the parts behind the service.
type Options struct {
	Keys   *keyring.Ring
	Access caller.Access
}

// Codes of KMS.
const (
	notFound         = "NotFoundException"
	disabled         = "DisabledException"
	invalidState     = "KMSInvalidStateException"
	invalidBlob      = "InvalidCiphertextException"
	exists           = "AlreadyExistsException"
	limitExceeded    = "LimitExceededException"
	malformedPolicy  = "MalformedPolicyDocumentException"
	unsupported      = "UnsupportedOperationException"
	incorrectKey     = "IncorrectKeyException"
	invalidKeyUsage  = "InvalidKeyUsageException"
	invalidMarker    = "InvalidMarkerException"
	invalidAliasName = "InvalidAliasNameException"
	invalidGrant     = "InvalidGrantTokenException"
	invalidTag       = "TagException"
	dryRun           = "DryRunOperationException"
)

const (
	algorithm = "SYMMETRIC_DEFAULT"
	usage     = "ENCRYPT_DECRYPT"
	origin    = "AWS_KMS"
)

type service struct{ o Options }

// New makes the service.
func New(o Options) *awsapi.Service {
	s := awsapi.NewService(&model.Service, awsapi.ServiceOptions{Omitted: []string{
		"EncryptRequest.Plaintext", "DecryptRequest.CiphertextBlob", "ReEncryptRequest.CiphertextBlob",
		"DecryptRequest.Recipient", "GenerateDataKeyRequest.Recipient", "GenerateRandomRequest.Recipient",
	}})
	x := &service{o}
	anyone, read := awsapi.AnyPrincipal(), awsapi.ReadOnly(true)
	awsapi.Handle(s, "CreateKey", handler(x.createKey))
	awsapi.Handle(s, "ListKeys", handler(x.listKeys))
	awsapi.Handle(s, "ListAliases", handler(x.listAliases))
	awsapi.Handle(s, "GenerateRandom", handler(x.generateRandom), read)

	awsapi.Handle(s, "DescribeKey", handler(x.describeKey), anyone)
	awsapi.Handle(s, "UpdateKeyDescription", handler(x.updateKeyDescription), anyone)
	awsapi.Handle(s, "EnableKey", handler(x.enableKey), anyone)
	awsapi.Handle(s, "DisableKey", handler(x.disableKey), anyone)
	awsapi.Handle(s, "GetKeyPolicy", handler(x.getKeyPolicy), anyone)
	awsapi.Handle(s, "PutKeyPolicy", handler(x.putKeyPolicy), anyone)
	awsapi.Handle(s, "ListKeyPolicies", handler(x.listKeyPolicies), anyone)
	awsapi.Handle(s, "CreateAlias", handler(x.createAlias), anyone)
	awsapi.Handle(s, "UpdateAlias", handler(x.updateAlias), anyone)
	awsapi.Handle(s, "DeleteAlias", handler(x.deleteAlias), anyone)
	awsapi.Handle(s, "EnableKeyRotation", handler(x.enableKeyRotation), anyone)
	awsapi.Handle(s, "DisableKeyRotation", handler(x.disableKeyRotation), anyone)
	awsapi.Handle(s, "GetKeyRotationStatus", handler(x.getKeyRotationStatus), anyone)
	awsapi.Handle(s, "RotateKeyOnDemand", handler(x.rotateKeyOnDemand), anyone)
	awsapi.Handle(s, "ListKeyRotations", handler(x.listKeyRotations), anyone)
	awsapi.Handle(s, "ScheduleKeyDeletion", handler(x.scheduleKeyDeletion), anyone)
	awsapi.Handle(s, "CancelKeyDeletion", handler(x.cancelKeyDeletion), anyone)
	awsapi.Handle(s, "TagResource", handler(x.tagResource), anyone)
	awsapi.Handle(s, "UntagResource", handler(x.untagResource), anyone)
	awsapi.Handle(s, "ListResourceTags", handler(x.listResourceTags), anyone)

	awsapi.Handle(s, "Encrypt", handler(x.encrypt), anyone, read)
	awsapi.Handle(s, "Decrypt", handler(x.decrypt), anyone, read)
	awsapi.Handle(s, "ReEncrypt", handler(x.reEncrypt), anyone, read)
	awsapi.Handle(s, "GenerateDataKey", handler(x.generateDataKey), anyone, read)
	awsapi.Handle(s, "GenerateDataKeyWithoutPlaintext", handler(x.generateDataKeyWithoutPlaintext), anyone, read)
	return s
}

// handler is a handler whose errors are told in KMS's words.
func handler[In, Out any](h func(context.Context, *awsapi.Call, *In) (*Out, error)) func(context.Context, *awsapi.Call, *In) (*Out, error) {
	return func(ctx context.Context, c *awsapi.Call, in *In) (*Out, error) {
		out, err := h(ctx, c, in)
		return out, told(err)
	}
}

// told puts errors of the ring into KMS's words.
func told(err error) error {
	var denied *caller.DeniedError
	var answer *awsapi.Error
	switch {
	case err == nil || errors.As(err, &answer):
		return err
	case errors.As(err, &denied):
		return awsapi.Errorf(awsapi.AccessDenied, "%s", denied)
	case errors.Is(err, page.ErrToken):
		return awsapi.Errorf(invalidMarker, "Could not deserialize marker")
	}
	for _, k := range []struct {
		kind error
		code string
	}{
		{keyring.ErrNotFound, notFound}, {keyring.ErrDisabled, disabled}, {keyring.ErrPending, invalidState}, {keyring.ErrState, invalidState},
		{keyring.ErrExists, exists}, {keyring.ErrLimit, limitExceeded}, {keyring.ErrPolicy, malformedPolicy}, {keyring.ErrInvalid, awsapi.Validation},
	} {
		if errors.Is(err, k.kind) {
			return awsapi.Errorf(k.code, "%s", err)
		}
	}
	if errors.Is(err, keyring.ErrCiphertext) {
		return awsapi.Errorf(invalidBlob, "") // which says nothing, on AWS neither
	}
	return err
}

func ref(c *awsapi.Call) keyring.Ref { return keyring.Ref{Account: c.Account, Region: c.Region} }

// takeBack registers the way back of a change.
func takeBack(c *awsapi.Call, undo keyring.Undo) {
	c.OnUnrecorded(func(context.Context) { _ = undo() }) // the ring logs what could not be written
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func is(b *bool) bool { return b != nil && *b }

// resolve finds the key that is meant. Only what uses keys takes aliases.
func (x *service) resolve(c *awsapi.Call, id string, alias bool) (string, error) {
	if parts := strings.SplitN(id, ":", 6); len(parts) == 6 {
		if parts[3] != c.Region {
			return "", awsapi.Errorf(notFound, "Invalid arn %s", parts[3])
		}
		if !alias && strings.HasPrefix(parts[5], "alias/") {
			return "", awsapi.Errorf(notFound, "Invalid keyId %.300s", id)
		}
	} else if !alias && strings.HasPrefix(id, "alias/") {
		return "", awsapi.Errorf(notFound, "Invalid keyId %.300s", id)
	}
	arn, err := x.o.Keys.Resolve(ref(c), id)
	if err != nil {
		if p := strings.SplitN(id, ":", 6); len(p) == 6 && p[4] != c.Account && strings.HasPrefix(p[5], "key/") {
			return id, nil // of others nobody is told that it is not there
		}
		return "", err
	}
	if x.o.Keys.External(arn) {
		return "", awsapi.Errorf(unsupported, "The key %.300s is one of another service, which has to be asked itself.", arn)
	}
	return arn, nil
}

// may decides whether the caller may do what the call does, or what action says, to a key, and tells the record that it is about it.
func (x *service) may(ctx context.Context, c *awsapi.Call, action, arn string, conditions map[string][]string) error {
	if action == "" {
		action = c.Operation
	}
	if p := strings.SplitN(arn, ":", 6); len(p) == 6 {
		c.Resource(recorder.Resource{ARN: arn, AccountID: p[4], Type: "AWS::KMS::Key"})
	}
	return x.o.Access.AuthorizeKey(ctx, caller.AccessOf(c, "kms:"+action), x.o.Keys, arn, conditions)
}

// manage finds a key that the call is about, by id or ARN, and asks whether the caller may.
func (x *service) manage(ctx context.Context, c *awsapi.Call, id *string, conditions map[string][]string) (string, error) {
	arn, err := x.resolve(c, text(id), false)
	if err != nil {
		return "", err
	}
	return arn, x.may(ctx, c, "", arn, conditions)
}

// changed carries out a change of a key.
func changed(c *awsapi.Call, k keyring.Key, undo keyring.Undo, err error) (keyring.Key, error) {
	if err != nil {
		return k, err
	}
	takeBack(c, undo)
	return k, nil
}

// limit is how many items a page has.
func limit(in *int32, byDefault int) int {
	if in == nil {
		return byDefault
	}
	return int(*in)
}

// pageOf cuts a list.
func pageOf[T any](items []T, key func(T) string, marker *string, most int, list ...string) ([]T, *string, *bool, error) {
	cut, next, err := page.Cut(items, key, marker, most, list...)
	if cut == nil {
		cut = []T{}
	}
	return cut, next, new(next != nil), err
}

func describe(k keyring.Key) *model.KeyMetadata {
	m := &model.KeyMetadata{
		AWSAccountId: new(k.Ref.Account), Arn: new(k.ARN), KeyId: new(k.ID), CreationDate: new(k.Created), Enabled: new(k.Enabled), Description: new(k.Description),
		KeyUsage: new(usage), KeySpec: new(algorithm), CustomerMasterKeySpec: new(algorithm), Origin: new(origin), KeyManager: new("CUSTOMER"),
		EncryptionAlgorithms: []string{algorithm}, MultiRegion: new(false), KeyState: new("Disabled"), CurrentKeyMaterialId: new(k.Material),
	}
	switch {
	case !k.Deletion.IsZero():
		m.KeyState, m.DeletionDate = new("PendingDeletion"), new(k.Deletion)
	case k.Enabled:
		m.KeyState = new("Enabled")
	}
	return m
}

// noEnclave refuses what only enclaves of AWS attest.
func noEnclave(r *model.RecipientInfo) error {
	if r != nil {
		return awsapi.Errorf(unsupported, "Recipient is not supported: there are no enclaves here.")
	}
	return nil
}

// plain checks what every use of a key can say.
func plain(grants []string, algorithms ...*string) error {
	if len(grants) > 0 {
		return awsapi.Errorf(invalidGrant, "There are no grants here.")
	}
	for _, a := range algorithms {
		if a != nil && *a != algorithm {
			return awsapi.Errorf(invalidKeyUsage, "The algorithm %.80s is incompatible with the key spec %s.", *a, algorithm)
		}
	}
	return nil
}

// finish ends a call that was only to be tried.
func finish(dry *bool) error {
	if is(dry) {
		return awsapi.Errorf(dryRun, "The request would have succeeded, but the DryRun option is set.")
	}
	return nil
}

func errorf(format string, a ...any) error {
	return awsapi.Errorf(awsapi.Validation, "%s", fmt.Sprintf(format, a...))
}
