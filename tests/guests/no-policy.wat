;; A component, but not a strategy: it exports one function of its own.
;; The gateway refuses it at load and names the versions of the policy it speaks.

(component
  (core module $code
    (func (export "answer") (result i32) (i32.const 42)))
  (core instance $run (instantiate $code))
  (func (export "answer") (result u32) (canon lift (core func $run "answer"))))
