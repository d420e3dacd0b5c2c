package contract

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"
)

// The layouts of the Canonical ABI for wit/types.wit and wit/operators.wit. A list is an
// address and a length; what is optional has a byte before it.

type column struct {
	data, offsets list
}

type optionalColumn struct {
	is     uint8
	column column
}

type emission struct {
	port       uint32
	origin     uint8
	keep       list
	keys       optionalColumn
	values     optionalColumn
	timestamps struct {
		is   uint8
		list list
	}
}

type rejection struct {
	index  uint32
	reason list
}

// answer is a result<…, string>. What it consists of depends on the export; each has room.
type answer struct {
	failed uint8
	lists  [14]uint32
}

type batchIn struct {
	len        uint32
	keys       column
	values     column
	timestamps list
}

type groupsIn struct {
	keys, states             column
	windowStarts, windowEnds list
	rows, rowOffsets         list
}

type timeIn struct {
	hasWatermark uint8
	watermark    int64
	processing   int64
}

type foldIn struct {
	now    timeIn
	input  uint32
	batch  batchIn
	groups groupsIn
}

type fireIn struct {
	now          timeIn
	kinds, times list
	groups       groupsIn
}

// What the last answer refers to, and the answer itself: the host reads it after the call.
var lent struct {
	answer    answer
	emissions []emission
	rejected  []rejection
	outcome   *Outcome
	message   string
	bytes     []byte
	column    *Column

	batch   Batch
	groups  Groups
	firings Firings
}

func columnIn(c column) Column {
	return Column{view[byte](c.data.at, c.data.len), view[uint32](c.offsets.at, c.offsets.len)}
}

func columnOut(c *Column) column {
	return column{listOf(c.Data), listOf(c.Offsets)}
}

func optional(is bool, c *Column) optionalColumn {
	if !is {
		return optionalColumn{}
	}
	return optionalColumn{1, columnOut(c)}
}

func (b *batchIn) read(input uint32) *Batch {
	lent.batch = Batch{
		Input: input, Len: int(b.len), Keys: columnIn(b.keys), Values: columnIn(b.values),
		Timestamps: view[int64](b.timestamps.at, b.timestamps.len),
	}
	return &lent.batch
}

func (g *groupsIn) read() *Groups {
	lent.groups = Groups{
		Keys: columnIn(g.keys), States: columnIn(g.states),
		WindowStarts: view[int64](g.windowStarts.at, g.windowStarts.len),
		WindowEnds:   view[int64](g.windowEnds.at, g.windowEnds.len),
		Rows:         view[uint32](g.rows.at, g.rows.len),
		RowOffsets:   view[uint32](g.rowOffsets.at, g.rowOffsets.len),
	}
	return &lent.groups
}

func (t *timeIn) read() Now {
	return Now{t.hasWatermark != 0, t.watermark, t.processing}
}

// ended is what every call ends with: what was passed in may be forgotten.
func ended(err error) *answer {
	arena.over = true
	lent.answer = answer{}
	if err != nil {
		lent.message = err.Error()
		lent.answer.failed = 1
		text := listOfText(lent.message)
		lent.answer.lists[0], lent.answer.lists[1] = text.at, text.len
	}
	return &lent.answer
}

func endedWith(outcome *Outcome, err error) *answer {
	answer := ended(err)
	if err != nil {
		return answer
	}
	lent.outcome = outcome
	lent.emissions = lent.emissions[:0]
	for i := range outcome.Emissions {
		e := &outcome.Emissions[i]
		out := emission{
			port: e.Port, origin: e.Origin, keep: listOf(e.Keep),
			keys: optional(e.HasKeys, &e.Keys), values: optional(e.HasValues, &e.Values),
		}
		if e.HasTimestamps {
			out.timestamps.is, out.timestamps.list = 1, listOf(e.Timestamps)
		}
		lent.emissions = append(lent.emissions, out)
	}
	lent.rejected = lent.rejected[:0]
	for _, r := range outcome.Rejected {
		lent.rejected = append(lent.rejected, rejection{r.Index, listOfText(r.Reason)})
	}
	states := columnOut(&outcome.States)
	for i, list := range [...]list{
		listOf(lent.emissions), listOf(lent.rejected), listOf(outcome.Changed),
		states.data, states.offsets, listOf(outcome.SetTimers), listOf(outcome.DeleteTimers),
	} {
		answer.lists[2*i], answer.lists[2*i+1] = list.at, list.len
	}
	return answer
}

//go:wasmexport cofferdam:operator/processor@0.1.0#open
func processorOpen(name unsafe.Pointer, length, subtask, parallelism, inputs, outputs uint32) unsafe.Pointer {
	return open(name, length, subtask, parallelism, inputs, outputs)
}

//go:wasmexport cofferdam:operator/keyed-processor@0.1.0#open
func keyedOpen(name unsafe.Pointer, length, subtask, parallelism, inputs, outputs uint32) unsafe.Pointer {
	return open(name, length, subtask, parallelism, inputs, outputs)
}

func open(name unsafe.Pointer, length, subtask, parallelism, inputs, outputs uint32) unsafe.Pointer {
	defer crash()
	beginCall()
	operator := string(unsafe.Slice((*byte)(name), length))
	return unsafe.Pointer(ended(Registered.Open(Context{operator, subtask, parallelism, inputs, outputs})))
}

