package kms_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	client "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/awsapitest"
	"spoor/internal/awsapi/caller"
	"spoor/internal/awsapi/kms"
	stsapi "spoor/internal/awsapi/sts"
	"spoor/internal/iam"
	"spoor/internal/keyring"
	"spoor/internal/keyring/awskms"
)

// rig is an endpoint with a key ring, whose clock tests set.
type rig struct {
	*awsapitest.Rig
	keys *keyring.Ring
	dir  string

	mu  sync.Mutex
	now time.Time
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *rig) days(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.AddDate(0, 0, n)
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{now: time.Date(2026, 3, 9, 8, 0, 0, 0, time.UTC), dir: t.TempDir()}
	var err error
	if r.keys, err = keyring.Open(t.Context(), r.dir, keyring.Options{Account: awsapitest.Account, Region: awsapitest.Region, Now: r.clock}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.keys.Close(); err != nil {
			t.Error(err)
		}
	})
	r.Rig = awsapitest.New(t, func(access *iam.Service, _ *slog.Logger) []*awsapi.Service {
		return []*awsapi.Service{kms.New(kms.Options{Keys: r.keys, Access: caller.Access{IAM: access}}), stsapi.New(stsapi.Options{Access: access})}
	})
	return r
}

func (r *rig) client(k awsapitest.Key) *client.Client { return client.NewFromConfig(r.Config(k)) }

// told is an error as a client sees it.
func told(err error) string {
	code, message := awsapitest.Code(err)
	if code == "" {
		return ""
	}
	return code + ": " + message
}

func last[T any](_ T, err error) string { return told(err) }

func create(t *testing.T, c *client.Client) types.KeyMetadata {
	t.Helper()
	out, err := c.CreateKey(t.Context(), &client.CreateKeyInput{Description: new("of a trail")})
	if err != nil {
		t.Fatal(err)
	}
	return *out.KeyMetadata
}

