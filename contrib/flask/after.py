"""The service of before.py, with backpressure.

    gunicorn --bind 127.0.0.1:8000 --threads 16 after:app

What is different:

1. No more requests than QUEUE wait for the pool, and for no longer than a second;
   so they never take all the threads.
2. A request that finds no connection is refused with 503, Retry-After and JSON, and so
   is a request that comes when the queue is full.
3. Errors are JSON, all of them with the same keys.
4. Liveness says that the process lives, and asks nothing else.
"""

import os
import threading

import psycopg
from flask import Flask, jsonify
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool
from werkzeug.exceptions import HTTPException

CAPACITY, QUEUE = 3, 5  # together half of the threads, at the most

app = Flask(__name__)
pool = QueuePool(
    lambda: psycopg.connect(os.environ["DATABASE_URL"]), pool_size=2, max_overflow=1, timeout=1
)
room = threading.BoundedSemaphore(CAPACITY + QUEUE)


class Busy(Exception):
    pass


def query(sql):
    if not room.acquire(blocking=False):
        raise Busy
    try:
        connection = pool.connect()
        try:
            cursor = connection.cursor()
            cursor.execute(sql)
            return cursor.fetchone()[0]
        finally:
            connection.close()  # gives it back
    finally:
        room.release()


def error(status, message):
    return jsonify(error=status, message=message), status


@app.errorhandler(Busy)
@app.errorhandler(PoolTimeout)
@app.errorhandler(psycopg.OperationalError)
def busy(_):
    return *error(503, "all connections are in use"), {"Retry-After": "1"}


@app.errorhandler(HTTPException)
def http_error(e):
    return error(e.code, e.name)


@app.get("/orders")
def orders():
    return jsonify(orders=query("SELECT count(*) FROM pg_class, pg_sleep(0.5)"))


@app.get("/version")
def version():
    return jsonify(version="1.0")


@app.get("/healthz")
def healthz():
    return jsonify(status="ok")
