package detect

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// ATT&CK 19 split the tactic defense evasion into stealth (which keeps its number, TA0005) and defense impairment
// (TA0112), and gave the techniques of the latter new numbers. Published rules use both numberings, so every technique
// is known under both.

// AttackVersion is the ATT&CK version that techniques are numbered by.
const AttackVersion = "19"

// Tactic is an ATT&CK tactic of the Enterprise matrix.
type Tactic struct {
	ID    string
	Short string // as in tags
	Name  string
}

// tactics in the order of the matrix.
var tactics = [...]Tactic{
	{"TA0043", "reconnaissance", "Reconnaissance"},
	{"TA0042", "resource-development", "Resource Development"},
	{"TA0001", "initial-access", "Initial Access"},
	{"TA0002", "execution", "Execution"},
	{"TA0003", "persistence", "Persistence"},
	{"TA0004", "privilege-escalation", "Privilege Escalation"},
	{"TA0005", "stealth", "Stealth"},
	{"TA0112", "defense-impairment", "Defense Impairment"},
	{"TA0006", "credential-access", "Credential Access"},
	{"TA0007", "discovery", "Discovery"},
	{"TA0008", "lateral-movement", "Lateral Movement"},
	{"TA0009", "collection", "Collection"},
	{"TA0011", "command-and-control", "Command and Control"},
	{"TA0010", "exfiltration", "Exfiltration"},
	{"TA0040", "impact", "Impact"},
}

const oldEvasion = "defense-evasion"

// renumbered gives the current number of techniques that ATT&CK 19 revoked.
var renumbered = map[string]string{
	"T1562": "T1685", "T1562.001": "T1685", "T1562.002": "T1685.001", "T1562.003": "T1690", "T1562.004": "T1686", "T1562.006": "T1685",
	"T1562.007": "T1686.001", "T1562.008": "T1685.002", "T1562.009": "T1688", "T1562.010": "T1689", "T1562.011": "T1685.003",
	"T1562.012": "T1685.004", "T1562.013": "T1686.002", "T1070.001": "T1685.005", "T1070.002": "T1685.006",
	"T1656": "T1684.001", "T1672": "T1684.002",
}

// formerly gives the number before ATT&CK 19 that a current one is best known by.
var formerly = map[string]string{
	"T1685": "T1562.001", "T1685.001": "T1562.002", "T1690": "T1562.003", "T1686": "T1562.004", "T1686.001": "T1562.007",
	"T1685.002": "T1562.008", "T1688": "T1562.009", "T1689": "T1562.010", "T1685.003": "T1562.011", "T1685.004": "T1562.012",
	"T1686.002": "T1562.013", "T1685.005": "T1070.001", "T1685.006": "T1070.002", "T1684.001": "T1656", "T1684.002": "T1672",
}

type techniqueInfo struct{ name, tactics string }

