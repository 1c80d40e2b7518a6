package duckdb

import (
	"slices"
	"testing"
)

// TestSeen asks the tables of what was seen first and last for what the records hold.
func TestSeen(t *testing.T) {
	t.Parallel()
	e := open(t, Options{Files: write(t, records)})
	for sql, want := range map[string][]string{
		`SELECT * FROM seen_actors ORDER BY firstSeen LIMIT 2`: {
			"arn:aws:iam::111122223333:user/ana | ana | user | 111122223333 | 2026-01-05T09:12:41Z | 2026-01-05T09:12:41Z | 1 | 0",
			"arn:aws:iam::111122223333:role/Deploy | Deploy | workload | 111122223333 | 2026-01-05T10:00:00Z | 2026-01-05T10:00:00Z | 1 | 0"},
		`SELECT * FROM seen_addresses WHERE sourceIPAddress = '203.0.113.9'`: {"203.0.113.9 | 2026-01-05T10:00:00Z | 2026-01-06T11:00:00Z | 2 | 1"},
		`SELECT * FROM default.seen_keys ORDER BY accessKeyId`: {
			"AKIAEXAMPLEANA | arn:aws:iam::111122223333:user/ana | 1 | 2026-01-05T09:12:41Z | 2026-01-05T09:12:41Z | 1 | 0",
			"AKIAEXAMPLEBOB | arn:aws:iam::444455556666:user/bob | 1 | 2026-01-06T11:00:00Z | 2026-01-06T11:00:00Z | 1 | 1",
			"ASIAEXAMPLECI | arn:aws:iam::111122223333:role/Deploy | 1 | 2026-01-05T10:00:00Z | 2026-01-05T10:00:00Z | 1 | 0"},
		`SELECT userAgent FROM Seen_Agents ORDER BY firstseen DESC`: {"Mozilla/5.0", "=cmd|'/c calc'!A1", "Terraform", "aws-cli/2.36.7"},
		`SELECT actorId, eventSource, eventName, events, failed FROM seen_calls WHERE failed > 0 ORDER BY 1`: {
			"arn:aws:iam::111122223333:root | signin.amazonaws.com | ConsoleLogin | 1 | 1",
			"arn:aws:iam::444455556666:user/bob | iam.amazonaws.com | CreateUser | 1 | 1"},
		`SELECT account, awsRegion, firstSeen, events FROM seen_regions ORDER BY ALL`: {
			"111122223333 | eu-west-1 | 2026-01-05T10:00:00Z | 1",
			"111122223333 | us-east-1 | 2026-01-05T09:12:41Z | 2",
			"444455556666 | us-east-1 | 2026-01-06T11:00:00Z | 1"},
		`SELECT sourceIPAddress FROM seen_addresses WHERE firstSeen >= timestamp '2026-01-07 00:00:00'`: {"192.0.2.33"},
		`SELECT c.eventName FROM seen_calls c JOIN seen_actors a USING (actorId) WHERE a.actor = 'ana'`: {"GetObject"},
	} {
		if got := must(t, e, sql); !slices.Equal(got, want) {
			t.Errorf("%s\ngot  %q\nwant %q", sql, got, want)
		}
	}
	bounded := open(t, Options{Files: write(t, records), Since: mustTime("2026-01-06T00:00:00Z")})
	if got := must(t, bounded, `SELECT firstSeen FROM seen_addresses WHERE sourceIPAddress = '203.0.113.9'`); !slices.Equal(got, []string{"2026-01-06T11:00:00Z"}) {
		t.Errorf("with Since, first seen at %q", got)
	}
}
