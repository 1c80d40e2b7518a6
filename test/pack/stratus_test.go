// Package pack holds the built-in rules against attacks that others have recorded and described.
package pack

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"spoor/internal/detect"
	"spoor/internal/source/sourcetest"
	"spoor/test/kit"
)

// stratus names, for each recorded technique, the rule files that must see it. Rules that only know the tool by its user
// agent do not count: an attacker would not announce one.
var stratus = map[string][]string{
	"aws.credential-access.ec2-get-password-data":                 {"credential-access/ec2-password-data", "correlations/password-data-burst"},
	"aws.credential-access.secretsmanager-batch-retrieve-secrets": {"credential-access/secrets-batch-read"},
	"aws.credential-access.ssm-retrieve-securestring-parameters":  {"correlations/parameters-sweep"},
	"aws.defense-evasion.cloudtrail-event-selectors":              {"defense-impairment/cloudtrail-management-events-off"},
	"aws.defense-evasion.dns-delete-logs":                         {"defense-impairment/dns-query-logs-deleted"},
	"aws.defense-evasion.vpc-remove-flow-logs":                    {"defense-impairment/vpc-flow-logs-deleted"},
	"aws.execution.ec2-launch-unusual-instances":                  {"execution/unusual-instance-types"},
	"aws.execution.ssm-send-command":                              {"execution/ssm-shell-command", "correlations/many-instances-entered"},
	"aws.exfiltration.ec2-security-group-open-port-22-ingress":    {"network/security-group-admin-port-public"},
	"aws.exfiltration.ec2-share-ebs-snapshot":                     {"exfiltration/ebs-snapshot-shared"},
	"aws.impact.bedrock-invoke-model":                             {"impact/bedrock-model-access-granted"},
	"aws.lateral-movement.ec2-instance-connect":                   {"lateral-movement/ec2-ssh-key-pushed", "correlations/many-instances-entered"},
	"aws.persistence.iam-backdoor-role":                           {"persistence/role-trust-foreign-account"},
	"aws.persistence.iam-create-admin-user":                       {"persistence/iam-user-created", "privilege-escalation/admin-policy-attached-to-user", "persistence/iam-access-key-created-for-other", "correlations/new-admin-user"},
	"aws.persistence.iam-create-user-login-profile":               {"persistence/iam-login-profile-created"},
	"aws.persistence.lambda-layer-extension":                      {"execution/lambda-layer-attached"},
	"aws.persistence.rolesanywhere-create-trust-anchor":           {"persistence/rolesanywhere-trust-anchor"},
	"aws.privilege-escalation.iam-update-user-login-profile":      {"privilege-escalation/iam-login-profile-updated"},
}

// byAgent are the rules that know a tool by what it says of itself.
var byAgent = []string{"initial-access/attack-tool", "initial-access/pentest-distribution"}

func ruleFile(r detect.Rule) string { return strings.TrimSuffix(filepath.ToSlash(r.File), ".yml") }

// rulesByFile gives the titles of the rules that alert, by file without its ending. A correlation stands for its file.
func rulesByFile(t *testing.T, set *detect.Ruleset) map[string][]string {
	t.Helper()
	titles := map[string][]string{}
	for _, r := range set.Rules() {
		if file := ruleFile(r.Rule); r.Alerts && (r.Correlation || !strings.HasPrefix(file, "correlations/")) {
			titles[file] = append(titles[file], r.Title)
		}
	}
	return titles
}

func TestStratus(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(sourcetest.Shared(t), "data/cloudtrail/stratus-red-team")
	logs, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(logs) != len(stratus) {
		t.Errorf("%d logs in %s, %d techniques in the table", len(logs), dir, len(stratus))
	}
	set, err := kit.Pack(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	titles := rulesByFile(t, set)
	root, err := kit.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs/detection/stratus.md"))
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{} // by technique, its row of the table
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "| `"); ok {
			name, _, _ = strings.Cut(name, "`")
			documented[name] = line
		}
	}
	if len(documented) != len(stratus) {
		t.Errorf("docs/detection/stratus.md has %d techniques, the table %d", len(documented), len(stratus))
	}
	for technique, files := range stratus {
		t.Run(technique, func(t *testing.T) {
			t.Parallel()
			res, err := kit.Hunt(t.Context(), kit.Job{Paths: []string{filepath.Join(dir, technique+".json")}, Rules: set, Workers: 1, TempDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			var found []string
			for _, f := range res.Findings {
				if f.Level > detect.Informational && !slices.Contains(byAgent, ruleFile(f.Rule)) {
					found = append(found, ruleFile(f.Rule))
				}
			}
			for _, want := range files {
				if titles[want] == nil {
					t.Errorf("the pack has no rule file %s", want)
				}
				if !slices.Contains(found, want) {
					t.Errorf("no finding of %s, only of %q", want, found)
				}
				for _, title := range titles[want] {
					if !strings.Contains(documented[technique], title) {
						t.Errorf("docs/detection/stratus.md does not name %q in the row of the technique", title)
					}
				}
			}
		})
	}
}
