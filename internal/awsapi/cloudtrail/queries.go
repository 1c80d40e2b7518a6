package cloudtrail

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/model/cloudtrail"
	"spoor/internal/awsapi/page"
	"spoor/internal/awsapi/wire"
	"spoor/internal/lake"
	"spoor/internal/lakequery"
	"spoor/internal/recorder"
	"spoor/internal/store/duckdb"
)

// Queries are the queries of CloudTrail Lake. [lakequery.Manager] is one.
type Queries interface {
	Start(ctx context.Context, s lakequery.Spec) (lakequery.Query, error)
	Withdraw(ctx context.Context, id string) error
	Describe(ctx context.Context, o lakequery.Owner, id string) (lakequery.Query, error)
	Latest(ctx context.Context, o lakequery.Owner, alias string) (lakequery.Query, error)
	Stores(o lakequery.Owner, id string) []string
	Results(ctx context.Context, o lakequery.Owner, id string, limit int, token string) (lakequery.Page, error)
	List(ctx context.Context, f lakequery.Filter) ([]lakequery.Query, string, error)
	Cancel(ctx context.Context, o lakequery.Owner, id string) (lakequery.Query, error)
	Again(ctx context.Context, id string) error
}

// queries are the operations about queries.
type queries struct {
	Queries
	lake     Lake
	access   Access // nil where the endpoint has decided
	policies Policies
}

func registerQueries(s *awsapi.Service, o Options) {
	h := queries{Queries: o.Queries, lake: o.Lake}
	if o.Access != nil && o.Trails != nil {
		h.access, h.policies = o.Access, o.Trails
	}
	guard(s, h, "StartQuery", h.start, func(c *awsapi.Call, in *cloudtrail.StartQueryRequest) (*string, []string) {
		ids, _ := duckdb.DataStoreIDs(text(in.QueryStatement)) // what cannot be read is refused by the handler
		return in.EventDataStoreOwnerAccountId, ids
	})
	guard(s, h, "DescribeQuery", h.describe, func(c *awsapi.Call, in *cloudtrail.DescribeQueryRequest) (*string, []string) {
		return in.EventDataStoreOwnerAccountId, h.about(c, in.EventDataStoreOwnerAccountId, in.QueryId)
	})
	guard(s, h, "GetQueryResults", h.results, func(c *awsapi.Call, in *cloudtrail.GetQueryResultsRequest) (*string, []string) {
		return in.EventDataStoreOwnerAccountId, h.about(c, in.EventDataStoreOwnerAccountId, in.QueryId)
	})
	guard(s, h, "CancelQuery", h.cancel, func(c *awsapi.Call, in *cloudtrail.CancelQueryRequest) (*string, []string) {
		return in.EventDataStoreOwnerAccountId, h.about(c, in.EventDataStoreOwnerAccountId, in.QueryId)
	})
	awsapi.Handle(s, "ListQueries", h.list, onStore(func(in *cloudtrail.ListQueriesRequest) *string { return in.EventDataStore }))
	awsapi.Handle(s, "SearchSampleQueries", searchSamples, awsapi.AnyPrincipal()) // they are the same for all
}

// guard serves an operation on event data stores, which of tells with the account that they belong to. Who may is decided by
// policies of principals, and, where there is somebody to ask, by those of the stores.
func guard[In, Out any](s *awsapi.Service, h queries, name string, serve func(context.Context, *awsapi.Call, *In) (*Out, error), of func(*awsapi.Call, *In) (*string, []string)) {
	if h.access == nil {
		awsapi.Handle(s, name, serve, awsapi.On(func(c *awsapi.Call, in *In) []string {
			_, ids := of(c, in)
			return storeARNs(c, c.Account, ids)
		}))
		return
	}
	awsapi.Handle(s, name, func(ctx context.Context, c *awsapi.Call, in *In) (*Out, error) {
		account, ids := of(c, in)
		switch {
		case len(ids) > 0:
			if err := Authorize(ctx, c, h.access, h.policies, "cloudtrail:"+name, storeARNs(c, owner(c, account).Account, ids)...); err != nil {
				return nil, err
			}
		case owner(c, account).Account != c.Account:
			return nil, awsapi.Errorf("OperationNotPermittedException", "No event data store is named that account %s has let account %s query.", *account, c.Account)
		default:
			if err := Authorize(ctx, c, h.access, h.policies, "cloudtrail:"+name); err != nil {
				return nil, err
			}
		}
		return serve(ctx, c, in)
	}, awsapi.AnyPrincipal())
}

