//go:build !wasip1

package contract

import "encoding/json"

// Recorder is the host's side where there is no host.
type Recorder struct {
	Config    map[string]json.RawMessage
	Log       func(level uint8, message string)
	Counter   func(name string, delta uint64)
	Gauge     func(name string, value float64)
	Histogram func(name string, value float64)
}

// Recording is who records now; nobody, if nil.
var Recording *Recorder

// Log writes a line.
func Log(level uint8, message string) {
	if Recording != nil && Recording.Log != nil {
		Recording.Log(level, message)
	}
}

// ConfigGet returns the value of a key: text as it is, anything else as JSON.
func ConfigGet(key string) (string, bool) {
	if Recording == nil {
		return "", false
	}
	value, ok := Recording.Config[key]
	if !ok {
		return "", false
	}
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text, true
	}
	return string(value), true
}

// ConfigAll returns the configuration as a JSON object.
func ConfigAll() string {
	if Recording == nil || Recording.Config == nil {
		return "{}"
	}
	all, err := json.Marshal(Recording.Config)
	if err != nil {
		return "{}"
	}
	return string(all)
}

// CounterAdd adds to a counter.
func CounterAdd(name string, delta uint64) {
	if Recording != nil && Recording.Counter != nil {
		Recording.Counter(name, delta)
	}
}

// GaugeSet sets a gauge.
func GaugeSet(name string, value float64) {
	if Recording != nil && Recording.Gauge != nil {
		Recording.Gauge(name, value)
	}
}

// HistogramRecord adds an observation.
func HistogramRecord(name string, value float64) {
	if Recording != nil && Recording.Histogram != nil {
		Recording.Histogram(name, value)
	}
}
