//go:build !wasip1

package coftest

import (
	"cmp"
	"slices"
	"testing"

	"cofferdam"
	"cofferdam/internal/contract"
)

// Windows says which windows records fall into.
type Windows struct {
	size, slide, gap, lateness int64
}

// Tumbling are windows of so many milliseconds, one after the other.
func Tumbling(size int64) Windows { return Windows{size: size, slide: size} }

// Sliding are windows of size milliseconds, one every slide.
func Sliding(size, slide int64) Windows { return Windows{size: size, slide: slide} }

// Sessions are windows that end when there was no record for so many milliseconds.
func Sessions(gap int64) Windows { return Windows{gap: gap} }

// Lateness lets records be late by so many milliseconds.
func (w Windows) Lateness(millis int64) Windows {
	w.lateness = millis
	return w
}

// id is what has a state: a key, or a key and a window.
type id struct {
	key      string
	windowed bool
	window   cofferdam.Window
}

func (a id) compare(b id) int {
	return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.window.Start, b.window.Start), cmp.Compare(a.window.End, b.window.End))
}

type timer struct {
	at   int64
	kind uint8
	of   id
}

// KeyedHarness runs a [cofferdam.Keyed] operator.
type KeyedHarness[S any] struct {
	host
	operator contract.Operator
	codec    cofferdam.Codec[S]
	windows  Windows
	states   map[id][]byte
	// Windows that records have fallen into, and whether they have fired.
	open   map[id]bool
	timers map[timer]bool
	now    contract.Now
}

// NewKeyed opens a keyed operator, in windows if there are any. One whose states are not JSON is
// opened with its codec.
func NewKeyed[S any](
	t testing.TB, operator cofferdam.Keyed[S], config Config, windows Windows, codec ...cofferdam.Codec[S],
) *KeyedHarness[S] {
	t.Helper()
	h := &KeyedHarness[S]{
		codec: cofferdam.JSON[S](), windows: windows,
		states: map[id][]byte{}, open: map[id]bool{}, timers: map[timer]bool{},
	}
	if len(codec) > 0 {
		h.codec = codec[0]
	}
	h.operator = cofferdam.KeyedContract(operator, h.codec)
	h.host.start(t, config)
	var err error
	h.record(func() { err = h.operator.Open(told) })
	if err != nil {
		t.Fatalf("the operator did not open: %v", err)
	}
	return h
}

// group is one of a call.
type group struct {
	id   id
	rows []uint32
}

// Send sends one batch by input port 0, and ends the test if it fails.
func (h *KeyedHarness[S]) Send(records ...Record) *Answer {
	h.t.Helper()
	answer, err := h.Try(0, records...)
	if err != nil {
		h.t.Fatalf("the batch failed: %v", err)
	}
	return answer
}

// Try sends one batch by an input port. The error is what the operator fails it with; nothing has
// changed then.
func (h *KeyedHarness[S]) Try(input int, records ...Record) (*Answer, error) {
	h.t.Helper()
	batch := h.batch(input, records)
	defer spoil(batch)
	var groups []group
	var late []string
	for i, record := range records {
		ids := h.assign(record)
		taken := false
		for _, of := range ids {
			of = h.join(of, &groups)
			if of.windowed && h.isOver(of.window) {
				continue
			}
			taken = true
			if of.windowed {
				h.open[of] = h.open[of]
			}
			at := slices.IndexFunc(groups, func(g group) bool { return g.id == of })
			if at < 0 {
				at = len(groups)
				groups = append(groups, group{id: of})
			}
			groups[at].rows = append(groups[at].rows, uint32(i))
		}
		if !taken {
			late = append(late, string(record.Value))
		}
	}
	ended := []due{}
	for _, g := range groups {
		if g.id.windowed && h.now.HasWatermark && h.now.Watermark >= g.id.window.End-1 {
			ended = append(ended, due{g.id.window.End - 1, contract.FiringWindow, g.id})
		}
	}
	asked := h.groups(groups)
	var outcome *contract.Outcome
	var err error
	h.record(func() { outcome, err = h.operator.Fold(h.now, batch, asked) })
	if err != nil {
		return nil, err
	}
	answer := h.apply(outcome, originsOf(batch), groups)
	answer.Late = late
	// A late record that is still allowed has its window fire once more.
	answer.add(h.fire(ended))
	return answer, nil
}

