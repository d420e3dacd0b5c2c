package main

import (
	"testing"

	"cofferdam/coftest"
)

func TestDigitsBecomeHashes(t *testing.T) {
	h := coftest.New(t, &Operator{}, nil)
	answer := h.Send(coftest.At(7, "gate", "gate 12, seat 3a"), coftest.At(8, "none", "no digit"))
	outputs := answer.Outputs(0)
	if len(outputs) != 2 || outputs[0].String() != "gate=gate ##, seat #a@7" || outputs[1].String() != "none=no digit@8" {
		t.Errorf("got %v", outputs)
	}
}
