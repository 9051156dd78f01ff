// Package borrower tells PostgreSQL which line of the application has a connection of pgxpool:
//
//	config, err := pgxpool.ParseConfig(...)
//	borrower.Install(config)
//	pool, err := pgxpool.ConnectConfig(ctx, config)
//
//	conn, err := pool.Acquire(borrower.With(ctx, "request 8f2")) // the request is said as well
//
// Taking a connection adds a round trip. That of giving it back is made by pgxpool after the
// application has gone on.
package borrower

import (
	"context"
	"fmt"
	"path"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
)

type key struct{}

// patience is for emptying it; a connection that does not answer is closed.
const patience = 5 * time.Second

// With adds what is said of those that take a connection with this context.
func With(ctx context.Context, request string) context.Context {
	return context.WithValue(ctx, key{}, request)
}

// Install sets the hooks of a pool that is to be made, before those that it has.
func Install(config *pgxpool.Config) {
	before, after := config.BeforeAcquire, config.AfterRelease
	config.BeforeAcquire = func(ctx context.Context, conn *pgx.Conn) bool {
		text := caller()
		if request, ok := ctx.Value(key{}).(string); ok {
			text += " " + request
		}
		return say(ctx, conn, text) && (before == nil || before(ctx, conn))
	}
	config.AfterRelease = func(conn *pgx.Conn) bool {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		return say(ctx, conn, "") && (after == nil || after(conn))
	}
}

// say is false if the connection is of no use any more; the pool takes another one then.
func say(ctx context.Context, conn *pgx.Conn, borrower string) bool {
	text := strings.NewReplacer("'", "_", "\\", "_").Replace(borrower)
	_, err := conn.PgConn().Exec(ctx, "SET pool_exhaust.borrower = '"+text+"'").ReadAll()
	return err == nil
}

// caller is the first line of the stack that is neither of this file nor of the pool.
func caller() string {
	var counters [32]uintptr
	frames := runtime.CallersFrames(counters[:runtime.Callers(3, counters[:])])
	for {
		frame, more := frames.Next()
		if !strings.Contains(frame.Function, "jackc/pgx/v4/pgxpool.") && !strings.Contains(frame.Function, "/borrower.") {
			return fmt.Sprintf("%s:%d", path.Base(frame.File), frame.Line)
		}
		if !more {
			return "unknown"
		}
	}
}
