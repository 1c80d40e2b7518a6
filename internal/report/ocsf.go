package report

import (
	"cmp"
	"encoding/json"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"spoor/internal/detect"
	"spoor/internal/event"
	"spoor/internal/hunt"
	"spoor/internal/safetext"
)

// The form is OCSF 1.6.0: one Detection Finding (class 2004) for every finding, then one API Activity (class 6003) for
// every event behind them, each on a line of its own, with the cloud profile. Attributes are those that OCSF 1.3 has
// too, is_alert excepted. Attributes without a value are left out.

const ocsfVersion = "1.6.0"

type ocsfBase struct {
	ActivityID   int    `json:"activity_id"`
	ActivityName string `json:"activity_name"`
	CategoryUID  int    `json:"category_uid"`
	CategoryName string `json:"category_name"`
	ClassUID     int    `json:"class_uid"`
	ClassName    string `json:"class_name"`
	TypeUID      int    `json:"type_uid"`
	TypeName     string `json:"type_name"`
	SeverityID   int    `json:"severity_id"`
	Severity     string `json:"severity"`
	StatusID     int    `json:"status_id"`
	Status       string `json:"status"`
	StatusCode   string `json:"status_code,omitempty"`
	StatusDetail string `json:"status_detail,omitempty"`
	Time         int64  `json:"time"` // milliseconds since 1970
	StartTime    int64  `json:"start_time,omitempty"`
	EndTime      int64  `json:"end_time,omitempty"`
	Count        int    `json:"count,omitempty"`
	Message      string `json:"message"`

	Metadata    ocsfMetadata     `json:"metadata"`
	Cloud       ocsfCloud        `json:"cloud"`
	Observables []ocsfObservable `json:"observables,omitempty"`
	Unmapped    map[string]any   `json:"unmapped,omitempty"`
}

type ocsfMetadata struct {
	Version      string      `json:"version"`
	Product      ocsfProduct `json:"product"`
	Profiles     []string    `json:"profiles"`
	UID          string      `json:"uid,omitempty"`
	EventCode    string      `json:"event_code,omitempty"`
	LogName      string      `json:"log_name,omitempty"`
	LogProvider  string      `json:"log_provider,omitempty"`
	OriginalTime string      `json:"original_time,omitempty"`
}

type ocsfProduct struct {
	Name       string `json:"name"`
	VendorName string `json:"vendor_name"`
	Version    string `json:"version,omitempty"`
}

type ocsfCloud struct {
	Provider string       `json:"provider"`
	Region   string       `json:"region,omitempty"`
	Account  *ocsfAccount `json:"account,omitempty"`
}

type ocsfAccount struct {
	UID    string `json:"uid"`
	TypeID int    `json:"type_id"`
	Type   string `json:"type"`
}

type ocsfObservable struct {
	Name   string `json:"name"`
	TypeID int    `json:"type_id"`
	Type   string `json:"type"`
	Value  string `json:"value"`
}

type ocsfFinding struct {
	ocsfBase
	IsAlert     bool             `json:"is_alert"`
	Info        ocsfFindingInfo  `json:"finding_info"`
	Evidences   []ocsfEvidence   `json:"evidences,omitempty"`
	Resources   []ocsfResource   `json:"resources,omitempty"`
	Remediation *ocsfRemediation `json:"remediation,omitempty"`
}

type ocsfFindingInfo struct {
	UID           string        `json:"uid"`
	Title         string        `json:"title"`
	Desc          string        `json:"desc,omitempty"`
	Types         []string      `json:"types,omitempty"`
	DataSources   []string      `json:"data_sources"`
	CreatedTime   int64         `json:"created_time,omitempty"`
	FirstSeen     int64         `json:"first_seen_time,omitempty"`
	LastSeen      int64         `json:"last_seen_time,omitempty"`
	SrcURL        string        `json:"src_url,omitempty"`
	Analytic      ocsfAnalytic  `json:"analytic"`
	Attacks       []ocsfAttack  `json:"attacks,omitempty"`
	RelatedEvents []ocsfRelated `json:"related_events,omitempty"`
}

