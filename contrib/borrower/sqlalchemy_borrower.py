"""Tells PostgreSQL which line of the application has a connection of SQLAlchemy.

    engine = sqlalchemy.create_engine("postgresql+psycopg2://...")
    sqlalchemy_borrower.install(engine)

Taking a connection adds no round trip with psycopg2: what is to be said goes with
the first statement.  Giving it back adds none after a transaction that was rolled
back, which is what SQLAlchemy does with one that was not committed; else one.
With other drivers each adds one.

    sqlalchemy_borrower.install(engine, local=True)

is for poolers that lend their connections for a transaction: it is said in each
transaction anew and ends with it, so no other client is taken for the borrower.
That adds no round trip.

    sqlalchemy_borrower.request.set("request 8f2")      # is said as well
"""

import contextlib
import contextvars
import os
import re
import sys

import sqlalchemy
from sqlalchemy import event

request = contextvars.ContextVar("request", default="")

_HERE = sys._getframe().f_code.co_filename
_LIBRARY = os.path.dirname(sqlalchemy.__file__)
_BORROWER = "borrower"
_SAID = "borrower_said"  # in this checkout; a transaction that is rolled back takes it back
_STAYS = "borrower_stays"  # it is no longer undone by that

# What may stand in one text with others; VACUUM and its like may not.
_TOGETHER = re.compile(r"\s*(select|insert|update|delete|with|values|begin)\b", re.IGNORECASE)


def caller():
    """The first line of the stack that is not of SQLAlchemy, and the request."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith((_LIBRARY, _HERE, "<")):
        frame = frame.f_back
    where = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"
    return f"{where} {request.get()}".strip()


def _set(borrower, local):
    text = re.sub(r"['\\%]", "_", borrower)
    return f"SET {'LOCAL ' if local else ''}pool_exhaust.borrower = '{text}'"


def install(engine, local=False):
    together = engine.dialect.driver == "psycopg2"

    @event.listens_for(engine, "checkout")
    def checkout(_connection, record, _proxy):
        record.info.update({_BORROWER: caller(), _SAID: False, _STAYS: False})

    @event.listens_for(engine, "before_cursor_execute", retval=True)
    def first_statement(connection, cursor, statement, parameters, _context, executemany):
        info, raw = connection.info, connection.connection
        if info.get(_SAID, True) or local and raw.autocommit:
            return statement, parameters
        info.update({_SAID: True, _STAYS: info[_STAYS] or raw.autocommit})
        text = _set(info[_BORROWER], local)
        in_server = getattr(cursor, "name", None)  # is the cursor
        if together and not executemany and not in_server and _TOGETHER.match(statement):
            return f"{text}; {statement}", parameters
        with contextlib.closing(raw.cursor()) as aside:
            aside.execute(text)
        return statement, parameters

    @event.listens_for(engine, "commit")
    def commit(connection):
        connection.info.update({_SAID: not local and connection.info.get(_SAID), _STAYS: not local})

    @event.listens_for(engine, "rollback")
    def rollback(connection):
        connection.info[_SAID] = connection.info.get(_STAYS, False)

    @event.listens_for(engine, "handle_error")
    def error(context):
        """A statement that fails outside of a transaction takes back what went with it."""
        if context.connection is not None and not context.is_disconnect and context.connection.connection.autocommit:
            context.connection.info[_SAID] = False

    @event.listens_for(engine, "checkin")
    def checkin(raw, record):
        stays = record.info.pop(_STAYS, False)
        record.info.pop(_SAID, None)
        if not stays or raw is None:
            return
        try:
            autocommit, raw.autocommit = raw.autocommit, True
            with contextlib.closing(raw.cursor()) as cursor:
                cursor.execute(_set("", False))
            raw.autocommit = autocommit
        except Exception as error:  # it is broken; the pool opens another
            record.invalidate(error)

    return engine
