-- The pools of runs under way, as view pool_exhaust_pools shows them while
-- nothing moves: operations that last until the run is stopped.
\set QUIET 1
\set ON_ERROR_ROLLBACK 1
\set ON_ERROR_STOP true
\pset format unaligned
\pset tuples_only true
\pset pager off
SET pool_exhaust.progress = off;
SELECT plan(39);

-- Waits until a condition holds, one reading at a time
CREATE PROCEDURE pg_temp.wait_until(condition text) LANGUAGE plpgsql AS $$
DECLARE
	until timestamptz := clock_timestamp() + interval '60 s';
	done boolean;
BEGIN
	LOOP
		EXECUTE 'SELECT ' || condition INTO done;
		EXIT WHEN done;
		IF clock_timestamp() > until THEN
			RAISE 'timed out waiting until %', condition;
		END IF;
		PERFORM pg_stat_clear_snapshot();
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
CREATE FUNCTION pg_temp.pool(name text) RETURNS pool_exhaust_pools LANGUAGE sql AS
	$$ SELECT p FROM pool_exhaust_pools p WHERE p.name = pool.name AND p.kind = 'pool' $$;
CREATE TEMP VIEW pools AS
	SELECT name, capacity, in_use, idle, overflow, waiting, utilization, health, granted, refused, timed_out, peak_in_use
	FROM pool_exhaust_pools WHERE kind = 'pool';

-- Long operations hold all of it, the others wait
SELECT pool_exhaust_start('queue', 'pool', '{
	"pool_size": 3, "max_overflow": 2, "long_operations": 10, "quick_operations": 5,
	"long_ms": 120000, "pool_timeout_ms": 120000, "timeout_ms": 300000}') AS run, clock_timestamp() AS begun \gset
CALL pg_temp.wait_until($$ EXISTS (SELECT FROM pools WHERE in_use = 5 AND health = 'exhausted') $$);
CALL pg_temp.wait_until($$ (SELECT active FROM pool_exhaust_services WHERE usename = 'pool_exhaust_1') = 5 $$);
SELECT results_eq('SELECT * FROM pools', format(
	$$ VALUES ('run %s', 5, 5, 0, 2, 10, 1.0::float8, 'exhausted', 5::bigint, 0::bigint, 0::bigint, 5) $$, :run),
	'a full pool: five in use, two of them overflow, ten wait');
SELECT * FROM pg_temp.pool('run ' || :run) \gset before_
SELECT is(:'before_kind'::text, 'pool', 'its kind');
SELECT ok(:before_oldest_wait_ms > 0, 'an attempt waits');
SELECT ok(:before_oldest_wait_ms <= extract(epoch FROM clock_timestamp() - :'begun') * 1000, 'and not for longer than the run is under way');
SELECT cmp_ok((pg_temp.pool('run ' || :run)).oldest_wait_ms, '>', :before_oldest_wait_ms::float8, 'that wait grows between two readings');
SELECT ok(:before_wait_p50_ms > 0 AND :before_wait_p50_ms <= :before_wait_p95_ms AND :before_wait_p95_ms <= :before_wait_p99_ms
	AND :before_wait_p99_ms <= :before_wait_max_ms, 'the waits of granted attempts are in order');
SELECT ok(:'before_peak_at'::timestamptz BETWEEN :'begun' AND clock_timestamp(), 'the peak was since then');
SELECT is((pg_temp.pool('run ' || :run)).retry_after_s, NULL, 'nothing was released, so the time to retry is unknown');
SELECT results_eq($$ SELECT phase, connections FROM pool_exhaust_progress $$, $$ VALUES ('queue', 5) $$, 'progress has the same count');
SELECT results_eq(format($$ SELECT count(*), min(usename)::name, bool_and(state = 'active') FROM pool_exhaust_backends WHERE run_id = %s $$, :run),
	$$ VALUES (5::bigint, 'pool_exhaust_1'::name, true) $$, 'the server has five sessions of the run, all busy');
