package source_test

import (
	"testing"
	"time"

	"spoor/internal/source"
)

func TestSkip(t *testing.T) {
	t.Parallel()
	logs := source.Place{Kind: source.Logs, Account: "111122223333", Region: "us-east-1", Delivered: at(2026, 1, 10, 9, 15)}
	day := logs
	day.Delivered = at(2026, 1, 10, 0, 0)
	kind := func(k source.Kind) source.Place { p := logs; p.Kind = k; return p }
	for name, c := range map[string]struct {
		sel  source.Selection
		p    source.Place
		want string
	}{
		"nothing selected":             {source.Selection{}, logs, ""},
		"nothing selected, digest":     {source.Selection{}, kind(source.Digest), ""},
		"account":                      {source.Selection{Accounts: []string{"1", "111122223333"}}, logs, ""},
		"other account":                {source.Selection{Accounts: []string{"999999999999"}}, logs, source.SkipAccount},
		"region":                       {source.Selection{Regions: []string{"us-east-1"}}, logs, ""},
		"other region":                 {source.Selection{Regions: []string{"us-east-2"}}, logs, source.SkipRegion},
		"digest":                       {source.Selection{Kinds: source.LogKinds()}, kind(source.Digest), source.SkipDigest},
		"lake":                         {source.Selection{Kinds: source.LogKinds()}, kind(source.Lake), source.SkipLake},
		"insight":                      {source.Selection{Kinds: source.LogKinds()}, kind(source.Insight), ""},
		"insight unwanted":             {source.Selection{Kinds: []source.Kind{source.Logs}}, kind(source.Insight), "kind not selected: CloudTrail-Insight"},
		"flow logs":                    {source.Selection{Kinds: source.LogKinds()}, kind("vpcflowlogs"), "log of another service: vpcflowlogs"},
		"flow logs, nothing selected":  {source.Selection{}, kind("vpcflowlogs"), ""},
		"delivered before since":       {source.Selection{Since: at(2026, 1, 10, 9, 17)}, logs, source.SkipTime},
		"a minute before since":        {source.Selection{Since: at(2026, 1, 10, 9, 16)}, logs, source.SkipTime},
		"in the minute of since":       {source.Selection{Since: at(2026, 1, 10, 9, 16).Add(-1)}, logs, ""},
		"after since":                  {source.Selection{Since: at(2025, 1, 10, 9, 15)}, logs, ""},
		"before until":                 {source.Selection{Until: at(2026, 1, 11, 0, 0)}, logs, ""},
		"after until, within the lag":  {source.Selection{Until: at(2026, 1, 9, 9, 15)}, logs, ""},
		"after until, beyond the lag":  {source.Selection{Until: at(2026, 1, 9, 9, 14)}, logs, source.SkipTime},
		"after until, own lag":         {source.Selection{Until: at(2026, 1, 1, 0, 0), Lag: 30 * 24 * time.Hour}, logs, ""},
		"after until, short lag":       {source.Selection{Until: at(2026, 1, 10, 9, 0), Lag: time.Minute}, logs, source.SkipTime},
		"a day, since at its end":      {source.Selection{Since: at(2026, 1, 10, 23, 59)}, day, ""},
		"a day, since after it":        {source.Selection{Since: at(2026, 1, 11, 0, 0)}, day, source.SkipTime},
		"everything, but nothing told": {source.Selection{Since: at(2030, 1, 1, 0, 0), Until: at(2030, 1, 2, 0, 0), Accounts: []string{"1"}, Regions: []string{"x"}, Kinds: source.LogKinds()}, source.Place{}, ""},
	} {
		if got := c.sel.Skip(c.p); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestSkipFolder(t *testing.T) {
	t.Parallel()
	const base = "AWSLogs/111122223333/CloudTrail/us-east-1/"
	for name, c := range map[string]struct {
		sel  source.Selection
		path string
		want string
	}{
		"root":                  {source.Selection{Accounts: []string{"9"}, Since: at(2030, 1, 1, 0, 0)}, "AWSLogs/", ""},
		"other account":         {source.Selection{Accounts: []string{"999999999999"}}, "AWSLogs/111122223333/", source.SkipAccount},
		"other region":          {source.Selection{Regions: []string{"eu-west-1"}}, base, source.SkipRegion},
		"year before":           {source.Selection{Since: at(2026, 1, 1, 0, 0)}, base + "2025/", source.SkipTime},
		"last moment of a year": {source.Selection{Since: at(2026, 1, 1, 0, 0).Add(-1)}, base + "2025/", ""},
		"month after":           {source.Selection{Until: at(2026, 1, 30, 23, 59)}, base + "2026/02/", source.SkipTime},
		"month within the lag":  {source.Selection{Until: at(2026, 1, 31, 0, 0)}, base + "2026/02/", ""},
		"day":                   {source.Selection{Since: at(2026, 1, 10, 5, 0), Until: at(2026, 1, 10, 6, 0)}, base + "2026/01/10/", ""},
		"day after":             {source.Selection{Until: at(2026, 1, 10, 6, 0)}, base + "2026/01/11/", ""},
		"two days after":        {source.Selection{Until: at(2026, 1, 10, 6, 0)}, base + "2026/01/12/", source.SkipTime},
		"digests are counted":   {source.Selection{Kinds: source.LogKinds()}, "AWSLogs/111122223333/CloudTrail-Digest/", ""},
		"other services":        {source.Selection{Kinds: source.LogKinds()}, "AWSLogs/111122223333/WAFLogs/", "log of another service: WAFLogs"},
	} {
		if got := c.sel.SkipFolder(source.ParseFolder(c.path)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
