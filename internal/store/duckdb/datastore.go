package duckdb

// DataStore is what an event data store holds, as a table of the Lake dialect.
type DataStore struct {
	// ID is a UUID in small letters: the name in FROM.
	ID string
	// Audit stores have the columns of events from outside of AWS (eventData, metadata, addendum …) in place of CloudTrail's.
	Audit bool
	// Where is a condition in SQL over the columns of package segment, "" for all. It is the program's own, its values quoted
	// with [QuoteText].
	Where string
}

// QuoteText writes a text as SQL does.
func QuoteText(s string) string { return quoteText(s) }

// DataStoreIDs gives the ids of the event data stores that a query of the Lake dialect names in FROM, in small letters, in
// the order in which they appear, once each. Errors are [*RefusedError].
func DataStoreIDs(sql string) ([]string, error) {
	toks, err := lex(sql)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, t := range toks {
		if t.kind == uuid {
			ids = append(ids, t.text)
		}
	}
	return ids, nil
}
