package validate

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"time"

	"spoor/internal/ledger"
	"spoor/internal/source"
)

// reconciler compares what digests list with what a ledger says was read. A ledger counts objects by account, Region and hour of
// delivery, and names those that failed; it keeps no hashes.
type reconciler struct {
	read   map[hourOf]int64
	failed map[string]string // reason by name of the file, which CloudTrail makes unique
	listed map[hourOf]int64
	found  []Finding
}

type hourOf struct {
	account, region string
	hour            time.Time
}

func newReconciler(r *ledger.Report) *reconciler {
	if r == nil {
		return nil
	}
	c := &reconciler{read: map[hourOf]int64{}, failed: map[string]string{}, listed: map[hourOf]int64{}}
	for _, cell := range r.Cells {
		c.read[hourOf{cell.Account, cell.Region, cell.Hour.UTC().Truncate(time.Hour)}] += cell.Objects.Read + cell.Objects.Failed
	}
	for _, f := range r.Failures {
		c.failed[path.Base(f.Object)] = f.Reason
	}
	return c
}

// note takes note of a log file that a digest lists.
func (c *reconciler) note(f *Finding) {
	if f.Code.subject() != "log" || f.Code == LogUnlisted {
		return
	}
	p := source.ParseKey(f.Key)
	if p.Delivered.IsZero() {
		return
	}
	c.listed[hourOf{p.Account, p.Region, p.Delivered.Truncate(time.Hour)}]++
	if reason, ok := c.failed[path.Base(f.Key)]; ok {
		c.found = append(c.found, Finding{
			Code: LedgerFailed, Level: Invalid, Bucket: f.Bucket, Key: f.Key, Account: f.Account, Region: f.Region, Trail: f.Trail,
			Reason: "by the ledger it could not be read: " + reason,
		})
	}
}

// findings tells of what was not read: a verdict for each stretch of hours of an account and a Region.
func (c *reconciler) findings() []Finding {
	var hours []hourOf
	for h, n := range c.listed {
		if c.read[h] < n {
			hours = append(hours, h)
		}
	}
	slices.SortFunc(hours, func(a, b hourOf) int {
		return cmp.Or(cmp.Compare(a.account, b.account), cmp.Compare(a.region, b.region), a.hour.Compare(b.hour))
	})
	out := c.found
	for i := 0; i < len(hours); {
		first, last := hours[i], hours[i]
		var unread, all int64
		for ; i < len(hours) && hours[i].account == first.account && hours[i].region == first.region && !hours[i].hour.After(last.hour.Add(time.Hour)); i++ {
			last = hours[i]
			unread, all = unread+c.listed[last]-c.read[last], all+c.listed[last]
		}
		out = append(out, Finding{
			Code: LedgerUnread, Level: Invalid, Account: first.account, Region: first.region, Start: first.hour, End: last.hour.Add(time.Hour), Files: int(unread),
			Reason: fmt.Sprintf("by the ledger, %d of the %d log files that digests list, delivered from %s to %s, were never read", unread, all, stamp(first.hour), stamp(last.hour.Add(time.Hour))),
		})
	}
	return out
}