// TestUse: what is encrypted is decrypted, with the same context alone, and recorded without either.
func TestUse(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r := newRig(t)
	c := r.client(r.User(t, "boss", iam.RoleAdmin))
	k := create(t, c)
	if *k.Arn != "arn:aws:kms:eu-west-1:111122223333:key/"+*k.KeyId || k.KeyState != types.KeyStateEnabled || !k.Enabled || *k.Description != "of a trail" || k.KeySpec != types.KeySpecSymmetricDefault ||
		k.KeyUsage != types.KeyUsageTypeEncryptDecrypt || k.Origin != types.OriginTypeAwsKms || k.KeyManager != types.KeyManagerTypeCustomer || *k.AWSAccountId != awsapitest.Account || !k.CreationDate.Equal(r.now) {
		t.Errorf("%+v", k)
	}
	with := map[string]string{"purpose": "test"}
	enc, err := c.Encrypt(ctx, &client.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("the secret text"), EncryptionContext: with})
	if err != nil || *enc.KeyId != *k.Arn || enc.EncryptionAlgorithm != types.EncryptionAlgorithmSpecSymmetricDefault {
		t.Fatalf("%+v, %v", enc, err)
	}
	rec := r.Book.Last(t)
	awsapitest.Equal(t, rec["requestParameters"], fmt.Sprintf(`{"keyId":%q,"encryptionContext":{"purpose":"test"}}`, *k.KeyId))
	awsapitest.Equal(t, rec["resources"], fmt.Sprintf(`[{"ARN":%q,"accountId":"111122223333","type":"AWS::KMS::Key"}]`, *k.Arn))
	if rec["responseElements"] != nil || rec["readOnly"] != true || rec["eventSource"] != "kms.amazonaws.com" || rec["managementEvent"] != true {
		t.Errorf("%v", rec)
	}
	dec, err := c.Decrypt(ctx, &client.DecryptInput{CiphertextBlob: enc.CiphertextBlob, EncryptionContext: with})
	if err != nil || string(dec.Plaintext) != "the secret text" || *dec.KeyId != *k.Arn {
		t.Fatalf("%+v, %v", dec, err)
	}
	awsapitest.Equal(t, r.Book.Last(t)["requestParameters"], `{"encryptionContext":{"purpose":"test"}}`)

	data, err := c.GenerateDataKey(ctx, &client.GenerateDataKeyInput{KeyId: k.Arn, KeySpec: types.DataKeySpecAes256, EncryptionContext: with})
	if err != nil || len(data.Plaintext) != 32 {
		t.Fatalf("%+v, %v", data, err)
	}
	awsapitest.Equal(t, r.Book.Last(t)["requestParameters"], fmt.Sprintf(`{"keyId":%q,"keySpec":"AES_256","encryptionContext":{"purpose":"test"}}`, *k.Arn))
	if got, err := r.keys.Unwrap(ctx, data.CiphertextBlob, with); err != nil || !bytes.Equal(got.Plaintext, data.Plaintext) {
		t.Errorf("the ring does not open it: %v", err)
	}
	short, err := c.GenerateDataKey(ctx, &client.GenerateDataKeyInput{KeyId: k.Arn, KeySpec: types.DataKeySpecAes128})
	if err != nil || len(short.Plaintext) != 16 {
		t.Errorf("%+v, %v", short, err)
	}
	wrapped, err := c.GenerateDataKeyWithoutPlaintext(ctx, &client.GenerateDataKeyWithoutPlaintextInput{KeyId: k.Arn, NumberOfBytes: new(int32(64))})
	if err != nil {
		t.Fatal(err)
	}
	if open, err := c.Decrypt(ctx, &client.DecryptInput{CiphertextBlob: wrapped.CiphertextBlob, KeyId: k.KeyId}); err != nil || len(open.Plaintext) != 64 {
		t.Errorf("%+v, %v", open, err)
	}

	other := create(t, c)
	moved, err := c.ReEncrypt(ctx, &client.ReEncryptInput{CiphertextBlob: enc.CiphertextBlob, SourceEncryptionContext: with, DestinationKeyId: other.KeyId, DestinationEncryptionContext: map[string]string{"b": "c"}})
	if err != nil || *moved.KeyId != *other.Arn || *moved.SourceKeyId != *k.Arn {
		t.Fatalf("%+v, %v", moved, err)
	}
	awsapitest.Equal(t, r.Book.Last(t)["resources"], fmt.Sprintf(`[{"ARN":%q,"accountId":"111122223333","type":"AWS::KMS::Key"},{"ARN":%q,"accountId":"111122223333","type":"AWS::KMS::Key"}]`, *k.Arn, *other.Arn))
	if open, err := c.Decrypt(ctx, &client.DecryptInput{CiphertextBlob: moved.CiphertextBlob, EncryptionContext: map[string]string{"b": "c"}}); err != nil || string(open.Plaintext) != "the secret text" {
		t.Errorf("%+v, %v", open, err)
	}
	random, err := c.GenerateRandom(ctx, &client.GenerateRandomInput{NumberOfBytes: new(int32(24))})
	if err != nil || len(random.Plaintext) != 24 {
		t.Errorf("%+v, %v", random, err)
	}

	const invalid = "InvalidCiphertextException: "
	for want, got := range map[string][]string{
		invalid: {
			last(c.Decrypt(ctx, &client.DecryptInput{CiphertextBlob: enc.CiphertextBlob})), last(c.Decrypt(ctx, &client.DecryptInput{CiphertextBlob: []byte("nothing")})),
			last(c.Decrypt(ctx, &client.DecryptInput{CiphertextBlob: enc.CiphertextBlob, EncryptionContext: map[string]string{"purpose": "Test"}})),
			last(c.ReEncrypt(ctx, &client.ReEncryptInput{CiphertextBlob: []byte("nothing"), DestinationKeyId: k.KeyId})),
		},
		"IncorrectKeyException: The key ID in the request does not identify a CMK that can perform this operation.": {
			last(c.Decrypt(ctx, &client.DecryptInput{CiphertextBlob: enc.CiphertextBlob, EncryptionContext: with, KeyId: other.KeyId})),
		},
		"DryRunOperationException: The request would have succeeded, but the DryRun option is set.": {
			last(c.Encrypt(ctx, &client.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("x"), DryRun: new(true)})),
			last(c.Decrypt(ctx, &client.DecryptInput{CiphertextBlob: enc.CiphertextBlob, EncryptionContext: with, DryRun: new(true)})),
			last(c.GenerateDataKey(ctx, &client.GenerateDataKeyInput{KeyId: k.Arn, KeySpec: types.DataKeySpecAes256, DryRun: new(true)})),
		},
		"ValidationException: Please specify either number of bytes or key spec.": {
			last(c.GenerateDataKey(ctx, &client.GenerateDataKeyInput{KeyId: k.Arn})),
			last(c.GenerateDataKey(ctx, &client.GenerateDataKeyInput{KeyId: k.Arn, KeySpec: types.DataKeySpecAes256, NumberOfBytes: new(int32(3))})),
		},
		"InvalidKeyUsageException: The algorithm RSAES_OAEP_SHA_1 is incompatible with the key spec SYMMETRIC_DEFAULT.": {
			last(c.Encrypt(ctx, &client.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("x"), EncryptionAlgorithm: types.EncryptionAlgorithmSpecRsaesOaepSha1})),
		},
		"InvalidGrantTokenException: There are no grants here.":                                {last(c.Encrypt(ctx, &client.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("x"), GrantTokens: []string{"x"}}))},
		"NotFoundException: Invalid arn us-east-1":                                             {last(c.Encrypt(ctx, &client.EncryptInput{KeyId: new("arn:aws:kms:us-east-1:111122223333:key/" + *k.KeyId), Plaintext: []byte("x")}))},
		"NotFoundException: Alias arn:aws:kms:eu-west-1:111122223333:alias/none is not found.": {last(c.Encrypt(ctx, &client.EncryptInput{KeyId: new("alias/none"), Plaintext: []byte("x")}))},
		"NotFoundException: Key 'arn:aws:kms:eu-west-1:111122223333:key/none' does not exist":  {last(c.DescribeKey(ctx, &client.DescribeKeyInput{KeyId: new("none")}))},
	} {
		for _, g := range got {
			if g != want {
				t.Errorf("got  %s\nwant %s", g, want)
			}
		}
	}
	for _, rec := range r.Book.Records() {
		for _, secret := range [][]byte{[]byte("the secret text"), data.Plaintext, enc.CiphertextBlob, random.Plaintext} {
			if strings.Contains(rec, string(secret)) || strings.Contains(rec, base64.StdEncoding.EncodeToString(secret)) {
				t.Errorf("recorded: %s", rec)
			}
		}
	}
}

