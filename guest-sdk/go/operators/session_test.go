package main

import (
	"slices"
	"testing"

	"cofferdam/coftest"
)

func TestSumsInSessions(t *testing.T) {
	h := coftest.NewKeyed(t, &Operator{}, nil, coftest.Sessions(100))
	h.Send(coftest.At(0, "a", "1"), coftest.At(500, "a", "7"))
	h.Send(coftest.At(150, "a", "2"))
	// It falls between the first two, and makes them one.
	answer := h.Send(coftest.At(80, "a", "4"), coftest.At(90, "a", "many"))
	if len(answer.Rejected) != 1 || answer.Rejected[0] != (coftest.Rejected{Record: 1, Reason: "not a number"}) {
		t.Errorf("rejected: %v", answer.Rejected)
	}
	if got := h.End().Values(0); !slices.Equal(got, []string{
		`{"key":"a","sum":7,"count":3}`, `{"key":"a","sum":7,"count":1}`,
	}) {
		t.Errorf("got %q", got)
	}
}
