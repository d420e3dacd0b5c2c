package cofferdam

import (
	"encoding/json"
	"errors"
)

// Codec turns states into the bytes that the host keeps, and back. A state is never encoded as
// nothing: that means that there is none.
type Codec[S any] interface {
	// Encode appends a state to dst.
	Encode(dst []byte, state S) ([]byte, error)
	// Decode reads what Encode wrote. The bytes are valid until it returns.
	Decode(data []byte) (S, error)
}

// JSON keeps states as JSON, which can be read in checkpoints and by other languages, and to which
// fields can be added. It is the default.
func JSON[S any]() Codec[S] { return jsonCodec[S]{} }

type jsonCodec[S any] struct{}

func (jsonCodec[S]) Encode(dst []byte, state S) ([]byte, error) {
	data, err := json.Marshal(state)
	return append(dst, data...), err
}

func (jsonCodec[S]) Decode(data []byte) (state S, err error) {
	err = json.Unmarshal(data, &state)
	return state, err
}

var errEmptyState = errors.New("the codec wrote nothing, which would mean that there is no state")
