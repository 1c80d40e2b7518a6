package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"spoor/internal/app"
	"spoor/internal/config"
	"spoor/internal/safetext"
)

func (e *env) serve() *cobra.Command {
	var f configFlags
	var sample, askMaster bool
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the service: take events in, keep them, answer over HTTP",
		Long: `Serve runs until it is interrupted. Without any configuration it answers to its own machine alone, on 127.0.0.1:8484, and
keeps everything in ./spoor-data. AWS's own clients find it on 127.0.0.1:4599. The first start prints root's token, this one
time, and commands to try.

  spoor serve
  spoor serve --data /var/lib/spoor --listen 127.0.0.1:9000
  spoor serve --config spoor.yaml                 spoor config example prints one, with every setting
  spoor serve --set store.retention.data=90d      any setting
  spoor serve --sample --data ./try               with logs to look at
  spoor serve --ask-master-key                    the master key of the key ring is typed, and kept in memory alone

An interrupt or SIGTERM stops it in order, within shutdown_timeout; a second one ends it at once, and so may kill -9:
what was accepted is durable. SIGHUP reads the configuration again; what is wrong with it is told, and changes nothing.

Exit status:
  0  stopped in order
  2  wrong usage, or a configuration that is not valid
  4  it could not start, a part of it failed, or something was cut off when it stopped`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return e.runServe(c.Context(), &f, sample, askMaster) },
	}
	f.add(c)
	c.Flags().BoolVar(&sample, "sample", false, "feed it with the logs of an organisation that does not exist: a week until now, with an attack in it, and then as time passes")
	c.Flags().BoolVar(&askMaster, "ask-master-key", false, "ask on the terminal for the master key of the key ring, without showing it, in place of keys.master_key and keys.master_key_file")
	return c
}

func (e *env) runServe(ctx context.Context, f *configFlags, sample, askMaster bool) (err error) {
	if _, err := f.read(e); errors.Is(err, os.ErrNotExist) {
		return usageError{err}
	}
	if askMaster {
		text, err := e.askMaster(ctx, "Master key of the key ring: ")
		if err != nil {
			return err
		}
		for _, o := range []config.Override{{Key: "keys.master_key_file"}, {Key: "keys.master_key", Value: text}} {
			o.From = "--ask-master-key"
			f.over = append(f.over, o)
		}
	}
	hup := make(chan os.Signal, 1) // from the beginning: the signal would end the process
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	v := readVersion()
	a, err := app.Open(ctx, app.Options{Load: func() (*config.Loaded, error) { return f.read(e) }, Version: v.Version, Commit: v.Commit, Sample: sample, LogTo: e.stderr})
	if err != nil {
		var bad *config.Error
		if ctx.Err() != nil {
			return nil // it was interrupted before it had started
		}
		if errors.As(err, &bad) {
			err = usageError{err}
		}
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	secret, made, err := a.FirstCredential(ctx)
	if err != nil {
		return fmt.Errorf("make root's first token: %w", err)
	}
	if err := e.welcome(a, secret, made, sample); err != nil {
		return err
	}

	done := make(chan struct{})
	var reloads sync.WaitGroup
	reloads.Go(func() {
		for {
			select {
			case <-hup:
				_, _ = a.Reload(ctx) // the log tells
			case <-done:
				return
			}
		}
	})
	err = a.Run(ctx)
	close(done)
	reloads.Wait()
	if err == nil {
		fmt.Fprintln(e.stderr, "spoor: stopping; a second interrupt ends at once")
	}
	return err
}

// welcome tells how to reach the server, and what to do with it.
func (e *env) welcome(a *app.App, secret string, made, sample bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Spoor %s serves on %s and keeps everything in %s.\n", readVersion().Version, a.URL(), safetext.Terminal(a.Folder(), 300))
	if aws := a.AWSURL(); aws != "" {
		fmt.Fprintf(&b, "AWS's own clients find it on %s, Region %s.\n", aws, a.Region())
	}
	if made {
		fmt.Fprintf(&b, "\nThe token of root, which is shown this one time:\n\n  %s\n", secret)
	} else {
		fmt.Fprintf(&b, "Another token of root, while the service is stopped: %s iam token create root --data %s\n", program(), shellQuote(a.Folder()))
	}
	where := ", in another terminal"
	if !made {
		where += ", with your token in SPOOR_TOKEN"
	}
	fmt.Fprintf(&b, "\nTry%s:\n\n", where)
	for _, line := range tryThese(a.URL(), secret, sample) {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	if a.AWSURL() != "" && made {
		b.WriteString("\nAnd there, with the AWS CLI:\n\n")
		for _, line := range tryAWS(a.AWSURL(), a.Region()) {
			fmt.Fprintf(&b, "  %s\n", line)
		}
	}
	b.WriteString("\n")
	_, err := io.WriteString(e.stdout, b.String())
	return err
}

// tryThese are commands that work when they are pasted into a shell. Without a secret the caller's token counts.
func tryThese(url, secret string, sample bool) []string {
	out := []string{"export SPOOR_SERVER=" + url}
	if secret != "" {
		out[0] += " SPOOR_TOKEN=" + secret
	}
	if sample {
		return append(out,
			program()+` query --server $SPOOR_SERVER 'SELECT eventSource, eventName, count(*) AS n FROM events GROUP BY ALL ORDER BY n DESC LIMIT 10'`,
			program()+` tail -f --server $SPOOR_SERVER`)
	}
	return append(out,
		fmt.Sprintf(`curl -sS $SPOOR_SERVER/api/v1/events -H "Authorization: Bearer $SPOOR_TOKEN" -d '{"eventID":"%s","eventTime":"%s","eventSource":"example.com","eventName":"Hello"}'`,
			uuid.NewString(), time.Now().UTC().Format(time.RFC3339)),
		program()+` query --server $SPOOR_SERVER 'SELECT eventTime, eventSource, eventName FROM events ORDER BY eventTime DESC LIMIT 10'`)
}

// tryAWS are commands that go on from those of tryThese: an access key of root, which the CLI then calls with.
func tryAWS(url, region string) []string {
	return []string{
		fmt.Sprintf(`eval "$(%s iam key create root --format env --endpoint-url %s --region %s)"`, program(), url, region),
		"aws sts get-caller-identity",
		"aws cloudtrail lookup-events --lookup-attributes AttributeKey=Username,AttributeValue=root --max-items 3",
	}
}

// program is how this program was called, as a word of a shell.
func program() string {
	if name := os.Args[0]; strings.ContainsAny(name, `/\`) {
		return shellQuote(name)
	}
	return "spoor"
}

// shellQuote writes text as one word of a shell.
func shellQuote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-:=@%+,") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
