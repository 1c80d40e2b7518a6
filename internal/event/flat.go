package event

import "spoor/internal/inflate"

const (
	// mostFlat is the largest text that is expanded whole: few log files are larger, and each decoder may keep as much.
	mostFlat = 8 << 20
	// mostFlatRatio is the most that a text may be larger than what is stored: real logs stay below 30. What is below
	// initialBuffer may be any.
	mostFlatRatio = 64
	// blockBytes is what [markStops] looks at together.
	blockBytes = 64
)

// flat is a text that was expanded whole. The decoder's window moves over it without copying, in the same steps as over a
// text that is streamed.
type flat struct {
	most     int // bytes of a text, 0 for none
	inflater *inflate.Inflater
	buf      []byte // kept between inputs

	streamed []byte // the window for streamed texts while the decoder has a flat text in its place, else nil
	size     int    // of the text
	window   int    // size of the window
	at       int    // where in buf the decoder's window starts
}

// inflateWhole expands the stored input, which d.mem holds whole, if it is one plain gzip member that can be taken at once.
// If it is anything else, or damaged, nothing has happened.
func (d *Decoder) inflateWhole() bool {
	f := &d.flat
	packed := d.packed[:d.mem.Len()]
	size, ok := inflate.Size(packed)
	if !ok || size == 0 || size > f.most || size > initialBuffer && size/mostFlatRatio > len(packed) || d.swap != nil {
		return false
	}
	if size > d.lim.MaxRecord || d.lim.MaxExpanded > 0 && int64(size) > d.lim.MaxExpanded {
		return false // where limits are met depends on what was read by then
	}
	if f.inflater == nil {
		if f.inflater = inflate.New(); f.inflater == nil {
			f.most = 0
			return false
		}
	}
	f.fit(size)
	if f.inflater.Gunzip(f.buf[:size], packed) != nil || compressed(f.buf[:size]) {
		return false
	}
	clear(f.buf[size:min(len(f.buf), size+blockBytes)]) // is looked at with the last block
	f.size, f.window, f.at = size, len(d.buf), 0
	f.streamed, d.buf = d.buf, f.buf[:0]
	return true
}

// fit makes room for a text, and a block behind it. Sizes are few, so that buffers outgrown are few.
func (f *flat) fit(size int) {
	need := size + blockBytes
	if need <= len(f.buf) {
		return
	}
	grown := max(len(f.buf), initialBuffer)
	for grown < need {
		grown *= 4
	}
	f.buf = nil // may go before the next one is made
	f.buf = make([]byte, max(need, min(grown, f.most+blockBytes)))
}

// leaveFlat gives the decoder back its window for streamed texts.
func (d *Decoder) leaveFlat() {
	if f := &d.flat; f.streamed != nil {
		poison(f.buf[f.at:f.size])
		d.buf, f.streamed = f.streamed, nil
	}
}

// slide moves the window on, keeping so many bytes of it. There is more, or the text would have ended.
func (d *Decoder) slide(keep int) {
	f := &d.flat
	f.window = windowFor(keep, f.window)
	gone := d.pos &^ (blockBytes - 1) // so that blocks are read where memory likes it
	poison(f.buf[f.at : f.at+gone])
	f.at += gone
	d.base += int64(gone)
	d.pos -= gone
	d.s.at -= gone
	d.expose(min(f.size-f.at, d.pos+f.window))
}

// expose ends the window at end.
func (d *Decoder) expose(end int) {
	f := &d.flat
	d.end = end
	d.buf = f.buf[f.at:min(len(f.buf), f.at+(end+blockBytes-1)&^(blockBytes-1))]
	d.read = int64(f.at + end)
	d.eof = f.at+end == f.size
}

// exposeAll ends the window with the text.
func (d *Decoder) exposeAll() { d.expose(d.flat.size - d.flat.at) }
