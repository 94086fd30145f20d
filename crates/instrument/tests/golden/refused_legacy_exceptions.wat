;; Renewed by: BLESS=1 cargo test -p peripatos-instrument --test golden
(module (func $named (export "run") try catch_all end))

;; ---------------------------------------------------------------- result

;; function 0 "named": legacy_exceptions feature required for try instruction; build with the standard exceptions (clang: -mllvm -wasm-use-legacy-eh=false)
