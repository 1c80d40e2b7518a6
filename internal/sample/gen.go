package sample

import "math"

// gen makes the events of one slot at a time. Each worker has its own.
type gen struct {
	source
	w     *world
	place *place

	// One run: the same actor, session and call.
	actor       *actor
	inst        int
	nth         int64 // number of the session, 0 when the actor has none
	call        *call
	viaEndpoint bool
	console     bool
	modern      bool // TLS 1.3

	// One event.
	now       int64
	eventHash uint64
	epoch     uint64
	picked    [numKinds]uint64 // the epoch in which vals was chosen
	vals      [numKinds]string
	keyEpoch  uint64
	key       []byte
	requestID []byte
	eventID   []byte

	rec record
	// The parts of rec point into these.
	identity, address, agent, params, response, additional, resources, details, host, tls, message, shared []byte

	out  []byte
	list []item
}

// item is a record in out.
type item struct {
	start, end int
	time       int64
}

func (g *gen) begin(seed uint64, p *place) {
	g.reseed(seed)
	g.place = p
	g.out, g.list = g.out[:0], g.list[:0]
}

// pick gives the resource of a kind that the event is about.
func (g *gen) pick(k kind) string {
	if g.picked[k] != g.epoch {
		g.picked[k] = g.epoch
		pool := g.place.pools[k]
		g.vals[k] = pool[g.skewed(len(pool))]
	}
	return g.vals[k]
}

// objectKey gives the S3 key that the event is about.
func (g *gen) objectKey() []byte {
	if g.keyEpoch == g.epoch {
		return g.key
	}
	g.keyEpoch = g.epoch
	b := g.key[:0]
	app := g.pick(kApp)
	if g.place.account.no == logAccount {
		a, region := g.w.accounts[g.below(len(g.w.accounts))].id, g.place.region
		b = cat(b, "AWSLogs/", organization, "/", a, "/CloudTrail/", region, "/")
		b = appendDay(b, g.now, '/')
		b = cat(b, "/", a, "_CloudTrail_", region, "_")
		b = appendStamp(b, g.now)
		b = g.charsOf(append(b, '_'), digitsAlnum, 16)
		g.key = cat(b, ".json.gz")
		return g.key
	}
	switch g.below(8) {
	case 0:
		b = appendDay(cat(b, "curated/", app, "/dt="), g.now, '-')
		b = append2(cat(b, "/part-000"), g.below(100))
		b = cat(g.uuid(append(b, '-')), ".c000.snappy.parquet")
	case 1, 2:
		b = g.chars(cat(b, "uploads/"), digitsHex, 2)
		b = cat(g.chars(append(b, '/'), digitsHex, 24), ".jpg")
	case 3, 4:
		b = cat(b, "config/", app, "/settings.json")
	case 5:
		b = appendDay(cat(b, "raw/", app, "/"), g.now, '/')
		b = cat(g.chars(append(b, '/'), digitsHex, 16), ".json.gz")
	default:
		b = cat(appendDay(cat(b, "exports/", app, "/"), g.now, '-'), ".csv")
	}
	g.key = b
	return b
}

// appendStamp appends the time in the name of a log file.
func appendStamp(b []byte, t int64) []byte {
	y, m, d := civil(t / 86400)
	s := int(t % 86400)
	b = append2(append2(append2(append2(b, y/100), y), m), d)
	b = append2(append2(append(b, 'T'), s/3600), s/60%60)
	return append(b, 'Z')
}

// fill makes n background events within span seconds from start.
func (g *gen) fill(n int, c *crowd, start, span int64) {
	for done := 0; done < n; {
		t := start + int64(float64(span)*(float64(done)+g.unit())/float64(n))
		length := min(g.startRun(c, t), n-done)
		for i := range length {
			g.event()
			if i+1 < length && g.below(3) == 0 && g.now < start+span-1 {
				g.now++
			}
		}
		done += length
	}
}

// startRun draws who does what and gives how often.
func (g *gen) startRun(c *crowd, t int64) int {
	a := c.draw(&g.source)
	calls := &a.mix.all
	if !g.place.global {
		calls = &a.mix.regional
	}
	g.actor, g.call, g.now = a, calls.draw(&g.source), t
	g.inst = 0
	if n := len(a.sessions); n > 1 {
		// Only some of the sessions are busy at a time.
		busy := max(2, n/6)
		g.inst = int(mix64(a.seed, uint64(t/slotSeconds))%uint64(n)+uint64(g.skewed(busy))) % n
	}
	g.prepare()
	// A geometric number with the call's mean.
	return 1 + int(math.Log(1-g.unit())*g.call.stretch)
}

