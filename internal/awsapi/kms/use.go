package kms

import (
	"context"
	"crypto/rand"
	"maps"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/caller"
	model "spoor/internal/awsapi/model/kms"
	"spoor/internal/keyring"
)

// conditions are those of a call that uses a key.
func conditions(encryptionContext map[string]string, alias *string) map[string][]string {
	out := caller.EncryptionContext(encryptionContext)
	out["kms:EncryptionAlgorithm"] = []string{algorithm}
	if id := text(alias); len(id) > 6 && id[:6] == "alias/" {
		out["kms:RequestAlias"] = []string{id}
	}
	return out
}

// use finds a key that encrypts, and asks whether the caller may.
func (x *service) use(ctx context.Context, c *awsapi.Call, id *string, encryptionContext map[string]string) (string, error) {
	arn, err := x.resolve(c, text(id), true)
	if err != nil {
		return "", err
	}
	return arn, x.may(ctx, c, "", arn, conditions(encryptionContext, id))
}

func (x *service) encrypt(ctx context.Context, c *awsapi.Call, in *model.EncryptRequest) (*model.EncryptResponse, error) {
	if err := plain(in.GrantTokens, in.EncryptionAlgorithm); err != nil {
		return nil, err
	}
	arn, err := x.use(ctx, c, in.KeyId, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	blob, err := x.o.Keys.Encrypt(ctx, arn, in.Plaintext, in.EncryptionContext)
	if err == nil {
		err = finish(in.DryRun)
	}
	if err != nil {
		return nil, err
	}
	return &model.EncryptResponse{CiphertextBlob: blob, EncryptionAlgorithm: new(algorithm), KeyId: new(arn)}, nil
}

// open finds the key of something encrypted, holds it against the one that the caller names, asks whether the caller may, and
// decrypts.
func (x *service) open(ctx context.Context, c *awsapi.Call, action string, blob []byte, id *string, encryptionContext map[string]string, more map[string][]string) (plaintext []byte, arn string, err error) {
	of, err := x.o.Keys.KeyOf(blob)
	if err != nil {
		return nil, "", err
	}
	if x.o.Keys.External(of) {
		return nil, "", keyring.ErrCiphertext
	}
	if _, err := x.resolve(c, of, false); err != nil { // of another Region
		return nil, "", keyring.ErrCiphertext
	}
	if id != nil {
		named, err := x.resolve(c, *id, true)
		if err != nil {
			return nil, "", err
		}
		if named != of {
			return nil, "", awsapi.Errorf(incorrectKey, "The key ID in the request does not identify a CMK that can perform this operation.")
		}
	}
	with := conditions(encryptionContext, id)
	maps.Copy(with, more)
	if err := x.may(ctx, c, action, of, with); err != nil {
		return nil, "", err
	}
	return x.o.Keys.Decrypt(ctx, blob, encryptionContext)
}

func (x *service) decrypt(ctx context.Context, c *awsapi.Call, in *model.DecryptRequest) (*model.DecryptResponse, error) {
	if err := plain(in.GrantTokens, in.EncryptionAlgorithm); err != nil {
		return nil, err
	}
	if err := noEnclave(in.Recipient); err != nil {
		return nil, err
	}
	if len(in.DryRunModifiers) > 0 {
		return nil, awsapi.Errorf(unsupported, "DryRunModifiers are not supported.")
	}
	if len(in.CiphertextBlob) == 0 {
		return nil, errorf("1 validation error detected: Value at 'ciphertextBlob' failed to satisfy constraint: Member must not be null")
	}
	plaintext, arn, err := x.open(ctx, c, "", in.CiphertextBlob, in.KeyId, in.EncryptionContext, nil)
	if err == nil {
		err = finish(in.DryRun)
	}
	if err != nil {
		return nil, err
	}
	return &model.DecryptResponse{Plaintext: plaintext, KeyId: new(arn), EncryptionAlgorithm: new(algorithm)}, nil
}

func (x *service) reEncrypt(ctx context.Context, c *awsapi.Call, in *model.ReEncryptRequest) (*model.ReEncryptResponse, error) {
	if err := plain(in.GrantTokens, in.SourceEncryptionAlgorithm, in.DestinationEncryptionAlgorithm); err != nil {
		return nil, err
	}
	if len(in.DryRunModifiers) > 0 {
		return nil, awsapi.Errorf(unsupported, "DryRunModifiers are not supported.")
	}
	if len(in.CiphertextBlob) == 0 {
		return nil, errorf("1 validation error detected: Value at 'ciphertextBlob' failed to satisfy constraint: Member must not be null")
	}
	to, err := x.resolve(c, text(in.DestinationKeyId), true)
	if err != nil {
		return nil, err
	}
	from, err := x.o.Keys.KeyOf(in.CiphertextBlob)
	if err != nil {
		return nil, err
	}
	same := map[string][]string{"kms:ReEncryptOnSameKey": {"false"}}
	if from == to {
		same["kms:ReEncryptOnSameKey"] = []string{"true"}
	}
	plaintext, from, err := x.open(ctx, c, "ReEncryptFrom", in.CiphertextBlob, in.SourceKeyId, in.SourceEncryptionContext, same)
	if err != nil {
		return nil, err
	}
	with := conditions(in.DestinationEncryptionContext, in.DestinationKeyId)
	maps.Copy(with, same)
	if err := x.may(ctx, c, "ReEncryptTo", to, with); err != nil {
		return nil, err
	}
	blob, err := x.o.Keys.Encrypt(ctx, to, plaintext, in.DestinationEncryptionContext)
	if err == nil {
		err = finish(in.DryRun)
	}
	if err != nil {
		return nil, err
	}
	return &model.ReEncryptResponse{
		CiphertextBlob: blob, KeyId: new(to), SourceKeyId: new(from), SourceEncryptionAlgorithm: new(algorithm), DestinationEncryptionAlgorithm: new(algorithm),
	}, nil
}

// dataKey makes a data key of the length that is asked for.
func (x *service) dataKey(ctx context.Context, c *awsapi.Call, id *string, encryptionContext map[string]string, spec *string, bytes *int32) (plaintext, blob []byte, arn string, err error) {
	n := 0
	switch {
	case (spec == nil) == (bytes == nil):
		return nil, nil, "", errorf("Please specify either number of bytes or key spec.")
	case bytes != nil:
		n = int(*bytes)
	case *spec == "AES_128":
		n = 16
	default: // the model has no other than AES_256
		n = 32
	}
	if arn, err = x.use(ctx, c, id, encryptionContext); err != nil {
		return nil, nil, "", err
	}
	plaintext = make([]byte, n)
	_, _ = rand.Read(plaintext) // never fails
	blob, err = x.o.Keys.Encrypt(ctx, arn, plaintext, encryptionContext)
	return plaintext, blob, arn, err
}

func (x *service) generateDataKey(ctx context.Context, c *awsapi.Call, in *model.GenerateDataKeyRequest) (*model.GenerateDataKeyResponse, error) {
	if err := plain(in.GrantTokens); err != nil {
		return nil, err
	}
	if err := noEnclave(in.Recipient); err != nil {
		return nil, err
	}
	plaintext, blob, arn, err := x.dataKey(ctx, c, in.KeyId, in.EncryptionContext, in.KeySpec, in.NumberOfBytes)
	if err == nil {
		err = finish(in.DryRun)
	}
	if err != nil {
		return nil, err
	}
	return &model.GenerateDataKeyResponse{CiphertextBlob: blob, Plaintext: plaintext, KeyId: new(arn)}, nil
}

func (x *service) generateDataKeyWithoutPlaintext(ctx context.Context, c *awsapi.Call, in *model.GenerateDataKeyWithoutPlaintextRequest) (*model.GenerateDataKeyWithoutPlaintextResponse, error) {
	if err := plain(in.GrantTokens); err != nil {
		return nil, err
	}
	_, blob, arn, err := x.dataKey(ctx, c, in.KeyId, in.EncryptionContext, in.KeySpec, in.NumberOfBytes)
	if err == nil {
		err = finish(in.DryRun)
	}
	if err != nil {
		return nil, err
	}
	return &model.GenerateDataKeyWithoutPlaintextResponse{CiphertextBlob: blob, KeyId: new(arn)}, nil
}

func (x *service) generateRandom(_ context.Context, _ *awsapi.Call, in *model.GenerateRandomRequest) (*model.GenerateRandomResponse, error) {
	if err := noEnclave(in.Recipient); err != nil {
		return nil, err
	}
	switch {
	case in.CustomKeyStoreId != nil:
		return nil, awsapi.Errorf(unsupported, "There are no custom key stores here.")
	case in.NumberOfBytes == nil:
		return nil, errorf("1 validation error detected: Value null at 'numberOfBytes' failed to satisfy constraint: Member must not be null")
	}
	out := make([]byte, *in.NumberOfBytes)
	_, _ = rand.Read(out) // never fails
	return &model.GenerateRandomResponse{Plaintext: out}, nil
}
