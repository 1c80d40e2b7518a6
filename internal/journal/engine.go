package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"spoor/internal/durable"
)

// What the server inside this process may take.
const (
	enginePayload = 8 << 20 // largest message
	engineStart   = time.Minute
)

// engine is a NATS server inside this process. It listens nowhere: [engine.InProcessConn] is the only way to it.
type engine struct {
	dir string
	log *slog.Logger

	mu     sync.Mutex
	srv    *server.Server  // nil while it does not run
	failed context.Context // ends, with the reason, when the server cannot write to its disk
	fail   context.CancelCauseFunc
}

// failure is a context that ends when the server that runs now can write no more. It stays that way until it is started
// again: it does not answer what it could not store.
func (e *engine) failure() context.Context {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.failed
}

// natsDir is where the server keeps its files.
func natsDir(dir string) string { return filepath.Join(dir, "nats") }

// blockDir is where the server keeps the messages of a stream.
func blockDir(dir, stream string) string {
	return filepath.Join(natsDir(dir), "jetstream", "$G", "streams", stream, "msgs")
}

// syncTree makes the names of everything below dir durable: the server does not for all that it makes.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = durable.SyncDir(path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the server removed it meanwhile
		}
		return err
	})
}

// start runs the server until stop. It returns when the server takes connections.
func (e *engine) start(ctx context.Context) error {
	if err := os.MkdirAll(natsDir(e.dir), 0o700); err != nil {
		return err
	}
	if err := durable.SyncDir(e.dir); err != nil {
		return err
	}
	srv, err := server.NewServer(&server.Options{
		ServerName:             "spoor",
		DontListen:             true,
		NoSigs:                 true,
		JetStream:              true,
		StoreDir:               natsDir(e.dir),
		SyncAlways:             true, // a message is synced before it is acknowledged
		JetStreamMaxMemory:     64 << 20,
		JetStreamMaxStore:      1 << 60, // what the disk and the journal's own limits allow
		MaxPayload:             enginePayload,
		MaxPending:             256 << 20,
		DisableJetStreamBanner: true,
	})
	if err != nil {
		return fmt.Errorf("make the journal's server: %w", err)
	}
	failed, fail := context.WithCancelCause(context.Background())
	srv.SetLogger(natsLog{e.log, fail}, false, false)
	srv.Start()
	for deadline := time.Now().Add(engineStart); !srv.ReadyForConnections(100 * time.Millisecond); {
		err := ctx.Err()
		if err == nil && (!srv.Running() || time.Now().After(deadline)) {
			err = errors.New("it is not ready")
		}
		if err == nil && failed.Err() != nil {
			err = context.Cause(failed)
		}
		if err != nil {
			srv.Shutdown()
			srv.WaitForShutdown()
			fail(nil)
			return fmt.Errorf("start the journal's server: %w", err)
		}
	}
	if !srv.JetStreamEnabled() {
		srv.Shutdown()
		srv.WaitForShutdown()
		fail(nil)
		return errors.New("start the journal's server: its storage cannot be opened")
	}
	e.mu.Lock()
	e.srv, e.failed, e.fail = srv, failed, fail
	e.mu.Unlock()
	return nil
}

// stop ends the server, with everything that it has written synced, and waits for it.
func (e *engine) stop() {
	e.mu.Lock()
	srv, fail := e.srv, e.fail
	e.srv = nil
	e.mu.Unlock()
	if srv != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
		fail(errors.New("the journal's server was stopped"))
	}
}

// running tells whether there is a server that stores.
func (e *engine) running() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.srv != nil && e.srv.JetStreamEnabled()
}

// InProcessConn connects to the server that runs now, so that a client finds the next one after a restart.
func (e *engine) InProcessConn() (net.Conn, error) {
	e.mu.Lock()
	srv := e.srv
	e.mu.Unlock()
	if srv == nil {
		return nil, errors.New("the journal's server does not run")
	}
	return srv.InProcessConn()
}

// natsLog gives what the server says to a logger. What is normal for it is detail for us. An error of the system among
// the errors is how it tells that it cannot write.
type natsLog struct {
	log  *slog.Logger
	fail context.CancelCauseFunc
}

func (l natsLog) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l natsLog) Warnf(format string, v ...any)   { l.log.Warn(fmt.Sprintf(format, v...)) }
func (l natsLog) Debugf(format string, v ...any)  { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l natsLog) Tracef(format string, v ...any)  { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l natsLog) Fatalf(format string, v ...any)  { l.Errorf(format, v...) }

func (l natsLog) Errorf(format string, v ...any) {
	l.log.Error(fmt.Sprintf(format, v...))
	for _, arg := range v {
		var errno syscall.Errno
		if err, ok := arg.(error); ok && errors.As(err, &errno) {
			l.fail(err)
		}
	}
}