// prepare sets what all events of a run share.
func (g *gen) prepare() {
	a, c := g.actor, g.call
	g.nth = a.sessionAt(g.inst, g.now)
	g.viaEndpoint = a.net == netVPC && c.endpoint
	session := mix64(a.seed, uint64(g.inst), uint64(g.nth), 5)
	g.console = a.kind == byPerson && (a.consoleOnly || session%2 == 0 || c.service == "signin")
	g.modern = mix64(a.seed, hashText(c.service))%8 != 0

	r := &g.rec
	*r = record{
		version: c.version, source: c.source, name: c.name, region: g.place.region, readOnly: c.readOnly, eventType: c.eventType,
		apiVersion: c.apiVersion, account: g.place.account.id, category: c.category, console: g.console,
	}
	if r.eventType == "AwsConsoleSignIn" || r.eventType == "AwsServiceEvent" {
		r.console = false
	}
	service := c.via
	if service == "" && a.net == netService {
		service = a.service
		if a.kind == byInternal {
			service = "AWS Internal"
		}
	}
	g.identity = g.appendIdentity(g.identity[:0], service)
	r.identity = g.identity
	g.agent = g.agent[:0]
	switch {
	case service != "":
		g.address = append(g.address[:0], service...)
		g.agent = append(g.agent, service...)
	default:
		g.address = g.appendAddress(g.address[:0], a, g.inst, g.nth)
		agents := a.agents
		if g.console {
			agents = g.w.browsers
		}
		if len(agents) > 0 {
			if c.service == "s3" {
				g.agent = append(g.agent, '[')
			}
			g.agent = agents[session>>8%uint64(len(agents))].append(g, g.agent)
			if c.service == "s3" {
				g.agent = append(g.agent, ']')
			}
		}
	}
	r.address, r.agent = g.address, g.agent
	if g.viaEndpoint && service == "" && c.category != "NetworkActivity" {
		r.vpce = g.place.vpce
		if c.service == "s3" {
			r.vpceAccount = g.place.account.id
		}
	}
	g.tls = g.tls[:0]
	if c.host != nil && service == "" && !g.console {
		// The host may name what the event is about, so event completes it.
		g.tls = append(g.tls, 0)
	}
	if c.category == "NetworkActivity" {
		r.vpce, r.vpceAccount = g.place.vpce, g.place.account.id
		r.agent, r.errorCode = nil, "VpceAccessDenied"
		g.message = append(g.message[:0], "The request was denied due to a VPC endpoint policy"...)
		r.errorMessage = g.message
	}
}

// event makes one event of the run.
func (g *gen) event() {
	c, r := g.call, &g.rec
	g.epoch++
	g.eventHash = g.Uint64()
	r.time = g.now
	g.eventID = g.uuid(g.eventID[:0])
	g.requestID = g.requestID[:0]
	switch c.request {
	case requestUUID:
		if c.eventType != "AwsServiceEvent" {
			g.requestID = g.uuid(g.requestID)
		}
	case requestShort:
		g.requestID = g.charsOf(g.requestID, digitsUpper, 16)
	case requestLong:
		g.requestID = g.charsOf(g.requestID, digitsUpper, 52)
	}
	r.requestID, r.eventID = g.requestID, g.eventID
	part := func(buf *[]byte, t template) []byte {
		*buf = t.append(g, (*buf)[:0])
		return *buf
	}
	r.params = part(&g.params, c.params)
	f := g.fault()
	if f != nil {
		r.errorCode, r.errorMessage = f.code, part(&g.message, f.message)
	} else if c.category != "NetworkActivity" {
		r.errorCode, r.errorMessage = "", nil
	}
	r.response = nil
	// A refused sign-in has an answer and a message, but no error code.
	if f == nil || f.code == "" {
		r.response = part(&g.response, c.response)
	}
	r.additional = part(&g.additional, c.additional)
	r.resources = part(&g.resources, c.resources)
	r.details = part(&g.details, c.details)
	if c.shared {
		g.shared = g.uuid(g.shared[:0])
		r.shared = g.shared
	}
	if len(g.tls) > 0 {
		g.tls = g.appendTLS(g.tls[:0], part(&g.host, c.host))
		r.tls = g.tls
	}
	g.keep()
}

// keep writes rec to out.
func (g *gen) keep() {
	start := len(g.out)
	g.out = g.rec.append(g.out)
	g.list = append(g.list, item{start, len(g.out), g.rec.time})
}

func (g *gen) fault() *fault {
	if len(g.call.faults) == 0 || g.actor.kind == byService || g.actor.kind == byInternal {
		return nil
	}
	x := g.unit()
	for i := range g.call.faults {
		f := &g.call.faults[i]
		if x -= f.rate; x < 0 {
			return f
		}
	}
	return nil
}

func (g *gen) appendTLS(b []byte, host []byte) []byte {
	if g.modern {
		b = cat(b, `"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"`)
	} else {
		b = cat(b, `"tlsVersion":"TLSv1.2","cipherSuite":"ECDHE-RSA-AES128-GCM-SHA256","clientProvidedHostHeader":"`)
	}
	b = append(append(b, host...), '"')
	switch g.call.service {
	case "kms", "secretsmanager", "sts":
		if g.modern {
			b = cat(b, `,"keyExchange":"X25519MLKEM768"`)
		}
	}
	return b
}