// techniques that matter to cloud control planes, with the tactics that each serves.
var techniques = map[string]techniqueInfo{
	"T1003":     {"OS Credential Dumping", "credential-access"},
	"T1005":     {"Data from Local System", "collection"},
	"T1016":     {"System Network Configuration Discovery", "discovery"},
	"T1018":     {"Remote System Discovery", "discovery"},
	"T1020":     {"Automated Exfiltration", "exfiltration"},
	"T1020.001": {"Traffic Duplication", "exfiltration"},
	"T1021":     {"Remote Services", "lateral-movement"},
	"T1021.001": {"Remote Desktop Protocol", "lateral-movement"},
	"T1021.004": {"SSH", "lateral-movement"},
	"T1021.007": {"Cloud Services", "lateral-movement"},
	"T1021.008": {"Direct Cloud VM Connections", "lateral-movement"},
	"T1029":     {"Scheduled Transfer", "exfiltration"},
	"T1030":     {"Data Transfer Size Limits", "exfiltration"},
	"T1033":     {"System Owner/User Discovery", "discovery"},
	"T1036":     {"Masquerading", "stealth"},
	"T1036.010": {"Masquerade Account Name", "stealth"},
	"T1040":     {"Network Sniffing", "credential-access discovery"},
	"T1041":     {"Exfiltration Over C2 Channel", "exfiltration"},
	"T1046":     {"Network Service Discovery", "discovery"},
	"T1048":     {"Exfiltration Over Alternative Protocol", "exfiltration"},
	"T1049":     {"System Network Connections Discovery", "discovery"},
	"T1053":     {"Scheduled Task/Job", "execution persistence privilege-escalation"},
	"T1053.007": {"Container Orchestration Job", "execution persistence privilege-escalation"},
	"T1057":     {"Process Discovery", "discovery"},
	"T1059":     {"Command and Scripting Interpreter", "execution"},
	"T1059.009": {"Cloud API", "execution"},
	"T1068":     {"Exploitation for Privilege Escalation", "privilege-escalation"},
	"T1069":     {"Permission Groups Discovery", "discovery"},
	"T1069.003": {"Cloud Groups", "discovery"},
	"T1070":     {"Indicator Removal", "stealth"},
	"T1070.004": {"File Deletion", "stealth"},
	"T1070.009": {"Clear Persistence", "stealth"},
	"T1071":     {"Application Layer Protocol", "command-and-control"},
	"T1072":     {"Software Deployment Tools", "execution lateral-movement"},
	"T1074":     {"Data Staged", "collection"},
	"T1074.002": {"Remote Data Staging", "collection"},
	"T1078":     {"Valid Accounts", "initial-access persistence privilege-escalation stealth"},
	"T1078.001": {"Default Accounts", "initial-access persistence privilege-escalation stealth"},
	"T1078.002": {"Domain Accounts", "initial-access persistence privilege-escalation stealth"},
	"T1078.003": {"Local Accounts", "initial-access persistence privilege-escalation stealth"},
	"T1078.004": {"Cloud Accounts", "initial-access persistence privilege-escalation stealth"},
	"T1080":     {"Taint Shared Content", "lateral-movement"},
	"T1082":     {"System Information Discovery", "discovery"},
	"T1083":     {"File and Directory Discovery", "discovery"},
	"T1087":     {"Account Discovery", "discovery"},
	"T1087.004": {"Cloud Account", "discovery"},
	"T1090":     {"Proxy", "command-and-control"},
	"T1090.003": {"Multi-hop Proxy", "command-and-control"},
	"T1098":     {"Account Manipulation", "persistence privilege-escalation"},
	"T1098.001": {"Additional Cloud Credentials", "persistence privilege-escalation"},
	"T1098.002": {"Additional Email Delegate Permissions", "persistence privilege-escalation"},
	"T1098.003": {"Additional Cloud Roles", "persistence privilege-escalation"},
	"T1098.004": {"SSH Authorized Keys", "persistence privilege-escalation"},
	"T1098.005": {"Device Registration", "persistence privilege-escalation"},
	"T1098.006": {"Additional Container Cluster Roles", "persistence privilege-escalation"},
	"T1110":     {"Brute Force", "credential-access"},
	"T1110.001": {"Password Guessing", "credential-access"},
	"T1110.003": {"Password Spraying", "credential-access"},
	"T1110.004": {"Credential Stuffing", "credential-access"},
	"T1111":     {"Multi-Factor Authentication Interception", "credential-access"},
	"T1114":     {"Email Collection", "collection"},
	"T1119":     {"Automated Collection", "collection"},
	"T1133":     {"External Remote Services", "initial-access persistence"},
	"T1136":     {"Create Account", "persistence"},
	"T1136.001": {"Local Account", "persistence"},
	"T1136.003": {"Cloud Account", "persistence"},
	"T1190":     {"Exploit Public-Facing Application", "initial-access"},
	"T1195":     {"Supply Chain Compromise", "initial-access"},
	"T1195.002": {"Compromise Software Supply Chain", "initial-access"},
	"T1199":     {"Trusted Relationship", "initial-access"},
	"T1201":     {"Password Policy Discovery", "discovery"},
	"T1204":     {"User Execution", "execution"},
	"T1204.003": {"Malicious Image", "execution"},
	"T1211":     {"Exploitation for Stealth", "stealth"},
	"T1213":     {"Data from Information Repositories", "collection"},
	"T1213.006": {"Databases", "collection"},
	"T1222":     {"File and Directory Permissions Modification", "defense-impairment"},
	"T1484":     {"Domain or Tenant Policy Modification", "privilege-escalation"},
	"T1484.002": {"Trust Modification", "privilege-escalation"},
	"T1485":     {"Data Destruction", "impact"},
	"T1485.001": {"Lifecycle-Triggered Deletion", "impact"},
	"T1486":     {"Data Encrypted for Impact", "impact"},
	"T1489":     {"Service Stop", "impact"},
	"T1490":     {"Inhibit System Recovery", "impact"},
	"T1491":     {"Defacement", "impact"},
	"T1491.002": {"External Defacement", "impact"},
	"T1496":     {"Resource Hijacking", "impact"},
	"T1496.001": {"Compute Hijacking", "impact"},
	"T1496.002": {"Bandwidth Hijacking", "impact"},
	"T1496.003": {"SMS Pumping", "impact"},
	"T1496.004": {"Cloud Service Hijacking", "impact"},
	"T1498":     {"Network Denial of Service", "impact"},
	"T1499":     {"Endpoint Denial of Service", "impact"},
	"T1518":     {"Software Discovery", "discovery"},
	"T1518.001": {"Security Software Discovery", "discovery"},
	"T1525":     {"Implant Internal Image", "persistence"},
	"T1526":     {"Cloud Service Discovery", "discovery"},
	"T1528":     {"Steal Application Access Token", "credential-access"},
	"T1530":     {"Data from Cloud Storage", "collection"},
	"T1531":     {"Account Access Removal", "impact"},
	"T1535":     {"Unused/Unsupported Cloud Regions", "stealth"},
	"T1537":     {"Transfer Data to Cloud Account", "exfiltration"},
	"T1538":     {"Cloud Service Dashboard", "discovery"},
	"T1546":     {"Event Triggered Execution", "persistence privilege-escalation"},
	"T1548":     {"Abuse Elevation Control Mechanism", "privilege-escalation"},
	"T1548.005": {"Temporary Elevated Cloud Access", "privilege-escalation"},
	"T1550":     {"Use Alternate Authentication Material", "lateral-movement"},
	"T1550.001": {"Application Access Token", "lateral-movement"},
	"T1550.004": {"Web Session Cookie", "lateral-movement"},
	"T1552":     {"Unsecured Credentials", "credential-access"},
	"T1552.001": {"Credentials In Files", "credential-access"},
	"T1552.004": {"Private Keys", "credential-access"},
	"T1552.005": {"Cloud Instance Metadata API", "credential-access"},
	"T1552.007": {"Container API", "credential-access"},
	"T1555":     {"Credentials from Password Stores", "credential-access"},
	"T1555.006": {"Cloud Secrets Management Stores", "credential-access"},
	"T1556":     {"Modify Authentication Process", "persistence credential-access defense-impairment"},
	"T1556.006": {"Multi-Factor Authentication", "persistence credential-access defense-impairment"},
	"T1556.007": {"Hybrid Identity", "persistence credential-access defense-impairment"},
	"T1556.009": {"Conditional Access Policies", "persistence credential-access defense-impairment"},
	"T1561":     {"Disk Wipe", "impact"},
	"T1564":     {"Hide Artifacts", "stealth"},
	"T1564.008": {"Email Hiding Rules", "stealth"},
	"T1565":     {"Data Manipulation", "impact"},
	"T1565.001": {"Stored Data Manipulation", "impact"},
	"T1566":     {"Phishing", "initial-access"},
	"T1566.002": {"Spearphishing Link", "initial-access"},
	"T1567":     {"Exfiltration Over Web Service", "exfiltration"},
	"T1567.002": {"Exfiltration to Cloud Storage", "exfiltration"},
	"T1578":     {"Modify Cloud Compute Infrastructure", "defense-impairment"},
	"T1578.001": {"Create Snapshot", "defense-impairment"},
	"T1578.002": {"Create Cloud Instance", "defense-impairment"},
	"T1578.003": {"Delete Cloud Instance", "defense-impairment"},
	"T1578.004": {"Revert Cloud Instance", "defense-impairment"},
	"T1578.005": {"Modify Cloud Compute Configurations", "defense-impairment"},
	"T1580":     {"Cloud Infrastructure Discovery", "discovery"},
	"T1583":     {"Acquire Infrastructure", "resource-development"},
	"T1583.001": {"Domains", "resource-development"},
	"T1583.003": {"Virtual Private Server", "resource-development"},
	"T1584":     {"Compromise Infrastructure", "resource-development"},
	"T1584.001": {"Domains", "resource-development"},
	"T1584.002": {"DNS Server", "resource-development"},
	"T1585":     {"Establish Accounts", "resource-development"},
	"T1586":     {"Compromise Accounts", "resource-development"},
	"T1586.002": {"Email Accounts", "resource-development"},
	"T1586.003": {"Cloud Accounts", "resource-development"},
	"T1589":     {"Gather Victim Identity Information", "reconnaissance"},
	"T1595":     {"Active Scanning", "reconnaissance"},
	"T1599":     {"Network Boundary Bridging", "defense-impairment"},
	"T1600":     {"Weaken Encryption", "defense-impairment"},
	"T1602":     {"Data from Configuration Repository", "collection"},
	"T1606":     {"Forge Web Credentials", "credential-access"},
	"T1606.001": {"Web Cookies", "credential-access"},
	"T1606.002": {"SAML Tokens", "credential-access"},
	"T1609":     {"Container Administration Command", "execution"},
	"T1610":     {"Deploy Container", "execution"},
	"T1611":     {"Escape to Host", "privilege-escalation"},
	"T1612":     {"Build Image on Host", "stealth"},
	"T1613":     {"Container and Resource Discovery", "discovery"},
	"T1614":     {"System Location Discovery", "discovery"},
	"T1619":     {"Cloud Storage Object Discovery", "discovery"},
	"T1621":     {"Multi-Factor Authentication Request Generation", "credential-access"},
	"T1648":     {"Serverless Execution", "execution"},
	"T1649":     {"Steal or Forge Authentication Certificates", "credential-access"},
	"T1651":     {"Cloud Administration Command", "execution"},
	"T1654":     {"Log Enumeration", "discovery"},
	"T1657":     {"Financial Theft", "impact"},
	"T1666":     {"Modify Cloud Resource Hierarchy", "defense-impairment"},
	"T1671":     {"Cloud Application Integration", "persistence"},
	"T1673":     {"Virtual Machine Discovery", "discovery"},
	"T1684":     {"Social Engineering", "stealth"},
	"T1684.001": {"Impersonation", "stealth"},
	"T1684.002": {"Email Spoofing", "stealth"},
	"T1685":     {"Disable or Modify Tools", "defense-impairment"},
	"T1685.001": {"Disable or Modify Windows Event Log", "defense-impairment"},
	"T1685.002": {"Disable or Modify Cloud Log", "defense-impairment"},
	"T1685.003": {"Modify or Spoof Tool UI", "defense-impairment"},
	"T1685.004": {"Disable or Modify Linux Audit System Log", "defense-impairment"},
	"T1685.005": {"Clear Windows Event Logs", "defense-impairment"},
	"T1685.006": {"Clear Linux or Mac System Logs", "defense-impairment"},
	"T1686":     {"Disable or Modify System Firewall", "defense-impairment"},
	"T1686.001": {"Cloud Firewall", "defense-impairment"},
	"T1686.002": {"Network Device Firewall", "defense-impairment"},
	"T1686.003": {"Windows Host Firewall", "defense-impairment"},
	"T1687":     {"Exploitation for Defense Impairment", "defense-impairment"},
	"T1688":     {"Safe Mode Boot", "defense-impairment"},
	"T1689":     {"Downgrade Attack", "defense-impairment"},
	"T1690":     {"Prevent Command History Logging", "defense-impairment"},
}

