package main

import "fmt"

// madeRule writes the rule with number i: rules like those that people write, most of them about one call of one
// service, some about several, a few about none in particular.
func madeRule(i int) string {
	api := apis[i%len(apis)]
	head := fmt.Sprintf("title: Made for the benchmark %d\nid: 00000000-0000-4000-8000-%012d\nstatus: test\nlevel: medium\nlogsource:\n  product: aws\n  service: cloudtrail\ndetection:\n", i, i)
	call := fmt.Sprintf("  selection:\n    eventSource: %s\n    eventName: %s\n", api.source, api.name)
	switch i / len(apis) % 8 {
	case 0:
		return head + call + fmt.Sprintf("    requestParameters.tagSet.items.value|contains: made-%d\n  condition: selection\n", i)
	case 1:
		return head + call + fmt.Sprintf("    userAgent|contains:\n      - tool-%d\n      - scanner-%d\n  condition: selection\n", i, i)
	case 2:
		return head + call + fmt.Sprintf("  filter:\n    userIdentity.sessionContext.sessionIssuer.userName|startswith:\n      - AWS\n      - prod\n      - dev\n      - staging\n      - github\n      - Security\n  filter_more:\n    userIdentity.type|exists: true\n  extra:\n    requestParameters.name: made-%d\n  condition: selection and extra and not (filter or filter_more)\n", i)
	case 3:
		return head + fmt.Sprintf("  selection:\n    eventSource: %s\n    eventName|startswith: Made%d\n  condition: selection\n", api.source, i)
	case 4:
		return head + call + fmt.Sprintf("    sourceIPAddress|cidr: 100.64.%d.0/24\n  condition: selection\n", i%250)
	case 5:
		return head + call + fmt.Sprintf("    userIdentity.arn|endswith: ':user/made-%d'\n  failed:\n    errorCode|contains: Denied\n  condition: selection and not failed\n", i)
	case 6:
		return head + fmt.Sprintf("  selection:\n    eventName:\n      - %s\n      - Made%d\n    requestParameters.policyDocument|re: 'made-%d.*\"\\*\"'\n  condition: selection\n", api.name, i, i)
	}
	return head + fmt.Sprintf("  selection:\n    userAgent|contains: made-tool-%d\n  condition: selection\n", i)
}

