package sample

import (
	"fmt"
	"strconv"
	"strings"
)

// actorKind decides the shape of userIdentity and of the record that begins a session.
type actorKind int

const (
	byUser     actorKind = iota // IAM user with long-term keys
	byInstance                  // role of EC2 instances
	byFunction                  // role of a Lambda function
	byTask                      // role of ECS tasks
	byPod                       // role of a Kubernetes service account, through OIDC
	byJob                       // role of CI jobs, through OIDC
	byPerson                    // IAM Identity Center permission set
	byRole                      // role assumed by another actor, or by an outside account
	byLinked                    // service-linked role
	byService                   // a service itself
	byInternal                  // service events
	byCenter                    // people signing in to the IAM Identity Center portal
	byNobody                    // unauthenticated requests
)

// precedence orders the beginnings of sessions by how much they tell.
func (k actorKind) precedence() int {
	switch k {
	case byJob, byRole:
		return 0
	case byPerson:
		return 1
	case byPod:
		return 2
	}
	return 3
}

// network is where an actor's requests come from.
type network int

const (
	netVPC     network = iota // private address through a VPC endpoint, or the account's NAT address
	netLambda                 // a public address of the service
	netPeople                 // office, or home
	netCI                     // hosted runners
	netVendor                 // the monitoring vendor
	netService                // the service's name in place of an address
)

type actor struct {
	seed      uint64
	kind      actorKind
	account   *account
	name      string // role or user name
	path      string // of the role, with both slashes
	principal string // AROA… or AIDA…
	arn       string // of the role
	sessions  []string
	life      int64 // seconds that a session lasts, 0 when there are none
	home      string
	rate      map[string]float64 // calls an hour, by Region
	rhythm    rhythm
	mix       *mix
	agents    []template
	net       network
	service   string // that calls: of linked roles, services, and of functions and tasks the one that hands out sessions
	caller    *actor // who assumes a byRole; nil when an outside account does
	issuer    string // OIDC provider

	consoleOnly bool // people that never use the command line
}

func (a *actor) session(inst int) string {
	if len(a.sessions) == 0 {
		return a.name
	}
	return a.sessions[inst%len(a.sessions)]
}

// people work in the organisation. They are letters of the alphabet, not persons.
var people = []string{"ana", "ben", "chloe", "dina", "emil", "fay", "goran", "hana", "ivo", "june", "kofi", "lena", "milo", "nina", "otto", "pia"}

const (
	ciIssuer  = "token.actions.githubusercontent.com"
	podIssuer = "oidc.eks.us-east-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE"
)

