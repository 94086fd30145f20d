;; Renewed by: BLESS=1 cargo test -p peripatos-instrument --test golden
(module (type $s (struct (field i32))) (func (export "run") (drop (struct.new $s (i32.const 1)))))

;; ---------------------------------------------------------------- result

;; module, at byte 0xb: struct indexed types not supported without the gc feature
