package cofferdam

import (
	"bytes"
	"fmt"
	"iter"
	"slices"

	"cofferdam/internal/contract"
)

// Keyed is an operator with state of type S by key, which the host keeps. It is a pure fold:
// whatever it knows of a key is in the group's state, and anything that it keeps in its own
// memory must follow from the configuration. It may also have Open ([Opener]) and, for session
// windows, Merge ([Merger]).
type Keyed[S any] interface {
	// Fold folds a group's records into its state. An error fails the whole batch, and the job
	// under its restart strategy; to refuse single records, use [Outcome.Reject].
	Fold(group *Group[S], out *Outcome) error
	// Fire is called when a timer of the group is due, or its window has ended. A window's state is
	// the host's to remove: while late records are allowed, it fires again.
	Fire(group *Group[S], firing Firing, out *Outcome) error
}

// Merger is a [Keyed] operator that can run in session windows, where a record may turn two
// sessions into one. Its world is session-operator.
type Merger[S any] interface {
	// Merge returns the state of the session made of two sessions of a key.
	Merge(key []byte, earlier, later S) (S, error)
}

// RegisterKeyed makes a keyed operator the operator of this program; its states are kept as JSON.
// Call it in init: main is never run.
func RegisterKeyed[S any](operator Keyed[S]) {
	RegisterKeyedWith(operator, JSON[S]())
}

// RegisterKeyedWith is [RegisterKeyed] with states that are kept by another codec, such as [Plain].
func RegisterKeyedWith[S any](operator Keyed[S], codec Codec[S]) {
	contract.Registered = KeyedContract(operator, codec)
}

// KeyedContract is for package coftest.
func KeyedContract[S any](operator Keyed[S], codec Codec[S]) contract.Operator {
	return &keyed[S]{operator: operator, codec: codec}
}

// Window is a window of event time, in milliseconds since 1970.
type Window struct {
	Start int64 // the first millisecond
	End   int64 // the first millisecond after it
}

// TimerKind is which time a timer waits for.
type TimerKind uint8

const (
	// EventTime timers fire when the watermark has passed them.
	EventTime TimerKind = iota
	// ProcessingTime timers fire when the host's clock has passed them.
	ProcessingTime
)

// FiringKind is why a group is fired.
type FiringKind uint8

const (
	// WindowEnded: the watermark passed the end of the group's window, or a late record that is still
	// allowed changed a window that had fired.
	WindowEnded FiringKind = contract.FiringWindow
	// EventTimer is due.
	EventTimer FiringKind = contract.FiringEvent
	// ProcessingTimer is due.
	ProcessingTimer FiringKind = contract.FiringProcessing
)

// Firing says why and for what time a group is fired. Records may stem from it ([Outcome.EmitFired]).
type Firing struct {
	index uint32
	kind  FiringKind
	time  int64
}

// Kind is why.
func (f Firing) Kind() FiringKind { return f.kind }

// Time is the timer's time in milliseconds since 1970; for a window its last millisecond.
func (f Firing) Time() int64 { return f.time }

type firingsView struct {
	contract.Firings
	// The key of the group at hand.
	key []byte
}

// Group is one key of a call, or one pair of key and window: its state, its records, its timers.
// It is valid until the method that got it returns.
type Group[S any] struct {
	in      *keyed[S]
	index   uint32
	key     []byte
	before  []byte
	rows    []uint32
	state   S
	has     bool
	decoded bool
	touched bool
	// Why its state cannot be read.
	unreadable error
}

// Key is the group's key.
func (g *Group[S]) Key() []byte { return g.key }

// Window is the group's window, if the job gives the operator windows.
func (g *Group[S]) Window() (window Window, ok bool) {
	groups := g.in.groups
	if len(groups.WindowStarts) == 0 {
		return Window{}, false
	}
	return Window{groups.WindowStarts[g.index], groups.WindowEnds[g.index]}, true
}

// Len is the number of the group's records: at least one in Fold, none in Fire.
func (g *Group[S]) Len() int { return len(g.rows) }

// Records are the group's records, in order of arrival.
func (g *Group[S]) Records() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		of := &g.in.batch
		for _, row := range g.rows {
			of.doing = int(row)
			if !yield(Record{of, row}) {
				return
			}
		}
		of.doing = -1
	}
}

