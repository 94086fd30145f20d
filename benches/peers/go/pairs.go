package main

import (
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"time"
)

// Two goroutines, a message each way.
func pingPong(n []int) done {
	ping, pong := make(chan int), make(chan int)
	go func() {
		for number := range ping {
			pong <- number + 1
		}
	}()
	begun, number := time.Now(), 0
	for i := 0; i < n[0]; i++ {
		ping <- number
		number = <-pong
	}
	check(number == n[0], "a number was lost")
	close(ping)
	return since(begun, number)
}

type request struct {
	add   int
	reply chan int
}

// A server that takes requests, each with the channel for its reply.
func call(n []int) done {
	requests := make(chan request)
	go func() {
		sum := 0
		for request := range requests {
			sum += request.add
			request.reply <- sum
		}
	}()
	begun, sum, reply := time.Now(), 0, make(chan int, 1)
	for i := 0; i < n[0]; i++ {
		requests <- request{1, reply}
		sum = <-reply
	}
	check(sum == n[0], "a message was lost")
	close(requests)
	return since(begun, sum)
}

// A producer and a counter, with a buffer between them.
func counting(n []int) done {
	messages, total := make(chan int, 128), make(chan int)
	go func() {
		sum := 0
		for number := range messages {
			sum += number
		}
		total <- sum
	}()
	begun := time.Now()
	for i := 0; i < n[0]; i++ {
		messages <- 1
	}
	close(messages)
	sum := <-total
	check(sum == n[0], "a message was lost")
	return since(begun, sum)
}

// The argument with which this program is a server for another one.
const server = "serve"

// Pong is called over net/rpc.
type Pong struct{}

// Next replies with the next number.
func (Pong) Next(number int, next *int) error {
	*next = number + 1
	return nil
}

func serve() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err == nil, "no port")
	_, err = os.Stdout.WriteString(listener.Addr().String() + "\n")
	check(err == nil && rpc.Register(Pong{}) == nil, "cannot serve")
	connection, err := listener.Accept()
	check(err == nil, "nobody has come")
	rpc.ServeConn(connection)
}

// Another process of the operating system, over TCP and net/rpc.
func crossProcess(n []int) done {
	other := exec.Command(os.Args[0], server)
	said, err := other.StdoutPipe()
	check(err == nil && other.Start() == nil, "cannot start the other")
	address := make([]byte, 64)
	length, err := said.Read(address)
	check(err == nil, "the other says nothing")
	client, err := rpc.Dial("tcp", string(address[:length-1]))
	check(err == nil, "cannot reach the other")
	begun, number := time.Now(), 0
	for i := 0; i < n[0]; i++ {
		check(client.Call("Pong.Next", number, &number) == nil, "no reply")
	}
	whole := since(begun, number)
	check(number == n[0], "a number was lost")
	client.Close()
	check(other.Wait() == nil, "the other has failed")
	return whole
}
