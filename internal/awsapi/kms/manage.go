package kms

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/caller"
	model "spoor/internal/awsapi/model/kms"
	"spoor/internal/keyring"
	"spoor/internal/policy"
	"spoor/internal/recorder"
	"spoor/internal/tag"
)

const (
	policyName = "default" // the only one that a key has
	maxPolicy  = 32 << 10
)

// parsePolicy reads a policy that a key is to have, and checks that the caller can change it again, as KMS does, unless told not to.
func (x *service) parsePolicy(ctx context.Context, c *awsapi.Call, body, arn string, bypass *bool) error {
	if len(body) > maxPolicy {
		return awsapi.Errorf(limitExceeded, "The policy has %d bytes, more than %d.", len(body), maxPolicy)
	}
	doc, err := keyring.ParsePolicy([]byte(body))
	if err != nil {
		var wrong *policy.Error
		if errors.As(err, &wrong) {
			return awsapi.Errorf(malformedPolicy, "%s", wrong)
		}
		return err
	}
	if is(bypass) {
		return nil
	}
	err = x.o.Access.AuthorizeResource(ctx, caller.AccessOf(c, "kms:PutKeyPolicy", arn), caller.Guarded{Owner: c.Account, Policy: doc, MustDelegate: true,
		Conditions: map[string][]string{"kms:CallerAccount": {c.Account}}})
	if errors.Is(err, awsapi.ErrDenied) {
		return awsapi.Errorf(malformedPolicy, "The new key policy will not allow you to update the key policy in the future.")
	}
	return err
}

func tags(in []model.Tag) []tag.Tag {
	out := make([]tag.Tag, len(in))
	for i, t := range in {
		out[i] = tag.Tag{Key: text(t.TagKey), Value: text(t.TagValue)}
	}
	return out
}

// checkTags refuses tags that a key cannot have, in words of KMS.
func checkTags(all []tag.Tag) error {
	if len(all) > tag.Max {
		return awsapi.Errorf(limitExceeded, "There are %d tags; a key has at most %d.", len(all), tag.Max)
	}
	if err := tag.Check(tag.Sorted(all)); err != nil {
		return awsapi.Errorf(invalidTag, "%s", err)
	}
	return nil
}

func (x *service) createKey(ctx context.Context, c *awsapi.Call, in *model.CreateKeyRequest) (*model.CreateKeyResponse, error) {
	for _, only := range []struct {
		name, want string
		have       *string
	}{{"KeyUsage", usage, in.KeyUsage}, {"KeySpec", algorithm, in.KeySpec}, {"CustomerMasterKeySpec", algorithm, in.CustomerMasterKeySpec}, {"Origin", origin, in.Origin}} {
		if only.have != nil && *only.have != only.want {
			return nil, awsapi.Errorf(unsupported, "%s %s is not supported: keys here are %s.", only.name, *only.have, only.want)
		}
	}
	if is(in.MultiRegion) || in.CustomKeyStoreId != nil || in.XksKeyId != nil {
		return nil, awsapi.Errorf(unsupported, "Keys of several Regions and of other key stores are not supported.")
	}
	spec := keyring.Spec{Description: text(in.Description), Tags: tags(in.Tags)}
	if err := checkTags(spec.Tags); err != nil {
		return nil, err
	}
	if in.Policy != nil {
		if err := x.parsePolicy(ctx, c, *in.Policy, "arn:"+c.Partition+":kms:"+c.Region+":"+c.Account+":key/00000000-0000-0000-0000-000000000000", in.BypassPolicyLockoutSafetyCheck); err != nil {
			return nil, err
		}
		spec.Policy = []byte(*in.Policy)
	}
	k, undo, err := x.o.Keys.Create(ref(c), spec)
	if k, err = changed(c, k, undo, err); err != nil {
		return nil, err
	}
	c.Resource(recorder.Resource{ARN: k.ARN, AccountID: k.Ref.Account, Type: "AWS::KMS::Key"})
	return &model.CreateKeyResponse{KeyMetadata: describe(k)}, nil
}

