package cli

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// fakeAWS is as much of AWS as trails are made with, for one account. Settings of buckets are kept as they were sent.
type fakeAWS struct {
	*httptest.Server
	mu       sync.Mutex // guards what follows
	buckets  map[string]map[string]string
	keys     map[string]map[string]any // by id
	aliases  map[string]string
	trails   map[string]map[string]any // by name
	groups   map[string]bool
	roles    map[string]string            // trust policies
	rolePol  map[string]map[string]string // by role and name
	writes   []string                     // operations that changed something
	fail     map[string]string            // by operation: the code it answers with
	forget   string                       // an operation that answers well and does nothing
	failFrom int                          // writes from this one on fail, 0 for none
}

const (
	fakeAccount = "111122223333"
	fakeRegion  = "eu-west-1"
)

func newFakeAWS(t *testing.T) *fakeAWS {
	t.Helper()
	f := &fakeAWS{buckets: map[string]map[string]string{}, keys: map[string]map[string]any{}, aliases: map[string]string{}, trails: map[string]map[string]any{}, groups: map[string]bool{},
		roles: map[string]string{}, rolePol: map[string]map[string]string{}, fail: map[string]string{}}
	f.Server = httptest.NewServer(f)
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "AKIAEXAMPLEKEYOFANA0", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_ENDPOINT_URL": "",
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true"} {
		t.Setenv(name, value)
	}
	t.Cleanup(f.Close)
	return f
}

// spoor runs the command line against it.
func (f *fakeAWS) spoor(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	code, stdout, stderr = spoor(t, "", append(slices.Clone(args), "--endpoint-url", f.URL, "--region", fakeRegion)...)
	if strings.Contains(stderr, "panic") {
		t.Fatal(stderr)
	}
	return code, stdout, stderr
}

type fakeError struct{ code string }

func (e fakeError) Error() string { return e.code }

// write notes a change, or says that it is not to be.
func (f *fakeAWS) write(operation string) (does bool, err error) {
	f.writes = append(f.writes, operation)
	if f.failFrom > 0 && len(f.writes) >= f.failFrom {
		return false, fakeError{"ExpiredToken"}
	}
	return f.forget != operation, nil
}

func (f *fakeAWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	scope := r.Header.Get("Authorization")
	target := r.Header.Get("X-Amz-Target")
	switch {
	case strings.Contains(scope, "/s3/"):
		f.serveS3(w, r, string(body))
	case target != "":
		in := map[string]any{}
		if err := json.Unmarshal(body, &in); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		out, err := f.serveJSON(target[strings.LastIndexByte(target, '.')+1:], in)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			out = map[string]any{"__type": err.Error(), "message": "the fake says no"}
		}
		_ = json.NewEncoder(w).Encode(out) // the client finds out
	default:
		form, _ := url.ParseQuery(string(body))
		f.serveQuery(w, form)
	}
}

// texts of s3Names: operations of buckets by their query.
var s3Names = map[string][2]string{ // name of the setting, and the code when it is not there
	"publicAccessBlock": {"PublicAccessBlock", "NoSuchPublicAccessBlockConfiguration"}, "ownershipControls": {"BucketOwnershipControls", "OwnershipControlsNotFoundError"},
	"versioning": {"BucketVersioning", ""}, "encryption": {"BucketEncryption", "ServerSideEncryptionConfigurationNotFoundError"}, "policy": {"BucketPolicy", "NoSuchBucketPolicy"},
	"object-lock": {"ObjectLockConfiguration", "ObjectLockConfigurationNotFoundError"}, "lifecycle": {"BucketLifecycleConfiguration", "NoSuchLifecycleConfiguration"},
	"logging": {"BucketLogging", ""},
}

