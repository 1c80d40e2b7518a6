package dedup

// prefetch asks the processor to bring k near.
//
//go:noescape
func prefetch(k *Key)
