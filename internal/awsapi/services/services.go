// Package services lists what the AWS-compatible endpoint knows: the models, and the services that are served.
package services

import (
	"fmt"
	"strings"

	"spoor/internal/awsapi"
	cloudtrailapi "spoor/internal/awsapi/cloudtrail"
	cloudtraildataapi "spoor/internal/awsapi/cloudtraildata"
	iamapi "spoor/internal/awsapi/iam"
	kmsapi "spoor/internal/awsapi/kms"
	"spoor/internal/awsapi/model"
	"spoor/internal/awsapi/model/cloudtrail"
	"spoor/internal/awsapi/model/cloudtraildata"
	"spoor/internal/awsapi/model/events"
	"spoor/internal/awsapi/model/iam"
	"spoor/internal/awsapi/model/kms"
	"spoor/internal/awsapi/model/logs"
	"spoor/internal/awsapi/model/monitoring"
	"spoor/internal/awsapi/model/organizations"
	"spoor/internal/awsapi/model/sns"
	stsmodel "spoor/internal/awsapi/model/sts"
	organizationsapi "spoor/internal/awsapi/organizations"
	snsapi "spoor/internal/awsapi/sns"
	"spoor/internal/awsapi/sts"
)

// Models are all models there are.
func Models() []*model.Service {
	return []*model.Service{&cloudtrail.Service, &cloudtraildata.Service, &events.Service, &iam.Service, &kms.Service, &logs.Service, &monitoring.Service, &organizations.Service, &sns.Service, &stsmodel.Service}
}

// Parts are what the services stand on.
type Parts struct {
	CloudTrail     cloudtrailapi.Options
	CloudTrailData cloudtraildataapi.Options
	IAM            iamapi.Options
	KMS            kmsapi.Options
	Organizations  organizationsapi.Options
	SNS            snsapi.Options
	STS            sts.Options
}

// All makes the services of the endpoint. A model of which nothing is served is there too, so that its calls are recognised,
// refused by name and recorded.
func All(p Parts) []*awsapi.Service {
	served := []*awsapi.Service{cloudtrailapi.New(p.CloudTrail), cloudtraildataapi.New(p.CloudTrailData), iamapi.New(p.IAM), kmsapi.New(p.KMS), organizationsapi.New(p.Organizations), snsapi.New(p.SNS), sts.New(p.STS)}
	has := map[string]bool{}
	for _, s := range served {
		has[s.Model().Name] = true
	}
	for _, m := range Models() {
		if !has[m.Name] {
			served = append(served, awsapi.NewService(m, awsapi.ServiceOptions{}))
		}
	}
	return served
}

// protocols are the names of protocols for people.
var protocols = map[model.Protocol]string{model.JSON: "awsJson", model.Query: "query", model.RESTJSON: "REST with JSON", model.CBOR: "Smithy RPC v2 with CBOR"}

// Coverage is the page of docs/api-coverage.md: every operation of every model, and whether it is served.
func Coverage() string {
	served := map[string]*awsapi.Service{}
	for _, s := range All(Parts{}) {
		served[s.Model().Name] = s
	}
	var table, lists strings.Builder
	total, yes := 0, 0
	for _, m := range Models() {
		n := 0
		fmt.Fprintf(&lists, "\n## %s\n\n```text\n", m.FullName)
		for _, o := range m.Operations {
			mark := "-"
			if served[m.Name].Serves(o.Name) {
				mark = "served"
				n++
			}
			fmt.Fprintf(&lists, "%-7s %s\n", mark, o.Name)
		}
		lists.WriteString("```\n")
		var spoken []string
		for _, p := range m.Protocols {
			name := protocols[p]
			if p == model.JSON {
				name += " " + m.JSONVersion
			}
			spoken = append(spoken, name)
		}
		fmt.Fprintf(&table, "| %s | %s | %s | %d | %d |\n", m.FullName, m.Version, strings.Join(spoken, ", "), len(m.Operations), n)
		total += len(m.Operations)
		yes += n
	}
	return fmt.Sprintf(`# What of AWS's APIs is served

<!-- Written from the models and the registered operations by: go test ./test/docs -update -->

Every operation of every model that Spoor knows. One that is not served answers as an operation that AWS does not have;
the call is recorded all the same. The models of IAM and KMS are Spoor's own, and have what is served alone.
[aws-api.md](aws-api.md) says how the endpoint is spoken to.

| service | version | protocols | operations | served |
|---|---|---|---|---|
%s| all | | | %d | %d |
%s`, table.String(), total, yes, lists.String())
}
