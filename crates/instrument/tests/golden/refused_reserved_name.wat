;; Renewed by: BLESS=1 cargo test -p peripatos-instrument --test golden
(module (func (export "peripatos.slots")))

;; ---------------------------------------------------------------- result

;; export "peripatos.slots": a reserved name
