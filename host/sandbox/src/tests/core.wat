;; A strategy that gives every deployment the weight 1. The tests replace the placeholders in
;; braces. Memory: text and answers are below 1024, arguments from 4096 up. Arguments are never
;; freed, so an instance serves a few dozen calls.
(core module $core
  {more}
  (memory (export "memory") 2)
  (global $free (mut i32) (i32.const 4096))
  (data (i32.const 0) "evenly")
  (data (i32.const 16) "1.0.0")
  (data (i32.const 32) "{}")
  (data (i32.const 48) "no such share")
  ;; describe's answer at 128: five strings and no refresh interval.
  (data (i32.const 128)
    "\00\00\00\00\06\00\00\00" "\10\00\00\00\05\00\00\00" "\00\00\00\00\06\00\00\00"
    "\20\00\00\00\02\00\00\00" "\00\00\00\00\00\00\00\00")
  (func (export "realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
    (global.set $free (i32.add (local.get $at) (local.get 3)))
    (local.get $at))
  (func (export "describe") (result i32)
    {describe}
    (i32.const 128))
  ;; The answer is at 256. A test makes it an error, whose text is at 48, by storing 1 there.
  (func (export "configure") (param i32 i32) (result i32)
    (i32.store (i32.const 260) (i32.const 48))
    (i32.store (i32.const 264) (i32.const 13))
    {configure}
    (i32.const 256))
  (func (export "assign") (param $local i32) (param $locals i32) (param $remote i32) (param $remotes i32)
    (result i32)
    (local $n i32)
    ;; Ones at 1024, where both lists of the answer at 512 begin.
    (loop $ones
      (f64.store (i32.add (i32.const 1024) (i32.shl (local.get $n) (i32.const 3))) (f64.const 1))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $ones (i32.lt_u (local.get $n) (i32.const 100))))
    (i32.store (i32.const 512) (i32.const 1024))
    (i32.store (i32.const 516) (local.get $locals))
    (i32.store (i32.const 520) (i32.const 1024))
    (i32.store (i32.const 524) (local.get $remotes))
    {assign}
    (i32.const 512)))
