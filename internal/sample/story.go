package sample

import "strconv"

// The attack's people, places and things. The hosting network is 192.0.2.0/24; nobody else in the sample uses it.
const (
	leakedUser    = "ci-deploy"          // whose long-term key leaked
	createdUser   = "support-automation" // that the attacker makes
	glassUser     = "break-glass"        // whose password is guessed
	auditUser     = "auditor"            // a person who mistypes
	firstAddress  = "192.0.2.66"
	secondAddress = "192.0.2.91"
	officeAddress = "203.0.113.11"
)

const (
	kaliAgent    = "aws-cli/2.15.30 Python/3.11.8 Linux/6.6.9-amd64 exe/x86_64.kali.2024 prompt/off command/<service>.<action>"
	plainAgent   = "aws-cli/2.15.30 Python/3.11.8 Linux/6.6.9-amd64 exe/x86_64.debian.12 prompt/off command/<service>.<action>"
	botoAgent    = "Boto3/1.34.60 md/Botocore#1.34.60 ua/2.0 os/linux#6.6.9-amd64 md/arch#x86_64 lang/python#3.11.8 md/pyimpl#CPython cfg/retry-mode#legacy Botocore/1.34.60"
	browserAgent = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
	officeAgent  = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/135.0.0.0 Safari/537.36"
)

