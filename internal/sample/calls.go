package sample

import (
	"fmt"
	"math"
	"strings"
)

// call is one kind of record: an API call with the shape of its parameters and answer.
type call struct {
	service    string // short name, in host names, agents and permissions
	source     string // eventSource
	name       string
	version    string // eventVersion
	apiVersion string
	readOnly   bool
	global     bool    // a global service, logged in one Region
	stretch    float64 // makes the lengths of bursts geometric: 1/log(1-1/mean)
	request    requestForm
	category   string
	eventType  string
	via        string // the service that makes the call for its caller
	shared     bool   // a copy for another account exists
	endpoint   bool   // reached through the VPC endpoint from inside
	host       template
	params     template
	response   template
	additional template
	resources  template
	details    template // serviceEventDetails
	faults     []fault
}

// fault is a way in which a call fails.
type fault struct {
	rate    float64
	code    string
	message template
}

// requestForm is the form of a service's request ids.
type requestForm int

const (
	requestUUID  requestForm = iota
	requestShort             // 16 upper-case characters, S3
	requestLong              // 52 upper-case characters, DynamoDB
	requestNone              // sign-ins
)

// spec is how a call is written down below.
type spec struct {
	key        string // service.Name, or another name for a variant of a call, then name says which
	name       string
	version    string
	write      bool
	data       bool
	run        float64 // how long bursts are, relative to those of most calls; 0 means 1
	params     string  // "" means null
	response   string
	additional string
	resources  string
	details    string
	via        string
	host       string // instead of the service's
	eventType  string
	category   string
	shared     bool
	faults     []faultSpec
}

type faultSpec struct {
	rate          float64
	code, message string
}

// service says what the calls of a service have in common. The host "-" means no tlsDetails.
type service struct {
	source     string
	short      string
	version    string
	apiVersion string
	host       string
	request    requestForm
	global     bool
	endpoint   bool
}

var services = map[string]service{
	"athena":         {},
	"autoscaling":    {version: "1.10", apiVersion: "2011-01-01"},
	"backup":         {},
	"bedrock":        {},
	"ce":             {host: "ce.us-east-1.amazonaws.com", global: true},
	"cloudformation": {version: "1.10"},
	"cloudmap":       {source: "servicediscovery.amazonaws.com", short: "servicediscovery", host: "data-servicediscovery.<region>.amazonaws.com"},
	"cloudtrail":     {},
	"cloudwatch":     {source: "monitoring.amazonaws.com", host: "monitoring.<region>.amazonaws.com", version: "1.09"},
	"config":         {},
	"dynamodb":       {apiVersion: "2012-08-10", request: requestLong, endpoint: true},
	"ec2":            {version: "1.10"},
	"ecr":            {host: "api.ecr.<region>.amazonaws.com", endpoint: true},
	"ecs":            {},
	"eks":            {},
	"elbv2":          {source: "elasticloadbalancing.amazonaws.com", short: "elasticloadbalancing", version: "1.10", apiVersion: "2015-12-01"},
	"events":         {},
	"glue":           {},
	"guardduty":      {},
	"health":         {host: "-", global: true},
	"iam":            {host: "iam.amazonaws.com", global: true},
	"kms":            {endpoint: true},
	"lambda":         {},
	"logs":           {version: "1.11", apiVersion: "20140328", endpoint: true},
	"notifications":  {host: "-", global: true},
	"organizations":  {host: "organizations.us-east-1.amazonaws.com", global: true},
	"rds":            {},
	"route53":        {apiVersion: "2013-04-01", host: "route53.amazonaws.com", global: true},
	"s3":             {request: requestShort, endpoint: true},
	"secretsmanager": {endpoint: true},
	"securityhub":    {},
	"servicequotas":  {},
	"ses":            {},
	"signin":         {host: "-", global: true, request: requestNone, version: "1.08"},
	"sns":            {},
	"sqs":            {endpoint: true},
	"ssm":            {endpoint: true},
	"sso":            {host: "-", global: true, version: "1.08"},
	"sts":            {version: "1.08", endpoint: true},
	"tagging":        {},
}

const (
	s3Read       = `{"SignatureVersion":"SigV4","CipherSuite":"TLS_AES_128_GCM_SHA256","bytesTransferredIn":0,"AuthenticationMethod":"AuthHeader","x-amz-id-2":"<b64:75>=","bytesTransferredOut":<int:120:4096>}`
	s3Get        = `{"SignatureVersion":"SigV4","CipherSuite":"TLS_AES_128_GCM_SHA256","bytesTransferredIn":0,"AuthenticationMethod":"AuthHeader","x-amz-id-2":"<b64:75>=","bytesTransferredOut":<int:300:1900000>}`
	s3Put        = `{"SignatureVersion":"SigV4","CipherSuite":"TLS_AES_128_GCM_SHA256","bytesTransferredIn":<int:300:900000>,"SSEApplied":"<one:Default_SSE_S3|SSE_KMS>","AuthenticationMethod":"AuthHeader","x-amz-id-2":"<b64:75>=","bytesTransferredOut":0}`
	bucketHost   = `<bucket>.s3.<region>.amazonaws.com`
	bucketThing  = `[{"accountId":"<account>","type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::<bucket>"}]`
	objectThings = `[{"type":"AWS::S3::Object","ARN":"arn:aws:s3:::<bucket>/<key>"},{"accountId":"<account>","type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::<bucket>"}]`
	objectParams = `{"bucketName":"<bucket>","Host":"<bucket>.s3.<region>.amazonaws.com","key":"<key>"}`
	tableThings  = `[{"accountId":"<account>","type":"AWS::DynamoDB::Table","ARN":"arn:aws:dynamodb:<region>:<account>:table/<table>"}]`
	keyThings    = `[{"accountId":"<account>","type":"AWS::KMS::Key","ARN":"<kms>"}]`
	ec2Done      = `{"requestId":"<reqid>","_return":true}`
	denied       = `User: <caller> is not authorized to perform: <service>:<action> because no identity-based policy allows the <service>:<action> action`
	throttled    = `Rate exceeded`
)

func bucketCall(name, sub string, faults ...faultSpec) spec {
	return spec{key: "s3." + name, run: 3, params: `{"bucketName":"<bucket>","Host":"<bucket>.s3.<region>.amazonaws.com","` + sub + `":""}`,
		additional: s3Read, resources: bucketThing, host: bucketHost, faults: faults}
}

var ec2Throttle = faultSpec{.01, "Client.RequestLimitExceeded", "Request limit exceeded."}