// sessionAt is the number of the session that an actor has at t. Sessions follow one another without a gap.
func (a *actor) sessionAt(inst int, t int64) int64 {
	if a.life == 0 {
		return 0
	}
	return (t - a.phase(inst)) / a.life
}

func (a *actor) phase(inst int) int64 { return int64(mix64(a.seed, uint64(inst), 11) % uint64(a.life)) }

func (a *actor) sessionStart(inst int, nth int64) int64 { return a.phase(inst) + nth*a.life }

func (a *actor) appendKey(b []byte, inst int, nth int64) []byte {
	if a.kind == byUser {
		return appendAccessKey(b, "AKIA", mix64(a.seed, 3))
	}
	return appendAccessKey(b, "ASIA", mix64(a.seed, uint64(inst), uint64(nth), 3))
}

// cat appends texts.
func cat(b []byte, texts ...string) []byte {
	for _, t := range texts {
		b = append(b, t...)
	}
	return b
}

// appendIdentity appends userIdentity; service is the one that makes the call, if any.
func (g *gen) appendIdentity(b []byte, service string) []byte {
	a := g.actor
	switch a.kind {
	case byUser:
		b = cat(b, `{"type":"IAMUser","principalId":"`, a.principal, `","arn":"`)
		b = g.appendCallerARN(b)
		b = cat(b, `","accountId":"`, a.account.id, `","accessKeyId":"`)
		b = a.appendKey(b, 0, 0)
		b = cat(b, `","userName":"`, a.name, `"`)
	case byService:
		return cat(b, `{"type":"AWSService","invokedBy":"`, service, `"}`)
	case byInternal:
		return cat(b, `{"accountId":"`, a.account.id, `","invokedBy":"AWS Internal"}`)
	case byCenter:
		b = cat(b, `{"type":"IdentityCenterUser","accountId":"`, a.account.id, `","onBehalfOf":{"userId":"`)
		b = appendUserID(b, a.session(g.inst))
		b = cat(b, `","identityStoreArn":"arn:aws:identitystore::`, a.account.id, `:identitystore/d-1234567890"},"credentialId":"`)
		b = appendHex(b, mix64(a.seed, uint64(g.inst), uint64(g.now/28800)), 16)
		return cat(b, `"}`)
	case byNobody:
		if g.call.category == "NetworkActivity" {
			return cat(b, `{"type":"AWSAccount","principalId":"AIDA`, a.principal[4:], `","accountId":"`, vendorAccount, `"}`)
		}
		return cat(b, `{"type":"AWSAccount","principalId":"","accountId":"anonymous"}`)
	default:
		b = g.appendRoleIdentity(b)
	}
	if service != "" {
		b = cat(b, `,"invokedBy":"`, service, `"`)
	}
	return append(b, '}')
}

// appendRoleIdentity appends the identity of a role's session, without its closing brace.
func (g *gen) appendRoleIdentity(b []byte) []byte {
	a := g.actor
	session := a.session(g.inst)
	b = cat(b, `{"type":"AssumedRole","principalId":"`, a.principal, `:`, session, `","arn":"`)
	b = g.appendCallerARN(b)
	b = cat(b, `","accountId":"`, a.account.id, `","accessKeyId":"`)
	b = a.appendKey(b, g.inst, g.nth)
	b = cat(b, `","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"`, a.principal, `","arn":"`, a.arn,
		`","accountId":"`, a.account.id, `","userName":"`, a.name, `"},`)
	switch {
	case a.issuer != "":
		b = cat(b, `"webIdFederationData":{"federatedProvider":"arn:aws:iam::`, a.account.id, `:oidc-provider/`, a.issuer, `","attributes":{}},`)
	case g.rec.version == "1.08":
		b = cat(b, `"webIdFederationData":{},`)
	}
	b = cat(b, `"attributes":{"creationDate":"`)
	b = appendTime(b, a.sessionStart(g.inst, g.nth))
	b = cat(b, `","mfaAuthenticated":"false"}`)
	if a.kind == byInstance {
		b = cat(b, `,"ec2RoleDelivery":"2.0"`)
	}
	b = append(b, '}')
	if a.kind == byFunction && g.rec.version == "1.11" {
		b = cat(b, `,"inScopeOf":{"issuerType":"AWS::Lambda::Function","credentialsIssuedTo":"arn:aws:lambda:`, a.home, `:`, a.account.id,
			`:function:`, session, `"}`)
	}
	return b
}

// appendCallerARN appends userIdentity.arn of users and sessions.
func (g *gen) appendCallerARN(b []byte) []byte {
	a := g.actor
	if a.kind == byUser {
		return cat(b, "arn:aws:iam::", a.account.id, ":user/", a.name)
	}
	return cat(b, "arn:aws:sts::", a.account.id, ":assumed-role/", a.name, "/", a.session(g.inst))
}
