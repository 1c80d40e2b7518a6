package docs_test

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// recentLogs makes the logs of the last seven days, once: the documentation asks for "--since 7d".
var recentLogs = sync.OnceValues(func() (string, error) {
	bin, err := program()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(workspace, "logs")
	start := time.Now().UTC().AddDate(0, 0, -6).Format(time.DateOnly)
	out, err := exec.Command(filepath.Join(bin, "spoor"), "sample", "--out", dir, "--events", "1500", "--start", start).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("make logs: %w\n%s", err, out)
	}
	return dir, pack(dir)
})

// pack writes what lies in dir into archives beside it, and a damaged copy of some of it.
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
	if err := zw.AddFS(files); err != nil {
		return err
	}
	if err := tw.AddFS(files); err != nil {
		return err
	}
	if err := errors.Join(zw.Close(), tw.Close(), gw.Close()); err != nil {
		return err
	}
	one, err := largest(dir)
	if err != nil {
		return err
	}
	damaged := filepath.Join(filepath.Dir(dir), "damaged")
	if err := os.Mkdir(damaged, 0o755); err != nil {
		return err
	}
	return errors.Join(copyFile(one, filepath.Join(damaged, "whole.json.gz"), -1), copyFile(one, filepath.Join(damaged, "cut.json.gz"), 2000))
}

// largest finds the largest log file below dir.
func largest(dir string) (string, error) {
	var best string
	var size int64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".json.gz") {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > size {
			best, size = path, info.Size()
		}
		return err
	})
	if err == nil && size <= 2000 {
		err = fmt.Errorf("the largest log of %s has %d bytes", dir, size)
	}
	return best, err
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
	one, err := largest(logs)
	if err != nil {
		return nil, err
	}
	for name, to := range map[string]string{"logs": logs, "logs.zip": logs + ".zip", "logs.tar.gz": logs + ".tar.gz", "trail.json.gz": one, "bin": bin} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "damaged"), os.DirFS(filepath.Join(filepath.Dir(logs), "damaged"))); err != nil {
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
