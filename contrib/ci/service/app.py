"""A web service with a pool, which says so when that is full.

/report needs the database, /livez and /about do not. The server is that of the
PG* variables.
"""

import psycopg
from flask import Flask, jsonify
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

RETRY_AFTER_S = 1


def connect():
    # PgBouncer in transaction mode knows no prepared statements.
    return psycopg.connect(prepare_threshold=None, connect_timeout=5)


app = Flask(__name__)
pool = QueuePool(connect, pool_size=2, max_overflow=1, timeout=1)


def unavailable(error):
    """The one answer for a database that cannot be had: not now, try again."""
    response = jsonify(error="no database connection is free")
    response.status_code = 503
    response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


app.register_error_handler(PoolTimeout, unavailable)  # the pool is full
app.register_error_handler(psycopg.OperationalError, unavailable)  # or what is behind it


@app.get("/report")
def report():
    connection = pool.connect()
    try:
        row = connection.cursor().execute("SELECT now()::text FROM pg_sleep(0.1)").fetchone()
    finally:
        connection.close()
    return jsonify(at=row[0])


@app.get("/livez")
def livez():
    return jsonify(status="ok")


@app.get("/about")
def about():
    return jsonify(service="example")
