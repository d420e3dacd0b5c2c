package main

import (
	"errors"
	"unsafe"

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
			// Far beyond the memory.
			far := uintptr(0xffff_fff0)
			*(*byte)(unsafe.Pointer(far)) = 1
		}
		out.Keep(record)
	}
	return nil
}

func init() { cofferdam.Register(&Operator{}) }

func main() {}
