#!/bin/sh
# Runs the scenarios, one report in TAP each; ends with 1 if one did not pass.
# The server is that of the PG* variables, after targets.sql. This script may be
# the standard input of its shell, so it leaves that alone.

# on_fail makes everything but PASS an error; no other client is on this server, so
# that the service's own sessions may be locked out.
options='{"on_fail": "error", "bystanders": "ignore"}'

# run SCENARIO [TARGET]
run()
{
	target=${2:+"'$2'"}
	psql -XAtqc "SELECT pool_exhaust_run('$1', ${target:-NULL}, '$options', 'tap')" </dev/null || failed=1
}

failed=0
run all
run saturation my_pgbouncer
run backpressure my_service

# An error took the place of these.
psql -XAtqc "SELECT pool_exhaust_report(id, 'tap') FROM pool_exhaust_runs WHERE verdict <> 'pass' ORDER BY id" </dev/null
exit "$failed"
