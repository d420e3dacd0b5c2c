package main

import (
	"slices"
	"testing"

	"cofferdam"
	"cofferdam/coftest"
)

func TestCountsByKey(t *testing.T) {
	h := coftest.NewKeyed(t, &Operator{}, nil, coftest.Windows{}, cofferdam.Plain[State]())
	answer := h.Send(coftest.Keyed("a", ""), coftest.Keyed("b", ""), coftest.Keyed("a", ""))
	if got := answer.Values(0); !slices.Equal(got, []string{
		`{"key":"a","count":1}`, `{"key":"a","count":2}`, `{"key":"b","count":1}`,
	}) {
		t.Errorf("got %q", got)
	}
	answer = h.Send(coftest.Keyed("a", ""))
	if got := answer.Values(0); !slices.Equal(got, []string{`{"key":"a","count":3}`}) {
		t.Errorf("got %q", got)
	}
	if state, ok := h.State("a"); !ok || state.Count != 3 {
		t.Errorf("state: %v %v", state, ok)
	}
}

func TestAKeyThatIsNoTextIsRefused(t *testing.T) {
	h := coftest.NewKeyed(t, &Operator{}, nil, coftest.Windows{}, cofferdam.Plain[State]())
	answer := h.Send(coftest.Keyed("\xff", ""))
	if len(answer.Rejected) != 1 || answer.Rejected[0].Reason != "the key is not UTF-8" || h.States() != 0 {
		t.Errorf("rejected: %v, %d states", answer.Rejected, h.States())
	}
}
