package main

import (
	"bytes"

	"cofferdam"
)

// Operator keeps the records whose value contains a text, which the job file gives it.
type Operator struct {
	contains []byte
}

// Open reads the configuration.
func (o *Operator) Open(ctx *cofferdam.Context) error {
	o.contains = []byte(ctx.Config().Text("contains", "error"))
	return nil
}

// Process takes one batch.
func (o *Operator) Process(batch cofferdam.Batch, out *cofferdam.Outcome) error {
	for record := range batch.Records() {
		if bytes.Contains(record.Value(), o.contains) {
			out.Keep(record)
		}
	}
	return nil
}

func init() { cofferdam.Register(&Operator{}) }

func main() {}