SELECT results_eq($$ SELECT in_use, active, idle FROM pool_exhaust_services WHERE usename = 'pool_exhaust_1' $$,
	$$ VALUES (5, 5, 0) $$, 'its services show the same');
SELECT is((SELECT count(*) FROM pool_exhaust_pools WHERE name = 'server' AND kind = 'server'), 1::bigint, 'the server''s own row is still there');
SELECT is(pool_exhaust_stop(:run), 1, 'the run is stopped');
SELECT is_empty('SELECT * FROM pools', 'its pool is gone');
SELECT is_empty($$ SELECT rolname FROM pg_roles WHERE rolname LIKE 'pool\_exhaust\_%' $$, 'its role is gone');
SELECT is_empty($$ SELECT pid FROM pg_stat_activity WHERE usename ~ '^pool_exhaust_' $$, 'its sessions are gone');
SELECT results_eq(format('SELECT verdict, reason FROM pool_exhaust_runs WHERE id = %s', :run),
	$$ VALUES ('aborted', 'stopped by pool_exhaust_stop()') $$, 'its verdict and reason');

-- A bounded queue: an attempt beyond it is refused at once
SELECT pool_exhaust_start('queue', 'pool', '{
	"pool_size": 2, "max_overflow": 0, "long_operations": 6, "quick_operations": 3, "max_waiting": 4,
	"long_ms": 120000, "pool_timeout_ms": 120000, "timeout_ms": 300000}') AS run \gset
CALL pg_temp.wait_until($$ EXISTS (SELECT FROM pools WHERE in_use = 2 AND health = 'exhausted') $$);
SELECT results_eq('SELECT * FROM pools', format(
	$$ VALUES ('run %s', 2, 2, 0, 0, 4, 1.0::float8, 'exhausted', 2::bigint, 3::bigint, 0::bigint, 2) $$, :run),
	'a bounded queue: two in use, four wait, three were refused');
SELECT is(pool_exhaust_stop(:run), 1, 'the run is stopped');

-- Attempts that wait too long are counted, and wait no more
SELECT pool_exhaust_start('queue', 'pool', '{
	"pool_size": 1, "max_overflow": 1, "long_operations": 6, "quick_operations": 1,
	"long_ms": 120000, "pool_timeout_ms": 300, "timeout_ms": 300000}') AS run \gset
CALL pg_temp.wait_until($$ EXISTS (SELECT FROM pools WHERE in_use = 2 AND timed_out = 5 AND health = 'exhausted') $$);
SELECT results_eq('SELECT * FROM pools', format(
	$$ VALUES ('run %s', 2, 2, 0, 1, 0, 1.0::float8, 'exhausted', 2::bigint, 0::bigint, 5::bigint, 2) $$, :run),
	'a short timeout: two in use, five timed out, none waits');
SELECT is((pg_temp.pool('run ' || :run)).oldest_wait_ms, NULL, 'and so there is no longest wait');
SELECT is(pool_exhaust_stop(:run), 1, 'the run is stopped');

-- Two services, each with a pool and a role of its own
SELECT pool_exhaust_start('isolation', 'pool', '{
	"pool_size": 4, "max_overflow": 2, "clients": 3, "work_ms": 60000, "baseline_ms": 200000,
	"timeout_ms": 300000}') AS run \gset
CALL pg_temp.wait_until($$ EXISTS (SELECT FROM pools WHERE in_use = 3) $$);
SELECT results_eq('SELECT * FROM pools ORDER BY name', format(
	$$ VALUES ('run %1$s first', 6, 0, 0, 0, 0, 0.0::float8, 'healthy', 0::bigint, 0::bigint, 0::bigint, 0),
		('run %1$s second', 6, 3, 0, 0, 0, 0.5::float8, 'healthy', 3::bigint, 0::bigint, 0::bigint, 3) $$, :run),
	'two services: the second works, the first has not begun');
