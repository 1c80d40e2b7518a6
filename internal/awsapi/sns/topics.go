package sns

import (
	"context"
	"errors"
	"slices"

	"spoor/internal/awsapi"
	model "spoor/internal/awsapi/model/sns"
	"spoor/internal/tag"
	"spoor/internal/topic"
)

func tagsOf(tags []model.Tag) []tag.Tag {
	var out []tag.Tag
	for _, t := range tags {
		out = append(out, tag.Tag{Key: *t.Key, Value: *t.Value})
	}
	return out
}

func (x *service) createTopic(ctx context.Context, c *awsapi.Call, in *model.CreateTopicInput) (*model.CreateTopicResponse, error) {
	w := topic.Where{Account: c.Account, Region: c.Region}
	arn, err := x.o.Topics.Resolve(w, *in.Name)
	if err != nil || !topic.IsARN(arn) || *in.Name == arn {
		return nil, bad("Topic Name")
	}
	if err := x.permit(ctx, c, "CreateTopic", arn, nil); err != nil {
		return nil, err
	}
	if value(in.DataProtectionPolicy) != "" {
		return nil, bad("DataProtectionPolicy Reason: data protection policies are not served here")
	}
	if len(in.Tags) > 0 {
		if err := x.permit(ctx, c, "TagResource", arn, nil); err != nil {
			return nil, err
		}
	}
	arn, undo, err := x.o.Topics.Create(w, *in.Name, in.Attributes, tagsOf(in.Tags))
	if err != nil {
		return nil, err
	}
	x.takeBack(c, undo)
	about(c, arn)
	return &model.CreateTopicResponse{TopicArn: &arn}, nil
}

func (x *service) deleteTopic(ctx context.Context, c *awsapi.Call, in *model.DeleteTopicInput) (*struct{}, error) {
	if err := x.own(ctx, c, "DeleteTopic", *in.TopicArn, "TopicArn", nil); err != nil {
		return nil, err
	}
	return x.changed(c, *in.TopicArn)(x.o.Topics.Delete(*in.TopicArn))
}

// changed ends a call that changed a topic.
func (x *service) changed(c *awsapi.Call, arn string) func(topic.Undo, error) (*struct{}, error) {
	return func(undo topic.Undo, err error) (*struct{}, error) {
		if err != nil {
			return nil, err
		}
		x.takeBack(c, undo)
		about(c, arn)
		return nil, nil
	}
}

func (x *service) listTopics(ctx context.Context, c *awsapi.Call, in *model.ListTopicsInput) (*model.ListTopicsResponse, error) {
	if err := x.permit(ctx, c, "ListTopics", "", nil); err != nil {
		return nil, err
	}
	cut, next, err := paged(x.o.Topics.Topics(topic.Where{Account: c.Account, Region: c.Region}), func(a string) string { return a }, in.NextToken, c.Operation, c.Account, c.Region)
	if err != nil {
		return nil, err
	}
	out := &model.ListTopicsResponse{NextToken: next, Topics: []model.Topic{}}
	for _, arn := range cut {
		out.Topics = append(out.Topics, model.Topic{TopicArn: &arn})
	}
	return out, nil
}

func (x *service) getTopicAttributes(ctx context.Context, c *awsapi.Call, in *model.GetTopicAttributesInput) (*model.GetTopicAttributesResponse, error) {
	if err := x.own(ctx, c, "GetTopicAttributes", *in.TopicArn, "TopicArn", nil); err != nil {
		return nil, err
	}
	a, err := x.o.Topics.Attributes(*in.TopicArn)
	if err != nil {
		return nil, err
	}
	about(c, *in.TopicArn)
	return &model.GetTopicAttributesResponse{Attributes: a}, nil
}

func (x *service) setTopicAttributes(ctx context.Context, c *awsapi.Call, in *model.SetTopicAttributesInput) (*struct{}, error) {
	if err := x.own(ctx, c, "SetTopicAttributes", *in.TopicArn, "TopicArn", nil); err != nil {
		return nil, err
	}
	return x.changed(c, *in.TopicArn)(x.o.Topics.SetAttribute(*in.TopicArn, *in.AttributeName, value(in.AttributeValue)))
}

