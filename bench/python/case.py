"""What the jobs in this directory share, as such test suites have it: what they
are asked for, claims, and pauses in which the server is hoped to come to rest.

The pauses are what is measured. Each goes through here, so that a job can say
how long it slept beside what it worked.
"""

import asyncio
import json
import resource
import sys
import time

ROLE = "harness"  # an ordinary role, so that reserved slots are not for it
APPLICATION = "harness"

SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'harness'"


class Case:
    def __init__(self):
        self.options = json.loads(sys.argv[1])
        self.failures = []
        self.slept_s = 0
        self.started = time.monotonic()

    def claim(self, what, expected, observed):
        if expected != observed:
            self.failures.append(f"{what}: expected {expected}, not {observed}")

    def pause(self, seconds):
        self.slept_s += seconds
        time.sleep(seconds)

    async def pause_async(self, seconds):
        self.slept_s += seconds
        await asyncio.sleep(seconds)

    def report(self):
        usage = resource.getrusage(resource.RUSAGE_SELF)
        print(
            json.dumps(
                {
                    "failures": self.failures,
                    "job_s": time.monotonic() - self.started,  # without the start of Python
                    "slept_s": self.slept_s,
                    "cpu_s": usage.ru_utime + usage.ru_stime,
                }
            )
        )
