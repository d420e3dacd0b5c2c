//go:build !wasip1

// Package coftest runs operators natively, for go test: no WebAssembly, no threads, and no clock but
// the one that a test moves. It groups by key and window, keeps states in their encoded form, keeps
// timers, and checks what the operator answers as the real host does.
//
//	func TestKeepsErrors(t *testing.T) {
//		h := coftest.New(t, &Operator{}, coftest.Config{"contains": "error"})
//		answer := h.Send(coftest.Values("fine", "an error")...)
//		if got := answer.Values(0); !slices.Equal(got, []string{"an error"}) {
//			t.Errorf("kept %q", got)
//		}
//	}
//
// What was passed to an operator is overwritten when its method has returned, so a test finds an
// operator that keeps views of it.
package coftest

import (
	"encoding/json"
	"fmt"
	"testing"

	"cofferdam"
	"cofferdam/internal/contract"
)

// Config is an operator's configuration: what stands in its config table in the job file.
type Config map[string]any

// Record is one to send. A stream has keys and event times in all of its records or in none: the
// first record of a call says.
type Record struct {
	Key   []byte
	Value []byte
	// Event time in milliseconds since 1970.
	Time *int64
}

// Values makes records without key and event time.
func Values(values ...string) []Record {
	records := make([]Record, len(values))
	for i, value := range values {
		records[i].Value = []byte(value)
	}
	return records
}

// At makes a record with a key and an event time.
func At(millis int64, key, value string) Record {
	return Record{Key: []byte(key), Value: []byte(value), Time: &millis}
}

// Keyed makes a record with a key and without an event time.
func Keyed(key, value string) Record {
	return Record{Key: []byte(key), Value: []byte(value)}
}

// Line is one that an operator logged.
type Line struct {
	Level   cofferdam.Level
	Message string
}

// Harness runs a [cofferdam.Processor].
type Harness struct {
	host
	operator contract.Operator
}

// New opens a processor. A test that is to see it fail to open uses [Open].
func New(t testing.TB, operator cofferdam.Processor, config Config) *Harness {
	t.Helper()
	h, err := Open(t, operator, config)
	if err != nil {
		t.Fatalf("the operator did not open: %v", err)
	}
	return h
}

// Open opens a processor, or says why it does not.
func Open(t testing.TB, operator cofferdam.Processor, config Config) (*Harness, error) {
	t.Helper()
	h := &Harness{operator: cofferdam.ProcessorContract(operator)}
	h.host.start(t, config)
	var err error
	h.record(func() { err = h.operator.Open(told) })
	return h, err
}

var told = contract.Context{Operator: "test", Parallelism: 1, Inputs: 1, Outputs: 1}

// Send sends one batch by input port 0, and ends the test if it fails.
func (h *Harness) Send(records ...Record) *Answer {
	h.t.Helper()
	answer, err := h.Try(0, records...)
	if err != nil {
		h.t.Fatalf("the batch failed: %v", err)
	}
	return answer
}

// Try sends one batch by an input port. The error is what the operator fails it with.
func (h *Harness) Try(input int, records ...Record) (*Answer, error) {
	h.t.Helper()
	batch := h.batch(input, records)
	defer spoil(batch)
	var outcome *contract.Outcome
	var err error
	h.record(func() { outcome, err = h.operator.Process(batch) })
	if err != nil {
		return nil, err
	}
	return h.answer(outcome, originsOf(batch)), nil
}

// Finish ends the input.
func (h *Harness) Finish() *Answer {
	h.t.Helper()
	var outcome *contract.Outcome
	var err error
	h.record(func() { outcome, err = h.operator.Finish() })
	if err != nil {
		h.t.Fatalf("finish failed: %v", err)
	}
	return h.answer(outcome, origins{})
}

// Snapshot returns what a fresh operator needs to go on from here.
func (h *Harness) Snapshot() []byte {
	h.t.Helper()
	var state []byte
	var err error
	h.record(func() { state, err = h.operator.Snapshot() })
	if err != nil {
		h.t.Fatalf("snapshot failed: %v", err)
	}
	return append([]byte(nil), state...)
}

// Restore gives a fresh operator what another one returned from Snapshot.
func (h *Harness) Restore(state []byte) {
	h.t.Helper()
	var err error
	h.record(func() { err = h.operator.Restore(append([]byte(nil), state...)) })
	if err != nil {
		h.t.Fatalf("restore failed: %v", err)
	}
}

// host is what harnesses have in common: what was logged and measured, and how answers are read.
type host struct {
	t          testing.TB
	recorder   contract.Recorder
	logs       []Line
	counters   map[string]uint64
	gauges     map[string]float64
	histograms map[string][]float64
}

func (h *host) start(t testing.TB, config Config) {
	t.Helper()
	h.t = t
	h.counters, h.gauges, h.histograms = map[string]uint64{}, map[string]float64{}, map[string][]float64{}
	h.recorder = contract.Recorder{
		Config: map[string]json.RawMessage{},
		Log: func(level uint8, message string) {
			h.logs = append(h.logs, Line{cofferdam.Level(level), message})
		},
		Counter:   func(name string, delta uint64) { h.counters[name] += delta },
		Gauge:     func(name string, value float64) { h.gauges[name] = value },
		Histogram: func(name string, value float64) { h.histograms[name] = append(h.histograms[name], value) },
	}
	for key, value := range config {
		data, err := json.Marshal(value)
		if err != nil {
			t.Fatalf("the configuration's %s is no JSON: %v", key, err)
		}
		h.recorder.Config[key] = data
	}
}

// record makes a call in which the operator may log and measure.
func (h *host) record(call func()) {
	before := contract.Recording
	contract.Recording = &h.recorder
	defer func() { contract.Recording = before }()
	call()
}

