;; Computes until it is ended: where it runs, nobody else is put.
(module
  (memory (export "memory") 1)
  (func (export "_start") (loop $on (br $on))))
