package main

import (
	"slices"
	"testing"

	"cofferdam/coftest"
)

func TestCountsInWindows(t *testing.T) {
	h := coftest.NewKeyed(t, &Operator{}, nil, coftest.Tumbling(10_000))
	answer := h.Send(coftest.At(1000, "a", ""), coftest.At(9999, "a", ""), coftest.At(10_000, "a", ""), coftest.At(2000, "b", ""))
	if got := answer.Values(0); len(got) != 0 {
		t.Errorf("told %q before a window ended", got)
	}
	answer = h.AdvanceWatermark(9999)
	if got := answer.Values(0); !slices.Equal(got, []string{
		`{"key":"a","window_start":0,"window_end":10000,"count":2}`,
		`{"key":"b","window_start":0,"window_end":10000,"count":1}`,
	}) {
		t.Errorf("got %q", got)
	}
	if late := h.Send(coftest.At(5000, "a", "too late")).Late; !slices.Equal(late, []string{"too late"}) {
		t.Errorf("late: %q", late)
	}
	if got := h.End().Values(0); !slices.Equal(got, []string{`{"key":"a","window_start":10000,"window_end":20000,"count":1}`}) {
		t.Errorf("at the end: %q", got)
	}
}
