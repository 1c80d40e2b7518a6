package story

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestTrailOutage has a bucket that refuses for some digests' time, and a service that is killed and stays away for longer still.
// Backfill digests make up for both; the AWS CLI and our own validation find them good, and notice what is done to them.
func TestTrailOutage(t *testing.T) {
	t.Parallel()
	awsCLI(t)
	d := newDesk(t)
	short := []string{"--set", "trails.interval=1s", "--set", "trails.digest_interval=3s"}
	s := d.serveAWS(short...)
	d.user("ana", "admin")
	ana := d.accessKey("ana")
	run := func(args ...string) { t.Helper(); s.cli(ana, args...).exits(clean) }
	run("s3api", "create-bucket", "--bucket", trailBucket, "--create-bucket-configuration", "LocationConstraint="+awsRegion)
	allow := func(on bool) {
		t.Helper()
		policy := bucketPolicy(trailBucket, "")
		if !on {
			policy = strings.ReplaceAll(policy, trailARN, trailARN+"-other")
		}
		if _, err := s.s3(ana).PutBucketPolicy(t.Context(), &awss3.PutBucketPolicyInput{Bucket: aws.String(trailBucket), Policy: &policy}); err != nil {
			t.Fatal(err)
		}
	}
	allow(true)
	run("cloudtrail", "create-trail", "--name", "audit", "--s3-bucket-name", trailBucket, "--no-include-global-service-events", "--enable-log-file-validation")
	run("cloudtrail", "start-logging", "--name", "audit")
	digests := func(backfill bool) []string {
		t.Helper()
		return slices.DeleteFunc(s.keys(ana, trailBucket, "AWSLogs/"+awsAccount+"/CloudTrail-Digest/"), func(key string) bool { return strings.HasSuffix(key, "_backfill.json.gz") != backfill })
	}
	n := 0
	push := func() {
		n++
		s.want("POST", "/api/v1/events", dataRecord(n, awsAccount, awsRegion, "ec2.amazonaws.com", "RunInstances", "", "")+"\n")
	}
	push()
	s.eventually("there are digests", func() bool { return len(digests(false)) >= 2 })

	// The bucket refuses. What is cut meanwhile comes late.
	allow(false)
	for range 12 {
		push()
		time.Sleep(time.Second)
	}
	if st := s.trailStatus(ana); aws.ToString(st.LatestDigestDeliveryError) != "AccessDenied" {
		t.Errorf("while the bucket refuses, the status has the error %q", aws.ToString(st.LatestDigestDeliveryError))
	}
	allow(true)
	ordinary := len(digests(false))
	s.eventually("digests go on", func() bool { return len(digests(false)) >= ordinary+2 && len(digests(true)) > 0 })
	first := len(digests(true))

	// The service is killed, and away for five digests.
	push()
	s.end(syscall.SIGKILL, -1)
	time.Sleep(15 * time.Second)
	s = s.again(short...)
	d.env = append(d.env, "SPOOR_SERVER="+s.url)
	s.eventually("it takes events again", func() bool {
		status, _, err := s.call(t.Context(), "POST", "/api/v1/events", dataRecord(1000, awsAccount, awsRegion, "ec2.amazonaws.com", "RunInstances", "", "")+"\n")
		return err == nil && status == 200
	})
	ordinary = len(digests(false))
	s.eventually("digests go on after the kill", func() bool { return len(digests(true)) >= first+3 && len(digests(false)) >= ordinary+2 })
	run("cloudtrail", "stop-logging", "--name", "audit")
	before := 0
	s.eventually("the chain has ended", func() bool { // nothing comes for longer than a digest's time
		all := len(digests(false)) + len(digests(true))
		if all == before {
			return true
		}
		before = all
		time.Sleep(6500 * time.Millisecond)
		return false
	})
	if st := s.trailStatus(ana); st.LatestDigestDeliveryTime == nil || aws.ToString(st.LatestDigestDeliveryError) != "" {
		t.Errorf("the status is %+v", st)
	}

	// Every log file is in one digest, some late ones in backfill digests, and every digest begins where one of either kind ended.
	_, _, files := s.delivered(ana, trailBucket)
	listed, late, ends := map[string]int{}, 0, map[string]bool{}
	type textOf struct {
		DigestStartTime, DigestEndTime string
		PreviousDigestS3Object         *string
		LogFiles                       []struct{ S3Object string }
	}
	var starts []string
	backfills := digests(true)
	for _, key := range slices.Concat(digests(false), backfills) {
		o := s.get(ana, trailBucket, key)
		var dt textOf
		if err := json.Unmarshal(gunzipped(t, o.body), &dt); err != nil {
			t.Fatal(err)
		}
		starts = append(starts, dt.DigestStartTime)
		if ends[dt.DigestEndTime] {
			t.Errorf("two digests end at %s", dt.DigestEndTime)
		}
		ends[dt.DigestEndTime] = true
		for _, f := range dt.LogFiles {
			listed[f.S3Object]++
		}
		if slices.Contains(backfills, key) {
			late += len(dt.LogFiles)
			if (dt.PreviousDigestS3Object == nil) != (key == backfills[0]) {
				t.Errorf("%s links to %v", key, dt.PreviousDigestS3Object)
			}
			if o.metadata["backfill-generation-timestamp"] <= dt.DigestEndTime {
				t.Errorf("%s says that it was made at %q", key, o.metadata["backfill-generation-timestamp"])
			}
		} else if o.metadata["backfill-generation-timestamp"] != "" {
			t.Errorf("%s says that it is a backfill digest", key)
		}
	}
	slices.Sort(starts)
	for _, at := range starts[1:] {
		if !ends[at] {
			t.Errorf("no digest ends at %s, where one starts", at)
		}
	}
	want := map[string]int{}
	for _, f := range files {
		want[f] = 1
	}
	if !maps.Equal(listed, want) || late == 0 {
		t.Errorf("digests list %v, late ones %d of them; there are %v", listed, late, files)
	}

	// Both validations find everything good.
	v := s.awsValidates(ana)
	for _, key := range slices.Concat(digests(false), backfills, files) {
		if !v.valid[key] {
			t.Errorf("the AWS CLI does not say that %s is valid", key)
		}
	}
	if text := fmt.Sprintf("%d/%d backfill digest files valid", len(backfills), len(backfills)); !strings.Contains(v.text, text) || strings.Count(v.text, "(backfill) Digest file\t") != len(backfills) || strings.Contains(v.text, "No log files were delivered") {
		t.Errorf("the AWS CLI says\n%s", tail(v.text))
	}
	if invalid, codes := s.spoorValidates(ana); len(invalid) > 0 || codes["log-valid"] != len(files) || codes["digest-valid"] != len(starts) || codes["chain-restart"] > 0 {
		t.Errorf("spoor says %v, %v", invalid, codes)
	}

	// A backfill digest is changed, and another one removed.
	kept := map[string]object{}
	remove := func(keys ...string) {
		for _, key := range keys {
			kept[key] = s.get(ana, trailBucket, key)
			s.remove(ana, trailBucket, key)
		}
	}
	back := func() {
		for key, o := range kept {
			s.put(ana, trailBucket, key, o)
		}
		clear(kept)
	}
	changed, removed := backfills[len(backfills)-2], backfills[0]
	o := s.get(ana, trailBucket, changed)
	kept[changed] = o
	o.body = gzipped(t, bytes.Replace(gunzipped(t, o.body), []byte(`"digestStartTime":"2`), []byte(`"digestStartTime":"1`), 1))
	s.put(ana, trailBucket, changed, o)
	if v := s.awsValidates(ana); !maps.Equal(v.invalid, map[string]string{changed: "signature verification failed"}) {
		t.Errorf("of a backfill digest that was changed, the AWS CLI finds %v", v.invalid)
	}
	if invalid, _ := s.spoorValidates(ana); invalid[changed] != "digest-modified" {
		t.Errorf("of a backfill digest that was changed, spoor finds %v", invalid)
	}
	back()
	remove(removed)
	if v := s.awsValidates(ana); !maps.Equal(v.invalid, map[string]string{removed: "not found"}) {
		t.Errorf("of a backfill digest that was removed, the AWS CLI finds %v", v.invalid)
	}
	if invalid, _ := s.spoorValidates(ana); invalid[removed] != "digest-missing" {
		t.Errorf("of a backfill digest that was removed, spoor finds %v", invalid)
	}

	// With all of them removed the AWS CLI finds nothing: the ordinary digests link to each other.
	remove(backfills[1:]...)
	if v := s.awsValidates(ana); len(v.invalid) > 0 {
		t.Errorf("the AWS CLI has become better, and finds %v", v.invalid)
	}
	invalid, _ := s.spoorValidates(ana)
	for _, key := range backfills {
		if invalid[key] != "digest-missing" {
			t.Errorf("of all backfill digests removed, spoor says of %s %q", key, invalid[key])
		}
	}
	back()
	if invalid, _ := s.spoorValidates(ana); len(invalid) > 0 {
		t.Errorf("with everything back, spoor finds %v", invalid)
	}
	s.end(syscall.SIGTERM, clean)
}
