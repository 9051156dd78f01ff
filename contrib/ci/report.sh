#!/bin/sh
# Writes what all runs found to standard output, as one document in this format:
#
#   report.sh FORMAT
psql -XAtqc "SELECT pool_exhaust_report(ARRAY(SELECT id FROM pool_exhaust_runs ORDER BY id), '$1')" </dev/null
