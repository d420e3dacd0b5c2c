package cofferdam_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"cofferdam"
	"cofferdam/coflog"
	"cofferdam/coftest"
)

// processor makes an operator of a function.
type processor func(batch cofferdam.Batch, out *cofferdam.Outcome) error

func (p processor) Process(batch cofferdam.Batch, out *cofferdam.Outcome) error { return p(batch, out) }

func TestEachPortKeepsTheOrderOfItsRecordsWhateverTheySet(t *testing.T) {
	h := coftest.New(t, processor(func(batch cofferdam.Batch, out *cofferdam.Outcome) error {
		for r := range batch.Records() {
			switch r.Index() % 6 {
			case 0:
				out.Keep(r)
			case 1:
				out.Emit(r, []byte("value"))
			case 2:
				out.Emit(r, []byte("all"), cofferdam.Key([]byte("key")), cofferdam.Time(1))
			case 3:
				out.Keep(r, cofferdam.Key([]byte("key")), cofferdam.To(2))
			case 4:
				out.Keep(r, cofferdam.Time(2))
			case 5:
				out.EmitFresh([]byte("fresh"), cofferdam.Key(nil))
			}
		}
		return nil
	}), nil)
	records := []coftest.Record{}
	for i := range 12 {
		records = append(records, coftest.At(int64(100+i), fmt.Sprint("k", i), fmt.Sprint("v", i)))
	}
	answer := h.Send(records...)
	want := "[k0=v0@100 k1=value@101 key=all@1 k4=v4@2 =fresh k6=v6@106 k7=value@107 key=all@1 k10=v10@2 =fresh]"
	if got := fmt.Sprint(answer.Outputs(0)); got != want {
		t.Errorf("port 0:\n got %s\nwant %s", got, want)
	}
	if got := fmt.Sprint(answer.Outputs(2)); got != "[key=v3@103 key=v9@109]" {
		t.Errorf("port 2: %s", got)
	}
	// The next batch has nothing of the last one.
	if got := fmt.Sprint(h.Send(records[0]).Outputs(0)); got != "[k0=v0@100]" {
		t.Errorf("the next batch: %s", got)
	}
}

func TestAFreshRecordWithATimeDoesNotGiveOneToThoseWithout(t *testing.T) {
	h := coftest.New(t, processor(func(batch cofferdam.Batch, out *cofferdam.Outcome) error {
		out.EmitFresh([]byte("a"), cofferdam.Time(7))
		out.EmitFresh([]byte("b"))
		r := batch.Record(0)
		out.Emit(r, []byte("c"), cofferdam.Time(8))
		out.Emit(r, []byte("d"))
		return nil
	}), nil)
	if got := fmt.Sprint(h.Send(coftest.Values("x")...).Outputs(0)); got != "[=a@7 =b =c@8 =d]" {
		t.Errorf("got %s", got)
	}
}

func TestAnOperatorThatKeepsViewsIsFoundOut(t *testing.T) {
	var kept []byte
	h := coftest.New(t, processor(func(batch cofferdam.Batch, out *cofferdam.Outcome) error {
		out.EmitFresh(append([]byte{}, kept...))
		kept = batch.Record(0).Value()
		return nil
	}), nil)
	h.Send(coftest.Values("one")...)
	if got := h.Send(coftest.Values("two")...).Values(0); slices.Equal(got, []string{"one"}) {
		t.Error("the view was not overwritten")
	}
}

func TestJSONTextIsWrittenAsOtherLanguagesWriteIt(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                  `"plain"`,
		"\"\\/<&>":               `"\"\\/<&>"`,
		"\b\f\n\r\t\x00\x1f\x7f": `"\b\f\n\r\t\u0000\u001f` + "\x7f\"",
		"é€😀\u2028":              "\"é€😀\u2028\"",
		"a\xffb":                 "\"a\ufffdb\"",
	} {
		if got := string(cofferdam.AppendJSONText([]byte("x"), []byte(text))); got != "x"+want {
			t.Errorf("%q became %s", text, got)
		}
	}
}

// keyed makes an operator of a function.
type keyed[S any] func(group *cofferdam.Group[S], out *cofferdam.Outcome) error

func (k keyed[S]) Fold(group *cofferdam.Group[S], out *cofferdam.Outcome) error { return k(group, out) }

func (keyed[S]) Fire(*cofferdam.Group[S], cofferdam.Firing, *cofferdam.Outcome) error { return nil }

type point struct {
	X, Y int64
	Hits uint32
	Last float32
}

func TestACodecOfChoiceKeepsStates(t *testing.T) {
	op := keyed[point](func(group *cofferdam.Group[point], out *cofferdam.Outcome) error {
		state, _ := group.State()
		state.X += 2
		state.Hits += uint32(group.Len())
		group.SetState(state)
		return nil
	})
	for _, codec := range []cofferdam.Codec[point]{cofferdam.JSON[point](), cofferdam.Plain[point]()} {
		h := coftest.NewKeyed(t, op, nil, coftest.Windows{}, codec)
		h.Send(coftest.Keyed("a", ""), coftest.Keyed("b", ""))
		h.Send(coftest.Keyed("a", ""), coftest.Keyed("a", ""))
		if state, ok := h.State("a"); !ok || state != (point{X: 4, Hits: 3}) {
			t.Errorf("%T: %v", codec, state)
		}
	}
	if _, err := cofferdam.Plain[point]().Decode([]byte("short")); err == nil || !strings.Contains(err.Error(), "5 bytes") {
		t.Errorf("it said %v", err)
	}
}

