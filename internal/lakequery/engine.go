package lakequery

import (
	"context"

	"spoor/internal/query"
	"spoor/internal/store"
	"spoor/internal/store/duckdb"
)

// Over lets queries be answered by an engine that others use too.
func Over(e *query.Engine) Engine { return over{e} }

type over struct{ *query.Engine }

// SQL implements [Engine].
func (o over) SQL(ctx context.Context, q query.SQL) (Rows, error) {
	rows, err := o.Engine.SQL(ctx, q)
	if err != nil {
		return nil, err
	}
	return result{rows}, nil
}

type result struct{ *query.Rows }

// Columns implements [Rows].
func (r result) Columns() []duckdb.Column { return r.Rows.Columns }

// Damaged implements [Rows].
func (r result) Damaged() []store.Damage { return r.Rows.Damaged }
