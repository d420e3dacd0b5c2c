package cofferdam

import (
	"fmt"
	"iter"

	"cofferdam/internal/contract"
)

// batchView is a batch, and which of its records is in hand.
type batchView struct {
	contract.Batch
	doing int
}

// inHand describes the record in hand, for who reports a crash; nothing, if none is.
func (b *batchView) inHand() string {
	if b.doing < 0 || b.doing >= b.Len {
		return ""
	}
	record := Record{b, uint32(b.doing)}
	said := fmt.Sprintf("record %d of the batch's %d", b.doing, b.Len)
	if b.Keys.Len() > 0 {
		said += ", key " + shown(record.Key())
	}
	if time, ok := record.Timestamp(); ok {
		said += fmt.Sprintf(", time %d", time)
	}
	return said + ", value " + shown(record.Value())
}

// shown is the beginning of a key or value.
func shown(data []byte) string {
	const most = 200
	if len(data) <= most {
		return fmt.Sprintf("%q", data)
	}
	return fmt.Sprintf("%q… (%d bytes)", data[:most], len(data))
}

// Batch holds records that came in by one input. It is valid until the method that got it
// returns.
type Batch struct {
	of *batchView
}

// Len is the number of records.
func (b Batch) Len() int { return b.of.Len }

// Input is the input port that the records came in by, from 0.
func (b Batch) Input() int { return int(b.of.Input) }

// Record returns record i.
func (b Batch) Record(i int) Record {
	if uint(i) >= uint(b.of.Len) {
		panic("cofferdam: the batch has no such record")
	}
	return Record{b.of, uint32(i)}
}

// Records are the records in order. Nothing is copied.
func (b Batch) Records() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		of := b.of
		for i := range of.Len {
			of.doing = i
			if !yield(Record{of, uint32(i)}) {
				return
			}
		}
		of.doing = -1
	}
}

// Record is one record of a batch: a view that copies nothing.
type Record struct {
	of    *batchView
	index uint32
}

// Index is the record's index in its batch.
func (r Record) Index() int { return int(r.index) }

// Input is the input port that the record came in by, from 0.
func (r Record) Input() int { return int(r.of.Input) }

// Key is the record's key; empty if the stream has none.
func (r Record) Key() []byte { return r.of.Keys.Get(int(r.index)) }

// Value is the record's value; empty if the stream has none.
func (r Record) Value() []byte { return r.of.Values.Get(int(r.index)) }

// Timestamp is the record's event time in milliseconds since 1970, if the stream has any.
func (r Record) Timestamp() (millis int64, ok bool) {
	if len(r.of.Timestamps) == 0 {
		return 0, false
	}
	return r.of.Timestamps[r.index], true
}
