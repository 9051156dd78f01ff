#!/bin/sh
# Do the pools add up? Writes SQL that declares the services of services.csv and the
# PgBouncer of pgbouncer/pgbouncer.ini, and is an ERROR if a limit would be hit:
#
#   sh budget.sh | psql -XAtq -v ON_ERROR_STOP=1
cd "$(dirname "$0")" || exit

# document FILE KIND
# shellcheck disable=SC2016 # the dollars are quotes of SQL
document()
{
	printf "SELECT pool_exhaust_budget_import(\$document\$"
	cat "$1"
	printf "\$document\$, '%s');\n" "$2"
}

document services.csv csv
document pgbouncer/pgbouncer.ini pgbouncer
cat <<'SQL'
SELECT pool_exhaust_budget();
SELECT count(*) FROM pool_exhaust_budget(options => '{"on_fail": "error"}');
SQL
