package sqs

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"spoor/internal/source/live/livetest"
)

var gateway *livetest.Gateway

// TestMain starts the gateway of the tests, and keeps the machine's own AWS configuration out of them.
func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "spoor-sqs-*")
	if err == nil {
		defer os.RemoveAll(dir)
		err = livetest.Isolate(dir)
	}
	if err == nil {
		gateway, err = livetest.StartGateway(filepath.Join(dir, "s3"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code = m.Run()
	if err := gateway.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		return 1
	}
	return code
}
