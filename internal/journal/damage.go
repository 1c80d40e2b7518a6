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

// damage is a file of the journal itself that is not whole, and could not be copied.
type damage struct {
	path string
	rest []byte // what follows the records that are whole
}

// Copies of damaged files: STREAM-FILE-OFFSET-HASH.blk, and .saved when what can be read of them is in the journal again.
const (
	copiesDir  = "damaged"
	keepCopies = 32
	savedExt   = ".saved"
)

// inspect finds damaged files and copies them; it returns those that it could not copy, and the highest sequence that stands
// behind damage: the server is about to forget that it was given. The server must not run.
func (j *Journal) inspect() (all []damage, reach uint64, err error) {
	for _, stream := range []string{j.o.Stream, "KV_" + j.o.Stream + "-cursors"} {
		dir := blockDir(j.o.Dir, stream)
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, 0, err
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
		found := false
		for i, n := range blocks {
			path := filepath.Join(dir, strconv.Itoa(n)+".blk")
			buf, err := os.ReadFile(path)
			if err != nil {
				return nil, 0, err
			}
			at, short, err := checkBlock(buf, stream, n)
			if err != nil {
				return nil, 0, err
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
			found = true
			if stream == j.o.Stream {
				reach = max(reach, lastSequence(rest, j.subject(), stream, n))
			}
			saved, err := j.copyDamaged(stream, n, at, buf)
			if err != nil {
				j.o.Log.Error("a damaged journal file cannot be copied", "file", path, "error", err)
				if stream == j.o.Stream {
					all = append(all, damage{path, rest})
				}
			}
			j.o.Log.Error("a journal file is damaged", "file", path, "offset", at, "copy", saved)
			j.n.damagedFiles.Add(1)
		}
		if found { // the server's summary would hide it
			if err := os.Remove(filepath.Join(dir, "index.db")); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, 0, err
			}
		}
	}
	return all, reach, nil
}

// copyDamaged keeps a damaged file as it is now; the server will cut it off.
func (j *Journal) copyDamaged(stream string, n, at int, content []byte) (string, error) {
	dir := filepath.Join(j.o.Dir, copiesDir)
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
	path := filepath.Join(dir, fmt.Sprintf("%s-%d-%d-%x.blk", stream, n, at, sum[:6]))
	if stream != j.o.Stream { // nothing of it is taken back
		path += savedExt
	}
	return path, errors.Join(durable.WriteFile(path, content, 0o600), durable.SyncDir(j.o.Dir))
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

// lastSequence is the highest sequence of the records of a file of messages that are whole, among others that are not; 0 when
// there is none.
func lastSequence(buf []byte, subject, stream string, block int) (last uint64) {
	const (
		header = 22
		erased = 1 << 63 // a mark of the server
	)
	for at := 0; ; at++ {
		i := bytes.Index(buf[at:], []byte(subject))
		if i < 0 {
			return last
		}
		at += i
		if at < header {
			continue
		}
		rec := buf[at-header:]
		size := int(binary.LittleEndian.Uint32(rec) &^ (1 << 31))
		if size < header || size > len(rec) {
			continue
		}
		if whole, _, err := checkBlock(rec[:size], stream, block); err == nil && whole == size {
			last = max(last, binary.LittleEndian.Uint64(rec[4:])&^erased)
		}
	}
}

// salvage appends again what is behind damage: of the copies, and of what could not be copied. It has new sequences; where
// the old ones were, followers are told of a loss. A copy of which that is not done is taken up at the next opening.
func (j *Journal) salvage(ctx context.Context, uncopied []damage) error {
	for _, d := range uncopied {
		if err := j.salvageRest(ctx, d.path, d.rest); err != nil {
			return err
		}
	}
	copies, err := filepath.Glob(filepath.Join(j.o.Dir, copiesDir, j.o.Stream+"-*.blk"))
	if err != nil || j.eng == nil {
		return err
	}
	for _, path := range copies {
		var block, at int
		if _, err := fmt.Sscanf(strings.TrimPrefix(filepath.Base(path), j.o.Stream), "-%d-%d-", &block, &at); err != nil {
			continue // not one of these
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		err = j.salvageRest(ctx, path, content[min(at, len(content)):])
		if errors.Is(err, ErrFull) {
			j.o.Log.Error("no room for what follows the damage in a journal file; it is kept for the next opening", "file", path, "error", err)
			continue
		}
		if err != nil {
			return err
		}
		if err := os.Rename(path, path+savedExt); err != nil {
			return err
		}
		if err := durable.SyncDir(filepath.Dir(path)); err != nil {
			return err
		}
	}
	return nil
}

func (j *Journal) salvageRest(ctx context.Context, path string, rest []byte) error {
	n, records := 0, 0
	var a assembler
	for _, f := range findPieces(rest) {
		e, err := a.add(1, rest[f.at:])
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
			return fmt.Errorf("save what follows the damage in %s: %w", path, err)
		}
		for _, s := range sections {
			p := &pending{id: s.id, seq: seq, done: closedChan()}
			j.ids.enter(p)
			j.ids.settle(p)
			n++
			records += s.records
		}
	}
	j.n.salvaged.Add(uint64(n))
	j.o.Log.Warn("saved what follows the damage in a journal file", "file", path, "appends", n, "records", records)
	return nil
}

func closedChan() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}
