package segment

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/arrow-go/v18/parquet/schema"
	"github.com/apache/iceberg-go"
)

// IcebergSchema returns the columns as an Iceberg schema. Its field ids are those of [Columns], and those of the files.
func IcebergSchema() *iceberg.Schema {
	return iceberg.NewSchema(0, icebergFields(Columns())...)
}

func icebergFields(cols []Column) []iceberg.NestedField {
	out := make([]iceberg.NestedField, len(cols))
	for i, c := range cols {
		out[i] = iceberg.NestedField{ID: c.ID, Name: c.Name, Type: icebergType(c), Doc: c.Doc}
	}
	return out
}

func icebergType(c Column) iceberg.Type {
	switch c.Type {
	case Bytes:
		return iceberg.PrimitiveTypes.Binary
	case Bool:
		return iceberg.PrimitiveTypes.Bool
	case Long:
		return iceberg.PrimitiveTypes.Int64
	case Time:
		return iceberg.PrimitiveTypes.TimestampTz
	case Day:
		return iceberg.PrimitiveTypes.Date
	case Struct:
		return &iceberg.StructType{FieldList: icebergFields(c.Fields)}
	case List:
		return &iceberg.ListType{ElementID: c.Fields[0].ID, Element: icebergType(c.Fields[0])}
	}
	return iceberg.PrimitiveTypes.String
}

// ArrowSchema returns the columns as an Arrow schema, with field ids in the metadata PARQUET:field_id.
func ArrowSchema() (*arrow.Schema, error) {
	s, err := pqarrow.FromParquet(schema.NewSchema(parquetSchema()), nil, nil)
	if err != nil {
		return nil, fmt.Errorf("derive the Arrow schema of a segment: %w", err)
	}
	return s, nil
}

// parquetSchema is built of constants, so that nothing can be wrong with it that a test does not see. It is built anew for
// each file, as its nodes remember their paths when they are first asked and so must not be shared by writers.
func parquetSchema() *schema.GroupNode {
	return must(schema.NewGroupNode("spoor", parquet.Repetitions.Required, parquetFields(Columns()), -1))
}

func parquetFields(cols []Column) schema.FieldList {
	out := make(schema.FieldList, len(cols))
	for i, c := range cols {
		out[i] = parquetNode(c)
	}
	return out
}

func parquetNode(c Column) schema.Node {
	id := int32(c.ID)
	opt := parquet.Repetitions.Optional
	switch c.Type {
	case Bytes:
		return must(schema.NewPrimitiveNode(c.Name, opt, parquet.Types.ByteArray, id, -1))
	case Bool:
		return must(schema.NewPrimitiveNode(c.Name, opt, parquet.Types.Boolean, id, -1))
	case Long:
		return must(schema.NewPrimitiveNode(c.Name, opt, parquet.Types.Int64, id, -1))
	case Time:
		return must(schema.NewPrimitiveNodeLogical(c.Name, opt, schema.NewTimestampLogicalType(true, schema.TimeUnitMicros), parquet.Types.Int64, -1, id))
	case Day:
		return must(schema.NewPrimitiveNodeLogical(c.Name, opt, schema.DateLogicalType{}, parquet.Types.Int32, -1, id))
	case Struct:
		return must(schema.NewGroupNode(c.Name, opt, parquetFields(c.Fields), id))
	case List:
		list := must(schema.NewGroupNode("list", parquet.Repetitions.Repeated, parquetFields(c.Fields), -1))
		return must(schema.NewGroupNodeLogical(c.Name, opt, schema.FieldList{list}, schema.NewListLogicalType(), id))
	}
	return must(schema.NewPrimitiveNodeLogical(c.Name, opt, schema.StringLogicalType{}, parquet.Types.ByteArray, -1, id))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