func TestWhatIsNotPlainIsToldApart(t *testing.T) {
	for name, make := range map[string]func(){
		"refers to memory": func() { cofferdam.Plain[struct{ Name string }]() },
		"gap before": func() {
			cofferdam.Plain[struct {
				A uint8
				B int64
			}]()
		},
		"gap at the end": func() {
			cofferdam.Plain[struct {
				B int64
				A uint8
			}]()
		},
		"another size": func() { cofferdam.Plain[int]() },
	} {
		func() {
			defer func() {
				if said := fmt.Sprint(recover()); !strings.Contains(said, name) {
					t.Errorf("%s: it said %s", name, said)
				}
			}()
			make()
		}()
	}
}

func TestAStateThatCannotBeReadFailsTheCallAndDeletingItDoes(t *testing.T) {
	var put string
	op := keyed[string](func(group *cofferdam.Group[string], out *cofferdam.Outcome) error {
		if put == "delete" {
			group.DeleteState()
			return nil
		}
		if _, ok := group.State(); ok {
			return errors.New("it should not be readable")
		}
		group.SetState(put)
		return nil
	})
	h := coftest.NewKeyed(t, op, nil, coftest.Windows{}, cofferdam.Codec[string](raw{}))
	put = "good"
	h.Send(coftest.Keyed("a", ""))
	if _, err := h.Try(0, coftest.Keyed("a", "")); err == nil || !strings.Contains(err.Error(), `key "a": its state cannot be read: never`) {
		t.Errorf("it said %v", err)
	}
	put = ""
	if _, err := h.Try(0, coftest.Keyed("b", "")); err == nil || !strings.Contains(err.Error(), "wrote nothing") {
		t.Errorf("it said %v", err)
	}
	put = "delete"
	h.Send(coftest.Keyed("a", ""))
	if h.States() != 0 {
		t.Errorf("%d states are left", h.States())
	}
}

// raw writes text as it is, and never reads it.
type raw struct{}

func (raw) Encode(dst []byte, state string) ([]byte, error) { return append(dst, state...), nil }

func (raw) Decode([]byte) (string, error) { return "", errors.New("never") }

func TestTheLastWordOnATimerCounts(t *testing.T) {
	op := keyed[string](func(group *cofferdam.Group[string], out *cofferdam.Outcome) error {
		for r := range group.Records() {
			at, _ := r.Timestamp()
			switch string(r.Value()) {
			case "set":
				group.SetTimer(cofferdam.EventTime, at)
			case "delete":
				group.DeleteTimer(cofferdam.EventTime, at)
			}
		}
		return nil
	})
	h := coftest.NewKeyed(t, op, nil, coftest.Windows{})
	h.Send(coftest.At(1, "a", "set"), coftest.At(1, "a", "delete"), coftest.At(2, "a", "delete"),
		coftest.At(2, "a", "set"), coftest.At(2, "a", "set"), coftest.At(1, "b", "set"))
	if h.Timers() != 2 {
		t.Errorf("%d timers are set", h.Timers())
	}
	h.AdvanceWatermark(1)
	if h.Timers() != 1 {
		t.Errorf("%d timers are left", h.Timers())
	}
}

func TestConfigurationIsReadAndMistakesNameTheirKey(t *testing.T) {
	config := coftest.Config{"name": "x", "n": 3, "f": 1.5, "list": []int{1}, "bad": "three"}
	opens := opener{func(ctx *cofferdam.Context) error {
		c := ctx.Config()
		n, err := c.Int("n", 0)
		f, err2 := c.Float("f", 0)
		list, _ := c.Get("list")
		var all struct {
			Name string
			N    int
		}
		if err := errors.Join(err, err2, c.Decode(&all)); err != nil {
			return err
		}
		if c.Text("name", "") != "x" || c.Text("none", "y") != "y" || n != 3 || f != 1.5 || list != "[1]" || all.N != 3 || all.Name != "x" {
			return fmt.Errorf("read %v %v %v %v", n, f, list, all)
		}
		_, err = c.Int("bad", 0)
		return err
	}}
	_, err := coftest.Open(t, opens, config)
	if err == nil || err.Error() != `config: bad is "three", and must be a whole number` {
		t.Errorf("it said %v", err)
	}
}

type opener struct {
	open func(*cofferdam.Context) error
}

func (o opener) Open(ctx *cofferdam.Context) error { return o.open(ctx) }

func (opener) Process(cofferdam.Batch, *cofferdam.Outcome) error { return nil }

func TestSlogWritesToTheLog(t *testing.T) {
	logger := slog.New(coflog.Handler(slog.LevelInfo)).With("operator", "x").WithGroup("g")
	h := coftest.New(t, processor(func(cofferdam.Batch, *cofferdam.Outcome) error {
		logger.Debug("no")
		logger.Warn("a warning", "n", 3)
		logger.Log(context.Background(), slog.LevelError, "plain")
		return nil
	}), nil)
	h.Send()
	want := []coftest.Line{
		{Level: cofferdam.LevelWarn, Message: "a warning operator=x g.n=3"},
		{Level: cofferdam.LevelError, Message: "plain operator=x"},
	}
	if got := h.Logs(); !slices.Equal(got, want) {
		t.Errorf("logged %v", got)
	}
}

func TestAnOperatorOfAnotherKindSaysWhatItLacks(t *testing.T) {
	contract := cofferdam.ProcessorContract(processor(nil))
	if _, err := contract.Snapshot(); err == nil || !strings.Contains(err.Error(), "has no Snapshot") {
		t.Errorf("it said %v", err)
	}
}
