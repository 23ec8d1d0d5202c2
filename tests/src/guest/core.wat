;; The core module of a strategy for a world of hybrid:routing@0.2.0. What stands in braces is filled in by
;; `CoreGuest`, which makes a component of it. Everything that a call allocates is given back after it.
(module
  {imports}
  (memory (export "memory") 16)
  (global $heap (mut i32) (i32.const 8192))
  ;; Whether this instance was asked `assign`.
  (global $off-path (mut i32) (i32.const 0))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get 3)))
    (local.get $at))
  (func $free (param i32) (global.set $heap (i32.const 8192)))

  ;; A record `weights`: so many times the first weight, and so many times the second.
  (func $answer (param $locals i32) (param $local f64) (param $remotes i32) (param $remote f64)
    (result i32)
    (local $i i32)
    (loop $next
      (if (i32.lt_u (local.get $i) (local.get $locals)) (then
        (f64.store offset=4096 (i32.mul (local.get $i) (i32.const 8)) (local.get $local))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next))))
    (local.set $i (i32.const 0))
    (loop $next
      (if (i32.lt_u (local.get $i) (local.get $remotes)) (then
        (f64.store offset=6144 (i32.mul (local.get $i) (i32.const 8)) (local.get $remote))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next))))
    (i32.store (i32.const 1024) (i32.const 4096))
    (i32.store (i32.const 1028) (local.get $locals))
    (i32.store (i32.const 1032) (i32.const 6144))
    (i32.store (i32.const 1036) (local.get $remotes))
    (i32.const 1024))

  ;; description: name, version, summary, parameters, refresh-interval, needs
  (data (i32.const 16) "{name}")
  (data (i32.const 80) "1.0.0")
  (data (i32.const 96) "{summary}")
  (data (i32.const 128) "{parameters}")
  (data (i32.const 512)
    "\10\00\00\00{name-length}\00\00\00\50\00\00\00\05\00\00\00\60\00\00\00{summary-length}\00\00\00\80\00\00\00{parameters-length}\00\00")
  (func (export "hybrid:routing/policy@0.2.0#describe") (result i32)
    (i32.store (i32.const 544) (i32.const {refreshes}))
    (i32.store (i32.const 548) (i32.const {refresh}))
    (i32.store (i32.const 552) (i32.const {needs}))
    (i32.const 512))
  (func (export "hybrid:routing/policy@0.2.0#configure")
    (param $parameters i32) (param $length i32) (param $places i32) (param $count i32) (result i32)
    (local $i i32)
    {configure}
    (i32.store8 (i32.const 1040) (i32.const 0))
    (i32.const 1040))
  (func (export "hybrid:routing/policy@0.2.0#assign")
    (param $local i32) (param $locals i32) (param $remote i32) (param $remotes i32) (result i32)
    (local $i i32)
    (global.set $off-path (i32.const 1))
    {assign}
    (call $answer (local.get $locals) (f64.const 1) (local.get $remotes) (f64.const 1)))
  (func (export "cabi_post_hybrid:routing/policy@0.2.0#describe") (param i32) (call $free (i32.const 0)))
  (func (export "cabi_post_hybrid:routing/policy@0.2.0#configure") (param i32) (call $free (i32.const 0)))
  (func (export "cabi_post_hybrid:routing/policy@0.2.0#assign") (param i32) (call $free (i32.const 0)))
  {more}
)
