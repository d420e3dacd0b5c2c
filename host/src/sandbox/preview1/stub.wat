;; WASI preview 1 for those who have no authority: what compilers' C libraries and runtimes
;; ask for, answered without asking anybody. Nothing depends on the machine or on the time.
;;
;; - What is written to standard output and standard error goes to the contract's `log`, line by
;;   line, at the levels `info` and `error`; a part of a line waits for its end.
;; - The clock stands still. Who sleeps moves it on by as much.
;; - Random numbers are always the same ones.
;; - There are no arguments, no variables, no files and no network.
;; - `proc_exit` is a trap.
;;
;; While the host passes arguments in or takes results back, nothing may be imported: a call traps
;; with `cannot leave component instance`. The module that this one is for says so in a global
;; (`shut.rs` adds it), and lines wait meanwhile.
;;
;; `stub.wasm` beside it is made of this text: `COFFERDAM_BLESS=1 cargo test -p cofferdam
;; preview1` writes it, and the test holds it to this text. The rules for such modules are those of
;; wit-component: no memory, no table and no data of their own. So the lines that wait are in the
;; module's memory: in room that `shut.rs` knows of, or in a page by which the memory is made longer
;; when something is written first.
(module
  (import "cofferdam:operator/log@0.1.0" "log" (func $log (param i32 i32 i32)))
  (import "__main_module__" "cofferdam:shut" (global $shut (mut i32)))
  (import "__main_module__" "cofferdam:room" (global $room i32))
  (import "env" "memory" (memory 0))

  ;; Nanoseconds by which sleepers have moved the clock.
  (global $slept (mut i64) (i64.const 0))
  ;; State of the random numbers (splitmix64), with the seed that they begin with.
  (global $random (mut i64) (i64.const 0x636f66666572646d))
  ;; Room for lines that wait: 4 KiB for each stream. 0: there is none yet; 1: it was refused.
  (global $page (mut i32) (global.get $room))
  ;; How many bytes of each stream wait.
  (global $out (mut i32) (i32.const 0))
  (global $err (mut i32) (i32.const 0))

  ;; ---- Lines -------------------------------------------------------------------------------

  ;; Where the lines of a stream wait.
  (func $buffer (param $fd i32) (result i32)
    (i32.add (global.get $page)
      (i32.shl (i32.sub (local.get $fd) (i32.const 1)) (i32.const 12))))

  (func $used (param $fd i32) (result i32)
    (select (global.get $out) (global.get $err) (i32.eq (local.get $fd) (i32.const 1))))

  (func $set_used (param $fd i32) (param $to i32)
    (if (i32.eq (local.get $fd) (i32.const 1))
      (then (global.set $out (local.get $to)))
      (else (global.set $err (local.get $to)))))

  ;; Makes sure that there is room; 0 if there is none to be had.
  (func $paged (result i32)
    (local $at i32)
    (if (i32.eqz (global.get $page))
      (then
        (local.set $at (memory.grow (i32.const 1)))
        (global.set $page
          (select (i32.const 1) (i32.shl (local.get $at) (i32.const 16))
            (i32.eq (local.get $at) (i32.const -1))))))
    (i32.ne (global.get $page) (i32.const 1)))

  ;; How many bytes the character at an address takes; 0 if it is not UTF-8 (the Unicode
  ;; Standard, table 3-7).
  (func $character (param $at i32) (param $end i32) (result i32)
    (local $lead i32) (local $second i32) (local $length i32) (local $low i32) (local $high i32)
    (local.set $lead (i32.load8_u (local.get $at)))
    (if (i32.lt_u (local.get $lead) (i32.const 0x80)) (then (return (i32.const 1))))
    (if (i32.or (i32.lt_u (local.get $lead) (i32.const 0xc2))
                (i32.gt_u (local.get $lead) (i32.const 0xf4)))
      (then (return (i32.const 0))))
    (local.set $length
      (i32.add (i32.const 2)
        (i32.add (i32.ge_u (local.get $lead) (i32.const 0xe0))
                 (i32.ge_u (local.get $lead) (i32.const 0xf0)))))
    (if (i32.gt_u (local.get $length) (i32.sub (local.get $end) (local.get $at)))
      (then (return (i32.const 0))))
    (local.set $low (i32.const 0x80))
    (local.set $high (i32.const 0xbf))
    (if (i32.eq (local.get $lead) (i32.const 0xe0)) (then (local.set $low (i32.const 0xa0))))
    (if (i32.eq (local.get $lead) (i32.const 0xed)) (then (local.set $high (i32.const 0x9f))))
    (if (i32.eq (local.get $lead) (i32.const 0xf0)) (then (local.set $low (i32.const 0x90))))
    (if (i32.eq (local.get $lead) (i32.const 0xf4)) (then (local.set $high (i32.const 0x8f))))
    (local.set $second (i32.load8_u offset=1 (local.get $at)))
    (if (i32.or (i32.lt_u (local.get $second) (local.get $low))
                (i32.gt_u (local.get $second) (local.get $high)))
      (then (return (i32.const 0))))
    (if (i32.ge_u (local.get $length) (i32.const 3))
      (then
        (if (i32.ne (i32.and (i32.load8_u offset=2 (local.get $at)) (i32.const 0xc0))
                    (i32.const 0x80))
          (then (return (i32.const 0))))))
    (if (i32.eq (local.get $length) (i32.const 4))
      (then
        (if (i32.ne (i32.and (i32.load8_u offset=3 (local.get $at)) (i32.const 0xc0))
                    (i32.const 0x80))
          (then (return (i32.const 0))))))
    (local.get $length))

  ;; Logs a line, unless there is nothing in it. What is no UTF-8 becomes question marks: the
  ;; host would not take it.
  (func $line (param $fd i32) (param $at i32) (param $end i32)
    (local $next i32) (local $length i32)
    (if (i32.eq (local.get $at) (local.get $end)) (then (return)))
    (local.set $next (local.get $at))
    (loop $characters
      (local.set $length (call $character (local.get $next) (local.get $end)))
      (if (i32.eqz (local.get $length))
        (then
          (i32.store8 (local.get $next) (i32.const 63))
          (local.set $length (i32.const 1))))
      (local.set $next (i32.add (local.get $next) (local.get $length)))
      (br_if $characters (i32.lt_u (local.get $next) (local.get $end))))
    (call $log
      (select (i32.const 2) (i32.const 4) (i32.eq (local.get $fd) (i32.const 1)))
      (local.get $at)
      (i32.sub (local.get $end) (local.get $at))))

  ;; Logs the whole lines of a stream that wait, and 4 KiB of one that does not end, unless that
  ;; must not be now.
  (func $drain (param $fd i32)
    (local $begin i32) (local $at i32) (local $end i32)
    (if (global.get $shut) (then (return)))
    (local.set $begin (call $buffer (local.get $fd)))
    (local.set $at (local.get $begin))
    (local.set $end (i32.add (local.get $begin) (call $used (local.get $fd))))
    (block $done
      (loop $bytes
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 10))
          (then
            (call $line (local.get $fd) (local.get $begin) (local.get $at))
            (local.set $begin (i32.add (local.get $at) (i32.const 1))))
          (else
            (if (i32.ge_u (i32.sub (local.get $at) (local.get $begin)) (i32.const 4095))
              (then
                (call $line (local.get $fd) (local.get $begin)
                  (i32.add (local.get $at) (i32.const 1)))
                (local.set $begin (i32.add (local.get $at) (i32.const 1)))))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $bytes)))
    (memory.copy (call $buffer (local.get $fd)) (local.get $begin)
      (i32.sub (local.get $end) (local.get $begin)))
    (call $set_used (local.get $fd) (i32.sub (local.get $end) (local.get $begin))))

  ;; Takes bytes of a stream. While nothing may be logged, what does not fit is lost.
  (func $put (param $fd i32) (param $from i32) (param $length i32)
    (local $part i32) (local $used i32)
    (block $done
      (loop $parts
        (br_if $done (i32.eqz (local.get $length)))
        (local.set $used (call $used (local.get $fd)))
        (local.set $part (i32.sub (i32.const 4096) (local.get $used)))
        (br_if $done (i32.eqz (local.get $part)))
        (if (i32.lt_u (local.get $length) (local.get $part))
          (then (local.set $part (local.get $length))))
        (memory.copy (i32.add (call $buffer (local.get $fd)) (local.get $used))
          (local.get $from) (local.get $part))
        (call $set_used (local.get $fd) (i32.add (local.get $used) (local.get $part)))
        (call $drain (local.get $fd))
        (local.set $from (i32.add (local.get $from) (local.get $part)))
        (local.set $length (i32.sub (local.get $length) (local.get $part)))
        (br $parts))))

  ;; Logs what waits: lines that were written while nothing could be logged.
  (func $catch_up
    (if (i32.gt_u (global.get $page) (i32.const 1))
      (then
        (call $drain (i32.const 1))
        (call $drain (i32.const 2)))))

  (func $fd_write (export "fd_write")
    (param $fd i32) (param $list i32) (param $count i32) (param $written i32) (result i32)
    (local $total i32)
    (if (i32.gt_u (i32.sub (local.get $fd) (i32.const 1)) (i32.const 1))
      (then (return (i32.const 8)))) ;; EBADF
    (call $catch_up)
    (block $done
      (loop $each
        (br_if $done (i32.eqz (local.get $count)))
        (if (call $paged)
          (then
            (call $put (local.get $fd)
              (i32.load (local.get $list)) (i32.load offset=4 (local.get $list)))))
        (local.set $total (i32.add (local.get $total) (i32.load offset=4 (local.get $list))))
        (local.set $list (i32.add (local.get $list) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $each)))
    (i32.store (local.get $written) (local.get $total))
    (i32.const 0))

  ;; The last words, ended or not; then a trap.
  (func $proc_exit (export "proc_exit") (param $code i32)
    (call $catch_up)
    (if (i32.and (i32.eqz (global.get $shut)) (i32.gt_u (global.get $page) (i32.const 1)))
      (then
        (call $line (i32.const 1) (call $buffer (i32.const 1))
          (i32.add (call $buffer (i32.const 1)) (global.get $out)))
        (call $line (i32.const 2) (call $buffer (i32.const 2))
          (i32.add (call $buffer (i32.const 2)) (global.get $err)))))
    unreachable)

  ;; ---- Time and chance ---------------------------------------------------------------------

  ;; What a clock shows: the one on the wall the first second of 2000, any other one a second. None
  ;; may show 0: Go's runtime takes that for a fault.
  (func $now (param $clock i32) (result i64)
    (i64.add (global.get $slept)
      (select (i64.const 946684800000000000) (i64.const 1000000000) (i32.eqz (local.get $clock)))))

  (func (export "clock_time_get")
    (param $clock i32) (param $precision i64) (param $to i32) (result i32)
    (call $catch_up)
    (if (i32.gt_u (local.get $clock) (i32.const 3)) (then (return (i32.const 28)))) ;; EINVAL
    (i64.store align=1 (local.get $to) (call $now (local.get $clock)))
    (i32.const 0))

  (func (export "clock_res_get") (param $clock i32) (param $to i32) (result i32)
    (if (i32.gt_u (local.get $clock) (i32.const 3)) (then (return (i32.const 28))))
    (i64.store align=1 (local.get $to) (i64.const 1000000))
    (i32.const 0))

  ;; Writes the event that answers a subscription, and says how long it is.
  (func $event (param $subscription i32) (param $to i32) (result i32)
    (memory.fill (local.get $to) (i32.const 0) (i32.const 32))
    (i64.store align=1 (local.get $to) (i64.load align=1 (local.get $subscription)))
    (i32.store8 offset=10 (local.get $to) (i32.load8_u offset=8 (local.get $subscription)))
    (i32.const 32))

  ;; When the clock of a subscription is to ring, as what $slept will be then.
  (func $rings (param $subscription i32) (result i64)
    (local $timeout i64)
    (local.set $timeout (i64.load offset=24 align=1 (local.get $subscription)))
    (if (i32.and (i32.load16_u offset=40 align=1 (local.get $subscription)) (i32.const 1))
      (then
        (return
          (i64.sub (local.get $timeout)
            (i64.sub (call $now (i32.load offset=16 align=1 (local.get $subscription)))
                     (global.get $slept))))))
    (i64.add (global.get $slept) (local.get $timeout)))

  ;; Streams are always ready. If nothing else is waited for, the clock goes on to the first alarm.
  (func (export "poll_oneoff")
    (param $in i32) (param $to i32) (param $count i32) (param $events i32) (result i32)
    (local $begin i32) (local $end i32) (local $first i32)
    (call $catch_up)
    (if (i32.eqz (local.get $count)) (then (return (i32.const 28))))
    (local.set $begin (local.get $to))
    (local.set $end (i32.add (local.get $in) (i32.mul (local.get $count) (i32.const 48))))
    (loop $each
      (if (i32.load8_u offset=8 (local.get $in))
        (then
          (local.set $to (i32.add (local.get $to) (call $event (local.get $in) (local.get $to)))))
        (else
          (if (i32.eqz (local.get $first))
            (then (local.set $first (local.get $in)))
            (else
              (if (i64.lt_s (call $rings (local.get $in)) (call $rings (local.get $first)))
                (then (local.set $first (local.get $in))))))))
      (local.set $in (i32.add (local.get $in) (i32.const 48)))
      (br_if $each (i32.lt_u (local.get $in) (local.get $end))))
    (if (i32.eq (local.get $to) (local.get $begin))
      (then
        (if (i64.gt_s (call $rings (local.get $first)) (global.get $slept))
          (then (global.set $slept (call $rings (local.get $first)))))
        (local.set $to (i32.add (local.get $to) (call $event (local.get $first) (local.get $to))))))
    (i32.store (local.get $events)
      (i32.shr_u (i32.sub (local.get $to) (local.get $begin)) (i32.const 5)))
    (i32.const 0))

  (func (export "sched_yield") (result i32)
    (call $catch_up)
    (i32.const 0))

  ;; splitmix64 (Steele, Lea and Flood, 2014), a byte of each number: few are asked for.
  (func (export "random_get") (param $to i32) (param $length i32) (result i32)
    (local $z i64)
    (block $done
      (loop $bytes
        (br_if $done (i32.eqz (local.get $length)))
        (global.set $random (i64.add (global.get $random) (i64.const 0x9e3779b97f4a7c15)))
        (local.set $z (global.get $random))
        (local.set $z
          (i64.mul (i64.xor (local.get $z) (i64.shr_u (local.get $z) (i64.const 30)))
            (i64.const 0xbf58476d1ce4e5b9)))
        (local.set $z
          (i64.mul (i64.xor (local.get $z) (i64.shr_u (local.get $z) (i64.const 27)))
            (i64.const 0x94d049bb133111eb)))
        (i64.store8 (local.get $to) (i64.shr_u (local.get $z) (i64.const 56)))
        (local.set $to (i32.add (local.get $to) (i32.const 1)))
        (local.set $length (i32.sub (local.get $length) (i32.const 1)))
        (br $bytes)))
    (i32.const 0))

  ;; ---- Arguments and variables: there are none -----------------------------------------------

  (func $none (param $count i32) (param $size i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $size) (i32.const 0))
    (i32.const 0))
  (export "args_sizes_get" (func $none))
  (export "environ_sizes_get" (func $none))
  (func $nothing (param i32 i32) (result i32) (i32.const 0))
  (export "args_get" (func $nothing))
  (export "environ_get" (func $nothing))

  ;; ---- The three streams; no other descriptor exists -----------------------------------------

  ;; 0 for one of the three, EBADF for any other.
  (func $stream (param $fd i32) (result i32)
    (select (i32.const 0) (i32.const 8) (i32.le_u (local.get $fd) (i32.const 2))))

  ;; Standard input has ended.
  (func (export "fd_read")
    (param $fd i32) (param $list i32) (param $count i32) (param $read i32) (result i32)
    (if (local.get $fd) (then (return (i32.const 8))))
    (i32.store (local.get $read) (i32.const 0))
    (i32.const 0))

  (export "fd_close" (func $stream))
  (func (export "fd_fdstat_set_flags") (param $fd i32) (param i32) (result i32)
    (call $stream (local.get $fd)))

  ;; A character device (2) that can be written, or read.
  (func (export "fd_fdstat_get") (param $fd i32) (param $to i32) (result i32)
    (if (call $stream (local.get $fd)) (then (return (i32.const 8))))
    (memory.fill (local.get $to) (i32.const 0) (i32.const 24))
    (i32.store8 (local.get $to) (i32.const 2))
    (i64.store offset=8 align=1 (local.get $to)
      (select (i64.const 0x40) (i64.const 0x2) (local.get $fd)))
    (i32.const 0))

  (func (export "fd_filestat_get") (param $fd i32) (param $to i32) (result i32)
    (if (call $stream (local.get $fd)) (then (return (i32.const 8))))
    (memory.fill (local.get $to) (i32.const 0) (i32.const 64))
    (i32.store8 offset=16 (local.get $to) (i32.const 2))
    (i32.const 0))

  ;; A stream has no position: ESPIPE.
  (func (export "fd_seek") (param $fd i32) (param i64 i32 i32) (result i32)
    (select (i32.const 8) (i32.const 70) (call $stream (local.get $fd))))
  (func (export "fd_tell") (param $fd i32) (param i32) (result i32)
    (select (i32.const 8) (i32.const 70) (call $stream (local.get $fd))))

  ;; ---- What there is not: EBADF where a descriptor is asked for, else ENOSYS -------------------

  (func (export "fd_prestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "fd_advise") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_allocate") (param i32 i64 i64) (result i32) (i32.const 8))
  (func (export "fd_datasync") (param i32) (result i32) (i32.const 8))
  (func (export "fd_sync") (param i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_set_rights") (param i32 i64 i64) (result i32) (i32.const 8))
  (func (export "fd_filestat_set_size") (param i32 i64) (result i32) (i32.const 8))
  (func (export "fd_filestat_set_times") (param i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_pread") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_pwrite") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_readdir") (param i32 i32 i32 i64 i32) (result i32) (i32.const 8))
  (func (export "fd_renumber") (param i32 i32) (result i32) (i32.const 8))
  (func (export "path_create_directory") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_filestat_get") (param i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_filestat_set_times") (param i32 i32 i32 i32 i64 i64 i32) (result i32) (i32.const 8))
  (func (export "path_link") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_open") (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (i32.const 8))
  (func (export "path_readlink") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_remove_directory") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_rename") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_symlink") (param i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "path_unlink_file") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "sock_accept") (param i32 i32 i32) (result i32) (i32.const 8))
  (func (export "sock_recv") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "sock_send") (param i32 i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "sock_shutdown") (param i32 i32) (result i32) (i32.const 8))
  (func (export "proc_raise") (param i32) (result i32) (i32.const 52)))
