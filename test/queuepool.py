#!/usr/bin/python3
"""SQLAlchemy's QueuePool under the load of a churn.

    test/queuepool.py '{"seed": 7, "rate": 100, "pool_size": 3, ...}'

Plays the schedule that phase churn of scenario accuracy plays for the same
options, through sqlalchemy.pool.QueuePool over connections of psycopg to the
server that the PG* variables name, and prints the same figures as one JSON
object.  Each arrival is a client with a thread of its own: it asks, keeps what
it got for as long as the schedule says, or fails at once, and gives it back.

The schedule is the same to the last bit, the pool is not:

- A connection that is given back goes into a queue, and one that waits is woken
  to fetch it.  A client that asks before that thread runs takes the connection, and
  the woken one lines up again at the end, with what is left of its time.
- A client that finds less than all connections open opens one, in its own thread, and
  takes none that is given back meanwhile; its timeout does not cover that.
- From one client to the next a connection passes through the scheduler of the
  system and the interpreter's lock, which costs tenths of a millisecond on a
  machine at rest, and milliseconds on a busy one.
"""

import json
import math
import statistics
import sys
import threading
import time
from dataclasses import dataclass

import psycopg
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

UINT64 = (1 << 64) - 1
ARRIVALS, HOLDS, FAILURES = 1, 2, 3  # streams of random numbers
BATCHES = 20
LEAD_S = 0.05  # so that the first clients are not late


def rotate_left(x, bits):
    return (x << bits | x >> (64 - bits)) & UINT64


class Prng:
    """PostgreSQL's pg_prng.c: xoroshiro128**, seeded by splitmix64."""

    def __init__(self, seed):
        self.state = []
        for _ in range(2):
            seed = (seed + 0x9E3779B97F4A7C15) & UINT64
            value = seed
            value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & UINT64
            value = (value ^ value >> 27) * 0x94D049BB133111EB & UINT64
            self.state.append(value ^ value >> 31)

    def uint64(self):
        s0, sx = self.state[0], self.state[0] ^ self.state[1]
        self.state = [rotate_left(s0, 24) ^ sx ^ (sx << 16 & UINT64), rotate_left(sx, 37)]
        return rotate_left(s0 * 5 & UINT64, 7) * 9 & UINT64

    def double(self):
        return math.ldexp(self.uint64() >> 12, -52)

    def exponential(self):
        return -math.log(1 - self.double())


@dataclass
class Client:
    start: float  # seconds since the begin, as all times here
    hold: float
    failing: bool
    queued: bool = False  # found the pool full
    timed_out: bool = False
    granted: float = None
    returned: float = None

    def run(self, pool, capacity, begin):
        self.queued = pool.checkedout() >= capacity
        try:
            connection = pool.connect()
        except PoolTimeoutError:
            self.timed_out = True
            return
        self.granted = time.monotonic() - begin
        try:
            if self.failing:
                connection.cursor().execute("SELECT 1 / 0")
            time.sleep(self.hold)
        except psycopg.errors.DivisionByZero:
            pass  # on purpose
        finally:
            self.returned = time.monotonic() - begin
            connection.close()


def schedule(options):
    arrivals, holds, failures = (
        Prng(options["seed"] * 16 + stream & UINT64) for stream in (ARRIVALS, HOLDS, FAILURES)
    )
    clients = []
    start = arrivals.exponential() / options["rate"]
    while start * 1000 < options["churn_ms"]:
        hold = holds.exponential() * options["work_ms"] / 1000
        failing = failures.double() * 100 < options["failing_percent"]
        clients.append(Client(start, hold, failing))
        start += arrivals.exponential() / options["rate"]
    return clients


def play(clients, options):
    """Lets the clients come and go; returns the most connections beyond pool_size."""
    peak_overflow = 0

    def connect():
        nonlocal peak_overflow
        peak_overflow = max(peak_overflow, pool.overflow())  # has this one already
        return psycopg.connect()

    pool = QueuePool(
        connect,
        pool_size=options["pool_size"],
        max_overflow=options["max_overflow"],
        timeout=options["pool_timeout_ms"] / 1000,
        use_lifo=options["idle_order"] == "lifo",
    )
    capacity = options["pool_size"] + options["max_overflow"]
    threads = []
    begin = time.monotonic() + LEAD_S
    for client in clients:
        time.sleep(max(0, begin + client.start - time.monotonic()))
        threads.append(threading.Thread(target=client.run, args=(pool, capacity, begin)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    if pool.checkedout() != 0 or not all(client.returned or client.timed_out for client in clients):
        sys.exit(f"not every client came to its end: {pool.status()}")
    pool.dispose()
    return peak_overflow


def figures(clients, options, peak_overflow):
    granted = [client for client in clients if client.granted is not None]
    waits = [(client.granted - client.start) * 1000 for client in granted]
    batches = [
        statistics.mean(waits[len(waits) * i // BATCHES : len(waits) * (i + 1) // BATCHES])
        for i in range(BATCHES)
    ]
    ordered = sorted(waits)
    return {
        "arrivals": len(clients),
        "granted": len(granted),
        "refused": 0,
        "timed_out": sum(client.timed_out for client in clients),
        "failed": sum(client.failing for client in granted),
        "rate_per_s": len(clients) * 1000 / options["churn_ms"],
        "mean_hold_ms": statistics.mean(client.returned - client.granted for client in granted) * 1000,
        "mean_wait_ms": statistics.mean(waits),
        "wait_error_ms": statistics.stdev(batches) / math.sqrt(BATCHES),
        **{
            f"wait_p{percent}_ms": ordered[len(ordered) * percent // 100]
            for percent in (10, 25, 50, 75, 90, 99)
        },
        "wait_max_ms": ordered[-1],
        "queued": sum(client.queued for client in granted),
        "peak_overflow": peak_overflow,
    }


def main():
    options = {"failing_percent": 0, "idle_order": "lifo", **json.loads(sys.argv[1])}
    clients = schedule(options)
    peak_overflow = play(clients, options)
    print(json.dumps(figures(clients, options, peak_overflow)))


if __name__ == "__main__":
    main()
