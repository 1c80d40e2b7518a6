package sqs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// notice names an object that has arrived.
type notice struct {
	bucket, key string
	size        int64 // -1 when it is not told
	etag        string
	sequencer   string
}

// what a message turned out to be.
type content struct {
	notices []notice
	ignored string // why there is nothing to do, when there are no notices
	other   bool   // it is no notification; it may hold records
}

const maxNesting = 4 // a topic that feeds a topic, at the most

// parse reads the body of a message: a notification of Amazon S3, one of CloudTrail, or one of EventBridge, as it is or
// wrapped by SNS. (Amazon S3 user guide, "Event message structure" and "EventBridge event message structure"; Amazon SNS
// developer guide, "Parsing Amazon SNS message formats"; CloudTrail user guide, "Configuring Amazon SNS notifications".)
func parse(body string) (content, error) { return parseAt(body, 0) }

func parseAt(body string, depth int) (content, error) {
	if strings.TrimSpace(body) == "CloudTrail validation message." {
		return content{ignored: "validation message of a trail"}, nil
	}
	if depth > maxNesting {
		return content{}, errors.New("a notification in a notification, too often")
	}
	var m struct {
		Type, Message *string // of SNS
		Service       string  // of the test event
		Event         string
		Records       json.RawMessage

		Bucket *string  `json:"s3Bucket"` // of CloudTrail
		Keys   []string `json:"s3ObjectKey"`

		Source     string `json:"source"` // of EventBridge
		DetailType string `json:"detail-type"`
		Detail     json.RawMessage
	}
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		return content{other: true}, nil
	}
	switch {
	case m.Type != nil && *m.Type == "Notification" && m.Message != nil:
		return parseAt(*m.Message, depth+1)
	case m.Type != nil && (*m.Type == "SubscriptionConfirmation" || *m.Type == "UnsubscribeConfirmation"):
		return content{ignored: "confirmation of a subscription"}, nil
	case m.Event == "s3:TestEvent":
		return content{ignored: "test event of a bucket"}, nil
	case m.Bucket != nil && m.Keys != nil:
		var c content
		for _, key := range m.Keys {
			n, err := checked(notice{bucket: *m.Bucket, key: key, size: -1})
			if err != nil {
				return content{}, err
			}
			c.notices = append(c.notices, n)
		}
		return c, nil
	case m.Source == "aws.s3" && len(m.Detail) > 0:
		return bridged(m.DetailType, m.Detail)
	case len(m.Records) > 0:
		return records(m.Records)
	}
	return content{other: true}, nil
}

// records reads the notifications that a bucket sends itself.
func records(text json.RawMessage) (content, error) {
	var list []struct {
		EventSource, EventName string
		S3                     *struct {
			Bucket struct{ Name string }
			Object struct {
				Key, ETag, Sequencer string
				Size                 *int64
			}
		}
	}
	if bytes.Equal(bytes.TrimSpace(text), []byte("[]")) {
		return content{ignored: "notification of nothing"}, nil
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return content{other: true}, nil
	}
	c := content{ignored: "notification of something else than new objects"}
	for _, r := range list {
		if r.S3 == nil {
			return content{other: true}, nil // CloudTrail records lie in a member of that name too
		}
		name := strings.TrimPrefix(r.EventName, "s3:")
		if !strings.HasPrefix(name, "ObjectCreated:") && name != "ObjectRestore:Completed" {
			continue
		}
		key, err := url.QueryUnescape(r.S3.Object.Key)
		if err != nil {
			return content{}, fmt.Errorf("key of a notification: %w", err)
		}
		n := notice{bucket: r.S3.Bucket.Name, key: key, size: -1, etag: r.S3.Object.ETag, sequencer: r.S3.Object.Sequencer}
		if r.S3.Object.Size != nil {
			n.size = *r.S3.Object.Size
		}
		if n, err = checked(n); err != nil {
			return content{}, err
		}
		c.notices = append(c.notices, n)
	}
	return c, nil
}

// bridged reads the notification that a bucket sends to EventBridge.
func bridged(kind string, detail json.RawMessage) (content, error) {
	if kind != "Object Created" && kind != "Object Restore Completed" {
		return content{ignored: "notification of something else than new objects"}, nil
	}
	var d struct {
		Bucket struct{ Name string }
		Object struct {
			Key, ETag, Sequencer string
			Size                 *int64
		}
	}
	if err := json.Unmarshal(detail, &d); err != nil {
		return content{}, fmt.Errorf("notification of EventBridge: %w", err)
	}
	n := notice{bucket: d.Bucket.Name, key: d.Object.Key, size: -1, etag: d.Object.ETag, sequencer: d.Object.Sequencer}
	if d.Object.Size != nil {
		n.size = *d.Object.Size
	}
	n, err := checked(n)
	return content{notices: []notice{n}}, err
}

// checked refuses what cannot be an object.
func checked(n notice) (notice, error) {
	if n.bucket == "" || n.key == "" {
		return n, errors.New("a notification without bucket or key")
	}
	if len(n.bucket) > 255 || strings.ContainsAny(n.bucket, "/?# \t\r\n") || len(n.key) > 1024 {
		return n, errors.New("a notification of a bucket or key that cannot exist")
	}
	n.etag = strings.Trim(n.etag, `"`)
	return n, nil
}