func (f *fakeAWS) serveS3(w http.ResponseWriter, r *http.Request, body string) {
	refuse := func(status int, code string) {
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			fmt.Fprintf(w, "<Error><Code>%s</Code><Message>the fake says no</Message></Error>", code)
		}
	}
	name := strings.Trim(r.URL.Path, "/")
	bucket := f.buckets[name]
	setting := ""
	for q := range r.URL.Query() {
		if _, ok := s3Names[q]; ok {
			setting = q
		}
	}
	operation := map[string]string{"PUT": "CreateBucket", "HEAD": "HeadBucket"}[r.Method]
	if setting != "" {
		operation = map[string]string{"PUT": "Put", "GET": "Get"}[r.Method] + s3Names[setting][0]
	}
	if code := f.fail[operation]; code != "" {
		status := http.StatusForbidden
		if code == "NotImplemented" {
			status = http.StatusNotImplemented
		}
		refuse(status, code)
		return
	}
	if r.Method == http.MethodPut {
		does, err := f.write(operation)
		if err != nil {
			refuse(http.StatusBadRequest, err.Error())
			return
		}
		if !does {
			return
		}
	}
	switch {
	case operation == "CreateBucket":
		f.buckets[name] = map[string]string{}
		if r.Header.Get("X-Amz-Bucket-Object-Lock-Enabled") == "true" {
			f.buckets[name]["versioning"] = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
		}
		f.buckets[name]["ownershipControls"] = "<OwnershipControls><Rule><ObjectOwnership>" + r.Header.Get("X-Amz-Object-Ownership") + "</ObjectOwnership></Rule></OwnershipControls>"
	case bucket == nil:
		refuse(http.StatusNotFound, "NoSuchBucket")
	case r.Method == http.MethodPut:
		bucket[setting] = body
	case r.Method == http.MethodGet:
		text, ok := bucket[setting]
		if !ok && s3Names[setting][1] != "" {
			refuse(http.StatusNotFound, s3Names[setting][1])
			return
		}
		if !ok {
			text = "<Empty/>"
		}
		_, _ = io.WriteString(w, text) // the client finds out
	}
}

func (f *fakeAWS) keyARN(id string) string {
	return "arn:aws:kms:" + fakeRegion + ":" + fakeAccount + ":key/" + id
}

func (f *fakeAWS) key(id any) (string, map[string]any) {
	name := fmt.Sprint(id)
	if target, ok := f.aliases[name]; ok {
		name = target
	}
	name = afterSlash(name)
	return name, f.keys[name]
}

func (f *fakeAWS) trail(name any) (string, map[string]any) {
	n := afterSlash(fmt.Sprint(name))
	return n, f.trails[n]
}

