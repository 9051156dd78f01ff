"""A web service behind PgBouncer, with a pool, which says so when that is full.

/report needs the database, /livez and /about do not. The server is that of the
PG* variables.
"""

import threading

import psycopg
from flask import Flask, jsonify
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

POOL_SIZE, MAX_OVERFLOW = 2, 1
MAX_WAITING = 5  # so that there are always threads for what needs no connection


def connect():
    # PgBouncer in transaction mode keeps no prepared statements for anybody.
    return psycopg.connect(prepare_threshold=None, connect_timeout=5)


app = Flask(__name__)
pool = QueuePool(connect, pool_size=POOL_SIZE, max_overflow=MAX_OVERFLOW, timeout=1)
room = threading.BoundedSemaphore(POOL_SIZE + MAX_OVERFLOW + MAX_WAITING)


class Full(Exception):
    """There is no room in the queue either."""


@app.errorhandler(Full)
@app.errorhandler(PoolTimeout)
@app.errorhandler(psycopg.OperationalError)
def unavailable(_):
    return jsonify(error="no database connection is free"), 503, {"Retry-After": "1"}


def query(sql):
    if not room.acquire(blocking=False):
        raise Full
    try:
        connection = pool.connect()
        try:
            return connection.cursor().execute(sql).fetchone()[0]
        finally:
            connection.close()  # gives it back
    finally:
        room.release()


@app.get("/report")
def report():
    return jsonify(at=query("SELECT now()::text FROM pg_sleep(0.1)"))


@app.get("/livez")
def livez():
    return jsonify(status="ok")


@app.get("/about")
def about():
    return jsonify(service="example")
