package cofferdam

import "cofferdam/internal/contract"

// Outcome collects what an operator makes of a call: records by output port, and records that it
// refuses. Whatever an emitted record has in common with the record that it stems from stays on the
// host's side, so [Outcome.Keep] costs four bytes.
type Outcome struct {
	batch    *batchView
	firings  *firingsView
	segments []segment
	used     int
	// The last segment of each port, by the port's number; -1: none.
	last []int
	// Port 0's last segment, if its records stem from others and have nothing, or nothing but a value,
	// of their own: most records go there. -1: there is none such.
	kept, valued int
	rejected     []contract.Rejection
	answer       contract.Outcome
}

// segment is a run of records for one port that have the same columns set afresh.
type segment struct {
	contract.Emission
	// Whether its origins are all records of the batch, in order.
	all bool
}

// from notes which record another one stems from.
func (s *segment) from(row uint32) {
	s.all = s.all && int(row) == len(s.Keep)
	s.Keep = append(s.Keep, row)
}

// Option says of an emitted record what is not to come from its origin.
type Option struct {
	what option
	key  []byte
	n    int64
}

type option uint8

const (
	toPort option = iota
	withKey
	withTime
)

// To sends the record to an output port, counted from 0. Without it, it goes to port 0.
func To(port int) Option { return Option{what: toPort, n: int64(port)} }

// Key gives the record another key.
func Key(key []byte) Option { return Option{what: withKey, key: key} }

// Time gives the record another event time, in milliseconds since 1970.
func Time(millis int64) Option { return Option{what: withTime, n: millis} }

// Keep emits a record with the value that it has; its key and its time too, unless an option says
// otherwise.
func (o *Outcome) Keep(record Record, options ...Option) {
	if len(options) == 0 && o.kept >= 0 {
		o.segments[o.kept].from(record.index)
		return
	}
	o.emit(source{kind: fromRecord, row: record.index}, nil, false, options)
}

// Emit emits a record that stems from another one: it has this value, and the other one's key and
// time unless an option says otherwise. The value is copied.
func (o *Outcome) Emit(origin Record, value []byte, options ...Option) {
	if len(options) == 0 && o.valued >= 0 {
		s := &o.segments[o.valued]
		s.from(origin.index)
		s.Values.Append(value)
		return
	}
	o.emit(source{kind: fromRecord, row: origin.index}, value, true, options)
}

// EmitFired emits a record that stems from a firing: it has this value, the group's key, and the
// firing's time, unless an option says otherwise.
func (o *Outcome) EmitFired(firing Firing, value []byte, options ...Option) {
	o.emit(source{kind: fromFiring, row: firing.index}, value, true, options)
}

// EmitFresh emits a record that stems from nothing: it has no key and no time unless an option
// gives it one.
func (o *Outcome) EmitFresh(value []byte, options ...Option) {
	o.emit(source{kind: fromNothing}, value, true, options)
}

// KeepAll emits the whole batch as it is to a port, at no cost a record.
func (o *Outcome) KeepAll(port int) {
	s := o.add(uint32(port))
	s.Origin = contract.OriginSame
}

// Reject refuses a record: it goes to the dead letters with the reason, and the other records of
// the batch go on. Write the reason for the person who reads the dead letters.
func (o *Outcome) Reject(record Record, reason string) {
	o.rejected = append(o.rejected, contract.Rejection{Index: record.index, Reason: reason})
}

type sourceKind uint8

const (
	fromNothing sourceKind = iota
	fromRecord
	fromFiring
)

// source is what an emitted record stems from.
type source struct {
	kind sourceKind
	row  uint32
}

// begin makes an outcome for a call out of one for another; its memory is used again.
func (o *Outcome) begin(batch *batchView, firings *firingsView) {
	o.batch, o.firings = batch, firings
	o.used = 0
	o.kept, o.valued = -1, -1
	o.last = o.last[:0]
	o.rejected = o.rejected[:0]
}

