package main

import "cofferdam"

// Operator writes # for every digit of the value. Keys and times stay.
type Operator struct {
	value []byte
}

// Process takes one batch.
func (o *Operator) Process(batch cofferdam.Batch, out *cofferdam.Outcome) error {
	for record := range batch.Records() {
		value := append(o.value[:0], record.Value()...)
		for i, c := range value {
			if '0' <= c && c <= '9' {
				value[i] = '#'
			}
		}
		out.Emit(record, value)
		o.value = value
	}
	return nil
}

func init() { cofferdam.Register(&Operator{}) }

func main() {}
