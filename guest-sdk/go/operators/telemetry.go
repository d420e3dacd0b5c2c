package main

import (
	"errors"

	"cofferdam"
)

// Operator keeps everything, and shows how to log and to measure.
type Operator struct {
	every, seen int64
}

// Open reads the configuration.
func (o *Operator) Open(ctx *cofferdam.Context) (err error) {
	greeting, ok := ctx.Config().Get("greeting")
	if !ok {
		return errors.New("config: greeting is missing")
	}
	if o.every, err = ctx.Config().Int("every", 2); err != nil {
		return err
	}
	o.every = max(o.every, 1)
	cofferdam.Logf(cofferdam.LevelInfo, "%s, subtask %d of %d", greeting, ctx.Subtask(), ctx.Parallelism())
	return nil
}

// Process takes one batch.
func (o *Operator) Process(batch cofferdam.Batch, out *cofferdam.Outcome) error {
	cofferdam.AddToCounter("records", uint64(batch.Len()))
	for record := range batch.Records() {
		bytes := float64(len(record.Value()))
		cofferdam.Observe("value_bytes", bytes)
		cofferdam.SetGauge("last_value_bytes", bytes)
		o.seen++
		if o.seen%o.every == 0 {
			cofferdam.Logf(cofferdam.LevelDebug, "record %d: %s", o.seen, record.Value())
		}
	}
	out.KeepAll(0)
	return nil
}

func init() { cofferdam.Register(&Operator{}) }

func main() {}
