package main

import (
	"slices"
	"testing"

	"cofferdam"
	"cofferdam/coftest"
)

func TestLogsAndMeasures(t *testing.T) {
	h := coftest.New(t, &Operator{}, coftest.Config{"greeting": "ahoy"})
	if got := h.Send(coftest.Values("a", "bcd", "ef")...).Values(0); !slices.Equal(got, []string{"a", "bcd", "ef"}) {
		t.Errorf("kept %q", got)
	}
	want := []coftest.Line{{Level: cofferdam.LevelInfo, Message: "ahoy, subtask 0 of 1"}, {Level: cofferdam.LevelDebug, Message: "record 2: bcd"}}
	if got := h.Logs(); !slices.Equal(got, want) {
		t.Errorf("logged %v", got)
	}
	last, _ := h.Gauge("last_value_bytes")
	if h.Counter("records") != 3 || last != 2 || !slices.Equal(h.Histogram("value_bytes"), []float64{1, 3, 2}) {
		t.Errorf("%d records, the last of %v bytes, all: %v", h.Counter("records"), last, h.Histogram("value_bytes"))
	}
}

func TestWithoutAGreetingItDoesNotOpen(t *testing.T) {
	_, err := coftest.Open(t, &Operator{}, nil)
	if err == nil || err.Error() != "config: greeting is missing" {
		t.Errorf("it said %v", err)
	}
}
