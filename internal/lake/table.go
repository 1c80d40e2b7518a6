package lake

import (
	"context"
	"fmt"
	"strings"
	"time"

	"spoor/internal/selector"
	"spoor/internal/store/duckdb"
)

// DataStores gives stores by their ids, as tables, for an account in a Region. Errors: [NotFoundError], and [ErrInactive] for
// a store whose deletion is pending.
func (l *Lake) DataStores(_ context.Context, account, region string, ids []string) ([]duckdb.DataStore, error) {
	w := Where{account, region}
	f := l.state()
	out := make([]duckdb.DataStore, 0, len(ids))
	for _, id := range ids {
		id = strings.ToLower(id)
		if id == BuiltInID(account) {
			out = append(out, duckdb.DataStore{ID: id, Where: l.ownEvents(account)})
			continue
		}
		i, err := f.store(w, id)
		if err != nil {
			return nil, &NotFoundError{id}
		}
		s := f.Stores[i]
		if s.Status == PendingDeletion {
			return nil, fmt.Errorf("event data store %s: %w", id, ErrInactive)
		}
		where, err := l.condition(s)
		if err != nil {
			return nil, fmt.Errorf("event data store %s: %w", id, err)
		}
		out = append(out, duckdb.DataStore{ID: id, Audit: s.Audit(), Where: where})
	}
	return out, nil
}

// ownEvents is the condition of a built-in store.
func (l *Lake) ownEvents(account string) string {
	if account == l.o.Account {
		return ""
	}
	return "account = " + duckdb.QuoteText(account)
}

// condition is what a store shows, in SQL over the columns of segments. Its parts stand side by side, so that the engine leaves
// out what it can by each of them; where one is NULL the event is not of the store.
func (l *Lake) condition(s EventDataStore) (string, error) {
	all := []string{"eventTime >= " + timeSQL(l.now().Add(-time.Duration(s.Retention)*24*time.Hour))}
	if s.Audit() {
		// Events come in by channels alone, and belong to the stores that were their destinations then, whatever their time.
		all = append(all, "eventCategory = "+duckdb.QuoteText(selector.ActivityAuditLog), "account = "+duckdb.QuoteText(s.Account),
			"starts_with(sourceObject, "+duckdb.QuoteText(objectPrefix)+")", "contains(sourceObject, "+duckdb.QuoteText(s.ID)+")")
		return strings.Join(all, " AND "), nil
	}
	accounts := []string{duckdb.QuoteText(s.Account)}
	if s.Organization {
		for _, a := range l.o.Accounts {
			accounts = append(accounts, duckdb.QuoteText(a))
		}
	}
	if len(accounts) == 1 {
		all = append(all, "account = "+accounts[0])
	} else {
		all = append(all, "account IN ("+strings.Join(accounts, ", ")+")")
	}
	if !s.MultiRegion {
		all = append(all, "awsRegion = "+duckdb.QuoteText(s.Region))
	}
	var spans []string
	for _, p := range s.Spans {
		span := "eventTime >= " + timeSQL(p.From)
		if !p.Until.IsZero() {
			span += " AND eventTime < " + timeSQL(p.Until)
		}
		spans = append(spans, span)
	}
	set, err := selector.CompileAdvanced(selector.DataStore, s.Selectors)
	if err != nil {
		return "", err
	}
	switch len(spans) {
	case 0:
		return "false", nil
	case 1:
		all = append(all, spans[0])
	default:
		all = append(all, "("+strings.Join(spans, " OR ")+")")
	}
	if sql := set.SQL(); sql != "" {
		all = append(all, "("+sql+")")
	}
	return strings.Join(all, " AND "), nil
}

func timeSQL(t time.Time) string {
	return "TIMESTAMPTZ " + duckdb.QuoteText(t.UTC().Format("2006-01-02 15:04:05+00"))
}
