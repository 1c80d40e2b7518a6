package duckdb

import (
	"strings"
	"testing"
)

// TestPublishedQuery runs a published query for Athena as it is written.
func TestPublishedQuery(t *testing.T) {
	t.Parallel()
	e := open(t, Options{Files: write(t, records)})
	got := must(t, e, `SELECT eventname, json_extract(requestparameters, '$.bucketName') AS bucket, useridentity FROM "default"."cloudtrail_logs" WHERE eventsource = 's3.amazonaws.com' AND eventname IN ('PutObject','GetObject') AND errorcode IS NULL LIMIT 10`)
	if len(got) != 1 || !strings.HasPrefix(got[0], `GetObject | "payroll" | {"type":"IAMUser","principalid":"AIDAEXAMPLEANA",`) {
		t.Errorf("got %q", got)
	}
}
