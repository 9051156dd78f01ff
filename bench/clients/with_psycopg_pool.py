#!/usr/bin/python3
"""psycopg_pool; see common.py."""

import sys

import common
import psycopg_pool
from common import rest, say, serve, workload

THIS = sys.modules[__name__]
AUTOCOMMIT = {"autocommit": True}


def pool(size, kind=psycopg_pool.ConnectionPool, **params):
    params = {"min_size": min(2, size), "max_size": size, "max_idle": 600, **params}
    made = kind(common.CONNINFO, kwargs=AUTOCOMMIT, **params)
    made.wait()
    return made


def take(connections):
    return connections.getconn()


def give(connections, connection):
    connections.putconn(connection)


def ask(connection, sql):
    return connection.execute(sql).fetchone()[0]


def begin(connection):
    connection.execute("BEGIN")


@workload
def tagged():
    import psycopg_borrower

    connections = pool(28, kind=psycopg_borrower.BorrowerPool)
    serve(THIS, [connections])
    say("ready")
    rest(2)
    for _ in range(6):
        rest(2)
        common.lose(THIS, connections, connections.getconn(), "tagged")


@workload
def shrink():
    """A burst each 10 thresholds; the pool gives up a connection that it has not needed for 4."""
    connections = pool(10, max_idle=4 * common.THRESHOLD_S)
    serve(THIS, [connections], threads=2)
    say("ready")

    def work():
        taken = connections.getconn()
        for _ in range(10):
            ask(taken, "SELECT 1")
            rest(0.02)
        connections.putconn(taken)

    while True:
        rest(10)
        for _ in range(5):
            for _ in range(10):
                common.in_background(work)
            rest(0.25)


@workload
def dialogue():
    import psycopg_borrower

    connections = psycopg_borrower.BorrowerPool(common.CONNINFO, min_size=1, max_size=1)
    common.dialogue(
        connections.getconn,
        connections.putconn,
        ask,
        begin=lambda c: None,  # by itself
        commit=lambda c: c.commit(),
        rollback=lambda c: c.rollback(),
    )


common.common(THIS)
if __name__ == "__main__":
    common.main()
