"""A month of a server, recorded every 10 seconds, and what pool_exhaust_slo() must say of it.

    slo.py month SEED END         its seconds, as test/recorder_bytes.c reads them
    slo.py level SEED END TO      the answer for the 30 days up to TO

END, where the month ends, and TO are in milliseconds since 2000.
"""

import itertools
import json
import random
import sys

OBJECTIVE, PRICE, DAYS = 0.999, 12, 30
WINDOWS = {"5m": 300, "30m": 1800, "1h": 3600, "6h": 21600, "3d": 259200}


def month(seed, end):
    """A list of (from, length, let in, no slot, limited, not accepting, run), with a tenth left out."""
    rng = random.Random(seed)
    at, run = end - DAYS * 86400_000, 0
    while at < end:
        kind = rng.choices(["calm", "gap", "refusing", "run", "limits"], [80, 9, 4, 2, 5])[0]
        run += kind == "run"
        for _ in range(rng.randrange(1, 400)):
            length = rng.randrange(9_900, 10_101)
            slots, limited = (rng.randrange(4) if kind in kinds else 0 for kinds in (("refusing", "run"), ("limits",)))
            second = (at, length, rng.randrange(80), slots, limited, limited // 2, run if kind == "run" else 0)
            at += length
            if kind != "gap" and at <= end:
                yield second


def level(seconds, to):
    counted = [s for s in seconds if to - DAYS * 86400_000 <= s[0] and s[0] + s[1] <= to]
    own = [s for s in counted if not s[6]]
    answer = {}
    for name, good, bad in ("logins", lambda s: s[2], lambda s: s[3]), ("seconds", lambda s: s[1] / 1000 * (not s[3]), lambda s: s[1] / 1000 * bool(s[3])):
        def burn(length):
            part = [s for s in own if to - s[0] <= 1000 * length]
            measured = sum(map(bad, part)) + sum(map(good, part))
            return sum(map(bad, part)) / measured / (1 - OBJECTIVE) if measured else None
        row = {"good": sum(map(good, own)), "bad": sum(map(bad, own)), "budget_used_percent": 100 * burn(DAYS * 86400)}
        row["minutes_burnt"] = row["budget_used_percent"] / 100 * (1 - OBJECTIVE) * sum(s[1] for s in own) / 60_000
        answer[name] = {**row, **{f"burn_{w}": burn(length) for w, length in WINDOWS.items()}}
    answer["seconds"]["cost_low"] = sum(s[1] / 60_000 * s[3] / (s[2] + s[3]) for s in own if s[3]) * PRICE
    answer["seconds"]["cost_high"] = answer["seconds"]["bad"] / 60 * PRICE
    answer["in_runs"] = sum(s[1] for s in counted if s[6]) / 1000
    answer["unmeasured"] = DAYS * 86400 - sum(s[1] for s in counted) / 1000
    answer["runs"] = [run for run, _ in itertools.groupby(s[6] for s in counted if s[6])]
    answer["apart"] = [sum(s[4] for s in own), sum(s[5] for s in own)]
    return answer


command, seed, end, *to = sys.argv[1:]
if command == "month":
    for second in month(int(seed), int(end)):
        print(*second)
else:
    print(json.dumps(level(list(month(int(seed), int(end))), float(to[0]))))