// TestManage goes through what is done to a key, and how it is told.
func TestManage(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r := newRig(t)
	c := r.client(r.User(t, "boss", iam.RoleAdmin))
	k := create(t, c)
	ok := func(what, err string) {
		t.Helper()
		if err != "" {
			t.Errorf("%s: %s", what, err)
		}
	}
	metadata := func() types.KeyMetadata {
		t.Helper()
		out, err := c.DescribeKey(ctx, &client.DescribeKeyInput{KeyId: k.KeyId})
		if err != nil {
			t.Fatal(err)
		}
		return *out.KeyMetadata
	}
	ok("describe", last(c.UpdateKeyDescription(ctx, &client.UpdateKeyDescriptionInput{KeyId: k.KeyId, Description: new("another")})))
	ok("disable", last(c.DisableKey(ctx, &client.DisableKeyInput{KeyId: k.KeyId})))
	if m := metadata(); m.KeyState != types.KeyStateDisabled || m.Enabled || *m.Description != "another" {
		t.Errorf("%+v", m)
	}
	if got := last(c.Encrypt(ctx, &client.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("x")})); got != "DisabledException: "+*k.Arn+" is disabled." {
		t.Error(got)
	}
	ok("enable", last(c.EnableKey(ctx, &client.EnableKeyInput{KeyId: k.KeyId})))

	ok("alias", last(c.CreateAlias(ctx, &client.CreateAliasInput{AliasName: new("alias/logs"), TargetKeyId: k.KeyId})))
	if got := last(c.CreateAlias(ctx, &client.CreateAliasInput{AliasName: new("alias/logs"), TargetKeyId: k.KeyId})); got != "AlreadyExistsException: An alias with the name arn:aws:kms:eu-west-1:111122223333:alias/logs already exists" {
		t.Error(got)
	}
	for _, bad := range []string{"logs", "alias/", "alias/aws/s3", "alias/a:b"} {
		if got := last(c.CreateAlias(ctx, &client.CreateAliasInput{AliasName: &bad, TargetKeyId: k.KeyId})); !strings.HasPrefix(got, "InvalidAliasNameException: ") {
			t.Errorf("%s: %s", bad, got)
		}
	}
	ok("by alias", last(c.Encrypt(ctx, &client.EncryptInput{KeyId: new("alias/logs"), Plaintext: []byte("x")})))
	ok("by its ARN", last(c.DescribeKey(ctx, &client.DescribeKeyInput{KeyId: new("arn:aws:kms:eu-west-1:111122223333:alias/logs")})))
	if got := last(c.EnableKey(ctx, &client.EnableKeyInput{KeyId: new("alias/logs")})); got != "NotFoundException: Invalid keyId alias/logs" {
		t.Error(got)
	}
	other := create(t, c)
	ok("update alias", last(c.UpdateAlias(ctx, &client.UpdateAliasInput{AliasName: new("alias/logs"), TargetKeyId: other.KeyId})))
	aliases, err := c.ListAliases(ctx, &client.ListAliasesInput{})
	if err != nil || len(aliases.Aliases) != 1 || *aliases.Aliases[0].TargetKeyId != *other.KeyId || *aliases.Aliases[0].AliasArn != "arn:aws:kms:eu-west-1:111122223333:alias/logs" || aliases.Truncated {
		t.Errorf("%+v, %v", aliases, err)
	}
	if of, err := c.ListAliases(ctx, &client.ListAliasesInput{KeyId: k.KeyId}); err != nil || len(of.Aliases) != 0 {
		t.Errorf("%+v, %v", of, err)
	}
	ok("delete alias", last(c.DeleteAlias(ctx, &client.DeleteAliasInput{AliasName: new("alias/logs")})))

	one, err := c.ListKeys(ctx, &client.ListKeysInput{Limit: new(int32(1))})
	if err != nil || len(one.Keys) != 1 || !one.Truncated {
		t.Fatalf("%+v, %v", one, err)
	}
	two, err := c.ListKeys(ctx, &client.ListKeysInput{Marker: one.NextMarker})
	if err != nil || len(two.Keys) != 1 || two.Truncated || *two.Keys[0].KeyId == *one.Keys[0].KeyId {
		t.Errorf("%+v, %v", two, err)
	}
	if got := last(c.ListKeys(ctx, &client.ListKeysInput{Marker: new("x")})); got != "InvalidMarkerException: Could not deserialize marker" {
		t.Error(got)
	}

	ok("tag", last(c.TagResource(ctx, &client.TagResourceInput{KeyId: k.KeyId, Tags: []types.Tag{{TagKey: new("b"), TagValue: new("2")}, {TagKey: new("a"), TagValue: new("")}}})))
	ok("untag", last(c.UntagResource(ctx, &client.UntagResourceInput{KeyId: k.KeyId, TagKeys: []string{"a"}})))
	if tags, err := c.ListResourceTags(ctx, &client.ListResourceTagsInput{KeyId: k.KeyId}); err != nil || len(tags.Tags) != 1 || *tags.Tags[0].TagKey != "b" || *tags.Tags[0].TagValue != "2" {
		t.Errorf("%+v, %v", tags, err)
	}
	if got := last(c.TagResource(ctx, &client.TagResourceInput{KeyId: k.KeyId, Tags: []types.Tag{{TagKey: new("aws:x"), TagValue: new("")}}})); !strings.HasPrefix(got, "TagException: ") {
		t.Error(got)
	}
	var many []types.Tag
	for i := range 51 {
		many = append(many, types.Tag{TagKey: new(fmt.Sprint(i)), TagValue: new("")})
	}
	if got := last(c.TagResource(ctx, &client.TagResourceInput{KeyId: k.KeyId, Tags: many})); !strings.HasPrefix(got, "LimitExceededException: ") {
		t.Error(got)
	}

	if off, err := c.GetKeyRotationStatus(ctx, &client.GetKeyRotationStatusInput{KeyId: k.KeyId}); err != nil || off.KeyRotationEnabled || off.NextRotationDate != nil {
		t.Errorf("%+v, %v", off, err)
	}
	ok("let rotate", last(c.EnableKeyRotation(ctx, &client.EnableKeyRotationInput{KeyId: k.KeyId, RotationPeriodInDays: new(int32(90))})))
	if on, err := c.GetKeyRotationStatus(ctx, &client.GetKeyRotationStatusInput{KeyId: k.KeyId}); err != nil || !on.KeyRotationEnabled || *on.RotationPeriodInDays != 90 || !on.NextRotationDate.Equal(r.now.AddDate(0, 0, 90)) {
		t.Errorf("%+v, %v", on, err)
	}
	r.days(90)
	ok("rotate", last(c.RotateKeyOnDemand(ctx, &client.RotateKeyOnDemandInput{KeyId: k.KeyId})))
	rotations, err := c.ListKeyRotations(ctx, &client.ListKeyRotationsInput{KeyId: k.KeyId})
	if err != nil || len(rotations.Rotations) != 2 || rotations.Rotations[0].RotationType != types.RotationTypeAutomatic || rotations.Rotations[1].RotationType != types.RotationTypeOnDemand || rotations.Rotations[0].KeyMaterialId != nil {
		t.Errorf("%+v, %v", rotations, err)
	}
	all, err := c.ListKeyRotations(ctx, &client.ListKeyRotationsInput{KeyId: k.KeyId, IncludeKeyMaterial: types.IncludeKeyMaterialAllKeyMaterial})
	if err != nil || len(all.Rotations) != 3 || *all.Rotations[0].KeyMaterialId != *k.CurrentKeyMaterialId || all.Rotations[2].KeyMaterialState != types.KeyMaterialStateCurrent {
		t.Errorf("%+v, %v", all, err)
	}
	ok("let it be", last(c.DisableKeyRotation(ctx, &client.DisableKeyRotationInput{KeyId: k.KeyId})))

	if names, err := c.ListKeyPolicies(ctx, &client.ListKeyPoliciesInput{KeyId: k.KeyId}); err != nil || !slices.Equal(names.PolicyNames, []string{"default"}) {
		t.Errorf("%+v, %v", names, err)
	}
	gone, err := c.ScheduleKeyDeletion(ctx, &client.ScheduleKeyDeletionInput{KeyId: k.KeyId, PendingWindowInDays: new(int32(7))})
	if err != nil || *gone.KeyId != *k.Arn || gone.KeyState != types.KeyStatePendingDeletion || !gone.DeletionDate.Equal(r.now.AddDate(0, 0, 7)) || *gone.PendingWindowInDays != 7 {
		t.Errorf("%+v, %v", gone, err)
	}
	if m := metadata(); m.KeyState != types.KeyStatePendingDeletion || m.DeletionDate == nil || m.Enabled {
		t.Errorf("%+v", m)
	}
	for _, got := range []string{
		last(c.Encrypt(ctx, &client.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("x")})), last(c.EnableKey(ctx, &client.EnableKeyInput{KeyId: k.KeyId})),
		last(c.ScheduleKeyDeletion(ctx, &client.ScheduleKeyDeletionInput{KeyId: k.KeyId})),
	} {
		if got != "KMSInvalidStateException: "+*k.Arn+" is pending deletion." {
			t.Error(got)
		}
	}
	if back, err := c.CancelKeyDeletion(ctx, &client.CancelKeyDeletionInput{KeyId: k.KeyId}); err != nil || *back.KeyId != *k.Arn || metadata().KeyState != types.KeyStateDisabled {
		t.Errorf("%+v, %v", back, err)
	}
	if got := last(c.CancelKeyDeletion(ctx, &client.CancelKeyDeletionInput{KeyId: k.KeyId})); got != "KMSInvalidStateException: "+*k.Arn+" is not pending deletion." {
		t.Error(got)
	}
	ok("delete", last(c.ScheduleKeyDeletion(ctx, &client.ScheduleKeyDeletionInput{KeyId: k.KeyId})))
	r.days(30)
	if got := last(c.DescribeKey(ctx, &client.DescribeKeyInput{KeyId: k.KeyId})); got != "NotFoundException: Key '"+*k.Arn+"' does not exist" {
		t.Error(got)
	}

	for _, in := range []client.CreateKeyInput{
		{KeySpec: types.KeySpecRsa2048}, {KeyUsage: types.KeyUsageTypeSignVerify}, {Origin: types.OriginTypeExternal}, {MultiRegion: new(true)}, {CustomKeyStoreId: new("cks-1")},
	} {
		if got := last(c.CreateKey(ctx, &in)); !strings.HasPrefix(got, "UnsupportedOperationException: ") {
			t.Errorf("%+v: %s", in, got)
		}
	}
}

