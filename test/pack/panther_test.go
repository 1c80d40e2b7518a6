package pack

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"spoor/internal/source/sourcetest"
	"spoor/test/kit"
)

// Why an own rule and the rule whose events are borrowed differ on purpose.
const (
	attempt     = "a refused or failed attempt is told too, one level lower where a rule says so"
	anyChange   = "the own rule annotates every change of the kind"
	needsMemory = "the borrowed rule remembers earlier events, which the test gives it by other means"
)

// borrowed says which own rules cover the idea of a published rule, and where they differ on purpose: by test, the reason.
type borrowed struct {
	own     []string          // rule files; one of them must fire
	differs map[string]string // tests whose outcome is the other one, with the reason
	none    string            // why no own rule covers the idea
}

var panther = map[string]borrowed{
	"AWS.Bedrock.GuardrailUpdateDelete":         {own: []string{"defense-impairment/bedrock-guardrail-changed"}},
	"AWS.CloudTrail.AMIModifiedForPublicAccess": {own: []string{"exfiltration/ami-public", "exfiltration/ami-shared"}, differs: map[string]string{"Error Making AMI Public": attempt}},
	"AWS.CloudTrail.Account.Discovery":          {none: "consoles and cost tools ask for account data all day; bursts of questions are counted by correlations/enumeration-burst"},
	"AWS.CloudTrail.CodebuildProjectMadePublic": {own: []string{"exfiltration/codebuild-project-public"}},
	"AWS.CloudTrail.Created":                    {own: []string{"monitoring/cloudtrail-configuration-changed"}, differs: map[string]string{"Error Creating CloudTrail": attempt}},
	"AWS.CloudTrail.EventSelectorsDisabled":     {own: []string{"defense-impairment/cloudtrail-management-events-off"}},
	"AWS.CloudTrail.IAMAnythingChanged":         {own: []string{"privilege-escalation/iam-policy-changed"}, differs: map[string]string{"Error Making IAM Change": attempt}},
	"AWS.CloudTrail.IMDSCredentialExfiltration": {own: []string{"credential-access/instance-credentials-elsewhere"}, differs: map[string]string{
		"IMDS Credentials Used From Public IP":                "instances in public subnets call from public addresses; the record does not tell whose this one is",
		"IMDS Credentials Used From Amazon.com ASN Source IP": "as above: every instance calls from an address of Amazon",
	}},
	"AWS.CloudTrail.NetworkACLPermissiveEntry": {own: []string{"network/network-acl-opened"}, differs: map[string]string{
		"Overly Permissive Entry Added": "network lists are open to answers on high ports by design; the own rule asks for all ports or those of SSH and RDP",
	}},
	"AWS.CloudTrail.SES.CheckIdentityVerifications": {none: "one question is everyday life; correlations/ses-recon counts several"},
	"AWS.CloudTrail.SES.CheckSESSendingEnabled":     {none: "one question is everyday life; correlations/ses-recon counts several"},
	"AWS.CloudTrail.SES.CheckSendQuota":             {none: "one question is everyday life; correlations/ses-recon counts several"},
	"AWS.CloudTrail.SES.ListIdentities":             {none: "one question is everyday life; correlations/ses-recon counts several"},
	"AWS.CloudTrail.SecurityConfigurationChange":    {own: []string{"defense-impairment/cloudtrail-trail-deleted"}, differs: map[string]string{"Security Configuration Not Changed - Error": attempt}},
	"AWS.CloudTrail.Stopped":                        {own: []string{"defense-impairment/cloudtrail-logging-stopped"}, differs: map[string]string{"Error Stopping CloudTrail": attempt}},
	"AWS.CloudTrail.UserAccessKeyAuth":              {none: "every call with a key: spoor stats lists keys, a finding says nothing"},
	"AWS.CloudTrail.VPCE.AccessDenied": {own: []string{"exfiltration/vpc-endpoint-used-by-another-account"}, differs: map[string]string{
		"VPC Endpoint Event Without Error": "credentials of another account passed through the endpoint; that this was not refused makes it worse",
	}},
	"AWS.CloudTrail.VPCE.ExternalPrincipal": {own: []string{"exfiltration/vpc-endpoint-used-by-another-account"}},
	"AWS.ConfigService.Created": {own: []string{"monitoring/config-configuration-changed"}, differs: map[string]string{
		"Config Recorder Deleted": anyChange, "Error Creating Config Recorder Delivery Channel": attempt,
	}},
	"AWS.Console.GetSigninToken.Abuse": {own: []string{"initial-access/console-session-from-credentials"}},
	"AWS.Console.LoginWithoutMFA": {own: []string{"initial-access/console-login-without-mfa"}, differs: map[string]string{
		"No MFA Login - New User": needsMemory,
	}},
	"AWS.Console.LoginWithoutSAML": {none: "a record does not tell that an organisation signs in by SAML alone"},
	"AWS.Console.RootLogin":        {own: []string{"initial-access/root-console-login"}},
	"AWS.Console.RootLoginFailed": {own: []string{"initial-access/root-console-login"}, differs: map[string]string{
		"Successful Login": "one own rule for both: the sign-in high, the failure one level lower",
	}},
	"AWS.EC2.LaunchUnusualEC2Instances": {own: []string{"execution/unusual-instance-types"}, differs: map[string]string{
		"Successful Unusual EC2":              "launched by Auto Scaling: the own rule judges the template or group it was told to use",
		"Successful Unusual EC2 (Dictionary)": "launched by Auto Scaling: the own rule judges the template or group it was told to use",
	}},
	"AWS.EC2.ManyPasswordReadAttempts": {own: []string{"credential-access/ec2-password-data"}},
	"AWS.EC2.RouteTableModified":       {own: []string{"network/route-table-changed"}, differs: map[string]string{"Error Modifying Route Table": attempt}},
	"AWS.EC2.SecurityGroupModified":    {own: []string{"network/security-group-changed"}, differs: map[string]string{"Error Mofidying Security Group": attempt}},
	"AWS.EC2.Startup.Script.Change":    {own: []string{"execution/ec2-user-data-modified"}},
	"AWS.EC2.StopInstances": {own: []string{"monitoring/ec2-instance-changed"}, differs: map[string]string{
		"CloudTrail Instances Were Started": anyChange, "Error Stopping CloudTrail Instances": attempt,
	}},
	"AWS.IAM.AccessKeyCompromised":  {own: []string{"credential-access/leaked-key-quarantined"}},
	"AWS.IAM.AttachAdminUserPolicy": {own: []string{"privilege-escalation/admin-policy-attached-to-user"}},
	"AWS.IAM.Backdoor.User.Keys": {own: []string{"persistence/iam-access-key-created-for-other"}, differs: map[string]string{
		"user1 create keys for user2":  "made by a CloudFormation stack, which the own rule leaves to iam-access-key-created",
		"jackson create keys for jack": "made by a CloudFormation stack, which the own rule leaves to iam-access-key-created",
		"jack create keys for jackson": "made by a CloudFormation stack, which the own rule leaves to iam-access-key-created",
	}},
	"AWS.IAM.CreateUser":             {own: []string{"persistence/iam-user-created"}},
	"AWS.IAM.CredentialsUpdated":     {none: "people change their own password; that of another is privilege-escalation/iam-login-profile-updated"},
	"AWS.RDS.ActivityStreamStopped":  {own: []string{"defense-impairment/rds-activity-stream-stopped"}, differs: map[string]string{"Activity Stream Stop Failed": attempt}},
	"AWS.RDS.AutomatedBackupDeleted": {own: []string{"impact/rds-deleted", "impact/backups-deleted"}, differs: map[string]string{"Automated Backup Deletion Failed": attempt}},
	"AWS.RDS.ClusterFailover":        {none: "operation, by people and services alike"},
	"AWS.RDS.DeletionProtectionDisabled": {own: []string{"impact/deletion-protection-disabled"}, differs: map[string]string{
		"RDS Modification Failed": attempt,
	}},
	"AWS.RDS.IAMRoleAdded":                   {none: "a feature role for imports and exports, given once by whoever sets the database up"},
	"AWS.RDS.InstanceDeletion":               {own: []string{"impact/rds-deleted", "impact/rds-deleted-without-snapshot"}, differs: map[string]string{"RDS Deletion Failed - Access Denied": attempt}},
	"AWS.RDS.InstanceMadePublic":             {own: []string{"initial-access/rds-public"}, differs: map[string]string{"RDS Modification Failed": attempt}},
	"AWS.RDS.InstanceRebooted":               {none: "operation, by people and services alike"},
	"AWS.RDS.SecurityGroupIngressAuthorized": {own: []string{"network/managed-service-firewall-changed"}, differs: map[string]string{"Authorization Failed": attempt}},
	"AWS.RDS.SnapshotCopiedCrossRegion": {own: []string{"collection/snapshot-created"}, differs: map[string]string{
		"Snapshot Copied Within Same Region - No Alert": anyChange, "Copy Failed": attempt,
	}},
	"AWS.RDS.SnapshotExport":                        {own: []string{"collection/rds-snapshot-exported"}, differs: map[string]string{"RDS Snapshot Export Failed": attempt}},
	"AWS.S3.BucketDeleted":                          {own: []string{"impact/s3-bucket-deleted"}},
	"AWS.S3.BucketPolicyModified":                   {own: []string{"monitoring/s3-bucket-configuration-changed"}, differs: map[string]string{"S3 Bucket Policy Modified Error Response": attempt}},
	"AWS.S3.CopyObject.CrossAccount.Encryption.KMS": {own: []string{"impact/s3-encrypted-with-outside-key"}},
	"AWS.S3.CopyObjectToExternalAccountBucket":      {none: "pipelines copy between accounts all day, and a record does not tell which accounts are foreign"},
	"AWS.S3.CopyObjectWithClientSideEncryption":     {own: []string{"impact/s3-object-rewritten-with-customer-key"}},
	"AWS.S3.DeleteBucketEncryption":                 {own: []string{"impact/s3-bucket-protection-removed"}, differs: map[string]string{"Bucket Encryption Deletion Failed": attempt}},
	"AWS.S3.DeleteBucketReplication":                {own: []string{"impact/s3-bucket-protection-removed"}, differs: map[string]string{"Bucket Replication Deletion Failed": attempt}},
	"AWS.S3.DeleteObject":                           {none: "one deletion is everyday life; correlations/bulk-read-then-delete counts many"},
	"AWS.S3.RansomwareNoteUpload":                   {own: []string{"impact/ransom-note-uploaded"}},
	"AWS.S3.SecurityControlDisabling": {own: []string{"defense-impairment/s3-server-access-logging-disabled", "impact/s3-versioning-suspended"}, differs: map[string]string{
		"No Match - Failed API Call (Access Denied)": attempt,
	}},
	"AWS.SSM.DecryptSSMParams": {none: "one read with decryption is everyday life; correlations/parameters-sweep counts many"},
	"AWS.SSM.DistributedCommand": {own: []string{"correlations/many-instances-entered"}, differs: map[string]string{
		"Single Command Send, Many Cached IDs": needsMemory,
	}},
	"AWS.STS.GetCallerIdentity.TruffleHog": {own: []string{"initial-access/attack-tool"}, differs: map[string]string{
		"Different STS Event with TruffleHog Agent": "the own rule takes any call of such a tool",
	}},
	"AWS.STS.GetSessionToken.Misuse":                {own: []string{"persistence/sts-session-token"}, differs: map[string]string{"GetSessionToken Failed": attempt}},
	"AWS.SecretsManager.BatchRetrieveSecrets":       {own: []string{"credential-access/secrets-batch-read"}},
	"AWS.SecretsManager.RetrieveSecretsMultiRegion": {own: []string{"credential-access/secrets-batch-read"}},
	"AWS.Software.Discovery":                        {none: "one question is everyday life; correlations/enumeration-burst counts them"},
	"AWS.User.Login.Profile.Modified": {own: []string{"privilege-escalation/iam-login-profile-updated"}, differs: map[string]string{
		"ChangeOwnPassword": "a role session with the name of a user is not that user: its holder chose the name",
		"User changed password for other reset required": "who sets a temporary password can sign in with it first",
	}},
	"Role.Assumed.by.AWS.Service": {none: "services take their roles all day"},
	"Role.Assumed.by.User":        {none: "people take roles all day"},
	"Standard.BruteForceByIP":     {own: []string{"initial-access/console-login-failed"}},
	"Standard.NewUserAccountCreated": {own: []string{"persistence/iam-user-created"}, differs: map[string]string{
		"User Account Created - CloudTrail": "the event is cut down to its name; the own rule asks for the service too",
	}},
	"Standard.SignInFromRogueState": {none: "a record does not tell the country of an address"},
}

