#!/usr/bin/python3
"""Queueing for a pool, with SQLAlchemy's QueuePool, psycopg and threads.

    bench/python/queue_job.py '{"pool_size": 3, "max_overflow": 2, ...}'

Long operations take all connections and quick ones wait behind them; then all
are held, so that those that ask wait in vain; then all come back.  The server is that
of the PG* variables. bench/harness starts it.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool

from case import APPLICATION, ROLE, SESSIONS, Case

START_S = 0.05  # the long operations shall have their connections
SETTLE_S = 1.0  # the pool and pg_stat_activity shall come to rest


def connect():
    return psycopg.connect(user=ROLE, application_name=APPLICATION)


def operation(pool, seconds):
    """Returns how it ended, and how long it waited for its connection."""
    asked = time.monotonic()
    try:
        connection = pool.connect()
    except PoolTimeoutError:
        return "timed out", time.monotonic() - asked
    waited = time.monotonic() - asked
    try:
        connection.cursor().execute("SELECT pg_sleep(%s)", (seconds,))
    finally:
        connection.close()
    return "granted", waited


def line_up(case, pool, executor):
    options = case.options
    long_ones = [
        executor.submit(operation, pool, options["long_ms"] / 1000)
        for _ in range(options["long_operations"])
    ]
    case.pause(START_S)
    capacity = options["pool_size"] + options["max_overflow"]
    case.claim("connections in use while they work", capacity, pool.checkedout())
    quick_ones = [executor.submit(operation, pool, 0) for _ in range(options["quick_operations"])]
    ends = [future.result()[0] for future in long_ones + quick_ones]
    case.claim("granted", len(ends), ends.count("granted"))
    case.pause(SETTLE_S)
    case.claim("connections not released", 0, pool.checkedout())


def time_out(case, pool, executor):
    options = case.options
    held = [pool.connect() for _ in range(options["pool_size"] + options["max_overflow"])]
    case.pause(SETTLE_S)
    results = [
        future.result()
        for future in [executor.submit(operation, pool, 0) for _ in range(options["quick_operations"])]
    ]
    case.claim("timed out", len(results), sum(end == "timed out" for end, _ in results))
    waits_ms = [waited * 1000 for _, waited in results]
    latest_ms = options["pool_timeout_ms"] + options["tolerance_ms"]
    case.claim("earliest timeout in time", True, min(waits_ms) >= options["pool_timeout_ms"])
    case.claim("latest timeout in time", True, max(waits_ms) <= latest_ms)
    for connection in held:
        connection.close()
    case.pause(SETTLE_S)


def come_back(case, pool, admin):
    case.claim("connections not released", 0, pool.checkedout())
    case.claim("idle connections in the server", pool.checkedin(), admin.execute(SESSIONS).fetchone()[0])
    case.claim("granted after the release", "granted", operation(pool, 0)[0])
    pool.dispose()
    case.pause(SETTLE_S)
    case.claim("sessions left at the end", 0, admin.execute(SESSIONS).fetchone()[0])


def main():
    case = Case()
    options = case.options
    admin = psycopg.connect(autocommit=True)
    pool = QueuePool(
        connect,
        pool_size=options["pool_size"],
        max_overflow=options["max_overflow"],
        timeout=options["pool_timeout_ms"] / 1000,
    )
    case.pause(SETTLE_S)
    with ThreadPoolExecutor(options["long_operations"] + options["quick_operations"]) as executor:
        line_up(case, pool, executor)
        time_out(case, pool, executor)
    come_back(case, pool, admin)
    admin.close()
    case.report()


if __name__ == "__main__":
    main()
