package main

import (
	"slices"
	"testing"

	"cofferdam/coftest"
)

func TestTellsWhoIsIdle(t *testing.T) {
	h := coftest.NewKeyed(t, &Operator{}, coftest.Config{"timeout_ms": 100}, coftest.Windows{})
	h.Send(coftest.At(0, "a", ""), coftest.At(50, "a", ""), coftest.At(10, "b", ""))
	if h.Timers() != 2 {
		t.Errorf("%d timers are set", h.Timers())
	}
	if got := h.AdvanceWatermark(149).Values(0); !slices.Equal(got, []string{`{"key":"b","idle_since":10,"records":1}`}) {
		t.Errorf("got %q", got)
	}
	if got := h.AdvanceWatermark(150).Values(0); !slices.Equal(got, []string{`{"key":"a","idle_since":50,"records":2}`}) {
		t.Errorf("got %q", got)
	}
	if h.States() != 0 || h.Timers() != 0 {
		t.Errorf("%d states and %d timers are left", h.States(), h.Timers())
	}
}

func TestARecordWithoutATimeIsRefused(t *testing.T) {
	h := coftest.NewKeyed(t, &Operator{}, nil, coftest.Windows{})
	answer := h.Send(coftest.Keyed("a", ""))
	if len(answer.Rejected) != 1 || answer.Rejected[0].Reason != "the record has no event time" {
		t.Errorf("rejected: %v", answer.Rejected)
	}
}