func (f *fakeAWS) serveJSON(operation string, in map[string]any) (map[string]any, error) {
	if code := f.fail[operation]; code != "" {
		return nil, fakeError{code}
	}
	if !strings.HasPrefix(operation, "Get") && !strings.HasPrefix(operation, "Describe") && !strings.HasPrefix(operation, "List") {
		if does, err := f.write(operation); err != nil || !does {
			return map[string]any{}, err
		}
	}
	switch operation {
	case "CreateKey":
		id := fmt.Sprintf("00000000-0000-4000-8000-%012d", len(f.keys)+1)
		f.keys[id] = map[string]any{"policy": in["Policy"], "rotation": false,
			"meta": map[string]any{"KeyId": id, "Arn": f.keyARN(id), "Enabled": true, "Description": in["Description"], "KeyManager": "CUSTOMER", "Origin": "AWS_KMS"}}
		return map[string]any{"KeyMetadata": f.keys[id]["meta"]}, nil
	case "ListKeys":
		var list []any
		for _, id := range slices.Sorted(maps.Keys(f.keys)) {
			list = append(list, map[string]any{"KeyId": id, "KeyArn": f.keyARN(id)})
		}
		return map[string]any{"Keys": list}, nil
	case "CreateAlias":
		f.aliases[in["AliasName"].(string)] = in["TargetKeyId"].(string)
		return map[string]any{}, nil
	case "DescribeKey", "GetKeyPolicy", "PutKeyPolicy", "GetKeyRotationStatus", "EnableKeyRotation":
		_, k := f.key(in["KeyId"])
		if k == nil {
			return nil, fakeError{"NotFoundException"}
		}
		switch operation {
		case "PutKeyPolicy":
			k["policy"] = in["Policy"]
		case "EnableKeyRotation":
			k["rotation"] = true
		}
		return map[string]any{"KeyMetadata": k["meta"], "Policy": k["policy"], "KeyRotationEnabled": k["rotation"]}, nil
	case "CreateTrail":
		name := in["Name"].(string)
		f.trails[name] = map[string]any{"Name": name, "TrailARN": "arn:aws:cloudtrail:" + fakeRegion + ":" + fakeAccount + ":trail/" + name, "HomeRegion": fakeRegion, "IncludeGlobalServiceEvents": true}
		fallthrough
	case "UpdateTrail":
		name, t := f.trail(in["Name"])
		if t == nil {
			return nil, fakeError{"TrailNotFoundException"}
		}
		for k, v := range in {
			if k == "EnableLogFileValidation" {
				k = "LogFileValidationEnabled"
			}
			t[k] = v
			if k == "SnsTopicName" {
				t["SnsTopicARN"] = "arn:aws:sns:" + fakeRegion + ":" + fakeAccount + ":" + fmt.Sprint(v)
			}
		}
		t["Name"] = name
		return t, nil
	case "DeleteTrail", "GetTrail", "GetTrailStatus", "StartLogging", "StopLogging", "GetEventSelectors", "PutEventSelectors":
		id := in["Name"]
		if id == nil {
			id = in["TrailName"]
		}
		name, t := f.trail(id)
		if t == nil {
			return nil, fakeError{"TrailNotFoundException"}
		}
		switch operation {
		case "DeleteTrail":
			delete(f.trails, name)
		case "StartLogging", "StopLogging":
			t["logging"] = operation == "StartLogging"
		case "PutEventSelectors":
			delete(t, "EventSelectors")
			t["AdvancedEventSelectors"] = in["AdvancedEventSelectors"]
		case "GetEventSelectors":
			out := map[string]any{"TrailARN": t["TrailARN"]}
			for _, kind := range []string{"AdvancedEventSelectors", "EventSelectors"} {
				if s, ok := t[kind]; ok {
					out[kind] = s
				}
			}
			if len(out) == 1 {
				out["EventSelectors"] = []any{map[string]any{"ReadWriteType": "All", "IncludeManagementEvents": true}}
			}
			return out, nil
		}
		return map[string]any{"Trail": t, "IsLogging": t["logging"] == true, "LatestDeliveryError": t["error"]}, nil
	case "DescribeTrails":
		var list []any
		for _, name := range slices.Sorted(maps.Keys(f.trails)) {
			list = append(list, f.trails[name])
		}
		return map[string]any{"trailList": list}, nil
	case "DescribeLogGroups":
		var list []any
		for name := range f.groups {
			list = append(list, map[string]any{"logGroupName": name})
		}
		return map[string]any{"logGroups": list}, nil
	case "CreateLogGroup":
		f.groups[in["logGroupName"].(string)] = true
		return map[string]any{}, nil
	case "DescribeOrganization":
		return map[string]any{"Organization": map[string]any{"Id": "o-exampleorgid"}}, nil
	}
	return nil, fakeError{"UnknownOperationException"}
}

func (f *fakeAWS) serveQuery(w http.ResponseWriter, form url.Values) {
	action := form.Get("Action")
	refuse := func(status int, code string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, "<ErrorResponse><Error><Code>%s</Code><Message>the fake says no</Message></Error></ErrorResponse>", code)
	}
	if code := f.fail[action]; code != "" {
		refuse(http.StatusBadRequest, code)
		return
	}
	role := form.Get("RoleName")
	switch action {
	case "GetCallerIdentity":
		fmt.Fprintf(w, `<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::%s:user/ana</Arn><UserId>AIDAEXAMPLE</UserId><Account>%s</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`, fakeAccount, fakeAccount)
		return
	case "CreateRole", "PutRolePolicy":
		does, err := f.write(action)
		if err != nil {
			refuse(http.StatusBadRequest, err.Error())
			return
		}
		if does && action == "CreateRole" {
			f.roles[role], f.rolePol[role] = form.Get("AssumeRolePolicyDocument"), map[string]string{}
		} else if does {
			f.rolePol[role][form.Get("PolicyName")] = form.Get("PolicyDocument")
		}
	case "GetRole", "GetRolePolicy":
		text, ok := f.roles[role]
		if action == "GetRolePolicy" {
			text, ok = f.rolePol[role][form.Get("PolicyName")]
		}
		if !ok {
			refuse(http.StatusNotFound, "NoSuchEntity")
			return
		}
		if action == "GetRolePolicy" {
			fmt.Fprint(w, "<GetRolePolicyResponse><GetRolePolicyResult><PolicyDocument>")
			_ = xml.EscapeText(w, []byte(url.QueryEscape(text))) // the client finds out
			fmt.Fprint(w, "</PolicyDocument></GetRolePolicyResult></GetRolePolicyResponse>")
			return
		}
	}
	fmt.Fprintf(w, "<%sResponse><%sResult></%sResult></%sResponse>", action, action, action, action)
}
