package contract

import "unsafe"

//go:wasmimport cofferdam:operator/log@0.1.0 log
//go:noescape
func hostLog(level uint32, message string)

//go:wasmimport cofferdam:operator/config@0.1.0 get
func hostConfigGet(key string, result unsafe.Pointer)

//go:wasmimport cofferdam:operator/config@0.1.0 all
func hostConfigAll(result unsafe.Pointer)

//go:wasmimport cofferdam:operator/metrics@0.1.0 counter-add
//go:noescape
func hostCounterAdd(name string, delta uint64)

//go:wasmimport cofferdam:operator/metrics@0.1.0 gauge-set
//go:noescape
func hostGaugeSet(name string, value float64)

//go:wasmimport cofferdam:operator/metrics@0.1.0 histogram-record
//go:noescape
func hostHistogramRecord(name string, value float64)

// Log writes a line.
func Log(level uint8, message string) { hostLog(uint32(level), message) }

// Where the host writes what imports return: a list, or an optional one.
var returned [3]uint32

// ConfigGet returns the value of a key: text as it is, anything else as JSON.
func ConfigGet(key string) (string, bool) {
	hostConfigGet(key, unsafe.Pointer(&returned))
	if uint8(returned[0]) == 0 {
		return "", false
	}
	return string(view[byte](returned[1], returned[2])), true
}

// ConfigAll returns the configuration as a JSON object.
func ConfigAll() string {
	hostConfigAll(unsafe.Pointer(&returned))
	return string(view[byte](returned[0], returned[1]))
}

// CounterAdd adds to a counter.
func CounterAdd(name string, delta uint64) { hostCounterAdd(name, delta) }

// GaugeSet sets a gauge.
func GaugeSet(name string, value float64) { hostGaugeSet(name, value) }

// HistogramRecord adds an observation.
func HistogramRecord(name string, value float64) { hostHistogramRecord(name, value) }
