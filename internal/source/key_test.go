package source_test

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spoor/internal/source"
	"spoor/internal/source/sourcetest"
)

func at(y int, mo time.Month, d, h, mi int) time.Time {
	return time.Date(y, mo, d, h, mi, 0, 0, time.UTC)
}

func TestParseKey(t *testing.T) {
	t.Parallel()
	const a = "111122223333"
	for key, want := range map[string]source.Place{
		"AWSLogs/" + a + "/CloudTrail/us-east-1/2026/01/10/" + a + "_CloudTrail_us-east-1_20260110T0915Z_Ab12Cd34Ef56Gh78.json.gz": {
			Kind: source.Logs, Account: a, Region: "us-east-1", Delivered: at(2026, 1, 10, 9, 15)},
		"some/prefix/AWSLogs/" + a + "/CloudTrail/eu-central-1/2026/01/10/" + a + "_CloudTrail_eu-central-1_20260110T2359Z_Ab12Cd34Ef56Gh78.json.gz": {
			Kind: source.Logs, Account: a, Region: "eu-central-1", Delivered: at(2026, 1, 10, 23, 59)},
		"p/AWSLogs/o-abc1234567/" + a + "/CloudTrail/us-gov-west-1/2026/01/10/" + a + "_CloudTrail_us-gov-west-1_20260110T0915Z_Ab12Cd34Ef56Gh78.json.gz": {
			Kind: source.Logs, Org: "o-abc1234567", Account: a, Region: "us-gov-west-1", Delivered: at(2026, 1, 10, 9, 15)},
		"AWSLogs/" + a + "/CloudTrail-Insight/us-east-1/2026/01/10/" + a + "_CloudTrail-Insight_us-east-1_20260110T0915Z_Ab12Cd34Ef56Gh78.json.gz": {
			Kind: source.Insight, Account: a, Region: "us-east-1", Delivered: at(2026, 1, 10, 9, 15)},
		"AWSLogs/" + a + "/CloudTrail-NetworkActivity/us-east-1/2026/01/10/whatever.json.gz": {
			Kind: source.NetworkActivity, Account: a, Region: "us-east-1", Delivered: at(2026, 1, 10, 0, 0)},
		"AWSLogs/" + a + "/CloudTrail-Aggregated/us-east-1/2026/01/10/x": {
			Kind: source.Aggregated, Account: a, Region: "us-east-1", Delivered: at(2026, 1, 10, 0, 0)},
		"AWSLogs/" + a + "/CloudTrail-Digest/us-east-1/2026/01/10/" + a + "_CloudTrail-Digest_us-east-1_audit_us-east-1_20260110T100031Z.json.gz": {
			Kind: source.Digest, Account: a, Region: "us-east-1", Delivered: at(2026, 1, 10, 10, 0)},
		// A trail's name may hold dots, underscores and dashes, and look like other parts of the name.
		a + "_CloudTrail-Digest_eu-west-1_my_trail.v2-Z_us-east-1_20260110T100031Z.json.gz": {
			Kind: source.Digest, Account: a, Region: "eu-west-1", Delivered: at(2026, 1, 10, 10, 0)},
		a + "_CloudTrail-Digest_eu-west-1_my.trail_us-east-1_20260110T100031Z_backfill.json.gz": {
			Kind: source.Digest, Account: a, Region: "eu-west-1", Delivered: at(2026, 1, 10, 10, 0)},
		a + "_CloudTrail-Digest_eu-west-1_20250101T000000Z_us-east-1_20260110T100031Z_backfill.json.gz": {
			Kind: source.Digest, Account: a, Region: "eu-west-1", Delivered: at(2026, 1, 10, 10, 0)},
		"AWSLogs/" + a + "/CloudTrail-Lake/Query/2026/01/10/4b2e4ef0-0000-4000-8000-1234567890ab/result_1.csv.gz": {
			Kind: source.Lake, Account: a, Delivered: at(2026, 1, 10, 0, 0)},
		// The name of the file alone.
		a + "_CloudTrail_us-east-1_20260110T0915Z_Ab12Cd34Ef56Gh78.json": {
			Kind: source.Logs, Account: a, Region: "us-east-1", Delivered: at(2026, 1, 10, 9, 15)},
		// The name wins over the folders, which only give the organisation.
		"AWSLogs/o-abc1234567/999999999999/CloudTrail/us-west-2/2025/01/10/" + a + "_CloudTrail_us-east-1_20260110T0915Z_Ab12Cd34Ef56Gh78.json.gz": {
			Kind: source.Logs, Org: "o-abc1234567", Account: a, Region: "us-east-1", Delivered: at(2026, 1, 10, 9, 15)},
		// A prefix that looks like the layout itself.
		"AWSLogs/AWSLogs/" + a + "/CloudTrail/us-east-1/2026/01/10/x.json.gz": {
			Kind: source.Logs, Account: a, Region: "us-east-1", Delivered: at(2026, 1, 10, 0, 0)},
		"myAWSLogs/AWSLogs/" + a + "/CloudTrail/us-east-1/x.json.gz":  {Kind: source.Logs, Account: a, Region: "us-east-1"},
		"AWSLogs/" + a + "/CloudTrail/":                               {Kind: source.Logs, Account: a},
		"AWSLogs/" + a + "/vpcflowlogs/us-east-1/2026/01/10/x.log.gz": {Kind: "vpcflowlogs", Account: a, Region: "us-east-1", Delivered: at(2026, 1, 10, 0, 0)},
		"AWSLogs/" + a + "/Config/ConfigWritabilityCheckFile":         {Kind: "Config", Account: a},

		// What tells nothing, or half of it.
		"":                                    {},
		"/":                                   {},
		"x.json.gz":                           {},
		"AWSLogs":                             {},
		"AWSLogs/x.json":                      {},
		"AWSLogs/" + a + "/x.json":            {},
		"AWSLogs/1234/CloudTrail/us-east-1/x": {},
		"myAWSLogs/" + a + "/CloudTrail/us-east-1/2026/01/10/x":                 {},
		"AWSLogs/o-abc/" + a + "x/CloudTrail/us-east-1/2026/01/10/x":            {},
		"AWSLogs/" + a + "/CloudTrail/us-east-1/2026/13/10/x":                   {Kind: source.Logs, Account: a, Region: "us-east-1"},
		"AWSLogs/" + a + "/CloudTrail/us-east-1/2026/02/30/x":                   {Kind: source.Logs, Account: a, Region: "us-east-1"},
		a + "_CloudTrail_us-east-1_20260230T0915Z_Ab12Cd34Ef56Gh78.json.gz":     {},
		a + "_CloudTrail_us-east-1_20260110T2460Z_Ab12Cd34Ef56Gh78.json.gz":     {},
		a + "_CloudTrail_us-east-1_20260110T091Z_Ab12Cd34Ef56Gh78.json.gz":      {},
		a + "_CloudTrailX_us-east-1_20260110T0915Z_Ab12Cd34Ef56Gh78.json.gz":    {},
		"11112222333_CloudTrail_us-east-1_20260110T0915Z_Ab12Cd34Ef56Gh78.json": {},
	} {
		if got := source.ParseKey(key); got != want {
			t.Errorf("ParseKey(%q)\n got %+v\nwant %+v", key, got, want)
		}
	}
}

