package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"spoor/internal/detect"
	"spoor/internal/hunt"
	"spoor/internal/ledger"
	"spoor/internal/safetext"
)

// encode writes v as JSON that is safe on a terminal and inside HTML, followed by a line feed.
func encode(w io.Writer, v any, indent string) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", indent)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	_, err := w.Write(safetext.JSON(b.Bytes()))
	return err
}

func writeJSON(w io.Writer, res *hunt.Result, _ Options) error {
	return encode(w, res, "  ")
}

// findingLine is a line of the JSON Lines form.
type findingLine struct {
	Kind string `json:"kind"` // finding
	*detect.Finding
}

// ledgerLine is the last line of the JSON Lines form.
type ledgerLine struct {
	Kind    string          `json:"kind"` // ledger
	Version string          `json:"version"`
	Started time.Time       `json:"started"`
	Inputs  []string        `json:"inputs"`
	First   time.Time       `json:"first"`
	Last    time.Time       `json:"last"`
	Rules   hunt.RuleCounts `json:"rules"`
	Ledger  *ledger.Report  `json:"ledger"`
}

func writeJSONL(w io.Writer, res *hunt.Result, _ Options) error {
	for i := range res.Findings {
		if err := encode(w, findingLine{"finding", &res.Findings[i]}, ""); err != nil {
			return err
		}
	}
	return encode(w, ledgerLine{"ledger", res.Version, res.Started, res.Inputs, res.First, res.Last, res.Rules, res.Ledger}, "")
}
