// Package topic keeps topics and their subscriptions as SNS has them, and delivers what is published to them.
package topic

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"spoor/internal/policy"
)

var (
	// ErrNotFound: there is no such topic. ErrDenied: its policy does not let the principal.
	ErrNotFound = errors.New("the topic does not exist")
	ErrDenied   = errors.New("the topic's policy does not allow it")
)

// Where is an account in a Region.
type Where struct{ Account, Region string }

// Options of Open.
type Options struct {
	Account, Region, Partition string
	Now                        func() time.Time // default [time.Now]
	Log                        *slog.Logger     // default discards
}

// Service holds topics. Its methods may be called concurrently.
type Service struct{}

// Open opens the topics of a folder.
func Open(ctx context.Context, dir string, o Options) (*Service, error) {
	return nil, errors.New("not built yet")
}

// Run delivers until ctx ends.
func (s *Service) Run(ctx context.Context) error { return errors.New("not built yet") }

// Close ends the service. What was not delivered is delivered after the next start.
func (s *Service) Close() error { return nil }

// Resolve gives the ARN that the name or the ARN of a topic stands for. Whether there is one, it does not say.
func (s *Service) Resolve(w Where, nameOrARN string) (arn string, err error) {
	return "", errors.New("not built yet")
}

// Allowed asks whether the topic is there, and whether its policy lets a service do something to it, such as SNS:Publish: [ErrNotFound], [ErrDenied].
func (s *Service) Allowed(ctx context.Context, topicARN, action string, by policy.Principal, conditions map[string][]string) error {
	return errors.New("not built yet")
}

// Message is what is published.
type Message struct {
	Subject, Body string
	Once          string // names the message: published again under the same name within a day, it counts once; empty for none
}

// Publish makes a message durable for all subscriptions of a topic. Nobody's permission is asked.
func (s *Service) Publish(ctx context.Context, topicARN string, m Message) (messageID string, err error) {
	return "", errors.New("not built yet")
}
