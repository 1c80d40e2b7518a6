package app

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spoor/internal/awsapi/caller"
	"spoor/internal/iam"
)

// aws sends an operation of STS without a signature to the address of AWS's clients, and gives the answer, which has to be a
// refusal.
func (s *served) aws(operation string) string {
	s.t.Helper()
	resp, err := s.client.Post(s.AWSURL(), "application/x-www-form-urlencoded", strings.NewReader("Version=2011-06-15&Action="+operation))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusForbidden {
		s.t.Errorf("without a signature: %d %s", resp.StatusCode, text)
	}
	return string(text)
}

// TestAWSRefusesAndRecords: nobody comes in without a signature, and that it was tried can be found.
func TestAWSRefusesAndRecords(t *testing.T) {
	t.Parallel()
	s := start(t, data(t))
	if s.AWSURL() == s.URL() || !strings.HasPrefix(s.AWSURL(), "http://127.0.0.1:") {
		t.Fatalf("addresses %s and %s", s.URL(), s.AWSURL())
	}
	if got := s.aws("GetCallerIdentity"); !strings.Contains(got, "<Code>MissingAuthenticationToken</Code>") {
		t.Errorf("answered %s", got)
	}
	eventually(t, "the refusal is found", func() bool {
		return strings.Contains(s.want("GET", "/api/v1/events?term=errorCode%3DMissingAuthenticationToken", ""), "ANONYMOUS_PRINCIPAL")
	})
	if status, text := s.ask("POST", "/", `{}`); status != http.StatusNotFound && status != http.StatusUnauthorized {
		t.Errorf("the other address answers AWS's clients: %d %s", status, text)
	}
}

func TestAWSOff(t *testing.T) {
	t.Parallel()
	s := start(t, data(t), "aws.listen=off")
	if s.AWSURL() != "" || s.history != nil {
		t.Errorf("off is %q", s.AWSURL())
	}
	s.want("POST", "/api/v1/events", record(1))
}

// TestAWSStarting: clients are told to come again in the form that they read.
func TestAWSStarting(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]string{
		"application/x-amz-json-1.1":        `{"__type":"ServiceUnavailableException","message":"The service is starting"}` + "\n",
		"application/x-www-form-urlencoded": "<ErrorResponse><Error><Type>Receiver</Type><Code>ServiceUnavailable</Code><Message>The service is starting</Message></Error></ErrorResponse>",
	} {
		r := httptest.NewRequest("POST", "/", strings.NewReader("x"))
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		awsStarting(w, r)
		if w.Code != http.StatusServiceUnavailable || w.Body.String() != want || w.Header().Get("Retry-After") != "1" {
			t.Errorf("%s: %d %s", kind, w.Code, w.Body)
		}
	}
}

// TestAWSReload: what bounds calls can be changed while they go on.
func TestAWSReload(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	s := start(t, filepath.Join(tmp, "data"))
	write(t, filepath.Join(tmp, "spoor.yaml"), "aws: {skew: 1m, max_body: 64KiB, regions: ['*'], in_flight: 3, lookup_extended: true}\n")
	r, err := s.Reload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(r.Changed, " ") + "; " + strings.Join(r.Restart, " "); got != "aws.in_flight aws.max_body aws.regions aws.skew; aws.lookup_extended" {
		t.Errorf("changed; want a restart: %s", got)
	}
	if set := s.set.Load().aws; set.skew != time.Minute || set.maxBody != 64<<10 || set.inFlight != 3 || set.history.Extended {
		t.Errorf("in effect: %+v", set)
	}
	s.aws("GetCallerIdentity")
}

// TestIdentities: records say who called as CloudTrail does.
func TestIdentities(t *testing.T) {
	t.Parallel()
	issued := time.Date(2026, 1, 10, 9, 0, 0, 0, time.FixedZone("", 3600))
	role := &iam.Assumable{ID: "AROAEXAMPLEID", Name: "Deploy", Path: "/", Account: "444455556666"}
	root := iam.Principal{ID: "111122223333", Kind: iam.KindRoot, Name: "root", Account: "111122223333"}
	ana := iam.Principal{ID: "AIDAEXAMPLEID", Kind: iam.KindUser, Name: "ana", Account: "111122223333"}
	for _, c := range []struct {
		name string
		cred iam.Credential
		want string
	}{
		{"root", iam.Credential{Principal: root}, `{"type":"Root","principalId":"111122223333","arn":"arn:aws:iam::111122223333:root","accountId":"111122223333"}`},
		{"a user", iam.Credential{Principal: ana}, `{"type":"IAMUser","principalId":"AIDAEXAMPLEID","arn":"arn:aws:iam::111122223333:user/ana","accountId":"111122223333","userName":"ana"}`},
		{"a session of a user", iam.Credential{Principal: ana, Session: &iam.Session{User: "ana", Issued: issued}},
			`{"type":"IAMUser","principalId":"AIDAEXAMPLEID","arn":"arn:aws:iam::111122223333:user/ana","accountId":"111122223333","userName":"ana","sessionContext":{"attributes":{"creationDate":"2026-01-10T08:00:00Z","mfaAuthenticated":"false"}}}`},
		{"a session of a role", iam.Credential{Principal: iam.Principal{ID: "AROAEXAMPLEID:ci", Kind: iam.KindRole, Name: "Deploy/ci", Account: "444455556666"},
			Session: &iam.Session{Role: role, User: "ana", Name: "ci", SourceIdentity: "ana", Issued: issued}},
			`{"type":"AssumedRole","principalId":"AROAEXAMPLEID:ci","arn":"arn:aws:sts::444455556666:assumed-role/Deploy/ci","accountId":"444455556666","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROAEXAMPLEID","arn":"arn:aws:iam::444455556666:role/Deploy","accountId":"444455556666","userName":"Deploy"},"attributes":{"creationDate":"2026-01-10T08:00:00Z","mfaAuthenticated":"false"},"sourceIdentity":"ana"}}`},
	} {
		got, err := json.Marshal(caller.Identity(c.cred))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}