func (x *service) addPermission(ctx context.Context, c *awsapi.Call, in *model.AddPermissionInput) (*struct{}, error) {
	if err := x.own(ctx, c, "AddPermission", *in.TopicArn, "TopicArn", nil); err != nil {
		return nil, err
	}
	return x.changed(c, *in.TopicArn)(x.o.Topics.AddPermission(*in.TopicArn, *in.Label, in.AWSAccountId, in.ActionName))
}

func (x *service) removePermission(ctx context.Context, c *awsapi.Call, in *model.RemovePermissionInput) (*struct{}, error) {
	if err := x.own(ctx, c, "RemovePermission", *in.TopicArn, "TopicArn", nil); err != nil {
		return nil, err
	}
	return x.changed(c, *in.TopicArn)(x.o.Topics.RemovePermission(*in.TopicArn, *in.Label))
}

func (x *service) tagResource(ctx context.Context, c *awsapi.Call, in *model.TagResourceRequest) (*model.TagResourceResponse, error) {
	return nil, x.retag(ctx, c, *in.ResourceArn, tagsOf(in.Tags), nil)
}

func (x *service) untagResource(ctx context.Context, c *awsapi.Call, in *model.UntagResourceRequest) (*model.UntagResourceResponse, error) {
	return nil, x.retag(ctx, c, *in.ResourceArn, nil, in.TagKeys)
}

func (x *service) retag(ctx context.Context, c *awsapi.Call, arn string, set []tag.Tag, remove []string) error {
	if err := x.own(ctx, c, c.Operation, arn, "ResourceArn", nil); err != nil {
		return err
	}
	_, err := x.changed(c, arn)(x.o.Topics.SetTags(arn, set, remove))
	return err
}

func (x *service) listTags(ctx context.Context, c *awsapi.Call, in *model.ListTagsForResourceRequest) (*model.ListTagsForResourceResponse, error) {
	if err := x.own(ctx, c, "ListTagsForResource", *in.ResourceArn, "ResourceArn", nil); err != nil {
		return nil, err
	}
	tags, err := x.o.Topics.Tags(*in.ResourceArn)
	if err != nil {
		return nil, err
	}
	about(c, *in.ResourceArn)
	out := &model.ListTagsForResourceResponse{Tags: []model.Tag{}}
	for _, t := range tags {
		out.Tags = append(out.Tags, model.Tag{Key: &t.Key, Value: &t.Value})
	}
	return out, nil
}

// messageOf is a message of a call.
func messageOf(subject, body, structure, group, dedup *string, attributes map[string]model.MessageAttributeValue) (topic.Message, error) {
	m := topic.Message{Subject: value(subject), Body: value(body), Group: value(group), Deduplication: value(dedup)}
	switch value(structure) {
	case "":
	case "json":
		m.PerProtocol = true
	default:
		return m, bad("Invalid value for MessageStructure")
	}
	for name, a := range attributes {
		if m.Attributes == nil {
			m.Attributes = map[string]topic.Attribute{}
		}
		m.Attributes[name] = topic.Attribute{Type: *a.DataType, Text: value(a.StringValue), Binary: a.BinaryValue}
	}
	return m, nil
}

// send publishes what is delivered once the call is recorded.
func (x *service) send(ctx context.Context, c *awsapi.Call, arn string, ms []topic.Message) ([]topic.Receipt, error) {
	receipts, release, undo, err := x.o.Topics.PublishHeld(ctx, arn, ms)
	if err != nil {
		return nil, err
	}
	c.OnRecorded(func(context.Context) { release() })
	x.takeBack(c, undo)
	return receipts, nil
}

// sequence is the number that publishers to FIFO topics are told.
func (x *service) sequence(arn string, r topic.Receipt) *string {
	if t, err := x.o.Topics.Topic(arn); err == nil && t.FIFO() {
		return &r.Sequence
	}
	return nil
}

// there checks that a topic is there, in the words of SNS.
func (x *service) there(arn string) error {
	_, err := x.o.Topics.Topic(arn)
	return err
}

