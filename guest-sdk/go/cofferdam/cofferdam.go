// Package cofferdam is what stream operators for Cofferdam are written with in Go.
//
// An operator is a type, a method that takes batches, and one line that registers it:
//
//	package main
//
//	import (
//		"bytes"
//		"cofferdam"
//	)
//
//	type Operator struct{ contains []byte }
//
//	func (o *Operator) Open(ctx *cofferdam.Context) error {
//		o.contains = []byte(ctx.Config().Text("contains", "error"))
//		return nil
//	}
//
//	func (o *Operator) Process(batch cofferdam.Batch, out *cofferdam.Outcome) error {
//		for record := range batch.Records() {
//			if bytes.Contains(record.Value(), o.contains) {
//				out.Keep(record)
//			}
//		}
//		return nil
//	}
//
//	func init() { cofferdam.Register(&Operator{}) }
//
//	func main() {}
//
// Keys and values are views of memory that is used again: they are valid until the method that
// got them returns. Copy what is to be kept (bytes.Clone, string(...)).
//
// An operator with state by key has Fold and Fire instead, and is registered with
// [RegisterKeyed]. Its tests run natively with package cofferdam/coftest.
package cofferdam

import (
	"fmt"

	"cofferdam/internal/contract"
)

// Processor is an operator whose answer depends on the batch alone, or on what it keeps in its own
// memory. It may also have Open ([Opener]), Finish ([Finisher]), and Snapshot and Restore
// ([Snapshotter]).
type Processor interface {
	// Process takes one batch. An error fails all of it, and with it the job under its restart
	// strategy; to refuse single records, use [Outcome.Reject].
	Process(batch Batch, out *Outcome) error
}

// Opener is an operator that reads its configuration, or prepares something else.
type Opener interface {
	// Open is called once, before anything else. An error is shown to the person who runs the
	// job and stops it.
	Open(ctx *Context) error
}

// Finisher is a [Processor] that has something to say when a bounded input has ended.
type Finisher interface {
	// Finish is called once after the last batch. Emissions stem from nothing ([Outcome.EmitFresh]).
	Finish(out *Outcome) error
}

// Snapshotter is a [Processor] that keeps state in its own memory and can save it. Its world is
// stateful-operator.
type Snapshotter interface {
	// Snapshot returns what a fresh instance needs to go on from here. Choose a format that later
	// versions of the operator can read.
	Snapshot() ([]byte, error)
	// Restore is called after Open and before the first batch, with what Snapshot returned.
	Restore(state []byte) error
}

// Register makes a processor the operator of this program. Call it in init: main is never run.
func Register(operator Processor) {
	contract.Registered = ProcessorContract(operator)
}

// ProcessorContract is for package coftest.
func ProcessorContract(operator Processor) contract.Operator {
	return &processor{operator: operator}
}

// Context is what an operator is told about itself when it is opened.
type Context struct {
	told contract.Context
}

// Operator is the operator's name in the job.
func (c *Context) Operator() string { return c.told.Operator }

// Subtask says which of the operator's parallel instances this is, from 0.
func (c *Context) Subtask() int { return int(c.told.Subtask) }

// Parallelism is how many parallel instances the operator has.
func (c *Context) Parallelism() int { return int(c.told.Parallelism) }

// Inputs is how many inputs are connected.
func (c *Context) Inputs() int { return int(c.told.Inputs) }

// Outputs is how many output ports have names in the job file.
func (c *Context) Outputs() int { return int(c.told.Outputs) }

// Config is the operator's configuration: its config table in the job file.
func (c *Context) Config() Config { return Config{} }

// processor drives a Processor as the contract says.
type processor struct {
	operator Processor
	out      Outcome
	batch    batchView
}

// Batches must not be kept, so the one at hand is always the same.
func (p *processor) Open(told contract.Context) error {
	if opener, ok := p.operator.(Opener); ok {
		return opener.Open(&Context{told})
	}
	return nil
}

func (p *processor) Process(batch *contract.Batch) (*contract.Outcome, error) {
	p.batch.Batch, p.batch.doing = *batch, -1
	p.out.begin(&p.batch, nil)
	if err := p.operator.Process(Batch{&p.batch}, &p.out); err != nil {
		return nil, err
	}
	p.batch.doing = -1
	return p.out.finish(), nil
}

func (p *processor) Finish() (*contract.Outcome, error) {
	p.batch.Batch, p.batch.doing = contract.Batch{}, -1
	p.out.begin(&p.batch, nil)
	if finisher, ok := p.operator.(Finisher); ok {
		if err := finisher.Finish(&p.out); err != nil {
			return nil, err
		}
	}
	return p.out.finish(), nil
}

func (p *processor) Snapshot() ([]byte, error) {
	if s, ok := p.operator.(Snapshotter); ok {
		return s.Snapshot()
	}
	return nil, lacks(p.operator, "Snapshot")
}

func (p *processor) Restore(state []byte) error {
	if s, ok := p.operator.(Snapshotter); ok {
		return s.Restore(state)
	}
	return lacks(p.operator, "Restore")
}

func (p *processor) Fold(contract.Now, *contract.Batch, *contract.Groups) (*contract.Outcome, error) {
	return nil, lacks(p.operator, "Fold")
}

func (p *processor) Fire(contract.Now, *contract.Firings, *contract.Groups) (*contract.Outcome, error) {
	return nil, lacks(p.operator, "Fire")
}

func (p *processor) Merge(_, _, _ *contract.Column) (*contract.Column, error) {
	return nil, lacks(p.operator, "Merge")
}

func (p *processor) Check(_, _ *contract.Column) error { return lacks(p.operator, "state by key") }

func (p *processor) InHand() string { return p.batch.inHand() }

func lacks(operator any, what string) error {
	return fmt.Errorf("%T has no %s: is `world` in operator.toml that of another operator?", operator, what)
}
