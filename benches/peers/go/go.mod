module peripatos.invalid/peer

go 1.19
