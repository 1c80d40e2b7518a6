//go:build race

package match_test

// raceBuild: sync.Pool drops what it is given at random under the race detector, so that regexp allocates.
const raceBuild = true
