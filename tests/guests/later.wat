;; Answers the first `assign` of an instance with 3 for each local and 1 for each remote deployment, and
;; does in any later one what a test puts into the hole `fault`. The hole `refresh` is for a data segment
;; that asks for an interval. The gateway loads it; at run time it keeps the last good weights.

(component
  (core module $code
    (memory (export "memory") 1)
    (global $free (mut i32) (i32.const 1024))
    ;; What `describe` returns, and the texts it points to.
    (data (i32.const 16) "\80\00\00\00\05\00\00\00\85\00\00\00\05\00\00\00"
      "\8a\00\00\00\14\00\00\00\9e\00\00\00\12\00\00\00")
    {refresh}
    (data (i32.const 128) "later0.1.0A guest of the tests{\22type\22: \22object\22}")

    ;; Takes the next free bytes, and memory as needed; all are given back after each call.
    (func $realloc (export "cabi_realloc")
      (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
      (global.set $free (i32.add (local.get $at) (local.get $size)))
      (block $fits
        (loop $grow
          (br_if $fits (i32.le_u (global.get $free) (i32.shl (memory.size) (i32.const 16))))
          (br_if $grow (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))
          unreachable))
      (local.get $at))
    (func (export "reset") (param i32) (global.set $free (i32.const 1024)))

    (func (export "describe") (result i32) (i32.const 16))

    (func (export "configure") (param i32 i32) (result i32)
      (i32.store8 (i32.const 64) (i32.const 0))
      (i32.const 64))

    ;; `locals` weights of `ours`, then `remotes` weights of `theirs`.
    (func $answer
      (param $locals i32) (param $ours f64) (param $remotes i32) (param $theirs f64)
      (result i32)
      (local $list i32)
      (local.set $list (call $realloc (i32.const 0) (i32.const 0) (i32.const 8)
        (i32.shl (i32.add (local.get $locals) (local.get $remotes)) (i32.const 3))))
      (i32.store (i32.const 80) (local.get $list))
      (i32.store (i32.const 84) (local.get $locals))
      (i32.store (i32.const 88)
        (call $fill (local.get $list) (local.get $locals) (local.get $ours)))
      (i32.store (i32.const 92) (local.get $remotes))
      (drop (call $fill (i32.load (i32.const 88)) (local.get $remotes) (local.get $theirs)))
      (i32.const 80))

    ;; Writes a weight `count` times and gives the place behind the last.
    (func $fill (param $at i32) (param $count i32) (param $weight f64) (result i32)
      (local $end i32)
      (local.set $end
        (i32.add (local.get $at) (i32.shl (local.get $count) (i32.const 3))))
      (block $done
        (loop $next
          (br_if $done (i32.eq (local.get $at) (local.get $end)))
          (f64.store (local.get $at) (local.get $weight))
          (local.set $at (i32.add (local.get $at) (i32.const 8)))
          (br $next)))
      (local.get $end))

    (func $recurse (param $depth i32) (result i32)
      (i32.add (call $recurse (i32.add (local.get $depth) (i32.const 1))) (local.get $depth)))

    (global $calls (mut i32) (i32.const 0))

    (func (export "assign")
      (param $local i32) (param $locals i32) (param $remote i32) (param $remotes i32)
      (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (if (i32.gt_u (global.get $calls) (i32.const 1))
        (then {fault}))
      (call $answer (local.get $locals) (f64.const 3) (local.get $remotes) (f64.const 1))))

  (core instance $run (instantiate $code))

  (type $price (record (field "prompt" f64) (field "completion" f64)))
  (type $deployment (record
    (field "name" string)
    (field "model" string)
    (field "weight" f64)
    (field "in-flight" u32)
    (field "latency" (option f64))
    (field "error-rate" f64)
    (field "price" (option $price))
    (field "signals" (list (tuple string f64)))))
  (type $weights (record (field "local" (list f64)) (field "remote" (list f64))))
  (type $description (record
    (field "name" string)
    (field "version" string)
    (field "summary" string)
    (field "parameters" string)
    (field "refresh-interval" (option u32))))

  (func $describe (result $description) (canon lift (core func $run "describe")
    (memory (core memory $run "memory")) (post-return (core func $run "reset"))))
  (func $configure (param "parameters" string) (result (result (error string)))
    (canon lift (core func $run "configure") (memory (core memory $run "memory"))
      (realloc (core func $run "cabi_realloc")) (post-return (core func $run "reset"))))
  (func $assign (param "local" (list $deployment)) (param "remote" (list $deployment))
    (result $weights)
    (canon lift (core func $run "assign") (memory (core memory $run "memory"))
      (realloc (core func $run "cabi_realloc")) (post-return (core func $run "reset"))))

  (instance $policy
    (export "price" (type $price))
    (export "deployment" (type $deployment))
    (export "weights" (type $weights))
    (export "description" (type $description))
    (export "describe" (func $describe))
    (export "configure" (func $configure))
    (export "assign" (func $assign)))
  (export "hybrid:routing/policy@0.1.0" (instance $policy)))
