package sample

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
)

const (
	organization = "o-exampleorgid"
	// globalRegion is where the events of IAM, Organizations and other global services are filed.
	globalRegion = "us-east-1"
	// attackerAccount and vendorAccount are outside the organisation.
	attackerAccount = "999988887777"
	vendorAccount   = "888877776666"
)

// account is a member of the organisation. Accounts come in a fixed order, so that a small organisation is the first
// part of a large one.
type account struct {
	no   int
	id   string
	name string // what it is for: prod, dev, management, security, log-archive, staging, team-7
	size float64
}

// The accounts that the attack needs come first.
const (
	prodAccount = iota
	devAccount
	managementAccount
	securityAccount
	logAccount
	stagingAccount
)

const (
	minAccounts = 3
	maxAccounts = 200
)

var accountNames = [...]string{"prod", "dev", "management", "security", "log-archive", "staging"}
var accountSizes = [...]float64{1, 0.25, 0.3, 0.4, 0.4, 0.3}
var accountIDs = [...]string{"111122223333", "444455556666", "123456789012", "777788889999", "555555555555", "222222222222"}

func newAccounts(n int) []*account {
	list := make([]*account, n)
	digit := func(d int) string { return strings.Repeat(strconv.Itoa(d), 4) }
	for i := range list {
		a := &account{no: i}
		if i < len(accountNames) {
			a.name, a.size, a.id = accountNames[i], accountSizes[i], accountIDs[i]
		} else {
			k := i - len(accountNames)
			a.name = "team-" + strconv.Itoa(k+1)
			a.size = 0.5 / float64(k+2)
			a.id = digit(1+k%7) + digit((k/7+3)%10) + digit(k/70)
		}
		list[i] = a
	}
	return list
}

// kind is a kind of resource of which every place has a pool.
type kind int

const (
	kInstance kind = iota
	kVolume
	kSnapshot
	kGroup
	kSubnet
	kVPC
	kImage
	kInterface
	kBucket
	kSecret
	kFunction
	kTable
	kQueue
	kTopic
	kCluster
	kRole
	kUser
	kKey
	kLogGroup
	kDatabase
	kStack
	kRepository
	kBalancer
	kScaling
	kParameter
	kApp
	numKinds
)

var kindNames = [numKinds]string{
	"instance", "volume", "snapshot", "sg", "subnet", "vpc", "ami", "eni", "bucket", "secret", "function", "table",
	"queue", "topic", "cluster", "role", "user", "kms", "loggroup", "db", "stack", "repo", "lb", "asg", "param", "app",
}

var apps = []string{
	"orders", "payments", "catalog", "search", "identity", "billing", "shipping", "reports", "notify", "ledger",
	"media", "pricing", "inventory", "sessions", "gateway", "events", "returns", "loyalty", "tax", "audit",
}

// place is an account in a Region: where a slot's events come from.
type place struct {
	no      int
	account *account
	region  string
	global  bool // global services are logged here
	pools   [numKinds][]string
	vpce    string
	// crowd says who acts here, by hour of the week and, in [1], in the first five minutes of the hour.
	crowd    [hoursOfWeek][2]crowd
	starters []starter
}

// starter is an actor whose sessions begin, and are logged, at a place. A session that crosses accounts is logged in
// both; asCaller is the copy of the account that it came from.
type starter struct {
	actor    *actor
	asCaller bool
}

// crowd draws one of the actors of a place.
type crowd struct {
	actors []*actor
	cum    []float64
}

func (c *crowd) total() float64 {
	if len(c.cum) == 0 {
		return 0
	}
	return c.cum[len(c.cum)-1]
}

func (c *crowd) draw(s *source) *actor {
	x := s.unit() * c.total()
	return c.actors[min(sort.SearchFloat64s(c.cum, x), len(c.actors)-1)]
}

// world is everything that does not change while logs are made. It is read by all workers.
type world struct {
	seed     uint64
	accounts []*account
	places   []*place
	actors   []*actor
	calls    map[string]*call
	browsers []template
	assume   *call // begins sessions
}

func newWorld(seed uint64, accounts int) (*world, error) {
	w := &world{seed: seed, accounts: newAccounts(accounts)}
	var err error
	if w.calls, err = newCalls(); err != nil {
		return nil, err
	}
	w.assume = w.calls["sts.AssumeRole"]
	for _, a := range w.accounts {
		for _, r := range regionsOf(a) {
			w.places = append(w.places, newPlace(seed, len(w.places), a, r))
		}
	}
	for _, text := range agentLists["console"] {
		t, err := compile(text)
		if err != nil {
			return nil, err
		}
		w.browsers = append(w.browsers, t)
	}
	if err := w.populate(); err != nil {
		return nil, err
	}
	w.gather()
	return w, nil
}

