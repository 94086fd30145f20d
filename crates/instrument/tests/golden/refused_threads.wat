;; Renewed by: BLESS=1 cargo test -p peripatos-instrument --test golden
(module (memory 1 2 shared) (func (export "run") (drop (i32.atomic.load (i32.const 0)))))

;; ---------------------------------------------------------------- result

;; module, at byte 0x15: threads must be enabled for shared memories; a process that shares memory between threads cannot be moved: build without threads