// The mixes of calls, by what does them.
var mixes = map[string]string{
	"web": `s3.GetObject=16 s3.PutObject=5 s3.HeadObject=4 dynamodb.GetItem=10 dynamodb.Query=6 dynamodb.PutItem=5
		dynamodb.UpdateItem=4 kms.DecryptForS3=9 kms.GenerateDataKeyForS3=5 secretsmanager.GetSecretValue=1 kms.DecryptForSecrets=1
		ssm.UpdateInstanceInformation=9 ssm.ListInstanceAssociations=2 ssm.GetParameter=2 sqs.GetQueueUrl=1 ec2.DescribeTags=1`,
	"node": `ecr.GetAuthorizationToken=9 ecr.BatchGetImage=8 ecr.GetDownloadUrlForLayer=10 ecr.BatchCheckLayerAvailability=5
		ec2.DescribeInstances=7 ec2.DescribeInstanceTypes=2 ec2.DescribeNetworkInterfaces=5 ec2.AssignPrivateIpAddresses=2
		ec2.CreateNetworkInterface=1 ec2.AttachNetworkInterface=1 ec2.DeleteNetworkInterface=1 eks.DescribeCluster=2 ssm.UpdateInstanceInformation=5 ec2.DescribeVolumes=2`,
	"batch": `s3.ListObjects=6 s3.GetObject=26 s3.PutObject=10 s3.DeleteObject=1 glue.GetTable=7 glue.GetPartitions=8 glue.GetDatabase=2
		athena.StartQueryExecution=2 athena.GetQueryExecution=4 kms.DecryptForS3=10 kms.GenerateDataKeyForS3=5`,
	"function": `dynamodb.GetItem=16 dynamodb.PutItem=9 dynamodb.UpdateItem=6 dynamodb.Query=5 s3.GetObject=8 s3.PutObject=4 lambda.Invoke=9
		logs.CreateLogStream=11 kms.DecryptForLambda=8 secretsmanager.GetSecretValue=2 kms.DecryptForSecrets=2 ssm.GetParameter=3 sqs.GetQueueUrl=1 events.PutRule=0.02`,
	"task": `s3.GetObject=14 s3.PutObject=6 dynamodb.GetItem=8 dynamodb.Query=4 secretsmanager.GetSecretValue=3 kms.DecryptForSecrets=3
		logs.CreateLogStream=5 ecr.GetAuthorizationToken=3 ecr.BatchGetImage=3 kms.DecryptForS3=4 ssm.GetParametersByPath=2 cloudmap.DiscoverInstances=6`,
	"autoscaler": `autoscaling.DescribeAutoScalingGroups=20 autoscaling.DescribeAutoScalingInstances=10 ec2.DescribeLaunchTemplateVersions=8
		ec2.DescribeInstanceTypes=5 ec2.DescribeImages=2 eks.DescribeNodegroup=4 autoscaling.SetDesiredCapacity=0.3`,
	"balancer": `elbv2.DescribeLoadBalancers=14 elbv2.DescribeTargetGroups=12 elbv2.DescribeTargetHealth=24 elbv2.DescribeTags=10
		ec2.DescribeSecurityGroups=6 ec2.DescribeSubnets=5 ec2.DescribeInstances=4 elbv2.RegisterTargets=2 elbv2.DeregisterTargets=2`,
	"dns": `route53.ListHostedZones=5 route53.ListResourceRecordSets=30 route53.ChangeResourceRecordSets=0.5`,
	"config": `config.PutEvaluations=5 config.DescribeConfigRules=3 ec2.DescribeVolumes=6 ec2.DescribeSecurityGroups=6 ec2.DescribeNetworkInterfaces=6
		ec2.DescribeInstances=5 ec2.DescribeSubnets=4 ec2.DescribeVpcs=3 s3.GetBucketPolicy=7 s3.GetBucketAcl=7 s3.GetBucketEncryption=6
		s3.GetBucketVersioning=5 s3.GetBucketPublicAccessBlock=6 s3.GetBucketTagging=5 iam.ListAttachedRolePolicies=5 iam.GetRole=6
		iam.ListRolePolicies=4 iam.GetPolicyVersion=3 iam.ListUsers=1 lambda.ListFunctions=3 lambda.GetFunctionConfiguration=6 rds.DescribeDBInstances=2
		kms.DescribeKey=4 kms.GetKeyRotationStatus=4 kms.GetKeyPolicy=3 cloudtrail.DescribeTrails=1 cloudtrail.GetTrailStatus=1 logs.DescribeLogGroups=2`,
	"audit": `ec2.DescribeInstances=8 ec2.DescribeSecurityGroups=8 ec2.DescribeVolumes=6 ec2.DescribeSnapshots=5 ec2.DescribeImages=3 ec2.DescribeSubnets=4
		ec2.DescribeVpcs=3 ec2.DescribeRegions=1 s3.ListBuckets=1 s3.GetBucketPolicy=9 s3.GetBucketAcl=9 s3.GetBucketEncryption=8 s3.GetBucketVersioning=7
		s3.GetBucketPublicAccessBlock=8 s3.GetBucketLogging=7 s3.GetBucketTagging=5 iam.ListUsers=2 iam.ListRoles=2 iam.GetRole=12 iam.ListAttachedRolePolicies=12
		iam.ListRolePolicies=9 iam.GetPolicyVersion=9 iam.ListAccessKeys=4 iam.GetAccountPasswordPolicy=1 iam.GenerateCredentialReport=1 iam.GetAccountSummary=1
		lambda.ListFunctions=2 lambda.GetPolicy=7 rds.DescribeDBInstances=2 kms.ListKeys=1 kms.GetKeyPolicy=6 kms.GetKeyRotationStatus=6
		cloudtrail.DescribeTrails=2 cloudtrail.GetTrailStatus=2 secretsmanager.ListSecrets=1 elbv2.DescribeLoadBalancers=2 guardduty.ListDetectors=2 logs.DescribeLogGroups=3`,
	"monitoring": `cloudwatch.GetMetricData=60 cloudwatch.ListMetrics=12 ec2.DescribeInstances=5 rds.DescribeDBInstances=3 elbv2.DescribeLoadBalancers=3
		tagging.GetResources=9 lambda.ListFunctions=2 sqs.ListQueues=2 autoscaling.DescribeAutoScalingGroups=2 dynamodb.ListTables=1 s3.ListBuckets=0.3`,
	"terraform": `sts.GetCallerIdentity=4 ec2.DescribeSecurityGroups=9 ec2.DescribeSubnets=6 ec2.DescribeVpcs=6 ec2.DescribeVpcAttribute=8 iam.GetRole=14
		iam.ListRolePolicies=10 iam.ListAttachedRolePolicies=10 iam.GetPolicyVersion=8 s3.HeadBucket=5 s3.GetBucketPolicy=6 s3.GetBucketAcl=6
		s3.GetBucketEncryption=6 s3.GetBucketVersioning=6 s3.GetBucketTagging=6 lambda.GetFunction=9 elbv2.DescribeLoadBalancers=4 elbv2.DescribeTags=5
		elbv2.DescribeTargetGroups=5 kms.DescribeKey=6 route53.ListResourceRecordSets=4 dynamodb.GetItem=3 dynamodb.PutItem=2 s3.GetObject=2 s3.PutObject=1
		ecs.RegisterTaskDefinition=1 ecs.UpdateService=1.2 ecs.DescribeServices=3 lambda.UpdateFunctionCode=1.2 lambda.UpdateFunctionConfiguration=0.4
		iam.CreateRole=0.15 iam.AttachRolePolicy=0.15 iam.PutRolePolicy=0.2 ec2.AuthorizeSecurityGroupIngress=0.3 ec2.RevokeSecurityGroupIngress=0.1
		s3.CreateBucket=0.05 cloudformation.CreateStack=0.3 cloudformation.DescribeStacks=4 cloudformation.DescribeStackEvents=4 ecr.PutImage=1 ecr.GetAuthorizationToken=1`,
	"person": `ec2.DescribeInstances=9 ec2.DescribeSecurityGroups=3 ec2.DescribeVolumes=2 ec2.DescribeRegions=3 cloudwatch.GetMetricData=9 cloudwatch.DescribeAlarms=5
		logs.DescribeLogGroups=5 logs.FilterLogEvents=4 logs.StartQuery=3 logs.GetQueryResults=6 s3.ListBuckets=3 s3.GetBucketTagging=2 s3.ListObjects=2
		iam.ListRoles=1 iam.GetRole=1 lambda.ListFunctions=3 lambda.GetFunction=2 ecs.DescribeServices=4 ecs.ListClusters=3 rds.DescribeDBInstances=2
		cloudformation.DescribeStacks=3 secretsmanager.ListSecrets=0.5 secretsmanager.GetSecretValue=0.2 ssm.StartSession=0.4 signin.ConsoleLogin=0.8
		health.DescribeEventAggregates=6 ce.GetCostAndUsage=2 ec2.StopInstances=0.1 ec2.StartInstances=0.1 cloudtrail.LookupEvents=1.5 notifications.ListNotificationHubs=3 tagging.GetResources=2`,
	"viewer": `ec2.DescribeInstances=9 cloudwatch.GetMetricData=12 cloudwatch.DescribeAlarms=6 logs.DescribeLogGroups=4 s3.ListBuckets=3 signin.ConsoleLogin=1
		health.DescribeEventAggregates=8 ce.GetCostAndUsage=3 rds.DescribeDBInstances=3 ecs.DescribeServices=4 secretsmanager.GetSecretValue=0.05 notifications.ListNotificationHubs=4`,
	"billing": `ce.GetCostAndUsage=10 organizations.ListAccounts=2 organizations.DescribeOrganization=2 signin.ConsoleLogin=1 health.DescribeEventAggregates=2`,
	"hunter": `athena.StartQueryExecution=9 athena.GetQueryExecution=20 s3.GetObject=20 s3.ListObjects=6 glue.GetTable=9 glue.GetPartitions=5 guardduty.ListFindings=9 guardduty.GetFindings=8
		securityhub.GetFindings=9 cloudtrail.LookupEvents=9 signin.ConsoleLogin=1 organizations.ListAccounts=2`,
	"scaling": `ec2.RunInstances=4 ec2.TerminateInstances=4 ec2.DescribeInstances=6 elbv2.RegisterTargets=4 elbv2.DeregisterTargets=4 ec2.DescribeInstanceStatus=14 ec2.CreateTags=3`,
	"ecs": `elbv2.RegisterTargets=6 elbv2.DeregisterTargets=6 elbv2.DescribeTargetHealth=30 ec2.CreateNetworkInterface=8 ec2.DeleteNetworkInterface=8 ec2.DescribeNetworkInterfaces=10
		cloudmap.RegisterInstance=5 ec2.AttachNetworkInterface=6`,
	"database": `ec2.DescribeSecurityGroups=4 ec2.DescribeSubnets=3 ec2.DescribeVpcAttribute=3 cloudwatch.PutMetricData=12 ec2.DescribeInternetGateways=2 kms.CreateGrant=0.5`,
	"backup":   `ec2.CreateSnapshot=10 ec2.DescribeSnapshots=12 ec2.CreateTags=10 ec2.CopySnapshot=3 ec2.ShareSnapshotInside=1 ec2.DescribeVolumes=6 ec2.DeleteSnapshot=5 rds.DescribeDBInstances=2 backup.StartBackupJob=3`,
	"delivery": `s3.PutLogFile=60 s3.GetBucketAclByService=6 kms.GenerateDataKeyForTrail=20`,
	"services": `kms.GenerateDataKeyByService=12 kms.DecryptByService=20 sns.PublishByService=3 lambda.InvokeByService=14`,
	"events":   `kms.RotateKey=1 ec2.BidEvictedEvent=3 backup.BackupJobCompleted=8 autoscaling.ServiceEvent=5 ecs.ServiceTaskEvent=6`,
	"portal":   `sso.Authenticate=3 signin.CredentialVerification=3 signin.UserAuthentication=3 sso.Federate=4`,
	"exporter": `cloudwatch.GetMetricData=60 cloudwatch.ListMetrics=20 cloudwatch.GetMetricStatistics=30 tagging.GetResources=8`,
	"transfer": `s3.ListObjects=10 s3.GetObject=20 s3.PutObject=20 s3.HeadObject=8`,
	"cideploy": `sts.GetCallerIdentity=4 s3.PutObject=20 s3.ListObjects=6 ecr.GetAuthorizationToken=5 ecr.PutImage=3 lambda.UpdateFunctionCode=5 cloudformation.DescribeStacks=12 cloudformation.CreateStack=1 ecs.UpdateService=3 ecs.DescribeServices=9`,
	"rotation": `iam.ListAccessKeys=6 iam.GetAccessKeyLastUsed=6 iam.ListUsers=2`,
	"endpoint": `kms.DecryptDeniedAtEndpoint=1 secretsmanager.DeniedAtEndpoint=1`,
	"public":   `s3.GetObject=1`,
}