// policyOf writes a key policy of statements.
func policyOf(statements ...string) *string {
	return new(`{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`)
}

const (
	leaveIt = `{"Sid":"account","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"}`
	annMay  = `{"Sid":"ann","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/ann"},"Action":["kms:Decrypt","kms:GenerateDataKey*"],"Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:for":"ann"}}}`
	bossMay = `{"Sid":"boss","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/boss"},"Action":"kms:*","Resource":"*"}`
)

// TestPolicies: who may use a key is for its policy to say, and for those of the account where it leaves it to them.
func TestPolicies(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r := newRig(t)
	boss := r.client(r.User(t, "boss", iam.RoleAdmin))
	root := r.client(r.User(t, iam.RootName))
	ann, app, analyst := r.client(r.User(t, "ann")), r.client(r.User(t, "app", iam.RoleStorage)), r.client(r.User(t, "ana", iam.RoleAnalyst))
	k := create(t, boss)
	put := func(c *client.Client, text *string, bypass bool) string {
		return last(c.PutKeyPolicy(ctx, &client.PutKeyPolicyInput{KeyId: k.KeyId, Policy: text, BypassPolicyLockoutSafetyCheck: bypass}))
	}
	for _, in := range []string{"ann", "other"} {
		if _, err := boss.GenerateDataKey(ctx, &client.GenerateDataKeyInput{KeyId: k.KeyId, KeySpec: types.DataKeySpecAes256, EncryptionContext: map[string]string{"for": in}}); err != nil {
			t.Fatal(err)
		}
	}
	blob := func(in string) []byte {
		t.Helper()
		d, err := r.keys.GenerateDataKey(ctx, *k.Arn, map[string]string{"for": in})
		if err != nil {
			t.Fatal(err)
		}
		return d.Wrapped
	}
	forAnn, forOther := blob("ann"), blob("other")
	const (
		yes   = ""
		iamNo = "no identity-based policy"
		keyNo = "no resource-based policy"
		deny  = "explicit deny in a resource-based policy"
	)
	check := func(when string, want map[string]string) {
		t.Helper()
		for name, do := range map[string]func() string{
			"boss decrypts": func() string {
				return last(boss.Decrypt(ctx, &client.DecryptInput{CiphertextBlob: forAnn, EncryptionContext: map[string]string{"for": "ann"}}))
			},
			"root decrypts": func() string {
				return last(root.Decrypt(ctx, &client.DecryptInput{CiphertextBlob: forAnn, EncryptionContext: map[string]string{"for": "ann"}}))
			},
			"ann decrypts hers": func() string {
				return last(ann.Decrypt(ctx, &client.DecryptInput{CiphertextBlob: forAnn, EncryptionContext: map[string]string{"for": "ann"}}))
			},
			"ann decrypts others": func() string {
				return last(ann.Decrypt(ctx, &client.DecryptInput{CiphertextBlob: forOther, EncryptionContext: map[string]string{"for": "other"}}))
			},
			"app encrypts": func() string {
				return last(app.Encrypt(ctx, &client.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("x")}))
			},
			"app disables": func() string { return last(app.DisableKey(ctx, &client.DisableKeyInput{KeyId: k.KeyId})) },
			"analyst decrypts": func() string {
				return last(analyst.Decrypt(ctx, &client.DecryptInput{CiphertextBlob: forOther, EncryptionContext: map[string]string{"for": "other"}}))
			},
			"analyst encrypts": func() string {
				return last(analyst.Encrypt(ctx, &client.EncryptInput{KeyId: k.KeyId, Plaintext: []byte("x")}))
			},
		} {
			got := do()
			if want[name] == yes && got != "" || want[name] != yes && (!strings.HasPrefix(got, "AccessDeniedException: User: arn:aws:") || !strings.Contains(got, want[name])) {
				t.Errorf("%s: %s: %q; want %q", when, name, got, want[name])
			}
			if got != "" {
				if rec := r.Book.Last(t); rec["errorCode"] != "AccessDenied" {
					t.Errorf("%s: %s: recorded %v", when, name, rec)
				}
			}
		}
	}
	check("default", map[string]string{"ann decrypts hers": iamNo, "ann decrypts others": iamNo, "app disables": iamNo, "analyst encrypts": iamNo})
	if got := put(boss, policyOf(leaveIt, annMay), false); got != "" {
		t.Fatal(got)
	}
	check("ann is named", map[string]string{"ann decrypts others": iamNo, "app disables": iamNo, "analyst encrypts": iamNo})
	if got := put(boss, policyOf(leaveIt, annMay, `{"Effect":"Deny","Principal":"*","Action":"kms:Decrypt","Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:for":"ann"}}}`), false); got != "" {
		t.Fatal(got)
	}
	check("some is denied", map[string]string{"boss decrypts": deny, "root decrypts": deny, "ann decrypts hers": deny, "ann decrypts others": iamNo, "app disables": iamNo, "analyst encrypts": iamNo})
	// Without the account, the policies of principals count for nothing.
	if got := put(boss, policyOf(annMay, bossMay), false); got != "" {
		t.Fatal(got)
	}
	check("the account is not named", map[string]string{
		"root decrypts": keyNo, "ann decrypts others": keyNo, "app encrypts": keyNo, "app disables": keyNo, "analyst decrypts": keyNo, "analyst encrypts": keyNo,
	})
	if out, err := boss.GetKeyPolicy(ctx, &client.GetKeyPolicyInput{KeyId: k.KeyId}); err != nil || *out.Policy != *policyOf(annMay, bossMay) || *out.PolicyName != "default" {
		t.Errorf("%+v, %v", out, err)
	}
	const locked = "MalformedPolicyDocumentException: The new key policy will not allow you to update the key policy in the future."
	if got := put(boss, policyOf(annMay), false); got != locked {
		t.Error(got)
	}
	if got := last(boss.CreateKey(ctx, &client.CreateKeyInput{Policy: policyOf(annMay)})); got != locked {
		t.Error(got)
	}
	if got := last(boss.CreateKey(ctx, &client.CreateKeyInput{Policy: policyOf(annMay), BypassPolicyLockoutSafetyCheck: true})); got != "" {
		t.Error(got)
	}
	for text, want := range map[string]string{
		`{}`: "MalformedPolicyDocumentException: it has no Statement", *policyOf(`{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}`): "MalformedPolicyDocumentException: Statement[0].Action: ",
		`{"x":"` + strings.Repeat("x", 33<<10) + `"}`: "LimitExceededException: ",
	} {
		if got := put(boss, &text, true); !strings.HasPrefix(got, want) {
			t.Errorf("%.80s: %s", text, got)
		}
	}
	if got := put(boss, policyOf(annMay), true); got != "" {
		t.Error(got)
	}
	if got := put(boss, policyOf(leaveIt), true); !strings.Contains(got, keyNo) {
		t.Error(got)
	}
	if got := last(boss.GetKeyPolicy(ctx, &client.GetKeyPolicyInput{KeyId: create(t, boss).KeyId, PolicyName: new("other")})); got != "NotFoundException: No such policy exists" {
		t.Error(got)
	}
}

