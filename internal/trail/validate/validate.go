// Package validate holds what lies in a bucket or a folder against the digests of a trail, and reports every difference.
package validate
