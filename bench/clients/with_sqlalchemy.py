#!/usr/bin/python3
"""SQLAlchemy over psycopg2; see common.py."""

import sys

import common
import sqlalchemy
import sqlalchemy.pool
from common import in_background, request, rest, say, serve, workload

THIS = sys.modules[__name__]


def pool(size, **params):
    return sqlalchemy.create_engine(
        common.CONNINFO, pool_size=size, max_overflow=0, isolation_level="AUTOCOMMIT", **params
    )


def transactional(size):
    """What people have by default: transactions."""
    return sqlalchemy.create_engine(common.CONNINFO, pool_size=size, max_overflow=0)


def take(engine):
    return engine.connect()


def give(_, connection):
    connection.close()


def ask(connection, sql):
    return connection.exec_driver_sql(sql).scalar()


def begin(connection):
    connection.exec_driver_sql("BEGIN")


def lose_tagged(engine):
    """Requests that commit, and some that are not closed."""
    serve(THIS, [engine])
    say("ready")
    rest(2)
    for _ in range(6):
        rest(2)
        common.lose(THIS, engine, engine.connect(), "tagged")


@workload
def tagged():
    import sqlalchemy_borrower

    engine = pool(28)
    sqlalchemy_borrower.install(engine)
    lose_tagged(engine)


@workload
def tagged_in_transaction():
    """For a pooler in transaction mode: the tag ends with the transaction."""
    import sqlalchemy_borrower

    engine = transactional(28)
    sqlalchemy_borrower.install(engine, local=True)
    lose_tagged(engine)


@workload
def in_transactions():
    """Requests with transactions, as they come by default."""
    serve(THIS, [transactional(8)])
    say("ready")


@workload
def cron():
    """A thread that wakes every 12 thresholds, in a service whose pool came up later."""
    job = pool(1)

    def work():
        connection = job.connect()
        while True:
            ask(connection, "SELECT 1")
            rest(12)

    in_background(work)
    say("ready")
    rest(2)
    serve(THIS, [pool(8)])


@workload
def second_engine():
    """An engine for reports that are asked for each 10 thresholds, in a service whose pool grows."""
    reports = pool(1)

    def work():
        while True:
            request(THIS, reports)
            rest(10)

    in_background(work)
    say("ready")
    web = pool(10)
    serve(THIS, [web], threads=2)
    for _ in range(6):
        rest(2)
        serve(THIS, [web], threads=2)


@workload
def lost_before_rush():
    """Two are lost while there is little to do, and then the pool grows."""
    web = pool(20)
    serve(THIS, [web], threads=2)
    say("ready")
    rest(2)
    for _ in range(2):
        common.lose(THIS, web, take(web), "lost")
    for _ in range(6):
        rest(2)
        serve(THIS, [web], threads=3)


@workload
def rolling():
    """Four instances with pools of their own, replaced one by one: drained for 3 thresholds, then closed."""
    instances = [pool(4) for _ in range(4)]
    serve(THIS, instances, threads=12)
    say("ready")
    for i in range(8):
        rest(4)
        old = instances[i % 4]
        instances[i % 4] = pool(4)
        rest(3)
        old.dispose()


@workload
def blue_green():
    """The old side, small, stays warm without traffic, and takes over again after 20 thresholds."""
    blue, green = pool(2), pool(8)
    side = [blue]
    serve(THIS, side, threads=10)
    say("ready")
    rest(5)
    side[0] = green
    rest(20)
    side[0] = blue


@workload
def scale_out():
    """From one instance to five, and the same traffic for all of them."""
    instances = [pool(5)]
    serve(THIS, instances, threads=10)
    say("ready")
    for _ in range(4):
        rest(5)
        instances.append(pool(5))


@workload
def reload():
    """A hot reload makes a new engine and forgets the old one with its five connections."""
    current = [pool(5)]
    serve(THIS, current, threads=8)
    say("ready")
    for _ in range(7):
        rest(4)
        old, current[0] = current[0], pool(5)
        common.KEPT.append(old)
        rest(0.2)  # its last requests end
        for connection in [old.connect() for _ in range(old.pool.checkedin())]:
            pid = ask(connection, "SELECT pg_backend_pid()")
            connection.close()
            say(pid, "leaked", "reload")


@workload
def slow_logins():
    """An engine for each request, and a login that takes a third of a threshold."""
    say("ready")
    for _ in range(20):
        rest(0.5)
        engine = transactional(1)
        connection = engine.raw_connection()
        rest(0.33)
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
        connection.close()
        common.KEPT.append(engine)
        say(pid, "leaked", "per request")


@workload
def clients():
    """Clients of a pooler: many pools of one connection for requests now and then."""
    serve(THIS, [pool(1) for _ in range(12)], threads=6)
    say("ready")


def dialogue_with(engine):
    common.dialogue(
        engine.connect,
        lambda c: c.close(),
        ask,
        begin=lambda c: c.get_transaction() or c.begin(),
        commit=lambda c: c.get_transaction().commit(),
        rollback=lambda c: c.get_transaction().rollback(),
    )


@workload
def dialogue():
    import sqlalchemy_borrower

    dialogue_with(sqlalchemy_borrower.install(transactional(1)))


@workload
def dialogue_autocommit():
    import sqlalchemy_borrower

    dialogue_with(sqlalchemy_borrower.install(pool(1)))


@workload
def dialogue_local():
    import sqlalchemy_borrower

    dialogue_with(sqlalchemy_borrower.install(transactional(1), local=True))


common.common(THIS)
if __name__ == "__main__":
    common.main()
