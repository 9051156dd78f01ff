#!/usr/bin/python3
"""psycopg without a pool; see common.py."""

import queue
import random
import signal
import sys

import common
import psycopg
from common import rest, say, serve, workload

THIS = sys.modules[__name__]


def connect():
    return psycopg.connect(common.CONNINFO, autocommit=True)


class Opened:
    """What an application makes by itself: opens them all."""

    def __init__(self, size):
        super().__init__()
        for _ in range(size):
            self.put(connect())


class Pool(Opened, queue.LifoQueue):
    """The last one given back is the next one taken."""


class PoolInTurn(Opened, queue.Queue):
    """Each is taken in turn."""


def pool(size):
    return Pool(size)


def take(connections):
    return connections.get()


def give(connections, connection):
    connections.put(connection)


def ask(connection, sql):
    return connection.execute(sql).fetchone()[0]


def begin(connection):
    connection.execute("BEGIN")


@workload
def notebooks():
    """Twenty people come in one by one and try a statement; each goes on after 20 thresholds."""
    say("ready")
    people = []
    for turn in range(1000):
        if turn < 20:
            people.append(connect())
            ask(people[turn], "SELECT 1")
        if turn >= 20:
            ask(people[turn % 20], "SELECT 1")
        rest(1)


@workload
def notebooks_at_work():
    """The same, and some of them work all the time."""
    people = []
    say("ready")
    for i in range(20):
        people.append(connect())
        ask(people[i], "SELECT 1")
        rest(1)
        if i % 4 == 3:
            ask(random.choice(people), "SELECT 1")
    while True:
        ask(random.choice(people), "SELECT 1")
        rest(3)


@workload
def listeners():
    """Eight workers come up one by one, and each listens; beside them a pool at work."""
    serve(THIS, [Pool(4)])
    say("ready")
    for _ in range(8):
        connection = connect()
        common.KEPT.append(connection)
        connection.execute("LISTEN news")
        rest(1)


@workload
def foreign_tables():
    """Eighteen sessions at work, each with a connection that postgres_fdw keeps for it."""
    local = queue.Queue()
    serve(THIS, [local])
    say("ready")
    for _ in range(18):
        session = connect()
        ask(session, "SELECT n FROM far")
        local.put(session)
        rest(1)


@workload
def generation():
    """A process of a service, to be stopped or killed."""
    serve(THIS, [Pool(5)], threads=6)


@workload
def generation_in_turn():
    serve(THIS, [PoolInTurn(5)], threads=6)


def sessions():
    """The sessions that this role has, but for the one that asks."""
    with connect() as connection:
        return [
            pid
            for (pid,) in connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()"
            )
        ]


def stop(process):
    """Stops it as a debugger, a frozen container, a hung host does: nothing is closed, nothing answers."""
    pids = sessions()
    process.send_signal(signal.SIGSTOP)
    for pid in pids:
        say(pid, "leaked", "stopped client")


@workload
def stopped():
    process = common.child("generation")
    say("ready")
    rest(6)
    stop(process)
    common.KEPT.append(process)


def vanish(down, generation="generation", pool=Pool):
    """The same, and after so long the service is up again at the same address."""
    process = common.child(generation)
    say("ready")
    rest(6)
    stop(process)
    common.KEPT.append(process)
    rest(down)
    serve(THIS, [pool(5)], threads=6)


@workload
def vanished():
    vanish(2)


@workload
def vanished_in_turn():
    vanish(2, "generation_in_turn", PoolInTurn)


@workload
def vanished_briefly():
    vanish(0)


@workload
def statement():
    """A client that is killed in its statement."""
    for _ in range(4):
        connection = connect()
        common.in_background(lambda c=connection: c.execute("SELECT pg_sleep(600)"))


@workload
def killed():
    process = common.child("statement")
    serve(THIS, [Pool(3)])
    say("ready")
    rest(3)
    with connect() as connection:
        pids = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE usename = current_user AND query ~ 'sleep.600'"
            " AND state = 'active' AND pid <> pg_backend_pid()"
        ).fetchall()
    process.kill()
    process.wait()
    for (pid,) in pids:
        say(pid, "leaked", "dead client")


common.common(THIS)
if __name__ == "__main__":
    common.main()
