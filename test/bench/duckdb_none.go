//go:build !cgo

package main

import (
	"context"
	"errors"
)

const duckInferred, duckDeclared = "", ""

func duckdb(*data, string) func(ctx context.Context) (result, error) {
	return func(context.Context) (result, error) {
		return result{}, errors.New("not measured: this program was built without a C compiler")
	}
}

func duckVersion(context.Context) string { return "none" }

func (b *bench) store(context.Context) error {
	b.say("the store is not measured: this program was built without a C compiler")
	return nil
}
