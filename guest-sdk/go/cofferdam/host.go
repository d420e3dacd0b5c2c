package cofferdam

import (
	"encoding/json"
	"fmt"
	"strconv"

	"cofferdam/internal/contract"
)

// Config is an operator's configuration: its config table in the job file.
type Config struct{}

// Get is the value of a key: text as it is, anything else as JSON.
func (Config) Get(key string) (value string, ok bool) { return contract.ConfigGet(key) }

// Text is the value of a key, or a default.
func (c Config) Text(key, otherwise string) string {
	if value, ok := c.Get(key); ok {
		return value
	}
	return otherwise
}

// Int is the value of a key as a whole number, or a default. The error names the key.
func (c Config) Int(key string, otherwise int64) (int64, error) {
	value, ok := c.Get(key)
	if !ok {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("config: %s is %q, and must be a whole number", key, value)
	}
	return n, nil
}

// Float is the value of a key as a number, or a default. The error names the key.
func (c Config) Float(key string, otherwise float64) (float64, error) {
	value, ok := c.Get(key)
	if !ok {
		return otherwise, nil
	}
	n, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return 0, fmt.Errorf("config: %s is %q, and must be a number", key, value)
	}
	return n, nil
}

// Decode reads the whole configuration, a JSON object, into a struct of yours.
func (Config) Decode(into any) error {
	if err := json.Unmarshal([]byte(contract.ConfigAll()), into); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return nil
}

// Level is how important a log line is.
type Level uint8

// The levels.
const (
	LevelTrace Level = iota
	LevelDebug
	LevelInfo
	LevelWarn
	LevelError
)

// Log writes a line to the operator's log. The host cuts long messages and floods. For log/slog
// there is package cofferdam/coflog.
func Log(level Level, message string) { contract.Log(uint8(level), message) }

// Logf writes a line, formatted as by fmt.Sprintf.
func Logf(level Level, format string, values ...any) { Log(level, fmt.Sprintf(format, values...)) }

// AddToCounter adds to a counter of the operator's own. The host adds tenant, job, operator and
// subtask to its name.
func AddToCounter(name string, delta uint64) { contract.CounterAdd(name, delta) }

// SetGauge sets a gauge of the operator's own.
func SetGauge(name string, value float64) { contract.GaugeSet(name, value) }

// Observe adds an observation to a histogram of the operator's own.
func Observe(name string, value float64) { contract.HistogramRecord(name, value) }
