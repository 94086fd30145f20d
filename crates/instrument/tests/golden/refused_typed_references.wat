;; Renewed by: BLESS=1 cargo test -p peripatos-instrument --test golden
(module (type $f (func)) (func (export "run") (param (ref $f)) (call_ref $f (local.get 0))))

;; ---------------------------------------------------------------- result

;; module, at byte 0xe: function references required for index reference types
