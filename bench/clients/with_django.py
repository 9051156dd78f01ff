#!/usr/bin/python3
"""Django, a connection for each thread (CONN_MAX_AGE = None); see common.py."""

import sys
import threading
from urllib.parse import parse_qs, urlsplit

import common
import django
from common import rest, say, workload
from django.conf import settings
from django.db import connection as of_thread


def configure():
    uri = urlsplit(common.CONNINFO)
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "HOST": uri.hostname,
                "PORT": uri.port,
                "USER": uri.username,
                "NAME": uri.path[1:],
                "CONN_MAX_AGE": None,
                "OPTIONS": {name: value for name, (value,) in parse_qs(uri.query).items()},
            }
        }
    )
    django.setup()


def ask(sql):
    with of_thread.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def serve(threads=5):
    def work():
        while True:
            ask("SELECT 1 FROM pg_sleep(0.005)")
            rest(0.2)

    for _ in range(threads):
        common.in_background(work)


def stays(begins, kind):
    """A thread that works once and is kept, with its connection."""

    def work():
        if begins:
            of_thread.set_autocommit(False)
        say(ask("SELECT pg_backend_pid()"), "leaked", kind)
        threading.Event().wait()

    common.in_background(work)


@workload
def service():
    configure()
    serve()
    say("ready")


@workload
def transaction():
    configure()
    serve()
    say("ready")
    for _ in range(5):
        rest(2)
        stays(True, "transaction")


@workload
def per_request():
    """A thread for each request, and the threads stay."""
    configure()
    say("ready")
    for _ in range(20):
        rest(0.8)
        stays(False, "per request")


if __name__ == "__main__":
    common.main()
