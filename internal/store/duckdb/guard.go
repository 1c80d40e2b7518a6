package duckdb

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// RefusedError says why a query is not run: it asks for something that queries may not do, or that is not supported.
type RefusedError struct {
	Reason string
	// Line and Column say where in the query, from 1 on, Column in characters; 0 where that is not known. Only refusals of
	// the Lake dialect tell.
	Line, Column int

	near string // what to look for in the query for a place
}

func (e *RefusedError) Error() string {
	switch {
	case e.Column > 0:
		return fmt.Sprintf("query refused: line %d, column %d: %s", e.Line, e.Column, e.Reason)
	case e.Line > 0:
		return fmt.Sprintf("query refused: line %d: %s", e.Line, e.Reason)
	}
	return "query refused: " + e.Reason
}

func refusef(format string, args ...any) error {
	return &RefusedError{Reason: fmt.Sprintf(format, args...)}
}

// refuseNear refuses for a name in the query.
func refuseNear(name, format string, args ...any) error {
	return &RefusedError{Reason: fmt.Sprintf(format, args...), near: name}
}

// tableFunctions are the table functions that queries may use. All others are refused: most read files or tell about the
// engine, some change it.
var tableFunctions = map[string]bool{"unnest": true, "range": true, "generate_series": true, "json_each": true, "json_tree": true}

// refusedFunctions tell about the engine, change it, or make texts and lists of any size, which its memory limit does not
// see.
var refusedFunctions = map[string]string{
	"current_setting": tells, "getvariable": tells, "getenv": tells, "current_query": tells, "current_query_id": tells, "current_connection_id": tells,
	"current_transaction_id": tells, "txid_current": tells, "current_database": tells, "current_schemas": tells, "current_schema": tells, "in_search_path": tells,
	"pg_get_viewdef": tells, "pg_get_constraintdef": tells, "stats": tells, "current_catalog": tells, "current_user": tells, "user": tells, "session_user": tells, "current_role": tells,
	"write_log": changes, "nextval": changes, "currval": changes, "setseed": changes, "sleep_ms": "it does nothing but take time",
	"json_serialize_plan": reads, "json_serialize_sql": reads, "json_deserialize_sql": reads, "json_execute_serialized_sql": reads, "query": reads, "query_table": reads,
	"printf": sizes, "format": sizes, "bar": sizes, "list_resize": sizes, "array_resize": sizes, "bitstring": sizes,
}

const (
	tells   = "it tells about the engine"
	changes = "it changes the engine"
	reads   = "it handles other queries"
	sizes   = "its result can be of any size"
)

// guard checks parsed queries.
type guard struct {
	tables map[string]bool // schema.name and name, in lower case
	ctes   map[string]bool
	lake   bool // in the Lake dialect tables are event data stores
}

const onlySelect = "only SELECT can be asked of event data stores"

// check refuses a query, parsed to a tree by the engine's parser, that names anything but what is allowed.
func (g guard) check(tree []byte) error {
	var doc struct {
		Error   bool             `json:"error"`
		Type    string           `json:"error_type"`
		Message string           `json:"error_message"`
		Parsed  []map[string]any `json:"statements"`
	}
	dec := json.NewDecoder(bytes.NewReader(tree))
	dec.UseNumber()
	if err := dec.Decode(&doc); err != nil {
		return fmt.Errorf("read the parsed query: %w", err)
	}
	switch {
	case doc.Error && doc.Type == "not implemented" && g.lake:
		return refusef(onlySelect)
	case doc.Error && g.lake:
		return refusef("the query is not SQL: %s", strings.TrimSpace(doc.Message))
	case doc.Error && doc.Type == "not implemented":
		return refusef("only SELECT, WITH, EXPLAIN, DESCRIBE and SHOW TABLES can be asked")
	case doc.Error:
		return fmt.Errorf("the query is not SQL: %s", strings.TrimSpace(doc.Message))
	case len(doc.Parsed) == 0:
		return refusef("there is no query")
	case len(doc.Parsed) > 1:
		return refusef("there are %d statements; ask one at a time", len(doc.Parsed))
	}
	g.ctes = map[string]bool{}
	g.names(doc.Parsed[0])
	return g.node(doc.Parsed[0])
}

