package main

import (
	"bytes"

	"cofferdam"
)

// Operator splits values into words: for each it emits a record whose key is the word in lower case.
type Operator struct {
	key []byte
}

// Process takes one batch.
func (o *Operator) Process(batch cofferdam.Batch, out *cofferdam.Outcome) error {
	for record := range batch.Records() {
		for word := range bytes.SplitSeq(record.Value(), []byte{' '}) {
			if len(word) == 0 {
				continue
			}
			o.key = o.key[:0]
			for _, c := range word {
				if 'A' <= c && c <= 'Z' {
					c += 'a' - 'A'
				}
				o.key = append(o.key, c)
			}
			out.Emit(record, word, cofferdam.Key(o.key))
		}
	}
	return nil
}

func init() { cofferdam.Register(&Operator{}) }

func main() {}
