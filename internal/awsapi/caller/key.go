package caller

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"spoor/internal/awsapi"
	"spoor/internal/keyring"
)

// EncryptionContext is what conditions of policies are told of an encryption context.
func EncryptionContext(context map[string]string) map[string][]string {
	out := map[string][]string{}
	for k, v := range context {
		out["kms:EncryptionContext:"+k] = []string{v}
		out["kms:EncryptionContextKeys"] = append(out["kms:EncryptionContextKeys"], k)
	}
	return out
}

// AuthorizeKey decides whether a principal may do something with a key of a ring, or with one of the external service, where the
// policies of principals decide alone, beside that service. x.Resources are not looked at. conditions are those of the call, such
// as what [EncryptionContext] makes and kms:ViaService; those of the key are filled in. The error is a [*DeniedError], or the ring's
// for a key that is not there.
func (a Access) AuthorizeKey(ctx context.Context, x awsapi.Access, keys *keyring.Ring, keyARN string, conditions map[string][]string) error {
	x.Resources = []string{keyARN}
	with := maps.Clone(conditions)
	if with == nil {
		with = map[string][]string{}
	}
	by := PolicyPrincipal(x.Principal)
	if by.Account != "" {
		with["kms:CallerAccount"] = []string{by.Account}
	}
	if keys.External(keyARN) {
		return a.AuthorizeResource(ctx, x, Guarded{Conditions: with})
	}
	k, err := keys.Key(keyARN)
	if errors.Is(err, keyring.ErrNotFound) && !strings.Contains(keyARN, ":"+by.Account+":") { // others are not told what is there
		return &DeniedError{Access: x, Resource: keyARN, cause: err,
			why: "because the resource does not exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies access"}
	}
	if err != nil {
		return err
	}
	owner, doc, err := keys.Policy(keyARN)
	if err != nil {
		return err
	}
	for key, v := range map[string]string{"kms:KeySpec": "SYMMETRIC_DEFAULT", "kms:KeyUsage": "ENCRYPT_DECRYPT", "kms:KeyOrigin": "AWS_KMS", "kms:MultiRegion": "false"} {
		with[key] = []string{v}
	}
	with["kms:ResourceAliases"] = slices.Clone(k.Aliases)
	for _, t := range k.Tags {
		with["aws:ResourceTag/"+t.Key] = []string{t.Value}
	}
	return a.AuthorizeResource(ctx, x, Guarded{Owner: owner, Policy: doc, MustDelegate: true, Conditions: with})
}