func regionsOf(a *account) []string {
	switch a.no {
	case prodAccount, stagingAccount:
		return []string{"us-east-1", "eu-west-1", "ap-southeast-2"}
	case managementAccount:
		return []string{"us-east-1"}
	}
	return []string{"us-east-1", "eu-west-1"}
}

func (w *world) place(account int, region string) *place {
	for _, p := range w.places {
		if p.account.no == account && p.region == region {
			return p
		}
	}
	return nil
}

// gather puts every actor where it acts.
func (w *world) gather() {
	for _, p := range w.places {
		for _, a := range w.actors {
			if a.account != p.account {
				continue
			}
			rate := a.rate[p.region] * p.account.size
			if rate == 0 || (!p.global && len(a.mix.regional.calls) == 0) {
				continue
			}
			for h := range hoursOfWeek {
				for first := range 2 {
					weight := rate * a.rhythm.at(h, first == 1)
					if weight == 0 {
						continue
					}
					c := &p.crowd[h][first]
					c.actors = append(c.actors, a)
					c.cum = append(c.cum, c.total()+weight)
				}
			}
		}
		for _, a := range w.actors {
			if a.life == 0 || a.home != p.region {
				continue
			}
			if a.account == p.account {
				p.starters = append(p.starters, starter{actor: a})
			}
			if a.caller != nil && a.caller.account == p.account && a.caller.account != a.account {
				p.starters = append(p.starters, starter{actor: a, asCaller: true})
			}
		}
		// A slot has room for some of the sessions that begin in it: first those that an investigation follows.
		slices.SortStableFunc(p.starters, func(x, y starter) int { return x.actor.kind.precedence() - y.actor.kind.precedence() })
	}
}

func newPlace(seed uint64, no int, a *account, region string) *place {
	p := &place{no: no, account: a, region: region, global: region == globalRegion}
	s := newSource(mix64(seed, hashText("place"), hashText(a.name+region)))
	p.vpce = "vpce-0" + string(s.chars(nil, digitsHex, 16))
	scale := func(n int) int { return max(2, int(float64(n)*min(1, a.size))) }
	ids := func(k kind, prefix string, n int) {
		for range scale(n) {
			p.pools[k] = append(p.pools[k], prefix+"0"+string(s.chars(nil, digitsHex, 16)))
		}
	}
	ids(kInstance, "i-", 240)
	ids(kVolume, "vol-", 400)
	ids(kSnapshot, "snap-", 300)
	ids(kGroup, "sg-", 80)
	ids(kSubnet, "subnet-", 12)
	ids(kVPC, "vpc-", 3)
	ids(kImage, "ami-", 10)
	ids(kInterface, "eni-", 200)
	name := func(k kind, n int, f func(app string, i int) string) {
		for i := range scale(n) {
			p.pools[k] = append(p.pools[k], f(apps[i%len(apps)], i))
		}
	}
	env := a.name
	name(kBucket, 30, func(app string, i int) string {
		b := "example-" + env + "-" + app + "-" + []string{"data", "assets", "exports"}[i%3]
		if region != globalRegion {
			b += "-" + region[:2]
		}
		return b
	})
	name(kSecret, 40, func(app string, i int) string {
		return "arn:aws:secretsmanager:" + region + ":" + a.id + ":secret:" + env + "/" + app + "/" +
			[]string{"database", "api-token", "signing"}[i%3] + "-" + string(s.charsOf(nil, digitsAlnum, 6))
	})
	name(kFunction, 40, func(app string, i int) string {
		return app + "-" + []string{"handler", "worker", "stream", "cron"}[i%4]
	})
	name(kTable, 24, func(app string, i int) string { return env + "-" + app + []string{"", "-index", "-locks"}[i%3] })
	name(kQueue, 20, func(app string, i int) string { return env + "-" + app + []string{"", "-dlq"}[i%2] })
	name(kTopic, 12, func(app string, _ int) string { return env + "-" + app })
	name(kCluster, 3, func(app string, _ int) string { return env + "-" + app })
	name(kRole, 60, func(app string, i int) string {
		return env + "-" + app + "-" + []string{"task", "lambda", "node", "deploy"}[i%4]
	})
	name(kUser, 8, func(app string, _ int) string { return "svc-" + app })
	for range scale(20) {
		p.pools[kKey] = append(p.pools[kKey], "arn:aws:kms:"+region+":"+a.id+":key/"+string(s.uuid(nil)))
	}
	name(kLogGroup, 60, func(app string, i int) string {
		return []string{"/aws/lambda/", "/ecs/", "/app/"}[i%3] + app + "-" + []string{"handler", "worker", "stream", "cron"}[i%4]
	})
	name(kDatabase, 10, func(app string, _ int) string { return env + "-" + app + "-db" })
	name(kStack, 30, func(app string, i int) string { return env + "-" + app + "-stack-" + strconv.Itoa(i/len(apps)) })
	name(kRepository, 25, func(app string, _ int) string { return "example/" + app })
	name(kBalancer, 14, func(app string, _ int) string {
		return "app/" + env + "-" + app + "/" + string(s.chars(nil, digitsHex, 16))
	})
	name(kScaling, 16, func(app string, _ int) string { return env + "-" + app + "-asg" })
	name(kParameter, 60, func(app string, i int) string {
		return "/" + env + "/" + app + "/" + []string{"url", "feature-flags", "timeout", "log-level"}[i%4]
	})
	name(kApp, len(apps), func(app string, _ int) string { return app })
	if a.no == logAccount {
		p.pools[kBucket] = []string{trailBucket, "example-org-flow-logs", "example-org-access-logs", "example-org-config"}
	}
	return p
}

