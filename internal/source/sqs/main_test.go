package sqs

import (
	"os"
	"testing"

	"spoor/internal/source/live/livetest"
)

var gateway *livetest.Gateway

// TestMain starts the gateway of the tests, and keeps the machine's own AWS configuration out of them.
func TestMain(m *testing.M) { os.Exit(livetest.Main(m, &gateway)) }