func TestParseFolder(t *testing.T) {
	t.Parallel()
	const a = "111122223333"
	logs := func(region string) source.Place { return source.Place{Kind: source.Logs, Account: a, Region: region} }
	for path, want := range map[string]source.Folder{
		"":                          {},
		"x/y/":                      {},
		"x/AWSLogs/":                {Level: source.LevelRoot},
		"AWSLogs":                   {Level: source.LevelRoot},
		"AWSLogs/AWSLogs":           {Level: source.LevelRoot},
		"AWSLogs/o-a1/":             {Level: source.LevelOrg, Place: source.Place{Org: "o-a1"}},
		"AWSLogs/o-a1/stacksets":    {Level: source.LevelBelow, Place: source.Place{Org: "o-a1"}},
		"AWSLogs/other/":            {},
		"AWSLogs/" + a:              {Level: source.LevelAccount, Place: source.Place{Account: a}},
		"AWSLogs/" + a + "/Config/": {Level: source.LevelKind, Place: source.Place{Account: a, Kind: "Config"}},
		"AWSLogs/" + a + "/a/B C/":  {Level: source.LevelBelow, Place: source.Place{Account: a, Kind: "a"}},
		"AWSLogs/o-a1/" + a + "/":   {Level: source.LevelAccount, Place: source.Place{Org: "o-a1", Account: a}},
		"AWSLogs/" + a + "/CloudTrail/us-east-1/": {Level: source.LevelRegion, Place: logs("us-east-1")},
		"AWSLogs/" + a + "/CloudTrail/us-east-1/2026/": {Level: source.LevelYear, Place: logs("us-east-1"),
			From: at(2026, 1, 1, 0, 0), To: at(2027, 1, 1, 0, 0)},
		"AWSLogs/" + a + "/CloudTrail/us-east-1/2025/12": {Level: source.LevelMonth, Place: logs("us-east-1"),
			From: at(2025, 12, 1, 0, 0), To: at(2026, 1, 1, 0, 0)},
		"AWSLogs/" + a + "/CloudTrail/us-east-1/2024/02/29/": {Level: source.LevelDay, Place: logs("us-east-1"),
			From: at(2024, 2, 29, 0, 0), To: at(2024, 3, 1, 0, 0)},
		"AWSLogs/" + a + "/CloudTrail/us-east-1/2024/02/29/x/": {Level: source.LevelBelow, Place: logs("us-east-1"),
			From: at(2024, 2, 29, 0, 0), To: at(2024, 3, 1, 0, 0)},
		"AWSLogs/" + a + "/CloudTrail/us-east-1/24/": {Level: source.LevelBelow, Place: logs("us-east-1")},
	} {
		if got := source.ParseFolder(path); got != want {
			t.Errorf("ParseFolder(%q)\n got %+v\nwant %+v", path, got, want)
		}
	}
}