// TestPanther runs the pack over the events with which others test their rules. Where an own rule covers the idea, it fires
// exactly where theirs does, but for the differences that the table gives a reason for.
func TestPanther(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(sourcetest.Shared(t), "data/cloudtrail/panther-rule-tests/tests.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	set, err := kit.Pack(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	titles := rulesByFile(t, set)
	for rule, b := range panther {
		if (b.none == "") == (len(b.own) == 0) {
			t.Errorf("%s: own rules %q and none %q exclude each other", rule, b.own, b.none)
		}
		for _, file := range b.own {
			if titles[file] == nil {
				t.Errorf("%s: the pack has no rule file %s", rule, file)
			}
		}
	}
	dir := t.TempDir()
	met := map[string]map[string]bool{} // by rule, the tests that differ
	cases, compared := 0, 0
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var c struct {
			Rule, Test string
			Expected   bool
			Event      json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		cases++
		b, ok := panther[c.Rule]
		if !ok {
			t.Errorf("%s is not in the table", c.Rule)
		}
		if met[c.Rule] == nil {
			met[c.Rule] = map[string]bool{}
		}
		if b.none != "" {
			continue
		}
		compared++
		path := filepath.Join(dir, "event.json")
		if err := os.WriteFile(path, c.Event, 0o600); err != nil {
			t.Fatal(err)
		}
		res, err := kit.Hunt(t.Context(), kit.Job{Paths: []string{path}, Rules: set, Workers: 1, TempDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if res.Ledger.Records.Kept != 1 {
			t.Fatalf("%s: %s: %d records kept of 1", c.Rule, c.Test, res.Ledger.Records.Kept)
		}
		var fired []string
		for _, f := range res.Findings {
			fired = append(fired, ruleFile(f.Rule))
		}
		fires := slices.ContainsFunc(b.own, func(file string) bool { return slices.Contains(fired, file) })
		want := c.Expected
		if _, differs := b.differs[c.Test]; differs {
			met[c.Rule][c.Test] = true
			want = !want
		}
		if fires != want {
			t.Errorf("%s: %s: any of %q fires: %v, want %v; fired: %q", c.Rule, c.Test, b.own, fires, want, fired)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	for rule, b := range panther {
		if met[rule] == nil {
			t.Errorf("%s has no tests", rule)
		}
		for test, reason := range b.differs {
			if !met[rule][test] || reason == "" {
				t.Errorf("%s: %s is said to differ (%s), but there is no such test or no reason", rule, test, reason)
			}
		}
	}
	if cases != 228 {
		t.Errorf("%d test events, 228 expected", cases)
	}
	t.Logf("%d of %d test events compared", compared, cases)
}