// add begins a segment of a port.
func (o *Outcome) add(port uint32) *segment {
	if o.used == len(o.segments) {
		o.segments = append(o.segments, segment{})
	}
	s := &o.segments[o.used]
	keys, values := s.Keys, s.Values
	keys.Reset()
	values.Reset()
	*s = segment{Emission: contract.Emission{
		Port: port, Keep: s.Keep[:0], Keys: keys, Values: values, Timestamps: s.Timestamps[:0],
	}}
	for len(o.last) <= int(min(port, maxPort)) {
		o.last = append(o.last, -1)
	}
	o.last[min(port, maxPort)] = o.used
	if port == 0 {
		o.kept, o.valued = -1, -1
	}
	o.used++
	return s
}

// The host refuses ports beyond; they share a place, so that nobody can ask for much memory.
const maxPort = 1024

func (o *Outcome) emit(from source, value []byte, hasValue bool, options []Option) {
	var (
		port            uint32
		key             []byte
		time            int64
		hasKey, hasTime bool
	)
	for i := range options {
		switch option := &options[i]; option.what {
		case toPort:
			port = uint32(option.n)
		case withKey:
			key, hasKey = option.key, true
		case withTime:
			time, hasTime = option.n, true
		}
	}
	s := o.segment(port, from.kind, hasKey, hasValue, hasTime)
	if from.kind != fromNothing {
		s.from(from.row)
	}
	// A segment that sets more than this record does takes the rest from its origin.
	if s.HasKeys {
		if !hasKey {
			key = o.originKey(from)
		}
		s.Keys.Append(key)
	}
	if s.HasValues {
		if !hasValue {
			value = o.originValue(from)
		}
		s.Values.Append(value)
	}
	if s.HasTimestamps {
		if !hasTime {
			time = o.originTime(from)
		}
		s.Timestamps = append(s.Timestamps, time)
	}
}

// segment is the one that a record goes to: the port's last, if that sets at least the columns that
// the record sets and has origins of the same kind, or a new one.
func (o *Outcome) segment(port uint32, kind sourceKind, key, value, time bool) *segment {
	if int(port) < len(o.last) && o.last[port] >= 0 {
		s := &o.segments[o.last[port]]
		fresh := kind == fromNothing
		fits := s.Port == port && s.Origin != contract.OriginSame && (s.Origin == contract.OriginFresh) == fresh &&
			(s.HasKeys || !key) && (s.HasValues || !value)
		// What has no time cannot join those that have.
		timed := s.HasTimestamps == time || (s.HasTimestamps && !fresh && o.timed())
		if fits && timed {
			return s
		}
	}
	s := o.add(port)
	s.HasKeys, s.HasValues, s.HasTimestamps = key, value, time
	s.Origin, s.all = contract.OriginKeep, true
	if kind == fromNothing {
		s.Origin, s.all = contract.OriginFresh, false
	}
	if port == 0 && kind == fromRecord && !key && !time {
		if value {
			o.valued = o.used - 1
		} else {
			o.kept = o.used - 1
		}
	}
	return s
}

// timed says whether origins have times.
func (o *Outcome) timed() bool {
	return o.firings != nil || len(o.batch.Timestamps) > 0
}

func (o *Outcome) originKey(from source) []byte {
	switch from.kind {
	case fromRecord:
		return o.batch.Keys.Get(int(from.row))
	case fromFiring:
		return o.firings.key
	}
	return nil
}

func (o *Outcome) originValue(from source) []byte {
	if from.kind == fromRecord {
		return o.batch.Values.Get(int(from.row))
	}
	return nil
}

func (o *Outcome) originTime(from source) int64 {
	switch {
	case from.kind == fromRecord && len(o.batch.Timestamps) > 0:
		return o.batch.Timestamps[from.row]
	case from.kind == fromFiring:
		return o.firings.Times[from.row]
	}
	return 0
}

// finish is the answer to the call; valid until the next one begins.
func (o *Outcome) finish() *contract.Outcome {
	origins := o.batch.Len
	if o.firings != nil {
		origins = len(o.firings.Times)
	}
	o.answer.Emissions = o.answer.Emissions[:0]
	for i := range o.segments[:o.used] {
		s := &o.segments[i]
		emission := s.Emission
		if s.Origin == contract.OriginKeep && s.all && len(s.Keep) == origins {
			emission.Origin, emission.Keep = contract.OriginSame, nil
		}
		o.answer.Emissions = append(o.answer.Emissions, emission)
	}
	o.answer.Rejected = o.rejected
	return &o.answer
}
