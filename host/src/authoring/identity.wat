;; An operator that passes every batch on as it is, and does nothing else: what a crossing costs.
;; Laid out by hand as the canonical ABI has it, so that no compiler's taste is in the figure.
(module
  (memory (export "memory") 1)
  ;; Where the next argument of a call goes. All of them are forgotten when a batch was answered.
  (global $next (mut i32) (i32.const 1024))

  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32) (local $end i32)
    ;; Up to the alignment, which is 8 at most.
    (local.set $at
      (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (local.set $end (i32.add (local.get $at) (local.get 3)))
    (block $fits
      (br_if $fits
        (i32.le_u (local.get $end) (i32.shl (memory.size) (i32.const 16))))
      (drop (memory.grow
        (i32.sub
          (i32.shr_u (i32.add (local.get $end) (i32.const 65535)) (i32.const 16))
          (memory.size)))))
    (global.set $next (local.get $end))
    (local.get $at))

  ;; result<_, string> at 16: ok.
  (func (export "cofferdam:operator/processor@0.1.0#open")
    (param i32 i32 i32 i32 i32 i32) (result i32)
    (global.set $next (i32.const 1024))
    (i32.const 16))

  ;; result<outcome, string> at 48: ok, one emission at 96, nothing rejected.
  (func (export "cofferdam:operator/processor@0.1.0#process")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (global.set $next (i32.const 1024))
    (i32.store (i32.const 52) (i32.const 96))
    (i32.store (i32.const 56) (i32.const 1))
    (i32.store (i32.const 60) (i32.const 96))
    (i32.store (i32.const 64) (i32.const 0))
    ;; Port 0; the origin is `same`; no new keys, values or times.
    (i32.store (i32.const 96) (i32.const 0))
    (i32.store8 (i32.const 100) (i32.const 1))
    (i32.const 48))

  (func (export "cofferdam:operator/processor@0.1.0#finish") (result i32)
    (i32.store (i32.const 52) (i32.const 96))
    (i32.store (i32.const 56) (i32.const 0))
    (i32.store (i32.const 60) (i32.const 96))
    (i32.store (i32.const 64) (i32.const 0))
    (i32.const 48)))
