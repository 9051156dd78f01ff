#!/usr/bin/python3
"""asyncpg, its loop in a thread of its own; see common.py."""

import asyncio
import sys
import threading

import asyncpg
import common

THIS = sys.modules[__name__]
LOOP = asyncio.new_event_loop()


def result(coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, LOOP).result()


def pool(size):
    async def made():
        return await asyncpg.create_pool(
            common.CONNINFO, min_size=min(2, size), max_size=size, max_inactive_connection_lifetime=0
        )

    return result(made())


def take(connections):
    async def taken():
        return await connections.acquire()

    return result(taken())


def give(connections, connection):
    async def given():
        await connections.release(connection)

    result(given())


def ask(connection, sql):
    return result(connection.fetchval(sql))


def begin(connection):
    result(connection.execute("BEGIN"))


threading.Thread(target=LOOP.run_forever, daemon=True).start()
common.common(THIS)
if __name__ == "__main__":
    common.main()