// The agents, by kind of client.
var agentLists = map[string][]string{
	"go":      {"aws-sdk-go-v2/1.36.3 ua/2.1 os/linux lang/go#1.24.2 md/GOOS#linux md/GOARCH#arm64 api/<service>#1.58.2 m/E,Z", "aws-sdk-go-v2/1.32.7 os/linux lang/go#1.22.9 md/GOOS#linux md/GOARCH#amd64 api/<service>#1.48.1"},
	"java":    {"aws-sdk-java/2.31.20 md/io#async md/http#NettyNio ua/2.1 api/<service>#2.31.x os/Linux#6.1.131-143.221 lang/java#21.0.6 m/D,N", "aws-sdk-java/1.12.782 Linux/5.10.235-227.919.amzn2.x86_64 OpenJDK_64-Bit_Server_VM/17.0.14 java/17.0.14 cfg/retry-mode/legacy"},
	"lambda":  {"Boto3/1.37.30 md/Botocore#1.37.30 ua/2.1 os/linux#5.10.234-254.918.amzn2.x86_64 md/arch#x86_64 lang/python#3.12.9 exec-env/AWS_Lambda_python3.12 m/b,Z Botocore/1.37.30", "aws-sdk-js/3.787.0 ua/2.1 os/linux#5.10.234-254.918.amzn2.aarch64 lang/js md/nodejs#20.19.0 api/<service>#3.787.0 exec-env/AWS_Lambda_nodejs20.x m/E,n"},
	"tasks":   {"aws-sdk-java/2.30.38 md/io#sync md/http#Apache ua/2.1 api/<service>#2.30.x os/Linux#5.10.233-224.894.amzn2.x86_64 lang/java#21.0.6 exec-env/AWS_ECS_FARGATE m/D,z", "aws-sdk-js/3.774.0 ua/2.1 os/linux#5.10.233-224.894.amzn2.x86_64 lang/js md/nodejs#22.14.0 api/<service>#3.774.0 exec-env/AWS_ECS_FARGATE m/E"},
	"boto":    {"Boto3/1.36.26 md/Botocore#1.36.26 ua/2.0 os/linux#6.1.129-138.220.amzn2023.x86_64 lang/python#3.11.11 cfg/retry-mode#adaptive Botocore/1.36.26"},
	"tf":      {"APN/1.0 HashiCorp/1.0 Terraform/1.11.4 (+https://www.terraform.io) terraform-provider-aws/5.94.1 (+https://registry.terraform.io/providers/hashicorp/aws) aws-sdk-go-v2/1.36.3 ua/2.1 os/linux lang/go#1.23.8 md/GOOS#linux md/GOARCH#amd64 api/<service>#1.210.1 m/b,g"},
	"ci":      {"aws-cli/2.25.14 md/awscrt#0.25.4 ua/2.1 os/linux#6.11.0-1012-azure md/arch#x86_64 lang/python#3.12.9 md/pyimpl#CPython m/E,b,Z cfg/retry-mode#standard md/installer#exe md/distrib#ubuntu.24 md/prompt#off md/command#<service>.<action>"},
	"cli":     {"aws-cli/2.25.6 md/awscrt#0.23.8 ua/2.1 os/macos#24.4.0 md/arch#arm64 lang/python#3.12.9 md/pyimpl#CPython m/E,b cfg/retry-mode#standard md/installer#exe md/prompt#off md/command#<service>.<action>", "aws-cli/2.24.20 ua/2.0 os/linux#6.8.0-57-generic md/arch#x86_64 lang/python#3.12.6 md/pyimpl#CPython cfg/retry-mode#standard md/installer#exe md/distrib#ubuntu.22 md/prompt#off md/command#<service>.<action>"},
	"console": {"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/135.0.0.0 Safari/537.36", "Mozilla/5.0 (X11; Linux x86_64; rv:137.0) Gecko/20100101 Firefox/137.0", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/134.0.0.0 Safari/537.36 Edg/134.0.0.0"},
	"vendor":  {"ExampleMonitoring/7.64 aws-sdk-go/1.55.6 (go1.23.6; linux; amd64)"},
	"sftp":    {"example-sftp-bridge/3.2 Botocore/1.29.165 Python/3.9.18 Linux/4.14.355-275.570.amzn2.x86_64"},
}

// populate makes the actors of every account.
func (w *world) populate() error {
	var failed error
	add := func(a *actor, mix string, agents string, rates ...any) *actor {
		a.seed = mix64(w.seed, hashText(a.account.id), hashText(a.name), uint64(a.kind), uint64(len(w.actors)))
		prefix := "AROA"
		if a.kind == byUser {
			prefix = "AIDA"
		}
		a.principal = principalID(prefix, mix64(a.seed, 2))
		if a.path == "" {
			a.path = "/"
		}
		a.arn = "arn:aws:iam::" + a.account.id + ":role" + a.path + a.name
		a.consoleOnly = agents == "console"
		if a.home == "" {
			a.home = globalRegion
		}
		a.rate = map[string]float64{}
		for i := 0; i+1 < len(rates); i += 2 {
			a.rate[rates[i].(string)] = rates[i+1].(float64)
		}
		var err error
		if a.mix, err = w.newMix(mixes[mix]); err != nil && failed == nil {
			failed = fmt.Errorf("%s: %w", mix, err)
		}
		for _, text := range agentLists[agents] {
			t, err := compile(text)
			if err != nil && failed == nil {
				failed = err
			}
			a.agents = append(a.agents, t)
		}
		w.actors = append(w.actors, a)
		return a
	}
	instances := func(a *account, region string, from, n int) []string {
		pool := w.place(a.no, region).pools[kInstance]
		list := make([]string, n)
		for i := range list {
			list[i] = pool[(from+i)%len(pool)]
		}
		return list
	}
	tasks := func(a *account, n int) []string {
		s := newSource(mix64(w.seed, hashText("tasks"), hashText(a.id), uint64(len(w.actors))))
		list := make([]string, n)
		for i := range list {
			list[i] = string(s.chars(nil, digitsHex, 32))
		}
		return list
	}
	everywhere := func(a *account, useast float64) []any {
		var rates []any
		for i, r := range regionsOf(a) {
			rates = append(rates, r, useast*[]float64{1, 0.35, 0.1}[i])
		}
		return rates
	}

	for _, a := range w.accounts {
		workload := a.no != managementAccount && a.no != securityAccount && a.no != logAccount
		if workload {
			add(&actor{kind: byInstance, account: a, name: a.name + "-web", sessions: instances(a, "us-east-1", 0, 60), life: 21600, service: "ec2.amazonaws.com", rhythm: rhythm{shape: traffic}}, "web", "java", "us-east-1", 900.)
			add(&actor{kind: byInstance, account: a, name: a.name + "-web-eu", sessions: instances(a, "eu-west-1", 0, 30), life: 21600, home: "eu-west-1", service: "ec2.amazonaws.com", rhythm: rhythm{shape: traffic}}, "web", "java", "eu-west-1", 350.)
			add(&actor{kind: byInstance, account: a, name: a.name + "-eks-node", sessions: instances(a, "us-east-1", 60, 40), life: 21600, service: "ec2.amazonaws.com", rhythm: rhythm{shape: traffic}}, "node", "go", "us-east-1", 260.)
			add(&actor{kind: byInstance, account: a, name: a.name + "-batch", sessions: instances(a, "us-east-1", 100, 24), life: 21600, service: "ec2.amazonaws.com", rhythm: rhythm{shape: nightly, hour: 2}}, "batch", "boto", "us-east-1", 420.)
			for i, fn := range w.place(a.no, "us-east-1").pools[kFunction] {
				if i == 10 {
					break
				}
				add(&actor{kind: byFunction, account: a, name: a.name + "-" + fn + "-role", path: "/service-role/", sessions: []string{fn}, life: 7200, service: "lambda.amazonaws.com", net: netLambda, rhythm: rhythm{shape: traffic}}, "function", "lambda", "us-east-1", 400./float64(i+1))
			}
			add(&actor{kind: byTask, account: a, name: a.name + "-payments-task", sessions: tasks(a, 40), life: 21600, service: "ecs-tasks.amazonaws.com", rhythm: rhythm{shape: traffic}}, "task", "tasks", "us-east-1", 420.)
			add(&actor{kind: byTask, account: a, name: a.name + "-catalog-task", sessions: tasks(a, 16), life: 21600, home: "eu-west-1", service: "ecs-tasks.amazonaws.com", rhythm: rhythm{shape: traffic}}, "task", "tasks", "eu-west-1", 160.)
			add(&actor{kind: byPod, account: a, name: a.name + "-cluster-autoscaler", issuer: podIssuer, sessions: []string{"1743501121905410532"}, life: 3600}, "autoscaler", "go", "us-east-1", 170.)
			add(&actor{kind: byPod, account: a, name: a.name + "-load-balancer-controller", issuer: podIssuer, sessions: []string{"1743501122000410771"}, life: 3600}, "balancer", "go", "us-east-1", 190.)
			add(&actor{kind: byPod, account: a, name: a.name + "-external-dns", issuer: podIssuer, sessions: []string{"1743501121714293331"}, life: 3600}, "dns", "go", "us-east-1", 70.)
			add(&actor{kind: byJob, account: a, name: "github-terraform", issuer: ciIssuer, sessions: []string{"GitHubActions"}, life: 3600, net: netCI, rhythm: rhythm{shape: office, hour: 1}}, "terraform", "tf", everywhere(a, 150)...)
			add(&actor{kind: byRole, account: a, name: "MonitoringVendorIntegration", sessions: []string{"example-monitoring"}, life: 3600, net: netVendor}, "monitoring", "vendor", everywhere(a, 120)...)
			add(&actor{kind: byPerson, account: a, name: ssoRole(w, a, "PowerUserAccess"), path: ssoPath, sessions: emails(people[2:]), life: 14400, net: netPeople, rhythm: rhythm{shape: office, hour: 1}}, "person", "cli", everywhere(a, 110)...)
			add(&actor{kind: byLinked, account: a, name: "AWSServiceRoleForAutoScaling", path: "/aws-service-role/autoscaling.amazonaws.com/", sessions: []string{"AutoScaling"}, life: 3600, service: "autoscaling.amazonaws.com", net: netService, rhythm: rhythm{shape: traffic}}, "scaling", "", everywhere(a, 40)...)
			add(&actor{kind: byLinked, account: a, name: "AWSServiceRoleForECS", path: "/aws-service-role/ecs.amazonaws.com/", sessions: []string{"ecs-service-scheduler"}, life: 3600, service: "ecs.amazonaws.com", net: netService, rhythm: rhythm{shape: traffic}}, "ecs", "", everywhere(a, 45)...)
			add(&actor{kind: byLinked, account: a, name: "AWSServiceRoleForRDS", path: "/aws-service-role/rds.amazonaws.com/", sessions: []string{"SLRManagement"}, life: 3600, service: "rds.amazonaws.com", net: netService}, "database", "", everywhere(a, 30)...)
			add(&actor{kind: byLinked, account: a, name: "AWSBackupDefaultServiceRole", path: "/service-role/", sessions: []string{"AWSBackup-AWSBackupDefaultServiceRole"}, life: 3600, service: "backup.amazonaws.com", net: netService, rhythm: rhythm{shape: nightly, hour: 5}}, "backup", "", everywhere(a, 18)...)
			if a.no == prodAccount {
				add(&actor{kind: byUser, account: a, name: "metrics-exporter", net: netVPC}, "exporter", "go", "us-east-1", 260., "eu-west-1", 80.)
				add(&actor{kind: byUser, account: a, name: "partner-sftp", net: netVendor}, "transfer", "sftp", "us-east-1", 40.)
				add(&actor{kind: byNobody, account: a, name: "anonymous", net: netPeople}, "public", "console", "us-east-1", 12.)
				add(&actor{kind: byNobody, account: a, name: "endpoint", net: netVPC}, "endpoint", "", "us-east-1", 1.5)
			}
			if a.no == devAccount {
				add(&actor{kind: byUser, account: a, name: leakedUser, net: netCI, rhythm: rhythm{shape: office, hour: 1}}, "cideploy", "ci", "us-east-1", 90.)
			}
		}
		add(&actor{kind: byPerson, account: a, name: ssoRole(w, a, "ViewOnlyAccess"), path: ssoPath, sessions: emails(people), life: 14400, net: netPeople, rhythm: rhythm{shape: office, hour: 1}}, "viewer", "console", everywhere(a, 45)...)
		add(&actor{kind: byPerson, account: a, name: ssoRole(w, a, "AdministratorAccess"), path: ssoPath, sessions: emails(people[:2]), life: 14400, net: netPeople, rhythm: rhythm{shape: office, hour: 1}}, "person", "console", everywhere(a, 15)...)
		add(&actor{kind: byLinked, account: a, name: "AWSServiceRoleForConfig", path: "/aws-service-role/config.amazonaws.com/", sessions: []string{"configLambdaExecution", "AWSConfig-Describe"}, life: 3600, service: "config.amazonaws.com", net: netService}, "config", "", everywhere(a, 260)...)
		add(&actor{kind: byService, account: a, name: "services", net: netService}, "services", "", everywhere(a, 260)...)
		add(&actor{kind: byInternal, account: a, name: "internal", net: netService}, "events", "", everywhere(a, 3)...)
		switch a.no {
		case managementAccount:
			add(&actor{kind: byCenter, account: a, name: "portal", sessions: people, net: netPeople, rhythm: rhythm{shape: office, hour: 1}}, "portal", "console", "us-east-1", 50.)
			add(&actor{kind: byPerson, account: a, name: ssoRole(w, a, "Billing"), path: ssoPath, sessions: emails(people[8:12]), life: 14400, net: netPeople, rhythm: rhythm{shape: office, hour: 1}}, "billing", "console", "us-east-1", 30.)
			add(&actor{kind: byFunction, account: a, name: "key-rotation-check-role", path: "/service-role/", sessions: []string{"key-rotation-check"}, life: 7200, service: "lambda.amazonaws.com", net: netLambda, rhythm: rhythm{cron: true}}, "rotation", "lambda", "us-east-1", 30.)
		case securityAccount:
			add(&actor{kind: byPerson, account: a, name: ssoRole(w, a, "SecurityAnalyst"), path: ssoPath, sessions: emails(people[5:8]), life: 14400, net: netPeople, rhythm: rhythm{shape: office, hour: 1}}, "hunter", "console", "us-east-1", 160.)
		case logAccount:
			add(&actor{kind: byService, account: a, name: "delivery", service: "cloudtrail.amazonaws.com", net: netService}, "delivery", "", everywhere(a, 900)...)
		}
	}
	// The auditor runs in the security account and takes a role in each of the others.
	if len(w.accounts) > securityAccount {
		auditor := add(&actor{kind: byFunction, account: w.accounts[securityAccount], name: "posture-scanner-role", path: "/service-role/", sessions: []string{"posture-scanner"}, life: 7200, service: "lambda.amazonaws.com", net: netLambda, rhythm: rhythm{shape: nightly, hour: 3}}, "audit", "lambda", "us-east-1", 60.)
		for _, a := range w.accounts {
			if a.no == securityAccount {
				continue
			}
			add(&actor{kind: byRole, account: a, name: "SecurityAudit", sessions: []string{"posture-scan"}, life: 3600, net: netLambda, caller: auditor, rhythm: rhythm{shape: nightly, hour: 3}}, "audit", "lambda", everywhere(a, 170)...)
		}
	}
	return failed
}

const ssoPath = "/aws-reserved/sso.amazonaws.com/"

func ssoRole(w *world, a *account, set string) string {
	return "AWSReservedSSO_" + set + "_" + string(appendHex(nil, mix64(w.seed, hashText(a.id), hashText(set)), 16))
}

func emails(logins []string) []string {
	list := make([]string, len(logins))
	for i, l := range logins {
		list[i] = l + "@example.com"
	}
	return list
}

// appendUserID appends the IAM Identity Center id of a person.
func appendUserID(b []byte, login string) []byte {
	h := hashText(login)
	return appendUUID(b, mix64(h, 1), mix64(h, 2))
}

// appendAddress appends where the requests of one session come from; nth is the session's number.
func (g *gen) appendAddress(b []byte, a *actor, inst int, nth int64) []byte {
	h := mix64(a.seed, uint64(inst), 7)
	again := mix64(h, uint64(nth))
	from := func(prefix string, lo, n, h uint64) []byte {
		return strconv.AppendUint(append(b, prefix...), lo+h%n, 10)
	}
	switch a.net {
	case netVPC:
		if g.viaEndpoint {
			b = strconv.AppendInt(cat(b, "10."), int64(a.account.no%200+8), 10)
			b = strconv.AppendUint(append(b, '.'), h%64, 10)
			return strconv.AppendUint(append(b, '.'), 4+h>>8%250, 10)
		}
		return from("198.51.100.", uint64(a.account.no%12)*4+1, 3, h)
	case netLambda:
		return from("198.51.100.", 64, 60, again)
	case netCI:
		if a.kind == byUser {
			return append(b, runnerAddress...)
		}
		return from("198.51.100.", 140, 60, again)
	case netVendor:
		return from("198.51.100.", 200, 6, hashText(a.name))
	case netPeople:
		name, _, _ := strings.Cut(a.session(inst), "@")
		login := hashText(name)
		switch home := again % 10; {
		case home < 6:
			return from("203.0.113.", 10, 3, again)
		case home < 9:
			return from("203.0.113.", 100, 140, login)
		}
		b = appendHex(cat(b, "2001:db8:"), 0x1000+login&0xfff, 4)
		b = appendHex(append(b, ':'), 0x1000+login>>16&0xfff, 4)
		return appendHex(cat(b, "::"), 0x1000+login>>32&0xfff, 4)
	}
	return append(b, a.service...)
}

// runnerAddress is where the user whose key leaks normally works.
const runnerAddress = "198.51.100.131"