// AdvanceWatermark moves event time on: it fires the windows and timers that are due by then, in order
// of time, and forgets windows for which nothing can come any more.
func (h *KeyedHarness[S]) AdvanceWatermark(to int64) *Answer {
	h.t.Helper()
	if !h.now.HasWatermark || to > h.now.Watermark {
		h.now.HasWatermark, h.now.Watermark = true, to
	}
	answer := h.fireDue()
	for of := range h.open {
		if h.isOver(of.window) {
			delete(h.open, of)
			delete(h.states, of)
			for t := range h.timers {
				if t.of == of {
					delete(h.timers, t)
				}
			}
		}
	}
	return answer
}

// AdvanceTime moves the host's clock on: it fires the processing-time timers that are due.
func (h *KeyedHarness[S]) AdvanceTime(to int64) *Answer {
	h.t.Helper()
	h.now.Processing = max(h.now.Processing, to)
	return h.fireDue()
}

// End ends the input: event time passes everything.
func (h *KeyedHarness[S]) End() *Answer {
	h.t.Helper()
	return h.AdvanceWatermark(1<<63 - 1)
}

// State is the state of a key, outside of windows.
func (h *KeyedHarness[S]) State(key string) (state S, ok bool) {
	h.t.Helper()
	data, ok := h.states[id{key: key}]
	if !ok {
		return state, false
	}
	state, err := h.codec.Decode(data)
	if err != nil {
		h.t.Fatalf("key %q: its state cannot be read: %v", key, err)
	}
	return state, true
}

// States is how many states the host holds.
func (h *KeyedHarness[S]) States() int { return len(h.states) }

// Timers is how many timers are set.
func (h *KeyedHarness[S]) Timers() int { return len(h.timers) }

// isOver says whether the watermark has left a window and its lateness behind.
func (h *KeyedHarness[S]) isOver(w cofferdam.Window) bool {
	return h.now.HasWatermark && h.now.Watermark-h.windows.lateness >= w.End-1
}

// assign says which groups a record belongs to.
func (h *KeyedHarness[S]) assign(record Record) []id {
	h.t.Helper()
	key := string(record.Key)
	w := h.windows
	if w.size == 0 && w.gap == 0 {
		return []id{{key: key}}
	}
	if record.Time == nil {
		h.t.Fatal("records in windows have an event time")
	}
	if w.gap > 0 {
		return []id{{key, true, cofferdam.Window{Start: *record.Time, End: *record.Time + w.gap}}}
	}
	ids := []id{}
	last := *record.Time - floorMod(*record.Time, w.slide)
	for start := last; start > *record.Time-w.size; start -= w.slide {
		ids = append(ids, id{key, true, cofferdam.Window{Start: start, End: start + w.size}})
	}
	slices.Reverse(ids)
	return ids
}

func floorMod(a, b int64) int64 { return ((a % b) + b) % b }

// join makes one session of a new one and those that it meets.
func (h *KeyedHarness[S]) join(of id, groups *[]group) id {
	h.t.Helper()
	if h.windows.gap == 0 {
		return of
	}
	met := []id{}
	joined := of
	for again := true; again; {
		again = false
		for other := range h.open {
			if other.key == of.key && !slices.Contains(met, other) &&
				other.window.Start <= joined.window.End && joined.window.Start <= other.window.End {
				joined.window.Start = min(joined.window.Start, other.window.Start)
				joined.window.End = max(joined.window.End, other.window.End)
				met = append(met, other)
				again = true
			}
		}
	}
	slices.SortFunc(met, id.compare)
	var state []byte
	var rows []uint32
	for _, old := range met {
		state = h.merge(of.key, state, h.states[old])
		delete(h.states, old)
		delete(h.open, old)
		for t := range h.timers {
			if t.of == old {
				delete(h.timers, t)
				h.timers[timer{t.at, t.kind, joined}] = true
			}
		}
		if at := slices.IndexFunc(*groups, func(g group) bool { return g.id == old }); at >= 0 {
			rows = append(rows, (*groups)[at].rows...)
			*groups = slices.Delete(*groups, at, at+1)
		}
	}
	if len(state) > 0 {
		h.states[joined] = state
	}
	if len(met) > 0 {
		h.open[joined] = false
	}
	if len(rows) > 0 {
		slices.Sort(rows)
		*groups = append(*groups, group{joined, rows})
	}
	return joined
}