// Last is the last of the group's records; there is none in Fire.
func (g *Group[S]) Last() Record {
	return Record{&g.in.batch, g.rows[len(g.rows)-1]}
}

// Input is the input port that the records came in by, from 0.
func (g *Group[S]) Input() int { return int(g.in.batch.Input) }

// State is the group's state; the zero value, and false, if it has none. What is changed through a
// pointer in it counts when it is set ([Group.SetState]). One that cannot be read fails the whole
// call, whatever the operator makes of it.
func (g *Group[S]) State() (state S, ok bool) {
	if !g.decoded {
		g.decoded = true
		if len(g.before) > 0 {
			var err error
			if g.state, err = g.in.codec.Decode(g.before); err != nil {
				g.unreadable = fmt.Errorf("key %q: its state cannot be read: %w", g.key, err)
				return g.state, false
			}
			g.has = true
		}
	}
	return g.state, g.has
}

// SetState sets the group's state. It is encoded once a call.
func (g *Group[S]) SetState(state S) {
	g.state, g.has, g.decoded, g.touched = state, true, true, true
}

// DeleteState deletes the group's state.
func (g *Group[S]) DeleteState() {
	var none S
	g.state, g.has, g.decoded, g.touched = none, false, true, true
}

// Watermark is event time: no record older than this (milliseconds since 1970) is expected any
// more. There is none before the first one.
func (g *Group[S]) Watermark() (millis int64, ok bool) {
	return g.in.now.Watermark, g.in.now.HasWatermark
}

// ProcessingTime is the host's clock in milliseconds since 1970. Use it and no other, so that a
// replay does the same again.
func (g *Group[S]) ProcessingTime() int64 { return g.in.now.Processing }

// SetTimer has Fire called when event time or processing time has passed at (milliseconds since
// 1970). Setting a timer twice is setting it once.
func (g *Group[S]) SetTimer(kind TimerKind, at int64) {
	timer := contract.Timer{Group: g.index, Kind: uint8(kind), At: at}
	g.in.deleteTimers = without(g.in.deleteTimers, timer)
	g.in.setTimers = append(without(g.in.setTimers, timer), timer)
}

// DeleteTimer deletes a timer; nothing happens if there is none. Of setting and deleting the same
// timer in one call, the last counts.
func (g *Group[S]) DeleteTimer(kind TimerKind, at int64) {
	timer := contract.Timer{Group: g.index, Kind: uint8(kind), At: at}
	g.in.setTimers = without(g.in.setTimers, timer)
	g.in.deleteTimers = append(without(g.in.deleteTimers, timer), timer)
}

// without removes a timer of the group at hand, whose timers are the last ones.
func without(timers []contract.Timer, timer contract.Timer) []contract.Timer {
	for i := len(timers) - 1; i >= 0 && timers[i].Group == timer.Group; i-- {
		if timers[i] == timer {
			return slices.Delete(timers, i, i+1)
		}
	}
	return timers
}

// keyed drives a Keyed operator as the contract says.
type keyed[S any] struct {
	operator Keyed[S]
	codec    Codec[S]

	now    contract.Now
	batch  batchView
	groups *contract.Groups
	due    firingsView
	out    Outcome
	group  Group[S]

	changed                 []uint32
	states                  contract.Column
	setTimers, deleteTimers []contract.Timer
	merged                  contract.Column
}

func (k *keyed[S]) Open(told contract.Context) error {
	if opener, ok := k.operator.(Opener); ok {
		return opener.Open(&Context{told})
	}
	return nil
}

func (k *keyed[S]) Fold(now contract.Now, batch *contract.Batch, groups *contract.Groups) (*contract.Outcome, error) {
	k.begin(now, groups)
	k.batch.Batch, k.batch.doing = *batch, -1
	k.out.begin(&k.batch, nil)
	return k.each(func(rows []uint32) error {
		k.group.rows = rows
		return k.operator.Fold(&k.group, &k.out)
	})
}

func (k *keyed[S]) Fire(now contract.Now, due *contract.Firings, groups *contract.Groups) (*contract.Outcome, error) {
	k.begin(now, groups)
	k.batch.Batch, k.batch.doing = contract.Batch{}, -1
	k.due.Firings = *due
	k.out.begin(&k.batch, &k.due)
	return k.each(func(rows []uint32) error {
		k.due.key = k.group.key
		for _, row := range rows {
			firing := Firing{row, FiringKind(due.Kinds[row]), due.Times[row]}
			if err := k.operator.Fire(&k.group, firing, &k.out); err != nil {
				return err
			}
		}
		return nil
	})
}