// TestAccounts: from another account both have to allow, and nobody is told what is there.
func TestAccounts(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r := newRig(t)
	bossKey := r.User(t, "boss", iam.RoleAdmin)
	boss := r.client(bossKey)
	trust, err := iam.TrustOf("*")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Access.CreateAssumable(iam.AssumableSpec{Name: "far", Account: awsapitest.Member, Roles: []iam.Role{iam.RoleStorage}, Trust: trust}); err != nil {
		t.Fatal(err)
	}
	out, err := sts.NewFromConfig(r.Config(bossKey)).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: new("arn:aws:iam::" + awsapitest.Member + ":role/far"), RoleSessionName: new("xx")})
	if err != nil {
		t.Fatal(err)
	}
	far := r.client(awsapitest.Key{ID: *out.Credentials.AccessKeyId, Secret: *out.Credentials.SecretAccessKey, Token: *out.Credentials.SessionToken})
	k := create(t, boss)
	encrypt := func() string {
		return last(far.Encrypt(ctx, &client.EncryptInput{KeyId: k.Arn, Plaintext: []byte("x")}))
	}
	if got := encrypt(); !strings.Contains(got, "no resource-based policy") {
		t.Error(got)
	}
	for _, who := range []string{"444455556666", "arn:aws:iam::444455556666:role/far", "arn:aws:sts::444455556666:assumed-role/far/xx"} {
		if got := last(boss.PutKeyPolicy(ctx, &client.PutKeyPolicyInput{KeyId: k.KeyId, Policy: policyOf(leaveIt, `{"Effect":"Allow","Principal":{"AWS":"`+who+`"},"Action":"kms:*","Resource":"*"}`)})); got != "" {
			t.Fatal(got)
		}
		if got := encrypt(); got != "" {
			t.Errorf("%s: %s", who, got)
		}
		if got := last(far.DisableKey(ctx, &client.DisableKeyInput{KeyId: k.Arn})); !strings.Contains(got, "no identity-based policy") {
			t.Errorf("%s: %s", who, got)
		}
	}
	if got := last(far.Encrypt(ctx, &client.EncryptInput{KeyId: new(strings.Replace(*k.Arn, *k.KeyId, "00000000-0000-4000-8000-000000000000", 1)), Plaintext: []byte("x")})); !strings.HasPrefix(got, "AccessDeniedException: ") || !strings.Contains(got, "because the resource does not exist in this Region") {
		t.Error(got)
	}
	if got := last(far.DescribeKey(ctx, &client.DescribeKeyInput{KeyId: k.KeyId})); got != "NotFoundException: Key 'arn:aws:kms:eu-west-1:444455556666:key/"+*k.KeyId+"' does not exist" {
		t.Error(got)
	}
}