func (x *service) describeKey(ctx context.Context, c *awsapi.Call, in *model.DescribeKeyRequest) (*model.DescribeKeyResponse, error) {
	if err := plain(in.GrantTokens); err != nil {
		return nil, err
	}
	arn, err := x.resolve(c, text(in.KeyId), true)
	if err != nil {
		return nil, err
	}
	if err := x.may(ctx, c, "", arn, nil); err != nil {
		return nil, err
	}
	k, err := x.o.Keys.Key(arn)
	if err != nil {
		return nil, err
	}
	return &model.DescribeKeyResponse{KeyMetadata: describe(k)}, nil
}

func (x *service) listKeys(_ context.Context, c *awsapi.Call, in *model.ListKeysRequest) (*model.ListKeysResponse, error) {
	all, err := x.o.Keys.Keys(ref(c))
	if err != nil {
		return nil, err
	}
	list := make([]model.KeyListEntry, len(all))
	for i, k := range all {
		list[i] = model.KeyListEntry{KeyArn: new(k.ARN), KeyId: new(k.ID)}
	}
	out := &model.ListKeysResponse{}
	out.Keys, out.NextMarker, out.Truncated, err = pageOf(list, func(k model.KeyListEntry) string { return *k.KeyId }, in.Marker, limit(in.Limit, 100), c.Operation, c.Account, c.Region)
	return out, err
}

func (x *service) updateKeyDescription(ctx context.Context, c *awsapi.Call, in *model.UpdateKeyDescriptionRequest) (*struct{}, error) {
	arn, err := x.manage(ctx, c, in.KeyId, nil)
	if err != nil {
		return nil, err
	}
	k, undo, err := x.o.Keys.SetDescription(arn, text(in.Description))
	_, err = changed(c, k, undo, err)
	return nil, err
}

func (x *service) enable(ctx context.Context, c *awsapi.Call, id *string, on bool) (*struct{}, error) {
	arn, err := x.manage(ctx, c, id, nil)
	if err != nil {
		return nil, err
	}
	k, undo, err := x.o.Keys.SetEnabled(arn, on)
	_, err = changed(c, k, undo, err)
	return nil, err
}

func (x *service) enableKey(ctx context.Context, c *awsapi.Call, in *model.EnableKeyRequest) (*struct{}, error) {
	return x.enable(ctx, c, in.KeyId, true)
}

func (x *service) disableKey(ctx context.Context, c *awsapi.Call, in *model.DisableKeyRequest) (*struct{}, error) {
	return x.enable(ctx, c, in.KeyId, false)
}

func checkPolicyName(name *string) error {
	if name != nil && *name != policyName {
		return awsapi.Errorf(notFound, "No such policy exists")
	}
	return nil
}

func (x *service) getKeyPolicy(ctx context.Context, c *awsapi.Call, in *model.GetKeyPolicyRequest) (*model.GetKeyPolicyResponse, error) {
	arn, err := x.manage(ctx, c, in.KeyId, nil)
	if err != nil {
		return nil, err
	}
	if err := checkPolicyName(in.PolicyName); err != nil {
		return nil, err
	}
	k, err := x.o.Keys.Key(arn)
	if err != nil {
		return nil, err
	}
	return &model.GetKeyPolicyResponse{Policy: new(k.PolicyText), PolicyName: new(policyName)}, nil
}

func (x *service) putKeyPolicy(ctx context.Context, c *awsapi.Call, in *model.PutKeyPolicyRequest) (*struct{}, error) {
	arn, err := x.manage(ctx, c, in.KeyId, map[string][]string{"kms:BypassPolicyLockoutSafetyCheck": {strconv.FormatBool(is(in.BypassPolicyLockoutSafetyCheck))}})
	if err != nil {
		return nil, err
	}
	if err := checkPolicyName(in.PolicyName); err != nil {
		return nil, err
	}
	if err := x.parsePolicy(ctx, c, text(in.Policy), arn, in.BypassPolicyLockoutSafetyCheck); err != nil {
		return nil, err
	}
	k, undo, err := x.o.Keys.SetPolicy(arn, []byte(text(in.Policy)))
	_, err = changed(c, k, undo, err)
	return nil, err
}

