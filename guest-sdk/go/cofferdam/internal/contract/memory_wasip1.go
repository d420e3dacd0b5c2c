package contract

import "unsafe"

// What the host passes in is written into an arena, which is empty again when the next call
// begins. Go's collector moves nothing, so memory stays where it is as long as something
// refers to it: the arena does, until then.
var arena struct {
	block []uint64 // the memory at hand
	used  uintptr  // bytes of it
	full  [][]uint64
	// A call has ended; the host has read its answer when it passes arguments in again.
	over bool
}

const (
	firstBlock = 256 << 10
	word       = 8
)

// The host asks for memory, for arguments of a call and for what imports return. Nothing may
// be imported in here; the stub of WASI knows that.
//
//go:wasmexport cabi_realloc
func cabiRealloc(old unsafe.Pointer, was, align, size uint32) unsafe.Pointer {
	beginCall()
	at := allocate(uintptr(size))
	if was > 0 {
		copy(unsafe.Slice((*byte)(at), size), unsafe.Slice((*byte)(old), min(was, size)))
	}
	return at
}

// beginCall empties the arena if the call that it was for is over.
func beginCall() {
	if !arena.over {
		return
	}
	arena.over = false
	arena.used = 0
	if len(arena.full) > 0 {
		clear(arena.full)
		arena.full = arena.full[:0]
	}
}

// allocate returns memory of so many bytes, aligned for anything.
func allocate(size uintptr) unsafe.Pointer {
	size = (size + word - 1) &^ (word - 1)
	if arena.used+size > uintptr(len(arena.block))*word {
		if arena.block != nil {
			arena.full = append(arena.full, arena.block)
		}
		bytes := max(firstBlock, 2*size, uintptr(len(arena.block))*word)
		arena.block = make([]uint64, bytes/word)
		arena.used = 0
	}
	if size == 0 {
		return unsafe.Pointer(&nothing)
	}
	at := unsafe.Pointer(&arena.block[arena.used/word])
	arena.used += size
	return at
}

var nothing uint64

// view is a list that the host wrote.
func view[T any](at, length uint32) []T {
	if length == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(uintptr(at))), length)
}

// list is a list that the host reads. What it refers to must be kept alive until the next call.
type list struct {
	at, len uint32
}

func listOf[T any](of []T) list {
	if len(of) == 0 {
		return list{}
	}
	return list{uint32(uintptr(unsafe.Pointer(unsafe.SliceData(of)))), uint32(len(of))}
}

func listOfText(text string) list {
	if text == "" {
		return list{}
	}
	return list{uint32(uintptr(unsafe.Pointer(unsafe.StringData(text)))), uint32(len(text))}
}
