package main

import (
	"testing"

	"cofferdam/coftest"
)

func TestFailsAsItIsTold(t *testing.T) {
	h := coftest.New(t, &Operator{}, nil)
	if _, err := h.Try(0, coftest.Values("fine", "error")...); err == nil || err.Error() != "told to fail" {
		t.Errorf("it said %v", err)
	}
	defer func() {
		if said := recover(); said != "boom: told to panic" {
			t.Errorf("it panicked with %v", said)
		}
	}()
	h.Send(coftest.Values("panic")...)
}