// trailBucket holds the organisation's trail.
const trailBucket = "example-org-cloudtrail"

const hoursOfWeek = 168

// rhythm says how busy an actor is over the week, in UTC.
type rhythm struct {
	shape rhythmShape
	hour  int // of nightly and weekly, or the time zone's offset for office
	cron  bool
}

type rhythmShape int

const (
	flat    rhythmShape = iota
	traffic             // follows the customers: busiest in the evening, quieter at weekends
	office              // working hours
	nightly             // one hour a day
)

// at is the weight in an hour of the week, Monday 00:00 being 0; the mean over a week is about 1 for every shape, so
// that rates are comparable.
func (r rhythm) at(h int, first bool) float64 {
	hour, day := h%24, h/24
	w := 1.0
	switch r.shape {
	case traffic:
		w = [24]float64{.7, .55, .45, .4, .4, .45, .55, .7, .9, 1.05, 1.1, 1.15, 1.2, 1.2, 1.2, 1.25, 1.3, 1.4, 1.55, 1.7, 1.7, 1.5, 1.2, .9}[hour]
		if day >= 5 {
			w *= 0.75
		}
	case office:
		local := ((h+r.hour)%hoursOfWeek + hoursOfWeek) % hoursOfWeek
		hour, day = local%24, local/24
		w = [24]float64{8: 1.5, 9: 4.5, 10: 5, 11: 4.5, 12: 2, 13: 3.5, 14: 4.5, 15: 4.5, 16: 4, 17: 2, 18: .5}[hour]
		if day >= 5 {
			w = 0
		}
	case nightly:
		w = 0
		if hour == r.hour {
			w = 24
		}
	}
	if r.cron {
		if !first {
			return 0
		}
		w *= 12
	}
	return w
}

// mix is a set of calls with weights; calls of global services are only made where they are logged.
type mix struct {
	all      callSet
	regional callSet
}

type callSet struct {
	calls []*call
	cum   []float64
}

func (c *callSet) add(x *call, weight float64) {
	if n := len(c.cum); n > 0 {
		weight += c.cum[n-1]
	}
	c.calls, c.cum = append(c.calls, x), append(c.cum, weight)
}

func (c *callSet) draw(s *source) *call {
	x := s.unit() * c.cum[len(c.cum)-1]
	return c.calls[min(sort.SearchFloat64s(c.cum, x), len(c.calls)-1)]
}

// newMix reads a list such as "s3.GetObject=30 kms.Decrypt=5".
func (w *world) newMix(text string) (*mix, error) {
	m := new(mix)
	for entry := range strings.FieldsSeq(text) {
		name, weight, _ := strings.Cut(entry, "=")
		c := w.calls[name]
		if c == nil {
			return nil, fmt.Errorf("mix: call %q is not known", name)
		}
		x, err := strconv.ParseFloat(weight, 64)
		if err != nil {
			return nil, fmt.Errorf("mix: %q: %w", entry, err)
		}
		m.all.add(c, x)
		if !c.global {
			m.regional.add(c, x)
		}
	}
	return m, nil
}
