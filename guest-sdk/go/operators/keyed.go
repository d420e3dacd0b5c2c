package main

import (
	"strconv"
	"unicode/utf8"

	"cofferdam"
)

// State is what the host keeps for each key.
type State struct {
	Count uint64
}

// Operator counts the records of each key, and tells the count with every record.
type Operator struct {
	value []byte
}

// Fold takes the records of one key.
func (o *Operator) Fold(group *cofferdam.Group[State], out *cofferdam.Outcome) error {
	if !utf8.Valid(group.Key()) {
		for record := range group.Records() {
			out.Reject(record, "the key is not UTF-8")
		}
		return nil
	}
	state, _ := group.State()
	for record := range group.Records() {
		state.Count++
		o.value = append(o.value[:0], `{"key":`...)
		o.value = cofferdam.AppendJSONText(o.value, group.Key())
		o.value = append(o.value, `,"count":`...)
		o.value = strconv.AppendUint(o.value, state.Count, 10)
		o.value = append(o.value, '}')
		out.Emit(record, o.value)
	}
	group.SetState(state)
	return nil
}

// Fire has nothing to do: no timer is set.
func (*Operator) Fire(*cofferdam.Group[State], cofferdam.Firing, *cofferdam.Outcome) error {
	return nil
}

// Plain keeps a struct of numbers as it lies in memory, which is fast. States that fields will be added
// to are better kept as JSON: cofferdam.RegisterKeyed(&Operator{}).
func init() { cofferdam.RegisterKeyedWith(&Operator{}, cofferdam.Plain[State]()) }

func main() {}
