package awsapi_test

import (
	"crypto/sha256"
	"encoding/hex"
)

func sum(body string) string {
	s := sha256.Sum256([]byte(body))
	return hex.EncodeToString(s[:])
}