func (x *service) listKeyPolicies(ctx context.Context, c *awsapi.Call, in *model.ListKeyPoliciesRequest) (*model.ListKeyPoliciesResponse, error) {
	arn, err := x.manage(ctx, c, in.KeyId, nil)
	if err != nil {
		return nil, err
	}
	out := &model.ListKeyPoliciesResponse{}
	out.PolicyNames, out.NextMarker, out.Truncated, err = pageOf([]string{policyName}, func(s string) string { return s }, in.Marker, limit(in.Limit, 100), c.Operation, arn)
	return out, err
}

// mayAlias asks whether the caller may do what the call does to an alias, which has no policy, and to the key.
func (x *service) mayAlias(ctx context.Context, c *awsapi.Call, name *string, keys ...string) error {
	switch n := text(name); {
	case !strings.HasPrefix(n, "alias/") || n == "alias/" || strings.Contains(n, ":"):
		return awsapi.Errorf(invalidAliasName, "Alias must start with the prefix \"alias/\", and have a name of letters, digits, slashes, underscores and dashes.")
	case strings.HasPrefix(n, "alias/aws/"):
		return awsapi.Errorf(invalidAliasName, "Aliases that begin with alias/aws/ are reserved.")
	}
	access := caller.AccessOf(c, "kms:"+c.Operation, "arn:"+c.Partition+":kms:"+c.Region+":"+c.Account+":"+text(name))
	if err := x.o.Access.AuthorizeResource(ctx, access, caller.Guarded{Owner: c.Account}); err != nil {
		return err
	}
	for _, arn := range keys {
		if err := x.may(ctx, c, "", arn, map[string][]string{"kms:RequestAlias": {text(name)}}); err != nil {
			return err
		}
	}
	return nil
}

func (x *service) createAlias(ctx context.Context, c *awsapi.Call, in *model.CreateAliasRequest) (*struct{}, error) {
	arn, err := x.resolve(c, text(in.TargetKeyId), false)
	if err != nil {
		return nil, err
	}
	if err := x.mayAlias(ctx, c, in.AliasName, arn); err != nil {
		return nil, err
	}
	undo, err := x.o.Keys.CreateAlias(ref(c), text(in.AliasName), arn)
	_, err = changed(c, keyring.Key{}, undo, err)
	return nil, err
}

func (x *service) updateAlias(ctx context.Context, c *awsapi.Call, in *model.UpdateAliasRequest) (*struct{}, error) {
	was, err := x.o.Keys.Resolve(ref(c), text(in.AliasName))
	if err != nil {
		return nil, err
	}
	arn, err := x.resolve(c, text(in.TargetKeyId), false)
	if err != nil {
		return nil, err
	}
	if err := x.mayAlias(ctx, c, in.AliasName, was, arn); err != nil {
		return nil, err
	}
	undo, err := x.o.Keys.UpdateAlias(ref(c), text(in.AliasName), arn)
	_, err = changed(c, keyring.Key{}, undo, err)
	return nil, err
}

func (x *service) deleteAlias(ctx context.Context, c *awsapi.Call, in *model.DeleteAliasRequest) (*struct{}, error) {
	arn, err := x.o.Keys.Resolve(ref(c), text(in.AliasName))
	if err != nil {
		return nil, err
	}
	if err := x.mayAlias(ctx, c, in.AliasName, arn); err != nil {
		return nil, err
	}
	undo, err := x.o.Keys.DeleteAlias(ref(c), text(in.AliasName))
	_, err = changed(c, keyring.Key{}, undo, err)
	return nil, err
}

func (x *service) listAliases(_ context.Context, c *awsapi.Call, in *model.ListAliasesRequest) (*model.ListAliasesResponse, error) {
	id := ""
	if in.KeyId != nil {
		arn, err := x.resolve(c, *in.KeyId, false)
		if err != nil {
			return nil, err
		}
		id = arn[strings.LastIndexByte(arn, '/')+1:]
	}
	all, err := x.o.Keys.Aliases(ref(c), id)
	if err != nil {
		return nil, err
	}
	list := make([]model.AliasListEntry, len(all))
	for i, a := range all {
		list[i] = model.AliasListEntry{AliasName: new(a.Name), AliasArn: new(a.ARN), TargetKeyId: new(a.KeyID), CreationDate: new(a.Created), LastUpdatedDate: new(a.Updated)}
	}
	out := &model.ListAliasesResponse{}
	out.Aliases, out.NextMarker, out.Truncated, err = pageOf(list, func(a model.AliasListEntry) string { return *a.AliasName }, in.Marker, limit(in.Limit, 50), c.Operation, c.Account, c.Region, id)
	return out, err
}

