package cli

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"spoor/internal/inflate"
)

// Set by the linker; without it the build information of the Go toolchain stands in.
var (
	version string
	commit  string
)

// engines are the modules whose version matters to what Spoor does with data.
var engines = [...]string{
	"github.com/klauspost/compress", "go.yaml.in/yaml/v3", "github.com/aws/aws-sdk-go-v2", "github.com/aws/aws-sdk-go-v2/service/s3",
	"github.com/duckdb/duckdb-go/v2", "github.com/apache/iceberg-go", "github.com/apache/arrow-go/v18",
}

type versionInfo struct {
	Version string            `json:"version"`
	Commit  string            `json:"commit"`
	Go      string            `json:"go"`
	OS      string            `json:"os"`
	Arch    string            `json:"arch"`
	Inflate string            `json:"inflate"` // what expands gzip that is held whole
	Engines map[string]string `json:"engines"`
}

func readVersion() versionInfo {
	v := versionInfo{Version: version, Commit: commit, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, Engines: map[string]string{}}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			for _, e := range engines {
				if m.Path == e {
					v.Engines[m.Path] = m.Version
				}
			}
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && v.Commit == "" {
				v.Commit = s.Value
			}
		}
		if v.Version == "" {
			v.Version = strings.Trim(info.Main.Version, "()")
		}
	}
	if v.Inflate = inflate.Engine(); v.Inflate == "" {
		v.Inflate = "klauspost/compress " + v.Engines["github.com/klauspost/compress"]
	}
	if v.Version == "" {
		v.Version = "devel"
	}
	if v.Commit == "" {
		v.Commit = "unknown"
	}
	return v
}

func (e *env) version() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Print version, commit and engine versions",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			v := readVersion()
			if asJSON {
				enc := json.NewEncoder(e.stdout)
				enc.SetIndent("", "  ")
				return enc.Encode(v)
			}
			_, err := fmt.Fprintf(e.stdout, "spoor %s\ncommit %s\n%s %s/%s\ninflate: %s\n", v.Version, v.Commit, v.Go, v.OS, v.Arch, v.Inflate)
			for _, m := range engines {
				if err == nil && v.Engines[m] != "" {
					_, err = fmt.Fprintf(e.stdout, "%s %s\n", m, v.Engines[m])
				}
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return c
}
