;; A component around a core module. The tests replace the placeholders in braces. Exported types
;; must have names, so an inner component exports the functions.
(component
  {imports}
  {core}
  (core instance $guest (instantiate $core {arguments}))
  (alias core export $guest "memory" (core memory $memory))
  (alias core export $guest "realloc" (core func $realloc))

  (type $price (record (field "prompt" f64) (field "completion" f64)))
  (type $deployment (record
    (field "name" string) (field "model" string) (field "weight" f64) (field "in-flight" u32)
    (field "latency" (option f64)) (field "error-rate" f64) (field "price" (option $price))
    (field "signals" (list (tuple string f64)))))
  (type $weights (record (field "local" (list f64)) (field "remote" (list f64))))
  (type $description (record
    (field "name" string) (field "version" string) (field "summary" string)
    (field "parameters" string) (field "refresh-interval" (option u32))))

  (func $describe (result $description)
    (canon lift (core func $guest "describe") (memory $memory) (realloc $realloc)))
  (func $configure (param "parameters" string) (result (result (error string)))
    (canon lift (core func $guest "configure") (memory $memory) (realloc $realloc)))
  (func $assign (param "local" (list $deployment)) (param "remote" (list $deployment))
    (result $weights)
    (canon lift (core func $guest "assign") (memory $memory) (realloc $realloc)))

  (component $policy
    (type $price' (record (field "prompt" f64) (field "completion" f64)))
    (import "import-price" (type $price (eq $price')))
    (type $deployment' (record
      (field "name" string) (field "model" string) (field "weight" f64) (field "in-flight" u32)
      (field "latency" (option f64)) (field "error-rate" f64) (field "price" (option $price))
      (field "signals" (list (tuple string f64)))))
    (import "import-deployment" (type $deployment (eq $deployment')))
    (type $weights' (record (field "local" (list f64)) (field "remote" (list f64))))
    (import "import-weights" (type $weights (eq $weights')))
    (type $description' (record
      (field "name" string) (field "version" string) (field "summary" string)
      (field "parameters" string) (field "refresh-interval" (option u32))))
    (import "import-description" (type $description (eq $description')))
    (import "import-describe" (func $describe (result $description)))
    (import "import-configure" (func $configure (param "parameters" string)
      (result (result (error string)))))
    (import "import-assign" (func $assign
      (param "local" (list $deployment)) (param "remote" (list $deployment)) (result $weights)))

    (export $price-out "price" (type $price'))
    (type $deployment-named (record
      (field "name" string) (field "model" string) (field "weight" f64) (field "in-flight" u32)
      (field "latency" (option f64)) (field "error-rate" f64) (field "price" (option $price-out))
      (field "signals" (list (tuple string f64)))))
    (export $deployment-out "deployment" (type $deployment-named))
    (export $weights-out "weights" (type $weights'))
    (export $description-out "description" (type $description'))
    (export "describe" (func $describe) (func (result $description-out)))
    (export "configure" (func $configure)
      (func (param "parameters" string) (result (result (error string)))))
    (export "assign" (func $assign)
      (func (param "local" (list $deployment-out)) (param "remote" (list $deployment-out))
        (result $weights-out))))

  (instance $exported (instantiate $policy
    (with "import-price" (type $price))
    (with "import-deployment" (type $deployment))
    (with "import-weights" (type $weights))
    (with "import-description" (type $description))
    (with "import-describe" (func $describe))
    (with "import-configure" (func $configure))
    (with "import-assign" (func $assign))))
  (export "{export}" (instance $exported)))
