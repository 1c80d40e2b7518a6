package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"spoor/internal/durable"
)

// state is what the file beside the server's files knows: enough to see that those have lost something at their end.
type state struct {
	Version   int                      `json:"version"`
	Last      uint64                   `json:"last"` // a sequence that was given
	Followers map[string]stateFollower `json:"followers"`
}

type stateFollower struct {
	Cursor    uint64 `json:"cursor"`
	Delivered uint64 `json:"delivered"`
}

func statePath(dir string) string { return filepath.Join(dir, "state.json") }

// readState reads the file. One that is damaged is as good as none: it only helps.
func readState(dir string, log *slog.Logger) (st state, err error) {
	if err := durable.RemoveParts(dir); err != nil {
		return st, err
	}
	text, err := os.ReadFile(statePath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return st, nil
	}
	if err != nil {
		return st, err
	}
	if err := json.Unmarshal(text, &st); err != nil {
		log.Error("the journal's state file is damaged and not used", "file", statePath(dir), "error", err)
		return state{}, nil
	}
	if st.Version > 1 {
		return st, fmt.Errorf("%s: %w: %d", statePath(dir), ErrVersion, st.Version)
	}
	return st, nil
}

// writeState writes the file anew, when there is something new.
func (j *Journal) writeState() error {
	if j.eng == nil {
		return nil
	}
	j.stateMu.Lock()
	defer j.stateMu.Unlock()
	j.mu.Lock()
	st := state{Version: 1, Last: j.last, Followers: map[string]stateFollower{}}
	for name, c := range j.followers {
		st.Followers[name] = stateFollower{c.seq, c.delivered}
	}
	j.mu.Unlock()
	text, err := json.MarshalIndent(st, "", " ")
	if err != nil {
		return err
	}
	if string(text) == j.stateText {
		return nil
	}
	if err := durable.WriteFile(statePath(j.o.Dir), text, 0o600); err != nil {
		return fmt.Errorf("write the journal's state: %w", err)
	}
	j.stateText = string(text)
	return nil
}