// owner is who a query belongs to: the account of the event data stores, where the caller names another one.
func owner(c *awsapi.Call, account *string) lakequery.Owner {
	o := lakequery.Owner{Account: c.Account, Region: c.Region}
	if account != nil {
		o.Account = *account
	}
	return o
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// about are the stores of a query, by their ids.
func (h queries) about(c *awsapi.Call, account, id *string) []string {
	if h.Queries == nil || id == nil {
		return nil
	}
	return h.Stores(owner(c, account), *id)
}

func storeARNs(c *awsapi.Call, account string, ids []string) (arns []string) {
	for _, id := range ids {
		arns = append(arns, "arn:"+c.Partition+":cloudtrail:"+c.Region+":"+account+":eventdatastore/"+id)
	}
	return arns
}

// store is a store that is named by its id or its ARN.
func (h queries) store(c *awsapi.Call, account *string, ref string) (lake.EventDataStore, error) {
	s, err := h.lake.Store(lake.Where(owner(c, account)), ref)
	if refused, ok := errors.AsType[*lake.Error](err); ok {
		return s, awsapi.Errorf(refused.Code, "%s", refused.Message)
	}
	return s, err
}

// check looks at the members that all operations about one query have: whose it is, and, where it is given, of which store.
func (h queries) check(c *awsapi.Call, account, store, id *string) error {
	if h.Queries == nil || h.lake == nil {
		return errors.New("there are no queries of the lake here")
	}
	if account != nil && *account != c.Account && h.access == nil {
		return awsapi.Errorf("OperationNotPermittedException", "Queries of the account %s belong to its principals", *account)
	}
	if store == nil {
		return nil
	}
	of, err := h.store(c, account, *store)
	if err != nil {
		return err
	}
	if id != nil && !slices.Contains(h.Stores(owner(c, account), *id), of.ID) {
		return unknownQuery(*id)
	}
	return nil
}

func unknownQuery(id string) *awsapi.Error {
	return awsapi.Errorf("QueryIdNotFoundException", "There is no query %s in this account and Region", id)
}

// queryError puts what the queries say into AWS's words.
func queryError(id string, err error) error {
	var statement *lakequery.StatementError
	var parameter *lakequery.ParameterError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &statement) && errors.Is(err, lake.ErrNotFound):
		return awsapi.Errorf("EventDataStoreNotFoundException", "%s", statement)
	case errors.As(err, &statement):
		return awsapi.Errorf("InvalidQueryStatementException", "%s", statement)
	case errors.As(err, &parameter):
		return awsapi.Errorf("InvalidParameterException", "%s", parameter)
	case errors.Is(err, lake.ErrInactive):
		return awsapi.Errorf("InactiveEventDataStoreException", "%s", err)
	case errors.Is(err, lake.ErrNotFound):
		return awsapi.Errorf("EventDataStoreNotFoundException", "%s", err)
	case errors.Is(err, lakequery.ErrNotFound):
		return unknownQuery(id)
	case errors.Is(err, lakequery.ErrEnded):
		return awsapi.Errorf("InactiveQueryException", "The query %s has ended", id)
	case errors.Is(err, lakequery.ErrToken):
		return awsapi.Errorf("InvalidNextTokenException", "The token is not one that was given for these parameters")
	case errors.Is(err, lakequery.ErrTooMany):
		return awsapi.Errorf("MaxConcurrentQueriesException", "%s", err)
	case errors.Is(err, lakequery.ErrClosed):
		return awsapi.Errorf(awsapi.Unavailable, "The service is being stopped")
	}
	return err
}