SELECT results_eq(format($$ SELECT wait_p50_ms, wait_p95_ms, wait_p99_ms, wait_max_ms, oldest_wait_ms, peak_at FROM pool_exhaust_pools
		WHERE name = 'run %s first' $$, :run),
	$$ VALUES (NULL::float8, NULL::float8, NULL::float8, NULL::float8, NULL::float8, NULL::timestamptz) $$,
	'the first has had no attempt');
SELECT set_eq(format($$ SELECT rolname, rolconnlimit FROM pool_exhaust_run_roles() r JOIN pg_roles ON oid = role WHERE run_id = %s $$, :run),
	$$ VALUES ('pool_exhaust_1'::name, 5), ('pool_exhaust_9', -1) $$, 'each service has a role, the first a limit');
SELECT results_eq(format($$ SELECT usename, count(*) FROM pool_exhaust_backends WHERE run_id = %s GROUP BY usename $$, :run),
	$$ VALUES ('pool_exhaust_9'::name, 3::bigint) $$, 'the sessions are those of the second');
SELECT is(pool_exhaust_stop(:run), 1, 'the run is stopped');
SELECT is_empty('SELECT * FROM pools', 'both pools are gone');
SELECT is_empty($$ SELECT rolname FROM pg_roles WHERE rolname LIKE 'pool\_exhaust\_%' $$, 'both roles are gone');

-- Two runs side by side
SELECT pool_exhaust_start('queue', 'pool', '{
	"pool_size": 1, "max_overflow": 0, "long_ms": 120000, "pool_timeout_ms": 120000, "timeout_ms": 300000}') AS run \gset first_
SELECT pool_exhaust_start('queue', 'pool', '{
	"pool_size": 2, "max_overflow": 0, "long_ms": 120000, "pool_timeout_ms": 120000, "timeout_ms": 300000}') AS run \gset second_
CALL pg_temp.wait_until($$ (SELECT sum(in_use) FROM pools WHERE health = 'exhausted') = 3 $$);
SELECT results_eq('SELECT * FROM pools ORDER BY name', format(
	$$ SELECT * FROM (VALUES
		('run %s', 1, 1, 0, 0, 14, 1.0::float8, 'exhausted', 1::bigint, 0::bigint, 0::bigint, 1),
		('run %s', 2, 2, 0, 0, 13, 1.0::float8, 'exhausted', 2::bigint, 0::bigint, 0::bigint, 2)) v ORDER BY column1 $$, :first_run, :second_run),
	'two runs: each shows its own pool');
SELECT is(pool_exhaust_stop(:first_run), 1, 'the first is stopped');
SELECT results_eq('SELECT name FROM pools', format($$ VALUES ('run %s') $$, :second_run), 'the second goes on');
SELECT is(pool_exhaust_stop(), 1, 'and is stopped');

-- A run that has ended by itself leaves no row either
SELECT is((SELECT verdict FROM pool_exhaust_runs WHERE id = (SELECT max(id) FROM pool_exhaust_runs)), 'aborted', 'so far all were aborted');
SELECT is(pool_exhaust_wait(pool_exhaust_start('queue', options => '{
	"pool_size": 1, "max_overflow": 0, "long_operations": 1, "long_ms": 1, "pool_timeout_ms": 1000, "tolerance_ms": 5000}')),
	'pass', 'a run that ends by itself');
SELECT is_empty('SELECT * FROM pools', 'its pool is gone');

-- Nothing is left
SELECT is_empty($$ SELECT rolname FROM pg_roles WHERE rolname LIKE 'pool\_exhaust\_%' $$, 'no role is left');
SELECT is_empty($$ SELECT run_id FROM pool_exhaust_progress $$, 'no run is left');
SELECT is_empty($$ SELECT pid FROM pg_stat_activity WHERE usename ~ '^pool_exhaust_' $$, 'no session is left');

SELECT * FROM finish();
