package event

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/gzip"
)

// benchLog makes one gzip log file of real records, as many times over as gives about 16 MB.
func benchLog(b *testing.B) (packed []byte, size, events int) {
	root := sharedData(b)
	c := &collect{}
	for _, folder := range []string{"s3-layout", "stratus-red-team", "aws-docs"} {
		_ = filepath.Walk(filepath.Join(root, folder), func(path string, info os.FileInfo, err error) error {
			if err == nil && !info.IsDir() {
				data, _ := os.ReadFile(path)
				_ = NewDecoder(Limits{}).Decode(context.Background(), path, bytes.NewReader(data), c)
			}
			return nil
		})
	}
	var text bytes.Buffer
	text.WriteString(`{"Records":[`)
	for text.Len() < 16<<20 {
		for _, e := range c.events {
			if events > 0 {
				text.WriteByte(',')
			}
			text.Write(Value{raw: e.Raw, kind: Object}.Compact(nil))
			events++
		}
	}
	text.WriteString("]}")
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(text.Bytes())
	_ = w.Close()
	return out.Bytes(), text.Len(), events
}

type nullSink struct{}

func (nullSink) Event(*Event) error  { return nil }
func (nullSink) Reject(Reject) error { return nil }
func (nullSink) Note(string)         {}
func (nullSink) Digest([]byte) error { return nil }

func BenchmarkRead(b *testing.B) {
	packed, size, events := benchLog(b)
	gz, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		b.Fatal(err)
	}
	plain, err := io.ReadAll(gz)
	if err != nil {
		b.Fatal(err)
	}
	run := func(name string, fn func(d *Decoder) error) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(size))
			d := NewDecoder(Limits{})
			for b.Loop() {
				if err := fn(d); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
	buf := make([]byte, 256<<10)
	run("gunzip", func(*Decoder) error {
		if err := gz.Reset(bytes.NewReader(packed)); err != nil {
			return err
		}
		for {
			if _, err := gz.Read(buf); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
		}
	})
	br := bufio.NewReaderSize(nil, 64<<10)
	run("gunzip-bufio", func(*Decoder) error {
		br.Reset(bytes.NewReader(packed))
		if err := gz.Reset(br); err != nil {
			return err
		}
		for {
			if _, err := gz.Read(buf); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
		}
	})
	run("split", func(d *Decoder) error {
		return d.Split(context.Background(), "x", bytes.NewReader(plain), nullSink{}, func([]byte) error { return nil })
	})
	run("decode-plain", func(d *Decoder) error {
		return d.Decode(context.Background(), "x", bytes.NewReader(plain), nullSink{})
	})
	run("decode-gzip", func(d *Decoder) error {
		return d.Decode(context.Background(), "x", bytes.NewReader(packed), nullSink{})
	})
}
