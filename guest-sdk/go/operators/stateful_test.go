package main

import (
	"slices"
	"testing"

	"cofferdam/coftest"
)

func TestGoesOnFromASnapshot(t *testing.T) {
	first := coftest.New(t, &Operator{}, nil)
	if got := first.Send(coftest.Values("one", "", "three")...).Values(0); !slices.Equal(got, []string{"3", "3", "8"}) {
		t.Errorf("got %q", got)
	}
	second := coftest.New(t, &Operator{}, nil)
	second.Restore(first.Snapshot())
	if got := second.Send(coftest.Values("four")...).Values(0); !slices.Equal(got, []string{"12"}) {
		t.Errorf("after the restore: %q", got)
	}
}
