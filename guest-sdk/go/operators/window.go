package main

import (
	"fmt"
	"unicode/utf8"

	"cofferdam"
)

// State is what the host keeps for each key and window.
type State struct {
	Count int `json:"count"`
}

// Operator counts the records of each key in windows, which the job file describes, and tells the
// count when a window ends.
type Operator struct{}

// Fold takes the records of one key and window.
func (*Operator) Fold(group *cofferdam.Group[State], out *cofferdam.Outcome) error {
	if !utf8.Valid(group.Key()) {
		for record := range group.Records() {
			out.Reject(record, "the key is not UTF-8")
		}
		return nil
	}
	state, _ := group.State()
	state.Count += group.Len()
	group.SetState(state)
	return nil
}

// Fire is called when the window has ended.
func (*Operator) Fire(group *cofferdam.Group[State], firing cofferdam.Firing, out *cofferdam.Outcome) error {
	state, ok := group.State()
	if !ok {
		return nil
	}
	window, _ := group.Window()
	value := append([]byte(nil), `{"key":`...)
	value = cofferdam.AppendJSONText(value, group.Key())
	value = fmt.Appendf(value, `,"window_start":%d,"window_end":%d,"count":%d}`, window.Start, window.End, state.Count)
	out.EmitFired(firing, value)
	return nil
}

func init() { cofferdam.RegisterKeyed(&Operator{}) }

func main() {}