func (x *service) rotation(ctx context.Context, c *awsapi.Call, id *string, days int) (*struct{}, error) {
	arn, err := x.manage(ctx, c, id, map[string][]string{"kms:RotationPeriodInDays": {strconv.Itoa(days)}})
	if err != nil {
		return nil, err
	}
	k, undo, err := x.o.Keys.SetRotation(arn, days)
	_, err = changed(c, k, undo, err)
	return nil, err
}

func (x *service) enableKeyRotation(ctx context.Context, c *awsapi.Call, in *model.EnableKeyRotationRequest) (*struct{}, error) {
	return x.rotation(ctx, c, in.KeyId, limit(in.RotationPeriodInDays, keyring.DefaultRotation))
}

func (x *service) disableKeyRotation(ctx context.Context, c *awsapi.Call, in *model.DisableKeyRotationRequest) (*struct{}, error) {
	return x.rotation(ctx, c, in.KeyId, 0)
}

func (x *service) getKeyRotationStatus(ctx context.Context, c *awsapi.Call, in *model.GetKeyRotationStatusRequest) (*model.GetKeyRotationStatusResponse, error) {
	arn, err := x.manage(ctx, c, in.KeyId, nil)
	if err != nil {
		return nil, err
	}
	k, err := x.o.Keys.Key(arn)
	if err != nil {
		return nil, err
	}
	out := &model.GetKeyRotationStatusResponse{KeyId: new(k.ID), KeyRotationEnabled: new(k.Rotation != 0 && k.Deletion.IsZero())}
	if *out.KeyRotationEnabled {
		out.RotationPeriodInDays, out.NextRotationDate = new(int32(k.Rotation)), new(k.Next)
	}
	return out, nil
}

func (x *service) rotateKeyOnDemand(ctx context.Context, c *awsapi.Call, in *model.RotateKeyOnDemandRequest) (*model.RotateKeyOnDemandResponse, error) {
	arn, err := x.manage(ctx, c, in.KeyId, nil)
	if err != nil {
		return nil, err
	}
	k, undo, err := x.o.Keys.Rotate(arn)
	if k, err = changed(c, k, undo, err); err != nil {
		return nil, err
	}
	return &model.RotateKeyOnDemandResponse{KeyId: new(k.ID)}, nil
}

func (x *service) listKeyRotations(ctx context.Context, c *awsapi.Call, in *model.ListKeyRotationsRequest) (*model.ListKeyRotationsResponse, error) {
	arn, err := x.manage(ctx, c, in.KeyId, nil)
	if err != nil {
		return nil, err
	}
	k, err := x.o.Keys.Key(arn)
	if err != nil {
		return nil, err
	}
	all, err := x.o.Keys.Materials(arn)
	if err != nil {
		return nil, err
	}
	type numbered struct {
		n int
		model.RotationsListEntry
	}
	withMaterial := text(in.IncludeKeyMaterial) == "ALL_KEY_MATERIAL"
	var list []numbered
	for i, m := range all {
		e := model.RotationsListEntry{KeyId: new(k.ID)}
		if withMaterial {
			e.KeyMaterialId, e.KeyMaterialState = new(m.ID), new("NON_CURRENT")
			if m.ID == k.Material {
				e.KeyMaterialState = new("CURRENT")
			}
		}
		switch {
		case i > 0:
			e.RotationDate, e.RotationType = new(m.Made), new("AUTOMATIC")
			if m.OnDemand {
				e.RotationType = new("ON_DEMAND")
			}
		case !withMaterial: // the first one is of no rotation
			continue
		}
		list = append(list, numbered{i, e})
	}
	out := &model.ListKeyRotationsResponse{Rotations: []model.RotationsListEntry{}}
	cut, next, more, err := pageOf(list, func(n numbered) string { return fmt.Sprintf("%06d", n.n) }, in.Marker, limit(in.Limit, 100), c.Operation, arn, strconv.FormatBool(withMaterial))
	for _, n := range cut {
		out.Rotations = append(out.Rotations, n.RotationsListEntry)
	}
	out.NextMarker, out.Truncated = next, more
	return out, err
}

