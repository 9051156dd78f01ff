"""A service as people write it, before anybody thought of running out.

    gunicorn --bind 127.0.0.1:8000 --threads 4 before:app

DATABASE_URL is a libpq connection string. See docs/http.md for what scenario
backpressure has to say about it, and after.py for what to change.
"""

import os

import psycopg
from flask import Flask, jsonify
from sqlalchemy.pool import QueuePool

app = Flask(__name__)
pool = QueuePool(
    lambda: psycopg.connect(os.environ["DATABASE_URL"]), pool_size=2, max_overflow=1, timeout=2
)


def query(sql):
    connection = pool.connect()
    try:
        cursor = connection.cursor()
        cursor.execute(sql)
        return cursor.fetchone()[0]
    finally:
        connection.close()  # gives it back


@app.get("/orders")
def orders():
    return jsonify(orders=query("SELECT count(*) FROM pg_class, pg_sleep(0.5)"))


@app.get("/version")
def version():
    return jsonify(version="1.0")


@app.get("/healthz")
def healthz():
    return jsonify(database=query("SELECT 1"))
