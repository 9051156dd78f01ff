// pgxpool; see common.go.
package main

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v4/pgxpool"

	"borrower"
)

type pool struct{ *pgxpool.Pool }

type conn struct{ *pgxpool.Conn }

func (p pool) Take() Connection {
	c, err := p.Acquire(context.Background())
	check(err)
	return conn{c}
}

func (c conn) Ask(text string) (value string) {
	err := c.QueryRow(context.Background(), text).Scan(&value)
	if err != nil && !strings.Contains(err.Error(), "division by zero") {
		check(err)
	}
	return
}

func (c conn) Do(text string) {
	_, err := c.Exec(context.Background(), text)
	check(err)
}

func (c conn) Give() { c.Release() }

func open(size int, tagged bool) Pool {
	config, err := pgxpool.ParseConfig(conninfo)
	check(err)
	config.MaxConns = int32(size)
	config.MaxConnIdleTime = 1 << 60
	if tagged {
		borrower.Install(config)
	}
	p, err := pgxpool.ConnectConfig(context.Background(), config)
	check(err)
	return pool{p}
}

func main() {
	workloads["tagged"] = func() { besideService(open(28, true), 6, "tagged", false) }
	workloads["dialogue"] = func() { dialogue(open(1, true)) }
	begin(func(size int) Pool { return open(size, false) })
}
