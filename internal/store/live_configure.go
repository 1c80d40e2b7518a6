package store

import "time"

// Configure changes LiveOptions.FlushRows and FlushInterval, from now on.
func (l *Live) Configure(flushRows int64, flushInterval time.Duration) {
	l.mu.Lock()
	l.o.FlushRows, l.o.FlushInterval = min(flushRows, l.o.MaxHotRows), flushInterval
	l.mu.Unlock()
	wake(l.wakeFlush)
}
