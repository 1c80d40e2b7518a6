package event

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestActor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, record string
		kind         ActorKind
		id, short    string
	}{
		{"root", `{"userIdentity":{"type":"Root","principalId":"111122223333","arn":"arn:aws:iam::111122223333:root","accountId":"111122223333"}}`,
			ActorRoot, "arn:aws:iam::111122223333:root", "root"},
		{"root with an alias", `{"userIdentity":{"type":"Root","accountId":"111122223333","userName":"alias"}}`,
			ActorRoot, "arn:aws:iam::111122223333:root", "root"},
		{"user", `{"userIdentity":{"type":"IAMUser","principalId":"AIDAEXAMPLEID","arn":"arn:aws:iam::111122223333:user/team/ana","accountId":"111122223333","accessKeyId":"AKIAEXAMPLEKEY","userName":"ana"}}`,
			ActorUser, "arn:aws:iam::111122223333:user/team/ana", "ana"},
		{"user without ARN", `{"userIdentity":{"type":"IAMUser","accountId":"111122223333","userName":"ana"}}`,
			ActorUser, "arn:aws:iam::111122223333:user/ana", "ana"},
		{"mistyped user name", `{"userIdentity":{"type":"IAMUser","accountId":"111122223333","userName":"HIDDEN_DUE_TO_SECURITY_REASONS"}}`,
			ActorUnknown, "unknown:111122223333/hidden", "unknown user name"},
		{"user's MFA session", `{"userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/ana","accountId":"111122223333","accessKeyId":"ASIAEXAMPLE","userName":"ana","sessionContext":{"attributes":{"mfaAuthenticated":"true"}}}}`,
			ActorUser, "arn:aws:iam::111122223333:user/ana", "ana"},
		{"role", `{"userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLEID:ci-42","arn":"arn:aws:sts::111122223333:assumed-role/Deploy/ci-42","accountId":"111122223333","sessionContext":{"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::111122223333:role/path/Deploy","userName":"Deploy"}}}}`,
			ActorRole, "arn:aws:iam::111122223333:role/path/Deploy", "Deploy"},
		{"role without issuer", `{"userIdentity":{"type":"AssumedRole","arn":"arn:aws-cn:sts::111122223333:assumed-role/Deploy/ci-42"}}`,
			ActorRole, "arn:aws-cn:iam::111122223333:role/Deploy", "Deploy"},
		{"Identity Center role", `{"userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLEID:Ana@example.com","arn":"arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_Admin_0123/Ana@example.com","accountId":"111122223333","sessionContext":{"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0123","userName":"AWSReservedSSO_Admin_0123"}}}}`,
			ActorPerson, "person:ana@example.com", "Ana@example.com"},
		{"source identity", `{"userIdentity":{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/Deploy/x","sessionContext":{"sourceIdentity":"ana","sessionIssuer":{"type":"Role","arn":"arn:aws:iam::111122223333:role/Deploy","userName":"Deploy"}}}}`,
			ActorPerson, "person:ana", "ana"},
		{"instance", `{"userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLEID:i-0123456789abcdef0","arn":"arn:aws:sts::111122223333:assumed-role/Web/i-0123456789abcdef0","accountId":"111122223333","sessionContext":{"ec2RoleDelivery":"2.0","sessionIssuer":{"type":"Role","arn":"arn:aws:iam::111122223333:role/Web","userName":"Web"}}}}`,
			ActorInstance, "instance:111122223333/i-0123456789abcdef0", "i-0123456789abcdef0 (Web)"},
		{"function", `{"userIdentity":{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/fn-role/resize","accountId":"111122223333","inScopeOf":{"issuerType":"AWS::Lambda::Function","credentialsIssuedTo":"arn:aws:lambda:us-east-1:111122223333:function:resize","sourceArn":"arn:aws:lambda:us-east-1:111122223333:function:resize"},"sessionContext":{"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::111122223333:role/fn-role","userName":"fn-role"}}}}`,
			ActorFunction, "arn:aws:lambda:us-east-1:111122223333:function:resize", "resize"},
		{"service-linked role", `{"userIdentity":{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/AWSServiceRoleForAutoScaling/AutoScaling","accountId":"111122223333","invokedBy":"autoscaling.amazonaws.com","sessionContext":{"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::111122223333:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling","userName":"AWSServiceRoleForAutoScaling"}}}}`,
			ActorService, "arn:aws:iam::111122223333:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling", "AWSServiceRoleForAutoScaling"},
		{"OIDC role session", `{"userIdentity":{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/ci/GitHubActions","accountId":"111122223333","sessionContext":{"webIdFederationData":{"federatedProvider":"arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com","attributes":{}},"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::111122223333:role/ci","userName":"ci"}}}}`,
			ActorWorkload, "arn:aws:iam::111122223333:role/ci", "ci"},
		{"plain role", `{"userIdentity":{"type":"Role","arn":"arn:aws:iam::111122223333:role/R","accountId":"111122223333"}}`, ActorRole, "arn:aws:iam::111122223333:role/R", "R"},
		{"federated user", `{"userIdentity":{"type":"FederatedUser","principalId":"111122223333:ben","arn":"arn:aws:sts::111122223333:federated-user/ben","accountId":"111122223333","sessionContext":{"sessionIssuer":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/broker"}}}}`,
			ActorFederated, "arn:aws:sts::111122223333:federated-user/ben", "ben"},
		{"SAML", `{"userIdentity":{"type":"SAMLUser","principalId":"x:ana","userName":"ana","identityProvider":"x"}}`, ActorPerson, "person:ana", "ana"},
		{"CI job", `{"userIdentity":{"type":"WebIdentityUser","principalId":"arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com:sts.amazonaws.com:repo:o/r:ref:refs/heads/main","userName":"repo:o/r:ref:refs/heads/main","identityProvider":"arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"}}`,
			ActorWorkload, "webidentity:token.actions.githubusercontent.com/repo:o/r", "repo:o/r"},
		{"web identity person", `{"userIdentity":{"type":"WebIdentityUser","userName":"1234","identityProvider":"accounts.google.com"}}`, ActorPerson, "webidentity:accounts.google.com/1234", "1234"},
		{"account", `{"userIdentity":{"type":"AWSAccount","principalId":"AIDAOTHERACCOUNT","accountId":"777788889999"}}`, ActorAccount, "account:777788889999/AIDAOTHERACCOUNT", "AIDAOTHERACCOUNT of account 777788889999"},
		{"account's role session", `{"userIdentity":{"type":"AWSAccount","principalId":"AROAOTHER:session-1","accountId":"777788889999"}}`, ActorAccount, "account:777788889999/AROAOTHER", "AROAOTHER of account 777788889999"},
		{"anonymous", `{"userIdentity":{"type":"AWSAccount","principalId":"","accountId":"ANONYMOUS_PRINCIPAL"}}`, ActorAnonymous, "anonymous", "anonymous"},
		{"service", `{"userIdentity":{"type":"AWSService","invokedBy":"cloudtrail.amazonaws.com"}}`, ActorService, "service:cloudtrail.amazonaws.com", "cloudtrail.amazonaws.com"},
		{"service event", `{"userIdentity":{"accountId":"111122223333","invokedBy":"AWS Internal"},"eventType":"AwsServiceEvent"}`, ActorService, "service:AWS Internal", "AWS Internal"},
		{"Identity Center user", `{"userIdentity":{"type":"IdentityCenterUser","accountId":"111122223333","onBehalfOf":{"userId":"0f1e2d3c","identityStoreArn":"arn:aws:identitystore::111122223333:identitystore/d-1234567890"},"credentialId":"X"}}`,
			ActorPerson, "identitystore:d-1234567890/0f1e2d3c", "0f1e2d3c"},
		{"Identity Center sign-in", `{"eventSource":"signin.amazonaws.com","userIdentity":{"type":"Unknown","principalId":"111122223333","accountId":"111122223333","userName":"x"},"additionalEventData":{"UserName":"Ana"}}`, ActorPerson, "person:ana", "Ana"},
		{"unknown", `{"userIdentity":{"type":"Unknown","accountId":"111122223333"}}`, ActorUnknown, "unknown:111122223333", "unknown"},
		{"no identity", `{"eventName":"X"}`, ActorUnknown, "unknown:", "unknown"},
		{"null identity", `{"userIdentity":null}`, ActorUnknown, "unknown:", "unknown"},
		{"directory", `{"userIdentity":{"type":"Directory","userName":"ana","accountId":"111122223333"}}`, ActorPerson, "directory:111122223333/ana", "ana"},
		{"only a key", `{"userIdentity":{"accessKeyId":"AKIAEXAMPLE"}}`, ActorUnknown, "key:AKIAEXAMPLE", "key AKIAEXAMPLE"},
	} {
		e, err := Parse([]byte(c.record))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var cache ActorCache
		for _, a := range []Actor{e.Actor(), *cache.Of(e), *cache.Of(e)} {
			if a.Kind != c.kind || a.ID != c.id || a.Name != c.short {
				t.Errorf("%s: %s %q %q, want %s %q %q", c.name, a.Kind, a.ID, a.Name, c.kind, c.id, c.short)
			}
		}
	}
}

