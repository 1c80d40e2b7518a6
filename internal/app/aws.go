package app

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/caller"
	"spoor/internal/awsapi/cloudtrail"
	"spoor/internal/awsapi/cloudtraildata"
	iamapi "spoor/internal/awsapi/iam"
	"spoor/internal/awsapi/kms"
	"spoor/internal/awsapi/organizations"
	"spoor/internal/awsapi/s3"
	"spoor/internal/awsapi/services"
	"spoor/internal/awsapi/sns"
	"spoor/internal/awsapi/sts"
	"spoor/internal/console"
	"spoor/internal/history"
	"spoor/internal/lake"
	"spoor/internal/lakequery"
)

// openAWS binds the address of AWS's clients, beside the other one and as it is.
func (a *App) openAWS(ctx context.Context) error {
	set := a.set.Load()
	if set.aws.listen == "" {
		return nil
	}
	own := set.http
	own.listen = set.aws.listen
	f, err := listen(ctx, own, http.HandlerFunc(awsStarting), a.log)
	if err != nil {
		return a.blame("aws.listen", err)
	}
	a.aws = f
	f.serve(a.fail)
	return nil
}

// awsStarting answers until the parts are there, in a form that AWS's clients take for a reason to try again.
func awsStarting(w http.ResponseWriter, r *http.Request) {
	const text = "The service is starting"
	w.Header().Set("Retry-After", "1")
	w.Header().Set("Cache-Control", "no-store")
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-amz-json") || r.Header.Get("Content-Type") == "application/json" {
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		w.Header().Set("X-Amzn-Errortype", awsapi.Unavailable)
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = json.NewEncoder(w).Encode(map[string]string{"__type": awsapi.Unavailable, "message": text}) // who asked may have gone
		return
	}
	type failure struct{ Type, Code, Message string }
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(http.StatusServiceUnavailable)
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName xml.Name `xml:"ErrorResponse"`
		Error   failure
	}{Error: failure{"Receiver", "ServiceUnavailable", text}})
}

// openHistory opens the event history, where somebody can ask for it.
func (a *App) openHistory(context.Context) error {
	set := a.set.Load()
	if a.aws == nil {
		return nil
	}
	o := set.aws.history
	o.Store, o.Log, o.Now = a.planner(), a.log.With("part", "history"), a.opts.Now
	// All events are for the accounts whose principals answer for the others.
	o.All = func(account string) bool { return account == set.iam.Account || account == set.org.Management }
	h, err := history.New(o)
	if err != nil {
		return a.blame("data", err)
	}
	a.history = h
	if a.store != nil {
		a.store.BeforeCommit(h.Prepare)
	}
	a.started("history", func(context.Context) error {
		if a.store != nil {
			a.store.BeforeCommit(nil)
		}
		return h.Close()
	})
	a.background("history's indexes", h.Run)
	return nil
}

// openLake opens event data stores and channels, and their queries, where somebody can ask for them.
func (a *App) openLake(ctx context.Context) error {
	set := a.set.Load()
	if a.aws == nil {
		return nil
	}
	l, err := lake.Open(ctx, set.lake.dir, lake.Options{
		Account: set.iam.Account, Management: set.org.Management, Accounts: append([]string{set.iam.Account}, set.iam.Accounts...),
		Journal: a.journal, Now: a.opts.Now, Log: a.log.With("part", "lake"),
	})
	if err != nil {
		return a.blame("lake.dir", err)
	}
	a.lake = l
	a.started("lake", func(context.Context) error { return l.Close() })
	o := set.lake.queries
	o.Engine, o.Tables, o.Log = lakequery.Over(a.query), l, a.log.With("part", "lake queries")
	q, err := lakequery.Open(ctx, filepath.Join(set.lake.dir, "queries"), o)
	if err != nil {
		return a.blame("lake.dir", err)
	}
	a.lakeQueries = q
	a.started("lake's queries", q.Close)
	return nil
}

// endpoint is what answers AWS's clients. A reload makes another one, over the same parts.
func (a *App) endpoint(set *settings) (http.Handler, *s3.Front, error) {
	access := caller.Access{IAM: a.iam, Organization: set.org.ID, Now: a.opts.Now}
	client := func(r *http.Request) (netip.Addr, bool) { return console.Client(r, set.http.proxies) }
	proven := func(c *awsapi.Call) { a.iam.UsedKey(c.AccessKey, c.Service, c.Region) }
	done := func(c *awsapi.Call, code string, _ int) {
		a.registry.ObserveCall(c.Service, c.Operation, code, a.opts.Now().Sub(c.Time))
	}
	org, t := set.org, &a.trails
	org.Delegates = func() (out []organizations.Delegate) {
		for _, d := range t.book.Delegates() {
			out = append(out, organizations.Delegate{Account: d.Account, Since: d.Since})
		}
		return out
	}
	trails := cloudtrail.Options{History: a.history, Lake: a.lake, Queries: a.lakeQueries, Trails: t.book, Buckets: t.buckets, Keys: t.keys, Topics: t.topics, Deliveries: t.delivery, PublicKeys: t.signing, Access: access}
	if t.outside != nil {
		trails.External = reach{t.outside}
	}
	e, err := awsapi.New(awsapi.Options{
		Services: services.All(services.Parts{
			CloudTrail:     trails,
			CloudTrailData: cloudtraildata.Options{Lake: a.lake, Access: access, Policies: t.book},
			IAM:            iamapi.Options{Access: a.iam, Log: a.log.With("part", "aws")},
			KMS:            kms.Options{Keys: t.keys, Access: access},
			Organizations:  org,
			SNS:            sns.Options{Topics: t.topics, Access: access, Log: a.log.With("part", "aws")},
			STS:            sts.Options{Access: a.iam},
		}),
		Credentials: access, Authorizer: access, Attempts: access, Recorder: a.recorder,
		Account: set.iam.Account, Region: set.region, Regions: set.aws.regions, Skew: set.aws.skew, MaxBody: set.aws.maxBody, InFlight: set.aws.inFlight,
		Client: client, Proven: proven, Done: done, Log: a.log.With("part", "aws"), Now: a.opts.Now,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("make the endpoint of AWS's clients: %w", err)
	}
	front, err := s3.New(s3.Options{
		Credentials: access, Access: access, Attempts: access, Recorder: a.recorder, Buckets: t.buckets, Keys: t.keys,
		Account: set.iam.Account, Region: set.region, Regions: set.aws.regions, Domains: set.buckets.domains,
		Client: client, Proven: proven, Done: done, Log: a.log.With("part", "s3"), Now: a.opts.Now,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("make the endpoint of buckets: %w", err)
	}
	links := sns.NewLinks(sns.LinksOptions{Topics: t.topics, Recorder: a.recorder, Account: set.iam.Account, Log: a.log.With("part", "aws")})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer a.registry.BeginCall()()
		switch {
		case links.Takes(r):
			links.ServeHTTP(w, r)
		case s3.Claims(r):
			front.ServeHTTP(w, r)
		default:
			e.ServeHTTP(w, r)
		}
	}), front, nil
}

// answerAWS lets an endpoint answer AWS's clients from now on. The logs of access of the one before are written.
func (a *App) answerAWS(h http.Handler, front *s3.Front) error {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- front.Run(ctx) }()
	a.aws.hand(h)
	before := a.endAccessLogs
	a.endAccessLogs = func() error {
		cancel()
		return <-done
	}
	if before == nil {
		a.started("logs of access", func(context.Context) error { return a.endAccessLogs() })
		return nil
	}
	return before()
}
