package lakequery

import (
	"context"
	"errors"
)

// Manager runs queries. It is safe for concurrent use.
type Manager struct{}

// Open reads the queries of a folder, which is made when it is missing, and takes it until [Manager.Close].
func Open(ctx context.Context, dir string, o Options) (*Manager, error) {
	return nil, errNotBuilt
}

// Close ends the queries, which fail, and waits for them until ctx ends.
func (m *Manager) Close(ctx context.Context) error { return errNotBuilt }

// Start checks a query and starts it. It is durable when Start returns.
func (m *Manager) Start(ctx context.Context, s Spec) (Query, error) { return Query{}, errNotBuilt }

// Withdraw takes a Start back: the query ends, and is forgotten.
func (m *Manager) Withdraw(ctx context.Context, id string) error { return errNotBuilt }

// Describe gives a query.
func (m *Manager) Describe(ctx context.Context, o Owner, id string) (Query, error) {
	return Query{}, errNotBuilt
}

// Latest gives the query that was started last by an alias.
func (m *Manager) Latest(ctx context.Context, o Owner, alias string) (Query, error) {
	return Query{}, errNotBuilt
}

// Results gives a page of at most limit rows, MaxPage when 0, of the query's result. The token is Next of the page before, whose
// limit was the same; "" for the first page.
func (m *Manager) Results(ctx context.Context, o Owner, id string, limit int, token string) (Page, error) {
	return Page{}, errNotBuilt
}

// List gives queries, newest first, and the token of the next page.
func (m *Manager) List(ctx context.Context, f Filter) ([]Query, string, error) {
	return nil, "", errNotBuilt
}

// Cancel ends a query, and waits until the engine has let go of it.
func (m *Manager) Cancel(ctx context.Context, o Owner, id string) (Query, error) {
	return Query{}, errNotBuilt
}

// Again takes a Cancel back: the query runs once more.
func (m *Manager) Again(ctx context.Context, id string) error { return errNotBuilt }

var errNotBuilt = errors.New("not built yet")
