// Package contract has the contract between Cofferdam and its operators (wit/) as Go's types,
// and nothing of what authors see. The host's side of it is the platform: in WebAssembly the
// host itself (wasip1.go), elsewhere whoever records what is asked for (native.go).
package contract

// Column is a column of byte strings in Arrow's variable-size binary layout: entry i is
// Data[Offsets[i]:Offsets[i+1]]. One without offsets is absent: every entry is empty.
type Column struct {
	Data    []byte
	Offsets []uint32
}

// Get returns entry i; it is empty if the column is absent. It is a view.
func (c *Column) Get(i int) []byte {
	if len(c.Offsets) == 0 {
		return nil
	}
	from, to := c.Offsets[i], c.Offsets[i+1]
	return c.Data[from:to:to]
}

// Len is the number of entries; 0 if the column is absent.
func (c *Column) Len() int {
	return max(len(c.Offsets), 1) - 1
}

// Append adds an entry.
func (c *Column) Append(entry []byte) {
	c.Data = append(c.Data, entry...)
	c.Close()
}

// Close ends the entry that was written to the end of Data.
func (c *Column) Close() {
	if len(c.Offsets) == 0 {
		c.Offsets = append(c.Offsets, 0)
	}
	c.Offsets = append(c.Offsets, uint32(len(c.Data)))
}

// Reset removes all entries and keeps their memory.
func (c *Column) Reset() {
	c.Data, c.Offsets = c.Data[:0], c.Offsets[:0]
}

// Batch holds records as they came in by one input.
type Batch struct {
	Input      uint32
	Len        int
	Keys       Column
	Values     Column
	Timestamps []int64
}

// Context is what an operator is told about itself.
type Context struct {
	Operator                              string
	Subtask, Parallelism, Inputs, Outputs uint32
}

// Now is what time it is.
type Now struct {
	HasWatermark bool
	Watermark    int64
	Processing   int64
}

// Groups are the distinct keys of a call, or pairs of key and window.
type Groups struct {
	Keys, States             Column
	WindowStarts, WindowEnds []int64
	Rows, RowOffsets         []uint32
}

// Firings are what is due, one entry a firing.
type Firings struct {
	Kinds []uint8
	Times []int64
}

// The kinds of firings and timers, as the contract numbers them.
const (
	FiringWindow = iota
	FiringEvent
	FiringProcessing
)

// Timer of a group. It crosses as it stands in memory.
type Timer struct {
	Group uint32
	Kind  uint8
	_     [3]byte
	At    int64
}

// Origins of emissions, as the contract numbers them.
const (
	OriginFresh = iota
	OriginSame
	OriginKeep
)

// Emission is records for one port.
type Emission struct {
	Port   uint32
	Origin uint8
	Keep   []uint32
	// Columns that are given; what is not comes from the origin.
	HasKeys, HasValues, HasTimestamps bool
	Keys, Values                      Column
	Timestamps                        []int64
}

// Rejection of a record.
type Rejection struct {
	Index  uint32
	Reason string
}

// Outcome is what an operator made of a call; the fields from Changed on are of keyed ones.
type Outcome struct {
	Emissions []Emission
	Rejected  []Rejection

	Changed                 []uint32
	States                  Column
	SetTimers, DeleteTimers []Timer
}

// Operator is one as the host sees it: the exports of every world, of which a component has
// those of its own. An answer is valid until the next call.
type Operator interface {
	Open(Context) error
	Process(*Batch) (*Outcome, error)
	Finish() (*Outcome, error)
	Fold(Now, *Batch, *Groups) (*Outcome, error)
	Fire(Now, *Firings, *Groups) (*Outcome, error)
	Merge(keys, left, right *Column) (*Column, error)
	Check(keys, states *Column) error
	Snapshot() ([]byte, error)
	Restore([]byte) error
	// InHand describes the record in hand, or the key, for who reports a crash; nothing if none is.
	InHand() string
}

// Registered is the operator that the exports call.
var Registered Operator
