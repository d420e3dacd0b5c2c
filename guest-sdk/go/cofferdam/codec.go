package cofferdam

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"unsafe"
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

// Plain keeps states as they lie in memory, which takes a hundredth of the time of [JSON]. It is for
// numbers, bools, and arrays and structs of them, without gaps between fields; it panics if S is
// something else. States that another type left are refused if it had another size, and are taken for
// what they are not if it had the same: put a version into S.
func Plain[S any]() Codec[S] {
	if why := notPlain(reflect.TypeFor[S]()); why != "" {
		panic("cofferdam.Plain: " + why)
	}
	return plainCodec[S]{}
}

type plainCodec[S any] struct{}

func (plainCodec[S]) Encode(dst []byte, state S) ([]byte, error) {
	return append(dst, unsafe.Slice((*byte)(unsafe.Pointer(&state)), unsafe.Sizeof(state))...), nil
}

func (plainCodec[S]) Decode(data []byte) (state S, err error) {
	if uintptr(len(data)) != unsafe.Sizeof(state) {
		return state, fmt.Errorf("it has %d bytes, and a %T has %d", len(data), state, unsafe.Sizeof(state))
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&state)), unsafe.Sizeof(state)), data)
	return state, nil
}

// notPlain says why a type is none that can be kept as it lies in memory.
func notPlain(t reflect.Type) string {
	switch kind := t.Kind(); {
	case kind == reflect.Int || kind == reflect.Uint || kind == reflect.Uintptr:
		return fmt.Sprintf("%v has another size on other machines: take int64, or the like", t)
	case kind >= reflect.Bool && kind <= reflect.Complex128:
		return ""
	case kind == reflect.Array:
		return notPlain(t.Elem())
	case kind == reflect.Struct:
		end := uintptr(0)
		for i := range t.NumField() {
			field := t.Field(i)
			if why := notPlain(field.Type); why != "" {
				return why
			}
			if field.Offset != end {
				return fmt.Sprintf("there is a gap before %v.%s: put wide fields first", t, field.Name)
			}
			end += field.Type.Size()
		}
		if end != t.Size() || end == 0 {
			return fmt.Sprintf("there is a gap at the end of %v, or nothing in it", t)
		}
		return ""
	}
	return fmt.Sprintf("%v refers to memory elsewhere", t)
}