// TestUnrecorded: what cannot be recorded does not happen.
func TestUnrecorded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	c := r.client(r.User(t, "boss", iam.RoleAdmin))
	k := create(t, c)
	if _, err := c.CreateAlias(t.Context(), &client.CreateAliasInput{AliasName: new("alias/a"), TargetKeyId: k.KeyId}); err != nil {
		t.Fatal(err)
	}
	r.Book.Fail(errors.New("full"))
	for name, do := range map[string]func(context.Context) error{
		"create": func(ctx context.Context) error { _, err := c.CreateKey(ctx, &client.CreateKeyInput{}); return err },
		"describe": func(ctx context.Context) error {
			_, err := c.UpdateKeyDescription(ctx, &client.UpdateKeyDescriptionInput{KeyId: k.KeyId, Description: new("x")})
			return err
		},
		"disable": func(ctx context.Context) error {
			_, err := c.DisableKey(ctx, &client.DisableKeyInput{KeyId: k.KeyId})
			return err
		},
		"policy": func(ctx context.Context) error {
			_, err := c.PutKeyPolicy(ctx, &client.PutKeyPolicyInput{KeyId: k.KeyId, Policy: policyOf(leaveIt, annMay)})
			return err
		},
		"rotate": func(ctx context.Context) error {
			_, err := c.RotateKeyOnDemand(ctx, &client.RotateKeyOnDemandInput{KeyId: k.KeyId})
			return err
		},
		"rotation": func(ctx context.Context) error {
			_, err := c.EnableKeyRotation(ctx, &client.EnableKeyRotationInput{KeyId: k.KeyId})
			return err
		},
		"delete": func(ctx context.Context) error {
			_, err := c.ScheduleKeyDeletion(ctx, &client.ScheduleKeyDeletionInput{KeyId: k.KeyId})
			return err
		},
		"tag": func(ctx context.Context) error {
			_, err := c.TagResource(ctx, &client.TagResourceInput{KeyId: k.KeyId, Tags: []types.Tag{{TagKey: new("a"), TagValue: new("b")}}})
			return err
		},
		"alias": func(ctx context.Context) error {
			_, err := c.CreateAlias(ctx, &client.CreateAliasInput{AliasName: new("alias/b"), TargetKeyId: k.KeyId})
			return err
		},
		"unalias": func(ctx context.Context) error {
			_, err := c.DeleteAlias(ctx, &client.DeleteAliasInput{AliasName: new("alias/a")})
			return err
		},
	} {
		state := func() string {
			t.Helper()
			b, err := os.ReadFile(filepath.Join(r.dir, "state.json"))
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		before := state()
		if code, _ := awsapitest.Code(do(t.Context())); code != "InternalFailure" {
			t.Errorf("%s: %s", name, code)
		}
		if after := state(); after != before {
			t.Errorf("%s stayed", name)
		}
	}
}

