package table

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// Column is a column of the table, a member of a struct or the element of a list.
type Column struct {
	// ID is the Iceberg field id, which is written into Parquet files too; it never changes and is never used again.
	ID   int
	Name string
	// Type is one of "boolean", "int", "long", "double", "string", "binary", "date", "timestamptz" (microseconds),
	// "struct", "list".
	Type     string
	Doc      string
	Required bool
	// Fields are the members of a struct, in order; of a list, the one element, named "element".
	Fields []Column
}

// Schema is what a table is created with.
type Schema struct {
	Columns []Column
	// Time names the top-level timestamptz column by whose day (UTC) the table is partitioned and by which [Table.Plan]
	// leaves files out.
	Time string
	// Bounds names further columns (members of structs as "a.b") whose least and greatest values are kept for each file,
	// for the sake of outside engines, shortened to 16 characters.
	Bounds []string
}

// find gives the column by its name.
func find(columns []Column, name string) (Column, bool) {
	i := slices.IndexFunc(columns, func(c Column) bool { return c.Name == name })
	if i < 0 {
		return Column{}, false
	}
	return columns[i], true
}

func (s Schema) iceberg(id int) (*iceberg.Schema, error) {
	seen := make(map[int]string)
	fields, err := nested(s.Columns, "", seen)
	if err != nil {
		return nil, err
	}
	if len(fields) == 0 {
		return nil, errors.New("table schema: no columns")
	}
	t, ok := find(s.Columns, s.Time)
	if !ok || t.Type != "timestamptz" {
		return nil, fmt.Errorf("table schema: time column %q is not a timestamptz column", s.Time)
	}
	return iceberg.NewSchema(id, fields...), nil
}

func nested(columns []Column, path string, seen map[int]string) ([]iceberg.NestedField, error) {
	out := make([]iceberg.NestedField, 0, len(columns))
	for _, c := range columns {
		name := path + c.Name
		if c.ID <= 0 || c.Name == "" {
			return nil, fmt.Errorf("table schema: column %q: needs a name and a positive id, has %d", name, c.ID)
		}
		if other, dup := seen[c.ID]; dup {
			return nil, fmt.Errorf("table schema: columns %q and %q share id %d", other, name, c.ID)
		}
		seen[c.ID] = name
		f := iceberg.NestedField{ID: c.ID, Name: c.Name, Required: c.Required, Doc: c.Doc}
		switch c.Type {
		case "boolean":
			f.Type = iceberg.PrimitiveTypes.Bool
		case "int":
			f.Type = iceberg.PrimitiveTypes.Int32
		case "long":
			f.Type = iceberg.PrimitiveTypes.Int64
		case "double":
			f.Type = iceberg.PrimitiveTypes.Float64
		case "string":
			f.Type = iceberg.PrimitiveTypes.String
		case "binary":
			f.Type = iceberg.PrimitiveTypes.Binary
		case "date":
			f.Type = iceberg.PrimitiveTypes.Date
		case "timestamptz":
			f.Type = iceberg.PrimitiveTypes.TimestampTz
		case "struct":
			members, err := nested(c.Fields, name+".", seen)
			if err != nil {
				return nil, err
			}
			f.Type = &iceberg.StructType{FieldList: members}
		case "list":
			if len(c.Fields) != 1 {
				return nil, fmt.Errorf("table schema: list %q: needs one element, has %d", name, len(c.Fields))
			}
			element, err := nested(c.Fields, name+".", seen)
			if err != nil {
				return nil, err
			}
			f.Type = &iceberg.ListType{ElementID: element[0].ID, Element: element[0].Type, ElementRequired: element[0].Required}
		default:
			return nil, fmt.Errorf("table schema: column %q: unknown type %q", name, c.Type)
		}
		out = append(out, f)
	}
	return out, nil
}

// columns is the way back: what the table's metadata says.
func columns(fields []iceberg.NestedField) []Column {
	out := make([]Column, 0, len(fields))
	for _, f := range fields {
		c := Column{ID: f.ID, Name: f.Name, Doc: f.Doc, Required: f.Required, Type: f.Type.String()}
		switch t := f.Type.(type) {
		case *iceberg.StructType:
			c.Type, c.Fields = "struct", columns(t.FieldList)
		case *iceberg.ListType:
			c.Type, c.Fields = "list", columns([]iceberg.NestedField{t.ElementField()})
		}
		out = append(out, c)
	}
	return out
}

// Evolve adds the columns that the schema has and the table has not, in a commit of its own. A column that changed its
// name or type, or is gone, is refused: old files could not be read. What documents a column may change without effect.
func (t *Table) Evolve(ctx context.Context, schema Schema) error {
	if grown, err := extends(t.Columns(), schema.Columns, ""); err != nil {
		return fmt.Errorf("evolve table: %w", err)
	} else if !grown {
		return nil
	}
	return t.update(ctx, "evolve table", func(s *state) ([]table.Update, error) {
		if _, err := extends(columns(s.meta.CurrentSchema().Fields()), schema.Columns, ""); err != nil {
			return nil, err
		}
		sc, err := schema.iceberg(s.meta.CurrentSchema().ID + 1)
		if err != nil {
			return nil, err
		}
		return []table.Update{table.NewAddSchemaUpdate(sc), table.NewSetCurrentSchemaUpdate(-1)}, nil
	})
}

// extends tells whether want has all of have and more.
func extends(have, want []Column, path string) (bool, error) {
	byID := make(map[int]Column, len(want))
	for _, c := range want {
		byID[c.ID] = c
	}
	grown := false
	for _, h := range have {
		w, ok := byID[h.ID]
		switch {
		case !ok:
			return false, fmt.Errorf("column %s%s (id %d) is gone", path, h.Name, h.ID)
		case w.Name != h.Name || w.Type != h.Type || w.Required != h.Required:
			return false, fmt.Errorf("column %s%s (id %d) became %s %s", path, h.Name, h.ID, w.Name, w.Type)
		}
		g, err := extends(h.Fields, w.Fields, path+h.Name+".")
		if err != nil {
			return false, err
		}
		grown = grown || g
		delete(byID, h.ID)
	}
	for _, c := range want {
		if _, ok := byID[c.ID]; ok && c.Required {
			return false, fmt.Errorf("column %s%s (id %d) is new and required", path, c.Name, c.ID)
		}
	}
	return grown || len(byID) > 0, nil
}