func (h queries) start(ctx context.Context, c *awsapi.Call, in *cloudtrail.StartQueryRequest) (*cloudtrail.StartQueryResponse, error) {
	if err := h.check(c, in.EventDataStoreOwnerAccountId, nil, nil); err != nil {
		return nil, err
	}
	switch {
	case in.DeliveryS3Uri != nil:
		return nil, awsapi.Errorf("UnsupportedOperationException", "Results are not delivered to buckets here: leave DeliveryS3Uri out, and get them by GetQueryResults")
	case in.QueryAlias != nil && owner(c, in.EventDataStoreOwnerAccountId).Account != c.Account:
		return nil, awsapi.Errorf("OperationNotPermittedException", "A QueryAlias is about events of the caller's account")
	case (in.QueryStatement == nil) == (in.QueryAlias == nil):
		return nil, awsapi.Errorf("InvalidParameterException", "Either QueryStatement or QueryAlias must be given")
	case in.QueryAlias == nil && len(in.QueryParameters) > 0:
		return nil, awsapi.Errorf("InvalidParameterException", "QueryParameters belong to a QueryAlias")
	}
	q, err := h.Start(ctx, lakequery.Spec{
		Owner: owner(c, in.EventDataStoreOwnerAccountId), By: c.Principal.Identity.ARN, Statement: text(in.QueryStatement), Alias: text(in.QueryAlias), Params: in.QueryParameters,
	})
	if err != nil {
		return nil, queryError("", err)
	}
	c.OnUnrecorded(func(ctx context.Context) { _ = h.Withdraw(ctx, q.ID) }) // else it stays, unknown to all
	resources(c, q)
	return &cloudtrail.StartQueryResponse{QueryId: &q.ID, EventDataStoreOwnerAccountId: in.EventDataStoreOwnerAccountId}, nil
}

func resources(c *awsapi.Call, q lakequery.Query) {
	for _, arn := range storeARNs(c, q.Owner.Account, q.Stores) {
		c.Resource(recorder.Resource{ARN: arn, AccountID: q.Owner.Account, Type: "AWS::CloudTrail::EventDataStore"})
	}
}

