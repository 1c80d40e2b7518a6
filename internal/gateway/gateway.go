// Package gateway is a recording proxy: it stands in front of a service that speaks a protocol of AWS, forwards requests as they
// are, and records each one.
package gateway
