#!/bin/sh
# The last test: what the others left behind on the throwaway server of
# test/sandbox, and how that server ends.

test=0
# verdict NAME EVIDENCE: passes when there is no evidence
verdict() {
	test=$((test + 1))
	if [ -z "$2" ]; then
		echo "ok $test - $1"
	else
		echo "not ok $test - $1"
		echo "$2" | sed 's/^/# /' >&2
	fi
}

echo 1..4
verdict "no role of a run is left" \
	"$(psql -XAtc "SELECT rolname FROM pg_roles WHERE rolname LIKE 'pool_exhaust\_%'" 2>&1)"

# A smart shutdown lasts until every session has ended by itself.
verdict "no session is left" "$(pg_ctl -D "$PGDATA" -m smart -t 30 stop 2>&1 >/dev/null)"

verdict "nothing crashed" "$(grep -E 'PANIC:|TRAP:|terminated by signal' "$PGHOST/server.log")"

verdict "no session was ended but those of runs" \
	"$(grep 'pool_exhaust: terminated session' "$PGHOST/server.log" | grep -vE ' of "pool_exhaust_[0-9]+/')"
