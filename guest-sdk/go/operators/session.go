package main

import (
	"fmt"
	"strconv"
	"unicode/utf8"

	"cofferdam"
)

// State is what the host keeps for each key and session.
type State struct {
	Sum   int64 `json:"sum"`
	Count int64 `json:"count"`
}

// Operator sums numbers in sessions: windows that end when nothing has come for a while.
type Operator struct{}

// Fold takes the records of one key and session.
func (*Operator) Fold(group *cofferdam.Group[State], out *cofferdam.Outcome) error {
	if !utf8.Valid(group.Key()) {
		for record := range group.Records() {
			out.Reject(record, "the key is not UTF-8")
		}
		return nil
	}
	state, had := group.State()
	before := state.Count
	for record := range group.Records() {
		n, err := strconv.ParseInt(string(record.Value()), 10, 64)
		if err != nil {
			out.Reject(record, "not a number")
			continue
		}
		state.Sum += n
		state.Count++
	}
	if had || state.Count > before {
		group.SetState(state)
	}
	return nil
}

// Merge is called when a record makes two sessions one.
func (*Operator) Merge(key []byte, earlier, later State) (State, error) {
	return State{Sum: earlier.Sum + later.Sum, Count: earlier.Count + later.Count}, nil
}

// Fire is called when the session has ended.
func (*Operator) Fire(group *cofferdam.Group[State], firing cofferdam.Firing, out *cofferdam.Outcome) error {
	state, ok := group.State()
	if !ok {
		return nil
	}
	value := append([]byte(nil), `{"key":`...)
	value = cofferdam.AppendJSONText(value, group.Key())
	value = fmt.Appendf(value, `,"sum":%d,"count":%d}`, state.Sum, state.Count)
	out.EmitFired(firing, value)
	return nil
}

func init() { cofferdam.RegisterKeyed(&Operator{}) }

func main() {}
