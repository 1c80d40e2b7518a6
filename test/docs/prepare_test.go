package docs_test

import (
	"archive/tar"
	"archive/zip"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// recentLogs makes the logs of the last seven days, once: the documentation asks for "--since 7d".
var recentLogs = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(workspace, "logs")
	if err := makeLogs(dir, "--start", time.Now().UTC().AddDate(0, 0, -6).Format(time.DateOnly)); err != nil {
		return "", err
	}
	return dir, pack(dir)
})

// damagedLogs makes two log files, once, one of them cut off. They are the same on every day, and have no event in common:
// which of two copies counts depends on which is read first.
var damagedLogs = sync.OnceValues(func() (string, error) {
	fixed, dir := filepath.Join(workspace, "fixed"), filepath.Join(workspace, "damaged")
	if err := makeLogs(fixed); err != nil {
		return "", err
	}
	files, err := bySize(fixed)
	if err != nil {
		return "", err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	return dir, errors.Join(copyFile(files[0], filepath.Join(dir, "whole.json.gz"), -1), copyFile(files[1], filepath.Join(dir, "cut.json.gz"), 2000))
})

func makeLogs(dir string, flags ...string) error {
	bin, err := program()
	if err != nil {
		return err
	}
	args := append([]string{"sample", "--out", dir, "--events", "1500"}, flags...)
	if out, err := exec.Command(filepath.Join(bin, "spoor"), args...).CombinedOutput(); err != nil {
		return fmt.Errorf("make logs: %w\n%s", err, out)
	}
	return nil
}

// pack writes what lies in dir into archives beside it.
func pack(dir string) error {
	zf, err := os.Create(dir + ".zip")
	if err != nil {
		return err
	}
	defer zf.Close()
	tf, err := os.Create(dir + ".tar.gz")
	if err != nil {
		return err
	}
	defer tf.Close()
	zw, gw := zip.NewWriter(zf), gzip.NewWriter(tf)
	tw := tar.NewWriter(gw)
	files := os.DirFS(dir)
	return errors.Join(zw.AddFS(files), tw.AddFS(files), zw.Close(), tw.Close(), gw.Close())
}

// bySize lists the log files below dir, the largest first.
func bySize(dir string) ([]string, error) {
	sizes := map[string]int64{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".json.gz") {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sizes[path] = info.Size()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	out := slices.Sorted(maps.Keys(sizes))
	slices.SortStableFunc(out, func(a, b string) int { return cmp.Compare(sizes[b], sizes[a]) })
	if len(out) < 2 || sizes[out[1]] <= 2000 {
		return nil, fmt.Errorf("%d logs in %s, none or one of them of more than 2000 bytes", len(out), dir)
	}
	return out, nil
}

// prepare fills the folder in which the commands of a page run, and gives their environment:
//
//	logs/  logs.zip  logs.tar.gz  trail.json.gz      an organisation's trail of the last seven days, and one file of it
//	damaged/                                          two log files, one of them cut off
//	s3://trail-bucket                                 the same trail; every profile and role can read it
//
// make runs the repository's Makefile with the program that is built already; but for "make run" it only checks the target.
// aws s3 cp copies that one file.
func prepare(dir string) ([]string, error) {
	bin, err := program()
	if err != nil {
		return nil, err
	}
	logs, err := recentLogs()
	if err != nil {
		return nil, err
	}
	files, err := bySize(logs)
	if err != nil {
		return nil, err
	}
	one := files[0]
	damaged, err := damagedLogs()
	if err != nil {
		return nil, err
	}
	for name, to := range map[string]string{"logs": logs, "logs.zip": logs + ".zip", "logs.tar.gz": logs + ".tar.gz", "trail.json.gz": one, "bin": bin} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "damaged"), os.DirFS(damaged)); err != nil {
		return nil, err
	}
	tools := filepath.Join(dir, ".tools")
	if err := os.Mkdir(tools, 0o755); err != nil {
		return nil, err
	}
	maker, err := exec.LookPath("make")
	if err != nil {
		return nil, fmt.Errorf("the documentation uses make: %w", err)
	}
	for name, text := range map[string]string{
		"make": "#!/bin/sh\n[ \"$1\" = run ] && exec " + maker + " -f '" + root + "/Makefile' -o build run\n" +
			"exec " + maker + " -C '" + root + "' -n \"$@\" >/dev/null\n",
		"aws": "#!/bin/sh\n[ \"$1 $2 $4\" = 's3 cp -' ] && exec cat '" + one + "'\necho \"aws $*: not known here\" >&2; exit 2\n",
	} {
		if err := os.WriteFile(filepath.Join(tools, name), []byte(text), 0o755); err != nil {
			return nil, err
		}
	}
	env := []string{"PATH=" + tools + ":" + bin + ":" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C.UTF-8"}
	config := "[default]\nregion = us-east-1\n"
	for _, p := range []string{"security", "audit"} {
		config += "[profile " + p + "]\nregion = us-east-1\naws_access_key_id = " + storeKey + "\naws_secret_access_key = " + storeSecret + "\n"
	}
	if err := os.WriteFile(filepath.Join(dir, ".aws-config"), []byte(config), 0o600); err != nil {
		return nil, err
	}
	env = append(env, "AWS_CONFIG_FILE="+filepath.Join(dir, ".aws-config"), "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(dir, "none"),
		"AWS_EC2_METADATA_DISABLED=true", "AWS_ACCESS_KEY_ID="+storeKey, "AWS_SECRET_ACCESS_KEY="+storeSecret)
	s, err := gateway()
	if err != nil {
		return nil, err
	}
	return append(env, "AWS_ENDPOINT_URL_S3="+s.url, "AWS_ENDPOINT_URL_STS="+s.sts, "STORE="+s.url), nil
}
