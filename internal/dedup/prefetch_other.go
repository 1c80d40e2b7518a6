//go:build !amd64

package dedup

func prefetch(*Key) {}
