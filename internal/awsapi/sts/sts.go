// Package sts is the Security Token Service of the AWS-compatible endpoint, one file for each action.
//
// Temporary credentials are sealed, not kept: those of a call that could not be recorded reach nobody, so that there is nothing
// to take back.
package sts

import (
	"errors"
	"time"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/model/sts"
	"spoor/internal/iam"
)

// Options are the parts behind the operations. GetCallerIdentity needs none.
type Options struct {
	Access *iam.Service
}

// New makes the service.
func New(o Options) *awsapi.Service {
	s := awsapi.NewService(&sts.Service, awsapi.ServiceOptions{Global: true})
	x := &service{o}
	awsapi.Handle(s, "GetCallerIdentity", getCallerIdentity, awsapi.AnyPrincipal())
	// The role's trust document decides, and what policies say of it: package iam asks both.
	awsapi.Handle(s, "AssumeRole", x.assumeRole, awsapi.AnyPrincipal(), awsapi.ReadOnly(true), awsapi.RecordResult())
	awsapi.Handle(s, "GetSessionToken", x.getSessionToken, awsapi.AnyPrincipal(), awsapi.ReadOnly(false)) // which asks the policies itself
	awsapi.Handle(s, "GetAccessKeyInfo", x.getAccessKeyInfo)
	return s
}

type service struct{ o Options }

// unsupported refuses a parameter that would mean something, if it were heeded.
func unsupported(format string, a ...any) error {
	return awsapi.Errorf(awsapi.Validation, format, a...)
}

// noMFA refuses what proves the possession of a device.
func noMFA(serial, code *string) error {
	if serial != nil || code != nil {
		return unsupported("There are no MFA devices here: SerialNumber and TokenCode are not supported")
	}
	return nil
}

// lifetime is a duration that was asked for, 0 for none.
func lifetime(seconds *int32) time.Duration {
	if seconds == nil {
		return 0
	}
	return time.Duration(*seconds) * time.Second
}

// credentials are temporary credentials as answers have them.
func credentials(c iam.Credential) *sts.Credentials {
	return &sts.Credentials{AccessKeyId: &c.ID, SecretAccessKey: &c.Secret, SessionToken: &c.Token, Expiration: &c.Expires}
}

// refusal puts an error of package iam into the words of the service. denied is what a caller without the permission is told.
func refusal(err error, denied string) error {
	switch {
	case errors.Is(err, iam.ErrDenied):
		return awsapi.Errorf(awsapi.AccessDenied, "%s", denied)
	case errors.Is(err, iam.ErrInvalid):
		return awsapi.Errorf(awsapi.Validation, "%s", err)
	}
	return err
}
