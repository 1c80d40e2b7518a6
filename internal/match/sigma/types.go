package sigma

import (
	"fmt"
	"time"

	"spoor/internal/match"
)

// Meta is what every Sigma document carries beside its logic.
type Meta struct {
	ID             string
	Name           string
	Title          string
	Status         string // stable, test, experimental, deprecated, unsupported or ""
	Description    string
	License        string
	Author         string
	Level          string // informational, low, medium, high, critical or ""
	Date, Modified string
	References     []string
	Tags           []string // normalised: lower case, dashes inside names (attack.initial-access, attack.t1078.004, cis.aws.4.1)
	FalsePositives []string
	Fields         []string
	Related        []Related
	Spoor          Extension

	File string // where it was read, as given to the loader
	Doc  int    // number of the document in the file, from 1
}

// Related names another rule that this one stands in a relation to.
type Related struct{ ID, Type string }

// Extension is the map under the key `spoor`, which other tools ignore. The built-in pack uses it.
type Extension struct {
	// Check tells a responder what to look at first.
	Check []string `yaml:"check"`
	// Attempts says what a denied call (errorCode or errorMessage present, or a failed ConsoleLogin) yields: "same" level
	// (the default), one level "lower", or "ignore".
	Attempts string `yaml:"attempts"`
	// Controls are compliance control ids such as CIS-4.1.
	Controls []string `yaml:"controls"`
	// Signals are names of GuardDuty custom-rule signals or peers' ideas that the rule covers.
	Signals []string `yaml:"signals"`
}

// LogSource is a document's logsource; empty parts match anything.
type LogSource struct{ Category, Product, Service string }

// Rule is a compiled event rule.
type Rule struct {
	Meta
	LogSource LogSource
	Expr      match.Expr // filters applied to the rule are already part of it
	Warnings  []string   // accepted but odd: `all` on a single value, an ignored timeframe, …
}

// CorrelationType is the type of a correlation rule.
type CorrelationType string

// The correlation types of the specification (2.1.0) and value_median of pySigma.
const (
	EventCount      CorrelationType = "event_count"
	ValueCount      CorrelationType = "value_count"
	Temporal        CorrelationType = "temporal"
	TemporalOrdered CorrelationType = "temporal_ordered"
	ValueSum        CorrelationType = "value_sum"
	ValueAvg        CorrelationType = "value_avg"
	ValuePercentile CorrelationType = "value_percentile"
	ValueMedian     CorrelationType = "value_median"
	ValueMin        CorrelationType = "value_min" // from the retired `| min(field)` only
	ValueMax        CorrelationType = "value_max" // from the retired `| max(field)` only
)

// Correlation is a parsed correlation rule. References are not resolved yet: that needs the whole loaded set.
type Correlation struct {
	Meta
	Type             CorrelationType
	Rules            []string                     // references by id, name or title, in order
	GroupBy          []string                     // field paths or alias names
	Aliases          map[string]map[string]string // alias: rule reference: field
	Timespan         time.Duration
	Fields           []string     // condition.field, for the value types
	Percentile       float64      // 0 to 100, 50 when not given
	Conditions       []Comparison // one or two (a range); for temporal types possibly none
	Expression       *BoolExpr    // condition given as text over rule references, temporal types only
	Generate         bool
	CorrelateMissing bool
	// Base holds rules that were written in the same document, from the retired `selection | count()` syntax; Rules
	// then names them by id.
	Base     []*Rule
	Warnings []string
}

// Comparison is one operator of a correlation condition.
type Comparison struct {
	Op    string // gt, gte, lt, lte, eq, neq
	Value float64
}

// BoolExpr is a boolean expression over rule references. Exactly one of the members is set.
type BoolExpr struct {
	Ref string
	Not *BoolExpr
	And []*BoolExpr
	Or  []*BoolExpr
}

// Problem is a document that could not be loaded, or a remark about one that could.
type Problem struct {
	File   string
	Doc    int // from 1; 0 when the file as a whole is meant
	Title  string
	Reason string
	// Fatal is false for warnings.
	Fatal bool
}

// String says where and why, in one line.
func (p Problem) String() string {
	s := p.File
	if p.Doc > 0 {
		s += fmt.Sprintf(", document %d", p.Doc)
	}
	if p.Title != "" {
		s += fmt.Sprintf(" (%s)", p.Title)
	}
	return s + ": " + p.Reason
}