// attack writes the attack: a leaked key, from first use to ransom, over about five hours and three accounts.
func attack(b *scriptBuilder, begin int64) {
	b.now = begin
	dev, prod, management := b.w.accounts[devAccount].id, b.w.accounts[prodAccount].id, b.w.accounts[managementAccount].id
	leaked := b.actor(devAccount, leakedUser, kaliAgent)
	leaked.address = firstAddress
	refused := `User: ` + leaked.arn + ` is not authorized to perform: <service>:<action> because no identity-based policy allows the <service>:<action> action`

	b.step(Step{ID: "leaked-key", Title: "A CI user's long-term key is tried from a hosting network", Techniques: []string{"T1078.004", "T1552.001"},
		Expect: "the key of a CI user is used from an address and with an agent (Kali Linux) that it never had, while it is still in use at its usual address"})
	b.event(leaked, made{call: "sts.GetCallerIdentity", account: devAccount})
	b.wait(60, 120)

	b.step(Step{ID: "enumeration", Title: "Everything is listed, most of it refused", Techniques: []string{"T1087.004", "T1069.003", "T1580", "T1619", "T1526"},
		Expect: "a burst of List, Get and Describe calls over many services and Regions, most of them denied"})
	for i, m := range []made{
		{call: "iam.ListUsers"}, {call: "iam.ListRoles", errorCode: "AccessDenied"}, {call: "iam.ListGroups", errorCode: "AccessDenied"},
		{call: "iam.GetAccountAuthorizationDetails", errorCode: "AccessDenied"}, {call: "iam.ListPolicies", errorCode: "AccessDenied"},
		{call: "iam.ListAttachedUserPolicies", params: `{"userName":"` + leakedUser + `"}`}, {call: "iam.ListUserPolicies", params: `{"userName":"` + leakedUser + `"}`},
		{call: "iam.ListAccessKeys", params: `{"userName":"<user>"}`}, {call: "iam.GetAccountSummary", errorCode: "AccessDenied"},
		{call: "iam.ListMFADevices", errorCode: "AccessDenied"}, {call: "iam.GetAccountPasswordPolicy", errorCode: "AccessDenied"},
		{call: "organizations.DescribeOrganization", errorCode: "AccessDeniedException"}, {call: "organizations.ListAccounts", errorCode: "AccessDeniedException"},
		{call: "s3.ListBuckets", params: `{"Host":"s3.<region>.amazonaws.com"}`},
		{call: "cloudtrail.DescribeTrails", errorCode: "AccessDeniedException"}, {call: "guardduty.ListDetectors", errorCode: "AccessDeniedException"},
		{call: "secretsmanager.ListSecrets", errorCode: "AccessDeniedException"}, {call: "ssm.DescribeParameters", errorCode: "AccessDeniedException"},
		{call: "kms.ListKeys", errorCode: "AccessDeniedException"}, {call: "lambda.ListFunctions20150331", errorCode: "AccessDeniedException"},
		{call: "dynamodb.ListTables", errorCode: "AccessDeniedException"}, {call: "rds.DescribeDBInstances", errorCode: "AccessDenied"},
		{call: "ec2.DescribeInstances", params: `{"instancesSet":{},"filterSet":{}}`, errorCode: "Client.UnauthorizedOperation"},
		{call: "ec2.DescribeSnapshots", params: `{"maxResults":1000,"snapshotSet":{},"ownersSet":{"items":[{"owner":"self"}]},"sharedUsersSet":{},"filterSet":{}}`, errorCode: "Client.UnauthorizedOperation"},
		{call: "ec2.DescribeSecurityGroups", params: `{"securityGroupSet":{},"securityGroupIdSet":{},"filterSet":{}}`, errorCode: "Client.UnauthorizedOperation"},
		{call: "ec2.DescribeInstances", region: "eu-west-1", params: `{"instancesSet":{},"filterSet":{}}`, errorCode: "Client.UnauthorizedOperation"},
		{call: "ec2.DescribeSnapshots", region: "eu-west-1", params: `{"maxResults":1000,"snapshotSet":{},"ownersSet":{"items":[{"owner":"self"}]},"sharedUsersSet":{},"filterSet":{}}`, errorCode: "Client.UnauthorizedOperation"},
		{call: "secretsmanager.ListSecrets", region: "eu-west-1", errorCode: "AccessDeniedException"}, {call: "lambda.ListFunctions20150331", region: "eu-west-1", errorCode: "AccessDeniedException"},
		{call: "ses.GetSendQuota", errorCode: "AccessDenied"}, {call: "bedrock.ListFoundationModels", errorCode: "AccessDeniedException"},
		{call: "servicequotas.ListServiceQuotas", params: `{"serviceCode":"ec2"}`, errorCode: "AccessDeniedException"},
		{call: "ecr.DescribeRepositories"}, {call: "cloudformation.ListStacks"}, {call: "ecs.ListClusters"}, {call: "eks.ListClusters", errorCode: "AccessDeniedException"},
		{call: "iam.ListInstanceProfiles", errorCode: "AccessDenied"}, {call: "iam.GetUser", params: `{"userName":"` + leakedUser + `"}`}, {call: "ce.GetCostAndUsage", errorCode: "AccessDeniedException"},
		{call: "logs.DescribeLogGroups", errorCode: "AccessDeniedException"},
	} {
		m.account = devAccount
		if m.errorCode != "" {
			m.message = refused
		}
		b.event(leaked, m)
		b.wait(2, 11+i%9)
	}
	b.wait(300, 420)

	b.step(Step{ID: "key-for-another-user", Title: "An access key is made for another user", Techniques: []string{"T1098.001"},
		Expect: "CreateAccessKey for a user other than the caller"})
	b.event(leaked, made{call: "iam.CreateAccessKey", account: devAccount, write: true, params: `{"userName":"svc-orders"}`,
		response: `{"accessKey":{"userName":"svc-orders","accessKeyId":"` + accessKey("AKIA", mix64(b.w.seed, 71)) + `","status":"Active","createDate":"<date>"}}`})
	b.wait(100, 200)

	newKey := accessKey("AKIA", mix64(b.w.seed, 72))
	b.step(Step{ID: "create-user", Title: "A user is made, with a password and a key", Techniques: []string{"T1136.003", "T1098.001"},
		Expect: "CreateUser, then CreateLoginProfile and CreateAccessKey for the new user, by a CI user"})
	b.event(leaked, made{call: "iam.CreateUser", account: devAccount, write: true, params: `{"userName":"` + createdUser + `"}`,
		response: `{"user":{"path":"/","userName":"` + createdUser + `","userId":"` + principalID("AIDA", hashText(dev+createdUser)) + `","arn":"arn:aws:iam::` + dev + `:user/` + createdUser + `","createDate":"<date>"}}`})
	b.wait(10, 30)
	b.event(leaked, made{call: "iam.CreateLoginProfile", account: devAccount, write: true, params: `{"userName":"` + createdUser + `","passwordResetRequired":false}`,
		response: `{"loginProfile":{"userName":"` + createdUser + `","createDate":"<date>","passwordResetRequired":false}}`})
	b.wait(10, 30)
	b.event(leaked, made{call: "iam.CreateAccessKey", account: devAccount, write: true, params: `{"userName":"` + createdUser + `"}`,
		response: `{"accessKey":{"userName":"` + createdUser + `","accessKeyId":"` + newKey + `","status":"Active","createDate":"<date>"}}`})
	b.wait(10, 30)

	b.step(Step{ID: "admin-policy", Title: "The new user becomes administrator", Techniques: []string{"T1098.003"},
		Expect: "AdministratorAccess attached to a user"})
	b.event(leaked, made{call: "iam.AttachUserPolicy", account: devAccount, write: true, params: `{"userName":"` + createdUser + `","policyArn":"arn:aws:iam::aws:policy/AdministratorAccess"}`})
	b.wait(600, 900)

	created := b.user(devAccount, createdUser, newKey, secondAddress, plainAgent)
	roleARN, role, session := "arn:aws:iam::"+prod+":role/OrganizationAccountAccessRole", "OrganizationAccountAccessRole", "support"
	rolePrincipal := principalID("AROA", hashText(prod+role))
	sessionKey := accessKey("ASIA", mix64(b.w.seed, 73))
	sessionBegin := b.now
	b.step(Step{ID: "assume-role", Title: "A role in the production account is taken", Techniques: []string{"T1550.001", "T1021.007"},
		Expect: "AssumeRole over accounts into an administrator's role by a user made half an hour ago; one record in each account, with one sharedEventID"})
	taken := made{call: "sts.AssumeRole", params: `{"roleArn":"` + roleARN + `","roleSessionName":"` + session + `","durationSeconds":43200}`,
		response:  `{"credentials":{"accessKeyId":"` + sessionKey + `","sessionToken":"EXAMPLETOKEN<b64:760>=","expiration":"<date>"},"assumedRoleUser":{"assumedRoleId":"` + rolePrincipal + `:` + session + `","arn":"arn:aws:sts::` + prod + `:assumed-role/` + role + `/` + session + `"}}`,
		resources: `[{"accountId":"` + prod + `","type":"AWS::IAM::Role","ARN":"` + roleARN + `"}]`, shared: appendUUID(nil, mix64(b.w.seed, 74), mix64(b.w.seed, 75))}
	taken.account = devAccount
	b.event(created, taken)
	taken.account = prodAccount
	outside := created
	outside.identity = `{"type":"AWSAccount","principalId":"` + principalID("AIDA", hashText(dev+createdUser)) + `","accountId":"` + dev + `"}`
	b.event(outside, taken)
	b.steps[len(b.steps)-1].Actor = created.arn
	b.wait(400, 600)

	admin := who{
		identity: `{"type":"AssumedRole","principalId":"` + rolePrincipal + `:` + session + `","arn":"arn:aws:sts::` + prod + `:assumed-role/` + role + `/` + session + `","accountId":"` + prod + `","accessKeyId":"` + sessionKey +
			`","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"` + rolePrincipal + `","arn":"` + roleARN + `","accountId":"` + prod + `","userName":"` + role + `"},"attributes":{"creationDate":"` +
			string(appendTime(nil, sessionBegin)) + `","mfaAuthenticated":"false"}}}`,
		arn: "arn:aws:sts::" + prod + ":assumed-role/" + role + "/" + session, address: secondAddress, agent: plainAgent,
	}
	trail := "arn:aws:cloudtrail:us-east-1:" + prod + ":trail/prod-data-events"
	b.step(Step{ID: "stop-logging", Title: "Logging is stopped", Techniques: []string{"T1562.008", "T1685.002"},
		Expect: "StopLogging on the account's own trail, and deleted flow logs; the organisation's trail refuses and goes on"})
	b.event(admin, made{call: "cloudtrail.StopLogging", account: prodAccount, write: true, params: `{"name":"` + trail + `"}`})
	b.wait(20, 60)
	b.event(admin, made{call: "cloudtrail.StopLogging", account: prodAccount, write: true, params: `{"name":"arn:aws:cloudtrail:us-east-1:` + management + `:trail/organization-trail"}`,
		errorCode: "InsufficientDependencyServiceAccessPermissionException", message: "This operation is available only to the organization's management account or a delegated administrator."})
	b.wait(20, 60)
	b.event(admin, made{call: "ec2.DeleteFlowLogs", account: prodAccount, write: true, params: `{"DeleteFlowLogsRequest":{"FlowLogId":{"tag":1,"content":"fl-<id>"}}}`, response: `{"DeleteFlowLogsResponse":{"xmlns":"http://ec2.amazonaws.com/doc/2016-11-15/","unsuccessful":"","requestId":"<reqid>"}}`})
	b.wait(60, 120)

	b.step(Step{ID: "disable-guardduty", Title: "The detector is deleted", Techniques: []string{"T1562.001", "T1685"}, Expect: "GuardDuty's detector deleted"})
	b.event(admin, made{call: "guardduty.DeleteDetector", account: prodAccount, write: true, params: `{"detectorId":"<hex:32>"}`})
	b.wait(200, 400)

	b.step(Step{ID: "open-security-group", Title: "SSH is opened to the world", Techniques: []string{"T1562.007", "T1686.001", "T1133"},
		Expect: "AuthorizeSecurityGroupIngress with 0.0.0.0/0 on port 22"})
	b.event(admin, made{call: "ec2.AuthorizeSecurityGroupIngress", account: prodAccount, write: true,
		params:   `{"groupId":"<sg>","ipPermissions":{"items":[{"ipProtocol":"tcp","fromPort":22,"toPort":22,"groups":{},"ipRanges":{"items":[{"cidrIp":"0.0.0.0/0"}]},"ipv6Ranges":{},"prefixListIds":{}}]}}`,
		response: `{"requestId":"<reqid>","_return":true,"securityGroupRuleSet":{"items":[{"groupOwnerId":"` + prod + `","groupId":"<sg>","securityGroupRuleId":"sgr-<id>","isEgress":false,"ipProtocol":"tcp","fromPort":22,"toPort":22,"cidrIpv4":"0.0.0.0/0"}]}}`})
	b.wait(500, 700)

	snapshot := "snap-0" + string(appendHex(nil, mix64(b.w.seed, 76), 16))
	b.step(Step{ID: "share-snapshot", Title: "A disk is copied out", Techniques: []string{"T1537"},
		Expect: "a fresh EBS snapshot shared with an account outside the organisation, " + attackerAccount})
	b.event(admin, made{call: "ec2.CreateSnapshot", account: prodAccount, write: true, params: `{"volumeId":"<volume>","description":"migration"}`,
		response: `{"requestId":"<reqid>","snapshotId":"` + snapshot + `","volumeId":"<volume>","status":"pending","startTime":<ms>,"progress":"","ownerId":"` + prod + `","volumeSize":"500","description":"migration","encrypted":false}`})
	b.wait(300, 500)
	b.event(admin, made{call: "ec2.ModifySnapshotAttribute", account: prodAccount, write: true,
		params: `{"snapshotId":"` + snapshot + `","createVolumePermission":{"add":{"items":[{"userId":"` + attackerAccount + `"}]}},"attributeType":"CREATE_VOLUME_PERMISSION"}`, response: ec2Done})
	b.wait(600, 900)

	bulk := admin
	bulk.agent = botoAgent
	b.step(Step{ID: "read-secrets", Title: "Secrets are read in bulk", Techniques: []string{"T1555.006"},
		Expect: "one session reads many different secrets within two minutes"})
	b.event(bulk, made{call: "secretsmanager.ListSecrets", account: prodAccount, params: `{"maxResults":100}`})
	for _, secret := range b.w.place(prodAccount, globalRegion).pools[kSecret][:28] {
		b.wait(1, 5)
		b.event(bulk, made{call: "secretsmanager.GetSecretValue", account: prodAccount, params: `{"secretId":"` + secret + `"}`})
	}
	b.wait(1200, 1800)

	bucket := "example-prod-catalog-exports"
	things := func(key string) (params, resources string) {
		return `{"bucketName":"` + bucket + `","Host":"` + bucket + `.s3.us-east-1.amazonaws.com","key":"` + key + `"}`,
			`[{"type":"AWS::S3::Object","ARN":"arn:aws:s3:::` + bucket + `/` + key + `"},{"accountId":"` + prod + `","type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::` + bucket + `"}]`
	}
	objectNames := make([]string, 180)
	for i := range objectNames {
		objectNames[i] = "statements/2026/statement-" + strconv.Itoa(10000+i*37) + ".pdf"
	}
	b.step(Step{ID: "bulk-read", Title: "A bucket is emptied by reading", Techniques: []string{"T1530"},
		Expect: "one session gets 180 different objects of a bucket within a quarter of an hour"})
	b.event(bulk, made{call: "s3.ListObjects", account: prodAccount, data: true, params: `{"list-type":"2","bucketName":"` + bucket + `","prefix":"","encoding-type":"url","Host":"` + bucket + `.s3.us-east-1.amazonaws.com"}`,
		additional: s3Read, resources: `[{"accountId":"` + prod + `","type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::` + bucket + `"}]`})
	for _, key := range objectNames {
		b.wait(1, 7)
		params, resources := things(key)
		b.event(bulk, made{call: "s3.GetObject", account: prodAccount, data: true, params: params, resources: resources,
			additional: `{"SignatureVersion":"SigV4","CipherSuite":"TLS_AES_128_GCM_SHA256","bytesTransferredIn":0,"AuthenticationMethod":"AuthHeader","x-amz-id-2":"<b64:75>=","bytesTransferredOut":<int:900000:9000000>}`})
	}
	b.wait(500, 700)

	b.step(Step{ID: "versioning-off", Title: "The bucket's versions are no longer kept", Techniques: []string{"T1490"}, Expect: "versioning suspended on a bucket"})
	b.event(bulk, made{call: "s3.PutBucketVersioning", account: prodAccount, write: true,
		params:     `{"versioning":"","bucketName":"` + bucket + `","Host":"` + bucket + `.s3.us-east-1.amazonaws.com","VersioningConfiguration":{"xmlns":"http://s3.amazonaws.com/doc/2006-03-01/","Status":"Suspended"}}`,
		additional: s3Read, resources: `[{"accountId":"` + prod + `","type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::` + bucket + `"}]`})
	b.wait(60, 120)

	b.step(Step{ID: "bulk-delete", Title: "The objects are deleted", Techniques: []string{"T1485"},
		Expect: "the session that read the objects deletes 120 of them within ten minutes"})
	for _, key := range objectNames[:120] {
		b.wait(1, 5)
		params, resources := things(key)
		b.event(bulk, made{call: "s3.DeleteObject", account: prodAccount, write: true, data: true, params: params, resources: resources, additional: s3Read})
	}
	b.wait(30, 90)

	b.step(Step{ID: "ransom-note", Title: "A ransom note is left", Techniques: []string{"T1486", "T1491"}, Expect: "an object with the name of a ransom note written to the emptied bucket"})
	params, resources := things("HOW-TO-RESTORE-YOUR-FILES.txt")
	b.event(bulk, made{call: "s3.PutObject", account: prodAccount, write: true, data: true, params: params, resources: resources, additional: s3Put, response: `{"x-amz-server-side-encryption":"AES256"}`})
	b.wait(2400, 3000)

	glass := b.user(managementAccount, glassUser, "", secondAddress, browserAgent)
	glass.console = true
	login := `"LoginTo":"https://console.aws.amazon.com/console/home?hashArgs=%23&isauthcode=true&state=hashArgsFromTB_us-east-1_<hex:16>","MobileVersion":"No","MFAUsed":"No"`
	b.step(Step{ID: "console-brute-force", Title: "A password is guessed", Techniques: []string{"T1110.001"},
		Expect: "some thirty failed console sign-ins of one user of the management account within half an hour from one address"})
	for range 29 {
		b.event(glass, made{call: "signin.ConsoleLogin", account: managementAccount, write: true, eventType: "AwsConsoleSignIn", response: `{"ConsoleLogin":"Failure"}`,
			additional: `{` + login + `}`, message: "Failed authentication"})
		b.wait(20, 75)
	}

	b.step(Step{ID: "console-success", Title: "The guess was right", Techniques: []string{"T1078.004", "T1110.001"},
		Expect: "a successful sign-in without MFA after the failures, from the same address"})
	b.event(glass, made{call: "signin.ConsoleLogin", account: managementAccount, write: true, eventType: "AwsConsoleSignIn", response: `{"ConsoleLogin":"Success"}`, additional: `{` + login + `}`})
	b.wait(240, 400)

	signedIn := glass
	signedIn.identity = `{"type":"IAMUser","principalId":"` + principalID("AIDA", hashText(management+glassUser)) + `","arn":"` + glass.arn + `","accountId":"` + management + `","accessKeyId":"` + accessKey("ASIA", mix64(b.w.seed, 77)) +
		`","userName":"` + glassUser + `","sessionContext":{"attributes":{"creationDate":"` + string(appendTime(nil, b.now-200)) + `","mfaAuthenticated":"false"}}}`
	b.step(Step{ID: "backdoor-role", Title: "A role is opened to an outside account", Techniques: []string{"T1098", "T1078.004"},
		Expect: "UpdateAssumeRolePolicy that lets account " + attackerAccount + " take a role of the management account"})
	b.event(signedIn, made{call: "iam.UpdateAssumeRolePolicy", account: managementAccount, write: true,
		params: `{"roleName":"OrganizationReadOnly","policyDocument":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"arn:aws:iam::` + attackerAccount + `:root\"},\"Action\":\"sts:AssumeRole\"}]}"}`})
}

