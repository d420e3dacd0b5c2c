package main

import "cofferdam"

// Operator sends what looks like JSON to port 0 and other text to port 1, and refuses what is empty.
type Operator struct{}

// Process takes one batch.
func (*Operator) Process(batch cofferdam.Batch, out *cofferdam.Outcome) error {
	for record := range batch.Records() {
		switch value := record.Value(); {
		case len(value) == 0:
			out.Reject(record, "the value is empty")
		case value[0] == '{':
			out.Keep(record)
		default:
			out.Keep(record, cofferdam.To(1))
		}
	}
	return nil
}

func init() { cofferdam.Register(&Operator{}) }

func main() {}
