package detect

import (
	"spoor/internal/event"
)

// targetKeys are the request parameters that name what a call was made on, the most telling first.
var targetKeys = [...]string{
	"policyArn", "roleArn", "resourceArn", "resourceARN", "topicArn", "secretId", "keyId", "keyName", "trailName", "bucketName",
	"userName", "roleName", "groupName", "instanceProfileName", "policyName", "functionName", "layerName",
	"dBInstanceIdentifier", "dBClusterIdentifier", "dBSnapshotIdentifier", "dBClusterSnapshotIdentifier", "snapshotId", "imageId",
	"volumeId", "instanceId", "groupId", "networkAclId", "routeTableId", "vpcId", "subnetId", "networkInterfaceId", "internetGatewayId",
	"detectorId", "repositoryName", "clusterName", "cluster", "tableName", "streamName", "queueUrl", "queueName", "stackName",
	"logGroupName", "alarmName", "rule", "domainName", "hostedZoneId", "documentName", "targetKeyId", "serialNumber",
	"sAMLProviderArn", "openIDConnectProviderArn", "certificateArn", "webAclArn", "webACLId", "instanceArn", "accountId", "identityPoolId",
	"userPoolId", "modelId", "guardrailIdentifier", "serviceName", "parameterName", "name", "id", "arn", "resourceId",
}

// targetRank gives the place of a key in targetKeys.
var targetRank = func() map[string]int {
	m := make(map[string]int, len(targetKeys))
	for i, k := range targetKeys {
		m[k] = i
	}
	return m
}()

// maxTargets bounds the targets taken from one event.
const maxTargets = 100

// Target names what the call was made on: the first that targets gives, "" when the record does not tell.
func Target(e *event.Event) string {
	out := ""
	targets(e, func(text string) {
		if out == "" {
			out = text
		}
	})
	return out
}

// targets calls fn with the ARNs of the record's resources, or else with the names that its request parameters give. The
// text may point into the record.
func targets(e *event.Event, fn func(text string)) {
	n := 0
	e.Get(event.Resources).Elements(func(r event.Value) bool {
		r.Members(func(k string, v event.Value) bool {
			if (k == "ARN" || k == "arn") && v.Kind() == event.String && v.Text() != "" {
				fn(v.Text())
				n++
				return false
			}
			return true
		})
		return n < maxTargets
	})
	if n > 0 {
		return
	}
	var best event.Value
	rank := len(targetKeys)
	e.Get(event.RequestParameters).Members(func(k string, v event.Value) bool {
		if v.Kind() != event.String {
			if k == "instancesSet" { // EC2 calls on instances
				instances(v, func(text string) { n++; fn(text) })
			}
			return n == 0
		}
		if r, ok := targetRank[k]; ok && r < rank {
			best, rank = v, r
		}
		return true
	})
	if text := best.Text(); n == 0 && text != "" {
		fn(text)
	}
}

func instances(set event.Value, fn func(text string)) {
	n := 0
	set.Members(func(k string, items event.Value) bool {
		if k != "items" {
			return true
		}
		items.Elements(func(item event.Value) bool {
			item.Members(func(k string, v event.Value) bool {
				if k == "instanceId" && v.Kind() == event.String {
					fn(v.Text())
					n++
					return false
				}
				return true
			})
			return n < maxTargets
		})
		return false
	})
}
