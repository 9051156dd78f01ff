#!/bin/bash
# Long steps of a set-up show that they live, and what they did if they fail.
# shellcheck source=test/steps
. "$(dirname "$0")/steps"
# shellcheck disable=SC2034 # step reads it
every=0.2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
number=0
like() {
	number=$((number + 1))
	if grep -Eqx -- "$3" <<<"$2"; then echo "ok $number - $1"; else
		echo "not ok $number - $1"
		echo "# ${2//$'\n'/$'\n'# }" >&2
	fi
}
# Ends when its log has been shown.
slow() {
	echo "unpacking it"
	until grep -q 'slow, ' "$log.shown"; do read -rt 0.1 <> <(:); done
	return "$1"
}

echo 1..5
: >"$log.shown"
step slow "$log" slow 0 2>"$log.shown"
like 'a step that succeeds' "$?" 0
like 'says when it begins' "$(cat "$log.shown")" 'pool_exhaust: slow'
like 'and what it does while it lasts' "$(cat "$log.shown")" 'pool_exhaust: slow, [0-9]+ s: unpacking it'
step quick "$log" false 2>"$log.shown"
like 'a step that fails' "$?" 1
rm -f "$log.shown"
like 'shows its output' "$(step bad "$log" sh -c 'echo why; exit 3' 2>&1)" why
