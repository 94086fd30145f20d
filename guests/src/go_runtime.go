// Go's runtime in one program: goroutines and channels, garbage collection, maps, closures,
// defer/panic/recover, and files.
//
// usage: go_runtime [DIRECTORY]
package main

import (
	"errors"
	"os"
	"runtime"
	"sort"
	"strconv"
	"sync"
)

type node struct{ left, right *node }

func build(depth int) *node {
	if depth == 0 {
		return &node{}
	}
	return &node{build(depth - 1), build(depth - 1)}
}

func (n *node) count() int {
	if n == nil {
		return 0
	}
	return 1 + n.left.count() + n.right.count()
}

func say(words ...string) {
	for i, word := range words {
		if i > 0 {
			os.Stdout.WriteString(" ")
		}
		os.Stdout.WriteString(word)
	}
	os.Stdout.WriteString("\n")
}

// sieve is a chain of goroutines, one a prime.
func sieve(count int) (primes []int) {
	numbers := make(chan int)
	go func(out chan int) {
		for i := 2; ; i++ {
			out <- i
		}
	}(numbers)
	for range count {
		prime := <-numbers
		primes = append(primes, prime)
		filtered := make(chan int)
		go func(in, out chan int) {
			for {
				if number := <-in; number%prime != 0 {
					out <- number
				}
			}
		}(numbers, filtered)
		numbers = filtered
	}
	return primes
}

func recovered(depth int) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("recovered: " + r.(string))
		}
	}()
	var descend func(int)
	descend = func(n int) {
		if n == 0 {
			panic("deep")
		}
		defer func() { depth-- }()
		descend(n - 1)
	}
	descend(depth)
	return nil
}

func main() {
	directory := "."
	if len(os.Args) > 1 {
		directory = os.Args[1]
	}

	primes := sieve(60)
	say("sieve", strconv.Itoa(primes[len(primes)-1]))

	nodes := 0
	for range 20 {
		nodes += build(10).count()
	}
	runtime.GC()
	say("trees", strconv.Itoa(nodes))

	var mutex sync.Mutex
	var group sync.WaitGroup
	counts := map[string]int{}
	for worker := range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := range 200 {
				mutex.Lock()
				counts["key"+strconv.Itoa((i*worker)%37)] += i
				mutex.Unlock()
				runtime.Gosched()
			}
		}()
	}
	group.Wait()
	var keys []string
	for key := range counts {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	hash := uint64(0)
	for _, key := range keys {
		hash = hash*31 + uint64(counts[key])
	}
	say("maps", strconv.Itoa(len(keys)), strconv.FormatUint(hash, 16))

	say(recovered(50).Error())

	path := directory + "/go.txt"
	if err := os.WriteFile(path, []byte("written by go\n"), 0o644); err != nil {
		say("write:", err.Error())
		os.Exit(1)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		say("read:", err.Error())
		os.Exit(1)
	}
	os.Remove(path)
	os.Stdout.Write(content)
}