func (h queries) describe(ctx context.Context, c *awsapi.Call, in *cloudtrail.DescribeQueryRequest) (*cloudtrail.DescribeQueryResponse, error) {
	if err := h.check(c, in.EventDataStoreOwnerAccountId, in.EventDataStore, in.QueryId); err != nil {
		return nil, err
	}
	var q lakequery.Query
	var err error
	switch {
	case (in.QueryId == nil) == (in.QueryAlias == nil):
		return nil, awsapi.Errorf("InvalidParameterException", "Either QueryId or QueryAlias must be given")
	case in.QueryAlias != nil && owner(c, in.EventDataStoreOwnerAccountId).Account != c.Account:
		return nil, awsapi.Errorf("OperationNotPermittedException", "A QueryAlias is about events of the caller's account")
	case in.RefreshId != nil:
		return nil, awsapi.Errorf("InvalidParameterException", "There are no dashboards here, and so no RefreshId")
	case in.QueryId != nil:
		q, err = h.Describe(ctx, owner(c, in.EventDataStoreOwnerAccountId), *in.QueryId)
	default:
		q, err = h.Latest(ctx, owner(c, in.EventDataStoreOwnerAccountId), *in.QueryAlias)
	}
	if err != nil {
		return nil, queryError(text(in.QueryId)+text(in.QueryAlias), err)
	}
	resources(c, q)
	millis := int32(min(q.Took.Milliseconds(), 1<<31-1))
	return &cloudtrail.DescribeQueryResponse{
		QueryId: &q.ID, QueryString: &q.Statement, QueryStatus: (*string)(&q.Status), ErrorMessage: optional(q.Error),
		EventDataStoreOwnerAccountId: in.EventDataStoreOwnerAccountId,
		QueryStatistics: &cloudtrail.QueryStatisticsForDescribeQuery{
			EventsMatched: &q.Rows, EventsScanned: &q.Scanned, BytesScanned: &q.Bytes, ExecutionTimeInMillis: &millis, CreationTime: &q.Created,
		},
	}, nil
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (h queries) results(ctx context.Context, c *awsapi.Call, in *cloudtrail.GetQueryResultsRequest) (*cloudtrail.GetQueryResultsResponse, error) {
	if err := h.check(c, in.EventDataStoreOwnerAccountId, in.EventDataStore, in.QueryId); err != nil {
		return nil, err
	}
	limit := 0
	if in.MaxQueryResults != nil {
		limit = int(*in.MaxQueryResults)
	}
	p, err := h.Results(ctx, owner(c, in.EventDataStoreOwnerAccountId), *in.QueryId, limit, text(in.NextToken))
	if err != nil {
		return nil, queryError(*in.QueryId, err)
	}
	resources(c, p.Query)
	// A NULL is the empty text: the API has no other.
	rows := make([][]map[string]string, len(p.Rows))
	for i, r := range p.Rows {
		rows[i] = make([]map[string]string, len(r))
		for j, v := range r {
			rows[i][j] = map[string]string{p.Columns[j]: v.Text}
		}
	}
	count, total := int32(len(rows)), int32(min(p.Query.Rows, 1<<31-1))
	return &cloudtrail.GetQueryResultsResponse{
		QueryStatus: (*string)(&p.Query.Status), ErrorMessage: optional(p.Query.Error), NextToken: optional(p.Next), QueryResultRows: rows,
		QueryStatistics: &cloudtrail.QueryStatistics{ResultsCount: &count, TotalResultsCount: &total, BytesScanned: &p.Query.Bytes},
	}, nil
}

func (h queries) list(ctx context.Context, c *awsapi.Call, in *cloudtrail.ListQueriesRequest) (*cloudtrail.ListQueriesResponse, error) {
	if err := h.check(c, nil, nil, nil); err != nil {
		return nil, err
	}
	of, err := h.store(c, nil, *in.EventDataStore)
	if err != nil {
		return nil, err
	}
	if of.Status == lake.PendingDeletion {
		return nil, queryError("", fmt.Errorf("event data store %s: %w", of.ID, lake.ErrInactive))
	}
	f := lakequery.Filter{Owner: owner(c, nil), Store: of.ID, Status: lakequery.Status(text(in.QueryStatus)), Token: text(in.NextToken)}
	if in.StartTime != nil {
		f.Since = *in.StartTime
	}
	if in.EndTime != nil {
		f.Until = *in.EndTime
	}
	if in.MaxResults != nil {
		f.Limit = int(*in.MaxResults)
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return nil, awsapi.Errorf("InvalidDateRangeException", "StartTime, %s, must be before EndTime, %s", f.Since.UTC().Format(time.RFC3339), f.Until.UTC().Format(time.RFC3339))
	}
	found, next, err := h.List(ctx, f)
	if err != nil {
		return nil, queryError("", err)
	}
	out := &cloudtrail.ListQueriesResponse{NextToken: optional(next), Queries: make([]cloudtrail.Query, len(found))}
	for i := range found {
		q := &found[i]
		out.Queries[i] = cloudtrail.Query{QueryId: &q.ID, QueryStatus: (*string)(&q.Status), CreationTime: &q.Created}
	}
	return out, nil
}

func (h queries) cancel(ctx context.Context, c *awsapi.Call, in *cloudtrail.CancelQueryRequest) (*cloudtrail.CancelQueryResponse, error) {
	if err := h.check(c, in.EventDataStoreOwnerAccountId, in.EventDataStore, in.QueryId); err != nil {
		return nil, err
	}
	q, err := h.Cancel(ctx, owner(c, in.EventDataStoreOwnerAccountId), *in.QueryId)
	if err != nil {
		return nil, queryError(*in.QueryId, err)
	}
	c.OnUnrecorded(func(ctx context.Context) { _ = h.Again(ctx, q.ID) }) // else it stays cancelled
	resources(c, q)
	return &cloudtrail.CancelQueryResponse{QueryId: &q.ID, QueryStatus: (*string)(&q.Status), EventDataStoreOwnerAccountId: in.EventDataStoreOwnerAccountId}, nil
}

// searchSamples finds ready queries by words of their name, question and SQL.
func searchSamples(_ context.Context, _ *awsapi.Call, in *cloudtrail.SearchSampleQueriesRequest) (*cloudtrail.SearchSampleQueriesResponse, error) {
	phrase := strings.ToLower(*in.SearchPhrase)
	words := strings.FieldsFunc(phrase, func(r rune) bool { return !('a' <= r && r <= 'z' || '0' <= r && r <= '9') })
	type sample struct {
		key string // the most relevant first
		cloudtrail.SearchSampleQueriesSearchResult
	}
	var found []sample
	for i, r := range duckdb.ReadyQueries() {
		hits := 0
		for _, w := range words {
			switch {
			case strings.Contains(r.Name, w), strings.Contains(strings.ToLower(r.Question), w):
				hits += 2
			case strings.Contains(strings.ToLower(r.SQL), w):
				hits++
			}
		}
		if hits == 0 {
			continue
		}
		relevance := float32(hits) / float32(2*len(words))
		about := r.Question + " QueryAlias " + r.Name
		for j, p := range r.Params {
			if j == 0 {
				about += ", with the QueryParameters"
			}
			about += fmt.Sprintf(" %s=%s", p.Name, p.Doc)
		}
		found = append(found, sample{fmt.Sprintf("%06d %03d", 1_000_000-int(relevance*1e6), i), cloudtrail.SearchSampleQueriesSearchResult{
			Name: &r.Name, Description: &about, SQL: &r.SQL, Relevance: &relevance,
		}})
	}
	most := 10
	if in.MaxResults != nil {
		most = int(*in.MaxResults)
	}
	cut, next, err := page.Cut(found, func(s sample) string { return s.key }, in.NextToken, most, "SearchSampleQueries", phrase)
	if err != nil {
		return nil, awsapi.Errorf("InvalidParameterException", "The token is not one that was given for this phrase")
	}
	out := &cloudtrail.SearchSampleQueriesResponse{NextToken: next}
	for _, s := range cut {
		out.SearchResults = append(out.SearchResults, s.SearchSampleQueriesSearchResult)
	}
	return out, nil
}

// invalidQuery is the exception of what the constraints of the model do not allow.
func invalidQuery(operation string, vs []wire.Violation) *awsapi.Error {
	if !slices.Contains([]string{"StartQuery", "DescribeQuery", "GetQueryResults", "ListQueries", "CancelQuery", "SearchSampleQueries"}, operation) {
		return nil
	}
	code := "InvalidParameterException"
	if !slices.ContainsFunc(vs, func(v wire.Violation) bool { return v.Member != vs[0].Member }) {
		switch vs[0].Member {
		case "MaxQueryResults":
			code = "InvalidMaxResultsException"
		case "MaxResults", "NextToken":
			if operation != "SearchSampleQueries" { // which has neither
				code = "Invalid" + vs[0].Member + "Exception"
			}
		case "QueryStatus":
			code = "InvalidQueryStatusException"
		case "QueryStatement":
			code = "InvalidQueryStatementException"
		case "EventDataStore":
			if vs[0].Rule != wire.Required {
				code = "EventDataStoreARNInvalidException"
			}
		}
	}
	return awsapi.Errorf(code, "%s", wire.Message(vs))
}