// TestActorsOfSharedData checks that the record always tells who acted in the real data, but for the folders whose
// publisher removed the identity, and that sessions fold into few actors.
func TestActorsOfSharedData(t *testing.T) {
	t.Parallel()
	root := sharedData(t)
	c := &collect{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.Contains(path, "console-sessions") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		_ = NewDecoder(Limits{}).Decode(t.Context(), path, bytes.NewReader(data), c)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[ActorKind]int{}
	for _, e := range c.events {
		a := e.Actor()
		kinds[a.Kind]++
		if a.ID == "" || a.Name == "" || a.From == "" && a.Kind != ActorUnknown {
			t.Errorf("%s: incomplete actor %+v", e.File, a)
		}
		if typ := e.Text(IdentityType); a.ID == "unknown:"+a.Account && typ != "" {
			t.Errorf("%s: %s gives no actor: %s", e.File, typ, e.Get(UserIdentity).Raw())
		}
	}
	t.Logf("%v", kinds)
	if len(c.events) < 700 || kinds[ActorUser] == 0 || kinds[ActorRole] == 0 || kinds[ActorRoot] == 0 || kinds[ActorPerson] == 0 || kinds[ActorService] == 0 {
		t.Errorf("%d events, %v", len(c.events), kinds)
	}
}
