package topic

import (
	"context"
	"fmt"
	"sync"

	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
)

// cloud is SNS of AWS.
type cloud struct {
	mu   sync.Mutex
	err  error
	got  string
	last string
}

func (c *cloud) make(_ context.Context, region string) (SNS, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = region
	return c, nil
}

func (c *cloud) set(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

func (c *cloud) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got
}

func (c *cloud) Publish(_ context.Context, in *awssns.PublishInput, _ ...func(*awssns.Options)) (*awssns.PublishOutput, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.got += fmt.Sprintln(c.last, *in.TopicArn, *in.Subject, *in.Message)
	}
	return &awssns.PublishOutput{}, c.err
}
