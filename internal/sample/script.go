package sample

import (
	"fmt"
	"slices"
	"time"
)

// scripted is an event with a fixed time.
type scripted struct {
	place *place
	time  int64
	raw   []byte
}

// script is the list of all of them, and what they mean.
type script struct {
	events []scripted
	steps  []Step
	benign []Step
}

// newScript writes the attack, and look-alikes around it. Both begin at fixed parts of the period.
func newScript(w *world, o *Options) (*script, error) {
	b := &scriptBuilder{w: w, g: &gen{w: w}}
	b.g.begin(mix64(w.seed, hashText("script")), w.place(prodAccount, globalRegion))
	day := int64(o.Days) * 86400
	at := func(part float64) int64 { return o.Start.Unix() + int64(float64(day)*part)/3600*3600 }
	lookAlikes(b, at(0.35))
	benign := b.steps
	b.steps = nil
	attack(b, at(0.58)+11*60)
	if b.err != nil {
		return nil, b.err
	}
	slices.SortStableFunc(b.events, func(x, y scripted) int { return int(x.time - y.time) })
	return &script{events: b.events, steps: b.steps, benign: benign}, nil
}

// scriptBuilder writes scripted events. The first error sticks.
type scriptBuilder struct {
	w      *world
	g      *gen
	now    int64
	events []scripted
	steps  []Step
	err    error
}

// who is a caller in the script.
type who struct {
	identity string // template of userIdentity
	arn      string
	address  string
	agent    string // template
	console  bool
}

// user is an IAM user with a long-term key.
func (b *scriptBuilder) user(account int, name, key, address, agent string) who {
	id := b.w.accounts[account].id
	return who{
		identity: `{"type":"IAMUser","principalId":"` + principalID("AIDA", hashText(id+name)) + `","arn":"arn:aws:iam::` + id + `:user/` + name +
			`","accountId":"` + id + `","accessKeyId":"` + key + `","userName":"` + name + `"}`,
		arn: "arn:aws:iam::" + id + ":user/" + name, address: address, agent: agent,
	}
}

// actor is somebody of the organisation, as of the builder's time.
func (b *scriptBuilder) actor(account int, name, agent string) who {
	for _, a := range b.w.actors {
		if a.account.no != account || a.name != name {
			continue
		}
		b.g.actor, b.g.inst, b.g.nth, b.g.call, b.g.now = a, 0, a.sessionAt(0, b.now), b.w.assume, b.now
		b.g.rec.version = "1.11"
		b.g.viaEndpoint = false
		return who{
			identity: string(b.g.appendIdentity(nil, a.service)), arn: string(b.g.appendCallerARN(nil)),
			address: string(b.g.appendAddress(nil, a, 0, b.g.nth)), agent: agent,
		}
	}
	b.fail(fmt.Errorf("no actor %s", name))
	return who{}
}

// made is an event of the script. Texts are templates; the call's service decides what is not said.
type made struct {
	call       string // service.Name, known to the catalogue or not
	account    int
	region     string // the global one by default
	write      bool
	data       bool
	params     string
	response   string
	additional string
	resources  string
	errorCode  string
	message    string
	shared     []byte
	eventType  string
}

func (b *scriptBuilder) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// step begins a step; the events that follow belong to it.
func (b *scriptBuilder) step(s Step) { b.steps = append(b.steps, s) }

// wait moves the time on by lo to hi seconds.
func (b *scriptBuilder) wait(lo, hi int) { b.now += int64(b.g.between(lo, hi)) }

// event writes an event now.
func (b *scriptBuilder) event(by who, m made) {
	if m.region == "" {
		m.region = globalRegion
	}
	g := b.g
	place := b.w.place(m.account, m.region)
	c, err := newCall(spec{
		key: m.call, write: m.write, data: m.data, params: m.params, response: m.response, additional: m.additional,
		resources: m.resources, eventType: m.eventType,
	})
	if err != nil {
		b.fail(err)
		return
	}
	if place == nil {
		b.fail(fmt.Errorf("no place for %s in %s", m.call, m.region))
		return
	}
	g.place, g.call, g.now, g.nth = place, c, b.now, 0
	g.actor = &actor{kind: byUser, account: place.account, name: "script"}
	g.modern, g.console, g.viaEndpoint = true, by.console, false
	text := func(t string) []byte {
		compiled, err := compile(t)
		if err != nil {
			b.fail(err)
		}
		return compiled.append(g, nil)
	}
	g.identity, g.address, g.agent = text(by.identity), []byte(by.address), text(by.agent)
	g.rec = record{
		version: c.version, identity: g.identity, source: c.source, name: c.name, region: m.region, address: g.address, agent: g.agent,
		readOnly: c.readOnly, eventType: c.eventType, apiVersion: c.apiVersion, account: place.account.id, category: c.category,
		console: by.console && c.eventType == "AwsApiCall",
	}
	if c.service == "s3" && !by.console {
		g.rec.agent = text("[" + by.agent + "]")
	}
	g.tls = g.tls[:0]
	if c.host != nil && !by.console {
		g.tls = append(g.tls, 0)
	}
	c.faults = nil
	if m.errorCode != "" || m.message != "" {
		c.faults = []fault{{1, m.errorCode, template{{lit: string(text(m.message))}}}}
	}
	g.rec.shared = m.shared
	g.out, g.list = g.out[:0], g.list[:0]
	g.event()
	b.events = append(b.events, scripted{place, b.now, slices.Clone(g.out)})

	s := &b.steps[len(b.steps)-1]
	when := time.Unix(b.now, 0).UTC()
	if len(s.EventIDs) == 0 {
		s.First, s.Actor, s.Address = when, by.arn, by.address
	}
	s.Last = when
	s.EventIDs = append(s.EventIDs, string(g.eventID))
	if id := place.account.id; !slices.Contains(s.Accounts, id) {
		s.Accounts = append(s.Accounts, id)
	}
	if !slices.Contains(s.EventNames, c.name) {
		s.EventNames = append(s.EventNames, c.name)
	}
	if m.errorCode != "" || m.message != "" {
		s.Failed++
	}
}
