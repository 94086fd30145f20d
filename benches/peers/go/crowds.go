package main

import (
	"math/rand"
	"runtime"
	"time"
)

func threadRing(n []int) done {
	const length = 100
	var ring [length]chan int
	for i := range ring {
		ring[i] = make(chan int, 1)
	}
	last := make(chan int)
	for i := range ring {
		go func(i int) {
			for hops := range ring[i] {
				if hops == 0 {
					last <- i
				} else {
					ring[(i+1)%length] <- hops - 1
				}
			}
		}(i)
	}
	begun := time.Now()
	ring[0] <- n[0]
	check(<-last == n[0]%length, "it ended elsewhere")
	whole := since(begun, n[0])
	for _, link := range ring {
		close(link)
	}
	return whole
}

func forkJoinCreate(n []int) done {
	const wave = 500
	told := make(chan int, wave)
	begun, total := time.Now(), 0
	for left := n[0]; left > 0; {
		count := left
		if count > wave {
			count = wave
		}
		for i := 0; i < count; i++ {
			go func(number int) { told <- number }(left - i)
		}
		for i := 0; i < count; i++ {
			total += <-told
		}
		left -= count
	}
	check(total == n[0]*(n[0]+1)/2, "some are lost")
	return since(begun, n[0])
}

func forkJoinThroughput(n []int) done {
	const counters = 60
	var messages [counters]chan int
	totals := make(chan int, counters)
	for i := range messages {
		messages[i] = make(chan int, 128)
		go func(mine chan int) {
			sum := 0
			for number := range mine {
				sum += number
			}
			totals <- sum
		}(messages[i])
	}
	each, total := (n[0]+counters-1)/counters, 0
	begun := time.Now()
	for i := 0; i < each; i++ {
		for _, one := range messages {
			one <- 1
		}
	}
	for _, one := range messages {
		close(one)
	}
	for range messages {
		total += <-totals
	}
	check(total == each*counters, "messages were lost")
	return since(begun, total)
}

// Each asks, and has another goroutine that answers in its stead.
func big(n []int) done {
	const count = 100
	var pings [count]chan chan struct{}
	for i := range pings {
		pings[i] = make(chan chan struct{}, count)
		go func(mine chan chan struct{}) {
			for from := range mine {
				from <- struct{}{}
			}
		}(pings[i])
	}
	each, told, total := (n[0]+count-1)/count, make(chan int), 0
	begun := time.Now()
	for i := 0; i < count; i++ {
		go func(seed int64) {
			random, answer := rand.New(rand.NewSource(seed)), make(chan struct{}, 1)
			for i := 0; i < each; i++ {
				pings[random.Intn(count)] <- answer
				<-answer
			}
			told <- each
		}(int64(i))
	}
	for range pings {
		total += <-told
	}
	whole := since(begun, total)
	check(total == each*count, "pings were lost")
	for _, one := range pings {
		close(one)
	}
	return whole
}

// A fork is a channel with room for one: whoever has put something in has it. That is what a Go programmer would write; a
// goroutine for each fork would be dearer.
func philosophers(n []int) done {
	count, meals := n[0], n[1]
	told, start := make(chan int), make(chan struct{})
	forks := make([]chan struct{}, count)
	for i := range forks {
		forks[i] = make(chan struct{}, 1)
	}
	for i := 0; i < count; i++ {
		go func(i int) {
			first, second := forks[i], forks[(i+1)%count]
			if i+1 == count {
				first, second = second, first
			}
			<-start
			for meal := 0; meal < meals; meal++ {
				first <- struct{}{}
				second <- struct{}{}
				<-second
				<-first
				runtime.Gosched()
			}
			told <- meals
		}(i)
	}
	begun, eaten := time.Now(), 0
	close(start)
	for range forks {
		eaten += <-told
	}
	check(eaten == count*meals, "somebody is hungry")
	return since(begun, eaten)
}
