// Command spoor reads, proves, asks and watches CloudTrail logs. See spoor help.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"spoor/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