type ocsfAnalytic struct {
	UID      string `json:"uid"`
	Name     string `json:"name"`
	TypeID   int    `json:"type_id"`
	Type     string `json:"type"`
	Category string `json:"category,omitempty"`
}

type ocsfEntity struct {
	UID  string `json:"uid,omitempty"`
	Name string `json:"name,omitempty"`
}

type ocsfAttack struct {
	Tactic       *ocsfEntity `json:"tactic,omitempty"`
	Technique    *ocsfEntity `json:"technique,omitempty"`
	SubTechnique *ocsfEntity `json:"sub_technique,omitempty"`
}

type ocsfRelated struct {
	UID      string `json:"uid"`
	TypeUID  int    `json:"type_uid"`
	TypeName string `json:"type_name"`
}

type ocsfEvidence struct {
	Actor ocsfActor      `json:"actor"`
	API   ocsfAPI        `json:"api"`
	Src   ocsfEndpoint   `json:"src_endpoint"`
	Data  map[string]any `json:"data"`
}

type ocsfActor struct {
	User      *ocsfUser    `json:"user,omitempty"`
	Session   *ocsfSession `json:"session,omitempty"`
	InvokedBy string       `json:"invoked_by,omitempty"`
}

type ocsfUser struct {
	UID        string       `json:"uid,omitempty"`
	Name       string       `json:"name"`
	TypeID     int          `json:"type_id"`
	Type       string       `json:"type"`
	Credential string       `json:"credential_uid,omitempty"`
	Account    *ocsfAccount `json:"account,omitempty"`
}

type ocsfSession struct {
	UID    string `json:"uid"`
	Issuer string `json:"issuer,omitempty"`
}

type ocsfAPI struct {
	Operation string        `json:"operation"`
	Version   string        `json:"version,omitempty"`
	Service   *ocsfEntity   `json:"service,omitempty"`
	Request   *ocsfRequest  `json:"request,omitempty"`
	Response  *ocsfResponse `json:"response,omitempty"`
}

type ocsfRequest struct {
	UID  string          `json:"uid"`
	Data json.RawMessage `json:"data,omitempty"`
}

