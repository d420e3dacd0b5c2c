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
		rest := value
		// Go's WebAssembly pays for every turn of a loop, so one takes eight bytes: half of the time.
		for ; len(rest) >= 8; rest = rest[8:] {
			b := (*[8]byte)(rest)
			b[0], b[1], b[2], b[3] = hidden[b[0]], hidden[b[1]], hidden[b[2]], hidden[b[3]]
			b[4], b[5], b[6], b[7] = hidden[b[4]], hidden[b[5]], hidden[b[6]], hidden[b[7]]
		}
		for i, c := range rest {
			rest[i] = hidden[c]
		}
		out.Emit(record, value)
		o.value = value
	}
	return nil
}

// hidden is what every byte becomes.
var hidden = func() (bytes [256]byte) {
	for i := range bytes {
		bytes[i] = byte(i)
	}
	for digit := '0'; digit <= '9'; digit++ {
		bytes[digit] = '#'
	}
	return bytes
}()

func init() { cofferdam.Register(&Operator{}) }

func main() {}
