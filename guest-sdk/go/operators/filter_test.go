package main

import (
	"slices"
	"testing"

	"cofferdam/coftest"
)

func TestKeepsWhatContainsTheText(t *testing.T) {
	h := coftest.New(t, &Operator{}, nil)
	answer := h.Send(coftest.Values("fine", "an error", "", "errors")...)
	if got := answer.Values(0); !slices.Equal(got, []string{"an error", "errors"}) {
		t.Errorf("kept %q", got)
	}
}

func TestTheTextIsConfigured(t *testing.T) {
	h := coftest.New(t, &Operator{}, coftest.Config{"contains": "warn"})
	answer := h.Send(coftest.Values("an error", "a warning")...)
	if got := answer.Values(0); !slices.Equal(got, []string{"a warning"}) {
		t.Errorf("kept %q", got)
	}
}
