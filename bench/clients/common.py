"""What the Python programs of bench/stacks share.

    bench/clients/with_STACK.py WORKLOAD CONNINFO THRESHOLD

does what the workload says to the server of the URI CONNINFO, in times that are
parts of the leak threshold (in seconds), until its standard input ends.  What it
has lost for good it says on standard output, "PID leaked KIND" with the process
number of the session; all its other sessions are healthy.  "ready" says that it
has begun.

A stack is a module or an object with these functions:

    pool(size)          a pool of that stack
    take(pool)          a connection of it, in autocommit
    give(pool, c)       gives it back
    ask(c, sql)         runs a statement, and returns its only value
    begin(c)            begins a transaction
"""

import os
import random
import subprocess
import sys
import threading
import time
import traceback

CONNINFO = ""
THRESHOLD_S = 0.0
WORKLOADS = {}
KEPT = []  # what is lost is not collected as garbage

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../contrib/borrower"))


def workload(function):
    """A function that is a workload is called by its name."""
    WORKLOADS[function.__name__] = function
    return function


def rest(thresholds):
    time.sleep(thresholds * THRESHOLD_S)


def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def lose(stack, pool, connection, kind):
    """Never gives it back."""
    KEPT.append((pool, connection))
    say(stack.ask(connection, "SELECT pg_backend_pid()"), "leaked", kind)


def in_background(work):
    """Runs it in a thread; an error ends the process."""

    def run():
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    threading.Thread(target=run, daemon=True).start()


def request(stack, pool):
    connection = stack.take(pool)
    stack.ask(connection, "SELECT 1 FROM pg_sleep(0.005)")
    stack.give(pool, connection)


def serve(stack, pools, threads=4, while_true=lambda: True):
    """Requests from threads, each for one of the pools in the list, which may change meanwhile."""

    def work():
        while while_true():
            request(stack, random.choice(pools))
            rest(random.expovariate(15))

    for _ in range(threads):
        in_background(work)


def child(name):
    """The same program with another workload."""
    return subprocess.Popen([sys.executable, "-B", sys.argv[0], name] + sys.argv[2:], stdin=subprocess.PIPE)


def common(stack):
    """The workloads that every stack has."""

    def beside_service(n, every, kind, begin=False):
        pool = stack.pool(28)
        serve(stack, [pool])
        say("ready")
        rest(2)
        for _ in range(n):
            rest(every)
            connection = stack.take(pool)
            if begin:
                stack.begin(connection)
            lose(stack, pool, connection, kind)

    def service():
        serve(stack, [stack.pool(8)])
        say("ready")

    def transaction():
        beside_service(5, 2, "transaction", begin=True)

    def lost():
        beside_service(16, 2, "lost")

    def few():
        beside_service(4, 2, "lost")

    def per_request(n=20):
        say("ready")
        for _ in range(n):
            rest(0.8)
            pool = stack.pool(1)
            connection = stack.take(pool)
            lose(stack, pool, connection, "per request")
            stack.give(pool, connection)

    def few_per_request():
        per_request(10)

    for function in (service, transaction, lost, few, per_request, few_per_request):
        WORKLOADS.setdefault(function.__name__, function)


def dialogue(take, give, ask, begin, commit, rollback):
    """For test/t/borrower_hooks.pl: does what each line of standard input says, and answers "done"."""
    connection = None
    for line in sys.stdin:
        if line == "take\n":
            connection = take()
        elif line == "fail\n":
            try:
                ask(connection, "SELECT 1 / 0")
            except Exception as error:
                assert "division by zero" in str(error), error
        else:
            {
                "give": lambda: give(connection),
                "ask": lambda: ask(connection, "SELECT 1"),
                "begin": lambda: begin(connection),
                "commit": lambda: commit(connection),
                "rollback": lambda: rollback(connection),
            }[line.strip()]()
        say("done")


def main():
    global CONNINFO, THRESHOLD_S
    CONNINFO = sys.argv[2]
    THRESHOLD_S = float(sys.argv[3])
    if sys.argv[1].startswith("dialogue"):
        WORKLOADS[sys.argv[1]]()
    else:
        in_background(WORKLOADS[sys.argv[1]])
        sys.stdin.read()
    os._exit(0)