type ocsfResponse struct {
	Error   string          `json:"error,omitempty"`
	Message string          `json:"error_message,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
}

type ocsfEndpoint struct {
	IP      string `json:"ip,omitempty"`
	SvcName string `json:"svc_name,omitempty"`
}

type ocsfResource struct {
	UID    string `json:"uid"`
	Type   string `json:"type,omitempty"`
	Region string `json:"region,omitempty"`
}

type ocsfRemediation struct {
	Desc       string   `json:"desc"`
	References []string `json:"references,omitempty"`
}

type ocsfActivity struct {
	ocsfBase
	Actor       ocsfActor        `json:"actor"`
	API         ocsfAPI          `json:"api"`
	Src         ocsfEndpoint     `json:"src_endpoint"`
	HTTPRequest *ocsfHTTPRequest `json:"http_request,omitempty"`
	Resources   []ocsfResource   `json:"resources,omitempty"`
	RawData     string           `json:"raw_data,omitempty"`
}

type ocsfHTTPRequest struct {
	UserAgent string `json:"user_agent"`
}

// Observable types of OCSF.
const (
	observeIP         = 2
	observeUser       = 4
	observeResource   = 10
	observeAgent      = 16
	observeCredential = 19
)

func observable(name string, kind int, value string) ocsfObservable {
	caption := map[int]string{observeIP: "IP Address", observeUser: "User Name", observeResource: "Resource UID", observeAgent: "HTTP User-Agent",
		observeCredential: "User Credential ID"}[kind]
	return ocsfObservable{name, kind, caption, value}
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func writeOCSF(w io.Writer, res *hunt.Result, _ Options) error {
	for i := range res.Findings {
		if err := encode(w, newOCSFFinding(res, &res.Findings[i]), ""); err != nil {
			return err
		}
	}
	seen := map[string]bool{}
	for i := range res.Findings {
		for j := range res.Findings[i].Events {
			e := &res.Findings[i].Events[j]
			key := cmp.Or(e.ID, e.File+"\x00"+strconv.FormatInt(e.Offset, 10))
			if seen[key] {
				continue
			}
			seen[key] = true
			if err := encode(w, newOCSFActivity(e), ""); err != nil {
				return err
			}
		}
	}
	return nil
}

func newOCSFFinding(res *hunt.Result, f *detect.Finding) *ocsfFinding {
	severity := [...]string{"Informational", "Low", "Medium", "High", "Critical"}[f.Level]
	r := &f.Rule
	out := &ocsfFinding{
		ocsfBase: ocsfBase{
			ActivityID: 1, ActivityName: "Create", CategoryUID: 2, CategoryName: "Findings", ClassUID: 2004, ClassName: "Detection Finding",
			TypeUID: 200401, TypeName: "Detection Finding: Create", SeverityID: int(f.Level) + 1, Severity: severity, StatusID: 1, Status: "New",
			Time: millis(res.Started), StartTime: millis(f.First), EndTime: millis(f.Last), Count: f.Count, Message: what(f) + ".",
			Metadata: ocsfMetadata{Version: ocsfVersion, Product: ocsfProduct{"Spoor", "Spoor", res.Version}, Profiles: []string{"cloud"}, UID: f.ID},
			Cloud:    cloud(f.Account, ""),
			Unmapped: map[string]any{"actor": f.Actor, "failed": f.Denied},
		},
		IsAlert: f.Level > detect.Informational,
		Info: ocsfFindingInfo{UID: f.ID, Title: cmp.Or(r.Title, r.ID, "unnamed rule"), Desc: r.Description, DataSources: []string{"AWS CloudTrail"},
			CreatedTime: millis(res.Started), FirstSeen: millis(f.First), LastSeen: millis(f.Last),
			Analytic: ocsfAnalytic{cmp.Or(r.ID, r.Title, "unnamed"), cmp.Or(r.Title, r.ID, "unnamed"), 1, "Rule", r.Suite}},
	}
	if len(f.Regions) == 1 {
		out.Cloud.Region = f.Regions[0].Value
	}
	if f.Observed != "" {
		out.Unmapped["observed"] = f.Observed
	}
	if len(f.Group) > 0 {
		out.Unmapped["group"] = f.Group
	}
	for _, ref := range r.References {
		if u, ok := webURL(ref); ok {
			out.Info.SrcURL = u
			break
		}
	}
	for _, t := range r.Techniques {
		if t.ID == "" {
			continue
		}
		a := ocsfAttack{Technique: &ocsfEntity{UID: t.ID, Name: t.Name}}
		if parent, _, ok := strings.Cut(t.ID, "."); ok {
			a.SubTechnique, a.Technique = a.Technique, &ocsfEntity{UID: parent}
		}
		if t.Tactic != "" {
			a.Tactic = &ocsfEntity{Name: t.Tactic}
			out.Info.Types = appendNew(out.Info.Types, t.Tactic)
		}
		out.Info.Attacks = append(out.Info.Attacks, a)
	}
	if len(r.Check) > 0 {
		out.Remediation = &ocsfRemediation{Desc: strings.Join(r.Check, "\n"), References: r.References}
	}
	for _, t := range f.Targets {
		if t.Value != "" {
			out.Resources = append(out.Resources, ocsfResource{UID: t.Value})
			out.Observables = append(out.Observables, observable("resources[].uid", observeResource, t.Value))
		}
	}
	if n := actorName(f.Actor); n != "unknown" {
		out.Observables = append(out.Observables, observable("evidences[].actor.user.name", observeUser, n))
	}
	for _, a := range f.Addresses {
		if ip, ok := address(a.Value); ok {
			out.Observables = append(out.Observables, observable("evidences[].src_endpoint.ip", observeIP, ip))
		}
	}
	for _, k := range f.Keys {
		if k.Value != "" {
			out.Observables = append(out.Observables, observable("evidences[].actor.user.credential_uid", observeCredential, k.Value))
		}
	}
	for i := range f.Events {
		e := &f.Events[i]
		data := map[string]any{"event_id": e.ID, "event_time": rfc3339(e.Time), "region": e.Region, "file": e.File, "offset": e.Offset}
		if len(e.Matched) > 0 {
			data["matched"] = e.Matched
		}
		if e.RuleID != "" {
			data["rule"] = e.RuleID
		}
		out.Evidences = append(out.Evidences, ocsfEvidence{ocsfWho(e), ocsfCall(e), source(e.Address), data})
		if e.ID != "" {
			id, name := activity(e)
			out.Info.RelatedEvents = append(out.Info.RelatedEvents, ocsfRelated{e.ID, 600300 + id, "API Activity: " + name})
		}
	}
	return out
}

func newOCSFActivity(e *detect.Evidence) *ocsfActivity {
	id, name := activity(e)
	out := &ocsfActivity{
		ocsfBase: ocsfBase{
			ActivityID: id, ActivityName: name, CategoryUID: 6, CategoryName: "Application Activity", ClassUID: 6003, ClassName: "API Activity",
			TypeUID: 600300 + id, TypeName: "API Activity: " + name, SeverityID: 1, Severity: "Informational", StatusID: 1, Status: "Success",
			Time:     millis(e.Time),
			Message:  safetext.Terminal(actorPhrase(e.Actor)+" called "+call(e.Source, e.Name), 300),
			Metadata: ocsfMetadata{Version: ocsfVersion, Product: ocsfProduct{Name: "CloudTrail", VendorName: "AWS"}, Profiles: []string{"cloud"}, UID: e.ID, LogName: e.File, LogProvider: "CloudTrail"},
			Cloud:    cloud(e.Account, e.Region),
		},
		Actor: ocsfWho(e), API: ocsfCall(e), Src: source(e.Address),
	}
	if e.Error != "" {
		out.StatusID, out.Status, out.StatusCode = 2, "Failure", e.Error
	}
	if e.Agent != "" {
		out.HTTPRequest = &ocsfHTTPRequest{e.Agent}
		out.Observables = append(out.Observables, observable("http_request.user_agent", observeAgent, e.Agent))
	}
	if ip, ok := address(e.Address); ok {
		out.Observables = append(out.Observables, observable("src_endpoint.ip", observeIP, ip))
	}
	if out.Actor.User != nil {
		out.Observables = append(out.Observables, observable("actor.user.name", observeUser, out.Actor.User.Name))
	}
	if e.Key != "" {
		out.Observables = append(out.Observables, observable("actor.user.credential_uid", observeCredential, e.Key))
	}
	if rec, err := event.Parse(e.Raw); err == nil {
		out.RawData = string(e.Raw)
		out.Metadata.EventCode = strings.Clone(rec.Text(event.EventType))
		out.Metadata.OriginalTime = strings.Clone(rec.Text(event.EventTime))
		out.StatusDetail = strings.Clone(rec.Text(event.ErrorMessage))
		rec.Get(event.Resources).Elements(func(v event.Value) bool {
			var r struct {
				ARN    string `json:"ARN"`
				Prefix string `json:"ARNPrefix"`
				Type   string `json:"type"`
			}
			if json.Unmarshal(v.Raw(), &r) == nil && cmp.Or(r.ARN, r.Prefix) != "" {
				out.Resources = append(out.Resources, ocsfResource{UID: cmp.Or(r.ARN, r.Prefix), Type: r.Type})
			}
			return len(out.Resources) < 100
		})
	}
	if e.Target != "" && !slices.ContainsFunc(out.Resources, func(r ocsfResource) bool { return r.UID == e.Target }) {
		out.Resources = append(out.Resources, ocsfResource{UID: e.Target})
	}
	for _, r := range out.Resources {
		out.Observables = append(out.Observables, observable("resources[].uid", observeResource, r.UID))
	}
	return out
}

// activity tells create, read, update and delete apart by the verb that the call's name starts with.
func activity(e *detect.Evidence) (int, string) {
	for _, v := range [...]struct {
		id    int
		name  string
		verbs []string
	}{
		{2, "Read", []string{"Get", "List", "Describe", "Head", "Lookup", "Search", "Select", "BatchGet", "Query", "Scan", "View", "Download", "Check", "Simulate", "Preview", "Read"}},
		{4, "Delete", []string{"Delete", "BatchDelete", "Remove", "Terminate", "Purge", "Deregister", "ScheduleKeyDeletion"}},
		{1, "Create", []string{"Create", "BatchCreate", "RunInstances", "Import", "Register", "Allocate", "Request", "Issue"}},
		{3, "Update", []string{"Update", "Put", "Modify", "Set", "Attach", "Detach", "Associate", "Disassociate", "Change", "Enable", "Disable", "Stop", "Start", "Reboot", "Add", "Tag", "Untag",
			"Authorize", "Revoke", "Replace", "Restore", "Reset", "Rotate", "Cancel", "Upload"}},
	} {
		for _, verb := range v.verbs {
			rest, ok := strings.CutPrefix(e.Name, verb)
			if ok && (rest == "" || rest[0] < 'a' || rest[0] > 'z') {
				return v.id, v.name
			}
		}
	}
	return 99, "Other"
}

func ocsfWho(e *detect.Evidence) ocsfActor {
	id, kind := 99, string(e.Actor.Kind)
	switch e.Actor.Kind {
	case event.ActorUser, event.ActorPerson:
		id, kind = 1, "User"
	case event.ActorRoot:
		id, kind = 2, "Admin"
	case event.ActorService, event.ActorWorkload, event.ActorInstance, event.ActorFunction:
		id, kind = 4, "Service"
	case event.ActorAnonymous, event.ActorUnknown, "":
		id, kind = 0, "Unknown"
	}
	out := ocsfActor{User: &ocsfUser{UID: e.Actor.ID, Name: actorName(e.Actor), TypeID: id, Type: kind, Credential: e.Key, Account: account(e.Actor.Account)}}
	if e.Actor.Session != "" {
		out.Session = &ocsfSession{e.Actor.Session, e.Actor.ID}
	}
	if rec, err := event.Parse(e.Raw); err == nil {
		out.InvokedBy = strings.Clone(rec.Text(event.InvokedBy))
	}
	return out
}

func ocsfCall(e *detect.Evidence) ocsfAPI {
	out := ocsfAPI{Operation: cmp.Or(e.Name, "unknown")}
	if e.Source != "" {
		out.Service = &ocsfEntity{Name: e.Source}
	}
	resp := ocsfResponse{Error: e.Error}
	if rec, err := event.Parse(e.Raw); err == nil {
		out.Version = strings.Clone(rec.Text(event.APIVersion))
		if id := rec.Text(event.RequestID); id != "" {
			out.Request = &ocsfRequest{UID: strings.Clone(id), Data: jsonData(rec.Get(event.RequestParameters))}
		}
		resp.Message = strings.Clone(rec.Text(event.ErrorMessage))
		resp.Data = jsonData(rec.Get(event.ResponseElements))
	}
	if resp.Error != "" || resp.Message != "" || resp.Data != nil {
		out.Response = &resp
	}
	return out
}

// jsonData copies an object's JSON text; null gives nothing.
func jsonData(v event.Value) json.RawMessage {
	if v.Kind() != event.Object || !json.Valid(v.Raw()) {
		return nil
	}
	return json.RawMessage(strings.ToValidUTF8(string(v.Raw()), "\ufffd"))
}

func cloud(id, region string) ocsfCloud {
	return ocsfCloud{"AWS", region, account(id)}
}

func account(id string) *ocsfAccount {
	if id == "" {
		return nil
	}
	return &ocsfAccount{id, 10, "AWS Account"}
}

// address reads a source address; services and AWS itself stand there with a name.
func address(s string) (string, bool) {
	ip, err := netip.ParseAddr(s)
	if err != nil || ip.Zone() != "" {
		return "", false
	}
	return ip.String(), true
}

func source(s string) ocsfEndpoint {
	if ip, ok := address(s); ok {
		return ocsfEndpoint{IP: ip}
	}
	return ocsfEndpoint{SvcName: cmp.Or(s, "unknown")}
}
