package main

import (
	"fmt"
	"unicode/utf8"

	"cofferdam"
)

// State is what the host keeps for each key.
type State struct {
	Last  int64 `json:"last"`
	Count int64 `json:"count"`
}

// Operator tells when there was no record of a key for a while of event time.
type Operator struct {
	timeout int64
}

// Open reads the configuration.
func (o *Operator) Open(ctx *cofferdam.Context) (err error) {
	o.timeout, err = ctx.Config().Int("timeout_ms", 10_000)
	return err
}

// Fold takes the records of one key: each moves the key's timer on.
func (o *Operator) Fold(group *cofferdam.Group[State], out *cofferdam.Outcome) error {
	if !utf8.Valid(group.Key()) {
		for record := range group.Records() {
			out.Reject(record, "the key is not UTF-8")
		}
		return nil
	}
	for record := range group.Records() {
		time, ok := record.Timestamp()
		if !ok {
			out.Reject(record, "the record has no event time")
			continue
		}
		state, ok := group.State()
		if ok {
			group.DeleteTimer(cofferdam.EventTime, state.Last+o.timeout)
		}
		group.SetTimer(cofferdam.EventTime, time+o.timeout)
		group.SetState(State{Last: time, Count: state.Count + 1})
	}
	return nil
}

// Fire is called when the key's timer is due.
func (*Operator) Fire(group *cofferdam.Group[State], firing cofferdam.Firing, out *cofferdam.Outcome) error {
	state, ok := group.State()
	if !ok {
		return nil
	}
	value := append([]byte(nil), `{"key":`...)
	value = cofferdam.AppendJSONText(value, group.Key())
	value = fmt.Appendf(value, `,"idle_since":%d,"records":%d}`, state.Last, state.Count)
	out.EmitFired(firing, value)
	group.DeleteState()
	return nil
}

func init() { cofferdam.RegisterKeyed(&Operator{}) }

func main() {}