// TestExternalClient: the client of AWS KMS works against this service, and says what the ring understands.
func TestExternalClient(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r := newRig(t)
	key := r.User(t, "boss", iam.RoleAdmin)
	k := create(t, r.client(key))
	near, err := keyring.Open(ctx, t.TempDir(), keyring.Options{Account: "999988887777", Region: "us-east-1", External: awskms.New(r.Config(key))})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := near.Close(); err != nil {
			t.Error(err)
		}
	}()
	with := map[string]string{"a": "b"}
	d, err := near.GenerateDataKey(ctx, *k.Arn, with)
	if err != nil || len(d.Plaintext) != 32 || d.KeyARN != *k.Arn {
		t.Fatalf("%+v, %v", d, err)
	}
	if got, err := near.Unwrap(ctx, d.Wrapped, with); err != nil || !bytes.Equal(got.Plaintext, d.Plaintext) || got.KeyARN != *k.Arn {
		t.Errorf("%+v, %v", got, err)
	}
	wants := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v; want %v", what, err, want)
		}
	}
	_, err = near.Unwrap(ctx, d.Wrapped, nil)
	wants("another context", err, keyring.ErrCiphertext)
	_, err = near.GenerateDataKey(ctx, strings.Replace(*k.Arn, *k.KeyId, "00000000-0000-4000-8000-000000000000", 1), nil)
	wants("no key", err, keyring.ErrNotFound)
	if _, _, err := r.keys.SetEnabled(*k.Arn, false); err != nil {
		t.Fatal(err)
	}
	_, err = near.Unwrap(ctx, d.Wrapped, with)
	wants("disabled", err, keyring.ErrDisabled)
	if _, _, err := r.keys.ScheduleDeletion(*k.Arn, 7); err != nil {
		t.Fatal(err)
	}
	_, err = near.Unwrap(ctx, d.Wrapped, with)
	wants("pending", err, keyring.ErrPending)
	_, err = awskms.New(r.Config(r.User(t, "nobody"))).GenerateDataKey(ctx, *k.Arn, nil)
	wants("denied", err, keyring.ErrDenied)
}

