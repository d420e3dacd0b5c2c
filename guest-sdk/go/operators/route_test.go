package main

import (
	"slices"
	"testing"

	"cofferdam/coftest"
)

func TestEachValueGoesItsWay(t *testing.T) {
	h := coftest.New(t, &Operator{}, nil)
	answer := h.Send(coftest.Values(`{"a":1}`, "text", "", " {", "{")...)
	if got := answer.Values(0); !slices.Equal(got, []string{`{"a":1}`, "{"}) {
		t.Errorf("port 0: %q", got)
	}
	if got := answer.Values(1); !slices.Equal(got, []string{"text", " {"}) {
		t.Errorf("port 1: %q", got)
	}
	if len(answer.Rejected) != 1 || answer.Rejected[0] != (coftest.Rejected{Record: 2, Reason: "the value is empty"}) {
		t.Errorf("rejected: %v", answer.Rejected)
	}
}