// Every genuine key of the shared data tells all.
func TestParseKeyOfRealNames(t *testing.T) {
	t.Parallel()
	root := filepath.Join(sourcetest.Shared(t), "data", "cloudtrail", "s3-layout")
	n := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".json.gz") {
			return err
		}
		n++
		p := source.ParseKey(filepath.ToSlash(path))
		if p.Kind != source.Logs || p.Account == "" || p.Region == "" || p.Delivered.IsZero() {
			t.Errorf("%s: %+v", path, p)
		}
		if !strings.Contains(path, "/"+p.Account+"/CloudTrail/"+p.Region+"/"+p.Delivered.Format("2006/01/02")+"/") {
			t.Errorf("%s: %+v is not its folder", path, p)
		}
		return nil
	})
	if err != nil || n != 8 {
		t.Fatalf("%d files, %v, want 8", n, err)
	}
}

func FuzzParseKey(f *testing.F) {
	for _, s := range []string{
		"p/AWSLogs/o-abc1234567/111122223333/CloudTrail/us-east-1/2026/01/10/111122223333_CloudTrail_us-east-1_20260110T0915Z_Ab12Cd34Ef56Gh78.json.gz",
		"111122223333_CloudTrail-Digest_eu-west-1_my_trail.v2_us-east-1_20260110T100031Z_backfill.json.gz",
		"AWSLogs/111122223333/CloudTrail-Lake/Query/2026/01/10/x/result_1.csv.gz",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		p := source.ParseKey(key)
		if p.Kind == source.Unknown && p != (source.Place{}) {
			t.Fatalf("%q: no kind, but %+v", key, p)
		}
		// A folder never leaves out what an object in it would not have been left out for.
		i := strings.LastIndexByte(key, '/')
		if i < 0 || p.Delivered.IsZero() {
			return
		}
		fo := source.ParseFolder(key[:i])
		if !fo.From.IsZero() && (p.Delivered.Before(fo.From) || !p.Delivered.Before(fo.To)) {
			return // moved into another day's folder
		}
		for _, sel := range []source.Selection{
			{Since: p.Delivered}, {Since: p.Delivered.Add(time.Hour)}, {Until: p.Delivered}, {Until: p.Delivered.Add(-source.DefaultLag)},
		} {
			sel.Kinds = source.LogKinds()
			if fo.Kind == p.Kind && sel.Skip(p) == "" && sel.SkipFolder(fo) != "" {
				t.Fatalf("%q with %+v: kept, but the folder is skipped: %s", key, sel, sel.SkipFolder(fo))
			}
		}
	})
}
