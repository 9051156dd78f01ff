#!/usr/bin/python3
"""Connection saturation, with asyncio and asyncpg.

    bench/python/saturation_job.py '{"capacity": 97, "attempts": 10}'

Opens connections in batches until the server refuses, counts them, attempts, lets
a superuser in, closes, looks whether all are gone, and connects once more.
The server is that of the PG* variables. bench/harness starts it.
"""

import asyncio

import asyncpg

from case import APPLICATION, ROLE, SESSIONS, Case

BATCH = 10
SETTLE_S = 1.0  # pg_stat_activity shall catch up
BATCH_PAUSE_S = 0.1  # not to overload the server
ATTEMPT_PAUSE_S = 0.1
RELEASE_S = 2.0  # sessions need a moment to go


def connect():
    return asyncpg.connect(user=ROLE, server_settings={"application_name": APPLICATION})


async def fill(case, connections):
    """Opens connections until one is refused."""
    refused = False
    while not refused:
        batch = await asyncio.gather(*(connect() for _ in range(BATCH)), return_exceptions=True)
        connections += [c for c in batch if isinstance(c, asyncpg.Connection)]
        refused = any(isinstance(c, asyncpg.TooManyConnectionsError) for c in batch)
        case.claim("other errors", 0, sum(
            isinstance(c, BaseException) and not isinstance(c, asyncpg.TooManyConnectionsError)
            for c in batch))
        await case.pause_async(BATCH_PAUSE_S)


async def attempt(case, connections):
    """Returns how many of the further attempts were refused."""
    refused = 0
    for _ in range(case.options["attempts"]):
        try:
            connections.append(await connect())
        except asyncpg.TooManyConnectionsError:
            refused += 1
        await case.pause_async(ATTEMPT_PAUSE_S)
    return refused


async def main():
    case = Case()
    connections = []
    admin = await asyncpg.connect()
    before = await admin.fetchval("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
    room = case.options["capacity"] - before
    await case.pause_async(SETTLE_S)

    await fill(case, connections)
    await case.pause_async(SETTLE_S)
    case.claim("held connections", room, len(connections))
    case.claim("sessions in pg_stat_activity", room, await admin.fetchval(SESSIONS))

    case.claim("refused attempts", case.options["attempts"], await attempt(case, connections))
    superuser = await asyncpg.connect()
    case.claim("superuser granted", 1, await superuser.fetchval("SELECT 1"))
    await superuser.close()

    await asyncio.gather(*(c.close() for c in connections))
    await case.pause_async(RELEASE_S)
    case.claim("sessions left after the release", 0, await admin.fetchval(SESSIONS))
    again = await connect()
    case.claim("granted after the release", 1, await again.fetchval("SELECT 1"))
    await again.close()
    await case.pause_async(SETTLE_S)
    case.claim("sessions left at the end", 0, await admin.fetchval(SESSIONS))
    await admin.close()
    case.report()


if __name__ == "__main__":
    asyncio.run(main())
