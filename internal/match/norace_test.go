//go:build !race

package match_test

const raceBuild = false