func (x *service) publish(ctx context.Context, c *awsapi.Call, in *model.PublishInput) (*model.PublishResponse, error) {
	arn := value(in.TopicArn)
	switch {
	case in.PhoneNumber != nil:
		return nil, bad("PhoneNumber Reason: text messages are not served here")
	case arn == "" && in.TargetArn != nil:
		arn = *in.TargetArn
	case arn == "":
		return nil, bad("TopicArn or TargetArn Reason: no value for required parameter")
	case in.TargetArn != nil:
		return nil, bad("TopicArn and TargetArn Reason: both are given")
	}
	if err := x.own(ctx, c, "Publish", arn, "TopicArn", nil); err != nil {
		return nil, err
	}
	about(c, arn)
	if err := x.there(arn); err != nil {
		return nil, err
	}
	m, err := messageOf(in.Subject, in.Message, in.MessageStructure, in.MessageGroupId, in.MessageDeduplicationId, in.MessageAttributes)
	if err != nil {
		return nil, err
	}
	r, err := x.send(ctx, c, arn, []topic.Message{m})
	if err != nil {
		return nil, err
	}
	return &model.PublishResponse{MessageId: &r[0].ID, SequenceNumber: x.sequence(arn, r[0])}, nil
}

// publishBatch publishes each message on its own: one that is refused does not keep back the others.
func (x *service) publishBatch(ctx context.Context, c *awsapi.Call, in *model.PublishBatchInput) (*model.PublishBatchResponse, error) {
	arn := *in.TopicArn
	if err := x.own(ctx, c, "Publish", arn, "TopicArn", nil); err != nil {
		return nil, err
	}
	about(c, arn)
	if err := x.there(arn); err != nil {
		return nil, err
	}
	n := len(in.PublishBatchRequestEntries)
	switch {
	case n == 0:
		return nil, awsapi.Errorf("EmptyBatchRequestException", "The batch request doesn't contain any entries.")
	case n > topic.MaxBatch:
		return nil, awsapi.Errorf("TooManyEntriesInBatchRequestException", "The batch request contains more entries than permissible (more than %d).", topic.MaxBatch)
	}
	ids := map[string]bool{}
	size := 0
	for _, e := range in.PublishBatchRequestEntries {
		if !batchID(*e.Id) {
			return nil, awsapi.Errorf("InvalidBatchEntryIdException", "The Id of a batch entry in a batch request doesn't abide by the specification.")
		}
		if ids[*e.Id] {
			return nil, awsapi.Errorf("BatchEntryIdsNotDistinctException", "Two or more batch entries in the request have the same Id.")
		}
		ids[*e.Id] = true
		size += len(*e.Message)
		for name, a := range e.MessageAttributes {
			size += len(name) + len(*a.DataType) + len(value(a.StringValue)) + len(a.BinaryValue)
		}
	}
	if size > topic.MaxMessage {
		return nil, awsapi.Errorf("BatchRequestTooLongException", "The length of all the batch messages put together is more than the limit.")
	}
	out := &model.PublishBatchResponse{Successful: []model.PublishBatchResultEntry{}, Failed: []model.BatchResultErrorEntry{}}
	var good []topic.Message
	var goodIDs []*string
	for _, e := range in.PublishBatchRequestEntries {
		m, err := messageOf(e.Subject, e.Message, e.MessageStructure, e.MessageGroupId, e.MessageDeduplicationId, e.MessageAttributes)
		if err == nil {
			err = x.o.Topics.Check(arn, m)
		}
		var refused *awsapi.Error
		switch {
		case err == nil:
			good, goodIDs = append(good, m), append(goodIDs, e.Id)
		case errors.As(told(err), &refused):
			code := refused.Code
			if s, ok := model.Service.Exception(code); ok && s.Code != "" {
				code = s.Code
			}
			out.Failed = append(out.Failed, model.BatchResultErrorEntry{Id: e.Id, Code: &code, Message: &refused.Message, SenderFault: new(true)})
		default:
			return nil, err
		}
	}
	if len(good) == 0 {
		return out, nil
	}
	receipts, err := x.send(ctx, c, arn, good)
	if err != nil {
		return nil, err
	}
	for i, r := range receipts {
		out.Successful = append(out.Successful, model.PublishBatchResultEntry{Id: goodIDs[i], MessageId: &r.ID, SequenceNumber: x.sequence(arn, r)})
	}
	return out, nil
}

// batchID reports whether a text can be the id of an entry.
func batchID(id string) bool {
	return id != "" && len(id) <= 80 && !slices.ContainsFunc([]byte(id), func(b byte) bool {
		return !(b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '_' || b == '-')
	})
}