func (k *keyed[S]) begin(now contract.Now, groups *contract.Groups) {
	k.now, k.groups = now, groups
	k.changed = k.changed[:0]
	k.states.Reset()
	k.setTimers, k.deleteTimers = k.setTimers[:0], k.deleteTimers[:0]
}

// each calls an operator for each group, and takes over what became of it.
func (k *keyed[S]) each(call func(rows []uint32) error) (*contract.Outcome, error) {
	groups := k.groups
	for g := range max(len(groups.RowOffsets), 1) - 1 {
		k.group = Group[S]{in: k, index: uint32(g), key: groups.Keys.Get(g), before: groups.States.Get(g)}
		err := call(groups.Rows[groups.RowOffsets[g]:groups.RowOffsets[g+1]])
		if k.group.unreadable != nil {
			return nil, k.group.unreadable
		}
		if err != nil {
			return nil, err
		}
		if err := k.commit(&k.group); err != nil {
			return nil, fmt.Errorf("key %q: its state cannot be kept: %w", k.group.key, err)
		}
	}
	k.batch.doing, k.group = -1, Group[S]{}
	answer := k.out.finish()
	answer.Changed, answer.States = k.changed, k.states
	answer.SetTimers, answer.DeleteTimers = k.setTimers, k.deleteTimers
	return answer, nil
}

// commit notes the state of a group. One that was set but reads the same as before is not reported,
// which spares the next checkpoint.
func (k *keyed[S]) commit(g *Group[S]) error {
	if !g.touched {
		return nil
	}
	begin := len(k.states.Data)
	if g.has {
		data, err := k.codec.Encode(k.states.Data, g.state)
		if err != nil {
			return err
		}
		k.states.Data = data
		if len(data) == begin {
			return errEmptyState
		}
	}
	if bytes.Equal(k.states.Data[begin:], g.before) {
		k.states.Data = k.states.Data[:begin]
		return nil
	}
	k.changed = append(k.changed, g.index)
	k.states.Close()
	return nil
}

func (k *keyed[S]) Merge(keys, left, right *contract.Column) (*contract.Column, error) {
	merger, ok := k.operator.(Merger[S])
	if !ok {
		return nil, lacks(k.operator, "Merge")
	}
	k.merged.Reset()
	for i := range keys.Len() {
		earlier, later := left.Get(i), right.Get(i)
		if len(earlier) == 0 || len(later) == 0 {
			k.merged.Append(append(earlier, later...))
			continue
		}
		e, err := k.codec.Decode(earlier)
		if err != nil {
			return nil, fmt.Errorf("key %q: its state cannot be read: %w", keys.Get(i), err)
		}
		l, err := k.codec.Decode(later)
		if err != nil {
			return nil, fmt.Errorf("key %q: its state cannot be read: %w", keys.Get(i), err)
		}
		merged, err := merger.Merge(keys.Get(i), e, l)
		if err != nil {
			return nil, err
		}
		if k.merged.Data, err = k.codec.Encode(k.merged.Data, merged); err != nil {
			return nil, fmt.Errorf("key %q: its state cannot be kept: %w", keys.Get(i), err)
		}
		k.merged.Close()
	}
	return &k.merged, nil
}

func (k *keyed[S]) Check(keys, states *contract.Column) error {
	for i := range keys.Len() {
		if _, err := k.codec.Decode(states.Get(i)); err != nil {
			return fmt.Errorf("key %q: its state cannot be read: %w", keys.Get(i), err)
		}
	}
	return nil
}

func (k *keyed[S]) Process(*contract.Batch) (*contract.Outcome, error) {
	return nil, lacks(k.operator, "Process")
}

func (k *keyed[S]) Finish() (*contract.Outcome, error) { return nil, lacks(k.operator, "Finish") }

func (k *keyed[S]) Snapshot() ([]byte, error) { return nil, lacks(k.operator, "Snapshot") }

func (k *keyed[S]) Restore([]byte) error { return lacks(k.operator, "Restore") }

func (k *keyed[S]) InHand() string {
	if record := k.batch.inHand(); record != "" || k.group.in == nil {
		return record
	}
	return "key " + shown(k.group.key)
}
