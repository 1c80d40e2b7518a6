// Package model describes services of AWS as tables: operations, shapes with their constraints, and errors. The packages below
// it hold one table each, with the Go types of its structures; the program in gen writes them from AWS's own service models.
//
// The tables are constant data: they cost nothing at start, and what serves operations compiles those it needs.
package model

import (
	"slices"
	"strings"
)

//go:generate go run ./gen -out . ../../../../shared/spec/models gen/models

// Kind is what a shape is.
type Kind uint8

// The kinds of shapes.
const (
	Structure Kind = iota + 1
	List
	Map
	String
	Integer // 32 bits
	Long    // 64 bits
	Float   // 32 bits
	Double  // 64 bits
	Boolean
	Timestamp
	Blob
)

// Flags say more of a shape.
type Flags uint8

// The flags.
const (
	HasMin      Flags = 1 << iota // Shape.Min counts
	HasMax                        // Shape.Max counts
	Sensitive                     // its values are secrets
	Exception                     // a structure that is an error
	Fault                         // an error of the service, not of the caller
	Union                         // a structure of which exactly one member is set
	EventStream                   // a structure that is a stream
)

// Shape is a type of a service. Min and Max bound the length of strings in characters, of blobs in bytes, of lists and maps in
// members, and the value of numbers.
type Shape struct {
	Name     string
	Kind     Kind
	Flags    Flags
	Min, Max int64
	Elem     int16  // of lists and maps: the shape of members or values
	Key      int16  // of maps
	KeyName  string // of maps: the names of keys and values in the query protocol, "" for key and value
	ElemName string
	Members  []Member // of structures, by name
	Enum     []string // of strings: all that is allowed
	Pattern  string   // of strings: as the model writes it
	Expr     string   // the pattern for package regexp, where that differs
	Code     string   // of exceptions: the code in protocols that do not tell the name
	Status   int16    // of exceptions: the HTTP status
}

// Has reports whether all of f is set.
func (s *Shape) Has(f Flags) bool { return s.Flags&f == f }

// Member is a member of a structure.
type Member struct {
	Name     string
	Shape    int16
	Required bool
	Query    string // the parameter of the URL in which it travels, where the protocol is REST
}

// Operation is a call.
type Operation struct {
	Name          string
	Method, Path  string // of REST
	Input, Output int16  // shapes, -1 for none
	Errors        []int16
	Wrapper       string // the element around the output in XML
	NoAuth        bool   // needs no signature
	Gzip          bool   // its body may be compressed
	Deprecated    bool
}

// ReadOnly says, by the verb of the name, that the operation changes nothing.
func (o *Operation) ReadOnly() bool {
	return slices.ContainsFunc([]string{"Get", "List", "Describe", "Lookup", "Search", "Filter", "Test", "Check", "Decode"},
		func(verb string) bool { return strings.HasPrefix(o.Name, verb) })
}

// Protocol is a way in which operations travel.
type Protocol string

// The protocols, as the models name them.
const (
	JSON     Protocol = "json" // both versions
	Query    Protocol = "query"
	RESTJSON Protocol = "rest-json"
	CBOR     Protocol = "smithy-rpc-v2-cbor"
)

// Service is a table. Operations are sorted by name.
type Service struct {
	Name            string // of the package
	FullName        string // for people
	Version         string // of the API
	SigningName     string // in the scope of signatures
	TargetPrefix    string // in X-Amz-Target
	JSONVersion     string
	Namespace       string // of XML
	Protocols       []Protocol
	QueryCompatible bool // tells the codes of the query protocol in others too
	Operations      []Operation
	Shapes          []Shape
}

// Operation finds an operation by name.
func (s *Service) Operation(name string) (*Operation, bool) {
	i, ok := slices.BinarySearchFunc(s.Operations, name, func(o Operation, name string) int { return strings.Compare(o.Name, name) })
	if !ok {
		return nil, false
	}
	return &s.Operations[i], true
}

// Exception finds an error by name.
func (s *Service) Exception(name string) (*Shape, bool) {
	i, ok := slices.BinarySearchFunc(s.Shapes, name, func(sh Shape, name string) int { return strings.Compare(sh.Name, name) })
	if !ok || !s.Shapes[i].Has(Exception) {
		return nil, false
	}
	return &s.Shapes[i], true
}

// Speaks reports whether the service has a protocol.
func (s *Service) Speaks(p Protocol) bool { return slices.Contains(s.Protocols, p) }

// ShortTarget is the last part of TargetPrefix, which some clients send alone.
func (s *Service) ShortTarget() string {
	return s.TargetPrefix[strings.LastIndexByte(s.TargetPrefix, '.')+1:]
}
