#!/bin/sh
# pg_regress as one test among the others, so that one summary covers them all.
echo 1..1
if make -s installcheck-regress FILL=1 >regress.out 2>&1; then
	echo "ok 1 - pg_regress"
else
	echo "not ok 1 - pg_regress"
	cat regress.out regression.diffs 2>/dev/null | sed 's/^/# /' >&2
fi