// names gathers the names that WITH gives. Where one is used outside of its scope, the engine finds nothing by it.
func (g guard) names(v any) {
	switch v := v.(type) {
	case map[string]any:
		if ctes, ok := v["cte_map"].(map[string]any); ok {
			entries, _ := ctes["map"].([]any)
			for _, e := range entries {
				if entry, ok := e.(map[string]any); ok {
					if name, ok := entry["key"].(string); ok && !strings.ContainsAny(name, `./\:*?`) {
						g.ctes[strings.ToLower(name)] = true
					}
				}
			}
		}
		for _, c := range v {
			g.names(c)
		}
	case []any:
		for _, c := range v {
			g.names(c)
		}
	}
}

func (g guard) node(v any) error {
	switch v := v.(type) {
	case map[string]any:
		if err := g.object(v); err != nil {
			return err
		}
		for _, c := range v {
			if err := g.node(c); err != nil {
				return err
			}
		}
	case []any:
		for _, c := range v {
			if err := g.node(c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g guard) object(v map[string]any) error {
	str := func(key string) string { s, _ := v[key].(string); return strings.ToLower(s) }
	if name := str("function_name"); name != "" {
		if str("catalog") != "" || str("schema") != "" && str("schema") != "main" {
			return refuseNear(name, "functions are named without a schema: %s", name)
		}
		if why, no := refusedFunctions[name]; no {
			return refuseNear(name, "the function %s cannot be used: %s", name, why)
		}
		if strings.HasPrefix(name, "pg_") || strings.HasPrefix(name, "has_") || strings.HasPrefix(name, "duckdb_") || strings.HasPrefix(name, "pragma_") {
			return refuseNear(name, "the function %s cannot be used: %s", name, tells)
		}
	}
	switch str("type") {
	case "base_table":
		name, schema := str("table_name"), str("schema_name")
		_, isTable := v["table_name"]
		switch {
		case !isTable:
		case str("catalog_name") != "":
			return refuseNear(str("catalog_name"), "there is no catalog %s", str("catalog_name"))
		case schema == "" && g.ctes[name]:
		case schema == "" && g.tables[name], schema != "" && g.tables[schema+"."+name]:
		case g.lake && schema == "" && isUUID(name):
			return refuseNear(name, "there is no event data store %s", name)
		case g.lake:
			return refuseNear(name, "there is no table %s; FROM names event data stores, by their ids", name)
		default:
			if schema != "" {
				name = schema + "." + name
			}
			return refusef("there is no table %s; there are: %s", name, strings.Join(g.list(), ", "))
		}
	case "table_function":
		f, ok := v["function"].(map[string]any)
		if !ok {
			break
		}
		name, _ := f["function_name"].(string)
		if !tableFunctions[strings.ToLower(name)] {
			return refuseNear(name, "the table function %s cannot be used", name)
		}
	case "show_ref":
		if g.lake {
			return refusef(onlySelect)
		}
		if kind := str("show_type"); kind != "describe" && kind != "summary" || v["query"] == nil {
			return refusef("only SHOW TABLES, DESCRIBE and SUMMARIZE of a table or query can be asked")
		}
	case "column_data", "delim_get", "bound_table_function", "invalid":
		return refusef("queries of this kind cannot be asked")
	}
	return nil
}

// list is the tables that can be named, without repetition by schema.
func (g guard) list() []string {
	out := Tables()
	for name := range g.tables {
		if !slices.Contains(out, name) && !strings.HasPrefix(name, "main.") && !strings.HasPrefix(name, "default.") {
			out = append(out, name)
		}
	}
	return out
}
