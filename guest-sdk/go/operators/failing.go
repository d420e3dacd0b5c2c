package main

import (
	"errors"

	"cofferdam"
)

// Operator fails as its records tell it to.
type Operator struct{}

// Process takes one batch.
func (*Operator) Process(batch cofferdam.Batch, out *cofferdam.Outcome) error {
	for record := range batch.Records() {
		switch string(record.Value()) {
		case "panic":
			panic("boom: told to panic")
		case "error":
			return errors.New("told to fail")
		case "trap":
			// Out of bounds, which the compiler does not see.
			none := record.Value()[:0:0]
			out.Emit(record, none[:len(record.Value())])
		}
		out.Keep(record)
	}
	return nil
}

func init() { cofferdam.Register(&Operator{}) }

func main() {}
