package sample

// The beginnings of sessions: the records that say which access key was handed out to whom.

// starting lists what begins at a place within [from, from+slotSeconds) by calling fn, at most room times.
func (p *place) starting(from int64, hour, room int, fn func(s starter, inst int, nth int64)) {
	for _, s := range p.starters {
		a := s.actor
		if a.rhythm.shape != flat && a.rhythm.at(hour, true) == 0 {
			continue
		}
		for inst := range max(1, len(a.sessions)) {
			if room == 0 {
				return
			}
			nth := a.sessionAt(inst, from+slotSeconds-1)
			if start := a.sessionStart(inst, nth); start >= from {
				fn(s, inst, nth)
				room--
			}
		}
	}
}

// sessionBegins makes the record of a session's beginning.
func (g *gen) sessionBegins(s starter, inst int, nth int64) {
	a := s.actor
	g.actor, g.inst, g.nth, g.call = a, inst, nth, g.w.assume
	g.now = a.sessionStart(inst, nth)
	g.epoch++
	g.modern, g.console, g.viaEndpoint = true, false, false
	session := a.session(inst)

	r := &g.rec
	*r = record{version: "1.08", time: g.now, source: "sts.amazonaws.com", name: "AssumeRole", region: g.place.region, readOnly: true,
		eventType: "AwsApiCall", account: g.place.account.id, category: "Management"}
	g.eventID, g.requestID = g.uuid(g.eventID[:0]), g.uuid(g.requestID[:0])
	r.eventID, r.requestID = g.eventID, g.requestID

	params := cat(g.params[:0], `{"roleArn":"`, a.arn, `","roleSessionName":"`, session, `"`)
	resources := cat(g.resources[:0], `[{"accountId":"`, a.account.id, `","type":"AWS::IAM::Role","ARN":"`, a.arn, `"}`)
	response := g.appendCredentials(cat(g.response[:0], `{"credentials":`), a, inst, nth)
	assumed := func() {
		response = cat(response, `,"assumedRoleUser":{"assumedRoleId":"`, a.principal, `:`, session, `","arn":"`)
		response = cat(g.appendCallerARN(response), `"}`)
	}
	identity := g.identity[:0]
	g.address, g.agent = g.address[:0], g.agent[:0]
	direct := true // the caller came over TLS
	switch a.kind {
	case byInstance, byFunction, byTask, byLinked:
		direct = false
		identity = cat(identity, `{"type":"AWSService","invokedBy":"`, a.service, `"}`)
		g.address, g.agent = cat(g.address, a.service), cat(g.agent, a.service)
		if a.kind == byLinked {
			params = cat(params, `,"durationSeconds":900`)
		}
		assumed()
	case byPod, byJob:
		subject := "system:serviceaccount:kube-system:" + a.name
		if a.kind == byJob {
			subject = "repo:example/infrastructure:environment:" + a.account.name
		}
		r.name = "AssumeRoleWithWebIdentity"
		params = cat(params, `,"durationSeconds":3600`)
		provider := "arn:aws:iam::" + a.account.id + ":oidc-provider/" + a.issuer
		identity = cat(identity, `{"type":"WebIdentityUser","principalId":"`, provider, `:sts.amazonaws.com:`, subject, `","userName":"`, subject, `","identityProvider":"`, provider, `"}`)
		response = cat(response, `,"subjectFromWebIdentityToken":"`, subject, `"`)
		assumed()
		response = cat(response, `,"provider":"`, provider, `","audience":"sts.amazonaws.com"`)
	case byPerson:
		r.name = "AssumeRoleWithSAML"
		provider := "arn:aws:iam::" + a.account.id + ":saml-provider/AWSSSO_EXAMPLE_DO_NOT_DELETE"
		params = g.charsOf(cat(params, `,"sAMLAssertionID":"_`), digitsLower, 36)
		params = cat(params, `","principalArn":"`, provider, `","durationSeconds":14400`)
		identity = cat(identity, `{"type":"SAMLUser","principalId":"EXAMPLEnameQualifier=:`, session, `","userName":"`, session, `","identityProvider":"EXAMPLEnameQualifier="}`)
		assumed()
		response = cat(response, `,"subject":"`, session, `","subjectType":"persistent","issuer":"https://portal.sso.us-east-1.amazonaws.com/saml/assertion/EXAMPLE","audience":"https://signin.aws.amazon.com/saml","nameQualifier":"EXAMPLEnameQualifier="`)
		resources = cat(resources, `,{"accountId":"`, a.account.id, `","type":"AWS::IAM::SAMLProvider","ARN":"`, provider, `"}`)
		g.address = g.appendAddress(g.address, a, inst, nth)
		g.agent = cat(g.agent, "aws-internal/3 aws-sdk-java/1.12.783 Linux/5.10.234-225.921.amzn2.x86_64 OpenJDK_64-Bit_Server_VM/17.0.14+8-LTS java/17.0.14 kotlin/1.3.72 vendor/Amazon.com_Inc. cfg/retry-mode/standard cfg/auth-source#unknown")
	case byRole:
		g.shared = appendUUID(g.shared[:0], mix64(a.seed, uint64(inst), uint64(nth), 21), mix64(a.seed, uint64(nth), 22))
		r.shared = g.shared
		assumed()
		c := a.caller
		if c == nil {
			params = cat(params, `,"externalId":"`)
			params = cat(appendUUID(params, mix64(a.seed, 31), mix64(a.seed, 32)), `","durationSeconds":3600`)
			identity = cat(identity, `{"type":"AWSAccount","principalId":"`, principalID("AROA", hashText(vendorAccount)), `:collector","accountId":"`, vendorAccount, `"}`)
			break
		}
		callerNth := c.sessionAt(0, g.now)
		g.address = g.appendAddress(g.address, c, 0, callerNth)
		g.agent = c.agents[0].append(g, g.agent)
		if s.asCaller {
			g.actor, g.inst, g.nth = c, 0, callerNth
			identity = g.appendIdentity(identity, "")
			g.actor, g.inst, g.nth = a, inst, nth
		} else {
			identity = cat(identity, `{"type":"AWSAccount","principalId":"`, c.principal, `:`, c.session(0), `","accountId":"`, c.account.id, `"}`)
		}
	}
	if len(g.address) == 0 {
		g.address = g.appendAddress(g.address, a, inst, nth)
	}
	if len(g.agent) == 0 && len(a.agents) > 0 {
		g.agent = a.agents[0].append(g, g.agent)
	}
	g.params, g.resources, g.response, g.identity = cat(params, `}`), cat(resources, `]`), cat(response, `}`), identity
	r.params, r.resources, r.response, r.identity = g.params, g.resources, g.response, g.identity
	r.address, r.agent = g.address, g.agent
	if direct {
		g.host = cat(g.host[:0], "sts.", g.place.region, ".amazonaws.com")
		g.tls = g.appendTLS(g.tls[:0], g.host)
		r.tls = g.tls
	}
	g.keep()
}

// appendCredentials appends the credentials of a session. The token is as long as real ones are.
func (g *gen) appendCredentials(b []byte, a *actor, inst int, nth int64) []byte {
	b = a.appendKey(cat(b, `{"accessKeyId":"`), inst, nth)
	b = g.chars(cat(b, `","sessionToken":"EXAMPLETOKEN`), digitsBase64, g.between(560, 980))
	b = appendLongTime(cat(b, `=","expiration":"`), a.sessionStart(inst, nth)+a.life)
	return cat(b, `"}`)
}
