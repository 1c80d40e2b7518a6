// Package awskms is AWS KMS as the external service of a key ring: data keys under keys of AWS's accounts.
package awskms

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"spoor/internal/keyring"
)

// Client asks AWS KMS, in the Region of each key. It may be used by any number of goroutines.
type Client struct{ kms *kms.Client }

var _ keyring.External = (*Client)(nil)

// New makes a client. c has the credentials, and the endpoint where it is not AWS's.
func New(c aws.Config) *Client { return &Client{kms.NewFromConfig(c)} }

// in sends a call to the Region of a key.
func in(keyARN string) func(*kms.Options) {
	return func(o *kms.Options) {
		if parts := strings.SplitN(keyARN, ":", 6); len(parts) == 6 {
			o.Region = parts[3]
		}
	}
}

// GenerateDataKey implements [keyring.External].
func (c *Client) GenerateDataKey(ctx context.Context, keyARN string, encryptionContext map[string]string) (keyring.DataKey, error) {
	out, err := c.kms.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &keyARN, KeySpec: types.DataKeySpecAes256, EncryptionContext: encryptionContext}, in(keyARN))
	if err != nil {
		return keyring.DataKey{}, told("generate a data key with "+keyARN, err)
	}
	if len(out.Plaintext) != 32 || len(out.CiphertextBlob) == 0 {
		return keyring.DataKey{}, fmt.Errorf("generate a data key with %s: the answer has %d bytes of it, not 32", keyARN, len(out.Plaintext))
	}
	return keyring.DataKey{KeyARN: keyARN, Plaintext: out.Plaintext, Wrapped: out.CiphertextBlob}, nil
}

// Decrypt implements [keyring.External].
func (c *Client) Decrypt(ctx context.Context, keyARN string, wrapped []byte, encryptionContext map[string]string) ([]byte, error) {
	out, err := c.kms.Decrypt(ctx, &kms.DecryptInput{KeyId: &keyARN, CiphertextBlob: wrapped, EncryptionContext: encryptionContext}, in(keyARN))
	if err != nil {
		return nil, told("decrypt with "+keyARN, err)
	}
	return out.Plaintext, nil
}

// told makes errors of KMS those of the ring, where they mean the same.
func told(what string, err error) error {
	var api interface{ ErrorCode() string }
	if !errors.As(err, &api) {
		return fmt.Errorf("%s: %w", what, err)
	}
	for code, kind := range map[string]error{
		"NotFoundException": keyring.ErrNotFound, "DisabledException": keyring.ErrDisabled, "KMSInvalidStateException": keyring.ErrPending,
		"AccessDeniedException": keyring.ErrDenied, "InvalidCiphertextException": keyring.ErrCiphertext, "IncorrectKeyException": keyring.ErrCiphertext,
	} {
		if api.ErrorCode() == code {
			return fmt.Errorf("%s: %w: %w", what, kind, err)
		}
	}
	return fmt.Errorf("%s: %w", what, err)
}