var techniqueTag = regexp.MustCompile(`^attack\.(t[0-9]{4}(?:\.[0-9]{3})?)$`)

// Techniques reads the ATT&CK techniques out of a rule's tags, in the numbering of [AttackVersion], each once. The tactic of
// each is the first of the rule's tactics that the technique serves, or else the rule's first. A technique that is not
// known keeps its number and has no name.
func Techniques(tags []string) []Technique {
	named := Tactics(tags)
	var out []Technique
	for _, tag := range tags {
		m := techniqueTag.FindStringSubmatch(strings.ToLower(tag))
		if m == nil {
			continue
		}
		id := strings.ToUpper(m[1])
		t := Technique{ID: cmp.Or(renumbered[id], id)}
		if t.ID != id {
			t.Old = id
		} else {
			t.Old = formerly[id]
		}
		info := techniques[t.ID]
		t.Name = info.name
		serves := strings.Fields(info.tactics)
		for _, tactic := range named {
			if slices.Contains(serves, tactic) {
				t.Tactic = tactic
				break
			}
		}
		if t.Tactic == "" && len(named) > 0 {
			t.Tactic = named[0]
		}
		if !slices.ContainsFunc(out, func(o Technique) bool { return o.ID == t.ID }) {
			out = append(out, t)
		}
	}
	return out
}

// Tactics reads the ATT&CK tactics out of a rule's tags, by their current short names. The tactic that ATT&CK 19 split becomes
// the part of it that the rule's techniques serve: defense-impairment if one of them does, or else stealth.
func Tactics(tags []string) []string {
	var out []string
	add := func(short string) {
		if !slices.Contains(out, short) {
			out = append(out, short)
		}
	}
	for _, tag := range tags {
		short, ok := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(tag), "_", "-"), "attack.")
		if !ok {
			continue
		}
		if short == oldEvasion {
			add(evasionPart(tags))
		} else if slices.ContainsFunc(tactics[:], func(t Tactic) bool { return t.Short == short }) {
			add(short)
		}
	}
	return out
}

func evasionPart(tags []string) string {
	for _, tag := range tags {
		if m := techniqueTag.FindStringSubmatch(strings.ToLower(tag)); m != nil {
			id := strings.ToUpper(m[1])
			if strings.Contains(techniques[cmp.Or(renumbered[id], id)].tactics, "defense-impairment") {
				return "defense-impairment"
			}
		}
	}
	return "stealth"
}
