// What the programs of bench/stacks for Go share; see common.py.
package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand"
	"os"
	"strconv"
	"time"
)

// Connection is one that a pool has lent.
type Connection interface {
	Ask(sql string) string
	Do(sql string)
	Give()
}

// Pool lends connections.
type Pool interface {
	Take() Connection
}

var (
	conninfo  string
	threshold float64
	kept      []interface{}
	workloads = map[string]func(){}
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func rest(thresholds float64) {
	time.Sleep(time.Duration(thresholds * threshold * float64(time.Second)))
}

func lose(pool Pool, connection Connection, kind string) {
	kept = append(kept, pool, connection)
	fmt.Println(connection.Ask("SELECT pg_backend_pid()::text"), "leaked", kind)
}

func serve(pool Pool, workers int) {
	for i := 0; i < workers; i++ {
		go func() {
			for {
				connection := pool.Take()
				connection.Ask("SELECT '1' FROM pg_sleep(0.005)")
				connection.Give()
				rest(rand.ExpFloat64() / 15)
			}
		}()
	}
}

func besideService(pool Pool, n int, kind string, begin bool) {
	serve(pool, 4)
	fmt.Println("ready")
	rest(2)
	for i := 0; i < n; i++ {
		rest(2)
		connection := pool.Take()
		if begin {
			connection.Do("BEGIN")
		}
		lose(pool, connection, kind)
	}
}

// dialogue is for test/t/borrower_hooks.pl: it does what each line of standard input says, and answers "done".
func dialogue(pool Pool) {
	queries := map[string]string{"ask": "SELECT '1'", "fail": "SELECT (1 / 0)::text"}
	var connection Connection
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); fmt.Println("done") {
		switch line := lines.Text(); line {
		case "take":
			connection = pool.Take()
		case "give":
			connection.Give()
		case "begin", "commit", "rollback":
			connection.Do(line)
		default:
			connection.Ask(queries[line])
		}
	}
	os.Exit(0)
}

func begin(open func(size int) Pool) {
	name := os.Args[1]
	conninfo = os.Args[2]
	threshold, _ = strconv.ParseFloat(os.Args[3], 64)
	workloads["service"] = func() {
		serve(open(8), 4)
		fmt.Println("ready")
	}
	workloads["transaction"] = func() { besideService(open(28), 5, "transaction", true) }
	workloads["lost"] = func() { besideService(open(28), 16, "lost", false) }
	workloads["few"] = func() { besideService(open(28), 4, "lost", false) }
	workloads["per_request"] = func() {
		fmt.Println("ready")
		for i := 0; i < 20; i++ {
			rest(0.8)
			pool := open(1)
			connection := pool.Take()
			lose(pool, connection, "per request")
			connection.Give()
		}
	}
	if name == "dialogue" {
		workloads[name]()
	}
	go workloads[name]()
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}