// specs are the calls of the catalogue.
func specs() []spec {
	return []spec{
		// S3
		{key: "s3.GetObject", data: true, run: 5, params: objectParams, additional: s3Get, resources: objectThings, host: bucketHost,
			faults: []faultSpec{{.03, "NoSuchKey", "The specified key does not exist."}, {.002, "AccessDenied", "Access Denied"}}},
		{key: "s3.HeadObject", data: true, run: 3, params: objectParams, additional: s3Read, resources: objectThings, host: bucketHost,
			faults: []faultSpec{{.15, "NoSuchKey", "The specified key does not exist."}}},
		{key: "s3.PutObject", data: true, write: true, run: 3, params: `{"bucketName":"<bucket>","Host":"<bucket>.s3.<region>.amazonaws.com","key":"<key>"}`,
			response: `{"x-amz-server-side-encryption":"AES256"}`, additional: s3Put, resources: objectThings, host: bucketHost},
		{key: "s3.DeleteObject", data: true, write: true, run: 2, params: objectParams, additional: s3Read, resources: objectThings, host: bucketHost},
		{key: "s3.ListObjects", data: true, run: 4, params: `{"list-type":"2","bucketName":"<bucket>","prefix":"<one:raw|curated|exports|uploads>/<app>/","encoding-type":"url","max-keys":"1000","Host":"<bucket>.s3.<region>.amazonaws.com"}`,
			additional: s3Read, resources: `[{"type":"AWS::S3::Object","ARNPrefix":"arn:aws:s3:::<bucket>/"},{"accountId":"<account>","type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::<bucket>"}]`, host: bucketHost},
		{key: "s3.ListBuckets", params: `{"Host":"s3.<region>.amazonaws.com"}`, additional: s3Read, host: `s3.<region>.amazonaws.com`},
		bucketCall("GetBucketPolicy", "policy", faultSpec{.25, "NoSuchBucketPolicy", "The bucket policy does not exist"}),
		bucketCall("GetBucketAcl", "acl"),
		bucketCall("GetBucketEncryption", "encryption", faultSpec{.05, "ServerSideEncryptionConfigurationNotFoundError", "The server side encryption configuration was not found"}),
		bucketCall("GetBucketVersioning", "versioning"),
		bucketCall("GetBucketLogging", "logging"),
		bucketCall("GetBucketPublicAccessBlock", "publicAccessBlock", faultSpec{.04, "NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found"}),
		bucketCall("GetBucketTagging", "tagging", faultSpec{.2, "NoSuchTagSet", "The TagSet does not exist"}),
		{key: "s3.HeadBucket", params: `{"bucketName":"<bucket>","Host":"<bucket>.s3.<region>.amazonaws.com"}`, additional: s3Read, resources: bucketThing, host: bucketHost},
		{key: "s3.CreateBucket", write: true, params: `{"bucketName":"<bucket>-<hex:6>","CreateBucketConfiguration":{"LocationConstraint":"<region>","xmlns":"http://s3.amazonaws.com/doc/2006-03-01/"},"Host":"s3.<region>.amazonaws.com"}`, additional: s3Put, host: `s3.<region>.amazonaws.com`},
		{key: "s3.PutLogFile", name: "PutObject", data: true, write: true, run: 8, shared: true,
			params:   `{"bucketName":"<bucket>","Host":"<bucket>.s3.<region>.amazonaws.com","x-amz-acl":"bucket-owner-full-control","x-amz-server-side-encryption":"aws:kms","x-amz-server-side-encryption-aws-kms-key-id":"<kms>","key":"<key>"}`,
			response: `{"x-amz-server-side-encryption":"aws:kms","x-amz-server-side-encryption-aws-kms-key-id":"<kms>"}`, additional: s3Put, resources: objectThings},
		{key: "s3.GetBucketAclByService", name: "GetBucketAcl", run: 2, shared: true, params: `{"bucketName":"<bucket>","Host":"<bucket>.s3.<region>.amazonaws.com","acl":""}`, additional: s3Read, resources: bucketThing},

		// DynamoDB
		{key: "dynamodb.GetItem", data: true, run: 4, params: `{"tableName":"<table>","key":{"pk":"<app>#<uuid>","sk":"<one:v0|meta|state>"},"consistentRead":<one:true|false>}`, resources: tableThings},
		{key: "dynamodb.Query", data: true, run: 2, params: `{"tableName":"<table>","keyConditionExpression":"#k = :k AND begins_with(#s, :s)","indexName":"by-<app>","limit":<int:10:200>,"scanIndexForward":false}`, resources: tableThings},
		{key: "dynamodb.PutItem", data: true, write: true, run: 2, params: `{"tableName":"<table>","key":{"pk":"<app>#<uuid>","sk":"v0"},"items":["pk","sk","createdAt","updatedAt","payload","ttl"],"conditionExpression":"attribute_not_exists(pk)"}`, resources: tableThings,
			faults: []faultSpec{{.03, "ConditionalCheckFailedException", "The conditional request failed"}}},
		{key: "dynamodb.UpdateItem", data: true, write: true, run: 2, params: `{"tableName":"<table>","key":{"pk":"<app>#<uuid>","sk":"<one:state|meta>"},"updateExpression":"SET #s = :s, updatedAt = :t ADD version :one","conditionExpression":"version = :v"}`, resources: tableThings,
			faults: []faultSpec{{.04, "ConditionalCheckFailedException", "The conditional request failed"}, {.004, "ProvisionedThroughputExceededException", "The level of configured provisioned throughput for the table was exceeded. Consider increasing your provisioning level with the UpdateTable API."}}},
		{key: "dynamodb.ListTables", params: `{"limit":100}`},

		// KMS
		{key: "kms.DecryptForS3", name: "Decrypt", run: 4, via: "s3.amazonaws.com", params: `{"encryptionContext":{"aws:s3:arn":"arn:aws:s3:::<bucket>"},"encryptionAlgorithm":"SYMMETRIC_DEFAULT"}`, resources: keyThings},
		{key: "kms.GenerateDataKeyForS3", name: "GenerateDataKey", run: 3, via: "s3.amazonaws.com", params: `{"encryptionContext":{"aws:s3:arn":"arn:aws:s3:::<bucket>"},"keyId":"<kms>","keySpec":"AES_256"}`, resources: keyThings},
		{key: "kms.DecryptForSecrets", name: "Decrypt", run: 1.5, via: "secretsmanager.amazonaws.com", params: `{"encryptionContext":{"SecretARN":"<secret>","SecretVersionId":"<uuid>"},"encryptionAlgorithm":"SYMMETRIC_DEFAULT"}`, resources: keyThings},
		{key: "kms.DecryptForLambda", name: "Decrypt", params: `{"encryptionContext":{"aws:lambda:FunctionArn":"arn:aws:lambda:<region>:<account>:function:<function>"},"encryptionAlgorithm":"SYMMETRIC_DEFAULT"}`, resources: keyThings, via: "lambda.amazonaws.com"},
		{key: "kms.GenerateDataKeyByService", name: "GenerateDataKey", via: "sqs.amazonaws.com", run: 3, shared: true, params: `{"keySpec":"AES_256","encryptionContext":{"aws:sqs:arn":"arn:aws:sqs:<region>:<account>:<queue>"},"keyId":"<kms>"}`, resources: keyThings},
		{key: "kms.DecryptByService", name: "Decrypt", via: "sqs.amazonaws.com", run: 3, shared: true, params: `{"encryptionAlgorithm":"SYMMETRIC_DEFAULT","encryptionContext":{"aws:sqs:arn":"arn:aws:sqs:<region>:<account>:<queue>"}}`, resources: keyThings},
		{key: "kms.GenerateDataKeyForTrail", name: "GenerateDataKey", run: 4, shared: true, params: `{"keyId":"<kms>","keySpec":"AES_256","encryptionContext":{"aws:cloudtrail:arn":"arn:aws:cloudtrail:us-east-1:123456789012:trail/organization-trail","aws:s3:arn":"arn:aws:s3:::<bucket>/<key>"}}`, resources: keyThings},
		{key: "kms.CreateGrant", write: true, params: `{"keyId":"<kms>","granteePrincipal":"rds.<region>.amazonaws.com","operations":["Decrypt","Encrypt","GenerateDataKeyWithoutPlaintext","CreateGrant","RetireGrant","DescribeKey"],"constraints":{"encryptionContextSubset":{"aws:rds:db-id":"db-<up:26>"}},"retiringPrincipal":"rds.<region>.amazonaws.com"}`, response: `{"grantId":"<hex:64>","keyId":"<kms>"}`, resources: keyThings},
		{key: "kms.DescribeKey", run: 3, params: `{"keyId":"<kms>"}`, resources: keyThings},
		{key: "kms.GetKeyPolicy", run: 5, params: `{"keyId":"<kms>","policyName":"default"}`, resources: keyThings, faults: []faultSpec{{.03, "AccessDenied", denied}}},
		{key: "kms.GetKeyRotationStatus", run: 5, params: `{"keyId":"<kms>"}`, resources: keyThings},
		{key: "kms.ListKeys", params: `{"limit":1000}`},
		{key: "kms.RotateKey", write: true, eventType: "AwsServiceEvent", resources: keyThings, details: `{"keyId":"<uuid>"}`, host: "-"},
		{key: "kms.DecryptDeniedAtEndpoint", name: "Decrypt", category: "NetworkActivity", eventType: "AwsVpceEvent", host: "-", shared: true},
		{key: "secretsmanager.DeniedAtEndpoint", name: "GetSecretValue", category: "NetworkActivity", eventType: "AwsVpceEvent", host: "-", shared: true},

		// Secrets and parameters
		{key: "secretsmanager.GetSecretValue", params: `{"secretId":"<secret>"}`, faults: []faultSpec{{.01, "ResourceNotFoundException", "Secrets Manager can't find the specified secret."}}},
		{key: "secretsmanager.ListSecrets", params: `{"maxResults":100,"sortOrder":"asc"}`},
		{key: "ssm.GetParameter", run: 2, params: `{"name":"<param>","withDecryption":<one:true|false>}`, resources: `[{"accountId":"<account>","ARN":"arn:aws:ssm:<region>:<account>:parameter<param>"}]`, faults: []faultSpec{{.02, "ParameterNotFound", ""}}},
		{key: "ssm.GetParametersByPath", params: `{"path":"/<env>/<app>","recursive":true,"withDecryption":true,"maxResults":10}`},
		{key: "ssm.UpdateInstanceInformation", write: true, run: 1.2, params: `{"instanceId":"<session>","agentVersion":"3.3.2299.0","agentStatus":"Active","platformType":"Linux","platformName":"Amazon Linux","platformVersion":"2023","iPAddress":"<privateip>","computerName":"ip-10-<int:8:40>-<int:0:63>-<int:4:250>.ec2.internal","agentName":"amazon-ssm-agent","availabilityZone":"<region>a","availabilityZoneId":"use1-az4","sSMConnectionChannel":"ssmmessages"}`},
		{key: "ssm.ListInstanceAssociations", params: `{"instanceId":"<session>","maxResults":20}`},
		{key: "ssm.StartSession", write: true, run: 0.63, params: `{"target":"<instance>"}`, response: `{"sessionId":"<session>-<an:16>","tokenValue":"HIDDEN_DUE_TO_SECURITY_REASONS","streamUrl":"wss://ssmmessages.<region>.amazonaws.com/v1/data-channel/<session>-<an:16>?role=publish_subscribe&cell-number=AAEAA<b64:40>"}`},

		// EC2
		{key: "ec2.DescribeInstances", run: 2, params: `{"instancesSet":{"items":[<rep:1:8>{"instanceId":"<another:instance>"}</rep>]},"filterSet":{}}`, faults: []faultSpec{ec2Throttle, {.01, "Client.InvalidInstanceID.NotFound", "The instance ID '<instance>' does not exist"}}},
		{key: "ec2.DescribeInstanceStatus", run: 3, params: `{"instancesSet":{"items":[<rep:4:90>{"instanceId":"<another:instance>"}</rep>]},"filterSet":{},"includeAllInstances":true}`},
		{key: "ec2.DescribeInstanceTypes", params: `{"DescribeInstanceTypesRequest":{"Filter":[{"Name":"processor-info.supported-architecture","Value":[{"tag":1,"content":"arm64"},{"tag":2,"content":"x86_64"}],"tag":1}],"MaxResults":100,"NextToken":"<b64:120>"}}`},
		{key: "ec2.DescribeVolumes", run: 3, params: `{"maxResults":500,"volumeSet":{"items":[<rep:1:24>{"volumeId":"<another:volume>"}</rep>]},"filterSet":{"items":[{"name":"attachment.instance-id","valueSet":{"items":[<rep:1:6>{"value":"<another:instance>"}</rep>]}}]}}`, faults: []faultSpec{ec2Throttle}},
		{key: "ec2.DescribeSnapshots", run: 4, params: `{"maxResults":1000,"snapshotSet":{},"ownersSet":{"items":[{"owner":"<account>"}]},"sharedUsersSet":{},"filterSet":{},"nextToken":"<b64:88>"}`},
		{key: "ec2.DescribeSecurityGroups", run: 2, params: `{"securityGroupSet":{},"securityGroupIdSet":{"items":[<rep:1:12>{"groupId":"<another:sg>"}</rep>]},"filterSet":{}}`, faults: []faultSpec{ec2Throttle}},
		{key: "ec2.DescribeNetworkInterfaces", run: 2, params: `{"networkInterfaceIdSet":{},"filterSet":{"items":[{"name":"tag:node.k8s.amazonaws.com/instance_id","valueSet":{"items":[{"value":"<instance>"}]}},{"name":"vpc-id","valueSet":{"items":[{"value":"<vpc>"}]}}]},"maxResults":1000}`},
		{key: "ec2.DescribeSubnets", run: 2, params: `{"subnetSet":{"items":[<rep:1:6>{"subnetId":"<another:subnet>"}</rep>]},"filterSet":{}}`},
		{key: "ec2.DescribeVpcs", params: `{"vpcSet":{"items":[{"vpcId":"<vpc>"}]},"filterSet":{}}`},
		{key: "ec2.DescribeVpcAttribute", run: 3, params: `{"vpcId":"<vpc>","attribute":"<one:enableDnsSupport|enableDnsHostnames|enableNetworkAddressUsageMetrics>"}`},
		{key: "ec2.DescribeImages", params: `{"executableBySet":{},"imagesSet":{"items":[{"imageId":"<ami>"}]},"ownersSet":{},"filterSet":{}}`},
		{key: "ec2.DescribeTags", params: `{"filterSet":{"items":[{"name":"resource-id","valueSet":{"items":[{"value":"<instance>"}]}}]},"maxResults":1000}`},
		{key: "ec2.DescribeRegions", params: `{"regionSet":{},"allRegions":false}`},
		{key: "ec2.DescribeInternetGateways", params: `{"internetGatewayIdSet":{},"filterSet":{"items":[{"name":"attachment.vpc-id","valueSet":{"items":[{"value":"<vpc>"}]}}]}}`},
		{key: "ec2.DescribeLaunchTemplateVersions", run: 3, params: `{"DescribeLaunchTemplateVersionsRequest":{"LaunchTemplateId":"lt-<id>","LaunchTemplateVersion":{"tag":1,"content":"$Latest"}}}`},
		{key: "ec2.RunInstances", write: true, run: 1.1,
			params:   `{"instancesSet":{"items":[{"minCount":1,"maxCount":<int:1:8>}]},"blockDeviceMapping":{},"availabilityZone":"<region>b","monitoring":{"enabled":false},"disableApiTermination":false,"disableApiStop":false,"clientToken":"fleet-<uuid>-0","tagSpecificationSet":{"items":[{"resourceType":"instance","tags":[{"key":"aws:autoscaling:groupName","value":"<asg>"},{"key":"aws:ec2:fleet-id","value":"fleet-<uuid>"},{"key":"Name","value":"<asg>"},{"key":"team","value":"<app>"}]}]},"launchTemplate":{"launchTemplateId":"lt-<id>","version":"<int:1:60>"}}`,
			response: `{"requestId":"<reqid>","reservationId":"r-<id>","ownerId":"<account>","groupSet":{},"instancesSet":{"items":[<rep:1:14>{"instanceId":"i-0<hex:16>","imageId":"<ami>","currentInstanceBootMode":"uefi","instanceState":{"code":0,"name":"pending"},"privateDnsName":"ip-10-<int:8:40>-<int:0:63>-<int:4:250>.ec2.internal","keyName":"<env>-ops","amiLaunchIndex":0,"productCodes":{},"instanceType":"<one:m7g.large|m7g.xlarge|c7g.2xlarge|r7g.large>","launchTime":<ms>,"placement":{"availabilityZone":"<region>b","tenancy":"default"},"monitoring":{"state":"disabled"},"subnetId":"<subnet>","vpcId":"<vpc>","privateIpAddress":"<privateip>","stateReason":{"code":"pending","message":"pending"},"architecture":"arm64","rootDeviceType":"ebs","rootDeviceName":"/dev/xvda","blockDeviceMapping":{},"virtualizationType":"hvm","hypervisor":"xen","tagSet":{"items":[{"key":"aws:autoscaling:groupName","value":"<asg>"},{"key":"Name","value":"<asg>"},{"key":"team","value":"<app>"}]},"clientToken":"fleet-<uuid>-0","groupSet":{"items":[{"groupId":"<sg>","groupName":"<env>-nodes"}]},"sourceDestCheck":true,"networkInterfaceSet":{"items":[{"networkInterfaceId":"eni-0<hex:16>","subnetId":"<subnet>","vpcId":"<vpc>","ownerId":"<account>","operator":{"managed":false},"status":"in-use","macAddress":"0a:ff:<hex:2>:<hex:2>:<hex:2>:<hex:2>","privateIpAddress":"<privateip>","sourceDestCheck":true,"interfaceType":"interface","groupSet":{"items":[{"groupId":"<sg>","groupName":"<env>-nodes"}]},"attachment":{"attachmentId":"eni-attach-0<hex:16>","deviceIndex":0,"networkCardIndex":0,"status":"attaching","attachTime":<ms>,"deleteOnTermination":true},"privateIpAddressesSet":{"item":[{"privateIpAddress":"<privateip>","primary":true}]},"ipv6AddressesSet":{},"tagSet":{}}]},"iamInstanceProfile":{"arn":"arn:aws:iam::<account>:instance-profile/<role>","id":"AIPA<up:10>EXAMPLE"},"ebsOptimized":true,"enaSupport":true,"cpuOptions":{"coreCount":2,"threadsPerCore":1},"capacityReservationSpecification":{"capacityReservationPreference":"open"},"hibernationOptions":{"configured":false},"enclaveOptions":{"enabled":false},"metadataOptions":{"state":"pending","httpTokens":"required","httpPutResponseHopLimit":2,"httpEndpoint":"enabled","httpProtocolIpv4":"enabled","httpProtocolIpv6":"disabled","instanceMetadataTags":"disabled"},"maintenanceOptions":{"autoRecovery":"default"},"privateDnsNameOptions":{"hostnameType":"ip-name","enableResourceNameDnsARecord":false,"enableResourceNameDnsAAAARecord":false}}</rep>]},"requesterId":"<account>"}`,
			faults:   []faultSpec{{.03, "Server.InsufficientInstanceCapacity", "We currently do not have sufficient capacity in the Availability Zone you requested (<region>b). Our system will be working on provisioning additional capacity."}}},
		{key: "ec2.TerminateInstances", write: true, params: `{"instancesSet":{"items":[{"instanceId":"<instance>"}]}}`, response: `{"requestId":"<reqid>","instancesSet":{"items":[{"instanceId":"<instance>","currentState":{"code":32,"name":"shutting-down"},"previousState":{"code":16,"name":"running"}}]}}`},
		{key: "ec2.StopInstances", write: true, params: `{"instancesSet":{"items":[{"instanceId":"<instance>"}]},"force":false}`, response: `{"requestId":"<reqid>","instancesSet":{"items":[{"instanceId":"<instance>","currentState":{"code":64,"name":"stopping"},"previousState":{"code":16,"name":"running"}}]}}`},
		{key: "ec2.StartInstances", write: true, params: `{"instancesSet":{"items":[{"instanceId":"<instance>"}]}}`, response: `{"requestId":"<reqid>","instancesSet":{"items":[{"instanceId":"<instance>","currentState":{"code":0,"name":"pending"},"previousState":{"code":80,"name":"stopped"}}]}}`},
		{key: "ec2.CreateTags", write: true, run: 2, params: `{"resourcesSet":{"items":[{"resourceId":"<volume>"}]},"tagSet":{"items":[{"key":"team","value":"<app>"},{"key":"environment","value":"<env>"}]}}`, response: ec2Done},
		{key: "ec2.CreateNetworkInterface", write: true, params: `{"subnetId":"<subnet>","description":"arn:aws:ecs:<region>:<account>:attachment/<uuid>","groupSet":{"items":[{"groupId":"<sg>"}]},"privateIpAddressesSet":{},"clientToken":"<uuid>"}`,
			response: `{"requestId":"<reqid>","networkInterface":{"networkInterfaceId":"eni-<id>","subnetId":"<subnet>","vpcId":"<vpc>","availabilityZone":"<region>a","description":"arn:aws:ecs:<region>:<account>:attachment/<uuid>","ownerId":"<account>","requesterId":"AROA<up:10>EXAMPLE:ecs","requesterManaged":true,"status":"pending","macAddress":"0a:ff:<hex:2>:<hex:2>:<hex:2>:<hex:2>","privateIpAddress":"<privateip>","sourceDestCheck":true,"groupSet":{"items":[{"groupId":"<sg>","groupName":"<env>-tasks"}]},"privateIpAddressesSet":{"item":[{"privateIpAddress":"<privateip>","primary":true}]},"ipv6AddressesSet":{},"tagSet":{}}}`},
		{key: "ec2.AttachNetworkInterface", write: true, params: `{"networkInterfaceId":"<eni>","instanceId":"<instance>","deviceIndex":1}`, response: `{"requestId":"<reqid>","attachmentId":"eni-attach-<id>"}`},
		{key: "ec2.DeleteNetworkInterface", write: true, params: `{"networkInterfaceId":"<eni>"}`, response: ec2Done, faults: []faultSpec{{.04, "Client.InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '<eni>' does not exist"}}},
		{key: "ec2.AssignPrivateIpAddresses", write: true, params: `{"networkInterfaceId":"<eni>","ipv4PrefixCount":1}`, response: `{"requestId":"<reqid>","_return":true,"networkInterfaceId":"<eni>","assignedIpv4PrefixSet":{"items":[{"ipv4Prefix":"<privateip>/28"}]}}`},
		{key: "ec2.AuthorizeSecurityGroupIngress", write: true, params: `{"groupId":"<sg>","ipPermissions":{"items":[{"ipProtocol":"tcp","fromPort":443,"toPort":443,"groups":{},"ipRanges":{"items":[{"cidrIp":"10.<int:8:40>.0.0/16","description":"<app> to <app>"}]},"ipv6Ranges":{},"prefixListIds":{}}]}}`,
			response: `{"requestId":"<reqid>","_return":true,"securityGroupRuleSet":{"items":[{"groupOwnerId":"<account>","groupId":"<sg>","securityGroupRuleId":"sgr-<id>","description":"<app>","isEgress":false,"ipProtocol":"tcp","fromPort":443,"toPort":443,"cidrIpv4":"10.<int:8:40>.0.0/16"}]}}`},
		{key: "ec2.RevokeSecurityGroupIngress", write: true, params: `{"groupId":"<sg>","ipPermissions":{"items":[{"ipProtocol":"tcp","fromPort":8080,"toPort":8080,"groups":{},"ipRanges":{"items":[{"cidrIp":"10.<int:8:40>.0.0/16"}]},"ipv6Ranges":{},"prefixListIds":{}}]}}`, response: ec2Done},
		{key: "ec2.CreateSnapshot", write: true, run: 4, params: `{"volumeId":"<volume>","description":"This snapshot is created by the AWS Backup service.","tagSpecificationSet":{"items":[{"resourceType":"snapshot","tags":[{"key":"aws:backup:source-resource","value":"<volume>"}]}]}}`, response: `{"requestId":"<reqid>","snapshotId":"snap-<id>","volumeId":"<volume>","status":"pending","startTime":<ms>,"progress":"","ownerId":"<account>","volumeSize":"<int:8:900>","description":"This snapshot is created by the AWS Backup service.","encrypted":true,"tagSet":{"items":[{"key":"aws:backup:source-resource","value":"<volume>"}]}}`},
		{key: "ec2.DeleteSnapshot", write: true, run: 3, params: `{"snapshotId":"<snapshot>"}`, response: ec2Done, faults: []faultSpec{{.02, "Client.InvalidSnapshot.InUse", "The snapshot <snapshot> is currently in use by <ami>"}}},
		{key: "ec2.CopySnapshot", write: true, params: `{"sourceRegion":"<region>","sourceSnapshotId":"<snapshot>","description":"This snapshot is created by the AWS Backup service.","encrypted":true,"kmsKeyId":"<kms>"}`, response: `{"requestId":"<reqid>","snapshotId":"snap-<id>"}`},
		{key: "ec2.ShareSnapshotInside", name: "ModifySnapshotAttribute", write: true, params: `{"snapshotId":"<snapshot>","createVolumePermission":{"add":{"items":[{"userId":"<other>"}]}},"attributeType":"CREATE_VOLUME_PERMISSION"}`, response: ec2Done},
		{key: "ec2.BidEvictedEvent", write: true, eventType: "AwsServiceEvent", details: `{"instanceIdSet":["<instance>"]}`, host: "-"},

		// Containers
		{key: "ecr.GetAuthorizationToken", params: ``},
		{key: "ecr.BatchGetImage", run: 2, params: `{"registryId":"<account>","repositoryName":"<repo>","imageIds":[{"imageTag":"<hex:12>"}],"acceptedMediaTypes":["application/vnd.docker.distribution.manifest.v2+json","application/vnd.docker.distribution.manifest.list.v2+json","application/vnd.oci.image.manifest.v1+json","application/vnd.oci.image.index.v1+json"]}`, resources: `[{"accountId":"<account>","ARN":"arn:aws:ecr:<region>:<account>:repository/<repo>"}]`},
		{key: "ecr.GetDownloadUrlForLayer", run: 6, params: `{"registryId":"<account>","repositoryName":"<repo>","layerDigest":"sha256:<hex:64>"}`, resources: `[{"accountId":"<account>","ARN":"arn:aws:ecr:<region>:<account>:repository/<repo>"}]`},
		{key: "ecr.BatchCheckLayerAvailability", run: 3, params: `{"registryId":"<account>","repositoryName":"<repo>","layerDigests":["sha256:<hex:64>"]}`, resources: `[{"accountId":"<account>","ARN":"arn:aws:ecr:<region>:<account>:repository/<repo>"}]`},
		{key: "ecr.PutImage", write: true, params: `{"registryId":"<account>","repositoryName":"<repo>","imageManifestMediaType":"application/vnd.oci.image.manifest.v1+json","imageTag":"<hex:12>","imageManifest":"{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"sha256:<hex:64>\",\"size\":<int:4000:9000>},\"layers\":[<rep:4:11>{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"sha256:<hex:64>\",\"size\":<int:900:90000000>}</rep>]}"}`, resources: `[{"accountId":"<account>","ARN":"arn:aws:ecr:<region>:<account>:repository/<repo>"}]`,
			response: `{"image":{"registryId":"<account>","repositoryName":"<repo>","imageId":{"imageDigest":"sha256:<hex:64>","imageTag":"<hex:12>"}}}`},
		{key: "ecs.DescribeServices", run: 3, params: `{"cluster":"<cluster>","services":[<rep:1:10>"<another:app>"</rep>]}`},
		{key: "ecs.ListClusters", params: `{"maxResults":100}`},
		{key: "ecs.UpdateService", write: true, params: `{"cluster":"<cluster>","service":"<app>","taskDefinition":"arn:aws:ecs:<region>:<account>:task-definition/<app>:<int:20:900>","desiredCount":<int:2:12>}`, response: `{"service":{"serviceArn":"arn:aws:ecs:<region>:<account>:service/<cluster>/<app>","serviceName":"<app>","clusterArn":"arn:aws:ecs:<region>:<account>:cluster/<cluster>","status":"ACTIVE","desiredCount":4,"runningCount":4,"pendingCount":0,"launchType":"FARGATE","platformVersion":"LATEST","taskDefinition":"arn:aws:ecs:<region>:<account>:task-definition/<app>:<int:20:900>","deploymentConfiguration":{"deploymentCircuitBreaker":{"enable":true,"rollback":true},"maximumPercent":200,"minimumHealthyPercent":100},"deployments":[{"id":"ecs-svc/<int:1000000000:9999999999>","status":"PRIMARY","desiredCount":4,"rolloutState":"IN_PROGRESS","createdAt":"<date>","updatedAt":"<date>"}],"events":[<rep:2:20>{"id":"<uuid>","createdAt":"<date>","message":"(service <app>) has reached a steady state."}</rep>],"schedulingStrategy":"REPLICA","enableECSManagedTags":true,"propagateTags":"SERVICE","enableExecuteCommand":false}}`},
		{key: "ecs.RegisterTaskDefinition", write: true, params: `{"family":"<app>","taskRoleArn":"arn:aws:iam::<account>:role/<role>","executionRoleArn":"arn:aws:iam::<account>:role/ecs-execution","networkMode":"awsvpc","requiresCompatibilities":["FARGATE"],"cpu":"1024","memory":"2048","containerDefinitions":[<rep:1:4>{"name":"<another:app>","image":"<account>.dkr.ecr.<region>.amazonaws.com/<repo>:<hex:12>","essential":true,"portMappings":[{"containerPort":8080,"protocol":"tcp"}],"environment":"HIDDEN_DUE_TO_SECURITY_REASONS","logConfiguration":{"logDriver":"awslogs","options":{"awslogs-group":"<loggroup>","awslogs-region":"<region>","awslogs-stream-prefix":"<app>"}}}</rep>]}`,
			response: `{"taskDefinition":{"taskDefinitionArn":"arn:aws:ecs:<region>:<account>:task-definition/<app>:<int:20:900>","family":"<app>","status":"ACTIVE","registeredBy":"<caller>"}}`},
		{key: "eks.DescribeCluster", params: `{"name":"<cluster>"}`},
		{key: "eks.DescribeNodegroup", params: `{"name":"<cluster>","nodegroupName":"<app>-<hex:8>"}`},
		{key: "ecs.ServiceTaskEvent", name: "SubmitTaskStateChange", write: true, eventType: "AwsServiceEvent", details: `{"taskArn":"arn:aws:ecs:<region>:<account>:task/<cluster>/<hex:32>","lastStatus":"<one:RUNNING|STOPPED|PENDING>"}`, host: "-"},
		{key: "cloudmap.DiscoverInstances", run: 3, params: `{"namespaceName":"<env>.internal","serviceName":"<app>","maxResults":100}`},
		{key: "cloudmap.RegisterInstance", write: true, params: `{"serviceId":"srv-<an:16>","instanceId":"<hex:32>","creatorRequestId":"<hex:32>","attributes":{"AWS_INSTANCE_IPV4":"<privateip>","AVAILABILITY_ZONE":"<region>a","ECS_CLUSTER_NAME":"<cluster>","ECS_SERVICE_NAME":"<app>","ECS_TASK_DEFINITION_FAMILY":"<app>","REGION":"<region>"}}`, response: `{"operationId":"<an:32>"}`},

		// Compute and messages
		{key: "lambda.Invoke", data: true, write: true, run: 2, params: `{"functionName":"arn:aws:lambda:<region>:<account>:function:<function>","invocationType":"<one:RequestResponse|Event>"}`, additional: `{"functionVersion":"arn:aws:lambda:<region>:<account>:function:<function>:$LATEST"}`, resources: `[{"accountId":"<account>","type":"AWS::Lambda::Function","ARN":"arn:aws:lambda:<region>:<account>:function:<function>"}]`, faults: []faultSpec{{.01, "TooManyRequestsException", "Rate Exceeded."}}},
		{key: "lambda.InvokeByService", name: "Invoke", via: "events.amazonaws.com", data: true, write: true, run: 4, shared: true, params: `{"functionName":"arn:aws:lambda:<region>:<account>:function:<function>","sourceArn":"arn:aws:events:<region>:<account>:rule/<app>-schedule","invocationType":"Event"}`, additional: `{"functionVersion":"arn:aws:lambda:<region>:<account>:function:<function>:$LATEST"}`, resources: `[{"accountId":"<account>","type":"AWS::Lambda::Function","ARN":"arn:aws:lambda:<region>:<account>:function:<function>"}]`},
		{key: "lambda.ListFunctions", name: "ListFunctions20150331", run: 3, params: `{"maxItems":50,"marker":"<b64:200>"}`},
		{key: "lambda.GetFunction", name: "GetFunction20150331v2", run: 3, params: `{"functionName":"<function>"}`, faults: []faultSpec{{.02, "ResourceNotFoundException", "Function not found: arn:aws:lambda:<region>:<account>:function:<function>"}}},
		{key: "lambda.GetFunctionConfiguration", name: "GetFunctionConfiguration20150331v2", run: 3, params: `{"functionName":"<function>"}`},
		{key: "lambda.GetPolicy", name: "GetPolicy20150331v2", run: 5, params: `{"functionName":"<function>"}`, faults: []faultSpec{{.35, "ResourceNotFoundException", "The resource you requested does not exist."}}},
		{key: "lambda.UpdateFunctionCode", name: "UpdateFunctionCode20150331v2", write: true, params: `{"functionName":"<function>","s3Bucket":"<bucket>","s3Key":"<app>/<hex:40>.zip","publish":true,"dryRun":false}`, response: `{"functionName":"<function>","functionArn":"arn:aws:lambda:<region>:<account>:function:<function>","runtime":"python3.12","role":"arn:aws:iam::<account>:role/<role>","handler":"app.handler","codeSize":<int:9000:9000000>,"description":"","timeout":30,"memorySize":512,"lastModified":"<iso>","codeSha256":"<b64:43>=","version":"<int:2:400>","tracingConfig":{"mode":"Active"},"revisionId":"<uuid>","state":"Active","lastUpdateStatus":"InProgress","packageType":"Zip","architectures":["arm64"],"ephemeralStorage":{"size":512}}`},
		{key: "lambda.UpdateFunctionConfiguration", name: "UpdateFunctionConfiguration20150331v2", write: true, params: `{"functionName":"<function>","timeout":<int:3:90>,"memorySize":1024,"environment":{}}`, response: `{"functionName":"<function>","functionArn":"arn:aws:lambda:<region>:<account>:function:<function>","version":"$LATEST","lastUpdateStatus":"InProgress","revisionId":"<uuid>"}`},
		{key: "sns.PublishByService", name: "Publish", via: "events.amazonaws.com", data: true, write: true, shared: true, params: `{"topicArn":"arn:aws:sns:<region>:<account>:<topic>","message":"HIDDEN_DUE_TO_SECURITY_REASONS","subject":"HIDDEN_DUE_TO_SECURITY_REASONS"}`, response: `{"messageId":"<uuid>"}`, resources: `[{"accountId":"<account>","type":"AWS::SNS::Topic","ARN":"arn:aws:sns:<region>:<account>:<topic>"}]`},
		{key: "sqs.GetQueueUrl", params: `{"queueName":"<queue>"}`},
		{key: "sqs.ListQueues", params: `{"maxResults":1000}`},
		{key: "events.PutRule", write: true, params: `{"name":"<app>-schedule","scheduleExpression":"rate(5 minutes)","state":"ENABLED"}`, response: `{"ruleArn":"arn:aws:events:<region>:<account>:rule/<app>-schedule"}`},

		// Load balancers, scaling
		{key: "elbv2.DescribeLoadBalancers", run: 2, params: `{"pageSize":400}`},
		{key: "elbv2.DescribeTargetGroups", run: 2, params: `{"loadBalancerArn":"arn:aws:elasticloadbalancing:<region>:<account>:loadbalancer/<lb>"}`},
		{key: "elbv2.DescribeTargetHealth", run: 5, params: `{"targetGroupArn":"arn:aws:elasticloadbalancing:<region>:<account>:targetgroup/k8s-<app>-<hex:10>/<hex:16>"}`, faults: []faultSpec{{.01, "ThrottlingException", throttled}}},
		{key: "elbv2.DescribeTags", run: 2, params: `{"resourceArns":[<rep:1:20>"arn:aws:elasticloadbalancing:<region>:<account>:loadbalancer/<another:lb>"</rep>]}`},
		{key: "elbv2.RegisterTargets", write: true, params: `{"targetGroupArn":"arn:aws:elasticloadbalancing:<region>:<account>:targetgroup/k8s-<app>-<hex:10>/<hex:16>","targets":[{"id":"<privateip>","port":8080,"availabilityZone":"<region>a"}]}`},
		{key: "elbv2.DeregisterTargets", write: true, params: `{"targetGroupArn":"arn:aws:elasticloadbalancing:<region>:<account>:targetgroup/k8s-<app>-<hex:10>/<hex:16>","targets":[{"id":"<privateip>","port":8080,"availabilityZone":"<region>a"}]}`},
		{key: "autoscaling.DescribeAutoScalingGroups", run: 2, params: `{"autoScalingGroupNames":[<rep:1:16>"<another:asg>"</rep>],"maxRecords":100}`},
		{key: "autoscaling.DescribeAutoScalingInstances", params: `{"instanceIds":[<rep:1:40>"<another:instance>"</rep>]}`},
		{key: "autoscaling.SetDesiredCapacity", write: true, params: `{"autoScalingGroupName":"<asg>","desiredCapacity":<int:2:30>,"honorCooldown":false}`},
		{key: "autoscaling.ServiceEvent", name: "InstanceRefreshStateChange", write: true, eventType: "AwsServiceEvent", details: `{"autoScalingGroupName":"<asg>","instanceRefreshId":"<uuid>","status":"InProgress"}`, host: "-"},

		// Observability
		{key: "cloudwatch.GetMetricData", run: 4, params: `{"startTime":"<isoago>","endTime":"<iso>","scanBy":"TimestampDescending","maxDatapoints":100800,"metricDataQueries":[<rep:1:6>{"id":"m<hex:6>","metricStat":{"metric":{"namespace":"AWS/<one:ApplicationELB|Lambda|SQS|RDS|DynamoDB>","metricName":"<one:RequestCount|Errors|Duration|CPUUtilization|ApproximateNumberOfMessagesVisible>","dimensions":[{"name":"<one:LoadBalancer|FunctionName|QueueName>","value":"<another:function>"}]},"period":60,"stat":"<one:Sum|Average|p99>"},"returnData":true}</rep>]}`, faults: []faultSpec{{.008, "ThrottlingException", throttled}}},
		{key: "cloudwatch.GetMetricStatistics", run: 4, params: `{"namespace":"AWS/<one:RDS|SQS|EBS>","metricName":"<one:CPUUtilization|NumberOfMessagesSent|VolumeQueueLength>","dimensions":[{"name":"DBInstanceIdentifier","value":"<db>"}],"startTime":"<isoago>","endTime":"<iso>","period":60,"statistics":["Average","Maximum"]}`},
		{key: "cloudwatch.ListMetrics", run: 5, params: `{"namespace":"AWS/<one:ApplicationELB|Lambda|SQS|RDS>","nextToken":"<b64:300>"}`},
		{key: "cloudwatch.DescribeAlarms", params: `{"stateValue":"ALARM","maxRecords":100}`},
		{key: "cloudwatch.PutMetricData", write: true, run: 3, params: `{"namespace":"AWS/RDS"}`},
		{key: "logs.CreateLogStream", write: true, params: `{"logGroupName":"/aws/lambda/<function>","logStreamName":"<dayslash>/[$LATEST]<hex:32>"}`, faults: []faultSpec{{.05, "ResourceAlreadyExistsException", "The specified log stream already exists"}}},
		{key: "logs.DescribeLogGroups", params: `{"logGroupNamePrefix":"/aws/lambda/<function>","limit":50}`},
		{key: "logs.FilterLogEvents", params: `{"logGroupName":"<loggroup>","startTime":<ms>,"endTime":<ms>,"filterPattern":"?ERROR ?Exception","limit":100,"interleaved":true}`},
		{key: "logs.StartQuery", write: true, params: `{"logGroupNames":["<loggroup>"],"startTime":<ms>,"endTime":<ms>,"queryString":"fields @timestamp, @message, @logStream | filter @message like /(?i)(exception|timeout)/ | stats count(*) by bin(5m) | sort @timestamp desc | limit 200"}`, response: `{"queryId":"<uuid>"}`},
		{key: "logs.GetQueryResults", run: 3, params: `{"queryId":"<uuid>"}`},
		{key: "tagging.GetResources", run: 3, params: `{"resourcesPerPage":100,"resourceTypeFilters":["<one:ec2:instance|rds:db|lambda:function|sqs>"],"tagFilters":[{"key":"team"}],"paginationToken":"<b64:180>"}`},
		{key: "health.DescribeEventAggregates", run: 1.2, params: `{"aggregateField":"eventTypeCategory","filter":{"eventStatusCodes":["open","upcoming"],"startTimes":[{"from":"<date>"}]}}`},
		{key: "notifications.ListNotificationHubs", params: ``},
		{key: "ce.GetCostAndUsage", run: 2, params: `{"timePeriod":{"start":"<dayago>","end":"<day>"},"granularity":"DAILY","metrics":["UnblendedCost"],"groupBy":[{"type":"DIMENSION","key":"SERVICE"}]}`},

		// Data platform
		{key: "glue.GetTable", run: 2, params: `{"databaseName":"<app>_lake","name":"<one:events|orders|clicks|invoices>"}`},
		{key: "glue.GetPartitions", run: 3, params: `{"databaseName":"<app>_lake","tableName":"<one:events|orders|clicks|invoices>","expression":"(dt = '<day>')","maxResults":1000,"nextToken":"<b64:340>"}`},
		{key: "glue.GetDatabase", params: `{"name":"<app>_lake"}`},
		{key: "athena.StartQueryExecution", write: true, params: `{"queryString":"SELECT eventname, count(*) AS n FROM <app>_lake.events WHERE dt = '<day>' AND recipientaccountid = '<account>' GROUP BY 1 ORDER BY 2 DESC LIMIT 100","clientRequestToken":"<uuid>","queryExecutionContext":{"database":"<app>_lake","catalog":"AwsDataCatalog"},"resultConfiguration":{"outputLocation":"s3://<bucket>/athena/"},"workGroup":"<env>"}`, response: `{"queryExecutionId":"<uuid>"}`},
		{key: "athena.GetQueryExecution", run: 4, params: `{"queryExecutionId":"<uuid>"}`},
		{key: "rds.DescribeDBInstances", params: `{"dBInstanceIdentifier":"<db>"}`, faults: []faultSpec{{.02, "DBInstanceNotFoundFault", "DBInstance <db> not found."}}},

		// Identity
		{key: "iam.ListUsers", params: `{"maxItems":1000}`},
		{key: "iam.ListRoles", run: 2, params: `{"maxItems":1000,"marker":"<b64:240>"}`},
		{key: "iam.GetRole", run: 4, params: `{"roleName":"<role>"}`, faults: []faultSpec{{.03, "NoSuchEntityException", "The role with name <role> cannot be found."}}},
		{key: "iam.ListAttachedRolePolicies", run: 4, params: `{"roleName":"<role>"}`},
		{key: "iam.ListRolePolicies", run: 4, params: `{"roleName":"<role>"}`},
		{key: "iam.GetPolicyVersion", run: 4, params: `{"policyArn":"arn:aws:iam::<account>:policy/<app>-access","versionId":"v<int:1:9>"}`},
		{key: "iam.ListAccessKeys", run: 3, params: `{"userName":"<user>"}`},
		{key: "iam.GetAccessKeyLastUsed", run: 3, params: `{"accessKeyId":"AKIA<up:9>EXAMPLE"}`},
		{key: "iam.GetAccountPasswordPolicy", faults: []faultSpec{{.1, "NoSuchEntityException", "The Password Policy with domain name <account> cannot be found."}}},
		{key: "iam.GenerateCredentialReport", params: ``},
		{key: "iam.GetAccountSummary", params: ``},
		{key: "iam.CreateRole", write: true, params: `{"path":"/","roleName":"<env>-<app>-task-<hex:6>","assumeRolePolicyDocument":"{\"Statement\":[{\"Action\":\"sts:AssumeRole\",\"Effect\":\"Allow\",\"Principal\":{\"Service\":\"ecs-tasks.amazonaws.com\"}}],\"Version\":\"2012-10-17\"}","description":"","maxSessionDuration":3600,"tags":[{"key":"team","value":"<app>"}]}`, response: `{"role":{"path":"/","roleName":"<env>-<app>-task-<hex:6>","roleId":"AROA<up:10>EXAMPLE","arn":"arn:aws:iam::<account>:role/<env>-<app>-task-<hex:6>","createDate":"<date>","assumeRolePolicyDocument":"%7B%22Statement%22%3A%5B%7B%22Action%22%3A%22sts%3AAssumeRole%22%2C%22Effect%22%3A%22Allow%22%2C%22Principal%22%3A%7B%22Service%22%3A%22ecs-tasks.amazonaws.com%22%7D%7D%5D%2C%22Version%22%3A%222012-10-17%22%7D"}}`},
		{key: "iam.AttachRolePolicy", write: true, params: `{"roleName":"<env>-<app>-task-<hex:6>","policyArn":"arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"}`},
		{key: "iam.PutRolePolicy", write: true, params: `{"roleName":"<role>","policyName":"access","policyDocument":"{\"Statement\":[{\"Action\":[\"s3:GetObject\",\"s3:PutObject\",\"s3:ListBucket\"],\"Effect\":\"Allow\",\"Resource\":[\"arn:aws:s3:::<bucket>\",\"arn:aws:s3:::<bucket>/*\"]},{\"Action\":[\"kms:Decrypt\",\"kms:GenerateDataKey\"],\"Effect\":\"Allow\",\"Resource\":\"<kms>\"},{\"Action\":\"secretsmanager:GetSecretValue\",\"Effect\":\"Allow\",\"Resource\":\"<secret>\"}],\"Version\":\"2012-10-17\"}"}`},
		{key: "sts.GetCallerIdentity", params: ``},
		{key: "sts.AssumeRole"}, // written by sessionBegins
		{key: "organizations.ListAccounts", run: 2, params: ``},
		{key: "organizations.DescribeOrganization", params: ``},
		{key: "signin.ConsoleLogin", write: true, eventType: "AwsConsoleSignIn", response: `{"ConsoleLogin":"Success"}`, additional: `{"MobileVersion":"No","MFAUsed":"No"}`},
		{key: "signin.CredentialVerification", write: true, eventType: "AwsServiceEvent", additional: `{"AuthWorkflowID":"<uuid>","UserName":"HIDDEN_DUE_TO_SECURITY_REASONS","CredentialType":"<one:WEBAUTHN|TOTP|PASSWORD>"}`, details: `{"CredentialVerification":"Success"}`},
		{key: "signin.UserAuthentication", write: true, eventType: "AwsServiceEvent", additional: `{"AuthWorkflowID":"<uuid>","LoginTo":"https://example.awsapps.com/start/?workflowResultHandle=<uuid>","CredentialType":"WEBAUTHN"}`, details: `{"UserAuthentication":"Success"}`},
		{key: "sso.Authenticate", write: true, eventType: "AwsServiceEvent", details: `{"userId":"<uuid>"}`},
		{key: "sso.Federate", write: true, eventType: "AwsServiceEvent", details: `{"role_name":"<one:PowerUserAccess|ViewOnlyAccess|AdministratorAccess>","account_id":"<other>"}`},

		// Infrastructure and security services
		{key: "cloudformation.DescribeStacks", run: 3, params: `{"stackName":"<stack>"}`, faults: []faultSpec{{.04, "ValidationException", "Stack with id <stack> does not exist"}}},
		{key: "cloudformation.DescribeStackEvents", run: 5, params: `{"stackName":"arn:aws:cloudformation:<region>:<account>:stack/<stack>/<uuid>"}`},
		{key: "cloudformation.CreateStack", write: true, params: `{"stackName":"<stack>","templateURL":"https://<bucket>.s3.<region>.amazonaws.com/<app>/<hex:40>.template","capabilities":["CAPABILITY_IAM","CAPABILITY_NAMED_IAM"],"parameters":[<rep:2:14>{"parameterKey":"<another:app>","parameterValue":"****"}</rep>],"tags":[{"key":"team","value":"<app>"}]}`, response: `{"stackId":"arn:aws:cloudformation:<region>:<account>:stack/<stack>/<uuid>"}`},
		{key: "config.PutEvaluations", write: true, run: 3, params: `{"evaluations":[<rep:1:40>{"complianceResourceType":"AWS::EC2::Volume","complianceResourceId":"<another:volume>","complianceType":"<one:COMPLIANT|COMPLIANT|COMPLIANT|NON_COMPLIANT>","orderingTimestamp":"<date>"}</rep>],"resultToken":"<b64:420>","testMode":false}`, response: `{"failedEvaluations":[]}`},
		{key: "config.DescribeConfigRules", params: `{"configRuleNames":[]}`},
		{key: "cloudtrail.DescribeTrails", params: `{"trailNameList":[],"includeShadowTrails":true}`},
		{key: "cloudtrail.GetTrailStatus", params: `{"name":"arn:aws:cloudtrail:us-east-1:123456789012:trail/organization-trail"}`},
		{key: "cloudtrail.LookupEvents", run: 3, params: `{"maxResults":50,"lookupAttributes":[{"attributeKey":"EventName","attributeValue":"<one:ConsoleLogin|RunInstances|DeleteBucket>"}]}`},
		{key: "guardduty.ListDetectors", params: ``},
		{key: "guardduty.ListFindings", run: 2, params: `{"detectorId":"<hex:32>","findingCriteria":{"criterion":{"service.archived":{"eq":["false"]},"severity":{"gte":4}}},"maxResults":50}`},
		{key: "guardduty.GetFindings", run: 2, params: `{"detectorId":"<hex:32>","findingIds":[<rep:1:30>"<hex:32>"</rep>]}`},
		{key: "securityhub.GetFindings", run: 3, params: `{"Filters":{"RecordState":[{"Value":"ACTIVE","Comparison":"EQUALS"}],"WorkflowStatus":[{"Value":"NEW","Comparison":"EQUALS"}],"SeverityLabel":[{"Value":"HIGH","Comparison":"EQUALS"},{"Value":"CRITICAL","Comparison":"EQUALS"}]},"MaxResults":100}`},
		{key: "backup.StartBackupJob", write: true, params: `{"backupVaultName":"<env>-vault","resourceArn":"arn:aws:ec2:<region>:<account>:volume/<volume>","iamRoleArn":"arn:aws:iam::<account>:role/service-role/AWSBackupDefaultServiceRole","idempotencyToken":"<uuid>","lifecycle":{"deleteAfterDays":35}}`, response: `{"backupJobId":"<uuid>","creationDate":"<date>"}`},
		{key: "backup.BackupJobCompleted", write: true, eventType: "AwsServiceEvent", details: `{"backupJobId":"<uuid>","backupVaultArn":"arn:aws:backup:<region>:<account>:backup-vault:<env>-vault","resourceArn":"arn:aws:ec2:<region>:<account>:volume/<volume>","state":"COMPLETED"}`, host: "-"},
		{key: "route53.ListHostedZones", params: `{"maxItems":100}`},
		{key: "route53.ListResourceRecordSets", run: 3, params: `{"hostedZoneId":"Z<up:13>EXAMPLE","maxItems":300,"name":"<app>.example.com.","type":"A"}`, faults: []faultSpec{{.01, "ThrottlingException", throttled}}},
		{key: "route53.ChangeResourceRecordSets", write: true, params: `{"hostedZoneId":"Z<up:13>EXAMPLE","changeBatch":{"changes":[<rep:1:6>{"action":"UPSERT","resourceRecordSet":{"name":"<another:app>.example.com","type":"A","aliasTarget":{"hostedZoneId":"Z<up:13>EXAMPLE","dNSName":"<hex:10>.<region>.elb.amazonaws.com","evaluateTargetHealth":true}}}</rep>]}}`, response: `{"changeInfo":{"id":"/change/C<up:20>","status":"PENDING","submittedAt":"<date>"}}`},
	}
}

