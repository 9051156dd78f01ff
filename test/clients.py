#!/usr/bin/python3
"""Client libraries at work, and as they go wrong: psycopg, and SQLAlchemy over psycopg2.

    test/clients.py WAY [N]

Does what WAY says, with N connections, to the server that the PG* variables
name; prints "ready" when it has begun, and ends when its standard input does.
"""

import os
import random
import sys
import threading
import time
import traceback

import psycopg
import sqlalchemy
from sqlalchemy.orm import Session

WAYS = {}


def way(function):
    """A function that is a way is called by its name."""
    WAYS[function.__name__] = function
    return function


def connect(**params):
    return psycopg.connect("", **params)


def engine(**params):
    return sqlalchemy.create_engine("postgresql+psycopg2://", **params)


def in_threads(n, work):
    """Does it in n threads, again and again; returns when each has done it once.  An error ends the process."""
    done = threading.Barrier(n + 1)

    def forever():
        try:
            work()
            done.wait()
            while True:
                work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    for _ in range(n):
        threading.Thread(target=forever, daemon=True).start()
    done.wait()


# ---------- What goes wrong ----------


@way
def forgotten_commits(n):
    """Sessions of SQLAlchemy that have read something and were not closed."""
    pool = engine(pool_size=n)
    sessions = [Session(pool) for _ in range(n)]
    for session in sessions:
        session.execute(sqlalchemy.text("SELECT 1"))
    return sessions


@way
def failed_transactions(n):
    """Connections of psycopg whose statement failed, and that were not rolled back."""
    connections = [connect() for _ in range(n)]
    for connection in connections:
        try:
            connection.execute("SELECT 1 / 0")
        except psycopg.errors.DivisionByZero:
            pass
    return connections


@way
def engine_per_request(n):
    """An engine of SQLAlchemy for each request: each keeps a connection in a pool that is not used again."""
    engines = []
    for _ in range(n):
        engines.append(engine())
        with engines[-1].connect() as connection:
            connection.execute(sqlalchemy.text("SELECT pg_sleep(0.14)"))
    return engines


@way
def listeners(n):
    """A connection of psycopg that listens for each of n workers."""
    connections = [connect(autocommit=True) for _ in range(n)]
    for connection in connections:
        connection.execute("LISTEN news")
    return connections


@way
def statement(n):
    """A statement without an end in each of n connections of psycopg."""
    started = threading.Barrier(n + 1)

    def work():
        connection = connect(autocommit=True)
        started.wait()
        connection.execute("SELECT pg_sleep(600)")

    for _ in range(n):
        threading.Thread(target=work, daemon=True).start()
    started.wait()


@way
def behind_a_lock(n):
    """Threads of a pool of SQLAlchemy that wait for a table which a batch of psycopg has locked."""
    batch = connect(application_name="batch")
    batch.execute("LOCK TABLE stock")
    pool = engine(pool_size=n)

    def work():
        with pool.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT count(*) FROM stock"))

    for _ in range(n):
        threading.Thread(target=work, daemon=True).start()
    return batch, pool


@way
def stranded_lock(n):
    """A client of psycopg of a transaction pool that takes a lock for its session, and goes."""
    with connect(autocommit=True, prepare_threshold=None) as connection:
        connection.execute("SELECT pg_advisory_lock(7)")


@way
def waiters(n):
    """Clients that want that lock."""

    def work():
        connect(autocommit=True).execute("SELECT pg_advisory_lock(7)")

    for _ in range(n):
        threading.Thread(target=work, daemon=True).start()


@way
def reconnect(n):
    """Clients of psycopg without a pool that connect, ask something, and connect again, refused or not."""

    def work():
        try:
            with connect() as connection:
                connection.execute("SELECT pg_sleep(0.2)")
        except psycopg.OperationalError as error:
            if "slots" not in str(error) and "too many clients" not in str(error):
                raise

    in_threads(n, work)


@way
def rollout(n):
    """A pool of SQLAlchemy that opens all that it may."""
    pool = engine(pool_size=n)
    for connection in [pool.connect() for _ in range(n)]:
        connection.close()
    return pool


# ---------- What is well ----------


@way
def web(n):
    """A pool of SQLAlchemy for requests that come at random: a transaction each, then the answer is made."""
    pool = engine(pool_size=n, max_overflow=2)

    def work():
        with pool.begin() as connection:
            connection.execute(sqlalchemy.text("SELECT pg_sleep(0.005)"))
            connection.execute(sqlalchemy.text("UPDATE work SET n = n + 1 WHERE id = :id"), {"id": random.randrange(100)})
        time.sleep(random.expovariate(50))

    in_threads(n, work)
    return pool


@way
def batch(n):
    """Jobs of psycopg: one long transaction of many statements after the other."""

    def work():
        with connect() as connection:
            for _ in range(20):
                connection.execute("SELECT pg_sleep(0.02)")

    in_threads(n, work)


@way
def cron(n):
    """Jobs without a pool, a few in a second."""

    def work():
        with connect() as connection:
            connection.execute("SELECT 1")
        time.sleep(random.expovariate(2))

    in_threads(n, work)


@way
def notified(n):
    """One connection that listens, and one that notifies."""
    listener = connect(autocommit=True)
    listener.execute("LISTEN news")
    sender = connect(autocommit=True)

    def work():
        sender.execute("NOTIFY news, 'of something'")
        next(listener.notifies())

    in_threads(1, work)


if __name__ == "__main__":
    kept = WAYS[sys.argv[1]](int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    print("ready", flush=True)
    sys.stdin.read()