// lookAlikes writes what resembles steps of the attack and is daily business.
func lookAlikes(b *scriptBuilder, begin int64) {
	b.now = begin + 9*60
	dev, management := b.w.accounts[devAccount].id, b.w.accounts[managementAccount].id

	pipeline := b.actor(devAccount, "github-terraform", agentLists["tf"][0])
	b.step(Step{ID: "iac-user", Title: "The infrastructure pipeline makes a service user", Expect: "made by the pipeline's role, no key, no password, a read-only policy"})
	b.event(pipeline, made{call: "iam.CreateUser", account: devAccount, write: true, params: `{"path":"/service/","userName":"svc-newsletter","tags":[{"key":"managed-by","value":"terraform"}]}`,
		response: `{"user":{"path":"/service/","userName":"svc-newsletter","userId":"` + principalID("AIDA", hashText(dev+"svc-newsletter")) + `","arn":"arn:aws:iam::` + dev + `:user/service/svc-newsletter","createDate":"<date>","tags":[{"key":"managed-by","value":"terraform"}]}}`})
	b.wait(1, 4)
	b.event(pipeline, made{call: "iam.AttachUserPolicy", account: devAccount, write: true, params: `{"userName":"svc-newsletter","policyArn":"arn:aws:iam::aws:policy/AmazonSESReadOnlyAccess"}`})
	b.wait(5, 20)

	b.step(Step{ID: "public-web", Title: "The pipeline opens HTTPS of a public load balancer", Expect: "port 443 of a public load balancer is meant to be open to the world"})
	b.event(pipeline, made{call: "ec2.AuthorizeSecurityGroupIngress", account: devAccount, write: true,
		params:   `{"groupId":"<sg>","ipPermissions":{"items":[{"ipProtocol":"tcp","fromPort":443,"toPort":443,"groups":{},"ipRanges":{"items":[{"cidrIp":"0.0.0.0/0","description":"public load balancer"}]},"ipv6Ranges":{},"prefixListIds":{}}]}}`,
		response: `{"requestId":"<reqid>","_return":true,"securityGroupRuleSet":{"items":[{"groupOwnerId":"` + dev + `","groupId":"<sg>","securityGroupRuleId":"sgr-<id>","description":"public load balancer","isEgress":false,"ipProtocol":"tcp","fromPort":443,"toPort":443,"cidrIpv4":"0.0.0.0/0"}]}}`})
	b.wait(600, 1200)

	b.step(Step{ID: "mistyped-password", Title: "A person mistypes the password twice", Expect: "two failures, then a sign-in with MFA from the office"})
	auditor := b.user(managementAccount, auditUser, "", officeAddress, officeAgent)
	auditor.console = true
	login := `"LoginTo":"https://console.aws.amazon.com/console/home?hashArgs=%23&isauthcode=true&state=hashArgsFromTB_us-east-1_<hex:16>","MobileVersion":"No"`
	for range 2 {
		b.event(auditor, made{call: "signin.ConsoleLogin", account: managementAccount, write: true, eventType: "AwsConsoleSignIn", response: `{"ConsoleLogin":"Failure"}`,
			additional: `{` + login + `,"MFAUsed":"Yes"}`, message: "Failed authentication"})
		b.wait(15, 40)
	}
	b.event(auditor, made{call: "signin.ConsoleLogin", account: managementAccount, write: true, eventType: "AwsConsoleSignIn", response: `{"ConsoleLogin":"Success"}`,
		additional: `{` + login + `,"MFAIdentifier":"arn:aws:iam::` + management + `:mfa/` + auditUser + `","MFAUsed":"Yes"}`})
	b.wait(1200, 1800)

	b.step(Step{ID: "root-task", Title: "Root signs in with MFA for a task that needs it", Expect: "rare, from the office, with MFA; worth a look, not part of an attack"})
	root := who{identity: `{"type":"Root","principalId":"` + management + `","arn":"arn:aws:iam::` + management + `:root","accountId":"` + management + `","accessKeyId":""}`,
		arn: "arn:aws:iam::" + management + ":root", address: officeAddress, agent: officeAgent, console: true}
	b.event(root, made{call: "signin.ConsoleLogin", account: managementAccount, write: true, eventType: "AwsConsoleSignIn", response: `{"ConsoleLogin":"Success"}`,
		additional: `{` + login + `,"MFAIdentifier":"arn:aws:iam::` + management + `:mfa/root-account-mfa-device","MFAUsed":"Yes"}`})
	b.wait(300, 600)

	b.step(Step{ID: "key-rotation", Title: "A person rotates a key of their own", Expect: "the caller makes a key for itself and deletes the old one"})
	rotator := b.user(managementAccount, auditUser, accessKey("AKIA", mix64(b.w.seed, 81)), officeAddress, agentLists["cli"][0])
	b.event(rotator, made{call: "iam.CreateAccessKey", account: managementAccount, write: true,
		response: `{"accessKey":{"userName":"` + auditUser + `","accessKeyId":"` + accessKey("AKIA", mix64(b.w.seed, 82)) + `","status":"Active","createDate":"<date>"}}`})
	b.wait(60, 90)
	b.event(rotator, made{call: "iam.DeleteAccessKey", account: managementAccount, write: true, params: `{"userName":"` + auditUser + `","accessKeyId":"` + accessKey("AKIA", mix64(b.w.seed, 81)) + `"}`})
	b.wait(900, 1200)

	backup := b.actor(prodAccount, "AWSBackupDefaultServiceRole", "backup.amazonaws.com")
	b.step(Step{ID: "backup-copy", Title: "Backup shares a snapshot with an account of the organisation", Expect: "the receiving account is a member of the organisation"})
	b.event(backup, made{call: "ec2.ModifySnapshotAttribute", account: prodAccount, write: true,
		params: `{"snapshotId":"<snapshot>","createVolumePermission":{"add":{"items":[{"userId":"` + dev + `"}]}},"attributeType":"CREATE_VOLUME_PERMISSION"}`, response: ec2Done})
}
