// Package refusal is what parts behind the AWS-compatible endpoint refuse callers with: a code that AWS has, and a sentence.
package refusal

import (
	"fmt"
	"strings"
)

// Error is a refusal. Code is the name of an exception of the service's model.
type Error struct{ Code, Message string }

// Error implements error.
func (e *Error) Error() string { return e.Message }

// Errorf makes a refusal.
func Errorf(code, format string, a ...any) error { return &Error{code, fmt.Sprintf(format, a...)} }

// Sentence makes a message of the text of an error.
func Sentence(s string) string {
	if s == "" {
		return s
	}
	s = strings.ToUpper(s[:1]) + s[1:]
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}
