;; What QuickJS has no native code for, in native code: UTF-8 both ways, and work on whole columns
;; of bytes. build.mjs links `columns.wasm`, made of this, into every component that runs on
;; QuickJS: `wasm-tools parse columns.wat -o columns.wasm`. What calls it: text.js, column.js.
;;
;; A call's arguments are put one behind the other from the address `$free` on, most answers are
;; written over them, and after the call all of it is free again. At 0 stands what a call answers.
(component
  (core module $columns
    (memory (export "memory") 1)
    (global $start i32 (i32.const 16))
    (global $free (mut i32) (i32.const 16))

    ;; Canonical ABI: room for an argument.
    (func (export "realloc")
      (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32) (local $end i32) (local $pages i32)
      (local.set $at
        (i32.and
          (i32.add (global.get $free) (i32.sub (local.get $align) (i32.const 1)))
          (i32.sub (i32.const 0) (local.get $align))))
      (local.set $end (i32.add (local.get $at) (local.get $size)))
      ;; Beyond 2 GiB there is nothing.
      (if (i32.or
            (i32.lt_s (local.get $end) (i32.const 0))
            (i32.lt_u (local.get $end) (local.get $at)))
        (then (unreachable)))
      (local.set $pages
        (i32.sub
          (i32.shr_u (i32.add (local.get $end) (i32.const 65535)) (i32.const 16))
          (memory.size)))
      (if (i32.gt_s (local.get $pages) (i32.const 0))
        (then
          (if (i32.eq (memory.grow (local.get $pages)) (i32.const -1)) (then (unreachable)))))
      (global.set $free (local.get $end))
      (if (local.get $old_size)
        (then (memory.copy (local.get $at) (local.get $old) (local.get $old_size))))
      (local.get $at))

    ;; Canonical ABI: the answer has been read.
    (func (export "done") (param i32)
      (global.set $free (global.get $start)))

    ;; Answers `some` bytes.
    (func $some (param $at i32) (param $length i32) (result i32)
      (i32.store (i32.const 0) (i32.const 1))
      (i32.store (i32.const 4) (local.get $at))
      (i32.store (i32.const 8) (local.get $length))
      (i32.const 0))

    (func $none (result i32)
      (i32.store (i32.const 0) (i32.const 0))
      (i32.const 0))

    ;; Answers bytes.
    (func $bytes (param $at i32) (param $length i32) (result i32)
      (i32.store (i32.const 0) (local.get $at))
      (i32.store (i32.const 4) (local.get $length))
      (i32.const 0))

    ;; Whether a byte goes on with a character.
    (func $goes_on (param $at i32) (result i32)
      (i32.eq (i32.and (i32.load8_u (local.get $at)) (i32.const 0xc0)) (i32.const 0x80)))

    ;; Whether these bytes are UTF-8: no overlong forms, no surrogates, nothing beyond U+10FFFF.
    (func $is_utf8 (param $at i32) (param $length i32) (result i32)
      (local $end i32) (local $byte i32) (local $more i32) (local $low i32) (local $high i32)
      (local.set $end (i32.add (local.get $at) (local.get $length)))
      (loop $next
        (block $not_ascii
          (loop $ascii
            (br_if $not_ascii
              (i32.lt_u (i32.sub (local.get $end) (local.get $at)) (i32.const 8)))
            (br_if $not_ascii
              (i64.ne
                (i64.and (i64.load (local.get $at)) (i64.const 0x8080808080808080))
                (i64.const 0)))
            (local.set $at (i32.add (local.get $at) (i32.const 8)))
            (br $ascii)))
        (if (i32.ge_u (local.get $at) (local.get $end)) (then (return (i32.const 1))))
        (local.set $byte (i32.load8_u (local.get $at)))
        (if (i32.lt_u (local.get $byte) (i32.const 0x80))
          (then
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br $next)))
        (local.set $low (i32.const 0x80))
        (local.set $high (i32.const 0xbf))
        (if (i32.lt_u (local.get $byte) (i32.const 0xc2)) (then (return (i32.const 0))))
        (if (i32.lt_u (local.get $byte) (i32.const 0xe0))
          (then (local.set $more (i32.const 1)))
          (else
            (if (i32.lt_u (local.get $byte) (i32.const 0xf0))
              (then
                (local.set $more (i32.const 2))
                (if (i32.eq (local.get $byte) (i32.const 0xe0))
                  (then (local.set $low (i32.const 0xa0))))
                (if (i32.eq (local.get $byte) (i32.const 0xed))
                  (then (local.set $high (i32.const 0x9f)))))
              (else
                (if (i32.gt_u (local.get $byte) (i32.const 0xf4)) (then (return (i32.const 0))))
                (local.set $more (i32.const 3))
                (if (i32.eq (local.get $byte) (i32.const 0xf0))
                  (then (local.set $low (i32.const 0x90))))
                (if (i32.eq (local.get $byte) (i32.const 0xf4))
                  (then (local.set $high (i32.const 0x8f))))))))
        (if (i32.le_u (i32.sub (local.get $end) (local.get $at)) (local.get $more))
          (then (return (i32.const 0))))
        (local.set $byte (i32.load8_u offset=1 (local.get $at)))
        (if (i32.or
              (i32.lt_u (local.get $byte) (local.get $low))
              (i32.gt_u (local.get $byte) (local.get $high)))
          (then (return (i32.const 0))))
        (if (i32.gt_u (local.get $more) (i32.const 1))
          (then
            (if (i32.eqz (call $goes_on (i32.add (local.get $at) (i32.const 2))))
              (then (return (i32.const 0))))))
        (if (i32.gt_u (local.get $more) (i32.const 2))
          (then
            (if (i32.eqz (call $goes_on (i32.add (local.get $at) (i32.const 3))))
              (then (return (i32.const 0))))))
        (local.set $at (i32.add (i32.add (local.get $at) (local.get $more)) (i32.const 1)))
        (br $next))
      (unreachable))

    ;; How many UTF-16 units a character has, by its first byte.
    (func $units_of (param $byte i32) (result i32)
      (select (i32.const 2) (i32.const 1) (i32.ge_u (local.get $byte) (i32.const 0xf0))))

    ;; How many bytes it has.
    (func $bytes_of (param $byte i32) (result i32)
      (if (result i32) (i32.lt_u (local.get $byte) (i32.const 0xe0))
        (then
          (select (i32.const 1) (i32.const 2) (i32.lt_u (local.get $byte) (i32.const 0x80))))
        (else
          (select (i32.const 3) (i32.const 4) (i32.lt_u (local.get $byte) (i32.const 0xf0))))))

    (func (export "decode") (param $at i32) (param $length i32) (result i32)
      (if (result i32) (call $is_utf8 (local.get $at) (local.get $length))
        (then (call $some (local.get $at) (local.get $length)))
        (else (call $none))))

    (func (export "encode") (param $at i32) (param $length i32) (result i32)
      (call $bytes (local.get $at) (local.get $length)))

    ;; Places in UTF-8, in order, as places in UTF-16, or the other way round; none if one is not
    ;; between two characters.
    (func $places
      (param $data i32) (param $length i32) (param $list i32) (param $count i32)
      (param $to_units i32) (result i32)
      (local $bytes i32) (local $units i32) (local $i i32) (local $byte i32)
      (local $here i32) (local $wanted i32) (local $slot i32)
      (block $all
        (loop $each
          (br_if $all (i32.ge_u (local.get $i) (local.get $count)))
          (local.set $slot
            (i32.add (local.get $list) (i32.shl (local.get $i) (i32.const 2))))
          (local.set $wanted (i32.load (local.get $slot)))
          (block $there
            (loop $on
              (local.set $here
                (select (local.get $bytes) (local.get $units) (local.get $to_units)))
              (br_if $there (i32.eq (local.get $here) (local.get $wanted)))
              (if (i32.or
                    (i32.gt_u (local.get $here) (local.get $wanted))
                    (i32.ge_u (local.get $bytes) (local.get $length)))
                (then (return (call $none))))
              (local.set $byte (i32.load8_u (i32.add (local.get $data) (local.get $bytes))))
              (local.set $units
                (i32.add (local.get $units) (call $units_of (local.get $byte))))
              (local.set $bytes
                (i32.add (local.get $bytes) (call $bytes_of (local.get $byte))))
              (br $on)))
          (i32.store
            (local.get $slot)
            (select (local.get $units) (local.get $bytes) (local.get $to_units)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $each)))
      (call $some (local.get $list) (i32.shl (local.get $count) (i32.const 2))))

    (func (export "units")
      (param $data i32) (param $length i32) (param $list i32) (param $count i32) (result i32)
      (call $places (local.get $data) (local.get $length) (local.get $list) (local.get $count)
        (i32.const 1)))

    (func (export "places")
      (param $data i32) (param $length i32) (param $list i32) (param $count i32) (result i32)
      (call $places (local.get $data) (local.get $length) (local.get $list) (local.get $count)
        (i32.const 0)))

    ;; Every byte becomes what the table has for it.
    (func (export "translate")
      (param $data i32) (param $length i32) (param $table i32) (param $size i32) (result i32)
      (local $at i32) (local $end i32)
      (if (i32.ne (local.get $size) (i32.const 256)) (then (unreachable)))
      (local.set $at (local.get $data))
      (local.set $end (i32.add (local.get $data) (local.get $length)))
      (block $all
        (loop $each
          (br_if $all (i32.ge_u (local.get $at) (local.get $end)))
          (i32.store8
            (local.get $at)
            (i32.load8_u (i32.add (local.get $table) (i32.load8_u (local.get $at)))))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br $each)))
      (call $bytes (local.get $data) (local.get $length)))

    ;; Which values have the needle in them, which is not empty. Rows are written over offsets
    ;; that are done with.
    (func (export "containing")
      (param $data i32) (param $length i32) (param $offsets i32) (param $count i32)
      (param $needle i32) (param $size i32) (result i32)
      (local $row i32) (local $at i32) (local $last i32) (local $j i32)
      (local $first i32) (local $found i32)
      (local.set $first (i32.load8_u (local.get $needle)))
      (local.set $found (local.get $offsets))
      (block $all
        (loop $each
          (br_if $all
            (i32.ge_u (i32.add (local.get $row) (i32.const 1)) (local.get $count)))
          (local.set $last
            (i32.add (local.get $offsets) (i32.shl (local.get $row) (i32.const 2))))
          (local.set $at (i32.add (local.get $data) (i32.load (local.get $last))))
          (local.set $last
            (i32.sub
              (i32.add (local.get $data) (i32.load offset=4 (local.get $last)))
              (local.get $size)))
          (block $not_here
            (loop $on
              (br_if $not_here (i32.gt_s (local.get $at) (local.get $last)))
              (if (i32.ne (i32.load8_u (local.get $at)) (local.get $first))
                (then
                  (local.set $at (i32.add (local.get $at) (i32.const 1)))
                  (br $on)))
              (local.set $j (i32.const 1))
              (block $differs
                (loop $compare
                  (if (i32.eq (local.get $j) (local.get $size))
                    (then
                      (i32.store (local.get $found) (local.get $row))
                      (local.set $found (i32.add (local.get $found) (i32.const 4)))
                      (br $not_here)))
                  (br_if $differs
                    (i32.ne
                      (i32.load8_u (i32.add (local.get $at) (local.get $j)))
                      (i32.load8_u (i32.add (local.get $needle) (local.get $j)))))
                  (local.set $j (i32.add (local.get $j) (i32.const 1)))
                  (br $compare)))
              (local.set $at (i32.add (local.get $at) (i32.const 1)))
              (br $on)))
          (local.set $row (i32.add (local.get $row) (i32.const 1)))
          (br $each)))
      (call $bytes
        (local.get $offsets)
        (i32.sub (local.get $found) (local.get $offsets))))
  )

  (core instance $c (instantiate $columns))
  (alias core export $c "memory" (core memory $memory))
  (alias core export $c "realloc" (core func $realloc))
  (alias core export $c "done" (core func $done))
  (alias core export $c "decode" (core func $decode))
  (func (export "decode") (param "data" (list u8)) (result (option string))
    (canon lift (core func $decode) (memory (core memory $memory)) (realloc (core func $realloc)) (post-return (core func $done))))
  (alias core export $c "encode" (core func $encode))
  (func (export "encode") (param "text" string) (result (list u8))
    (canon lift (core func $encode) (memory (core memory $memory)) (realloc (core func $realloc)) (post-return (core func $done))))
  (alias core export $c "units" (core func $units))
  (func (export "units") (param "data" (list u8)) (param "places" (list u32)) (result (option (list u8)))
    (canon lift (core func $units) (memory (core memory $memory)) (realloc (core func $realloc)) (post-return (core func $done))))
  (alias core export $c "places" (core func $places))
  (func (export "places") (param "data" (list u8)) (param "units" (list u32)) (result (option (list u8)))
    (canon lift (core func $places) (memory (core memory $memory)) (realloc (core func $realloc)) (post-return (core func $done))))
  (alias core export $c "translate" (core func $translate))
  (func (export "translate") (param "data" (list u8)) (param "table" (list u8)) (result (list u8))
    (canon lift (core func $translate) (memory (core memory $memory)) (realloc (core func $realloc)) (post-return (core func $done))))
  (alias core export $c "containing" (core func $containing))
  (func (export "containing") (param "data" (list u8)) (param "offsets" (list u32)) (param "needle" (list u8))
    (result (list u8))
    (canon lift (core func $containing) (memory (core memory $memory)) (realloc (core func $realloc)) (post-return (core func $done))))
)
