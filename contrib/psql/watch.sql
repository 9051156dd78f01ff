-- A live screen of the connection slots: psql -Xf contrib/psql/watch.sql
--
--   -v interval=5   seconds between two looks, 2 unless said otherwise
--   -v top=20       services to list, 8 unless said otherwise
--
-- The bar is max_connections long: in use, left, reserved. The trend is the
-- whole timeline, the fullest moment of each column; x where clients were refused.
-- Suspects, and the column "leak", are sessions suspected of a leak.
--
-- For members of pg_monitor. It is a session itself: start it before the server
-- is full, or as a superuser: slots are reserved for it.

\set QUIET on
\timing off
\pset format unaligned
\pset tuples_only on
\pset pager off
\if :{?interval} \else \set interval 2 \endif
\if :{?top} \else \set top 8 \endif
SELECT getdatabaseencoding() = 'UTF8' AS utf8 \gset
\if :utf8
	\set ramp '▁▂▃▄▅▆▇█'
	\set bar '█░▒'
\else
	\set ramp '_.-~=+*#'
	\set bar '#.:'
\endif

WITH server AS (
	SELECT *,
		   least(round(64.0 * in_use / max_connections), 64)::int AS used_cells,
		   round(64.0 * capacity / max_connections)::int AS capacity_cells
	FROM pool_exhaust_slots,
		 (SELECT utilization, peak_in_use, peak_at, retry_after_s
		  FROM pool_exhaust_pools WHERE kind = 'server') AS pool
), services AS (
	SELECT regexp_replace(service, '[[:cntrl:]]', '?', 'g') AS service,
		   in_use, active, idle, idle_in_transaction, peak_in_use, suspects
	FROM pool_exhaust_services WHERE in_use > 0
), trend AS (
	SELECT max(utilization) AS utilization, sum(refused) AS refused,
		   min(at) AS since, row_number() OVER (ORDER BY min(at)) AS nr
	FROM (SELECT *, ntile(64) OVER (ORDER BY at) FROM pool_exhaust_timeline) AS t
	GROUP BY ntile
), screen (part, nr, line) AS (
	SELECT 1, 0, format('%-40s %23s', format('%s   %s of %s in use, %s %%',
				upper(pool_exhaust_health()), in_use, capacity, round(100 * utilization)),
			to_char(clock_timestamp(), 'HH24:MI:SS'))
	FROM server
	UNION ALL
	SELECT 2, 0, repeat(substr(:'bar', 1, 1), used_cells)
		   || repeat(substr(:'bar', 2, 1), capacity_cells - used_cells)
		   || repeat(substr(:'bar', 3, 1), 64 - greatest(used_cells, capacity_cells))
	FROM server
	UNION ALL
	SELECT 3, 0, format('active %s   idle %s   idle in transaction %s   authenticating %s',
			sum(s.active), sum(s.idle), sum(s.idle_in_transaction), min(server.authenticating))
	FROM server, services AS s
	UNION ALL
	SELECT 4, 0, concat_ws('   ',
			format('%s left for %s', pool_exhaust_headroom(), current_user),
			format('peak %s at %s', peak_in_use, to_char(peak_at, 'HH24:MI:SS')),
			'retry after ' || retry_after_s || ' s')
	FROM server
	UNION ALL
	SELECT 5, 0, format(E'\ntrend since %s, peak %s %%',
			to_char(min(since), 'HH24:MI:SS'), round(100 * max(utilization)))
	FROM trend HAVING count(*) > 0
	UNION ALL
	SELECT 6, 0, string_agg(substr(:'ramp', 1 + least(floor(8 * utilization)::int, 7), 1), '' ORDER BY nr)
	FROM trend
	UNION ALL
	SELECT 7, 0, string_agg(CASE WHEN refused > 0 THEN 'x' ELSE ' ' END, '' ORDER BY nr)
	FROM trend HAVING sum(refused) > 0
	UNION ALL
	SELECT 8, row_number() OVER (ORDER BY last_at DESC),
		   format('refused %8s  %-16s last %s', refusals, cause, to_char(last_at, 'HH24:MI:SS'))
	FROM pool_exhaust_refusals WHERE refusals > 0
	UNION ALL
	SELECT 9, row_number() OVER (ORDER BY max(held_ms) DESC),
		   format('suspects %7s  %-19s  longest %s s', count(*), rule, max(held_ms) / 1000)
	FROM pool_exhaust_leaks GROUP BY rule
	UNION ALL
	SELECT 10, 0, format(E'\n%-36s %6s %6s %6s %6s %6s %6s',
			'service', 'in use', 'active', 'idle', 'in tx', 'peak', 'leak')
	UNION ALL
	(SELECT 11, row_number() OVER (ORDER BY in_use DESC, service),
			format('%-36s %6s %6s %6s %6s %6s %6s',
				left(service, 36), in_use, active, idle, idle_in_transaction, peak_in_use, suspects)
	 FROM services ORDER BY in_use DESC, service LIMIT :top)
)
SELECT E'\033[H' || string_agg(replace(line, E'\n', E'\033[K\n') || E'\033[K', E'\n' ORDER BY part, nr) || E'\033[J'
FROM screen
\watch :interval