// Logs are the lines that were logged so far.
func (h *host) Logs() []Line { return h.logs }

// Counter is the value of a counter; 0 if it was never added to.
func (h *host) Counter(name string) uint64 { return h.counters[name] }

// Gauge is the value of a gauge, if it was ever set.
func (h *host) Gauge(name string) (value float64, ok bool) {
	value, ok = h.gauges[name]
	return value, ok
}

// Histogram has the observations of a histogram, in order.
func (h *host) Histogram(name string) []float64 { return h.histograms[name] }

func (h *host) batch(input int, records []Record) *contract.Batch {
	h.t.Helper()
	batch := &contract.Batch{Input: uint32(input), Len: len(records)}
	for i, record := range records {
		if (record.Key == nil) != (records[0].Key == nil) || (record.Time == nil) != (records[0].Time == nil) {
			h.t.Fatalf("record %d: a key, and a time, in every record or in none", i)
		}
		if record.Key != nil {
			batch.Keys.Append(record.Key)
		}
		batch.Values.Append(record.Value)
		if record.Time != nil {
			batch.Timestamps = append(batch.Timestamps, *record.Time)
		}
	}
	return batch
}

// spoil overwrites what an operator must not keep.
func spoil(batch *contract.Batch) {
	for _, data := range [][]byte{batch.Keys.Data, batch.Values.Data} {
		for i := range data {
			data[i] = 0xdd
		}
	}
}

// Output is a record that was emitted.
type Output struct {
	Key, Value []byte
	// Event time in milliseconds since 1970, if it has one.
	Time *int64
}

func (o Output) String() string {
	if o.Time == nil {
		return fmt.Sprintf("%s=%s", o.Key, o.Value)
	}
	return fmt.Sprintf("%s=%s@%d", o.Key, o.Value, *o.Time)
}

// Rejected is a record that was refused.
type Rejected struct {
	Record int
	Reason string
}

// Answer is what an operator made of a call.
type Answer struct {
	ports    map[int][]Output
	Rejected []Rejected
	// Late are the values of records whose windows are all over.
	Late []string
}

// Outputs are the records that went to a port, in order.
func (a *Answer) Outputs(port int) []Output { return a.ports[port] }

// Values are the values of the records that went to a port, in order.
func (a *Answer) Values(port int) []string {
	values := []string{}
	for _, output := range a.ports[port] {
		values = append(values, string(output.Value))
	}
	return values
}

func (a *Answer) add(other *Answer) {
	for port, outputs := range other.ports {
		a.ports[port] = append(a.ports[port], outputs...)
	}
	a.Rejected = append(a.Rejected, other.Rejected...)
	a.Late = append(a.Late, other.Late...)
}

// origins is what emissions of a call may stem from.
type origins struct {
	len    int
	keys   func(int) []byte
	values func(int) []byte
	times  func(int) *int64
}

func originsOf(batch *contract.Batch) origins {
	return origins{batch.Len, batch.Keys.Get, batch.Values.Get, func(i int) *int64 {
		if len(batch.Timestamps) == 0 {
			return nil
		}
		return &batch.Timestamps[i]
	}}
}

// answer reads an outcome as the host does, and ends the test if the host would refuse it.
func (h *host) answer(outcome *contract.Outcome, from origins) *Answer {
	h.t.Helper()
	answer := &Answer{ports: map[int][]Output{}}
	for i := range outcome.Emissions {
		e := &outcome.Emissions[i]
		for row, origin := range h.rows(e, from) {
			output := Output{}
			if origin >= 0 {
				output = Output{clone(from.keys(origin)), clone(from.values(origin)), from.times(origin)}
			}
			if e.HasKeys {
				output.Key = clone(e.Keys.Get(row))
			}
			if e.HasValues {
				output.Value = clone(e.Values.Get(row))
			}
			if e.HasTimestamps {
				output.Time = &e.Timestamps[row]
			}
			if output.Time != nil {
				millis := *output.Time
				output.Time = &millis
			}
			answer.ports[int(e.Port)] = append(answer.ports[int(e.Port)], output)
		}
	}
	seen := map[uint32]bool{}
	for _, r := range outcome.Rejected {
		if int(r.Index) >= from.len || seen[r.Index] {
			h.t.Fatalf("record %d was rejected twice, or there is none of that index", r.Index)
		}
		seen[r.Index] = true
		answer.Rejected = append(answer.Rejected, Rejected{int(r.Index), r.Reason})
	}
	return answer
}

// rows are the origins of an emission's records; -1 for one that stems from nothing.
func (h *host) rows(e *contract.Emission, from origins) []int {
	h.t.Helper()
	rows := []int{}
	switch e.Origin {
	case contract.OriginSame:
		for i := range from.len {
			rows = append(rows, i)
		}
	case contract.OriginKeep:
		for _, i := range e.Keep {
			if int(i) >= from.len {
				h.t.Fatalf("a record stems from record %d, and there are %d", i, from.len)
			}
			rows = append(rows, int(i))
		}
	default:
		for range max(e.Keys.Len(), e.Values.Len(), len(e.Timestamps)) {
			rows = append(rows, -1)
		}
	}
	for _, column := range []struct {
		is  bool
		len int
	}{{e.HasKeys, e.Keys.Len()}, {e.HasValues, e.Values.Len()}, {e.HasTimestamps, len(e.Timestamps)}} {
		if column.is && column.len != len(rows) {
			h.t.Fatalf("an emission has %d records and a column of %d", len(rows), column.len)
		}
	}
	return rows
}

func clone(bytes []byte) []byte { return append([]byte{}, bytes...) }
