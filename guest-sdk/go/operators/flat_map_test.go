package main

import (
	"fmt"
	"testing"

	"cofferdam/coftest"
)

func TestWordsBecomeRecords(t *testing.T) {
	h := coftest.New(t, &Operator{}, nil)
	answer := h.Send(coftest.At(5, "", "  To be  OR not"), coftest.At(6, "", "   "), coftest.At(7, "", "Be"))
	got := fmt.Sprint(answer.Outputs(0))
	if got != "[to=To@5 be=be@5 or=OR@5 not=not@5 be=Be@7]" {
		t.Errorf("got %s", got)
	}
}
