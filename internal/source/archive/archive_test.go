package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"spoor/internal/source"
	"spoor/internal/source/sourcetest"
)

func member(name string, data []byte) sourcetest.Member {
	return sourcetest.Member{Name: name, Data: data}
}

// expand reads data and returns what was read, by name, and the errors of members.
func expand(t testing.TB, lim Limits, name string, data []byte) (map[string]string, error) {
	t.Helper()
	got := map[string]string{}
	obj := source.Object{Name: name, Size: int64(len(data))}
	err := New(lim).Read(t.Context(), obj, bytes.NewReader(data), func(m source.Object, r io.Reader) error {
		b, err := io.ReadAll(r)
		switch {
		case err != nil:
			got[m.Name] = "error: " + err.Error()
		case m.Skip != "":
			got[m.Name] = "skip: " + m.Skip
		default:
			got[m.Name] = string(b)
		}
		return nil
	})
	return got, err
}

func zstdOf(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(b, nil)
}

func TestForms(t *testing.T) {
	t.Parallel()
	tarball := sourcetest.Tar(member("x", []byte("{}")))
	gz := string(sourcetest.Gzip(string(tarball)))
	for name, c := range map[string]struct {
		data []byte
		want map[string]string
	}{
		"nothing":        {nil, map[string]string{"nothing": ""}},
		"plain":          {[]byte("{}"), map[string]string{"plain": "{}"}},
		"long":           {bytes.Repeat([]byte("0123456789"), 10_000), map[string]string{"long": strings.Repeat("0123456789", 10_000)}},
		"zip":            {sourcetest.Zip(member("x", []byte("{}"))), map[string]string{"zip!x": "{}"}},
		"empty zip":      {sourcetest.Zip(), map[string]string{}},
		"tar":            {tarball, map[string]string{"tar!x": "{}"}},
		"t.tar.gz":       {[]byte(gz), map[string]string{"t.tar.gz!x": "{}"}},
		"no ending":      {[]byte(gz), map[string]string{"no ending!x": "{}"}},
		"LOG.JSON.GZ":    {[]byte(gz), map[string]string{"LOG.JSON.GZ": gz}}, // its name says that it is a log
		"t.zst":          {zstdOf(t, tarball), map[string]string{"t.zst!x": "{}"}},
		"two tars":       {append(bytes.Clone(tarball), sourcetest.Tar(member("y", []byte("[]")))...), map[string]string{"two tars!x": "{}", "two tars!y": "[]"}},
		"gzip of a text": {sourcetest.Gzip(strings.Repeat("{}\n", 1000)), map[string]string{"gzip of a text": string(sourcetest.Gzip(strings.Repeat("{}\n", 1000)))}},
		"broken gzip":    {[]byte("\x1f\x8b\x08broken"), map[string]string{"broken gzip": "\x1f\x8b\x08broken"}},
	} {
		got, err := expand(t, Limits{}, name, c.data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		sourcetest.Same(t, got, c.want)
	}
}

func TestBrokenArchives(t *testing.T) {
	t.Parallel()
	tarball := sourcetest.Tar(member("x", []byte("{}")), member("y", bytes.Repeat([]byte("y"), 3000)))
	zipped := sourcetest.Zip(member("x", []byte("{}")), member("y", bytes.Repeat([]byte("y"), 3000)))
	for name, c := range map[string]struct {
		data []byte
		err  string
		want map[string]string
	}{
		"tar cut off between members": {tarball[:1024], "cut off", map[string]string{"!x": "{}"}},
		"tar cut off in a member":     {tarball[:2048], "unexpected EOF", map[string]string{"!x": "{}", "!y": "error: unexpected EOF"}},
		"tar with something behind":   {append(bytes.Clone(tarball), "hello"...), "something else", map[string]string{"!x": "{}", "!y": strings.Repeat("y", 3000)}},
		"tar.gz cut off":              {cut(sourcetest.Gzip(string(tarball)), 4), "unexpected EOF", map[string]string{"!x": "{}", "!y": strings.Repeat("y", 3000)}},
		"zip cut off":                 {cut(zipped, 10), "not a valid zip", map[string]string{}},
		"zip with a damaged member":   {damage(zipped), "", map[string]string{"!x": "error: zip: checksum error", "!y": strings.Repeat("y", 3000)}},
		"broken archive inside of a good one": {sourcetest.Zip(member("in.tar", tarball[:1024]), member("z", []byte("[]"))), "",
			map[string]string{"!in.tar!x": "{}", "!in.tar": "error: read archive: the tar archive has no end: it is cut off", "!z": "[]"}},
	} {
		got, err := expand(t, Limits{}, "a", c.data)
		if (c.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: error %v, want %q", name, err, c.err)
		}
		want := map[string]string{}
		for m, data := range c.want {
			want["a"+m] = data
		}
		sourcetest.Same(t, got, want)
	}
}

func cut(b []byte, n int) []byte { return b[:len(b)-n] }

// damage changes a bit in the first literal of the first deflated member.
func damage(b []byte) []byte {
	b = bytes.Clone(b)
	i := 30 + int(binary.LittleEndian.Uint16(b[26:])) + int(binary.LittleEndian.Uint16(b[28:]))
	b[i+1] ^= 0x04
	return b
}

func TestOddMembers(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []*tar.Header{
		{Name: "dir/", Typeflag: tar.TypeDir}, {Name: "link", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}, {Name: "hard", Typeflag: tar.TypeLink, Linkname: "dir/x"},
		{Name: "pipe", Typeflag: tar.TypeFifo}, {Name: "../../etc/passwd", Typeflag: tar.TypeReg, Size: 2}, {Name: ".DS_Store", Typeflag: tar.TypeReg, Size: 2},
	} {
		h.Mode = 0o600
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte("{}")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := expand(t, Limits{}, "a", b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	sourcetest.Same(t, got, map[string]string{
		"a!link": "skip: " + source.SkipLink, "a!hard": "skip: " + source.SkipLink, "a!pipe": "skip: " + source.SkipSpecial,
		"a!../../etc/passwd": "{}", "a!.DS_Store": "skip: " + source.SkipSystem,
	})

	b.Reset()
	z := zip.NewWriter(&b)
	link := &zip.FileHeader{Name: "link"}
	link.SetMode(os.ModeSymlink | 0o777)
	const windows = `AWSLogs\111122223333\CloudTrail\us-east-1\2026\01\10\x`
	for _, h := range []*zip.FileHeader{link, {Name: "dir/"}, {Name: "secret", Flags: 1}, {Name: "odd", Method: 99}, {Name: "bad\xff.json", NonUTF8: true}, {Name: windows}} {
		if !strings.HasSuffix(h.Name, "/") {
			h.UncompressedSize64, h.CompressedSize64, h.CRC32 = 2, 2, crc32.ChecksumIEEE([]byte("{}"))
		}
		f, err := z.CreateRaw(h)
		if err == nil && h.CompressedSize64 > 0 {
			_, err = f.Write([]byte("{}"))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	got = map[string]string{}
	obj := source.Object{Name: "a", Size: int64(b.Len())}
	err = New(Limits{}).Read(t.Context(), obj, bytes.NewReader(b.Bytes()), func(m source.Object, r io.Reader) error {
		b, err := io.ReadAll(r)
		got[m.Name] = fmt.Sprint(m.Skip, m.Place.Region, string(b), err)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	sourcetest.Same(t, got, map[string]string{
		"a!link": source.SkipLink + "<nil>", "a!secret": "the member is encrypted", "a!odd": zip.ErrAlgorithm.Error(),
		"a!bad\uFFFD.json": "{}<nil>", "a!" + windows: "us-east-1{}<nil>",
	})
}

func TestLimits(t *testing.T) {
	t.Parallel()
	many := make([]sourcetest.Member, 20)
	for i := range many {
		many[i] = member(fmt.Sprint("m", i), []byte("0123456789"))
	}
	nested := sourcetest.Zip(member("a.tar", sourcetest.Tar(many[:10]...)), member("b.tar", sourcetest.Tar(many[10:]...)))
	for name, c := range map[string]struct {
		lim  Limits
		data []byte
		full int // members read whole
		err  bool
	}{
		"members, enough":         {Limits{Members: 20}, sourcetest.Zip(many...), 20, false},
		"members, too many":       {Limits{Members: 19}, sourcetest.Zip(many...), 19, true},
		"members of a tar":        {Limits{Members: 5}, sourcetest.Tar(many...), 5, true},
		"members of nested":       {Limits{Members: 12}, nested, 10, true}, // two archives and their members
		"members of nested, all":  {Limits{Members: 22}, nested, 20, false},
		"bytes, enough":           {Limits{Expanded: 200}, sourcetest.Zip(many...), 20, false},
		"bytes, too many":         {Limits{Expanded: 105}, sourcetest.Zip(many...), 10, true},
		"bytes of a tar":          {Limits{Expanded: 105}, sourcetest.Tar(many...), 10, true},
		"a zip too large to copy": {Limits{Spill: inMemory}, sourcetest.Zip(member("x", randomBytes(inMemory+10))), 0, true},
		"a zip just small enough": {Limits{Spill: inMemory + 2000}, sourcetest.Zip(member("x", randomBytes(inMemory+10))), 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := expand(t, c.lim, "a", c.data)
			full := 0
			for _, data := range got {
				if !strings.HasPrefix(data, "error: ") {
					full++
				}
			}
			var over *LimitError
			if full != c.full || errors.As(err, &over) != c.err || c.err == (err == nil) {
				t.Errorf("%d members read, error %v, want %d, %v", full, err, c.full, c.err)
			}
		})
	}
}

// Some kilobytes that expand to more than the ratio allows.
func TestRatio(t *testing.T) {
	t.Parallel()
	const ratioFrom = 8 << 20
	var tarball bytes.Buffer
	zw, err := zstd.NewWriter(&tarball)
	if err != nil {
		t.Fatal(err)
	}
	tw := tar.NewWriter(zw)
	const size = ratioFrom + 8<<20
	if err := tw.WriteHeader(&tar.Header{Name: "x", Typeflag: tar.TypeReg, Size: size}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(tw, zeros{}, size); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	var read int64
	obj := source.Object{Name: "a", Size: int64(tarball.Len())}
	o := New(Limits{})
	o.ratioFrom = ratioFrom
	err = o.Read(t.Context(), obj, &tarball, func(_ source.Object, r io.Reader) error {
		read, _ = io.Copy(io.Discard, r)
		return nil
	})
	var over *LimitError
	if !errors.As(err, &over) || read > ratioFrom+1<<20 {
		t.Errorf("%d bytes read of an archive of %d: %v", read, obj.Size, err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func randomBytes(n int) []byte {
	b := make([]byte, n)
	x := uint64(1)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}

// A zip archive in a file lists its members one by one, and the selection prunes them.
func TestZipMembers(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.zip")
	data := sourcetest.Zip(member("x", []byte("1")), member("x", []byte("2")), member("in.tar", sourcetest.Tar(member("y", []byte("3")))), member("e", nil),
		member("AWSLogs/111122223333/CloudTrail/us-east-1/2026/01/10/z", []byte("4")))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := New(Limits{}).OpenZip(source.Object{Name: "a", Size: int64(len(data))}, f)
	if err != nil || z == nil {
		t.Fatal(z, err)
	}
	got := map[string]string{}
	err = z.List(t.Context(), &source.Selection{Accounts: []string{"9"}}, func(obj source.Object, skip string) error {
		if skip != "" {
			got[obj.Name] = "skip: " + skip
			return nil
		}
		return z.Open(t.Context(), obj, func(m source.Object, r io.Reader) error {
			b, err := io.ReadAll(r)
			got[m.Name] = string(b)
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	sourcetest.Same(t, got, map[string]string{
		"a!x": "1", "a!x (2)": "2", "a!in.tar!y": "3", "a!e": "skip: " + source.SkipEmpty,
		"a!AWSLogs/111122223333/CloudTrail/us-east-1/2026/01/10/z": "skip: " + source.SkipAccount,
	})
}

func FuzzRead(f *testing.F) {
	f.Add(sourcetest.Zip(member("x", []byte("{}")), member("in.tar", sourcetest.Tar(member("x", []byte("{}"))))))
	f.Add(sourcetest.Tar(member("x", []byte("{}")), member("in.zip", sourcetest.Zip(member("x", []byte("{}"))))))
	f.Add(sourcetest.Gzip(string(sourcetest.Tar(member("x", []byte("{}"))))))
	f.Add(zstdOf(f, sourcetest.Tar(member("x", []byte("{}")))))
	o := New(Limits{Members: 100, Expanded: 1 << 20, Spill: 1 << 20})
	f.Fuzz(func(t *testing.T, data []byte) {
		var total int64
		_ = o.Read(t.Context(), source.Object{Name: "a", Size: int64(len(data))}, bytes.NewReader(data), func(m source.Object, r io.Reader) error {
			n, _ := io.Copy(io.Discard, r)
			if m.Archive != "" {
				total += n
			} else if n != int64(len(data)) {
				t.Fatalf("%d of %d bytes", n, len(data))
			}
			return nil
		})
		if total > 1<<20 {
			t.Fatalf("%d bytes expanded", total)
		}
	})
}