func (x *service) scheduleKeyDeletion(ctx context.Context, c *awsapi.Call, in *model.ScheduleKeyDeletionRequest) (*model.ScheduleKeyDeletionResponse, error) {
	days := limit(in.PendingWindowInDays, keyring.MaxDeletion)
	arn, err := x.manage(ctx, c, in.KeyId, map[string][]string{"kms:ScheduleKeyDeletionPendingWindowInDays": {strconv.Itoa(days)}})
	if err != nil {
		return nil, err
	}
	k, undo, err := x.o.Keys.ScheduleDeletion(arn, days)
	if k, err = changed(c, k, undo, err); err != nil {
		return nil, err
	}
	return &model.ScheduleKeyDeletionResponse{KeyId: new(arn), DeletionDate: new(k.Deletion), KeyState: new("PendingDeletion"), PendingWindowInDays: new(int32(days))}, nil
}

func (x *service) cancelKeyDeletion(ctx context.Context, c *awsapi.Call, in *model.CancelKeyDeletionRequest) (*model.CancelKeyDeletionResponse, error) {
	arn, err := x.manage(ctx, c, in.KeyId, nil)
	if err != nil {
		return nil, err
	}
	k, undo, err := x.o.Keys.CancelDeletion(arn)
	if _, err = changed(c, k, undo, err); err != nil {
		return nil, err
	}
	return &model.CancelKeyDeletionResponse{KeyId: new(arn)}, nil
}

func (x *service) tagResource(ctx context.Context, c *awsapi.Call, in *model.TagResourceRequest) (*struct{}, error) {
	add := tags(in.Tags)
	with := map[string][]string{}
	for _, t := range add {
		with["aws:TagKeys"] = append(with["aws:TagKeys"], t.Key)
		with["aws:RequestTag/"+t.Key] = []string{t.Value}
	}
	arn, err := x.manage(ctx, c, in.KeyId, with)
	if err != nil {
		return nil, err
	}
	if err := checkTags(add); err != nil {
		return nil, err
	}
	now, err := x.o.Keys.Key(arn)
	if err != nil {
		return nil, err
	}
	if err := checkTags(tag.Add(now.Tags, add)); err != nil {
		return nil, err
	}
	k, undo, err := x.o.Keys.AddTags(arn, add)
	_, err = changed(c, k, undo, err)
	return nil, err
}

func (x *service) untagResource(ctx context.Context, c *awsapi.Call, in *model.UntagResourceRequest) (*struct{}, error) {
	arn, err := x.manage(ctx, c, in.KeyId, map[string][]string{"aws:TagKeys": in.TagKeys})
	if err != nil {
		return nil, err
	}
	k, undo, err := x.o.Keys.RemoveTags(arn, in.TagKeys)
	_, err = changed(c, k, undo, err)
	return nil, err
}

func (x *service) listResourceTags(ctx context.Context, c *awsapi.Call, in *model.ListResourceTagsRequest) (*model.ListResourceTagsResponse, error) {
	arn, err := x.manage(ctx, c, in.KeyId, nil)
	if err != nil {
		return nil, err
	}
	k, err := x.o.Keys.Key(arn)
	if err != nil {
		return nil, err
	}
	list := make([]model.Tag, len(k.Tags))
	for i, t := range k.Tags {
		list[i] = model.Tag{TagKey: new(t.Key), TagValue: new(t.Value)}
	}
	out := &model.ListResourceTagsResponse{}
	out.Tags, out.NextMarker, out.Truncated, err = pageOf(list, func(t model.Tag) string { return *t.TagKey }, in.Marker, limit(in.Limit, 50), c.Operation, arn)
	return out, err
}
