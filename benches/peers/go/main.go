// The workloads of benches/peers/peripatos for Go: `peer NAME SIZE...` runs one, a tenth of it first, and prints NAME ITEMS
// SECONDS. A process is a goroutine, and what it receives from is a channel. What waits for a reply in Peripatos and need
// not in Go does not wait here. Memory is shared: nothing is copied but the message.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// What was done, and in how long.
type done struct {
	items int
	time  time.Duration
}

func since(begun time.Time, items int) done { return done{items, time.Since(begun)} }

var workloads = map[string]func([]int) done{
	"ping_pong":            pingPong,
	"call":                 call,
	"cross_process":        crossProcess,
	"counting":             counting,
	"thread_ring":          threadRing,
	"fork_join_create":     forkJoinCreate,
	"fork_join_throughput": forkJoinThroughput,
	"big":                  big,
	"philosophers":         philosophers,
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == server {
		serve()
		return
	}
	if len(os.Args) < 3 || workloads[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: peer NAME SIZE...")
		os.Exit(2)
	}
	var numbers []int
	for _, text := range os.Args[2:] {
		number, err := strconv.Atoi(text)
		check(err == nil, "a size is a number")
		numbers = append(numbers, number)
	}
	run, last := workloads[os.Args[1]], len(numbers)-1
	tenth := append([]int{}, numbers...)
	tenth[last] = (tenth[last] + 9) / 10
	run(tenth)
	whole := run(numbers)
	fmt.Printf("%s %d %.6f\n", os.Args[1], whole.items, whole.time.Seconds())
}

func check(holds bool, what string) {
	if !holds {
		panic(what)
	}
}
