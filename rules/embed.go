// Package rules is the built-in detection pack as data: Sigma rules, each with the events that fire it and the events
// that must not. README.md gives the house style.
package rules

import "embed"

// FS holds the pack, one folder a subject: name.yml is a rule file, name.test.yml beside it its test cases.
//
//go:embed */*.yml
var FS embed.FS
