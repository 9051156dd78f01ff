// database/sql over lib/pq; see common.go.
package main

import (
	"context"
	"database/sql"
	"strings"

	_ "github.com/lib/pq"
)

type db struct{ *sql.DB }

type conn struct{ *sql.Conn }

func (d db) Take() Connection {
	c, err := d.Conn(context.Background())
	check(err)
	return conn{c}
}

func (c conn) Ask(text string) (value string) {
	check(c.QueryRowContext(context.Background(), text).Scan(&value))
	return
}

func (c conn) Do(text string) {
	_, err := c.ExecContext(context.Background(), text)
	check(err)
}

func (c conn) Give() { check(c.Close()) }

// lib/pq asks for TLS unless told otherwise.
func open(size int) Pool {
	separator := "?"
	if strings.Contains(conninfo, "?") {
		separator = "&"
	}
	d, err := sql.Open("postgres", conninfo+separator+"sslmode=disable")
	check(err)
	d.SetMaxOpenConns(size)
	d.SetMaxIdleConns(size)
	return db{d}
}

func main() {
	begin(open)
}
