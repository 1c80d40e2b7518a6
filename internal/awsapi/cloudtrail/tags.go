package cloudtrail

import (
	"context"
	"errors"
	"slices"
	"strings"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/model/cloudtrail"
	"spoor/internal/recorder"
	"spoor/internal/tag"
)

func registerTags(s *awsapi.Service, x trailService) {
	awsapi.Handle(s, "AddTags", tagHandler(x.addTags), on("", func(in *cloudtrail.AddTagsRequest) []string { return []string{*in.ResourceId} }))
	awsapi.Handle(s, "RemoveTags", tagHandler(x.removeTags), on("", func(in *cloudtrail.RemoveTagsRequest) []string { return []string{*in.ResourceId} }))
	awsapi.Handle(s, "ListTags", tagHandler(x.listTags), on("", func(in *cloudtrail.ListTagsRequest) []string { return slices.Clone(in.ResourceIdList) }))
}

// tagHandler is a handler for what belongs to the lake or to trails.
func tagHandler[In, Out any](h func(context.Context, *awsapi.Call, *In) (*Out, error)) func(context.Context, *awsapi.Call, *In) (*Out, error) {
	return func(ctx context.Context, c *awsapi.Call, in *In) (*Out, error) {
		out, err := h(ctx, c, in)
		return out, told(err)
	}
}

// ofTrail reports whether a text is to be the ARN of a trail. The part that has it is there then, as is that of what has another.
func (x trailService) ofTrail(arn string) (bool, error) {
	trails := strings.Contains(arn, ":cloudtrail:") && strings.Contains(arn, ":trail/")
	if trails && x.book == nil || !trails && x.lake == nil {
		return false, errors.New("there is neither a lake nor a book of trails")
	}
	return trails, nil
}

func (x trailService) addTags(_ context.Context, c *awsapi.Call, in *cloudtrail.AddTagsRequest) (*cloudtrail.AddTagsResponse, error) {
	trails, err := x.ofTrail(*in.ResourceId)
	if err != nil {
		return nil, err
	}
	if trails {
		change, err := x.book.AddTags(at(c), *in.ResourceId, tagsOf(in.TagsList))
		if err != nil {
			return nil, err
		}
		pend(c, change)
	} else {
		undo, err := x.lake.AddTags(where(c), *in.ResourceId, tagsOf(in.TagsList))
		if err != nil {
			return nil, err
		}
		takeBack(c, undo)
	}
	tagged(c, *in.ResourceId)
	return nil, nil
}

func (x trailService) removeTags(_ context.Context, c *awsapi.Call, in *cloudtrail.RemoveTagsRequest) (*cloudtrail.RemoveTagsResponse, error) {
	trails, err := x.ofTrail(*in.ResourceId)
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, t := range in.TagsList {
		keys = append(keys, *t.Key)
	}
	if trails {
		change, err := x.book.RemoveTags(at(c), *in.ResourceId, keys)
		if err != nil {
			return nil, err
		}
		pend(c, change)
	} else {
		undo, err := x.lake.RemoveTags(where(c), *in.ResourceId, keys)
		if err != nil {
			return nil, err
		}
		takeBack(c, undo)
	}
	tagged(c, *in.ResourceId)
	return nil, nil
}

// tagged tells the record what was tagged.
func tagged(c *awsapi.Call, arn string) {
	kind := "AWS::CloudTrail::EventDataStore"
	switch {
	case strings.Contains(arn, ":channel/"):
		kind = "AWS::CloudTrail::Channel"
	case strings.Contains(arn, ":trail/"):
		kind = "AWS::CloudTrail::Trail"
	}
	c.Resource(recorder.Resource{ARN: arn, AccountID: c.Account, Type: kind})
}

// maxListed is how many resources ListTags may be asked for.
const maxListed = 20

func (x trailService) listTags(_ context.Context, c *awsapi.Call, in *cloudtrail.ListTagsRequest) (*cloudtrail.ListTagsResponse, error) {
	if in.NextToken != nil {
		return nil, awsapi.Errorf("InvalidTokenException", "The token is not one of this list, which has one page.")
	}
	if n := len(in.ResourceIdList); n > maxListed {
		return nil, awsapi.Errorf(awsapi.Validation, "%d resources are named; at most %d can be.", n, maxListed)
	}
	out := &cloudtrail.ListTagsResponse{ResourceTagList: make([]cloudtrail.ResourceTag, 0, len(in.ResourceIdList))}
	for _, id := range in.ResourceIdList {
		trails, err := x.ofTrail(id)
		if err != nil {
			return nil, err
		}
		var ts []tag.Tag
		if trails {
			ts, err = x.book.Tags(at(c), id)
		} else {
			ts, err = x.lake.Tags(where(c), id)
		}
		if err != nil {
			return nil, err
		}
		out.ResourceTagList = append(out.ResourceTagList, cloudtrail.ResourceTag{ResourceId: &id, TagsList: tags(ts)})
	}
	return out, nil
}

func tagsOf(in []cloudtrail.Tag) []tag.Tag {
	var out []tag.Tag
	for _, t := range in {
		out = append(out, tag.Tag{Key: *t.Key, Value: value(t.Value)})
	}
	return out
}

func tags(in []tag.Tag) []cloudtrail.Tag {
	out := make([]cloudtrail.Tag, len(in))
	for i, t := range in {
		out[i] = cloudtrail.Tag{Key: &t.Key, Value: some(t.Value)}
	}
	return out
}