var apis = []struct{ source, name string }{
	{"iam.amazonaws.com", "CreateUser"}, {"iam.amazonaws.com", "DeleteUser"}, {"iam.amazonaws.com", "CreateAccessKey"}, {"iam.amazonaws.com", "AttachUserPolicy"},
	{"iam.amazonaws.com", "AttachRolePolicy"}, {"iam.amazonaws.com", "PutUserPolicy"}, {"iam.amazonaws.com", "PutRolePolicy"}, {"iam.amazonaws.com", "CreateLoginProfile"},
	{"iam.amazonaws.com", "UpdateAssumeRolePolicy"}, {"iam.amazonaws.com", "CreateRole"}, {"iam.amazonaws.com", "GetRole"}, {"iam.amazonaws.com", "DeactivateMFADevice"},
	{"sts.amazonaws.com", "AssumeRole"}, {"sts.amazonaws.com", "AssumeRoleWithWebIdentity"}, {"sts.amazonaws.com", "GetCallerIdentity"}, {"sts.amazonaws.com", "GetFederationToken"},
	{"s3.amazonaws.com", "GetObject"}, {"s3.amazonaws.com", "PutObject"}, {"s3.amazonaws.com", "DeleteObject"}, {"s3.amazonaws.com", "PutBucketPolicy"},
	{"s3.amazonaws.com", "DeleteBucket"}, {"s3.amazonaws.com", "PutBucketVersioning"}, {"s3.amazonaws.com", "GetBucketAcl"}, {"s3.amazonaws.com", "DeletePublicAccessBlock"},
	{"ec2.amazonaws.com", "RunInstances"}, {"ec2.amazonaws.com", "DescribeInstances"}, {"ec2.amazonaws.com", "AuthorizeSecurityGroupIngress"}, {"ec2.amazonaws.com", "ModifySnapshotAttribute"},
	{"ec2.amazonaws.com", "CreateSnapshot"}, {"ec2.amazonaws.com", "ModifyImageAttribute"}, {"ec2.amazonaws.com", "GetPasswordData"}, {"ec2.amazonaws.com", "CreateRoute"},
	{"ec2.amazonaws.com", "DeleteFlowLogs"}, {"ec2.amazonaws.com", "StopInstances"}, {"ec2.amazonaws.com", "CreateKeyPair"}, {"ec2.amazonaws.com", "CreateNetworkInterface"},
	{"kms.amazonaws.com", "Decrypt"}, {"kms.amazonaws.com", "ScheduleKeyDeletion"}, {"kms.amazonaws.com", "DisableKey"}, {"kms.amazonaws.com", "PutKeyPolicy"},
	{"secretsmanager.amazonaws.com", "GetSecretValue"}, {"secretsmanager.amazonaws.com", "BatchGetSecretValue"}, {"secretsmanager.amazonaws.com", "DeleteSecret"}, {"ssm.amazonaws.com", "GetParameter"},
	{"ssm.amazonaws.com", "SendCommand"}, {"ssm.amazonaws.com", "StartSession"}, {"ssm.amazonaws.com", "UpdateInstanceInformation"}, {"lambda.amazonaws.com", "CreateFunction20150331"},
	{"lambda.amazonaws.com", "UpdateFunctionCode20150331v2"}, {"lambda.amazonaws.com", "AddPermission20150331v2"}, {"lambda.amazonaws.com", "Invoke"}, {"lambda.amazonaws.com", "CreateFunctionUrlConfig"},
	{"dynamodb.amazonaws.com", "GetItem"}, {"dynamodb.amazonaws.com", "DeleteTable"}, {"dynamodb.amazonaws.com", "ExportTableToPointInTime"}, {"rds.amazonaws.com", "ModifyDBInstance"},
	{"rds.amazonaws.com", "ModifyDBSnapshotAttribute"}, {"rds.amazonaws.com", "DeleteDBInstance"}, {"cloudtrail.amazonaws.com", "StopLogging"}, {"cloudtrail.amazonaws.com", "DeleteTrail"},
	{"cloudtrail.amazonaws.com", "UpdateTrail"}, {"cloudtrail.amazonaws.com", "PutEventSelectors"}, {"config.amazonaws.com", "StopConfigurationRecorder"}, {"config.amazonaws.com", "PutEvaluations"},
	{"guardduty.amazonaws.com", "DeleteDetector"}, {"guardduty.amazonaws.com", "UpdateIPSet"}, {"securityhub.amazonaws.com", "BatchUpdateFindings"}, {"organizations.amazonaws.com", "LeaveOrganization"},
	{"signin.amazonaws.com", "ConsoleLogin"}, {"signin.amazonaws.com", "SwitchRole"}, {"ecr.amazonaws.com", "PutImage"}, {"ecr.amazonaws.com", "BatchGetImage"},
	{"ecs.amazonaws.com", "RegisterTaskDefinition"}, {"ecs.amazonaws.com", "UpdateService"}, {"eks.amazonaws.com", "CreateAccessEntry"}, {"eks.amazonaws.com", "DescribeCluster"},
	{"route53.amazonaws.com", "ChangeResourceRecordSets"}, {"route53domains.amazonaws.com", "TransferDomainToAnotherAwsAccount"}, {"logs.amazonaws.com", "DeleteLogGroup"}, {"logs.amazonaws.com", "CreateLogStream"},
	{"monitoring.amazonaws.com", "DeleteAlarms"}, {"monitoring.amazonaws.com", "GetMetricData"}, {"elasticloadbalancing.amazonaws.com", "DescribeTargetHealth"}, {"wafv2.amazonaws.com", "DeleteWebACL"},
	{"events.amazonaws.com", "PutRule"}, {"events.amazonaws.com", "DisableRule"}, {"sns.amazonaws.com", "Subscribe"}, {"sqs.amazonaws.com", "PurgeQueue"},
	{"ses.amazonaws.com", "UpdateAccountSendingEnabled"}, {"bedrock.amazonaws.com", "InvokeModel"}, {"glue.amazonaws.com", "CreateDevEndpoint"}, {"athena.amazonaws.com", "StartQueryExecution"},
	{"cloudformation.amazonaws.com", "CreateStack"}, {"cloudfront.amazonaws.com", "UpdateDistribution"}, {"backup.amazonaws.com", "DeleteRecoveryPoint"}, {"sso.amazonaws.com", "CreatePermissionSet"},
}