func (h *KeyedHarness[S]) merge(key string, earlier, later []byte) []byte {
	h.t.Helper()
	if len(earlier) == 0 || len(later) == 0 {
		return append(earlier, later...)
	}
	column := func(data []byte) *contract.Column {
		c := &contract.Column{}
		c.Append(data)
		return c
	}
	var merged *contract.Column
	var err error
	h.record(func() { merged, err = h.operator.Merge(column([]byte(key)), column(earlier), column(later)) })
	if err != nil {
		h.t.Fatalf("merge failed: %v", err)
	}
	return clone(merged.Get(0))
}

func (h *KeyedHarness[S]) groups(of []group) *contract.Groups {
	groups := &contract.Groups{RowOffsets: []uint32{0}}
	for _, g := range of {
		groups.Keys.Append([]byte(g.id.key))
		groups.States.Append(h.states[g.id])
		if g.id.windowed {
			groups.WindowStarts = append(groups.WindowStarts, g.id.window.Start)
			groups.WindowEnds = append(groups.WindowEnds, g.id.window.End)
		}
		groups.Rows = append(groups.Rows, g.rows...)
		groups.RowOffsets = append(groups.RowOffsets, uint32(len(groups.Rows)))
	}
	return groups
}

// apply reads an answer, and takes over what it changes.
func (h *KeyedHarness[S]) apply(outcome *contract.Outcome, from origins, groups []group) *Answer {
	h.t.Helper()
	answer := h.answer(outcome, from)
	if len(outcome.Changed) != outcome.States.Len() {
		h.t.Fatalf("%d groups changed, and there are %d states", len(outcome.Changed), outcome.States.Len())
	}
	for i, g := range outcome.Changed {
		if state := outcome.States.Get(i); len(state) > 0 {
			h.states[groups[g].id] = clone(state)
		} else {
			delete(h.states, groups[g].id)
		}
	}
	for _, t := range outcome.SetTimers {
		h.timers[timer{t.At, t.Kind, groups[t.Group].id}] = true
	}
	for _, t := range outcome.DeleteTimers {
		delete(h.timers, timer{t.At, t.Kind, groups[t.Group].id})
	}
	return answer
}

// due is a firing to be.
type due struct {
	at   int64
	kind uint8
	of   id
}

func (h *KeyedHarness[S]) fireDue() *Answer {
	h.t.Helper()
	answer := &Answer{ports: map[int][]Output{}}
	// What fires may set timers that are due at once.
	for {
		all := h.takeDue()
		if len(all) == 0 {
			return answer
		}
		answer.add(h.fire(all))
	}
}

func (h *KeyedHarness[S]) takeDue() []due {
	passed := func(at int64) bool { return h.now.HasWatermark && h.now.Watermark >= at }
	all := []due{}
	for of, fired := range h.open {
		if !fired && passed(of.window.End-1) {
			h.open[of] = true
			all = append(all, due{of.window.End - 1, contract.FiringWindow, of})
		}
	}
	for t := range h.timers {
		event := t.kind == uint8(cofferdam.EventTime)
		if event && passed(t.at) || !event && t.at <= h.now.Processing {
			delete(h.timers, t)
			all = append(all, due{t.at, t.kind + contract.FiringEvent, t.of})
		}
	}
	slices.SortFunc(all, func(a, b due) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.kind, b.kind), a.of.compare(b.of))
	})
	return all
}

func (h *KeyedHarness[S]) fire(all []due) *Answer {
	h.t.Helper()
	if len(all) == 0 {
		return &Answer{ports: map[int][]Output{}}
	}
	var groups []group
	firings := &contract.Firings{}
	for i, d := range all {
		at := slices.IndexFunc(groups, func(g group) bool { return g.id == d.of })
		if at < 0 {
			at = len(groups)
			groups = append(groups, group{id: d.of})
		}
		groups[at].rows = append(groups[at].rows, uint32(i))
		firings.Kinds = append(firings.Kinds, d.kind)
		firings.Times = append(firings.Times, d.at)
	}
	asked := h.groups(groups)
	var outcome *contract.Outcome
	var err error
	h.record(func() { outcome, err = h.operator.Fire(h.now, firings, asked) })
	if err != nil {
		h.t.Fatalf("firing failed: %v", err)
	}
	from := origins{len(all), func(i int) []byte { return []byte(all[i].of.key) },
		func(int) []byte { return nil }, func(i int) *int64 { return &all[i].at }}
	return h.apply(outcome, from, groups)
}
