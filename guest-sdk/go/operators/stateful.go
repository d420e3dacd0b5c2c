package main

import (
	"encoding/binary"
	"errors"
	"strconv"

	"cofferdam"
)

// Operator tells how many bytes of values it has seen. It keeps the total in its own memory, and
// saves it.
type Operator struct {
	total uint64
	value []byte
}

// Process takes one batch.
func (o *Operator) Process(batch cofferdam.Batch, out *cofferdam.Outcome) error {
	for record := range batch.Records() {
		o.total += uint64(len(record.Value()))
		o.value = strconv.AppendUint(o.value[:0], o.total, 10)
		out.Emit(record, o.value)
	}
	return nil
}

// Snapshot returns what a fresh instance needs to go on.
func (o *Operator) Snapshot() ([]byte, error) {
	return binary.LittleEndian.AppendUint64(nil, o.total), nil
}

// Restore goes on from a snapshot.
func (o *Operator) Restore(state []byte) error {
	if len(state) != 8 {
		return errors.New("the snapshot is of another operator")
	}
	o.total = binary.LittleEndian.Uint64(state)
	return nil
}

func init() { cofferdam.Register(&Operator{}) }

func main() {}
