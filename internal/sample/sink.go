package sample

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Sink takes the files that are made. Create is called by many goroutines at once, with each key once; the key is a
// slash-separated path. A file is complete when its Close returned nil.
type Sink interface {
	Create(ctx context.Context, key string) (io.WriteCloser, error)
}

// folder is a Sink that writes below a folder.
type folder string

func (f folder) Create(_ context.Context, key string) (io.WriteCloser, error) {
	path := filepath.Join(string(f), filepath.FromSlash(key))
	file, err := os.Create(path)
	if os.IsNotExist(err) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, fmt.Errorf("create folder of log file: %w", err)
		}
		file, err = os.Create(path)
	}
	if err != nil {
		return nil, fmt.Errorf("create log file: %w", err)
	}
	return file, nil
}