func newCalls() (map[string]*call, error) {
	calls := map[string]*call{}
	for _, s := range specs() {
		c, err := newCall(s)
		if err != nil {
			return nil, fmt.Errorf("call %s: %w", s.key, err)
		}
		if calls[s.key] != nil {
			return nil, fmt.Errorf("call %s: twice in the catalogue", s.key)
		}
		calls[s.key] = c
	}
	return calls, nil
}

func newCall(s spec) (*call, error) {
	prefix, name, _ := strings.Cut(s.key, ".")
	sv, ok := services[prefix]
	if !ok {
		return nil, fmt.Errorf("no such service")
	}
	if s.name != "" {
		name = s.name
	}
	either := func(a, b string) string {
		if a != "" {
			return a
		}
		return b
	}
	short := either(sv.short, prefix)
	c := &call{
		service: short, source: either(sv.source, short+".amazonaws.com"), name: name, version: either(s.version, either(sv.version, "1.11")),
		apiVersion: sv.apiVersion, readOnly: !s.write, global: sv.global, request: sv.request,
		category: either(s.category, "Management"), eventType: either(s.eventType, "AwsApiCall"), via: s.via, shared: s.shared, endpoint: sv.endpoint,
	}
	if s.data {
		c.category = "Data"
	}
	mean := 1.6 * s.run
	if mean == 0 {
		mean = 1.6
	}
	c.stretch = 1 / math.Log(1-1/mean)
	host := either(s.host, either(sv.host, short+".<region>.amazonaws.com"))
	if host == "-" {
		host = ""
	}
	var err error
	for _, part := range []struct {
		text string
		to   *template
	}{{host, &c.host}, {s.params, &c.params}, {s.response, &c.response}, {s.additional, &c.additional}, {s.resources, &c.resources}, {s.details, &c.details}} {
		if part.text == "" {
			continue
		}
		if *part.to, err = compile(part.text); err != nil {
			return nil, err
		}
	}
	faults := s.faults
	if c.category == "Management" && c.eventType == "AwsApiCall" {
		code := "AccessDenied"
		switch short {
		case "ec2":
			code = "Client.UnauthorizedOperation"
		case "kms", "lambda", "ecs", "dynamodb", "secretsmanager", "organizations", "athena", "glue":
			code = "AccessDeniedException"
		}
		message := denied
		if short == "ec2" {
			message = "You are not authorized to perform this operation. " + denied + ". Encoded authorization failure message: <b64:620>"
		}
		faults = append(faults[:len(faults):len(faults)], faultSpec{.006, code, message}, faultSpec{.006, "ThrottlingException", throttled})
	}
	for _, f := range faults {
		message, err := compile(f.message)
		if err != nil {
			return nil, err
		}
		c.faults = append(c.faults, fault{f.rate, f.code, message})
	}
	return c, nil
}