//go:wasmexport cofferdam:operator/processor@0.1.0#process
func process(
	input, length, keys, keysLen, keyOffsets, keyOffsetsLen, values, valuesLen, valueOffsets,
	valueOffsetsLen, times, timesLen uint32,
) unsafe.Pointer {
	defer crash()
	in := batchIn{
		length, column{list{keys, keysLen}, list{keyOffsets, keyOffsetsLen}},
		column{list{values, valuesLen}, list{valueOffsets, valueOffsetsLen}}, list{times, timesLen},
	}
	return unsafe.Pointer(endedWith(Registered.Process(in.read(input))))
}

//go:wasmexport cofferdam:operator/processor@0.1.0#finish
func finish() unsafe.Pointer {
	defer crash()
	beginCall()
	return unsafe.Pointer(endedWith(Registered.Finish()))
}

//go:wasmexport cofferdam:operator/keyed-processor@0.1.0#fold
func fold(at unsafe.Pointer) unsafe.Pointer {
	defer crash()
	in := (*foldIn)(at)
	return unsafe.Pointer(endedWith(Registered.Fold(in.now.read(), in.batch.read(in.input), in.groups.read())))
}

//go:wasmexport cofferdam:operator/keyed-processor@0.1.0#fire
func fire(at unsafe.Pointer) unsafe.Pointer {
	defer crash()
	in := (*fireIn)(at)
	lent.firings = Firings{view[uint8](in.kinds.at, in.kinds.len), view[int64](in.times.at, in.times.len)}
	return unsafe.Pointer(endedWith(Registered.Fire(in.now.read(), &lent.firings, in.groups.read())))
}

//go:wasmexport cofferdam:operator/session-merge@0.1.0#merge
func merge(
	keys, keysLen, keyOffsets, keyOffsetsLen, left, leftLen, leftOffsets, leftOffsetsLen, right,
	rightLen, rightOffsets, rightOffsetsLen uint32,
) unsafe.Pointer {
	defer crash()
	k := columnIn(column{list{keys, keysLen}, list{keyOffsets, keyOffsetsLen}})
	l := columnIn(column{list{left, leftLen}, list{leftOffsets, leftOffsetsLen}})
	r := columnIn(column{list{right, rightLen}, list{rightOffsets, rightOffsetsLen}})
	merged, err := Registered.Merge(&k, &l, &r)
	answer := ended(err)
	if err == nil {
		lent.column = merged
		out := columnOut(merged)
		answer.lists = [14]uint32{out.data.at, out.data.len, out.offsets.at, out.offsets.len}
	}
	return unsafe.Pointer(answer)
}

//go:wasmexport cofferdam:operator/state-check@0.1.0#check
func check(
	keys, keysLen, keyOffsets, keyOffsetsLen, states, statesLen, stateOffsets, stateOffsetsLen uint32,
) unsafe.Pointer {
	defer crash()
	k := columnIn(column{list{keys, keysLen}, list{keyOffsets, keyOffsetsLen}})
	s := columnIn(column{list{states, statesLen}, list{stateOffsets, stateOffsetsLen}})
	return unsafe.Pointer(ended(Registered.Check(&k, &s)))
}

//go:wasmexport cofferdam:operator/snapshot@0.1.0#snapshot
func snapshot() unsafe.Pointer {
	defer crash()
	beginCall()
	state, err := Registered.Snapshot()
	answer := ended(err)
	if err == nil {
		lent.bytes = state
		out := listOf(state)
		answer.lists[0], answer.lists[1] = out.at, out.len
	}
	return unsafe.Pointer(answer)
}

//go:wasmexport cofferdam:operator/snapshot@0.1.0#restore
func restore(state unsafe.Pointer, length uint32) unsafe.Pointer {
	defer crash()
	return unsafe.Pointer(ended(Registered.Restore(unsafe.Slice((*byte)(state), length))))
}

// crash turns a panic into a line of the log that says what, at which record and where, and a
// trap: what the operator holds in memory is not to be trusted any more, and the host finds
// out which record is to blame.
func crash() {
	panicked := recover()
	if panicked == nil {
		return
	}
	var said strings.Builder
	if err, ok := panicked.(error); ok {
		fmt.Fprintf(&said, "panic: %s", err.Error())
	} else {
		fmt.Fprintf(&said, "panic: %v", panicked)
	}
	var callers [64]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(1, callers[:])])
	for {
		frame, more := frames.Next()
		if !ours(frame.Function) {
			fmt.Fprintf(&said, "\n    at %s (%s:%d)", frame.Function, frame.File, frame.Line)
		}
		if !more {
			break
		}
	}
	if hand := Registered.InHand(); hand != "" {
		said.WriteString("\n  in hand: " + hand)
	}
	Log(4, said.String())
	os.Exit(2)
}

// ours says whether a function is of the runtime or of this SDK: no news to an author.
func ours(function string) bool {
	for _, prefix := range [...]string{"runtime.", "cofferdam.", "cofferdam/", "cofferdam:", "_rt0_"} {
		if strings.HasPrefix(function, prefix) {
			return true
		}
	}
	return function == ""
}
