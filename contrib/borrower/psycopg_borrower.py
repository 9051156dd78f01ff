"""Tells PostgreSQL which line of the application has a connection of psycopg_pool.

    pool = psycopg_borrower.BorrowerPool(conninfo)

Taking a connection adds a round trip.  That of giving it back is made by a worker
of the pool, after the application has gone on.
"""

import contextvars
import os
import re
import sys

import psycopg_pool
from psycopg.pq import ExecStatus

request = contextvars.ContextVar("request", default="")

_HERE = sys._getframe().f_code.co_filename
_LIBRARY = os.path.dirname(psycopg_pool.__file__)


def _between(file):
    """The pool itself, or "with pool.connection()" on its way there."""
    return file.startswith((_LIBRARY, _HERE)) or os.path.basename(file) == "contextlib.py"


def caller():
    """The first line of the stack that is not of the pool, and the request."""
    frame = sys._getframe(1)
    while frame.f_back and _between(frame.f_code.co_filename):
        frame = frame.f_back
    where = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
    return f"{where} {request.get()}".strip()


def _say(connection, borrower):
    """Outside of a transaction, which would take it back with what it rolls back."""
    text = re.sub(r"['\\]", "_", borrower)
    result = connection.pgconn.exec_(f"SET pool_exhaust.borrower = '{text}'".encode())
    return result.status == ExecStatus.COMMAND_OK


class BorrowerPool(psycopg_pool.ConnectionPool):
    """A ConnectionPool whose connections say which line has them."""

    def __init__(self, *args, reset=None, **params):
        def empty(connection):
            _say(connection, "")
            if reset:
                reset(connection)

        super().__init__(*args, reset=empty, **params)

    def getconn(self, timeout=None):
        connection = super().getconn(timeout)
        _say(connection, caller())
        return connection