// TestCLI does with the AWS CLI what an administrator of a trail does.
func TestCLI(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	aws := r.CLI(t, r.User(t, "boss", iam.RoleAdmin))
	run := func(args ...string) map[string]any {
		t.Helper()
		out, err := aws(append([]string{"kms"}, args...)...)
		if err != nil {
			t.Fatalf("%q: %v: %s", args, err, out)
		}
		m := map[string]any{}
		if strings.TrimSpace(out) != "" {
			if err := json.Unmarshal([]byte(out), &m); err != nil {
				t.Fatalf("%q: %v: %s", args, err, out)
			}
		}
		return m
	}
	policy := filepath.Join(t.TempDir(), "policy.json")
	text := *policyOf(leaveIt, `{"Sid":"trail","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"kms:GenerateDataKey*","Resource":"*",
		"Condition":{"StringLike":{"kms:EncryptionContext:aws:cloudtrail:arn":"arn:aws:cloudtrail:*:111122223333:trail/*"}}}`)
	if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	k := run("create-key", "--description", "logs", "--policy", "file://"+policy, "--tags", "TagKey=a,TagValue=b")["KeyMetadata"].(map[string]any)
	id := k["KeyId"].(string)
	run("create-alias", "--alias-name", "alias/logs", "--target-key-id", id)
	run("enable-key-rotation", "--key-id", id)
	if s := run("get-key-rotation-status", "--key-id", id); s["KeyRotationEnabled"] != true || s["RotationPeriodInDays"] != 365.0 {
		t.Errorf("%v", s)
	}
	if p := run("get-key-policy", "--key-id", id, "--policy-name", "default"); p["Policy"] != text {
		t.Errorf("%v", p)
	}
	if m := run("describe-key", "--key-id", "alias/logs")["KeyMetadata"].(map[string]any); m["Arn"] != k["Arn"] || m["KeyState"] != "Enabled" {
		t.Errorf("%v", m)
	}
	blob := func(name string, b []byte) string {
		t.Helper()
		path := filepath.Join(filepath.Dir(policy), name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return "fileb://" + path
	}
	enc := run("encrypt", "--key-id", "alias/logs", "--plaintext", blob("plain", []byte("the secret")), "--encryption-context", "a=b")
	wrapped, err := base64.StdEncoding.DecodeString(enc["CiphertextBlob"].(string))
	if err != nil {
		t.Fatal(err)
	}
	closed := blob("closed", wrapped)
	if dec := run("decrypt", "--ciphertext-blob", closed, "--encryption-context", "a=b"); dec["Plaintext"] != base64.StdEncoding.EncodeToString([]byte("the secret")) || dec["KeyId"] != k["Arn"] {
		t.Errorf("%v", dec)
	}
	if out, err := aws("kms", "decrypt", "--ciphertext-blob", closed); err == nil || !strings.Contains(out, "(InvalidCiphertextException)") {
		t.Errorf("%v: %s", err, out)
	}
	if list := run("list-aliases")["Aliases"].([]any); len(list) != 1 {
		t.Errorf("%v", list)
	}
	run("schedule-key-deletion", "--key-id", id, "--pending-window-in-days", "7")
}
