package journal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/highwayhash"

	"spoor/internal/durable"
)

// The server cuts a file off at the first record that is not whole, and with it what follows. So the files are looked at
// before it starts: one that is damaged is copied, and what can be read behind the damage is appended again.

// damage is a file of the server that is not whole.
type damage struct {
	path string
	copy string // empty when it could not be copied
	rest []byte // what follows the first record that is whole no more, of the journal itself; nil otherwise
}

// keepCopies is how many copies of damaged files are kept.
const keepCopies = 32

// inspect finds damaged files. The server must not run.
func (j *Journal) inspect() ([]damage, error) {
	var all []damage
	for _, stream := range []string{j.o.Stream, "KV_" + j.o.Stream + "-cursors"} {
		dir := blockDir(j.o.Dir, stream)
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var blocks []int
		for _, e := range entries {
			if name, ok := strings.CutSuffix(e.Name(), ".blk"); ok {
				if n, err := strconv.Atoi(name); err == nil {
					blocks = append(blocks, n)
				}
			}
		}
		slices.Sort(blocks)
		for i, n := range blocks {
			path := filepath.Join(dir, strconv.Itoa(n)+".blk")
			buf, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			at, short, err := checkBlock(buf, stream, n)
			if err != nil {
				return nil, err
			}
			if at == len(buf) {
				continue
			}
			rest := buf[at:]
			if short && i == len(blocks)-1 && len(findPieces(rest)) == 0 {
				// What a crash leaves of a write that was not accepted yet.
				j.o.Log.Info("an unfinished write at the end of a journal file is dropped", "file", path, "offset", at, "bytes", len(rest))
				continue
			}
			d := damage{path: path}
			if stream == j.o.Stream {
				d.rest = rest
			}
			if d.copy, err = j.copyDamaged(stream, n, buf); err != nil {
				j.o.Log.Error("a damaged journal file cannot be copied", "file", path, "error", err)
			}
			j.o.Log.Error("a journal file is damaged", "file", path, "offset", at, "copy", d.copy)
			j.n.damagedFiles.Add(1)
			all = append(all, d)
		}
	}
	return all, nil
}

// copyDamaged keeps a damaged file as it is now; the server will cut it off.
func (j *Journal) copyDamaged(stream string, n int, content []byte) (string, error) {
	dir := filepath.Join(j.o.Dir, "damaged")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	have, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	if len(have) >= keepCopies {
		return "", fmt.Errorf("%s has %d copies already", dir, len(have))
	}
	sum := sha256.Sum256(content)
	path := filepath.Join(dir, fmt.Sprintf("%s-%d-%x.blk", stream, n, sum[:6]))
	return path, durable.WriteFile(path, content, 0o600)
}

// checkBlock reads a file of messages as the server does (NATS 2.x, file store: length, sequence, time, length of the
// subject, subject, headers, message, hash). at is where the first record begins that is not whole, or the length; short
// says that the file ends within it. An error is never damage.
func checkBlock(buf []byte, stream string, block int) (at int, short bool, err error) {
	const (
		header  = 22
		hash    = 8
		largest = 32 << 20
	)
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", stream, block))
	h, err := highwayhash.New64(key[:])
	if err != nil {
		return 0, false, err
	}
	var sum [hash]byte
	for at < len(buf) {
		rec := buf[at:]
		if len(rec) < header {
			return at, true, nil
		}
		size := binary.LittleEndian.Uint32(rec)
		headers := size&(1<<31) != 0
		size &^= 1 << 31
		skip := int(binary.LittleEndian.Uint16(rec[20:]))
		hashed := skip
		if headers {
			skip += 4 // its length, which is not hashed
		}
		if size < header+hash || size > largest || skip > int(size)-header-hash {
			return at, false, nil
		}
		if int(size) > len(rec) {
			return at, true, nil
		}
		data := rec[header:size]
		h.Reset()
		_, _ = h.Write(rec[4:20]) // hashes do not fail
		_, _ = h.Write(data[:hashed])
		_, _ = h.Write(data[skip : len(data)-hash])
		if !bytes.Equal(h.Sum(sum[:0]), data[len(data)-hash:]) {
			return at, false, nil
		}
		at += int(size)
	}
	return at, false, nil
}

// salvage appends again what was behind damage. It has new sequences; where the old ones were, followers are told of a loss.
// Nothing is lost when it is cut short and the file is gone by then: the copy stays for people.
func (j *Journal) salvage(ctx context.Context, damaged []damage) error {
	for _, d := range damaged {
		n, records := 0, 0
		var a assembler
		for _, f := range findPieces(d.rest) {
			e, err := a.add(1, d.rest[f.at:])
			if err != nil || e == nil {
				continue
			}
			list, err := j.codec.parseSections(e.body)
			if err != nil {
				continue
			}
			var sections []section
			for i, s := range list {
				if s.id == (appendID{}) {
					s.id = idOf(fmt.Sprintf("salvaged %x %d %d", e.writer, e.number, i))
				}
				if j.ids.known[s.id] == nil {
					sections = append(sections, s)
				}
			}
			if len(sections) == 0 {
				continue
			}
			seq, err := j.writeEntry(ctx, sections)
			if err != nil {
				return fmt.Errorf("save what follows the damage in %s: %w", d.path, err)
			}
			for _, s := range sections {
				p := &pending{id: s.id, seq: seq, done: closedChan()}
				j.ids.enter(p)
				j.ids.settle(p)
				n++
				records += s.records
			}
		}
		if d.rest != nil {
			j.n.salvaged.Add(uint64(n))
			j.o.Log.Warn("saved what follows the damage in a journal file", "file", d.path, "appends", n, "records", records)
		}
	}
	return nil
}

func closedChan() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}
